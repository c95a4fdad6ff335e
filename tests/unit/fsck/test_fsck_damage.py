import base64
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from scelle.formats.entries import Count, Entry
from scelle.fsck import plan
from scelle.fsck.files import files_below, is_folder, is_there
from scelle.fsck.model import VerifyReport
from scelle.ledger.log import LogReader
from scelle.ledger.segments import SegmentHead
from scelle.ledger.service import OrderLedgerWriter
from scelle.ledger.witness import Witnesses
from scelle.vault.keys import VaultKey

from .support import (
    HOST,
    ORDER,
    START_US,
    Made,
    add_document,
    codes,
    evidence_files,
    flip,
    forge_log,
    log_entries,
    make_vault,
    names,
    only,
    overwrite,
    relative,
    reseal,
    writing,
)


def commit_more(made: Made) -> None:
    """Take one more step in the order's life."""
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/later.txt", b"later\n" * 50)
        packs.sync()
        ledger.seal(START_US + 50)


# -- every file: gone, cut, longer, another kind of thing


def test_every_file_that_is_gone_is_named(made: Made) -> None:
    for path in [*evidence_files(made), made.log() / "lock.db", made.segment() / "head"]:
        kept = path.with_name(path.name + ".kept")
        path.rename(made.path.parent / "kept")
        report = made.verify()
        assert not report.valid, path
        assert names(report, relative(made, path)) or names(report, path.stem), (path, report.findings)
        (made.path.parent / "kept").rename(path)
        assert not kept.exists()
    assert made.verify().valid


def test_every_file_that_is_cut_is_named(made: Made) -> None:
    for path in evidence_files(made):
        data, mode = path.read_bytes(), path.stat().st_mode
        for size in (0, 1, len(data) // 2, len(data) - 1):
            overwrite(path, data[:size])
            report = made.verify()
            assert not report.valid, (path, size)
            assert names(report, relative(made, path)) or "/entries/" in str(path), (path, report.findings)
            assert "fault" not in codes(report)
        overwrite(path, data)
        path.chmod(mode)
    assert made.verify().valid


def test_every_file_that_is_longer_is_named(made: Made) -> None:
    for path in evidence_files(made):
        data = path.read_bytes()
        for more in (b"\0", b"x" * 100, data[-60:]):
            overwrite(path, data + more)
            report = made.verify()
            assert not report.valid, (path, more)
            assert names(report, relative(made, path)), (path, report.findings)
            assert "fault" not in codes(report)
        overwrite(path, data)
    assert made.verify().valid


def test_every_file_that_is_a_pipe_or_a_link_is_named(made: Made) -> None:
    for path in [*evidence_files(made), made.log() / "lock.db"]:
        kept = made.path.parent / "kept"
        path.rename(kept)
        os.mkfifo(path)
        report = made.verify()
        assert names(report, relative(made, path)), (path, report.findings)
        path.unlink()
        path.symlink_to(kept)
        report = made.verify()
        assert not report.valid, path
        assert names(report, relative(made, path)) or path.name == "vault.json", (path, report.findings)
        path.unlink()
        kept.rename(path)


def test_a_segment_that_is_gone_is_named(made: Made) -> None:
    shutil.rmtree(made.segment())
    finding = only(made.verify(), "file.missing")
    assert "s0001 segment 0" in finding.subject
    assert "4 records are gone" in finding.detail


def test_a_pack_that_is_gone_with_its_keys_is_named_by_what_it_held(made: Made) -> None:
    shutil.rmtree(made.path / "packs")
    report = made.verify()
    assert codes(report) == [*["content.missing"] * 5, "catalog.stale"]
    assert names(report, "s0001 segment 0, record 0 (docs/a.txt)")


# -- things in the wrong place


def strays(report: VerifyReport) -> list[str]:
    return [finding.subject for finding in report.findings if finding.code == "vault.stray"]


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "po/README",
        "po/Not An Order/log/checkpoint",
        "po/o-1/extra",
        "po/o-1/log/extra",
        "po/o-1/log/staging/extra",
        "po/o-1/log/escrow/extra",
        "po/o-1/log/tokens/pending2/x",
        "po/o-1/log/schemas/short.json",
        "po/o-1/log/tile/0/001",
        "po/o-1/log/tile/entries/000.p/3",
        "po/o-1/seg/loose",
        "po/o-1/seg/Bad Alias/0/rows",
        "po/o-1/seg/s0001/x",
        "po/o-1/seg/s0001/00/rows",
        "po/o-1/seg/s0001/1",
        "po/o-1/seg/s0001/1.open",
        "po/o-1/seg/s0001/1.open/rows",
        "po/o-1/seg/s0001/1.open/head",
        "po/o-1/seg/s0001/7/rows",
        "po/o-1/seg/s0001/7.open/rows",
        "po/o-1/seg/s0001/0.open/rows",
        "po/o-1/seg/s0002/0/rows",
        "po/o-1/seg/s0001/0/erased.bak",
        "po/o-1/seg/s0001/0/rows.bak",
        "packs/loose",
        "packs/zz/deadbeef.pack",
        "packs/00/loose.unfinished",
    ],
)
def test_what_does_not_belong_there_is_named(made: Made, name: str) -> None:
    path = made.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    report = made.verify()
    assert set(codes(report)) == {"vault.stray"}, report.findings
    assert len(strays(report)) == 1
    assert any(part in strays(report)[0] for part in (name, *map(str, Path(name).parents[:-2])))


