from dataclasses import replace

import pytest

from scelle.operators.keys import OperatorKey
from scelle.operators.model import Role
from scelle.operators.registry import public_body
from scelle.operators.requests import Act, request_of

from .log import DAY_US, HOUR_US, ORIGIN, Log, staffed


def test_two_people_approve_and_one_does_not() -> None:
    log = staffed("alice", "bob")
    request = log.ask("alice")
    assert log.state(request) == "waiting"
    log.approve(request, "alice")
    assert log.state(request) == "waiting"
    log.approve(request, "bob")
    assert log.state(request) == "approved"


def test_the_same_key_under_another_name_is_no_second_person() -> None:
    log = staffed("alice", "bob")
    log.keys["twin"] = replace(log.keys["alice"], name="twin")
    log = replace(log, events=[])
    for name in ("alice", "twin", "bob"):
        log.add(name)
    request = log.ask("alice")
    log.approve(request, "twin")
    assert log.state(request) == "waiting"


def test_an_approval_is_of_one_request_and_of_one_vault() -> None:
    log = staffed("alice", "bob")
    first, second = log.ask("alice", id="r1"), log.ask("alice", order="o2", id="r2")
    log.approve(second, "bob", signed=first)
    assert log.state(second) == "waiting"
    log.approve(second, "bob", origin="other.example/po/vault")
    assert log.state(second) == "waiting"
    log.approve(second, "bob")
    assert (log.state(first), log.state(second)) == ("waiting", "approved")


@pytest.mark.parametrize("change", ["order", "body", "reason", "ready_us", "expires_us", "act"])
def test_a_signature_is_over_the_exact_request(change: str) -> None:
    log = staffed("alice", "bob")
    request = log.ask("alice", body={"items": ["a"]})
    event = log.events[-1]
    other = {"order": "o2", "body": {"items": ["a", "b"]}, "act": "narrow"}.get(change, "0")
    log.events[-1] = replace(event, body={**event.body, "asked": {**event.body["asked"], change: other}})
    changed = request_of(log.events[-1])
    log.approve(request, "bob", signed=changed)
    assert not changed.is_approved(ORIGIN, log.people.operators)
    assert log.people.requests == {}


def test_who_was_removed_between_the_two_signatures_does_not_count() -> None:
    log = staffed("alice", "bob", "carol")
    request = log.ask("alice")
    log.approve(request, "bob")
    assert log.state(request) == "approved"
    log.remove("bob", "carol")
    assert log.state(request) == "waiting"
    log.approve(request, "carol")
    assert log.state(request) == "approved"
    log.remove("alice", "carol")
    assert log.state(request) == "waiting"


def test_who_was_shut_out_by_a_wall_after_he_signed_does_not_count() -> None:
    log = staffed("alice", "bob", "carol")
    request = log.ask("alice")
    log.approve(request, "bob")
    log.note("alice", "wall", {"order": "o1", "only": ["alice", "carol"], "by": "alice"})
    assert log.state(request) == "waiting"
    log.approve(request, "carol")
    assert log.state(request) == "approved"


def test_who_is_not_cleared_for_the_order_does_not_count() -> None:
    log = Log()
    log.add("alice")
    log.add("bob", orders=["o2"])
    request, other = log.ask("alice"), log.ask("alice", order="o2", id="r2")
    log.approve(request, "bob")
    log.approve(other, "bob")
    assert (log.state(request), log.state(other)) == ("waiting", "approved")


def test_who_was_brought_in_by_the_requester_alone_does_not_count() -> None:
    log = Log()
    log.add("alice")
    log.add("bob", added_by="alice")
    log.add("carol")
    request, other = log.ask("alice"), log.ask("bob", id="r2")
    log.approve(request, "bob")
    log.approve(other, "alice")
    assert (log.state(request), log.state(other)) == ("waiting", "waiting")
    log.approve(request, "carol")
    log.approve(other, "carol")
    assert (log.state(request), log.state(other)) == ("approved", "approved")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.COUNSEL])
def test_only_counsel_release_and_only_restricted_reviewers_open(role: Role) -> None:
    log = Log()
    log.add("alice")
    log.add("bob", role)
    log.add("carol", Role.RESTRICTED_REVIEWER)
    request, opening = log.ask("alice"), log.ask("carol", Act.OPEN_RESTRICTED, id="r2")
    log.approve(request, "bob")
    log.approve(opening, "bob")
    log.approve(opening, "alice")
    assert log.state(request) == "waiting"
    assert log.state(opening) == ("approved" if role is Role.RESTRICTED_REVIEWER else "waiting")


def test_a_request_that_somebody_else_signed_is_nobodys() -> None:
    log = staffed("alice", "bob")
    request = log.ask("alice", signer=OperatorKey.generate("alice"))
    log.approve(request, "bob")
    assert log.people.requests == {}
    assert [each.why for each in log.people.doubts] == [
        "the signature is not alice's",
        "there is no such request",
    ]


