"""Watch a real standby: its primary is left alone, and nothing is lost at the seam or when it takes over."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.integration.live_vault import Connection, Vault, drop_slots, until
from tests.integration.postgres import PASSWORD, PostgresServer, Servers, serve_postgres, standby_of

CONFIRMED = "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots"
SYNCED = "SELECT count(*) FROM pg_replication_slots WHERE synced AND failover AND NOT temporary"
FEEDBACK = "-c hot_standby_feedback=on -c wal_receiver_status_interval=1"


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with serve_postgres("18") as running:
        yield running


@pytest.fixture
def db(primary: PostgresServer) -> Iterator[Connection]:
    with primary.database("app") as connection:
        connection.execute("CREATE TABLE posts (id bigint PRIMARY KEY, account_id text)")
        connection.execute("ALTER TABLE posts REPLICA IDENTITY FULL")
        connection.execute("INSERT INTO posts SELECT i, 'a' FROM generate_series(1, 100) i")
        try:
            yield connection
        finally:
            drop_slots(connection)


@pytest.fixture
def standby(primary: PostgresServer, db: Connection) -> Iterator[PostgresServer]:
    with standby_of(primary, FEEDBACK) as running:
        until(lambda: _reaches(db, running))
        yield running


@pytest.fixture
def vault(tmp_path: Path, standby: PostgresServer) -> Iterator[Vault]:
    made = Vault(tmp_path, standby)
    made.order()
    try:
        yield made
    finally:
        made.stop()


def test_the_people_of_the_primary_publish_and_the_standby_is_read(
    vault: Vault, db: Connection, standby: PostgresServer
) -> None:
    vault.run("watch", "o-1", "--until-caught-up", code=4)
    plan = vault.json("watch", "plan", "o-1")["sources"][0]
    assert [each["on"] for each in plan["statements"]] == ["primary", "primary", "server"]
    assert (plan["warnings"], plan["wal"]["bytes_per_hour"]) == ([], None)
    _publish(vault, db, standby)
    with _logged(db):
        first = vault.json("watch", "o-1", "--until-caught-up")
    assert first["snapshots"][0]["new"] == 102
    assert _slots(db) == 0  # nothing of it is on the primary
    db.execute("INSERT INTO posts VALUES (200, 'a'), (201, 'a')")
    db.execute("DELETE FROM posts WHERE id = 200")
    until(lambda: _reaches(db, standby))
    assert vault.watch()["sealed"] == 3
    assert vault.watch()["sealed"] == 0
    assert vault.json("gap", "list", code=None)["gaps"] == []
    removed = vault.json("watch", "remove", "o-1", "--yes")["removed"][0]
    assert (len(removed["dropped"]), len(removed["left_on_primary"])) == (1, 2)
    vault.run("verify")


def test_what_runs_while_the_snapshot_is_taken_is_sealed_once(
    vault: Vault, db: Connection, standby: PostgresServer, primary: PostgresServer
) -> None:
    _publish(vault, db, standby)
    with _logged(db):
        vault.watch()
        vault.order("o-2")
        with primary.connect("app") as other:
            other.execute("BEGIN")
            other.execute("DELETE FROM posts WHERE id = 1")
            db.execute("INSERT INTO posts VALUES (300, 'a')")  # seen, and numbered behind the other
            until(lambda: _reaches(db, standby))
            vault.watch("o-2")
            other.execute("COMMIT")
    until(lambda: _reaches(db, standby))
    vault.watch("o-2")
    assert vault.found("o-2", 'native = "[1]"') == 2  # the row, and that it was deleted
    assert vault.found("o-2", 'native = "[300]"') == 1


def test_a_standby_that_takes_over_is_a_gap_that_a_snapshot_closes(
    vault: Vault, db: Connection, standby: PostgresServer
) -> None:
    _publish(vault, db, standby)
    with _logged(db):
        vault.watch()
    process = vault.start("watch", "o-1", "--json")
    with standby.connect("app") as there:
        until(lambda: _slots(there) == 1)
        there.execute("SELECT pg_promote()")
        there.execute("INSERT INTO posts VALUES (400, 'a')")
        until(lambda: vault.causes() == [("server-promoted", False)])
        there.execute("INSERT INTO posts VALUES (401, 'a')")
        place = there.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
        until(lambda: there.execute(CONFIRMED, place).fetchone() == (True,))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["gaps"] == 0
    assert vault.found("o-1", 'native = "[400]" or native = "[401]"') == 2


def test_of_two_hosts_the_stream_is_the_primarys_and_a_snapshot_behind_it_is_refused(
    primary: PostgresServer, standby: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, primary)
    url = f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/app"
    vault.run("source", "add", "both", url, "--credential", "env:APP_PASSWORD")
    vault.order("o-1", sources='"both"')
    with standby.connect("app") as there:
        there.execute("SELECT pg_wal_replay_pause()")
        until(lambda: there.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",))
        db.execute("INSERT INTO posts VALUES (500, 'a')")
        process = vault.start("watch", "o-1", "--until-caught-up")
        _, err = process.communicate(timeout=120)
        assert process.returncode == 4
        assert "is behind the stream: run again" in err
        there.execute("SELECT pg_wal_replay_resume()")
    until(lambda: _reaches(db, standby))
    first = vault.json("watch", "o-1", "--until-caught-up")["snapshots"][0]
    assert "is a primary" not in str(first["sources"]["both"]["notes"])
    assert _slots(db) == 1
    db.execute("INSERT INTO posts VALUES (501, 'a')")
    assert vault.json("watch", "o-1", "--until-caught-up")["sources"]["both"]["sealed"] == 1
    assert vault.found("o-1", 'native = "[500]" or native = "[501]"') == 2


def test_of_two_hosts_the_guard_stands_on_the_primary(
    primary: PostgresServer, standby: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, primary)
    url = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/app"
    vault.run("source", "add", "both", url, "--credential", "env:APP_PASSWORD")
    vault.order("o-1", sources='"both"')
    vault.json("watch", "o-1", "--until-caught-up")
    vault.json("guard", "install", "o-1", "--source", "both", "--mode", "divert", code=None)
    until(lambda: _reaches(db, standby))
    db.execute("DELETE FROM posts WHERE id = 1")
    vault.json("watch", "o-1", "--until-caught-up")
    assert db.execute("SELECT count(*) FROM scelle_guard.outbox").fetchone() == (0,)
    assert vault.found("o-1", 'native = "[1]"') >= 2


@pytest.mark.parametrize("failover", [True, False])
def test_a_slot_that_the_standby_took_along_gives_what_was_not_read(
    primary: PostgresServer, db: Connection, tmp_path: Path, failover: bool
) -> None:
    db.execute("SELECT pg_create_physical_replication_slot('along', true)")
    where = f"host=127.0.0.1 port={primary.port} user=postgres password={PASSWORD} dbname=postgres"
    along = f"-c primary_slot_name=along -c primary_conninfo='{where}'"
    with standby_of(primary, f"{FEEDBACK} {along}") as standby:
        vault = Vault(tmp_path, primary)
        url = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/app"
        vault.run("source", "add", "both", url, "--credential", "env:APP_PASSWORD")
        if failover:
            vault.run("source", "set", "both", "--failover-slot")
        vault.order("o-1", sources='"both"')
        until(lambda: _reaches(db, standby))
        vault.json("watch", "o-1", "--until-caught-up")
        with standby.connect("app") as there, _logged(db):
            if failover:  # it is taken along once it moves, which takes somebody who reads it
                process = vault.start("watch", "o-1")
                until(lambda: _takes_along(there))
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=120)
            db.execute("INSERT INTO posts VALUES (600, 'a')")
            db.execute("DELETE FROM posts WHERE id = 600")
            until(lambda: _reaches(db, standby))
            there.execute("SELECT pg_promote()")
            vault.json("watch", "o-1", "--until-caught-up")
            drop_slots(there)
    assert vault.causes() == [("server-promoted", False)]
    assert vault.found("o-1", 'native = "[600]"') == (2 if failover else 0)


def test_without_feedback_the_plan_warns(primary: PostgresServer, db: Connection, tmp_path: Path) -> None:
    with standby_of(primary) as deaf:
        until(lambda: _reaches(db, deaf))
        vault = Vault(tmp_path, deaf)
        vault.order()
        (warning,) = vault.json("watch", "plan", "o-1")["sources"][0]["warnings"]
        assert "hot_standby_feedback is off" in warning


def test_a_standby_that_is_too_old_is_refused(servers: Servers, tmp_path: Path) -> None:
    old = servers("15")
    with old.database("app") as db:
        db.execute("CREATE TABLE posts (id bigint PRIMARY KEY)")
        with standby_of(old) as standby:
            until(lambda: _reaches(db, standby))
            vault = Vault(tmp_path, standby)
            vault.order()
            process = vault.start("watch", "o-1")
            _, err = process.communicate(timeout=120)
            assert process.returncode == 4
            assert "is a standby of PostgreSQL 15, which gives no changes: from 16 on it does" in err
            assert "a standby of PostgreSQL 15" in vault.run("watch", "plan", "o-1")


def _publish(vault: Vault, db: Connection, standby: PostgresServer) -> None:
    """Do what the plan asks of the people of the primary."""
    for each in vault.json("watch", "plan", "o-1")["sources"][0]["statements"]:
        if each["on"] == "primary":
            db.execute(each["sql"].encode())
    until(lambda: _reaches(db, standby))


def _reaches(db: Connection, standby: PostgresServer) -> bool:
    """Tell whether a standby has applied everything that its primary wrote."""
    row = db.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    try:
        with standby.connect("app") as there:
            done = there.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone()
    except psycopg.OperationalError:
        return False
    return done == (True,)


def _takes_along(standby: Connection) -> bool:
    """Do what a standby with `sync_replication_slots` does every so often; tell whether it keeps a slot by now."""
    standby.execute("SELECT pg_sync_replication_slots()")
    return standby.execute(SYNCED).fetchone() == (1,)


def _slots(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone()
    assert row is not None
    count: int = row[0]
    return count


@contextmanager
def _logged(db: Connection) -> Iterator[None]:
    """Have the primary log what runs there again and again, as its people do for a slot on the standby."""
    ending = threading.Event()

    def log() -> None:
        with psycopg.connect(db.info.dsn, password=db.info.password, autocommit=True) as connection:
            while not ending.wait(0.2):
                connection.execute("SELECT pg_log_standby_snapshot()")

    thread = threading.Thread(target=log)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
