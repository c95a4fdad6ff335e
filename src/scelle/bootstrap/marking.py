"""Put what was sealed openly into the compartment by hand, and quarantine the open records in the same step.

It tightens, so one person does it. Nothing is destroyed: what is sealed goes only under a tombstone that its order
allows. Done again after a crash it goes on where it was, and gives the same answer.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from scelle.bootstrap.quarantining import left_events_sealed
from scelle.bootstrap.readable import readable_orders
from scelle.bootstrap.restricted import known_compartment
from scelle.bootstrap.session import Session
from scelle.capture.identity import ItemNames
from scelle.capture.relocking import Relocked, find_locked, lock_record
from scelle.errors import ItemUnknown
from scelle.find.items import ItemRows, SealedRow
from scelle.formats.entries import Segment
from scelle.formats.tokens import shown
from scelle.ledger.events import events, record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.operators.compartments import MARKED
from scelle.operators.model import Power
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.release.quarantine import LIFTED, QUARANTINED, RESTRICTED_GROUND, Place, places_of, quarantine_of


@dataclass(frozen=True, slots=True)
class Marked:
    """An item that was put into the compartment by hand in one order: the new record, and those that are open.

    ``item`` is the new record's id; ``open_seqs`` are quarantined, and their content stays until it is disposed of.
    """

    item: str
    order: str
    alias: str
    seq: int
    open_seqs: tuple[int, ...]


def mark_item(session: Session, item: str) -> list[Marked]:
    """Put an item into the compartment, as a new record, and quarantine its open records: in every order that has it.

    Only orders that the session sees are looked at; one of which nothing is captured any more is left alone. Raises
    `ItemUnknown`, `RestrictedWrong` for what lies there already, `CompartmentMissing`, and `ContentMissing`.
    """
    session.require(Power.QUARANTINE)
    recipient = known_compartment(session).recipient
    found = [(order, row) for order in readable_orders(session) if (row := _row(session, order, item))]
    if not found:
        raise ItemUnknown(f"no sealed item has the id {shown(item)}: compare it with `scelle find`")
    return [_mark(session, order, row, item, recipient) for order, row in found]


def _row(session: Session, order: str, item: str) -> SealedRow | None:
    ledger = session.order_ledger(order)
    return ItemRows(ledger, sealed_order(ledger).source_names, session.key).of_id(
        item, lambda done, total: None
    )


def _mark(session: Session, order: str, sealed: SealedRow, item: str, recipient: str) -> Marked:
    """Lock and quarantine in one order's log by one commit, then say so in the vault's own.

    A crash before the commit leaves the new record durable, if anything; one between the two logs leaves the event.
    Both are found, and gone on with, when the item is marked again.
    """
    ledger = left_events_sealed(session, order)
    places = places_of(ledger, session.key, sealed_order(ledger).source_names, {item})[item]
    locked = _locked(session, ledger, sealed)
    if locked is None:
        tools = session.pass_tools(ledger, lambda name, counts: None)
        tools.compartment = recipient
        locked = lock_record(tools, sealed.source, sealed.alias, sealed.schema, sealed.row)
    is_quarantined = _is_quarantined(ledger, item, places)
    if not is_quarantined:
        body = {
            "items": [item],
            "places": {item: [list(place) for place in places]},
            "ground": RESTRICTED_GROUND,
            "request": None,
        }
        record_event(ledger, session.now_us(), session.actor, QUARANTINED, body)
    if not is_quarantined or _manifest(ledger, locked) is None:
        ledger.seal(session.now_us())
    new = _name(session, ledger, sealed.source, locked)
    _say(session, {"item": item, "as": new, "order": order, "alias": locked.alias, "seq": locked.seq})
    return Marked(new, order, locked.alias, locked.seq, tuple(place[1] for place in places))


def _locked(session: Session, ledger: OrderLedgerWriter, sealed: SealedRow) -> Relocked | None:
    """Return which record the compartment has of an item that was marked before; None where it was erased since."""
    found = find_locked(ledger, session.key, sealed.source, sealed.alias, sealed.schema, sealed.row)
    if found is None or _manifest(ledger, found) is None:
        return found
    rows = ItemRows(ledger, sealed_order(ledger).source_names, session.key)
    return None if rows.at(found.alias, found.seq) is None else found


def _is_quarantined(ledger: OrderLedger, item: str, places: Sequence[Place]) -> bool:
    known = quarantine_of(events(ledger, QUARANTINED, LIFTED)).get(item)
    return known is not None and set(places) <= set(known.places)


def _name(session: Session, ledger: OrderLedgerWriter, source: str, locked: Relocked) -> str:
    manifest = _manifest(ledger, locked)
    if manifest is None:
        raise AssertionError("the record was sealed a moment ago")
    with closing(ledger.segment(manifest)) as reader:
        return ItemNames(session.key, source, reader.schema).name(reader.row(locked.seq)) or ""


def _manifest(ledger: OrderLedger, locked: Relocked) -> Segment | None:
    mine = (each for _, each in ledger.manifests() if each.source == locked.alias and each.records)
    return next((each for each in mine if each.seq[0] <= locked.seq < each.seq[1]), None)


def _say(session: Session, body: dict[str, object]) -> None:
    """Seal once in the vault's own log that an item was marked."""
    if all(event.body != body for event in events(session.ledger(RESERVED_ORDER_ID), MARKED)):
        session.record(MARKED, body)
