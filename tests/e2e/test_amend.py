"""What happens to an order after it was taken in, through the command line."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from scelle.bootstrap import KeyChoice, opened
from scelle.ledger.events import events as session_events
from scelle.orders.service import sealed_order

from .conftest import ORDER, Platform, Terminal
from .test_restricted import HOUR_S, Clock
from .test_restricted import clock as clock


@pytest.fixture
def growing(platform: Platform) -> Platform:
    """An order for two accounts of a log, and for the documents below sub."""
    lines = [
        {
            "id": f"p{number}",
            "time": "2025-06-01T00:00:00Z",
            "user": f"u{number % 4}",
            "prompt": f"boat {number}",
        }
        for number in range(12)
    ]
    path = platform.root / "logs" / "posts.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    schema = platform.root / "schema.toml"
    schema.write_text(
        '[schema]\nname = "posts"\ntime = "time"\nid = "id"\naccount = "user"\n[fields]\nprompt = "s"\n',
        encoding="utf-8",
    )
    platform("source", "add", "posts", f"records://{path.parent}", "--schema", schema)
    platform.clauses = [
        '[[clause]]\nid = "sub"\nsources = ["docs"]\npaths = ["sub/**"]\n',
        '[[clause]]\nid = "users"\nsources = ["posts"]\naccounts = ["u1"]\n',
    ]
    platform("order", "add", platform.order_file(until="2099-12-31"))
    platform("preserve", ORDER)
    return platform


def file(platform: Platform, text: str, name: str = "amendment.toml") -> Path:
    path = platform.root / name
    path.write_text(text, encoding="utf-8")
    return path


def items(document: dict[str, Any]) -> tuple[int, ...]:
    """Return how many join, stay, stop, and are sealed and grow no longer."""
    return tuple(document[key]["items"] for key in ("join", "stay", "stop", "sealed"))


def clauses(platform: Platform) -> list[tuple[str, bool, bool]]:
    """Return id, whether it is a carve-out, whether it stands still, of every clause."""
    found = platform("order", "show", ORDER, "--json").json["clauses"]
    return [(each["id"], each["carve_out"], each["stopped"] is None) for each in found]


# --- what tightens ----------------------------------------------------------------------------------------


def test_a_new_clause_shows_first_what_joins_and_is_sealed_at_once(growing: Platform) -> None:
    path = file(growing, '[clause]\nid = "top"\nsources = ["docs"]\npaths = ["*"]\n')
    dry = growing("order", "add-clause", ORDER, "--file", path, "--dry-run", "--json").json
    assert items(dry) == (1, 4, 0, 0)
    assert dry["join"] == {"items": 1, "bytes": len(b"a red boat\n")}
    assert dry["dry_run"]
    assert clauses(growing) == [("sub", False, True), ("users", False, True)]
    assert growing("order", "add-clause", ORDER, "--file", path, "--json").json["request"] is None
    assert clauses(growing)[-1] == ("top", False, True)
    assert growing("preserve", ORDER, "--json").json["sealed"] == 5
    events = growing("order", "show", ORDER, "--json").json["events"]
    assert [each["kind"] for each in events].count("amended") == 1
    again = growing("order", "add-clause", ORDER, "--file", path, code=2)
    assert "has or had a clause 'top'" in again.err
    growing("verify")


MORE = '[[clause]]\nid = "more"\nsources = ["posts"]\naccounts = ["u2"]\n'


def test_what_is_changed_is_shown_once_and_then_that_it_is_done(
    growing: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(growing, MORE)
    done = f"order {ORDER} was changed: add-clause is sealed"
    dry = growing("order", "add-clause", ORDER, "--file", path, "--dry-run")
    assert (dry.out.count("joins: 3 items"), done in dry.out) == (1, False)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    no = growing("order", "add-clause", ORDER, "--file", path, code=2)
    assert ("joins: 3 items" in no.err, no.out.strip()) == (True, "")
    assert "not confirmed" in no.err
    assert len(clauses(growing)) == 2
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    yes = growing("order", "add-clause", ORDER, "--file", path)
    assert (yes.err.count("joins: 3 items"), yes.out.strip()) == (1, done)
    other = file(growing, MORE.replace("more", "even-more").replace("u2", "u3"))
    said = growing("order", "add-clause", ORDER, "--file", other, "--yes")
    assert ("joins" in said.err, said.out.count("joins: 3 items")) == (False, 1)
    assert said.out.splitlines()[-1] == done


def test_a_clause_may_name_a_source_that_the_order_did_not_have(growing: Platform) -> None:
    (growing.root / "more").mkdir()
    (growing.root / "more" / "c.txt").write_bytes(b"a mast\n")
    growing("source", "add", "more", f"files://{growing.root / 'more'}")
    path = file(growing, '[[clause]]\nid = "more"\nsources = ["more"]\n')
    assert items(growing("order", "add-clause", ORDER, "--file", path, "--dry-run", "--json").json) == (
        1,
        4,
        0,
        0,
    )
    growing("order", "add-clause", ORDER, "--file", path)
    assert growing("order", "show", ORDER, "--json").json["aliases"]["more"] == "s0003"
    growing("preserve", ORDER)
    assert growing("find", ORDER, 'native = "c.txt"', "--json").json["items"]
    unknown = file(growing, '[[clause]]\nid = "x"\nsources = ["nowhere"]\n')
    assert "no source" in growing("order", "add-clause", ORDER, "--file", unknown, code=2).err


def test_accounts_join_a_clause_and_what_was_read_before_is_read_again(growing: Platform) -> None:
    path = file(growing, "u2\n\nu3\nu2\n", "accounts.txt")
    form = ("order", "add-accounts", ORDER, "--clause", "users", "--file", path)
    assert items(growing(*form, "--dry-run", "--json").json) == (6, 4, 0, 0)
    growing(*form)
    assert growing("preserve", ORDER, "--json").json["sealed"] == 10
    found = growing("order", "show", ORDER, "--json").json["clauses"][-1]
    assert (found["id"], found["accounts"]) == ("users", ["u1"])
    assert {key: found["accounts_file"][key] for key in ("accounts", "duplicates", "blanks")} == {
        "accounts": 2,
        "duplicates": 1,
        "blanks": 1,
    }
    assert "amended at" in growing("order", "show", ORDER).out
    more = file(growing, "u0\n", "more.txt")
    growing("order", "add-accounts", ORDER, "--clause", "users", "--file", more)
    assert growing("preserve", ORDER, "--json").json["sealed"] == 13
    growing("verify")
    assert "already" in growing(*form, code=2).err


def test_an_extension_says_that_nothing_joins(growing: Platform) -> None:
    letter = growing.document("../extension.txt", b"until 2101\n")
    form = ("order", "extend", ORDER, "--until", "2101-12-31")
    dry = growing(*form, "--dry-run", "--json").json
    assert items(dry) == (0, 4, 0, 0)
    assert dry["grows_on"] == ["sub", "users"]
    assert "until 2101-12-31 23:00" not in growing("order", "show", ORDER).out
    done = growing(*form, "--document", letter, "--json").json
    assert done["state"] == "in force"
    assert done["intervals"][-1]["until"] == "2101-12-31T23:00:00Z"
    shown = growing("order", "show", ORDER, "--json").json
    assert [each["until"] for each in shown["terms"]] == ["2099-12-31T23:00:00Z", "2101-12-31T23:00:00Z"]
    assert "an extension ends later" in growing(*form, code=2).err
    assert growing("order", "extend", ORDER, "--until", "soon", code=2).err.count("\n") == 1
    growing("verify")


# --- what loosens -----------------------------------------------------------------------------------------


def test_a_narrowing_becomes_a_request_over_the_exact_clauses(growing: Platform) -> None:
    path = file(growing, '[amendment]\nreference = "R-2"\nstop = ["sub"]\n')
    form = ("order", "narrow", ORDER, "--file", path)
    assert items(growing(*form, "--dry-run", "--json").json) == (0, 3, 1, 1)
    asked = growing(*form, "--json").json
    assert asked["request"]
    assert clauses(growing) == [("sub", False, True), ("users", False, True)]  # nothing changed yet
    shown = growing("request", "show", asked["request"], "--json").json
    assert shown["asked"]["stop"] == ["sub"]
    assert shown["asked"]["diff"]["sealed"]["items"] == 1
    too_soon = growing("request", "approve", asked["request"], code=2)
    assert "cooling-off" in too_soon.err


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("narrow", '[[clause]]\nid = "users"\nsources = ["posts"]\naccounts = ["u1", "u2"]\n'),
        (
            "narrow",
            '[[clause]]\nid = "sub"\nsources = ["docs"]\npaths = ["**/*.txt"]\n',
        ),  # found on the items
        ("narrow", '[[clause]]\nid = "none"\nsources = ["docs"]\n'),
        ("narrow", '[amendment]\nstop = ["sub", "users"]\n'),
        ("carve-out", '[[clause]]\nid = "users"\nsources = ["posts"]\n'),
        ("add-clause", '[amendment]\nstop = ["sub"]\n'),
        ("add-clause", "what?\n"),
    ],
)
def test_amendments_that_cannot_be_meant_change_nothing(growing: Platform, form: str, text: str) -> None:
    for extra in ((), ("--dry-run",)):
        answer = growing("order", form, ORDER, "--file", file(growing, text), *extra, code=2)
        assert answer.err.count("\n") == 1
    assert clauses(growing) == [("sub", False, True), ("users", False, True)]
    assert growing("request", "list", "--json").json["requests"] == []


def test_two_narrowings_that_together_leave_nothing_are_not_both_sealed(
    growing: Platform, clock: Clock
) -> None:
    asked = []
    for clause in ("sub", "users"):
        path = file(growing, f'[amendment]\nstop = ["{clause}"]\n', f"{clause}.toml")
        asked.append(growing("order", "narrow", ORDER, "--file", path, "--json").json["request"])
    clock.move(25 * HOUR_S)
    outcomes = [growing("request", "approve", each, "--json").json["outcome"] for each in asked]
    assert [each["sealed"] for each in outcomes] == [True, False]
    assert "no clause of the order would grow" in outcomes[1]["why"]


def test_a_carve_out_shows_what_stops(growing: Platform) -> None:
    path = file(growing, '[[clause]]\nid = "odd"\nsources = ["posts"]\n[clause.match]\nprompt = "boat 5"\n')
    dry = growing("order", "carve-out", ORDER, "--file", path, "--dry-run", "--json").json
    assert items(dry) == (0, 3, 1, 1)
    assert growing("order", "carve-out", ORDER, "--file", path, "--json").json["request"]
    types = file(growing, '[[clause]]\nid = "text"\nsources = ["docs"]\nmedia_types = ["text/*"]\n')
    dry = growing("order", "carve-out", ORDER, "--file", types, "--dry-run", "--json").json
    assert items(dry) == (0, 3, 1, 1)  # a document's type shows only when it is read
    doubt = file(growing, '[[clause]]\nid = "doubt"\nsources = ["docs"]\n[clause.match]\nprompt = "x"\n')
    dry = growing("order", "carve-out", ORDER, "--file", doubt, "--dry-run", "--json").json
    assert items(dry) == (0, 4, 0, 0)  # what it covers in doubt stays in


ODD = '[[clause]]\nid = "odd"\nsources = ["posts"]\n[clause.match]\nprompt = "boat 5"\n'


def carved(platform: Platform, clock: Clock, text: str = ODD) -> None:
    """Have a carve-out sealed, as one person does in solo mode: asked for, and confirmed a day later."""
    asked = platform("order", "carve-out", ORDER, "--file", file(platform, text), "--json").json
    clock.move(25 * HOUR_S)
    assert platform("request", "approve", asked["request"], "--json").json["state"] == "executed"


def test_the_end_of_a_carve_out_shows_what_joins_and_the_next_pass_seals_it(
    platform: Platform, clock: Clock
) -> None:
    posts = platform.root / "logs" / "posts.jsonl"
    posts.parent.mkdir()
    lines = [{"id": f"p{n}", "time": "2025-06-01T00:00:00Z", "prompt": f"boat {n}"} for n in range(6)]
    posts.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    schema = file(
        platform, '[schema]\nname = "posts"\ntime = "time"\nid = "id"\n[fields]\nprompt = "s"\n', "s.toml"
    )
    platform("source", "add", "posts", f"records://{posts.parent}", "--schema", schema)
    platform.clauses = ['[[clause]]\nid = "all"\nsources = ["posts", "docs"]\n']
    platform("order", "add", platform.order_file(until="2099-12-31"))
    carved(platform, clock, ODD + '\n[[clause]]\nid = "sub"\nsources = ["docs"]\npaths = ["sub/*"]\n')
    assert platform("preserve", ORDER, "--json").json["sealed"] == 6
    carved_at = platform("order", "show", ORDER, "--json").json["clauses"][1]["since"]
    clock.move(24 * HOUR_S)
    letter = file(platform, "we want all of it\n", "letter.txt")
    form = ("order", "carve-out", ORDER, "--end", "odd", "--document", letter)
    dry = platform(*form, "--dry-run", "--json").json
    assert items(dry) == (1, 6, 0, 0)
    assert (dry["act"], dry["dry_run"], dry["request"]) == ("end-carve-out", True, None)
    assert clauses(platform) == [("all", False, True), ("odd", True, True), ("sub", True, True)]
    done = platform(*form, "--json").json
    assert items(done) == (1, 6, 0, 0)
    assert done["request"] is None, "it tightens: one person may"
    assert clauses(platform) == [("all", False, True), ("odd", True, False), ("sub", True, True)]
    ended = platform("order", "show", ORDER, "--json").json
    assert ended["clauses"][1]["since"] == carved_at
    assert ended["clauses"][1]["stopped"] > carved_at
    assert "carve-out odd: ended at" in platform("order", "show", ORDER).out
    assert platform("preserve", ORDER, "--json").json["sealed"] == 7
    assert platform("find", ORDER, 'native = "p5"', "--json").json["items"]
    assert not platform("find", ORDER, 'native = "sub/b.txt"', "--json").json["items"]
    with opened(platform.vault, KeyChoice(key_file=platform.root / "keys"), writing=False) as session:
        (paper,) = [
            event
            for event in session_events(session.ledger(ORDER), "amended")
            if event.body["act"] == "end-carve-out"
        ]
        assert paper.body["document"]["name"] == "letter.txt"
        assert [each.id for each in sealed_order(session.ledger(ORDER)).clauses] == ["all", "sub"]
    platform("verify")
    assert "no carve-out of this id: these stand: sub" in platform(*form, code=2).err


def test_the_end_of_a_carve_out_that_cannot_be_meant_is_one_line(growing: Platform, clock: Clock) -> None:
    form = ("order", "carve-out", ORDER)
    for bad in ("odd", "users", "", "no such"):
        answer = growing(*form, "--end", bad, "--dry-run", code=2)
        assert answer.err.count("\n") == 1, bad
    assert "none stands" in growing(*form, "--end", "users", code=2).err
    assert "one of them" in growing(*form, code=2).err
    path = file(growing, ODD)
    assert "one of them" in growing(*form, "--file", path, "--end", "odd", code=2).err
    assert "goes with --end" in growing(*form, "--file", path, "--document", path, code=2).err
    carved(growing, clock)
    growing("order", "lift", ORDER)
    assert "transition_refused" in growing(*form, "--end", "odd", code=2).err


def test_what_a_carve_out_let_go_of_is_held_again_from_its_end_on(growing: Platform, clock: Clock) -> None:
    carved(growing, clock, '[[clause]]\nid = "sub-out"\nsources = ["docs"]\npaths = ["sub/new.txt"]\n')
    growing.document("sub/new.txt", b"a new mast\n")
    asked = ("may-delete", "docs", "sub/new.txt")
    assert growing(*asked, "--json").json["held"] == 0
    growing("order", "carve-out", ORDER, "--end", "sub-out")
    assert growing(*asked, "--json", code=3).json["held"] == 1


# --- life -------------------------------------------------------------------------------------------------


def test_steps_marks_and_reviews_are_sealed_and_shown(growing: Platform) -> None:
    letter = growing.document("../letter.txt", b"we challenge\n")
    growing("order", "authenticate", ORDER, "--how", "callback")
    growing("order", "mark", ORDER, "challenged", "--document", letter)
    growing("order", "mark", ORDER, "in-conflict")
    growing("order", "mark", ORDER, "in conflict", "--clear")
    growing("order", "review", ORDER, "--ground", "investigation-open")
    shown = growing("order", "show", ORDER, "--json").json
    assert shown["marks"] == ["challenged"]
    kinds = [each["kind"] for each in shown["events"]]
    assert [kind for kind in kinds if kind in ("authenticated", "mark", "reviewed")] == [
        "authenticated",
        "mark",
        "mark",
        "mark",
        "reviewed",
    ]
    assert "mark: challenged" in growing("status", ORDER).out
    assert "there are clarification-requested" in growing("order", "mark", ORDER, "odd", code=2).err
    free = growing("order", "review", ORDER, "--ground", "Because we say so", code=2)
    assert "scelle note" in free.err
    assert "Because" not in growing("order", "show", ORDER, "--json").out
    growing("verify")


def test_a_lift_ends_the_interval_and_nothing_else_and_is_recorded_once(growing: Platform) -> None:
    done = growing("order", "lift", ORDER, "--json").json
    assert done["state"] == "lifted"
    assert done["intervals"][-1]["until"] < "2099"
    again = growing("order", "lift", ORDER, code=2)
    assert "orders.transition_refused" in again.err
    assert "order release" in again.err
    growing("order", "extend", ORDER, "--until", "2101-01-01", code=2)
    path = file(growing, '[[clause]]\nid = "x"\nsources = ["docs"]\n')
    for form in ("add-clause", "carve-out"):
        growing("order", form, ORDER, "--file", path, "--dry-run", code=2)
    growing("preserve", ORDER, code=2)
    growing("order", "annul", ORDER)  # a court may come later
    assert growing("find", ORDER, 'native = "sub/b.txt"', "--json").json["items"]


def test_a_lapsed_order_is_alarmed_noted_once_replaced_and_extended(platform: Platform) -> None:
    platform(
        "order",
        "add",
        platform.order_file(received="2025-01-17T00:00:00Z", issued="2025-01-17", until="2025-12-31"),
    )
    platform.clauses = ['[[clause]]\nid = "own"\nsources = ["docs"]\n']
    noted = platform("order", "lapses", "--json").json
    assert [each["order"] for each in noted["noted"]] == [ORDER]
    assert noted["noted"][0]["affected"] == []
    platform(
        "order", "add", platform.order_file("hold.toml", id='"hold-1"', type='"internal"', without=["until"])
    )
    shown = platform("order", "show", ORDER)
    assert "lapsed" in shown.out
    assert "LATE" in shown.out
    assert "LATE" in platform("status").out
    assert platform("order", "list", "--json").json["orders"][0]["state"] == "lapsed"
    assert platform("order", "lapses", "--json").json["noted"] == []  # once; the alarm goes on
    assert ORDER in platform("order", "lapses", "--json").json["alarms"]
    late = [
        each for each in platform("order", "deadlines", "--json").json["deadlines"] if each["due"] == "decide"
    ]
    assert [(each["order"], each["is_late"]) for each in late] == [(ORDER, True)]
    path = platform.root / "clause.toml"
    path.write_text('[[clause]]\nid = "x"\nsources = ["docs"]\n', encoding="utf-8")
    assert "extend it first" in platform("order", "add-clause", ORDER, "--file", path, code=2).err
    assert "no other order that holds" in platform("order", "replace", ORDER, "--by", ORDER, code=2).err
    platform("order", "replace", ORDER, "--by", "nobody", code=2)
    platform("order", "replace", ORDER, "--by", "hold-1")
    assert platform("order", "lapses", "--json").json["alarms"] == {}
    done = platform("order", "extend", ORDER, "--until", "2099-12-31", "--json").json
    assert done["state"] == "in force"
    (without,) = done["without_order"]
    assert without["from"] == "2025-12-31T23:00:00Z"
    assert without["ground"] == "the hold hold-1, on its own ground"
    assert "no order in force 2025-12-31T23:00:00Z to" in platform("status").out
    platform("verify")


def test_the_calendar_is_a_new_file_outside_the_vault(growing: Platform) -> None:
    path = growing.root / "deadlines.ics"
    found = growing("order", "deadlines", "--ics", path, "--json").json
    assert {each["due"] for each in found["deadlines"]} == {"end", "extension", "review"}
    data = path.read_bytes()
    assert data.startswith(b"BEGIN:VCALENDAR\r\n")
    assert data.count(b"BEGIN:VEVENT") == 3
    assert b"EC-2026-0108" not in data
    growing("order", "deadlines", "--ics", path, code=2)
    growing("order", "deadlines", "--ics", growing.vault / "x.ics", code=2)


def test_a_dry_run_counts_what_it_could_not_read_and_names_none_of_it(growing: Platform) -> None:
    logs = growing.root / "logs"
    (logs / "elsewhere.jsonl").symlink_to(growing.root / "nowhere")
    with (logs / "posts.jsonl").open("a", encoding="utf-8") as lines:
        lines.write("no record\n{\n")
    more = file(growing, '[[clause]]\nid = "more"\nsources = ["posts"]\n')
    arguments = ("order", "add-clause", ORDER, "--file", more, "--dry-run")
    found = growing(*arguments, "--json").json
    assert found["unread"] == ["posts: 2 not read (not-json)", "posts: 1 not read (symbolic-link)"]
    assert items(found) == (9, 4, 0, 0), "what was read is counted all the same"
    assert "not read: posts: 1 not read (symbolic-link)" in growing(*arguments).out
