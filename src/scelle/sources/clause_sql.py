"""Say the clauses of an order in SQL, so that a store can leave out by itself what no clause covers.

A clause's tests are said in the order in which the Python predicate makes them (``scope.records``), each exactly as it
decides, up to the first one that SQL has no words for: a row that passed so far is a *candidate*, which is read, and
which Python decides. A row is left out only where every clause excludes it, for the reason of the clause that it came
furthest in, as ``scope.model.combine`` says.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from scelle.formats.schema import Schema
from scelle.scope.accounts import AccountSet
from scelle.scope.model import Clause, Holders, ItemView, Reason, decide_path
from scelle.scope.pushdown import Pushdown
from scelle.scope.records import RecordSource, decide_record_holder

CANDIDATE: Final = 0
"""The code of rows that are read; every other code stands for a reason (`reason_of`)."""

NOBODY: Final = "\0"
"""An identifier that no clause names."""

_REASONS: Final = tuple(Reason)


class NotTranslatable(Exception):
    """A test has no exact words in SQL."""


class Test(NamedTuple):
    """One test of a clause: an expression that is true, and never null, for the rows that it excludes; its reason.

    `passes` is its opposite in the form in which a store looks into its statistics, where there is one.
    """

    excludes: str
    reason: Reason
    passes: str = ""


class ClauseSql(ABC):
    """Say a clause's tests in a store's SQL, for one unit; subclasses know its columns, and raise NotTranslatable."""

    def __init__(self, pushdown: Pushdown, path: bytes) -> None:
        self.pushdown, self.path = pushdown, path

    def tests(self, clause: Clause) -> Iterator[Test]:
        """Write the tests of a clause in their order, up to the first that cannot be said, or excludes every row."""
        try:
            for test in self._all_tests(clause):
                yield test
                if test.excludes == "true":
                    return
        except NotTranslatable:
            return

    def _all_tests(self, clause: Clause) -> Iterator[Test]:
        yield from self.period(clause)
        if not decide_path(clause, ItemView(self.pushdown.source, self.path, 0, "")).covers:
            yield Test("true", Reason.PATH)
        yield from self.holder(clause)
        for name, identifiers in clause.dimensions:
            yield from self.dimension(name, identifiers)
        for name, pattern in clause.match:
            yield from self.field(name, pattern)

    @abstractmethod
    def period(self, clause: Clause) -> Iterator[Test]:
        """Write the test of a row's time."""

    @abstractmethod
    def holder(self, clause: Clause) -> Iterator[Test]:
        """Write the test of a row's account or custodian."""

    @abstractmethod
    def dimension(self, name: str, identifiers: Sequence[str]) -> Iterator[Test]:
        """Write the test of a further dimension."""

    @abstractmethod
    def field(self, name: str, pattern: str) -> Iterator[Test]:
        """Write the test of a field against a regular expression."""

    def shared_holder(self, holders: Holders, schema: Schema, holder: str | None) -> Iterator[Test]:
        """Write the test of a holder, with its kind, that all rows of the unit share."""
        mine = self.pushdown
        reason = decide_record_holder(
            holders, RecordSource(mine.source, schema, mine.custodian, mine.account), holder
        )
        if not reason.covers:
            yield Test("true", reason)


def named_holders(holders: Holders, kind: str) -> tuple[frozenset[str], Reason]:
    """Give the identifiers of one kind that a clause names, and why others are excluded; raises NotTranslatable."""
    if kind == "custodian":
        return holders.custodians, holders.decide(NOBODY, None)
    return holders.accounts | _listed(holders.listed), holders.decide(None, NOBODY)


def _listed(listed: AccountSet | None) -> frozenset[str]:
    """Give the accounts of a file; those of a very large one are only known by their hashes."""
    if listed is None:
        return frozenset()
    exact = listed.exact()
    if exact is None:
        raise NotTranslatable
    return frozenset(each.decode("utf-8") for each in exact)


def quoted(identifier: str) -> str:
    """Write an identifier for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def clause_codes(clauses: Sequence[Iterable[Test]]) -> list[str]:
    """Write what each clause says of a row: CANDIDATE, or a code.

    The larger the code, the further the row came; of those that came equally far, the first clause has the largest.
    """
    return [_clause_sql(place, len(clauses), tests) for place, tests in enumerate(clauses)]


def same_for_all(clauses: Sequence[Sequence[Test]]) -> str | None:
    """Give the reason for which every row is left out; None where that is not so, or not known without asking."""
    if not all(tests and tests[0].excludes == "true" for tests in clauses):
        return None
    codes = [_code(place, len(clauses), tests[0].reason) for place, tests in enumerate(clauses)]
    return reason_of(max(codes))


def together_sql(codes: Sequence[str]) -> str:
    """Write what all clauses say of a row together, from what each says: CANDIDATE, or why it is left out."""
    if len(codes) == 1:
        return codes[0]
    names = ", ".join(codes)
    return f"CASE WHEN least({names}) = {CANDIDATE} THEN {CANDIDATE} ELSE greatest({names}) END"


def reason_of(code: int) -> str:
    """Name the reason of rows that are left out."""
    return _REASONS[code % len(_REASONS)].value


def _clause_sql(place: int, clauses: int, tests: Iterable[Test]) -> str:
    parts = [f"WHEN {test.excludes} THEN {_code(place, clauses, test.reason)}" for test in tests]
    return f"CASE {' '.join(parts)} ELSE {CANDIDATE} END" if parts else f"{CANDIDATE}"


def _code(place: int, clauses: int, reason: Reason) -> int:
    return (reason.distance * clauses + clauses - 1 - place) * len(_REASONS) + _REASONS.index(reason)
