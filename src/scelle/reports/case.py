"""Gather what reports are made from, and number the evidence that they name."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from scelle.formats.entries import Entry
from scelle.ledger.events import Event, events
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger
from scelle.ledger.witness import Shown
from scelle.orders.model import Order
from scelle.orders.service import SealedOrder
from scelle.reports.model import Checkpoint, Evidence, Fact, Report, Section
from scelle.vault.keys import VaultKey

_E = TypeVar("_E", bound=Entry)


class Log:
    """One published log, and where in it each event is committed."""

    def __init__(self, ledger: OrderLedger) -> None:
        self.ledger = ledger
        self.history: tuple[Event, ...] = tuple(events(ledger))
        found = [(each.seq[0], at) for at, each in ledger.manifests() if each.source == EVENTS_SOURCE]
        self._starts, self._places = [start for start, _ in found], [at for _, at in found]

    def index_of(self, event: Event) -> int:
        """Return the log index of the entry that commits to an event."""
        return self._places[bisect_right(self._starts, event.seq) - 1]

    def of_kind(self, *kinds: str) -> list[Event]:
        """List the events of some kinds, the oldest first."""
        return [event for event in self.history if event.kind in kinds]

    def last(self, *kinds: str) -> Event | None:
        """Return the newest event of some kinds."""
        return next((event for event in reversed(self.history) if event.kind in kinds), None)


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Who else has seen an order's log; `rewritable_since_us` is None where all of it was shown."""

    shown: tuple[Shown, ...]
    rewritable_since_us: int | None
    pending: int


@dataclass(frozen=True, slots=True)
class Case:
    """What one report is made from: an order, its log, and who asks.

    `may_name`: who asks may see names of items and sources, which are content. `vault` is the vault's own log, of
    which only what concerns this order may be said. `item` is the id that a report of one item is about.
    """

    log: Log
    sealed: SealedOrder
    witnessed: Witnessed
    at_us: int
    is_solo: bool
    may_name: bool
    vault_key: VaultKey
    vault: Log | None = None
    item: str | None = None
    progress: Callable[[int, int], None] = field(default=lambda done, total: None)

    @property
    def order(self) -> Order:
        """Return the order's terms as they stand."""
        return self.sealed.order

    @property
    def ledger(self) -> OrderLedger:
        """Return the order's ledger."""
        return self.log.ledger


class Register:
    """Number evidence as it is named; the same evidence keeps its number."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._numbers: dict[Evidence, int] = {}
        self._logs: dict[str, OrderLedger] = {log.ledger.origin: log.ledger}

    def event(self, event: Event, *, sha256_hex: str | None = None) -> int:
        """Name an event of the order's log; `sha256_hex` is of the file that it tells of."""
        return self._event(event, self._log, sha256_hex)

    def event_of_vault(self, event: Event, vault: Log, *, is_placed: bool) -> int:
        """Name an event of the vault's own log; with its place only where there are no walls.

        Places there, and the log's size, would tell how much happened of which a report says nothing.
        """
        if is_placed:
            return self._event(event, vault)
        return self._add(Evidence(event.kind, vault.ledger.origin, source=EVENTS_SOURCE))

    def _event(self, event: Event, log: Log, sha256_hex: str | None = None) -> int:
        at = log.index_of(event)
        return self._add(Evidence(event.kind, self._origin(log), at, EVENTS_SOURCE, event.seq, sha256_hex))

    def events(self, found: Iterable[Event]) -> tuple[int, ...]:
        """Name several events of the order's log."""
        return tuple(map(self.event, found))

    def entry(self, index: int, entry: Entry) -> int:
        """Name an entry of the order's log."""
        kind = entry.KIND.split("/")[1]
        return self._add(Evidence(kind, self._origin(self._log), index, getattr(entry, "source", None)))

    def record(self, index: int, source: str, seq: int, sha256_hex: str | None) -> int:
        """Name a sealed record of the order's log by its log source and number."""
        return self._add(Evidence("record", self._origin(self._log), index, source, seq, sha256_hex))

    def shown(self, shown: Shown) -> int:
        """Name a checkpoint that somebody else holds: the last entry that it covers."""
        what = "time-stamp" if shown.is_token else "escrow"
        return self._add(Evidence(what, self._origin(self._log), shown.size - 1))

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Return everything that was named, in the order of its numbers."""
        return tuple(self._numbers)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the checkpoints that cover everything that was named."""
        return tuple(
            Checkpoint(origin, ledger.log.size, ledger.log.root.hex())
            for origin, ledger in self._logs.items()
        )

    def _origin(self, log: Log) -> str:
        self._logs.setdefault(log.ledger.origin, log.ledger)
        return log.ledger.origin

    def _add(self, evidence: Evidence) -> int:
        return self._numbers.setdefault(evidence, len(self._numbers) + 1)


def entries_of(ledger: OrderLedger, kind: type[_E]) -> Iterator[tuple[int, _E]]:
    """Yield the entries of a kind with their log indices."""
    return ((at, entry) for at, entry in enumerate(ledger.entries) if isinstance(entry, kind))


def made(
    case: Case,
    register: Register,
    name: str,
    facts: Iterable[Fact],
    sections: Iterable[Section],
    *,
    notices: tuple[str, ...] = (),
    is_draft: bool = False,
) -> Report:
    """Put a report together; every one says whether two people stand behind what loosens a hold, and what it is not."""
    people = "solo" if case.is_solo else "two-people"
    parts = tuple(sections)
    return Report(
        name=name,
        order=case.order.id,
        at_us=case.at_us,
        zone=case.order.zone,
        is_draft=is_draft,
        facts=tuple(facts),
        notices=(*notices, people, "seal"),
        sections=parts,
        evidence=register.evidence,
        checkpoints=register.checkpoints,
    )


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of bytes in hex."""
    return sha256(data).hexdigest()
