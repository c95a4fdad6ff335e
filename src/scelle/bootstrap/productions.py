"""Hand over packages, proofs of one record, and an auditor's streams; seal that it was done."""

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from scelle.bootstrap.custody import show_to_witnesses, witness_settings
from scelle.bootstrap.readable import refuse_disposed
from scelle.bootstrap.session import Session, refuse_in_vault
from scelle.formats.entries import Request as RequestEntry
from scelle.ledger.events import events, has_left_events, record_event
from scelle.ledger.service import EVENTS_SOURCE, OrderLedgerWriter
from scelle.orders.service import sealed_order
from scelle.productions.asking import last_pass_failures, next_number, request_of
from scelle.productions.audit_stream import StreamReport, write_stream
from scelle.productions.disclosure import Disclosure, disclose
from scelle.productions.interfaces import Progress
from scelle.productions.model import ProductionReport, Strength, WithholdList
from scelle.productions.previous import read_previous
from scelle.productions.scratch import refuse_place
from scelle.productions.service import check_production, produce, read_verdict
from scelle.productions.withheld import refuse_unmet
from scelle.sources.registry import holders_of


def produce_package(
    session: Session,
    order: str,
    *,
    kind: str,
    name: str,
    since: str | None,
    until: str | None,
    prefix: str,
    to: Path,
    redact: Mapping[str, str],
    withhold: WithholdList,
    progress: Progress,
    strength: Strength | None = None,
    audit: Path | None = None,
    previous: Path | None = None,
) -> tuple[ProductionReport, list[str]]:
    """Log the request, answer it from the checkpoint that covers it, and seal what was handed over.

    `kind` is source, custodian, account or dimension, `name` then NAME=VALUE; `audit` is a file with an auditor's
    verdict (strength B), `previous` an earlier package of the order. Return the report and warnings. Everything that
    can be refused is refused before anything is sealed, save that events which a crash left uncommitted are sealed
    before the first number is known, and checked. The production's numbers are sealed before the package gets its
    name: a crash in between leaves numbers without a package, and never two packages with one number. The
    checkpoint of that last event is shown to nobody here, so that no keeper of escrow is ahead of the package. At
    strength B the events wait, durable, until the package is made: another segment of events would be one that the
    auditor has not seen.
    """
    refuse_in_vault(session, to)
    verdict = None if audit is None else read_verdict(audit)
    earlier = None if previous is None else read_previous(previous)
    refuse_disposed(session, order)
    ledger = session.order_writer(order)
    sealed = sealed_order(ledger)
    request = request_of(
        sealed,
        kind,
        name,
        since=since,
        until=until,
        redact=redact,
        strength=strength or (None if audit is None else "B"),
    )
    check_production(ledger, request, out=to, prefix=prefix, first_number=1, audit=verdict, previous=earlier)
    _seal_left_events(session, ledger)
    first_number = next_number(map(session.ledger, session.all_orders()), sealed.order.matter)
    query = check_production(
        ledger, request, out=to, prefix=prefix, first_number=first_number, audit=verdict, previous=earlier
    )
    digest = sha256(query.encode()).digest()
    asked = {"query": query.encode().decode(), "query_sha256": digest.hex()}
    record_event(ledger, session.now_us(), session.actor, "production.requested", asked)
    is_waiting = query.strength == "B"
    if is_waiting:
        ledger.flush()
    ledger.seal(
        session.now_us(), only=() if is_waiting else None, entries=[RequestEntry(order=order, request=digest)]
    )
    settings = witness_settings(ledger)
    warnings = show_to_witnesses(session, ledger, "production", settings) + last_pass_failures(ledger)

    def seal_event(report: ProductionReport) -> None:
        refuse_unmet(report)
        said = {"matter": sealed.order.matter, "file": _shown_name(to), "prefix": prefix}
        record_event(ledger, session.now_us(), session.actor, "production", {**report.to_json(), **said})
        ledger.seal(session.now_us())

    report = produce(
        ledger,
        session.packs,
        request,
        out=to,
        prefix=prefix,
        first_number=first_number,
        withhold=withhold,
        audit=verdict,
        source_names=sealed.source_names,
        holders=holders_of(events(ledger, "source")),
        previous=earlier,
        progress=progress,
        before_publishing=seal_event,
    )
    return report, [*warnings, *(f"{each.subject}: {each.detail}" for each in report.findings)]


def _seal_left_events(session: Session, ledger: OrderLedgerWriter) -> None:
    """Seal the events that a crash left durable and uncommitted, of every order: they may speak of productions.

    Otherwise their numbers would be given out again, and the log would state them twice.
    """
    for order in session.all_orders():
        if has_left_events(session.path, order):
            writer = ledger if order == ledger.order else session.writer(order)
            writer.seal(session.now_us(), only=(EVENTS_SOURCE,))


def _shown_name(to: Path) -> str:
    """Return a file's name as an event can carry it, whatever its bytes."""
    return os.fsencode(to.name).decode("utf-8", "backslashreplace")


def disclose_record(
    session: Session,
    order: str,
    *,
    item: str,
    redact: Mapping[str, str],
    to: Path,
    progress: Progress,
) -> tuple[Disclosure, list[str]]:
    """Write the proof of one record, and seal that it was handed over; return the report and warnings.

    The event is sealed before the proof gets its name: a crash in between leaves an event without a proof.
    """
    refuse_in_vault(session, to)
    refuse_disposed(session, order)
    ledger = session.order_writer(order)
    sealed = sealed_order(ledger)

    def seal_event(report: Disclosure) -> None:
        body = {**report.to_json(), "file": _shown_name(to)}
        record_event(ledger, session.now_us(), session.actor, "disclosure", body)
        ledger.seal(session.now_us())

    report = disclose(
        ledger,
        session.key,
        item,
        out=to,
        redact=redact,
        source_names=sealed.source_names,
        progress=progress,
        before_publishing=seal_event,
    )
    return report, show_to_witnesses(session, ledger, None, witness_settings(ledger))


def write_audit_stream(
    session: Session, order: str, *, source: str | None, to: Path, progress: Progress
) -> tuple[StreamReport, list[str]]:
    """Seal that a stream is made for an auditor, then write it; return the report and warnings.

    Sealed first, so that the segment of that event is among those audited: whatever is sealed after it is not, and
    stands in the way of strength B for every question that touches it.
    """
    refuse_in_vault(session, to)
    refuse_place(to)
    refuse_disposed(session, order)
    ledger = session.order_writer(order)
    alias = None if source is None else sealed_order(ledger).alias_of(source)
    record_event(
        ledger, session.now_us(), session.actor, "audit.stream", {"source": alias, "file": _shown_name(to)}
    )
    ledger.seal(session.now_us())
    warnings = show_to_witnesses(session, ledger, None, witness_settings(ledger))
    return write_stream(ledger, out=to, source=alias, progress=progress), warnings
