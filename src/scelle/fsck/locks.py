"""Read an order's lock without touching it: a copy in memory, or, where a journal lies beside it, in a
folder of its own."""

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scelle.fsck.files import Unreadable, is_there, read_file
from scelle.fsck.model import Notebook

LOCK_MAX_BYTES: Final = 16 << 20
_QUERY: Final = "SELECT id, size, root, note FROM lock"
_ROOT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Locked:
    """The committed state: what may be signed, and the note that was."""

    size: int
    root: bytes
    note: bytes | None


def read_lock(log: Path, notes: Notebook, subject: str) -> Locked | None:
    """Return what `lock.db` of the log in folder `log` says; note in `notes` what is wrong with it."""
    try:
        data = read_file(log / "lock.db", LOCK_MAX_BYTES)
        journal = (
            read_file(log / "lock.db-journal", LOCK_MAX_BYTES) if is_there(log / "lock.db-journal") else b""
        )
    except Unreadable as error:
        notes.find(error.code, subject, str(error))
        return None
    try:
        faults, rows = _recovered(data, journal) if journal else _in_memory(data)
    except (
        sqlite3.Error,
        UnicodeDecodeError,
    ) as error:  # the latter: SQLite quotes damaged text in its errors
        notes.find("log.lock", subject, f"it is damaged ({error})")
        return None
    for fault in faults:
        notes.find("log.lock", subject, f"it is damaged ({fault})")
    return _row(rows, notes, subject)


def _in_memory(data: bytes) -> tuple[list[str], list[tuple[object, ...]]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(data)
        return _ask(connection)


def _recovered(data: bytes, journal: bytes) -> tuple[list[str], list[tuple[object, ...]]]:
    """Roll an interrupted commit back, in a copy: a verification changes nothing in the vault."""
    with tempfile.TemporaryDirectory(prefix="scelle-lock-") as folder:
        path = Path(folder) / "lock.db"
        path.write_bytes(data)  # size, root and signed note: nothing secret
        path.with_name("lock.db-journal").write_bytes(journal)
        with closing(sqlite3.connect(path)) as connection:
            return _ask(connection)


def _ask(connection: sqlite3.Connection) -> tuple[list[str], list[tuple[object, ...]]]:
    said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    return [] if said == ["ok"] else said, connection.execute(_QUERY).fetchall()


def _row(rows: list[tuple[object, ...]], notes: Notebook, subject: str) -> Locked | None:
    match rows:
        case [(1, int(size), bytes(root), bytes() | None as note)] if size >= 0 and len(root) == _ROOT_BYTES:
            return Locked(size, root, note)
    notes.find("log.lock", subject, "it does not hold one size, root and note")
    return None
