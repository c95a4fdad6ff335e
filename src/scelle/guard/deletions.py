"""Let whoever widens what is held wait for the deletions that were permitted before, and for no others.

Who deletes holds a shared `flock` on <vault>/spool/deletions/now, from before the guard decides until the item is gone.
Who widened sets that file aside, under another name, where somebody holds it, and waits until nobody does; who deletes
from then on makes a new one, and is decided by what is held since. So nobody waits for deletions that come later, and
no deletion waits at all. The kernel lets go of a lock when its process ends, however it ends.

Nothing here needs to be durable: what a crash of the machine loses is held by processes that it ended too.
"""

import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from scelle.errors import StorageFailed
from scelle.guard.spool import SPOOL_FOLDER
from scelle.vault import durable

NOW: Final = "now"
_NAME_BYTES: Final = 8


def deletions_folder(vault: Path) -> Path:
    """Return the folder of the files that deletions lock."""
    return vault / SPOOL_FOLDER / "deletions"


class DeletionLock:
    """Say that a deletion goes on, from `acquire` to `release`: decide in between."""

    def __init__(self, vault: Path) -> None:
        self._path = deletions_folder(vault) / NOW
        self._descriptor = -1

    def acquire(self) -> Self:
        """Take the lock, which waits for nobody; raises StorageError."""
        while self._descriptor < 0:
            descriptor = self._opened()
            try:
                _lock(descriptor, self._path, fcntl.LOCK_SH)
                is_now = _is_named(
                    descriptor, self._path
                )  # else it was set aside, and nobody may wait for it
            except BaseException:
                os.close(descriptor)
                raise
            if is_now:
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        return self

    def release(self) -> None:
        """Let go of the lock, in processes that were forked meanwhile too; idempotent."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _opened(self) -> int:
        while True:
            try:
                return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                durable.make_directory(self._path.parent)
                durable.AppendFile(self._path).close()
            except OSError as error:
                raise StorageFailed(f"{self._path}: cannot be opened: {error.strerror}") from error


def deletions_under_way(vault: Path) -> list[Path]:
    """Return the files under which deletions go on; those that were set aside and are not held any more go.

    A deletion that is not seen here decides after this was called. Raises StorageError.
    """
    folder = deletions_folder(vault)
    return [path for path in sorted(folder.iterdir() if folder.is_dir() else ()) if _is_held(path)]


def set_deletions_aside(vault: Path) -> None:
    """Let deletions from now on take another file than those that go on; raises StorageError."""
    folder = deletions_folder(vault)
    if (folder / NOW) in deletions_under_way(vault):
        try:
            durable.replace(folder / NOW, folder / secrets.token_hex(_NAME_BYTES))
        except StorageFailed as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # another one set it aside
                raise


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageFailed(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        _lock(descriptor, path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.name != NOW:
            durable.remove(path)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, path: Path, operation: int) -> None:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        raise
    except OSError as error:
        raise StorageFailed(f"{path}: cannot be locked: {error.strerror}: use a local disk") from error


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
