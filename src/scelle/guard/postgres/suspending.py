"""Let the guard go for a while, and let a migration change a guarded table; both end by themselves and are counted."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection

from scelle.errors import GuardWrong
from scelle.formats.tokens import shown


def suspend(connection: "Connection[Any]", until: datetime, seal: Callable[[], None] = lambda: None) -> None:
    """Let every statement go until a time (with its zone), by the database's clock. Held rows that go are counted.

    `seal` is called when the database has taken it, before it is committed: what the database refuses is never sealed,
    and what cannot be sealed is never suspended. A crash between the two leaves a guard that stands.
    """
    _need_zone(until)
    with connection.transaction():
        if (
            connection.execute("UPDATE scelle_guard.settings SET suspended_until = %s", (until,)).rowcount
            == 0
        ):
            raise GuardWrong("the guard has lost its settings: remove and install it again")
        seal()


def rearm(connection: "Connection[Any]") -> bool:
    """End a suspension now; tell whether there was one."""
    done = connection.execute(
        "UPDATE scelle_guard.settings SET suspended_until = NULL WHERE suspended_until > clock_timestamp()"
    )
    return done.rowcount > 0


def check_guarded(connection: "Connection[Any]", table: str, column: str | None) -> None:
    """Raise GuardWrong where a table (as SQL names it) is not guarded, or does not have a column."""
    try:
        row = connection.execute(
            "SELECT t.relation::oid, t.relation::text FROM scelle_guard.tables t WHERE t.relation = to_regclass(%s)",
            (table,),
        ).fetchone()
    except (psycopg.errors.InvalidName, psycopg.errors.SyntaxError, psycopg.errors.FeatureNotSupported):
        row = None  # what is no name at all
    if row is None:
        raise GuardWrong(f"{shown(table)} is not guarded, so that nothing needs to be allowed there")
    oid, text = row
    if column is None:
        return
    names = connection.execute(
        "SELECT a.attname FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped",
        (oid,),
    ).fetchall()
    if (column,) not in names:
        raise GuardWrong(
            f"{shown(text)} has no column {shown(column)}: name one that it has, as the database spells it"
        )


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
