"""Measure a watch while it runs.

One thread, the watcher's, measures; any other may read what was published last: it never changes, and no lock is taken.
No figure names an order, an account or a clause. What is counted by order is the sum over those that whoever runs the
watch may know of.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from scelle.capture.model import Counts

PUBLISH_S: Final = 0.5
"""Figures are published no more often."""
SILENT_S: Final = 5.0
"""A watch that has published nothing for longer is behind, whatever it measured last."""
DEPTH_S: Final = 15.0
"""An outbox is measured no more often: its rows are counted for it."""
JOBS_MAX: Final = 50
OTHER_JOBS: Final = "other"
"""The name of all jobs behind the first fifty of a source: a job may name itself anew each time."""
_JOB_CHARS: Final = 64
OUTCOMES: Final = ("sealed", "failed", "excluded", "lost")

Tally = Mapping[str, int]
ByJob = Mapping[tuple[str, str], int]
"""Rows by what took them (delete, update, truncate) and the application's name."""


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """How much waits in a guard's outbox; `oldest_s` is the age of the oldest row in seconds, 0 where none waits."""

    rows: int
    size_bytes: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """What is known of one source. Times are seconds since 1970, None for never; `None` bytes are not known."""

    is_streamed: bool = False
    is_reading: bool = False
    is_up: bool = False
    is_passing: bool = False
    lag_s: float = 0.0
    """How long after its commit the oldest change of the last group was durable."""
    waiting_since_s: float | None = None
    """Since when something that came is not durable."""
    down_since_s: float | None = None
    """Since when the stream does not come."""
    unconfirmed_bytes: int | None = None
    kept_bytes: int | None = None
    cap_bytes: int | None = None
    flushed_s: float | None = None
    sealed_s: float | None = None
    passed_s: float | None = None
    probed_s: float | None = None
    changes: Tally = field(default_factory=dict)
    running: Tally = field(default_factory=dict)
    """Changes that were taken and are in no sealed count yet."""
    pass_items: Tally = field(default_factory=dict)
    gaps: Tally = field(default_factory=dict)
    open_gaps: Tally = field(default_factory=dict)
    paths: Tally = field(default_factory=dict)
    outbox: OutboxDepth | None = None
    diverted: ByJob = field(default_factory=dict)
    let_go: int = 0
    refused: int | None = None

    def lag_at(self, now_s: float, published_s: float) -> float:
        """Return how far the vault is behind the source, in seconds."""
        silent_since_s = published_s if now_s - published_s > SILENT_S else None
        since = [
            each for each in (self.waiting_since_s, self.down_since_s, silent_since_s) if each is not None
        ]
        return max([self.lag_s, *(now_s - each for each in since)])


@dataclass(frozen=True, slots=True)
class Figures:
    """What was published: at a time, by source."""

    at_s: float
    sources: Mapping[str, SourceFigures]


