"""Read what waits in the outbox, and take out what is sealed."""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import Connection

from scelle.guard.postgres.model import Depth, Kept, Missed
from scelle.sources.postgres.names import table_text

_WAITING: Final = """
SELECT id, at, txid::text::bigint, schema_name, table_name, op, columns, cells, application_name, db_user
FROM scelle_guard.outbox ORDER BY id LIMIT %s
"""
_MISSED: Final = """
SELECT id, at, txid::text::bigint, schema_name, table_name, op, rows, cause, application_name, db_user
FROM scelle_guard.missed ORDER BY id LIMIT %s
"""
_DEPTH: Final = """
SELECT count(*), pg_total_relation_size('scelle_guard.outbox'), extract(epoch FROM clock_timestamp() - min(at))::float
FROM scelle_guard.outbox
"""


def waiting(connection: "Connection[Any]", limit: int) -> list[Kept]:
    """Read the first rows that wait, by id.

    Ids are given before transactions commit, so that a lower one may appear after a higher one: remember no last id.
    """
    found = connection.execute(_WAITING.encode(), (limit,)).fetchall()
    return [
        Kept(number, at, txid, schema, name, op, tuple(columns), tuple(cells), *by)
        for number, at, txid, schema, name, op, columns, cells, *by in found
    ]


def remove(connection: "Connection[Any]", ids: Sequence[int]) -> int:
    """Take rows out whose content is durable in the vault; gives how many were there."""
    return connection.execute("DELETE FROM scelle_guard.outbox WHERE id = ANY(%s)", (list(ids),)).rowcount


def missed(connection: "Connection[Any]", limit: int) -> list[Missed]:
    """Read counts of held rows that were let go; each opens a gap."""
    return [
        Missed(number, at, txid, table_text(schema, name) if schema else name, *rest)
        for number, at, txid, schema, name, *rest in connection.execute(_MISSED.encode(), (limit,)).fetchall()
    ]


def remove_missed(connection: "Connection[Any]", ids: Sequence[int]) -> int:
    """Take counts out that a gap names."""
    return connection.execute("DELETE FROM scelle_guard.missed WHERE id = ANY(%s)", (list(ids),)).rowcount


def depth(connection: "Connection[Any]") -> Depth:
    """Measure the outbox. Counts every row that waits: ask some times a minute, not a second."""
    row = connection.execute(_DEPTH.encode()).fetchone()
    return Depth(0, 0, None) if row is None else Depth(*row)


def refused(connection: "Connection[Any]") -> int | None:
    """Return how many statements were refused since the guard was made, probes not counted; None where none counts.

    A sequence counts them, since all else is rolled back with the statement: whose each was stands in the server's log.
    """
    if connection.execute("SELECT to_regclass('scelle_guard.refused') IS NULL").fetchone() == (True,):
        return None
    row = connection.execute(
        "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM scelle_guard.refused"
    ).fetchone()
    return None if row is None else int(row[0])


def tidy(connection: "Connection[Any]") -> None:
    """Give the room of removed rows back to the disk; waits for no lock. Needs an autocommit connection."""
    connection.execute("VACUUM (SKIP_LOCKED) scelle_guard.outbox")
