"""Every item that a source offers ends in exactly one bucket, with its cause."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from scelle.capture.model import Counts, PassReport
from scelle.capture.problems import BATCH_BYTES, BATCH_ITEMS, SHOWN_ITEMS
from scelle.errors import (
    CountsDoNotAddUp,
    ItemChanged,
    ItemUnreadable,
    ItemVanished,
    SourceMissing,
    SourceUnreadable,
)
from scelle.formats.values import UNDATED
from scelle.scope.model import Clause, Keep
from scelle.sources.interfaces import WHOLE_BYTES, Kind, Offered, Trouble

from .world import NOW_US, OLD_NS, World

LARGE = bytes(WHOLE_BYTES + 100_000)


def buckets(report: PassReport) -> tuple[int, int, int, int, int, int]:
    """offered, new, unchanged, failed, excluded, lost"""
    total = report.total
    total.reconcile("test")
    return total.offered, total.new, total.unchanged, total.failed, total.excluded, total.lost


def raises(*errors: BaseException | None) -> list[BaseException | None]:
    return list(errors)


CHANGED = ItemChanged("a.txt changed while it was read")
VANISHED = ItemVanished("a.txt is not there any more")
UNREADABLE = ItemUnreadable("a.txt cannot be read", "permission-denied")


# --- one item -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected", "cause"),
    [
        ({}, (1, 1, 0, 0, 0, 0), ""),
        ({"raises": raises(CHANGED)}, (1, 1, 0, 0, 0, 0), ""),
        ({"raises": raises(CHANGED, CHANGED)}, (1, 0, 0, 1, 0, 0), "changed-while-read"),
        ({"raises": raises(UNREADABLE)}, (1, 0, 0, 1, 0, 0), "permission-denied"),
        ({"raises": raises(CHANGED, UNREADABLE)}, (1, 0, 0, 1, 0, 0), "permission-denied"),
        ({"raises": raises(VANISHED)}, (1, 0, 0, 0, 0, 1), ""),
        ({"raises": raises(CHANGED, VANISHED)}, (1, 0, 0, 0, 0, 1), ""),
        ({"trouble": "io-error"}, (1, 0, 0, 1, 0, 0), "io-error"),
        ({"kind": Kind.SPECIAL, "reason": "socket"}, (1, 0, 0, 0, 1, 0), ""),
        ({"data": LARGE}, (1, 1, 0, 0, 0, 0), ""),
        ({"data": LARGE, "raises_late": raises(CHANGED)}, (1, 1, 0, 0, 0, 0), ""),
        ({"data": LARGE, "raises_late": raises(CHANGED, CHANGED)}, (1, 0, 0, 1, 0, 0), "changed-while-read"),
        ({"data": LARGE, "raises_late": raises(CHANGED, VANISHED)}, (1, 0, 0, 0, 0, 1), ""),
        ({"data": LARGE, "raises_late": raises(UNREADABLE)}, (1, 0, 0, 1, 0, 0), "permission-denied"),
        ({"meta": {"x": "y" * (15 << 20)}}, (1, 0, 0, 1, 0, 0), "metadata-too-large"),
    ],
)
@pytest.mark.parametrize("keep", list(Keep))
def test_an_item_has_one_bucket(
    world: World, keep: Keep, fields: dict[str, object], expected: tuple[int, ...], cause: str
) -> None:
    world.clauses = (Clause("all", ("docs",), keep=keep),)
    copied = {key: list(value) if isinstance(value, list) else value for key, value in fields.items()}
    world.put(b"a.txt", **{"data": b"a red boat", **copied})  # type: ignore[arg-type]
    report = world.run()
    assert buckets(report) == expected
    assert dict(report.total.failed_by) == ({cause: 1} if cause else {})
    assert len(world.records()) == expected[1]


def test_what_failed_half_way_leaves_no_content(world: World) -> None:
    world.put(b"a.bin", LARGE, raises_late=raises(CHANGED, CHANGED))
    world.run()
    assert not world.holds(LARGE)
    assert [path for path in (world.root / "packs").rglob("*") if path.is_file()] == []


def test_a_metadata_bomb_leaves_no_content(world: World) -> None:
    world.put(b"a.txt", b"a harbour", meta={"x": "y" * (15 << 20)})
    world.run()
    assert not world.holds(b"a harbour")


def test_an_item_that_changed_once_is_sealed_as_it_is_at_last(world: World) -> None:
    def rewrite() -> None:
        thing.data, thing.on_read = b"a blue boat", None

    thing = world.put(b"a.txt", raises=raises(CHANGED))
    thing.on_read = rewrite
    assert buckets(world.run()) == (1, 1, 0, 0, 0, 0)
    assert world.contents() == {"a.txt": b"a blue boat"}


def test_links_and_bytes_are_counted_where_they_are_sealed(world: World) -> None:
    world.put(b"a", b"12345")
    world.put(b"b", b"a", kind=Kind.LINK)
    world.put(b"c", b"a", kind=Kind.LINK, raises=raises(UNREADABLE))
    report = world.run()
    assert (report.total.links, report.total.bytes) == (1, 6)


def test_an_item_in_two_clauses_counts_and_is_sealed_once(world: World) -> None:
    world.clauses = (Clause("one", ("docs",)), Clause("two", ("docs",), custodians=("rita",)))
    world.put(b"a")
    assert buckets(world.run()) == (1, 1, 0, 0, 0, 0)
    assert len(world.records()) == 1


def test_three_clauses_each_decide(world: World) -> None:
    world.clauses = (
        Clause("old", ("docs",), period_to_us=OLD_NS // 1000),
        Clause("text", ("docs",), paths=("*.txt",)),
        Clause("digest", ("docs",), paths=("*.bin",), keep=Keep.DIGEST),
    )
    world.put(b"a.txt", b"by its name")
    world.put(b"b.bin", b"left in place")
    world.put(b"c.pdf", b"too new")
    world.put(b"d.pdf", b"old enough", time_us=OLD_NS // 1000 - 1)
    world.put(b"e.bin", b"old and a bin", time_us=OLD_NS // 1000 - 1)
    report = world.run()
    assert buckets(report) == (5, 4, 0, 0, 1, 0)
    assert dict(report.total.excluded_by) == {"path": 1}
    held = {
        data: world.holds(data) for data in (b"by its name", b"left in place", b"too new", b"old and a bin")
    }
    assert held == {b"by its name": True, b"left in place": False, b"too new": False, b"old and a bin": True}


def test_a_media_type_is_asked_after_reading(world: World) -> None:
    world.clauses = (Clause("text", ("docs",), media_types=("text/*",)),)
    world.put(b"a", b"words")
    world.put(b"b", b"pixels", media_type="image/png")
    report = world.run()
    assert buckets(report) == (2, 1, 0, 0, 1, 0)
    assert dict(report.total.excluded_by) == {"media-type": 1}
    assert not world.holds(b"pixels")


def test_what_was_read_decides_not_what_was_listed(world: World) -> None:
    """The time moved out of the clause's period between listing and reading."""
    world.clauses = (Clause("old", ("docs",), period_to_us=NOW_US),)
    thing = world.put(b"a")

    def rewrite() -> None:
        thing.data, thing.time_us = b"written later", NOW_US + 5

    thing.on_read = rewrite
    report = world.run()
    assert dict(report.total.excluded_by) == {"period": 1}
    assert world.records() == []


