"""Work an order's clauses out once, so that a pass decides a document or a record in about a microsecond.

The meaning is in ``model`` and ``records``; here is only speed. A predicate becomes a function that returns
a small number (an index into ``_REASONS``), because hashing enum members costs more than the tests themselves.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from scelle.formats.schema import Schema
from scelle.formats.tokens import UNDATED
from scelle.formats.values import text_value
from scelle.scope.expressions import compile_expression
from scelle.scope.globs import compile_glob, matches_every_path, path_text
from scelle.scope.model import (
    NO_CLAUSE_NAMES_THE_SOURCE,
    Clause,
    Holders,
    ItemView,
    Match,
    Reason,
    combine,
    decide_fields,
    decide_media_type,
)
from scelle.scope.patterns import compile_pattern
from scelle.scope.records import FIRST_FIELD, RecordSource, RecordView, decide_record_holder

_REASONS: Final = tuple(Reason)  # those that cover come first; five bits each
_LAST_COVERING: Final = max(i for i, reason in enumerate(_REASONS) if reason.covers)
_MATCH: Final = _REASONS.index(Reason.MATCH)
_UNDATED: Final = _REASONS.index(Reason.UNDATED)
_PERIOD: Final = _REASONS.index(Reason.PERIOD)
_PATH: Final = _REASONS.index(Reason.PATH)
_FIELD: Final = _REASONS.index(Reason.FIELD)
_FIELD_UNKNOWN: Final = _REASONS.index(Reason.FIELD_UNKNOWN)
_DIMENSION_UNKNOWN: Final = _REASONS.index(Reason.DIMENSION_UNKNOWN)
_DIMENSION: Final = _REASONS.index(Reason.DIMENSION)
_WHERE: Final = _REASONS.index(Reason.WHERE)
_WHERE_UNDECIDED: Final = _REASONS.index(Reason.WHERE_UNDECIDED)
_SEEN_MAX: Final = (
    1024  # answers remembered per clause: a source has a few dozen types, a hostile one is bounded
)
_ACCOUNTS_SEEN_MAX: Final = 1 << 16  # a service has millions of accounts, of which few are busy at a time

_Test = Callable[[ItemView], int]
_RecordTest = Callable[[RecordView], int]
_View = TypeVar("_View", ItemView, RecordView)


def compile_clauses(clauses: Sequence[Clause]) -> Callable[[ItemView], Match]:
    """Return a function that equals ``match_clauses`` and costs no more than the clauses' own predicates.

    Matches are shared objects: a pass allocates nothing for an item. Raises GlobWrong.
    """
    decided: dict[str, Match] = {}
    deciders: dict[str, Callable[[ItemView], Match]] = {}
    for source in {source for clause in clauses for source in clause.sources}:
        named = [clause for clause in clauses if source in clause.sources]
        rows = [_tests(clause) for clause in named]
        if any(rows):
            deciders[source] = _decider(named, rows)
        else:
            decided[source] = combine([(clause, Reason.MATCH) for clause in named])

    def decide(item: ItemView) -> Match:
        source = item[0]
        match = decided.get(source)
        if match is not None:
            return match
        decider = deciders.get(source)
        return NO_CLAUSE_NAMES_THE_SOURCE if decider is None else decider(item)

    return decide


def compile_record_clauses(
    clauses: Sequence[Clause], source: str, schema: Schema, custodian: str | None, account: str | None
) -> Callable[[RecordView], Match]:
    """Return a function that equals ``match_record`` for the records of one source and schema.

    `custodian` and `account` are the source's own holder. Matches are shared objects. Raises ClauseWrong, and
    ExpressionEngineMissing where a clause has an expression and nothing is there to evaluate it.
    """
    named = [clause for clause in clauses if source in clause.sources]
    if not named:
        return lambda record: NO_CLAUSE_NAMES_THE_SOURCE
    of = RecordSource(source, schema, custodian, account)
    rows = [_record_tests(clause, of) for clause in named]
    if any(rows):
        return _decider(named, rows)
    match = combine([(clause, Reason.MATCH) for clause in named])
    return lambda record: match


def _decider(
    clauses: Sequence[Clause], rows: Sequence[Sequence[Callable[[_View], int]]]
) -> Callable[[_View], Match]:
    """Return the decision over clauses that all name the item's source."""
    known: dict[int, Match] = {}  # by the reasons of all clauses, five bits each

    def decide(item: _View) -> Match:
        reasons = 1
        for tests in rows:
            reason = _MATCH
            for test in tests:
                found = test(item)
                if found > _LAST_COVERING:
                    reason = found
                    break
                if reason == _MATCH:
                    reason = found
            reasons = reasons << 5 | reason
        match = known.get(reasons)
        if match is None:
            match = known[reasons] = combine(_verdicts(clauses, reasons))
        return match

    return decide


def _verdicts(clauses: Sequence[Clause], reasons: int) -> list[tuple[Clause, Reason]]:
    last = len(clauses) - 1
    return [(clause, _REASONS[reasons >> 5 * (last - i) & 31]) for i, clause in enumerate(clauses)]


