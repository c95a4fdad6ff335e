"""Guard what an order holds in real databases by the command line, and seal what the guard keeps."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.integration.live_vault import (
    POSTS,
    Connection,
    Vault,
    drop_slots,
    sums,
    until_confirmed,
    until_read,
)
from tests.integration.postgres import PASSWORD, PostgresServer


@pytest.fixture
def tables() -> str:
    return f"""{POSTS};
CREATE TABLE visits (account_id text, place text);
INSERT INTO posts SELECT i, 'a' || i % 2, 'mild' FROM generate_series(1, 10) i;
INSERT INTO visits VALUES ('a1', 'harbour'), ('a0', 'park')"""


@pytest.fixture
def vault(vault: Vault) -> Vault:
    vault.order(accounts='accounts = ["a1"]')
    return vault


def _guard(vault: Vault, mode: str) -> Any:
    return vault.json("guard", "install", "o-1", "--source", "app", "--mode", mode)


def _state(vault: Vault, path: str) -> tuple[str, str]:
    found = vault.json("guard", "status", code=None)["paths"]
    return next((each["state"], each["how"]) for each in found if each["path"] == path)


def test_what_the_guard_keeps_is_sealed_once_and_leaves_the_database(vault: Vault, db: Connection) -> None:
    vault.watch()
    installed = _guard(vault, "divert")
    assert (installed["state"], installed["red"]) == ("complete", 0)
    assert db.execute("UPDATE visits SET place = 'museum'").rowcount == 2  # which no stream shows: no key
    assert db.execute("DELETE FROM visits").rowcount == 2
    assert db.execute("DELETE FROM posts").rowcount == 10
    counts = vault.watch()
    offered, sealed, excluded = sums(counts)
    # the stream gives ten keys, of which five are held; the outbox five posts, that are sealed, and one visit
    assert (offered, sealed, counts["unchanged"], excluded) == (16, 11, 5, 5)
    assert vault.found("o-1", 'place = "museum"') == 1
    assert vault.found("o-1", 'native = "[1]" and body = "mild"') == 1
    assert db.execute("SELECT count(*) FROM scelle_guard.outbox").fetchone() == (0,)
    vault.run("verify")


def test_what_is_refused_is_refused_in_every_session(vault: Vault, db: Connection) -> None:
    _guard(vault, "refuse")
    for statement in (
        "DELETE FROM posts",
        "TRUNCATE posts",
        "DROP TABLE posts",
        "DELETE FROM posts WHERE id = 1",
    ):
        with pytest.raises(psycopg.Error) as refused:
            db.execute(statement.encode())
        assert "held" in str(refused.value)
        assert "o-1" not in str(refused.value)
    assert db.execute("DELETE FROM posts WHERE account_id = 'a0'").rowcount == 5


def test_a_guard_that_somebody_switches_off_is_red_at_once(vault: Vault, db: Connection) -> None:
    _guard(vault, "refuse")
    assert _state(vault, "public.posts: delete") == ("effective", "probed")
    with pytest.raises(psycopg.Error):
        db.execute("ALTER TABLE posts DISABLE TRIGGER ALL")
    for name in ("scelle_guard_drop", "scelle_guard_command"):
        db.execute(f"ALTER EVENT TRIGGER {name} DISABLE".encode())
    db.execute("ALTER TABLE posts DISABLE TRIGGER ALL")
    assert _state(vault, "public.posts: delete")[0] == "red"
    assert vault.json("guard", "probe", code=1)["red"] > 0


def test_claims_join_and_leave_and_the_last_takes_the_guard_with_it(vault: Vault, db: Connection) -> None:
    _guard(vault, "refuse")
    vault.order("o-2", accounts='accounts = ["a0"]')
    assert db.execute("DELETE FROM posts WHERE id = 2").rowcount == 1
    vault.json("guard", "install", "o-2", "--source", "app", "--mode", "refuse")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 4")
    assert vault.json("guard", "remove", "o-2", "--source", "app", "--yes")["removed"] is False
    assert db.execute("DELETE FROM posts WHERE id = 4").rowcount == 1
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 1")
    assert vault.json("guard", "remove", "o-1", "--source", "app", "--yes")["removed"] is True
    assert db.execute("DELETE FROM posts").rowcount == 8
    assert db.execute("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'scelle'").fetchone() == (0,)
    assert vault.json("guard", "status")["paths"] == []


def test_a_plan_changes_nothing_and_can_be_undone(vault: Vault, db: Connection) -> None:
    plan = vault.json("guard", "plan", "o-1", "--mode", "divert")["sources"]["app"]
    assert plan["possible"]
    assert db.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchone() == (0,)
    _guard(vault, "divert")
    for step in plan["undo"]:
        for statement in step["statements"]:
            db.execute(statement.encode())
    assert db.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchone() == (0,)
    assert db.execute("DELETE FROM posts").rowcount == 10


def test_nothing_is_removed_where_there_is_nothing(vault: Vault, db: Connection) -> None:
    assert vault.run("guard", "remove", "o-1", "--source", "elsewhere", "--yes", code=2) == ""
    assert vault.json("guard", "status")["paths"] == []


def test_with_operators_two_people_remove_a_guard(vault: Vault, db: Connection) -> None:
    vault.env["SCELLE_OPERATOR_PASSPHRASE_FROM"] = "env:APP_PASSWORD"
    _guard(vault, "refuse")
    vault.run("operator", "add", "alice", "--role", "counsel")
    for name in ("bob", "carol"):
        vault.run("--as", "alice", "operator", "add", name, "--role", "counsel")
    asked = vault.json("--as", "alice", "guard", "remove", "o-1", "--source", "app")
    vault.run("--as", "bob", "request", "approve", asked["request"])
    with pytest.raises(psycopg.Error, match="held"):  # it cools off first
        db.execute("DELETE FROM posts WHERE id = 1")
    vault.run("--as", "alice", "guard", "remove", "o-1", "--source", "elsewhere", code=2)


def test_a_guard_is_not_removed_while_rows_wait(vault: Vault, db: Connection) -> None:
    vault.watch()
    _guard(vault, "divert")
    db.execute("DELETE FROM posts")
    assert vault.run("guard", "remove", "o-1", "--source", "app", "--yes", code=2) == ""
    vault.watch()
    assert vault.json("guard", "remove", "o-1", "--source", "app", "--yes")["removed"]


def test_a_right_that_is_missing_is_named_by_the_plan(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    db.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'".encode())
    try:
        db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        vault = Vault(tmp_path, server, user="reader")
        vault.order()
        process = vault.start("guard", "install", "o-1", "--source", "app")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (4, "")
        assert "scelle guard plan" in err
        plan = vault.json("guard", "plan", "o-1", code=1)["sources"]["app"]
        assert any("GRANT CREATE ON DATABASE" in need for need in plan["needs"])
    finally:
        db.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_a_pattern_that_names_nothing_is_refused(vault: Vault, db: Connection) -> None:
    words = ("guard", "install", "o-1", "--source", "app", "--tables", "nothing.*")
    assert vault.run(*words, code=2) == ""


def test_a_database_is_told_nothing_of_a_secret_order(vault: Vault, db: Connection) -> None:
    vault.order("o-2", accounts='accounts = ["a0"]', notify="forbidden")
    words = ("guard", "install", "o-2", "--source", "app", "--mode", "refuse")
    assert vault.run(*words, code=2) == ""
    _guard(vault, "refuse")
    assert db.execute("DELETE FROM posts WHERE id = 2").rowcount == 1
    vault.json(*words, "--tell-database")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 4")


def test_a_suspension_is_a_gap_and_needs_a_second_word(vault: Vault, db: Connection) -> None:
    _guard(vault, "refuse")
    (made,) = vault.json("guard", "suspend", "--minutes", "30", "--reason", "stuck")["suspended"]
    assert db.execute("DELETE FROM posts WHERE id = 1").rowcount == 1
    status = vault.json("guard", "status", code=1)
    assert [each["id"] for each in status["unconfirmed"]] == [made["id"]]
    assert [gap["cause"] for gap in vault.json("gap", "list")["gaps"]] == ["guard-suspended"]
    vault.run("guard", "rearm")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 3")
    vault.run("guard", "confirm", made["id"])
    assert vault.json("guard", "status")["unconfirmed"] == []
    vault.run("guard", "confirm", made["id"], code=2)
    vault.run("guard", "suspend", "--minutes", "0", "--reason", "stuck", code=2)


def test_a_migration_is_allowed_by_two_after_what_it_takes_was_sealed(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, server, "--cooling-off", "0s")
    vault.order(accounts='accounts = ["a1"]')
    _guard(vault, "refuse")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("ALTER TABLE posts DROP COLUMN body")
    words = (
        "guard",
        "allow-migration",
        "o-1",
        "--source",
        "app",
        "--table",
        "public.posts",
        "--column",
        "body",
    )
    request = vault.json(*words)["request"]
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("ALTER TABLE posts DROP COLUMN body")
    assert vault.json("request", "approve", request)["state"] == "executed"
    assert vault.found("o-1", 'body = "mild"') == 5
    db.execute("ALTER TABLE posts DROP COLUMN body")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("ALTER TABLE posts DROP COLUMN account_id CASCADE")


def test_a_release_lets_go_in_the_database_and_its_undoing_holds_again(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, server, "--cooling-off", "0s")
    vault.order(accounts='accounts = ["a1"]')
    _guard(vault, "refuse")
    vault.run("order", "lift", "o-1")
    request = vault.json("order", "release", "o-1")["request"]
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 1")
    vault.run("request", "approve", request)
    assert db.execute("DELETE FROM posts WHERE id = 1").rowcount == 1
    assert db.execute("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'scelle'").fetchone() == (0,)
    vault.run("order", "undo-release", "o-1")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 3")


def test_a_clause_without_accounts_makes_every_row_held(vault: Vault, db: Connection) -> None:
    vault.watch()
    _guard(vault, "refuse")
    assert db.execute("DELETE FROM posts WHERE id = 2").rowcount == 1
    clause = vault.folder / "clause.toml"
    clause.write_text('[[clause]]\nid = "all"\nsources = ["app"]\n')
    vault.run("order", "add-clause", "o-1", "--file", str(clause))
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 4")


def test_an_amendment_that_cannot_tell_the_guard_says_so_and_the_watch_tells_it(
    vault: Vault, db: Connection
) -> None:
    vault.watch()
    _guard(vault, "refuse")
    more = vault.folder / "more.txt"
    more.write_text("a0\n")
    vault.env["APP_PASSWORD"] = "wrong"
    process = vault.start("order", "add-accounts", "o-1", "--clause", "c1", "--file", str(more), "--yes")
    _, err = process.communicate(timeout=60)
    vault.env["APP_PASSWORD"] = PASSWORD
    assert process.returncode == 0, err
    assert "its guard was not told yet" in err
    assert db.execute("DELETE FROM posts WHERE id = 2").rowcount == 1
    vault.watch()
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 4")


def test_the_strictest_mode_stands_whichever_order_asks_last(vault: Vault, db: Connection) -> None:
    _guard(vault, "refuse")
    vault.order("o-2", accounts='accounts = ["a0"]')
    vault.json("guard", "install", "o-2", "--source", "app", "--mode", "divert")
    for number in (1, 2):
        with pytest.raises(psycopg.Error, match="held"):
            db.execute("DELETE FROM posts WHERE id = %s", (number,))
    _guard(vault, "divert")  # what an order asks later stands for what it asked before
    assert db.execute("DELETE FROM posts WHERE id = 1").rowcount == 1
    assert db.execute("SELECT count(*) FROM scelle_guard.outbox").fetchone() == (1,)
    _guard(vault, "refuse")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 2")
    vault.json("guard", "remove", "o-1", "--source", "app", "--yes")
    assert db.execute("DELETE FROM posts WHERE id = 2").rowcount == 1


def test_a_table_that_is_made_later_is_red_until_the_watch_guards_it(vault: Vault, db: Connection) -> None:
    vault.watch()
    _guard(vault, "refuse")
    db.execute("CREATE TABLE notes (id bigint PRIMARY KEY, account_id text)")
    db.execute("INSERT INTO notes VALUES (1, 'a1')")
    status = vault.json("guard", "status", code=1)
    (red,) = [each for each in status["paths"] if each["state"] == "red"]
    assert (red["path"], red["detail"]) == (
        "public.notes: guard",
        "it has no guard yet: install again",
    )
    vault.watch()
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM notes")
    assert _state(vault, "public.notes: delete")[0] == "effective"


def test_two_people_remove_a_guard_when_it_has_cooled_off(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, server, "--cooling-off", "0s")
    vault.order(accounts='accounts = ["a1"]')
    vault.env["SCELLE_OPERATOR_PASSPHRASE_FROM"] = "env:APP_PASSWORD"
    _guard(vault, "refuse")
    vault.run("operator", "add", "alice", "--role", "counsel")
    for name in ("bob", "carol"):
        vault.run("--as", "alice", "operator", "add", name, "--role", "counsel")
    asked = vault.json("--as", "alice", "guard", "remove", "o-1", "--source", "app")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 1")
    assert vault.json("--as", "bob", "request", "approve", asked["request"])["state"] == "executed"
    assert db.execute("DELETE FROM posts WHERE id = 1").rowcount == 1


def test_what_the_guard_keeps_waits_for_every_order_that_is_guarded(vault: Vault, db: Connection) -> None:
    vault.order("o-2", accounts='accounts = ["a0"]')
    vault.watch("o-1")
    for order in ("o-1", "o-2"):
        vault.json("guard", "install", order, "--source", "app", "--mode", "divert")
    db.execute("UPDATE visits SET place = 'museum'")
    db.execute("DELETE FROM visits")
    vault.watch("o-1")
    assert db.execute("SELECT count(*) FROM scelle_guard.outbox").fetchone() == (2,)
    vault.watch("o-2")
    assert [vault.found(order, 'place = "museum"') for order in ("o-1", "o-2")] == [1, 1]
    assert db.execute("SELECT count(*) FROM scelle_guard.outbox").fetchone() == (0,)


def test_a_role_made_by_print_grants_can_watch_and_guard(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    url = f"postgresql://narrow@127.0.0.1:{server.port}/app"
    grants = Vault(tmp_path / "first", server).run("source", "add", "other", url, "--print-grants")
    db.execute(grants.encode())
    try:
        db.execute(f"ALTER ROLE narrow PASSWORD '{PASSWORD}' REPLICATION".encode())
        db.execute("GRANT CREATE ON DATABASE app TO narrow")
        for table in ("posts", "visits"):
            db.execute(f"ALTER TABLE {table} OWNER TO narrow".encode())
        vault = Vault(tmp_path, server, user="narrow")
        vault.order(accounts='accounts = ["a1"]')
        vault.watch()
        assert _guard(vault, "divert")["state"] == "complete"
        db.execute("DELETE FROM posts WHERE id = 1")
        process = vault.start("watch", "o-1")
        until_read(db)
        until_confirmed(db)
        assert vault.json("guard", "status", code=None)["red"] >= 0  # there are connections left for it
        _, err = vault.watch_ended(process)
        assert process.returncode == 0, err
        assert vault.found("o-1", 'native = "[1]"') == 2
    finally:
        drop_slots(db)
        db.execute("DROP SCHEMA IF EXISTS scelle_guard CASCADE")
        db.execute("REASSIGN OWNED BY narrow TO postgres; DROP OWNED BY narrow; DROP ROLE narrow")
