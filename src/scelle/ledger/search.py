"""Look into a committed segment: ranges of its sorted index, rows by their sequence numbers.

Nothing is proven here, and nothing is read that is not needed: a few frames of the index for a range, and the
frames in which wanted rows lie.
"""

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from scelle.errors import SegmentDamaged
from scelle.formats.entries import Entry, Erase
from scelle.formats.index import sort_key
from scelle.formats.tokens import INT64_MAX, INT64_MIN
from scelle.ledger.segments import FRAME_ROWS, Row, SegmentReader

KEY_BYTES: Final = 32
_WORDS: Final = KEY_BYTES // 8
_FRAMES_KEPT: Final = 8
_HEAD_BYTES: Final = 36
_be32: Final = struct.Struct(">I").unpack_from
_be16: Final = struct.Struct(">H").unpack_from


@dataclass(slots=True)
class Erased:
    """Hold what is erased of one segment: positions in R, and positions in X."""

    records: set[int] = field(default_factory=set)
    places: set[int] = field(default_factory=set)


def erased_records(entries: Iterable[Entry]) -> dict[int, Erased]:
    """Collect the tombstones of a log by the log index of the segment that they speak of."""
    found: dict[int, Erased] = {}
    for entry in entries:
        if isinstance(entry, Erase):
            of_segment = found.setdefault(entry.segment[0], Erased())
            of_segment.records.add(entry.record[0])
            of_segment.places.update(entry.index)
    return found


class SortedBlock:
    """Search one dimension's block of X by binary search; entries under a tombstone are passed over.

    Ranks count the living entries; what the index file has where an entry was erased is not looked at.
    """

    def __init__(self, reader: SegmentReader, ordinal: int, erased: Erased) -> None:
        self._reader, self._ordinal = reader, ordinal
        count = reader.manifest.records
        start = (ordinal - 1) * count
        places = sorted(place - start for place in erased.places if start <= place < start + count)
        self._shifts = [place - before for before, place in enumerate(places)]
        self._gone = places
        self.living = count - len(places)
        self._frames: dict[int, bytes] = {}

    def ranks(self, tag: bytes, low_us: int, high_us: int) -> tuple[int, int]:
        """Return the ranks [lo, hi) of the entries of a tag with low <= time < high."""
        lo = self._first_at_least(tag + sort_key(low_us, INT64_MIN))
        beyond = tag + (b"\xff" * 17 if high_us > INT64_MAX else sort_key(high_us, INT64_MIN))
        return lo, max(lo, self._first_at_least(beyond))

    def seqs(self, lo: int, hi: int) -> list[int]:
        """Return the sequence numbers of the entries with ranks [lo, hi), in the order of the index."""
        if lo >= hi:
            return []
        first, last = self._position(lo), self._position(hi - 1)
        found = array("Q")
        for number in range(first // FRAME_ROWS, last // FRAME_ROWS + 1):
            at = number * FRAME_ROWS
            frame = self._frame(number)[max(first - at, 0) * KEY_BYTES : (last + 1 - at) * KEY_BYTES]
            found += array("Q", frame)[_WORDS - 1 :: _WORDS]
        if sys.byteorder == "little":
            found.byteswap()
        for place in reversed(self._gone[bisect_left(self._gone, first) : bisect_right(self._gone, last)]):
            del found[place - first]
        return [word + INT64_MIN for word in found]

    def _position(self, rank: int) -> int:
        return rank + bisect_right(self._shifts, rank)

    def _key(self, rank: int) -> bytes:
        number, place = divmod(self._position(rank), FRAME_ROWS)
        return self._frame(number)[place * KEY_BYTES : (place + 1) * KEY_BYTES]

    def _first_at_least(self, target: bytes) -> int:
        return bisect_left(range(self.living), target, key=self._key)

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
        """The sequence number of the first row, as the row itself says it."""
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
