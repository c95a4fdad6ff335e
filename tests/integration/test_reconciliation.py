"""After a preview, `preserve` names every difference from it: real folders that change in between."""

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import make_platform, preserved
from tests.integration.test_record_passes import add_posts, line, take_in

from scelle.bootstrap import KeyChoice, opened
from scelle.capture import differences, reconcile
from scelle.cli import reconciliation
from scelle.ledger.events import events


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = make_platform(tmp_path, capsys, monkeypatch)
    made("init", made.vault, "--host", "platform.example", "--json")
    return made


@pytest.fixture
def folder(platform: Platform) -> Path:
    """Three files of ten posts each, under an order."""
    made = add_posts(platform)
    for at, name in enumerate("abc"):
        (made / f"{name}.jsonl").write_text("".join(line(n) for n in range(10 * at, 10 * at + 10)))
    take_in(platform, "posts")
    return made


def sealed(platform: Platform, kind: str) -> list[Any]:
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=False) as session:
        return list(events(session.order_ledger(ORDER), kind))


def by_unit(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["unit"]: each for each in found["differences"] if each["unit"] is not None}


def by_what(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{each['what']} {each['kind']}".strip(): each
        for each in found["differences"]
        if each["unit"] is None
    }


def test_without_a_preview_nothing_is_compared(platform: Platform, folder: Path) -> None:
    assert preserved(platform)["reconciliation"] is None
    assert sealed(platform, "pass.reconciled") == []


def test_what_did_not_change_has_no_difference(platform: Platform, folder: Path) -> None:
    platform("preview", ORDER)
    said = platform("preserve", ORDER).out
    assert "compared with the preview of " in said
    assert ": no difference in counts, bytes and times\n" in said
    found = preserved(platform)["reconciliation"]  # nor has the next pass, which finds everything sealed
    assert (found["count"], found["differences"]) == (0, [])
    assert found["growth"]["added"] == 0
    assert found["growth"]["covered"] == 30
    assert "all 30 that were covered, and this run added 0" in platform("preserve", ORDER).out


def test_growth_is_measured_beside_its_estimate(platform: Platform, folder: Path) -> None:
    (folder / "d.jsonl").write_text("".join(line(n) for n in range(100, 5000)))
    platform("preview", ORDER)
    growth = preserved(platform)["reconciliation"]["growth"]
    assert growth["added"] == growth["covered"]
    assert 0.7 < growth["measured_bytes"] / growth["estimated_bytes"] < 1.3


def test_units_that_grew_went_and_broke_are_named(platform: Platform, folder: Path) -> None:
    platform("preview", ORDER)
    with (folder / "a.jsonl").open("a") as file:
        file.write(line(100) + line(101))
    (folder / "b.jsonl").unlink()
    (folder / "c.jsonl").write_text("".join(line(n) for n in range(20, 29)) + "{no json}\n")
    (folder / "d.jsonl").write_text(line(200))
    report = preserved(platform, code=1)
    found = report["reconciliation"]
    units, whats = by_unit(found), by_what(found)
    assert set(units) == {"a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"}
    assert units["a.jsonl"]["why"] == [{"code": "records-more", "count": 2}]
    assert (units["a.jsonl"]["preview"]["offered"], units["a.jsonl"]["pass"]["offered"]) == (10, 12)
    assert (units["b.jsonl"]["pass"], units["b.jsonl"]["why"]) == (None, [{"code": "unit-gone"}])
    assert (units["c.jsonl"]["preview"]["failed"], units["c.jsonl"]["pass"]["failed"]) == (0, 1)
    assert (units["d.jsonl"]["preview"], units["d.jsonl"]["why"]) == (None, [{"code": "unit-new"}])
    assert (whats["offered"]["preview"], whats["offered"]["pass"]) == (30, report["offered"])
    assert (whats["covered"]["preview"], whats["covered"]["pass"]) == (30, report["sealed"])
    failed = next(each for name, each in whats.items() if name.startswith("failed"))
    assert "c.jsonl" in failed["why"][0]["names"][0]
    (event,) = sealed(platform, "pass.reconciled")
    assert json.loads(json.dumps(event.body)) == found
    assert found["pass"] == sealed(platform, "pass")[-1].body["pass"]
    assert found["preview"]["seq"] == sealed(platform, "preview")[-1].seq
    assert platform("verify", "--json").json["findings"] == []


