"""The spool: numbered, chained, mended after a crash, and honest about what it could not write."""

import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import SpoolBusy, StorageFailed, StorageFull, StorageStopped, SurfaceWrong
from scelle.safeguards.recorder import Mode
from scelle.safeguards.recorder.contents import ContentStore, Held
from scelle.safeguards.recorder.lines import lines_of
from scelle.vault import durable
from tests.unit.safeguards.recorder_spools import asked, ended, events, files, kinds, lines, spool


def test_events_are_numbered_chained_and_have_their_place(tmp_path: Path) -> None:
    with spool(tmp_path) as writing, ThreadPoolExecutor(8) as pool:
        places = [each.result() for each in pool.map(lambda n: writing.put(asked(f"a{n}")), range(200))]
    found = events(tmp_path)
    assert sorted(event["attempt_id"] for event in found if "attempt_id" in event) == sorted(
        f"a{n}" for n in range(200)
    )
    assert len({event["event_id"] for event in found}) == len(found)
    for place in places:
        data = (tmp_path / "recorded/web" / place.file).read_bytes()[place.offset :].split(b"\n", 1)[0]
        assert sha256(data).hexdigest() == place.hash
        assert json.loads(data)["seq"] == place.seq


def test_what_a_killed_run_left_open_is_abandoned_once(tmp_path: Path) -> None:
    first = spool(tmp_path).open()
    for event in (asked("a1", account="u1"), asked("a2"), ended("a2")):
        first.put(event).result()
    os.close(first._lock)  # as if the process were killed: nothing is written any more
    first._lock = -1
    with spool(tmp_path) as second:
        second.put(asked("a3")).result()
    spool(tmp_path).open().close()
    found = events(tmp_path)
    assert kinds(tmp_path) == ["requested", "requested", "completed", "abandoned", "requested", "abandoned"]
    abandoned = [
        (event["attempt_id"], event.get("account")) for event in found if event["event"] == "abandoned"
    ]
    assert abandoned == [("a1", "u1"), ("a3", None)]
    first.close()


@pytest.mark.parametrize(
    ("torn", "is_kept"),
    [(b'{"event":"requ', False), (b"\0" * 900, False), (None, True)],
    ids=["cut", "zeros", "whole"],
)
def test_a_torn_end_is_cut_and_a_whole_one_is_ended(
    tmp_path: Path, torn: bytes | None, is_kept: bool
) -> None:
    with spool(tmp_path) as writing:
        writing.put(asked("a1")).result()
    (path,) = files(tmp_path)
    before = lines(tmp_path)
    if torn is None:
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.write_bytes(path.read_bytes() + torn)
    with spool(tmp_path):
        pass
    assert lines(tmp_path)[: len(before)] == before
    assert path.read_bytes().endswith(b"\n")
    assert len(list(lines_of(path))) == len(before)
    assert events(tmp_path)
    assert is_kept is (torn is None)


def test_a_line_that_was_altered_is_said_and_left(tmp_path: Path) -> None:
    with spool(tmp_path) as writing:
        writing.put(asked("a1")).result()
        writing.put(ended("a1")).result()
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"a1"', b'"a9"', 1))
    with spool(tmp_path):
        pass
    assert b'"a9"' in files(tmp_path)[0].read_bytes()
    said = [json.loads(line) for line in lines(tmp_path) if b"spool-damaged" in line]
    assert [event["lines"] for event in said] == [1]


def test_one_process_a_surface(tmp_path: Path) -> None:
    with spool(tmp_path), pytest.raises(SpoolBusy):
        spool(tmp_path).open()
    spool(tmp_path).open().close()


@pytest.mark.parametrize("name", ["", "Web", "../x", "contents", "a/b", "a" * 64, "é"])
def test_a_surface_that_is_no_folders_name_is_refused(tmp_path: Path, name: str) -> None:
    from scelle.safeguards.recorder import Spool

    with pytest.raises(SurfaceWrong):
        Spool(tmp_path, name)


