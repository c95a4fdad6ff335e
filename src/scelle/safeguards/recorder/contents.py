"""Keep request bodies, references and outputs as files named by their SHA-256.

A file gets its name only once it is whole: nobody who lists the folder ever sees half of one, and a crash before
leaves nothing. Linux alone has files without a name (`O_TMPFILE`): ext4, xfs, btrfs and tmpfs have them, network file
systems mostly have not.
"""

import errno
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from scelle.errors import StorageError, StorageFailed, StorageFull, StorageStopped
from scelle.vault import durable

_PIECE_BYTES: Final = 1 << 20
Bytes = bytes | bytearray | memoryview

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class ContentStore:
    """Keep contents below `folder`, each once, as `ab/abcd..`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folders, durable; raises StorageError, also where the file system cannot do what is needed."""
        durable.make_directory(self.folder)
        missing = [each for each in (self.folder / f"{n:02x}" for n in range(256)) if not each.is_dir()]
        for each in missing:
            each.mkdir(mode=0o700, exist_ok=True)
        if missing:
            durable.sync_directory(self.folder)
        self.begin().discard()

    def begin(self) -> "Writing":
        """Begin with a content; raises StorageError."""
        try:
            descriptor = os.open(self.folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EISDIR):
                raise StorageFailed(
                    f"{self.folder}: this file system has no files without a name: use ext4, xfs, btrfs or tmpfs"
                ) from error
            raise failure(self.folder, error) from error
        return Writing(self, descriptor)

    def named(self, digest: str, name: Callable[[], None]) -> None:
        """Have a content given its name; a store may count who holds it."""
        name()

    def keep(self, data: Bytes) -> "Held":
        """Keep bytes that are in memory; they are durable once an event that names them is. Raises StorageError."""
        writing = self.begin()
        try:
            writing.write(data)
            return writing.finish()
        except BaseException:
            writing.discard()
            raise


class Writing:
    """One content that is being written, without a name yet; hashed as it comes."""

    def __init__(self, store: ContentStore, descriptor: int) -> None:
        self._store, self._folder, self._descriptor = store, store.folder, descriptor
        self._sha = sha256()
        self.size_bytes = 0

    @property
    def descriptor(self) -> int:
        """Return the open file, to be read from; its place is not kept."""
        return self._descriptor

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of what was written so far."""
        return self._sha.hexdigest()

    def write(self, data: Bytes) -> None:
        """Append bytes; raises StorageError."""
        with memoryview(data) as view, view.cast("B") as left:
            self._sha.update(left)
            self.size_bytes += len(left)
            done = 0
            try:
                while done < len(left):
                    done += os.write(self._descriptor, left[done : done + _PIECE_BYTES])
            except OSError as error:
                raise failure(self._folder, error) from error

    def finish(self) -> "Held":
        """Give the content its name; where it has one already, that file is kept. Raises StorageError."""
        digest = self.digest
        path = self._folder / digest[:2] / digest
        try:
            self._store.named(digest, lambda: self._name(path, digest))
        except OSError as error:
            raise failure(path, error) from error
        descriptor, self._descriptor = self._descriptor, -1
        return Held(digest, self.size_bytes, path, descriptor)

    def _name(self, path: Path, digest: str) -> None:
        """Link the file to its name. What a crash left there half-written, before anything named it, is replaced."""
        try:
            self.link(path)
        except FileExistsError:
            if self._take_existing(path, digest):
                return
            path.unlink(missing_ok=True)
            self.link(path)

    def link(self, path: Path) -> None:
        """Give the file a name; raises OSError, FileExistsError where it is taken."""
        own = os.open("/proc/self/fd", _DIRECTORY)
        try:  # with a directory's descriptor, for else Python links the link in /proc and not the file
            os.link(str(self._descriptor), path, src_dir_fd=own, follow_symlinks=True)
        finally:
            os.close(own)

    def _take_existing(self, path: Path, digest: str) -> bool:
        """Take the file that has the name already instead, if it is whole."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        sha = sha256()
        while piece := os.read(descriptor, _PIECE_BYTES):
            sha.update(piece)
        if sha.hexdigest() != digest:
            os.close(descriptor)
            return False
        os.close(self._descriptor)
        self._descriptor = descriptor
        return True

    def discard(self) -> None:
        """Let go of it; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.discard()

    def __del__(self) -> None:
        self.discard()


class Held:
    """A content that has its name and may not be durable yet; `sync` makes it so."""

    __slots__ = ("_descriptor", "digest", "path", "size_bytes")

    def __init__(self, digest: str, size_bytes: int, path: Path, descriptor: int) -> None:
        self.digest, self.size_bytes, self.path = digest, size_bytes, path
        self._descriptor = descriptor

    def sync(self) -> None:
        """Make the bytes durable (the name is its directory's), and let go of the file; raises StorageStopped."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise StorageStopped(
                f"{self.path}: fsync failed: {error.strerror}: check the disk, then start again"
            ) from error
        finally:
            os.close(descriptor)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def failure(path: Path, error: OSError) -> StorageError:
    """Say a system error of writing at `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"{path}: no room left on the disk: free some")
    return StorageFailed(f"{path}: {error.strerror}: check the disk and its permissions")
