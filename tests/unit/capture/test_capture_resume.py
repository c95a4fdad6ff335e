"""A pass that was interrupted goes on: nothing is lost, counted twice, or sealed twice."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from scelle.capture import sealing
from scelle.capture.store import LOOK_UP_AT_ONCE, CaptureIndex, ItemKeys
from scelle.errors import CatalogStale, ItemUnreadable, StorageFull
from scelle.formats.entries import Count, Gap
from scelle.formats.schema import DOCUMENT_V1
from scelle.ledger import segments
from scelle.scope.model import Clause, Keep
from scelle.sources.interfaces import Offered, Trouble
from scelle.vault.durable import Step, observed

from .world import ALIAS, Crash, ScriptedSource, Thing, World

SHARES = 5


def crash_when_reading(world: World, native: bytes) -> None:
    """End the process in the next pass when this item is read."""
    world.things[native].raises = [Crash()]
    with pytest.raises(Crash):
        world.run()


def fill(world: World, count: int) -> None:
    for number in range(count):
        world.put(b"%05d" % number, b"content %d" % number)


@pytest.fixture
def each_item_is_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "GROUP_BYTES", 1)


@contextmanager
def crash_at_step(number: int) -> Iterator[None]:
    """End the process before the n-th durable step from now."""
    count = 0

    def observe(step: Step, when: Literal["before", "after"]) -> None:
        nonlocal count
        if when == "before":
            if count == number:
                raise Crash
            count += 1

    with observed(observe):
        yield


# --- the pass goes on -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("each_item_is_a_group")
@pytest.mark.parametrize("is_catalog_lost", [False, True])
def test_what_an_interrupted_pass_sealed_is_new_in_the_pass_that_ends_it(
    world: World, is_catalog_lost: bool
) -> None:
    fill(world, 10)
    world.run()
    fill(world, 20)
    crash_when_reading(world, b"00015")
    assert len(world.records()) == 15
    assert world.contents() == {f"{number:05d}": b"content %d" % number for number in range(15)}
    world.source.reads.clear()
    if is_catalog_lost:
        world.lose_catalog()
    report = world.run()
    assert (report.total.offered, report.total.new, report.total.unchanged) == (20, 10, 10)
    assert world.source.reads == [b"%05d" % number for number in range(15, 20)]
    assert len(world.records()) == 20
    assert len({record.pass_id for record in world.records()}) == 2
    assert (world.run().total.new, len({event.body["pass"] for event in world.events("pass")})) == (0, 3)


@pytest.mark.usefixtures("each_item_is_a_group")
def test_events_of_an_interrupted_run_say_so(world: World) -> None:
    fill(world, 3)
    world.things[b"00000"].raises = [ItemUnreadable("no", "io-error"), ItemUnreadable("no", "io-error")]
    crash_when_reading(world, b"00002")
    report = world.run()
    runs = {event.body["run_us"] for event in world.events("items.failed")}
    (event,) = world.events("pass")
    assert event.body["started_us"] in runs
    assert report.total.failed == 1


def test_what_no_group_commit_covered_is_read_again(world: World) -> None:
    fill(world, 5)
    crash_when_reading(world, b"00004")
    assert world.records() == []
    assert world.run().total.new == 5
    assert len(world.records()) == 5


@pytest.mark.usefixtures("each_item_is_a_group")
def test_an_item_that_changed_in_between_is_sealed_twice_and_counted_once(world: World) -> None:
    fill(world, 3)
    crash_when_reading(world, b"00002")
    world.put(b"00000", b"changed in between")
    report = world.run()
    assert (report.total.offered, report.total.new) == (3, 3)
    assert [record.native for record in world.records()] == ["00000", "00001", "00000", "00002"]


@pytest.mark.usefixtures("each_item_is_a_group")
def test_an_item_that_was_looked_at_again_is_not_new(world: World) -> None:
    """A stamp that changed alone is remembered under the pass that sealed the version, not the one that looked."""
    fill(world, 3)
    world.run()
    world.things[b"00000"].stamp = b"another inode"
    world.put(b"00002", b"changed")
    crash_when_reading(world, b"00002")
    report = world.run()
    assert (report.total.new, report.total.unchanged) == (1, 2)


@pytest.mark.usefixtures("each_item_is_a_group")
def test_a_digest_of_an_interrupted_pass_is_new_although_it_is_read_again(world: World) -> None:
    world.clauses = (Clause("all", ("docs",), keep=Keep.DIGEST),)
    fill(world, 3)
    crash_when_reading(world, b"00002")
    assert (world.run().total.new, len(world.records())) == (3, 3)
    assert (world.run().total.unchanged, len(world.records())) == (3, 3)


def steps_of_a_pass(world: World) -> int:
    count = 0

    def observe(step: Step, when: Literal["before", "after"]) -> None:
        nonlocal count
        count += when == "before"

    world.begin()
    with observed(observe):
        world.run()
    return count


@pytest.mark.usefixtures("each_item_is_a_group")
def test_a_stamp_that_was_found_good_again_is_not_forgotten(world: World) -> None:
    """The rows of the open segment say that it was too young; the catalog knows better."""
    fill(world, 3)
    world.things[b"00000"].mtime_ns = world.clock.us * 1000
    crash_when_reading(world, b"00001")
    world.clock.us += 60_000_000
    crash_when_reading(world, b"00002")
    world.source.reads.clear()
    assert world.run().total.new == 3
    assert world.source.reads == [b"00002"]


@pytest.mark.parametrize("is_catalog_lost", [False, True])
def test_what_vanished_in_an_unfinished_pass_is_counted_by_the_one_that_ends_it(
    world: World, is_catalog_lost: bool
) -> None:
    """Its events were sealed already, since the pass was long; the pass was not."""
    world.clauses = (Clause("all", ("docs", "more")),)
    world.second = ScriptedSource({b"x": Thing(b"x")})
    fill(world, 3)
    world.run()
    del world.things[b"00001"]
    slow = world.second.things[b"y"] = Thing(b"y")
    crash = world.second.things[b"z"] = Thing(b"z", raises=[Crash()])
    slow.on_read = lambda: setattr(world.clock, "us", world.clock.us + 16 * 60 * 1_000_000)
    with pytest.raises(Crash):
        world.run()
    assert [item["native"] for item in world.event_items("items.vanished")] == ["00001"]
    slow.on_read, crash.raises = None, []
    if is_catalog_lost:
        world.lose_catalog()
    report = world.run()
    assert [source.counts.vanished for source in report.sources] == [1, 0]
    assert world.run().total.vanished == 0


# --- rows never lead ------------------------------------------------------------------------------------------


def test_no_row_is_kept_without_its_content(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full frame of rows is written before the group commit: its contents must be durable first."""
    monkeypatch.setattr(segments, "FRAME_ROWS", 8)
    monkeypatch.setattr(segments, "ROW_FRAME_ROWS", 8)
    fill(world, 30)
    crash_when_reading(world, b"00025")
    records = world.records()
    assert len(records) == 24, "full frames outlive the process"
    assert world.contents() == {f"{number:05d}": b"content %d" % number for number in range(24)}
    assert (world.run().total.new, len(world.records())) == (30, 30)


