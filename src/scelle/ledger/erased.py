"""Write and read a segment's file `erased`: what of each erased record is left, opaque hashes and positions.

docs/formats/ledger-files.md has the bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from scelle.errors import FormatError
from scelle.merkle.hashing import HASH_BYTES

MAGIC: Final = b"scelle/erased/v1\n"
_PLACE_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class ErasedRecord:
    """One erased record: its position in R with its commitment, and its positions in X with their leaf hashes."""

    position: int
    commitment: bytes
    places: tuple[int, ...]
    leaves: tuple[bytes, ...]


def erased_bytes(records: int, dimensions: int) -> int:
    """Return how large the file is for so many erased records."""
    return len(MAGIC) + records * (1 + dimensions) * (_PLACE_BYTES + HASH_BYTES)


def encode_erased(records: Iterable[ErasedRecord]) -> bytes:
    """Write the file: records by rising position in R."""
    parts = [MAGIC]
    for each in sorted(records, key=lambda record: record.position):
        pairs = [(each.position, each.commitment), *zip(each.places, each.leaves, strict=True)]
        parts += [place.to_bytes(_PLACE_BYTES, "big") + hashed for place, hashed in pairs]
    return b"".join(parts)


def parse_erased(data: bytes, dimensions: int) -> Mapping[int, ErasedRecord]:
    """Read the file of a segment of so many dimensions, by position in R; raise FormatError for anything else."""
    width = _PLACE_BYTES + HASH_BYTES
    count, rest = divmod(len(data) - len(MAGIC), (1 + dimensions) * width)
    if not data.startswith(MAGIC) or rest:
        raise FormatError("it is no list of erased records of a segment with so many dimensions")
    found: dict[int, ErasedRecord] = {}
    for number in range(count):
        start = len(MAGIC) + number * (1 + dimensions) * width
        pairs = [_pair(data, start + k * width) for k in range(1 + dimensions)]
        record = ErasedRecord(
            pairs[0][0],
            pairs[0][1],
            tuple(place for place, _ in pairs[1:]),
            tuple(leaf for _, leaf in pairs[1:]),
        )
        if found and record.position <= next(reversed(found)):
            raise FormatError(f"record {number} in it does not stand behind the one before")
        found[record.position] = record
    return found


def _pair(data: bytes, at: int) -> tuple[int, bytes]:
    hashed_at = at + _PLACE_BYTES
    return int.from_bytes(data[at:hashed_at], "big"), data[hashed_at : hashed_at + HASH_BYTES]
