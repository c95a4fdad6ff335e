"""Open a vault for one command, and what the command needs of it."""

import os
import re
import secrets
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeVar

from scelle.bootstrap import acting
from scelle.bootstrap.acting import ActingAs
from scelle.capture.service import NamedSource, PassTools, Progress
from scelle.errors import (
    BehindWall,
    CatalogStale,
    InputError,
    IntegrityError,
    NotAllowed,
    OperatorUnknown,
    ScelleError,
    SourceError,
    StorageError,
)
from scelle.fsck.catalog import catalog_tables
from scelle.guard.spool import refusals_folder
from scelle.ledger.clock import CONFIRMED_BY, check_clock, clock_behind, newest_commit_us
from scelle.ledger.events import events, record_event
from scelle.ledger.memory import memory_in
from scelle.ledger.service import OrderLedger, OrderLedgerWriter, SignerMemory, order_folder
from scelle.operators.backing import Backing
from scelle.operators.keys import OperatorKey, key_file_name, read_operator_key
from scelle.operators.model import Operator, Power, may
from scelle.operators.reads import (
    ACCESS,
    REFUSED,
    Noted,
    note_read,
    note_refused,
    noted_reads,
    noted_refusals,
)
from scelle.operators.registry import KINDS, People, check_operator_name, people_of
from scelle.operators.settings import setting_us
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import SealedOrder, order_ids, published_size, unknown_order
from scelle.orders.types import Notify
from scelle.sources.model import SourceSpec
from scelle.sources.registry import named_sources, refuse_own_folders
from scelle.sources.urls import open_source
from scelle.sources.windows import Window
from scelle.vault import durable
from scelle.vault.catalog import CATALOG_NAME, Catalog, create_catalog, open_catalog
from scelle.vault.contents import CatalogContentIndex
from scelle.vault.lock import YIELDS, WriterLock
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend
from scelle.vault.service import OpenedVault, open_vault, read_config

