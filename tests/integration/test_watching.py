"""Watch real databases: nothing is lost or sealed twice, whatever happens to the stream."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.integration.live_vault import (
    Connection,
    Vault,
    drop_slots,
    sums,
    until_confirmed,
    until_read,
    until_true,
)
from tests.integration.postgres import PostgresServer

from scelle.bootstrap import KeyChoice, opened
from scelle.errors import SourceUnreadable
from scelle.ledger.events import events
from scelle.ledger.segments import SegmentWriter
from scelle.sources.postgres.settling import settle
from scelle.vault.lock import YIELDS, WriterLock


@pytest.fixture
def tables() -> str:
    return (
        "CREATE TABLE posts (id bigint PRIMARY KEY, account_id text, body text, "
        "created_at timestamptz DEFAULT now(), picture bytea)"
    )


def test_every_change_is_sealed_once_and_a_pass_finds_nothing_new(vault: Vault, db: Connection) -> None:
    db.execute("INSERT INTO posts SELECT i, 'a' || i % 2, 'before' FROM generate_series(1, 100) i")
    vault.order(accounts='accounts = ["a1"]')
    first = vault.json("watch", "o-1", "--until-caught-up")
    assert first["snapshots"][0]["new"] == 50 + 5  # and what describes the columns
    assert sums(first["sources"]["app"]) == (0, 0, 0)
    db.execute(
        "INSERT INTO posts VALUES (200, 'a1', E'tab\\t line\\n \\\\ é', now(), '\\x00ff'), "
        "(201, 'a0', NULL, now(), NULL)"
    )
    db.execute("UPDATE posts SET body = NULL WHERE id = 200")
    db.execute("INSERT INTO posts VALUES (202, 'a1', 'gone within a moment')")
    db.execute("DELETE FROM posts WHERE id IN (201, 202)")
    assert sums(vault.watch()) == (6, 4, 2)
    assert sums(vault.watch()) == (0, 0, 0)
    counts = vault.json("preserve", "o-1")["sources"]["app"]
    assert (counts["new"], counts["failed"], counts["vanished"]) == (0, 0, 1)
    assert vault.found("o-1", 'native = "[202]"') == 2
    vault.run("verify")


def test_what_was_written_while_the_snapshot_was_read_is_sealed_once(vault: Vault, db: Connection) -> None:
    db.execute("INSERT INTO posts SELECT i, 'a', repeat('x', 500) FROM generate_series(1, 5000) i")
    vault.order()
    process = vault.start("watch", "o-1", "--json")
    number = after = 0
    while after < 150 and number < 5000:  # until the snapshot is well over
        db.execute("INSERT INTO posts VALUES (%s, 'a', 'new')", (10_000 + number,))
        number += 1
        time.sleep(0.005)
        has_slot = db.execute("SELECT count(*) FROM pg_replication_slots WHERE active").fetchone()
        after += has_slot == (1,)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report = json.loads(out)
    snapshot, streamed = report["snapshots"][0]["new"], report["sources"]["app"]["sealed"]
    assert snapshot > 5005
    assert streamed > 0
    assert snapshot + streamed + vault.watch()["sealed"] == 5000 + number + 5
    assert vault.json("preserve", "o-1")["sources"]["app"]["new"] == 0


def test_kills_lose_nothing_and_seal_nothing_twice(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    written = 0
    for round_ in range(4):
        process = vault.start("watch", "o-1")
        for _ in range(60):
            db.execute("INSERT INTO posts VALUES (%s, 'a', repeat('y', 200))", (written,))
            db.execute("DELETE FROM posts WHERE id = %s", (written,))
            written += 1
            time.sleep(0.02 * (round_ + 1) / 2)
        process.kill()
        process.communicate()
    vault.watch()
    assert vault.found("o-1", 'source = "app"') >= 2 * written
    counts = sum(vault.found("o-1", f'native = "[{each}]"') for each in (0, 59, written - 1))
    assert counts == 6
    watched = vault.json("status")["orders"][0]["watched"]["app"]
    assert (watched["offered"], watched["sealed"]) == (2 * written, 2 * written)
    vault.run("verify")


def test_a_slot_that_was_dropped_and_made_again_is_a_gap_that_a_snapshot_closes(
    vault: Vault, db: Connection
) -> None:
    vault.order()
    vault.watch()
    (name,) = db.execute("SELECT slot_name FROM pg_replication_slots").fetchone() or ("",)
    db.execute("INSERT INTO posts VALUES (1, 'a', 'never captured'), (2, 'a', 'still there')")
    db.execute("DELETE FROM posts WHERE id = 1")
    db.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    db.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    report = vault.json("watch", "o-1", "--until-caught-up")
    assert report["snapshots"][0]["new"] == 1
    gaps = vault.gaps()
    assert [(gap["cause"], gap["open"], gap["lost_at_most"] >= 3) for gap in gaps] == [
        ("slot-recreated", False, True)
    ]
    assert vault.watch()["offered"] == 0


def test_a_slot_that_goes_under_load_is_noticed_at_once(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    process = vault.start("watch", "o-1")
    (name,) = db.execute("SELECT slot_name FROM pg_replication_slots").fetchone() or ("",)
    until_read(db)
    db.execute("INSERT INTO posts VALUES (1, 'a')")
    dropped_s = time.time()
    drop_slots(db)
    db.execute("INSERT INTO posts VALUES (2, 'a')")
    db.execute("DELETE FROM posts WHERE id = 2")
    db.execute("INSERT INTO posts VALUES (3, 'a')")
    for _ in range(100):  # each look takes a quarter of a second or more
        gaps = vault.gaps()
        if gaps and not gaps[0]["open"]:
            break
    assert [gap["open"] for gap in gaps] == [False]
    assert _noticed_s(vault) - dropped_s < 30, "the gap was declared too late"
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "slot-missing" in err
    assert vault.found("o-1", 'native = "[3]"') == 1
    assert name in [row[0] for row in db.execute("SELECT slot_name FROM pg_replication_slots").fetchall()]


def test_others_may_write_while_it_watches(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    process = vault.start("watch", "o-1", "--json")
    until_read(db)
    db.execute("INSERT INTO posts VALUES (1, 'a')")
    vault.order("o-2")
    db.execute("INSERT INTO posts VALUES (2, 'a')")
    until_confirmed(db)
    assert process.poll() is None
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["sources"]["app"]["sealed"] == 2


def test_a_watch_that_waits_for_the_vault_ends_when_it_is_told_to(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    with WriterLock(vault.folder / "vault").acquire(f"2026-01-08T14:00:00Z {YIELDS}"):
        process = vault.start("watch", "o-1")
        lock = WriterLock(vault.folder / "vault")
        while not lock.is_wanted:
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        _, err = process.communicate(timeout=45)  # it would wait a minute
    assert process.returncode == 0, err


def test_an_order_that_joins_misses_no_commit_that_waits_for_a_standby(
    vault: Vault, db: Connection, server: PostgresServer
) -> None:
    vault.order()
    vault.order("o-2")
    vault.watch()
    vault.start("watch", "o-1")
    until_read(db)
    with server.connect("app") as slow, server.connect("app") as other, ThreadPoolExecutor(1) as pool:
        slow.autocommit = True
        try:
            _set_standbys(db, "'nobody'")
            waiting = pool.submit(slow.execute, "INSERT INTO posts VALUES (1, 'a')")
            until_true(db, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            until_confirmed(db)  # the stream has given it, and no snapshot sees it
            assert db.execute("SELECT count(*) FROM posts").fetchone() == (0,)
            other.autocommit = True
            with pytest.raises(SourceUnreadable, match="1 transactions that ran before"):
                settle(other, "here", wait_s=0.3)
            joining = vault.start("watch", "o-2", "--until-caught-up", "--json")
            until_true(
                db,
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%locktype = ''transactionid''%'",
            )
            time.sleep(0.5)
            assert joining.poll() is None
        finally:
            _set_standbys(db, "''")
        waiting.result(timeout=30)
        settle(other, "here", wait_s=0.0)
        _, err = joining.communicate(timeout=120)
        assert joining.returncode == 0, err
    assert [vault.found(order, 'native = "[1]"') for order in ("o-1", "o-2")] == [1, 1]


def _set_standbys(db: Connection, names: str) -> None:
    db.execute(f"ALTER SYSTEM SET synchronous_standby_names = {names}".encode())
    db.execute("SELECT pg_reload_conf()")
    wanted = names.strip("'")
    until_true(db, f"SELECT current_setting('synchronous_standby_names') = '{wanted}'")


def test_a_second_process_stands_by_and_takes_over(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    first = vault.start("watch", "o-1")
    until_read(db)
    second = vault.start("watch", "o-1", "--json")
    assert second.stderr is not None
    assert "stands by" in second.stderr.readline()
    db.execute("INSERT INTO posts VALUES (1, 'a')")
    until_confirmed(db)
    first.kill()
    first.communicate()
    db.execute("INSERT INTO posts VALUES (2, 'a')")
    until_confirmed(db)
    second.terminate()
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert json.loads(out)["sources"]["app"]["sealed"] in (
        1,
        2,
    )  # the first may have been killed before it sealed
    assert vault.found("o-1", 'native = "[1]" or native = "[2]"') == 2


def test_standing_by_for_one_source_does_not_keep_from_another(
    vault: Vault, db: Connection, server: PostgresServer
) -> None:
    with server.database("other") as other:
        other.execute("CREATE TABLE notes (id bigint PRIMARY KEY, account_id text)")
        url = f"postgresql://postgres@127.0.0.1:{server.port}/other"
        vault.run("source", "add", "other", url, "--credential", "env:APP_PASSWORD")
        vault.order("o-1")
        vault.order("o-2", sources='"app", "other"')
        vault.watch("o-1")
        first = vault.start("watch", "o-1")
        until_read(db)
        second = vault.start("watch", "o-2", "--json")
        assert second.stderr is not None
        assert "stands by" in second.stderr.readline()
        other.execute("INSERT INTO notes VALUES (1, 'a')")
        db.execute("INSERT INTO posts VALUES (1, 'a')")
        for _ in range(200):
            if vault.found("o-2", 'native = "[1]"') == 2:
                break
        for process in (first, second):
            process.terminate()
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
        assert vault.found("o-2", 'native = "[1]"') == 2
        assert vault.found("o-1", 'native = "[1]"') == 1
        drop_slots(other)


def test_one_stream_serves_two_orders_and_names_neither(vault: Vault, db: Connection) -> None:
    db.execute("INSERT INTO posts VALUES (1, 'a1'), (2, 'a2')")
    vault.order("o-1", accounts='accounts = ["a1"]')
    vault.order("o-2", accounts='accounts = ["a2"]')
    vault.watch("o-1")
    vault.watch("o-2")
    db.execute("INSERT INTO posts VALUES (3, 'a1'), (4, 'a2')")
    assert sums(vault.watch("o-1")) == (2, 1, 1)
    assert [vault.found(order, 'native = "[3]" or native = "[4]"') for order in ("o-1", "o-2")] == [1, 1]
    slots = db.execute("SELECT slot_name FROM pg_replication_slots").fetchall()
    assert len(slots) == 1
    assert not any(order in str(slots) for order in ("o-1", "o-2"))


def test_a_table_without_a_key_is_published_so_that_the_service_goes_on(vault: Vault, db: Connection) -> None:
    db.execute("CREATE TABLE visits (who text, at timestamptz)")
    vault.order()
    vault.watch()
    db.execute("INSERT INTO visits VALUES ('a', now())")
    db.execute("UPDATE visits SET who = 'b'")  # PostgreSQL refuses this where such a table publishes updates
    db.execute("DELETE FROM visits")
    assert sums(vault.watch()) == (1, 1, 0)


def test_what_an_update_leaves_as_it_was_is_taken_from_the_state_before(vault: Vault, db: Connection) -> None:
    db.execute("ALTER TABLE posts ALTER body SET STORAGE EXTERNAL, ALTER picture SET STORAGE EXTERNAL")
    db.execute(
        "INSERT INTO posts VALUES (1, 'a', repeat('old', 3000), now(), decode(repeat('ab', 9000), 'hex'))"
    )
    vault.order()
    vault.watch()
    db.execute("UPDATE posts SET account_id = 'b'")  # the state before lies in a segment that is closed
    db.execute("INSERT INTO posts VALUES (2, 'a', repeat('new', 3000))")
    db.execute("UPDATE posts SET account_id = 'c' WHERE id = 2")  # and here in the one that is open
    assert sums(vault.watch()) == (3, 3, 0)
    assert vault.found("o-1", f'body = "{"old" * 3000}"') == 2
    assert vault.found("o-1", f'body = "{"new" * 3000}"') == 2
    assert (
        vault.json("preserve", "o-1")["sources"]["app"]["new"] == 1
    )  # of a bytea only the digest was at hand


def test_columns_that_come_and_go_and_emptied_tables_are_noticed(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    db.execute("INSERT INTO posts VALUES (1, 'a', 'before')")
    db.execute("ALTER TABLE posts ADD COLUMN mood text, DROP COLUMN picture")
    db.execute("INSERT INTO posts VALUES (2, 'a', 'after', now(), 'calm')")
    db.execute("TRUNCATE posts")
    db.execute("ALTER TABLE posts DROP COLUMN mood")
    db.execute("INSERT INTO posts VALUES (3, 'a', 'last')")
    assert sums(vault.watch()) == (3, 3, 0)
    assert vault.found("o-1", 'mood = "calm"') == 1
    assert vault.found("o-1", 'source = "app"') >= 3
    vault.run("verify")


def test_partitions_odd_names_and_large_values(vault: Vault, db: Connection) -> None:
    db.execute(
        'CREATE TABLE "Odd.Name" (id int PRIMARY KEY, account_id text, "a b" text) PARTITION BY RANGE (id)'
    )
    db.execute("""CREATE TABLE part PARTITION OF "Odd.Name" FOR VALUES FROM (0) TO (100)""")
    vault.order()
    vault.watch()
    db.execute("""INSERT INTO "Odd.Name" VALUES (1, 'a', E'\\N'), (2, 'a', NULL)""")
    db.execute(
        "INSERT INTO posts VALUES (1, 'a', repeat('é', 9000000), now(), decode(repeat('00', 2000000), 'hex'))"
    )
    assert sums(vault.watch()) == (3, 3, 0)
    assert vault.json("preserve", "o-1")["sources"]["app"]["new"] == 0
    vault.run("verify")


def test_a_changed_key_says_that_the_old_one_is_gone(vault: Vault, db: Connection) -> None:
    db.execute("INSERT INTO posts VALUES (1, 'a', 'same')")
    vault.order()
    vault.watch()
    db.execute("UPDATE posts SET id = 2")
    assert sums(vault.watch()) == (2, 2, 0)
    assert vault.found("o-1", 'native = "[1]"') == 2
    assert vault.found("o-1", 'native = "[2]" and body = "same"') == 1
    watched = vault.json("status")["orders"][0]["watched"]["app"]
    assert (watched["offered"], watched["sealed"]) == (2, 2)


def test_sources_without_a_stream_are_passed_over(vault: Vault, db: Connection) -> None:
    folder = vault.folder / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("first")
    vault.run("source", "add", "docs", f"files://{folder}")
    vault.order("o-1", sources='"app", "docs"')
    process = vault.start("watch", "o-1", "--every", "1", "--json")
    until_read(db)
    (folder / "b.txt").write_text("second")
    for _ in range(200):
        if vault.json("find", "o-1", 'source = "docs"')["count"] == 2:
            break
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["sources"]["docs"]["new"] == 2
    vault.order("o-2", sources='"docs"')
    assert vault.json("watch", "o-2", "--until-caught-up")["sources"]["docs"]["new"] == 2


def test_a_crash_between_two_tables_loses_none_of_either(
    vault: Vault, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("CREATE TABLE notes (id bigint PRIMARY KEY, account_id text)")
    vault.order()
    vault.watch()
    with db.transaction():
        for number in range(3):
            db.execute("INSERT INTO posts VALUES (%s, 'a', 'post')", (number,))
            db.execute("INSERT INTO notes VALUES (%s, 'a')", (number,))
    flush = SegmentWriter.flush
    flushed: list[str] = []

    def flush_one(writer: SegmentWriter) -> None:
        """Make the rows of one table durable, and crash before those of the other."""
        if writer.alias.startswith("s0001/") and writer.records:
            if flushed:
                raise _Crash
            flushed.append(writer.alias)
        flush(writer)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "flush", flush_one)
        with pytest.raises(_Crash):
            vault.watch()
    assert sums(vault.watch()) == (6, 6, 0)  # the three that the crash left durable are counted now
    found = [vault.found("o-1", f'native = "[{number}]"') for number in range(3)]
    assert found == [2, 2, 2]
    vault.run("verify")


class _Crash(BaseException):
    """Stand for the end of the process."""


def test_unlogged_tables_are_no_gap_for_ever(vault: Vault, db: Connection) -> None:
    db.execute("CREATE UNLOGGED TABLE scratch (id bigint PRIMARY KEY)")
    vault.order()
    vault.watch()
    assert vault.json("watch", "o-1", "--until-caught-up")["snapshots"] == []
    assert vault.gaps() == []
    plan = vault.json("watch", "plan", "o-1")["sources"][0]
    assert [table for table, _ in plan["updates_and_deletes_not_shown"]] == ["public.scratch"]


def test_a_table_that_is_new_is_published_and_read(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    db.execute("CREATE TABLE later (id bigint PRIMARY KEY, account_id text)")
    db.execute("INSERT INTO later VALUES (1, 'a')")
    vault.watch()
    db.execute("INSERT INTO later VALUES (2, 'a')")
    assert sums(vault.watch()) == (1, 1, 0)
    assert vault.causes() == [("table-not-published", False)]
    assert vault.found("o-1", 'native = "[1]" or native = "[2]"') == 2


def test_rows_that_came_and_went_before_a_new_stream_are_sealed_too(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    db.execute("INSERT INTO posts VALUES (1, 'a', 'gone')")
    db.execute("DELETE FROM posts WHERE id = 1")
    db.execute("INSERT INTO posts VALUES (2, 'a', 'stays')")
    db.execute("CREATE TABLE fresh (id bigint PRIMARY KEY)")  # which makes the watch begin another stream
    db.execute("INSERT INTO fresh SELECT i FROM generate_series(1, 100) i")
    db.execute("DELETE FROM fresh")
    vault.watch()
    assert vault.found("o-1", 'native = "[1]"') == 2
    assert vault.found("o-1", 'native = "[2]"') == 1
    (gap,) = vault.gaps()
    assert (gap["cause"], gap["open"]) == ("table-not-published", False)
    assert gap["lost_at_most"] >= 200
    vault.run("verify")


def test_a_stream_that_breaks_inside_a_transaction_seals_nothing_twice(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    process = vault.start("watch", "o-1", "--json")
    until_read(db)
    db.execute("INSERT INTO posts SELECT i, 'a', repeat('x', 300) FROM generate_series(1, 30000) i")
    for _ in range(3):
        time.sleep(0.3)
        db.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL"
        )
    until_confirmed(db)
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["sources"]["app"]["sealed"] == 30000


def test_a_table_that_loses_its_key_does_not_stop_the_service(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    db.execute("INSERT INTO posts VALUES (1, 'a'), (2, 'a')")
    db.execute("ALTER TABLE posts DROP CONSTRAINT posts_pkey")
    vault.watch()
    assert db.execute("DELETE FROM posts WHERE id = 1").rowcount == 1
    assert vault.causes() == [("identity-loosened", False)]


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("ALTER PUBLICATION {} SET (publish = 'insert')", "publication-altered"),
        ("ALTER PUBLICATION {} DROP TABLE posts", "table-not-published"),
        ("DROP PUBLICATION {}", "publication-altered"),
    ],
)
def test_a_publication_that_somebody_alters_is_noticed_and_mended(
    vault: Vault, db: Connection, statement: str, cause: str
) -> None:
    vault.order()
    vault.watch()
    (name,) = db.execute("SELECT pubname FROM pg_publication ORDER BY pubname LIMIT 1").fetchone() or ("",)
    db.execute(statement.format(name).encode())
    db.execute("INSERT INTO posts VALUES (1, 'a')")
    db.execute("UPDATE posts SET body = 'later'")
    vault.watch()
    assert vault.causes() == [(cause, False)]
    db.execute("DELETE FROM posts")
    vault.watch()
    assert vault.found("o-1", 'native = "[1]" and body = "later"') == 1
    assert vault.found("o-1", 'native = "[1]"') >= 2


def test_a_lost_state_is_a_gap_that_a_snapshot_closes(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    for path in (vault.folder / "vault" / "watch").iterdir():
        path.unlink()
    db.execute("INSERT INTO posts VALUES (1, 'a')")
    vault.watch()
    assert vault.causes() == [("state-lost", False)]
    assert vault.found("o-1", 'native = "[1]"') == 1


def test_a_rolled_back_transaction_leaves_nothing(vault: Vault, db: Connection) -> None:
    vault.order()
    vault.watch()
    with db.transaction(force_rollback=True):
        db.execute("INSERT INTO posts VALUES (1, 'a')")
    with db.transaction():
        db.execute("INSERT INTO posts VALUES (2, 'a')")
        with db.transaction(force_rollback=True):
            db.execute("INSERT INTO posts VALUES (3, 'a')")
    assert sums(vault.watch()) == (1, 1, 0)


def _noticed_s(vault: Vault) -> float:
    """Return when the checkpoint was signed that holds the gap: seconds since 1970, by the pass that closed it."""
    keys = KeyChoice(key_file=vault.folder / "keys" / "scelle" / "keys")
    with opened(vault.folder / "vault", keys, writing=False) as session:
        began = list(events(session.ledger("o-1"), "pass"))
    return int(began[-1].body["started_us"]) / 1e6


@pytest.mark.parametrize("is_watched", [True, False])
def test_a_table_that_moves_out_of_the_source_is_a_gap(
    vault: Vault, db: Connection, is_watched: bool
) -> None:
    db.execute("CREATE TABLE stays (id bigint PRIMARY KEY)")
    vault.order()
    vault.watch()
    process = vault.start("watch", "o-1") if is_watched else None
    if process is not None:
        until_read(db)
    db.execute("CREATE SCHEMA aside")
    db.execute("ALTER TABLE posts SET SCHEMA aside")
    db.execute("INSERT INTO aside.posts VALUES (1, 'a')")
    if process is not None:
        until_true(db, "SELECT count(*) = 0 FROM pg_publication_tables WHERE schemaname = 'aside'")
        _, err = vault.watch_ended(process)
        assert process.returncode == 0, err
        assert "table-moved-away" in err
    vault.watch()
    assert vault.causes() == [("table-moved-away", False)]
    assert vault.watch()["offered"] == 0
