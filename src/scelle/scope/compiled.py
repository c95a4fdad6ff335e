"""Work an order's clauses out once, so that a pass decides 100,000 items in a tenth of a second.

The meaning is in ``model``; here is only speed. A predicate becomes a function that returns a small number
(an index into ``_REASONS``), because hashing enum members costs more than the tests themselves.
"""

from collections.abc import Callable, Sequence
from typing import Final

from scelle.formats.tokens import UNDATED
from scelle.scope.globs import compile_glob, matches_every_path, path_text
from scelle.scope.model import (
    NO_CLAUSE_NAMES_THE_SOURCE,
    Clause,
    ItemView,
    Match,
    Reason,
    combine,
    decide_holder,
    decide_media_type,
)

_REASONS: Final = tuple(Reason)  # those that cover come first; four bits each
_LAST_COVERING: Final = max(i for i, reason in enumerate(_REASONS) if reason.covers)
_MATCH: Final = _REASONS.index(Reason.MATCH)
_UNDATED: Final = _REASONS.index(Reason.UNDATED)
_PERIOD: Final = _REASONS.index(Reason.PERIOD)
_PATH: Final = _REASONS.index(Reason.PATH)
_SEEN_MAX: Final = (
    1024  # answers remembered per clause: a source has a few dozen types, a hostile one is bounded
)

_Test = Callable[[ItemView], int]


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


def _decider(clauses: Sequence[Clause], rows: Sequence[Sequence[_Test]]) -> Callable[[ItemView], Match]:
    """Return the decision over clauses that all name the item's source."""
    known: dict[int, Match] = {}  # by the reasons of all clauses, four bits each

    def decide(item: ItemView) -> Match:
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
            reasons = reasons << 4 | reason
        match = known.get(reasons)
        if match is None:
            match = known[reasons] = combine(_verdicts(clauses, reasons))
        return match

    return decide


def _verdicts(clauses: Sequence[Clause], reasons: int) -> list[tuple[Clause, Reason]]:
    last = len(clauses) - 1
    return [(clause, _REASONS[reasons >> 4 * (last - i) & 15]) for i, clause in enumerate(clauses)]


def _tests(clause: Clause) -> tuple[_Test, ...]:
    """Return the predicates that can exclude or doubt an item, in the order of ``model``."""
    tests: list[_Test] = []
    if clause.period_from_us is not None or clause.period_to_us is not None:
        tests.append(_period_test(clause))
    if clause.paths and not any(map(matches_every_path, clause.paths)):
        tests.append(_path_test(clause))
    if clause.custodians or clause.accounts:
        tests.append(_holder_test(clause))
    if clause.media_types and not {"*", "*/*"} & set(clause.media_types):
        tests.append(_media_type_test(clause))
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


def _holder_test(clause: Clause) -> _Test:
    return _remembering(
        lambda item: (item[4], item[5]), lambda item: _REASONS.index(decide_holder(clause, item))
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
