"""Make packages from real ledgers and let the shipped single-file verifier judge them."""

import csv
import errno
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.productions.ledgers import (
    AUTHORITY,
    HOUR_US,
    LOGIN,
    PROMPT,
    START_US,
    Sealed,
    Small,
    Verdict,
    lines,
    member,
    members,
    verify,
)

from scelle.errors import (
    ContentNotAsSealed,
    LogDamaged,
    PackageNameRefused,
    RecordNotAsSealed,
    RequestWrong,
    StorageError,
)
from scelle.formats.audits import AuditVerdict
from scelle.formats.index import Tagger
from scelle.formats.notes import ED25519, Note, Signature, make_vkey
from scelle.formats.packages import parse_proof_line, parse_record_line, parse_withheld_line
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import UNDATED
from scelle.formats.zips import read_canonical_zip
from scelle.ledger.rows import Row
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import Looked
from scelle.merkle.hashing import leaf_hash
from scelle.productions import items, ranges
from scelle.productions.model import (
    Delta,
    ProductionReport,
    RecordView,
    Request,
    Strength,
    Withholding,
    WithholdList,
    query_for,
)
from scelle.productions.previous import read_previous
from scelle.productions.service import check_production
from scelle.productions.trust import Cosigners, trust_for
from scelle.vault import durable

