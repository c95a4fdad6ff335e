"""Find sealed records by their metadata: ask the sorted index where it can answer, read rows where it cannot."""

import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import tzinfo
from heapq import nsmallest
from typing import Any, Final, TypeAlias

from scelle.capture.identity import ItemNames
from scelle.errors import QueryWrong
from scelle.find.binding import HOLDER_FIELD, Binder, Cell, Sources, Undecided, Window
from scelle.find.language import parse_query
from scelle.find.planning import (
    all_within,
    columns_of,
    index_cells,
    is_answered,
    may_match,
    row_test,
    window_of,
)
from scelle.formats.entries import Segment
from scelle.formats.index import Tagger
from scelle.formats.schema import Schema
from scelle.formats.tokens import UNDATED
from scelle.formats.values import NULL
from scelle.ledger.rows import Row
from scelle.ledger.search import IndexBlock, RowFrame, Span, Tombstones, frames_of, rows_of, tombstones
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedger
from scelle.orders.days import utc_text
from scelle.release.quarantine import by_segment, quarantined
from scelle.vault.keys import VaultKey

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many records were searched, and how many there are."""

ITEMS_SHOWN: Final = 1000
_TOLD_EVERY: Final = 8192
_be32: Final = struct.Struct(">I").unpack_from


@dataclass(frozen=True, slots=True)
class FoundItem:
    """One match: item id, source as people call it, identifier of dimension account, event time in RFC 3339 UTC.

    `id` is None where the source gave none: an event of the order. `account` carries its kind, as it is sealed, and
    is None where the record is of nobody. `time` is None where the record is undated, and a number of microseconds
    outside the years 1 to 9999.
    """

    id: str | None
    source: str
    account: str | None
    time: str | None
    place: str
    """ALIAS:SEQ, as `disclose` takes it."""


@dataclass(slots=True)
class Hits:
    """Hold all matches' count, and the first of them by source and sequence number.

    `size` is that of the checkpoint under which was searched; `segments` counts those of the sources searched,
    `segments_read` those that were not left out on their manifest's word.
    """

    size: int
    limit: int
    count: int = 0
    items: list[FoundItem] = field(default_factory=list)
    segments: int = 0
    segments_read: int = 0
    quarantined: int | None = 0
    """How many more match and are quarantined: neither counted nor shown; None for whoever is not told."""

    def to_json(self) -> dict[str, Any]:
        """Return the hits as `find --json` prints them; an item's id is enough for `disclose`."""
        document = asdict(self)
        for item in document["items"]:
            del item["place"]
        if self.quarantined is None:
            del document["quarantined"]
        return document


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


def find(
    ledger: OrderLedger,
    query: str,
    *,
    zone: tzinfo,
    names: Mapping[str, str],
    vault_key: VaultKey,
    limit: int = ITEMS_SHOWN,
    progress: Progress = _silent,
) -> Hits:
    """Find the sealed records that a query asks for, among those under the published checkpoint.

    `names` are what people call log sources, by alias. Dates of the query are days in `zone`. All matches are
    counted, and the first `limit` given. Raises `QueryWrong`, and IntegrityError where what is read is damaged.
    What is quarantined is left out. What is found is what the vault says: nothing is proven by it.
    """
    if limit < 0:
        raise QueryWrong(f"limit {limit} is below 0: give how many items are to be shown")
    node = parse_query(query)
    manifests = list(ledger.manifests())
    sources = Sources(frozenset(manifest.source for _, manifest in manifests), names)
    searched = set(sources.searched(node))
    segments = [(at, each) for at, each in manifests if each.source in searched]
    digests = dict.fromkeys(manifest.schema for _, manifest in segments)
    binder = Binder(node, sources, [ledger.schema(digest) for digest in digests], zone)
    hits = Hits(size=ledger.log.size, limit=limit)
    search = _Search(ledger, binder, sources, vault_key, hits, progress)
    search.run([(at, each) for at, each in segments if each.records])
    return hits


