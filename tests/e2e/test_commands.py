import csv
import json
import os
import re
import shutil
import socket
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile

import pyrage
import pytest

from scelle.bootstrap import now_us

from .conftest import ORDER, Platform


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text


# --- init -------------------------------------------------------------------------------------------------


def test_init_says_what_a_copy_of_the_folder_contains(platform: Platform) -> None:
    answer = platform("init", platform.root / "second", "--host", "platform.example", "--json")
    assert "cannot read contents" in answer.json["a_copy_contains"]
    assert "no recovery recipients" in answer.err


def test_init_refuses_a_vault_and_a_folder_that_is_not_empty(platform: Platform) -> None:
    again = platform("init", platform.vault, code=2)
    full = platform("init", platform.docs, "--host", "platform.example", code=2)
    assert "is a vault already" in again.err
    assert "not empty" in full.err
    assert one_line(again.err)
    assert sorted(path.name for path in platform.docs.iterdir()) == ["a.txt", "sub"]


def test_a_passphrase_comes_from_a_file_and_never_from_an_argument(platform: Platform) -> None:
    secret = platform.root / "passphrase"
    secret.write_text("a long and mild passphrase\n")
    vault = platform.root / "second"
    os.environ.pop("SCELLE_KEY_FILE")
    platform("init", vault, "--host", "platform.example", "--passphrase", f"file:{secret}")
    platform("status", "--vault", vault, "--passphrase", f"file:{secret}")
    bare = platform("init", platform.root / "third", "--passphrase", "a long and mild passphrase", code=2)
    assert "mild" not in bare.err
    secret.write_text("another long passphrase\n")
    wrong = platform("status", "--vault", vault, "--passphrase", f"file:{secret}", code=2)
    assert one_line(wrong.err)


def test_a_wrong_key_is_named_by_the_vaults_id(platform: Platform) -> None:
    other = platform.root / "other-keys"
    other.mkdir()
    platform("init", platform.root / "second", "--host", "h.example", "--key-file", other)
    key = next(other.glob("*.key"))
    answer = platform("status", "--key-file", key, code=2)
    assert "wrong key" in answer.err


def test_a_vault_of_a_newer_format_is_refused(platform: Platform) -> None:
    path = platform.vault / "vault.json"
    path.write_bytes(path.read_bytes().replace(b"scelle/vault/v1", b"scelle/vault/v2"))
    answer = platform("status", code=2)
    assert "newer" in answer.err


def test_a_drill_proves_that_the_key_can_be_restored(platform: Platform) -> None:
    identity = pyrage.x25519.Identity.generate()
    file = platform.root / "identity.txt"
    file.write_text(f"{identity}\n")
    vault = platform.root / "second"
    platform("init", vault, "--host", "h.example", "--recipient", str(identity.to_public()))
    assert platform("status", "--vault", vault, "--json").json["recovery_proven"] is False
    platform("key", "drill", "--vault", vault, "--identity", file)
    assert platform("status", "--vault", vault, "--json").json["recovery_proven"] is True
    file.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    assert one_line(platform("key", "drill", "--vault", vault, "--identity", file, code=2).err)


# --- sources ----------------------------------------------------------------------------------------------


def test_sources_are_listed_tested_and_removed(platform: Platform) -> None:
    platform("source", "add", "second", f"files://{platform.docs}", "--custodian", "staff-017@example.org")
    listed = platform("source", "list", "--json").json["sources"]
    assert [source["name"] for source in listed] == ["docs", "second"]
    assert platform("source", "test", "second", "--json").json["readable"] is True
    assert "read 2 of 2 documents; nothing was kept" in platform("source", "test", "second").out
    platform("source", "remove", "second")
    assert len(platform("source", "list", "--json").json["sources"]) == 1


@pytest.mark.parametrize(
    ("name", "url", "words"),
    [
        ("docs", "files:///usr/share", "is there already"),
        ("Docs", "files:///usr/share", "source name"),
        ("scelle.x", "files:///usr/share", "source name"),
        ("new", "files://host/tmp", ""),
        ("new", "files://user:pa55@host/tmp", ""),
        ("new", "ftp:///tmp", ""),
        ("new", "files:relative", ""),
    ],
)
def test_a_wrong_source_is_refused(platform: Platform, name: str, url: str, words: str) -> None:
    answer = platform("source", "add", name, url, code=2)
    assert words in answer.err
    assert "pa55" not in answer.err
    assert one_line(answer.err)