DAY_US = 24 * HOUR_US
UNUSED = replace(LOGIN, version=2)
"""The schema of a source that was looked at and had nothing: no package carries it."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def filled(small: Small) -> Small:
    """Hold two passes over documents, chats of a family and of profile 0, events and item zero."""
    fill(small)
    return small


def fill(small: Small) -> None:
    small.item_zero()
    small.event("received", {"by": "letter"})
    small.seal()
    for number in range(12):
        holder = None if number % 5 == 0 else f"custodian:staff-{number % 3}@example.org"
        time = START_US - 40 * DAY_US + (number * 7919 % 13) * DAY_US
        small.document("s0001", time, b"text %d" % number, f"notes/{number}.txt", holder)
    small.document("s0001", UNDATED, b"no date", "notes/undated.txt")
    small.seal()
    for number in range(9):
        account = f"account:{number % 3}"
        picture = b"picture %d" % number if number % 2 else None
        small.chat(
            "s0002/1", START_US - (number % 4) * DAY_US, account, f"text {number}", (picture, b"sketch")
        )
        small.login("s0002/2", -DAY_US * number, account)
        small.chat("s0003", UNDATED if number % 2 else 5, account, f"old {number}", profile=0)
    small.document("s0001", START_US, b"late", "notes/late.txt", None)
    small.seal(looked=[Looked("s0004", UNUSED)])


def answered(small: Small, request: Request, **options: Any) -> Verdict:
    """Log a request, answer it, and check that the verifier accepts it with the counts of the report."""
    small.ask(request)
    report = small.produce(request, **options)
    verdict = verify(small, request)
    assert verdict.exit_code == 0, verdict.report["findings"]
    hits = verdict.report["hits"]
    assert (report.hits, report.produced, report.withheld, report.erased) == (
        hits["all"],
        hits["produced"],
        hits["withheld"],
        hits["erased"],
    )
    contents = verdict.report["contents"]
    assert (report.contents, report.contents_withheld) == (contents["all"], contents["withheld"])
    assert report.fields_redacted == verdict.report["fields"]["redacted"]
    counts = {name: getattr(report.segments, name) for name in report.segments.__slots__}
    assert {"all": counts.pop("touched"), **counts} == verdict.report["segments"]
    assert verdict.report["query_logged"]
    package = (small.folder / "p.scelle").read_bytes()
    assert report.bytes == len(package)
    assert report.package_sha256 == sha256(package).hexdigest()
    assert report.members == len(members(small))
    return verdict


def expected(small: Small, request: Request) -> list[tuple[str, int]]:
    """Filter the records as naively as one can; undated ones are in every answer (ledger.md §7)."""

    def matches(record: Sealed) -> bool:
        if request.dimension == "source":
            same = record.alias == request.value or record.alias.rpartition("/")[0] == request.value
        elif request.dimension == "account":
            same = (record.account or "") == request.value
        else:
            same = record.native == request.value
        late_enough = request.from_us is None or record.time_us >= request.from_us
        early_enough = request.until_us is None or record.time_us < request.until_us
        return same and (record.time_us == UNDATED or (late_enough and early_enough))

    return sorted((record.alias, record.seq) for record in small.records if matches(record))


def produced(small: Small, name: str = "p.scelle") -> list[tuple[str, int]]:
    """Read from the load file which records a package shows."""
    rows = csv.DictReader(io.StringIO(member(small, "loadfile/documents.csv", name).decode(), newline=""))
    return sorted({(row["source"], int(row["seq"])) for row in rows})


REQUESTS = [
    Request("source", "s0001"),
    Request("source", "s0001", strength="C"),
    Request("source", "s0001", START_US - 33 * DAY_US, START_US - 30 * DAY_US),
    Request("source", "s0001", None, START_US - 35 * DAY_US),
    Request("source", "s0001", START_US - DAY_US, None),
    Request("source", "s0002"),
    Request("source", "s0002", strength="C"),
    Request("source", "s0002/2", -3 * DAY_US, 0),
    Request("source", "s0003"),
    Request("source", "s0003", strength="C"),
    Request("source", "s0003", 0, 10),
    Request("source", "s0003", 6, 10),
    Request("source", "scelle.order"),
    Request("source", "scelle.events"),
    Request("account", "account:1"),
    Request("account", "account:1", -5 * DAY_US, 6),
    Request("account", "custodian:staff-1@example.org"),
    Request("account", "custodian:staff-1@example.org", START_US - 33 * DAY_US, START_US - 31 * DAY_US),
    Request("account", ""),
    Request("account", "account:nobody"),
    Request("native", "notes/3.txt"),
    Request("native", "notes/undated.txt", 0, 1),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_every_kind_of_request_is_answered_completely(filled: Small, request_: Request) -> None:
    answered(filled, request_)

    assert produced(filled) == expected(filled, request_)


def test_a_whole_source_is_answered_at_strength_a_and_a_period_at_c(filled: Small) -> None:
    whole = answered(filled, Request("source", "s0001"))
    assert whole.report["strength"] == "A"
    assert all(set(line) == {"at", "whole"} for line in lines(filled, "proofs.jsonl"))
    (filled.folder / "p.scelle").unlink()

    period = answered(filled, Request("source", "s0001", 0))
    assert period.report["strength"] == "C"


def test_segments_outside_the_bounds_or_without_the_dimension_are_counted(
    filled: Small,
) -> None:
    verdict = answered(filled, Request("native", "notes/late.txt", START_US - DAY_US))

    segments = verdict.report["segments"]
    assert (segments["searched"], segments["undated_only"], segments["left_out"]) == (2, 1, 0)
    assert (segments["not_searchable"], segments["empty"]) == (4, 1)


def test_two_productions_of_the_same_are_equal_byte_for_byte(filled: Small) -> None:
    request = Request("account", "account:2", redact={"text": "privacy"})
    listed = WithholdList(places={}, natives={"notes/1.txt": "privilege"})
    filled.produce(request, "one.scelle", withhold=listed)
    filled.produce(request, "two.scelle", withhold=listed)
    filled.produce(request, "three.scelle", withhold=listed, first_number=2)

    first = (filled.folder / "one.scelle").read_bytes()
    assert first == (filled.folder / "two.scelle").read_bytes()
    assert first != (filled.folder / "three.scelle").read_bytes()


def test_the_package_has_exactly_the_members_of_the_specification(filled: Small) -> None:
    answered(filled, Request("source", "s0002", strength="C"), prefix="AB2", first_number=17)

    schemas = {entry.schema.hex() for _, entry in filled.ledger.manifests() if entry.records}
    assert set(members(filled)) == {
        "MANIFEST",
        "README.txt",
        "checkpoint",
        f"entries/000.p/{filled.ledger.log.size}",
        *(f"items/AB2-{number:07d}.bin" for number in range(17, 30)),
        "loadfile/documents.csv",
        "policy.json",
        "proofs.jsonl",
        "query.json",
        "records.jsonl",
        "scelle_verify.py",
        "withheld.jsonl",
        *(f"schemas/{digest}.json" for digest in schemas),
    }
    assert member(filled, "checkpoint") == filled.ledger.log.note
    assert b"\r" not in member(filled, "README.txt")
    with (filled.folder / "p.scelle").open("rb") as file:
        assert [info.path for info in read_canonical_zip(file)] == members(filled)


def test_every_line_reads_back_and_is_canonical(filled: Small) -> None:
    filled.produce(
        Request("source", "s0002", strength="C", redact={"ip": "privacy"}),
        withhold=Withholding(content=lambda record, name: "abuse-material" if name == "sketch" else None),
    )
    for path, parse in (
        ("proofs.jsonl", parse_proof_line),
        ("records.jsonl", parse_record_line),
        ("withheld.jsonl", parse_withheld_line),
    ):
        data = member(filled, path).splitlines(keepends=True)
        assert data
        for line in data:
            assert parse(line).encode() == line


def test_entries_over_one_bundle_are_covered_exactly(small: Small) -> None:
    small.document("s0001", START_US, b"x")
    small.seal()
    for number in range(256):
        small.ask(Request("source", "s0001", number))
    answered(small, Request("source", "s0001"))

    entries = [path for path in members(small) if path.startswith("entries/")]
    assert entries == ["entries/000", f"entries/001.p/{small.ledger.log.size - 256}"]


def test_the_report_is_one_json_document(filled: Small) -> None:
    report = filled.produce(Request("source", "s0001", None, START_US + DAY_US))
    document = json.loads(json.dumps(report.to_json()))

    assert (document["hits"], document["strength"], document["segments"]["touched"]) == (14, "C", 2)
    assert [finding["code"] for finding in document["findings"]] == ["source.open", "request.not_logged"]


def test_what_can_be_refused_is_refused_without_a_trace(filled: Small) -> None:
    def check(request: Request, name: str = "p.scelle", prefix: str = "SCL") -> bytes:
        out = filled.folder / name
        return check_production(filled.ledger, request, out=out, prefix=prefix, first_number=1).encode()

    request = Request("source", "s0001")
    assert check(request) == query_for(request, "o1").encode()
    for wrong in (
        (Request("source", "s0009"),),
        (Request("source", "s0001", redact={"texd": "privacy"}),),
        (request, "p.scelle", "scl"),
        (request, "missing/p.scelle"),
        (request, "vault"),
    ):
        with pytest.raises((RequestWrong, PackageNameRefused)):
            check(*wrong)
    assert leftovers(filled) == []


# --- what is kept back


def test_a_withheld_record_shows_its_index_entry_and_nothing_else(filled: Small) -> None:
    secret = b"text 7"
    listed = WithholdList(natives={"notes/7.txt": "privilege", "notes/other": "privilege"})
    for request in (Request("source", "s0001"), Request("source", "s0001", strength="C")):
        verdict = answered(filled, request, withhold=listed)

        assert verdict.report["hits"]["withheld"] == 1
        with ZipFile(filled.folder / "p.scelle") as archive:
            shown = b"".join(archive.read(name) for name in archive.namelist())
        assert secret not in shown
        assert b"notes/7.txt" not in shown
        assert sha256(secret).hexdigest().encode() not in shown
        (filled.folder / "p.scelle").unlink()
    report = filled.produce(Request("source", "s0001"), withhold=listed)
    assert [(each.code, each.subject) for each in report.findings if each.code.startswith("withhold")] == [
        ("withhold.no_hit", "notes/other")
    ]


def test_a_record_is_withheld_by_its_place(filled: Small) -> None:
    request = Request("source", "s0001", strength="C")
    at = next(index for index, entry in filled.ledger.manifests() if entry.source == "s0001")
    verdict = answered(filled, request, withhold=WithholdList(places={(at, 3): "privilege"}))

    assert verdict.report["hits"]["withheld"] == 1
    assert lines(filled, "withheld.jsonl") == [{"at": at, "code": "privilege", "field": None, "pos": 3}]


@pytest.mark.parametrize("strength", ["A", "C"])
def test_a_content_is_withheld_and_its_record_produced(filled: Small, strength: Any) -> None:
    listed = WithholdList(contents={"notes/7.txt": "abuse-material"})
    verdict = answered(filled, Request("source", "s0001", strength=strength), withhold=listed)

    assert verdict.report["contents"] == {"all": 14, "delivered": 13, "withheld": 1}
    (line,) = lines(filled, "withheld.jsonl")
    assert (line["code"], line["field"]) == ("abuse-material", "content")
    assert ("rc" in line) == (strength == "A")
    rows = list(csv.DictReader(io.StringIO(member(filled, "loadfile/documents.csv").decode(), newline="")))
    (row,) = [row for row in rows if row["native_id"] == "notes/7.txt"]
    assert (row["control_no"], row["native_path"], row["withheld"]) == ("", "", "abuse-material")


@pytest.mark.parametrize("strength", ["A", "C"])
def test_a_redacted_field_takes_raw_with_it_and_leaves_no_trace(filled: Small, strength: Any) -> None:
    request = Request("source", "s0002", redact={"text": "privacy"}, strength=strength)
    verdict = answered(filled, request)

    withheld = lines(filled, "withheld.jsonl")
    assert {(line["field"], line["code"]) for line in withheld} == {("raw", "raw"), ("text", "privacy")}
    assert len(withheld) == 18
    assert verdict.report["fields"]["redacted_not_asked"] == 0
    for path in ("records.jsonl", "loadfile/documents.csv", "proofs.jsonl"):
        assert b"text 1" not in member(filled, path)


def test_what_is_redacted_is_not_in_the_load_file_and_names_no_extension(filled: Small) -> None:
    names = ("native_id", "media_type", "content", "account")
    redact = dict.fromkeys(names, "privacy")
    verdict = answered(filled, Request("source", "s0001", redact=redact))

    text = member(filled, "loadfile/documents.csv").decode()
    assert "notes/" not in text
    assert "text/plain" not in text
    assert "staff" not in text
    assert sha256(b"text 3").hexdigest() not in text
    assert text.count("(redacted)") == 3 * 14
    assert verdict.report["contents"]["all"] == 0
    assert not [path for path in members(filled) if path.startswith("items/")]


def test_the_extension_does_not_betray_a_redacted_media_type(filled: Small) -> None:
    answered(filled, Request("source", "s0001", redact={"media_type": "privacy"}))

    assert {path[-4:] for path in members(filled) if path.startswith("items/")} == {".bin"}


@pytest.mark.parametrize("strength", ["A", "C"])
def test_a_record_of_profile_0_with_a_redacted_field_is_withheld_whole(filled: Small, strength: Any) -> None:
    request = Request("source", "s0003", redact={"text": "privacy"}, strength=strength)
    verdict = answered(filled, request)

    assert verdict.report["hits"]["withheld"] == 9
    assert {line["code"] for line in lines(filled, "withheld.jsonl")} == {"privacy"}
    assert member(filled, "records.jsonl") == b""


def test_contents_left_in_place_are_withheld_even_if_the_vault_has_them(small: Small) -> None:
    # the same bytes are there for another order's sake, which must not show
    small.contents.put(b"kept elsewhere")
    small.document("s0001", START_US, b"kept elsewhere", "a.txt", meta={"keep": "digest", "mode": 420})
    gone = small.document("s0001", START_US, b"in place only", "b.txt", meta={"keep": "digest"})
    small.document("s0001", START_US, b"delivered", "c.txt", meta={"headers": {"keep": "digest"}})
    del small.contents.by_digest[sha256(b"in place only").digest()]
    small.seal()
    verdict = answered(small, Request("source", "s0001"))

    assert gone.seq == 1
    assert verdict.report["contents"] == {"all": 3, "delivered": 1, "withheld": 2}
    assert {line["code"] for line in lines(small, "withheld.jsonl")} == {"kept-in-place"}


def test_a_reason_that_is_no_code_is_refused_and_leaves_nothing(filled: Small) -> None:
    with pytest.raises(RequestWrong, match="is no code"):
        filled.produce(Request("source", "s0001"), withhold=Withholding(record=lambda record: "Not A Code"))
    assert leftovers(filled) == []


def test_rules_see_the_record_that_they_judge(filled: Small) -> None:
    seen: list[tuple[int, int, str, int, object, str | None]] = []

    def rule(record: RecordView) -> str | None:
        seen.append((
            record.at, record.position, record.source, record.seq, record.value("native_id"), record.native,
        ))  # fmt: skip
        return None

    answered(filled, Request("native", "notes/4.txt"), withhold=Withholding(record=rule))
    ((at, position, source, seq, native_id, native),) = seen
    assert (source, seq, native_id, native) == ("s0001", 4, "notes/4.txt", "notes/4.txt")
    assert [(line["at"], line["pos"]) for line in lines(filled, "records.jsonl")] == [(at, position)]


# --- items and numbers


def test_items_are_numbered_in_the_order_of_the_package(filled: Small) -> None:
    report = filled.produce(Request("source", "s0002", strength="C"), first_number=41)
    named = [path for line in lines(filled, "records.jsonl") for _, path in sorted(line["item"].items())]

    assert named == [f"items/SCL-{number:07d}.bin" for number in range(41, 54)]
    assert report.next_number == 54
    assert report.first_number == 41


def test_the_same_content_in_two_records_is_two_items(small: Small) -> None:
    small.document("s0001", START_US, b"same", "a.txt")
    small.document("s0001", START_US, b"same", "b.txt")
    small.document("s0001", START_US, b"", "empty.txt")
    small.contents.by_digest.pop(sha256(b"").digest())  # nothing need be kept to know nothing
    small.seal()
    answered(small, Request("source", "s0001"))

    assert member(small, "items/SCL-0000001.txt") == member(small, "items/SCL-0000002.txt") == b"same"
    assert member(small, "items/SCL-0000003.txt") == b""


@pytest.mark.parametrize("strength", ["A", "C"])
def test_large_contents_stream(small: Small, monkeypatch: pytest.MonkeyPatch, strength: Any) -> None:
    monkeypatch.setattr(items, "SMALL_BYTES", 1000)
    large = os.urandom(300_000)
    small.document("s0001", START_US + 5, large, "large.bin", media_type="image/png")
    small.document("s0001", START_US, b"small", "small.txt")
    small.seal()
    whole_reads: list[bytes] = []
    read_bytes = small.contents.read_bytes

    def noted(digest: bytes) -> bytes:
        whole_reads.append(digest)
        return read_bytes(digest)

    monkeypatch.setattr(small.contents, "read_bytes", noted)
    answered(small, Request("source", "s0001", strength=strength))

    name = "items/SCL-0000001.png" if strength == "A" else "items/SCL-0000002.png"
    assert member(small, name) == large
    assert sha256(b"small").digest() in whole_reads


# --- many hits


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """Hold a segment of 10,500 records (two frames of rows, two of index), of three accounts."""
    made = Small(tmp_path_factory.mktemp("many"))
    for number in range(10_500):
        account = (
            "account:few" if number % 1000 == 0 else "account:none" if number % 7 == 0 else "account:most"
        )
        made.login("s0001", START_US - number * 7919 % 10_007, account)
    made.seal()
    yield made
    made.ledger.close()


def proof_shape(small: Small) -> list[tuple[int, bool]]:
    """Give of each line the number of hits and whether they carry paths."""
    return [(len(line["hits"]), any(hit[4] for hit in line["hits"])) for line in lines(small, "proofs.jsonl")]


def fresh(small: Small) -> Small:
    (small.folder / "p.scelle").unlink(missing_ok=True)
    return small


def test_a_line_that_shows_all_records_needs_no_paths(many: Small) -> None:
    answered(fresh(many), Request("source", "s0001", strength="C"))
    assert proof_shape(many) == [(10_500, False)]


def test_a_long_range_goes_over_several_lines_with_paths(many: Small) -> None:
    request = Request("source", "s0001", START_US - 10_000, START_US)
    answered(fresh(many), request)

    shape = proof_shape(many)
    assert [count for count, _ in shape[:-1]] == [4096] * (len(shape) - 1)
    assert sum(count for count, _ in shape) == len(expected(many, request)) > 10_000
    assert all(has_paths for _, has_paths in shape)


def test_too_many_records_for_one_line_get_paths_after_all(
    many: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "BARE_LINE_HITS", 10_499)
    answered(fresh(many), Request("source", "s0001", strength="C"))
    assert proof_shape(many) == [(4096, True), (4096, True), (2308, True)]


@pytest.mark.parametrize("account", ["account:few", "account:none", "account:most"])
def test_scattered_hits_are_found(many: Small, account: str) -> None:
    request = Request("account", account)
    answered(fresh(many), request)
    assert produced(many) == expected(many, request)


@pytest.mark.parametrize("differing", [0, 1, 2])
def test_neighbours_show_as_many_bytes_of_their_tag_as_it_takes(small: Small, differing: int) -> None:
    """Give accounts whose tags differ from the queried one first in byte `differing`: below it and above."""
    tagger = Tagger(small.ledger.secrets.tag_key)
    wanted = tagger.tag("account", "account:q")
    chosen: dict[bool, str] = {}
    for number in range(1_000_000):
        found = tagger.tag("account", f"account:{number}")
        if found[:differing] == wanted[:differing] and found[differing] != wanted[differing]:
            chosen.setdefault(found > wanted, f"account:{number}")
        if len(chosen) == 2:
            break
    for account in (*chosen.values(), "account:q"):
        small.login("s0001", START_US, account)
        small.login("s0002", START_US, account) if account != "account:q" else None
    small.seal()
    answered(small, Request("account", "account:q"))

    shown = [
        line[side][0] for line in lines(small, "proofs.jsonl") for side in ("left", "right") if line[side]
    ]
    assert len(shown) == 2 * len(chosen)
    assert {len(prefix) // 2 for prefix in shown} == {(1, 2, 16)[differing]}


# --- erased records (their files are as they were: only the log says so)


@pytest.fixture
def with_authority(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path, with_authority=True)
    for number in range(8):
        made.document("s0001", START_US + number * HOUR_US, b"text %d" % number, f"{number}.txt", "account:1")
    made.seal()
    yield made
    made.ledger.close()


def erase(small: Small, *numbers: int) -> None:
    """Erase documents whose place in X of each dimension is known: sorted by time, one account."""
    (_, manifest), *_ = small.ledger.manifests()
    reader = small.ledger.segment(manifest)
    natives = [key[-8:] for key in reader.index_keys(3)]
    for number in numbers:
        place = natives.index((number + 2**63).to_bytes(8, "big"))
        rc = reader.record_hashes()[32 * number : 32 * number + 32]
        small.erase(small.records[number], (number, 8 + number, 16 + place), rc)
    reader.close()


@pytest.mark.parametrize(
    "request_",
    [
        Request("source", "s0001"),
        Request("source", "s0001", strength="C"),
        Request("account", "account:1"),
        Request("source", "s0001", START_US + 3 * HOUR_US, START_US + 5 * HOUR_US - 1),
        Request("source", "s0001", START_US + 2 * HOUR_US, START_US + 3 * HOUR_US - 1),
        Request("account", "account:0"),
        Request("account", "account:9"),
    ],
    ids=str,
)
@pytest.mark.parametrize("numbers", [(0,), (7,), (2, 3, 5), tuple(range(8))], ids=str)
def test_erased_entries_are_shown_as_such(
    with_authority: Small, request_: Request, numbers: tuple[int, ...]
) -> None:
    erase(with_authority, *numbers)
    with_authority.now_us = START_US + 9 * HOUR_US  # so that the source is not open at the end of a period
    with_authority.seal(looked=[Looked("s0001", DOCUMENT_V1)])

    verdict = answered(with_authority, request_)
    shown = {seq for _, seq in produced(with_authority)}
    assert not shown & set(numbers)
    assert shown == {seq for _, seq in expected(with_authority, request_)} - set(numbers)
    if request_.is_whole_source:
        assert verdict.report["hits"]["erased"] == len(numbers)


# --- audits, tokens, cosigners


def audit_of(small: Small, indices: list[int]) -> tuple[bytes, Cosigners]:
    key = make_vkey("auditor.example", ED25519, AUTHORITY.public_key().public_bytes_raw())
    segments = tuple((at, leaf_hash(small.ledger.log.entries[at])) for at in indices)
    text = AuditVerdict(small.ledger.origin, segments).text()
    signature = Signature(key.name, key.key_id, AUTHORITY.sign(text))
    return Note(text, (signature,)).encode(), Cosigners((key,), 0)


def test_strength_b_embeds_the_auditors_verdict(filled: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request("account", "account:1", strength="B")
    filled.ask(request)
    audit, cosigners = audit_of(filled, [at for at, entry in filled.ledger.manifests() if entry.records])
    monkeypatch.setattr(filled, "trust", lambda: trust_for(filled.ledger, cosigners))
    filled.produce(request, audit=audit, cosigners=cosigners)

    verdict = verify(filled, request)
    assert verdict.exit_code == 0, verdict.report["findings"]
    assert verdict.report["strength"] == "B"


def test_a_verdict_that_does_not_fit_is_refused(filled: Small) -> None:
    request = Request("account", "account:1", strength="B")
    indices = [at for at, entry in filled.ledger.manifests() if entry.records]
    good, _ = audit_of(filled, indices)
    partial, _ = audit_of(filled, indices[:-1])
    of_genesis, _ = audit_of(filled, [0, *indices])
    foreign = good.replace(b"platform.example", b"platform.examplf")
    for audit, why in (
        (None, "needs an auditor's verdict"),
        (b"no note", "cannot be read"),
        (partial, "leaves out entry"),
        (of_genesis, "entry 0 is not the segment"),
        (foreign, "is on"),
    ):
        with pytest.raises(RequestWrong, match=why):
            filled.produce(request, audit=audit)
    assert leftovers(filled) == []


def test_a_quorum_that_nobody_can_meet_is_refused() -> None:
    with pytest.raises(RequestWrong, match="quorum"):
        Cosigners((), 1)


def test_tokens_that_anchors_name_and_those_over_the_checkpoint_are_shown(small: Small) -> None:
    folder = small.ledger.folder / "log" / "tokens"
    folder.mkdir()
    (folder / "1-aa.tsr").write_bytes(b"an older token")
    small.document("s0001", START_US, b"x")
    small.seal()
    (folder / "2-bb.tsr").write_bytes(b"a token that nothing names")
    request = Request("source", "s0001")
    small.ask(request)
    (folder / f"{small.ledger.log.size}-cc.tsr").write_bytes(b"the newest token")
    report = small.produce(request)

    verdict = verify(small, request)
    assert verdict.exit_code == 0, verdict.report["findings"]
    assert verdict.report["tokens"] == ["tokens/1-aa.tsr", f"tokens/{small.ledger.log.size}-cc.tsr"]
    assert report.findings == ()

    (folder / "1-aa.tsr").unlink()
    report = small.produce(request, "q.scelle")
    assert [each.code for each in report.findings] == ["segment.anchor"]


def test_a_token_whose_name_no_member_may_have_is_refused(filled: Small) -> None:
    with pytest.raises(RequestWrong, match="its name must be"):
        filled.produce(Request("source", "s0001"), tokens={"../x.tsr": b"x"})


def test_what_the_verifier_will_not_accept_is_said_before(filled: Small) -> None:
    request = Request("source", "s0001", START_US, START_US + 365 * DAY_US)
    filled.ask(request)
    report = filled.produce(request)
    verdict = verify(filled, request)

    assert verdict.codes == [each.code for each in report.findings] == ["source.open"]


def test_a_request_that_was_not_logged_is_noted(filled: Small) -> None:
    report = filled.produce(Request("source", "s0001"))
    assert [each.code for each in report.findings] == ["request.not_logged"]


# --- bad input, and faults of the store


@pytest.mark.parametrize(
    ("request_", "options", "why"),
    [
        (Request("source", "s0009"), {}, "has no source 's0009': it has s0001, "),
        (Request("source", "s000"), {}, "has no source"),
        (Request("colour", "red"), {}, "dimension 'colour'"),
        (Request("source", "s0001"), {"prefix": "scl"}, "prefix 'scl'"),
        (Request("source", "s0001"), {"prefix": "A" * 17}, "prefix"),
        (Request("source", "s0001"), {"prefix": ""}, "prefix"),
        (Request("source", "s0001"), {"first_number": 0}, "production number 0"),
        (Request("source", "s0001"), {"first_number": 10**18 - 5}, "production number"),
        (
            Request("source", "s0001", redact={"texd": "privacy"}),
            {},
            "no record of this answer has a field 'texd'",
        ),
        (Request("native", "notes/1.txt", redact={"native_id": "privacy"}), {}, "is a key field"),
        (Request("account", "\udcff"), {}, "no query.json"),
        (Request("source", "s0001", redact={"meta": "Not a code"}), {}, "has no code"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_and_leaves_nothing(
    filled: Small, request_: Request, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(RequestWrong, match=why):
        filled.produce(request_, **options)
    assert leftovers(filled) == []


def leftovers(small: Small) -> list[str]:
    return sorted(
        path.name for path in small.folder.iterdir() if path.name not in ("vault", "trust.json", "query.json")
    )


def test_nothing_is_overwritten(filled: Small) -> None:
    (filled.folder / "p.scelle").write_bytes(b"mine")
    (filled.folder / "link").symlink_to("nowhere")
    for name in ("p.scelle", "link", "vault"):
        with pytest.raises(PackageNameRefused, match="stays as it is"):
            filled.produce(Request("source", "s0001"), name)
    assert (filled.folder / "p.scelle").read_bytes() == b"mine"
    assert leftovers(filled) == ["link", "p.scelle"]


def test_a_missing_folder_is_refused(filled: Small) -> None:
    with pytest.raises(PackageNameRefused, match="no such folder"):
        filled.produce(Request("source", "s0001"), "missing/p.scelle")


def test_what_appears_meanwhile_is_not_overwritten(filled: Small) -> None:
    def intrude(stage: str, done: int, total: int) -> None:
        if stage == "package":
            (filled.folder / "p.scelle").write_bytes(b"mine")

    with pytest.raises(PackageNameRefused):
        filled.produce(Request("source", "s0001"), progress=intrude)
    assert (filled.folder / "p.scelle").read_bytes() == b"mine"
    assert leftovers(filled) == ["p.scelle"]


def test_what_a_killed_run_left_does_not_matter(filled: Small) -> None:
    (filled.folder / ".p.scelle.records.part").write_bytes(b"half a record")
    answered(filled, Request("source", "s0001"))
    assert leftovers(filled) == ["p.scelle"]


@pytest.mark.parametrize("strength", ["A", "C"])
@pytest.mark.parametrize("small_bytes", [3, 1 << 20])
def test_a_content_that_was_changed_is_never_produced(
    filled: Small, monkeypatch: pytest.MonkeyPatch, strength: Any, small_bytes: int
) -> None:
    monkeypatch.setattr(items, "SMALL_BYTES", small_bytes)
    request, digest = Request("source", "s0001", strength=strength), sha256(b"text 7").digest()
    for damaged in (b"text 8", b"text 77", b"", None):
        if damaged is None:
            del filled.contents.by_digest[digest]
        else:
            filled.contents.by_digest[digest] = damaged
        with pytest.raises(ContentNotAsSealed, match=r"record 7 of s0001 \('notes/7.txt'\)"):
            filled.produce(request)
        assert leftovers(filled) == []


def test_a_large_content_that_changes_between_its_two_readings_is_never_produced(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "SMALL_BYTES", 3)
    small.document("s0001", START_US, b"large enough")
    small.seal()
    readings: list[bytes] = []

    def read(digest: bytes) -> Iterator[bytes]:
        readings.append(digest)
        yield b"large enough" if len(readings) == 1 else b"large enougH"

    monkeypatch.setattr(small.contents, "read", read)
    with pytest.raises(Exception, match="its source changed"):
        small.produce(Request("source", "s0001"))
    assert leftovers(small) == []


def damage(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("offset", [0, -1])
def test_a_tree_that_was_changed_is_named(filled: Small, offset: int) -> None:
    damage(filled.ledger.folder / "seg" / "s0001" / "0" / "tree", offset)
    with pytest.raises(RecordNotAsSealed, match=r"s0001/0/tree.*run `scelle verify`"):
        filled.produce(Request("source", "s0001", strength="C"))
    assert leftovers(filled) == []


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        (Request("source", "s0001"), "record key"),
        (Request("source", "s0001"), "values"),
        (Request("source", "s0001", strength="C"), "record key"),
        (Request("source", "s0001", strength="C"), "index salt"),
        (Request("source", "s0001", strength="C"), "values"),
        (Request("native", "notes/6.txt"), "index salt"),  # the row is a neighbour
    ],
    ids=str,
)
def test_a_row_that_is_not_what_was_sealed_is_never_produced(
    filled: Small, monkeypatch: pytest.MonkeyPatch, request_: Request, place: str
) -> None:
    def changed(row: Row) -> Row:
        if row.seq != (7 if place != "index salt" or request_.dimension == "source" else neighbour):
            return row
        if place == "values":
            return replace(row, values=row.values.replace(b"text 7", b"texd 7").replace(b"mtime", b"mtimf"))
        key = bytearray(row.record_key)
        key[0 if place == "record key" else 31] ^= 1
        return replace(row, record_key=bytes(key))

    filled.produce(request_, "honest.scelle")
    (filled.folder / "honest.scelle").unlink()
    neighbour = beside(filled, "notes/6.txt")
    rows, row = SegmentReader.rows, SegmentReader.row
    monkeypatch.setattr(SegmentReader, "rows", lambda self: map(changed, rows(self)))
    monkeypatch.setattr(SegmentReader, "row", lambda self, seq: changed(row(self, seq)))
    with pytest.raises(RecordNotAsSealed, match="nothing was produced"):
        filled.produce(request_)
    assert leftovers(filled) == []


def beside(small: Small, native: str) -> int:
    """Return the sequence number of an entry beside that of a native id in the first segment of s0001."""
    manifest = next(entry for _, entry in small.ledger.manifests() if entry.source == "s0001")
    reader = small.ledger.segment(manifest)
    seqs = [int.from_bytes(key[-8:], "big") - 2**63 for key in reader.index_keys(3)]
    reader.close()
    seq = next(record.seq for record in small.records if record.native == native)
    return seqs[abs(seqs.index(seq) - 1)]


def refuse_writes_after(count: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Fill the disk after `count` writes of this process."""
    made, write = [0], os.write

    def limited(descriptor: int, data: Any) -> int:
        made[0] += 1
        if made[0] > count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(durable.os, "write", limited)  # type: ignore[attr-defined]
    return lambda: made[0]