def test_what_an_interrupted_write_leaves_is_no_fault(made: Made) -> None:
    left = (
        "vault.json.tmp",
        "po/o-1/secrets.tmp",
        "po/o-1/log/checkpoint.tmp",
        "po/o-1/log/tile/entries/000.p/8.tmp",
    )
    for name in (*left, "po/o-1/seg/s0001/0/head.tmp"):
        (made.path / name).write_bytes(b"torn")
    (made.log() / "staging").mkdir(exist_ok=True)
    (made.log() / "staging" / f"9-{'0' * 64}").write_bytes(b"staged")
    (made.path / "po/o-1/seg/s0003/0.open").mkdir(parents=True)
    (made.path / "po/o-1/seg/s0004").mkdir()
    report = made.verify()
    assert report.valid, report.findings
    assert sorted(remark.code for remark in report.remarks) == ["log.staging", *["vault.leftover"] * 5]


def test_a_narrower_tile_is_no_fault_while_it_is_a_prefix(made: Made) -> None:
    tile = made.log() / "tile/0/000.p/8"
    (made.log() / "tile/0/000.p/3").write_bytes(tile.read_bytes()[:96])
    assert made.verify().valid
    flip(made.log() / "tile/0/000.p/3", 50)
    assert strays(made.verify()) == ["order o-1, po/o-1/log/tile/0/000.p/3"]


def test_an_order_that_never_began_is_no_fault(made: Made) -> None:
    folder = made.path / "po" / "o-9" / "log" / "schemas"
    folder.mkdir(parents=True)
    (made.path / "po/o-9/secrets").write_bytes(b"x")
    report = made.verify()
    assert report.valid, report.findings
    assert [remark.code for remark in report.remarks] == ["order.unfinished"]


# -- swaps


@pytest.mark.parametrize("name", ["rows", "index", "keys", "tree", "head"])
def test_swapped_files_of_two_segments_are_named(made: Made, name: str) -> None:
    one, other = made.segment("scelle.events", 0) / name, made.segment("scelle.events", 1) / name
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    report = made.verify()
    for number in (0, 1):
        assert names(report, f"scelle.events segment {number}"), report.findings


def test_swapped_segments_are_named(made: Made) -> None:
    one, other = made.segment("scelle.events", 0), made.segment("scelle.events", 1)
    one.rename(made.path.parent / "kept")
    other.rename(one)
    (made.path.parent / "kept").rename(other)
    report = made.verify()
    assert names(report, "scelle.events segment 0")
    assert names(report, "scelle.events segment 1")


