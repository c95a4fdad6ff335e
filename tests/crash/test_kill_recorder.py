"""Kill the recording proxy and its generator at random: no attempt is lost or doubled, and none is without its request.

What a client got has an earlier durable `requested`; the generator was never called without one; after `preserve` the
counts agree, the vault verifies, and the shipped verifier accepts a production of what was recorded.
"""

import base64
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol, TypeVar
from zipfile import ZipFile

import pytest

from scelle.formats.values import decode_value, text_value
from tests.integration.recorded_platform import Platform, Proxy, free_port, send

KINDS = ("a square", "refuse", "fail-after", "no-image", "url", "half", "stream", "edit", "slow")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path)
    yield made
    made.stop()


class Clients:
    """Send mixed requests to a proxy that comes and goes, until so many were answered."""

    def __init__(self, url: str, wanted: int) -> None:
        self.url, self.wanted = url, wanted
        self.pictures: list[tuple[str, bytes]] = []
        """The record's id, and a picture that was got whole."""
        self.answered = 0
        self._number = 0
        self._lock = threading.Lock()

    def work(self) -> None:
        while self.answered < self.wanted:
            with self._lock:
                self._number += 1
                number = self._number
            try:
                self._one(KINDS[number % len(KINDS)], number)
            except (OSError, HTTPException, ValueError):
                time.sleep(0.05)

    def _one(self, kind: str, number: int) -> None:
        prompt = {"prompt": f"{kind} {number}", "model": "shapes-1"}
        if kind == "edit":
            head = b"--b\r\nContent-Disposition: form-data; name="
            prompt_part = head + b'"prompt"\r\n\r\n%b\r\n' % prompt["prompt"].encode()
            picture = head + b'"image"; filename="a.png"\r\n\r\n\x89PNG\r\n\x1a\n%d\r\n' % (number % 20)
            body = prompt_part + picture + b"--b--\r\n"
            answer = send(f"{self.url}/images/edits", body, "multipart/form-data; boundary=b")
        else:
            body = json.dumps({**prompt, "stream": True} if kind == "stream" else prompt).encode()
            answer = send(f"{self.url}/images/generations", body)
        pictures = list(_pictures(kind, answer.status, answer.body))
        with self._lock:
            self.answered += 1
            self.pictures += [(answer.record, each) for each in pictures]


def _pictures(kind: str, status: int, body: bytes) -> Iterator[bytes]:
    if status != 200 or kind == "url":
        return
    documents = [body]
    if kind == "stream":
        documents = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    for document in documents:
        content = json.loads(document)
        for each in content.get("data", [content]):
            yield base64.b64decode(each["b64_json"])


def check_chain(platform: Platform) -> list[dict[str, Any]]:
    """Every event of the surface follows the one before it: nothing was lost, cut out or written twice."""
    folder = platform.ai / "recorded/web"
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    before, events = "0" * 64, []
    for number, line in enumerate(lines, 1):
        event = json.loads(line)
        assert (event["seq"], event["prev"]) == (number, before)
        before = sha256(line).hexdigest()
        events.append(event)
    return events


class Work(Protocol):
    """Clients that send requests until so many were answered."""

    answered: int

    def work(self) -> None: ...


AnyWork = TypeVar("AnyWork", bound=Work)


def with_kills(
    platform: Platform, clients: Callable[[Proxy], AnyWork], answers: int, kills: int, *words: str
) -> AnyWork:
    """Have clients at work while the proxy, and each fifth time its generator, is killed; nothing may be lost."""
    port, draw = free_port(), random.Random(answers)
    proxy = platform.proxy(*words, "--every", "3", port=port)
    working = clients(proxy)
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(working.work) for _ in range(6)]
        for number, threshold in enumerate(sorted(draw.sample(range(answers), kills))):
            while working.answered < threshold:
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.1))
            if number % 5 == 4:
                platform.generator.send_signal(signal.SIGKILL)
                platform.generator.wait()
                platform.stub(int(platform.upstream.rpartition(":")[2]))
            else:
                proxy.kill()
                proxy = platform.proxy(*words, "--every", "3", port=port)
        for future in futures:
            future.result()
    report = proxy.end()
    assert (report["lost"], report["unserved"]) == (0, 0)
    return working


