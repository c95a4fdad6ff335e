"""Write and read the canonical zip of packages: one spelling for the same members (ledger.md §11).

Stored members only, flags 0, time 0 and date 0x0021, version made by 0x0314, needed 20, or 45 in a header
that carries a zip64 field; external attributes 0x81A40000; no other extra field, comment or descriptor;
MANIFEST first, the others sorted, no gap. Zip64 is used exactly when a size or offset is >= 2^32-1 or members
are >= 65,535.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from scelle.errors import FormatError, MemberError
from scelle.formats.tokens import INT64_MAX, shown

MANIFEST: Final = "MANIFEST"
PIECE_BYTES: Final = 1024 * 1024
LIMIT_32: Final = 2**32 - 1
LIMIT_16: Final = 2**16 - 1
DIRECTORY_MAX_BYTES: Final = 1024 * 1024 * 1024
_PATH: Final = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_DATE: Final = 0x0021
_MADE_BY: Final = 0x0314
_ATTRIBUTES: Final = 0x81A40000
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64: Final = struct.Struct("<4sLQL")
_END: Final = struct.Struct("<4s4H2LH")


@dataclass(frozen=True, slots=True)
class Member:
    """Announce a member to be written: size and CRC-32 are known, `open` gives its bytes from the start."""

    path: str
    size_bytes: int
    crc32: int
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """Place a member found in an archive: its content lies at `offset_bytes`, its CRC-32 is still a claim."""

    path: str
    size_bytes: int
    crc32: int
    offset_bytes: int


def bytes_member(path: str, data: bytes) -> Member:
    """Announce a member whose bytes are in memory."""
    return Member(path, len(data), zlib.crc32(data), lambda: io.BytesIO(data))


def is_member_path(path: str) -> bool:
    """Say whether `path` may name a member: plain ASCII components, none of them `.` or `..`."""
    if _PATH.fullmatch(path) is None or len(path) > LIMIT_16:
        return False
    return not {".", ".."} & set(path.split("/"))


def write_canonical_zip(out: BinaryIO, members: Iterable[Member]) -> int:
    """Write `members` in canonical order and give the archive's size; `out` is only appended to.

    Raises FormatError for names that cannot stand together, and MemberError when a member's bytes are not
    those that were announced; what was written until then is no archive.
    """
    ordered = sorted(members, key=lambda member: (member.path != MANIFEST, member.path))
    _check_paths([member.path for member in ordered])
    offset, directory = 0, []
    for member in ordered:
        head = (member.path, member.size_bytes, member.crc32)
        directory.append(_central_header(*head, offset))
        local = _local_header(*head)
        out.write(local)
        _copy(member, out)
        offset += len(local) + member.size_bytes
    listing = b"".join(directory)
    trailer = _trailer(len(ordered), len(listing), offset)
    out.write(listing)
    out.write(trailer)
    return offset + len(listing) + len(trailer)


def _copy(member: Member, out: BinaryIO) -> None:
    crc, rest = 0, member.size_bytes
    with member.open() as source:
        while piece := source.read(PIECE_BYTES):
            rest -= len(piece)
            crc = zlib.crc32(piece, crc)
            if rest < 0:
                break
            out.write(piece)
    if rest != 0 or crc != member.crc32:
        raise MemberError(
            f"member {member.path} is not what was announced: its source changed; produce again"
        )


def read_canonical_zip(file: BinaryIO) -> list[MemberInfo]:
    """List the members of a canonical archive, in order; contents are not read.

    Headers, directory and end record are rebuilt from names, sizes and CRC-32s and compared with the bytes of
    the file. Raises FormatError at the first difference. That contents have their CRC-32 is not established
    here.
    """
    file_size = file.seek(0, io.SEEK_END)
    count, listing, directory_offset = _read_end(file, file_size)
    members = _read_directory(listing, count, directory_offset)
    _check_paths([member.path for member in members])
    for member in members:
        local = _local_header(member.path, member.size_bytes, member.crc32)
        file.seek(member.offset_bytes - len(local))
        if file.read(len(local)) != local:
            raise FormatError(
                f"zip: local header of {member.path} not canonical: the package was not made by Scellé"
            )
    return members


def member_pieces(file: BinaryIO, member: MemberInfo) -> Iterator[bytes]:
    """Read a member's content in pieces of 1 MiB; raises MemberError at the end if its CRC-32 differs."""
    crc, rest = 0, member.size_bytes
    file.seek(member.offset_bytes)
    while rest:
        piece = file.read(min(rest, PIECE_BYTES))
        if not piece:
            raise MemberError(f"member {member.path} is cut short by {rest} bytes")
        crc, rest = zlib.crc32(piece, crc), rest - len(piece)
        yield piece
    if crc != member.crc32:
        raise MemberError(f"member {member.path} has another CRC-32 than its header says")


def read_member(file: BinaryIO, member: MemberInfo, max_bytes: int) -> bytes:
    """Read the whole content of a member of at most `max_bytes`; raises FormatError for a longer one."""
    if member.size_bytes > max_bytes:
        raise FormatError(f"member {member.path} has {member.size_bytes} bytes, at most {max_bytes} are read")
    return b"".join(member_pieces(file, member))