@pytest.mark.parametrize("number", ["1", "2", "0.open", "1.open", "9"])
def test_a_copy_of_a_segment_is_named(made: Made, number: str) -> None:
    shutil.copytree(made.segment(), made.segment("s0001", number))
    report = made.verify()
    if number in ("1", "1.open"):  # where the next segment would stand: none of its frames opens there
        assert report.valid or names(report, f"s0001 segment {number[0]}")
        assert "segment.open" in {remark.code for remark in report.remarks}
        assert not any("4 records" in remark.detail for remark in report.remarks)
    else:
        assert strays(report)


def test_swapped_frames_are_named(tmp_path: Path) -> None:
    made = make_vault(tmp_path)
    rows = (made.segment() / "rows").read_bytes()
    reseal(made, [rows[:200], rows[200:400], rows[400:]])  # any bytes do: they are not read
    data = (made.segment() / "rows").read_bytes()
    size = 9 + int.from_bytes(data[:4], "big")
    assert int.from_bytes(data[size : size + 4], "big") + 9 == size
    (made.segment() / "rows").write_bytes(data[size : 2 * size] + data[:size] + data[2 * size :])
    report = made.verify()
    where = [f"rows, frame {number} at byte" for number in (0, 1)]
    assert all(names(report, each) for each in where), report.findings


def test_a_spare_key_is_named(made: Made) -> None:
    keys = made.segment() / "keys"
    keys.write_bytes(keys.read_bytes() + bytes(60))
    assert "5 keys for 4 frames" in only(made.verify(), "segment.keys").detail
    keys.write_bytes(keys.read_bytes() + b"x")
    assert codes(made.verify()) == ["segment.keys"] * 2


def test_a_missing_key_is_named(made: Made) -> None:
    keys = made.segment() / "keys"
    keys.write_bytes(keys.read_bytes()[:-60])
    report = made.verify()
    assert set(codes(report)) == {"segment.keys"}
    assert names(report, "slot 3 (frame 2 of index)")


def test_secrets_of_another_order_are_named(made: Made, tmp_path: Path) -> None:
    other = make_vault(tmp_path / "other")
    (made.order() / "secrets").write_bytes((other.order() / "secrets").read_bytes())
    assert codes(made.verify()) == ["order.secrets"]


def test_new_secrets_sealed_under_the_vault_key_are_named(made: Made) -> None:
    """Who has the vault's key can write them; the log began with others."""
    from scelle.ledger.signing import OrderSecrets

    sealed = OrderSecrets.generate(f"{HOST}/po/{ORDER}").sealed(made.key)
    (made.order() / "secrets").write_bytes(sealed)
    report = made.verify()
    assert codes(report).count("log.signature") == 2
    assert "order.secrets" in codes(report)
    assert "segment.index_root" in codes(report)


def test_another_vaults_key_opens_nothing_and_says_so(made: Made) -> None:
    made.key = VaultKey.generate()
    report = made.verify()
    assert {"vault.config", "order.secrets", "segment.keys", "pack.damaged"} <= set(codes(report))
    assert "fault" not in codes(report)


# -- older states put back


def test_an_older_lock_is_named(made: Made) -> None:
    older = (made.log() / "lock.db").read_bytes()
    commit_more(made)
    (made.log() / "lock.db").write_bytes(older)
    finding = only(made.verify(), "log.lock")
    assert "an older lock was put back" in finding.detail


def test_an_older_checkpoint_is_named(made: Made) -> None:
    older = (made.log() / "checkpoint").read_bytes()
    commit_more(made)
    (made.log() / "checkpoint").write_bytes(older)
    report = made.verify()
    assert "an older checkpoint was put back" in only(report, "log.lock").detail


