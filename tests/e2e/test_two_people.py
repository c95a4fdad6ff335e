"""What two people must stand behind, against somebody who has the vault's key, or sets the clock, and is alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from scelle.bootstrap import KeyChoice, Session, now_us, opened
from scelle.bootstrap.acting import ActingAs
from scelle.bootstrap.guarding import VaultGuard
from scelle.bootstrap.operators import execute_operator_add, remove_operator
from scelle.bootstrap.releasing import dispose, dispose_due
from scelle.bootstrap.requests import approve, ask, carry_out, describe, find_request, run_due
from scelle.errors import RequestRefused, RequestUnknown, TransitionRefused
from scelle.ledger.events import events, record_event
from scelle.ledger.log import LogWriter
from scelle.operators.requests import APPROVED, MADE, Act, Request
from scelle.orders.service import sealed_order

from .conftest import ORDER, Platform
from .test_amend import file
from .test_amend import growing as growing
from .test_erase_records import ask as ask_erasure
from .test_erase_records import item, letter
from .test_erase_records import sealed as sealed
from .test_operators import HOUR_US, SECRET, ask_for, at, secret_order, staff, vault_events
from .test_operators import staffed as staffed
from .test_restricted import Clock, holders, item_of
from .test_restricted import clock as clock
from .test_restricted import shut as shut

DAY_US = 24 * HOUR_US


def forge(platform: Platform, kind: str, body: Mapping[str, Any], time_us: int | None = None) -> None:
    """Seal an event in the order's log with the vault's key and no operator's."""
    with at(platform, now_us() if time_us is None else time_us) as session:
        writer = session.writer(ORDER)
        record_event(writer, session.now_us(), "alice", kind, body)
        writer.seal(session.now_us())


def codes(platform: Platform, *acting: str) -> list[str]:
    report = platform(*acting, "verify", "--json", code=1).json
    return [each["code"] for each in report["findings"]]


def is_held(platform: Platform, native: str = "a.txt") -> bool:
    from scelle.cli.main import run

    platform.capsys.readouterr()
    return run(["may-delete", "docs", native]) == 3


def released(platform: Platform, *, undone: bool = False) -> str:
    """Let go of the order by two people; return the request."""
    platform("--as", "alice", "order", "lift", ORDER)
    request = str(platform("--as", "alice", "order", "release", ORDER, "--json").json["request"])
    platform("--as", "bob", "request", "approve", request)
    with at(platform, now_us() + 25 * HOUR_US, "alice") as session:
        (done,) = run_due(session)
        assert done.outcome["released"] is True
    if undone:
        platform("--as", "alice", "order", "undo-release", ORDER)
    return request


# --- requests that nobody made ---------------------------------------------------------------------------


@pytest.mark.parametrize("ready_us", [-1, 24 * HOUR_US])
def test_a_request_in_anothers_name_is_none(staffed: Platform, ready_us: int) -> None:
    with at(staffed, now_us()) as session:
        made_us = session.now_us()
        times = (made_us, made_us + ready_us, made_us + ready_us + DAY_US)
        forged = Request(
            "r00", Act.QUARANTINE, ORDER, {"items": [], "ground": "private"}, "alice", "x", *times
        )
        session.record(MADE, {"asked": forged.to_json(), "signature": "00" * 64})
    with at(staffed, now_us() + 26 * HOUR_US, "bob") as session, pytest.raises(RequestUnknown):
        approve(session, "r00")
    assert codes(staffed, "--as", "ada") == ["event.unread"]


def test_who_asks_cannot_shorten_his_own_cooling_off_time(staffed: Platform) -> None:
    request = ask_for(staffed)
    with at(staffed, now_us(), "alice") as session:
        key = session.operator_key
        assert key is not None
        made_us = session.now_us()
        short = replace(
            session.people.requests[request], id="r00", made_us=made_us, ready_us=made_us, expires_us=made_us + DAY_US
        )  # fmt: skip
        signature = key.sign(short.signed_text("platform.example/po/vault"))
        session.record(MADE, {"asked": short.to_json(), "signature": signature.hex()})
    assert "no request" in staffed("--as", "bob", "request", "approve", "r00", code=2).err