def _check_paths(paths: Sequence[str]) -> None:
    if paths[:1] != [MANIFEST]:
        raise FormatError("zip: MANIFEST is not the first member")
    for path in paths:
        if not is_member_path(path):
            raise FormatError(f"zip: member name {shown(path)} is not allowed (ledger.md §11)")
    if len({path.lower() for path in paths}) != len(paths):
        raise FormatError("zip: names not unique after lower-casing")
    if sorted(paths[1:]) != paths[1:]:
        raise FormatError("zip: members after MANIFEST are not sorted")


def _local_header(path: str, size_bytes: int, crc32: int) -> bytes:
    extra = _zip64_field(size_bytes)
    size = min(size_bytes, LIMIT_32)
    head = (_needed(extra), 0, 0, 0, _DATE, crc32, size, size, len(path), len(extra))
    return _LOCAL.pack(b"PK\3\4", *head) + path.encode("ascii") + extra


def _central_header(path: str, size_bytes: int, crc32: int, offset: int) -> bytes:
    extra = _zip64_field(size_bytes, offset)
    size = min(size_bytes, LIMIT_32)
    head = (_MADE_BY, _needed(extra), 0, 0, 0, _DATE, crc32, size, size, len(path), len(extra))
    tail = (0, 0, 0, _ATTRIBUTES, min(offset, LIMIT_32))
    return _CENTRAL.pack(b"PK\1\2", *head, *tail) + path.encode("ascii") + extra


def _zip64_field(size_bytes: int, offset: int = 0) -> bytes:
    """Write the zip64 field with exactly the numbers that do not fit, or nothing."""
    if not 0 <= size_bytes <= INT64_MAX:
        raise FormatError(f"zip: a member of {size_bytes} bytes has no header")
    numbers = [size_bytes, size_bytes] if size_bytes >= LIMIT_32 else []
    numbers += [offset] if offset >= LIMIT_32 else []
    data = b"".join(number.to_bytes(8, "little") for number in numbers)
    return struct.pack("<2H", 1, len(data)) + data if data else b""


def _needed(extra: bytes) -> int:
    return 45 if extra else 20


def _trailer(count: int, directory_bytes: int, offset: int) -> bytes:
    end = _END.pack(
        b"PK\5\6", 0, 0, *[min(count, LIMIT_16)] * 2, min(directory_bytes, LIMIT_32), min(offset, LIMIT_32), 0
    )
    if count < LIMIT_16 and directory_bytes < LIMIT_32 and offset < LIMIT_32:
        return end
    end_64 = _END_64.pack(b"PK\6\6", 44, _MADE_BY, 45, 0, 0, count, count, directory_bytes, offset)
    return end_64 + _LOCATOR_64.pack(b"PK\6\7", 0, offset + directory_bytes, 1) + end


def _read_end(file: BinaryIO, file_size: int) -> tuple[int, bytes, int]:
    """Read the end record and the directory before it; give the member count, directory and its offset."""
    end = _tail(file, file_size, _END.size)
    _, _, _, _, count, directory_bytes, offset, _ = _END.unpack(end)
    if count == LIMIT_16 or LIMIT_32 in (directory_bytes, offset):
        end = _tail(file, file_size, _END_64.size + _LOCATOR_64.size + _END.size)
        *_, count, directory_bytes, offset = _END_64.unpack(end[: _END_64.size])
    if max(count, directory_bytes, offset) > INT64_MAX or _trailer(count, directory_bytes, offset) != end:
        raise FormatError("zip: end record not canonical: the file is cut short, or has bytes after its end")
    if offset + directory_bytes + len(end) != file_size or directory_bytes > DIRECTORY_MAX_BYTES:
        raise FormatError("zip: bytes not canonical: something lies before, between or after the members")
    file.seek(offset)
    return count, file.read(directory_bytes), offset


def _tail(file: BinaryIO, file_size: int, length: int) -> bytes:
    if file_size < length:
        raise FormatError("zip: no end record: the file is cut short, or no archive")
    file.seek(file_size - length)
    return file.read(length)


def _read_directory(listing: bytes, count: int, directory_offset: int) -> list[MemberInfo]:
    members, at, offset = [], 0, 0
    while at < len(listing):
        path, size_bytes, crc32 = _claimed_head(listing, at)
        header = _central_header(path, size_bytes, crc32, offset)
        if listing[at : at + len(header)] != header:
            raise FormatError(
                f"zip: directory header of {shown(path)} not canonical, or members are not in a row"
            )
        at += len(header)
        offset += len(_local_header(path, size_bytes, crc32))
        members.append(MemberInfo(path, size_bytes, crc32, offset))
        offset += size_bytes
    if len(members) != count or offset != directory_offset:
        raise FormatError("zip: bytes not canonical: the directory does not list what the file holds")
    return members


def _claimed_head(listing: bytes, at: int) -> tuple[str, int, int]:
    """Take from a directory header what the rest of it is rebuilt from; nothing here is believed yet."""
    if len(listing) - at < _CENTRAL.size:
        raise FormatError("zip: directory is cut short")
    fields = _CENTRAL.unpack_from(listing, at)
    crc32, size_bytes, path_length = fields[7], fields[9], fields[10]
    start = at + _CENTRAL.size
    path = listing[start : start + path_length]
    if size_bytes == LIMIT_32:
        field = listing[start + path_length + 4 : start + path_length + 12]
        size_bytes = int.from_bytes(field, "little")
    if not path.isascii():
        raise FormatError(f"zip: member name {shown(path)} is not ASCII")
    return path.decode("ascii"), size_bytes, crc32
