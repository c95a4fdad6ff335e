import json
from hashlib import sha256
from typing import Any

import pytest

from scelle.errors import FormatError
from scelle.formats.schema import DOCUMENT_V1, EVENT_V1, Field, Schema, parse_schema
from scelle.formats.values import NULL, boolean_value, integer_value, text_value, time_value

TIME, SEQ, ACCOUNT = Field("time", "t"), Field("seq", "i"), Field("account", "s")


def _document(**changes: Any) -> bytes:
    document = {
        "dimensions": ["source", "account"],
        "fields": [{"name": field.name, "type": field.type} for field in (TIME, SEQ, ACCOUNT)],
        "format": "scelle/schema/v1",
        "name": "note",
        "version": 1,
    }
    return json.dumps(document | changes, separators=(",", ":"), sort_keys=True).encode()


def test_schema_reads_back() -> None:
    schema = parse_schema(_document())
    assert schema == Schema("note", 1, ("source", "account"), (TIME, SEQ, ACCOUNT))
    assert schema.encode() == _document()
    assert schema.digest == sha256(_document()).digest()


def test_built_in_schemas() -> None:
    for schema in (DOCUMENT_V1, EVENT_V1):
        assert parse_schema(schema.encode()) == schema
    assert DOCUMENT_V1.field_number("content") == 5
    assert DOCUMENT_V1.field_number("picture") is None
    assert DOCUMENT_V1.dimension_number("native") == 3
    assert EVENT_V1.dimension_number("native") is None


def _fields(*letters: str) -> list[dict[str, str]]:
    return [{"name": f"f{number}", "type": letter} for number, letter in enumerate(letters)]


@pytest.mark.parametrize(
    "changes",
    [
        {"dimensions": ["source"]},
        {"dimensions": ["account", "source"]},
        {"dimensions": []},
        {"dimensions": "source"},
        {"dimensions": ["source", "account", "account"]},
        {"dimensions": ["source", "account", ""]},
        {"dimensions": ["source", "account", "a\0b"]},
        {"dimensions": ["source", "account", 3]},
        {"dimensions": ["source", "account", *[f"d{number}" for number in range(31)]]},
        {"dimensions": ["source", "account", "model"]},
        {"fields": []},
        {"fields": {}},
        {"fields": _fields("t", "i")},
        {"fields": _fields("i", "t", "s")},
        {"fields": _fields("t", "i", "x")},
        {"fields": _fields("t", "i", "s", "q")},
        {"fields": _fields("t", "i", "s", "ss")},
        {"fields": _fields("t", "i", "s", "")},
        {"fields": [*_fields("t", "i", "s"), {"name": "f0", "type": "s"}]},
        {"fields": [*_fields("t", "i", "s"), {"name": "", "type": "s"}]},
        {"fields": [*_fields("t", "i", "s"), {"name": "a", "type": 5}]},
        {"fields": [*_fields("t", "i", "s"), {"name": "a"}]},
        {"fields": [*_fields("t", "i", "s"), {"name": "a", "type": "s", "x": 1}]},
        {"fields": [*_fields("t", "i", "s"), 5]},
        {"format": "scelle/schema/v2"},
        {"name": ""},
        {"name": 5},
        {"version": -1},
        {"version": "1"},
        {"version": True},
        {"extra": 1},
    ],
    ids=str,
)
def test_schema_with_a_fault_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_schema(_document(**changes))


def test_schema_of_other_bytes_is_refused() -> None:
    for data in (
        _document() + b"\n",
        b" " + _document(),
        b"[]",
        b"",
        _document().replace(b'"name":"note",', b""),
    ):
        with pytest.raises(FormatError):
            parse_schema(data)


def test_schema_has_at_most_64_kib() -> None:
    room = 64 * 1024 - len(_document(name="x"))
    assert len(parse_schema(_document(name="x" * (room + 1))).encode()) == 64 * 1024
    with pytest.raises(FormatError, match="64 KiB"):
        parse_schema(_document(name="x" * (room + 2)))
    with pytest.raises(FormatError, match="64 KiB"):
        Schema("x" * (room + 2), 1, ("source", "account"), (TIME, SEQ, ACCOUNT)).encode()


def test_a_dimension_may_be_always_null() -> None:
    schema = parse_schema(_document(fields=_fields("t", "i", "n")))
    schema.check_values([time_value(1), integer_value(2), NULL])


SCHEMA = Schema("note", 1, ("source", "account"), (TIME, SEQ, ACCOUNT, Field("flag", "b")))


def test_values_of_the_right_types() -> None:
    SCHEMA.check_values([time_value(1), integer_value(2), text_value("account:7"), boolean_value(True)])
    SCHEMA.check_values([time_value(1), integer_value(2), NULL, NULL])


@pytest.mark.parametrize(
    "record",
    [
        [],
        [time_value(1), integer_value(2), NULL],
        [time_value(1), integer_value(2), NULL, NULL, NULL],
        [NULL, integer_value(2), NULL, NULL],
        [time_value(1), NULL, NULL, NULL],
        [integer_value(1), integer_value(2), NULL, NULL],
        [time_value(1), integer_value(2), boolean_value(True), NULL],
        [time_value(1), integer_value(2), NULL, text_value("x")],
        [time_value(1), integer_value(2), NULL, b""],
    ],
)
def test_values_of_other_types_are_refused(record: list[bytes]) -> None:
    with pytest.raises(FormatError):
        SCHEMA.check_values(record)
