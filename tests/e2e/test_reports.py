"""Reports through the command line: from a real order's log to pages and data, and what is refused."""

import json
import re
import sys
import zlib
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scelle.bootstrap import KeyChoice, opened
from scelle.bootstrap.reporting import read_report
from scelle.formats.entries import Count
from scelle.ledger.events import events, record_event
from scelle.release.certificate import Check, certificate
from scelle.reports.wording import Language, texts
from tests.integration.two_people import let_go

from .conftest import ORDER, Platform

pytest.importorskip("typst", reason="pages need typst (extra `reports`)")

WHILE_HELD = ("acknowledgement", "order-status", "gaps", "erasures", "custody", "processing", "dpia")


@pytest.fixture
def sealed(ordered: Platform) -> Platform:
    """Return an order with a pass and a production."""
    ordered.document("gone.txt", b"a ferry\n")
    (ordered.docs / "dangling").symlink_to("nowhere")
    ordered("preserve", ORDER, "--json")
    ordered("produce", ORDER, "--source", "docs", "--to", ordered.root / "p.scelle")
    return ordered


def item_of(platform: Platform) -> str:
    found = platform("find", ORDER, 'native = "a.txt"', "--json").json["items"]
    return str(found[0]["id"])


def more(platform: Platform, name: str) -> tuple[str, ...]:
    return ("--item", item_of(platform)) if name == "custody" else ()


def data_of(platform: Platform, name: str, *arguments: str) -> dict[str, Any]:
    return platform("report", name, ORDER, "--json", *more(platform, name), *arguments).json


def log_size(platform: Platform) -> int:
    return int(platform("status", ORDER, "--json").json["orders"][0]["log_size"])


def parts(report: dict[str, Any], section: str) -> list[dict[str, Any]]:
    return [part for each in report["sections"] if each["section"] == section for part in each["parts"]]


