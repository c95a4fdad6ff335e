"""How a surface stands: only what its last canary showed, and only for a while."""

import json
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import SurfaceWrong
from scelle.ledger.events import Event
from scelle.safeguards.recorder.bodies import media_type_of
from scelle.safeguards.recorder.canary import card_picture, judge
from scelle.safeguards.recorder.reconciling import check_recorded, compare, reconcile
from scelle.safeguards.recorder.surfaces import (
    STALE_US,
    State,
    Surface,
    known_surface,
    read_factors,
    surfaces_of,
)
from tests.unit.safeguards.recorder_spools import asked, ended, spool

WEB = Surface("web", "team", "http://127.0.0.1:1", bundle="ab" * 32)
HOUR = 3600 * 1_000_000


def sealed(*kinds: tuple[str, int, dict[str, Any]]) -> dict[str, Surface]:
    return surfaces_of(
        Event(n, at, "ada", kind, {"name": "web", **body}) for n, (kind, at, body) in enumerate(kinds)
    )


def canary(at: int, why: str | None = None) -> tuple[str, int, dict[str, Any]]:
    return ("surface.canary", at, {"well": why is None, "why": why, "decision": "block", "bundle": None})


GOOD = {"x-scelle-bundle": "ab" * 32, "x-scelle-record": "r1"}
REFUSAL = {"error": {"code": "moderation_blocked"}}
ADDED = ("surface.added", 1, WEB.to_event())
FILM = ("surface.added", 4, {**WEB.to_event(), "recorded": False})
SERVES: tuple[str, int, dict[str, Any]] = ("surface.unregistered", 3, {})
GONE = ("surface.retired", 30, {"reason": "shut-down"})


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
        ([ADDED, canary(10, "no-bundle"), canary(20, "other-decision")], 40, State.RED, 10),
        ([ADDED, canary(10, "no-bundle"), ("surface.added", 20, WEB.to_event())], 40, State.UNKNOWN, 20),
        ([SERVES], 5, State.RED, 3),
        ([SERVES, ("surface.added", 4, WEB.to_event())], 5, State.UNKNOWN, 4),
        ([FILM, canary(10)], 20, State.RED, 4),
        ([FILM, canary(10, "no-bundle"), canary(15)], 20, State.RED, 4),
        ([SERVES, FILM], 20, State.RED, 3),
        ([ADDED, canary(10, "no-bundle"), GONE], 40, State.RETIRED, 30),
        ([ADDED, GONE, canary(35, "no-bundle")], 40, State.RETIRED, 30),
        ([ADDED, GONE, ("surface.unregistered", 50, {})], 60, State.RED, 50),
        ([ADDED, GONE, ("surface.added", 50, WEB.to_event())], 60, State.UNKNOWN, 50),
    ],
)  # fmt: skip
def test_how_a_surface_stands(history: list[Any], now: int, state: State, since: int) -> None:
    web = sealed(*history)["web"]
    assert (web.state(now), web.state_since_us(now)) == (state, since)


def test_a_retired_surface_says_how_it_stood_and_why_it_is_gone() -> None:
    gone = sealed(ADDED, canary(10, "no-bundle"), GONE)["web"]
    assert (gone.stood, gone.reason(40), gone.words(40)) == ((State.RED, 10), "shut-down", "shut-down")
    assert not gone.is_registered
    again = sealed(ADDED, GONE, ("surface.unregistered", 50, {}))["web"]
    assert (again.is_registered, again.is_retired, again.reason(60)) == (False, False, "not registered")


def test_a_surface_that_was_sealed_without_factors_is_read() -> None:
    body = WEB.to_event()
    del body["factors"]
    assert sealed(("surface.added", 1, body))["web"].factors == ()
    body["factors"] = {"named": "no", "owner_control": "allow"}
    assert sealed(("surface.added", 1, body))["web"].to_event() == body


def test_factors_are_those_of_the_gate() -> None:
    said = read_factors("third_party_post=no, owner_control=allow,named=no")
    assert said == (("third_party_post", "no"), ("owner_control", "allow"), ("named", "no"))
    for wrong, names in (
        ("adult=yes", "names are"),
        ("", "names are"),
        ("named", "no, yes, unknown"),
        ("named=maybe", "no, yes, unknown"),
        ("named=no, named=yes", "twice"),
        ("named=no,", "names are"),
    ):
        with pytest.raises(SurfaceWrong, match=names):
            read_factors(wrong)


