"""The guard over a real vault: walls, orders that come and end while it is asked, and who else claims a sealed row."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import make_platform
from tests.integration.two_people import let_go, stop_clause

from scelle.bootstrap import KeyChoice, Session, opened
from scelle.bootstrap.acting import ActingAs
from scelle.bootstrap.explaining import explain
from scelle.bootstrap.facts import guarded_sources, live_item
from scelle.bootstrap.guarding import (
    RowHolds,
    VaultGuard,
    drain_refusals,
    holds_of_item,
    may_delete,
    open_guard,
)
from scelle.errors import ItemUnknown, SourceNameUnknown
from scelle.formats.schema import Schema
from scelle.guard import Facts
from scelle.guard.spool import RefusalSpool, read_spool, refusals_folder
from scelle.ledger.events import events, record_event
from scelle.ledger.rows import Row
from scelle.operators.keys import OperatorKey, write_operator_key
from scelle.operators.model import Role
from scelle.operators.registry import public_body
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.sources.places import Places

OTHER = "zz-secret-7"
NOW_US = 1_770_000_000_000_000  # 2026-02-02


def clause(name: str, paths: str = "**/*") -> str:
    return f'[[clause]]\nid = "{name}"\nsources = ["docs"]\npaths = ["{paths}"]\n'


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Two documents; one order that covers both, one that covers the second; both have sealed."""
    platform = make_platform(tmp_path, capsys, monkeypatch)
    platform.document("a.txt", b"a red boat\n")
    platform.document("sub/b.txt", b"a harbour\n")
    platform("init", platform.vault, "--host", "platform.example", "--json")
    platform("source", "add", "docs", f"files://{platform.docs}")
    for order, made in ((ORDER, clause("all")), (OTHER, clause("hidden-clause", "sub/**"))):
        platform.clauses = [made]
        platform("order", "add", platform.order_file(f"{order}.toml", id=f'"{order}"'))
        platform("preserve", order)
    return platform


@contextmanager
def session_of(platform: Platform, *, writing: bool = False) -> Iterator[Session]:
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=writing) as session:
        yield session


def act(platform: Platform, order: str, kind: str, body: Mapping[str, object] | None = None) -> None:
    with session_of(platform, writing=True) as session:
        ledger = session.writer(order)
        record_event(ledger, session.now_us(), session.actor, kind, body or {})
        ledger.seal(session.now_us())


def sealed_rows(session: Session, order: str) -> Iterator[tuple[Schema, Row]]:
    ledger = session.ledger(order)
    for _, manifest in ledger.manifests():
        if manifest.source == "s0001" and manifest.records:
            reader = ledger.segment(manifest)
            yield from ((reader.schema, row) for row in reader.rows())
            reader.close()


def row_of(session: Session, order: str, native: str) -> tuple[Schema, Row]:
    return next((schema, row) for schema, row in sealed_rows(session, order) if native.encode() in row.values)


# --- walls ------------------------------------------------------------------------------------------------


def operator(platform: Platform, *orders: str) -> Path:
    """Make an operator who sees these orders only; from now on the vault has people. Return the key file."""
    key, path = OperatorKey.generate("ann"), platform.root / "ann.key"
    write_operator_key(path, key, None)
    add_operator(platform, key, orders)
    return path


def add_operator(platform: Platform, key: OperatorKey, orders: tuple[str, ...]) -> None:
    act(
        platform,
        RESERVED_ORDER_ID,
        "operator.added",
        public_body(key.vkey, key.recipient, Role.COUNSEL, orders, None),
    )


def asked(
    platform: Platform, key_file: Path, item: str, source: str | None = None
) -> tuple[str, dict[str, Any]]:
    """What an operator is told: the text, and the document."""
    choice, ann = KeyChoice(platform.root / "keys"), ActingAs(key_file=key_file)
    with opened(platform.vault, choice, writing=False, acting_as=ann, clock=lambda: NOW_US) as session:
        found = explain(session, item, source)
        return "\n".join(found.lines()), found.to_json()


