"""Grounds, deadlines, identifiers and the fold of requests, without a vault."""

from dataclasses import replace
from datetime import date

import pytest

from scelle.errors import ErasureWrong
from scelle.ledger.events import Event
from scelle.orders.lifecycle import Life, Term
from scelle.orders.model import Moment, Order
from scelle.orders.types import Notify, OrderType, Temporal
from scelle.release.erasure import (
    HOLDS_NOTHING,
    NOT_IN_FORCE,
    Due,
    ErasureItem,
    Outcome,
    Where,
    due_of,
    ground_of,
    is_ground,
    is_secret,
    item_from_json,
    meant_by,
    outcome_of,
    read_identifiers,
    read_reason,
    read_reference,
    requests_of,
    shown_line,
)

DAY_US = 86_400_000_000
START_US = 1_767_830_400_000_000  # 8 January 2026
ORDER = Order(
    id="o1",
    matter="m",
    type=OrderType.DSA_RETENTION,
    authority="European Commission",
    legal_basis="Regulation (EU) 2022/2065, Article 72",
    reference="R",
    issued=Moment("2026-01-08", START_US),
    received=Moment("2026-01-08", START_US),
    zone="UTC",
    temporal=Temporal.BOTH,
    notify=Notify.PERMITTED,
    until=Moment("2026-01-17", START_US + 10 * DAY_US),
)


def life(**changes: object) -> Life:
    order = replace(ORDER, **changes)  # type: ignore[arg-type]
    return Life(order, (Term(START_US, order),), (), frozenset())


# --- grounds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order_type", "ground"),
    [
        (OrderType.DSA_RETENTION, "17(3)(b)"),
        (OrderType.FR_60_2, "17(3)(b)"),
        (OrderType.EPOC_PR, "17(3)(b)"),
        (OrderType.UK_DPN, "17(3)(b) UK GDPR"),
        (OrderType.US_CIVIL_HOLD, "17(3)(e)"),
        (OrderType.US_2703F, "assess"),
        (OrderType.BUDAPEST_MLA, "assess"),
        (OrderType.INTERNAL, "assess"),
        (OrderType.GDPR_58_1, HOLDS_NOTHING),
    ],
)
def test_the_ground_follows_from_whose_law_an_order_is_of(order_type: OrderType, ground: str) -> None:
    assert ground_of(life(type=order_type), START_US + DAY_US) == ground


def test_an_order_is_a_ground_only_while_it_is_in_force() -> None:
    assert ground_of(life(), START_US - 1) == NOT_IN_FORCE
    assert ground_of(life(), START_US) == "17(3)(b)"
    assert ground_of(life(), START_US + 10 * DAY_US - 1) == "17(3)(b)"
    assert ground_of(life(), START_US + 10 * DAY_US) == NOT_IN_FORCE
    for ended in (replace(life(), lifted_us=START_US), replace(life(), annulled_us=START_US)):
        assert ground_of(ended, START_US + DAY_US) == NOT_IN_FORCE


@pytest.mark.parametrize(
    ("ground", "is_one"),
    [("17(3)(b)", True), ("assess", True), (NOT_IN_FORCE, False), (HOLDS_NOTHING, False)],
)
def test_none_is_no_ground(ground: str, is_one: bool) -> None:
    assert is_ground(ground) == is_one


@pytest.mark.parametrize(
    ("changes", "secret"),
    [
        ({}, False),
        ({"notify": Notify.FORBIDDEN}, True),
        ({"notify": Notify.AUTHORITY_DECIDES}, True),
        ({"notify": Notify.REQUIRED_LATER}, True),
        ({"secrecy_until": Moment("2026-01-09", START_US + 2 * DAY_US)}, True),
        ({"secrecy_until": Moment("2026-01-08", START_US + DAY_US)}, False),
    ],
)
def test_secrecy_is_what_the_order_does_not_permit_to_tell(changes: dict[str, object], secret: bool) -> None:
    assert is_secret(life(**changes), START_US + DAY_US) == secret


# --- deadlines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "extended", "day", "at_latest"),
    [
        ("2026-01-08", False, "2026-02-08", "2026-02-09"),  # a Sunday
        ("2026-01-31", False, "2026-02-28", "2026-03-02"),  # no 31 February, and a Saturday
        ("2026-03-10", False, "2026-04-10", "2026-04-10"),
        ("2026-11-30", True, "2027-02-28", "2027-03-01"),
        ("2023-12-31", True, "2024-03-31", "2024-04-02"),  # Easter Sunday, then Easter Monday
    ],
)
def test_a_request_is_due_a_month_after_its_receipt_or_three(
    received: str, extended: bool, day: str, at_latest: str
) -> None:
    found = due_of(date.fromisoformat(received), is_extended=extended)
    assert found == Due(date.fromisoformat(day), date.fromisoformat(at_latest))


# --- what is given ---------------------------------------------------------------------------------------


def test_identifiers_stand_once_each_and_mean_accounts_and_handles() -> None:
    assert read_identifiers(["b", "a", "b"]) == ("a", "b")
    assert meant_by("4711") == ("4711", "account:4711", "handle:4711")
    assert meant_by("handle:@a") == ("handle:@a",)


