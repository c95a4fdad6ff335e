"""Record into an order's `generation` source, and seal it as it goes, in a process beside the one that serves."""

import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from scelle.bootstrap.orders import refuse_capture
from scelle.bootstrap.restricted import known_compartment, with_compartment
from scelle.bootstrap.session import Session
from scelle.capture.model import Counts
from scelle.capture.service import run_pass
from scelle.errors import InputError, RecorderUnavailable, ScelleError, StorageError, SurfaceWrong, VaultBusy
from scelle.ledger.events import events
from scelle.orders.days import load_zone, moment_us
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order, with_accounts
from scelle.safeguards.gate.proofs import Proof
from scelle.safeguards.gate.sealing import EVENT_KIND as PROOF_SEALED
from scelle.safeguards.gate.sealing import seal_proof
from scelle.safeguards.recorder.canary import Verdict
from scelle.safeguards.recorder.lanes import check_one_file_system
from scelle.safeguards.recorder.model import UNREGISTERED, check_new_surface, check_surface
from scelle.safeguards.recorder.surfaces import (
    ADDED,
    CANARY,
    KINDS,
    RETIRED,
    Surface,
    known_surface,
    surfaces_of,
)
from scelle.sources.addresses import local_root
from scelle.sources.model import SourceSpec
from scelle.sources.registry import refuse_own_folders
from scelle.vault.lock import WriterLock

Opening = Callable[[], AbstractContextManager[Session]]
Say = Callable[[str], None]

_TEXT_MAX: Final = 200
DECISIONS: Final = ("allow", "block")
EVERY_S: Final = 60.0
"""So often what was recorded is sealed, at most."""
_SHARE: Final = 10
"""Passes take at most one part in so many of the time: each reads the whole source for its checks."""
_NICE: Final = 10
_YIELD_S: Final = 5.0
_PAUSE_S: Final = 0.02
_END: Final = "end"


