"""Quarantine on a real vault: what leaves every query and export, what stays, and proofs that close all the same."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import make_platform
from tests.unit.sources.git_repositories import Work, needs_git

from scelle.bootstrap import KeyChoice, Session, now_us, opened
from scelle.bootstrap.acting import ActingAs
from scelle.bootstrap.finding import find_items
from scelle.bootstrap.quarantining import (
    ask_lift,
    ask_quarantine,
    execute_lift_quarantine,
    execute_quarantine,
    list_quarantined,
)
from scelle.bootstrap.requests import ask, run_due
from scelle.errors import OrderUnknown, QuarantineWrong
from scelle.ledger.events import events
from scelle.operators.requests import APPROVED, Act, Request
from scelle.release.quarantine import QUARANTINED, quarantined
from scelle.verify.scelle_verify import main as scelle_verify

QUESTIONS = (
    'account = "u0"',  # the index answers it
    'source = "posts"',  # the manifest does
    'prompt contains "take"',  # every row is looked at
    'account = "u0" and prompt contains "take"',  # the rows of some entries are
    'time >= "2026-01-01"',
)
SCHEMA = '[schema]\nname = "posts"\ntime = "ts"\nid = "id"\naccount = "user"\n[fields]\nprompt = "s"\n'


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A vault with ten posts of two accounts, sealed under an order."""
    made = make_platform(tmp_path, capsys, monkeypatch)
    made("init", made.vault, "--host", "platform.example", "--json")
    folder = made.root / "posts"
    folder.mkdir()
    lines = [
        {"id": f"p{n}", "ts": f"2026-01-0{1 + n % 9}T10:00:00Z", "user": f"u{n % 2}", "prompt": f"take {n}"}
        for n in range(10)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    schema = made.root / "posts.toml"
    schema.write_text(SCHEMA)
    made("source", "add", "posts", f"records://{folder}", "--schema", schema)
    made.clauses = ['[[clause]]\nid = "all"\nsources = ["posts"]\n']
    made("order", "add", made.order_file())
    made("preserve", ORDER)
    return made


def found(platform: Platform, query: str, *more: str) -> dict[str, Any]:
    return platform("find", ORDER, query, "--json", *more).json


@contextmanager
def approved(
    platform: Platform, act: Act, items: list[str], order: str = ORDER, **body: Any
) -> Iterator[tuple[Session, Request]]:
    """Ask two days ago and confirm now; it is yet to be carried out, and will not be noted as carried out."""
    keys, before_us = KeyChoice(platform.root / "keys"), now_us() - 2 * 86_400_000_000
    with opened(platform.vault, keys, writing=True, clock=lambda: before_us) as session:
        request_id = ask(session, act, order, {"items": items, **body}, "reason").id
    with opened(platform.vault, keys, writing=True) as session:
        session.record(APPROVED, {"request": request_id, "operator": None, "signature": ""})
        yield session, session.people.requests[request_id]


def quarantine(
    platform: Platform, items: list[str], ground: str = "privileged", order: str = ORDER
) -> dict[str, Any]:
    with approved(platform, Act.QUARANTINE, items, order, ground=ground) as (session, request):
        return execute_quarantine(session, request)


def lift(platform: Platform, items: list[str]) -> dict[str, Any]:
    with approved(platform, Act.LIFT_QUARANTINE, items) as (session, request):
        return execute_lift_quarantine(session, request)


@pytest.mark.parametrize("query", QUESTIONS)
@pytest.mark.parametrize("limit", ["0", "1", "1000"])
def test_no_query_finds_or_counts_what_is_quarantined(platform: Platform, query: str, limit: str) -> None:
    before = found(platform, query, "--limit", limit)
    first = found(platform, 'account = "u0"')["items"][0]["id"]
    assert quarantine(platform, [first]) == {"items": 1, "records": 1}
    after = found(platform, query, "--limit", limit)
    assert after["count"] == before["count"] - 1
    assert first not in {item["id"] for item in after["items"]}
    assert after["quarantined"] == 1
    assert lift(platform, [first]) == {"items": 1, "records": 1}
    assert found(platform, query, "--limit", limit) == {**before, "size": after["size"] + 1}


def test_a_production_withholds_it_under_its_ground_and_its_proof_closes(platform: Platform) -> None:
    first = found(platform, 'account = "u0"')["items"][0]["id"]
    quarantine(platform, [first], "third-party-secret")
    trust = platform.root / "trust.json"
    platform("order", "trust", ORDER, "--to", trust)
    for name, arguments, hits in (
        ("whole", ("--source", "posts"), 10),
        ("range", ("--account", "u0"), 5),
        ("other", ("--account", "u1"), 5),
    ):
        package = platform.root / f"{name}.scelle"
        report = platform("produce", ORDER, *arguments, "--to", package, "--json").json
        met = int(name != "other")
        assert (report["hits"], report["withheld"], report["quarantined"]) == (hits, met, met)
        with ZipFile(package) as archive:
            withheld = [json.loads(line) for line in archive.read("withheld.jsonl").splitlines()]
            text = archive.read("README.txt").decode()
        assert [line["code"] for line in withheld] == ["third-party-secret"] * met
        assert ("1 of the withheld records are quarantined" in text) == bool(met)
        platform.capsys.readouterr()
        assert scelle_verify([str(package), "--trust", str(trust)]) == 0
    assert platform("verify", "--json").json["findings"] == []


def test_it_is_not_disclosed(platform: Platform) -> None:
    first = found(platform, 'account = "u0"')["items"][0]["id"]
    quarantine(platform, [first])
    to = platform.root / "record.proof"
    refused = platform("disclose", ORDER, first, "--to", to, code=2)
    assert "is quarantined" in refused.err
    assert "quarantine.item" in refused.err
    assert not to.exists()
    lift(platform, [first])
    platform("disclose", ORDER, first, "--to", to)


def test_a_record_that_comes_back_in_the_same_state_stays_quarantined(platform: Platform) -> None:
    platform("source", "add", "more", f"records://{platform.docs}", "--schema", platform.root / "posts.toml")
    platform.clauses = ['[[clause]]\nid = "all"\nsources = ["more"]\n']
    platform("order", "add", platform.order_file("second.toml", id='"second"', matter='"m2"'))

    def sealed(prompt: str) -> dict[str, Any]:
        row = {"id": "p1", "ts": "2026-01-10T10:00:00Z", "user": "u7", "prompt": prompt}
        (platform.docs / "b.jsonl").write_text(json.dumps(row) + "\n")
        platform("preserve", "second")
        return platform("find", "second", 'source = "more"', "--json").json

    first = sealed("privileged")["items"][0]["id"]
    quarantine(platform, [first], order="second")
    assert sealed("harmless now")["count"] == 1
    (platform.docs / "b.jsonl").unlink()
    platform("preserve", "second")
    after = sealed("privileged")
    assert (after["count"], first in {each["id"] for each in after["items"]}) == (1, False)


def test_a_request_is_carried_out_once(platform: Platform) -> None:
    first = found(platform, 'account = "u0"')["items"][0]["id"]
    assert quarantine(platform, [first]) == quarantine(platform, [first])
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=False) as session:
        ledger = session.order_ledger(ORDER)
        assert len(list(events(ledger, QUARANTINED))) == 1
        assert len(quarantined(ledger)) == 1
        (listed,) = list_quarantined(session, ORDER)
        (request,) = session.people.requests.values()
        assert (listed["item"], listed["ground"], listed["request"]) == (first, "privileged", request.id)