def test_a_request_of_somebody_whom_a_wall_shut_out_since_is_not_carried_out(staffed: Platform) -> None:
    staffed("--as", "erik", "preserve", ORDER)
    found = staffed("--as", "rita", "find", ORDER, 'source = "docs"', "--json").json["items"][0]["id"]
    request = staffed("--as", "alice", "quarantine", found, "--ground", "private", "--json").json["request"]
    staffed("--as", "bob", "order", "wall", ORDER, "--only", "bob", "carol")
    refused = staffed("--as", "bob", "request", "approve", request, code=2)
    assert "not cleared" in refused.err
    with at(staffed, now_us() + 25 * HOUR_US, "bob") as session:
        asked = find_request(session, request)
        with pytest.raises(RequestRefused, match="two people"):
            carry_out(session, asked)
    again = staffed("--as", "carol", "quarantine", found, "--ground", "private", "--json").json["request"]
    assert again != request, "one that nobody can approve keeps nobody from asking"


def test_nothing_is_carried_out_before_it_has_cooled_off_in_solo_mode_either(ordered: Platform) -> None:
    request = ordered("settings", "set", "grace", "1d", "--json").json["request"]
    with at(ordered, now_us()) as session:
        session.record(APPROVED, {"request": request, "operator": None, "signature": ""})
        with pytest.raises(RequestRefused, match="two people"):
            carry_out(session, find_request(session, request))
    with at(ordered, now_us() + 25 * HOUR_US) as session:
        assert run_due(session) == []
        assert approve(session, request).outcome["name"] == "grace"


def test_an_operator_of_an_order_is_not_let_in_by_people_whom_its_wall_shut_out(staffed: Platform) -> None:
    ask_for(staffed)  # the setup is over
    add = ("operator", "add", "dave", "--role", "reviewer", "--order", ORDER, "--json")
    request = staffed("--as", "alice", *add).json["request"]
    staffed("--as", "bob", "request", "approve", request)
    staffed("--as", "alice", "order", "wall", ORDER, "--only", "alice", "carol")
    with at(staffed, now_us() + 25 * HOUR_US, "alice") as session:
        assert run_due(session) == []
        assert "dave" not in session.people.operators


def test_whom_one_counsel_brought_in_alone_is_no_second_person_for_that_counsel(ordered: Platform) -> None:
    staff(ordered, alice="counsel")
    request = ask_for(ordered)
    answer = ordered("--as", "alice", "operator", "add", "puppet", "--role", "counsel")
    assert "add a third counsel" in answer.err
    refused = ordered("--as", "puppet", "request", "approve", request, code=2)
    assert "brought in by alice alone" in refused.err
    other = ask_for(ordered, "puppet", "2h")
    assert "puppet was brought in" in ordered("--as", "alice", "request", "approve", other, code=2).err
    ordered("--as", "alice", "operator", "add", "bob", "--role", "counsel")
    ordered("--as", "bob", "request", "approve", other)
    asked = ordered("--as", "alice", "operator", "add", "carol", "--role", "counsel", "--json").json
    assert asked["request"] is not None, "two can approve one another: the setup is over"


# --- events that nobody asked for ------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["unknown", "waiting", "another"])
def test_a_release_without_its_approved_request_lets_go_of_nothing(staffed: Platform, which: str) -> None:
    staffed("--as", "alice", "order", "lift", ORDER)
    request = "r00"
    if which == "waiting":
        request = staffed("--as", "alice", "order", "release", ORDER, "--json").json["request"]
    if which == "another":
        request = ask_for(staffed)
        staffed("--as", "bob", "request", "approve", request)
    forge(staffed, "released", {"request": request, "ground": "lifted"}, now_us() + 26 * HOUR_US)
    assert is_held(staffed)
    assert staffed("--as", "alice", "order", "show", ORDER, "--json").json["state"] == "lifted"
    with at(staffed, now_us() + 90 * DAY_US, "erik") as session:
        assert dispose_due(session) == []
        with pytest.raises(TransitionRefused, match="was not released"):
            dispose_due(session, ORDER)
        with pytest.raises(RequestRefused, match="no release that two people stand behind"):
            dispose(session, ORDER)
    assert codes(staffed, "--as", "ada") == ["event.unasked"]
    report = staffed("--as", "ada", "verify", "--json", code=1).json["findings"][0]
    assert "(released)" in report["subject"]
    assert f"order {ORDER}" in report["subject"]


