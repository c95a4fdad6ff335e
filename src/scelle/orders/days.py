"""Turn the days and times that an order speaks of into instants, in the authority's zone.

Instants are microseconds since 1970 UTC. A day begins at the first instant that bears its date and ends at
the first instant after the last one that bears it or an earlier date: where clocks change at midnight,
neither has to be 00:00, and neither falls short of the day.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from scelle.errors import InputError, ZoneUnknown

_EPOCH: Final = datetime(1970, 1, 1)
_FIRST_US: Final = -62_135_596_800_000_000  # the years 1 to 9999
_LAST_US: Final = 253_402_300_799_999_999
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_NO_PLACES: Final = ("posix/", "right/", "localtime", "posixrules", "Factory", "zone", "iso3166", "leap")


def load_zone(name: str) -> tzinfo:
    """Return the time zone of that IANA name; raise ZoneUnknown. UTC needs no zone files."""
    if name == "UTC":
        return UTC
    if _ZONE.fullmatch(name) is not None and not name.startswith(_NO_PLACES):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass  # said below, with the nearest name that there is
    raise ZoneUnknown(f"no such time zone as {name!a}; {_nearest_zone(name)}")


def day_start_us(day: date, zone: tzinfo) -> int:
    """Return the first instant that bears the day's date, or a later date where the zone skipped the day."""
    midnight = datetime(day.year, day.month, day.day)
    first, second = (_instant(midnight, zone, fold) for fold in (0, 1))
    return _transition(second, first, zone) if second < first else first


def day_end_us(day: date, zone: tzinfo) -> int:
    """Return the first instant after the day: exclusive, mostly the next midnight."""
    next_day = day + _DAY
    midnight = datetime(next_day.year, next_day.month, next_day.day)
    first, second = (_instant(midnight, zone, fold) for fold in (0, 1))
    if first < second and local(second - 1, zone).date() <= day:
        return second  # set back over midnight: the day's last hour is lived twice, the later end counts
    return _transition(second, first, zone) if second < first else first


def local_instants(wall: datetime, zone: tzinfo) -> tuple[int, ...]:
    """Return the instants at which clocks in the zone show this naive time: one, two, or none."""
    found = {_instant(wall, zone, fold) for fold in (0, 1)}
    return tuple(sorted(us for us in found if local(us, zone).replace(tzinfo=None) == wall))


def aware_instant(moment: datetime) -> int:
    """Return the instant of a time that has its offset."""
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a time without an offset has no instant")
    return (moment.replace(tzinfo=None) - _EPOCH - offset) // _MICROSECOND


def moment_us(text: str, zone: tzinfo) -> int:
    """Return the instant of an RFC 3339 time, or the first one of a date in `zone`; raises InputError."""
    try:
        if len(text) == len("2026-01-08"):
            return day_start_us(date.fromisoformat(text), zone)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no time: use RFC 3339 (2026-01-08T14:00:00Z) or a date") from None
    if moment.tzinfo is None:
        raise InputError(f"{text!r} has no offset: write 2026-01-08T14:00:00Z, or a date in the order's zone")
    return aware_instant(moment)


def local(time_us: int, zone: tzinfo) -> datetime:
    """Return the instant as clocks in the zone show it."""
    return (_EPOCH.replace(tzinfo=UTC) + timedelta(microseconds=time_us)).astimezone(zone)


def local_day(time_us: int, zone: tzinfo) -> date:
    """Return the date that the instant bears in the zone."""
    return local(time_us, zone).date()


def utc_text(time_us: int, timespec: str = "auto") -> str:
    """Return the instant as RFC 3339 in UTC; as a number of microseconds outside the years 1 to 9999."""
    if not _FIRST_US <= time_us <= _LAST_US:
        return f"{time_us} us"
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat(timespec=timespec) + "Z"


def iso_text(time_us: int, zone: tzinfo) -> str:
    """Return the instant as RFC 3339 with the zone's offset, Z for UTC."""
    return local(time_us, zone).isoformat().replace("+00:00", "Z" if zone is UTC else "+00:00")


def shown_instant(time_us: int, zone: tzinfo) -> str:
    """Return the instant for people, without its zone."""
    moment = local(time_us, zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment.second else f"{moment:%Y-%m-%d %H:%M}"


def shown_end(time_us: int, zone: tzinfo) -> str:
    """Return an end, which is exclusive, for people: the end of a day reads 24:00 of that day."""
    moment = local(time_us, zone)
    if moment.time() == time():
        return f"{moment.date() - _DAY} 24:00"
    return shown_instant(time_us, zone)


def _instant(wall: datetime, zone: tzinfo, fold: int) -> int:
    offset = wall.replace(tzinfo=zone, fold=fold).utcoffset()
    return (wall - _EPOCH - (offset or timedelta())) // _MICROSECOND


def _transition(before_us: int, after_us: int, zone: tzinfo) -> int:
    """Return the instant at which the zone's clocks jump, which lies in (before, after]."""
    offset = local(before_us, zone).utcoffset()
    while after_us - before_us > 1:
        middle = (before_us + after_us) // 2
        if local(middle, zone).utcoffset() == offset:
            before_us = middle
        else:
            after_us = middle
    return after_us


def _nearest_zone(name: str) -> str:
    if re.fullmatch(r"(UTC|GMT)?[+-]\d{1,2}(:?\d\d)?", name):
        return 'write a place, as in "Europe/Brussels", since clocks there change'
    known = {zone.lower(): zone for zone in available_timezones() if not zone.startswith(_NO_PLACES)}
    near = get_close_matches(name.lower(), [*known, "utc"], n=1, cutoff=0.6)
    example = known.get(near[0], "UTC") if near else "Europe/Brussels"
    return f'did you mean "{example}"?' if near else f'write an IANA name, as in "{example}"'
