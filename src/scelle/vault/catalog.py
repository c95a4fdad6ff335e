"""Open <vault>/catalog.db, the derived catalog: rebuilt from evidence, never migrated, never believed by
verify.

Every room that keeps tables here hands in their `CREATE` statements. The schema version (`user_version`) is
made from those texts, so that any change of a table makes every older catalog stale.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scelle.errors import CatalogStale
from scelle.vault import durable

CATALOG_NAME: Final = "catalog.db"
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
_BUSY_TIMEOUT_MS: Final = 10_000
_VACUUM_MAX_BYTES: Final = 128 << 20
_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",  # a lost commit costs a rescan of the packs, nothing else
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",  # nothing of it in /tmp
    f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}",
)
_STALE_CODES: Final = (
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
)


class Catalog:
    """Hold the one connection of this process to the catalog; rooms share it, and its transaction.

    `commit` commits what all of them wrote: only call it when what the rows speak of is durable.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection

    def commit(self) -> None:
        """Commit; a crash afterwards may still lose it (`synchronous=NORMAL`), but never a part of it."""
        with self.access() as connection:
            durable.commit(connection, self.path)

    def settle(self) -> None:
        """Commit, and make all that was committed outlast a failure of power, which `commit` alone does not."""
        with self.access() as connection:
            durable.commit(connection, self.path)
        log = self.path.with_name(self.path.name + "-wal")
        durable.sync_file(log if log.exists() else self.path)

    def close(self) -> None:
        """Close the connection; what was not committed is dropped."""
        self.connection.close()

    @contextmanager
    def access(self) -> Iterator[sqlite3.Connection]:
        """Give the connection; turn what SQLite raises into `CatalogStale`, `StorageFull` or
        `StorageFailed`."""
        try:
            yield self.connection
        except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite quotes damaged text in its own errors
            raise catalog_error(self.path, error) from error


def catalog_error(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> Exception:
    """Say what an error of SQLite means: a fault of the disk, of the file, or of the program."""
    if isinstance(error, sqlite3.ProgrammingError):
        return error
    code = getattr(error, "sqlite_errorcode", None)  # none where Python could not decode what it read
    primary = sqlite3.SQLITE_CORRUPT if code is None else code & 0xFF
    if isinstance(error, UnicodeDecodeError) or primary in _STALE_CODES:
        return CatalogStale(f"{path} is damaged ({error}): run `scelle rebuild-catalog`")
    return durable.sqlite_failure(path, error)


def write_anew(catalog: Catalog) -> None:
    """Write every page of the catalog anew, and empty its write-ahead log: what was forgotten is in neither.

    SQLite makes the new pages in memory, so that a catalog of more than 128 MiB keeps its freed pages, which
    secure_delete has filled with zeros. A crash leaves the old pages or the new ones.
    """
    catalog.commit()
    with catalog.access() as connection:
        if catalog.path.stat().st_size <= _VACUUM_MAX_BYTES:
            connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def holds_forgotten(catalog: Catalog) -> list[str]:
    """Name the files of the catalog that may still hold what was forgotten: freed pages, or the write-ahead log."""
    found = []
    with catalog.access() as connection:
        freed, overwrites = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "secure_delete")
        )
    if freed and not overwrites:
        found.append(catalog.path.name)
    log = catalog.path.with_name(catalog.path.name + "-wal")
    if log.exists() and log.stat().st_size:
        found.append(log.name)
    return found


def schema_version(tables: Sequence[str]) -> int:
    """Make the schema version of these `CREATE` texts: 31 bits of their SHA-256, never 0."""
    digest = hashlib.sha256("\n".join(tables).encode("utf-8")).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF or 1


def open_catalog(path: Path, tables: Sequence[str]) -> Catalog:
    """Open the catalog at `path`, which has these tables.

    Raises `CatalogStale` when it is missing, damaged or has other tables: then make it again with
    `create_catalog` and fill it from evidence.
    """
    if not path.exists():
        raise CatalogStale(f"{path} is missing: run `scelle rebuild-catalog`")
    catalog = _connect(path)
    try:
        with catalog.access() as connection:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except Exception:
        catalog.close()
        raise
    if found != schema_version(tables):
        catalog.close()
        raise CatalogStale(f"{path} was made by another version of Scellé: run `scelle rebuild-catalog`")
    return catalog


def create_catalog(path: Path, tables: Sequence[str]) -> Catalog:
    """Make an empty catalog at `path`, destroying one that is there.

    A crash leaves none, or one of version 0, which is stale.
    """
    for suffix in _SUFFIXES:
        stale = path.with_name(path.name + suffix)
        if stale.exists():
            durable.remove(stale)
    durable.write_file(path, b"")  # so that it, and what SQLite puts beside it, has mode 0600
    catalog = _connect(path)
    with catalog.access() as connection:
        connection.executescript("BEGIN;\n" + "\n".join(tables))
        connection.execute(f"PRAGMA user_version = {schema_version(tables)}")
    catalog.commit()
    return catalog


def _connect(path: Path) -> Catalog:
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_MS / 1000)
    except sqlite3.Error as error:
        raise durable.sqlite_failure(path, error) from error
    catalog = Catalog(path, connection)
    try:
        with catalog.access():
            for setting in _SETTINGS:
                connection.execute(setting).fetchall()
    except Exception:
        connection.close()
        raise
    return catalog