@pytest.mark.parametrize(
    "text", ["", " ", "a*", "?", "%a", "a%", "operator:x", "custodian:x", "account:", "a\n", "a" * 257]
)
def test_an_identifier_that_could_mean_anybody_is_refused(text: str) -> None:
    with pytest.raises(ErasureWrong):
        read_identifiers([text])


def test_a_percent_sign_inside_an_identifier_is_none() -> None:
    assert read_identifiers(["a%41"]) == ("a%41",)


@pytest.mark.parametrize("text", ["", "a\nb", "r" * 129])
def test_a_reference_is_short_and_printable(text: str) -> None:
    with pytest.raises(ErasureWrong):
        read_reference(text)


def test_a_reason_is_a_code() -> None:
    assert read_reason("number-of-requests") == "number-of-requests"
    with pytest.raises(ErasureWrong):
        read_reason("Because it is hard")


# --- lines -----------------------------------------------------------------------------------------------


def line(**changes: object) -> ErasureItem:
    fields = {
        "item": "i1",
        "source": "s",
        "where": Where.VAULT,
        "ref": "7f3a0000",
        "outcome": Outcome.DEFERRED,
    }
    return ErasureItem(**{**fields, **changes})  # type: ignore[arg-type]


def test_what_an_order_holds_is_deferred_what_only_waits_is_pending_and_the_rest_is_executed() -> None:
    lives = {"on": life(), "off": replace(life(), released_us=START_US)}
    assert outcome_of(("off", "on"), (), lives) is Outcome.DEFERRED
    assert outcome_of((), ("on",), lives) is Outcome.DEFERRED
    assert outcome_of(("off",), (), lives) is Outcome.PENDING
    assert outcome_of((), ("off",), lives) is Outcome.EXECUTED
    assert outcome_of((), (), lives) is Outcome.EXECUTED


def test_a_line_comes_back_as_it_was_sealed() -> None:
    each = line(sealed_in=("a",), live_in=("b", "a"))
    assert item_from_json(each.to_json()) == each
    assert each.holders == ("a", "b")


def test_a_line_shows_the_orders_that_are_seen_and_hints_at_no_other() -> None:
    each = line(sealed_in=("a", "b"), live_in=("c",))
    grounds = {"a": "17(3)(b)", "b": "assess", "c": NOT_IN_FORCE}
    everything = shown_line(each, grounds, lambda _: True)
    assert everything["ground"] == "17(3)(b); assess; none: no order in force"
    assert [said["order"] for said in everything["orders"]] == ["a", "b", "c"]
    assert shown_line(each, grounds, lambda order: order == "a") == {
        "item": "i1",
        "source": "s",
        "outcome": "deferred",
        "ground": "17(3)(b)",
        "orders": [{"order": "a", "ground": "17(3)(b)"}],
    }
    nothing = shown_line(each, grounds, lambda _: False)
    assert nothing == {"item": "i1", "source": "s", "outcome": "deferred", "ground": "held, ref 7f3a0000"}


# --- the fold --------------------------------------------------------------------------------------------


def event(kind: str, **body: object) -> Event:
    return Event(0, START_US, "tester", kind, body)


def requested(name: str = "e1", **counts: int) -> Event:
    return event(
        "erasure.requested",
        id=name,
        reference=f"R-{name}",
        received="2026-01-08",
        scope="sealed",
        identifiers="00",
        counts={"executed": 0, "deferred": 0, "pending": 0, **counts},
        open_sources=0,
        templates={},
    )


def test_lines_of_an_attempt_that_a_crash_ended_count_for_nothing() -> None:
    left = event("erasure.items", id="e0", items=[line().to_json()])
    whole = event("erasure.items", id="e1", items=[line(item="i2").to_json()])
    found = requests_of([left, whole, requested(deferred=1)], with_lines=lambda _: True)
    assert list(found.by_id) == ["e1"]
    assert list(found.by_id["e1"].lines) == ["i2"]
    assert [each.item for each in found.by_id["e1"].open_lines()] == ["i2"]


def test_execution_moves_counts_and_completion_ends_a_request() -> None:
    lines = event("erasure.items", id="e1", items=[line().to_json(), line(item="i2").to_json()])
    done = event("erasure.executed", id="e1", order="o1", items=[["i1", "deferred"]], sources=[])
    found = requests_of([lines, requested(deferred=2), done], with_lines=lambda _: True).by_id["e1"]
    assert (found.counts, found.state) == ({"executed": 1, "deferred": 1, "pending": 0}, "restricted")
    assert [each.item for each in found.open_lines()] == ["i2"]
    ended = requests_of([lines, requested(deferred=2), done, event("erasure.completed", id="e1")])
    assert ended.by_id["e1"].state == "completed"
    assert ended.still_open() == []


def test_a_request_is_found_by_its_reference_before_its_id() -> None:
    found = requests_of([requested("e1"), requested("e2")])
    assert found.find("R-e2") is found.by_id["e2"]
    assert found.find("e1") is found.by_id["e1"]
    assert found.find("e3") is None
