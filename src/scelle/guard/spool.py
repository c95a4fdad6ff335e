"""Note refusals where the guard is asked: encrypted, in `<vault>/spool/refusals`, until a writing session seals them.

Whoever asks the guard has no right to write to a log, and does not wait for a lock. So each process appends to a file
of its own, under the vault's key, and the next session that writes takes them over (docs/guard.md). A refusal names the
item and its ref, and no order.

A file: frames of be32 length || sealed JSON, each bound to the file's name and its number. Its process holds a shared
lock while it may append; a frame that a crash cut short is dropped, since its answer was never given. One that is whole
and does not open was changed: it is told, and its file stays.
"""

import fcntl
import os
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from scelle.errors import WrongKey
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.vault import durable
from scelle.vault.keys import VaultKey

SPOOL_FOLDER: Final = "spool"
REFUSALS: Final = "refusals"
AT_ONCE: Final = 500
"""So many refusals stand in one frame, which becomes one event."""
_LENGTH: Final = struct.Struct(">I")
_FRAME_MAX_BYTES: Final = 64 << 20
_JSON_DEPTH: Final = 8
_NAME_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Refusal:
    """One item that the guard refused: what was asked, and the ref that was answered.

    ``native`` is text (`sources.interfaces.native_text`); ``account`` and ``time_us`` are what the caller said of the
    item, None where nothing.
    """

    source: str
    native: str
    ref: str
    at_us: int
    account: str | None = None
    time_us: int | None = None

    def to_json(self) -> list[Any]:
        """Return the refusal as it is sealed; times as decimal texts."""
        return [self.source, self.native, self.ref, str(self.at_us), self.account, _text(self.time_us)]


def refusal_from_json(value: Sequence[Any]) -> Refusal:
    """Read a refusal as it was sealed."""
    source, native, ref, at_us, account, time_us = value
    return Refusal(source, native, ref, int(at_us), account, None if time_us is None else int(time_us))


def refusals_folder(vault: Path) -> Path:
    """Return the folder of the spool's files."""
    return vault / SPOOL_FOLDER / REFUSALS


class RefusalSpool:
    """Append refusals to this process's own file, which is made with the first of them; not for several threads."""

    def __init__(self, vault: Path, vault_key: VaultKey) -> None:
        self._folder, self._key = refusals_folder(vault), vault_key
        self._file: durable.AppendFile | None = None
        self._name, self._frames, self._lock = "", 0, -1

    def note(self, refusals: Sequence[Refusal]) -> None:
        """Make refusals durable; raises StorageError. A crash before the end drops some of this call's."""
        for start in range(0, len(refusals), AT_ONCE):
            self._append(refusals[start : start + AT_ONCE])
        if refusals and self._file is not None:
            self._file.sync()

    def close(self) -> None:
        """Let go of the file: it may be taken over and removed now."""
        if self._file is not None:
            self._file.close()
            self._file = None
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, refusals: Sequence[Refusal]) -> None:
        file = self._opened()
        body = canonical_json({"refused": [each.to_json() for each in refusals]})
        sealed = self._key.seal(body, _context(self._name, self._frames))
        file.write(_LENGTH.pack(len(sealed)) + sealed)
        self._frames += 1

    def _opened(self) -> durable.AppendFile:
        if self._file is None:
            durable.make_directory(self._folder)
            self._name, self._frames = secrets.token_hex(_NAME_BYTES), 0
            path = self._folder / self._name
            self._file = durable.AppendFile(path, exclusive=True)
            self._lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            if not path.exists():  # taken for a finished one, and removed, before it was locked
                self.close()
                return self._opened()
            durable.sync_directory(self._folder)
        return self._file


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """One file of the spool as it was read: its size in bytes then, and its whole frames.

    ``damaged`` are the numbers of those that do not open: they stand in ``frames`` without a refusal.
    """

    path: Path
    size_bytes: int
    frames: tuple[tuple[Refusal, ...], ...]
    damaged: tuple[int, ...] = ()


def read_spool(vault: Path, vault_key: VaultKey) -> Iterator[SpoolFile]:
    """Yield the spool's files, by name, each with the frames that are whole; what is behind them is not read."""
    folder = refusals_folder(vault)
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in names:
        path = folder / name
        size_bytes = path.stat().st_size
        frames = tuple(_frames(path, vault_key))
        damaged = tuple(number for number, frame in enumerate(frames) if frame is None)
        yield SpoolFile(path, size_bytes, tuple(frame or () for frame in frames), damaged)


def remove_finished(file: SpoolFile) -> bool:
    """Remove a file of which all was sealed; return False where a process may append to it, or has done so.

    A crash leaves it there or not: whoever seals frames remembers how many of a file it has sealed.
    """
    descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_size != file.size_bytes:
            return False
        durable.remove(file.path)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)  # lets go of the lock
    return True


def _frames(path: Path, vault_key: VaultKey) -> Iterator[tuple[Refusal, ...] | None]:
    """Yield the whole frames of a file, None for one that does not open; nothing is found behind a wrong length."""
    with path.open("rb") as file:
        number = 0
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            size = _LENGTH.unpack(head)[0]
            if not 0 < size <= _FRAME_MAX_BYTES:
                yield None
                return
            sealed = file.read(size)
            if len(sealed) < size:
                return
            try:
                body = parse_json_strict(vault_key.open(sealed, _context(path.name, number)), _JSON_DEPTH)
            except WrongKey:
                yield None
            else:
                yield tuple(map(refusal_from_json, body["refused"]))
            number += 1


def _context(name: str, number: int) -> bytes:
    return b"scelle/refusals/v1 " + name.encode() + b" %d" % number


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
