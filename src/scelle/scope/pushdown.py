"""Say which records a store may leave out by itself, so that they need not be read to be excluded."""

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
