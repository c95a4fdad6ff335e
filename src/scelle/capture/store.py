"""Remember, per order and source, which version of each item is sealed (derived from the segments).

The plain catalog betrays nothing: orders, items, stamps, versions and contents are kept as keyed hashes under a key
of the vault.
"""

import sqlite3
import struct
from base64 import b32encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from hashlib import blake2b
from typing import Final, NamedTuple

from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedgerWriter
from scelle.vault.catalog import Catalog, catalog_error
from scelle.vault.keys import VaultKey
from scelle.vault.sql import load_queries

KEY_BYTES: Final = 16
BY_HAND: Final = 0
"""The pass id of a record that no pass made."""
_SIDE: Final = struct.Struct(">16s16s16sQ")
SIDE_BYTES: Final = _SIDE.size
DOCUMENT_SIDES: Final = (SIDE_BYTES, SIDE_BYTES + 1, SIDE_BYTES + KEY_BYTES)
"""How long what is kept beside a document's row may be: plainly, of a restricted one, of one kept by its digest."""
_RESTRICTED: Final = b"r"
_PASS_AT: Final = 48
_RECORD_PASS_AT: Final = 24
"""Where the pass stands beside a record (`record_rows`)."""
"""Where in what is kept beside a document's row the pass stands; behind everything else beside a record's."""
_QUERIES: Final = load_queries("scelle.capture")
TABLES: Final = _QUERIES["tables"]
_LEARN_AT_ONCE: Final = 10_000
LOOK_UP_AT_ONCE: Final = 128
_FIND: Final = _QUERIES["find"].replace("/*items*/", ", ".join("?" * LOOK_UP_AT_ONCE))
_FILTER_SHIFT: Final = 4
_FILTER_SLOTS: Final = 1 << 24 - _FILTER_SHIFT


class Known(NamedTuple):
    """What is remembered of an item: keyed hashes and numbers from its newest record.

    `content` is set where only the digest is kept. `number` counts the source's items as they came;
    `gone` says that the last pass did not find it. Of a `restricted` item (1) no keyed hash is made of its content:
    `version` is random, and its stamp's is its own.
    """

    stamp: bytes
    version: bytes
    content: bytes | None
    seq: int
    pass_id: int
    number: int = -1
    gone: int = 0
    restricted: int = 0


def side_of(
    item: bytes,
    stamp: bytes,
    version: bytes,
    pass_id: int,
    content: bytes | None,
    *,
    restricted: bool = False,
) -> bytes:
    """Return what is kept beside a record, so that the catalog can be made again from the segments alone.

    56 bytes: item, stamp, version, be64 pass id; and 16 more, the content's key, where only its digest is
    kept, or one, `r`, where the item is restricted.
    """
    side = _SIDE.pack(item, stamp, version, pass_id)
    if restricted:
        return side + _RESTRICTED
    return side if content is None else side + content


def parse_side(row: Row) -> tuple[bytes, Known] | None:
    """Read what is kept beside a record: the item and what is known of it; None where there is nothing."""
    side = row.side
    if len(side) not in DOCUMENT_SIDES:
        return None
    item, stamp, version, pass_id = _SIDE.unpack_from(side)
    if len(side) == SIDE_BYTES + 1:
        return item, Known(stamp, version, None, row.seq, pass_id, restricted=1)
    return item, Known(stamp, version, side[SIDE_BYTES:] or None, row.seq, pass_id)


def without_pass(side: bytes) -> bytes:
    """Return what is kept beside a row that no pass made: the same, of pass 0 (`sealed.unfinished_pass`)."""
    at = _PASS_AT if len(side) in DOCUMENT_SIDES else _RECORD_PASS_AT
    return side[:at] + bytes(8) + side[at + 8 :]


class ItemKeys:
    """Make the keyed hashes of one source's items (BLAKE2b, 16 bytes)."""

    def __init__(self, vault_key: VaultKey, source: str) -> None:
        key = vault_key.derive("item-keys")
        self._item = blake2b(source.encode() + b"\0", key=key, digest_size=KEY_BYTES, person=b"scelle-item")
        self._stamp = blake2b(key=key, digest_size=KEY_BYTES, person=b"scelle-stamp")
        self._version = blake2b(key=key, digest_size=KEY_BYTES, person=b"scelle-version")
        self._content = blake2b(key=key, digest_size=KEY_BYTES, person=b"scelle-content")
        self._shadow = blake2b(source.encode() + b"\0", key=key, digest_size=17, person=b"scelle-shadow")

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
        state.update(digest + meta_json)
        return state.digest()

    def shadow(self, native: bytes) -> str:
        """Return what stands for the native id of a restricted item wherever it would be named: `restricted:r..`."""
        state = self._shadow.copy()
        state.update(native)
        return f"restricted:r{b32encode(state.digest()).decode().lower()[:26]}"

    def content(self, digest: bytes) -> bytes:
        """Return the key of a content's digest."""
        state = self._content.copy()
        state.update(digest)
        return state.digest()


