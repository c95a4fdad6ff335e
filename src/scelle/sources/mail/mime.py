"""List the attachments of a message while its bytes go by, once and in flat memory.

The standard library's parser keeps a message in memory several times over and looks at every line once for
each level of nesting; this one looks for boundary lines only. It never fails a message: what is malformed
becomes a defect, and the bytes are sealed as they are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import MessageError
from hashlib import sha256
from typing import Any, Final, NamedTuple

from scelle.formats.canonical_json import JsonObject
from scelle.sources.mail.decoding import decoder_for
from scelle.sources.mail.fields import Field, MimeInfo, mime_info, read_fields

MAX_DEPTH: Final = 64
"""Parts nested deeper are listed whole and not looked into."""
MAX_LISTED: Final = 1_000
MAX_PARTS: Final = 10_000
MAX_LOOKALIKES: Final = 1_000_000
"""Lines that begin like a boundary and are none; a body made of them would take hours."""
LONGEST_HEAD_BYTES: Final = 256 << 10
_LONGEST_LINE_BYTES: Final = 2_000

PARSE_ERRORS: Final = (
    MessageError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,
)
"""What the standard library has been seen to raise on malformed mail."""

_FIELD_START: Final = re.compile(rb"[!-9;-~\x80-\xff]+[ \t]*:|[ \t]|From ")


@dataclass(slots=True)
class Findings:
    """Carry what was found in a message."""

    fields: list[Field] = field(default_factory=list)
    fields_cut: bool = False
    attachments: list[JsonObject] = field(default_factory=list)
    not_listed: int = 0
    defects: list[str] = field(default_factory=list)
    parse_error: str = ""

    def note(self, defect: str) -> None:
        """Remember a defect once."""
        if defect and defect not in self.defects:
            self.defects.append(defect)


class GaveUp(ValueError):
    """Say that a message has more parts than any honest one."""


def scan(pieces: Iterator[bytes]) -> Findings:
    """Read a whole message, whatever it is, and tell its fields, attachments and defects.

    Raises only what `pieces` raises.
    """
    reader = _Scan(pieces)
    try:
        reader.run()
    except PARSE_ERRORS as error:
        reader.findings.parse_error = str(error) if isinstance(error, GaveUp) else type(error).__name__
        for _ in pieces:  # the caller relies on everything having been read
            pass
        # What was being listed has no digest, and will not get one.
        reader.findings.attachments = [each for each in reader.findings.attachments if "sha256" in each]
    return reader.findings


class _Mark(NamedTuple):
    """Name a boundary line: the level that it belongs to, its bytes, and whether it closes the level."""

    level: int
    raw: bytes
    closes: bool


@dataclass(slots=True)
class _Level:
    """Hold one open multipart, or one open enclosed message (no boundary, but a listing)."""

    prefix: str
    boundary: bytes
    default: str
    count: int = 0
    listing: JsonObject | None = None
    digest: Any = None
    size_bytes: int = 0


class _Scan:
    """Follow the structure of a message without recursion."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.findings = Findings()
        self._input = _Input(pieces)
        self._levels: list[_Level] = []
        self._enclosed = 0
        self._parts = 0

    def run(self) -> None:
        """Read to the end."""
        mark = self._entity("1", "", "text/plain", is_root=True)
        while mark is not None:
            self._close(mark.level + 1)
            level = self._levels[mark.level]
            if mark.closes:
                self._close(mark.level)
                self._feed_enclosed(mark.raw)
                mark = self._skip()
                continue
            self._feed_enclosed(mark.raw)
            level.count += 1
            label = f"{level.prefix}{level.count}"
            mark = self._entity(label, label + ".", level.default)
        if any(level.boundary for level in self._levels):
            self.findings.note("boundary-not-closed")
        self._close(0)

    def _entity(self, label: str, prefix: str, default: str, is_root: bool = False) -> _Mark | None:
        """Read one message or part up to the boundary line that ends its header, preamble or body."""
        while True:
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise GaveUp("too-many-parts")
            fields = self._head(is_root)
            info = self._info(fields, default)
            kind = info.media_type.partition("/")[0]
            if len(self._levels) >= MAX_DEPTH and (
                kind == "multipart" or info.media_type == "message/rfc822"
            ):
                self.findings.note("nested-too-deep")
            elif kind == "multipart" and info.boundary:
                child = "message/rfc822" if info.media_type == "multipart/digest" else "text/plain"
                self._levels.append(_Level(prefix, info.boundary, child))
                return self._skip()
            elif info.media_type == "message/rfc822" and info.encoding in ("", "7bit", "8bit", "binary"):
                listing = self._list(label, info)
                self._levels.append(_Level(prefix, b"", default, listing=listing, digest=sha256()))
                self._enclosed += 1
                label, prefix, default, is_root = label + ".1", label + ".", "text/plain", False
                continue
            elif kind == "multipart":
                self.findings.note("multipart-without-boundary")
            return self._leaf(label, info, kind)

    def _info(self, fields: list[Field], default: str) -> MimeInfo:
        try:
            return mime_info(fields, default)
        except PARSE_ERRORS as error:
            self.findings.parse_error = type(error).__name__
            return MimeInfo("application/octet-stream", b"", None, "", "")

    def _head(self, is_root: bool) -> list[Field]:
        """Read the fields of a message or part; the root's are the findings' fields."""
        head, is_cut = self._input.head(self._boundaries())
        self._feed_enclosed(head)
        start = len(head.partition(b"\n")[0]) + 1 if head.startswith(b"From ") else 0
        fields = read_fields(head[start:])[0]
        if is_root:
            self.findings.fields, self.findings.fields_cut = fields, is_cut
            if not fields:
                self.findings.note("no-headers")
            elif head and not head.endswith((b"\n\n", b"\n\r\n")):
                self.findings.note("headers-not-ended")
        return fields

    def _leaf(self, label: str, info: MimeInfo, kind: str) -> _Mark | None:
        """Read a part that holds content; list it unless it is plain text without a name."""
        is_attached = info.disposition == "attachment" or info.name is not None
        if not is_attached and kind in ("text", "multipart"):
            return self._skip()
        listing = self._list(label, info)
        if listing is None:
            return self._skip()
        decoder = decoder_for(info.encoding)
        digest, size_bytes = sha256(), 0
        for piece in self._data():
            decoded = decoder.feed(piece)
            digest.update(decoded)
            size_bytes += len(decoded)
        decoded = decoder.end()
        digest.update(decoded)
        listing["size"] = size_bytes + len(decoded)
        listing["sha256"] = digest.hexdigest()
        self.findings.note(decoder.defect)
        return self._input.mark

    def _list(self, label: str, info: MimeInfo) -> JsonObject | None:
        """Begin an entry of the list of attachments; None where the list is full."""
        if len(self.findings.attachments) >= MAX_LISTED:
            self.findings.not_listed += 1
            return None
        listing: JsonObject = {"media_type": info.media_type, "name": info.name, "part": label}
        if info.disposition:
            listing["disposition"] = info.disposition
        self.findings.attachments.append(listing)
        return listing

    def _skip(self) -> _Mark | None:
        for _ in self._data():
            pass
        return self._input.mark

    def _data(self) -> Iterator[bytes]:
        """Give the bytes up to the next boundary line, and let enclosed messages see them."""
        for piece in self._input.data(self._boundaries()):
            self._feed_enclosed(piece)
            yield piece

    def _boundaries(self) -> dict[bytes, int]:
        """Give the level of each open boundary; the innermost wins where one is used twice."""
        return {level.boundary: number for number, level in enumerate(self._levels) if level.boundary}

    def _feed_enclosed(self, raw: bytes) -> None:
        if not self._enclosed:
            return
        for level in self._levels:
            if level.digest is not None:
                level.digest.update(raw)
                level.size_bytes += len(raw)

    def _close(self, down_to: int) -> None:
        """End all levels from `down_to` on, and finish the listings of enclosed messages."""
        while len(self._levels) > down_to:
            level = self._levels.pop()
            if level.digest is not None:
                self._enclosed -= 1
                if level.listing is not None:
                    level.listing["size"] = level.size_bytes
                    level.listing["sha256"] = level.digest.hexdigest()


