"""One flipped bit: in evidence it is found and named; in a derived file it changes no answer, or is named.

docs/formats/vault.md and docs/formats/ledger-files.md say which file is which.
"""

import random
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from scelle.errors import VaultTooNew
from scelle.ledger.log import LogReader
from scelle.ledger.witness import Witnesses
from scelle.vault.service import CONFIG_NAME

from .support import (
    HOST,
    ORDER,
    START_US,
    Made,
    add_document,
    evidence_files,
    flip,
    make_vault,
    names,
    relative,
    writing,
)

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
UNFINISHED = ".unfinished"
SAMPLED_A_FILE = 6
LARGER_FLIPS = 5000
LARGER_SAMPLED = 60
DERIVED_FLIPS = 2000
DERIVED_SAMPLED = 200


@pytest.fixture(scope="session")
def small_original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A vault with one file of each kind: recovery.age, and a pack that is not finished, too."""
    made = make_vault(tmp_path_factory.mktemp("small"), recipients=[RECIPIENT])
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/late.txt", b"in a pack that was not finished\n" * 9)
        packs.sync()
        ledger.seal(START_US + 60)
        packs._failure = "killed"  # so that closing only lets go
    return made


@pytest.fixture(scope="session")
def larger_original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """300 documents in a pack of several frames, and one content that has a pack of its own."""
    draw = random.Random(300)
    documents = {f"docs/{n:03d}.bin": draw.randbytes(draw.randrange(4000, 16_000)) for n in range(299)}
    documents["docs/large.bin"] = draw.randbytes((8 << 20) + 100_001)
    made = make_vault(tmp_path_factory.mktemp("larger"), documents)
    frames = [path.stat().st_size // 60 - 1 for path in (made.path / "packs").rglob("*.keys")]
    assert len(frames) == 2
    assert max(frames) >= 4
    return made


def copied(original: Made, folder: Path) -> Made:
    shutil.copytree(original.path, folder / "vault")
    return Made(folder / "vault", original.key)


@pytest.fixture
def small(small_original: Made, tmp_path: Path) -> Made:
    return copied(small_original, tmp_path)


@pytest.fixture
def larger(larger_original: Made, tmp_path: Path) -> Made:
    return copied(larger_original, tmp_path)


def check_flip(made: Made, path: Path, offset: int, bit: int) -> None:
    """A finding names the file, or the entry or record that stood there; and no check failed by itself.

    A flip can make a version of vault.json that is yet to come: then nothing is judged, and the error names it.
    """
    data, mode = path.read_bytes(), path.stat().st_mode
    flip(path, offset, bit)
    report, refused = None, ""
    try:
        report = made.verify()
    except VaultTooNew as error:
        refused = str(error)
    finally:
        path.write_bytes(data)
        path.chmod(mode)
    if report is None:
        assert path.name == CONFIG_NAME
        assert CONFIG_NAME in refused
        return
    assert not report.valid, (path, offset, bit)
    is_named = names(report, relative(made, path).removesuffix(UNFINISHED)) or (
        names(report, "log entry")
        if "/entries/" in str(path)
        else path.suffix == UNFINISHED and names(report, "record 4 (docs/late.txt)")
    )
    assert is_named, (path, offset, bit, report.findings)
    assert "fault" not in {finding.code for finding in report.findings}, report.findings


def sampled(paths: Sequence[Path], count: int, draw: random.Random) -> Iterator[tuple[Path, int]]:
    """Draw bytes: one half of them evenly over the files, the other evenly over all bytes."""
    sizes = [path.stat().st_size for path in paths]
    for number in range(count):
        (path,) = draw.choices(paths, sizes) if number % 2 else (draw.choice(paths),)
        yield path, draw.randrange(path.stat().st_size)


def test_the_kinds_of_evidence_are_all_there(small: Made) -> None:
    kinds = {"".join(path.suffixes) or path.name for path in evidence_files(small)}
    assert {".age", ".json", ".pack", ".keys", ".pack.unfinished", ".keys.unfinished"} < kinds
    assert {"secrets", "checkpoint", "rows", "index", "tree", "keys"} < kinds
    assert small.verify().valid


def test_flipped_evidence_is_named(small: Made) -> None:
    draw = random.Random(20260108)
    assert len(evidence_files(small)) >= 32
    for path in evidence_files(small):
        size = path.stat().st_size
        for offset in {0, size - 1, *(draw.randrange(size) for _ in range(SAMPLED_A_FILE))}:
            check_flip(small, path, offset, draw.randrange(8))
    assert small.verify().valid


def test_a_version_that_a_flip_makes_is_named(small: Made) -> None:
    config = small.path / CONFIG_NAME
    check_flip(small, config, config.read_bytes().index(b"scelle/vault/v1") + 14, 2)  # v5


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_byte_of_evidence_is_named(small: Made) -> None:
    draw = random.Random(1)
    for path in evidence_files(small):
        for offset in range(path.stat().st_size):
            check_flip(small, path, offset, draw.randrange(8))
    assert small.verify().valid


def check_larger(made: Made, count: int, seed: int) -> None:
    draw = random.Random(seed)
    for path, offset in sampled(evidence_files(made), count, draw):
        check_flip(made, path, offset, draw.randrange(8))
    assert made.verify().valid


def test_flipped_evidence_of_a_larger_vault_is_named(larger: Made) -> None:
    check_larger(larger, LARGER_SAMPLED, 2)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_5000_flips_of_a_larger_vault_are_named(larger: Made) -> None:
    check_larger(larger, LARGER_FLIPS, 3)


# -- derived files


def leave_catalog_log(made: Made) -> None:
    """Leave the catalog as a process that was killed does: its newest rows in the log beside it."""
    catalog = made.path / "catalog.db"
    connection = sqlite3.connect(catalog)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    for is_complete in (0, 1):
        connection.execute("UPDATE packs SET is_complete = ?", (is_complete,))
        connection.commit()
    paths = [catalog, *(catalog.with_name(f"catalog.db-{kind}") for kind in ("wal", "shm"))]
    kept = {path: path.read_bytes() for path in paths}
    connection.close()
    for path, data in kept.items():
        assert data, path
        path.write_bytes(data)


def derived_files(made: Made) -> list[Path]:
    """List the files that are classed as derived, or as working: nothing may depend on them."""
    found = [made.path / name for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm", "writer.lock")]
    found += [made.log() / "lock.db", *(made.log() / "escrow").iterdir(), *made.path.rglob("head")]
    return found


def check_derived(made: Made, count: int, seed: int) -> None:
    (made.path / "writer.lock").write_bytes(b"process 1 since then\n")
    Witnesses(LogReader(made.log(), f"{HOST}/po/{ORDER}")).deposit(made.path.parent, START_US)
    leave_catalog_log(made)
    paths = derived_files(made)
    assert len(paths) >= 9
    kept = {path: path.read_bytes() for path in paths}
    draw, clean = random.Random(seed), made.verify()
    assert clean.valid, clean.findings
    restore(kept)
    for path, offset in sampled(paths, count, draw):
        flip(path, offset, draw.randrange(8))
        report = made.verify()
        restore(kept)
        if report.valid:
            assert (report.records, report.contents) == (clean.records, clean.contents)
        else:
            named = "catalog.db" if path.name.startswith("catalog") else relative(made, path)
            assert names(report, named), (path, offset, report.findings)
            assert {finding.subject for finding in report.findings if named not in finding.subject} == set()
            assert "fault" not in {finding.code for finding in report.findings}, report.findings


def restore(kept: dict[Path, bytes]) -> None:
    for path, data in kept.items():
        path.write_bytes(data)


def test_flips_of_derived_files_change_no_answer_or_are_named(made: Made) -> None:
    check_derived(made, DERIVED_SAMPLED, 7)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_2000_flips_of_derived_files_change_no_answer_or_are_named(made: Made) -> None:
    check_derived(made, DERIVED_FLIPS, 8)


def test_every_file_of_a_vault_is_classed(small: Made) -> None:
    """No file is forgotten: each is evidence or derived, and the pages about formats say which."""
    (small.path / "writer.lock").touch()
    Witnesses(LogReader(small.log(), f"{HOST}/po/{ORDER}")).deposit(small.path.parent, START_US)
    leave_catalog_log(small)
    derived = set(derived_files(small))
    evidence = {path for path in evidence_files(small) if "escrow" not in path.parts}
    assert not derived & evidence
    there = {path for path in small.path.rglob("*") if path.is_file()}
    assert there == derived | evidence
