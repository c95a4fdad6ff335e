"""Serve the guard in a database while that is watched: tell it claims, seal what it keeps, probe it."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from scelle.bootstrap.guard_claims import claiming_orders, claims_digest, guarded_sources
from scelle.bootstrap.guard_status import probe_guard, unmet_wishes
from scelle.bootstrap.live_gaps import close_gaps, declare_gap
from scelle.bootstrap.outbox_depth import outbox_depth
from scelle.bootstrap.session import Session
from scelle.bootstrap.store_guards import forget_kept, kept_rows, note_let_go, old_row, refresh_guard
from scelle.bootstrap.watch_log import Level, Teller
from scelle.bootstrap.watch_meter import Meter
from scelle.bootstrap.watched import Watched
from scelle.errors import GuardWrong, InputError, SourceError

DRAIN_S: Final = 0.5
"""So often what the guard kept is fetched."""
RETRY_S: Final = 5.0
"""So long a guard whose database does not answer is left alone: asking again holds up what is captured."""
PROBE_S: Final = 60.0
"""So often the guard is probed."""
NOT_SEALED: Final = "outbox-not-sealed"
"""The cause of the gap of rows that the guard kept and that cannot be sealed."""


class GuardService:
    """What a watch does for the guards in its databases; `flush` makes durable what was captured of a source."""

    def __init__(
        self,
        say: Teller,
        meter: Meter,
        flush: Callable[[Session, Watched], None],
        clock_s: Callable[[], float],
    ) -> None:
        self._say, self._meter, self._flush, self._clock_s = say, meter, flush, clock_s

    def refresh(self, session: Session, each: Watched) -> None:
        """Bring the database's guard to the claims of the orders, where they came or went since it was told."""
        each.is_guarded = each.name in guarded_sources(session)
        claims = claims_digest(session, each.name) if each.is_guarded else ""
        if claims != each.claims:
            try:
                refresh_guard(session, each.name)
                each.claims = claims
            except (SourceError, GuardWrong, InputError) as error:
                self._say(
                    f"{each.name}: the guard was not told of the orders' claims: {error}",
                    "guard-not-told",
                    each.name,
                    level=Level.ERROR,
                    error=error,
                )
        each.is_guarded = each.is_guarded and bool(claiming_orders(session, each.name))

    def serve(self, session: Session, each: Watched, *, wholly: bool = False) -> None:
        """Serve the guard, whether or not its stream stands; say once where its database does not answer.

        For half a second, and while nobody else wants the vault; `wholly`, until the outbox is empty.
        """
        if self._clock_s() < each.guard_retry_s:
            return
        try:
            self._serve(session, each, self._clock_s(), wholly)
        except (SourceError, GuardWrong, InputError) as error:
            if not each.is_guard_silent:
                self._say(
                    f"{each.name}: the guard's outbox cannot be read: {error}",
                    "outbox-unreadable",
                    each.name,
                    level=Level.ERROR,
                    error=error,
                )
            each.is_guard_silent, each.guard_retry_s = True, self._clock_s() + RETRY_S
        else:
            each.is_guard_silent = False

    def _serve(self, session: Session, each: Watched, now_s: float, wholly: bool) -> None:
        """Seal what the guard kept, then take it out there; probe now and then."""
        if now_s - each.drained_s >= DRAIN_S:
            each.drained_s = now_s
            while self._drain(session, each) and (wholly or not self._is_wanted(session, now_s)):
                pass
            self._meter.let_go(each.name, note_let_go(session, each.name))
        if self._meter.is_depth_due(each.name):
            self._meter.waits(each.name, *outbox_depth(session, each.name))
        if now_s - each.probed_s >= PROBE_S:
            each.probed_s = now_s
            if unmet_wishes(session, each.name):  # a table was made, or an installation cut short
                each.claims = ""
                self.refresh(session, each)
            paths = probe_guard(session, each.name, unless_known=True)
            self._meter.probed(each.name, (path.state for path in paths))
            red = [path for path in paths if path.is_red]
            if red:
                self._say(
                    f"{each.name}: {len(red)} delete paths are not guarded: {red[0].line()}",
                    "paths-red",
                    each.name,
                    level=Level.ERROR,
                    paths=len(red),
                )

    def _is_wanted(self, session: Session, since_s: float) -> bool:
        """Tell whether the outbox has had its time: the stream must be read, others want the vault."""
        is_vault_wanted = session.lock is not None and session.lock.is_wanted
        return is_vault_wanted or self._clock_s() - since_s >= DRAIN_S

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
        rows = kept_rows(session, each.name, len(each.stuck or ()))
        if not rows:
            self._all_sealed(session, each)
            return False
        old_rows = [old_row(row) for row in rows]
        records, places = stream.kept(old_rows), [f"{row.number}-{row.at_us}" for row in old_rows]
        failed: set[int] = set()
        for order, capture in each.captures.items():
            failed_here = capture.take_kept(records, places, stream)
            if failed_here:
                declare_gap(
                    session, order, each.name, NOT_SEALED, min(old_rows[at].at_us for at in failed_here)
                )
            failed |= failed_here
        each.unflushed_s = each.unflushed_s or self._clock_s()
        self._flush(session, each)
        done = [row for at, row in enumerate(rows) if at not in failed]
        forget_kept(session, each.name, done)
        self._meter.diverted(each.name, ((row.op, row.application_name) for row in done))
        self._note_stuck(each, places, failed)
        return bool(done)

    def _note_stuck(self, each: Watched, places: Sequence[str], failed: Collection[int]) -> None:
        """Remember which rows could not be sealed, and say so once where there are others than before."""
        was = each.stuck or frozenset()
        stuck = (was - frozenset(places)) | {places[at] for at in failed}
        if stuck - was:
            self._say(
                f"{each.name}: {len(stuck)} rows of the guard's outbox could not be sealed, and stay there: "
                "`scelle status ORDER --items failed` says why",
                "outbox-rows-failed",
                each.name,
                level=Level.ERROR,
                rows=len(stuck),
            )
        if stuck or each.stuck:
            each.stuck = stuck

    def _all_sealed(self, session: Session, each: Watched) -> None:
        """Close the gap of rows that could not be sealed: none waits any more.

        Those that somebody took out of the outbox meanwhile may be lost.
        """
        if each.stuck == frozenset():
            return
        lost_at_most = None if each.stuck is None else len(each.stuck)
        for order in each.captures:
            close_gaps(session, order, each.name, (NOT_SEALED,), lost_at_most)
        each.stuck = frozenset()
