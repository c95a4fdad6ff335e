"""Passes over records: buckets, growth, rewriting, crashes, schemas."""

import contextlib
from pathlib import Path

import pytest

from scelle.capture.problems import listed_items
from scelle.errors import InputError, ItemChanged, ItemUnreadable, ItemVanished, SourceMissing
from scelle.formats.entries import Count
from scelle.formats.schema import Field, Schema
from scelle.scope.model import Clause
from scelle.sources.interfaces import RecordSource, Trouble
from tests.unit.capture.record_world import BAD, POSTS, RecordWorld, ScriptedRecords, Table
from tests.unit.capture.world import Crash


def rows(*numbers: int) -> list[tuple[str, str, str]]:
    return [(f"p{n}", f"u{n % 3}", f"a red boat {n}") for n in numbers]


@pytest.fixture
def world(tmp_path: Path) -> RecordWorld:
    return RecordWorld(tmp_path / "vault")


def counted(world: RecordWorld) -> tuple[int, int, int, int, int, int]:
    """Run a pass; offered, new, unchanged, failed, excluded, lost."""
    total = world.run().total
    return total.offered, total.new, total.unchanged, total.failed, total.excluded, total.lost


def test_the_scripted_source_is_a_source_of_records() -> None:
    assert isinstance(ScriptedRecords(), RecordSource)


def test_records_are_sealed_under_a_member_of_the_family(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(*range(7)))
    world.tables["b"] = Table(rows(7, 8))
    assert counted(world) == (9, 9, 0, 0, 0, 0)
    assert world.sealed() == [(native, text) for native, _, text in rows(*range(9))]
    (member,) = world.events("source.member")
    assert (member.body["log_source"], member.body["member"]) == ("s0001/1", "posts")
    assert member.body["notes"] == ["account is user"]


def test_an_unchanged_unit_is_not_read_again(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(*range(7)))
    counted(world)
    given = world.records_source.given
    assert counted(world) == (7, 0, 7, 0, 0, 0)
    assert world.records_source.given == given
    assert len(world.sealed()) == 7
    assert world.events("source.member")[1:] == []


def test_of_a_unit_that_grows_only_the_end_is_read(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(*range(7)))
    counted(world)
    world.tables["a"].rows += rows(7, 8)
    given = world.records_source.given
    assert counted(world) == (9, 2, 7, 0, 0, 0)
    assert world.records_source.given == given + 2
    assert [native for native, _ in world.sealed()] == [f"p{n}" for n in range(9)]


def test_of_a_rewritten_unit_only_what_is_new_is_sealed(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(0, 1, 2, 3, 4))
    counted(world)
    world.tables["a"].rows = [*rows(4, 1), ("p2", "u2", "a blue boat"), *rows(0, 0)]
    assert counted(world) == (5, 2, 3, 0, 0, 0)
    assert world.sealed()[5:] == [("p2", "a blue boat"), ("p0", "a red boat 0")]
    (event,) = world.events("records.vanished")
    assert event.body["records"] == [["s0001/1", 3]]
    assert world.events("unit.rewritten")


def test_what_vanished_is_said_once(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(0, 1, 2), is_stamped=False, is_marked=False)
    counted(world)
    world.tables["a"].rows = rows(0, 2)
    assert world.run().total.vanished == 1
    assert world.run().total.vanished == 0
    assert len(world.events("records.vanished")) == 1


def test_what_came_back_to_an_older_state_is_sealed_again(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(0, 1), is_stamped=False, is_marked=False)
    counted(world)
    world.tables["a"].rows[0] = ("p0", "u0", "a blue boat")
    assert counted(world) == (2, 1, 1, 0, 0, 0)
    world.tables["a"].rows = rows(0, 1)
    assert counted(world) == (2, 1, 1, 0, 0, 0)
    assert [text for native, text in world.sealed() if native == "p0"] == [
        "a red boat 0", "a blue boat", "a red boat 0"
    ]  # fmt: skip
    assert counted(world) == (2, 0, 2, 0, 0, 0)


