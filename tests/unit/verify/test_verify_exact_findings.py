"""Exactly these findings and no other: what one fault provokes, where it stands, and that the rest is still read."""

from collections.abc import Callable
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
    ORIGIN,
    PICTURE,
    T0,
    UNDATED,
    WITNESS,
    Draft,
    Log,
    Schema,
    b64,
    canonical,
    chat,
    checkpoint_text,
    content_of,
    note,
    query_of,
    record,
    sha,
    tag_of,
    value,
    world,
    zip_of,
)
from tests.unit.verify.harness import files, judge, run
from tests.unit.verify.test_verify_archives import members_of
from tests.unit.verify.test_verify_command import judge_promise, promise
from tests.unit.verify.test_verify_forged_answers import line_of, near_tags, record_of

from scelle.verify import scelle_verify

ACCOUNT = {"dimension": "account", "value": "account:1"}
PERIOD = ACCOUNT | {"from": T0 - 4 * HOUR, "until": T0}
Edit = Callable[[Draft], None]


def places(draft: Draft, folder: Path) -> list[tuple[str, str]]:
    """Return code and place of each finding, in the order of the steps."""
    return [(f["code"], f["subject"]) for f in judge(draft, folder).document["findings"]]


def draft_of(query: dict[str, Any] | None = None, **first: Any) -> Draft:
    return Draft(world(**first), query_of(**(query or {})))


# -- members and MANIFEST ---------------------------------------------------------------------------------


def test_a_manifest_of_a_wrong_crc_is_said_once(tmp_path: Path) -> None:
    draft = draft_of()

    def edit(data: bytes) -> bytes:
        crc = data[14:18]
        assert data.count(crc) == 2
        return data.replace(crc, b"\1\2\3\4")

    draft.raw_edit = edit
    assert [place for place in places(draft, tmp_path) if place[0] == "zip.crc"] == [("zip.crc", "MANIFEST")]


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda t: t.replace(b"package/v1\n", b"package/v1\tand more\n"), "manifest.format"),
        (lambda t: t.replace(b"\nsize 12", b"\nsize 012"), "format.number"),
        (lambda t: t.replace(b"origin p", b"origin q"), "manifest.head"),
        (lambda t: t.replace(b"\nsize 12", b"\nsize 11"), "manifest.head"),
    ],
)
def test_a_fault_of_the_manifest_stands_under_its_name(edit: Any, found: str, tmp_path: Path) -> None:
    draft = draft_of()
    draft.manifest_edit = edit
    assert (found, "MANIFEST") in places(draft, tmp_path)


def test_an_unsigned_manifest_stands_under_its_name(tmp_path: Path) -> None:
    draft = draft_of()
    draft.manifest_keys = []
    assert places(draft, tmp_path) == [("manifest.signature_missing", "MANIFEST")]


def test_a_manifest_that_is_no_note_is_not_checked(tmp_path: Path) -> None:
    draft = draft_of()
    draft.raw_edit = lambda data: zip_of([("MANIFEST", b"x"), *members_of(data)[1:]])
    found = [place for place in places(draft, tmp_path) if place[0] != "manifest.not_listed"]
    assert found == [("note.format", "MANIFEST"), ("manifest.unchecked", "MANIFEST")]


def of_every_kind() -> Draft:
    """An honest package with a member of every kind."""
    log = world(more=lambda log: log.keys("keys", "log", NEXT1, LOG1, len(log.entries) + 2))
    for number in range(3):
        log.segment(f"chat{5 + number}", "s0001", CHAT, [])
    draft = Draft(log, query_of())
    draft.checkpoint, draft.manifest_keys = log.checkpoint(keys=[NEXT1, LOG6]), [NEXT1]
    draft.trust |= {"cosigners": [AUDITOR.vkey]}
    segment = log.segments["chat0"]
    verdict = f"scelle/audit/v1\norigin {ORIGIN}\nsegment {segment.at} {b64(segment.leaf)}\n"
    draft.members |= {
        "audit/verdict": note(verdict.encode(), [AUDITOR]),
        "checkpoint.14": log.checkpoint(14),
        "loadfile/list.csv": b"",
        "tokens/1.tsr": b"token",
    }
    return draft


def test_honest_members_of_every_kind(tmp_path: Path) -> None:
    assert places(of_every_kind(), tmp_path) == []


