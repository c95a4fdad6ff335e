"""Hold what an open segment's index and trees are made of, in flat buffers, and make them when it closes.

A record takes 72 bytes (commitment, `inner`, time), and a tag of 16 for each dimension but `source`. The order and
the leaf hashes of a dimension exist only while its block is written: 120 bytes more a record.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from scelle.formats.flat import Part, column_of, interleaved, items_of
from scelle.formats.index import TAG_BYTES, TagColumn, Tagger, inner_column, leaf_column
from scelle.formats.records import RECORD_KEY_BYTES, SALT_BYTES, field_commitments, whole_commitments
from scelle.formats.schema import Schema
from scelle.formats.values import UNDATED, integer_value, time_value
from scelle.merkle.hashing import HASH_BYTES

_STEP: Final = 2048
KEY_BYTES: Final = 32
_NUMBER_BYTES: Final = 8
_TAGS_KEPT: Final = 32_768
_SIGN: Final = 1 << 63
_FLIPPED: Final = bytes(number ^ 0x80 for number in range(256))
_pack_numbers: Final = struct.Struct(">qq").pack


class SortedPart(NamedTuple):
    """Give consecutive entries of one dimension in the order of X: their sort keys and leaf hashes, flat."""

    keys: bytes
    leaves: bytes


class RecordColumns:
    """Take records in capture order; give commitments in that order and index entries sorted."""

    def __init__(self, schema: Schema, profile: int, tag_key: bytes, alias: str, seq_lo: int) -> None:
        tagger = Tagger(tag_key)
        self.count = 0
        self.minimum_us: int | None = None
        self.maximum_us: int | None = None
        self.undated = 0
        self._profile, self._seq_lo = profile, seq_lo
        self._source_tag = tagger.tag("source", alias)
        identified = schema.dimensions[1:]
        self._taggers = [TagColumn(tagger, name, _TAGS_KEPT // len(identified)) for name in identified]
        self.record_bytes = HASH_BYTES + HASH_BYTES + _NUMBER_BYTES + TAG_BYTES * len(identified)
        """What a record takes in these buffers."""
        self._commitments, self._inners = bytearray(), bytearray()
        self._times = bytearray()
        """be64 of time + 2^63, so that they sort as the signed numbers do."""
        self._tags = [bytearray() for _ in self._taggers]

    def add(
        self,
        record_keys: Sequence[bytes],
        times: Sequence[int],
        rests: Sequence[Sequence[bytes]],
        values: Sequence[bytes],
    ) -> None:
        """Take the next records: keys, times, values behind time and seq, and all values joined.

        As many values as dimensions need are there; a thousand records at once cost the least.
        """
        start = 0
        for _, run in groupby(map(len, rests)):
            stop = start + sum(1 for _ in run)
            self._add_run(record_keys[start:stop], times[start:stop], rests[start:stop], values[start:stop])
            start = stop

    def _add_run(
        self,
        record_keys: Sequence[bytes],
        times: Sequence[int],
        rests: Sequence[Sequence[bytes]],
        values: Sequence[bytes],
    ) -> None:
        """Take records of equally many values."""
        first_seq = self._seq_lo + self.count
        seqs = range(first_seq, first_seq + len(times))
        numbers = b"".join(map(_pack_numbers, times, seqs))
        fields = list(zip(*rests, strict=True))
        if self._profile == 0:
            commitments = whole_commitments(record_keys, values, 2 + len(fields))
        else:
            fixed = [list(map(time_value, times)), list(map(integer_value, seqs))]
            commitments = field_commitments(record_keys, [*fixed, *fields])
        flat = b"".join(commitments)
        self._commitments += flat
        salts = Part(b"".join(record_keys), RECORD_KEY_BYTES, SALT_BYTES, RECORD_KEY_BYTES)
        self._inners += inner_column(salts, numbers, flat)
        for tags, tagger, column in zip(self._tags, self._taggers, fields, strict=False):
            tags.extend(b"".join(map(tagger.__getitem__, column)))
        self._add_times(times, numbers)
        self.count += len(times)

    def _add_times(self, times: Sequence[int], numbers: bytes) -> None:
        flat = interleaved(len(times), Part(numbers, 2 * _NUMBER_BYTES, 0, _NUMBER_BYTES))
        flat[::_NUMBER_BYTES] = flat[::_NUMBER_BYTES].translate(_FLIPPED)
        self._times += flat
        undated = times.count(UNDATED)
        self.undated += undated
        dated = [time for time in times if time != UNDATED] if undated else times
        if dated:
            low, high = min(dated), max(dated)
            self.minimum_us = low if self.minimum_us is None else min(low, self.minimum_us)
            self.maximum_us = high if self.maximum_us is None else max(high, self.maximum_us)

    def take_commitments(self) -> bytearray:
        """Give the leaf hashes of R in capture order, and let go of them."""
        taken, self._commitments = self._commitments, bytearray()
        return taken

    def sorted_parts(self, dimension: int, at_once: int) -> Iterator[SortedPart]:
        """Yield the entries of one dimension (1 ..) in the order of X, so many at once; one time for each."""
        entries: list[bytes] = []
        for start in range(0, self.count, _STEP):
            entries += self._entries(dimension, start, min(start + _STEP, self.count))
        if dimension > 1:
            self._tags[dimension - 2] = bytearray()
        entries.sort()
        width = KEY_BYTES + HASH_BYTES
        for start in range(0, self.count, at_once):
            part = entries[start : start + at_once]
            flat = b"".join(part)
            yield SortedPart(
                bytes(interleaved(len(part), Part(flat, width, 0, KEY_BYTES))),
                bytes(interleaved(len(part), Part(flat, width, KEY_BYTES, width))),
            )

    def _entries(self, dimension: int, start: int, stop: int) -> list[bytes]:
        """Make sort key and leaf hash of records [start, stop), joined: sorting the one carries the other along."""
        count, first = stop - start, self._seq_lo + start + _SIGN
        if dimension == 1:
            tags: bytes | bytearray = self._source_tag * count
        else:
            tags = self._tags[dimension - 2][TAG_BYTES * start : TAG_BYTES * stop]
        leaves = leaf_column(dimension, tags, self._inners[HASH_BYTES * start : HASH_BYTES * stop])
        seqs = struct.pack(f">{count}Q", *range(first, first + count))
        times = self._times[_NUMBER_BYTES * start : _NUMBER_BYTES * stop]
        made = interleaved(
            count,
            column_of(tags, TAG_BYTES),
            column_of(times, _NUMBER_BYTES),
            column_of(seqs, _NUMBER_BYTES),
            column_of(leaves, HASH_BYTES),
        )
        return items_of(made, KEY_BYTES + HASH_BYTES)
