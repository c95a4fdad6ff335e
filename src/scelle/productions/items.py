"""Fetch contents from the vault, compare them with what was sealed, and hold them for the package.

Small contents are read once, in capture order, which is the order of the packs, and wait in a scratch file:
items may be numbered in another order. Larger ones are read here to be compared, and once more when the
package is written; their CRC-32 must be the same then.
"""

import io
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from typing import BinaryIO, Final

from scelle.errors import ContentNotAsSealed, IntegrityError
from scelle.formats.zips import PIECE_BYTES, Member
from scelle.productions.interfaces import Contents
from scelle.productions.scratch import Scratch, Slice

SMALL_BYTES: Final = 1 << 20
IN_VAULT: Final = -1
_EMPTY: Final = sha256(b"").digest()
_ANOTHER: Final = "the vault gives another content than was sealed"


class Shelf:
    """Hold the contents of one package until they are written."""

    def __init__(self, contents: Contents, scratch: Scratch) -> None:
        self._contents, self._scratch = contents, scratch

    def put(self, digest: bytes, size_bytes: int, where: Callable[[], str]) -> tuple[int, int]:
        """Fetch and compare a content; return its CRC-32 and its offset here, `IN_VAULT` if it is large.

        Raises `ContentNotAsSealed`, which names the record as `where` says, when the vault has no such
        content, or another one.
        """
        try:
            if size_bytes > SMALL_BYTES:
                return self._compare(digest, size_bytes), IN_VAULT
            data = self._contents.read_bytes(digest) if digest != _EMPTY else b""
            if len(data) != size_bytes or sha256(data).digest() != digest:
                raise ContentNotAsSealed(_ANOTHER)
        except IntegrityError as error:
            raise ContentNotAsSealed(
                f"{where()}: {error}: nothing was produced; run `scelle verify`"
            ) from error
        offset = self._scratch.size_bytes
        self._scratch.write(data)
        return zlib.crc32(data), offset

    def _compare(self, digest: bytes, size_bytes: int) -> int:
        state, crc, count = sha256(), 0, 0
        for piece in self._contents.read(digest):
            state.update(piece)
            crc, count = zlib.crc32(piece, crc), count + len(piece)
        if count != size_bytes or state.digest() != digest:
            raise ContentNotAsSealed(_ANOTHER)
        return crc

    def member(self, path: str, digest: bytes, size_bytes: int, crc32: int, offset: int) -> Member:
        """Announce a fetched content as a member of the package."""
        if offset == IN_VAULT:
            return Member(path, size_bytes, crc32, partial(_reader, self._contents, digest))
        return Member(path, size_bytes, crc32, Slice(self._scratch, offset, size_bytes))


def _reader(contents: Contents, digest: bytes) -> BinaryIO:
    return io.BufferedReader(_Pieces(contents.read(digest)), PIECE_BYTES)


class _Pieces(io.RawIOBase):
    """Read pieces as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
