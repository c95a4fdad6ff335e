"""Whatever a source says comes back out of the record, and marks lead on wherever reading stopped."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scelle.formats.canonical_json import is_canonical_json
from scelle.formats.values import decode_value
from scelle.sources.event_times import EventClock, number_us
from scelle.sources.interfaces import UNDATED, BadRecord, Batch, Record
from scelle.sources.json_values import DecimalToken, IntegerToken, json_object, structure
from scelle.sources.records import RecordsSource
from scelle.sources.schema_file import SchemaFile, layout
from scelle.sources.unfit import Unfit

TEXT = st.text(max_size=12)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    TEXT,
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["id", "ts", "user", "model", "a", "b", "more", "origin", "time", "x.y", "x"])
ROWS = st.dictionaries(NAMES, VALUES, max_size=8)
LETTERS = st.sampled_from(["s", "i", "D", "d", "b", "j", "json"])
SCHEMAS = st.builds(
    SchemaFile,
    st.just("rows"),
    id=st.sampled_from([(), ("id",)]),
    account=st.sampled_from([None, "user"]),
    dimensions=st.sampled_from([(), ("model",), ("model", "a")]),
    fields=st.dictionaries(NAMES, LETTERS, max_size=4).map(lambda fields: tuple(fields.items())),
)
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def file_of(data: bytes, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


def batches(path: Path, file: SchemaFile, mark: bytes = b"", now_ns: int = 2**62) -> list[Batch]:
    read = RecordsSource(os.fsencode(path), "rows", file, None, lambda: now_ns)
    (unit,) = read.units()
    return list(read.read(unit, mark))  # type: ignore[arg-type]


def records(path: Path, file: SchemaFile) -> list[Record | BadRecord]:
    return [each for batch in batches(path, file) for each in batch.records]


def said_again(record: Record, file: SchemaFile) -> dict[str, Any]:
    """Rebuild what the source said from the record alone: roles first, then what holds more exactly what they hold."""
    laid = layout(file)
    names = [field.name for field in laid.schema.fields[2:]]
    values = {name: decode_value(data)[:2] for name, data in zip(names, record.values, strict=True)}
    row: dict[str, Any] = {}
    account, native = values["account"][1], values["native_id"][1]
    if file.account is not None and isinstance(account, str):
        row[file.account] = account.removeprefix("account:")
    if file.id and native != "a.jsonl#0":
        row[file.id[0]] = native
    for column in (*laid.dimensions, *laid.listed):
        letter, value = values[column.name]
        if letter != "n":
            row[column.source] = json.loads(value) if column.type in ("D", "j", "json") else value  # type: ignore[arg-type]
    letter, more = values["more"]
    if isinstance(more, bytes):
        row.update(json.loads(more))
    _, text = values["more_text"]
    if isinstance(text, str):
        row.update(json.loads(text))
    return row


@settings(QUICK, max_examples=250)
@given(ROWS, SCHEMAS)
def test_a_record_says_all_that_its_row_said_or_fails(row: dict[str, Any], file: SchemaFile) -> None:
    paths = [name for name, _ in file.fields if name == "x.y"]
    with file_of(json.dumps(row).encode() + b"\n", "a.jsonl") as path:
        (record,) = records(path, file)
    if isinstance(record, BadRecord):
        assert record.cause in (
            "schema-mismatch", "number-not-exact", "lone-surrogate", "nested-too-deep", "time-unreadable",
            "time-out-of-range",
        )  # fmt: skip
        return
    layout(file).schema.check_values([b"t", b"i", *record.values])
    again = said_again(record, file)
    for name in paths:
        if name not in row:
            again.pop(name, None)
    assert again == row
    for name, value in row.items():
        assert type(again[name]) is type(value) or {type(again[name]), type(value)} == {int, float}, name


@QUICK
@given(VALUES)
def test_structures_are_written_as_they_were_or_not_at_all(value: Any) -> None:
    text = json.dumps({"v": value})
    try:
        written = structure(json_object(text)["v"])
    except Unfit:
        return
    assert is_canonical_json(written)
    assert (
        json.loads(written, parse_int=Fraction, parse_float=Fraction)
        == json.loads(text, parse_int=Fraction, parse_float=Fraction)["v"]
    )


@QUICK
@given(
    st.integers(-(2**80), 2**80),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})\.[0-9]{1,12}([eE][+-]?[0-9]{1,2})?\Z"),
)
def test_numbers_stay_the_tokens_that_they_were(integer: int, decimal: str) -> None:
    row = json_object(f'{{"i":{integer},"d":{decimal}}}')
    assert (type(row["i"]), str(row["i"])) == (IntegerToken, str(integer))
    assert (type(row["d"]), str(row["d"])) == (DecimalToken, decimal)


@QUICK
@given(
    st.one_of(
        st.integers(-(10**30), 10**30).map(str), st.decimals(allow_nan=False, allow_infinity=False).map(str)
    ),
    st.sampled_from(["s", "ms", "us", "ns"]),
)
def test_times_are_floored_exactly(token: str, unit: str) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    if "E" in token and abs(int(token.partition("E")[2])) > 2000:
        return
    exactly = Fraction(token) * 10**6 / per_second
    floored = exactly.numerator // exactly.denominator
    try:
        assert number_us(token, unit) == floored
    except Unfit:
        assert not -(2**63) < floored < 2**63


@QUICK
@given(st.datetimes(), st.integers(-1439, 1439))
def test_times_of_the_calendar_are_what_datetime_says(moment: datetime, offset_minutes: int) -> None:
    sign = "-" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    text = f"{moment.isoformat()}{sign}{hours:02d}:{minutes:02d}"
    expected = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1) - offset_minutes * 60_000_000
    assert EventClock().of_text(text) == expected


@QUICK
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_csv_gives_the_cells_that_were_written(cells: list[tuple[str, str]], end: str) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *cells])
    file = SchemaFile("rows", fields=(("a", "s"), ("b", "s")))
    try:
        data = text.getvalue().encode()
    except UnicodeEncodeError:
        return
    with file_of(data, "a.csv") as path:
        found = records(path, file)
    assert [tuple(decode_value(value)[1] for value in each.values[2:4]) for each in found
            if isinstance(each, Record)] == cells  # fmt: skip
    for each in found:
        assert isinstance(each, Record)
        origin = json.loads(decode_value(each.values[-1])[1])  # type: ignore[arg-type]
        assert data[origin["byte"] :].startswith(each.version)


LINES = st.lists(
    st.sampled_from(['{"id":"1"}', '{"id":"é"}', "", "  ", "broken", '{"id":2,"ts":null}', '{"a":"\\n"}']),
    max_size=12,
)


@QUICK
@given(LINES, st.sampled_from(["\n", "\r\n"]), st.data())
def test_a_file_read_in_two_parts_gives_what_it_gives_in_one(
    lines: list[str], end: str, data: st.DataObject
) -> None:
    file = SchemaFile("rows", id=("id",))
    whole = "".join(line + end for line in lines).encode()
    cut = data.draw(st.integers(0, len(whole)))
    with file_of(whole, "a.jsonl") as path:
        at_once = records(path, file)
        path.write_bytes(whole[:cut])
        first = batches(path, file)
        path.write_bytes(whole)
        mark = first[-1].mark if first else b""
        rest = batches(path, file, mark)
    assert [each for batch in (*first, *rest) for each in batch.records] == at_once
    assert len(at_once) == sum(bool(line.strip()) for line in lines)


def test_undated_is_the_ledgers() -> None:
    assert UNDATED == -(2**63)
