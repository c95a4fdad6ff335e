"""Record into an order's `generation` source, and seal it as it goes, in a process beside the one that serves."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Self

from scelle.bootstrap.orders import refuse_capture
from scelle.bootstrap.restricted import with_compartment
from scelle.bootstrap.session import Session
from scelle.capture.model import Counts
from scelle.capture.service import run_pass
from scelle.errors import RecorderUnavailable, ScelleError, StorageError, VaultBusy
from scelle.ledger.events import events
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order, with_accounts
from scelle.safeguards.recorder.model import UNREGISTERED, check_surface
from scelle.safeguards.recorder.surfaces import KINDS, Surface, surfaces_of
from scelle.sources.addresses import local_root
from scelle.sources.registry import refuse_own_folders
from scelle.vault.lock import WriterLock

Opening = Callable[[], AbstractContextManager[Session]]
Say = Callable[[str], None]

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
    """Where a surface is recorded: the source of an order, its folder, and whether the surface is registered."""

    order: str
    source: str
    root: Path
    is_registered: bool


def surfaces(session: Session) -> dict[str, Surface]:
    """Return every surface that is registered, or was found without being."""
    return surfaces_of(events(session.ledger(RESERVED_ORDER_ID), *KINDS))


def recording_place(session: Session, order: str, source: str | None, surface: str) -> RecordingPlace:
    """Find where to record; raises InputError, and OrderOver where nothing is captured any more."""
    check_surface(surface)
    sealed = sealed_order(session.order_ledger(order))
    refuse_capture(session, sealed)
    specs = session.sources()
    names = [name for name in sorted(sealed.aliases) if name in specs and specs[name].scheme == "generation"]
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
    refuse_own_folders(spec, session.path, session.key_folder)
    root = Path(os.fsdecode(local_root(spec) or b""))
    if not root.is_dir():
        raise RecorderUnavailable(f"{root}: a recorder writes to a folder: make it, or add another source")
    found = surfaces(session).get(surface)
    return RecordingPlace(order, spec.name, root, found is not None and found.is_registered)


def note_unregistered(session: Session, surface: str) -> None:
    """Seal, once, that a surface serves that nobody registered; it names no order."""
    if surface not in surfaces(session):
        session.record(UNREGISTERED, {"name": surface})


class Sealer:
    """Seal what is recorded from time to time, in a process of its own: serving does not wait for it.

    Make it before there is another thread: it is forked, so that it has the keys. It ends with the context, or with the
    process that made it, and seals what is left only where it is told to `end`.
    """

    def __init__(self, opening: Opening, order: str, source: str, every_s: float, say: Say) -> None:
        context = multiprocessing.get_context("fork")
        self._here, there = context.Pipe()
        self._process = context.Process(
            target=_seal_on, args=(opening, order, source, every_s, say, there, self._here), daemon=False
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
    opening: Opening, order: str, source: str, every_s: float, say: Say, inbox: Connection, other: Connection
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
            counts.add(_pass(opening, order, source, is_ending))
            error = ""
        except ScelleError as failure:
            if str(failure) != error:
                say(f"{source}: not sealed: {failure}")
            error = str(failure)
        wait_s = max(every_s, _SHARE * (time.monotonic() - began_s))
    with suppress(OSError):
        inbox.send({"error": error} if error else {"counts": counts.to_json()})


def _pass(opening: Opening, order: str, source: str, is_last: bool) -> Counts:
    """Run one pass over the source, in a turn of its own; raises ScelleError."""
    with _turn(opening, patient=is_last) as session:
        ledger = session.order_writer(order)
        sealed = with_accounts(sealed_order(ledger), session.packs)
        refuse_capture(session, sealed)
        vault = session.path
        tools = with_compartment(session, session.pass_tools(ledger, lambda name, counts: None))
        report = run_pass(tools, sealed.clauses, session.named(sealed, [source]))
    _let_others(WriterLock(vault))
    taken = report.sources[0]
    if taken.unreachable is not None:
        raise StorageError(f"it could not be read: {taken.unreachable}")
    return taken.counts


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
