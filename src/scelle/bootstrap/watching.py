"""Keep sealing what changes in databases, for every order that asks for it, until told to stop.

One stream serves all orders over a source, so that the database's people see neither an order nor how many there are.
The watcher holds the vault's writer lock in turns: whoever else must write gets it within a second, and the stream
waits meanwhile, unconfirmed, so that nothing is lost. Each turn reads orders and clauses anew.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scelle.bootstrap.handing_over import HandingOver
from scelle.bootstrap.live_gaps import close_gaps, declare_gap, has_open_gap
from scelle.bootstrap.orders import refuse_capture
from scelle.bootstrap.restricted import with_compartment
from scelle.bootstrap.session import Session
from scelle.bootstrap.tree_watch import TreeWatch
from scelle.bootstrap.wal_caps import BEYOND, PAUSE_S, WAL_CAP, CapKeeper, is_beyond
from scelle.bootstrap.watch_breaks import (
    LEFT_OUT,
    MOVED_AWAY,
    NOT_PUBLISHED,
    SLOT_MISSING,
    breach_of,
    lost_at_most,
)
from scelle.bootstrap.watch_gaps import GapCounter
from scelle.bootstrap.watch_guard import GuardService
from scelle.bootstrap.watch_log import Level, Say, Teller
from scelle.bootstrap.watch_meter import Meter
from scelle.bootstrap.watch_removal import BEGAN, watched_since
from scelle.bootstrap.watched import Watched, WatchReport
from scelle.bootstrap.witnessing import Witnessing
from scelle.capture.entries import open_gaps
from scelle.capture.interfaces import NamedSource, PassTools, clauses_over
from scelle.capture.live import LiveCapture, Seam
from scelle.capture.model import Counts, SourceReport
from scelle.capture.service import run_pass
from scelle.capture.watch_state import (
    WatchState,
    new_lineage,
    read_state,
    slot_name,
    watch_lock,
    write_state,
)
from scelle.errors import (
    OrderOver,
    SourceError,
    SourceUnreadable,
    VaultBusy,
)
from scelle.ledger.crew import spare_cores
from scelle.ledger.events import events, record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.orders.service import sealed_order, with_accounts
from scelle.sources.addresses import local_root
from scelle.sources.model import StreamChoices
from scelle.sources.postgres import PostgresSource
from scelle.sources.postgres.pgoutput import lsn_text, parse_lsn
from scelle.vault.keys import VaultKey
from scelle.vault.lock import WriterLock

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is watched
    from scelle.sources.postgres.watched import Standing, WatchedDatabase

CONNECTION_LOST: Final = "connection-lost"
STREAM_BROKEN: Final = "stream-broken"

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
RETRY_S: Final = 15.0
"""So long at most it is waited before a broken stream is tried again: first a moment, then twice as long each time."""
GIVE_UP_S: Final = 30.0
"""A watch that is to end when it has caught up ends where a stream is broken for longer."""
LOST_S: Final = 3.0
"""A stream that is broken for longer opens a gap."""
_RECEIVE_S: Final = 0.1
_PAUSE_S: Final = 0.2
_YIELD_PAUSE_S: Final = 0.01

Opening = Callable[[], AbstractContextManager[Session]]


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
        say: Say = lambda said: None,
        meter: Meter | None = None,
        promises: Path | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opening, self._order = opening, order
        self._until_caught_up, self._should_stop = until_caught_up, should_stop
        self._say, self._clock_s = Teller(say), clock_s
        self._meter = meter or Meter()
        self._guard = GuardService(self._say, self._meter, self._flush, clock_s)
        self._witnessing = Witnessing(self._say, clock_s)
        self._gaps = GapCounter()
        self._trees = TreeWatch({}, clock_s)
        self._watched: list[Watched] = []
        self._others: list[str] = []
        """The sources that have no stream: a pass over them is run every so often."""
        self._every_s, self._passed_s = every_s, -math.inf
        self._is_over = False
        """Whether nothing may be captured under the order any more."""
        self.report = WatchReport(order)
        if promises is not None:
            self.report.promises = HandingOver(promises, self._say_promises, clock_s)

    def run(self) -> WatchReport:
        """Watch until told to stop, or caught up; raises InputError, and SourceError where it cannot begin."""
        try:
            with ExitStack() as stack:
                with self._turn_open() as session:
                    self._begin(session)
                    roots = self._roots(session)
                self._trees = stack.enter_context(TreeWatch(roots, self._clock_s))
                while True:
                    self._take_over(session.path, session.key, stack)
                    if self._others or any(each.is_mine for each in self._watched):
                        self._turn()
                        self._let_others(WriterLock(session.path))
                    else:
                        time.sleep(_PAUSE_S)
                    self._publish(None)
                    if self._is_done() and self._has_concluded(stack):
                        return self.report
        except VaultBusy:
            if not self._should_stop():
                raise
            return self.report  # another command writes: what is durable is sealed next time
        finally:
            for each in self._watched:
                each.close_stream()
                if each.keeper is not None:
                    each.keeper.close()
                each.database.close()

    def _is_done(self) -> bool:
        if self._should_stop() or self._is_over:
            return True
        if not self._until_caught_up or (self._others and self._passed_s == -math.inf):
            return False
        return all(each.state.confirmed >= each.target for each in self._watched)

    def _has_concluded(self, stack: ExitStack) -> bool:
        """Say what another process sealed meanwhile; False where it is gone, and its streams are this one's now.

        Whoever holds the vault's lock knows that the other has sealed what is durable: it does so before it lets go.
        """
        standing_by = [each for each in self._watched if not each.is_mine]
        if not standing_by or not self._until_caught_up or self._should_stop():
            return True
        with self._turn_open() as session:
            self._take_over(session.path, session.key, stack)
            if any(each.is_mine for each in standing_by):
                return False
            for each in standing_by:
                reached = self.report.reached[each.name] = lsn_text(each.state.confirmed)
                self.report.notes.append(
                    f"{each.name}: another process watches it, and sealed what was committed before the start of this "
                    f"one, up to {reached}"
                )
            self.report.gaps = [gap for _, gap in open_gaps(session.ledger(self._order))]
        return True

    # --- begin

    def _begin(self, session: Session) -> None:
        ledger = session.order_writer(self._order)
        sealed = sealed_order(ledger)
        refuse_capture(session, sealed)
        if self.report.promises is not None:
            self.report.promises.begin(session)
        for named in session.named(sealed):
            if not isinstance(named.source, PostgresSource):
                self._others.append(named.name)
                continue
            slot = slot_name(session.key, named.name)
            if read_state(session.path, session.key, slot) is None:  # a slot would keep WAL until it opens
                named.refuse_closed(session.now_us() / 1e6)
            each = self._prepared(session, named, named.source, slot)
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
                if each.keeper is not None:
                    each.keeper.keep(StreamChoices())  # who reads the stream looks after its cap
                if not each.is_said:
                    self._say(
                        f"{each.name}: another process watches it, this one stands by", "stands-by", each.name
                    )
                    each.is_said = True
                each.state = read_state(vault, key, each.slot) or each.state

    def _prepared(self, session: Session, named: NamedSource, source: PostgresSource, slot: str) -> Watched:
        """Make what the stream needs, and find out whether it continues what is durable."""
        from scelle.sources.postgres.watched import WatchedDatabase  # the driver is an extra

        choices = session.sources()[named.name].stream
        database = WatchedDatabase(source.settings, slot, failover=choices.failover)
        state = read_state(session.path, session.key, slot)
        orders = list(self._watching(session, named.name)) if state is None else []
        made = state or self._new_state(session, database, slot, tuple(order for order, _ in orders))
        keeper = CapKeeper(database.again)
        each = Watched(named.name, slot, database, made, choices=choices, keeper=keeper)
        self._watched.append(each)
        keeper.keep(choices)  # from now on: the snapshot that comes first may take hours
        for order, since_us in orders:  # where the last stream ended is forgotten
            declare_gap(session, order, named.name, "state-lost", since_us)
        if state is not None:
            self._look(session, each)
        return each

    def _watching(self, session: Session, name: str) -> Iterator[tuple[str, int]]:
        """Yield the orders that are watched over a source, each with when that was sealed last (microseconds)."""
        for order in session.all_orders():
            ledger = session.ledger(order)
            alias = sealed_order(ledger).aliases.get(name)
            since_us = None if alias is None else watched_since(ledger, alias)
            if since_us is not None:
                yield order, since_us

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
            # a pass that may not be run would be sealed as one that failed, each time
            named.refuse_closed(session.now_us() / 1e6)
            source = named.source
            assert isinstance(source, PostgresSource)  # noqa: S101  `_begin` has looked

            def joined(sources: Sequence[SourceReport]) -> None:
                if sources[0].unreachable is None and source.seam is not None:
                    sees, lsn = source.seam
                    # the snapshot may be a standby's, and the stream its primary's
                    if parse_lsn(lsn) < each.state.confirmed:
                        raise SourceUnreadable(
                            f"{each.name}: the standby that the snapshot was read from is behind the stream: run again"
                        )
                    body = {"source": alias, "lineage": each.state.lineage, "slot": each.slot}
                    record_event(
                        ledger, session.now_us(), session.actor, BEGAN, {**body, "sees": sees, "lsn": lsn}
                    )

            each.database.settle()
            tools = replace(self._tools(session, ledger), lost_at_most=most, at_end=joined)
            with self._meter.passing(each.name):
                report = run_pass(tools, with_accounts(sealed, session.packs).clauses, [named])
            if session.sees(order):
                self._meter.passed(each.name, report.sources[0].counts)
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
        return with_compartment(session, session.pass_tools(ledger, lambda name, counts: self._meter.beat()))

    # --- turns

    def _turn(self) -> None:
        """Hold the lock until somebody wants it, or it is done; seal what was captured before letting go."""
        with self._turn_open() as session:
            begun_s, mine = self._clock_s(), [each for each in self._watched if each.is_mine]
            for each in mine:
                self._refresh(session, each)
                self._guard.refresh(session, each)
                each.captures = dict(self._captures(session, each))
            while not (self._is_done() or self._is_to_end(session, begun_s, len(mine))):
                for each in mine:
                    self._step(session, each)
                    if each.is_guarded:
                        self._guard.serve(session, each)
                if self._others and self._clock_s() - self._passed_s >= self._every_s:
                    self._pass_over_others(session, self._others)
                elif changed := self._trees.take_changed():
                    self._pass_over_others(session, changed)
                elif all(each.stream is None for each in mine):
                    time.sleep(_PAUSE_S)
                self._seal(session, mine, is_end=False)
                self._serve_promises(session, is_end=False)
                self._show(session, mine)
                self._publish(session)
            for each in mine:
                if each.is_guarded:
                    each.drained_s = -math.inf
                    self._guard.serve(session, each, wholly=self._until_caught_up and self._is_done())
            self._seal(session, mine, is_end=True)
            self._serve_promises(session, is_end=True)
            self._show(session, mine)
            self._publish(session)
            ledger = session.ledger(self._order)
            self.report.gaps = [gap for _, gap in open_gaps(ledger)]
            for each in mine:
                each.captures = {}

    def _show(self, session: Session, mine: Sequence[Watched]) -> None:
        """Show what was sealed to those who keep copies of the checkpoints of each order."""
        orders = {self._order, *(order for each in mine for order in each.captures)}
        self._witnessing.show(session, orders, is_end=self._is_done())

    def _serve_promises(self, session: Session, *, is_end: bool) -> None:
        """Hand over the promises that wait; this order's alone, whatever orders the streams are captured for."""
        if self.report.promises is not None:
            self.report.promises.serve(session, session.writer(self._order), is_end=is_end)

    def _say_promises(self, text: str, is_well: bool) -> None:
        event, level = ("promises-written", Level.INFO) if is_well else ("promises-kept-back", Level.ERROR)
        self._say(text, event, level=level)

    def _is_to_end(self, session: Session, begun_s: float, mine: int) -> bool:
        """Tell whether the lock is to be let go: somebody waits for it, or it is time to try a stream of another's."""
        held_s = self._clock_s() - begun_s
        is_wanted = session.lock is not None and session.lock.is_wanted
        return held_s >= HOLD_S and (is_wanted or (mine < len(self._watched) and held_s >= TRY_S))

    def _roots(self, session: Session) -> dict[str, bytes]:
        """Return where the sources without a stream lie on this machine, by name; nowhere for who ends soon."""
        if self._until_caught_up:
            return {}
        roots = {name: local_root(spec) for name, spec in session.sources().items() if name in self._others}
        return {name: root for name, root in roots.items() if root is not None}

    def _pass_over_others(self, session: Session, names: Collection[str]) -> None:
        """Seal what sources without a stream have now."""
        for name, why in self._trees.take_deaf().items():
            self._say(
                f"{name}: changes are not heard of, and wait for the pass every {self._every_s:.0f} s: {why}",
                "not-heard",
                name,
            )
        began_s = self._clock_s()
        ledger = session.order_writer(self._order)
        sealed = with_accounts(sealed_order(ledger), session.packs)
        named = session.named(sealed, [name for name in names if name in sealed.aliases])
        with ExitStack() as stack:
            for each_named in named:
                stack.enter_context(self._meter.passing(each_named.name))
            report = run_pass(self._tools(session, ledger), sealed.clauses, named)
        now_s = self._clock_s()
        if names is self._others:
            self._passed_s = now_s
        for each in report.sources:
            self._trees.passed(each.name, now_s - began_s)
            if each.unreachable is None:
                self._meter.passed(each.name, each.counts)
            self.report.counts.setdefault(each.name, Counts()).add(each.counts)
            if each.unreachable is not None:
                self._say(
                    f"{each.name}: {each.unreachable}", "source-unreachable", each.name, level=Level.ERROR
                )

    def _refresh(self, session: Session, each: Watched) -> None:
        """Learn what another process did to a stream since the last turn, and what is chosen for it by now."""
        each.choices = session.sources()[each.name].stream
        if each.keeper is not None:
            each.keeper.keep(each.choices)
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
                self._publish(None)

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
                    self._say(str(error), "order-over", level=Level.WARNING, error=error)
                    self._is_over = True
                continue
            (named,) = session.named(sealed, [each.name])
            seam = Seam(parse_lsn(began["lsn"]), _sees(began["sees"]))
            tools, clauses = self._tools(session, ledger), clauses_over(sealed.clauses, [named])
            if self.report.promises is not None and order == self._order:
                tools.on_durable = partial(self.report.promises.promise, session, ledger)
            confirmed = each.state.confirmed
            capture = LiveCapture(tools, named, clauses, seam=seam, confirmed=confirmed, token=each.token)
            if order not in each.counted:  # the turns of one process seal their counts
                each.counted.add(order)
                capture.count_left()
            yield order, capture

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
        self._notice_absent(each)
        if each.stream is None and self._clock_s() < each.retry_s:
            return
        try:
            if each.state.joining:
                if each.broken_s is not None:  # a pass over a server that is away would be sealed each time
                    self._look(session, each)
                self._join_all(session, each)
            if each.stream is None:
                self._look(session, each)  # before it is opened: another slot would be taken for the same one
                if self._clock_s() < each.retry_s:
                    return
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
        if has_come:
            self._meter.came(each.name, batch.committed_us)
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
            self._hear_keeper(each)
            with suppress(SourceError):  # the stream itself says so
                self._look(session, each)

    def _hear_keeper(self, each: Watched) -> None:
        """Say once why a slot that keeps too much could not be dropped."""
        error = None if each.keeper is None else each.keeper.take_trouble()
        if error is not None:
            text = f"{each.name}: its slot cannot be held to the cap: {error}"
            self._say(text, "wal-cap-failing", each.name, level=Level.ERROR, error=error)

    def _flush(self, session: Session, each: Watched) -> None:
        """Make durable what was captured, remember how far that is, and only then let the server forget it."""
        if each.unflushed_s is not None:
            for capture in each.captures.values():
                capture.flush()
            each.unflushed_s = None
        self._meter.flushed(each.name)
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
        seen: list[Counts] = []
        for order, capture in each.captures.items():
            counts = capture.seal()
            seen += [counts] if session.sees(order) else []
            if order == self._order:
                self.report.counts[each.name].add(counts)
        self.report.reached[each.name] = lsn_text(each.state.confirmed)
        self._say.machines("sealed", each.name, self._meter.sealed(each.name, seen))

    # --- what is measured

    def _publish(self, session: Session | None) -> None:
        """Let whoever asks see how it stands, now and then; without a session, what needs the logs stays as it was."""
        if not self._meter.is_due():
            return
        for each in self._watched:
            is_up = each.stream is not None
            self._meter.stands(each.name, is_streamed=True, is_reading=each.is_mine, is_up=is_up)
            if not each.is_guarded:
                self._meter.unguarded(each.name)
            if session is not None:
                seen = [capture.counts for order, capture in each.captures.items() if session.sees(order)]
                self._meter.running(each.name, seen)
        if session is not None:
            captured = {self._order, *(order for each in self._watched for order in each.captures)}
            names = [*self._others, *(each.name for each in self._watched)]
            self._gaps.count(session, self._meter, captured, names)
        self._meter.publish()

    # --- what goes wrong

    def _broke(self, session: Session, each: Watched, error: SourceError) -> None:
        """Let a broken stream go, find out why, and open a gap where it stays broken."""
        each.close_stream()
        now_s = self._clock_s()
        if each.broken_s is None:
            each.broken_s = now_s
            self._say(f"{each.name}: {error}", "stream-broke", each.name, level=Level.ERROR, error=error)
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
        each.retry_s = max(each.retry_s, self._clock_s() + each.pause_s)

    def _mended(self, session: Session, each: Watched) -> None:
        """Close the gap of a lost connection: the slot is the same, and gives all that came meanwhile."""
        if each.broken_s is None:
            return
        each.broken_s, each.pause_s = None, 0.0
        for order, _ in self._joined(session, each):
            close_gaps(session, order, each.name, (CONNECTION_LOST, STREAM_BROKEN), 0)
        self._say(f"{each.name}: the stream goes on where it was", "stream-mended", each.name)

    def _look(self, session: Session, each: Watched) -> None:
        """Ask the server how the stream stands; where it is not whole any more, open a gap and begin another."""
        standing = each.database.look()
        each.looked_s = self._clock_s()
        kept = None if standing.slot is None else standing.slot.kept_bytes
        unconfirmed = standing.server.lsn - each.state.confirmed
        self._meter.looked(each.name, unconfirmed, kept, each.choices.wal_cap_bytes)
        cause = breach_of(each.state, standing) or self._beyond_cap(session, each, standing)
        if cause is None:
            each.noticed = None
            each.state = replace(each.state, at_us=standing.server.time_us)
            self._take_in_left_out(session, each)
            return
        if cause in LEFT_OUT:
            each.note_absent(cause, standing.unpublished if cause == NOT_PUBLISHED else standing.strays)
        if cause == NOT_PUBLISHED and not self._can_publish(session, each, cause, standing.unpublished):
            return
        if cause == MOVED_AWAY and not self._can_publish(session, each, cause, standing.strays):
            return
        is_paused = False
        if cause in (SLOT_MISSING, WAL_CAP):
            cause, is_paused = self._capped(each, cause)
        self._say(f"{each.name}: {cause}", "stream-breach", each.name, level=Level.ERROR, cause=cause)
        self._open_gap(session, each, cause)
        if cause == WAL_CAP and each.choices.wal_cap_bytes is not None:
            each.close_stream()
            each.database.drop_slot_beyond(each.choices.wal_cap_bytes)
        if not is_paused:
            self._begin_anew(session, each)

    def _take_in_left_out(self, session: Session, each: Watched) -> None:
        """Begin another stream where the database's people mended what this role could not: its gap is open still."""
        if not each.may_be_left_out:
            return
        each.may_be_left_out = False
        if any(has_open_gap(session, order, each.name, LEFT_OUT) for order, _ in self._joined(session, each)):
            self._say(
                f"{each.name}: what was left out is published now, and read", "left-out-joins", each.name
            )
            self._begin_anew(session, each)

    def _notice_absent(self, each: Watched) -> None:
        """Seal which tables a gap is about, once for each gap, as soon as orders are captured."""
        if each.absent is None or not each.captures:
            return
        for capture in each.captures.values():
            capture.notice_gap(*each.absent)
        each.noticed, each.absent = each.absent, None

    def _capped(self, each: Watched, cause: str) -> tuple[str, bool]:
        """Return the cause of a slot that is gone, or is to go, and whether to wait before another stream is begun."""
        has_dropped = each.keeper is not None and each.keeper.has_dropped()
        was_waiting, each.is_waiting = each.is_waiting, False
        if was_waiting:
            return WAL_CAP, False
        if cause == SLOT_MISSING and not has_dropped:
            return cause, False
        now_s = self._clock_s()
        is_again, each.dropped_s = now_s - each.dropped_s < PAUSE_S, now_s
        if is_again:
            each.is_waiting, each.retry_s = True, now_s + PAUSE_S
            self._say(
                f"{each.name}: the cap is too small for a pass over it: the next is begun in {PAUSE_S:.0f} s",
                "wal-cap-too-small",
                each.name,
                level=Level.ERROR,
            )
        return WAL_CAP, is_again

    def _beyond_cap(self, session: Session, each: Watched, standing: "Standing") -> str | None:
        """Tell whether the slot is to be dropped for its cap; where it is to be left, say once that it is beyond."""
        was, each.is_beyond = each.is_beyond, is_beyond(each.choices, standing.slot)
        if not each.is_beyond or standing.slot is None:
            return None
        if each.choices.drops_slot:
            return WAL_CAP
        if not was:
            kept_bytes, cap_bytes = standing.slot.kept_bytes, each.choices.wal_cap_bytes
            note = (
                f"{each.name}: its server keeps {kept_bytes} bytes of WAL for the stream, and {cap_bytes} are allowed: "
                "nothing was dropped (`scelle source set --beyond-wal-cap`)"
            )
            self._say(
                note,
                "wal-beyond-cap",
                each.name,
                level=Level.ERROR,
                kept_bytes=kept_bytes,
                cap_bytes=cap_bytes or 0,
            )
            self.report.notes.append(note)
            session.record(BEYOND, {"source": each.name, "kept_bytes": kept_bytes, "cap_bytes": cap_bytes})
        return None

    def _can_publish(self, session: Session, each: Watched, cause: str, tables: tuple[str, ...]) -> bool:
        """Tell whether tables can be put into the publications, or taken out; where not, the others go on."""
        try:
            each.database.prepare()
        except SourceError as error:
            self._open_gap(session, each, cause)
            each.may_be_left_out = True
            if tables != each.left_out:
                each.left_out = tables
                self._say(
                    f"{each.name}: {cause}: {', '.join(tables)}: {error}",
                    "not-published",
                    each.name,
                    level=Level.ERROR,
                    error=error,
                    tables=len(tables),
                )
            return False
        return True

    def _open_gap(self, session: Session, each: Watched, cause: str) -> None:
        """Declare, in the log of every order that is captured, that changes may be missing since the last look."""
        for order, _ in self._joined(session, each):
            declare_gap(session, order, each.name, cause, each.state.at_us)

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


def _began(ledger: OrderLedger, alias: str, lineage: str) -> dict[str, Any] | None:
    """Return what was sealed when an order joined a stream; None where it did not."""
    for event in events(ledger, BEGAN):
        if event.body["source"] == alias and event.body["lineage"] == lineage:
            return dict(event.body)
    return None


def _sees(snapshot: str) -> Callable[[int], bool]:
    from scelle.sources.postgres.watched import sees  # the driver is an extra

    return sees(snapshot)
