"""CAP-SRP event files: both forms that are known, their chain, their signatures, one outcome an attempt.

The known hash is that of the specification's own test vectors.
"""

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.formats.canonical_json import canonical_json
from scelle.sources.generation.cap import KINDS, OUTCOMES, event_hashes, is_signed
from tests.unit.sources.reading_generation import bad, checks_of, events_of, source, write

CHAIN = "019467a0-0000-7000-0000-000000000000"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = b64encode(KEY.public_key().public_bytes_raw()).decode()


def specified(kind: str, number: int, minute: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "EventID": f"e-{number}", "ChainID": CHAIN, "PrevHash": None, "EventType": kind, "HashAlgo": "SHA256",
        "Timestamp": f"2026-01-08T09:{minute:02d}:00.000Z",
    } | more  # fmt: skip


def sealed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chain and sign events by §8 of the specification."""
    before: str | None = None
    for each in events:
        each["PrevHash"] = before
        before = each["EventHash"] = "sha256:" + sha256(canonical_json(each)).hexdigest()
        each["Signature"] = "ed25519:" + b64encode(KEY.sign(bytes.fromhex(before[7:]))).decode()
    return events


def three(**more: Any) -> list[dict[str, Any]]:
    return sealed([
        specified("GEN_ATTEMPT", 1, PromptHash="sha256:aa", PolicyID="p", ModelVersion="lumen-3", ActorHash="sha256:u"),
        specified("GEN_DENY", 2, AttemptID="e-1", RiskScore=0.5, PolicyVersion="7", RefusalReason="policy", **more),
        specified("GEN_ATTEMPT", 3, 1, ModelVersion="lumen-3", SessionID="c-1"),
        specified("GEN", 4, 1, AttemptID="e-3", ModelContext={"ModelID": "urn:lumen", "ModelVersion": "3"}),
    ])  # fmt: skip


def implemented(kind: str, number: int, **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"e-{number}", "event_type": kind, "timestamp": f"2026-01-08T09:0{number}:00+00:00",
        "session_id": "c-1", "model_id": "lumen", "policy_version": "v7", "previous_hash": "",
    } | more  # fmt: skip


def exported(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Chain and sign events as the reference implementation does, and wrap them as its export."""
    before = ""
    for each in events:
        each["previous_hash"] = before
        content = json.dumps(each, sort_keys=True, separators=(",", ":"))
        before = each["current_hash"] = "sha256:" + sha256(content.encode()).hexdigest()
        each["signature"] = "ed25519:" + b64encode(KEY.sign(before.encode())).decode()
    return {"version": "1.0.0", "public_key": PUBLIC, "event_count": len(events), "events": events}


def two() -> list[dict[str, Any]]:
    return [
        implemented("GEN_ATTEMPT", 1, prompt_hash="sha256:aa", user_context_hash="é"),
        implemented(
            "GEN_DENY", 2, attempt_id="e-1", risk_category="OTHER", risk_score=0.94, denial_reason="policy"
        ),
    ]


def put(root: Path, said: Any, name: str = "events/a.json") -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(json.dumps(said, indent=2))


def test_the_specifications_known_hash() -> None:
    text = json.dumps({
        "EventID": "01945f2a-0001-7000-0000-000000000001", "ChainID": "01945e3a-0000-7000-0000-000000000000",
        "PrevHash": None, "Timestamp": "2026-01-10T00:00:00.000Z", "EventType": "GEN_ATTEMPT", "HashAlgo": "SHA256",
        "PromptHash": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "PolicyID": "test-policy-v1", "ModelVersion": "test-model-v1", "EventHash": "left out", "Signature": "too",
    })  # fmt: skip
    assert event_hashes(text.encode()) == {
        "sha256:c812881a67931e610353583e77387d585b2f84d43c84fc8251d76564d9ccd33b"
    }


