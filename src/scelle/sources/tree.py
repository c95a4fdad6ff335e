"""Walk a tree of files and read them, without ever following a link, waiting for a writer, or changing
anything.

Paths are bytes, relative to the root, parted by `/`. Every name is opened relative to its directory's
descriptor, one component at a time: no depth is too deep for PATH_MAX, and a directory that is swapped for a
link while it is walked leads nowhere. `O_NONBLOCK` keeps a file that was swapped for a fifo from hanging the
pass.
"""
# pathlib knows neither paths that are bytes nor directory descriptors.
# ruff: noqa: PTH116, PTH118, PTH208

import errno
import os
import stat
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from scelle.errors import (
    ItemChanged,
    ItemError,
    ItemUnreadable,
    ItemVanished,
    SourceMissing,
    SourceUnreadable,
)
from scelle.formats.tokens import shown
from scelle.sources.birth import BirthClock
from scelle.sources.interfaces import PIECE_BYTES, WHOLE_BYTES, Kind, Offered, Trouble
from scelle.sources.metadata import Attributes

_O_NOATIME: Final = getattr(os, "O_NOATIME", 0)
_O_PATH: Final = getattr(os, "O_PATH", os.O_RDONLY)
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LIST_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PASS_FLAGS: Final = _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_LEVELS_OPEN: Final = 32
"""Directories that a walk keeps open; further up, it comes back through `..`."""
_DIRECTORIES_OPEN: Final = 64
"""Directories that a reader keeps open."""

_STAMP: Final = struct.Struct("<QQQQQ")
_64_BITS: Final = 2**64 - 1

_FORMAT: Final = 0o170000
_SORTS: Final = {
    stat.S_IFREG: (Kind.DOCUMENT, ""),
    stat.S_IFLNK: (Kind.LINK, ""),
    stat.S_IFSOCK: (Kind.SPECIAL, "socket"),
    stat.S_IFIFO: (Kind.SPECIAL, "fifo"),
    stat.S_IFBLK: (Kind.SPECIAL, "block-device"),
    stat.S_IFCHR: (Kind.SPECIAL, "character-device"),
}
_CAUSES: Final = {
    errno.EACCES: "permission-denied",
    errno.EPERM: "permission-denied",
    errno.ENOENT: "vanished",
    errno.ENOTDIR: "vanished",
    errno.ESTALE: "vanished",
    errno.ELOOP: "changed-while-read",
    errno.ENXIO: "changed-while-read",
    errno.EIO: "io-error",
}


class Reading(NamedTuple):
    """Carry what one regular file held at one moment; exactly one of `data` and `stream` is set."""

    data: bytes | None
    stream: Callable[[], Iterator[bytes]] | None
    status: os.stat_result
    birth_ns: int | None
    attributes: Attributes | None


def stamp_of(status: os.stat_result) -> bytes:
    """Pack device, inode, size, mtime_ns and ctime_ns: equal stamps mean "unchanged since"."""
    values = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    try:
        return _STAMP.pack(*values)
    except struct.error:  # times before 1970, or after 2554
        return _STAMP.pack(*(value & _64_BITS for value in values))


def cause_of(error: OSError) -> str:
    """Give the stable cause code of a system error: `[a-z0-9-]+`."""
    number = error.errno or 0
    return _CAUSES.get(number) or f"os-{errno.errorcode.get(number, 'unknown').lower()}"


def item_error(error: OSError, path: bytes) -> ItemError:
    """Say a system error on one item in Scellé's words."""
    cause = cause_of(error)
    if cause == "vanished":
        return ItemVanished(f"{shown(os.fsdecode(path))} is not there any more: the next pass will note it")
    if cause == "changed-while-read":
        return changed(path)
    return ItemUnreadable(
        f"{shown(os.fsdecode(path))} cannot be read ({cause}): give Scellé access, then run again", cause
    )


def changed(path: bytes) -> ItemChanged:
    """Make the error for an item that was written to or replaced while it was read."""
    return ItemChanged(
        f"{shown(os.fsdecode(path))} changed while it was read: run again when nobody writes to it"
    )


def open_quietly(name: bytes, flags: int, directory: int | None = None) -> int:
    """Open without touching the access time where the system allows that; raises OSError."""
    try:
        return os.open(name, flags | _O_NOATIME, dir_fd=directory)
    except PermissionError as error:
        if error.errno != errno.EPERM:  # only the owner may ask for O_NOATIME: EPERM says just that
            raise
    return os.open(name, flags, dir_fd=directory)