_Ledger = TypeVar("_Ledger", bound=OrderLedger)
_TURN_S: Final = 2.0
"""So long whoever writes in turns waits for the vault before it looks whether it is to stop, and waits again."""


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

    def __init__(
        self,
        vault: OpenedVault,
        key_choice: KeyChoice,
        *,
        writing: bool,
        clock: Callable[[], int] = acting.now_us,
        warnings: list[str] | None = None,
    ) -> None:
        self.path, self.config, self.key = vault.path, vault.config, vault.key
        self.host = vault.config.host
        self.key_folder = _key_folder(key_choice)
        self.writing = writing
        self.now_us = clock
        self.memory = signer_memory(vault, key_choice)
        self.warnings: list[str] = [] if warnings is None else warnings
        self.noted_lapses: list[str] = []
        """The orders of which this session sealed first that they had lapsed, whoever may know of them."""
        self._packs: PackStore | None = None
        self._catalog: Catalog | None = None
        self._ledgers: dict[str, OrderLedgerWriter] = {}
        self.sizes_before: dict[str, int] = {}
        """How many entries each log that this session wrote to had published before, by order."""
        self._people: People | None = None
        self._latest: list[tuple[int, int]] = []
        """The latest time that the vault's own log says from an event on, by its sequence number, ascending."""
        self.operator_key: OperatorKey | None = None
        self.operator: Operator | None = None
        self.lock: WriterLock | None = None
        """The writer lock that a writing session holds."""

    def act_as(self, acting_as: ActingAs) -> None:
        """Act as an operator from now on; raises for a key that does not open, and for who is no operator."""
        key = self._key_of(acting_as)
        try:
            self.operator = self.people.who(key)
        except (OperatorUnknown, NotAllowed) as error:
            self.note_refusal(f"act as {key.name}", str(error))
            raise
        self.operator_key = key

    def _key_of(self, acting_as: ActingAs) -> OperatorKey:
        path = acting_as.key_file or self.operator_key_file(check_operator_name(acting_as.name or ""))
        if acting_as.key_file is None and not path.exists():
            raise OperatorUnknown(
                f"no key of an operator {acting_as.name} lies in {path.parent}: compare the name with `scelle operator "
                "list`, or name the key file by SCELLE_OPERATOR_KEY"
            )
        key = read_operator_key(path, acting_as.passphrase(path))
        if acting_as.name not in (None, key.name):
            raise NotAllowed(
                f"{path} is the key of {key.name}, not of {acting_as.name}: give the one that is meant"
            )
        return key

    def operator_key_file(self, name: str) -> Path:
        """Return where an operator's key file lies: beside the vault's own keys."""
        folder = self.key_folder or default_key_folder()
        return folder / key_file_name(self.config.vault_id, name)

    # --- people

    @property
    def people(self) -> People:
        """Return operators, walls, settings and requests, as the vault's own log has them."""
        if self._people is None:
            ledger = self.ledger(RESERVED_ORDER_ID)
            times: dict[int, int] = {}
            self._people = people_of(events(ledger, *KINDS, times=times), ledger.origin)
            self._latest = _latest_from(times)
        return self._people

    def forget_people(self) -> None:
        """Read people, walls, settings and requests anew: something of them was just sealed."""
        self._people = None

    def latest_us(self, since_seq: int) -> int:
        """Return the time by which expires what an event of the vault's log began: the clock, or what is sealed since.

        So a clock that is set back brings nothing back to life. What must have been waited for goes by the clock alone.
        """
        _ = self.people  # which reads the times
        at = bisect_right(self._latest, since_seq, key=itemgetter(0))
        return max(self.now_us(), self._latest[at][1] if at < len(self._latest) else 0)

    @property
    def actor(self) -> str:
        """Return who acts, as events name them: the operator, else this user of the machine."""
        return acting.actor() if self.operator is None else self.operator.name

    @property
    def is_solo(self) -> bool:
        """Tell whether the vault has no operators: no walls, and no second person."""
        return self.people.is_solo

    def sees(self, order: str) -> bool:
        """Tell whether who acts may know of an order."""
        return self.people.sees(self.operator, order)

    def require(self, *powers: Power) -> None:
        """Raise NotAllowed where who acts may do none of these; that it was refused is noted."""
        try:
            self.people.require(self.operator, *powers)
        except NotAllowed as error:
            self.note_refusal(" or ".join(power.value for power in powers), str(error))
            raise

    def may(self, *powers: Power) -> bool:
        """Tell whether who acts may do one of these; nothing is refused, and nothing noted."""
        return self.is_solo or (
            self.operator is not None and any(may(self.operator.role, power) for power in powers)
        )

    def note_refusal(self, what: str, why: str) -> None:
        """Seal that somebody was refused; a reading session leaves it for the next one that writes.

        Where that cannot be kept, on a read-only mount for one, the refusal is said all the same, with a warning.
        """
        body = {"what": what, "why": why}
        if self.writing:
            self.record(REFUSED, body)
            return
        try:
            note_refused(self.path, self.key, self.now_us(), self.actor, body)
        except StorageError as error:
            self.warnings.append(f"that this was refused could not be noted: {error}")

    def note_read(self, order: str, what: str, **details: int | str) -> None:
        """Keep that content of an order was read, and by whom; raises StorageError: what is not kept is not shown."""
        body = {"order": order, "what": what, **details}
        if self.writing:
            self.record(ACCESS, {"id": secrets.token_hex(16), "at_us": str(self.now_us()), **body})
        else:
            note_read(self.path, self.key, self.now_us(), self.actor, body)

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Seal one event in the vault's own log: what people did that is of no one order."""
        ledger = self.writer(RESERVED_ORDER_ID)
        record_event(ledger, self.now_us(), self.actor, kind, body)
        ledger.seal(self.now_us())
        self.forget_people()

    def setting_us(self, name: str) -> int:
        """Return a setting of the vault in microseconds."""
        return setting_us(self.people.settings, name)

    def all_orders(self) -> list[str]:
        """List every order: for what must hold, whoever asks. What comes of it is shown through `sees` alone."""
        return order_ids(self.path)

    def every_order_named(self) -> list[str]:
        """List every order that the vault has, had or began: those whose names may stand in what is found wrong."""
        folder = self.path / "po"
        found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        found |= {origin.rpartition("/")[2] for origin in self.memory.origins()}
        found |= self.people.orders_opened | set(self.people.walls)
        return sorted(found - {RESERVED_ORDER_ID})

    def orders(self) -> list[str]:
        """List the orders that who acts may know of."""
        return [order for order in self.all_orders() if self.sees(order)]

    def check_order(self, order: str) -> str:
        """Return `order`; one behind a wall is as unknown as one that is not there."""
        if order not in self.all_orders() or not self.sees(order):
            raise unknown_order(order)
        return order

    # --- what is opened

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
        return self._backed(OrderLedger(self.path, order, f"{self.host}/po/{order}", self.key))

    def _backed(self, ledger: _Ledger) -> _Ledger:
        """Let only those events of a log count that need no two people, or have them."""
        ledger.backing = self.backing(ledger.order)
        return ledger

    def backing(self, order: str) -> Backing:
        """Return what tells which events of a log two people stand behind."""
        return Backing(order, lambda: self.people)

    def writer(self, order: str) -> OrderLedgerWriter:
        """Open the ledger of an order (or of the vault) for writing; recovery runs first."""
        ledger = self._ledgers.get(order)
        if ledger is None or ledger.is_closed:
            self.sizes_before.setdefault(order, published_size(order_folder(self.path, order)))
            ledger = OrderLedgerWriter(self.path, order, f"{self.host}/po/{order}", self.key, self.memory)
            self._ledgers[order] = self._backed(ledger)
        return ledger

    def keep(self, ledger: OrderLedgerWriter) -> OrderLedgerWriter:
        """Close the ledger of a new order with the session."""
        self.sizes_before.setdefault(ledger.order, 0)
        self._ledgers[ledger.order] = self._backed(ledger)
        return ledger

    def order_writer(self, order: str) -> OrderLedgerWriter:
        """Open an order that exists for writing; note in `warnings` a clock that is behind its log."""
        ledger = self.writer(self.check_order(order))
        behind = clock_behind(ledger.state, self.now_us())
        if behind is not None:
            self.warnings.append(f"order {order}: {behind}")
        return ledger

    def order_ledger(self, order: str) -> OrderLedger:
        """Open an order that exists for reading."""
        return self.ledger(self.check_order(order))

    def sources(self) -> dict[str, SourceSpec]:
        """Return the vault's sources by name."""
        return named_sources(self.ledger(RESERVED_ORDER_ID))

    def named(self, sealed: SealedOrder, names: Sequence[str] | None = None) -> list[NamedSource]:
        """Open the sources that an order names, in alias order."""
        specs, is_secret = self.sources(), self.is_secret(sealed)
        return [
            self._named_source(specs[name], name, alias, is_secret=is_secret)
            for name, alias in sorted(sealed.aliases.items(), key=lambda pair: pair[1])
            if names is None or name in names
        ]

    def named_by(self, sealed: SealedOrder, names: Collection[str]) -> list[NamedSource]:
        """Open sources by name, also those that an order does not name yet: these have no alias."""
        specs, is_secret = self.sources(), self.is_secret(sealed)
        return [
            self._named_source(specs[name], name, sealed.aliases.get(name, ""), is_secret=is_secret)
            for name in sorted(names)
        ]

    def is_secret(self, sealed: SealedOrder) -> bool:
        """Tell whether others may not learn of an order: nobody may be told of it, or a wall stands around it."""
        return sealed.order.notify is Notify.FORBIDDEN or sealed.order.id in self.people.walls

    def _named_source(self, spec: SourceSpec, name: str, alias: str, *, is_secret: bool) -> NamedSource:
        refuse_own_folders(spec, self.path, self.key_folder)
        window = None if spec.window is None else Window.parse(spec.window)
        return NamedSource(
            name,
            alias,
            spec.system,
            spec.custodian,
            spec.account,
            open_source(spec),
            window,
            spec.restricted,
            is_secret,
        )

    def pass_tools(self, ledger: OrderLedgerWriter, progress: Progress) -> PassTools:
        """Return what a pass works with."""
        return PassTools(
            ledger=ledger,
            packs=self.packs,
            catalog=self.catalog,
            vault_key=self.key,
            now_us=self.now_us,
            actor=self.actor,
            progress=progress,
        )

    def close(self, failure: StorageError | None = None) -> None:
        """Close everything that this session opened; after a failure of the store nothing more is written.

        So the first failure is the one that is said, and not what came of trying on.
        """
        for ledger in self._ledgers.values():
            ledger.close()
        self._ledgers.clear()  # they know this session, so that neither would go by itself
        if self._packs is not None:
            self._packs.__exit__(None if failure is None else type(failure), failure, None)
        if self._catalog is not None:
            self._catalog.close()


