"""Erase records of a small ledger: who may, what is refused before anything changes, and what a crash leaves."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import EraseRefused, EraseWrong, FormatError, LogDamaged, RecordErased, SegmentDamaged
from scelle.formats.entries import Erase, Release, authority_sig, consent_message
from scelle.ledger.erased import ErasedRecord, encode_erased, erased_bytes, parse_erased
from scelle.ledger.erasing import (
    Doomed,
    Target,
    erase,
    finish_erasure,
    is_live,
    prepare_tombstones,
    unfinished_contents,
)
from scelle.ledger.erasure_journal import JOURNAL_NAME, ErasureJournal, write_journal
from scelle.ledger.rewriting import drop, is_settled, prepare, settle, swap
from scelle.ledger.search import IndexBlock, Tombstones, tombstones
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.vault.durable import Step, observed
from tests.unit.productions.ledgers import AUTHORITY, AUTHORITY_KEY, KEY, ORDER, START_US, Small

DOCUMENTS = 6


@pytest.fixture(params=[True, False], ids=["with-authority", "without"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Small]:
    yield from made(tmp_path, with_authority=request.param)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    yield from made(tmp_path, with_authority=True)


def made(folder: Path, *, with_authority: bool) -> Iterator[Small]:
    small = Small(folder, with_authority=with_authority)
    small.item_zero()
    small.event("received", {})
    for number in range(DOCUMENTS):
        small.document("s0001", START_US + number, f"document {number}".encode(), f"n/{number}")
    small.seal()
    yield small
    small.ledger.close()


def place(small: Small, seq: int, alias: str = "s0001") -> Target:
    return Target(next(at for at, each in small.ledger.manifests() if each.source == alias), seq)


def paper(small: Small) -> bytes:
    manifest = next(each for _, each in small.ledger.manifests() if each.source == "scelle.order")
    with closing(small.ledger.segment(manifest)) as reader:
        return reader.hashes(0, 1)


def erase_by(small: Small, *targets: Target, **changed: Any) -> Any:
    terms: dict[str, Any] = {
        "ground": "court-order",
        "basis": "letter",
        "document": paper(small),
        "signatures": {},
        "now_us": small.now_us,
        **changed,
    }
    return erase(small.ledger, KEY, targets, **terms)


def signed(small: Small, doomed: Doomed, **changed: Any) -> bytes:
    entry = replace(doomed.entry, **changed)
    message = consent_message(small.ledger.origin, small.ledger.state.genesis_leaf, entry.encode())
    return authority_sig(AUTHORITY_KEY, AUTHORITY.sign(message))


def prepared(small: Small, *targets: Target) -> list[Doomed]:
    return prepare_tombstones(
        small.ledger, targets, ground="third-party", basis="consent", document=None, time_us=small.now_us
    )


def seqs(small: Small) -> list[int]:
    manifest = next(each for _, each in small.ledger.manifests() if each.source == "s0001")
    with closing(small.ledger.segment(manifest)) as reader:
        return [row.seq for row in reader.rows()]


def is_untouched(small: Small) -> bool:
    no_entry = not any(isinstance(entry, Erase) for entry in small.ledger.entries)
    return (
        no_entry
        and seqs(small) == list(range(DOCUMENTS))
        and not (small.ledger.folder / JOURNAL_NAME).exists()
    )


# --- who may -------------------------------------------------------------------------------------------------


def test_a_letter_erases_where_the_order_names_its_authority(either: Small) -> None:
    if not either.with_authority:
        with pytest.raises(EraseRefused, match="names no key of its authority"):
            erase_by(either, place(either, 1))
        assert is_untouched(either)
        return
    done = erase_by(either, place(either, 1), place(either, 4))
    assert (done.records, done.segments, len(done.contents)) == (2, 1, 2)
    assert seqs(either) == [0, 2, 3, 5]


def test_a_release_ends_the_need_for_consent(either: Small) -> None:
    document = paper(either)
    with pytest.raises(EraseRefused):
        erase_by(either, place(either, 1), basis="release")
    either.ledger.commit_entries([Release(ORDER, "lifted", START_US, document, None)], either.now_us)
    assert is_live(either.ledger) == either.with_authority  # where there is an authority, it must have signed
    if not either.with_authority:
        erase_by(either, place(either, 1), basis="release")
        assert seqs(either) == [0, 2, 3, 4, 5]


def test_consent_is_a_signature_over_exactly_this_tombstone(small: Small) -> None:
    target = place(small, 1)
    (doomed,) = prepared(small, target)
    consent: dict[str, Any] = {"ground": "third-party", "basis": "consent", "document": None}
    wrong = [{}, {target: signed(small, doomed, ground="other")}, {place(small, 2): signed(small, doomed)}]
    wrong.append({target: bytes(4) + signed(small, doomed)[4:]})
    for signatures in wrong:
        with pytest.raises(EraseRefused, match="no valid signature"):
            erase_by(small, target, signatures=signatures, **consent)
    with pytest.raises(EraseRefused):
        erase_by(small, target, signatures={target: signed(small, doomed)}, time_us=5, **consent)
    assert is_untouched(small)
    erase_by(small, target, signatures={target: signed(small, doomed)}, **consent)
    assert seqs(small) == [0, 2, 3, 4, 5]


def test_a_paper_must_be_sealed_before(small: Small) -> None:
    for document in (None, bytes(32)):
        with pytest.raises(EraseRefused, match="needs its paper"):
            erase_by(small, place(small, 1), document=document)
    assert is_untouched(small)


# --- what is refused -----------------------------------------------------------------------------------------


def test_only_living_records_of_sources_are_erased(small: Small) -> None:
    cases: list[tuple[Target, type[Exception]]] = [
        (place(small, 0, "scelle.order"), EraseWrong),
        (place(small, 0, "scelle.events"), EraseWrong),
        (place(small, DOCUMENTS), EraseWrong),
        (Target(0, 0), EraseWrong),
        (Target(99, 0), EraseWrong),
    ]
    for target, error in cases:
        with pytest.raises(error):
            erase_by(small, place(small, 1), target)
    assert is_untouched(small)
    for terms in ({"ground": "No Code"}, {"basis": "whim"}):
        with pytest.raises(EraseWrong):
            erase_by(small, place(small, 1), **terms)
    erase_by(small, place(small, 1))
    with pytest.raises(RecordErased):
        erase_by(small, place(small, 2), place(small, 1))
    assert seqs(small) == [0, 2, 3, 4, 5]


def test_a_tombstone_that_would_not_open_to_its_record_is_never_made(small: Small) -> None:
    """Else whoever has the vault's key could let a tombstone hide another record."""
    manifest = next(each for _, each in small.ledger.manifests() if each.source == "s0001")
    tree = small.ledger.segment_files(place(small, 0).log_index).folder / "tree"
    whole = tree.read_bytes()
    for offset in (32 * 1 + 3, 32 * (manifest.records + 1) + 3):
        changed = bytearray(whole)
        changed[offset] ^= 1
        tree.write_bytes(changed)
        with pytest.raises(SegmentDamaged, match="nothing was erased"):
            erase_by(small, *(place(small, seq) for seq in range(DOCUMENTS)))
    tree.write_bytes(whole)
    assert is_untouched(small)


