"""Fold the entries of a log into the state of each of its sources (pure)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from scelle.errors import LogDamaged
from scelle.formats.entries import End, Entry, Gap, Genesis, Segment
from scelle.merkle.hashing import leaf_hash


class KnownGap(NamedTuple):
    """A gap of a log, with its log index, and the later entry that closes it."""

    at: int
    gap: Gap
    closed_at: int | None
    closing: Gap | None

    @property
    def is_open(self) -> bool:
        """Tell whether the gap has no end yet."""
        return self.closing is None and self.gap.interval[1] is None


def known_gaps(entries: Sequence[Entry]) -> Iterator[KnownGap]:
    """Yield the gaps of a log in the order of their entries."""
    found = [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, Gap)]
    closings = {entry.closes: (index, entry) for index, entry in found if entry.closes is not None}
    for index, entry in found:
        if entry.closes is None:
            yield KnownGap(index, entry, *closings.get(index, (None, None)))


@dataclass(frozen=True, slots=True)
class Chain:
    """Where one log source stands: what its next manifest must continue (ledger.md §4)."""

    next_number: int = 0
    next_seq: int = 0
    prev: bytes | None = None
    watermark: int | None = None
    position: bytes | None = None
    schema: bytes | None = None
    profile: int | None = None
    ended: bool = False

    def after(self, entry: Segment, leaf: bytes) -> "Chain":
        """Return the state after the manifest `entry`, whose leaf hash is `leaf`."""
        return Chain(
            next_number=entry.number + 1,
            next_seq=entry.seq[1],
            prev=leaf,
            watermark=entry.watermark[1],
            position=entry.position[1],
            schema=entry.schema,
            profile=entry.profile,
        )


@dataclass(slots=True)
class LogState:
    """All that the writer must know of a log to continue it."""

    size: int = 0
    genesis: Genesis | None = None
    genesis_leaf: bytes = b""
    chains: dict[str, Chain] = field(default_factory=dict)
    segments: dict[tuple[str, int], int] = field(default_factory=dict)

    def add(self, entry: Entry, data: bytes) -> None:
        """Take the next entry into account; `data` are its exact bytes."""
        leaf = leaf_hash(data)
        if isinstance(entry, Genesis):
            self.genesis, self.genesis_leaf = entry, leaf
        elif isinstance(entry, Segment):
            chain = self.chains.get(entry.source, Chain())
            if chain.next_number != entry.number or chain.next_seq != entry.seq[0]:
                raise LogDamaged(
                    f"entry {self.size}: segment {entry.source} {entry.number} does not continue"
                )
            self.chains[entry.source] = chain.after(entry, leaf)
            self.segments[entry.source, entry.number] = self.size
        elif isinstance(entry, End):
            self.chains[entry.source] = replace(self.chains[entry.source], ended=True)
        self.size += 1

    def chain(self, alias: str) -> Chain:
        """Return where `alias` stands; a new source starts at number 0, sequence 0."""
        return self.chains.get(alias, Chain())


def fold(entries: Iterable[tuple[Entry, bytes]]) -> LogState:
    """Return the state after all `entries`, each with its exact bytes."""
    state = LogState()
    for entry, data in entries:
        state.add(entry, data)
    return state
