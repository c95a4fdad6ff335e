"""Watch through a bad network, onto a full disk, while tables are made: nothing is lost, and nothing sealed twice."""

import json
import os
import random
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.integration.live_vault import Connection, Vault, sums, until_read, until_true
from tests.integration.postgres import PostgresServer, Servers

from scelle.bootstrap import KeyChoice, Session, opened
from scelle.bootstrap.watching import Watcher

long = pytest.mark.long


@pytest.fixture(scope="module")
def server(servers: Servers) -> PostgresServer:
    return servers("18")


@dataclass
class Network:
    """What stands between the watch and its server: it delays, cuts and half-closes connections, as it is told."""

    server: PostgresServer
    listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)
    delay_s: float = 0.0
    is_over: bool = False

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def serve(self) -> None:
        while not self.is_over:
            if not select.select([self.listening], [], [], 0.1)[0]:
                continue
            client, _ = self.listening.accept()
            try:
                upstream = socket.create_connection((self.server.host, self.server.port))
            except OSError:
                client.close()
                continue
            self.pairs.append((client, upstream))
            threading.Thread(target=self._carry, args=(client, upstream), daemon=True).start()

    def _carry(self, client: socket.socket, upstream: socket.socket) -> None:
        other = {client: upstream, upstream: client}
        try:
            while not self.is_over:
                for each in select.select(list(other), [], [], 0.1)[0]:
                    data = each.recv(65536)
                    if not data:
                        return
                    time.sleep(self.delay_s)
                    other[each].sendall(data)
        except (OSError, ValueError):
            return
        finally:
            for each in other:
                each.close()

    def cut(self) -> None:
        """End every connection, on both sides."""
        for pair in self._taken():
            for each in pair:
                each.close()

    def half_close(self) -> None:
        """Tell the watch that nothing more comes, and go on taking what it sends."""
        for client, _ in self._taken():
            try:
                client.shutdown(socket.SHUT_WR)
            except OSError:
                client.close()

    def _taken(self) -> list[tuple[socket.socket, socket.socket]]:
        taken, self.pairs = self.pairs, []
        return taken


@contextmanager
def bad_network(server: PostgresServer) -> Iterator[Network]:
    network = Network(server)
    thread = threading.Thread(target=network.serve, daemon=True)
    thread.start()
    try:
        yield network
    finally:
        network.is_over = True
        thread.join()
        network.cut()
        network.listening.close()


def test_a_network_that_delays_cuts_and_half_closes_loses_nothing(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    chance = random.Random(7)
    with bad_network(server) as network:
        vault = Vault(tmp_path, PostgresServer(server.version, server.binaries, server.data, network.port))
        vault.order()
        vault.watch()
        process = vault.start("watch", "o-1")
        until_read(db)
        written, until_s = 0, time.monotonic() + 12
        while time.monotonic() < until_s:
            for _ in range(20):
                db.execute("INSERT INTO posts VALUES (%s, 'a', 'mild')", (written,))
                db.execute("DELETE FROM posts WHERE id = %s", (written,))
                written += 1
            network.delay_s = chance.choice([0.0, 0.0, 0.005, 0.05])
            if chance.random() < 0.5:
                chance.choice([network.cut, network.half_close])()
            time.sleep(chance.random())
        network.delay_s = 0.0
        _, err = vault.watch_ended(process)
        assert process.returncode in (0, 1), err
        assert "lost" in err, "the network never broke the stream"
        vault.watch()
        watched = vault.json("status")["orders"][0]["watched"]["app"]
        assert (watched["offered"], watched["sealed"]) == (2 * written, 2 * written)
        assert vault.found("o-1", 'body = "mild"') == written
        gaps = vault.json("gap", "list")["gaps"]
        assert all(gap["lost_at_most"] == 0 and not gap["open"] for gap in gaps)
        vault.run("verify")


def test_a_server_that_stands_still_loses_nothing(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, server)
    vault.order()
    vault.watch()
    process = vault.start("watch", "o-1")
    walsender = until_read(db)
    os.kill(walsender, signal.SIGSTOP)
    try:
        db.execute("INSERT INTO posts VALUES (1, 'a', 'mild')")
        time.sleep(3)
        assert process.poll() is None
    finally:
        os.kill(walsender, signal.SIGCONT)
    vault.watch_ended(process)
    vault.watch()
    assert vault.found("o-1", 'native = "[1]"') == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_stops_the_watch_before_it_confirms_and_room_lets_it_go_on(
    server: PostgresServer, db: Connection, small_disk: Path
) -> None:
    vault = Vault(small_disk, server)
    vault.order()
    vault.watch()
    process = vault.start("watch", "o-1")
    until_read(db)
    free = os.statvfs(small_disk)
    with (small_disk / "ballast").open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, (free.f_bavail - 512) * free.f_frsize)
    number = 0
    while process.poll() is None and number < 400:
        db.execute("INSERT INTO posts VALUES (%s, 'a', %s)", (number, os.urandom(20_000).hex()))
        number += 1
        time.sleep(0.02)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    assert "no room left" in err
    assert "Traceback" not in err
    (small_disk / "ballast").unlink()
    vault.watch()
    assert vault.found("o-1", 'account = "a"') == number
    watched = vault.json("status")["orders"][0]["watched"]["app"]
    assert (watched["offered"], watched["sealed"]) == (number, number)
    assert vault.json("gap", "list")["gaps"] == []
    vault.run("verify")


