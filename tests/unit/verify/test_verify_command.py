"""The command line: what it is given, what it prints, and with which exit code."""

import ast
import contextlib
import csv
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from tests.unit.verify.builder import (
    AUTHORITY,
    HOUR,
    LOG1,
    LOG6,
    NEXT1,
    NEXT6,
    ORIGIN,
    STRANGER,
    T0,
    WITNESS,
    Draft,
    Log,
    Schema,
    b64,
    canonical,
    chat,
    leaf_hash,
    note,
    path_of,
    query_of,
    record,
    root_of,
    sha,
    value,
    world,
)
from tests.unit.verify.harness import files, judge, run, run_text

from scelle.verify import scelle_verify

FILE = Path(scelle_verify.__file__)
ROOT = Path(__file__).parents[3]


# -- trust ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"format": "scelle/trust/v2"},
        {"extra": 1},
        {"authority": "x"},
        {"authority": 5},
        {"authority": [LOG1.vkey]},
        {"authority": [AUTHORITY.vkey, AUTHORITY.vkey]},
        {"cosigners": ["nonsense"]},
        {"genesis": "AAAA"},
        {"held": {"root": b64(bytes(32))}},
        {"held": {"root": b64(bytes(32)), "size": -1}},
        {"held": []},
        {"log": [LOG1.vkey]},
        {"log": [LOG6.vkey, LOG1.vkey]},
        {"log": [LOG1.vkey, NEXT1.vkey]},
        {"log": [LOG1.vkey, LOG6.vkey, NEXT6.vkey]},
        {"log": [WITNESS.vkey, LOG6.vkey]},
        {"order": "O-1"},
        {"origin": "other"},
        {"quorum": -1},
        {"quorum": "0"},
        {"tagkey": "00"},
        {"tagkey": None},
        {"verifier_sha256": "x"},
    ],
    ids=str,
)
def test_a_trust_file_that_cannot_be_read_is_exit_2(change: dict[str, Any], tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    arguments = files(draft, tmp_path)
    Path(str(arguments[2])).write_bytes(canonical(draft.trust | change) + b"\n")
    verdict = run(arguments)
    assert verdict.exit_code == 2
    assert verdict.document == {}
    assert verdict.error.startswith("scelle-verify: cannot read trust file")


def test_a_trust_file_that_is_not_there_or_not_json(tmp_path: Path) -> None:
    arguments = files(Draft(world(), query_of()), tmp_path)
    trust = Path(str(arguments[2]))
    for data in (b"", b"{}", b"\xff", b"[" * 100_000, b"x" * ((1 << 20) + 1)):
        trust.write_bytes(data)
        assert run(arguments).exit_code == 2
    trust.unlink()
    assert run(arguments).exit_code == 2


def test_an_exception_while_the_trust_file_is_read_is_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("boom")

    arguments = files(Draft(world(), query_of()), tmp_path)
    monkeypatch.setattr(scelle_verify, "parse_vkey", explode)
    verdict = run(arguments)
    assert verdict.exit_code == 2
    assert verdict.error == f"scelle-verify: cannot read trust file {arguments[2]}: ZeroDivisionError: boom\n"


def test_a_package_that_is_not_there_is_exit_2(tmp_path: Path) -> None:
    arguments = files(Draft(world(), query_of()), tmp_path)
    Path(str(arguments[0])).unlink()
    assert run(arguments).exit_code == 2
    assert run([tmp_path, *arguments[1:]]).exit_code == 2


def test_another_logs_trust_file(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.trust |= {"log": [NEXT1.vkey, NEXT6.vkey]}
    assert {"checkpoint.signature_missing", "manifest.signature_missing"} <= judge(draft, tmp_path).codes


def test_another_tag_key(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.trust |= {"tagkey": "00" * 32}
    assert {"genesis.tagkey", "range.root"} <= judge(draft, tmp_path).codes


def test_another_order(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.trust |= {"order": "o-2"}
    assert {"entry.order", "query.order"} <= judge(draft, tmp_path).codes


def test_without_trust_nothing_is_ever_valid(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    package, _, _, _, query = files(draft, tmp_path)
    for more in ([], ["--query", query]):
        verdict = run([package, *more])
        assert verdict.exit_code == 1
        assert verdict.codes == {"trust.none"}
        assert verdict.document["strength"] is None
        code, text = run_text([package, *more])
        assert code == 1
        assert "inner consistency only" in text
        assert not re.search(r"(?<!NOT )VALID", text)


@pytest.mark.parametrize("query", [{}, {"dimension": "account", "value": "account:1", "until": T0}], ids=str)
def test_without_trust_faults_are_still_found(query: dict[str, Any], tmp_path: Path) -> None:
    draft = Draft(world(), query_of(**query))
    draft.records[0]["v"][4][1] = b64(value("s", "other"))
    package = files(draft, tmp_path)[0]
    assert {"trust.none", "record.rc"} <= run([package]).codes
    draft.members["policy.json"] = b"{}"
    package = files(draft, tmp_path)[0]
    assert {"trust.none", "json.syntax"} <= run([package]).codes | {"json.syntax"}
    assert run([package]).exit_code == 1


def test_without_trust_and_policy_there_is_nothing_to_check_with(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.removed = {"policy.json"}
    verdict = run([files(draft, tmp_path)[0]])
    assert verdict.codes >= {"trust.none", "member.missing", "trust.format", "checkpoint.unchecked"}


def test_a_held_state_and_a_package_without_checkpoint(tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of())
    draft.checkpoint = b"no note"
    draft.trust |= {"held": {"root": b64(log.root(3)), "size": 3}}
    assert judge(draft, tmp_path).codes >= {"checkpoint.missing", "checkpoint.unchecked", "held.ahead"}


# -- query ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"format": "x"}, "query.format"),
        ({"more": 1}, "json.keys"),
        ({"dimension": None}, "json.shape"),
        ({"value": 5}, "json.shape"),
        ({"from": "2026"}, "json.shape"),
        ({"from": True}, "json.shape"),
        ({"until": -(2**63)}, "format.number"),
        ({"from": 5, "until": 5}, "query.window"),
        ({"redact": []}, "json.shape"),
        ({"redact": {"text": "A B"}}, "json.shape"),
        ({"redact": {"text": None}}, "json.shape"),
        ({"redact": {"time": "x"}}, "query.redact_key"),
        ({"redact": {"seq": "x"}}, "query.redact_key"),
        ({"dimension": "account", "value": "account:1", "redact": {"account": "x"}}, "query.redact_key"),
        ({"strength": "D"}, "json.shape"),
        ({"strength": "A", "from": 5}, "query.strength"),
        ({"strength": "A", "dimension": "account"}, "query.strength"),
        ({"order": "o-2"}, "query.order"),
        ({"order": "O"}, "json.shape"),
    ],
    ids=str,
)
def test_a_query_that_breaks_a_rule(change: dict[str, Any], code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.query = query_of(**change)
    verdict = judge(draft, tmp_path)
    assert verdict.exit_code == 1
    assert code in verdict.codes, verdict.findings


def test_the_authoritys_query_rules(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    asked = canonical(query_of(value="s0002")) + b"\n"
    verdict = judge(draft, tmp_path, query=asked)
    assert {"query.differs", "range.missing", "range.not_asked"} <= verdict.codes
    for data in (b"", b"{}\n", b"\xff"):
        assert judge(draft, tmp_path, query=data).exit_code == 1


def test_a_query_formatted_by_hand_is_not_the_authoritys(tmp_path: Path) -> None:
    """One finding, which says what to give instead, and nothing of a producer who answered another question."""
    draft = Draft(world(), query_of())
    for data in (canonical(query_of()), json.dumps(query_of(), indent=2).encode() + b"\n"):
        verdict = judge(draft, tmp_path, query=data)
        assert verdict.exit_code == 1
        assert verdict.codes == {"json.canonical"}
        assert "--query takes the authority's query.json byte for byte" in verdict.findings[0]


@pytest.mark.parametrize("option", ["trust", "query", "held", "promise"])
def test_a_file_that_cannot_be_read_is_exit_2_and_one_line(option: str, tmp_path: Path) -> None:
    package, _, trust, _, query = files(Draft(world(), query_of()), tmp_path)
    given = {"trust": trust, "query": query}
    place = tmp_path / "place"
    for why in ("No such file or directory", "Is a directory", "longer than 1048576 bytes"):
        if why == "Is a directory":
            place.mkdir()
        elif place.exists():
            place.rmdir()
            place.write_bytes(bytes((1 << 20) + 1))
        arguments = [f"--{name}={path}" for name, path in (given | {option: place}).items()]
        verdict = run([package, *arguments])
        assert (verdict.exit_code, verdict.document) == (2, {})
        assert verdict.error.startswith("scelle-verify: cannot read ")
        assert verdict.error.count("\n") == 1
        assert f"{place}: {why}" in verdict.error
        assert "longer" in why or verdict.error.endswith("; name a file that exists and that you may read\n")


def test_a_file_of_the_greatest_length_is_still_read(tmp_path: Path) -> None:
    arguments = files(Draft(world(), query_of()), tmp_path, query=bytes(1 << 20))
    assert run(arguments).exit_code == 1


def test_without_query_it_answers_what_the_producer_states(tmp_path: Path) -> None:
    arguments = files(Draft(world(), query_of()), tmp_path)
    code, text = run_text(arguments[:3])
    assert code == 0
    lines = text.strip().split("\n")
    for line in (lines[0], lines[-1]):
        assert "answers the query that the producer states: " in line
    assert "complete" not in text.lower()
    verdict = run(arguments[:3])
    assert verdict.document["query_by"] == "producer"
    code, text = run_text(arguments)
    assert code == 0
    assert "producer states" not in text
    assert "complete" in text


def test_without_query_the_word_is_not_used_in_any_finding(tmp_path: Path) -> None:
    source = FILE.read_text(encoding="utf-8")
    code = re.sub(r'"""[\s\S]*?"""|#.*', "", source)
    assert [line for line in code.split("\n") if re.search("[^_.=a-z]complete", line) and '"' in line] == [
        line for line in code.split("\n") if "authority's query is complete" in line
    ]


# -- held -------------------------------------------------------------------------------------------------


def lines_of(data: bytes) -> bytes:
    """Return the signature lines of a note."""
    return data[data.index(b"\n\n") + 2 :]


def test_held_checkpoints(tmp_path: Path) -> None:
    log = world()
    other = world({"gap": lambda text: text.replace("restart", "outage")})
    held = tmp_path / "held"
    for data, codes in (
        (log.checkpoint(7), set()),
        (log.checkpoint(), set()),
        (other.checkpoint(5), set()),
        (other.checkpoint(8), {"held.not_prefix"}),
        (log.checkpoint(7, [LOG1]), {"held.signature_missing"}),
        (log.checkpoint(7, [NEXT1, NEXT6]), {"held.signature_missing"}),
        (log.checkpoint(7, []) + other.checkpoint(8)[-10:], {"note.format"}),
        (
            note(f"{ORIGIN}\n6\n{b64(log.root(6))}\n".encode(), []) + lines_of(log.checkpoint(7)),
            {"held.signature_wrong"},
        ),
        (b"", {"note.format"}),
        (b"x\n\n", {"checkpoint.format"}),
        (note(f"other/po/x\n7\n{b64(log.root(7))}\n".encode(), [LOG1, LOG6]), {"held.origin"}),
        (note(f"{ORIGIN}\n7\n{b64(log.root(7))[:-4]}\n".encode(), [LOG1]), {"format.width"}),
        (note(f"{ORIGIN}\n07\n{b64(log.root(7))}\n".encode(), [LOG1, LOG6]), {"format.number"}),
    ):
        held.write_bytes(data)
        assert judge(Draft(log, query_of()), tmp_path, "--held", held).codes == codes


def test_an_answer_from_an_older_checkpoint(tmp_path: Path) -> None:
    log = world()
    held = tmp_path / "held"
    held.write_bytes(log.checkpoint())
    assert judge(Draft(log, query_of(), size=9), tmp_path, "--held", held).codes == {"held.ahead"}
    draft = Draft(log, query_of(), size=9)
    draft.trust |= {"held": {"root": b64(log.root(12)), "size": 12}}
    assert judge(draft, tmp_path).codes == {"held.ahead"}
    draft.trust |= {"held": {"root": b64(bytes(32)), "size": 9}}
    assert judge(draft, tmp_path).codes == {"held.not_prefix"}
    assert judge(Draft(log, query_of(), size=9), tmp_path).codes == set()


# -- what is printed --------------------------------------------------------------------------------------


def test_the_report_says_what_it_must(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        log.erase("e1", log.segments["chat0"], 3)
        log.erase("e2", log.segments["chat0"], 2, basis="order", document=b64(bytes(32)), signed=False)
        log.release("release")

    draft = Draft(
        world(more=more), query_of(dimension="model", value="m-1", until=T0 - HOUR, redact={"text": "x"})
    )
    draft.members |= {"loadfile/a.csv": b"", "tokens/t.tsr": b"token"}
    code, text = run_text(files(draft, tmp_path))
    assert code == 0, text
    for phrase in (
        "VALID, strength C",
        "segments left out by their time bounds rest on the manifest's word",
        "hits       5 = 3 produced + 0 withheld + 2 erased",
        "at the edge of a range: may or may not match",
        "fields     21 of produced records = 15 open + 6 redacted",
        "contents   ",
        "left out on the manifest's word: 1 of 7",
        "not searchable by model: 4 of 7",
        "gap        s0001, 2026-01-09T23:06:40Z to now (open), cause restart, lost at most 3",
        "tombstones 1 by consent (proof); on the platform's word: 0 by letter, 1 by another order",
        "order, document AAAA",
        "release    entry 14, signed by the authority",
        "token      tokens/t.tsr: not checked here: openssl ts -verify ..",
        "load file  loadfile/a.csv: bound by MANIFEST and not by proof",
        "this proves nothing by itself",
        "not proven",
        "logged by the platform: no",
    ):
        assert phrase in text, (phrase, text)
    assert text.isascii()


def test_who_attested_is_named_and_only_cosigners_count(tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of())
    assert "attested   by nobody whom the trust file names\n" in run_text(files(draft, tmp_path))[1]
    draft.checkpoint = log.checkpoint(keys=[LOG1, LOG6, WITNESS, AUTHORITY, STRANGER])
    draft.trust |= {"cosigners": [WITNESS.vkey], "quorum": 1}
    held = tmp_path / "held"
    held.write_bytes(log.checkpoint(5, keys=[LOG1, LOG6, WITNESS], time=T0 // 10**6 - 60))
    arguments = [*files(draft, tmp_path), "--held", held]
    document = run(arguments).document
    assert document["valid"]
    assert (document["attested"], document["cosigned"]) == ("2026-01-09T23:06:40Z", 1)
    assert [tuple(line.values()) for line in document["attestations"]] == [
        (WITNESS.name, "cosigner", 12, "2026-01-09T23:06:40Z"),
        (AUTHORITY.name, "authority", 12, "2026-01-09T23:06:40Z"),
        (WITNESS.name, "cosigner", 5, "2026-01-09T23:05:40Z"),
    ]
    text = run_text(arguments)[1]
    assert "attested   2026-01-09T23:06:40Z, size 12, by witness.example/w (cosigner)\n" in text
    draft.trust |= {"quorum": 2}
    assert judge(draft, tmp_path).codes == {"checkpoint.quorum"}


def test_a_watermark_of_the_future_is_said(tmp_path: Path) -> None:
    """No rule bounds it, but a source that claims to have watched tomorrow cannot look open tonight."""
    log = world()  # the last watermark of s0001 ends at T0 + 6 h
    draft = Draft(log, query_of())
    words = {"log": "on the log's own word", "cosigner": "attested by a cosigner"}
    for keys, time, hours, ahead, by in (
        ([LOG1, LOG6], "2026-01-10T05:06:40Z", 6, 0, "log"),
        ([LOG1, LOG6], "2026-01-10T03:06:40Z", 4, 1, "log"),
        ([LOG1, LOG6, WITNESS], "2026-01-09T23:06:40Z", 0, 3, "cosigner"),
        ([LOG1, LOG6, AUTHORITY], "2026-01-09T23:06:40Z", 0, 3, "log"),
    ):
        draft.checkpoint = log.checkpoint(keys=keys, time=T0 // 10**6 + hours * 3600)
        draft.trust |= {"cosigners": [WITNESS.vkey]}
        document = judge(draft, tmp_path).document
        assert document["valid"]
        assert document["clock"] == {"time": time, "by": by}
        counted = [{"segments": ahead, "source": "s0001", "until": "2026-01-10T05:06:40Z"}] if ahead else []
        assert document["watermarks_ahead"] == counted
        text = run_text(files(draft, tmp_path))[1]
        assert (f"           s0001: {ahead} segment(s) claim to have watched until " in text) == bool(ahead)
        assert (f"ahead      of the newest checkpoint, {time}, {words[by]}:\n" in text) == bool(ahead)


def test_without_a_good_line_there_is_no_clock(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.checkpoint = b"no note"
    document = judge(draft, tmp_path).document
    assert (document["clock"], document["watermarks_ahead"]) == (None, [])


def test_a_watermark_within_the_second_of_a_stamp_is_not_ahead(tmp_path: Path) -> None:
    for late, counted in ((10**6, 0), (10**6 + 1, 1)):
        log = world(until=T0 + late)
        draft = Draft(log, query_of(), size=log.segments["chat0"].at + 1)
        draft.checkpoint = log.checkpoint(draft.size)
        assert len(judge(draft, tmp_path).document["watermarks_ahead"]) == counted


def test_the_report_of_a_bad_package_lists_every_finding(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.records[0]["v"][4][1] = b64(value("s", "other"))
    draft.members["surprise"] = b""
    code, text = run_text(files(draft, tmp_path))
    assert code == 1
    assert text.startswith("NOT VALID: 2 finding(s)")
    assert "  record.rc | " in text
    assert "  member.unknown | surprise | " in text
    assert text.strip().split("\n")[-1] == "NOT VALID: 2 finding(s)"


def test_findings_are_counted_beyond_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scelle_verify, "MAX_FINDINGS", 3)
    draft = Draft(world(), query_of())
    draft.records.clear()
    document = judge(draft, tmp_path).document
    assert len(document["findings"]) == 3
    assert document["findings_total"] > 9
    assert ".. " in run_text(files(draft, tmp_path))[1]


def test_text_from_the_package_is_escaped(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.records[0]["\x1b[2J\u202e"] = 1
    draft.items["items/\x1b]0;title\x07"] = b""
    draft.members["tokens/\x1b]0;title\x07"] = b""
    code, text = run_text(files(draft, tmp_path))
    assert code == 1
    assert text.isascii()
    assert "\x1b" not in text
    assert "\\x1b[2J\\u202e" in text
    draft.trust["origin"] = "\x1b]0;title\x07"
    assert "\x1b" not in run_text(files(draft, tmp_path)[:1])[1]


def test_an_exception_is_a_finding_and_never_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("boom")

    arguments = files(Draft(world(), query_of()), tmp_path)
    for name in (
        "parse_schema",
        "parse_entry",
        "open_record",
        "range_root",
        "parse_note",
        "tree_root",
        "parse_query",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(scelle_verify, name, explode)
            verdict = run(arguments)
            assert verdict.exit_code == 1
            assert "verifier.exception" in verdict.codes
    for step in [name for name in vars(scelle_verify.Examination) if name.startswith("step_")]:
        with monkeypatch.context() as patch:
            patch.setattr(scelle_verify.Examination, step, explode)
            verdict = run(arguments)
            assert verdict.exit_code == 1
            assert "verifier.exception" in verdict.codes


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = files(Draft(world(), query_of()), tmp_path)
    package = Path(str(arguments[0]))
    honest = scelle_verify.Examination.step_10_answer

    def after_the_digests(exam: scelle_verify.Examination) -> None:
        place = package.read_bytes().index(b'{"at":3,"item"')
        with package.open("r+b") as file:
            file.seek(place + 5)
            file.write(b"1")
        honest(exam)

    monkeypatch.setattr(scelle_verify.Examination, "step_10_answer", after_the_digests)
    assert {"member.changed"} <= run(arguments).codes


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (b'"item"', {"json.syntax", "member.changed", "loadfile.not_proven"}),
        (b"9a77b3b6100b", {"member.changed", "loadfile.not_proven"}),
    ],
)
def test_a_package_that_changes_while_the_load_file_is_written(
    change: bytes, codes: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = files(Draft(world(), query_of()), tmp_path)
    package = Path(str(arguments[0]))
    honest = scelle_verify.write_load_file

    def after_all_steps(exam: scelle_verify.Examination, out: TextIO) -> bool:
        data = package.read_bytes()
        place = data.index(b'{"at":3,"item":{}')
        with package.open("r+b") as file:
            file.seek(data.index(change, place))
            file.write(b"9" * len(change))
        return honest(exam, out)

    monkeypatch.setattr(scelle_verify, "write_load_file", after_all_steps)
    out = tmp_path / "out.csv"
    assert run([*arguments, "--write-loadfile", out]).codes == codes
    assert not out.exists()


def test_a_package_whose_checkpoint_or_manifest_cannot_be_read(tmp_path: Path) -> None:
    for name, codes in (
        ("checkpoint", {"checkpoint.missing", "checkpoint.unchecked"}),
        ("MANIFEST", {"manifest.unchecked", "member.too_long"}),
    ):
        draft = Draft(world(), query_of())
        if name == "checkpoint":
            draft.checkpoint = b"no note"
        else:
            draft.manifest_edit = lambda text: text + b"x" * (1 << 28)
        assert codes <= judge(draft, tmp_path).codes


def test_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments in ([], ["a", "--opening", "b"], ["--nonsense"]):
        with pytest.raises(SystemExit) as stop:
            scelle_verify.main(arguments)
        assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        scelle_verify.main(["--help"])
    assert stop.value.code == 0
    assert "Exit code: 0 valid" in capsys.readouterr().out


def test_the_file_that_runs_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Draft(world(), query_of())
    data = FILE.read_bytes()
    draft.members["scelle_verify.py"] = data
    draft.trust |= {"verifier_sha256": sha(data).hex()}
    code, text = run_text(files(draft, tmp_path))
    assert code == 0
    assert "all the same" in text
    monkeypatch.setattr(scelle_verify, "__file__", str(tmp_path / "gone"))
    code, text = run_text(files(draft, tmp_path))
    assert code == 0
    assert "they differ" in text


@pytest.mark.parametrize("more", [[], ["--json"]], ids=str)
def test_a_reader_that_has_seen_enough_changes_nothing(more: list[str], tmp_path: Path) -> None:
    """`| head` closes the pipe: no traceback, and the exit code is the verdict's."""
    draft = Draft(world(), query_of())
    for code in (0, 1):
        arguments = [str(argument) for argument in files(draft, tmp_path)]
        program = [sys.executable, "-I", str(FILE), *arguments, *more]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
            assert done.stdout is not None
            assert done.stderr is not None
            done.stdout.close()
            assert done.stderr.read() == b""
        assert done.returncode == code
        draft.records.pop()


# -- load file --------------------------------------------------------------------------------------------

ODD = Schema(
    "odd",
    ("source", "account"),
    (
        ("time", "t"),
        ("seq", "i"),
        ("account", "s"),
        ("=cmd", "s"),
        ("d", "d"),
        ("D", "D"),
        ("b", "b"),
        ("x", "x"),
        ("j", "j"),
        ("h", "h"),
    ),
)


def odd_world() -> Log:
    def more(log: Log) -> None:
        rest = [
            value("s", "account:1"),
            value("s", '=1+1\r\n"quoted"'),
            value("d", -0.5),
            value("D", "-12.30"),
            value("b", 1),
        ]
        rest += [value("x", b"\xff"), value("j", '{"a":1}'), value("h", (sha(b"x"), 1))]
        log.items[sha(b"x")] = b"x"
        records = [record("odd", T0, 0, *rest), record("odd", -(2**63), 1, *(value("n") for _ in rest))]
        log.segment("odd", "s0007", ODD, records)

    return world(more=more)


def test_a_load_file_from_the_proven_bytes(tmp_path: Path) -> None:
    out = tmp_path / "load.csv"
    verdict = judge(Draft(odd_world(), query_of(value="s0007")), tmp_path, "--write-loadfile", out)
    assert verdict.findings == []
    assert b"\r\n" in out.read_bytes()
    with out.open(newline="", encoding="utf-8") as file:
        header, undated, row = list(csv.reader(file))
    assert header == [
        "source",
        "log index",
        "position",
        "items",
        "time",
        "seq",
        "account",
        "'=cmd",
        "d",
        "D",
        "b",
        "x",
        "j",
        "h",
    ]
    assert row[4:] == [
        "2026-01-09T23:06:40Z",
        "0",
        "account:1",
        '\'=1+1\r\n"quoted"',
        "-0.5",
        "-12.30",
        "true",
        "base64:/w==",
        '{"a":1}',
        f"sha256:{sha(b'x').hex()} size:1",
    ]
    assert row[:4] == ["s0007", "12", "1", "items/T-0000001.bin"]
    assert undated[4:] == ["", "1", "", "", "", "", "", "", "", ""]


def test_a_load_file_of_redacted_and_false(tmp_path: Path) -> None:
    out = tmp_path / "load.csv"
    draft = Draft(odd_world(), query_of(value="s0007", redact={"b": "x"}))
    assert judge(draft, tmp_path, "--write-loadfile", out).findings == []
    assert "(redacted)" in out.read_text(encoding="utf-8")
    assert scelle_verify.show_value(scelle_verify.Value("b", b"\0")) == "false"


def test_no_load_file_is_written_from_what_is_not_proven(tmp_path: Path) -> None:
    out = tmp_path / "load.csv"
    draft = Draft(world(), query_of())
    draft.records.pop()
    assert "loadfile.not_written" in judge(draft, tmp_path, "--write-loadfile", out).codes
    assert not out.exists()
    package = files(Draft(world(), query_of()), tmp_path)[0]
    assert run([package, "--write-loadfile", out]).codes == {"trust.none", "loadfile.not_written"}
    assert not out.exists()


def test_a_load_file_overwrites_nothing(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    arguments = files(draft, tmp_path)
    before = Path(str(arguments[0])).read_bytes()
    verdict = run([*arguments, "--write-loadfile", arguments[0]])
    assert verdict.exit_code == 2
    assert Path(str(arguments[0])).read_bytes() == before


def test_a_load_file_that_cannot_be_written_is_no_verdict(tmp_path: Path) -> None:
    """Exit 2 and one line, for a good package and a bad one alike, before the work begins."""
    draft = Draft(world(), query_of())
    for _ in range(2):
        for place, why in ((tmp_path / "no" / "out.csv", "No such file"), (tmp_path, "File exists")):
            verdict = judge(draft, tmp_path, "--write-loadfile", place)
            assert (verdict.exit_code, verdict.document) == (2, {})
            assert verdict.error.startswith(f"scelle-verify: cannot write load file {place}: {why}")
            assert verdict.error.endswith(
                "; name a new file in a folder that you may write to and that has room\n"
            )
        draft.records.pop()


def test_a_full_disk_leaves_no_load_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out.csv"
    monkeypatch.setattr(scelle_verify, "csv_cell", full)
    verdict = judge(Draft(world(), query_of()), tmp_path, "--write-loadfile", out)
    assert (verdict.exit_code, verdict.document) == (2, {})
    assert f"cannot write load file {out}: No space left on device; " in verdict.error
    assert not out.exists()


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write more than this into any file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_load_file_that_is_cut_short_as_it_is_closed_is_removed(tmp_path: Path) -> None:
    """All of it is still in memory when the last row is written: only closing the file meets the full disk."""
    out = tmp_path / "out.csv"
    arguments = [*files(Draft(world(), query_of()), tmp_path), "--write-loadfile", out]
    with files_of_at_most(100):
        verdict = run(arguments)
    assert (verdict.exit_code, verdict.document) == (2, {})
    assert f"cannot write load file {out}: File too large; " in verdict.error
    assert verdict.error.count("\n") == 1
    assert not out.exists()


def test_a_load_file_that_cannot_be_removed_hides_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    out = tmp_path / "out.csv"
    arguments = [*files(Draft(world(), query_of()), tmp_path), "--write-loadfile", out]
    monkeypatch.setattr(os, "remove", refuse)
    with files_of_at_most(100):
        verdict = run(arguments)
    assert (verdict.exit_code, verdict.document) == (2, {})
    assert f"cannot write load file {out}: File too large; " in verdict.error


def test_an_interrupted_examination_leaves_no_load_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out.csv"
    arguments = [*files(Draft(world(), query_of()), tmp_path), "--write-loadfile", out]
    monkeypatch.setattr(scelle_verify.Examination, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(arguments)
    assert not out.exists()


# -- standard output that takes nothing -------------------------------------------------------------------


@pytest.mark.parametrize("output", ["json", "text", "opening"])
def test_a_full_output_is_exit_2_and_one_line(output: str, tmp_path: Path) -> None:
    """It is never exit 1, which says that a package is not valid."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    log = world()
    arguments = [*map(str, files(Draft(log, query_of()), tmp_path)), *(["--json"] * (output == "json"))]
    if output == "opening":
        (tmp_path / "record").write_bytes(opening(log))
        arguments = ["--opening", str(tmp_path / "record"), "--trust", str(tmp_path / "trust.json")]
    with full.open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-I", str(FILE), *arguments], stdout=out, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "scelle-verify: cannot write standard output: No space left on device\n"


class Refusing(io.StringIO):
    """Stand in for a standard output that holds what is written and cannot pass it on."""

    def __init__(self, error: OSError, place: int) -> None:
        super().__init__()
        self.error, self.place = error, place

    def flush(self) -> None:
        raise self.error

    def fileno(self) -> int:
        return self.place


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BrokenPipeError(32, "Broken pipe"), 0, ""),
        (OSError(28, "No space"), 2, "scelle-verify: cannot write standard output: No space\n"),
        (OSError("odd"), 2, "scelle-verify: cannot write standard output: odd\n"),
    ],
    ids=str,
)
def test_an_output_that_refuses_takes_the_rest_in_silence(
    error: OSError, code: int, said: str, tmp_path: Path
) -> None:
    """What Python still holds is written as it ends: that must go nowhere, or it fails again."""
    arguments = files(Draft(world(), query_of()), tmp_path)
    err = io.StringIO()
    with (tmp_path / "place").open("wb") as place:
        out = Refusing(error, place.fileno())
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert scelle_verify.main([*map(str, arguments)]) == code
        os.write(place.fileno(), b"the rest")
    assert err.getvalue() == said
    assert (tmp_path / "place").read_bytes() == b""


# -- one record alone -------------------------------------------------------------------------------------


def opening(log: Log, label: str = "chat0", position: int = 1, **changes: Any) -> bytes:
    segment = log.segments[label]
    entry = segment.records[position]
    line: dict[str, Any] = {"at": segment.at, "item": {}, "p": segment.profile, "pos": position}
    if segment.profile:
        line["v"] = [[entry.field_salt(j).hex(), b64(data)] for j, data in enumerate(entry.values)]
    else:
        line |= {
            "k": entry.key[:16].hex(),
            "v": b64(len(entry.values).to_bytes(2, "big") + b"".join(entry.values)),
        }
    extra = {
        "entry": b64(log.entries[segment.at]),
        "format": "scelle/opening/v1",
        "index": position,
        "of": segment.count,
        "proof": [h.hex() for h in path_of(segment.rcs, position)],
        "record": line,
        "schema": b64(segment.schema.data),
    }
    changes = dict(changes)
    head = changes.pop("head", "c2sp.org/tlog-proof@v1")
    path = changes.pop("path", path_of([leaf_hash(e) for e in log.entries], segment.at))
    checkpoint = changes.pop("checkpoint", log.checkpoint())
    index = changes.pop("log_index", segment.at)
    record_changes = changes.pop("record_changes", {})
    extra["record"] |= record_changes
    extra |= changes
    lines = [head, f"extra {b64(canonical(extra))}", f"index {index}", *(b64(h) for h in path), "", ""]
    return bytes("\n".join(lines).encode() + checkpoint)


def judge_opening(data: bytes, folder: Path, log: Log) -> Any:
    path, trust = folder / "record.tlog-proof", folder / "trust.json"
    path.write_bytes(data)
    trust.write_bytes(canonical(log.trust()) + b"\n")
    return run(["--opening", path, "--trust", trust])


def test_one_record_alone(tmp_path: Path) -> None:
    log = world()
    for label, position in (("chat0", 1), ("login0", 3), ("order", 0)):
        verdict = judge_opening(opening(log, label, position), tmp_path, log)
        assert verdict.findings == []
        assert verdict.exit_code == 0
        assert verdict.document["record"]["seq"] == position
    code, text = run_text(["--opening", tmp_path / "record.tlog-proof", "--trust", tmp_path / "trust.json"])
    assert code == 0
    assert text.startswith("VALID: this record was sealed in this log")
    assert run(["--opening", tmp_path / "record.tlog-proof"]).codes == {"trust.none"}
    verdict = run(["--opening", tmp_path / "no", "--trust", tmp_path / "trust.json"])
    assert verdict.exit_code == 2
    assert verdict.error.startswith(f"scelle-verify: cannot read opening {tmp_path / 'no'}: No such file")


def one(seq: int = 0, time: int = T0, **first: Any) -> Log:
    """A log whose first chat segment has one record, so that `true` could pass for its numbers."""
    return world(records=[chat(seq, time, "account:1", "a")], **first)


@pytest.mark.parametrize(
    "changes",
    [{"of": True}, {"index": False}, {"of": 1.0}, {"of": 0}, {"index": -1}, {"index": 1}, {"of": "1"}],
    ids=str,
)
def test_an_opening_whose_numbers_are_none(changes: dict[str, Any], tmp_path: Path) -> None:
    verdict = judge_opening(opening(one(), position=0, **changes), tmp_path, one())
    assert verdict.exit_code == 1
    assert verdict.codes <= {"json.shape", "format.number", "json.number"}
    assert judge_opening(opening(one(), position=0), tmp_path, one()).exit_code == 0


def test_an_opening_of_another_sequence_number_than_its_place(tmp_path: Path) -> None:
    for log, codes in (
        (one(seq=1), {"record.seq"}),
        (world(edits={"chat0": lambda text: text.replace("seq 0 7", "seq 1 8")}), {"record.seq"}),
        (world(edits={"chat0": lambda text: text.replace("seq 0 7", "seq 0 8")}), {"record.seq"}),
        (one(bounds=(T0 + HOUR, T0 + 2 * HOUR)), {"segment.bounds"}),
        (one(bounds=(T0 - 2 * HOUR, T0 - HOUR)), {"segment.bounds"}),
        (one(time=-(2**63), undated=0), {"segment.bounds"}),
        (one(time=-(2**63)), set()),
        (one(bounds=(T0, T0)), set()),
    ):
        assert judge_opening(opening(log, position=0), tmp_path, log).codes == codes


@pytest.mark.parametrize("field", [0, 1])
def test_an_opening_that_hides_time_or_sequence_number(field: int, tmp_path: Path) -> None:
    log = world()
    entry = log.segments["chat0"].records[1]
    fields: list[Any] = [[entry.field_salt(j).hex(), b64(data)] for j, data in enumerate(entry.values)]
    fields[field] = entry.field_leaf(field).hex()
    data = opening(log, record_changes={"v": fields})
    assert judge_opening(data, tmp_path, log).codes == {"record.key_redacted"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"head": "c2sp.org/tlog-proof@v2"}, "opening.format"),
        ({"format": "scelle/opening/v2"}, "opening.format"),
        ({"more": 1}, "json.keys"),
        ({"index": 2}, "opening.place"),
        ({"of": 8}, "opening.place"),
        ({"proof": []}, "proof.shape"),
        ({"proof": "x"}, "json.shape"),
        ({"record": 5, "record_changes": {}}, "json.shape"),
        ({"schema": b64(b"{}")}, "opening.schema"),
        ({"entry": b64(b"scelle/segment/v2\n")}, "entry.kind"),
        ({"path": [bytes(32)] * 4}, "opening.log"),
        ({"path": []}, "proof.shape"),
        ({"log_index": 2}, "opening.log"),
        ({"checkpoint": world().checkpoint(keys=[LOG1])}, "checkpoint.signature_missing"),
        ({"checkpoint": note(f"x/po/y\n1\n{b64(bytes(32))}\n".encode(), [LOG1])}, "checkpoint.origin"),
        ({"record_changes": {"p": 0, "k": "00" * 16, "v": "AAA="}}, "record.profile"),
        ({"record_changes": {"v": []}}, "opening.record"),
        ({"record_changes": {"at": 4}}, "opening.place"),
    ],
    ids=str,
)
def test_a_forged_opening(changes: dict[str, Any], code: str, tmp_path: Path) -> None:
    log = world()
    verdict = judge_opening(opening(log, **changes), tmp_path, log)
    assert verdict.exit_code == 1
    assert verdict.codes == {code}


def test_an_opening_of_a_record_against_its_schema(tmp_path: Path) -> None:
    wrong = chat(0, T0, "account:1", "a")
    for values in (wrong.values[:-1], (*wrong.values[:4], value("x", b"a"), *wrong.values[5:])):
        log = world(records=[type(wrong)(wrong.key, T0, 0, values)])
        verdict = judge_opening(opening(log, position=0), tmp_path, log)
        assert verdict.codes in ({"record.fields"}, {"record.type"})


def test_an_opening_of_what_is_no_segment(tmp_path: Path) -> None:
    log = world()
    at = log.labels["gap"]
    data = opening(
        log, entry=b64(log.entries[at]), log_index=at, path=path_of([leaf_hash(e) for e in log.entries], at)
    )
    assert judge_opening(data, tmp_path, log).codes == {"opening.log"}
    for data in (b"", b"c2sp.org/tlog-proof@v1\nindex 5\n\n", b"c2sp.org/tlog-proof@v1\n\n\n\n\n"):
        assert judge_opening(data, tmp_path, log).codes == {"opening.format"}


# -- promises ---------------------------------------------------------------------------------------------


def promise(log: Log, low: int = 0, high: int = 3, keys: Any = (LOG1,), **changes: str) -> bytes:
    segment = log.segments["chat0"]
    lines = {
        "scelle/promise/v1": "",
        "origin": ORIGIN,
        "genesis": b64(log.genesis),
        "source": "s0001",
        "batch": "00" * 16,
        "seq": f"{low} {high}",
        "batch-root": b64(root_of(segment.rcs[low:high])),
        "received": str(T0),
        "deadline": str(T0 + 10**9),
    }
    lines |= {key.replace("_", "-"): text for key, text in changes.items()}
    return note("".join(f"{key} {text}".strip() + "\n" for key, text in lines.items()).encode(), keys)


def judge_promise(draft: Draft, folder: Path, *promises: bytes) -> Any:
    arguments: list[object] = []
    for number, data in enumerate(promises):
        path = folder / f"promise{number}"
        path.write_bytes(data)
        arguments += ["--promise", path]
    return judge(draft, folder, *arguments)


@pytest.mark.parametrize("strength", ["A", "C"])
def test_a_promise_that_was_kept(strength: str, tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of(strength=strength))
    verdict = judge_promise(draft, tmp_path, promise(log))
    assert verdict.findings == []
    assert "time is undecided" in verdict.document["promises"][0]
    draft.checkpoint = log.checkpoint(keys=[LOG1, LOG6, WITNESS])
    draft.trust |= {"cosigners": [WITNESS.vkey]}
    assert judge_promise(draft, tmp_path, promise(log)).document["promises"] == ["s0001 [0, 3): kept"]
    late = judge_promise(draft, tmp_path, promise(log, deadline=str(T0 - 10**7)))
    assert late.document["promises"] == ["s0001 [0, 3): sealed; attested after the deadline"]


def test_a_promise_is_kept_only_under_an_attested_checkpoint_that_has_it(tmp_path: Path) -> None:
    """An older state, attested in time, says nothing of what was sealed after it."""
    log = world()
    draft = Draft(log, query_of())
    draft.trust |= {"cosigners": [WITNESS.vkey]}
    at, held = log.segments["chat0"].at, tmp_path / "held"
    given = tmp_path / "promise"
    given.write_bytes(promise(log))
    for size, said in ((at, "time is undecided"), (at + 1, "kept")):
        held.write_bytes(log.checkpoint(size, keys=[LOG1, LOG6, WITNESS]))
        verdict = judge(draft, tmp_path, "--held", held, "--promise", given)
        assert verdict.findings == []
        assert said in verdict.document["promises"][0]


def test_promises_that_are_broken_or_undecided(tmp_path: Path) -> None:
    log = world()
    draft = Draft(log, query_of())
    draft.checkpoint = log.checkpoint(keys=[LOG1, LOG6, WITNESS])
    draft.trust |= {"cosigners": [WITNESS.vkey]}
    for promises, codes in (
        ([promise(log, batch_root=b64(bytes(32)))], {"promise.broken"}),
        ([promise(log, 7, 10, batch_root=b64(bytes(32)), deadline=str(T0 - 10**7))], {"promise.broken"}),
        ([promise(log, 7, 10, batch_root=b64(bytes(32)))], set()),
        ([promise(log, source="s0002", deadline=str(T0 - 10**7))], set()),
        ([promise(log), promise(log)], set()),
        ([promise(log), promise(log, 2, 4)], {"promise.broken"}),
        ([promise(log), promise(log, 3, 4)], set()),
    ):
        assert judge_promise(draft, tmp_path, *promises).codes == codes


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"keys": [STRANGER]}, "promise.signature_missing"),
        ({"keys": []}, "promise.signature_missing"),
        ({"origin": "x/po/y"}, "promise.format"),
        ({"genesis": b64(bytes(32))}, "promise.format"),
        ({"source": "S"}, "json.shape"),
        ({"batch": "00"}, "format.width"),
        ({"seq": "3 3"}, "promise.format"),
        ({"seq": "0 1048577"}, "promise.format"),
        ({"seq": "0"}, "promise.format"),
        ({"received": "yesterday"}, "format.number"),
        ({"more": "1"}, "promise.format"),
    ],
    ids=str,
)
def test_a_promise_that_is_none(changes: dict[str, Any], code: str, tmp_path: Path) -> None:
    log = world()
    assert judge_promise(Draft(log, query_of()), tmp_path, promise(log, **changes)).codes == {code}


def test_a_promise_with_another_word(tmp_path: Path) -> None:
    log = world()
    text = promise(log, keys=[])[:-1].replace(b"received", b"recieved")
    assert judge_promise(Draft(log, query_of()), tmp_path, note(text, [LOG1])).codes == {"promise.format"}


def test_a_promise_with_the_signature_of_another(tmp_path: Path) -> None:
    log = world()
    other = promise(log, deadline=str(T0)).split(b"\n\n")[1]
    forged = promise(log, keys=[]) + other
    assert judge_promise(Draft(log, query_of()), tmp_path, forged).codes == {"promise.signature_wrong"}


# -- the file itself --------------------------------------------------------------------------------------


def test_it_stands_alone(tmp_path: Path) -> None:
    """Copied away, run isolated, it imports nothing but the standard library."""
    alone = tmp_path / "elsewhere" / "scelle_verify.py"
    alone.parent.mkdir()
    shutil.copy(FILE, alone)
    program = (
        "import runpy, sys; sys.argv = ['x', '--help']\n"
        "try: runpy.run_path(sys.orig_argv[-1], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "names = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(names - set(sys.stdlib_module_names) - {'__main__'}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(alone)], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_importing_it_drags_no_other_room_in() -> None:
    program = (
        "import sys, scelle.verify.scelle_verify\nprint([n for n in sys.modules if n.startswith('scelle.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['scelle.verify', 'scelle.verify.scelle_verify']"


def test_no_assertion_is_a_check() -> None:
    assert not re.search(r"^\s*assert\b", FILE.read_text(encoding="utf-8"), re.MULTILINE)


def codes_of_the_file() -> set[str]:
    """Return every finding code that the file can speak."""
    constants = {
        node.value
        for node in ast.walk(ast.parse(FILE.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    codes = {text for text in constants if re.fullmatch(r"[a-z]+\.[a-z_0-9]+", text)}
    codes -= {text for text in codes if text.endswith((".json", ".jsonl"))}
    signed = {code for code in codes if code.endswith(".signature")} - {"consent.signature"}
    return codes - signed | {code + end for code in signed for end in ("_missing", "_wrong")}


def test_every_finding_is_documented_and_provoked() -> None:
    page = (ROOT / "docs" / "formats" / "verifier.md").read_text(encoding="utf-8")
    table = page[page.index("## Findings") :]
    documented = set(
        re.findall(r"`([a-z]+\.[a-z_0-9]+)`", re.sub(r"\|[^|]*\|$", "|", table, flags=re.MULTILINE))
    )
    assert documented == codes_of_the_file()
    tests = "".join(
        path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("test_*.py"))
    )
    assert {code for code in documented if f'"{code}"' not in tests} == set()


def test_bundles_are_named_in_groups_of_three() -> None:
    names = [scelle_verify.bundle_name(number) for number in (0, 999, 1000, 1_234_067)]
    assert names == ["000", "999", "x001/000", "x001/x234/067"]


def test_the_limits_are_those_of_the_page() -> None:
    v = scelle_verify
    assert (v.MAX_LINE, v.MAX_VALUE, v.MAX_ENTRY, v.MAX_SCHEMA) == (64 << 20, 16 << 20, 65_535, 65_536)
    assert (v.MAX_MANIFEST, v.MAX_NOTE, v.MAX_JSON_DOCUMENT) == (256 << 20, 1 << 20, 1 << 20)
    assert (v.MAX_VERDICT, v.MAX_DIRECTORY) == (64 << 20, 1 << 30)
    assert (v.MAX_MEMBERS, v.MAX_FINDINGS, v.MAX_STRUCTURE_DEPTH) == (2**21, 10_000, 256)
    assert (v.MAX_RECORDS, v.CHUNK) == (2**20, 1 << 20)
    assert (v.MIN_TIME, v.MAX_TIME, v.UNDATED) == (-(2**63) + 1, 2**63 - 1, -(2**63))
    assert (v.HOUR, v.OPEN_AFTER) == (3_600_000_000, 7_200_000_000)


def test_more_members_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scelle_verify, "MAX_MEMBERS", 5)
    verdict = judge(Draft(world(), query_of()), tmp_path)
    assert verdict.exit_code == 2
    assert "more than 5 members" in verdict.error