class Meter:
    """Take down what the watcher measures, and publish it now and then in `latest`."""

    def __init__(
        self, now_s: Callable[[], float] = time.time, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._now_s, self._clock_s = now_s, clock_s
        self._sources: dict[str, SourceFigures] = {}
        self._oldest_s: dict[str, float] = {}
        """When the oldest change was committed that came and is not durable."""
        self._committed_us: dict[str, int] = {}
        self._asked_s: dict[str, float] = {}
        self._published_s = clock_s()
        self.latest = Figures(now_s(), {})

    def is_due(self) -> bool:
        """Tell whether it is time to publish."""
        return self._clock_s() - self._published_s >= PUBLISH_S

    def publish(self) -> None:
        """Let others read what is known now."""
        self._published_s = self._clock_s()
        self.latest = Figures(self._now_s(), dict(self._sources))

    def beat(self) -> None:
        """Publish where it is time: the watch is alive, though busy with something long."""
        if self.is_due():
            self.publish()

    # --- what is measured

    def stands(self, name: str, *, is_streamed: bool, is_reading: bool, is_up: bool) -> None:
        """Note whether this process reads a source, and whether its stream comes."""
        is_down = is_streamed and is_reading and not is_up
        since_s = (self._of(name).down_since_s or self._now_s()) if is_down else None
        self._set(name, is_streamed=is_streamed, is_reading=is_reading, is_up=is_up, down_since_s=since_s)

    @contextmanager
    def passing(self, name: str) -> Iterator[None]:
        """Note that a source is read from end to end, for as long as the block lasts."""
        self._set(name, is_passing=True)
        self.publish()
        try:
            yield
        finally:
            self._set(name, is_passing=False)

    def passed(self, name: str, counts: Counts) -> None:
        """Note the counts of a pass that was sealed."""
        self._set(
            name, passed_s=self._now_s(), pass_items=_added(self._of(name).pass_items, tally_of(counts))
        )

    def came(self, name: str, committed_us: int) -> None:
        """Note that changes came, the last of them committed at `committed_us`."""
        if committed_us > self._committed_us.get(name, 0):  # else of a transaction that has not ended
            self._committed_us[name] = committed_us
            self._oldest_s.setdefault(name, committed_us / 1e6)
        self._set(name, waiting_since_s=self._of(name).waiting_since_s or self._now_s())

    def flushed(self, name: str) -> None:
        """Note that all that came is durable."""
        now_s = self._now_s()
        oldest_s = self._oldest_s.pop(name, now_s)
        self._set(name, flushed_s=now_s, lag_s=max(0.0, now_s - oldest_s), waiting_since_s=None)

    def looked(
        self, name: str, unconfirmed_bytes: int, kept_bytes: int | None, cap_bytes: int | None
    ) -> None:
        """Note how much of the server's log is not confirmed, and how much the slot makes, and may make, it keep."""
        unconfirmed_bytes = max(0, unconfirmed_bytes)
        self._set(name, unconfirmed_bytes=unconfirmed_bytes, kept_bytes=kept_bytes, cap_bytes=cap_bytes)

    def running(self, name: str, counts: Iterable[Counts]) -> None:
        """Note what was taken of changes since it was sealed last."""
        self._set(name, running=_summed(map(tally_of, counts)))

    def sealed(self, name: str, counts: Iterable[Counts]) -> Tally:
        """Note that what was captured is sealed; return it by outcome."""
        tally = _summed(map(tally_of, counts))
        changes = _added(self._of(name).changes, tally)
        self._set(name, sealed_s=self._now_s(), changes=changes, running={})
        return tally

    def gaps(self, name: str, ever: Tally, still_open: Tally) -> None:
        """Note by cause how many gaps there ever were, and which of them are open."""
        self._set(name, gaps=ever, open_gaps=still_open)

    def probed(self, name: str, states: Iterable[str]) -> None:
        """Note what probes of a guard found, a state for each path."""
        paths: dict[str, int] = {}
        for state in states:
            paths[state] = paths.get(state, 0) + 1
        self._set(name, probed_s=self._now_s(), paths=paths)

    def is_depth_due(self, name: str) -> bool:
        """Tell whether it is time to ask how much waits in a guard's outbox; asking counts as done."""
        now_s = self._clock_s()
        is_due = now_s - self._asked_s.get(name, -DEPTH_S) >= DEPTH_S
        if is_due:
            self._asked_s[name] = now_s
        return is_due

    def waits(self, name: str, depth: OutboxDepth, refused: int | None) -> None:
        """Note what waits in a guard's outbox, and how many statements it refused since it was made."""
        self._set(name, outbox=depth, refused=refused)

    def diverted(self, name: str, taken: Iterable[tuple[str, str]]) -> None:
        """Note rows that the guard kept and that are sealed: what took each, and by which application."""
        tally = dict(self._of(name).diverted)
        jobs = {job for _, job in tally} - {OTHER_JOBS}
        for op, application in taken:
            job = _job(application)
            if job not in jobs and len(jobs) >= JOBS_MAX:
                job = OTHER_JOBS
            else:
                jobs.add(job)
            tally[op, job] = tally.get((op, job), 0) + 1
        self._set(name, diverted=tally)

    def let_go(self, name: str, rows: int) -> None:
        """Note held rows that a guard let go."""
        self._set(name, let_go=self._of(name).let_go + rows)

    def unguarded(self, name: str) -> None:
        """Note that no guard stands in a source any more."""
        self._set(name, probed_s=None, paths={}, outbox=None, refused=None)

    def _of(self, name: str) -> SourceFigures:
        return self._sources.setdefault(name, SourceFigures())

    def _set(self, name: str, **changes: Any) -> None:
        self._sources[name] = replace(self._of(name), **changes)


def tally_of(counts: Counts) -> dict[str, int]:
    """Return the buckets of `counts` by outcome."""
    return {outcome: getattr(counts, outcome) for outcome in OUTCOMES}


def _summed(tallies: Iterable[Tally]) -> dict[str, int]:
    total = dict.fromkeys(OUTCOMES, 0)
    for each in tallies:
        total = _added(total, each)
    return total


def _added(one: Tally, other: Tally) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in OUTCOMES}


def _job(application: str) -> str:
    """Return an application's name as a label: short, and printable."""
    return "".join(c for c in application if c.isprintable())[:_JOB_CHARS] or "unnamed"
