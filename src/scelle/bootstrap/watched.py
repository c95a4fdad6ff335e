"""What a watch knows of each source that it watches, and what it reports at its end."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scelle.bootstrap.handing_over import HandingOver
from scelle.bootstrap.wal_caps import CapKeeper
from scelle.capture.live import LiveCapture
from scelle.capture.model import Counts, PassReport
from scelle.capture.watch_state import WatchState
from scelle.formats.entries import Gap
from scelle.sources.interfaces import ChangeStream
from scelle.sources.model import StreamChoices

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is watched
    from scelle.sources.postgres.watched import WatchedDatabase


@dataclass(slots=True)
class Watched:
    """One source that is watched: its stream, how far it was received, and how far it is durable (`state`)."""

    name: str
    slot: str
    database: "WatchedDatabase"
    state: WatchState
    stream: ChangeStream | None = None
    received: int = 0
    target: int = 0
    unflushed_s: float | None = None
    looked_s: float = 0.0
    broken_s: float | None = None
    pause_s: float = 0.0
    retry_s: float = 0.0
    """A broken stream is not tried before."""
    captures: dict[str, LiveCapture] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    """The orders for which the rows that a crash had left were counted."""
    is_guarded: bool = False
    claims: str = ""
    """What the database's guard was told last of the orders' claims."""
    sealed_s: float = 0.0
    is_mine: bool = False
    """Whether this process reads the stream; else it stands by."""
    is_said: bool = False
    left_out: tuple[str, ...] = ()
    """Tables that cannot be published: what happens to them is not captured."""
    absent: tuple[str, tuple[str, ...]] | None = None
    """The cause of a gap, and its tables, that are not noticed in the logs of the orders yet."""
    noticed: tuple[str, tuple[str, ...]] | None = None
    may_be_left_out: bool = True
    """Whether a gap of such tables may be open, in a log of an order that is captured."""
    stuck: frozenset[str] | None = None
    """The rows of the guard's outbox that could not be sealed, by their place there; None where nobody knows yet."""
    is_guard_silent: bool = False
    guard_retry_s: float = 0.0
    most: int | None = None
    """How many rows can have been written between the last stream and this one; None where nobody knows."""
    drained_s: float = 0.0
    probed_s: float = 0.0
    choices: StreamChoices = field(default_factory=StreamChoices)
    keeper: CapKeeper | None = None
    """Looks after the cap of a stream that is this process's."""
    is_beyond: bool = False
    dropped_s: float = -math.inf
    """When the slot was dropped for its cap."""
    is_waiting: bool = False
    """Whether no other stream is begun yet, since two were dropped one soon after the other."""

    def token(self, reached: int) -> bytes:
        """Write where the stream stands, for manifests."""
        from scelle.sources.postgres.watched import position_token  # the driver is an extra

        return position_token(self.state.system_id, self.state.timeline, self.slot, reached)

    def note_absent(self, cause: str, tables: tuple[str, ...]) -> None:
        """Remember which tables a gap is about, until that is in the logs of the orders."""
        if tables and self.noticed != (cause, tables):
            self.absent = cause, tables

    def close_stream(self) -> None:
        """Let the stream go; what was not confirmed comes again."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None


@dataclass(slots=True)
class WatchReport:
    """What a watch did for the order it was started for: counts by source, where each stream stands, open gaps."""

    order: str
    counts: dict[str, Counts] = field(default_factory=dict)
    reached: dict[str, str] = field(default_factory=dict)
    passes: list[PassReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    promises: HandingOver | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `watch --json` prints."""
        sources = {
            name: {**counts.to_json(), "reached": self.reached.get(name)}
            for name, counts in self.counts.items()
        }
        return {
            "order": self.order,
            "sources": sources,
            "snapshots": [each.to_json() for each in self.passes],
            "gaps": len(self.gaps),
            "notes": self.notes,
            "promises": None if self.promises is None else self.promises.to_json(),
        }
