"""Each state of a promise is given for its own reason (ledger.md §6)."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scelle.errors import LogBusy
from scelle.formats.notes import Note, parse_note
from scelle.formats.promises import Promise, parse_promise
from scelle.ledger.destroying import destroy_segments, doomed_segments
from scelle.ledger.promise_book import BOOK_NAME, PromiseBook
from scelle.ledger.promise_check import Attestations, Attested, Judged, PromiseJudge, judge_all
from scelle.ledger.promising import Batch, promise
from scelle.ledger.service import OrderLedgerWriter
from scelle.ledger.signing import OrderSecrets, Signer
from scelle.ledger.witness import Witnesses
from scelle.vault.keys import VaultKey

from .conftest import ORIGIN, START_US, add_documents, reader

DEADLINE_US = START_US + 1000
BEFORE, AFTER = DEADLINE_US, DEADLINE_US + 1
ONE, TWO = b"1" * 16, b"2" * 16

Judge = Callable[..., list[Judged]]


@pytest.fixture
def judge(ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey) -> Judge:
    def judging(*notes: bytes, now_us: int = BEFORE) -> list[Judged]:
        named = [(str(number), note) for number, note in enumerate(notes)]
        return judge_all(PromiseJudge(reader(tmp_path, vault_key), now_us), named)

    return judging


def give(ledger: OrderLedgerWriter, count: int = 3, of: bytes = ONE) -> bytes:
    """Append so many records and promise them by DEADLINE_US."""
    writer = add_documents(ledger, count)
    ledger.flush()
    batch = Batch(of, "s0001", writer.next_seq - count, writer.next_seq)
    (note,) = promise(ledger, [batch], START_US, DEADLINE_US - START_US)
    return note


def read(note: bytes) -> Promise:
    return parse_promise(parse_note(note).text)


def signed(ledger: OrderLedgerWriter, note: bytes, **changes: object) -> bytes:
    """Let the log's own key sign another promise: what a platform that lies can do."""
    return ledger.signer.sign_text(replace(read(note), **changes).text())  # type: ignore[arg-type]


def shown(ledger: OrderLedgerWriter, folder: Path, at_us: int) -> None:
    Witnesses(ledger.log).deposit(folder, at_us)


def states(judged: list[Judged]) -> list[str]:
    return [each.state.value for each in judged]


def test_waiting_until_the_deadline_and_undecided_behind_it(ledger: OrderLedgerWriter, judge: Judge) -> None:
    note = give(ledger)
    assert states(judge(note, now_us=BEFORE)) == ["waiting"]
    assert states(judge(note, now_us=AFTER)) == ["undecided"]
    ledger.seal(START_US + 10)
    assert states(judge(note, now_us=BEFORE)) == ["waiting"], "nobody has seen it"
    assert states(judge(note, now_us=AFTER)) == ["undecided"]


@pytest.mark.parametrize(("at_us", "state"), [(BEFORE, "kept"), (AFTER, "late")])
def test_kept_or_late_by_the_first_checkpoint_that_was_shown(
    ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path, at_us: int, state: str
) -> None:
    note = give(ledger)
    ledger.seal(START_US + 10)
    shown(ledger, tmp_path / "notary", at_us)
    assert states(judge(note, now_us=AFTER)) == [state]
    give(ledger, of=TWO)
    ledger.seal(START_US + 11)
    shown(ledger, tmp_path / "notary", AFTER + 5)
    assert states(judge(note, now_us=AFTER)) == [state]


def test_a_checkpoint_before_the_records_attests_nothing_of_them(
    ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path
) -> None:
    shown(ledger, tmp_path / "notary", START_US)
    note = give(ledger)
    ledger.seal(START_US + 10)
    assert states(judge(note, now_us=AFTER)) == ["undecided"]