def test_two_people_quarantine_and_one_alone_does_not(platform: Platform) -> None:
    first = found(platform, 'account = "u0"')["items"][0]["id"]
    for name in ("alice", "bob"):
        platform("operator", "add", name, "--role", "counsel")
    asked = platform("--as", "alice", "quarantine", first, "--ground", "private", "--json").json
    assert asked["requests"] == [
        {
            "request": asked["request"],
            "note": None,
            "order": ORDER,
            "items": 1,
            "records": 1,
            "ground": "private",
        }
    ]
    platform("--as", "alice", "request", "approve", asked["request"], code=2)
    platform("--as", "bob", "request", "approve", asked["request"])
    query = ("find", ORDER, 'account = "u0"', "--json")
    assert platform("--as", "bob", *query).json["count"] == 5  # it has not cooled off yet
    later = now_us() + 2 * 86_400_000_000
    keys, bob = KeyChoice(platform.root / "keys"), ActingAs("bob")
    with opened(platform.vault, keys, writing=True, acting_as=bob, clock=lambda: later) as session:
        (done,) = run_due(session)
        assert dict(done.outcome) == {"items": 1, "records": 1}
    shown = platform("--as", "bob", *query).json
    assert (shown["count"], shown["quarantined"]) == (4, 1)


def test_how_many_are_quarantined_is_told_to_counsel_alone(platform: Platform) -> None:
    first = found(platform, 'account = "u0"')["items"][0]["id"]
    quarantine(platform, [first])
    platform("operator", "add", "rita", "--role", "reviewer")
    shown = platform("--as", "rita", "find", ORDER, 'account = "u0"', "--json").json
    assert shown["count"] == 4
    assert "quarantined" not in shown


