"""What a page shows of the names that others gave."""

from typing import Any

from scelle.reports.model import LISTED, Number, Row, table
from scelle.reports.printing import pieces_of, printed, shown
from scelle.reports.wording import Language

from .sample import HOSTILE, sample


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in children for text in strings(each)]


def test_pieces_join_to_what_was_there() -> None:
    for text in (*HOSTILE, "a b  c", "", "a" * 17, "ab" * 64 + " /srv/" + "d" * 60):
        assert "".join(pieces_of(text)) == text


def test_long_names_get_places_where_a_line_may_end_and_short_ones_none() -> None:
    assert max(map(len, pieces_of("f3a9" * 16))) <= 8
    assert pieces_of("a short name") == ["a short name"]
    assert pieces_of("ש" * 60) == ["ש" * 60]  # cutting it would part letters that join


def test_what_reorders_or_obeys_is_shown_by_its_number() -> None:
    assert shown("a\u202eb\x1b\u2066\n\x00") == "a<U+202E>b<U+001B><U+2066><U+000A><U+0000>"
    assert shown("é שלום عربي 中") == "é שלום عربي 中"


def test_names_print_as_themselves_in_every_place() -> None:
    name = "#x $y$ *z* \\ {n}"
    page = printed(sample((name,)), Language.FRENCH)
    assert sum(text == name for text in strings(page)) == 4  # a fact twice, a cell of words, a cell of code


def test_a_table_says_how_many_rows_there_are_beyond_those_listed() -> None:
    made = table("counts", ("source",), [Row((Number(at),)) for at in range(LISTED + 5)])
    assert (len(made.rows), made.total) == (LISTED, LISTED + 5)
    assert made.to_json()["total"] == LISTED + 5


def test_a_draft_says_so() -> None:
    assert printed(sample(is_draft=True), Language.FRENCH)["draft"] == "PROJET"
    assert printed(sample(is_draft=True), Language.ENGLISH)["draft"] == "DRAFT"
    assert printed(sample(), Language.ENGLISH)["draft"] is None
