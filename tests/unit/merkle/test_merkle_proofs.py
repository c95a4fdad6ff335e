from typing import Any

import pytest

from scelle.errors import ProofError
from scelle.merkle.hashing import EMPTY_ROOT, leaf_hash, tree_root
from scelle.merkle.proofs import (
    Tree,
    consistency_proof,
    consistency_proof_cached,
    inclusion_path,
    inclusion_path_cached,
    range_proof,
    range_proof_cached,
    range_root,
    root_cached,
    root_from_inclusion,
    verify_consistency,
)

SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 31]


def _leaves(count: int) -> bytes:
    return b"".join(leaf_hash(b"%d" % number) for number in range(count))


def _leaf(flat: bytes, index: int) -> bytes:
    return flat[32 * index : 32 * index + 32]


@pytest.mark.parametrize("size", SIZES)
def test_every_inclusion_is_proven(size: int) -> None:
    flat = _leaves(size)
    tree = Tree(flat)
    for index in range(size):
        path = inclusion_path(flat, index)
        assert tree.inclusion_path(index) == path
        assert root_from_inclusion(size, index, _leaf(flat, index), path) == tree.root() == tree_root(flat)


@pytest.mark.parametrize("size", SIZES)
def test_no_inclusion_is_proven_twice(size: int) -> None:
    flat = _leaves(size)
    root = tree_root(flat)
    for index in range(size):
        path = inclusion_path(flat, index)
        for other in range(size):
            if other != index:
                assert not _leads_to(root, size, other, _leaf(flat, index), path)
                assert not _leads_to(root, size, index, _leaf(flat, other), path)
        for longer in (size + 1, 2 * size):
            assert len(path) == 0 or not _leads_to(root, longer, index, bytes(32), path)
        assert not _leads_to(root, size, index, _leaf(flat, index), [*path, bytes(32)])
        for at in range(len(path)):
            assert not _leads_to(root, size, index, _leaf(flat, index), path[:at] + path[at + 1 :])
            assert not _leads_to(
                root, size, index, _leaf(flat, index), [*path[:at], bytes(32), *path[at + 1 :]]
            )


def _leads_to(root: bytes, size: int, index: int, leaf: bytes, path: list[bytes]) -> bool:
    try:
        return root_from_inclusion(size, index, leaf, path) == root
    except ProofError:
        return False


@pytest.mark.parametrize(
    ("size", "index", "leaf", "path", "message"),
    [
        (0, 0, 32, [], "leaves 0 to 1 are no range in a tree of 0"),
        (1, 1, 32, [], "leaves 1 to 2 are no range in a tree of 1"),
        (1, -1, 32, [], "leaves -1 to 0 are no range in a tree of 1"),
        (-1, 0, 32, [], "leaves 0 to 1 are no range in a tree of -1"),
        (1, 0, 32, [32], "path has 1 hashes, must have 0"),
        (2, 0, 32, [], "path has 0 hashes, must have 1"),
        (2, 0, 31, [32], "width: hash of 31 bytes; must be 32"),
        (2, 0, 33, [32], "width: hash of 33 bytes; must be 32"),
        (2, 0, 32, [31], "width: children of 32 and 31 bytes; must be 32"),
        (2, 1, 32, [33], "width: children of 33 and 32 bytes; must be 32"),
        (2, 0, 32, [64], "width: children of 32 and 64 bytes; must be 32"),
        (2, 0, 32, [32, 32], "path has 2 hashes, must have 1"),
        (3, 2, 32, [32, 32], "path has 2 hashes, must have 1"),
    ],
)
def test_inclusion_of_another_shape_is_refused(
    size: int, index: int, leaf: int, path: list[int], message: str
) -> None:
    with pytest.raises(ProofError, match=f"^{message}$"):
        root_from_inclusion(size, index, bytes(leaf), [bytes(width) for width in path])


@pytest.mark.parametrize("index", [-1, 5, 6])
def test_path_of_a_leaf_that_is_not_there_is_refused(index: int) -> None:
    flat = _leaves(5)
    for make in (inclusion_path, lambda flat, index: Tree(flat).inclusion_path(index)):
        with pytest.raises(ProofError, match="no range"):
            make(flat, index)


