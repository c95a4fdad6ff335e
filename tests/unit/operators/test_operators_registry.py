from typing import Any

import pytest

from scelle.errors import NotAllowed, OperatorNameWrong, OperatorUnknown
from scelle.operators.keys import OperatorKey
from scelle.operators.model import Power, Role
from scelle.operators.registry import public_body
from scelle.operators.requests import Act, Request

from .log import DAY_US, HOUR_US, Log, staffed


def counsel(name: str) -> dict[str, Any]:
    return body_of(OperatorKey.generate(name))


def body_of(key: OperatorKey) -> dict[str, Any]:
    return public_body(key.vkey, key.recipient, Role.COUNSEL, None, None)


def asked_in(log: Log, name: str = "mallory", *, by: str = "alice", second: str | None = "bob") -> Request:
    """Ask that somebody be brought in, have it approved, and let it cool off."""
    log.keys[name] = OperatorKey.generate(name)
    body = body_of(log.keys[name])
    request = log.ask(by, Act.OPERATOR_ADD, None, id=f"add-{name}", body=body)
    if second is not None:
        log.approve(request, second)
    log.now_us = request.ready_us
    return request


# --- who may be brought in -------------------------------------------------------------------------------


def test_no_operators_is_solo_mode_and_removing_all_of_them_is_not() -> None:
    log = Log()
    assert log.people.is_solo
    log.add("alice")
    log.remove("alice", "root")
    assert not log.people.is_solo
    assert not log.people.sees(None, "o1")


def test_in_the_setup_nobodys_leave_is_needed() -> None:
    log = Log()
    for name in ("alice", "bob", "carol"):
        log.add(name)
    assert log.people.is_in_setup
    assert sorted(log.people.operators) == ["alice", "bob", "carol"]


def test_after_the_setup_an_event_alone_makes_nobody_an_operator() -> None:
    log = staffed("alice", "bob")
    assert not log.people.is_in_setup
    log.add("mallory")
    log.add("mallory", request="nothing-of-this-id")
    log.add("mallory", added_by="alice")
    assert "mallory" not in log.people.operators


@pytest.mark.parametrize("second", ["bob", None, "alice"])
def test_after_the_setup_two_people_bring_somebody_in_and_one_does_not(second: str | None) -> None:
    log = staffed("alice", "bob")
    request = asked_in(log, second=second)
    log.add("mallory", by="alice", request=request.id)
    assert ("mallory" in log.people.operators) is (second == "bob")


def test_an_approved_request_brings_in_nobody_else_and_nobody_before_it_cooled_off() -> None:
    log = staffed("alice", "bob")
    request = asked_in(log)
    log.now_us -= HOUR_US
    log.add("mallory", by="alice", request=request.id)
    log.now_us += HOUR_US
    log.add("eve", by="alice", request=request.id)
    log.keys["mallory"] = OperatorKey.generate("mallory")
    log.add("mallory", by="alice", request=request.id)
    assert sorted(log.people.operators) == ["alice", "bob"]


def test_one_counsel_alone_brings_others_in_until_there_are_two_who_can_approve_one_another_and_never_again() -> (
    None
):
    log = Log()
    log.add("alice")
    log.note("alice", "note", {"age": "", "readers": 1})
    log.add("bob", by="alice")
    assert log.people.operators["bob"].added_by == "alice"
    assert log.people.is_in_setup
    log.add("carol", by="alice")
    assert not log.people.is_in_setup
    log.remove("bob", "alice")
    log.remove("carol", "alice")
    log.add("dora", by="alice")
    assert sorted(log.people.operators) == ["alice"]


def test_a_name_and_a_key_mean_one_person_for_ever() -> None:
    log = Log()
    alice = log.add("alice")
    log.add("bob")
    log.remove("bob", "alice")
    log.add("bob")
    people = log.people
    assert "bob" not in people.operators
    for name in ("alice", "bob", "", "../a", "A", "a" * 42, "a b", "é"):
        with pytest.raises(OperatorNameWrong):
            people.check_name(name)
    with pytest.raises(OperatorNameWrong, match="alice's"):
        people.check_key(OperatorKey("other", alice.seed, alice.identity).vkey)


def test_a_key_opens_its_own_name_only_and_not_after_the_removal() -> None:
    log = staffed("alice", "bob")
    assert log.people.who(log.keys["alice"]).name == "alice"
    with pytest.raises(NotAllowed):
        log.people.who(OperatorKey.generate("alice"))
    with pytest.raises(OperatorUnknown, match="none of this vault"):
        log.people.who(OperatorKey.generate("eve"))
    log.remove("bob", "alice")
    with pytest.raises(OperatorUnknown, match="was removed"):
        log.people.who(log.keys["bob"])


