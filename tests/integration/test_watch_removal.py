"""Take away what a watch made on a real server: never from under another order, and never unsaid."""

import signal
from pathlib import Path

import pytest
from tests.integration.live_vault import Connection, Vault, until_read
from tests.integration.postgres import PostgresServer


@pytest.fixture
def tables() -> str:
    return "CREATE TABLE posts (id bigint PRIMARY KEY, account_id text)"


@pytest.fixture
def vault(vault: Vault) -> Vault:
    vault.order()
    vault.watch()
    return vault


def test_what_was_made_goes_and_the_gap_is_closed_by_the_next_watch(vault: Vault, db: Connection) -> None:
    (removed,) = vault.json("watch", "remove", "o-1", "--yes")["removed"]
    assert len(removed["dropped"]) == 3
    assert _made(db) == 0
    (gap,) = vault.gaps()
    assert (gap["cause"], gap["open"]) == ("watch-removed", True)
    db.execute("INSERT INTO posts VALUES (1, 'a')")
    assert vault.json("watch", "remove", "o-1", "--yes")["removed"][0]["dropped"] == []
    assert len(vault.gaps()) == 1  # removed twice is removed once
    report = vault.json("watch", "o-1", "--until-caught-up")
    assert report["snapshots"][0]["new"] == 1
    assert vault.causes() == [("watch-removed", False)]
    vault.run("verify")


def test_it_stays_while_another_order_is_captured_through_it(vault: Vault, db: Connection) -> None:
    vault.order("o-2", notify="forbidden")
    vault.watch("o-2")
    for order in ("o-1", "o-2"):
        vault.run("watch", "remove", order, "--source", "app", "--yes", code=3)
    assert _made(db) == 3
    assert vault.gaps() == []
    vault.run("order", "lift", "o-1")
    vault.run("watch", "remove", "o-2", "--source", "app", "--yes")
    assert _made(db) == 0
    assert [gap["order"] for gap in vault.gaps()] == ["o-2"]  # of an order that is over nothing is missed


def test_it_stays_while_somebody_reads_it(vault: Vault, db: Connection) -> None:
    process = vault.start("watch", "o-1")
    until_read(db)
    vault.run("watch", "remove", "o-1", "--yes", code=4)
    assert (_made(db), vault.gaps()) == (3, [])
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
