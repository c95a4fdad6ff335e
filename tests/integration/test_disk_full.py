"""A disk that fills, or fails, at any step: one clear line, nothing counted that is not sealed, and the next run
finishes.
"""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import in_child, make_platform, preserved, restored, run_quietly, take_in

from scelle.vault import durable
from scelle.vault.durable import Step, observed

PAGE = 4096
FILES = 6
MOST_PAGES = 400
DISK_BYTES = 64 << 20
long = pytest.mark.long


@dataclass
class Disk:
    """A small file system of our own, and a ballast that fills it."""

    path: Path

    def leave(self, pages: int) -> None:
        """Fill the disk but for so many pages."""
        self.empty()
        free = os.statvfs(self.path)
        with (self.path / "ballast").open("wb") as file:
            left = free.f_bavail - pages
            os.posix_fallocate(file.fileno(), 0, max(left, 1) * PAGE)

    def empty(self) -> None:
        (self.path / "ballast").unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    options = f"size={DISK_BYTES},nr_inodes=20000"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Documents and keys on the large disk."""
    platform = make_platform(tmp_path, capsys, monkeypatch)
    for number in range(FILES):
        platform.document(f"{number}.bin", os.urandom(3000))
    return platform


def scelle(*arguments: object) -> dict[str, Any]:
    """Run one command in a process of its own: a failed fsync stops a process for good."""
    answer = in_child(lambda: run_quietly([str(each) for each in arguments]))
    assert isinstance(answer, dict)
    return answer


def says_one_clear_line(answer: dict[str, Any]) -> str:
    assert answer["code"] == 4, answer
    assert answer["out"] == "", answer
    lines = [line for line in answer["err"].splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1, answer
    assert lines[0].startswith("scelle: "), answer
    assert lines[0].endswith("]"), answer
    return str(lines[0])


def pages_until_it_works(
    disk: Disk,
    prepare: Callable[[], None],
    command: Callable[[], dict[str, Any]],
    finish: Callable[[dict[str, Any]], None],
    *,
    step: int,
) -> list[str]:
    """Leave more and more pages until the command works; after each failure make room and finish.

    Return what the failures said.
    """
    said: list[str] = []
    for pages in range(0, MOST_PAGES, step):
        disk.empty()
        prepare()
        disk.leave(pages)
        answer = command()
        if answer["code"] == 0:
            return said
        said.append(says_one_clear_line(answer))
        disk.empty()
        finish(answer)
    raise AssertionError(f"still failing with {MOST_PAGES} free pages: {said[-1]}")


# --- init -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=long)])
def test_a_disk_that_fills_while_a_vault_is_made(platform: Platform, disk: Disk, step: int) -> None:
    vault = disk.path / "vault"

    def finish(answer: dict[str, Any]) -> None:
        again = scelle("init", vault, "--host", "platform.example")
        assert again["code"] == 0, (answer, again)
        added = scelle("source", "add", "docs", f"files://{platform.docs}", "--vault", vault)
        assert added["code"] == 0, (answer, added)
        assert json.loads(scelle("verify", "--vault", vault, "--json")["out"])["findings"] == []

    said = pages_until_it_works(
        disk,
        lambda: shutil.rmtree(vault, ignore_errors=True),
        lambda: scelle("init", vault, "--host", "platform.example"),
        finish,
        step=step,
    )
    assert len(said) > 2


# --- order add --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=long)])
def test_a_disk_that_fills_while_an_order_is_taken_in(
    platform: Platform, disk: Disk, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    platform("init", platform.vault, "--host", "platform.example")
    platform("source", "add", "docs", f"files://{platform.docs}")
    (platform.root / "order.pdf").write_bytes(b"%PDF-1.7 an invented order\n")
    file = platform.order_file(document='"order.pdf"')
    vault = disk.path / "vault"
    monkeypatch.setenv("SCELLE_VAULT", str(vault))
    prepare = fresh_copy(platform.vault, vault, platform.root)

    def finish(answer: dict[str, Any]) -> None:
        again = scelle("order", "add", file, "--json")
        if again["code"] == 2:  # what failed came after the order was taken in
            assert "is there already" in again["err"]
        else:
            assert again["code"] == 0, (answer, again)
        shown = json.loads(scelle("order", "show", ORDER, "--json")["out"])
        assert [event["kind"] for event in shown["events"]] == ["received", "clause", "source"], answer
        assert len(shown["clauses"]) == 1
        assert json.loads(scelle("verify", "--json")["out"])["findings"] == []

    said = pages_until_it_works(disk, prepare, lambda: scelle("order", "add", file), finish, step=step)
    assert len(said) > 3


def fresh_copy(source: Path, target: Path, root: Path) -> Callable[[], None]:
    """Return what puts the prepared vault, and the signer's memory that goes with it, back."""
    kept = {path: path.read_bytes() for path in (root / "keys").glob("*.signed")}

    def prepare() -> None:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        for path, data in kept.items():
            path.write_bytes(data)

    return prepare