def test_no_large_row_is_kept_without_its_content(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FRAME_BYTES", 1000)
    fill(world, 10)
    world.things[b"00005"].meta = {"subject": "x" * 2000}
    crash_when_reading(world, b"00008")
    found = world.contents()
    assert set(found) >= {"00000", "00005"}
    assert all(data == b"content %d" % int(native) for native, data in found.items())


# --- every step -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("each_item_is_a_group")
@pytest.mark.parametrize("share", range(SHARES))
def test_a_crash_before_any_step_changes_no_count(tmp_path: Path, share: int) -> None:
    steps = steps_of_a_pass(changed_world(tmp_path / "count"))
    for number in range(share, steps, SHARES):
        world = changed_world(tmp_path / f"step-{number}")
        world.begin()
        with crash_at_step(number), pytest.raises(Crash):
            world.run()
        if number % 3 == 0:
            world.lose_catalog()
        world.run()
        passes = {event.body["pass"]: event.body for event in world.events("pass")}
        names = ("offered", "new", "unchanged", "vanished", "failed")
        said = [tuple(body[name] for name in names) for body in passes.values()]
        assert said[:2] == [(3, 3, 0, 0, 0), (4, 3, 1, 1, 0)], number
        assert said[2:] in ([], [(4, 0, 4, 0, 0)]), "a third pass only where the second was done"
        assert [record.native for record in world.records()] == ["a", "b", "c", "c", "d", "e"], number
        assert [item["native"] for item in world.event_items("items.vanished")][-1:] == ["b"]
        shutil.rmtree(world.root)


def changed_world(root: Path) -> World:
    """Three items are sealed; then one changed, one went, two came."""
    world = World(root)
    for name in (b"a", b"b", b"c"):
        world.put(name, name * 30)
    world.run()
    del world.things[b"b"]
    for name in (b"c", b"d", b"e"):
        world.put(name, b"later " + name)
    return world


# --- the catalog is only remembered ------------------------------------------------------------------------------


def test_a_lost_catalog_changes_no_count(world: World) -> None:
    fill(world, 300)
    world.run()
    del world.things[b"00007"], world.things[b"00008"]
    world.put(b"00009", b"changed")
    world.run()
    world.put(b"00008", b"content 8")
    world.run()
    kept = world.root.parent / "copy"
    shutil.copytree(world.root, kept)
    with_catalog = world.run()
    other = World(kept)
    other.source = world.source
    other.lose_catalog()
    without = other.run()
    assert without.to_json() == with_catalog.to_json()
    assert (without.total.unchanged, without.total.vanished) == (299, 0)


@pytest.mark.usefixtures("each_item_is_a_group")
def test_a_catalog_that_is_behind_learns_the_rest(world: World) -> None:
    fill(world, 5)
    world.run()
    shutil.copy(world.root / "catalog.db", world.root.parent / "old.db")
    fill(world, 9)
    world.run()
    fill(world, 12)
    crash_when_reading(world, b"00011")
    world.lose_catalog()
    shutil.copy(world.root.parent / "old.db", world.root / "catalog.db")
    report = world.run()
    assert (report.total.new, report.total.unchanged, len(world.records())) == (3, 9, 12)


@pytest.mark.parametrize("is_segment_open", [False, True])
def test_a_catalog_that_is_ahead_of_a_restored_ledger_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch, is_segment_open: bool
) -> None:
    """Else an item that is nowhere sealed would count as unchanged for ever."""
    monkeypatch.setattr(sealing, "GROUP_BYTES", 1)
    fill(world, 3)
    world.run()
    shutil.copytree(world.root / "po", world.root.parent / "po")
    fill(world, 6)
    if is_segment_open:
        crash_when_reading(world, b"00005")
    else:
        world.run()
    shutil.rmtree(world.root / "po")
    shutil.copytree(world.root.parent / "po", world.root / "po")
    report = world.run()
    assert (report.total.new, report.total.unchanged, len(world.records())) == (3, 3, 6)


