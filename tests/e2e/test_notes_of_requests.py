"""Why, in words, beside a reason code: `--note` of every command that asks for what takes two people."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ORDER, Platform
from .test_erase_records import AUTHORITY_KEY
from .test_operators import staff

WHY = "the boat in these papers is a client's own"


@pytest.fixture
def staffed(platform: Platform) -> Platform:
    platform.clauses = [
        '[[clause]]\nid = "top"\nsources = ["docs"]\npaths = ["*"]\n',
        '[[clause]]\nid = "sub"\nsources = ["docs"]\npaths = ["sub/*"]\n',
    ]
    platform("order", "add", platform.order_file(authority_key=f'"{AUTHORITY_KEY.text()}"'))
    platform("preserve", ORDER)
    staff(platform, alice="counsel", bob="counsel")
    return platform


def file(platform: Platform, text: str) -> Path:
    path = platform.root / "amendment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def narrowing(platform: Platform) -> tuple[str | Path, ...]:
    return ("order", "narrow", ORDER, "--file", file(platform, '[amendment]\nstop = ["sub"]\n'))


def carve_out(platform: Platform) -> tuple[str | Path, ...]:
    text = '[[clause]]\nid = "out"\nsources = ["docs"]\npaths = ["a.txt"]\n'
    return ("order", "carve-out", ORDER, "--file", file(platform, text))


def release(platform: Platform) -> tuple[str | Path, ...]:
    platform("--as", "alice", "order", "lift", ORDER)
    return ("order", "release", ORDER)


def quarantine(platform: Platform) -> tuple[str | Path, ...]:
    found = platform("--as", "alice", "find", ORDER, 'native_id = "a.txt"', "--json").json["items"]
    return ("quarantine", found[0]["id"], "--ground", "privileged")


def erasure(platform: Platform) -> tuple[str | Path, ...]:
    letter = file(platform, "erase it\n")
    return (
        "erase-records", ORDER, "s0001:0", "--basis", "letter", "--ground", "court-order", "--document", letter,
    )  # fmt: skip


@pytest.mark.parametrize("command", [narrowing, carve_out, release, quarantine, erasure])
def test_a_note_goes_to_counsel_and_into_no_log_of_an_order(
    staffed: Platform, command: Callable[[Platform], tuple[str | Path, ...]]
) -> None:
    asked = staffed("--as", "alice", *command(staffed), "--note", WHY, "--json").json
    said = asked["requests"][0] if "requests" in asked else asked
    note = staffed("--as", "bob", "note", "show", str(said["note"]), "--json").json
    assert (note["text"], note["about"]) == (WHY, said["request"])
    shown = staffed("--as", "alice", "request", "show", said["request"], "--json").out
    assert WHY not in shown
    assert WHY not in staffed("--as", "alice", "operator", "log", "--json").out
    data = b"".join(path.read_bytes() for path in staffed.vault.rglob("*") if path.is_file())
    assert WHY.encode() not in data


@pytest.mark.parametrize("command", [narrowing, quarantine])
def test_without_a_note_none_is_kept(
    staffed: Platform, command: Callable[[Platform], tuple[str | Path, ...]]
) -> None:
    staffed("--as", "alice", *command(staffed))
    assert staffed("--as", "alice", "note", "list", "--json").json["notes"] == []


def test_a_note_that_is_none_stops_the_request(staffed: Platform) -> None:
    answer = staffed("--as", "alice", *release(staffed), "--note", " ", code=2)
    assert answer.err.count("\n") == 1
    assert staffed("--as", "alice", "request", "list", "--json").json["requests"] == []
    end = ("order", "carve-out", ORDER, "--end", "out", "--note", WHY)
    assert "goes with --file" in staffed("--as", "alice", *end, code=2).err
