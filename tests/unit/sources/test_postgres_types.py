"""What COPY prints, and the values that it becomes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import FormatError
from scelle.formats.values import UNDATED, decode_value
from scelle.sources.postgres.types import bytea_of, encoder_of, time_us_of, unescaped

ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def as_copy_prints(text: str) -> bytes:
    return "".join(ESCAPES.get(character, character) for character in text).encode()


@given(st.text(alphabet=st.one_of(st.sampled_from("\\\b\f\n\r\t\vnrtbfvN.x"), st.characters(codec="utf-8"))))
def test_escapes_come_off_exactly(text: str) -> None:
    assert unescaped(as_copy_prints(text)) == text.encode()
    assert decode_value(encoder_of("s", "text")(as_copy_prints(text)))[:2] == ("s", text)
    assert decode_value(encoder_of("x", "text")(as_copy_prints(text)))[:2] == ("x", text.encode())


@given(st.binary(max_size=200))
def test_bytea_comes_off_its_hex(data: bytes) -> None:
    assert bytea_of(as_copy_prints("\\x" + data.hex())) == data


@pytest.mark.parametrize(
    ("letter", "base", "cell", "value"),
    [
        ("b", "bool", b"t", True),
        ("b", "bool", b"f", False),
        ("i", "int8", b"-9223372036854775808", -(2**63)),
        ("i", "oid", b"4294967295", 2**32 - 1),
        ("d", "float8", b"0.1", 0.1),
        ("d", "float8", b"-Infinity", float("-inf")),
        ("d", "float4", b"0.1", 0.10000000149011612),
        ("d", "float4", b"3.4028235e+38", 3.4028234663852886e38),
        ("d", "float4", b"1e-45", 1.401298464324817e-45),
        ("D", "numeric", b"-1.500", "-1.500"),
        ("s", "numeric", b"NaN", "NaN"),
        ("h", "bytea", b"\\\\x00", None),
    ],
)
def test_cells_become_values(letter: str, base: str, cell: bytes, value: object) -> None:
    assert decode_value(encoder_of(letter, base)(cell))[1] == value


def test_a_number_that_is_none_fits_no_number_text() -> None:
    with pytest.raises(FormatError):
        encoder_of("D", "numeric")(b"NaN")
    with pytest.raises(FormatError):
        encoder_of("n", "text")


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59, 999_999)))
def test_times_of_the_calendar_are_read_exactly(moment: datetime) -> None:
    expected = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    printed = f"{moment.year:04}-{moment:%m-%d %H:%M:%S}"
    if moment.microsecond:
        printed += f".{moment.microsecond:06}".rstrip("0")
    assert time_us_of(printed.encode()) == time_us_of(printed.encode() + b"+00") == expected


@pytest.mark.parametrize(
    ("cell", "time_us"),
    [
        (b"1969-12-31", -86_400_000_000),
        (b"infinity", UNDATED),
        (b"-infinity", UNDATED),
        (b"0001-12-31 BC", -62_135_683_200_000_000),  # the day before 1 January of year 1
        (b"0044-03-15 12:00:00.5+00 BC", -63_517_780_799_500_000),
        (b"4714-11-24 BC", -2_440_588 * 86_400_000_000),  # day 0 of the Julian count is PostgreSQL's first
        (b"10000-01-01 00:00:00+00", 253_402_300_800_000_000),
        (b"294247-01-10 04:00:54.775807+00", 2**63 - 1),
        (b"294247-01-10 04:00:54.775808+00", UNDATED),
        (b"294276-12-31 23:59:59.999999+00", UNDATED),
        (b"5874897-12-31", UNDATED),
    ],
)
def test_far_and_infinite_times(cell: bytes, time_us: int) -> None:
    assert time_us_of(cell) == time_us


@pytest.mark.parametrize("cell", [b"", b"now", b"26-01-01", b"2026-01-01 BCE", b"12026-13-01", b"\xff"])
def test_what_is_no_time_is_refused(cell: bytes) -> None:
    with pytest.raises((FormatError, ValueError)):
        time_us_of(cell)
