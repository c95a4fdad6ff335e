"""Read the time of day at which a source may be read."""

import re
from typing import Final

from scelle.errors import InputError
from scelle.formats.tokens import shown

_WINDOW: Final = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9])")


def parse_window(text: str) -> tuple[int, int]:
    """Read `HH:MM-HH:MM` (UTC): the minutes of the day from which, and before which, a source may be read."""
    match = _WINDOW.fullmatch(text)
    if match is None or match[1] == match[2]:
        raise InputError(f"window {shown(text)}: write two times of day in UTC, as in 22:00-06:00")
    start, end = (int(each[:2]) * 60 + int(each[3:]) for each in match.groups())
    return start, end


def is_open_at(window: str | None, time_us: int) -> bool:
    """Tell whether a source may be read at this time; one without a window always."""
    if window is None:
        return True
    start, end = parse_window(window)
    minute = time_us // 60_000_000 % 1440
    return start <= minute < end if start < end else minute >= start or minute < end