def test_scores_of_any_digits_are_hashed_in_both_known_ways(tmp_path: Path) -> None:
    put(tmp_path, three(More=[0.94, 1.0, 1e-7, 2**60]))
    assert sorted(checks_of(source(tmp_path))) == ["attempts", "cap-chain"]
    events = three(More=[0.94, 1.0, 1e-7, 2**60])
    del events[1:]
    content = {name: each for name, each in events[0].items() if name not in ("EventHash", "Signature")} | {
        "n": 1.0
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    put(tmp_path, [content | {"EventHash": "sha256:" + sha256(text.encode()).hexdigest()}])
    assert sorted(checks_of(source(tmp_path)))[-1] == "cap-chain"


def test_events_are_mapped_and_nothing_is_lost(tmp_path: Path) -> None:
    put(tmp_path, three())
    read = source(tmp_path)
    assert bad(read) == []
    asked, denied, _, made = events_of(read)
    assert (asked["kind"], asked["attempt"], asked["native_id"]) == ("requested", "e-1", "e-1")
    assert (asked["model"], asked["account"], asked["format"]) == ("lumen-3", "account:sha256:u", "cap-srp")
    assert (denied["kind"], denied["attempt"], denied["safeguard"]) == ("refused", "e-1", "7")
    assert (denied["reason"], denied["time"]) == ("policy", 1_767_862_800_000_000)
    assert denied["more"]["RiskScore"] == 0.5
    assert denied["more"]["EventType"] == "GEN_DENY"
    assert (made["kind"], made["model"]) == ("completed", "urn:lumen")
    assert [json.loads(each["raw"]) for each in events_of(read)] == three()


def test_a_whole_chain_gives_no_finding(tmp_path: Path) -> None:
    put(tmp_path, three())
    checks = checks_of(source(tmp_path))
    assert sorted(checks) == ["attempts", "cap-chain"]
    assert checks["cap-chain"][0]["body"] == {
        "chain": CHAIN, "events": 4, "signatures_not_checked": 4, "without_hash": 0, "without_signature": 0,
    }  # fmt: skip
    sums = checks["attempts"][0]["body"]
    assert (sums["attempts"], sums["one"], sums["none"], sums["several"]) == (2, 2, 0, 0)


def test_a_chain_goes_on_from_file_to_file_and_over_lines(tmp_path: Path) -> None:
    events = three()
    write(tmp_path, events[:2], "events/1.jsonl")
    for number, each in enumerate(events[2:], 2):
        put(tmp_path, each, f"events/{number}.json")
    assert sorted(checks_of(source(tmp_path))) == ["attempts", "cap-chain"]


@pytest.mark.parametrize(
    ("defect", "kinds"),
    [
        ("changed", ["cap-hash-wrong"]),
        ("dropped", ["cap-chain-broken", "outcome-without-attempt"]),
        ("swapped", ["cap-chain-broken"]),
        ("first-dropped", ["cap-chain-start-missing", "outcome-without-attempt"]),
    ],
)
def test_a_broken_chain_is_found(tmp_path: Path, defect: str, kinds: list[str]) -> None:
    events = three()
    match defect:
        case "changed":
            events[1]["RefusalReason"] = "another"
        case "dropped":
            del events[2]
        case "swapped":
            events[1], events[2] = events[2], events[1]
        case "first-dropped":
            del events[0]
    put(tmp_path, events)
    checks = checks_of(source(tmp_path))
    assert sorted(kind for kind in checks if kind not in ("attempts", "cap-chain")) == kinds
    assert all(each["severity"] == "finding" for kind in kinds for each in checks[kind])
    assert all("events/a.json" in checks[kind][0]["native_id"] for kind in kinds if kind.startswith("cap"))


def test_events_without_hashes_are_counted_and_not_called_broken(tmp_path: Path) -> None:
    put(tmp_path, {"events": [
        specified("GEN_ATTEMPT", 1), specified("GEN", 2, AttemptID="e-1", PrevHash="sha256:" + "1" * 64),
    ]})  # fmt: skip
    checks = checks_of(source(tmp_path))
    assert sorted(checks) == ["attempts", "cap-chain"]
    assert checks["cap-chain"][0]["body"]["without_hash"] == 2


def test_the_reference_implementations_export_is_checked_with_its_key(tmp_path: Path) -> None:
    put(tmp_path, exported(two()))
    asked, denied = events_of(source(tmp_path))
    assert (asked["attempt"], asked["model"], asked["conversation"]) == ("e-1", "lumen", "c-1")
    assert (denied["kind"], denied["safeguard"], denied["reason"]) == ("refused", "v7", "policy")
    assert denied["more_text"] == '{"risk_score":0.94}'
    checks = checks_of(source(tmp_path))
    assert sorted(checks) == ["attempts", "cap-chain"]
    assert checks["cap-chain"][0]["body"]["signatures_not_checked"] == 0


def test_a_wrong_signature_is_found(tmp_path: Path) -> None:
    said = exported(two())
    said["events"][1]["signature"] = said["events"][0]["signature"]
    put(tmp_path, said)
    (found,) = checks_of(source(tmp_path))["cap-signature-wrong"]
    assert "record 2" in found["native_id"]


def test_both_ways_of_signing_are_known() -> None:
    digest = sha256(b"winter coat")
    text = "sha256:" + digest.hexdigest()
    for message in (text.encode(), digest.digest()):
        assert is_signed(text, "ed25519:" + b64encode(KEY.sign(message)).decode(), PUBLIC)
    assert not is_signed(text, "ed25519:" + b64encode(KEY.sign(b"other")).decode(), PUBLIC)
    for odd in ("ed25519:?", "", "ed25519:AAAA"):
        assert not is_signed(text, odd, PUBLIC)
    assert not is_signed(text, b64encode(KEY.sign(text.encode())).decode(), "AAAA")


@pytest.mark.parametrize("kind", sorted(OUTCOMES))
def test_every_outcome_ends_its_attempt(tmp_path: Path, kind: str) -> None:
    put(tmp_path, [specified("GEN_ATTEMPT", 1), specified(kind, 2, 59, AttemptID="e-1")])
    assert checks_of(source(tmp_path))["attempts"][0]["body"]["one"] == 1


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - OUTCOMES - {"GEN_ATTEMPT"}))
def test_other_events_are_kept_and_end_nothing(tmp_path: Path, kind: str) -> None:
    put(tmp_path, [specified("GEN_ATTEMPT", 1), specified(kind, 2, 59)])
    assert events_of(source(tmp_path))[1]["kind"] == KINDS[kind]
    assert "attempt-without-outcome" in checks_of(source(tmp_path))


