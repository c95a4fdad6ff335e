"""A package whose archive, MANIFEST or members are not the only ones they may be (§11)."""

import binascii
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.verify.builder import (
    AUDITOR,
    LOG1,
    LOG6,
    NEXT1,
    ORIGIN,
    Draft,
    note,
    query_of,
    sha,
    world,
    zip_of,
)
from tests.unit.verify.harness import files, judge, run

from scelle.verify import scelle_verify

Raw = Callable[[bytes], bytes]


def at_end(data: bytes) -> int:
    return data.rindex(b"PK\5\6")


def directory_at(data: bytes) -> int:
    return int.from_bytes(data[at_end(data) + 16 : at_end(data) + 20], "little")


def change(offset: Callable[[bytes], int], new: bytes) -> Raw:
    def edit(data: bytes) -> bytes:
        place = offset(data)
        assert data[place : place + len(new)] != new
        return data[:place] + new + data[place + len(new) :]

    return edit


def second_header(data: bytes) -> int:
    return data.index(b"PK\3\4", 4)


def local(offset: int, new: bytes) -> Raw:
    return change(lambda data: second_header(data) + offset, new)


def central(offset: int, new: bytes) -> Raw:
    return change(lambda data: directory_at(data) + offset, new)


def end(offset: int, new: bytes) -> Raw:
    return change(lambda data: at_end(data) + offset, new)


def with_comment(data: bytes) -> bytes:
    return data[:-2] + struct.pack("<H", 5) + b"hello"


def junk_before(data: bytes) -> bytes:
    return b"junk" + data


def junk_before_with_offsets(data: bytes) -> bytes:
    """Four bytes in front, and every offset corrected."""
    start, stop = directory_at(data), at_end(data)
    directory, place = bytearray(data[start:stop]), 0
    while place < len(directory):
        offset = int.from_bytes(directory[place + 42 : place + 46], "little") + 4
        directory[place + 42 : place + 46] = struct.pack("<I", offset)
        place += 46 + int.from_bytes(directory[place + 28 : place + 30], "little")
    tail = data[stop : stop + 16] + struct.pack("<I", start + 4) + data[stop + 20 :]
    return b"junk" + data[:start] + bytes(directory) + tail


def junk_after(data: bytes) -> bytes:
    return data + b"\0"


def gap_before_directory(data: bytes) -> bytes:
    start, stop = directory_at(data), at_end(data)
    tail = data[stop : stop + 16] + struct.pack("<I", start + 3) + data[stop + 20 :]
    return data[:start] + b"gap" + data[start:stop] + tail


