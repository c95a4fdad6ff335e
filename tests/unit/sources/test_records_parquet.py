"""Rows of Parquet: every type exactly, nested values, NaN, and files that are none."""

import json
import sys
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import InputError, ItemUnreadable
from scelle.formats.values import double_value
from scelle.sources.interfaces import BadRecord, Record
from scelle.sources.records.parquet import column_values
from scelle.sources.schema_file import SchemaFile
from tests.unit.sources.reading_records import PLAIN, bad, everything, good, only_unit, schema, shown, source

pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")
parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra `parquet`")

BARE = '[schema]\nname = "rows"\n'


def write(tmp_path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def value(tmp_path: Path, array: Any, letter: str) -> tuple[str, Any]:
    """Read one value as a listed field."""
    file = schema(f'f = "{letter}"', roles=BARE)
    (record,) = good(source(write(tmp_path, {"f": array}), file))
    return shown(record, file)["f"]


def fault(tmp_path: Path, array: Any, letter: str = "") -> str:
    file = schema(f'f = "{letter}"' if letter else "", roles=BARE)
    (found,) = bad(source(write(tmp_path, {"f": array}), file))
    return found.cause


def test_a_row_becomes_a_record(tmp_path: Path) -> None:
    moments = pyarrow.array([datetime(2026, 1, 8, 9, 30, tzinfo=UTC)] * 5, pyarrow.timestamp("ns", "UTC"))
    columns = {"id": [f"p{n}" for n in range(5)], "ts": moments, "user": [4711] * 5, "model": ["m"] * 5,
               "n": [1, None, 3, 4, 5]}  # fmt: skip
    write(tmp_path, columns, row_group_size=2)
    records = good(source(tmp_path))
    assert [each.native for each in records] == [b"p0", b"p1", b"p2", b"p3", b"p4"]
    assert records[0].time_us == 1_767_864_600_000_000
    assert shown(records[3]) == {
        "account": ("s", "account:4711"),
        "native_id": ("s", "p3"),
        "model": ("s", "m"),
        "ts": ("s", "2026-01-08T09:30:00.000000000Z"),
        "more": ("j", b'{"n":4,"user":4711}'),
        "more_text": ("n", None),
        "raw": ("n", None),
        "origin": ("j", b'{"file":"a.parquet","row":3,"row_group":1}'),
    }
    assert shown(records[1])["more"] == ("j", b'{"n":null,"user":4711}')


def test_the_version_is_made_of_the_values_and_not_of_the_place(tmp_path: Path) -> None:
    write(tmp_path, {"id": ["1", "1", "1"], "a": [1, 1, 2]})
    first, same, other = good(source(tmp_path))
    assert first.version == same.version == b"".join(first.values[:-2])
    assert other.version != first.version
    assert first.size_bytes == len(first.version)


def test_a_row_without_id_is_known_by_its_number(tmp_path: Path) -> None:
    write(tmp_path, {"a": [1, 2, 3]}, row_group_size=2)
    assert [each.native for each in good(source(tmp_path))] == [
        b"a.parquet#0",
        b"a.parquet#1",
        b"a.parquet#2",
    ]


def test_a_unit_is_always_read_whole(tmp_path: Path) -> None:
    write(tmp_path, {"a": list(range(20_000))})
    read = source(tmp_path)
    batches = list(read.read(only_unit(read), b""))
    assert {batch.mark for batch in batches} == {b""}
    assert max(len(batch.records) for batch in batches) <= 8192
    assert sum(len(batch.records) for batch in batches) == 20_000


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("array", "letter", "read"),
    [
        (pyarrow.array([2**63 - 1], "int64"), "i", ("i", 2**63 - 1)),
        (pyarrow.array([200], "uint8"), "i", ("i", 200)),
        (pyarrow.array([2**64 - 1], "uint64"), "D", ("D", "18446744073709551615")),
        (pyarrow.array([Decimal("1.50")], pyarrow.decimal128(10, 2)), "D", ("D", "1.50")),
        (pyarrow.array([Decimal(10**37)], pyarrow.decimal128(38, 0)), "D", ("D", "1" + "0" * 37)),
        (pyarrow.array([Decimal("-0.001")], pyarrow.decimal256(50, 3)), "D", ("D", "-0.001")),
        (pyarrow.array([0.1], "float64"), "d", ("d", 0.1)),
        (pyarrow.array([0.5], "float32"), "d", ("d", 0.5)),
        (pyarrow.array([-0.0], "float64"), "d", ("d", -0.0)),
        (pyarrow.array([True]), "b", ("b", True)),
        (pyarrow.array(["a\0é"]), "s", ("s", "a\0é")),
        (pyarrow.array(["a"], "large_string"), "s", ("s", "a")),
        (pyarrow.array(["a"]).dictionary_encode(), "s", ("s", "a")),
        (pyarrow.array([b"\xff\0"]), "x", ("x", b"\xff\0")),
        (pyarrow.array([1], pyarrow.timestamp("us", "UTC")), "t", ("t", 1)),
        (pyarrow.array([-1], pyarrow.timestamp("ms")), "t", ("t", -1000)),
        (pyarrow.array([-1], pyarrow.timestamp("ns", "UTC")), "s", ("s", "1969-12-31T23:59:59.999999999Z")),
        (pyarrow.array([2**62], pyarrow.timestamp("us")), "s", ("s", "148108-07-06T14:00:27.387904")),
        (pyarrow.array([date(2026, 1, 8)]), "s", ("s", "2026-01-08")),
        (pyarrow.array([date(2026, 1, 8)], "date64"), "s", ("s", "2026-01-08")),
        (pyarrow.array([-800_000], "date32"), "s", ("s", "-0221-09-04")),
        (pyarrow.array([time(9, 30, 0, 5)]), "s", ("s", "09:30:00.000005")),
        (pyarrow.array([5], "duration[ms]"), "i", ("i", 5)),
        (pyarrow.array([None], "int64"), "i", ("n", None)),
        (pyarrow.nulls(1), "n", ("n", None)),
        (pyarrow.array([[1, None]]), "j", ("j", b"[1,null]")),
        (pyarrow.array([[[1.5]], None], pyarrow.list_(pyarrow.list_(pyarrow.float64()))).slice(0, 1), "j",
         ("j", b"[[1.5]]")),
        (pyarrow.array([[1, 2]], pyarrow.list_(pyarrow.int8(), 2)), "j", ("j", b"[1,2]")),
        (pyarrow.array([{"b": 1, "a": None}]), "j", ("j", b'{"a":null,"b":1}')),
        (pyarrow.array([[("k", 1)]], pyarrow.map_("string", "int32")), "j", ("j", b'[["k",1]]')),
        (pyarrow.array([{"n": 2**63 - 1, "f": float("nan"), "x": b"\xff"}]), "json",
         ("s", '{"n":9223372036854775807,"f":NaN,"x":{"b64":"/w=="}}')),
        (pyarrow.array([[Decimal("0.10")]], pyarrow.list_(pyarrow.decimal128(5, 2))), "json", ("s", "[0.10]")),
    ],
)  # fmt: skip
def test_a_value_is_exact(tmp_path: Path, array: Any, letter: str, read: tuple[str, Any]) -> None:
    assert repr(value(tmp_path, array, letter)) == repr(read)


