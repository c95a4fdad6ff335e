"""A vault with a generation source, a stub generator and recorders as real processes, for tests of the recorder."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pyrage
import pytest

from scelle.cli.main import run

ORDER = """
[order]
id = "o-1"
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
notify = "permitted"

[[clause]]
id = "c1"
sources = ["ai"]
"""
ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def picture(self) -> bytes:
        return base64.b64decode(self.json["data"][0]["b64_json"])

    @property
    def record(self) -> str:
        return self.headers["X-Scelle-Record"]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def send(url: str, body: bytes, content_type: str = "application/json", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, {"Content-Type": content_type, **named})
    try:
        with urllib.request.urlopen(request, timeout=60) as found:
            return Answer(found.status, dict(found.headers), found.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


class Proxy:
    """A recording proxy that runs."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, said: list[str]) -> None:
        self.process, self.url, self.said = process, url, said

    def generate(self, prompt: str, **more: Any) -> Answer:
        body = json.dumps({"model": "shapes-1", "prompt": prompt, **more}).encode()
        return send(f"{self.url}/images/generations", body, Authorization="Bearer not-to-be-kept")

    def end(self, code: int = 0) -> dict[str, Any]:
        """Tell it to end, and return what it printed."""
        self.process.terminate()
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == code, (self.process.returncode, out, err)
        return dict(json.loads(out))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


class Platform:
    """One vault, one order over one generation source, one stub generator; with a second source that is restricted."""

    def __init__(self, folder: Path, *, with_restricted: bool = False) -> None:
        self.folder, self.ai, self.shut = folder, folder / "ai", folder / "shut"
        self.ai.mkdir()
        self.started: list[subprocess.Popen[str]] = []
        self.env = {
            **os.environ,
            "XDG_CONFIG_HOME": str(folder / "keys"),
            "SCELLE_VAULT": str(folder / "vault"),
            "PYTHONPATH": str(ROOT),
        }
        self.run("init", str(folder / "vault"), "--host", "platform.example")
        self.run("source", "add", "ai", f"generation://{self.ai}")
        order = ORDER
        if with_restricted:
            self.shut.mkdir()
            keys = (pyrage.x25519.Identity.generate().to_public() for _ in range(2))
            shared = [
                word for number, key in enumerate(keys) for word in ("--recipient", f"holder-{number}={key}")
            ]
            self.run("restricted", "init", "--threshold", "2", *shared)
            self.run("source", "add", "shut", f"generation://{self.shut}", "--restricted")
            order = ORDER.replace('["ai"]', '["ai", "shut"]')
        (folder / "order.toml").write_text(order)
        self.run("order", "add", str(folder / "order.toml"))
        self.upstream = self.stub()

    def run(self, *words: str, code: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.env.items():
                patch.setenv(name, value)
            found = run(list(words))
        assert found == code, (words, found, out.getvalue(), err.getvalue())
        return out.getvalue()

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code))

    def stub(self, port: int | None = None) -> str:
        """Start the generator; again, where a port is given."""
        port = port or free_port()
        log = self.folder / "generator.log"
        log.touch()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.stub_generator", str(port), str(log)],
            env=self.env,
            text=True,
        )
        self.started.append(process)
        self.generator = process
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 0.1).close()
                break
            except OSError:
                time.sleep(0.05)
        return f"http://127.0.0.1:{port}"

    def generator_log(self, what: str) -> list[str]:
        """Return the record ids of the generator's calls (`call`), or of what it made (`made`)."""
        lines = (self.folder / "generator.log").read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith(what)]

    def proxy(self, *words: str, surface: str = "web", port: int = 0) -> Proxy:
        """Start a recording proxy before the generator."""
        listen = f"127.0.0.1:{port}"
        return self.record("proxy", "--upstream", self.upstream, "--listen", listen, "--surface", surface, "--order",
                           "o-1", *words)  # fmt: skip

    def record(self, *words: str) -> Proxy:
        """Start a recorder, and wait until it says where it listens."""
        process = subprocess.Popen(
            [sys.executable, "-m", "scelle.cli", "record", *words, "--json"],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        said: list[str] = []
        assert process.stderr is not None
        while True:
            line = process.stderr.readline()
            assert line, (process.wait(), said)
            said.append(line)
            found = re.search(r"base URL (http\S+)", line)
            if found is not None:
                return Proxy(process, found[1], said)

    def events(self, surface: str = "web") -> list[dict[str, Any]]:
        """Read what is in the surface's files, in order."""
        folder = self.ai / "recorded" / surface
        lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
        return [json.loads(line) for line in lines]

    def kinds(self, surface: str = "web") -> Counter[str]:
        return Counter(event["event"] for event in self.events(surface) if "attempt_id" in event)

    def content(self, digest: str) -> bytes:
        return (self.ai / "recorded" / "contents" / digest[:2] / digest).read_bytes()

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