def test_two_states_that_stand_in_one_unit_are_both_unchanged(world: RecordWorld) -> None:
    twice = [*rows(0, 1), ("p0", "u0", "a blue boat")]
    world.tables["a"] = Table(twice, is_stamped=False, is_marked=False)
    counted(world)
    assert counted(world) == (3, 0, 3, 0, 0, 0)
    world.tables["a"].raises = [(1, ItemChanged("a"))]
    assert counted(world) == (3, 0, 3, 0, 0, 0)


def test_what_leaves_its_clause_has_not_vanished(world: RecordWorld) -> None:
    world.clauses = (Clause("some", ("docs",), accounts=("u1", "u2")),)
    world.tables["a"] = Table(rows(1, 2), is_stamped=False, is_marked=False)
    counted(world)
    world.tables["a"].rows[0] = ("p1", "u9", "a red boat 1")
    report = world.run()
    assert (report.total.excluded, report.total.vanished) == (1, 0)


def test_of_a_unit_of_which_a_record_failed_nothing_vanishes(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(1, 2, 3), is_stamped=False, is_marked=False)
    counted(world)
    world.tables["a"].rows = [("p1", "u1", BAD), *rows(3)]
    report = world.run()
    assert (report.total.failed, report.total.vanished) == (1, 0)
    assert report.sources[0].vanished_unknown
    world.tables["a"].rows = rows(1, 3)
    assert world.run().total.vanished == 1


def test_what_returned_can_vanish_again(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(1, 2), is_stamped=False, is_marked=False)
    for numbers, vanished in (((1, 2), 0), ((1,), 1), ((1, 2), 0), ((1,), 1), ((1,), 0)):
        world.tables["a"].rows = rows(*numbers)
        assert world.run().total.vanished == vanished
    kinds = [event.kind for event in world.events("records.vanished", "records.returned")]
    assert kinds == ["records.vanished", "records.returned", "records.vanished"]


def test_a_unit_that_is_always_read_whole_seals_nothing_twice(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(0, 1, 2), is_stamped=False, is_marked=False)
    assert counted(world) == (3, 3, 0, 0, 0, 0)
    world.tables["a"].rows = [*rows(0), ("p1", "u1", "a blue boat"), *rows(2, 3)]
    assert counted(world) == (4, 2, 2, 0, 0, 0)
    assert counted(world) == (4, 0, 4, 0, 0, 0)


def test_without_a_catalog_nothing_is_sealed_twice(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(*range(7)))
    world.tables["b"] = Table(rows(7, 8), is_stamped=False, is_marked=False)
    counted(world)
    world.lose_catalog()
    assert counted(world) == (9, 0, 9, 0, 0, 0)
    world.tables["a"].rows += rows(9)
    assert counted(world) == (10, 1, 9, 0, 0, 0)


def test_what_lies_below_an_unreadable_folder_has_not_vanished(world: RecordWorld) -> None:
    world.records_source.tables = {
        "day/a": Table(rows(0, 1)),
        "daylight": Table(rows(2)),
        "b": Table(rows(3)),
    }
    counted(world)
    world.records_source.tables = {"b": Table(rows(3))}
    world.records_source.troubles = [Trouble(b"day", b"day", "permission-denied")]
    report = world.run()
    assert (report.total.failed, report.total.vanished) == (1, 1)  # "daylight", which lies beside it
    assert report.sources[0].vanished_unknown
    world.records_source.troubles = []
    assert world.run().total.vanished == 2


def test_a_unit_that_is_gone_stays_sealed_and_is_said_once(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(0, 1))
    counted(world)
    table = world.tables.pop("a")
    assert world.run().total.vanished == 2
    assert world.run().total.vanished == 0
    assert [event.body["unit"] for event in world.events("unit.vanished")] == ["a"]
    world.tables["a"] = table
    assert counted(world) == (2, 0, 2, 0, 0, 0)
    world.tables.pop("a")
    assert world.run().total.vanished == 2


