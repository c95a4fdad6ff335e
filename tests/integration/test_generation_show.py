"""The time machine: from the sealed record alone, what ran, and the input stage decided again."""

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gated_platform import AS_BEFORE, COAT, PORTRAIT, assign, guardrail, shape
from tests.integration.recorded_platform import Platform
from tests.integration.test_record_gate import edit

CONFIGURATION = {"model": "shapes-1", "prompt_template": "Draw: {prompt}", "flags": {"safe": True}}
PROMPT = "put the person in a winter coat, number 2"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path)
    (tmp_path / "generator.json").write_text(json.dumps(CONFIGURATION))
    yield made
    made.stop()


def show(platform: Platform, record: str, *words: str, code: int = 0) -> dict[str, Any]:
    return dict(platform.json("generation", "show", record, *words, code=code))


def test_everything_is_rebuilt_once_the_recorded_files_are_gone(platform: Platform) -> None:
    gate = guardrail(platform, {PROMPT: COAT}, {shape(7): PORTRAIT, shape(2): AS_BEFORE})
    Path(gate).write_text(
        Path(gate).read_text() + "  - use: text\n"
    )  # a real detector beside the assigned values
    proxy = platform.proxy("--gate", gate, "--configuration", str(platform.folder / "generator.json"))
    answer = edit(proxy, PROMPT, shape(7), X_Scelle_Account="u-1")
    assert answer.status == 400, "one word, the number, is in no lexicon"
    proxy.end()
    shutil.rmtree(platform.ai)  # what is sealed must be enough
    platform.ai.mkdir()
    found = show(platform, answer.record, "--guardrail", gate)
    assert (found["model"], found["request"]["prompt"], found["outcome"]) == ("shapes-1", PROMPT, "refused")
    assert found["configuration"]["document"] == CONFIGURATION
    assert found["bundle"]["digest"] == answer.headers["X-Scelle-Bundle"]
    assert {each["id"] for each in found["detectors"]} == {"stub", "text"}
    assert all(len(each["weights_digest"]) == 64 for each in found["detectors"])
    assert found["thresholds"] == {"text.level": 1.0, "text.language": 0.6}
    replay = found["replay"]
    assert replay["same"] is True
    for name in ("factors", "inputs"):
        assert replay[name]["same"] is True, replay[name]
        assert replay[name]["deciding_rule"] == found["decisions"][0]["deciding_rule"]


def test_another_detector_is_not_taken_for_the_one_that_ran(platform: Platform) -> None:
    gate = guardrail(platform, {PROMPT: COAT}, {shape(7): PORTRAIT, shape(2): AS_BEFORE})
    proxy = platform.proxy("--gate", gate)
    answer = edit(proxy, PROMPT, shape(7))
    assert answer.status == 200
    proxy.end()
    assign(platform.folder / "values.json", {PROMPT: {**COAT, "level": "L4"}}, {shape(7): PORTRAIT})
    replay = show(platform, answer.record, "--guardrail", gate)["replay"]
    assert (replay["same"], replay["factors"]["same"], replay["inputs"]["same"]) == (True, True, None)
    assert replay["inputs"]["why"] == "other-version: stub"
    # of the record's own word no file is read, and nothing is run that does not ship
    assert show(platform, answer.record)["replay"]["inputs"]["why"] == "guardrail-needed: stub"


def test_a_record_that_was_not_decided_so_is_found_out(platform: Platform) -> None:
    gate = guardrail(platform, {PROMPT: COAT}, {shape(7): PORTRAIT, shape(2): AS_BEFORE})
    proxy = platform.proxy("--gate", gate)
    attempt = edit(proxy, PROMPT, shape(7)).record
    proxy.kill()
    path = next((platform.ai / "recorded" / "web").glob("*.jsonl"))
    lines = path.read_bytes().splitlines()
    forged = []
    for line in lines:  # somebody says that a block had been allowed, before it was sealed
        event = json.loads(line)
        if event["event"] == "decided" and event["stage"] == "input":
            event["record"]["factors"] = [
                {**each, "value": "L4"} if each["name"] == "level" else each
                for each in event["record"]["factors"]
            ]
            line = json.dumps(event, separators=(",", ":")).encode()
        forged.append(line + b"\n")
    path.write_bytes(b"".join(forged))
    platform.run("preserve", "o-1")
    found = show(platform, attempt, code=1)
    assert found["replay"]["same"] is False
    assert any(
        each.startswith("verdict: 'allow', now 'block'") for each in found["replay"]["factors"]["differences"]
    )


def test_a_generation_without_a_gate_is_shown_and_not_replayed(platform: Platform) -> None:
    proxy = platform.proxy()
    record = proxy.generate("a red square").record
    proxy.end()
    found = show(platform, record)
    assert (found["outcome"], found["delivered"]) == ("completed", 1)
    assert found["replay"] == {"stage": "input", "same": None}
    assert (
        found["outputs"][0]["sha256"] == sha256(platform.content(found["outputs"][0]["sha256"])).hexdigest()
    )
    platform.run("generation", "show", "r" + "0" * 32, code=2)
    platform.run("generation", "show", 'x" or time > 0', code=2)


