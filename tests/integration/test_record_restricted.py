"""What the gate's lanes hold back goes into the compartment, unseen, and the open record says that it did."""

import base64
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gated_platform import AS_BEFORE, COAT, MORE, PORTRAIT, SWIMWEAR, guardrail, shape
from tests.integration.recorded_platform import Platform, send
from tests.integration.test_record_gate import edit

GOOD, BAD, WORSE = "number 2 in a winter coat", "number 2 in swimwear", "number 3 in a winter coat"
HIDDEN = shape(8)
"""A drawn square, to which the detector of tests assigns what leads into the restricted lane."""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path, with_restricted=True)
    yield made
    made.stop()


@pytest.fixture
def gate(platform: Platform) -> str:
    pictures = {shape(7): PORTRAIT, HIDDEN: {**PORTRAIT, "minor": "yes"}, shape(2): AS_BEFORE, shape(3): MORE}
    return guardrail(platform, {GOOD: COAT, BAD: SWIMWEAR, WORSE: COAT}, pictures)


def everything(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def events_below(folder: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted(folder.rglob("*.jsonl")) for line in path.read_bytes().splitlines()]
    return [json.loads(line) for line in lines]


def test_what_is_restricted_is_nowhere_in_the_open(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate, "--restricted-source", "shut")
    good = edit(proxy, GOOD, shape(7))
    blocked = edit(proxy, BAD, HIDDEN)
    withheld = edit(proxy, WORSE, HIDDEN)
    assert (good.status, blocked.status, withheld.status) == (200, 400, 400)
    sealed = proxy.end()["sealed"]["counts"]
    assert (sealed["failed"], sealed["lost"]) == (0, 0)
    assert sealed["restricted"] > 0

    opened, shut = everything(platform.ai), everything(platform.shut)
    for secret in (BAD.encode(), WORSE.encode(), HIDDEN, shape(3)):
        assert secret not in opened
        assert secret in shut
    for known in (GOOD.encode(), shape(7), shape(2)):
        assert known in opened
        assert known not in shut

    kinds = defaultdict[str, list[str]](list)
    for each in platform.events():
        if "attempt_id" in each:
            kinds[each["attempt_id"]].append(each["event"])
    assert kinds[blocked.record] == ["requested", "decided", "refused"]
    assert sorted(kinds[withheld.record]) == ["completed", "decided", "decided", "requested"]
    lanes = [each["record"]["lane"] for each in platform.events() if each["event"] == "decided"]
    assert lanes == ["none", "none", "restricted", "none", "restricted"]
    details = [
        (each["event"], each["attempt_id"]) for each in events_below(platform.shut) if "attempt_id" in each
    ]
    assert details == [
        ("requested", blocked.record),
        ("refused", blocked.record),
        ("requested", withheld.record),
        ("completed", withheld.record),
    ]
    assert not list((platform.shut / "recorded" / "undecided" / "web").glob("??/*"))


def test_the_vault_holds_it_in_the_compartment_only(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate, "--restricted-source", "shut")
    record = edit(proxy, BAD, HIDDEN).record
    proxy.end()
    assert platform.json("find", "o-1", f'digest = "{sha256(HIDDEN).hexdigest()}"')["count"] == 0
    shown = platform.json("generation", "show", record, "--guardrail", gate)
    assert (shown["request"]["prompt"], shown["outcome"]) == (None, "refused")
    assert shown["replay"]["factors"]["same"] is True
    assert shown["replay"]["inputs"] == {
        "same": None, "why": "input-not-sealed", "verdict": None, "deciding_rule": None, "differences": [],
    }  # fmt: skip
    assert platform.json("find", "o-1", 'native_id starts with "restricted:"')["count"] > 0
    platform.run("verify")


def test_what_a_crash_leaves_undecided_is_restricted(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate, "--restricted-source", "shut", "--timeout", "60")
    hidden = platform.folder / "values.json"
    hidden.rename(platform.folder / "gone.json")
    answer = edit(proxy, GOOD, shape(7))  # the detector is not what it was: nothing is known
    assert answer.status == 400
    proxy.kill()
    left = platform.shut / "recorded" / "undecided" / "web" / "ab" / ("ab" * 32)
    left.write_bytes(b"cut off before it was decided")
    for path in platform.shut.rglob("*"):  # what was written just now is put in twice, for want of a stamp
        age(path, 60 if path == left else 3600)
    first = platform.json("preserve", "o-1")
    age(left, 3600)
    second = platform.json("preserve", "o-1")
    assert first["restricted"] > 0
    assert (second["failed"], second["lost"], second["new"]) == (0, 0, 1)
    assert second["restricted"] == first["restricted"] + 1


def age(path: Path, seconds: int) -> None:
    old = time.time() - seconds
    os.utime(path, (old, old))


def test_lanes_need_a_gate_a_compartment_and_a_restricted_source(platform: Platform, gate: str) -> None:
    words = (
        "record",
        "proxy",
        "--upstream",
        platform.upstream,
        "--listen",
        "127.0.0.1:0",
        "--surface",
        "web",
    )
    platform.run(*words, "--order", "o-1", "--restricted-source", "shut", code=2)
    platform.run(*words, "--order", "o-1", "--gate", gate, "--restricted-source", "ai", code=2)


def test_one_output_that_is_restricted_takes_along_all_that_is_undecided(platform: Platform) -> None:
    prompt = "number 2 in a winter coat, streamed"
    pictures = {
        HIDDEN: {**PORTRAIT, "minor": "yes"},
        shape(20): MORE,
        shape(21): AS_BEFORE,
        shape(2): AS_BEFORE,
    }
    gate = guardrail(platform, {prompt: COAT}, pictures)
    proxy = platform.proxy("--gate", gate, "--restricted-source", "shut")
    url = f"data:image/png;base64,{base64.b64encode(HIDDEN).decode()}"
    body = {"model": "shapes-1", "prompt": prompt, "stream": True, "images": [{"image_url": url}]}
    answer = send(f"{proxy.url}/images/edits", json.dumps(body).encode())
    assert b"moderation_blocked" in answer.body
    proxy.end()
    opened = everything(platform.ai)
    for secret in (prompt.encode(), HIDDEN, shape(20), shape(21), shape(2)):
        assert secret not in opened
    assert prompt.encode() in everything(platform.shut)
