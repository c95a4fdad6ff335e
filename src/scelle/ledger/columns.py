"""Hold what an open segment's index and trees are made of, in flat buffers, and make them when it closes.

A record takes 72 bytes (commitment, `inner`, time), and a tag of 16 for each dimension but `source`. The order and
the leaf hashes of a dimension exist only while its block is written: 120 bytes more a record.
"""

import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from scelle.errors import SegmentDamaged
from scelle.formats.compartments import CONTENT_FIELD, is_closed, kept_commitment
from scelle.formats.flat import Part, column_of, interleaved, items_of
from scelle.formats.index import SORT_KEY_BYTES, TAG_BYTES, TagColumn, Tagger, inner_column, leaf_column
from scelle.formats.records import RECORD_KEY_BYTES, SALT_BYTES, field_commitments, whole_commitments
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.formats.values import UNDATED, integer_value, time_value
from scelle.ledger.rows import decode_rows
from scelle.merkle.hashing import HASH_BYTES

_STEP: Final = 2048
_HANDED_STEP: Final = 16_384
_NUMBER_BYTES: Final = 8
_TAGS_KEPT: Final = 32_768
_SIGN: Final = 1 << 63
_FLIPPED: Final = bytes(number ^ 0x80 for number in range(256))
_CLOSED: Final = ord("c")
_letter = itemgetter(0)
_pack_numbers: Final = struct.Struct(">qq").pack


class SortedPart(NamedTuple):
    """Give consecutive entries of one dimension in the order of X: their sort keys and leaf hashes, flat."""

    keys: bytes
    leaves: bytes


class Columns(NamedTuple):
    """What consecutive records give to the index and the trees, flat; `tags` are of the dimensions behind `source`."""

    records: int
    commitments: bytes
    inners: bytes
    times: bytes
    """be64 of time + 2^63, so that they sort as the signed numbers do."""
    tags: tuple[bytes, ...]
    bounds_us: tuple[int, int] | None
    undated: int