def test_what_is_removed_was_preserved_before(platform: Platform) -> None:
    proxy = platform.proxy()
    record = proxy.generate("a red square").record
    take_down = (
        "generation",
        "take-down",
        record,
        "--post",
        "https://platform.example/p/77",
        "--reason",
        "report-1",
    )
    platform.run(*take_down, code=2)  # nothing of it is sealed yet
    proxy.end()
    platform.run(*take_down[:-1], "put the person in a winter coat", code=2)  # no words of anybody
    found = platform.json(*take_down)
    assert (found["may_be_removed"], len(found["preserved"]), found["missing"]) == (True, 1, [])
    removed = [each for each in platform.events("takedowns") if each["event"] == "removed"]
    assert [(each["attempt_id"], each["reason"]) for each in removed] == [(record, "report-1")]
    platform.run("preserve", "o-1")
    assert [each["event"] for each in show(platform, record)["events"]] == [
        "requested", "completed", "delivered", "removed",
    ]  # fmt: skip


def test_nothing_is_removed_whose_output_is_not_sealed(platform: Platform) -> None:
    proxy = platform.proxy()
    record = proxy.generate("a red square").record
    proxy.kill()
    digest = next(each for each in platform.events() if each["event"] == "completed")["outputs"][0]["sha256"]
    (platform.ai / "recorded" / "contents" / digest[:2] / digest).unlink()  # somebody was quicker
    platform.run("preserve", "o-1")
    take_down = ("generation", "take-down", record, "--post", "p-77", "--reason", "report-1")
    found = platform.json(*take_down, code=1)
    assert (found["may_be_removed"], found["missing"]) == (False, [digest])
    assert not (platform.ai / "recorded" / "takedowns").exists()


def test_what_failed_closed_is_not_called_another_decision(platform: Platform) -> None:
    gate = guardrail(platform, {PROMPT: COAT}, {shape(7): PORTRAIT, shape(2): AS_BEFORE})
    values = platform.folder / "values.json"
    proxy = platform.proxy("--gate", gate)
    values.rename(platform.folder / "elsewhere")
    answer = edit(proxy, PROMPT, shape(7))
    (platform.folder / "elsewhere").rename(values)
    assert answer.status == 400
    proxy.end()
    replay = show(platform, answer.record, "--guardrail", gate)["replay"]
    assert (replay["same"], replay["inputs"]["why"]) == (True, "detectors-were-down")


def other_digest(event: dict[str, Any]) -> None:
    event["references"][0]["sha256"] = sha256(shape(8)).hexdigest()


def other_prompt(event: dict[str, Any]) -> None:
    event["prompt"] = "put the person in a raincoat, number 2"


def other_verdict(event: dict[str, Any]) -> None:
    event["decision"] = "block"


def other_deed(event: dict[str, Any]) -> None:
    event["record"]["action_enforced"] = "block"


@pytest.mark.parametrize(
    ("kind", "forge"),
    [
        ("requested", other_digest),
        ("requested", other_prompt),
        ("decided", other_verdict),
        ("decided", other_deed),
    ],
)
def test_a_record_that_contradicts_itself_is_no_same_decision(
    platform: Platform, kind: str, forge: Any
) -> None:
    gate = guardrail(platform, {PROMPT: COAT}, {shape(7): PORTRAIT, shape(2): AS_BEFORE})
    proxy = platform.proxy("--gate", gate)
    attempt = edit(proxy, PROMPT, shape(7)).record
    proxy.kill()
    path = next((platform.ai / "recorded" / "web").glob("*.jsonl"))
    forged, is_done = [], False
    for line in path.read_bytes().splitlines():
        event = json.loads(line)
        if event["event"] == kind and not is_done:
            forge(event)
            is_done = True
        forged.append(json.dumps(event, separators=(",", ":")).encode() + b"\n")
    path.write_bytes(b"".join(forged))
    platform.run("preserve", "o-1")
    replay = show(platform, attempt, "--guardrail", gate, code=1)["replay"]
    assert (replay["same"], replay["record"]["same"]) == (False, False)


def test_factors_that_no_detector_finds_again_are_another_decision(platform: Platform) -> None:
    gate = guardrail(platform, {PROMPT: COAT}, {shape(7): PORTRAIT, shape(2): AS_BEFORE})
    proxy = platform.proxy("--gate", gate)
    attempt = edit(proxy, PROMPT, shape(7)).record
    proxy.kill()
    path = next((platform.ai / "recorded" / "web").glob("*.jsonl"))
    text = path.read_text()
    assert '"name":"level","value":"L1"' in text
    path.write_text(text.replace('"name":"level","value":"L1"', '"name":"level","value":"L0"').replace(
        '"taken_as":"L1"', '"taken_as":"L0"').replace('"name":"cumulative_level","value":"L1"',
        '"name":"cumulative_level","value":"L0"'))  # fmt: skip
    platform.run("preserve", "o-1")
    found = show(platform, attempt, "--guardrail", gate, code=1)["replay"]
    assert found["inputs"]["same"] is False
    assert any(each.startswith("level.value: 'L0', now 'L1'") for each in found["inputs"]["differences"])