def test_a_generation_without_an_attempt_is_kept(tmp_path: Path) -> None:
    put(tmp_path, [specified("GEN", 1)])
    (found,) = events_of(source(tmp_path))
    assert (found["kind"], found["attempt"]) == ("completed", None)
    assert checks_of(source(tmp_path))["attempts"][0]["body"]["attempts"] == 0


def test_what_is_no_event_of_the_profile_fails(tmp_path: Path) -> None:
    put(
        tmp_path, [specified("GEN_ATTEMPT", 1), specified("GEN_DANCE", 2), specified("GEN_DENY", 3), {"x": 1}]
    )
    read = source(tmp_path)
    assert [each.cause for each in bad(read)] == ["unknown-event", "attempt-missing", "unknown-event"]
    assert len(events_of(read)) == 1


@pytest.mark.parametrize(
    "odd",
    [
        '"ChainID": "c", "EventHash": "sha256:x", "n": ' + "9" * 6000,
        '"ChainID": "c", "EventHash": "sha256:x", "n": ' + "[" * 900 + "]" * 900,
        '"ChainID": "\\ud800", "EventHash": "sha256:x", "PrevHash": "sha256:y"',
        '"ChainID": ["c"], "EventHash": {"a": 1}, "PrevHash": [1], "Signature": [2]',
    ],
)
def test_an_odd_event_ends_no_check(tmp_path: Path, odd: str) -> None:
    line = '{"EventType": "GEN_ATTEMPT", "EventID": "e1", "Timestamp": "2026-01-01T00:00:00Z", ' + odd + "}\n"
    (tmp_path / "a.jsonl").write_text(line)
    found = checks_of(source(tmp_path))
    assert found["attempts"][0]["body"]["events"] == 1
    assert found["cap-chain"][0]["body"]["events"] == 1
