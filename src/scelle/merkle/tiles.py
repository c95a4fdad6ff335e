"""Grow a log's tiles and read its tree back from them (C2SP tlog-tiles).

A tile of level L holds 256 hashes of tree level 8L, or fewer, if it is the last.
"""

from collections.abc import Callable
from typing import TypeAlias

from scelle.errors import ProofError
from scelle.formats.tiles import TILE_WIDTH, bundles_for, tile_path
from scelle.merkle.hashing import HASH_BYTES, leaf_count, tree_root
from scelle.merkle.proofs import root_cached

TILE_BYTES = TILE_WIDTH * HASH_BYTES
ReadTile: TypeAlias = Callable[[str], bytes]
"""Give the bytes of a tile by its path, as `tile_path` names it; raises whatever the store raises."""


def new_tiles(old_size: int, new_leaf_hashes: bytes, read_tile: ReadTile) -> dict[str, bytes]:
    """Compute all tiles, full and partial, that change when leaf hashes are appended to a log of `old_size`.

    `read_tile` is asked for the partial tiles of the old size only. The result maps paths to bytes; full
    tiles on the way and the partial ones at the end are in it.
    """
    tiles: dict[str, bytes] = {}
    level, count, added = 0, old_size, new_leaf_hashes
    leaf_count(added)
    while added:
        first, kept = divmod(count, TILE_WIDTH)
        row = _partial(read_tile, level, first, kept) + added
        for number, at in enumerate(range(0, len(row), TILE_BYTES), first):
            tile = row[at : at + TILE_BYTES]
            tiles[tile_path(level, number, len(tile) // HASH_BYTES)] = tile
        full = len(row) // TILE_BYTES
        added = b"".join(tree_root(row[at * TILE_BYTES : (at + 1) * TILE_BYTES]) for at in range(full))
        level, count = level + 1, first
    return tiles


def tiles_for(size: int) -> list[str]:
    """List the paths of exactly the tiles that hold the tree of `size` leaves, level by level."""
    paths, level = [], 0
    while size >> 8 * level:
        paths += [tile_path(level, index, width) for index, width in bundles_for(size >> 8 * level)]
        level += 1
    return paths


class TileTree:
    """Read nodes and the root of a log of `size` leaves from its tiles; each tile is read once and kept."""

    def __init__(self, size: int, read_tile: ReadTile) -> None:
        self.size = size
        self._read_tile = read_tile
        self._tiles: dict[tuple[int, int], bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        """Give the hash of the perfect subtree over leaves [index << level, (index + 1) << level)."""
        tile_level, up = divmod(level, 8)
        first = index << up
        tile = self._tile(tile_level, first // TILE_WIDTH)
        start = first % TILE_WIDTH * HASH_BYTES
        return tree_root(tile[start : start + (HASH_BYTES << up)])

    def root(self) -> bytes:
        """Give the RFC 6962 root."""
        return root_cached(self.size, self.node)

    def _tile(self, level: int, number: int) -> bytes:
        tile = self._tiles.get((level, number))
        if tile is None:
            width = min(TILE_WIDTH, (self.size >> 8 * level) - number * TILE_WIDTH)
            tile = self._tiles[level, number] = _of_width(
                self._read_tile(tile_path(level, number, width)), tile_path(level, number, width), width
            )
        return tile


def root_from_tiles(size: int, read_tile: ReadTile) -> bytes:
    """Compute the root of a log of `size` leaves from the tiles on its right edge."""
    return TileTree(size, read_tile).root()


def _partial(read_tile: ReadTile, level: int, number: int, width: int) -> bytes:
    if width == 0:
        return b""
    path = tile_path(level, number, width)
    return _of_width(read_tile(path), path, width)


def _of_width(tile: bytes, path: str, width: int) -> bytes:
    if len(tile) != width * HASH_BYTES:
        raise ProofError(f"tile {path} has {len(tile)} bytes, must have {width * HASH_BYTES}")
    return tile
