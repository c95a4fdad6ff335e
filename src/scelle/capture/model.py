"""Count what a pass did with what it was offered (pure)."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from scelle.errors import CountsDoNotAddUp

_SUMMED: Final = (
    "offered",
    "new",
    "unchanged",
    "failed",
    "lost",
    "restricted",
    "links",
    "bytes",
    "vanished",
    "vanished_in_place",
    "changed_in_place",
)


@dataclass(slots=True)
class Counts:
    """The buckets of one source in one pass: *offered = sealed + failed + excluded + lost*.

    ``sealed`` is ``new + unchanged``: items whose current version is sealed when the pass ends. ``restricted`` are
    those of them that lie in the compartment, ``links`` those that are symbolic links; ``bytes`` is their content. The
    last three are no buckets: ``vanished`` were sealed before and not offered any more, ``vanished_in_place`` those of
    them of which only the digest was kept, and ``changed_in_place`` are items of which only the digest is kept and
    whose bytes changed although their stamp did not.
    """

    offered: int = 0
    new: int = 0
    unchanged: int = 0
    failed: int = 0
    lost: int = 0
    restricted: int = 0
    links: int = 0
    bytes: int = 0
    vanished: int = 0
    vanished_in_place: int = 0
    changed_in_place: int = 0
    excluded_by: Counter[str] = field(default_factory=Counter)
    failed_by: Counter[str] = field(default_factory=Counter)

    @property
    def sealed(self) -> int:
        """Count the items whose current version is sealed."""
        return self.new + self.unchanged

    @property
    def excluded(self) -> int:
        """Count the items that a rule left out."""
        return sum(self.excluded_by.values())

    def add(self, other: "Counts") -> None:
        """Add the counts of another source."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.excluded_by.update(other.excluded_by)
        self.failed_by.update(other.failed_by)

    def reconcile(self, where: str) -> None:
        """Raise `CountsDoNotAddUp` unless every offered item is in exactly one bucket."""
        if self.offered != self.sealed + self.failed + self.excluded + self.lost:
            raise CountsDoNotAddUp(
                f"{where}: offered {self.offered} is not sealed {self.sealed} + failed {self.failed} + "
                f"excluded {self.excluded} + lost {self.lost}: a fault of Scellé; please report it"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the counts as they are printed and sealed."""
        return {
            "offered": self.offered,
            "sealed": self.sealed,
            "new": self.new,
            "unchanged": self.unchanged,
            "failed": self.failed,
            "excluded": self.excluded,
            "lost": self.lost,
            "restricted": self.restricted,
            "links": self.links,
            "bytes": self.bytes,
            "vanished": self.vanished,
            "vanished_in_place": self.vanished_in_place,
            "changed_in_place": self.changed_in_place,
            "excluded_by": dict(sorted(self.excluded_by.items())),
            "failed_by": dict(sorted(self.failed_by.items())),
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """An item of which something must be said, and why: it failed, was lost, is special, vanished, returned.

    ``seq`` is the sequence number of its newest record, for what vanished or returned.
    """

    native: str
    cause: str
    detail: str = ""
    seq: int | None = None

    def to_json(self) -> dict[str, str | int]:
        """Return the problem as it is printed and sealed."""
        said: dict[str, str | int] = {"native": self.native, "cause": self.cause, "detail": self.detail}
        return said if self.seq is None else {**said, "seq": self.seq}


@dataclass(slots=True)
class SourceReport:
    """What a pass did with one source; of each kind of problem only the first ones, all of them are events."""

    name: str
    alias: str
    counts: Counts = field(default_factory=Counts)
    failed: list[Problem] = field(default_factory=list)
    lost: list[Problem] = field(default_factory=list)
    changed_in_place: list[Problem] = field(default_factory=list)
    waiting: list[Problem] = field(default_factory=list)
    """Ends of files that are not offered yet: a last line without its end."""
    notes: list[str] = field(default_factory=list)
    """What people must know of how records are read: which column is the account, what cannot be seen."""
    unreachable: str | None = None
    vanished_unknown: bool = False
    """Set where not everything could be listed: then nothing is said to have vanished."""
    shapes: list[str] = field(default_factory=list)
    """Schemas and profiles of the members of a source of records, as `tallies.shape_text` writes them."""

    def to_json(self) -> dict[str, Any]:
        """Return the counts and what stands beside them, as printed and sealed."""
        return {
            **self.counts.to_json(),
            "alias": self.alias,
            "notes": list(self.notes),
            "waiting": len(self.waiting),
            "unreachable": self.unreachable,
            "vanished_unknown": self.vanished_unknown,
        }


@dataclass(slots=True)
class PassReport:
    """What a pass did: per source and in total. Times in microseconds.

    ``pass_id`` is the same for all runs of a pass that was interrupted and went on; ``started_us`` is when
    this run began.
    """

    pass_id: str
    started_us: int
    finished_us: int = 0
    sources: list[SourceReport] = field(default_factory=list)

    @property
    def total(self) -> Counts:
        """Sum the counts of all sources."""
        total = Counts()
        for report in self.sources:
            total.add(report.counts)
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the report as `preserve --json` prints it and the pass event seals it."""
        return {**self.total.to_json(), "sources": {report.name: report.to_json() for report in self.sources}}
