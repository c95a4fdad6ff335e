"""Find the sealed rows of one item, by its id, its source's native id, or its ref.

A native id is asked of the sorted index; an id or a ref, of which no list is kept, costs a walk over the rows of all
segments. Rows under a tombstone are no items any more.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

from scelle.capture.identity import NATIVE_ID, ItemNames
from scelle.find.binding import Sources
from scelle.formats.entries import Segment
from scelle.formats.index import tag
from scelle.formats.schema import Schema
from scelle.formats.tokens import INT64_MAX, INT64_MIN
from scelle.formats.values import NULL
from scelle.ledger.rows import Row
from scelle.ledger.search import IndexBlock, Tombstones, rows_of, tombstones
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedger
from scelle.vault.keys import VaultKey

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many records were searched, and how many there are."""
IsMeant: TypeAlias = Callable[[str, str], bool]
"""Tells by source and native id, as text, whether an item is the one that is looked for."""

_TOLD_EVERY = 8192
_BODY = 5


@dataclass(frozen=True, slots=True)
class SealedRow:
    """One row of an item: its source as people call it, its log source, its schema, and its id if it has one."""

    source: str
    alias: str
    schema: Schema
    row: Row
    item_id: str | None

    @property
    def native(self) -> str | None:
        """Return the source's own id, as text; None where it gave none."""
        return native_of(self.schema, self.row)


def native_of(schema: Schema, row: Row) -> str | None:
    """Return the native id of a row, as text; None where its source gave none."""
    number = schema.field_number(NATIVE_ID)
    value = NULL if number is None else row.split_values()[number]
    return None if value == NULL else value[_BODY:].decode()


class ItemRows:
    """Look for the rows of items in one order's published log."""

    def __init__(self, ledger: OrderLedger, names: Mapping[str, str], vault_key: VaultKey) -> None:
        self._ledger, self._vault_key = ledger, vault_key
        self._erased = tombstones(ledger.entries)
        self._segments = [(at, each) for at, each in ledger.manifests() if each.records]
        self._sources = Sources(frozenset(each.source for _, each in self._segments), names)

    def of_native(self, source: str, native: str) -> Iterator[SealedRow]:
        """Yield the rows of an item's versions in capture order; by the index where the schema has the dimension."""
        for at, manifest in self._segments:
            if self._sources.is_meant(manifest.source, source):
                with closing(self._ledger.segment(manifest)) as reader:
                    for row in self._rows_of(reader, self._erased.get(at, Tombstones()), native):
                        yield self._sealed(manifest, reader.schema, row)

    def at(self, alias: str, seq: int) -> SealedRow | None:
        """Return the row that has this sequence number; None where none is sealed, or it was erased."""
        for at, manifest in self._segments:
            low, high = manifest.seq
            if manifest.source == alias and low <= seq < high:
                if seq - low in self._erased.get(at, Tombstones()).records:
                    return None
                with closing(self._ledger.segment(manifest)) as reader:
                    return self._sealed(manifest, reader.schema, reader.row(seq))
        return None

    @property
    def records(self) -> int:
        """Count the records that a walk looks at."""
        return sum(manifest.records for _, manifest in self._segments)

    def of_id(self, item_id: str, progress: Progress) -> SealedRow | None:
        """Walk to the first row that has this item id; None where no living one has it."""
        for manifest, schema, row, names in self._walk(progress):
            if names.name(row) == item_id:
                return self._sealed(manifest, schema, row)
        return None

    def natives(self, is_meant: IsMeant, progress: Progress) -> Iterator[tuple[str, str]]:
        """Yield source and native id, as text, of the rows that are meant; an item that has several, several times."""
        for manifest, schema, row, _ in self._walk(progress):
            source, native = self._sources.name(manifest.source), native_of(schema, row)
            if native is not None and is_meant(source, native):
                yield source, native

    # --- inside

    def _walk(self, progress: Progress) -> Iterator[tuple[Segment, Schema, Row, ItemNames]]:
        done, total = 0, self.records
        for at, manifest in self._segments:
            erased = self._erased.get(at, Tombstones()).records
            with closing(self._ledger.segment(manifest)) as reader:
                names = ItemNames(self._vault_key, self._sources.name(manifest.source), reader.schema)
                for row in reader.rows():
                    if done % _TOLD_EVERY == 0:
                        progress(done, total)
                    done += 1
                    if row.seq - manifest.seq[0] not in erased:
                        yield manifest, reader.schema, row, names
        progress(total, total)

    def _rows_of(self, reader: SegmentReader, erased: Tombstones, native: str) -> Iterator[Row]:
        number, dimensions = reader.schema.field_number(NATIVE_ID), reader.schema.dimensions
        if number is None:
            return
        if number > len(dimensions):  # the schema does not find records by it
            low = reader.manifest.seq[0]
            living = (row for row in reader.rows() if row.seq - low not in erased.records)
            yield from (row for row in living if native_of(reader.schema, row) == native)
            return
        block = IndexBlock(reader, number, erased.places)
        sought = tag(self._ledger.secrets.tag_key, dimensions[number - 1], native)
        lo, hi = block.ranks(sought, INT64_MIN, INT64_MAX + 1)
        yield from rows_of(reader, sorted(block.seqs(lo, hi)))

    def _sealed(self, manifest: Segment, schema: Schema, row: Row) -> SealedRow:
        source = self._sources.name(manifest.source)
        return SealedRow(
            source, manifest.source, schema, row, ItemNames(self._vault_key, source, schema).name(row)
        )