def test_names_that_are_not_utf8_are_sealed_as_text(world: World) -> None:
    for native in (b"caf\xe9.txt", b"caf%e9", b"a\nb", b"\xed\xa0\x80", b"n" * 255):
        world.put(native, native)
    assert buckets(world.run()) == (5, 5, 0, 0, 0, 0)
    assert {record.native for record in world.records()} == {
        "caf%E9.txt", "caf%e9", "a\nb", "%ED%A0%80", "n" * 255,
    }  # fmt: skip
    assert buckets(world.run()) == (5, 0, 5, 0, 0, 0)


@pytest.mark.parametrize("native", [b"\xff\xfe\n", "x\u202e.txt".encode(), b"a" * 4000])
def test_a_problem_names_any_name(world: World, native: bytes) -> None:
    world.put(native, raises=raises(UNREADABLE))
    report = world.run()
    assert world.event_items("items.failed")[0]["native"] == report.sources[0].failed[0].native


@pytest.mark.parametrize("time_us", [UNDATED, -1, 0, 2**62, 2**63 - 1])
def test_any_time_that_a_record_can_say_is_sealed(world: World, time_us: int) -> None:
    world.put(b"a", time_us=time_us)
    world.run()
    assert [record.time_us for record in world.records()] == [time_us]


@pytest.mark.parametrize("time_us", [2**63, -(2**63) - 1, 2**80])
def test_a_time_beyond_all_times_is_sealed_as_undated(world: World, time_us: int) -> None:
    world.put(b"a", time_us=time_us, meta={"native": str(time_us)})
    assert buckets(world.run()) == (1, 1, 0, 0, 0, 0)
    (record,) = world.records()
    assert (record.time_us, record.meta["native"]) == (UNDATED, str(time_us))


