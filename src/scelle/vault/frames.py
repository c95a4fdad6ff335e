"""Turn objects into the sealed frames of a pack and back, byte for byte (docs/formats/vault.md). Pure.

Every byte of a pack is either compared with what it must be (the pack header) or authenticated by AES-256-GCM
(the frame header as associated data, table and body as ciphertext). Each frame has a random key of its own;
nonces only tell the parts of one frame from one another: be88 counter || part.
"""

import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scelle.errors import FormatError
from scelle.vault.interfaces import Buffer
from scelle.vault.keys import KEY_BYTES, WRAPPED_BYTES, VaultKey

PACK_MAGIC: Final = b"scelle/pack/v1\n"
KEYS_MAGIC: Final = b"scelle/keys/v1\n"
PACK_ID_BYTES: Final = 16
PACK_HEADER_BYTES: Final = 47
KEYS_HEADER_BYTES: Final = 47
MARKER: Final = b"\xf5sc\xe9ll\xe9\x0a"
TAG_BYTES: Final = 16
OBJECT_MAX_BYTES: Final = 8 << 20
"""Larger objects are streamed to packs of their own."""
FRAME_PLAIN_MAX_BYTES: Final = OBJECT_MAX_BYTES
CHUNK_BYTES: Final = 1 << 20
ZSTD_LEVEL: Final = 2
ZSTD_WINDOW_MAX_BYTES: Final = 8 << 20

GROUP: Final = ord("G")
LARGE: Final = ord("L")
END: Final = ord("E")
STORED: Final = 0
ZSTD: Final = 1

_HEADER: Final = struct.Struct(">8sIBBHII")
FRAME_HEADER_BYTES: Final = _HEADER.size
_ENTRY: Final = struct.Struct(">32sQ")
ENTRY_BYTES: Final = _ENTRY.size
END_FRAME_BYTES: Final = FRAME_HEADER_BYTES + 2 * TAG_BYTES
LARGE_TABLE_BYTES: Final = ENTRY_BYTES + TAG_BYTES

_MORE: Final = b"\x00"
_LAST: Final = b"\x01"
_BODY_NONCE: Final = bytes(11) + _LAST
_TABLE_NONCE: Final = bytes(11) + b"\x02"
_PACK_NAME: Final = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{30})\.(pack|keys)")

Table: TypeAlias = Sequence[tuple[bytes, int]]
"""The objects of a frame in order: SHA-256 (32 bytes) and size in bytes."""


