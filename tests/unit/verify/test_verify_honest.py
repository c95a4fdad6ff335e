"""Everything that an honest producer may hand over is accepted: the builder's world, question by question."""

from pathlib import Path
from typing import Any

import pytest
from tests.unit.verify.builder import (
    AUDITOR,
    AUTHORITY,
    CHAT,
    HOUR,
    LOG1,
    LOG6,
    NEXT1,
    NEXT6,
    ORIGIN,
    STRANGER,
    T0,
    THIRD1,
    UNDATED,
    WITNESS,
    Draft,
    Key,
    Log,
    b64,
    chat,
    note,
    query_of,
    world,
)
from tests.unit.verify.harness import judge

QUERIES: list[dict[str, Any]] = [
    {},
    {"strength": "A"},
    {"value": "s0004"},
    {"value": "s0004", "strength": "A"},
    {"value": "s0004/2"},
    {"value": "s0002"},
    {"value": "s0002", "strength": "A"},
    {"value": "scelle.order"},
    {"value": "scelle.order", "strength": "A"},
    {"value": "unheard-of"},
    {"dimension": "account", "value": "account:1"},
    {"dimension": "account", "value": "nobody"},
    {"dimension": "account", "value": ""},
    {"dimension": "model", "value": "m-1"},
    {"dimension": "unknown", "value": "m-1"},
    {"dimension": "account", "value": "account:1", "from": T0 - 4 * HOUR, "until": T0},
    {"dimension": "account", "value": "account:1", "from": T0},
    {"until": T0 - 3 * HOUR},
    {"from": T0 + HOUR},
    {"redact": {"text": "privacy"}},
    {"redact": {"raw": "secret"}},
    {"redact": {"account": "privacy"}},
    {"redact": {"text": "privacy", "model": "trade"}, "strength": "A"},
    {"value": "s0002", "redact": {"tries": "security"}},
    {"redact": {"picture": "abuse-material"}},
]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_an_honest_answer_is_valid(query: dict[str, Any], tmp_path: Path) -> None:
    verdict = judge(Draft(world(), query_of(**query)), tmp_path)
    assert verdict.findings == []
    assert verdict.exit_code == 0
    assert verdict.document["valid"] is True
    sums = verdict.document
    assert sums["hits"]["all"] == sum(sums["hits"][k] for k in ("produced", "withheld", "erased"))
    assert sums["fields"]["all"] == sums["fields"]["open"] + sums["fields"]["redacted"]
    assert sums["contents"]["all"] == sums["contents"]["delivered"] + sums["contents"]["withheld"]
    kinds = ("searched", "undated_only", "left_out", "not_searchable", "empty")
    assert sums["segments"]["all"] == sum(sums["segments"][k] for k in kinds)


def test_counts_are_those_of_the_world(tmp_path: Path) -> None:
    document = judge(Draft(world(), query_of()), tmp_path).document
    assert document["hits"] == {"all": 9, "produced": 9, "withheld": 0, "erased": 0, "erased_edge": 0}
    assert document["fields"] == {"all": 63, "open": 63, "redacted": 0, "redacted_not_asked": 0}
    assert document["contents"] == {"all": 2, "delivered": 2, "withheld": 0}
    assert document["query_logged"] is True
    assert [gap["source"] for gap in document["gaps"]] == ["s0001"]


def test_segments_that_are_left_out_are_counted(tmp_path: Path) -> None:
    query = query_of(dimension="model", value="m-1", until=T0 - 3 * HOUR)
    segments = judge(Draft(world(), query), tmp_path).document["segments"]
    assert segments == {
        "all": 7,
        "searched": 1,
        "undated_only": 0,
        "left_out": 1,
        "not_searchable": 4,
        "empty": 1,
    }


def test_a_segment_searched_for_undated_records_only(tmp_path: Path) -> None:
    document = judge(Draft(world(), query_of(until=T0 - 100 * HOUR)), tmp_path).document
    assert document["segments"]["undated_only"] == 1
    assert document["hits"]["all"] == 1


