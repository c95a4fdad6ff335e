"""Make reports from what a session may see, put them where people have them, and seal that it was done."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from scelle.bootstrap.custody import show_to_witnesses, witness_settings, witnesses
from scelle.bootstrap.reads import note_shown
from scelle.bootstrap.session import Session, refuse_in_vault
from scelle.errors import InputError, PackageNameRefused, ReportFileRefused
from scelle.formats.tokens import shown
from scelle.ledger.events import has_left_events, record_event
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.operators.model import Power, may
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.productions.scratch import refuse_taken
from scelle.reports.case import Case, Log, Witnessed
from scelle.reports.gaps import NAME as GAPS
from scelle.reports.gaps import RELEASED, facts_digest, is_released
from scelle.reports.model import Report
from scelle.reports.render import check_typst, render_pdf
from scelle.reports.service import check_report, make_report
from scelle.reports.wording import Language
from scelle.vault import durable

MADE: Final = "report"
PDF: Final = ".pdf"
JSON: Final = ".json"


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report and its file: the SHA-256 (hex) of the data and of the file, which are equal where it is JSON."""

    report: Report
    language: Language
    file: Path
    data_sha256: str
    file_sha256: str


def read_report(
    session: Session,
    name: str,
    order: str,
    *,
    item: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Make a report of an order as it stands now, and write nothing. Raises NotAllowed, OrderUnknown, InputError.

    One that shows an item is noted as a read, since no event of the order's log says that it was made.
    """
    session.require(Power.REPORT)
    report = _made(session, session.order_ledger(order), name, item, progress)
    if item is not None:
        note_shown(session, order, f"report {name}", item=item)
    return report


def write_reports(
    session: Session,
    name: str,
    order: str,
    files: Mapping[Language, Path],
    *,
    item: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[WrittenReport]:
    """Put one report into new files, PDF or JSON by their names, and seal in the order's log that they were made.

    All are of the same data, whatever their languages. The events are sealed before the files get their names: a crash
    in between leaves an event without a file, and never a report of which the log knows nothing. Raises
    `ReportFileRefused`, `TypstMissing` and what `read_report` raises.
    """
    session.require(Power.REPORT)
    check_report(name)
    for to in files.values():
        refuse_file(session, to)
    ledger = _writer(session, order)
    report = _made(session, ledger, name, item, progress)
    data = report.encode()
    written = []
    try:
        for language, to in files.items():
            content = render_pdf(report, language).pdf if to.suffix == PDF else data
            durable.write_file(_part(to), content)
            written.append(
                WrittenReport(report, language, to, sha256(data).hexdigest(), sha256(content).hexdigest())
            )
        for each in written:
            record_event(ledger, session.now_us(), session.actor, MADE, _event(name, each))
        ledger.seal(session.now_us())
        for to in files.values():
            refuse_file(session, to)
            durable.replace(_part(to), to)
    finally:
        for to in files.values():
            _part(to).unlink(missing_ok=True)
    _show(session, ledger)
    return written


def release_gaps(session: Session, order: str) -> bool:
    """Let counsel release the report of gaps for exactly what it says now; False where that was done before.

    What is released are the facts, by their digest: as soon as the log has others, the report is a draft again.
    """
    session.require(Power.AMEND)
    ledger = _writer(session, order)
    case = _case(session, ledger)
    if is_released(case):
        return False
    body = {"name": GAPS, "facts": facts_digest(case)}
    record_event(ledger, session.now_us(), session.actor, RELEASED, body)
    ledger.seal(session.now_us())
    _show(session, ledger)
    return True


def refuse_file(session: Session, to: Path) -> None:
    """Raise where no report can be put at `to`: its ending, something there already, no folder, a vault, no typst."""
    if to.suffix not in (PDF, JSON):
        raise ReportFileRefused(f"{shown(str(to))}: end the name in .pdf or .json")
    refuse_in_vault(session, to)
    try:
        refuse_taken(to)
    except PackageNameRefused as error:
        raise ReportFileRefused(str(error)) from error
    if to.suffix == PDF:
        check_typst()


# --- inside ----------------------------------------------------------------------------------------------


def _part(to: Path) -> Path:
    """Return where a file lies until it gets its name."""
    return to.with_name(f".{to.name}.part")


def _event(name: str, written: WrittenReport) -> dict[str, str]:
    """Return what the order's log says of a file."""
    return {
        "name": name,
        "lang": written.language.value,
        "data_sha256": written.data_sha256,
        "file_sha256": written.file_sha256,
        "file": os.fsencode(written.file.name).decode("utf-8", "backslashreplace"),
    }


def _writer(session: Session, order: str) -> OrderLedgerWriter:
    """Open the order's log; events that a crash left durable are sealed first, so that the report has them."""
    ledger = session.order_writer(order)
    if has_left_events(session.path, order):
        ledger.seal(session.now_us(), only=(EVENTS_SOURCE,))
    return ledger


def _show(session: Session, ledger: OrderLedgerWriter) -> None:
    session.warnings += show_to_witnesses(session, ledger, None, witness_settings(ledger))


def _made(
    session: Session, ledger: OrderLedger, name: str, item: str | None, progress: Callable[[int, int], None]
) -> Report:
    if item is not None and name != "custody":
        raise InputError(f"--item is for the report custody, not for {name}: leave it out")
    return make_report(name, _case(session, ledger, item, progress))


def _case(
    session: Session,
    ledger: OrderLedger,
    item: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Case:
    sealed, seen = sealed_order(ledger), witnesses(ledger)
    return Case(
        log=Log(ledger),
        sealed=sealed,
        witnessed=Witnessed(
            tuple(seen.newest_shown() if item is None else seen.shown()),
            seen.rewritable_since(sealed.received.time_us),
            len(seen.pending()),
        ),
        at_us=session.now_us(),
        is_solo=session.is_solo,
        may_name=_may_name(session),
        vault_key=session.key,
        vault=Log(session.ledger(RESERVED_ORDER_ID)),
        item=item,
        progress=progress,
    )


def _may_name(session: Session) -> bool:
    """Tell whether who acts may see names of items and sources: an auditor sees counts and events alone."""
    return session.is_solo or (
        session.operator is not None and may(session.operator.role, Power.READ_CONTENT)
    )
