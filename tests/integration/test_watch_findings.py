"""What readers of watch found: rows that were never sealed, gaps that never closed, answers that said too little."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.live_vault import POSTS, Connection, Vault, drop_slots, reader, sums, until, until_read
from tests.integration.postgres import PASSWORD, PostgresServer

PARTS = """
CREATE TABLE parts (id bigint, account_id text, body text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (1000) PARTITION BY RANGE (id);
CREATE TABLE parts_high_all PARTITION OF parts_high FOR VALUES FROM (10) TO (1000);
INSERT INTO parts SELECT i, 'a', 'mild' FROM generate_series(1, 20) i
"""
NOWHERE = """
INSERT INTO scelle_guard.outbox (schema_name, table_name, op, columns, cells)
SELECT 'public', 'nowhere', 'delete', '{id,body}', ARRAY[i::text, 'late'] FROM generate_series(1, 2) i
"""


@pytest.fixture
def tables() -> str:
    return f"{POSTS}; INSERT INTO posts SELECT i, 'a', 'mild' FROM generate_series(1, 10) i"


# --- the guard's outbox


@pytest.mark.parametrize(
    "statement", ["TRUNCATE parts", "DELETE FROM parts", "TRUNCATE parts_low, parts_high"]
)
def test_rows_of_partitions_that_the_guard_kept_are_sealed_under_their_root(
    vault: Vault, db: Connection, statement: str
) -> None:
    db.execute(PARTS)
    vault.order()
    vault.watch()
    vault.json("guard", "install", "o-1", "--source", "app", "--mode", "divert")
    db.execute(statement.encode())
    counts = vault.watch()
    # they are the snapshot's own rows, under its root
    assert (counts["failed"], counts["unchanged"]) == (0, 20)
    assert db.execute("SELECT count(*) FROM scelle_guard.outbox").fetchone() == (0,)
    assert vault.watch()["offered"] == 0
    vault.run("verify")


def test_a_partition_that_came_while_the_stream_stood_is_known(vault: Vault, db: Connection) -> None:
    db.execute(PARTS)
    vault.order()
    vault.watch()
    vault.json("guard", "install", "o-1", "--source", "app", "--mode", "divert")
    process = vault.start("watch", "o-1", "--json")
    until_read(db)
    db.execute("CREATE TABLE parts_top PARTITION OF parts FOR VALUES FROM (1000) TO (2000)")
    db.execute("INSERT INTO parts VALUES (1000, 'a', 'new')")
    db.execute("TRUNCATE parts")
    until(lambda: db.execute("SELECT count(*) FROM scelle_guard.outbox").fetchone() == (0,))
    out, err = vault.watch_ended(process)
    assert process.returncode == 0, err
    assert json.loads(out)["sources"]["app"]["failed"] == 0
    assert vault.found("o-1", 'native = "[1000]"') >= 1


def test_a_kept_row_that_cannot_be_sealed_is_counted_once_and_is_an_open_gap(
    vault: Vault, db: Connection
) -> None:
    vault.order()
    vault.watch()
    vault.json("guard", "install", "o-1", "--source", "app", "--mode", "divert")
    db.execute(NOWHERE)
    process = vault.start("watch", "o-1", "--json")
    until(lambda: vault.causes() == [("outbox-not-sealed", True)])
    time.sleep(2)
    out, err = vault.watch_ended(process)
    assert process.returncode == 1, err
    assert sums(json.loads(out)["sources"]["app"])[:2] == (2, 0)
    assert err.count("could not be sealed") == 1
    for _ in range(2):
        assert vault.watch(code=1)["offered"] == 0  # the same rows again: they were counted
    items = vault.json("status", "o-1", "--items", "failed", code=None)["items"]
    assert [(item["source"], item["cause"]) for item in items] == [("app", "no-such-table")] * 2
    assert vault.json("status", code=1)["orders"][0]["watched"]["app"]["failed"] == 2
    vault.run("gap", "list", code=1)
    db.execute("CREATE TABLE nowhere (id bigint PRIMARY KEY, body text)")  # what they are of is known again
    vault.watch()
    vault.watch()
    assert vault.found("o-1", 'body = "late"') == 2
    assert db.execute("SELECT count(*) FROM scelle_guard.outbox").fetchone() == (0,)
    assert ("outbox-not-sealed", False) in vault.causes()
    assert not any(is_open for _, is_open in vault.causes())
    vault.run("verify")


def test_items_that_a_watch_sealed_as_failed_are_listed(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    vault.json("guard", "install", "o-1", "--source", "app", "--mode", "divert")
    db.execute(NOWHERE)
    vault.watch(code=1)
    document = vault.json("status", "o-1", "--items", "failed", code=None)
    assert [item["pass"] for item in document["items"]] == [None, None]
    text = vault.run("status", "o-1", "--items", "failed", code=None)
    assert text.startswith("watch, at ")
    assert text.count("failed: app: public.nowhere") == 2


# --- gaps


@pytest.fixture
def owned(server: PostgresServer, db: Connection, tmp_path: Path) -> Iterator[Vault]:
    """A vault that watches as a role which owns `posts`, and not what a superuser makes."""
    with server.connect() as admin:
        admin.execute(f"CREATE ROLE keeper LOGIN REPLICATION PASSWORD '{PASSWORD}'".encode())
    db.execute("GRANT CREATE ON DATABASE app TO keeper; ALTER TABLE posts OWNER TO keeper")
    made = Vault(tmp_path, server, user="keeper")
    made.order()
    made.watch()
    try:
        yield made
    finally:
        made.stop()
        drop_slots(db)
        db.execute("DROP OWNED BY keeper CASCADE")
        with server.connect() as admin:
            admin.execute("DROP ROLE keeper")


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_table_that_its_owner_publishes_is_read_and_its_gap_closed(
    owned: Vault, db: Connection, is_restarted: bool
) -> None:
    process = None if is_restarted else owned.start("watch", "o-1")
    until(lambda: is_restarted or reader(db))
    db.execute("CREATE TABLE later (id bigint PRIMARY KEY, body text); GRANT SELECT ON later TO keeper")
    db.execute("INSERT INTO later VALUES (1, 'later')")
    if is_restarted:
        owned.watch(code=1)
    until(lambda: owned.causes() == [("table-not-published", True)])
    (gap,) = owned.json("gap", "list", code=1)["gaps"]
    assert gap["tables"] == ["public.later"]
    assert "public.later" in owned.run("gap", "list", code=1)
    (statement,) = owned.json("watch", "plan", "o-1")["sources"][0]["statements"]
    assert "ADD TABLE" in statement["sql"]
    db.execute(f"GRANT keeper TO postgres; {statement['sql']}".encode())
    if is_restarted:
        owned.watch()
    until(lambda: owned.causes() == [("table-not-published", False)])
    db.execute("INSERT INTO later VALUES (2, 'later')")
    if process is not None:
        owned.watch_ended(process)
    owned.watch()
    assert owned.found("o-1", 'native = "[1]" and body = "later"') == 1
    assert owned.found("o-1", 'native = "[2]" and body = "later"') == 1
    assert owned.json("gap", "list")["open"] == 0


def test_an_open_gap_is_an_exit_code_of_status(owned: Vault, db: Connection) -> None:
    owned.json("status")
    db.execute("CREATE TABLE later (id bigint PRIMARY KEY)")
    owned.watch(code=1)
    owned.json("status", code=1)
    assert "gap: app table-not-published" in owned.run("status", code=1)


def test_gaps_are_listed_to_operators_only_once_there_are_some(vault: Vault) -> None:
    vault.order()
    vault.run("gap", "list")
    vault.run("operator", "add", "alice", "--role", "counsel")
    out, err, code = _said(vault, "gap", "list")
    assert (out, code) == ("", 2)
    assert "--as" in err
    vault.run("--as", "alice", "gap", "list")


# --- what is asked for, and what is said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan",), "scelle watch plan ORDER"),
        (("remove",), "scelle watch remove ORDER"),
        (("o-1", "--yes"), "--yes"),
        (("o-1", "--reason", "x"), "--reason"),
        (("o-1", "--source", "app"), "--source"),
        (("plan", "o-1", "--metrics", "9464"), "--metrics"),
        (("plan", "o-1", "--until-caught-up"), "--until-caught-up"),
        (("plan", "o-1", "--every", "5"), "--every"),
        (("remove", "o-1", "--yes", "--promises", "p"), "--promises"),
        (("remove", "o-1", "--yes", "--log-format", "text"), "--log-format"),
    ],
)
def test_what_does_not_belong_to_a_form_is_refused(vault: Vault, words: tuple[str, ...], said: str) -> None:
    vault.order()
    out, err, code = _said(vault, "watch", *words)
    assert (out, code) == ("", 2)
    assert said in err
    assert len(err.splitlines()) == 1


def test_who_stands_by_until_caught_up_says_what_was_sealed_by_the_other(
    vault: Vault, db: Connection
) -> None:
    vault.order()
    vault.watch()
    other = vault.start("watch", "o-1")
    until_read(db)
    db.execute("INSERT INTO posts VALUES (100, 'a', 'new')")
    report = vault.json("watch", "o-1", "--until-caught-up")
    assert report["sources"]["app"]["offered"] == 0
    assert report["sources"]["app"]["reached"] is not None
    (note,) = report["notes"]
    assert "another process" in note
    assert vault.found("o-1", 'native = "[100]"') == 1
    text = vault.run("watch", "o-1", "--until-caught-up")
    assert "up to -" not in text
    assert note.split(",")[0] in text
    vault.watch_ended(other)


def test_who_stands_by_until_caught_up_takes_over_from_one_that_was_killed(
    vault: Vault, db: Connection
) -> None:
    vault.order()
    vault.watch()
    other = vault.start("watch", "o-1")
    until_read(db)
    os.kill(other.pid, signal.SIGSTOP)  # it stands still, and holds the stream
    db.execute("INSERT INTO posts VALUES (100, 'a', 'new')")
    standing = vault.start("watch", "o-1", "--until-caught-up", "--json")
    time.sleep(2)
    other.kill()
    out, err = standing.communicate(timeout=60)
    assert standing.returncode == 0, err
    assert json.loads(out)["sources"]["app"]["sealed"] == 1
    assert vault.found("o-1", 'native = "[100]"') == 1


def test_who_stands_by_reports_an_open_gap(owned: Vault, db: Connection) -> None:
    db.execute("CREATE TABLE later (id bigint PRIMARY KEY)")
    other = owned.start("watch", "o-1")
    until(lambda: owned.causes() == [("table-not-published", True)])
    assert owned.json("watch", "o-1", "--until-caught-up", code=1)["gaps"] == 1
    owned.watch_ended(other)


def test_status_shows_what_the_snapshot_of_a_watch_sealed(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    db.execute("INSERT INTO posts VALUES (100, 'a', 'new')")
    vault.watch()
    order = vault.json("status")["orders"][0]
    assert order["watched"]["app"]["snapshot"]["sealed"] >= 10
    assert order["watched"]["app"]["sealed"] == 1
    assert f"sealed {order['watched']['app']['snapshot']['sealed']}" in vault.run("status")


def _said(vault: Vault, *words: str) -> tuple[str, str, int]:
    process = vault.start(*words)
    out, err = process.communicate(timeout=60)
    return out, err, process.returncode