@pytest.mark.parametrize("name", ["audit/verdicts", "audit", "loadfiles/x", "token/1.tsr", "checkpoints"])
def test_no_member_of_another_kind(name: str, tmp_path: Path) -> None:
    draft = of_every_kind()
    draft.members[name] = b""
    assert places(draft, tmp_path) == [("member.unknown", name)]


# -- trust and query --------------------------------------------------------------------------------------


def test_a_fault_of_the_policy_says_whose_it_is(tmp_path: Path) -> None:
    draft = draft_of()
    policy = {key: val for key, val in draft.trust.items() if key not in ("tagkey", "held")}
    draft.members["policy.json"] = canonical(policy | {"held": None}) + b"\n"
    assert judge(draft, tmp_path).findings == ["json.keys | policy.json | policy: unknown key held"]


def test_a_query_formatted_by_hand_is_told_what_to_give(tmp_path: Path) -> None:
    verdict = judge(draft_of(), tmp_path, query=canonical(query_of()))
    assert verdict.findings == [
        "json.canonical | --query | document does not end in LF; --query takes the authority's query.json "
        "byte for byte, not one formatted by hand"
    ]


# -- keys and checkpoints ---------------------------------------------------------------------------------


def test_a_key_that_was_retired_twice_is_retired_from_the_earlier_size(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        start = len(log.entries)
        log.keys("keys", "authority", None, AUTHORITY, start + 2, AUTHORITY)
        log.keys("keys2", "authority", None, AUTHORITY, start + 99, AUTHORITY)
        log.erase("erase", log.segments["chat0"], 0)

    assert ("consent.signature", "entry 14") in places(draft_of(more=more), tmp_path)


def rotated(start: int = 2, later: int = 3) -> Draft:
    """A rotation of the Ed25519 key in entry 12, from size 12 + start on."""
    log = world(more=lambda log: log.keys("keys", "log", NEXT1, LOG1, len(log.entries) + start))
    for number in range(later):
        log.segment(f"chat{5 + number}", "s0001", CHAT, [])
    draft = Draft(log, query_of())
    if len(log.entries) > 12 + start:
        draft.checkpoint, draft.manifest_keys = log.checkpoint(keys=[NEXT1, LOG6]), [NEXT1]
    return draft


def test_keys_act_above_the_size_of_their_rotation(tmp_path: Path) -> None:
    for size, keys, found in (
        (13, (LOG1, LOG6), []),
        (14, (LOG1, LOG6), []),
        (14, (NEXT1, LOG6), ["checkpoint.signature_missing", "keys.no_checkpoint"]),
    ):
        draft = rotated()
        draft.members[f"checkpoint.{size}"] = draft.log.checkpoint(size, keys)
        assert [code for code, _ in places(draft, tmp_path)] == found


def test_a_faulty_checkpoint_shows_no_keys(tmp_path: Path) -> None:
    """Neither a wrong root under good signatures nor a good root under a wrong one proves a rotation."""
    for data, code in (
        (note(checkpoint_text(13, bytes(32)), [LOG1, LOG6]), "checkpoint.root"),
        (rotated().log.checkpoint(13, [LOG6]), "checkpoint.signature_missing"),
    ):
        draft = rotated()
        draft.members["checkpoint.13"] = data
        assert places(draft, tmp_path) == [(code, "checkpoint.13"), ("keys.no_checkpoint", "entry 12")]


def test_an_older_checkpoint_bears_its_size(tmp_path: Path) -> None:
    draft = rotated()
    draft.members["checkpoint.99"] = draft.log.checkpoint(13)
    assert places(draft, tmp_path) == [("member.unknown", "checkpoint.99")]
    draft = rotated(start=20, later=0)
    draft.members["checkpoint.13"] = draft.log.checkpoint()
    assert places(draft, tmp_path) == [("member.unknown", "checkpoint.13")]


def test_without_keys_no_checkpoint_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("boom")

    arguments = files(draft_of(), tmp_path)
    monkeypatch.setattr(scelle_verify.Examination, "step_4_keys", explode)
    found = [(f["code"], f["subject"]) for f in run(arguments).document["findings"]]
    assert found == [("verifier.exception", "explode"), ("checkpoint.unchecked", "step_5_checkpoints")]


def test_without_any_keys_neither_verdict_nor_promise_is_checked(tmp_path: Path) -> None:
    draft = draft_of()
    draft.removed.add("policy.json")
    draft.members["audit/verdict"] = b"no note"
    given = tmp_path / "promise"
    given.write_bytes(promise(draft.log))
    findings = run([files(draft, tmp_path)[0], "--promise", given]).document["findings"]
    assert [(f["code"], f["subject"], f["detail"]) for f in findings if f["code"].endswith("_missing")] == [
        ("audit.signature_missing", "step_12_audit", "no keys to check it with"),
        ("promise.signature_missing", f"promise {given}", "no keys to check it with"),
    ]


# -- the log ----------------------------------------------------------------------------------------------


def test_a_missing_schema_names_the_first_entry_that_needs_it(tmp_path: Path) -> None:
    draft = draft_of({"value": "s0002"})
    name = f"schemas/{CHAT.digest.hex()}.json"
    draft.removed.add(name)
    assert judge(draft, tmp_path).findings == [f"schema.missing | {name} | schema missing, of entry 3"]


def in_entry(label: str, old: str, new: str) -> dict[str, Callable[[str], str]]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return {label: edit}


MANIFESTS: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "an empty watermark",
        in_entry("login0", f"watermark {T0} {T0 + 2 * HOUR}", f"watermark {T0} {T0}"),
        ["segment.watermark | entry 5 | watermark is empty"],
    ),
    (
        "bounds where nothing is dated",
        in_entry("login0", "undated 0", "undated 5"),
        ["segment.time | entry 5 | bounds are `- -` where nothing is dated"],
    ),
]


