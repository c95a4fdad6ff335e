"""Whatever the clauses: compiled equals plain, patterns equal a naive matcher, sealed clauses come back."""

import re
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import ClauseWrong
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.formats.schema import Field, Schema
from scelle.formats.values import NULL, bytes_value, integer_value, number_text_value, text_value
from scelle.scope import (
    UNDATED,
    Clause,
    ItemView,
    Keep,
    Reason,
    RecordSource,
    RecordView,
    check_clause,
    clause_from_json,
    clause_to_json,
    compile_clauses,
    compile_record_clauses,
    covers,
    match_clauses,
    match_record,
    read_accounts,
)
from scelle.scope.globs import compile_glob, path_text
from scelle.scope.narrowing import widened_by
from scelle.scope.patterns import Pattern

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


FILES = st.lists(HOLDERS, min_size=1, max_size=3).map(
    lambda names: read_accounts("ids.txt", ["\n".join(names).encode()])
)
MODELS = st.sampled_from(["imagine-1", "imagine-2", ""])
TEXTS = st.sampled_from(["a red fox", "A RED WOLF\n", "", "wolf"])
DIMENSIONS = st.dictionaries(
    st.sampled_from(["model", "surface"]),
    st.lists(MODELS.filter(bool), min_size=1, max_size=2).map(tuple),
    max_size=2,
)
SEARCHES = st.dictionaries(
    st.sampled_from(["prompt", "model", "output", "score", "time"]),
    st.sampled_from(["fox|wolf$", "(?i)red", "^$", "(a|aa)+b", "2"]),
    max_size=2,
)
EXPRESSIONS = st.sampled_from(
    [
        "r.score > 1",
        "r.model == 'imagine-2' || r.output == 'x'",
        "r['prompt'].contains('fox') && account != null",
        "time >= timestamp('1970-01-01T00:00:00Z')",
        "r.exists(name, name == 'surface')",
        "r.prompt",
    ]
)


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
        accounts_file=draw(st.none() | FILES),
        dimensions=tuple(sorted(draw(DIMENSIONS).items())),
        match=tuple(sorted(draw(SEARCHES).items())),
        where=draw(st.none() | EXPRESSIONS),
        carve_out=draw(st.sampled_from([False, False, True])),
    )


@st.composite
def record_sources(draw: st.DrawFn) -> RecordSource:
    """A source of records: with accounts or without, with the dimensions and fields that clauses name or not."""
    surface = [Field("surface", "s")] if draw(st.booleans()) else []
    rest = [Field("prompt", "s"), Field("score", draw(st.sampled_from(["i", "D", "s"])))]
    schema = Schema(
        "posts",
        1,
        ("source", "account", "model", *(field.name for field in surface)),
        (
            *(Field("time", "t"), Field("seq", "i"), Field("account", draw(st.sampled_from(["s", "n"])))),
            *(Field("model", "s"), *surface, *rest[draw(st.integers(0, 1)) :]),
        ),
    )
    holder = draw(st.none() | HOLDERS)
    is_custodian = draw(st.booleans())
    return RecordSource(draw(SOURCES), schema, *((holder, None) if is_custodian else (None, holder)))


@st.composite
def records(draw: st.DrawFn, schema: Schema) -> RecordView:
    """A record of the schema: any field null, text that is none, accounts of every kind and of none."""
    kinds = st.sampled_from(["account:", "custodian:", "handle:", "", ":"])
    account = (
        draw(st.none() | st.builds(str.__add__, kinds, HOLDERS)) if schema.fields[2].type == "s" else None
    )
    of_type = {
        "s": st.one_of(TEXTS.map(text_value), st.just(bytes_value(b"fox\xff"))),
        "i": st.integers(-1, 3).map(integer_value),
        "D": st.sampled_from(["0.5", "12345678901234567890"]).map(number_text_value),
    }
    values = [NULL if account is None else text_value(account)]
    for field in schema.fields[3:]:
        some_value = MODELS.map(text_value) if field.name in schema.dimensions else of_type[field.type]
        values.append(draw(st.just(NULL) | some_value))
    return RecordView(draw(PATHS), draw(ITEM_TIMES), account, values)


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
        claims = [c for c, v in zip(orders, verdicts, strict=True) if v.covered and not c.carve_out]
        is_carved = any(
            v.reason is Reason.MATCH for c, v in zip(orders, verdicts, strict=True) if c.carve_out
        )
        assert match.covered is (bool(claims) and not is_carved)
        assert list(match.clause_ids) == [c.id for c in claims if not is_carved]
        if not match.covered:
            reasons = {v.reason for c, v in zip(orders, verdicts, strict=True) if not c.carve_out} | {
                "source"
            }
            assert match.excluded_by in ({"carved-out"} if claims else reasons)


