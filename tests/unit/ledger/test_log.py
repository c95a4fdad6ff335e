import shutil
import sqlite3
from pathlib import Path

import pytest

from scelle.errors import LogBehind, LogDamaged
from scelle.formats.checkpoints import parse_checkpoint_text
from scelle.formats.entries import Genesis, Segment
from scelle.formats.notes import parse_note
from scelle.formats.tiles import encode_bundle
from scelle.ledger.events import events, record_event
from scelle.ledger.log import LogReader, bring_lock_forward
from scelle.ledger.service import Looked, OrderLedgerWriter, SignerMemory
from scelle.merkle.hashing import leaf_hash, tree_root
from scelle.merkle.tiles import root_from_tiles
from scelle.vault.keys import VaultKey

from .conftest import ORIGIN, START_US, Opener, add_documents, reader


def log_folder(tmp_path: Path) -> Path:
    return tmp_path / "po" / "o1" / "log"


def test_a_new_log_has_one_genesis_under_two_signatures(ledger: OrderLedgerWriter) -> None:
    note = parse_note(ledger.log.note)
    checkpoint = parse_checkpoint_text(note.text)
    assert [type(entry) for entry in ledger.entries] == [Genesis]
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, 1)
    assert checkpoint.root == leaf_hash(ledger.log.entries[0])
    assert [len(line.payload) for line in note.signatures] == [64, 8 + 2420]
    assert ledger.signer.has_signed(note)


def test_what_is_sealed_is_read_back_by_another_reader(
    ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey
) -> None:
    record_event(ledger, START_US, "op-1", "received", {"reference": "EC-2026-0108"})
    ledger.seal(START_US + 1)
    found = list(events(reader(tmp_path, vault_key)))
    assert [(event.seq, event.actor, event.kind) for event in found] == [(0, "operator:op-1", "received")]
    assert found[0].body == {"reference": "EC-2026-0108"}


def test_tiles_lead_to_the_root_of_the_checkpoint(ledger: OrderLedgerWriter, tmp_path: Path) -> None:
    for number in range(5):
        record_event(ledger, START_US + number, "op-1", "preview", {"n": number})
        ledger.seal(START_US + number)
    folder = log_folder(tmp_path)
    root = root_from_tiles(ledger.log.size, lambda path: (folder / path).read_bytes())
    assert root == ledger.log.root == parse_checkpoint_text(parse_note(ledger.log.note).text).root


def test_more_entries_than_one_bundle_are_committed_and_old_partials_dropped(
    ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey
) -> None:
    state = ledger.state.chain("s0001")
    assert state.next_number == 0
    schema = add_documents(ledger, 1).schema
    for number in range(300):
        ledger.seal(START_US + number + 1, looked=[Looked("s0001", schema)])
    assert ledger.log.size == 301
    assert reader(tmp_path, vault_key).log.root == ledger.log.root
    bundles = sorted(
        path.name for path in (log_folder(tmp_path) / "tile" / "entries").rglob("*") if path.is_file()
    )
    assert bundles == ["000", "45"]


def test_an_altered_entry_is_not_read(ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey) -> None:
    path = log_folder(tmp_path) / "tile" / "entries" / "000.p" / "1"
    path.write_bytes(path.read_bytes().replace(b"platform.example", b"platform.exampIe"))
    with pytest.raises(LogDamaged, match="do not lead to the checkpoint"):
        reader(tmp_path, vault_key)


def test_a_missing_bundle_is_named(ledger: OrderLedgerWriter, tmp_path: Path, vault_key: VaultKey) -> None:
    (log_folder(tmp_path) / "tile" / "entries" / "000.p" / "1").unlink()
    with pytest.raises(LogDamaged, match="missing"):
        reader(tmp_path, vault_key)


class _SlowReader(LogReader):
    """A reader that another process overtakes between the checkpoint and the entries."""

    def __init__(self, folder: Path, ledger: OrderLedgerWriter, times: int) -> None:
        self._ledger, self._times = ledger, times
        super().__init__(folder, ORIGIN)

    def _extend_to(self, size: int) -> None:
        if self._times:
            self._times -= 1
            record_event(self._ledger, START_US, "op-1", "preview", {"n": self._times})
            self._ledger.seal(START_US)
        super()._extend_to(size)


@pytest.mark.parametrize("before", [0, 253])
def test_a_commit_while_the_log_is_read_is_no_damage(
    ledger: OrderLedgerWriter, tmp_path: Path, before: int
) -> None:
    schema = add_documents(ledger, 1).schema
    for number in range(before):
        ledger.seal(START_US + number + 1, looked=[Looked("s0001", schema)])
    slow = _SlowReader(log_folder(tmp_path), ledger, times=3)
    assert slow.size > before + 1
    assert slow.entries == ledger.log.entries[: slow.size]
    slow._times = 2
    slow.refresh()
    slow.refresh()
    assert slow.entries == ledger.log.entries
    assert slow.root == ledger.log.root