def test_absent_from_a_checkpoint_behind_the_deadline_is_broken(
    ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path
) -> None:
    note = give(ledger)
    shown(ledger, tmp_path / "notary", BEFORE)
    assert states(judge(note, now_us=AFTER)) == ["undecided"]
    (path,) = (ledger.folder / "log" / "escrow").iterdir()
    path.unlink()
    shown(ledger, tmp_path / "notary", AFTER)
    assert states(judge(note, now_us=AFTER)) == ["broken"]
    ledger.seal(AFTER + 1)
    shown(ledger, tmp_path / "notary", AFTER + 2)
    assert states(judge(note, now_us=AFTER)) == ["late"], "it is there in the end"


def test_another_record_at_one_of_its_places_is_broken(
    ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path
) -> None:
    note = give(ledger)
    other = signed(ledger, note, batch_root=bytes(32))
    ledger.seal(START_US + 10)
    shown(ledger, tmp_path / "notary", BEFORE)
    assert states(judge(other)) == ["broken"]
    assert states(judge(note)) == ["kept"]
    beside = signed(ledger, note, seq=(0, 2))
    assert states(judge(beside)) == ["broken"]


def test_a_record_that_was_altered_before_it_was_sealed_breaks_the_promise(
    ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path
) -> None:
    note = give(ledger)
    writer = ledger.open_rows("s0001")
    assert writer is not None
    writer.discard()  # the platform takes the records back, and seals others under their numbers
    del ledger._writers["s0001"]
    for path in writer.folder.iterdir():
        path.unlink()
    writer.folder.rmdir()
    add_documents(ledger, 4, "s0001")
    altered = ledger.open_rows("s0001")
    assert altered is not None
    altered._take_batch()
    altered._columns._commitments[40] ^= 1
    ledger.seal(START_US + 10)
    shown(ledger, tmp_path / "notary", BEFORE)
    assert states(judge(note)) == ["broken"]


def test_over_two_segments_it_is_kept_once_both_are_shown(
    ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path
) -> None:
    add_documents(ledger, 3)
    ledger.seal(START_US + 1)
    shown(ledger, tmp_path / "notary", START_US + 2)
    add_documents(ledger, 3)
    ledger.flush()
    (note,) = promise(ledger, [Batch(ONE, "s0001", 1, 5)], START_US, 1000)
    assert states(judge(note)) == ["waiting"]
    ledger.seal(START_US + 3)
    assert states(judge(note)) == ["waiting"]
    shown(ledger, tmp_path / "notary", BEFORE)
    assert states(judge(note)) == ["kept"]


def test_two_over_the_same_places_are_broken_by_themselves(ledger: OrderLedgerWriter, judge: Judge) -> None:
    note, far = give(ledger), give(ledger, of=TWO)
    assert states(judge(note, far)) == ["waiting", "waiting"]
    other = signed(ledger, note, batch=TWO, batch_root=bytes(32))
    assert states(judge(other, far, note)) == ["broken", "waiting", "broken"]
    across = signed(ledger, note, batch=b"3" * 16, seq=(2, 4))
    assert states(judge(note, across, far)) == ["broken"] * 3
    assert states(judge(note, signed(ledger, note, batch=TWO))) == ["waiting", "waiting"]
    elsewhere = signed(ledger, other, source="s0002")
    assert states(judge(note, elsewhere)) == ["waiting", "waiting"]


def test_what_is_no_promise_of_this_log_is_invalid(ledger: OrderLedgerWriter, judge: Judge) -> None:
    note = give(ledger)
    stranger = Signer(OrderSecrets.generate(ORIGIN)).sign_text(read(note).text())
    line = parse_note(note).signatures[0]
    forged = Note(read(note).text(), (replace(line, payload=bytes(64)),)).encode()
    wrong = [
        stranger,
        forged,
        signed(ledger, note, origin="platform.example/po/o2"),
        signed(ledger, note, genesis=bytes(32)),
        ledger.signer.sign_text(b"scelle/promise/v2\n"),
        b"",
    ]
    assert states(judge(*wrong)) == ["invalid"] * len(wrong)


