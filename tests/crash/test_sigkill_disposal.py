"""Kill `scelle dispose` at random moments: a large release, with erasures that wait for it, ends exactly once.

The numbers are parameters: a small run stands in `make test`, the large one (a million records, 50,000 deferred
erasures, 50 kills) in `make test-long`.
"""

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

ORDER = """\
[order]
id = "{id}"
matter = "m-{id}"
type = "dsa-retention"
authority = "An Invented Authority"
legal_basis = "Regulation (EU) 2022/2065, Article 72"
reference = "R/{id}"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
until = 2026-12-31
zone = "Europe/Brussels"

[[clause]]
id = "all"
sources = ["{source}"]
"""
SCHEMA = '[schema]\nname = "posts"\ntime = "ts"\nid = "id"\naccount = "user"\n[fields]\nprompt = "s"\n'


class Platform:
    """Records and documents under an order that is released, a few documents under one that is not."""

    def __init__(self, root: Path, records: int, erased: int) -> None:
        self.root, self.vault = root, root / "vault"
        (root / "keys").mkdir()
        self.environment = {
            **os.environ,
            "SCELLE_VAULT": str(self.vault),
            "SCELLE_KEY_FILE": str(root / "keys"),
        }
        (root / "posts").mkdir()
        with (root / "posts" / "a.jsonl").open("w") as file:
            for number in range(records):
                user = "u-erased" if number < erased else f"u{number % 1000}"
                row = {
                    "id": f"p{number}",
                    "ts": "2026-01-20T10:00:00Z",
                    "user": user,
                    "prompt": f"take {number}",
                }
                file.write(json.dumps(row) + "\n")
        (root / "posts.toml").write_text(SCHEMA)
        (root / "docs").mkdir()
        for number in range(40):
            (root / "docs" / f"{number}.txt").write_text(f"document {number} " * 200)
        self.scelle(
            "init", str(self.vault), "--host", "platform.example", "--cooling-off", "0s", "--grace", "0s"
        )
        posts = f"records://{root / 'posts'}"
        self.scelle("source", "add", "posts", posts, "--schema", str(root / "posts.toml"))
        self.scelle("source", "add", "docs", f"files://{root / 'docs'}")
        for order, source in (("gone", 'posts", "docs'), ("kept", "docs")):
            path = root / f"{order}.toml"
            path.write_text(ORDER.format(id=order, source=source))
            self.scelle("order", "add", str(path))
            self.scelle("preserve", order)
        self.erasure = self.scelle("erasure", "request", "--account", "u-erased", "--reference", "E-1")
        self.scelle("order", "lift", "gone")
        self.scelle("request", "approve", self.scelle("order", "release", "gone")["request"])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "scelle.cli", *arguments, "--json"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def scelle(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=1200)
        assert process.returncode == code, err
        return dict(json.loads(out)) if out else {}


def kill_and_check(root: Path, *, records: int, erased: int, kills: int, work_s: float, least: int) -> None:
    """Kill so many disposals, which take about `work_s` in all, at moments drawn so that they do half of that."""
    platform = Platform(root, records, erased)
    assert (platform.erasure["deferred"], platform.erasure["executed"]) == (erased, 0)
    began = time.monotonic()
    platform.scelle("order", "show", "gone")
    start_s = time.monotonic() - began
    draw, killed = random.Random(kills), 0
    for _ in range(kills):
        process = platform.start("dispose")
        time.sleep(draw.uniform(0.3, 1) * start_s + draw.expovariate(2 * kills / work_s))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    platform.scelle("dispose")
    assert platform.scelle("order", "show", "gone")["state"] == "disposed"
    events = [each["kind"] for each in platform.scelle("order", "show", "gone")["events"]]
    assert (events.count("disposed"), events.count("disposal.begun")) == (1, 1)
    shown = platform.scelle("erasure", "show", "E-1")
    assert (shown["deferred"], shown["executed"]) == (0, erased)
    assert platform.scelle("dispose")["certificates"] == []
    assert platform.scelle("verify")["valid"]
    found = platform.scelle("find", "kept", 'source = "docs"')
    assert found["count"] == 40
    package = platform.scelle("produce", "kept", "--source", "docs", "--to", str(root / "p.scelle"))
    assert package["produced"] == 40
    assert killed >= least, "too many runs finished before they were killed: the test shows little"


def test_a_release_that_is_killed_ends_once(tmp_path: Path) -> None:
    kill_and_check(tmp_path, records=2_000, erased=300, kills=6, work_s=1, least=2)


@pytest.mark.long
def test_a_release_of_a_million_records_that_is_killed_fifty_times_ends_once(tmp_path: Path) -> None:
    kill_and_check(tmp_path, records=1_000_000, erased=50_000, kills=50, work_s=40, least=45)
