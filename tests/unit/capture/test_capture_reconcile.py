"""A pass is compared with the right preview, names what it can, and never claims what it does not know."""

from dataclasses import replace
from pathlib import Path

import pytest

from scelle.capture import reconcile
from scelle.capture.differences import NOT_COMPARABLE, Difference, Why
from scelle.capture.interfaces import NamedSource, PassTools
from scelle.capture.preview import preview, sealed_preview
from scelle.capture.reconcile import Reconciliation
from scelle.capture.service import run_reconciled_pass
from scelle.capture.tallies import NAMED_UNITS, Budget, SealedTallies, Tallies, Tally
from scelle.errors import ItemUnreadable, SourceUnreadable
from scelle.ledger.events import record_event
from scelle.scope.model import Clause
from scelle.sources.interfaces import Trouble

from .record_world import BAD, POSTS, RecordWorld, Table
from .world import ALIAS, Crash, World

ROWS = [("p1", "u1", "a red boat"), ("p2", "u2", "a harbour")]


@pytest.fixture
def records(tmp_path: Path) -> RecordWorld:
    made = RecordWorld(tmp_path / "vault")
    made.tables["a"], made.tables["b"] = Table(list(ROWS)), Table([("p3", "u1", "a winter coat")])
    return made


def named(world: World) -> NamedSource:
    return NamedSource("docs", ALIAS, "files", None, None, world.reader)


def look(world: World) -> None:
    """What `scelle preview` seals."""
    ledger, _, _ = world.begin()
    body = sealed_preview(world.clauses, preview(world.clauses, [named(world)]))
    record_event(ledger, world.clock(), "tester", "preview", body)
    ledger.seal(world.clock())
    world.end()


def compared(world: World) -> Reconciliation:
    ledger, packs, catalog = world.begin()
    tools = PassTools(ledger, packs, catalog, world.key, world.clock, "tester", world.progress)
    _, found = run_reconciled_pass(tools, world.clauses, [named(world)])
    world.end()
    assert found is not None
    (*_, event) = world.events("pass.reconciled")
    assert event.body == found.to_json()
    return found


def whats(found: Reconciliation) -> dict[str, Difference]:
    return {f"{each.what} {each.kind}".strip(): each for each in found.differences if each.unit is None}


def units(found: Reconciliation) -> dict[str, Difference]:
    return {each.unit: each for each in found.differences if each.unit is not None}


def test_other_clauses_are_not_compared_and_it_says_which(records: RecordWorld) -> None:
    records.clauses = (Clause("one", ("docs",)), Clause("two", ("docs",), accounts=("u1",)))
    look(records)
    records.clauses = (Clause("one", ("docs",), accounts=("u2",)), Clause("three", ("docs",)))
    found = compared(records)
    (difference,) = found.differences
    assert difference.what == "clauses"
    assert difference.why == (
        NOT_COMPARABLE,
        Why("clause-changed", names=("one",)),
        Why("clause-new", names=("three",)),
        Why("clause-gone", names=("two",)),
    )


def test_the_newest_preview_of_the_same_clauses_is_taken(records: RecordWorld) -> None:
    look(records)
    mine = records.clauses
    records.clauses = (Clause("other", ("docs",)),)
    look(records)
    records.clauses = mine
    found = compared(records)
    assert found.differences == []
    first, _ = records.events("preview")
    assert found.preview_seq == first.seq


def test_another_schema_is_not_compared(records: RecordWorld) -> None:
    look(records)
    records.records_source.schema = replace(POSTS, version=2)
    (difference,) = compared(records).differences
    assert (difference.what, difference.why[0]) == ("schemas", NOT_COMPARABLE)
    assert difference.why[1] == Why("schema-changed-or-gone", names=("posts",))


def test_a_preview_that_does_not_say_its_clauses_is_passed_over(records: RecordWorld) -> None:
    ledger, packs, catalog = records.begin()
    record_event(ledger, records.clock(), "tester", "preview", {"sources": {"docs": {"offered": 3}}})
    ledger.seal(records.clock())
    tools = PassTools(ledger, packs, catalog, records.key, records.clock, "tester", records.progress)
    assert run_reconciled_pass(tools, records.clauses, [named(records)])[1] is None
    records.end()


def break_b(records: RecordWorld) -> None:
    """Let unit b change, and be unreadable: then the pass does not conclude what vanished."""
    records.tables["b"].rows.append(("p4", "u1", "a scarf"))
    records.tables["b"].raises = [(0, ItemUnreadable("the disk says no", "io-error"))]


def test_nothing_is_claimed_of_a_unit_that_may_not_have_been_listed(records: RecordWorld) -> None:
    look(records)
    records.tables["c"] = Table(list(ROWS))
    assert set(units(compared(records))) == {"c"}
    break_b(records)
    del records.tables["a"], records.tables["c"]
    found = compared(records)
    assert units(found)["b"].why == (Why("unit-unreadable-now", names=("io-error",)),)
    assert set(units(found)) == {"b"}  # neither that a went, nor that c is there
    assert (whats(found)["offered"].preview, whats(found)["offered"].measured) == (3, 2)