@pytest.mark.parametrize(
    ("edits", "found"), [row[1:] for row in MANIFESTS], ids=[row[0] for row in MANIFESTS]
)
def test_one_fault_of_a_manifest_is_one_finding(
    edits: dict[str, Any], found: list[str], tmp_path: Path
) -> None:
    assert judge(Draft(world(edits), query_of(value="s0004")), tmp_path).findings == found


def test_one_time_bound_is_none(tmp_path: Path) -> None:
    log = world()
    first = log.entries[5].decode().split("\n")[6].split(" ")[1]
    for new in (f"time {first} -", f"time - {first}"):
        edits = in_entry("login0", log.entries[5].decode().split("\n")[6], new)
        assert judge(Draft(world(edits), query_of(value="s0004")), tmp_path).findings == [
            "segment.time | entry 5 | bounds are `- -` where nothing is dated",
            "segment.time | entry 5 | one time bound is missing",
        ]


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_tombstone_in_an_index_that_has_no_blocks(blocks: int, tmp_path: Path) -> None:
    """22 entries of 7 records are no three blocks, nor one."""

    def more(log: Log) -> None:
        segment = log.segments["chat0"]
        log.erase("erase", segment, 0, places=segment.places(0)[:blocks])

    log = world(in_entry("chat0", "index-size 21", "index-size 22"), more=more)
    found = judge(Draft(log, query_of(value="s0002")), tmp_path).findings
    assert found == [
        "segment.index_size | entry 3 | index-size is not N x D",
        "tombstone.positions | entry 12 | not one index position in each block, ascending",
    ]


def test_an_entry_that_cannot_be_read_has_no_anchor(tmp_path: Path) -> None:
    draft = draft_of(edits=in_entry("count", "scelle/count/v1", "scelle/count/v2"))
    draft.members["tokens/1.tsr"] = b"token"
    assert places(draft, tmp_path) == [("entry.kind", "entry 10")]


# -- lines and proofs -------------------------------------------------------------------------------------


def test_a_line_of_entry_0_is_a_line_like_another(tmp_path: Path) -> None:
    asked = [("range.not_asked", "proofs.jsonl line 1")]
    for line in ({"at": 0, "whole": True}, dict(line_of(draft_of()), at=0)):
        draft = draft_of()
        draft.proofs.insert(0, line)
        assert places(draft, tmp_path) == asked
    draft = draft_of()
    draft.records.insert(0, dict(record_of(draft), at=0, item={}))
    draft.withheld.insert(0, {"at": 0, "code": "x", "field": None, "pos": 0})
    assert places(draft, tmp_path) == [
        ("lines.no_hit", "records.jsonl line 1"),
        ("lines.no_hit", "withheld.jsonl line 1"),
    ]


