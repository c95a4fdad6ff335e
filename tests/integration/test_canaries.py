"""Canaries as processes: the gate switched off on one of five surfaces turns that one red, within one round."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.integration.recorded_platform import Platform

from scelle.safeguards.recorder.canary import try_surface
from scelle.safeguards.recorder.surfaces import Surface

NAMES = ("api", "app", "batch", "bot", "site")


class Gated(BaseHTTPRequestHandler):
    """A generator behind a gate that can be switched off: then it makes whatever it is asked, and says no bundle."""

    is_on = True
    recorder: str | None = None
    """The surface that its recorder stands for, if it has one; nothing is durable when it answers."""

    def do_GET(self) -> None:
        assert self.path == "/.scelle/status"
        answer = json.dumps({"surface": Gated.recorder}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"created": 1, "data": [{"b64_json": "aGFybWxlc3M="}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        if Gated.is_on:
            self.send_header("X-Scelle-Decision", "allow")
            self.send_header("X-Scelle-Bundle", "ab" * 32)
        if Gated.recorder is not None:
            self.send_header("X-Scelle-Record", "r1")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Gated, "is_on", True)
    monkeypatch.setattr(Gated, "recorder", None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gated)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


class Canaries:
    """`scelle canary run --every`, as a process."""

    def __init__(self, platform: Platform, every_s: str, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scelle.cli", "canary", "run", "--every", every_s, "--json", *words],
            env=platform.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        platform.started.append(self.process)

    def line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip()

    def end(self) -> tuple[int, dict[str, Any], str]:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(out), err


def registered(platform: Platform, name: str, url: str) -> None:
    platform.run("surface", "add", name, "--owner", "team", "--url", url, "--bundle", "ab" * 32)


def test_the_gate_switched_off_on_one_of_five_surfaces_turns_that_one_red(
    platform: Platform, gated: str
) -> None:
    assert platform.json("status")["surfaces"] == []
    stub = platform.upstream
    for name in NAMES:
        platform.upstream = gated if name == "site" else stub
        registered(platform, name, platform.proxy(surface=name).url.removesuffix("/v1"))
    shown = platform.json("status")["surfaces"]
    assert {each["state"] for each in shown} == {"unknown"}
    assert len([each for each in platform.run("status").splitlines() if "no canary yet" in each]) == 5
    canaries = Canaries(platform, "1")
    assert [canaries.line() for _ in NAMES] == [f"surface {name} is green; it was unknown" for name in NAMES]
    assert {each["state"] for each in platform.json("status")["surfaces"]} == {"green"}
    assert "surface" not in platform.run("status")

    switched_at = datetime.now(UTC).replace(microsecond=0)
    Gated.is_on = False
    words = "expected bundle abababababab, and none was named"
    assert canaries.line() == f"surface site is red: {words}; it was green"
    shown = {each["name"]: each for each in platform.json("status")["surfaces"]}
    assert [name for name, each in shown.items() if each["state"] != "green"] == ["site"]
    assert (shown["site"]["state"], shown["site"]["why"]) == ("red", "no-bundle")
    assert datetime.fromisoformat(shown["site"]["since"]) >= switched_at
    (line,) = (each for each in platform.run("status").splitlines() if each.startswith("surface"))
    assert line == f"surface site: red since {shown['site']['since']}: {words}"
    code, document, rest = canaries.end()
    assert (code, rest) == (1, "")  # it was said once, however many rounds came
    assert [each["name"] for each in document["surfaces"] if not each["well"]] == ["site"]
    platform.run("verify")


def test_rounds_go_on_until_they_are_told_to_end(platform: Platform) -> None:
    assert "no surface is registered" in failed(platform, "canary", "run", "--every", "5")
    proxy = platform.proxy()
    registered(platform, "web", proxy.url.removesuffix("/v1"))
    canaries = Canaries(platform, "3600")
    assert canaries.line() == "surface web is green; it was unknown"
    assert canaries.end()[0] == 0
    canaries = Canaries(platform, "1")
    while len(platform.generator_log("call")) < 4:
        time.sleep(0.1)
    code, document, err = canaries.end()
    assert (code, len(document["surfaces"]), err) == (0, 1, "")


def test_a_key_that_cannot_be_had_turns_its_own_surface_red(platform: Platform) -> None:
    proxy = platform.proxy()
    url = proxy.url.removesuffix("/v1")
    registered(platform, "web", url)
    platform.run("surface", "add", "app", "--owner", "o", "--url", url, "--credential", "env:NO_SUCH_KEY")
    verdicts = platform.json("canary", "run", code=1)["surfaces"]
    assert [(each["name"], each["well"]) for each in verdicts] == [("app", False), ("web", True)]
    assert verdicts[0]["why"].startswith("no-credential: surface app: --credential env:NO_SUCH_KEY")


def test_nobody_there_is_said_for_what_it_is() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        refused = try_surface(Surface("web", "team", url), None)
        assert (refused.why, refused.words) == (
            "unreachable: connection-refused",
            "unreachable: connection refused",
        )
        deaf.listen()
        late = try_surface(Surface("web", "team", url), None, 0.1)
        assert (late.why, late.words) == ("unreachable: timed-out", "unreachable: timed out")
    unnamed = try_surface(Surface("web", "team", "http://nobody.invalid"), None)
    assert unnamed.words == "unreachable: name not found"


def test_a_recorder_that_gives_no_receipt_is_asked_for_its_name(gated: str) -> None:
    assert try_surface(Surface("web2", "team", gated), None).why == "not-recorded"
    Gated.recorder = "web"
    assert try_surface(Surface("web", "team", gated), None).why is None
    assert try_surface(Surface("web2", "team", gated), None).why == "other-surface"


@pytest.mark.parametrize("mode", ["--allow-with-gap", "--observe"])
def test_the_recorder_of_another_surface_turns_nothing_green(platform: Platform, mode: str) -> None:
    url = platform.proxy(mode).url.removesuffix("/v1")
    for name in ("web", "web2"):
        platform.run("surface", "add", name, "--owner", "team", "--url", url)
    found = platform.json("canary", "run", code=1)["surfaces"]
    assert [(each["name"], each["why"]) for each in found] == [("web", None), ("web2", "other-surface")]
    assert "web2: its URL leads to the recorder of surface web" in platform.run("canary", "run", code=1)
    listed = {each["name"]: each for each in platform.json("surface", "list", code=1)["surfaces"]}
    assert {name: each["state"] for name, each in listed.items()} == {"web": "green", "web2": "red"}


def test_no_canary_goes_to_what_is_not_recorded(platform: Platform) -> None:
    film = ("surface", "add", "film", "--owner", "o", "--url", "http://127.0.0.1:9", "--not-recorded")
    assert "canary" not in platform.run(*film)
    (before,) = platform.json("surface", "list", code=1)["surfaces"]
    assert "surface film is registered as not recorded" in failed(
        platform, "canary", "run", "--surface", "film"
    )
    assert "no surface is registered that can be recorded" in failed(platform, "canary", "run")
    assert platform.json("surface", "list", code=1)["surfaces"] == [before]
    assert before["why"] == "not recorded"


def test_a_registration_that_asks_for_less_says_so(platform: Platform) -> None:
    add = ("surface", "add", "web", "--owner", "team", "--url", "http://127.0.0.1:9")
    required = ("--expect", "block", "--bundle", "ab" * 32, "--factors", "named=no, third_party_post=no")
    first = platform.json(*add, *required)
    assert first["replaced"] is None
    assert first["factors"] == {"named": "no", "third_party_post": "no"}
    second = platform.json(*add)
    assert second["replaced"] == {name: value for name, value in first.items() if name != "replaced"}
    platform.run(*add, *required)
    assert platform.run(*add).splitlines() == [
        "surface web is registered anew: scelle canary run --surface web",
        "  expect: allow; it was block",
        f"  bundle: none any more; it was {'ab' * 32}",
        "  factors: none any more; it was named=no, third_party_post=no",
    ]
    assert len(platform.run(*add).splitlines()) == 1
    for url in ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1/", "http://127.0.0.1:99999", "http://[::1"):
        assert "surface web: " in failed(platform, *add[:-1], url)
    assert "named is one of no, yes, unknown" in failed(platform, *add, "--factors", "named=maybe")


def test_a_retired_surface_is_not_red_until_it_serves_again(platform: Platform) -> None:
    platform.run("surface", "add", "bot", "--owner", "team", "--url", "http://127.0.0.1:9")
    platform.run("canary", "run", code=1)
    (red,) = platform.json("surface", "list", code=1)["surfaces"]
    assert (red["why"], red["words"]) == (
        "unreachable: connection-refused",
        "unreachable: connection refused",
    )
    assert "is no code" in failed(platform, "surface", "retire", "bot", "--reason", "Shut down!")
    assert "no surface nosuch" in failed(platform, "surface", "retire", "nosuch", "--reason", "shut-down")
    retired = platform.json("surface", "retire", "bot", "--reason", "shut-down")
    assert (retired["stood"]["state"], retired["stood"]["since"]) == ("red", red["since"])
    assert "no surface bot" in failed(platform, "surface", "retire", "bot", "--reason", "shut-down")
    assert platform.json("surface", "list")["surfaces"] == []
    (shown,) = platform.json("surface", "list", "--all")["surfaces"]
    assert (shown["state"], shown["why"], shown["registered"]) == ("retired", "shut-down", False)
    assert platform.json("status")["surfaces"] == []
    assert "bot" not in platform.run("status")
    assert "no surface bot is registered" in failed(platform, "canary", "run", "--surface", "bot")
    assert "no surface is registered" in failed(platform, "canary", "run")
    platform.proxy(surface="bot").end()
    (again,) = platform.json("surface", "list", code=1)["surfaces"]
    assert (again["state"], again["why"]) == ("red", "not registered")
    platform.run("verify")


def test_who_may_add_a_surface_may_retire_one(platform: Platform) -> None:
    platform.run("surface", "add", "bot", "--owner", "team", "--url", "http://127.0.0.1:9")
    platform.run("operator", "add", "counsel-1", "--role", "counsel")
    platform.run("--as", "counsel-1", "operator", "add", "auditor-1", "--role", "auditor")
    retire = ("surface", "retire", "bot", "--reason", "shut-down")
    platform.run("--as", "auditor-1", *retire, code=2)
    platform.run(*retire, code=2)
    platform.run("--as", "counsel-1", *retire)


def test_who_is_no_operator_sees_no_surface(platform: Platform) -> None:
    platform.run("surface", "add", "film", "--owner", "o", "--url", "http://127.0.0.1:9", "--not-recorded")
    (film,) = platform.json("status")["surfaces"]
    assert (film["name"], film["state"], film["why"]) == ("film", "red", "not recorded")
    platform.run("operator", "add", "counsel-1", "--role", "counsel")
    assert platform.json("status")["surfaces"] == []
    assert "film" not in platform.run("status")
    assert "surface film: red since" in platform.run("--as", "counsel-1", "status")


def failed(platform: Platform, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "scelle.cli", *words],
        env=platform.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_a_key_without_an_end_turns_its_surface_red_and_a_name_is_one_line(platform: Platform) -> None:
    add = ("surface", "add", "web", "--url", "http://127.0.0.1:9", "--owner")
    platform.run(*add, "team\nother", code=2)
    platform.run(*add, "", code=2)
    platform.run(*add, "team", "--credential", "file:/dev/zero")
    (found,) = platform.json("canary", "run", code=1)["surfaces"]
    assert (found["well"], found["why"].partition(":")[0]) == (False, "no-credential")
