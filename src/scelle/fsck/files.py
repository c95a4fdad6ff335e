"""Read the vault's files without trusting that they are files: no link is followed, no pipe waited for."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SMALL_BYTES: Final = 64 << 20
"""Notes, bundles, tiles and keys files are smaller; larger ones are not read into memory."""


_REFUSALS: Final = (errno.EACCES, errno.EPERM)
_AS_OWNER: Final = "verify as the user who owns the vault, or give back the right to read it"
NOT_ALLOWED: Final = f"it is there, and this user may not read it: {_AS_OWNER}"
NOT_ENTERED: Final = f"this user may not list or enter it: {_AS_OWNER}; what lies in it was not judged"


class Unreadable(Exception):
    """Say that a file cannot be read; `is_missing` tells whether it is there at all. Never leaves this room."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing

    @property
    def code(self) -> str:
        """Give the code of the finding."""
        return "file.missing" if self.is_missing else "file.unreadable"


class RegularFile:
    """Hold one regular file open for reading. Raises `Unreadable`, also later, when the disk fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            status = os.fstat(self._descriptor)
        except (FileNotFoundError, NotADirectoryError):
            raise Unreadable("it is not there", is_missing=True) from None
        except OSError as error:
            raise Unreadable(_why_closed(error)) from None
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
            detail = (
                f"it cannot be read at byte {offset}: {error.strerror}: copy what can be read off this disk"
            )
            raise Unreadable(detail) from None
        return b"".join(parts)

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _why_closed(error: OSError) -> str:
    if error.errno in _REFUSALS:
        return NOT_ALLOWED
    if error.errno == errno.ELOOP:
        return "it is a link, and none is followed: put the file itself in its place"
    return f"it cannot be opened: {error.strerror}"


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
    """Tell whether anything stands at `path`, a dangling link included; True too where nobody may look."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # whoever reads it says why it cannot be read: nobody says that it is gone
    return True


def is_seen(path: Path) -> bool:
    """Tell whether something that this user may look at stands at `path`."""
    return os.path.lexists(path)


def is_folder(path: Path) -> bool:
    """Tell whether a folder, and no link to one, stands at `path`; True too where nobody may look."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError as error:
        return error.errno in _REFUSALS


def is_closed(folder: Path) -> bool:
    """Tell whether this user may not list or enter a folder: to whoever lists it, it looks empty."""
    try:
        os.stat(f"{folder}/.")  # noqa: PTH116 - needs the right to enter it; a `Path` would drop the point
        os.scandir(folder).close()
    except OSError as error:
        return error.errno in _REFUSALS
    return False


def closed_folders(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield `folder` (as an empty text) and all folders below it that are closed, relative to it, ending in `/`."""
    if is_closed(folder):
        yield prefix
        return
    for name in names_in(folder):
        below = folder / name
        if is_folder(below):
            yield from closed_folders(below, f"{prefix}{name}/")


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
