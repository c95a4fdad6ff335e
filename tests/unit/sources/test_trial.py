"""Read a sample of a source: bounded, counted, and with every failure named."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scelle.errors import SourceMissing
from scelle.sources.files.source import FilesSource
from scelle.sources.generation.source import CHECKS, GenerationSource
from scelle.sources.interfaces import Batch, Unit
from scelle.sources.records.source import RecordsSource
from scelle.sources.schema_file import parse_schema_file
from scelle.sources.trial import DOCUMENTS_MAX, ITEMS_MAX, PLACES_MAX, try_source

SCHEMA = """
[schema]
name = "posts"
time = "ts"
id = "id"
account = "user"
[fields]
score = "i"
"""


def posts(folder: Path) -> RecordsSource:
    return RecordsSource(str(folder).encode(), "posts", parse_schema_file(SCHEMA), None)


def line(number: int, **more: object) -> str:
    row = {"id": number, "ts": f"2026-01-{1 + number % 28:02}T00:00:00Z", "user": "u1", "score": 1, **more}
    return json.dumps({name: value for name, value in row.items() if value is not None}) + "\n"


def test_a_sample_counts_what_fits_what_fails_and_what_waits(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line(0) + line(1, ts=None) + line(2, user=None) + "{oh\n" + '{"id": 3')
    (tmp_path / "notes.txt").write_text("mild\n")
    found = try_source(posts(tmp_path), None)
    assert (found.items, found.fit, found.undated, found.without_holder) == (5, 3, 1, 1)
    assert dict(found.failed) == {"not-json": 1, "format-unknown": 1}
    assert [each.place for each in found.failures if each.cause == "not-json"] == [
        "a.jsonl line 4 (byte 154)"
    ]
    assert (found.units, found.units_read, found.is_whole) == (2, 1, True)
    assert "wait for their end" in found.waiting[0]
    assert found.earliest_us == 1767225600_000000
    assert found.latest_us == 1767225600_000000 + 2 * 86_400_000_000
    notes = found.to_json()["members"][0]["notes"]
    assert notes[:3] == ["time: ts", "id: id", "account: user"]


def test_failures_are_all_counted_and_the_first_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{oh\n" * 50)
    found = try_source(posts(tmp_path), None)
    assert found.failed["not-json"] == 50
    assert len(found.failures) == PLACES_MAX


@pytest.mark.parametrize("files", [1, 4])
def test_a_sample_is_bounded_and_says_that_it_is_one(tmp_path: Path, files: int) -> None:
    for number in range(files):
        (tmp_path / f"{number}.jsonl").write_text(line(0) * 2000)
    found = try_source(posts(tmp_path), None)
    assert found.items == ITEMS_MAX
    assert found.units_read == files, "every file has its share"
    assert not found.is_whole


def test_what_is_read_to_its_last_record_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line(0) * ITEMS_MAX)
    assert try_source(posts(tmp_path), None).is_whole


def test_what_reading_held_is_let_go(tmp_path: Path) -> None:
    ended = []

    class Watched(RecordsSource):
        def read(self, unit: Unit, mark: bytes) -> Iterator[Batch]:
            try:
                yield from super().read(unit, mark)
            finally:
                ended.append(unit.native)

    (tmp_path / "a.jsonl").write_text(line(0) * 9000)
    try_source(Watched(str(tmp_path).encode(), "posts", parse_schema_file(SCHEMA), None), None)
    assert ended == [b"a.jsonl"]


def test_checks_over_all_events_are_made_only_where_all_were_read(tmp_path: Path) -> None:
    event = {"event": "requested", "attempt_id": "t1", "event_id": "e1", "ts": "2026-01-01T00:00:00Z"}
    (tmp_path / "a.jsonl").write_text(json.dumps(event) + "\n")
    source = GenerationSource(str(tmp_path).encode(), "ai", None)
    assert try_source(source, None).units_read == 2
    (tmp_path / "a.jsonl").write_text((json.dumps(event) + "\n") * 2000)
    read = []

    class Watched(GenerationSource):
        def read(self, unit: Unit, mark: bytes) -> Iterator[Batch]:
            read.append(unit.native)
            return super().read(unit, mark)

    assert not try_source(Watched(str(tmp_path).encode(), "ai", None), None).is_whole
    assert CHECKS not in read


def test_of_documents_a_few_are_read_and_unreadable_ones_counted(tmp_path: Path) -> None:
    for number in range(DOCUMENTS_MAX + 1):
        (tmp_path / f"{number:02}.txt").write_text("mild\n")
    found = try_source(FilesSource(str(tmp_path).encode(), "docs"), "custodian:staff-017@example.org")
    assert (found.units, found.items, found.fit) == (DOCUMENTS_MAX + 1, DOCUMENTS_MAX, DOCUMENTS_MAX)
    assert (found.is_whole, found.without_holder, found.undated) == (False, 0, 0)
    (tmp_path / "00.txt").unlink()
    assert try_source(FilesSource(str(tmp_path).encode(), "docs"), None).is_whole


def test_an_empty_source_is_whole_and_one_that_is_gone_is_an_error(tmp_path: Path) -> None:
    assert try_source(posts(tmp_path), None).units == 0
    with pytest.raises(SourceMissing):
        try_source(posts(tmp_path / "gone"), None)