def test_what_fits_no_schema_fails_with_its_place_and_is_counted_again(world: RecordWorld) -> None:
    world.tables["a"] = Table([*rows(0), ("p1", "u1", BAD), *rows(2)])
    report = world.run()
    assert (report.total.offered, report.total.new, report.total.failed) == (3, 2, 1)
    (problem,) = report.sources[0].failed
    assert (problem.native, problem.cause) == ("a row 1", "schema-mismatch")
    assert counted(world) == (3, 0, 2, 1, 0, 0)
    assert world.event_items("items.failed")[0]["native"] == "a row 1"


def test_a_content_that_cannot_be_read_fails_its_record_and_no_other(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(0, 1, 2))
    world.records_source.damaged = {"p1"}
    report = world.run()
    assert (report.total.offered, report.total.new, report.total.failed) == (3, 2, 1)
    (problem,) = report.sources[0].failed
    assert (problem.native, problem.cause) == ("p1", "object-damaged")
    assert [native for native, _ in world.sealed()] == ["p0", "p2"]


def test_the_report_says_how_records_are_read(world: RecordWorld) -> None:
    assert world.run().sources[0].notes == ["posts: account is user"]


def test_what_no_clause_covers_is_excluded(world: RecordWorld) -> None:
    world.clauses = (Clause("some", ("docs",), accounts=("u1",)),)
    world.tables["a"] = Table(rows(*range(6)))
    report = world.run()
    assert dict(report.total.excluded_by) == {"account": 4}
    assert [native for native, _ in world.sealed()] == ["p1", "p4"]
    assert counted(world) == (6, 0, 2, 0, 4, 0)


def test_other_clauses_read_an_unchanged_unit_again(world: RecordWorld) -> None:
    world.clauses = (Clause("some", ("docs",), accounts=("u1",)),)
    world.tables["a"] = Table(rows(*range(6)))
    world.run()
    world.clauses = (Clause("some", ("docs",), accounts=("u1", "u2")),)
    assert counted(world) == (6, 2, 2, 0, 2, 0)


def test_a_changed_schema_opens_the_next_member_and_seals_only_what_is_new(world: RecordWorld) -> None:
    world.tables["a"] = Table([*rows(0), ("p1", "u1", BAD)])
    counted(world)
    world.records_source.schema = Schema(POSTS.name, 2, POSTS.dimensions, (*POSTS.fields, Field("more", "j")))
    world.tables["a"].rows[1] = ("p1", "u1", "a green boat")
    assert counted(world) == (2, 1, 1, 0, 0, 0)
    assert world.sealed("s0001/2") == [("p1", "a green boat")]
    assert counted(world) == (2, 0, 2, 0, 0, 0)


def test_every_pass_ends_with_a_manifest_of_each_member(world: RecordWorld) -> None:
    world.records_source.profile = 0
    world.run()
    world.tables["a"] = Table(rows(0))
    world.run()
    world.run()
    ledger, _, _ = world.begin()
    manifests = [entry for _, entry in ledger.manifests() if entry.source == "s0001/1"]
    world.end()
    assert [entry.records for entry in manifests] == [0, 1, 0]
    assert {entry.profile for entry in manifests} == {0}


def test_counts_of_the_log_are_those_of_the_report(world: RecordWorld) -> None:
    world.tables["a"] = Table([*rows(0, 1), ("p1", "u1", BAD)])
    world.run()
    assert [(entry.offered, entry.sealed, entry.failed) for entry in _counts(world)] == [(3, 2, 1)]


def _counts(world: RecordWorld) -> list[Count]:
    ledger, _, _ = world.begin()
    found = [entry for entry in ledger.entries if isinstance(entry, Count) and entry.source == "s0001"]
    world.end()
    return found


def test_a_unit_that_changes_while_it_is_read_is_read_on(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(*range(9)), raises=[(6, ItemChanged("a changed"))])
    assert counted(world) == (9, 9, 0, 0, 0, 0)
    world.tables["b"] = Table(rows(*range(9)), is_marked=False, raises=[(6, ItemChanged("b changed"))])
    assert counted(world)[:3] == (18, 9, 9)
    assert len(world.sealed()) == 18