def test_what_is_wrong_behind_a_wall_is_named_to_those_inside(staffed: Platform) -> None:
    secret_order(staffed, "alice", "bob")
    with at(staffed, now_us()) as session:
        writer = session.writer(SECRET)
        record_event(writer, session.now_us(), "x", "released", {"request": "r00", "ground": "lifted"})
        writer.seal(session.now_us())
    assert codes(staffed, "--as", "alice") == ["event.unasked"]
    outside = staffed("--as", "carol", "verify", "--json", code=1)
    assert SECRET not in outside.out
    assert [each["code"] for each in outside.json["findings"]] == ["elsewhere"]


def test_a_release_holds_before_it_cooled_off_and_counts_once(staffed: Platform) -> None:
    staffed("--as", "alice", "order", "lift", ORDER)
    request = staffed("--as", "alice", "order", "release", ORDER, "--json").json["request"]
    staffed("--as", "bob", "request", "approve", request)
    forge(staffed, "released", {"request": request, "ground": "lifted"})
    assert is_held(staffed), "two people stand behind it, and it has not cooled off"


def test_a_release_that_was_undone_is_not_released_again_by_its_old_request(staffed: Platform) -> None:
    request = released(staffed, undone=True)
    (event,) = [each for each in _events(staffed) if each["kind"] == "released"]
    forge(staffed, "released", {"request": request, "ground": "lifted"}, event["time_us"])
    forge(staffed, "disposed", {"request": request})
    assert is_held(staffed)
    assert codes(staffed, "--as", "ada") == ["event.unasked", "event.unasked"]


def _events(platform: Platform) -> list[dict[str, Any]]:
    with opened(platform.vault, KeyChoice(key_file=platform.root / "keys"), writing=False) as session:
        return [{"kind": each.kind, "time_us": each.time_us} for each in events(session.ledger(ORDER))]


def test_a_guard_that_goes_on_follows_a_true_release_and_no_other(staffed: Platform) -> None:
    keys = KeyChoice(key_file=staffed.root / "keys")
    with opened(staffed.vault, keys, writing=False) as session, VaultGuard(session) as guard:
        assert guard.decide("docs", b"a.txt").held
        forge(staffed, "released", {"request": "r00", "ground": "lifted"})
        assert guard.decide("docs", b"a.txt").held
        released(staffed)
        assert not guard.decide("docs", b"a.txt").held


def test_clauses_that_two_people_did_not_change_go_on_growing(growing: Platform) -> None:
    narrower: dict[str, Any] = {
        "id": "users",
        "sources": ["posts"],
        "accounts": ["u9"],
        "custodians": [],
        "from_us": None,
    }
    narrower |= {"to_us": None, "keep": "content", "media_types": [], "paths": [], "restricted": False}
    body: dict[str, Any] = {"clauses": [], "stopped": [], "reference": None, "diff": {}, "document": None}
    before = growing("order", "show", ORDER, "--json").json["clauses"]
    forge(growing, "clause.stopped", {"id": "sub"})
    forge(growing, "amended", {**body, "act": "add-clause", "stopped": ["sub"], "request": None})
    forge(growing, "clause", narrower)
    forge(
        growing, "clause", {**narrower, "id": "out", "sources": ["docs"], "accounts": [], "carve_out": True}
    )
    forge(growing, "amended", {**body, "act": "narrow", "request": "r00"})
    assert growing("order", "show", ORDER, "--json").json["clauses"] == before
    report = growing("verify", "--json", code=1).json
    assert [each["code"] for each in report["findings"]] == ["event.unasked"]
    assert [each["code"] for each in report["remarks"] if each["code"].startswith("event")] == [
        "event.unfinished"
    ] * 3


