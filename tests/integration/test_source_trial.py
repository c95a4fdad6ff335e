"""`scelle source test` on a real PostgreSQL: every table has its share, a view is named, and nothing stays open."""

import time
from pathlib import Path

import pytest
from tests.integration.platforms import make_platform
from tests.integration.postgres import PASSWORD, PostgresServer, Servers

OPEN = (
    "SELECT backend_type, state, left(query, 80) FROM pg_stat_activity WHERE datname = 'app' "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@pytest.fixture(scope="module")
def server(servers: Servers) -> PostgresServer:
    return servers("18")


def test_a_database_is_tried_table_by_table(
    server: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform = make_platform(tmp_path, capsys, monkeypatch)
    platform("init", platform.vault, "--host", "platform.example", "--json")
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)
    with server.database("app") as database:
        database.execute("CREATE TABLE posts (id bigint PRIMARY KEY, user_id text, created_at timestamptz)")
        database.execute("INSERT INTO posts SELECT n, 'u1', now() FROM generate_series(1, 20000) n")
        database.execute("CREATE TABLE small (id int PRIMARY KEY, owner_id int)")
        database.execute("INSERT INTO small VALUES (1, 1), (2, NULL)")
        database.execute("CREATE VIEW recent AS SELECT * FROM posts")
        url = f"postgresql://postgres@{server.host}:{server.port}/app"
        platform("source", "add", "db", url, "--credential", "env:DB_PASSWORD")
        sample = platform("source", "test", "db", "--json", code=1).json["sample"]
        by_name = {each["name"]: each for each in sample["members"]}
        assert by_name["public.small"]["records"] == 2
        assert 200 < by_name["public.posts"]["records"] < 1000
        assert any("user_id" in note for note in by_name["public.posts"]["notes"])
        assert sample["failed"] == {"view": 1}
        assert not sample["whole"]
        for _ in range(50):  # a backend ends a moment after its connection
            rows = database.execute(OPEN).fetchall()
            if not rows:
                break
            time.sleep(0.1)
        assert rows == []
    assert PASSWORD not in platform("source", "list").out