@pytest.mark.parametrize("is_marked", [True, False])
def test_a_unit_that_changes_twice_fails_and_keeps_what_was_read(world: RecordWorld, is_marked: bool) -> None:
    error = ItemChanged("a changed")
    world.tables["a"] = Table(rows(*range(9)), is_marked=is_marked, raises=[(3, error), (6, error)])
    report = world.run()
    assert (report.total.offered, report.total.new, report.total.failed) == (7, 6, 1)
    assert report.sources[0].failed[0].cause == "changed-while-read"
    assert counted(world) == (9, 3, 6, 0, 0, 0)


def test_a_unit_that_vanishes_while_it_is_read_is_lost(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(*range(6)), raises=[(3, ItemVanished("a is gone"))])
    report = world.run()
    assert (report.total.offered, report.total.new, report.total.lost) == (4, 3, 1)
    assert report.sources[0].vanished_unknown


def test_a_unit_that_cannot_be_read_leaves_the_others(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(0), raises=[(0, ItemUnreadable("no permission", "no-permission"))])
    world.tables["b"] = Table(rows(1))
    world.records_source.troubles = [Trouble(b"c", b"c", "format-unknown")]
    report = world.run()
    assert (report.total.offered, report.total.new, report.total.failed) == (3, 1, 2)
    assert dict(report.total.failed_by) == {"no-permission": 1, "format-unknown": 1}
    assert counted(world) == (3, 1, 1, 1, 0, 0)


def test_a_unit_that_goes_while_it_is_listed_is_lost(world: RecordWorld) -> None:
    world.records_source.troubles = [Trouble(b"c", b"c", "vanished")]
    report = world.run()
    assert (report.total.offered, report.total.failed, report.total.lost) == (1, 0, 1)


def test_a_source_that_goes_away_opens_a_gap_and_the_next_pass_goes_on(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(*range(6)), raises=[(3, SourceMissing("the server is gone"))])
    report = world.run()
    assert report.sources[0].unreachable is not None
    assert (report.total.offered, report.total.new, report.total.failed) == (4, 3, 1)
    assert counted(world) == (6, 3, 3, 0, 0, 0)


def test_a_line_that_waits_for_its_end_is_said_and_not_offered(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(0), waits="12 bytes from byte 40, line 2, wait for their end")
    report = world.run()
    assert report.total.offered == 1
    assert report.sources[0].waiting[0].detail.startswith("12 bytes")
    assert world.event_items("items.waiting")[0]["native"] == "a"
    assert world.run().sources[0].waiting, "it waits still, and is said again"


def test_a_unit_that_nothing_here_reads_leaves_the_others(world: RecordWorld) -> None:
    world.tables["a"] = Table(rows(0), raises=[(0, InputError("pyarrow is not installed"))])
    world.tables["b"] = Table(rows(1))
    report = world.run()
    assert (report.total.new, dict(report.total.failed_by)) == (1, {"no-reader": 1})


@pytest.mark.parametrize("is_marked", [True, False])
@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("keeps_catalog", [True, False])
def test_after_a_crash_nothing_is_lost_or_sealed_twice(
    world: RecordWorld, is_marked: bool, commits: bool, keeps_catalog: bool
) -> None:
    world.tables["a"] = Table(rows(*range(9)), is_marked=is_marked)
    world.tables["b"] = Table(rows(9, 10, 11), is_marked=is_marked)
    world.clock.tick_us = 6_000_000 if commits else 1  # a group commit after each batch, or none

    def crash() -> None:
        if world.records_source.given == 9:
            raise Crash

    world.records_source.on_batch = crash
    with pytest.raises(Crash):
        world.run()
    world.records_source.on_batch = lambda: None
    if not keeps_catalog:
        world.lose_catalog()
    assert counted(world) == (12, 12, 0, 0, 0, 0)
    assert sorted(world.sealed()) == sorted((native, text) for native, _, text in rows(*range(12)))
    assert counted(world) == (12, 0, 12, 0, 0, 0)


