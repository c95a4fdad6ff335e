import shutil
from pathlib import Path

import pytest

from scelle.errors import OrderUnknown, VaultTooNew
from scelle.fsck import service
from scelle.fsck.model import FINDINGS, REMARKS, Finding, record_range, runs, shown_name

from .support import (
    ORDER,
    START_US,
    Made,
    add_document,
    add_order,
    codes,
    flip,
    make_vault,
    only,
    writing,
)


def test_a_vault_as_it_was_made_is_valid(made: Made) -> None:
    report = made.verify()
    assert report.valid
    assert report.findings == report.remarks == ()
    assert (report.orders, report.segments, report.records, report.records_of) == (1, 4, 7, 7)
    assert (report.contents, report.packs, report.sampled, report.sampling) == (5, 1, None, None)
    assert report.bytes == sum(map(len, (b"a red boat\n" * 20, b"a harbour\n" * 30, bytes(2048)))) + 18


def test_the_json_document_has_what_the_issue_asks_for(made: Made) -> None:
    (made.path / "packs" / "stray").write_bytes(b"x")
    document = made.verify().to_json()
    assert document["valid"] is False
    assert document["findings"] == [
        {"code": "vault.stray", "subject": "packs/stray", "detail": "it is no pack and no pack's keys"}
    ]
    assert {
        "orders",
        "segments",
        "records",
        "contents",
        "bytes",
        "packs",
        "sampled",
        "seconds",
    } < document.keys()


def test_nothing_in_the_vault_is_changed(made: Made) -> None:
    def state() -> dict[Path, tuple[int, int, bytes]]:
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
            for path in made.path.rglob("*")
        }

    before = state()
    made.verify()
    assert state() == before


@pytest.mark.parametrize("has_catalog", [True, False])
def test_the_catalog_decides_nothing(made: Made, has_catalog: bool) -> None:
    flip(made.segment() / "rows", 100)
    if not has_catalog:
        (made.path / "catalog.db").unlink()
    report = made.verify()
    assert codes(report) == ["segment.frame", "segment.records"]
    expected = {"content.unnamed"} | (set() if has_catalog else {"catalog.missing"})
    assert {remark.code for remark in report.remarks} == expected


def test_no_catalog_is_no_fault(made: Made) -> None:
    (made.path / "catalog.db").unlink()
    report = made.verify()
    assert report.valid
    assert (report.records, report.contents) == (7, 5)


def test_several_processes_find_the_same(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "WORTH_A_PROCESS_BYTES", 0)
    add_order(made, order="o-2")
    assert made.verify(workers=3).valid
    for path in ("po/o-1/seg/s0001/0/rows", "po/o-2/log/checkpoint", "po/o-2/seg/scelle.events/1/keys"):
        flip(made.path / path, 40)
    alone, together = made.verify(), made.verify(workers=3)
    assert not alone.valid
    assert together.findings == alone.findings
    assert together.records == alone.records


def test_all_damage_is_named_at_once(made: Made) -> None:
    hurt = [
        path for path in made.path.rglob("*") if path.is_file() and path.name in ("rows", "index", "tree")
    ]
    hurt += [made.log() / "checkpoint", made.order() / "secrets", made.path / "vault.json"]
    for path in hurt:
        flip(path, 5)
    report = made.verify()
    for path in hurt:
        assert any(str(path.relative_to(made.path)) in finding.subject for finding in report.findings), path


def test_damaged_secrets_do_not_hide_a_damaged_row(made: Made) -> None:
    flip(made.order() / "secrets", 30)
    assert codes(made.verify()) == ["order.secrets"]
    flip(made.segment() / "tree", 200)
    assert codes(made.verify()) == ["order.secrets", "segment.tree"]


def test_one_order_alone(made: Made) -> None:
    add_order(made, {"docs/z.txt": b"only here\n"}, order="o-2")
    flip(made.segment() / "rows", 60)
    assert not made.verify(order=ORDER).valid
    report = made.verify(order="o-2")
    assert report.valid
    assert (report.orders, report.records, report.contents) == (1, 4, 2)


def test_one_order_says_nothing_of_what_only_others_need(made: Made) -> None:
    """A content that only another order names is neither counted nor a finding (ledger.md §1)."""
    add_order(made, {"docs/z.txt": b"only here\n" * 500}, order="o-2")
    pack = max((made.path / "packs").rglob("*.pack"), key=lambda path: path.stat().st_mtime_ns)
    flip(pack, 150)
    assert not made.verify(order="o-2").valid
    report = made.verify(order=ORDER)
    assert report.valid
    assert report.contents == 5
    assert "o-2" not in str(report)
    assert "content.unnamed" not in {remark.code for remark in report.remarks}


def test_an_order_that_is_not_there_is_refused(made: Made) -> None:
    with pytest.raises(OrderUnknown):
        made.verify(order="o-9")


def test_a_newer_vault_is_refused(made: Made) -> None:
    path = made.path / "vault.json"
    path.write_bytes(path.read_bytes().replace(b"scelle/vault/v1", b"scelle/vault/v2"))
    with pytest.raises(VaultTooNew):
        made.verify()