def test_a_disk_that_fills_at_any_stage_leaves_nothing_behind(
    filled: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request("account", "account:1")
    for count in range(100):
        with monkeypatch.context() as patched:
            refuse_writes_after(count, patched)
            try:
                filled.produce(request)
            except StorageError:
                assert leftovers(filled) == []
                continue
        break
    assert count > 5
    assert verify(filled, request).codes == []


def test_the_package_gets_its_name_last(filled: Small) -> None:
    steps: list[tuple[str, str]] = []

    def note(step: durable.Step, when: str) -> None:
        if when == "after":
            steps.append((step.operation, step.path.name))

    with durable.observed(note):
        filled.produce(Request("source", "s0001"))

    assert steps[-3:] == [
        ("sync", ".p.scelle.package.part"),
        ("rename", "p.scelle"),
        ("sync-directory", filled.folder.name),
    ]
    assert "p.scelle" not in {name for _, name in steps[:-2]}


def test_the_report_is_told_before_the_package_appears(filled: Small) -> None:
    out = filled.folder / "p.scelle"
    told: list[tuple[bool, ProductionReport]] = []
    returned = filled.produce(
        Request("source", "s0001"), before_publishing=lambda report: told.append((out.exists(), report))
    )
    assert told == [(False, returned)]
    assert returned.package_sha256 == sha256(out.read_bytes()).hexdigest()
    out.unlink()

    def refuse(report: ProductionReport) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        filled.produce(Request("source", "s0001"), before_publishing=refuse)
    assert leftovers(filled) == []


def test_a_log_without_sources_has_no_answer(small: Small) -> None:
    with pytest.raises(RequestWrong, match="it has none yet"):
        small.produce(Request("source", "s0001"))


def test_progress_is_told_and_ends(filled: Small) -> None:
    told: list[tuple[str, int, int]] = []
    filled.produce(Request("source", "s0001"), progress=lambda *step: told.append(step))

    assert ("records", 14, 14) in told
    stage, done, total = told[-1]
    assert (stage, done) == ("package", total)


# --- whatever is asked of whatever is there

TIMES = st.sampled_from([UNDATED, UNDATED + 1, -DAY_US, -1, 0, 1, HOUR_US, START_US, 2**63 - 1])
ACCOUNTS = st.sampled_from([None, "", "account:1", "account:2", "custodian:a@example.org"])
RECORDS = st.lists(
    st.tuples(st.sampled_from(["s0001", "s0002/1", "s0002/2", "s0003"]), TIMES, ACCOUNTS), max_size=25
)
BOUNDS = st.sampled_from([None, UNDATED + 1, -DAY_US, 0, 1, 2, HOUR_US, START_US - 1, START_US])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    since, until = draw(BOUNDS), draw(BOUNDS)
    if since is not None and until is not None:
        since, until = min(since, until), max(since, until) + 1
    if draw(st.booleans()):
        alias = draw(st.sampled_from(["s0001", "s0002", "s0002/1", "s0003"]))
        strength: Strength | None = draw(st.sampled_from([None, "C"]))
        return Request("source", alias, since, until, strength=strength)
    return Request("account", draw(ACCOUNTS.map(lambda account: account or "")), since, until)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(RECORDS, min_size=1, max_size=3), asked=requests(), withheld=st.sets(st.integers(0, 30))
)
def test_any_request_is_answered_as_a_naive_filter_would(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[tuple[str, int, str | None]]],
    asked: Request,
    withheld: set[int],
) -> None:
    small = Small(tmp_path_factory.mktemp("random"))
    for batch in batches:
        for number, (alias, time, account) in enumerate(batch):
            if alias == "s0001":
                small.document(alias, time, b"%d" % number, f"{number}", account)
            elif alias == "s0002/1":
                small.login(alias, time, account)
            else:
                picture = b"picture %d" % number if number % 2 else None
                small.chat(alias, time, account, pictures=(picture, None), profile=int(alias != "s0003"))
        aliases = {alias for alias, _, _ in batch}
        small.seal(looked=[Looked(alias, DOCUMENT_V1) for alias in ("s0001",) if alias not in aliases])
    aliases = {entry.source for _, entry in small.ledger.manifests()}
    if asked.dimension == "source" and not any(
        a == asked.value or a.startswith(asked.value + "/") for a in aliases
    ):
        with pytest.raises(RequestWrong):
            small.produce(asked)
        return

    def rule(record: RecordView) -> str | None:
        return "privilege" if record.seq in withheld else None

    answered(small, asked, withhold=Withholding(record=rule))
    wanted = expected(small, asked)
    assert produced(small) == [(alias, seq) for alias, seq in wanted if seq not in withheld]
    small.ledger.close()


