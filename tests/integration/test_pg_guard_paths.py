"""Every way to take held rows away, tried as the tables' owner and as a superuser, on real servers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from tests.integration.live_vault import until_true
from tests.integration.pg_guard_platform import OWNER, attempt, kept, platform
from tests.integration.postgres import PostgresServer

from scelle.guard.postgres import Mode, State, Wish, hold, inspect, install, probe
from scelle.sources.clause_sql import quoted


class Path(NamedTuple):
    """A way to take rows away: its statements, and the held rows that it takes, as (table, op, first cell).

    No rows: the whole table goes, which is always refused. `superuser`: the owner has no right to it anyway.
    """

    statements: tuple[str, ...]
    taken: tuple[tuple[str, str, str], ...] = ()
    superuser: bool = False


ODD = 'Odd %s."Table'
POSTS = (("posts", "delete", "1"), ("posts", "delete", "3"))
EVENTS = (("events", "delete", "1"), ("events", "delete", "3"))

PATHS = {
    "DELETE": Path(("DELETE FROM posts",), POSTS),
    "DELETE USING": Path(("DELETE FROM posts USING users WHERE users.id = author",), POSTS),
    "DELETE in WITH": Path(
        ("WITH gone AS (DELETE FROM posts RETURNING id) SELECT count(*) FROM gone",), POSTS
    ),
    "MERGE": Path(("MERGE INTO posts USING users ON author = users.id WHEN MATCHED THEN DELETE",), POSTS),
    "cascade through an unguarded parent": Path(("DELETE FROM users WHERE id = 1",), POSTS[:1]),
    "TRUNCATE": Path(("TRUNCATE posts",), (("posts", "truncate", "1"), ("posts", "truncate", "3"))),
    "TRUNCATE CASCADE": Path(
        ("TRUNCATE users CASCADE",), (("posts", "truncate", "1"), ("posts", "truncate", "3"))
    ),
    "TRUNCATE of partitions": Path(
        ("TRUNCATE events",), (("events_1", "truncate", "1"), ("events_2", "truncate", "3"))
    ),
    "DELETE on the partitions' root": Path(("DELETE FROM events",), EVENTS),
    "DELETE on a partition": Path(("DELETE FROM events_1",), (("events_1", "delete", "1"),)),
    "DELETE on an inheritance parent": Path(
        ("DELETE FROM notes",), (("notes", "delete", "1"), ("long_notes", "delete", "3"))
    ),
    "DELETE on an inheritance child": Path(("DELETE FROM long_notes",), (("long_notes", "delete", "3"),)),
    "UPDATE": Path(("UPDATE posts SET body = NULL WHERE id < 3",), (("posts", "update", "1"),)),
    "UPDATE of the account, then DELETE": Path(
        ("UPDATE posts SET account = 'nobody'", "DELETE FROM posts"),
        (("posts", "update", "1"), ("posts", "update", "3")),
    ),
    "UPDATE that moves a row to another partition": Path(
        ("UPDATE events SET day = '2026-02-20' WHERE id = 1",), (("events", "update", "1"),)
    ),
    "ON CONFLICT DO UPDATE": Path(
        (
            "INSERT INTO posts (id, body) VALUES (1, 'other') ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        ),
        (("posts", "update", "1"),),
    ),
    "session_replication_role": Path(
        ("SET LOCAL session_replication_role = replica", "DELETE FROM posts"), POSTS, superuser=True
    ),
    "DROP TABLE": Path(("DROP TABLE posts",)),
    "DROP SCHEMA": Path(("DROP SCHEMA public CASCADE",)),
    "DROP OWNED": Path((f"DROP OWNED BY {OWNER} CASCADE",)),
    "DROP COLUMN": Path(("ALTER TABLE posts DROP COLUMN body",)),
    "DETACH PARTITION": Path(("ALTER TABLE events DETACH PARTITION events_1",)),
    "DISABLE TRIGGER": Path(("ALTER TABLE posts DISABLE TRIGGER ALL", "DELETE FROM posts"), superuser=True),
    "DISABLE TRIGGER USER": Path(("ALTER TABLE posts DISABLE TRIGGER USER", "DELETE FROM posts")),
    "ENABLE TRIGGER": Path(("ALTER TABLE posts ENABLE TRIGGER scelle_guard_delete",)),
    "DROP TRIGGER": Path(("DROP TRIGGER scelle_guard_delete ON posts", "DELETE FROM posts")),
    "ALTER COLUMN TYPE USING": Path(("ALTER TABLE posts ALTER body TYPE int USING 0",)),
    "SET UNLOGGED": Path(("ALTER TABLE events_1 SET UNLOGGED",)),
    "DROP of the outbox": Path(("DROP TABLE scelle_guard.outbox",), superuser=True),
}


@pytest.fixture(scope="module", params=list(Mode))
def guarded(
    server: PostgresServer, request: pytest.FixtureRequest
) -> "Iterator[tuple[Mode, psycopg.Connection[Any]]]":
    with platform(server, f"guard_{request.param}", request.param) as connection:
        yield request.param, connection


@pytest.mark.parametrize("role", [OWNER, None], ids=["owner", "superuser"])
@pytest.mark.parametrize("path", list(PATHS))
def test_no_path_takes_a_held_row(
    guarded: "tuple[Mode, psycopg.Connection[Any]]", path: str, role: str | None
) -> None:
    mode, connection = guarded
    tried = PATHS[path]
    state, found = attempt(connection, tried.statements, role)
    if tried.superuser and role is not None:
        assert state == "42501"
    elif mode is Mode.REFUSE or not tried.taken:
        assert state == "SC001"
    else:
        assert state == ""
        assert [(table, op, cells[0]) for table, op, cells in found] == list(tried.taken)


@pytest.mark.parametrize("path", [name for name, path in PATHS.items() if path.taken])
def test_without_the_guard_every_row_path_takes_the_rows(server: PostgresServer, path: str) -> None:
    with platform(server, "unguarded", None) as connection, connection.transaction(force_rollback=True):
        before = _count(connection)
        for statement in PATHS[path].statements:
            connection.execute(statement.encode())
        assert _count(connection) != before


def test_the_child_of_an_inheritance_parent_is_kept_with_its_own_columns(
    guarded: "tuple[Mode, psycopg.Connection[Any]]",
) -> None:
    mode, connection = guarded
    if mode is Mode.REFUSE:
        pytest.skip("nothing is kept where everything is refused")
    _, found = attempt(connection, ["DELETE FROM notes"])
    assert [cells for _, _, cells in found] == [["1", "u1"], ["3", "u1", "of the child"]]


def test_a_refusal_names_a_ref_and_nothing_else(guarded: "tuple[Mode, psycopg.Connection[Any]]") -> None:
    mode, connection = guarded
    if mode is Mode.DIVERT:
        pytest.skip("nothing is refused where rows are diverted")
    with pytest.raises(psycopg.Error, match=r"^held, ref [0-9a-f]{8}\n") as caught:
        connection.execute("DELETE FROM posts WHERE id = 1")
    assert caught.value.diag.message_detail is None
    assert (
        caught.value.diag.message_hint
        == (  # the same for every row: whose it is, and why, is asked elsewhere
            "The ref is of the guard in this database. Who may know what holds it asks: scelle why REF --source SOURCE"
        )
    )


def test_unheld_rows_go_and_leave_nothing(guarded: "tuple[Mode, psycopg.Connection[Any]]") -> None:
    _, connection = guarded
    state, found = attempt(
        connection, ["DELETE FROM posts WHERE account = 'u2'", "DELETE FROM events WHERE account = 8"]
    )
    assert (state, found) == ("", [])


def test_a_row_without_an_account_is_held(guarded: "tuple[Mode, psycopg.Connection[Any]]") -> None:
    mode, connection = guarded
    state, found = attempt(
        connection, ["INSERT INTO posts (id, body) VALUES (9, 'whose')", "DELETE FROM posts WHERE id = 9"]
    )
    assert (state, len(found)) == (("SC001", 0) if mode is Mode.REFUSE else ("", 1))


def test_a_truncate_in_an_old_snapshot_is_refused(guarded: "tuple[Mode, psycopg.Connection[Any]]") -> None:
    _, connection = guarded
    state, _ = attempt(connection, ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "TRUNCATE posts"])
    assert state == "SC003"


@pytest.mark.parametrize("role", [OWNER, None], ids=["owner", "superuser"])
@pytest.mark.parametrize("way", ["created", "attached", "below"])
def test_a_partition_is_guarded_from_its_birth(
    guarded: "tuple[Mode, psycopg.Connection[Any]]", way: str, role: str | None
) -> None:
    mode, connection = guarded
    bounds = "FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')"
    made = {
        "created": [f"CREATE TABLE events_3 PARTITION OF events {bounds}"],
        "attached": [
            "CREATE TABLE events_3 (id bigint NOT NULL, account int, day date NOT NULL)",
            f"ALTER TABLE events ATTACH PARTITION events_3 {bounds}",
        ],
        "below": [
            "CREATE TABLE march (id bigint NOT NULL, account int, day date NOT NULL) PARTITION BY RANGE (day)",
            f"CREATE TABLE events_3 PARTITION OF march {bounds}",
            f"ALTER TABLE events ATTACH PARTITION march {bounds}",
        ],
    }[way]
    made.append("INSERT INTO events VALUES (5, 7, '2026-03-03')")
    with connection.transaction(force_rollback=True):
        for statement in made:
            connection.execute(statement.encode())
        assert [state for state in inspect(connection) if state.state is State.RED] == []
    for statement, op in (("DELETE FROM events_3", "delete"), ("TRUNCATE events_3", "truncate")):
        state, found = attempt(connection, [*made, statement], role)
        assert (state, found) == (
            ("", [("events_3", op, ["5", "7", "2026-03-03"])]) if mode is Mode.DIVERT else ("SC001", [])
        )
    assert attempt(connection, [*made, "DROP TABLE events_3"], role)[0] == "SC001"


def test_a_partition_that_came_unnoticed_is_red_and_emptied_with_its_root_only_into_the_outbox(
    guarded: "tuple[Mode, psycopg.Connection[Any]]",
) -> None:
    mode, connection = guarded
    made = [
        "ALTER EVENT TRIGGER scelle_guard_command DISABLE",
        "CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')",
        "INSERT INTO events VALUES (5, 7, '2026-03-03')",
    ]
    with connection.transaction(force_rollback=True):
        for statement in made:
            connection.execute(statement.encode())
        assert ("public.events_3", "new-partition") in {
            (state.table, state.path) for state in inspect(connection) if state.state is State.RED
        }
    state, found = attempt(connection, [*made, "TRUNCATE events"])
    if mode is Mode.DIVERT:
        assert ("events_3", "truncate", ["5", "7", "2026-03-03"]) in found
    else:
        assert state == "SC001"


def test_the_guard_itself_is_dropped_by_a_superuser_and_that_is_red(server: PostgresServer) -> None:
    with platform(server, "dropped", Mode.DIVERT) as connection:
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA scelle_guard CASCADE")
        assert [state.state for state in inspect(connection)] == [State.RED]


def test_names_that_the_guard_uses_itself_are_as_good_as_others(server: PostgresServer) -> None:
    names = ["filter", "mask", "own", "number", "is_held", "held_rows", "held_bytes", "whose", "which", "op", "account",
             "o", "h", "s", "r", "f", "old_rows", "part", "100%", "%s", "a'b", 'a"b', "a.b", "$1"]  # fmt: skip
    with server.database("odd_names") as connection:
        columns = ", ".join(f"{quoted(name)} text" for name in names)
        connection.execute(f'CREATE TABLE "old_rows" ({columns})'.encode())
        connection.execute(f"CREATE TABLE {quoted(ODD)} ({columns})".encode())
        for table in ("old_rows", ODD):
            for account in names:
                wish = Wish("public", table, Mode.DIVERT, account, updates=True)
                assert install(connection, [wish]).state == "complete"
                hold(connection, ["u1"])
                values = ", ".join("'u1'" if name == account else "'x'" for name in names)
                fill = f"INSERT INTO {quoted(table)} SELECT {values} FROM generate_series(1, %s)"
                for rows, statement in ((1, "DELETE FROM"), (300, "DELETE FROM"), (300, "TRUNCATE")):
                    done, found = attempt(
                        connection, [fill.replace("(1, %s)", f"(1, {rows})"),
                                     f"{statement} {quoted(table)}"]
                    )  # fmt: skip
                    assert (done, len(found)) == ("", rows)
            assert not [s for s in probe(connection) if s.state in (State.RED, State.NOT_PROBED)]


def test_dropping_the_database_is_not_coverable(server: PostgresServer) -> None:
    with platform(server, "whole", Mode.REFUSE) as connection:
        states = {state.path: state.state for state in inspect(connection)}
        assert states["drop-database"] is State.NOT_COVERABLE
        with server.connect() as admin:
            admin.execute("DROP DATABASE whole WITH (FORCE)")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with server.connect() as admin:
            admin.execute("CREATE DATABASE whole")  # for the block to drop


def test_what_a_subscription_applies_is_kept(server: PostgresServer) -> None:
    dsn = f"host={server.host} port={server.port} user=postgres password=mild-and-fictitious"
    with platform(server, "publisher", None) as source, platform(server, "subscriber", None) as target:
        target.execute("TRUNCATE users CASCADE")
        source.execute("ALTER TABLE events REPLICA IDENTITY FULL")
        source.execute("CREATE PUBLICATION p FOR TABLE posts, users")
        source.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        target.execute(
            f"CREATE SUBSCRIPTION s CONNECTION '{dsn} dbname=publisher' PUBLICATION p "
            "WITH (create_slot = false, slot_name = s)".encode()
        )
        try:
            until_true(target, "SELECT count(*) = 3 FROM posts")
            until_true(target, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
            install(target, [Wish("public", "posts", Mode.DIVERT, "account")])
            hold(target, ["u1"])
            source.execute("DELETE FROM posts WHERE id = 1")
            source.execute("TRUNCATE posts")
            until_true(target, "SELECT count(*) = 0 FROM posts")
            assert [(op, cells[0]) for _, op, cells in kept(target)] == [("delete", "1"), ("truncate", "3")]
        finally:
            target.execute("ALTER SUBSCRIPTION s DISABLE")
            target.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
            target.execute("DROP SUBSCRIPTION s")
            until_true(source, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 's'")
            source.execute("SELECT pg_drop_replication_slot('s')")


def _count(connection: "psycopg.Connection[Any]") -> Any:
    return [
        connection.execute(
            f"SELECT tableoid::regclass::text, * FROM {name} ORDER BY 1, 2".encode()
        ).fetchall()
        for name in ("posts", "events", "notes", "long_notes")
    ]
