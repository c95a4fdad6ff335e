"""Let the guard go for a while, and let a migration change a guarded table; both end by themselves and are counted."""

from datetime import datetime
from typing import Any

from psycopg import Connection

from scelle.errors import GuardWrong


def suspend(connection: "Connection[Any]", until: datetime) -> None:
    """Let every statement go until a time (with its zone), by the database's clock. Held rows that go are counted."""
    _need_zone(until)
    connection.execute("UPDATE scelle_guard.settings SET suspended_until = %s", (until,))


def rearm(connection: "Connection[Any]") -> None:
    """End a suspension now."""
    connection.execute("UPDATE scelle_guard.settings SET suspended_until = NULL")


def allow_migration(connection: "Connection[Any]", table: str, column: str | None, until: datetime) -> None:
    """Let a guarded table (as SQL names it), or one column of it, be dropped, detached or rewritten until a time.

    Without a column every change of the table is allowed. Seal it first: nothing of it is diverted. Raises GuardWrong.
    """
    _need_zone(until)
    with connection.transaction():
        connection.execute("DELETE FROM scelle_guard.allowed WHERE until < clock_timestamp()")
        done = connection.execute(
            "INSERT INTO scelle_guard.allowed (relation, name, until) SELECT t.relation, %s, %s "
            "FROM scelle_guard.tables t WHERE t.relation = to_regclass(%s)",
            (column, until, table),
        )
        if done.rowcount == 0:
            raise GuardWrong(f"{table} is not guarded, so that nothing needs to be allowed there")


def _need_zone(until: datetime) -> None:
    if until.tzinfo is None:
        raise GuardWrong("a time without a zone: say in which zone the suspension or the allowance ends")