def deflated(data: bytes) -> bytes:
    """The same members by an ordinary packer: a bomb can be made so, and is not opened."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return out.getvalue()


def bomb(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("MANIFEST", b"\0" * 50_000_000)
    return out.getvalue()


def stored_by_others(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return out.getvalue()


def members_of(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return [(name, source.read(name)) for name in source.namelist()]


def reordered(data: bytes) -> bytes:
    members = members_of(data)
    return zip_of([*members[:1], *members[1:][::-1]])


def manifest_last(data: bytes) -> bytes:
    members = members_of(data)
    return zip_of([*members[1:], *members[:1]])


def twin(data: bytes) -> bytes:
    members = members_of(data)
    return zip_of([*members[:2], members[1], *members[2:]])


def other_crc(data: bytes) -> bytes:
    """A CRC-32 that is wrong in both headers."""
    name = b"README.txt"
    crc = struct.pack("<I", binascii.crc32(b"Check it.\n"))
    assert data.count(crc) == 2
    assert name in data
    return data.replace(crc, b"\1\2\3\4")


def directory_beyond(data: bytes) -> bytes:
    """A member said to be longer than the file."""
    place = directory_at(data)
    size = struct.pack("<II", 10_000_000, 10_000_000)
    return data[: place + 20] + size + data[place + 28 :]


ARCHIVES: list[tuple[str, Raw, str]] = [
    ("a local header's version", local(4, b"\x15"), "zip.local_header"),
    ("a local header's flags", local(6, b"\x08"), "zip.local_header"),
    ("a local header's method", local(8, b"\x08"), "zip.local_header"),
    ("a local header's time", local(10, b"\1"), "zip.local_header"),
    ("a local header's date", local(12, b"\x22"), "zip.local_header"),
    ("a local header's CRC", local(14, b"\0\0\0\1"), "zip.local_header"),
    ("a local header's size", local(18, b"\1\0\0\1"), "zip.local_header"),
    ("a local header's name", local(30, b"readme.txt"), "zip.local_header"),
    ("a directory entry's maker", central(5, b"\0"), "zip.directory"),
    ("a directory entry's version", central(6, b"\x2d"), "zip.directory"),
    ("a directory entry's flags", central(8, b"\x08"), "zip.directory"),
    ("a directory entry's method", central(10, b"\x08"), "zip.directory"),
    ("a directory entry's time", central(12, b"\1"), "zip.directory"),
    ("a directory entry's disk", central(34, b"\1"), "zip.directory"),
    ("a directory entry's internal attributes", central(36, b"\1"), "zip.directory"),
    ("a directory entry's mode", central(40, b"\0"), "zip.directory"),
    ("a directory entry's offset", central(42, b"\1"), "zip.directory"),
    ("the end's disk", end(4, b"\1"), "zip.end"),
    ("the end's count", end(10, b"\1"), "zip.end"),
    ("a comment", with_comment, "zip.end"),
    ("bytes after the end", junk_after, "zip.end"),
    ("bytes before the start", junk_before, "zip.gap"),
    ("bytes before the start, offsets corrected", junk_before_with_offsets, "zip.directory"),
    ("a gap before the directory", gap_before_directory, "zip.gap"),
    ("deflated", deflated, "zip.directory"),
    ("a decompression bomb", bomb, "zip.directory"),
    ("packed by another tool", stored_by_others, "zip.directory"),
    ("members reordered", reordered, "zip.order"),
    ("MANIFEST last", manifest_last, "zip.order"),
    ("a member twice", twin, "zip.twin_name"),
    ("a wrong CRC", other_crc, "zip.crc"),
    ("a member longer than the file", directory_beyond, "member.short"),
]


@pytest.mark.parametrize(("raw", "code"), [row[1:] for row in ARCHIVES], ids=[row[0] for row in ARCHIVES])
def test_an_archive_that_is_not_canonical(raw: Raw, code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.raw_edit = raw
    verdict = judge(draft, tmp_path)
    assert verdict.exit_code == 1
    assert code in verdict.codes, verdict.findings


UNREADABLE: list[tuple[str, Raw]] = [
    ("empty", lambda data: b""),
    ("not a zip", lambda data: b"PK" + bytes(100)),
    ("cut in half", lambda data: data[: len(data) // 2]),
    ("cut by a byte", lambda data: data[:-1]),
    ("the end alone", lambda data: data[-22:]),
    ("a directory larger than the file", lambda data: data[:-10] + b"\xff\xff\xff\x7f" + data[-6:]),
    (
        "a directory of other bytes",
        lambda data: data[: directory_at(data)] + b"X" + data[directory_at(data) + 1 :],
    ),
]


@pytest.mark.parametrize("raw", [row[1] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
def test_a_directory_that_cannot_be_read_is_exit_2(raw: Raw, tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.raw_edit = raw
    verdict = judge(draft, tmp_path)
    assert verdict.exit_code == 2
    assert verdict.document == {}
    assert verdict.error.startswith("scelle-verify: cannot read ")
    assert verdict.error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../escape.txt", "zip.name"),
        ("/etc/motd", "zip.name"),
        ("items/../../x", "zip.name"),
        ("items/./x", "zip.name"),
        ("items//x", "zip.name"),
        ("items/", "zip.name"),
        ("C:evil", "zip.name"),
        ("back\\slash", "zip.name"),
        ("blank in name", "zip.name"),
        ("nul\0name", "zip.name"),
        ("caf\u00e9", "zip.name"),
        ("readme.TXT", "zip.twin_name"),
        ("surprise", "member.unknown"),
        ("items/lower-0000001.bin", "member.unknown"),
        ("items/T-001.bin", "member.unknown"),
        ("items/T-00000001.bin", "member.unknown"),
        ("items/T-0000001.toolongext", "member.unknown"),
        ("audit/other", "member.unknown"),
        ("checkpoint.x", "note.format"),
        ("entries/000", "member.unknown"),
        ("__main__.py", "member.unknown"),
    ],
)
def test_a_member_of_a_name_that_may_not_be(name: str, code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.members[name] = b"x"
    verdict = judge(draft, tmp_path)
    assert verdict.exit_code == 1
    assert code in verdict.codes, verdict.findings


@pytest.mark.parametrize(
    "name",
    [
        "README.txt",
        "checkpoint",
        "policy.json",
        "proofs.jsonl",
        "query.json",
        "records.jsonl",
        "scelle_verify.py",
        "withheld.jsonl",
    ],
)
def test_members_that_must_always_exist(name: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.removed.add(name)
    verdict = judge(draft, tmp_path)
    assert verdict.exit_code == 1
    assert "member.missing" in verdict.codes, verdict.findings


def test_a_package_of_nothing(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.raw_edit = lambda data: zip_of([])
    verdict = judge(draft, tmp_path)
    assert verdict.exit_code == 1
    assert "member.missing" in verdict.codes


def test_a_package_of_manifest_alone(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.raw_edit = lambda data: zip_of(members_of(data)[:1])
    verdict = judge(draft, tmp_path)
    assert {"manifest.absent", "member.missing", "checkpoint.missing"} <= verdict.codes


Text = Callable[[bytes], bytes]
MANIFESTS: list[tuple[str, Text, str]] = [
    ("another format", lambda t: t.replace(b"/v1", b"/v2"), "manifest.format"),
    ("another origin", lambda t: t.replace(b"origin p", b"origin q"), "manifest.head"),
    ("another size", lambda t: t.replace(b"\nsize 12", b"\nsize 11"), "manifest.head"),
    ("size not canonical", lambda t: t.replace(b"\nsize 12", b"\nsize 012"), "format.number"),
    ("origin line missing", lambda t: t.replace(b"origin", b"origen"), "manifest.format"),
    ("a file left out", lambda t: t.replace(t.split(b"\n")[3] + b"\n", b""), "manifest.not_listed"),
    ("a file too many", lambda t: t + b"file " + b"0" * 64 + b" 0 zzz\n", "manifest.absent"),
    (
        "a digest changed",
        lambda t: t.replace(b"file ", b"file " + b"0" * 64 + b" 10 README.txt\nfile ", 1),
        "manifest.format",
    ),
    (
        "lines exchanged",
        lambda t: b"\n".join([*t.split(b"\n")[:3], *t.split(b"\n")[3:-1][::-1], b""]),
        "manifest.format",
    ),
    ("a digest in capitals", lambda t: t[:80] + t[80:].upper(), "manifest.format"),
    ("a size with a zero before", lambda t: t.replace(b" 10 README", b" 010 README"), "manifest.format"),
    ("a line of another kind", lambda t: t + b"note hello\n", "manifest.format"),
    (
        "another digest",
        lambda t: t.replace(sha(b"Check it.\n").hex().encode(), b"0" * 64),
        "manifest.differs",
    ),
    ("another size of a file", lambda t: t.replace(b" 10 README", b" 11 README"), "manifest.differs"),
]


@pytest.mark.parametrize(("text", "code"), [row[1:] for row in MANIFESTS], ids=[row[0] for row in MANIFESTS])
def test_a_manifest_that_is_signed_and_wrong(text: Text, code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.manifest_edit = text
    verdict = judge(draft, tmp_path)
    assert code in verdict.codes, verdict.findings


def test_who_signs_the_manifest(tmp_path: Path) -> None:
    for keys, code in (
        ([], "manifest.signature_missing"),
        ([NEXT1], "manifest.signature_missing"),
        ([LOG1, AUDITOR], "manifest.format"),
    ):
        draft = Draft(world(), query_of())
        draft.manifest_keys = keys
        assert code in judge(draft, tmp_path).codes


def test_a_signature_of_another_manifest(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    text = f"scelle/package/v1\norigin {ORIGIN}\nsize 12\n".encode()
    draft.manifest_keys = []
    draft.raw_edit = lambda data: zip_of(
        [("MANIFEST", members_of(data)[0][1] + LOG1.line(text)), *members_of(data)[1:]]
    )
    assert judge(draft, tmp_path).codes == {"manifest.signature_wrong"}


def test_a_manifest_that_is_no_note(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    draft.raw_edit = lambda data: zip_of([("MANIFEST", b"\xff"), *members_of(data)[1:]])
    assert {"note.format"} <= judge(draft, tmp_path).codes


def test_a_member_changed_behind_the_manifests_back(tmp_path: Path) -> None:
    for name in ("README.txt", "proofs.jsonl", "schemas/", "entries/", "items/", "checkpoint"):
        draft = Draft(world(), query_of())

        def edit(data: bytes, name: str = name) -> bytes:
            return zip_of([(n, d + b"\n" if n.startswith(name) else d) for n, d in members_of(data)])

        draft.raw_edit = edit
        assert "manifest.differs" in judge(draft, tmp_path).codes


def zip64_of(count: int, manifest: bytes) -> bytes:
    """An archive of so many members that it needs zip64, spelled out from APPNOTE 4.3.14 and 4.3.15."""
    data = bytearray(
        zip_of([("MANIFEST", manifest), *((f"loadfile/{i:07d}", b"") for i in range(count - 1))])
    )
    stop = bytes(data).rindex(b"PK\5\6")
    size, offset = struct.unpack("<II", data[stop + 12 : stop + 20])
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 0x0314, 45, 0, 0, count, count, size, offset)
    return bytes(data[:stop]) + record + struct.pack("<4sIQI", b"PK\6\7", 0, stop, 1) + bytes(data[stop:])


@pytest.mark.parametrize("count", [65_534, 65_535])
def test_zip64_is_used_exactly_from_65535_members(count: int, tmp_path: Path) -> None:
    manifest = note(b"scelle/package/v1\norigin x\nsize 1\n", [LOG1])
    plain = (
        zip_of([("MANIFEST", manifest), *((f"loadfile/{i:07d}", b"") for i in range(count - 1))])
        if count < 65_535
        else b""
    )
    draft = Draft(world(), query_of())
    for archive, right in (
        (plain, count < 65_535),
        (zip64_of(min(count, 65_535), manifest), count == 65_535),
    ):
        if not archive:
            continue
        arguments = files(draft, tmp_path)
        Path(str(arguments[0])).write_bytes(archive)
        codes = run(arguments).codes
        assert ("zip.end" not in codes and "zip.gap" not in codes) == right


def test_zip64_headers_are_rebuilt_byte_for_byte() -> None:
    """Sizes and offsets of 4 GiB and more, spelled out from APPNOTE 4.3 and 4.5.3."""
    big = 2**32 + 5
    header = scelle_verify.local_header(b"x", big, 7)
    assert header[:4] == b"PK\3\4"
    assert struct.unpack("<H", header[4:6])[0] == 45
    assert header[18:26] == b"\xff" * 8
    assert header[31:] == struct.pack("<HHQQ", 1, 16, big, big)
    entry = scelle_verify.directory_entry(b"x", 5, 7, big)
    assert entry[42:46] == b"\xff" * 4
    assert entry[47:] == struct.pack("<HHQ", 1, 8, big)
    entry = scelle_verify.directory_entry(b"x", big, 7, big)
    assert entry[47:] == struct.pack("<HHQQQ", 1, 24, big, big, big)
    assert scelle_verify.directory_entry(b"x", 2**32 - 2, 7, 2**32 - 2)[47:] == b""
    tail = scelle_verify.end_records(3, 100, 2**32 - 1)
    assert tail[:4] == b"PK\6\6"
    assert tail[56:60] == b"PK\6\7"
    assert struct.unpack("<Q", tail[64:72])[0] == 2**32 + 99
    assert tail[-6:-2] == b"\xff" * 4


@pytest.mark.long
def test_an_item_over_4_gib_is_streamed(tmp_path: Path) -> None:
    """A sparse archive with a member of 4 GiB: read in pieces, zip64 accepted, MANIFEST refused."""
    size = 2**32 + 10
    crc = 0
    for _ in range(size >> 20):
        crc = binascii.crc32(bytes(1 << 20), crc)
    crc = binascii.crc32(bytes(size & (1 << 20) - 1), crc)
    manifest = note(b"scelle/package/v1\norigin x\nsize 1\n", [LOG1, LOG6][:1])
    path = tmp_path / "big.scelle"
    with path.open("wb") as out:
        first = scelle_verify.local_header(b"MANIFEST", len(manifest), binascii.crc32(manifest)) + manifest
        out.write(first)
        out.write(scelle_verify.local_header(b"items/T-0000001.bin", size, crc))
        out.seek(size, 1)
        end_of_members = out.tell()
        directory = scelle_verify.directory_entry(b"MANIFEST", len(manifest), binascii.crc32(manifest), 0)
        directory += scelle_verify.directory_entry(b"items/T-0000001.bin", size, crc, len(first))
        out.write(directory + scelle_verify.end_records(2, len(directory), end_of_members))
    arguments = files(Draft(world(), query_of()), tmp_path)
    codes = run([path, *arguments[1:]]).codes
    assert "manifest.not_listed" in codes
    assert not {code for code in codes if code.startswith("zip.")}
