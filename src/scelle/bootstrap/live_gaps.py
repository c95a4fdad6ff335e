"""Declare in an order's log what a watch may have missed of a source, and close it again by evidence."""

from collections.abc import Collection

from scelle.bootstrap.session import Session
from scelle.capture.entries import closing_gap, open_gaps
from scelle.formats.entries import Gap
from scelle.orders.service import sealed_order


def declare_gap(session: Session, order: str, name: str, cause: str, since_us: int) -> None:
    """Declare that something may be missing of a source since a time (microseconds), unless that gap is open."""
    if not has_open_gap(session, order, name, (cause,)):
        alias = sealed_order(session.ledger(order)).aliases[name]
        gap = Gap(order, alias, (since_us, None), cause, None, None)
        session.writer(order).commit_entries([gap], session.now_us())


def has_open_gap(session: Session, order: str, name: str, causes: Collection[str]) -> bool:
    """Tell whether a gap of one of these causes is open."""
    ledger = session.ledger(order)
    alias = sealed_order(ledger).aliases[name]
    return any(gap.cause in causes for _, gap in open_gaps(ledger, alias))


def close_gaps(
    session: Session, order: str, name: str, causes: Collection[str], lost_at_most: int | None
) -> None:
    """Close a source's open gaps of these causes; `lost_at_most` is None where nobody knows."""
    ledger = session.writer(order)
    alias = sealed_order(ledger).aliases[name]
    closing = [
        closing_gap(index, gap, session.now_us(), lost_at_most)
        for index, gap in open_gaps(ledger, alias)
        if gap.cause in causes
    ]
    if closing:
        ledger.commit_entries(closing, session.now_us())