class _Input:
    """Read pieces as header blocks, and as data up to a boundary line."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.mark: _Mark | None = None
        self._pieces = pieces
        self._buffer = b""
        self._at = 0
        self._lookalikes = 0

    def head(self, boundaries: dict[bytes, int]) -> tuple[bytes, bool]:
        """Read a header block with the blank line after it, if there is one; say whether it was too long.

        It ends before a boundary line, before a line that is no field, and at the limit.
        """
        lines: list[bytes] = []
        left = LONGEST_HEAD_BYTES
        while True:
            line = self._line(left)
            if line in (b"\n", b"\r\n"):
                self._at += len(line)
                return b"".join([*lines, line]), False
            if not line.endswith(b"\n") and len(line) >= left:
                return b"".join(lines), True
            begins_field = _FIELD_START.match(line) is not None and not (lines and line.startswith(b"From "))
            if not begins_field or self._is_mark(line, b"", boundaries):
                return b"".join(lines), False
            self._at += len(line)
            left -= len(line)
            lines.append(line)

    def data(self, boundaries: dict[bytes, int]) -> Iterator[bytes]:
        """Give data up to the next boundary line of any open level, without the newline before it; set
        `mark`.
        """
        self.mark = None
        if boundaries:
            line = self._line(_LONGEST_LINE_BYTES)
            if mark := self._is_mark(line, b"", boundaries):
                self.mark = mark
                self._at += len(line)
                return
        search = self._at
        while True:
            hyphens = self._buffer.find(b"\n--", search) + 1 if boundaries else 0
            if hyphens:
                end = hyphens - 2 if self._buffer[self._at : hyphens].endswith(b"\r\n") else hyphens - 1
                newline = self._buffer[end:hyphens]
                yield self._take(end)
                line = self._line(_LONGEST_LINE_BYTES, len(newline))
                if mark := self._is_mark(line, newline, boundaries):
                    self.mark = mark
                    self._at += len(mark.raw)
                    return
                self._lookalikes += 1
                if self._lookalikes > MAX_LOOKALIKES:
                    raise GaveUp("too-many-lookalikes")
                search = self._at + len(newline)
                continue
            # CR, LF and a hyphen may be parted from the second hyphen by the end of a piece.
            keep = 3 if boundaries else 0
            yield self._take(max(self._at, len(self._buffer) - keep))
            if not self._more():
                yield self._take(len(self._buffer))
                return
            search = self._at

    def _take(self, end: int) -> bytes:
        taken = self._buffer[self._at : end]
        self._at = end
        return taken

    def _line(self, limit_bytes: int, ahead: int = 0) -> bytes:
        """Give the line `ahead` bytes on, without taking it; cut where it is too long."""
        seen = self._at + ahead
        while (newline := self._buffer.find(b"\n", seen)) < 0 and len(
            self._buffer
        ) - self._at - ahead < limit_bytes:
            unseen = max(seen, len(self._buffer)) - self._at
            if not self._more():
                break
            seen = self._at + unseen
        start = self._at + ahead
        end = newline + 1 if newline >= 0 else len(self._buffer)
        return self._buffer[start : min(end, start + limit_bytes)]

    def _is_mark(self, line: bytes, newline: bytes, boundaries: dict[bytes, int]) -> _Mark | None:
        """Read a line as a boundary line of an open level, or None."""
        if not line.startswith(b"--"):
            return None
        name = line[2:].rstrip(b" \t\r\n")
        if name in boundaries:
            return _Mark(boundaries[name], newline + line, False)
        if name.endswith(b"--") and name[:-2] in boundaries:
            return _Mark(boundaries[name[:-2]], newline + line, True)
        return None

    def _more(self) -> bool:
        """Take one more piece into the buffer, and drop what was taken from it."""
        for piece in self._pieces:
            self._buffer = self._buffer[self._at :] + piece
            self._at = 0
            return True
        return False
