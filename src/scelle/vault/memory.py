"""Keep blobs in memory, with a model of what a crash leaves: for tests, and for trying things out."""

from collections.abc import Sequence

from scelle.errors import BlobExists, BlobMissing, StorageFailed
from scelle.vault.interfaces import (
    Buffer,
    ContentPlace,
    ReadableBlob,
    WritableBlob,
    check_name,
    check_replaceable,
)


class MemoryBackend:
    """Keep blobs in this process. `crash` forgets whatever was not made durable.

    `sealed_blobs` and `unfinished_blobs` may be read and altered by tests.
    """

    def __init__(self) -> None:
        self.sealed_blobs: dict[str, bytes] = {}
        self.unfinished_blobs: dict[str, bytearray] = {}
        self._durable_sizes: dict[str, int] = {}

    def create(self, name: str) -> WritableBlob:
        """Begin a blob; see `Backend.create`."""
        if check_name(name) in self.sealed_blobs or name in self.unfinished_blobs:
            raise BlobExists(f"{name} is there already and stays as it is: a blob is written once")
        self.unfinished_blobs[name] = bytearray()
        return _MemoryWriter(self, name)

    def resume(self, name: str, size: int) -> WritableBlob:
        """Go on with an unfinished blob; see `Backend.resume`."""
        data = self.unfinished_blobs.get(check_name(name))
        if data is None or len(data) < size:
            raise BlobMissing(f"{name} is missing or shorter than {size} bytes: nothing to go on with")
        del data[size:]
        if name in self._durable_sizes:
            self._durable_sizes[name] = min(size, self._durable_sizes[name])
        return _MemoryWriter(self, name)

    def open(self, name: str) -> ReadableBlob:
        """Open a blob to read; see `Backend.open`."""
        data = self.sealed_blobs.get(check_name(name), self.unfinished_blobs.get(name))
        if data is None:
            raise BlobMissing(f"{name} is not there")
        return _MemoryReader(data)

    def unfinished(self, prefix: str) -> list[str]:
        """List unfinished blobs; see `Backend.unfinished`."""
        return sorted(name for name in self.unfinished_blobs if name.startswith(prefix))

    def list(self, prefix: str) -> list[str]:
        """List sealed blobs; see `Backend.list`."""
        return sorted(name for name in self.sealed_blobs if name.startswith(prefix))

    def exists(self, name: str) -> bool:
        """Say whether `name` is sealed."""
        return check_name(name) in self.sealed_blobs

    def replace(self, name: str, data: Buffer) -> None:
        """Replace a small blob; see `Backend.replace`."""
        self.sealed_blobs[check_replaceable(name)] = bytes(data)

    def remove(self, name: str) -> None:
        """Destroy a blob; see `Backend.remove`."""
        self.sealed_blobs.pop(check_name(name), None)
        self.forget_unfinished(name)

    def crash(self) -> None:
        """Lose what no `sync` made durable: unfinished blobs shrink to it, or vanish."""
        for name in list(self.unfinished_blobs):
            durable_size = self._durable_sizes.get(name)
            if durable_size is None:
                del self.unfinished_blobs[name]
            else:
                del self.unfinished_blobs[name][durable_size:]

    def forget_unfinished(self, name: str) -> None:
        """Drop the unfinished blob `name`, if there is one."""
        self.unfinished_blobs.pop(name, None)
        self._durable_sizes.pop(name, None)

    def note_synced(self, name: str) -> None:
        """Remember that all bytes of the unfinished blob `name` are durable."""
        self._durable_sizes[name] = len(self.unfinished_blobs[name])


class _MemoryWriter:
    def __init__(self, backend: MemoryBackend, name: str) -> None:
        self._backend, self._name, self._is_open = backend, name, True

    @property
    def name(self) -> str:
        return self._name

    def write(self, data: Buffer) -> int:
        blob = self._blob()
        offset = len(blob)
        blob += data
        return offset

    def tell(self) -> int:
        return len(self._blob())

    def sync(self) -> None:
        self._blob()
        self._backend.note_synced(self._name)

    def seal(self) -> None:
        blob = self._blob()
        if self._name in self._backend.sealed_blobs:
            raise BlobExists(f"{self._name} is there already and stays as it is: a blob is written once")
        self._backend.forget_unfinished(self._name)
        self._backend.sealed_blobs[self._name] = bytes(blob)
        self._is_open = False

    def abandon(self) -> None:
        self._backend.forget_unfinished(self._name)
        self._is_open = False

    def close(self) -> None:
        self._is_open = False

    def _blob(self) -> bytearray:
        if not self._is_open:
            raise StorageFailed(f"{self._name} is closed: nothing more can be written to it")
        return self._backend.unfinished_blobs[self._name]


class _MemoryReader:
    def __init__(self, data: bytes | bytearray) -> None:
        self._data, self._size = data, len(data)

    @property
    def size(self) -> int:
        return self._size

    def pread(self, offset: int, size: int) -> bytes:
        return bytes(self._data[offset : offset + size])

    def close(self) -> None:
        pass


class MemoryContentIndex:
    """Keep the content index in this process; `crash` forgets what was not committed."""

    def __init__(self) -> None:
        self.places: dict[bytes, ContentPlace] = {}
        self._complete: set[str] = set()
        self._packs: set[str] = set()
        self._committed: tuple[dict[bytes, ContentPlace], set[str], set[str]] = ({}, set(), set())

    def find(self, digest: bytes) -> ContentPlace | None:
        """Say where a content stands; see `ContentIndex.find`."""
        return self.places.get(digest)

    def contains(self, digest: bytes) -> bool:
        """Say whether a content is known; see `ContentIndex.contains`."""
        return digest in self.places

    def add_frame(self, pack_id: str, offset: int, table: Sequence[tuple[bytes, int]]) -> None:
        """Add the objects of a frame; see `ContentIndex.add_frame`."""
        self._packs.add(pack_id)
        start = 0
        for digest, size in table:
            self.places.setdefault(digest, ContentPlace(pack_id, offset, start, size))
            start += size

    def known_packs(self) -> set[str]:
        """Return the ids of all packs that the index speaks of."""
        return set(self._packs)

    def complete_packs(self) -> set[str]:
        """Return the ids of the packs that are sealed and wholly known."""
        return set(self._complete)

    def complete_pack(self, pack_id: str) -> None:
        """Note that a pack is sealed and wholly known."""
        self._packs.add(pack_id)
        self._complete.add(pack_id)

    def forget_pack(self, pack_id: str) -> None:
        """Forget a pack and its contents."""
        self.places = {digest: place for digest, place in self.places.items() if place.pack_id != pack_id}
        self._packs.discard(pack_id)
        self._complete.discard(pack_id)

    def forget(self, digest: bytes) -> None:
        """Forget where one content stands."""
        self.places.pop(digest, None)

    def clear(self) -> None:
        """Forget everything."""
        self.places, self._packs, self._complete = {}, set(), set()

    def commit(self) -> None:
        """Keep what was added so far."""
        self._committed = (dict(self.places), set(self._packs), set(self._complete))

    def settle(self) -> None:
        """Keep what was added so far; nothing outlasts this process."""
        self._committed = (dict(self.places), set(self._packs), set(self._complete))

    def crash(self) -> None:
        """Lose what was not committed."""
        places, packs, complete = self._committed
        self.places, self._packs, self._complete = dict(places), set(packs), set(complete)
