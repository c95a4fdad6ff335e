"""Kill `scelle preserve` at random moments: the next run goes on, nothing is lost or counted twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scelle.formats.checkpoints import Checkpoint, parse_checkpoint_text
from scelle.formats.notes import parse_note
from scelle.ledger.log import LogReader
from scelle.merkle.hashing import tree_root

from .test_kill_points import ORDER, ORIGIN, TOML

FILES = 3_000


class Platform:
    """One vault and its documents, driven by the real command line."""

    def __init__(self, root: Path) -> None:
        self.root, self.vault, self.docs = root, root / "vault", root / "docs"
        (root / "keys").mkdir()
        self.environment = {
            **os.environ,
            "SCELLE_VAULT": str(self.vault),
            "SCELLE_KEY_FILE": str(root / "keys"),
        }
        draw = random.Random(7)
        for number in range(FILES):
            path = self.docs / f"{number % 40:02d}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("a red boat in a harbour " * draw.randrange(1, 400) + str(number % 2700))
            os.utime(path, (1_760_000_000, 1_760_000_000))
        (root / "order.toml").write_text(TOML)
        self.scelle("init", str(self.vault), "--host", "platform.example")
        self.scelle("source", "add", "docs", f"files://{self.docs}")
        self.scelle("order", "add", str(root / "order.toml"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "scelle.cli", *arguments, "--json"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def scelle(self, *arguments: str) -> dict[str, Any]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        return dict(json.loads(out))

    def checkpoint(self) -> Checkpoint:
        note = (self.vault / "po" / ORDER / "log" / "checkpoint").read_bytes()
        return parse_checkpoint_text(parse_note(note).text)


def kill_and_check(tmp_path: Path, kills: int) -> None:
    platform = Platform(tmp_path)
    draw = random.Random(kills)
    shown = [platform.checkpoint()]
    longest = 0.6  # seconds: about what a run takes once everything is sealed
    killed = 0
    for _ in range(kills):
        process = platform.start("preserve", ORDER)
        time.sleep(draw.uniform(0.05, longest))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        shown.append(platform.checkpoint())
    report = platform.scelle("preserve", ORDER)
    assert (report["offered"], report["sealed"], report["failed"], report["lost"]) == (FILES, FILES, 0, 0)
    assert platform.scelle("verify")["valid"]
    log = LogReader(platform.vault / "po" / ORDER / "log", ORIGIN)
    for checkpoint in shown:  # whatever was shown is a prefix of what there is: no size has two roots
        assert tree_root(bytes(log.leaves[: 32 * checkpoint.size])) == checkpoint.root
    produced = platform.scelle("produce", ORDER, "--source", "docs", "--to", str(tmp_path / "p.scelle"))
    assert produced["hits"] == FILES, "a record was sealed twice, or not at all"
    assert killed >= kills // 4, "most runs finished before they were killed: the test shows little"


def test_twenty_kills(tmp_path: Path) -> None:
    kill_and_check(tmp_path, 20)


@pytest.mark.long
def test_two_hundred_kills(tmp_path: Path) -> None:
    kill_and_check(tmp_path, 200)
