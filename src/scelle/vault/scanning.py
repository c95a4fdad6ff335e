"""Re-read a pack and say everything that is wrong with it, trusting no catalog.

Established by a scan without faults: every byte of the pack and of its keys file is as the holder of the
vault's key wrote it, nothing was cut off, and every object has the SHA-256 that its table says. Not
established: that an object which some record needs is in any pack at all.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from scelle.errors import BlobMissing, StorageError
from scelle.vault.frames import (
    END,
    LARGE,
    PACK_HEADER_BYTES,
    FrameCoder,
    FrameDamage,
    FrameHeader,
    Table,
    keys_name,
    pack_name,
)
from scelle.vault.interfaces import Backend
from scelle.vault.keys import VaultKey
from scelle.vault.reading import FrameView, LargeObject, PackFile, are_destroyed, keys_bytes

PieceSink: TypeAlias = Callable[[bytes], None]
"""Takes the plaintext of one object, piece by piece (up to 1 MiB; small objects whole)."""
OnObject: TypeAlias = Callable[[bytes, int], PieceSink | None]
"""Takes the claimed digest (32 bytes) and size of an object that comes next; gives where its pieces go."""


class ScannedObject(NamedTuple):
    """Name an object whose bytes have the SHA-256 `digest` (32 bytes) and `size` bytes, and where it
    stands."""

    digest: bytes
    size: int
    pack: str
    frame: int
    offset: int


@dataclass(frozen=True, slots=True)
class PackFault:
    """Say what is wrong with a pack, and where: `offset` is a byte of `file`, `frame` a number if it is
    known.

    `lost` names the objects (SHA-256) that this fault takes away, as far as their table can still be read.
    """

    code: str
    pack: str
    file: str
    frame: int | None
    offset: int
    detail: str
    lost: tuple[bytes, ...] = ()


def scan_pack(
    backend: Backend, key: VaultKey, pack_id: str, on_object: OnObject | None = None
) -> Iterator[ScannedObject | PackFault]:
    """Read the pack `pack_id` from end to end; yield its intact objects and all its faults.

    Never raises because of what the pack holds. Memory stays flat: one frame, or one chunk of a large object.
    The pieces of an object reach its sink before its `ScannedObject` is yielded; when a fault comes instead,
    they are void. A pack that another process is still writing is read as far as it is durable.
    """
    try:
        file = PackFile(backend, key, pack_id)
    except BlobMissing:
        yield _without_pack(backend, pack_id)
        return
    except StorageError as error:
        yield PackFault("vault.pack_unreadable", pack_id, pack_name(pack_id), None, 0, str(error))
        return
    try:
        yield from _Scan(file, FrameCoder(key), on_object).results()
    finally:
        file.close()


def _without_pack(backend: Backend, pack_id: str) -> PackFault:
    """Say what keys without a pack are: damage, or what is left of a pack that was destroyed as a whole."""
    if are_destroyed(keys_bytes(backend, pack_id)):
        detail = "the pack was destroyed, and its keys, which open nothing, are still there"
        return PackFault("vault.frame_key_destroyed", pack_id, keys_name(pack_id), None, 0, detail)
    detail = "its keys are there, it is not"
    return PackFault("vault.pack_missing", pack_id, pack_name(pack_id), None, 0, detail)


class _Scan:
    """Walk one pack from its header to its end."""

    def __init__(self, file: PackFile, coder: FrameCoder, on_object: OnObject | None) -> None:
        self._file, self._coder, self._on_object = file, coder, on_object
        self._offset = PACK_HEADER_BYTES
        self._expected = 0
        self._end_frame: int | None = None

    def results(self) -> Iterator[ScannedObject | PackFault]:
        try:
            yield from self._header_faults()
            if not self._file.keys_bytes:
                return
            while self._has_more():
                yield from self._frame()
            yield from self._end_faults()
        except StorageError as error:
            yield self._fault("vault.pack_unreadable", str(error))

    def _has_more(self) -> bool:
        if self._offset >= self._file.size:
            return False
        return self._file.is_sealed or self._expected < len(self._file.keys)

    def _header_faults(self) -> Iterator[PackFault]:
        file = self._file
        if not file.is_sealed and not file.keys:
            return  # nothing in it is durable yet
        if file.bytes_at(0, PACK_HEADER_BYTES) != file.identity.header:
            yield self._fault(
                "vault.pack_header", "its first 47 bytes are not as they were written", offset=0
            )
        if not file.keys_bytes:
            yield self._keys_fault("vault.keys_missing", "its keys file is missing or empty: nothing opens")
        elif file.is_sealed and not file.has_whole_keys:
            yield self._keys_fault("vault.keys_damaged", "its header or its length is not as it was written")

    def _end_faults(self) -> Iterator[PackFault]:
        if not self._file.is_sealed:
            return
        if self._end_frame is None:
            yield self._fault(
                "vault.pack_cut", "its end frame is missing or damaged: frames may have been cut off"
            )
        elif len(self._file.keys) > self._end_frame + 1:
            yield self._keys_fault("vault.keys_damaged", "it has more keys than the pack has frames")

    def _frame(self) -> Iterator[ScannedObject | PackFault]:
        try:
            header, _ = self._file.header_at(self._offset)
        except FrameDamage as damage:
            yield self._fault(
                damage.code, f"no frame header as written stands here ({damage})", self._expected
            )
            self._move_to(self._file.next_marker(self._offset + 1))
            return
        yield from self._order_faults(header)
        offset, self._expected = self._offset, header.number + 1
        if header.kind == LARGE:
            yield from self._large(offset)
            return
        is_intact = True
        for result in self._group(header, offset):
            is_intact = is_intact and isinstance(result, ScannedObject)
            yield result
        self._move_to(self._file.after(header, offset, is_intact=is_intact))
        if header.kind == END and is_intact:
            self._end_frame = header.number

    def _order_faults(self, header: FrameHeader) -> Iterator[PackFault]:
        if self._end_frame is not None:
            yield self._fault("vault.pack_trailing", "bytes follow the end frame", header.number)
        if header.number != self._expected:
            detail = f"frame {header.number} stands where frame {self._expected} must stand"
            yield self._fault("vault.frame_order", detail, header.number)

    def _group(self, header: FrameHeader, offset: int) -> Iterator[ScannedObject | PackFault]:
        table: Table = ()
        try:
            view = FrameView(self._file, offset)
            table = view.table()
            plain = view.body(self._coder, table)
        except FrameDamage as damage:
            lost = tuple(digest for digest, _ in table)
            yield self._fault(damage.code, str(damage), header.number, lost=lost)
            return
        start = 0
        for digest, size in table:
            data = plain[start : start + size]
            start += size
            yield self._checked(digest, data, header.number, offset)

    def _checked(self, digest: bytes, data: bytes, frame: int, offset: int) -> ScannedObject | PackFault:
        if hashlib.sha256(data).digest() != digest:
            return self._fault("vault.content_digest", "an object has another SHA-256", frame, lost=(digest,))
        sink = self._on_object(digest, len(data)) if self._on_object else None
        if sink is not None:
            sink(data)
        return ScannedObject(digest, len(data), self._file.pack_id, frame, offset)

    def _large(self, offset: int) -> Iterator[ScannedObject | PackFault]:
        try:
            large = LargeObject(self._file)
        except FrameDamage as damage:
            yield self._fault(damage.code, str(damage), 0)
            self._move_to(self._file.next_marker(offset + 1))
            return
        try:
            yield self._fed(large, offset)
        except FrameDamage as damage:
            yield from self._large_faults(large, damage)
        self._move_to(large.end_offset)

    def _large_faults(self, large: LargeObject, damage: FrameDamage) -> Iterator[PackFault]:
        are_chunks_intact = True
        for number in range(large.chunk_count):
            try:
                large.chunk(number)
            except FrameDamage as chunk:
                are_chunks_intact, at = False, large.chunk_offset(number)
                yield self._fault(chunk.code, str(chunk), 0, offset=at, lost=(large.digest,))
        if are_chunks_intact:
            yield self._fault(damage.code, str(damage), 0, lost=(large.digest,))

    def _fed(self, large: LargeObject, offset: int) -> ScannedObject | PackFault:
        hasher = hashlib.sha256()
        sink = self._on_object(large.digest, large.size) if self._on_object else None
        for piece in large.pieces():
            hasher.update(piece)
            if sink is not None:
                sink(piece)
        if hasher.digest() != large.digest:
            return self._fault("vault.content_digest", "it has another SHA-256", 0, lost=(large.digest,))
        return ScannedObject(large.digest, large.size, self._file.pack_id, 0, offset)

    def _move_to(self, offset: int | None) -> None:
        self._offset = self._file.size if offset is None else offset

    def _fault(
        self,
        code: str,
        detail: str,
        frame: int | None = None,
        *,
        offset: int | None = None,
        lost: tuple[bytes, ...] = (),
    ) -> PackFault:
        at = self._offset if offset is None else offset
        return PackFault(code, self._file.pack_id, pack_name(self._file.pack_id), frame, at, detail, lost)

    def _keys_fault(self, code: str, detail: str) -> PackFault:
        return PackFault(code, self._file.pack_id, keys_name(self._file.pack_id), None, 0, detail)