def test_an_older_state_of_everything_is_named_by_what_was_shown(made: Made) -> None:
    kept = made.path.parent / "older"
    shutil.copytree(made.order(), kept)
    commit_more(made)
    log = LogReader(made.log(), f"{HOST}/po/{ORDER}")
    size, root = log.size, log.root
    Witnesses(log).deposit(made.path.parent, START_US)
    escrow = made.path.parent / "escrow-notes"
    shutil.copytree(made.log() / "escrow", escrow)
    shutil.rmtree(made.order())
    shutil.copytree(kept, made.order())
    assert "log.behind" not in codes(made.verify())
    assert "log.behind" in codes(made.verify(recall=lambda origin: (size, root)))
    shutil.copytree(escrow, made.log() / "escrow")
    report = made.verify()
    assert "an older state was put back" in only(report, "log.behind").detail


def test_a_log_made_anew_with_its_own_keys_is_named_by_what_was_shown(made: Made) -> None:
    """Nothing inside the vault tells: its keys sign anything (ledger.md §13). What others hold does."""
    log = LogReader(made.log(), f"{HOST}/po/{ORDER}")
    Witnesses(log).deposit(made.path.parent, START_US)
    size, root = log.size, log.root
    assert made.verify(recall=lambda origin: (size, root)).valid
    entries = log_entries(made)
    assert entries[-1].startswith(b"scelle/count/v1")
    forged = entries[-1].replace(b"offered 4", b"offered 9").replace(b"excluded 0", b"excluded 5")
    (made.log() / "escrow").rename(made.path.parent / "kept")
    forge_log(made, [*entries[:-1], forged])
    (made.path.parent / "kept").rename(made.log() / "escrow")
    report = made.verify()
    assert codes(report) == ["log.escrow"]
    assert "the log was rewritten" in report.findings[0].detail
    shutil.rmtree(made.log() / "escrow")
    assert made.verify().valid
    assert codes(made.verify(recall=lambda origin: (size, root))) == ["log.behind"]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"at_us":"1","how":"x"}', b"[" * 9000, b"1"])
def test_a_note_of_a_deposit_that_says_nothing_is_named(made: Made, data: bytes) -> None:
    log = LogReader(made.log(), f"{HOST}/po/{ORDER}")
    Witnesses(log).deposit(made.path.parent, START_US)
    path = next((made.log() / "escrow").iterdir())
    path.write_bytes(data)
    assert codes(made.verify()) == ["log.escrow"]


def test_a_checkpoint_signed_by_one_key_only_is_named(made: Made) -> None:
    path = made.log() / "checkpoint"
    lines = path.read_bytes().split(b"\n")
    for kept, missing in ((5, "Ed25519"), (4, "ML-DSA-44")):
        path.write_bytes(b"\n".join([*lines[:4], lines[kept], b""]))
        report = made.verify()
        assert codes(report) == ["log.signature", "log.lock"]
        assert f"the {missing} line" in only(report, "log.signature").detail


def test_a_checkpoint_with_a_strange_line_is_named_by_the_lock(made: Made) -> None:
    """A line of an unknown key may stand in a note; the lock knows which note was signed."""
    path = made.log() / "checkpoint"
    path.write_bytes(path.read_bytes() + "— witness.example AAAAAAAAAA==\n".encode())
    assert codes(made.verify()) == ["log.lock"]


def test_a_huge_size_in_a_checkpoint_costs_nothing(made: Made) -> None:
    path = made.log() / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n8\n", b"\n9223372036854775807\n"))
    report = made.verify()
    assert "larger than any log" in only(report, "log.checkpoint").detail
    assert report.records == 7


def test_a_lock_with_a_journal_is_read_as_recovery_would(made: Made) -> None:
    path = made.log() / "lock.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA cache_size=1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE lock SET size = 99, note = zeroblob(200000)")
    copies = {name: (made.log() / name).read_bytes() for name in ("lock.db", "lock.db-journal")}
    connection.execute("ROLLBACK")
    connection.close()
    for name, data in copies.items():
        (made.log() / name).write_bytes(data)
    assert made.verify().valid
    assert (made.log() / "lock.db-journal").read_bytes() == copies["lock.db-journal"]


