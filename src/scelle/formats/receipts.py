"""Write and read what a recorder signs for an event that is durable, and what an order's log says of its key."""

from dataclasses import dataclass
from typing import Final

from scelle.errors import FormatError
from scelle.formats.notes import ED25519, VerifierKey, parse_vkey
from scelle.formats.tokens import (
    DIGEST_BYTES,
    base64_text,
    is_alias,
    parse_base64,
    parse_decimal,
    parse_hex,
    parse_origin,
    parse_time,
    shown,
)

RECEIPT: Final = "scelle/receipt/v1"
RECEIPT_KEY: Final = "scelle/receipt-key/v1"
_RECEIPT_LINES: Final = ["surface", "file", "byte", "seq", "sha256", "received", "deadline"]
_KEY_LINES: Final = ["origin", "genesis", "source", "surface", "key", "from"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Promise to seal one event of a recorder by `deadline`: where its line stands, and the SHA-256 (hex) of that.

    It names neither order nor vault: who gets it may not know of them. The line names the hash of the one before it, so
    that this one stands for all that came earlier on its surface.
    """

    surface: str
    file: str
    byte: int
    seq: int
    sha256: str
    received: int
    deadline: int

    def text(self) -> bytes:
        """Write the text of the note; raises FormatError where `parse_receipt` would not take it."""
        text = _written(RECEIPT, _RECEIPT_LINES, [getattr(self, name) for name in _RECEIPT_LINES])
        if parse_receipt(text) != self:
            raise FormatError("receipt does not read back as itself")
        return text


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """Say that a key signs receipts for a surface that is recorded into a log source of an order, from a time on."""

    origin: str
    genesis: bytes
    source: str
    surface: str
    key: VerifierKey
    since: int

    def text(self) -> bytes:
        """Write the text of the note; raises FormatError where `parse_receipt_key` would not take it."""
        values = (
            self.origin,
            base64_text(self.genesis),
            self.source,
            self.surface,
            self.key.text(),
            self.since,
        )
        text = _written(RECEIPT_KEY, _KEY_LINES, values)
        if parse_receipt_key(text) != self:
            raise FormatError("receipt key does not read back as itself")
        return text


def parse_receipt(text: bytes) -> Receipt:
    """Read the text of a receipt strictly."""
    surface, file, byte, seq, sha256, received, deadline = _read(RECEIPT, _RECEIPT_LINES, text)
    parse_hex(sha256, DIGEST_BYTES)
    return Receipt(
        surface=_word(surface),
        file=_word(file),
        byte=parse_decimal(byte),
        seq=parse_decimal(seq),
        sha256=sha256,
        received=parse_time(received),
        deadline=parse_time(deadline),
    )


def parse_receipt_key(text: bytes) -> ReceiptKey:
    """Read the text of a certificate strictly; the signature is for the reader to check."""
    origin, genesis, source, surface, key, since = _read(RECEIPT_KEY, _KEY_LINES, text)
    parse_origin(origin)
    if not is_alias(source):
        raise FormatError(f"receipt key: {shown(source)} is no log source")
    found = parse_vkey(key)
    if found.type != ED25519:
        raise FormatError("receipt key: it must be an Ed25519 key")
    return ReceiptKey(
        origin, parse_base64(genesis, DIGEST_BYTES), source, _word(surface), found, parse_time(since)
    )


def _written(form: str, keys: list[str], values: "list[object] | tuple[object, ...]") -> bytes:
    lines = [f"{key} {value}\n" for key, value in zip(keys, values, strict=True)]
    return "".join([form, "\n", *lines]).encode()


def _read(form: str, keys: list[str], text: bytes) -> list[str]:
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise FormatError(f"{form} is not ASCII") from None
    if lines[0] != form or lines[-1] != "" or [line.partition(" ")[0] for line in lines[1:-1]] != keys:
        raise FormatError(f"must be {form} and its lines {', '.join(keys)}, each with its end")
    return [line.partition(" ")[2] for line in lines[1:-1]]


def _word(text: str) -> str:
    if not text or not text.isprintable() or " " in text or "/" in text:
        raise FormatError(f"receipt: {shown(text)} is no name of a surface or of its file")
    return text