def test_a_damaged_tree_decides_nothing(ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path) -> None:
    note = give(ledger)
    ledger.seal(START_US + 10)
    shown(ledger, tmp_path / "notary", BEFORE)
    tree = ledger.folder / "seg" / "s0001" / "0" / "tree"
    data = bytearray(tree.read_bytes())
    data[70] ^= 1
    tree.write_bytes(data)
    (judged,) = judge(note)
    assert (judged.state.value, "scelle verify" in judged.detail) == ("undecided", True)
    tree.unlink()
    assert states(judge(note)) == ["undecided"]


def test_it_is_judged_as_before_when_the_order_is_disposed_of(
    ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path
) -> None:
    note = give(ledger)
    ledger.seal(START_US + 10)
    shown(ledger, tmp_path / "notary", BEFORE)
    other = signed(ledger, note, batch_root=bytes(32), batch=TWO)
    assert destroy_segments(ledger, doomed_segments(ledger)) == 1
    assert states(judge(note)) == ["kept"]
    assert states(judge(other)) == ["broken"]


def test_a_deposit_of_another_log_attests_nothing(
    ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path
) -> None:
    note = give(ledger)
    ledger.seal(START_US + 10)
    shown(ledger, tmp_path / "notary", BEFORE)
    (path,) = (ledger.folder / "log" / "escrow").iterdir()
    size = int(path.name.split("-")[0])
    path.rename(path.with_name(f"{size}-{'0' * 64}.json"))
    assert states(judge(note)) == ["waiting"]
    path.with_name(f"{size}-{'0' * 64}.json").rename(path.with_name(f"{size + 9}-{'0' * 64}.json"))
    assert states(judge(note, now_us=AFTER)) == ["undecided"]


def test_a_token_that_cannot_be_read_attests_nothing(
    ledger: OrderLedgerWriter, judge: Judge, tmp_path: Path
) -> None:
    note = give(ledger)
    ledger.seal(START_US + 10)
    shown(ledger, tmp_path / "notary", BEFORE)
    (path,) = (ledger.folder / "log" / "escrow").iterdir()
    tokens = ledger.folder / "log" / "tokens"
    tokens.mkdir(exist_ok=True)
    path.rename(tokens / path.name)
    (tokens / path.name).with_suffix(".tsr").write_bytes(b"no token")
    assert states(judge(note, now_us=AFTER)) == ["undecided"]


def test_attestations_by_entry() -> None:
    found = Attestations([Attested(5, 30), Attested(2, 50), Attested(5, 20), Attested(9, 40)])
    assert [found.first_with(index) for index in (0, 1, 2, 4, 5, 8, 9)] == [20, 20, 20, 20, 40, 40, None]
    assert [found.last_without(index) for index in (0, 1, 2, 5, 9, None)] == [None, None, 50, 50, 50, 50]
    assert (Attestations([]).first_with(0), Attestations([]).last_without(None)) == (None, None)


KILLED_IN_A_COMMIT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("PRAGMA cache_spill = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE promise SET is_handed = 1")
connection.executemany("INSERT INTO promise VALUES (?, 's0001', ?, ?, 1, 0, ?)",
                       [(number.to_bytes(16, "big"), number, number + 1, bytes(900)) for number in range(9, 900)])
os._exit(9)
"""


def test_a_commit_that_was_killed_is_not_there_and_a_reader_says_so(
    ledger: OrderLedgerWriter, judge: Judge
) -> None:
    note = give(ledger)
    ledger.promises.close()
    ledger._promises = None
    path = ledger.folder / BOOK_NAME
    subprocess.run([sys.executable, "-c", KILLED_IN_A_COMMIT, os.fspath(path)], check=False)
    assert path.with_name(f"{BOOK_NAME}-journal").exists()
    book = PromiseBook.read(ledger.folder)
    assert book is not None
    with pytest.raises(LogBusy, match="run one that writes"):
        list(book.all())
    book.close()
    assert [each.note for each in ledger.promises.all()] == [note]