@given(st.lists(clauses(), max_size=4), record_sources(), st.data())
def test_compiled_equals_plain_for_records(
    orders: list[Clause], source: RecordSource, data: st.DataObject
) -> None:
    decide = compile_record_clauses(orders, *source)
    for record in data.draw(st.lists(records(source.schema), min_size=1, max_size=6)):
        match = decide(record)
        assert match == match_record(orders, source, record)
        assert match is decide(record)
        alone = [(c, match_record([replace(c, carve_out=False)], source, record)) for c in orders]
        claims = [c.id for c, each in alone if each.covered and not c.carve_out]
        is_carved = any(each.covered and each.doubt is None for c, each in alone if c.carve_out)
        assert match.covered is (bool(claims) and not is_carved)
        assert [*match.clause_ids] == ([] if is_carved else claims)


@given(st.lists(clauses(), max_size=4), st.lists(ITEMS, min_size=1, max_size=6))
def test_a_carve_out_only_takes_out(orders: list[Clause], items: list[ItemView]) -> None:
    without = [clause for clause in orders if not clause.carve_out]
    for item in items:
        match, free = match_clauses(orders, item), match_clauses(without, item)
        assert not match.covered or match == free
        if free.covered and not match.covered:
            assert match.excluded_by is Reason.CARVED_OUT
            assert match.closest in {clause.id for clause in orders if clause.carve_out}
        elif not free.covered:
            assert match == free  # a carve-out gives no reason where nothing would cover the item


@given(clauses(), record_sources(), st.data())
def test_what_a_schema_lacks_never_excludes(
    clause: Clause, source: RecordSource, data: st.DataObject
) -> None:
    """A record that is covered stays so when its source tells nothing of it (an expression may ask for nulls)."""
    asked = replace(clause, where=None, carve_out=False)
    record = data.draw(records(source.schema))
    bare = Schema("bare", 1, ("source", "account"), (*source.schema.fields[:2], Field("account", "s")))
    nothing = RecordView(record.path, UNDATED, None, [NULL])
    if match_record([asked], source, record).covered:
        assert match_record([asked], RecordSource(source.name, bare, None, None), nothing).covered


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["a", "b", ".", "[ab]", "[^a]", r"\w", r"\s", r"\b", "^", "$", r"\A", r"\Z", "(a|bc)", "(a|)"]
            ),
            st.sampled_from(["", "", "*", "+", "?", "{2}", "{0,2}", "*?"]),
        ).map("".join),
        min_size=1,
        max_size=5,
    ).map("".join),
    st.sampled_from(["", "(?i)", "(?s)", "(?m)", "(?ims)"]),
    st.sampled_from(["{}", "({})+", "a|{}", "(?:{}){{0,2}}b"]),
    st.text("abcA é\n1_", max_size=8),
)
def test_one_pass_equals_re(parts: str, flags: str, around: str, text: str) -> None:
    source = flags + around.format(parts)
    try:
        pattern = Pattern(source)
    except ClauseWrong:
        return
    expected = re.search(source, text) is not None
    assert pattern.search(text) is expected
    pattern._re_max_characters = -1  # so that only the automaton can decide
    assert pattern.search(text) is expected


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
    sealed = clause_to_json(clause)
    assert clause_from_json(parse_json_strict(canonical_json(sealed))) == clause
    optional = ("accounts_file", "dimensions", "match", "where", "carve_out")
    assert set(optional) & set(sealed) == {key for key in optional if getattr(clause, key)}


@given(clauses(), clauses(), st.lists(ITEMS, min_size=1, max_size=4), record_sources(), st.data())
def test_what_is_said_to_widen_nothing_lets_nothing_in_that_lists_and_periods_kept_out(
    before: Clause, after: Clause, items: list[ItemView], source: RecordSource, data: st.DataObject
) -> None:
    """Patterns and expressions are not compared; whatever else lets an item in is found."""
    asked = replace(before, paths=(), match=(), where=None, carve_out=False)
    wanted = replace(after, paths=(), match=(), where=None, carve_out=False)
    if widened_by(asked, wanted) is not None:
        return
    for item in items:
        assert covers(asked, item).covered or not covers(wanted, item).covered
    record = data.draw(records(source.schema))
    if match_record([wanted], source, record).covered:
        assert match_record([asked], source, record).covered


@given(clauses())
def test_a_clause_does_not_widen_itself(clause: Clause) -> None:
    assert widened_by(clause, clause) is None
    assert widened_by(clause, replace(clause, id="other", accounts_file=clause.accounts_file)) is None
