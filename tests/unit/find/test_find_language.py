import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import QueryWrong
from scelle.find.language import parse_query
from scelle.find.model import And, Comparison, IsNull, Not, Number, Operator, Or, Text, Truth


def one(query: str) -> Comparison:
    found = parse_query(query)
    assert isinstance(found, Comparison)
    return found


def test_the_promised_form() -> None:
    assert parse_query('account = "u1" and time >= "2026-01-01"') == And(
        (
            Comparison(("account",), Operator.EQUAL, (Text("u1"),), 1),
            Comparison(("time",), Operator.AT_LEAST, (Text("2026-01-01"),), 20),
        )
    )


@pytest.mark.parametrize("word", list(Operator))
def test_every_operator(word: Operator) -> None:
    value = '("x", "y")' if word is Operator.IN else '"x"'
    assert one(f"model {word} {value}").operator is word


@pytest.mark.parametrize("query", ['model CONTAINS "x"', 'model Starts  wITH "x"', 'model In ("x")'])
def test_keywords_are_read_in_any_case(query: str) -> None:
    assert one(query).values == (Text("x"),)


def test_and_binds_closer_than_or_and_not_closest() -> None:
    found = parse_query("NOT a = 1 and b = 2 OR c = 3")
    assert isinstance(found, Or)
    assert isinstance(found.nodes[0], And)
    assert isinstance(found.nodes[0].nodes[0], Not)
    assert parse_query("not (a = 1 or b = 2)") == Not(Or((one("     a = 1"), one("              b = 2"))))


def test_null() -> None:
    assert parse_query("a is null") == IsNull(("a",), 1)
    assert parse_query("a IS NOT NULL") == Not(IsNull(("a",), 1))


def test_literals() -> None:
    found = one('a in (1, -2.50, 3e-7, true, FALSE, 2026-01-08, 2026-01-08T14:00:00Z, "x")').values
    assert found == (
        Number("1"), Number("-2.50"), Number("3e-7"), Truth(True), Truth(False), Text("2026-01-08"),
        Text("2026-01-08T14:00:00Z"), Text("x"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("more.prompt", ("more", "prompt")),
        ("list.0.k", ("list", "0", "k")),
        ("`User ID`", ("User ID",)),
        ("`a.b`.c", ("a.b", "c")),
        ("user-agent", ("user-agent",)),
        ("größe", ("größe",)),
        ("order", ("order",)),
        ("inner.android.nothing", ("inner", "android", "nothing")),
        ("`and`", ("and",)),
    ],
)
def test_fields(written: str, path: tuple[str, ...]) -> None:
    assert one(f"{written} = 1").field == path


@given(st.text())
def test_any_text_can_be_written(text: str) -> None:
    written = text.replace("\\", "\\\\").replace('"', '\\"')
    assert one(f'a = "{written}"').values == (Text(text),)


def test_escapes_are_those_of_json() -> None:
    assert one(r'a = "\"\\\/\n\t\u00e9"').values == (Text('"\\/\n\té'),)


@pytest.mark.parametrize(
    ("query", "column", "said"),
    [
        ("account = ", 10, "the query ends there, expected: a text in double quotes, a number"),
        ("account", 8, "the query ends there, expected: `=`"),
        ("account = null", 11, "write `is null` or `is not null`"),
        ("account = 'u1'", 11, "texts stand in double quotes"),
        ('account == "u1"', 10, "'=' stands there"),
        ('a = "x', 5, "the text has no end"),
        ("a = 1 b", 7, "'b' stands there, expected: `and`, `or`, the end"),
        ("(a = 1", 7, "the query ends there, expected: `)`"),
        ("a = 1 and", 10, "expected: a field"),
        ("a in ()", 7, "')' stands there"),
        ("a in 1", 6, "expected: `(`"),
        ("= 3", 1, "expected: a field"),
        ("x = 12abc", 5, "'12abc' stands there"),
        ("x ~ 3", 3, "'~ 3' stands there, expected: `=`"),
        ('a = "\\q"', 5, "an escape"),
        ('a = "\\ud800"', 5, "half a surrogate pair"),
        ("a = 1e99999999999999999999", 5, "out of reach"),
        ('a = "\udce9"', 6, "not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_its_column(query: str, column: int, said: str) -> None:
    with pytest.raises(QueryWrong) as raised:
        parse_query(query)
    assert str(raised.value).startswith(f"query, column {column}: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("query", ["", "  ", "\n"])
def test_an_empty_query_is_refused(query: str) -> None:
    with pytest.raises(QueryWrong, match="the query is empty"):
        parse_query(query)


@pytest.mark.parametrize("query", ["not " * 5000 + "a = 1", "(not " * 5000 + "a = 1" + ")" * 5000])
def test_deep_nesting_is_refused(query: str) -> None:
    with pytest.raises(QueryWrong, match="nests deeper than 100"):
        parse_query(query)


def test_parentheses_alone_nest_nothing() -> None:
    assert parse_query("(" * 3000 + "a = 1" + ")" * 3000) == Comparison(
        ("a",), Operator.EQUAL, (Number("1"),), 3001
    )


def test_a_long_list_is_read() -> None:
    assert len(one(f"a in ({', '.join(map(str, range(5000)))})").values) == 5000
