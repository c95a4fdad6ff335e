"""Build adapters and wire services: the only place that does."""

import getpass
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scelle.capture.service import NamedSource, PassTools, Progress
from scelle.errors import CatalogStale, InputError, IntegrityError, LogBehind, OrderExists, StorageError
from scelle.formats.checkpoints import Checkpoint
from scelle.formats.entries import Gap
from scelle.formats.entries import Request as RequestEntry
from scelle.fsck.catalog import catalog_tables
from scelle.fsck.files import is_there
from scelle.ledger.clock import CONFIRMED_BY, check_clock, clock_behind, newest_commit_us
from scelle.ledger.events import events, record_event
from scelle.ledger.log import bring_lock_forward
from scelle.ledger.segments import folder_name
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger, OrderLedgerWriter, SignerMemory, order_folder
from scelle.ledger.signing import OrderSecrets, Signer
from scelle.ledger.witness import Witnesses
from scelle.orders.days import aware_instant, day_start_us
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import SealedOrder, add_order, check_order, order_ids, sealed_order
from scelle.sources.model import SourceSpec
from scelle.sources.registry import (
    check_identifier,
    named_sources,
    order_sources,
    refuse_own_folders,
)
from scelle.sources.urls import is_open_at, open_source
from scelle.vault import durable
from scelle.vault.catalog import CATALOG_NAME, Catalog, create_catalog, open_catalog
from scelle.vault.contents import CatalogContentIndex
from scelle.vault.lock import WriterLock
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend
from scelle.vault.service import OpenedVault, create_vault, open_vault, read_config

if TYPE_CHECKING:
    from scelle.find.service import Findings
    from scelle.find.service import Progress as FindProgress
    from scelle.fsck.model import VerifyReport
    from scelle.orders.intake import OrderFile
    from scelle.productions.audit_stream import StreamReport
    from scelle.productions.disclosure import Disclosure
    from scelle.productions.interfaces import Progress as ProductionProgress
    from scelle.productions.model import ProductionReport, Request, Strength, WithholdList


def now_us() -> int:
    """Return the time in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def actor() -> str:
    """Return who runs this process, as events name them."""
    name = os.environ.get("SCELLE_OPERATOR") or getpass.getuser()
    return check_identifier(name, "SCELLE_OPERATOR")


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """How the vault key is given: a key file (or the folder of key files), or a passphrase."""

    key_file: Path | None = None
    passphrase: str | None = None


def default_key_folder() -> Path:
    """Return the folder of key files where none is named: outside every vault, for this user only."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "scelle" / "keys"


