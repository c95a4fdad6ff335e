"""Look at a database that is watched: whether its stream of changes is whole, and what broke it where it is not."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import psycopg
from psycopg import Connection

from scelle.errors import SourceUnreadable
from scelle.formats.tokens import shown
from scelle.sources.postgres.connecting import connect, source_error_of
from scelle.sources.postgres.growth import WalGrowth, wal_growth
from scelle.sources.postgres.live import LiveTables
from scelle.sources.postgres.pgoutput import lsn_text
from scelle.sources.postgres.replication import SESSION
from scelle.sources.postgres.settings import STANDBY_FROM, PostgresSettings
from scelle.sources.postgres.settling import settle
from scelle.sources.postgres.slots import (
    INSERTS,
    LiveTable,
    Published,
    Server,
    SlotState,
    Statement,
    drop_slot_beyond,
    drop_statements,
    open_admin,
    plan_statements,
    published,
    run_statements,
    server_of,
    slot_state,
    wanted_tables,
)

_XID_SPAN: Final = 1 << 32
_PAGE_HEAD_BYTES: Final = 40
_FLUSH_TRIES: Final = 40
_FLUSH_PAUSE_S: Final = 0.05
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Standing:
    """Say how a watched database stands at one moment: the server, the slot, and the tables that its stream leaves out.

    `unpublished` are in no publication; `partly` are those of which no UPDATE and DELETE is shown, with the reason.
    `altered`: a publication is gone, or gives less than it was made to give. `loosened` have lost their identity and
    are published as if they had one: PostgreSQL refuses their UPDATE and DELETE until they are taken out. `strays` are
    published and no table of the source any more: they were moved, or renamed, out of its pattern.
    """

    server: Server
    slot: SlotState | None
    unpublished: tuple[str, ...]
    partly: tuple[tuple[str, str], ...]
    altered: bool = False
    loosened: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()


class WatchedDatabase:
    """Prepare, look at and open the stream of one database; keeps one connection for its questions.

    Of several hosts it is the primary: a slot is on one server. A standby is read where the source names it alone.
    """

    def __init__(self, settings: PostgresSettings, slot: str, *, failover: bool = False) -> None:
        self.settings, self.slot = replace(settings, only_primary=True), slot
        self._failover = failover
        self._connection: Connection[Any] | None = None

    def again(self) -> "WatchedDatabase":
        """Return another that asks over a connection of its own."""
        return WatchedDatabase(self.settings, self.slot, failover=self._failover)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def plan(self) -> list[Statement]:
        """List what must be run on the server first; empty where all is there. Raises a SourceError."""
        return self._asked(
            lambda admin: plan_statements(admin, self.slot, self._tables(admin), failover=self._failover)
        )

    def prepare(self) -> list[Statement]:
        """Run what `plan` lists, and return it; raises a SourceError that names the right that is missing."""
        server = self._asked(server_of)
        if server.is_standby and server.version < STANDBY_FROM:
            raise SourceUnreadable(
                f"{self.settings.place} is a standby of PostgreSQL {server.version // 10_000}, which gives no changes: "
                f"from {STANDBY_FROM // 10_000} on it does; name its primary in the source's URL"
            )
        if server.wal_level != "logical":
            raise SourceUnreadable(
                f"{self.settings.place} has wal_level = {server.wal_level}: changes can be captured with logical only; "
                "ALTER SYSTEM SET wal_level = logical, and restart it"
            )
        if not server.may_replicate:
            raise SourceUnreadable(
                f"user {shown(self.settings.user)} of {self.settings.place} may not replicate: ALTER ROLE "
                f"{self.settings.user} REPLICATION (RDS: GRANT rds_replication)"
            )
        planned = self.plan()
        if any(each.makes_slot for each in planned):
            # none is made that could not be read, as through a pooler
            connect(self.settings, replication=True, parameters=SESSION).close()
        self._asked(lambda admin: run_statements(admin, planned, self.settings.place))
        return planned

    def unidentified(self) -> tuple[tuple[str, str], ...]:
        """List the tables whose UPDATE and DELETE no stream can show, each with the reason."""
        tables = self._asked(self._tables)
        return tuple((each.text, _why_partly(each)) for each in tables if not _is_whole(each))

    def growth(self) -> WalGrowth:
        """Estimate what the stream would make the server write and keep; changes nothing. Raises a SourceError."""
        return self._asked(lambda admin: wal_growth(admin, self.slot, self._tables(admin)))

    def drop(self) -> list[Statement]:
        """Remove slot and publications; return what was run, or must be run on the primary of a standby."""
        planned = self._asked(lambda admin: drop_statements(admin, self.slot))
        here = [each for each in planned if not each.on_primary]
        self._asked(lambda admin: run_statements(admin, here, self.settings.place))
        return planned

    def drop_slot_beyond(self, cap_bytes: int) -> bool:
        """Drop the slot where it keeps more WAL than that, whoever reads it; tell whether it was. The rest stays.

        Raises a SourceError where it cannot be dropped.
        """
        return self._asked(lambda admin: drop_slot_beyond(admin, self.slot, cap_bytes))

    def look(self) -> Standing:
        """Say how it stands now; raises a SourceError."""
        return self._asked(self._look)

    def settle(self) -> None:
        """Wait until a snapshot sees all that was committed; raises a SourceError where that takes too long."""
        self._asked(lambda admin: settle(admin, self.settings.place))

    def end(self) -> int:
        """Return a place in the WAL behind everything that is committed now, up to which a stream can come."""
        wanted = self.look().server.lsn
        for _ in range(
            _FLUSH_TRIES
        ):  # what was committed without waiting for the disk gets there a little later
            flushed = self.look().server.flushed_lsn
            if flushed + _PAGE_HEAD_BYTES >= wanted:
                break
            time.sleep(_FLUSH_PAUSE_S)
        return flushed

    def open(self, from_lsn: int) -> LiveTables:
        """Open the stream behind a place in the WAL; raises a SourceError."""
        return LiveTables(self.settings, self.slot, [self.slot, self.slot + INSERTS], from_lsn=from_lsn)

    def _look(self, admin: "Connection[Any]") -> Standing:
        tables = self._tables(admin)
        there = published(admin, self.slot)
        whole, inserts = (
            there.get(each, Published(frozenset(), False)) for each in (self.slot, self.slot + INSERTS)
        )
        logged = [each for each in tables if not each.is_unlogged]
        return Standing(
            server_of(admin),
            slot_state(admin, self.slot),
            tuple(each.text for each in logged if each.text not in whole.tables | inserts.tables),
            tuple((each.text, _why_partly(each)) for each in tables if not _is_whole(each)),
            not (whole.is_as_made and inserts.is_as_made),
            tuple(each.text for each in logged if each.text in whole.tables and not _is_whole(each)),
            tuple(sorted((whole.tables | inserts.tables) - {each.text for each in tables})),
        )

    def _tables(self, admin: "Connection[Any]") -> list[LiveTable]:
        return wanted_tables(admin, self.settings.tables)

    def _asked(self, ask: Callable[["Connection[Any]"], _Answer]) -> _Answer:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = open_admin(self.settings)
            return ask(self._connection)
        except psycopg.Error as error:
            raise source_error_of(error, self.settings.place) from error


def sees(snapshot: str) -> Callable[[int], bool]:
    """Return what tells of a transaction, by the 32 bits of its number, whether `pg_current_snapshot()` saw it."""
    oldest, following, running = snapshot.split(":")
    low, high = int(oldest), int(following)
    open_then = {int(each) for each in running.split(",") if each}

    def does_see(transaction: int) -> bool:
        # as the snapshot numbers it, in 64 bits: the nearest such number to the snapshot's end
        offset = (transaction - high + _XID_SPAN // 2) % _XID_SPAN - _XID_SPAN // 2
        whole = high + offset
        return whole < low or (whole < high and whole not in open_then)

    return does_see


def position_token(system_id: str, timeline: int, slot: str, lsn: int) -> bytes:
    """Write where the stream stands, for manifests: server, timeline, slot, place in the WAL."""
    return f"postgres {system_id} {timeline} {slot} {lsn_text(lsn)}".encode("ascii")


def _is_whole(table: LiveTable) -> bool:
    """Tell whether a stream shows every change of a table."""
    return table.tells_rows_apart and not table.is_unlogged


def _why_partly(table: LiveTable) -> str:
    if table.is_unlogged:
        return "unlogged, so that nothing of it is in the WAL"
    if table.identity == "n":
        return "REPLICA IDENTITY NOTHING"
    return "no primary key"
