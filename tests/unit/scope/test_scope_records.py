"""What clauses cover of records: each predicate, each doubt, and that the fast way says the same."""

import sys
from dataclasses import replace

import pytest

from scelle.errors import ClauseWrong, ExpressionEngineMissing
from scelle.formats.schema import Field, Schema
from scelle.formats.values import (
    NULL,
    bytes_value,
    content_value,
    double_value,
    integer_value,
    number_text_value,
    structure_value,
    text_value,
    time_value,
)
from scelle.scope import (
    UNDATED,
    Clause,
    ItemView,
    Match,
    Reason,
    RecordSource,
    RecordView,
    check_clause,
    check_expression,
    compile_clauses,
    compile_record_clauses,
    covers,
    explain,
    match_clauses,
    match_record,
)
from scelle.scope.expressions import _compiled, named_fields

SCHEMA = Schema(
    "posts",
    1,
    ("source", "account", "model"),
    (
        Field("time", "t"),
        Field("seq", "i"),
        Field("account", "s"),
        Field("model", "s"),
        Field("prompt", "s"),
        Field("score", "i"),
        Field("more", "j"),
    ),
)
SOURCE = RecordSource("posts", SCHEMA, None, None)
VALUES = [
    text_value("account:4711"),
    text_value("imagine-2"),
    text_value("a red fox"),
    integer_value(7),
    structure_value(b'{"tags":["x","y"]}'),
]
RECORD = RecordView(b"2026/a.jsonl", 1500, "account:4711", VALUES)
NARROW = Clause(
    "narrow",
    ("posts",),
    period_from_us=1000,
    period_to_us=2000,
    paths=("2026/**",),
    custodians=("ann",),
    accounts=("4711",),
    media_types=("image/png",),
    dimensions=(("model", ("imagine-1", "imagine-2")),),
    match=(("prompt", "(?i)FOX"),),
    where="r.score > 5",
)


def matched(clause: Clause, record: RecordView, source: RecordSource = SOURCE) -> Match:
    """Decide in both ways, which must agree."""
    plain = match_record([clause], source, record)
    fast = compile_record_clauses([clause], *source)
    assert fast(record) == plain
    assert fast(record) is fast(record)
    return plain


def reason(clause: Clause, record: RecordView, source: RecordSource = SOURCE) -> Reason:
    match = matched(clause, record, source)
    return (match.doubt or Reason.MATCH) if match.covered else (match.excluded_by or Reason.SOURCE)


def with_value(place: int, value: bytes) -> RecordView:
    return RECORD._replace(values=[*VALUES[:place], value, *VALUES[place + 1 :]])


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (RECORD, Reason.MATCH),
        (RECORD._replace(time_us=999), Reason.PERIOD),
        (RECORD._replace(time_us=2000), Reason.PERIOD),
        (RECORD._replace(time_us=1000), Reason.MATCH),
        (RECORD._replace(time_us=UNDATED), Reason.UNDATED),
        (RECORD._replace(path=b"2025/a.jsonl"), Reason.PATH),
        (RECORD._replace(account="account:4712"), Reason.ACCOUNT),
        (RECORD._replace(account="handle:4711"), Reason.MATCH),
        (RECORD._replace(account="custodian:ann"), Reason.MATCH),
        (RECORD._replace(account="custodian:4711"), Reason.CUSTODIAN),
        (RECORD._replace(account="account:ann"), Reason.ACCOUNT),
        (RECORD._replace(account="account:account:4711"), Reason.ACCOUNT),
        (RECORD._replace(account="4711"), Reason.HOLDER_UNKNOWN),
        (RECORD._replace(account=None), Reason.HOLDER_UNKNOWN),
        (with_value(1, text_value("imagine-3")), Reason.DIMENSION),
        (with_value(1, NULL), Reason.DIMENSION),
        (with_value(2, text_value("a red wolf")), Reason.FIELD),
        (with_value(2, NULL), Reason.FIELD),
        (with_value(2, bytes_value(b"fox\xff")), Reason.FIELD_UNKNOWN),
        (with_value(2, b"s\0\0\0\x04fox\xff"), Reason.FIELD_UNKNOWN),
        (with_value(3, integer_value(5)), Reason.WHERE),
        (with_value(3, NULL), Reason.WHERE_UNDECIDED),
        (with_value(3, text_value("7")), Reason.WHERE_UNDECIDED),
        (RECORD._replace(time_us=UNDATED, account=None), Reason.UNDATED),
        (RECORD._replace(time_us=UNDATED, values=[*VALUES[:3], integer_value(0), NULL]), Reason.WHERE),
    ],
)
def test_each_predicate_in_its_place(record: RecordView, expected: Reason) -> None:
    assert reason(NARROW, record) is expected


