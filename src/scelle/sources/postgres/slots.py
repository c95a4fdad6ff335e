"""Make and look at what a stream of changes needs on the server: publications, and a slot.

A table without a replica identity can be in no publication of updates: PostgreSQL then refuses its UPDATE and DELETE,
and the service stands still. Such tables go into a second publication, of INSERT and TRUNCATE only, and what it cannot
show is said.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import Connection

from scelle.errors import SourceUnreadable
from scelle.sources.clause_sql import quoted
from scelle.sources.postgres.catalog import QUERIES
from scelle.sources.postgres.connecting import connect_to_change
from scelle.sources.postgres.names import is_selected, literal, parse_patterns, table_text
from scelle.sources.postgres.pgoutput import parse_lsn
from scelle.sources.postgres.settings import PostgresSettings

PLUGIN: Final = "pgoutput"
INSERTS: Final = "_inserts"
"""What the name of the second publication ends with."""
LOST: Final = "lost"
"""The `wal_status` of a slot whose changes the server has thrown away."""
_DENIED: Final = "42501"
_DROP_TRIES: Final = 50
_DROP_PAUSE_S: Final = 0.1
_FAILOVER_FROM: Final = 170_000
_STANDBY_WAIT: Final = "60s"
"""So long a standby is waited for: its primary logs what runs there every 15 s, where anything is written."""
_GENERATED_FROM: Final = 180_000
"""The first version that can publish stored generated columns."""


@dataclass(frozen=True, slots=True)
class LiveTable:
    """Describe a table whose changes are wanted; `identity` is `d`, `i`, `f` or `n`, as the catalogs have it."""

    oid: int
    schema: str
    name: str
    identity: str
    has_key: bool
    is_unlogged: bool

    @property
    def text(self) -> str:
        """Give its name as it stands in units."""
        return table_text(self.schema, self.name)

    @property
    def sql(self) -> str:
        """Name it in SQL."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def tells_rows_apart(self) -> bool:
        """Tell whether its updates and deletes can be published without harm to the service."""
        return self.identity in "fi" or (self.identity == "d" and self.has_key)


@dataclass(frozen=True, slots=True)
class Server:
    """Say which server this is, and whether it can give changes."""

    system_id: str
    timeline: int
    wal_level: str
    may_replicate: bool
    is_standby: bool
    version: int
    lsn: int
    flushed_lsn: int
    """How far the WAL is on the server's disk: no stream gives more. A few bytes before `lsn` where all of it is."""
    time_us: int


