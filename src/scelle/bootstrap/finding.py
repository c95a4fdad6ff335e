"""Find what is sealed under an order."""

from hashlib import sha256

from scelle.bootstrap.orders import refuse_disposed
from scelle.bootstrap.session import Session
from scelle.errors import StorageError
from scelle.find.service import Hits, Progress, find
from scelle.operators.model import Role
from scelle.orders.service import sealed_order


def find_items(session: Session, order: str, query: str, limit: int, progress: Progress) -> Hits:
    """Find what is sealed under an order by its metadata; dates of the query are days in the order's zone.

    How many matches are quarantined is told to counsel alone. That somebody asked is kept, before anything is shown.
    """
    refuse_disposed(session, order)
    ledger = session.order_ledger(order)
    sealed = sealed_order(ledger)
    hits = find(
        ledger,
        query,
        zone=sealed.order.tz(),
        names=sealed.source_names,
        vault_key=session.key,
        limit=limit,
        progress=progress,
    )
    if not session.is_solo and (session.operator is None or session.operator.role is not Role.COUNSEL):
        hits.quarantined = None
    _note(session, order, query, hits.count)
    return hits


def _note(session: Session, order: str, query: str, count: int) -> None:
    """Keep who asked what; the question only by its digest, since it may name persons for longer than they are held."""
    try:
        session.note_read(order, "find", query_sha256=sha256(query.encode()).hexdigest(), matches=count)
    except StorageError as error:
        if not session.is_solo:
            raise
        session.warnings.append(f"this search could not be noted: {error}")
