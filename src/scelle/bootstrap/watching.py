"""Keep sealing what changes in databases, for every order that asks for it, until told to stop.

One stream serves all orders over a source, so that the database's people see neither an order nor how many there are.
The watcher holds the vault's writer lock in turns: whoever else must write gets it within a second, and the stream
waits meanwhile, unconfirmed, so that nothing is lost. Each turn reads orders and clauses anew.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scelle.bootstrap.orders import refuse_capture
from scelle.bootstrap.restricted import with_compartment
from scelle.bootstrap.session import Session
from scelle.bootstrap.store_guards import (
    claiming_orders,
    claims_digest,
    forget_kept,
    guarded_sources,
    kept_rows,
    note_let_go,
    old_row,
    probe_guard,
    refresh_guard,
)
from scelle.capture.entries import closing_gap, open_gaps
from scelle.capture.interfaces import NamedSource, PassTools, clauses_over
from scelle.capture.live import SEALED, LiveCapture, Seam
from scelle.capture.model import Counts, PassReport, SourceReport
from scelle.capture.service import run_pass
from scelle.capture.watch_state import (
    WatchState,
    new_lineage,
    read_state,
    slot_name,
    watch_lock,
    write_state,
)
from scelle.errors import GuardWrong, OrderOver, SourceError, SourceUnreadable, VaultBusy
from scelle.formats.entries import Gap
from scelle.ledger.crew import spare_cores
from scelle.ledger.events import events, record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.orders.service import sealed_order, with_accounts
from scelle.sources.interfaces import ChangeStream
from scelle.sources.postgres import PostgresSource
from scelle.sources.postgres.pgoutput import lsn_text, parse_lsn
from scelle.vault.keys import VaultKey
from scelle.vault.lock import WriterLock

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is watched
    from scelle.sources.postgres.slots import Server
    from scelle.sources.postgres.watched import Standing, WatchedDatabase

BEGAN: Final = "watch.began"
"""The event that says from where on a source is watched for an order: the stream, and the snapshot that it joins."""
CONNECTION_LOST: Final = "connection-lost"
STREAM_BROKEN: Final = "stream-broken"
NOT_PUBLISHED: Final = "table-not-published"

GROUP_S: Final = 0.25
"""So long a change waits for others before it is made durable."""
GROUP_BYTES: Final = 16 << 20
SEAL_S: Final = 15 * 60.0
"""So often what was captured is sealed, changes or none: the heartbeat."""
EVERY_S: Final = 300.0
"""So often a pass is run over sources that have no stream."""
HOLD_S: Final = 0.5
"""The lock is held for at least so long: two watches of one vault would do nothing but hand it over."""
YIELD_S: Final = 5.0
"""So long at most it is waited for those who want the lock to take it."""
TRY_S: Final = 1.0
"""So often it is tried to take a stream over that another process reads."""
LOOK_S: Final = 2.0
"""So often the server is asked how the stream stands, and told how far it may forget where nothing came."""
DRAIN_S: Final = 0.5
"""So often what the guard kept is fetched."""
PROBE_S: Final = 60.0
"""So often the guard is probed."""
RETRY_S: Final = 15.0
"""So long at most it is waited before a broken stream is tried again: first a moment, then twice as long each time."""
GIVE_UP_S: Final = 30.0
"""A watch that is to end when it has caught up ends where a stream is broken for longer."""
LOST_S: Final = 3.0
"""A stream that is broken for longer opens a gap."""
_ROW_WAL_BYTES: Final = 8
_RECEIVE_S: Final = 0.1
_PAUSE_S: Final = 0.2
_YIELD_PAUSE_S: Final = 0.01

Opening = Callable[[], AbstractContextManager[Session]]
Say = Callable[[str], None]


@dataclass(slots=True)
class Watched:
    """One source that is watched: its stream, how far it was received, and how far it is durable (`state`)."""

    name: str
    slot: str
    database: "WatchedDatabase"
    state: WatchState
    stream: ChangeStream | None = None
    received: int = 0
    target: int = 0
    unflushed_s: float | None = None
    looked_s: float = 0.0
    broken_s: float | None = None
    pause_s: float = 0.0
    retry_s: float = 0.0
    """A broken stream is not tried before."""
    captures: dict[str, LiveCapture] = field(default_factory=dict)
    is_guarded: bool = False
    claims: str = ""
    """What the database's guard was told last of the orders' claims."""
    sealed_s: float = 0.0
    is_mine: bool = False
    """Whether this process reads the stream; else it stands by."""
    is_said: bool = False
    left_out: tuple[str, ...] = ()
    """Tables that cannot be published: what happens to them is not captured."""
    is_guard_silent: bool = False
    most: int | None = None
    """How many rows can have been written between the last stream and this one; None where nobody knows."""
    drained_s: float = 0.0
    probed_s: float = 0.0

    def token(self, reached: int) -> bytes:
        """Write where the stream stands, for manifests."""
        from scelle.sources.postgres.watched import position_token  # the driver is an extra

        return position_token(self.state.system_id, self.state.timeline, self.slot, reached)

    def close_stream(self) -> None:
        """Let the stream go; what was not confirmed comes again."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None