def test_a_place_twice_is_not_also_unsorted(tmp_path: Path) -> None:
    draft = draft_of({"redact": {"text": "privacy"}})
    draft.withheld.append(dict(draft.withheld[0]))
    assert places(draft, tmp_path) == [("lines.twice", "withheld.jsonl line 3")]


def test_behind_a_line_that_was_not_asked_for_the_answer_goes_on(tmp_path: Path) -> None:
    draft = draft_of()
    draft.proofs.insert(0, {"at": 3, "whole": True})
    assert judge(draft, tmp_path).findings == [
        "range.not_asked | proofs.jsonl line 1 (entry 3) | whole is not asked for here"
    ]
    draft = draft_of({"strength": "A"})
    draft.proofs.insert(1, line_of(draft_of()))
    assert judge(draft, tmp_path).findings == [
        "range.not_asked | proofs.jsonl line 2 (entry 3) | dated is not asked for here"
    ]


def test_a_missing_range_says_which(tmp_path: Path) -> None:
    for name, said in (
        ("dated", "segment has no proof line (dated)"),
        ("undated", "undated > 0 and no undated range (undated)"),
    ):
        draft = draft_of(PERIOD)
        draft.proofs.remove(line_of(draft, name=name))
        found = [line for line in judge(draft, tmp_path).findings if line.startswith("range.missing")]
        assert found == [f"range.missing | entry 3 | {said}"]


def test_the_last_range_ends_at_a_neighbour_too(tmp_path: Path) -> None:
    draft = draft_of()
    line_of(draft).update(
        draft.log.segments["chat0"].line("dated", 0, 6, tag_of("source", "s0001"), False, False)
    )
    draft.records = [r for r in draft.records if (r["at"], r["pos"]) != (3, 6)]
    assert places(draft, tmp_path) == [("range.no_right", "entry 3 (dated)")]


def test_a_range_over_several_lines(tmp_path: Path) -> None:
    draft = draft_of()
    segment, line = draft.log.segments["chat0"], line_of(draft)
    tag, index = tag_of("source", "s0001"), draft.proofs.index(line)
    lines = [segment.line("dated", i, min(i + 3, 7), tag, False, False) for i in (0, 3, 6)]
    draft.proofs[index : index + 1] = lines
    assert places(draft, tmp_path) == []


def test_a_time_beyond_the_bounds_stands_where_it_is_shown(tmp_path: Path) -> None:
    hour = T0 // HOUR * HOUR
    draft = draft_of(bounds=(hour - 5 * HOUR, hour - HOUR))
    assert set(places(draft, tmp_path)) == {("segment.bounds", "proofs.jsonl line 1 (entry 3)")}


def test_the_first_of_two_ranges_ends_at_a_neighbour_too(tmp_path: Path) -> None:
    draft = draft_of(PERIOD)
    segment, line = draft.log.segments["chat0"], line_of(draft)
    first = line["lo"] + (line["left"] is not None)
    tag = tag_of("account", "account:1")
    line |= segment.line("dated", first, first + len(line["hits"]), tag, line["left"] is not None, False)
    assert judge(draft, tmp_path).findings == [
        "range.no_right | entry 3 (dated) | no right neighbour although the range does not end at the block's end"
    ]


def test_a_proof_that_leads_elsewhere_says_no_more(tmp_path: Path) -> None:
    draft = draft_of(ACCOUNT)
    line = line_of(draft)
    line["proof"] = [sha(b"x").hex(), *line["proof"][1:]]
    assert judge(draft, tmp_path).findings == [
        "range.root | proofs.jsonl line 2 (entry 3) | range root is not index-root"
    ]
    line["proof"] = line["proof"][:-1]
    assert judge(draft, tmp_path).findings == [
        "range.root | proofs.jsonl line 2 (entry 3) | range root is not index-root: proof is too short"
    ]


def test_the_sequence_number_after_the_last_is_of_no_segment(tmp_path: Path) -> None:
    draft = draft_of()
    line_of(draft)["hits"][0][2] = 7
    assert ("hit.seq", "proofs.jsonl line 1 (entry 3)") in places(draft, tmp_path)


def test_two_undated_hits_where_one_is_declared(tmp_path: Path) -> None:
    records = [chat(i, UNDATED, "account:1", str(i)) for i in range(2)] + [chat(2, T0, "account:1", "c")]
    draft = draft_of(records=records, undated=1)
    assert places(draft, tmp_path) == [("segment.undated", "entry 3")]


