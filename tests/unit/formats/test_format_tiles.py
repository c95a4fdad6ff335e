import pytest

from scelle.errors import FormatError
from scelle.formats.tiles import (
    bundles_for,
    encode_bundle,
    entries_path,
    parse_bundle,
    parse_entries_path,
    tile_path,
)


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "000"),
        (0, 25, "000.p/25"),
        (999, 256, "999"),
        (1000, 256, "x001/000"),
        (1234067, 256, "x001/x234/067"),
        (1234067, 1, "x001/x234/067.p/1"),
        (10**9, 255, "x001/x000/x000/000.p/255"),
    ],
)
def test_path_reads_back(index: int, width: int, path: str) -> None:
    assert entries_path(index, width) == path
    assert parse_entries_path(path) == (index, width)
    assert tile_path(3, index, width) == f"tile/3/{path}"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "0",
        "00",
        "0000",
        "x000/000",
        "x000/x001/000",
        "001/000",
        "x001/x000",
        "000.p/0",
        "000.p/00",
        "000.p/025",
        "000.p/256",
        "000.p/999",
        "000.p/",
        "000.p",
        "/000",
        "000/",
        "x001//000",
        "000\n",
        "٠٠٠",
        "x999/" * 8 + "000",
    ],
)
def test_other_spellings_of_a_path_are_refused(path: str) -> None:
    with pytest.raises(FormatError):
        parse_entries_path(path)


@pytest.mark.parametrize(("index", "width"), [(-1, 256), (0, 0), (0, -1), (0, 257), (2**63, 256)])
def test_tile_out_of_range_has_no_path(index: int, width: int) -> None:
    with pytest.raises(FormatError):
        entries_path(index, width)


@pytest.mark.parametrize("level", [-1, 64])
def test_level_out_of_range_has_no_path(level: int) -> None:
    with pytest.raises(FormatError):
        tile_path(level, 0)


@pytest.mark.parametrize(
    ("size", "bundles"),
    [
        (0, []),
        (1, [(0, 1)]),
        (255, [(0, 255)]),
        (256, [(0, 256)]),
        (257, [(0, 256), (1, 1)]),
        (512, [(0, 256), (1, 256)]),
    ],
)
def test_bundles_cover_the_size(size: int, bundles: list[tuple[int, int]]) -> None:
    assert bundles_for(size) == bundles


@pytest.mark.parametrize("entries", [[b"a"], [b"a", b"bc"], [b"x" * 65_535], [b"a"] * 256], ids=len)
def test_bundle_reads_back(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert parse_bundle(data) == entries
    assert parse_bundle(data, len(entries)) == entries


def test_bundle_bytes() -> None:
    assert encode_bundle([b"a", b"bc"]) == b"\0\1a\0\2bc"


@pytest.mark.parametrize("entries", [[], [b""], [b"a", b""], [b"x" * 65_536], [b"a"] * 257], ids=len)
def test_bundle_without_a_form_is_not_written(entries: list[bytes]) -> None:
    with pytest.raises(FormatError):
        encode_bundle(entries)


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0\0", b"\0\1", b"\0\2a", b"\0\1a\0", b"\0\1a\0\1", b"\0\1a" * 257]
)
def test_bundle_with_a_fault_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_bundle(data)


@pytest.mark.parametrize("width", [0, 1, 3])
def test_bundle_of_another_width_is_refused(width: int) -> None:
    with pytest.raises(FormatError, match="entries"):
        parse_bundle(b"\0\1a\0\1b", width)
