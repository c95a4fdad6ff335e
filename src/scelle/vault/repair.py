"""Bring the packs into order after a crash, and the index into agreement with the packs.

What a crash leaves (docs/formats/vault.md): an unfinished pack with the keys of the frames that were durable,
and behind those a tail that was never confirmed to anyone. The tail is cut, the pack ended and published.
Nothing that a key can still open is ever cut.
"""

from dataclasses import dataclass
from typing import Final

from scelle.errors import BlobMissing
from scelle.vault.frames import (
    END,
    KEYS_HEADER_BYTES,
    PACK_HEADER_BYTES,
    FrameCoder,
    FrameDamage,
    keys_name,
    pack_id_of,
    pack_identity,
    pack_name,
)
from scelle.vault.interfaces import Backend, ContentIndex
from scelle.vault.keys import WRAPPED_BYTES, VaultKey
from scelle.vault.reading import FrameView, PackFile

PACKS_PREFIX: Final = "packs/"
_LEFT_BY_A_REPLACE: Final = ".keys.tmp"


@dataclass(frozen=True, slots=True)
class RepairReport:
    """Count what a repair did, for the operator: packs ended, packs dropped, bytes cut, packs (un)indexed."""

    ended_packs: int = 0
    dropped_packs: int = 0
    cut_bytes: int = 0
    indexed_packs: int = 0
    forgotten_packs: int = 0


def repair_after_crash(backend: Backend, key: VaultKey, index: ContentIndex) -> RepairReport:
    """End or drop every unfinished pack, then make `index` agree with the packs and commit it.

    Only the one writer may call this. Idempotent: a crash within leaves work that the next call does.
    """
    for name in backend.list(PACKS_PREFIX):
        if name.endswith(_LEFT_BY_A_REPLACE):
            backend.remove(name)
    endings = [_end(backend, key, pack_id) for pack_id in _unfinished_ids(backend)]
    cuts = [cut for cut in endings if cut is not None]
    indexed, forgotten = _reconcile(backend, key, index)
    return RepairReport(len(cuts), len(endings) - len(cuts), sum(cuts), indexed, forgotten)


def index_pack(backend: Backend, key: VaultKey, index: ContentIndex, pack_id: str) -> None:
    """Add all objects of a pack to the index, from the tables of its frames; damaged frames are left out."""
    try:
        file = PackFile(backend, key, pack_id)
    except BlobMissing:
        return
    try:
        for offset, table in file.tables():
            index.add_frame(pack_id, offset, table)
        if file.is_sealed:
            index.complete_pack(pack_id)
    finally:
        file.close()


def _unfinished_ids(backend: Backend) -> list[str]:
    """List unfinished packs. Keys without a pack are left, for `verify` to name: no crash leaves them."""
    names = (name for name in backend.unfinished(PACKS_PREFIX) if name.endswith(".pack"))
    return sorted(pack_id for name in names if (pack_id := pack_id_of(name)) is not None)


def _reconcile(backend: Backend, key: VaultKey, index: ContentIndex) -> tuple[int, int]:
    sealed = {pack_id_of(name) for name in backend.list(PACKS_PREFIX) if name.endswith(".pack")} - {None}
    gone = index.known_packs() - sealed
    for pack_id in gone:
        index.forget_pack(pack_id)
    new = sorted(pack_id for pack_id in sealed if pack_id and pack_id not in index.complete_packs())
    for pack_id in new:
        index_pack(backend, key, index, pack_id)
    index.commit()
    return len(new), len(gone)


def _end(backend: Backend, key: VaultKey, pack_id: str) -> int | None:
    """End one unfinished pack and return how many bytes were cut, or drop it and return None."""
    file = PackFile(backend, key, pack_id)
    try:
        if backend.exists(keys_name(pack_id)):
            # Keys get their name only when the whole pack is durable: a cut could only hide damage.
            backend.resume(pack_name(pack_id), file.size).seal()
            return 0
        count = len(file.keys)
        if not count:
            _drop(backend, pack_id)
            return None
        end, is_ended = _durable_end(file, count)
        cut = file.size - end
    finally:
        file.close()
    _finish(backend, key, pack_id, end=end, count=count, is_ended=is_ended)
    return cut


def _durable_end(file: PackFile, count: int) -> tuple[int, bool]:
    """Say where the `count` durable frames end, and whether the last one ends the pack.

    Where that cannot be told, since the last of them is damaged, nothing is cut.
    """
    offset: int | None = PACK_HEADER_BYTES
    while offset is not None and offset < file.size:
        try:
            header, _ = file.header_at(offset)
        except FrameDamage:
            offset = file.next_marker(offset + 1)
            continue
        is_intact = _is_intact(file, offset)
        offset = file.after(header, offset, is_intact=is_intact)
        if header.number == count - 1:
            return offset or file.size, header.kind == END and is_intact
    return file.size, False


def _is_intact(file: PackFile, offset: int) -> bool:
    try:
        FrameView(file, offset).table()
    except FrameDamage:
        return False
    return True


def _finish(backend: Backend, key: VaultKey, pack_id: str, *, end: int, count: int, is_ended: bool) -> None:
    """Cut the tail, write the end frame and its key, and publish keys and pack, as `OpenPack.seal` does."""
    keys = backend.resume(keys_name(pack_id), KEYS_HEADER_BYTES + WRAPPED_BYTES * count)
    pack = backend.resume(pack_name(pack_id), end)
    if is_ended:
        pack.sync()
    else:
        frame = FrameCoder(key).seal_end(pack_identity(key.vault_id, pack_id), count)
        pack.write(frame.data)
        pack.sync()  # before its key, as always
        keys.write(frame.wrapped_key)
    keys.seal()
    pack.seal()


def _drop(backend: Backend, pack_id: str) -> None:
    """Drop a pack of which nothing was confirmed; keys first, so that no key is left without its pack."""
    backend.remove(keys_name(pack_id))
    backend.remove(pack_name(pack_id))