# --- the source itself ------------------------------------------------------------------------------------------


def test_a_source_that_is_not_there_offers_nothing_and_is_a_gap(world: World) -> None:
    world.put(b"a")
    world.source.unreachable = SourceMissing("nothing at /srv/docs")
    report = world.run()
    assert buckets(report) == (0, 0, 0, 0, 0, 0)
    assert report.sources[0].unreachable == "sources.missing: nothing at /srv/docs"
    world.run()
    ledger, _, _ = world.begin()
    assert [gap.cause for gap in ledger.gaps()] == ["source-unreachable"], "one, however often it was tried"


def test_an_error_in_the_middle_of_the_list_keeps_what_came_before(world: World) -> None:
    for number in range(300):
        world.put(b"%03d" % number)
    world.run()
    world.put(b"000", b"changed")
    del world.things[b"001"]
    world.source.fails_after = (200, SourceUnreadable("the share went away"))
    report = world.run()
    assert buckets(report) == (200, 1, 199, 0, 0, 0)
    assert (report.total.vanished, report.sources[0].vanished_unknown) == (0, True)
    world.source.fails_after = None
    report = world.run()
    assert (report.total.vanished, report.total.unchanged) == (1, 299)
    ledger, _, _ = world.begin()
    assert ledger.gaps() == []


def test_a_source_that_goes_away_while_reading_keeps_its_sum(world: World) -> None:
    for name in (b"a", b"b", b"c"):
        world.put(name)
    world.things[b"b"].raises = raises(SourceMissing("unmounted"))
    report = world.run()
    assert buckets(report) == (2, 1, 0, 1, 0, 0)
    assert dict(report.total.failed_by) == {"source-unreachable": 1}
    assert report.sources[0].unreachable is not None
    assert buckets(world.run()) == (3, 2, 1, 0, 0, 0)


def test_what_could_not_be_listed_has_not_vanished(world: World) -> None:
    """A folder without permission is one Trouble; what lies below it is not offered."""
    world.put(b"dir/a")
    world.put(b"dir/b")
    world.run()
    kept = world.things.copy()
    world.things.clear()
    world.put(b"dir", trouble="permission-denied")
    report = world.run()
    assert (buckets(report), report.total.vanished) == ((1, 0, 0, 1, 0, 0), 0)
    world.things.clear()
    world.things.update(kept)
    assert (world.run().total.unchanged, world.event_items("items.vanished")) == (2, [])


