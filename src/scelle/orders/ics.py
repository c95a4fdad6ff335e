"""Write deadlines as an iCalendar file (RFC 5545): CRLF, lines of at most 75 octets, times in UTC.

A calendar has other readers than a vault: an entry names the order's id and what is due, and no authority, reference,
law, source or account.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from scelle.orders.days import utc_text
from scelle.orders.deadlines import Deadline

_LINE_OCTETS: Final = 75
_SECOND_US: Final = 1_000_000
_MINUTE_US: Final = 60 * _SECOND_US


def calendar(deadlines: Iterable[Deadline], host: str, now_us: int) -> bytes:
    """Return an iCalendar file. An entry keeps its UID while its instant moves, so that calendars move it too.

    What is late from an instant on stands one minute before it: the end of a day stands on that day.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Scelle//deadlines//EN", "CALSCALE:GREGORIAN"]
    for each in deadlines:
        lines += _event(each, host, now_us)
    lines.append("END:VCALENDAR")
    return b"".join(_folded(line.encode()) + b"\r\n" for line in lines)


def _event(deadline: Deadline, host: str, now_us: int) -> list[str]:
    said = _text(f"{deadline.order}: {deadline.what}")
    name = sha256(f"{deadline.order}\n{deadline.key}".encode()).hexdigest()[:32]
    return [
        "BEGIN:VEVENT",
        f"UID:{name}@{_text(host)}",
        f"DTSTAMP:{_time(now_us)}",
        f"DTSTART:{_time(deadline.at_us - _MINUTE_US)}",
        "DURATION:PT1M",
        f"SUMMARY:{said}",
        "TRANSP:TRANSPARENT",
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        f"DESCRIPTION:{said}",
        "TRIGGER:-P3D",
        "END:VALARM",
        "END:VEVENT",
    ]


def _time(time_us: int) -> str:
    """Return an instant as a DATE-TIME in UTC (RFC 5545 §3.3.5, form 2)."""
    return utc_text(time_us - time_us % _SECOND_US, "seconds").replace("-", "").replace(":", "")


def _text(text: str) -> str:
    """Return a TEXT value (RFC 5545 §3.3.11); what is no printable character becomes a space."""
    escaped = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")
    return "".join(character if character.isprintable() else " " for character in escaped)


def _folded(line: bytes) -> bytes:
    """Fold a line (RFC 5545 §3.1) at 75 octets, never inside a character; what follows begins with a blank."""
    pieces = []
    while len(line) > _LINE_OCTETS:
        end = _LINE_OCTETS
        while line[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        pieces.append(line[:end])
        line = b" " + line[end:]
    return b"\r\n".join([*pieces, line])
