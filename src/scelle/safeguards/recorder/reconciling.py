"""Hold what a generator says that it made against what is recorded: generated = recorded + gap."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from scelle.errors import SurfaceWrong
from scelle.safeguards.recorder.lines import lines_of, spool_files
from scelle.safeguards.recorder.model import (
    ABANDONED,
    COMPLETED,
    FAILED,
    GAP,
    OUTCOMES,
    RECONCILED,
    RECONCILIATION,
    RECORDED,
    REQUESTED,
    Mode,
    check_surface,
)
from scelle.safeguards.recorder.spool import Spool

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a comparison found, over requests recorded from `from_us` (inclusive) to `until_us` (exclusive).

    `recorded` attempts were completed. Those that failed or were abandoned may or may not have been made by the
    generator, so that they can explain a gap up to their number; so can what a recorder itself counted as lost.
    """

    surface: str
    from_us: int
    until_us: int
    generated: int
    requested: int
    recorded: int
    failed: int
    abandoned: int
    refused: int
    open: int
    lost: int

    @property
    def gap(self) -> int:
        """Return how many more were made than are recorded as completed; below 0: fewer."""
        return self.generated - self.recorded

    @property
    def unexplained(self) -> int:
        """Return how much of the gap nothing recorded can explain, or how many too few the generator counted."""
        if self.gap < 0:
            return -self.gap
        return max(0, self.gap - self.failed - self.abandoned - self.open - self.lost)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as it is recorded and printed."""
        numbers = (
            "generated",
            "recorded",
            "gap",
            "requested",
            "failed",
            "abandoned",
            "refused",
            "open",
            "lost",
        )
        return {
            "surface": self.surface,
            "from": rfc3339(self.from_us),
            "until": rfc3339(self.until_us),
            **{name: getattr(self, name) for name in numbers},
            "unexplained": self.unexplained,
        }


def reconcile(root: Path, surface: str, generated: int, from_us: int, until_us: int) -> Reconciled:
    """Compare, and record the comparison in the source; raises StorageError, and SpoolBusy beside another."""
    found = compare(root, surface, generated, from_us, until_us)
    with Spool(root, RECONCILIATION, Mode.BLOCK) as spool:
        spool.put({"event": RECONCILED, **found.to_json()}).result()
    return found


def check_recorded(root: Path, surface: str, *, is_registered: bool) -> None:
    """Raise SurfaceWrong for a surface that is neither registered nor recorded: nothing can be compared with it."""
    if not (is_registered or (root / RECORDED / check_surface(surface)).is_dir()):
        raise SurfaceWrong(
            f"surface {surface} is not registered, and nothing of it is recorded here: `scelle surface list` shows "
            "those that are"
        )


def compare(root: Path, surface: str, generated: int, from_us: int, until_us: int) -> Reconciled:
    """Count what is recorded of a surface in a period, by when it was requested."""
    ends: dict[str, str | None] = {}
    lost = 0
    for each in spool_files(root / RECORDED / check_surface(surface)):
        for line in lines_of(each.path):
            event = line.event or {}
            kind, attempt = event.get("event"), str(event.get("attempt_id"))
            if kind == REQUESTED and from_us <= _micros(event) < until_us:
                ends[attempt] = None
            elif kind in OUTCOMES and attempt in ends:
                ends[attempt] = str(kind)
            elif kind == GAP and from_us <= _micros(event) < until_us:
                lost += int(event.get("lost") or 0)
    of = {kind: sum(end == kind for end in ends.values()) for kind in (*OUTCOMES, None)}
    return Reconciled(
        surface, from_us, until_us, generated, len(ends), of[COMPLETED], of[FAILED], of[ABANDONED],
        of["refused"], of[None], lost,
    )  # fmt: skip


def _micros(event: dict[str, Any]) -> int:
    try:
        return (datetime.fromisoformat(str(event.get("ts"))) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, TypeError):
        return 0


def rfc3339(time_us: int) -> str:
    """Write a time in microseconds as the spool does."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
