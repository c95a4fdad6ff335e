"""Restricted documents: put in while they are read, and nothing of them anywhere else."""

import hashlib
import os
from pathlib import Path

import pyrage
import pytest

from scelle.capture.store import ItemKeys, parse_side
from scelle.errors import CompartmentMissing, ItemChanged, ItemUnreadable, ItemVanished
from scelle.formats.compartments import (
    CompartmentReader,
    CompartmentTail,
    ciphertext_of,
    is_restricted_row,
    kept_commitment,
)
from scelle.formats.records import ChunkRoot
from scelle.ledger.rows import Row
from scelle.scope.model import Clause, Keep
from scelle.sources.interfaces import Kind
from scelle.vault.compartment import open_pieces

from .world import Crash, World

CLAUSES = (
    Clause("all", ("docs",)),
    Clause("shut", ("docs",), paths=("*.png",), restricted=True),
)
NAME = b"telling-name.png"
SECRET = b"what two people open, and nobody else " * 3


@pytest.fixture
def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def world(world: World, identity: pyrage.x25519.Identity) -> World:
    world.clauses = CLAUSES
    world.compartment = str(identity.to_public())
    return world


def inside(
    world: World, row: Row, identity: pyrage.x25519.Identity
) -> tuple[bytes, CompartmentReader, CompartmentTail]:
    named = ciphertext_of(row.split_values())
    assert named is not None
    _, packs, _ = world.begin()
    ciphertext = packs.read_bytes(named.digest)
    world.end()
    assert len(ciphertext) == named.size_bytes
    reader, found = CompartmentReader(), bytearray()
    open_pieces(identity, iter([ciphertext]), lambda piece: found.extend(reader.feed(piece)))
    return bytes(found), reader, reader.finish()


def all_files(root: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (9 << 20) + 5])
def test_the_record_commits_to_what_lies_in_the_compartment(
    size: int, world: World, identity: pyrage.x25519.Identity
) -> None:
    data = os.urandom(size)
    world.put(NAME, data, media_type="image/png")
    report = world.run()
    assert (report.total.new, report.total.bytes) == (1, size)
    (row,) = world.rows()
    content, reader, tail = inside(world, row, identity)
    root = ChunkRoot(row.record_key[:16])
    root.update(data)
    assert content == data
    assert reader.head is not None
    assert (reader.head.native, reader.head.media_type) == (NAME, "image/png")
    assert reader.head.meta_json == world.things[NAME].meta_json
    assert (tail.digest, tail.chunks, tail.size_bytes) == (hashlib.sha256(data).digest(), root.digest(), size)
    assert tuple(row.split_values()[5:7]) == tail.closed_values()


def test_the_log_has_the_commitment_of_the_closed_row(world: World) -> None:
    world.put(NAME, SECRET)
    world.put(b"open.txt")
    world.run()
    ledger, _, _ = world.begin()
    (manifest,) = [each for _, each in ledger.manifests() if each.source == "s0001"]
    reader = ledger.segment(manifest)
    rows = list(reader.rows())
    committed = reader.hashes(0, 2)
    reader.close()
    world.end()
    for place, row in enumerate(rows):
        rc = kept_commitment(row.record_key[:16], row.split_values())
        assert committed[32 * place : 32 * place + 32] == rc


def test_the_same_content_twice_is_kept_twice_and_does_not_show(world: World) -> None:
    world.put(b"a.png", SECRET)
    world.put(b"b.png", SECRET)
    world.run()
    one, two = world.rows()
    found = [ciphertext_of(row.split_values()) for row in (one, two)]
    assert found[0] != found[1]
    assert (
        set(one.split_values()[3:7]).isdisjoint(two.split_values()[3:7])
        or one.split_values()[4] == b"n\0\0\0\0"
    )
    sides = [parse_side(row) for row in (one, two)]
    assert len({each[1].version for each in sides if each}) == 2


def test_what_is_unchanged_is_not_read_again_and_what_changed_is_a_new_version(world: World) -> None:
    world.put(NAME, SECRET)
    world.run()
    world.source.reads.clear()
    assert world.run().total.unchanged == 1
    assert world.source.reads == []
    world.lose_catalog()
    assert world.run().total.unchanged == 1
    assert world.source.reads == [], "the rows tell it"
    world.put(NAME, SECRET + b"more")
    assert world.run().total.new == 1
    assert len(world.rows()) == 2


