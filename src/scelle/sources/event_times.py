"""Read the times that systems write, as microseconds since 1970 UTC, floored.

Text: RFC 3339 and what databases print (`2026-01-08 09:30:00+01`, ` BC`, years of more than four digits, any
number of digits of a second); a date alone is its midnight. Numbers: seconds, milliseconds, microseconds or
nanoseconds since 1970, by declaration and never by their size. A leap
second (`:60`) is the second after it, as POSIX counts.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from scelle.formats.tokens import TIME_MAX, TIME_MIN
from scelle.sources.unfit import Unfit

TIME_UNITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""The units in which numbers may count, and the power of ten of each in a second."""

_TIME: Final = re.compile(
    r"([+-]?\d{4,6}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?\ ?(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?)?(\ BC)?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_FINER: Final = re.compile(r"[.,]\d{6}\d*[1-9]")
_DIGITS_MAX: Final = 40
"""No number of more digits before its point is a time, in whatever unit."""
_ORDINAL_1970: Final = date(1970, 1, 1).toordinal()
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097
_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US
_UTC_NAMES: Final = frozenset(["Z", "z", "UTC", "GMT"])


@dataclass(frozen=True, slots=True)
class EventClock:
    """Know in which unit a source's numbers count, and in which zone its times without an offset stand."""

    unit: str = "s"
    zone: str = "UTC"

    def of_text(self, text: str) -> int:
        """Read a time, or a number, written as text; raises Unfit (`time-unreadable`, `time-out-of-range`)."""
        found = _TIME.fullmatch(text)
        if found is None:
            if _NUMBER.fullmatch(text) is not None:
                return self.of_number(text)
            raise _unreadable("write RFC 3339, or a number and its time_unit")
        day, clock, second, fraction, offset, era = found.groups()
        local_us = _minute_us(day, clock, era)
        if second is not None:
            if second > "60":
                raise _unreadable("there is no such time of day")
            local_us += int(second) * _SECOND_US
        if fraction is not None:
            local_us += int(fraction[:6].ljust(6, "0"))
        if offset in _UTC_NAMES:
            return _bounded(local_us)
        if offset is not None:
            return _bounded(local_us - _offset_us(offset))
        return _bounded(local_us - _zone_offset_us(self.zone, local_us))

    def exactly(self, text: str) -> int:
        """Read a time, or a number, that has nothing below a microsecond; else raises Unfit (`time-not-exact`)."""
        time_us = self.of_text(text)
        is_finer = _is_finer(text, self.unit) if _NUMBER.fullmatch(text) else _FINER.search(text) is not None
        if is_finer:
            raise Unfit("time-not-exact", "it is finer than a microsecond: list the field as s, or as D")
        return time_us

    def of_number(self, token: str) -> int:
        """Read a number of units since 1970; raises Unfit (`time-out-of-range`)."""
        return number_us(token, self.unit)


def number_us(token: str, unit: str) -> int:
    """Floor a number of `unit`s since 1970, as its token says it, to microseconds; exact whatever its digits."""
    shift = 6 - TIME_UNITS[unit]
    if len(token) <= _DIGITS_MAX and token.lstrip("-").isdigit():
        whole = int(token)
        return _bounded(whole * 10**shift if shift >= 0 else whole // 10**-shift)
    number = _decimal(token)
    if not number:
        return 0
    size = number.adjusted()
    if size > _DIGITS_MAX:
        raise _out_of_range()
    if size < -_DIGITS_MAX:
        return -1 if number < 0 else 0
    exact = Context(prec=len(token) + 2 * _DIGITS_MAX)
    return _bounded(int(number.scaleb(shift, exact).to_integral_value(ROUND_FLOOR, exact)))


def _is_finer(token: str, unit: str) -> bool:
    number = _decimal(token)
    if abs(number.adjusted()) > _DIGITS_MAX:
        return number.adjusted() < 0 and bool(number)
    scaled = number.scaleb(6 - TIME_UNITS[unit], Context(prec=len(token) + 2 * _DIGITS_MAX))
    return scaled != scaled.to_integral_value()


def _decimal(token: str) -> Decimal:
    """Read a number; one whose exponent is beyond what decimals have is as small, or as large, as any."""
    try:
        return Decimal(token)
    except ArithmeticError:
        digits, _, exponent = token.lower().partition("e")
        if not digits.strip("-+0."):
            return Decimal(0)
        if not exponent.startswith("-"):
            raise _out_of_range() from None
        return Decimal("-1e-9999" if digits.startswith("-") else "1e-9999")


def is_number(text: str) -> bool:
    """Say whether a text is a number's token, as type `D` takes it (ledger.md §2)."""
    return _NUMBER.fullmatch(text) is not None


def is_zone(name: str) -> bool:
    """Say whether the system knows a time zone of this name."""
    return _find_zone(name) is not None


def _bounded(time_us: int) -> int:
    if TIME_MIN <= time_us <= TIME_MAX:
        return time_us
    raise _out_of_range()


@lru_cache(maxsize=65_536)
def _minute_us(day_text: str, clock: str | None, era: str | None) -> int:
    """Give the microseconds of a minute, as if it were UTC; times of one source share few minutes."""
    year, month, day = day_text[:-6], day_text[-5:-3], day_text[-2:]
    hours, minutes = (0, 0) if clock is None else (int(clock[:2]), int(clock[3:]))
    if hours > 23 or minutes > 59:
        raise _unreadable("there is no such time of day")
    if era is not None and not year.isdigit():
        raise _unreadable("a year before Christ has no sign")
    number = int(year) if era is None else 1 - int(year)
    cycles, in_cycle = divmod(number - 1, _CYCLE_YEARS)
    try:
        ordinal = date(in_cycle + 1, int(month), int(day)).toordinal()
    except ValueError:
        raise _unreadable("there is no such day in the calendar") from None
    days = ordinal + cycles * _CYCLE_DAYS - _ORDINAL_1970
    return days * _DAY_US + (hours * 60 + minutes) * 60 * _SECOND_US


@lru_cache(maxsize=4096)
def _offset_us(text: str) -> int:
    digits = text[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:])
    if hours > 23 or minutes > 59 or seconds > 59:
        raise _unreadable("there is no such offset from UTC")
    offset = ((hours * 60 + minutes) * 60 + seconds) * _SECOND_US
    return -offset if text[0] == "-" else offset


def _zone_offset_us(zone: str, local_us: int) -> int:
    """Give a zone's offset at a local time; the first of the two where clocks were set back.

    Years outside 1 to 9999 take the offset of the year that lies whole calendar cycles away.
    """
    found = _find_zone(zone)
    if found is None or found is UTC:
        return 0
    cycle_us = _CYCLE_DAYS * _DAY_US
    in_cycle = local_us
    if not -cycle_us * 4 <= local_us <= cycle_us * 20:
        in_cycle = local_us % cycle_us
    local = datetime(1970, 1, 1) + timedelta(microseconds=in_cycle)
    offset = local.replace(tzinfo=found).utcoffset() or timedelta()
    return offset // timedelta(microseconds=1)


@lru_cache(maxsize=256)
def _find_zone(name: str) -> tzinfo | None:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a name may be a folder
        return None


def _unreadable(advice: str) -> Unfit:
    return Unfit("time-unreadable", f"it is no time that can be read: {advice}")


def _out_of_range() -> Unfit:
    return Unfit("time-out-of-range", "it lies beyond 64 bits of microseconds: check its time_unit")
