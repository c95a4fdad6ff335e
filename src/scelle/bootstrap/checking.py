"""Verify a vault, and name the logs that it no longer has."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from scelle.bootstrap.session import Session, names_any
from scelle.errors import IntegrityError, ScelleError, StorageError
from scelle.fsck.files import is_there
from scelle.fsck.model import Finding, VerifyReport
from scelle.fsck.service import verify
from scelle.ledger.events import events
from scelle.ledger.service import order_folder
from scelle.orders.model import RESERVED_ORDER_ID

ELSEWHERE: Final = Finding(
    "elsewhere",
    "something that you may not know of",
    "something is wrong there: have all counsel run scelle verify",
)


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


def discreet_report(session: Session, report: VerifyReport, order: str | None) -> VerifyReport:
    """Return what a verification found as far as who acts may know of it.

    What names an order that he may not know of becomes one finding that names nothing: that something is wrong is told
    to everybody, and not where. Segments and records are counted in the orders that he sees; those of the vault's own
    log are not, since they grow with what is done anywhere, and neither are contents, bytes and packs (0).
    """
    hidden = [name for name in session.every_order_named() if not session.sees(name)]
    findings = tuple(each for each in report.findings if not names_any(_text(each), hidden))
    if len(findings) < len(report.findings):
        findings = (*findings, ELSEWHERE)
    remarks = tuple(each for each in report.remarks if not names_any(_text(each), hidden))
    logs = session.orders() if order is None else [order]
    counts = [each for each in map(partial(_segment_records, session), logs) if each is not None]
    sample = report.sampled
    return replace(
        report,
        findings=findings,
        remarks=remarks,
        orders=len(counts) + (order is None),
        segments=sum(map(len, counts)),
        records=sum(sum(each) if sample is None else min(sample, sum(each)) for each in counts),
        records_of=sum(map(sum, counts)),
        contents=0,
        bytes=0,
        packs=0,
    )


def _text(finding: Finding) -> str:
    return f"{finding.subject} {finding.detail}"


def _segment_records(session: Session, order: str) -> list[int] | None:
    """Return how many records each segment of a log has; None where the log cannot be read."""
    with suppress(ScelleError, OSError):
        return [manifest.records for _, manifest in session.ledger(order).manifests() if manifest.records]
    return None


def _expected_logs(session: Session) -> list[str]:
    known = {RESERVED_ORDER_ID} | {origin.rpartition("/")[2] for origin in session.memory.origins()}
    if _has_log(session.path, RESERVED_ORDER_ID):
        with suppress(IntegrityError, StorageError, OSError):  # verify itself says what is wrong with it
            ledger = session.ledger(RESERVED_ORDER_ID)
            known |= {str(event.body["order"]) for event in events(ledger, "order.opened")}
    return sorted(known)


def _has_log(vault: Path, order: str) -> bool:
    return is_there(order_folder(vault, order) / "log" / "lock.db")
