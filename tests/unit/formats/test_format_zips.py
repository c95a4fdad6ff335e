import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from scelle.errors import FormatError, MemberError
from scelle.formats import zips
from scelle.formats.zips import (
    Member,
    MemberInfo,
    bytes_member,
    is_member_path,
    member_pieces,
    read_canonical_zip,
    read_member,
    write_canonical_zip,
)

CONTENTS = {"MANIFEST": b"first", "README.txt": b"", "a/b.json": b"{}\n", "a/c": b"x" * 3_000_000}


def _archive(contents: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    size = write_canonical_zip(out, [bytes_member(path, data) for path, data in contents.items()])
    assert size == len(out.getvalue())
    return out.getvalue()


ARCHIVE = _archive(CONTENTS)
SMALL = _archive({"MANIFEST": b"m", "a": b"abc", "b": b"z"})


def test_archive_reads_back() -> None:
    file = io.BytesIO(ARCHIVE)
    members = read_canonical_zip(file)
    assert {member.path: read_member(file, member, 10**7) for member in members} == CONTENTS
    assert [member.path for member in members] == list(CONTENTS)


def test_order_of_giving_does_not_matter() -> None:
    assert _archive(dict(reversed(CONTENTS.items()))) == ARCHIVE


def test_other_readers_take_it() -> None:
    with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == CONTENTS
        for info in archive.infolist():
            assert (info.compress_type, info.flag_bits, info.date_time) == (0, 0, (1980, 1, 1, 0, 0, 0))
            assert (info.external_attr, info.create_system, info.extra) == (0x81A40000, 3, b"")


def test_bytes_are_the_page_written_out() -> None:
    crc = zlib.crc32(b"m").to_bytes(4, "little")
    sizes = b"\1\0\0\0\1\0\0\0"
    local = b"PK\3\4\x14\0\0\0\0\0\0\0\x21\0" + crc + sizes + b"\x08\0\0\0MANIFEST"
    central = (
        b"PK\1\2\x14\3\x14\0\0\0\0\0\0\0\x21\0" + crc + sizes
        + b"\x08\0\0\0\0\0\0\0\0\0\0\0\xa4\x81\0\0\0\0MANIFEST"
    )  # fmt: skip
    end = b"PK\5\6\0\0\0\0\1\0\1\0" + len(central).to_bytes(4, "little") + b"\x27\0\0\0\0\0"
    assert _archive({"MANIFEST": b"m"}) == local + b"m" + central + end


@pytest.mark.parametrize("path", ["a", "A-b_c.d", "a/b/c", "...", "a/..b", ".hidden", "-", "0"])
def test_path_is_accepted(path: str) -> None:
    assert is_member_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "../a",
        "a/./b",
        "a\\b",
        "C:a",
        "a b",
        "é",
        "a\0",
        "a\n",
        "~",
    ],
)
def test_path_is_refused(path: str) -> None:
    assert not is_member_path(path)
    with pytest.raises(FormatError, match="not allowed"):
        _archive({"MANIFEST": b"", path: b""})


def test_path_longer_than_a_header_can_say_is_refused() -> None:
    assert is_member_path("a" * 65_535)
    assert not is_member_path("a" * 65_536)


@pytest.mark.parametrize(
    "paths",
    [[], ["a"], ["manifest", "a"], ["MANIFEST", "a", "A"], ["MANIFEST", "a", "a"], ["MANIFEST", "MANIFEST"]],
)
def test_names_that_cannot_stand_together_are_refused(paths: list[str]) -> None:
    with pytest.raises(FormatError):
        write_canonical_zip(io.BytesIO(), [bytes_member(path, b"") for path in paths])


@pytest.mark.parametrize("announced", [b"abcd", b"ab", b"", b"abd"])
def test_member_that_is_not_what_was_announced(announced: bytes) -> None:
    liar = Member("a", len(announced), zlib.crc32(announced), lambda: io.BytesIO(b"abc"))
    with pytest.raises(MemberError, match="member a"):
        write_canonical_zip(io.BytesIO(), [bytes_member("MANIFEST", b""), liar])


