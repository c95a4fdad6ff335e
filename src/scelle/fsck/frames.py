"""Read the sealed frames of rows and index entries, and go on behind a damaged one.

The ledger's own reader stops at the first fault, as whoever builds on the rows must. Here the frames behind
it are found again: a frame opens only with its own key and number, so that a candidate is no guess.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scelle.errors import WrongKey
from scelle.fsck.files import RegularFile
from scelle.ledger.frames import HEADER, KEY_SLOT_BYTES, MAX_PLAIN_BYTES, TAG_BYTES
from scelle.vault.keys import VaultKey

_NONCE: Final = bytes(12)
_CANDIDATE: Final = re.compile(rb"(?s)(?=[\x00-\x05]...[\x00-\x05]...[\x00\x01])")
_SEARCH_BYTES: Final = 4 << 20
_NUMBERS_TRIED: Final = 3


class FrameFault(Exception):
    """Say why a frame does not open. Never leaves this room; `is_key` where its key is at fault."""

    def __init__(self, detail: str, *, is_key: bool = False) -> None:
        super().__init__(detail)
        self.is_key = is_key


@dataclass(frozen=True, slots=True)
class Place:
    """Say where a frame's header stands in its file."""

    number: int
    offset: int
    header: bytes


@dataclass(frozen=True, slots=True)
class Hole:
    """Say where a frame should stand and none can be made out, and for how many bytes."""

    number: int
    offset: int
    size: int


def frame_context(origin: str, alias: str, number: int, kind: str) -> bytes:
    """Give what every frame of a segment's `rows` or `index` is bound to (docs/formats/ledger-files.md)."""
    return f"scelle/{kind}/v1\n{origin}\n{alias}\n{number}\n".encode()


class SealedFrames:
    """Find and open the frames of one file. `keys` are the bytes of the keys file."""

    def __init__(
        self, file: RegularFile, keys: bytes, vault_key: VaultKey, context: bytes, first_slot: int = 0
    ) -> None:
        self._file, self._keys, self._vault_key, self._context = file, keys, vault_key, context
        self._first_slot = first_slot
        self._decompressor = zstandard.ZstdDecompressor()

    def walk(self) -> Iterator[Place | Hole]:
        """Yield every frame in order, and a hole for each stretch of the file in which none can be made
        out."""
        offset = number = search_from = 0
        while offset < self._file.size:
            header = self._file.read_at(offset, HEADER.size)
            end = offset + _frame_bytes(header)
            if end > offset and end <= self._file.size:
                yield Place(number, offset, header)
                offset, number, search_from = end, number + 1, offset + 1
                continue
            found = self._find(search_from, number)
            if found is None:
                yield Hole(number, offset, self._file.size - offset)
                return
            if found.number != number or found.offset > offset:  # else the frame before led to a wrong place
                yield Hole(number, offset, max(found.offset - offset, 0))
            offset, number = found.offset, found.number

    def open(self, place: Place) -> bytes:
        """Return the plaintext of a frame; raise `FrameFault` when one bit of it is not as it was written."""
        length, plain_bytes, method = HEADER.unpack(place.header)
        number = struct.pack(">I", place.number)
        cipher = self._cipher(place.number, number)
        body = self._file.read_at(place.offset + HEADER.size, length)
        try:
            plain = cipher.decrypt(_NONCE, body, self._context + number + place.header)
            if method:
                plain = self._decompressor.decompress(plain, max_output_size=plain_bytes)
        except (InvalidTag, ValueError, zstandard.ZstdError):
            raise FrameFault("it is not as it was written") from None
        if len(plain) != plain_bytes:
            raise FrameFault(f"it holds {len(plain)} bytes, not the {plain_bytes} that it declares")
        return plain

    def opens(self, place: Place) -> bool:
        """Tell whether a frame opens."""
        try:
            self.open(place)
        except FrameFault:
            return False
        return True

    def _cipher(self, frame: int, number: bytes) -> AESGCM:
        slot = (self._first_slot + frame) * KEY_SLOT_BYTES
        wrapped = self._keys[slot : slot + KEY_SLOT_BYTES]
        if len(wrapped) < KEY_SLOT_BYTES:
            raise FrameFault("there is no key for it", is_key=True)
        try:
            return AESGCM(self._vault_key.unwrap(wrapped, self._context + number))
        except WrongKey:
            raise FrameFault("its key is not as it was written", is_key=True) from None

    def _find(self, start: int, number: int) -> Place | None:
        """Find the first frame from byte `start` on that opens as frame `number` or one of the next."""
        candidates = list(self._candidates(start))
        for tried in range(number, number + _NUMBERS_TRIED):
            for offset, header in candidates:
                place = Place(tried, offset, header)
                if self.opens(place):
                    return place
        return None

    def _candidates(self, start: int) -> Iterator[tuple[int, bytes]]:
        while start < self._file.size:
            window = self._file.read_at(start, _SEARCH_BYTES + HEADER.size - 1)
            for match in _CANDIDATE.finditer(window):
                header = window[match.start() : match.start() + HEADER.size]
                end = start + match.start() + _frame_bytes(header)
                if start + match.start() < end <= self._file.size:
                    yield start + match.start(), header
            start += _SEARCH_BYTES


def _frame_bytes(header: bytes) -> int:
    """Give the size of a frame with its header; 0 for a header that no writer makes."""
    if len(header) < HEADER.size:
        return 0
    length, plain_bytes, method = HEADER.unpack(header)
    stored_bytes = length - TAG_BYTES
    if method > 1 or plain_bytes > MAX_PLAIN_BYTES or stored_bytes < 0:
        return 0
    if stored_bytes > plain_bytes or (method == 0) != (stored_bytes == plain_bytes):
        return 0
    return int(HEADER.size + length)