def _latest_from(times: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return, for each sequence number, the latest time from there to the end."""
    found: list[tuple[int, int]] = []
    for seq, time_us in sorted(times.items(), reverse=True):
        found.append((seq, max(time_us, found[-1][1] if found else time_us)))
    return found[::-1]


@contextmanager
def opened(
    path: Path,
    key_choice: KeyChoice,
    *,
    writing: bool,
    acting_as: ActingAs | None = None,
    clock: Callable[[], int] = acting.now_us,
    warnings: list[str] | None = None,
    yields: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[Session]:
    """Open the vault at `path` for one command, as an operator where one is given; `clock` gives microseconds.

    A writing session that `yields` ends soon after `Session.lock` is wanted. One that widened what is held ends when no
    deletion goes on that was permitted before; `tell` hears that it waits. `warnings` collects what is to be said
    beside the answer, and holds it also where the session never comes about.
    """
    choice = key_choice
    if choice.key_file is None and choice.passphrase is None:
        if read_config(path).config.passphrase is not None:
            raise InputError(f"{path}: this vault has a passphrase: give --passphrase env:NAME or file:PATH")
        choice = KeyChoice(key_file=default_key_folder())
    vault = open_vault(path, key_file=choice.key_file, passphrase=choice.passphrase)
    session = Session(vault, choice, writing=writing, clock=clock, warnings=warnings)
    who = acting_as or ActingAs()
    if writing:
        try:
            with _writing(session, who, yields=yields):
                yield session
        finally:
            _await_deletions(session, tell)
        return
    try:
        with _discreet(session):
            if who.is_somebody:
                session.act_as(who)
            yield session
    finally:
        session.close()


@contextmanager
def _writing(session: Session, who: ActingAs, *, yields: bool) -> Iterator[None]:
    """Hold the writer lock for a session, and seal first what waits to be sealed."""
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    held = WriterLock(session.path)
    with held.acquire(f"{since} {YIELDS}", _TURN_S) if yields else held.acquire(since) as lock:
        refuse_wrong_clock(session.path, session.now_us())
        session.lock = lock
        failure = None
        try:
            with _discreet(session):
                _recover_people(session)
                if who.is_somebody:
                    session.act_as(who)
                _seal_noted(session)
                _seal_refusals(session)
                _note_lapses(session)
                yield
        except StorageError as error:
            failure = error
            raise
        finally:
            session.close(failure)


def _recover_people(session: Session) -> None:
    """Bring the vault's own log to what it committed: an approval or a removal counts, though a crash hid it.

    One that is damaged, or behind, is left to whatever needs it, and to `verify` and `recover`.
    """
    with suppress(IntegrityError):
        session.writer(RESERVED_ORDER_ID)
        session.forget_people()


@contextmanager
def _discreet(session: Session) -> Iterator[None]:
    """Let no failure tell of an order that who acts may not know of, and no warning either.

    What must hold for everybody looks at every order: a log that cannot be read is named by its path, a clock by its
    order. What a person typed is left as it is, since it names nothing that he does not know.
    """
    try:
        yield
    except (IntegrityError, StorageError, SourceError, OSError) as error:
        if _tells_of(session, f"{error} {getattr(error, 'filename', None) or ''}"):
            raise BehindWall(
                "something that you may not know of is in the way: have `scelle verify` run by all counsel"
            ) from None
        raise
    finally:
        session.warnings[:] = [each for each in session.warnings if not _tells_of(session, each)]


def _tells_of(session: Session, text: str) -> bool:
    try:
        hidden = [order for order in session.every_order_named() if not session.sees(order)]
    except (ScelleError, OSError):  # the vault's own log cannot be read: who may know what is not known
        return False
    return names_any(text, hidden)


def names_any(text: str, orders: Collection[str]) -> bool:
    """Tell whether a text has the id of one of these orders, as a word of its own."""
    return any(re.search(rf"(?<![a-z0-9.-]){re.escape(order)}(?![a-z0-9-])", text) for order in orders)


def _seal_noted(session: Session) -> None:
    """Seal what was read, and what was refused, in sessions that only read since the last one that wrote."""
    noted: list[tuple[str, Noted]] = [(ACCESS, each) for each in noted_reads(session.path, session.key)]
    noted += [(REFUSED, each) for each in noted_refusals(session.path, session.key)]
    if not noted:
        return
    ledger = session.writer(RESERVED_ORDER_ID)
    for kind, each in noted:
        body = {"id": each.path.name, "at_us": str(each.time_us), **each.body}
        record_event(ledger, session.now_us(), each.actor, kind, body)
    ledger.seal(session.now_us())
    for _, each in noted:
        durable.remove(each.path)


def _seal_refusals(session: Session) -> None:
    """Seal what the guard refused since the last writing session; what is damaged there stops no command."""
    if not refusals_folder(session.path).is_dir():
        return
    from scelle.bootstrap.guarding import drain_refusals  # it stands on sessions itself

    try:
        drain_refusals(session)
    except IntegrityError as error:
        session.warnings.append(f"refusals of the guard that were not sealed yet: {error}")


def _note_lapses(session: Session) -> None:
    """Seal which orders have lapsed since the last writing session; no command fails for it."""
    from scelle.bootstrap.lapses import note_due_lapses  # it stands on sessions itself

    note_due_lapses(session)


def _await_deletions(session: Session, tell: Callable[[str], None]) -> None:
    """Wait, behind the writer lock, for the deletions that were permitted before the session sealed anything."""
    if not session.sizes_before:
        return
    from scelle.bootstrap.fencing import await_deletions  # it stands on sessions itself

    await_deletions(session, tell)


def refuse_wrong_clock(vault: Path, now_us: int) -> None:
    """Raise `ClockAhead` where this machine's clock is far ahead of what the vault saw last."""
    check_clock(now_us, newest_commit_us(vault), os.environ.get(CONFIRMED_BY))


def refuse_in_vault(session: Session, place: Path) -> None:
    """Raise InputError where something for others would be put into the vault itself."""
    if place.resolve().is_relative_to(session.path.resolve()):
        raise InputError(f"{place} lies inside the vault: what others are to have goes elsewhere")
