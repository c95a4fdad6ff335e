"""Write and read C2SP signed notes and the verifier keys for them; no signature is checked here.

Sources: C2SP signed-note and tlog-cosignature; ledger.md §5. A note is text, an empty line, and signature
lines `— <name> base64(key id || payload)`.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from scelle.errors import FormatError
from scelle.formats.tokens import base64_text, parse_base64, parse_hex, shown

ED25519: Final = 0x01
COSIGNATURE_V1: Final = 0x04
ML_DSA_44: Final = 0x06
PUBLIC_BYTES: Final = {ED25519: 32, COSIGNATURE_V1: 32, ML_DSA_44: 1312}
PAYLOAD_BYTES: Final = {ED25519: 64, COSIGNATURE_V1: 8 + 64, ML_DSA_44: 8 + 2420}
SIGNATURES_MAX: Final = 16
NOTE_MAX_BYTES: Final = 64 * 1024 * 1024
_KEY_ID_BYTES: Final = 4
_LINE_START: Final = "— "


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Hold the public half of a note key: who signs, with what, and the id that signature lines carry."""

    name: str
    key_id: int
    type: int
    public: bytes

    def text(self) -> str:
        """Write the key as a vkey: `name+<8 hex>+base64(type || public key)`."""
        return f"{self.name}+{self.key_id:08x}+{base64_text(bytes((self.type,)) + self.public)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """Hold one signature line: the claimed signer, and the payload that follows the key id."""

    name: str
    key_id: int
    payload: bytes

    def line(self) -> str:
        """Write the line, with its line end."""
        return f"{_LINE_START}{self.name} {base64_text(self.key_id.to_bytes(4, 'big') + self.payload)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """Hold a text, which ends in a line end, and its signature lines, none of them checked."""

    text: bytes
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Write the note's bytes; raises FormatError where `parse_note` would not take them."""
        data = self.text + b"\n" + "".join(signature.line() for signature in self.signatures).encode()
        if parse_note(data) != self:
            raise FormatError("note does not read back as itself: its text must end in one line end")
        return data

    def signatures_of(self, key: VerifierKey) -> tuple[Signature, ...]:
        """Give the signature lines that claim to be by `key`: none or one."""
        return tuple(
            signature
            for signature in self.signatures
            if signature.name == key.name and signature.key_id == key.key_id
        )


def make_vkey(name: str, type: int, public: bytes) -> VerifierKey:
    """Make a verifier key; its id is derived from name, type and public key."""
    if not is_key_name(name):
        raise FormatError(f"key name {shown(name)} is empty or has a blank, a control character or a plus")
    if PUBLIC_BYTES.get(type) != len(public):
        raise FormatError(f"width: key type {type} with a public key of {len(public)} bytes is not known")
    digest = sha256(name.encode() + b"\n" + bytes((type,)) + public).digest()
    return VerifierKey(name, int.from_bytes(digest[:_KEY_ID_BYTES], "big"), type, public)


def parse_vkey(text: str) -> VerifierKey:
    """Read a vkey; its id must be the one that its name, type and public key give."""
    name, _, rest = text.partition("+")
    key_id, separator, encoded = rest.partition("+")
    if not separator:
        raise FormatError(f"vkey {shown(text)} is not <name>+<id>+<key>")
    data = parse_base64(encoded)
    key = make_vkey(name, data[0] if data else 0, data[1:])
    if key.key_id.to_bytes(_KEY_ID_BYTES, "big") != parse_hex(key_id):
        raise FormatError(f"vkey of {shown(name)}: its id is not that of its key")
    return key


def parse_note(data: bytes) -> Note:
    """Read a signed note strictly: 1 to 16 signature lines, one per key, split at LF only."""
    if len(data) > NOTE_MAX_BYTES:
        raise FormatError(f"note of {len(data)} bytes, must be at most 64 MiB")
    text = _note_text(data)
    body, separator, rest = text.rpartition("\n\n")
    if not separator or not rest:
        raise FormatError("note not signed: an empty line and a signature line must follow the text")
    if not rest.endswith("\n"):
        raise FormatError("note is cut short: its last line has no end")
    if not body:
        raise FormatError("note without text")
    lines = rest[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise FormatError(f"note has {len(lines)} signature lines, must be at most {SIGNATURES_MAX}")
    signatures = tuple(map(_parse_line, lines))
    if len({(signature.name, signature.key_id) for signature in signatures}) != len(signatures):
        raise FormatError("note has two signature lines of one key")
    return Note((body + "\n").encode(), signatures)


def is_key_name(name: str) -> bool:
    """Say whether `name` may name a key: not empty, no blank, no control character, no plus."""
    return name.isprintable() and name.split() == [name] and "+" not in name


def _note_text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("note is not UTF-8") from None
    if any(character < " " and character != "\n" for character in text):
        raise FormatError("note has a control character; lines end in LF only")
    return text


def _parse_line(line: str) -> Signature:
    name, separator, encoded = line.removeprefix(_LINE_START).partition(" ")
    if not line.startswith(_LINE_START) or not separator or not is_key_name(name):
        raise FormatError(f"signature line {shown(line)} is not `— <name> <base64>`")
    data = parse_base64(encoded)
    if len(data) <= _KEY_ID_BYTES:
        raise FormatError(
            f"width: signature line of {shown(name)} has {len(data)} bytes, too few for a signature"
        )
    return Signature(name, int.from_bytes(data[:_KEY_ID_BYTES], "big"), data[_KEY_ID_BYTES:])
