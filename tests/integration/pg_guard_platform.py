"""A small platform's database for tests of the guard: users, posts, events by day, notes with children."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from tests.integration.postgres import PASSWORD, PostgresServer

from scelle.guard.postgres import Caps, Mode, Wish, hold, install

HELD = ("u1", "7")
OWNER = "platform_owner"

SCHEMA = """
CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE posts (
  id bigint PRIMARY KEY, author int REFERENCES users ON DELETE CASCADE, account text, body text, spare text
);
CREATE TABLE events (id bigint, account int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE notes (id int, account text);
CREATE TABLE long_notes (extra text) INHERITS (notes);
INSERT INTO users VALUES (1), (2);
INSERT INTO posts VALUES (1, 1, 'u1', 'kept', 's'), (2, 1, 'u2', 'free', 's'), (3, 2, 'u1', 'kept, too', 's');
INSERT INTO events VALUES (1, 7, '2026-01-02'), (2, 8, '2026-01-03'), (3, 7, '2026-02-02');
INSERT INTO notes VALUES (1, 'u1'), (2, 'u2');
INSERT INTO long_notes VALUES (3, 'u1', 'of the child');
"""
"""Of `HELD`: two posts, two events in two partitions, a note and a long note."""


def wishes(mode: Mode, *, updates: bool = True) -> list[Wish]:
    """Wish for all of the platform's tables but users, which nobody guards."""
    return [Wish("public", name, mode, "account", updates) for name in ("posts", "events", "notes")]


@contextmanager
def platform(
    server: PostgresServer, name: str, mode: Mode | None, *, updates: bool = True, caps: Caps | None = None
) -> "Iterator[psycopg.Connection[Any]]":
    """Make the platform's database, owned by its own role, and guard it; give a superuser's connection."""
    with server.connect() as admin:
        make_role(admin, OWNER)
    with server.database(name, f"OWNER {OWNER}") as connection:
        connection.execute(f"ALTER SCHEMA public OWNER TO {OWNER}".encode())
        connection.execute(f"SET ROLE {OWNER}".encode())
        connection.execute(SCHEMA.encode())
        connection.execute("RESET ROLE")
        if mode is not None:
            progress = install(connection, wishes(mode, updates=updates), caps)
            assert progress.state == "complete", progress
            hold(connection, HELD)
        yield connection


def make_role(admin: "psycopg.Connection[Any]", name: str) -> None:
    """Make a role that may log in, unless it is there."""
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())


def kept(connection: "psycopg.Connection[Any]") -> list[tuple[str, str, list[str]]]:
    """Give table, op and cells of what the outbox has."""
    found = connection.execute("SELECT table_name, op, cells FROM scelle_guard.outbox ORDER BY id").fetchall()
    return [tuple(row) for row in found]


def attempt(
    connection: "psycopg.Connection[Any]", statements: Sequence[str], role: str | None = None
) -> tuple[str, list[tuple[str, str, list[str]]]]:
    """Run statements in one transaction that is rolled back; give the SQLSTATE, or "", and what the outbox got."""
    found: list[tuple[str, str, list[str]]] = []
    state = ""
    with connection.transaction(force_rollback=True):
        try:
            if role is not None:
                connection.execute(f"SET LOCAL SESSION AUTHORIZATION {role}".encode())
            for statement in statements:
                connection.execute(statement.encode())
            connection.execute("RESET SESSION AUTHORIZATION")
            found = kept(connection)
        except psycopg.Error as error:
            state = error.sqlstate or "none"
    return state, found
