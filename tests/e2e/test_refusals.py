"""Refusals in sessions that only read: kept in the spool, sealed by the next one that writes."""

import os
from pathlib import Path

import pytest

from scelle.bootstrap import KeyChoice, now_us, opened
from scelle.bootstrap.acting import ActingAs
from scelle.errors import NotAllowed, StorageFailed
from scelle.operators.model import Power
from scelle.operators.reads import REFUSED_FOLDER, TEXT_MAX_CHARACTERS

from .conftest import ORDER, Platform
from .test_operators import at, staff, vault_events


@pytest.fixture
def staffed(ordered: Platform) -> Platform:
    staff(ordered, alice="counsel", bob="counsel", erik="engineer", ada="auditor")
    return ordered


def waiting(platform: Platform) -> list[Path]:
    folder = platform.vault / REFUSED_FOLDER
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_a_refusal_of_a_reading_session_waits_encrypted_and_is_sealed_by_the_next_that_writes(
    staffed: Platform,
) -> None:
    staffed("--as", "erik", "note", "list", code=2)
    (path,) = waiting(staffed)
    assert b"erik" not in path.read_bytes()
    assert vault_events(staffed, "refused") == []
    staffed("--as", "alice", "preview", ORDER)
    (event,) = vault_events(staffed, "refused")
    assert event["what"] == "record what happens to an order"
    assert "erik is engineer" in event["why"]
    assert now_us() - int(event["at_us"]) < 600_000_000
    assert waiting(staffed) == []
    (told,) = [
        each
        for each in staffed("--as", "ada", "operator", "log", "--json").json["events"]
        if each["kind"] == "refused"
    ]
    assert told["by"] == "operator:erik"


def test_who_was_removed_is_noted_by_a_reading_session_too(staffed: Platform) -> None:
    staffed("--as", "alice", "operator", "remove", "bob")
    staffed("--as", "bob", "order", "list", code=2)
    staffed("--as", "alice", "preview", ORDER)
    assert [each["what"] for each in vault_events(staffed, "refused")] == ["act as bob"]


def test_a_refusal_is_of_bounded_size(staffed: Platform) -> None:
    keys = KeyChoice(key_file=staffed.root / "keys")
    with opened(staffed.vault, keys, writing=False, acting_as=ActingAs("erik")) as session:
        session.note_refusal("x" * 100_000, "y" * 100_000)
    (path,) = waiting(staffed)
    assert path.stat().st_size < 4 * TEXT_MAX_CHARACTERS
    with at(staffed, now_us(), "alice"):
        pass
    (event,) = vault_events(staffed, "refused")
    assert len(event["why"]) == TEXT_MAX_CHARACTERS


def test_where_it_cannot_be_noted_the_refusal_is_said_all_the_same_with_a_warning(
    staffed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise StorageFailed("spool/refused: create failed: Read-only file system")

    monkeypatch.setattr("scelle.bootstrap.session.note_refused", full)
    answer = staffed("--as", "erik", "note", "list", code=2)
    said = answer.err.splitlines()
    assert "could not be noted" in said[0]
    assert "erik is engineer" in said[1]
    staffed("--as", "alice", "operator", "remove", "bob")
    removed = staffed("--as", "bob", "order", "list", code=2).err.splitlines()
    assert "could not be noted" in removed[0]
    assert "was removed" in removed[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into every folder")
def test_a_folder_that_may_not_be_written_to_is_no_crash(staffed: Platform) -> None:
    spool = staffed.vault / "spool"
    spool.mkdir(exist_ok=True)
    spool.chmod(0o500)
    try:
        keys = KeyChoice(key_file=staffed.root / "keys")
        with opened(staffed.vault, keys, writing=False, acting_as=ActingAs("erik")) as session:
            with pytest.raises(NotAllowed):
                session.require(Power.AMEND)
            assert "could not be noted" in session.warnings[-1]
    finally:
        spool.chmod(0o700)


def test_a_file_that_is_no_refusal_stops_no_command(staffed: Platform) -> None:
    staffed("--as", "erik", "note", "list", code=2)
    (path,) = waiting(staffed)
    (path.parent / ("f" * 32)).write_bytes(path.read_bytes()[:-1])
    (path.parent / ("e" * 32)).write_bytes(bytes(1 << 17))
    staffed("--as", "alice", "preview", ORDER)
    assert len(vault_events(staffed, "refused")) == 1
