"""Read what a log publishes, entries and tiles, and find out which of them are as they were: the root
decides."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scelle.errors import FormatError
from scelle.formats.tiles import TILE_WIDTH, bundles_for, entries_path, parse_bundle, tile_path
from scelle.fsck.files import Unreadable, is_seen, names_in, read_file
from scelle.fsck.folders import LogFolder
from scelle.merkle.hashing import HASH_BYTES, TreeHasher, leaf_hash, tree_root
from scelle.merkle.tiles import new_tiles, tiles_for

SIZE_MAX: Final = 1 << 26
"""More entries than any log has: a damaged checkpoint must not make us look for more."""
BUNDLE_MAX_BYTES: Final = 17 << 20
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
_ENTRY_START: Final = re.compile(rb"(?s)..(?=scelle/[a-z]+/v[0-9]+\n)")
_PARTIAL_NAME: Final = re.compile(r"(tile/.+)\.p/[1-9][0-9]{0,2}")


class PublishedLog:
    """The entries of a log of `size` entries and their leaf hashes; None where one is damaged or missing.

    After the constructor `leaves` are those under `root` wherever entries or tiles still lead to it.
    """

    def __init__(self, folder: LogFolder, size: int, root: bytes | None) -> None:
        self._folder = folder
        self._prefix = TreeHasher()
        self.entries: list[bytes | None] = []
        self._bundles = bundles_for(size)
        for index, width in self._bundles:
            self.entries += self._bundle(index, width)
        self.leaves = [None if data is None else leaf_hash(data) for data in self.entries]
        self.is_complete = None not in self.entries
        self._check_root(root)

    def prefix_root(self, size: int) -> bytes | None:
        """Return the root of the first `size` entries; None where one of them is not known.

        Quick where sizes are asked for in ascending order.
        """
        if size < self._prefix.size:
            self._prefix = TreeHasher()
        for leaf in self.leaves[self._prefix.size : size]:
            if leaf is None:
                return None
            self._prefix.append(leaf)
        return self._prefix.root()

    # -- bundles

    def _bundle(self, index: int, width: int) -> list[bytes | None]:
        exact = _bundle_name(index, width)
        data, name = self._folder.read_tile(exact, BUNDLE_MAX_BYTES)
        entries: list[bytes] = []
        if data is not None:
            try:
                entries = parse_bundle(data)
                if len(entries) < width or (len(entries) > width and name == exact):
                    detail = f"it has {len(entries)} entries, must have {width}"
                    self._folder.find("log.entries", name, detail)
            except FormatError as error:
                self._folder.find("log.entries", name, str(error))
                entries = list(_entries_by_first_line(data))
        found: list[bytes | None] = list(entries[:width])
        return found + [None] * (width - len(found))

    # -- root and tiles

    def _check_root(self, root: bytes | None) -> None:
        own = _root(self.leaves)
        if own is not None and (root is None or own == root):
            self._check_tiles()
            return
        kept = self._kept_leaves()
        if root is not None and _root(kept) == root:
            self._name_entries(kept)
            return
        self.is_complete = False
        detail = (
            f"its {len(self.entries)} entries do not lead to the checkpoint's root, and neither do its tiles"
        )
        self._folder.notes.find("log.root", f"order {self._folder.order}, log", detail)
        for name in tiles_for(len(self.entries)):
            self._folder.read_tile(name, TILE_BYTES)  # not compared: but one that is gone is said to be gone
        for index, (leaf, other) in enumerate(zip(self.leaves, kept, strict=True)):
            if leaf is None:
                self._find(index, "it cannot be read")
            elif other is not None and leaf != other:
                detail = "the tile has another leaf hash for it; which of the two is right cannot be told"
                self._find(index, detail)

    def _kept_leaves(self) -> list[bytes | None]:
        """Read the leaf hashes from the tiles of level 0, as far as they are there."""
        leaves: list[bytes | None] = []
        for index, width in bundles_for(len(self.entries)):
            try:
                data = read_file(self._folder.path / tile_path(0, index, width), TILE_BYTES)
            except Unreadable:
                data = b""  # said when the tiles are compared, or by the entries
            hashes = [data[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]
            leaves += [each if len(each) == HASH_BYTES else None for each in hashes]
        return leaves

    def _name_entries(self, kept: list[bytes | None]) -> None:
        """Name the entries that are not those under the root, and go on with the true leaf hashes."""
        self.is_complete = False
        for index, (leaf, other) in enumerate(zip(self.leaves, kept, strict=True)):
            if leaf != other:
                what = "it cannot be read" if leaf is None else "it is not the entry under the root"
                self._find(index, what)
                self.entries[index] = None
        self.leaves = kept
        self._check_tiles()

    def _check_tiles(self) -> None:
        flat = b"".join(leaf for leaf in self.leaves if leaf is not None)
        for name, wanted in new_tiles(0, flat, lambda path: b"").items():
            data, place = self._folder.read_tile(name, TILE_BYTES)
            if place != name and data is not None:
                data = data[: len(wanted)]
            if data is not None and data != wanted:
                self._folder.find("log.tile", name, "it is not what the entries give")

    def _find(self, index: int, detail: str) -> None:
        name = _bundle_name(*self._bundles[index // TILE_WIDTH])
        self._folder.find_entry("log.entry", index, f"{detail} ({name})")

    # -- what else may lie there

    def allow(self, size: int) -> None:
        """Let bundles and tiles of a log of `size` be there: a commit was interrupted while it put them in
        place."""
        self._folder.known.update(tiles_for(size))
        self._folder.known.update(_bundle_name(*each) for each in bundles_for(size))

    def is_old_partial(self, name: str) -> bool:
        """Tell whether `name` is a narrower tile or bundle that a crash left: a prefix of the present one."""
        match = _PARTIAL_NAME.fullmatch(name)
        if match is None:
            return False
        present = [known for known in self._folder.known if known.split(".p/")[0] == match[1]]
        try:
            data = read_file(self._folder.path / name, BUNDLE_MAX_BYTES)
            others = [read_file(self._folder.path / other, BUNDLE_MAX_BYTES) for other in present]
        except Unreadable:
            return False
        return any(other.startswith(data) for other in others)


def size_on_disk(log: Path) -> int:
    """Count the entries that lie in the log's folder, where nothing that can be read says how many there
    must be."""
    size, bundles = 0, log / "tile" / "entries"
    while size < SIZE_MAX and is_seen(bundles / entries_path(size // TILE_WIDTH)):
        size += TILE_WIDTH
    names = names_in(bundles / (entries_path(size // TILE_WIDTH) + ".p"))
    widths = [int(name) for name in names if name.isascii() and name.isdecimal()]
    return size + max((width for width in widths if width < TILE_WIDTH), default=0)


def _bundle_name(index: int, width: int) -> str:
    return f"tile/entries/{entries_path(index, width)}"


def _root(leaves: list[bytes | None]) -> bytes | None:
    known = [leaf for leaf in leaves if leaf is not None]
    return tree_root(b"".join(known)) if len(known) == len(leaves) else None


def _entries_by_first_line(data: bytes) -> Iterator[bytes]:
    """Find the entries of a bundle whose lengths are damaged: each begins with the line that names its
    kind."""
    starts = [match.end() for match in _ENTRY_START.finditer(data)]
    for start, following in zip(starts, [*starts[1:], len(data) + 2], strict=False):
        yield data[start : following - 2]
