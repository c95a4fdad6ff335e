"""Answer a segment by ranges of its sorted index (strengths B and C; ledger.md §7)."""

import heapq
from array import array
from collections.abc import Iterator
from typing import Final

from scelle.errors import RecordNotAsSealed
from scelle.formats.index import index_leaf, inner, tag, u2, u3
from scelle.formats.packages import FarNeighbour, Hit, NearNeighbour, Neighbour, Query, RangeLine
from scelle.formats.tokens import is_reserved_alias
from scelle.ledger.search import IndexBlock
from scelle.ledger.segments import SegmentReader, parse_sort_key
from scelle.merkle.hashing import HASH_BYTES
from scelle.productions.model import ACCOUNT, Withholding
from scelle.productions.pages import Pages
from scelle.productions.plan import RangeName, Task, window_of
from scelle.productions.records import Draft, Drafter
from scelle.productions.search import FoundRange, RecordHashes, SegmentTree, find_range

LINE_HITS: Final = 4096
"""Hits on a line that shows a part of a segment: with their paths at most 6 MB."""
BARE_LINE_HITS: Final = 1 << 18
"""Hits on a line that shows all records of a segment, and therefore needs no paths: at most 39 MB."""
_SALT_BYTES: Final = 16


class RangeAnswer:
    """Hold what is known of one segment while it is answered: 44 bytes a hit, 32 or 96 a record."""

    def __init__(
        self,
        task: Task,
        reader: SegmentReader,
        query: Query,
        withholding: Withholding,
        pages: Pages,
        tag_key: bytes,
    ) -> None:
        self._task, self._reader, self._pages = task, reader, pages
        name = pages.source_name(task.manifest.source)
        self._drafter = Drafter(task, query, withholding, pages.shelf, name)
        self._tag = tag(tag_key, query.dimension, task.manifest.source if task.ordinal == 1 else query.value)
        self._block = IndexBlock(reader, task.ordinal, task.erased.places)
        # "undated" stands first in X, and last in proofs.jsonl
        self._ranges: dict[RangeName, FoundRange] = {
            name: find_range(self._block, self._tag, window_of(query, name))
            for name in sorted(task.ranges, reverse=True)
        }
        if query.dimension == ACCOUNT and query.value and not is_reserved_alias(task.manifest.source):
            self._count_without_holder(tag(tag_key, ACCOUNT, None), query)
        self._positions, self._seqs, self._times = array("Q"), array("q"), array("q")
        self._salts = bytearray()
        self._edge_salts: dict[int, bytes] = {}
        self._drafts, self._draft_sizes = array("Q"), array("Q")

    def _count_without_holder(self, nobody: bytes, query: Query) -> None:
        """Count the records of the same times that have neither custodian nor account."""
        for name in self._ranges:
            found = find_range(self._block, nobody, window_of(query, name))
            self._pages.tally.without_holder += found.hi - found.lo

    def write(self) -> None:
        """Write all pages of this segment.

        Raises `RecordNotAsSealed` where rows, index and trees do not agree, and `ContentNotAsSealed`.
        """
        manifest = self._task.manifest
        of_records, of_index = self._reader.nodes() or (None, None)
        self._index = SegmentTree(
            self._reader, manifest.records, manifest.index_size, manifest.index_root, of_index
        )
        self._find_hits()
        self._records = RecordHashes(self._reader, of_records, len(self._seqs))
        self._draft_in_capture_order()
        self._write_records()
        slots, slot = {}, 0
        for name, found in self._ranges.items():
            slots[name], slot = slot, slot + found.hi - found.lo
        for name in sorted(self._ranges):
            self._write_range(name, self._ranges[name], slots[name])

    def _refuse(self, part: str, why: str) -> None:
        raise RecordNotAsSealed(
            f"{self._reader.folder / part}: {why}: nothing was produced; run `scelle verify`"
        )

    def _find_hits(self) -> None:
        """Note place, sequence number and time of each living hit in the order of X; count the erased."""
        ranges = self._ranges.values()
        for rank in (rank for found in ranges for rank in range(found.lo, found.hi)):
            _, time_us, seq = parse_sort_key(self._block.key(rank))
            self._positions.append(self._block.position(rank))
            self._seqs.append(seq)
            self._times.append(time_us)
        count = len(self._seqs)
        self._salts = bytearray(_SALT_BYTES * count)
        self._drafts, self._draft_sizes = array("Q", bytes(8 * count)), array("Q", bytes(8 * count))
        erased = self._task.erased.places
        self._pages.tally.erased += sum(any(f.first <= place < f.stop for f in ranges) for place in erased)

    def _draft_in_capture_order(self) -> None:
        """Read each frame of rows once, and contents in the order of the packs."""
        reader, pages = self._reader, self._pages
        for seq, slot in self._wanted():
            row = reader.row(seq)
            if slot < 0:
                self._edge_salts[-1 - slot] = row.record_key[_SALT_BYTES:]
                continue
            draft = self._drafter.draft(row, self._positions[slot])
            if draft.rc != self._rc(seq):
                self._refuse("rows", f"row {seq} is not the record that was sealed")
            self._salts[_SALT_BYTES * slot : _SALT_BYTES * (slot + 1)] = row.record_key[_SALT_BYTES:]
            data = draft.pack()
            self._drafts[slot], self._draft_sizes[slot] = pages.drafts.size_bytes, len(data)
            pages.drafts.write(data)
            pages.advance()

    def _wanted(self) -> Iterator[tuple[int, int]]:
        """Yield (sequence number, slot), rising: slots from 0 are hits, -1 - r is the neighbour of rank r."""
        order = sorted(range(len(self._seqs)), key=self._seqs.__getitem__)
        edges = []
        for found in self._ranges.values():
            ranks = [found.lo - 1] * found.has_left + [found.hi] * found.has_right
            edges += [(parse_sort_key(self._block.key(rank))[2], -1 - rank) for rank in ranks]
        return heapq.merge(((self._seqs[slot], slot) for slot in order), sorted(edges))

    def _write_records(self) -> None:
        drafts = self._pages.drafts
        drafts.drain()
        for slot, position in enumerate(self._positions):
            draft = Draft.unpack(drafts.read(self._drafts[slot], self._draft_sizes[slot]))
            self._pages.record(self._task, position, draft, None)
        drafts.clear()

    def _write_range(self, name: RangeName, found: FoundRange, slot: int) -> None:
        """Write the lines of one range; `slot` is that of its first living hit.

        A line that shows all records of the segment carries no paths: record-root follows from their rcs.
        """
        count = found.stop - found.first
        is_bare = count == self._task.manifest.records and count <= BARE_LINE_HITS
        width = count if is_bare else LINE_HITS
        start, stop = found.first, found.first
        while True:
            start, stop = stop, min(stop + width, found.stop)
            left = self._neighbour(found.lo - 1) if start == found.first and found.has_left else None
            right = self._neighbour(found.hi) if stop == found.stop and found.has_right else None
            lo, hi = start - (left is not None), stop + (right is not None)
            line = RangeLine(
                self._task.at, lo, (), left, right, self._index.range_proof(lo, hi), name
            ).encode()
            head, mark, tail = line.partition(b'"hits":[')
            self._pages.proofs.write(head + mark)
            slot = self._write_hits(start, stop, slot, is_bare)
            self._pages.proofs.write(tail)
            if stop == found.stop:
                return

    def _write_hits(self, start: int, stop: int, slot: int, is_bare: bool) -> int:
        """Write the hits at positions [start, stop) and return the slot of the next one."""
        proofs, erased, leaves = self._pages.proofs, self._task.erased.places, self._index.leaves(start, stop)
        for place in range(start, stop):
            comma = b"," if place > start else b""
            leaf = leaves[HASH_BYTES * (place - start) : HASH_BYTES * (place - start + 1)]
            if place in erased:
                proofs.write(b'%s"%s"' % (comma, leaf.hex().encode()))
                continue
            salt = bytes(self._salts[_SALT_BYTES * slot : _SALT_BYTES * (slot + 1)])
            hit = self._hit(salt, self._times[slot], self._seqs[slot], is_bare)
            self._check_leaf(leaf, self._tag, hit, place)
            proofs.write(comma + hit.json().encode())
            slot += 1
        return slot

    def _hit(self, salt: bytes, time_us: int, seq: int, is_bare: bool) -> Hit:
        return Hit(salt, time_us, seq, self._rc(seq), () if is_bare else self._path(seq))

    def _check_leaf(self, leaf: bytes, tag: bytes, hit: Hit, place: int) -> None:
        if index_leaf(self._task.ordinal, tag, hit.salt, hit.time, hit.seq, hit.rc) != leaf:
            self._refuse("index", f"the entry at position {place} is not the one that was sealed")

    def _neighbour(self, rank: int) -> Neighbour:
        """Show a living entry beside a range by as many bytes of its tag as it takes to differ (§3)."""
        other, time_us, seq = parse_sort_key(self._block.key(rank))
        is_same = other == self._tag
        hit = self._hit(self._edge_salts[rank], time_us, seq, not is_same)
        place = self._block.position(rank)
        self._check_leaf(self._index.leaves(place, place + 1), other, hit, place)
        if is_same:
            return NearNeighbour(other, hit)
        below = inner(hit.salt, time_us, seq, hit.rc)
        if other[0] != self._tag[0]:
            return FarNeighbour(other[:1], u2(other, u3(other, below)))
        if other[1] != self._tag[1]:
            return FarNeighbour(other[:2], u3(other, below))
        return FarNeighbour(other, below)

    def _rc(self, seq: int) -> bytes:
        return self._records.commitment(seq - self._task.manifest.seq[0])

    def _path(self, seq: int) -> tuple[bytes, ...]:
        return self._records.path(seq - self._task.manifest.seq[0])
