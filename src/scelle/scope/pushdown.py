"""Say which records a store may leave out by itself, so that they need not be read to be excluded."""

from collections.abc import Sequence
from dataclasses import dataclass

from scelle.scope.model import Clause


@dataclass(frozen=True, slots=True)
class Pushdown:
    """The clauses that name one source of records, and the source's own holder.

    A store leaves out a record only where every clause excludes it, and counts it under the reason of the clause that
    it came closest to, as `match_record` would.
    """

    source: str
    clauses: tuple[Clause, ...]
    custodian: str | None
    account: str | None

    @classmethod
    def of(
        cls, source: str, clauses: Sequence[Clause], custodian: str | None, account: str | None
    ) -> "Pushdown | None":
        """Return what a store is told of an order's clauses; None where it may leave out nothing.

        Carve-outs are not pushed down: what they take out is read, and counted as carved out.
        """
        mine = tuple(clause for clause in clauses if source in clause.sources and not clause.carve_out)
        return cls(source, mine, custodian, account) if mine else None
