"""Read one pack: its frames, its keys, its large object. Nothing is trusted that is not authenticated."""

from collections.abc import Iterator
from typing import IO, Final, cast

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scelle.errors import BlobMissing, FormatError, WrongKey
from scelle.vault.frames import (
    CHUNK_BYTES,
    END_FRAME_BYTES,
    FRAME_HEADER_BYTES,
    KEYS_HEADER_BYTES,
    LARGE,
    LARGE_TABLE_BYTES,
    MARKER,
    PACK_HEADER_BYTES,
    TAG_BYTES,
    ZSTD,
    ZSTD_WINDOW_MAX_BYTES,
    FrameCoder,
    FrameDamage,
    FrameHeader,
    Table,
    chunk_nonce,
    keys_name,
    open_table,
    pack_identity,
    pack_name,
    parse_frame_header,
    split_wrapped_keys,
)
from scelle.vault.interfaces import Backend
from scelle.vault.keys import WRAPPED_BYTES, VaultKey

_KEYS_MAX_BYTES: Final = 64 << 20
_READ_AHEAD_BYTES: Final = 512 << 10
_SEARCH_BYTES: Final = 1 << 20
_LARGE_OVERHEAD_BYTES: Final = PACK_HEADER_BYTES + FRAME_HEADER_BYTES + LARGE_TABLE_BYTES + END_FRAME_BYTES
_SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES


