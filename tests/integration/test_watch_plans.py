"""Plan watch and guard on real servers: what would be written and kept, what that rests on, and what undoes it."""

import pytest
from tests.integration.live_vault import POSTS, Connection, Vault, until_true
from tests.integration.postgres import PASSWORD, PostgresServer

from scelle.sources.postgres.growth import table_growth
from scelle.sources.postgres.settings import PostgresSettings
from scelle.sources.postgres.slots import wanted_tables
from scelle.sources.postgres.watched import WatchedDatabase

COUNTED = """
SELECT (sum(n_tup_upd), sum(n_tup_del)) = (100, 37) FROM pg_stat_user_tables WHERE relname IN ('posts', 'january')
"""


@pytest.fixture
def tables() -> str:
    return f"""{POSTS};
CREATE TABLE days (day int PRIMARY KEY) PARTITION BY RANGE (day);
CREATE TABLE january PARTITION OF days FOR VALUES FROM (0) TO (1000)"""


@pytest.fixture
def vault(vault: Vault) -> Vault:
    vault.order()
    return vault


def test_the_growth_is_what_was_counted_and_says_on_what_it_rests(vault: Vault, db: Connection) -> None:
    db.execute("INSERT INTO posts SELECT i, 'a', repeat('x', 1000) FROM generate_series(1, 1000) i")
    db.execute("INSERT INTO days SELECT i FROM generate_series(1, 100) i")
    db.execute("VACUUM ANALYZE")
    db.execute("UPDATE posts SET account_id = 'b' WHERE id <= 100")
    db.execute("DELETE FROM posts WHERE id <= 30")
    db.execute("DELETE FROM days WHERE day <= 7")
    until_true(db, COUNTED)
    plan = vault.json("watch", "plan", "o-1")["sources"][0]
    days, posts = plan["replica_identity_full"]
    assert (posts["table"], posts["updates"], posts["deletes"], posts["set"]) == (
        "public.posts",
        100,
        30,
        False,
    )
    assert 1000 < posts["row_bytes"] < 2000
    assert (days["updates"], days["deletes"]) == (0, 7)
    expected = 130 * posts["row_bytes"] * 86_400 / posts["since"]["seconds"]
    assert posts["bytes_per_day"] == pytest.approx(expected, rel=0.5)  # seconds are rounded
    wal = plan["wal"]
    assert wal["written_bytes"] > 1_000_000
    hourly = wal["written_bytes"] * 3600 / wal["since"]["seconds"]
    assert wal["bytes_per_hour"] == pytest.approx(hourly, rel=0.5)
    assert (wal["max_slot_wal_keep_size"], wal["kept_bytes"]) == ("-1", None)
    diverted = vault.json("guard", "plan", "o-1", code=None)["sources"]["app"]["outbox"]
    by_table = {each["table"]: each["bytes_per_day_at_most"] for each in diverted}
    assert 0 < by_table["public.posts"] < posts["bytes_per_day"]  # deletions alone
    lines = vault.run("watch", "plan", "o-1")
    assert "100 updates and 30 deletes since" in lines
    assert "ALTER SYSTEM SET max_slot_wal_keep_size" in lines
    assert "-- outbox: public.posts: at most" in vault.run("guard", "plan", "o-1", code=None)


def test_the_estimate_is_near_what_full_identity_writes(server: PostgresServer, db: Connection) -> None:
    db.execute("ALTER TABLE posts ALTER body SET STORAGE EXTERNAL")
    db.execute("INSERT INTO posts SELECT i, 'a', repeat('x', 9000) FROM generate_series(1, 1000) i")
    db.execute("VACUUM ANALYZE posts")
    (_, posts) = table_growth(db, wanted_tables(db, ["public.*"]))
    assert posts.row_bytes is not None
    plain = _written(db, "UPDATE posts SET account_id = 'b'")
    db.execute("ALTER TABLE posts REPLICA IDENTITY FULL")
    added = _written(db, "UPDATE posts SET account_id = 'c'") - plain
    assert 1.0 < 1000 * posts.row_bytes / added < 1.5


def _written(db: Connection, statement: str) -> int:
    """Return how much WAL a statement writes, of pages that were written whole before."""
    db.execute(statement.encode())
    places = []
    for each in ("SELECT", statement):
        db.execute(each.encode())
        row = db.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
        assert row is not None
        places.append(row[0])
    written: int = places[1] - places[0]
    return written


def test_what_nobody_counted_is_null_and_no_number(vault: Vault, db: Connection) -> None:
    plan = vault.json("watch", "plan", "o-1")["sources"][0]
    assert [(each["row_bytes"], each["bytes_per_day"]) for each in plan["replica_identity_full"]] == 2 * [
        (None, None)
    ]
    db.execute("INSERT INTO posts SELECT i FROM generate_series(1, 100) i")
    db.execute("ANALYZE")
    db.execute("ALTER DATABASE app SET track_counts = off")
    posts = vault.json("watch", "plan", "o-1")["sources"][0]["replica_identity_full"][1]
    assert posts["row_bytes"] > 0
    assert (posts["updates"], posts["bytes_per_day"]) == (None, None)
    assert "public.posts: what REPLICA IDENTITY FULL would add is not known" in vault.run(
        "watch", "plan", "o-1"
    )


def test_the_undo_script_takes_away_what_is_installed(vault: Vault, db: Connection) -> None:
    before = vault.json("watch", "plan", "o-1")["sources"][0]["undo"]
    vault.watch()
    vault.run("source", "set", "app", "--wal-cap", "50GB", "--beyond-wal-cap", "drop-slot")
    plan = vault.json("watch", "plan", "o-1")["sources"][0]
    assert plan["statements"] == []
    assert plan["undo"] == before
    assert plan["wal"]["kept_bytes"] >= 0
    assert plan["wal"]["beyond_wal_cap"] == "drop-slot"
    assert "max_slot_wal_keep_size = '47684MB'" in vault.run("watch", "plan", "o-1")
    for statement in plan["undo"]:
        db.execute(statement.encode())
    left = db.execute(
        "SELECT slot_name FROM pg_replication_slots UNION ALL SELECT pubname FROM pg_publication"
    )
    assert left.fetchall() == []


def test_who_may_replicate_on_rds_is_known_by_membership(server: PostgresServer, db: Connection) -> None:
    db.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'".encode())
    db.execute("CREATE ROLE rds_replication")
    try:
        assert not _may_replicate(server)
        db.execute("GRANT rds_replication TO reader")
        assert _may_replicate(server)
    finally:
        db.execute("DROP ROLE reader, rds_replication")


def _may_replicate(server: PostgresServer) -> bool:
    settings = PostgresSettings("127.0.0.1", server.port, "app", "reader", password=lambda: PASSWORD)
    database = WatchedDatabase(settings, "scelle_0")
    try:
        return database.look().server.may_replicate
    finally:
        database.close()
