"""Open a vault for one command, and what the command needs of it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scelle.bootstrap.acting import actor, now_us
from scelle.capture.service import NamedSource, PassTools, Progress
from scelle.errors import CatalogStale, InputError, StorageError
from scelle.fsck.catalog import catalog_tables
from scelle.ledger.clock import CONFIRMED_BY, check_clock, clock_behind, newest_commit_us
from scelle.ledger.memory import memory_in
from scelle.ledger.service import OrderLedger, OrderLedgerWriter, SignerMemory
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import SealedOrder, check_order
from scelle.sources.model import SourceSpec
from scelle.sources.registry import named_sources, refuse_own_folders
from scelle.sources.urls import open_source
from scelle.sources.windows import Window
from scelle.vault.catalog import CATALOG_NAME, Catalog, create_catalog, open_catalog
from scelle.vault.contents import CatalogContentIndex
from scelle.vault.lock import WriterLock
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend
from scelle.vault.service import OpenedVault, open_vault, read_config


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """How the vault key is given: a key file (or the folder of key files), or a passphrase."""

    key_file: Path | None = None
    passphrase: str | None = None


def default_key_folder() -> Path:
    """Return the folder of key files where none is named: outside every vault, for this user only."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "scelle" / "keys"


def _key_folder(key_choice: KeyChoice) -> Path | None:
    path = key_choice.key_file
    return path if path is None or path.is_dir() else path.parent


def signer_memory(vault: OpenedVault, key_choice: KeyChoice) -> SignerMemory:
    """Remember the newest (size, root) of each log beside the key file, outside the vault.

    A vault whose key is under a passphrase has no such place: there only escrow and tokens tell a restored
    snapshot from the newest state.
    """
    folder = _key_folder(key_choice)
    return SignerMemory() if folder is None else memory_in(folder / f"{vault.config.vault_id.hex()}.signed")


class Session:
    """One opened vault. `writing` sessions hold the writer lock; reading ones run beside them."""

    def __init__(self, vault: OpenedVault, key_choice: KeyChoice, *, writing: bool) -> None:
        self.path, self.config, self.key = vault.path, vault.config, vault.key
        self.host = vault.config.host
        self.key_folder = _key_folder(key_choice)
        self.writing = writing
        self.memory = signer_memory(vault, key_choice)
        self.warnings: list[str] = []
        self._packs: PackStore | None = None
        self._catalog: Catalog | None = None
        self._ledgers: list[OrderLedgerWriter] = []

    @property
    def catalog(self) -> Catalog:
        """Return the derived catalog, remade where it was missing or of another version."""
        if self._catalog is None:
            self._catalog = self._open_catalog()
        return self._catalog

    def _open_catalog(self) -> Catalog:
        """Open the catalog; a writing session makes a stale or missing one again from the evidence."""
        path = self.path / CATALOG_NAME
        tables = catalog_tables(self.key.vault_id)
        try:
            return open_catalog(path, tables)
        except CatalogStale:
            if not self.writing:
                raise
        catalog = create_catalog(path, tables)
        index = CatalogContentIndex(catalog, self.key)
        PackStore(PosixBackend(self.path), self.key, index, background=False).rebuild_index()
        return catalog

    @property
    def packs(self) -> PackStore:
        """Return the content packs; a writing session recovers them first."""
        if self._packs is None:
            index = CatalogContentIndex(self.catalog, self.key)
            self._packs = PackStore(PosixBackend(self.path), self.key, index, background=False)
            if self.writing:
                self._packs.recover()
        return self._packs

    def ledger(self, order: str) -> OrderLedger:
        """Open the ledger of an order (or of the vault) for reading."""
        return OrderLedger(self.path, order, f"{self.host}/po/{order}", self.key)

    def writer(self, order: str) -> OrderLedgerWriter:
        """Open the ledger of an order (or of the vault) for writing; recovery runs first."""
        ledger = OrderLedgerWriter(self.path, order, f"{self.host}/po/{order}", self.key, self.memory)
        self._ledgers.append(ledger)
        return ledger

    def keep(self, ledger: OrderLedgerWriter) -> OrderLedgerWriter:
        """Close `ledger` with the session."""
        self._ledgers.append(ledger)
        return ledger

    def order_writer(self, order: str) -> OrderLedgerWriter:
        """Open an order that exists for writing; note in `warnings` a clock that is behind its log."""
        ledger = self.writer(check_order(self.path, order))
        behind = clock_behind(ledger.state, now_us())
        if behind is not None:
            self.warnings.append(f"order {order}: {behind}")
        return ledger

    def order_ledger(self, order: str) -> OrderLedger:
        """Open an order that exists for reading."""
        return self.ledger(check_order(self.path, order))

    def sources(self) -> dict[str, SourceSpec]:
        """Return the vault's sources by name."""
        return named_sources(self.ledger(RESERVED_ORDER_ID))

    def named(self, sealed: SealedOrder, names: Sequence[str] | None = None) -> list[NamedSource]:
        """Open the sources that an order names, in alias order."""
        specs = self.sources()
        found = []
        for name, alias in sorted(sealed.aliases.items(), key=lambda pair: pair[1]):
            if names is None or name in names:
                spec = specs[name]
                refuse_own_folders(spec, self.path, self.key_folder)
                source = open_source(spec)
                window = None if spec.window is None else Window.parse(spec.window)
                found.append(
                    NamedSource(name, alias, spec.system, spec.custodian, spec.account, source, window)
                )
        return found

    def pass_tools(self, ledger: OrderLedgerWriter, progress: Progress) -> PassTools:
        """Return what a pass works with."""
        return PassTools(
            ledger=ledger,
            packs=self.packs,
            catalog=self.catalog,
            vault_key=self.key,
            now_us=now_us,
            actor=actor(),
            progress=progress,
        )

    def close(self, failure: StorageError | None = None) -> None:
        """Close everything that this session opened; after a failure of the store nothing more is written.

        So the first failure is the one that is said, and not what came of trying on.
        """
        for ledger in self._ledgers:
            ledger.close()
        if self._packs is not None:
            self._packs.__exit__(None if failure is None else type(failure), failure, None)
        if self._catalog is not None:
            self._catalog.close()


@contextmanager
def opened(path: Path, key_choice: KeyChoice, *, writing: bool) -> Iterator[Session]:
    """Open the vault at `path` for one command."""
    choice = key_choice
    if choice.key_file is None and choice.passphrase is None:
        if read_config(path).config.passphrase is not None:
            raise InputError(f"{path}: this vault has a passphrase: give --passphrase env:NAME or file:PATH")
        choice = KeyChoice(key_file=default_key_folder())
    vault = open_vault(path, key_file=choice.key_file, passphrase=choice.passphrase)
    if not writing:
        session = Session(vault, choice, writing=False)
        try:
            yield session
        finally:
            session.close()
        return
    with WriterLock(path).acquire(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")):
        refuse_wrong_clock(path)
        session = Session(vault, choice, writing=True)
        failure = None
        try:
            yield session
        except StorageError as error:
            failure = error
            raise
        finally:
            session.close(failure)


def refuse_wrong_clock(vault: Path) -> None:
    """Raise `ClockAhead` where this machine's clock is far ahead of what the vault saw last."""
    check_clock(now_us(), newest_commit_us(vault), os.environ.get(CONFIRMED_BY))


def refuse_in_vault(session: Session, place: Path) -> None:
    """Raise InputError where something for others would be put into the vault itself."""
    if place.resolve().is_relative_to(session.path.resolve()):
        raise InputError(f"{place} lies inside the vault: what others are to have goes elsewhere")
