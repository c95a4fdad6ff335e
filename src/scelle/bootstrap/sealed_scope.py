"""Count what an order has sealed that its clauses cover no longer: it stays, and grows no longer."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TypeAlias

from scelle.bootstrap.facts import guarded_sources, row_facts
from scelle.bootstrap.session import Session
from scelle.capture.amending import Amount
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.formats.tokens import is_reserved_alias
from scelle.formats.values import Content, decode_value
from scelle.guard.model import Facts, view_of
from scelle.ledger.rows import Row
from scelle.ledger.search import Tombstones, tombstones
from scelle.ledger.service import OrderLedger
from scelle.orders.service import SealedOrder
from scelle.release.matching import called
from scelle.scope.compiled import compile_clauses, compile_record_clauses
from scelle.scope.model import Clause, ItemView, Match
from scelle.scope.records import RecordView
from scelle.sources.model import SourceSpec

_Decide: TypeAlias = Callable[[Facts], Match]


def count_stopped(
    session: Session,
    ledger: OrderLedger,
    sealed: SealedOrder,
    before: Sequence[Clause],
    after: Sequence[Clause],
) -> Amount:
    """Count the sealed items that the clauses covered and cover no longer; clauses have their accounts loaded.

    Every version of an item counts. Where the path of a sealed item is not known, patterns match it, and a carve-out
    that has some is in doubt.
    """
    found, erased = Amount(), tombstones(ledger.entries)
    specs = guarded_sources(session)
    for at, manifest in ledger.manifests():
        if not manifest.records or is_reserved_alias(manifest.source):
            continue
        name = called(sealed.source_names, manifest.source)
        gone = {manifest.seq[0] + place for place in erased.get(at, Tombstones()).records}
        with closing(ledger.segment(manifest)) as reader:
            was, becomes = (
                _decider(clauses, name, reader.schema, specs.get(name)) for clauses in (before, after)
            )
            for row in reader.rows():
                if row.seq in gone:
                    continue
                facts = row_facts(specs.get(name), name, reader.schema, row)
                if was(facts).covered and not becomes(facts).covered:
                    found.add(_size_bytes(reader.schema, row))
    return found


def _decider(clauses: Sequence[Clause], name: str, schema: Schema, spec: SourceSpec | None) -> _Decide:
    """Return the decision over the sealed items of one segment."""
    pathless = [replace(clause, paths=()) for clause in clauses if not (clause.carve_out and clause.paths)]
    if schema.digest == DOCUMENT_V1.digest:
        known, unknown = compile_clauses(clauses), compile_clauses(pathless)

        def of_document(facts: Facts) -> Match:
            view = view_of(facts)
            if not isinstance(view, ItemView):
                raise AssertionError("a document's facts have no values")
            return (unknown if facts.path is None else known)(view)

        return of_document
    custodian, account = (None, None) if spec is None else (spec.custodian, spec.account)
    decide = compile_record_clauses(pathless, name, schema, custodian, account)

    def of_record(facts: Facts) -> Match:
        view = view_of(facts)
        if not isinstance(view, RecordView):
            raise AssertionError("a record's facts have its values")
        return decide(view)

    return of_record


def _size_bytes(schema: Schema, row: Row) -> int:
    """Return the size of a document's content, or of a record as it is kept."""
    number = schema.field_number("content") if schema.digest == DOCUMENT_V1.digest else None
    if number is None:
        return len(row.values)
    encoded = row.split_values()[number]
    value = decode_value(encoded)[1] if encoded[:1] == b"h" else None  # that of a restricted one is closed
    return value.size_bytes if isinstance(value, Content) else 0
