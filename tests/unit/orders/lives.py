"""Orders, and their lives by the acts on them."""

from datetime import UTC, date, datetime
from itertools import count
from typing import Any

from scelle.ledger.events import Event
from scelle.orders import Moment, Notify, Order, OrderType, Temporal, order_to_json
from scelle.orders.days import aware_instant, day_end_us, day_start_us, load_zone
from scelle.orders.lifecycle import Life, Mark, life_of

DAY_US = 86_400_000_000


def moment(text: str, zone: str, *, ends: bool = False) -> Moment:
    if len(text) == 10:
        day = date.fromisoformat(text)
        return Moment(text, (day_end_us if ends else day_start_us)(day, load_zone(zone)))
    return Moment(text, aware_instant(datetime.fromisoformat(text)))


def at(text: str) -> int:
    return aware_instant(datetime.fromisoformat(text).replace(tzinfo=UTC))


def make(
    type: OrderType,
    *,
    issued: str = "2026-01-08",
    received: str = "2026-01-08",
    until: str | None = None,
    effective: str | None = None,
    acknowledge_by: str | None = None,
    zone: str = "Europe/Brussels",
) -> Order:
    return Order(
        id="o-1",
        matter="m",
        type=type,
        authority="a",
        legal_basis="b",
        reference="r-1",
        issued=moment(issued, zone),
        received=moment(received, zone),
        zone=zone,
        temporal=Temporal.BOTH,
        notify=Notify.PERMITTED,
        effective=None if effective is None else moment(effective, zone),
        until=None if until is None else moment(until, zone, ends=True),
        acknowledge_by=None if acknowledge_by is None else moment(acknowledge_by, zone, ends=True),
    )


X = make(OrderType.DSA_RETENTION, issued="2025-01-17", received="2025-01-17", until="2025-12-31")
END_US = at("2025-12-31T23:00:00")  # midnight in Brussels


def life(order: Order, *acts: tuple[int, str, dict[str, Any]]) -> Life:
    """Return the life of an order by the acts on it, each at its time."""
    number = count(1)
    received = Event(0, order.received.at_us, "counsel", "received", order_to_json(order))
    found = life_of([received, *(Event(next(number), us, "counsel", kind, body) for us, kind, body in acts)])
    assert found is not None
    return found


def extended(us: int, until: str, order: Order = X) -> tuple[int, str, dict[str, Any]]:
    end = moment(until, order.zone, ends=True)
    return (us, "extended", {"until": [end.text, end.at_us]})


def mark(us: int, which: Mark, *, is_set: bool = True) -> tuple[int, str, dict[str, Any]]:
    return (us, "mark", {"mark": which.value, "set": is_set})
