"""Lines of JSON become records that say what the source said, or fail with a cause."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from scelle.sources.interfaces import UNDATED, BadRecord, Record
from scelle.sources.records import load_schema
from scelle.sources.schema_file import layout
from tests.unit.sources.reading_records import (
    PLAIN,
    bad,
    everything,
    good,
    one,
    only_unit,
    read_lines,
    schema,
    shown,
    source,
    why,
)

BARE = '[schema]\nname = "rows"\n'
LINE = '{"id":"p1","ts":"2026-01-08T09:30:00.5Z","user":"ada","model":"m-2","text":"hello","n":[1,{"b":2,"a":1}]}'


def test_a_line_becomes_a_record(tmp_path: Path) -> None:
    (record,) = good(read_lines(tmp_path, LINE + "\n", schema('text = "s"')))
    assert record.member == "posts"
    assert record.native == b"p1"
    assert record.time_us == 1_767_864_600_500_000
    assert record.account == "account:ada"
    assert record.version == LINE.encode()
    assert record.size_bytes == len(LINE)
    assert record.contents == ()
    assert shown(record, schema('text = "s"')) == {
        "account": ("s", "account:ada"),
        "native_id": ("s", "p1"),
        "model": ("s", "m-2"),
        "text": ("s", "hello"),
        "ts": ("s", "2026-01-08T09:30:00.5Z"),
        "more": ("j", b'{"n":[1,{"a":1,"b":2}]}'),
        "more_text": ("n", None),
        "raw": ("n", None),
        "origin": ("j", b'{"byte":0,"file":"a.jsonl","line":1}'),
    }


def test_every_record_knows_its_line_and_offset(tmp_path: Path) -> None:
    lines = '{"id":"1"}\n\n  \r\n{"id":"2"}\r\n{"id":"é"}\n{"id":"4"}'
    records = good(read_lines(tmp_path, lines))
    data = lines.encode()
    places = [json.loads(shown(each)["origin"][1]) for each in records]
    assert [place["line"] for place in places] == [1, 4, 5, 6]
    for place, record in zip(places, records, strict=True):
        assert data[place["byte"] : place["byte"] + len(record.version)] == record.version
    assert [each.version for each in records][1] == b'{"id":"2"}', "CR LF is the line's end"


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    assert one(tmp_path, '\ufeff{"id":"1"}')["native_id"] == ("s", "1")


def test_a_row_without_id_is_known_by_its_place(tmp_path: Path) -> None:
    first, second = good(read_lines(tmp_path, '{"a":"1"}\n{"id":null,"a":"2"}\n'))
    assert (first.native, second.native) == (b"a.jsonl#0", b"a.jsonl#10")
    assert shown(second)["native_id"] == ("s", "a.jsonl#10")
    assert shown(second)["more"] == ("j", b'{"a":"2","id":null}')


def test_numbers_as_identifiers_are_written_as_printed_and_kept_exactly(tmp_path: Path) -> None:
    record = one(
        tmp_path, '{"id":12,"ts":1767830400,"user":4711,"model":1.50}', schema('user = "i"\nmodel = "D"')
    )
    assert record["account"] == ("s", "account:4711")
    assert record["native_id"] == ("s", "12")
    assert record["model"] == ("s", "1.50")
    assert record["source.model"] == ("D", "1.50")
    assert record["user"] == ("i", 4711)
    assert record["ts"] == ("s", "1767830400")
    assert record["more"] == ("j", b'{"id":12,"ts":1767830400}')


def test_true_is_an_identifier_and_an_object_is_none(tmp_path: Path) -> None:
    assert one(tmp_path, '{"model":true}')["model"] == ("s", "true")
    assert why(tmp_path, '{"model":{"name":"m"}}') == "schema-mismatch"
    assert why(tmp_path, '{"user":["a"]}') == "schema-mismatch"


def test_a_row_is_undated_without_a_time(tmp_path: Path) -> None:
    records = good(read_lines(tmp_path, '{"id":"1"}\n{"id":"2","ts":null}\n'))
    assert [each.time_us for each in records] == [UNDATED, UNDATED]
    assert shown(records[1])["more"] == ("j", b'{"ts":null}')
    (without,) = good(read_lines(tmp_path, '{"ts":"2026-01-08"}\n', schema(roles=BARE)))
    assert without.time_us == UNDATED


def test_times_before_1970_are_negative_and_beyond_64_bits_fail(tmp_path: Path) -> None:
    (record,) = good(read_lines(tmp_path, '{"ts":"1969-12-31T23:59:59.999999Z"}\n'))
    assert record.time_us == -1
    assert why(tmp_path, '{"ts":1e300}') == "time-out-of-range"
    assert why(tmp_path, '{"ts":"yesterday"}') == "time-unreadable"
    assert why(tmp_path, '{"ts":true}') == "time-unreadable"


def test_a_unit_is_declared_and_never_guessed(tmp_path: Path) -> None:
    line = '{"ts":1767830400000}\n'
    file = schema(roles=PLAIN + 'time_unit = "ms"\n')
    (record,) = good(read_lines(tmp_path, line, file))
    assert record.time_us == 1_767_830_400_000_000
    assert shown(record, file)["ts"] == ("D", "1767830400000")
    (seconds,) = good(read_lines(tmp_path, line))
    assert seconds.time_us == 1_767_830_400_000_000_000
    assert any("time_unit" in note for note in source(tmp_path).members()[0].notes)


def test_a_holder_stands_for_rows_whose_schema_names_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a":"1"}\n')
    (record,) = good(source(tmp_path, schema(roles=BARE), holder="custodian:ada"))
    assert record.account == "custodian:ada"
    assert shown(record, schema(roles=BARE))["account"] == ("s", "custodian:ada")
    (nobody,) = good(source(tmp_path, schema(roles=BARE)))
    assert nobody.account is None
    (named,) = good(source(tmp_path, schema(), holder="custodian:ada"))
    assert named.account is None, "the schema names a field for it, and the row says nothing"


def test_rows_of_staff_belong_to_custodians(tmp_path: Path) -> None:
    file = schema(roles=BARE + 'custodian = "who"\n')
    assert one(tmp_path, '{"who":"ada"}', file)["account"] == ("s", "custodian:ada")


def test_dots_lead_into_objects_unless_a_field_has_that_name(tmp_path: Path) -> None:
    file = schema('"deep.text" = "s"', roles=BARE + 'id = "deep.id"\naccount = "deep.user.name"\n')
    nested = one(tmp_path, '{"deep":{"id":7,"text":"t","user":{"name":"ada"}}}', file)
    assert nested["native_id"] == ("s", "7")
    assert nested["account"] == ("s", "account:ada")
    assert nested["deep.text"] == ("s", "t")
    assert nested["more"] == ("j", b'{"deep":{"id":7,"text":"t","user":{"name":"ada"}}}')
    flat = one(tmp_path, '{"deep.id":"8","deep.text":"u","deep":1}', file)
    assert (flat["native_id"], flat["deep.text"], flat["more"]) == (
        ("s", "8"),
        ("s", "u"),
        ("j", b'{"deep":1}'),
    )


def test_an_id_of_several_fields_is_made_of_them_all(tmp_path: Path) -> None:
    file = schema('pos = "json"', roles=BARE + 'id = ["table", "pos.lsn", "none"]\n')
    record = one(tmp_path, '{"table":"t","pos":{"lsn":20000000000000000001}}', file)
    assert record["native_id"] == ("s", '["t",20000000000000000001,null]')
    assert one(tmp_path, '{"other":"t"}', file)["native_id"] == ("s", "a.jsonl#0")


# --- types


@pytest.mark.parametrize(
    ("letter", "value", "read"),
    [
        ("i", "9223372036854775807", ("i", 2**63 - 1)),
        ("i", "-9223372036854775808", ("i", -(2**63))),
        ("i", "0", ("i", 0)),
        ("D", "1.0", ("D", "1.0")),
        ("D", "-0", ("D", "-0")),
        ("D", "12345678901234567890", ("D", "12345678901234567890")),
        ("D", "1E400", ("D", "1E400")),
        ("D", "5", ("D", "5")),
        ("d", "0.1", ("d", 0.1)),
        ("d", "-0.0", ("d", -0.0)),
        ("b", "true", ("b", True)),
        ("b", "false", ("b", False)),
        ("s", '"a\\u0000b"', ("s", "a\0b")),
        ("s", '"\\ud83d\\ude00"', ("s", "😀")),
        ("x", '"é"', ("x", b"\xc3\xa9")),
        ("t", '"2026-01-08"', ("t", 1_767_830_400_000_000)),
        ("t", "1", ("t", 1_000_000)),
        ("j", '{"b":1e2,"a":[]}', ("j", b'{"a":[],"b":100}')),
        ("j", '"text"', ("j", b'"text"')),
        ("j", '{"\uffff":1,"😀":2}', ("j", '{"😀":2,"\uffff":1}'.encode())),
        ("json", '{ "b":0.10, "b" : 1}', ("s", '{ "b":0.10, "b" : 1}')),
        ("json", '"\\ud800"', ("s", '"\\ud800"')),
        ("json", "-0", ("s", "-0")),
        ("json", "null", ("s", "null")),
        ("i", "null", ("n", None)),
        ("n", "null", ("n", None)),
    ],
)  # fmt: skip
def test_a_listed_field_has_its_type(
    tmp_path: Path, letter: str, value: str, read: tuple[str, object]
) -> None:
    file = schema(f'f = "{letter}"', roles=BARE)
    assert repr(one(tmp_path, f'{{"a":1, "f" : {value} ,"z":2}}', file)["f"]) == repr(read)


@pytest.mark.parametrize(
    ("letter", "value", "cause"),
    [
        ("i", "1.0", "schema-mismatch"),
        ("i", '"1"', "schema-mismatch"),
        ("i", "-0", "schema-mismatch"),
        ("i", "9223372036854775808", "schema-mismatch"),
        ("i", "true", "schema-mismatch"),
        ("D", '"1"', "schema-mismatch"),
        ("d", "true", "schema-mismatch"),
        ("d", "0.10000000000000000001", "number-not-exact"),
        ("d", "9007199254740993", "number-not-exact"),
        ("d", "1e400", "number-not-exact"),
        ("b", "1", "schema-mismatch"),
        ("s", "1", "schema-mismatch"),
        ("s", "{}", "schema-mismatch"),
        ("s", '"\\udc00"', "lone-surrogate"),
        ("x", "1", "schema-mismatch"),
        ("t", "{}", "schema-mismatch"),
        ("t", '"2026-01-08T00:00:00.0000001Z"', "time-not-exact"),
        ("n", "0", "schema-mismatch"),
        ("j", "[0.1]", "number-not-exact"),
        ("j", '{"a":"\\ud800"}', "lone-surrogate"),
        ("j", '{"\\ud800é":1}', "lone-surrogate"),
        ("j", '{"a":1,"a":1}', "duplicate-key"),
        ("j", "[" * 200 + "]" * 200, "nested-too-deep"),
        ("j", "[" * 5000 + "]" * 5000, "nested-too-deep"),
    ],
)  # fmt: skip
def test_what_does_not_fit_fails_and_names_field_line_and_offset(
    tmp_path: Path, letter: str, value: str, cause: str
) -> None:
    file = schema(f'f = "{letter}"', roles=BARE)
    data = f'{{"a":1}}\n{{"f":{value}}}\n{{"a":2}}\n'
    first, fault, last = everything(read_lines(tmp_path, data, file))
    assert isinstance(first, Record)
    assert isinstance(last, Record), "the pass goes on"
    assert isinstance(fault, BadRecord)
    assert fault.cause == cause
    assert fault.place == "a.jsonl line 2 (byte 8)"
    if cause not in ("duplicate-key",) and len(value) < 5000:
        assert fault.detail.startswith("field 'f': ")


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ('"\\ud800"', "lone-surrogate"),
        ('{"k":1,"k":2}', "duplicate-key"),
    ],
)
def test_what_has_no_form_at_all_fails_and_listing_it_helps(tmp_path: Path, value: str, cause: str) -> None:
    line = f'{{"id":"1","odd":{value}}}'
    (fault,) = bad(read_lines(tmp_path, line + "\n"))
    assert fault.cause == cause
    assert "list the field as" in fault.detail
    assert one(tmp_path, line, schema('odd = "json"'))["odd"] == ("s", value)


@pytest.mark.parametrize("value", ["12345678901234567890", "9007199254740993", "0.1", "-0", '[1,{"k":0.10}]'])
def test_a_number_that_is_no_exact_double_costs_no_row(tmp_path: Path, value: str) -> None:
    record = one(tmp_path, f'{{"id":"1","odd":{value},"even":2}}')
    assert record["more_text"] == ("s", f'{{"odd":{value}}}')
    assert record["more"] == ("j", b'{"even":2}')


def test_a_detail_never_repeats_a_value(tmp_path: Path) -> None:
    file = schema('f = "i"', roles=BARE + 'time = "ts"\n')
    for line in ('{"f":"hunter2"}', '{"ts":"hunter2"}', '{"f":1,"x":"hunter2', '{"hunter2'):
        (fault,) = bad(read_lines(tmp_path, line + "\n", file))
        assert "hunter2" not in fault.detail


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("{", "not-json"),
        ("{'a':1}", "not-json"),
        ('{"a":1} {"b":2}', "not-json"),
        ('{"a":NaN}', "not-json"),
        ('{"a":01}', "not-json"),
        ('{"a":1,}', "not-json"),
        ('{"a" 1}', "not-json"),
        ('{"a":"\t"}', "not-json"),
        ("a,b,c", "not-json"),
        ("[1,2]", "not-an-object"),
        ("null", "not-an-object"),
        ("17", "not-an-object"),
        ('{"a":1,"a":1}', "duplicate-key"),
    ],
)
@pytest.mark.parametrize("fields", ["", 'text = "json"'])
def test_what_is_no_object_fails(tmp_path: Path, line: str, cause: str, fields: str) -> None:
    assert why(tmp_path, line, schema(fields)) == cause


def test_bytes_that_are_no_utf8_fail(tmp_path: Path) -> None:
    assert why(tmp_path, b'{"a":"caf\xe9"}') == "not-utf-8"
    assert why(tmp_path, b'{"a":"\xed\xa0\x80"}') == "not-utf-8"


def test_fields_that_nobody_listed_are_refused_where_the_schema_says_so(tmp_path: Path) -> None:
    file = schema('text = "s"', roles=PLAIN + 'extra = "refuse"\n')
    assert one(tmp_path, '{"id":1,"user":"ada","text":null}', file)["native_id"] == ("s", "1")
    (fault,) = bad(read_lines(tmp_path, '{"id":"1","more":2}\n', file))
    assert (fault.cause, fault.detail[:14]) == ("field-unknown", "field 'more': ")


def test_a_field_that_is_null_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    file = schema('text = "s"')
    assert one(tmp_path, '{"id":"1","text":null}', file)["more"] == ("j", b'{"text":null}')
    assert one(tmp_path, '{"id":"1"}', file)["more"] == ("n", None)


def test_ten_thousand_columns_are_kept(tmp_path: Path) -> None:
    row = {f"column {n}": n for n in range(10_000)}
    record = one(tmp_path, json.dumps(row))
    assert json.loads(record["more"][1]) == row


# --- large lines


def test_a_line_of_30_mb_is_a_record_and_its_large_value_a_content(tmp_path: Path) -> None:
    line = json.dumps({"id": "1", "user": "ada", "prompt": "x" * 30_000_000})
    (record,) = good(read_lines(tmp_path, line + "\n"))
    fields = shown(record)
    assert (fields["native_id"], fields["more"], fields["raw"]) == (("s", "1"), ("n", None), ("n", None))
    (content,) = record.contents
    assert layout(schema()).schema.fields[content.field].name == "raw"
    assert content.document.stream is not None
    assert b"".join(content.document.stream()) == line.encode()
    assert content.document.size_bytes == len(line)
    assert content.document.media_type == "application/json"


def test_a_line_of_30_mb_whose_values_are_small_has_no_content(tmp_path: Path) -> None:
    half = "x" * 15_000_000
    line = json.dumps({"id": "1", "a": half, "b": half})
    (record,) = good(read_lines(tmp_path, line + "\n", schema('a = "s"\nb = "s"')))
    assert record.contents == ()
    assert shown(record, schema('a = "s"\nb = "s"'))["b"] == ("s", half)


def test_an_identifier_over_a_mebibyte_fails(tmp_path: Path) -> None:
    assert why(tmp_path, json.dumps({"id": "x" * (1 << 20) + "y"})) == "identifier-too-long"


@pytest.mark.parametrize("size", [64 << 20, 66 << 20])
def test_a_line_over_64_mib_fails_and_the_next_is_read(tmp_path: Path, size: int) -> None:
    long = b'{"id":"' + b"x" * size + b'"}\n'
    _, fault, last = everything(read_lines(tmp_path, b'{"id":"1"}\n' + long + b'{"id":"3"}\n'))
    assert isinstance(fault, BadRecord)
    assert (fault.cause, fault.place) == ("line-too-long", "a.jsonl line 2 (byte 11)")
    assert isinstance(last, Record)
    assert shown(last)["origin"][1] == b'{"byte":%d,"file":"a.jsonl","line":3}' % (11 + len(long))
    read = source(tmp_path / "a.jsonl")
    *_, batch = read.read(only_unit(read), b"")
    assert list(read.read(only_unit(read), batch.mark)) == [], "the mark behind it holds"


# --- Debezium

CHANGE = (
    '{"before":null,"after":{"id":1001,"name":"Ada","balance":12345678901234567890,"share":0.1},'
    '"source":{"version":"3.0","connector":"mysql","name":"shop","ts_ms":1767830400123,"snapshot":"false",'
    '"db":"inventory","table":"customers","file":"bin.000003","pos":484,"row":0},"op":"c","ts_ms":1767830400999}'
)


def test_a_change_event_of_debezium_is_a_record(tmp_path: Path) -> None:
    file = load_schema("builtin:debezium")
    (record,) = good(read_lines(tmp_path, CHANGE + "\n", file))
    fields = shown(record, file)
    assert record.time_us == 1_767_830_400_123_000
    assert fields["source.table"] == ("s", "customers")
    assert fields["op"] == ("s", "c")
    assert fields["before"] == ("s", "null")
    assert fields["after"] == ("s", '{"id":1001,"name":"Ada","balance":12345678901234567890,"share":0.1}')
    assert fields["more"] == ("j", b'{"ts_ms":1767830400999}')
    assert json.loads(record.native)[:3] == ["mysql", "shop", "inventory"]
    (again,) = good(read_lines(tmp_path, CHANGE.replace('"op":"c"', '"op":"r"') + "\n", file))
    assert again.native == record.native, "the id is the position in the source's log"
    (other,) = good(read_lines(tmp_path, CHANGE.replace("484", "485") + "\n", file))
    assert other.native != record.native


def test_a_change_event_inside_its_envelope_has_the_same_time_and_id(tmp_path: Path) -> None:
    bare = load_schema("builtin:debezium")
    wrapped = load_schema("builtin:debezium-envelope")
    (inner,) = good(read_lines(tmp_path, CHANGE + "\n", bare))
    (outer,) = good(read_lines(tmp_path, f'{{"schema":{{"type":"struct"}},"payload":{CHANGE}}}\n', wrapped))
    assert (outer.native, outer.time_us) == (inner.native, inner.time_us)
    assert shown(outer, wrapped)["payload.op"] == ("s", "c")
    assert shown(outer, wrapped)["payload"] == ("s", CHANGE)


def test_a_user_adds_the_account_to_a_copy_of_it(tmp_path: Path) -> None:
    file = schema('after = "json"\nsource = "json"\nbefore = "json"', roles=BARE + 'account = "after.id"\n')
    assert one(tmp_path, CHANGE, file)["account"] == ("s", "account:1001")


def test_versions_tell_two_states_apart(tmp_path: Path) -> None:
    first, second = good(read_lines(tmp_path, '{"id":"1","a":1}\n{"id":"1","a":2}\n'))
    assert first.native == second.native
    assert sha256(first.version).digest() != sha256(second.version).digest()
