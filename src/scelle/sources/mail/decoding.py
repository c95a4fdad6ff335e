"""Undo the transfer encodings of mail piece by piece, in flat memory, as far as the bytes make sense."""

import binascii
from typing import Final, Protocol

_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64: Final = bytes(set(range(256)) - set(_BASE64) - {0x3D})
_LONGEST_LINE_BYTES: Final = 64 << 10


class Decoder(Protocol):
    """Decode pieces; `defect` is empty, or the code of what was wrong."""

    defect: str

    def feed(self, piece: bytes) -> bytes:
        """Give what this piece completes."""

    def end(self) -> bytes:
        """Give what is left."""


class Identity:
    """Give 7bit, 8bit and binary as they are; an encoding that nobody knows too, with a defect."""

    def __init__(self, defect: str = "") -> None:
        self.defect = defect

    def feed(self, piece: bytes) -> bytes:
        """Give the piece."""
        return piece

    def end(self) -> bytes:
        """Give nothing."""
        return b""


class Base64:
    """Decode base64 as mail readers do: other characters are passed over, padding ends it."""

    def __init__(self) -> None:
        self.defect = ""
        self._rest = b""
        self._ended = False

    def feed(self, piece: bytes) -> bytes:
        """Give the bytes of all whole groups of four characters."""
        characters = piece.translate(None, _NOT_BASE64)
        if self._ended:
            self._check_after_end(characters)
            return b""
        characters = self._rest + characters
        padding = characters.find(b"=")
        if padding < 0:
            whole = len(characters) // 4 * 4
            self._rest = characters[whole:]
            return binascii.a2b_base64(characters[:whole])
        self._ended = True
        self._rest = characters[:padding]
        self._check_after_end(characters[padding:])
        return self._last()

    def end(self) -> bytes:
        """Give the bytes of an unfinished group."""
        if self._rest:
            self.defect = "base64-cut"
        return self._last()

    def _last(self) -> bytes:
        whole, self._rest = self._rest, b""
        over = len(whole) % 4
        if over == 1:  # six bits make no byte
            self.defect = "base64-cut"
            whole, over = whole[:-1], 0
        return binascii.a2b_base64(whole + b"=" * (-over % 4))

    def _check_after_end(self, characters: bytes) -> None:
        if characters.strip(b"=") and not self.defect:  # a cut before it says more, whichever is seen first
            self.defect = "base64-after-padding"


class QuotedPrintable:
    """Decode quoted-printable line by line."""

    def __init__(self) -> None:
        self.defect = ""
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        """Give the bytes of all whole lines, and of a very long line all but its last characters."""
        text = self._rest + piece
        cut = text.rfind(b"\n") + 1
        if len(text) - cut > _LONGEST_LINE_BYTES:
            cut = len(text) - 3  # an escape has three characters, a soft break at most `=`, CR and LF
            escape = text.find(b"=", cut - 2, cut)
            cut = escape if escape >= 0 else cut
        self._rest = text[cut:]
        return binascii.a2b_qp(text[:cut])

    def end(self) -> bytes:
        """Give the last line."""
        last, self._rest = self._rest, b""
        return binascii.a2b_qp(last)


def decoder_for(encoding: str) -> Decoder:
    """Make the decoder of a Content-Transfer-Encoding."""
    match encoding:
        case "base64":
            return Base64()
        case "quoted-printable":
            return QuotedPrintable()
        case "" | "7bit" | "8bit" | "binary":
            return Identity()
        case _:
            return Identity("encoding-unknown")