@pytest.mark.parametrize("size", [*SIZES, 64, 65, 100])
def test_every_consistency_is_proven(size: int) -> None:
    flat = _leaves(size)
    tree = Tree(flat)
    for old in range(1, size + 1):
        proof = consistency_proof(flat, old)
        assert consistency_proof_cached(old, size, tree.node) == proof
        verify_consistency(old, size, tree_root(flat[: 32 * old]), tree.root(), proof)


def test_the_empty_tree_is_a_prefix_of_all() -> None:
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    verify_consistency(0, 5, EMPTY_ROOT, bytes(32), [])


@pytest.mark.parametrize("size", SIZES)
def test_no_false_consistency_is_proven(size: int) -> None:
    flat = _leaves(size)
    root = tree_root(flat)
    for old in range(1, size):
        proof, old_root = consistency_proof(flat, old), tree_root(flat[: 32 * old])
        changed = [[*proof[:at], bytes(32), *proof[at + 1 :]] for at in range(len(proof))]
        shorter = [proof[:at] + proof[at + 1 :] for at in range(len(proof))]
        for wrong in [*changed, *shorter, [*proof, bytes(32)], [bytes(32), *proof]]:
            with pytest.raises(ProofError):
                verify_consistency(old, size, old_root, root, wrong)
        for wrong_old, wrong_new in ((bytes(32), root), (old_root, bytes(32)), (root, old_root)):
            with pytest.raises(ProofError):
                verify_consistency(old, size, wrong_old, wrong_new, proof)
        for other in range(1, size):
            if other != old:
                with pytest.raises(ProofError):
                    verify_consistency(other, size, old_root, root, proof)


@pytest.mark.parametrize(
    ("old", "new", "old_root", "new_root", "proof", "message"),
    [
        (0, 0, bytes(32), bytes(32), [], "the root of no leaves is not the empty root"),
        (0, 0, bytes(32), EMPTY_ROOT, [], "two roots for the same 0 leaves"),
        (0, 0, EMPTY_ROOT, EMPTY_ROOT, [bytes(32)], "consistency proof is too long: none is needed"),
        (0, 5, bytes(32), bytes(32), [], "the root of no leaves is not the empty root"),
        (0, 5, EMPTY_ROOT, bytes(32), [bytes(32)], "consistency proof is too long: none is needed"),
        (5, 5, EMPTY_ROOT, bytes(32), [], "two roots for the same 5 leaves"),
        (5, 5, bytes(32), bytes(32), [bytes(32)], "consistency proof is too long: none is needed"),
        (6, 5, bytes(32), bytes(32), [], "no consistency from 6 to 5 leaves"),
        (-1, 5, bytes(32), bytes(32), [], "no consistency from -1 to 5 leaves"),
        (1, 2, bytes(31), bytes(32), [bytes(32)], "width: hash of 31 bytes; must be 32"),
        (1, 2, bytes(32), bytes(33), [bytes(32)], "width: hash of 33 bytes; must be 32"),
        (1, 2, bytes(32), bytes(32), [bytes(31)], "width: hash of 31 bytes; must be 32"),
        (3, 5, bytes(32), bytes(32), [], "consistency proof is empty"),
        (4, 5, bytes(32), bytes(32), [], "consistency proof is too short"),
        (4, 5, bytes(32), bytes(32), [bytes(32)] * 2, "consistency proof is too long"),
        (4, 5, bytes(32), bytes(32), [bytes(32)], "the tree of 4 leaves is not a prefix of the tree of 5"),
    ],
)
def test_consistency_of_another_shape_is_refused(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes], message: str
) -> None:
    with pytest.raises(ProofError, match=f"^({message})$"):
        verify_consistency(old, new, old_root, new_root, proof)


@pytest.mark.parametrize("old", [0, -1, 6])
def test_consistency_from_no_prefix_is_not_made(old: int) -> None:
    message = f"^no consistency proof from {old} to 5 leaves: the old size is 1 to the new one$"
    with pytest.raises(ProofError, match=message):
        consistency_proof(_leaves(5), old)


@pytest.mark.parametrize("size", SIZES)
def test_every_range_is_proven(size: int) -> None:
    flat = _leaves(size)
    tree = Tree(flat)
    for lo in range(size):
        for hi in range(lo + 1, size + 1):
            proof = range_proof(flat, lo, hi)
            assert tree.range_proof(lo, hi) == proof
            assert range_root(size, lo, flat[32 * lo : 32 * hi], proof) == tree.root()
            assert len(proof) <= 2 * (size - 1).bit_length()


