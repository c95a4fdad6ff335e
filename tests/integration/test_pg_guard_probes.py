"""Probes show what is guarded and what is not any more, and touch nothing, on real servers."""

import threading
import time
from typing import Any

import psycopg
import pytest
from tests.integration.pg_guard_platform import OWNER, attempt, make_role, platform, wishes
from tests.integration.postgres import PostgresServer

from scelle.guard.postgres import (
    Caps,
    How,
    Mode,
    PathState,
    State,
    Wish,
    inspect,
    install,
    probe,
)

TABLES = ("posts", "events", "events_1", "events_2", "notes", "long_notes")


@pytest.mark.parametrize("mode", list(Mode))
def test_every_path_is_effective_and_says_how_it_is_known(server: PostgresServer, mode: Mode) -> None:
    with platform(server, "probed", mode) as connection:
        states = {(state.table, state.path): state for state in probe(connection)}
        assert [state for state in states.values() if state.state in (State.RED, State.NOT_PROBED)] == []
        for table in TABLES:
            for path in ("delete", "update", "replication-role"):
                assert states[f"public.{table}", path].how is How.PROBED, (table, path)
            for path in (
                "truncate",
                "drop-table",
                "drop-column",
                "disable-trigger",
                "rewrite",
                "drop-schema",
            ):
                found = states[f"public.{table}", path]
                assert (found.state, found.how) == (State.EFFECTIVE, How.INSPECTED)
        assert ("public.posts", "detach") not in states
        assert states["public.events_1", "detach"].state is State.EFFECTIVE
        for path in (
            "truncate, divert",
            "truncate, refuse",
            "delete-cascade, divert",
            "drop-column, refuse",
            "detach, refuse",
        ):
            assert states["scelle_probe.twin", path].how is How.PROBED


BREAKS = {
    "disabled trigger": ("ALTER TABLE posts DISABLE TRIGGER scelle_guard_delete", "public.posts", "delete"),
    "all triggers disabled": ("ALTER TABLE posts DISABLE TRIGGER ALL", "public.posts", "truncate"),
    "trigger for origin only": (
        "ALTER TABLE posts ENABLE TRIGGER scelle_guard_delete", "public.posts", "replication-role",
    ),
    "dropped trigger": ("DROP TRIGGER scelle_guard_truncate ON posts", "public.posts", "truncate"),
    "dropped function": ("DROP FUNCTION scelle_guard.truncated() CASCADE", "public.events", "truncate"),
    "disabled on a partition": ("ALTER TABLE events_1 DISABLE TRIGGER ALL", "public.events_1", "delete"),
    "changed function": (
        "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('scelle_guard.miss'::regproc), 'cause', 'cause '); END $$",
        "public.posts",
        "delete",
    ),
    "changed setting of a function": (
        "ALTER FUNCTION scelle_guard.truncated() SET search_path = public", "public.posts", "truncate",
    ),
    "changed owner of a function": (
        f"ALTER FUNCTION scelle_guard.truncated() OWNER TO {OWNER}", "public.posts", "truncate",
    ),
    "emptied set of tables": ("UPDATE scelle_guard.tables SET account = 'body'", "public.posts", "delete"),
    "table gone": ("DROP TABLE posts CASCADE", "", "drop-table"),
    "column gone": ("ALTER TABLE posts DROP COLUMN account CASCADE", "public.posts", "delete"),
    "detached partition": ("ALTER TABLE events DETACH PARTITION events_1", "public.events_1", "detach"),
    "new partition": (
        "CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')",
        "public.events_3",
        "new-partition",
    ),
    "emptied set": ("DELETE FROM scelle_guard.held", "public.posts", "delete"),
    "emptied filter": (
        "UPDATE scelle_guard.filter SET bits = decode(repeat('00', 1024), 'hex')", "public.posts", "truncate",
    ),
    "filter gone": ("DELETE FROM scelle_guard.filter", "public.posts", "truncate"),
    "secret gone": ("DELETE FROM scelle_guard.secret", "public.posts", "delete"),
    "hash of another server": ("UPDATE scelle_guard.settings SET hash_check = 1", "public.posts", "delete"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BREAKS))
def test_what_was_broken_is_red_in_the_next_cycle(server: PostgresServer, name: str) -> None:
    statement, table, path = BREAKS[name]
    with platform(server, "breaks", Mode.DIVERT) as connection:
        for each in ("drop", "command", "rewrite"):
            connection.execute(f"ALTER EVENT TRIGGER scelle_guard_{each} DISABLE".encode())
        connection.execute(statement.encode())
        red = {
            (state.table.partition(" ")[0] if not table else state.table, state.path)
            for state in _red(probe(connection))
        }
        assert (table or "table", path) in red


