"""An order that is behind a wall from its very first event: `order add --only`."""

from collections.abc import Callable

import pytest

from scelle.bootstrap import now_us
from scelle.bootstrap.orders import take_in_order
from scelle.errors import OrderExists
from scelle.orders.intake import read_order_file

from .conftest import ORDER, Platform
from .test_operators import SECRET, at, one_line, staff, tells_nothing, vault_events

PEOPLE = {"alice": "counsel", "bob": "counsel", "carol": "counsel", "erik": "engineer", "ada": "auditor"}


@pytest.fixture
def walled(ordered: Platform) -> Platform:
    """People, and the file of a secret order over the same documents."""
    staff(ordered, **PEOPLE)
    ordered.clauses = ['[[clause]]\nid = "secret"\nsources = ["docs"]\npaths = ["sub/*"]\n']
    terms = {"id": f'"{SECRET}"', "matter": '"m2"', "authority": '"Parquet"', "reference": '"P-17"'}
    ordered.order_file("second.toml", **terms)
    return ordered


def listed(platform: Platform, name: str) -> list[str]:
    return [each["id"] for each in platform("--as", name, "order", "list", "--json").json["orders"]]


def test_only_these_know_of_an_order_that_is_taken_in_behind_a_wall(walled: Platform) -> None:
    file = walled.root / "second.toml"
    answer = walled("--as", "alice", "order", "add", file, "--only", "bob", "--json")
    assert answer.json["only"] == ["alice", "bob"], "who takes it in stands inside, named or not"
    assert listed(walled, "alice") == listed(walled, "bob") == [ORDER, SECRET]
    for name in ("carol", "erik", "ada"):
        assert listed(walled, name) == [ORDER]
        assert tells_nothing(walled("--as", name, "operator", "log", "--json"))
        assert tells_nothing(walled("--as", name, "status"))
    assert walled("--as", "carol", "order", "show", SECRET, code=2).code == 2
    kinds = [event["only"] for event in vault_events(walled, "wall")]
    assert kinds == [["alice", "bob"]]


class Crash(BaseException):
    """What ends a command as a crash does: nothing handles it."""


def crash(*arguments: object, **rest: object) -> None:
    raise Crash


def take_in(platform: Platform) -> None:
    """Take the secret order in, walled for alice and bob."""
    file = read_order_file(platform.root / "second.toml")
    with at(platform, now_us(), "alice") as session:
        take_in_order(session, file, ["bob"])


def crash_at(what: str, platform: Platform, patch: pytest.MonkeyPatch) -> None:
    """Stop taking the secret order in at some step."""
    with patch.context() as only:
        only.setattr(what, crash)
        with pytest.raises(Crash):
            take_in(platform)


def test_the_wall_is_sealed_before_anything_of_the_order(
    walled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = walled.root / "second.toml"
    crash_at("scelle.bootstrap.orders.add_order", walled, monkeypatch)
    assert not (walled.vault / "po" / SECRET).exists()
    for name in PEOPLE:
        assert listed(walled, name) == [ORDER], "there is no order yet"
    for name in ("carol", "erik", "ada"):
        assert tells_nothing(walled("--as", name, "operator", "log", "--json"))
    assert len(vault_events(walled, "wall")) == 1
    refused = walled("--as", "carol", "order", "add", file, code=2)
    assert "cannot be used" in refused.err
    assert not (walled.vault / "po" / SECRET).exists(), "nobody outside takes it in"
    walled("--as", "alice", "order", "add", file, "--only", "alice", "--only", "bob")
    assert listed(walled, "carol") == [ORDER]
    assert len(vault_events(walled, "wall")) == 1, "the wall stood already"


@pytest.mark.parametrize("what", ["scelle.orders.service._seal_papers", "scelle.bootstrap.orders.note_order"])
def test_a_crash_anywhere_leaves_no_order_that_others_see(
    walled: Platform, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    crash_at(what, walled, monkeypatch)
    for name in ("carol", "erik"):
        assert listed(walled, name) == [ORDER]
        assert tells_nothing(walled("--as", name, "operator", "log", "--json"))
    try:
        take_in(walled)
    except OrderExists:
        assert what.endswith("note_order"), "the order was there, and is only noted"
    assert listed(walled, "alice") == [ORDER, SECRET]
    assert listed(walled, "carol") == [ORDER]


def test_counsel_cleared_for_a_few_orders_sees_what_he_takes_in_behind_a_wall(walled: Platform) -> None:
    walled("--as", "alice", "operator", "add", "dan", "--role", "counsel", "--order", ORDER)
    file = walled.root / "second.toml"
    assert walled("--as", "dan", "order", "add", file, "--only", "alice", "--json").json["only"] == [
        "alice",
        "dan",
    ]
    assert listed(walled, "dan") == [ORDER, SECRET]
    assert listed(walled, "bob") == [ORDER]


def _unknown(walled: Platform) -> str:
    return "nobody"


def _not_cleared(walled: Platform) -> str:
    walled("--as", "alice", "operator", "add", "dan", "--role", "counsel", "--order", ORDER)
    return "dan"


@pytest.mark.parametrize("who", [_unknown, _not_cleared])
def test_a_wall_that_cannot_be_built_leaves_nothing(walled: Platform, who: Callable[[Platform], str]) -> None:
    name, file = who(walled), walled.root / "second.toml"
    assert one_line(walled("--as", "alice", "order", "add", file, "--only", name, code=2).err)
    assert vault_events(walled, "wall") == []
    assert not (walled.vault / "po" / SECRET).exists()


def test_a_wall_is_built_around_no_order_that_is_there(walled: Platform) -> None:
    again = walled.order_file(reference='"other"')
    answer = walled("--as", "alice", "order", "add", again, "--only", "alice", code=2)
    assert "is there already" in answer.err
    assert listed(walled, "carol") == [ORDER]
    assert vault_events(walled, "wall") == []


def test_solo_mode_has_no_walls(ordered: Platform) -> None:
    file = ordered.order_file("second.toml", id=f'"{SECRET}"')
    answer = ordered("order", "add", file, "--only", "alice", code=2)
    assert one_line(answer.err)
    assert "no operators" in answer.err
    assert not (ordered.vault / "po" / SECRET).exists()