# --- any dimension, any schema


@pytest.fixture
def prompts(small: Small) -> Small:
    """Hold records with dimensions of their own, in both profiles, beside sources that lack them."""
    small.item_zero()
    for number in range(10):
        model = None if number == 7 else f"imagine-{number % 3}"
        small.prompt("s0001/1", START_US - number * DAY_US, f"account:u{number % 2}", model, f"p-{number}")
        small.prompt("s0002", START_US - number * DAY_US, "account:u1", model, f"o-{number}", profile=0)
    small.document("s0003", START_US, b"text")
    small.seal()
    small.prompt("s0001/1", UNDATED, "account:u9", "imagine-1", "p-late")
    small.seal()
    return small


@pytest.mark.parametrize(
    ("request_", "hits"),
    [
        (Request("model", "imagine-1"), 5),
        (Request("model", ""), 2),
        (Request("model", "imagine-1", START_US - 4 * DAY_US, START_US), 5),
        (Request("model", "imagine-9"), 0),
        (Request("surface", "web"), 21),
    ],
    ids=str,
)
def test_a_request_by_any_dimension_is_answered_completely(
    prompts: Small, request_: Request, hits: int
) -> None:
    prompts.seal(looked=[Looked("s0001/1", PROMPT), Looked("s0002", PROMPT, 0), Looked("s0003", DOCUMENT_V1)])
    verdict = answered(prompts, request_)
    assert verdict.report["hits"]["all"] == hits
    assert verdict.report["segments"]["not_searchable"] == 2