@pytest.mark.parametrize("strength", ["A", "C"])
def test_withheld_records_are_counted(strength: str, tmp_path: Path) -> None:
    draft = Draft(
        world(), query_of(strength=strength), withhold={("chat0", 1): "privilege", ("chat2", 0): "secret"}
    )
    verdict = judge(draft, tmp_path)
    assert verdict.findings == []
    assert verdict.document["hits"]["withheld"] == 2


def erase_two(log: Log) -> None:
    log.erase("erase1", log.segments["chat0"], 3)
    log.erase("erase2", log.segments["chat0"], 2, basis="letter", document=b64(bytes(32)), signed=False)


@pytest.mark.parametrize(
    ("query", "edge"),
    [
        ({}, 1),
        ({"strength": "A"}, 0),
        ({"dimension": "account", "value": "account:1"}, 1),
        ({"dimension": "account", "value": "account:1", "from": T0 - 4 * HOUR}, 2),
        ({"dimension": "account", "value": "account:1", "until": T0 - 2 * HOUR}, 2),
        ({"dimension": "account", "value": "account:2"}, 0),
    ],
    ids=str,
)
def test_erased_records_stay_opaque(query: dict[str, Any], edge: int, tmp_path: Path) -> None:
    document = judge(Draft(world(more=erase_two), query_of(**query)), tmp_path).document
    assert document["findings"] == []
    assert document["hits"]["erased_edge"] == edge
    assert document["tombstones"] == {"consent": 1, "letter": 1, "order": 0, "release": 0}


def test_an_erased_entry_between_two_ranges_counts_once(tmp_path: Path) -> None:
    log = world(more=lambda log: log.erase("e", log.segments["chat0"], 0))
    draft = Draft(log, query_of(dimension="account", value="account:1", until=T0))
    assert [len(line["hits"]) for line in draft.proofs if line["at"] == log.segments["chat0"].at] == [3, 2]
    document = judge(draft, tmp_path).document
    assert document["findings"] == []
    assert document["hits"]["erased"] == 1


def release_then_erase(log: Log) -> None:
    log.release("release")
    log.erase("erase", log.segments["chat0"], 0, basis="release", signed=False)


def test_a_released_order_needs_no_consent(tmp_path: Path) -> None:
    document = judge(Draft(world(more=release_then_erase), query_of()), tmp_path).document
    assert document["findings"] == []
    assert document["released"]["signed"] is True


def test_an_order_without_authority_is_released_on_the_platforms_word(tmp_path: Path) -> None:
    document = judge(Draft(world(authority=None, more=release_then_erase), query_of()), tmp_path).document
    assert document["findings"] == []
    assert document["released"]["signed"] is False


def test_a_whole_line_may_leave_paths_empty(tmp_path: Path) -> None:
    draft = Draft(world(more=erase_two), query_of())
    for line in draft.proofs:
        for hit in line["hits"]:
            if not isinstance(hit, str):
                hit[4] = []
    assert judge(draft, tmp_path).findings == []


def test_a_long_range_goes_over_several_lines(tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of(dimension="account", value="account:1"))
    segment = log.segments["chat0"]
    index = next(i for i, line in enumerate(draft.proofs) if line["at"] == segment.at)
    whole = draft.proofs[index]
    first, count = whole["lo"] + (whole["left"] is not None), len(whole["hits"])
    tag = segment.slots[first].tag
    lines = [
        segment.line(
            "dated", first + i, first + i + 1, tag, whole["left"] is not None and i == 0, i == count - 1
        )
        for i in range(count)
    ]
    assert count > 2
    draft.proofs[index : index + 1] = lines
    assert judge(draft, tmp_path).findings == []


def test_an_older_and_a_stranger_signature_line_do_no_harm(tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of())
    draft.checkpoint = log.checkpoint(keys=[LOG6, STRANGER, LOG1])
    assert judge(draft, tmp_path).findings == []


