"""Find ranges in a segment's sorted index, and nodes of its trees; memory stays flat."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from scelle.errors import RecordNotAsSealed
from scelle.ledger.search import IndexBlock
from scelle.ledger.segments import NODES_LEVEL, SegmentReader
from scelle.merkle.hashing import HASH_BYTES, tree_root
from scelle.merkle.proofs import Tree, inclusion_path_cached, range_proof_cached, root_cached

_HASHES_AT_ONCE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class FoundRange:
    """Place one range: positions [first, stop) of its hits in X, ranks [lo, hi) of the living among them.

    The left neighbour has rank lo - 1 and position first - 1, the right one rank hi and position stop; there
    is none at an edge of the block.
    """

    first: int
    stop: int
    lo: int
    hi: int
    has_left: bool
    has_right: bool


def find_range(block: IndexBlock, tag: bytes, window: tuple[int, int]) -> FoundRange:
    """Find the entries of a tag with low <= time < high. Erased entries beside them belong to it (§7)."""
    lo, hi = block.ranks(tag, *window)
    has_left, has_right = lo > 0, hi < block.living
    first = block.position(lo - 1) + 1 if has_left else block.start
    stop = block.position(hi) if has_right else block.stop
    return FoundRange(first, stop, lo, hi, has_left, has_right)


class RecordHashes:
    """Give commitments and paths of a segment's records: of few of them by the nodes, of many by the whole tree."""

    def __init__(self, reader: SegmentReader, nodes: bytes | None, wanted: int) -> None:
        manifest = reader.manifest
        self._sparse: SegmentTree | None = None
        self._whole: Tree | None = None
        self._flat = b""
        if wanted << NODES_LEVEL < manifest.records:
            self._sparse = SegmentTree(reader, 0, manifest.records, manifest.record_root, nodes)
            return
        self._flat = reader.hashes(0, manifest.records)
        if tree_root(self._flat) != manifest.record_root:
            raise RecordNotAsSealed(
                f"{reader.folder / 'tree'}: its hashes do not lead to the record root of the manifest: nothing was "
                "produced; run `scelle verify`"
            )

    def commitment(self, place: int) -> bytes:
        """Return the leaf hash in R of the record at `place`."""
        if self._sparse is not None:
            return self._sparse.leaves(place, place + 1)
        return self._flat[HASH_BYTES * place : HASH_BYTES * (place + 1)]

    def path(self, place: int) -> tuple[bytes, ...]:
        """Return its PATH in R, from the leaf up."""
        if self._sparse is not None:
            return self._sparse.path(place)
        if self._whole is None:
            self._whole = Tree(self._flat)
        return tuple(self._whole.inclusion_path(place))


class SegmentTree:
    """Give nodes of R or X, whose leaf hashes lie in a segment's file; keeps one hash for 256 leaves.

    `nodes` are those that the segment keeps at level 8; where they do not lead to `root`, which the log committed
    to, or there are none, all leaves are hashed. Raises `RecordNotAsSealed` when those do not lead there either.
    What is read later is not compared with `root` again: a leaf that changed meanwhile makes a proof that fails.
    """

    def __init__(
        self, reader: SegmentReader, start: int, size: int, root: bytes, nodes: bytes | None = None
    ) -> None:
        self._reader, self._start, self.size = reader, start, size
        if nodes is not None and self._leads_to(root, nodes):
            return
        if not self._leads_to(root, self._hashed()):
            raise RecordNotAsSealed(
                f"{reader.folder / 'tree'}: its hashes do not lead to the root in the manifest: "
                "nothing was produced; run `scelle verify`"
            )

    def _leads_to(self, root: bytes, nodes: bytes) -> bool:
        self._blocks = Tree(nodes)
        return root_cached(self.size, self.node) == root

    def _hashed(self) -> bytes:
        width = HASH_BYTES << NODES_LEVEL
        blocks = bytearray()
        for piece in self._pieces():
            full = len(piece) // width * width
            for at in range(0, full, width):
                blocks += tree_root(piece[at : at + width])
        return bytes(blocks)

    def node(self, level: int, index: int) -> bytes:
        """Give the hash of the perfect subtree over leaves [index << level, (index + 1) << level)."""
        if level >= NODES_LEVEL:
            return self._blocks.node(level - NODES_LEVEL, index)
        return tree_root(self.leaves(index << level, (index + 1) << level))

    def path(self, index: int) -> tuple[bytes, ...]:
        """Give the RFC 6962 PATH of a leaf, from the leaf up."""
        return tuple(inclusion_path_cached(self.size, index, self.node))

    def leaves(self, lo: int, hi: int) -> bytes:
        """Return leaf hashes [lo, hi)."""
        return self._reader.hashes(self._start + lo, self._start + hi)

    def range_proof(self, lo: int, hi: int) -> tuple[bytes, ...]:
        """Give the roots of the maximal subtrees outside leaves [lo, hi), left to right."""
        return tuple(range_proof_cached(self.size, lo, hi, self.node))

    def _pieces(self) -> Iterator[bytes]:
        for start in range(0, self.size, _HASHES_AT_ONCE):
            yield self.leaves(start, min(start + _HASHES_AT_ONCE, self.size))
