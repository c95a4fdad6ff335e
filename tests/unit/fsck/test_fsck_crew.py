import os
import signal
import threading
from collections.abc import Iterator

import pytest

from scelle.fsck import crew as room
from scelle.fsck.crew import Crew, Failed


def square(task: int, shared: object) -> tuple[int, object]:
    if task == 13:
        raise ValueError("unlucky")
    if task == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task, shared


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    with Crew(workers, "shared") as crew:
        assert list(crew.run(square, range(10))) == [(n * n, "shared") for n in range(10)]


@pytest.mark.parametrize("workers", [1, 3])
def test_what_fails_does_not_stop_the_others(workers: int) -> None:
    with Crew(workers) as crew:
        results = list(crew.run(square, [1, 13, 2]))
    assert results[0] == (1, None)
    assert results[2] == (4, None)
    failed = results[1]
    assert isinstance(failed, Failed)
    assert (failed.task, failed.detail) == (13, "ValueError: unlucky")


def test_a_worker_that_is_killed_fails_its_tasks_and_hangs_nothing() -> None:
    with Crew(2) as crew:
        results = list(crew.run(square, [99, *range(20)]))
    assert len(results) == 21
    first = results[0]
    assert isinstance(first, Failed)
    assert "BrokenProcessPool" in first.detail


def test_tasks_are_made_as_they_are_needed() -> None:
    made: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with Crew(2) as crew:
        results = crew.run(square, tasks())
        next(results)
        assert len(made) <= 6


def test_with_threads_about_workers_are_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_LOOK_S", 0)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with Crew(2, b"shared") as crew:
            assert list(crew.run(square, [3])) == [(9, b"shared")]
    finally:
        stop.set()
        thread.join()
