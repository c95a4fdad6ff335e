"""Destroy contents in packs, so that nothing of them opens again, and lose none of those that stand beside them.

A pack is write-once: a content is destroyed by destroying the key of its frame (docs/formats/vault.md). What stands in
the same frame and must stay is first put into a new frame, and synced. A crash anywhere leaves every survivor in at
least one frame that opens; doing it again finishes what was begun.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from scelle.vault.frames import END, KEYS_HEADER_BYTES, keys_name, pack_id_of, pack_name
from scelle.vault.interfaces import Backend, ContentIndex
from scelle.vault.keys import WRAPPED_BYTES, VaultKey
from scelle.vault.packs import PackStore
from scelle.vault.reading import PackFile
from scelle.vault.repair import PACKS_PREFIX

_END_BYTES: Final = 56
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


def destroy_contents(
    packs: PackStore, backend: Backend, key: VaultKey, index: ContentIndex, doomed: Collection[bytes]
) -> Destroyed:
    """Destroy the contents with these SHA-256; the caller answers for nobody needing them any more.

    Durable when it returns. May be called again after a crash, with the same digests.
    """
    done = Destroyed()
    packs.sync()
    for pack_id in packs.pack_ids():
        if _destroy_in(packs, backend, key, pack_id, doomed, done):
            index.forget_pack(pack_id)
    for digest in doomed:
        index.forget(digest)
    index.commit()
    _remove_keys_left_over(backend)
    return done


def _destroy_in(
    packs: PackStore,
    backend: Backend,
    key: VaultKey,
    pack_id: str,
    doomed: Collection[bytes],
    done: Destroyed,
) -> bool:
    """Destroy what is doomed in one pack; tell whether nothing was left in it, so that it went as a whole."""
    if not backend.exists(pack_name(pack_id)):
        return False  # one that this very process is writing: what it holds was put just now
    file = PackFile(backend, key, pack_id)
    try:
        frames = [(file.header_at(offset)[0].number, table) for offset, table in file.tables()]
        living = {number for number, wrapped in enumerate(file.keys) if wrapped != NO_KEY}
        keys = bytearray(file.keys_bytes)
        end = file.header_at(file.size - _END_BYTES)[0]
    finally:
        file.close()
    hit = [(number, table) for number, table in frames if any(digest in doomed for digest, _ in table)]
    if not hit:
        return False
    survivors = [digest for _, table in hit for digest, _ in table if digest not in doomed]
    _move(packs, survivors, done)
    for number, table in hit:
        at = KEYS_HEADER_BYTES + WRAPPED_BYTES * number
        keys[at : at + WRAPPED_BYTES] = NO_KEY
        done.frames += 1
        gone = [size for digest, size in table if digest in doomed]
        done.contents += len(gone)
        done.bytes += sum(gone)
    packs.let_go(pack_id)
    backend.replace(keys_name(pack_id), keys)
    if living - {number for number, _ in hit} <= {end.number} and end.kind == END:
        backend.remove(
            pack_name(pack_id)
        )  # a crash here leaves keys that open nothing, removed the next time
        backend.remove(keys_name(pack_id))
        done.packs += 1
        return True
    return False


def _move(packs: PackStore, survivors: list[bytes], done: Destroyed) -> None:
    """Put what must stay into new frames, durably, before the key of the old one goes."""
    for digest in survivors:
        data = packs.read_bytes(digest)
        packs.forget([digest])
        packs.put(data, digest)
        done.moved += 1
    packs.sync()


def _remove_keys_left_over(backend: Backend) -> None:
    """Remove keys files without a pack that open nothing: a crash came between the two removals."""
    names = backend.list(PACKS_PREFIX)
    there = {pack_id_of(name) for name in names if name.endswith(".pack")}
    for name in names:
        if name.endswith(".keys") and pack_id_of(name) not in there:
            blob = backend.open(name)
            try:
                wrapped = blob.pread(KEYS_HEADER_BYTES, blob.size)
            finally:
                blob.close()
            if not any(wrapped[:-WRAPPED_BYTES]):
                backend.remove(name)
