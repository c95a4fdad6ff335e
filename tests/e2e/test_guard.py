"""`why` and `may-delete`, through the command line."""

import io
import json
import sys

import pytest

from scelle.bootstrap import KeyChoice, opened
from scelle.bootstrap.guarding import drain_refusals
from scelle.ledger.events import events
from scelle.orders.model import RESERVED_ORDER_ID

from .conftest import ORDER, Platform
from .test_restricted import HOUR_S, Clock
from .test_restricted import clock as clock

SECRET = "zz-secret-7"
PERIOD = '[[clause]]\nid = "drafts-2025"\nsources = ["docs"]\npaths = ["**/*"]\nto = "2026-01-01T00:00:00Z"\n'


def add_order(platform: Platform, order: str, clause: str, **changes: str) -> None:
    platform.clauses = [clause]
    platform("order", "add", platform.order_file(f"{order}.toml", id=f'"{order}"', **changes))


def clause(name: str, paths: str = "**/*", source: str = "docs") -> str:
    return f'[[clause]]\nid = "{name}"\nsources = ["{source}"]\npaths = ["{paths}"]\n'


def item_id(platform: Platform, native: str, order: str = ORDER) -> str:
    found = platform("find", order, f'native = "{native}"', "--json").json["items"]
    return str(found[-1]["id"])


# --- why --------------------------------------------------------------------------------------------------


def test_why_lists_order_clause_clock_and_the_earliest_day(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    item = item_id(ordered, "a.txt")
    answer = ordered("why", item, "--json").json
    assert answer["orders"] == [
        {"order": ORDER, "clause": "all", "until": "2026-12-31T23:00:00Z", "grows": True, "sealed": True}
    ]
    assert answer["earliest_release"] in ("2026-12-31T23:00:00Z", None)  # None once the order has lapsed
    by_native = ordered("why", "a.txt", "--source", "docs", "--json").json
    assert by_native["orders"] == answer["orders"]
    assert ordered("why", answer["ref"], "--json").json["orders"] == answer["orders"]
    text = ordered("why", item).out
    assert f"order {ORDER}, clause all" in text
    assert "release needs two people" in text


def test_of_what_is_only_sealed_it_is_said_that_the_live_item_is_another_matter(
    platform: Platform, clock: Clock
) -> None:
    add_order(platform, ORDER, clause("all"), until="2099-12-31")
    platform("preserve", ORDER)
    words = "scelle may-delete says whether the live item may go"
    assert words not in platform("why", "a.txt", "--source", "docs").out
    carve_out = platform.root / "carve.toml"
    carve_out.write_text(clause("out", "a.txt"), encoding="utf-8")
    asked = platform("order", "carve-out", ORDER, "--file", carve_out, "--json").json
    clock.move(25 * HOUR_S)
    platform("request", "approve", asked["request"])
    assert "a.txt: not held" in platform("may-delete", "docs", "a.txt").out
    said = platform("why", "a.txt", "--source", "docs").out
    assert "kept, no longer growing" in said
    assert words in said
    add_order(platform, "later", clause("more"), until="2099-06-30")
    platform("may-delete", "docs", "a.txt", code=3)
    assert words not in platform("why", "a.txt", "--source", "docs").out


def test_the_latest_of_several_clocks_is_the_earliest_day_and_one_without_an_end_leaves_none(
    ordered: Platform,
) -> None:
    ordered("preserve", ORDER)
    add_order(ordered, "later", clause("more"), until="2099-06-30")
    answer = ordered("why", "a.txt", "--source", "docs", "--json").json
    assert [(each["order"], each["sealed"]) for each in answer["orders"]] == [(ORDER, True), ("later", False)]
    assert answer["earliest_release"] in ("2099-06-30T22:00:00Z", None)
    add_order(ordered, "open", clause("ever"), type='"internal"', legal_basis='"a claim"')
    platform_without_end = ordered("why", "a.txt", "--source", "docs", "--json").json
    assert len(platform_without_end["orders"]) == 3


def test_an_older_version_is_found_by_walking_and_only_its_own_orders_have_sealed_it(
    ordered: Platform,
) -> None:
    ordered("preserve", ORDER)
    old = item_id(ordered, "a.txt")
    ordered.document("a.txt", b"a blue boat, and longer\n")
    add_order(ordered, "second", clause("all-too"))
    ordered("preserve", ORDER)
    ordered("preserve", "second")
    new = item_id(ordered, "a.txt")
    assert old != new
    sealed = {each["order"]: each["sealed"] for each in ordered("why", old, "--json").json["orders"]}
    assert sealed == {ORDER: True, "second": False}
    assert all(each["sealed"] for each in ordered("why", new, "--json").json["orders"])
    for path in ordered.vault.glob("catalog.db*"):
        path.unlink()
    without_catalog = ordered("why", new, "--json").json
    assert [each["order"] for each in without_catalog["orders"]] == [ORDER, "second"]


def test_a_record_is_found_by_its_id_and_its_own_id(platform: Platform) -> None:
    rows = platform.root / "rows"
    rows.mkdir()
    (rows / "a.jsonl").write_text(
        '{"id": "p1", "ts": "2026-01-08T10:00:00Z", "user": "u1"}\n'
        '{"id": "p2", "ts": "2026-01-08T11:00:00Z", "user": "u2"}\n'
    )
    schema = platform.root / "rows.toml"
    schema.write_text('[schema]\nname = "rows"\ntime = "ts"\nid = "id"\naccount = "user"\n')
    platform("source", "add", "posts", f"records://{rows}", "--schema", schema)
    add_order(platform, ORDER, '[[clause]]\nid = "of-u1"\nsources = ["posts"]\naccounts = ["u1"]\n')
    platform("preserve", ORDER)
    item = item_id(platform, "p1")
    answer = platform("why", item, "--json").json
    assert [(each["clause"], each["sealed"]) for each in answer["orders"]] == [("of-u1", True)]
    assert platform("why", "p1", "--source", "posts", "--json").json["orders"] == answer["orders"]
    platform("may-delete", "posts", "p1", "--account", "u1", code=3)
    platform("may-delete", "posts", "p1", "--account", "account:u1", code=3)
    assert platform("may-delete", "posts", "p2", "--account", "u2").out == "p2: not held\n"
    platform("may-delete", "posts", "p2", code=3)  # whose it is is not known


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("i" + "a" * 26,), "no sealed item has the id"),
        (("0" * 8,), "no refusal and no sealed item has the ref"),
        (("a.txt",), "neither an item's id"),
        (("../../etc/passwd\n",), "neither an item's id"),
        (("a.txt", "--source", "nowhere"), "no source is named"),
    ],
)
def test_why_refuses_what_is_no_item(ordered: Platform, arguments: tuple[str, ...], words: str) -> None:
    answer = ordered("why", *arguments, code=2)
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""


