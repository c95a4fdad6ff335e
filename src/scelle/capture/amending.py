"""Say what an amendment changes before it is sealed: what joins an order, stays in it, or stops growing."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from scelle.capture.interfaces import NamedSource, batches_of, pushdown_over
from scelle.capture.preview import NO_READER
from scelle.errors import InputError, ItemError, SourceError
from scelle.scope.compiled import compile_clauses, compile_record_clauses
from scelle.scope.model import Clause, ItemView, Match
from scelle.scope.pushdown import Pushdown
from scelle.scope.records import RecordView
from scelle.sources.interfaces import (
    BadRecord,
    Kind,
    Member,
    Offered,
    Record,
    RecordSource,
    Source,
    Trouble,
    Unit,
)


@dataclass(slots=True)
class Amount:
    """How many items, and how many bytes of content they have."""

    items: int = 0
    bytes: int = 0

    def add(self, size_bytes: int) -> None:
        """Count one item."""
        self.items += 1
        self.bytes += size_bytes

    def to_json(self) -> dict[str, int]:
        """Return both numbers as they are printed and sealed."""
        return {"items": self.items, "bytes": self.bytes}


@dataclass(slots=True)
class ScopeDiff:
    """What an amendment does to what the sources offer now, and to what is sealed.

    ``sealed``: what is sealed already and that no growing clause covers any more: it is kept until the order is
    released. ``joined_by``: how many of those that join each clause covers. ``unread``: sources that could not be read,
    and how many units, documents and records of a source could not, by cause; what they hold is in none of the counts.
    None of them is named: the difference is sealed, and a source may be restricted.
    """

    join: Amount = field(default_factory=Amount)
    stay: Amount = field(default_factory=Amount)
    stop: Amount = field(default_factory=Amount)
    sealed: Amount = field(default_factory=Amount)
    joined_by: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)

    def count(self, before: Match, after: Match, size_bytes: int) -> None:
        """Count one item by whether it was covered, and is."""
        if before.covered and after.covered:
            self.stay.add(size_bytes)
        elif after.covered:
            self.join.add(size_bytes)
            self.joined_by.update(after.clause_ids)
        elif before.covered:
            self.stop.add(size_bytes)

    def to_json(self) -> dict[str, Any]:
        """Return the difference as it is printed and sealed."""
        return {
            "join": self.join.to_json(),
            "stay": self.stay.to_json(),
            "stop": self.stop.to_json(),
            "sealed": self.sealed.to_json(),
            "unread": list(self.unread),
        }


def compare_scopes(
    before: Sequence[Clause], after: Sequence[Clause], sources: Sequence[NamedSource]
) -> ScopeDiff:
    """Enumerate the sources once, and count what joins, stays and stops between two sets of clauses.

    Documents are listed; they are read only where a clause asks for media types, which no listing knows. Records are
    read, except those that the store itself can leave out. Nothing is kept.
    """
    diff = ScopeDiff()
    for named in sources:
        missed: Counter[str] = Counter()
        gone = []
        try:
            named.source.test()
            if isinstance(named.source, RecordSource):
                _compare_records(diff, missed, before, after, named, named.source)
            else:
                _compare_documents(diff, missed, before, after, named, named.source)
        except SourceError as error:
            gone.append(f"{named.name}: {error}")
        diff.unread += [
            f"{named.name}: {count} not read ({cause})" for cause, count in sorted(missed.items())
        ]
        diff.unread += gone
    return diff


def _compare_documents(
    diff: ScopeDiff,
    missed: Counter[str],
    before: Sequence[Clause],
    after: Sequence[Clause],
    named: NamedSource,
    source: Source,
) -> None:
    was, becomes = compile_clauses(before), compile_clauses(after)
    asks_types = any(each.media_types for each in (*before, *after) if named.name in each.sources)
    for offered in source.offered():
        if isinstance(offered, Trouble):
            missed[offered.cause] += 1
            continue
        if offered.kind is Kind.SPECIAL:
            continue
        view = ItemView(named.name, offered.path, offered.time_us, "", named.custodian, named.account)
        verdicts = was(view), becomes(view)
        if asks_types and any(each.covered for each in verdicts):
            view = _as_read(source, offered, view)
            verdicts = was(view), becomes(view)
        diff.count(*verdicts, offered.size_bytes)


def _as_read(source: Source, offered: Offered, view: ItemView) -> ItemView:
    """Return a document with the type that reading it shows; one that cannot be read as it was listed."""
    try:
        document = source.read(offered)
    except ItemError:
        return view
    return view._replace(time_us=document.time_us, media_type=document.media_type)


def _compare_records(
    diff: ScopeDiff,
    missed: Counter[str],
    before: Sequence[Clause],
    after: Sequence[Clause],
    named: NamedSource,
    source: RecordSource,
) -> None:
    both = tuple(dict.fromkeys((*before, *after)))
    pushdown = pushdown_over(named, both)
    try:
        members = list(source.members())
        was, becomes = (_deciders(clauses, named, members) for clauses in (before, after))
        for unit in source.units():
            if isinstance(unit, Trouble):
                missed[unit.cause] += 1
                continue
            try:
                for record in _records(source, unit, pushdown):
                    if isinstance(record, BadRecord):
                        missed[record.cause] += 1
                        continue
                    view = RecordView(unit.native, record.time_us, record.account, record.values)
                    diff.count(was[record.member](view), becomes[record.member](view), record.size_bytes)
            except ItemError as error:
                missed[error.cause] += 1
            except InputError:  # nothing here reads this kind of unit
                missed[NO_READER] += 1
    finally:
        source.close()


def _deciders(
    clauses: Sequence[Clause], named: NamedSource, members: Sequence[Member]
) -> dict[str, Callable[[RecordView], Match]]:
    """Return by member what decides its records."""
    return {
        each.name: compile_record_clauses(clauses, named.name, each.schema, named.custodian, named.account)
        for each in members
    }


def _records(source: RecordSource, unit: Unit, pushdown: Pushdown | None) -> Iterator[Record | BadRecord]:
    """Yield the records of a unit, without those that the store itself left out."""
    for batch in batches_of(source, unit, b"", pushdown):
        yield from batch.records