def item_id(vault_key: VaultKey, item: bytes, version: bytes) -> str:
    """Return an item's id: `i` and 26 base32 characters, the same in every order, meaningless outside."""
    digest = blake2b(item + version, key=vault_key.derive("item-ids"), digest_size=17).digest()
    return "i" + b32encode(digest).decode().lower()[:26]


def order_key(vault_key: VaultKey, order: str) -> bytes:
    """Return what the catalog knows an order by: others copy it, and an order's id may be secret."""
    key = vault_key.derive("item-keys")
    return blake2b(order.encode(), key=key, digest_size=KEY_BYTES, person=b"scelle-order").digest()


class CaptureIndex:
    """Look up and remember the sealed versions of one order's source.

    What is remembered is found at once, written by `flush`, and kept by the catalog's next commit; a crash in
    between loses what `catch_up` reads from the segments again.
    """

    def __init__(self, catalog: Catalog, vault_key: VaultKey, order: str, source: str) -> None:
        self._catalog, of = catalog, order_key(vault_key, order)
        self._cursor = catalog.connection.cursor()
        with catalog.access() as connection:
            row = connection.execute(_QUERIES["scope"], (of, source)).fetchone()
            if row is None:
                connection.execute(_QUERIES["add_scope"], (of, source))
                row = connection.execute(_QUERIES["scope"], (of, source)).fetchone()
            self._scope: int = row[0]
            self._learned: tuple[int, bytes, int] = row[1:4]
            self.learned_events: int = row[4]
            counted = connection.execute(_QUERIES["next_number"], (self._scope,)).fetchone()
        self.size: int = counted[0]
        self._found: dict[bytes, Known] = {}
        self._pending: dict[bytes, Known] = {}
        self._filter = bytearray(b"\1") * _FILTER_SLOTS

    def catch_up(self, ledger: OrderLedgerWriter, alias: str) -> None:
        """Remember what the rows of `alias` tell and the catalog does not know.

        Rows are ahead after a crash, and where the catalog was deleted. A catalog that is ahead of the
        ledger, or of another one (something was restored), is forgotten: only rows say what is sealed.
        """
        if not self._is_of(ledger, alias):
            self._forget()
        for _, manifest in ledger.manifests():
            if manifest.source == alias and manifest.records and manifest.seq[1] > self._learned[2]:
                with closing(ledger.segment(manifest)) as reader:
                    self._learn(reader.rows())
        writer = ledger.open_rows(alias)
        if writer is not None:
            self._learn(writer.flushed_rows())
        self.flush(ledger, alias)
        self._catalog.commit()
        if not self.size:
            self._filter = bytearray(_FILTER_SLOTS)

    def look_up(self, items: Sequence[bytes]) -> None:
        """Prepare `find` for these items, at most `LOOK_UP_AT_ONCE`: one question costs a third of many."""
        seen = self._filter  # the first pass, the largest there is, asks for hardly anything that is there
        wanted = [item for item in items if seen[int.from_bytes(item[:3], "big") >> _FILTER_SHIFT]]
        self._found = {}
        if not wanted:
            return
        padding = (None,) * (LOOK_UP_AT_ONCE - len(wanted))
        try:
            rows = self._cursor.execute(_FIND, (self._scope, *wanted, *padding)).fetchall()
        except sqlite3.Error as error:
            raise catalog_error(self._catalog.path, error) from error
        for item, number, stamp, version, content, seq, pass_id, gone, restricted in rows:
            self._found[item] = Known(stamp, version, content, seq, pass_id, number, gone, restricted)
        for item in wanted:
            if item in self._pending:
                self._found[item] = self._pending[item]

    def find(self, item: bytes) -> Known | None:
        """Return what is remembered of an item that was looked up."""
        return self._found.get(item)

    def new_number(self) -> int:
        """Return the number of an item that is not known yet."""
        self.size += 1
        return self.size - 1

    def remember(self, item: bytes, known: Known) -> None:
        """Remember the version now sealed, and that the item is there; `find` gives it at once."""
        self._pending[item] = self._found[item] = known
        self._filter[int.from_bytes(item[:3], "big") >> _FILTER_SHIFT] = 1

    def flush(self, ledger: OrderLedgerWriter, alias: str) -> None:
        """Write what is pending, and that all rows of `alias` are known; they must be durable already."""
        self._write_pending()
        chain, writer = ledger.state.chain(alias), ledger.open_rows(alias)
        next_seq = chain.next_seq if writer is None else writer.next_seq
        learned = (chain.next_number, chain.prev or b"", next_seq)
        if learned != self._learned:
            with self._catalog.access() as connection:
                connection.execute(_QUERIES["set_learned"], (*learned, self._scope))
            self._learned = learned

    def present(self) -> Iterator[tuple[int, int, bool]]:
        """Yield number, sequence number and whether only the digest is kept, of the items last seen there."""
        for _, number, seq, is_in_place, gone in self._all():
            if not gone:
                yield number, seq, bool(is_in_place)

    def learn_vanished(self, flags: Iterable[tuple[int, bool]], events: int) -> None:
        """Take into account what the `events` first events said of records' items: gone, or back again."""
        said = dict(flags)
        changed = (
            [(int(said[seq]), self._scope, item) for item, _, seq, _, _ in self._all() if seq in said]
            if said
            else []
        )
        with self._catalog.access() as connection:
            connection.executemany(_QUERIES["mark_gone"], changed)
            connection.execute(_QUERIES["set_learned_events"], (events, self._scope))
        self.learned_events = events
        self._catalog.commit()

    # --- inside

    def _all(self) -> Iterator[tuple[bytes, int, int, int, int]]:
        with self._catalog.access() as connection:
            yield from connection.execute(_QUERIES["all"], (self._scope,))

    def _is_of(self, ledger: OrderLedgerWriter, alias: str) -> bool:
        """Tell whether what was learned is the beginning of this ledger."""
        number, leaf, seq = self._learned
        chain, writer = ledger.state.chain(alias), ledger.open_rows(alias)
        if number > chain.next_number or seq > (chain.next_seq if writer is None else writer.next_seq):
            return False
        if number == 0:
            return True
        index = ledger.state.segments[alias, number - 1]
        return ledger.log.leaves[32 * index : 32 * index + 32] == leaf

    def _forget(self) -> None:
        with self._catalog.access() as connection:
            connection.execute(_QUERIES["forget"], (self._scope,))
        self._learned, self.learned_events, self.size = (0, b"", 0), 0, 0

    def _learn(self, rows: Iterable[Row]) -> None:
        batch: dict[bytes, Known] = {}
        for row in rows:
            found = parse_side(row) if row.seq >= self._learned[2] else None
            if found is not None:
                batch[found[0]] = found[1]
                if len(batch) >= LOOK_UP_AT_ONCE:
                    self._learn_batch(batch)
        self._learn_batch(batch)
        self._write_pending()

    def _learn_batch(self, batch: dict[bytes, Known]) -> None:
        """Remember what rows told, under the numbers that their items have already."""
        self.look_up(list(batch))
        for item, known in batch.items():
            old = self._found.get(item)
            number = self.new_number() if old is None else old.number
            self.remember(item, known._replace(number=number))
        batch.clear()
        if len(self._pending) >= _LEARN_AT_ONCE:
            self._write_pending()

    def _write_pending(self) -> None:
        """Write in key order: neighbours in the tree are written together."""
        if not self._pending:
            return
        rows = (
            (
                self._scope,
                item,
                known.number,
                known.stamp,
                known.version,
                known.content,
                known.seq,
                known.pass_id,
                known.restricted,
            )
            for item, known in sorted(self._pending.items())
        )
        with self._catalog.access() as connection:
            connection.executemany(_QUERIES["remember"], rows)
        self._pending.clear()


def forget_order(catalog: Catalog, vault_key: VaultKey, order: str) -> None:
    """Forget everything that is remembered of an order's items and units; kept by the catalog's next commit."""
    with catalog.access() as connection:
        scopes = connection.execute(_QUERIES["scopes_of"], (order_key(vault_key, order),)).fetchall()
        for name in ("forget", "forget_units", "forget_scope"):
            connection.executemany(_QUERIES[name], scopes)
    catalog.commit()


def remembers_order(catalog: Catalog, vault_key: VaultKey, order: str) -> int:
    """Count the sources of an order of which something is remembered."""
    with catalog.access() as connection:
        return len(connection.execute(_QUERIES["scopes_of"], (order_key(vault_key, order),)).fetchall())


def forget_records(
    catalog: Catalog, vault_key: VaultKey, order: str, source: str, seqs: Iterable[int]
) -> None:
    """Forget that these records are the newest of their items: they were erased. Committed when it returns."""
    of = order_key(vault_key, order)
    with catalog.access() as connection:
        connection.executemany(_QUERIES["forget_record"], ((of, source, seq) for seq in seqs))
    catalog.commit()