def item_ids(platform: Platform) -> dict[str, str]:
    """The ids of both documents, asked before there are operators."""
    found = {}
    for native in ("a.txt", "sub/b.txt"):
        found[native] = platform("find", ORDER, f'native = "{native}"', "--json").json["items"][0]["id"]
    return found


def test_a_cleared_operator_is_told_of_his_order_as_if_it_were_alone(platform: Platform) -> None:
    ids = item_ids(platform)
    ann = operator(platform, ORDER)
    questions = [(ids["sub/b.txt"], None), ("sub/b.txt", "docs"), ("a.txt", "docs")]
    beside_another = [asked(platform, ann, *each) for each in questions]
    let_go(platform, OTHER)
    assert [asked(platform, ann, *each) for each in questions] == beside_another
    for text, document in beside_another:
        assert OTHER not in text + repr(document)
        assert "hidden-clause" not in text + repr(document)
        assert "earliest day by the clocks of the orders that you may see: 2026-12-31T23:00:00Z" in text
        assert [each["order"] for each in document["orders"]] == [ORDER]


def test_outside_the_wall_an_item_is_held_and_has_a_ref_and_no_more(platform: Platform) -> None:
    ids = item_ids(platform)
    ann = operator(platform)
    told = platform("may-delete", "docs", "sub/b.txt", "--json", code=3)  # asked by nobody in particular
    ref = told.json["items"][0]["ref"]
    assert asked(platform, ann, ids["sub/b.txt"])[1] == {
        "item": ids["sub/b.txt"],
        "source": None,
        "native": None,
        "held": True,
        "ref": ref,
        "orders": [],
        "earliest_release": None,
    }
    one = asked(platform, ann, "sub/b.txt", "docs")
    assert one[0] == f"sub/b.txt: held, ref {ref}"
    assert asked(platform, ann, ref)[0] == f"{ref}: held, ref {ref}"
    assert asked(platform, ann, ref)[1]["native"] is None  # the refusal knows it, and he need not
    let_go(platform, ORDER)
    assert asked(platform, ann, "sub/b.txt", "docs") == one  # whichever and however many hold
    let_go(platform, OTHER)
    assert asked(platform, ann, "sub/b.txt", "docs")[0] == "sub/b.txt: not held"


def test_what_an_unseen_order_knows_of_an_item_sharpens_no_answer(platform: Platform) -> None:
    """A clause with a period covers an item of unknown time; only another order's row would tell the time."""
    platform.clauses = ['[[clause]]\nid = "old"\nsources = ["docs"]\nto = "2001-01-01T00:00:00Z"\n']
    platform("order", "add", platform.order_file("third.toml", id='"third"'))
    platform.document("new.txt", b"a lantern\n")
    kept = platform.root / "kept"
    shutil.copytree(platform.vault, kept)
    key, told = OperatorKey.generate("ann"), []
    write_operator_key(platform.root / "ann.key", key, None)
    for is_sealed in (True, False):
        if is_sealed:
            platform("preserve", ORDER)
        else:
            shutil.rmtree(platform.vault)
            kept.rename(platform.vault)
            next((platform.root / "keys").glob("*.signed")).unlink()  # the vault was put back on purpose
        add_operator(platform, key, ("third",))
        told.append(asked(platform, platform.root / "ann.key", "new.txt", "docs"))
    assert told[0] == told[1]
    assert [each["order"] for each in told[0][1]["orders"]] == ["third"]


def test_a_fault_in_an_unseen_order_names_nothing_and_holds(platform: Platform) -> None:
    ann = operator(platform, ORDER)
    before = asked(platform, ann, "sub/b.txt", "docs")
    (platform.vault / "po" / OTHER / "secrets").write_bytes(b"damaged")
    assert asked(platform, ann, "sub/b.txt", "docs") == before
    let_go(platform, ORDER)
    assert "a.txt: held, ref" in asked(platform, ann, "a.txt", "docs")[0]
    with pytest.raises(ItemUnknown) as raised:
        asked(platform, ann, "i" + "a" * 26)
    assert OTHER not in str(raised.value)


