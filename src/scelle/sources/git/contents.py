"""Read the bytes of objects, when somebody asks for them, and check them against their ids."""
# pathlib does not know paths that are bytes.
# ruff: noqa: PTH118

import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from hashlib import new as new_hash
from io import BufferedReader
from secrets import token_hex
from typing import IO, Any, Final, NamedTuple, cast

from scelle.errors import ItemError, ItemUnreadable, ItemVanished
from scelle.sources.git.command import Git, stop
from scelle.sources.git.place import Repository
from scelle.sources.interfaces import PIECE_BYTES

DAMAGED: Final = "object-damaged"
_FATAL: Final = 128
_IDLE_MAX: Final = 4
_WINDOW: Final = 256
"""Questions asked before the first answer is read: they must fit into a pipe, or both sides wait for ever."""


class Listed(NamedTuple):
    """Name an object as the repository lists it."""

    oid: bytes
    kind: bytes
    size_bytes: int


class _Ended(Exception):
    """Say that git ended in the middle of an answer."""


class _OutOfStep(_Ended):
    """Say that git answered, and not with what it announced."""


class ObjectContents:
    """Give the contents of a repository's objects; safe to use from several threads, and after a fork.

    Each stream has a process of its own (`git cat-file --batch`), which the next one takes over.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        # Documents may be read long after the listing: the processes go when the last of them is forgotten.
        weakref.finalize(self, _close_all, self._idle)

    def streamer(self, listed: Listed) -> Callable[[], Iterator[bytes]]:
        """Give the call that reads an object's content in pieces of at most 1 MiB; nothing is read before.

        It raises ItemVanished where git has removed the object since, and ItemUnreadable with the cause
        `object-damaged`, at the latest after the last piece, where the bytes are not those of the id.
        """

        def stream() -> Iterator[bytes]:
            return self._pieces(listed)

        return stream

    def whole(self, wanted: Sequence[Listed]) -> Iterator[bytes | ItemError]:
        """Read objects one after another; in place of one that cannot be read stands the error."""
        done = 0
        while done < len(wanted):
            for content in self._window(wanted[done : done + _WINDOW]):
                done += 1
                yield content

    def first_piece(self, listed: Listed) -> bytes:
        """Read the start of an object, at most 1 MiB; unchecked. Raises an ItemError."""
        pieces = self._pieces(listed)
        try:
            return next(pieces, b"")
        finally:
            pieces.close()

    def not_there(self, oid: bytes) -> ItemError:
        """Tell apart what git calls missing: a loose object that it cannot read, and one that is gone."""
        place = os.path.join(self._repository.path, b"objects", oid[:2], oid[2:])
        if os.path.lexists(place):
            return _damaged(oid)
        return ItemVanished(
            f"object {oid.decode()} is not there any more: git removed it since it was listed"
        )

    def _window(self, wanted: Sequence[Listed]) -> Iterator[bytes | ItemError]:
        """Read what fits one window; where git gives up the window ends early, after the error."""
        process = self._take()
        finished = False
        listed = wanted[0]
        try:
            process.ask([each.oid for each in wanted])
            for listed in wanted:
                content = self._checked(process, listed)
                if listed is wanted[-1]:  # whoever has this one does not come back for more
                    finished = process.is_at_end()
                yield content
        except _Ended as ended:
            yield process.last_words(ended, listed.oid)
        finally:
            self._give_back(process, finished)

    def _checked(self, process: "_Process", listed: Listed) -> bytes | ItemError:
        try:
            return b"".join(self._answer(process, listed))
        except ItemError as error:
            return error

    def _pieces(self, listed: Listed) -> Generator[bytes, None, None]:
        process = self._take()
        finished = False
        try:
            process.ask([listed.oid])
            yield from self._answer(process, listed)
            finished = process.is_at_end()
        except ItemError:
            finished = process.is_at_end()  # the answer was whole, and another than it should be
            raise
        except _Ended as ended:
            raise process.last_words(ended, listed.oid) from ended
        finally:
            self._give_back(process, finished)

    def _answer(self, process: "_Process", listed: Listed) -> Iterator[bytes]:
        """Read one answer to its end, then raise the ItemError that there is to raise."""
        head = process.head()
        if head is None:
            raise self.not_there(listed.oid)
        kind, size_bytes = head
        digest: Any = new_hash(self._repository.object_format, usedforsecurity=False)
        digest.update(b"%b %d\0" % (kind, size_bytes))
        for piece in process.pieces(size_bytes):
            digest.update(piece)
            yield piece
        if digest.hexdigest().encode() != listed.oid or (kind, size_bytes) != listed[1:]:
            raise _damaged(listed.oid)

    def _take(self) -> "_Process":
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_alive():
                    return process
                process.close()
        return _Process(self._repository.git)

    def _give_back(self, process: "_Process", finished: bool) -> None:
        with self._lock:
            if finished and len(self._idle) < _IDLE_MAX:
                self._idle.append(process)
                return
        process.close()


class _Process:
    """Ask one `git cat-file --batch`; its answers come in the order of the questions.

    Git may give fewer bytes of a damaged object than it announced, and then wait for the next question while the
    reader waits for the rest. So every window ends with a question after a name that nobody can foresee: where its
    answer is the last that came, nothing more will come.
    """

    def __init__(self, git: Git) -> None:
        self._made_in = os.getpid()
        self._process = git.start("cat-file", "--batch")
        self._questions = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("BufferedReader", self._process.stdout)
        self._last_question = b"scelle-" + token_hex(16).encode()
        self._last_answer = self._last_question + b" missing\n"
        self._buffer = bytearray()

    def ask(self, oids: Sequence[bytes]) -> None:
        """Ask for objects, at most a window of them."""
        try:
            self._questions.write(b"".join(oid + b"\n" for oid in (*oids, self._last_question)))
            self._questions.flush()
        except OSError as error:
            raise _Ended from error

    def head(self) -> tuple[bytes, int] | None:
        """Read the first line of an answer: type and size; None where git has no such object."""
        words = self._line().split()
        if len(words) == 2 and words[1] == b"missing":
            return None
        if len(words) != 3 or not words[2].isdigit():
            raise _OutOfStep
        return words[1], int(words[2])

    def pieces(self, size_bytes: int) -> Iterator[bytes]:
        """Read the content of an answer, and the end of its line."""
        while size_bytes:
            piece = self._take(min(size_bytes, PIECE_BYTES))
            size_bytes -= len(piece)
            yield piece
        if self._take(1) != b"\n":
            raise _OutOfStep

    def is_at_end(self) -> bool:
        """Read what follows the last answer of a window, and say whether it is what must follow."""
        try:
            return self._line() == self._last_answer
        except _Ended:
            return False

    def is_alive(self) -> bool:
        """Say whether it can be asked: after a fork it is the parent's, who may be asking."""
        return self._made_in == os.getpid() and self._process.poll() is None

    def last_words(self, ended: _Ended, oid: bytes) -> ItemError:
        """Say why there was no whole answer: git gives up on what it finds damaged, or passes over it."""
        code = _FATAL if isinstance(ended, _OutOfStep) else self._process.wait()
        if code == _FATAL:
            return _damaged(oid)
        return ItemUnreadable(
            f"object {oid.decode()} was not read: git ended with {code}; run again", "git-failed"
        )

    def close(self) -> None:
        """End the process, unless it is the parent's."""
        if self._made_in == os.getpid():
            stop(self._process)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._read_on()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            self._read_on()
        return self._take(self._buffer.index(b"\n") + 1)

    def _read_on(self) -> None:
        if self._buffer.endswith(self._last_answer):
            raise _OutOfStep
        data = self._answers.read1(PIECE_BYTES)
        if not data:
            raise _Ended
        self._buffer += data


def _close_all(idle: list[_Process]) -> None:
    while idle:
        idle.pop().close()


def _damaged(oid: bytes) -> ItemUnreadable:
    return ItemUnreadable(
        f"object {oid.decode()} is damaged: run `git fsck`, and fetch it from another copy", DAMAGED
    )
