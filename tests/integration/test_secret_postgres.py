"""The people who run a database search its log for what a secret order asks for, and find nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import make_platform
from tests.integration.postgres import PASSWORD, PostgresServer, serve_postgres

PERSON = "casey-of-the-harbour"
PATTERN = "boat number 1[0-9]"
DAY = "2026-01-05"
ROWS = 20 + 4
"""Posts that the clause covers, and the columns of their table."""
CLAUSE = f"""[[clause]]
id = "telling-clause"
sources = ["db"]
accounts = ["{PERSON}"]
from = {DAY}
match = {{ body = '''{PATTERN}''' }}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with serve_postgres("18", "-c log_statement=all -c log_min_duration_statement=0") as running:
        yield running


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = make_platform(tmp_path, capsys, monkeypatch)
    made("init", made.vault, "--host", "platform.example", "--json")
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)
    return made


@pytest.fixture
def database(platform: Platform, server: PostgresServer) -> Iterator[Any]:
    with server.database("app") as connection:
        connection.execute(
            "CREATE TABLE posts (id bigint PRIMARY KEY, user_id text, body text, created_at timestamptz)"
        )
        connection.execute(
            "INSERT INTO posts SELECT n, CASE n % 5 WHEN 0 THEN 'casey' || '-of-the-' || 'harbour' ELSE 'u' END, "
            "'boat number ' || n, timestamptz '2026-01-01' + n * interval '1 hour' FROM generate_series(1, 500) n"
        )
        url = f"postgresql://postgres@{server.host}:{server.port}/app"
        platform("source", "add", "db", url, "--tables", "public.posts", "--credential", "env:DB_PASSWORD")
        yield connection


def said_in(server: PostgresServer, since: int) -> str:
    """What the server logged from a place in its log on."""
    with (server.data / "log").open("rb") as file:
        file.seek(since)
        return file.read().decode("utf-8", "replace")


def log_end(server: PostgresServer) -> int:
    return (server.data / "log").stat().st_size


def run_everything(platform: Platform, order: str) -> int:
    """Preview, amend as a dry run, and seal; return how many rows were sealed."""
    growth = platform.root / "more.toml"
    growth.write_text(CLAUSE.replace("telling-clause", "telling-too").replace("1[0-9]", "2[0-9]"))
    platform("preview", order)
    platform("order", "add-clause", order, "--file", growth, "--dry-run", "--json")
    return int(platform("preserve", order, "--json").json["new"])


TELLING = ("telling", PERSON, "boat number", DAY, "the-other-affair", "fr-2026-secret", ORDER)


@pytest.mark.parametrize("secret_by", ["duty", "wall"])
def test_the_log_of_a_database_tells_nothing_of_a_secret_order(
    platform: Platform, server: PostgresServer, database: Any, secret_by: str
) -> None:
    platform.clauses = [CLAUSE]
    terms = {"id": '"fr-2026-secret-17"', "matter": '"the-other-affair"'}
    if secret_by == "duty":
        terms |= {"notify": '"forbidden"'}
    order_file = platform.order_file("secret.toml", **terms)
    since = log_end(server)
    platform("order", "add", order_file)
    if secret_by == "wall":
        platform("operator", "add", "alice", "--role", "counsel")
        platform("operator", "add", "bob", "--role", "counsel")
        platform("--as", "alice", "order", "wall", "fr-2026-secret-17", "--only", "alice")
        platform.root.joinpath("more.toml").write_text(CLAUSE.replace("telling-clause", "telling-too"))
        platform("--as", "alice", "preview", "fr-2026-secret-17")
        sealed = platform("--as", "alice", "preserve", "fr-2026-secret-17", "--json").json["new"]
    else:
        sealed = run_everything(platform, "fr-2026-secret-17")
    assert sealed == ROWS
    log = said_in(server, since)
    assert "COPY" in log, "the passes read the table"
    assert [each for each in TELLING if each in log] == []


def test_the_search_finds_what_an_open_order_asks_for(
    platform: Platform, server: PostgresServer, database: Any
) -> None:
    platform.clauses = [CLAUSE]
    platform("order", "add", platform.order_file())
    since = log_end(server)
    assert run_everything(platform, ORDER) == ROWS
    log = said_in(server, since)
    assert PERSON in log
    assert "telling" not in log
    assert ORDER not in log
