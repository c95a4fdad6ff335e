"""Take away what a watch made on a real server: never from under another order, and never unsaid."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.live_vault import Connection, Vault, drop_slots
from tests.integration.postgres import VERSIONS, PostgresServer, serve_postgres
from tests.integration.test_watch_caps import _until


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    with serve_postgres(request.param) as running:
        yield running


@pytest.fixture
def db(server: PostgresServer) -> Iterator[Connection]:
    with server.database("app") as connection:
        connection.execute("CREATE TABLE posts (id bigint PRIMARY KEY, account_id text)")
        try:
            yield connection
        finally:
            drop_slots(connection)


@pytest.fixture
def vault(tmp_path: Path, server: PostgresServer, db: Connection) -> Iterator[Vault]:
    made = Vault(tmp_path, server)
    made.order()
    made.watch()
    try:
        yield made
    finally:
        made.stop()


def test_what_was_made_goes_and_the_gap_is_closed_by_the_next_watch(vault: Vault, db: Connection) -> None:
    (removed,) = vault.json("watch", "remove", "o-1", "--yes")["removed"]
    assert len(removed["dropped"]) == 3
    assert _made(db) == 0
    (gap,) = _gaps(vault)
    assert (gap["cause"], gap["open"]) == ("watch-removed", True)
    db.execute("INSERT INTO posts VALUES (1, 'a')")
    assert vault.json("watch", "remove", "o-1", "--yes")["removed"][0]["dropped"] == []
    assert len(_gaps(vault)) == 1  # removed twice is removed once
    report = vault.json("watch", "o-1", "--until-caught-up")
    assert report["snapshots"][0]["new"] == 1
    assert [(gap["cause"], gap["open"]) for gap in _gaps(vault)] == [("watch-removed", False)]
    vault.run("verify")


def test_it_stays_while_another_order_is_captured_through_it(vault: Vault, db: Connection) -> None:
    vault.order("o-2", notify="forbidden")
    vault.watch("o-2")
    for order in ("o-1", "o-2"):
        vault.run("watch", "remove", order, "--source", "app", "--yes", code=3)
    assert _made(db) == 3
    assert _gaps(vault) == []
    vault.run("order", "lift", "o-1")
    vault.run("watch", "remove", "o-2", "--source", "app", "--yes")
    assert _made(db) == 0
    assert [gap["order"] for gap in _gaps(vault)] == ["o-2"]  # of an order that is over nothing is missed


def test_it_stays_while_somebody_reads_it(vault: Vault, db: Connection) -> None:
    process = vault.start("watch", "o-1")
    _until(lambda: db.execute("SELECT 1 FROM pg_replication_slots WHERE active").fetchone() == (1,))
    vault.run("watch", "remove", "o-1", "--yes", code=4)
    assert (_made(db), _gaps(vault)) == (3, [])
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    vault.run("watch", "remove", "o-1", "--yes")
    assert _made(db) == 0


def test_it_stays_while_a_guard_needs_it(vault: Vault, db: Connection) -> None:
    vault.json("guard", "install", "o-1", "--source", "app", "--mode", "divert", code=None)
    vault.run("watch", "remove", "o-1", "--yes", code=3)
    vault.json("guard", "remove", "o-1", "--source", "app", "--yes")
    vault.run("watch", "remove", "o-1", "--yes")
    assert _made(db) == 0


def test_with_operators_two_people_remove_it(server: PostgresServer, db: Connection, tmp_path: Path) -> None:
    vault = Vault(tmp_path, server, "--cooling-off", "0s")
    vault.order()
    vault.watch()
    vault.env["SCELLE_OPERATOR_PASSPHRASE_FROM"] = "env:APP_PASSWORD"
    vault.run("operator", "add", "alice", "--role", "counsel")
    for name in ("bob", "carol"):
        vault.run("--as", "alice", "operator", "add", name, "--role", "counsel")
    asked = vault.json("--as", "alice", "watch", "remove", "o-1")
    assert _made(db) == 3
    assert vault.json("--as", "bob", "request", "approve", asked["request"])["state"] == "executed"
    assert _made(db) == 0
    vault.run("--as", "alice", "verify")


def test_what_is_no_watch_is_refused(vault: Vault) -> None:
    vault.run("watch", "forget", "o-1", code=2)
    vault.run("watch", "remove", "o-1", "--source", "elsewhere", "--yes", code=2)
    vault.run("watch", "o-1", "--source", "app", "--until-caught-up", code=2)


def _made(db: Connection) -> int:
    """Count the slots and publications that are there."""
    row = db.execute(
        "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)"
    ).fetchone()
    assert row is not None
    made: int = row[0]
    return made


def _gaps(vault: Vault) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = vault.json("gap", "list", code=None)["gaps"]
    return found
