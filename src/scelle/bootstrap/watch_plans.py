"""Plan what a watch would run on an order's databases: every statement, its lock, what it needs and what undoes it.

Beside it stands what the stream would make the server write and keep, with what each figure rests on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from scelle.bootstrap.session import Session
from scelle.capture.watch_state import slot_name
from scelle.errors import InputError
from scelle.orders.days import utc_text
from scelle.orders.service import sealed_order
from scelle.sources.model import StreamChoices
from scelle.sources.postgres import PostgresSource
from scelle.sources.postgres.settings import STANDBY_FROM

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is watched
    from scelle.sources.postgres.growth import Since, TableGrowth, WalGrowth
    from scelle.sources.postgres.slots import Statement

FULL_FACTORS: Final = "1 to 39"
"""So many times the WAL of updates was measured with REPLICA IDENTITY FULL: narrow rows, values stored apart."""
ROLES: Final = (
    (
        "own server",
        "wal_level = logical (a restart), room in max_replication_slots and max_wal_senders; ALTER ROLE .. "
        "REPLICATION; GRANT CREATE ON DATABASE ..; a publication takes the owner of its tables",
    ),
    (
        "RDS, Aurora",
        "rds.logical_replication = 1 in the parameter group (a restart); GRANT rds_replication TO ..; the rest as "
        "above",
    ),
    (
        "Cloud SQL",
        "flag cloudsql.logical_decoding = on (a restart); ALTER USER .. WITH REPLICATION; the rest as above",
    ),
)
_PLATFORMS: Final = {"rds_superuser": "RDS, Aurora", "cloudsqlsuperuser": "Cloud SQL"}
_UNLIMITED: Final = "-1"


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What a watch would run on one server.

    ``partly`` are the tables whose UPDATE and DELETE the stream cannot show, each with the reason. ``undo`` takes
    away everything that a watch makes, also what is there already.
    """

    source: str
    place: str
    statements: tuple["Statement", ...]
    partly: tuple[tuple[str, str], ...]
    undo: tuple[str, ...]
    growth: "WalGrowth"
    choices: StreamChoices

    def to_json(self) -> dict[str, Any]:
        """Return what `watch plan --json` prints."""
        return {
            "source": self.source,
            "server": self.place,
            "statements": [
                {
                    "sql": each.sql,
                    "lock": each.lock,
                    "needs": each.needs,
                    "undo": each.undo,
                    "on": "primary" if each.on_primary else "server",
                }
                for each in self.statements
            ],
            "updates_and_deletes_not_shown": [list(each) for each in self.partly],
            "undo": list(self.undo),
            "roles": dict(ROLES),
            "platform": self._platform,
            "warnings": list(self._warnings()),
            "wal": {
                "bytes_per_hour": self.growth.bytes_per_hour,
                "written_bytes": self.growth.written_bytes,
                "since": _since_json(self.growth.since),
                "kept_bytes": self.growth.kept_bytes,
                "max_slot_wal_keep_size": self.growth.limit,
                **self.choices.to_json(),
            },
            "replica_identity_full": [full_json(each) for each in self.growth.tables],
        }

    def lines(self) -> list[str]:
        """Return the plan for people: SQL that can be run as it stands, and the script that undoes it."""
        lines = [f"-- {self.source}: {self.place}"]
        lines += [f"-- WARNING: {each}" for each in self._warnings()]
        lines += [f"-- on {where}{self._here(where)}: {needs}" for where, needs in ROLES]
        for each in self.statements:
            where = ["-- on its primary, by its people:"] if each.on_primary else []
            lines += [*where, f"-- lock: {each.lock}", f"-- needs: {each.needs}", f"{each.sql};"]
        if not self.statements:
            lines.append("-- all is there: nothing would be run")
        for table, why in self.partly:
            lines.append(
                f"-- {table}: {why}; its UPDATE and DELETE are not shown, since publishing them would make the service "
                f"fail. Offered: ALTER TABLE {table} REPLICA IDENTITY FULL (each UPDATE then writes the old row, too)"
            )
        lines += [f"-- {each}" for each in (*self._wal_lines(), *map(_full_line, self.growth.tables))]
        return [*lines, "-- undo:", *(f"--   {each};" for each in self.undo)]

    def _warnings(self) -> Iterator[str]:
        """Yield what keeps a watch from beginning, or puts it at risk, as the server stands."""
        if self.growth.is_pooled:
            yield (
                "a pooler stands before this server: pgbouncer before 1.23 lets no stream of changes through, and a "
                "watch is refused there; name the server itself in the source's URL"
            )
        if self.growth.server.is_standby and self.growth.server.version < STANDBY_FROM:
            yield (
                f"a standby of PostgreSQL {self.growth.server.version // 10_000} gives no changes: name its primary in "
                "the source's URL"
            )
        elif self.growth.feedback is False:
            yield (
                "hot_standby_feedback is off on this standby: what the primary cleans up ends the slot, a gap: "
                "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf(), and a physical slot for it"
            )

    @property
    def _platform(self) -> str | None:
        return _PLATFORMS.get(self.growth.platform or "")

    def _here(self, where: str) -> str:
        return " (this one)" if where == self._platform else ""

    def _wal_lines(self) -> Iterator[str]:
        growth, cap_bytes = self.growth, self.choices.wal_cap_bytes
        if growth.bytes_per_hour is None or growth.since is None:
            yield "WAL: how much the server writes is not known: it counts that from 14 on, and on a primary only"
        else:
            yield (
                f"WAL: the server writes {growth.bytes_per_hour:,} bytes an hour ({growth.written_bytes:,} bytes "
                f"{_since_text(growth.since)}): so much is kept for each hour in which no watch runs"
            )
        if growth.kept_bytes is not None:
            yield f"WAL: {growth.kept_bytes:,} bytes are kept for the slot now"
        if growth.limit in (None, _UNLIMITED):
            size = "a size below what the disk of pg_wal has left"
            size = size if cap_bytes is None else f"'{-(-cap_bytes // (1 << 20))}MB'"
            yield (
                "WAL: max_slot_wal_keep_size is not set: while no watch runs nothing but that ends what is kept. "
                f"Recommended: ALTER SYSTEM SET max_slot_wal_keep_size = {size}; SELECT pg_reload_conf()"
            )
        else:
            yield f"WAL: max_slot_wal_keep_size is {growth.limit}: beyond it the server ends the slot, which is a gap"
        if cap_bytes is None:
            yield (
                "WAL: no cap is set for a watch that runs: scelle source set NAME --wal-cap SIZE "
                "--beyond-wal-cap drop-slot"
            )
        else:
            then = "drops the slot, with a gap" if self.choices.drops_slot else "says so, and drops nothing"
            yield f"WAL: beyond {cap_bytes:,} bytes a watch that runs {then}"


