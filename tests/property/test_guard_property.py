"""Whatever the orders, clauses and items: the fast guard equals the definition, and not knowing never lets go."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scelle.formats.schema import Field, Schema
from scelle.formats.values import NULL, text_value
from scelle.guard import Facts, Guard
from scelle.guard.model import decide
from scelle.orders.lifecycle import ClauseLife, Life, Term
from scelle.orders.model import Moment, Order
from scelle.orders.types import Notify, OrderType, Temporal
from scelle.scope import (
    UNDATED,
    Clause,
    ItemView,
    RecordSource,
    RecordView,
    covers,
    match_clauses,
    match_record,
    read_accounts,
)
from scelle.vault.keys import VaultKey

KEY = VaultKey(bytes(range(32)))
REF = "00000000"
POSTS = Schema(
    "posts",
    1,
    ("source", "account", "native"),
    (
        Field("time", "t"),
        Field("seq", "i"),
        Field("account", "s"),
        Field("native_id", "s"),
        Field("text", "s"),
    ),
)
MOMENT = Moment("2026-01-08", 0)
ORDER = Order(
    "o", "m", OrderType.INTERNAL, "a", "b", "r", MOMENT, MOMENT, "UTC", Temporal.BOTH, Notify.PERMITTED,
)  # fmt: skip
NAMES = st.sampled_from(["ann", "bob", "4711"])
SOURCES = st.sampled_from(["docs", "posts"])
FILES = st.lists(NAMES, min_size=1, max_size=2).map(
    lambda names: read_accounts("ids.txt", ["\n".join(names).encode()])
)


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, max_size=2).map(tuple)


@st.composite
def clauses(draw: st.DrawFn) -> Clause:
    made = Clause(
        id=draw(st.sampled_from(["one", "two", "three"])),
        sources=tuple(draw(st.sets(SOURCES, min_size=1))),
        period_from_us=draw(st.sampled_from([None, -2])),
        period_to_us=draw(st.sampled_from([None, 3])),
        paths=draw(some(st.sampled_from(["**/*", "a/**", "b"]))),
        custodians=draw(some(NAMES)),
        accounts=draw(some(NAMES)),
        media_types=draw(some(st.sampled_from(["*", "image/*", "text/plain"]))),
        accounts_file=draw(st.none() | FILES),
        dimensions=draw(st.sampled_from([(), (("native", ("p1",)),), (("model", ("m1",)),)])),
        match=draw(st.sampled_from([(), (("text", "fox"),)])),
        where=draw(st.sampled_from([None, None, "r.text == 'fox'", "r.nothing == 1"])),
    )
    return replace(made, carve_out=True) if draw(st.integers(0, 3)) == 0 else made


CLAUSE_LIVES = st.builds(ClauseLife, clauses(), st.just(0), st.sampled_from([None, None, 5]))


@st.composite
def lives(draw: st.DrawFn) -> dict[str, Life]:
    found = {}
    for number in range(draw(st.integers(0, 3))):
        mine = tuple(draw(st.lists(CLAUSE_LIVES, max_size=3)))
        released = draw(st.sampled_from([None, None, None, 9]))
        found[f"o{number}"] = Life(
            ORDER,
            (Term(0, ORDER),),
            mine,
            frozenset(),
            released_us=released,
            lifted_us=draw(st.sampled_from([None, 4])),
        )
    return found


@st.composite
def documents(draw: st.DrawFn) -> Facts:
    custodian = draw(st.none() | NAMES)
    return Facts(
        draw(SOURCES),
        draw(st.sampled_from([b"a/x", b"b", b"\xff"])),
        draw(st.sampled_from([None, b"a/x", b"b", b"c\xff"])),
        draw(st.sampled_from([UNDATED, -3, 0, 3])),
        draw(st.sampled_from(["", "image/png", "text/plain; charset=x"])),
        custodian,
        draw(st.none() | NAMES) if custodian is None else None,
    )


@st.composite
def records(draw: st.DrawFn) -> Facts:
    account = draw(st.sampled_from([None, "account:ann", "custodian:bob", "handle:4711", "ann"]))
    values = [
        NULL if account is None else text_value(account),
        text_value(draw(st.sampled_from(["p1", "p2"]))),
    ]
    values.append(draw(st.sampled_from([NULL, text_value("fox"), text_value("a wolf")])))
    holder = draw(st.none() | NAMES)
    return Facts(
        draw(SOURCES), b"p1", None, draw(st.sampled_from([UNDATED, -3, 0])), "", None, holder, POSTS, values
    )


ITEMS = documents() | records()
SEALED_IN = st.sets(st.sampled_from(["o0", "o1", "o2"]))


@given(lives(), st.lists(ITEMS, min_size=1, max_size=2), SEALED_IN)
def test_the_fast_guard_equals_the_definition(
    orders: Mapping[str, Life], items: Sequence[Facts], sealed_in: set[str]
) -> None:
    readings = [replace(each, source=items[0].source) for each in items]
    guard = Guard(orders, KEY)
    ref = guard.ref(readings[0].source, readings[0].native)
    assert guard.decide(*readings) == decide(orders, readings, ref)
    assert (
        guard.holds_of(*readings, sealed_in=sealed_in)
        == decide(orders, readings, ref, sealed_in=sealed_in).holds
    )


@given(lives(), ITEMS)
def test_an_item_that_a_clause_covers_is_held_unless_a_carve_out_certainly_lets_it_go(
    orders: Mapping[str, Life], facts: Facts
) -> None:
    def covered(clause: Clause) -> bool:
        plain = replace(clause, carve_out=False)
        if facts.path is None:
            plain = replace(plain, paths=())
        if facts.values is None:
            item = ItemView(
                facts.source,
                facts.path or b"",
                facts.time_us,
                facts.media_type,
                facts.custodian,
                facts.account,
            )
            return covers(plain, item).covered
        account = None if facts.values[0] == NULL else facts.values[0][5:].decode()
        source = RecordSource(facts.source, POSTS, facts.custodian, facts.account)
        return match_record([plain], source, RecordView(b"", facts.time_us, account, facts.values)).covered

    holding, only_claims = set(), set()
    for order, life in orders.items():
        growing = [each.clause for each in life.clauses if each.stopped_us is None]
        claims = any(covered(clause) for clause in growing if not clause.carve_out)
        carved = any(covered(clause) for clause in growing if clause.carve_out)
        if life.released_us is None and claims:
            holding.add(order)
            if not carved:
                only_claims.add(order)
    named = {hold.order for hold in Guard(orders, KEY).decide(facts).holds}
    assert only_claims <= named <= holding


@given(lives(), documents())
def test_of_a_document_that_is_known_the_guard_says_what_capture_says(
    orders: Mapping[str, Life], facts: Facts
) -> None:
    path = facts.path or facts.native
    known = replace(facts, path=path)
    item = ItemView(known.source, path, known.time_us, known.media_type, known.custodian, known.account)
    sealing = {
        order
        for order, life in orders.items()
        if life.holds and match_clauses(life.active_clauses, item).covered
    }
    assert {hold.order for hold in Guard(orders, KEY).decide(known).holds} == sealing


@given(
    lives(), documents(), st.sets(st.sampled_from(["path", "time_us", "media_type", "custodian", "account"]))
)
def test_not_knowing_never_lets_go(orders: Mapping[str, Life], facts: Facts, forgotten: set[str]) -> None:
    unknown: dict[str, Any] = {each.name: each.default for each in fields(Facts) if each.name in forgotten}
    less = replace(facts, **unknown)
    guard = Guard(orders, KEY)
    assert {hold.order for hold in guard.decide(facts).holds} <= {
        hold.order for hold in guard.decide(less).holds
    }


@given(lives(), records())
def test_not_knowing_a_records_values_never_lets_go(orders: Mapping[str, Life], facts: Facts) -> None:
    guard = Guard(orders, KEY)
    verdict = guard.decide(Facts(facts.source, facts.native))
    assert {hold.order for hold in guard.decide(facts).holds} <= {hold.order for hold in verdict.holds}


@given(lives(), ITEMS, SEALED_IN)
def test_what_an_order_sealed_it_holds_until_it_is_released(
    orders: Mapping[str, Life], facts: Facts, sealed_in: set[str]
) -> None:
    guard = Guard(orders, KEY)
    kept = {hold.order for hold in guard.holds_of(facts, sealed_in=sealed_in)}
    living = {order for order, life in orders.items() if life.released_us is None}
    assert kept == (sealed_in & living) | {hold.order for hold in guard.decide(facts).holds}
    for hold in guard.holds_of(facts, sealed_in=sealed_in):
        live = {(each.order, each.clause) for each in guard.decide(facts).holds}
        assert hold.grows == ((hold.order, hold.clause) in live)


@given(lives(), lives(), ITEMS)
def test_a_ref_tells_nothing_of_orders(
    one: Mapping[str, Life], other: Mapping[str, Life], facts: Facts
) -> None:
    refs = {Guard(each, KEY).decide(facts).ref for each in (one, other)} - {None}
    assert len(refs) <= 1
    assert "ref" in repr(Guard(one, KEY).decide(facts))
    assert "Hold(" not in repr(Guard(one, KEY).decide(facts))
