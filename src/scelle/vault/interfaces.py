"""Say what the vault needs: a store of write-once blobs by name, and an index of where contents stand.

A name is a relative path of lower-case parts (`packs/3f/3f02...pack`). A blob is *unfinished* from `create`
to `seal`, and *sealed* afterwards. Sealed blobs never change, with one exception that the name shows: blobs
that end in `.keys` may be replaced as a whole, so that a frame's key can be destroyed without touching a
pack.

Every method may raise a `StorageError`. What was durable before stays so; after one the caller stops writing.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from scelle.errors import InputError

Buffer: TypeAlias = bytes | bytearray | memoryview

REPLACEABLE_SUFFIX: Final = ".keys"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*")


class WritableBlob(Protocol):
    """Append to one unfinished blob. Not thread-safe."""

    @property
    def name(self) -> str:
        """Give the name under which `seal` will publish it."""
        ...

    def write(self, data: Buffer) -> int:
        """Append all of `data` and return the offset in bytes at which it starts.

        Readable at once through `Backend.open`, not durable before `sync`. A crash, or an error, leaves a
        prefix of what was written since the last `sync`, possibly followed by torn bytes or zeros.
        """
        ...

    def tell(self) -> int:
        """Return the size in bytes, durable or not."""
        ...

    def sync(self) -> None:
        """Make everything written so far durable, and the blob findable by `Backend.unfinished` after a
        crash."""
        ...

    def seal(self) -> None:
        """Make it durable and publish it under its name, read-only; it is closed then.

        Atomic: a crash leaves it unfinished with all its bytes, or sealed. Raises `BlobExists` when the name
        is taken.
        """
        ...

    def abandon(self) -> None:
        """Drop it; idempotent. A crash leaves it unfinished, or gone."""
        ...

    def close(self) -> None:
        """Let go of it as it is; idempotent. It stays unfinished, for `Backend.resume`."""
        ...


class ReadableBlob(Protocol):
    """Read one blob at any place. Thread-safe: `pread` moves no position."""

    @property
    def size(self) -> int:
        """Give the size in bytes when it was opened; an unfinished blob may have grown since."""
        ...

    def pread(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only where the blob ends."""
        ...

    def close(self) -> None:
        """Close it; idempotent."""
        ...


class Backend(Protocol):
    """Keep write-once blobs. One writer at a time (see `vault.lock`); any number of readers beside it."""

    def create(self, name: str) -> WritableBlob:
        """Begin a blob. Raises `BlobExists` when `name` is sealed or unfinished already: nothing is
        overwritten."""
        ...

    def resume(self, name: str, size: int) -> WritableBlob:
        """Go on with an unfinished blob at `size` bytes, dropping what stands beyond.

        For recovery after a crash. Raises `BlobMissing` when there is none, and when it is shorter than
        `size`.
        """
        ...

    def open(self, name: str) -> ReadableBlob:
        """Open a blob to read, sealed or unfinished. Raises `BlobMissing`."""
        ...

    def unfinished(self, prefix: str) -> list[str]:
        """List the unfinished blobs whose names begin with `prefix`, sorted."""
        ...

    def list(self, prefix: str) -> list[str]:
        """List the sealed blobs whose names begin with `prefix`, sorted. Foreign files are listed as they
        are."""
        ...

    def exists(self, name: str) -> bool:
        """Say whether `name` is sealed."""
        ...

    def replace(self, name: str, data: Buffer) -> None:
        """Put `data` at `name`, which ends in `.keys`, in place of what was there or not; durable when this
        returns.

        Atomic and idempotent: a crash leaves the old bytes or the new ones. Other names are refused
        (`InputError`).
        """
        ...

    def remove(self, name: str) -> None:
        """Destroy a blob, sealed or unfinished; durable when this returns; idempotent.

        Only recovery, with what was never confirmed, and release call this.
        """
        ...


class ContentPlace(NamedTuple):
    """Say where a content stands: pack, frame (its offset in the pack), start and size in the frame
    (bytes)."""

    pack_id: str
    frame_offset: int
    start: int
    size: int


class ContentIndex(Protocol):
    """Remember where contents stand. Derived: what it says is checked against the pack, never believed.

    Nothing is durable, or seen by other processes, before `commit`, and the caller commits only what stands
    in packs durably; a lost commit is made good by `PackStore.recover`. May raise `CatalogStale` and
    `StorageError`.
    """

    def find(self, digest: bytes) -> ContentPlace | None:
        """Say where the content with this SHA-256 should stand."""
        ...

    def contains(self, digest: bytes) -> bool:
        """Say whether a content with this SHA-256, compared in full, stands in a pack that the index knows.

        For the one writer only: what another process adds meanwhile may be missed.
        """
        ...

    def add_frame(self, pack_id: str, offset: int, table: Sequence[tuple[bytes, int]]) -> None:
        """Add the objects (SHA-256, size) of the frame at `offset` of a pack; idempotent, the first place
        stays."""
        ...

    def known_packs(self) -> set[str]:
        """Return the ids of all packs that the index speaks of."""
        ...

    def complete_packs(self) -> set[str]:
        """Return the ids of the packs that are sealed and wholly known."""
        ...

    def complete_pack(self, pack_id: str) -> None:
        """Note that a pack is sealed and wholly known."""
        ...

    def forget_pack(self, pack_id: str) -> None:
        """Forget a pack and its contents."""
        ...

    def forget(self, digest: bytes) -> None:
        """Forget where one content stands."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def commit(self) -> None:
        """Keep what was added so far, all of it or nothing."""
        ...

    def settle(self) -> None:
        """Commit so that no failure of power undoes it: before what was forgotten is destroyed.

        A commit of what was added may be lost, since the packs tell it again. What an index still names though it was
        destroyed would keep the next `put` from keeping it.
        """
        ...


def check_name(name: str) -> str:
    """Return `name` if a blob may be called so; raise `InputError` otherwise."""
    if _NAME.fullmatch(name) is None or ".." in name:
        raise InputError(
            f"blob name {name[:80]!a}: use lower-case letters, digits, '.', '_', '-' in parts parted by '/'"
        )
    return name


def check_replaceable(name: str) -> str:
    """Return `name` if its blob may be replaced; raise `InputError` otherwise."""
    if not check_name(name).endswith(REPLACEABLE_SUFFIX):
        raise InputError(f"blob {name} is write-once: only names ending in {REPLACEABLE_SUFFIX} are replaced")
    return name
