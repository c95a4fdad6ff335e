import pytest

from scelle.errors import FormatError
from scelle.formats import packages
from scelle.formats.packages import Manifest, ManifestFile, item_name, parse_item_name, parse_manifest

ORIGIN = "platform.example/po/o1"
FILES = (ManifestFile(bytes(32), 0, "README.txt"), ManifestFile(b"\1" * 32, 5, "a/b"))
MANIFEST = Manifest(ORIGIN, 25, FILES)
TEXT = MANIFEST.text()


def test_manifest_reads_back() -> None:
    assert parse_manifest(TEXT) == MANIFEST
    assert Manifest(ORIGIN, 25, FILES[::-1]).text() == TEXT
    assert TEXT.decode() == (
        f"scelle/package/v1\norigin {ORIGIN}\nsize 25\n"
        f"file {'00' * 32} 0 README.txt\nfile {'01' * 32} 5 a/b\n"
    )
    empty = Manifest(ORIGIN, 0, ())
    assert parse_manifest(empty.text()) == empty


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"scelle/package/v1", b"scelle/package/v2"),
        (b"origin ", b"Origin "),
        (b"origin ", b"origin  "),
        (b"/po/o1", b"/o1"),
        (b"size 25", b"size 025"),
        (b"size 25", b"size -"),
        (b"size 25", b"size"),
        (b"size 25\n", b""),
        (b"file 00", b"file 0"),
        (b"file 00", b"File 00"),
        (b"file 01", b"file 0A"),
        (b" 0 README.txt", b"  0 README.txt"),
        (b" 0 README.txt", b" -0 README.txt"),
        (b" 0 README.txt", b" 0 README.txt "),
        (b" 0 README.txt", b" README.txt"),
        (b" 0 README.txt", b" 0 ../README.txt"),
        (b" 0 README.txt", b" 0 MANIFEST"),
        (b" 0 README.txt", b" 0 a/b"),
        (b" 0 README.txt", b" 0 b"),
        (b" 0 README.txt", " 0 é".encode()),
        (b"a/b\n", b"a/b"),
        (b"a/b\n", b"a/b\n\n"),
        (b"a/b\n", b"a/b\r\n"),
    ],
)
def test_manifest_with_a_fault_is_refused(old: bytes, new: bytes) -> None:
    assert old in TEXT
    with pytest.raises(FormatError):
        parse_manifest(TEXT.replace(old, new, 1))


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest("o1", 25, FILES),
        Manifest(ORIGIN, -1, FILES),
        Manifest(ORIGIN, 25, (*FILES, FILES[0])),
        Manifest(ORIGIN, 25, (ManifestFile(bytes(31), 0, "a"),)),
        Manifest(ORIGIN, 25, (ManifestFile(bytes(32), -1, "a"),)),
        Manifest(ORIGIN, 25, (ManifestFile(bytes(32), 1, "a b"),)),
        Manifest(ORIGIN, 25, (ManifestFile(bytes(32), 1, "MANIFEST"),)),
    ],
    ids=str,
)
def test_manifest_without_a_form_is_not_written(manifest: Manifest) -> None:
    with pytest.raises(FormatError):
        manifest.text()


@pytest.mark.parametrize(
    ("prefix", "number", "extension", "name"),
    [
        ("SCL", 1, "txt", "items/SCL-0000001.txt"),
        ("A" * 16, 9_999_999, "a1b2c3d4", "items/" + "A" * 16 + "-9999999.a1b2c3d4"),
        ("0", 10_000_000, "bin", "items/0-10000000.bin"),
    ],
)
def test_item_name_reads_back(prefix: str, number: int, extension: str, name: str) -> None:
    assert item_name(prefix, number, extension) == name
    assert parse_item_name(name) == (prefix, number, extension)
    assert packages.is_package_member(name)
    assert packages.is_item_prefix(prefix)
    assert packages.is_item_extension(extension)


@pytest.mark.parametrize(
    ("prefix", "number", "extension"),
    [
        ("", 1, "txt"),
        ("scl", 1, "txt"),
        ("A" * 17, 1, "txt"),
        ("A-B", 1, "txt"),
        ("É", 1, "txt"),
        ("A", 0, "txt"),
        ("A", -1, "txt"),
        ("A", 10**19, "txt"),
        ("A", 1, ""),
        ("A", 1, "TXT"),
        ("A", 1, "a" * 9),
        ("A", 1, "tar.gz"),
        ("A", 1, "t\n"),
    ],
)
def test_item_name_without_a_form_is_refused(prefix: str, number: int, extension: str) -> None:
    with pytest.raises(FormatError):
        item_name(prefix, number, extension)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "items/SCL-000001.txt",
        "items/SCL-00000001.txt",
        "items/SCL-0000000.txt",
        "SCL-0000001.txt",
        "items/SCL1.txt",
    ],
)
def test_other_spellings_of_an_item_are_refused(path: str) -> None:
    with pytest.raises(FormatError):
        parse_item_name(path)
    assert not packages.is_package_member(path)


def test_prefixes_and_extensions() -> None:
    assert not packages.is_item_prefix("a")
    assert not packages.is_item_extension("A")


@pytest.mark.parametrize(
    "path",
    [
        *sorted(packages.REQUIRED_MEMBERS),
        "checkpoint.7",
        "entries/000",
        "entries/x001/234.p/5",
        f"schemas/{'0a' * 32}.json",
        "tokens/1.tsr",
        "loadfile/production.csv",
        "audit/verdict",
    ],
)
def test_member_of_a_package(path: str) -> None:
    assert packages.is_package_member(path)


@pytest.mark.parametrize(
    "path",
    [
        "readme.txt",
        "checkpoint.07",
        "checkpoint.",
        "checkpoint/7",
        "entries/0",
        "entries/000.p/256",
        "tile/0/000",
        f"schemas/{'0A' * 32}.json",
        f"schemas/{'0a' * 31}.json",
        f"schemas/{'0a' * 32}.txt",
        "tokens",
        "tokens/",
        "tokens/../x",
        "loadfile/a b",
        "audit/other",
        "audit",
        "items/",
        "x",
        "../MANIFEST",
    ],
)
def test_not_a_member_of_a_package(path: str) -> None:
    assert not packages.is_package_member(path)
    assert packages.unknown_members(["MANIFEST", path]) == [path]


def test_member_names() -> None:
    assert packages.entries_member("000.p/25") == "entries/000.p/25"
    assert packages.schema_member(bytes(32)) == f"schemas/{'00' * 32}.json"
    with pytest.raises(FormatError, match="width"):
        packages.schema_member(bytes(31))
