"""Two people and the walls, through the command line."""

import json
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scelle.bootstrap import KeyChoice, Session, now_us, opened
from scelle.bootstrap.acting import ActingAs
from scelle.bootstrap.requests import approve, ask, describe, find_request, run_due
from scelle.errors import AuthorityError, InputError
from scelle.ledger.events import events
from scelle.operators.requests import Act

from .conftest import ORDER, Answer, Platform, Terminal

HOUR_US = 3_600_000_000
SECRET = "fr-2026-17"
ADMIT = ("order", "admit", SECRET)


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text


def staff(platform: Platform, **roles: str) -> None:
    for name, role in roles.items():
        platform("operator", "add", name, "--role", role)


def secret_order(platform: Platform, *inside: str) -> None:
    """Take a second, secret order in, over the same documents, and build a wall around it."""
    platform.clauses = ['[[clause]]\nid = "secret"\nsources = ["docs"]\npaths = ["sub/*"]\n']
    terms = {"id": f'"{SECRET}"', "matter": '"m2"', "authority": '"Parquet"', "reference": '"P-17"'}
    name = inside[0]
    platform("--as", name, "order", "add", platform.order_file("second.toml", **terms))
    platform("--as", name, "order", "wall", SECRET, "--only", *inside)


@contextmanager
def at(platform: Platform, time_us: int, name: str | None = None) -> Iterator[Session]:
    """Open the vault as if it were that moment, as an operator."""
    keys = KeyChoice(key_file=platform.root / "keys")
    who = ActingAs(name)
    with opened(platform.vault, keys, writing=True, acting_as=who, clock=lambda: time_us) as session:
        yield session


def vault_events(platform: Platform, *kinds: str) -> list[dict[str, Any]]:
    with opened(platform.vault, KeyChoice(key_file=platform.root / "keys"), writing=False) as session:
        return [dict(event.body) for event in events(session.ledger("vault"), *kinds)]


def tells_nothing(answer: Answer) -> bool:
    said = answer.out + answer.err
    return SECRET not in said and "Parquet" not in said and "P-17" not in said


@pytest.fixture
def staffed(ordered: Platform) -> Platform:
    staff(ordered, alice="counsel", bob="counsel", carol="counsel", erik="engineer", rita="reviewer")
    staff(ordered, ada="auditor", paula="privacy")
    return ordered


# --- operators -------------------------------------------------------------------------------------------


