"""Capture the changes of a PostgreSQL beside pg_recvlogical writing to a file, in one run.

``python -m benchmarks.watch [--small 50000] [--wide 50000] [--latency 20]``. Two workloads, each decoded by both from
a slot of its own after it was written: *small*, transactions like pgbench's (three updates, one insert), and *wide*,
rows of 2 KB, one transaction each. Both start anew and end at the same place in the WAL; ours seals and encrypts.
*latency* writes 2,000 changes a second for some seconds while `watch` runs, and says how long after its commit a change
was durable in the vault: from the server's commit time to the confirmation, the 99th percentile.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import psycopg
from tests.integration.postgres import PASSWORD, PostgresServer, serve_postgres

from benchmarks.measure import Command, Usage, run

ORDER: Final = """\
[order]
id = "bench-w"
matter = "bench"
type = "internal"
authority = "An Invented Authority"
addressee = "Example Platform International"
legal_basis = "A benchmark"
reference = "BENCH/W"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
until = 2036-12-31
zone = "UTC"
temporal = "both"
notify = "permitted"
[[clause]]
id = "all"
sources = ["app"]
"""
SMALL: Final = """
DO $$ BEGIN FOR i IN 1..{n} LOOP
  UPDATE accounts SET balance = balance + i WHERE id = i % 1000;
  UPDATE tellers SET balance = balance + i WHERE id = i % 10;
  UPDATE branches SET balance = balance + i WHERE id = 1;
  INSERT INTO history (teller, branch, account_id, delta)
    VALUES (i % 10, 1, i % 1000, i);
  COMMIT;
END LOOP; END $$
"""
WIDE: Final = """
DO $$ BEGIN FOR i IN 1..{n} LOOP
  INSERT INTO posts (account_id, body) VALUES (i % 1000, repeat(md5(i::text), 64));
  COMMIT;
END LOOP; END $$
"""
TABLES: Final = """
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint, filler text);
CREATE TABLE tellers (id int PRIMARY KEY, balance bigint, filler text);
CREATE TABLE branches (id int PRIMARY KEY, balance bigint, filler text);
CREATE TABLE history (id bigserial PRIMARY KEY, teller int, branch int, account_id int, delta bigint,
  at timestamptz DEFAULT now());
CREATE TABLE posts (id bigserial PRIMARY KEY, account_id int, body text, created_at timestamptz DEFAULT now());
INSERT INTO accounts SELECT i, 0, repeat(' ', 84) FROM generate_series(0, 999) i;
INSERT INTO tellers SELECT i, 0, repeat(' ', 84) FROM generate_series(0, 9) i;
INSERT INTO branches VALUES (1, 0, repeat(' ', 88));
"""
Connection = psycopg.Connection[Any]
PEER: Final = "peer"


class Vault:
    """A vault that watches the server's database `app`."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder = folder
        self.env = {
            "XDG_CONFIG_HOME": str(folder / "keys"),
            "SCELLE_VAULT": str(folder / "vault"),
            "APP_PASSWORD": PASSWORD,
        }
        (folder / "order.toml").write_text(ORDER)
        url = f"postgresql://postgres@127.0.0.1:{server.port}/app"
        for words in (
            ("init", str(folder / "vault"), "--host", "platform.example"),
            ("source", "add", "app", url, "--credential", "env:APP_PASSWORD"),
            ("order", "add", str(folder / "order.toml")),
        ):
            self.run(*words)

    def command(self, *words: str) -> Command:
        """Return a command of ours as it is run."""
        return Command([sys.executable, "-m", "scelle.cli", *words], env=self.env)

    def run(self, *words: str) -> Usage:
        """Run a command of ours."""
        return run(self.command(*words), self.folder / "log")

    def watch(self) -> Usage:
        """Seal all that was written."""
        return self.run("watch", "bench-w", "--until-caught-up")


