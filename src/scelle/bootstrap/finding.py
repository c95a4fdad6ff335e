"""Find what is sealed under an order."""

from scelle.bootstrap.session import Session
from scelle.find.service import Hits, Progress, find
from scelle.orders.service import sealed_order


def find_items(session: Session, order: str, query: str, limit: int, progress: Progress) -> Hits:
    """Find what is sealed under an order by its metadata; dates of the query are days in the order's zone."""
    ledger = session.order_ledger(order)
    sealed = sealed_order(ledger)
    return find(
        ledger,
        query,
        zone=sealed.order.tz(),
        names=sealed.source_names,
        vault_key=session.key,
        limit=limit,
        progress=progress,
    )