def test_a_unit_that_is_counted_from_memory_is_there(records: RecordWorld) -> None:
    look(records)
    compared(records)
    records.tables["c"] = Table(list(ROWS))
    compared(records)  # of c the next pass only has a memory, and the preview none
    break_b(records)
    assert set(units(compared(records))) == {"b", "c"}


def test_a_unit_that_cannot_be_listed_is_named(records: RecordWorld) -> None:
    look(records)
    compared(records)
    del records.tables["b"]
    records.records_source.troubles = [Trouble(b"b", b"b", "io-error")]
    found = units(compared(records))
    assert set(found) == {"b"}
    assert found["b"].measured == Tally("b", cause="io-error").counts()


def test_a_unit_that_breaks_half_way_keeps_its_counts(records: RecordWorld) -> None:
    records.tables["b"].rows = [(f"q{n}", "u1", "text") for n in range(9)]
    look(records)
    error = ItemUnreadable("the disk says no", "io-error")
    records.tables["b"].raises = [(5, error)]
    unit = units(compared(records))["b"]
    assert isinstance(unit.preview, dict)
    assert isinstance(unit.measured, dict)
    assert (unit.preview["offered"], unit.measured["offered"], unit.measured["cause"]) == (9, 3, "io-error")


def test_a_unit_is_found_among_more_failures_than_a_report_shows(records: RecordWorld) -> None:
    records.tables["a"].rows = [(f"q{n}", "u1", BAD) for n in range(150)]
    look(records)
    records.tables["b"].raises = [(0, ItemUnreadable("the disk says no", "io-error"))]
    found = compared(records)
    counts = units(found)["b"].measured
    assert isinstance(counts, dict)
    assert counts["cause"] == "io-error"
    assert set(units(found)) == {"b"}


def test_rows_that_left_and_rows_that_were_written_anew_are_said(records: RecordWorld) -> None:
    look(records)
    records.tables["a"].rows = ROWS[:1]
    records.tables["b"].rows = [("p3", "u1", "another coat, longer")]
    found = units(compared(records))
    assert found["a"].why == (Why("records-fewer", 1),)
    assert found["b"].why == (Why("records-others"),)


def test_a_source_that_went_away_is_said(records: RecordWorld) -> None:
    look(records)
    records.records_source.unreachable = SourceUnreadable("went away")
    found = compared(records)
    assert whats(found)["unreachable"].preview is None
    assert units(found)["a"].why == (Why("unit-not-reached"),)


def test_over_a_thousand_units_only_a_digest_is_compared(records: RecordWorld) -> None:
    records.tables.update({f"t{n:04d}": Table([(f"r{n}", "u1", "x")]) for n in range(NAMED_UNITS)})
    look(records)
    (event,) = records.events("preview")
    assert event.body["sources"]["docs"]["units"]["named"] is None
    assert compared(records).differences == []
    del records.tables["t0005"]
    found = compared(records)
    assert (whats(found)["units"].preview, whats(found)["units"].measured) == (1002, 1001)
    assert units(found) == {}


def test_more_differences_than_are_listed_are_counted(
    records: RecordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "SAID_DIFFERENCES", 2)
    look(records)
    records.tables.update({f"t{n}": Table(list(ROWS)) for n in range(5)})
    found = compared(records)
    assert (len(found.differences), found.count) == (2, 8)  # offered, covered, bytes; and five units


def test_a_resumed_pass_compares_the_whole_pass(records: RecordWorld) -> None:
    look(records)
    records.tables["b"].rows += [(f"q{n}", "u1", "text") for n in range(30)]
    records.clock.tick_us = 6_000_000  # a group for each batch

    def die() -> None:
        if records.records_source.given > 12:
            raise Crash

    records.records_source.on_batch = die
    with pytest.raises(Crash):
        compared(records)
    records.end(Crash())
    records.records_source.on_batch = lambda: None
    records.clock.tick_us = 1
    found = compared(records)
    assert units(found)["b"].why == (Why("records-more", 30),)
    assert set(units(found)) == {"b"}
    assert found.growth.added < 33
    assert not found.growth.is_comparable


def test_what_a_preview_cannot_see_of_documents_is_said(world: World) -> None:
    world.put(b"a", raises=[ItemUnreadable("closed", "permission-denied")])
    look(world)
    found = whats(compared(world))
    assert found["failed permission-denied"].why == (Why("failed-now", names=("a",)),)
    assert found["covered"].why == (Why("failed-more", 1),)


def test_tallies_do_not_depend_on_their_order() -> None:
    some = [Tally("a", 1, 1), Tally("b", 2, cause="io-error"), Tally("a", 3, 2)]
    first, second = Tallies(), Tallies()
    for each in some:
        first.add(each)
    for each in reversed(some):
        second.add(each)
    assert first.digest == second.digest
    assert first.named == second.named
    read = SealedTallies(first.to_json(Budget()))
    assert read.named == first.named
    assert read.named is not None
    assert read.named["a"] == Tally("a", 4, 3)
    assert SealedTallies(first.to_json(Budget(left_bytes=10))).named is None
