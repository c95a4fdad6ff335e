"""Verify a vault, and name the logs that it no longer has."""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from scelle.bootstrap.promises import altered_promises, check_promises
from scelle.bootstrap.session import Session
from scelle.errors import IntegrityError, LogBusy, PromisesDamaged, ScelleError, StorageError
from scelle.fsck.files import is_there
from scelle.fsck.model import Finding, Notebook, VerifyReport, shown_name
from scelle.fsck.service import verify
from scelle.ledger.events import Event, events
from scelle.ledger.promise_book import BOOK_NAME
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger, order_folder
from scelle.operators.registry import UNASKED
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.standing import standing

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
    found = _unbacked(session, order)
    for name in session.all_orders() if order is None else [order]:
        _judge_promises(session, name, found)
    gone = [name for name in _expected_logs(session) if not _has_log(session.path, name)]
    if order is None:
        found.findings += [
            Finding(
                "log.gone", f"order {name}", "its whole log is gone: restore it from a copy or from escrow"
            )
            for name in gone
        ]
    return replace(
        report,
        valid=report.valid and not found.findings,
        findings=(*report.findings, *found.findings),
        remarks=(*report.remarks, *found.remarks),
    )


def _unbacked(session: Session, order: str | None) -> Notebook:
    """Name the events that count for nothing, since nobody who could asked for them, or nobody can read them.

    A log that cannot be read was named by the steps before.
    """
    notes = Notebook()
    for name in [RESERVED_ORDER_ID, *session.all_orders()] if order is None else [order]:
        with suppress(ScelleError, OSError):
            _doubt_events(session, name, notes)
    with suppress(ScelleError, OSError):
        for doubt in session.people.doubts if order is None else ():
            code = "event.unasked" if doubt.why == UNASKED else "event.unread"
            notes.find(code, _subject(RESERVED_ORDER_ID, doubt.seq, doubt.kind), doubt.why)
    return notes


def _judge_promises(session: Session, order: str, notes: Notebook) -> None:
    """Name the promises that the vault keeps and that are broken, or none of this log, and a book that nobody can read.

    A log that cannot be read was named by the steps before.
    """
    try:
        report, altered = check_promises(session, order), altered_promises(session, order)
    except (PromisesDamaged, LogBusy, OSError) as error:
        notes.find("promise.unread", f"order {order}, po/{order}/{BOOK_NAME}", str(error))
    except ScelleError:
        return
    else:
        for batch in altered:
            where = f"order {order}, promise {batch.hex()}"
            notes.find("promise.unread", where, "the book does not say what the signed promise says")
        for each in report.judged:
            if each.is_bad:
                notes.find("promise.broken", f"order {order}, promise {each.name}", each.detail)


def _doubt_events(session: Session, order: str, notes: Notebook) -> None:
    """Name the events of one log that count for nothing."""
    backing = session.backing(order)
    believed: list[Event] = []
    for event in events(OrderLedger(session.path, order, f"{session.host}/po/{order}", session.key)):
        why = backing.why_not(event)
        if why is None:
            believed.append(event)
        else:
            notes.find("event.unasked", _subject(order, event.seq, event.kind), why)
    if order == RESERVED_ORDER_ID:
        return
    parted = standing(believed, backing.asked)
    for event in parted.refused:
        detail = "it was carried out before, or nothing that must come before it is there"
        notes.find("event.unasked", _subject(order, event.seq, event.kind), detail)
    for event in parted.left:
        detail = "its amendment is not there; the clause stays as it was"
        notes.remark("event.unfinished", _subject(order, event.seq, event.kind), detail)


def _subject(order: str, seq: int, kind: str) -> str:
    return f"order {order}, {EVENTS_SOURCE} record {seq} ({shown_name(kind)})"


def discreet_report(session: Session, report: VerifyReport, order: str | None) -> VerifyReport:
    """Return what a verification found as far as who acts may know of it.

    What names an order that he may not know of becomes one finding that names nothing: that something is wrong is told
    to everybody, and not where. Segments and records are counted in the orders that he sees; those of the vault's own
    log are not, since they grow with what is done anywhere, and neither are contents, bytes and packs (0).
    """
    hidden = [name for name in session.every_order_named() if not session.sees(name)]
    findings = tuple(each for each in report.findings if not _names_any(each, hidden))
    if len(findings) < len(report.findings):
        findings = (*findings, ELSEWHERE)
    remarks = tuple(each for each in report.remarks if not _names_any(each, hidden))
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


def _names_any(finding: Finding, orders: Collection[str]) -> bool:
    """Tell whether a finding names one of these orders: as `order ID`, or by a path or an origin below `po/`.

    An id may be any word, so that the word alone tells nothing.
    """
    text = f"{finding.subject} {finding.detail}"
    return any(re.search(rf"(?:\border |\bpo/){re.escape(each)}(?![a-z0-9-])", text) for each in orders)


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
