"""What workers make is what this process makes; a worker that is killed costs nothing, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from scelle.formats.entries import Segment
from scelle.ledger import crew as crews
from scelle.ledger.crew import CommitCrew
from scelle.ledger.segments import SegmentHead, SegmentWriter
from scelle.vault.keys import VaultKey
from tests.unit.ledger.test_segments_bulk import ORIGIN, SCHEMA, TAG_KEY, Given, close, opened, records

COUNT = 5000


def start(parent: Path, profile: int, crew: CommitCrew | None) -> SegmentWriter:
    return SegmentWriter.start(
        parent,
        origin=ORIGIN,
        alias="s0001/2",
        number=4,
        head=SegmentHead(SCHEMA.digest.hex(), profile, 7, 5, 5),
        schema=SCHEMA,
        tag_key=TAG_KEY,
        vault_key=VaultKey(bytes(32)),
        crew=crew,
    )


def sealed(parent: Path, given: Sequence[Given], profile: int, crew: CommitCrew | None) -> Segment:
    writer = start(parent, profile, crew)
    for record_key, time_us, rest, side in given:
        writer.append(record_key, time_us, rest, side)
    return close(writer)


def worker_ids() -> list[int]:
    """List the processes that the pool of this process began and that run still."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            command = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if f"\nPPid:\t{os.getpid()}\n" in text and b"spawn_main" in command and "State:\tZ" not in text:
            found.append(int(status.parent.name))
    return found


@pytest.mark.parametrize("profile", [0, 1])
def test_workers_make_what_one_process_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: int
) -> None:
    monkeypatch.setattr(crews, "WORTH_ROWS", 1024)  # the first frame is made here, the others elsewhere
    monkeypatch.setattr("scelle.ledger.columns._HANDED_STEP", 999)
    given = records(COUNT)
    alone = sealed(tmp_path / "alone", given, profile, None)
    with closing(CommitCrew(2)) as crew:
        shared = sealed(tmp_path / "shared", given, profile, crew)
        assert len(worker_ids()) == 2
    assert shared == alone
    one, other = (tmp_path / each / "4" / "tree" for each in ("alone", "shared"))
    assert one.read_bytes() == other.read_bytes()
    rows = [list(opened(tmp_path / each, VaultKey(bytes(32)), alone).rows()) for each in ("alone", "shared")]
    assert rows[0] == rows[1]
    assert worker_ids() == []


def test_a_killed_worker_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "WORTH_ROWS", 1024)
    given = records(COUNT)
    alone = sealed(tmp_path / "alone", given, 1, None)
    with closing(CommitCrew(1)) as crew:
        writer = start(tmp_path / "killed", 1, crew)
        for number, (record_key, time_us, rest, side) in enumerate(given):
            writer.append(record_key, time_us, rest, side)
            if number == COUNT // 2:
                for worker in worker_ids():
                    os.kill(worker, signal.SIGKILL)
        manifest = close(writer)
        assert not crew.has_room
    assert manifest == alone


def test_without_workers_nothing_is_started(tmp_path: Path) -> None:
    with closing(CommitCrew(0)) as crew:
        crew.count(crews.WORTH_ROWS)
        sealed(tmp_path, records(10), 1, crew)
        assert not crew.has_room
        assert worker_ids() == []


def test_no_more_calls_are_under_way_than_workers_can_take() -> None:
    """What waits for a worker holds its rows in memory."""
    with closing(CommitCrew(1)) as crew:
        crew.count(crews.WORTH_ROWS)
        given = [crew.submit(time.sleep, (0.5,)) for _ in range(crews._AHEAD + 2)]
        assert [each is not None for each in given] == [True] * crews._AHEAD + [False, False]
        for each in given:
            if each is not None:
                each.result()
        assert crew.has_room


PARENT = """
import sys, time
from scelle.ledger.crew import CommitCrew, WORTH_ROWS

if __name__ == "__main__":
    crew = CommitCrew(1)
    crew.count(WORTH_ROWS)
    print(crew.submit(__import__("os").getpid, ()).result(), flush=True)
    time.sleep(60)
"""


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        parent.kill()
    until = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and _is_running(worker):
        assert time.monotonic() < until, "the worker waits for work that nobody gives"
        time.sleep(0.05)


def _is_running(worker: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{worker}/status").read_text()
    except OSError:
        return False