def test_what_was_sealed_restricted_stays_restricted(world: World) -> None:
    world.put(NAME, SECRET)
    world.run()
    world.clauses = CLAUSES[:1]
    assert world.run().total.unchanged == 1
    world.put(NAME, SECRET + b"more")
    world.run()
    assert [is_restricted_row(row.split_values()) for row in world.rows()] == [True, True]


def test_what_was_sealed_openly_goes_in_and_its_open_copy_is_told(world: World) -> None:
    world.clauses = CLAUSES[:1]
    world.put(NAME, SECRET)
    world.run()
    world.clauses = CLAUSES
    report = world.run()
    assert report.total.new == 1
    assert "1 went into the compartment that were sealed openly before" in report.sources[0].notes[0]
    assert [is_restricted_row(row.split_values()) for row in world.rows()] == [False, True]
    assert world.run().sources[0].notes == []


def test_a_digest_kept_in_place_goes_in_without_content(
    world: World, identity: pyrage.x25519.Identity
) -> None:
    world.clauses = (Clause("shut", ("docs",), restricted=True, keep=Keep.DIGEST),)
    world.put(NAME, SECRET)
    world.run()
    (row,) = world.rows()
    content, reader, tail = inside(world, row, identity)
    assert (content, reader.head and reader.head.is_kept) == (b"", False)
    assert (tail.digest, tail.size_bytes) == (hashlib.sha256(SECRET).digest(), len(SECRET))


def test_without_a_compartment_nothing_is_read(world: World) -> None:
    world.compartment = None
    world.put(NAME, SECRET)
    with pytest.raises(CompartmentMissing, match="restricted init"):
        world.run()
    assert world.source.reads == []


def test_nothing_in_events_and_reports_names_a_restricted_item(world: World) -> None:
    said = f"{NAME.decode()}: no"
    world.put(NAME, SECRET, raises=[ItemUnreadable(said, "unreadable")])
    world.put(b"lost.png", SECRET, raises=[ItemVanished(said, "vanished-while-read")])
    world.put(b"trouble.png", trouble="permission")
    world.put(b"socket.png", kind=Kind.SPECIAL, reason="socket")
    world.put(b"open.txt", raises=[ItemUnreadable("open.txt: no", "unreadable")])
    report = world.run()
    shadow = ItemKeys(world.key, "docs").shadow
    assert {each.native for each in report.sources[0].failed} == {
        shadow(NAME),
        shadow(b"trouble.png"),
        "open.txt",
    }
    assert [each.native for each in report.sources[0].lost] == [shadow(b"lost.png")]
    text = str([event.body for event in world.events()])
    assert "open.txt" in text
    for name in ("telling", "lost.png", "trouble.png", "socket.png"):
        assert name not in text


def test_what_vanished_and_came_back_is_named_by_its_keyed_id(world: World) -> None:
    thing = world.put(NAME, SECRET)
    world.run()
    del world.things[NAME]
    world.run()
    world.things[NAME] = thing
    world.run()
    shadow = ItemKeys(world.key, "docs").shadow(NAME)
    for kind in ("items.vanished", "items.returned"):
        assert [item["native"] for item in world.event_items(kind)] == [shadow]


def test_what_changes_while_it_is_read_leaves_nothing(world: World) -> None:
    world.put(NAME, os.urandom(9 << 20), raises_late=[ItemChanged("changed"), ItemChanged("changed")])
    assert world.run().total.failed == 1
    assert world.rows() == []
    _, packs, _ = world.begin()
    assert packs.pack_ids() == []
    world.end()


def test_a_crash_in_the_middle_of_a_put_leaves_nothing_readable(world: World) -> None:
    marker = os.urandom(32)
    thing = world.put(NAME, marker * (300 << 10), raises_late=[Crash()])
    with pytest.raises(Crash):
        world.run()
    assert marker not in all_files(world.root)
    assert world.rows() == []
    thing.raises_late.clear()
    assert world.run().total.new == 1
    assert marker not in all_files(world.root)


def test_a_file_written_just_now_is_put_in_again_since_nothing_else_could_tell(world: World) -> None:
    world.put(NAME, SECRET, mtime_ns=world.clock.us * 1000)
    world.run()
    world.clock.us += 10_000_000
    assert world.run().total.new == 1
    assert world.run().total.unchanged == 1