def kill_and_check(platform: Platform, answers: int, kills: int) -> None:
    clients = with_kills(platform, lambda proxy: Clients(proxy.url, answers), answers, kills)

    events = check_chain(platform)
    assert len({event["event_id"] for event in events}) == len(events)
    requested = [event["attempt_id"] for event in events if event["event"] == "requested"]
    assert len(set(requested)) == len(requested)
    outcomes = Counter(
        event["attempt_id"]
        for event in events
        if event["event"] in ("completed", "refused", "failed", "abandoned")
    )
    assert outcomes == Counter(requested)  # exactly one each

    calls = platform.generator_log("call")
    assert len(set(calls)) == len(calls)
    assert set(calls) <= set(requested)  # no record, no image

    shown: dict[str, set[str]] = {}
    seen: set[str] = set()
    for event in events:
        if event["event"] == "requested":
            seen.add(event["attempt_id"])
        if "attempt_id" in event:
            assert event["attempt_id"] in seen, event
            for output in event.get("outputs", ()):
                shown.setdefault(event["attempt_id"], set()).add(output.get("sha256"))
    assert len(clients.pictures) > answers / 3
    for record, picture in clients.pictures:
        digest = sha256(picture).hexdigest()
        assert digest in shown[record]
        assert platform.content(digest) == picture

    sealed = platform.json("preserve", "o-1")["sources"]["ai"]
    assert (sealed["failed"], sealed["lost"]) == (0, 0)
    assert platform.json("find", "o-1", 'kind = "requested"')["count"] == len(requested)
    made = str(len(platform.generator_log("made")))
    period = ("--from", "2020-01-01", "--to", "2040-01-01")
    found = platform.json(
        "record", "reconcile", "o-1", "--surface", "web", "--generator-count", made, *period
    )
    assert found["unexplained"] == 0
    platform.run("verify")
    check_production(platform, events, {sha256(picture).hexdigest() for _, picture in clients.pictures})


def check_production(platform: Platform, events: list[dict[str, Any]], pictures: set[str]) -> None:
    """What the authority gets has every event once, in its own bytes, and every picture that a client got."""
    trust, package = platform.folder / "trust.json", platform.folder / "ai.scelle"
    platform.run("order", "trust", "o-1", "--to", str(trust))
    platform.run("produce", "o-1", "--source", "ai", "--to", str(package))
    assert verified(trust, package) == 0
    with ZipFile(package) as file:
        raws = produced_events(file)
        digests = {sha256(file.read(name)).hexdigest() for name in file.namelist() if "items/" in name}
    told = [json.loads(raw) for raw in raws]
    assert len(raws) == len(set(raws))
    of_web = sorted((event for event in told if event["surface"] == "web"), key=lambda each: each["seq"])
    assert of_web == events
    asked, ended = Counter[str](), Counter[str]()
    for event in told:
        kinds = asked if event["event"] == "requested" else ended
        if event["event"] in ("requested", "completed", "refused", "failed", "abandoned"):
            kinds[event["attempt_id"]] += 1
    assert asked == ended == Counter(dict.fromkeys(asked, 1))
    assert {event["attempt_id"] for event in told if "attempt_id" in event} == set(asked)
    delivered = {
        output["sha256"] for event in told if event["event"] == "delivered" for output in event["outputs"]
    }
    assert delivered <= digests
    assert pictures <= digests

    data = bytearray(package.read_bytes())
    data[data.index(written(asked_raw(raws)))] ^= 1
    altered = platform.folder / "altered.scelle"
    altered.write_bytes(data)
    assert verified(trust, altered) == 1


def asked_raw(raws: list[str]) -> str:
    return next(raw for raw in raws if raw.startswith('{"event":"requested"'))


def written(raw: str) -> bytes:
    """Return the inner part of a text value as it stands in records.jsonl."""
    return base64.b64encode(text_value(raw))[12:-12]


def produced_events(package: ZipFile) -> list[str]:
    """Return the bytes of each produced event as the recorder wrote them."""
    schemas = [json.loads(package.read(name)) for name in package.namelist() if name.startswith("schemas/")]
    (fields,) = (
        [field["name"] for field in schema["fields"]]
        for schema in schemas
        if schema["name"] == "scelle.ai.event"
    )
    records = [json.loads(line)["v"] for line in package.read("records.jsonl").splitlines()]
    raws = [base64.b64decode(each[fields.index("raw")][1]) for each in records if len(each) == len(fields)]
    return [str(decode_value(raw)[1]) for raw in raws]


def verified(trust: Path, package: Path) -> int:
    """Run the verifier as the authority does; return its exit code."""
    program = Path(sys.executable).with_name("scelle-verify")
    done = subprocess.run(
        [program, package, "--trust", trust, "--json"], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout)["valid"] is (done.returncode == 0), done.stderr
    return done.returncode


def test_300_mixed_requests_with_kills(platform: Platform) -> None:
    kill_and_check(platform, 300, 6)


@pytest.mark.long
def test_10_000_mixed_requests_with_kills(platform: Platform) -> None:
    kill_and_check(platform, 10_000, 60)
