"""What a watch promises it keeps: with a real database, a killed watch, a folder that takes nothing, a package."""

import json
import os
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import pytest
from tests.integration.live_vault import Connection, Vault, until
from tests.integration.postgres import PostgresServer, Servers
from tests.integration.tsa import serve_tsa

from scelle.bootstrap import KeyChoice, opened
from scelle.bootstrap.handing_over import drop_kept
from scelle.formats.notes import parse_note
from scelle.formats.promises import Promise, parse_promise
from scelle.ledger.promise_book import BOOK_NAME
from scelle.verify import scelle_verify


@pytest.fixture(scope="module")
def server(servers: Servers) -> PostgresServer:
    return servers("18")


@pytest.fixture
def vault(vault: Vault) -> Vault:
    vault.order()
    (vault.folder / "promises").mkdir()
    (vault.folder / "notary").mkdir()
    return vault


def held(vault: Vault) -> dict[str, Promise]:
    """Read the promises that were handed over, by file name."""
    return {
        path.name: parse_promise(parse_note(path.read_bytes()).text)
        for path in sorted((vault.folder / "promises").glob("*.promise"))
    }


def watch(vault: Vault, code: int = 0) -> Any:
    folder = str(vault.folder / "promises")
    return vault.json("watch", "o-1", "--until-caught-up", "--promises", folder, code=code)


def check(vault: Vault, code: int = 0) -> Any:
    return vault.json("promise", "check", "o-1", "--promises", str(vault.folder / "promises"), code=code)


def deposit(vault: Vault) -> None:
    vault.run("order", "escrow", "o-1", "--to", str(vault.folder / "notary"))


def insert(db: Connection, *numbers: int) -> None:
    for number in numbers:
        db.execute("INSERT INTO posts VALUES (%s, 'a', %s)", (number, f"row {number}"))


def test_what_is_durable_is_promised_and_the_promise_is_kept(vault: Vault, db: Connection) -> None:
    watch(vault)
    process = vault.start("watch", "o-1", "--promises", str(vault.folder / "promises"), "--json")
    insert(db, *range(10))
    until(lambda: bool(held(vault)))  # while nothing is sealed yet
    insert(db, *range(10, 20))
    until(lambda: sum(each.seq[1] - each.seq[0] for each in held(vault).values()) >= 20)
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    said = json.loads(out)["promises"]
    assert said["promised"] == said["handed_over"] == len(held(vault))
    assert (said["waiting"], said["failures"]) == (0, 0)
    assert all(name.startswith("platform.example_po_o-1-") for name in held(vault))
    assert set(check(vault)["counts"].items()) >= {("waiting", len(held(vault))), ("kept", 0)}
    deposit(vault)
    found = check(vault)
    assert found["counts"]["kept"] == len(held(vault)) == len(found["promises"])
    listed = vault.json("promise", "list", "o-1")["promises"]
    assert {each["batch"] for each in listed} == {each.batch.hex() for each in held(vault).values()}
    vault.run("verify")


