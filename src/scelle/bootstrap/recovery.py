"""Bring back what was restored from a copy, and say whether a restore was ever tried."""

from dataclasses import dataclass

from scelle.bootstrap.session import Session
from scelle.errors import LogBehind
from scelle.formats.entries import Gap
from scelle.ledger.events import events, record_event
from scelle.ledger.log import bring_lock_forward
from scelle.ledger.service import OrderLedger, order_folder
from scelle.ledger.signing import OrderSecrets, Signer
from scelle.orders.model import RESERVED_ORDER_ID


def was_drilled(session: Session) -> bool:
    """Tell whether a drill has proven that the vault key can be restored."""
    return any(True for _ in events(session.ledger(RESERVED_ORDER_ID), "key.drill"))


@dataclass(frozen=True, slots=True)
class Moved:
    """The sizes of a lock before and after it was brought forward."""

    old_size: int
    new_size: int


def recover_log(session: Session, order: str, time_us: int) -> Moved:
    """Bring an order's restored lock forward and record a gap for each of its sources."""
    if order != RESERVED_ORDER_ID:
        session.check_order(order)
    origin = f"{session.host}/po/{order}"
    folder = order_folder(session.path, order)
    secrets = OrderSecrets.opened(origin, (folder / "secrets").read_bytes(), session.key)
    old_size, new_size = bring_lock_forward(folder / "log", Signer(secrets))
    try:
        ledger = session.writer(order)
    except LogBehind as error:
        raise LogBehind(
            f"{folder}: more was shown than is there, and no published entry tells it: bring back a newer copy "
            "of the folder, or the entries from escrow"
        ) from error
    if new_size != old_size:
        record_event(
            ledger, time_us, session.actor, "recovered", {"from_size": old_size, "to_size": new_size}
        )
        ledger.seal(time_us, entries=_gaps(ledger, time_us))
    return Moved(old_size, new_size)


def _gaps(ledger: OrderLedger, time_us: int) -> list[Gap]:
    """Return a gap for each open log source, from where it was captured last until now."""
    return [
        Gap(
            ledger.order,
            alias,
            (chain.watermark, max(time_us, chain.watermark + 1)),
            "restored-snapshot",
            None,
            None,
        )
        for alias, chain in sorted(ledger.state.chains.items())
        if chain.watermark is not None and not chain.ended
    ]
