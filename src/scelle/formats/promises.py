"""Write and read the text of promises to seal, signed notes of the log's Ed25519 key (ledger.md §6)."""

from dataclasses import dataclass
from typing import Final

from scelle.errors import FormatError
from scelle.formats.tokens import (
    DIGEST_BYTES,
    base64_text,
    checked_width,
    is_alias,
    parse_base64,
    parse_decimal,
    parse_hex,
    parse_origin,
    parse_time,
    shown,
)

FORMAT: Final = "scelle/promise/v1"
BATCH_BYTES: Final = 16
RECORDS_MAX: Final = 2**20
_KEYS: Final = ["origin", "genesis", "source", "batch", "seq", "batch-root", "received", "deadline"]


@dataclass(frozen=True, slots=True)
class Promise:
    """Promise to seal records [lo, hi) of a log source by `deadline`, under the root of their commitments."""

    origin: str
    genesis: bytes
    source: str
    batch: bytes
    seq: tuple[int, int]
    batch_root: bytes
    received: int
    deadline: int

    def text(self) -> bytes:
        """Write the text of the note; raises FormatError where `parse_promise` would not take it."""
        checked_width(self.genesis, DIGEST_BYTES, "genesis leaf hash")
        checked_width(self.batch_root, DIGEST_BYTES, "batch root")
        checked_width(self.batch, BATCH_BYTES, "batch id")
        values = (
            self.origin,
            base64_text(self.genesis),
            self.source,
            self.batch.hex(),
            f"{self.seq[0]} {self.seq[1]}",
            base64_text(self.batch_root),
            self.received,
            self.deadline,
        )
        lines = [f"{key} {value}\n" for key, value in zip(_KEYS, values, strict=True)]
        text = "".join([FORMAT, "\n", *lines]).encode()
        parse_promise(text)
        return text


def parse_promise(text: bytes) -> Promise:
    """Read the text of a promise strictly."""
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise FormatError("promise is not ASCII") from None
    keys = [line.partition(" ")[0] for line in lines[1:-1]]
    if lines[0] != FORMAT or lines[-1] != "" or keys != _KEYS:
        raise FormatError(f"promise must be {FORMAT} and its lines {', '.join(_KEYS)}, each with its end")
    origin, genesis, source, batch, seq, batch_root, received, deadline = (
        line.partition(" ")[2] for line in lines[1:-1]
    )
    parse_origin(origin)
    if not is_alias(source):
        raise FormatError(f"promise: {shown(source)} is no log source")
    return Promise(
        origin=origin,
        genesis=parse_base64(genesis, DIGEST_BYTES),
        source=source,
        batch=parse_hex(batch, BATCH_BYTES),
        seq=_parse_seq(seq),
        batch_root=parse_base64(batch_root, DIGEST_BYTES),
        received=parse_time(received),
        deadline=parse_time(deadline),
    )


def _parse_seq(text: str) -> tuple[int, int]:
    lo, _, hi = text.partition(" ")
    first, end = parse_decimal(lo), parse_decimal(hi)
    if not 1 <= end - first <= RECORDS_MAX:
        raise FormatError(f"promise: seq {shown(text)} must hold 1 to 2^20 records")
    return first, end
