"""List what a live source has of some accounts, with what the guard needs to decide over each item."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from scelle.guard.model import Facts
from scelle.release.erasure import bare_name
from scelle.scope.model import Clause
from scelle.scope.pushdown import Pushdown
from scelle.sources.interfaces import BadRecord, PushdownSource, Record, RecordSource, Source, Trouble, Unit
from scelle.sources.model import SourceSpec

DOCUMENT_SCHEMES: Final = frozenset({"files", "mbox", "maildir", "eml"})
"""Schemes of sources whose items are whole documents, all of their source's holder."""
_CLAUSE: Final = "erasure"


@dataclass(frozen=True, slots=True)
class Unread:
    """Something of a source that could not be listed or read: nobody knows whose it is."""

    cause: str


def is_of_accounts(spec: SourceSpec, identifiers: Collection[str]) -> bool:
    """Tell whether everything that a source of documents has is of one of these accounts."""
    return spec.account is not None and (spec.account in identifiers or spec.holder in identifiers)


def live_items(
    spec: SourceSpec, source: Source | RecordSource, identifiers: Collection[str]
) -> Iterator[Facts | Unread]:
    """Yield what is known of each item of these accounts, once for each state that the source offers.

    Of a source of records the store leaves out by itself what is of other accounts, where it can. Raises SourceError.
    """
    if isinstance(source, RecordSource):
        yield from _records(spec, source, frozenset(identifiers))
    elif is_of_accounts(spec, identifiers):
        yield from _documents(spec, source)


def _documents(spec: SourceSpec, source: Source) -> Iterator[Facts | Unread]:
    for each in source.offered():
        if isinstance(each, Trouble):
            yield Unread(each.cause)
        else:
            yield Facts(spec.name, each.native, each.path, each.time_us, "", spec.custodian, spec.account)


def _records(spec: SourceSpec, source: RecordSource, identifiers: frozenset[str]) -> Iterator[Facts | Unread]:
    names = tuple(sorted(set(map(bare_name, identifiers))))
    wanted = Pushdown(
        spec.name, (Clause(_CLAUSE, (spec.name,), accounts=names),), spec.custodian, spec.account
    )
    schemas = {member.name: member.schema for member in source.members()}
    try:
        for unit in source.units():
            if isinstance(unit, Trouble):
                yield Unread(unit.cause)
                continue
            for record in _of_unit(source, unit, wanted):
                if isinstance(record, BadRecord):
                    yield Unread(record.cause)
                elif record.account in identifiers or (record.account is None and spec.holder in identifiers):
                    yield Facts(
                        spec.name,
                        record.native,
                        unit.native,
                        record.time_us,
                        "",
                        spec.custodian,
                        spec.account,
                        schemas[record.member],
                        record.values,
                    )
    finally:
        source.close()


def _of_unit(source: RecordSource, unit: Unit, wanted: Pushdown) -> Iterator[Record | BadRecord]:
    if isinstance(source, PushdownSource):
        batches = source.read_pushed_down(unit, b"", wanted)
    else:
        batches = source.read(unit, b"")
    for batch in batches:
        yield from batch.records
