"""Erasure over a real vault: orders of different law over one account, a lapse, a release, many items, crashes."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Platform
from tests.integration.platforms import make_platform

from scelle import bootstrap
from scelle.bootstrap import KeyChoice, Session
from scelle.bootstrap.acting import ActingAs
from scelle.bootstrap.erasing import request_erasure, run_deferred
from scelle.bootstrap.erasure_list import (
    affected_by_lapse,
    certificate,
    list_requests,
    show_request,
    write_letter,
)
from scelle.bootstrap.operators import build_wall
from scelle.bootstrap.releasing import ask_release
from scelle.bootstrap.requests import approve
from scelle.cli.output import write_new
from scelle.errors import ErasureNotDone, HeldError, NotAllowed
from scelle.ledger.clock import CONFIRMED_BY
from scelle.ledger.events import events, record_event
from scelle.release.erasure import EXECUTED, Scope
from scelle.release.letters import Language
from scelle.vault import durable

UNION, CIVIL, SECRET = "ec-1", "civil-1", "pa-1"
JANUARY = datetime(2026, 1, 20, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
SCHEMA = """\
[schema]
name = "posts"
time = "ts"
id = "id"
account = "user"
[fields]
prompt = "s"
"""
TERMS = {
    UNION: {"type": '"dsa-retention"', "until": "2026-02-01"},
    CIVIL: {"type": '"us-civil-hold"', "zone": '"UTC"'},
    SECRET: {"type": '"fr-60-2"', "zone": '"Europe/Paris"', "notify": '"forbidden"'},
}


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv(CONFIRMED_BY, datetime.now(UTC).date().isoformat())
    made = make_platform(tmp_path, capsys, monkeypatch)
    made("init", made.vault, "--host", "platform.example", "--cooling-off", "0s", "--json")
    return made


def add_posts(platform: Platform, rows: int, accounts: int = 2) -> None:
    """A source of records of the accounts u0, u1 .., in turn."""
    folder = platform.root / "posts"
    folder.mkdir()
    lines = [
        {
            "id": f"p{n}",
            "ts": f"2026-01-{1 + n % 9:02d}T10:00:00Z",
            "user": f"u{n % accounts}",
            "prompt": f"take {n}",
        }
        for n in range(rows)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    schema = platform.root / "posts.toml"
    schema.write_text(SCHEMA)
    platform("source", "add", "posts", f"records://{folder}", "--schema", schema)


def take_in(platform: Platform, order: str, clause: str = "") -> None:
    """Take an order over the posts in, and seal what it covers."""
    platform.clauses = [f'[[clause]]\nid = "c"\nsources = ["posts"]\n{clause}']
    without = () if "until" in TERMS[order] else ("until",)
    terms = {"id": f'"{order}"', "matter": f'"m-{order}"', "reference": f'"R-{order}"', **TERMS[order]}
    platform("order", "add", platform.order_file(f"{order}.toml", without=without, **terms))
    platform("preserve", order)


@contextmanager
def at(
    platform: Platform, moment: datetime, *, writing: bool = True, name: str | None = None
) -> Iterator[Session]:
    """Open the vault as if it were that moment, as an operator; let the leap of the clock pass."""
    now_us = int(moment.timestamp()) * 1_000_000
    keys = KeyChoice(key_file=platform.root / "keys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CONFIRMED_BY, moment.date().isoformat())
        with bootstrap.opened(
            platform.vault, keys, writing=writing, acting_as=ActingAs(name), clock=lambda: now_us
        ) as session:
            yield session


def ask(session: Session, account: str = "u0", reference: str = "DSR-1", **more: Any) -> dict[str, Any]:
    return request_erasure(session, accounts=[account], reference=reference, **more)


def end(session: Session, order: str, kind: str) -> None:
    """Release an order with a second confirmation, or seal in its log that it was disposed of."""
    ledger = session.order_writer(order)
    if kind == "released":
        record_event(ledger, session.now_us(), session.actor, "lifted", {"document": None})
        ledger.seal(session.now_us())
        request, _ = ask_release(session, order, "over")
        assert approve(session, request.id).outcome["released"]
    else:
        record_event(ledger, session.now_us(), session.actor, kind, {"request": "q1"})
        ledger.seal(session.now_us())


def letter_of(session: Session, platform: Platform, reference: str) -> tuple[str, str]:
    to = platform.root / f"{reference}.txt"
    said = write_letter(session, reference, Language.FR, to, write_new)
    return said["variant"], to.read_text(encoding="utf-8").replace(reference, "R")


# --- grounds ---------------------------------------------------------------------------------------------


def test_an_item_of_two_orders_is_one_line_with_the_ground_of_each(platform: Platform) -> None:
    add_posts(platform, 6)
    for order in (UNION, CIVIL):
        take_in(platform, order)
    with at(platform, JANUARY) as session:
        found = ask(session)
    assert (len(found["items"]), found["deferred"]) == (3, 3)
    for each in found["items"]:
        assert each["orders"] == [
            {"order": CIVIL, "ground": "17(3)(e)"},
            {"order": UNION, "ground": "17(3)(b)"},
        ]
        assert each["ground"] == "17(3)(b); 17(3)(e)"


def test_an_order_whose_clock_ran_out_is_no_ground_from_that_day_on(platform: Platform) -> None:
    add_posts(platform, 4)
    take_in(platform, UNION)
    with at(platform, JANUARY) as session:
        ask(session)
        assert list_requests(session, only_affected=True) == []
        assert affected_by_lapse(session, UNION) == []
    with at(platform, MARCH, writing=False) as session:
        (affected,) = affected_by_lapse(session, UNION)
        assert (affected["reference"], affected["affected"]) == ("DSR-1", 2)
        assert affected["ground"] == "none: no order in force"
        assert [each["reference"] for each in list_requests(session, only_affected=True)] == ["DSR-1"]
        shown = show_request(session, "DSR-1")
        assert {(each["outcome"], each["ground"]) for each in shown["items"]} == {
            ("deferred", "none: no order in force")
        }


def test_another_order_in_force_keeps_a_lapse_from_mattering(platform: Platform) -> None:
    add_posts(platform, 4)
    for order in (UNION, CIVIL):
        take_in(platform, order)
    with at(platform, JANUARY) as session:
        ask(session)
    with at(platform, MARCH, writing=False) as session:
        assert affected_by_lapse(session, UNION) == []
        grounds = {each["ground"] for each in show_request(session, "DSR-1")["items"]}
        assert grounds == {"17(3)(e); none: no order in force"}


def test_what_no_clause_covers_is_executed_at_once(platform: Platform) -> None:
    add_posts(platform, 6)
    take_in(platform, UNION, 'accounts = ["u1"]\n')
    with at(platform, JANUARY) as session:
        found = ask(session, scope=None)
        held = ask(session, "u1", "DSR-2")
    assert (found["deferred"], found["state"]) == (0, "completed")
    assert found["sources"][0]["outcome"] == "executed"
    assert held["deferred"] == 3


def test_sources_are_read_for_one_account_and_what_is_sealed_is_no_second_line(platform: Platform) -> None:
    add_posts(platform, 6)
    take_in(platform, UNION)
    with (platform.root / "posts" / "b.jsonl").open("w") as file:
        file.write('{"id": "n1", "ts": "2026-01-10T00:00:00Z", "user": "u0", "prompt": "new"}\n')
        file.write('{"id": "n2", "ts": "2026-01-10T00:00:00Z", "user": "u1", "prompt": "of another"}\n')
    with at(platform, JANUARY) as session:
        found = ask(session, scope=Scope.ALL)
    assert (found["deferred"], len(found["items"]), found["sources"]) == (4, 4, [])
    assert [each["native"] for each in found["items"] if "native" in each] == ["n1"]


# --- execution -------------------------------------------------------------------------------------------


def test_deferred_items_are_executed_when_the_last_order_lets_go(platform: Platform) -> None:
    add_posts(platform, 4)
    for order in (UNION, CIVIL):
        take_in(platform, order)
    with at(platform, JANUARY) as session:
        ask(session)
        with pytest.raises(HeldError):
            run_deferred(session, UNION)
    with at(platform, MARCH) as session:
        end(session, UNION, "released")
        first = run_deferred(session, UNION)
        assert (first["requests"], first["items"], first["executed"], first["completed"]) == (1, 2, 0, [])
        with pytest.raises(ErasureNotDone):
            certificate(session, "DSR-1")
        end(session, UNION, "disposed")
        end(session, CIVIL, "released")
        second = run_deferred(session, CIVIL)
        assert (second["items"], second["executed"], len(second["completed"])) == (2, 2, 1)
        assert run_deferred(session, CIVIL) == second
        done = certificate(session, "DSR-1")
        assert (done["executed"], done["executed_at_once"], done["received"]) == (2, 0, "2026-01-20")
    assert list((platform.vault / "erasures").iterdir()) == []
    assert platform("verify", "--json").json["findings"] == []


def test_what_waits_for_a_disposal_is_pending_and_then_executed(platform: Platform) -> None:
    add_posts(platform, 4)
    take_in(platform, UNION)
    with at(platform, MARCH) as session:
        end(session, UNION, "released")
        found = ask(session, received=date(2026, 2, 20))
        assert (found["executed"], found["pending"], found["state"]) == (0, 2, "pending")
        assert letter_of(session, platform, "DSR-1")[0] == "neutral"
        assert run_deferred(session, UNION)["executed"] == 2
        assert show_request(session, "DSR-1")["state"] == "completed"


def test_an_order_that_came_after_the_request_keeps_its_items(platform: Platform) -> None:
    add_posts(platform, 4)
    take_in(platform, UNION)
    with at(platform, JANUARY) as session:
        ask(session)
    take_in(platform, CIVIL)
    with at(platform, MARCH) as session:
        end(session, UNION, "released")
        assert run_deferred(session, UNION)["executed"] == 0
        shown = show_request(session, "DSR-1")
        assert {(each["outcome"], each["ground"]) for each in shown["items"]} == {("deferred", "17(3)(e)")}


# --- letters ---------------------------------------------------------------------------------------------


def test_the_neutral_text_is_the_same_for_a_secret_order_and_for_a_disposal_that_is_due(
    platform: Platform,
) -> None:
    add_posts(platform, 4)
    take_in(platform, SECRET, 'accounts = ["u0"]\n')
    take_in(platform, UNION, 'accounts = ["u1"]\n')
    with at(platform, MARCH) as session:
        end(session, UNION, "released")
        ask(session, "u0", "DSR-1")
        ask(session, "u1", "DSR-2")
        secret, waiting = letter_of(session, platform, "DSR-1"), letter_of(session, platform, "DSR-2")
    assert secret == waiting
    assert secret[0] == "neutral"


# --- walls -----------------------------------------------------------------------------------------------


def test_outside_a_wall_an_item_is_held_and_nothing_names_or_counts_an_order(platform: Platform) -> None:
    add_posts(platform, 6, accounts=3)
    take_in(platform, UNION, 'accounts = ["u0", "u1"]\n')
    take_in(platform, SECRET, 'accounts = ["u0", "u2"]\n')
    platform("operator", "add", "alice", "--role", "counsel")
    platform("operator", "add", "paula", "--role", "privacy")
    with at(platform, JANUARY, name="alice") as session:
        build_wall(session, SECRET, ["alice"])
    with at(platform, JANUARY, name="paula") as session:
        both, hidden = ask(session, "u0", "DSR-0"), ask(session, "u2", "DSR-2")
        assert {(each["ground"], str(each["orders"])) for each in both["items"]} == {
            ("17(3)(b)", str([{"order": UNION, "ground": "17(3)(b)"}]))
        }
        (ground,) = {each["ground"][:10] for each in hidden["items"] if each["outcome"] == "deferred"}
        assert ground == "held, ref "
        said = json.dumps([both, hidden, list_requests(session), show_request(session, "DSR-0")])
        assert SECRET not in said
        assert letter_of(session, platform, "DSR-0")[0] == "reasoned"
        assert letter_of(session, platform, "DSR-2")[0] == "neutral"
    with at(platform, MARCH, name="paula", writing=False) as session:
        assert [each["reference"] for each in list_requests(session, only_affected=True)] == ["DSR-0"]
    with at(platform, JANUARY, name="alice") as session:
        assert {each["order"] for each in show_request(session, "DSR-0")["items"][0]["orders"]} == {
            UNION,
            SECRET,
        }
        to = platform.root / "alice.txt"
        assert write_letter(session, "DSR-0", Language.FR, to, write_new)["variant"] == "neutral"


def test_an_engineer_keeps_no_erasure_requests(platform: Platform) -> None:
    add_posts(platform, 2)
    take_in(platform, UNION)
    platform("operator", "add", "erik", "--role", "engineer")
    with at(platform, JANUARY, name="erik") as session, pytest.raises(NotAllowed):
        ask(session)
    with at(platform, JANUARY) as session, pytest.raises(NotAllowed):
        list_requests(session)


# --- many ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [6_000])
def test_thousands_of_items_are_recorded_in_chunks_and_executed_exactly_once(
    platform: Platform, rows: int
) -> None:
    """Killed at each durable step of a disposal's part, the next call goes on; `rows` is larger in the long test."""
    add_posts(platform, rows)
    take_in(platform, UNION)
    with at(platform, JANUARY) as session:
        assert ask(session)["deferred"] == rows // 2
        sizes = [len(each.body["items"]) for each in events(session.ledger("vault"), "erasure.items")]
        assert max(sizes) == 1000
    with at(platform, MARCH) as session:
        end(session, UNION, "released")
    assert killed_until_done(platform, MARCH, lambda session: run_deferred(session, UNION)) > 6
    with at(platform, MARCH) as session:
        found = run_deferred(session, UNION)
        assert (found["executed"], len(found["completed"])) == (rows // 2, 1)
        done = [item[0] for each in events(session.ledger("vault"), EXECUTED) for item in each.body["items"]]
        assert len(done) == len(set(done)) == rows // 2


def test_a_request_that_a_crash_cut_short_is_recorded_once(platform: Platform) -> None:
    add_posts(platform, 6)
    for order in (UNION, CIVIL):
        take_in(platform, order)
    assert killed_until_done(platform, JANUARY, ask, every=1) > 10
    with at(platform, JANUARY) as session:
        assert ask(session)["deferred"] == 3
        assert len(list(events(session.ledger("vault"), "erasure.requested"))) == 1
        for order in (UNION, CIVIL):
            assert len(list(events(session.ledger(order), "erasure"))) == 1
    assert len(list((platform.vault / "erasures").iterdir())) == 1
    assert platform("verify", "--json").json["findings"] == []


class Killed(BaseException):
    """The process ends here."""


def killed_until_done(
    platform: Platform, moment: datetime, work: Callable[[Session], object], every: int = 3
) -> int:
    """Do it again and again, each time killed some durable steps later; return after how many it came through."""
    steps = 0
    while killed_after(platform, moment, work, steps):
        steps += every
        assert steps < 500
    return steps


def killed_after(platform: Platform, moment: datetime, work: Callable[[Session], object], steps: int) -> bool:
    """Do something until that many durable steps are done; tell whether it was killed."""
    left = [steps]

    def step(done: durable.Step, when: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    try:
        with at(platform, moment) as session, durable.observed(step):
            work(session)
    except Killed:
        return True
    return False
