"""Read dates and times of a query: a date is a whole day in the order's zone, a time one instant (pure)."""

from datetime import date, datetime, tzinfo
from typing import Final, NamedTuple

from scelle.orders.days import aware_instant, day_end_us, day_start_us

_DATE_CHARACTERS: Final = len("2026-01-08")


class Span(NamedTuple):
    """Hold the first instant of a date or time, and the first after it (microseconds since 1970 UTC)."""

    start_us: int
    end_us: int


def parse_span(text: str, zone: tzinfo) -> Span | None:
    """Read `2026-01-08` or an RFC 3339 time with its offset; None where the text is neither."""
    try:
        if len(text) == _DATE_CHARACTERS:
            day = date.fromisoformat(text)
            return Span(day_start_us(day, zone), day_end_us(day, zone))
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return None
        instant_us = aware_instant(moment)
    except (ValueError, OverflowError):
        return None
    return Span(instant_us, instant_us + 1)