def test_a_full_disk_fails_what_waits_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spool(tmp_path, Mode.GAP) as writing:
        writing.put(asked("a1")).result()
        real = durable._write_all
        is_full = [True]

        def write(descriptor: int, data: Any) -> None:
            if is_full[0]:
                real(descriptor, memoryview(data)[: len(data) // 2])
                raise OSError(errno.ENOSPC, "full")
            real(descriptor, data)

        monkeypatch.setattr(durable, "_write_all", write)
        with pytest.raises(StorageFull):
            writing.put(asked("a2")).result()
        writing.lose("vault.storage_full")
        is_full[0] = False
        writing.put(ended("a1")).result()
    assert sorted(kinds(tmp_path)) == ["completed", "gap", "requested"]
    (gap,) = (event for event in events(tmp_path) if event["event"] == "gap")
    assert (gap["lost"], gap["unserved"], gap["reason"]) == (1, 0, "vault.storage_full")


def test_losses_are_said_although_nothing_more_comes(tmp_path: Path) -> None:
    with spool(tmp_path) as writing:
        writing.lose("a-cause", unserved=True)
        writing.lose("a-cause", unserved=True)
    (gap,) = (event for event in events(tmp_path) if event["event"] == "gap")
    assert (gap["lost"], gap["unserved"], gap["causes"]) == (0, 2, {"lost": {}, "unserved": {"a-cause": 2}})


def test_a_lossy_run_that_was_killed_is_a_gap_of_unknown_size(tmp_path: Path) -> None:
    first = spool(tmp_path, Mode.OBSERVE).open()
    first.put(asked("a1")).result()
    os.close(first._lock)
    first._lock = -1
    with spool(tmp_path):
        pass
    (gap,) = (event for event in events(tmp_path) if event["event"] == "gap")
    assert (gap["reason"], gap["lost"]) == ("recorder-killed", None)
    first.close()


def test_the_reaper_ends_what_waits_too_long(tmp_path: Path) -> None:
    with spool(tmp_path) as writing:
        writing.put(asked("a1")).result()
        writing.put(asked("a2")).result()
        writing.put(ended("a2")).result()
        assert writing.reap(3600) == 0
        assert writing.reap(-1) == 1
    assert kinds(tmp_path)[-1] == "abandoned"


def test_another_file_is_begun_and_the_chain_goes_on(tmp_path: Path) -> None:
    with spool(tmp_path, roll_bytes=2000) as writing:
        for number in range(40):
            writing.put(asked(f"a{number}")).result()
        for number in range(0, 40, 2):
            writing.put(ended(f"a{number}")).result()
    assert len(files(tmp_path)) > 3
    with spool(tmp_path):
        pass
    abandoned = [event["attempt_id"] for event in events(tmp_path) if event["event"] == "abandoned"]
    assert sorted(abandoned) == sorted(f"a{number}" for number in range(1, 40, 2))


def test_too_many_that_wait_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.safeguards.recorder.spool.WAITING_MAX", 0)
    with spool(tmp_path) as writing, pytest.raises(SpoolBusy):
        writing.put(asked("a1"))


def test_contents_are_kept_once_and_a_half_one_is_replaced(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    store.prepare()
    held = store.keep(b"a square")
    held.sync()
    path = tmp_path / held.digest[:2] / held.digest
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"a square", 0o600)
    inode = path.stat().st_ino
    store.keep(b"a square").sync()
    assert path.stat().st_ino == inode
    path.write_bytes(b"a sq")  # as a crash leaves what nothing named yet
    store.keep(b"a square").sync()
    assert path.read_bytes() == b"a square"
    assert len([each for each in tmp_path.rglob("*") if each.is_file()]) == 1


def test_a_file_system_that_cannot_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*arguments: Any, **named: Any) -> int:
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr("scelle.safeguards.recorder.contents.os.open", unable)
    with pytest.raises(StorageFailed, match="ext4"):
        ContentStore(tmp_path).begin()


def test_nobody_is_told_before_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spool(tmp_path) as writing:
        is_synced = threading.Event()
        real = durable.AppendFile.sync

        def sync(file: durable.AppendFile) -> None:
            assert is_synced.wait(10)
            real(file)

        monkeypatch.setattr(durable.AppendFile, "sync", sync)
        held = writing.contents.keep(b"a square")
        waiting = writing.put(asked("a1"), [held])
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.2)
        is_synced.set()
        assert waiting.result(timeout=10).seq == 2
        assert held._descriptor == -1  # it was synced, too