@pytest.mark.parametrize("size", [5, 8, 13])
def test_no_false_range_is_proven(size: int) -> None:
    flat = _leaves(size)
    root = tree_root(flat)
    for lo in range(size):
        for hi in range(lo + 1, size + 1):
            hashes, proof = flat[32 * lo : 32 * hi], range_proof(flat, lo, hi)
            wrong: list[tuple[int, int, bytes, list[bytes]]] = [
                (size, lo, hashes, [*proof, bytes(32)]),
                (size, lo, hashes, [bytes(32), *proof]),
                (size, lo, hashes[:-32], proof),
                (size, lo, hashes[32:], proof),
                (size, lo + 1, hashes[32:], proof),
                (size, lo, hashes + bytes(32), proof),
                (size, lo + 1, hashes, proof),
                (size, lo - 1, hashes, proof),
                (size, lo, bytes(32) + hashes[32:], proof),
                *[(size, lo, hashes, proof[:at] + proof[at + 1 :]) for at in range(len(proof))],
                *[(size, lo, hashes, [*proof[:at], bytes(32), *proof[at + 1 :]]) for at in range(len(proof))],
            ]
            for arguments in wrong:
                assert not _range_leads_to(root, *arguments)


def _range_leads_to(root: bytes, size: int, lo: int, hashes: bytes, proof: list[bytes]) -> bool:
    try:
        return range_root(size, lo, hashes, proof) == root
    except ProofError:
        return False


@pytest.mark.parametrize(
    ("size", "lo", "hashes", "proof", "message"),
    [
        (0, 0, b"", [], "leaves 0 to 0 are no range in a tree of 0"),
        (5, 0, b"", [], "leaves 0 to 0 are no range in a tree of 5"),
        (5, 0, bytes(33), [bytes(32)], "width: a flat buffer of 33 bytes is not made of 32-byte hashes"),
        (5, -1, bytes(32), [], "leaves -1 to 0 are no range in a tree of 5"),
        (5, 5, bytes(32), [], "leaves 5 to 6 are no range in a tree of 5"),
        (5, 4, bytes(64), [], "leaves 4 to 6 are no range in a tree of 5"),
        (5, 4, bytes(32), [], "range proof has too few hashes"),
        (5, 4, bytes(32), [bytes(31)], "width: hash of 31 bytes; must be 32"),
        (5, 4, bytes(32), [bytes(33)], "width: hash of 33 bytes; must be 32"),
        (5, 4, bytes(32), [bytes(32)] * 3, "range proof has 2 hashes too many"),
        (5, 0, bytes(160), [bytes(32)], "range proof has 1 hashes too many"),
        (-5, 0, bytes(32), [], "leaves 0 to 1 are no range in a tree of -5"),
    ],
)
def test_range_of_another_shape_is_refused(
    size: int, lo: int, hashes: bytes, proof: list[bytes], message: str
) -> None:
    with pytest.raises(ProofError, match=f"^{message}$"):
        range_root(size, lo, hashes, proof)


@pytest.mark.parametrize(("lo", "hi"), [(0, 0), (3, 3), (3, 2), (-1, 2), (0, 6), (6, 7)])
def test_proof_of_no_range_is_not_made(lo: int, hi: int) -> None:
    flat = _leaves(5)
    makers: list[Any] = [lambda: range_proof(flat, lo, hi), lambda: Tree(flat).range_proof(lo, hi)]
    for make in makers:
        with pytest.raises(ProofError, match="no range"):
            make()


def test_proofs_from_nodes_alone_ask_for_perfect_subtrees_only() -> None:
    flat, asked = _leaves(13), []
    tree = Tree(flat)

    def node(level: int, index: int) -> bytes:
        assert (index + 1) << level <= 13
        asked.append((level, index))
        return tree_root(flat[(index << level) * 32 : ((index + 1) << level) * 32])

    assert root_cached(13, node) == tree.root()
    assert asked == [(3, 0), (2, 2), (0, 12)]
    for lo in range(13):
        assert range_proof_cached(13, lo, lo + 1, node) == range_proof(flat, lo, lo + 1)
        assert inclusion_path_cached(13, lo, node) == inclusion_path(flat, lo)
    assert root_cached(0, node) == EMPTY_ROOT


def test_tree_of_nothing() -> None:
    assert Tree(b"").root() == EMPTY_ROOT
    with pytest.raises(ProofError, match="flat buffer"):
        Tree(bytes(31))