def test_a_catalog_of_another_history_is_forgotten(tmp_path: Path) -> None:
    first, second = World(tmp_path / "one"), World(tmp_path / "two")
    for world in (first, second):
        world.put(b"both")
        world.run()
    second.put(b"only here")
    second.run()
    first.put(b"something else")
    first.run()
    first.lose_catalog()
    shutil.copy(second.root / "catalog.db", first.root / "catalog.db")
    first.put(b"only here")
    report = first.run()
    assert (report.total.new, report.total.unchanged) == (1, 2)
    assert [record.native for record in first.records()] == ["both", "something else", "only here"]


def test_a_damaged_catalog_says_how_to_make_it_again(world: World) -> None:
    fill(world, 200)
    world.run()
    path = world.root / "catalog.db"
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(byte ^ 0x5A for byte in data[4096:])
    path.write_bytes(data)
    with pytest.raises(CatalogStale, match="rebuild-catalog"):
        world.run()


def test_a_full_disk_under_the_catalog_is_said_so(world: World) -> None:
    fill(world, 50)
    _, _, catalog = world.begin()
    pages = catalog.connection.execute("PRAGMA page_count").fetchone()[0]
    catalog.connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(5000):
        world.put(b"%06d" % number, trouble="")
    with pytest.raises(StorageFull):
        world.run()
    assert world.run().total.sealed == 5050


def test_a_source_that_offers_an_item_twice_seals_it_once(world: World) -> None:
    fill(world, LOOK_UP_AT_ONCE + 10)
    offered_once = world.source.offered

    def offered_twice() -> Iterator[Offered | Trouble]:
        for each in offered_once():
            yield each
            yield each
        yield from offered_once()

    world.source.offered = offered_twice  # type: ignore[method-assign]
    report = world.run()
    assert report.total.offered == 3 * (LOOK_UP_AT_ONCE + 10)
    assert len(world.records()) == LOOK_UP_AT_ONCE + 10


def test_the_catalog_betrays_no_name_no_digest_and_no_stamp(world: World) -> None:
    thing = world.put(b"minutes-of-the-board.txt", b"the plan", stamp=b"a telling stamp of forty bytes or so")
    world.run()
    (record,) = world.records()
    data = b"".join(path.read_bytes() for path in world.root.glob("catalog.db*"))
    assert thing.stamp is not None
    for secret in (b"docs", b"minutes-of", b"the plan", record.digest, record.digest[:8], thing.stamp):
        assert secret not in data


