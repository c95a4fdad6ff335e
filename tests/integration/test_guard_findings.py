"""What readers found about the guard by the command line: who may confirm, what is sealed, what is said."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from tests.integration.live_vault import POSTS, Connection, Vault
from tests.integration.postgres import PASSWORD, PostgresServer

from scelle.guard.postgres.suspending import suspend

INSTALL = ("guard", "install", "o-1", "--source", "app")
SUSPEND = ("guard", "suspend", "--reason", "stuck", "--minutes", "5")
MIGRATION = ("guard", "allow-migration", "o-1", "--source", "app")
REMOVE = ("guard", "remove", "o-1", "--source", "app")


@pytest.fixture
def tables() -> str:
    return f"""{POSTS};
CREATE TABLE visits (account_id text, place text);
INSERT INTO posts SELECT i, 'a' || i % 2, 'mild' FROM generate_series(1, 10) i"""


@pytest.fixture
def vault(vault: Vault) -> Vault:
    vault.order(accounts='accounts = ["a1"]')
    return vault


@pytest.fixture
def modest(tmp_path: Path, server: PostgresServer, db: Connection) -> Iterator[Vault]:
    """A vault whose role in the database owns nothing there."""
    db.execute(f"CREATE ROLE scelle LOGIN PASSWORD '{PASSWORD}'".encode())
    try:
        db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO scelle")
        db.execute("GRANT CREATE ON DATABASE app TO scelle")
        made = Vault(tmp_path, server, user="scelle")
        made.order(accounts='accounts = ["a1"]')
        yield made
    finally:
        db.execute("DROP OWNED BY scelle; DROP ROLE scelle")


def _operators(vault: Vault, *names: str) -> None:
    vault.env["SCELLE_OPERATOR_PASSPHRASE_FROM"] = "env:APP_PASSWORD"
    vault.run("operator", "add", names[0], "--role", "counsel")
    for name in names[1:]:
        vault.run("--as", names[0], "operator", "add", name, "--role", "counsel")


def _said(vault: Vault, *words: str, code: int) -> str:
    """Return what a command that does not succeed says on standard error."""
    process = vault.start(*words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, (words, out, err)
    return err


def _kinds(vault: Vault) -> list[str]:
    return [event["kind"] for event in vault.json("order", "show", "o-1")["events"]]


# --- two people ----------------------------------------------------------------------------------------------


def test_who_suspends_cannot_give_the_second_word(vault: Vault, db: Connection) -> None:
    vault.run(*INSTALL)
    _operators(vault, "alice", "bob", "carol")
    (made,) = vault.json("--as", "alice", *SUSPEND)["suspended"]
    assert "another person" in _said(vault, "--as", "alice", "guard", "confirm", made["id"], code=2)
    (waiting,) = vault.json("--as", "alice", "guard", "status", code=1)["unconfirmed"]
    assert waiting == made
    confirmed = vault.json("--as", "bob", "guard", "confirm", made["id"])
    assert (confirmed["by"], confirmed["confirmed_by"], confirmed["is_alone"]) == ("alice", "bob", False)


def test_in_solo_mode_one_person_confirms_and_it_is_said(vault: Vault, db: Connection) -> None:
    vault.run(*INSTALL)
    (made,) = vault.json(*SUSPEND)["suspended"]
    assert "no second person: the vault has no operators" in vault.run("guard", "confirm", made["id"])


# --- what is refused is not sealed ---------------------------------------------------------------------------


def test_an_installation_that_is_refused_leaves_no_claim(vault: Vault, db: Connection) -> None:
    assert vault.run(*INSTALL, "--tables", "nosuch.*", code=2) == ""
    assert vault.run(*INSTALL, "--outbox-rows", str(10**30), code=2) == ""
    assert "guard.installed" not in _kinds(vault)
    assert vault.json("guard", "status")["paths"] == []
    assert vault.run("guard", "status").strip() == "no guard is installed"


def test_an_installation_without_the_rights_leaves_no_claim(modest: Vault, db: Connection) -> None:
    err = _said(modest, *INSTALL, code=4)
    assert '"public"."posts"' in err
    assert "nothing was changed" in err
    assert "guard.installed" not in _kinds(modest)
    assert modest.json("guard", "status")["paths"] == []
    assert db.execute("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'scelle'").fetchone() == (0,)


def test_an_installation_that_fails_later_is_not_installed_and_can_be_taken_back(
    vault: Vault, db: Connection
) -> None:
    # what no look at the catalogs foresees: something of the database's people stands before CREATE SCHEMA
    db.execute(
        "CREATE FUNCTION public.no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$"
    )
    db.execute(
        "CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION public.no()"
    )
    err = _said(vault, *INSTALL, code=4)
    for words in ("guard install o-1 --source app", "guard remove o-1 --source app"):
        assert words in err
    text = vault.run("guard", "status", code=1)
    assert "not installed" in text
    assert "guard install o-1 --source app" in text
    assert "gone" not in text
    vault.run(*REMOVE, "--yes")
    assert vault.json("guard", "status")["paths"] == []
    db.execute("DROP EVENT TRIGGER no")
    vault.run(*INSTALL)
    for name in ("scelle_guard_drop", "scelle_guard_command", "scelle_guard_rewrite"):
        db.execute(f"DROP EVENT TRIGGER {name}".encode())
    db.execute("DROP SCHEMA scelle_guard CASCADE")
    assert "the schema scelle_guard is gone" in vault.run("guard", "status", code=1)


def test_a_suspension_that_the_database_refuses_is_none(vault: Vault, db: Connection) -> None:
    vault.run(*INSTALL)
    db.execute("ALTER TABLE scelle_guard.settings ADD CONSTRAINT no CHECK (suspended_until IS NULL)")
    _said(vault, *SUSPEND, code=4)
    assert vault.json("gap", "list")["gaps"] == []
    assert vault.json("guard", "status", code=None)["unconfirmed"] == []


def test_where_no_guard_is_there_it_is_said(vault: Vault, db: Connection) -> None:
    vault.run(*INSTALL)
    for name in ("scelle_guard_drop", "scelle_guard_command", "scelle_guard_rewrite"):
        db.execute(f"DROP EVENT TRIGGER {name}".encode())
    db.execute("DROP SCHEMA scelle_guard CASCADE")
    for words in (SUSPEND, ("guard", "rearm")):
        assert "no guard is installed in the database of app" in _said(vault, *words, code=2)
    assert vault.json("gap", "list")["gaps"] == []
    assert vault.json("guard", "status", code=1)["unconfirmed"] == []


def test_a_suspension_that_no_log_knows_is_found(vault: Vault, db: Connection) -> None:
    vault.run(*INSTALL)
    db.execute("UPDATE scelle_guard.settings SET suspended_until = clock_timestamp() + interval '1 hour'")
    for words in (("guard", "status"), ("guard", "probe")):
        assert "no `scelle guard suspend` sealed it" in vault.run(*words, code=1)
    vault.run("guard", "rearm")
    vault.run(*SUSPEND)
    assert "sealed it" not in vault.run("guard", "status", code=1)


# --- asked, or told with --yes -------------------------------------------------------------------------------


def test_a_removal_without_a_terminal_takes_yes(vault: Vault, db: Connection) -> None:
    vault.watch()
    vault.run(*INSTALL, "--mode", "refuse")
    assert "give --yes" in _said(vault, *REMOVE, code=2)
    vault.run(*REMOVE, "--json", code=2)
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DELETE FROM posts WHERE id = 1")
    vault.run(*REMOVE, "--yes")
    words = ("watch", "remove", "o-1", "--source", "app")
    assert "give --yes" in _said(vault, *words, code=2)
    vault.run(*words, "--json", code=2)
    assert db.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (1,)
    vault.run(*words, "--yes")
    assert db.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)


# --- the plan ------------------------------------------------------------------------------------------------


def test_what_the_plan_prints_is_sql_that_guards_and_can_be_undone(vault: Vault, db: Connection) -> None:
    text = vault.run("guard", "plan", "o-1", "--mode", "refuse")
    assert "\\n" not in text
    db.execute(text.encode())
    db.execute("INSERT INTO posts VALUES (11, NULL, 'nobody tells whose it is')")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("TRUNCATE posts")
    with pytest.raises(psycopg.Error, match="held"):
        db.execute("DROP TABLE visits")
    undo = text.partition("-- undo:\n")[2]
    db.execute(
        "\n".join(line.removeprefix("--") for line in undo.splitlines() if line[:4] == "--  ").encode()
    )
    assert db.execute("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'scelle'").fetchone() == (0,)
    db.execute(text.encode())
    assert vault.json(*INSTALL, "--mode", "refuse")["red"] == 0  # which finds it there, and finishes it


def test_nobody_is_made_a_superuser_for_a_guard(modest: Vault, db: Connection) -> None:
    db.execute("CREATE ROLE app_owner")
    db.execute("ALTER TABLE visits OWNER TO app_owner")
    needs = modest.json("guard", "plan", "o-1", code=1)["sources"]["app"]["needs"]
    assert not any(re.match('GRANT "postgres"', need) for need in needs)
    (own,) = [need for need in needs if need.startswith("ALTER TABLE")]
    assert own.startswith('ALTER TABLE "public"."posts" OWNER TO "scelle";')
    assert "superuser" in own
    (grant,) = [need for need in needs if need.startswith("GRANT")]
    assert grant.startswith('GRANT "app_owner" TO "scelle";')
    assert "public.visits" in grant
    for need in needs:
        db.execute(need.encode())
    assert modest.json(*INSTALL)["state"] == "complete"
    modest.run(*REMOVE, "--yes")
    db.execute("DROP OWNED BY app_owner; DROP ROLE app_owner")


# --- migrations ----------------------------------------------------------------------------------------------


def test_a_migration_names_a_guarded_table_and_a_column_that_it_has(vault: Vault, db: Connection) -> None:
    vault.run(*INSTALL, "--tables", "public.posts")
    for table in ("nosuch", "public.visits", "a.b.c.d", '"'):
        assert "is not guarded" in _said(vault, *MIGRATION, "--table", table, code=2)
    words = (*MIGRATION, "--table", "public.posts")
    assert "has no column 'nosuch'" in _said(vault, *words, "--column", "nosuch", code=2)
    assert vault.json("request", "list")["requests"] == []
    said = vault.run(*words, "--column", "body")
    assert "waits for the second confirmation, from " in said
    assert "another person" not in said
    _operators(vault, "alice", "bob")
    said = vault.run("--as", "alice", *words, "--column", "body")
    assert "waits for another person's approval" in said


# --- what is said --------------------------------------------------------------------------------------------


def test_only_what_was_suspended_stands_again(vault: Vault, db: Connection) -> None:
    vault.run(*INSTALL)
    assert vault.json("guard", "rearm") == {"rearmed": [], "stood": ["app"]}
    assert "again" not in vault.run("guard", "rearm")
    vault.run(*SUSPEND)
    assert vault.json("guard", "rearm") == {"rearmed": ["app"], "stood": []}


def test_counts_come_first_and_what_is_red_before_the_rest(vault: Vault, db: Connection) -> None:
    first, second, *_ = vault.run(*INSTALL).splitlines()
    assert re.fullmatch(r"app: guard complete, 2 tables", first)
    assert re.fullmatch(r"\d+ paths: \d+ effective, 0 red, 0 not probed, \d+ not coverable", second)
    db.execute("ALTER EVENT TRIGGER scelle_guard_command DISABLE")
    first, second, *_ = vault.run("guard", "status", code=1).splitlines()
    assert ", 0 red," not in first
    assert ": red, " in second
    db.execute("ALTER EVENT TRIGGER scelle_guard_command ENABLE ALWAYS")
    vault.run(*SUSPEND)
    for words in (("guard", "status"), ("guard", "probe")):
        lines = vault.run(*words, code=1).splitlines()
        assert len([line for line in lines if ": red, " in line]) == 1, lines
        assert re.search(r"suspended until .*; \d\d paths let go for it", lines[1])


def test_what_to_run_names_the_order(vault: Vault, db: Connection) -> None:
    vault.watch()
    vault.run(*INSTALL)
    db.execute("DELETE FROM posts")
    assert "scelle watch o-1 --until-caught-up" in _said(vault, *REMOVE, "--yes", code=2)
    err = _said(vault, "watch", "remove", "o-1", "--yes", code=3)
    assert "scelle guard remove o-1 --source app" in err


def test_a_ref_of_the_database_leads_to_who_holds_it(vault: Vault, db: Connection) -> None:
    vault.run(*INSTALL, "--mode", "refuse")
    db.execute("INSERT INTO posts VALUES (11, NULL, 'nobody tells whose it is')")

    def refused(statement: str) -> str:
        with pytest.raises(psycopg.Error, match="held, ref") as error:
            db.execute(statement.encode())
        assert "scelle why" in str(error.value.diag.message_hint)
        return str(error.value.diag.message_primary).removeprefix("held, ref ")

    ref = refused("DELETE FROM posts WHERE id = 1")
    found = vault.json("why", ref, "--source", "app")
    assert (found["orders"], found["objects"]) == ([{"order": "o-1", "clause": "c1"}], [])
    for statement, name in (
        ("DELETE FROM posts WHERE id = 11", "public.posts"),
        ("ALTER TABLE posts DROP COLUMN body", "public.posts.body"),
        ("DROP TABLE visits", "public.visits"),
    ):
        found = vault.json("why", refused(statement), "--source", "app")
        assert (found["orders"], found["objects"]) == ([], [name])
    assert "no ref that the guard" in _said(vault, "why", "00000000", "--source", "app", code=2)
    assert f"scelle why {ref} --source app" in _said(vault, "why", ref, code=2)


def test_what_cannot_be_sealed_is_not_suspended(vault: Vault, db: Connection) -> None:
    vault.run(*INSTALL)

    def fails() -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        suspend(db, datetime.now(UTC) + timedelta(minutes=5), fails)
    assert db.execute("SELECT suspended_until FROM scelle_guard.settings").fetchone() == (None,)
