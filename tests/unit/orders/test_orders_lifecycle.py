"""An order's life from its events: which steps are valid when, its intervals, its alarms."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from scelle.errors import FormatError, OrderValueWrong, TransitionRefused
from scelle.orders import OrderType
from scelle.orders.alarms import extension_warnings, lapse_alarm
from scelle.orders.amendments import new_end
from scelle.orders.clocks import hold_end
from scelle.orders.lifecycle import (
    DECIDE_WITHIN_US,
    REVIEW_EVERY_US,
    TRANSITIONS,
    Mark,
    State,
    Step,
    Without,
    is_valid,
    life_of,
    transitions_table,
)
from scelle.orders.model import Order
from scelle.scope import Clause, clause_to_json

from .lives import DAY_US, END_US, X, at, extended, life, make, mark, moment

# --- the table --------------------------------------------------------------------------------------------

BY_STATE = {
    State.RECEIVED: (replace(X, effective=moment("2025-03-01", X.zone)), ()),
    State.AUTHENTICATED: (
        replace(X, effective=moment("2025-03-01", X.zone)),
        ((at("2025-01-20T00:00:00"), "authenticated", {"how": "seal"}),),
    ),
    State.IN_FORCE: (X, ()),
    State.LAPSED: (X, ()),
    State.LIFTED: (X, ((at("2025-01-20T00:00:00"), "lifted", {}),)),
    State.ANNULLED: (X, ((at("2025-01-20T00:00:00"), "annulled", {}),)),
    State.RELEASED: (X, ((at("2025-01-20T00:00:00"), "released", {}),)),
    State.DISPOSED: (
        X,
        ((at("2025-01-20T00:00:00"), "released", {}), (at("2025-01-21T00:00:00"), "disposed", {})),
    ),
}


def when(state: State) -> int:
    return END_US if state is State.LAPSED else at("2025-02-01T00:00:00")


@pytest.mark.parametrize("state", State)
def test_every_state_is_reached(state: State) -> None:
    order, acts = BY_STATE[state]
    assert life(order, *acts).state(when(state)) is state


@pytest.mark.parametrize(("step", "state"), list(product(Step, State)))
def test_a_step_is_taken_where_the_table_says_so_and_refused_in_one_line_elsewhere(
    step: Step, state: State
) -> None:
    order, acts = BY_STATE[state]
    found = life(order, *acts)
    if state in TRANSITIONS[step]:
        found.check(step, when(state))
        return
    with pytest.raises(TransitionRefused) as refused:
        found.check(step, when(state))
    what, _, advice = str(refused.value).partition("; ")
    assert what == f"order o-1 is {state}: nobody can {step} it now"
    assert advice
    assert "\n" not in advice


def test_what_a_lawyer_expects_of_the_table() -> None:
    held = {State.RECEIVED, State.AUTHENTICATED, State.IN_FORCE, State.LAPSED, State.LIFTED, State.ANNULLED}
    assert not is_valid(Step.EXTEND, State.RELEASED)
    assert not is_valid(Step.EXTEND, State.LIFTED)
    assert is_valid(Step.EXTEND, State.LAPSED)
    assert not is_valid(Step.ADD, State.LAPSED)  # extend it first: nothing more is asked for without an order
    assert not is_valid(Step.LIFT, State.LIFTED)
    assert {state for state in State if is_valid(Step.RELEASE, state)} == {
        State.LAPSED,
        State.LIFTED,
        State.ANNULLED,
    }
    assert {state for state in State if is_valid(Step.NARROW, state)} <= held
    assert not any(is_valid(step, State.DISPOSED) for step in Step)


def test_a_release_says_what_comes_first() -> None:
    with pytest.raises(TransitionRefused, match="record first that it ended: scelle order lift"):
        life(X).check(Step.RELEASE, when(State.IN_FORCE))
    internal = make(OrderType.INTERNAL)
    with pytest.raises(TransitionRefused, match="without an end of its own counsel records the decision"):
        life(internal).check(Step.RELEASE, at("2030-01-01T00:00:00"))


def test_the_table_is_printed_with_every_step() -> None:
    lines = transitions_table().splitlines()
    assert len(lines) == 2 + len(Step)
    assert "| release | *lapsed*, *lifted*, *annulled* |" in transitions_table()


# --- intervals --------------------------------------------------------------------------------------------


def test_a_clock_never_releases() -> None:
    found = life(X)
    assert found.state(END_US - 1) is State.IN_FORCE
    assert found.state(END_US) is State.LAPSED
    assert found.state(END_US + 10_000 * DAY_US) is State.LAPSED
    assert found.holds


def test_an_extension_before_the_end_prolongs_one_after_it_begins_anew() -> None:
    before = life(X, extended(END_US - DAY_US, "2026-12-31"))
    until = at("2026-12-31T23:00:00")
    assert before.intervals_in_force() == ((X.starts_us, until),)
    assert before.intervals_without() == ()
    eighth = at("2026-01-08T09:00:00")
    after = life(X, extended(eighth, "2026-12-31"))
    assert after.intervals_in_force() == ((X.starts_us, END_US), (eighth, until))
    assert after.without_order(eighth) == (Without(END_US, eighth, None),)
    assert after.state(eighth) is State.IN_FORCE


def test_the_interval_that_goes_on_is_shown() -> None:
    assert life(X).without_order(END_US - 1) == ()
    assert life(X).without_order(END_US) == (Without(END_US, None, None),)


def test_a_replacement_is_the_ground_of_its_own_interval_alone() -> None:
    replaced_us, extended_us = END_US + DAY_US, END_US + 3 * DAY_US
    found = life(X, (replaced_us, "replaced", {"by": "hold-1"}))
    assert found.replaced_by == "hold-1"
    assert found.decide_by_us(END_US + 2 * DAY_US) is None
    again = life(X, (replaced_us, "replaced", {"by": "hold-1"}), extended(extended_us, "2026-01-31"))
    second = at("2026-01-31T23:00:00")
    assert again.without_order(second) == (
        Without(END_US, extended_us, "hold-1"),
        Without(second, None, None),
    )
    assert again.replaced_by is None
    assert again.decide_by_us(second) == second + DECIDE_WITHIN_US


@pytest.mark.parametrize("kind", ["lifted", "annulled"])
def test_a_lift_and_an_annulment_end_the_interval_and_no_hold(kind: str) -> None:
    us = at("2025-06-01T00:00:00")
    found = life(X, (us, kind, {}))
    assert found.intervals_in_force() == ((X.starts_us, us),)
    assert found.holds
    assert found.without_order(END_US) == ()
    late = life(X, (END_US + DAY_US, kind, {}))
    assert late.intervals_in_force() == ((X.starts_us, END_US),)


def test_what_is_marked_after_a_lift_puts_nothing_in_force() -> None:
    order = make(OrderType.EPOC_PR)
    end = hold_end(order).keep_until_us
    assert end is not None
    found = life(order, (end + DAY_US, "lifted", {}), mark(end + 2 * DAY_US, Mark.PRODUCTION_ANNOUNCED))
    assert found.intervals_in_force() == ((order.starts_us, end),)


@pytest.mark.parametrize("type", OrderType)
def test_an_announced_production_opens_the_clocks_of_two_types(type: OrderType) -> None:
    order = make(type, until="2026-02-28" if type is OrderType.DSA_RETENTION else None)
    end = hold_end(order).keep_until_us
    found = life(order, mark(at("2026-01-10T00:00:00"), Mark.PRODUCTION_ANNOUNCED))
    opens = type in (OrderType.EPOC_PR, OrderType.BUDAPEST_MLA)
    assert found.keep_until_us == (None if opens else end)
    if opens:
        assert end is not None
        assert found.state(end + DAY_US) is State.IN_FORCE
        assert found.intervals_in_force() == ((order.starts_us, None),)
        cleared = life(
            order,
            mark(at("2026-01-10T00:00:00"), Mark.PRODUCTION_ANNOUNCED),
            mark(end + 5 * DAY_US, Mark.PRODUCTION_ANNOUNCED, is_set=False),
        )
        assert cleared.lapsed_us(end + 6 * DAY_US) == end + 5 * DAY_US  # in force until then
        assert cleared.decide_by_us(end + 6 * DAY_US) == end + 5 * DAY_US + DECIDE_WITHIN_US


def test_other_marks_touch_no_clock() -> None:
    order = make(OrderType.EPOC_PR)
    found = life(order, mark(at("2026-01-10T00:00:00"), Mark.CHALLENGED))
    assert found.marks == {Mark.CHALLENGED}
    assert found.keep_until_us == hold_end(order).keep_until_us
    assert len(found.terms) == 1


def test_an_extended_order_ends_by_its_extension_and_not_by_its_law() -> None:
    order = make(OrderType.US_2703F)
    second = life(order, extended(at("2026-03-01T00:00:00"), "2026-07-06", order))
    reading = hold_end(second.order)
    assert [each.label for each in reading.readings] == ["order's own date"]
    assert reading.act_by_us == reading.keep_until_us == moment("2026-07-06", order.zone, ends=True).at_us
    assert reading.warnings == ()


# --- alarms -----------------------------------------------------------------------------------------------


def test_a_lapsed_order_alarms_every_day_and_then_that_it_is_late() -> None:
    found = life(X)
    assert lapse_alarm(found, END_US - 1) is None
    first, last, late = (lapse_alarm(found, END_US + days * DAY_US + 1) for days in (0, 13, 14))
    assert first is not None
    assert last is not None
    assert late is not None
    assert first.startswith("LAPSED since 2025-12-31 24:00 Europe/Brussels (day 1): ")
    assert "(13 days left)" in first
    assert "(day 14)" in last
    assert "LATE" not in last
    assert "LATE" in late
    assert "everything stays held" in late
    assert not found.is_decision_late(END_US + DECIDE_WITHIN_US - 1)
    assert found.is_decision_late(END_US + DECIDE_WITHIN_US)
    assert found.is_decision_late(END_US + DAY_US, DAY_US)


def test_reviews_are_due_every_90_days_from_the_receipt_or_the_last() -> None:
    assert life(X).review_due_us() == X.received.at_us + REVIEW_EVERY_US
    us = at("2025-03-01T00:00:00")
    assert life(X, (us, "reviewed", {"ground": "open"})).review_due_us() == us + REVIEW_EVERY_US
    assert life(X, (us, "released", {})).review_due_us() is None
    assert life(make(OrderType.GDPR_58_1)).review_due_us() is None


def warned(order: Order, until: str, now: str, *acts: tuple[int, str, dict[str, Any]]) -> str:
    found = life(order, *acts)
    end = moment(until, order.zone, ends=True)
    return " / ".join(extension_warnings(found, end, at(now)))


def test_extensions_that_the_law_knows_are_not_warned_of() -> None:
    epoc = make(OrderType.EPOC_PR)  # received 8 January 2026: 60 days end with 9 March
    assert warned(epoc, "2026-04-08", "2026-02-01T00:00:00") == ""
    assert warned(X, "2030-01-01", "2026-01-08T00:00:00") == ""
    dpn = make(OrderType.UK_DPN, zone="Europe/London")  # ends with 7 January 2027
    assert warned(dpn, "2027-07-07", "2026-12-01T00:00:00") == ""
    request = make(OrderType.US_2703F)  # ends with 8 April at the latest
    assert warned(request, "2026-07-07", "2026-03-01T00:00:00") == ""


def test_extensions_that_the_law_does_not_know_are_warned_of_and_never_refused() -> None:
    epoc = make(OrderType.EPOC_PR)
    assert "later than 30 days" in warned(epoc, "2026-04-10", "2026-02-01T00:00:00")
    assert "after the period had ended" in warned(epoc, "2026-04-08", "2026-03-20T00:00:00")
    first = extended(at("2026-02-01T00:00:00"), "2026-04-08", epoc)
    assert "extended 1 time already" in warned(epoc, "2026-05-08", "2026-04-01T00:00:00", first)
    request = make(OrderType.US_2703F)
    again = extended(at("2026-03-01T00:00:00"), "2026-07-06", request)
    assert "knows 1" in warned(request, "2026-10-04", "2026-07-01T00:00:00", again)
    dpn = make(OrderType.UK_DPN, zone="Europe/London")
    assert "later than 6 months" in warned(dpn, "2027-07-08", "2026-12-01T00:00:00")
    assert "knows no extension" in warned(
        make(OrderType.UK_CSEA_RETENTION), "2030-01-01", "2026-12-01T00:00:00"
    )


def test_an_end_that_extends_nothing_is_refused() -> None:
    def end(order: Order, until: str) -> None:
        new_end(order, hold_end(order).keep_until_us, until)

    for until in ("2025-12-31", "2025-06-01"):
        with pytest.raises(OrderValueWrong, match="an extension ends later"):
            end(X, until)
    with pytest.raises(OrderValueWrong, match="has no end by its clock"):
        end(make(OrderType.US_CIVIL_HOLD), "2030-01-01")
    with pytest.raises(OrderValueWrong, match="an extension ends later"):
        end(make(OrderType.US_2703F), "2026-02-01")  # its law's 90 days end later
    with pytest.raises(OrderValueWrong, match=r"^--until: .* is not RFC 3339"):
        end(X, "next year")
    end(X, "2026-12-31")
    end(make(OrderType.DSA_RFI_DECISION, until="2026-02-15"), "2026-02-20")


# --- clauses ----------------------------------------------------------------------------------------------


def test_a_clause_that_takes_anothers_place_leaves_it_as_one_that_grows_no_longer() -> None:
    old, new = Clause("a", ("docs",)), Clause("a", ("docs",), accounts=("u1",))
    found = life(
        X,
        (10, "clause", clause_to_json(old)),
        (10, "clause", clause_to_json(Clause("b", ("docs",)))),
        (20, "clause", clause_to_json(new)),
        (30, "clause.stopped", {"id": "b"}),
    )
    assert [(each.clause.id, each.since_us, each.stopped_us) for each in found.clauses] == [
        ("a", 10, 20),
        ("b", 10, 30),
        ("a", 20, None),
    ]
    assert found.active_clauses == (new,)


def test_what_is_no_sealed_extension_is_a_fault_of_the_log() -> None:
    with pytest.raises(FormatError):
        life(X, (1, "extended", {"until": None}))
    assert life_of([]) is None
