"""Count what each unit of a source of records offered, and digest what decided it: what a pass is compared by (pure).

Bounded, since a folder may hold a million files: over `NAMED_UNITS` units only their number and one digest are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from scelle.formats.canonical_json import canonical_json
from scelle.formats.schema import Schema
from scelle.scope.model import Clause
from scelle.scope.sealed import clause_to_json
from scelle.sources.interfaces import Member

NAMED_UNITS: Final = 1000
NAMED_BYTES: Final = 4 << 20
"""How much the names in one event may take: far below the 16 MiB of a value, however long paths are."""
_MODULUS: Final = 1 << 256


class Tally(NamedTuple):
    """Count the records of one unit by what becomes of them; `cause` says why the unit itself could not be read on."""

    unit: str
    offered: int = 0
    covered: int = 0
    failed: int = 0
    excluded: int = 0
    bytes: int = 0
    cause: str = ""

    def plus(self, other: "Tally") -> "Tally":
        """Return both in one."""
        return Tally(
            self.unit,
            self.offered + other.offered,
            self.covered + other.covered,
            self.failed + other.failed,
            self.excluded + other.excluded,
            self.bytes + other.bytes,
            self.cause or other.cause,
        )

    def counts(self) -> dict[str, int | str]:
        """Return what is compared, by name."""
        counted = self._asdict()
        del counted["unit"]
        return counted


@dataclass(slots=True)
class Budget:
    """Say how many bytes of names may still go into one event."""

    left_bytes: int = NAMED_BYTES

    def takes(self, size_bytes: int) -> bool:
        """Tell whether so much fits, and take it."""
        fits = size_bytes <= self.left_bytes
        self.left_bytes -= size_bytes if fits else 0
        return fits


class Tallies:
    """Gather the tallies of one source's units, in any order."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0
        self._named: dict[str, Tally] | None = {}

    @property
    def named(self) -> Mapping[str, Tally] | None:
        """Return the tallies by unit; None where there were too many to keep."""
        return self._named

    @property
    def digest(self) -> str:
        """Return a digest of all tallies that does not depend on their order (their SHA-256 are added up)."""
        return f"{self._sum:064x}"

    def add(self, tally: Tally) -> None:
        """Take one unit into account; two of one name (bytes that are no text) are one."""
        self.count += 1
        self._sum += int.from_bytes(sha256(canonical_json(list(tally))).digest(), "big")
        self._sum %= _MODULUS
        if self._named is None:
            return
        old = self._named.get(tally.unit)
        if old is not None:
            tally = old.plus(tally)
        self._named[tally.unit] = tally
        if len(self._named) > NAMED_UNITS:
            self._named = None

    def to_json(self, budget: Budget) -> dict[str, Any]:
        """Return them as sealed: number, digest, and one list for each unit where they are few."""
        listed = None if self._named is None else [list(tally) for tally in self._named.values()]
        if listed is not None and not budget.takes(len(canonical_json(listed))):
            listed = None
        return {"count": self.count, "sha256_sum": self.digest, "named": listed}


class SealedTallies:
    """Read what `Tallies.to_json` wrote."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.count, self.digest = int(body["count"]), str(body["sha256_sum"])
        listed = body["named"]
        self.named = None if listed is None else {each[0]: Tally(*each) for each in listed}


def clause_digests(clauses: Sequence[Clause], source: str) -> dict[str, str]:
    """Return the SHA-256 of each clause that names the source, by the clause's id."""
    return {
        clause.id: sha256(canonical_json(clause_to_json(clause))).hexdigest()
        for clause in clauses
        if source in clause.sources
    }


def member_digests(members: Sequence[Member]) -> dict[str, str]:
    """Return the shape of each member's records by its name."""
    return {each.name: shape_text(each.schema, each.profile) for each in members}


def shape_text(schema: Schema, profile: int) -> str:
    """Name a schema and a profile: two members are alike where these are."""
    return f"{schema.digest.hex()}/{profile}"
