"""Verify a vault, and name the logs that it no longer has."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from scelle.bootstrap.session import Session
from scelle.errors import IntegrityError, StorageError
from scelle.fsck.files import is_there
from scelle.fsck.model import Finding, VerifyReport
from scelle.fsck.service import verify
from scelle.ledger.events import events
from scelle.ledger.service import order_folder
from scelle.orders.model import RESERVED_ORDER_ID


def verify_vault(
    session: Session, *, sample: int | None, order: str | None, workers: int | None
) -> VerifyReport:
    """Verify the vault; also name the logs that were there once and are gone as a whole.

    What was there is told by the vault's own log and by the signer's memory beside the key file.
    """
    report = verify(
        session.path, session.key, sample=sample, order=order, workers=workers, recall=session.memory.recall
    )
    gone = [name for name in _expected_logs(session) if not _has_log(session.path, name)]
    if not gone or order is not None:
        return report
    findings = tuple(
        Finding("log.gone", f"order {name}", "its whole log is gone: restore it from a copy or from escrow")
        for name in gone
    )
    return replace(report, valid=False, findings=report.findings + findings)


def _expected_logs(session: Session) -> list[str]:
    known = {RESERVED_ORDER_ID} | {origin.rpartition("/")[2] for origin in session.memory.origins()}
    if _has_log(session.path, RESERVED_ORDER_ID):
        with suppress(IntegrityError, StorageError, OSError):  # verify itself says what is wrong with it
            ledger = session.ledger(RESERVED_ORDER_ID)
            known |= {str(event.body["order"]) for event in events(ledger, "order.opened")}
    return sorted(known)


def _has_log(vault: Path, order: str) -> bool:
    return is_there(order_folder(vault, order) / "log" / "lock.db")
