"""Keep contents in packs: put, read, sync, scan. The one place through which other rooms touch contents.

Content is known by its SHA-256 and stored once, whoever asks. That another order, source or item stored the
same bytes before must not show: `put` tells its caller whether the content was new for the vault only so that
bytes on disk can be counted for the operator; nothing an order, an authority or a custodian sees may be made
of it.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from types import TracebackType
from typing import Final, Self

from scelle.errors import StorageError, StorageStopped
from scelle.vault.frames import (
    OBJECT_MAX_BYTES,
    FrameCoder,
    SealedFrame,
    keys_name,
    pack_id_of,
    pack_name,
)
from scelle.vault.interfaces import Backend, ContentIndex
from scelle.vault.keys import VaultKey
from scelle.vault.probe import CompressionProbe
from scelle.vault.reading import PackFile, are_destroyed, keys_bytes
from scelle.vault.repair import PACKS_PREFIX, RepairReport, index_pack, repair_after_crash
from scelle.vault.retrieval import PackReader
from scelle.vault.scanning import OnObject, PackFault, ScannedObject
from scelle.vault.writing import PACK_CLOSE_BYTES, LargePack, OpenPack, split_start

SMALL_OBJECT_BYTES: Final = 128 << 10
GROUP_BYTES: Final = 1 << 20
FRAMES_IN_FLIGHT: Final = 2


@dataclass(slots=True)
class _Group:
    """Collect the objects of the next frame."""

    compress: bool
    table: list[tuple[bytes, int]] = field(default_factory=list)
    objects: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Flight:
    """Hold a frame that is being sealed in the background, in a pack where its number is taken already."""

    pack: OpenPack
    table: list[tuple[bytes, int]]
    frame: Future[SealedFrame]


class PackStore:
    """Put contents into packs and read them. One per vault at a time, by the holder of the writer's lock.

    Not thread-safe; with `background` it compresses and encrypts in one thread of its own, at most two frames
    at a time, and what goes wrong there is raised by a later call. After any `StorageError` in a write it
    refuses further writes (`StorageStopped`): what was not synced was not confirmed, and `recover` at the
    next start cuts it. A new store must call `recover` before the first `put`.
    """

    def __init__(
        self, backend: Backend, key: VaultKey, index: ContentIndex, *, background: bool = True
    ) -> None:
        self._backend, self._key, self._index = backend, key, index
        self._reader = PackReader(backend, key, index)
        self._probe = CompressionProbe()
        self._coder = FrameCoder(key)
        self._thread = ThreadPoolExecutor(1, "scelle-pack") if background else None
        self._text, self._media = _Group(compress=True), _Group(compress=False)
        self._flights: deque[_Flight] = deque()
        self._flying_bytes = 0
        self._pack: OpenPack | None = None
        self._fresh: set[bytes] = set()
        self._placed: list[tuple[str, int, list[tuple[bytes, int]]]] = []
        self._sealed: list[str] = []
        self._failure: str | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; after an error without syncing."""
        if kind is not None:
            self._failure = self._failure or f"{kind.__name__} in the caller"
        self.close()

    # --- writing

    def put(self, data: bytes, digest: bytes) -> bool:
        """Keep `data`, whose SHA-256 the caller computed; say whether it was new. Durable after the next
        `sync`."""
        if self._failure is not None:
            raise self._stopped()
        if digest in self._fresh or self._index.contains(digest):
            return False
        size = len(data)
        if size > OBJECT_MAX_BYTES:
            return self.put_stream(iter((data,)))[2]
        group = self._text if self._probe.is_compressible(data) else self._media
        if size > SMALL_OBJECT_BYTES:
            self._submit(_Group(group.compress, [(digest, size)], [data], size))
        else:
            if group.size + size > GROUP_BYTES:
                self._submit(group)
                group.table, group.objects, group.size = [], [], 0
            group.table.append((digest, size))
            group.objects.append(data)
            group.size += size
        self._fresh.add(digest)
        return True

    def put_stream(self, pieces: Iterable[bytes]) -> tuple[bytes, int, bool]:
        """Keep a content of any size, given in pieces; return its SHA-256, size and whether it was new.

        Memory stays flat: some 16 MiB whatever the size. Durable after the next `sync`.
        """
        iterator = iter(pieces)
        start, has_ended = split_start(iterator, OBJECT_MAX_BYTES)
        if has_ended:
            digest = hashlib.sha256(start).digest()
            return digest, len(start), self.put(start, digest)
        is_text = self._probe.is_compressible(start)
        with self._writing():
            large = LargePack(self._backend, self._key, compress=is_text)
        try:
            return self._fill(large, chain((start,), iterator))
        except BaseException:
            if self._failure is None:  # the source broke; after a failed write `recover` tells what stands
                self._failing_softly(large.abandon)
            raise

    def sync(self) -> None:
        """Make everything put so far durable, then commit the index, and with it the whole catalog.

        A crash before it returns may lose what was put since the last `sync`, and nothing else. To keep
        memory flat call it every few ten thousand objects.
        """
        with self._writing():
            self._flush()
            if self._pack is not None:
                self._pack.sync()
            for pack_id, offset, table in self._placed:
                self._index.add_frame(pack_id, offset, table)
            for pack_id in self._sealed:
                self._index.complete_pack(pack_id)
            self._index.commit()
        self._fresh.clear()
        self._placed.clear()
        self._sealed.clear()

    def close(self) -> None:
        """End the open pack, and sync if anything was put; after a failure only let go. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._failure is None and (self._fresh or self._pack is not None):
                with self._writing():
                    self._flush()
                    self._seal_pack()
                self.sync()
        finally:
            self._let_go()

    # --- reading

    def contains(self, digest: bytes) -> bool:
        """Say whether a content is in the vault, or put and not yet synced."""
        return digest in self._fresh or self._index.contains(digest)

    def read(self, digest: bytes) -> Iterator[bytes]:
        """Give a content in pieces, also one that was put and not yet synced; see `PackReader.read`."""
        if digest in self._fresh:
            self.sync()
        return self._reader.read(digest)

    def read_bytes(self, digest: bytes) -> bytes:
        """Return a content, also one that was put and not yet synced; see `PackReader.read_bytes`."""
        return b"".join(self.read(digest))

    def pack_ids(self) -> list[str]:
        """List the ids of all packs there are; sorted."""
        return self._reader.pack_ids()

    def stray_names(self) -> list[str]:
        """List what lies among the packs and is none."""
        return self._reader.stray_names()

    def scan(self, pack_id: str, on_object: OnObject | None = None) -> Iterator[ScannedObject | PackFault]:
        """Read a pack from end to end, trusting no catalog; see `scan_pack`."""
        return self._reader.scan(pack_id, on_object)

    # --- repair

    def recover(self) -> RepairReport:
        """Put the packs in order after a crash and the index into agreement with them; do so at every
        start."""
        with self._writing():
            return repair_after_crash(self._backend, self._key, self._index)

    def rebuild_index(self) -> None:
        """Make the index again from the packs alone, and commit it."""
        with self._writing():
            self._index.clear()
            for pack_id in self.pack_ids():
                index_pack(self._backend, self._key, self._index, pack_id)
            self._index.commit()

    def forget(self, digests: Iterable[bytes]) -> None:
        """Let the next `put` of these contents keep them again: a scan found the only copies damaged."""
        with self._writing():
            for digest in digests:
                self._index.forget(digest)
            self._index.commit()

    # --- destruction (vault.destroying)

    def end_pack(self) -> None:
        """End the pack that is being written, so that it is destroyed from like every other one."""
        with self._writing():
            self._flush()
            self._seal_pack()
        self.sync()

    def open_pack(self, pack_id: str) -> PackFile:
        """Open a pack as it stands on the disk; the caller closes it. Raises `BlobMissing`."""
        return PackFile(self._backend, self._key, pack_id)

    def put_again(self, digest: bytes, data: bytes) -> None:
        """Put a content into a new frame though it stands in an old one; durable after the next `sync`.

        Until then the index says the old place, which the caller destroys no sooner.
        """
        if digest not in self._fresh:
            with self._writing():
                self._index.forget(digest)
            self.put(data, digest)

    def forget_for_good(self, digests: Iterable[bytes]) -> None:
        """Forget contents so that even a failure of power leaves no trace in the index: they are about to go.

        Whoever puts one of them from now on keeps it anew.
        """
        with self._writing():
            for digest in digests:
                self._index.forget(digest)
            self._index.settle()

    def settle(self) -> None:
        """Sync, and let no failure of power undo what the index says."""
        self.sync()
        with self._writing():
            self._index.settle()

    def destroy_keys(self, pack_id: str, keys: bytes) -> None:
        """Put a keys file in the place of a pack's old one, in which some keys are destroyed; durable, atomic."""
        with self._writing():
            self._reader.let_go(pack_id)
            self._backend.replace(keys_name(pack_id), keys)

    def remove_pack(self, pack_id: str) -> None:
        """Remove a pack in which nothing opens any more; the index forgets it with the next `sync`.

        A crash leaves keys that open nothing, which `remove_lone_keys` finds.
        """
        with self._writing():
            self._reader.let_go(pack_id)
            self._backend.remove(pack_name(pack_id))
            self._backend.remove(keys_name(pack_id))
            self._index.forget_pack(pack_id)

    def remove_lone_keys(self) -> None:
        """Remove keys files without a pack in which all keys but the end's were destroyed."""
        with self._writing():
            names = self._backend.list(PACKS_PREFIX)
            there = {pack_id_of(name) for name in names if name.endswith(".pack")}
            for pack_id in {pack_id_of(name) for name in names} - there:
                if pack_id is not None and are_destroyed(keys_bytes(self._backend, pack_id)):
                    self._backend.remove(keys_name(pack_id))

    # --- inside

    def _submit(self, group: _Group) -> None:
        """Send a group off to be sealed; wait only while two others are under way."""
        with self._writing():
            while len(self._flights) >= FRAMES_IN_FLIGHT:
                self._land()
            pack = self._roomy_pack(group.size)
            number = pack.reserve()
            seal, arguments = self._coder.seal_group, (pack.identity, number, group.table, group.objects)
            if self._thread is None:
                frame: Future[SealedFrame] = Future()
                frame.set_result(seal(*arguments, compress=group.compress))
            else:
                frame = self._thread.submit(seal, *arguments, compress=group.compress)
            self._flights.append(_Flight(pack, group.table, frame))
            self._flying_bytes += group.size

    def _land(self) -> None:
        """Append the oldest frame under way to the pack."""
        flight = self._flights.popleft()
        offset = flight.pack.append(flight.frame.result())
        self._flying_bytes -= sum(size for _, size in flight.table)
        self._placed.append((flight.pack.pack_id, offset, flight.table))

    def _roomy_pack(self, size: int) -> OpenPack:
        """Return an open pack with room for a frame of `size` bytes; end a full one."""
        if self._pack is not None and self._pack.size + self._flying_bytes + size > PACK_CLOSE_BYTES:
            while self._flights:
                self._land()
            if self._pack.size + size > PACK_CLOSE_BYTES:
                self._seal_pack()
        if self._pack is None:
            self._pack = OpenPack(self._backend, self._key)
        return self._pack

    def _flush(self) -> None:
        for group in (self._text, self._media):
            if group.table:
                self._submit(group)
                group.table, group.objects, group.size = [], [], 0
        while self._flights:
            self._land()

    def _seal_pack(self) -> None:
        if self._pack is not None:
            self._pack.seal(self._coder)
            self._sealed.append(self._pack.pack_id)
            self._pack = None

    def _fill(self, large: LargePack, pieces: Iterator[bytes]) -> tuple[bytes, int, bool]:
        for piece in pieces:
            with self._writing():
                large.feed(piece)
        with self._writing():
            digest = large.finish()
            if self.contains(digest):
                large.abandon()
                return digest, large.size_bytes, False
            large.seal()
        self._fresh.add(digest)
        self._placed.append((large.pack_id, large.frame_offset, [(digest, large.size_bytes)]))
        self._sealed.append(large.pack_id)
        return digest, large.size_bytes, True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Refuse to write after a failure, and remember the first one."""
        if self._failure is not None:
            raise StorageStopped(
                f"the store stopped after: {self._failure}: start again, it recovers by itself"
            )
        try:
            yield
        except BaseException as error:  # also an interrupt: a frame may be missing in the middle now
            self._failure = str(error) or type(error).__name__
            raise

    def _stopped(self) -> StorageStopped:
        return StorageStopped(f"the store stopped after: {self._failure}: start again, it recovers by itself")

    def _failing_softly(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StorageError as error:
            self._failure = self._failure or str(error)

    def _let_go(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        if self._pack is not None:
            self._pack.close()
            self._pack = None
        self._reader.close()
