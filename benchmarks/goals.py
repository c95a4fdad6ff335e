"""The goals that Scellé set itself, as ratios to its peers in the same run; processor time unless said."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.contestants import Step
from benchmarks.measure import Usage

PEAK_LIMIT_BYTES = 250_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one contestant needed on one corpus: the median of each step, and the size of its store."""

    steps: dict[Step, Usage]
    store_bytes: int


@dataclass(frozen=True, slots=True)
class Goal:
    """One limit: `measure` of Scellé divided by that of `peer` is at most `limit`; `stretch` is a hope."""

    corpus: str
    what: str
    peer: str
    limit: float
    measure: Callable[[Outcome], float | None]
    stretch: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal beside what was measured."""

    goal: Goal
    ratio: float

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal.limit


def cpu(step: Step) -> Callable[[Outcome], float | None]:
    """Return a measure: processor seconds of a step, None where it did not run."""
    return lambda outcome: outcome.steps[step].cpu_s if step in outcome.steps else None


def store_size(outcome: Outcome) -> float:
    """Measure the store's size in bytes."""
    return float(outcome.store_bytes)


GOALS = (
    Goal("S", "first copy", "restic", 0.55, cpu(Step.FIRST), stretch=0.45),
    Goal("S", "first copy", "borg", 0.95, cpu(Step.FIRST), stretch=0.8),
    Goal("S", "unchanged second pass", "restic", 0.5, cpu(Step.AGAIN)),
    Goal("S", "verify", "restic", 0.9, cpu(Step.VERIFY), stretch=0.7),
    Goal("S", "produce everything", "restic", 1.6, cpu(Step.RESTORE)),
    Goal("S", "size of the store", "restic", 0.95, store_size),
    Goal("M", "first copy", "borg", 0.7, cpu(Step.FIRST), stretch=0.6),
    Goal("M", "verify", "restic", 0.6, cpu(Step.VERIFY)),
    Goal("L", "first copy", "borg", 0.7, cpu(Step.FIRST), stretch=0.6),
    Goal("L", "verify", "restic", 0.6, cpu(Step.VERIFY)),
)


def judge(corpus: str, outcomes: dict[str, Outcome]) -> Iterator[Verdict]:
    """Yield a verdict on each goal of a corpus that both sides ran."""
    for goal in GOALS:
        if goal.corpus != corpus or "scelle" not in outcomes or goal.peer not in outcomes:
            continue
        ours, theirs = goal.measure(outcomes["scelle"]), goal.measure(outcomes[goal.peer])
        if ours is not None and theirs:
            yield Verdict(goal, ours / theirs)


def peak_bytes(outcome: Outcome) -> int:
    """Return the largest memory of any step."""
    return max((usage.peak_bytes for usage in outcome.steps.values()), default=0)
