"""Whoever reads content, or what is as telling, is noted before it is shown; and auditors are shown no names."""

import pytest

from .conftest import ORDER, Platform
from .test_operators import staffed as staffed
from .test_operators import vault_events

IN_USE = ("--as", "alice", "preserve", ORDER)


@pytest.fixture
def captured(staffed: Platform) -> Platform:
    """An order under which two documents were sealed, and one failed."""
    (staffed.docs / "loop").symlink_to("loop")
    (staffed.docs / "elsewhere").mkdir()
    staffed("--as", "erik", "preserve", ORDER)
    return staffed


def item(platform: Platform) -> str:
    found = platform("--as", "rita", "find", ORDER, 'native_id = "a.txt"', "--json").json["items"]
    return str(found[0]["id"])


def noted(platform: Platform) -> list[tuple[str, str]]:
    """What was read since the last look, once a command that writes has sealed it."""
    platform(*IN_USE)
    return [(each["order"], each["what"]) for each in vault_events(platform, "access")]


def test_a_report_of_custody_that_is_only_shown_is_noted(captured: Platform) -> None:
    named = item(captured)
    captured("--as", "alice", "report", "custody", ORDER, "--item", named, "--json")
    assert noted(captured) == [(ORDER, "find"), (ORDER, "report custody")]
    (read,) = [each for each in vault_events(captured, "access") if each["what"] == "report custody"]
    assert read["item"] == named
    captured("--as", "alice", "report", "order-status", ORDER, "--json")
    assert len(noted(captured)) == 2, "counts are no content"


def test_a_list_of_items_is_noted(captured: Platform) -> None:
    captured("--as", "erik", "status", ORDER, "--items", "failed")
    captured("--as", "erik", "status", ORDER)
    assert noted(captured) == [(ORDER, "status --items")]
    (read,) = vault_events(captured, "access")
    assert (read["bucket"], type(read["items"])) == ("failed", int)


def test_what_cannot_be_noted_is_not_shown(captured: Platform) -> None:
    named = item(captured)
    captured(*IN_USE)
    reads = captured.vault / "spool" / "reads"
    reads.rmdir()
    reads.write_bytes(b"in the way")
    for command in (("report", "custody", ORDER, "--item", named), ("status", ORDER, "--items", "failed")):
        answer = captured("--as", "alice", *command, "--json", code=4)
        assert answer.out == "", command


def test_why_names_an_item_to_those_who_may_read_it_or_capture_it(captured: Platform) -> None:
    named = item(captured)
    for who, native in (
        ("ada", None),
        ("paula", None),
        ("rita", "a.txt"),
        ("erik", "a.txt"),
        ("alice", "a.txt"),
    ):
        found = captured("--as", who, "why", named, "--json").json
        assert (found["native"], found["source"]) == (native, None if native is None else "docs"), who
        assert [each["order"] for each in found["orders"]] == [ORDER]
    told = captured("--as", "ada", "why", "a.txt", "--source", "docs", "--json").json
    assert told["native"] == "a.txt", "what he gave himself"
    ref = told["ref"]
    assert captured("--as", "ada", "why", ref, "--json").json["native"] is None
