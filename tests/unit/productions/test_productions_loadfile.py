import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.formats.tokens import TIME_MAX, TIME_MIN, UNDATED
from scelle.productions.loadfile import COLUMNS, header, row, safe_cell, time_cell


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("notes/a.txt", "notes/a.txt"),
        ('say "a"', 'say ""a""'),
        ("=1+1", "'=1+1"),
        ("+33", "'+33"),
        ("-5", "'-5"),
        ("@sum", "'@sum"),
        ("'quoted", "''quoted"),
        ("a\r\nb\tc\0", "a␍␊b␉c␀"),
        ("\t=1", "␉=1"),
        ("\x7f\x85\u2028", "␡��"),
        ("a\u202etxt.exe", "a�txt.exe"),
        ("é 字", "é 字"),
        ("", ""),
    ],
)
def test_a_cell_cannot_run_or_break_out(text: str, cell: str) -> None:
    assert safe_cell(text) == cell


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_every_reader_sees_one_line_of_as_many_cells(texts: list[str]) -> None:
    data = row(*map(safe_cell, texts))
    assert data.endswith(b"\r\n")
    assert len(data.decode().splitlines()) == 1
    (cells,) = csv.reader(io.StringIO(data.decode(), newline=""))
    assert len(cells) == len(texts)
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@"))]


def test_a_cell_can_be_read_back_where_nothing_had_to_be_replaced() -> None:
    for text in ("=1", "'a", "plain", 'a "quote"'):
        cell = safe_cell(text).replace('""', '"')
        assert (cell[1:] if cell.startswith("'") else cell) == text


def test_the_first_line_names_the_columns() -> None:
    assert next(csv.reader(io.StringIO(header().decode()))) == list(COLUMNS)


@pytest.mark.parametrize(
    ("time_us", "cell"),
    [
        (UNDATED, ""),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_768_000_000_000_001, "2026-01-09T23:06:40.000001Z"),
        (TIME_MAX, f"{TIME_MAX} us"),
        (TIME_MIN, f"'{TIME_MIN} us"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
        (-62_135_596_800_000_001, "'-62135596800000001 us"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        (253_402_300_800_000_000, "253402300800000000 us"),
    ],
)
def test_times(time_us: int, cell: str) -> None:
    assert time_cell(time_us) == cell


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_times_read_back(time_us: int) -> None:
    moment = datetime.fromisoformat(time_cell(time_us))
    assert (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) == time_us
