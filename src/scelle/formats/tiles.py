"""Name the tiles of a log and write its entry bundles (C2SP tlog-tiles)."""

import re
from collections.abc import Sequence
from typing import Final

from scelle.errors import FormatError
from scelle.formats.tokens import INT64_MAX, shown

TILE_WIDTH: Final = 256
ENTRY_MAX_BYTES: Final = 65_535
_ENTRIES_PATH: Final = re.compile(r"((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Name a tile of tree hashes: `tile/<level>/<index>`, a partial one with `.p/<width>`."""
    if not 0 <= level <= 63:
        raise FormatError(f"tile level {level} is outside 0 to 63")
    return f"tile/{level}/{entries_path(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Name an entry bundle without the prefix `tile/entries/`: `x001/x234/067` or `000.p/25`."""
    if not 0 <= index <= INT64_MAX or not 1 <= width <= TILE_WIDTH:
        raise FormatError(f"tile {index} of width {width}: the index is from 0, the width 1 to 256")
    path = f"{index % 1000:03d}"
    while index >= 1000:
        index //= 1000
        path = f"x{index % 1000:03d}/{path}"
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def parse_entries_path(path: str) -> tuple[int, int]:
    """Read the index and width of an entry bundle from its name without the prefix `tile/entries/`."""
    match = _ENTRIES_PATH.fullmatch(path)
    if match is not None:
        index = int(match[1].replace("x", "").replace("/", "") + match[2])
        width = int(match[3] or TILE_WIDTH)
        if index <= INT64_MAX and width <= TILE_WIDTH and entries_path(index, width) == path:
            return index, width
    raise FormatError(f"bundle path {shown(path)} is not canonical (C2SP tlog-tiles)")


def bundles_for(size: int) -> list[tuple[int, int]]:
    """List (index, width) of exactly the tiles of one level that cover `size` entries, one partial last."""
    full, rest = divmod(size, TILE_WIDTH)
    return [(index, TILE_WIDTH) for index in range(full)] + ([(full, rest)] if rest else [])


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Write 1 to 256 log entries as a bundle: each with its length in two bytes before it."""
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise FormatError(f"bundle of {len(entries)} entries, must be 1 to {TILE_WIDTH}")
    for entry in entries:
        if not 1 <= len(entry) <= ENTRY_MAX_BYTES:
            raise FormatError(f"entry of {len(entry)} bytes, must be 1 to {ENTRY_MAX_BYTES}")
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def parse_bundle(data: bytes, width: int | None = None) -> list[bytes]:
    """Read the entries of a bundle, exactly `width` of them if that is given."""
    entries: list[bytes] = []
    offset = 0
    while offset < len(data):
        start = offset + 2
        offset = start + int.from_bytes(data[offset:start], "big")
        if start > len(data) or offset > len(data) or offset == start:
            raise FormatError(f"entry {len(entries)} of the bundle is cut short or empty")
        entries.append(data[start:offset])
    if not 1 <= len(entries) <= TILE_WIDTH or width not in (None, len(entries)):
        raise FormatError(f"bundle has {len(entries)} entries, must have {width or '1 to 256'}")
    return entries