def test_adding_an_operator_writes_a_key_file_beside_the_vaults_and_prints_its_path(
    platform: Platform,
) -> None:
    answer = platform("operator", "add", "alice", "--role", "counsel")
    path = Path(answer.out.strip())
    assert path.parent == platform.root / "keys"
    assert re.fullmatch(r"[0-9a-f]{32}\.operator\.alice\.key", path.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert answer.err.count("\n") == 1
    assert "no passphrase" in answer.err
    found = platform("operator", "list", "--json").json
    assert [(each["name"], each["role"]) for each in found["operators"]] == [("alice", "counsel")]
    assert found["solo"] is False


@pytest.mark.parametrize("name", ["", "../x", "Alice", "a b"])
def test_a_wrong_name_is_refused_and_nothing_is_written(platform: Platform, name: str) -> None:
    before = sorted(path.name for path in (platform.root / "keys").iterdir())
    assert one_line(platform("operator", "add", name, "--role", "counsel", code=2).err)
    assert one_line(platform("operator", "add", "alice", "--role", "king", code=2).err)
    assert sorted(path.name for path in (platform.root / "keys").iterdir()) == before


def test_a_key_under_a_passphrase_is_used_with_it_only(
    ordered: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEW", "a long and mild passphrase")
    answer = ordered("operator", "add", "alice", "--role", "counsel", "--operator-passphrase", "env:NEW")
    assert "no passphrase" not in answer.err
    assert ordered("--as", "alice", "status", "--json", code=2).out == ""
    shown = ordered("status", "--json", "--as", "alice", "--operator-passphrase", "env:NEW").json
    assert [order["id"] for order in shown["orders"]] == [ORDER]
    monkeypatch.setenv("SCELLE_OPERATOR_PASSPHRASE_FROM", "env:NEW")
    monkeypatch.setenv("SCELLE_OPERATOR_KEY", answer.out.strip())
    assert ordered("status", "--json").json["operator"] == "alice"
    monkeypatch.setenv("NEW", "another long passphrase")
    assert "wrong passphrase" in ordered("status", code=2).err


def test_a_key_that_its_owner_made_is_added_by_its_public_half(
    staffed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = staffed.root / "dora.key"
    public = staffed("operator", "key", "dora", "--to", own).out.strip()
    inside = staffed("operator", "key", "dora", "--to", staffed.vault / "dora.key", code=2)
    assert "inside the vault" in inside.err
    staffed("operator", "add", "eve", "--role", "reviewer", "--public", public, code=2)
    staffed("operator", "add", "dora", "--role", "reviewer", "--public", public)
    monkeypatch.setenv("SCELLE_OPERATOR_KEY", str(own))
    assert staffed("status", "--json").json["operator"] == "dora"
    staffed("operator", "add", "twin", "--role", "reviewer", "--public", public, code=2)


def test_as_needs_a_name_a_key_and_the_key_of_that_name(
    staffed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (("--as", "nobody", "status"), ("status", "--as"), ("--as=", "status")):
        assert one_line(staffed(*arguments, code=2).err)
    assert one_line(staffed("--as", "alice", "--as", "bob", "status", code=2).err)
    key = next((staffed.root / "keys").glob("*.operator.bob.key"))
    monkeypatch.setenv("SCELLE_OPERATOR_KEY", str(key))
    assert "is the key of bob" in staffed("--as", "alice", "status", code=2).err
    key.chmod(0o644)
    assert "chmod 600" in staffed("status", code=2).err


def test_after_the_setup_adding_takes_two(staffed: Platform) -> None:
    staffed("--as", "alice", "operator", "remove", "carol")
    assert "give --as NAME" in staffed("operator", "add", "dora", "--role", "counsel", code=2).err
    staffed("--as", "erik", "operator", "add", "dora", "--role", "counsel", code=2)
    asked = staffed("--as", "alice", "operator", "add", "dora", "--role", "counsel", "--json").json
    assert Path(asked["key_file"]).exists()
    assert "none of this vault" in staffed("--as", "dora", "status", code=2).err
    staffed("--as", "bob", "request", "approve", asked["request"])
    with at(staffed, now_us() + 25 * HOUR_US, "alice") as session:
        assert [each.act for each in run_due(session)] == [Act.OPERATOR_ADD]
        assert "dora" in session.people.operators
        assert "carol" not in session.people.operators


def test_a_removed_operator_does_nothing_and_that_he_tried_is_sealed(staffed: Platform) -> None:
    staffed("--as", "alice", "operator", "remove", "carol", "--note", "left the company")
    assert "was removed" in staffed("--as", "carol", "status", code=2).err
    staffed("--as", "carol", "preview", ORDER, code=2)
    assert [body["what"] for body in vault_events(staffed, "refused")] == ["act as carol"]


def test_the_last_counsel_is_not_removed_and_the_last_but_one_with_a_warning(
    ordered: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    staff(ordered, alice="counsel", bob="counsel", erik="engineer")
    ordered("--as", "erik", "operator", "remove", "bob", code=2)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Terminal("n\n"))
        said = ordered("--as", "alice", "operator", "remove", "bob", code=2).err
    assert "one counsel would be left" in said
    assert "not confirmed" in said
    assert vault_events(ordered, "operator.removed") == []
    assert "one counsel would be left" in ordered("--as", "alice", "operator", "remove", "bob").err
    assert "only counsel" in ordered("--as", "alice", "operator", "remove", "alice", code=2).err


# --- requests --------------------------------------------------------------------------------------------


def ask_for(platform: Platform, name: str = "alice", value: str = "1h") -> str:
    """Ask for a shorter cooling-off time, as an example of what loosens."""
    return str(platform("--as", name, "settings", "set", "cooling-off", value, "--json").json["request"])


def test_two_people_loosen_and_one_does_not(staffed: Platform) -> None:
    request = ask_for(staffed)
    assert "another person must" in staffed("--as", "alice", "request", "approve", request, code=2).err
    assert staffed("--as", "erik", "request", "approve", request, code=2).code == 2
    assert staffed("request", "approve", request, code=2).code == 2
    approved = staffed("--as", "bob", "request", "approve", request, "--json").json
    assert (approved["state"], approved["solo"]) == ("approved", False)
    assert staffed("settings", "show", "--json").json["settings"]["cooling-off"] == "1d"
    assert staffed("--as", "bob", "request", "run").out == "nothing is due\n"
    with at(staffed, now_us() + 25 * HOUR_US, "bob") as session:
        (done,) = run_due(session)
        assert describe(session, done)["state"] == "executed"
        assert run_due(session) == []
        with pytest.raises(AuthorityError, match="executed"):
            approve(session, request)
        assert session.setting_us("cooling-off") == HOUR_US
    shown = staffed("--as", "ada", "request", "show", request, "--json").json
    assert [each["operator"] for each in shown["approvals"]] == ["bob"]


def test_what_has_cooled_off_is_carried_out_with_its_approval(platform: Platform) -> None:
    vault = platform.root / "second"
    platform("init", vault, "--host", "platform.example", "--cooling-off", "0s", "--grace", "7d")
    platform("source", "add", "docs", f"files://{platform.docs}", "--vault", vault)
    platform("order", "add", platform.order_file(), "--vault", vault)
    for name in ("alice", "bob"):
        platform("operator", "add", name, "--role", "counsel", "--vault", vault)
    shown = platform("settings", "show", "--json", "--vault", vault).json["settings"]
    assert (shown["cooling-off"], shown["grace"], shown["review-every"]) == ("0s", "7d", "90d")
    asked = platform("--as", "alice", "settings", "set", "grace", "1d", "--vault", vault, "--json").json
    done = platform("--as", "bob", "request", "approve", asked["request"], "--vault", vault, "--json").json
    assert (done["state"], done["outcome"]["name"]) == ("executed", "grace")
    assert platform("settings", "show", "--json", "--vault", vault).json["settings"]["grace"] == "1d"


def test_who_was_removed_between_the_two_signatures_leaves_the_request_waiting(staffed: Platform) -> None:
    request = ask_for(staffed)
    staffed("--as", "bob", "request", "approve", request)
    staffed("--as", "carol", "operator", "remove", "bob")
    assert staffed("--as", "alice", "request", "show", request, "--json").json["state"] == "waiting"
    with at(staffed, now_us() + 25 * HOUR_US, "alice") as session:
        assert run_due(session) == []
    staffed("--as", "carol", "request", "approve", request)
    with at(staffed, now_us() + 26 * HOUR_US, "alice") as session:
        assert len(run_due(session)) == 1


def test_a_request_is_asked_for_once_withdrawn_and_expires(staffed: Platform) -> None:
    first = ask_for(staffed)
    assert ask_for(staffed, "bob") == first
    other = ask_for(staffed, value="2h")
    staffed("--as", "erik", "request", "withdraw", first, code=2)
    assert staffed("--as", "bob", "request", "withdraw", first, "--json").json["state"] == "withdrawn"
    assert "withdrawn" in staffed("--as", "bob", "request", "approve", first, code=2).err
    with at(staffed, now_us() + 16 * 24 * HOUR_US, "bob") as session:
        assert describe(session, find_request(session, other))["state"] == "expired"
        with pytest.raises(AuthorityError, match="expired"):
            approve(session, other)
    listed = staffed("--as", "ada", "request", "list", "--json").json["requests"]
    assert [each["request"] for each in listed] == [first, other]
    assert staffed("--as", "bob", "request", "show", "r0", code=2).code == 2


def test_an_approval_replayed_on_another_request_does_not_count(staffed: Platform) -> None:
    first, other = ask_for(staffed), ask_for(staffed, value="2h")
    staffed("--as", "bob", "request", "approve", first)
    (sealed,) = vault_events(staffed, "request.approved")
    with at(staffed, now_us()) as session:
        session.record("request.approved", {**sealed, "request": other})
        assert find_request_state(session, other) == "waiting"
        assert find_request_state(session, first) == "approved"


def find_request_state(session: Session, request_id: str) -> str:
    return str(describe(session, session.people.requests[request_id])["state"])


def test_who_has_the_vaults_key_and_no_operators_appends_himself_in_vain(staffed: Platform) -> None:
    ask_for(staffed)
    mallory = staffed.root / "mallory.key"
    staffed("operator", "key", "mallory", "--to", mallory)
    with at(staffed, now_us()) as session:
        (added,) = [body for body in vault_events(staffed, "operator.added") if body["name"] == "alice"]
        session.record("operator.added", {**added, "name": "mallory"})
        session.record("setting", {"name": "cooling-off", "value_us": "0", "request": None})
        assert "mallory" not in session.people.operators
        assert session.setting_us("cooling-off") == 24 * HOUR_US


def test_an_executor_that_fails_leaves_the_request_approved_and_keeps_no_other_from_its_turn(
    staffed: Platform,
) -> None:
    for value in ("1h", "2h"):
        request = ask_for(staffed, value=value)
        staffed("--as", "bob", "request", "approve", request)
    with at(staffed, now_us(), "alice") as session:
        made = ask(session, Act.DISPOSE_EARLY, ORDER, {"record": "nothing"}, "test")
    with at(staffed, now_us(), "bob") as session:
        approve(session, made.id)
    with at(staffed, now_us() + 25 * HOUR_US, "bob") as session:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("scelle.bootstrap.requests.EXECUTORS", _failing())
            assert len(run_due(session)) == 2
        assert "cannot be carried out" in session.warnings[-1]
        assert find_request_state(session, made.id) == "approved"


def _failing() -> dict[Act, str]:
    return {
        Act.SETTING: "scelle.bootstrap.operators:execute_setting",
        Act.DISPOSE_EARLY: f"{__name__}:fail",
    }


def fail(session: Session, request: object) -> dict[str, Any]:
    raise InputError("it is not there any more")


# --- solo mode -------------------------------------------------------------------------------------------


def test_in_solo_mode_a_second_confirmation_is_taken_after_the_cooling_off_time(ordered: Platform) -> None:
    asked = ordered("settings", "set", "cooling-off", "1h", "--json").json
    assert "solo mode" in ordered("status").out
    assert ordered("status", "--json").json["solo"] is True
    assert "solo mode" in ordered("request", "list").out
    early = ordered("request", "approve", asked["request"], code=2)
    assert re.search(r"from 20\d\d-\d\d-\d\dT", early.err)
    with at(ordered, now_us() + 25 * HOUR_US) as session:
        approve(session, asked["request"])
        assert session.setting_us("cooling-off") == HOUR_US


def test_what_was_asked_in_solo_mode_is_asked_again_once_there_are_operators(ordered: Platform) -> None:
    asked = ordered("settings", "set", "cooling-off", "1h", "--json").json
    staff(ordered, alice="counsel", bob="counsel")
    answer = ordered("--as", "bob", "request", "approve", asked["request"], code=2)
    assert "ask again" in answer.err


# --- roles -----------------------------------------------------------------------------------------------

COMMANDS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "find": (("find", ORDER, 'source = "docs"'), {"alice", "rita"}),
    "preview": (("preview", ORDER), {"alice", "erik"}),
    "source": (("source", "add", "more", "files:///usr/share/nothing-there"), {"alice", "erik"}),
    "failed": (("status", ORDER, "--items", "failed"), {"alice", "erik", "rita"}),
    "status": (("status", ORDER), {"alice", "erik", "rita", "ada", "paula"}),
    "order": (("order", "show", ORDER), {"alice", "erik", "rita", "ada", "paula"}),
    "settings": (("settings", "set", "cooling-off", "25h"), {"alice"}),
    "wall": (("order", "wall", ORDER, "--only", "alice"), {"alice"}),
    "note": (("note", "add", "a mild note"), {"alice"}),
    "notes": (("note", "list"), {"alice"}),
    "log": (("operator", "log"), {"alice", "erik", "rita", "ada", "paula"}),
    "rebuild": (("rebuild-catalog",), {"alice", "erik"}),
    "remove": (("operator", "remove", "erik"), {"alice"}),
}


def test_what_each_role_may_run(staffed: Platform) -> None:
    staffed("--as", "erik", "preserve", ORDER)
    for command, (arguments, allowed) in COMMANDS.items():
        for name in ("paula", "ada", "rita", "erik", "alice"):
            answer = staffed("--as", name, *arguments, code=_code(command, name in allowed))
            assert name in allowed or "who may not" in answer.err, (command, name, answer.err)


def _code(command: str, is_allowed: bool) -> int:
    return 2 if not is_allowed else 4 if command == "source" else 0


def test_refusals_and_reads_are_sealed_and_shown_to_the_auditor(staffed: Platform) -> None:
    staffed("--as", "erik", "preserve", ORDER)
    staffed("--as", "ada", "preview", ORDER, code=2)
    staffed("--as", "rita", "find", ORDER, 'source = "docs"')
    assert vault_events(staffed, "access") == []
    staffed("--as", "erik", "preview", ORDER)
    (read,) = vault_events(staffed, "access")
    assert (read["order"], read["what"], read["matches"]) == (ORDER, "find", 2)
    shown = staffed("--as", "ada", "operator", "log", "--json").json["events"]
    kinds = [(each["kind"], each["by"]) for each in shown if each["kind"] in ("access", "refused")]
    assert kinds == [("refused", "operator:ada"), ("access", "operator:rita")]
    assert not list((staffed.vault / "spool" / "reads").iterdir())
    assert staffed("verify", "--json").json["valid"] is True


def test_an_order_says_who_acted(staffed: Platform) -> None:
    staffed("--as", "erik", "preserve", ORDER)
    shown = staffed("--as", "ada", "order", "show", ORDER, "--json").json["events"]
    assert {each["actor"] for each in shown if each["kind"] == "pass"} == {"operator:erik"}


# --- walls -----------------------------------------------------------------------------------------------

OUTSIDE: list[tuple[str, ...]] = [
    ("status",),
    ("status", "--json"),
    ("order", "list", "--json"),
    ("order", "deadlines", "--json"),
    ("source", "list", "--json"),
    ("operator", "list", "--json"),
    ("operator", "log", "--json"),
    ("request", "list", "--json"),
    ("settings", "show", "--json"),
    ("verify", "--json"),
    ("verify",),
    ("may-delete", "docs", "nothing.txt", "--json"),
    ("rebuild-catalog", "--json"),
]
ABOUT: list[tuple[str, ...]] = [
    ("order", "show", "{}"),
    ("status", "{}"),
    ("status", "{}", "--items", "failed"),
    ("preview", "{}"),
    ("preserve", "{}"),
    ("find", "{}", 'source = "docs"'),
    ("order", "trust", "{}", "--to", "t.json"),
    ("order", "timestamp", "{}"),
    ("order", "escrow", "{}", "--to", "."),
    ("order", "wall", "{}", "--only", "carol"),
    ("order", "admit", "{}", "carol"),
    ("order", "lift", "{}"),
    ("order", "release", "{}"),
    ("order", "extend", "{}", "--until", "2027-12-31"),
    ("produce", "{}", "--source", "docs", "--to", "p.scelle"),
    ("disclose", "{}", "s0001:0", "--to", "d.proof"),
    ("audit-stream", "{}", "--to", "s.audit"),
    ("git", "restore", "{}", "code", "--to", "r.git"),
    ("recover", "{}"),
    ("verify", "--order", "{}"),
    ("operator", "add", "dora", "--role", "reviewer", "--order", "{}"),
]


def neutral(answer: Answer, order: str) -> tuple[int, str, str]:
    """Return an answer without what differs from run to run: the id that was asked for, seconds, ids, times."""
    said = [text.replace(order, "ORDER") for text in (answer.out, answer.err)]
    said = [
        re.sub(r'"seconds": [0-9.]+|read in [0-9.]+ s|20\d\d-\d\d-\d\dT[0-9:.]+Z?', "*", text)
        for text in said
    ]
    return (answer.code, *said)  # type: ignore[return-value]


def any_code(platform: Platform, *arguments: str) -> Answer:
    for code in (2, 0, 1, 3, 4):
        try:
            return platform(*arguments, code=code)
        except AssertionError as error:
            found = re.search(r"\), (\d+), ", str(error))
            if found is None or int(found[1]) == code:
                raise
            return platform(*arguments, code=int(found[1]))
    raise AssertionError(arguments)


@pytest.mark.parametrize("name", ["carol", None])
def test_an_order_behind_a_wall_is_as_one_that_is_not_there(
    staffed: Platform, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(staffed.root)
    who = () if name is None else ("--as", name)
    staffed("--as", "erik", "preserve", ORDER)
    staffed("--as", "alice", "settings", "set", "cooling-off", "25h")
    before = {each: neutral(any_code(staffed, *who, *each), SECRET) for each in OUTSIDE}
    secret_order(staffed, "alice", "bob")
    staffed("--as", "alice", "preserve", SECRET)
    staffed("--as", "alice", *ADMIT, "erik")
    for each in OUTSIDE:
        answer = any_code(staffed, *who, *each)
        assert tells_nothing(answer), each
        assert neutral(answer, SECRET) == before[each], each
    for each in ABOUT:
        secret = any_code(staffed, *who, *(word.format(SECRET) for word in each))
        absent = any_code(staffed, *who, *(word.format("fr-2026-18") for word in each))
        assert neutral(secret, SECRET) == neutral(absent, "fr-2026-18"), each
        assert secret.code == 2, each
    inside = staffed("--as", "bob", "status", "--json").json
    assert [order["id"] for order in inside["orders"]] == [ORDER, SECRET]


def test_a_source_that_a_secret_order_names_is_held_by_a_reference_only(staffed: Platform) -> None:
    staffed("source", "add", "mail", f"files://{staffed.docs}/sub", "--as", "erik")
    secret_order(staffed, "alice", "bob")
    terms = {"id": '"third"', "matter": '"m3"'}
    staffed.clauses = ['[[clause]]\nid = "c"\nsources = ["mail"]\n']
    staffed("--as", "alice", "order", "add", staffed.order_file("third.toml", **terms))
    staffed("--as", "alice", "order", "wall", "third", "--only", "alice", "bob")
    answer = staffed("--as", "erik", "source", "remove", "mail", code=3)
    assert re.search(r"held, ref [0-9a-f]+", answer.err)
    assert "third" not in answer.err
    assert "clause of order third" in staffed("--as", "bob", "source", "remove", "mail", code=3).err
    both = staffed("--as", "erik", "source", "remove", "docs", code=3)
    assert f"clause of order {ORDER}" in both.err


def test_a_fault_behind_a_wall_is_told_to_everybody_and_named_to_those_inside(staffed: Platform) -> None:
    secret_order(staffed, "alice", "bob")
    staffed("--as", "alice", "preserve", SECRET)
    checkpoint = staffed.vault / "po" / SECRET / "log" / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-3])
    for who in ((), ("--as", "carol")):
        outside = staffed(*who, "verify", "--json", code=1)
        assert tells_nothing(outside)
        assert [each["code"] for each in outside.json["findings"]] == ["elsewhere"]
    assert SECRET in staffed("--as", "bob", "verify", "--json", code=1).out
    source = any_code(staffed, "--as", "erik", "source", "remove", "docs")
    assert tells_nothing(source)


def test_an_id_behind_a_wall_cannot_be_taken_again_and_is_not_confirmed(staffed: Platform) -> None:
    secret_order(staffed, "alice", "bob")
    again = staffed("--as", "carol", "order", "add", staffed.root / "second.toml", code=2)
    assert "is there already" not in again.err
    assert "order show" not in again.err


def test_letting_somebody_through_a_wall_takes_two(staffed: Platform) -> None:
    secret_order(staffed, "alice", "bob")
    staffed("--as", "carol", *ADMIT, "carol", code=2)
    asked = staffed("--as", "alice", *ADMIT, "erik", "--note", "he runs the pass", "--json").json
    assert (
        "no request has the id"
        in staffed("--as", "carol", "request", "approve", asked["request"], code=2).err
    )
    staffed("--as", "bob", "request", "approve", asked["request"])
    with at(staffed, now_us() + 25 * HOUR_US, "bob") as session:
        run_due(session)
        assert session.people.sees(session.people.operators["erik"], SECRET)
        assert not session.people.sees(session.people.operators["carol"], SECRET)


def test_a_wall_shuts_out_only_and_its_builder_stands_inside(staffed: Platform) -> None:
    secret_order(staffed, "alice", "bob")
    assert (
        "may not see it now"
        in staffed("--as", "alice", "order", "wall", SECRET, "--only", "alice", "carol", code=2).err
    )
    assert "name yourself" in staffed("--as", "alice", "order", "wall", SECRET, "--only", "bob", code=2).err
    assert (
        "no operator"
        in staffed("--as", "alice", "order", "wall", ORDER, "--only", "alice", "eve", code=2).err
    )


def test_a_wall_around_one_counsel_is_warned_of_before_it_stands(
    staffed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_order(staffed, "alice", "bob")
    walls = vault_events(staffed, "wall")
    alone = ("--as", "alice", "order", "wall", SECRET, "--only", "alice")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Terminal("n\n"))
        said = staffed(*alone, code=2).err
    assert "one counsel alone would stand inside" in said
    assert "not confirmed" in said
    assert vault_events(staffed, "wall") == walls
    assert "one counsel alone would stand inside" in staffed(*alone, "--yes").err
    assert vault_events(staffed, "wall")[-1]["only"] == ["alice"]
    removed = staffed("--as", "alice", "operator", "remove", "carol").err
    assert removed == "", "who stood outside leaves nobody alone"


def test_who_removes_a_counsel_is_told_of_the_walls_inside_which_one_is_left(staffed: Platform) -> None:
    secret_order(staffed, "alice", "bob")
    assert SECRET not in staffed("--as", "carol", "operator", "remove", "erik").err
    said = staffed("--as", "alice", "operator", "remove", "bob").err
    assert f"one counsel alone would stand inside the wall: nothing of order {SECRET}" in said
    assert ORDER not in said


def test_removing_a_counsel_tells_nothing_of_walls_that_one_does_not_know_of(staffed: Platform) -> None:
    secret_order(staffed, "alice", "bob")
    assert staffed("--as", "carol", "operator", "remove", "bob").err == ""


def test_who_sees_no_order_is_told_so_by_verify(staffed: Platform) -> None:
    counted = ("orders", "segments", "records", "records_of")
    said = staffed("verify").out
    assert "give --as NAME" in said
    assert "0 records" not in said
    document = staffed("verify", "--sample", "1", "--json").json
    assert [document[key] for key in counted] == [None] * 4
    assert document["sampling"].startswith("sampled 1 records of each log at most")
    seen = staffed("--as", "alice", "verify", "--json").json
    assert all(seen[key] for key in counted)


def test_who_is_cleared_for_one_order_sees_that_one(staffed: Platform) -> None:
    secret_order(staffed, "alice", "bob")
    staffed("--as", "alice", "operator", "add", "olga", "--role", "engineer", "--order", ORDER)
    with at(staffed, now_us(), "bob") as session:
        (request,) = session.people.requests
        approve(session, request)
    with at(staffed, now_us() + 25 * HOUR_US, "bob") as session:
        run_due(session)
        olga = session.people.operators["olga"]
        assert [order for order in session.all_orders() if session.people.sees(olga, order)] == [ORDER]


# --- notes -----------------------------------------------------------------------------------------------


def test_a_note_is_counsels_alone_and_stands_nowhere_in_the_vault(staffed: Platform) -> None:
    words = "the second reading of the end"
    file = staffed.root / "note.txt"
    file.write_text(words)
    number = staffed("--as", "alice", "note", "add", f"@{file}", "--about", ORDER, "--json").json["number"]
    shown = staffed("--as", "bob", "note", "show", str(number), "--json").json
    assert (shown["text"], shown["about"], shown["by"]) == (words, ORDER, "operator:alice")
    assert staffed("--as", "rita", "note", "list", code=2).code == 2
    assert staffed("note", "list", code=2).code == 2
    assert staffed("--as", "bob", "note", "show", "7", code=2).code == 2
    assert words not in json.dumps(vault_events(staffed, "note"))


def test_a_note_about_what_is_behind_a_wall_is_not_for_those_outside(staffed: Platform) -> None:
    secret_order(staffed, "alice", "bob")
    staffed("--as", "alice", "note", "add", "about the inquiry", "--about", SECRET)
    outside = staffed("--as", "carol", "note", "list")
    assert tells_nothing(outside)
    assert "inquiry" not in outside.out
    assert "inquiry" in staffed("--as", "bob", "note", "list").out


def test_in_solo_mode_there_is_no_compartment_and_a_warning_says_so(ordered: Platform) -> None:
    assert "no counsel compartment" in ordered("note", "add", "a mild note").err
    assert "a mild note" in ordered("note", "list").out
    assert "no counsel compartment" in ordered("status").out


# --- settings --------------------------------------------------------------------------------------------


def test_one_person_tightens_a_setting_at_once(staffed: Platform) -> None:
    assert staffed("--as", "alice", "settings", "set", "grace", "60d", "--json").json["request"] is None
    assert staffed("--as", "ada", "settings", "show", "--json").json["settings"]["grace"] == "60d"
    assert staffed("--as", "alice", "settings", "set", "decide_within", "20d", "--json").json["request"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("cooling", "1d"), ("cooling-off", "soon"), ("cooling-off", "90d"), ("request-expiry", "0s")],
)
def test_a_wrong_setting_is_refused(ordered: Platform, name: str, value: str) -> None:
    assert one_line(ordered("settings", "set", name, value, code=2).err)


def test_before_the_first_order_settings_are_free(platform: Platform) -> None:
    assert platform("settings", "set", "cooling-off", "0s", "--json").json["request"] is None
    assert platform("settings", "show", "--json").json["settings"]["cooling-off"] == "0s"
    platform("init", platform.root / "second", "--host", "h.example", "--grace", "never", code=2)
    assert not (platform.root / "second").exists()
