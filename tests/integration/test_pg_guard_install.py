"""Planning, installing and removing the guard on real servers: busy tables, missing rights, kills, and nothing left."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.integration.pg_guard_platform import OWNER, attempt, make_role, platform, wishes
from tests.integration.postgres import PASSWORD, PostgresServer

from scelle.errors import GuardWrong, InputError
from scelle.guard.postgres import (
    Mode,
    State,
    Tries,
    Wish,
    inspect,
    install,
    outbox,
    plan,
    probe,
    remove,
    wishes_for,
)
from scelle.guard.postgres.suspending import allow_migration

HURRIED = Tries(lock_timeout_ms=50, rounds=2, pause_s=0.01)

OBJECTS = """
SELECT 'relation', oid::text, relname::text || coalesce(relacl::text, '') || relhastriggers FROM pg_class
  WHERE oid >= 16384
UNION ALL SELECT 'function', oid::text, proname FROM pg_proc WHERE oid >= 16384
UNION ALL SELECT 'trigger', oid::text, tgname FROM pg_trigger WHERE oid >= 16384
UNION ALL SELECT 'schema', oid::text, nspname FROM pg_namespace WHERE oid >= 16384
UNION ALL SELECT 'event', oid::text, evtname FROM pg_event_trigger
UNION ALL SELECT 'type', oid::text, typname FROM pg_type WHERE oid >= 16384
ORDER BY 1, 2
"""


def test_a_plan_changes_nothing_and_names_every_statement_lock_and_undo(server: PostgresServer) -> None:
    with platform(server, "planned", None) as connection:
        before = _objects(connection)
        found = plan(connection, wishes(Mode.DIVERT))
        assert _objects(connection) == before
        assert found.is_possible
        assert [step.table for step in found.steps] == [
            "scelle_guard", "public.posts", "public.events", "public.events_1", "public.events_2", "public.notes",
            "public.long_notes",
        ]  # fmt: skip
        assert {step.lock for step in found.steps[1:]} == {"SHARE ROW EXCLUSIVE"}
        for step in found.steps:
            with connection.transaction():
                for statement in step.statements:
                    connection.execute(statement.encode())
        assert install(connection, wishes(Mode.DIVERT)).state == "complete"
        assert not [state for state in inspect(connection) if state.state is State.RED]
        for step in found.undo:
            with connection.transaction():
                for statement in step.statements:
                    connection.execute(statement.encode())
        assert _names(_objects(connection)) == _names(before)


def test_removal_leaves_nothing_behind(server: PostgresServer) -> None:
    with platform(server, "removed", None) as connection:
        before = _objects(connection)
        install(connection, wishes(Mode.DIVERT))
        assert _objects(connection) != before
        first = remove(connection, ["public.events"])
        assert (first.state, set(first.done)) == (
            "complete",
            {"public.events", "public.events_1", "public.events_2"},
        )
        assert remove(connection).state == "complete"
        # having had triggers stays noted in pg_class until the next VACUUM
        assert _names(_objects(connection)) == _names(before)
        assert remove(connection).done == ()


@pytest.mark.parametrize("updates", [True, False])
def test_partitions_that_came_later_are_taken_over_changed_and_removed(
    server: PostgresServer, updates: bool
) -> None:
    with platform(server, "later", Mode.DIVERT, updates=updates) as connection:
        add = "CREATE TABLE events_{0} PARTITION OF events FOR VALUES FROM ('2026-{0}-01') TO ('2026-{1}-01')"
        connection.execute(add.format("03", "04").encode())
        connection.execute("INSERT INTO events VALUES (5, 7, '2026-03-03')")
        assert not [state for state in probe(connection) if state.state in (State.RED, State.NOT_PROBED)]
        assert attempt(connection, ["UPDATE events_03 SET account = 9"])[1] == [
            ("events_03", "update", ["5", "7", "2026-03-03"])
        ]
        assert install(connection, wishes(Mode.REFUSE, updates=updates)).state == "complete"
        connection.execute(add.format("04", "05").encode())
        assert attempt(connection, ["DELETE FROM events_03"])[0] == "SC001"
        assert not [state for state in probe(connection) if state.state in (State.RED, State.NOT_PROBED)]
        done = remove(connection, ["public.events"])
        assert (done.state, len(done.done)) == ("complete", 5)
        assert attempt(connection, ["DELETE FROM events"]) == ("", [])
        assert remove(connection).state == "complete"
        connection.execute("DROP TABLE events")


def test_the_schema_stays_while_rows_wait(server: PostgresServer) -> None:
    with platform(server, "waiting", Mode.DIVERT) as connection:
        connection.execute("DELETE FROM posts WHERE id = 1")
        found = remove(connection)
        assert found.state == "partial"
        assert "1 rows wait" in found.left["scelle_guard"]
        connection.execute("DELETE FROM posts WHERE id = 3")  # no longer guarded
        assert [each.cells[0] for each in outbox.waiting(connection, 10)] == ["1"]
        assert remove(connection, leave_outbox=True).state == "complete"


def test_a_busy_table_stays_partial_holds_nobody_up_and_is_done_later(server: PostgresServer) -> None:
    with platform(server, "busy", None) as connection, server.connect("busy") as other:
        with other.transaction():
            other.execute("UPDATE posts SET body = body")
            started = time.monotonic()
            found = install(connection, wishes(Mode.DIVERT), tries=HURRIED)
            assert time.monotonic() - started < 5
            assert found.state == "partial"
            assert list(found.left) == ["public.posts"]
            assert "busy" in found.left["public.posts"]
        assert install(connection, wishes(Mode.DIVERT), tries=HURRIED).state == "complete"


def test_installing_anew_changes_the_mode_and_leaves_what_stands(server: PostgresServer) -> None:
    with platform(server, "again", Mode.DIVERT) as connection:
        before = _objects(connection)
        assert attempt(connection, ["DELETE FROM posts"])[0] == ""
        assert install(connection, wishes(Mode.DIVERT)).state == "complete"
        assert [row for row in _objects(connection) if row[0] != "event"] == [
            row for row in before if row[0] != "event"
        ]
        assert install(connection, wishes(Mode.REFUSE)).state == "complete"
        assert attempt(connection, ["DELETE FROM posts"])[0] == "SC001"


def test_what_was_broken_is_repaired(server: PostgresServer) -> None:
    with platform(server, "broken", Mode.DIVERT) as connection:
        connection.execute("ALTER EVENT TRIGGER scelle_guard_drop DISABLE")
        connection.execute("ALTER EVENT TRIGGER scelle_guard_command DISABLE")
        connection.execute("DROP TRIGGER scelle_guard_delete ON posts")
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        assert attempt(connection, ["DELETE FROM posts"]) == ("", [])
        assert install(connection, wishes(Mode.DIVERT)).state == "complete"
        assert not [state for state in inspect(connection) if state.state is State.RED]
        assert len(attempt(connection, ["DELETE FROM posts", "DELETE FROM events"])[1]) == 4


def test_a_role_without_rights_is_told_which_to_ask_for(server: PostgresServer) -> None:
    with platform(server, "rights", None) as admin:
        make_role(admin, "modest")
        with server.connect("rights", "modest") as connection:
            found = plan(connection, wishes(Mode.DIVERT))
            assert found.needs == (
                'GRANT CREATE ON DATABASE "rights" TO "modest";',
                f'GRANT "{OWNER}" TO "modest";  -- or run it as the owner of \'public.posts\' and 5 more',
            )
            assert not found.has_event_triggers
            assert "rds_superuser" in found.notes[0]
            assert "cloudsqlsuperuser" in found.notes[0]
            for need in found.needs:
                admin.execute(need.encode())
            assert plan(connection, wishes(Mode.DIVERT)).is_possible
            done = install(connection, wishes(Mode.DIVERT))
            assert (done.state, done.has_event_triggers) == ("complete", False)
            states = {(state.table, state.path): state for state in inspect(connection)}
            assert states["public.posts", "delete"].state is State.EFFECTIVE
            assert states["public.posts", "drop-table"].state is State.NOT_COVERABLE
        assert remove(admin).state == "complete"
        admin.execute("REVOKE CREATE ON DATABASE rights FROM modest")
        admin.execute(f"REVOKE {OWNER} FROM modest".encode())


def test_everything_may_belong_to_a_role_of_its_own(server: PostgresServer) -> None:
    with platform(server, "owned", None) as admin:
        make_role(admin, "keeper")
        admin.execute(f"GRANT {OWNER} TO keeper; GRANT CREATE ON DATABASE owned TO keeper".encode())
        assert install(admin, wishes(Mode.REFUSE), owner="keeper").state == "complete"
        owners = admin.execute(
            "SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'scelle_guard'::regnamespace"
        ).fetchall()
        assert owners == [("keeper",)]
        assert not [state for state in inspect(admin) if state.state is State.RED]
        assert (
            attempt(admin, ["INSERT INTO posts (id) VALUES (9)", "DELETE FROM posts WHERE id = 9"], OWNER)[0]
            == "SC001"
        )
        assert attempt(admin, ["DROP TABLE posts"], OWNER)[0] == "SC001"
        assert remove(admin, owner="keeper").state == "complete"
        admin.execute("DROP OWNED BY keeper; DROP ROLE keeper")


def test_nobody_else_reads_the_guards_tables_or_calls_its_functions(server: PostgresServer) -> None:
    with platform(server, "closed", Mode.DIVERT) as admin:
        make_role(admin, "curious")
        with server.connect("closed", "curious") as connection:
            for statement in (
                "SELECT * FROM scelle_guard.held", "SELECT * FROM scelle_guard.secret", "SELECT scelle_guard.ref('u1')",
                "SELECT * FROM scelle_guard.outbox", "SELECT * FROM scelle_probe.twin",
            ):  # fmt: skip
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
        texts = admin.execute(
            "SELECT t.* FROM scelle_guard.tables t UNION ALL SELECT NULL, NULL, NULL, h::text, NULL, NULL, NULL, NULL, "
            "NULL, NULL FROM scelle_guard.held h"
        ).fetchall()
        assert "u1" not in str(texts)
        secret = admin.execute("SELECT seed::text, encode(key, 'hex') FROM scelle_guard.secret").fetchone()
        bodies = str(
            admin.execute(
                "SELECT prosrc FROM pg_proc WHERE pronamespace = 'scelle_guard'::regnamespace"
            ).fetchall()
        )
        assert secret is not None
        assert not any(part in bodies for part in secret)


def test_restricted_tables_are_only_refused() -> None:
    with pytest.raises(InputError, match="restricted"):
        Wish("public", "posts", Mode.DIVERT, is_restricted=True)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish("public", "nowhere"), "no table"),
        (Wish("public", "posts", account="nobody"), "no column"),
        (Wish("public", "blobs", account="account"), "bytea"),
        (Wish("public", "loose"), "not logged"),
    ],
)
def test_what_cannot_be_guarded_is_said_before_anything_changes(
    server: PostgresServer, wish: Wish, said: str
) -> None:
    with platform(server, "wrong", None) as connection:
        connection.execute("CREATE TABLE blobs (account bytea); CREATE UNLOGGED TABLE loose (id int)")
        before = _objects(connection)
        for ask in (plan, install):
            with pytest.raises(GuardWrong, match=said):
                ask(connection, [*wishes(Mode.DIVERT), wish])
        assert _objects(connection) == before


def test_patterns_choose_roots_and_accounts(server: PostgresServer) -> None:
    with platform(server, "patterns", None) as connection:
        found = wishes_for(connection, ("public.*", "!public.*notes"), Mode.REFUSE, accounts=("account",))
        assert [(wish.name, wish.account) for wish in found] == [
            ("events", "account"), ("posts", "account"), ("users", None),
        ]  # fmt: skip


def test_a_table_partitioned_by_its_account_has_its_updates_guarded(server: PostgresServer) -> None:
    with platform(server, "parted", None) as connection:
        connection.execute("CREATE TABLE by_account (id int, account text) PARTITION BY LIST (account)")
        connection.execute("CREATE TABLE part_1 PARTITION OF by_account FOR VALUES IN ('u1')")
        connection.execute("CREATE TABLE part_2 PARTITION OF by_account FOR VALUES IN ('u2')")
        connection.execute("INSERT INTO by_account VALUES (1, 'u1')")
        wish = Wish("public", "by_account", Mode.REFUSE, "account", updates=False)
        assert any("updates are guarded" in note for note in plan(connection, [wish]).notes)
        install(connection, [wish])
        from scelle.guard.postgres import hold

        hold(connection, ["u1"])
        assert attempt(connection, ["UPDATE by_account SET account = 'u2'"])[0] == "SC001"


def test_a_change_of_the_account_is_guarded_where_updates_are_not(server: PostgresServer) -> None:
    with platform(server, "owner_only", Mode.REFUSE, updates=False) as connection:
        assert attempt(connection, ["UPDATE posts SET body = 'other'"]) == ("", [])
        assert attempt(connection, ["UPDATE posts SET account = 'u9'"])[0] == "SC001"
        assert attempt(connection, ["UPDATE events_1 SET account = 9"])[0] == "SC001"


def test_a_renamed_table_stays_guarded_and_a_new_column_is_kept(server: PostgresServer) -> None:
    with platform(server, "renamed", Mode.DIVERT) as connection:
        connection.execute("ALTER TABLE posts RENAME TO entries")
        connection.execute("ALTER TABLE entries ADD COLUMN later int DEFAULT 5")
        assert not [state for state in inspect(connection) if state.state is State.RED]
        _, found = attempt(connection, ["DELETE FROM entries WHERE id = 1"])
        assert found == [("entries", "delete", ["1", "1", "u1", "kept", "s", "5"])]


def test_an_allowed_migration_may_drop_its_column_until_its_time_and_no_other(server: PostgresServer) -> None:
    with platform(server, "migrated", Mode.DIVERT) as connection:
        soon = datetime.now(UTC) + timedelta(minutes=30)
        allow_migration(connection, "posts", "spare", soon)
        assert attempt(connection, ["ALTER TABLE posts DROP COLUMN body"])[0] == "SC001"
        assert attempt(connection, ["DROP TABLE posts"])[0] == "SC001"
        connection.execute("ALTER TABLE posts DROP COLUMN spare")
        assert [(each.cause, each.op) for each in outbox.missed(connection, 9)] == [
            ("allowed", "drop table column")
        ]
        allow_migration(connection, "posts", "body", datetime.now(UTC) - timedelta(seconds=1))
        assert attempt(connection, ["ALTER TABLE posts DROP COLUMN body"])[0] == "SC001"
        with pytest.raises(GuardWrong):
            allow_migration(connection, "users", None, soon)


_INSTALL = """
import sys, psycopg
from scelle.guard.postgres import Mode, install, wishes_for
connection = psycopg.connect(sys.argv[1], autocommit=True)
print("go", flush=True)
install(connection, wishes_for(connection, ("public.*",), Mode.DIVERT))
"""


def test_an_installation_that_is_killed_goes_on(server: PostgresServer) -> None:
    with server.database("killed") as connection:
        for number in range(30):
            connection.execute(f"CREATE TABLE t{number} (id int); INSERT INTO t{number} VALUES (1)".encode())
        dsn = f"host={server.host} port={server.port} dbname=killed user=postgres password={PASSWORD}"
        for wanted in (0, 1, 10, 20):
            command = [sys.executable, "-c", _INSTALL, dsn]
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as run:
                assert run.stdout is not None
                run.stdout.readline()
                while _guarded(connection) < wanted:
                    assert run.poll() is None
                run.send_signal(signal.SIGKILL)
            assert wanted <= _guarded(connection)
        assert install(connection, wishes_for(connection, ("public.*",), Mode.DIVERT)).state == "complete"
        assert _guarded(connection) == 30
        assert not [state for state in inspect(connection) if state.state is State.RED]


@pytest.mark.long  # a bound on time: other work on the machine would fail it
def test_a_busy_workload_waits_no_longer_than_half_a_second(server: PostgresServer) -> None:
    with server.database("workload") as connection:
        for number in range(50):
            connection.execute(
                f"CREATE TABLE t{number} (id int PRIMARY KEY, n int); INSERT INTO t{number} VALUES (1, 0)".encode()
            )
        stop, slowest = threading.Event(), [0.0, 0.0]

        def work(worker: int) -> None:
            with server.connect("workload") as mine:
                turn = worker
                while not stop.is_set():
                    turn += 7
                    started = time.monotonic()
                    mine.execute(f"UPDATE t{turn % 50} SET n = n + 1".encode())
                    slowest[worker] = max(slowest[worker], time.monotonic() - started)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for worker in workers:
            worker.start()
        try:
            found = install(connection, wishes_for(connection, ("public.*",), Mode.DIVERT, accounts=("id",)))
            assert found.state == "complete"
            assert remove(connection).state == "complete"
        finally:
            stop.set()
            for worker in workers:
                worker.join()
        assert max(slowest) < 0.5


def _guarded(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute("SELECT count(DISTINCT tgrelid) FROM pg_trigger WHERE tgname LIKE 'scelle%' "
                             "AND tgrelid::regclass::text NOT LIKE 'scelle%'").fetchone()  # fmt: skip
    return 0 if row is None else int(row[0])


def _objects(connection: "psycopg.Connection[Any]") -> list[tuple[str, str, str]]:
    return connection.execute(OBJECTS).fetchall()


def _names(rows: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return sorted((kind, name.removesuffix("true").removesuffix("false")) for kind, _, name in rows)