def test_only_registered_surfaces_have_canaries() -> None:
    with pytest.raises(SurfaceWrong):
        known_surface(sealed(("surface.unregistered", 3, {})), "web")
    with pytest.raises(SurfaceWrong):
        known_surface(sealed(ADDED, GONE), "web")
    assert known_surface(sealed(ADDED), "web").owner == "team"


PICTURE: dict[str, Any] = {"data": [{"url": "u"}]}
DEGRADED = {"x-scelle-degraded": "detectors"}


@pytest.mark.parametrize(
    ("status", "headers", "content", "recorder", "why", "words"),
    [
        (200, GOOD, PICTURE, "web", None, None),
        (200, GOOD, PICTURE, None, None, None),
        (200, GOOD, PICTURE, "web2", "other-surface", "its URL leads to the recorder of surface web2"),
        (400, GOOD, REFUSAL, "web2", "other-surface", "its URL leads to the recorder of surface web2"),
        (200, GOOD | DEGRADED, PICTURE, "web", "detectors-down",
         "detectors did not answer, so that allow says nothing"),
        (200, GOOD | {"x-scelle-bundle": "cd" * 32}, PICTURE, "web", "other-bundle",
         "expected bundle abababababab, got cdcdcdcdcdcd"),
        (200, {"x-scelle-record": "r1"}, PICTURE, "web", "no-bundle",
         "expected bundle abababababab, and none was named"),
        (200, {"x-scelle-bundle": "ab" * 32}, PICTURE, None, "not-recorded",
         "no recorder said that it recorded it (X-Scelle-Record)"),
        (200, GOOD, {"data": []}, "web", "no-decision: status-200",
         "expected allow, got neither a picture nor a refusal: status-200"),
        (400, GOOD, REFUSAL, "web", "other-decision", "expected allow, got block"),
        (200, GOOD | {"x-scelle-decision": "block"}, {"data": [{}]}, "web", "other-decision",
         "expected allow, got block by header, but a picture was served"),
        (400, {"x-scelle-record": "r1", "x-scelle-decision": "allow"}, REFUSAL, "web", "other-decision",
         "expected allow, got allow by header, but it was refused"),
        (503, {}, {"error": {"code": "not-recordable"}}, None, "no-decision: not-recordable",
         "expected allow, got neither a picture nor a refusal: not-recordable"),
    ],
)  # fmt: skip
def test_a_canary_is_well_only_as_it_must_be(
    status: int,
    headers: dict[str, str],
    content: Any,
    recorder: str | None,
    why: str | None,
    words: str | None,
) -> None:
    verdict = judge(WEB, status, headers, json.dumps(content).encode(), recorder)
    assert (verdict.why, verdict.is_well, verdict.words) == (why, why is None, words)
    folded = sealed(ADDED, ("surface.canary", 10, verdict.to_event()))["web"]
    assert (folded.reason(20), folded.words(20)) == (why, words)


def test_a_block_without_detectors_is_not_the_block_that_is_expected() -> None:
    web = Surface("web", "team", "http://127.0.0.1:1", "block")
    assert judge(web, 400, GOOD, json.dumps(REFUSAL).encode(), "web").why is None
    assert judge(web, 400, GOOD | DEGRADED, json.dumps(REFUSAL).encode(), "web").why == "detectors-down"
    served = judge(
        web, 200, GOOD | {"x-scelle-decision": "block"}, json.dumps(PICTURE).encode(), "web"
    )  # as a recorder that only observes answers
    assert served.words == "expected block, got block by header, but a picture was served"


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


def test_nothing_is_compared_with_a_surface_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SurfaceWrong, match="nosuch is not registered"):
        check_recorded(tmp_path, "nosuch", is_registered=False)
    check_recorded(tmp_path, "nosuch", is_registered=True)
    with spool(tmp_path) as writing:
        writing.put(asked("a1")).result()
    check_recorded(tmp_path, "web", is_registered=False)
