"""Read a sample of a source, so that people see before an order whether it can be read as they meant."""

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeVar

from scelle.errors import InputError, ItemError
from scelle.sources.interfaces import (
    UNDATED,
    BadRecord,
    Batch,
    Document,
    Kind,
    Member,
    Offered,
    Record,
    RecordSource,
    Source,
    Trouble,
    Unit,
    native_text,
)

ITEMS_MAX: Final = 1000
"""Records that are read at most, and units or documents that are listed at most."""
BYTES_MAX: Final = 8 << 20
DOCUMENTS_MAX: Final = 16
"""Documents that are read at most."""
PLACES_MAX: Final = 5
"""Failures that are named, of each cause."""
_SHARE_MIN: Final = 20
_ABOUT_OTHERS: Final = b"//"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Failure:
    """Name one thing that could not be read or fits no schema."""

    place: str
    cause: str
    detail: str


@dataclass(slots=True)
class Trial:
    """Hold what a sample showed: counts of items (records, or documents), and where they failed.

    `items` = `fit` + failed. `units` counts what was listed (for documents: documents); `is_whole` says that all of the
    source was listed and read, so that the counts are not those of a sample. `undated` and `without_holder` count
    among `fit`. Times are microseconds since 1970 UTC.
    """

    items: int = 0
    fit: int = 0
    bytes: int = 0
    units: int = 0
    units_read: int = 0
    is_whole: bool = True
    undated: int = 0
    without_holder: int = 0
    earliest_us: int | None = None
    latest_us: int | None = None
    failed: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    members: tuple[Member, ...] = ()
    by_member: Counter[str] = field(default_factory=Counter)
    warnings: tuple[str, ...] = ()

    def fail(self, place: str, cause: str, detail: str = "") -> None:
        """Count a failure, and name it where it is among the first of its cause."""
        self.items += 1
        self.failed[cause] += 1
        if self.failed[cause] <= PLACES_MAX:
            self.failures.append(Failure(place, cause, detail))

    def take(self, time_us: int, size_bytes: int, holder: str | None) -> None:
        """Count an item that was read."""
        self.items += 1
        self.fit += 1
        self.bytes += size_bytes
        self.without_holder += holder is None
        if time_us == UNDATED:
            self.undated += 1
            return
        self.earliest_us = time_us if self.earliest_us is None else min(self.earliest_us, time_us)
        self.latest_us = time_us if self.latest_us is None else max(self.latest_us, time_us)

    def to_json(self) -> dict[str, Any]:
        """Return what `source test --json` prints of it."""
        return {
            "units": self.units,
            "units_read": self.units_read,
            "whole": self.is_whole,
            "items": self.items,
            "fit": self.fit,
            "failed": dict(sorted(self.failed.items())),
            "failures": [
                {"place": each.place, "cause": each.cause, "detail": each.detail} for each in self.failures
            ],
            "bytes": self.bytes,
            "earliest_us": self.earliest_us,
            "latest_us": self.latest_us,
            "undated": self.undated,
            "without_holder": self.without_holder,
            "waiting": list(self.waiting),
            "members": [
                {"name": each.name, "records": self.by_member[each.name], "notes": list(each.notes)}
                for each in self.members
            ],
            "warnings": list(self.warnings),
        }


def try_source(source: Source | RecordSource, holder: str | None) -> Trial:
    """Read a sample of a source: at most 1,000 records or 8 MiB, or 16 documents.

    Every unit of a small number gets an equal share of the records, so that one large table does not hide the others.
    `holder` is whose the documents are; records say it themselves. Writes nothing anywhere. Raises a SourceError where
    the source cannot be read at all, and InputError where its records need what is not installed.
    """
    source.test()
    if isinstance(source, RecordSource):
        return _try_records(source)
    return _try_documents(source, holder)