def test_what_cannot_be_searched_by_a_dimension_is_named(prompts: Small) -> None:
    request = Request("model", "imagine-1")
    prompts.ask(request)
    report = prompts.produce(request)
    assert report.not_searchable == ("s0003", "scelle.order")
    assert report.segments.not_searchable == 2
    text = member(prompts, "README.txt").decode()
    assert "2 not searchable by model" in text
    assert "no answer about s0003, scelle.order" in text
    assert prompts.produce(Request("account", "account:u1"), "q.scelle").not_searchable == ()


def test_fields_of_any_schema_are_redacted_by_name(prompts: Small) -> None:
    request = Request("model", "imagine-1", redact={"prompt": "personal-data"})
    verdict = answered(prompts, request)
    hits = verdict.report["hits"]
    assert (hits["all"], hits["produced"], hits["withheld"]) == (5, 3, 2)
    assert verdict.report["fields"]["redacted"] == 3
    withheld = lines(prompts, "withheld.jsonl")
    assert {(line["field"], line["code"]) for line in withheld} == {
        ("prompt", "personal-data"),
        (None, "personal-data"),
    }, "a record of profile 0 is withheld whole"
    assert b"a red boat" not in (prompts.folder / "p.scelle").read_bytes()


def test_a_redaction_that_fits_nothing_says_what_there_is(prompts: Small) -> None:
    with pytest.raises(RequestWrong, match=r"'promt'.*there are 'account'.*'prompt'"):
        prompts.produce(Request("source", "s0001", redact={"promt": "personal-data"}))
    with pytest.raises(
        RequestWrong, match="'modell': ask by one of 'account', 'model', 'native', 'source', 'surface'"
    ):
        prompts.produce(Request("modell", "imagine-1"))
    with pytest.raises(RequestWrong, match="field model is a key field"):
        prompts.produce(Request("model", "imagine-1", redact={"model": "personal-data"}))