# -- crashes


def test_a_commit_that_was_interrupted_is_named_and_nothing_else(made: Made) -> None:
    checkpoint = (made.log() / "checkpoint").read_bytes()
    bundle = made.log() / "tile/entries/000.p/8"
    tile = made.log() / "tile/0/000.p/8"
    kept = bundle.read_bytes(), tile.read_bytes()
    commit_more(made)
    (made.log() / "checkpoint").write_bytes(checkpoint)  # the crash came before it was published
    bundle.write_bytes(kept[0])
    tile.write_bytes(kept[1])
    report = made.verify()
    assert codes(report) == ["log.lock"]
    assert report.records == 7


def test_open_segments_are_told_and_no_fault(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/open.txt", b"not sealed yet\n")
        packs.sync()
        ledger.flush()
    report = made.verify()
    assert report.valid, report.findings
    remark = next(remark for remark in report.remarks if remark.code == "segment.open")
    assert "s0001 segment 1 (not sealed yet)" in remark.subject
    assert remark.detail.startswith("1 records")
    assert report.records == 7


def test_the_torn_tail_of_an_open_segment_is_no_fault(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/open.txt", b"not sealed yet\n")
        packs.sync()
        ledger.flush()
        add_document(ledger, packs, "docs/open2.txt", b"nor this\n")
        packs.sync()
        ledger.flush()
    rows = made.segment("s0001", "1.open") / "rows"
    data = rows.read_bytes()
    for torn in (
        data[:-20],
        data[:-1] + bytes([data[-1] ^ 1]),
        data + bytes(500),
        data + b"\0\0\0\x20\0\0\0\x10\0" + bytes(32),
    ):
        rows.write_bytes(torn)
        report = made.verify()
        assert report.valid, report.findings
        assert "vault.leftover" in {remark.code for remark in report.remarks}
    flip(rows, 30)
    assert codes(made.verify()) == ["segment.frame"]


@pytest.mark.parametrize("left", [(), ("rows",), ("keys",), ("head.tmp",), ("rows", "keys")])
def test_a_segment_of_which_a_crash_left_the_head_alone_is_no_fault(
    made: Made, left: tuple[str, ...]
) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/open.txt", b"never flushed\n")
        packs.sync()
    folder = made.segment("s0001", "1.open")
    for name in ("rows", "keys"):
        (folder / name).unlink()
    for name in left:
        (folder / name).touch()
    report = made.verify()
    assert report.valid, report.findings
    remark = next(remark for remark in report.remarks if remark.code == "segment.open")
    assert remark.detail.startswith("0 records")


@pytest.mark.parametrize("name", ["rows", "keys"])
def test_a_file_that_is_gone_of_an_open_segment_that_was_flushed_is_a_finding(made: Made, name: str) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/open.txt", b"flushed\n")
        packs.sync()
        ledger.flush()
    (made.segment("s0001", "1.open") / name).unlink()
    finding = only(made.verify(), "file.missing")
    assert finding.subject.endswith(f"1.open/{name}")


@pytest.mark.parametrize("name", ["rows", "keys"])
def test_a_file_that_is_gone_of_a_segment_that_was_being_closed_is_a_finding(made: Made, name: str) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/open.txt", b"closed\n")
        packs.sync()
        ledger._close_segment("s0001", START_US + 99)
    folder = made.segment("s0001", 1)
    for each in ("rows", "keys"):
        if each != name:
            (folder / each).write_bytes(b"")  # not even where the other has lost its bytes
    (folder / name).unlink()
    assert "file.missing" in codes(made.verify())
    for path in folder.iterdir():
        if path.name != "head":
            path.unlink()
    assert codes(made.verify()).count("file.missing") == 2, "what was closed had its rows"


def test_a_segment_closed_but_not_committed_is_no_fault(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/open.txt", b"not sealed yet\n")
        packs.sync()
        ledger.flush()
        ledger._close_segment("s0001", START_US + 99)
    assert made.segment("s0001", 1).is_dir()
    report = made.verify()
    assert report.valid, report.findings
    assert "segment.open" in {remark.code for remark in report.remarks}


def test_content_of_an_open_record_may_be_missing(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/open.txt", b"its content is lost\n")
        ledger.flush()
        packs._failure = "killed before it was synced"
    report = made.verify()
    assert report.valid, report.findings
    remark = next(remark for remark in report.remarks if remark.code == "content.unsealed")
    assert "record 4 (docs/open.txt)" in remark.subject


def test_the_next_command_puts_a_crashed_vault_in_order(made: Made) -> None:
    published = ("checkpoint", "tile/entries/000.p/8", "tile/0/000.p/8")
    older = {name: (made.log() / name).read_bytes() for name in published}
    commit_more(made)
    for name, data in older.items():
        (made.log() / name).write_bytes(data)
    assert codes(made.verify()) == ["log.lock"]
    ledger = OrderLedgerWriter(made.path, ORDER, f"{HOST}/po/{ORDER}", made.key)
    ledger.close()
    assert made.verify().valid


# -- the log's own files


def test_a_changed_entry_is_named_and_the_rest_is_judged(made: Made) -> None:
    bundle = made.log() / "tile/entries/000.p/8"
    data = bundle.read_bytes()
    at = data.index(b"source s0001\nnumber 0") + 4
    overwrite(bundle, data[:at] + b"\x00" + data[at + 1 :])
    flip(made.segment("scelle.events", 0) / "tree", 1)
    report = made.verify()
    assert "log entry " in only(report, "log.entry").subject
    assert only(report, "segment.manifest").subject == "order o-1, s0001 segment 0"
    assert "scelle.events segment 0" in only(report, "segment.tree").subject
    assert report.records == 7


def test_a_changed_length_in_a_bundle_hides_no_entry(made: Made) -> None:
    bundle = made.log() / "tile/entries/000.p/8"
    flip(bundle, 1)
    report = made.verify()
    assert codes(report) == ["log.entries"]
    assert report.records == 7


def test_entries_that_cannot_be_read_are_named_where_no_tile_tells_more(made: Made) -> None:
    bundle = made.log() / "tile/entries/000.p/8"
    overwrite(bundle, bundle.read_bytes()[: -2 - len(log_entries(made)[-1])])
    (made.log() / "tile/0/000.p/8").unlink()
    report = made.verify()
    assert {"log.root", "log.entries", "file.missing"} <= set(codes(report))
    finding = only(report, "log.entry")
    assert finding.subject == "order o-1, log entry 7"
    assert finding.detail.startswith("it cannot be read")


def test_an_entry_under_the_root_that_is_no_entry_is_named(made: Made) -> None:
    forge_log(made, [*log_entries(made), b"scelle/what/v1\nno such kind\n"])
    report = made.verify()
    finding = only(report, "log.format")
    assert finding.subject == "order o-1, log entry 8"
    assert report.records == 7


def test_changed_entries_and_tiles_are_told_apart_no_more(made: Made) -> None:
    flip(made.log() / "tile/entries/000.p/8", 40)
    flip(made.log() / "tile/0/000.p/8", 200)
    report = made.verify()
    assert set(codes(report)) == {"log.root", "log.entry", "log.chain"}
    assert [finding.subject for finding in report.findings if finding.code == "log.entry"] == [
        "order o-1, log entry 0",
        "order o-1, log entry 6",
    ]


def test_a_damaged_manifest_leaves_its_records_compared_with_themselves(made: Made) -> None:
    bundle = made.log() / "tile/entries/000.p/8"
    data = bundle.read_bytes()
    flip(bundle, data.index(b"source s0001\nnumber 0") + 200)
    assert codes(made.verify()) == ["log.entry", "segment.manifest"]
    flip(made.segment() / "tree", 40)
    assert codes(made.verify()) == ["log.entry", "segment.manifest", "segment.tree"]
    (made.segment() / "head").unlink()  # now nothing says what its schema is
    report = made.verify()
    assert {"log.entry", "segment.manifest", "file.missing", "segment.tree"} <= set(codes(report))
    assert report.records == 7


@pytest.mark.parametrize("name", ["document", "event"])
def test_a_schema_that_is_gone_hides_nothing(made: Made, name: str) -> None:
    path = next(
        p for p in (made.log() / "schemas").iterdir() if json.loads(p.read_bytes())["name"].endswith(name)
    )
    path.unlink()
    report = made.verify()
    assert codes(report) == ["log.schema"]
    assert report.records == 7


# -- a log of more than one tile


@pytest.fixture
def long_log(made: Made) -> Made:
    with writing(made) as (ledger, _):
        for start in range(0, 300, 100):
            counts: list[Entry] = [
                Count(ORDER, "s0001", (START_US, START_US + 5 + number), 0, 0, 0, 0, 0, "files")
                for number in range(start, start + 100)
            ]
            ledger.seal(START_US + 90, entries=counts)
    return made


def test_a_log_of_several_tiles_is_judged(long_log: Made) -> None:
    assert long_log.verify().valid
    names_there = {relative(long_log, path) for path in long_log.log().rglob("*") if path.is_file()}
    assert {f"po/o-1/log/tile/{name}" for name in ("0/000", "0/001.p/52", "1/000.p/1")} <= names_there
    for name in ("tile/0/000", "tile/0/001.p/52", "tile/1/000.p/1"):
        path = long_log.log() / name
        data = path.read_bytes()
        flip(path, len(data) // 2)
        assert only(long_log.verify(), "log.tile").subject.endswith(name)
        path.write_bytes(data)
    flip(long_log.log() / "tile/entries/000", 20_000)
    assert "(tile/entries/000)" in only(long_log.verify(), "log.entry").detail


def test_a_whole_bundle_that_is_gone_hides_nothing_else(long_log: Made) -> None:
    (long_log.log() / "tile/entries/001.p/52").unlink()
    flip(long_log.segment() / "tree", 9)
    report = long_log.verify()
    assert codes(report).count("log.entry") == 52
    assert {"file.missing", "segment.tree"} <= set(codes(report))
    assert report.records == 7


def test_an_older_deposit_is_a_prefix_of_the_log(made: Made) -> None:
    for number in range(3):
        Witnesses(LogReader(made.log(), f"{HOST}/po/{ORDER}")).deposit(made.path.parent, START_US)
        if number < 2:
            commit_more(made)
    assert len(list((made.log() / "escrow").iterdir())) == 3
    assert made.verify().valid
    oldest = min((made.log() / "escrow").iterdir(), key=lambda path: int(path.name.split("-")[0]))
    size, root = oldest.stem.split("-")
    oldest.rename(oldest.with_name(f"{size}-{bytes.fromhex(root)[::-1].hex()}.json"))
    assert codes(made.verify()) == ["log.escrow"]


# -- checks that flips reach only by chance


def put_note(made: Made, note: bytes) -> None:
    """Put a note both where it is published and into the lock, as who has neither key of the log can."""
    (made.log() / "checkpoint").write_bytes(note)
    connection = sqlite3.connect(made.log() / "lock.db")
    connection.execute("UPDATE lock SET note = ?", (note,))
    connection.commit()
    connection.close()


@pytest.mark.parametrize(("line", "what"), [(4, "Ed25519"), (5, "ML-DSA-44")])
def test_a_wrong_signature_is_named_even_if_the_lock_has_it_too(made: Made, line: int, what: str) -> None:
    lines = (made.log() / "checkpoint").read_bytes().split(b"\n")
    name, encoded = lines[line].rsplit(b" ", 1)
    data = bytearray(base64.b64decode(encoded))
    data[-1] ^= 1
    lines[line] = name + b" " + base64.b64encode(data)
    put_note(made, b"\n".join(lines))
    report = made.verify()
    assert codes(report) == ["log.signature"]
    assert report.findings[0].detail == f"the {what} signature is wrong"


def test_another_schema_under_a_schemas_name_is_named(made: Made) -> None:
    one, other = sorted((made.log() / "schemas").iterdir())
    one.write_bytes(other.read_bytes())
    assert "its SHA-256 is not its name" in only(made.verify(), "log.schema").detail


def test_a_bundle_with_an_entry_more_than_its_name_says_is_named(made: Made) -> None:
    bundle = made.log() / "tile/entries/000.p/8"
    more = log_entries(made)[-1]
    bundle.write_bytes(bundle.read_bytes() + len(more).to_bytes(2, "big") + more)
    assert "it has 9 entries, must have 8" in only(made.verify(), "log.entries").detail


def test_an_open_segment_without_a_head_holds_nothing(made: Made) -> None:
    begun = made.segment().with_name("1.open")
    begun.mkdir()
    (begun / "head.tmp").write_bytes(b"{")
    assert made.verify().valid
    (begun / "rows").write_bytes(b"x")
    assert only(made.verify(), "vault.stray").subject.endswith("seg/s0001/1.open/rows")


def test_a_segment_that_is_begun_meanwhile_is_no_fault(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer makes the folder, then its head: verification may look in between, and list afterwards."""
    begun = made.segment().with_name("1.open")
    begun.mkdir()

    def begin(folder: Path) -> list[str]:
        found = files_below(folder)
        if folder == begun:
            (begun / "head").write_bytes((made.segment() / "head").read_bytes())
            found = files_below(folder)
        return list(found)

    monkeypatch.setattr(plan, "files_below", begin)
    assert made.verify().valid


def test_a_segment_that_is_closed_meanwhile_is_no_fault(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer renames the folder of a segment that it closes, between our look at the head and reading it."""
    begun = made.segment().with_name("1.open")
    shutil.copytree(made.segment(), begun)

    def close(folder: Path) -> SegmentHead | None:
        if folder == begun:
            shutil.rmtree(folder)
        return read_head(folder)

    read_head = plan._read_head
    monkeypatch.setattr(plan, "_read_head", close)
    assert made.verify().valid


def test_a_segment_that_is_closed_between_two_looks_at_its_folder_is_no_fault(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = made.segment().with_name("1.open")
    begun.mkdir()

    def close(path: Path) -> bool:
        if path == begun:
            begun.rmdir()
        return is_folder(path)

    monkeypatch.setattr(plan, "is_folder", close)
    assert made.verify().valid


def test_a_segment_that_is_begun_and_closed_meanwhile_is_no_fault(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = made.segment().with_name("1.open")
    begun.mkdir()

    def begin_and_close(path: Path) -> bool:
        there = is_there(path)
        if path == begun / "rows":
            shutil.rmtree(begun)
        return there

    def begin(folder: Path) -> list[str]:
        if folder == begun:
            (begun / "rows").write_bytes(b"x")
        return list(files_below(folder))

    monkeypatch.setattr(plan, "files_below", begin)
    monkeypatch.setattr(plan, "is_there", begin_and_close)
    assert made.verify().valid


def test_a_head_in_another_spelling_is_named(made: Made) -> None:
    head = made.segment() / "head"
    head.write_bytes(head.read_bytes().replace(b",", b", "))
    assert "canonical form" in only(made.verify(), "segment.head").detail


def test_a_lock_that_sqlite_finds_damaged_is_named(made: Made) -> None:
    path = made.log() / "lock.db"
    data = bytearray(path.read_bytes())
    data[36:40] = (5).to_bytes(4, "big")  # pages on the freelist: there are none
    path.write_bytes(bytes(data))
    assert "it is damaged" in only(made.verify(), "log.lock").detail