@pytest.mark.parametrize(
    ("letter", "custodian", "account", "of_record", "expected"),
    [
        ("s", None, None, None, Reason.HOLDER_UNKNOWN),
        ("s", "bob", None, None, Reason.HOLDER_UNKNOWN),
        ("s", "ann", None, None, Reason.MATCH),
        ("s", "ann", None, "account:9", Reason.ACCOUNT),
        ("s", None, "4711", "custodian:bob", Reason.CUSTODIAN),
        ("n", "bob", None, None, Reason.CUSTODIAN),
        ("n", None, "9", None, Reason.ACCOUNT),
        ("n", None, "4711", None, Reason.MATCH),
        ("n", None, None, None, Reason.HOLDER_UNKNOWN),
    ],
)
def test_a_records_account_comes_before_its_sources_holder(
    letter: str, custodian: str | None, account: str | None, of_record: str | None, expected: Reason
) -> None:
    fields = (*SCHEMA.fields[:2], Field("account", letter), *SCHEMA.fields[3:])
    source = RecordSource("posts", replace(SCHEMA, fields=fields), custodian, account)
    clause = Clause("c", ("posts",), custodians=("ann",), accounts=("4711",))
    value = NULL if of_record is None else text_value(of_record)
    record = RECORD._replace(account=of_record, values=[value, *VALUES[1:]])
    assert reason(clause, record, source) is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"dimensions": (("surface", ("web",)),)}, Reason.DIMENSION_UNKNOWN),
        ({"dimensions": (("prompt", ("a red fox",)),)}, Reason.DIMENSION_UNKNOWN),
        ({"match": (("output", "x"),)}, Reason.FIELD_UNKNOWN),
        ({"match": (("score", "7"),)}, Reason.FIELD_UNKNOWN),
        ({"match": (("time", "."),)}, Reason.FIELD_UNKNOWN),
        ({"match": (("seq", "."),)}, Reason.FIELD_UNKNOWN),
        ({"match": (("more", "x"),)}, Reason.FIELD_UNKNOWN),
        ({"match": (("model", "2$"), ("prompt", "^a"))}, Reason.MATCH),
        ({"match": (("model", "1$"), ("prompt", "^a"))}, Reason.FIELD),
        ({"match": (("output", "x"), ("prompt", "wolf"))}, Reason.FIELD),
        ({"where": "r.output == 'x'"}, Reason.WHERE_UNDECIDED),
        ({"where": "r.prompt"}, Reason.WHERE_UNDECIDED),
        ({"where": "true || r.output == 'x'"}, Reason.MATCH),
        ({"where": "'y' in r.more.tags"}, Reason.MATCH),
        ({"where": "r['score'] * 2 == 14 && !r.prompt.matches('wolf')"}, Reason.MATCH),
        ({"where": "account == 'account:4711'"}, Reason.MATCH),
        ({"where": "time < timestamp('1970-01-01T00:00:01Z')"}, Reason.MATCH),
        ({"where": "time > timestamp('1970-01-01T00:00:01Z')"}, Reason.WHERE),
        ({"where": "r.exists(name, name == 'score')"}, Reason.MATCH),
    ],
)
def test_what_clauses_ask_of_fields(change: dict[str, object], expected: Reason) -> None:
    clause = replace(Clause("c", ("posts",)), **change)  # type: ignore[arg-type]
    assert reason(clause, RECORD) is expected


