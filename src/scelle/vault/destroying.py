"""Destroy contents in packs, so that nothing of them opens again, and lose none of those that stand beside them.

A pack is write-once: a content is destroyed by destroying the key of its frame (docs/formats/vault.md). What stands in
the same frame and must stay is first put into a new frame, and synced. The index forgets what is to go before it goes,
so that whoever puts the same content again keeps it anew. A crash anywhere leaves every survivor in at least one frame
that opens; doing it again finishes what was begun.
"""

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from scelle.errors import BlobMissing, PackDamaged
from scelle.vault.frames import KEYS_HEADER_BYTES, FrameCoder, FrameDamage, Table
from scelle.vault.keys import WRAPPED_BYTES, VaultKey
from scelle.vault.packs import PackStore
from scelle.vault.reading import FrameView, PackFile

NO_KEY: Final = bytes(WRAPPED_BYTES)
"""Stands in the keys file in place of a wrapped key that was destroyed."""


@dataclass(slots=True)
class Destroyed:
    """What was destroyed: contents and their bytes, frames whose keys went, packs removed, survivors moved."""

    contents: int = 0
    bytes: int = 0
    frames: int = 0
    packs: int = 0
    moved: int = 0


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What the packs themselves still tell, trusting no index.

    `found` counts contents of which a copy opens, `unclear` the frames that have a key and do not tell what they hold.
    """

    found: int
    unclear: int


def destroy_contents(packs: PackStore, key: VaultKey, doomed: Collection[bytes]) -> Destroyed:
    """Destroy the contents with these SHA-256; the caller answers for nobody needing them any more.

    Durable when it returns. May be called again after a crash, with the same digests. Raises `PackDamaged`, and
    destroys no key of that pack, where a content that must stay cannot be read. Memory: one frame, beside `doomed`.
    """
    done, coder = Destroyed(), FrameCoder(key)
    packs.end_pack()
    packs.forget_for_good(doomed)
    for pack_id in packs.pack_ids():
        try:
            file = packs.open_pack(pack_id)
        except BlobMissing:
            continue  # keys without a pack: a crash came between the two removals
        with closing(file):
            _destroy_in(packs, coder, file, doomed, done)
    packs.settle()
    packs.remove_lone_keys()
    return done


def read_back(packs: PackStore, doomed: Collection[bytes]) -> ReadBack:
    """Walk through the tables of all packs as they stand on the disk, and look for contents that were destroyed."""
    found, unclear = set[bytes](), 0
    for pack_id in packs.pack_ids():
        try:
            file = packs.open_pack(pack_id)
        except BlobMissing:
            continue
        with closing(file):
            told = set()
            for offset, table in file.tables():
                told.add(file.header_at(offset)[0].number)
                found.update(digest for digest, _ in table if digest in doomed)
            unclear += len(_living(file) - told)
    return ReadBack(len(found), unclear)


def _destroy_in(
    packs: PackStore, coder: FrameCoder, file: PackFile, doomed: Collection[bytes], done: Destroyed
) -> None:
    """Destroy what is doomed in one pack; remove it where nothing is left in it."""
    hit: list[int] = []
    moved = done.moved
    for offset, table in file.tables():
        gone = [size for digest, size in table if digest in doomed]
        if gone:
            hit.append(file.header_at(offset)[0].number)
            if len(gone) < len(table):
                done.moved += _move_survivors(packs, coder, file, offset, doomed)
            done.contents += len(gone)
            done.bytes += sum(gone)
    if done.moved > moved:
        packs.settle()  # the survivors stand in new frames, and the index says so, before the old ones go
    if hit:
        packs.destroy_keys(file.pack_id, _without(file, hit))
        done.frames += len(hit)
    if file.is_sealed and file.has_whole_keys and file.keys and _living(file) <= set(hit):
        packs.remove_pack(file.pack_id)
        done.packs += 1


def _living(file: PackFile) -> set[int]:
    """Return the numbers of the frames whose keys were not destroyed, without the end frame, which holds nothing."""
    frames = file.keys[:-1] if file.is_sealed else file.keys
    return {number for number, wrapped in enumerate(frames) if wrapped != NO_KEY}


def _without(file: PackFile, numbers: Sequence[int]) -> bytes:
    """Return the bytes of a keys file in which the keys of some frames are destroyed."""
    keys = bytearray(file.keys_bytes)
    for number in numbers:
        start = KEYS_HEADER_BYTES + WRAPPED_BYTES * number
        keys[start : start + WRAPPED_BYTES] = NO_KEY
    return bytes(keys)


def _move_survivors(
    packs: PackStore, coder: FrameCoder, file: PackFile, offset: int, doomed: Collection[bytes]
) -> int:
    """Put what must stay of a frame into new frames; durable after the next sync. Return how many there were."""
    moved = start = 0
    table, plain = _opened(coder, file, offset)
    for digest, size in table:
        data = plain[start : start + size]
        start += size
        if digest in doomed:
            continue
        if sha256(data).digest() != digest:
            raise _damaged(file, offset, "a content that must stay has another SHA-256")
        packs.put_again(digest, data)
        moved += 1
    return moved


def _opened(coder: FrameCoder, file: PackFile, offset: int) -> tuple[Table, bytes]:
    """Open a frame of several contents; a large content has a frame, and a pack, of its own."""
    try:
        view = FrameView(file, offset)
        table = view.table()
        return table, view.body(coder, table)
    except FrameDamage as damage:
        raise _damaged(file, offset, str(damage)) from damage


def _damaged(file: PackFile, offset: int, what: str) -> PackDamaged:
    return PackDamaged(
        f"pack {file.pack_id}, frame at byte {offset}: {what}, and holds what must stay: restore the pack from a copy, "
        "then run the command again; nothing of it was destroyed",
        file.pack_id,
        None,
        offset,
    )