def test_a_tombstone_names_the_places_of_its_record(small: Small) -> None:
    for each in prepared(small, *(place(small, seq) for seq in range(DOCUMENTS))):
        files = small.ledger.segment_files(each.target.log_index)
        with closing(files.reader()) as reader:
            for dimension, position in enumerate(each.entry.index, 1):
                block = IndexBlock(reader, dimension, ())
                key = block.key(position - block.start)
                assert key[:16] == each.tags[dimension - 1]
                assert int.from_bytes(key[24:], "big") - (1 << 63) == each.target.seq


# --- what a crash leaves -------------------------------------------------------------------------------------


def with_tombstones(small: Small, *gone: int) -> tuple[Any, Tombstones]:
    """Say what the segment is to have once these records are erased; nothing is committed."""
    doomed = prepared(small, *(place(small, seq) for seq in gone))
    entries = [replace(each.entry, authority_sig=signed(small, each)) for each in doomed]
    at = doomed[0].target.log_index
    return small.ledger.segment_files(at), tombstones([*small.ledger.entries, *entries])[at]


def committed(small: Small, *gone: int) -> None:
    doomed = prepared(small, *(place(small, seq) for seq in gone))
    small.ledger.commit_entries(
        [replace(each.entry, authority_sig=signed(small, each)) for each in doomed], small.now_us
    )


def reopened(small: Small) -> None:
    small.ledger.close()
    small.ledger = OrderLedgerWriter(small.folder / "vault", ORDER, f"platform.example/po/{ORDER}", KEY)


def leftovers(files: Any) -> list[str]:
    return sorted(path.name for path in files.folder.iterdir() if ".new" in path.name)


def test_new_files_that_the_log_knows_nothing_of_are_dropped(small: Small) -> None:
    files, after = with_tombstones(small, 1)
    prepare(files, after, {1})
    assert leftovers(files) == ["erased.new", "index.new", "keys.new", "rows.new"]
    at = place(small, 1).log_index
    write_journal(
        small.ledger.folder, small.ledger.origin, KEY, ErasureJournal({at: frozenset({1})}, frozenset())
    )
    reopened(small)
    assert leftovers(files) == []
    assert is_untouched(small)


@pytest.mark.parametrize("swapped", range(5))
def test_what_the_log_committed_is_finished(small: Small, swapped: int) -> None:
    files, after = with_tombstones(small, 1, 4)
    prepare(files, after, {1, 4})
    committed(small, 1, 4)
    for name in ("erased", "rows", "index", "keys")[:swapped]:
        (files.folder / f"{name}.new").rename(files.folder / name)
    reopened(small)
    assert leftovers(files) == []
    assert seqs(small) == [0, 2, 3, 5]
    assert is_settled(files, after)