@pytest.mark.parametrize("name", ["drop", "command", "rewrite"])
def test_a_disabled_event_trigger_is_red_inspected_and_probed(server: PostgresServer, name: str) -> None:
    with platform(server, "events", Mode.DIVERT) as connection:
        connection.execute(f"ALTER EVENT TRIGGER scelle_guard_{name} DISABLE".encode())
        path = {"drop": "drop-table", "command": "disable-trigger", "rewrite": "rewrite"}[name]
        red = {(state.table, state.path): state.how for state in _red(probe(connection))}
        assert red["public.posts", path] is How.INSPECTED
        assert red["scelle_probe.twin", f"{path}, refuse"] is How.PROBED


def test_a_partition_that_is_detached_concurrently_stays_guarded_and_is_red(server: PostgresServer) -> None:
    with platform(server, "half_detached", Mode.DIVERT) as connection:
        with pytest.raises(psycopg.Error, match="held, ref"):
            connection.execute("ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY")
        assert ("public.events_1", "detach") in {
            (each.table, each.path) for each in _red(inspect(connection))
        }
        assert len(attempt(connection, ["DELETE FROM events_1"])[1]) == 1
        assert attempt(connection, ["DROP TABLE events_1"])[0] == "SC001"


def test_a_probe_sees_by_itself_what_inspection_would_not(server: PostgresServer) -> None:
    """A rule that swallows the DELETE leaves every trigger as it was made."""
    with platform(server, "swallowed", Mode.DIVERT) as connection:
        connection.execute("CREATE RULE quiet AS ON DELETE TO scelle_probe.twin DO INSTEAD NOTHING")
        assert ("scelle_probe.twin", "delete, divert") in {
            (each.table, each.path) for each in _red(probe(connection))
        }


def test_a_full_outbox_is_red(server: PostgresServer) -> None:
    with platform(server, "capped", Mode.DIVERT, caps=Caps(rows=1)) as connection:
        connection.execute("DELETE FROM posts WHERE id = 1")
        assert ("public.posts", "delete") in {(each.table, each.path) for each in _red(probe(connection))}


def test_a_busy_table_is_not_probed_and_nobody_waits(server: PostgresServer) -> None:
    with platform(server, "busy", Mode.DIVERT) as connection, server.connect("busy") as other:
        with other.transaction():
            other.execute("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE")
            started = time.monotonic()
            states = {(state.table, state.path): state for state in probe(connection)}
            assert time.monotonic() - started < 5
        assert states["public.posts", "delete"].state is State.NOT_PROBED
        assert states["public.events", "delete"].state is State.EFFECTIVE
        assert states["public.events", "delete"].how is How.PROBED


def test_a_table_with_triggers_of_its_own_is_never_touched(server: PostgresServer) -> None:
    with platform(server, "mute", Mode.DIVERT) as connection:
        connection.execute("CREATE TABLE alarms (at timestamptz)")
        connection.execute(
            "CREATE FUNCTION ring() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM nextval('rung'); RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE SEQUENCE rung; CREATE TRIGGER ring AFTER INSERT ON posts EXECUTE FUNCTION ring()"
        )
        connection.execute("CREATE RULE note AS ON UPDATE TO notes DO ALSO SELECT nextval('rung')")
        states = {(state.table, state.path): state for state in probe(connection)}
        assert connection.execute("SELECT is_called FROM rung").fetchone() == (False,)
        assert states["public.posts", "delete"].how is How.INSPECTED
        assert "ring" in states["public.posts", "delete"].detail
        assert states["public.notes", "delete"].how is How.INSPECTED
        connection.execute(
            "ALTER EVENT TRIGGER scelle_guard_command DISABLE; ALTER TABLE posts DISABLE TRIGGER scelle_guard_delete"
        )
        assert ("public.posts", "delete") in {(each.table, each.path) for each in _red(probe(connection))}


def test_a_table_that_takes_no_made_up_row_is_inspected(server: PostgresServer) -> None:
    with platform(server, "strict", Mode.DIVERT) as connection:
        connection.execute("CREATE TABLE strict (id int CHECK (id < 0), account text)")
        connection.execute("ALTER TABLE strict ALTER id SET NOT NULL")
        install(connection, [*wishes(Mode.DIVERT), Wish("public", "strict", account="account")])
        states = {(state.table, state.path): state for state in probe(connection)}
        assert states["public.strict", "delete"].how is How.INSPECTED
        connection.execute("INSERT INTO strict VALUES (-1, 'u1')")
        states = {(state.table, state.path): state for state in probe(connection)}
        assert states["public.strict", "delete"] == PathState(
            "public.strict", "delete", "divert", State.EFFECTIVE, How.PROBED
        )


