"""Put a real pgbouncer before the database: what works through it goes on, what cannot is refused with the reason."""

from pathlib import Path

import pytest
from tests.integration.live_vault import Connection, Vault
from tests.integration.pooler import pooled
from tests.integration.postgres import PostgresServer, Servers


@pytest.fixture(scope="module")
def server(servers: Servers) -> PostgresServer:
    return servers("18")


@pytest.fixture
def tables() -> str:
    return """CREATE TABLE posts (id bigint PRIMARY KEY, account_id text);
INSERT INTO posts SELECT i, 'a' || i % 2 FROM generate_series(1, 1000) i"""


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_rows_are_read_through_a_pooler_and_changes_are_not(
    server: PostgresServer, db: Connection, tmp_path: Path, mode: str
) -> None:
    with pooled(server, mode) as through:
        vault = Vault(tmp_path, through)
        vault.order()
        assert vault.json("preserve", "o-1")["sources"]["app"]["new"] == 1002
        process = vault.start("watch", "o-1", "--until-caught-up")
        _, err = process.communicate(timeout=120)
        assert process.returncode == 4
        assert "is a pooler (pgbouncer) that lets no stream of changes through: name the server itself" in err
        (warning,) = vault.json("watch", "plan", "o-1")["sources"][0]["warnings"]
        assert "a pooler stands before this server" in warning
    # and nothing was made that nobody could read
    assert db.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)


def test_a_guard_stands_through_a_pool_of_transactions(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    with pooled(server, "transaction") as through:
        vault = Vault(tmp_path, through)
        vault.order(accounts='accounts = ["a1"]')
        installed = vault.json("guard", "install", "o-1", "--source", "app", "--mode", "refuse", code=None)
        assert installed["left"] == {}
        states = {path["path"]: path["state"] for path in installed["paths"]}
        assert states["public.posts: delete"] == "effective"
        assert db.execute("DELETE FROM posts WHERE id = 2").rowcount == 1


def test_a_pool_of_statements_is_refused_with_the_reason(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    refused = pytest.raises(AssertionError, match="takes each statement by itself")
    with pooled(server, "statement") as through, refused:
        Vault(tmp_path, through)


def test_no_pooler_is_seen_where_there_is_none(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, server)
    vault.order()
    assert vault.json("watch", "plan", "o-1")["sources"][0]["warnings"] == []
