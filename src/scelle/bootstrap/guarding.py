"""Ask the guard over a vault's orders, and seal what it refused.

The guard looks at every order, whoever asks, and says `held` and a ref, whichever and however many hold. What says more
(`explaining`) passes the walls.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from scelle.bootstrap.explaining import explain, holds_of_item
from scelle.bootstrap.facts import LiveItem, guard_over, guarded_sources, live_item, row_facts, written_name
from scelle.bootstrap.session import Session
from scelle.capture.lookup import SealedStateSet, sealed_state_set, state_key
from scelle.errors import RefusalsDamaged, ScelleError, StorageError
from scelle.formats.schema import Schema
from scelle.guard.deletions import DeletionLock
from scelle.guard.model import Hold, Verdict
from scelle.guard.service import Guard
from scelle.guard.spool import AT_ONCE, Refusal, RefusalSpool, SpoolFile, read_spool, remove_finished
from scelle.ledger.events import events, record_event
from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedgerWriter
from scelle.orders.lifecycle import Life
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.sources.interfaces import native_text
from scelle.sources.model import SourceSpec
from scelle.sources.places import Places
from scelle.sources.registry import known_source

__all__ = [
    "Answer",
    "RowHolds",
    "VaultGuard",
    "drain_refusals",
    "explain",
    "guard_or_closed",
    "holds_of_item",
    "may_delete",
    "open_guard",
]

_NOTED_EVERY_US: Final = 5_000_000
_State: TypeAlias = tuple[int, int, int]


# --- the guard -------------------------------------------------------------------------------------------


def open_guard(session: Session, *, without: str | None = None) -> Guard:
    """Return the guard over all orders of the vault, walls or not; `without` leaves one order out.

    Files of accounts that cannot be read hold everybody's items. Raises what reading an order's log raises.
    """
    lives = {order: sealed_order(session.ledger(order)).life for order in session.all_orders()}
    return guard_over(session, {order: life for order, life in lives.items() if order != without})


def guard_or_closed(session: Session) -> Guard:
    """Return the guard; one that holds everything where any order cannot be read: no message may name which."""
    try:
        return open_guard(session)
    except (ScelleError, OSError):
        return Guard.closed(session.key)


@dataclass(frozen=True, slots=True)
class Answer:
    """What `may-delete` says of one item; ``native`` as text. It names no order, no clause, and no number of them."""

    native: str
    held: bool
    ref: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the answer as `may-delete --json` prints it."""
        return {"id": self.native, "allowed": not self.held, "held": self.held, "ref": self.ref}


def may_delete(
    session: Session,
    source: str,
    natives: Iterable[bytes],
    *,
    account: str | None = None,
    time_us: int | None = None,
) -> list[Answer]:
    """Answer whether items of a live source may be deleted, and note the refusals in the spool.

    Where not everything can be read, all are held, and `session.warnings` says so. Raises `SourceNameUnknown`.
    """
    specs, guard = guarded_sources(session), guard_or_closed(session)
    spec, places = known_source(specs, source), Places(specs)
    if guard.is_closed:
        session.warnings.append(
            "not everything that the guard needs can be read, so everything is held: an operator runs `scelle verify`"
        )
    answers, refused = [], []
    for native in natives:
        item = live_item(places, spec, native, account, time_us)
        verdict = guard.decide(*item.readings)
        answers.append(Answer(native_text(native), verdict.held, verdict.ref))
        if verdict.ref is not None:
            refused.append(_refusal(session, item, verdict, account, time_us))
    try:
        with RefusalSpool(session.path, session.key) as spool:
            spool.note(refused)
    except StorageError as error:
        session.warnings.append(f"the refusals could not be noted ({error})")
    return answers


def _refusal(
    session: Session, item: LiveItem, verdict: Verdict, account: str | None, time_us: int | None
) -> Refusal:
    """Return a refusal as it is noted: by the item's own name, whichever spelling and source was asked about."""
    is_restricted = verdict.restricted or item.is_restricted
    name = written_name(session, item.source, item.native, restricted=is_restricted)
    return Refusal(item.source, name, verdict.ref or "", session.now_us(), account, time_us)


