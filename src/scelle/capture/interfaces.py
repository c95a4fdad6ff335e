"""Name what a pass is given: sources as an order knows them, and the tools that `bootstrap` builds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scelle.capture.model import Counts
from scelle.ledger.service import EVENTS_SOURCE, OrderLedgerWriter
from scelle.sources.interfaces import RecordSource, Source
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

    @property
    def holder(self) -> str | None:
        """Return the identifier of dimension account, with its kind (ledger.md §2)."""
        if self.custodian is not None:
            return f"custodian:{self.custodian}"
        return None if self.account is None else f"account:{self.account}"


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
    events_wait: bool = False
    """Set where the open segment of events holds the `pass` event of a run that a crash ended before its commit: it is
    sealed with the event of this run, which is the one that counts, and never before it."""

    def full_sources(self, aliases: Sequence[str], now_us: int) -> list[str]:
        """List those of these log sources, and of the events, whose open segment must close now."""
        names = [*aliases] if self.events_wait else [*aliases, EVENTS_SOURCE]
        return [name for name in names if self.ledger.is_full(name, now_us)]
