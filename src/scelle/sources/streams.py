"""Read a file's bytes, decompressed where its name says so, piece by piece and never much at once."""

import os
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import zstandard

from scelle.errors import ItemUnreadable
from scelle.formats.tokens import shown
from scelle.sources.tree import changed, item_error, stamp_of

PIECE_BYTES: Final = 1 << 20
_ZSTD_FEED_BYTES: Final = 512
"""What one call may decompress: a block of 128 KiB takes 4 bytes at least, so no call gives more than 16 MiB."""
_ZSTD_WINDOW_BYTES: Final = 128 << 20
"""What the command line tool accepts without being asked for more."""
_KINDS: Final = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "tsv": "csv",
    "parquet": "parquet",
    "pq": "parquet",
}
_COMPRESSIONS: Final = {"gz": "gzip", "zst": "zstd", "zstd": "zstd"}


class FileFormat(NamedTuple):
    """How the rows of a file are written, and how the file is compressed (empty: not at all)."""

    kind: str
    compression: str
    is_tabbed: bool


def format_of(path: bytes, declared: str | None) -> FileFormat | None:
    """Tell a file's format by its name, or by the schema for all files alike; None where neither says it."""
    name, compression = compression_of(path)
    ending = name.rpartition(".")[2]
    kind = declared or _KINDS.get(ending)
    if kind is None or (kind == "parquet" and compression):
        return None
    return FileFormat(kind, compression, ending == "tsv")


def compression_of(path: bytes) -> tuple[str, str]:
    """Give a file's name in lower case without the ending of its compression, and the compression (empty: none)."""
    name = os.fsdecode(path).lower()
    stem, _, ending = name.rpartition(".")
    compression = _COMPRESSIONS.get(ending, "")
    return (stem if compression else name), compression


def check_only_grew(path: bytes, before: os.stat_result, after: os.stat_result) -> None:
    """Raise ItemChanged where a file was cut, or written to without growing; growing is what logs do."""
    if after.st_size < before.st_size or (
        after.st_size == before.st_size and stamp_of(after) != stamp_of(before)
    ):
        raise changed(path)


class ByteStream(Protocol):
    """Give bytes in pieces."""

    is_cut: bool
    """Whether a compressed stream ended before its end was reached; known after the last piece."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield pieces, none of them empty; raises an ItemError."""


def open_stream(descriptor: int, path: bytes, size_bytes: int, compression: str) -> ByteStream:
    """Read the first `size_bytes` of an open file from its start: what is appended later is another pass's."""
    plain = _Plain(descriptor, path, size_bytes)
    if compression == "gzip":
        return _Gzip(plain, path)
    return _Zstd(plain, path) if compression == "zstd" else plain


class _Plain:
    is_cut = False

    def __init__(self, descriptor: int, path: bytes, size_bytes: int) -> None:
        self._descriptor, self._path, self._size_bytes = descriptor, path, size_bytes

    def __iter__(self) -> Iterator[bytes]:
        at = 0
        while at < self._size_bytes:
            try:
                piece = os.pread(self._descriptor, min(PIECE_BYTES, self._size_bytes - at), at)
            except OSError as error:
                raise item_error(error, self._path) from error
            if not piece:  # it was cut while it was read
                raise changed(self._path)
            at += len(piece)
            yield piece


class _Gzip:
    """Read one gzip member after the other (RFC 1952 §2.2); zero bytes between and behind them are padding."""

    def __init__(self, plain: _Plain, path: bytes) -> None:
        self._plain, self._path = plain, path
        self.is_cut = False

    def __iter__(self) -> Iterator[bytes]:
        member = zlib.decompressobj(wbits=31)
        has_begun = False
        for piece in self._plain:
            data = piece
            while data:
                if not has_begun:
                    data = data.lstrip(b"\0")
                    has_begun = bool(data)
                    continue
                try:
                    out = member.decompress(data, PIECE_BYTES)
                except zlib.error as error:
                    raise _damaged(self._path, "gzip") from error
                if out:
                    yield out
                data = member.unconsumed_tail
                if member.eof:
                    data, member, has_begun = member.unused_data, zlib.decompressobj(wbits=31), False
        self.is_cut = has_begun


class _Zstd:
    """Read one zstd frame after the other (RFC 8878 §3.1)."""

    def __init__(self, plain: _Plain, path: bytes) -> None:
        self._plain, self._path = plain, path
        self.is_cut = False

    def __iter__(self) -> Iterator[bytes]:
        context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        frame = context.decompressobj()
        has_begun = False
        for piece in self._plain:
            for at in range(0, len(piece), _ZSTD_FEED_BYTES):
                data = piece[at : at + _ZSTD_FEED_BYTES]
                while data:
                    has_begun = True
                    try:
                        out = frame.decompress(data)
                    except zstandard.ZstdError as error:
                        raise _damaged(self._path, "zstd") from error
                    if out:
                        yield out
                    data = b""
                    if frame.eof:
                        data, frame, has_begun = frame.unused_data, context.decompressobj(), False
        self.is_cut = has_begun


def _damaged(path: bytes, what: str) -> ItemUnreadable:
    return ItemUnreadable(
        f"{shown(os.fsdecode(path))} is no {what}, or damaged: what stands behind the damage cannot be read, "
        "restore the file",
        "compression-damaged",
    )
