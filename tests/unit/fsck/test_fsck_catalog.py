import errno
import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from scelle.fsck.catalog import is_being_written
from scelle.fsck.rebuild import rebuild_catalog
from scelle.vault.lock import WriterLock

from .support import DOCUMENTS, START_US, Made, add_document, codes, only, writing


def change(made: Made, *statements: str) -> None:
    connection = sqlite3.connect(made.path / "catalog.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            "DELETE FROM contents WHERE content IN (SELECT content FROM contents LIMIT 1)",
            "does not have 1 contents",
        ),
        (
            "UPDATE contents SET start = start + 1 WHERE content IN (SELECT content FROM contents LIMIT 1)",
            "1 of its rows",
        ),
        ("UPDATE contents SET size = size + 1", "5 of its rows"),
        ("UPDATE contents SET frame_offset = 0", "5 of its rows"),
        ("UPDATE contents SET pack = 99", "packs that are not there"),
        ("INSERT INTO contents VALUES (zeroblob(32), 1, 47, 0, 5)", "1 of its rows"),
        ("INSERT INTO packs VALUES (7, 'ff', 1)", "packs that are not there"),
        ("DELETE FROM packs", "packs that are not there"),
        ("PRAGMA user_version = 5", "another version"),
    ],
)
def test_a_catalog_that_says_otherwise_is_stale(made: Made, statement: str, what: str) -> None:
    change(made, statement)
    report = made.verify()
    assert set(codes(report)) == {"catalog.stale"}
    assert any(what in finding.detail for finding in report.findings), report.findings
    assert all("scelle rebuild-catalog" in finding.detail for finding in report.findings)
    assert (report.records, report.contents) == (7, 5)
    rebuild_catalog(made.path, made.key)
    assert made.verify().valid


def test_a_catalog_that_knows_a_pack_in_part_is_behind_and_not_stale(made: Made) -> None:
    """The next command that writes reads such a pack again (`PackStore.recover`)."""
    change(made, "UPDATE packs SET is_complete = 0", "DELETE FROM contents WHERE size > 0")
    assert made.verify().valid


@pytest.mark.parametrize("data", [b"", b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_a_catalog_that_is_none_is_stale(made: Made, data: bytes) -> None:
    (made.path / "catalog.db").write_bytes(data)
    assert codes(made.verify()) == ["catalog.stale"]


def test_a_catalog_with_a_log_beside_it_is_read_with_it(made: Made) -> None:
    connection = sqlite3.connect(made.path / "catalog.db")
    connection.execute("DELETE FROM contents")
    connection.commit()
    assert (made.path / "catalog.db-wal").stat().st_size
    assert codes(made.verify()) == ["catalog.stale"]
    connection.close()


def test_the_catalog_is_remade_from_the_packs(made: Made) -> None:
    (made.path / "catalog.db").unlink()
    made_again = rebuild_catalog(made.path, made.key)
    assert (made_again["contents"], made_again["packs"]) == (len(DOCUMENTS) + 1, 1)
    assert made.verify().remarks == ()
    with writing(made) as (_, packs):
        assert packs.read_bytes(next(iter(packs_digests()))) == b"a red boat\n" * 20


def packs_digests() -> list[bytes]:
    from hashlib import sha256

    return [sha256(data).digest() for data in DOCUMENTS.values()]


def test_a_rebuild_changes_no_evidence(made: Made) -> None:
    def evidence() -> dict[Path, bytes]:
        return {
            path: path.read_bytes()
            for path in made.path.rglob("*")
            if path.is_file() and not path.name.startswith("catalog.db")
        }

    before = evidence()
    rebuild_catalog(made.path, made.key)
    assert evidence() == before


def test_beside_a_writer_the_catalog_is_left_alone(made: Made) -> None:
    assert not is_being_written(made.path)
    with WriterLock(made.path).acquire("now"):
        assert is_being_written(made.path)
        with writing(made) as (ledger, packs):
            add_document(ledger, packs, "docs/busy.txt", b"while we verify\n")
            packs.sync()
            ledger.flush()
            report = made.verify()
            ledger.seal(START_US + 70)
    assert report.valid, report.findings
    assert {"vault.writer", "catalog.unread", "segment.open"} <= {remark.code for remark in report.remarks}
    assert not is_being_written(made.path)
    assert made.verify().valid


def ask_again_and_again(vault: Path, is_ready: "multiprocessing.synchronize.Event") -> None:
    for number in range(1_000_000_000):
        is_being_written(vault)
        if number == 100:
            is_ready.set()


def test_asking_keeps_no_writer_out(made: Made) -> None:
    """Whoever asks holds the lock for a moment; a writer that comes just then tries again."""
    with WriterLock(made.path).acquire("now"):
        pass
    context = multiprocessing.get_context("spawn")
    is_ready = context.Event()
    asking = context.Process(target=ask_again_and_again, args=(made.path, is_ready), daemon=True)
    asking.start()
    try:
        assert is_ready.wait(60)
        for _ in range(100):
            with WriterLock(made.path).acquire("now"):
                assert is_being_written(made.path)
    finally:
        asking.kill()
        asking.join()


def test_nobody_is_asked_more_often_than_an_answer_needs(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def nobody_writes(vault: Path) -> bool:
        asked.append(vault)
        return False

    monkeypatch.setattr("scelle.fsck.service.is_being_written", nobody_writes)
    assert made.verify().valid
    assert len(asked) == 2  # for the remark, and before the catalog; none for a log without findings
    (made.log() / "checkpoint").write_bytes(b"x")
    made.verify()
    assert len(asked) == 5


def test_where_there_are_no_locks_nobody_writes(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    with WriterLock(made.path).acquire("now"):
        monkeypatch.setattr("scelle.fsck.catalog.fcntl.flock", refuse)
        assert not is_being_written(made.path)


def test_a_lock_that_stays_ahead_while_a_writer_works_is_looked_at_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = (made.log() / "checkpoint").read_bytes()
    names = ("tile/entries/000.p/8", "tile/0/000.p/8")
    kept = {name: (made.log() / name).read_bytes() for name in names}
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/busy.txt", b"while we verify\n")
        packs.sync()
        ledger.seal(START_US + 70)
    newer = (made.log() / "checkpoint").read_bytes()
    (made.log() / "checkpoint").write_bytes(older)
    for name, data in kept.items():
        (made.log() / name).write_bytes(data)
    waits: list[float] = []

    def publish(seconds: float) -> None:
        waits.append(seconds)
        (made.log() / "checkpoint").write_bytes(newer)

    monkeypatch.setattr("scelle.fsck.service.time.sleep", publish)
    assert only(made.verify(), "log.lock")
    assert not waits
    with WriterLock(made.path).acquire("now"):
        assert made.verify().valid
    assert len(waits) == 1
