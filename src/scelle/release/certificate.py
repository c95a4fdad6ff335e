"""Say what a disposal destroyed, what stays, and how far that was confirmed (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

CERTIFICATE_FORMAT: Final = "scelle/disposal/v1"
LIMITS: Final = (
    "Read back on this machine's file system. What a storage device keeps of overwritten or freed blocks is outside, "
    "and so are copies of the vault that others made.",
    "Copies that were handed over stay with those who have them.",
    "A content that another order of the same vault needs goes with that order; this certificate does not say whether "
    "there is one.",
    "The log stays: sequence numbers, times rounded to hours, counts, opaque hashes, signatures; and, encrypted, the "
    "order's papers and acts, which may name items.",
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was read back: what, how many were looked at, and how many were found after all."""

    what: str
    looked: int
    found: int

    def to_json(self) -> dict[str, Any]:
        """Return the check as it is sealed."""
        return {"what": self.what, "looked": self.looked, "found": self.found, "confirmed": not self.found}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Check":
        """Read a check as it was sealed."""
        return cls(str(value["what"]), int(value["looked"]), int(value["found"]))


def certificate(
    *,
    order: str,
    request: str,
    ground: str,
    begun_us: int,
    finished_us: int,
    plan: Mapping[str, int],
    destroyed: Mapping[str, int],
    kept: Mapping[str, Any],
    productions: int,
    checks: Sequence[Check],
    erasures: Mapping[str, int],
) -> dict[str, Any]:
    """Return a certificate of disposal; times in microseconds as decimal text. Counts stand beside their totals."""
    return {
        "format": CERTIFICATE_FORMAT,
        "order": order,
        "request": request,
        "ground": ground,
        "begun_us": str(begun_us),
        "finished_us": str(finished_us),
        "planned": dict(plan),
        "destroyed": dict(destroyed),
        "kept": dict(kept),
        "handed_over": productions,
        "checks": [check.to_json() for check in checks],
        "confirmed": all(not check.found for check in checks),
        "erasures": dict(erasures),
        "limits": list(LIMITS),
    }
