"""Write contentless streams, recompute and forge them, and let the shipped verifier judge strength B."""

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ORDER as CLI_ORDER
from tests.e2e.conftest import Platform
from tests.integration.platforms import make_platform
from tests.unit.productions.ledgers import HOUR_US, START_US, Small, verify
from tests.unit.productions.ledgers import KEY as VAULT_KEY

from scelle.errors import FormatError, KeyFileRefused, PackageNameRefused, RecordNotAsSealed, RequestWrong
from scelle.formats.audit_streams import SEGMENT_HEAD_BYTES, parse_stream_entries, parse_stream_header
from scelle.formats.audits import parse_audit_verdict
from scelle.formats.entries import Segment, parse_entry
from scelle.formats.index import TAG_BYTES, tag
from scelle.formats.notes import COSIGNATURE_V1, parse_note, parse_vkey
from scelle.formats.values import UNDATED
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedgerWriter
from scelle.merkle.hashing import leaf_hash
from scelle.productions.audit import Believed, audit_index, read_believed, sign_verdict
from scelle.productions.audit_model import AuditReport
from scelle.productions.audit_stream import write_stream
from scelle.productions.auditor_key import AuditorKey, make_auditor_key, read_auditor_key
from scelle.productions.model import Request
from scelle.productions.trust import Cosigners, trust_for
from scelle.verify import scelle_verify

KEY = AuditorKey("auditor.example/2026", bytes(range(32)))
PROMPT_BYTES = 56 + 3 * TAG_BYTES


def told(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path)
    made.item_zero()
    for number in range(7):
        time = UNDATED if number == 5 else START_US - number * HOUR_US
        made.prompt(
            "s0001/1", time, f"account:{number % 3}", "imagine-2" if number % 2 else None, f"p-{number}"
        )
    for number in range(4):
        made.prompt("s0002", START_US + number, "account:1", "imagine-2", profile=0)
    made.document("s0003", START_US, b"text", account="custodian:staff-017@example.org")
    made.seal()
    made.prompt("s0001/1", START_US, "account:1", "imagine-2")
    made.seal()
    yield made
    made.ledger.close()


def believed(small: Small) -> Believed:
    return Believed(trust_for(small.ledger).policy)


def stream_of(small: Small, source: str | None = None, name: str = "order.audit") -> Path:
    out = small.folder / name
    write_stream(small.ledger, out=out, source=source, progress=told)
    return out


def audited(small: Small, path: Path) -> AuditReport:
    return audit_index(path, believed(small), told)


# --- right


def test_every_segment_is_recomputed(small: Small) -> None:
    report = audited(small, stream_of(small))
    assert report.faults == []
    assert report.is_valid
    with_records = [(at, m) for at, m in small.ledger.manifests() if m.records]
    assert report.segments == [(at, leaf_hash(small.ledger.log.entries[at])) for at, _ in with_records]
    assert report.records == sum(m.records for _, m in with_records) == 14


def test_one_source_and_its_family_alone(small: Small) -> None:
    report = audited(small, stream_of(small, "s0001"))
    assert report.is_valid
    assert {small.ledger.entries[at].source for at, _ in report.segments} == {"s0001/1"}  # type: ignore[union-attr]


def test_the_stream_has_the_bytes_of_its_page_and_nothing_of_the_content(small: Small) -> None:
    path = stream_of(small)
    data = path.read_bytes()
    for secret in (
        b"a red boat",
        b"account:1",
        b"imagine-2",
        b"staff-017",
        b"text/plain",
        small.ledger.secrets.tag_key,
    ):
        assert secret not in data
    header, at = parse_stream_header(data)
    assert data[at : at + header.checkpoint_bytes] == small.ledger.log.note
    entries, at = parse_stream_entries(data, at + header.checkpoint_bytes, header.size)
    assert entries == small.ledger.log.entries
    for _ in range(header.segments):
        index = int.from_bytes(data[at : at + 8], "big")
        manifest = parse_entry(entries[index])
        assert isinstance(manifest, Segment)
        assert data[at + 8 : at + 24] == tag(small.ledger.secrets.tag_key, "source", manifest.source)
        dimensions = manifest.index_size // manifest.records
        width = 8 + 16 + 32 + 16 * (dimensions - 1)
        with closing(small.ledger.segment(manifest)) as reader:
            for position, row in enumerate(reader.rows()):
                claim = data[at + 24 + width * position :][:width]
                assert claim[:8] == row.split_values()[0][5:]
                assert claim[8:24] == row.record_key[16:]
                assert claim[24:56] == reader.record_hashes()[32 * position :][:32]
                account = row.split_values()[2][5:].decode()
                assert claim[56:72] == tag(small.ledger.secrets.tag_key, "account", account)
                assert row.record_key[:16] not in data
        at += 24 + width * manifest.records
    assert at == len(data)