def test_a_hit_at_the_very_end_of_the_window(tmp_path: Path) -> None:
    """The record of T0 - 3 h - 7 us is asked for until one microsecond later, and not until then."""
    until = T0 - 3 * HOUR - 7
    draft = draft_of({"until": until + 1})
    assert places(draft, tmp_path) == []
    draft.query = query_of(until=until)
    found = judge(draft, tmp_path).findings
    assert found == ["range.outside | proofs.jsonl line 1 (entry 3) | hit outside the range: seq 3"]


def test_one_record_at_two_positions(tmp_path: Path) -> None:
    log = world(edit_index=lambda slots: [slots[0], slots[0], *slots[2:]])
    draft = Draft(log, query_of())
    found = [code for code, _ in places(draft, tmp_path) if code.startswith("range")]
    assert found == ["range.order", "range.twice"]


@pytest.mark.parametrize(
    ("length", "codes"),
    [
        (1, ["neighbour.prefix", "neighbour.order"]),
        (2, []),
        (16, ["neighbour.prefix"]),
    ],
)
def test_a_left_neighbour_that_shares_a_byte_takes_two(length: int, codes: list[str], tmp_path: Path) -> None:
    close, name, far = near_tags()
    records = [chat(0, T0, name, "a"), chat(1, T0, close, "b"), chat(2, T0, far, "c")]
    draft = draft_of({"dimension": "account", "value": name}, records=records)
    line, segment = line_of(draft), draft.log.segments["chat0"]
    slot = segment.slots[line["lo"]]
    assert line["left"] == [slot.tag[:2].hex(), slot.u3.hex()]
    line["left"] = [slot.tag[:length].hex(), {1: slot.u2, 2: slot.u3, 16: slot.inner}[length].hex()]
    assert [code for code, _ in places(draft, tmp_path)] == codes


def test_an_opaque_hit_without_tombstone_where_all_paths_are_empty(tmp_path: Path) -> None:
    draft = draft_of()
    segment, line = draft.log.segments["chat0"], line_of(draft)
    for hit in line["hits"]:
        hit[4] = []
    line["hits"][2] = segment.leaves[2].hex()
    draft.records = [r for r in draft.records if (r["at"], r["pos"]) != (3, 2)]
    where = "proofs.jsonl line 1 (entry 3)"
    assert places(draft, tmp_path) == [("tombstone.missing", where), ("hit.record_root", where)]


# -- records ----------------------------------------------------------------------------------------------


def test_behind_a_line_without_a_hit_the_records_go_on(tmp_path: Path) -> None:
    draft = draft_of(ACCOUNT)
    draft.withheld.insert(0, {"at": 3, "code": "x", "field": None, "pos": 0})
    assert places(draft, tmp_path) == [("lines.no_hit", "withheld.jsonl line 1")]


def test_behind_a_withholding_of_the_erased_the_records_go_on(tmp_path: Path) -> None:
    draft = draft_of(more=lambda log: log.erase("erase", log.segments["chat0"], 0))
    line = line_of(draft)
    place = next(i for i, hit in enumerate(line["hits"]) if isinstance(hit, str))
    assert place < 6
    draft.withheld.append({"at": 3, "code": "x", "field": None, "pos": place})
    assert places(draft, tmp_path) == [("withheld.erased", f"entry 3 position {place}")]


def test_a_part_of_a_record_that_is_withheld_whole(tmp_path: Path) -> None:
    draft = draft_of()
    draft.records.remove(record_of(draft))
    for field in (None, "text"):
        draft.withheld.append({"at": 3, "code": "x", "field": field, "pos": 0})
    assert places(draft, tmp_path) == [("withheld.part", "entry 3 position 0")]


def test_a_profile_that_is_none(tmp_path: Path) -> None:
    for profile in (2, -1):
        draft = draft_of()
        record_of(draft)["p"] = profile
        assert ("format.number", "records.jsonl line 1") in places(draft, tmp_path)


def test_the_chunks_of_a_document_name_no_item(tmp_path: Path) -> None:
    document = judge(draft_of({"value": "scelle.order"}), tmp_path).document
    assert document["findings"] == []
    assert document["contents"] == {"all": 1, "delivered": 1, "withheld": 0}


