"""Look into a committed segment: ranges of its sorted index, rows by their sequence numbers.

Nothing is proven here, and nothing is read that is not needed: a few frames of the index for a range, and the
frames in which wanted rows lie.
"""

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from scelle.errors import SegmentDamaged
from scelle.formats.entries import Entry, Erase
from scelle.formats.index import SORT_KEY_BYTES, sort_key
from scelle.formats.tokens import INT64_MAX, INT64_MIN
from scelle.ledger.rows import Row
from scelle.ledger.segments import FRAME_ROWS, SegmentReader

_WORDS: Final = SORT_KEY_BYTES // 8
_FRAMES_KEPT: Final = 8
_HEAD_BYTES: Final = 36
_be32: Final = struct.Struct(">I").unpack_from
_be16: Final = struct.Struct(">H").unpack_from


@dataclass(slots=True)
class Tombstones:
    """Hold what is erased of one segment: commitments by position in R, positions in X, and those of each record."""

    records: dict[int, bytes] = field(default_factory=dict)
    places: set[int] = field(default_factory=set)
    index: dict[int, tuple[int, ...]] = field(default_factory=dict)


def tombstones(entries: Iterable[Entry]) -> dict[int, Tombstones]:
    """Collect what is erased, by the log index of the segment's manifest."""
    found: dict[int, Tombstones] = {}
    for entry in entries:
        if isinstance(entry, Erase):
            of_segment = found.setdefault(entry.segment[0], Tombstones())
            of_segment.records[entry.record[0]] = entry.record[1]
            of_segment.places.update(entry.index)
            of_segment.index[entry.record[0]] = entry.index
    return found


class IndexBlock:
    """Search one dimension's block of X: its entries by position, the living ones also by rank.

    Entries under a tombstone keep their position; what the index file has there is not looked at.
    """

    def __init__(self, reader: SegmentReader, ordinal: int, erased_places: Collection[int]) -> None:
        self._reader, self._ordinal = reader, ordinal
        count = reader.manifest.records
        self.start, self.stop = (ordinal - 1) * count, ordinal * count
        self._gone = sorted(place - self.start for place in erased_places if self.start <= place < self.stop)
        self._shifts = [place - before for before, place in enumerate(self._gone)]
        self.living = count - len(self._gone)
        self._frames: dict[int, bytes] = {}

    def ranks(self, tag: bytes, low_us: int, high_us: int) -> tuple[int, int]:
        """Return the ranks [lo, hi) of the entries of a tag with low <= time < high."""
        lo = self.first_at_least(tag + sort_key(low_us, INT64_MIN))
        beyond = tag + (b"\xff" * 17 if high_us > INT64_MAX else sort_key(high_us, INT64_MIN))
        return lo, max(lo, self.first_at_least(beyond))

    def seqs(self, lo: int, hi: int) -> list[int]:
        """Return the sequence numbers of the entries with ranks [lo, hi), in the order of the index."""
        if lo >= hi:
            return []
        first, last = self.position(lo) - self.start, self.position(hi - 1) - self.start
        found = array("Q")
        for number in range(first // FRAME_ROWS, last // FRAME_ROWS + 1):
            at = number * FRAME_ROWS
            frame = self._frame(number)[
                max(first - at, 0) * SORT_KEY_BYTES : (last + 1 - at) * SORT_KEY_BYTES
            ]
            found += array("Q", frame)[_WORDS - 1 :: _WORDS]
        if sys.byteorder == "little":
            found.byteswap()
        for place in reversed(self._gone[bisect_left(self._gone, first) : bisect_right(self._gone, last)]):
            del found[place - first]
        return [word + INT64_MIN for word in found]

    def position(self, rank: int) -> int:
        """Return the position in X of the living entry number `rank`."""
        return self.start + rank + bisect_right(self._shifts, rank)

    def key(self, rank: int) -> bytes:
        """Return the sort key (tag || time + 2^63 || seq + 2^63) of a living entry."""
        number, place = divmod(self.position(rank) - self.start, FRAME_ROWS)
        return self._frame(number)[place * SORT_KEY_BYTES : (place + 1) * SORT_KEY_BYTES]

    def first_at_least(self, target: bytes, from_rank: int = 0) -> int:
        """Return the rank of the first living entry whose key is not below `target`, `living` if none is.

        None before `from_rank` is looked at; near to it the fewest are.
        """
        step = 1
        low = high = from_rank
        while from_rank and high < self.living and self.key(high) < target:
            low, high, step = high + 1, high + step, 2 * step
        return bisect_left(
            range(self.living), target, low, min(high, self.living) if from_rank else None, key=self.key
        )

    def _frame(self, number: int) -> bytes:
        if number not in self._frames:
            if len(self._frames) >= _FRAMES_KEPT:
                self._frames.pop(next(iter(self._frames)))
            self._frames[number] = self._reader.index_frame(self._ordinal, number)
        return self._frames[number]


Span: TypeAlias = tuple[int, int, int]
"""Where in a frame a row's values begin, where its side's length stands, and where the row ends (bytes)."""


class RowFrame:
    """Walk through the rows of one frame without decoding those that nobody wants."""

    def __init__(self, reader: SegmentReader, number: int) -> None:
        self.plain = reader.row_frame(number)
        self.number = number
        self.seq = int.from_bytes(self.plain[54:62], "big", signed=True)
        """The sequence number of the first row, as the row itself says it; 0 where all its rows were erased."""
        self._folder = reader.folder

    def spans(self) -> Iterator[Span]:
        """Yield where each row stands, in capture order."""
        plain, offset, end = self.plain, 0, len(self.plain)
        try:
            while offset < end:
                values_at = offset + _HEAD_BYTES
                side_at = values_at + _be32(plain, values_at - 4)[0]
                offset = side_at + 2 + _be16(plain, side_at)[0]
                yield values_at, side_at, offset
        except struct.error:
            raise SegmentDamaged(f"{self._folder}: a row of frame {self.number} is cut short") from None

    def seq_at(self, span: Span) -> int:
        """Return the sequence number that a row holds itself: behind erased ones, counting does not tell it."""
        return int.from_bytes(self.plain[span[0] + 18 : span[0] + 26], "big", signed=True)

    def row(self, seq: int, span: Span) -> Row:
        """Return the row that stands there, whose sequence number is `seq`."""
        (values_at, side_at, stop), plain = span, self.plain
        said = int.from_bytes(plain[values_at + 18 : values_at + 26], "big", signed=True)
        if said != seq or stop > len(plain):
            raise SegmentDamaged(
                f"{self._folder}: row {said} stands where {seq} belongs: run `scelle verify`"
            )
        key = plain[values_at - _HEAD_BYTES : values_at - 4]
        return Row(seq, key, plain[values_at:side_at], plain[side_at + 2 : stop])


def frames_of(reader: SegmentReader) -> Iterator[RowFrame]:
    """Yield the frames of a segment in capture order."""
    for number in range(reader.row_frames):
        yield RowFrame(reader, number)


def rows_of(reader: SegmentReader, seqs: Iterable[int]) -> Iterator[Row]:
    """Yield the rows with these sequence numbers, which should ascend; frames without one are not unpacked."""
    return (reader.row(seq) for seq in seqs)