def test_records_are_withheld_by_the_id_that_their_source_gave(prompts: Small) -> None:
    request = Request("model", "imagine-1")
    verdict = answered(prompts, request, withhold=WithholdList(natives={"p-4": "privilege", "o-1": "secret"}))
    hits = verdict.report["hits"]
    assert (hits["all"], hits["produced"], hits["withheld"]) == (5, 3, 2)
    assert {line["code"] for line in lines(prompts, "withheld.jsonl")} == {"privilege", "secret"}


@pytest.mark.parametrize(
    ("request_", "holders", "findings"),
    [
        (Request("account", "account:u1"), (), []),
        (Request("account", "account:u1", 5, 6), (), [("holder.unknown", "u1")]),
        (Request("account", "account:u7"), ("account:u8", "custodian:b"), [("holder.unknown", "u7")]),
        (Request("account", "account:u7"), ("account:u7",), []),
        (Request("account", "u1"), ("account:u1",), [("holder.unknown", "u1")]),
        (Request("model", "imagine-7"), (), [("value.unknown", "imagine-7")]),
        (Request("model", "imagine-1"), (), []),
        (Request("source", "s0001", 5, 6), (), []),
    ],
    ids=str,
)
def test_an_answer_without_a_hit_asks_to_compare_the_spelling(
    prompts: Small, request_: Request, holders: tuple[str, ...], findings: list[tuple[str, str]]
) -> None:
    prompts.ask(request_)
    report = prompts.produce(request_, holders=holders)
    assert [(each.code, each.subject) for each in report.findings] == findings
    for each in report.findings:
        assert "compare the spelling" in each.detail or "carry their kind" in each.detail
        assert ("there are u8" in each.detail) == ("account:u8" in holders)