@pytest.mark.parametrize("stop", range(1, 5))
def test_a_swap_that_stops_anywhere_is_finished(small: Small, stop: int) -> None:
    files, after = with_tombstones(small, 1, 4)
    prepare(files, after, {1, 4})
    committed(small, 1, 4)
    renamed: list[Path] = []

    def killer(step: Step, when: str) -> None:
        if step.operation == "rename" and when == "after":
            renamed.append(step.path)
            if len(renamed) == stop:
                raise InterruptedError

    with observed(killer), pytest.raises(InterruptedError):
        swap(files.folder)
    reopened(small)
    assert leftovers(files) == []
    assert seqs(small) == [0, 2, 3, 5]
    assert is_settled(files, after)


def test_tombstones_without_new_files_are_finished(small: Small) -> None:
    """A commit of more than 256 tombstones may have got half-way: then the new files are of more than it has."""
    files, after = with_tombstones(small, 1, 2, 3)
    prepare(files, after, {1, 2, 3})
    committed(small, 2)
    at = place(small, 1).log_index
    begun = ErasureJournal({at: frozenset({1, 2, 3})}, frozenset())
    write_journal(small.ledger.folder, small.ledger.origin, KEY, begun)
    reopened(small)
    assert seqs(small) == [0, 1, 3, 4, 5]
    assert leftovers(files) == []
    assert (small.ledger.folder / JOURNAL_NAME).exists(), "the contents are still to be destroyed"


def test_half_of_the_new_files_are_never_used(small: Small) -> None:
    files, after = with_tombstones(small, 1)
    prepare(files, after, {1})
    (files.folder / "keys.new").unlink()
    settle(files, Tombstones())
    assert leftovers(files) == []
    assert is_untouched(small)


def test_a_segment_that_was_disposed_of_is_left_alone(small: Small) -> None:
    files, after = with_tombstones(small, 1)
    shutil.rmtree(files.folder)
    assert is_settled(files, after)
    settle(files, after)
    assert not files.folder.exists()


def test_swapping_and_dropping_twice_changes_nothing(small: Small) -> None:
    files, after = with_tombstones(small, 1)
    prepare(files, after, {1})
    swap(files.folder)
    swap(files.folder)
    drop(files.folder)
    with closing(files.reader()) as reader:
        assert [row.seq for row in reader.rows()] == [0, 2, 3, 4, 5]


def test_the_journal_names_contents_until_they_are_gone(small: Small) -> None:
    first = erase_by(small, place(small, 1))
    second = erase_by(small, place(small, 4))
    assert unfinished_contents(small.ledger, KEY) == first.contents | second.contents
    reopened(small)
    assert unfinished_contents(small.ledger, KEY) == first.contents | second.contents
    for digest in first.contents:
        assert digest not in (small.ledger.folder / JOURNAL_NAME).read_bytes()
    finish_erasure(small.ledger)
    finish_erasure(small.ledger)
    assert unfinished_contents(small.ledger, KEY) == frozenset()


def test_a_journal_that_was_changed_is_refused(small: Small) -> None:
    erase_by(small, place(small, 1))
    path = small.ledger.folder / JOURNAL_NAME
    sealed = path.read_bytes()
    path.write_bytes(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    with pytest.raises(LogDamaged, match="erasing"):
        unfinished_contents(small.ledger, KEY)


def test_readers_without_a_lock_read_what_is_left(small: Small) -> None:
    erase_by(small, place(small, 0), place(small, 5))
    ledger = OrderLedger(small.folder / "vault", ORDER, f"platform.example/po/{ORDER}", KEY)
    manifest = next(each for _, each in ledger.manifests() if each.source == "s0001")
    with closing(ledger.segment(manifest)) as reader:
        assert [row.seq for row in reader.rows()] == [1, 2, 3, 4]
        assert reader.row(3).seq == 3


# --- the file ------------------------------------------------------------------------------------------------


def test_the_file_is_written_and_read_back() -> None:
    records = [
        ErasedRecord(7, b"c" * 32, (8, 20), (b"d" * 32, b"e" * 32)),
        ErasedRecord(2, b"a" * 32, (3, 19), (b"b" * 32, b"f" * 32)),
    ]
    data = encode_erased(records)
    assert len(data) == erased_bytes(2, 2) == 17 + 2 * 3 * 36
    assert data.startswith(b"scelle/erased/v1\n\0\0\0\2" + b"a" * 32 + b"\0\0\0\3" + b"b" * 32)
    assert list(parse_erased(data, 2).values()) == sorted(records, key=lambda record: record.position)
    for wrong in (b"", data[:-1], b"x" + data[1:], data[:17] + data[17 + 108 :] + data[17 : 17 + 108]):
        with pytest.raises(FormatError):
            parse_erased(wrong, 2)