@needs_git
def test_a_restored_repository_lacks_what_is_quarantined(platform: Platform) -> None:
    work = Work(platform.root / "work")
    work.commit("a", b"privileged\n")
    platform("source", "add", "code", f"git://{work.path}")
    platform.clauses = ['[[clause]]\nid = "all"\nsources = ["code"]\n']
    platform("order", "add", platform.order_file("second.toml", id='"second"', matter='"m2"'))
    platform("preserve", "second")
    whole = platform("git", "restore", "second", "code", "--to", platform.root / "one.git", "--json").json
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=True) as session:
        listed = find_items(
            session, "second", 'source = "code" and type = "blob"', 9, lambda done, total: None
        )
        items = [each.id for each in listed.items if each.id is not None]
    assert quarantine(platform, items, order="second")["items"] == 1
    cut = platform("git", "restore", "second", "code", "--to", platform.root / "two.git", "--json", code=1)
    assert cut.json["objects"] == whole["objects"] - 1
    assert "quarantined was left out" in cut.err


def test_each_order_is_asked_for_by_a_request_of_its_own(platform: Platform) -> None:
    terms = {"id": '"civil-1"', "type": '"us-civil-hold"', "matter": '"m2"', "zone": '"UTC"'}
    platform("order", "add", platform.order_file("civil.toml", without=["until"], **terms))
    platform("preserve", "civil-1")
    first = found(platform, 'account = "u0"')["items"][0]["id"]
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=True) as session:
        asked = ask_quarantine(session, [first], "private")
        assert {(each.order, each.act) for each, _ in asked} == {
            (ORDER, Act.QUARANTINE),
            ("civil-1", Act.QUARANTINE),
        }
        assert all(dict(each.body) == {"items": [first], "ground": "private"} for each, _ in asked)
        ((one, said),) = ask_quarantine(session, [first], "private", ORDER)
        assert said == {"order": ORDER, "items": 1, "records": 1, "ground": "private"}
        assert one.id in {each.id for each, _ in asked}, "it is asked for once"
    quarantine(platform, [first], "privileged")
    assert found(platform, 'account = "u0"')["count"] == 4
    assert platform("find", "civil-1", 'account = "u0"', "--json").json["count"] == 5


@pytest.mark.parametrize(
    ("items", "ground", "order", "error", "words"),
    [
        (["i" + "a" * 26], "private", None, QuarantineWrong, "nothing was asked for"),
        (["p1"], "private", None, QuarantineWrong, "no item's id"),
        ([], "private", None, QuarantineWrong, "0 items"),
        (["i" + "a" * 26], "Not A Code", None, QuarantineWrong, "is no code"),
        (["i" + "a" * 26], "private", "nowhere", OrderUnknown, "no order"),
    ],
)
def test_a_slip_asks_for_nothing(
    platform: Platform,
    items: list[str],
    ground: str,
    order: str | None,
    error: type[Exception],
    words: str,
) -> None:
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=True) as session:
        with pytest.raises(error, match=words):
            ask_quarantine(session, items, ground, order)
        with pytest.raises(QuarantineWrong):
            ask_lift(session, ["i" + "a" * 26])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["i" + "a" * 26],
        ["i" + "a" * 26, "--ground", "private", "--lift"],
        ["--list", ORDER, "--ground", "private"],
        ["i" + "a" * 26, "--list", ORDER],
    ],
)
def test_the_command_line_refuses_half_a_question(platform: Platform, arguments: list[str]) -> None:
    assert platform("quarantine", *arguments, code=2).err.count("\n") == 1


def test_the_list_says_what_is_quarantined_and_not_what_it_is(platform: Platform) -> None:
    first = found(platform, 'account = "u0"')["items"][0]["id"]
    assert "nothing is quarantined" in platform("quarantine", "--list", ORDER).out
    quarantine(platform, [first])
    listed = platform("quarantine", "--list", ORDER, "--json").json["items"]
    assert [each["item"] for each in listed] == [first]
    assert "take" not in json.dumps(listed)
