"""Verify vaults that the commands made, from files that nobody made for this test."""

import multiprocessing
import os
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import make_platform, preserved, take_in

from scelle.bootstrap import KeyChoice, opened
from scelle.formats.schema import DOCUMENT_V1
from scelle.fsck.service import verify
from scelle.ledger.events import record_event
from scelle.ledger.service import Looked
from scelle.vault.keys import read_key_file

LIBRARY = Path(os.__file__).parent
FILES = 400


@pytest.fixture(scope="module")
def library() -> list[Path]:
    """List source files of the running Python's library: looking through all of it takes longer than a test."""
    return sorted(LIBRARY.rglob("*.py"))[:FILES]


@pytest.fixture
def platform(
    library: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Platform:
    """Preserve 400 source files of the running Python's library."""
    platform = make_platform(tmp_path, capsys, monkeypatch)
    for path in library:
        target = platform.docs / path.relative_to(LIBRARY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    take_in(platform)
    assert preserved(platform)["new"] == FILES
    return platform


def test_a_vault_made_by_commands_is_valid(platform: Platform) -> None:
    document = platform("verify", "--json").json
    assert document["valid"] is True
    assert document["findings"] == []
    assert document["records"] == document["records_of"] >= FILES
    assert platform("verify", "--workers", "2", "--json").json["contents"] == document["contents"]
    assert platform("verify", "--order", ORDER, "--json").json["valid"] is True
    sample = platform("verify", "--sample", "7", "--json").json
    assert sample["sampling"].startswith(f"sampled {sample['records']} of {document['records']} records")


def test_one_byte_in_a_pack_is_named_by_the_documents_that_it_takes(platform: Platform) -> None:
    pack = max((platform.vault / "packs").rglob("*.pack"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    document = platform("verify", "--json", code=1).json
    codes = [finding["code"] for finding in document["findings"]]
    assert document["valid"] is False
    assert codes.count("pack.damaged") == 1
    named = {finding["subject"] for finding in document["findings"] if finding["code"] == "content.missing"}
    assert named
    assert all(
        ".py)" in subject and f"order {ORDER}, s0001 segment 0, record " in subject for subject in named
    )
    words = platform("verify", code=1).out
    assert pack.name in words


def test_damage_everywhere_is_named_everywhere(platform: Platform) -> None:
    draw = random.Random(11)
    hurt = [
        path
        for path in platform.vault.rglob("*")
        if (path.is_file() and path.name in ("rows", "index", "tree")) or path.suffix == ".pack"
    ]
    for path in hurt:
        data = bytearray(path.read_bytes())
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.chmod(0o600)
        path.write_bytes(data)
    findings = platform("verify", "--json", code=1).json["findings"]
    for path in hurt:
        name = str(path.relative_to(platform.vault))
        assert any(name in finding["subject"] for finding in findings), name
    assert not [finding for finding in findings if finding["code"] == "fault"]


def test_without_a_catalog_every_record_is_judged_and_the_next_pass_does_nothing_twice(
    platform: Platform,
) -> None:
    (platform.vault / "catalog.db").unlink()
    assert platform("verify", "--json").json["valid"] is True
    rebuilt = platform("rebuild-catalog", "--json").json
    assert rebuilt["contents"] > 300
    assert platform("verify", "--json").json["remarks"] == []
    assert preserved(platform)["unchanged"] == FILES
    assert platform("verify", "--json").json["valid"] is True


def test_a_catalog_from_before_a_crash_is_made_good(platform: Platform) -> None:
    connection = sqlite3.connect(platform.vault / "catalog.db")
    connection.execute("DELETE FROM contents")
    connection.commit()
    connection.close()
    findings = platform("verify", "--json", code=1).json["findings"]
    assert {finding["code"] for finding in findings} == {"catalog.stale"}
    platform("rebuild-catalog")
    assert platform("verify", "--json").json["valid"] is True


def write_on(vault: Path, key_folder: Path, stop: "multiprocessing.synchronize.Event") -> None:
    """Keep committing, as a watch does."""
    with opened(vault, KeyChoice(key_folder), writing=True) as session:
        ledger = session.order_writer(ORDER)
        number = 0
        while not stop.is_set():
            number += 1
            now_us = time.time_ns() // 1000
            record_event(ledger, now_us, "tester", "tick", {"number": number})
            ledger.seal(now_us, looked=[Looked("s0001", DOCUMENT_V1)])


def test_beside_a_writer_nothing_is_wrong(platform: Platform) -> None:
    """The log moves under the verification all the time: commits, tiles replaced, segments closed."""
    key = read_key_file(next((platform.root / "keys").glob("*.key")))
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=write_on, args=(platform.vault, platform.root / "keys", stop))
    writer.start()
    try:
        deadline = time.monotonic() + 60
        before = verify(platform.vault, key).segments
        while verify(platform.vault, key).segments < before + 2 and time.monotonic() < deadline:
            pass  # until the writer is at work
        for _ in range(4):
            report = verify(platform.vault, key, workers=1)
            assert report.valid, report.findings
        assert report.segments > before
    finally:
        stop.set()
        writer.join()
    assert verify(platform.vault, key).valid