def test_what_a_source_would_fail_is_said_before_an_order_needs_it(platform: Platform) -> None:
    rows = platform.root / "rows"
    rows.mkdir()
    (rows / "a.jsonl").write_text(
        '{"id": 1, "ts": "2026-01-08T10:00:00Z", "user": "u1"}\n{oh\n{"id": 2}\n{"id"'
    )
    schema = platform.root / "rows.toml"
    schema.write_text('[schema]\nname = "rows"\ntime = "ts"\nid = "id"\naccount = "user"\n')
    platform("source", "add", "rows", f"records://{rows}", "--schema", schema)
    before = {path: path.read_bytes() for path in platform.vault.rglob("*") if path.is_file()}
    said = platform("source", "test", "rows", code=1).out
    for words in (
        "all of it: 3 records; read 1 of 1 files",
        "fit the schema: 2 of 3 (67 %)",
        "failed, not-json: 1",
        "a.jsonl line 2 (byte 54): it is no JSON",
        "time: 2026-01-08T10:00:00Z to 2026-01-08T10:00:00Z; undated: 1 of 2 (50 %)",
        "without account or custodian: 1 of 2 (50 %)",
        "waiting: file a.jsonl: 5 bytes",
        "time: ts; id: id; account: user",
    ):
        assert words in said, (words, said)
    sample = platform("source", "test", "rows", "--json", code=1).json["sample"]
    assert (sample["items"], sample["fit"], sample["failed"]) == (3, 2, {"not-json": 1})
    assert {path: path.read_bytes() for path in platform.vault.rglob("*") if path.is_file()} == before
    (rows / "a.jsonl").unlink()
    assert "nothing is there yet" in platform("source", "test", "rows").out


def test_a_source_that_is_not_there_cannot_be_reached(platform: Platform) -> None:
    assert one_line(platform("source", "add", "gone", f"files://{platform.root}/gone", code=4).err)
    assert one_line(platform("source", "test", "unknown", code=2).err)


def test_a_source_of_an_order_is_held(ordered: Platform) -> None:
    answer = ordered("source", "remove", "docs", "--json", code=3)
    assert answer.json["error"]["code"] == "sources.held"


# --- orders -----------------------------------------------------------------------------------------------


def test_an_order_is_taken_in_shown_and_listed(platform: Platform) -> None:
    document = platform.root / "order.pdf"
    document.write_bytes(b"%PDF-1.7 an invented order\n")
    added = platform("order", "add", platform.order_file(document='"order.pdf"'), "--json").json
    assert added["id"] == ORDER
    assert added["keep_until"] == "2026-12-31T23:00:00Z"
    shown = platform("order", "show", ORDER, "--json").json
    assert [event["kind"] for event in shown["events"]] == ["received", "clause", "source"]
    assert platform("order", "list", "--json").json["orders"][0]["id"] == ORDER


def files_of(vault: Path) -> list[Path]:
    """What is in the vault but the writer's lock, and what was seen of clocks, which is derived."""
    return sorted(path for path in vault.rglob("*") if path.name not in ("writer.lock", "spool", "clocks"))


def test_an_order_is_taken_in_once(ordered: Platform) -> None:
    before = files_of(ordered.vault)
    answer = ordered("order", "add", ordered.order_file(), code=2)
    assert "is there already" in answer.err
    assert files_of(ordered.vault) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unknown_key": '"x"'}, "unknown_key"),
        ({"until": "2025-12-31"}, "until"),
        ({"type": '"dsa-retension"'}, "dsa-retention"),
        ({"zone": '"Europe/Bruxelles"'}, "zone"),
        ({"id": '"Not An Id"'}, "id"),
        ({"id": '"vault"'}, "id"),
        ({"document": '"missing.pdf"'}, "missing.pdf"),
    ],
)
def test_a_wrong_order_file_changes_nothing(platform: Platform, changes: dict[str, str], words: str) -> None:
    answer = platform("order", "add", platform.order_file(**changes), code=2)
    assert words in answer.err
    assert one_line(answer.err)
    assert platform("order", "list", "--json").json["orders"] == []


def test_an_order_over_a_source_that_does_not_exist_is_refused(platform: Platform) -> None:
    platform.clauses.append('[[clause]]\nid = "all"\nsources = ["chat"]\n')
    assert "chat" in platform("order", "add", platform.order_file(), code=2).err


@pytest.mark.parametrize("name", ["gone.toml", ".", "binary.toml"])
def test_a_file_that_is_no_order_is_refused(platform: Platform, name: str) -> None:
    (platform.root / "binary.toml").write_bytes(bytes(range(256)))
    assert one_line(platform("order", "add", platform.root / name, code=2).err)


def test_orders_without_an_id_get_a_random_one(platform: Platform) -> None:
    first = platform("order", "add", platform.order_file(without=["id"]), "--json").json["id"]
    second = platform("order", "add", platform.order_file(without=["id"]), "--json").json["id"]
    assert first != second
    assert "0108" not in first


# --- passes -----------------------------------------------------------------------------------------------


def test_preview_counts_and_keeps_nothing(ordered: Platform) -> None:
    packs = sorted((ordered.vault / "packs").rglob("*.pack"))
    seen = ordered("preview", ORDER, "--json").json
    assert (seen["offered"], seen["covered"]) == (2, 2)
    assert seen["sources"]["docs"]["by_clause"] == {"all": 2}
    assert sorted((ordered.vault / "packs").rglob("*.pack")) == packs


def test_a_preview_says_what_it_does_not_know(platform: Platform) -> None:
    platform.clauses.append('[[clause]]\nid = "all"\nsources = ["docs"]\nmedia_types = ["text/*"]\n')
    platform("order", "add", platform.order_file())
    assert "in doubt, media-type-unknown: 2; a pass reads them" in platform("preview", ORDER).out
    assert "cannot be listed" not in platform("preview", ORDER).out


