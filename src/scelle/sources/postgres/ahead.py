"""Read the next tables while one is consumed: threads that COPY in the same snapshot, and a buffer between."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import psycopg

from scelle.errors import SourceUnreadable
from scelle.sources.postgres.reading import Lines, TableReading

HELD_BYTES: Final = 32 << 20
"""So much is read and not consumed yet, in all; and a batch for each table that is consumed."""

_LOOK_UP_S: Final = 0.1


class Open(Protocol):
    """Open the reading of a table; `pause` waits, `check` raises where it shall stop."""

    def __call__(self, pause: Callable[[float], None], check: Callable[[], object]) -> TableReading:
        """Open it; nothing is read yet."""


class Job(NamedTuple):
    """Name a reading of a table: two of the same `name` and `how` are the same."""

    name: str
    how: object
    open: Open


@dataclass(slots=True, eq=False)
class _Task:
    job: Job
    lines: deque[Lines] = field(default_factory=deque)
    reading: TableReading | None = None
    error: BaseException | None = None
    is_wanted: bool = False
    is_begun: bool = False
    is_done: bool = False
    is_dropped: bool = False


class _Dropped(Exception):
    """Nobody wants what a thread reads any more."""


class ReadAhead:
    """Read up to `threads` tables at once, in the order in which they will be asked for.

    What goes wrong with a table is raised where it is consumed. The threads end when nothing is left to read, and
    with `close`; they never keep a process alive.
    """

    def __init__(self, threads: int, wait_s: Callable[[float], None]) -> None:
        self._most, self._wait_s = threads, wait_s
        self._changed = threading.Condition()
        self._wanted: set[_Task] = set()
        self._ahead: dict[str, _Task] = {}
        self._pending: deque[_Task] = deque()
        self._threads: set[threading.Thread] = set()
        self._held_bytes = 0

    def lines(self, job: Job, following: Sequence[Job]) -> Iterator[Lines]:
        """Give what a reading gives, while those `following` are read ahead.

        Raises what the reading raises, and SourceUnreadable where as many are consumed at once as there are threads.
        """
        task = self._ask(job, following)
        try:
            while (lines := self._next(task)) is not None:
                yield lines
        finally:
            self._drop([task])

    def close(self) -> None:
        """Stop all threads, and wait for their end: after it no transaction of theirs is left."""
        with self._changed:
            tasks, threads = [*self._wanted, *self._ahead.values()], list(self._threads)
        self._drop(tasks)
        for task in tasks:
            if task.reading is not None:
                with suppress(psycopg.Error):
                    task.reading.cancel()
        for thread in threads:
            thread.join()

    # --- the caller's side

    def _ask(self, job: Job, following: Sequence[Job]) -> _Task:
        """Take the task that reads `job` ahead, or begin anew where something else was foreseen."""
        with self._changed:
            if sum(not task.is_done for task in self._wanted) >= self._most:
                raise SourceUnreadable(
                    f"{self._most} tables are read at once already: allow more with --max-connections"
                )
            task = self._ahead.pop(job.name, None)
            if task is None or task.job.how != job.how:
                self._drop([*self._ahead.values(), *([] if task is None else [task])])
                task = _Task(job)
            hows = {each.name: each.how for each in following}
            self._drop([each for name, each in self._ahead.items() if hows.get(name) != each.job.how])
            for each in following:
                self._ahead.setdefault(each.name, _Task(each))
            self._wanted.add(task)
            task.is_wanted = True
            self._pending = deque(each for each in (task, *self._ahead.values()) if not each.is_begun)
            self._start_threads()
            self._changed.notify_all()
            return task

    def _next(self, task: _Task) -> Lines | None:
        with self._changed:
            while not task.lines and not task.is_done:
                self._changed.wait()
            if task.lines:
                lines = task.lines.popleft()
                self._held_bytes -= len(lines.data)
                self._changed.notify_all()
                return lines
        if task.error is not None:
            raise task.error
        if task.is_dropped:
            raise SourceUnreadable("the source was closed while it was read: run again")
        return None

    def _drop(self, tasks: Sequence[_Task]) -> None:
        with self._changed:
            for task in tasks:
                task.is_dropped = True
                self._held_bytes -= sum(len(lines.data) for lines in task.lines)
                task.lines.clear()
                if not task.is_begun:
                    task.is_done = True
                self._wanted.discard(task)
                if self._ahead.get(task.job.name) is task:
                    del self._ahead[task.job.name]
            self._changed.notify_all()

    def _start_threads(self) -> None:
        for _ in range(min(self._most - len(self._threads), len(self._pending))):
            thread = threading.Thread(target=self._work, name="scelle-read-ahead", daemon=True)
            self._threads.add(thread)
            thread.start()

    # --- the threads' side

    def _work(self) -> None:
        while (task := self._take()) is not None:
            try:
                self._read(task)
            except _Dropped:
                pass
            except BaseException as error:  # noqa: BLE001  raised again where the table is consumed
                task.error = error
            with self._changed:
                task.is_done = True
                self._changed.notify_all()

    def _take(self) -> _Task | None:
        with self._changed:
            while self._pending:
                task = self._pending.popleft()
                if not task.is_dropped:
                    task.is_begun = True
                    return task
            self._threads.discard(threading.current_thread())
            return None

    def _read(self, task: _Task) -> None:
        def check() -> None:
            if task.is_dropped:
                raise _Dropped

        def pause(seconds: float) -> None:
            while seconds > 0:
                check()
                self._wait_s(min(seconds, _LOOK_UP_S))
                seconds -= _LOOK_UP_S

        task.reading = task.job.open(pause, check)
        for lines in task.reading.lines():
            self._put(task, lines)

    def _put(self, task: _Task, lines: Lines) -> None:
        size = len(lines.data)
        with self._changed:
            while not task.is_dropped and not self._has_room(task, size):
                self._changed.wait()
            if task.is_dropped:
                raise _Dropped
            task.lines.append(lines)
            self._held_bytes += size
            self._changed.notify_all()

    def _has_room(self, task: _Task, size_bytes: int) -> bool:
        """Say whether a batch may be kept; a table that is consumed never waits for others to be."""
        is_awaited = task.is_wanted and not task.lines
        return is_awaited or not self._held_bytes or self._held_bytes + size_bytes <= HELD_BYTES
