"""Days and times in the authority's zone, where clocks change too."""

from datetime import UTC, date, datetime, timedelta

import pytest

from scelle.errors import ZoneUnknown
from scelle.orders.days import (
    aware_instant,
    day_end_us,
    day_start_us,
    iso_text,
    load_zone,
    local_instants,
    shown_end,
    shown_instant,
)


def utc(*parts: int) -> int:
    return (datetime(*parts, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("zone", "day", "start", "end"),
    [
        ("UTC", date(2026, 12, 31), (2026, 12, 31), (2027, 1, 1)),
        ("Europe/Brussels", date(2026, 12, 31), (2026, 12, 30, 23), (2026, 12, 31, 23)),
        ("Europe/Brussels", date(2026, 3, 29), (2026, 3, 28, 23), (2026, 3, 29, 22)),
        ("Europe/Brussels", date(2026, 10, 25), (2026, 10, 24, 22), (2026, 10, 25, 23)),
        ("Asia/Beirut", date(2026, 3, 29), (2026, 3, 28, 22), (2026, 3, 29, 21)),  # no midnight
        ("Asia/Beirut", date(2026, 3, 28), (2026, 3, 27, 22), (2026, 3, 28, 22)),
        ("America/Havana", date(2026, 11, 1), (2026, 11, 1, 4), (2026, 11, 2, 5)),  # midnight twice
        ("America/Havana", date(2026, 10, 31), (2026, 10, 31, 4), (2026, 11, 1, 4)),
        ("America/St_Johns", date(2010, 11, 6), (2010, 11, 6, 2, 30), (2010, 11, 7, 3, 30)),  # 00:01 to 23:01
        ("Pacific/Apia", date(2011, 12, 30), (2011, 12, 30, 10), (2011, 12, 30, 10)),  # a day that was not
        ("Pacific/Apia", date(2011, 12, 29), (2011, 12, 29, 10), (2011, 12, 30, 10)),
        ("America/Toronto", date(1919, 3, 31), (1919, 3, 31, 4, 30), (1919, 4, 1, 4)),  # jump before midnight
    ],
)
def test_days(zone: str, day: date, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    tz = load_zone(zone)
    assert day_start_us(day, tz) == utc(*(start if len(start) > 3 else (*start, 0)))
    assert day_end_us(day, tz) == utc(*(end if len(end) > 3 else (*end, 0)))


def test_local_times_that_occur_once_twice_or_never() -> None:
    brussels = load_zone("Europe/Brussels")
    assert local_instants(datetime(2026, 1, 8, 14), brussels) == (utc(2026, 1, 8, 13),)
    assert local_instants(datetime(2026, 3, 29, 2, 30), brussels) == ()
    assert local_instants(datetime(2026, 10, 25, 2, 30), brussels) == (
        utc(2026, 10, 25, 0, 30),
        utc(2026, 10, 25, 1, 30),
    )


def test_instants_before_1970_and_with_odd_offsets() -> None:
    assert aware_instant(datetime.fromisoformat("1969-12-31T23:59:59.999999+00:00")) == -1
    assert aware_instant(datetime.fromisoformat("1970-01-01T00:00:00+05:45")) == -(5 * 60 + 45) * 60 * 10**6
    with pytest.raises(ValueError, match="offset"):
        aware_instant(datetime(2026, 1, 1))


def test_texts() -> None:
    brussels = load_zone("Europe/Brussels")
    midnight = utc(2026, 12, 31, 23)
    assert shown_end(midnight, brussels) == "2026-12-31 24:00"
    assert shown_instant(midnight, brussels) == "2027-01-01 00:00"
    assert shown_end(midnight + 61_000_000, brussels) == "2027-01-01 00:01:01"
    assert shown_end(midnight + 1, brussels) == "2027-01-01 00:00"
    assert iso_text(midnight, brussels) == "2027-01-01T00:00:00+01:00"
    assert iso_text(midnight, load_zone("UTC")) == "2026-12-31T23:00:00Z"
    assert iso_text(midnight + 7, load_zone("Europe/London")) == "2026-12-31T23:00:00.000007+00:00"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("europe/brussels", 'did you mean "Europe/Brussels"?'),
        ("Europe/Brusels", 'did you mean "Europe/Brussels"?'),
        ("utc", 'did you mean "UTC"?'),
        ("Mars/Olympus", "write an IANA name"),
        ("", "write an IANA name"),
        ("+01:00", "write a place"),
        ("UTC+1", "write a place"),
        ("Europe", "no such time zone"),
        ("/etc/localtime", "no such time zone"),
        ("../UTC", "no such time zone"),
        ("right/Europe/Brussels", "no such time zone"),
        ("posix/UTC", "no such time zone"),
        ("localtime", "no such time zone"),
        ("zone.tab", "no such time zone"),
        ("tzdata.zi", "no such time zone"),
        ("Europe/Brussels\n", "no such time zone"),
        ("Europe/Brussels\x00", "no such time zone"),
    ],
)
def test_zones_that_are_none(name: str, said: str) -> None:
    with pytest.raises(ZoneUnknown) as caught:
        load_zone(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
