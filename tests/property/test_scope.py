"""Whatever the clauses: compiled equals plain, patterns equal a naive matcher, sealed clauses come back."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from scelle.scope import (
    UNDATED,
    Clause,
    ItemView,
    Keep,
    check_clause,
    clause_from_json,
    clause_to_json,
    compile_clauses,
    covers,
    match_clauses,
)
from scelle.scope.globs import compile_glob, path_text

TIMES = st.one_of(st.integers(-5, 5), st.sampled_from([-(2**53), 2**53]))
ITEM_TIMES = st.one_of(st.just(UNDATED), st.integers(-6, 6), st.integers(UNDATED + 1, 2**63 - 1))
COMPONENT = st.lists(
    st.sampled_from(["a", "b", "*", "?", "é", "[ab]", "[!a]", "[a-é]", "."]), min_size=1, max_size=4
).map("".join)
COMPONENTS = st.lists(st.one_of(COMPONENT, st.just("**")), min_size=1, max_size=5)
PATTERNS = COMPONENTS.filter(
    lambda cs: not any(c in (".", "..") or ("**" in c and c != "**") for c in cs)
).map("/".join)
NAMES = st.lists(st.sampled_from([b"a", b"b", b".", "é".encode(), b"\xff", b"\n"]), min_size=1, max_size=4)
PATHS = st.lists(NAMES.map(b"".join), min_size=1, max_size=5).map(b"/".join)
SOURCES = st.sampled_from(["docs", "mail", "code"])
HOLDERS = st.sampled_from(["ann", "bob", "4711"])
TYPES = st.sampled_from(["text/plain", "image/png", "IMAGE/gif", "text/html; charset=x", "", "odd"])
ITEMS = st.builds(ItemView, SOURCES, PATHS, ITEM_TIMES, TYPES, st.none() | HOLDERS, st.none() | HOLDERS)


def some(names: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(names, max_size=2).map(tuple)


@st.composite
def clauses(draw: st.DrawFn) -> Clause:
    bounds = sorted(draw(st.sets(TIMES, min_size=2, max_size=2)))
    return Clause(
        id=draw(st.sampled_from(["one", "two", "three"])),
        sources=tuple(draw(st.sets(SOURCES, min_size=1))),
        period_from_us=draw(st.sampled_from([None, bounds[0]])),
        period_to_us=draw(st.sampled_from([None, bounds[1]])),
        paths=draw(some(st.one_of(st.just("**/*"), PATTERNS))),
        custodians=draw(some(HOLDERS)),
        accounts=draw(some(HOLDERS)),
        media_types=draw(some(st.sampled_from(["*", "*/*", "image/*", "text/plain"]))),
        restricted=draw(st.booleans()),
        keep=draw(st.sampled_from(Keep)),
    )


def naive_characters(pattern: str, name: str) -> bool:
    """Match one component, character by character, by trying everything."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(naive_characters(pattern[1:], name[i:]) for i in range(len(name) + 1))
    if not name:
        return False
    if pattern[0] == "?":
        return naive_characters(pattern[1:], name[1:])
    if pattern[0] == "[":
        end = pattern.index("]")
        members = {"ab": {"a", "b"}, "!a": {"a"}, "a-é": set(map(chr, range(ord("a"), ord("é") + 1)))}
        inside = pattern[1:end]
        fits = (name[0] in members[inside]) != inside.startswith("!")
        return fits and naive_characters(pattern[end + 1 :], name[1:])
    return pattern[0] == name[0] and naive_characters(pattern[1:], name[1:])


def naive_components(pattern: Sequence[str], path: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(path)
        return any(naive_components(pattern[1:], path[i:]) for i in range(len(path) + 1))
    return bool(path) and naive_characters(pattern[0], path[0]) and naive_components(pattern[1:], path[1:])


@given(PATTERNS, PATHS)
def test_patterns_equal_a_naive_matcher(pattern: str, path: bytes) -> None:
    expected = naive_components(pattern.split("/"), path_text(path).split("/"))
    assert (compile_glob(pattern).fullmatch(path_text(path)) is not None) is expected


@given(st.lists(clauses(), max_size=4), st.lists(ITEMS, min_size=1, max_size=6))
def test_compiled_equals_plain(orders: list[Clause], items: list[ItemView]) -> None:
    decide = compile_clauses(orders)
    for item in items:
        match = decide(item)
        assert match == match_clauses(orders, item)
        verdicts = [covers(clause, item) for clause in orders]
        assert match.covered is any(verdict.covered for verdict in verdicts)
        covering = [c.id for c, v in zip(orders, verdicts, strict=True) if v.covered]
        assert list(match.clause_ids) == covering
        assert match.covered or match.excluded_by in {v.reason for v in verdicts} | {"source"}


@given(clauses(), ITEMS)
def test_what_is_not_known_never_excludes(clause: Clause, item: ItemView) -> None:
    nothing_known = item._replace(time_us=UNDATED, media_type="", custodian=None, account=None)
    if covers(clause, item).covered:
        assert covers(clause, nothing_known).covered


@given(clauses(), ITEMS)
def test_the_period_is_half_open(clause: Clause, item: ItemView) -> None:
    start, end = clause.period_from_us, clause.period_to_us
    free = Clause("free", clause.sources, period_from_us=start, period_to_us=end)
    inside = item.time_us == UNDATED or (
        (start is None or item.time_us >= start) and (end is None or item.time_us < end)
    )
    assert covers(free, item._replace(source=clause.sources[0])).covered is inside


@given(clauses())
def test_sealed_clauses_come_back(clause: Clause) -> None:
    check_clause(clause)
    assert clause_from_json(clause_to_json(clause)) == clause