def _tests(clause: Clause) -> tuple[_Test, ...]:
    """Return the predicates that can exclude or doubt an item, in the order of ``model``."""
    tests: list[_Test] = []
    if clause.period_from_us is not None or clause.period_to_us is not None:
        tests.append(_period_test(clause))
    if clause.paths and not any(map(matches_every_path, clause.paths)):
        tests.append(_path_test(clause))
    holders = Holders.of(clause)
    if holders.restrict:
        tests.append(_holder_test(holders))
    if clause.media_types and not {"*", "*/*"} & set(clause.media_types):
        tests.append(_media_type_test(clause))
    if clause.dimensions or clause.match or clause.where is not None:
        tests.append(lambda item: _REASONS.index(decide_fields(clause, item)))
    return tuple(tests)


def _period_test(clause: Clause) -> _Test:
    first = UNDATED + 1 if clause.period_from_us is None else clause.period_from_us
    end = 2**63 if clause.period_to_us is None else clause.period_to_us

    def test(item: ItemView) -> int:
        time_us = item[2]
        if time_us == UNDATED:
            return _UNDATED
        return _MATCH if first <= time_us < end else _PERIOD

    return test


def _path_test(clause: Clause) -> _Test:
    patterns = [compile_glob(pattern).fullmatch for pattern in clause.paths]

    def test(item: ItemView) -> int:
        text = path_text(item[1])
        for pattern in patterns:
            if pattern(text):
                return _MATCH
        return _PATH

    return test


def _holder_test(holders: Holders) -> _Test:
    return _remembering(
        lambda item: (item[4], item[5]), lambda item: _REASONS.index(holders.decide(item[4], item[5]))
    )


def _media_type_test(clause: Clause) -> _Test:
    return _remembering(lambda item: item[3], lambda item: _REASONS.index(decide_media_type(clause, item)))


def _remembering(key: Callable[[ItemView], object], decide: _Test) -> _Test:
    seen: dict[object, int] = {}

    def test(item: ItemView) -> int:
        found = seen.get(key(item))
        if found is None:
            found = decide(item)
            if len(seen) < _SEEN_MAX:
                seen[key(item)] = found
        return found

    return test


# --- of records ------------------------------------------------------------------------------------------


def _record_tests(clause: Clause, source: RecordSource) -> tuple[_RecordTest, ...]:
    """Return the predicates that can exclude or doubt a record, in the order of ``records``."""
    tests: list[_RecordTest] = []
    if clause.period_from_us is not None or clause.period_to_us is not None:
        tests.append(_record_period_test(clause))
    if clause.paths and not any(map(matches_every_path, clause.paths)):
        tests.append(_record_path_test(clause))
    holders = Holders.of(clause)
    if holders.restrict:
        tests.append(_record_holder_test(holders, source))
    tests += [_dimension_test(source.schema, *each) for each in clause.dimensions]
    tests += [_field_test(source.schema, *each) for each in clause.match]
    if clause.where is not None:
        tests.append(_where_test(clause.where, source.schema))
    return tuple(tests)


def _record_period_test(clause: Clause) -> _RecordTest:
    first = UNDATED + 1 if clause.period_from_us is None else clause.period_from_us
    end = 2**63 if clause.period_to_us is None else clause.period_to_us

    def test(record: RecordView) -> int:
        time_us = record[1]
        if first <= time_us < end:
            return _MATCH
        return _UNDATED if time_us == UNDATED else _PERIOD

    return test


def _record_path_test(clause: Clause) -> _RecordTest:
    patterns = [compile_glob(pattern).fullmatch for pattern in clause.paths]
    seen: dict[bytes, int] = {}

    def test(record: RecordView) -> int:
        found = seen.get(record[0])
        if found is None:
            if len(seen) >= _SEEN_MAX:
                seen.clear()
            text = path_text(record[0])
            found = _MATCH if any(pattern(text) for pattern in patterns) else _PATH
            seen[record[0]] = found
        return found

    return test


def _record_holder_test(holders: Holders, source: RecordSource) -> _RecordTest:
    seen: dict[str | None, int] = {}

    def test(record: RecordView) -> int:
        found = seen.get(record[2])
        if found is None:
            if len(seen) >= _ACCOUNTS_SEEN_MAX:
                seen.clear()
            found = _REASONS.index(decide_record_holder(holders, source, record[2]))
            seen[record[2]] = found
        return found

    return test


def _dimension_test(schema: Schema, name: str, identifiers: Sequence[str]) -> _RecordTest:
    number = schema.dimension_number(name)
    if number is None:
        return lambda record: _DIMENSION_UNKNOWN
    place, wanted = number - FIRST_FIELD, frozenset(map(text_value, identifiers))
    return lambda record: _MATCH if record[3][place] in wanted else _DIMENSION


def _field_test(schema: Schema, name: str, pattern: str) -> _RecordTest:
    number = schema.field_number(name)
    if number is None or number < FIRST_FIELD:
        return lambda record: _FIELD_UNKNOWN
    place, search = number - FIRST_FIELD, compile_pattern(pattern).search

    def test(record: RecordView) -> int:
        value = record[3][place]
        letter = value[:1]
        if letter != b"s":
            return _FIELD if letter == b"n" else _FIELD_UNKNOWN
        try:
            return _MATCH if search(str(value[5:], "utf-8")) else _FIELD
        except UnicodeDecodeError:
            return _FIELD_UNKNOWN

    return test


def _where_test(source: str, schema: Schema) -> _RecordTest:
    decide = compile_expression(source, schema)

    def test(record: RecordView) -> int:
        found = decide(record[1], record[2], record[3])
        if found is None:
            return _WHERE_UNDECIDED
        return _MATCH if found else _WHERE

    return test
