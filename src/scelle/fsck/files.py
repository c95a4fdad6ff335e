"""Read the vault's files without trusting that they are files: no link is followed, no pipe waited for."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SMALL_BYTES: Final = 64 << 20
"""Notes, bundles, tiles and keys files are smaller; larger ones are not read into memory."""


class Unreadable(Exception):
    """Say that a file cannot be read; `is_missing` tells whether it is there at all. Never leaves this room."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


class RegularFile:
    """Hold one regular file open for reading. Raises `Unreadable`, also later, when the disk fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            status = os.fstat(self._descriptor)
        except FileNotFoundError:
            raise Unreadable("it is not there", is_missing=True) from None
        except OSError as error:
            raise Unreadable(f"it cannot be opened: {error.strerror}") from None
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise Unreadable("it is not a regular file")

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer where the file ends."""
        parts, wanted = [], size
        try:
            while wanted and (part := os.pread(self._descriptor, wanted, offset)):
                parts.append(part)
                offset, wanted = offset + len(part), wanted - len(part)
        except OSError as error:
            raise Unreadable(f"it cannot be read at byte {offset}: {error.strerror}") from None
        return b"".join(parts)

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_file(path: Path, limit: int = SMALL_BYTES) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes. Raises `Unreadable`."""
    file = RegularFile(path)
    try:
        if file.size > limit:
            raise Unreadable(f"its {file.size} bytes are too many for what it should be")
        return file.read_at(0, limit + 1)
    finally:
        file.close()


def is_there(path: Path) -> bool:
    """Tell whether anything stands at `path`, a dangling link included."""
    return os.path.lexists(path)


def files_below(folder: Path) -> Iterator[str]:
    """Yield the paths, relative to `folder`, of everything below it but folders that hold something,
    sorted."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            yield entry.name
            continue
        inside = [f"{entry.name}/{name}" for name in files_below(folder / entry.name)]
        yield from inside or [f"{entry.name}/"]


def names_in(folder: Path) -> list[str]:
    """List the names in `folder`, sorted; none where it is not there."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
