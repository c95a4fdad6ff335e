"""How a surface stands: only what its last canary showed, and only for a while."""

import json
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import SurfaceWrong
from scelle.ledger.events import Event
from scelle.safeguards.recorder.bodies import media_type_of
from scelle.safeguards.recorder.canary import card_picture, judge
from scelle.safeguards.recorder.reconciling import compare, reconcile
from scelle.safeguards.recorder.surfaces import STALE_US, State, Surface, known_surface, surfaces_of
from tests.unit.safeguards.recorder_spools import asked, ended, spool

WEB = Surface("web", "team", "http://127.0.0.1:1", bundle="ab" * 32)
HOUR = 3600 * 1_000_000


def sealed(*kinds: tuple[str, int, dict[str, Any]]) -> dict[str, Surface]:
    return surfaces_of(
        Event(n, at, "ada", kind, {"name": "web", **body}) for n, (kind, at, body) in enumerate(kinds)
    )


def canary(at: int, why: str | None = None) -> tuple[str, int, dict[str, Any]]:
    return ("surface.canary", at, {"well": why is None, "why": why})


GOOD = {"x-scelle-bundle": "ab" * 32, "x-scelle-record": "r1"}
REFUSAL = {"error": {"code": "moderation_blocked"}}
ADDED = ("surface.added", 1, WEB.to_event())


@pytest.mark.parametrize(
    ("history", "now", "state", "since"),
    [
        ([ADDED], 5, State.UNKNOWN, 1),
        ([ADDED, canary(10)], 20, State.GREEN, 10),
        ([ADDED, canary(10), canary(10 + HOUR)], 11 + HOUR, State.GREEN, 10),
        ([ADDED, canary(10)], 11 + STALE_US, State.UNKNOWN, 10 + STALE_US),
        ([ADDED, canary(10), canary(20, "no-bundle"), canary(30, "no-bundle")], 40, State.RED, 20),
        ([ADDED, canary(10, "no-bundle")], 11 + STALE_US, State.RED, 10),
        ([ADDED, canary(10, "no-bundle"), canary(30)], 40, State.GREEN, 30),
        ([ADDED, canary(10), canary(10 + 2 * STALE_US)], 11 + 2 * STALE_US, State.GREEN, 10 + 2 * STALE_US),
        ([("surface.unregistered", 3, {})], 5, State.RED, 3),
        ([("surface.unregistered", 3, {}), ("surface.added", 4, WEB.to_event())], 5, State.UNKNOWN, 4),
        ([("surface.added", 1, {**WEB.to_event(), "recorded": False}), canary(10)], 20, State.RED, 10),
    ],
)  # fmt: skip
def test_how_a_surface_stands(history: list[Any], now: int, state: State, since: int) -> None:
    web = sealed(*history)["web"]
    assert (web.state(now), web.state_since_us(now)) == (state, since)


def test_only_registered_surfaces_have_canaries() -> None:
    with pytest.raises(SurfaceWrong):
        known_surface(sealed(("surface.unregistered", 3, {})), "web")
    assert known_surface(sealed(ADDED), "web").owner == "team"


@pytest.mark.parametrize(
    ("status", "headers", "content", "why"),
    [
        (200, GOOD, {"data": [{"url": "u"}]}, None),
        (200, {"x-scelle-bundle": "cd" * 32, "x-scelle-record": "r1"}, {"data": [{"url": "u"}]}, "other-bundle"),
        (200, {"x-scelle-record": "r1"}, {"data": [{"url": "u"}]}, "no-bundle"),
        (200, {"x-scelle-bundle": "ab" * 32}, {"data": [{"url": "u"}]}, "not-recorded"),
        (200, GOOD, {"data": []}, "no-decision: status-200"),
        (400, GOOD, REFUSAL, "other-decision"),
        (200, GOOD | {"x-scelle-decision": "block"}, {"data": [{}]}, "other-decision"),
        (400, {"x-scelle-record": "r1", "x-scelle-decision": "allow"}, REFUSAL, "other-decision"),
        (503, {}, {"error": {"code": "not-recordable"}}, "no-decision: not-recordable"),
    ],
)  # fmt: skip
def test_a_canary_is_well_only_as_it_must_be(
    status: int, headers: dict[str, str], content: Any, why: str | None
) -> None:
    verdict = judge(WEB, status, headers, json.dumps(content).encode())
    assert (verdict.why, verdict.is_well) == (why, why is None)


def test_the_test_card_is_a_picture() -> None:
    assert media_type_of(card_picture()) == "image/png"


def test_generated_is_recorded_plus_gap(tmp_path: Path) -> None:
    with spool(tmp_path, now_us=lambda: 1_760_000_000_000_000) as writing:
        for number in range(6):
            writing.put(asked(f"a{number}")).result()
        for number, kind in enumerate(("completed", "completed", "failed", "refused", "abandoned")):
            writing.put(ended(f"a{number}", kind)).result()
    period = (1_760_000_000_000_000, 1_760_000_000_000_001)
    found = compare(tmp_path, "web", 4, *period)
    assert (found.generated, found.recorded, found.gap, found.unexplained) == (4, 2, 2, 0)
    assert (found.requested, found.failed, found.refused, found.abandoned, found.open) == (6, 1, 1, 1, 1)
    assert compare(tmp_path, "web", 6, *period).unexplained == 1  # a refusal explains no picture
    assert compare(tmp_path, "web", 1, *period).unexplained == 1  # more is recorded than was made
    assert compare(tmp_path, "web", 0, 0, period[0]).requested == 0
    reconcile(tmp_path, "web", 4, *period)
    (path,) = (tmp_path / "recorded/reconciliation").glob("*.jsonl")
    (said,) = (json.loads(line) for line in path.read_bytes().splitlines() if b'"reconciled"' in line)
    assert (said["event"], said["generated"], said["recorded"] + said["gap"]) == ("reconciled", 4, 4)
