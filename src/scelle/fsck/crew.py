"""Run checks in several processes, in order and a few at a time; what fails in one never stops the others."""

import gc
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD: Final = 2
_LOOKS: Final = 20
_LOOK_S: Final = 0.005
_THREADS: Final = Path("/proc/self/task")
_shared: list[Any] = []


class Failed(Generic[T]):
    """Stand for the result of a task that raised: a fault of Scellé, or a process that was killed."""

    def __init__(self, task: T, error: BaseException) -> None:
        self.task = task
        self.detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Crew:
    """Run functions over tasks in `workers` processes, or in this one; `shared` is given to each call.

    Memory is bounded: no more than twice as many tasks are under way as there are workers.
    """

    def __init__(self, workers: int, shared: object = None) -> None:
        self._workers, self._shared = workers, shared
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._workers > 1:
            # A forked worker starts at once and shares what we have read; with threads about it could hang.
            context = get_context("fork" if _has_one_thread() else "spawn")
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=context, initializer=_begin, initargs=(self._shared,)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, function: Callable[[T, Any], R], tasks: Iterable[T]) -> Iterator[R | Failed[T]]:
        """Yield the result of each task, in the order of the tasks."""
        if self._pool is None:
            for task in tasks:
                yield _outcome(function, task, self._shared)
            return
        ahead: deque[tuple[T, Future[R] | BaseException]] = deque()
        for task in tasks:
            ahead.append((task, self._submitted(function, task)))
            if len(ahead) >= self._workers * _AHEAD:
                first, future = ahead.popleft()
                settled = _settled(first, future)
                yield settled
        for last, future in ahead:
            settled = _settled(last, future)
            yield settled

    def _submitted(self, function: Callable[[T, Any], R], task: T) -> Future[R] | BaseException:
        if self._pool is None:
            raise AssertionError("tasks are handed out only while the crew is at work")
        try:
            return self._pool.submit(_call, function, task)
        except RuntimeError as error:  # a worker was killed: BrokenProcessPool, for this and all that follow
            return error


def _settled(task: T, future: Future[R] | BaseException) -> R | Failed[T]:
    if isinstance(future, BaseException):
        return Failed(task, future)
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - one check that fails must not take the others with it
        return Failed(task, error)


def _outcome(function: Callable[[T, Any], R], task: T, shared: object) -> R | Failed[T]:
    try:
        return function(task, shared)
    except Exception as error:  # noqa: BLE001 - as above
        return Failed(task, error)


def _begin(shared: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts, interrupts the parent, which ends us
    gc.disable()  # this process makes millions of small objects and no cycles, and ends with its crew
    _shared[:] = [shared]


def _call(function: Callable[[T, Any], R], task: T) -> R:
    return function(task, _shared[0])


def _has_one_thread() -> bool:
    """Tell whether no other thread runs in this process; those of a crew before are given a moment to end."""
    for _ in range(_LOOKS):
        try:
            if len(list(_THREADS.iterdir())) == 1:
                return True
        except OSError:
            return False
        time.sleep(_LOOK_S)
    return False
