"""Kill a gated proxy and its generator at random: nothing is made or delivered without a durable permission.

And nothing that a lane holds back is ever in the open folder, whatever moment the kill came at.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.crash.test_kill_recorder import check_chain, with_kills
from tests.integration.gated_platform import AS_BEFORE, BEYOND, COAT, MORE, PORTRAIT, guardrail, shape
from tests.integration.recorded_platform import Answer, Platform, Proxy
from tests.integration.test_record_gate import edit

PICTURES = 10
GOOD = [f"number {number} in a winter coat" for number in range(PICTURES)]
SHOWS_MORE = [f"number {number} in another coat" for number in range(100, 100 + PICTURES)]
BLOCKED = [f"number {number} in something else" for number in range(PICTURES)]
PORTRAITS = [shape(number) for number in range(200, 200 + PICTURES)]
"""What is sent to be changed: those in odd places with prompts that are allowed, the others with all else."""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path, with_restricted=True)
    yield made
    made.stop()


class Clients:
    """Send requests that are allowed, blocked, and withheld, until so many were answered."""

    def __init__(self, proxy: Proxy, wanted: int) -> None:
        self.proxy, self.wanted, self.answered = proxy, wanted, 0
        self.pictures: list[tuple[str, bytes]] = []
        self.statuses: Counter[tuple[int, int]] = Counter()
        self._number = 0
        self._lock = threading.Lock()

    def work(self) -> None:
        while self.answered < self.wanted:
            with self._lock:
                self._number += 1
                number = self._number
            try:
                kind = number % 3
                prompt = (GOOD, SHOWS_MORE, BLOCKED)[kind][number % PICTURES]
                portrait = PORTRAITS[number % 5 * 2 + (kind == 0)]
                self._took(kind, edit(self.proxy, prompt, portrait, X_Scelle_Account=f"u-{number}"))
            except (OSError, HTTPException, ValueError):
                time.sleep(0.05)

    def _took(self, kind: int, answer: Answer) -> None:
        with self._lock:
            self.answered += 1
            self.statuses[kind, answer.status] += 1
            if answer.status == 200:
                self.pictures.append((answer.record, answer.picture))


def kill_and_check(platform: Platform, answers: int, kills: int) -> None:
    values = dict.fromkeys((*GOOD, *SHOWS_MORE), COAT) | dict.fromkeys(BLOCKED, BEYOND)
    pictures = {shape(number): AS_BEFORE for number in range(PICTURES)}
    pictures |= {shape(number): MORE for number in range(100, 100 + PICTURES)}
    gate = guardrail(platform, values, pictures | dict.fromkeys(PORTRAITS, PORTRAIT))
    words = ("--gate", gate, "--restricted-source", "shut")
    clients = with_kills(platform, lambda proxy: Clients(proxy, answers), answers, kills, *words)

    events = check_chain(platform)
    asked = [event["attempt_id"] for event in events if event["event"] == "requested"]
    ends = ("completed", "refused", "failed", "abandoned")
    assert Counter(event["attempt_id"] for event in events if event["event"] in ends) == Counter(asked)
    verdicts = {
        (event["attempt_id"], event["stage"]): event["decision"]
        for event in events
        if event["event"] == "decided"
    }
    for attempt in platform.generator_log("call"):
        assert verdicts[attempt, "input"] == "allow", "the generator was called without a permission"
    for attempt, picture in clients.pictures:
        assert verdicts[attempt, "output"] == "allow"
        assert platform.content(sha256(picture).hexdigest()) == picture
    for event in events:
        if event["event"] == "delivered":
            assert verdicts[event["attempt_id"], "output"] == "allow"
    assert {status for kind, status in clients.statuses if kind} <= {400, 502, 503}
    assert clients.statuses[0, 200] == len(clients.pictures) > answers / 6

    opened = b"\n".join(path.read_bytes() for path in sorted(platform.ai.rglob("*")) if path.is_file())
    hidden = [*(prompt.encode() for prompt in (*SHOWS_MORE, *BLOCKED)), *PORTRAITS[::2]]
    hidden += [shape(number) for number in range(100, 100 + PICTURES)]
    for each in hidden:
        assert each not in opened
    assert all(prompt.encode() in opened for prompt in GOOD)

    sealed = platform.json("preserve", "o-1")
    assert (sealed["failed"], sealed["lost"]) == (0, 0)
    assert sealed["restricted"] > 0
    platform.run("verify")
    attempt = next(attempt for attempt, stage in verdicts if stage == "output")
    assert platform.json("generation", "show", attempt)["replay"]["factors"]["same"] is True


def test_200_gated_requests_with_kills(platform: Platform) -> None:
    kill_and_check(platform, 200, 4)


@pytest.mark.long
def test_3_000_gated_requests_with_kills(platform: Platform) -> None:
    kill_and_check(platform, 3_000, 30)