@dataclass(frozen=True, slots=True)
class SlotState:
    """Say how a slot stands: how far its changes were confirmed, and whether the server still has the rest."""

    plugin: str
    database: str
    is_active: bool
    confirmed_lsn: int
    wal_status: str
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that is run: what it locks, the right it needs, and what undoes it.

    `on_primary`: the server is a standby, and this is for the people of its primary.
    """

    sql: str
    lock: str
    needs: str
    undo: str
    on_primary: bool = False
    makes_slot: bool = False


def open_admin(settings: PostgresSettings) -> "Connection[Any]":
    """Open a connection on which publications and slots are looked at and made."""
    return connect_to_change(settings)


def server_of(connection: "Connection[Any]") -> Server:
    """Ask which server this is."""
    row = _row(connection, "server", ())
    assert row is not None  # noqa: S101  it has no FROM
    system_id, timeline, level, may, standby, lsn, flushed, time_us = row
    version = connection.info.server_version
    places = parse_lsn(lsn), parse_lsn(flushed)
    return Server(str(system_id), timeline, level, may, standby, version, *places, time_us)


def wanted_tables(connection: "Connection[Any]", patterns: Sequence[str]) -> list[LiveTable]:
    """List the tables that the patterns name, partition roots instead of their partitions, by name."""
    parsed = parse_patterns(patterns)
    rows = connection.execute(QUERIES["live_tables"].encode()).fetchall()
    found = [LiveTable(*row) for row in rows]
    return [table for table in found if is_selected(parsed, table.schema, table.name)]


def slot_state(connection: "Connection[Any]", slot: str) -> SlotState | None:
    """Return how a slot stands; None where there is none of this name."""
    row = _row(connection, "slot", (slot,))
    if row is None:
        return None
    plugin, database, active, confirmed, status, kept = row
    return SlotState(
        plugin or "", database or "", active, parse_lsn(confirmed or "0/0"), status or "", kept or 0
    )


@dataclass(frozen=True, slots=True)
class Published:
    """Say what a publication gives: which tables, and whether it is as it was made (all its verbs, whole rows)."""

    tables: frozenset[str]
    is_as_made: bool


def published(connection: "Connection[Any]", name: str) -> dict[str, Published]:
    """Return the two publications by name, those that are there."""
    tables: dict[str, set[str]] = {}
    whole: dict[str, bool] = {}
    names = [name, name + INSERTS]
    for each, verbs, via_root in connection.execute(QUERIES["publications"].encode(), (names,)).fetchall():
        tables[each] = set()
        whole[each] = via_root and verbs == ("it" if each.endswith(INSERTS) else "iudt")
    for each, schema, table, is_whole in connection.execute(
        QUERIES["published"].encode(), (names,)
    ).fetchall():
        tables[each].add(table_text(schema, table))
        whole[each] = whole[each] and is_whole
    return {each: Published(frozenset(found), whole[each]) for each, found in tables.items()}


def plan_statements(
    connection: "Connection[Any]", name: str, tables: Sequence[LiveTable], *, failover: bool = False
) -> list[Statement]:
    """List what must be run so that all tables are published, and the slot is there; empty where nothing is missing.

    With `failover` the slot is made so that a standby takes it along, where the server knows how.

    Where the publication is gone the slot must go, too: what waits in it was written while there was none, and the
    server refuses to decode that.
    """
    there, slot, planned = published(connection, name), slot_state(connection, name), []
    is_new = slot is not None and (slot.wal_status == LOST or not {name, name + INSERTS} <= set(there))
    if is_new:
        planned.append(_slot_dropped(name))
    whole = [table for table in tables if table.tells_rows_apart and not table.is_unlogged]
    partly = [table for table in tables if not table.tells_rows_apart and not table.is_unlogged]
    version = connection.info.server_version
    for publication, members, verbs in ((name, whole, ""), (name + INSERTS, partly, "insert, truncate")):
        known = there.get(publication)
        if known is None:
            planned.append(_created(publication, members, verbs, version))
            continue
        if not known.is_as_made:
            planned += _restored(publication, members, verbs or "insert, update, delete, truncate")
            continue
        planned += [
            _dropped(publication, text) for text in sorted(known.tables - {each.text for each in members})
        ]
        planned += [_added(publication, table) for table in members if table.text not in known.tables]
    is_standby = _in_recovery(connection)
    if is_standby:
        planned = [replace(each, on_primary=not each.sql.startswith("SELECT")) for each in planned]
    if slot is None or is_new:
        planned.append(_slot_created(name, version, is_standby=is_standby, failover=failover))
    return planned


def run_statements(connection: "Connection[Any]", statements: Sequence[Statement], place: str) -> None:
    """Run what was planned, one after the other; raises SourceUnreadable that names the right that is missing.

    Each is whole or not at all; a crash leaves some of them, and the next plan lists the rest. Nothing is run where
    the primary of a standby must be changed first: that is for its people.
    """
    if elsewhere := [each.sql for each in statements if each.on_primary]:
        raise SourceUnreadable(
            f"{place} is a standby, and publications are made on its primary: have its people run "
            f"`{'; '.join(elsewhere)}`, then run again"
        )
    is_standby = bool(statements) and _in_recovery(connection)
    if is_standby:
        connection.execute(f"SET statement_timeout = '{_STANDBY_WAIT}'".encode())
    for each in statements:
        try:
            connection.execute(each.sql.encode("utf-8"))
        except psycopg.errors.QueryCanceled as error:
            if not is_standby:
                raise SourceUnreadable(
                    f"{place}: {each.sql.split('(')[0].strip()!r} took longer than this role's statement_timeout: "
                    "have its people run it, or allow the role more time"
                ) from error
            raise SourceUnreadable(
                f"{place} is a standby and waits until its primary logs what runs there: have its people run `SELECT "
                "pg_log_standby_snapshot()` there, and run again meanwhile"
            ) from error
        except psycopg.Error as error:
            said = error.diag.message_primary or type(error).__name__
            needs = f"; it needs {each.needs}" if error.sqlstate in (_DENIED, "0A000", "55000") else ""
            raise SourceUnreadable(
                f"{place} refuses {each.sql.split('(')[0].strip()!r}: {said}{needs}; have its people run what "
                "`scelle watch plan` prints"
            ) from error
    if is_standby:
        connection.execute(b"RESET statement_timeout")


def drop_statements(connection: "Connection[Any]", name: str) -> list[Statement]:
    """List what must be run so that nothing of the stream is left on the server."""
    planned = []
    if slot_state(connection, name) is not None:
        planned.append(
            Statement(f"SELECT pg_drop_replication_slot({literal(name)})", "none", "REPLICATION", "")
        )
    is_standby = _in_recovery(connection)
    for publication in published(connection, name):
        planned.append(
            Statement(f"DROP PUBLICATION {quoted(publication)}", "none", "its owner", "", is_standby)
        )
    return planned


def undo_statements(name: str) -> list[str]:
    """List what takes away everything that a watch makes, once it is there."""
    drops = [f"DROP PUBLICATION IF EXISTS {quoted(each)}" for each in (name, name + INSERTS)]
    return [f"SELECT pg_drop_replication_slot({literal(name)})", *drops]


def drop_slot_beyond(connection: "Connection[Any]", slot: str, cap_bytes: int) -> bool:
    """Drop a slot where it keeps more than `cap_bytes` of WAL, whoever reads it; tell whether it was dropped."""
    end, drop = (QUERIES[each].encode() for each in ("slot_ended", "slot_dropped"))
    for _ in range(_DROP_TRIES):
        connection.execute(end, (slot, cap_bytes))
        try:
            return connection.execute(drop, (slot, cap_bytes)).fetchone() is not None
        except psycopg.errors.ObjectInUse:  # who read it has not gone yet
            time.sleep(_DROP_PAUSE_S)
        except psycopg.errors.UndefinedObject:  # somebody dropped it meanwhile
            return False
    raise SourceUnreadable(f"slot {slot} could not be dropped: somebody reads it again and again")


def _slot_created(name: str, version: int, *, is_standby: bool, failover: bool) -> Statement:
    needs = "REPLICATION on the role (RDS: GRANT rds_replication; Cloud SQL: ALTER USER .. WITH REPLICATION)"
    lock = "none; waits for the transactions that are open now"
    if is_standby:
        lock = "none; waits until the primary logs what runs there (SELECT pg_log_standby_snapshot() on it: at once)"
        needs += "; wal_level = logical on the primary, too"
    more = ", failover => true" if failover and version >= _FAILOVER_FROM and not is_standby else ""
    return Statement(
        f"SELECT pg_create_logical_replication_slot({literal(name)}, '{PLUGIN}'{more})",
        lock,
        needs,
        f"SELECT pg_drop_replication_slot({literal(name)})",
        makes_slot=True,
    )


def _in_recovery(connection: "Connection[Any]") -> bool:
    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    return row is not None and row[0] is True


def _slot_dropped(name: str) -> Statement:
    return Statement(f"SELECT pg_drop_replication_slot({literal(name)})", "none", "REPLICATION", "")


def _created(publication: str, tables: Sequence[LiveTable], verbs: str, version: int) -> Statement:
    names = ", ".join(table.sql for table in tables)
    options = ["publish_via_partition_root = true"]
    if version >= _GENERATED_FROM:
        options.append("publish_generated_columns = stored")
    if verbs:
        options.insert(0, f"publish = '{verbs}'")
    what = f" FOR TABLE {names}" if tables else ""
    return Statement(
        f"CREATE PUBLICATION {quoted(publication)}{what} WITH ({', '.join(options)})",
        "SHARE UPDATE EXCLUSIVE on each table, for a moment: reads and writes go on",
        "CREATE on the database, and ownership of the tables",
        f"DROP PUBLICATION {quoted(publication)}",
    )


def _restored(publication: str, tables: Sequence[LiveTable], verbs: str) -> list[Statement]:
    """Give back what somebody took from a publication; it stays the same one, so that older WAL can be decoded."""
    lock = "SHARE UPDATE EXCLUSIVE on each table, for a moment: reads and writes go on"
    needs = "ownership of the publication and of the tables"
    options = f"(publish = '{verbs}', publish_via_partition_root = true)"
    found = [Statement(f"ALTER PUBLICATION {quoted(publication)} SET {options}", lock, needs, "")]
    if tables:
        names = ", ".join(table.sql for table in tables)
        found.append(Statement(f"ALTER PUBLICATION {quoted(publication)} SET TABLE {names}", lock, needs, ""))
    return found


def _added(publication: str, table: LiveTable) -> Statement:
    return Statement(
        f"ALTER PUBLICATION {quoted(publication)} ADD TABLE {table.sql}",
        "SHARE UPDATE EXCLUSIVE on the table, for a moment: reads and writes go on",
        "ownership of the publication and of the table",
        f"ALTER PUBLICATION {quoted(publication)} DROP TABLE {table.sql}",
    )


def _dropped(publication: str, text: str) -> Statement:
    schema, _, name = text.partition(".")
    sql = text if '"' in text else f"{quoted(schema)}.{quoted(name)}"
    return Statement(
        f"ALTER PUBLICATION {quoted(publication)} DROP TABLE {sql}",
        "SHARE UPDATE EXCLUSIVE on the table, for a moment",
        "ownership of the publication",
        f"ALTER PUBLICATION {quoted(publication)} ADD TABLE {sql}",
    )


def _row(connection: "Connection[Any]", query: str, parameters: Sequence[object]) -> tuple[Any, ...] | None:
    found: tuple[Any, ...] | None = connection.execute(QUERIES[query].encode(), parameters).fetchone()
    return found
