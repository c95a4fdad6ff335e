"""The earliest day, and what is said of it."""

import pytest

from scelle.guard import Hold
from scelle.guard.why import Why, earliest_release

NOW_US = 1_770_000_000_000_000
DAY_US = 86_400_000_000


def hold(order: str, days: int | None, clause: str | None = "c", *, grows: bool = True) -> Hold:
    return Hold(order, clause, None if days is None else NOW_US + days * DAY_US, grows)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], None),
        ([3], 3),
        ([3, 7, 5], 7),
        ([3, None], None),
        ([3, 0], None),  # lapsed: a clock released nothing
        ([-1], None),
    ],
)
def test_the_latest_clock_counts_and_one_that_tells_nothing_leaves_none(
    ends: list[int | None], expected: int | None
) -> None:
    found = earliest_release([hold("o", days) for days in ends], NOW_US)
    assert found == (None if expected is None else NOW_US + expected * DAY_US)


def why(*holds: Hold, held: bool = True, sees_all: bool = True) -> Why:
    return Why(
        "i1", "docs", "a.txt", held, "0badcafe" if held else None, holds, frozenset({"o1"}), sees_all, NOW_US
    )


def test_the_answer_names_clauses_clocks_and_what_grows() -> None:
    found = why(hold("o1", 3, grows=False), hold("o2", None), hold("o3", -1, None))
    lines = found.lines()
    assert lines[0] == "i1: held, ref 0badcafe; docs: a.txt"
    assert lines[1].endswith("; sealed, kept, no longer growing")
    assert "no end by its clock; not sealed yet" in lines[2]
    assert "no clause covers it now: lapsed" in lines[3]
    assert (
        "no earliest day can be told by the clocks; no clock releases: release needs two people" in lines[4]
    )
    assert [each["clause"] for each in found.to_json()["orders"]] == ["c", "c", None]
    assert found.to_json()["earliest_release"] is None


def test_who_does_not_see_all_is_told_by_whose_clocks() -> None:
    assert "by the clocks: 2026-02-05" in why(hold("o1", 3)).lines()[-1]
    assert (
        "by the clocks of the orders that you may see: 2026-02-05"
        in why(hold("o1", 3), sees_all=False).lines()[-1]
    )


def test_what_only_others_hold_is_said_as_may_delete_says_it() -> None:
    assert why(sees_all=False).lines() == ["i1: held, ref 0badcafe"]
    assert why(held=False).lines() == ["i1: not held"]
    assert why(sees_all=False).to_json()["orders"] == []