class _Search:
    """One run over the segments of an order, in the order of their sources."""

    def __init__(
        self,
        ledger: OrderLedger,
        binder: Binder,
        sources: Sources,
        vault_key: VaultKey,
        hits: Hits,
        progress: Progress,
    ) -> None:
        self._ledger, self._binder, self._sources, self._vault_key = ledger, binder, sources, vault_key
        self._hits, self._progress = hits, progress
        self._tagger = Tagger(ledger.secrets.tag_key)
        self._done = self._total = 0

    def run(self, segments: Sequence[tuple[int, Segment]]) -> None:
        """Search all of them."""
        erased = tombstones(self._ledger.entries)
        hidden = by_segment(quarantined(self._ledger))
        self._total = sum(manifest.records for _, manifest in segments)
        self._hits.segments = len(segments)
        for at, manifest in sorted(segments, key=lambda pair: _place(pair[1])):
            before = self._done
            self._search(manifest, erased.get(at, Tombstones()), hidden.get(at, set()))
            self._done = before + manifest.records
            self._progress(self._done, self._total)

    def _search(self, manifest: Segment, erased: Tombstones, hidden: Collection[int]) -> None:
        schema = self._ledger.schema(manifest.schema)
        bound = self._binder.bind(manifest.source, schema)
        if bound is False or (bound is not True and not may_match(manifest, window_of(bound))):
            return
        self._hits.segments_read += 1
        with closing(self._ledger.segment(manifest)) as reader:
            if bound is True:
                self._take_all(reader, erased, hidden)
            else:
                self._take(reader, erased, hidden, schema, bound)

    def _take_all(self, reader: SegmentReader, erased: Tombstones, hidden: Collection[int]) -> None:
        """Take every record of a segment: as many as the manifest says, less those that are erased or quarantined."""
        low, high = reader.manifest.seq
        room = self._room()
        kept_back = sum(seq - low not in erased.records for seq in hidden)
        living = (seq for seq in range(low, high) if seq - low not in erased.records and seq not in hidden)
        self._hits.count += reader.manifest.records - len(erased.records) - kept_back
        self._keep_back(kept_back)
        self._show(reader, [seq for seq, _ in zip(living, range(room), strict=False)])

    def _take(
        self,
        reader: SegmentReader,
        erased: Tombstones,
        hidden: Collection[int],
        schema: Schema,
        bound: Undecided,
    ) -> None:
        index = _Index(reader, erased, schema, self._tagger, window_of(bound))
        cells = index_cells(bound, index.count)
        if cells is None and not all_within(reader.manifest, index.window):
            ranges = [index.source_range(reader.manifest.source)]
        elif cells is not None:
            ranges = [each for cell in cells for each in index.ranges(cell)]
        elif is_answered(bound, ()):
            self._take_all(reader, erased, hidden)
            return
        else:
            self._scan(reader, erased, hidden, bound)
            return
        if not is_answered(bound, cells or ()):
            self._test(reader, sorted(index.seqs(ranges)), hidden, bound)
        elif len(ranges) == 1 and not self._room() and not hidden:
            self._hits.count += ranges[0].size
        else:
            found = index.seqs(ranges)
            seqs = found.difference(hidden)
            self._keep_back(len(found) - len(seqs))
            self._hits.count += len(seqs)
            self._show(reader, nsmallest(self._room(), seqs))

    def _scan(
        self, reader: SegmentReader, erased: Tombstones, hidden: Collection[int], bound: Undecided
    ) -> None:
        """Test every row: nothing narrower is known."""
        columns = columns_of(bound)
        passes, cut, show = row_test(bound, columns), cutter(columns), self._shower(reader)
        hits, room = self._hits, self._room()
        low = next_seq = reader.manifest.seq[0]
        for frame in frames_of(reader):
            plain = frame.plain
            for seq, span in _numbered(frame, next_seq, reader.is_thinned):
                if passes(cut(plain, span[0])) and seq - low not in erased.records:
                    if seq in hidden:
                        self._keep_back(1)
                        next_seq = seq + 1
                        continue
                    hits.count += 1
                    if room:
                        room -= 1
                        hits.items.append(show(frame.row(seq, span)))
                next_seq = seq + 1
            self._progress(self._done + next_seq - low, self._total)

    def _test(
        self, reader: SegmentReader, seqs: Sequence[int], hidden: Collection[int], bound: Undecided
    ) -> None:
        """Test the rows with these sequence numbers: none other can pass."""
        columns = columns_of(bound)
        passes, cut, show = row_test(bound, columns), cutter(columns), self._shower(reader)
        hits, room = self._hits, self._room()
        for number, row in enumerate(rows_of(reader, seqs), 1):
            if passes(cut(row.values, 0)):
                if row.seq in hidden:
                    self._keep_back(1)
                    continue
                hits.count += 1
                if room:
                    room -= 1
                    hits.items.append(show(row))
            if number % _TOLD_EVERY == 0:
                self._progress(self._done + row.seq - reader.manifest.seq[0], self._total)

    def _show(self, reader: SegmentReader, seqs: Sequence[int]) -> None:
        if seqs:
            self._hits.items += map(self._shower(reader), rows_of(reader, seqs))

    def _keep_back(self, count: int) -> None:
        """Count what matches and is quarantined."""
        self._hits.quarantined = (self._hits.quarantined or 0) + count

    def _room(self) -> int:
        return self._hits.limit - len(self._hits.items)

    def _shower(self, reader: SegmentReader) -> Callable[[Row], FoundItem]:
        """Return what shows a row of a segment as an item."""
        source = self._sources.name(reader.manifest.source)
        name, cut = ItemNames(self._vault_key, source, reader.schema).name, cutter([HOLDER_FIELD])

        alias = reader.manifest.source

        def show(row: Row) -> FoundItem:
            holder = cut(row.values, 0)[0]
            account = None if holder == NULL else holder[5:].decode()
            return FoundItem(name(row), source, account, _time_text(_time_of(row)), f"{alias}:{row.seq}")

        return show


