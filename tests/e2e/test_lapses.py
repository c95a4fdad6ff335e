"""Every session that writes notes which orders have lapsed; what waits on their ground is listed at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scelle.bootstrap import KeyChoice, Session, now_us, opened
from scelle.bootstrap.acting import ActingAs
from scelle.errors import StorageFailed
from scelle.ledger.events import record_event
from scelle.ledger.service import OrderLedger

from .conftest import ORDER, Platform
from .test_erasure import letters as letters
from .test_operators import SECRET, staff, tells_nothing
from .test_restricted import HOUR_S, Clock
from .test_restricted import clock as clock

DAY_US = 86_400_000_000


def soon() -> str:
    """Return the day after tomorrow: an order that ends with it lapses within four days, wherever it is."""
    return (datetime.now(UTC) + timedelta(days=2)).date().isoformat()


def kinds(platform: Platform, order: str = ORDER, *acting: str) -> list[str]:
    shown = platform(*acting, "order", "show", order, "--json").json
    return [each["kind"] for each in shown["events"]]


@contextmanager
def later(platform: Platform, days: int, name: str | None = None) -> Iterator[Session]:
    """Open the vault for writing, days ahead of now."""
    keys = KeyChoice(key_file=platform.root / "keys")
    time_us = now_us() + days * DAY_US
    with opened(
        platform.vault, keys, writing=True, acting_as=ActingAs(name), clock=lambda: time_us
    ) as session:
        yield session


@pytest.fixture
def ending(platform: Platform) -> Platform:
    platform("order", "add", platform.order_file(until=soon()))
    return platform


def test_the_first_command_that_writes_after_the_end_notes_the_lapse_once(
    ending: Platform, clock: Clock
) -> None:
    ending("preserve", ORDER)
    assert "lapse.noticed" not in kinds(ending)
    clock.move(4 * 24 * HOUR_S)
    reading = ending("status")
    assert "lapsed" in reading.out
    assert "lapse.noticed" not in kinds(ending), "who reads seals nothing"
    first = ending("source", "add", "more", f"files://{ending.root}/docs/sub")
    assert f"order {ORDER} has lapsed" in first.err
    assert kinds(ending).count("lapse.noticed") == 1
    again = ending("preserve", ORDER)
    assert "is no ground for refusing" not in again.err
    assert kinds(ending).count("lapse.noticed") == 1
    assert ending("order", "lapses", "--json").json["noted"] == []
    ending("verify")


def test_requests_that_lose_their_ground_are_listed_by_whichever_command_comes_first(
    letters: Platform, clock: Clock
) -> None:
    letters("order", "lift", ORDER)
    letters.clauses = ['[[clause]]\nid = "ada"\nsources = ["letters"]\n']
    letters("order", "add", letters.order_file("second.toml", id='"second"', until=soon()))
    letters("preserve", "second")
    asked = letters("erasure", "request", "--account", "kunde-4711", "--reference", "DSR-1", "--json").json
    assert asked["deferred"] == 2
    clock.move(4 * 24 * HOUR_S)
    answer = letters("preserve", "second")
    assert "order second: erasure request DSR-1 has no ground any more: 2 items" in answer.err
    listed = letters("order", "lapses", "--json").json
    assert listed["noted"] == []
    assert [each["reference"] for each in listed["affected"]["second"]] == ["DSR-1"], "as long as it waits"
    assert "erasure request DSR-1" in letters("order", "lapses").out


def test_behind_a_wall_a_lapse_is_noted_and_nothing_is_said(ending: Platform, clock: Clock) -> None:
    staff(ending, alice="counsel", bob="counsel", erik="engineer")
    ending.clauses = ['[[clause]]\nid = "secret"\nsources = ["docs"]\npaths = ["sub/*"]\n']
    terms = {"id": f'"{SECRET}"', "matter": '"m2"', "authority": '"Parquet"', "reference": '"P-17"'}
    file = ending.order_file("second.toml", until=soon(), **terms)
    ending("--as", "alice", "order", "add", file, "--only", "bob")
    clock.move(4 * 24 * HOUR_S)
    answer = ending("--as", "erik", "preserve", ORDER)
    assert tells_nothing(answer)
    assert f"order {ORDER} has lapsed" in answer.err
    assert kinds(ending, SECRET, "--as", "alice").count("lapse.noticed") == 1
    told = ending("--as", "bob", "order", "lapses", "--json").json
    assert set(told["alarms"]) == {ORDER, SECRET}


def test_no_command_fails_because_a_lapse_cannot_be_noted(
    ending: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **rest: Any) -> None:
        raise StorageFailed("po/x: write failed: Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("scelle.bootstrap.lapses.record_event", fail)
        with later(ending, 4) as session:
            assert "could not be noted" in session.warnings[-1]
            assert session.noted_lapses == []
            session.order_writer(ORDER).seal(session.now_us())  # the log can be used all the same
    with later(ending, 4) as session:
        assert session.noted_lapses == [ORDER]
    ending("verify")


def test_an_extension_that_a_crash_left_uncommitted_counts(ending: Platform) -> None:
    with later(ending, 0) as session:
        ledger = session.order_writer(ORDER)
        until = ["2099-12-31", 4_102_441_200_000_000]
        body = {"until": until, "reference": None, "without": None, "warnings": []}
        record_event(ledger, session.now_us(), session.actor, "extended", {**body, "document": None})
        ledger.flush()
    with later(ending, 4) as session:
        assert session.noted_lapses == []
    assert kinds(ending).count("extended") == 1
    assert "lapse.noticed" not in kinds(ending)


def test_a_log_is_read_again_only_where_it_has_grown(
    ending: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending("order", "add", ending.order_file("second.toml", id='"second"', until="2099-12-31"))
    with later(ending, 0):
        pass
    read: list[str] = []
    ledger = Session.ledger

    def noted(self: Session, order: str) -> OrderLedger:
        read.append(order)
        return ledger(self, order)

    monkeypatch.setattr(Session, "ledger", noted)
    with later(ending, 0):
        assert set(read) <= {"vault"}
    ending("order", "authenticate", "second")
    read.clear()
    with later(ending, 0):
        assert set(read) - {"vault"} == {"second"}


def test_clocks_that_are_torn_or_anothers_are_made_anew(ending: Platform) -> None:
    with later(ending, 0):
        pass
    path = ending.vault / "spool" / "clocks"
    assert ORDER.encode() not in path.read_bytes(), "it names no order"
    path.write_bytes(path.read_bytes()[:-3])
    with later(ending, 4) as session:
        assert session.noted_lapses == [ORDER]
    ending("verify")


def test_of_an_order_that_still_runs_nothing_but_its_clock_is_looked_at(
    ending: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Session.writer

    def fail(*arguments: Any) -> Any:
        if arguments[-1] == "vault":  # the vault's own log is recovered whatever the command is
            return write(*arguments)
        raise AssertionError("the whole order was read")

    monkeypatch.setattr("scelle.bootstrap.lapses.sealed_order", fail)
    monkeypatch.setattr("scelle.bootstrap.session.Session.writer", fail)
    with later(ending, 0) as session:
        assert session.noted_lapses == []