def test_an_undated_record_is_undecided_where_time_is_asked_for() -> None:
    clause = Clause("c", ("posts",), where="time > timestamp('2026-01-01T00:00:00Z')")
    assert reason(clause, RECORD._replace(time_us=UNDATED)) is Reason.WHERE_UNDECIDED
    assert reason(clause, RECORD._replace(time_us=2**62)) is Reason.WHERE_UNDECIDED


@pytest.mark.parametrize(
    ("letter", "value", "where"),
    [
        ("D", number_text_value("12345678901234567890"), "r.x > 1e19"),
        ("d", double_value(0.5), "r.x == 0.5"),
        ("t", time_value(0), "r.x == timestamp('1970-01-01T00:00:00Z')"),
        ("t", time_value(UNDATED), "r.x == null"),
        ("x", bytes_value(b"\xff"), "size(r.x) == 1"),
        ("h", content_value(bytes(32), 9), "r.x.size == 9 && size(r.x.digest) == 32"),
        ("j", structure_value(b"[1,null,1e+21]"), "r.x[0] == 1 && r.x[1] == null && r.x[2] == 1e21"),
        ("s", NULL, "r.x == null"),
    ],
)
def test_fields_as_expressions_see_them(letter: str, value: bytes, where: str) -> None:
    schema = Schema("x", 1, ("source", "account"), (*SCHEMA.fields[:3], Field("x", letter)))
    record = RecordView(b"", 0, None, [NULL, value])
    assert (
        reason(Clause("c", ("x",), where=where), record, RecordSource("x", schema, None, None))
        is Reason.MATCH
    )


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("r.a == 1 && r . b > 2 || has(r.c)", {"a", "b", "c"}),
        ("r['a b'] == r[ \"c\" ]", {"a b", "c"}),
        ("'r.x' == r.a && other.r == 1", {"a"}),
        ("time == time", set()),
        ("r.a.b.c == 1 && rr.d == 2", {"a"}),
        ("r[x] == 1", None),
        ("r.size() == 1", None),
        ("size(r) == 1", None),
        ("[1].exists(r, r == 1)", None),
        (r"r['\x61'] == 1", None),
        ("r'''a''' == 'x'", None),
        ("r['a' + 'b'] == 1", None),
    ],
)
def test_only_named_fields_are_decoded(source: str, names: set[str] | None) -> None:
    assert named_fields(source) == names


def test_a_field_that_is_not_named_is_not_looked_at() -> None:
    broken = with_value(2, b"s\0\0\0\x09cut")
    decide = compile_record_clauses([Clause("c", ("posts",), where="r.score == 7")], *SOURCE)
    assert decide(broken).doubt is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "empty"),
        ("a" * 1001, "longer than 1000"),
        ("r.a ==", "no CEL expression"),
        ("'a", "no CEL expression"),
        ("r.a\n== ((1", "no CEL expression"),
        ("model == 'x'", "unknown name 'model'; write r.model"),
        ("r.a.lower() == 'x'", "unknown function 'lower'"),
        ("(" * 400 + "1" + ")" * 400, "no CEL expression"),
    ],
)
def test_refuses_expressions(source: str, said: str) -> None:
    with pytest.raises(ClauseWrong, match=said) as caught:
        check_expression(source)
    assert "\n" not in str(caught.value)


def test_accepts_names_that_an_expression_binds_itself() -> None:
    check_expression(
        "r.more.tags.exists(tag, tag == 'x') && type(r.score) == int && time.getFullYear() > 2000"
    )


