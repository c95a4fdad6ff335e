"""Split an mbox byte-exactly: what is given, put together again in order, is the mbox.

There is no one mbox. A `From ` line parts two messages here when

* it has a date as programs write it, and stands at the start of the file, after a blank line, or right before
  something that looks like a header field (old writers left the blank line out); or
* it has no such date, stands at the start or after a blank line, and is followed by a header field that mail
  always has (Thunderbird writes such lines).

So a body's "From here on .." parts nothing, quoted (mboxo, mboxrd) or not. `Content-Length` (mboxcl, mboxcl2)
is honoured only where it leads exactly to a separator or to the end: it has been lying since 1990.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from scelle.sources.mail.dates import from_line_time

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""Give `size` bytes at `offset`, all of them, or raise."""

WINDOW_BYTES: Final = 1 << 20
LINE_BYTES: Final = 1_000
"""A longer line is no separator."""
_HEAD_BYTES: Final = 8 << 10
_LONGEST_HEAD_BYTES: Final = 256 << 10

_ANY_FIELD: Final = re.compile(rb"[!-9;-~]{1,76}[ \t]*:")
_MAIL_FIELD: Final = re.compile(
    rb"(?:Received|Return-Path|Delivered-To|Envelope-To|Message-ID|Date|From|To|Cc|Subject|Reply-To|Sender"
    rb"|MIME-Version|Content-Type|X-Mozilla-Status2?|X-Mozilla-Keys|X-Gmail-Labels|X-GM-THRID|Status)[ \t]*:",
    re.IGNORECASE,
)
_LENGTH: Final = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r?\n")
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_GAPS: Final = (b"", b"\n", b"\r\n")


@dataclass(frozen=True, slots=True)
class Part:
    """Bound one stretch of an mbox: `[start, content)` From_ line, `[content, content_end)` message, `[..,
    end)` rest.

    `number` counts messages from 1; 0 is what stands before the first From_ line. The rest is what the format
    adds after a message: a blank line, or nothing. `length_honoured` says that Content-Length set the end.
    """

    start: int
    content: int
    content_end: int
    end: int
    number: int
    length_honoured: bool = False


def split(read: ReadAt, size_bytes: int, window_bytes: int = WINDOW_BYTES) -> Iterator[Part]:
    """Give the parts of an mbox in order, without a gap, from 0 to `size_bytes`; memory: one window."""
    text = _Text(read, size_bytes, window_bytes)
    start = text.separator_from(0)
    if start:
        yield Part(0, 0, start, start, 0)
    number = 0
    while start < size_bytes:
        number += 1
        content = text.line_end(start)
        ends = text.ends_by_length(content)
        if ends is not None:
            content_end, end = ends
        else:
            end = text.separator_from(content)
            content_end = text.without_blank_line(content, end)
        yield Part(start, content, content_end, end, number, ends is not None)
        start = end


class _Text:
    """Look at a file through one window that slides."""

    def __init__(self, read: ReadAt, size_bytes: int, window_bytes: int) -> None:
        self._read = read
        self._size = size_bytes
        self._window_bytes = window_bytes
        self._window = b""
        self._base = 0

    def separator_from(self, offset: int) -> int:
        """Give the first separator at or after `offset`, which begins a line; the size if there is none."""
        if self._is_separator(offset):
            return offset
        while (before := self._find(b"\nFrom ", offset)) >= 0:
            if self._is_separator(before + 1):
                return before + 1
            offset = before + 1
        return self._size

    def line_end(self, offset: int) -> int:
        """Give the offset after the newline of the line at `offset`."""
        newline = self._find(b"\n", offset)
        return self._size if newline < 0 else newline + 1

    def ends_by_length(self, content: int) -> tuple[int, int] | None:
        """Give the end of the message and of its gap by its Content-Length, if that leads to a separator or
        the end.
        """
        head = self._bytes(content, _HEAD_BYTES)
        body = _blank_line_end(head)
        if body < 0 and len(head) == _HEAD_BYTES:
            head = self._bytes(content, _LONGEST_HEAD_BYTES)
            body = _blank_line_end(head)
        length = _LENGTH.search(b"\n" + head[:body].lower()) if body >= 0 else None
        if length is None:
            return None
        content_end = content + body + int(length[1])
        for gap in _GAPS:
            end = content_end + len(gap)
            if end > self._size or self._bytes(content_end, len(gap)) != gap:
                continue
            if end == self._size or (self._begins_line(end) and self._is_separator(end)):
                return content_end, end
        return None

    def without_blank_line(self, content: int, end: int) -> int:
        """Give the end of a message without the blank line that the format puts after it."""
        tail = self._bytes(max(content, end - 3), min(3, end - content))
        for blank in (b"\r\n", b"\n"):
            if tail.endswith(blank) and (end - content == len(blank) or tail[: -len(blank)].endswith(b"\n")):
                return end - len(blank)
        return end

    def _is_separator(self, offset: int) -> bool:
        line = self._bytes(offset, LINE_BYTES)
        if not line.startswith(b"From "):
            return False
        newline = line.find(b"\n")
        if newline < 0:
            if offset + len(line) < self._size:
                return False
            newline = len(line)
        after_blank = self._follows_blank_line(offset)
        if from_line_time(line[:newline]) is not None:
            return after_blank or _ANY_FIELD.match(self._bytes(offset + newline + 1, 80)) is not None
        return after_blank and _MAIL_FIELD.match(self._bytes(offset + newline + 1, 80)) is not None

    def _follows_blank_line(self, offset: int) -> bool:
        before = self._bytes(max(0, offset - 3), min(3, offset))
        return before.endswith((b"\n\n", b"\n\r\n")) or (offset < 3 and before in (b"", b"\n", b"\r\n"))

    def _begins_line(self, offset: int) -> bool:
        return offset == 0 or self._bytes(offset - 1, 1) == b"\n"

    def _bytes(self, offset: int, count: int) -> bytes:
        """Give bytes from the window, moved if need be; fewer only at the end."""
        count = min(count, self._size - offset)
        if count <= 0:
            return b""
        at = offset - self._base
        if at < 0 or at + count > len(self._window):
            self._move(offset, count)
            at = 0
        return self._window[at : at + count]

    def _find(self, needle: bytes, offset: int) -> int:
        while offset < self._size:
            at = offset - self._base
            if not 0 <= at < len(self._window):
                self._move(offset, 1)
                at = 0
            hit = self._window.find(needle, at)
            if hit >= 0:
                return self._base + hit
            seen = self._base + len(self._window)
            if seen >= self._size:
                return -1
            offset = max(offset, seen - len(needle) + 1)
            self._move(offset, len(needle))
        return -1

    def _move(self, offset: int, count: int) -> None:
        self._window = self._read(offset, min(max(count, self._window_bytes), self._size - offset))
        self._base = offset


def _blank_line_end(head: bytes) -> int:
    """Give the offset after the blank line that ends a header block, or -1."""
    if head.startswith((b"\n", b"\r\n")):
        return head.index(b"\n") + 1
    blank = _BLANK_LINE.search(head)
    return blank.end() if blank else -1
