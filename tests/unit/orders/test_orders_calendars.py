"""Periods: which day counts, which day is the last, which days are no working days."""

from datetime import date

import pytest

from scelle.orders.calendars import (
    EU_1182_71,
    EU_INSTITUTIONS,
    FR_CPP_801,
    FRANCE,
    NOT_SETTLED,
    UK_BEGINNING_WITH,
    Period,
    Unit,
    easter,
    last_day,
    last_days,
    working_day,
)


@pytest.mark.parametrize(
    ("event", "period", "counts_first", "last"),
    [
        (date(2026, 3, 15), Period(1, Unit.YEARS), True, date(2027, 3, 14)),
        (date(2026, 3, 15), Period(1, Unit.YEARS), False, date(2027, 3, 15)),
        (date(2026, 1, 1), Period(1, Unit.YEARS), True, date(2026, 12, 31)),
        (date(2028, 2, 29), Period(1, Unit.YEARS), False, date(2029, 2, 28)),
        (date(2028, 2, 29), Period(1, Unit.YEARS), True, date(2029, 2, 28)),
        (date(2027, 3, 1), Period(1, Unit.YEARS), True, date(2028, 2, 29)),
        (date(2026, 8, 31), Period(6, Unit.MONTHS), False, date(2027, 2, 28)),
        (date(2026, 8, 31), Period(6, Unit.MONTHS), True, date(2027, 2, 28)),
        (date(2026, 12, 31), Period(2, Unit.MONTHS), False, date(2027, 2, 28)),
        (date(2026, 6, 30), Period(6, Unit.MONTHS), False, date(2026, 12, 30)),
        (date(2026, 9, 2), Period(60, Unit.DAYS), False, date(2026, 11, 1)),
        (date(2026, 9, 2), Period(60, Unit.DAYS), True, date(2026, 10, 31)),
        (date(2028, 2, 28), Period(1, Unit.DAYS), False, date(2028, 2, 29)),
        (date(2026, 5, 5), Period(1, Unit.DAYS), True, date(2026, 5, 5)),
    ],
)
def test_last_day(event: date, period: Period, counts_first: bool, last: date) -> None:
    assert last_day(event, period, counts_first=counts_first) == last


@pytest.mark.parametrize(
    ("year", "day"),
    [
        (1961, date(1961, 4, 2)),
        (2000, date(2000, 4, 23)),
        (2008, date(2008, 3, 23)),
        (2024, date(2024, 3, 31)),
        (2025, date(2025, 4, 20)),
        (2026, date(2026, 4, 5)),
        (2038, date(2038, 4, 25)),
        (2049, date(2049, 4, 18)),
    ],
)
def test_easter(year: int, day: date) -> None:
    assert easter(year) == day


def test_working_days() -> None:
    assert working_day(date(2026, 11, 20), EU_INSTITUTIONS) == date(2026, 11, 20)  # Friday
    assert working_day(date(2026, 11, 21), EU_INSTITUTIONS) == date(2026, 11, 23)  # Saturday
    assert working_day(date(2026, 12, 24), EU_INSTITUTIONS) == date(2026, 12, 28)
    assert working_day(date(2026, 4, 2), EU_INSTITUTIONS) == date(2026, 4, 7)  # Maundy Thursday to Easter
    assert working_day(date(2026, 5, 14), FRANCE) == date(2026, 5, 15)  # Ascension; the Friday is worked
    assert working_day(date(2026, 5, 14), EU_INSTITUTIONS) == date(2026, 5, 18)
    assert working_day(date(2026, 7, 14), FRANCE) == date(2026, 7, 15)
    assert working_day(date(2026, 7, 14), EU_INSTITUTIONS) == date(2026, 7, 14)


def test_two_readings_are_shown_only_where_they_differ() -> None:
    sunday = last_days(date(2026, 9, 2), Period(60, Unit.DAYS), EU_1182_71)
    assert list(sunday.values()) == [date(2026, 11, 1), date(2026, 11, 2)]
    assert list(sunday) == [
        "first day not counted",
        "first day not counted, moved to a working day (EU institutions)",
    ]
    tuesday = last_days(date(2026, 9, 4), Period(60, Unit.DAYS), EU_1182_71)
    assert list(tuesday.values()) == [date(2026, 11, 3)]


def test_readings_come_earliest_first() -> None:
    both = last_days(date(2026, 9, 2), Period(90, Unit.DAYS), NOT_SETTLED)
    assert list(both.values()) == [date(2026, 11, 30), date(2026, 12, 1)]
    assert list(last_days(date(2026, 3, 15), Period(1, Unit.YEARS), UK_BEGINNING_WITH).values()) == [
        date(2027, 3, 14)
    ]
    assert list(last_days(date(2025, 7, 14), Period(1, Unit.YEARS), FR_CPP_801).values()) == [
        date(2026, 7, 14),
        date(2026, 7, 15),
    ]


def test_periods_in_words() -> None:
    assert (str(Period(1, Unit.YEARS)), str(Period(60, Unit.DAYS))) == ("1 year", "60 days")