class FrameDamage(Exception):
    """Say why a frame is not as it was written; `code` tells the kinds apart. Never leaves this room."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def pack_name(pack_id: str) -> str:
    """Name the blob of the pack with this id (32 hex digits)."""
    return f"packs/{pack_id[:2]}/{pack_id}.pack"


def keys_name(pack_id: str) -> str:
    """Name the blob of the frame keys of the pack with this id."""
    return f"packs/{pack_id[:2]}/{pack_id}.keys"


def pack_id_of(name: str) -> str | None:
    """Return the pack id in the name of a pack or keys blob; None for any other name."""
    match = _PACK_NAME.fullmatch(name)
    return match[2] if match else None


class FrameHeader(NamedTuple):
    """Hold the 24 bytes before a frame; `body_size` (bytes, with tag) is 0 for a large object."""

    number: int
    kind: int
    coding: int
    objects: int
    body_size: int

    def encode(self) -> bytes:
        """Write the header."""
        return _HEADER.pack(MARKER, self.number, self.kind, self.coding, 0, self.objects, self.body_size)

    @property
    def table_size(self) -> int:
        """Give the size of the sealed table in bytes."""
        return self.objects * ENTRY_BYTES + TAG_BYTES

    @property
    def frame_size(self) -> int:
        """Give the size of the whole frame in bytes, for frames that are not large."""
        return FRAME_HEADER_BYTES + self.table_size + self.body_size


def parse_frame_header(data: Buffer) -> FrameHeader:
    """Read a frame header. Raises `FormatError` for one that no writer makes."""
    if len(data) != FRAME_HEADER_BYTES:
        raise FormatError("frame header cut short")
    marker, number, kind, coding, zero, objects, body_size = _HEADER.unpack(data)
    if marker != MARKER or zero or kind not in (GROUP, LARGE, END) or coding not in (STORED, ZSTD):
        raise FormatError("not a frame header")
    if kind == GROUP and not (objects and TAG_BYTES <= body_size <= FRAME_PLAIN_MAX_BYTES + TAG_BYTES):
        raise FormatError("frame header with impossible sizes")
    if kind == LARGE and (number or objects != 1 or body_size):
        raise FormatError("header of a large object out of place")
    if kind == END and (objects or coding or body_size != TAG_BYTES):
        raise FormatError("end frame with impossible sizes")
    return FrameHeader(number, kind, coding, objects, body_size)


@dataclass(frozen=True, slots=True)
class PackIdentity:
    """Hold what every frame of one pack is bound to."""

    pack_id: str
    header: bytes
    keys_header: bytes

    def key_context(self, number: int) -> bytes:
        """Give what the wrapped key of frame `number` is bound to."""
        return self.keys_header + struct.pack(">I", number)


def pack_identity(vault_id: bytes, pack_id: str) -> PackIdentity:
    """Make the two headers of a pack: magic || vault id || pack id."""
    ids = vault_id + bytes.fromhex(pack_id)
    return PackIdentity(pack_id, PACK_MAGIC + ids, KEYS_MAGIC + ids)


@dataclass(frozen=True, slots=True)
class SealedFrame:
    """Hold a frame in the two parts that stand in the pack, and its key as it stands in the keys file.

    They stay apart, since joining them would copy every byte that is kept once more.
    """

    head: bytes
    body: bytes
    wrapped_key: bytes

    @property
    def data(self) -> bytes:
        """Give the whole frame."""
        return self.head + self.body


class FrameCoder:
    """Seal and open frames under one vault key. Not thread-safe: each thread has its own."""

    def __init__(self, key: VaultKey) -> None:
        self._key = key
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self._decompressor = zstandard.ZstdDecompressor()

    def seal_group(
        self, identity: PackIdentity, number: int, table: Table, objects: Sequence[bytes], *, compress: bool
    ) -> SealedFrame:
        """Seal a frame of objects, stored where compression does not help."""
        plain = objects[0] if len(objects) == 1 else b"".join(objects)
        coding, body = STORED, plain
        if compress and plain:
            packed = self._compressor.compress(plain)
            if len(packed) < len(plain):
                coding, body = ZSTD, packed
        header = FrameHeader(number, GROUP, coding, len(table), len(body) + TAG_BYTES)
        return self._seal(identity, header, encode_table(table), body)

    def seal_end(self, identity: PackIdentity, number: int) -> SealedFrame:
        """Seal the last frame, whose number says how many stand before it."""
        return self._seal(identity, FrameHeader(number, END, STORED, 0, TAG_BYTES), b"", b"")

    def _seal(self, identity: PackIdentity, header: FrameHeader, table: bytes, body: bytes) -> SealedFrame:
        secret = os.urandom(KEY_BYTES)
        cipher, head = AESGCM(secret), header.encode()
        context = identity.header + head
        sealed_table = cipher.encrypt(_TABLE_NONCE, table, context)
        sealed_body = cipher.encrypt(_BODY_NONCE, body, context)
        wrapped_key = self._key.wrap(secret, identity.key_context(header.number))
        return SealedFrame(head + sealed_table, sealed_body, wrapped_key)

    def open_body(
        self, cipher: AESGCM, context: bytes, coding: int, sealed_body: Buffer, table: Table
    ) -> bytes:
        """Open the body of a frame: as many bytes as its table says, never more. Raises `FrameDamage`."""
        size_bytes = sum(size for _, size in table)
        if size_bytes > FRAME_PLAIN_MAX_BYTES:
            raise FrameDamage(
                "vault.frame_bomb", f"its table declares {size_bytes} bytes, too many for a frame"
            )
        try:
            body = cipher.decrypt(_BODY_NONCE, sealed_body, context)
        except InvalidTag:
            raise FrameDamage("vault.frame_damaged", "its body is not as it was written") from None
        plain = body if coding == STORED else self._decompressed(body, size_bytes)
        if len(plain) != size_bytes:
            raise FrameDamage("vault.frame_bomb", f"it holds {len(plain)} bytes, its table says {size_bytes}")
        return plain

    def _decompressed(self, body: bytes, size_bytes: int) -> bytes:
        try:
            declared = zstandard.frame_content_size(body)
            if declared != size_bytes:  # else the library would allocate whatever the body declares
                raise FrameDamage("vault.frame_bomb", f"it declares {declared} bytes, its table {size_bytes}")
            return self._decompressor.decompress(body, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise FrameDamage("vault.frame_bomb", f"it does not decompress ({error})") from error


def open_table(cipher: AESGCM, context: bytes, sealed_table: Buffer) -> list[tuple[bytes, int]]:
    """Open the table of a frame. Raises `FrameDamage`."""
    try:
        return list(_ENTRY.iter_unpack(cipher.decrypt(_TABLE_NONCE, sealed_table, context)))
    except InvalidTag:
        raise FrameDamage("vault.frame_damaged", "its table is not as it was written") from None


def encode_table(table: Table) -> bytes:
    """Write the table of a frame: 32 bytes of SHA-256 and be64 size for each object."""
    return b"".join([_ENTRY.pack(digest, size) for digest, size in table])


class LargeSealer:
    """Seal one large object chunk by chunk: `header`, then `chunk` for each, then `table`, then the key."""

    def __init__(self, key: VaultKey, identity: PackIdentity, coding: int) -> None:
        secret = os.urandom(KEY_BYTES)
        self.header = FrameHeader(0, LARGE, coding, 1, 0).encode()
        self.wrapped_key = key.wrap(secret, identity.key_context(0))
        self._cipher = AESGCM(secret)
        self._context = identity.header + self.header
        self._counter = 0

    def chunk(self, data: Buffer, *, is_last: bool) -> bytes:
        """Seal the next chunk: 1 MiB, the last one 1 MiB or less."""
        nonce = chunk_nonce(self._counter, is_last=is_last)
        self._counter += 1
        return self._cipher.encrypt(nonce, data, self._context)

    def table(self, digest: bytes, size_bytes: int) -> bytes:
        """Seal the table, which follows the chunks since nobody knows the digest before."""
        return self._cipher.encrypt(_TABLE_NONCE, _ENTRY.pack(digest, size_bytes), self._context)


def chunk_nonce(counter: int, *, is_last: bool) -> bytes:
    """Make the nonce of a chunk: be88 counter || 1 for the last chunk, 0 for the others."""
    return counter.to_bytes(11, "big") + (_LAST if is_last else _MORE)


def split_wrapped_keys(data: bytes) -> list[bytes]:
    """Return the wrapped keys in the bytes of a keys file, without its header and an incomplete last one."""
    whole = len(data) - (len(data) - KEYS_HEADER_BYTES) % WRAPPED_BYTES
    return [data[at : at + WRAPPED_BYTES] for at in range(KEYS_HEADER_BYTES, whole, WRAPPED_BYTES)]
