"""Write and read checkpoints, and the messages that their signatures are made over (ledger.md §5).

Sources: C2SP tlog-checkpoint and tlog-cosignature. Ed25519 log keys sign the note text itself.
"""

from dataclasses import dataclass
from typing import Final

from scelle.errors import FormatError
from scelle.formats.tokens import (
    DIGEST_BYTES,
    INT64_MAX,
    Origin,
    base64_text,
    checked_width,
    parse_base64,
    parse_decimal,
    parse_origin,
)

COSIGNATURE_BYTES: Final = 64
ML_DSA_SIGNATURE_BYTES: Final = 2420
_TIME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Hold the size and root of one order's log; signed elsewhere."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """Write the note text: origin, size, root, a line each, and never an extension line."""
        parse_origin(self.origin)
        checked_width(self.root, DIGEST_BYTES, "root")
        return f"{self.origin}\n{_counted(self.size)}\n{base64_text(self.root)}\n".encode()


def parse_checkpoint_text(text: bytes) -> Checkpoint:
    """Read the text of a checkpoint; extension lines are refused."""
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise FormatError("checkpoint is not ASCII") from None
    if len(lines) != 4 or lines[3]:
        raise FormatError("checkpoint must be three lines: origin, size, root; extension lines are refused")
    parse_origin(lines[0])
    return Checkpoint(Origin(lines[0]), parse_decimal(lines[1]), parse_base64(lines[2], DIGEST_BYTES))


def mldsa_message(key_name: str, origin: str, size: int, root: bytes, time_s: int) -> bytes:
    """Build the message that an ML-DSA-44 key signs: the whole tree as `subtree/v1` at `time_s` seconds."""
    checked_width(root, DIGEST_BYTES, "root")
    return b"".join((
        b"subtree/v1\n\0",
        _short_text(key_name),
        _counted(time_s).to_bytes(8, "big"),
        _short_text(origin),
        bytes(8),
        _counted(size).to_bytes(8, "big"),
        root,
    ))  # fmt: skip


def cosignature_v1_message(note_text: bytes, time_s: int) -> bytes:
    """Build the message that a cosigner of type 0x04 signs over a checkpoint's text at `time_s` seconds."""
    return b"cosignature/v1\ntime %d\n" % _counted(time_s) + note_text


def timed_payload(time_s: int, signature: bytes) -> bytes:
    """Join time and signature to the payload of a signature line of type 0x04 or 0x06."""
    return _counted(time_s).to_bytes(_TIME_BYTES, "big") + signature


def parse_timed_payload(payload: bytes, signature_bytes: int) -> tuple[int, bytes]:
    """Split the payload of a signature line of type 0x04 or 0x06 into seconds and signature."""
    checked_width(payload, _TIME_BYTES + signature_bytes, "signature with time")
    return _counted(int.from_bytes(payload[:_TIME_BYTES], "big")), payload[_TIME_BYTES:]


def _short_text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise FormatError(f"name of {len(data)} bytes is too long to be signed: at most 255")
    return bytes((len(data),)) + data


def _counted(number: int) -> int:
    if not 0 <= number <= INT64_MAX:
        raise FormatError(f"number {number} is outside 0 to 2^63-1")
    return number
