"""Say what a pass would seal, without keeping anything.

Documents are enumerated and matched, and not read; records are read, since what decides stands in them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scelle.capture.growth import GrowthSample
from scelle.capture.interfaces import NamedSource, batches_of, clauses_over, pushdown_over
from scelle.capture.model import Problem
from scelle.capture.tallies import Budget, Tallies, Tally, clause_digests, member_digests
from scelle.errors import InputError, ItemError, SourceError
from scelle.scope.compiled import compile_clauses, compile_record_clauses
from scelle.scope.model import Clause, ItemView, Match, Reason
from scelle.scope.records import RecordView
from scelle.sources.interfaces import (
    UNDATED,
    BadRecord,
    Kind,
    Member,
    Offered,
    Record,
    RecordSource,
    Source,
    Trouble,
    native_text,
)

SAMPLE = 10
NOT_NAMED = "(restricted)"
"""Stands for the name of a restricted document that cannot be listed."""
NO_READER = "no-reader"
"""The cause of a unit that what is installed here cannot read."""


@dataclass(slots=True)
class Preview:
    """What one source offers and what the clauses cover of it; times in microseconds."""

    name: str
    offered: int = 0
    covered: int = 0
    troubles: int = 0
    failed_by: Counter[str] = field(default_factory=Counter)
    failures: list[Problem] = field(default_factory=list)
    """The first of what could not be listed or read."""
    bytes: int = 0
    undated: int = 0
    earliest_us: int | None = None
    latest_us: int | None = None
    excluded_by: Counter[str] = field(default_factory=Counter)
    by_clause: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    restricted: int = 0
    is_unnamed: bool = False
    """Whether what fails may be restricted, so that nothing of it is named."""
    may_be_restricted: int = 0
    """Documents under a list of hashes: which of them are restricted is known once they are read."""
    sample: list[str] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    growth_bytes: int = 0
    """What all that is covered would take in a new vault: estimated for records, an upper bound for documents."""
    unreachable: str | None = None
    units: Tallies = field(default_factory=Tallies)
    """What each unit of a source of records offered."""

    def fail(self, native: str, cause: str, detail: str = "") -> None:
        """Count what could not be listed or read; the first ones are named."""
        self.troubles += 1
        self.failed_by[cause] += 1
        if len(self.failures) < SAMPLE:
            named = Problem(NOT_NAMED, cause) if self.is_unnamed else Problem(native, cause, detail)
            self.failures.append(named)

    def leave_out(self, reasons: Mapping[str, int]) -> None:
        """Count what the store excluded by itself."""
        self.offered += sum(reasons.values())
        self.excluded_by.update(reasons)

    def to_json(self) -> dict[str, Any]:
        """Return the preview as it is printed and sealed; `covered` is what a pass would try to seal."""
        return {
            "offered": self.offered,
            "covered": self.covered,
            "failed": self.troubles,
            "failed_by": dict(sorted(self.failed_by.items())),
            "failed_items": [problem.to_json() for problem in self.failures],
            "excluded": sum(self.excluded_by.values()),
            "bytes": self.bytes,
            "undated": self.undated,
            "earliest_us": None if self.earliest_us is None else str(self.earliest_us),
            "latest_us": None if self.latest_us is None else str(self.latest_us),
            "excluded_by": dict(sorted(self.excluded_by.items())),
            "by_clause": dict(sorted(self.by_clause.items())),
            "doubts": dict(sorted(self.doubts.items())),
            "restricted": self.restricted,
            "may_be_restricted": self.may_be_restricted,
            "warnings": list(self.warnings),
            "growth_bytes": self.growth_bytes,
            "sample": list(self.sample),
            "unreachable": self.unreachable,
        }


def sealed_preview(clauses: Sequence[Clause], found: Sequence[Preview]) -> dict[str, Any]:
    """Return the body of the event `preview`: the counts, and what a pass is compared with afterwards.

    Samples are left out: what was looked at is no reason to keep its names. Units of records (files, tables) are named,
    up to `tallies.NAMED_UNITS` of a source, and not at all where something of the source is restricted. `clauses` are
    those over the sources (`interfaces.clauses_over`).
    """
    budget = Budget()
    restricted = {name for clause in clauses if clause.may_restrict for name in clause.sources}
    return {
        "sources": {
            each.name: {
                **each.to_json(),
                "sample": [],
                "clauses": clause_digests(clauses, each.name),
                "members": member_digests(each.members),
                "units": each.units.to_json(Budget(0) if each.name in restricted else budget),
            }
            for each in found
        }
    }


def preview(clauses: Sequence[Clause], sources: Sequence[NamedSource]) -> list[Preview]:
    """Preview each source. Media types are known only once an item is read: until then they are a doubt."""
    clauses = clauses_over(clauses, sources)
    decide = compile_clauses(clauses)
    found = []
    for named in sources:
        source = named.source
        if isinstance(source, RecordSource):
            found.append(_preview_records(clauses, named, source))
        else:
            found.append(_preview_documents(decide, named, source))
    return found


def _preview_documents(decide: Callable[[ItemView], Match], named: NamedSource, source: Source) -> Preview:
    found = Preview(named.name)
    try:
        source.test()
        for offered in source.offered():
            found.offered += 1
            _take(found, decide, named, offered)
    except SourceError as error:
        found.unreachable = f"{error.code}: {error}"
    found.growth_bytes = found.bytes
    return found


def _preview_records(clauses: Sequence[Clause], named: NamedSource, source: RecordSource) -> Preview:
    """Read every unit from its start; one that cannot be read is a trouble, as a pass has it."""
    found = Preview(named.name)
    samples: dict[str, GrowthSample] = {}
    found.is_unnamed = any(clause.restricted for clause in clauses if named.name in clause.sources)
    pushdown = pushdown_over(named, clauses)
    try:
        source.test()
        found.members = list(source.members())
        found.warnings = [_never_redacted(each) for each in found.members if each.profile == 0]
        found.warnings += source.warnings()
        decide = {
            each.name: compile_record_clauses(
                clauses, named.name, each.schema, named.custodian, named.account
            )
            for each in found.members
        }
        samples |= {each.name: GrowthSample(each.schema) for each in found.members}
        for unit in source.units():
            if isinstance(unit, Trouble):
                found.offered += 1
                found.fail(native_text(unit.native), unit.cause)
                found.units.add(Tally(native_text(unit.native), cause=unit.cause))
                continue
            cause, detail, before = "", "", _totals(found)
            try:
                for batch in batches_of(source, unit, b"", pushdown):
                    found.leave_out(batch.left_out)
                    for record in batch.records:
                        _take_record(found, decide, samples, unit.native, record)
            except ItemError as error:
                cause, detail = error.cause, str(error)
            except InputError as error:  # nothing here reads this kind of unit
                cause, detail = NO_READER, str(error)
            found.units.add(_tally(found, before, native_text(unit.native), cause))
            if cause:
                found.offered += 1
                found.fail(native_text(unit.native), cause, detail)
    except SourceError as error:
        found.unreachable = f"{error.code}: {error}"
    finally:
        source.close()
    found.growth_bytes = sum(sample.growth_bytes for sample in samples.values())
    return found


def _totals(found: Preview) -> tuple[int, int, int, int, int]:
    return found.offered, found.covered, found.troubles, sum(found.excluded_by.values()), found.bytes


def _tally(found: Preview, before: tuple[int, int, int, int, int], unit: str, cause: str) -> Tally:
    offered, covered, failed, excluded, size_bytes = (
        now - then for now, then in zip(_totals(found), before, strict=True)
    )
    return Tally(unit, offered, covered, failed, excluded, size_bytes, cause)


def _never_redacted(member: Member) -> str:
    return (
        f"{member.name} is sealed in profile 0: no field of it can ever be redacted, a record is handed over whole "
        "or not at all"
    )


def _take_record(
    found: Preview,
    decide: Mapping[str, Callable[[RecordView], Match]],
    samples: Mapping[str, GrowthSample],
    path: bytes,
    record: Record | BadRecord,
) -> None:
    found.offered += 1
    if isinstance(record, BadRecord):
        found.fail(record.place, record.cause, record.detail)
        return
    match = decide[record.member](RecordView(path, record.time_us, record.account, record.values))
    if _is_covered(found, match):
        _note(found, match, record.native, record.time_us, record.size_bytes)
        samples[record.member].add(record)


def _take(
    found: Preview, decide: Callable[[ItemView], Match], named: NamedSource, offered: Offered | Trouble
) -> None:
    if isinstance(offered, Trouble):
        view = ItemView(named.name, offered.path, UNDATED, "", named.custodian, named.account)
        is_unnamed = named.restricted or decide(view).may_be_restricted
        found.fail(NOT_NAMED if is_unnamed else native_text(offered.native), offered.cause)
        return
    if offered.kind is Kind.SPECIAL:
        found.excluded_by[offered.reason] += 1
        return
    view = ItemView(named.name, offered.path, offered.time_us, "", named.custodian, named.account)
    match = decide(view)
    if _is_covered(found, match):
        _note(found, match, offered.native, offered.time_us, offered.size_bytes)


def _is_covered(found: Preview, match: Match) -> bool:
    if not match.covered:
        found.excluded_by[(match.excluded_by or Reason.SOURCE).value] += 1
    return match.covered


def _note(found: Preview, match: Match, native: bytes, time_us: int, size_bytes: int) -> None:
    found.covered += 1
    found.bytes += size_bytes
    found.by_clause.update(match.clause_ids)
    found.restricted += match.restricted
    found.may_be_restricted += bool(match.hashes)
    if match.doubt is not None:
        found.doubts[match.doubt.value] += 1
    if len(found.sample) < SAMPLE and not match.may_be_restricted:  # two people open what is restricted
        found.sample.append(native_text(native))
    if time_us == UNDATED:
        found.undated += 1
    else:
        earliest, latest = found.earliest_us, found.latest_us
        found.earliest_us = time_us if earliest is None else min(earliest, time_us)
        found.latest_us = time_us if latest is None else max(latest, time_us)
