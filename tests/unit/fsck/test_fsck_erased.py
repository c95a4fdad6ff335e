"""Segments of which records were erased: what completes their roots, and every way in which that can be wrong."""

from dataclasses import replace

import pytest

from scelle.errors import SegmentDamaged
from scelle.formats.entries import Erase, parse_entry
from scelle.fsck.model import Finding
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedger

from .support import (
    HOST,
    ORDER,
    Made,
    encode_rows,
    erase_records,
    flip,
    forge_log,
    index_blocks,
    log_entries,
    overwrite,
    plain_rows,
    reseal,
    with_old_files,
    with_other_tombstones,
    writing,
)

FILE = f"order {ORDER}, s0001 segment 0, po/{ORDER}/seg/s0001/0"


def findings(made: Made, **options: object) -> list[tuple[str, str]]:
    return [(each.code, each.subject) for each in made.verify(**options).findings]


def first_reader(made: Made) -> SegmentReader:
    ledger = OrderLedger(made.path, ORDER, f"{HOST}/po/{ORDER}", made.key)
    return ledger.segment(next(m for _, m in ledger.manifests() if m.source == "s0001"))


@pytest.mark.parametrize("seqs", [(0,), (3,), (1, 2), (0, 1, 2, 3)])
def test_erased_records_complete_the_roots(made: Made, seqs: tuple[int, ...]) -> None:
    before = made.verify().records
    erase_records(made, *seqs)
    report = made.verify()
    assert report.findings == ()
    assert report.records == before - len(seqs)
    assert [row.seq for row in plain_rows(made)] == [seq for seq in range(4) if seq not in seqs]
    assert made.verify(sample=100).valid


def test_records_are_erased_one_after_another(made: Made) -> None:
    for seq in (2, 0, 3, 1):
        erase_records(made, seq)
        assert made.verify().findings == ()
    assert plain_rows(made) == []


def test_an_erased_row_is_found_no_more(made: Made) -> None:
    erase_records(made, 1)
    reader = first_reader(made)
    assert [reader.row(seq).seq for seq in (0, 2, 3)] == [0, 2, 3]
    with pytest.raises(SegmentDamaged, match="no row with sequence number 1"):
        reader.row(1)
    reader.close()


def test_files_from_before_an_erasure_are_found(made: Made) -> None:
    with_old_files(made, 1)
    found = findings(made)
    assert ("record.readable", f"order {ORDER}, s0001 segment 0, record 1") in found
    assert {code for code, _ in found} <= {"record.readable", "segment.index"}
    assert (
        "record.readable" in {code for code, _ in findings(made, sample=1)} or made.verify(sample=1).records
    )
    (made.segment() / "erased").unlink()  # docs/verify.md: then the next command erases it again
    with writing(made):
        pass
    assert findings(made) == []
    assert [row.seq for row in plain_rows(made)] == [0, 2, 3]


def test_a_record_without_row_and_tombstone_is_found(made: Made) -> None:
    with_other_tombstones(made, lambda entry: None)
    assert findings(made) == [("record.erased", f"order {ORDER}, s0001 segment 0, record 1")]


def test_a_tombstone_of_another_commitment_is_found(made: Made) -> None:
    with_other_tombstones(made, lambda entry: replace(entry, record=(1, bytes(32))))
    assert {code for code, _ in findings(made)} == {"record.tombstone", "segment.erased"}


def test_a_tombstone_of_another_place_is_found(made: Made) -> None:
    def moved(entry: Erase) -> Erase:
        other = next(place for place in range(4) if place != entry.index[0])
        return replace(entry, index=(other, *entry.index[1:]))

    with_other_tombstones(made, moved)
    assert {code for code, _ in findings(made)} >= {"segment.erased", "segment.index_root"}


def test_two_tombstones_of_one_place_are_found(made: Made) -> None:
    erase_records(made, 0, 1)
    entries = [parse_entry(data) for data in log_entries(made)]
    places = next(entry.index for entry in entries if isinstance(entry, Erase))
    changed = [replace(each, index=places) if isinstance(each, Erase) else each for each in entries]
    forge_log(made, [each.encode() for each in changed])
    assert "log.chain" in {code for code, _ in findings(made)}


def test_a_release_that_never_was_allows_nothing(made: Made) -> None:
    erase_records(made, 1)
    entries = [data for data in log_entries(made) if not data.startswith(b"scelle/release")]
    forge_log(made, entries)
    details = [each.detail for each in made.verify().findings if each.code == "log.consent"]
    assert details == ["a tombstone on the basis of a release, and the order lives"]


def test_every_changed_byte_of_the_file_is_found(made: Made) -> None:
    erase_records(made, 1, 2)
    path = made.segment() / "erased"
    whole = path.read_bytes()
    for offset in range(0, len(whole), 7):
        flip(path, offset, offset % 8)
        found = findings(made)
        assert found, offset
        assert {code for code, _ in found} <= {"segment.erased", "record.erased"}, (offset, found)
        overwrite(path, whole)
    for cut in (0, 5, 17, len(whole) - 1, len(whole) - 36):
        overwrite(path, whole[:cut])
        assert ("segment.erased", f"{FILE}/erased") in findings(made), cut
    overwrite(path, whole)
    assert findings(made) == []


def test_the_file_is_missed(made: Made) -> None:
    erase_records(made, 1)
    (made.segment() / "erased").unlink()
    assert findings(made) == [("file.missing", f"{FILE}/erased")]
    with writing(made):
        pass
    assert findings(made) == []


def test_something_in_place_of_an_erased_entry_is_found(made: Made) -> None:
    blocks = index_blocks(made)
    erase_records(made, 1)
    reseal(made, [encode_rows(plain_rows(made))], blocks)
    assert {code for code, _ in findings(made)} == {"segment.index"}


def test_a_flipped_tree_is_told_from_a_flipped_file(made: Made) -> None:
    erase_records(made, 1)
    flip(made.segment() / "tree", 4 * 32 + 5)
    assert {code for code, _ in findings(made)} == {"segment.tree"}


def test_what_an_interrupted_erasure_left_is_no_fault(made: Made) -> None:
    for name in ("rows.new", "keys.new.tmp", "erased.new"):
        (made.segment() / name).write_bytes(b"x")
    report = made.verify()
    assert report.valid
    assert {each.code for each in report.remarks} >= {"vault.leftover"}
    assert isinstance(report.remarks[0], Finding)
