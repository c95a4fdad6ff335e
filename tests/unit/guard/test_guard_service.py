"""What the guard compiles, and what it does where it cannot."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from scelle.errors import ContentMissing
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import NULL, text_value
from scelle.guard import Facts, Guard, Hold, ref_of
from scelle.guard.model import decide
from scelle.guard.service import with_loaded_accounts
from scelle.orders.lifecycle import ClauseLife, Life, Term
from scelle.orders.model import Moment, Order
from scelle.orders.types import Notify, OrderType, Temporal
from scelle.scope import Clause, read_accounts
from scelle.vault.keys import VaultKey

KEY = VaultKey(bytes(range(32)))
START_US = 1_770_000_000_000_000
MOMENT = Moment("2026-01-08", START_US)
ORDER = Order(
    "o", "m", OrderType.INTERNAL, "a", "b", "r", MOMENT, MOMENT, "UTC", Temporal.BOTH, Notify.PERMITTED,
    until=Moment("2026-12-31", START_US + 9),
)  # fmt: skip
LISTED = read_accounts("ids.txt", [b"u1\nu2\n"])
UNREAD = replace(LISTED, ids=None)


def life(*clauses: Clause, stopped: tuple[str, ...] = (), **changes: Any) -> Life:
    made = tuple(ClauseLife(each, 0, 5 if each.id in stopped else None) for each in clauses)
    return replace(Life(ORDER, (Term(0, ORDER),), made, frozenset()), **changes)


def holds(guard: Guard, facts: Facts, *sealed_in: str) -> list[tuple[str, str | None, bool]]:
    return [(each.order, each.clause, each.grows) for each in guard.holds_of(facts, sealed_in=sealed_in)]


DOCS = Clause("all", ("docs",))
ITEM = Facts("docs", b"a.txt", b"a.txt", START_US)


@pytest.mark.parametrize("ended", ["lifted_us", "annulled_us"])
def test_an_order_holds_until_it_is_released_whatever_else_happened(ended: str) -> None:
    changes: dict[str, Any] = {ended: START_US}
    assert Guard({"o": life(DOCS, **changes)}, KEY).decide(ITEM).held
    assert not Guard({"o": life(DOCS, released_us=START_US)}, KEY).decide(ITEM).held
    assert not Guard({"o": life(DOCS, disposed_us=START_US)}, KEY).decide(ITEM).held


def test_a_hold_says_its_end_by_the_clock_and_none_where_it_is_open() -> None:
    assert Guard({"o": life(DOCS)}, KEY).decide(ITEM).holds == (Hold("o", "all", START_US + 9, True),)
    without_end = replace(life(DOCS), order=replace(ORDER, until=None))
    assert Guard({"o": without_end}, KEY).decide(ITEM).holds == (Hold("o", "all", None, True),)


def test_a_stopped_clause_keeps_what_it_sealed_and_takes_nothing_in() -> None:
    guard = Guard({"o": life(DOCS, stopped=("all",))}, KEY)
    assert not guard.decide(ITEM).held
    assert holds(guard, ITEM, "o") == [("o", "all", False)]
    assert holds(guard, ITEM, "another") == []


def test_what_is_sealed_and_covered_by_nothing_any_more_is_held_by_no_clause() -> None:
    guard = Guard({"o": life(Clause("mail", ("mail",)))}, KEY)
    assert holds(guard, ITEM, "o") == [("o", None, False)]


def test_a_clause_that_was_narrowed_holds_once() -> None:
    narrowed = replace(DOCS, paths=("b/**",))
    twice = (ClauseLife(DOCS, 0, 5), ClauseLife(narrowed, 5))
    guard = Guard({"o": replace(life(), clauses=twice)}, KEY)
    assert holds(guard, ITEM, "o") == [("o", "all", False)]
    assert holds(guard, replace(ITEM, path=b"b/c"), "o") == [("o", "all", True)]


def test_a_carve_out_lets_go_only_where_it_is_certain() -> None:
    carved = replace(DOCS, id="not-minutes", paths=("minutes/**",), carve_out=True)
    guard = Guard({"o": life(DOCS, carved)}, KEY)
    minutes = replace(ITEM, path=b"minutes/1")
    assert guard.decide(ITEM).held
    assert not guard.decide(minutes).held
    assert guard.decide(replace(minutes, path=None)).held
    assert holds(guard, minutes, "o") == [("o", "all", False)]  # what was sealed before is kept
    other = Guard({"o": life(DOCS, carved), "p": life(DOCS)}, KEY)
    assert holds(other, minutes) == [("p", "all", True)]
    gone = Guard({"o": life(DOCS, carved, stopped=("not-minutes",))}, KEY)
    assert gone.decide(minutes).held


def test_accounts_of_a_file_are_read_once_for_all_orders_and_held_by_all_where_they_cannot_be() -> None:
    listed = replace(Clause("c", ("posts",)), accounts_file=UNREAD)
    reads = []

    def read(digest: bytes) -> Iterator[bytes]:
        reads.append(digest)
        return iter([b"u1\nu2\n"])

    lives = {name: life(listed) for name in ("o", "p")}
    guard = Guard(with_loaded_accounts(lives, read), KEY)
    assert reads == [LISTED.digest]
    assert len(guard.decide(Facts("posts", b"1", account="u1")).holds) == 2
    assert not guard.decide(Facts("posts", b"1", account="u3")).held

    def missing(digest: bytes) -> Iterator[bytes]:
        raise ContentMissing("gone")

    closed = Guard(with_loaded_accounts(lives, missing), KEY)
    verdict = closed.decide(Facts("posts", b"1", account="u3"))
    assert (len(verdict.holds), verdict.doubt) == (2, "undecided")
    assert not closed.decide(ITEM).held


def test_a_doubt_is_told_only_where_nothing_is_certain() -> None:
    dated = replace(DOCS, id="dated", period_from_us=START_US)
    guard = Guard({"o": life(dated), "p": life(DOCS)}, KEY)
    undated = Facts("docs", b"a.txt", b"a.txt")
    assert guard.decide(undated).doubt is None
    assert Guard({"o": life(dated)}, KEY).decide(undated).doubt == "undated"
    paths = Guard({"o": life(replace(DOCS, paths=("a/**",)))}, KEY)
    assert paths.decide(Facts("docs", b"a.txt")).doubt == "path-unknown"


def test_a_record_is_decided_by_its_own_values() -> None:
    """A document's schema serves: its fields are as good as any others'."""
    clause = replace(Clause("c", ("posts",)), accounts=("u1",), match=(("media_type", "^image/"),))
    guard = Guard({"o": life(clause)}, KEY)
    values = [
        text_value("account:u1"),
        text_value("p1"),
        text_value("image/png"),
        NULL,
        NULL,
        text_value("x"),
        NULL,
    ]

    def item(*changed: tuple[int, bytes]) -> Facts:
        own = list(values)
        for place, value in changed:
            own[place] = value
        return Facts("posts", b"p1", schema=DOCUMENT_V1, values=own)

    assert guard.decide(item()).held
    assert not guard.decide(item((0, text_value("account:u2")))).held
    assert not guard.decide(item((0, text_value("custodian:u1")))).held
    assert not guard.decide(item((2, text_value("text/plain")))).held
    assert guard.decide(item((0, NULL))).doubt == "holder-unknown"


def test_a_ref_is_made_of_the_item_and_the_vault_and_of_nothing_else() -> None:
    refs = {
        ref_of(KEY, source, native)
        for source in ("docs", "docs2")
        for native in (b"a", b"b", b"\xff", b"%FF")
    }
    assert len(refs) == 6  # the byte 0xFF alone is written as %FF, as a row has it
    assert ref_of(KEY, "docs", b"a") != ref_of(VaultKey(bytes(32)), "docs", b"a")
    assert all(len(each) == 8 for each in refs)


def test_a_closed_guard_holds_everything_and_names_nothing() -> None:
    verdict = Guard.closed(KEY).decide(Facts("whatever", b"x"))
    assert (verdict.held, verdict.holds, verdict.ref) == (True, (), ref_of(KEY, "whatever", b"x"))
    assert verdict.restricted


def test_readings_under_several_sources_are_decided_as_the_definition_says() -> None:
    """Each reading is asked of the clauses over its own source; any that holds counts, and the ref is the first's."""
    orders = {
        "o1": life(Clause("a", ("docs",), paths=("hr/**",))),
        "o2": life(Clause("b", ("mail",), paths=("x/*",))),
    }
    guard = Guard(orders, KEY)
    first, second = Facts("copy", b"a.txt", b"a.txt"), Facts("docs", b"hr/a.txt", b"hr/a.txt")
    verdict = guard.decide(first, second)
    assert verdict == decide(orders, (first, second), guard.ref("copy", b"a.txt"))
    assert [each.order for each in verdict.holds] == ["o1"]
    assert not guard.decide(first).held


@pytest.mark.parametrize("path", [b"./hr/a.txt", b"/hr/a.txt", b"x/../hr/a.txt", b"hr//a.txt", b""])
def test_a_path_that_no_source_spells_so_is_not_known(path: bytes) -> None:
    orders = {"o1": life(Clause("a", ("docs",), paths=("hr/**",)))}
    facts = Facts("docs", path, path)
    verdict = Guard(orders, KEY).decide(facts)
    assert (verdict.held, verdict.doubt) == (True, "path-unknown")
    assert verdict == decide(orders, (facts,), verdict.ref or "")