class Session:
    """One opened vault. `writing` sessions hold the writer lock; reading ones run beside them."""

    def __init__(self, vault: OpenedVault, key_choice: KeyChoice, *, writing: bool) -> None:
        self.path, self.config, self.key = vault.path, vault.config, vault.key
        self.host = vault.config.host
        self.key_folder = _key_folder(key_choice)
        self.writing = writing
        self.memory = _signer_memory(vault, key_choice)
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
                may_be_read = partial(is_open_at, spec.window)
                found.append(
                    NamedSource(
                        name, alias, spec.system, spec.custodian, spec.account, source, is_open_at=may_be_read
                    )
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


def make_vault(path: Path, host: str, key_choice: KeyChoice, recipients: Sequence[str]) -> OpenedVault:
    """Make a vault and its own log; raise InputError before anything is written.

    A crash leaves no vault, or one whose own log does not begin yet: the same command again completes it.
    """
    refuse_wrong_clock(path)
    choice = key_choice
    if choice.key_file is None and choice.passphrase is None:
        folder = default_key_folder()
        durable.make_directory(folder)
        choice = KeyChoice(key_file=folder)
    vault = _unfinished_vault(path, host, choice, recipients) or create_vault(
        path, host=host, key_file=choice.key_file, passphrase=choice.passphrase, recipients=recipients
    )
    ledger = OrderLedgerWriter.create(
        path,
        RESERVED_ORDER_ID,
        host,
        vault.key,
        authority=None,
        now_us=now_us(),
        memory=_signer_memory(vault, choice),
    )
    ledger.discard_uncommitted()  # of an attempt that a crash ended: a vault is made once
    record_event(
        ledger,
        now_us(),
        actor(),
        "vault.created",
        {"vault_id": vault.config.vault_id.hex(), "recipients": list(recipients)},
    )
    ledger.seal(now_us())
    ledger.close()
    return vault


def _unfinished_vault(
    path: Path, host: str, choice: KeyChoice, recipients: Sequence[str]
) -> OpenedVault | None:
    """Open a vault that the same command began to make and did not finish; None where there is none."""
    try:
        vault = open_vault(path, key_file=choice.key_file, passphrase=choice.passphrase)
    except (InputError, IntegrityError):
        return None
    if (vault.config.host, vault.config.recipients) != (host, tuple(recipients)):
        return None
    folder = order_folder(path, RESERVED_ORDER_ID)
    if (folder / "secrets").exists():
        ledger = OrderLedger(path, RESERVED_ORDER_ID, f"{host}/po/{RESERVED_ORDER_ID}", vault.key)
        if any(True for _ in ledger.manifests()):
            return None
    return vault


def _signer_memory(vault: OpenedVault, key_choice: KeyChoice) -> SignerMemory:
    """Remember the newest (size, root) of each log beside the key file, outside the vault.

    A vault whose key is under a passphrase has no such place: there only escrow and tokens tell a restored
    snapshot from the newest state.
    """
    folder = _key_folder(key_choice)
    if folder is None:
        return SignerMemory()
    path = folder / f"{vault.config.vault_id.hex()}.signed"

    def read() -> dict[str, Any]:
        return dict(json.loads(path.read_bytes())) if path.exists() else {}

    def recall(origin: str) -> tuple[int, bytes] | None:
        found = read().get(origin)
        return None if found is None else (int(found[0]), bytes.fromhex(found[1]))

    def note(origin: str, size: int, root: bytes) -> None:
        known = read()
        known[origin] = [size, root.hex()]
        durable.write_file(path, json.dumps(known, sort_keys=True).encode() + b"\n")

    return SignerMemory(recall, note, lambda: list(read()))


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """Where an order's checkpoints go: a time-stamp authority, escrow folders."""

    tsa: str | None = None
    escrow: tuple[str, ...] = ()


def verify_vault(
    session: Session, *, sample: int | None, order: str | None, workers: int | None
) -> "VerifyReport":
    """Verify the vault; also name the logs that were there once and are gone as a whole.

    What was there is told by the vault's own log and by the signer's memory beside the key file.
    """
    from scelle.fsck.model import Finding  # start-up time of every other command
    from scelle.fsck.service import verify

    report = verify(
        session.path, session.key, sample=sample, order=order, workers=workers, recall=session.memory.recall
    )
    gone = [name for name in _expected_logs(session) if not _has_log(session.path, name)]
    if not gone or order is not None:
        return report
    findings = tuple(
        Finding("log.gone", f"order {name}", "its whole log is gone: restore it from a copy or from escrow")
        for name in gone
    )
    return replace(report, valid=False, findings=report.findings + findings)


def _expected_logs(session: Session) -> list[str]:
    known = {RESERVED_ORDER_ID} | {origin.rpartition("/")[2] for origin in session.memory.origins()}
    if _has_log(session.path, RESERVED_ORDER_ID):
        with suppress(IntegrityError, StorageError, OSError):  # verify itself says what is wrong with it
            ledger = session.ledger(RESERVED_ORDER_ID)
            known |= {str(event.body["order"]) for event in events(ledger, "order.opened")}
    return sorted(known)


def _has_log(vault: Path, order: str) -> bool:
    return is_there(order_folder(vault, order) / "log" / "lock.db")


def _key_folder(key_choice: KeyChoice) -> Path | None:
    path = key_choice.key_file
    return path if path is None or path.is_dir() else path.parent


def witnesses(ledger: OrderLedger) -> Witnesses:
    """Return what shows this log's checkpoints to others."""
    return Witnesses(ledger.log)


def show_to_witnesses(ledger: OrderLedger, reason: str | None, settings: WitnessSettings) -> list[str]:
    """Deposit and time-stamp the newest checkpoint as the order's settings say; return warnings.

    What cannot be reached now is queued and never fails the command: `status` says since when nobody else has
    seen the log.
    """
    warnings = []
    shown = witnesses(ledger)
    if settings.tsa is not None:
        from scelle.timestamps.rfc3161 import Rfc3161Authority  # start-up time: needs TLS and ASN.1

        due = reason or ("daily" if shown.is_token_due(now_us()) else None)
        if due is not None:
            shown.want_token(due, now_us())
        _, trouble = shown.fetch_tokens(Rfc3161Authority(settings.tsa), now_us())
        if trouble is not None:
            warnings.append(f"time-stamp queued: {trouble}")
    for directory in settings.escrow:
        if not Path(directory).is_dir():
            warnings.append(f"escrow folder {directory} is not there: nothing was deposited")
            continue
        shown.deposit(Path(directory), now_us())
    return warnings


def witness_settings(ledger: OrderLedger) -> WitnessSettings:
    """Return the newest settings sealed for this order."""
    settings = WitnessSettings()
    for event in events(ledger, "witnesses"):
        settings = WitnessSettings(tsa=event.body["tsa"], escrow=tuple(event.body["escrow"]))
    return settings


def set_witnesses(ledger: OrderLedgerWriter, settings: WitnessSettings) -> None:
    """Seal where this order's checkpoints go from now on."""
    body = {"tsa": settings.tsa, "escrow": list(settings.escrow)}
    record_event(ledger, now_us(), actor(), "witnesses", body)
    ledger.seal(now_us())


def take_in_order(session: Session, order_file: "OrderFile") -> OrderLedgerWriter:
    """Take an order in and note it in the vault's own log; raise `OrderExists` where it was taken in before."""
    order = order_file.order.id
    try:
        ledger = add_order(
            session.path,
            session.host,
            session.key,
            session.packs,
            order_file,
            {name: spec.to_json() for name, spec in session.sources().items()},
            now_us=now_us(),
            actor=actor(),
            memory=session.memory,
        )
    except OrderExists:
        note_order(session, order)  # the crash may have come between the two logs
        raise
    note_order(session, order)
    return session.keep(ledger)


def note_order(session: Session, order: str) -> None:
    """Seal in the vault's own log that an order was opened, so that its disappearance is noticed. Idempotent."""
    ledger = session.writer(RESERVED_ORDER_ID)
    if any(event.body["order"] == order for event in events(ledger, "order.opened")):
        return
    record_event(ledger, now_us(), actor(), "order.opened", {"order": order})
    ledger.seal(now_us())


def timestamp_now(ledger: OrderLedgerWriter, tsa: str | None) -> list[str]:
    """Ask for a token over the newest checkpoint and for all that are queued; return warnings."""
    from scelle.timestamps.rfc3161 import checked_address  # start-up time: needs TLS and ASN.1

    settings = witness_settings(ledger)
    if tsa is not None and tsa != settings.tsa:
        checked_address(tsa)
        settings = replace(settings, tsa=tsa)
        set_witnesses(ledger, settings)
    if settings.tsa is None:
        raise InputError(f"order {ledger.order} has no time-stamp authority: give one with --tsa URL")
    return show_to_witnesses(ledger, "asked", settings)


def refuse_in_vault(session: Session, place: Path) -> None:
    """Raise InputError where something for others would be put into the vault itself."""
    if place.resolve().is_relative_to(session.path.resolve()):
        raise InputError(f"{place} lies inside the vault: what others are to have goes elsewhere")


def add_escrow(session: Session, ledger: OrderLedgerWriter, directory: Path) -> tuple[Checkpoint, list[str]]:
    """Deposit the log in `directory`, now and after every later change; in the other folders as well.

    Return the checkpoint that lies there now, and warnings about the other folders.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder: make it, or mount it, first")
    refuse_in_vault(session, directory)
    place = str(directory.resolve())
    settings = witness_settings(ledger)
    witnesses(ledger).deposit(Path(place), now_us())  # refuses before anything is sealed
    if place not in settings.escrow:
        settings = replace(settings, escrow=(*settings.escrow, place))
        set_witnesses(ledger, settings)
    warnings = show_to_witnesses(ledger, None, replace(settings, tsa=None))
    return ledger.checkpoint, warnings


def expected_items(ledger: OrderLedger) -> int:
    """Return how many items the last preview or pass was offered; 0 before the first."""
    expected = 0
    for event in events(ledger):
        if event.kind in ("preview", "pass"):
            expected = sum(int(counts["offered"]) for counts in event.body["sources"].values())
    return expected


def was_drilled(session: Session) -> bool:
    """Tell whether a drill has proven that the vault key can be restored."""
    return any(True for _ in events(session.ledger(RESERVED_ORDER_ID), "key.drill"))


@dataclass(frozen=True, slots=True)
class Moved:
    """The sizes of a lock before and after it was brought forward."""

    old_size: int
    new_size: int


def recover_log(session: Session, order: str, time_us: int) -> Moved:
    """Bring an order's restored lock forward and record a gap for each of its sources."""
    if order != RESERVED_ORDER_ID:
        check_order(session.path, order)
    origin = f"{session.host}/po/{order}"
    folder = order_folder(session.path, order)
    secrets = OrderSecrets.opened(origin, (folder / "secrets").read_bytes(), session.key)
    old_size, new_size = bring_lock_forward(folder / "log", Signer(secrets))
    try:
        ledger = session.writer(order)
    except LogBehind as error:
        raise LogBehind(
            f"{folder}: more was shown than is there, and no published entry tells it: bring back a newer copy "
            "of the folder, or the entries from escrow"
        ) from error
    if new_size != old_size:
        gaps = [
            Gap(
                order,
                alias,
                (chain.watermark, max(time_us, chain.watermark + 1)),
                "restored-snapshot",
                None,
                None,
            )
            for alias, chain in sorted(ledger.state.chains.items())
            if chain.watermark is not None and not chain.ended
        ]
        record_event(ledger, time_us, actor(), "recovered", {"from_size": old_size, "to_size": new_size})
        ledger.seal(time_us, entries=gaps)
    return Moved(old_size, new_size)


def produce_package(
    session: Session,
    order: str,
    *,
    kind: str,
    name: str,
    since: str | None,
    until: str | None,
    prefix: str,
    to: Path,
    redact: Mapping[str, str],
    withhold: "WithholdList",
    progress: "ProductionProgress",
    strength: "Strength | None" = None,
    audit: Path | None = None,
    previous: Path | None = None,
) -> tuple["ProductionReport", list[str]]:
    """Log the request, answer it from the checkpoint that covers it, and seal what was handed over.

    `kind` is source, custodian, account or dimension, `name` then NAME=VALUE; `audit` is a file with an auditor's
    verdict (strength B), `previous` an earlier package of the order. Return the report and warnings. Everything that
    can be refused is refused before anything is sealed, save that events which a crash left uncommitted are sealed
    before the first number is known, and checked. The production's numbers are sealed before the package gets its
    name: a crash in between leaves numbers without a package, and never two packages with one number. The
    checkpoint of that last event is shown to nobody here, so that no keeper of escrow is ahead of the package. At
    strength B the events wait, durable, until the package is made: another segment of events would be one that the
    auditor has not seen.
    """
    from scelle.productions.previous import read_previous  # start-up time of every other command
    from scelle.productions.service import check_production, produce, read_verdict

    refuse_in_vault(session, to)
    verdict = None if audit is None else read_verdict(audit)
    earlier = None if previous is None else read_previous(previous)
    ledger = session.order_writer(order)
    sealed = sealed_order(ledger)
    request = _request(sealed, kind, name, since, until, redact, strength or (None if audit is None else "B"))
    check_production(ledger, request, out=to, prefix=prefix, first_number=1, audit=verdict, previous=earlier)
    _seal_left_events(session, ledger)
    first_number = _next_number(session, sealed.order.matter)
    query = check_production(
        ledger, request, out=to, prefix=prefix, first_number=first_number, audit=verdict, previous=earlier
    )
    digest = sha256(query.encode()).digest()
    asked = {"query": query.encode().decode(), "query_sha256": digest.hex()}
    record_event(ledger, now_us(), actor(), "production.requested", asked)
    is_waiting = query.strength == "B"
    if is_waiting:
        ledger.flush()
    ledger.seal(
        now_us(), only=() if is_waiting else None, entries=[RequestEntry(order=order, request=digest)]
    )
    settings = witness_settings(ledger)
    warnings = show_to_witnesses(ledger, "production", settings) + _failures(ledger)

    def seal_event(report: "ProductionReport") -> None:
        unmet = [each.subject for each in report.findings if each.code == "withhold.no_hit"]
        if unmet:
            raise InputError(
                f"the list withholds {', '.join(unmet[:3])}, which is no hit: compare the spelling; nothing was "
                "handed over"
            )
        name = os.fsencode(to.name).decode("utf-8", "backslashreplace")
        body = {**report.to_json(), "matter": sealed.order.matter, "file": name, "prefix": prefix}
        record_event(ledger, now_us(), actor(), "production", body)
        ledger.seal(now_us())

    report = produce(
        ledger,
        session.packs,
        request,
        out=to,
        prefix=prefix,
        first_number=first_number,
        withhold=withhold,
        audit=verdict,
        source_names={alias: called for called, alias in sealed.aliases.items()},
        holders=_holders(ledger),
        previous=earlier,
        progress=progress,
        before_publishing=seal_event,
    )
    return report, [*warnings, *(f"{each.subject}: {each.detail}" for each in report.findings)]


def _failures(ledger: OrderLedger) -> list[str]:
    """Say which sources could not give all they offered in the last pass: an answer is of what is sealed alone."""
    last = None
    for event in events(ledger, "pass"):
        last = event
    sources = {} if last is None else last.body["sources"]
    return [
        f"{name}: of {counts['offered']} items that the last pass was offered, {counts['failed'] + counts['lost']} "
        "were not sealed, and no answer has them: scelle status"
        for name, counts in sorted(sources.items())
        if counts["failed"] or counts["lost"]
    ]


def _request(
    sealed: SealedOrder,
    kind: str,
    name: str,
    since: str | None,
    until: str | None,
    redact: Mapping[str, str],
    strength: "Strength | None",
) -> "Request":
    from scelle.productions.model import Request  # start-up time of every other command

    if kind in ("account", "custodian") and name.startswith(f"{kind}:"):
        raise InputError(f"--{kind} {name}: give it without its kind: --{kind} {name.partition(':')[2]}")
    zone = sealed.order.tz()
    dimension, value = _asked(sealed, kind, name)
    return Request(
        dimension=dimension,
        value=value,
        from_us=None if since is None else moment_us(since, zone),
        until_us=None if until is None else moment_us(until, zone),
        redact=redact,
        strength=strength,
    )


def _asked(sealed: SealedOrder, kind: str, name: str) -> tuple[str, str]:
    """Return dimension and identifier of what was asked for on the command line."""
    if kind == "source":
        return "source", _alias_of(sealed, name)
    if kind != "dimension":
        return "account", f"{kind}:{check_identifier(name, f'--{kind}')}"
    dimension, separator, value = name.partition("=")
    if not separator or not dimension:
        raise InputError(f"--dimension {name}: write NAME=VALUE, for instance model=imagine-2")
    if dimension == "source":
        return dimension, sealed.aliases.get(value, value)
    return dimension, value


def _holders(ledger: OrderLedger) -> set[str]:
    """Return the custodians and accounts that an order's sources state as theirs, with their kind."""
    specs = [spec for _, spec in order_sources(events(ledger, "source"))]
    custodians = {f"custodian:{spec.custodian}" for spec in specs if spec.custodian is not None}
    return custodians | {f"account:{spec.account}" for spec in specs if spec.account is not None}


def moment_us(text: str, zone: tzinfo) -> int:
    """Return the instant of an RFC 3339 time, or of the start of a date in `zone`, in microseconds."""
    try:
        if len(text) == len("2026-01-08"):
            return day_start_us(date.fromisoformat(text), zone)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no time: use RFC 3339 (2026-01-08T14:00:00Z) or a date") from None
    if moment.tzinfo is None:
        raise InputError(f"{text!r} has no offset: write 2026-01-08T14:00:00Z, or a date in the order's zone")
    return aware_instant(moment)


def _alias_of(sealed: SealedOrder, name: str) -> str:
    if name not in sealed.aliases:
        there = ", ".join(sorted(sealed.aliases)) or "none"
        raise InputError(f"order {sealed.order.id} has no source {name!r}: its sources are {there}")
    return sealed.aliases[name]


def _seal_left_events(session: Session, ledger: OrderLedgerWriter) -> None:
    """Seal the events that a crash left durable and uncommitted, of every order: they may speak of productions.

    Otherwise their numbers would be given out again, and the log would state them twice.
    """
    for order in order_ids(session.path):
        folder = order_folder(session.path, order) / "seg" / folder_name(EVENTS_SOURCE)
        if any(folder.glob("*.open")):
            writer = ledger if order == ledger.order else session.writer(order)
            writer.seal(now_us(), only=(EVENTS_SOURCE,))


def _next_number(session: Session, matter: str) -> int:
    """Return the first production number that the matter has not used, over all its orders."""
    numbers = [1]
    for order in order_ids(session.path):
        for event in events(session.ledger(order), "production"):
            if event.body["matter"] == matter:
                numbers.append(int(event.body["next_number"]))
    return max(numbers)


def disclose_record(
    session: Session,
    order: str,
    *,
    item: str,
    redact: Mapping[str, str],
    to: Path,
    progress: "ProductionProgress",
) -> tuple["Disclosure", list[str]]:
    """Write the proof of one record, and seal that it was handed over; return the report and warnings.

    The event is sealed before the proof gets its name: a crash in between leaves an event without a proof.
    """
    from scelle.productions.disclosure import disclose  # start-up time of every other command

    refuse_in_vault(session, to)
    ledger = session.order_writer(order)
    sealed = sealed_order(ledger)

    def seal_event(report: "Disclosure") -> None:
        name = os.fsencode(to.name).decode("utf-8", "backslashreplace")
        record_event(ledger, now_us(), actor(), "disclosure", {**report.to_json(), "file": name})
        ledger.seal(now_us())

    report = disclose(
        ledger,
        session.key,
        item,
        out=to,
        redact=redact,
        source_names={alias: called for called, alias in sealed.aliases.items()},
        progress=progress,
        before_publishing=seal_event,
    )
    return report, show_to_witnesses(ledger, None, witness_settings(ledger))


def write_audit_stream(
    session: Session, order: str, *, source: str | None, to: Path, progress: "ProductionProgress"
) -> tuple["StreamReport", list[str]]:
    """Seal that a stream is made for an auditor, then write it; return the report and warnings.

    Sealed first, so that the segment of that event is among those audited: whatever is sealed after it is not, and
    stands in the way of strength B for every question that touches it.
    """
    from scelle.productions.audit_stream import write_stream  # start-up time of every other command
    from scelle.productions.scratch import refuse_place

    refuse_in_vault(session, to)
    refuse_place(to)
    ledger = session.order_writer(order)
    alias = None if source is None else _alias_of(sealed_order(ledger), source)
    name = os.fsencode(to.name).decode("utf-8", "backslashreplace")
    record_event(ledger, now_us(), actor(), "audit.stream", {"source": alias, "file": name})
    ledger.seal(now_us())
    warnings = show_to_witnesses(ledger, None, witness_settings(ledger))
    return write_stream(ledger, out=to, source=alias, progress=progress), warnings


def find_items(session: Session, order: str, query: str, limit: int, progress: "FindProgress") -> "Findings":
    """Find what is sealed under an order by its metadata; dates of the query are days in the order's zone."""
    from scelle.find.service import find  # start-up time of every other command

    ledger = session.order_ledger(order)
    sealed = sealed_order(ledger)
    return find(
        ledger,
        query,
        zone=sealed.order.tz(),
        names={alias: name for name, alias in sealed.aliases.items()},
        vault_key=session.key,
        limit=limit,
        progress=progress,
    )
