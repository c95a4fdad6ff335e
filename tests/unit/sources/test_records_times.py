"""Event times: text and numbers, floored to microseconds."""

import pytest

from scelle.formats.tokens import TIME_MAX, TIME_MIN
from scelle.sources.event_times import EventClock, is_zone, number_us
from scelle.sources.unfit import Unfit

DAY_2026 = 1_767_830_400_000_000
"""2026-01-08T00:00:00Z."""


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("2026-01-08T00:00:00Z", DAY_2026),
        ("2026-01-08", DAY_2026),
        ("2026-01-08 00:00", DAY_2026),
        ("2026-01-08t01:30:00.5+01:30", DAY_2026 + 500_000),
        ("2026-01-08 01:00:00+01", DAY_2026),
        ("2026-01-08T00:00:00.123456789Z", DAY_2026 + 123_456),
        ("2026-01-08T00:00:00,1Z", DAY_2026 + 100_000),
        ("2026-01-08 00:00:00 UTC", DAY_2026),
        ("2026-01-07T23:59:60Z", DAY_2026),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("0001-12-31 00:00:00+00 BC", -62_135_596_800_000_000 - 86_400_000_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000_000),
        ("10000-01-01T00:00:00Z", 253_402_300_800_000_000),
        ("+12345-01-01T00:00:00Z", 327_403_382_400_000_000),
        ("2300-01-01T00:00:00Z", 10_413_792_000_000_000),
        ("1767830400", DAY_2026),
        ("1767830400.25", DAY_2026 + 250_000),
        ("-0.0000001", -1),
    ],
)
def test_text_is_read(text: str, time_us: int) -> None:
    assert EventClock().of_text(text) == time_us


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "2026-02-30", "2026-13-01", "2026-01-08T24:00:00Z", "2026-01-08T00:60:00Z",
        "2026-01-08T00:00:61Z", "2026-01-08T00:00:00+25:00", "08/01/2026", "2026-01-08T", "2026-1-8",
        "٢٠٢٦-٠١-٠٨", "2026-01-08T00:00:00Z\n", "infinity", "NaN", "-0044-03-15 BC",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Unfit) as caught:
        EventClock().of_text(text)
    assert caught.value.cause == "time-unreadable"


@pytest.mark.parametrize("unit", ["s", "ns"])
@pytest.mark.parametrize(
    ("token", "time_us"),
    [
        ("0e99999999999999999999", 0),
        ("1e-99999999999999999999", 0),
        ("-1e-99999999999999999999", -1),
        ("1e99999999999999999999", None),
        ("-2.5E+99999999999999999999", None),
    ],
)
def test_an_exponent_beyond_all_decimals_is_a_number_like_others(
    token: str, unit: str, time_us: int | None
) -> None:
    clock = EventClock(unit)
    if time_us is not None:
        assert clock.of_text(token) == clock.of_number(token) == time_us
        return
    for read in (clock.of_text, clock.of_number, clock.exactly):
        with pytest.raises(Unfit) as caught:
            read(token)
        assert caught.value.cause == "time-out-of-range"


def test_digits_alone_are_a_number_and_never_a_date() -> None:
    assert EventClock().of_text("20260108") == 20_260_108_000_000


@pytest.mark.parametrize(
    ("token", "unit", "time_us"),
    [
        ("1767830400", "s", DAY_2026),
        ("1767830400000", "ms", DAY_2026),
        ("1767830400000000", "us", DAY_2026),
        ("1767830400000000999", "ns", DAY_2026),
        ("-1", "ns", -1),
        ("-1001", "ns", -2),
        ("1.7678304e9", "s", DAY_2026),
        ("0.0000009", "s", 0),
        ("-1e-999999999", "s", -1),
        ("0e999999999", "s", 0),
        ("1234567890123456.7890123", "us", 1_234_567_890_123_456),
    ],
)
def test_numbers_count_in_the_declared_unit(token: str, unit: str, time_us: int) -> None:
    assert number_us(token, unit) == time_us


@pytest.mark.parametrize("token", ["1e999999999", "9223372036854.775808", "1" * 50, "-9223372036854.775808"])
def test_a_number_beyond_64_bits_is_refused(token: str) -> None:
    with pytest.raises(Unfit) as caught:
        number_us(token, "s")
    assert caught.value.cause == "time-out-of-range"


def test_the_bounds_are_the_ledgers() -> None:
    assert number_us(str(TIME_MAX), "us") == TIME_MAX
    assert number_us(str(TIME_MIN), "us") == TIME_MIN


def test_a_time_without_an_offset_stands_in_the_schemas_zone() -> None:
    paris = EventClock("s", "Europe/Paris")
    assert paris.of_text("2026-01-08T01:00:00") == DAY_2026
    assert paris.of_text("2026-07-08T02:00:00") == EventClock().of_text("2026-07-08T00:00:00Z")
    assert paris.of_text("2026-01-08T00:00:00Z") == DAY_2026
    repeated = paris.of_text("2026-10-25T02:30:00")
    assert repeated == EventClock().of_text("2026-10-25T00:30:00Z"), "the first of the two"
    assert paris.of_text("12026-01-08T01:00:00") == EventClock().of_text("12026-01-08T00:00:00Z")


def test_what_is_finer_than_a_microsecond_is_not_exact() -> None:
    assert EventClock().exactly("2026-01-08T00:00:00.123456000Z") == DAY_2026 + 123_456
    assert EventClock("ns").exactly("1000") == 1
    for clock, text in ((EventClock(), "2026-01-08T00:00:00.1234567Z"), (EventClock("ns"), "1001")):
        with pytest.raises(Unfit) as caught:
            clock.exactly(text)
        assert caught.value.cause == "time-not-exact"


def test_zones_are_known_by_name() -> None:
    assert is_zone("UTC")
    assert is_zone("America/New_York")
    assert not is_zone("../etc/passwd")
    assert not is_zone("America")
