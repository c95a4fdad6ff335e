import os
from pathlib import Path

import pytest

from scelle.errors import FrameDamaged, SegmentDamaged
from scelle.formats.entries import Segment
from scelle.formats.index import tag
from scelle.formats.records import record_commitment
from scelle.formats.schema import DOCUMENT_V1
from scelle.ledger.events import record_event
from scelle.ledger.rows import decode_rows, split_values
from scelle.ledger.segments import SegmentReader, parse_sort_key
from scelle.ledger.service import Looked, OrderLedgerWriter
from scelle.merkle.hashing import EMPTY_ROOT, tree_root
from scelle.vault.keys import VaultKey

from .conftest import START_US, Opener, add_documents, reader


def sealed(ledger: OrderLedgerWriter, count: int) -> Segment:
    add_documents(ledger, count)
    ledger.seal(START_US + 10)
    manifest = ledger.entries[-1]
    assert isinstance(manifest, Segment)
    return manifest


def opened(tmp_path: Path, vault_key: VaultKey, manifest: Segment) -> SegmentReader:
    return reader(tmp_path, vault_key).segment(manifest)


def test_rows_come_back_in_capture_order(
    ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey
) -> None:
    manifest = sealed(ledger, 20)
    rows = list(opened(tmp_path, vault_key, manifest).rows())
    assert [row.seq for row in rows] == list(range(20))
    assert [row.side for row in rows] == [number.to_bytes(4, "big") for number in range(20)]
    assert rows[7].record_key == bytes([7]) * 32


def test_the_manifest_commits_to_what_the_rows_hold(
    ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey
) -> None:
    manifest = sealed(ledger, 20)
    segment = opened(tmp_path, vault_key, manifest)
    commitments = b"".join(
        record_commitment(1, row.record_key[:16], row.split_values()) for row in segment.rows()
    )
    assert manifest.record_root == tree_root(commitments)
    assert segment.record_hashes() == commitments
    assert manifest.index_root == tree_root(segment.index_hashes())
    assert manifest.index_size == 60


def test_index_keys_are_sorted_by_tag_time_and_seq(
    ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey
) -> None:
    manifest = sealed(ledger, 20)
    segment = opened(tmp_path, vault_key, manifest)
    keys = list(segment.index_keys(1))
    assert keys == sorted(keys)
    assert parse_sort_key(keys[0]) == (
        tag(ledger.secrets.tag_key, "source", "s0001"),
        START_US - 19_000_000,
        19,
    )
    assert len(list(segment.index_keys(3))) == 20


def test_time_bounds_are_whole_hours_around_the_dated_records(ledger: OrderLedgerWriter) -> None:
    manifest = sealed(ledger, 20)
    assert manifest.time is not None
    low, high = manifest.time
    assert low % 3_600_000_000 == high % 3_600_000_000 == 0
    assert low <= START_US - 19_000_000 < START_US <= high


def test_a_single_row_is_found_by_its_sequence_number(
    ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey
) -> None:
    first, second = sealed(ledger, 5), sealed(ledger, 5)
    segment = opened(tmp_path, vault_key, second)
    assert second.seq == (first.seq[1], 10)
    assert segment.row(7).record_key == bytes([7]) * 32
    with pytest.raises(SegmentDamaged, match="no row"):
        segment.row(10)
    with pytest.raises(SegmentDamaged, match="no row"):
        segment.row(4)


def test_a_source_that_offered_nothing_gets_a_manifest_of_no_records(ledger: OrderLedgerWriter) -> None:
    ledger.seal(START_US + 1, looked=[Looked("s0009", DOCUMENT_V1)])
    manifest = ledger.entries[-1]
    assert isinstance(manifest, Segment)
    assert (manifest.records, manifest.time, manifest.index_size) == (0, None, 0)
    assert manifest.record_root == manifest.index_root == EMPTY_ROOT


def test_flushed_rows_survive_and_unflushed_do_not(open_ledger: Opener) -> None:
    ledger = open_ledger()
    add_documents(ledger, 5)
    ledger.flush()
    add_documents(ledger, 3)
    ledger.close()
    again = open_ledger()
    writer = again.open_rows("s0001")
    assert writer is not None
    assert writer.records == 5
    add_documents(again, 2)
    again.seal(START_US + 1)
    manifest = again.entries[-1]
    assert isinstance(manifest, Segment)
    assert (manifest.records, manifest.seq) == (7, (0, 7))


