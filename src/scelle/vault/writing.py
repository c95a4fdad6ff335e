"""Write packs: one open pack for groups of objects, and a pack of its own for each large object.

The order of writes carries the recovery (`vault.repair`): a frame's key reaches the keys file only when the
frame is durable. So after a crash every key that can be read says that its frame was durable, and what has no
key was never confirmed to anyone.
"""

import hashlib
import os
from collections.abc import Iterator
from typing import Final

import zstandard

from scelle.vault.frames import (
    CHUNK_BYTES,
    PACK_HEADER_BYTES,
    PACK_ID_BYTES,
    STORED,
    ZSTD,
    ZSTD_LEVEL,
    FrameCoder,
    LargeSealer,
    SealedFrame,
    keys_name,
    pack_identity,
    pack_name,
)
from scelle.vault.interfaces import Backend, WritableBlob
from scelle.vault.keys import VaultKey

PACK_CLOSE_BYTES: Final = 64 << 20


def new_pack_id() -> str:
    """Return the random id of a new pack, in hex."""
    return os.urandom(PACK_ID_BYTES).hex()


class OpenPack:
    """Append sealed frames to one pack and its keys file."""

    def __init__(self, backend: Backend, key: VaultKey) -> None:
        self.pack_id = new_pack_id()
        self.identity = pack_identity(key.vault_id, self.pack_id)
        self._backend = backend
        self._pack = backend.create(pack_name(self.pack_id))
        self._pack.write(self.identity.header)
        self._keys: WritableBlob | None = None
        self._next_number = 0
        self._unwritten_keys: list[bytes] = []

    def reserve(self) -> int:
        """Return the number of the next frame; frames are appended in this order."""
        self._next_number += 1
        return self._next_number - 1

    @property
    def size(self) -> int:
        """Give the size of the pack so far, in bytes."""
        return self._pack.tell()

    def append(self, frame: SealedFrame) -> int:
        """Append the next frame and return its offset in the pack. A crash may leave any part of it."""
        self._unwritten_keys.append(frame.wrapped_key)
        offset = self._pack.write(frame.head)
        self._pack.write(frame.body)
        return offset

    def sync(self) -> None:
        """Make all frames durable, then their keys. A crash in between leaves frames that nobody counts
        on."""
        if not self._unwritten_keys:
            return
        self._pack.sync()
        self._write_keys().sync()

    def seal(self, coder: FrameCoder) -> None:
        """End the pack and publish it. A crash leaves it unfinished or sealed; `vault.repair` ends it."""
        self.append(coder.seal_end(self.identity, self.reserve()))
        self._pack.sync()
        self._write_keys().seal()
        self._pack.seal()

    def abandon(self) -> None:
        """Drop the pack and its keys, keys first: a crash leaves no key without its pack."""
        if self._keys is not None:
            self._keys.abandon()
        self._pack.abandon()

    def close(self) -> None:
        """Let go of the pack as it is."""
        self._pack.close()
        if self._keys is not None:
            self._keys.close()

    def _write_keys(self) -> WritableBlob:
        data = b"".join(self._unwritten_keys)
        if self._keys is None:
            self._keys = self._backend.create(keys_name(self.pack_id))
            data = self.identity.keys_header + data
        self._keys.write(data)
        self._unwritten_keys.clear()
        return self._keys


class LargePack:
    """Stream one large object to a pack of its own: `feed` its pieces, then `seal` or `abandon`. Memory is
    flat."""

    def __init__(self, backend: Backend, key: VaultKey, *, compress: bool) -> None:
        self.pack_id = new_pack_id()
        self._identity = pack_identity(key.vault_id, self.pack_id)
        self._backend, self._coder = backend, FrameCoder(key)
        self._sealer = LargeSealer(key, self._identity, ZSTD if compress else STORED)
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj() if compress else None
        self._hasher = hashlib.sha256()
        self.size_bytes = 0
        self._pending = b""
        self._pack = backend.create(pack_name(self.pack_id))
        self._pack.write(self._identity.header + self._sealer.header)

    @property
    def frame_offset(self) -> int:
        """Say where its only frame begins."""
        return PACK_HEADER_BYTES

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the object, of any size."""
        self._hasher.update(piece)
        self.size_bytes += len(piece)
        self._store(self._compressor.compress(piece) if self._compressor else piece)

    def finish(self) -> bytes:
        """Write what is left and return the object's SHA-256; nothing is published yet."""
        if self._compressor is not None:
            self._store(self._compressor.flush())
        self._pack.write(self._sealer.chunk(self._pending, is_last=True))
        self._pending = b""
        return self._hasher.digest()

    def seal(self) -> None:
        """Publish the pack; durable when this returns. A crash leaves nothing of it, or all."""
        end = self._coder.seal_end(self._identity, 1)
        self._pack.write(self._sealer.table(self._hasher.digest(), self.size_bytes) + end.data)
        self._pack.sync()
        keys = self._backend.create(keys_name(self.pack_id))
        keys.write(self._identity.keys_header + self._sealer.wrapped_key + end.wrapped_key)
        keys.seal()
        self._pack.seal()

    def abandon(self) -> None:
        """Drop the pack."""
        self._pack.abandon()

    def _store(self, data: bytes) -> None:
        """Write whole chunks, always keeping something back: only the last chunk may say that it is the
        last."""
        if len(self._pending) in (0, CHUNK_BYTES) and 0 < len(data) <= CHUNK_BYTES:  # no copy: the usual case
            if self._pending:
                self._pack.write(self._sealer.chunk(self._pending, is_last=False))
            self._pending = data
            return
        view = memoryview(bytes(self._pending) + data)
        at = 0
        while len(view) - at > CHUNK_BYTES:
            self._pack.write(self._sealer.chunk(view[at : at + CHUNK_BYTES], is_last=False))
            at += CHUNK_BYTES
        self._pending = bytes(view[at:])


def split_start(pieces: Iterator[bytes], size: int) -> tuple[bytes, bool]:
    """Take pieces until there are more than `size` bytes; return them, and whether the stream ended
    before."""
    taken: list[bytes] = []
    total = 0
    for piece in pieces:
        taken.append(piece)
        total += len(piece)
        if total > size:
            return b"".join(taken), False
    return b"".join(taken), True
