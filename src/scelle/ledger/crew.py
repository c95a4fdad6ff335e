"""Commit to rows in other processes; one process, the sequencer, gives the numbers and writes.

What is handed out is a pure function of rows that are in a frame already, so that a worker that is killed costs time
and nothing else: its part is made here instead.
"""

import gc
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, Final, Generic, TypeVar

from scelle.ledger.columns import ColumnMaker, Columns, Unhashed, hashed_entries

T = TypeVar("T")

WORTH_ROWS: Final = 32_768
"""Below so many rows no worker is started: it takes half a second until it works."""
_AHEAD: Final = 2


def spare_cores() -> int:
    """Count the cores that this process may use, less the one that it uses itself."""
    return max(0, len(os.sched_getaffinity(0)) - 1) if hasattr(os, "sched_getaffinity") else 0


class CommitCrew:
    """Make columns and hash entries in `workers` processes, which are started once there is enough to do.

    With 0 workers, as it begins, everything is made in this process. No worker outlives this process.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers
        self._rows = 0
        self._pool: ProcessPoolExecutor | None = None
        self._is_broken = False
        self._under_way: list[Future[Any]] = []

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def count(self, rows: int) -> None:
        """Count rows that were written; the workers start at number `WORTH_ROWS`."""
        self._rows += rows
        if self._pool is None and self.workers and not self._is_broken and self._rows >= WORTH_ROWS:
            # Spawned, not forked: a fork would hold the vault's lock and the sources' connections open, too.
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=get_context("spawn"), initializer=_begin
            )

    @property
    def has_room(self) -> bool:
        """Tell whether a worker would begin with a call soon: else this process makes it as fast."""
        if self._pool is None:
            return False
        self._under_way = [future for future in self._under_way if not future.done()]
        return len(self._under_way) < self.workers * _AHEAD

    def columns(self, maker: ColumnMaker, first_seq: int, plain: bytes) -> "Handed[list[Columns]]":
        """Have the columns of a frame's rows made."""
        return Handed(self, _columns, (maker, first_seq, plain))

    def entries(self, parts: Iterable[Unhashed]) -> Iterator[bytes]:
        """Give what `hashed_entries` makes of each part, in order."""
        ahead: deque[Handed[bytes]] = deque()
        for part in parts:
            ahead.append(Handed(self, hashed_entries, (part,)))
            while ahead and ahead[0].is_done():
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def submit(self, function: Callable[..., T], arguments: Sequence[Any]) -> Future[T] | None:
        """Hand a call out; None where nobody has room for it."""
        if self._pool is None or not self.has_room:
            return None
        try:
            with _interrupts_kept_away():
                future = self._pool.submit(function, *arguments)  # the first call starts the workers
            self._under_way.append(future)
            return future
        except BrokenProcessPool:
            self.give_up()
            return None

    def give_up(self) -> None:
        """Go on without workers: one of them was killed."""
        self._is_broken = True
        self.close()


class Handed(Generic[T]):
    """A call that is made elsewhere, or at once here where nobody has room for it, or where a worker was killed."""

    def __init__(self, crew: CommitCrew, function: Callable[..., T], arguments: Sequence[Any]) -> None:
        self._crew, self._function, self._arguments = crew, function, arguments
        self._future = crew.submit(function, arguments)
        self._made = [function(*arguments)] if self._future is None else []

    def is_done(self) -> bool:
        """Tell whether `result` need not wait for another process."""
        return self._future is None or self._future.done()

    def result(self) -> T:
        """Wait for what it gives; raise what it raised."""
        if self._future is not None:
            try:
                return self._future.result()
            except BrokenProcessPool:
                self._crew.give_up()
            except MemoryError:  # the worker had none left; this process may
                pass
        return self._made[0] if self._made else self._function(*self._arguments)


def _columns(maker: ColumnMaker, first_seq: int, plain: bytes) -> list[Columns]:
    return list(_known(maker).of_frame(first_seq, plain))


@contextmanager
def _interrupts_kept_away() -> Iterator[None]:
    """Let processes that start now inherit that Ctrl-C waits, until `_begin` lets them ignore it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_makers: dict[tuple[bytes, int, bytes], ColumnMaker] = {}


def _known(maker: ColumnMaker) -> ColumnMaker:
    """Give the maker that was here before, for the tags that it remembers."""
    key = (maker.schema.digest, maker.profile, maker.tag_key)
    return _makers.setdefault(key, maker)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts, interrupts the parent, which ends us
    gc.disable()  # this process makes millions of small objects and no cycles, and ends with its crew
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process where the one that began it was killed: it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
