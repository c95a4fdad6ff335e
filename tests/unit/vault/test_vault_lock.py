import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scelle.errors import StorageFull, VaultBusy
from scelle.vault.durable import AppendFile
from scelle.vault.lock import WriterLock

SINCE = "2026-01-08T14:00:00Z"
HOLD = """
import sys
from pathlib import Path
from scelle.vault.lock import WriterLock
WriterLock(Path(sys.argv[1])).acquire("2026-01-08T15:00:00Z")
print("held", flush=True)
sys.stdin.read()
"""


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with WriterLock(tmp_path).acquire(SINCE) as lock:
        assert lock.is_held
        with pytest.raises(VaultBusy) as caught:
            WriterLock(tmp_path).acquire(SINCE)
        assert f"process {os.getpid()} since {SINCE}" in str(caught.value)
    assert not lock.is_held
    lock.release()
    WriterLock(tmp_path).acquire(SINCE).release()


def test_a_second_process_is_refused_and_a_killed_one_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(VaultBusy, match=f"process {holder.pid} since 2026-01-08T15:00:00Z"):
            WriterLock(tmp_path).acquire(SINCE)
        holder.kill()
        holder.wait()
        WriterLock(tmp_path).acquire(SINCE).release()


def test_another_vault_has_another_lock(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with WriterLock(tmp_path / "a").acquire(SINCE):
        WriterLock(tmp_path / "b").acquire(SINCE).release()


def test_the_holders_name_is_only_text(tmp_path: Path) -> None:
    with WriterLock(tmp_path).acquire(SINCE):
        (tmp_path / "writer.lock").write_bytes(b"\x1b[31m\xff\nno one\x00")
        with pytest.raises(VaultBusy) as caught:
            WriterLock(tmp_path).acquire(SINCE)
        assert str(caught.value).isprintable()
        (tmp_path / "writer.lock").write_bytes(b"")
        with pytest.raises(VaultBusy, match="another process"):
            WriterLock(tmp_path).acquire(SINCE)


def test_a_failed_attempt_leaves_the_holders_name(tmp_path: Path) -> None:
    with WriterLock(tmp_path).acquire(SINCE):
        before = (tmp_path / "writer.lock").read_bytes()
        for _ in range(3):
            with pytest.raises(VaultBusy):
                WriterLock(tmp_path).acquire("2027-01-01T00:00:00Z")
        assert (tmp_path / "writer.lock").read_bytes() == before
        assert len(before) < 100


def test_only_the_last_holder_is_named(tmp_path: Path) -> None:
    for since in ("2026-01-08T14:00:00Z, a long time ago", "2026-01-09T14:00:00Z"):
        WriterLock(tmp_path).acquire(since).release()
    assert (tmp_path / "writer.lock").read_text() == f"process {os.getpid()} since 2026-01-09T14:00:00Z\n"


def test_a_reader_that_only_asks_does_not_make_the_vault_busy(tmp_path: Path) -> None:
    WriterLock(tmp_path).acquire(SINCE).release()
    descriptor = os.open(tmp_path / "writer.lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    asking = threading.Timer(0.15, lambda: os.close(descriptor))
    asking.start()
    with WriterLock(tmp_path).acquire(SINCE) as lock:
        assert lock.is_held
    asking.join()


def test_patience_ends(tmp_path: Path) -> None:
    with WriterLock(tmp_path).acquire(SINCE):
        started = time.monotonic()
        with pytest.raises(VaultBusy):
            WriterLock(tmp_path).acquire(SINCE)
        assert 0.4 < time.monotonic() - started < 5


@pytest.mark.parametrize("then", ["another", "none"])
def test_a_lock_file_that_was_replaced_meanwhile_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """Whoever comes next would lock the new file, and both would write."""
    flock, path = fcntl.flock, tmp_path / "writer.lock"
    replaced: list[Path] = []

    def replacing(descriptor: int, operation: int) -> None:
        if not replaced:
            replaced.append(path)
            path.unlink()
            if then == "another":
                path.write_bytes(b"")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replacing)
    with WriterLock(tmp_path).acquire(SINCE), pytest.raises(VaultBusy, match=f"process {os.getpid()}"):
        WriterLock(tmp_path).acquire(SINCE)
    assert replaced


def test_a_holder_who_cannot_be_named_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: AppendFile, data: bytes) -> int:
        raise StorageFull(f"{file.path}: no room left on the disk")

    lock = WriterLock(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(AppendFile, "write", refuse)
        with pytest.raises(StorageFull):
            lock.acquire(SINCE)
    assert not lock.is_held
    WriterLock(tmp_path).acquire(SINCE).release()


def test_a_lock_file_that_is_removed_before_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, exists = tmp_path / "writer.lock", Path.exists
    path.touch()
    removed: list[Path] = []

    def seen_and_gone(each: Path) -> bool:
        found = exists(each)
        if each == path and not removed:
            removed.append(path)
            path.unlink()
        return found

    monkeypatch.setattr(Path, "exists", seen_and_gone)
    with WriterLock(tmp_path).acquire(SINCE) as lock:
        assert lock.is_held
    assert removed