def test_a_fault_of_a_record_names_its_line_and_its_place(tmp_path: Path) -> None:
    draft = draft_of()
    record_of(draft, number=1)["p"] = 0
    record_of(draft, number=1).update(k="00" * 16, v=b64(bytes(2)))
    found = [f for f in judge(draft, tmp_path).findings if f.startswith("record.profile")]
    assert found == [
        "record.profile | records.jsonl line 2 (entry 3 position 1) | profile is not that of the manifest"
    ]


def test_a_fault_of_a_withholding_names_its_line(tmp_path: Path) -> None:
    draft = Draft(world(), query_of(strength="A"), withhold={("chat0", 1): "a", ("chat0", 2): "b"})
    draft.withheld[1]["rc"] = "00"
    assert ("format.width", "withheld.jsonl line 2") in places(draft, tmp_path)


def test_a_closed_key_is_called_by_its_name(tmp_path: Path) -> None:
    draft = draft_of()
    line = record_of(draft)
    entry = draft.log.segments["chat0"].slots[line["pos"]].record
    line["v"][0], line["v"][1] = entry.field_leaf(0).hex(), entry.field_leaf(1).hex()
    found = [f for f in judge(draft, tmp_path).findings if f.startswith("record.key_redacted")]
    assert found == [
        "record.key_redacted | records.jsonl line 1 (entry 3 position 0) | key field redacted: ['time', 'seq']"
    ]


def test_a_content_that_claims_more_than_any_file(tmp_path: Path) -> None:
    """The size is a number of 64 bits, and all of them count."""
    huge = chat(0, T0, "account:1", "a", picture=PICTURE)
    size = value("h", (sha(PICTURE), len(PICTURE) + 2**56))
    huge = type(huge)(huge.key, T0, 0, (*huge.values[:5], size, huge.values[6]))
    found = judge(draft_of(records=[huge]), tmp_path).findings
    assert [line for line in found if "item" in line] == found
    assert len(found) == 1
    assert found[0].startswith("item.differs | ")


PAIR = Schema(
    "pair",
    ("source", "account"),
    (("time", "t"), ("seq", "i"), ("account", "s"), ("left", "h"), ("right", "h")),
)


def test_one_production_number_for_two_contents_of_a_record(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        log.items |= {sha(b"left"): b"left", sha(b"right"): b"right"}
        values = value("s", "account:1"), content_of(b"left"), content_of(b"right")
        log.segment("pair", "s0007", PAIR, [record("pair", T0, 0, *values)])

    draft = draft_of({"value": "s0007"}, more=more)
    assert places(draft, tmp_path) == []
    draft.records[0]["item"]["right"] = "items/T-0000001.png"
    draft.items["items/T-0000001.png"] = draft.items.pop("items/T-0000002.bin")
    where = "records.jsonl (entry 12 position 0)"
    assert places(draft, tmp_path) == [("item.order", where)]


# -- an audit ---------------------------------------------------------------------------------------------


def audited(lines: list[str]) -> Draft:
    draft = draft_of()
    text = f"scelle/audit/v1\norigin {ORIGIN}\n" + "".join(f"{line}\n" for line in lines)
    draft.members["audit/verdict"] = note(text.encode(), [AUDITOR])
    draft.trust |= {"cosigners": [AUDITOR.vkey]}
    return draft


def segment_line(label: str) -> str:
    segment = world().segments[label]
    return f"segment {segment.at} {b64(segment.leaf)}"


FIRST, SECOND = segment_line("order"), segment_line("chat0")
assert FIRST.startswith("segment 1 ")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([FIRST, SECOND], None),
        ([FIRST], None),
        ([], None),
        ([SECOND, SECOND], "audit.format"),
        ([SECOND, FIRST], "audit.format"),
        ([f"segment 0 {b64(bytes(32))}"], "audit.segment"),
        ([f"segment 3 {b64(bytes(31))}"], "format.width"),
        ([SECOND.replace("3 ", "3 x ")], "format.base64"),
        ([SECOND.replace("segment", "segments")], "audit.format"),
    ],
)
def test_the_lines_of_a_verdict(lines: list[str], code: str | None, tmp_path: Path) -> None:
    assert places(audited(lines), tmp_path) == ([(code, "audit/verdict")] if code else [])


# -- promises ---------------------------------------------------------------------------------------------


