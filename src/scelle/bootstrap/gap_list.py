"""List the gaps of orders: what was, or may have been, missed, and what closed it."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scelle.bootstrap.session import Session
from scelle.capture.live import NOTICED
from scelle.formats.entries import Gap
from scelle.ledger.events import Event, events
from scelle.ledger.model import KnownGap, known_gaps
from scelle.operators.model import Power
from scelle.orders.days import utc_text
from scelle.orders.service import sealed_order


@dataclass(frozen=True, slots=True)
class ListedGap:
    """One gap: where its entry stands in the log, and the entry that closes it; times in microseconds."""

    order: str
    source: str
    known: KnownGap
    tables: tuple[str, ...] = ()
    """Which tables a watch left out, where that is what the gap is about."""

    @property
    def is_open(self) -> bool:
        """Tell whether the gap has no end yet."""
        return self.known.is_open

    @property
    def until_us(self) -> int | None:
        """Return the end of what may have been missed; None while the gap is open."""
        return (self.known.closing or self.known.gap).interval[1]

    @property
    def lost_at_most(self) -> int | None:
        """Return how many changes can have been lost; None where nobody knows."""
        return (self.known.closing or self.known.gap).lost_at_most

    def to_json(self) -> dict[str, Any]:
        """Return the gap as `gap list --json` prints it."""
        until_us = self.until_us
        return {
            "order": self.order,
            "source": self.source,
            "cause": self.known.gap.cause,
            "from": utc_text(self.known.gap.interval[0], "auto"),
            "to": None if until_us is None else utc_text(until_us, "auto"),
            "lost_at_most": self.lost_at_most,
            "tables": list(self.tables),
            "open": self.is_open,
            "entry": self.known.at,
            "closed_by": self.known.closed_at,
        }

    def line(self) -> str:
        """Return the gap for people."""
        until_us, lost = self.until_us, self.lost_at_most
        until = "now" if until_us is None else utc_text(until_us, "auto")
        what = "how much may be lost is not known" if lost is None else f"at most {lost} lost"
        state = "OPEN" if self.is_open else "closed" if self.known.closing is not None else "bounded"
        return (
            f"{state}: order {self.order}, {self.source}: {self.known.gap.cause}, "
            f"{utc_text(self.known.gap.interval[0], 'auto')} to {until}; {what}"
            + (f"; {', '.join(self.tables)}" if self.tables else "")
        )


def list_gaps(session: Session, order: str | None = None) -> list[ListedGap]:
    """List the gaps of an order, or of all that who acts may know of, in the order of their entries.

    Raises NotAllowed where nobody acts, once there are operators: no gap would be seen then.
    """
    session.require(Power.SEE_COUNTS)
    orders = session.orders() if order is None else [session.check_order(order)]
    return [gap for each in orders for gap in _gaps_of(session, each)]


def _gaps_of(session: Session, order: str) -> Iterator[ListedGap]:
    ledger = session.order_ledger(order)
    names = {alias: name for name, alias in sealed_order(ledger).aliases.items()}
    found, tables = list(known_gaps(ledger.entries)), defaultdict[int, list[str]](list)
    for event in events(ledger, NOTICED):
        about = [each for each in found if _is_about(event, each.gap)]
        if about:  # the newest that had begun by then
            tables[about[-1].at].append(event.body["unit"])
    for known in found:
        told = tuple(sorted(set(tables[known.at])))
        yield ListedGap(order, names.get(known.gap.source, known.gap.source), known, told)


def _is_about(event: Event, gap: Gap) -> bool:
    """Tell whether an event may name a table of a gap."""
    body = event.body
    return (body["source"], body["kind"]) == (gap.source, gap.cause) and gap.interval[0] <= event.time_us