def test_a_sample_says_that_it_is_one(made: Made) -> None:
    report = made.verify(sample=2)
    assert report.valid
    assert (report.sampled, report.records, report.records_of) == (2, 2, 7)
    assert report.sampling == "sampled 2 of 7 records: not a verification of the rest"
    assert "catalog.unread" in {remark.code for remark in report.remarks}


def test_a_sample_of_everything_finds_what_is_wrong(made: Made) -> None:
    flip(next((made.path / "packs").rglob("*.pack")), 400)
    report = made.verify(sample=1000)
    assert report.records == 7
    assert "pack.damaged" in codes(report)
    assert codes(report).count("content.missing") == 4


def test_a_sample_compares_kept_hashes(made: Made) -> None:
    flip(made.segment() / "tree", 3)
    assert "segment.tree" in codes(made.verify(sample=7))


def test_progress_is_told(made: Made) -> None:
    told: list[tuple[str, int, int]] = []
    made.verify(progress=lambda *step: told.append(step))
    assert [step for step, _, _ in told] == ["logs", *["records"] * 4, "contents"]
    assert all(done <= of for _, done, of in told)
    assert told[-1][1] == told[-1][2]


def test_a_fault_of_ours_hides_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("scelle.fsck.segments.Examination._index_blocks", broken)
    flip(made.log() / "tile/0/000.p/8", 3)
    report = made.verify()
    assert codes(report) == ["log.tile", *["fault"] * 4]
    assert "ZeroDivisionError" in report.findings[1].detail


@pytest.mark.parametrize(
    "place",
    [
        "logs.examine_log",
        "packs.WantTable.numbers_of",
        "rows.RowJudge.judge",
        "catalog._faults",
        "plan.OrderPlan.places",
    ],
)
def test_no_exception_escapes(made: Made, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("oops")

    module = "service" if place == "logs.examine_log" else place.split(".")[0]
    monkeypatch.setattr(f"scelle.fsck.{module}.{place.split('.', 1)[1]}", broken)
    report = made.verify()
    assert "fault" in codes(report)


def test_recovery_is_checked_as_far_as_it_can_be(tmp_path: Path) -> None:
    recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    made = make_vault(tmp_path, {"a": b"a"}, recipients=[recipient])
    report = made.verify()
    assert report.valid
    assert [remark.code for remark in report.remarks] == ["vault.recovery"]
    flip(made.path / "recovery.age", 50)
    assert only(made.verify(), "vault.config").subject == "recovery.age"
    (made.path / "recovery.age").unlink()
    assert only(made.verify(), "vault.config").subject == "recovery.age"


def test_a_vault_without_orders_is_valid(made: Made) -> None:
    shutil.rmtree(made.path / "po")
    shutil.rmtree(made.path / "packs")
    (made.path / "catalog.db").unlink()
    report = made.verify()
    assert report.valid
    assert (report.orders, report.records) == (0, 0)


def test_documents_kept_by_digest_need_no_content(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/in-place.txt", b"it stays where it is\n", keep=False)
        packs.sync()
        ledger.seal(START_US + 30)
    report = made.verify()
    assert report.valid, report.findings
    assert [remark.code for remark in report.remarks] == ["content.digest_only"]


def test_every_code_used_is_documented(made: Made) -> None:
    source = "".join(path.read_text() for path in Path(service.__file__).parent.glob("*.py"))
    elsewhere = {"log.gone", "event.unasked", "event.unread", "event.unfinished"}  # bootstrap finds these
    elsewhere |= {"promise.broken", "promise.unread"}
    for code in (FINDINGS.keys() | REMARKS.keys()) - elsewhere:
        assert source.count(f'"{code}"') >= 2, f"{code} is never found"


def test_names_are_shown_without_steering_a_terminal() -> None:
    assert shown_name("docs/mére.txt") == "docs/mére.txt"
    assert shown_name("a\x1b[2Jb\nc\udcff") == "a\\x1b[2Jb\\nc\\udcff"
    assert len(shown_name("x" * 5000)) < 300


def test_runs_join_neighbours() -> None:
    assert list(runs([])) == []
    assert list(runs([3])) == [(3, 4)]
    assert list(runs([1, 2, 3, 7, 8, 11])) == [(1, 4), (7, 9), (11, 12)]
    assert record_range(4, 5) == "record 4"
    assert record_range(4, 9) == "records 4 to 8"


def test_a_finding_is_an_object_of_three_texts() -> None:
    assert Finding("a", "b", "c").to_json() == {"code": "a", "subject": "b", "detail": "c"}


def test_every_code_is_in_the_page_about_verify() -> None:
    page = Path(__file__).parents[3].joinpath("docs/verify.md").read_text(encoding="utf-8")
    findings, remarks = page.split("## Findings")[1].split("## Remarks")
    remarks = remarks.split("## What is not established")[0]
    for codes_, text in ((FINDINGS, findings), (REMARKS, remarks)):
        rows = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
        named = [code for row in rows for code in row.replace("`", "").replace(" ", "").split(",")]
        assert sorted(named) == sorted(codes_)
