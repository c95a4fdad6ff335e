"""Read the rows that frames hold: record key, values, and what capture keeps beside them."""

from collections.abc import Iterator
from dataclasses import dataclass

from scelle.errors import SegmentDamaged


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it is kept: its key, its canonical values, and what capture remembers beside it."""

    seq: int
    record_key: bytes
    values: bytes
    side: bytes

    def split_values(self) -> list[bytes]:
        """Return the canonical bytes of each value."""
        return split_values(self.values)


def split_values(data: bytes) -> list[bytes]:
    """Cut `V_0 .. V_{n-1}` into its values; raise `SegmentDamaged` where they do not fit."""
    values, offset, end = [], 0, len(data)
    while offset < end:
        stop = offset + 5 + int.from_bytes(data[offset + 1 : offset + 5], "big")
        if stop > end:
            raise SegmentDamaged("a value is longer than its row")
        values.append(data[offset:stop])
        offset = stop
    return values


def decode_rows(plain: bytes, seq: int) -> Iterator[Row]:
    """Yield the rows of one frame, the first of which has the sequence number `seq`."""
    offset, end, from_bytes = 0, len(plain), int.from_bytes
    while offset < end:
        values_at = offset + 36
        side_at = values_at + from_bytes(plain[offset + 32 : values_at], "big")
        stop = side_at + 2 + from_bytes(plain[side_at : side_at + 2], "big")
        if stop > end or side_at + 2 > end:
            raise SegmentDamaged("a row is longer than its frame")
        yield Row(seq, plain[offset : offset + 32], plain[values_at:side_at], plain[side_at + 2 : stop])
        offset, seq = stop, seq + 1


def decode_own_rows(plain: bytes) -> Iterator[Row]:
    """Yield the rows of one frame by the sequence numbers that they hold themselves: some of them were erased."""
    for row in decode_rows(plain, 0):
        yield Row(own_seq(row.values), row.record_key, row.values, row.side)


def own_seq(values: bytes) -> int:
    """Return the sequence number that a row holds: its second value, behind the time."""
    return int.from_bytes(values[18:26], "big", signed=True)