def rows(report: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = [part for each in report["sections"] for part in each["parts"] if part.get("table") == key]
    return list(found[0]["rows"])


def fact(report: dict[str, Any], key: str) -> Any:
    every = [*report["facts"], *(part for each in report["sections"] for part in each["parts"])]
    return next(each["value"] for each in every if each.get("fact") == key)


def attached(pdf: bytes) -> Iterator[bytes]:
    for match in re.finditer(rb"(?<!end)stream\r?\n", pdf):
        try:
            yield zlib.decompressobj().decompress(pdf[match.end() : pdf.index(b"endstream", match.end())])
        except zlib.error:
            continue


# --- pages and data --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHILE_HELD)
def test_a_report_is_made_in_both_languages_from_the_same_data(sealed: Platform, name: str) -> None:
    before = data_of(sealed, name)
    for lang in ("en", "fr"):
        file = sealed.root / f"{name}.{lang}.pdf"
        said = sealed("report", name, ORDER, "--lang", lang, "--to", file, *more(sealed, name)).out
        pdf = file.read_bytes()
        assert pdf.startswith(b"%PDF-1.7")
        assert sha256(pdf).hexdigest() in said
        data = [each for each in attached(pdf) if each.startswith(b'{"at":')]
        assert len(data) == 1
        inside = json.loads(data[0])
        assert [each["section"] for each in inside["sections"]] == [
            each["section"] for each in before["sections"]
        ]
        assert sha256(data[0]).hexdigest() in said
    assert "solo" in before["notices"]
    assert "seal" in before["notices"]


def test_a_json_file_is_the_data_and_its_digest_is_sealed(sealed: Platform) -> None:
    size, file = log_size(sealed), sealed.root / "status.json"
    printed = sealed("report", "order-status", ORDER, "--lang", "fr", "--to", file, "--json").json
    data = file.read_bytes()
    assert json.loads(data) == printed
    with opened(sealed.vault, KeyChoice(key_file=sealed.root / "keys"), writing=False) as session:
        made = list(events(session.order_ledger(ORDER), "report"))
    assert [event.body for event in made] == [
        {
            "name": "order-status",
            "lang": "fr",
            "file": "status.json",
            "data_sha256": sha256(data).hexdigest(),
            "file_sha256": sha256(data).hexdigest(),
        }
    ]
    assert log_size(sealed) == size + 1
    assert sealed("verify", "--json").json["valid"]


def test_both_languages_at_once_are_of_the_same_data(sealed: Platform) -> None:
    size, file = log_size(sealed), sealed.root / "state.pdf"
    both = ("report", "order-status", ORDER, "--lang", "both", "--to")
    assert "end both.json in .pdf" in sealed(*both, sealed.root / "both.json", code=2).err
    said = sealed(*both, file).out
    files = [sealed.root / f"state.{lang}.pdf" for lang in ("en", "fr")]
    data = [
        next(each for each in attached(path.read_bytes()) if each.startswith(b'{"at":')) for path in files
    ]
    assert data[0] == data[1]
    assert said.count(sha256(data[0]).hexdigest()) == 2
    with opened(sealed.vault, KeyChoice(key_file=sealed.root / "keys"), writing=False) as session:
        made = [event.body for event in events(session.order_ledger(ORDER), "report")]
    assert [(body["lang"], body["file"]) for body in made] == [("en", "state.en.pdf"), ("fr", "state.fr.pdf")]
    assert {body["data_sha256"] for body in made} == {sha256(data[0]).hexdigest()}
    assert log_size(sealed) == size + 1
    files[0].unlink()
    assert "there already" in sealed(*both, file, code=2).err
    assert not files[0].exists(), "nothing is written where one of the files is there"


def test_an_order_without_its_own_day_takes_effect_on_receipt(sealed: Platform) -> None:
    value = fact(data_of(sealed, "acknowledgement"), "effective")
    assert value == {"term": "effective.on-receipt", "code": "on-receipt"}
    assert texts(Language.ENGLISH)["effective.on-receipt"].startswith("receipt")
    assert texts(Language.FRENCH)["effective.on-receipt"].startswith("à la réception")


def test_data_alone_seal_nothing(sealed: Platform) -> None:
    size = log_size(sealed)
    sealed("report", "order-status", ORDER, "--json")
    assert log_size(sealed) == size


def test_every_count_is_that_of_the_log_and_every_reference_leads_to_it(sealed: Platform) -> None:
    report = data_of(sealed, "order-status")
    with opened(sealed.vault, KeyChoice(key_file=sealed.root / "keys"), writing=False) as session:
        ledger = session.order_ledger(ORDER)
        counts = {at: entry for at, entry in enumerate(ledger.entries) if isinstance(entry, Count)}
        by_seq = {event.seq: event.kind for event in events(ledger)}
        checkpoint = {"log": ledger.origin, "size": ledger.log.size, "root": ledger.log.root.hex()}
    assert report["checkpoints"] == [checkpoint]
    row = rows(report, "counts")[0]
    evidence = [report["evidence"][number - 1] for number in row["evidence"]]
    count = counts[evidence[0]["index"]]
    assert row["offered"] == {"number": count.offered}
    for name in ("sealed", "failed", "excluded", "lost"):
        assert row[name] == {"count": getattr(count, name), "of": count.offered}
    buckets = sum(row[name]["count"] for name in ("sealed", "failed", "excluded", "lost"))
    assert buckets == count.offered > 0
    for each in report["evidence"]:
        if each.get("source") == "scelle.events":
            assert by_seq[each["seq"]] == each["what"]
        assert 0 <= each["index"] < checkpoint["size"]


def test_item_zero_is_acknowledged_by_its_digest_and_the_clock_in_all_readings(platform: Platform) -> None:
    (platform.root / "order.pdf").write_bytes(b"%PDF-1.7 an invented order\n")
    terms = {"type": '"us-2703f"', "document": '"order.pdf"', "notify": '"forbidden"'}
    platform("order", "add", platform.order_file(without=["until"], **terms))
    report = data_of(platform, "acknowledgement")
    paper = rows(report, "papers")[0]
    digest = sha256(b"%PDF-1.7 an invented order\n").hexdigest()
    assert paper["sha256"] == {"code": digest}
    assert report["evidence"][paper["evidence"][0] - 1]["sha256"] == digest
    readings = rows(report, "readings")
    assert len({row["ends"]["end"] for row in readings}) == len(readings) > 1
    assert fact(report, "keep-until") == {"end": max(row["ends"]["end"] for row in readings)}
    assert fact(report, "act-by") == {"end": min(row["ends"]["end"] for row in readings)}
    assert fact(report, "notify") == {"term": "notify.forbidden", "code": "forbidden"}
    platform("report", "acknowledgement", ORDER, "--lang", "fr", "--to", platform.root / "a.pdf")


def test_the_chain_of_an_item_is_whole(sealed: Platform) -> None:
    item = item_of(sealed)
    sealed("disclose", ORDER, item, "--to", sealed.root / "one.proof")
    report = data_of(sealed, "custody")
    assert fact(report, "item") == {"code": item}
    assert fact(report, "native-id") == {"text": "a.txt"}
    assert fact(report, "content-sha256") == {"code": sha256(b"a red boat\n").hexdigest()}
    index = fact(report, "log-index")["number"]
    assert index < report["checkpoints"][0]["size"]
    acts = [row["event"]["term"] for row in rows(report, "handed-over")]
    assert acts == ["event.production", "event.disclosure"]
    assert {"claim": "say.seen-by-nobody", "params": {}, "evidence": []} in parts(report, "custody-of-log")
    (sealed.root / "escrow").mkdir()
    sealed("order", "escrow", ORDER, "--to", sealed.root / "escrow")
    claims = [part.get("claim") for part in parts(data_of(sealed, "custody"), "custody-of-log")]
    assert "say.existed-before" in claims


def test_an_erasure_that_is_deferred_is_told_with_its_ground(platform: Platform) -> None:
    platform("source", "add", "hers", f"files://{platform.docs}", "--account", "u3")
    platform.clauses.append('[[clause]]\nid = "all"\nsources = ["hers"]\n')
    platform("order", "add", platform.order_file())
    platform("preserve", ORDER, "--json")
    platform("erasure", "request", "--account", "u3", "--reference", "DSR-7", "--json")
    report = data_of(platform, "erasures")
    row = rows(report, "erasure-requests")[0]
    assert row["ground"] == {"term": "ground.17(3)(b)", "code": "17(3)(b)"}
    assert row["items"] == {"number": 2}
    assert {"text": "DSR-7"} in row["request"]["lines"]
    assert rows(report, "erasure-answers")[0]["answered"] is None
    assert "internal" in report["notices"]
    assert "u3" not in json.dumps(report)


# --- an order over time ----------------------------------------------------------------------------------


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def record(platform: Platform, time: str, kind: str, body: dict[str, Any]) -> None:
    """Seal an event of the order as if it had happened at that time."""
    choice = KeyChoice(key_file=platform.root / "keys")
    with opened(platform.vault, choice, writing=True) as session:
        ledger = session.order_writer(ORDER)
        record_event(ledger, us(time), "operator-1", kind, body)
        ledger.seal(us(time))


def report_at(platform: Platform, name: str, time: str) -> dict[str, Any]:
    """Return a report as it is made at that time."""
    choice = KeyChoice(key_file=platform.root / "keys")
    with opened(platform.vault, choice, writing=False, clock=lambda: us(time)) as session:
        return read_report(session, name, ORDER).to_json()


def test_days_without_an_order_are_told_as_such(ordered: Platform) -> None:
    lapsed = report_at(ordered, "order-status", "2027-01-05T12:00:00+00:00")
    assert fact(lapsed, "state")["term"] == "state.lapsed"
    assert fact(lapsed, "holds") == {"term": "answer.yes"}
    ground = report_at(ordered, "erasures", "2027-01-05T12:00:00+00:00")
    assert fact(ground, "ground-now")["code"] == "none: no order in force"
    until = ["2027-12-31", us("2027-12-31T23:00:00+00:00")]
    body = {"until": until, "document": None, "reference": None, "without": None}
    record(ordered, "2027-01-08T09:00:00+00:00", "extended", body)
    report = report_at(ordered, "order-status", "2027-01-09T12:00:00+00:00")
    assert fact(report, "state")["term"] == "state.in-force"
    found = [(row["interval"]["term"], row["span"]) for row in rows(report, "intervals")]
    assert found == [
        ("interval.in-force", {"from": "2026-01-08T14:00:00Z", "until": "2026-12-31T23:00:00Z"}),
        ("interval.without", {"from": "2026-12-31T23:00:00Z", "until": "2027-01-08T09:00:00Z"}),
        ("interval.in-force", {"from": "2027-01-08T09:00:00Z", "until": "2027-12-31T23:00:00Z"}),
    ]


@pytest.mark.parametrize("found", [0, 1])
def test_a_disposal_is_certified_as_it_was_sealed(ordered: Platform, found: int) -> None:
    request = let_go(ordered, ORDER, us("2027-02-01T09:00:00+00:00"))
    body = certificate(
        order=ORDER,
        request=request,
        ground="lifted",
        begun_us=us("2027-03-01T09:00:00+00:00"),
        finished_us=us("2027-03-01T09:05:00+00:00"),
        plan={"records": 12, "segments": 3, "contents": 7},
        destroyed={"records": 12, "segments": 3, "contents": 7 - found},
        kept={"log_size": 9, "log_until_us": str(us("2032-03-01T09:00:00+00:00"))},
        productions=1,
        checks=[Check("contents", 7, found)],
        erasures={"requests": 2, "items": 5},
    )
    record(ordered, "2027-03-01T09:05:00+00:00", "disposed", body)
    report = report_at(ordered, "disposal", "2027-03-02T09:00:00+00:00")
    destroyed = {
        row["what"]["code"]: (row["destroyed"]["count"], row["destroyed"]["of"])
        for row in rows(report, "destroyed")
    }
    assert destroyed == {"contents": (7 - found, 7), "records": (12, 12), "segments": (3, 3)}
    assert rows(report, "read-back")[0]["found-after-all"] == {"count": found, "of": 7}
    claims = [part.get("claim") for part in parts(report, "disposal")]
    assert ("say.not-confirmed" if found else "say.read-back") in claims
    assert [part["claim"] for part in parts(report, "limits-of-proof")] == [
        "say.limit-storage",
        "say.limit-handed-over",
        "say.limit-shared",
        "say.limit-log",
    ]
    assert fact(report, "log-until") == {"time": "2032-03-01T09:00:00Z"}


def test_no_report_of_an_order_names_another(sealed: Platform) -> None:
    sealed(
        "order", "add", sealed.order_file("second.toml", id='"secret-7"', reference='"FR-S"', matter='"m-2"')
    )
    sealed("preserve", "secret-7", "--json")
    for name in WHILE_HELD:
        said = json.dumps(data_of(sealed, name))
        assert "secret-7" not in said
        assert "FR-S" not in said


# --- drafts ----------------------------------------------------------------------------------------------


def test_gaps_are_a_draft_until_counsel_releases_what_they_say(sealed: Platform) -> None:
    draft = data_of(sealed, "gaps")
    assert draft["draft"]
    first = sealed.root / "draft.pdf"
    assert "a draft" in sealed("report", "gaps", ORDER, "--to", first).out
    assert "is released" in sealed("report", "gaps", ORDER, "--release").out
    assert "already" in sealed("report", "gaps", ORDER, "--release").out
    released = data_of(sealed, "gaps")
    assert not released["draft"]
    assert parts(released, "gaps") == [
        {**part, "evidence": part.get("evidence", [])} if "claim" in part else part
        for part in parts(draft, "gaps")
    ]
    assert "a draft" not in sealed("report", "gaps", ORDER, "--to", sealed.root / "released.pdf").out


def test_what_is_lost_later_makes_it_a_draft_again(sealed: Platform) -> None:
    sealed("report", "gaps", ORDER, "--release")
    assert not data_of(sealed, "gaps")["draft"]
    sealed.docs.rename(sealed.root / "away")
    sealed("preserve", ORDER, "--json", code=4)
    report = data_of(sealed, "gaps")
    assert report["draft"]
    assert rows(report, "gaps")[0]["cause"] == {
        "term": "cause.source-unreachable",
        "code": "source-unreachable",
    }
    assert {
        "claim": "say.gaps-open",
        "params": {"n": {"number": 1}, "open": {"number": 1}},
        "evidence": [],
    } in parts(report, "gaps")


# --- refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("order-status", "nope", "--to", "{root}/x.pdf"), "no order"),
        (("order-status", ORDER), "give --to"),
        (("order-status", ORDER, "--to", "{root}/x.docx"), "end the name in .pdf or .json"),
        (("order-status", ORDER, "--to", "{root}/docs/a.json"), "is there already"),
        (("order-status", ORDER, "--to", "{root}/gone/x.pdf"), "no such folder"),
        (("order-status", ORDER, "--to", "{root}/vault/x.pdf"), "inside the vault"),
        (("order-status", ORDER, "--to", "{root}/x.pdf", "--item", "i" * 27), "--item is for"),
        (("order-status", ORDER, "--release"), "--release is for"),
        (("custody", ORDER, "--to", "{root}/x.pdf"), "give --item"),
        (("custody", ORDER, "--to", "{root}/x.pdf", "--item", "i" + "a" * 26), "has sealed no item"),
        (("disposal", ORDER, "--to", "{root}/x.pdf"), "nothing was disposed of"),
        (("status", ORDER, "--to", "{root}/x.pdf"), "NAME"),
        (("order-status", ORDER, "--lang", "de", "--to", "{root}/x.pdf"), "--lang"),
    ],
)
def test_what_is_refused_changes_nothing(sealed: Platform, arguments: tuple[str, ...], words: str) -> None:
    sealed.document("a.json", b"mine")
    size, there = log_size(sealed), sorted(sealed.root.glob("*"))
    answer = sealed("report", *(text.format(root=sealed.root) for text in arguments), code=2)
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""
    assert log_size(sealed) == size
    assert sorted(sealed.root.glob("*")) == there
    assert (sealed.docs / "a.json").read_bytes() == b"mine"


