"""Estimate, from what a server counts anyway, how much a stream of changes would make it write and keep.

No figure without what it rests on: where the server has no counts, or nobody analysed a table, there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection

from scelle.sources.postgres.catalog import QUERIES
from scelle.sources.postgres.connecting import is_pooled
from scelle.sources.postgres.slots import LiveTable, Server, server_of, slot_state

DAY_S: Final = 86_400.0
HOUR_S: Final = 3600.0
_WAL_COUNTED_FROM: Final = 140_000
"""The first version that counts the WAL it writes (`pg_stat_wal`)."""


@dataclass(frozen=True, slots=True)
class Since:
    """Say over what time the server counted; `of` is whose counters these are: the `database`'s, or the `server`'s."""

    time_us: int
    seconds: float
    of: str

    def per(self, seconds: float, amount: int) -> int:
        """Return how much of an amount falls on so many seconds."""
        return round(amount * seconds / self.seconds)


@dataclass(frozen=True, slots=True)
class TableGrowth:
    """Say what a table's rows take, and how often they were changed since the counters began; None: not known.

    `row_bytes` is what one takes on disk on the average, values stored apart (TOAST) and dead rows included.
    """

    table: str
    identity: str
    updates: int | None
    deletes: int | None
    row_bytes: int | None
    since: Since | None

    def bytes_per_day(self, *, updates: bool = True) -> int | None:
        """Return what the old rows take that are updated and deleted, or only deleted, on one day."""
        if self.updates is None or self.deletes is None or self.row_bytes is None or self.since is None:
            return None
        rows = self.deletes + (self.updates if updates else 0)
        return self.since.per(DAY_S, rows * self.row_bytes)


@dataclass(frozen=True, slots=True)
class WalGrowth:
    """Say what a server writes and keeps: `written_bytes` since its counters began, `kept_bytes` for the slot now.

    `limit` is `max_slot_wal_keep_size` as it stands, `-1` for none. `feedback` tells whether a standby tells its
    primary what it still needs; None on a primary. `is_pooled`: a pooler stands before it.
    """

    tables: tuple[TableGrowth, ...]
    written_bytes: int | None
    since: Since | None
    kept_bytes: int | None
    limit: str | None
    platform: str | None
    server: Server
    feedback: bool | None
    is_pooled: bool

    @property
    def bytes_per_hour(self) -> int | None:
        """Return how much WAL the server writes in an hour, all of it: so much is kept while no watch runs."""
        if self.written_bytes is None or self.since is None:
            return None
        return self.since.per(HOUR_S, self.written_bytes)


def wal_growth(connection: "Connection[Any]", slot: str, tables: Sequence[LiveTable]) -> WalGrowth:
    """Ask a server what it counted; changes nothing."""
    server, state = server_of(connection), slot_state(connection, slot)
    written, since = None, None
    if server.version >= _WAL_COUNTED_FROM and not server.is_standby:
        written, *counted = _one(connection, "wal_written", ())
        since = _since(*counted)
    limit, platform, feedback = _one(connection, "wal_settings", ())
    return WalGrowth(
        table_growth(connection, tables),
        written,
        since,
        None if state is None else state.kept_bytes,
        limit,
        platform,
        server,
        feedback if server.is_standby else None,
        is_pooled(connection),
    )


def table_growth(connection: "Connection[Any]", tables: Sequence[LiveTable]) -> tuple[TableGrowth, ...]:
    """Ask what a server counted of tables; of a partitioned one that is the sum of its partitions."""
    since = _since(*_one(connection, "counted_since", ()))
    rows = connection.execute(QUERIES["growth"].encode(), ([each.oid for each in tables],)).fetchall()
    found = {row[0]: (row[1], row[2], row[3]) for row in rows}
    nothing = (None, None, None)
    return tuple(
        TableGrowth(each.text, each.identity, *found.get(each.oid, nothing), since) for each in tables
    )


def _since(time_us: int | None, seconds: float | None, of: str) -> Since | None:
    return None if time_us is None or not seconds else Since(time_us, seconds, of)


def _one(connection: "Connection[Any]", query: str, parameters: Sequence[object]) -> tuple[Any, ...]:
    row = connection.execute(QUERIES[query].encode(), parameters or None).fetchone()
    assert row is not None  # noqa: S101  none of these has a condition
    return tuple(row)
