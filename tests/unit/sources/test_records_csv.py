"""Rows of CSV: quotes, line ends inside of them, cells of every type, and rows that are none."""

import json
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import ItemUnreadable
from scelle.sources.interfaces import UNDATED, BadRecord, Record
from scelle.sources.schema_file import SchemaFile
from tests.unit.sources.reading_records import (
    PLAIN,
    bad,
    everything,
    good,
    only_unit,
    read_lines,
    schema,
    shown,
    source,
)

BARE = '[schema]\nname = "rows"\n'


def rows(
    tmp_path: Path, data: str | bytes, file: SchemaFile | None = None, name: str = "a.csv"
) -> list[dict[str, Any]]:
    return [shown(each, file) for each in good(read_lines(tmp_path, data, file, name))]


def test_a_row_becomes_a_record(tmp_path: Path) -> None:
    data = "id,ts,user,model,score,note\r\np1,2026-01-08T00:00:00Z,ada,m-2,1.50,hello\r\n"
    (record,) = good(read_lines(tmp_path, data, schema('score = "D"'), "a.csv"))
    assert record.version == b"p1,2026-01-08T00:00:00Z,ada,m-2,1.50,hello"
    assert record.time_us == 1_767_830_400_000_000
    assert shown(record, schema('score = "D"')) == {
        "account": ("s", "account:ada"),
        "native_id": ("s", "p1"),
        "model": ("s", "m-2"),
        "score": ("D", "1.50"),
        "ts": ("s", "2026-01-08T00:00:00Z"),
        "more": ("j", b'{"note":"hello"}'),
        "more_text": ("n", None),
        "raw": ("n", None),
        "origin": ("j", b'{"byte":29,"file":"a.csv","line":2}'),
    }


def test_quotes_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    data = 'id,text\n1,"a,b"\n2,"say ""hi"""\n3,"two\nlines\r\nand three"\n\n4,é\n'
    found = good(read_lines(tmp_path, data, schema('text = "s"'), "a.csv"))
    texts = [shown(each, schema('text = "s"'))["text"][1] for each in found]
    assert texts == ["a,b", 'say "hi"', "two\nlines\r\nand three", "é"]
    origins = [json.loads(shown(each, schema('text = "s"'))["origin"][1]) for each in found]
    assert [origin["line"] for origin in origins] == [2, 3, 4, 8]
    raw = data.encode()
    for origin, record in zip(origins, found, strict=True):
        assert raw[origin["byte"] : origin["byte"] + len(record.version)] == record.version


def test_an_empty_cell_of_a_role_says_nothing(tmp_path: Path) -> None:
    (record,) = good(read_lines(tmp_path, "id,ts,user,model\n,,,\n", name="a.csv"))
    assert (record.native, record.time_us, record.account) == (b"a.csv#17", UNDATED, None)


def test_delimiter_and_quote_are_declared_and_tsv_has_tabs(tmp_path: Path) -> None:
    file = schema('text = "s"', roles=BARE + "[csv]\ndelimiter = ';'\nquote = \"'\"\n")
    assert rows(tmp_path, "id;text\n1;'a;b'\n", file)[0]["text"] == ("s", "a;b")
    assert rows(tmp_path, "id\ttext\n1\ta,b\n", schema('text = "s"'), "a.tsv")[0]["text"] == ("s", "a,b")


def test_columns_may_be_named_where_there_is_no_header(tmp_path: Path) -> None:
    file = schema('text = "s"', roles=PLAIN + "[csv]\ncolumns = ['id', 'text']\n")
    assert [each["native_id"][1] for each in rows(tmp_path, "1,a\n2,b\n", file)] == ["1", "2"]


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    assert rows(tmp_path, '\ufeff"id",a\n7,x\n')[0]["native_id"] == ("s", "7")


@pytest.mark.parametrize(
    ("letter", "cell", "read"),
    [
        ("i", "-42", ("i", -42)),
        ("i", "", ("n", None)),
        ("D", "007.50", ("D", "007.50")),
        ("D", "12345678901234567890", ("D", "12345678901234567890")),
        ("d", "0.1", ("d", 0.1)),
        ("d", "-inf", ("d", float("-inf"))),
        ("b", "true", ("b", True)),
        ("t", "2026-01-08", ("t", 1_767_830_400_000_000)),
        ("s", "", ("s", "")),
        ("s", " 1", ("s", " 1")),
        ("x", "é", ("x", b"\xc3\xa9")),
        ("j", '"{""b"":1,""a"":2}"', ("j", b'{"a":2,"b":1}')),
        ("json", '"{""b"":0.10}"', ("s", '{"b":0.10}')),
        ("n", "", ("n", None)),
    ],
)
def test_a_cell_has_the_type_that_is_listed(tmp_path: Path, letter: str, cell: str, read: object) -> None:
    file = schema(f'f = "{letter}"', roles=BARE)
    assert rows(tmp_path, f"a,f\n1,{cell}\n", file)[0]["f"] == read


