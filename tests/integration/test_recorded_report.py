"""The status of an order says how each recorded surface stands, and what its counts were held against."""

from typing import Any

import pytest
from tests.integration.recorded_platform import Platform

from scelle.reports.wording import Language, texts

EVER = ("--from", "2020-01-01", "--to", "2040-01-01")


def generations(platform: Platform) -> list[dict[str, Any]]:
    report = platform.json("report", "order-status", "o-1")
    found = [each["parts"] for each in report["sections"] if each["section"] == "generations"]
    return list(found[0]) if found else []


def row(platform: Platform, surface: str = "web") -> dict[str, Any]:
    (table,) = (part for part in generations(platform) if "rows" in part)
    (found,) = (each for each in table["rows"] if each["surface"] == {"code": surface})
    return dict(found)


def test_nothing_is_counted_without_its_reconciliation(platform: Platform) -> None:
    assert generations(platform) == []
    proxy = platform.proxy("--allow-with-gap")
    proxy.generate("a red square")
    contents = platform.ai / "recorded/contents"
    contents.rename(platform.folder / "away")
    proxy.generate("x" * 200_000)
    (platform.folder / "away").rename(contents)
    proxy.end(code=1)
    platform.json("preserve", "o-1")
    counted, _, never = generations(platform)
    assert counted["params"]["requested"] == {"number": 1}
    assert never["params"] == {"n": {"number": 1}, "of": {"number": 1}}
    web = row(platform)
    said, why = web["surface-state"]["lines"]
    assert said["params"]["state"]["term"] == "surface-state.red"
    assert why["term"] == "surface-why.not-registered"
    assert web["reconciliation"] == {"term": "reconciliation.never"}
    assert {name: value["number"] for name, value in web["gaps-counted"]["params"].items()} == {
        "n": 1,
        "lost": 1,
        "unknown": 0,
    }

    compared = ("record", "reconcile", "o-1", "--surface", "web", "--generator-count")
    platform.json(*compared, "5", *EVER, code=1)
    platform.json(*compared, "2", *EVER)
    platform.json("preserve", "o-1")
    assert len(generations(platform)) == 2
    reconciled = row(platform)["reconciliation"]
    numbers = {name: value["number"] for name, value in reconciled["lines"][0]["params"].items()}
    assert numbers == {"generated": 2, "recorded": 1, "gap": 1, "unexplained": 0}
    assert reconciled["lines"][1]["from"].startswith("2019-12-31T23:00")
    platform.run("report", "order-status", "o-1", "--lang", "both", "--to", str(platform.folder / "s.pdf"))
    assert (platform.folder / "s.fr.pdf").read_bytes().startswith(b"%PDF")


def test_registered_surfaces_without_a_record_are_not_absent(platform: Platform) -> None:
    add = ("surface", "add", "{}", "--owner", "team", "--url", "http://127.0.0.1:9")
    for name, *more in (("film", "--not-recorded"), ("site",), ("old",)):
        platform.run(*(word.format(name) for word in add), *more)
    platform.run("canary", "run", code=1)
    platform.run("surface", "retire", "old", "--reason", "shut-down")
    (table,) = generations(platform)  # an order over a generation source, of which nothing is sealed yet
    stands = {each["surface"]["code"]: each["surface-state"]["lines"] for each in table["rows"]}
    assert [
        [each.get("code") or each["term"] for each in stands[name][1:2]] for name in ("film", "old", "site")
    ] == [
        ["not recorded"],
        ["shut-down"],
        ["unreachable"],
    ]
    assert [stands[name][0]["params"]["state"]["term"] for name in ("film", "old", "site")] == [
        "surface-state.red",
        "surface-state.retired",
        "surface-state.red",
    ]
    assert stands["site"][2]["term"] == "surface-why.connection-refused"
    assert stands["old"][2]["params"]["state"]["term"] == "surface-state.red"

    platform.proxy(surface="site").end()
    recorded, without = (part for part in generations(platform) if "rows" in part)
    assert [each["surface"]["code"] for each in recorded["rows"]] == ["site"]
    assert [each["surface"]["code"] for each in without["rows"]] == ["film", "old"]
    platform.run("report", "order-status", "o-1", "--lang", "both", "--to", str(platform.folder / "s.pdf"))
    assert (platform.folder / "s.fr.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("language", Language)
def test_every_cause_has_words_in_both_languages(language: Language) -> None:
    known = texts(language)
    causes = "other-surface detectors-down no-decision other-decision other-bundle no-bundle not-recorded no-credential"
    reasons = "unreachable connection-refused connection-lost name-not-found timed-out tls-failed"
    assert {f"surface-why.{each}" for each in (*causes.split(), *reasons.split())} <= set(known)
    assert "surface-state.retired" in known


def test_nothing_is_compared_with_a_surface_that_nobody_knows(platform: Platform) -> None:
    compared = ("record", "reconcile", "o-1", "--generator-count", "0", *EVER, "--surface")
    platform.run(*compared, "nosuch", code=2)
    assert list(platform.ai.iterdir()) == []
    platform.run("surface", "add", "web", "--owner", "team", "--url", "http://127.0.0.1:9")
    assert platform.json(*compared, "web")["generated"] == 0
    platform.proxy(surface="app").end()
    platform.json(*compared, "app")


def test_a_comparison_that_is_none_is_passed_over(platform: Platform) -> None:
    platform.proxy().end()
    (platform.ai / "other.jsonl").write_text(
        '{"event":"reconciled","surface":"web","generated":"many"}\n{"event":"gap","surface":"web","lost":"?"}\n'
    )
    platform.json("preserve", "o-1")
    assert row(platform)["reconciliation"] == {"term": "reconciliation.never"}