def test_powers_are_asked_of_somebody() -> None:
    log = Log()
    log.people.require(None, Power.OPERATORS)
    log.add("alice")
    log.add("erik", Role.ENGINEER)
    people = log.people
    people.require(people.operators["alice"], Power.AMEND)
    people.require(people.operators["erik"], Power.AMEND, Power.CAPTURE)
    for operator in (None, people.operators["erik"]):
        with pytest.raises(NotAllowed):
            people.require(operator, Power.AMEND)


# --- walls -----------------------------------------------------------------------------------------------


def sees(log: Log, order: str = "o1") -> list[str]:
    people = log.people
    return sorted(name for name, each in people.operators.items() if people.sees(each, order))


def wall(log: Log, *only: str, order: str = "o1") -> None:
    log.note("alice", "wall", {"order": order, "only": list(only), "by": "alice"})


def test_a_wall_shuts_out_and_a_second_one_lets_nobody_in() -> None:
    log = staffed("alice", "bob", "carol")
    wall(log, "alice", "bob")
    assert sees(log) == ["alice", "bob"]
    wall(log, "alice", "carol", "eve")
    assert sees(log) == ["alice"]
    assert sees(log, "o2") == ["alice", "bob", "carol"]


def test_who_is_cleared_for_some_orders_sees_no_other() -> None:
    log = Log()
    log.add("alice")
    log.add("rita", Role.REVIEWER, orders=["o1"])
    assert (sees(log), sees(log, "o2")) == (["alice", "rita"], ["alice"])
    wall(log, "alice")
    assert sees(log) == ["alice"]


def test_who_comes_later_stands_outside_unless_cleared_by_name() -> None:
    log = Log()
    log.add("alice")
    wall(log, "alice")
    log.add("rita", Role.REVIEWER, orders=["o1"])
    log.add("bob")
    assert sees(log) == ["alice", "rita"]


@pytest.mark.parametrize(("second", "inside"), [("bob", True), (None, False), ("alice", False)])
def test_two_people_let_somebody_in_and_one_does_not(second: str | None, inside: bool) -> None:
    log = staffed("alice", "bob", "carol")
    wall(log, "alice", "bob")
    request = log.ask("alice", Act.WALL_ADMIT, body={"name": "carol"})
    if second is not None:
        log.approve(request, second)
    log.now_us = request.ready_us
    log.note("alice", "wall.admitted", {"order": "o1", "name": "carol", "request": request.id})
    log.note("alice", "wall.admitted", {"order": "o2", "name": "carol", "request": request.id})
    assert ("carol" in sees(log)) is inside


def test_who_takes_an_order_in_is_cleared_for_it_and_an_old_order_is_not_taken_in_again() -> None:
    log = Log()
    log.add("alice")
    log.add("bob", orders=["o9"])
    log.note("alice", "order.opened", {"order": "o1", "by": "alice"})
    log.note("bob", "order.opened", {"order": "o2", "by": "bob"})
    log.note("bob", "order.opened", {"order": "o1", "by": "bob"})
    assert (sees(log), sees(log, "o2")) == (["alice"], ["alice", "bob"])


def test_who_is_removed_leaves_every_wall() -> None:
    log = staffed("alice", "bob", "carol")
    wall(log, "alice", "bob")
    log.remove("bob", "carol")
    assert log.people.walls == {"o1": frozenset({"alice"})}


# --- settings --------------------------------------------------------------------------------------------


def setting(log: Log, name: str, value_us: int, request: str | None = None) -> int | None:
    log.note("alice", "setting", {"name": name, "value_us": str(value_us), "request": request})
    return log.people.settings.get(name)


def test_settings_are_free_until_the_first_order_and_a_ratchet_from_then_on() -> None:
    log = Log()
    log.add("alice")
    log.add("bob")
    assert setting(log, "cooling-off", 0) == 0
    log.note("alice", "order.opened", {"order": "o1", "by": "alice"})
    assert setting(log, "cooling-off", DAY_US) == DAY_US
    assert setting(log, "cooling-off", 0) == DAY_US
    assert setting(log, "decide-within", 20 * DAY_US) is None
    assert setting(log, "decide-within", 7 * DAY_US) == 7 * DAY_US
    assert setting(log, "nothing", 7) is None


@pytest.mark.parametrize(("second", "value_us"), [("bob", 0), (None, DAY_US)])
def test_two_people_loosen_a_setting_and_one_does_not(second: str | None, value_us: int) -> None:
    log = staffed("alice", "bob")
    log.note("alice", "order.opened", {"order": "o1", "by": "alice"})
    setting(log, "cooling-off", DAY_US)
    request = log.ask("alice", Act.SETTING, None, body={"name": "cooling-off", "value_us": "0"})
    if second is not None:
        log.approve(request, second)
    assert setting(log, "cooling-off", 0, request.id) == DAY_US
    log.now_us = request.ready_us
    assert setting(log, "cooling-off", 1, request.id) == DAY_US
    assert setting(log, "cooling-off", 0, request.id) == value_us