def attested(draft: Draft, time: int = T0) -> Draft:
    draft.checkpoint = draft.log.checkpoint(draft.size, keys=[LOG1, LOG6, WITNESS], time=time // 10**6)
    draft.trust |= {"cosigners": [WITNESS.vkey]}
    return draft


def said(draft: Draft, folder: Path, *promises: bytes) -> list[str]:
    """Return what is said of promises that provoke no finding."""
    verdict = judge_promise(draft, folder, *promises)
    assert verdict.findings == []
    return list(verdict.document["promises"])


def test_what_is_said_of_a_promise(tmp_path: Path) -> None:
    log = world()
    undecided = "undecided: not every record of the batch was shown"
    sealed = "sealed as promised; the time is undecided without a cosigner"
    assert said(draft_of(), tmp_path, promise(log)) == [f"s0001 [0, 3): {sealed}"]
    assert said(draft_of(), tmp_path, promise(log, 7, 10)) == [f"s0001 [7, 10): {undecided}"]
    assert said(draft_of(), tmp_path, promise(log, source="s0099")) == [f"s0099 [0, 3): {undecided}"]
    for deadline, state in ((T0, "kept"), (T0 - 1, "sealed; attested after the deadline")):
        given = promise(log, deadline=str(deadline))
        assert said(attested(draft_of()), tmp_path, given) == [f"s0001 [0, 3): {state}"]


def test_a_promise_that_is_absent_at_its_deadline_and_after_it(tmp_path: Path) -> None:
    log = world()
    undecided = ["s0001 [7, 10): undecided: not every record of the batch was shown"]
    assert said(attested(draft_of()), tmp_path, promise(log, 7, 10, deadline=str(T0))) == undecided
    verdict = judge_promise(attested(draft_of()), tmp_path, promise(log, 7, 10, deadline=str(T0 - 1)))
    assert verdict.codes == {"promise.broken"}


def test_what_is_sealed_and_not_shown_is_not_broken(tmp_path: Path) -> None:
    """The segments of s0001 reach sequence number 9; another source was asked for."""
    log, draft = world(), attested(draft_of({"value": "s0002"}))
    given = promise(log, 5, 9, deadline=str(T0 - 1))
    assert said(draft, tmp_path, given) == [
        "s0001 [5, 9): undecided: not every record of the batch was shown"
    ]
    given = promise(log, 5, 10, deadline=str(T0 - 1))
    assert judge_promise(draft, tmp_path, given).codes == {"promise.broken"}


def test_a_promise_is_kept_under_a_checkpoint_that_ends_where_it_does(tmp_path: Path) -> None:
    log, held, given = world(), tmp_path / "held", tmp_path / "promise"
    at = log.segments["chat0"].at
    held.write_bytes(log.checkpoint(at + 1, keys=[LOG1, LOG6, WITNESS]))
    given.write_bytes(promise(log, 0, 7))
    draft = draft_of()
    draft.trust |= {"cosigners": [WITNESS.vkey]}
    document = judge(draft, tmp_path, "--held", held, "--promise", given).document
    assert document["findings"] == []
    assert document["promises"] == ["s0001 [0, 7): kept"]


def test_promises_side_by_side_and_over_each_other(tmp_path: Path) -> None:
    log = world()
    for promises in ([promise(log, 3, 4), promise(log, 0, 3)], [promise(log, 0, 3), promise(log, 3, 4)]):
        assert judge_promise(draft_of(), tmp_path, *promises).findings == []
    found = judge_promise(draft_of(), tmp_path, promise(log, 0, 3), promise(log, 2, 4)).findings
    both = f"promises {tmp_path / 'promise0'} and {tmp_path / 'promise1'}"
    assert found == [f"promise.broken | {both} | two promises for the same places with different roots"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"genesis": b64(bytes(31))}, "format.width"),
        ({"batch_root": b64(bytes(31))}, "format.width"),
        ({"batch": "0g" * 16}, "format.hex"),
    ],
)
def test_a_promise_of_another_width(changes: dict[str, Any], code: str, tmp_path: Path) -> None:
    assert judge_promise(draft_of(), tmp_path, promise(world(), **changes)).codes == {code}


def test_a_promise_of_strange_bytes(tmp_path: Path) -> None:
    text = promise(world(), keys=[])[:-1].replace(b"origin p", b"origin \xff")
    assert judge_promise(draft_of(), tmp_path, note(text, [LOG1])).codes == {"promise.format"}