class PackFile:
    """Hold one pack open for reading. A pack that another process still writes is read as far as it is
    durable.

    Raises `BlobMissing` when there is no such pack. `keys` is empty, and `keys_bytes` too, without a keys
    file.
    """

    def __init__(self, backend: Backend, key: VaultKey, pack_id: str) -> None:
        self.pack_id = pack_id
        self.identity = pack_identity(key.vault_id, pack_id)
        self.is_sealed = backend.exists(pack_name(pack_id))  # first: it can only become sealed meanwhile
        self.keys_bytes = keys_bytes(backend, pack_id)  # before the pack: it holds at least these frames
        self.keys = split_wrapped_keys(self.keys_bytes)
        self._key = key
        if not self.is_sealed:
            self._drop_torn_keys()
        self._blob = backend.open(pack_name(pack_id))
        self.size = self._blob.size
        self._ahead_at, self._ahead = 0, b""

    def close(self) -> None:
        """Close the pack."""
        self._blob.close()

    @property
    def has_whole_keys(self) -> bool:
        """Say whether the keys file has its header and no incomplete key."""
        length = KEYS_HEADER_BYTES + WRAPPED_BYTES * len(self.keys)
        return (
            self.keys_bytes[:KEYS_HEADER_BYTES] == self.identity.keys_header
            and len(self.keys_bytes) == length
        )

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer where the pack ends; reads ahead."""
        start = offset - self._ahead_at
        if start < 0 or start + size > len(self._ahead):
            if size >= _READ_AHEAD_BYTES:
                return self._blob.pread(offset, size)
            self._ahead_at, self._ahead = offset, self._blob.pread(offset, _READ_AHEAD_BYTES)
            start = 0
        return self._ahead[start : start + size]

    def header_at(self, offset: int) -> tuple[FrameHeader, bytes]:
        """Return the frame header at `offset`, parsed and as bytes; raise `FrameDamage` if there is none."""
        data = self.bytes_at(offset, FRAME_HEADER_BYTES)
        try:
            header = parse_frame_header(data)
        except FormatError as error:
            raise FrameDamage("vault.frame_header", str(error)) from None
        end = offset + (0 if header.kind == LARGE else header.frame_size)
        if end > self.size:
            raise FrameDamage("vault.frame_cut", f"it ends at byte {end}, the pack at {self.size}")
        return header, data

    def cipher(self, number: int) -> AESGCM:
        """Return the cipher of frame `number`; raise `FrameDamage` if its key is missing or does not
        unwrap."""
        if number >= len(self.keys):
            raise FrameDamage("vault.frame_key", "it has no key")
        wrapped = self.keys[number]
        if not any(wrapped):
            raise FrameDamage("vault.frame_key_destroyed", "its key was destroyed")
        try:
            return AESGCM(self._key.unwrap(wrapped, self.identity.key_context(number)))
        except WrongKey:
            raise FrameDamage("vault.frame_key", "its key is not as it was written") from None

    def _drop_torn_keys(self) -> None:
        """Leave out the end of a write that a crash, or this moment, cut short: keys that do not open yet."""
        while self.keys:
            try:
                self.cipher(len(self.keys) - 1)
            except FrameDamage:
                self.keys.pop()
            else:
                return

    def table_at(self, offset: int) -> list[tuple[bytes, int]]:
        """Open the table of the frame at `offset` without its body. Raises `FrameDamage`."""
        if self.header_at(offset)[0].kind != LARGE:
            return FrameView(self, offset).table()
        large = LargeObject(self)
        return [(large.digest, large.size)]

    def after(self, header: FrameHeader, offset: int, *, is_intact: bool) -> int | None:
        """Say where the frame behind this one begins, None if there is none.

        A damaged frame's own word counts only where another header, or the end of the pack, bears it out.
        """
        end = offset + header.frame_size
        if is_intact or end == self.size or self._is_header(end):
            return end
        return self.next_marker(offset + 1)

    def next_marker(self, offset: int) -> int | None:
        """Say where the next frame may begin, at `offset` or behind it; None if there is none."""
        while offset < self.size:
            found = self.bytes_at(offset, _SEARCH_BYTES).find(MARKER)
            if found >= 0:
                return offset + found
            offset += _SEARCH_BYTES - len(MARKER) + 1
        return None

    def tables(self) -> Iterator[tuple[int, Table]]:
        """Give offset and table of every frame whose table is intact and has objects; skip the others."""
        offset: int | None = PACK_HEADER_BYTES
        while offset is not None and offset < self.size:
            try:
                header, _ = self.header_at(offset)
            except FrameDamage:
                offset = self.next_marker(offset + 1)
                continue
            table = self._table_or_none(offset)
            if table:
                yield offset, table
            if header.kind == LARGE:
                return
            offset = self.after(header, offset, is_intact=table is not None)

    def _table_or_none(self, offset: int) -> Table | None:
        try:
            return self.table_at(offset)
        except FrameDamage:
            return None

    def _is_header(self, offset: int) -> bool:
        try:
            parse_frame_header(self.bytes_at(offset, FRAME_HEADER_BYTES))
        except FormatError:
            return False
        return True


class FrameView:
    """Look into one frame that is not large. Raises `FrameDamage` like every method of it."""

    def __init__(self, file: PackFile, offset: int) -> None:
        self.header, head = file.header_at(offset)
        if self.header.kind == LARGE:
            raise FrameDamage("vault.frame_order", "a large object stands where a group must stand")
        self._file = file
        self._offset = offset + FRAME_HEADER_BYTES
        self._context = file.identity.header + head
        self._cipher = file.cipher(self.header.number)

    def table(self) -> list[tuple[bytes, int]]:
        """Return digest and size of its objects, in order."""
        sealed = self._file.bytes_at(self._offset, self.header.table_size)
        return open_table(self._cipher, self._context, sealed)

    def body(self, coder: FrameCoder, table: Table) -> bytes:
        """Return the objects of its `table`, one after another."""
        sealed = self._file.bytes_at(self._offset + self.header.table_size, self.header.body_size)
        return coder.open_body(self._cipher, self._context, self.header.coding, sealed, table)


class LargeObject:
    """Read the large object of a pack, chunk by chunk. Raises `FrameDamage` like every method of it."""

    def __init__(self, file: PackFile) -> None:
        self._file = file
        self.header, head = file.header_at(PACK_HEADER_BYTES)
        if self.header.kind != LARGE:
            raise FrameDamage("vault.frame_order", "a group stands where a large object must stand")
        self._context = file.identity.header + head
        self._body_size = file.size - _LARGE_OVERHEAD_BYTES
        if self._body_size < TAG_BYTES:
            raise FrameDamage("vault.pack_cut", "the pack is too short for its large object")
        self._cipher = file.cipher(0)
        table_at = file.size - END_FRAME_BYTES - LARGE_TABLE_BYTES
        sealed_table = file.bytes_at(table_at, LARGE_TABLE_BYTES)
        self.digest, self.size = open_table(self._cipher, self._context, sealed_table)[0]

    @property
    def end_offset(self) -> int:
        """Say at which byte of the pack the end frame must begin."""
        return self._file.size - END_FRAME_BYTES

    @property
    def chunk_count(self) -> int:
        """Count the sealed chunks."""
        return -(-self._body_size // _SEALED_CHUNK_BYTES)

    def chunk_offset(self, number: int) -> int:
        """Say at which byte of the pack a sealed chunk begins."""
        return PACK_HEADER_BYTES + FRAME_HEADER_BYTES + number * _SEALED_CHUNK_BYTES

    def chunk(self, number: int) -> bytes:
        """Open one chunk, as it was stored (perhaps compressed)."""
        start = self.chunk_offset(number)
        size = min(_SEALED_CHUNK_BYTES, self.chunk_offset(0) + self._body_size - start)
        nonce = chunk_nonce(number, is_last=number == self.chunk_count - 1)
        try:
            return self._cipher.decrypt(nonce, self._file.bytes_at(start, size), self._context)
        except (InvalidTag, ValueError):
            raise FrameDamage("vault.chunk_damaged", f"chunk {number} is not as it was written") from None

    def pieces(self) -> Iterator[bytes]:
        """Give the object in pieces of up to 1 MiB, never more bytes in all than its table declares."""
        left = self.size
        for piece in self._decoded():
            left -= len(piece)
            if left < 0:
                raise FrameDamage("vault.frame_bomb", f"it holds more than the {self.size} bytes it declares")
            yield piece
        if left:
            raise FrameDamage("vault.frame_bomb", f"it holds {left} bytes less than it declares")

    def _decoded(self) -> Iterator[bytes]:
        chunks = map(self.chunk, range(self.chunk_count))
        if self.header.coding != ZSTD:
            yield from chunks
            return
        source = cast("IO[bytes]", _ChunkSource(chunks))  # zstandard calls nothing but its `read`
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX_BYTES)
        try:
            with decompressor.stream_reader(source, read_size=CHUNK_BYTES) as reader:
                while piece := reader.read(CHUNK_BYTES):
                    yield piece
        except zstandard.ZstdError as error:
            raise FrameDamage("vault.frame_bomb", f"it does not decompress ({error})") from error


class _ChunkSource:
    """Let zstandard read chunks as if they were a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _size: int = -1) -> bytes:
        """Return the next chunk, which is never larger than was asked for."""
        return next(self._chunks, b"")


def are_destroyed(keys: bytes) -> bool:
    """Tell from the bytes of a keys file whether all its keys but the end frame's were destroyed."""
    frames = keys[KEYS_HEADER_BYTES:-WRAPPED_BYTES]
    return len(frames) > 0 and not any(frames)


def keys_bytes(backend: Backend, pack_id: str) -> bytes:
    """Return the bytes of a pack's keys file; none where there is no such file."""
    try:
        blob = backend.open(keys_name(pack_id))
    except BlobMissing:
        return b""
    try:
        return blob.pread(0, min(blob.size, _KEYS_MAX_BYTES))
    finally:
        blob.close()
