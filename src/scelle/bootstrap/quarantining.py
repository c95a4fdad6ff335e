"""Ask for a quarantine or its end, and carry out what two people signed; each order is a request of its own."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from scelle.bootstrap.readable import readable_orders, refuse_disposed
from scelle.bootstrap.requests import ask
from scelle.bootstrap.session import Session
from scelle.errors import OrderOver, QuarantineWrong
from scelle.formats.tokens import shown
from scelle.ledger.events import events, has_left_events, record_event
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.operators.model import Power
from scelle.operators.requests import Act, Request
from scelle.orders.service import sealed_order
from scelle.release.quarantine import (
    LIFTED,
    QUARANTINED,
    Place,
    places_of,
    quarantine_of,
    read_ground,
)

_ITEM: Final = re.compile(r"i[a-z2-7]{26}")
ITEMS_MAX: Final = 10_000


def ask_quarantine(
    session: Session, items: Sequence[str], ground: str, order: str | None = None
) -> list[tuple[Request, dict[str, Any]]]:
    """Ask that items be quarantined in the orders that have sealed them and that the session sees, or in one.

    Return each order's request, and `order, items, records, ground`. Two people must sign it before it is carried out.
    An order that the session does not see keeps what it has: who sees it asks there. Raises `QuarantineWrong`.
    """
    session.require(Power.REQUEST)
    wanted, code = _checked(items), read_ground(ground)
    found = {name: _places(session, name, wanted) for name in _orders(session, order)}
    _refuse_missing(wanted, found)
    return [
        _asked(session, Act.QUARANTINE, name, {"ground": code}, places, code)
        for name, places in found.items()
        if places
    ]


def ask_lift(
    session: Session, items: Sequence[str], order: str | None = None
) -> list[tuple[Request, dict[str, Any]]]:
    """Ask that items be let out of quarantine again; as `ask_quarantine`."""
    session.require(Power.REQUEST)
    wanted = _checked(items)
    found = {}
    for name in _orders(session, order):
        known = quarantine_of(events(session.order_ledger(name), QUARANTINED, LIFTED))
        found[name] = {item: list(known[item].places) for item in wanted if item in known}
    _refuse_missing(wanted, found, "is quarantined")
    return [
        _asked(session, Act.LIFT_QUARANTINE, name, {}, places, "quarantine-lifted")
        for name, places in found.items()
        if places
    ]


def list_quarantined(session: Session, order: str) -> list[dict[str, Any]]:
    """List what is quarantined in an order, by item id: on which ground, by which request, since when."""
    session.require(Power.SEE_ORDERS)
    ledger = session.order_ledger(order)
    return [each.to_json() for each in quarantine_of(events(ledger, QUARANTINED, LIFTED)).values()]


def execute_quarantine(session: Session, request: Request) -> dict[str, Any]:
    """Seal in the order's log that the items of an approved request are quarantined, with every place they have now.

    Idempotent by request id. Return `items` and `records`; of an order that was disposed of meanwhile none, and `why`.
    """
    ledger = left_events_sealed(session, _order_of(request))
    done = _sealed_body(ledger, QUARANTINED, request.id)
    if done is None:
        names = sealed_order(ledger).source_names
        try:
            found = places_of(ledger, session.key, names, set(request.body["items"]))
        except OrderOver:
            return {
                "items": 0,
                "records": 0,
                "why": "what the order captured was destroyed since it was asked",
            }
        done = {
            "items": sorted(found),
            "places": {item: [list(place) for place in places] for item, places in found.items()},
            "ground": request.body["ground"],
            "request": request.id,
        }
        _seal(session, ledger, QUARANTINED, done)
    return _counts(done)


def execute_lift_quarantine(session: Session, request: Request) -> dict[str, Any]:
    """Seal that the items of an approved request leave quarantine; idempotent by request id."""
    ledger = left_events_sealed(session, _order_of(request))
    done = _sealed_body(ledger, LIFTED, request.id)
    if done is None:
        known = quarantine_of(events(ledger, QUARANTINED, LIFTED))
        items = sorted(item for item in request.body["items"] if item in known)
        places = {item: [list(place) for place in known[item].places] for item in items}
        done = {"items": items, "places": places, "request": request.id}
        _seal(session, ledger, LIFTED, done)
    return _counts(done)


# --- inside ----------------------------------------------------------------------------------------------


def _checked(items: Sequence[str]) -> list[str]:
    wrong = next((item for item in items if _ITEM.fullmatch(item) is None), None)
    if wrong is not None:
        raise QuarantineWrong(
            f"{shown(wrong)} is no item's id (i and 26 characters): `scelle find` prints ids"
        )
    if not items or len(items) > ITEMS_MAX:
        raise QuarantineWrong(f"{len(items)} items at once: give 1 to {ITEMS_MAX}")
    return list(dict.fromkeys(items))


def _orders(session: Session, order: str | None) -> list[str]:
    if order is None:
        return readable_orders(session)
    refuse_disposed(session, order)  # and one that does not exist, or is not seen
    return [order]


def _places(session: Session, order: str, items: Sequence[str]) -> dict[str, list[Place]]:
    ledger = session.order_ledger(order)
    return places_of(ledger, session.key, sealed_order(ledger).source_names, set(items))


def _refuse_missing(
    items: Sequence[str], found: Mapping[str, Mapping[str, object]], what: str = "is sealed"
) -> None:
    """Refuse a slip of the pen: it would leave an item where everybody finds it."""
    known = {item for places in found.values() for item in places}
    missing = [item for item in items if item not in known]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise QuarantineWrong(
            f"no item {missing[0]}{more} {what} in these orders: compare it; nothing was asked for"
        )


def _asked(
    session: Session,
    act: Act,
    order: str,
    said: Mapping[str, Any],
    places: Mapping[str, Sequence[Place]],
    reason: str,
) -> tuple[Request, dict[str, Any]]:
    request = ask(session, act, order, {**said, "items": sorted(places)}, reason)
    records = sum(map(len, places.values()))
    return request, {"order": order, "items": len(places), "records": records, **said}


def _order_of(request: Request) -> str:
    if request.order is None:
        raise QuarantineWrong(f"request {request.id} names no order: ask again")
    return request.order


def left_events_sealed(session: Session, order: str) -> OrderLedgerWriter:
    """Open the order's log; events that a crash left durable are sealed first, so that they are seen."""
    ledger = session.order_writer(order)
    if has_left_events(session.path, order):
        ledger.seal(session.now_us(), only=(EVENTS_SOURCE,))
    return ledger


def _sealed_body(ledger: OrderLedger, kind: str, request_id: str) -> dict[str, Any] | None:
    found = (event.body for event in events(ledger, kind) if event.body["request"] == request_id)
    body = next(found, None)
    return None if body is None else dict(body)


def _seal(session: Session, ledger: OrderLedgerWriter, kind: str, body: Mapping[str, Any]) -> None:
    record_event(ledger, session.now_us(), session.actor, kind, body)
    ledger.seal(session.now_us())


def _counts(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"items": len(body["items"]), "records": sum(map(len, body["places"].values()))}
