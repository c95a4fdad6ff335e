"""Kill `preserve` while it puts a restricted document into the compartment: nothing of it is left anywhere."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyrage

from scelle.cli.main import run

from .test_kill_points import ORDER, TOML

MARKER = b"what two people open together, and nobody alone. "
SIZE_BYTES = 64 << 20


def scelle(*arguments: str | Path, code: int = 0) -> None:
    assert run([str(argument) for argument in arguments]) == code


def test_a_kill_in_the_middle_of_a_put_leaves_nothing(tmp_path: Path) -> None:
    vault, docs, temporary = tmp_path / "vault", tmp_path / "docs", tmp_path / "temporary"
    for folder in (docs, temporary, tmp_path / "keys"):
        folder.mkdir()
    (docs / "telling.png").write_bytes(MARKER * (SIZE_BYTES // len(MARKER)))
    os.utime(docs / "telling.png", (1_760_000_000, 1_760_000_000))
    (tmp_path / "order.toml").write_text(TOML.replace("[[clause]]", "[[clause]]\nrestricted = true", 1))
    shared = ("--vault", vault, "--key-file", tmp_path / "keys")
    people = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2)]
    scelle("init", vault, "--host", "platform.example", "--key-file", tmp_path / "keys")
    scelle("source", "add", "docs", f"files://{docs}", *shared)
    scelle("order", "add", tmp_path / "order.toml", *shared)
    holders = ("--recipient", f"a={people[0]}", "--recipient", f"b={people[1]}")
    scelle("restricted", "init", "--threshold", "2", *holders, *shared)
    killed = 0
    for _ in range(3):
        command = [sys.executable, "-m", "scelle.cli", "preserve", ORDER, *map(str, shared)]
        process = subprocess.Popen(
            command,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None and not is_being_put(vault):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert b"telling" not in out
        refuse_traces(vault, tmp_path / "keys", temporary)
    assert killed, "it was killed in the middle at least once"
    scelle("preserve", ORDER, *shared)
    refuse_traces(vault, tmp_path / "keys", temporary)
    scelle("verify", *shared)


def is_being_put(vault: Path) -> bool:
    """Tell whether some megabytes of ciphertext are on the disk already."""
    unfinished = list((vault / "packs").rglob("*.unfinished"))
    return any(path.exists() and path.stat().st_size > 4 << 20 for path in unfinished)


def refuse_traces(*places: Path) -> None:
    for place in places:
        for path in place.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert MARKER not in data, path
                assert b"telling" not in data, path
