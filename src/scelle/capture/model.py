"""Count what a pass did with what it was offered (pure)."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from scelle.errors import CountsDoNotAddUp


@dataclass(slots=True)
class Counts:
    """The buckets of one source in one pass: *offered = sealed + failed + excluded + lost*.

    ``sealed`` is ``new + unchanged``: items whose current version is sealed when the pass ends. ``links`` are
    symbolic links among them; ``bytes`` their content. ``vanished`` are items sealed before that were not
    offered any more: they stay sealed and are no bucket.
    """

    offered: int = 0
    new: int = 0
    unchanged: int = 0
    failed: int = 0
    lost: int = 0
    links: int = 0
    bytes: int = 0
    vanished: int = 0
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
        for name in ("offered", "new", "unchanged", "failed", "lost", "links", "bytes", "vanished"):
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
            "links": self.links,
            "bytes": self.bytes,
            "vanished": self.vanished,
            "excluded_by": dict(sorted(self.excluded_by.items())),
            "failed_by": dict(sorted(self.failed_by.items())),
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """An item that was not sealed, and why; it is sealed as an event and tried again in the next pass."""

    native: str
    cause: str
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the problem as it is printed and sealed."""
        return {"native": self.native, "cause": self.cause, "detail": self.detail}
