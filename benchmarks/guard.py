"""Measure what the guard of a PostgreSQL database costs DELETE statements that take nothing held away.

``python -m benchmarks.guard [--version 18] [--rows 1000000] [--accounts 1000000] [--turns 3]``. Starts a server of its
own, holds the accounts, and deletes all rows of a table in one statement, by turns without a trigger, with an empty
statement trigger that has a transition table (what PostgreSQL itself takes for handing deleted rows on), and with the
guard. Tables: *narrow* (some 100 bytes a row, one index beside the key), *wide* (2 KB a row), and *referenced* (a child
table with a foreign key to it, as most tables of a platform have). Then single-row deletes by key in one session, and
replacing the held set. The best of the turns counts; the machine's own noise is in the spread that is shown.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg
from tests.integration.postgres import serve_postgres

from scelle.guard.postgres import Wish, hold, install, remove

OPTIONS: Final = "-c shared_buffers=512MB -c max_wal_size=8GB -c autovacuum=off"
LIMIT_PERCENT: Final = 15
SINGLE_ROWS: Final = 20_000
WIDTHS: Final = {"narrow": 60, "wide": 1900, "referenced": 60}
GUARD: Final = Wish("public", "posts", account="account")

Connection = psycopg.Connection[Any]


def fill(connection: Connection, shape: str, rows: int) -> None:
    """Make the table anew, with as many rows."""
    connection.execute("DROP TABLE IF EXISTS replies")
    connection.execute("DROP TABLE IF EXISTS posts")
    connection.execute(
        "CREATE TABLE posts (id bigint PRIMARY KEY, account text, body text, at timestamptz DEFAULT now())"
    )
    connection.execute(
        "INSERT INTO posts SELECT i, 'user' || (i %% 50000), repeat('x', %s) FROM generate_series(1, %s) i",
        (WIDTHS[shape], rows),
    )
    connection.execute("CREATE INDEX ON posts (account)")
    if shape == "referenced":
        connection.execute(
            "CREATE TABLE replies (id bigint PRIMARY KEY, post bigint REFERENCES posts ON DELETE CASCADE)"
        )
        connection.execute("CREATE INDEX ON replies (post)")
    connection.execute("VACUUM ANALYZE posts")
    connection.execute("CHECKPOINT")


def nothing(connection: Connection) -> None:
    """Leave the table as it is."""


def empty_trigger(connection: Connection) -> None:
    """Hand the deleted rows to a trigger that does nothing."""
    connection.execute(
        "CREATE TRIGGER empty AFTER DELETE ON posts REFERENCING OLD TABLE AS old_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION empty()"
    )


def guard(connection: Connection) -> None:
    """Guard the table."""
    progress = install(connection, [GUARD])
    if progress.state != "complete":
        raise SystemExit(str(progress))


WAYS: Final[dict[str, Callable[[Connection], None]]] = {
    "without": nothing,
    "empty trigger": empty_trigger,
    "guard": guard,
}


def timed(connection: Connection, shape: str, rows: int, way: str, statement: str) -> float:
    """Time one statement on a table made anew."""
    fill(connection, shape, rows)
    WAYS[way](connection)
    started = time.perf_counter()
    connection.execute(statement.encode())
    took_s = time.perf_counter() - started
    if way == "guard":
        remove(connection, ["public.posts"])
        hold_again = connection.execute("SELECT to_regclass('scelle_guard.held') IS NULL").fetchone()
        if hold_again is not None and hold_again[0]:
            raise SystemExit("the guard's schema went with the table: the held set is lost")
    return took_s


def compare(connection: Connection, shape: str, rows: int, turns: int, statement: str, per: int) -> None:
    """Time a statement every way, by turns, and print what each costs."""
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(turns):
        for way in WAYS:
            took[way].append(timed(connection, shape, rows, way, statement))
    base_s = min(took["without"])
    for way, times_s in took.items():
        more = 100 * (min(times_s) / base_s - 1)
        print(
            f"  {way:14} {min(times_s):8.3f} s (to {max(times_s):.3f}) {1e6 * min(times_s) / per:7.2f} us a row"
            f" {more:+7.1f} %",
            flush=True,
        )


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default="18")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=3)
    told = parser.parse_args()
    with serve_postgres(told.version, OPTIONS) as server, server.database("bench") as connection:
        connection.execute(
            "CREATE FUNCTION empty() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        )
        # a second guarded table keeps the schema, and the held set, while the first comes and goes
        connection.execute("CREATE TABLE kept (id bigint, account text)")
        install(connection, [Wish("public", "kept", account="account")])
        started = time.perf_counter()
        held = hold(connection, (f"held{number}" for number in range(told.accounts)))
        print(f"held set of {held} accounts replaced in {time.perf_counter() - started:.1f} s")
        print(f"goal: bulk DELETE of unheld rows costs under {LIMIT_PERCENT} % more")
        for shape in WIDTHS:
            print(f"{shape}: one DELETE of {told.rows} rows")
            compare(connection, shape, told.rows, told.turns, "DELETE FROM posts", told.rows)
        print(f"narrow: {SINGLE_ROWS} deletes of one row by its key, in one transaction, no round trips")
        loop = f"DO $$ BEGIN FOR i IN 1..{SINGLE_ROWS} LOOP DELETE FROM posts WHERE id = i; END LOOP; END $$"
        compare(connection, "narrow", 10 * SINGLE_ROWS, told.turns, loop, SINGLE_ROWS)


if __name__ == "__main__":
    main()