class _Endless(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def test_member_that_never_ends_is_given_up() -> None:
    endless = Member("a", 5, 0, lambda: _Endless())  # type: ignore[arg-type, return-value]
    with pytest.raises(MemberError):
        write_canonical_zip(io.BytesIO(), [bytes_member("MANIFEST", b""), endless])


def test_negative_size_is_refused() -> None:
    with pytest.raises(FormatError, match="no header"):
        write_canonical_zip(io.BytesIO(), [Member("MANIFEST", -1, 0, lambda: io.BytesIO())])


def test_every_flipped_byte_is_found() -> None:
    for at in range(len(SMALL)):
        file = io.BytesIO(SMALL[:at] + bytes((SMALL[at] ^ 1,)) + SMALL[at + 1 :])
        with pytest.raises((FormatError, MemberError)):
            _read_all(file)


def _read_all(file: BinaryIO) -> list[bytes]:
    return [read_member(file, member, 1000) for member in read_canonical_zip(file)]


def test_every_cut_is_found() -> None:
    for size in range(len(SMALL)):
        with pytest.raises(FormatError):
            read_canonical_zip(io.BytesIO(SMALL[:size]))


def _edit(change: Callable[[zipfile.ZipFile], None]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        change(archive)
    return out.getvalue()


def _info(path: str, date: tuple[int, int, int, int, int, int] = (1980, 1, 1, 0, 0, 0)) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, date)
    info.create_system, info.external_attr = 3, 0x81A40000
    return info


def _plain(archive: zipfile.ZipFile) -> None:
    archive.writestr(_info("MANIFEST"), b"m")
    archive.writestr(_info("a"), b"abc")
    archive.writestr(_info("b"), b"z")


def test_python_can_write_the_same_bytes() -> None:
    assert _edit(_plain) == SMALL


def _with_comment(archive: zipfile.ZipFile) -> None:
    _plain(archive)
    archive.comment = b"hello"


def _with_member_comment(archive: zipfile.ZipFile) -> None:
    info = _info("MANIFEST")
    info.comment = b"hello"
    archive.writestr(info, b"m")


def _with_extra_field(archive: zipfile.ZipFile) -> None:
    info = _info("MANIFEST")
    info.extra = struct.pack("<2H4s", 0x7075, 4, b"abcd")
    archive.writestr(info, b"m")


def _with_needless_zip64(archive: zipfile.ZipFile) -> None:
    with archive.open(_info("MANIFEST"), "w", force_zip64=True) as member:
        member.write(b"m")


def _compressed(archive: zipfile.ZipFile) -> None:
    archive.writestr(_info("MANIFEST"), b"m" * 1000, zipfile.ZIP_DEFLATED)


def _bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr(_info("MANIFEST"), b"m")
    archive.writestr(_info("a"), bytes(50_000_000), zipfile.ZIP_DEFLATED)


def _with_time(archive: zipfile.ZipFile) -> None:
    archive.writestr(_info("MANIFEST", (2026, 1, 8, 14, 0, 0)), b"m")


def _with_mode(archive: zipfile.ZipFile) -> None:
    info = _info("MANIFEST")
    info.external_attr = 0x81ED0000
    archive.writestr(info, b"m")


def _from_dos(archive: zipfile.ZipFile) -> None:
    info = _info("MANIFEST")
    info.create_system = 0
    archive.writestr(info, b"m")


def _escaping(archive: zipfile.ZipFile) -> None:
    archive.writestr(_info("MANIFEST"), b"m")
    archive.writestr(_info("../a"), b"m")


def _with_folder(archive: zipfile.ZipFile) -> None:
    archive.writestr(_info("MANIFEST"), b"m")
    archive.writestr(_info("a/"), b"")


def _unicode_name(archive: zipfile.ZipFile) -> None:
    archive.writestr(_info("MANIFEST"), b"m")
    archive.writestr(_info("é"), b"m")


def _unsorted(archive: zipfile.ZipFile) -> None:
    for path in ("MANIFEST", "b", "a"):
        archive.writestr(_info(path), b"m")


def _manifest_late(archive: zipfile.ZipFile) -> None:
    for path in ("A", "MANIFEST"):
        archive.writestr(_info(path), b"m")


def _twin(archive: zipfile.ZipFile) -> None:
    for path in ("MANIFEST", "README.txt", "readme.TXT"):
        archive.writestr(_info(path), b"m")


def _same_name(archive: zipfile.ZipFile) -> None:
    archive.writestr(_info("MANIFEST"), b"m")
    archive.writestr(_info("a"), b"m")
    with pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(_info("a"), b"n")


def _empty(archive: zipfile.ZipFile) -> None:
    pass


@pytest.mark.parametrize(
    "change",
    [
        _with_comment, _with_member_comment, _with_extra_field, _with_needless_zip64, _compressed,
        _bomb, _with_time, _with_mode, _from_dos, _escaping, _with_folder, _unicode_name, _unsorted,
        _manifest_late, _twin, _same_name, _empty,
    ],
)  # fmt: skip
def test_archive_of_another_form_is_refused(change: Callable[[zipfile.ZipFile], None]) -> None:
    with pytest.raises(FormatError):
        read_canonical_zip(io.BytesIO(_edit(change)))


class _Pipe(io.RawIOBase):
    """Take bytes without seeking back, which makes Python write data descriptors."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += bytes(data)
        return len(data)


def test_data_descriptors_are_refused() -> None:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        _plain(archive)
    with pytest.raises(FormatError):
        read_canonical_zip(io.BytesIO(pipe.data))


def _shift(data: bytes, added: int) -> bytes:
    """Move all offsets of an archive without zip64 by `added` bytes."""
    start = int.from_bytes(data[-6:-2], "little")
    listing = bytearray(data[start:-22])
    at = 0
    while at < len(listing):
        offset = int.from_bytes(listing[at + 42 : at + 46], "little") + added
        listing[at + 42 : at + 46] = offset.to_bytes(4, "little")
        at += 46 + int.from_bytes(listing[at + 28 : at + 30], "little")
    return data[:start] + bytes(listing) + data[-22:-6] + (start + added).to_bytes(4, "little") + b"\0\0"


@pytest.mark.parametrize(
    "data",
    [
        b"junk" + SMALL,
        b"junk" + _shift(SMALL, 4),
        SMALL + b"junk",
        SMALL + SMALL,
        SMALL[:-22] + b"junk" + SMALL[-22:],
        b"",
        b"PK\5\6",
        SMALL[-22:],
    ],
    ids=["prefix", "prefix-and-offsets", "suffix", "twice", "before-end", "nothing", "start", "end-only"],
)
def test_bytes_around_the_members_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_canonical_zip(io.BytesIO(data))


def test_gap_between_members_is_refused() -> None:
    second = SMALL.index(b"PK\3\4", 4)
    gap = _shift(SMALL, 4)
    start = int.from_bytes(gap[-6:-2], "little") - 4
    listing = bytearray(gap[start:])
    listing[42:46] = bytes(4)
    data = SMALL[:second] + b"junk" + SMALL[second:start] + bytes(listing)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a") == b"abc"
    with pytest.raises(FormatError, match="in a row"):
        read_canonical_zip(io.BytesIO(data))


def test_members_that_overlap_are_refused() -> None:
    data = bytearray(SMALL)
    start = int.from_bytes(data[-6:-2], "little")
    third = data.index(b"PK\1\2", data.index(b"PK\1\2", start + 4) + 4)
    data[third + 42 : third + 46] = data[third - 5 : third - 1]
    with pytest.raises(FormatError):
        read_canonical_zip(io.BytesIO(bytes(data)))


def test_hidden_name_in_a_local_header_is_refused() -> None:
    data = SMALL.replace(b"\0aabc", b"\0qabc", 1)
    with pytest.raises(FormatError, match="local header of a"):
        read_canonical_zip(io.BytesIO(data))


def test_a_member_that_is_not_listed_is_refused() -> None:
    start = int.from_bytes(SMALL[-6:-2], "little")
    last = SMALL.rindex(b"PK\1\2")
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, last - start, start, 0)
    with pytest.raises(FormatError):
        read_canonical_zip(io.BytesIO(SMALL[:last] + end))


@pytest.mark.parametrize("count", [0, 1, 2, 4, 65_535])
def test_wrong_count_is_refused(count: int) -> None:
    data = SMALL[:-14] + struct.pack("<2H", count, count) + SMALL[-10:]
    with pytest.raises(FormatError):
        read_canonical_zip(io.BytesIO(data))


def test_directory_cut_inside_a_header_is_refused() -> None:
    start = int.from_bytes(SMALL[-6:-2], "little")
    listing = SMALL[start:-22] + b"PK\1\2"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(listing), start, 0)
    with pytest.raises(FormatError, match="cut short"):
        read_canonical_zip(io.BytesIO(SMALL[:start] + listing + end))


def test_name_that_is_not_ascii_is_refused() -> None:
    with pytest.raises(FormatError, match="not ASCII"):
        read_canonical_zip(io.BytesIO(SMALL.replace(b"MANIFEST", b"MANIFES\xff")))


def test_content_is_compared_with_its_crc() -> None:
    file = io.BytesIO(SMALL.replace(b"abc", b"abd"))
    members = read_canonical_zip(file)
    with pytest.raises(MemberError, match="CRC-32"):
        read_member(file, members[1], 1000)


def test_content_that_is_cut_short_is_found() -> None:
    info = MemberInfo("a", 10, 0, 0)
    with pytest.raises(MemberError, match="cut short by 7"):
        list(member_pieces(io.BytesIO(b"abc"), info))


def test_long_member_is_not_read_into_memory() -> None:
    file = io.BytesIO(ARCHIVE)
    member = read_canonical_zip(file)[-1]
    with pytest.raises(FormatError, match="at most 2999999"):
        read_member(file, member, 2_999_999)
    assert max(map(len, member_pieces(file, member))) == zips.PIECE_BYTES


def test_zip64_by_number_of_members() -> None:
    for count, is_zip64 in ((65_534, False), (65_535, True), (65_536, True)):
        data = _archive({"MANIFEST": b"", **{f"n/{number:06d}": b"" for number in range(count - 1)}})
        assert (b"PK\6\6" in data[-98:]) is is_zip64
        assert len(read_canonical_zip(io.BytesIO(data))) == count
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert len(archive.namelist()) == count


class _Zeros(io.RawIOBase):
    """Read as many zero bytes as it was made for."""

    def __init__(self, size: int) -> None:
        self._rest = size

    def read(self, size: int = -1) -> bytes:
        size = min(size, self._rest)
        self._rest -= size
        return _PIECE if size == len(_PIECE) else bytes(size)


_PIECE = bytes(zips.PIECE_BYTES)


class _Sparse(io.FileIO):
    """Skip pieces of zeros, so that a file of 4 GiB takes no room."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if data is _PIECE:
            self.seek(len(data), io.SEEK_CUR)
            return len(data)
        return super().write(data)


def _zeros_member(path: str, size: int) -> Member:
    return Member(path, size, 0, lambda: _Zeros(size))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("size", [2**32 - 2, 2**32 - 1, 2**32])
def test_zip64_by_size_and_offset(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # CRC-32 of gigabytes of zeros is not what is tested here: it takes seconds.
    monkeypatch.setattr("scelle.formats.zips.zlib.crc32", lambda data, start=0: 0)
    path = tmp_path / "large.zip"
    with _Sparse(path, "w") as out:
        members = [bytes_member("MANIFEST", b""), bytes_member("z", b"z")]
        write_canonical_zip(out, [*members, _zeros_member("a", size)])
    with path.open("rb") as file:
        first, large, last = read_canonical_zip(file)
        assert (first.path, large.size_bytes, last.size_bytes) == ("MANIFEST", size, 1)
        assert read_member(file, last, 10) == b"z"
        local = _header(file, large)
    is_large = size >= 2**32 - 1
    assert local[4:6] == (b"\x2d\0" if is_large else b"\x14\0")
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("a").file_size == size
        assert archive.getinfo("z").header_offset == last.offset_bytes - 31
        assert archive.getinfo("z").extract_version == 45
        assert archive.getinfo("a").extract_version == (45 if is_large else 20)
        assert archive.getinfo("MANIFEST").extract_version == 20


def _header(file: BinaryIO, member: MemberInfo) -> bytes:
    start = len("MANIFEST") + 30
    file.seek(start)
    return file.read(member.offset_bytes - start)


def test_zip64_end_record_that_contradicts_itself_is_refused() -> None:
    data = _archive({"MANIFEST": b"", **{f"n/{number:06d}": b"" for number in range(65_534)}})
    for at in range(98):
        changed = bytearray(data)
        changed[-1 - at] ^= 1
        with pytest.raises(FormatError):
            read_canonical_zip(io.BytesIO(bytes(changed)))


@pytest.mark.parametrize("field", [8, 16, 24])
def test_numbers_over_63_bits_are_refused(field: int) -> None:
    end_64 = bytearray(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 0x0314, 45, 0, 0, 0, 0, 0, 0))
    end_64[-field : len(end_64) - field + 8] = b"\xff" * 8
    end = b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)
    with pytest.raises(FormatError):
        read_canonical_zip(io.BytesIO(bytes(end_64) + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + end))