@pytest.mark.parametrize(
    ("made", "ready", "expires", "counts"),
    [
        (0, DAY_US, 15 * DAY_US, True),
        (-30_000_000, DAY_US, 15 * DAY_US, True),
        (0, 0, 14 * DAY_US, False),
        (0, DAY_US - 1, 15 * DAY_US - 1, False),
        (0, DAY_US, 15 * DAY_US + 1, False),
        (-2 * DAY_US, 0, 14 * DAY_US, False),
        (2 * DAY_US, 3 * DAY_US, 17 * DAY_US, False),
    ],
)
def test_who_asks_gives_himself_no_other_times_than_the_settings_do(
    made: int, ready: int, expires: int, counts: bool
) -> None:
    log = staffed("alice", "bob")
    now_us, asked = log.now_us, log.ask("alice", id="r0")
    times = (now_us + made, now_us + ready, now_us + expires)
    log.put(replace(asked, id="r1", made_us=times[0], ready_us=times[1], expires_us=times[2]), "alice")
    assert ("r1" in log.people.requests) is counts


def test_the_times_are_those_of_the_settings_of_that_moment() -> None:
    log = staffed("alice", "bob")
    log.note("alice", "setting", {"name": "cooling-off", "value_us": str(2 * DAY_US), "request": None})
    request = log.ask("alice")
    assert request.id not in log.people.requests


def test_who_could_not_ask_has_not_asked() -> None:
    log = staffed("alice", "bob", "carol")
    log.add("erik", Role.ENGINEER)
    log.note("alice", "wall", {"order": "o1", "only": ["alice", "carol"], "by": "alice"})
    log.ask("bob")
    log.add("dora")
    log.ask(None, id="r2")
    assert log.people.requests == {}


def test_a_request_stands_from_the_second_signature_until_one_of_them_counts_no_more() -> None:
    log = staffed("alice", "bob", "carol")
    request = log.ask("alice")
    log.approve(request, "bob")
    since_us = log.now_us
    log.now_us = request.ready_us + HOUR_US
    log.remove("bob", "carol")
    found = log.people.requests[request.id]
    assert found.stood == ((since_us, log.now_us),)
    assert found.stood_at(request.ready_us)
    assert not found.stood_at(since_us), "it had not cooled off"
    assert not found.stood_at(log.now_us + HOUR_US)
    log.approve(request, "carol")
    assert log.people.requests[request.id].stood_at(log.now_us + HOUR_US)
    assert not log.people.requests[request.id].stood_at(request.expires_us + 2 * DAY_US)


def test_nobody_is_let_in_to_an_order_by_people_whom_a_wall_shut_out_since() -> None:
    log = staffed("alice", "bob", "carol")
    key = log.keys.setdefault("dave", OperatorKey.generate("dave"))
    body = public_body(key.vkey, key.recipient, Role.REVIEWER, ["o1"], None)
    request = log.ask("alice", Act.OPERATOR_ADD, None, body=body)
    log.approve(request, "bob")
    assert log.state(request) == "approved"
    log.note("alice", "wall", {"order": "o1", "only": ["alice", "carol"], "by": "alice"})
    assert log.state(request) == "waiting"
    log.now_us = request.ready_us
    log.add("dave", Role.REVIEWER, by="alice", orders=["o1"], request=request.id)
    assert "dave" not in log.people.operators


def test_an_event_that_cannot_be_read_counts_for_nothing_and_stops_nothing() -> None:
    log = staffed("alice", "bob")
    request = log.ask("alice")
    log.note("bob", "request.approved", {"request": request.id, "operator": "bob", "signature": "zz"})
    for kind in ("operator.added", "operator.removed", "wall", "wall.admitted", "setting", "order.opened"):
        log.note("bob", kind, {"request": 7})
    log.note("bob", "request.made", {"asked": "nothing"})
    assert log.state(request) == "waiting"
    log.approve(request, "bob")
    assert log.state(request) == "approved"
    assert len(log.people.doubts) == 8


def test_what_two_people_never_stood_behind_was_not_carried_out() -> None:
    log = staffed("alice", "bob")
    request = log.ask("alice")
    log.execute(request, "alice")
    assert log.state(request) == "waiting"


def test_a_request_expires_is_withdrawn_and_is_executed_once() -> None:
    log = staffed("alice", "bob")
    old, unwanted, done = (log.ask("alice", order=order, id=order) for order in ("o1", "o2", "o3"))
    for request in (old, unwanted, done):
        log.approve(request, "bob")
    log.withdraw(unwanted, "alice")
    log.execute(done, "alice")
    assert [log.state(each) for each in (old, unwanted, done)] == ["approved", "withdrawn", "executed"]
    log.now_us = old.expires_us
    assert [log.state(each) for each in (old, unwanted, done)] == ["expired", "withdrawn", "executed"]


def test_a_second_event_of_one_id_changes_nothing() -> None:
    log = staffed("alice", "bob")
    request = log.ask("alice", id="r1")
    log.ask("alice", order="o2", id="r1")
    assert log.people.requests["r1"].order == request.order


def test_in_solo_mode_a_confirmation_counts_only_after_the_cooling_off_time() -> None:
    log = Log()
    request = log.ask(None)
    log.approve(request, None)
    log.now_us = request.ready_us + DAY_US
    assert log.state(request) == "waiting"
    log.approve(request, None)
    assert log.state(request) == "approved"
    log.add("alice")
    assert log.state(request) == "waiting"