def test_a_unit_that_cannot_be_read_is_named(platform: Platform, folder: Path) -> None:
    platform("preview", ORDER)
    (folder / "b.jsonl").unlink()
    (folder / "b.jsonl").symlink_to("b.jsonl")  # a loop: listed, and nobody can read it
    (folder / "x.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00 no gzip at all")
    found = preserved(platform, code=1)["reconciliation"]
    text = platform("preserve", ORDER, code=1).out
    assert "x.jsonl.gz" in by_unit(found)
    assert by_unit(found)["x.jsonl.gz"]["pass"]["cause"]
    assert "could not be read on now" in text


def test_what_failed_in_the_preview_and_is_mended_is_said(platform: Platform, folder: Path) -> None:
    (folder / "x.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00 no gzip at all")
    platform("preview", ORDER)
    (folder / "x.jsonl.gz").unlink()
    found = preserved(platform)["reconciliation"]
    (failed,) = [each for name, each in by_what(found).items() if name.startswith("failed")]
    assert (failed["preview"], failed["pass"], failed["why"]) == (
        1,
        0,
        [{"code": "failed-then", "names": ["x.jsonl.gz"]}],
    )
    assert by_unit(found)["x.jsonl.gz"]["pass"] is None


def test_periods_and_rules_are_compared(platform: Platform) -> None:
    folder = add_posts(platform)
    (folder / "a.jsonl").write_text("".join(line(n) for n in range(10)))
    clause = '[[clause]]\nid = "some"\nsources = ["posts"]\naccounts = ["u1", "u2"]\n'
    take_in(platform, "posts", clauses=clause)
    platform("preview", ORDER)
    with (folder / "a.jsonl").open("a") as file:
        file.write(line(27, user="u1") + line(11, user="u5"))
    whats = by_what(preserved(platform)["reconciliation"])
    assert whats["excluded account"]["pass"] == whats["excluded account"]["preview"] + 1
    assert whats["covered"]["pass"] == whats["covered"]["preview"] + 1
    assert int(whats["latest"]["pass"]) > int(whats["latest"]["preview"])
    assert "earliest" not in whats
    text = platform("preserve", ORDER).out
    assert (
        "posts: latest: preview 2026-01-10T10:00:00Z, pass 2026-01-28T11:00:00Z (the log names whole hours)"
        in text
    )


def test_documents_are_compared_by_their_counts_and_named_nowhere(platform: Platform) -> None:
    platform.document("a.txt", b"a red boat")
    platform.document("b.png", b"\x89PNG\r\n\x1a\n" + bytes(20))
    gone = platform.document("c.txt", b"a harbour")
    platform("source", "add", "docs", f"files://{platform.docs}")
    take_in(platform, "docs", clauses='[[clause]]\nid = "t"\nsources = ["docs"]\nmedia_types = ["text/*"]\n')
    platform("preview", ORDER)
    (event,) = sealed(platform, "preview")
    assert "a.txt" not in json.dumps(event.body)
    gone.unlink()
    whats = by_what(preserved(platform)["reconciliation"])
    assert (whats["offered"]["preview"], whats["offered"]["pass"]) == (3, 2)
    assert (whats["excluded media-type"]["preview"], whats["excluded media-type"]["pass"]) == (0, 1)
    assert whats["excluded media-type"]["why"] == [{"code": "in-doubt-then", "count": 3}]
    assert (whats["covered"]["preview"], whats["covered"]["pass"]) == (3, 1)


def test_every_reason_has_a_sentence_and_every_sentence_a_reason() -> None:
    given, texts = set(), set()
    for module in (differences, reconcile):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Constant):
                texts.add(node.value)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Why":
                given |= {each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)}
    known = set(reconciliation._REASONS)
    assert given <= known <= texts
