"""Contents under a list of hashes: looked up before anything is written, and never let go of unseen."""

import hashlib
import json
from collections.abc import Callable, Iterator

import pyrage
import pytest

from scelle.capture import listing
from scelle.formats.compartments import is_restricted_row
from scelle.scope.hashes import read_hashes
from scelle.scope.model import Clause, Keep
from scelle.sources.interfaces import PIECE_BYTES
from scelle.vault.packs import PackStore

from .world import Crash, Thing, World

NAME = b"telling-name.png"
SECRET = b"what two people open, and nobody else " * 300
LARGE = SECRET * ((18 << 20) // len(SECRET))
PAGE = b"a plain page that nobody looks for. " * ((18 << 20) // 36)


def clause(*contents: bytes, keep: Keep = Keep.CONTENT) -> Clause:
    text = "\n".join(hashlib.sha256(each).hexdigest() for each in contents)
    return Clause("listed", ("docs",), keep=keep, restricted_hashes=read_hashes("known.txt", [text.encode()]))


@pytest.fixture
def world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    world.clauses = (clause(SECRET, LARGE),)
    world.compartment = str(pyrage.x25519.Identity.generate().to_public())
    monkeypatch.setattr(listing, "IN_MEMORY_BYTES", 1 << 20)
    return world


def restricted(world: World) -> list[bool]:
    return [is_restricted_row(row.split_values()) for row in world.rows()]


def packed(world: World) -> list[bytes]:
    """Everything that the packs hold, whether a record names it or not."""
    _, packs, _ = world.begin()
    found = [
        packs.read_bytes(each.digest)
        for pack_id in packs.pack_ids()
        for each in packs.scan(pack_id)
        if hasattr(each, "digest")
    ]
    world.end()
    return found


@pytest.mark.parametrize("data", [SECRET, LARGE])
@pytest.mark.parametrize("keep", list(Keep))
def test_a_listed_content_never_comes_into_the_packs(world: World, data: bytes, keep: Keep) -> None:
    world.clauses = (clause(SECRET, LARGE, keep=keep),)
    world.put(NAME, data)
    world.put(b"open.txt", b"a red boat")
    assert world.run().total.new == 2
    assert restricted(world) == [False, True]
    assert world.run().total.new == 0
    found = packed(world)
    assert any(each.startswith(b"age-encryption.org/v1") for each in found)
    assert not any(SECRET[:64] in each for each in found)
    assert any(each == b"a red boat" for each in found) is (keep is Keep.CONTENT)


def test_nothing_is_put_before_the_content_was_looked_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash at the look-up, the last moment before: the packs were not touched."""
    touched: list[str] = []
    monkeypatch.setattr(PackStore, "put", lambda *_: touched.append("put"))
    monkeypatch.setattr(PackStore, "put_stream", lambda *_: touched.append("put_stream"))

    def crash(*_: object) -> bool:
        raise Crash

    monkeypatch.setattr("scelle.scope.hashes.HashesFile.lists", crash)
    for data in (SECRET, LARGE):
        world.put(NAME, data)
        with pytest.raises(Crash):
            world.run()
    assert touched == []


def swapping(*readings: bytes) -> Callable[[Thing], Callable[[], Iterator[bytes]]]:
    """A stream that gives something else each time it is read, and says nothing of it; then the last for ever."""
    left = list(readings)

    def streamer(_: Thing) -> Callable[[], Iterator[bytes]]:
        def stream() -> Iterator[bytes]:
            data = left.pop(0) if len(left) > 1 else left[0]
            yield from (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))

        return stream

    return streamer


@pytest.mark.parametrize("readings", [(PAGE, LARGE), (LARGE, PAGE), (PAGE, LARGE, PAGE, LARGE)])
def test_a_large_content_that_is_swapped_between_readings_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, readings: tuple[bytes, ...]
) -> None:
    """What was looked up is what is kept, or nothing is."""
    world.put(NAME, PAGE)
    monkeypatch.setattr(world.source, "_streamer", swapping(*readings))
    report = world.run()
    counts = report.total
    if len(readings) == 4:
        assert counts.failed == 1
        assert restricted(world) == []
    else:
        assert counts.new == 1
        assert restricted(world) == [readings[-1] is LARGE]
    assert not any(SECRET[:64] in each for each in packed(world))
    for event in world.events():
        assert NAME.decode() not in json.dumps(event.body) or restricted(world) == [False]


def test_what_is_listed_later_is_read_again_though_its_stamp_says_unchanged(world: World) -> None:
    world.clauses = (clause(b"nothing that is there"),)
    world.put(NAME, SECRET)
    world.put(b"open.txt", b"a red boat")
    world.run()
    assert restricted(world) == [False, False]
    world.clauses = (*world.clauses, clause(SECRET))
    world.lose_catalog()
    report = world.run()
    assert (report.total.new, report.total.unchanged) == (1, 1)
    assert "1 went into the compartment" in report.sources[0].notes[0]
    assert restricted(world) == [False, False, True]
    world.clauses = (clause(b"nothing that is there"),)
    assert world.run().total.new == 0, "what was put in once stays restricted"
    world.things[NAME].data = b"another version, which no list has"
    world.run()
    assert restricted(world) == [False, False, True, True]


def test_failures_under_a_list_are_named_by_nobody(world: World) -> None:
    world.put(NAME, SECRET, trouble="permission")
    assert world.run().total.failed == 1
    (item,) = world.event_items("items.failed")
    assert item["native"].startswith("restricted:r")
    assert hashlib.sha256(SECRET).hexdigest() not in json.dumps([each.body for each in world.events()])
