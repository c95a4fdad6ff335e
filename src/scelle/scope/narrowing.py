"""Say which records a store may leave out by itself, so that they need not be read to be excluded.

A store leaves out a record only where every clause excludes it, and counts it under the reason of the clause that it
came closest to, as ``combine`` does. For this, ``plan_narrowing`` gives each clause as a row of tests in the order in
which the Python predicate looks at them. A store says them in its own words, in this order, up to the first that it
has no exact words for: what none of those excludes is a *candidate*, comes as a record, and Python decides it as if
there were no store between. Expressions (``where``) are the last test of a clause, and are always left to Python.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from scelle.formats.schema import Schema
from scelle.scope.globs import compile_glob, matches_every_path, path_text
from scelle.scope.model import Clause, Holders, Reason, distance
from scelle.scope.records import FIRST_FIELD, RecordSource, decide_record_holder

CANDIDATE: Final = 0
"""The rank of a record that is not left out."""
_HELD_KINDS: Final = ("account", "custodian")


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The clauses that name one source of records, and the source's own holder.

    A store leaves out a record only where every clause excludes it, and counts it under the reason of the clause that
    it came closest to, as `match_record` would.
    """

    source: str
    clauses: tuple[Clause, ...]
    custodian: str | None
    account: str | None


@dataclass(frozen=True, slots=True)
class PeriodTest:
    """Exclude records whose time is not in [first_us, end_us); never those without a time."""

    first_us: int | None
    end_us: int | None
    rank: int


@dataclass(frozen=True, slots=True)
class HolderTest:
    """Exclude records whose account is of a kind and not named; never those without one, or with one of no kind.

    An account is its kind, a colon and its name. Where the kind is `custodian`, the name must be one of `custodians`
    and `custodian_rank` is the rank of what is excluded; for every other kind `accounts` and `account_rank`.
    None: they are known by hashes alone, and the test cannot be said.
    """

    custodians: frozenset[str]
    custodian_rank: int
    accounts: frozenset[str] | None
    account_rank: int


@dataclass(frozen=True, slots=True)
class DimensionTest:
    """Exclude records whose field of this number (of the schema) is null or none of these texts."""

    number: int
    identifiers: frozenset[str]
    rank: int


@dataclass(frozen=True, slots=True)
class FieldTest:
    """Exclude records whose field of this number is null, or is text in which the expression is not found.

    `pattern` is None where the schema has no text there: then only null excludes.
    """

    number: int
    pattern: str | None
    rank: int


@dataclass(frozen=True, slots=True)
class ExcludedTest:
    """Exclude every record that comes so far: its unit's path, or its source's own holder, is not named."""

    rank: int


ClauseTest: TypeAlias = PeriodTest | HolderTest | DimensionTest | FieldTest | ExcludedTest


@dataclass(frozen=True, slots=True)
class NarrowingPlan:
    """The tests of each clause, in order.

    The rank of a record in a clause is that of the first test that excludes it, `CANDIDATE` where none does. A record
    is left out where it is no candidate of any clause, for the reason `reasons[rank]` of its largest rank.
    """

    clauses: tuple[tuple[ClauseTest, ...], ...]
    reasons: tuple[Reason, ...]

    @property
    def can_exclude(self) -> bool:
        """Tell whether any record can be left out: not where a clause excludes nothing."""
        return bool(self.clauses) and all(self.clauses)


def plan_narrowing(narrowing: Narrowing, schema: Schema, path: bytes) -> NarrowingPlan:
    """Plan the tests of all clauses for the records of one schema in the unit of this native id.

    Raises GlobWrong, and AccountsNotLoaded where the accounts of a file were not read.
    """
    of = RecordSource(narrowing.source, schema, narrowing.custodian, narrowing.account)
    named = [clause for clause in narrowing.clauses if narrowing.source in clause.sources]
    ranks = _Ranks(len(named))
    clauses = tuple(
        tuple(_tests(clause, of, path, ranks.of_clause(place))) for place, clause in enumerate(named)
    )
    return NarrowingPlan(clauses, ranks.reasons)


class _Ranks:
    """Number reasons so that the larger rank is the one that `combine` gives: by distance, then the earlier clause."""

    def __init__(self, clauses: int) -> None:
        self._numbers: dict[tuple[int, Reason], int] = {}
        order = [
            (distance(reason), -place, reason)
            for place in range(clauses)
            for reason in Reason
            if not reason.covers and reason is not Reason.SOURCE
        ]
        order.sort(key=lambda each: each[:2])
        for rank, (_, place, reason) in enumerate(order, CANDIDATE + 1):
            self._numbers[-place, reason] = rank
        self.reasons = (Reason.MATCH, *(reason for _, _, reason in order))

    def of_clause(self, place: int) -> "_ClauseRanks":
        return _ClauseRanks(self._numbers, place)


@dataclass(frozen=True, slots=True)
class _ClauseRanks:
    numbers: dict[tuple[int, Reason], int]
    place: int

    def __getitem__(self, reason: Reason) -> int:
        return self.numbers[self.place, reason]


def _tests(clause: Clause, of: RecordSource, path: bytes, ranks: _ClauseRanks) -> Iterator[ClauseTest]:
    """Give the tests of a clause that can exclude a record, in the order of ``records``; none behind one that always does."""
    if clause.period_from_us is not None or clause.period_to_us is not None:
        yield PeriodTest(clause.period_from_us, clause.period_to_us, ranks[Reason.PERIOD])
    if clause.paths and not any(map(matches_every_path, clause.paths)):
        text = path_text(path)
        if not any(compile_glob(pattern).fullmatch(text) for pattern in clause.paths):
            yield ExcludedTest(ranks[Reason.PATH])
            return
    holders = Holders.of(clause)
    if holders.restrict:
        yield from _holder_tests(holders, of, ranks)
    for name, identifiers in clause.dimensions:
        number = of.schema.dimension_number(name)
        if number is not None:
            yield DimensionTest(number, frozenset(identifiers), ranks[Reason.DIMENSION])
    for name, pattern in clause.match:
        number = of.schema.field_number(name)
        if number is not None and number >= FIRST_FIELD:
            has_text = of.schema.fields[number].type == "s"
            yield FieldTest(number, pattern if has_text else None, ranks[Reason.FIELD])


def _holder_tests(holders: Holders, of: RecordSource, ranks: _ClauseRanks) -> Iterator[ClauseTest]:
    """Give the test of the account; where the schema has none the source's own holder decides, once for all."""
    if of.schema.fields[FIRST_FIELD].type == "n":
        reason = decide_record_holder(holders, of, None)
        if not reason.covers:
            yield ExcludedTest(ranks[reason])
        return
    unnamed = replace(holders, accounts=frozenset(), listed=None) if not holders.names_accounts else holders
    yield HolderTest(
        holders.custodians,
        ranks[_reason_of_unnamed(unnamed, "custodian")],
        _named_accounts(holders),
        ranks[_reason_of_unnamed(unnamed, "account")],
    )