def test_erased_records_are_zeros_and_their_leaves_stand_in_for_them(tmp_path: Path) -> None:
    small = Small(tmp_path, with_authority=True)
    records = [small.prompt("s0001", START_US + number, "account:1", "imagine-2") for number in range(5)]
    small.seal()
    ((at, manifest),) = small.ledger.manifests()
    with closing(small.ledger.segment(manifest)) as reader:
        hashes = reader.record_hashes()
        salts = [row.record_key[16:] for row in reader.rows()]
    for number in (0, 3):
        small.erase(records[number], [number + 5 * d for d in range(4)], hashes[32 * number :][:32])
    path = stream_of(small)
    data = path.read_bytes()
    assert salts[0] not in data
    assert salts[1] in data
    report = audited(small, path)
    assert report.faults == []
    assert report.erased == 2
    path.write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
    assert [fault.code for fault in audited(small, path).faults] == ["segment.index"]
    places = Places(data, small)
    start, width = places.segments[at][0], PROMPT_BYTES
    shown = changed(data, start + 3 * width, b"\1" * 8)
    path.write_bytes(shown)
    assert "segment.opened" in {fault.code for fault in audited(small, path).faults}
    small.ledger.close()


# --- forged


@dataclass
class Places:
    """Where the segments of a stream begin: offset of the first record, and width, by log index."""

    def __init__(self, data: bytes, small: Small) -> None:
        header, at = parse_stream_header(data)
        self.entries_at = at + header.checkpoint_bytes
        _, at = parse_stream_entries(data, self.entries_at, header.size)
        self.segments: dict[int, tuple[int, int]] = {}
        self.by_source: dict[str, tuple[int, int]] = {}
        for _ in range(header.segments):
            index = int.from_bytes(data[at : at + 8], "big")
            manifest = small.ledger.entries[index]
            assert isinstance(manifest, Segment)
            width = 56 + TAG_BYTES * (manifest.index_size // manifest.records - 1)
            self.segments[index] = (at + SEGMENT_HEAD_BYTES, width)
            self.by_source.setdefault(manifest.source, self.segments[index])
            at += SEGMENT_HEAD_BYTES + width * manifest.records


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def swap(data: bytes, one: int, other: int, width: int) -> bytes:
    first, second = data[one : one + width], data[other : other + width]
    return changed(changed(data, one, second), other, first)


def other_digit(digit: int) -> bytes:
    return b"A" if digit != ord("A") else b"B"


def of_prompts(place: Callable[[bytes, int, int], bytes]) -> Callable[[bytes, Places], bytes]:
    return lambda data, places: place(data, *places.by_source["s0001/1"])


Forgery = Callable[[bytes, Places], bytes]
FORGERIES: dict[str, tuple[Forgery, set[str]]] = {
    "records moved": (
        of_prompts(lambda data, at, width: swap(data, at, at + width, width)),
        {"segment.records", "segment.index"},
    ),
    "claims moved, commitments kept": (
        of_prompts(lambda data, at, width: swap(data, at, at + width, 24)),
        {"segment.index"},
    ),
    "tag of another account": (
        of_prompts(lambda data, at, width: changed(data, at + 56, data[at + width + 56 :][:16])),
        {"segment.index"},
    ),
    "tag of another model": (
        of_prompts(lambda data, at, width: changed(data, at + 72, data[at + width + 72 :][:16])),
        {"segment.index"},
    ),
    "time beyond the bounds": (
        of_prompts(lambda data, at, width: changed(data, at, struct.pack(">q", START_US + HOUR_US))),
        {"segment.index", "segment.bounds"},
    ),
    "time inside the bounds": (
        of_prompts(lambda data, at, width: changed(data, at + width, struct.pack(">q", START_US - 5))),
        {"segment.index"},
    ),
    "a dated record undated": (
        of_prompts(lambda data, at, width: changed(data, at + width, struct.pack(">q", UNDATED))),
        {"segment.index", "segment.undated"},
    ),
    "salt": (of_prompts(lambda data, at, width: changed(data, at + 8, bytes(15) + b"\1")), {"segment.index"}),
    "commitment": (
        of_prompts(lambda data, at, width: changed(data, at + 24, bytes(32))),
        {"segment.records", "segment.index"},
    ),
    "a record twice": (
        of_prompts(lambda data, at, width: changed(data, at, data[at + width :][:width])),
        {"segment.records", "segment.index", "segment.bounds"},
    ),
    "a record left out": (
        of_prompts(lambda data, at, width: data[:at] + data[at + width :]),
        {"stream.format"},
    ),
    "a record too many": (
        of_prompts(lambda data, at, width: data[:at] + data[at : at + width] + data[at:]),
        {"stream.format"},
    ),
    "opaque without a tombstone": (
        of_prompts(lambda data, at, width: changed(changed(data, at, bytes(24)), at + 56, bytes(width - 56))),
        {"segment.opaque", "segment.index"},
    ),
    "tag of the source": (
        of_prompts(lambda data, at, width: changed(data, at - 16, bytes(16))),
        {"segment.index", "segment.source_tag"},
    ),
    "another segment's number": (
        of_prompts(lambda data, at, width: changed(data, at - 24, (99).to_bytes(8, "big"))),
        {"stream.format"},
    ),
    "an entry": (
        lambda data, places: data.replace(b"source s0002\n", b"source s0009\n", 1),
        {"checkpoint.root"},
    ),
    "cut": (lambda data, places: data[:-1], {"stream.format"}),
    "longer": (lambda data, places: data + b"\0", {"stream.format"}),
    "size in the header": (
        lambda data, places: data.replace(b"\nsegments ", b"0\nsegments ", 1),
        {"stream.format"},
    ),
    "fewer segments": (
        lambda data, places: data.replace(b"segments %d\n" % len(places.segments), b"segments 1\n", 1),
        {"stream.format"},
    ),
    "no stream": (lambda data, places: b"PK\3\4", {"stream.format"}),
    "signature": (
        lambda data, places: changed(
            data, places.entries_at - 900, other_digit(data[places.entries_at - 900])
        ),
        {"checkpoint.signature"},
    ),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_stream_is_refused_with_its_reasons(small: Small, what: str) -> None:
    path = stream_of(small)
    data = path.read_bytes()
    forge, expected = FORGERIES[what]
    forged = forge(data, Places(data, small))
    assert forged != data
    path.write_bytes(forged)
    report = audited(small, path)
    assert not report.is_valid
    assert expected <= {fault.code for fault in report.faults}, report.faults
    with pytest.raises(RequestWrong, match="nothing is signed"):
        sign_verdict(report, KEY, out=small.folder / "verdict", time_s=1)
    assert not (small.folder / "verdict").exists()


def test_all_faults_are_said_and_not_the_first(small: Small) -> None:
    path = stream_of(small)
    data = path.read_bytes()
    places = Places(data, small)
    for source in ("s0001/1", "s0002", "s0003"):
        at, _ = places.by_source[source]
        data = changed(data, at + 8, bytes(15) + b"\7")
    path.write_bytes(data)
    report = audited(small, path)
    assert [fault.code for fault in report.faults] == ["segment.index"] * 3
    assert len({fault.subject for fault in report.faults}) == 3


def test_a_manifest_that_states_wrong_bounds_or_order_is_found(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform itself seals a lie: its stream is as it is, its manifest is not what the records say."""
    from scelle.ledger import segments

    honest = segments.SegmentWriter.close

    def lying(writer: Any, **options: Any) -> Segment:
        manifest = honest(writer, **options)
        if manifest.source != "s0004":
            return manifest
        low, high = manifest.time or (0, 0)
        return replace(manifest, time=(low - HOUR_US, high), index_root=bytes(32))

    monkeypatch.setattr(segments.SegmentWriter, "close", lying)
    small.prompt("s0004", START_US, "account:1", "imagine-2")
    small.seal()
    report = audited(small, stream_of(small))
    assert {fault.code for fault in report.faults} == {"segment.bounds", "segment.index"}


def test_two_sources_under_one_tag_are_found(small: Small) -> None:
    path = stream_of(small)
    data = path.read_bytes()
    places = Places(data, small)
    one, other = places.by_source["s0001/1"][0], places.by_source["s0002"][0]
    path.write_bytes(changed(data, other - 16, data[one - 16 : one]))
    assert "segment.source_tag" in {fault.code for fault in audited(small, path).faults}


# --- what the auditor believes


def test_a_checkpoint_had_from_elsewhere_is_enough_if_it_is_that_of_the_stream(
    small: Small, tmp_path: Path
) -> None:
    then = tmp_path / "then"
    then.write_bytes(small.ledger.log.note)
    path = stream_of(small)
    assert audit_index(path, read_believed(None, then), told).is_valid
    small.prompt("s0002", START_US, "account:1", "imagine-2", profile=0)
    small.seal()
    later = stream_of(small, name="later.audit")
    report = audit_index(later, read_believed(None, then), told)
    assert [fault.code for fault in report.faults] == ["checkpoint.held"]
    both = replace(believed(small), checkpoint=read_believed(None, then).checkpoint)
    assert audit_index(later, both, told).is_valid
    now = tmp_path / "now"
    now.write_bytes(small.ledger.log.note)
    older = replace(believed(small), checkpoint=read_believed(None, now).checkpoint)
    assert [fault.code for fault in audit_index(path, older, told).faults] == ["checkpoint.held"]


def test_a_trust_file_without_the_tag_key_is_enough(small: Small, tmp_path: Path) -> None:
    trust = trust_for(small.ledger)
    (tmp_path / "policy.json").write_bytes(trust.policy.encode())
    (tmp_path / "trust.json").write_bytes(trust.encode())
    found = [read_believed(tmp_path / name, None) for name in ("policy.json", "trust.json")]
    assert found[0] == found[1] == believed(small)


def test_a_trust_file_of_another_order_is_named(small: Small, tmp_path: Path) -> None:
    other = OrderLedgerWriter.create(
        tmp_path, "o-other", "platform.example", VAULT_KEY, authority=None, now_us=START_US
    )
    fault = audit_index(stream_of(small), Believed(trust_for(other).policy), told).faults[0]
    other.close()
    assert fault.code == "checkpoint.origin"
    assert fault.detail == (
        f"the trust file is of another order, {other.origin}: give that of {small.ledger.origin}"
    )


def test_another_log_is_refused(small: Small, tmp_path: Path) -> None:
    other = Small(tmp_path / "other")
    report = audit_index(stream_of(small), believed(other), told)
    codes = [fault.code for fault in report.faults]
    assert codes == ["log.genesis", "checkpoint.signature", "checkpoint.signature"]
    other.ledger.close()


@pytest.mark.parametrize("data", [b"", b"{}\n", b"x" * (2 << 20)])
def test_what_is_no_trust_file_and_no_checkpoint_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    for trust, checkpoint in (
        (path, None),
        (None, path),
        (tmp_path / "gone", None),
        (None, None),
        (tmp_path, None),
    ):
        with pytest.raises(RequestWrong):
            read_believed(trust, checkpoint)


def test_a_stream_that_is_no_file_is_refused(small: Small, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("gone", "empty", "."):
        with pytest.raises(RequestWrong, match="stream"):
            audit_index(tmp_path / name, believed(small), told)


# --- writing


def test_a_source_without_records_has_no_stream(small: Small) -> None:
    with pytest.raises(
        RequestWrong, match=r"there are those of 's0001/1', 's0002', 's0003', 'scelle\.order'"
    ):
        stream_of(small, "s0009")
    stream_of(small)
    with pytest.raises(PackageNameRefused, match="there already"):
        stream_of(small)
    assert [path.name for path in small.folder.glob(".*")] == []


def test_a_tree_that_is_not_what_was_sealed_makes_no_stream(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SegmentReader, "hashes", lambda reader, start, stop: bytes(32 * (stop - start)))
    with pytest.raises(RecordNotAsSealed, match="nothing was written"):
        stream_of(small)
    assert not (small.folder / "order.audit").exists()


# --- keys and verdicts


def test_a_key_file_is_for_its_owner_alone_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "auditor.key"
    key = make_auditor_key("auditor.example/2026", path)
    assert read_auditor_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert parse_vkey(key.vkey.text()) == key.vkey
    assert key.vkey.type == COSIGNATURE_V1
    assert key.seed.hex() not in repr(key)
    with pytest.raises(PackageNameRefused):
        make_auditor_key("auditor.example/2026", path)
    path.chmod(0o640)
    with pytest.raises(KeyFileRefused, match="0640"):
        read_auditor_key(path)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_a_name_that_no_key_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError):
        make_auditor_key(name, tmp_path / "key")
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize(
    "data", [b"", b"x", KEY.file_text()[:-1], KEY.file_text().replace(b"2026", b"20 26")]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(KeyFileRefused):
        read_auditor_key(path)
    with pytest.raises(KeyFileRefused):
        read_auditor_key(tmp_path / "gone")


@pytest.mark.parametrize(
    "request_",
    [
        Request("model", "imagine-2", strength="B"),
        Request("account", "account:1", START_US - 2 * HOUR_US, START_US + 1, strength="B"),
        Request("source", "s0001", strength="B"),
    ],
    ids=str,
)
def test_a_verdict_gives_an_answer_strength_b(
    small: Small, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = small.folder / "verdict"
    sign_verdict(audited(small, stream_of(small)), KEY, out=verdict, time_s=START_US // 1_000_000)
    cosigners = Cosigners((KEY.vkey,), 0)
    monkeypatch.setattr(small, "trust", lambda: trust_for(small.ledger, cosigners))
    small.ask(request_)
    report = small.produce(request_, audit=verdict.read_bytes(), cosigners=cosigners)
    judged = verify(small, request_)
    assert judged.exit_code == 0, judged.report["findings"]
    assert (judged.report["strength"], report.strength) == ("B", "B")
    monkeypatch.setattr(small, "trust", lambda: trust_for(small.ledger))
    judged = verify(small, request_)
    assert "audit.signature_missing" in judged.codes, "a key that the authority does not know counts nothing"


def test_the_text_of_a_verdict_names_the_segments(small: Small) -> None:
    out = small.folder / "verdict"
    report = audited(small, stream_of(small, "s0002"))
    sign_verdict(report, KEY, out=out, time_s=7)
    verdict = parse_audit_verdict(parse_note(out.read_bytes()).text)
    assert verdict.origin == small.ledger.origin
    assert list(verdict.segments) == report.segments


# --- the commands


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = make_platform(tmp_path, capsys, monkeypatch)
    made.document("a.txt", b"a red boat\n")
    made.document("b.txt", b"a harbour\n")
    made("init", made.vault, "--host", "platform.example")
    made("source", "add", "docs", f"files://{made.docs}", "--custodian", "staff-017@example.org")
    made("order", "add", made.order_file())
    made("preserve", CLI_ORDER)
    return made


def policy_of(platform: Platform) -> Path:
    """Give the auditor what a trust file says, without the tag key."""
    trust, policy = platform.root / "trust.json", platform.root / "policy.json"
    if not policy.exists():
        platform("order", "trust", CLI_ORDER, "--to", trust)
        document = json.loads(trust.read_bytes())
        del document["tagkey"], document["held"]
        policy.write_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return policy


def with_cosigner(platform: Platform, vkey: str) -> Path:
    """Let the authority put the auditor's key into its trust file."""
    policy_of(platform)
    document = json.loads((platform.root / "trust.json").read_bytes())
    document["cosigners"] = [vkey]
    path = platform.root / "trust-b.json"
    path.write_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return path


def test_from_stream_to_strength_b_by_commands(platform: Platform) -> None:
    root = platform.root
    key = platform("audit-key", "--name", "auditor.example/a", "--to", root / "a.key", "--json").json
    policy = policy_of(platform)
    stream = platform("audit-stream", CLI_ORDER, "--to", root / "s.audit", "--json").json
    assert stream["segments"] >= 3
    arguments = ("--trust", policy, "--key", root / "a.key", "--to", root / "verdict")
    audit = platform("audit-index", root / "s.audit", *arguments, "--json").json
    assert (audit["valid"], audit["faults"], len(audit["segments"])) == (True, [], stream["segments"])
    held_by = ("--custodian", "staff-017@example.org")
    answer = platform(
        "produce", CLI_ORDER, *held_by, "--audit", root / "verdict", "--to", root / "b.scelle", "--json"
    ).json
    assert (answer["strength"], answer["hits"]) == ("B", 2)
    platform.capsys.readouterr()
    trust = with_cosigner(platform, key["vkey"])
    assert scelle_verify.main([str(root / "b.scelle"), "--trust", str(trust)]) == 0
    assert "strength B" in platform.capsys.readouterr().out
    kinds = [event["kind"] for event in platform("order", "show", CLI_ORDER, "--json").json["events"]]
    assert kinds[-3:] == ["audit.stream", "production.requested", "production"]
    assert platform("verify", "--json").json["findings"] == []

    again = ("--audit", root / "verdict", "--strength", "B", "--to", root / "c.scelle")
    refused = platform("produce", CLI_ORDER, *held_by, *again, code=2)
    assert "leaves out entry" in refused.err, "what was sealed since, the auditor has not seen"
    assert not (root / "c.scelle").exists()


def test_a_fault_ends_the_audit_with_1_and_no_verdict(platform: Platform) -> None:
    root = platform.root
    platform("audit-key", "--name", "auditor.example/a", "--to", root / "a.key")
    platform("audit-stream", CLI_ORDER, "--source", "docs", "--to", root / "s.audit")
    data = (root / "s.audit").read_bytes()
    (root / "s.audit").write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
    arguments = ("--trust", policy_of(platform), "--key", root / "a.key", "--to", root / "verdict")
    answer = platform("audit-index", root / "s.audit", *arguments, code=1)
    assert "segment.index" in answer.out
    assert "nothing was signed" in answer.out
    assert not (root / "verdict").exists()
    document = platform("audit-index", root / "s.audit", *arguments, "--json", code=1).json
    assert (document["valid"], document["verdict"]) == (False, None)


def test_an_audit_needs_no_vault(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    root = platform.root
    platform("audit-stream", CLI_ORDER, "--to", root / "s.audit")
    policy = policy_of(platform)
    shutil.rmtree(platform.vault)
    monkeypatch.delenv("SCELLE_VAULT")
    monkeypatch.delenv("SCELLE_KEY_FILE")
    platform("audit-key", "--name", "auditor.example/a", "--to", root / "a.key")
    arguments = ("--key", root / "a.key", "--to", root / "verdict")
    said = platform("audit-index", root / "s.audit", "--trust", policy, *arguments).out
    assert "signed by auditor.example/a" in said
    assert "once trust.json has this cosigner" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("audit-stream", CLI_ORDER, "--source", "nope", "--to", "s.audit"), "no source 'nope'"),
        (("audit-stream", CLI_ORDER, "--to", "vault/s.audit"), "inside the vault"),
        (("audit-stream", CLI_ORDER, "--to", "docs"), "there already"),
        (("audit-key", "--name", "a b", "--to", "a.key"), "key name"),
        (("audit-key", "--name", "a" * 256, "--to", "a.key"), "255 bytes"),
        (("audit-key", "--name", "a", "--to", "vault/a.key"), "inside the vault"),
        (("audit-index", "s.audit", "--key", "a.key", "--to", "v"), "key file"),
        (
            ("produce", CLI_ORDER, "--source", "docs", "--strength", "B", "--to", "p"),
            "needs an auditor's verdict",
        ),
        (("produce", CLI_ORDER, "--source", "docs", "--audit", "gone", "--to", "p"), "no such file"),
        (("produce", CLI_ORDER, "--custodian", "x", "--strength", "A", "--to", "p"), "whole source"),
        (("produce", CLI_ORDER, "--source", "docs", "--strength", "D", "--to", "p"), "--strength"),
    ],
)
def test_a_command_that_cannot_be_done_changes_nothing(
    platform: Platform, arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(platform.root)
    size = platform("status", "--json").json["orders"][0]["log_size"]
    before = sorted(platform.root.iterdir())
    assert words in platform(*arguments, code=2).err
    assert sorted(platform.root.iterdir()) == before
    assert platform("status", "--json").json["orders"][0]["log_size"] == size