@dataclass(frozen=True, slots=True)
class RecordingPlace:
    """Where a surface is recorded: the source of an order, its folder, and whether the surface is registered.

    `restricted_source` takes what is kept from everybody's sight, where there is one.
    """

    order: str
    source: str
    root: Path
    is_registered: bool
    restricted_source: str | None = None
    restricted_root: Path | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that are written to."""
        return (self.source,) if self.restricted_source is None else (self.source, self.restricted_source)


def surfaces(session: Session) -> dict[str, Surface]:
    """Return every surface that is registered, or was found without being."""
    return surfaces_of(events(session.ledger(RESERVED_ORDER_ID), *KINDS))


def recording_place(
    session: Session, order: str, source: str | None, surface: str, restricted_source: str | None = None
) -> RecordingPlace:
    """Find where to record; raises InputError, and OrderOver where nothing is captured any more."""
    check_new_surface(surface)
    sealed = sealed_order(session.order_ledger(order))
    refuse_capture(session, sealed)
    specs = session.sources()
    names = [name for name in sorted(sealed.aliases) if name in specs and specs[name].scheme == "generation"]
    shut = [name for name in names if specs[name].restricted]
    is_known = restricted_source in specs and specs[restricted_source].restricted
    if is_known and restricted_source not in sealed.aliases:
        raise RecorderUnavailable(
            f"source {restricted_source} is restricted, but no clause of order {order} names it: add one "
            "(`scelle order add-clause`)"
        )
    if restricted_source is not None and restricted_source not in shut:
        raise RecorderUnavailable(
            f"source {restricted_source} is no restricted generation source of order {order}: it has "
            f"{', '.join(shut) or 'none'} (`scelle source add NAME generation:///DIR --restricted`)"
        )
    names = [name for name in names if name not in shut or name == source]
    if source is not None and source not in names:
        raise RecorderUnavailable(
            f"source {source} is no generation source of order {order}: it has {', '.join(names) or 'none'}"
        )
    if source is None and len(names) != 1:
        raise RecorderUnavailable(
            f"order {order} has {len(names)} generation sources: name one with --source"
            if names
            else f"order {order} has no generation source: add one (`scelle source add ai generation:///srv/ai`) and "
            "name it in a clause"
        )
    spec = specs[source or names[0]]
    root = _folder(session, spec)
    apart = None if restricted_source is None else _folder(session, specs[restricted_source])
    if apart is not None:
        known_compartment(session)
        check_one_file_system(root, apart)
    found = surfaces(session).get(surface)
    is_registered = found is not None and found.is_registered
    return RecordingPlace(order, spec.name, root, is_registered, restricted_source, apart)


def source_folder(session: Session, name: str) -> Path:
    """Return the folder of a generation source, by its name; raises RecorderUnavailable."""
    spec = session.sources().get(name)
    if spec is None or spec.scheme != "generation":
        raise RecorderUnavailable(f"source {name} is no generation source any more: add it again")
    return _folder(session, spec)


def _folder(session: Session, spec: SourceSpec) -> Path:
    refuse_own_folders(spec, session.path, session.key_folder)
    root = Path(os.fsdecode(local_root(spec) or b""))
    if not root.is_dir():
        raise RecorderUnavailable(
            f"{root}: there is no such folder: mount it, or make it (a new folder begins a new chain)"
        )
    return root


def reconciliation_times(session: Session, order: str, since: str, until: str) -> tuple[int, int]:
    """Read a period (RFC 3339, or dates in the order's zone) as microseconds; raises InputError."""
    zone = load_zone(sealed_order(session.order_ledger(order)).order.zone)
    since_us, until_us = moment_us(since, zone), moment_us(until, zone)
    if since_us >= until_us:
        raise InputError(f"--from {since} is not before --to {until}: nothing lies between them")
    return since_us, until_us


def note_unregistered(session: Session, surface: str) -> None:
    """Seal, once, that a surface serves that nobody registered, or that was retired; it names no order."""
    found = surfaces(session).get(surface)
    if found is None or found.is_retired:
        session.record(UNREGISTERED, {"name": surface})


def note_proof(session: Session, order: str, proof: Proof) -> None:
    """Seal the proof of a policy that is to decide, once for each bundle; the checkpoint over it signs it."""
    ledger = session.order_writer(order)
    sealed = [each.body["proof"]["bundle_digest"] for each in events(ledger, PROOF_SEALED)]
    if proof.bundle_digest not in sealed:
        seal_proof(ledger, session.now_us(), session.actor, proof)
        ledger.seal(session.now_us())


def register_surface(session: Session, surface: Surface) -> Surface | None:
    """Seal a surface and what is required of it; return its earlier registration, if any. Raises SurfaceWrong."""
    check_new_surface(surface.name)
    if surface.expects not in DECISIONS:
        raise SurfaceWrong(
            f"surface {surface.name}: a canary expects {' or '.join(DECISIONS)}, not {surface.expects!a}"
        )
    if surface.bundle is not None and re.fullmatch(r"[0-9a-f]{64}", surface.bundle) is None:
        raise SurfaceWrong(
            f"surface {surface.name}: a bundle is named by its SHA-256 in 64 lower-case hex digits"
        )
    for option, text in (("--owner", surface.owner), ("--build", surface.build)):
        if text is not None and (not text.isprintable() or not 0 < len(text) <= _TEXT_MAX):
            raise SurfaceWrong(
                f"surface {surface.name}: {option} is 1 to {_TEXT_MAX} characters that can be printed"
            )
    _check_canary_url(surface)
    before = surfaces(session).get(surface.name)
    session.record(ADDED, surface.to_event())
    return before if before is not None and before.url is not None else None


def _check_canary_url(surface: Surface) -> None:
    try:
        parts = urlsplit(surface.url or "")
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or "@" in parts.netloc or parts.query or parts.fragment:
        raise SurfaceWrong(
            f"surface {surface.name}: its URL is http:// or https://, a host and perhaps a port and a path; no user "
            "name, no query"
        )
    if parts.path.rstrip("/").endswith("/v1"):
        raise SurfaceWrong(f"surface {surface.name}: --url is its address without /v1: leave that out")


def retire_surface(session: Session, name: str, reason: str) -> Surface:
    """Seal that a surface is no more, and how it stood until then, which is returned; raises SurfaceWrong."""
    surface = surfaces(session).get(check_surface(name))
    if surface is None or surface.is_retired:
        raise SurfaceWrong(
            f"no surface {name} is there to be retired: `scelle surface list` shows those that are"
        )
    state = surface.state(session.now_us())
    session.record(RETIRED, {"name": name, "reason": reason, "state": state.value})
    return surface


def canary_targets(session: Session, name: str | None) -> list[Surface]:
    """Return the registered surfaces that canaries go to, or the one that is named; raises SurfaceWrong."""
    found = surfaces(session)
    if name is None:
        return [each for _, each in sorted(found.items()) if each.is_registered and each.is_recorded]
    surface = known_surface(found, name)
    if not surface.is_recorded:
        raise SurfaceWrong(f"surface {name} is registered as not recorded: no canary goes to it")
    return [surface]


def seal_verdicts(session: Session, verdicts: Sequence[Verdict]) -> None:
    """Seal how canaries were decided."""
    for each in verdicts:
        session.record(CANARY, each.to_event())


class Sealer:
    """Seal what is recorded from time to time, in a process of its own: serving does not wait for it.

    Make it before there is another thread: it is forked, so that it has the keys. It ends with the context, or with the
    process that made it, and seals what is left only where it is told to `end`.
    """

    def __init__(
        self, opening: Opening, order: str, sources: Sequence[str], every_s: float, say: Say
    ) -> None:
        context = multiprocessing.get_context("fork")
        self._here, there = context.Pipe()
        self._process = context.Process(
            target=_seal_on, args=(opening, order, sources, every_s, say, there, self._here), daemon=False
        )
        self._process.start()
        there.close()

    def end(self) -> dict[str, Any]:
        """Seal what is left and end; return what was sealed, or why it was not (`error`)."""
        found: dict[str, Any] = {"error": "the process that seals has ended: run `scelle preserve`"}
        with suppress(OSError, EOFError):
            self._here.send(_END)
            found = self._here.recv()
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._here.close()
        self._process.join()


def _seal_on(
    opening: Opening,
    order: str,
    sources: Sequence[str],
    every_s: float,
    say: Say,
    inbox: Connection,
    other: Connection,
) -> None:
    """Run passes until told to end, or until nobody is there to tell."""
    other.close()  # else this process would keep itself alive
    for each in (signal.SIGTERM, signal.SIGINT):  # sent to a whole group; who serves ends first
        signal.signal(each, signal.SIG_IGN)
    os.nice(_NICE)
    counts, wait_s, error = Counts(), every_s, ""
    is_ending = False
    while not is_ending:
        try:
            is_ending = inbox.poll(wait_s) and inbox.recv() == _END
        except (EOFError, OSError):
            return
        began_s = time.monotonic()
        try:
            counts.add(_pass(opening, order, sources, is_ending))
            error = ""
        except ScelleError as failure:
            if str(failure) != error:
                say(f"{' '.join(sources)}: not sealed: {failure}")
            error = str(failure)
        wait_s = max(every_s, _SHARE * (time.monotonic() - began_s))
    with suppress(OSError):
        inbox.send({"error": error} if error else {"counts": counts.to_json()})


def _pass(opening: Opening, order: str, sources: Sequence[str], is_last: bool) -> Counts:
    """Run one pass over the sources, in a turn of its own; raises ScelleError."""
    with _turn(opening, patient=is_last) as session:
        ledger = session.order_writer(order)
        sealed = with_accounts(sealed_order(ledger), session.packs)
        refuse_capture(session, sealed)
        vault = session.path
        tools = with_compartment(session, session.pass_tools(ledger, lambda name, counts: None))
        report = run_pass(tools, sealed.clauses, session.named(sealed, list(sources)))
    _let_others(WriterLock(vault))
    counts = Counts()
    for taken in report.sources:
        if taken.unreachable is not None:
            raise StorageError(f"it could not be read: {taken.unreachable}")
        counts.add(taken.counts)
    return counts


@contextmanager
def _turn(opening: Opening, *, patient: bool) -> Iterator[Session]:
    """Open the vault for writing; whoever else writes is waited for, at the end for as long as it takes."""
    while True:
        entered = opening()
        try:
            session = entered.__enter__()
            break
        except VaultBusy:
            if not patient:
                raise
    failure: BaseException | None = None
    try:
        yield session
    except BaseException as raised:
        failure = raised
        raise
    finally:
        kind = None if failure is None else type(failure)
        entered.__exit__(kind, failure, None if failure is None else failure.__traceback__)


def _let_others(lock: WriterLock) -> None:
    """Wait until whoever wanted the vault has it."""
    until_s = time.monotonic() + _YIELD_S
    while lock.is_wanted and time.monotonic() < until_s:
        time.sleep(_PAUSE_S)
