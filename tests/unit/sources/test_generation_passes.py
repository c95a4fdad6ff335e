"""Whole passes over what a generation service recorded: everything is sealed once, and what is found with it."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scelle.formats.values import Content, decode_value
from scelle.sources.generation.schemas import BUNDLE, CHECK, EVENT
from scelle.sources.interfaces import RecordSource
from tests.unit.capture.world import World
from tests.unit.sources.reading_generation import SCHEMAS, event, source, write


class GenerationWorld(World):
    """A vault with one order and one source of a generation service."""

    def __init__(self, root: Path, folder: Path) -> None:
        super().__init__(root)
        self.generation = source(folder)

    @property
    def reader(self) -> RecordSource:
        return self.generation

    def sealed(self, member: str, field: str) -> list[Any]:
        """One field of every sealed record of a member, in capture order."""
        alias = next(
            (
                each.body["log_source"]
                for each in self.events("source.member")
                if each.body["member"] == member
            ),
            None,
        )
        number = SCHEMAS[member].field_number(field)
        assert number is not None
        return [decode_value(row.split_values()[number])[1] for row in (self.rows(alias) if alias else [])]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ai/policies").mkdir(parents=True)
    (tmp_path / "ai/policies/p7.json").write_text('{"version":7}')
    write(tmp_path / "ai", [event("requested", "at-1", safeguard_version=7), {"event": "imagined"},
                            event("removed", minute=50)])  # fmt: skip
    return tmp_path / "ai"


@pytest.fixture
def world(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> GenerationWorld:
    monkeypatch.setattr("scelle.vault.durable.os.fsync", lambda descriptor: None)
    return GenerationWorld(tmp_path / "vault", folder)


def test_events_bundles_and_findings_are_sealed(world: GenerationWorld) -> None:
    total = world.run().total
    assert (total.offered, total.new, total.failed) == (6, 5, 1)
    assert world.sealed(EVENT, "kind") == ["requested", "removed"]
    assert world.sealed(BUNDLE, "safeguard") == ["7"]
    assert world.sealed(CHECK, "kind") == ["attempt-without-outcome", "attempts"]
    (kept,) = world.sealed(BUNDLE, "content")
    assert kept == Content(sha256(b'{"version":7}').digest(), 13)


def test_a_second_pass_over_the_same_files_seals_nothing(world: GenerationWorld) -> None:
    world.run()
    total = world.run().total
    assert (total.offered, total.new, total.unchanged, total.failed) == (6, 0, 5, 1)


def test_an_outcome_that_comes_late_ends_the_finding(world: GenerationWorld, folder: Path) -> None:
    world.run()
    with (folder / "events/a.jsonl").open("a") as file:
        file.write(
            '{"event":"abandoned","attempt_id":"at-1","event_id":"late","ts":"2026-01-08T10:00:00Z"}\n'
        )
    total = world.run().total
    assert (total.new, total.unchanged, total.vanished) == (2, 3, 1)
    assert world.sealed(EVENT, "kind") == ["requested", "removed", "abandoned"]
    assert world.sealed(CHECK, "kind") == ["attempt-without-outcome", "attempts", "attempts"]
