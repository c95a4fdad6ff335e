"""Name what a pass is given: sources as an order knows them, and the tools that `bootstrap` builds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from scelle.capture.model import Counts, SourceReport
from scelle.errors import SourceClosed
from scelle.ledger.service import EVENTS_SOURCE, OrderLedgerWriter
from scelle.scope.model import Clause, with_restricted_sources
from scelle.scope.pushdown import Pushdown
from scelle.sources.interfaces import Batch, PushdownSource, RecordSource, Source, Unit
from scelle.sources.windows import Window
from scelle.vault.catalog import Catalog
from scelle.vault.keys import VaultKey
from scelle.vault.packs import PackStore

Progress = Callable[[str, Counts], None]
"""Called after each item with the source's name and its counts so far."""


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source as an order knows it: human name, neutral alias, whose it is, and how to read it."""

    name: str
    alias: str
    system: str
    custodian: str | None
    account: str | None
    source: Source | RecordSource
    window: Window | None = None
    """When the source may be read; None: always."""
    restricted: bool = False
    """Whether everything that a clause covers in it is restricted."""
    is_secret: bool = False
    """Whether the people who run the source may not learn what the order asks for."""

    def refuse_closed(self, now_s: float) -> None:
        """Raise SourceClosed outside the source's window; `now_s` are seconds since 1970."""
        if self.window is not None and not self.window.left_s(now_s):
            raise SourceClosed(
                f"it may not be read outside its window {self.window.text} (UTC): run again when it opens, "
                f"{self.window.opens(now_s)}"
            )

    @property
    def holder(self) -> str | None:
        """Return the identifier of dimension account, with its kind (ledger.md §2)."""
        if self.custodian is not None:
            return f"custodian:{self.custodian}"
        return None if self.account is None else f"account:{self.account}"


def clauses_over(clauses: Sequence[Clause], sources: Sequence[NamedSource]) -> tuple[Clause, ...]:
    """Return an order's clauses as they are over these sources, some of which may be restricted. Idempotent."""
    return with_restricted_sources(clauses, {named.name for named in sources if named.restricted})


def pushdown_over(named: NamedSource, clauses: Sequence[Clause]) -> Pushdown | None:
    """Return what the source's store is told of the clauses, so that it leaves out what none covers; None for nothing.

    It is told nothing of a secret order where its own people see what it is asked: accounts stand in queries.
    """
    source = named.source
    if not isinstance(source, PushdownSource) or (named.is_secret and source.shows_queries):
        return None
    return Pushdown.of(named.name, clauses, named.custodian, named.account)


def batches_of(source: RecordSource, unit: Unit, mark: bytes, pushdown: Pushdown | None) -> Iterator[Batch]:
    """Read a unit behind `mark`, without what the store leaves out by itself where it is told of clauses."""
    if pushdown is not None and isinstance(source, PushdownSource):
        return source.read_pushed_down(unit, mark, pushdown)
    return source.read(unit, mark)


@dataclass(slots=True)
class PassTools:
    """What a pass works with; built by `bootstrap`."""

    ledger: OrderLedgerWriter
    packs: PackStore
    catalog: Catalog
    vault_key: VaultKey
    now_us: Callable[[], int]
    actor: str
    progress: Progress = lambda name, counts: None
    compartment: str | None = None
    """The age recipient to which restricted documents are encrypted; None where the vault has no compartment."""
    at_end: Callable[[Sequence[SourceReport]], None] = lambda sources: None
    """Called once a pass has read everything, before its commit: what is recorded then is sealed with it."""
    lost_at_most: int | None = None
    """How many changes can have been lost in the gaps that a pass closes; None where nobody knows."""
    on_durable: Callable[[Sequence[str]], None] = lambda aliases: None
    """Called each time what was appended to these log sources is durable, before it is sealed."""
    events_wait: bool = False
    """Set where the open segment of events holds the `pass` event of a run that a crash ended before its commit: it is
    sealed with the event of this run, which is the one that counts, and never before it."""

    def full_sources(self, aliases: Sequence[str], now_us: int) -> list[str]:
        """List those of these log sources, and of the events, whose open segment must close now."""
        names = [*aliases] if self.events_wait else [*aliases, EVENTS_SOURCE]
        return [name for name in names if self.ledger.is_full(name, now_us)]
