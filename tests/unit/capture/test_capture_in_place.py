"""Of what a clause keeps by its digest only, the bytes stay in place and are read again in every pass."""

import hashlib

import pytest

from scelle.formats.records import chunk_root
from scelle.scope.model import Clause, Keep
from scelle.sources.interfaces import WHOLE_BYTES, Kind

from .world import NOW_US, World

DIGEST = (Clause("all", ("docs",), keep=Keep.DIGEST),)


@pytest.fixture
def in_place(world: World) -> World:
    world.clauses = DIGEST
    return world


@pytest.mark.parametrize(
    "data", [b"", b"a red boat", bytes(WHOLE_BYTES + 5)], ids=["empty", "small", "large"]
)
def test_the_digest_is_sealed_and_the_bytes_are_not_kept(in_place: World, data: bytes) -> None:
    in_place.put(b"a", data)
    assert in_place.run().total.new == 1
    (record,) = in_place.records()
    assert (record.digest, record.size_bytes) == (hashlib.sha256(data).digest(), len(data))
    assert record.meta["keep"] == "digest"
    assert not in_place.holds(data)


@pytest.mark.parametrize("keep", list(Keep))
@pytest.mark.parametrize("size", [0, 5, 1 << 20, (1 << 20) + 1, WHOLE_BYTES, WHOLE_BYTES + 5])
def test_chunks_are_salted_with_the_records_own_key(world: World, keep: Keep, size: int) -> None:
    world.clauses = (Clause("all", ("docs",), keep=keep),)
    data = bytes(range(251)) * (size // 251 + 1)
    world.put(b"a", data[:size])
    world.run()
    (record,) = world.records()
    assert record.chunks == chunk_root(record.record_key[:16], data[:size])


def test_it_is_read_in_every_pass_and_sealed_once(in_place: World) -> None:
    in_place.put(b"a")
    for _ in range(3):
        in_place.run()
    assert in_place.source.reads == [b"a"] * 3
    assert len(in_place.records()) == 1


def test_bytes_that_changed_behind_the_stamp_are_said_aloud(in_place: World) -> None:
    in_place.put(b"a", b"as it was", stamp=b"as ever")
    in_place.put(b"b", stamp=b"as ever")
    in_place.run()
    in_place.things[b"a"].data = b"as it w\x00s"
    report = in_place.run()
    assert (report.total.new, report.total.unchanged, report.total.changed_in_place) == (1, 1, 1)
    assert [problem.native for problem in report.sources[0].changed_in_place] == ["a"]
    (event,) = in_place.events("item.changed-in-place")
    assert {key: event.body[key] for key in ("native", "sealed_seq", "seq", "source")} == {
        "native": "a", "sealed_seq": 0, "seq": 2, "source": "s0001",
    }  # fmt: skip
    report = in_place.run()
    assert (report.total.changed_in_place, report.total.unchanged) == (0, 2)
    assert len(in_place.events("item.changed-in-place")) == 1


def test_bytes_that_changed_openly_are_a_new_version_and_no_alarm(in_place: World) -> None:
    in_place.put(b"a", b"as it was")
    in_place.run()
    in_place.put(b"a", b"as it is")
    report = in_place.run()
    assert (report.total.new, report.total.changed_in_place) == (1, 0)
    assert in_place.events("item.changed-in-place") == []


def test_it_is_said_also_without_the_catalog(in_place: World) -> None:
    in_place.put(b"a", b"as it was", stamp=b"as ever")
    in_place.run()
    in_place.lose_catalog()
    in_place.things[b"a"].data = b"as it is"
    assert in_place.run().total.changed_in_place == 1


def test_metadata_alone_under_the_same_stamp_is_the_same_version(in_place: World) -> None:
    """Metadata of a mail says where in its mbox it stands; its stamp is made of its bytes."""
    thing = in_place.put(b"inbox#1", stamp=b"content", meta={"offset": "0"}, mtime_ns=0)
    in_place.run()
    thing.meta = {"offset": "512"}
    report = in_place.run()
    assert (report.total.unchanged, report.total.changed_in_place, len(in_place.records())) == (1, 0, 1)


@pytest.mark.parametrize("stamp", [b"", None])
def test_without_a_stamp_nothing_can_hide_behind_it(in_place: World, stamp: bytes | None) -> None:
    """An empty stamp, or one too young to be trusted, says nothing: a change is a new version, no alarm."""
    racy_ns = in_place.clock.us * 1000 if stamp is None else 0
    thing = in_place.put(b"a", b"as it was", stamp=stamp, mtime_ns=racy_ns)
    if stamp is None:
        thing.stamp = b"young"
    in_place.run()
    thing.data = b"as it is"
    report = in_place.run()
    assert (report.total.new, report.total.changed_in_place) == (1, 0)


def test_what_vanished_is_gone_for_good_and_said_so(in_place: World) -> None:
    in_place.clauses = (*DIGEST, Clause("text", ("docs",), paths=("*.txt",)))
    in_place.put(b"kept.txt")
    in_place.put(b"left.bin")
    in_place.run()
    in_place.things.clear()
    report = in_place.run()
    assert (report.total.vanished, report.total.vanished_in_place) == (2, 1)
    details = {item["native"]: item["detail"] for item in in_place.event_items("items.vanished")}
    assert details == {"kept.txt": "", "left.bin": "only its digest was kept"}


def test_a_clause_that_now_wants_the_content_gets_it(in_place: World) -> None:
    in_place.put(b"a", b"wanted later")
    in_place.run()
    in_place.clauses = (Clause("all", ("docs",)),)
    assert (in_place.run().total.new, in_place.holds(b"wanted later")) == (1, True)
    assert in_place.run().total.unchanged == 1
    assert [record.meta.get("keep") for record in in_place.records()] == ["digest", None]


def test_content_that_is_kept_is_not_sealed_again_by_its_digest(world: World) -> None:
    world.put(b"a")
    world.run()
    world.clauses = DIGEST
    assert world.run().total.unchanged == 1
    world.things[b"a"].stamp = b"moved to another disk"
    assert (world.run().total.unchanged, len(world.records())) == (1, 1)


def test_media_types_decide_after_reading_what_is_left_in_place(in_place: World) -> None:
    """Before reading, the clause that keeps contents covers in doubt; the digest clause is what remains."""
    in_place.clauses = (Clause("text", ("docs",), media_types=("text/*",)), *DIGEST)
    in_place.put(b"a", b"words")
    in_place.put(b"b", b"pixels", media_type="image/png", stamp=b"as ever")
    in_place.run()
    assert (in_place.holds(b"words"), in_place.holds(b"pixels")) == (True, False)
    in_place.source.reads.clear()
    in_place.things[b"b"].data = b"other pixels"
    report = in_place.run()
    assert in_place.source.reads == [b"b"]
    assert report.total.changed_in_place == 1


def test_a_link_left_in_place_is_a_link(in_place: World) -> None:
    in_place.put(b"a", b"target", kind=Kind.LINK)
    assert in_place.run().total.links == 1
    assert in_place.run().total.links == 1


# --- what is too young to be trusted ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_us", "is_read_again"),
    [
        (0, True),
        (1_900_000, True),
        (-1_900_000, True),
        (2_100_000, False),
        (-2_100_000, False),
        (-480 * 366 * 86_400 * 1_000_000, False),  # a file of the year 2500
        (120 * 366 * 86_400 * 1_000_000, False),  # of 1905
    ],
)
def test_an_mtime_within_two_seconds_of_the_pass_is_read_again(
    world: World, age_us: int, is_read_again: bool
) -> None:
    world.put(b"a", mtime_ns=(NOW_US - age_us) * 1000)
    world.run()
    world.source.reads.clear()
    world.clock.us += 60_000_000
    report = world.run()
    assert (report.total.unchanged, world.source.reads) == (1, [b"a"] if is_read_again else [])
    world.source.reads.clear()
    world.run()
    assert world.source.reads == []
    assert len(world.records()) == 1


