"""What is printed, word for word: verdicts, documents and texts of packages and openings of every kind."""

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.verify.builder import (
    AUTHORITY,
    HOUR,
    LOG1,
    LOG6,
    LOGIN,
    ORDER,
    PICTURE,
    T0,
    WITNESS,
    Draft,
    Log,
    Schema,
    b64,
    canonical,
    content_of,
    login,
    make_key,
    query_of,
    record,
    sha,
    value,
    world,
)
from tests.unit.verify.harness import files, judge, run, run_text
from tests.unit.verify.test_verify_command import opening

from scelle.verify import scelle_verify

FILE = Path(scelle_verify.__file__)
RUNNING = sha(FILE.read_bytes()).hex()
STAND_IN = sha(b"# stand-in\n").hex()
STATED = (
    '{"dimension": "source", "format": "scelle/query/v1", "from": null, "order": "o-1", "redact": {}, '
    '"strength": "C", "until": null, "value": "s0001"}'
)


def two_counts(log: Log) -> None:
    """Add a gap and a count of a source that the query does not touch, and a release on the platform's word."""
    log.add(
        "other gap",
        f"scelle/gap/v1\norder {ORDER}\nsource s0002\ninterval {T0} {T0}\ncause lag\nlost-at-most -\ncloses -\n",
    )
    log.add(
        "other count",
        f"scelle/count/v1\norder {ORDER}\nsource s0002\ninterval {T0} {T0}\noffered 1\nsealed 1\n"
        "failed 0\nexcluded 0\nlost 0\nsystem other\n",
    )


def document_without_trust(log: Log) -> dict[str, Any]:
    """The whole document of an honest package that is examined without a trust file and a query."""
    return {
        "valid": False,
        "findings": [
            {
                "code": "trust.none",
                "subject": "--trust",
                "detail": "no trust file: inner consistency only, nothing is proven",
            }
        ],
        "findings_total": 1,
        "trusted": False,
        "strength": None,
        "strength_meaning": "none: nothing is proven",
        "query": query_of(),
        "query_by": "producer",
        "query_logged": True,
        "origin": "platform.example/po/o-1",
        "size": len(log.entries),
        "root": log.root().hex(),
        "attested": None,
        "attestations": [],
        "cosigned": 0,
        "hits": {"all": 9, "produced": 9, "withheld": 0, "erased": 0, "erased_edge": 0},
        "fields": {"all": 63, "open": 63, "redacted": 0, "redacted_not_asked": 0},
        "contents": {"all": 2, "delivered": 2, "withheld": 0},
        "segments": {
            "all": 3,
            "searched": 2,
            "undated_only": 0,
            "left_out": 0,
            "not_searchable": 0,
            "empty": 1,
        },
        "watermarks_ahead": [{"source": "s0001", "segments": 3, "until": "2026-01-10T05:06:40Z"}],
        "clock": {"time": "2026-01-09T23:06:40Z", "by": "log"},
        "gaps": [
            {
                "source": "s0001",
                "from": T0,
                "to": None,
                "cause": "restart",
                "lost_at_most": 3,
                "closed_by": None,
                "entry": 6,
            }
        ],
        "counts": [
            {
                "source": "s0001",
                "interval": [T0, T0 + HOUR],
                "offered": 9,
                "sealed": 9,
                "failed": 0,
                "excluded": 0,
                "lost": 0,
                "system": "chat-db",
            }
        ],
        "tombstones": {"consent": 0, "letter": 0, "order": 0, "release": 0},
        "documents": [],
        "released": None,
        "promises": [],
        "tokens": [],
        "loadfile": [],
        "verifier": {"running": RUNNING, "trust_file": None, "in_package": STAND_IN},
        "limits": scelle_verify.LIMITS,
    }


def test_the_whole_document_without_a_trust_file(tmp_path: Path) -> None:
    log = world(more=two_counts)
    package = files(Draft(log, query_of()), tmp_path)[0]
    assert run([package]).document == document_without_trust(log)