def test_the_authoritys_verifier_accepts_a_promise_of_a_real_watch(vault: Vault, db: Connection) -> None:
    watch(vault)
    insert(db, 1, 2, 3)
    watch(vault)
    deposit(vault)
    (name,) = held(vault)
    vault.run("order", "trust", "o-1", "--to", str(vault.folder / "trust.json"))
    package = vault.folder / "answer.scelle"
    vault.run("produce", "o-1", "--source", "app", "--to", str(package))
    said = subprocess.run(
        [
            *(sys.executable, scelle_verify.__file__, package, "--json"),
            *("--trust", vault.folder / "trust.json", "--promise", vault.folder / "promises" / name),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(said.stdout)
    assert not [each for each in document["findings"] if each["code"].startswith("promise.")], document
    (line,) = document["promises"]
    assert line.startswith(f"{held(vault)[name].source} [")
    assert "sealed as promised" in line


def test_a_watch_that_is_killed_keeps_every_promise_that_it_gave(vault: Vault, db: Connection) -> None:
    deposit(vault)  # and after every later change
    watch(vault)
    number = 0
    for _ in range(4):
        process = vault.start("watch", "o-1", "--promises", str(vault.folder / "promises"))
        low, begun_s = len(held(vault)), time.monotonic()
        while len(held(vault)) < low + 3 and time.monotonic() - begun_s < 90:
            insert(db, number)
            number += 1
            time.sleep(0.02)
        process.kill()
        process.communicate()
    given = {name: (vault.folder / "promises" / name).read_bytes() for name in held(vault)}
    assert len(given) >= 8
    watch(vault)
    for name, note in given.items():
        assert (vault.folder / "promises" / name).read_bytes() == note
    found = check(vault)
    assert {each["state"] for each in found["promises"]} == {"kept"}
    assert len(found["promises"]) == len(held(vault))
    seqs: dict[str, list[tuple[int, int]]] = {}
    for promise in held(vault).values():
        seqs.setdefault(promise.source, []).append(promise.seq)
    for ranges in seqs.values():
        ordered = sorted(ranges)
        assert all(one[1] == other[0] for one, other in pairwise(ordered)), ordered
    assert sum(hi - lo for ranges in seqs.values() for lo, hi in ranges) == number
    vault.run("verify")


def test_a_folder_that_takes_nothing_stops_no_capture(vault: Vault, db: Connection) -> None:
    deposit(vault)
    watch(vault)
    process = vault.start("watch", "o-1", "--promises", str(vault.folder / "promises"), "--json")
    insert(db, 1)
    until(lambda: len(held(vault)) == 1)
    (vault.folder / "notary").rename(vault.folder / "notary-away")
    away = (vault.folder / "promises").rename(vault.folder / "away")  # the other machine is gone
    for number in range(2, 5):
        insert(db, number)
        time.sleep(0.5)
    until(lambda: len(vault.json("promise", "list", "o-1")["promises"]) >= 2)
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    said = json.loads(out)["promises"]
    assert said["failures"] >= 1
    assert said["waiting"] == said["promised"] - 1
    assert err.count("cannot be written") == 1
    assert "is not there: nothing was deposited" in err
    assert json.loads(out)["sources"]["app"]["sealed"] == 4
    away.rename(vault.folder / "promises")
    (vault.folder / "notary-away").rename(vault.folder / "notary")
    assert watch(vault)["promises"]["handed_over"] == said["waiting"]
    assert len(held(vault)) == said["promised"]
    assert check(vault)["counts"]["kept"] == said["promised"]


def test_a_time_stamp_attests_by_its_own_time(
    vault: Vault, db: Connection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    watch(vault)
    insert(db, 1)
    watch(vault)
    with serve_tsa(tmp_path_factory.mktemp("tsa")) as tsa:
        vault.run("order", "timestamp", "o-1", "--tsa", tsa.url)
    assert check(vault)["counts"]["kept"] == 1
    for path in (vault.folder / "vault" / "po" / "o-1" / "log" / "tokens").glob("*.json"):
        path.write_text(json.dumps({"at_us": 2**60, "how": "time-stamp token"}) + "\n")  # the vault's word
    assert check(vault)["counts"]["kept"] == 1


def test_promises_are_of_one_order_whatever_the_stream_serves(vault: Vault, db: Connection) -> None:
    vault.order("o-2")
    watch(vault)
    vault.watch("o-2")
    insert(db, 1, 2)
    watch(vault)
    assert {each.origin for each in held(vault).values()} == {"platform.example/po/o-1"}
    assert vault.json("promise", "list", "o-2")["promises"] == []
    folder = str(vault.folder / "promises")
    found = vault.json("promise", "check", "o-2", "--promises", folder)
    assert (found["promises"], found["other_logs"]) == ([], 1)
    (path,) = (vault.folder / "promises").iterdir()
    assert vault.json("promise", "check", "o-2", "--promises", str(path), code=1)["counts"]["invalid"] == 1
    vault.run("promise", "check", "o-3", code=2)


def test_what_was_kept_is_dropped_a_day_later(vault: Vault, db: Connection) -> None:
    vault.run("settings", "set", "merge-deadline", "1h")
    deposit(vault)
    watch(vault)
    for number in range(3):
        insert(db, number)
        watch(vault)
    assert len(held(vault)) == 3
    hour = {promise.deadline - promise.received for promise in held(vault).values()}
    assert hour == {3600 * 1_000_000}
    keys = KeyChoice(key_file=vault.folder / "keys" / "scelle" / "keys")
    later_us = max(promise.deadline for promise in held(vault).values()) + 1
    with opened(vault.folder / "vault", keys, writing=True) as session:
        assert drop_kept(session.order_writer("o-1"), later_us) == 2
    assert len(vault.json("promise", "list", "o-1")["promises"]) == 1
    insert(db, 9)
    watch(vault)
    assert check(vault)["counts"]["kept"] == 4


def test_a_folder_that_is_not_there_or_lies_in_the_vault_is_refused(vault: Vault) -> None:
    for folder in (vault.folder / "nowhere", vault.folder / "vault" / "po"):
        vault.run("watch", "o-1", "--until-caught-up", "--promises", str(folder), code=2)


def test_broken_promises_are_found(vault: Vault, db: Connection) -> None:
    """The rows that were promised are gone, and others were sealed under their numbers."""
    watch(vault)
    insert(db, 1)
    backup = vault.folder / "backup"
    shutil.copytree(vault.folder / "vault", backup)
    signed = next((vault.folder / "keys").rglob("*.signed"))
    remembered = signed.read_bytes()
    watch(vault)
    (given,) = held(vault)
    kept = vault.folder / "vault" / "po" / "o-1" / "promises.db"
    book = kept.read_bytes()
    shutil.rmtree(vault.folder / "vault")  # an older state is put back, and the signer's memory with it
    backup.rename(vault.folder / "vault")
    signed.write_bytes(remembered)
    kept.write_bytes(book)
    vault.json("preserve", "o-1")
    deposit(vault)
    found = check(vault, code=1)
    assert found["counts"]["broken"] == 1
    assert given.split("-")[-1].removesuffix(".promise") in json.dumps(found)
    report = vault.json("verify", code=1)
    assert [each["code"] for each in report["findings"]] == ["promise.broken"]
    kept.write_bytes(b"no database\n" * 400)
    assert "promise.unread" in {each["code"] for each in vault.json("verify", code=1)["findings"]}
    kept.unlink()
    (vault.folder / "promises" / "junk.promise").write_bytes(b"junk\n")
    assert {each["state"] for each in check(vault, code=1)["promises"]} == {"broken", "invalid"}
    vault.run("verify")  # the vault keeps none any more; who holds them does


def test_a_book_that_is_damaged_stops_no_capture(vault: Vault, db: Connection) -> None:
    watch(vault)
    insert(db, 1)
    watch(vault)
    book = vault.folder / "vault" / "po" / "o-1" / BOOK_NAME
    book.write_bytes(b"no database")
    insert(db, 2)
    process = vault.start(
        "watch", "o-1", "--until-caught-up", "--promises", str(vault.folder / "promises"), "--json"
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err.count("no more promises are given") == 1
    assert json.loads(out)["sources"]["app"]["sealed"] == 1
    assert "promise.unread" in vault.run("verify", code=1)
    book.unlink()
    insert(db, 3)
    watch(vault)
    assert all(each["state"] != "broken" for each in check(vault)["promises"])


def test_whatever_lies_in_the_folder_the_check_ends(vault: Vault, db: Connection) -> None:
    watch(vault)
    insert(db, 1)
    watch(vault)
    folder = vault.folder / "promises"
    os.mkfifo(folder / "a.promise")
    (folder / "b.promise").mkdir()
    (folder / "c.promise").symlink_to("nowhere")
    (folder / "d.promise").write_bytes(b"x" * (2 << 20))
    found = check(vault, code=1)
    states = [each["state"] for each in found["promises"]]
    assert states.count("invalid") == 4
    assert len(states) > 4