def received(server: PostgresServer, db: Connection, folder: Path) -> Usage:
    """Let pg_recvlogical write what its slot gives to a file."""
    row = db.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
    assert row is not None
    where = f"host=127.0.0.1 port={server.port} user=postgres dbname=app"
    arguments = [
        "-d",
        where,
        "--slot",
        PEER,
        "--start",
        "-f",
        str(folder / "peer.out"),
        "--endpos",
        str(row[0]),
    ]
    arguments += ["-o", "proto_version=1", "-o", f"publication_names={PEER}", "--no-loop"]
    program = str(server.binaries / "pg_recvlogical")
    return run(Command([program, *arguments], env={"PGPASSWORD": PASSWORD}), folder / "log")


def compare(server: PostgresServer, db: Connection, vault: Vault, workload: str, changes: int) -> None:
    """Write a workload, let both take it, and print rates and ratio."""
    db.execute(workload.encode())
    peer = received(server, db, vault.folder)
    ours = vault.watch()
    print(
        f"{changes:,} changes: pg_recvlogical {changes / peer.wall_s:,.0f} a second, scelle watch "
        f"{changes / ours.wall_s:,.0f} a second ({ours.cpu_s:.1f} s of processor), ratio "
        f"{peer.wall_s / ours.wall_s:.2f}; goal: 0.50 or more"
    )


def latency(db: Connection, server: PostgresServer, vault: Vault, seconds: float, rate: int) -> None:
    """Write changes at a rate while a watch runs; print how late they were durable."""
    command = vault.command("watch", "bench-w")
    process = subprocess.Popen(list(command.argv), env=os.environ | dict(command.env))
    query = "SELECT active FROM pg_replication_slots WHERE slot_name <> %s"
    while db.execute(query, (PEER,)).fetchone() != (True,):
        time.sleep(0.05)
    written: list[tuple[int, float]] = []
    late: list[float] = []
    stop = threading.Event()

    def look() -> None:
        ask = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name <> %s"
        done = 0
        with server.connect("app") as looking:
            while not stop.is_set() or done < len(written):
                row = looking.execute(ask, (PEER,)).fetchone()
                now, confirmed = time.monotonic(), 0 if row is None else int(row[0])
                while done < len(written) and written[done][0] <= confirmed:
                    late.append(now - written[done][1])
                    done += 1
                time.sleep(0.01)

    looker = threading.Thread(target=look)
    looker.start()
    per_step, begun = rate // 50, time.monotonic()
    for step in range(int(seconds * 50)):
        with db.transaction():
            db.execute(
                "INSERT INTO posts (account_id, body) SELECT i, repeat('x', 200) FROM generate_series(1, %s) i",
                (per_step,),
            )
        row = db.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        written.append((int(row[0]) - 64, time.monotonic()))
        time.sleep(max(0.0, begun + (step + 1) / 50 - time.monotonic()))
    spent = time.monotonic() - begun
    stop.set()
    looker.join()
    process.terminate()
    process.wait()
    late.sort()
    print(
        f"{per_step * len(late) / spent:,.0f} changes a second for {spent:.0f} s: from commit to durable and confirmed "
        f"p50 {late[len(late) // 2]:.2f} s, p99 {late[int(len(late) * 0.99)]:.2f} s; goal: p99 under 2 s"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=50_000)
    parser.add_argument("--wide", type=int, default=50_000)
    parser.add_argument("--latency", type=float, default=20.0)
    parser.add_argument("--version", default="18")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve_postgres(given.version) as server,
        server.database("app") as db,
    ):
        db.execute(TABLES.encode())
        vault = Vault(Path(folder), server)
        vault.watch()
        db.execute(f"CREATE PUBLICATION {PEER} FOR ALL TABLES".encode())
        db.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (PEER,))
        compare(server, db, vault, SMALL.format(n=given.small), 4 * given.small)
        compare(server, db, vault, WIDE.format(n=given.wide), given.wide)
        latency(db, server, vault, given.latency, 2000)
        for (name,) in db.execute("SELECT slot_name FROM pg_replication_slots").fetchall():
            db.execute("SELECT pg_drop_replication_slot(%s)", (name,))


if __name__ == "__main__":
    main()