def test_the_whole_document_of_a_valid_package(tmp_path: Path) -> None:
    log = world(more=two_counts)
    assert judge(Draft(log, query_of()), tmp_path).document == document_without_trust(log) | {
        "valid": True,
        "findings": [],
        "findings_total": 0,
        "trusted": True,
        "strength": "C",
        "strength_meaning": "range: ranges are whole; segments left out by their time bounds rest on the "
        "manifest's word",
        "query_by": "authority",
        "verifier": {"running": RUNNING, "trust_file": "0" * 64, "in_package": STAND_IN},
    }


def test_the_whole_document_of_next_to_nothing(tmp_path: Path) -> None:
    """Where no checkpoint, policy or query can be read, nothing is made up."""
    draft = Draft(world(), query_of())
    draft.checkpoint = b"no note"
    draft.removed = {"policy.json", "query.json", "scelle_verify.py"}
    document = run([files(draft, tmp_path)[0]]).document
    for key in ("findings", "findings_total", "limits"):
        del document[key]
    zeros = {
        "hits": "all produced withheld erased erased_edge",
        "fields": "all open redacted redacted_not_asked",
        "contents": "all delivered withheld",
        "segments": "all searched undated_only left_out not_searchable empty",
        "tombstones": "consent letter order release",
    }
    assert document == {
        "valid": False,
        "trusted": False,
        "strength": None,
        "strength_meaning": "none: nothing is proven",
        "query": None,
        "query_by": "producer",
        "query_logged": False,
        "origin": None,
        "size": 0,
        "root": None,
        "attested": None,
        "attestations": [],
        "cosigned": 0,
        **{key: dict.fromkeys(names.split(), 0) for key, names in zeros.items()},
        "watermarks_ahead": [],
        "clock": None,
        "gaps": [],
        "counts": [],
        "documents": [],
        "released": None,
        "promises": [],
        "tokens": [],
        "loadfile": [],
        "verifier": {"running": RUNNING, "trust_file": None, "in_package": None},
    }


@pytest.mark.parametrize("strength", ["A", "B", "C"])
def test_an_invalid_package_has_no_strength(strength: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of(strength=strength))
    draft.members["surprise"] = b""
    document = judge(draft, tmp_path).document
    assert (document["valid"], document["strength"]) == (False, None)
    assert document["strength_meaning"] == "none: nothing is proven"


def first_and_last(arguments: list[object]) -> str:
    """Return the first line of the text, which must stand last too."""
    lines = run_text(arguments)[1].strip("\n").split("\n")
    assert lines[0] == lines[-1]
    return lines[0]


def test_the_verdict_line(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    package, _, trust, _, query = files(draft, tmp_path)
    stated = f"answers the query that the producer states: {STATED}"
    complete = "the answer to the authority's query is complete in the sense below"
    whole = [package, "--trust", trust, "--query", query]
    assert first_and_last(whole) == f"VALID, strength C: {complete}"
    assert first_and_last([package, "--trust", trust]) == f"VALID, strength C; {stated}"
    alone = "NOT VALID: no trust file was given, "
    assert first_and_last([package]) == f"{alone}inner consistency only; {stated}"
    assert first_and_last([package, "--query", query]) == f"{alone}inner consistency only"
    draft.members["surprise"] = b""
    files(draft, tmp_path)
    assert first_and_last(whole) == "NOT VALID: 1 finding(s)"
    assert first_and_last([package, "--trust", trust]) == f"NOT VALID: 1 finding(s); {stated}"
    assert first_and_last([package]) == f"{alone}not even consistent with itself; {stated}"


def lines_after(text: str, head: str) -> list[str]:
    """Return the lines that follow one that begins so, up to the next empty one, and it itself."""
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith(head))
    return lines[start : lines.index("", start)]