def test_tables_that_are_made_while_it_watches_join_one_after_the_other(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    _make_tables(server, db, tmp_path, 10, 0.2)


@pytest.mark.parametrize("jump_s", [-3600, 3600, 40 * 86400])
def test_a_clock_that_jumps_loses_nothing(
    server: PostgresServer, db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    vault, offset_us, stopping = Vault(tmp_path, server), 0, threading.Event()
    vault.order()
    vault.watch()
    monkeypatch.setenv("APP_PASSWORD", vault.env["APP_PASSWORD"])
    keys = KeyChoice(key_file=tmp_path / "keys" / "scelle" / "keys")

    def opening() -> AbstractContextManager[Session]:
        clock = lambda: time.time_ns() // 1000 + offset_us  # noqa: E731
        return opened(tmp_path / "vault", keys, writing=True, yields=True, clock=clock)

    watcher = Watcher(opening, "o-1", should_stop=stopping.is_set)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(watcher.run)
        until_read(db)
        for number, each_us in enumerate((0, jump_s * 1_000_000, 0)):
            offset_us = each_us
            db.execute("INSERT INTO posts VALUES (%s, 'a', 'mild')", (number,))
            (end,) = db.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone() or ("",)
            until_true(db, f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots")
        stopping.set()
        running.result(timeout=60)
    vault.watch()
    assert vault.found("o-1", 'body = "mild"') == 3
    watched = vault.json("status")["orders"][0]["watched"]["app"]
    assert (watched["offered"], watched["sealed"]) == (3, 3)
    vault.run("verify")


@long
def test_a_hundred_tables_made_within_a_minute_join(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    _make_tables(server, db, tmp_path, 100, 0.5)


def _make_tables(server: PostgresServer, db: Connection, folder: Path, tables: int, pause_s: float) -> None:
    vault = Vault(folder, server)
    vault.order()
    vault.watch()
    process = vault.start("watch", "o-1", "--json")
    until_read(db)
    for number in range(tables):
        db.execute(f"CREATE TABLE made{number} (id bigint PRIMARY KEY, body text)".encode())
        db.execute(f"INSERT INTO made{number} VALUES (1, 'first')".encode())
        time.sleep(pause_s)
    until_true(db, f"SELECT count(*) >= {tables} FROM pg_publication_tables WHERE tablename LIKE 'made%'")
    for number in range(tables):
        db.execute(f"INSERT INTO made{number} VALUES (2, 'second')".encode())
        db.execute(f"DELETE FROM made{number} WHERE id = 2".encode())
    out, err = vault.watch_ended(process)
    assert process.returncode == 0, (out, err)
    vault.watch()
    assert vault.found("o-1", 'body = "first"') == tables
    assert vault.found("o-1", 'body = "second"') == tables
    gaps = vault.json("gap", "list")["gaps"]
    assert {gap["cause"] for gap in gaps} == {"table-not-published"}
    assert not any(gap["open"] for gap in gaps)


@long
def test_a_transaction_of_a_gigabyte_is_captured_whole_in_bounded_memory(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, server)
    vault.order()
    vault.watch()
    with db.transaction():
        for start in range(0, 500_000, 50_000):
            db.execute(
                "INSERT INTO posts SELECT i, 'a', string_agg(md5((i * 64 + j)::text), '') "
                "FROM generate_series(%s::bigint, %s::bigint) i, generate_series(1, 64) j GROUP BY i",
                (start, start + 49_999),
            )
    process = vault.start("watch", "o-1", "--until-caught-up", "--json")
    peak_kib = 0
    while process.poll() is None:
        peak_kib = max(peak_kib, _peak_kib(process.pid))
        time.sleep(0.2)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert sums(json.loads(out)["sources"]["app"])[:2] == (500_000, 500_000)
    assert 0 < peak_kib < 500 << 10, f"{peak_kib >> 10} MiB"


def _peak_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
