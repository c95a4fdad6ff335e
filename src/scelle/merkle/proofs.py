"""Make and check inclusion, consistency and range proofs (RFC 6962 §2.1, RFC 9162 §2.1.3-4, ledger.md §7).

Makers take the leaf hashes as one flat buffer, a `Tree` that keeps all levels, or a function `node(level,
index)` that gives the hash of the perfect subtree over leaves `[index << level, (index + 1) << level)`.
Checkers raise ProofError.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from scelle.errors import ProofError
from scelle.merkle.hashing import EMPTY_ROOT, HASH_BYTES, leaf_count, next_level, node_hash, tree_root

Node: TypeAlias = Callable[[int, int], bytes]


class Tree:
    """Keep all levels of a tree, so that many proofs cost no hashing; twice the memory of the leaves."""

    def __init__(self, flat: bytes) -> None:
        self.size = leaf_count(flat)
        self._levels = [bytes(flat)]
        while len(self._levels[-1]) > HASH_BYTES:
            self._levels.append(next_level(self._levels[-1]))

    def root(self) -> bytes:
        """Give the RFC 6962 root."""
        return self._levels[-1] or EMPTY_ROOT

    def node(self, level: int, index: int) -> bytes:
        """Give the hash of the perfect subtree number `index` at `level`."""
        return self._levels[level][index * HASH_BYTES : (index + 1) * HASH_BYTES]

    def inclusion_path(self, index: int) -> list[bytes]:
        """Give the RFC 6962 PATH of a leaf, from the leaf up."""
        return inclusion_path_cached(self.size, index, self.node)

    def range_proof(self, lo: int, hi: int) -> list[bytes]:
        """Give the roots of the maximal subtrees outside leaves [lo, hi), left to right."""
        return range_proof_cached(self.size, lo, hi, self.node)


def inclusion_path(flat: bytes, index: int) -> list[bytes]:
    """Give the RFC 6962 PATH of leaf `index`, from the leaf up."""
    size = leaf_count(flat)
    _check_range(size, index, index + 1)
    path = []
    while len(flat) > HASH_BYTES:
        sibling = (index ^ 1) * HASH_BYTES
        if sibling < len(flat):
            path.append(bytes(flat[sibling : sibling + HASH_BYTES]))
        flat, index = next_level(flat), index >> 1
    return path


def inclusion_path_cached(size: int, index: int, node: Node) -> list[bytes]:
    """Give the RFC 6962 PATH of leaf `index` without hashing whole subtrees anew."""
    _check_range(size, index, index + 1)
    path, lo, hi = [], 0, size
    while hi - lo > 1:
        middle = lo + _split(hi - lo)
        if index < middle:
            path.append(_subtree(middle, hi, node))
            hi = middle
        else:
            path.append(_subtree(lo, middle, node))
            lo = middle
    return path[::-1]


def root_from_inclusion(size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """Compute the root that a leaf hash and its path lead to; the caller compares it with the root it trusts.

    Raises ProofError when the path is too short or too long for `index` in a tree of `size` leaves.
    """
    _check_range(size, index, index + 1)
    _check_width(leaf)
    sides = _sides(size, index)
    if len(sides) != len(path):
        raise ProofError(f"path has {len(path)} hashes, must have {len(sides)}")
    for is_left, sibling in zip(reversed(sides), path, strict=True):
        leaf = node_hash(leaf, sibling) if is_left else node_hash(sibling, leaf)
    return leaf


def _sides(size: int, index: int) -> list[bool]:
    """Walk from the root to leaf `index`, saying at each node whether the leaf is under its left child."""
    sides, lo, hi = [], 0, size
    while hi - lo > 1:
        middle = lo + _split(hi - lo)
        sides.append(index < middle)
        lo, hi = (lo, middle) if index < middle else (middle, hi)
    return sides


def consistency_proof(flat: bytes, old_size: int) -> list[bytes]:
    """Prove that the first `old_size` leaves are a prefix of the tree (RFC 6962 §2.1.2)."""
    tree = Tree(flat)
    return consistency_proof_cached(old_size, tree.size, tree.node)


def consistency_proof_cached(old_size: int, size: int, node: Node) -> list[bytes]:
    """Prove that the tree of `old_size` leaves is a prefix of that of `size` without hashing all anew."""
    if not 0 < old_size <= size:
        raise ProofError(
            f"no consistency proof from {old_size} to {size} leaves: the old size is 1 to the new one"
        )
    proof, lo, hi, is_known = [], 0, size, True
    while hi != old_size:
        middle = lo + _split(hi - lo)
        if old_size <= middle:
            proof.append(_subtree(middle, hi, node))
            hi = middle
        else:
            proof.append(_subtree(lo, middle, node))
            lo, is_known = middle, False
    if not is_known:
        proof.append(_subtree(lo, hi, node))
    return proof[::-1]


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Establish that the tree with `old_root` is a prefix of the tree with `new_root` (RFC 9162 §2.1.4.2).

    Raises ProofError otherwise. The empty tree is a prefix of every tree, with an empty proof.
    """
    _check_width(old_root, new_root, *proof)
    if old_size < 0 or new_size < old_size:
        raise ProofError(f"no consistency from {old_size} to {new_size} leaves")
    if old_size in (0, new_size):
        _verify_trivial(old_size, new_size, old_root, new_root, proof)
        return
    hashes = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not hashes:
        raise ProofError("consistency proof is empty")
    index, last = _strip_ones(old_size - 1, new_size - 1)
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofError("consistency proof is too long")
        if index & 1 or index == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        index, last = index >> 1, last >> 1
    if last != 0:
        raise ProofError("consistency proof is too short")
    if old != old_root or new != new_root:
        raise ProofError(f"the tree of {old_size} leaves is not a prefix of the tree of {new_size}")


