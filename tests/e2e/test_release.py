"""Releasing an order with two people, undoing it, disposing of it, and what is still proven afterwards."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scelle.verify import scelle_verify
from tests.e2e.conftest import ORDER, Platform


@pytest.fixture
def ready(platform: Platform) -> Platform:
    """Two counsel, an order that was captured and handed over, no cooling-off and no grace period."""
    for name, value in (("cooling-off", "0s"), ("grace", "0s")):
        platform("settings", "set", name, value)
    platform("order", "add", platform.order_file())
    platform("preserve", ORDER)
    platform("operator", "add", "alice", "--role", "counsel")
    platform("operator", "add", "bob", "--role", "counsel")
    platform("operator", "add", "eve", "--role", "engineer")
    return platform


def lifted(ready: Platform) -> str:
    ready("--as", "alice", "order", "lift", ORDER)
    return str(ready("--as", "alice", "order", "release", ORDER, "--json").json["request"])


def test_one_person_never_releases(ready: Platform) -> None:
    request = lifted(ready)
    assert "another person" in ready("--as", "alice", "request", "approve", request, code=2).err
    assert "engineer" in ready("--as", "eve", "request", "approve", request, code=2).err
    ready("request", "approve", request, code=2)
    state = ready("--as", "alice", "order", "show", ORDER, "--json").json["state"]
    assert state == "lifted"
    assert ready("--as", "bob", "request", "approve", request, "--json").json["state"] == "executed"
    assert ready("--as", "alice", "order", "show", ORDER, "--json").json["state"] == "released"


def test_a_release_can_be_undone_until_it_is_disposed_of(ready: Platform) -> None:
    ready("--as", "bob", "request", "approve", lifted(ready))
    assert ready("may-delete", "docs", "a.txt", "--json").json["held"] == 0
    assert ready("--as", "alice", "order", "undo-release", ORDER, "--json").json["state"] == "lifted"
    assert ready("may-delete", "docs", "a.txt", "--json", code=3).json["held"] == 1
    request = ready("--as", "alice", "order", "release", ORDER, "--json").json["request"]
    ready("--as", "bob", "request", "approve", request)
    ready("--as", "alice", "dispose", ORDER)
    ready("--as", "alice", "order", "undo-release", ORDER, code=2)


def test_the_grace_period_is_kept_to(platform: Platform) -> None:
    platform("settings", "set", "cooling-off", "0s")
    platform("order", "add", platform.order_file())
    platform("preserve", ORDER)
    platform("order", "lift", ORDER)
    platform("request", "approve", platform("order", "release", ORDER, "--json").json["request"])
    assert "can be brought back until" in platform("dispose", ORDER, code=2).err
    assert platform("dispose", "--json").json["certificates"] == []
    assert platform("verify", "--json").json["valid"]


def test_a_clock_and_a_wish_release_nothing(ready: Platform) -> None:
    assert "in force" in ready("--as", "alice", "order", "release", ORDER, code=2).err
    assert "released" not in ready("--as", "alice", "order", "show", ORDER).out
    assert "is in force" in ready("--as", "alice", "dispose", ORDER, code=2).err


def test_two_releases_at_once(ready: Platform) -> None:
    lifted(ready)
    assert "already" in ready("--as", "bob", "order", "release", ORDER, code=2).err


def test_nothing_is_captured_or_handed_over_once_an_order_is_over(ready: Platform) -> None:
    request = lifted(ready)
    assert "[orders.over]" in ready("--as", "alice", "preserve", ORDER, code=2).err
    assert ready("--as", "alice", "find", ORDER, 'source = "docs"', "--json").json["count"] == 2
    ready("--as", "bob", "request", "approve", request)
    for command in (
        ("find", ORDER, 'source = "docs"'),
        ("produce", ORDER, "--source", "docs", "--to", ready.root / "no.scelle"),
    ):
        assert "[orders.over]" in ready("--as", "alice", *command, code=2).err
    assert not (ready.root / "no.scelle").exists()


def test_older_packages_verify_after_the_disposal(ready: Platform, tmp_path: Path) -> None:
    trust, package = tmp_path / "trust.json", tmp_path / "p.scelle"
    ready("--as", "alice", "order", "trust", ORDER, "--to", trust)
    ready("--as", "alice", "produce", ORDER, "--source", "docs", "--to", package)
    ready("--as", "bob", "request", "approve", lifted(ready))
    document = ready("--as", "alice", "dispose", ORDER, "--json").json["certificates"][0]
    assert document["confirmed"]
    assert document["destroyed"] == document["planned"] == {"contents": 2, "records": 2, "segments": 1}
    assert document["handed_over"] == 1
    command = [sys.executable, "-I", scelle_verify.__file__, str(package), "--trust", str(trust)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    report = ready("--as", "alice", "verify", "--json").json
    assert report["valid"]
    assert "segment.disposed" in json.dumps(report)
    ready("--as", "alice", "rebuild-catalog")
    assert ready("--as", "alice", "verify", "--json").json["valid"]
    assert ready("--as", "alice", "dispose", "--json").json["certificates"] == []


def test_no_plain_byte_and_no_key_of_what_was_disposed_of_is_left(ready: Platform) -> None:
    ready("--as", "bob", "request", "approve", lifted(ready))
    ready("--as", "alice", "dispose", ORDER)
    for path in ready.vault.rglob("*"):
        if path.is_file():
            assert b"a red boat" not in path.read_bytes(), path
    assert not list((ready.vault / "po" / ORDER / "seg" / "s0001").rglob("keys"))
    assert not list((ready.vault / "po" / ORDER / "seg" / "s0001").rglob("rows"))
