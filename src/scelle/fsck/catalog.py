"""Compare the derived catalog with what the packs gave; nothing is ever judged by it."""

import fcntl
import hashlib
import os
import sqlite3
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from scelle.capture import store as capture_store
from scelle.fsck.files import RegularFile, Unreadable
from scelle.fsck.model import Notebook
from scelle.fsck.packs import OBJECT_BYTES
from scelle.vault.catalog import CATALOG_NAME, schema_version
from scelle.vault.contents import CONTENTS_TABLES
from scelle.vault.keys import VaultKey
from scelle.vault.lock import LOCK_NAME
from scelle.vault.sql import load_queries

REMEDY: Final = "run `scelle rebuild-catalog`"
_ROW: Final = struct.Struct(">4q")
_QUERIES: Final = load_queries("scelle.fsck")


def catalog_tables(vault_id: bytes) -> tuple[str, ...]:
    """Return the tables of a vault's catalog, in the order in which its version counts them.

    The vault's id is part of their version, so that no other vault's catalog is taken for its own.
    """
    return (CONTENTS_TABLES, capture_store.TABLES, f"-- vault {vault_id.hex()}")


def is_being_written(vault: Path) -> bool:
    """Tell whether another process holds the writer's lock now.

    Nobody can ask for a `flock` without taking it: it is shared, and held for no longer than the question. A
    writer that starts in this very moment finds it taken and tries again (`vault.lock`).
    """
    try:
        descriptor = os.open(vault / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks: no writer gets one either
    finally:
        os.close(descriptor)  # lets go of the lock
    return False


def check_catalog(
    vault: Path, key: VaultKey, objects: Mapping[str, bytes], on_disk: Collection[str], notes: Notebook
) -> None:
    """Compare where the catalog says that contents stand with where they do.

    `objects` has, for each pack without a fault, the 56 bytes of each of its objects; `on_disk` are the ids
    of all packs. Those that the catalog does not claim to know wholly are left out: the next command that
    writes reads them again.
    """
    path = vault / CATALOG_NAME
    if not path.is_file():
        notes.remark("catalog.missing", CATALOG_NAME, f"{REMEDY}, or let the next command remake it")
        return
    try:
        RegularFile(path).close()
    except Unreadable as error:
        notes.remark("catalog.unread", CATALOG_NAME, str(error))
        return
    try:
        with closing(_opened(path)) as connection:
            faults = list(_faults(connection, key, objects, on_disk))
    except (sqlite3.Error, UnicodeDecodeError) as error:  # it quotes damaged text in its errors
        faults = [f"it cannot be read ({error})"]
    for fault in faults:
        notes.find("catalog.stale", CATALOG_NAME, f"{fault}: {REMEDY}; no evidence depends on it")


def count_contents(connection: sqlite3.Connection) -> int:
    """Count the contents that a catalog knows."""
    return int(connection.execute(_QUERIES["count"]).fetchone()[0])


def _opened(path: Path) -> sqlite3.Connection:
    """Open it so that nothing is written, not even beside it, where nobody has left a log to be read first."""
    has_log = path.with_name(path.name + "-wal").exists()
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True)


def _faults(
    connection: sqlite3.Connection,
    key: VaultKey,
    objects: Mapping[str, bytes],
    on_disk: Collection[str],
) -> Iterator[str]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != schema_version(catalog_tables(key.vault_id)):
        yield "it was made by another version of Scellé"
        return
    yield from _differences(connection, key.derive("contents"), objects, on_disk)


def _differences(
    connection: sqlite3.Connection, hiding_key: bytes, objects: Mapping[str, bytes], on_disk: Collection[str]
) -> Iterator[str]:
    packs = connection.execute(_QUERIES["packs"]).fetchall()
    counts = dict(connection.execute(_QUERIES["counts"]).fetchall())
    if any(pack_id not in on_disk for _, pack_id, _ in packs) or not counts.keys() <= {
        row[0] for row in packs
    }:
        yield "it speaks of packs that are not there"
    known = {
        number: objects[pack_id]
        for number, pack_id, is_complete in packs
        if is_complete and pack_id in objects
    }
    if _is_equal(connection, hiding_key, known):
        return
    missing = astray = 0
    for number, flat in known.items():
        found = [_standing(connection, hiding_key, number, each) for each in _split(flat)]
        missing += found.count(None)
        astray += counts.get(number, 0) - found.count(True)
    if missing or astray:
        yield f"it does not have {missing} contents, and {astray} of its rows lead to none"


def _is_equal(connection: sqlite3.Connection, hiding_key: bytes, known: Mapping[int, bytes]) -> bool:
    """Tell whether the catalog's rows of the known packs are exactly their objects, in order.

    Takes some 150 bytes of memory for each content of these packs.
    """
    blake2b, own = hashlib.blake2b, []
    for number, flat in known.items():
        tail = number.to_bytes(8, "big")
        own += [
            blake2b(each[:32], digest_size=32, key=hiding_key).digest() + each[32:] + tail
            for each in _split(flat)
        ]
    own.sort()
    expected = iter(own)
    try:
        for content, number, *place in connection.execute(_QUERIES["rows"]):
            if number in known and content + _ROW.pack(*place, number) != next(expected, None):
                return False
    except (struct.error, TypeError):  # damage may have put anything there
        return False
    return next(expected, None) is None


def _split(flat: bytes) -> Sequence[bytes]:
    return [flat[at : at + OBJECT_BYTES] for at in range(0, len(flat), OBJECT_BYTES)]


def _standing(connection: sqlite3.Connection, hiding_key: bytes, number: int, found: bytes) -> bool | None:
    """Tell whether the catalog has this very place for the content (False: another one); None: it has none."""
    hidden = hashlib.blake2b(found[:32], digest_size=32, key=hiding_key).digest()
    row = connection.execute(_QUERIES["place"], (hidden,)).fetchone()
    if row is None:
        return None
    parts = (int.from_bytes(found[at : at + 8], "big") for at in (32, 40, 48))
    return tuple(row) == (number, *parts)