def test_a_checkpoint_of_another_origin_is_refused(ledger: OrderLedgerWriter, tmp_path: Path) -> None:
    with pytest.raises(LogDamaged, match="origin"):
        LogReader(log_folder(tmp_path), "platform.example/po/o2")


def test_a_restored_lock_is_refused_and_can_be_brought_forward(open_ledger: Opener, tmp_path: Path) -> None:
    ledger = open_ledger()
    lock = log_folder(tmp_path) / "lock.db"
    shutil.copy(lock, tmp_path / "old.db")
    record_event(ledger, START_US, "op-1", "preview", {})
    ledger.seal(START_US + 1)
    size, signer = ledger.log.size, ledger.signer
    ledger.close()
    shutil.copy(tmp_path / "old.db", lock)
    with pytest.raises(LogBehind, match="snapshot was restored"):
        open_ledger()
    assert bring_lock_forward(log_folder(tmp_path), signer) == (1, size)
    assert open_ledger().log.size == size


def test_a_forged_checkpoint_does_not_bring_a_lock_forward(open_ledger: Opener, tmp_path: Path) -> None:
    ledger = open_ledger()
    ledger.close()
    forged = b"scelle/forged/v1\n"
    folder = log_folder(tmp_path)
    (folder / "tile" / "entries" / "000.p" / "1").write_bytes(encode_bundle([forged]))
    text = f"{ORIGIN}\n1\n".encode() + __import__("base64").b64encode(leaf_hash(forged)) + b"\n"
    lines = ledger.log.note.split(b"\n\n", 1)[1]
    (folder / "checkpoint").write_bytes(text + b"\n" + lines)
    with pytest.raises(LogDamaged, match="not signed"):
        bring_lock_forward(folder, ledger.signer)


def test_the_signers_memory_reveals_a_restored_vault(open_ledger: Opener, tmp_path: Path) -> None:
    remembered: dict[str, tuple[int, bytes]] = {}

    def note(origin: str, size: int, root: bytes) -> None:
        remembered[origin] = (size, root)

    memory = SignerMemory(remembered.get, note)
    open_ledger(memory).close()
    shutil.copytree(tmp_path / "po", tmp_path / "backup")
    ledger = open_ledger(memory)
    record_event(ledger, START_US, "op-1", "preview", {})
    ledger.seal(START_US + 1)
    ledger.close()
    shutil.rmtree(tmp_path / "po")
    shutil.copytree(tmp_path / "backup", tmp_path / "po")
    with pytest.raises(LogBehind, match="signer's memory shows size 2"):
        open_ledger(memory)


def test_a_locked_body_without_note_is_signed_by_recovery_and_never_signed_again(
    open_ledger: Opener, tmp_path: Path
) -> None:
    ledger = open_ledger()
    locked = ledger.log.locked()
    ledger.close()
    connection = sqlite3.connect(log_folder(tmp_path) / "lock.db")
    connection.execute("UPDATE lock SET note = NULL")
    connection.commit()
    connection.close()
    recovered = open_ledger()
    again = recovered.log.locked()
    assert (again.size, again.root) == (locked.size, locked.root)
    assert again.note is not None
    recovered.close()
    assert open_ledger().log.locked().note == again.note


def test_staging_of_another_root_is_dropped(open_ledger: Opener, tmp_path: Path) -> None:
    ledger = open_ledger()
    ledger.close()
    stray = log_folder(tmp_path) / "staging" / f"9-{'00' * 32}"
    stray.write_bytes(encode_bundle([b"scelle/never/v1\n"]))
    ledger = open_ledger()
    assert ledger.log.size == 1
    record_event(ledger, START_US, "op-1", "preview", {})
    ledger.seal(START_US + 1)
    assert list((log_folder(tmp_path) / "staging").iterdir()) == []


def test_watermarks_tile_when_the_clock_jumps_back(ledger: OrderLedgerWriter) -> None:
    add_documents(ledger, 2)
    ledger.seal(START_US + 50)
    add_documents(ledger, 2)
    ledger.seal(START_US - 1_000_000)
    marks = [entry.watermark for entry in ledger.entries if isinstance(entry, Segment)]
    assert marks == [(START_US, START_US + 50), (START_US + 50, START_US + 51)]


def test_the_root_is_that_of_all_leaf_hashes(ledger: OrderLedgerWriter) -> None:
    add_documents(ledger, 3)
    ledger.seal(START_US + 1)
    assert ledger.log.root == tree_root(b"".join(leaf_hash(data) for data in ledger.log.entries))
