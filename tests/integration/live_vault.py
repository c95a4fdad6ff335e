"""A vault made by the command line that takes its items from a live database, for tests of watch and guard."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from tests.integration.postgres import PASSWORD, PostgresServer

from scelle.cli.main import run

ORDER = """
[order]
id = "{order}"
matter = "m-1"
type = "dsa-retention"
authority = "European Commission"
addressee = "Example Platform"
legal_basis = "Regulation (EU) 2022/2065, Article 72"
reference = "R-1"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
until = 2036-12-31
zone = "Europe/Brussels"
temporal = "both"
notify = "{notify}"

[[clause]]
id = "c1"
sources = [{sources}]
{accounts}
"""

POSTS = "CREATE TABLE posts (id bigint PRIMARY KEY, account_id text, body text)"
"""The tables of a database whose test asks for no others."""

Connection = psycopg.Connection[Any]
T = TypeVar("T")


class Vault:
    """A vault made by the command line, and the commands on it."""

    def __init__(self, folder: Path, server: PostgresServer, *options: str, user: str = "postgres") -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        self.env = {
            **os.environ,
            "XDG_CONFIG_HOME": str(folder / "keys"),
            "SCELLE_VAULT": str(folder / "vault"),
            "APP_PASSWORD": PASSWORD,
        }
        self.run("init", str(folder / "vault"), "--host", "platform.example", *options)
        url = f"postgresql://{user}@127.0.0.1:{server.port}/app"
        self.run("source", "add", "app", url, "--credential", "env:APP_PASSWORD")

    def start(self, *words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "scelle.cli", *words],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def stop(self) -> None:
        """End what a test that failed left running: it would hold its slot against every test after it."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def run(self, *words: str, code: int | None = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.env.items():
                patch.setenv(name, value)
            found = run(list(words))
        assert found == code or (code is None and found in (0, 1)), (
            words,
            found,
            out.getvalue(),
            err.getvalue(),
        )
        return out.getvalue()

    def json(self, *words: str, code: int | None = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code))

    def order(
        self, order: str = "o-1", accounts: str = "", notify: str = "permitted", sources: str = '"app"'
    ) -> None:
        path = self.folder / f"{order}.toml"
        path.write_text(ORDER.format(order=order, accounts=accounts, notify=notify, sources=sources))
        self.run("order", "add", str(path))

    def watch(self, order: str = "o-1", code: int = 0) -> Any:
        return self.json("watch", order, "--until-caught-up", code=code)["sources"]["app"]

    def watch_ended(self, process: "subprocess.Popen[str]") -> tuple[str, str]:
        """Tell a watch to end, and return what it printed."""
        process.terminate()
        return process.communicate(timeout=120)

    def found(self, order: str, query: str) -> int:
        total: int = self.json("find", order, query)["count"]
        return total

    def gaps(self) -> list[dict[str, Any]]:
        answer = self.json("gap", "list", code=None)
        assert "gaps" in answer, answer
        found: list[dict[str, Any]] = answer["gaps"]
        return found

    def causes(self) -> list[tuple[str, bool]]:
        """Give of every gap its cause, and whether it is open."""
        return [(gap["cause"], gap["open"]) for gap in self.gaps()]


def drop_slots(connection: Connection) -> None:
    """Drop every slot, ending who reads it."""
    for name, pid in connection.execute("SELECT slot_name, active_pid FROM pg_replication_slots").fetchall():
        if pid is not None:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        for _ in range(100):
            try:
                connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))
                break
            except psycopg.errors.ObjectInUse:
                time.sleep(0.05)


def until(find: Callable[[], T | None], seconds: float = 120.0) -> T:
    """Ask again and again until the answer is one that counts as true, and return it; fail when it never comes."""
    deadline_s = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline_s, "it never came to that"
        time.sleep(0.05)
    return found


def until_true(connection: Connection, question: str, *values: object) -> None:
    """Wait until the database answers a question with true."""
    until(lambda: connection.execute(question.encode(), values or None).fetchone() == (True,))


def reader(connection: Connection) -> int | None:
    """Return the process of the server that gives a watch its changes, where exactly one does."""
    rows = connection.execute("SELECT active_pid FROM pg_replication_slots WHERE active").fetchall()
    return rows[0][0] if len(rows) == 1 else None


def until_read(connection: Connection) -> int:
    """Wait until a watch reads its slot; return the process of the server that serves it."""
    return until(lambda: reader(connection))


def until_confirmed(connection: Connection) -> None:
    """Wait until everything that was committed before is durable in the vault."""
    row = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
    assert row is not None
    until_true(connection, "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots", row[0])


def sums(counts: Any) -> tuple[int, int, int]:
    """Return offered, sealed and excluded, which must add up."""
    assert counts["offered"] == counts["sealed"] + counts["failed"] + counts["excluded"] + counts["lost"]
    return counts["offered"], counts["sealed"], counts["excluded"]