def test_nan_is_kept_as_the_one_nan(tmp_path: Path) -> None:
    file = schema('f = "d"', roles=BARE)
    (record,) = good(source(write(tmp_path, {"f": [float("nan")]}), file))
    assert double_value(float("nan")) in record.values


@pytest.mark.parametrize(
    ("array", "letter", "cause"),
    [
        (pyarrow.array([2**64 - 1], "uint64"), "i", "schema-mismatch"),
        (pyarrow.array([1.0]), "i", "schema-mismatch"),
        (pyarrow.array([1]), "d", "schema-mismatch"),
        (pyarrow.array([1.5]), "D", "schema-mismatch"),
        (pyarrow.array([1]), "s", "schema-mismatch"),
        (pyarrow.array([b"a"]), "s", "schema-mismatch"),
        (pyarrow.array([1], pyarrow.timestamp("ns")), "t", "time-not-exact"),
        (pyarrow.array([float("inf")]), "j", "number-not-exact"),
        (pyarrow.array([{"b": b"a"}]), "j", "no-json-form"),
    ],
)
def test_what_does_not_fit_fails(tmp_path: Path, array: Any, letter: str, cause: str) -> None:
    assert fault(tmp_path, array, letter) == cause


def test_a_row_that_fails_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"n": [1.0, float("nan"), 2.0]}, row_group_size=1)
    first, middle, last = everything(source(tmp_path, schema('n = "j"', roles=BARE)))
    assert isinstance(middle, BadRecord)
    assert (middle.place, middle.cause) == ("a.parquet row 1 (row group 1)", "number-not-exact")
    assert middle.detail.startswith("field 'n': ")
    assert isinstance(first, Record)
    assert isinstance(last, Record)