# --- over time --------------------------------------------------------------------------------------------


def test_lapse_holds_stop_keeps_and_release_lets_go(platform: Platform) -> None:
    stop_clause(platform, OTHER, "hidden-clause")
    with session_of(platform) as session:
        grows = {each.order: each.grows for each in explain(session, "sub/b.txt", "docs").holds}
        assert grows == {ORDER: True, OTHER: False}
        assert {
            each.order for each in open_guard(session, without=ORDER).decide(*_live(session)).holds
        } == set()
    act(platform, ORDER, "lifted", {"document": None})
    platform("may-delete", "docs", "a.txt", code=3)
    let_go(platform, ORDER)
    assert platform("may-delete", "docs", "sub/b.txt").out == "sub/b.txt: not held\n"
    with session_of(platform) as session:
        assert [each.order for each in holds_of_item(session, "sub/b.txt", "docs")] == [OTHER]
        assert explain(session, "a.txt", "docs").held is False
    act(platform, ORDER, "release.undone", {"request": "r1"})
    platform("may-delete", "docs", "a.txt", code=3)


def _live(session: Session) -> list[Facts]:
    specs = guarded_sources(session)
    return list(live_item(Places(specs), specs["docs"], b"sub/b.txt").readings)


def test_a_guard_at_work_follows_orders_that_come_and_end(platform: Platform) -> None:
    with session_of(platform) as session, VaultGuard(session) as guard:
        assert guard.decide("docs", b"a.txt").held
        first = guard.guard
        assert guard.guard is first
        let_go(platform, ORDER)
        assert not guard.decide("docs", b"a.txt").held
        assert guard.decide("docs", b"sub/b.txt").held
        platform.clauses = [clause("new", "a.txt")]
        platform("order", "add", platform.order_file("third.toml", id='"third"'))
        assert guard.decide("docs", b"a.txt").held
        second = guard.guard
        platform("preserve", "third")
        assert guard.guard is second  # its log grew, its terms did not
        with pytest.raises(SourceNameUnknown):
            guard.decide("nowhere", b"a.txt")
    with session_of(platform, writing=True) as session:
        assert drain_refusals(session) == 0  # opening it for writing has sealed them
        (sealed,) = events(session.ledger(RESERVED_ORDER_ID), "refusals")
        assert len(sealed.body["refused"]) == 3


def test_refusals_of_a_process_that_goes_on_are_sealed_once(platform: Platform) -> None:
    with session_of(platform) as session:
        refused = may_delete(session, "docs", [b"a.txt", b"sub/b.txt", b"x/y"])
        assert [each.held for each in refused] == [True, True, True]
        [file] = read_spool(session.path, session.key)
        said = file.frames[0][0]
        spool = RefusalSpool(session.path, session.key)
        spool.note([said])
    with session_of(platform, writing=True) as session:
        sealed = events(session.ledger(RESERVED_ORDER_ID), "refusals")
        assert (
            sum(len(event.body["refused"]) for event in sealed) == 4
        )  # opening it for writing has sealed them
        assert len(list(read_spool(session.path, session.key))) == 1  # the other process still has it
        spool.note([said, said])
        spool.close()
        assert drain_refusals(session) == 2
        assert list(read_spool(session.path, session.key)) == []


