"""Keep a real server's disk from a capture that stands still: the cap and the choice that were set beforehand."""

import json
import time

import pytest
from tests.integration.live_vault import Connection, Vault, until, until_read

from scelle.bootstrap import KeyChoice, opened
from scelle.bootstrap.wal_caps import is_beyond
from scelle.cli.arguments import size
from scelle.errors import InputError
from scelle.sources.model import StreamChoices
from scelle.sources.postgres.slots import SlotState


@pytest.fixture
def vault(vault: Vault) -> Vault:
    vault.order()
    vault.watch()
    return vault


def test_beyond_the_cap_the_slot_goes_and_a_snapshot_closes_the_gap(vault: Vault, db: Connection) -> None:
    vault.run("source", "set", "app", "--wal-cap", "4MB", "--beyond-wal-cap", "drop-slot")
    _load(db, 1, 2000)
    db.execute("DELETE FROM posts WHERE id <= 10")
    report = vault.json("watch", "o-1", "--until-caught-up")
    assert report["snapshots"][0]["new"] == 1990
    assert [(gap["cause"], gap["open"], gap["lost_at_most"] > 10) for gap in vault.gaps()] == [
        ("wal-cap", False, True)
    ]
    _load(db, 3000, 10)
    assert vault.watch()["sealed"] == 10
    assert _kept(db) < 4_000_000
    vault.run("verify")


def test_the_slot_goes_while_another_command_has_the_vault(vault: Vault, db: Connection) -> None:
    vault.run("source", "set", "app", "--wal-cap", "4MB", "--beyond-wal-cap", "drop-slot")
    process = vault.start("watch", "o-1", "--json")
    until_read(db)
    keys = KeyChoice(key_file=vault.folder / "keys" / "scelle" / "keys")
    with opened(vault.folder / "vault", keys, writing=True):
        _load(db, 1, 3000)
        until(lambda: db.execute("SELECT 1 FROM pg_replication_slots").fetchone() is None)
    until(lambda: vault.causes() == [("wal-cap", False)])
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report = json.loads(out)  # a part may have come before the stream ended
    assert report["snapshots"][0]["new"] + report["sources"]["app"]["sealed"] == 3000
    assert vault.found("o-1", 'native = "[3000]"') == 1


def test_a_cap_that_no_pass_can_keep_does_not_make_one_after_another(vault: Vault, db: Connection) -> None:
    vault.run("source", "set", "app", "--wal-cap", "1B", "--beyond-wal-cap", "drop-slot")
    _load(db, 1, 10)
    process = vault.start("watch", "o-1", "--json")
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any("the cap is too small for a pass over it" in line for line in lines)
    time.sleep(3)  # longer than it takes to begin another
    assert db.execute("SELECT 1 FROM pg_replication_slots").fetchone() is None
    process.terminate()
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1  # the gap stays open
    assert len(json.loads(out)["snapshots"]) == 1
    assert vault.causes() == [("wal-cap", False), ("wal-cap", True)]


def test_where_a_warning_was_chosen_nothing_is_dropped(vault: Vault, db: Connection) -> None:
    vault.run("source", "set", "app", "--wal-cap", "4MB")
    _load(db, 1, 2000)
    report = vault.json("watch", "o-1", "--until-caught-up")
    assert (report["sources"]["app"]["sealed"], report["gaps"]) == (2000, 0)
    assert ["4000000 are allowed" in note for note in report["notes"]] == [True]
    assert vault.gaps() == []
    (shown,) = vault.json("source", "list")["sources"]
    assert shown["stream"] == {"wal_cap_bytes": 4_000_000, "beyond_wal_cap": "warn"}
    again = ("source", "add", "app", shown["url"], "--credential", "env:APP_PASSWORD")
    vault.run(*again, code=2)
    vault.run(*again, "--restricted")  # the same source, whatever was chosen for its stream
    (kept,) = vault.json("source", "list")["sources"]
    assert (kept["restricted"], kept["stream"]) == (True, shown["stream"])


@pytest.mark.parametrize(("kept", "cap", "beyond"), [(11, 10, True), (10, 10, False), (1 << 40, None, False)])
def test_a_cap_is_what_may_be_kept(kept: int, cap: int | None, beyond: bool) -> None:
    slot = SlotState("pgoutput", "app", False, 0, "reserved", kept)
    assert is_beyond(StreamChoices(cap), slot) is beyond
    assert not is_beyond(StreamChoices(cap), None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50GB", 50 * 10**9),
        ("512MiB", 512 << 20),
        ("1048576", 1 << 20),
        ("1.5T", 15 * 10**11),
        ("7 kb", 7000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert size(text, "--wal-cap") == expected


@pytest.mark.parametrize("text", ["", "0", "GB", "-1GB", "1PB", "9" * 20, "1e9", "50 GB 3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="give a size above nothing"):
        size(text, "--wal-cap")


def test_what_cannot_be_chosen_is_refused(vault: Vault) -> None:
    vault.run("source", "set", "app", "--beyond-wal-cap", "drop-slot", code=2)  # without a cap
    vault.run("source", "set", "app", "--wal-cap", "none", "--beyond-wal-cap", "pray", code=2)
    vault.run("source", "set", "app", "--wal-cap", "0GB", code=2)
    vault.run("source", "set", "app", code=2)
    (vault.folder / "docs").mkdir()
    vault.run("source", "add", "docs", f"files://{vault.folder / 'docs'}")
    vault.run("source", "set", "docs", "--wal-cap", "1GB", code=2)


def _load(db: Connection, first: int, rows: int) -> None:
    """Write rows of 3 KB, each a transaction of WAL that a slot keeps."""
    db.execute(
        "INSERT INTO posts SELECT i, 'a', (SELECT string_agg(md5((100 * i + j)::text), '') FROM "
        "generate_series(1, 95) j) FROM generate_series(%s::int, %s::int) i",
        (first, first + rows - 1),
    )


def _kept(db: Connection) -> int:
    row = db.execute(
        "SELECT (pg_current_wal_flush_lsn() - restart_lsn)::bigint FROM pg_replication_slots"
    ).fetchone()
    assert row is not None
    kept: int = row[0]
    return kept
