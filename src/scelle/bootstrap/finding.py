"""Find what is sealed under an order."""

from hashlib import sha256

from scelle.bootstrap.readable import refuse_disposed
from scelle.bootstrap.reads import note_shown
from scelle.bootstrap.session import Session
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
    # The question only by its digest, since it may name persons for longer than they are held.
    asked = sha256(query.encode()).hexdigest()
    note_shown(session, order, "find", query_sha256=asked, matches=hits.count)
    return hits