def test_an_amendment_that_two_people_signed_brings_in_its_own_clauses_only(growing: Platform) -> None:
    path = file(growing, '[amendment]\nstop = ["sub"]\n')
    request = growing("order", "narrow", ORDER, "--file", path, "--json").json["request"]
    forge(growing, "clause.stopped", {"id": "users"})
    with at(growing, now_us() + 25 * HOUR_US) as session:
        assert approve(session, request).outcome["sealed"] is True
        assert [each.id for each in sealed_order(session.ledger(ORDER)).clauses] == ["users"]
    with at(growing, now_us() + 25 * HOUR_US) as session:
        assert [each.id for each in sealed_order(session.ledger(ORDER)).clauses] == ["users"]


def test_nothing_leaves_quarantine_without_two_people(sealed: Platform) -> None:
    found = item(sealed, "secret.txt")
    sealed("request", "approve", sealed("quarantine", found, "--ground", "private", "--json").json["request"])
    forge(sealed, "quarantine.lifted", {"items": [found], "places": {found: []}, "request": None})
    forge(sealed, "quarantine.lifted", {"items": [found], "places": {found: []}, "request": "r00"})
    assert sealed("quarantine", "--list", ORDER, "--json").json["items"][0]["item"] == found
    assert sealed("find", ORDER, 'native = "secret.txt"', "--json").json["items"] == []
    lift = sealed("quarantine", found, "--lift", "--json").json["request"]
    sealed("request", "approve", lift)
    assert item(sealed, "secret.txt") == found


def test_nothing_restricted_is_opened_by_a_grant_that_nobody_asked_for(shut: Platform, clock: Clock) -> None:
    people = holders(shut)
    shut("preserve", ORDER)
    found = item_of(shut)
    reader = str(people["rita"].to_public())
    ask_open = ("restricted", "open", found, "--purpose", "court-order", "--case", "1", "--reader", reader)
    request = shut(*ask_open, "--json").json["request"]
    body = shut("request", "show", request, "--json").json["asked"]
    with opened(shut.vault, KeyChoice(key_file=shut.root / "keys"), writing=True) as session:
        grant = {**body, "request": request, "order": ORDER, "people": [], "export": False}
        session.record("restricted.granted", {**grant, "until_us": str(session.now_us() + HOUR_US)})
    share = ("restricted", "share", request, "--identity", shut.root / "remy.txt", "--to", shut.root / "s")
    assert "no grant" in shut(*share, code=2).err
    assert "event.unasked" in codes(shut)
    clock.move(25 * 3600)
    shut("request", "approve", request)
    shut(*share)


# --- the clock set back ----------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_revives_no_request(staffed: Platform) -> None:
    request, start_us = ask_for(staffed), now_us()
    with at(staffed, start_us + 20 * DAY_US, "carol") as session:
        session.record("note", {"text": "x", "about": None})
    with at(staffed, start_us + 2 * DAY_US, "carol") as session:
        session.record("note", {"text": "another, which says that it is early again", "about": None})
    with at(staffed, start_us + 2 * DAY_US, "bob") as session, pytest.raises(RequestRefused, match="expired"):
        approve(session, request)
    later = ask_for(staffed, value="3h")
    assert staffed("--as", "bob", "request", "approve", later, "--json").json["state"] == "approved"


def test_a_clock_that_is_set_back_revives_no_grant(shut: Platform, clock: Clock) -> None:
    people = holders(shut)
    shut("preserve", ORDER)
    ask_open = ("restricted", "open", item_of(shut), "--purpose", "court-order", "--case", "1")
    request = shut(*ask_open, "--reader", str(people["rita"].to_public()), "--json").json["request"]
    clock.move(25 * 3600)
    shut("request", "approve", request)
    share = ("restricted", "share", request, "--identity", shut.root / "remy.txt", "--to", shut.root / "s")
    clock.move(1200)
    assert "ended" in shut(*share, code=2).err
    clock.move(-1100)
    assert "ended" in shut(*share, code=2).err


