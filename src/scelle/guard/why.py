"""Say why an item is held: the answer of `scelle why`, as people and programs read it (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scelle.guard.model import Hold
from scelle.orders.days import utc_text


@dataclass(frozen=True, slots=True)
class Why:
    """What holds an item, as far as whoever asks may know.

    ``item`` is what was asked for. ``source`` and ``native`` are None where no order that may be seen holds it, unless
    it was asked for by them. ``holds`` are those of the orders that may be seen, ``sealed_in`` those of them whose log
    holds the item; ``sees_all`` says that there are no others that could not be seen. ``ref`` is None where the item is
    not held, and where its row does not name it (restricted material).
    """

    item: str
    source: str | None
    native: str | None
    held: bool
    ref: str | None
    holds: tuple[Hold, ...]
    sealed_in: frozenset[str]
    sees_all: bool
    now_us: int

    @property
    def earliest_release_us(self) -> int | None:
        """Return the latest end by the clocks of `holds`; None where one of them tells none."""
        return earliest_release(self.holds, self.now_us)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as `why --json` prints it."""
        return {
            "item": self.item,
            "source": self.source,
            "native": self.native,
            "held": self.held,
            "ref": self.ref,
            "orders": [
                {
                    "order": hold.order,
                    "clause": hold.clause,
                    "until": _time(hold.until_us),
                    "grows": hold.grows,
                    "sealed": hold.order in self.sealed_in,
                }
                for hold in self.holds
            ],
            "earliest_release": _time(self.earliest_release_us),
        }

    def lines(self) -> list[str]:
        """Return the answer for people."""
        if not self.held:
            return [f"{self.item}: not held"]
        head = f"{self.item}: held" + ("" if self.ref is None else f", ref {self.ref}")
        if not self.holds:
            return [head]
        named = "" if self.source is None else f"; {self.source}: {self.native}"
        return [head + named, *map(self._line, self.holds), self._end()]

    def _line(self, hold: Hold) -> str:
        clause = "no clause covers it now" if hold.clause is None else f"clause {hold.clause}"
        until = "no end by its clock" if hold.until_us is None else f"until {_time(hold.until_us)}"
        if hold.until_us is not None and hold.until_us <= self.now_us:
            until = f"lapsed {_time(hold.until_us)}, and kept until counsel decides"
        sealed = "sealed" if hold.order in self.sealed_in else "not sealed yet"
        growth = "" if hold.grows else ", kept, no longer growing"
        return f"  order {hold.order}, {clause}: {until}; {sealed}{growth}"

    def _end(self) -> str:
        whose = "the clocks" if self.sees_all else "the clocks of the orders that you may see"
        release = "no clock releases: release needs two people"
        end_us = self.earliest_release_us
        if end_us is None:
            return f"no earliest day can be told by {whose}; {release}"
        return f"earliest day by {whose}: {_time(end_us)}; {release}"


def earliest_release(holds: Sequence[Hold], now_us: int) -> int | None:
    """Return the latest end by the clocks of all holds; None where there are none, or one of them tells no day.

    A hold without an end tells none, and neither does one that has lapsed: only people end it.
    """
    ends = [hold.until_us for hold in holds]
    known = [end_us for end_us in ends if end_us is not None and end_us > now_us]
    return max(known) if known and len(known) == len(ends) else None


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else utc_text(time_us, "auto")