@pytest.mark.parametrize(
    ("letter", "cell", "cause"),
    [
        ("i", "007", "schema-mismatch"),
        ("i", "1.0", "schema-mismatch"),
        ("i", "+1", "schema-mismatch"),
        ("i", "-", "schema-mismatch"),
        ("i", "-0", "schema-mismatch"),
        ("i", "٣", "schema-mismatch"),
        ("i", "9223372036854775808", "schema-mismatch"),
        ("D", "1,5", "too-many-fields"),
        ("D", "NaN", "schema-mismatch"),
        ("d", "0.10000000000000000001", "number-not-exact"),
        ("d", "x", "schema-mismatch"),
        ("b", "TRUE", "schema-mismatch"),
        ("t", "soon", "time-unreadable"),
        ("j", "{", "schema-mismatch"),
        ("n", "x", "schema-mismatch"),
    ],
)
def test_a_cell_that_does_not_fit_fails(tmp_path: Path, letter: str, cell: str, cause: str) -> None:
    data = f"a,f\n1,{cell}\n2,\n"
    file = schema(f'f = "{letter}"', roles=BARE)
    fault, last = everything(read_lines(tmp_path, data, file, "a.csv"))
    assert isinstance(fault, BadRecord)
    assert (fault.cause, fault.place) == (cause, "a.csv line 2 (byte 4)")
    assert isinstance(last, Record)


def test_bytes_that_are_no_utf8_are_kept_where_the_column_is_bytes(tmp_path: Path) -> None:
    data = b"id,f\n1,caf\xe9\n2,x\n"
    (fault,) = bad(read_lines(tmp_path, data, schema('f = "s"'), "a.csv"))
    assert fault.cause == "not-utf-8"
    assert rows(tmp_path, data, schema('f = "x"'))[0]["f"] == ("x", b"caf\xe9")


def test_a_row_of_another_width_fails(tmp_path: Path) -> None:
    causes = [each.cause for each in bad(read_lines(tmp_path, "a,b\n1\n1,2,3\n1,2\n", name="a.csv"))]
    assert causes == ["too-few-fields", "too-many-fields"]


def test_a_row_that_is_no_csv_fails_and_the_next_line_is_read(tmp_path: Path) -> None:
    data = 'id,text\n1,"a"b\n2,c\n3,"open\n4,d\n5,e\n'
    found = everything(read_lines(tmp_path, data, name="a.csv"))
    assert [each.cause if isinstance(each, BadRecord) else each.native for each in found] == [
        "not-csv", b"2", "not-csv", b"4", b"5",
    ]  # fmt: skip
    assert isinstance(found[2], BadRecord)
    assert found[2].place == "a.csv line 4 (byte 19)"


def test_a_row_whose_quotes_run_over_64_mib_fails_alone(tmp_path: Path) -> None:
    many = b"".join(b'%d,"x"\n' % (number % 10) for number in range(10)) + b"9," + b"y" * 1000 + b"\n"
    data = b'id,text\n0,"open\n' + many * 70_000
    (tmp_path / "a.csv").write_bytes(data)
    read = source(tmp_path / "a.csv")
    first = next(iter(read.read(only_unit(read), b""))).records
    assert isinstance(first[0], BadRecord)
    assert all(isinstance(each, Record) for each in first[1:])
    assert first[1].native == b"0"  # type: ignore[union-attr]


@pytest.mark.parametrize("header", ["a,a\n1,2\n", '"a"b\n', b"caf\xe9\n1\n"])
def test_a_header_that_cannot_be_used_is_an_error_of_the_file(tmp_path: Path, header: str | bytes) -> None:
    read = read_lines(tmp_path, header, name="a.csv")
    with pytest.raises(ItemUnreadable) as caught:
        list(read.read(only_unit(read), b""))
    assert caught.value.cause == "header-unreadable"


# --- the last row


def test_a_last_row_without_its_end_waits_until_nobody_writes_any_more(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,a\n1,x\n2,y")
    young = source(tmp_path, after_ns=5 * 10**9)
    unit = only_unit(young)
    assert unit.stamp == b"", "it must be read again although nobody writes to it"
    assert [each.native for each in good(young)] == [b"1"]
    assert young.waiting(unit) == "file a.csv: 3 bytes from byte 9, line 3, wait for their end"
    old = source(tmp_path, after_ns=61 * 10**9)
    assert [each.native for each in good(old)] == [b"1", b"2"]
    assert old.waiting(unit) is None


@pytest.mark.parametrize("rest", [b'2,"y\nz\n', b'2,"y"zzz'])
def test_quotes_that_are_not_in_order_at_the_end_wait_too(tmp_path: Path, rest: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,a\n1,x\n" + rest)
    young = source(tmp_path, after_ns=5 * 10**9)
    unit = only_unit(young)
    assert [each.native for each in good(young)] == [b"1"]
    assert young.waiting(unit) == f"file a.csv: {len(rest)} bytes from byte 9, line 3, wait for their end"
    assert bad(source(tmp_path, after_ns=61 * 10**9))[0].cause == "not-csv"


def test_a_file_with_half_a_header_waits(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,a")
    read = source(tmp_path)
    assert good(read) == []
    assert read.waiting(only_unit(read)) == "file a.csv: 4 bytes from byte 0, line 1, wait for their end"
    (tmp_path / "a.csv").write_bytes(b"")
    assert good(read) == []
    assert read.waiting(only_unit(read)) is None


def test_a_csv_that_grows_is_read_on_behind_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,a\n1,"x\ny"\n')
    read = source(tmp_path)
    (batch,) = read.read(only_unit(read), b"")
    with path.open("ab") as file:
        file.write(b"2,z\n")
    (more,) = read.read(only_unit(read), batch.mark)
    (record,) = more.records
    assert isinstance(record, Record)
    assert record.native == b"2"
    assert shown(record)["origin"] == ("j", b'{"byte":13,"file":"a.csv","line":4}')
