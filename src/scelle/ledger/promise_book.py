"""Keep the promises that were given under one order until they are settled (`po/<order>/promises.db`).

The notes say it all, and their signatures prove them: the columns beside them are for finding, and nobody who judges a
promise believes them. The record keys that a receipt carries are never kept here.

A small SQLite database as the log's lock is, and for the same reason: what is committed is there after a crash, what
is not is not, and one commit makes many promises durable.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from scelle.errors import FormatError, LogBusy, PromisesDamaged
from scelle.formats.notes import parse_note
from scelle.formats.promises import Promise, parse_promise
from scelle.vault import durable

BOOK_NAME: Final = "promises.db"
BOOK_FILES: Final = (BOOK_NAME, f"{BOOK_NAME}-journal")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS promise (
  batch BLOB PRIMARY KEY, source TEXT NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL,
  deadline INTEGER NOT NULL, is_handed INTEGER NOT NULL DEFAULT 0, note BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_place ON promise (source, hi);
CREATE INDEX IF NOT EXISTS by_waiting ON promise (deadline) WHERE is_handed = 0;
"""


class KeptPromise(NamedTuple):
    """One promise as it is kept: its batch id and the signed note."""

    batch: bytes
    note: bytes


class PromiseBook:
    """The promises of one order. One writer at a time, in one thread: the caller holds the vault's writer lock."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path, self._connection = path, connection

    @classmethod
    def opened(cls, order_folder: Path) -> Self:
        """Open the book for writing, making it where there is none. A crash leaves none, or an empty one."""
        path = order_folder / BOOK_NAME
        with _errors(path):
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA journal_mode=DELETE")
                connection.executescript("BEGIN;" + _SCHEMA)
                durable.commit(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    @classmethod
    def read(cls, order_folder: Path) -> Self | None:
        """Open the book for reading; None where no promise was ever given."""
        path = order_folder / BOOK_NAME
        if not path.exists() or not path.stat().st_size:  # a crash came before its first commit
            return None
        with _errors(path):
            return cls(path, sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True))

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make durable at the end, at once, what is done inside; nothing of it where that fails.

        A crash before the end leaves the book as it was: then nobody was given a promise that is not in it.
        """
        with _errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                durable.commit(self._connection, self._path)
            except BaseException:
                self._connection.rollback()
                raise

    def add(self, promise: Promise, note: bytes) -> None:
        """Keep a promise; inside `writing`."""
        (lo, hi), source = promise.seq, promise.source
        self._connection.execute(
            "INSERT INTO promise (batch, source, lo, hi, deadline, note) VALUES (?, ?, ?, ?, ?, ?)",
            (promise.batch, source, lo, hi, promise.deadline, note),
        )

    def find(self, batch: bytes) -> bytes | None:
        """Return the note that was given for a batch."""
        found = self._rows("SELECT note FROM promise WHERE batch = ?", batch)
        return found[0][0] if found else None

    def overlapping(self, source: str, lo: int, hi: int) -> bytes | None:
        """Return the note of a promise over one of the records [lo, hi) of a log source."""
        query = "SELECT note FROM promise WHERE source = ? AND hi > ? AND lo < ? ORDER BY hi LIMIT 1"
        found = self._rows(query, source, lo, hi)
        return found[0][0] if found else None

    def reached(self, source: str) -> int:
        """Return up to which sequence number, exclusive, the records of a log source were promised."""
        found = self._rows("SELECT max(hi) FROM promise WHERE source = ?", source)
        return found[0][0] or 0

    def all(self) -> Iterator[KeptPromise]:
        """Yield every promise that is kept, by log source and place."""
        query = "SELECT source, hi, batch, note FROM promise WHERE (source, hi) > (?, ?) ORDER BY source, hi LIMIT 1000"
        after: tuple[object, ...] = ("", 0)
        while found := self._rows(query, *after):
            yield from (KeptPromise(*row[2:]) for row in found)
            after = found[-1][:2]

    def altered(self) -> Iterator[bytes]:
        """Yield the batches whose row does not say what the note in it says: who gives promises goes by the row."""
        query = "SELECT batch, source, lo, hi, deadline, note FROM promise ORDER BY batch"
        for batch, source, lo, hi, deadline, note in self._rows(query):
            try:
                promise = parse_promise(parse_note(note).text)
            except FormatError:
                yield batch
                continue
            said = (promise.batch, promise.source, promise.seq, promise.deadline)
            if said != (batch, source, (lo, hi), deadline):
                yield batch

    def waiting(self, at_most: int) -> list[KeptPromise]:
        """Return promises that were not handed over yet, the most urgent first."""
        query = "SELECT batch, note FROM promise WHERE is_handed = 0 ORDER BY deadline LIMIT ?"
        return [KeptPromise(*row) for row in self._rows(query, at_most)]

    def waiting_count(self) -> int:
        """Count the promises that were not handed over yet."""
        return int(self._rows("SELECT count(*) FROM promise WHERE is_handed = 0")[0][0])

    def hand_over(self, batches: Sequence[bytes]) -> None:
        """Note that promises were handed over. A crash before leaves them waiting: they are handed over once more."""
        with self.writing():
            self._connection.executemany(
                "UPDATE promise SET is_handed = 1 WHERE batch = ?", [(batch,) for batch in batches]
            )

    def due(self, now_us: int) -> list[KeptPromise]:
        """List the promises that were handed over and whose deadline is over, but the last of each log source.

        The last one tells up to where records were promised, so that none is promised twice.
        """
        query = (
            "SELECT batch, note FROM promise AS each WHERE is_handed = 1 AND deadline < ? AND hi < "
            "(SELECT max(hi) FROM promise WHERE source = each.source) ORDER BY deadline"
        )
        return [KeptPromise(*row) for row in self._rows(query, now_us)]

    def drop(self, batches: Iterable[bytes]) -> None:
        """Drop promises that are settled. A crash before leaves them: they are dropped another time."""
        with self.writing():
            self._connection.executemany(
                "DELETE FROM promise WHERE batch = ?", [(batch,) for batch in batches]
            )

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with _errors(self._path):
            return self._connection.execute(query, values).fetchall()


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Say in Scellé's words what SQLite raises over the book."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LogBusy(f"{path}: another process uses it: run the command again") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            raise PromisesDamaged(
                f"{path} cannot be read ({error}): run `scelle watch ORDER --until-caught-up` without --promises, "
                "which seals what was promised, then move the file away: the holders of the promises have them, too"
            ) from error
        if code == sqlite3.SQLITE_READONLY:
            raise LogBusy(
                f"{path}: a commit was interrupted, and this command may not finish it: run one that writes first"
            ) from error
        raise durable.sqlite_failure(path, error) from error
