"""Run one pass over an order's sources: enumerate, match, seal, reconcile.

A pass may be killed anywhere. What a group commit made durable is found again: contents by the pack store,
rows by the open segments, which also tell the catalog what it missed. The next run continues the same pass
under the same id, so that nothing is lost, counted twice or read again.
"""

import secrets
from collections.abc import Sequence

from scelle.capture.entries import pass_entries
from scelle.capture.interfaces import NamedSource, PassTools, Progress, clauses_over
from scelle.capture.model import PassReport, SourceReport
from scelle.capture.problems import event_recorder
from scelle.capture.reconcile import Reconciler, Reconciliation
from scelle.capture.record_pass import RecordPass
from scelle.capture.sealed import FINISHED, LastPass, has_unsealed_pass, last_pass, unfinished_pass
from scelle.capture.source_pass import SourcePass
from scelle.capture.tallies import shape_text
from scelle.errors import CompartmentMissing, HashesOverRecords
from scelle.formats.entries import Entry
from scelle.formats.schema import DOCUMENT_V1
from scelle.ledger.events import record_event
from scelle.ledger.service import Looked
from scelle.scope.compiled import compile_clauses
from scelle.scope.hashes import HashesFile
from scelle.scope.model import Clause
from scelle.sources.interfaces import RecordSource

__all__ = [
    "NamedSource",
    "PassReport",
    "PassTools",
    "Progress",
    "Reconciliation",
    "run_pass",
    "run_reconciled_pass",
]


def run_pass(tools: PassTools, clauses: Sequence[Clause], sources: Sequence[NamedSource]) -> PassReport:
    """Seal what the clauses cover now and return the reconciled report.

    Atomic per group commit; the pass itself ends with one manifest for each source (zero records allowed),
    its counts in the log, and the pass event, all under one checkpoint: before that commit the pass is
    unfinished, after it the next run begins another. Raises `CountsDoNotAddUp`, which is a fault of Scellé,
    and StorageError; what sources do is in the report.
    """
    clauses = clauses_over(clauses, sources)
    refuse_restricted(clauses, sources, tools.compartment)
    ledger = tools.ledger
    last = last_pass(ledger)
    pass_id = unfinished_pass(ledger, {named.alias for named in sources}, last)
    if pass_id is None:
        pass_id = secrets.randbits(62)
    tools.events_wait = has_unsealed_pass(ledger)
    report = PassReport(f"{pass_id:016x}", tools.now_us())
    entries: list[Entry] = []
    looked: list[Looked] = []
    for named in sources:
        source_report, seen = _take(tools, clauses, named, pass_id, last, report)
        source_report.counts.reconcile(named.name)
        report.sources.append(source_report)
        entries += pass_entries(
            ledger, named, source_report, report.started_us, tools.now_us(), tools.lost_at_most
        )
        looked += seen
    report.finished_us = tools.now_us()
    _record_pass(tools, report)
    tools.at_end(report.sources)
    tools.packs.sync()
    ledger.seal(tools.now_us(), looked=looked, entries=entries)
    return report


def run_reconciled_pass(
    tools: PassTools, clauses: Sequence[Clause], sources: Sequence[NamedSource]
) -> tuple[PassReport, Reconciliation | None]:
    """Run a pass, then compare it with the newest preview that the order's log holds; None where there is none.

    The comparison is sealed by a commit of its own, as event `pass.reconciled`. A crash between the two commits leaves
    a pass that is whole and has no comparison; the counts of both are in the log.
    """
    reconciler = Reconciler(tools, clauses_over(clauses, sources), sources)
    report = run_pass(tools, clauses, sources)
    return report, reconciler.finish(report)


def refuse_restricted(
    clauses: Sequence[Clause], sources: Sequence[NamedSource], compartment: str | None
) -> None:
    """Raise where something is restricted that cannot be put into the compartment; nothing was read yet.

    Raises `CompartmentMissing` where there is none, and `HashesOverRecords`.
    """
    names = {name for clause in clauses if clause.may_restrict for name in clause.sources}
    listing = {name for clause in clauses if clause.restricted_hashes is not None for name in clause.sources}
    for named in sources:
        if named.name in names and compartment is None:
            raise CompartmentMissing(
                f"{named.name} has restricted material, and the vault has no compartment: make one with "
                "`scelle restricted init`; nothing was read"
            )
        if named.name in listing and isinstance(named.source, RecordSource):
            raise HashesOverRecords(
                f"a clause with restricted_hashes names {named.name}, a source of records: only contents of documents "
                "are compared; nothing was read"
            )


def _take(
    tools: PassTools,
    clauses: Sequence[Clause],
    named: NamedSource,
    pass_id: int,
    last: LastPass,
    report: PassReport,
) -> tuple[SourceReport, list[Looked]]:
    """Take one source through the pass; return what was done, and the log sources that were looked at."""
    run = (report.pass_id, report.started_us)
    if isinstance(named.source, RecordSource):
        records = RecordPass(tools, named, named.source, clauses, pass_id=pass_id, run=run)
        taken, shapes = records.run(), records.looked()
        taken.shapes = [shape_text(each.schema, each.profile) for each in shapes]
        return taken, shapes
    documents = SourcePass(
        tools,
        named,
        named.source,
        compile_clauses(clauses),
        needs_media_type=_needs_media_type(clauses, named.name),
        pass_id=pass_id,
        last=last,
        record=event_recorder(tools, named.alias, *run),
        lists=_lists(clauses, named.name),
    )
    return documents.run(), [Looked(named.alias, DOCUMENT_V1)]


def _lists(clauses: Sequence[Clause], name: str) -> list[HashesFile]:
    """Return the lists of hashes of the clauses over a source."""
    lists = [clause.restricted_hashes for clause in clauses if name in clause.sources]
    return [each for each in lists if each is not None]


def _needs_media_type(clauses: Sequence[Clause], name: str) -> bool:
    """Tell whether a clause over the source asks for media types, which are known only after reading."""
    return any(clause.media_types for clause in clauses if name in clause.sources)


def _record_pass(tools: PassTools, report: PassReport) -> None:
    body = {
        "pass": report.pass_id,
        "started_us": str(report.started_us),
        "finished_us": str(report.finished_us),
        **report.to_json(),
    }
    record_event(tools.ledger, report.finished_us, tools.actor, FINISHED, body)