@pytest.mark.parametrize(
    "changes",
    [{"trouble": "io-error"}, {"raises": raises(UNREADABLE)}, {"kind": Kind.SPECIAL, "reason": "fifo"}],
)
def test_what_is_sealed_and_cannot_be_read_now_stays_sealed_and_has_not_vanished(
    world: World, changes: dict[str, object]
) -> None:
    world.put(b"a")
    world.put(b"b")
    world.run()
    world.put(b"a", b"another boat", **changes)
    report = world.run()
    assert (report.total.new, report.total.unchanged, report.total.vanished) == (0, 1, 0)
    assert (report.total.failed + report.total.excluded, len(world.records())) == (1, 2)
    world.put(b"a", b"another boat")
    assert buckets(world.run()) == (2, 1, 1, 0, 0, 0)


def test_what_leaves_a_clause_has_not_vanished(world: World) -> None:
    world.clauses = (Clause("old", ("docs",), period_to_us=NOW_US),)
    thing = world.put(b"a")
    world.run()
    thing.time_us, thing.edits = NOW_US, 1
    report = world.run()
    assert (report.total.excluded, report.total.vanished) == (1, 0)


# --- vanished and back -----------------------------------------------------------------------------------------


def test_what_vanished_is_named_once_and_again_when_it_went_twice(world: World) -> None:
    first, second = world.put(b"a"), world.put(b"b\xff")
    world.run()
    world.things.clear()
    assert world.run().total.vanished == 2
    assert world.event_items("items.vanished") == [
        {"native": "a", "cause": "vanished", "detail": "", "seq": 0},
        {"native": "b%FF", "cause": "vanished", "detail": "", "seq": 1},
    ]
    assert world.run().total.vanished == 0
    world.things[b"a"] = first
    report = world.run()
    assert (buckets(report), report.total.vanished) == ((1, 0, 1, 0, 0, 0), 0)
    assert [item["native"] for item in world.event_items("items.returned")] == ["a"]
    world.things.clear()
    assert world.run().total.vanished == 1
    world.things[b"b\xff"] = second
    second.data = b"changed while away"
    assert buckets(world.run()) == (1, 1, 0, 0, 0, 0)
    assert len(world.records()) == 3


def test_what_vanished_is_named_across_passes_that_sealed_nothing(world: World) -> None:
    world.put(b"a")
    world.run()
    world.run()
    world.put(b"b")
    world.run()
    world.things.clear()
    assert world.run().total.vanished == 2
    assert [item["native"] for item in world.event_items("items.vanished")] == ["a", "b"]


def test_an_item_lost_while_read_is_a_bounded_gap(world: World) -> None:
    world.put(b"a", raises=raises(VANISHED))
    world.put(b"b", raises=raises(VANISHED))
    world.run()
    ledger, _, _ = world.begin()
    (gap,) = ledger.gaps()
    assert (gap.cause, gap.lost_at_most) == ("vanished-while-read", 2)
    assert gap.interval[1] is not None
    assert gap.interval[0] < gap.interval[1]


# --- problems as events ----------------------------------------------------------------------------------------


def test_problems_go_to_events_in_batches_and_only_the_first_stay_in_memory(world: World) -> None:
    count = 2 * BATCH_ITEMS + 7
    for number in range(count):
        world.put(b"%05d" % number, trouble="permission-denied")
    report = world.run()
    found = world.events("items.failed")
    assert [len(event.body["items"]) for event in found] == [BATCH_ITEMS, BATCH_ITEMS, 7]
    names = [item["native"] for event in found for item in event.body["items"]]
    assert names == [f"{number:05d}" for number in range(count)]
    assert len(report.sources[0].failed) == SHOWN_ITEMS
    assert report.total.failed == count
    assert {event.body["pass"] for event in found} == {report.pass_id}