def _verify_trivial(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    if proof:
        raise ProofError("consistency proof is too long: none is needed")
    if old_size == new_size and old_root != new_root:
        raise ProofError(f"two roots for the same {old_size} leaves")
    if old_size == 0 and old_root != EMPTY_ROOT:
        raise ProofError("the root of no leaves is not the empty root")


def _strip_ones(index: int, last: int) -> tuple[int, int]:
    while index & 1:
        index, last = index >> 1, last >> 1
    return index, last


def range_proof(flat: bytes, lo: int, hi: int) -> list[bytes]:
    """Give the roots of the maximal subtrees outside leaves [lo, hi), left to right (ledger.md §7)."""
    size = leaf_count(flat)
    _check_range(size, lo, hi)
    return [tree_root(flat[a * HASH_BYTES : b * HASH_BYTES]) for a, b in outside_subtrees(0, size, lo, hi)]


def range_proof_cached(size: int, lo: int, hi: int, node: Node) -> list[bytes]:
    """Give the same proof as `range_proof` without hashing whole subtrees anew."""
    _check_range(size, lo, hi)
    return [_subtree(a, b, node) for a, b in outside_subtrees(0, size, lo, hi)]


def outside_subtrees(a: int, b: int, lo: int, hi: int) -> Iterator[tuple[int, int]]:
    """Walk the maximal subtrees of leaves [a, b) that lie outside [lo, hi), left to right."""
    if b <= lo or a >= hi:
        yield a, b
    elif a < lo or b > hi:
        middle = a + _split(b - a)
        yield from outside_subtrees(a, middle, lo, hi)
        yield from outside_subtrees(middle, b, lo, hi)


def range_root(size: int, lo: int, hashes: bytes, proof: Sequence[bytes]) -> bytes:
    """Compute the root that consecutive leaf hashes from position `lo` and their proof lead to.

    `hashes` is flat and not empty. Raises ProofError when the range leaves the tree, a hash is not 32 bytes,
    or the proof has more or fewer hashes than the range needs. The caller compares the root with one it
    trusts.
    """
    hi = lo + leaf_count(hashes)
    _check_range(size, lo, hi)
    _check_width(*proof)
    rest = list(reversed(proof))

    def root_of(a: int, b: int) -> bytes:
        if b <= lo or a >= hi:
            if not rest:
                raise ProofError("range proof has too few hashes")
            return rest.pop()
        if lo <= a and b <= hi:
            return tree_root(hashes[(a - lo) * HASH_BYTES : (b - lo) * HASH_BYTES])
        middle = a + _split(b - a)
        left = root_of(a, middle)
        return node_hash(left, root_of(middle, b))

    root = root_of(0, size)
    if rest:
        raise ProofError(f"range proof has {len(rest)} hashes too many")
    return root


def root_cached(size: int, node: Node) -> bytes:
    """Compute the root of `size` leaves from the perfect subtrees on its right edge."""
    return _subtree(0, size, node) if size else EMPTY_ROOT


def _subtree(a: int, b: int, node: Node) -> bytes:
    """Hash leaves [a, b), one subtree of an RFC 6962 tree, from perfect subtrees."""
    roots = []
    while a < b:
        level = (b - a).bit_length() - 1
        roots.append(node(level, a >> level))
        a += 1 << level
    root = roots.pop()
    while roots:
        root = node_hash(roots.pop(), root)
    return root


def _split(count: int) -> int:
    """Give the largest power of two smaller than `count` (>= 2)."""
    return 1 << (count - 1).bit_length() - 1


def _check_range(size: int, lo: int, hi: int) -> None:
    if not 0 <= lo < hi <= size:
        raise ProofError(f"leaves {lo} to {hi} are no range in a tree of {size}")


def _check_width(*hashes: bytes) -> None:
    for digest in hashes:
        if len(digest) != HASH_BYTES:
            raise ProofError(f"width: hash of {len(digest)} bytes; must be 32")
