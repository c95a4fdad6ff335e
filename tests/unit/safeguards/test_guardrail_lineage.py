"""What was let through counts for what comes after it, and a lineage that is damaged or gone is made again."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import StorageFailed
from scelle.safeguards.guardrail.lineage import NAME, Lineage, Past, events_of, level_of

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def lineage(tmp_path: Path) -> Iterator[Lineage]:
    with Lineage(tmp_path / "derived") as found:
        yield found


def decided(attempt: str, level: str, action: str = "allow", **more: Any) -> dict[str, Any]:
    record = {"action_enforced": action, "factors": [{"name": "level", "value": level}]}
    return {"event": "decided", "stage": "input", "attempt_id": attempt, "record": record, **more}


def made(attempt: str, *digests: str, kind: str = "completed") -> dict[str, Any]:
    return {"event": kind, "attempt_id": attempt, "outputs": [{"sha256": each} for each in digests]}


def take(lineage: Lineage, *events: Mapping[str, Any]) -> None:
    for each in events:
        lineage.take(each)


def test_a_conversation_has_come_to_its_highest_level(lineage: Lineage) -> None:
    take(
        lineage, decided("r1", "L2", conversation="c", root=A), decided("r2", "L1", conversation="c", root=B)
    )
    assert lineage.past("c", [B]) == Past("L2", A)
    assert lineage.past("another", [B]) == Past("L0", B)
    assert lineage.past(None, []) == Past("L0", None)


def test_a_picture_brings_the_level_and_the_first_reference_of_its_making(lineage: Lineage) -> None:
    take(lineage, decided("r1", "L2", root=A), made("r1", B))
    assert lineage.past(None, [B]) == Past("L2", A)
    take(lineage, decided("r2", "L1", root=lineage.past(None, [B]).root), made("r2", C))
    assert lineage.past(None, [C]).root == A  # of several steps the first


def test_partial_outputs_count_and_what_was_refused_does_not(lineage: Lineage) -> None:
    take(lineage, decided("r1", "L3"), made("r1", A, kind="delivered"), made("r1", B))
    take(lineage, decided("r2", "L4", action="block"), made("r2", C))
    assert (lineage.past(None, [A]).level, lineage.past(None, [B]).level) == ("L3", "L3")
    assert lineage.past(None, [C]) == Past("L0", C)


def test_unknown_is_the_highest_and_stays(lineage: Lineage) -> None:
    take(lineage, decided("r1", "unknown", conversation="c"), decided("r2", "L1", conversation="c"))
    assert lineage.past("c", []).level == "unknown"
    assert (
        level_of({"factors": [{"name": "level", "value": "L1"}, {"name": "cumulative_level", "value": "L2"}]})
        == "L2"
    )


def test_catching_up_goes_on_where_it_stopped(lineage: Lineage) -> None:
    lines = [
        {**decided(f"r{number}", "L2", conversation=f"c{number}"), "seq": number} for number in range(1, 2501)
    ]
    written = [("1.jsonl", json.dumps(each).encode()) for each in lines]
    lineage.catch_up("web", events_of(iter(written[:2200])), lineage.place("web"))
    assert lineage.place("web") == ("1.jsonl", 2200)
    lineage.catch_up("web", events_of(iter([*written, ("1.jsonl", b"no event")])), lineage.place("web"))
    assert lineage.past("c2500", []).level == "L2"
    assert lineage.place("site") == ("", 0)


def test_one_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "derived"
    with Lineage(folder) as before:
        take(before, decided("r1", "L2", conversation="c"))
    (folder / NAME).write_bytes(b"this is no database at all, whatever its name says" * 100)
    with Lineage(folder) as after:
        assert after.past("c", []).level == "L0"
        assert after.place("web") == ("", 0)  # so that all of it is read again


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "derived").write_text("a file")
    with pytest.raises(StorageFailed, match="made again from what is recorded"):
        Lineage(tmp_path / "derived")
