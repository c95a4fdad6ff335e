"""The lock of deletions: who waits for whom, what a killed process leaves, and how a file is set aside."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scelle.errors import StorageFailed
from scelle.guard.deletions import (
    NOW,
    DeletionLock,
    deletions_folder,
    deletions_under_way,
    set_deletions_aside,
)

HOLD = """
import sys
from pathlib import Path
from scelle.guard.deletions import DeletionLock
with DeletionLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held_by_another(vault: Path) -> Iterator["subprocess.Popen[str]"]:
    """Hold the lock in another process, until it is told a line, or killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(vault)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_where_nothing_is_deleted_nothing_is_made(tmp_path: Path) -> None:
    assert deletions_under_way(tmp_path) == []
    set_deletions_aside(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_deletion_is_seen_from_its_lock_to_its_end(tmp_path: Path) -> None:
    with DeletionLock(tmp_path) as first:
        assert deletions_under_way(tmp_path) == [deletions_folder(tmp_path) / NOW]
        with DeletionLock(tmp_path):
            first.release()
            first.release()
            assert deletions_under_way(tmp_path) == [deletions_folder(tmp_path) / NOW]
    assert deletions_under_way(tmp_path) == []


def test_deletions_after_one_that_was_set_aside_are_others(tmp_path: Path) -> None:
    now = deletions_folder(tmp_path) / NOW
    with DeletionLock(tmp_path) as before:
        set_deletions_aside(tmp_path)
        [aside] = deletions_under_way(tmp_path)
        assert aside != now
        with DeletionLock(tmp_path):  # waits for nobody
            assert set(deletions_under_way(tmp_path)) == {aside, now}
            before.release()
            assert deletions_under_way(tmp_path) == [now]
            assert not aside.exists()


def test_a_file_that_nobody_holds_is_not_set_aside(tmp_path: Path) -> None:
    with DeletionLock(tmp_path):
        pass
    set_deletions_aside(tmp_path)
    assert [path.name for path in deletions_folder(tmp_path).iterdir()] == [NOW]


def test_a_file_that_is_set_aside_before_it_is_locked_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DeletionLock(tmp_path) as before:
        opened = DeletionLock._opened

        def opened_late(lock: DeletionLock) -> int:
            descriptor = opened(lock)
            monkeypatch.setattr(DeletionLock, "_opened", opened)
            set_deletions_aside(tmp_path)  # now, between opening and locking
            return descriptor

        monkeypatch.setattr(DeletionLock, "_opened", opened_late)
        with DeletionLock(tmp_path):
            before.release()
            assert deletions_under_way(tmp_path) == [deletions_folder(tmp_path) / NOW]


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as process:
        set_deletions_aside(tmp_path)
        assert len(deletions_under_way(tmp_path)) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert deletions_under_way(tmp_path) == []


def test_a_process_that_was_forked_inside_holds_nothing_afterwards(tmp_path: Path) -> None:
    read, write = os.pipe()
    with DeletionLock(tmp_path):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
    assert deletions_under_way(tmp_path) == []
    os.close(write)
    os.waitpid(child, 0)
    os.close(read)


def test_a_folder_that_cannot_be_used_permits_nothing(tmp_path: Path) -> None:
    deletions_folder(tmp_path).mkdir(parents=True)
    (deletions_folder(tmp_path) / NOW).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed, match="now: cannot be opened"):
        DeletionLock(tmp_path).acquire()
    with pytest.raises(StorageFailed, match="now: cannot be opened"):
        deletions_under_way(tmp_path)