class VaultGuard:
    """A guard for a process that goes on while orders come and end: it follows the vault's logs.

    Every question looks whether a log has grown, some microseconds for each, and reads the orders again where one has.
    Refusals are noted in the spool, at the latest with the next question after five seconds, and with `close`: a crash
    loses those in between. Keep the session open, and ask from one thread. Whatever it raises, nothing may be deleted.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._spool = RefusalSpool(session.path, session.key)
        self._refused: list[Refusal] = []
        self._seen: Mapping[str, _State] = {}
        self._lives: dict[str, Life] = {}
        self._guard = Guard.closed(session.key)
        self._specs: dict[str, SourceSpec] = {}
        self._places = Places(self._specs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Note what was refused; no question may follow."""
        self._note()
        self._spool.close()

    @property
    def guard(self) -> Guard:
        """Return the guard over the orders as they are now."""
        self._follow()
        return self._guard

    def decide(
        self, source: str, native: bytes, *, account: str | None = None, time_us: int | None = None
    ) -> Verdict:
        """Decide over an item of a live source; raises `SourceNameUnknown`."""
        self._follow()
        spec = self._specs.get(source) or known_source(self._specs, source)
        item = live_item(self._places, spec, native, account, time_us)
        verdict = self._guard.decide(*item.readings)
        if verdict.ref is not None:
            refused = _refusal(self._session, item, verdict, account, time_us)
            self._refused.append(refused)
            if len(self._refused) >= AT_ONCE or refused.at_us - self._refused[0].at_us >= _NOTED_EVERY_US:
                self._note()
        return verdict

    @contextmanager
    def deleting(
        self, source: str, native: bytes, *, account: str | None = None, time_us: int | None = None
    ) -> Iterator[Verdict]:
        """Decide over an item, and keep what was decided true while it is deleted: inside, where it is not held.

        No command that widens what is held returns before the context ends; it waits for five minutes, not for ever. So
        do inside what deletes, and no more. Raises what `decide` raises, and StorageError.
        """
        with DeletionLock(self._session.path) as lock:
            verdict = self.decide(source, native, account=account, time_us=time_us)
            if verdict.held:
                lock.release()  # nothing is deleted: nobody waits for it
            yield verdict

    def _note(self) -> None:
        self._spool.note(self._refused)
        self._refused = []

    def _follow(self) -> None:
        seen = _states_of(self._session.path)
        if seen == self._seen:
            return
        self._session.forget_people()  # a release counts where the vault's own log has its request
        found = {
            order: self._lives[order]
            if order in self._lives and self._seen.get(order) == seen.get(order)
            else sealed_order(self._session.ledger(order)).life
            for order in self._session.all_orders()
        }
        if found != self._lives or self._guard.is_closed:
            self._guard = guard_over(self._session, found)
        self._specs = guarded_sources(self._session)
        self._places = Places(self._specs)
        self._seen, self._lives = seen, found


def _states_of(vault: Path) -> dict[str, _State]:
    """Return what changes with every commit, of every log of the vault."""
    found = {}
    with os.scandir(vault / "po") as folders:
        for folder in folders:
            try:
                status = os.stat(f"{folder.path}/log/checkpoint")  # noqa: PTH116 - asked with every question
            except FileNotFoundError:  # an order that is being taken in
                continue
            found[folder.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


# --- what holds a sealed row -----------------------------------------------------------------------------


class RowHolds:
    """Tell what holds sealed rows: every live order whose log holds the row's state, or whose clauses cover the item.

    Whoever shows it to people passes it through `session.sees` first. `without` leaves one order out. The states that
    orders have sealed are read with the first question, one walk over the rows of each: 8 bytes stay for each row.
    """

    def __init__(self, session: Session, *, without: str | None = None) -> None:
        self._session = session
        self._guard = open_guard(session, without=without)
        self._specs = guarded_sources(session)
        self._states: dict[str, SealedStateSet] | None = None

    @property
    def orders(self) -> tuple[str, ...]:
        """List the orders that hold; for those inside their walls."""
        return self._guard.orders

    def of(self, source: str, schema: Schema, row: Row) -> tuple[Hold, ...]:
        """Return what holds a row of a source, named as people call it; papers and events are their order's."""
        return self._asked(source, schema, row)[0]

    def unsealed(self, source: str, schema: Schema, row: Row) -> tuple[Hold, ...]:
        """Return what holds a row for an order that has not sealed this state of it: the row may be the last copy."""
        holds, sealed_in = self._asked(source, schema, row)
        return tuple(hold for hold in holds if hold.grows and hold.order not in sealed_in)

    def _asked(self, source: str, schema: Schema, row: Row) -> tuple[tuple[Hold, ...], list[str]]:
        key = state_key(row.side)
        if key is None:
            return (), []
        sealed_in = [order for order, states in self._sealed().items() if key in states]
        facts = row_facts(self._specs.get(source), source, schema, row)
        return self._guard.holds_of(facts, sealed_in=sealed_in), sealed_in

    def _sealed(self) -> dict[str, SealedStateSet]:
        if self._states is None:
            ledger = self._session.ledger
            self._states = {order: sealed_state_set(ledger(order)) for order in self._guard.orders}
        return self._states


# --- what was refused ------------------------------------------------------------------------------------


def drain_refusals(session: Session, ledger: OrderLedgerWriter | None = None) -> int:
    """Seal the refusals that wait in the spool as events `refusals` of the vault's log; return how many.

    `ledger` is the vault's log where the caller has it open for writing. A crash after the commit leaves files of which
    the log says how many frames it has, so that none is sealed twice. Raises `RefusalsDamaged` once everything else is
    sealed where a frame does not open: its file stays.
    """
    files = list(read_spool(session.path, session.key))
    if not files:
        return 0
    ledger = session.writer(RESERVED_ORDER_ID) if ledger is None else ledger
    sealed: dict[str, set[int]] = {}
    for event in events(ledger, "refusals"):
        sealed.setdefault(event.body["spool"], set()).add(event.body["frame"])
    count = 0
    for file in files:
        for frame in sorted(
            set(range(len(file.frames))) - sealed.get(file.path.name, set()) - set(file.damaged)
        ):
            refused = [each.to_json() for each in file.frames[frame]]
            body = {"spool": file.path.name, "frame": frame, "refused": refused}
            record_event(ledger, session.now_us(), session.actor, "refusals", body)
            count += len(refused)
    if count:
        ledger.seal(session.now_us())
    for file in files:
        if not file.damaged:
            remove_finished(file)
    _refuse_damaged([file for file in files if file.damaged])
    return count


def _refuse_damaged(files: Sequence[SpoolFile]) -> None:
    if files:
        count = sum(len(file.damaged) for file in files)
        raise RefusalsDamaged(
            f"{count} frame{'s' if count > 1 else ''} of {', '.join(file.path.name for file in files)} in "
            f"{files[0].path.parent} cannot be read, and what was refused there is lost: bring the file back from a "
            "copy, or take it away"
        )
