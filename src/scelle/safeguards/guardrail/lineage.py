"""Know what conversations and pictures have come to: the highest level that was let through since the first reference.

Kept in a small database that is derived from the spool and may be deleted: whoever opens it reads the `decided` and
`completed` events of its surface that are not in it yet. All surfaces of a source share it, so that a conversation goes
on from one to the other. A crash leaves it behind the spool, or before it by what was not served yet.

A picture is known by its SHA-256: one that was saved again in another form is a first reference.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from scelle.errors import StorageFailed
from scelle.safeguards.gate.model import LEVELS, Stage, riskier

NAME: Final = "lineage.db"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS conversation (id BLOB PRIMARY KEY, level TEXT NOT NULL, root TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS picture (digest BLOB PRIMARY KEY, level TEXT NOT NULL, root TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempt (id TEXT PRIMARY KEY, conversation BLOB, level TEXT NOT NULL, root TEXT)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (surface TEXT PRIMARY KEY, file TEXT NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
"""
_BUSY_S: Final = 5.0
_BATCH: Final = 1000
_ENDS: Final = ("completed", "refused", "failed", "abandoned")


@dataclass(frozen=True, slots=True)
class Past:
    """What came before: the highest level so far, and the first reference, where there is one."""

    level: str = LEVELS[0]
    root: str | None = None


class Lineage:
    """The past of everything that was let through below `folder` (derived). Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            try:
                self._db = _opened(folder / NAME)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # it is locked, or the disk is full: not damaged
                for each in folder.glob(f"{NAME}*"):  # damaged: what is derived is made again
                    each.unlink()
                self._db = _opened(folder / NAME)
        except (OSError, sqlite3.Error) as error:
            raise StorageFailed(
                f"{folder / NAME}: {error}: delete it, it is made again from what is recorded"
            ) from error

    def past(self, conversation: str | None, references: Sequence[str]) -> Past:
        """Return what a conversation, and the pictures that go into it, have come to."""
        with self._lock:
            found = [self._one("picture", bytes.fromhex(each)) for each in references]
            if conversation is not None:
                found.insert(0, self._one("conversation", _key(conversation)))
        known = [each for each in found if each is not None]
        level = LEVELS[0]
        for each in known:
            level = riskier(level, each.level)
        roots = [each.root for each in known if each.root is not None]
        return Past(level, roots[0] if roots else (references[0] if references else None))

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event of a surface: what was let in, and what was made of it."""
        with self._lock:
            self._take(event)

    def catch_up(
        self, surface: str, events: Iterator[tuple[str, Mapping[str, Any]]], after: tuple[str, int]
    ) -> None:
        """Take the events of a surface behind `after` (file and number); each batch with how far it goes."""
        file, seq = after
        batch: list[Mapping[str, Any]] = []
        for name, event in events:
            if int(event.get("seq") or 0) > seq:
                batch.append(event)
                file, seq = name, int(event.get("seq") or 0)
            if len(batch) >= _BATCH:
                self._take_all(batch, (surface, file, seq))
                batch = []
        self._take_all(batch, (surface, file, seq))

    def _take_all(self, batch: Sequence[Mapping[str, Any]], place: tuple[str, str, int]) -> None:
        """Take a batch in one transaction; the other surfaces' recorders wait for no more than that."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for event in batch:
                    self._take(event)
                self._db.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?)", place)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def place(self, surface: str) -> tuple[str, int]:
        """Return how far a surface was read: its file and the number of its last event."""
        with self._lock:
            found = self._db.execute("SELECT file, seq FROM place WHERE surface = ?", (surface,)).fetchone()
        return ("", 0) if found is None else (str(found[0]), int(found[1]))

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _one(self, table: str, key: bytes) -> Past | None:
        column = "id" if table == "conversation" else "digest"
        found = self._db.execute(f"SELECT level, root FROM {table} WHERE {column} = ?", (key,)).fetchone()  # noqa: S608
        return None if found is None else Past(str(found[0]), found[1])

    def _take(self, event: Mapping[str, Any]) -> None:
        attempt = str(event.get("attempt_id"))
        if event.get("event") == "decided" and event.get("stage") == Stage.INPUT:
            self._let_in(attempt, event)
        elif event.get("event") in (*_ENDS, "delivered"):
            self._made(attempt, event.get("outputs") or ())
            if event.get("event") in _ENDS:
                self._db.execute("DELETE FROM attempt WHERE id = ?", (attempt,))

    def _let_in(self, attempt: str, event: Mapping[str, Any]) -> None:
        """Note what an attempt came to, unless it was refused: nothing came of that."""
        record = event.get("record") or {}
        if record.get("action_enforced") not in ("allow", "allow-degraded"):
            return
        level, root = level_of(record), event.get("root")
        conversation = event.get("conversation")
        key = _key(conversation) if isinstance(conversation, str) else None
        self._db.execute("INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?)", (attempt, key, level, root))
        if key is not None:
            self._raise("conversation", key, level, root)

    def _made(self, attempt: str, outputs: Sequence[Any]) -> None:
        found = self._db.execute("SELECT level, root FROM attempt WHERE id = ?", (attempt,)).fetchone()
        if found is None:
            return
        for each in outputs:
            digest = each.get("sha256") if isinstance(each, dict) else None
            if isinstance(digest, str):
                self._raise("picture", bytes.fromhex(digest), str(found[0]), found[1])

    def _raise(self, table: str, key: bytes, level: str, root: str | None) -> None:
        """Note the higher of what is known and what is new; the first root stays."""
        known = self._one(table, key)
        if known is not None:
            level, root = riskier(known.level, level), known.root or root
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", (key, level, root))  # noqa: S608


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is read from the spool again
        db.executescript(_TABLES)
    except BaseException:
        db.close()
        raise
    return db


def level_of(record: Mapping[str, Any]) -> str:
    """Return the level that a decision was made on: the request's, or the conversation's where that is higher."""
    level = LEVELS[0]
    for each in record.get("factors") or ():
        if each.get("name") in ("level", "cumulative_level"):
            level = riskier(level, str(each.get("value")))
    return level


def events_of(lines: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Read lines of a spool, each with its file; what is no event is passed over."""
    for name, line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield name, event


def _key(conversation: str) -> bytes:
    return sha256(conversation.encode("utf-8", "surrogatepass")).digest()
