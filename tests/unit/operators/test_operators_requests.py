from dataclasses import replace

import pytest

from scelle.operators.keys import OperatorKey
from scelle.operators.model import Role
from scelle.operators.requests import Act

from .log import DAY_US, ORIGIN, Log, staffed


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
    changed = log.people.requests[request.id]
    log.approve(request, "bob", signed=changed)
    assert log.people.requests[request.id].is_approved(ORIGIN, log.people.operators) is False


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
    request = log.ask("alice")
    log.approve(request, "bob")
    assert log.state(request) == "waiting"
    log.approve(request, "carol")
    assert log.state(request) == "approved"


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
