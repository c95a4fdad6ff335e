"""Keep blobs as files below one folder. All writing goes through `vault.durable`.

An unfinished blob is the file `<name>.unfinished`, mode 0600; a sealed one is `<name>`, mode 0400; a
replaced one (`.keys`) has mode 0600.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scelle.errors import BlobExists, BlobMissing, StorageFailed
from scelle.vault import durable
from scelle.vault.interfaces import Buffer, ReadableBlob, WritableBlob, check_name, check_replaceable

UNFINISHED_SUFFIX: Final = ".unfinished"
SEALED_MODE: Final = 0o400


class PosixBackend:
    """Keep blobs in the folder `root`, which exists; durable as far as fsync of files and directories is."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, name: str) -> WritableBlob:
        """Begin a blob; see `Backend.create`."""
        path = self._path(name)
        if path.exists() or _unfinished(path).exists():
            raise BlobExists(f"{path} is there already and stays as it is: a blob is written once")
        durable.make_directory(path.parent)
        return _PosixWriter(name, path, durable.AppendFile(_unfinished(path), exclusive=True))

    def resume(self, name: str, size: int) -> WritableBlob:
        """Go on with an unfinished blob; see `Backend.resume`."""
        path = self._path(name)
        found = _size_bytes(_unfinished(path))
        if found is None or found < size:
            raise BlobMissing(
                f"{_unfinished(path)} is missing or shorter than {size} bytes: nothing to go on with"
            )
        file = durable.AppendFile(_unfinished(path))
        if found > size:
            file.truncate(size)
        return _PosixWriter(name, path, file)

    def open(self, name: str) -> ReadableBlob:
        """Open a blob to read; see `Backend.open`."""
        path = self._path(name)
        for candidate in (path, _unfinished(path), path):  # sealed between the first look and the second
            try:
                return _PosixReader(candidate)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageFailed(
                    f"{candidate}: cannot be opened: {error.strerror}: check the disk"
                ) from error
        raise BlobMissing(f"{path} is not there")

    def unfinished(self, prefix: str) -> list[str]:
        """List unfinished blobs; see `Backend.unfinished`."""
        names = (name for name in self._names(prefix) if name.endswith(UNFINISHED_SUFFIX))
        return sorted(name.removesuffix(UNFINISHED_SUFFIX) for name in names)

    def list(self, prefix: str) -> list[str]:
        """List sealed blobs; see `Backend.list`."""
        return sorted(name for name in self._names(prefix) if not name.endswith(UNFINISHED_SUFFIX))

    def exists(self, name: str) -> bool:
        """Say whether `name` is sealed."""
        return self._path(name).exists()

    def replace(self, name: str, data: Buffer) -> None:
        """Replace a small blob; see `Backend.replace`."""
        path = self._path(check_replaceable(name))
        durable.make_directory(path.parent)
        durable.write_file(path, bytes(data))

    def remove(self, name: str) -> None:
        """Destroy a blob; see `Backend.remove`."""
        path = self._path(name)
        for candidate in (_unfinished(path), path):
            if candidate.exists():
                durable.remove(candidate)

    def _path(self, name: str) -> Path:
        if name.endswith(UNFINISHED_SUFFIX):
            raise BlobMissing(
                f"blob name {name} ends in {UNFINISHED_SUFFIX}: that is how unfinished ones are marked"
            )
        return self._root / check_name(name)

    def _names(self, prefix: str) -> Iterator[str]:
        folder = prefix.rpartition("/")[0]
        for path in _files_below(str(self._root / folder)):
            name = os.path.relpath(path, self._root)
            if name.startswith(prefix):
                yield name


class _PosixWriter:
    def __init__(self, name: str, path: Path, file: durable.AppendFile) -> None:
        self._name, self._path, self._file = name, path, file
        self._name_is_durable = False

    @property
    def name(self) -> str:
        return self._name

    def write(self, data: Buffer) -> int:
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def sync(self) -> None:
        self._file.sync()
        if not self._name_is_durable:  # else a crash could lose the file that was just fsynced
            durable.sync_directory(self._path.parent)
            self._name_is_durable = True

    def seal(self) -> None:
        if self._path.exists():
            raise BlobExists(f"{self._path} is there already and stays as it is: a blob is written once")
        durable.set_mode(_unfinished(self._path), SEALED_MODE)
        self._file.sync()
        durable.replace(_unfinished(self._path), self._path)
        self._file.close()

    def abandon(self) -> None:
        self._file.close()
        if _unfinished(self._path).exists():
            durable.remove(_unfinished(self._path))

    def close(self) -> None:
        self._file.close()


class _PosixReader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._size = os.fstat(self._descriptor).st_size

    @property
    def size(self) -> int:
        return self._size

    def pread(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._descriptor, size, offset)
            while len(data) < size and (
                more := os.pread(self._descriptor, size - len(data), offset + len(data))
            ):
                data += more
        except OSError as error:
            raise StorageFailed(f"{self._path}: cannot be read: {error.strerror}: check the disk") from error
        return data

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + UNFINISHED_SUFFIX)


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _files_below(folder: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path)
        else:
            yield entry.path
