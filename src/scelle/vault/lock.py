"""Let one process write to a vault. Readers need no lock: sealed blobs never change.

The lock is `flock` on <vault>/writer.lock: the kernel lets go of it when the process ends, however it ends,
so no stale lock can stay. The file's text only names the holder for the message. On a network file system
`flock` must be passed to the server (NFS 4 does); a vault shared by two machines any other way has no lock.

Whoever verifies asks for a moment whether somebody writes, with a shared lock. So a lock that is taken is asked for
again for half a second before anybody is told that the vault is busy.

Who holds the lock for long and can let go of it (`watch`) says so, and asks `is_wanted` now and then: others wait for
it a minute then, each with a shared lock on <vault>/writer.wanted.
"""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from scelle.errors import StorageFailed, VaultBusy
from scelle.vault.durable import AppendFile

LOCK_NAME: Final = "writer.lock"
WANTED_NAME: Final = "writer.wanted"
YIELDS: Final = "and lets go when it is asked"
PATIENCE_S: Final = 60.0
_HOLDER_MAX_BYTES: Final = 200
_PATIENCE_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 0.02


class WriterLock:
    """Hold the right to write to the vault in folder `vault`, from `acquire` to `release`."""

    def __init__(self, vault: Path) -> None:
        self._path = vault / LOCK_NAME
        self._wanted = vault / WANTED_NAME
        self._descriptor = -1

    def acquire(self, since: str, patience_s: float = PATIENCE_S) -> Self:
        """Take the lock; `since` says since when, for whoever finds it taken. Raises `VaultBusy`.

        `patience_s` is how long a holder who lets go when it is asked is waited for.
        """
        if not self._take():
            self._wait(patience_s)
        try:
            self._name_holder(since)
        except BaseException:  # nobody would get the lock to let go of
            self.release()
            raise
        return self

    def _wait(self, patience_s: float) -> None:
        """Wait until the lock is had: for a moment, or longer for a holder who lets go when it is asked."""
        started, wanted = time.monotonic(), -1
        try:
            while not self._take():
                waited = time.monotonic() - started
                if YIELDS in self._holder() and wanted < 0:
                    wanted = self._want()
                if waited >= (_PATIENCE_SECONDS if wanted < 0 else patience_s):
                    raise VaultBusy(
                        f"{self._path.parent} is being written to by {self._holder()}: wait for it"
                    )
                time.sleep(_PAUSE_SECONDS)
        finally:
            if wanted >= 0:
                os.close(wanted)

    def _want(self) -> int:
        """Say that the lock is wanted, until the descriptor is closed."""
        if not self._wanted.exists():
            AppendFile(self._wanted).close()
        descriptor = os.open(self._wanted, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor

    @property
    def is_wanted(self) -> bool:
        """Tell whether somebody waits for the lock."""
        try:
            descriptor = os.open(self._wanted, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _name_holder(self, since: str) -> None:
        note = AppendFile(self._path)
        try:
            note.truncate(0)
            note.write(f"process {os.getpid()} since {since}\n".encode())
        finally:
            note.close()

    def release(self) -> None:
        """Let go of the lock; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def is_held(self) -> bool:
        """Say whether this object holds the lock."""
        return self._descriptor >= 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self) -> bool:
        """Try once; say whether this object now locks the very file that has the lock's name."""
        if not self._path.exists():
            AppendFile(self._path).close()
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # removed meanwhile
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_taken = self._is_named(descriptor)
        except BlockingIOError:
            is_taken = False
        except OSError as error:
            os.close(descriptor)
            raise StorageFailed(
                f"{self._path}: cannot be locked: {error.strerror}: use a local disk"
            ) from error
        if is_taken:
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return is_taken

    def _is_named(self, descriptor: int) -> bool:
        """Say whether the open file still has its name: somebody may have put another one there meanwhile."""
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(descriptor), named)

    def _holder(self) -> str:
        try:
            with self._path.open("rb") as file:
                text = file.read(_HOLDER_MAX_BYTES).decode("ascii", "replace").strip()
        except OSError:
            text = ""
        return "".join(c for c in text if c.isprintable()) or "another process"
