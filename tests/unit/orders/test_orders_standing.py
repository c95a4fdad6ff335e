"""Which events of an order's log change what it holds."""

from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest

from scelle.ledger.events import Event
from scelle.orders.standing import Standing, standing

ALL: dict[str, Any] = {"id": "all", "accounts": [], "custodians": [], "sources": ["docs"]}
USERS: dict[str, Any] = {"id": "users", "accounts": ["u1"], "custodians": [], "sources": ["posts"]}
HOLE: dict[str, Any] = {
    "id": "hole",
    "accounts": [],
    "custodians": [],
    "sources": ["docs"],
    "carve_out": True,
}
SOURCE: tuple[str, dict[str, Any]] = ("source", {"alias": "s0001", "name": "docs"})


def amended(act: str, request: str | None = None) -> tuple[str, dict[str, Any]]:
    return "amended", {"act": act, "request": request, "clauses": [], "stopped": []}


def parted(*acts: tuple[str, Mapping[str, Any]], asked: Mapping[str, Any] | None = None) -> Standing:
    """Take an order in with two clauses, and then these acts."""
    number = count()
    intake = [("received", {}), ("clause", ALL), ("clause", USERS), SOURCE]
    history = [Event(next(number), 0, "operator:alice", kind, body) for kind, body in (*intake, *acts)]
    return standing(history, lambda event: asked)


def kinds(events: list[Event], after: int = 4) -> list[str]:
    return [event.kind for event in events[after:]]


def with_list(clause: Mapping[str, Any], size_bytes: int) -> dict[str, Any]:
    return {**clause, "accounts_file": {"name": "a.txt", "size_bytes": size_bytes}}


@pytest.mark.parametrize(
    ("act", "counts"),
    [
        (("clause", {**ALL, "id": "new"}), True),
        (("clause", ALL), True),
        (("clause", with_list(USERS, 10)), True),
        (("clause", with_list(ALL, 10)), False),
        (("clause", {**USERS, "accounts": []}), False),
        (("clause", {**ALL, "paths": ["x"]}), False),
        (("clause", HOLE), False),
        (("clause.stopped", {"id": "all"}), False),
        (("clause.stopped", {"id": "nothing"}), True),
    ],
)
def test_one_person_adds_and_stops_nothing(act: tuple[str, dict[str, Any]], counts: bool) -> None:
    found = parted(act, amended("add-clause"))
    assert kinds(found.events) == [*([act[0]] if counts else []), "amended"]
    assert [event.kind for event in found.left] == ([] if counts else [act[0]])


def test_a_shorter_list_of_accounts_takes_no_longer_ones_place() -> None:
    longer, shorter = with_list(USERS, 20), with_list(USERS, 19)
    found = parted(("clause", longer), amended("add-accounts"), ("clause", shorter), amended("add-accounts"))
    assert [event.body for event in found.left] == [shorter]
    without = parted(("clause", longer), amended("add-accounts"), ("clause", USERS), amended("add-accounts"))
    assert [event.body for event in without.left] == [USERS]


def test_a_carve_out_needs_two_people_and_its_end_needs_one() -> None:
    asked = {"clauses": [HOLE], "stop": []}
    found = parted(
        ("clause", HOLE), amended("carve-out", "r1"), ("clause.stopped", {"id": "hole"}), amended("end-carve-out"),
        asked=asked,
    )  # fmt: skip
    assert kinds(found.events) == ["clause", "amended", "clause.stopped", "amended"]
    assert found.left == found.refused == []


def test_an_amendment_brings_in_what_was_signed_and_not_what_stands_beside_it() -> None:
    narrower = {**ALL, "paths": ["x"]}
    asked = {"clauses": [narrower], "stop": []}
    found = parted(
        ("clause", {**narrower, "paths": ["y"]}), ("clause.stopped", {"id": "users"}), ("clause", narrower),
        amended("narrow", "r1"), asked=asked,
    )  # fmt: skip
    assert [event.body for event in found.events[4:5]] == [narrower]
    assert [event.kind for event in found.left] == ["clause.stopped"]


def test_what_a_crash_left_of_an_amendment_counts_when_it_is_done_again() -> None:
    asked = {"clauses": [], "stop": ["all"]}
    stop = ("clause.stopped", {"id": "all"})
    assert kinds(parted(stop, asked=asked).events) == []
    assert kinds(parted(stop, stop, amended("narrow", "r1"), asked=asked).events) == [
        "clause.stopped",
        "amended",
    ]


def test_a_request_is_carried_out_once_and_an_order_received_once() -> None:
    release = ("released", {"request": "r1", "ground": "lifted"})
    undone = ("release.undone", {"request": None})
    found = parted(
        ("disposed", {}), release, undone, release, ("disposed", {}), ("received", {"id": "other"})
    )
    assert kinds(found.events) == ["released", "release.undone"]
    assert [event.kind for event in found.refused] == ["disposed", "released", "disposed", "received"]
    other = ("released", {"request": "r2", "ground": "lifted"})
    assert kinds(parted(release, undone, other, ("disposed", {})).events)[-2:] == ["released", "disposed"]
