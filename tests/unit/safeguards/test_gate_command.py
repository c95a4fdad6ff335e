"""`scelle gate` proves policies and decides; what it refuses it refuses in one line, with exit code 2."""

import json
from pathlib import Path
from typing import Any

import pytest

from scelle.cli.main import run
from scelle.safeguards.gate import Bundle, Detector, default_policy
from tests.unit.safeguards.gate_policies import SHIPPED, changed

COAT = {
    "person": "yes",
    "named": "no",
    "op": "edit",
    "level": "L1",
    "cumulative_level": "L0",
    "consent": "none",
}
FACTS = {
    "hash_hit": "none",
    "third_party_post": "no",
    "owner_control": "unset",
    "language": "supported",
    "detectors": "healthy",
}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(SHIPPED, encoding="utf-8")
    return path


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    code = run(["gate", *arguments, "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def asked(tmp_path: Path, **more: Any) -> str:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"stage": "input", "factors": {**COAT, **FACTS}, **more}), encoding="utf-8")
    return str(path)


def test_check_proves_a_policy(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document, err = answered(capsys, "check", str(policy))
    assert (code, err) == (0, "")
    assert document["holds"] is True
    assert document["combinations"] == {"input": 5_878_656, "output": 88_179_840}
    assert answered(capsys, "check")[1]["bundle_digest"] == document["bundle_digest"]
    assert run(["gate", "check", str(policy)]) == 0
    assert "proven" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "property"),
    [
        ("{hash_hit: opt-out, level: at least L1}", "{hash_hit: opt-out, tier: not paid}", "slices"),
        ("{minor: at least yes, level: at least L2}", "{minor: at least yes, consent: not valid}", "consent"),
        ("    statement: owner\n\n  - id: R051", "\n  - id: R051", "templates"),
        ("{hash_hit: opt-out, level: at least L1}", "{hash_hit: opt-out, level: L1}", "monotone"),
        ("    input: {outcome: allow, when: always}\n", "", "total"),
        ("id: R051", "id: R050", "unique"),
    ],
)  # fmt: skip
def test_check_shows_the_case_that_a_policy_gets_wrong(
    policy: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, property: str
) -> None:
    policy.write_bytes(changed(old, new))
    code, document, err = answered(capsys, "check", str(policy))
    assert code == 2
    assert document["holds"] is False
    assert document["properties"][property]["holds"] is False
    failure = next(each for each in document["failures"] if each["property"] == property)
    assert failure["counter_example"] or property == "unique"
    assert err.count("\n") == 1
    assert err.startswith(f"scelle: {policy}")
    assert err.endswith("[gate.policy_refused]\n")


def test_check_refuses_what_is_no_policy(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_bytes(changed("title: Otherwise", "title: [1]"))
    code, document, err = answered(capsys, "check", str(policy))
    assert (code, document) == (2, None)
    assert "must be a text" in err
    assert answered(capsys, "check", str(policy.parent / "none.yaml"))[0] == 2


def test_decide_prints_the_record(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, record, _ = answered(capsys, "decide", asked(tmp_path, decision_id="d-9"), "--policy", str(policy))
    assert code == 0
    assert (record["decision_id"], record["verdict"], record["deciding_rule"]) == ("d-9", "allow", "R999")
    again = answered(capsys, "decide", asked(tmp_path, decision_id="d-9"))[1]
    assert {**again, "ms": 0} == {**record, "ms": 0}
    assert answered(capsys, "decide", asked(tmp_path))[1]["decision_id"] != "d-9"


def test_decide_says_what_was_done_against_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = asked(tmp_path, factors={}, action_enforced="allow")
    assert run(["gate", "decide", request]) == 0
    out = capsys.readouterr().out
    assert out.startswith("block by R020")
    assert "lets through more than the verdict" in out


@pytest.mark.parametrize(
    "text", ["", "[]", '{"stage": "input"}', '{"stage": "input", "factors": {"person": "maybe"}}']
)
def test_decide_refuses_a_bad_request_in_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "request.json"
    path.write_text(text, encoding="utf-8")
    code, document, err = answered(capsys, "decide", str(path))
    assert (code, document, err.count("\n")) == (2, None, 1)
    assert err.endswith("[gate.request_wrong]\n")


def test_decide_refuses_a_policy_that_is_not_proven(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_bytes(changed("id: R051", "id: R050"))
    code, document, err = answered(capsys, "decide", asked(tmp_path), "--policy", str(policy))
    assert (code, document) == (2, None)
    assert err.endswith("[gate.policy_refused]\n")


def test_a_bundle_has_a_digest_of_its_own(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bundle.json"
    parts = {
        "detectors": [{"id": "text", "version": "3", "weights_digest": "0" * 64}],
        "thresholds": {"text": 0.5},
        "normaliser": "2",
        "lexicons": {"fr": "1" * 64},
        "hash_lists": {"operator": "2" * 64},
    }
    path.write_text(json.dumps(parts), encoding="utf-8")
    code, document, _ = answered(capsys, "check", str(policy), "--bundle", str(path))
    detectors = (Detector("text", "3", "0" * 64),)
    bundle = Bundle(default_policy(), detectors, {"text": 0.5}, "2", {"fr": "1" * 64}, {"operator": "2" * 64})
    assert (code, document["bundle_digest"]) == (0, bundle.digest)
    record = answered(capsys, "decide", asked(tmp_path), "--bundle", str(path))[1]
    assert record["bundle_digest"] == bundle.digest


@pytest.mark.parametrize(
    "parts",
    [
        [],
        {"policy": {}},
        {"detectors": {}},
        {"detectors": [{"id": "text"}]},
        {"detectors": [{"id": "two words", "version": "1"}]},
        {"detectors": [{"id": "text", "version": "1", "weights_digest": 1}]},
        {"detectors": [{"id": "text", "version": "1", "weights_digest": "short"}]},
        {"thresholds": {"text": "high"}},
        {"thresholds": []},
        {"thresholds": {"text": None}},
        {"normaliser": 2},
        {"lexicons": {"fr": "short"}},
        {"hash_lists": {"two words": "1" * 64}},
    ],
)
def test_a_bundle_that_means_nothing_is_refused(
    parts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(parts), encoding="utf-8")
    code, document, err = answered(capsys, "check", "--bundle", str(path))
    assert (code, document, err.count("\n")) == (2, None, 1)
