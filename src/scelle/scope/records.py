"""State what a clause covers of the records of a source, one record at a time.

Period and path are looked at as for documents (``model``), media types not at all. Then:

* *custodian*, *account*: the record's own account decides, by its kind: `custodian:x` is compared with the
  clause's custodians, `x` of every other kind with its accounts. A record whose account is null, though its
  schema has accounts, is covered, for nobody knows whose it is; so is one whose account has no kind. Where the
  schema has none (type `n`), the source's custodian or account decides as for documents.
* *dimension*: for each dimension that the clause names, the record's identifier is one of those named. A null
  identifier is known to be none of them. A record whose schema lacks the dimension is covered.
* *field*: each regular expression matches somewhere in the text of its field. A null field is known to be
  empty. A record whose schema lacks the field, or where it holds no text, is covered.
* *where*: the expression is true. A record for which it is neither true nor false is covered.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from scelle.errors import FormatError
from scelle.formats.schema import Schema
from scelle.formats.values import decode_value
from scelle.scope.expressions import evaluate
from scelle.scope.model import (
    Clause,
    Holders,
    ItemView,
    Match,
    Reason,
    combine,
    decide_path,
    decide_period,
)
from scelle.scope.patterns import compile_pattern

FIRST_FIELD: Final = 2
"""The schema's number of the first field in ``RecordView.values``."""


class RecordView(NamedTuple):
    """What clauses look at in a record.

    ``path`` is that of the unit that holds the record; ``account`` is the identifier of dimension account with
    its kind, or None; ``values`` are the encoded values of fields 2 and on, in the schema's order.
    """

    path: bytes
    time_us: int
    account: str | None
    values: Sequence[bytes]


class RecordSource(NamedTuple):
    """What all records of one shape have in common: their source, its holder, their schema."""

    name: str
    schema: Schema
    custodian: str | None
    account: str | None


def match_record(clauses: Sequence[Clause], source: RecordSource, record: RecordView) -> Match:
    """Decide what all clauses say of the record; ``compile_record_clauses`` gives the same, faster."""
    return combine([(clause, _reason(clause, source, record)) for clause in clauses])


def _reason(clause: Clause, source: RecordSource, record: RecordView) -> Reason:
    if source.name not in clause.sources:
        return Reason.SOURCE
    item = ItemView(source.name, record.path, record.time_us, "")
    doubt = Reason.MATCH
    for reason in (
        decide_period(clause, item),
        decide_path(clause, item),
        decide_record_holder(Holders.of(clause), source, record.account),
        *(_dimension(source, record, *each) for each in clause.dimensions),
        *(_field(source, record, *each) for each in clause.match),
        _where(clause, source, record),
    ):
        if not reason.covers:
            return reason
        if doubt is Reason.MATCH:
            doubt = reason
    return doubt


def decide_record_holder(holders: Holders, source: RecordSource, account: str | None) -> Reason:
    """Decide whether a record with this account is of one of those that are named."""
    if account is None:
        reason = holders.decide(source.custodian, source.account)
        has_accounts = source.schema.fields[FIRST_FIELD].type != "n"
        return Reason.HOLDER_UNKNOWN if has_accounts and not reason.covers else reason
    kind, colon, name = account.partition(":")
    if not colon:  # of no kind, so that it cannot be told from what the clause names
        return Reason.HOLDER_UNKNOWN if holders.restrict else Reason.MATCH
    return holders.decide(name, None) if kind == "custodian" else holders.decide(None, name)


def field_value(schema: Schema, name: str, values: Sequence[bytes]) -> bytes | None:
    """Return the encoded value of the field; None where the schema lacks it, or it is time or sequence."""
    number = schema.field_number(name)
    return None if number is None or number < FIRST_FIELD else values[number - FIRST_FIELD]


def _dimension(source: RecordSource, record: RecordView, name: str, identifiers: Sequence[str]) -> Reason:
    number = source.schema.dimension_number(name)
    if number is None:
        return Reason.DIMENSION_UNKNOWN
    letter, found, _ = decode_value(record.values[number - FIRST_FIELD])
    return Reason.MATCH if letter == "s" and found in identifiers else Reason.DIMENSION


def _field(source: RecordSource, record: RecordView, name: str, pattern: str) -> Reason:
    value = field_value(source.schema, name, record.values)
    if value is None:
        return Reason.FIELD_UNKNOWN
    try:
        letter, found, _ = decode_value(value)
    except FormatError:
        return Reason.FIELD_UNKNOWN
    if letter == "n":
        return Reason.FIELD
    if not isinstance(found, str) or letter != "s":
        return Reason.FIELD_UNKNOWN
    return Reason.MATCH if compile_pattern(pattern).search(found) else Reason.FIELD


def _where(clause: Clause, source: RecordSource, record: RecordView) -> Reason:
    if clause.where is None:
        return Reason.MATCH
    names = [field.name for field in source.schema.fields[FIRST_FIELD:]]
    fields = dict(zip(names, record.values, strict=True))
    found = evaluate(clause.where, fields, record.time_us, record.account)
    if found is None:
        return Reason.WHERE_UNDECIDED
    return Reason.MATCH if found else Reason.WHERE
