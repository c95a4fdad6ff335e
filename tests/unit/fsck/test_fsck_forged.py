"""What who has every key can write, and what of it the records themselves give away."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scelle.formats.entries import Segment, parse_entry
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import (
    NULL,
    UNDATED,
    content_value,
    integer_value,
    structure_value,
    text_value,
)
from scelle.fsck.frames import frame_context
from scelle.ledger.frames import HEADER
from scelle.ledger.service import OrderLedgerWriter
from scelle.vault.packs import PackStore

from .support import (
    HOST,
    HOUR_US,
    ORDER,
    START_US,
    Made,
    codes,
    encode_rows,
    forge_manifest,
    index_blocks,
    log_entries,
    make_vault,
    names,
    only,
    plain_rows,
    reseal,
    with_value,
)

CONTENT = content_value(bytes(32), 3)


# -- rows


def test_a_changed_value_is_named(made: Made) -> None:
    rows = plain_rows(made)
    rows[2] = with_value(rows[2], 4, text_value("text/html"))
    reseal(made, [encode_rows(rows)])
    report = made.verify()
    assert codes(report) == ["record.commitment", "segment.index_root"]
    assert "s0001 segment 0, record 2 (docs/empty)" in report.findings[0].subject


def test_a_changed_identifier_is_named_in_the_index_too(made: Made) -> None:
    rows = plain_rows(made)
    rows[1] = with_value(rows[1], 3, text_value("docs/other.txt"))
    reseal(made, [encode_rows(rows)])
    report = made.verify()
    assert codes(report) == ["record.commitment", "segment.index", "segment.index_root"]
    assert "record 1 (docs/other.txt)" in report.findings[0].subject
    assert "dimension 3" in report.findings[1].detail


def test_another_record_key_is_named(made: Made) -> None:
    rows = plain_rows(made)
    rows[0] = replace(rows[0], record_key=bytes(32))
    reseal(made, [encode_rows(rows)])
    report = made.verify()
    assert codes(report) == ["record.commitment", "segment.index_root", "content.chunks"]
    assert "record 0 (docs/a.txt)" in only(report, "content.chunks").subject


@pytest.mark.parametrize("gone", [0, 1, 3])
def test_a_dropped_row_is_named(made: Made, gone: int) -> None:
    rows = plain_rows(made)
    reseal(made, [encode_rows(rows[:gone] + rows[gone + 1 :])])
    report = made.verify()
    assert codes(report) == ["segment.records"]
    assert report.findings[0].subject == f"order o-1, s0001 segment 0, record {gone}"
    assert report.records == 6


def test_a_row_that_stands_twice_is_named(made: Made) -> None:
    rows = plain_rows(made)
    reseal(made, [encode_rows(rows), encode_rows(rows[1:2])])
    report = made.verify()
    assert codes(report) == ["segment.records"]
    assert "record 1" in report.findings[0].subject
    assert "there twice" in report.findings[0].detail


def test_a_row_beyond_the_manifest_is_named(made: Made) -> None:
    rows = plain_rows(made)
    extra = with_value(rows[3], 1, integer_value(4))
    reseal(made, [encode_rows([*rows, extra])])
    report = made.verify()
    assert codes(report) == ["segment.records"]
    assert "record 4" in report.findings[0].subject


def test_swapped_rows_are_named(made: Made) -> None:
    rows = plain_rows(made)
    reseal(made, [encode_rows([rows[0], rows[2], rows[1], rows[3]])])
    report = made.verify()
    assert codes(report) == ["record.seq"]
    assert report.findings[0].subject.endswith("record 1 (docs/b.txt)")


def test_a_row_that_takes_the_place_of_another_is_named(made: Made) -> None:
    rows = plain_rows(made)
    rows[1] = with_value(rows[1], 1, integer_value(2))
    reseal(made, [encode_rows(rows)])
    report = made.verify()
    assert codes(report)[:4] == ["record.seq", "segment.records", "segment.records", "record.commitment"]
    assert "record 1" in report.findings[2].subject


@pytest.mark.parametrize("seq", [-1, 2**63 - 1, -(2**63), 1 << 40])
def test_a_row_with_a_wild_sequence_number_is_named(made: Made, seq: int) -> None:
    rows = plain_rows(made)
    rows[3] = with_value(rows[3], 1, integer_value(seq))
    for frames in ([rows], [rows[:3], rows[3:]]):
        reseal(made, [encode_rows(frame) for frame in frames])
        report = made.verify()
        assert {"segment.records"} <= set(codes(report)) <= {"segment.records", "record.seq"}
        assert report.records == 6


@pytest.mark.parametrize(
    "plain",
    [b"\0", bytes(31), bytes(36) + b"\0\0", b"\xff" * 80, bytes(32) + b"\0\0\0\x04" + b"s\0\0\0" + b"\0\0"],
)
def test_rows_that_are_no_rows_are_named(made: Made, plain: bytes) -> None:
    rows = encode_rows(plain_rows(made))
    reseal(made, [rows + plain])
    report = made.verify()
    assert set(codes(report)) <= {"segment.row", "record.value", "segment.records"}
    assert {"segment.row", "record.value"} & set(codes(report))
    assert report.records == 7


def test_records_in_several_frames_are_judged_apart(made: Made) -> None:
    rows = plain_rows(made)
    rows[3] = with_value(rows[3], 4, text_value("x/y"))
    reseal(made, [encode_rows(rows[at : at + 1]) for at in range(4)])
    report = made.verify()
    assert only(report, "record.commitment").subject.endswith("record 3 (docs/mére.bin)")
    path = made.segment() / "rows"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(bytes(data))
    report = made.verify()
    assert "rows, frame 0 at byte 0" in only(report, "segment.frame").subject
    assert only(report, "record.commitment").subject.endswith("record 3 (docs/mére.bin)")


def test_frames_cut_off_at_the_end_are_named(made: Made) -> None:
    rows = plain_rows(made)
    reseal(made, [encode_rows(rows[at : at + 1]) for at in range(4)])
    path = made.segment() / "rows"
    data = path.read_bytes()
    size = 0
    for _ in range(3):
        size += 9 + int.from_bytes(data[size : size + 4], "big")
    path.write_bytes(data[:size])
    report = made.verify()
    assert sorted(codes(report)) == ["segment.keys", "segment.records"]
    assert "record 3" in only(report, "segment.records").subject


@pytest.mark.parametrize("offset", [0, 3, 4, 7, 8])
def test_a_damaged_frame_header_does_not_hide_the_frames_behind_it(made: Made, offset: int) -> None:
    rows = plain_rows(made)
    reseal(made, [encode_rows(rows[at : at + 1]) for at in range(4)])
    path = made.segment() / "rows"
    data = path.read_bytes()
    second = 9 + int.from_bytes(data[:4], "big")
    for bit in range(8):
        changed = bytearray(data)
        changed[second + offset] ^= 1 << bit
        path.write_bytes(bytes(changed))
        report = made.verify()
        assert report.records == 6, (bit, report.findings)
        assert "record 1" in only(report, "segment.records").subject
        assert names(report, "rows, frame 1 at byte")


def test_bytes_between_frames_are_named(made: Made) -> None:
    rows = plain_rows(made)
    reseal(made, [encode_rows(rows[:2]), encode_rows(rows[2:])])
    path = made.segment() / "rows"
    data = path.read_bytes()
    second = 9 + int.from_bytes(data[:4], "big")
    path.write_bytes(data[:second] + b"\xff" * 50 + data[second:])
    report = made.verify()
    assert codes(report) == ["segment.frame"]
    assert "50 bytes in which no frame" in report.findings[0].detail


# -- what the writer itself could be made to seal


def sealed_with(folder: Path, *records: Sequence[bytes], time_us: int = START_US) -> Made:
    def fill(ledger: OrderLedgerWriter, packs: PackStore) -> None:
        writer = ledger.writer("s0009", DOCUMENT_V1, START_US)
        for number, rest in enumerate(records):
            writer.append(bytes([number + 1]) * 32, time_us, rest)

    return make_vault(folder, {}, fill=fill)


def document(**changed: bytes) -> list[bytes]:
    values = {
        "account": NULL,
        "native_id": text_value("docs/x"),
        "media_type": text_value("text/plain"),
        "content": NULL,
        "chunks": NULL,
        "time_basis": text_value("mtime"),
        "meta": structure_value(b"{}"),
    }
    return list((values | changed).values())


WRONG_VALUES: dict[str, list[bytes]] = {
    "field media_type: value not canonical": document(media_type=b"s\0\0\0\x02\xff\xfe"),
    "field meta: value not canonical": document(meta=structure_value(b'{"b":1,"a":2}')),
    "field meta: value not canonical ": document(meta=structure_value(b'{"a":1,"a":1}')),
    "field meta: value not canonical  ": document(meta=structure_value(b'{"a":01}')),
    "field meta: value not canonical   ": document(meta=structure_value(b'{"a": 1}')),
    "field meta: value not canonical    ": document(meta=structure_value(b'{"a":1}\n')),
    "field time_basis: type b'i', must be s": document(time_basis=integer_value(1)),
    "field account: type b'x', must be s": document(account=b"x\0\0\0\x01a"),
    "field content: value not canonical": document(
        content=b"h\0\0\0\x28" + bytes(32) + b"\xff" * 8, chunks=CONTENT
    ),
    "field chunks: value not canonical": document(content=CONTENT, chunks=b"h\0\0\0\x01x"),
    "field media_type: value not canonical: type 'n'": document(media_type=b"n\0\0\0\x01x"),
    "content and chunks are not of one size": document(content=CONTENT, chunks=content_value(bytes(32), 4)),
    "content and chunks are not both there": document(content=CONTENT),
    "it has 10 values, schema scelle.document has 9 fields": [*document(), NULL],
    "it has 8 values, schema scelle.document has 9 fields": document()[:-1],
}


@pytest.mark.parametrize("detail", WRONG_VALUES)
def test_a_wrong_value_that_was_sealed_is_named(tmp_path: Path, detail: str) -> None:
    made = sealed_with(tmp_path, document(), WRONG_VALUES[detail], document(native_id=text_value("docs/y")))
    report = made.verify()
    assert [code for code in codes(report) if code != "content.missing"] == ["record.value"], report.findings
    finding = only(report, "record.value")
    assert detail.strip() in finding.detail
    assert finding.subject == "order o-1, s0009 segment 0, record 1 (docs/x)"


@pytest.mark.parametrize("time_us", [UNDATED, -(2**63) + 1, 2**63 - 1, -1, 0])
def test_odd_times_are_valid(tmp_path: Path, time_us: int) -> None:
    made = sealed_with(tmp_path, document(), time_us=time_us)
    assert made.verify().valid


@pytest.mark.parametrize(
    "keep", [b'{"keep":"digest"}', b'{"a":{"keep":"digest"}}', b'{"keep":"digest","z":1.5}']
)
def test_only_a_record_that_says_so_itself_needs_no_content(tmp_path: Path, keep: bytes) -> None:
    values = document(content=CONTENT, chunks=CONTENT, meta=structure_value(keep))
    report = sealed_with(tmp_path, values).verify()
    assert report.valid is (keep == b'{"keep":"digest"}'), report.findings


def test_a_record_without_content_needs_none(tmp_path: Path) -> None:
    assert sealed_with(tmp_path, document(), document()).verify().valid


def test_records_under_another_tag_key_are_named(tmp_path: Path) -> None:
    """False tags at sealing: an index in which an account cannot be found."""

    def fill(ledger: OrderLedgerWriter, packs: PackStore) -> None:
        honest = ledger.secrets
        ledger.secrets = replace(honest, tag_key=bytes(32))
        ledger.writer("s0009", DOCUMENT_V1, START_US).append(bytes(32), START_US, document())
        ledger.secrets = honest

    report = make_vault(tmp_path, {}, fill=fill).verify()
    assert codes(report) == [*["segment.index"] * 3, "segment.index_root"]


def test_false_bounds_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_narrow(minimum_us: int, maximum_us: int) -> tuple[int, int]:
        return 0, HOUR_US

    monkeypatch.setattr("scelle.ledger.segments.round_time_bounds", too_narrow)
    report = make_vault(tmp_path).verify()
    assert set(codes(report)) == {"segment.bounds"}


# -- manifests under a valid signature


FORGED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "record_root": ({"record_root": bytes(32)}, {"segment.record_root", "segment.tree"}),
    "index_root": ({"index_root": bytes(32)}, {"segment.index_root", "segment.tree"}),
    "undated": ({"undated": 1}, {"segment.bounds"}),
    "wider bounds": ({"time": (0, START_US // HOUR_US * HOUR_US + 9 * HOUR_US)}, {"segment.bounds"}),
    "narrower bounds": ({"time": (0, HOUR_US)}, {"segment.bounds"}),
    "no bounds": ({"time": None, "undated": 4}, {"segment.bounds"}),
    "half hours": ({"time": (1, 2)}, {"log.format", "segment.bounds"}),
    "fewer records": (
        {"records": 3, "seq": (0, 3), "index_size": 9},
        {"segment.records", "segment.record_root", "segment.index_root", "segment.tree", "segment.index"},
    ),
    "more records": (
        {"records": 5, "seq": (0, 5), "index_size": 15},
        {"segment.records", "segment.record_root", "segment.index_root", "segment.tree", "segment.index"},
    ),
    "seq": ({"seq": (1, 5)}, {"log.format", "segment.head", "segment.records", "record.commitment"}),
    "index size": ({"index_size": 8}, {"log.chain"}),
    "profile": ({"profile": 0}, {"log.chain", "segment.head", "record.commitment", "segment.index_root"}),
    "watermark": ({"watermark": (5, 9)}, {"segment.head"}),
    "anchor": ({"anchor": bytes(32)}, {"log.anchor"}),
    "order": ({"order": "o-2"}, {"log.chain"}),
    "prev": ({"prev": bytes(32)}, {"log.format", "log.chain"}),
    "a million million records": (
        {"records": 10**12, "seq": (0, 10**12), "index_size": 3 * 10**12},
        {"log.format", "segment.records", "segment.record_root", "segment.tree"},
    ),
    "as many dimensions": ({"index_size": 4 * 10**12}, {"log.format", "log.chain"}),
    "schema": ({"schema": bytes(32)}, {"log.schema", "segment.head"}),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_manifest_is_named(made: Made, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("scelle.fsck.segments.MAX_RECORDS", 4096)  # as many places are made, whatever it says
    changed, expected = FORGED[name]
    forge_manifest(made, lambda entry: replace(entry, **changed))
    report = made.verify()
    assert expected <= set(codes(report)), report.findings
    assert "fault" not in codes(report)
    if name not in ("fewer records", "more records", "seq", "profile", "schema", "a million million records"):
        assert expected == set(codes(report)), report.findings


def test_a_manifest_of_another_number_leaves_the_folder_without_one(made: Made) -> None:
    forge_manifest(made, lambda entry: replace(entry, number=3, prev=bytes(32)))
    report = made.verify()
    assert {"log.chain", "file.missing", "vault.stray"} <= set(codes(report))


# -- index and frames


@pytest.mark.parametrize("sample", [None, 7])
def test_a_changed_index_entry_is_named(made: Made, sample: int | None) -> None:
    rows, blocks = [encode_rows(plain_rows(made))], index_blocks(made)
    changed = bytearray(blocks[1])
    changed[15] ^= (
        1  # the last byte of a tag: all have one account, so that it stays or goes behind the others
    )
    reseal(made, rows, [blocks[0], bytes(changed), blocks[2]])
    report = made.verify(sample=sample)
    assert "dimension 2" in only(report, "segment.index").detail
    assert set(codes(report)) == {"segment.index"}


class OneRecord:
    """Draw the record of the order that is asked for."""

    def __init__(self, place: int) -> None:
        self._place = place

    def sample(self, places: range, count: int) -> list[int]:
        assert count == 1
        return [places[self._place]]


@pytest.mark.parametrize("is_drawn", [True, False])
def test_a_sample_compares_the_index_entries_of_what_is_drawn(
    made: Made, monkeypatch: pytest.MonkeyPatch, is_drawn: bool
) -> None:
    rows, blocks = [encode_rows(plain_rows(made))], index_blocks(made)
    seq = int.from_bytes(blocks[1][120:128], "big") - (1 << 63)  # of the last entry: no order is broken here
    changed = bytearray(blocks[1])
    changed[96:112] = b"\xff" * 16
    reseal(made, rows, [blocks[0], bytes(changed), blocks[2]])
    manifests = [parse_entry(data) for data in log_entries(made)]
    counts = [(each.source, each.records) for each in manifests if isinstance(each, Segment)]
    before = sum(records for _, records in counts[: [source for source, _ in counts].index("s0001")])
    draw = OneRecord(before + (seq if is_drawn else (seq + 1) % 4))
    monkeypatch.setattr("scelle.fsck.service.secrets.SystemRandom", lambda: draw)
    report = made.verify(sample=1)
    assert codes(report) == (["segment.index"] if is_drawn else [])


def test_swapped_index_entries_are_named(made: Made) -> None:
    blocks = index_blocks(made)
    swapped = blocks[2][32:64] + blocks[2][:32] + blocks[2][64:]
    reseal(made, [encode_rows(plain_rows(made))], [blocks[0], blocks[1], swapped])
    for sample in (None, 7):
        report = made.verify(sample=sample)
        assert "dimension 3: the entry at position" in only(report, "segment.index").detail


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_index_of_other_frames_is_named(made: Made, number: int) -> None:
    blocks = index_blocks(made)
    reseal(made, [encode_rows(plain_rows(made))], (blocks * 2)[: number + (number == 3)])
    assert "segment.index" in codes(made.verify())


def test_a_frame_that_holds_less_than_it_declares_is_named(made: Made) -> None:
    """Its header is authenticated; who has the vault's key can make a false one."""
    plain = encode_rows(plain_rows(made))
    reseal(made, [plain])
    folder, context = made.segment(), frame_context(f"{HOST}/po/{ORDER}", "s0001", 0, "rows")
    packed = zstandard.ZstdCompressor().compress(plain)
    header = HEADER.pack(len(packed) + 16, len(plain) + 100, 1)
    key = bytes(range(32))
    body = AESGCM(key).encrypt(bytes(12), packed, context + bytes(4) + header)
    (folder / "rows").write_bytes(header + body)
    keys = (folder / "keys").read_bytes()
    (folder / "keys").write_bytes(made.key.wrap(key, context + bytes(4)) + keys[60:])
    report = made.verify()
    assert "not the" in only(report, "segment.frame").detail
