"""A log whose holder breaks a rule of §4, §5 or §8; hashes are rebuilt, his signatures made again."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.verify.builder import (
    AUDITOR,
    AUTHORITY,
    CHAT,
    DOCUMENT,
    HOUR,
    LOG1,
    LOG6,
    LOGIN,
    NEXT1,
    NEXT6,
    ORDER,
    ORIGIN,
    STRANGER,
    T0,
    THIRD1,
    UNDATED,
    WITNESS,
    Draft,
    Log,
    b64,
    canonical,
    chat,
    checkpoint_text,
    document,
    login,
    make_key,
    note,
    query_of,
    root_of,
    sha,
    world,
)
from tests.unit.verify.harness import files, judge, run_text


def swap(old: str, new: str) -> Callable[[str], str]:
    """Return an edit that changes one line; an edit that changes nothing is a broken test."""

    def edit(text: str) -> str:
        changed = re.sub(old, new, text, count=1, flags=re.MULTILINE)
        assert changed != text
        return changed

    return edit


Z = b64(bytes(32))
MANIFEST_EDITS: list[tuple[str, str, Callable[[str], str], str]] = [
    ("number skipped", "chat1", swap("^number 1", "number 2"), "segment.number"),
    ("number starts at 1", "chat0", swap("^number 0", "number 1"), "segment.number"),
    ("seq with a gap", "chat2", swap("^seq 7 9", "seq 8 10"), "segment.seq"),
    ("seq too long", "chat0", swap("^seq 0 7", "seq 0 8"), "segment.seq"),
    ("only seq is not 0", "family1", swap("^seq 0 1", "seq 1 2"), "segment.seq"),
    ("first seq is not 0", "chat0", swap("^seq 0 7", "seq 1 8"), "segment.seq"),
    ("prev is another", "chat1", swap("^prev .*", f"prev {Z}"), "segment.prev"),
    ("prev left out", "chat1", swap("^prev .*", "prev -"), "segment.prev"),
    ("first has a prev", "chat0", swap("^prev -", f"prev {Z}"), "segment.prev"),
    ("watermark overlaps", "chat1", swap(r"^watermark \d+", f"watermark {T0 + 1}"), "segment.watermark"),
    ("watermark empty", "chat0", swap("^watermark .*", f"watermark {T0} {T0}"), "segment.watermark"),
    ("watermark backwards", "chat2", swap(r"(watermark \d+) \d+", r"\1 5"), "segment.watermark"),
    ("position not repeated", "chat1", swap(r"^position \S+", f"position {Z}"), "segment.position"),
    ("position not repeated as -", "chat1", swap(r"^position \S+", "position -"), "segment.position"),
    ("first has a position before it", "chat0", swap(r"^position -", f"position {Z}"), "segment.position"),
    (
        "bounds narrower at the end",
        "chat0",
        swap(r"^(time \S+) \d+", rf"\1 {T0 // HOUR * HOUR - HOUR}"),
        "segment.bounds",
    ),
    (
        "bounds narrower at the start",
        "chat0",
        swap(r"^time \S+", f"time {T0 // HOUR * HOUR - HOUR}"),
        "segment.bounds",
    ),
    ("bounds not whole hours", "chat0", swap(r"^(time \S+) \d+", rf"\1 {T0 + 5 * HOUR}"), "segment.time"),
    ("bounds missing", "chat0", swap(r"^time .*", "time - -"), "segment.time"),
    ("one bound missing", "chat0", swap(r"^time \S+", "time -"), "segment.time"),
    ("bounds where nothing is dated", "chat1", swap(r"^time .*", "time 0 0"), "segment.time"),
    ("bounds the wrong way", "chat0", swap(r"^time (\S+) (\S+)", r"time \2 \1"), "segment.time"),
    ("fewer undated declared", "chat0", swap("^undated 1", "undated 0"), "segment.undated"),
    ("more undated than records", "chat0", swap("^undated 1", "undated 8"), "segment.undated"),
    ("schema changed", "chat1", swap("^schema .*", f"schema {b64(LOGIN.digest)}"), "segment.schema"),
    ("profile changed", "chat1", swap("^profile 1", "profile 0"), "segment.schema"),
    ("index-size", "chat0", swap("^index-size 21", "index-size 22"), "segment.index_size"),
    ("empty segment with a root", "chat1", swap("^record-root .*", f"record-root {Z}"), "segment.empty"),
    ("empty segment with an index", "chat1", swap("^index-size 0", "index-size 1"), "segment.empty"),
    ("another order", "chat1", swap("^order .*", "order o-2"), "entry.order"),
    ("record-root", "chat0", swap("^record-root .*", f"record-root {Z}"), "hit.record_root"),
    ("index-root", "chat0", swap("^index-root .*", f"index-root {Z}"), "range.root"),
    ("profile of the answer", "chat0", swap("^profile 1", "profile 0"), "record.profile"),
    ("unknown schema", "chat0", swap("^schema .*", f"schema {Z}"), "schema.missing"),
    ("host", "genesis", swap("^host .*", "host other.example"), "genesis.origin"),
    ("tag key", "genesis", swap("^tagkey-sha256 .*", f"tagkey-sha256 {Z}"), "genesis.tagkey"),
    ("authority left out", "genesis", swap("^authority .*", "authority -"), "genesis.authority"),
    (
        "another authority",
        "genesis",
        swap("^authority .*", f"authority {STRANGER.vkey}"),
        "genesis.authority",
    ),
    ("an earlier log", "genesis", swap("^prev-log -", f"prev-log {ORIGIN} 5 {Z}"), "genesis.prev_log"),
    ("closes nothing", "gap", swap("^closes -", "closes 3"), "gap.closes"),
    ("closes what is to come", "gap", swap("^closes -", "closes 99"), "gap.closes"),
    ("gap backwards", "gap", swap(r"^interval (\S+) -", r"interval \1 7"), "gap.interval"),
    ("count backwards", "count", swap(r"^interval (\S+) \S+", r"interval \1 7"), "count.interval"),
    ("end after another number", "end", swap("^after 0", "after 1"), "source.end"),
    ("end after nothing", "end", swap("^after 0", "after -"), "source.end"),
]
ENTRY_FORMS: list[tuple[str, str, Callable[[str], str], str]] = [
    ("unknown kind", "count", swap("^scelle/count/v1", "scelle/count/v2"), "entry.kind"),
    ("unknown key", "count", swap("^offered", "offers"), "entry.keys"),
    ("a key twice", "count", swap(r"\Z", "lost 0\n"), "entry.keys"),
    ("a key missing", "count", swap(r"^lost 0\n", ""), "entry.keys"),
    ("keys in another order", "count", swap(r"(failed 0\n)(excluded 0\n)", r"\2\1"), "entry.keys"),
    ("two blanks", "count", swap("^offered ", "offered  "), "entry.keys"),
    ("a trailing blank", "count", swap("^offered 9", "offered 9 "), "entry.keys"),
    ("no LF at the end", "count", swap("system chat-db\n", "system chat-db"), "entry.format"),
    ("CR LF", "count", swap("\n", "\r\n"), "entry.kind"),
    ("not ASCII", "count", swap("chat-db", "chat-d\u00e9"), "entry.format"),
    ("leading zero", "count", swap("^offered 9", "offered 09"), "format.number"),
    ("plus sign", "count", swap("^offered 9", "offered +9"), "format.number"),
    ("minus zero", "count", swap(r"^interval \d+", "interval -0"), "format.number"),
    ("underscore", "count", swap("^offered 9", "offered 9_0"), "format.number"),
    ("negative number", "count", swap("^offered 9", "offered -9"), "format.number"),
    ("over 2^63-1", "count", swap("^offered 9", "offered 9223372036854775808"), "format.number"),
    ("a million digits", "count", swap("^offered 9", "offered " + "9" * 60_000), "format.number"),
    (
        "time below the range",
        "count",
        swap(r"^interval \d+", "interval -9223372036854775808"),
        "format.number",
    ),
    ("a `-` that is not allowed", "count", swap("^offered 9", "offered -"), "format.number"),
    ("a code that is absent", "count", swap("chat-db", "-"), "entry.token"),
    ("code in capitals", "count", swap("chat-db", "Chat"), "entry.token"),
    ("alias with a slash too many", "count", swap("^source .*", "source s0001/1/2"), "entry.token"),
    ("alias in capitals", "count", swap("^source .*", "source S0001"), "entry.token"),
    ("base64 with a tail", "request", swap("(request .{42}).=", r"\1B="), "format.base64"),
    ("base64 of 31 bytes", "request", swap("^request .*=", "request " + b64(bytes(31))), "format.width"),
    ("base64 without padding", "request", swap("=\n", "\n"), "format.base64"),
    ("profile 2", "chat1", swap("^profile 1", "profile 2"), "entry.token"),
    ("another hash", "genesis", swap("^hash sha256", "hash sha512"), "entry.token"),
    ("prev-log of two words", "genesis", swap("^prev-log -", "prev-log a 5"), "entry.token"),
    ("host in capitals", "genesis", swap("^host .*", "host Platform.example"), "entry.token"),
    ("order too long", "genesis", swap("^order .*", "order " + "o" * 64), "entry.token"),
    ("a key id that does not follow", "genesis", swap(r"\+[0-9a-f]{8}\+", "+00000000+"), "key.format"),
]


@pytest.mark.parametrize(
    ("label", "edit", "code"),
    [row[1:] for row in MANIFEST_EDITS + ENTRY_FORMS],
    ids=[row[0] for row in MANIFEST_EDITS + ENTRY_FORMS],
)
def test_a_changed_entry(label: str, edit: Callable[[str], str], code: str, tmp_path: Path) -> None:
    verdict = judge(Draft(world({label: edit}), query_of()), tmp_path)
    assert verdict.exit_code == 1
    assert code in verdict.codes, verdict.findings


GAP = (
    f"scelle/gap/v1\norder {ORDER}\nsource SOURCE\ninterval 1 2\ncause done\nlost-at-most -\ncloses CLOSES\n"
)
INSERTED: list[tuple[str, str, str, str]] = [
    ("second genesis", "count", "GENESIS", "genesis.second"),
    ("second end", "end", f"scelle/end/v1\norder {ORDER}\nsource s0004/1\nafter 0\n", "source.ended"),
    (
        "gap after the end",
        "end",
        GAP.replace("SOURCE", "s0004/1").replace("CLOSES", "-"),
        "source.ended",
    ),
    (
        "gap closed twice",
        "gap",
        GAP.replace("SOURCE", "s0001").replace("CLOSES", "6"),
        "gap.closes",
    ),
    (
        "gap of another source closed",
        "gap",
        GAP.replace("SOURCE", "s0002").replace("CLOSES", "6"),
        "gap.closes",
    ),
    ("an empty entry", "count", "", "entry.format"),
    ("a line alone", "count", "\n", "entry.kind"),
]


@pytest.mark.parametrize(
    ("after", "text", "code"), [row[1:] for row in INSERTED], ids=[row[0] for row in INSERTED]
)
def test_an_inserted_entry(after: str, text: str, code: str, tmp_path: Path) -> None:
    if text == "GENESIS":
        text = world().entries[0].decode()
    texts = [text, text] if "closes" in text else [text]
    verdict = judge(Draft(world(extra={after: texts}), query_of()), tmp_path)
    assert code in verdict.codes, verdict.findings


def test_a_gap_may_be_closed_once(tmp_path: Path) -> None:
    text = GAP.replace("SOURCE", "s0001").replace("CLOSES", "6")
    log = world(extra={"gap": [text]})
    assert log.labels["gap"] == 6
    draft = Draft(log, query_of())
    document_ = judge(draft, tmp_path).document
    assert document_["findings"] == []
    assert document_["gaps"] == [
        {
            "source": "s0001",
            "from": 1,
            "to": 2,
            "cause": "restart, done",
            "lost_at_most": None,
            "closed_by": 7,
            "entry": 6,
        }
    ]
    lines = [line for line in run_text(files(draft, tmp_path))[1].split("\n") if line.startswith("gap ")]
    assert lines == [
        "gap        s0001, 1970-01-01T00:00:00.000001Z to 1970-01-01T00:00:00.000002Z (closed), "
        "cause restart, done, lost at most unknown"
    ]


def test_a_gap_begins_where_its_first_entry_says(tmp_path: Path) -> None:
    text = GAP.replace("SOURCE", "s0001").replace("CLOSES", "6").replace("done", "restart")
    text = text.replace("interval 1 2", f"interval {T0 + HOUR} {T0 + 2 * HOUR}")
    (gap,) = judge(Draft(world(extra={"gap": [text]}), query_of()), tmp_path).document["gaps"]
    assert (gap["from"], gap["to"], gap["cause"]) == (T0, T0 + 2 * HOUR, "restart")


def segment_after_end(log: Log) -> None:
    log.segment("late", "s0004/1", LOGIN, [])


def erase(position: int = 0, **arguments: Any) -> Callable[[Log], None]:
    def more(log: Log) -> None:
        log.erase("erase", log.segments["chat0"], position, **arguments)

    return more


def erase_twice(log: Log) -> None:
    log.erase("erase", log.segments["chat0"], 0)
    log.erase("erase2", log.segments["chat0"], 0)


def position_in_two(log: Log) -> None:
    log.erase("erase", log.segments["chat0"], 0)
    log.erase("erase2", log.segments["chat0"], 1, places=log.segments["chat0"].places(0))


def bad_segment(log: Log) -> None:
    segment = log.segments["chat0"]
    segment.leaf = bytes(32)
    log.erase("erase", segment, 0)


def no_segment(log: Log) -> None:
    segment = log.segments["chat0"]
    at, segment.at = segment.at, log.labels["gap"]
    log.erase("erase", segment, 0)
    segment.at = at


def forward_segment(log: Log) -> None:
    segment = log.segments["chat0"]
    at, segment.at = segment.at, 99
    log.erase("erase", segment, 0)
    segment.at = at


def unsigned_release(log: Log) -> None:
    log.release("release", signed=False)


def release_by_stranger(log: Log) -> None:
    log.authority, authority = STRANGER, log.authority
    log.release("release")
    log.authority = authority


def consent_by_stranger(log: Log) -> None:
    log.authority, authority = STRANGER, log.authority
    log.erase("erase", log.segments["chat0"], 0)
    log.authority = authority


def consent_for_another_record(log: Log) -> None:
    log.erase("erase", log.segments["chat0"], 0)
    log.entries[-1] = log.entries[-1].replace(b"\nrecord 0 ", b"\nrecord 1 ")


def not_in_block(log: Log) -> None:
    log.erase("erase", log.segments["chat0"], 0, places=[0, 1, 14])


def not_ascending(log: Log) -> None:
    places = log.segments["chat0"].places(0)
    log.erase("erase", log.segments["chat0"], 0, places=places[::-1])


def too_few(log: Log) -> None:
    log.erase("erase", log.segments["chat0"], 0, places=log.segments["chat0"].places(0)[:2])


MORE: list[tuple[str, Callable[[Log], None], str]] = [
    ("segment after the end", segment_after_end, "source.ended"),
    ("tombstone twice", erase_twice, "tombstone.twice"),
    ("position in two tombstones", position_in_two, "tombstone.twice"),
    ("tombstone of another manifest", bad_segment, "tombstone.segment"),
    ("tombstone of a gap", no_segment, "tombstone.segment"),
    ("tombstone of what is to come", forward_segment, "tombstone.segment"),
    ("tombstone without consent", erase(signed=False), "tombstone.no_consent"),
    ("tombstone by release of a living order", erase(basis="release", signed=False), "tombstone.no_consent"),
    ("tombstone by letter without document", erase(basis="letter", signed=False), "tombstone.document"),
    ("tombstone by order without document", erase(basis="order", signed=False), "tombstone.document"),
    ("tombstone of a record beyond", erase(position=0, rc=bytes(32)), "hit.record_root"),
    ("consent by a stranger", consent_by_stranger, "consent.signature"),
    ("consent for another record", consent_for_another_record, "consent.signature"),
    ("release without signature", unsigned_release, "release.unsigned"),
    ("release by a stranger", release_by_stranger, "consent.signature"),
    ("two positions in one block", not_in_block, "tombstone.positions"),
    ("positions not ascending", not_ascending, "tombstone.positions"),
    ("too few positions", too_few, "tombstone.positions"),
]


@pytest.mark.parametrize(("more", "code"), [row[1:] for row in MORE], ids=[row[0] for row in MORE])
def test_a_log_that_breaks_a_rule(more: Callable[[Log], None], code: str, tmp_path: Path) -> None:
    draft = Draft(world(more=more), query_of())
    for line in draft.proofs:
        for hit in line["hits"] if code == "hit.record_root" else ():
            if not isinstance(hit, str):
                hit[4] = []
    verdict = judge(draft, tmp_path)
    assert code in verdict.codes, verdict.findings


def test_a_record_erased_twice_at_other_positions(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        segment = log.segments["chat0"]
        log.erase("erase", segment, 0)
        log.erase("erase2", segment, 0, places=segment.places(1))

    assert "tombstone.twice" in judge(Draft(world(more=more), query_of()), tmp_path).codes


def test_a_position_under_the_tombstone_of_another_record_is_not_opened(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        segment = log.segments["chat0"]
        log.erase("erase", segment, 3, places=segment.places(4))
        segment.erased.clear()

    assert "tombstone.opened" in judge(Draft(world(more=more), query_of()), tmp_path).codes


def test_a_bundle_that_is_cut_short_gives_no_half_entry(tmp_path: Path) -> None:
    for cut, count in ((1, 11), (len(world().entries[-1]) + 1, 11)):
        draft = Draft(world(), query_of())
        repack(lambda data, cut=cut: data[:-cut])(draft)  # type: ignore[misc]
        findings = judge(draft, tmp_path).findings
        assert sum("fewer entries" in line for line in findings) == 1
        assert not [line for line in findings if line.startswith("entry.")]
        assert count == len(world().entries) - 1


def test_a_record_number_beyond_the_segment(tmp_path: Path) -> None:
    edit = {"erase.unsigned": swap("^record 0", "record 7")}
    verdict = judge(Draft(world(edit, more=erase()), query_of()), tmp_path)
    assert "tombstone.record" in verdict.codes, verdict.findings


def test_without_authority_a_tombstone_before_release_is_a_finding(tmp_path: Path) -> None:
    verdict = judge(
        Draft(world(authority=None, more=erase(basis="letter", document=Z)), query_of()), tmp_path
    )
    assert verdict.codes == {"tombstone.no_consent"}


def test_a_wrong_signature_is_a_finding_even_where_none_is_needed(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        log.release("release")
        log.authority = STRANGER
        log.erase("erase", log.segments["chat0"], 0, basis="release")
        log.authority = AUTHORITY

    assert judge(Draft(world(more=more), query_of()), tmp_path).codes == {"consent.signature"}


def test_entry_0_must_be_genesis(tmp_path: Path) -> None:
    log = world()
    del log.entries[0]
    draft = Draft(log, query_of())
    draft.trust["genesis"] = world().trust()["genesis"]
    assert {"genesis.missing"} <= judge(draft, tmp_path).codes


def test_the_genesis_of_the_trust_file_rules(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.trust["genesis"] = Z
    assert "genesis.differs" in judge(draft, tmp_path).codes


def test_a_document_is_sealed_in_profile_1(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        log.items[sha(b"x")] = b"x"
        log.segment("doc", "s0009", DOCUMENT, [document(0, T0, "a", b"x")], profile=0)

    assert judge(Draft(world(more=more), query_of()), tmp_path).codes == {"segment.schema"}


def test_a_count_of_records_over_2_20(tmp_path: Path) -> None:
    edits = {
        "family1": lambda t: t.replace("records 1", "records 1048577").replace("seq 0 1", "seq 0 1048577")
    }
    assert "segment.seq" in judge(Draft(world(edits), query_of()), tmp_path).codes


@pytest.mark.timeout(60)
@pytest.mark.parametrize("strength", ["A", "C"])
def test_a_count_of_records_without_bound_is_judged_at_once(strength: str, tmp_path: Path) -> None:
    """A range over what the manifest claims would not end in a lifetime."""
    edits = {
        "chat0": lambda t: swap("^seq 0 7", f"seq 0 {10**18}")(swap("^records 7", f"records {10**18}")(t))
    }
    assert "segment.seq" in judge(Draft(world(edits), query_of(strength=strength)), tmp_path).codes


@pytest.mark.timeout(60)
def test_a_tombstone_under_an_index_without_bound_is_judged_at_once(tmp_path: Path) -> None:
    """A list of all the blocks that the manifest claims would not fit any memory."""
    edits = {"chat0": swap(r"^index-size \d+", f"index-size {7 * 10**17}")}
    log = world(edits, more=lambda log: log.erase("erase", log.segments["chat0"], 0))
    assert "tombstone.positions" in judge(Draft(log, query_of()), tmp_path).codes


def test_a_release_names_the_paper_that_lets_go(tmp_path: Path) -> None:
    """Without an authority the paper is all there is: a release without one ends nothing."""
    log = world(
        {"release": swap("^document .*", "document -")},
        authority=None,
        more=lambda log: log.release("release"),
    )
    assert "format.base64" in judge(Draft(log, query_of()), tmp_path).codes


# -- bundles and checkpoints -----------------------------------------------------------------------------


def repack(change: Callable[[bytes], bytes]) -> Callable[[Draft], None]:
    def edit(draft: Draft) -> None:
        name = next(n for n in draft.all_members() if n.startswith("entries/"))
        draft.members[name] = change(draft.all_members()[name])

    return edit


def rename_bundle(draft: Draft) -> None:
    name = next(n for n in draft.all_members() if n.startswith("entries/"))
    draft.members["entries/000"] = draft.all_members()[name]
    draft.removed.add(name)


def extra_bundle(draft: Draft) -> None:
    draft.members["entries/001.p/1"] = b"\0\1x"


def size_claim(size: int, root: bytes | None = None) -> Callable[[Draft], None]:
    def edit(draft: Draft) -> None:
        text = checkpoint_text(size, draft.log.root() if root is None else root)
        draft.checkpoint = note(text, [LOG1, LOG6])

    return edit


def checkpoint(data: Callable[[Log], bytes]) -> Callable[[Draft], None]:
    def edit(draft: Draft) -> None:
        draft.checkpoint = data(draft.log)

    return edit


def cosigned_wrongly(draft: Draft) -> None:
    line = WITNESS.line(b"something else\n")
    draft.checkpoint += line
    draft.trust["cosigners"] = [WITNESS.vkey]


def cosigned_by_ml_dsa_wrongly(draft: Draft) -> None:
    key = make_key("witness.example/pq", 6, "pq witness")
    draft.checkpoint += key.line(b"other/po/o\n1\n" + b64(bytes(32)).encode() + b"\n")
    draft.trust["cosigners"] = [key.vkey]


def quorum(draft: Draft) -> None:
    draft.trust |= {"cosigners": [WITNESS.vkey], "quorum": 1}


def stale(draft: Draft) -> None:
    draft.checkpoint = draft.log.checkpoint(keys=[LOG1, LOG6, WITNESS], time=T0 // 10**6 + 9 * 3600)
    draft.trust |= {"cosigners": [WITNESS.vkey]}


def useless_checkpoint(draft: Draft) -> None:
    draft.members["checkpoint.3"] = draft.log.checkpoint(3)


def other_root(draft: Draft) -> None:
    draft.members["checkpoint.3"] = note(checkpoint_text(3, bytes(32)), [LOG1, LOG6])


def broken_checkpoint_member(draft: Draft) -> None:
    draft.members["checkpoint.3"] = b"no note"


def flip_last(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def without_line(log: Log, which: int) -> bytes:
    lines = log.checkpoint().split(b"\n")
    del lines[4 + which]
    return b"\n".join(lines)


def twice_signed(log: Log) -> bytes:
    return log.checkpoint() + LOG1.line(checkpoint_text(len(log.entries), log.root()))


def many_lines(log: Log) -> bytes:
    return log.checkpoint() + b"".join(make_key(f"x{i}", 1, f"{i}").line(b"x\n") for i in range(15))


LOG_FORGERIES: list[tuple[str, Callable[[Draft], None], str]] = [
    ("bundle with a byte more", repack(lambda d: d + b"\0"), "entries.bundle"),
    ("bundle with an entry more", repack(lambda d: d + b"\0\1x"), "entries.bundle"),
    ("bundle cut short", repack(lambda d: d[:-1]), "entries.bundle"),
    ("bundle cut in a length", repack(lambda d: d[: -len(world().entries[-1]) - 1]), "entries.bundle"),
    ("bundle under the name of a full one", rename_bundle, "entries.missing"),
    ("bundle too many", extra_bundle, "member.unknown"),
    ("size larger than the entries", size_claim(13), "entries.missing"),
    ("size smaller than the entries", size_claim(11), "entries.missing"),
    ("size zero", size_claim(0, sha(b"")), "checkpoint.format"),
    ("size beyond all measure", size_claim(2**62), "entries.missing"),
    ("another root", size_claim(12, bytes(32)), "checkpoint.root"),
    ("an entry changed below the root", repack(flip_last), "checkpoint.root"),
    ("no Ed25519 line", checkpoint(lambda log: without_line(log, 0)), "checkpoint.signature_missing"),
    ("no ML-DSA-44 line", checkpoint(lambda log: without_line(log, 1)), "checkpoint.signature_missing"),
    (
        "signed by other keys",
        checkpoint(lambda log: log.checkpoint(keys=[NEXT1, NEXT6])),
        "checkpoint.signature_missing",
    ),
    ("a line twice", checkpoint(twice_signed), "note.format"),
    ("seventeen lines", checkpoint(many_lines), "note.format"),
    (
        "an extension line",
        checkpoint(lambda log: note(checkpoint_text(12, log.root()) + b"more\n", [LOG1, LOG6])),
        "checkpoint.format",
    ),
    (
        "another origin",
        checkpoint(lambda log: note(checkpoint_text(12, log.root(), "x/po/o"), [LOG1, LOG6])),
        "checkpoint.origin",
    ),
    ("no note", checkpoint(lambda log: b"nothing"), "note.format"),
    (
        "a blank too many",
        checkpoint(lambda log: log.checkpoint().replace(" — ".strip().encode(), "—  ".encode(), 1)),
        "note.format",
    ),
    (
        "a hyphen for the dash",
        checkpoint(lambda log: log.checkpoint().replace("—".encode(), b"-", 1)),
        "note.format",
    ),
    (
        "a signature of four bytes",
        checkpoint(lambda log: log.checkpoint() + f"— x {b64(bytes(4))}\n".encode()),
        "note.format",
    ),
    ("cosigner's line wrong", cosigned_wrongly, "checkpoint.signature_wrong"),
    ("ML-DSA cosigner's line wrong", cosigned_by_ml_dsa_wrongly, "checkpoint.signature_wrong"),
    ("quorum not reached", quorum, "checkpoint.quorum"),
    ("a source open for nine hours", stale, "source.open"),
    ("an older checkpoint for nothing", useless_checkpoint, "member.unknown"),
    ("an older checkpoint of another root", other_root, "checkpoint.root"),
    ("an older checkpoint that is none", broken_checkpoint_member, "note.format"),
]


@pytest.mark.parametrize(
    ("edit", "code"), [row[1:] for row in LOG_FORGERIES], ids=[row[0] for row in LOG_FORGERIES]
)
def test_a_forged_checkpoint_or_bundle(edit: Callable[[Draft], None], code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    edit(draft)
    verdict = judge(draft, tmp_path)
    assert verdict.exit_code == 1
    assert code in verdict.codes, verdict.findings


def test_a_source_is_open_until_the_queries_end(tmp_path: Path) -> None:
    assert "source.open" in judge(Draft(world(), query_of(until=T0 + 100 * HOUR)), tmp_path).codes
    exempt = query_of(value="scelle.order", until=T0 + 100 * HOUR)
    assert judge(Draft(world(), exempt), tmp_path).findings == []


# -- rotation ----------------------------------------------------------------------------------------------


def rotated(
    add: Any = NEXT1, retire: Any = LOG1, start: int = 2, role: str = "log", signer: Any = None, more: int = 3
) -> Log:
    log = world(more=lambda log: log.keys("keys", role, add, retire, len(log.entries) + start, signer))
    for number in range(more):
        log.segment(f"chat{5 + number}", "s0001", CHAT, [])
    return log


def old_checkpoint(size: int = 13, keys: tuple[Any, ...] = (LOG1, LOG6)) -> Callable[[Draft], None]:
    def edit(draft: Draft) -> None:
        draft.members[f"checkpoint.{size}"] = draft.log.checkpoint(size, keys)

    return edit


def nothing(draft: Draft) -> None:
    """Leave the draft as it is."""


ROTATIONS: list[tuple[str, Log, tuple[Any, ...], Callable[[Draft], None], str]] = [
    ("no checkpoint by the old keys", rotated(), (NEXT1, LOG6), nothing, "keys.no_checkpoint"),
    (
        "old checkpoint by the new keys",
        rotated(),
        (NEXT1, LOG6),
        old_checkpoint(keys=(NEXT1, LOG6)),
        "checkpoint.signature_missing",
    ),
    ("old checkpoint before the entry", rotated(), (NEXT1, LOG6), old_checkpoint(12), "keys.no_checkpoint"),
    (
        "old checkpoint above F",
        rotated(),
        (NEXT1, LOG6),
        old_checkpoint(15, (NEXT1, LOG6)),
        "keys.no_checkpoint",
    ),
    ("old keys above F", rotated(), (LOG1, LOG6), old_checkpoint(), "checkpoint.signature_missing"),
    (
        "new key of a stranger's name",
        rotated(make_key("other", 1, "x")),
        (LOG1, LOG6),
        nothing,
        "keys.rotation",
    ),
    ("retires what is not valid", rotated(retire=NEXT1, add=THIRD1), (LOG1, LOG6), nothing, "keys.rotation"),
    ("add alone", rotated(retire=None), (LOG1, LOG6), nothing, "keys.rotation"),
    ("retire alone", rotated(add=None), (LOG1, LOG6), nothing, "keys.rotation"),
    ("two types", rotated(add=NEXT6), (LOG1, LOG6), nothing, "keys.rotation"),
    ("type of an authority", rotated(add=WITNESS, retire=AUTHORITY), (LOG1, LOG6), nothing, "keys.rotation"),
    ("backdated", rotated(start=0), (LOG1, LOG6), nothing, "keys.rotation"),
    ("the same key", rotated(add=LOG1), (LOG1, LOG6), nothing, "keys.rotation"),
    ("a wrong authority-sig", rotated(signer=STRANGER), (LOG1, LOG6), nothing, "consent.signature"),
    (
        "authority without signature",
        rotated(STRANGER, AUTHORITY, role="authority"),
        (LOG1, LOG6),
        nothing,
        "keys.authority",
    ),
    (
        "authority added without signature",
        rotated(STRANGER, None, role="authority"),
        (LOG1, LOG6),
        nothing,
        "keys.authority",
    ),
    (
        "authority by a stranger",
        rotated(STRANGER, AUTHORITY, 2, "authority", STRANGER),
        (LOG1, LOG6),
        nothing,
        "consent.signature",
    ),
    (
        "authority retires another",
        rotated(None, STRANGER, 2, "authority", AUTHORITY),
        (LOG1, LOG6),
        nothing,
        "keys.authority",
    ),
    (
        "authority of another type",
        rotated(NEXT1, AUTHORITY, 2, "authority", AUTHORITY),
        (LOG1, LOG6),
        nothing,
        "keys.rotation",
    ),
    (
        "authority of nothing",
        rotated(None, None, 2, "authority", AUTHORITY),
        (LOG1, LOG6),
        nothing,
        "keys.rotation",
    ),
]


@pytest.mark.parametrize(
    ("log", "keys", "edit", "code"), [row[1:] for row in ROTATIONS], ids=[row[0] for row in ROTATIONS]
)
def test_a_forged_rotation(
    log: Log, keys: tuple[Any, ...], edit: Callable[[Draft], None], code: str, tmp_path: Path
) -> None:
    draft = Draft(log, query_of())
    draft.checkpoint = log.checkpoint(keys=keys)
    draft.manifest_keys = [keys[0]]
    edit(draft)
    verdict = judge(draft, tmp_path)
    assert code in verdict.codes, verdict.findings


def test_rotations_of_one_type_follow_one_another(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        log.keys("keys", "log", NEXT1, LOG1, len(log.entries) + 9)
        log.keys("keys2", "log", THIRD1, NEXT1, len(log.entries) + 2)

    assert "keys.rotation" in judge(Draft(world(more=more), query_of()), tmp_path).codes


def test_two_rotations_of_one_type_at_one_size(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        start = len(log.entries) + 9
        log.keys("keys", "log", NEXT1, LOG1, start)
        log.keys("keys2", "log", THIRD1, NEXT1, start)

    assert judge(Draft(world(more=more), query_of()), tmp_path).codes == {"keys.rotation"}


def test_a_retired_key_cannot_come_back(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        log.keys("keys", "log", NEXT1, LOG1, len(log.entries) + 9)
        log.keys("keys2", "log", LOG1, NEXT1, len(log.entries) + 12)

    assert "keys.rotation" in judge(Draft(world(more=more), query_of()), tmp_path).codes


def test_a_retired_authority_key_consents_to_nothing(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        log.keys("keys", "authority", None, AUTHORITY, len(log.entries) + 1, AUTHORITY)
        log.erase("erase", log.segments["chat0"], 0)

    assert "consent.signature" in judge(Draft(world(more=more), query_of()), tmp_path).codes


# -- anchors -----------------------------------------------------------------------------------------------


def test_an_anchor_is_one_of_the_tokens_shown(tmp_path: Path) -> None:
    anchored = {"chat1": swap("^anchor -", f"anchor {b64(sha(b'token'))}")}
    for tokens, codes in (([], set()), ([b"token"], set()), ([b"another"], {"segment.anchor"})):
        draft = Draft(world(anchored), query_of())
        draft.members |= {f"tokens/{i}.tsr": data for i, data in enumerate(tokens)}
        assert judge(draft, tmp_path).codes == codes


# -- audit -------------------------------------------------------------------------------------------------


def audit(
    labels: list[str], keys: list[Any], edit: Callable[[str], str] = lambda text: text
) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        lines = [f"segment {draft.log.segments[n].at} {b64(draft.log.segments[n].leaf)}\n" for n in labels]
        text = edit(f"scelle/audit/v1\norigin {ORIGIN}\n{''.join(lines)}")
        draft.members["audit/verdict"] = note(text.encode(), keys)
        draft.trust["cosigners"] = [AUDITOR.vkey, WITNESS.vkey]

    return change


def ml_dsa_auditor(draft: Draft) -> None:
    audit(["chat0", "chat2"], [])(draft)
    key = make_key("auditor.example/pq", 6, "pq auditor")
    draft.trust["cosigners"] = [key.vkey]
    draft.members["audit/verdict"] += f"— {key.name} {b64(key.key_id + bytes(2428))}\n".encode()


AUDITS: list[tuple[str, Callable[[Draft], None], str]] = [
    ("no verdict", nothing, "audit.missing"),
    ("by a stranger", audit(["chat0", "chat2"], [STRANGER]), "audit.signature_missing"),
    ("unsigned", audit(["chat0", "chat2"], []), "audit.signature_missing"),
    ("one segment not audited", audit(["chat0"], [AUDITOR]), "audit.segment"),
    ("lines out of order", audit(["chat2", "chat0"], [AUDITOR]), "audit.format"),
    ("another leaf", audit(["chat0", "chat2"], [AUDITOR], lambda t: t[:-45] + Z + "\n"), "audit.segment"),
    (
        "another origin",
        audit(["chat0", "chat2"], [AUDITOR], lambda t: t.replace("origin p", "origin q")),
        "audit.format",
    ),
    (
        "another word",
        audit(["chat0", "chat2"], [AUDITOR], lambda t: t.replace("segment 3", "segments 3")),
        "audit.format",
    ),
    (
        "no number",
        audit(["chat0", "chat2"], [AUDITOR], lambda t: t.replace("segment 3", "segment x")),
        "format.number",
    ),
    (
        "no segment",
        audit(["chat0", "chat2"], [AUDITOR], lambda t: t.replace("segment 3", "segment 2")),
        "audit.segment",
    ),
    ("by an ML-DSA-44 key", ml_dsa_auditor, "audit.signature_wrong"),
]


@pytest.mark.parametrize(("edit", "code"), [row[1:] for row in AUDITS], ids=[row[0] for row in AUDITS])
def test_a_forged_audit(edit: Callable[[Draft], None], code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of(strength="B"))
    edit(draft)
    verdict = judge(draft, tmp_path)
    assert code in verdict.codes, verdict.findings


def test_a_verdict_of_another_segment_is_a_finding_at_strength_c_too(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    audit(["chat0", "chat2"], [AUDITOR], lambda t: t[:-45] + Z + "\n")(draft)
    assert "audit.segment" in judge(draft, tmp_path).codes


def test_a_bad_verdict_is_a_finding_at_strength_c_too(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    audit(["chat0"], [STRANGER])(draft)
    assert judge(draft, tmp_path).codes == {"audit.signature_missing"}


# -- what an attacker with all keys files wrongly at sealing ------------------------------------------------


def test_a_record_filed_under_another_account_is_found_when_opened(tmp_path: Path) -> None:
    records = [
        chat(0, T0, "account:2", "hidden", filed={"account": "account:1"}),
        chat(1, T0, "account:1", "kept"),
    ]
    query = query_of(dimension="account", value="account:1")
    assert judge(Draft(world(records=records), query), tmp_path).codes == {"record.identifier"}


def test_an_index_out_of_order_is_found_where_it_is_shown(tmp_path: Path) -> None:
    log = world(edit_index=lambda slots: [slots[1], slots[0], *slots[2:]])
    assert judge(Draft(log, query_of()), tmp_path).codes == {"range.order"}


def test_an_entry_of_another_source_in_the_block_of_source(tmp_path: Path) -> None:
    records = [chat(0, T0, "account:1", "a"), chat(1, T0, "account:1", "b", filed={"source": "s9999"})]
    verdict = judge(Draft(world(records=records), query_of()), tmp_path)
    assert "neighbour.source_tag" in verdict.codes, verdict.findings


def test_one_record_twice_in_a_block(tmp_path: Path) -> None:
    log = world(edit_index=lambda slots: [slots[0], slots[0], *slots[2:]])
    assert "range.order" in judge(Draft(log, query_of()), tmp_path).codes


def test_a_time_in_the_index_that_is_not_the_records(tmp_path: Path) -> None:
    class Later(type(chat(0, 0, "", ""))):  # type: ignore[misc]
        """A record whose index entry claims another time than its values."""

    honest = chat(0, T0, "account:1", "a")
    misdated = Later(honest.key, T0 + 5, honest.seq, honest.values)
    codes = judge(Draft(world(records=[misdated, chat(1, T0, "account:1", "b")]), query_of()), tmp_path).codes
    assert codes == {"record.time"}


def test_more_undated_records_than_declared_at_strength_a(tmp_path: Path) -> None:
    records = [
        chat(0, UNDATED, "account:1", "a"),
        chat(1, UNDATED, "account:1", "b"),
        chat(2, T0, "account:1", "c"),
    ]
    log = world(records=records, undated=1)
    assert judge(Draft(log, query_of(strength="A")), tmp_path).codes == {"segment.undated"}


def test_narrower_bounds_at_strength_a(tmp_path: Path) -> None:
    log = world(bounds=(T0 // HOUR * HOUR - HOUR, T0 // HOUR * HOUR))
    assert judge(Draft(log, query_of(strength="A")), tmp_path).codes == {"segment.bounds"}


def test_a_sequence_number_in_the_record_that_is_not_its_place(tmp_path: Path) -> None:
    wrong = chat(5, T0, "account:1", "a")
    misplaced = type(wrong)(wrong.key, T0, 0, wrong.values)
    for strength in ("A", "C"):
        draft = Draft(world(records=[misplaced]), query_of(strength=strength))
        assert judge(draft, tmp_path).codes == {"record.seq"}


def test_a_schema_that_breaks_its_rules(tmp_path: Path) -> None:
    from tests.unit.verify.builder import Schema

    def odd(log: Log) -> None:
        bad = Schema("bad", ("source", "account"), (("time", "t"), ("seq", "i"), ("account", "x")))
        log.segment("odd", "s0005", bad, [login(0, T0, "account:1", 1)])

    assert "schema.format" in judge(Draft(world(more=odd), query_of()), tmp_path).codes


def test_roots_are_rebuilt_by_another_hand() -> None:
    leaves = [sha(bytes([i])) for i in range(9)]
    from scelle.verify import scelle_verify

    assert [root_of(leaves[:i]) for i in range(9)] == [scelle_verify.tree_root(leaves[:i]) for i in range(9)]
    assert canonical({"b": 1, "a": [1]}) == b'{"a":[1],"b":1}'