def test_cosigners_attest_and_make_the_quorum(tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of())
    draft.checkpoint = log.checkpoint(keys=[LOG1, LOG6, WITNESS, AUTHORITY])
    draft.trust |= {"cosigners": [AUDITOR.vkey, WITNESS.vkey], "quorum": 1}
    document = judge(draft, tmp_path).document
    assert document["findings"] == []
    assert document["attested"] == "2026-01-09T23:06:40Z"
    assert document["cosigned"] == 1


def verdict_text(log: Log, labels: list[str]) -> bytes:
    segments = sorted((log.segments[label] for label in labels), key=lambda s: s.at)
    lines = [f"segment {segment.at} {b64(segment.leaf)}\n" for segment in segments]
    return f"scelle/audit/v1\norigin {ORIGIN}\n{''.join(lines)}".encode()


@pytest.mark.parametrize("auditor", [AUDITOR, WITNESS], ids=["ed25519", "cosignature"])
def test_strength_b_with_an_auditors_verdict(auditor: Any, tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of(strength="B", until=T0))
    draft.trust |= {"cosigners": [AUDITOR.vkey, WITNESS.vkey]}
    draft.members["audit/verdict"] = note(verdict_text(log, ["chat0", "chat2"]), [auditor])
    document = judge(draft, tmp_path).document
    assert document["findings"] == []
    assert document["strength"] == "B"


@pytest.mark.parametrize("which", [1, 6])
def test_a_rotation_of_a_log_key(which: int, tmp_path: Path) -> None:
    old, new = (LOG1, NEXT1) if which == 1 else (LOG6, NEXT6)
    log = world(more=lambda log: log.keys("keys", "log", new, old, len(log.entries) + 2))
    turn = len(log.entries)
    for number in range(3):
        log.segment(f"chat{5 + number}", "s0001", CHAT, [])
    draft = Draft(log, query_of())
    now = [new if key == old else key for key in (LOG1, LOG6)]
    draft.checkpoint = log.checkpoint(keys=now)
    draft.manifest_keys = [now[0]]
    draft.members[f"checkpoint.{turn}"] = log.checkpoint(turn)
    held = tmp_path / "held"
    held.write_bytes(log.checkpoint(turn - 2))
    assert judge(draft, tmp_path, "--held", held).findings == []


def test_a_rotation_that_has_not_come_yet_is_proven_by_the_checkpoint_itself(tmp_path: Path) -> None:
    log = world(more=lambda log: log.keys("keys", "log", NEXT1, LOG1, len(log.entries) + 5))
    assert judge(Draft(log, query_of()), tmp_path).findings == []


def overlapping() -> tuple[Log, int, int]:
    """Two rotations of the Ed25519 key, the second declared before the first has acted."""

    def more(log: Log) -> None:
        first = len(log.entries) + 4
        log.keys("keys", "log", NEXT1, LOG1, first)
        log.keys("keys2", "log", THIRD1, NEXT1, first + 2)

    log = world(more=more)
    for number in range(7):
        log.segment(f"chat{5 + number}", "s0001", CHAT, [])
    turn = log.labels["keys"] + 4
    return log, turn, turn + 2


@pytest.mark.parametrize(
    ("checkpoints", "codes"),
    [
        ({0: LOG1, 2: NEXT1}, set()),
        ({0: LOG1}, {"keys.no_checkpoint"}),
        ({2: NEXT1}, {"keys.no_checkpoint"}),
        ({-1: LOG1, 1: NEXT1}, set()),
        ({0: LOG1, -1: LOG1}, {"keys.no_checkpoint"}),
    ],
    ids=str,
)
def test_each_of_two_overlapping_rotations_shows_its_own_keys(
    checkpoints: dict[int, Key], codes: set[str], tmp_path: Path
) -> None:
    """A checkpoint by the keys before both lies in both windows, and shows nothing of the key between."""
    log, turn, _ = overlapping()
    draft = Draft(log, query_of())
    draft.checkpoint, draft.manifest_keys = log.checkpoint(keys=[THIRD1, LOG6]), [THIRD1]
    for after, key in checkpoints.items():
        draft.members[f"checkpoint.{turn + after}"] = log.checkpoint(turn + after, keys=[key, LOG6])
    assert judge(draft, tmp_path).codes == codes