class ColumnMaker:
    """Make columns of records of one schema; a pure function of the records, wherever it runs."""

    def __init__(self, schema: Schema, profile: int, tag_key: bytes) -> None:
        self.schema, self.profile, self.tag_key = schema, profile, tag_key
        identified = schema.dimensions[1:]
        tagger = Tagger(tag_key)
        self._closable = CONTENT_FIELD - 2 if schema.digest == DOCUMENT_V1.digest and profile == 1 else None
        """Which value behind time and seq tells a restricted document; None where the schema has no such records."""
        self.taggers = [TagColumn(tagger, name, _TAGS_KEPT // len(identified)) for name in identified]

    def __reduce__(self) -> tuple[type["ColumnMaker"], tuple[Schema, int, bytes]]:
        """Travel to another process by what it was made of: hash states do not."""
        return ColumnMaker, (self.schema, self.profile, self.tag_key)

    def of_records(
        self,
        first_seq: int,
        record_keys: Sequence[bytes],
        times: Sequence[int],
        rests: Sequence[Sequence[bytes]],
        values: Sequence[bytes],
    ) -> Iterator[Columns]:
        """Yield the columns of records: keys, times, values behind time and seq, and all values joined.

        As many values as dimensions need are there; a thousand records at once cost the least.
        """
        start = 0
        for _, run in groupby(map(len, rests)):
            stop = start + sum(1 for _ in run)
            yield self._of_run(
                first_seq + start,
                record_keys[start:stop],
                times[start:stop],
                rests[start:stop],
                values[start:stop],
            )
            start = stop

    def of_frame(self, first_seq: int, plain: bytes) -> Iterator[Columns]:
        """Yield the columns of the rows in a frame; raise `SegmentDamaged` where another row stands in a place."""
        rows = list(decode_rows(plain, first_seq))
        values = [row.split_values() for row in rows]
        for row, own in zip(rows, values, strict=True):
            seq = _signed(own[1]) if len(own) > len(self.taggers) + 1 else None
            if seq != row.seq:
                raise SegmentDamaged(f"record {seq} stands where {row.seq} belongs")
        times = [_signed(own[0]) for own in values]
        rests = [own[2:] for own in values]
        yield from self.of_records(
            first_seq, [row.record_key for row in rows], times, rests, [row.values for row in rows]
        )

    def _of_run(
        self,
        first_seq: int,
        record_keys: Sequence[bytes],
        times: Sequence[int],
        rests: Sequence[Sequence[bytes]],
        values: Sequence[bytes],
    ) -> Columns:
        """Make the columns of records of equally many values."""
        seqs = range(first_seq, first_seq + len(times))
        numbers = b"".join(map(_pack_numbers, times, seqs))
        fields = list(zip(*rests, strict=True))
        if self.profile == 0:
            commitments = whole_commitments(record_keys, values, 2 + len(fields))
        else:
            fixed = [list(map(time_value, times)), list(map(integer_value, seqs))]
            commitments = field_commitments(record_keys, [*fixed, *fields])
            self._commit_closed(commitments, record_keys, fixed, fields)
        flat = b"".join(commitments)
        salts = Part(b"".join(record_keys), RECORD_KEY_BYTES, SALT_BYTES, RECORD_KEY_BYTES)
        tags = tuple(
            b"".join(map(tagger.__getitem__, column))
            for tagger, column in zip(self.taggers, fields, strict=False)
        )
        undated = times.count(UNDATED)
        dated = [time for time in times if time != UNDATED] if undated else times
        return Columns(
            len(times),
            flat,
            inner_column(salts, numbers, flat),
            _sortable(len(times), numbers),
            tags,
            (min(dated), max(dated)) if dated else None,
            undated,
        )

    def _commit_closed(
        self,
        commitments: list[bytes],
        record_keys: Sequence[bytes],
        fixed: Sequence[Sequence[bytes]],
        fields: Sequence[Sequence[bytes]],
    ) -> None:
        """Commit again to restricted documents, whose closed values are leaf hashes already; hardly any record is."""
        at = self._closable
        if at is None or at >= len(fields) or _CLOSED not in map(_letter, fields[at]):
            return
        for place, value in enumerate(fields[at]):
            if is_closed(value):
                values = [column[place] for column in (*fixed, *fields)]
                commitments[place] = kept_commitment(record_keys[place][:SALT_BYTES], values)


def _signed(value: bytes) -> int:
    return int.from_bytes(value[5:], "big", signed=True)


def _sortable(count: int, numbers: bytes) -> bytes:
    flat = interleaved(count, Part(numbers, 2 * _NUMBER_BYTES, 0, _NUMBER_BYTES))
    flat[::_NUMBER_BYTES] = flat[::_NUMBER_BYTES].translate(_FLIPPED)
    return bytes(flat)


class RecordColumns:
    """Take the columns of a segment's records in capture order; give commitments in that order and entries sorted."""

    def __init__(self, maker: ColumnMaker, alias: str, seq_lo: int) -> None:
        self.count = 0
        self.minimum_us: int | None = None
        self.maximum_us: int | None = None
        self.undated = 0
        self._maker, self._seq_lo = maker, seq_lo
        self._source_tag = Tagger(maker.tag_key).tag("source", alias)
        identified = len(maker.taggers)
        self.record_bytes = HASH_BYTES + HASH_BYTES + _NUMBER_BYTES + TAG_BYTES * identified
        """What a record takes in these buffers."""
        self._commitments, self._inners = bytearray(), bytearray()
        self._times = bytearray()
        self._tags = [bytearray() for _ in range(identified)]
        self._later: deque[Later | list[Columns]] = deque()
        """Columns in capture order behind some that are not there yet."""

    def take_records(
        self,
        first_seq: int,
        record_keys: Sequence[bytes],
        times: Sequence[int],
        rests: Sequence[Sequence[bytes]],
        values: Sequence[bytes],
    ) -> None:
        """Take the next records, making their columns here."""
        made = self._maker.of_records(first_seq, record_keys, times, rests, values)
        if self._later:
            self._later.append(list(made))
            return
        for part in made:
            self.take(part)

    def take_later(self, later: "Later") -> None:
        """Take the next records, whose columns are being made elsewhere."""
        self._later.append(later)
        while self._later and _is_made(self._later[0]):
            self._take_first()

    def settle(self) -> None:
        """Wait for the columns that are being made elsewhere."""
        while self._later:
            self._take_first()

    def _take_first(self) -> None:
        first = self._later.popleft()
        for part in first if isinstance(first, list) else first.result():
            self.take(part)

    def take(self, part: Columns) -> None:
        """Take the columns of the next records."""
        self._commitments += part.commitments
        self._inners += part.inners
        self._times += part.times
        for tags, more in zip(self._tags, part.tags, strict=True):
            tags.extend(more)
        self.undated += part.undated
        if part.bounds_us is not None:
            low, high = part.bounds_us
            self.minimum_us = low if self.minimum_us is None else min(low, self.minimum_us)
            self.maximum_us = high if self.maximum_us is None else max(high, self.maximum_us)
        self.count += part.records

    def commitments(self, start: int, stop: int) -> bytes:
        """Return the leaf hashes of R of the records [start, stop), counted from the segment's first."""
        return bytes(self._commitments[HASH_BYTES * start : HASH_BYTES * stop])

    def take_commitments(self) -> bytearray:
        """Give the leaf hashes of R in capture order, and let go of them."""
        taken, self._commitments = self._commitments, bytearray()
        return taken

    def sorted_parts(
        self, dimension: int, at_once: int, crew: "Hasher | None" = None
    ) -> Iterator[SortedPart]:
        """Yield the entries of one dimension (1 ..) in the order of X, so many at once; one time for each."""
        entries: list[bytes] = []
        step = _STEP if crew is None else _HANDED_STEP
        starts = range(0, self.count, step)
        made = (self._unhashed(dimension, start, min(start + step, self.count)) for start in starts)
        for flat in map(hashed_entries, made) if crew is None else crew.entries(made):
            entries += items_of(flat, SORT_KEY_BYTES + HASH_BYTES)
        if dimension > 1:
            self._tags[dimension - 2] = bytearray()
        entries.sort()
        width = SORT_KEY_BYTES + HASH_BYTES
        for start in range(0, self.count, at_once):
            part = entries[start : start + at_once]
            flat = b"".join(part)
            yield SortedPart(
                bytes(interleaved(len(part), Part(flat, width, 0, SORT_KEY_BYTES))),
                bytes(interleaved(len(part), Part(flat, width, SORT_KEY_BYTES, width))),
            )

    def _unhashed(self, dimension: int, start: int, stop: int) -> "Unhashed":
        if dimension == 1:
            tags = self._source_tag * (stop - start)
        else:
            tags = bytes(self._tags[dimension - 2][TAG_BYTES * start : TAG_BYTES * stop])
        return Unhashed(
            dimension,
            self._seq_lo + start,
            tags,
            bytes(self._inners[HASH_BYTES * start : HASH_BYTES * stop]),
            bytes(self._times[_NUMBER_BYTES * start : _NUMBER_BYTES * stop]),
        )


class Unhashed(NamedTuple):
    """Consecutive entries of one dimension, flat, before they are hashed."""

    dimension: int
    first_seq: int
    tags: bytes
    inners: bytes
    times: bytes


def hashed_entries(part: Unhashed) -> bytes:
    """Make sort key and leaf hash of each entry, joined: sorting the one carries the other along."""
    dimension, first_seq, tags, inners, times = part
    count, first = len(times) // _NUMBER_BYTES, first_seq + _SIGN
    return bytes(
        interleaved(
            count,
            column_of(tags, TAG_BYTES),
            column_of(times, _NUMBER_BYTES),
            column_of(struct.pack(f">{count}Q", *range(first, first + count)), _NUMBER_BYTES),
            column_of(leaf_column(dimension, tags, inners), HASH_BYTES),
        )
    )


def _is_made(later: "Later | list[Columns]") -> bool:
    return isinstance(later, list) or later.is_done()


class Later(Protocol):
    """Columns that are being made elsewhere."""

    def is_done(self) -> bool:
        """Tell whether `result` gives them at once."""

    def result(self) -> Sequence[Columns]:
        """Wait for them."""


class Hasher(Protocol):
    """Whoever hashes entries elsewhere."""

    def entries(self, parts: Iterable[Unhashed]) -> Iterator[bytes]:
        """Give what `hashed_entries` makes of each, in order."""
