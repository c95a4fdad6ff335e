"""Scrape a real watch of a real database: its figures are true, and no line of its log says what nobody may read."""

import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request

import psycopg
import pytest
from tests.integration.live_vault import Connection, Vault, drop_slots
from tests.integration.postgres import PostgresServer, Servers

from scelle.bootstrap.watch_metrics import FAMILIES, OWN

parser = pytest.importorskip("prometheus_client.parser", reason="metrics are an extra: scelle[metrics]")

Samples = dict[tuple[str, ...], float]
_CONTENT = "a mild sentence"
_PORT = re.compile(r"http://127\.0\.0\.1:([0-9]+)/metrics")


@pytest.fixture(scope="module")
def server(servers: Servers) -> PostgresServer:
    return servers("18")


class Watching:
    """A watch that serves metrics, started for a test; `lines` is what it says on standard error."""

    def __init__(self, vault: Vault, *options: str, order: str = "o-1") -> None:
        self.process = vault.start("watch", order, "--metrics", "0", "--log-format", "json", *options)
        assert self.process.stderr is not None
        self.lines = [self.process.stderr.readline()]
        while '"metrics-served"' not in self.lines[-1]:
            assert self.lines[-1], self.lines
            self.lines.append(self.process.stderr.readline())
        self.port = int(json.loads(self.lines[-1])["port"])

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def samples(self) -> Samples:
        """Return every sample: by its name, and the values of its labels in the order of their names."""
        return {
            (each.name, *(each.labels[label] for label in sorted(each.labels))): each.value
            for family in parser.text_string_to_metric_families(self.get("/metrics"))
            for each in family.samples
        }

    def until(self, name: str, *labels: str, at_least: float = 1.0, seconds: float = 120.0) -> Samples:
        """Scrape until a sample is so large."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.samples()
            if found.get((name, *labels), -1.0) >= at_least:
                return found
            assert time.monotonic() < deadline, (name, labels, found)
            assert self.process.poll() is None, self.stop()
            time.sleep(0.1)

    def stop(self) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=120)
        self.lines += err.splitlines()
        return self.process.returncode, "".join(self.lines)


def test_figures_say_what_the_watch_did(vault: Vault, db: Connection) -> None:
    db.execute("INSERT INTO posts SELECT i, 'a1', 'before' FROM generate_series(1, 10) i")
    vault.order(accounts='accounts = ["a1"]')
    watching = Watching(vault)
    watching.until("scelle_watch_stream_up", "app")
    began_s = time.time()
    db.execute("INSERT INTO posts SELECT i, 'a' || i % 2, 'new' FROM generate_series(100, 109) i")
    found = watching.until("scelle_watch_changes_total", "sealed", "app", at_least=5)
    assert found["scelle_watch_changes_total", "excluded", "app"] == 5
    assert found["scelle_watch_changes_total", "failed", "app"] == 0
    assert found["scelle_watch_pass_items_total", "sealed", "app"] == 10 + 3  # and what describes the columns
    assert found["scelle_watch_reading", "app"] == 1
    assert found["scelle_watch_pass_running", "app"] == 0
    assert 0 <= found["scelle_watch_lag_seconds", "app"] < 60
    found = watching.until("scelle_watch_last_flush_timestamp_seconds", "app", at_least=began_s)
    assert found["scelle_watch_last_flush_timestamp_seconds", "app"] <= time.time()
    assert not [key for key in found if key[0] == "scelle_watch_open_gaps"]
    assert watching.get("/healthz") == "ok\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        watching.get("/elsewhere")
    assert watching.stop()[0] == 0
    said = [json.loads(line) for line in watching.lines if line.strip()]
    assert sum(each["sealed"] for each in said if each["event"] == "sealed") == 5
    assert vault.watch()["offered"] == 0  # counting changed nothing of what is sealed


def test_counters_do_not_fall_when_turns_end_and_counts_are_sealed(vault: Vault, db: Connection) -> None:
    vault.order()
    watching = Watching(vault)
    watching.until("scelle_watch_stream_up", "app")
    last = 0.0
    for number in range(6):
        db.execute("INSERT INTO posts VALUES (%s, 'a', 'x')", (number,))
        if number % 2:
            (
                vault.folder / f"papers-{number}"
            ).mkdir()  # whoever adds a source needs the lock, and ends a turn
            vault.run("source", "add", f"n{number}", f"files://{vault.folder}/papers-{number}")
        found = watching.until("scelle_watch_changes_total", "sealed", "app", at_least=number + 1)
        now = found["scelle_watch_changes_total", "sealed", "app"]
        assert now >= last
        last = now
    assert last == 6
    watching.stop()


def test_who_stands_by_says_so_and_measures_no_stream(vault: Vault, db: Connection) -> None:
    vault.order()
    first = Watching(vault)
    first.until("scelle_watch_stream_up", "app")
    second = Watching(vault)
    found = second.until("scelle_watch_reading", "app", at_least=0)
    assert found["scelle_watch_reading", "app"] == 0
    assert ("scelle_watch_lag_seconds", "app") not in found
    first.process.kill()
    second.until("scelle_watch_reading", "app")
    second.until("scelle_watch_stream_up", "app")
    second.stop()


def test_a_stream_that_is_down_is_a_gap_and_the_lag_grows(
    vault: Vault, db: Connection, server: PostgresServer
) -> None:
    vault.order()
    watching = Watching(vault)
    watching.until("scelle_watch_stream_up", "app")
    with server.connect() as admin:
        admin.execute("ALTER DATABASE app WITH ALLOW_CONNECTIONS false")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scelle'"
        )
        found = watching.until("scelle_watch_open_gaps", "connection-lost", "app")
        assert found["scelle_watch_stream_up", "app"] == 0
        assert found["scelle_watch_lag_seconds", "app"] >= 2
        admin.execute("ALTER DATABASE app WITH ALLOW_CONNECTIONS true")
        found = watching.until("scelle_watch_stream_up", "app", seconds=120)
    deadline = time.monotonic() + 120
    while ("scelle_watch_open_gaps", "connection-lost", "app") in watching.samples():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    code, said = watching.stop()
    assert code == 0
    events = [json.loads(line) for line in watching.lines if line.strip()]
    assert {"stream-broke", "stream-mended"} <= {each["event"] for each in events}, said


def test_the_guard_counts_rows_by_job(vault: Vault, db: Connection) -> None:
    db.execute("INSERT INTO posts SELECT i, 'a1', 'before' FROM generate_series(1, 10) i")
    vault.order(accounts='accounts = ["a1"]')
    vault.json("guard", "install", "o-1", "--source", "app", "--mode", "divert")
    watching = Watching(vault)
    found = watching.until("scelle_guard_paths", "app", "effective")
    assert found["scelle_guard_last_probe_timestamp_seconds", "app"] <= time.time()
    assert ("scelle_guard_paths", "app", "red") not in found
    db.execute("SET application_name = 'nightly-purge'")
    db.execute("DELETE FROM posts WHERE id <= 4")
    found = watching.until("scelle_guard_diverted_rows_total", "nightly-purge", "delete", "app", at_least=4)
    found = watching.until("scelle_guard_outbox_rows", "app", at_least=0)
    assert found["scelle_guard_outbox_rows", "app"] == 0
    watching.stop()


def test_what_the_guard_refuses_is_counted_though_it_is_rolled_back_and_probes_are_not(
    vault: Vault, db: Connection
) -> None:
    db.execute("INSERT INTO posts SELECT i, 'a1', 'before' FROM generate_series(1, 10) i")
    vault.order(accounts='accounts = ["a1"]')
    vault.json("guard", "install", "o-1", "--source", "app", "--mode", "refuse")
    for statement in ("DELETE FROM posts", "TRUNCATE posts", "DROP TABLE posts"):
        with pytest.raises(psycopg.Error) as refused:
            db.execute(statement.encode())
        assert refused.value.sqlstate == "SC001"
    vault.json("guard", "probe")
    watching = Watching(vault)
    found = watching.until("scelle_guard_refused_statements_total", "app", at_least=0)
    assert found["scelle_guard_refused_statements_total", "app"] == 3
    watching.stop()


def test_no_line_and_no_figure_names_orders_accounts_or_content(vault: Vault, db: Connection) -> None:
    vault.order("o-quiet-7", accounts='accounts = ["account-of-somebody"]')
    watching = Watching(vault, order="o-quiet-7")
    watching.until("scelle_watch_stream_up", "app")
    db.execute("INSERT INTO posts VALUES (1, 'account-of-somebody', %s)", (_CONTENT,))
    watching.until("scelle_watch_changes_total", "sealed", "app")
    drop_slots(db)
    watching.until("scelle_watch_pass_items_total", "sealed", "app", at_least=2)
    db.execute("CREATE TABLE later_made (id int PRIMARY KEY)")
    time.sleep(3)
    shown = watching.get("/metrics")
    _, said = watching.stop()
    assert "slot-missing" in said
    assert all("text" not in json.loads(line) for line in watching.lines if line.strip())
    for text in (shown, said):
        for word in ("o-quiet-7", "account-of-somebody", _CONTENT, "posts", "later_made", "c1", "European"):
            assert word not in text, word


def test_an_order_behind_a_wall_is_in_no_figure_of_who_is_not_within(vault: Vault, db: Connection) -> None:
    vault.order("o-1")
    vault.order("o-2")
    for name in ("alice", "bob"):
        vault.run("operator", "add", name, "--role", "counsel")
    vault.run("--as", "alice", "order", "wall", "o-2", "--only", "alice")
    vault.run("--as", "alice", "watch", "o-2", "--until-caught-up")
    for who, times in (("bob", 1), ("alice", 2)):
        watching = Watching(vault, "--as", who)
        watching.until("scelle_watch_stream_up", "app")
        db.execute("INSERT INTO posts SELECT i, 'a', 'x' FROM generate_series(1, 5) i")
        found = watching.until("scelle_watch_changes_total", "sealed", "app", at_least=5 * times)
        assert found["scelle_watch_changes_total", "sealed", "app"] == 5 * times
        db.execute("TRUNCATE posts")
        drop_slots(db)  # a gap of both orders
        found = watching.until("scelle_watch_gaps_total", "slot-missing", "app", at_least=times)
        assert found["scelle_watch_gaps_total", "slot-missing", "app"] == times
        assert found["scelle_watch_changes_total", "sealed", "app"] == 5 * times  # which are sealed now
        assert watching.stop()[0] == 0
    assert (
        vault.json("--as", "alice", "find", "o-2", 'source = "app"')["count"] > 0
    )  # it was captured all the time


def test_an_error_ends_in_a_line_for_machines_that_names_no_order(vault: Vault, db: Connection) -> None:
    process = vault.start("watch", "o-unknown", "--log-format", "json")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    (said,) = [json.loads(line) for line in err.splitlines()]
    assert (said["event"], said["level"], said["error"], said["exit"]) == (
        "ended",
        "error",
        "orders.unknown",
        2,
    )
    assert "o-unknown" not in err


def test_text_is_the_default_and_says_sentences(vault: Vault, db: Connection) -> None:
    vault.order()
    process = vault.start("watch", "o-1", "--metrics", "127.0.0.1:0", "--until-caught-up")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert _PORT.search(err)


def test_an_address_that_is_taken_ends_with_a_clear_line(vault: Vault, db: Connection) -> None:
    vault.order()
    watching = Watching(vault)
    process = vault.start("watch", "o-1", "--metrics", str(watching.port))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "watch.metrics_unavailable" in err
    watching.stop()


def test_every_sample_belongs_to_a_metric_that_is_described(vault: Vault, db: Connection) -> None:
    vault.order()
    watching = Watching(vault)
    watching.until("scelle_watch_stream_up", "app")
    names = {key[0] for key in watching.samples()}
    assert names <= {each.full_name for each in FAMILIES} | set(OWN)
    for family in parser.text_string_to_metric_families(watching.get("/metrics")):
        assert family.documentation
    watching.stop()


def test_a_client_that_never_reads_holds_nothing_up(vault: Vault, db: Connection) -> None:
    vault.order()
    watching = Watching(vault)
    watching.until("scelle_watch_stream_up", "app")
    idle = [socket.create_connection(("127.0.0.1", watching.port)) for _ in range(8)]
    try:
        db.execute("INSERT INTO posts VALUES (1, 'a', 'x')")
        watching.until("scelle_watch_changes_total", "sealed", "app")
        started = time.monotonic()
        assert watching.stop()[0] == 0
        assert time.monotonic() - started < 20
    finally:
        for each in idle:
            each.close()
