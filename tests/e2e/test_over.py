"""What commands do with the orders that are in force, beside one whose content was destroyed."""

from datetime import date, timedelta

import pyrage
import pytest

from .conftest import ORDER, Platform
from .test_restricted import CLAUSES, HOUR_S, Clock, holders, item_of
from .test_restricted import clock as clock
from .test_restricted import shut as shut

OVER = "aa-2"  # comes first, wherever orders are gone through by their ids
DAY_S = 24 * HOUR_S


def capture_over(platform: Platform, *, until: str = "2099-12-31") -> None:
    """Take a second order over the same documents in, and capture under it."""
    terms = {"id": f'"{OVER}"', "matter": '"m2"', "reference": '"P-2"', "until": until}
    platform("order", "add", platform.order_file("second.toml", **terms))
    platform("preserve", OVER)


def release(platform: Platform, clock: Clock) -> None:
    request = platform("order", "release", OVER, "--json").json["request"]
    clock.move(25 * HOUR_S)
    platform("request", "approve", request)


def dispose(platform: Platform, clock: Clock) -> None:
    """Lift the second order, let go of it, and destroy what it alone held."""
    platform("order", "lift", OVER)
    release(platform, clock)
    for _ in range(4):  # no clock may jump further at once
        clock.move(8 * DAY_S)
        platform("order", "lapses")
    platform("dispose", OVER)


@pytest.fixture
def beside(ordered: Platform, clock: Clock) -> Platform:
    """An order that was captured, beside one that was disposed of."""
    ordered("preserve", ORDER)
    capture_over(ordered)
    dispose(ordered, clock)
    return ordered


def item(platform: Platform) -> str:
    return str(platform("find", ORDER, 'native_id = "a.txt"', "--json").json["items"][0]["id"])


def test_quarantine_and_its_end_pass_over_an_order_that_is_disposed_of(
    beside: Platform, clock: Clock
) -> None:
    (asked,) = beside("quarantine", item(beside), "--ground", "private", "--json").json["requests"]
    assert (asked["order"], asked["items"]) == (ORDER, 1)
    clock.move(25 * HOUR_S)
    named = item(beside)
    beside("request", "approve", asked["request"])
    (lift,) = beside("quarantine", named, "--lift", "--json").json["requests"]
    assert lift["order"] == ORDER


def test_an_order_that_is_disposed_of_is_refused_by_name(beside: Platform) -> None:
    answer = beside("quarantine", item(beside), "--ground", "private", "--order", OVER, code=2)
    assert f"order {OVER} is disposed" in answer.err, answer.err
    assert answer.err.count("\n") == 1


def test_marking_by_hand_passes_over_an_order_that_is_disposed_of(beside: Platform) -> None:
    holders(beside)
    beside("restricted", "mark", item(beside))
    assert beside("find", ORDER, 'native_id starts with "restricted:"', "--json").json["items"]


def test_restricted_items_are_asked_for_where_their_content_is(shut: Platform, clock: Clock) -> None:
    holders(shut)
    shut.clauses = CLAUSES
    shut("preserve", ORDER)
    about = (item_of(shut), "--purpose", "review", "--case", "case-1")
    capture_over(shut)
    dispose(shut, clock)
    reader = str(pyrage.x25519.Identity.generate().to_public())
    opened = shut("restricted", "open", *about, "--reader", reader, "--json").json
    exported = shut("restricted", "export", *about, "--authority", reader, "--json").json
    for request in (opened["request"], exported["request"]):
        assert shut("request", "show", request, "--json").json["order"] == ORDER


def test_undoing_a_release_goes_by_the_setting_as_other_commands_do(ordered: Platform, clock: Clock) -> None:
    ordered("settings", "set", "decide-within", "7d")
    soon = date.today() + timedelta(days=2)
    capture_over(ordered, until=soon.isoformat())
    clock.move(4 * DAY_S)
    release(ordered, clock)
    undone = ordered("order", "undo-release", OVER, "--json").json["decide_by"]
    assert undone == ordered("order", "show", OVER, "--json").json["decide_by"]
    assert undone.startswith((soon + timedelta(days=7)).isoformat())
