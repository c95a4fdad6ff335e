"""Find what is sealed of some accounts in one order's log, by the sorted index: a few frames for each segment.

The tag key differs from order to order, so every log is asked anew. Records under a tombstone are not there any more.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NamedTuple

from scelle.capture.identity import NATIVE_ID, ItemNames
from scelle.capture.store import ItemKeys, item_id
from scelle.formats.entries import Segment
from scelle.formats.index import Tagger
from scelle.formats.schema import Schema
from scelle.formats.tokens import INT64_MAX, INT64_MIN, is_reserved_alias
from scelle.formats.values import NULL
from scelle.ledger.destroying import is_destroyed
from scelle.ledger.rows import Row
from scelle.ledger.search import IndexBlock, Tombstones, rows_of, tombstones
from scelle.ledger.service import OrderLedger
from scelle.vault.keys import VaultKey

ACCOUNT: Final = "account"
_ORDINAL: Final = 2
"""Account is always the second dimension (ledger.md §2)."""
_BODY: Final = 5


@dataclass(frozen=True, slots=True)
class Count:
    """How many of the identifiers have anything in a log, and how many records are of them."""

    identifiers: frozenset[str]
    records: int


class MatchedRow(NamedTuple):
    """One sealed record of an account: its item id, its source as people call it, and the record itself."""

    item: str
    source: str
    schema: Schema
    row: Row

    @property
    def native(self) -> bytes:
        """Return the source's own id, empty where it gave none."""
        return native_of(self.schema, self.row)


def native_of(schema: Schema, row: Row) -> bytes:
    """Return the native id of a row, empty where its source gave none."""
    number = schema.field_number(NATIVE_ID)
    value = NULL if number is None else row.split_values()[number]
    return b"" if value == NULL else value[_BODY:]


def called(names: Mapping[str, str], alias: str) -> str:
    """Return what people call a log source, its family included; its alias where nobody named it."""
    return names.get(alias) or names.get(alias.rpartition("/")[0]) or alias


def live_item_id(vault_key: VaultKey, source: str, native: bytes) -> str:
    """Return the id of an item that only its source has: of no version, so that no sealed item has the same."""
    return item_id(vault_key, ItemKeys(vault_key, source).item(native), b"")


class SealedOfAccounts:
    """Search one order's published log for some identifiers of dimension account, each with its kind."""

    def __init__(self, ledger: OrderLedger, names: Mapping[str, str], vault_key: VaultKey) -> None:
        self._ledger, self._names, self._vault_key = ledger, names, vault_key
        self._tagger = Tagger(ledger.secrets.tag_key)
        self._erased = tombstones(ledger.entries)

    def count(self, identifiers: Sequence[str]) -> Count:
        """Count what the index says, without reading a record."""
        found, records = set[str](), 0
        for at, manifest in self._segments():
            with closing(self._ledger.segment(manifest)) as reader:
                block = IndexBlock(reader, _ORDINAL, self._erased.get(at, Tombstones()).places)
                for identifier in identifiers:
                    lo, hi = self._ranks(block, identifier)
                    records += hi - lo
                    if hi > lo:
                        found.add(identifier)
        return Count(frozenset(found), records)

    def rows(self, identifiers: Sequence[str]) -> Iterator[MatchedRow]:
        """Yield the records of these accounts, in capture order within each segment; an item may have several."""
        for at, manifest in self._segments():
            with closing(self._ledger.segment(manifest)) as reader:
                block = IndexBlock(reader, _ORDINAL, self._erased.get(at, Tombstones()).places)
                seqs = sorted({
                    seq for each in identifiers for seq in block.seqs(*self._ranks(block, each))
                })  # fmt: skip
                if not seqs:
                    continue
                source, schema = called(self._names, manifest.source), reader.schema
                items = ItemNames(self._vault_key, source, schema)
                for row in rows_of(reader, seqs):
                    name = items.name(row) or self._nameless(source, manifest, row)
                    yield MatchedRow(name, source, schema, row)

    def _segments(self) -> Iterator[tuple[int, Segment]]:
        for at, manifest in self._ledger.manifests():
            is_captured = manifest.records and not is_reserved_alias(manifest.source)
            if is_captured and not is_destroyed(self._ledger, manifest):  # of an interrupted disposal
                yield at, manifest

    def _ranks(self, block: IndexBlock, identifier: str) -> tuple[int, int]:
        return block.ranks(self._tagger.tag(ACCOUNT, identifier), INT64_MIN, INT64_MAX + 1)

    def _nameless(self, source: str, manifest: Segment, row: Row) -> str:
        """Return an id for a record to which its source gave none: of its place in this order's log."""
        place = f"{self._ledger.order} {manifest.source} {row.seq}".encode()
        return live_item_id(self._vault_key, f"nameless {source}", place)
