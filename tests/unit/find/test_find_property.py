"""`find` gives what a naive filter over all records gives, whatever part of it the index answers."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.find.records import DAY_US, START_US, Known, World, filled, shape, shape_of, small_frames


class Query(NamedTuple):
    """A query as it is written, and what it means."""

    text: str
    passes: Callable[[Known], bool]

    def __repr__(self) -> str:
        return self.text


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with small_frames():
        world = filled(tmp_path_factory.mktemp("find"))
        yield world
        world.ledger.close()


ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "contains": lambda a, b: b in a,
    "starts with": lambda a, b: a.startswith(b),
}


def compared(read: Callable[[Known], Any], name: str, word: str, value: Any, written: str) -> Query:
    order = ORDERS[word]

    def passes(known: Known) -> bool:
        found = read(known)
        return found is not None and found == found and order(found, value)

    return Query(f"{name} {word} {written}", passes)


def field(name: str) -> Callable[[Known], Any]:
    return lambda known: known.values.get(name)


def account(known: Known) -> str | None:
    text = known.identifier
    if text is None or text.startswith("custodian:"):
        return None
    return text.partition(":")[2]


def custodian(known: Known) -> str | None:
    text = known.identifier
    return text.partition(":")[2] if text is not None and text.startswith("custodian:") else None


def native(known: Known) -> Any:
    """Give the identifier in dimension native, which logins do not have."""
    return None if known.source == "logins" else known.values["native_id"]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def text_leaf(draw: st.DrawFn, name: str, read: Callable[[Known], Any], values: list[str]) -> Query:
    if draw(st.integers(0, 4)) == 0:
        chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
        return Query(f"{name} IN ({', '.join(map(quoted, chosen))})", lambda known: read(known) in chosen)
    if draw(st.integers(0, 4)) == 0:
        return Query(f"{name} is null", lambda known: read(known) is None)
    value = draw(st.sampled_from(values))
    return compared(read, name, draw(st.sampled_from(list(ORDERS))), value, quoted(value))


@st.composite
def time_leaf(draw: st.DrawFn) -> Query:
    word = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "null"]))
    if word == "null":
        return Query("time is null", lambda known: known.time_us is None)
    days = draw(st.integers(-7, 12))
    start = START_US + days * DAY_US
    if draw(st.booleans()):
        moment = datetime.fromtimestamp(start // 1_000_000, UTC)
        return compared(lambda known: known.time_us, "time", word, start, f'"{moment:%Y-%m-%dT%H:%M:%SZ}"')
    day = datetime.fromtimestamp(start // 1_000_000, UTC)
    return compared(
        lambda known: None if known.time_us is None else known.time_us // DAY_US,
        "time", word, start // DAY_US, draw(st.sampled_from([f'"{day:%Y-%m-%d}"', f"{day:%Y-%m-%d}"])),
    )  # fmt: skip


@st.composite
def number_leaf(draw: st.DrawFn) -> Query:
    word = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]))
    value = draw(st.sampled_from([0, 1, 3]))

    def tokens(known: Known) -> Any:
        found = known.values.get("tokens")
        return found if isinstance(found, int) else None

    if word in ("=", "!="):  # a text compares with a number's digits
        digits = lambda known: None if known.values.get("tokens") is None else str(known.values["tokens"])  # noqa: E731
        return Query(f"tokens {word} {value}", compared(digits, "tokens", word, str(value), "").passes)
    return compared(tokens, "tokens", word, value, str(value))


SOURCES = ["docs", "posts", "logins", "s0002", "s0002/1", "scelle.order"]


@st.composite
def source_leaf(draw: st.DrawFn) -> Query:
    value = draw(st.sampled_from(SOURCES[:5]))
    if draw(st.booleans()):
        return Query(f"source = {quoted(value)}", lambda known: value in names(known))
    return Query(f"source != {quoted(value)}", lambda known: value not in names(known))


def names(known: Known) -> tuple[str, ...]:
    """Give what a query may call a record's source."""
    return known.source, known.alias, known.alias.partition("/")[0]


def leaves(holder: str) -> st.SearchStrategy[Query]:
    read = account if holder == "account" else custodian
    return st.one_of(
        text_leaf(holder, read, ["u1", "u2", "@a", "", "staff-017@example.org", "account:u1"]).filter(
            lambda query: "is null" not in query.text
        ),
        st.just(Query(f"{holder} is null", lambda known: known.identifier is None)),
        text_leaf("model", field("model"), ["m-1", "m-2", "m-é", "", 'm"\\']),
        text_leaf("native", native, ["p-1", "p-7", "notes/1.txt", "l"]),
        text_leaf("media_type", field("media_type"), ["text/plain", "application/pdf", "t"]),
        time_leaf(),
        number_leaf(),
        source_leaf(),
    )


def all_of(parts: list[Query]) -> Query:
    text = " and ".join(part.text for part in parts)
    return Query(f"({text})", lambda known: all(part.passes(known) for part in parts))


def any_of(parts: list[Query]) -> Query:
    text = " OR ".join(part.text for part in parts)
    return Query(f"({text})", lambda known: any(part.passes(known) for part in parts))


def negated(part: Query) -> Query:
    return Query(f"not {part.text}", lambda known: not part.passes(known))


def queries(holder: str) -> st.SearchStrategy[Query]:
    def joined(inner: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
        several = st.lists(inner, min_size=2, max_size=3)
        return several.map(all_of) | several.map(any_of) | inner.map(negated)

    return st.recursive(leaves(holder), joined, max_leaves=6)


ASKED = st.sampled_from(["account", "custodian"]).flatmap(
    lambda holder: st.tuples(st.just(holder), queries(holder))
)


@settings(max_examples=200, deadline=None)
@given(asked=ASKED, limit=st.sampled_from([0, 3, 1000]))
def test_find_is_a_naive_filter(world: World, asked: tuple[str, Query], limit: int) -> None:
    holder, (text, passes) = asked
    other = "custodian:" if holder == "account" else ("account:", "handle:")

    def expected(known: Known) -> bool:
        is_others = holder in text and known.identifier is not None and known.identifier.startswith(other)
        return passes(known) and not is_others

    found = world.find(text, limit=limit)
    naive = world.naive(expected)
    assert found.count == len(naive), text
    assert shape(found) == shape_of(naive)[:limit], text