@pytest.mark.parametrize("lost", [1, 30, 69, 200])
def test_a_torn_tail_is_cut(open_ledger: Opener, tmp_path: Path, lost: int) -> None:
    ledger = open_ledger()
    add_documents(ledger, 5)
    ledger.flush()
    add_documents(ledger, 5)
    ledger.flush()
    ledger.close()
    rows = tmp_path / "po" / "o1" / "seg" / "s0001" / "0.open" / "rows"
    os.truncate(rows, rows.stat().st_size - lost)
    writer = open_ledger().open_rows("s0001")
    assert writer is not None
    assert writer.records == 5


def test_a_closed_segment_that_never_reached_the_log_is_open_again(
    open_ledger: Opener, tmp_path: Path
) -> None:
    ledger = open_ledger()
    writer = add_documents(ledger, 5)
    writer.close(order="o1", watermark_to=START_US + 1, previous=None, anchor=None)
    assert (tmp_path / "po" / "o1" / "seg" / "s0001" / "0").exists()
    ledger.log.close()
    again = open_ledger()
    resumed = again.open_rows("s0001")
    assert resumed is not None
    assert resumed.records == 5
    again.seal(START_US + 2)
    assert again.entries[-1].source == "s0001"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["rows", "index", "keys"])
def test_every_flipped_byte_of_a_sealed_file_is_found(
    ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey, name: str
) -> None:
    manifest = sealed(ledger, 2)
    path = tmp_path / "po" / "o1" / "seg" / "s0001" / "0" / name
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(FrameDamaged):
            read_everything(reader(tmp_path, vault_key).segment(manifest))
    path.write_bytes(data)
    read_everything(reader(tmp_path, vault_key).segment(manifest))


def read_everything(segment: SegmentReader) -> None:
    list(segment.rows())
    for dimension in (1, 2, 3):
        list(segment.index_keys(dimension))


def test_values_that_overrun_their_row_are_refused() -> None:
    with pytest.raises(SegmentDamaged, match="longer than its row"):
        split_values(b"s\x00\x00\x00\x05abc")


def test_a_row_that_overruns_its_frame_is_refused() -> None:
    with pytest.raises(SegmentDamaged, match="longer than its frame"):
        list(decode_rows(bytes(32) + b"\x00\x00\x00\xff" + b"short", 0))


@pytest.mark.parametrize("seq_lo", [1, 4])
def test_a_record_out_of_sequence_is_refused(open_ledger: Opener, tmp_path: Path, seq_lo: int) -> None:
    ledger = open_ledger()
    add_documents(ledger, 2)
    ledger.flush()
    ledger.close()
    path = tmp_path / "po" / "o1" / "seg" / "s0001" / "0.open" / "head"
    path.write_bytes(path.read_bytes().replace(b'"seq_lo":0', b'"seq_lo":%d' % seq_lo))
    with pytest.raises(SegmentDamaged, match=f"record 0 stands where {seq_lo} belongs"):
        open_ledger()


def test_an_open_segment_without_a_row_is_not_sealed(open_ledger: Opener, tmp_path: Path) -> None:
    """A crash between the head and the first row leaves one: a manifest of no records has no folder."""
    ledger = open_ledger()
    ledger.writer("s0001", DOCUMENT_V1, START_US)
    ledger.close()
    ledger = open_ledger()
    assert ledger.open_rows("s0001") is not None
    record_event(ledger, START_US, "op-1", "preview", {})
    ledger.seal(START_US + 1)
    assert [manifest.source for _, manifest in ledger.manifests()] == ["scelle.events"]
    assert list((tmp_path / "po" / "o1" / "seg" / "s0001").iterdir()) == []
    ledger.writer("s0001", DOCUMENT_V1, START_US)
    ledger.seal(START_US + 2, looked=[Looked("s0001", DOCUMENT_V1)])
    assert [manifest.records for _, manifest in ledger.manifests() if manifest.source == "s0001"] == [0]
    assert list((tmp_path / "po" / "o1" / "seg" / "s0001").iterdir()) == []


@pytest.mark.parametrize("is_closed", [False, True])
def test_rows_whose_head_is_gone_are_not_removed(
    open_ledger: Opener, tmp_path: Path, is_closed: bool
) -> None:
    ledger = open_ledger()
    writer = add_documents(ledger, 5)
    ledger.flush()
    if is_closed:
        writer.close(order="o1", watermark_to=START_US + 1, previous=None, anchor=None)
    ledger.log.close()
    folder = tmp_path / "po" / "o1" / "seg" / "s0001" / ("0" if is_closed else "0.open")
    head = (folder / "head").read_bytes()
    (folder / "head").unlink()
    rows = (folder / "rows").read_bytes()
    with pytest.raises(SegmentDamaged, match="rows are kept there"):
        open_ledger()
    assert (folder / "rows").read_bytes() == rows
    (folder / "head").write_bytes(head)
    resumed = open_ledger().open_rows("s0001")
    assert resumed is not None
    assert resumed.records == 5
