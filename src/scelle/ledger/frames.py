"""Keep rows and index entries in sealed frames, each under a key of its own.

A frame is `be32 length || be32 plain size || method || ciphertext`; `length` counts the ciphertext with its
tag, `method` is 0 (stored) or 1 (zstd). AES-256-GCM with a zero nonce: the key is random and used once. The
associated data is `context || be32 number || the nine header bytes`, so that no frame can stand in another's
place. Keys lie in a separate file, 60 bytes a slot, wrapped by the vault key (`docs/formats/segment.md`).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scelle.errors import FrameDamaged, WrongKey
from scelle.vault.durable import AppendFile
from scelle.vault.keys import VaultKey

HEADER = struct.Struct(">IIB")
KEY_SLOT_BYTES = 60
TAG_BYTES = 16
MAX_PLAIN_BYTES = 80 << 20  # a row may carry a value of 16 MiB in each of several fields; a bomb may not
_NONCE = bytes(12)


class FrameWriter:
    """Append frames to `frames` and their wrapped keys to `keys`."""

    def __init__(
        self, frames: AppendFile, keys: AppendFile, vault_key: VaultKey, context: bytes, number: int
    ) -> None:
        self._frames, self._keys = frames, keys
        self._vault_key, self._context = vault_key, context
        self.number = number
        self._compressor = zstandard.ZstdCompressor(level=1, write_content_size=True)

    def write(self, plain: bytes | bytearray) -> None:
        """Seal `plain` as the next frame; durable after `sync`."""
        packed = self._compressor.compress(plain)
        method = 1 if len(packed) < len(plain) else 0
        header = HEADER.pack((len(packed) if method else len(plain)) + TAG_BYTES, len(plain), method)
        number = struct.pack(">I", self.number)
        key = AESGCM.generate_key(256)
        body = AESGCM(key).encrypt(
            _NONCE, packed if method else bytes(plain), self._context + number + header
        )
        self._keys.write(self._vault_key.wrap(key, self._context + number))
        self._frames.write(header + body)
        self.number += 1

    def copy(self, frame: bytes, wrapped_key: bytes) -> None:
        """Append a frame as it stands, header and all, with its wrapped key; its number must be the next one."""
        self._keys.write(wrapped_key)
        self._frames.write(frame)
        self.number += 1

    def sync(self) -> None:
        """Make every frame durable: keys first, since a key without its frame does no harm."""
        self._keys.sync()
        self._frames.sync()


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Say where a frame's ciphertext stands in its file (bytes)."""

    number: int
    offset: int
    header: bytes


class FrameReader:
    """Read the frames of one file, in order or by number. Every byte read is authenticated."""

    def __init__(
        self, frames: Path, keys: Path, vault_key: VaultKey, context: bytes, first_slot: int = 0
    ) -> None:
        self._path, self._context, self._vault_key = frames, context, vault_key
        self._first_slot = first_slot
        try:
            self._file: BinaryIO = frames.open("rb")
            self._wrapped = keys.read_bytes()
        except FileNotFoundError as error:
            raise FrameDamaged(f"{error.filename} is missing: restore it from a copy of the vault") from error
        self._decompressor = zstandard.ZstdDecompressor()
        self._places: list[FramePlace] | None = None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def key_slots(self) -> int:
        """Count the key slots that are in the keys file."""
        return len(self._wrapped) // KEY_SLOT_BYTES

    def places(self) -> list[FramePlace]:
        """List the frames; raise `FrameDamaged` where the file ends inside one."""
        if self._places is None:
            self._places = list(self._walk())
        return self._places

    def _walk(self) -> Iterator[FramePlace]:
        size_bytes = self._file.seek(0, 2)
        offset = number = 0
        while offset < size_bytes:
            self._file.seek(offset)
            header = self._file.read(HEADER.size)
            end = offset + HEADER.size + (HEADER.unpack(header)[0] if len(header) == HEADER.size else 0)
            if len(header) < HEADER.size or end > size_bytes:
                raise FrameDamaged(f"{self._path}: frame {number} at byte {offset} is cut short")
            yield FramePlace(number, offset + HEADER.size, header)
            offset, number = end, number + 1

    def read(self, place: FramePlace) -> bytes:
        """Return the plaintext of one frame; raise `FrameDamaged` when one bit of it is not as written."""
        packed, plain_bytes, method = self._opened(place)
        if method:
            try:
                packed = self._decompressor.decompress(packed, max_output_size=plain_bytes)
            except zstandard.ZstdError as error:
                raise FrameDamaged(f"{self._where(place)} is not as it was written") from error
        if len(packed) != plain_bytes:
            raise FrameDamaged(f"{self._where(place)} holds {len(packed)} bytes, not {plain_bytes}")
        return packed

    def stream(self, place: FramePlace) -> BinaryIO:
        """Return the plaintext of one frame to be read as far as it is needed.

        The whole frame is authenticated here, and unpacked as it is read; raises `FrameDamaged` when one bit of it is
        not as written.
        """
        packed, _, method = self._opened(place)
        if not method:
            return BytesIO(packed)
        # of its own: two streams of one decompressor, read by turns, take each other's state
        return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(packed))

    def sealed(self, place: FramePlace) -> tuple[bytes, bytes]:
        """Return one frame as it stands, with its header, and its wrapped key; nothing is opened."""
        slot = (self._first_slot + place.number) * KEY_SLOT_BYTES
        self._file.seek(place.offset)
        body = self._file.read(HEADER.unpack(place.header)[0])
        return place.header + body, self._wrapped[slot : slot + KEY_SLOT_BYTES]

    def _where(self, place: FramePlace) -> str:
        return f"{self._path}: frame {place.number} at byte {place.offset - HEADER.size}"

    def _opened(self, place: FramePlace) -> tuple[bytes, int, int]:
        """Decrypt one frame; give what it packs, the size of its plaintext, and the method."""
        length, plain_bytes, method = HEADER.unpack(place.header)
        if plain_bytes > MAX_PLAIN_BYTES or length > MAX_PLAIN_BYTES + TAG_BYTES or method > 1:
            raise FrameDamaged(f"{self._where(place)} declares impossible sizes")
        slot = (self._first_slot + place.number) * KEY_SLOT_BYTES
        wrapped = self._wrapped[slot : slot + KEY_SLOT_BYTES]
        if len(wrapped) < KEY_SLOT_BYTES:
            raise FrameDamaged(f"{self._where(place)} has no key")
        number = struct.pack(">I", place.number)
        self._file.seek(place.offset)
        try:
            key = self._vault_key.unwrap(wrapped, self._context + number)
            packed = AESGCM(key).decrypt(
                _NONCE, self._file.read(length), self._context + number + place.header
            )
        except (InvalidTag, WrongKey) as error:
            raise FrameDamaged(f"{self._where(place)} is not as it was written, or its key is not") from error
        return packed, plain_bytes, method

    def good_prefix(self) -> Iterator[tuple[bytes, int]]:
        """Yield the leading intact frames: each one's plaintext, and the byte where it ends.

        For recovery only: after a crash the tail behind the last `sync` may be torn or zero.
        """
        places = self._walk()
        while True:
            try:
                place = next(places)
                plain = self.read(place)
            except (FrameDamaged, StopIteration):  # the tail that no sync covered, or the end
                return
            yield plain, place.offset + int(HEADER.unpack(place.header)[0])