@dataclass(slots=True)
class WatchReport:
    """What a watch did for the order it was started for: counts by source, where each stream stands, open gaps."""

    order: str
    counts: dict[str, Counts] = field(default_factory=dict)
    reached: dict[str, str] = field(default_factory=dict)
    passes: list[PassReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return what `watch --json` prints."""
        sources = {
            name: {**counts.to_json(), "reached": self.reached.get(name)}
            for name, counts in self.counts.items()
        }
        return {
            "order": self.order,
            "sources": sources,
            "snapshots": [each.to_json() for each in self.passes],
            "gaps": len(self.gaps),
            "notes": self.notes,
        }


class Watcher:
    """Watch the sources of one order; other orders that are watched over the same sources are served as well."""

    def __init__(
        self,
        opening: Opening,
        order: str,
        *,
        until_caught_up: bool = False,
        every_s: float = EVERY_S,
        should_stop: Callable[[], bool] = lambda: False,
        say: Say = lambda line: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opening, self._order = opening, order
        self._until_caught_up, self._should_stop = until_caught_up, should_stop
        self._say, self._clock_s = say, clock_s
        self._watched: list[Watched] = []
        self._others: list[str] = []
        """The sources that have no stream: a pass over them is run every so often."""
        self._every_s, self._passed_s = every_s, -math.inf
        self._is_over = False
        """Whether nothing may be captured under the order any more."""
        self.report = WatchReport(order)

    def run(self) -> WatchReport:
        """Watch until told to stop, or caught up; raises InputError, and SourceError where it cannot begin."""
        try:
            with ExitStack() as stack:
                with self._turn_open() as session:
                    self._begin(session)
                while True:
                    self._take_over(session.path, session.key, stack)
                    if self._others or any(each.is_mine for each in self._watched):
                        self._turn()
                        self._let_others(WriterLock(session.path))
                    else:
                        time.sleep(_PAUSE_S)
                    if self._is_done():
                        return self.report
        except VaultBusy:
            if not self._should_stop():
                raise
            return (
                self.report
            )  # another command writes: what was captured is durable, and is sealed next time
        finally:
            for each in self._watched:
                each.close_stream()
                each.database.close()

    def _is_done(self) -> bool:
        if self._should_stop() or self._is_over:
            return True
        if not self._until_caught_up or (self._others and self._passed_s == -math.inf):
            return False
        return all(each.state.confirmed >= each.target for each in self._watched)

    # --- begin

    def _begin(self, session: Session) -> None:
        ledger = session.order_writer(self._order)
        sealed = sealed_order(ledger)
        refuse_capture(session, sealed)
        for named in session.named(sealed):
            if not isinstance(named.source, PostgresSource):
                self._others.append(named.name)
                continue
            slot = slot_name(session.key, named.name)
            each = self._prepared(session, named, named.source, slot)
            self._watched.append(each)
            self._join(session, each, self._order)
            self.report.counts[named.name] = Counts()
            each.target = each.database.end()

    def _take_over(self, vault: Path, key: VaultKey, stack: ExitStack) -> None:
        """Become the reader of every stream that no other process reads; who reads one serves this order, too."""
        for each in self._watched:
            if each.is_mine:
                continue
            try:
                stack.enter_context(watch_lock(vault, each.slot))
                each.is_mine = True
            except VaultBusy:
                if not each.is_said:
                    self._say(f"{each.name}: another process watches it, this one stands by")
                    each.is_said = True
                each.state = read_state(vault, key, each.slot) or each.state

    def _prepared(self, session: Session, named: NamedSource, source: PostgresSource, slot: str) -> Watched:
        """Make what the stream needs, and find out whether it continues what is durable."""
        from scelle.sources.postgres.watched import WatchedDatabase  # the driver is an extra

        database = WatchedDatabase(source.settings, slot)
        state = read_state(session.path, session.key, slot)
        if state is not None:
            each = Watched(named.name, slot, database, state)
            self._look(session, each)
            return each
        orders = list(self._watching(session, named.name))
        state = self._new_state(session, database, slot, tuple(order for order, _ in orders))
        for order, since_us in orders:  # where the last stream ended is forgotten
            self._declare(session, order, named.name, "state-lost", since_us)
        return Watched(named.name, slot, database, state)

    def _watching(self, session: Session, name: str) -> Iterator[tuple[str, int]]:
        """Yield the orders that were ever watched over a source, each with when that was sealed last (microseconds)."""
        for order in session.all_orders():
            ledger = session.ledger(order)
            alias = sealed_order(ledger).aliases.get(name)
            seen = [event.time_us for event in events(ledger, BEGAN, SEALED) if event.body["source"] == alias]
            if seen:
                yield order, seen[-1]

    def _new_state(
        self, session: Session, database: "WatchedDatabase", slot: str, joining: tuple[str, ...]
    ) -> WatchState:
        """Make slot and publications, and remember where the stream begins before anything is read behind it.

        A crash leaves the state with the orders that are still to join: nothing is confirmed before they have.
        """
        database.prepare()
        standing = database.look()
        server = standing.server
        if standing.slot is None:
            raise SourceUnreadable(
                f"slot {slot} of {database.settings.place} went as soon as it was made: run again"
            )
        state = WatchState(
            new_lineage(),
            server.system_id,
            server.timeline,
            standing.slot.confirmed_lsn,
            server.time_us,
            joining,
        )
        write_state(session.path, session.key, slot, state)
        return state

    def _join(self, session: Session, each: Watched, order: str, most: int | None = None) -> None:
        """Seal what is there now, in a snapshot that the stream joins without a seam; once for each stream.

        The event is sealed with the pass: a crash before leaves neither, and the pass goes on when it is run again.
        """
        ledger = session.writer(order)
        sealed = sealed_order(ledger)
        alias = sealed.aliases[each.name]
        if _began(ledger, alias, each.state.lineage) is None:
            (named,) = session.named(sealed, [each.name])
            source = named.source
            assert isinstance(source, PostgresSource)  # noqa: S101  `_begin` has looked

            def joined(sources: Sequence[SourceReport]) -> None:
                if sources[0].unreachable is None and source.seam is not None:
                    sees, lsn = source.seam
                    body = {"source": alias, "lineage": each.state.lineage, "slot": each.slot}
                    record_event(
                        ledger, session.now_us(), session.actor, BEGAN, {**body, "sees": sees, "lsn": lsn}
                    )

            tools = replace(self._tools(session, ledger), lost_at_most=most, at_end=joined)
            report = run_pass(tools, with_accounts(sealed, session.packs).clauses, [named])
            if order == self._order:
                self.report.passes.append(report)
            unreachable = report.sources[0].unreachable
            if unreachable is not None:
                raise SourceUnreadable(f"{each.name} could not be read to its end: {unreachable}")
        if order in each.state.joining:
            left = tuple(name for name in each.state.joining if name != order)
            each.state = replace(each.state, joining=left)
            write_state(session.path, session.key, each.slot, each.state)

    def _join_all(self, session: Session, each: Watched) -> None:
        """Let every order join that the last stream was captured for; raises SourceError where one cannot yet."""
        for order in each.state.joining:
            self._join(session, each, order, each.most)
        each.captures = dict(self._captures(session, each))

    def _tools(self, session: Session, ledger: OrderLedgerWriter) -> PassTools:
        return with_compartment(session, session.pass_tools(ledger, lambda name, counts: None))

    # --- turns

    def _turn(self) -> None:
        """Hold the lock until somebody wants it, or it is done; seal what was captured before letting go."""
        with self._turn_open() as session:
            begun_s, mine = self._clock_s(), [each for each in self._watched if each.is_mine]
            for each in mine:
                self._refresh(session, each)
                self._refresh_guard(session, each)
                each.captures = dict(self._captures(session, each))
            while not (self._is_done() or self._is_to_end(session, begun_s, len(mine))):
                for each in mine:
                    self._step(session, each)
                if self._others and self._clock_s() - self._passed_s >= self._every_s:
                    self._pass_over_others(session)
                elif all(each.stream is None for each in mine):
                    time.sleep(_PAUSE_S)
                self._seal(session, mine, is_end=False)
            for each in mine:
                if each.is_guarded and each.stream is not None:
                    each.drained_s = -DRAIN_S
                    self._try_guard(session, each, self._clock_s())
            self._seal(session, mine, is_end=True)
            ledger = session.ledger(self._order)
            self.report.gaps = [gap for _, gap in open_gaps(ledger)]
            for each in mine:
                each.captures = {}

    def _is_to_end(self, session: Session, begun_s: float, mine: int) -> bool:
        """Tell whether the lock is to be let go: somebody waits for it, or it is time to try a stream of another's."""
        held_s = self._clock_s() - begun_s
        is_wanted = session.lock is not None and session.lock.is_wanted
        return held_s >= HOLD_S and (is_wanted or (mine < len(self._watched) and held_s >= TRY_S))

    def _pass_over_others(self, session: Session) -> None:
        """Seal what the sources without a stream have now."""
        ledger = session.order_writer(self._order)
        sealed = with_accounts(sealed_order(ledger), session.packs)
        named = session.named(sealed, [name for name in self._others if name in sealed.aliases])
        report = run_pass(self._tools(session, ledger), sealed.clauses, named)
        self._passed_s = self._clock_s()
        for each in report.sources:
            self.report.counts.setdefault(each.name, Counts()).add(each.counts)
            if each.unreachable is not None:
                self._say(f"{each.name}: {each.unreachable}")

    def _refresh(self, session: Session, each: Watched) -> None:
        """Learn what another process did to a stream since the last turn."""
        each.sealed_s = each.sealed_s or self._clock_s()
        state = read_state(session.path, session.key, each.slot) or each.state
        if state.lineage != each.state.lineage:
            each.close_stream()
            each.received = 0
        each.state = state

    def _let_others(self, lock: WriterLock) -> None:
        """Wait until whoever wanted the lock has it: else this process would take it again before they look."""
        until_s = self._clock_s() + YIELD_S
        while lock.is_wanted and self._clock_s() < until_s and not self._is_done():
            time.sleep(_YIELD_PAUSE_S)

    def _turn_open(self) -> AbstractContextManager[Session]:
        """Open the vault for writing; while others write, wait, and keep the streams open."""
        while True:
            opening = self._opening()
            try:
                return _Entered(opening, opening.__enter__())
            except VaultBusy:
                if self._should_stop():
                    raise
                for each in self._watched:
                    if each.stream is not None:
                        with suppress(SourceError):
                            each.stream.stay_alive()

    def _captures(self, session: Session, each: Watched) -> Iterator[tuple[str, LiveCapture]]:
        """Open the capture of every order that is watched over a source, whoever may know of it."""
        for order, began in self._joined(session, each):
            ledger = session.writer(order)
            ledger.crew.workers = spare_cores()
            sealed = with_accounts(sealed_order(ledger), session.packs)
            try:
                refuse_capture(session, sealed)
            except OrderOver as error:
                if order == self._order:
                    self._say(str(error))
                    self._is_over = True
                continue
            (named,) = session.named(sealed, [each.name])
            seam = Seam(parse_lsn(began["lsn"]), _sees(began["sees"]))
            tools, clauses = self._tools(session, ledger), clauses_over(sealed.clauses, [named])
            confirmed = each.state.confirmed
            yield (
                order,
                LiveCapture(tools, named, clauses, seam=seam, confirmed=confirmed, token=each.token),
            )

    def _joined(self, session: Session, each: Watched) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the orders that a stream is captured for, each with its event."""
        for order in session.all_orders():
            ledger = session.ledger(order)
            alias = sealed_order(ledger).aliases.get(each.name)
            began = None if alias is None else _began(ledger, alias, each.state.lineage)
            if began is not None:
                yield order, began

    # --- one source

    def _step(self, session: Session, each: Watched) -> None:
        """Take what came, make it durable when it is due, and look at the server now and then."""
        if each.stream is None and self._clock_s() < each.retry_s:
            return
        try:
            if each.state.joining:
                if (
                    each.broken_s is not None
                ):  # a pass over a server that is away would be sealed as one each time
                    self._look(session, each)
                self._join_all(session, each)
            if each.stream is None:
                self._look(session, each)  # before it is opened: another slot would be taken for the same one
                each.stream = each.database.open(each.state.confirmed)
                self._mended(session, each)
            batch = each.stream.receive(_RECEIVE_S)
        except SourceError as error:
            self._broke(session, each, error)
            return
        for capture in each.captures.values():
            capture.take(batch, each.stream)
        each.received = max(each.received, batch.reached)
        now_s, has_come = self._clock_s(), bool(batch.records or batch.notices)
        if has_come and each.unflushed_s is None:
            each.unflushed_s = now_s
        waiting = sum(capture.waiting_bytes for capture in each.captures.values())
        is_due = each.unflushed_s is not None and (
            not has_come or now_s - each.unflushed_s >= GROUP_S or waiting >= GROUP_BYTES
        )
        is_quiet = each.unflushed_s is None and (
            now_s - each.looked_s >= LOOK_S or each.state.confirmed < each.target <= each.received
        )
        if is_due or is_quiet:
            self._flush(session, each)
        if now_s - each.looked_s >= LOOK_S:
            with suppress(SourceError):  # the stream itself says so
                self._look(session, each)
        if each.is_guarded:
            self._try_guard(session, each, now_s)

    # --- the guard in the database

    def _refresh_guard(self, session: Session, each: Watched) -> None:
        """Bring the database's guard to the claims of the orders, where they came or went since the last turn."""
        each.is_guarded = each.name in guarded_sources(session)
        claims = claims_digest(session, each.name) if each.is_guarded else ""
        if claims != each.claims:
            try:
                refresh_guard(session, each.name)
                each.claims = claims
            except (SourceError, GuardWrong) as error:
                self._say(f"{each.name}: the guard was not told of the orders' claims: {error}")
        each.is_guarded = each.is_guarded and bool(claiming_orders(session, each.name))

    def _try_guard(self, session: Session, each: Watched, now_s: float) -> None:
        """Serve the guard; say once where its database does not answer, and again when it does."""
        try:
            self._serve_guard(session, each, now_s)
        except SourceError as error:
            if not each.is_guard_silent:
                self._say(f"{each.name}: the guard's outbox cannot be read: {error}")
            each.is_guard_silent = True
        else:
            each.is_guard_silent = False

    def _serve_guard(self, session: Session, each: Watched, now_s: float) -> None:
        """Seal what the guard kept, then take it out there; probe now and then."""
        if now_s - each.drained_s >= DRAIN_S:
            each.drained_s = now_s
            while self._drain(session, each):
                pass
            note_let_go(session, each.name)
        if now_s - each.probed_s >= PROBE_S:
            each.probed_s = now_s
            red = [path for path in probe_guard(session, each.name, unless_known=True) if path.is_red]
            if red:
                self._say(f"{each.name}: {len(red)} delete paths are not guarded: {red[0].line()}")

    def _drain(self, session: Session, each: Watched) -> bool:
        """Seal the first rows that wait in the outbox; tell whether there may be more.

        A crash between the two leaves them there, and they are known again.
        """
        from scelle.sources.postgres.live import LiveTables  # the driver is an extra

        stream = each.stream
        if not isinstance(stream, LiveTables) or not set(claiming_orders(session, each.name)) <= set(
            each.captures
        ):
            return False  # an order that is guarded here does not watch yet: its rows wait for it
        rows = kept_rows(session, each.name)
        if not rows:
            return False
        records = stream.kept([old_row(row) for row in rows])
        failed: set[int] = set()
        for capture in each.captures.values():
            failed |= capture.take_kept(records, stream)
        each.unflushed_s = each.unflushed_s or self._clock_s()
        self._flush(session, each)
        done = [row for at, row in enumerate(rows) if at not in failed]
        forget_kept(session, each.name, done)
        if failed:
            self._say(
                f"{each.name}: {len(failed)} rows of the guard's outbox could not be sealed, and stay there"
            )
        return len(done) == len(rows)

    def _flush(self, session: Session, each: Watched) -> None:
        """Make durable what was captured, remember how far that is, and only then let the server forget it."""
        if each.unflushed_s is not None:
            for capture in each.captures.values():
                capture.flush()
            each.unflushed_s = None
        if each.received > each.state.confirmed and not each.state.joining:
            each.state = replace(each.state, confirmed=each.received)
            write_state(session.path, session.key, each.slot, each.state)
            if each.stream is not None:
                with suppress(SourceError):  # it is sent again, and known again
                    each.stream.confirm(each.state.confirmed)
            for capture in each.captures.values():
                capture.confirmed(each.state.confirmed)

    def _seal(self, session: Session, mine: Sequence[Watched], *, is_end: bool) -> None:
        """Seal what was captured for every order: when it is due; at a turn's end, too, where something was."""
        now_s = self._clock_s()
        for each in mine:
            is_due = now_s - each.sealed_s >= SEAL_S or (is_end and self._is_done())
            if not (is_due or (is_end and any(capture.has_news for capture in each.captures.values()))):
                continue
            each.sealed_s = now_s
            self._seal_source(session, each)

    def _seal_source(self, session: Session, each: Watched) -> None:
        """Seal what was captured of one source, with its counts, for every order."""
        self._flush(session, each)
        for order, capture in each.captures.items():
            counts = capture.seal()
            if order == self._order:
                self.report.counts[each.name].add(counts)
        self.report.reached[each.name] = lsn_text(each.state.confirmed)

    # --- what goes wrong

    def _broke(self, session: Session, each: Watched, error: SourceError) -> None:
        """Let a broken stream go, find out why, and open a gap where it stays broken."""
        each.close_stream()
        now_s = self._clock_s()
        if each.broken_s is None:
            each.broken_s = now_s
            self._say(f"{each.name}: {error}")
        cause = STREAM_BROKEN
        try:
            self._look(session, each)
        except SourceError:
            cause = CONNECTION_LOST
        if now_s - each.broken_s >= LOST_S:
            self._open_gap(session, each, cause)
        if self._until_caught_up and now_s - each.broken_s >= GIVE_UP_S:
            raise error
        each.pause_s = min(RETRY_S, max(_PAUSE_S, 2 * each.pause_s))
        each.retry_s = self._clock_s() + each.pause_s

    def _mended(self, session: Session, each: Watched) -> None:
        """Close the gap of a lost connection: the slot is the same, and gives all that came meanwhile."""
        if each.broken_s is None:
            return
        each.broken_s, each.pause_s = None, 0.0
        for order, _ in self._joined(session, each):
            ledger = session.writer(order)
            alias = sealed_order(ledger).aliases[each.name]
            closing = [
                closing_gap(index, gap, session.now_us(), 0)
                for index, gap in open_gaps(ledger, alias)
                if gap.cause in (CONNECTION_LOST, STREAM_BROKEN)
            ]
            if closing:
                ledger.commit_entries(closing, session.now_us())
        self._say(f"{each.name}: the stream goes on where it was")

    def _look(self, session: Session, each: Watched) -> None:
        """Ask the server how the stream stands; where it is not whole any more, open a gap and begin another."""
        standing = each.database.look()
        each.looked_s = self._clock_s()
        cause = breach_of(each.state, standing)
        if cause is None:
            each.state = replace(each.state, at_us=standing.server.time_us)
            return
        if cause == NOT_PUBLISHED and not self._can_publish(session, each, standing):
            return
        self._say(f"{each.name}: {cause}")
        self._open_gap(session, each, cause)
        self._begin_anew(session, each)

    def _can_publish(self, session: Session, each: Watched, standing: "Standing") -> bool:
        """Tell whether the tables that are in no publication can be put there; where not, the others go on."""
        try:
            each.database.prepare()
        except SourceError as error:
            self._open_gap(session, each, NOT_PUBLISHED)
            if standing.unpublished != each.left_out:
                each.left_out = standing.unpublished
                self._say(f"{each.name}: {', '.join(standing.unpublished)} cannot be published: {error}")
            return False
        return True

    def _open_gap(self, session: Session, each: Watched, cause: str) -> None:
        """Declare, in the log of every order that is captured, that changes may be missing since the last look."""
        for order, _ in self._joined(session, each):
            self._declare(session, order, each.name, cause, each.state.at_us)

    def _declare(self, session: Session, order: str, name: str, cause: str, since_us: int) -> None:
        ledger = session.writer(order)
        alias = sealed_order(ledger).aliases[name]
        if not any(gap.cause == cause for _, gap in open_gaps(ledger, alias)):
            gap = Gap(order, alias, (since_us, None), cause, None, None)
            ledger.commit_entries([gap], session.now_us())

    def _begin_anew(self, session: Session, each: Watched) -> None:
        """Begin another stream, and close the gap by a snapshot of what is there now.

        A crash in between leaves the new state with the orders that are to join it: whoever watches next goes on.
        """
        self._seal_source(session, each)  # the counts go with the captures
        each.close_stream()
        orders = tuple({*each.state.joining, *(order for order, _ in self._joined(session, each))})
        before, each.captures, each.received = each.state, {}, 0
        each.state = self._new_state(session, each.database, each.slot, orders)
        each.most = lost_at_most(before, each.database.look().server)
        self._join_all(session, each)


class _Entered(AbstractContextManager[Session]):
    """A session that was entered already."""

    def __init__(self, opening: AbstractContextManager[Session], session: Session) -> None:
        self._opening, self._session = opening, session

    def __enter__(self) -> Session:
        return self._session

    def __exit__(self, *failure: Any) -> bool | None:
        return self._opening.__exit__(*failure)


def breach_of(state: WatchState, standing: "Standing") -> str | None:
    """Return the code of what broke the stream since `state`; None where it goes on without a gap."""
    from scelle.sources.postgres.slots import LOST  # the driver is an extra

    slot, server = standing.slot, standing.server
    if server.system_id != state.system_id:
        return "other-server"
    if server.lsn < state.confirmed:
        return "server-set-back"
    if server.timeline != state.timeline:  # what comes now may stand where other changes stood
        return "server-promoted"
    if slot is None:
        return "slot-missing"
    if slot.wal_status == LOST:
        return "slot-lost"
    if slot.confirmed_lsn > state.confirmed:
        return "slot-recreated"
    if standing.altered:
        return "publication-altered"
    if standing.loosened:
        return "identity-loosened"
    if standing.unpublished:
        return NOT_PUBLISHED
    return None


def lost_at_most(before: WatchState, server: "Server") -> int | None:
    """Return how many rows can have been written since a stream was whole, by the WAL since.

    A row takes at least 8 bytes there (the header of a tuple in a multi-insert record). The server's own counts would
    be nearer, but they come late: a bound may not be too low. None where the WAL is another server's, or was set back.
    """
    is_same = before.system_id == server.system_id and before.confirmed <= server.lsn
    return (server.lsn - before.confirmed) // _ROW_WAL_BYTES if is_same else None


def _began(ledger: OrderLedger, alias: str, lineage: str) -> dict[str, Any] | None:
    """Return what was sealed when an order joined a stream; None where it did not."""
    for event in events(ledger, BEGAN):
        if event.body["source"] == alias and event.body["lineage"] == lineage:
            return dict(event.body)
    return None


def _sees(snapshot: str) -> Callable[[int], bool]:
    from scelle.sources.postgres.watched import sees  # the driver is an extra

    return sees(snapshot)