def test_a_role_that_may_not_set_the_replication_role_says_inspected(server: PostgresServer) -> None:
    with platform(server, "modest_probes", None) as admin:
        make_role(admin, "prober")
        admin.execute(f"GRANT {OWNER} TO prober; GRANT CREATE ON DATABASE modest_probes TO prober".encode())
        with server.connect("modest_probes", "prober") as connection:
            install(connection, wishes(Mode.DIVERT))
            states = {(state.table, state.path): state for state in probe(connection)}
        assert states["public.posts", "delete"].how is How.PROBED
        assert states["public.posts", "replication-role"].how is How.INSPECTED
        assert _red(list(states.values())) == []
        admin.execute("DROP OWNED BY prober CASCADE")


def test_probes_change_nothing_and_leave_nothing_to_decode(server: PostgresServer) -> None:
    with platform(server, "traceless", Mode.DIVERT) as connection:
        connection.execute(
            "CREATE TABLE counted (id serial PRIMARY KEY, big bigint GENERATED ALWAYS AS IDENTITY, account text)"
        )
        install(connection, [*wishes(Mode.DIVERT), Wish("public", "counted", account="account")])
        connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
        connection.execute("SELECT pg_create_logical_replication_slot('watcher', 'pgoutput')")
        before = _all_rows(connection)
        for _ in range(3):
            states = probe(connection)
        assert ("public.counted", How.PROBED) in {(state.table, state.how) for state in states}
        assert _all_rows(connection) == before
        assert connection.execute("SELECT is_called FROM counted_id_seq").fetchone() == (False,)
        question = (
            "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('watcher', NULL, NULL, 'proto_version', '1', "
            "'publication_names', 'everything') WHERE get_byte(data, 0) IN (68, 73, 84, 85)"
        )
        assert connection.execute(question.encode()).fetchone() == (0,)
        connection.execute("DELETE FROM posts WHERE id = 1")
        assert connection.execute(question.encode()).fetchone() == (2,)  # the row, and its copy in the outbox
        connection.execute("SELECT pg_drop_replication_slot('watcher')")


def test_probes_lose_no_row_even_where_the_guard_is_off(server: PostgresServer) -> None:
    with platform(server, "off", Mode.DIVERT) as connection:
        for each in ("drop", "command", "rewrite"):
            connection.execute(f"ALTER EVENT TRIGGER scelle_guard_{each} DISABLE".encode())
        for table in (*(f"public.{name}" for name in TABLES), "scelle_probe.twin", "scelle_probe.leaf"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
        before = _all_rows(connection)
        red = {(state.table, state.path): state.how for state in _red(probe(connection))}
        assert _all_rows(connection) == before
        assert {red["public.posts", "delete"], red["scelle_probe.twin", "truncate, divert"]} == {How.PROBED}
        assert "scelle_probe.twin" in {table for table, path in red if path.startswith("drop-table")}


@pytest.mark.long  # a bound on time: other work on the machine would fail it
def test_a_thousand_probes_delay_no_query(server: PostgresServer) -> None:
    with platform(server, "many", Mode.DIVERT) as connection:
        stop, slowest, probes = threading.Event(), 0.0, 0
        red: list[PathState] = []

        def work() -> None:
            nonlocal slowest
            with server.connect("many") as mine:
                while not stop.is_set():
                    started = time.monotonic()
                    mine.execute("UPDATE posts SET spare = spare WHERE id = 2")
                    slowest = max(slowest, time.monotonic() - started)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            while probes < 1000:
                states = probe(connection)
                probes += sum(state.how is How.PROBED for state in states)
                red += _red(states)
        finally:
            stop.set()
            worker.join()
        assert red == []
        assert slowest < 0.1


def test_without_an_installation_the_guard_is_red(server: PostgresServer) -> None:
    with server.database("nothing") as connection:
        assert (
            [state.state for state in probe(connection)]
            == [State.RED]
            == [state.state for state in inspect(connection)]
        )


def _red(states: list[PathState]) -> list[PathState]:
    return [state for state in states if state.state is State.RED]


def _all_rows(connection: "psycopg.Connection[Any]") -> list[list[tuple[Any, ...]]]:
    tables = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE oid >= 16384 AND (relkind = 'r' "
        "OR relkind = 'S' AND relnamespace::regnamespace::text NOT LIKE 'scelle%') ORDER BY 1"
    ).fetchall()
    return [connection.execute(f"SELECT * FROM {table}".encode()).fetchall() for (table,) in tables]
