"""Odd input to every command: one clear line, the right exit code, nothing changed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import ORDER, Platform
from .test_commands import one_line


def refused(platform: Platform, *arguments: str | Path, code: int = 2, words: str = "") -> None:
    answer = platform(*arguments, code=code)
    assert one_line(answer.err), answer.err
    assert words in answer.err
    assert answer.out == ""


def scelle(*arguments: str | Path, stdout: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "scelle.cli", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=stdout)


# --- init -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "h" * 300), "more than 188"),
        (("--host", "h.example", "--passphrase", "file:a\0b"), "cannot be read"),
        (("--host", "h.example", "--passphrase", "exec:printf '\\377'"), "UTF-8"),
        (("--host", "h.example", "--passphrase", "exec:exit 3"), "ended with 3"),
        (("--host", "h.example", "--recipient", "age1nobody"), "age1nobody"),
    ],
)
def test_a_vault_that_cannot_be_made_is_not_begun(
    platform: Platform, arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "--passphrase" in arguments:
        monkeypatch.delenv("SCELLE_KEY_FILE")
    refused(platform, "init", platform.root / "new", *arguments, words=words)
    assert not (platform.root / "new").exists()


def test_a_vault_below_a_file_is_bad_input(platform: Platform) -> None:
    refused(platform, "init", platform.docs / "a.txt" / "x", "--host", "h.example", words="not a folder")


def test_a_host_that_was_guessed_is_said(platform: Platform) -> None:
    err = platform("init", platform.root / "new").err
    assert "host not given: every log of this vault is named after" in err
    assert "host not given" not in platform("init", platform.root / "named", "--host", "h.example").err


def test_what_must_not_be_lost_is_named(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCELLE_KEY_FILE")
    monkeypatch.setenv("PASS", "a long and mild passphrase")
    arguments = ("init", platform.root / "new", "--host", "h.example", "--passphrase", "env:PASS")
    assert "if the passphrase is lost" in platform(*arguments).err


# --- what goes to others ------------------------------------------------------------------------------------


def test_nothing_for_others_is_put_into_the_vault(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    refused(ordered, "order", "escrow", ORDER, "--to", ordered.vault, words="inside the vault")
    refused(ordered, "order", "trust", ORDER, "--to", ordered.vault / "t.json", words="inside the vault")
    to = ordered.vault / "packs" / "p.scelle"
    refused(ordered, "produce", ORDER, "--source", "docs", "--to", to, words="inside the vault")
    assert ordered("verify", "--json").json["findings"] == []


@pytest.mark.parametrize("command", [("order", "trust", ORDER), ("produce", ORDER, "--source", "docs")])
@pytest.mark.parametrize(
    ("to", "words"), [("gone/x", "no such folder"), ("n" * 250, "1 to 200"), ("docs", "there")]
)
def test_a_place_where_nothing_can_be_put_is_bad_input(
    ordered: Platform, command: tuple[str, ...], to: str, words: str
) -> None:
    size = ordered("status", "--json").json["orders"][0]["log_size"]
    refused(ordered, *command, "--to", ordered.root / to, words=words)
    assert ordered("status", "--json").json["orders"][0]["log_size"] == size


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--source", "docs", "--withhold", "/dev/zero"), "regular"),
        (("--source", "docs", "--withhold", "/"), "regular"),
        (("--source", "docs", "--withhold", "/nope"), "no such file"),
        (("--source", "docs", "--redact", "meta=X Y"), "a code is made of"),
        (("--source", "docs", "--redact", "meta=a", "--redact", "meta=b"), "given twice"),
        (("--custodian", "a\nb"), "--custodian"),
        (("--account", "x" * 300), "--account"),
        (("--source", "docs", "--from", "99999-01-01"), "no time"),
        (
            ("--source", "docs", "--from", "2026-02-01", "--until", "2026-01-01"),
            "2026-01-31T23:00:00Z until 2025-12-31T23:00:00Z is empty",
        ),
    ],
)
def test_a_request_that_means_nothing_changes_nothing(
    ordered: Platform, arguments: tuple[str, ...], words: str
) -> None:
    ordered("preserve", ORDER)
    size = ordered("status", "--json").json["orders"][0]["log_size"]
    refused(ordered, "produce", ORDER, *arguments, "--to", ordered.root / "p.scelle", words=words)
    assert ordered("status", "--json").json["orders"][0]["log_size"] == size


def test_a_list_that_names_an_item_twice_is_refused(ordered: Platform) -> None:
    ordered("preserve", ORDER)
    rules = ordered.root / "rules.csv"
    arguments = ("produce", ORDER, "--source", "docs", "--withhold", rules, "--to", ordered.root / "p.scelle")
    rules.write_bytes(b"native_id,what,code\na.txt,record,x\na.txt,record,y\n")
    refused(ordered, *arguments, words="line 3: 'a.txt' is listed twice")
    rules.write_bytes(b"\xef\xbb\xbfnative_id,what,code\r\na.txt,record,x\r\n")  # as a spreadsheet saves it
    assert ordered(*arguments, "--json").json["withheld"] == 1


def test_a_held_source_says_what_to_do(ordered: Platform) -> None:
    refused(ordered, "source", "remove", "docs", code=3, words=f"a clause of order {ORDER}")


# --- the process -------------------------------------------------------------------------------------------


def test_a_reader_that_goes_away_is_no_error(ordered: Platform) -> None:
    read, write = os.pipe()
    os.close(read)
    process = scelle("status", stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reader_that_goes_away_hides_no_finding(
    ordered: Platform, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # as with an answer that is longer than the buffer
    (ordered.vault / "po" / ORDER / "secrets").unlink()
    read, write = os.pipe()
    os.close(read)
    process = scelle("verify", *options, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, b"")


def test_an_answer_for_which_there_is_no_room_is_said(ordered: Platform) -> None:
    with Path("/dev/full").open("wb") as full:
        process = scelle("status", stdout=full.fileno())
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert b"No space left" in err
    assert one_line(err.decode())


def test_a_file_name_that_is_no_text_is_printed(ordered: Platform) -> None:
    to = ordered.root / os.fsdecode(b"t\xff.json")
    process = scelle("order", "trust", ORDER, "--to", to, "--json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["trust"] == str(to)


def test_an_interrupted_pass_is_one_line_and_goes_on(ordered: Platform) -> None:
    for number in range(2000):
        ordered.document(f"many/{number}.txt", b"%d" % number)
    process = scelle("preserve", ORDER)
    rows = ordered.vault / "po" / ORDER / "seg" / "s0001" / "0.open" / "rows"
    for _ in range(1000):
        if rows.exists() or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the pass was faster than the interruption")
    assert (process.returncode, out) == (130, b"")
    assert b"stopped; what was confirmed so far is kept, run the command again" in err
    assert b"Traceback" not in err
    assert ordered("preserve", ORDER, "--json").json["sealed"] == 2002
    assert ordered("verify", "--json").json["valid"]
