"""Take orders in, and say what was done under them."""

from scelle.bootstrap.acting import actor, now_us
from scelle.bootstrap.session import Session
from scelle.errors import OrderExists
from scelle.ledger.events import events, record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.orders.intake import OrderFile
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import add_order


def take_in_order(session: Session, order_file: OrderFile) -> OrderLedgerWriter:
    """Take an order in and note it in the vault's own log; raise `OrderExists` where it was taken in before."""
    order = order_file.order.id
    try:
        ledger = add_order(
            session.path,
            session.host,
            session.key,
            session.packs,
            order_file,
            {name: spec.to_json() for name, spec in session.sources().items()},
            now_us=now_us(),
            actor=actor(),
            memory=session.memory,
        )
    except OrderExists:
        note_order(session, order)  # the crash may have come between the two logs
        raise
    note_order(session, order)
    return session.keep(ledger)


def note_order(session: Session, order: str) -> None:
    """Seal in the vault's own log that an order was opened, so that its disappearance is noticed. Idempotent."""
    ledger = session.writer(RESERVED_ORDER_ID)
    if any(event.body["order"] == order for event in events(ledger, "order.opened")):
        return
    record_event(ledger, now_us(), actor(), "order.opened", {"order": order})
    ledger.seal(now_us())


def expected_items(ledger: OrderLedger) -> int:
    """Return how many items the last preview or pass was offered; 0 before the first."""
    expected = 0
    for event in events(ledger):
        if event.kind in ("preview", "pass"):
            expected = sum(int(counts["offered"]) for counts in event.body["sources"].values())
    return expected