# --- preserve ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=long)])
def test_a_disk_that_fills_during_a_pass(
    platform: Platform, disk: Disk, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    take_in(platform)
    vault = disk.path / "vault"
    monkeypatch.setenv("SCELLE_VAULT", str(vault))
    prepare = fresh_copy(platform.vault, vault, platform.root)

    def finish(answer: dict[str, Any]) -> None:
        status = json.loads(scelle("status", "--json")["out"])["orders"][0]
        if status["passes"]:
            assert status["sources"]["docs"]["sealed"] == FILES
        again = scelle("preserve", ORDER, "--json")
        assert again["code"] == 0, (answer, again)
        report = json.loads(again["out"])
        assert (report["offered"], report["sealed"], report["failed"], report["lost"]) == (FILES, FILES, 0, 0)
        assert report["new"] == (0 if status["passes"] else FILES)
        assert json.loads(scelle("verify", "--json")["out"])["findings"] == [], answer

    said = pages_until_it_works(disk, prepare, lambda: scelle("preserve", ORDER, "--json"), finish, step=step)
    places = {
        place for place in ("packs/", "/seg/", "/log/", "catalog.db") if any(place in line for line in said)
    }
    if step == 1:
        assert places == {"packs/", "/seg/", "/log/", "catalog.db"}, f"some stage was never hit: {said}"
    assert len(places) >= 2


def test_a_full_disk_changes_no_answer_of_those_who_only_read(
    platform: Platform, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(platform)
    preserved(platform)
    vault = disk.path / "vault"
    shutil.copytree(platform.vault, vault)
    monkeypatch.setenv("SCELLE_VAULT", str(vault))
    disk.leave(0)
    for command in (("status", "--json"), ("order", "list", "--json"), ("order", "show", ORDER, "--json")):
        assert scelle(*command)["code"] == 0, command
    assert json.loads(scelle("verify", "--json")["out"])["valid"] is True


def test_a_disk_that_fills_in_a_long_pass_keeps_what_was_committed(
    platform: Platform, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large incompressible documents, a group each: what earlier groups sealed is not read again."""
    monkeypatch.setattr("scelle.capture.sealing.GROUP_BYTES", 1)
    for number in range(12):
        platform.document(f"large-{number:02d}.bin", os.urandom(1 << 20))
    take_in(platform)
    vault = disk.path / "vault"
    shutil.copytree(platform.vault, vault)
    monkeypatch.setenv("SCELLE_VAULT", str(vault))
    disk.leave((7 << 20) // PAGE)
    line = says_one_clear_line(scelle("preserve", ORDER, "--json"))
    assert "no room left" in line
    used = used_bytes(vault)
    disk.empty()
    report = preserved(platform)
    assert (report["offered"], report["new"]) == (FILES + 12, FILES + 12)
    grown = used_bytes(vault) - used
    assert grown < 10 << 20, "what was committed before was stored again"
    assert len(restored(platform)) == FILES + 12


def used_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- produce ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=long)])
def test_a_disk_that_fills_while_a_package_is_made(
    platform: Platform, disk: Disk, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    take_in(platform)
    preserved(platform)
    vault, package = disk.path / "vault", disk.path / "p.scelle"
    monkeypatch.setenv("SCELLE_VAULT", str(vault))
    fresh = fresh_copy(platform.vault, vault, platform.root)
    ask = ("produce", ORDER, "--source", "docs", "--to", package, "--json")

    def prepare() -> None:
        fresh()
        package.unlink(missing_ok=True)

    def finish(answer: dict[str, Any]) -> None:
        left = sorted(path.name for path in disk.path.iterdir())
        is_whole = package.exists()  # the package was made, and the disk filled while that was sealed
        assert left == (["p.scelle", "vault"] if is_whole else ["vault"]), (left, answer)
        package.unlink(missing_ok=True)
        trust = disk.path / "trust.json"
        assert scelle("order", "trust", ORDER, "--to", trust)["code"] == 0
        again = scelle(*ask)
        assert again["code"] == 0, (answer, again)
        assert json.loads(again["out"])["hits"] == FILES
        assert json.loads(scelle("verify", "--json")["out"])["findings"] == []
        check_package(package, trust)
        for path in disk.path.glob("trust*"):
            path.unlink()

    said = pages_until_it_works(disk, prepare, lambda: scelle(*ask), finish, step=step)
    assert len(said) > 3


def check_package(package: Path, trust: Path) -> None:
    from scelle.verify.scelle_verify import main

    def judge() -> int:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return main([str(package), "--trust", str(trust)])

    assert in_child(judge) == 0


# --- a disk that fails ------------------------------------------------------------------------------------------


class Failing:
    """Let the n-th durable step fail with a system error."""

    def __init__(self, number: int, error: int) -> None:
        self.count, self.number, self.error = 0, number, error

    def __call__(self, step: Step, when: Literal["before", "after"]) -> None:
        if when == "before":
            self.count += 1
            if self.count == self.number + 1:
                error = OSError(self.error, os.strerror(self.error))
                raise durable._failure(step.operation, step.path, error) from error


def run_failing(number: int, error: int, *arguments: object) -> dict[str, Any]:
    """Run one command whose n-th durable step fails, in a process of its own; say how many steps it took."""
    failing = Failing(number, error)

    def work() -> dict[str, Any]:
        with observed(failing):
            return {**run_quietly([str(each) for each in arguments]), "steps": failing.count}

    answer = in_child(work)
    assert isinstance(answer, dict)
    return answer


SHARES = 8
shares = pytest.mark.parametrize(
    "share", [0, *(pytest.param(share, marks=long) for share in range(1, SHARES))]
)


@shares
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["no-space", "io-error"])
def test_any_step_of_a_pass_may_fail(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, error: int, share: int
) -> None:
    take_in(platform)
    monkeypatch.setenv("SCELLE_VAULT", str(platform.root / "copy"))
    prepare = fresh_copy(platform.vault, platform.root / "copy", platform.root)
    prepare()
    steps = run_failing(-1, error, "preserve", ORDER, "--json")["steps"]
    assert steps > 20
    for number in range(share, steps, SHARES):
        prepare()
        answer = run_failing(number, error, "preserve", ORDER, "--json")
        if (
            answer["code"] == 0
        ):  # after the last commit: letting go of the packs, which the next start repairs
            assert json.loads(answer["out"])["sealed"] == FILES
        else:
            says_one_clear_line(answer)
        again = scelle("preserve", ORDER, "--json")
        assert again["code"] == 0, (number, answer, again)
        report = json.loads(again["out"])
        assert (report["offered"], report["sealed"]) == (FILES, FILES), number
        assert json.loads(scelle("verify", "--json")["out"])["findings"] == [], (number, answer)


@shares
def test_any_step_of_taking_an_order_in_may_fail(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    platform("init", platform.vault, "--host", "platform.example")
    platform("source", "add", "docs", f"files://{platform.docs}")
    file = platform.order_file()
    monkeypatch.setenv("SCELLE_VAULT", str(platform.root / "copy"))
    prepare = fresh_copy(platform.vault, platform.root / "copy", platform.root)
    prepare()
    steps = run_failing(-1, errno.EIO, "order", "add", file)["steps"]
    for number in range(share, steps, SHARES):
        prepare()
        answer = run_failing(number, errno.EIO, "order", "add", file)
        if answer["code"] != 0:
            says_one_clear_line(answer)
        again = scelle("order", "add", file)
        assert again["code"] in (0, 2), (number, answer, again)
        shown = json.loads(scelle("order", "show", ORDER, "--json")["out"])
        kinds = [event["kind"] for event in shown["events"]]
        assert kinds == ["received", "clause", "source"], (number, answer)
        report = json.loads(scelle("preserve", ORDER, "--json")["out"])
        assert report["sealed"] == FILES
        assert json.loads(scelle("verify", "--json")["out"])["findings"] == [], (number, answer)


@shares
def test_any_step_of_making_a_vault_may_fail(platform: Platform, share: int) -> None:
    vault = platform.root / "copy"
    steps = run_failing(-1, errno.EIO, "init", vault, "--host", "platform.example")["steps"]
    for number in range(share, steps, SHARES):
        shutil.rmtree(vault, ignore_errors=True)
        answer = run_failing(number, errno.EIO, "init", vault, "--host", "platform.example")
        if answer["code"] != 0:
            says_one_clear_line(answer)
            again = scelle("init", vault, "--host", "platform.example")
            assert again["code"] in (0, 2), (number, answer, again)
        added = scelle("source", "add", "docs", f"files://{platform.docs}", "--vault", vault)
        assert added["code"] == 0, (number, answer, added)
        assert json.loads(scelle("verify", "--vault", vault, "--json")["out"])["findings"] == []


@shares
def test_any_step_of_a_production_may_fail(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    take_in(platform)
    preserved(platform)
    package = platform.root / "out" / "p.scelle"
    package.parent.mkdir()
    monkeypatch.setenv("SCELLE_VAULT", str(platform.root / "copy"))
    prepare = fresh_copy(platform.vault, platform.root / "copy", platform.root)
    ask = ("produce", ORDER, "--source", "docs", "--to", package, "--json")
    prepare()
    steps = run_failing(-1, errno.EIO, *ask)["steps"]
    for number in range(share, steps, SHARES):
        prepare()
        package.unlink(missing_ok=True)
        answer = run_failing(number, errno.EIO, *ask)
        if answer["code"] != 0:
            says_one_clear_line(answer)
        assert [path.name for path in package.parent.iterdir()] in ([], ["p.scelle"]), (number, answer)
        package.unlink(missing_ok=True)
        again = scelle(*ask)
        assert again["code"] == 0, (number, answer, again)
        assert json.loads(scelle("verify", "--json")["out"])["findings"] == [], (number, answer)