def test_a_source_that_is_learned_in_portions_is_learned_wholly(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scelle.capture.store._LEARN_AT_ONCE", 7)
    fill(world, 400)
    world.run()
    world.put(b"00003", b"changed")
    world.run()
    world.lose_catalog()
    ledger, _, catalog = world.begin()
    index = CaptureIndex(catalog, world.key, "o1", ALIAS)
    index.catch_up(ledger, ALIAS)
    keys = ItemKeys(world.key, "docs")
    index.look_up([keys.item(b"00003"), keys.item(b"00399"), keys.item(b"none")])
    third, last = index.find(keys.item(b"00003")), index.find(keys.item(b"00399"))
    assert third is not None
    assert last is not None
    assert (third.seq, last.seq, index.find(keys.item(b"none"))) == (400, 399, None)
    assert (index.size, len(list(index.present()))) == (400, 400)


# --- long passes ------------------------------------------------------------------------------------------------


def test_a_full_segment_closes_and_the_pass_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.ledger.segments.MAX_RECORDS", 10)
    fill(world, 35)
    assert world.run().total.new == 35
    ledger, _, _ = world.begin()
    manifests = [manifest for _, manifest in ledger.manifests() if manifest.source == ALIAS]
    assert [manifest.records for manifest in manifests] == [10, 10, 10, 5]
    assert [manifest.seq for manifest in manifests] == [(0, 10), (10, 20), (20, 30), (30, 35)]
    marks = [manifest.watermark for manifest in manifests]
    assert [before[1] for before in marks[:-1]] == [after[0] for after in marks[1:]]
    assert all(start < end for start, end in marks)
    assert {manifest.schema for manifest in manifests} == {DOCUMENT_V1.digest}
    world.end()
    assert world.run().total.unchanged == 35


def test_a_segment_closes_after_a_quarter_of_an_hour(world: World) -> None:
    fill(world, 10)
    world.clock.tick_us = 150 * 1_000_000
    world.run()
    ledger, _, _ = world.begin()
    manifests = [manifest for _, manifest in ledger.manifests() if manifest.source == ALIAS]
    assert len(manifests) >= 3
    assert all(
        end - start <= 20 * 60 * 1_000_000 for start, end in (each.watermark for each in manifests[1:])
    )
    assert sum(manifest.records for manifest in manifests) == 10


def test_events_of_a_long_pass_are_sealed_before_its_end(world: World) -> None:
    for number in range(3000):
        world.put(b"%05d" % number, trouble="io-error")
    world.clock.tick_us = 2_000_000
    world.run()
    ledger, _, _ = world.begin()
    manifests = [manifest for _, manifest in ledger.manifests() if manifest.source == "scelle.events"]
    assert len(manifests) > 1


def test_a_group_is_durable_after_a_few_seconds(world: World) -> None:
    fill(world, 20)
    world.clock.tick_us = 1_000_000
    crash_when_reading(world, b"00015")
    assert 10 <= len(world.records()) <= 15


@pytest.mark.parametrize("jump_us", [-3600 * 1_000_000, -400 * 86_400 * 1_000_000, 3600 * 1_000_000])
def test_a_clock_that_jumps_breaks_no_chain(world: World, jump_us: int) -> None:
    fill(world, 5)
    world.run()
    for number in range(5, 30):
        world.put(b"%05d" % number, raises=[])

    def jump() -> None:
        world.clock.us += jump_us

    world.things[b"00028"].on_read = jump
    world.things[b"00020"].trouble = "io-error"
    world.source.fails_after = (29, ItemUnreadable("the share went away"))
    report = world.run()
    assert (report.total.offered, report.sources[0].unreachable is not None) == (29, True)
    world.source.fails_after = None
    world.clock.us += jump_us
    world.run()
    ledger, _, _ = world.begin()
    marks = [manifest.watermark for _, manifest in ledger.manifests() if manifest.source == ALIAS]
    assert all(start < end for start, end in marks)
    assert [before[1] for before in marks[:-1]] == [after[0] for after in marks[1:]]
    assert ledger.gaps() == [], "the gap that was opened later is closed, with a length"
    for entry in ledger.entries:
        if isinstance(entry, (Count, Gap)) and entry.interval[1] is not None:
            assert entry.interval[0] < entry.interval[1]


def test_a_pass_after_a_clock_that_was_set_back_makes_groups(world: World) -> None:
    fill(world, 40)

    def jump() -> None:
        world.clock.us -= 86_400 * 1_000_000

    world.things[b"00010"].on_read = jump
    crash_when_reading(world, b"00030")
    assert len(world.records()) >= 11
