"""Say when a database may be read: a part of each day, in UTC."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple


class Window(NamedTuple):
    """The minutes of the day (UTC) from which, and before which, a database may be read; it may span midnight."""

    start: int
    end: int

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