# --- rolling productions


def test_what_came_since_an_earlier_package_is_said_and_proven(prompts: Small) -> None:
    request = Request("model", "imagine-1")
    answered(prompts, request)
    earlier = prompts.folder / "first.scelle"
    (prompts.folder / "p.scelle").rename(earlier)
    size, root = prompts.ledger.log.size, prompts.ledger.log.root.hex()
    prompts.prompt("s0001/1", START_US, "account:u1", "imagine-1", "p-new")
    prompts.prompt("s0001/1", START_US, "account:u1", "imagine-2", "p-other")
    prompts.document("s0003", START_US, b"text")
    prompts.seal()
    prompts.ask(request)

    report = prompts.produce(request, previous=read_previous(earlier))
    new = tuple(at for at, manifest in prompts.ledger.manifests() if at >= size)
    assert report.delta == Delta(size, root, True, new, 1, 0)
    text = member(prompts, "README.txt").decode()
    assert f"with {size} entries" in text
    assert "answers the same question" in text
    assert f"log index {new[0]}, {new[1]}" in text
    held = prompts.folder / "held"
    held.write_bytes(member(prompts, "checkpoint", "first.scelle"))
    verdict = verify(prompts, request, "p.scelle", "--held", str(held))
    assert verdict.exit_code == 0, verdict.report["findings"]

    def below(name: str) -> list[tuple[int, int]]:
        return [
            (line["at"], line["pos"]) for line in lines(prompts, "records.jsonl", name) if line["at"] < size
        ]

    assert below("first.scelle") == below("p.scelle")
    assert report.to_json()["delta"]["new_segments"] == new


