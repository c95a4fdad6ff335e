"""Find the time of a message: Date header, else newest Received, else From_ line."""

import re
from collections.abc import Iterator
from datetime import date
from email.utils import mktime_tz, parsedate_tz
from typing import Final, NamedTuple

_MONTHS: Final = {
    name: number
    for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)
}
_MONTH: Final = rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK: Final = rb"(\d{1,2}):(\d\d)(?::(\d\d))?"
_DAY: Final = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_ZONE: Final = rb"([+-]\d{4}|[A-Z]{1,5})"

_STRICT_DATE: Final = re.compile(
    rb"[ \t]*(?:"
    + _DAY
    + rb",)?[ \t]+(\d{1,2}) "
    + _MONTH
    + rb" (\d{4}) "
    + _CLOCK
    + rb" ([+-])(\d\d)(\d\d)\b"
)
_ASCTIME: Final = re.compile(
    rb"\s" + _DAY + rb",?\s+" + _MONTH + rb"\s+(\d{1,2})\s+" + _CLOCK + rb"(?:\s+" + _ZONE + rb")?\s+(\d{4})"
    rb"(?:\s+" + _ZONE + rb")?(?:\s+remote from .{1,200})?\s*$"
)
_MAIL_DATE: Final = re.compile(
    rb"\s(?:" + _DAY + rb",?\s+)?(\d{1,2})\s+" + _MONTH + rb"\s+(\d{4})\s+" + _CLOCK + rb"(?:\s+" + _ZONE
    + rb")?(?:\s+\([A-Z]{1,5}\))?\s*$"
)  # fmt: skip
_LONGEST_DATE_BYTES: Final = 300
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_FOLDED: Final = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*")


class ItemTime(NamedTuple):
    """Carry the time of an item in microseconds since 1970 UTC, and where it was found."""

    time_us: int
    basis: str


def message_time(head: bytes, from_line: bytes, mtime_ns: int) -> ItemTime:
    """Find a message's time in its first bytes; the file's own time is the last resort.

    What is read is the header block up to the first blank line, whatever else is wrong with it. A date that
    names no day, or none that a calendar of the years 1 to 9999 has, is passed over. No zone counts as UTC.
    """
    fields = b"\n" + _header_block(head)
    for value in _values(fields, b"date"):
        seconds = header_date(value)
        if seconds is not None:
            return ItemTime(seconds * 1_000_000, "header-date")
    received = [header_date(value.rpartition(b";")[2]) for value in _values(fields, b"received")]
    dated = [seconds for seconds in received if seconds is not None]
    if dated:
        return ItemTime(max(dated) * 1_000_000, "header-received")
    if from_line and (seconds := from_line_time(from_line)) is not None:
        return ItemTime(seconds * 1_000_000, "from-line")
    return ItemTime(mtime_ns // 1000, "file-mtime")


def header_date(value: bytes) -> int | None:
    """Read the date of a header field as seconds since 1970 UTC; None where it is none."""
    plain = _STRICT_DATE.match(value)
    if plain is not None:
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = plain.groups()
        zone = (int(zone_hours) * 3600 + int(zone_minutes) * 60) * (-1 if sign == b"-" else 1)
        return _seconds(year, month, day, hour, minute, second, zone)
    if len(value) > _LONGEST_DATE_BYTES:
        return None
    try:
        parsed = parsedate_tz(value.decode("latin-1"))
        if parsed is None or not 1 <= parsed[0] <= 9999:
            return None
        date(*parsed[:3])  # mktime_tz would make the 31st of April the 1st of May
        return int(mktime_tz(parsed)) if _is_clock(*parsed[3:6]) else None
    except (ValueError, TypeError, IndexError, OverflowError):  # all of them have come out of parsedate_tz
        return None


def from_line_time(line: bytes) -> int | None:
    """Read the date of an mbox From_ line as seconds since 1970, UTC where it names no other zone."""
    found = _ASCTIME.search(line)
    if found is not None:
        month, day, hour, minute, second, zone, year, later_zone = found.groups()
        return _seconds(year, month, day, hour, minute, second, _zone_seconds(zone or later_zone))
    found = _MAIL_DATE.search(line)
    if found is not None:
        day, month, year, hour, minute, second, zone = found.groups()
        return _seconds(year, month, day, hour, minute, second, _zone_seconds(zone))
    return None


def _zone_seconds(zone: bytes | None) -> int:
    """Give the offset of a numeric zone; names are ambiguous and count as UTC."""
    if zone is None or zone[:1] not in b"+-":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
    return -seconds if zone[:1] == b"-" else seconds


def _is_clock(hour: int, minute: int, second: int) -> bool:
    return 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60  # 60: a leap second


def _seconds(
    year: bytes, month: bytes, day: bytes, hour: bytes, minute: bytes, second: bytes | None, zone: int
) -> int | None:
    if not _is_clock(int(hour), int(minute), int(second or 0)):
        return None
    try:
        days = date(int(year), _MONTHS[month.lower()], int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    return days * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second or 0) - zone


def _header_block(head: bytes) -> bytes:
    """Give what stands before the first blank line."""
    if head.startswith((b"\n", b"\r\n")):
        return b""
    blank = _BLANK_LINE.search(head)
    return head[: blank.start() + 1] if blank else head


def _values(fields: bytes, name: bytes) -> Iterator[bytes]:
    """Give the values of all fields of one name, first one first, folds joined."""
    lowered = fields.lower()
    needle = b"\n" + name
    at = lowered.find(needle)
    while at >= 0:
        after = at + len(needle)
        colon = fields.find(b":", after, after + 80)
        if colon >= 0 and not fields[after:colon].strip(b" \t"):
            folded = _FOLDED.match(fields, colon + 1)
            yield folded[0].replace(b"\r", b"").replace(b"\n", b"") if folded else b""
        at = lowered.find(needle, after)
