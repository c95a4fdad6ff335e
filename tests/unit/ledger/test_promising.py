"""Promises are given of what is durable alone, once, and the same after a crash."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from scelle.errors import PromiseRefused, PromisesDamaged, SegmentDamaged
from scelle.formats.notes import parse_note
from scelle.formats.promises import Promise, parse_promise
from scelle.formats.records import record_commitment
from scelle.ledger import promising
from scelle.ledger.promise_book import BOOK_NAME, PromiseBook
from scelle.ledger.promising import MERGE_DEADLINE_US, Batch, commitments, promise, promise_durable, receipt
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.merkle.hashing import tree_root
from scelle.vault import durable
from scelle.vault.durable import Step
from scelle.vault.keys import VaultKey

from .conftest import ORIGIN, START_US, Opener, add_documents, reader

ONE, TWO = b"1" * 16, b"2" * 16


class Killed(BaseException):
    """The process ended here."""


def batch(lo: int, hi: int, of: bytes = ONE) -> Batch:
    return Batch(of, "s0001", lo, hi)


def given(ledger: OrderLedgerWriter, lo: int, hi: int, of: bytes = ONE, now_us: int = START_US) -> bytes:
    (note,) = promise(ledger, [batch(lo, hi, of)], now_us)
    return note


def read(note: bytes) -> Promise:
    return parse_promise(parse_note(note).text)


def flushed(ledger: OrderLedgerWriter, count: int) -> None:
    add_documents(ledger, count)
    ledger.flush()


def rcs(ledger: OrderLedger, alias: str = "s0001") -> bytes:
    """Compute the commitments of all sealed records anew, from their rows."""
    return b"".join(
        record_commitment(1, row.record_key[:16], row.split_values())
        for _, manifest in ledger.manifests()
        if manifest.source == alias and manifest.records
        for row in ledger.segment(manifest).rows()
    )


def test_a_promise_says_what_the_page_wants(
    ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey
) -> None:
    flushed(ledger, 5)
    note = given(ledger, 1, 4)
    promised = read(note)
    assert (promised.origin, promised.genesis) == (ORIGIN, ledger.state.genesis_leaf)
    assert (promised.source, promised.batch, promised.seq) == ("s0001", ONE, (1, 4))
    assert (promised.received, promised.deadline) == (START_US, START_US + MERGE_DEADLINE_US)
    assert ledger.signer.has_signed(parse_note(note))
    ledger.seal(START_US + 1)
    assert promised.batch_root == tree_root(rcs(reader(tmp_path, vault_key))[32 : 4 * 32])


def test_what_is_not_durable_is_not_promised(ledger: OrderLedgerWriter) -> None:
    with pytest.raises(PromiseRefused, match="not all durable"):
        given(ledger, 0, 1)
    flushed(ledger, 2)
    add_documents(ledger, 1)
    with pytest.raises(PromiseRefused, match="not all durable"):
        given(ledger, 0, 3)
    with pytest.raises(PromiseRefused, match="not all durable"):
        promise(ledger, [batch(0, 2), batch(2, 3, TWO)], START_US)
    assert ledger.promises.reached("s0001") == 0, "one of two was promised"
    assert read(given(ledger, 0, 2)).seq == (0, 2)


@pytest.mark.parametrize(("lo", "hi"), [(0, 5), (-1, 2), (3, 2)])
def test_a_segment_gives_the_commitments_of_what_is_durable_alone(
    ledger: OrderLedgerWriter, lo: int, hi: int
) -> None:
    flushed(ledger, 4)
    writer = add_documents(ledger, 1)
    assert len(writer.commitments(1, 4)) == 3 * 32
    with pytest.raises(SegmentDamaged, match="not all durable"):
        writer.commitments(lo, hi)


def test_a_full_frame_that_was_written_and_not_synced_is_not_durable(ledger: OrderLedgerWriter) -> None:
    add_documents(ledger, 1024)
    with pytest.raises(PromiseRefused, match="not all durable"):
        given(ledger, 0, 1024)
    ledger.flush()
    assert read(given(ledger, 0, 1024)).seq == (0, 1024)


def test_the_same_batch_gets_the_same_promise_and_no_other(open_ledger: Opener) -> None:
    ledger = open_ledger()
    flushed(ledger, 3)
    first = given(ledger, 0, 3)
    assert given(ledger, 0, 3, now_us=START_US + 99) == first
    with pytest.raises(PromiseRefused, match="used for other records"):
        given(ledger, 0, 2)
    with pytest.raises(PromiseRefused, match="promised already"):
        given(ledger, 2, 3, TWO)
    ledger.close()
    again = open_ledger()
    assert given(again, 0, 3, now_us=START_US + 99) == first
    again.seal(START_US + 100)
    assert given(again, 0, 3, now_us=START_US + 101) == first


@pytest.mark.parametrize("wrong", [batch(0, 0), batch(2, 1), batch(-1, 2), batch(0, 2, b"short")])
def test_what_is_no_batch_is_refused(ledger: OrderLedgerWriter, wrong: Batch) -> None:
    flushed(ledger, 3)
    with pytest.raises(PromiseRefused, match="a batch has"):
        promise(ledger, [wrong], START_US)


def test_a_batch_may_lie_over_the_end_of_a_segment(
    ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey
) -> None:
    flushed(ledger, 3)
    ledger.seal(START_US + 1)
    flushed(ledger, 2)
    ledger.seal(START_US + 2)
    flushed(ledger, 4)
    found = receipt(ledger, batch(1, 8), START_US + 3)
    assert found.record_keys == tuple(bytes([number]) * 32 for number in range(1, 8))
    ledger.seal(START_US + 4)
    assert read(found.note).batch_root == tree_root(rcs(reader(tmp_path, vault_key))[32 : 8 * 32])
    assert receipt(ledger, batch(1, 8), START_US + 5) == found


def test_the_holder_recomputes_the_root_with_the_keys_of_his_receipt(ledger: OrderLedgerWriter) -> None:
    writer = add_documents(ledger, 3000)
    ledger.flush()
    found = receipt(ledger, batch(2100, 2900), START_US)
    values = [row.split_values() for row in writer.flushed_rows()][2100:2900]
    own = b"".join(
        record_commitment(1, key[:16], each) for key, each in zip(found.record_keys, values, strict=True)
    )
    assert tree_root(own) == read(found.note).batch_root


def test_what_became_durable_is_promised_once(open_ledger: Opener) -> None:
    ledger, ids = open_ledger(), iter([bytes([number]) * 16 for number in range(9)])

    def new() -> list[tuple[int, int]]:
        notes = promise_durable(ledger, ["s0001", "s0009"], lambda: next(ids), START_US)
        return [read(note).seq for note in notes]

    assert new() == []
    flushed(ledger, 3)
    assert (new(), new()) == ([(0, 3)], [])
    add_documents(ledger, 2)
    assert new() == [], "it is not durable"
    ledger.flush()
    ledger.close()
    ledger = open_ledger()
    assert new() == [(3, 5)], "what a crash left without a promise"
    flushed(ledger, 1)
    ledger.seal(START_US + 1)
    flushed(ledger, 1)
    assert new() == [(6, 7)], "what is sealed needs none"


def steps_of(act: Callable[[], object]) -> int:
    steps: list[Step] = []
    with durable.observed(lambda step, when: steps.append(step) if when == "before" else None):
        act()
    return len(steps)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_step_leaves_no_second_promise(open_ledger: Opener, tmp_path: Path, when: str) -> None:
    ledger = open_ledger()
    flushed(ledger, 4)
    count = steps_of(lambda: given(ledger, 0, 1, b"0" * 16))
    assert count >= 2  # the book's own form, and the promise
    for number in range(count):
        seen = -1

        def observe(step: Step, at: str, number: int = number) -> None:
            nonlocal seen
            seen += at == when
            if at == when and seen == number:
                raise Killed

        of, lo = bytes([number]) * 16, number + 1
        ledger.close()
        ledger = open_ledger()
        with durable.observed(observe), suppress(Killed):  # there may be fewer steps than the first time
            given(ledger, lo, lo + 1, of)
        ledger.close()
        kept = PromiseBook.read(tmp_path / "po" / "o1")
        before = None if kept is None else kept.find(of)
        if kept is not None:
            kept.close()
        ledger = open_ledger()
        after = given(ledger, lo, lo + 1, of, START_US + 50)
        assert after == (before or after)
        assert given(ledger, lo, lo + 1, of, START_US + 60) == after


def test_nothing_is_signed_that_could_not_be_kept(
    ledger: OrderLedgerWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed(ledger, 2)
    monkeypatch.setattr(promising, "tree_root", lambda flat: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        given(ledger, 0, 2)
    monkeypatch.undo()
    assert ledger.promises.find(ONE) is None
    assert commitments(ledger, "s0001", 0, 2) == commitments(ledger, "s0001", 0, 1) + commitments(
        ledger, "s0001", 1, 2
    )


def test_a_damaged_book_is_named(ledger: OrderLedgerWriter) -> None:
    (ledger.folder / BOOK_NAME).write_bytes(b"no database\n" * 100)
    with pytest.raises(PromisesDamaged, match=BOOK_NAME):
        _ = ledger.promises
    book = PromiseBook.read(ledger.folder)
    assert book is not None
    with pytest.raises(PromisesDamaged, match=BOOK_NAME):
        list(book.all())


def test_where_no_promise_was_given_there_is_no_book(ledger: OrderLedgerWriter) -> None:
    assert PromiseBook.read(ledger.folder) is None
    (ledger.folder / BOOK_NAME).touch()  # a crash came before its first commit
    assert PromiseBook.read(ledger.folder) is None


def test_the_last_promise_of_a_source_is_not_due(ledger: OrderLedgerWriter) -> None:
    flushed(ledger, 3)
    for number in range(3):
        given(ledger, number, number + 1, bytes([number]) * 16)
    late_us = START_US + MERGE_DEADLINE_US + 1
    assert ledger.promises.due(late_us) == []
    ledger.promises.hand_over([bytes([number]) * 16 for number in range(3)])
    assert [each.batch[0] for each in ledger.promises.due(late_us)] == [0, 1]
    assert ledger.promises.due(late_us - 1) == []
    assert ledger.promises.waiting_count() == 0