def test_what_a_preview_cannot_list_is_counted(ordered: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir

    def refusing(folder: int | str) -> list[str]:
        if isinstance(folder, int) and Path(f"/proc/self/fd/{folder}").readlink().name == "sub":
            raise PermissionError(13, "Permission denied")
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refusing)
    assert "cannot be listed or read: 1; a pass counts them as failed" in ordered("preview", ORDER).out


def test_preserve_seals_once_and_then_finds_everything_unchanged(ordered: Platform) -> None:
    first = ordered("preserve", ORDER, "--json").json
    second = ordered("preserve", ORDER, "--json").json
    names = ("offered", "sealed", "new", "unchanged", "failed", "excluded", "lost", "links")
    assert [first[name] for name in names] == [2, 2, 2, 0, 0, 0, 0, 0]
    assert [second[name] for name in names] == [2, 2, 0, 2, 0, 0, 0, 0]
    assert first["bytes"] == len(b"a red boat\n") + len(b"a harbour\n")


def test_a_changed_file_is_a_new_version_and_a_vanished_one_is_noted(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    ordered.document("a.txt", b"a blue boat, later\n")
    (ordered.docs / "sub" / "b.txt").unlink()
    answer = ordered("preserve", ORDER, "--json").json
    assert (answer["offered"], answer["new"], answer["unchanged"], answer["vanished"]) == (1, 1, 0, 1)
    again = ordered("preserve", ORDER, "--json").json
    assert (again["new"], again["unchanged"], again["vanished"]) == (0, 1, 0)
    ordered.document("sub/b.txt", b"a harbour\n")
    assert ordered("preserve", ORDER, "--json").json["offered"] == 2


def test_links_specials_and_rules_each_have_their_bucket(platform: Platform) -> None:
    (platform.docs / "link").symlink_to("a.txt")
    os.mkfifo(platform.docs / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(platform.docs / "sock"))
    platform.clauses.append('[[clause]]\nid = "all"\nsources = ["docs"]\npaths = ["*"]\n')
    platform("order", "add", platform.order_file())
    answer = platform("preserve", ORDER, "--json").json
    assert (answer["offered"], answer["sealed"], answer["excluded"], answer["links"]) == (5, 2, 3, 1)
    assert answer["excluded_by"] == {"fifo": 1, "path": 1, "socket": 1}


def test_an_item_in_two_clauses_counts_once(platform: Platform) -> None:
    platform.clauses += [
        f'[[clause]]\nid = "{name}"\nsources = ["docs"]\npaths = ["**/*"]\n' for name in ("one", "two")
    ]
    platform("order", "add", platform.order_file())
    answer = platform("preserve", ORDER, "--json").json
    assert (answer["offered"], answer["sealed"]) == (2, 2)


def test_a_source_that_went_away_is_a_gap_until_it_is_back(ordered: Platform) -> None:
    ordered.docs.rename(ordered.root / "moved")
    answer = ordered("preserve", ORDER, code=4)
    assert answer.out == ""
    assert "the gap is in the log" in answer.err
    gaps = ordered("status", "--json", code=1).json["orders"][0]["gaps"]
    assert [(gap["cause"], gap["to"]) for gap in gaps] == [("source-unreachable", None)]
    (ordered.root / "moved").rename(ordered.docs)
    ordered("preserve", ORDER)
    assert ordered("status", "--json").json["orders"][0]["gaps"] == []


def test_two_orders_share_contents_and_show_no_trace_of_it(ordered: Platform) -> None:
    ordered("order", "add", ordered.order_file(id='"o-2"'))
    ordered("order", "add", ordered.order_file(id='"o-3"'))
    ordered("preserve", ORDER)
    second = ordered("preserve", "o-2", "--json").json
    ordered.document("c.txt", b"only later\n")
    third = ordered("preserve", "o-3", "--json").json
    assert (second["new"], second["unchanged"]) == (2, 0)
    assert (third["new"], third["unchanged"]) == (3, 0)


def test_a_deleted_catalog_changes_no_count(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    for path in ordered.vault.glob("catalog.db*"):
        path.unlink()
    answer = ordered("preserve", ORDER, "--json").json
    assert (answer["new"], answer["unchanged"]) == (0, 2)


def test_a_digest_only_clause_leaves_the_bytes_where_they_are(platform: Platform) -> None:
    platform.clauses.append('[[clause]]\nid = "all"\nsources = ["docs"]\nkeep = "digest"\n')
    platform("order", "add", platform.order_file())
    answer = platform("preserve", ORDER, "--json").json
    assert (answer["new"], answer["unchanged"]) == (2, 0)
    assert platform("verify", "--json").json["valid"]
    again = platform("preserve", ORDER, "--json").json
    assert (again["new"], again["unchanged"]) == (0, 2)


def test_a_second_writer_is_refused(ordered: Platform) -> None:
    import fcntl

    with (ordered.vault / "writer.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = ordered("preserve", ORDER, code=4)
    assert "being written to" in answer.err


def test_a_restored_lock_is_refused_until_recover_records_the_gap(ordered: Platform) -> None:
    lock = ordered.vault / "po" / ORDER / "log" / "lock.db"
    shutil.copy(lock, ordered.root / "old.db")
    ordered("preserve", ORDER)
    shutil.copy(ordered.root / "old.db", lock)
    answer = ordered("preserve", ORDER, code=1)
    assert "snapshot was restored" in answer.err
    assert ordered("recover", ORDER, "--json").json["to_size"] > 0
    ordered("preserve", ORDER)
    gaps = ordered("status", "--json").json["orders"][0]["gaps"]
    assert {gap["cause"] for gap in gaps} == {"restored-snapshot"}


# --- custody ----------------------------------------------------------------------------------------------


def test_escrow_follows_every_later_change(ordered: Platform) -> None:
    notary = ordered.root / "notary"
    notary.mkdir()
    assert ordered("status", "--json").json["orders"][0]["rewritable_unseen_since"] is not None
    ordered("order", "escrow", ORDER, "--to", notary)
    assert ordered("status", "--json").json["orders"][0]["rewritable_unseen_since"] is None
    ordered("preserve", ORDER)
    assert ordered("status", "--json").json["orders"][0]["rewritable_unseen_since"] is None
    held = next(notary.iterdir())
    assert (held / "checkpoint").read_bytes() == (
        ordered.vault / "po" / ORDER / "log" / "checkpoint"
    ).read_bytes()


def test_what_others_hold_is_shown_with_size_and_time(ordered: Platform) -> None:
    assert ordered("status", "--json").json["orders"][0]["shown"] == []
    for name in ("notary", "counsel"):
        (ordered.root / name).mkdir()
        ordered("order", "escrow", ORDER, "--to", ordered.root / name)
    order = ordered("status", "--json").json["orders"][0]
    (shown,) = order["shown"]
    assert shown["size"] == order["log_size"]
    assert shown["how"] == f"escrow {ordered.root}/notary and escrow {ordered.root}/counsel"
    assert ordered("order", "show", ORDER, "--json").json["shown"] == [shown]
    for command in (("status",), ("order", "show", ORDER)):
        assert shown["at"] in ordered(*command).out
    statement = next((ordered.vault / "po" / ORDER / "log" / "escrow").iterdir())
    statement.write_bytes(b"{}")
    assert one_line(ordered("status", code=1).err)


def test_escrow_into_a_folder_that_is_not_there_is_refused(ordered: Platform) -> None:
    assert one_line(ordered("order", "escrow", ORDER, "--to", ordered.root / "gone", code=2).err)


def test_escrow_warns_of_the_other_folders_that_are_not_there(ordered: Platform) -> None:
    for name in ("notary", "counsel", "court"):
        (ordered.root / name).mkdir()
    for name in ("notary", "counsel"):
        assert ordered("order", "escrow", ORDER, "--to", ordered.root / name).err == ""
    shutil.rmtree(ordered.root / "notary")
    answer = ordered("order", "escrow", ORDER, "--to", ordered.root / "court", "--json")
    assert answer.err == f"warning: escrow folder {ordered.root}/notary is not there: nothing was deposited\n"
    size = ordered("status", "--json").json["orders"][0]["log_size"]
    assert answer.json["size"] == size
    for name in ("counsel", "court"):
        (held,) = (ordered.root / name).iterdir()
        assert (held / f"checkpoint.{size}").exists()


def test_an_authority_off_line_queues_the_time_stamp(platform: Platform) -> None:
    answer = platform("order", "add", platform.order_file(), "--tsa", "http://127.0.0.1:9/tsr")
    assert "time-stamp queued" in answer.err
    assert platform("status", "--json").json["orders"][0]["tokens_pending"] == 1
    assert one_line(platform("order", "add", platform.order_file(), "--tsa", "gopher://x", code=2).err)


# --- verify -----------------------------------------------------------------------------------------------


def test_verify_trusts_no_catalog_and_names_a_flipped_byte(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    for path in ordered.vault.glob("catalog.db*"):
        path.unlink()
    assert ordered("verify", "--json").json["valid"] is True
    rows = ordered.vault / "po" / ORDER / "seg" / "s0001" / "0" / "rows"
    data = rows.read_bytes()
    rows.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    answer = ordered("verify", "--json", code=1).json
    assert answer["valid"] is False
    assert all({"code", "subject", "detail"} <= set(finding) for finding in answer["findings"])


def test_the_catalog_is_made_again(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    connection = sqlite3.connect(ordered.vault / "catalog.db")
    connection.execute("DELETE FROM contents")
    connection.commit()
    connection.close()
    ordered("rebuild-catalog")
    assert ordered("verify", "--json").json["findings"] == []


# --- produce ----------------------------------------------------------------------------------------------


def test_what_is_produced_is_verified_by_the_single_file(ordered: Platform) -> None:
    from scelle.verify.scelle_verify import main

    ordered("preserve", ORDER)
    trust, package = ordered.root / "trust.json", ordered.root / "p.scelle"
    made = ordered("order", "trust", ORDER, "--to", trust, "--json").json
    assert Path(made["letter"]).read_text(encoding="utf-8").count("\n") < 90
    answer = ordered("produce", ORDER, "--source", "docs", "--to", package, "--json").json
    assert (answer["hits"], answer["produced"], answer["withheld"], answer["erased"]) == (2, 2, 0, 0)
    ordered.capsys.readouterr()
    assert main([str(package), "--trust", str(trust), "--json"]) == 0
    assert json.loads(ordered.capsys.readouterr().out)["valid"] is True


def test_production_numbers_run_on_through_the_matter(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    ordered("order", "add", ordered.order_file(id='"o-2"'))
    ordered("preserve", "o-2")
    first = ordered("produce", ORDER, "--source", "docs", "--to", ordered.root / "1.scelle", "--json").json
    second = ordered("produce", "o-2", "--source", "docs", "--to", ordered.root / "2.scelle", "--json").json
    assert (first["first_number"], first["next_number"]) == (1, 3)
    assert (second["first_number"], second["next_number"]) == (3, 5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "exactly one"),
        (("--source", "docs", "--account", "1"), "exactly one"),
        (("--source", "gone"), "gone"),
        (("--source", "docs", "--from", "yesterday"), "yesterday"),
        (("--source", "docs", "--from", "2026-02-01", "--until", "2026-01-01"), ""),
        (("--source", "docs", "--prefix", "not a prefix"), "prefix"),
    ],
)
def test_a_wrong_request_is_refused(ordered: Platform, arguments: tuple[str, ...], words: str) -> None:
    ordered("preserve", ORDER)
    size = ordered("status", "--json").json["orders"][0]["log_size"]
    answer = ordered("produce", ORDER, *arguments, "--to", ordered.root / "p.scelle", code=2)
    assert words in answer.err
    assert one_line(answer.err)
    assert ordered("status", "--json").json["orders"][0]["log_size"] == size


def test_a_package_is_never_overwritten(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    package = ordered.root / "p.scelle"
    package.write_bytes(b"something else")
    assert one_line(ordered("produce", ORDER, "--source", "docs", "--to", package, code=2).err)
    assert package.read_bytes() == b"something else"


@pytest.fixture
def held_by_two(platform: Platform) -> Platform:
    """Two sources: one of a custodian, one of nobody."""
    held = platform.root / "held"
    held.mkdir()
    (held / "c.txt").write_bytes(b"a lighthouse\n")
    platform("source", "add", "laptop", f"files://{held}", "--custodian", "staff-017@example.org")
    platform.clauses.append('[[clause]]\nid = "all"\nsources = ["docs", "laptop"]\n')
    platform("order", "add", platform.order_file())
    platform("preserve", ORDER)
    return platform


def test_an_answer_by_custodian_says_what_has_no_holder(held_by_two: Platform) -> None:
    arguments = ("--custodian", "staff-017@example.org", "--to")
    said = held_by_two("produce", ORDER, *arguments, held_by_two.root / "1.scelle").out
    assert "2 records of the same times have neither custodian nor account" in said
    answer = held_by_two("produce", ORDER, *arguments, held_by_two.root / "2.scelle", "--json")
    assert (answer.json["hits"], answer.json["without_holder"], answer.json["findings"]) == (1, 2, [])
    assert answer.err == ""
    package = held_by_two.root / "3.scelle"
    later = held_by_two("produce", ORDER, "--from", "2100-01-01", *arguments, package, "--json").json
    assert (later["hits"], later["without_holder"]) == (0, 0)
    whole = held_by_two("produce", ORDER, "--source", "docs", "--to", held_by_two.root / "4.scelle", "--json")
    assert whole.json["without_holder"] is None
    with ZipFile(held_by_two.root / "2.scelle") as archive:
        assert b"no holder 2 records" in archive.read("README.txt")


@pytest.mark.parametrize("kind", ["custodian", "account"])
def test_an_unknown_holder_is_said(held_by_two: Platform, kind: str) -> None:
    package = held_by_two.root / "p.scelle"
    answer = held_by_two("produce", ORDER, f"--{kind}", "staff-71", "--to", package, "--json")
    assert answer.json["hits"] == 0
    assert [(each["code"], each["subject"]) for each in answer.json["findings"]] == [
        ("holder.unknown", "staff-71")
    ]
    assert f"no source of the order is of this {kind}" in answer.err
    assert ("staff-017@example.org" in answer.err) == (kind == "custodian")


def test_a_package_says_what_people_call_the_sources_that_it_shows(held_by_two: Platform) -> None:
    def shown(name: str, *arguments: str) -> tuple[str, set[str]]:
        package = held_by_two.root / name
        held_by_two("produce", ORDER, *arguments, "--to", package)
        with ZipFile(package) as archive:
            rows = csv.DictReader(archive.read("loadfile/documents.csv").decode().splitlines())
            return archive.read("README.txt").decode(), {row["source_name"] for row in rows}

    text, names = shown("1.scelle", "--custodian", "staff-017@example.org")
    assert "s0002 is 'laptop'" in text
    assert names == {"laptop"}
    assert "docs" not in text, "nothing of that source is shown"
    text, names = shown("2.scelle", "--source", "laptop", "--redact", "account=personal-data")
    assert "laptop" not in text, "a source may be named after a person"
    assert names == {""}


def test_the_authority_writes_its_question_from_the_letter(held_by_two: Platform) -> None:
    from scelle.verify.scelle_verify import main

    trust, query, package = (held_by_two.root / name for name in ("trust.json", "query.json", "p.scelle"))
    made = held_by_two("order", "trust", ORDER, "--to", trust, "--json").json
    letter = Path(made["letter"]).read_text(encoding="utf-8")
    at = letter.index('{"dimension"')
    template = "".join(line.strip() for line in letter[at:].splitlines()[:3])
    query.write_text(template.replace("NAME", "staff-017@example.org") + "\n")
    held_by_two("produce", ORDER, "--custodian", "staff-017@example.org", "--to", package)
    held_by_two.capsys.readouterr()
    assert main([str(package), "--trust", str(trust), "--query", str(query)]) == 0
    assert "complete in the sense below" in held_by_two.capsys.readouterr().out


# --- the command line itself ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("preserve",), ("nonsense",), ("preserve", "x", "--nonsense"), ("verify", "--sample", "x")]
)
def test_wrong_usage_is_one_line_and_code_2(platform: Platform, arguments: tuple[str, ...]) -> None:
    answer = platform(*arguments, code=2)
    assert answer.out == ""
    assert one_line(answer.err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("verify", "--sample", "x"), "--sample: Input should be a valid integer"),
        (("verify", "--sampel", "3"), "did you mean --sample?; see `scelle verify --help`"),
        (("preserve",), "ORDER is missing; see `scelle preserve --help`"),
        (("produce", "x"), "--to is missing; see `scelle produce --help`"),
        (("produce", "x", "--source"), "'--source' requires an argument; see `scelle produce --help`"),
        (("order", "add"), "FILE is missing; see `scelle order add --help`"),
        (("order",), "a command is missing; see `scelle order --help`"),
        (("order", "nope"), "No such command 'nope'; see `scelle order --help`"),
        (("harbour",), "No such command 'harbour'; see `scelle --help`"),
        (("order", "escrow", "x", "--to", ""), "--to is empty"),
        (("order", "escrow", "x", "--to="), "--to is empty"),
        (("preserve", ""), "an argument is empty"),
        (("preserve", "x", "--vault", "\0"), "--vault: "),
        (("status", "--vault="), "--vault is empty"),
        (("status", "--vault", "--json="), "--json is empty"),
    ],
)
def test_wrong_usage_names_what_was_typed_and_where_to_look(
    platform: Platform, arguments: tuple[str, ...], words: str
) -> None:
    answer = platform(*arguments, code=2)
    assert words in answer.err
    assert one_line(answer.err)


def test_the_same_word_twice_is_not_empty(platform: Platform) -> None:
    twice = "--json"
    assert platform("status", twice, twice).json["orders"] == []
    assert "is empty" not in platform("preview", "o", "o", code=2).err


def test_an_unknown_order_is_refused_everywhere(platform: Platform) -> None:
    for command in (("preview",), ("preserve",), ("order", "show")):
        answer = platform(*command, "nothing", "--json", code=2)
        assert answer.out == ""
        assert one_line(answer.err)


def test_a_folder_that_is_no_vault_is_refused(platform: Platform) -> None:
    assert "is not a vault" in platform("status", "--vault", platform.docs, code=2).err


def test_every_command_has_a_help_text_with_an_example(platform: Platform) -> None:
    top = platform("--help").out
    commands = re.findall(r"^  ([a-z-]+)  ", top.split("Commands:")[1], re.MULTILINE)
    groups = {"source", "order", "key", "git", "operator", "request", "settings", "note"}
    assert {"init", "preview", "preserve", "status", "verify", "produce"} | groups <= set(commands)
    for command in commands:
        text = platform(command, "--help").out
        assert ("COMMAND [ARGS]" in text) >= (command in groups), command
        if "COMMAND [ARGS]" in text:
            for name in re.findall(r"^  ([a-z-]+)  ", text.split("Commands:")[1], re.MULTILINE):
                assert "Example: scelle" in platform(command, name, "--help").out, (command, name)
        else:
            assert "Example: scelle" in text, command


def test_a_traceback_is_shown_only_with_debug(platform: Platform) -> None:
    assert "Traceback" not in platform("status", "--vault", platform.docs, code=2).err
    assert "Traceback" in platform("--debug", "status", "--vault", platform.docs, code=2).err


def test_what_a_list_withholds_is_counted_and_proven(ordered: Platform) -> None:
    from scelle.verify.scelle_verify import main

    ordered("preserve", ORDER)
    rules = ordered.root / "withhold.csv"
    rules.write_text("native_id,what,code\na.txt,record,privilege\nsub/b.txt,content,secret\n")
    trust, package = ordered.root / "trust.json", ordered.root / "p.scelle"
    ordered("order", "trust", ORDER, "--to", trust)
    arguments = ("--withhold", rules, "--redact", "meta=personal-data")
    answer = ordered("produce", ORDER, "--source", "docs", *arguments, "--to", package, "--json").json
    assert (answer["hits"], answer["produced"], answer["withheld"]) == (2, 1, 1)
    assert (answer["contents_withheld"], answer["fields_redacted"]) == (1, 1)
    ordered.capsys.readouterr()
    assert main([str(package), "--trust", str(trust), "--json"]) == 0


@pytest.mark.parametrize(
    "text", ["", "native_id,code\n", "native_id,what,code\na.txt,all,x\n", "native_id,what,code\na.txt\n"]
)
def test_a_wrong_list_of_what_is_withheld_is_refused(ordered: Platform, text: str) -> None:
    rules = ordered.root / "withhold.csv"
    rules.write_text(text)
    arguments = ("--source", "docs", "--withhold", rules, "--to", ordered.root / "p.scelle")
    assert one_line(ordered("produce", ORDER, *arguments, code=2).err)
    assert one_line(
        ordered("produce", ORDER, "--source", "docs", "--redact", "meta", "--to", rules, code=2).err
    )


# --- what reviewers broke ---------------------------------------------------------------------------------


def test_a_source_that_holds_the_vault_or_its_key_is_refused(platform: Platform) -> None:
    for place in (platform.root, platform.vault / "packs", platform.root / "keys"):
        answer = platform("source", "add", "all", f"files://{place}", code=2)
        assert "sources.overlaps_vault" in answer.err


def test_a_clock_before_1970_harms_nothing(ordered: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.bootstrap.acting.time_ns", lambda: -4_000_000_000_000_000_000)
    ordered("preserve", ORDER)
    monkeypatch.undo()
    ordered("preserve", ORDER, "--key-file", ordered.root / "keys", "--vault", ordered.vault)
    assert ordered("verify", "--key-file", ordered.root / "keys", "--vault", ordered.vault, "--json").json[
        "valid"
    ]


def test_a_clock_far_ahead_seals_nothing(ordered: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    real, later = now_us(), now_us() + 400 * 86_400 * 1_000_000
    monkeypatch.setattr("scelle.bootstrap.acting.time_ns", lambda: later * 1000)
    size = ordered("status", "--json").json["orders"][0]["log_size"]
    for command in (
        ("preserve", ORDER),
        ("preview", ORDER),
        ("source", "add", "second", f"files://{ordered.docs}"),
        ("order", "add", ordered.order_file(id='"o-2"')),
        ("produce", ORDER, "--source", "docs", "--to", ordered.root / "p.scelle"),
    ):
        answer = ordered(*command, code=2)
        assert "[ledger.clock_ahead]" in answer.err
        assert one_line(answer.err)
    assert ordered("status", "--json").json["orders"][0]["log_size"] == size
    today = datetime.fromtimestamp(later / 1_000_000, UTC).date().isoformat()
    monkeypatch.setenv("SCELLE_TODAY", today)
    ordered("preserve", ORDER)
    monkeypatch.setattr("scelle.bootstrap.acting.time_ns", lambda: real * 1000)
    assert "one of them is wrong" in ordered("preserve", ORDER).err
    status = ordered("status", "--json").json
    assert "one of them is wrong" in status["orders"][0]["clock"]
    assert "one of them is wrong" in ordered("status").out
    assert ordered("verify", "--json").json["valid"]


def test_a_clock_that_is_behind_is_said_by_a_command_that_fails(
    ordered: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = now_us() - 3600 * 1_000_000
    monkeypatch.setattr("scelle.bootstrap.acting.time_ns", lambda: early * 1000)
    err = ordered("produce", ORDER, "--source", "nope", "--to", ordered.root / "p.scelle", code=2).err
    warning, error = err.splitlines()
    assert warning.startswith("warning: ")
    assert "one of them is wrong" in warning
    assert "has no source 'nope'" in error


def test_a_vault_is_not_begun_in_1970(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.bootstrap.acting.time_ns", lambda: 0)
    second = platform.root / "second"
    assert "1970" in platform("init", second, "--host", "platform.example", code=2).err
    assert not second.exists()


def test_no_production_number_is_used_twice_whatever_the_file_is_called(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    odd = ordered.root / os.fsdecode(b"odd\xff.scelle")
    first = ordered("produce", ORDER, "--source", "docs", "--to", odd, "--json").json
    second = ordered("produce", ORDER, "--source", "docs", "--to", ordered.root / "2.scelle", "--json").json
    assert second["first_number"] == first["next_number"]


def test_numbers_that_a_crash_left_uncommitted_are_not_given_out_again(ordered: Platform) -> None:
    from scelle.bootstrap import KeyChoice, opened
    from scelle.ledger.events import record_event

    ordered("preserve", ORDER)
    ordered("order", "add", ordered.order_file(id='"o-2"'))
    with opened(ordered.vault, KeyChoice(key_file=ordered.root / "keys"), writing=True) as session:
        ledger = session.order_writer("o-2")
        record_event(ledger, now_us(), "op-1", "production", {"matter": "dsa-2023-x", "next_number": 9})
        ledger.flush()
    answer = ordered("produce", ORDER, "--source", "docs", "--to", ordered.root / "p.scelle", "--json").json
    assert answer["first_number"] == 9
    assert ordered("verify", "--json").json["findings"] == []


@pytest.mark.parametrize(
    ("to", "options", "words"),
    [("gone/p", (), "no such folder"), ("docs", (), "there already"), ("p", ("--prefix", "a"), "prefix")],
)
def test_what_a_crash_left_stays_so_where_the_request_is_refused(
    ordered: Platform, to: str, options: tuple[str, ...], words: str
) -> None:
    from scelle.bootstrap import KeyChoice, opened
    from scelle.ledger.events import record_event

    ordered("preserve", ORDER)
    with opened(ordered.vault, KeyChoice(key_file=ordered.root / "keys"), writing=True) as session:
        ledger = session.order_writer(ORDER)
        record_event(ledger, now_us(), "op-1", "production", {"matter": "dsa-2023-x", "next_number": 9})
        ledger.flush()
    size = ordered("status", "--json").json["orders"][0]["log_size"]
    arguments = ("produce", ORDER, "--source", "docs", "--to", ordered.root / to)
    assert words in ordered(*arguments, *options, code=2).err
    assert ordered("status", "--json").json["orders"][0]["log_size"] == size


def test_a_misspelt_list_hands_nothing_over(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    rules = ordered.root / "withhold.csv"
    rules.write_text("native_id,what,code\nnot-there,record,privilege\n")
    package = ordered.root / "p.scelle"
    answer = ordered("produce", ORDER, "--source", "docs", "--withhold", rules, "--to", package, code=2)
    assert "not-there" in answer.err
    assert not package.exists()


def test_a_half_added_order_hides_no_other_and_keeps_its_authority(ordered: Platform) -> None:
    from scelle.bootstrap import KeyChoice, now_us, opened
    from scelle.formats.notes import make_vkey
    from scelle.ledger.service import OrderLedgerWriter

    with opened(ordered.vault, KeyChoice(key_file=ordered.root / "keys"), writing=True) as session:
        session.keep(
            OrderLedgerWriter.create(
                ordered.vault, "o-9", session.host, session.key, authority=None, now_us=now_us()
            )
        )
    assert [order["id"] for order in ordered("order", "list", "--json").json["orders"]] == [ORDER]
    vkey = make_vkey("authority.example/seal", 4, bytes(range(32))).text()
    answer = ordered("order", "add", ordered.order_file(id='"o-9"', authority_key=f'"{vkey}"'), code=2)
    assert "another authority_key" in answer.err
    ordered("order", "add", ordered.order_file(id='"o-9"'))


def test_a_catalog_of_another_vault_is_not_believed(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    other = ordered.root / "other"
    platform = ("--vault", other)
    ordered("init", other, "--host", "platform.example")
    ordered("source", "add", "docs", f"files://{ordered.docs}", *platform)
    ordered("order", "add", ordered.order_file(), *platform)
    ordered("preserve", ORDER, *platform)
    for path in ordered.vault.glob("catalog.db*"):
        path.unlink()
    shutil.copy(other / "catalog.db", ordered.vault)
    answer = ordered("preserve", ORDER, "--json").json
    assert (answer["new"], answer["unchanged"], answer["vanished"]) == (0, 2, 0)


def test_the_catalog_may_be_lost_after_a_pass_that_sealed_nothing(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    ordered("preserve", ORDER)
    for path in ordered.vault.glob("catalog.db*"):
        path.unlink()
    ordered.document("new.txt", b"a lighthouse\n")
    answer = ordered("preserve", ORDER, "--json").json
    assert (answer["new"], answer["unchanged"]) == (1, 2)


@pytest.mark.parametrize("gone", [f"po/{ORDER}", "po/vault", "po"])
def test_a_log_that_is_gone_as_a_whole_is_named(ordered: Platform, gone: str) -> None:
    ordered("preserve", ORDER)
    shutil.rmtree(ordered.vault / gone)
    answer = ordered("verify", "--json", code=1).json
    assert "log.gone" in {finding["code"] for finding in answer["findings"]}


def test_a_log_that_this_user_may_not_look_at_is_not_called_gone(
    ordered: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer Pythons say of such a path that nothing exists there."""
    from scelle.bootstrap import KeyChoice, opened
    from scelle.bootstrap.checking import verify_vault

    lstat, exists = os.lstat, Path.exists
    closed = str(ordered.vault / "po" / ORDER / "log" / "lock.db")

    def refuse(path: str | Path) -> os.stat_result:
        if str(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return lstat(path)

    with opened(ordered.vault, KeyChoice(key_file=ordered.root / "keys"), writing=False) as session:
        monkeypatch.setattr(os, "lstat", refuse)
        monkeypatch.setattr(Path, "exists", lambda path: str(path) != closed and exists(path))
        report = verify_vault(session, sample=None, order=None, workers=1)
    assert "log.gone" not in {finding.code for finding in report.findings}


def test_an_older_copy_of_the_vault_is_named(ordered: Platform) -> None:
    shutil.copytree(ordered.vault, ordered.root / "old")
    ordered("preserve", ORDER)
    shutil.rmtree(ordered.vault)
    (ordered.root / "old").rename(ordered.vault)
    assert ordered("verify", "--json", code=1).json["valid"] is False
    assert "escrow" in ordered("recover", ORDER, code=1).err


def test_damaged_evidence_is_no_fault_of_scelle(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    shutil.rmtree(ordered.vault / "po" / ORDER / "seg" / "s0001" / "0")
    package = ordered.root / "p.scelle"
    assert one_line(ordered("produce", ORDER, "--source", "docs", "--to", package, code=1).err)
    (ordered.vault / "po" / ORDER / "secrets").unlink()
    assert one_line(ordered("preserve", ORDER, code=1).err)


def test_an_operator_that_no_record_could_name_is_refused(
    ordered: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCELLE_OPERATOR", os.fsdecode(b"a\xff"))
    assert "SCELLE_OPERATOR" in ordered("preserve", ORDER, code=2).err
    assert ordered("source", "add", "x", f"files://{ordered.docs}", "--custodian", "a\nb", code=2).out == ""
