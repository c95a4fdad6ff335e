"""Take orders in, and say what was done under them."""

from collections.abc import Sequence

from scelle.bootstrap.restricted import refuse_hashes_over_records
from scelle.bootstrap.session import Session
from scelle.errors import OrderExists, OrderOver
from scelle.ledger.events import events, record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.orders.intake import OrderFile
from scelle.orders.lifecycle import State, Step, advice, is_valid
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import SealedOrder, add_order


def take_in_order(
    session: Session, order_file: OrderFile, only: Sequence[str] | None = None
) -> OrderLedgerWriter:
    """Take an order in and note it in the vault's own log; raise `OrderExists` where it was taken in before.

    With `only` a wall stands before anything of the order is there: nobody but these operators, and who takes it in,
    ever knows of it. Raises what `wall_new_order` raises.
    """
    order = order_file.order.id
    refuse_hashes_over_records(order_file.clauses, session.sources())
    if not session.is_solo and order in session.people.walls and not session.sees(order):
        raise _taken(order)
    if only is not None and order not in session.all_orders():
        from scelle.bootstrap.operators import wall_new_order  # most orders have no wall

        wall_new_order(session, order, only)
    try:
        ledger = add_order(
            session.path,
            session.host,
            session.key,
            session.packs,
            order_file,
            {name: spec.to_json() for name, spec in session.sources().items()},
            now_us=session.now_us(),
            actor=session.actor,
            memory=session.memory,
        )
    except OrderExists:
        note_order(session, order)  # the crash may have come between the two logs
        if not session.sees(order):
            raise _taken(order) from None
        raise
    note_order(session, order)
    return session.keep(ledger)


def _taken(order: str) -> OrderExists:
    """Return what is said of an id behind a wall, to whoever stands outside."""
    return OrderExists(f"the id {order} cannot be used: leave it out of the file, or choose another")


def note_order(session: Session, order: str) -> None:
    """Seal in the vault's own log that an order was opened, so that its disappearance is noticed. Idempotent."""
    ledger = session.writer(RESERVED_ORDER_ID)
    if any(event.body["order"] == order for event in events(ledger, "order.opened")):
        return
    by = None if session.operator is None else session.operator.name
    record_event(ledger, session.now_us(), session.actor, "order.opened", {"order": order, "by": by})
    ledger.seal(session.now_us())
    session.forget_people()


def expected_items(ledger: OrderLedger) -> int:
    """Return how many items the last preview or pass was offered; 0 before the first."""
    expected = 0
    for event in events(ledger):
        if event.kind in ("preview", "pass"):
            expected = sum(int(counts["offered"]) for counts in event.body["sources"].values())
    return expected


def refuse_capture(session: Session, sealed: SealedOrder) -> None:
    """Raise `OrderOver` where nothing may be captured under an order any more; warn where it has lapsed.

    No more is kept than is asked: what was lifted or annulled grows no longer, though it is held until its release. A
    lapsed order may still be extended, and a clock never releases, so that capture goes on.
    """
    state = sealed.life.state(session.now_us())
    if not is_valid(Step.CAPTURE, state):
        raise OrderOver(
            f"order {sealed.order.id} is {state}: nothing more is captured under it; "
            f"{advice(Step.CAPTURE, state, sealed.order)}"
        )
    if state is State.LAPSED:
        session.warnings.append(
            f"order {sealed.order.id} has lapsed: capture goes on until counsel decides (extend, replace, release)"
        )
