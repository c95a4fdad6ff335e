"""Take away from a database's server what a watch made there: the slot, and the publications.

It loosens capture: two people must sign it, or in solo mode it is confirmed. It is never done while another order is
captured through the same stream, or a process reads it.
"""

from collections.abc import Iterator
from typing import Any, Final

from scelle.bootstrap.guard_claims import claiming_orders
from scelle.bootstrap.guard_databases import database_of, databases
from scelle.bootstrap.orders import refuse_capture
from scelle.bootstrap.requests import ask
from scelle.bootstrap.session import Session
from scelle.capture.entries import open_gaps
from scelle.capture.live import SEALED
from scelle.capture.watch_state import forget_state, read_state, slot_name, watch_lock
from scelle.errors import InputError, OrderOver, SourceHeld, VaultBusy
from scelle.formats.entries import Gap
from scelle.guard.service import ref_of
from scelle.ledger.events import events, record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.operators.model import Power
from scelle.operators.requests import Act, Request
from scelle.orders.service import SealedOrder, sealed_order
from scelle.sources.postgres import PostgresSource

BEGAN: Final = "watch.began"
"""The event that says from where on a source is watched for an order: the stream, and the snapshot that it joins."""
REMOVED: Final = "watch.removed"
"""The event of an order that says that a source's stream is taken away."""
GAP: Final = "watch-removed"


def watched_since(ledger: OrderLedger, alias: str) -> int | None:
    """Return when it was last sealed that an order watches a source; None where it never did, or not any more."""
    last = None
    for event in events(ledger, BEGAN, SEALED, REMOVED):
        if event.body["source"] == alias:
            last = None if event.kind == REMOVED else event.time_us
    return last


def ask_watch_removal(session: Session, order: str, name: str | None, reason: str) -> Request:
    """Ask that the streams of an order's databases, or of one, are taken away: two people must sign it."""
    session.require(Power.REQUEST)
    names = _names(session, order, name)
    for each in names:
        _refuse_others(session, order, each)
    return ask(session, Act.WATCH_REMOVE, order, {"sources": names}, reason)


def execute_watch_removal(session: Session, request: Request) -> dict[str, Any]:
    """Take away the streams that a request names."""
    order = str(request.order)
    return {
        "removed": [remove_watch(session, order, str(each), request.id) for each in request.body["sources"]]
    }


def remove_watches(session: Session, order: str, name: str | None) -> list[dict[str, Any]]:
    """Take away the streams of an order's databases, or of one, at once: solo mode, after a confirmation."""
    session.require(Power.REQUEST)
    names = _names(session, order, name)
    for each in names:
        _refuse_others(session, order, each)
    return [remove_watch(session, order, each, None) for each in names]


def remove_watch(session: Session, order: str, name: str, request: str | None) -> dict[str, Any]:
    """Take away slot and publications of one source; idempotent. The order's log says so first, with a gap.

    A crash leaves some of them on the server: the next run removes the rest, and a watch that is started instead goes
    on with what is there, under the gap.
    """
    ledger = session.writer(order)
    sealed = sealed_order(ledger)
    source = database_of(session, sealed.aliases, name, order)
    _refuse_others(session, order, name)
    slot = slot_name(session.key, name)
    try:
        with watch_lock(session.path, slot):
            _seal_removal(session, ledger, sealed, name, slot, request)
            forget_state(session.path, slot)
            return {"source": name, **_dropped(source, slot)}
    except VaultBusy as error:
        raise VaultBusy(
            f"{name} is being watched: stop `scelle watch` first, then remove what it made"
        ) from error


def _names(session: Session, order: str, name: str | None) -> list[str]:
    """Return the databases of an order whose streams are meant; raises InputError."""
    aliases = sealed_order(session.order_ledger(order)).aliases
    if name is not None:
        database_of(session, aliases, name, order)
        return [name]
    names = [each for each, _ in databases(session, aliases)]
    if not names:
        raise InputError(f"order {order} has no database that could be watched: nothing is to be removed")
    return names


def _refuse_others(session: Session, order: str, name: str) -> None:
    """Raise SourceHeld while a guard needs a source's stream, or another order is captured through it.

    Whoever may not know of that order is told a reference.
    """
    guarded = claiming_orders(session, name)
    if guarded:
        known = next((each for each in (order, *guarded) if each in guarded and session.sees(each)), "ORDER")
        raise SourceHeld(
            f"a guard stands in {name}, and the watch empties its outbox: `scelle guard remove {known} --source "
            f"{name}` first; nothing was changed"
        )
    others = sorted(_others(session, order, name), key=lambda each: not session.sees(each))
    if others:
        whom = f"order {others[0]}" if session.sees(others[0]) else f"ref {ref_of(session.key, name, b'')}"
        raise SourceHeld(
            f"the stream of {name} also serves {whom}: it stays as long as that is captured; nothing was changed"
        )


def _others(session: Session, order: str, name: str) -> Iterator[str]:
    for other in session.all_orders():
        if other == order:
            continue
        ledger = session.ledger(other)
        sealed = sealed_order(ledger)
        alias = sealed.aliases.get(name)
        if alias is not None and watched_since(ledger, alias) is not None and _is_captured(session, sealed):
            yield other


def _is_captured(session: Session, sealed: SealedOrder) -> bool:
    """Tell whether anything may still be captured under an order."""
    before = list(session.warnings)
    try:
        refuse_capture(session, sealed)
    except OrderOver:
        return False
    finally:
        session.warnings[:] = before  # that another order has lapsed is none of this command's business
    return True


def _seal_removal(
    session: Session,
    ledger: OrderLedgerWriter,
    sealed: SealedOrder,
    name: str,
    slot: str,
    request: str | None,
) -> None:
    """Seal that the stream is taken away, once; where the order is alive, a gap begins when it was last seen whole."""
    alias = sealed.aliases[name]
    since_us = watched_since(ledger, alias)
    if since_us is None:
        return
    state = read_state(session.path, session.key, slot)
    now_us = session.now_us()
    record_event(ledger, now_us, session.actor, REMOVED, {"source": alias, "slot": slot, "request": request})
    if _is_captured(session, sealed) and not any(gap.cause == GAP for _, gap in open_gaps(ledger, alias)):
        begin_us = since_us if state is None else state.at_us
        ledger.commit_entries([Gap(ledger.order, alias, (begin_us, None), GAP, None, None)], now_us)
    ledger.seal(session.now_us())


def _dropped(source: PostgresSource, slot: str) -> dict[str, list[str]]:
    """Drop what is on the server; of a standby the publications are for the people of its primary."""
    from scelle.sources.postgres.watched import WatchedDatabase  # the driver is an extra

    database = WatchedDatabase(source.settings, slot)
    try:
        planned = database.drop()
    finally:
        database.close()
    return {
        "dropped": [each.sql for each in planned if not each.on_primary],
        "left_on_primary": [each.sql for each in planned if each.on_primary],
    }