def test_refusals_in_a_damaged_file_are_told_and_what_is_whole_is_sealed(platform: Platform) -> None:
    with session_of(platform) as session:
        may_delete(session, "docs", [b"a.txt"])
        [damaged] = refusals_folder(session.path).iterdir()
        for native in (b"sub/b.txt", b"x/y"):
            may_delete(session, "docs", [native])
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    warned = platform("order", "lapses").err
    assert (damaged.name in warned, "1 frame" in warned, warned.count("\n")) == (True, True, 1)
    with session_of(platform) as session:
        sealed = [event.body for event in events(session.ledger(RESERVED_ORDER_ID), "refusals")]
        assert sorted(each["refused"][0][1] for each in sealed) == ["sub/b.txt", "x/y"]
        assert [file.path for file in read_spool(session.path, session.key)] == [damaged]
    assert damaged.name in platform("order", "lapses").err, "until somebody has looked at it"
    with session_of(platform) as session:
        assert [event.body for event in events(session.ledger(RESERVED_ORDER_ID), "refusals")] == sealed
    damaged.write_bytes(data)  # a copy was found
    assert platform("order", "lapses").err == ""
    with session_of(platform) as session:
        assert len(list(events(session.ledger(RESERVED_ORDER_ID), "refusals"))) == 3
        assert list(read_spool(session.path, session.key)) == []


# --- who else claims a sealed row -------------------------------------------------------------------------


def test_a_row_is_held_by_whoever_else_sealed_it_or_covers_it(platform: Platform) -> None:
    with session_of(platform) as session:
        holds = RowHolds(session, without=ORDER)
        both, alone = row_of(session, ORDER, "sub/b.txt"), row_of(session, ORDER, "a.txt")
        assert {each.order for each in holds.of("docs", *both)} == {OTHER}
        assert holds.of("docs", *alone) == ()
        assert holds.unsealed("docs", *both) == (), "it has a copy of its own"
        assert {each.order for each in RowHolds(session).of("docs", *both)} == {ORDER, OTHER}
    platform.document("sub/b.txt", b"another harbour, and a longer one\n")
    platform("preserve", ORDER)
    with session_of(platform) as session:
        newest = list(sealed_rows(session, ORDER))[-1]
        (hold,) = RowHolds(session, without=ORDER).unsealed("docs", *newest)
        assert (hold.order, hold.grows) == (OTHER, True), "a version that the other never sealed"
    stop_clause(platform, OTHER, "hidden-clause")
    with session_of(platform) as session:
        holds = RowHolds(session, without=ORDER)
        assert {each.grows for each in holds.of("docs", *both)} == {False}, "it has sealed it"
        assert holds.of("docs", *newest) == ()
    let_go(platform, OTHER)
    with session_of(platform) as session:
        assert RowHolds(session, without=ORDER).of("docs", *both) == ()


def test_an_item_of_a_released_order_is_known_and_not_held(platform: Platform) -> None:
    item = item_ids(platform)["a.txt"]
    let_go(platform, ORDER)
    with session_of(platform) as session:
        assert explain(session, item).lines() == [f"{item}: not held"]
        with pytest.raises(ItemUnknown):
            explain(session, "i" + "b" * 26)


def test_the_examples_of_the_documentation_run(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guard.md").read_text(encoding="utf-8")
    first, second, third = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    keys = repr(str(platform.root / "keys"))
    here = first.replace("/srv/vault", str(platform.vault)).replace("KeyChoice()", f"KeyChoice(Path({keys}))")
    platform("source", "add", "posts", f"files://{platform.docs}")
    platform.clauses = [clause("posts").replace("docs", "posts")]
    platform("order", "add", platform.order_file("third.toml", id='"third"'))
    capsys.readouterr()
    exec(compile(here, "guard.md", "exec"), {})
    assert capsys.readouterr().out.startswith("kept: ")
    names: dict[str, Any] = {}
    exec(compile(second, "guard.md", "exec"), names)
    with session_of(platform) as session:
        assert names["is_free"](session, b"4711", "u1") is False
    exec(compile(third, "guard.md", "exec"), names)
    with session_of(platform) as session, VaultGuard(session) as guard:
        assert names["delete_file"](guard, platform.docs, "a.txt") is False
        assert (platform.docs / "a.txt").exists()
    let_go(platform, ORDER)
    let_go(platform, "third")
    with session_of(platform) as session, VaultGuard(session) as guard:
        assert names["delete_file"](guard, platform.docs, "a.txt") is True
        assert not (platform.docs / "a.txt").exists()
