"""Part a stream into lines, know where each begins, and find again a place where reading stopped."""

import json
import os
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from scelle.errors import UnitRewritten
from scelle.formats.tokens import shown
from scelle.sources.streams import PIECE_BYTES, ByteStream

LINE_MAX_BYTES: Final = 64 << 20
BATCH_RECORDS: Final = 8192
BATCH_BYTES: Final = 8 << 20
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Mark(NamedTuple):
    """A place in a unit: everything before `offset` has this SHA-256, and `line` begins there.

    `is_ended` is false where the last line that was read had no line end yet: what follows must begin with it.
    """

    offset: int
    line: int
    digest: str
    is_ended: bool

    def encode(self) -> bytes:
        """Write the mark, under 200 bytes."""
        return json.dumps(list(self), separators=(",", ":")).encode()


def parse_mark(data: bytes) -> Mark:
    """Read a mark that `encode` wrote."""
    return Mark(*json.loads(data))


class Block(NamedTuple):
    """Whole lines that follow one another, each without its LF; `data` is all of them as they stand.

    A line over 64 MiB is a block of its own, without lines: only `too_long_bytes` is known of it.
    """

    offset: int
    line: int
    lines: list[bytes]
    data: bytes
    too_long_bytes: int


class LineReader:
    """Read a stream's lines in order and keep the SHA-256 of what was taken.

    `blocks` hands lines out; the caller says by `take` which bytes belong to what a mark may stand behind.
    """

    def __init__(self, stream: ByteStream, path: bytes) -> None:
        self._stream, self._path = stream, path
        self._pieces = _joined(iter(stream))
        self._pushed_back = b""
        self._sha = sha256()
        self.offset = 0
        self.line = 1
        self.is_ended = True
        self.tail: list[bytes] = []
        """What stands behind the last LF, once `blocks` ended; nothing where that is over 64 MiB."""
        self.tail_bytes = 0

    @property
    def is_cut(self) -> bool:
        """Say whether the stream ended before its end (after the last block)."""
        return self._stream.is_cut

    @property
    def mark(self) -> Mark:
        """Give the place behind what was taken."""
        return Mark(self.offset, self.line, self._sha.hexdigest(), self.is_ended)

    def take(self, data: bytes, lines: int, *, is_ended: bool = True) -> None:
        """Count bytes and lines as read."""
        self._sha.update(data)
        self.offset += len(data)
        self.line += lines
        self.is_ended = is_ended

    def take_block(self, block: Block) -> None:
        """Count a whole block as read."""
        self._sha.update(block.data)
        self.offset += block.too_long_bytes or len(block.data)
        self.line += len(block.lines) or 1

    def skip_to(self, mark: Mark) -> None:
        """Read up to a mark; raises UnitRewritten where what stands before it is not what it was."""
        for piece in self._pieces:
            left = mark.offset - self.offset
            self._sha.update(piece[:left])
            self.offset += min(left, len(piece))
            if left < len(piece):
                self._pushed_back = piece[left:]
                break
            if left == len(piece):
                break
        if self.offset != mark.offset or self._sha.hexdigest() != mark.digest:
            raise self._rewritten()
        self.line = mark.line
        self.is_ended = mark.is_ended
        if not mark.is_ended:
            self._find_line_end()

    def blocks(self) -> Iterator[Block]:
        """Yield the lines behind the last that was taken, at most 8,192 at once; afterwards `tail` is what is left."""
        rest: list[bytes] = []
        size, offset, line = 0, self.offset, self.line
        is_too_long = False
        for piece in self._next_pieces():
            cut = piece.rfind(b"\n") + 1
            if is_too_long and cut:
                cut = piece.find(b"\n") + 1
                yield Block(offset, line, [], piece[:cut], size + cut)
                offset, line, is_too_long, rest, size = offset + size + cut, line + 1, False, [], 0
                piece = piece[cut:]  # noqa: PLW2901
                cut = piece.rfind(b"\n") + 1
            if not cut:
                size += len(piece)
                rest.append(piece)
                if size > LINE_MAX_BYTES:
                    is_too_long = True
                    for each in rest:
                        self._sha.update(each)
                    rest = []
                continue
            data = b"".join([*rest, piece[:cut]])
            for block in _split(data, offset, line):
                yield block
                line += len(block.lines)
            offset += len(data)
            rest = [piece[cut:]] if cut < len(piece) else []
            size = len(piece) - cut
        self.tail = rest
        self.tail_bytes = size

    def _next_pieces(self) -> Iterator[bytes]:
        if self._pushed_back:
            yield self._pushed_back
        yield from self._pieces

    def _find_line_end(self) -> None:
        """Take the end of a line that was read without it; raises UnitRewritten where the line goes on."""
        while len(self._pushed_back) < 2:
            more = next(self._pieces, b"")
            if not more:
                break
            self._pushed_back += more
        for end in (b"\n", b"\r\n"):
            if self._pushed_back.startswith(end):
                self.take(end, 0)
                self._pushed_back = self._pushed_back[len(end) :]
                return
        if self._pushed_back not in (b"", b"\r"):
            raise self._rewritten()

    def _rewritten(self) -> UnitRewritten:
        return UnitRewritten(
            f"{shown(os.fsdecode(self._path))} is not what it was up to where it was read: it is read from its start"
        )


def _split(data: bytes, offset: int, line: int) -> Iterator[Block]:
    lines = data.split(b"\n")
    lines.pop()
    if len(lines) <= BATCH_RECORDS and len(data) <= BATCH_BYTES:
        yield Block(offset, line, lines, data, 0)
        return
    start = 0
    for at, count in _groups(lines):
        group = lines[at : at + count]
        size = sum(map(len, group)) + count
        yield Block(offset + start, line + at, group, data[start : start + size], 0)
        start += size


def _groups(lines: list[bytes]) -> Iterator[tuple[int, int]]:
    """Yield first and number of the lines of each group: 8,192 lines or 8 MiB, one line at least."""
    first, size = 0, 0
    for number, line in enumerate(lines):
        if number > first and (number - first == BATCH_RECORDS or size + len(line) + 1 > BATCH_BYTES):
            yield first, number - first
            first, size = number, 0
        size += len(line) + 1
    yield first, len(lines) - first


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces, as a decompressor gives them, to about 1 MiB."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
