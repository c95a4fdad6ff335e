"""Write so that a crash leaves the old state or the new one, never a third.

The only module of `vault` and `ledger` that opens for writing, fsyncs, renames, removes or commits. Every
step is announced to an observer first and afterwards, so that tests can stop the process at each of them, or
take back what was not yet durable.

After a failed fsync the kernel may have dropped the pages and marked them clean: trying again would report a
success that never happened. So the first failed fsync stops all further writing in this process, but one on somebody
else's disk (`elsewhere`).
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scelle.errors import StorageFailed, StorageFull, StorageStopped

Operation = Literal[
    "create", "write", "sync", "truncate", "rename", "sync-directory", "remove", "make-directory", "commit"
]


@dataclass(frozen=True, slots=True)
class Step:
    """Name one step that changes, or makes durable, what is on disk."""

    operation: Operation
    path: Path


Observer = Callable[[Step, Literal["before", "after"]], None]
_observers: list[Observer] = []
_fsync_failure: list[str] = []
_is_elsewhere: ContextVar[bool] = ContextVar("_is_elsewhere", default=False)


@contextmanager
def elsewhere() -> Iterator[None]:
    """Write to a disk that is not the vault's (escrow): a failed fsync there says nothing of what the vault wrote."""
    token = _is_elsewhere.set(True)
    try:
        yield
    finally:
        _is_elsewhere.reset(token)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Announce every step of this process to `observer` while the context is open."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


@contextmanager
def _step(operation: Operation, path: Path) -> Iterator[None]:
    if _fsync_failure:
        raise StorageStopped(
            f"an earlier fsync failed ({_fsync_failure[0]}): check the disk, then start again; "
            "nothing unconfirmed was counted"
        )
    step = Step(operation, path) if _observers else None
    if step is not None:
        for observer in _observers:
            observer(step, "before")
    try:
        yield
    except OSError as error:
        raise _failure(operation, path, error) from error
    except sqlite3.OperationalError as error:
        raise sqlite_failure(path, error) from error
    if step is not None:
        for observer in _observers:
            observer(step, "after")


def _failure(operation: Operation, path: Path, error: OSError) -> Exception:
    if operation in ("sync", "sync-directory") and not _is_elsewhere.get():
        _fsync_failure.append(f"{path}: {error.strerror}")
        return StorageStopped(f"{path}: fsync failed: {error.strerror}: check the disk, then start again")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(path)
    return StorageFailed(f"{path}: {operation} failed: {error.strerror}: check the disk and its permissions")


def _full(path: Path) -> StorageFull:
    return StorageFull(f"{path}: no room left on the disk: free some and run again")


def sqlite_failure(path: Path, error: sqlite3.Error) -> StorageFull | StorageFailed:
    """Say what an error of SQLite over the database at `path` means for the disk.

    What SQLite keeps beside a database (`-shm`, `-wal`, a journal) meets a full disk as "disk I/O error" or as
    "unable to open database file"; only the disk itself tells which it was.
    """
    code = getattr(error, "sqlite_errorcode", None) or 0
    is_full = code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE
    if is_full or (code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _has_no_room(path)):
        return _full(path)
    return StorageFailed(f"{path}: {error}: check the disk and its permissions, then run again")


def _has_no_room(path: Path) -> bool:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_bavail == 0 or (found.f_files > 0 and found.f_favail == 0)


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class AppendFile:
    """Append to one file; what was written is durable after `sync` returns, not before.

    A crash leaves a prefix of what was written, at least as long as at the last `sync`, possibly followed by
    zeros or torn bytes: readers check every frame they read.
    """

    def __init__(self, path: Path, *, mode: int = 0o600, exclusive: bool = False) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (os.O_EXCL if exclusive else 0)
        with _step("create", path):
            self._descriptor = os.open(path, flags, mode)
        self._size_bytes = os.fstat(self._descriptor).st_size

    def tell(self) -> int:
        """Return the size of the file in bytes, written but perhaps not yet durable."""
        return self._size_bytes

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append `data` and return the offset at which it starts."""
        offset = self._size_bytes
        with _step("write", self.path):
            _write_all(self._descriptor, data)
        self._size_bytes += len(data)
        return offset

    def sync(self) -> None:
        """Make everything written so far durable."""
        with _step("sync", self.path):
            os.fsync(self._descriptor)

    def truncate(self, size_bytes: int) -> None:
        """Cut the file to `size_bytes`; durable after the next `sync`."""
        with _step("truncate", self.path):
            os.ftruncate(self._descriptor, size_bytes)
        self._size_bytes = size_bytes

    def close(self) -> None:
        """Close the file without making anything durable."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put `data` at `path`, replacing what was there; durable when this returns.

    A crash leaves the old file or the new one, and perhaps `<name>.tmp`, which the next write replaces.
    """
    temporary = path.with_name(path.name + ".tmp")
    with _step("create", temporary):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with _step("write", temporary):
            _write_all(descriptor, data)
        with _step("sync", temporary):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    replace(temporary, path)


def replace(source: Path, destination: Path) -> None:
    """Rename `source`, which must be durable already, over `destination`, and make the name durable.

    A crash leaves `destination` old or new, never missing where it existed.
    """
    with _step("rename", destination):
        source.rename(destination)
    sync_directory(destination.parent)
    if source.parent != destination.parent:
        sync_directory(source.parent)


def sync_directory(path: Path) -> None:
    """Make the names in the directory `path` durable."""
    with _step("sync-directory", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Make the directory `path` and its missing parents; durable when this returns."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with _step("make-directory", directory):
            directory.mkdir(mode=mode)
        sync_directory(directory.parent)


def remove(path: Path) -> None:
    """Remove the file `path` if it is there; durable when this returns. A crash leaves it there or not."""
    with _step("remove", path):
        path.unlink(missing_ok=True)
    sync_directory(path.parent)


def remove_directory(path: Path) -> None:
    """Remove the empty directory `path`; durable when this returns. A crash leaves it there or not."""
    with _step("remove", path):
        path.rmdir()
    sync_directory(path.parent)


def sync_file(path: Path) -> None:
    """Make durable what was written to the file `path` by other means than this module's, as by SQLite."""
    with _step("sync", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def set_mode(path: Path, mode: int) -> None:
    """Set the permission bits of `path`; a crash leaves the old ones or the new ones."""
    with _step("create", path):
        path.chmod(mode)


def commit(connection: sqlite3.Connection, path: Path) -> None:
    """Commit the open transaction of `connection`, whose database stands at `path`.

    Durable when this returns if the connection has `synchronous=FULL`; a crash leaves all of it or nothing.
    """
    with _step("commit", path):
        connection.commit()