# --- may-delete -------------------------------------------------------------------------------------------


def test_exit_codes_tell_held_from_free(platform: Platform) -> None:
    assert platform("may-delete", "docs", "a.txt").out == "a.txt: not held\n"
    add_order(platform, ORDER, clause("sub", "sub/**"))
    assert platform("may-delete", "docs", "a.txt").out == "a.txt: not held\n"
    held = platform("may-delete", "docs", "a.txt", "sub/b.txt", "--json", code=3).json
    assert held["held"] == 1
    assert [each["held"] for each in held["items"]] == [False, True]
    assert (held["allowed"], held["ref"]) == (False, held["items"][1]["ref"])
    assert held["items"][0] == {"id": "a.txt", "allowed": True, "held": False, "ref": None}


def test_what_is_not_known_holds(platform: Platform) -> None:
    add_order(platform, ORDER, PERIOD)
    platform("may-delete", "docs", "a.txt", code=3)
    platform("may-delete", "docs", "a.txt", "--time", "2025-12-31T23:59:59Z", code=3)
    platform("may-delete", "docs", "a.txt", "--time", "2026-01-01T00:00:00Z")


def test_the_answer_is_the_same_whichever_and_however_many_orders_hold(platform: Platform) -> None:
    def asked(code: int) -> list[str]:
        said = []
        for arguments in (
            ("may-delete", "docs", "sub/b.txt", "--account", "u1"),
            ("may-delete", "docs", "sub/b.txt", "--json"),
        ):
            answer = platform(*arguments, code=code)
            said.append(answer.out + answer.err)
        return said

    def free() -> str:
        return platform("may-delete", "docs", "a.txt").out

    none, without = asked(0), free()
    add_order(platform, SECRET, clause("very-secret-clause", "sub/**"))
    one = asked(3)
    assert free() == without
    add_order(platform, ORDER, clause("another", "sub/**"))
    assert asked(3) == one
    assert free() == without
    platform("preserve", ORDER)
    platform("preserve", SECRET)
    assert asked(3) == one
    for text in (*none, *one):
        for name in (SECRET, ORDER, "very-secret-clause", "another", "order", "clause"):
            assert name not in text
    assert json.loads(one[1])["items"][0]["ref"] in one[0]


def test_the_answer_names_no_order_where_one_cannot_be_read(platform: Platform) -> None:
    add_order(platform, SECRET, clause("c", "sub/**"))
    folder = platform.vault / "po" / SECRET
    (folder / "secrets").write_bytes(b"damaged")
    answer = platform("may-delete", "docs", "a.txt", code=3)
    assert "everything is held" in answer.err
    assert SECRET not in answer.out + answer.err
    assert "a.txt: held, ref" in answer.out