# --- crashes, damage, names ------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["approve", "remove"])
def test_what_the_vaults_log_committed_counts_at_once_after_a_crash(
    staffed: Platform, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    request = ask_for(staffed)
    with at(staffed, now_us(), "bob") as session:
        with monkeypatch.context() as patch:
            patch.setattr(LogWriter, "_complete", _killed)  # behind the commit point
            with pytest.raises(_Killed):
                _ = approve(session, request) if act == "approve" else remove_operator(session, "carol")
        session._ledgers.clear()
    if act == "remove":
        assert "was removed" in staffed("--as", "carol", "note", "add", "x", code=2).err
    else:
        staffed("--as", "carol", "order", "lapses")
        assert staffed("--as", "carol", "request", "show", request, "--json").json["state"] == "approved"
    staffed("--as", "ada", "verify")


class _Killed(BaseException):
    """The process ends here."""


def _killed(writer: LogWriter) -> None:
    raise _Killed


def test_an_event_that_cannot_be_read_bricks_nothing_and_is_a_finding(staffed: Platform) -> None:
    request = ask_for(staffed)
    with at(staffed, now_us()) as session:
        session.record(APPROVED, {"request": request, "operator": "bob", "signature": "zz"})
        session.record("restricted.granted", {"request": request})
        session.record("note", {"age": "zz"})
    assert staffed("--as", "alice", "status").out
    assert staffed("--as", "alice", "note", "list").code == 0
    assert is_held(staffed)
    found = staffed("--as", "ada", "verify", "--json", code=1).json["findings"]
    assert sorted(each["code"] for each in found) == ["event.unasked", "event.unread"]
    staffed("--as", "bob", "request", "approve", request)


def test_an_order_that_is_named_like_a_word_hides_that_order_alone(staffed: Platform) -> None:
    terms = {"id": '"release"', "matter": '"m2"', "reference": '"P-18"'}
    staffed("--as", "alice", "order", "add", staffed.order_file("second.toml", **terms))
    staffed("--as", "alice", "order", "wall", "release", "--only", "alice", "bob")
    staffed("--as", "alice", "order", "lift", ORDER)
    request = staffed("--as", "alice", "order", "release", ORDER, "--json").json["request"]
    hidden = staffed("--as", "alice", "order", "lift", "release")
    assert hidden.code == 0
    staffed("--as", "alice", "order", "release", "release")
    staffed("--as", "erik", "request", "approve", request, code=2)
    listed = staffed("--as", "ada", "operator", "log", "--json").json["events"]
    made = [each["body"]["asked"]["order"] for each in listed if each["kind"] == "request.made"]
    assert made == [ORDER]
    assert [each for each in listed if each["kind"] == "refused"]
    assert not any(each["body"].get("order") == "release" for each in listed)
    with at(staffed, now_us()) as session:
        writer = session.writer(ORDER)
        record_event(writer, session.now_us(), "x", "released", {"request": "release", "ground": "x"})
        writer.seal(session.now_us())
    found = staffed("--as", "ada", "verify", "--json", code=1).json["findings"]
    assert "elsewhere" not in {each["code"] for each in found}


# --- what came of it -------------------------------------------------------------------------------------


def test_what_did_not_happen_is_not_sealed_as_done(staffed: Platform) -> None:
    staffed("--as", "alice", "order", "wall", ORDER, "--only", "alice", "bob", "carol")
    admit = staffed("--as", "alice", "order", "admit", ORDER, "erik", "--json").json["request"]
    add = staffed("--as", "alice", "operator", "add", "dora", "--role", "reviewer", "--json").json["request"]
    for request in (admit, add):
        staffed("--as", "bob", "request", "approve", request)
    staffed("--as", "carol", "operator", "remove", "erik")
    with at(staffed, now_us() + 25 * HOUR_US, "alice") as session:
        outcomes = {each.act: each.outcome for each in run_due(session)}
        assert outcomes[Act.WALL_ADMIT] == {"admitted": False, "why": "erik is no operator any more"}
        assert outcomes[Act.OPERATOR_ADD] == {"added": "dora"}
    with at(staffed, now_us() + 26 * HOUR_US, "alice") as session:
        remove_operator(session, "dora")
        assert execute_operator_add(session, session.people.requests[add])["added"] is False


def test_the_same_amendment_with_the_same_letter_is_one_request(growing: Platform) -> None:
    (growing.root / "l.pdf").write_bytes(b"a letter")
    path = file(growing, '[amendment]\ndocument = "l.pdf"\nstop = ["sub"]\n')
    first = growing("order", "narrow", ORDER, "--file", path, "--json").json["request"]
    size = growing("order", "show", ORDER, "--json").json["log"]["size"]
    assert growing("order", "narrow", ORDER, "--file", path, "--json").json["request"] == first
    assert growing("order", "show", ORDER, "--json").json["log"]["size"] == size
    (growing.root / "l.pdf").write_bytes(b"another letter")
    assert growing("order", "narrow", ORDER, "--file", path, "--json").json["request"] != first


def test_the_same_erasure_with_the_same_letter_is_one_request(sealed: Platform) -> None:
    found = item(sealed, "secret.txt")
    first = ask_erasure(sealed, found).json["request"]
    assert ask_erasure(sealed, found).json["request"] == first


def test_a_restricted_reviewer_asks_for_what_is_restricted_and_leaves_nothing_else(sealed: Platform) -> None:
    staff(sealed, alice="counsel", bob="counsel", rick="restricted-reviewer")
    before = sealed("--as", "alice", "order", "show", ORDER, "--json").json["log"]["size"]
    erase = ("erase-records", ORDER, "s0001:0", "--basis", "letter", "--ground", "x")
    sealed("--as", "rick", *erase, "--document", letter(sealed), code=2)
    sealed("--as", "rick", "consent-request", ORDER, "s0001:0", "--ground", "x", "--to", "c.json", code=2)
    sealed("--as", "rick", "order", "release", ORDER, "--dry-run", code=2)
    sealed("--as", "rick", "note", "add", "a mild note", code=2)
    sealed("--as", "rick", "note", "add", "a mild note", "--about", ORDER, code=2)
    assert sealed("--as", "alice", "order", "show", ORDER, "--json").json["log"]["size"] == before
    assert vault_events(sealed, "note") == []


def test_an_erasure_that_has_begun_is_finished_though_its_request_expired(
    sealed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask_erasure(sealed, item(sealed, "secret.txt")).json["request"]
    waiting = ask_erasure(sealed, item(sealed, "a.txt")).json["request"]
    with monkeypatch.context() as patch:
        patch.setattr("scelle.bootstrap.erasing_records.destroy_contents", _cut)
        keys = KeyChoice(key_file=sealed.root / "keys")
        with (
            pytest.raises(_Killed),
            opened(sealed.vault, keys, writing=True, acting_as=ActingAs()) as session,
        ):
            approve(session, request)
    assert (sealed.vault / "po" / ORDER / "erasing").exists()
    with at(sealed, now_us() + 40 * DAY_US) as session:
        assert describe(session, session.people.requests[request])["state"] == "expired"
        assert [(each.id, each.outcome["contents"]) for each in run_due(session)] == [(request, 1)]
        assert describe(session, session.people.requests[waiting])["state"] == "expired"
    assert not (sealed.vault / "po" / ORDER / "erasing").exists()
    sealed("verify")


def _cut(*arguments: object) -> None:
    raise _Killed


def test_asking_again_after_an_end_gives_a_new_request(staffed: Platform) -> None:
    with at(staffed, now_us(), "alice") as session:
        first = ask(session, Act.SETTING, None, {"name": "grace", "value_us": "0"}, "setting")
        assert _asked_again(session).id == first.id
    with at(staffed, now_us() + 30 * DAY_US, "alice") as session:
        assert _asked_again(session).id != first.id


def _asked_again(session: Session) -> Request:
    return ask(session, Act.SETTING, None, {"name": "grace", "value_us": "0"}, "setting")