def test_another_question_since_an_earlier_package_is_named_as_such(prompts: Small) -> None:
    answered(prompts, Request("model", "imagine-1"))
    earlier = prompts.folder / "first.scelle"
    (prompts.folder / "p.scelle").rename(earlier)
    request = Request("model", "imagine-2")
    prompts.ask(request)
    report = prompts.produce(request, previous=read_previous(earlier))
    assert report.delta is not None
    assert (report.delta.same_query, report.delta.new_segments, report.delta.new_hits) == (False, (), 0)
    assert "What was asked differs" in member(prompts, "README.txt").decode()


def test_erasures_since_an_earlier_package_are_counted(with_authority: Small) -> None:
    request = Request("account", "account:1")
    answered(with_authority, request)
    earlier = with_authority.folder / "first.scelle"
    (with_authority.folder / "p.scelle").rename(earlier)
    erase(with_authority, 2, 3)
    report = with_authority.produce(request, previous=read_previous(earlier))
    assert report.delta is not None
    assert (report.delta.erased_since, report.delta.new_hits, report.erased) == (2, 0, 2)


def test_a_package_that_is_no_earlier_one_is_refused(prompts: Small, tmp_path: Path) -> None:
    request = Request("model", "imagine-1")
    answered(prompts, request)
    (prompts.folder / "no.scelle").write_bytes(b"PK")
    for path in ("no.scelle", "gone.scelle"):
        with pytest.raises(RequestWrong, match="earlier package"):
            read_previous(prompts.folder / path)
    other = Small(tmp_path / "other")  # of the same name, and with keys and a log of its own
    other.item_zero()
    other.seal()
    previous = read_previous(prompts.folder / "p.scelle")
    with pytest.raises(RequestWrong, match="it is no earlier one"):
        other.produce(Request("source", "scelle.order"), previous=previous)
    for _ in range(20):
        other.seal(looked=[Looked("s0001", PROMPT)])
    with pytest.raises(LogDamaged, match="no beginning of this log"):
        other.produce(Request("source", "scelle.order"), previous=previous)
    foreign = replace(previous, checkpoint=replace(previous.checkpoint, origin="platform.example/po/o2"))
    with pytest.raises(RequestWrong, match="a package of"):
        other.produce(Request("source", "scelle.order"), previous=foreign)
    assert leftovers(other) == []
    other.ledger.close()