class Tree:
    """Walk and read what lies under one root.

    A root that is a symbolic link is followed, because the operator named it; below it none is. A root that
    is a regular file is a tree of one item. `first` names entries that are listed before their sisters.
    """

    def __init__(self, root: bytes, source: str, first: bytes = b"") -> None:
        self._root = root
        self._source = source
        self._first = first
        self._pass = 0
        self._threads = threading.local()

    @property
    def only(self) -> bytes:
        """Give the name of the one file that the root is; empty where the root is a directory."""
        return self._anchor()[1]

    def test(self) -> None:
        """Raise SourceMissing or SourceUnreadable when the root cannot be listed or read."""
        root, only = self._anchor()
        try:
            descriptor = open_quietly(os.path.join(root, only), _FILE_FLAGS if only else os.O_RDONLY)
            try:
                if not only:
                    with os.scandir(descriptor) as names:
                        next(names, None)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unreadable(cause_of(error)) from error

    def walk(self, basis: str = "mtime") -> Iterator[Offered | Trouble]:
        """Enumerate everything but directories, sorted by bytes within each, going down where a name stands.

        Memory: the names of the directories on the way down. Raises SourceMissing or SourceUnreadable for the
        root; what fails below it is a Trouble.
        """
        root, only = self._anchor()
        self._pass += 1
        levels = [self._root_level(root, only)]
        try:
            while levels:
                yield from self._siblings(levels, basis)
                below = levels.pop()
                if levels and levels[-1].descriptor < 0:
                    yield from self._come_back(levels[-1], below)
                below.close()
        finally:
            for level in levels:
                level.close()

    def read_file(self, path: bytes, offered: Offered | None = None) -> Reading:
        """Read one regular file; raises ItemChanged, ItemVanished or ItemUnreadable.

        A file whose stamp after reading is the one that it was offered with did not change in between; any
        other is looked at before and after.
        """
        try:
            reader = self._reader()
            descriptor = reader.open(path)
            try:
                mode, birth = reader.birth.mode_and_birth_ns(descriptor)
                if mode & _FORMAT != stat.S_IFREG:  # never take from a fifo what another reader waits for
                    raise changed(path)
                if offered is not None and offered.size_bytes <= WHOLE_BYTES:
                    data = os.read(descriptor, offered.size_bytes + 1)
                    attributes = _attributes(descriptor)
                    status = os.fstat(descriptor)
                    if len(data) == status.st_size and stamp_of(status) == offered.stamp:
                        return Reading(data, None, status, birth, attributes)
                    os.lseek(descriptor, 0, os.SEEK_SET)
                return self._read_slowly(descriptor, path, birth)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise item_error(error, path) from error

    def _read_slowly(self, descriptor: int, path: bytes, birth: int | None) -> Reading:
        before = os.fstat(descriptor)
        attributes = _attributes(descriptor)
        if before.st_size > WHOLE_BYTES:
            return Reading(None, self._streamer(path, before), before, birth, attributes)
        data = _read_whole(descriptor, before.st_size)
        after = os.fstat(descriptor)
        if len(data) != before.st_size or not _is_same(before, after):
            raise changed(path)
        return Reading(data, None, after, birth, attributes)

    def read_link(self, path: bytes) -> tuple[bytes, os.stat_result, Attributes | None]:
        """Read the target of one symbolic link; raises ItemChanged, ItemVanished or ItemUnreadable."""
        try:
            reader = self._reader()
            directory, name = reader.directory_of(path)
            before = os.stat(name, dir_fd=directory, follow_symlinks=False)
            target = os.readlink(name, dir_fd=directory)
            attributes = _link_attributes(directory, name)
            after = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is no link any more
                raise changed(path) from error
            raise item_error(error, path) from error
        if not _is_same(before, after):
            raise changed(path)
        return target, after, attributes

    def open_file(self, path: bytes) -> tuple[int, os.stat_result]:
        """Open one regular file for reading at will; the caller closes it. Raises an ItemError."""
        try:
            descriptor = self._reader().open(path)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise changed(path)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise item_error(error, path) from error
        return descriptor, status

    def names(self, path: bytes) -> list[bytes]:
        """List one directory of the tree, unsorted; empty when it cannot be listed."""
        try:
            descriptor = open_quietly(b".", _LIST_FLAGS, self._reader().directory_of(path + b"/")[0])
            try:
                return [os.fsencode(name) for name in os.listdir(descriptor)]
            finally:
                os.close(descriptor)
        except OSError:
            return []

    def is_there(self, path: bytes) -> bool:
        """Say whether a name exists now, without opening it."""
        try:
            directory, name = self._reader().directory_of(path)
            os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _anchor(self) -> tuple[bytes, bytes]:
        """Give the directory to open and, where the root is a file, its name in it."""
        try:
            mode = os.stat(self._root).st_mode
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SourceMissing(
                f"nothing at {shown(os.fsdecode(self._root))}, source {shown(self._source)}: mount it, or correct "
                "its URL"
            ) from error
        except OSError as error:
            raise self._unreadable(cause_of(error)) from error
        if stat.S_ISDIR(mode):
            return self._root, b""
        if stat.S_ISREG(mode):
            return os.path.split(os.path.realpath(self._root))
        raise self._unreadable("neither a directory nor a file")

    def _unreadable(self, why: str) -> SourceUnreadable:
        return SourceUnreadable(
            f"{shown(os.fsdecode(self._root))}, source {shown(self._source)}, cannot be read ({why}): "
            "give Scellé access, or correct its URL"
        )

    def _root_level(self, root: bytes, only: bytes) -> "_Level":
        try:
            descriptor = open_quietly(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                names = [only] if only else self._sorted_names(descriptor)
                return _Level(descriptor, b"", names, _identity(os.fstat(descriptor)))
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise self._unreadable(cause_of(error)) from error

    def _sorted_names(self, descriptor: int) -> list[bytes]:
        """List a directory with the name to take first at the end."""
        names = [os.fsencode(name) for name in os.listdir(descriptor)]
        names.sort(reverse=True)
        if self._first and self._first in names:
            names.remove(self._first)
            names.append(self._first)
        return names

    def _siblings(self, levels: "list[_Level]", basis: str) -> Iterator[Offered | Trouble]:
        """Offer what is left in the last level, going down into each directory where its name stands."""
        lstat, sorts = os.stat, _SORTS
        level = levels[-1]
        names, directory, prefix = level.names, level.descriptor, level.prefix
        while names:
            name = names.pop()
            path = prefix + name
            try:
                status = lstat(name, dir_fd=directory, follow_symlinks=False)
            except OSError as error:
                yield Trouble(path, path, cause_of(error))
                continue
            sort = sorts.get(status.st_mode & _FORMAT)
            if sort is not None:
                kind, reason = sort
                mtime_ns = status.st_mtime_ns
                yield Offered(
                    path,
                    path,
                    kind,
                    stamp_of(status),
                    status.st_size,
                    mtime_ns // 1000,
                    basis,
                    reason,
                    mtime_ns,
                )
                continue
            below = self._go_down(levels, name, path)
            if isinstance(below, Trouble):
                yield below
                continue
            levels.append(below)
            names, directory, prefix = below.names, below.descriptor, below.prefix

    def _go_down(self, levels: "list[_Level]", name: bytes, path: bytes) -> "_Level | Trouble":
        try:
            descriptor = open_quietly(name, _LIST_FLAGS, levels[-1].descriptor)
            try:
                identity = _identity(os.fstat(descriptor))
                if any(
                    level.identity == identity for level in levels
                ):  # a bind mount of a directory into itself
                    os.close(descriptor)
                    return Trouble(path, path, "directory-loop")
                names = self._sorted_names(descriptor)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            return Trouble(path, path, cause_of(error))
        if len(levels) >= _LEVELS_OPEN:
            levels[-_LEVELS_OPEN].close()
        return _Level(descriptor, path + b"/", names, identity)

    def _come_back(self, level: "_Level", below: "_Level") -> Iterator[Trouble]:
        """Open a level again that was closed on the way down, and make sure that it is the same directory."""
        try:
            descriptor = open_quietly(b"..", _LIST_FLAGS, below.descriptor)
            if _identity(os.fstat(descriptor)) != level.identity:  # moved meanwhile: go by the path
                os.close(descriptor)
                directory = self._reader().directory_of(level.prefix)[0]
                descriptor = open_quietly(b".", _LIST_FLAGS, directory)
            level.descriptor = descriptor
        except OSError as error:
            for name in reversed(level.names):
                yield Trouble(level.prefix + name, level.prefix + name, cause_of(error))
            level.names.clear()

    def _reader(self) -> "_Reader":
        """Give this thread's reader; a new pass opens its directories anew."""
        reader: _Reader | None = getattr(self._threads, "reader", None)
        if reader is None or reader.begun_in != self._pass:
            reader = self._threads.reader = _Reader(self._anchor()[0], self._pass)
        return reader

    def _streamer(self, path: bytes, before: os.stat_result) -> Callable[[], Iterator[bytes]]:
        def stream() -> Iterator[bytes]:
            descriptor, status = self.open_file(path)
            try:
                if not _is_same(before, status):
                    raise changed(path)
                left = before.st_size
                while piece := os.read(descriptor, PIECE_BYTES):
                    left -= len(piece)
                    if left < 0:
                        raise changed(path)
                    yield piece
                if left or not _is_same(before, os.fstat(descriptor)):
                    raise changed(path)
            except OSError as error:
                raise item_error(error, path) from error
            finally:
                os.close(descriptor)

        return stream


class _Level:
    """Hold one directory on the way down: its names not yet visited, last one first."""

    __slots__ = ("descriptor", "identity", "names", "prefix")

    def __init__(self, descriptor: int, prefix: bytes, names: list[bytes], identity: tuple[int, int]) -> None:
        self.descriptor = descriptor
        self.prefix = prefix
        self.names = names
        self.identity = identity

    def close(self) -> None:
        """Close the descriptor; a second time does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class _Reader:
    """Open files by path for one thread, keeping the directories that it came through open."""

    def __init__(self, root: bytes, begun_in: int) -> None:
        self.begun_in = begun_in
        self.birth = BirthClock()
        self._directories: OrderedDict[bytes, int] = OrderedDict()
        self._last_path: bytes | None = None
        self._last = -1
        self._root = os.open(root, _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __del__(self) -> None:
        self._forget()
        if hasattr(self, "_root"):
            os.close(self._root)

    def directory_of(self, path: bytes) -> tuple[int, bytes]:
        """Give the open directory of `path` and the last name; raises OSError."""
        parent, _, name = path.rpartition(b"/")
        if parent != self._last_path:
            self._last_path = None
            self._last = self._directory(parent)
            self._last_path = parent
        return self._last, name

    def open(self, path: bytes) -> int:
        """Open a file; raises OSError."""
        directory, name = self.directory_of(path)
        try:
            return open_quietly(name, _FILE_FLAGS, directory)
        except FileNotFoundError:
            # The directory may have been replaced by another of its name: ask again from the root.
            self._forget()
            directory, name = self.directory_of(path)
            return open_quietly(name, _FILE_FLAGS, directory)

    def _directory(self, path: bytes) -> int:
        missing = []
        while path and path not in self._directories:
            path, _, name = path.rpartition(b"/")
            missing.append(name)
        descriptor = self._root
        if path:
            descriptor = self._directories[path]
            self._directories.move_to_end(path)
        while missing:
            name = missing.pop()
            path = path + b"/" + name if path else name
            descriptor = os.open(name, _PASS_FLAGS, dir_fd=descriptor)
            self._directories[path] = descriptor
            if len(self._directories) > _DIRECTORIES_OPEN:
                os.close(self._directories.popitem(last=False)[1])
        return descriptor

    def _forget(self) -> None:
        self._last_path = None
        for descriptor in self._directories.values():
            os.close(descriptor)
        self._directories.clear()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_same(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
        and before.st_size == after.st_size
        and before.st_ino == after.st_ino
        and before.st_dev == after.st_dev
    )


def _read_whole(descriptor: int, size: int) -> bytes:
    """Read to the end, or to one byte more than there should be."""
    data = os.read(descriptor, size + 1)
    while len(data) < size and (more := os.read(descriptor, size + 1 - len(data))):
        data += more
    return data


def _attributes(descriptor: int) -> Attributes | None:
    try:
        names = os.listxattr(descriptor)
    except OSError:
        return None
    if not names:
        return []
    return sorted((os.fsencode(name), _attribute(descriptor, name)) for name in names)


def _attribute(target: int | bytes, name: str) -> bytes | None:
    try:
        return (
            os.getxattr(target, name, follow_symlinks=False)
            if isinstance(target, bytes)
            else os.getxattr(target, name)
        )
    except OSError:
        return None


def _link_attributes(directory: int, name: bytes) -> Attributes | None:
    """List the attributes of a link itself; the kernel has no call for them by descriptor, only /proc."""
    target = b"/proc/self/fd/%d/%b" % (directory, name)
    try:
        names = os.listxattr(target, follow_symlinks=False)
    except OSError:
        return None
    return sorted((os.fsencode(each), _attribute(target, each)) for each in names)
