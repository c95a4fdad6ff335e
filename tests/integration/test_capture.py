"""Passes over real files and mail, by the command line: counts, long passes, interrupted ones, what they seal."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import (
    in_child,
    make_platform,
    newest,
    preserved,
    restored,
    run_quietly,
    take_in,
    versions,
)

from scelle import bootstrap
from scelle.formats.entries import Segment
from scelle.ledger import segments
from scelle.ledger.events import events

MAIL = b"From: staff-017@example.org\nDate: Thu, 8 Jan 2026 14:00:00 +0000\nSubject: the boat\n\nIt is red.\n"


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    return make_platform(tmp_path, capsys, monkeypatch)


def old(path: Path) -> None:
    """Give a file a time that no pass mistrusts."""
    os.utime(path, (1_760_000_000, 1_760_000_000))


def fill(platform: Platform, count: int) -> dict[bytes, bytes]:
    expected = {}
    for number in range(count):
        path = platform.document(f"{number % 5}/{number:04d}.txt", b"content of %d\n" % number)
        old(path)
        expected[f"{number % 5}/{number:04d}.txt".encode()] = b"content of %d\n" % number
    return expected


def manifests(platform: Platform, alias: str = "s0001") -> list[Segment]:
    with bootstrap.opened(platform.vault, key_choice(platform), writing=False) as session:
        return [each for _, each in session.ledger(ORDER).manifests() if each.source == alias]


def key_choice(platform: Platform) -> bootstrap.KeyChoice:
    return bootstrap.KeyChoice(platform.root / "keys")


def sealed_events(platform: Platform, *kinds: str) -> list[dict[str, Any]]:
    with bootstrap.opened(platform.vault, key_choice(platform), writing=False) as session:
        return [dict(event.body) for event in events(session.ledger(ORDER), *kinds)]


# --- several sources, several clauses ---------------------------------------------------------------------------


def test_three_sources_and_three_clauses(platform: Platform) -> None:
    fill(platform, 10)
    (platform.docs / "left.bin").write_bytes(bytes(1000))
    mail = platform.root / "mail"
    mail.mkdir()
    (mail / "one.eml").write_bytes(MAIL)
    (platform.root / "box").write_bytes(b"From a@example.org Thu Jan  8 14:00:00 2026\n" + MAIL + b"\n")
    platform("init", platform.vault, "--host", "platform.example")
    platform("source", "add", "docs", f"files://{platform.docs}")
    platform("source", "add", "mail", f"eml://{mail}", "--custodian", "staff-017@example.org")
    platform("source", "add", "box", f"mbox://{platform.root / 'box'}", "--account", "4711")
    platform.clauses = [
        '[[clause]]\nid = "text"\nsources = ["docs"]\npaths = ["**/*.txt"]\n',
        '[[clause]]\nid = "in-place"\nsources = ["docs"]\npaths = ["**/*.bin"]\nkeep = "digest"\n',
        '[[clause]]\nid = "mail"\nsources = ["mail", "box"]\nmedia_types = ["message/rfc822"]\n',
    ]
    platform("order", "add", platform.order_file())
    seen = platform("preview", ORDER, "--json").json
    report = preserved(platform)
    assert seen["offered"] == report["offered"] == 13
    assert {name: counts["sealed"] for name, counts in report["sources"].items()} == {
        "box": 1,
        "docs": 11,
        "mail": 1,
    }
    assert preserved(platform)["unchanged"] == 13
    documents = newest(restored(platform, "docs"))
    assert (documents[b"left.bin"].data, documents[b"left.bin"].meta["keep"]) == (None, "digest")
    assert documents[b"0/0000.txt"].data == b"content of 0\n"
    assert [each.data for each in restored(platform, "mail")] == [MAIL]


def test_the_json_document_and_the_lines_say_the_same(platform: Platform) -> None:
    fill(platform, 3)
    os.mkfifo(platform.docs / "pipe")
    take_in(platform)
    report = preserved(platform)
    assert set(report) >= {
        "order", "offered", "sealed", "new", "unchanged", "failed", "excluded", "lost", "links", "bytes", "sources",
    }  # fmt: skip
    assert report["sources"]["docs"]["excluded_by"] == {"fifo": 1}
    said = platform("preserve", ORDER).out
    assert "offered 4 = sealed 3 (new 0, unchanged 3) + failed 0 + excluded 1 + lost 0" in said
    (last,) = (body for body in sealed_events(platform, "pass")[-1:])
    assert (last["offered"], last["unchanged"], last["excluded"]) == (4, 3, 1)


def test_the_same_file_in_two_orders_has_passes_of_its_own(platform: Platform) -> None:
    fill(platform, 5)
    take_in(platform)
    preserved(platform)
    platform("order", "add", platform.order_file("second.toml", id='"o-2"'))
    report = platform("preserve", "o-2", "--json").json
    assert (report["new"], report["unchanged"]) == (5, 0)
    assert preserved(platform)["unchanged"] == 5


def test_what_vanished_and_came_back_is_named_in_events(platform: Platform) -> None:
    fill(platform, 6)
    take_in(platform)
    preserved(platform)
    gone = platform.docs / "0" / "0000.txt"
    gone.rename(platform.root / "aside")
    assert preserved(platform)["vanished"] == 1
    assert [item["native"] for item in sealed_events(platform, "items.vanished")[0]["items"]] == [
        "0/0000.txt"
    ]
    (platform.root / "aside").rename(gone)
    report = preserved(platform)
    assert (report["vanished"], report["offered"]) == (0, 6)
    assert [item["native"] for item in sealed_events(platform, "items.returned")[0]["items"]] == [
        "0/0000.txt"
    ]
    assert "vanished" not in platform("preserve", ORDER).out


def test_a_gap_is_open_until_a_whole_pass(platform: Platform) -> None:
    fill(platform, 3)
    take_in(platform)
    platform.docs.rename(platform.root / "away")
    for _ in range(2):
        answer = platform("preserve", ORDER, "--json", code=4)
        assert answer.out == "" or answer.json["offered"] == 0
    gaps = platform("status", "--json", code=1).json["orders"][0]["gaps"]
    assert [gap["cause"] for gap in gaps] == ["source-unreachable"], "one gap, however often it was tried"
    (platform.root / "away").rename(platform.docs)
    preserved(platform)
    assert platform("status", "--json").json["orders"][0]["gaps"] == []
    assert len(restored(platform)) == 3


# --- long passes ------------------------------------------------------------------------------------------------


def test_segments_that_fill_in_the_middle_of_a_pass_are_proven_like_any(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scelle.ledger.segments.MAX_RECORDS", 7)
    expected = fill(platform, 40)
    take_in(platform)
    assert preserved(platform)["new"] == 40
    found = manifests(platform)
    assert [each.records for each in found] == [7, 7, 7, 7, 7, 5]
    assert [before.watermark[1] for before in found[:-1]] == [after.watermark[0] for after in found[1:]]
    assert {name: each.data for name, each in newest(restored(platform)).items()} == expected
    assert preserved(platform)["unchanged"] == 40


def test_segments_that_grow_old_in_the_middle_of_a_pass_are_proven_like_any(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fill(platform, 30)
    take_in(platform)
    real, asked = time.time_ns, iter(range(10**6))
    monkeypatch.setattr("scelle.bootstrap.acting.time_ns", lambda: real() + next(asked) * 90_000_000_000)
    assert preserved(platform)["new"] == 30
    assert len(manifests(platform)) > 2
    assert {name: each.data for name, each in newest(restored(platform)).items()} == expected


def test_every_pass_leaves_a_manifest_for_each_source(platform: Platform) -> None:
    fill(platform, 2)
    take_in(platform)
    for number in range(3):
        preserved(platform)
        assert len(manifests(platform)) == number + 1
    assert [each.records for each in manifests(platform)] == [2, 0, 0]


# --- interrupted passes -----------------------------------------------------------------------------------------


def killed_after(reads: int) -> Callable[[], Any]:
    """Return work that kills its own process, hard, after so many documents were read."""

    def work() -> Any:
        from scelle.sources.files.source import FilesSource

        real, left = FilesSource.read, reads

        def read(self: FilesSource, offered: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, offered)

        FilesSource.read = read  # type: ignore[method-assign]
        segments.FRAME_ROWS = segments.ROW_FRAME_ROWS = 10
        return run_quietly(["preserve", ORDER, "--json"])

    return work


@pytest.mark.parametrize("is_catalog_lost", [False, True])
def test_a_killed_pass_leaves_no_row_without_its_content(platform: Platform, is_catalog_lost: bool) -> None:
    """Full frames of rows are on disk before any group commit: their contents must be there, too."""
    expected = fill(platform, 95)
    take_in(platform)
    for reads in (35, 25, 20):
        assert in_child(killed_after(reads))["code"] == -signal.SIGKILL
        if is_catalog_lost:
            for path in platform.vault.glob("catalog.db*"):
                path.unlink()
    report = preserved(platform)
    assert (report["offered"], report["new"], report["unchanged"]) == (95, 95, 0)
    documents = restored(platform)
    assert len(documents) == 95, "nothing was sealed twice"
    assert {name: each.data for name, each in newest(documents).items()} == expected
    assert len({body["pass"] for body in sealed_events(platform, "pass")}) == 1
    assert platform("status", "--json").json["orders"][0]["passes"] == 1


def test_a_killed_pass_of_one_order_does_not_touch_another(platform: Platform) -> None:
    fill(platform, 20)
    take_in(platform)
    platform("order", "add", platform.order_file("second.toml", id='"o-2"'))
    assert in_child(killed_after(10))["code"] == -signal.SIGKILL
    other = platform("preserve", "o-2", "--json").json
    assert (other["new"], other["unchanged"]) == (20, 0)
    assert preserved(platform)["new"] == 20
    assert platform("verify", "--json").json["findings"] == []


def test_an_interrupt_from_the_keyboard_is_one_line_and_the_next_run_goes_on(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scelle.sources.files.source import FilesSource

    expected = fill(platform, 20)
    take_in(platform)
    real, reads = FilesSource.read, iter(range(10**6))

    def read(self: FilesSource, offered: Any) -> Any:
        if next(reads) == 12:
            raise KeyboardInterrupt
        return real(self, offered)

    monkeypatch.setattr(FilesSource, "read", read)
    answer = platform("preserve", ORDER, "--json", code=130)
    assert "run the command again" in answer.err.splitlines()[-1]
    assert answer.out == ""
    assert preserved(platform)["new"] == 20
    assert {name: each.data for name, each in newest(restored(platform)).items()} == expected


# --- the catalog, at random -------------------------------------------------------------------------------------


def test_catalogs_deleted_at_random_change_nothing(platform: Platform) -> None:
    """The same history twice, in two vaults: one loses its catalog, or gets an old one back, between passes."""
    draw = random.Random(5)
    fill(platform, 25)
    take_in(platform)
    platform("order", "add", platform.order_file("second.toml", id='"o-2"'))
    snapshots: list[Path] = []
    for step in range(6):
        change_a_little(platform, draw, step)
        kept = preserved(platform)
        lose_or_restore(platform, draw, snapshots)
        other = platform("preserve", "o-2", "--json").json
        names = ("offered", "new", "unchanged", "vanished", "failed", "excluded", "lost", "bytes")
        assert [kept[name] for name in names] == [other[name] for name in names], step
        lose_or_restore(platform, draw, snapshots)
    assert platform("verify", "--json").json["findings"] == []
    first = versions(restored(platform))
    assert sum(map(len, first.values())) == sum(each.records for each in manifests(platform))


def change_a_little(platform: Platform, draw: random.Random, step: int) -> None:
    for _ in range(4):
        number = draw.randrange(40)
        path = platform.docs / f"{number % 5}" / f"{number:04d}.txt"
        if path.exists() and draw.random() < 0.5:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"step %d of %d\n" % (step, number))
            os.utime(path, (1_760_000_000 + step, 1_760_000_000 + step))


def lose_or_restore(platform: Platform, draw: random.Random, snapshots: list[Path]) -> None:
    catalog = platform.vault / "catalog.db"
    copy = platform.root / f"catalog-{len(snapshots)}"
    if catalog.exists():
        shutil.copy(catalog, copy)
        snapshots.append(copy)
    choice = draw.random()
    if choice < 0.7:
        for path in platform.vault.glob("catalog.db*"):
            path.unlink()
    if 0.4 < choice < 0.7 and snapshots:
        shutil.copy(draw.choice(snapshots), catalog)


def test_a_pass_says_what_a_preview_said_on_what_this_machine_has(platform: Platform) -> None:
    folder = Path("/usr/share/doc")
    if not folder.is_dir():
        pytest.skip("this machine has no documents")
    clause = '[[clause]]\nid = "all"\nsources = ["docs"]\npaths = ["**/*.gz", "**/copyright"]\n'
    take_in(platform, ("docs", f"files://{folder}"), clauses=clause)
    seen = platform("preview", ORDER, "--json").json
    report = json.loads(run_quietly(["preserve", ORDER, "--json"])["out"])
    assert (seen["offered"], seen["covered"]) == (report["offered"], report["sealed"] + report["failed"])
    assert seen["sources"]["docs"]["excluded_by"] == report["sources"]["docs"]["excluded_by"]
    assert seen["bytes"] == report["bytes"]