def test_without_the_engine_an_expression_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    _compiled.cache_clear()
    with pytest.raises(ExpressionEngineMissing, match=r"scelle\[cel\]"):
        compile_record_clauses([Clause("c", ("posts",), where="r.a == 1")], *SOURCE)
    check_clause(Clause("c", ("posts",), where="r.a == 1"))  # what is sealed can be read without it
    compile_record_clauses([replace(NARROW, where=None)], *SOURCE)


def test_clauses_combine_as_for_documents() -> None:
    other = Clause("other", ("posts",), restricted=True)
    elsewhere = Clause("elsewhere", ("docs",))
    decide = compile_record_clauses([NARROW, elsewhere, other], *SOURCE)
    assert decide(RECORD).clause_ids == ("narrow", "other")
    assert decide(RECORD).restricted
    assert decide(RECORD) is decide(RECORD._replace(path=b"2026/b.jsonl"))
    assert decide(RECORD._replace(time_us=0)).clause_ids == ("other",)
    nothing = compile_record_clauses([elsewhere], *SOURCE)(RECORD)
    assert (nothing.covered, nothing.excluded_by) == (False, Reason.SOURCE)
    farther = compile_record_clauses([NARROW, replace(NARROW, id="far", where="r.score > 9")], *SOURCE)
    excluded = farther(with_value(2, text_value("no")))
    assert (excluded.excluded_by, excluded.closest) == (Reason.FIELD, "narrow")


def test_accounts_and_paths_beyond_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.scope.compiled._ACCOUNTS_SEEN_MAX", 3)
    monkeypatch.setattr("scelle.scope.compiled._SEEN_MAX", 3)
    clauses = [
        Clause("by-account", ("posts",), accounts=("1", "5")),
        Clause("by-path", ("posts",), paths=("a/1*",)),
    ]
    decide = compile_record_clauses(clauses, *SOURCE)
    for i in [*range(12), *range(12)]:
        record = RECORD._replace(account=f"account:{i}", path=b"a/%d" % i)
        assert decide(record) == match_record(clauses, SOURCE, record)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"dimensions": (("model", ("x",)),), "match": (("a", "b"),)}, Reason.DIMENSION_UNKNOWN),
        ({"match": (("a", "b"),), "where": "r.a == 1"}, Reason.FIELD_UNKNOWN),
        ({"where": "r.a == 1"}, Reason.WHERE_UNDECIDED),
        ({"where": "r.a == 1", "media_types": ("image/png",)}, Reason.MEDIA_TYPE),
        ({"where": "r.a == 1", "period_from_us": 1}, Reason.PERIOD),
    ],
)
def test_documents_are_covered_in_doubt(change: dict[str, object], expected: Reason) -> None:
    clause = replace(Clause("c", ("docs",)), **change)  # type: ignore[arg-type]
    item = ItemView("docs", b"a", 0, "text/plain")
    assert covers(clause, item).reason is expected
    assert compile_clauses([clause])(item) == match_clauses([clause], item)
    assert ("Covered" in explain(clause, item)) is expected.covers


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dimensions": (("account", ("1",)),)}, "dimensions.account: is named by `accounts`"),
        ({"dimensions": (("source", ("1",)),)}, "dimensions.source: is named by `sources`"),
        ({"dimensions": (("model", ()),)}, "dimensions.model: needs identifiers"),
        ({"dimensions": (("model", ("",)),)}, "dimensions.model: needs identifiers"),
        ({"dimensions": (("b", ("1",)), ("a", ("1",)))}, "dimensions: names"),
        ({"match": (("a", "x"), ("a", "y"))}, "match: names"),
        ({"match": (("", "x"),)}, "match: names"),
        ({"match": (("a", "("),)}, "match.a: no regular expression"),
        ({"where": " "}, "where: empty"),
        ({"where": "x" * 1001}, "where: empty, or longer"),
    ],
)
def test_refuses_a_clause_that_means_nothing(change: dict[str, object], said: str) -> None:
    with pytest.raises(ClauseWrong, match=said):
        check_clause(replace(NARROW, **change))  # type: ignore[arg-type]