def test_without_typst_there_are_no_pages_and_the_data_all_the_same(
    sealed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    size = log_size(sealed)
    answer = sealed("report", "gaps", ORDER, "--to", sealed.root / "x.pdf", code=2)
    assert "pip install 'scelle[reports]'" in answer.err
    assert answer.err.count("\n") == 1
    assert log_size(sealed) == size
    sealed("report", "gaps", ORDER, "--to", sealed.root / "x.json")
    assert json.loads((sealed.root / "x.json").read_bytes())["report"] == "gaps"
    assert sealed("report", "gaps", ORDER, "--json").json["draft"]


def test_names_of_items_are_for_those_who_may_read_content(sealed: Platform) -> None:
    item = item_of(sealed)
    for name, role in (("alice", "counsel"), ("bob", "auditor"), ("eve", "engineer")):
        sealed("operator", "add", name, "--role", role)
    known, hidden = (
        sealed("--as", who, "report", "custody", ORDER, "--item", item, "--json").json
        for who in ("alice", "bob")
    )
    assert fact(known, "native-id") == {"text": "a.txt"}
    assert fact(hidden, "native-id") == {"term": "names.hidden"}
    assert "a.txt" not in json.dumps(hidden)
    assert "two-people" in hidden["notices"]
    assert "solo" not in hidden["notices"]
    refused = sealed("--as", "eve", "report", "gaps", ORDER, "--json", code=2)
    assert "may not make reports" in refused.err
    assert "may not" in sealed("--as", "bob", "report", "gaps", ORDER, "--release", code=2).err


def test_an_order_behind_a_wall_is_as_unknown_to_reports_as_one_that_is_not_there(sealed: Platform) -> None:
    for name, role in (("alice", "counsel"), ("bob", "auditor")):
        sealed("operator", "add", name, "--role", role)
    sealed("--as", "alice", "order", "wall", ORDER, "--only", "alice")
    there, missing = (
        sealed("--as", "bob", "report", "gaps", order, "--json", code=2).err for order in (ORDER, "nope")
    )
    assert there.replace(ORDER, "nope") == missing


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    sealed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = sealed.root / "x.json"

    def racing(*arguments: Any) -> None:
        file.write_bytes(b"mine")
        record_event(*arguments)

    monkeypatch.setattr("scelle.bootstrap.reporting.record_event", racing)
    sealed("report", "gaps", ORDER, "--to", file, code=2)
    assert file.read_bytes() == b"mine"
    assert list(Path(sealed.root).glob(".*.part")) == []
