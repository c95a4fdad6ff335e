"""Promises reach the folder of who holds them once it takes them, and stay in the vault until they are settled."""

import sqlite3
from pathlib import Path

import pytest

from scelle.bootstrap.handing_over import RETRY_S, HandingOver, drop_kept, promise_file, write_promise
from scelle.ledger.promise_book import BOOK_NAME
from scelle.ledger.promising import Batch, promise
from scelle.ledger.service import OrderLedgerWriter
from scelle.ledger.witness import Witnesses
from scelle.vault import durable
from scelle.vault.durable import Step

from .conftest import ORIGIN, START_US, add_documents


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mount" / "promises"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def handing(folder: Path, said: list[str], clock: Clock) -> HandingOver:
    return HandingOver(folder, lambda text, is_well: said.append(text), clock)


def given(ledger: OrderLedgerWriter, *ids: bytes) -> list[bytes]:
    writer = add_documents(ledger, len(ids))
    ledger.flush()
    first = writer.next_seq - len(ids)
    batches = [Batch(of * 16, "s0001", first + at, first + at + 1) for at, of in enumerate(ids)]
    return promise(ledger, batches, START_US, 1000)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_promise_is_a_file_with_the_note(
    ledger: OrderLedgerWriter, handing: HandingOver, folder: Path
) -> None:
    notes = given(ledger, b"1", b"2")
    handing.hand_over(ledger)
    assert names(folder) == [promise_file(ORIGIN, of * 16) for of in (b"1", b"2")]
    assert [(folder / name).read_bytes() for name in names(folder)] == notes
    assert (handing.handed_over, ledger.promises.waiting_count()) == (2, 0)


def test_a_name_is_safe_whatever_the_host() -> None:
    assert promise_file("platform.example:8443/po/o-1", b"\xab" * 16) == (
        f"platform.example_8443_po_o-1-{'ab' * 16}.promise"
    )


@pytest.mark.parametrize("fault", ["gone", "full"])
def test_a_folder_that_takes_nothing_is_said_once_and_tried_again(
    ledger: OrderLedgerWriter, handing: HandingOver, folder: Path, said: list[str], clock: Clock, fault: str
) -> None:
    notes = given(ledger, b"1", b"2")
    full = folder / f"{promise_file(ORIGIN, b'2' * 16)}.tmp"
    if fault == "gone":
        folder.rename(folder.with_name("away"))
    else:
        full.symlink_to("/dev/full")  # the first is taken, and the second meets ENOSPC
    handing.hand_over(ledger)
    handing.hand_over(ledger)
    assert (handing.failures, len(said)) == (1, 1), "it was not left alone"
    assert ledger.promises.waiting_count() == (2 if fault == "gone" else 1)
    clock.now_s += RETRY_S
    handing.hand_over(ledger)
    assert (handing.failures, len(said)) == (2, 1)
    if fault == "gone":
        folder.with_name("away").rename(folder)
    else:
        full.unlink()
    clock.now_s += RETRY_S
    handing.hand_over(ledger)
    assert (handing.handed_over, ledger.promises.waiting_count(), len(said)) == (2, 0, 2)
    assert [(folder / name).read_bytes() for name in names(folder)] == notes
    assert not durable._fsync_failure, "the vault writes on"


def test_what_an_earlier_watch_left_is_handed_over_by_the_next(
    ledger: OrderLedgerWriter, folder: Path, said: list[str], clock: Clock
) -> None:
    (note,) = given(ledger, b"1")

    def observe(step: Step, when: str) -> None:
        if step.operation == "commit":
            raise KeyboardInterrupt

    with durable.observed(observe), pytest.raises(KeyboardInterrupt):
        HandingOver(folder, lambda text, is_well: None, clock).hand_over(ledger)
    (name,) = names(folder)
    (folder / name).unlink()  # the holder took it away meanwhile
    assert ledger.promises.waiting_count() == 1
    HandingOver(folder, lambda text, is_well: None, clock).hand_over(ledger)
    assert (folder / name).read_bytes() == note


def test_writing_again_changes_nothing(folder: Path) -> None:
    write_promise(folder / "a.promise", b"note")
    write_promise(folder / "a.promise", b"note")
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("a.promise", b"note")]


def test_what_a_holder_has_is_never_replaced(folder: Path) -> None:
    write_promise(folder / "a.promise", b"note")
    with pytest.raises(FileExistsError):
        write_promise(folder / "a.promise", b"another")
    assert (folder / "a.promise").read_bytes() == b"note"


def test_what_was_altered_in_the_vault_is_not_handed_over(
    ledger: OrderLedgerWriter, handing: HandingOver, folder: Path, said: list[str]
) -> None:
    notes = given(ledger, b"1", b"2")
    book = sqlite3.connect(ledger.folder / BOOK_NAME)
    with book:
        book.execute("UPDATE promise SET note = ? WHERE batch = ?", (notes[1], b"1" * 16))
        book.execute("UPDATE promise SET hi = 1000000 WHERE batch = ?", (b"2" * 16,))
    book.close()
    for _ in range(3):
        handing.hand_over(ledger)
    assert [(folder / name).read_bytes() for name in names(folder)] == [notes[1]]
    assert len(said) == 1
    assert b"1" * 16 in [each.batch for each in ledger.promises.waiting(9)]
    assert sorted(ledger.promises.altered()) == [b"1" * 16, b"2" * 16]


def test_what_was_kept_is_dropped_and_nothing_else(
    ledger: OrderLedgerWriter, handing: HandingOver, tmp_path: Path
) -> None:
    given(ledger, b"1", b"2")
    ledger.seal(START_US + 1)
    handing.hand_over(ledger)
    assert drop_kept(ledger, START_US + 2000) == 0, "nobody has seen it"
    Witnesses(ledger.log).deposit(tmp_path / "notary", START_US + 900)
    given(ledger, b"3", b"4")
    ledger.seal(START_US + 1500)
    assert drop_kept(ledger, START_US + 1000) == 0, "its deadline is not over"
    assert drop_kept(ledger, START_US + 2000) == 2
    assert [each.batch[:1] for each in ledger.promises.all()] == [b"3", b"4"]
    Witnesses(ledger.log).deposit(tmp_path / "notary", START_US + 1600)
    handing.hand_over(ledger)  # nothing is known to wait, so that these are still the vault's alone
    assert drop_kept(ledger, START_US + 2000) == 0, "late ones stay"
    assert ledger.promises.reached("s0001") == 4
