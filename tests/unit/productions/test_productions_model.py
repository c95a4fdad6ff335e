from typing import Any

import pytest

from scelle.errors import RequestWrong
from scelle.formats.packages import parse_query
from scelle.formats.schema import DOCUMENT_V1, EVENT_V1
from scelle.formats.tokens import TIME_MAX, TIME_MIN
from scelle.formats.values import NULL, content_value, integer_value, structure_value, text_value, time_value
from scelle.productions.model import RecordView, Request, WithholdList, query_for


def view(native: str = "a.txt", at: int = 3, position: int = 0) -> RecordView:
    values = [
        time_value(7),
        integer_value(0),
        NULL,
        text_value(native),
        text_value("text/plain"),
        content_value(bytes(32), 1),
        content_value(bytes(32), 1),
        text_value("mtime"),
        structure_value(b"{}"),
    ]
    return RecordView(at, position, "s0001", 0, 7, DOCUMENT_V1, values)


@pytest.mark.parametrize(
    ("request_", "strength"),
    [
        (Request("source", "s0001"), "A"),
        (Request("source", "s0001", strength="C"), "C"),
        (Request("source", "s0001", 0), "C"),
        (Request("source", "s0001", None, 0), "C"),
        (Request("account", "account:1"), "C"),
        (Request("account", "account:1", strength="B"), "B"),
    ],
)
def test_a_request_gets_the_strongest_proof_that_needs_nobody_else(request_: Request, strength: str) -> None:
    query = query_for(request_, "o1")
    assert query.strength == strength
    assert parse_query(query.encode()) == query


def test_the_period_and_redactions_stand_in_the_query() -> None:
    query = query_for(Request("account", "account:1", TIME_MIN, TIME_MAX, {"ip": "privacy"}), "o1")
    assert (query.from_us, query.until_us, query.redact) == (TIME_MIN, TIME_MAX, {"ip": "privacy"})


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"from_us": 5, "until_us": 5}, "empty"),
        ({"from_us": 6, "until_us": 5}, "empty"),
        ({"from_us": TIME_MIN - 1}, "outside"),
        ({"until_us": TIME_MAX + 1}, "outside"),
        ({"from_us": 0, "strength": "A"}, "strength A"),
        ({"dimension": "account", "strength": "A"}, "strength A"),
        ({"redact": {"time": "privacy"}}, "key field"),
        ({"redact": {"seq": "privacy"}}, "key field"),
        ({"dimension": "account", "redact": {"account": "privacy"}}, "key field"),
    ],
)
def test_a_request_that_means_nothing_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(RequestWrong, match=why):
        Request(**{"dimension": "source", "value": "s0001", **arguments})


@pytest.mark.parametrize(
    ("request_", "order"),
    [
        (Request("source", "s0001", redact={"meta": "NOT A CODE"}), "o1"),
        (Request("source", "s0001", redact={"": "privacy"}), "o1"),
        (Request("", "s0001"), "o1"),
        (Request("account", "\ud800"), "o1"),
        (Request("source", "s0001"), "Not An Order"),
    ],
)
def test_a_request_without_a_query_file_is_refused(request_: Request, order: str) -> None:
    with pytest.raises(RequestWrong, match=r"no query\.json"):
        query_for(request_, order)


def test_a_record_gives_its_values_by_name() -> None:
    assert view().value("media_type") == "text/plain"
    assert view().value("time") == 7
    assert view().value("colour") is None
    assert view().native == "a.txt"


def test_a_record_without_native_ids_has_none() -> None:
    values = [time_value(7), integer_value(0), NULL, text_value("received"), structure_value(b"{}")]
    assert RecordView(1, 0, "scelle.events", 0, 7, EVENT_V1, values).native is None


def test_a_list_withholds_by_native_id_and_place_and_says_what_it_did_not_meet() -> None:
    listed = WithholdList(
        natives={"a.txt": "privilege", "b.txt": "privilege"},
        places={(3, 1): "privacy", (3, 2): "privacy"},
        contents={"c.txt": "abuse-material", "d.txt": "abuse-material"},
    )
    rules = listed.withholding()
    assert rules.record is not None
    assert rules.content is not None
    assert rules.record(view("a.txt")) == "privilege"
    assert rules.record(view("x.txt", position=1)) == "privacy"
    assert rules.record(view("x.txt", at=4, position=1)) is None
    assert rules.content(view("c.txt"), "content") == "abuse-material"
    assert rules.content(view("a.txt"), "content") is None
    assert listed.unmet() == ["(3, 2)", "b.txt", "d.txt"]


@pytest.mark.parametrize("part", ["natives", "contents"])
@pytest.mark.parametrize("code", ["", "-", "Privilege", "a b"])
def test_a_list_with_a_reason_that_is_no_code_is_refused(part: str, code: str) -> None:
    with pytest.raises(RequestWrong, match="no code"):
        WithholdList(**{part: {"a.txt": code}})  # type: ignore[arg-type]