def test_an_event_stays_far_below_what_a_value_may_be(world: World) -> None:
    name = b"\xff" * 200_000  # a path has no longest form; each byte becomes three characters
    for number in range(4):
        world.put(b"%d" % number + name, trouble="permission-denied")
    world.run()
    found = world.events("items.failed")
    assert sum(len(event.body["items"]) for event in found) == 4
    assert len(found) >= 2
    assert all(len(str(event.body)) < BATCH_BYTES + 700_000 for event in found)


def test_specials_are_named_in_events_and_rules_only_counted(world: World) -> None:
    world.clauses = (Clause("text", ("docs",), paths=("*.txt",)),)
    world.put(b"a.txt")
    world.put(b"b.bin")
    world.put(b"pipe", kind=Kind.SPECIAL, reason="fifo")
    report = world.run()
    assert dict(report.total.excluded_by) == {"fifo": 1, "path": 1}
    assert world.event_items("items.excluded") == [{"native": "pipe", "cause": "fifo", "detail": ""}]


def test_the_pass_event_says_what_was_counted(world: World) -> None:
    world.put(b"a")
    world.put(b"b", trouble="io-error")
    report = world.run()
    (event,) = world.events("pass")
    assert event.actor == "operator:tester"
    assert event.body["sources"]["docs"]["failed_by"] == {"io-error": 1}
    assert {**event.body, "started_us": 0, "finished_us": 0, "pass": 0} == {
        **report.to_json(), "started_us": 0, "finished_us": 0, "pass": 0,
    }  # fmt: skip


def test_two_passes_over_the_same_world_say_the_same(tmp_path: Path) -> None:
    said = []
    for name in ("one", "two"):
        world = World(tmp_path / name)
        for number in range(40):
            world.put(b"%02d" % (number * 7 % 40), trouble="" if number % 3 else f"cause-{number % 2}")
        said.append((world.run().to_json(), world.event_items("items.failed")))
    assert said[0] == said[1]


# --- many ------------------------------------------------------------------------------------------------------


class Troubles:
    """Offer very many things that cannot be read, without holding them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def test(self) -> None:
        pass

    def offered(self) -> Iterator[Offered | Trouble]:
        for number in range(self.count):
            name = b"%09d" % number
            yield Trouble(name, name, "permission-denied")

    def read(self, offered: Offered) -> None:
        raise AssertionError


def peak_of_a_pass(root: Path, count: int) -> int:
    world = World(root)
    world.source = Troubles(count)  # type: ignore[assignment]
    world.begin()
    tracemalloc.start()
    try:
        report = world.run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.total.failed == count
    return peak


def test_memory_does_not_grow_with_what_failed(tmp_path: Path) -> None:
    small, large = peak_of_a_pass(tmp_path / "s", 5_000), peak_of_a_pass(tmp_path / "l", 40_000)
    assert large < small + (6 << 20), (small, large)


@pytest.mark.long
def test_memory_does_not_grow_with_a_million_that_failed(tmp_path: Path) -> None:
    small, large = peak_of_a_pass(tmp_path / "s", 5_000), peak_of_a_pass(tmp_path / "l", 1_000_000)
    assert large < small + (12 << 20), (small, large)


# --- counts ----------------------------------------------------------------------------------------------------


def test_counts_that_do_not_add_up_stop_the_pass() -> None:
    counts = Counts(offered=3, new=1, unchanged=1)
    with pytest.raises(CountsDoNotAddUp, match=r"offered 3 is not sealed 2"):
        counts.reconcile("docs")
    counts.excluded_by["path"] += 1
    counts.reconcile("docs")


def test_counts_of_sources_are_added_field_by_field() -> None:
    first, second = Counts(), Counts()
    names = [name for name in Counts.__slots__ if not name.endswith("_by")]
    for number, name in enumerate(names, 1):
        setattr(first, name, number)
        setattr(second, name, 100 * number)
    first.failed_by["x"], second.failed_by["x"] = 1, 2
    first.add(second)
    assert [getattr(first, name) for name in names] == [101 * number for number in range(1, len(names) + 1)]
    assert first.failed_by == {"x": 3}
