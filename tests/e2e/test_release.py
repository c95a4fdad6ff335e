"""Releasing an order with two people, undoing it, disposing of it, and what is still proven afterwards."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scelle.vault.lock import WriterLock
from scelle.verify import scelle_verify
from tests.e2e.conftest import ORDER, Platform
from tests.e2e.test_restricted import HOUR_S, Clock
from tests.e2e.test_restricted import clock as clock


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


@pytest.fixture
def disposed(ready: Platform) -> Platform:
    """The order is disposed of."""
    ready("--as", "bob", "request", "approve", lifted(ready))
    ready("--as", "alice", "dispose", ORDER)
    return ready


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


def test_until_when_a_release_can_be_undone_is_a_deadline_and_in_the_status(ready: Platform) -> None:
    ready("--as", "alice", "settings", "set", "grace", "30d")
    ready("--as", "bob", "request", "approve", lifted(ready))
    path = ready.root / "deadlines.ics"
    (due,) = ready("--as", "alice", "order", "deadlines", "--ics", path, "--json").json["deadlines"]
    assert (due["order"], due["due"], due["days_left"], due["is_past"]) == (ORDER, "undo", 29, False)
    until = str(ready("--as", "alice", "order", "show", ORDER, "--json").json["undo_until"])
    assert str(due["at"])[:19] == until[:19]
    assert (
        f"{due['at']}  {ORDER}: released: it can be undone"
        in ready("--as", "alice", "order", "deadlines").out
    )
    assert path.read_bytes().count(b"BEGIN:VEVENT") == 1
    status = ready("--as", "alice", "status", ORDER, "--json").json["orders"][0]
    assert status["undo_until"] == until
    assert until in ready("--as", "alice", "status", ORDER).out
    ready("--as", "alice", "order", "undo-release", ORDER)
    assert ready("--as", "alice", "status", ORDER, "--json").json["orders"][0]["undo_until"] is None


def test_a_disposal_before_the_release_names_the_request_and_what_it_waits_for(
    platform: Platform, clock: Clock
) -> None:
    platform("order", "add", platform.order_file(until="2099-12-31"))
    platform("order", "lift", ORDER)
    assert "it was not released" in platform("dispose", ORDER, code=2).err
    alone = platform("order", "release", ORDER, "--json").json
    said = platform("dispose", ORDER, code=2).err
    assert f"request {alone['request']} waits for the second confirmation, from {alone['ready'][:19]}" in said
    platform("operator", "add", "alice", "--role", "counsel")
    platform("operator", "add", "bob", "--role", "counsel")
    request = platform("--as", "alice", "order", "release", ORDER, "--json").json["request"]
    said = platform("--as", "alice", "dispose", ORDER, code=2).err
    assert f"request {request} waits for another person's approval: scelle request approve {request}" in said
    platform("--as", "bob", "request", "approve", request)
    said = platform("--as", "alice", "dispose", ORDER, code=2).err
    assert f"request {request} waits to be carried out, from " in said
    clock.move(25 * HOUR_S)
    said = platform("--as", "alice", "dispose", ORDER, code=2).err
    assert f"request {request} waits to be carried out: scelle request run" in said
    platform("--as", "alice", "request", "run")
    assert "can be brought back until" in platform("--as", "alice", "dispose", ORDER, code=2).err


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
    trust, package, held = tmp_path / "trust.json", tmp_path / "p.scelle", tmp_path / "held"
    held.write_bytes((ready.vault / "po" / ORDER / "log" / "checkpoint").read_bytes())
    ready("--as", "alice", "order", "trust", ORDER, "--to", trust)
    ready("--as", "alice", "produce", ORDER, "--source", "docs", "--to", package)
    ready("--as", "bob", "request", "approve", lifted(ready))
    document = ready("--as", "alice", "dispose", ORDER, "--json").json["certificates"][0]
    assert document["confirmed"]
    assert document["destroyed"] == document["planned"] == {"contents": 2, "records": 2, "segments": 1}
    assert document["handed_over"] == 1
    command = [sys.executable, "-I", scelle_verify.__file__, str(package), "--trust", str(trust)]
    command += ["--held", str(held)]
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


def test_a_release_says_what_goes_and_a_dry_run_asks_for_nothing(ready: Platform) -> None:
    ready("--as", "alice", "order", "lift", ORDER)
    shown = ready("--as", "bob", "order", "release", ORDER, "--dry-run", "--json").json
    assert shown["destroys"] == {"items": 2, "contents": 2, "bytes": 21}
    assert shown["sources"] == {"docs": 2}
    assert (shown["overlap"], shown["stays_for_others"]) == ([], {"contents": 0})
    assert ready("--as", "alice", "request", "list", "--json").json["requests"] == []
    asked = ready("--as", "alice", "order", "release", ORDER, "--json").json
    assert asked["request"].startswith("r")
    assert asked["state"] == "waiting"
    assert asked["destroys"] == shown["destroys"]


def test_a_daily_run_disposes_of_what_is_due(ready: Platform) -> None:
    ready("--as", "bob", "request", "approve", lifted(ready))
    (certificate,) = ready("--as", "eve", "request", "run", "--json").json["disposals"]
    assert certificate["confirmed"]
    assert ready("--as", "eve", "request", "run", "--json").json["disposals"] == []


def test_nothing_is_released_while_a_pass_runs(ready: Platform) -> None:
    request = lifted(ready)
    with WriterLock(ready.vault).acquire("now"):
        for command in (("request", "approve", request), ("order", "release", ORDER), ("dispose",)):
            assert "[vault.busy]" in ready("--as", "bob", *command, code=4).err
    assert ready("--as", "alice", "order", "show", ORDER, "--json").json["state"] == "lifted"


def test_who_may_not_know_of_another_order_is_told_of_no_overlap(ready: Platform) -> None:
    second = ready.order_file("second.toml", id='"secret-7"', reference='"FR-S"')
    ready("--as", "alice", "order", "add", second)
    ready("--as", "alice", "preserve", "secret-7")
    ready("--as", "alice", "order", "wall", "secret-7", "--only", "alice")
    ready("--as", "alice", "order", "lift", ORDER)
    dry_run = ("order", "release", ORDER, "--dry-run", "--json")
    assert [each["order"] for each in ready("--as", "alice", *dry_run).json["overlap"]] == ["secret-7"]
    assert ready("--as", "bob", *dry_run).json["overlap"] == []
    request = ready("--as", "alice", "order", "release", ORDER, "--json").json["request"]
    assert "secret-7" not in ready("--as", "bob", "request", "show", request, "--json").out
    ready("--as", "bob", "request", "approve", request)
    certificate = ready("--as", "bob", "dispose", ORDER, "--json")
    assert "secret-7" not in certificate.out
    assert certificate.json["certificates"][0]["destroyed"]["contents"] == 2
    assert ready("--as", "alice", "find", "secret-7", 'source = "docs"', "--json").json["count"] == 2


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("status", ORDER), 0),
        (("order", "show", ORDER), 0),
        (("order", "list"), 0),
        (("order", "deadlines"), 0),
        (("verify",), 0),
        (("rebuild-catalog",), 0),
        (("request", "list"), 0),
        (("request", "run"), 0),
        (("erasure", "list"), 0),
        (("may-delete", "docs", "a.txt"), 0),
        (("status", ORDER, "--items", "failed"), 0),
        (("report", "order-status", ORDER, "--json"), 0),
        (("report", "disposal", ORDER, "--json"), 0),
        (("report", "gaps", ORDER, "--json"), 0),
        (("report", "acknowledgement", ORDER, "--json"), 0),
        (("report", "erasures", ORDER, "--json"), 0),
        (("order", "trust", ORDER, "--to", "{root}/trust.json"), 0),
        (("order", "trust", ORDER, "--to", "{root}/audit", "--json"), 0),
        (("dispose", ORDER), 2),
        (("order", "release", ORDER), 2),
        (("order", "undo-release", ORDER), 2),
        (("order", "lift", ORDER), 2),
        (("order", "extend", ORDER, "--until", "2027-12-31"), 2),
        (("preview", ORDER), 2),
        (("preserve", ORDER), 2),
        (("find", ORDER, 'source = "docs"'), 2),
        (("produce", ORDER, "--source", "docs", "--to", "{root}/no.scelle"), 2),
        (("disclose", ORDER, "s0001:0", "--to", "{root}/no.tlog"), 2),
        (("audit-stream", ORDER, "--to", "{root}/no.stream"), 2),
        (("quarantine", "i" + "a" * 26, "--order", ORDER, "--ground", "private"), 2),
        (("erasure", "request", "--account", "u1", "--reference", "E-1"), 0),
    ],
    ids=lambda each: " ".join(each[:2]) if isinstance(each, tuple) else str(each),
)
def test_every_command_has_an_answer_to_a_disposed_order(
    disposed: Platform, command: tuple[str, ...], code: int
) -> None:
    answer = disposed("--as", "alice", *(each.format(root=disposed.root) for each in command), code=code)
    if code:
        (line,) = [each for each in answer.err.splitlines() if each.startswith("scelle: ")]
        assert "[usage]" not in line


# --- what others claim -----------------------------------------------------------------------------------


def second_order(ready: Platform, *clauses: str, **terms: str) -> None:
    ready.clauses = list(clauses) or ['[[clause]]\nid = "all"\nsources = ["docs"]\n']
    told = {"id": '"other"', "matter": '"another"', "reference": '"R-2"', **terms}
    ready("--as", "alice", "order", "add", ready.order_file("other.toml", **told))


def test_what_another_order_claims_outlives_the_only_order_that_sealed_it(ready: Platform) -> None:
    """The source lost it before the second order's first pass: the vault's copy is the last one."""
    (ready.docs / "a.txt").unlink()
    second_order(ready)
    ready("--as", "bob", "request", "approve", lifted(ready))
    certificate = ready("--as", "alice", "dispose", ORDER, "--json").json["certificates"][0]
    assert certificate["confirmed"]
    found = ready("--as", "alice", "find", "other", 'native_id = "a.txt"', "--json").json["items"]
    assert len(found) == 1
    proof = ready.root / "one.proof"
    ready("--as", "alice", "disclose", "other", found[0]["id"], "--to", proof)
    assert b"a red boat" not in b"".join(
        each.read_bytes() for each in ready.vault.rglob("*") if each.is_file()
    )
    assert "held, ref" in ready("may-delete", "docs", "a.txt", code=3).out
    assert ready("--as", "alice", "verify", "--json").json["findings"] == []
    report = ready("--as", "alice", "preserve", "other", "--json").json
    assert (report["offered"], report["new"], report["unchanged"], report["vanished"]) == (1, 0, 1, 1)
    package, trust = ready.root / "p.scelle", ready.root / "trust.json"
    ready("--as", "alice", "order", "trust", "other", "--to", trust)
    ready("--as", "alice", "produce", "other", "--source", "docs", "--to", package)
    command = [sys.executable, "-I", scelle_verify.__file__, str(package), "--trust", str(trust)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_nothing_is_destroyed_where_a_claimed_content_is_missing(ready: Platform) -> None:
    (ready.docs / "a.txt").unlink()
    second_order(ready)
    ready("--as", "bob", "request", "approve", lifted(ready))
    for path in (ready.vault / "packs").rglob("*.pack"):
        path.unlink()
    ready("--as", "alice", "rebuild-catalog")
    rows = sorted((ready.vault / "po" / ORDER / "seg" / "s0001").rglob("rows"))
    answer = ready("--as", "alice", "dispose", ORDER, code=1)
    assert "its content is held and is not there" in answer.err
    assert rows
    assert sorted((ready.vault / "po" / ORDER / "seg" / "s0001").rglob("rows")) == rows


def test_only_what_is_claimed_is_carried_over(ready: Platform) -> None:
    second_order(ready, '[[clause]]\nid = "sub"\nsources = ["docs"]\npaths = ["sub/*"]\n')
    ready("--as", "bob", "request", "approve", lifted(ready))
    ready("--as", "alice", "dispose", ORDER)
    found = ready("--as", "alice", "find", "other", 'source = "docs"', "--json").json["items"]
    assert len(found) == 1
    assert ready("--as", "alice", "verify", "--json").json["findings"] == []
    ready("--as", "alice", "dispose")
    assert ready("--as", "alice", "find", "other", 'source = "docs"', "--json").json["count"] == 1


def test_what_is_quarantined_stays_so_with_the_order_that_claims_it(ready: Platform) -> None:
    item = ready("--as", "alice", "find", ORDER, 'native_id = "a.txt"', "--json").json["items"][0]["id"]
    asked = ready("--as", "alice", "quarantine", item, "--ground", "privileged", "--json").json
    for request in asked["requests"]:
        ready("--as", "bob", "request", "approve", request["request"])
    second_order(ready)
    ready("--as", "bob", "request", "approve", lifted(ready))
    ready("--as", "alice", "dispose", ORDER)
    assert ready("--as", "alice", "find", "other", 'native_id = "a.txt"', "--json").json["items"] == []
    listed = ready("--as", "alice", "quarantine", "--list", "other", "--json").out
    assert item in listed
    assert ready("--as", "alice", "find", "other", 'native_id = "sub/b.txt"', "--json").json["count"] == 1


def test_a_release_is_of_the_order_as_it_was_when_it_was_asked_for(platform: Platform) -> None:
    platform("settings", "set", "cooling-off", "0s")
    platform("order", "add", platform.order_file())
    platform("preserve", ORDER)
    platform("order", "lift", ORDER)
    request = platform("order", "release", ORDER, "--json").json["request"]
    platform("order", "mark", ORDER, "challenged")
    answer = platform("request", "approve", request, "--json").json
    assert answer["outcome"]["released"] is False
    assert "changed since" in answer["outcome"]["why"]
    assert platform("order", "show", ORDER, "--json").json["state"] == "lifted"
    again = platform("order", "release", ORDER, "--json").json["request"]
    assert platform("request", "approve", again, "--json").json["outcome"]["released"] is True