def test_the_text_of_a_package_with_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scelle_verify, "MAX_FINDINGS", 2)
    draft = Draft(world(), query_of())
    draft.members |= {"surprise": b"", "surprise2": b"", "surprise3": b""}
    text = run_text(files(draft, tmp_path))[1]
    assert lines_after(text, "findings") == [
        "findings   3",
        "  member.unknown | surprise | a member of this name is not part of a package",
        "  member.unknown | surprise2 | a member of this name is not part of a package",
        "  .. 1 more",
    ]
    assert lines_after(text, "query")[:4] == [
        'query      source = "s0001", order o-1',
        "           the authority's own; logged by the platform: yes",
        "period     all times; undated records too",
        "redact     nothing",
    ]
    monkeypatch.setattr(scelle_verify, "MAX_FINDINGS", 3)
    text = run_text(files(draft, tmp_path))[1]
    assert len(lines_after(text, "findings")) == 4
    assert " more" not in text


def test_the_text_of_a_package_of_another_order_than_the_trust_file(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    package, _, trust, *_ = files(draft, tmp_path)
    other = json.loads(Path(str(trust)).read_text())
    other["order"], other["origin"] = "o-2", "platform.example/po/o-2"
    other["log"] = [make_key(other["origin"], kind, f"other {kind}").vkey for kind in (1, 6)]
    (tmp_path / "other.json").write_bytes(canonical(other) + b"\n")
    text = run_text([package, "--trust", tmp_path / "other.json"])[1]
    assert text.split("\n")[1:5] == [
        "THE TRUST FILE IS OF ANOTHER ORDER than the package: what else is found may follow from that alone",
        "  trust    platform.example/po/o-2",
        "  package  platform.example/po/o-1",
        "",
    ]
    both = "it is of platform.example/po/o-1, the trust file of platform.example/po/o-2"
    for line in (
        "  query.order | query.json | the query is of order o-1, the trust file of order o-2",
        f"  checkpoint.origin | checkpoint | {both}",
        f"  genesis.origin | entry 0 | {both}",
        "  entry.order | entry 1 | an entry of order o-1, not o-2",
    ):
        assert line in text.split("\n"), line
    assert "ANOTHER ORDER" not in run_text([package, "--trust", trust])[1]
    assert "ANOTHER ORDER" not in run_text([package])[1]
    record = tmp_path / "record"
    record.write_bytes(opening(world()))
    said = run_text(["--opening", record, "--trust", tmp_path / "other.json"])[1]
    assert said.split("\n")[1] == f"  checkpoint.origin | opening {record} | {both}"


@pytest.mark.parametrize(
    ("start", "until", "said"),
    [
        (T0, None, "from 2026-01-09T23:06:40Z (inclusive)"),
        (T0, T0 + 1, "from 2026-01-09T23:06:40Z (inclusive) until 2026-01-09T23:06:40.000001Z (exclusive)"),
    ],
)
def test_the_text_of_a_period(tmp_path: Path, start: int, until: int | None, said: str) -> None:
    query = query_of(dimension="account", value="account:1", **{"from": start}, until=until)
    assert (
        f"\nperiod     {said}; undated records too\n" in run_text(files(Draft(world(), query), tmp_path))[1]
    )


def test_no_text_of_a_query_makes_a_line_of_its_own(tmp_path: Path) -> None:
    hostile = "u1\nVALID, strength A\x1b[2J" + "x" * 500
    query = query_of(dimension="account", value=hostile, redact={"text": "a", "raw\nhits": "b"})
    text = run_text(files(Draft(world(), query), tmp_path))[1]
    assert 'query      account = "u1\\nVALID, strength A\\x1b[2Jxxx' in text
    assert "redact     raw\\nhits (b), text (a)\n" in text
    assert not [line for line in text.split("\n")[1:-2] if line.startswith(("VALID", "hits (b)"))]


def test_what_is_kept_back_is_counted_by_code() -> None:
    counts = {"privilege": [1, 0], "abuse": [0, 2]}
    assert scelle_verify.code_lines("withheld", "{} records, {} contents", counts) == [
        "withheld   abuse: 0 records, 2 contents",
        "           privilege: 1 records, 0 contents",
    ]


def test_a_package_whose_question_and_origin_cannot_be_read_says_so() -> None:
    report = {"query": None, "query_logged": False, "query_by": "producer"}
    assert scelle_verify.query_lines(report) == [
        "query      none that can be read",
        "           logged by the platform: no",
    ]
    assert scelle_verify.log_lines("k", None, 0, None) == [
        "kind       k",
        "order      unknown",
        "vault      unknown",
        "log        None",
        "checkpoint 0 entries, root None",
    ]
    assert scelle_verify.aligned([("a", "b" * 401)]) == ["a          " + "b" * 400 + ".."]


def test_the_text_of_a_release_on_the_platforms_word(tmp_path: Path) -> None:
    log = world(authority=None, more=lambda log: log.release("release", signed=False))
    code, text = run_text(files(Draft(log, query_of()), tmp_path))
    assert code == 0
    assert "\nrelease    entry 12, on the platform's word\n" in text
    assert "\nattested   by nobody whom the trust file names\n" in text


def test_segments_left_out_and_searched_for_undated_records_rest_on_the_manifest(tmp_path: Path) -> None:
    text = run_text(files(Draft(world(), query_of(until=T0 - 100 * HOUR)), tmp_path))[1]
    assert lines_after(text, "segments")[:2] == [
        "segments   3 touched = 0 searched + 1 searched for undated records only + 1 left out + "
        "0 not searchable + 1 empty",
        "           left out on the manifest's word: 2 of 3",
    ]


def test_three_equal_digests_of_the_verifier(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.members["scelle_verify.py"] = FILE.read_bytes()
    draft.trust |= {"verifier_sha256": RUNNING}
    text = run_text(files(draft, tmp_path))[1]
    assert lines_after(text, "verifier   running") == [
        f"verifier   running    {RUNNING}",
        f"verifier   trust_file {RUNNING}",
        f"verifier   in_package {RUNNING}",
        "           all the same; this proves nothing by itself",
    ]


def test_a_verifier_that_cannot_read_itself_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = files(Draft(world(), query_of()), tmp_path)
    monkeypatch.setattr(scelle_verify, "__file__", str(tmp_path / "gone"))
    assert run(arguments).document["verifier"]["running"] == "unknown"


def test_a_gap_closed_by_an_entry_without_an_end(tmp_path: Path) -> None:
    gap = f"scelle/gap/v1\norder {ORDER}\nsource s0001\ninterval {T0} -\ncause restart\nlost-at-most 0\ncloses 6\n"
    text = run_text(files(Draft(world(extra={"gap": [gap]}), query_of()), tmp_path))[1]
    assert (
        "gap        s0001, 2026-01-09T23:06:40Z to entry 7 (closed), cause restart, lost at most 0\n" in text
    )


def test_names_from_keys_are_escaped(tmp_path: Path) -> None:
    """A key may have any printable name; the text is ASCII all the same, and nothing else is changed."""
    witness = make_key("t\u00e9moin~\\.example/w", 4, "t\u00e9moin")
    draft = Draft(world(), query_of())
    draft.checkpoint = draft.log.checkpoint(keys=[LOG1, LOG6, witness])
    draft.trust |= {"cosigners": [witness.vkey]}
    text = run_text(files(draft, tmp_path))[1]
    assert "attested   2026-01-09T23:06:40Z, size 12, by t\\xe9moin~\\.example/w (cosigner)\n" in text
    assert text.isascii()


def test_the_document_is_ascii_too(tmp_path: Path) -> None:
    draft = Draft(world(), query_of(value="caf\u00e9"))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert scelle_verify.main([*map(str, files(draft, tmp_path)), "--json"]) == 0
    assert out.getvalue().isascii()
    assert json.loads(out.getvalue())["query"]["value"] == "caf\u00e9"


# -- one record alone -------------------------------------------------------------------------------------


def opened(tmp_path: Path, data: bytes, *more: object) -> tuple[int, str]:
    """Examine the opening of one record; return exit code and text."""
    (tmp_path / "record").write_bytes(data)
    (tmp_path / "trust.json").write_bytes(canonical(world().trust()) + b"\n")
    return run_text(["--opening", tmp_path / "record", "--trust", tmp_path / "trust.json", *more])


FIELDS = {
    "time": "2026-01-09T19:06:40Z",
    "seq": "1",
    "account": "account:2",
    "model": "m-1",
    "text": "two",
    "picture": f"sha256:{sha(PICTURE).hex()} size:15",
    "raw": "base64:" + b64(b"\xe1raw two"),
}


def test_the_text_of_an_opening(tmp_path: Path) -> None:
    code, text = opened(tmp_path, opening(world()))
    assert code == 0
    assert text == (
        "VALID: this record was sealed in this log; nothing is said of any other\n"
        "\n"
        "kind       proof of one record (scelle/opening/v1)\n"
        "order      o-1\n"
        "vault      platform.example\n"
        "log        platform.example/po/o-1\n"
        "source     s0001\n"
        "seq        1\n"
        "fields\n" + "".join(f"  {name:<7}  {value}\n" for name, value in FIELDS.items())
    )


def test_an_opening_in_the_place_of_a_package_is_known_by_its_first_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = opened(tmp_path, opening(world()))
    record, trust = str(tmp_path / "record"), str(tmp_path / "trust.json")
    assert run_text([record, "--trust", trust]) == whole
    other = tmp_path / "other"
    other.write_bytes(opening(world()).replace(b"@v1", b"@v2", 1))
    assert run_text([other, "--trust", trust])[0] == 2
    with pytest.raises(SystemExit) as stop:
        scelle_verify.main([record, "--opening", record, "--trust", trust])
    assert stop.value.code == 2
    assert "give a package, or --opening FILE" in capsys.readouterr().err


def test_the_document_of_an_opening(tmp_path: Path) -> None:
    code, text = opened(tmp_path, opening(world()), "--json")
    assert code == 0
    assert json.loads(text) == {
        "valid": True,
        "findings": [],
        "record": {"source": "s0001", "seq": 1, "fields": FIELDS},
    }


@pytest.mark.parametrize("field", range(2, 7))
def test_a_redacted_field_of_an_opening(field: int, tmp_path: Path) -> None:
    log = world()
    entry = log.segments["chat0"].records[1]
    fields: list[Any] = [[entry.field_salt(j).hex(), b64(data)] for j, data in enumerate(entry.values)]
    fields[field] = entry.field_leaf(field).hex()
    code, text = opened(tmp_path, opening(log, record_changes={"v": fields}), "--json")
    name = list(FIELDS)[field]
    assert code == 0
    assert json.loads(text)["record"]["fields"] == FIELDS | {name: "(redacted)"}


def test_an_opening_from_a_later_segment(tmp_path: Path) -> None:
    code, text = opened(tmp_path, opening(world(), "chat2", 1), "--json")
    assert code == 0
    assert json.loads(text)["record"]["seq"] == 8


def test_an_opening_that_is_not_valid(tmp_path: Path) -> None:
    forged = opening(world(), proof=[])
    finding = {
        "code": "proof.shape",
        "subject": f"opening {tmp_path / 'record'}",
        "detail": "path is too short",
    }
    code, text = opened(tmp_path, forged)
    assert code == 1
    assert text == "NOT VALID\n  {code} | {subject} | {detail}\n".format(**finding)
    code, text = opened(tmp_path, forged, "--json")
    assert code == 1
    assert json.loads(text) == {"valid": False, "findings": [finding], "record": {}}


def test_an_opening_without_a_trust_file(tmp_path: Path) -> None:
    opened(tmp_path, opening(world()))
    finding = {"code": "trust.none", "subject": "--trust", "detail": "no trust file: nothing is proven"}
    code, text = run_text(["--opening", tmp_path / "record"])
    assert code == 1
    assert text == "NOT VALID\n  {code} | {subject} | {detail}\n".format(**finding)
    code, text = run_text(["--opening", tmp_path / "record", "--json"])
    assert code == 1
    assert json.loads(text) == {"valid": False, "findings": [finding], "record": {}}


def test_the_document_of_an_opening_is_ascii(tmp_path: Path) -> None:
    name = tmp_path / "enregistr\u00e9"
    name.write_bytes(opening(world(), proof=[]))
    opened(tmp_path, b"")
    code, text = run_text(["--opening", name, "--trust", tmp_path / "trust.json", "--json"])
    assert code == 1
    assert text.isascii()
    assert "enregistr\\\\xe9" in text


ACCENT = Schema(
    "accent", ("source", "account"), (("time", "t"), ("seq", "i"), ("account", "s"), ("caf\u00e9", "s"))
)


def test_what_an_opening_shows_is_escaped(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        values = value("s", "account:1"), value("s", "\u00e9t\u00e9")
        log.segment("accent", "s0008", ACCENT, [record("accent", T0, 0, *values)])

    log = world(more=more)
    code, text = opened(tmp_path, opening(log, "accent", 0, checkpoint=log.checkpoint()), "--json")
    assert code == 0
    fields = json.loads(text)["record"]["fields"]
    assert fields == {
        "time": "2026-01-09T23:06:40Z",
        "seq": "0",
        "account": "account:1",
        "caf\\xe9": "\\xe9t\\xe9",
    }


# -- usage and errors -------------------------------------------------------------------------------------


def test_help_names_every_option_and_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        scelle_verify.main(["--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: scelle-verify [-h] ")
    for phrase in (
        "Check a Scell\u00e9 production package, offline, with this one file.",
        "package the package, NAME.scelle",
        "--trust FILE trust.json, as you were given it at the beginning",
        "--query FILE query.json, the question you asked",
        "--held CHECKPOINT a checkpoint you hold",
        "--promise FILE a promise you hold",
        "--opening FILE check a proof of one record instead of a package",
        "--write-loadfile FILE write a CSV load file from the proven bytes",
        "--json print one JSON document and nothing else",
        "Exit code: 0 valid; 1 not valid; 2 a file named here, or the output, cannot be read or written.",
    ):
        assert phrase in said, phrase


def test_a_wrong_command_line_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["a", "--opening", "b"]):
        with pytest.raises(SystemExit) as stop:
            scelle_verify.main(arguments)
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert said.endswith("\nscelle-verify: error: give a package, or --opening FILE\n")


def test_a_package_that_cannot_be_opened_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad_disk(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    arguments = files(Draft(world(), query_of()), tmp_path)
    advice = "name a file that exists and that you may read"
    gone = tmp_path / "gone"
    for package, why in ((gone, "No such file or directory"), (arguments[0], "Input/output error")):
        verdict = run([package, *arguments[1:]])
        assert (verdict.exit_code, verdict.document) == (2, {})
        assert verdict.error == f"scelle-verify: cannot read package {package}: {why}; {advice}\n"
        monkeypatch.setattr(scelle_verify.Package, "read_at", bad_disk)


class Endless(io.RawIOBase):
    """A device that never ends; whoever asks it for everything would wait and fill the memory for ever."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            raise MemoryError
        return bytes(size)


def test_a_file_without_end_is_read_to_the_limit_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = files(Draft(world(), query_of()), tmp_path)
    monkeypatch.setattr(scelle_verify, "open", lambda *_: Endless(), raising=False)
    verdict = run(arguments)
    assert verdict.exit_code == 2
    assert verdict.error.endswith(f"trust file {arguments[2]}: longer than 1048576 bytes\n")


# -- the load file ----------------------------------------------------------------------------------------


PAIR = Schema(
    "pair",
    ("source", "account"),
    (("time", "t"), ("seq", "i"), ("account", "s"), ("left", "h"), ("right", "h"), ("size", "i")),
)
LEFT, RIGHT = b"left", b"right"


def pair(log: Log) -> None:
    """Add a source whose records have two contents each."""
    log.items |= {sha(LEFT): LEFT, sha(RIGHT): RIGHT}
    values = value("s", "account:1"), content_of(LEFT), content_of(RIGHT), value("i", -7)
    log.segment("pair", "s0007", PAIR, [record("pair", T0, 0, *values)])


def load_file(draft: Draft, tmp_path: Path) -> bytes:
    out = tmp_path / "load.csv"
    assert judge(draft, tmp_path, "--write-loadfile", out).findings == []
    return out.read_bytes()


def test_a_load_file_byte_for_byte(tmp_path: Path) -> None:
    data = load_file(Draft(world(more=pair), query_of(value="s0007", redact={"account": "x"})), tmp_path)
    assert (
        data
        == (
            '"source","log index","position","items","time","seq","account","left","right","size"\r\n'
            '"s0007","12","0","items/T-0000001.bin items/T-0000002.bin","2026-01-09T23:06:40Z","0","(redacted)",'
            f'"sha256:{sha(LEFT).hex()} size:4","sha256:{sha(RIGHT).hex()} size:5","-7"\r\n'
        ).encode()
    )


def test_a_load_file_has_the_fields_of_all_schemas(tmp_path: Path) -> None:
    """A field that a record's schema does not have is an empty cell of its row."""
    query = query_of(dimension="account", value="account:1")
    log = world(more=pair)
    data = load_file(Draft(log, query), tmp_path).decode()
    header, *rows = csv.reader(io.StringIO(data, newline=""))
    fields = (s.schema.fields for s in log.segments.values())
    names = list(dict.fromkeys(name for schema in fields for name, _ in schema))
    assert header == ["source", "log index", "position", "items", *names]
    seen = {row[0]: dict(zip(names, row[4:], strict=True)) for row in rows}
    assert set(seen) == {"s0001", "s0002", "s0004/1", "s0004/2", "s0007"}
    assert seen["s0002"] | {"time": "", "seq": ""} == dict.fromkeys(names, "") | {
        "account": "account:1",
        "tries": "1",
    }
    shown = [name for name, cell in seen["s0007"].items() if cell]
    assert shown == ["time", "seq", "account", "left", "right", "size"]


def test_a_load_file_is_the_same_on_any_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system that writes Latin-1 and its own ends of lines, it is UTF-8 and CR LF all the same."""

    def elsewhere(path: str, mode: str = "r", encoding: str | None = None, newline: str | None = None) -> Any:
        if "b" in mode:
            return Path(path).open(mode)
        return Path(path).open(
            mode, encoding=encoding or "latin-1", newline="\r\n" if newline is None else newline
        )

    def more(log: Log) -> None:
        values = value("s", "account:1"), value("s", "\u00e9t\u00e9")
        log.segment("accent", "s0008", ACCENT, [record("accent", T0, 0, *values)])

    monkeypatch.setattr(scelle_verify, "open", elsewhere, raising=False)
    data = load_file(Draft(world(more=more), query_of(value="s0008")), tmp_path)
    lines = data.decode("utf-8").split("\r\n")
    assert lines[1:] == ['"s0008","12","0","","2026-01-09T23:06:40Z","0","account:1","\u00e9t\u00e9"', ""]


def test_an_interruption_passes_a_load_file_that_cannot_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(io.StringIO):
        """A file on a share that is gone: closing it fails."""

        def close(self) -> None:
            raise OSError(5, "Input/output error")

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    def refusing(path: str, mode: str = "r", **options: Any) -> Any:
        return Stuck() if mode == "x" else Path(path).open(mode, **options)

    arguments = [*files(Draft(world(), query_of()), tmp_path), "--write-loadfile", tmp_path / "out.csv"]
    monkeypatch.setattr(scelle_verify, "open", refusing, raising=False)
    monkeypatch.setattr(scelle_verify.Examination, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(arguments)


def test_who_attested_an_older_state(tmp_path: Path) -> None:
    """Times put to an older checkpoint are listed with its size, beside those of the newest."""
    log = world()
    draft = Draft(log, query_of())
    draft.checkpoint = log.checkpoint(keys=[LOG1, LOG6, WITNESS, AUTHORITY])
    draft.trust |= {"cosigners": [WITNESS.vkey], "quorum": 1}
    held = tmp_path / "held"
    held.write_bytes(log.checkpoint(5, keys=[LOG1, LOG6, WITNESS], time=T0 // 10**6 - 60))
    document = judge(draft, tmp_path, "--held", held).document
    assert [tuple(line.values()) for line in document["attestations"]] == [
        (WITNESS.name, "cosigner", 12, "2026-01-09T23:06:40Z"),
        (AUTHORITY.name, "authority", 12, "2026-01-09T23:06:40Z"),
        (WITNESS.name, "cosigner", 5, "2026-01-09T23:05:40Z"),
    ]


def test_counts_of_tombstones_and_of_empty_segments(tmp_path: Path) -> None:
    def more(log: Log) -> None:
        for position in (0, 1, 3):
            log.erase(f"erase{position}", log.segments["chat0"], position)
        log.segment("login1", "s0002", LOGIN, [], profile=0)
        log.segment("login2", "s0002", LOGIN, [login(5, T0, "account:1", 1)], profile=0)

    query = query_of(dimension="account", value="account:1")
    document = judge(Draft(world(more=more), query), tmp_path).document
    assert document["findings"] == []
    assert document["tombstones"] == {"consent": 3, "letter": 0, "order": 0, "release": 0}
    assert document["segments"]["empty"] == 2


def test_records_may_be_withheld(tmp_path: Path) -> None:
    withhold = {("chat0", 1): "privilege", ("chat2", 0): "secret"}
    document = judge(Draft(world(), query_of(), withhold=withhold), tmp_path).document
    assert document["findings"] == []
    assert document["hits"] == {"all": 9, "produced": 7, "withheld": 2, "erased": 0, "erased_edge": 0}
    assert document["fields"] == {"all": 49, "open": 49, "redacted": 0, "redacted_not_asked": 0}
    withhold |= {("chat0", 2): "privilege"}
    text = run_text(files(Draft(world(), query_of(), withhold=withhold), tmp_path))[1]
    assert "\nwithheld   privilege: 2 records, 0 contents of other records\n" in text
    assert "\n           secret: 1 records, 0 contents of other records\n" in text


def test_contents_may_be_withheld(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    for line in draft.records:
        if line["item"]:
            line["item"] = {}
            draft.withheld.append({"at": line["at"], "code": "abuse", "field": "picture", "pos": line["pos"]})
    draft.items.clear()
    document = judge(draft, tmp_path).document
    assert document["findings"] == []
    assert document["contents"] == {"all": 2, "delivered": 0, "withheld": 2}
    text = run_text(files(draft, tmp_path))[1]
    assert "\nwithheld   abuse: 0 records, 2 contents of other records\n" in text


def test_a_redaction_that_was_not_asked_for_is_counted_under_its_own_code(tmp_path: Path) -> None:
    draft = Draft(world(), query_of(redact={"text": "privacy"}))
    text = run_text(files(draft, tmp_path))[1]
    assert "\nredacted   privacy: 9 fields of 9 records\n" in text
    line = next(line for line in draft.withheld if line["field"] == "text")
    draft.withheld.remove(line)
    assert "privacy: 9 fields of 9 records" in run_text(files(draft, tmp_path))[1]
    draft.query["redact"] = {}
    draft.withheld = [each for each in draft.withheld if each["field"] != "text"]
    text = run_text(files(draft, tmp_path))[1]
    assert "redacted   -: 9 fields of 9 records\n" in text


def test_who_asked_and_of_which_order_the_trust_is(tmp_path: Path) -> None:
    package, _, trust, *_ = files(Draft(world(), query_of()), tmp_path)
    assert "\n           as the producer states it; logged by" in run_text([package, "--trust", trust])[1]
    alone = files(Draft(world(), query_of(order="o-2")), tmp_path)[0]
    assert "the query is of order o-2, the package's policy of order o-1" in run_text([alone])[1]


def test_a_package_whose_origin_cannot_be_read_is_not_said_to_be_of_another_order(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.raw_edit = lambda data: data.replace(b"scelle/package/v1", b"scelle/package/v2")
    code, text = run_text(files(draft, tmp_path))
    assert code == 1
    assert "ANOTHER ORDER" not in text


def test_one_line_keeps_what_is_plain_and_cuts_what_is_long() -> None:
    assert scelle_verify.one_line(" a\\b'~\x7f\n") == " a\\b'~\\x7f\\n"
    assert scelle_verify.one_line("x" * 400) == "x" * 400
    assert scelle_verify.one_line("x" * 401) == "x" * 400 + ".."
