"""Remember, per order and source, which version of each item is sealed (derived from the segments).

The plain catalog betrays nothing: items and stamps are kept as keyed hashes under a key of the vault.
"""

import struct
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from scelle.vault.catalog import Catalog
from scelle.vault.keys import VaultKey
from scelle.vault.sql import load_queries

KEY_BYTES = 16
_SIDE = struct.Struct(">16s16s16sQ")
_QUERIES = load_queries(__package__)
TABLES = _QUERIES["tables"]


class Known(NamedTuple):
    """What is remembered of an item: its row, stamp, version, the pass that sealed it, whether it is gone."""

    rowid: int
    stamp: bytes
    version: bytes
    pass_id: int
    gone: int


@dataclass(frozen=True, slots=True)
class Side:
    """What capture keeps beside a record, so that the catalog can be rebuilt from the segments alone."""

    item: bytes
    stamp: bytes
    version: bytes
    pass_id: int

    def encode(self) -> bytes:
        """Return the 56 bytes kept in the row."""
        return _SIDE.pack(self.item, self.stamp, self.version, self.pass_id)

    @classmethod
    def parse(cls, data: bytes) -> "Side | None":
        """Read the bytes kept in a row; None where a record has none."""
        return cls(*_SIDE.unpack(data)) if len(data) == _SIDE.size else None


class ItemKeys:
    """Make the keyed hashes of one source's items (BLAKE2b, 16 bytes)."""

    def __init__(self, vault_key: VaultKey, source: str) -> None:
        key = vault_key.derive("item-keys")
        self._item = blake2b(source.encode() + b"\0", key=key, digest_size=KEY_BYTES, person=b"scelle-item")
        self._stamp = blake2b(key=key, digest_size=KEY_BYTES, person=b"scelle-stamp")
        self._version = blake2b(key=key, digest_size=KEY_BYTES, person=b"scelle-version")

    def item(self, native: bytes) -> bytes:
        """Return the key of a native id."""
        state = self._item.copy()
        state.update(native)
        return state.digest()

    def stamp(self, stamp: bytes) -> bytes:
        """Return the key of a stamp; an empty stamp has one that no other equals."""
        state = self._stamp.copy()
        state.update(stamp)
        return state.digest()

    def version(self, digest: bytes, meta_json: bytes) -> bytes:
        """Return the key of a version: the content's digest and the metadata as read."""
        state = self._version.copy()
        state.update(digest)
        state.update(meta_json)
        return state.digest()


def item_id(vault_key: VaultKey, item: bytes, version: bytes) -> str:
    """Return an item's id: `i` and 26 base32 characters, the same in every order, meaningless outside."""
    digest = blake2b(item + version, key=vault_key.derive("item-ids"), digest_size=17).digest()
    return "i" + b32encode(digest).decode().lower()[:26]


class CaptureIndex:
    """Look up and remember the sealed versions of one order's source."""

    def __init__(self, catalog: Catalog, order: str, source: str) -> None:
        self._catalog, self._order, self._source = catalog, order, source
        self._connection = catalog.connection
        self._find = _QUERIES["find"]
        row = self._connection.execute(_QUERIES["scope_id"], (order, source)).fetchone()
        if row is None:
            self._connection.execute(_QUERIES["add_scope"], (order, source))
            row = self._connection.execute(_QUERIES["scope_id"], (order, source)).fetchone()
        self._scope: int = row[0]
        self.learned: int = row[1]
        self._pending: list[tuple[int, bytes, bytes, bytes, int]] = []

    def find(self, item: bytes) -> Known | None:
        """Return what is remembered of an item."""
        row = self._connection.execute(self._find, (self._scope, item)).fetchone()
        return None if row is None else Known._make(row)

    def remember(self, side: Side) -> None:
        """Remember the version now sealed; written with the next `flush`."""
        self._pending.append((self._scope, side.item, side.stamp, side.version, side.pass_id))

    def flush(self) -> None:
        """Write what is pending. A crash loses at most what the open segments tell again."""
        if self._pending:
            self._connection.executemany(_QUERIES["remember"], self._pending)
            self._pending.clear()

    def learn(self, sides: Iterable[bytes]) -> None:
        """Remember what the rows of a segment tell, in capture order."""
        for data in sides:
            side = Side.parse(data)
            if side is not None:
                self.remember(side)
        self.flush()

    def set_learned(self, number: int) -> None:
        """Note that every row of the segments before `number` is remembered."""
        self.learned = number
        self._connection.execute(_QUERIES["set_learned"], (number, self._scope))

    def bounds(self) -> tuple[int, int]:
        """Return the smallest and largest row id of this source, (0, -1) where it has none."""
        low, high = self._connection.execute(_QUERIES["bounds"], (self._scope,)).fetchone()
        return (0, -1) if low is None else (low, high)

    def present_ids(self) -> list[int]:
        """Return the row ids of the items that were there when last looked."""
        return [row[0] for row in self._connection.execute(_QUERIES["present_ids"], (self._scope,))]

    def mark_gone(self, rowid: int, gone: bool) -> None:
        """Note that an item vanished from its source, or came back. Its sealed versions stay."""
        self._connection.execute(_QUERIES["mark_gone"], (int(gone), rowid))


def start_pass(catalog: Catalog, order: str, new_id: int) -> int:
    """Return the id of the order's unfinished pass, or begin the pass `new_id`."""
    row = catalog.connection.execute(_QUERIES["unfinished"], (order,)).fetchone()
    if row is not None:
        return int(row[0])
    catalog.connection.execute(_QUERIES["begin_pass"], (order, new_id))
    catalog.commit()
    return new_id


def finish_pass(catalog: Catalog, order: str) -> None:
    """Say that the order's pass is finished."""
    catalog.connection.execute(_QUERIES["end_pass"], (order,))
    catalog.commit()
