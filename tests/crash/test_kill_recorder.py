"""Kill the recording proxy and its generator at random: no attempt is lost or doubled, and none is without its request.

What a client got has an earlier durable `requested`; the generator was never called without one; after `preserve` the
counts agree and the vault verifies.
"""

import base64
import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

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


def kill_and_check(platform: Platform, answers: int, kills: int) -> None:
    port = free_port()
    draw = random.Random(answers)
    proxy: Proxy = platform.proxy("--every", "3", port=port)
    clients = Clients(proxy.url, answers)
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(clients.work) for _ in range(6)]
        for number, threshold in enumerate(sorted(draw.sample(range(answers), kills))):
            while clients.answered < threshold:
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.1))
            if number % 5 == 4:
                platform.generator.send_signal(signal.SIGKILL)
                platform.generator.wait()
                platform.stub(int(platform.upstream.rpartition(":")[2]))
            else:
                proxy.kill()
                proxy = platform.proxy("--every", "3", port=port)
        for future in futures:
            future.result()
    report = proxy.end()
    assert (report["lost"], report["unserved"]) == (0, 0)

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


def test_300_mixed_requests_with_kills(platform: Platform) -> None:
    kill_and_check(platform, 300, 6)


@pytest.mark.long
def test_10_000_mixed_requests_with_kills(platform: Platform) -> None:
    kill_and_check(platform, 10_000, 60)
