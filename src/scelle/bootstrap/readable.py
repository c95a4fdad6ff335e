"""Tell of which orders anything can still be read: one that was let go of keeps its log and acts, and no content."""

from scelle.bootstrap.session import Session
from scelle.errors import OrderOver
from scelle.orders.service import sealed_order


def readable_orders(session: Session) -> list[str]:
    """List the orders that who acts may know of and that were not let go of: whatever looks for an item looks there."""
    return [order for order in session.orders() if sealed_order(session.ledger(order)).life.holds]


def refuse_disposed(session: Session, order: str) -> None:
    """Raise `OrderOver` where what an order captured was destroyed, or is about to be."""
    life = sealed_order(session.order_ledger(order)).life
    if not life.holds:
        raise OrderOver(
            f"order {order} is {life.state(session.now_us())}: nothing of it can be read or handed over; its log and "
            "acts stay"
        )