def _numbered(frame: RowFrame, next_seq: int, is_thinned: bool) -> Iterable[tuple[int, Span]]:
    """Number the rows of a frame: counting does where none of its segment was erased."""
    if not is_thinned:
        return enumerate(frame.spans(), next_seq)
    return ((frame.seq_at(span), span) for span in frame.spans())


@dataclass(frozen=True, slots=True)
class _Range:
    """Ranks [lo, hi) of one block of the index."""

    block: IndexBlock
    lo: int
    hi: int

    @property
    def size(self) -> int:
        return self.hi - self.lo


class _Index:
    """Ask the sorted index of one segment, within the query's window of time."""

    def __init__(
        self, reader: SegmentReader, erased: Tombstones, schema: Schema, tagger: Tagger, window: Window
    ) -> None:
        self._reader, self._erased, self._schema, self._tagger = reader, erased, schema, tagger
        self.window = window
        self._blocks: dict[int, IndexBlock] = {}
        self._ranges: dict[tuple[int, str], _Range] = {}

    def count(self, cell: Cell) -> int:
        """Count the entries of a cell."""
        return sum(each.size for each in self.ranges(cell))

    def ranges(self, cell: Cell) -> list[_Range]:
        """Return the ranges of a cell that are not empty."""
        found = [self._range(cell.number, identifier) for identifier in cell.identifiers or ()]
        return [each for each in found if each.size]

    def source_range(self, alias: str) -> _Range:
        """Return the range of all records in the window."""
        return self._range(1, alias)

    def seqs(self, ranges: Sequence[_Range]) -> set[int]:
        """Return the sequence numbers of ranges; those of several may overlap."""
        return {seq for each in ranges for seq in each.block.seqs(each.lo, each.hi)}

    def _range(self, number: int, identifier: str) -> _Range:
        found = self._ranges.get((number, identifier))
        if found is None:
            block = self._blocks.get(number)
            if block is None:
                block = self._blocks[number] = IndexBlock(self._reader, number, self._erased.places)
            tag = self._tagger.tag(self._schema.dimensions[number - 1], identifier)
            found = _Range(block, *block.ranks(tag, *self.window))
            self._ranges[number, identifier] = found
        return found


def cutter(numbers: Sequence[int]) -> Callable[[bytes, int], list[bytes]]:
    """Return what cuts encoded values of some fields, by ascending number, out of the values that begin at a byte.

    Of a frame that was written by Scellé and authenticated when it was read, lengths are taken as they are.
    """
    steps = [number - before - 1 for before, number in zip([-1, *numbers], numbers, strict=False)]

    def cut(data: bytes, offset: int) -> list[bytes]:
        cells = []
        for step in steps:
            for _ in range(step):
                offset += 5 + _be32(data, offset + 1)[0]
            stop = offset + 5 + _be32(data, offset + 1)[0]
            cells.append(data[offset:stop])
            offset = stop
        return cells

    return cut


def _place(manifest: Segment) -> tuple[str, int, int]:
    """Sort by source, the members of a family by their number, then as they were sealed."""
    family, _, member = manifest.source.partition("/")
    return family, int(member or 0), manifest.number


def _time_of(row: Row) -> int:
    return int.from_bytes(row.values[5:13], "big", signed=True)


def _time_text(time_us: int) -> str | None:
    return None if time_us == UNDATED else utc_text(time_us, "microseconds")