def test_rows_that_the_catalog_never_learned_of_are_recognised(world: RecordWorld) -> None:
    """The crash comes between the rows' fsync and the catalog's commit."""
    world.tables["a"] = Table(rows(*range(9)))
    world.clock.tick_us = 6_000_000
    _, _, catalog = world.begin()

    def crash() -> None:
        raise Crash

    catalog.commit = crash  # type: ignore[method-assign]
    with pytest.raises(Crash):
        world.run()
    assert counted(world) == (9, 9, 0, 0, 0, 0)
    assert len(world.sealed()) == 9


def test_no_name_is_in_the_catalog(world: RecordWorld) -> None:
    world.tables["very-telling-name"] = Table(rows(0))
    world.run()
    data = b"".join(path.read_bytes() for path in world.root.glob("catalog.db*"))
    assert b"very-telling-name" not in data


def crash_at_commit(world: RecordWorld, number: int) -> None:
    """End the process after its commit of this number, from 1: what follows is lost, what came before is durable."""
    _, _, catalog = world.begin()
    commit, commits = catalog.commit, iter(range(1, 1000))

    def crash() -> None:
        commit()
        if next(commits) == number:
            raise Crash

    catalog.commit = crash  # type: ignore[method-assign]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_segment_that_fills_in_mid_batch_seals_nothing_twice(
    world: RecordWorld, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The mark that is remembered stands before the batch, whose first rows are durable already."""
    monkeypatch.setattr("scelle.ledger.segments.MAX_RECORDS", 2)
    monkeypatch.setattr("scelle.capture.record_pass.GROUP_BYTES", 1)
    world.tables["a"] = Table(rows(*range(9)))
    crash_at_commit(world, number)
    with pytest.raises(Crash):
        world.run()
    assert counted(world) == (9, 9, 0, 0, 0, 0)
    assert sorted(world.sealed()) == sorted((native, text) for native, _, text in rows(*range(9)))


@pytest.mark.parametrize("number", range(1, 6))
def test_a_commit_while_a_record_waits_for_its_newest_state_seals_nothing_twice(
    world: RecordWorld, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """p0 comes back to its older state in the first batch; the rows of later batches are new."""
    world.tables["a"] = Table(rows(0))
    counted(world)
    world.tables["a"].rows = [("p0", "u0", "a blue boat")]
    counted(world)
    monkeypatch.setattr("scelle.capture.record_pass.GROUP_US", 0)  # a commit for each batch
    world.tables["a"].rows = rows(*range(9))
    crash_at_commit(world, number)
    with contextlib.suppress(Crash):
        world.run()
    assert world.run().total.failed == 0
    found = sorted(world.sealed())
    assert found.count(("p0", "a red boat 0")) == 2
    assert [each for each in found if each[0] != "p0"] == sorted(
        (native, text) for native, _, text in rows(*range(1, 9))
    )
    assert [text for native, text in world.sealed() if native == "p0"][-1] == "a red boat 0"


def listed(world: RecordWorld, bucket: str = "failed") -> list[tuple[str, str]]:
    ledger, _, _ = world.begin()
    return [(each["native"], each["cause"]) for each in listed_items(ledger, {}, bucket)]


def test_what_an_interrupted_run_found_wrong_is_listed_with_its_pass(
    world: RecordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unit a was read to its end before: the run that goes on counts it from memory, and says nothing of it again."""
    monkeypatch.setattr("scelle.capture.problems.BATCH_ITEMS", 1)
    monkeypatch.setattr("scelle.capture.record_pass.GROUP_US", 0)
    world.tables["a"] = Table([("p0", "u0", BAD), *rows(1)])
    world.tables["b"] = Table([*rows(*range(2, 9)), ("p9", "u0", BAD)])

    def crash() -> None:
        if world.records_source.given == 2 + 6:
            raise Crash

    world.records_source.on_batch = crash
    with pytest.raises(Crash):
        world.run()
    assert listed(world) == []
    world.end(Crash())
    world.records_source.on_batch = lambda: None
    assert world.run().total.failed == 2
    assert sorted(listed(world)) == [("a row 0", "schema-mismatch"), ("b row 7", "schema-mismatch")]
    world.tables["c"] = Table([("p20", "u0", BAD)])
    assert world.run().total.failed == 3
    assert listed(world)[0] == ("c row 0", "schema-mismatch")