def test_a_content_that_cannot_be_made_durable_fails_its_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Held) -> None:
        raise StorageStopped("fsync failed")

    with spool(tmp_path) as writing:
        held = writing.contents.keep(b"a square")
        with monkeypatch.context() as patch:
            patch.setattr(Held, "sync", broken)
            with pytest.raises(StorageStopped):
                writing.put(ended("a1"), [held]).result()
        writing.put(asked("a2")).result()
    assert kinds(tmp_path)[0] == "requested"


def test_a_document_of_another_format_keeps_its_bytes(tmp_path: Path) -> None:
    data = b'{"resourceLogs" : [ 1.50 ]}'
    with spool(tmp_path) as writing:
        writing.put_document(data).result()
        writing.put(asked("a1")).result()
        for wrong in (b"{}", b"[1]", b'{"a":\n1}', b""):
            with pytest.raises(ValueError, match="one JSON object"):
                writing.put_document(wrong)
    assert lines(tmp_path)[1].startswith(data[:-1] + b',"seq":2,')
    with spool(tmp_path):
        pass
    assert b"spool-damaged" not in b"".join(lines(tmp_path))


def test_a_fault_of_ours_fails_what_waits_and_nothing_hangs(tmp_path: Path) -> None:
    with spool(tmp_path) as writing:
        with pytest.raises(StorageFailed, match="fault"):
            writing.put(asked("a1", more={1, 2})).result(timeout=10)  # a set is no JSON
        writing.put(asked("a2")).result(timeout=10)
    assert [event["attempt_id"] for event in events(tmp_path) if "attempt_id" in event] == ["a2"]


def test_a_clock_that_jumps_orders_nothing(tmp_path: Path) -> None:
    times = iter([1_800_000_000_000_000, 1_700_000_000_000_000, 2**52])

    def now_us() -> int:
        return next(times, 0)  # and then it stands in 1970

    with spool(tmp_path, now_us=now_us) as first:
        for number in range(5):
            first.put(asked(f"r{number}")).result()
    with spool(tmp_path, now_us=now_us) as second:
        second.put(asked("r5")).result()
    found = [
        each for each in events(tmp_path) if each["event"] == "requested"
    ]  # numbered and chained all the same
    assert [each["attempt_id"] for each in found] == [f"r{number}" for number in range(6)]
    ts = [each["ts"] for each in found]
    assert ts != sorted(ts)
    monotonic = [each["monotonic_ns"] for each in found]
    assert monotonic == sorted(monotonic)


def test_what_is_no_text_or_number_is_written_so_that_it_can_be_sealed(tmp_path: Path) -> None:
    with spool(tmp_path) as found:
        found.put(asked("r1", account="\ud800u", usage={"a": float("nan"), "b": [float("inf")]})).result()
        found.put(asked("r2", prompt="für 猫")).result()
    first, second = (each for each in events(tmp_path) if each["event"] == "requested")
    assert (first["account"], first["usage"]) == ("\ufffdu", {"a": "nan", "b": ["inf"]})
    assert second["prompt"] == "für 猫"
    for line in lines(tmp_path):
        assert b"NaN" not in line
        line.decode()