def test_an_account_file_that_is_gone_holds_everybody(platform: Platform) -> None:
    accounts = platform.root / "ids.txt"
    accounts.write_text("u1\nu2\n")
    add_order(platform, ORDER, '[[clause]]\nid = "c"\nsources = ["docs"]\naccounts_file = "ids.txt"\n')
    (platform.root / "u3").mkdir()
    platform("source", "add", "of-u3", f"files://{platform.root}/u3", "--account", "u3")
    add_order(platform, "o2", '[[clause]]\nid = "c"\nsources = ["of-u3"]\naccounts_file = "ids.txt"\n')
    platform("may-delete", "of-u3", "a.txt")
    for path in platform.vault.glob("catalog.db*"):
        path.unlink()
    platform("may-delete", "of-u3", "a.txt", code=3)


def test_ids_come_from_a_file_and_from_standard_input(
    ordered: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ordered.root / "ids"
    listed.write_bytes(b"a.txt\r\n\nsub/b.txt\n\xff.txt")
    assert [
        each["id"] for each in ordered("may-delete", "docs", "--file", listed, "--json", code=3).json["items"]
    ] == [
        "a.txt",
        "sub/b.txt",
        "%FF.txt",
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x\ny\n")))
    assert ordered("may-delete", "docs", "-", "--json", code=3).json["held"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("docs",), "no id is given"),
        (("nowhere", "a"), "no source is named"),
        (("docs", "a", "--time", "2026-01-08"), "a day is no time of an item"),
        (("docs", "a", "--time", "2026-01-08T10:00:00"), "no offset"),
        (("docs", "a", "--time", "yesterday"), "is no time"),
        (("docs", "a", "--file", "/nowhere/ids"), "cannot be read"),
        (("docs", "-", "--file", "-"), "several places"),
        (("docs", "x" * 5000), "5000 bytes"),
        (("docs", "a", "--account", "\udcff"), "not UTF-8"),
    ],
)
def test_may_delete_refuses_bad_input(ordered: Platform, arguments: tuple[str, ...], words: str) -> None:
    answer = ordered("may-delete", *arguments, code=2)
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""


# --- refusals ---------------------------------------------------------------------------------------------


def drained(platform: Platform) -> int:
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=True) as session:
        return drain_refusals(session)


def sealed_refusals(platform: Platform) -> list[list[str]]:
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=False) as session:
        found = events(session.ledger(RESERVED_ORDER_ID), "refusals")
        return [each for event in found for each in event.body["refused"]]


def test_refusals_are_spooled_encrypted_and_sealed_once(ordered: Platform) -> None:
    ordered("may-delete", "docs", "a.txt", "sub/b.txt", "--account", "u1", code=3)
    spool = list((ordered.vault / "spool" / "refusals").iterdir())
    assert len(spool) == 1
    data = spool[0].read_bytes()
    assert b"a.txt" not in data
    assert ORDER.encode() not in data
    assert spool[0].stat().st_mode & 0o777 == 0o600
    kept = spool[0].read_bytes()
    drained(ordered)
    assert len(sealed_refusals(ordered)) == 2
    assert list((ordered.vault / "spool" / "refusals").iterdir()) == []
    spool[0].write_bytes(kept)  # as after a crash between the commit and the removal
    spool[0].chmod(0o600)
    assert drained(ordered) == 0
    refused = sealed_refusals(ordered)
    assert [(each[0], each[1], each[4]) for each in refused] == [
        ("docs", "a.txt", "u1"),
        ("docs", "sub/b.txt", "u1"),
    ]
    ref = ordered("may-delete", "docs", "a.txt", "--json", code=3).json["items"][0]["ref"]
    assert refused[0][2] == ref
    assert ordered("verify", "--json").json["valid"] is True


def test_a_ref_leads_to_its_order_before_and_after_the_refusal_is_sealed(ordered: Platform) -> None:
    ref = ordered("may-delete", "docs", "a.txt", "--json", code=3).json["items"][0]["ref"]
    assert ordered("why", ref, "--json").json["orders"][0]["order"] == ORDER
    drained(ordered)
    assert ordered("why", ref, "--json").json["native"] == "a.txt"


def test_a_spool_that_cannot_be_written_changes_no_answer(ordered: Platform) -> None:
    (ordered.vault / "spool").write_text("in the way")
    answer = ordered("may-delete", "docs", "a.txt", code=3)
    assert "a.txt: held, ref" in answer.out
    assert "could not be noted" in answer.err
    (ordered.vault / "spool").unlink()
