"""Collect the parts of a package in files beside it, and let the package appear only when it is whole.

Nothing is written there that the package does not show: records that are withheld and fields that are
redacted never reach the disk in plain.
"""

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, Literal, get_args

from scelle.errors import PackageNameRefused
from scelle.formats.packages import ManifestFile
from scelle.formats.tokens import shown
from scelle.formats.zips import Member
from scelle.vault import durable

BUFFER_BYTES: Final = 1 << 20
UNBUFFERED_BYTES: Final = 1 << 17
"""From here on a copy costs more than another call of the system."""
NAME_MAX_BYTES: Final = 200
"""A file name has at most 255 bytes, and scratch files have a little more than the package's."""

Part = Literal["drafts", "items", "loadfile", "package", "proofs", "records", "stream", "withheld"]
"""All the scratch files that a package, or an audit stream, can have."""


class Scratch:
    """Append to one file and know its size, CRC-32 and SHA-256; what is read back was drained before."""

    def __init__(self, path: Path, *, hashed: bool = True) -> None:
        self.path = path
        with suppress(FileNotFoundError):
            path.unlink()  # left by a run that was killed
        self._file = durable.AppendFile(path, exclusive=True)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._buffer = bytearray()
        self._crc32 = 0
        self._state = sha256() if hashed else None
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """Append `data` and return how many bytes that were, as a file does."""
        self.size_bytes += len(data)
        if len(data) >= UNBUFFERED_BYTES:
            self.drain()
            self._hand_over(data)
            return len(data)
        self._buffer += data
        if len(self._buffer) >= BUFFER_BYTES:
            self.drain()
        return len(data)

    def drain(self) -> None:
        """Hand everything written so far to the file."""
        if self._buffer:
            self._hand_over(self._buffer)
            self._buffer.clear()

    def _hand_over(self, data: bytes | bytearray) -> None:
        if self._state is not None:
            self._crc32 = zlib.crc32(data, self._crc32)
            self._state.update(data)
        self._file.write(data)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes that were drained."""
        return os.pread(self._descriptor, size_bytes, offset)

    def clear(self) -> None:
        """Empty the file."""
        self._buffer.clear()
        self._file.truncate(0)
        self.size_bytes = 0

    def sha256(self) -> bytes:
        """Return the SHA-256 of all that was written; only where it is hashed."""
        self.drain()
        return self._state.digest() if self._state is not None else b""

    def member(self, name: str) -> tuple[Member, ManifestFile]:
        """Announce the whole file as a member of a package."""
        self.drain()
        member = Member(name, self.size_bytes, self._crc32, self._open)
        return member, ManifestFile(self.sha256(), self.size_bytes, name)

    def _open(self) -> BinaryIO:
        return self.path.open("rb")

    def publish(self, out: Path) -> None:
        """Make the file durable and give it its name; a crash before leaves nothing of that name."""
        self.drain()
        self._file.sync()
        refuse_taken(out)
        durable.replace(self.path, out)

    def close(self) -> None:
        """Let go of the file and remove it, if it was not published."""
        self._file.close()
        os.close(self._descriptor)
        with suppress(OSError):
            self.path.unlink()


class Slice:
    """Open a part of a scratch file, at most a few MiB."""

    __slots__ = ("_offset", "_scratch", "_size_bytes")

    def __init__(self, scratch: Scratch, offset: int, size_bytes: int) -> None:
        self._scratch, self._offset, self._size_bytes = scratch, offset, size_bytes

    def __call__(self) -> BinaryIO:
        """Return the bytes of the part as a file."""
        return io.BytesIO(self._scratch.read(self._offset, self._size_bytes))


class Workspace:
    """Hold the scratch files of one package: `.<name>.<part>.part` beside it."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._open: list[Scratch] = []

    def scratch(self, part: Part, *, hashed: bool = True) -> Scratch:
        """Begin a scratch file."""
        made = Scratch(_path(self._out, part), hashed=hashed)
        self._open.append(made)
        return made

    def close(self) -> None:
        """Remove all scratch files."""
        for each in self._open:
            each.close()


def _path(out: Path, part: Part) -> Path:
    return out.with_name(f".{out.name}.{part}.part")


@contextmanager
def workspace(out: Path) -> Iterator[Workspace]:
    """Give a workspace beside `out` and leave nothing of it behind, however the work ends."""
    made = Workspace(out)
    try:
        yield made
    finally:
        made.close()


def refuse_place(out: Path) -> None:
    """Raise `PackageNameRefused` where no package can be put at `out`.

    Scratch files that a killed run left beside it are removed first: they hold items in plain. Where one stays,
    that is said.
    """
    _refuse_name(out)
    stay = [left for part in get_args(Part) if not _is_removed(left := _path(out, part))]
    if stay:
        names = ", ".join(map(str, stay))
        raise PackageNameRefused(
            f"{names}: left by a killed run, holds items in plain, and cannot be removed: remove it"
        )
    refuse_taken(out)


def _is_removed(left: Path) -> bool:
    try:
        left.unlink(missing_ok=True)
    except OSError:
        return not os.path.lexists(left)  # there is no such folder, or no folder
    return True


def refuse_taken(out: Path) -> None:
    """Raise `PackageNameRefused` where no file can be made at `out`, or something is: evidence is never overwritten."""
    _refuse_name(out)
    if os.path.lexists(out):
        raise PackageNameRefused(f"{out} is there already and stays as it is: choose another name")
    if not out.parent.is_dir():
        raise PackageNameRefused(f"{out.parent}: no such folder: make it first")


def _refuse_name(out: Path) -> None:
    if not out.name or len(os.fsencode(out.name)) > NAME_MAX_BYTES:
        raise PackageNameRefused(f"{shown(str(out))}: give it a name of 1 to {NAME_MAX_BYTES} bytes")