def test_a_change_in_the_same_tick_is_found(world: World) -> None:
    """Same size, same times, another content: what the rule of two seconds is for."""
    thing = world.put(b"a", b"first", mtime_ns=NOW_US * 1000, stamp=b"same times, same size")
    world.run()
    thing.data = b"other"
    assert world.run().total.new == 1
    assert world.contents() == {"a": b"other"}


def test_a_file_that_changed_since_it_was_offered_is_not_trusted(world: World) -> None:
    """Offered as old, rewritten before it was read: a second change in that tick must not hide."""
    thing = world.put(b"a", b"first")

    def rewrite() -> None:
        thing.data, thing.stamp, thing.on_read = b"second", b"the tick in which it was read", None

    thing.on_read = rewrite
    world.run()
    thing.data = b"third!"
    assert world.run().total.new == 1
    assert world.contents() == {"a": b"third!"}


def test_an_item_without_a_stamp_is_always_read(world: World) -> None:
    world.put(b"a", stamp=b"", mtime_ns=0)
    for _ in range(3):
        world.run()
    assert world.source.reads == [b"a"] * 3
    assert len(world.records()) == 1


def test_every_version_is_kept_also_one_that_comes_back(world: World) -> None:
    for data in (b"one", b"two", b"one"):
        world.put(b"a", data)
        assert world.run().total.new == 1
    digests = [record.digest for record in world.records()]
    assert digests == [hashlib.sha256(data).digest() for data in (b"one", b"two", b"one")]


def test_metadata_alone_is_a_new_version(world: World) -> None:
    thing = world.put(b"a")
    world.run()
    thing.edits = 1
    assert world.run().total.new == 1
    assert [record.meta["edits"] for record in world.records()] == [0, 1]