def watch_plans(session: Session, order: str) -> list[WatchPlan]:
    """Plan the watch of an order's databases; changes nothing there."""
    from scelle.sources.postgres.slots import undo_statements  # the driver is an extra
    from scelle.sources.postgres.watched import WatchedDatabase

    ledger = session.order_ledger(order)
    plans = []
    for named in session.named(sealed_order(ledger)):
        if isinstance(named.source, PostgresSource):
            slot, choices = slot_name(session.key, named.name), session.sources()[named.name].stream
            database = WatchedDatabase(named.source.settings, slot, failover=choices.failover)
            try:
                plans.append(
                    WatchPlan(
                        named.name,
                        named.source.settings.place,
                        tuple(database.plan()),
                        database.unidentified(),
                        tuple(undo_statements(slot)),
                        database.growth(),
                        choices,
                    )
                )
            finally:
                database.close()
    if not plans:
        raise _nothing_to_watch(order)
    return plans


def full_json(each: "TableGrowth") -> dict[str, Any]:
    """Return what REPLICA IDENTITY FULL would add for one table, and what that rests on; null for what is not known."""
    return {
        "table": each.table,
        "set": each.identity == "f",
        "bytes_per_day": each.bytes_per_day(),
        **basis_json(each),
    }


def basis_json(each: "TableGrowth") -> dict[str, Any]:
    """Return what the figures of a table rest on."""
    return {
        "updates": each.updates,
        "deletes": each.deletes,
        "row_bytes": each.row_bytes,
        "since": _since_json(each.since),
    }


def basis_text(each: "TableGrowth", *, updates: bool = True) -> str | None:
    """Say what the figures of a table rest on; None where there are none."""
    if each.bytes_per_day(updates=updates) is None or each.since is None:
        return None
    changed = f"{each.updates:,} updates and " if updates else ""
    return f"{changed}{each.deletes:,} deletes {_since_text(each.since)}, rows of {each.row_bytes:,} bytes on disk"


def _full_line(each: "TableGrowth") -> str:
    basis = basis_text(each)
    what = "adds" if each.identity == "f" else "would add"
    if basis is None:
        return f"{each.table}: what REPLICA IDENTITY FULL {what} is not known: no counts, or never analysed"
    return (
        f"{each.table}: REPLICA IDENTITY FULL {what} {each.bytes_per_day():,} bytes of WAL a day ({basis}; "
        f"{FULL_FACTORS} times the WAL of updates was measured, by how wide the rows are)"
    )


def _since_json(since: "Since | None") -> dict[str, Any] | None:
    if since is None:
        return None
    return {"time": utc_text(since.time_us, "auto"), "seconds": round(since.seconds), "counters_of": since.of}


def _since_text(since: "Since") -> str:
    return f"since {utc_text(since.time_us, 'auto')}, when the {since.of}'s counters began"


def _nothing_to_watch(order: str) -> InputError:
    return InputError(
        f"order {order} has no source whose changes are captured as they happen: `scelle preserve` seals what is there"
    )
