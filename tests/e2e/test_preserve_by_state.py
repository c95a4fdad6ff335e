"""`preserve` and `preview` by hand on an order that has ended in one way or another (docs/design/lifecycle.md)."""

from typing import Any

import pytest

from .conftest import ORDER, Platform
from .test_lapses import soon
from .test_release import lifted
from .test_release import ready as ready
from .test_restricted import HOUR_S, Clock
from .test_restricted import clock as clock


def sealed(platform: Platform) -> int:
    return len(platform("--as", "alice", "find", ORDER, 'source = "docs"', "--json").json["items"])


def refused(platform: Platform, state: str, advice: str) -> None:
    """Both commands say one line: what the order is, and what to do instead."""
    shown = platform("--as", "alice", "order", "show", ORDER, "--json").json
    for command in ("preserve", "preview"):
        answer = platform("--as", "eve", command, ORDER, code=2)
        assert (answer.out, answer.err.count("\n")) == ("", 1), answer.err
        assert f"order {ORDER} is {state}: nothing more is captured under it; " in answer.err
        assert advice in answer.err
        assert "[orders.over]" in answer.err
    again = platform("--as", "alice", "order", "show", ORDER, "--json").json
    assert again["log"] == shown["log"], "nothing was sealed"


def test_a_lapsed_order_is_captured_under_with_a_warning(platform: Platform, clock: Clock) -> None:
    platform("order", "add", platform.order_file(until=soon()))
    platform("preserve", ORDER)
    clock.move(4 * 24 * HOUR_S)
    platform("order", "lapses")
    platform.document("new.txt", b"a new mast\n")
    answer = platform("preserve", ORDER, "--json")
    assert answer.json["sealed"] == 3
    said = [line for line in answer.err.splitlines() if "lapsed" in line]
    assert len(said) == 1
    assert "capture goes on until counsel decides (extend, replace, release)" in said[0]
    assert platform("order", "show", ORDER, "--json").json["state"] == "lapsed"
    platform("verify")


@pytest.mark.parametrize("state", ["lifted", "annulled"])
def test_an_order_that_ended_grows_no_longer(ready: Platform, state: str) -> None:
    ready("--as", "alice", "order", {"lifted": "lift", "annulled": "annul"}[state], ORDER)
    ready.document("new.txt", b"a new mast\n")
    refused(ready, state, "a new demand of the authority is a new order (scelle order add)")
    assert sealed(ready) == 2, "it stays held, and readable"
    held = ready("may-delete", "docs", "a.txt", "--json", code=3).json
    assert held["held"] == 1


def test_a_released_order_grows_no_longer_and_one_disposed_of_neither(ready: Platform) -> None:
    ready("--as", "bob", "request", "approve", lifted(ready))
    refused(ready, "released", "undo the release while its grace period runs")
    ready("--as", "alice", "order", "undo-release", ORDER)
    refused(ready, "lifted", "a new demand")
    again: dict[str, Any] = ready("--as", "alice", "order", "release", ORDER, "--json").json
    ready("--as", "bob", "request", "approve", again["request"])
    ready("--as", "alice", "dispose", ORDER)
    refused(ready, "disposed", "its log only tells what was")
    assert ready("--as", "alice", "verify", "--json").json["valid"]
