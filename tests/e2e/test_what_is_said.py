"""Who is said to have acted, what a person may have sealed in words, and what a traceback tells."""

from datetime import UTC, datetime, timedelta

import pytest

from .conftest import ORDER, Platform
from .test_operators import SECRET, secret_order, staff

ODD = "a\nb \x1b[31m"


# --- who acted --------------------------------------------------------------------------------------------


def actors(platform: Platform, *as_whom: str) -> set[str]:
    events = platform(*as_whom, "order", "show", ORDER, "--json").json["events"]
    return {each["actor"] for each in events}


def test_whom_the_environment_names_is_never_taken_for_an_operator(
    ordered: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCELLE_OPERATOR", "alice")
    ordered("preserve", ORDER)
    assert "operator:user:alice" in actors(ordered)
    assert "operator:alice" not in actors(ordered)
    staff(ordered, alice="counsel", bob="counsel")
    ordered("--as", "alice", "preserve", ORDER)
    assert {"operator:alice", "operator:user:alice"} <= actors(ordered, "--as", "alice")
    ordered("preserve", ORDER, code=2)
    ordered("--as", "bob", "preserve", ORDER)  # seals that somebody was refused
    shown = ordered("--as", "alice", "operator", "log", "--json").json["events"]
    assert {each["by"] for each in shown if each["kind"] == "refused"} == {"operator:user:alice"}


def test_an_account_of_the_machine_is_marked_as_one(
    ordered: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCELLE_OPERATOR", raising=False)
    monkeypatch.setenv("LOGNAME", "alice")
    ordered("preserve", ORDER)
    assert "operator:user:alice" in actors(ordered)


# --- what a traceback tells -------------------------------------------------------------------------------


def test_a_traceback_names_no_order_behind_a_wall(ordered: Platform) -> None:
    staff(ordered, alice="counsel", bob="counsel", carol="counsel")
    secret_order(ordered, "alice", "bob")
    (ordered.root / "spare").mkdir()
    ordered("--as", "carol", "source", "add", "spare", f"files://{ordered.root}/spare")
    (ordered.vault / "po" / SECRET / "secrets").unlink()
    remove = ("source", "remove", "spare")
    assert SECRET in ordered("--debug", "--as", "alice", *remove, code=1).err
    outside = ordered("--debug", "--as", "carol", *remove, code=4).err
    assert "something that you may not know of" in outside
    assert "Traceback" in outside
    assert SECRET not in outside


# --- texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("order", "extend", ORDER, "--until", "2027-12-31", "--reference"),
        ("order", "release", ORDER, "--reason"),
        ("order", "review", ORDER, "--ground"),
        ("order", "authenticate", ORDER, "--how"),
        ("erase-records", ORDER, "s0001:1", "--basis", "letter", "--ground"),
        ("consent-request", ORDER, "s0001:1", "--to", "consent.json", "--ground"),
        ("erasure", "request", "--account", "4711", "--reference"),
        ("erasure", "request", "--reference", "DSR-1", "--account"),
        ("erasure", "extend", "DSR-1", "--reason"),
        ("quarantine", "i" + "a" * 26, "--ground"),
        ("restricted", "open", "i" + "a" * 26, "--purpose", "lent", "--case"),
        ("restricted", "open", "i" + "a" * 26, "--case", "1", "--purpose"),
        ("note", "add", "asked", "--about"),
        ("source", "add", "more", "files:///srv/more", "--custodian"),
        ("source", "add", "more", "files:///srv/more", "--account"),
        ("source", "add", "more", "postgresql://reader@db.example/app", "--tables"),
        ("source", "add", "more", "postgresql://reader@db.example/app", "--credential"),
        ("source", "add", "more"),
        ("produce", ORDER, "--to", "p.scelle", "--account"),
        ("produce", ORDER, "--to", "p.scelle", "--source", "docs", "--prefix"),
        ("operator", "add", "--role", "counsel"),
        ("init", "another", "--host"),
    ],
)
def test_no_text_with_control_characters_is_sealed(ordered: Platform, arguments: tuple[str, ...]) -> None:
    sealed = len(ordered("order", "show", ORDER, "--json").json["events"])
    odd = f"files:///srv/{ODD}" if arguments[-1] == "more" else ODD
    answer = ordered(*arguments, odd, code=2)
    assert answer.err.count("\n") == 1
    assert "\x1b" not in answer.err
    assert len(ordered("order", "show", ORDER, "--json").json["events"]) == sealed


def test_a_letter_whose_name_has_control_characters_is_refused(ordered: Platform) -> None:
    letter = ordered.root / "a\nb.pdf"
    letter.write_bytes(b"a letter\n")
    answer = ordered("order", "extend", ORDER, "--until", "2027-12-31", "--document", letter, code=2)
    assert answer.err.count("\n") == 1
    assert "extended" not in ordered("order", "show", ORDER).out


@pytest.mark.parametrize("day", ["0001-01-01", "2015-12-31", "tomorrow", "9999-12-31"])
def test_a_request_came_on_a_day_that_can_be(platform: Platform, day: str) -> None:
    if day == "tomorrow":
        day = str((datetime.now(UTC) + timedelta(days=1)).date())
    request = ("erasure", "request", "--account", "4711", "--reference", "DSR-1", "--received")
    answer = platform(*request, day, code=2)
    assert answer.err.count("\n") == 1
    assert day in answer.err
    assert platform("erasure", "list", "--json").json["requests"] == []
    platform(*request, "2016-01-01")