def _try_records(source: RecordSource) -> Trial:
    found = Trial()
    try:
        found.members = tuple(source.members())
        units = _listed_units(source.units(), found)
        share = max(ITEMS_MAX // max(len(units), 1), _SHARE_MIN)
        for unit in units:
            if found.items >= ITEMS_MAX or found.bytes >= BYTES_MAX or _waits_for_others(unit, found):
                found.is_whole = False
                break
            _read_unit(source, unit, found, share)
        found.warnings = tuple(source.warnings())
    finally:
        source.close()
    return found


def _listed_units(units: Iterator[Unit | Trouble], found: Trial) -> list[Unit]:
    """List the first units; more of them are not looked for."""
    listed = []
    for each in islice(units, ITEMS_MAX):
        found.units += 1
        if isinstance(each, Unit):
            listed.append(each)
        else:
            found.fail(native_text(each.native), each.cause, "it cannot be listed or read")
    found.is_whole = found.units < ITEMS_MAX
    return listed


def _waits_for_others(unit: Unit, found: Trial) -> bool:
    """Tell whether a unit is made of all others, and not all of them were read: it would read them to the end."""
    return unit.native.startswith(_ABOUT_OTHERS) and not found.is_whole


def _read_unit(source: RecordSource, unit: Unit, found: Trial, share: int) -> None:
    place = native_text(unit.native)
    found.units_read += 1
    try:
        with _let_go(source.read(unit, b"")) as batches:
            if not _take_batches(batches, found, share):
                found.is_whole = False
                return
    except ItemError as error:
        found.fail(place, error.cause, str(error))
    except InputError as error:  # nothing here reads this kind of unit
        found.fail(place, error.code, str(error))
    waits = source.waiting(unit)
    if waits is not None:
        found.waiting.append(waits)


def _take_batches(batches: Iterator[Batch], found: Trial, share: int) -> bool:
    """Take a unit's records; False where the share was used up before its end."""
    for batch in batches:
        for record in batch.records:
            if not share or found.items >= ITEMS_MAX or found.bytes >= BYTES_MAX:
                return False
            share -= 1
            _take_record(record, found)
    return True


def _take_record(record: Record | BadRecord, found: Trial) -> None:
    if isinstance(record, BadRecord):
        found.fail(record.place, record.cause, record.detail)
        return
    found.by_member[record.member] += 1
    found.take(record.time_us, record.size_bytes, record.account)


def _try_documents(source: Source, holder: str | None) -> Trial:
    """List the first documents, read a few of them, and count the failures of both."""
    found = Trial()
    for each in islice(source.offered(), ITEMS_MAX):
        found.units += 1
        if isinstance(each, Trouble):
            found.fail(native_text(each.native), each.cause, "it cannot be listed")
        elif each.kind is not Kind.SPECIAL:
            _try_document(source, each, found, holder)
    found.is_whole = found.is_whole and found.units < ITEMS_MAX
    return found


def _try_document(source: Source, offered: Offered, found: Trial, holder: str | None) -> None:
    if found.units_read == DOCUMENTS_MAX or found.bytes >= BYTES_MAX:
        found.is_whole = False
        return
    found.units_read += 1
    try:
        document = source.read(offered)
        is_read_through = _is_read_through(document)
    except ItemError as error:
        found.fail(native_text(offered.native), error.cause, str(error))
        return
    found.is_whole = found.is_whole and is_read_through
    found.take(document.time_us, document.size_bytes, holder)


def _is_read_through(document: Document) -> bool:
    """Read a document as far as a sample goes; False where it goes on."""
    if document.stream is None:
        return True
    read_bytes = 0
    with _let_go(document.stream()) as pieces:
        for piece in pieces:
            read_bytes += len(piece)
            if read_bytes > BYTES_MAX:
                return False
    return True


@contextmanager
def _let_go(iterator: Iterator[_T]) -> Iterator[Iterator[_T]]:
    """Close what reading holds open (a file, a query, a process) where it is not read to its end."""
    try:
        yield iterator
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
