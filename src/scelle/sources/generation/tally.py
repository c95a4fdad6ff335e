"""Count attempts and outcomes in a temporary database, so that memory stays flat whatever their number.

The database has no name and is gone with its connection. It holds keyed hashes of ids, times, and what was found.
"""

import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from scelle.formats.values import UNDATED

_BUFFERED: Final = 20_000
_REQUEST, _OUTCOME = 0, 1
_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -16000;
CREATE TABLE seen (attempt BLOB, role INTEGER, event BLOB, time INTEGER);
CREATE TABLE wanted (attempt BLOB PRIMARY KEY, kind TEXT, requests INTEGER, outcomes INTEGER) WITHOUT ROWID;
CREATE TABLE named (
    role TEXT, name TEXT, events INTEGER, time INTEGER, place TEXT, PRIMARY KEY (role, name)
) WITHOUT ROWID;
"""
_COUNTED: Final = """
SELECT attempt, COUNT(DISTINCT CASE role WHEN 0 THEN event END), COUNT(DISTINCT CASE role WHEN 1 THEN event END),
       MAX(CASE role WHEN 0 THEN time END)
FROM seen GROUP BY attempt
"""
_ADD_NAMED: Final = """
INSERT INTO named VALUES (?, ?, ?, ?, ?)
ON CONFLICT (role, name) DO UPDATE SET events = events + excluded.events
"""


class Counted(NamedTuple):
    """How often an attempt was requested and ended, events told apart by their ids."""

    attempt: bytes
    requests: int
    outcomes: int
    requested_us: int


class Named(NamedTuple):
    """A digest or path that events name: how many do, and where the first of them stands."""

    role: str
    name: str
    events: int
    time_us: int
    place: str


class Tally:
    """Hold the counts of one look at all events."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLES)
        self._key = secrets.token_bytes(32)
        self._seen: list[tuple[bytes, int, bytes, int]] = []
        self._named: Counter[tuple[str, str]] = Counter()
        self._firsts: dict[tuple[str, str], tuple[int, str]] = {}

    def close(self) -> None:
        """Drop everything."""
        self._database.close()

    def key(self, text: str) -> bytes:
        """Hash an id; 128 bits, so that no two of them meet by accident."""
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).digest()

    def request(self, attempt: str, event: str, time_us: int) -> None:
        """Count an attempt."""
        self._add(attempt, _REQUEST, event, time_us)

    def outcome(self, attempt: str, event: str, time_us: int) -> None:
        """Count how an attempt ended."""
        self._add(attempt, _OUTCOME, event, time_us)

    def name(self, role: str, name: str, time_us: int, place: str) -> None:
        """Count an event that names a digest or a path."""
        key = (role, name)
        self._named[key] += 1
        if key not in self._firsts:
            self._firsts[key] = (time_us, place)
        if len(self._named) >= _BUFFERED:
            self._flush_named()

    def counted(self) -> Iterator[Counted]:
        """Yield every attempt that was requested or ended, once."""
        self._flush()
        for attempt, requests, outcomes, time_us in self._database.execute(_COUNTED):
            yield Counted(attempt, requests, outcomes, UNDATED if time_us is None else time_us)

    def want(self, counted: Counted, kind: str) -> None:
        """Note an attempt of which more is to be said."""
        row = (counted.attempt, kind, counted.requests, counted.outcomes)
        self._database.execute("INSERT INTO wanted VALUES (?, ?, ?, ?)", row)

    def take_wanted(self, attempt: str) -> tuple[str, int, int] | None:
        """Give kind, requests and outcomes of an attempt that is wanted, the first time that it is asked for."""
        row: tuple[str, int, int] | None = self._database.execute(
            "DELETE FROM wanted WHERE attempt = ? RETURNING kind, requests, outcomes", (self.key(attempt),)
        ).fetchone()
        return row

    def named(self) -> Iterator[Named]:
        """Yield what events name, sorted."""
        self._flush_named()
        for row in self._database.execute("SELECT * FROM named ORDER BY role, name"):
            yield Named(*row)

    def _add(self, attempt: str, role: int, event: str, time_us: int) -> None:
        self._seen.append((self.key(attempt), role, self.key(event), time_us))
        if len(self._seen) >= _BUFFERED:
            self._flush()

    def _flush(self) -> None:
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO seen VALUES (?, ?, ?, ?)", self._seen)
        self._seen.clear()

    def _flush_named(self) -> None:
        rows = [(role, name, count, *self._firsts[role, name]) for (role, name), count in self._named.items()]
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany(_ADD_NAMED, rows)
        self._named.clear()
        self._firsts.clear()
