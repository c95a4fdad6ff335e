"""Watch real databases under the limits of their source: bytes a second, connections, the time of day."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.live_vault import Connection, Vault, sums
from tests.integration.postgres import PostgresServer, Servers

RATE = 40_000


@pytest.fixture(scope="module")
def server(servers: Servers) -> PostgresServer:
    return servers("18")


def limited(folder: Path, server: PostgresServer, *limits: str) -> Vault:
    """Make a vault whose source `slow` is the same database under limits, and an order over it."""
    vault = Vault(folder, server)
    url = f"postgresql://postgres@127.0.0.1:{server.port}/app"
    vault.run("source", "add", "slow", url, "--credential", "env:APP_PASSWORD", *limits)
    vault.order(sources='"slow"')
    return vault


def test_the_stream_is_no_faster_than_its_source_allows_and_loses_nothing(
    tmp_path: Path, server: PostgresServer, db: Connection
) -> None:
    vault = limited(tmp_path, server, "--max-bytes-per-second", str(RATE))
    vault.json("watch", "o-1", "--until-caught-up")
    db.execute("INSERT INTO posts SELECT i, 'a', repeat(md5(i::text), 30) FROM generate_series(1, 200) i")
    started = time.monotonic()
    counts = vault.json("watch", "o-1", "--until-caught-up")["sources"]["slow"]
    took_s = time.monotonic() - started
    assert sums(counts) == (200, 200, 0)
    assert took_s >= 200 * 30 * 32 / RATE - 2  # what of the first second was unused is not held against it
    assert vault.json("preserve", "o-1")["sources"]["slow"]["new"] == 0


def test_the_snapshot_of_a_watch_is_no_faster_than_its_source_allows(
    tmp_path: Path, server: PostgresServer, db: Connection
) -> None:
    db.execute("INSERT INTO posts SELECT i, 'a', repeat(md5(i::text), 30) FROM generate_series(1, 200) i")
    vault = limited(tmp_path, server, "--max-bytes-per-second", str(RATE), "--max-connections", "3")
    started = time.monotonic()
    report = vault.json("watch", "o-1", "--until-caught-up")
    assert report["snapshots"][0]["new"] >= 200
    assert time.monotonic() - started >= 200 * 30 * 32 / RATE - 2


def test_outside_the_window_no_slot_is_made_that_would_keep_wal(
    tmp_path: Path, server: PostgresServer, db: Connection
) -> None:
    opens = datetime.now(UTC) + timedelta(hours=6)
    window = f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M}"
    vault = limited(tmp_path, server, "--window", window)
    process = vault.start("watch", "o-1", "--until-caught-up")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    assert window in err
    assert db.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
