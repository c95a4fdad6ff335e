"""A real pgbouncer in front of a real PostgreSQL, for tests; skipped where there is none and none can be unpacked."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from tests.integration.postgres import PASSWORD, PostgresServer, _free_port, _somebody

_PACKAGES = ("pgbouncer", "libc-ares2")


@contextmanager
def pooled(server: PostgresServer, mode: str) -> Iterator[PostgresServer]:
    """Run a pgbouncer before a server, in a pool mode; give the server as it is seen through it."""
    program, libraries = _pgbouncer()
    folder = Path(tempfile.mkdtemp(prefix="scelle-pooler-"))
    port = _free_port()
    (folder / "users").write_text(f'"postgres" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {folder}/users\n"
        f"pool_mode = {mode}\nmax_client_conn = 50\ndefault_pool_size = 10\n"
    )
    who = _somebody() if os.geteuid() == 0 else None
    folder.chmod(0o755)
    process = subprocess.Popen(
        [str(program), str(folder / "pgbouncer.ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
        user=None if who is None else who.pw_uid,
        group=None if who is None else who.pw_gid,
    )
    try:
        _until_listening(process, port)
        yield PostgresServer(server.version, server.binaries, server.data, port)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _until_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise RuntimeError(f"pgbouncer ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("pgbouncer never listened")


@cache
def _pgbouncer() -> tuple[Path, Path]:
    """Find pgbouncer, or unpack Debian's without installing it; returns the program and a folder of its libraries."""
    installed = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if installed is not None:
        return Path(installed), Path(installed).parent
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        pytest.skip("no pgbouncer, and no Debian to take it from")
    folder = Path(tempfile.mkdtemp(prefix="scelle-pgbouncer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    done = subprocess.run(
        ["apt-get", "download", "-q", *_PACKAGES], cwd=folder, capture_output=True, check=False
    )
    archives = sorted(folder.glob("*.deb"))
    if done.returncode or len(archives) != len(_PACKAGES):
        shutil.rmtree(folder)
        pytest.skip(
            f"no pgbouncer is installed, and its package cannot be had: install Debian's {_PACKAGES[0]}"
        )
    for archive in archives:
        subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True, capture_output=True)
    (libraries,) = (each.parent for each in folder.glob("usr/lib/*/libcares.so.2"))
    return folder / "usr" / "sbin" / "pgbouncer", libraries