def test_overlapping_rotations_that_are_still_to_come(tmp_path: Path) -> None:
    log, turn, second = overlapping()
    draft = Draft(log, query_of(), size=turn - 1)
    assert judge(draft, tmp_path).codes == set()
    draft = Draft(log, query_of(), size=second)
    draft.checkpoint, draft.manifest_keys = log.checkpoint(second, keys=[NEXT1, LOG6]), [NEXT1]
    assert judge(draft, tmp_path).codes == {"keys.no_checkpoint"}
    draft.members[f"checkpoint.{turn}"] = log.checkpoint(turn)
    assert judge(draft, tmp_path).codes == set()


def test_both_keys_may_rotate_at_one_size_under_one_checkpoint(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        log.keys("keys", "log", NEXT1, LOG1, len(log.entries) + 3)
        log.keys("keys2", "log", NEXT6, LOG6, len(log.entries) + 2)

    log = world(more=more)
    for number in range(4):
        log.segment(f"chat{5 + number}", "s0001", CHAT, [])
    draft = Draft(log, query_of())
    draft.checkpoint, draft.manifest_keys = log.checkpoint(keys=[NEXT1, NEXT6]), [NEXT1]
    turn = log.labels["keys"] + 3
    draft.members[f"checkpoint.{turn}"] = log.checkpoint(turn)
    assert judge(draft, tmp_path).codes == set()


def test_an_authority_key_signs_its_own_rotation(tmp_path: Path) -> None:
    other = STRANGER
    log = world(
        more=lambda log: log.keys("keys", "authority", other, AUTHORITY, len(log.entries) + 1, AUTHORITY)
    )
    segment = log.segments["chat0"]
    log.authority = other
    log.erase("erase", segment, 0)
    log.authority = AUTHORITY
    draft = Draft(log, query_of())
    draft.trust |= {"authority": [AUTHORITY.vkey, other.vkey]}
    assert judge(draft, tmp_path).findings == []


def test_a_held_checkpoint_and_the_trust_files_are_prefixes(tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of())
    draft.trust |= {"held": {"root": b64(log.root(3)), "size": 3}}
    held = tmp_path / "held"
    held.write_bytes(log.checkpoint(5))
    assert judge(draft, tmp_path, "--held", held).findings == []


def test_a_source_is_closed_by_its_end_or_fresh_enough(tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of(dimension="account", value="account:1"))
    draft.checkpoint = log.checkpoint(keys=[LOG1, LOG6, WITNESS], time=T0 // 10**6 + 4 * 3600)
    draft.trust |= {"cosigners": [WITNESS.vkey]}
    assert judge(draft, tmp_path).findings == []


def test_times_at_the_ends_of_the_range_of_times(tmp_path: Path) -> None:
    records = [chat(0, -(2**63) + 1, "account:1", "first"), chat(1, 2**63 - 1, "account:1", "last")]
    records.append(chat(2, UNDATED, "account:1", "undated"))
    for query in ({}, {"until": -(2**63) + 2}, {"from": 2**63 - 1}, {"strength": "A"}):
        assert judge(Draft(world(records=records), query_of(**query)), tmp_path).findings == []


def test_more_than_one_bundle_of_entries(tmp_path: Path) -> None:
    def many(log: Log) -> None:
        for number in range(600):
            log.add(
                f"gap{number}",
                log.entries[log.labels["gap"]].decode().replace("interval 1768", "interval 17"),
            )

    document = judge(Draft(world(more=many), query_of()), tmp_path).document
    assert document["findings"] == []
    assert document["size"] > 512


def test_extra_members_that_are_allowed(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.members |= {"loadfile/list.csv": b"a,b\r\n", "tokens/1.tsr": b"token"}
    document = judge(draft, tmp_path).document
    assert document["findings"] == []
    assert document["tokens"] == ["tokens/1.tsr"]
    assert document["loadfile"] == ["loadfile/list.csv"]
