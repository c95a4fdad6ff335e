"""Keep in the catalog where each content stands: <vault>/catalog.db, tables `packs` and `contents`."""

import hashlib
import sqlite3
from typing import Final

from scelle.vault.catalog import Catalog, catalog_error
from scelle.vault.frames import Table, pack_id_of, pack_name
from scelle.vault.interfaces import ContentPlace
from scelle.vault.keys import VaultKey
from scelle.vault.sql import load_queries

_QUERIES: Final = load_queries("scelle.vault")
_FIND: Final = _QUERIES["find_content"]
_FIND_PACK: Final = _QUERIES["find_pack_of_content"]
_ADD: Final = _QUERIES["add_content"]
_SOME: Final = _QUERIES["some_contents"]
CONTENTS_TABLES: Final = _QUERIES["contents_tables"]
_FILTERED_AT_MOST: Final = 4096
_FILTER_SHIFT: Final = 10
"""A slot of the filter for each value of a key's first 22 bits: 4 MiB, a few hits in a hundred at 100,000."""


class CatalogContentIndex:
    """Keep the content index in the catalog; see `ContentIndex`."""

    def __init__(self, catalog: Catalog, key: VaultKey) -> None:
        self._catalog = catalog
        self._key = key.derive("contents")
        self._connection = catalog.connection
        self._rows: list[tuple[bytes, int, int, int, int]] = []
        self._numbers: dict[str, int] = {}
        self._packs: dict[int, str] = {}
        self._complete: set[str] = set()
        self._filter: bytearray | None = None
        self._is_filter_made = False
        self._load_packs()

    def find(self, digest: bytes) -> ContentPlace | None:
        """Say where a content stands; see `ContentIndex.find`."""
        self._write_rows()
        with self._catalog.access() as connection:
            row = connection.execute(_FIND, (self._hidden(digest),)).fetchone()
        if row is None or not all(type(number) is int and number >= 0 for number in row):
            return None
        if row[0] not in self._packs:
            self._load_packs()  # the writer beside this reader may have begun a pack
        pack_id = self._packs.get(row[0])
        return None if pack_id is None else ContentPlace(pack_id, row[1], row[2], row[3])

    def contains(self, digest: bytes) -> bool:
        """Say whether a content is in a known pack; see `ContentIndex.contains`."""
        hidden = hashlib.blake2b(digest, digest_size=32, key=self._key).digest()
        if not self._is_filter_made:
            self._make_filter()
        if self._filter is not None and not self._filter[int.from_bytes(hidden[:4], "big") >> _FILTER_SHIFT]:
            return False
        self._write_rows()
        try:
            row = self._connection.execute(_FIND_PACK, (hidden,)).fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise catalog_error(self._catalog.path, error) from error
        return row is not None and row[0] in self._packs

    def add_frame(self, pack_id: str, offset: int, table: Table) -> None:
        """Add the objects of a frame; see `ContentIndex.add_frame`."""
        number = self._number_of(pack_id)
        key, blake2b, start, seen = self._key, hashlib.blake2b, 0, self._filter
        for digest, size in table:
            hidden = blake2b(digest, digest_size=32, key=key).digest()
            if seen is not None:
                seen[int.from_bytes(hidden[:4], "big") >> _FILTER_SHIFT] = 1
            self._rows.append((hidden, number, offset, start, size))
            start += size

    def complete_packs(self) -> set[str]:
        """Return the ids of the packs that are sealed and wholly known."""
        return set(self._complete)

    def known_packs(self) -> set[str]:
        """Return the ids of all packs that the index speaks of."""
        return set(self._numbers)

    def complete_pack(self, pack_id: str) -> None:
        """Note that a pack is sealed and wholly known."""
        self._number_of(pack_id)
        with self._catalog.access() as connection:
            connection.execute(_QUERIES["complete_pack"], (pack_id,))
        self._complete.add(pack_id)

    def forget_pack(self, pack_id: str) -> None:
        """Forget a pack and its contents."""
        self._write_rows()
        number = self._numbers.get(pack_id)
        with self._catalog.access() as connection:
            connection.execute(_QUERIES["remove_contents_of_pack"], (number,))
            connection.execute(_QUERIES["remove_pack"], (number,))
        self._load_packs()

    def forget(self, digest: bytes) -> None:
        """Forget where one content stands."""
        self._write_rows()
        with self._catalog.access() as connection:
            connection.execute(_QUERIES["remove_content"], (self._hidden(digest),))

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        with self._catalog.access() as connection:
            connection.execute(_QUERIES["remove_all_contents"])
            connection.execute(_QUERIES["remove_all_packs"])
        self._load_packs()

    def commit(self) -> None:
        """Commit the catalog, other rooms' rows included."""
        self._write_rows()
        self._catalog.commit()

    def settle(self) -> None:
        """Commit the catalog so that no failure of power undoes it."""
        self._write_rows()
        self._catalog.settle()

    def _write_rows(self) -> None:
        """Write what was added, in key order: neighbours in the tree are written together.

        Without rows nothing is touched: a statement that writes would begin a transaction, and a reader would
        see the catalog of that moment for ever.
        """
        if not self._rows:
            return
        self._rows.sort()
        with self._catalog.access() as connection:
            connection.executemany(_ADD, self._rows)
        self._rows.clear()

    def _make_filter(self) -> None:
        """Answer "not there" without the catalog, where it holds little as yet.

        The first load of a vault, the largest there is, asks for hardly anything that is there.
        """
        self._write_rows()
        slots = bytearray(1 << 32 - _FILTER_SHIFT)
        with self._catalog.access() as connection:
            rows = connection.execute(_SOME, (_FILTERED_AT_MOST + 1,)).fetchall()
        for (hidden,) in rows:
            slots[int.from_bytes(hidden[:4], "big") >> _FILTER_SHIFT] = 1
        self._filter = slots if len(rows) <= _FILTERED_AT_MOST else None
        self._is_filter_made = True

    def _hidden(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, digest_size=32, key=self._key).digest()

    def _number_of(self, pack_id: str) -> int:
        if pack_id not in self._numbers:
            with self._catalog.access() as connection:
                connection.execute(_QUERIES["add_pack"], (pack_id,))
            self._load_packs()
        return self._numbers[pack_id]

    def _load_packs(self) -> None:
        with self._catalog.access() as connection:
            rows = connection.execute(_QUERIES["all_packs"]).fetchall()
        rows = [row for row in rows if type(row[1]) is str and pack_id_of(pack_name(row[1])) is not None]
        self._numbers = {pack_id: number for number, pack_id, _ in rows}
        self._packs = {number: pack_id for number, pack_id, _ in rows}
        self._complete = {pack_id for _, pack_id, is_complete in rows if is_complete}