def test_nested_values_of_many_rows_stay_with_their_row(tmp_path: Path) -> None:
    count = 3000
    lists = [[n] * (n % 4) if n % 5 else None for n in range(count)]
    structs = [
        {"t": datetime(2026, 1, 1, tzinfo=UTC), "l": [str(n)]} if n % 3 else None for n in range(count)
    ]
    maps = [[("k", n)] if n % 2 else None for n in range(count)]
    table = {
        "id": [str(n) for n in range(count)],
        "lists": pyarrow.array(lists, pyarrow.list_(pyarrow.int32())),
        "structs": pyarrow.array(structs),
        "maps": pyarrow.array(maps, pyarrow.map_("string", "int64")),
    }
    write(tmp_path, table, row_group_size=700)
    for number, record in enumerate(good(source(tmp_path))):
        more = json.loads(shown(record)["more"][1])
        assert more["lists"] == lists[number]
        assert (more["structs"] or {}).get("l") == ([str(number)] if number % 3 else None)
        assert (more["structs"] or {}).get("t") == ("2026-01-01T00:00:00.000000Z" if number % 3 else None)
        assert more["maps"] == ([["k", number]] if number % 2 else None)


def test_a_part_of_a_column_has_its_own_values() -> None:
    kinds: dict[Any, list[Any]] = {
        pyarrow.list_(pyarrow.int8()): [[0], None, [2, 2], [3]],
        pyarrow.list_(pyarrow.int8(), 2): [[0, 1], None, [4, 5], [6, 7]],
        pyarrow.map_("string", "int8"): [[("a", 0)], None, [("c", 2)], []],
        pyarrow.struct([("a", pyarrow.int8())]): [{"a": 0}, None, {"a": 2}, {"a": None}],
    }
    for kind, values in kinds.items():
        found = column_values(pyarrow.array(values, kind).slice(1, 2))
        assert json.loads(json.dumps(found)) == json.loads(json.dumps(values[1:3])), kind


def test_roles_lead_into_structures_and_uuids_are_text(tmp_path: Path) -> None:
    file: SchemaFile = schema(roles=BARE + 'id = "id"\naccount = "user.name"\n')
    ids = pyarrow.array([UUID.bytes], pyarrow.uuid())
    write(tmp_path, {"id": ids, "user": [{"name": "ada"}]})
    (record,) = good(source(tmp_path, file))
    assert record.native == str(UUID).encode()
    assert record.account == "account:ada"


def test_a_time_without_zone_stands_in_the_schemas_zone(tmp_path: Path) -> None:
    file = schema(roles=PLAIN + 'zone = "Europe/Paris"\n')
    write(tmp_path, {"ts": pyarrow.array([3_600_000], pyarrow.timestamp("ms"))})
    (record,) = good(source(tmp_path, file))
    assert record.time_us == 0


def test_ten_thousand_columns_are_kept(tmp_path: Path) -> None:
    write(tmp_path, {f"c{n}": [n] for n in range(10_000)})
    (record,) = good(source(tmp_path))
    assert len(json.loads(shown(record)["more"][1])) == 10_000


def test_a_large_value_is_content(tmp_path: Path) -> None:
    write(tmp_path, {"id": ["1"], "prompt": ["x" * (17 << 20)]})
    (record,) = good(source(tmp_path))
    assert shown(record)["more"] == ("n", None)
    (content,) = record.contents
    assert content.document.stream is not None
    assert json.loads(b"".join(content.document.stream()))["prompt"] == "x" * (17 << 20)


@pytest.mark.parametrize("cut", [0, 3, 200])
def test_a_file_that_is_not_finished_is_an_error_of_the_file(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, {"a": list(range(1000))})
    path.write_bytes(path.read_bytes()[:cut])
    read = source(tmp_path)
    with pytest.raises(ItemUnreadable) as caught:
        list(read.read(only_unit(read), b""))
    assert caught.value.cause == "parquet-unreadable"


def test_without_pyarrow_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a": [1]})
    read = source(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"pip install 'scelle\[parquet\]'"):
        list(read.read(only_unit(read), b""))
