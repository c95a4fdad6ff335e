"""Count periods as the law of an order type does: first day, last day, working days.

The holiday tables are from memory ([M]): fixed dates and those that follow Easter, without the bridge days
that an authority adds each year. A day that is missing here can only shorten the later of two readings by a
day; a clock never releases, so nothing is lost by it. Raise the version when a table changes.
"""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

TABLES_VERSION: Final = "2026-11"
_DAY: Final = timedelta(days=1)


class Unit(StrEnum):
    """What a period is counted in."""

    DAYS = "days"
    MONTHS = "months"
    YEARS = "years"


@dataclass(frozen=True, slots=True)
class Period:
    """A number of days, months or years."""

    count: int
    unit: Unit

    def __str__(self) -> str:
        """Return the period in words."""
        return f"{self.count} {self.unit.value if self.count != 1 else self.unit.value[:-1]}"


@dataclass(frozen=True, slots=True)
class Holidays:
    """Public holidays of one place: (month, day) pairs and days counted from Easter Sunday."""

    name: str
    fixed: frozenset[tuple[int, int]]
    from_easter: frozenset[int]

    def has(self, day: date) -> bool:
        """Tell whether the day is a public holiday there."""
        return (day.month, day.day) in self.fixed or (day - easter(day.year)).days in self.from_easter


EU_INSTITUTIONS: Final = Holidays(
    "EU institutions",
    frozenset({(1, 1), (1, 2), (5, 1), (5, 9), (8, 15), (11, 1), (12, 24), (12, 25), (12, 26), (12, 31)}),
    frozenset(
        {-3, -2, 1, 39, 40, 50}
    ),  # Maundy Thursday, Good Friday, Easter, Ascension and Friday, Whit Monday
)
FRANCE: Final = Holidays(
    "France",
    frozenset({(1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)}),
    frozenset({1, 39, 50}),  # Easter Monday, Ascension, Whit Monday
)


@dataclass(frozen=True, slots=True)
class CalendarRule:
    """How a type's law counts; where it does not say, both ways are tried and both are shown.

    ``counts_first_day``: whether the day of the event is the first day of the period, in each reading.
    ``shifts_to``: the holidays over which (with Saturdays and Sundays) a last day may move to a working day.
    """

    counts_first_day: tuple[bool, ...]
    shifts_to: Holidays | None
    source: str


EU_1182_71: Final = CalendarRule(
    (False,), EU_INSTITUTIONS, "Regulation (EEC, Euratom) 1182/71, Article 3 [S]"
)
UK_BEGINNING_WITH: Final = CalendarRule((True,), None, 'UK, "beginning with" [M]')
UK_AFTER: Final = CalendarRule((True, False), None, "UK, first day not settled [D]")
FR_CPP_801: Final = CalendarRule((False,), FRANCE, "CPP, Article 801 [M]")
NOT_SETTLED: Final = CalendarRule((True, False), None, "no rule found; both ways [D]")


def last_days(event: date, period: Period, rule: CalendarRule) -> Mapping[str, date]:
    """Return the last day of a period that runs from an event on this day, for each reading of the rule.

    The keys say how it was counted, the earliest reading first; a reading that gives a day once more is left
    out.
    """
    found: dict[date, str] = {}
    for counts_first in rule.counts_first_day:
        last = last_day(event, period, counts_first=counts_first)
        how = "first day counted" if counts_first else "first day not counted"
        found.setdefault(last, how)
        if rule.shifts_to is not None:
            moved = f"{how}, moved to a working day ({rule.shifts_to.name})"
            found.setdefault(working_day(last, rule.shifts_to), moved)
    return {how: day for day, how in sorted(found.items())}


def last_day(event: date, period: Period, *, counts_first: bool) -> date:
    """Return the last day of the period.

    Not counted: the day with the event's date in the last month, or that month's last day where it has no
    such date (1182/71 Article 3(2)(c)). Counted: the day before that date, or the month's last day likewise.
    """
    if period.unit is Unit.DAYS:
        return event + timedelta(days=period.count - counts_first)
    months = period.count * (12 if period.unit is Unit.YEARS else 1)
    year, month0 = divmod(event.year * 12 + event.month - 1 + months, 12)
    days = monthrange(year, month0 + 1)[1]
    if event.day > days:
        return date(year, month0 + 1, days)
    return date(year, month0 + 1, event.day) - (_DAY if counts_first else timedelta())


def working_day(day: date, holidays: Holidays) -> date:
    """Return the day, or the next one that is no Saturday, Sunday or public holiday."""
    while day.weekday() >= 5 or holidays.has(day):
        day += _DAY
    return day


def easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar (Meeus, Astronomical Algorithms, chapter 8)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day0 = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day0 + 1)
