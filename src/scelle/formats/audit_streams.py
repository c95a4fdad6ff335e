"""Write and read the contentless stream of an index audit, `scelle/audit-stream/v1` (ledger.md §7, strength B).

What an auditor needs to recompute the sorted indexes of segments and their bounds: of each record its time, index salt,
commitment and tags. No value, no identifier, no content, and no tag key. Never part of a package.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Final, TypeAlias

from scelle.errors import FormatError
from scelle.formats.index import DIMENSIONS_MAX, TAG_BYTES
from scelle.formats.tiles import ENTRY_MAX_BYTES
from scelle.formats.tokens import DIGEST_BYTES, checked_width, parse_decimal, parse_origin, shown

Stream: TypeAlias = bytes | mmap
"""A stream in memory, or a file of it that is mapped there."""

FORMAT: Final = "scelle/audit-stream/v1"
NOTE_MAX_BYTES: Final = 1 << 20
HEADER_MAX_BYTES: Final = 2048
_RECORD: Final = struct.Struct(">q16s32s")
_SEGMENT: Final = struct.Struct(">Q16s")
SEGMENT_HEAD_BYTES: Final = _SEGMENT.size
CLAIM_BYTES: Final = _RECORD.size
"""The width of time, index salt and commitment; tags follow."""
_LINES: Final = re.compile(
    rb"scelle/audit-stream/v1\norigin ([^\n]+)\nsize ([0-9]+)\nsegments ([0-9]+)\ncheckpoint ([0-9]+)\n\n"
)


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """Say what a stream holds: the log's origin and size, how many segments, and how long the note is."""

    origin: str
    size: int
    segments: int
    checkpoint_bytes: int

    def encode(self) -> bytes:
        """Write the header, with the empty line after it."""
        parse_origin(self.origin)
        return (
            f"{FORMAT}\norigin {self.origin}\nsize {self.size}\nsegments {self.segments}\n"
            f"checkpoint {self.checkpoint_bytes}\n\n"
        ).encode()


def parse_stream_header(data: Stream) -> tuple[StreamHeader, int]:
    """Read the header at the start of `data`, and say where it ends."""
    match = _LINES.match(data[:HEADER_MAX_BYTES])
    if match is None:
        raise FormatError(f"audit stream must begin with {FORMAT}, origin, size, segments and checkpoint")
    try:
        origin = match[1].decode("ascii")
    except UnicodeDecodeError:
        raise FormatError("audit stream: origin is not ASCII") from None
    parse_origin(origin)
    size, segments, checkpoint_bytes = (parse_decimal(match[number].decode()) for number in (2, 3, 4))
    if not 1 <= checkpoint_bytes <= NOTE_MAX_BYTES or not 1 <= segments <= size:
        raise FormatError(
            f"audit stream: {segments} segments of {size} entries, note of {checkpoint_bytes} bytes"
        )
    return StreamHeader(origin, size, segments, checkpoint_bytes), match.end()


def encode_stream_entry(entry: bytes) -> bytes:
    """Write a log entry with its length in two bytes before it."""
    if not 1 <= len(entry) <= ENTRY_MAX_BYTES:
        raise FormatError(f"entry of {len(entry)} bytes, must be 1 to {ENTRY_MAX_BYTES}")
    return len(entry).to_bytes(2, "big") + entry


def parse_stream_entries(data: Stream, offset: int, count: int) -> tuple[list[bytes], int]:
    """Read `count` log entries from `offset` on, and say where they end."""
    entries: list[bytes] = []
    for _ in range(count):
        start = offset + 2
        end = start + int.from_bytes(data[offset:start], "big")
        if end > len(data) or end == start:
            raise FormatError(f"audit stream: entry {len(entries)} is cut short or empty")
        entries.append(bytes(data[start:end]))
        offset = end
    return entries, offset


def encode_segment_head(index: int, source_tag: bytes) -> bytes:
    """Write the log index of a segment's manifest and the tag of its source."""
    return _SEGMENT.pack(index, checked_width(source_tag, TAG_BYTES, "tag"))


def parse_segment_head(data: Stream, offset: int) -> tuple[int, bytes]:
    """Read log index and source tag."""
    if offset + SEGMENT_HEAD_BYTES > len(data):
        raise FormatError("audit stream is cut short before a segment")
    index, tag = _SEGMENT.unpack_from(data, offset)
    return index, tag


def record_bytes(dimensions: int) -> int:
    """Give the width of a record of a schema with so many dimensions, `source` among them."""
    if not 2 <= dimensions <= DIMENSIONS_MAX:
        raise FormatError(f"{dimensions} dimensions are outside 2 to {DIMENSIONS_MAX}")
    return _RECORD.size + TAG_BYTES * (dimensions - 1)


def encode_claim(time_us: int, salt: bytes, rc: bytes, tags: Sequence[bytes]) -> bytes:
    """Write what is claimed of a living record; `tags` are those of dimensions 2 and on."""
    checked_width(salt, 16, "index salt")
    checked_width(rc, DIGEST_BYTES, "rc")
    return _RECORD.pack(time_us, salt, rc) + b"".join([checked_width(tag, TAG_BYTES, "tag") for tag in tags])


def encode_erased(rc: bytes, dimensions: int) -> bytes:
    """Write the place of an erased record: zeros, its commitment, zeros."""
    return bytes(24) + checked_width(rc, DIGEST_BYTES, "rc") + bytes(TAG_BYTES * (dimensions - 1))


def parse_claim(data: Stream, offset: int) -> tuple[int, bytes, bytes]:
    """Read time, index salt and commitment of a record; its tags follow."""
    time_us, salt, rc = _RECORD.unpack_from(data, offset)
    return time_us, salt, rc


def is_erased_form(data: Stream, offset: int, dimensions: int) -> bool:
    """Say whether the record at `offset` has zeros where a living one has time, salt and tags."""
    end = offset + record_bytes(dimensions)
    return not any(data[offset : offset + 24]) and not any(data[offset + CLAIM_BYTES : end])


def refuse_rest(data: Stream, offset: int) -> None:
    """Raise FormatError where anything stands behind the last segment."""
    if offset != len(data):
        raise FormatError(f"audit stream: {shown(len(data) - offset)} bytes after the last segment")
