"""Say at which time of day a source may be read, in UTC."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from scelle.errors import InputError
from scelle.formats.tokens import shown

_WINDOW: Final = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9])")


class Window(NamedTuple):
    """The minutes of the day (UTC) from which, and before which, a source may be read; it may span midnight."""

    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Read `HH:MM-HH:MM`; raises InputError."""
        match = _WINDOW.fullmatch(text)
        if match is None or match[1] == match[2]:
            raise InputError(f"window {shown(text)}: write two times of day in UTC, as in 22:00-06:00")
        start, end = (int(each[:2]) * 60 + int(each[3:]) for each in match.groups())
        return cls(start, end)

    @property
    def text(self) -> str:
        """Write it as `22:00-06:00`."""
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in self)

    def left_s(self, now_s: float) -> float:
        """Say for how many seconds it stays open; 0 outside of it. `now_s` are seconds since 1970."""
        since_s = (now_s - self.start * 60) % 86_400
        length_s = (self.end - self.start) % 1440 * 60
        return max(0.0, length_s - since_s)

    def opens(self, now_s: float) -> str:
        """Write when it opens next after `now_s`."""
        wait_s = 86_400 - (now_s - self.start * 60) % 86_400
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=round(now_s + wait_s))
        return moment.strftime("%Y-%m-%d %H:%M UTC")
