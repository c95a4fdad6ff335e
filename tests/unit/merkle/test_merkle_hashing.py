from hashlib import sha256

import pytest

from scelle.errors import ProofError
from scelle.merkle.hashing import (
    EMPTY_ROOT,
    TreeHasher,
    leaf_count,
    leaf_hash,
    next_level,
    node_hash,
    tree_root,
)


def _leaves(count: int) -> bytes:
    return b"".join(leaf_hash(b"%d" % number) for number in range(count))


def _mth(leaves: list[bytes]) -> bytes:
    """Follow RFC 6962 §2.1 to the letter."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1" + _mth(leaves[:split]) + _mth(leaves[split:])).digest()


def test_leaf_and_node_hash() -> None:
    assert leaf_hash(b"a") == sha256(b"\0a").digest()
    assert node_hash(bytes(32), b"\1" * 32) == sha256(b"\1" + bytes(32) + b"\1" * 32).digest()


@pytest.mark.parametrize(("left", "right"), [(31, 32), (32, 31), (33, 32), (31, 33), (0, 64)])
def test_children_of_another_width_are_refused(left: int, right: int) -> None:
    with pytest.raises(ProofError, match=f"^width: children of {left} and {right} bytes; must be 32$"):
        node_hash(bytes(left), bytes(right))


@pytest.mark.parametrize(
    "count", [*range(20), 31, 32, 33, 255, 256, 257, 1000, 2048, 2049, 4097, 8191, 16_385]
)
def test_root_is_that_of_rfc_6962(count: int) -> None:
    flat = _leaves(count)
    expected = _mth([flat[at : at + 32] for at in range(0, len(flat), 32)])
    assert tree_root(flat) == expected
    assert tree_root(memoryview(flat).tobytes()) == expected
    hasher = TreeHasher()
    hasher.extend(flat)
    assert (hasher.root(), hasher.size) == (expected, count)


def test_empty_root() -> None:
    assert sha256(b"").digest() == EMPTY_ROOT
    assert TreeHasher().root() == EMPTY_ROOT == tree_root(b"")


def test_hasher_gives_every_root_on_the_way() -> None:
    flat, hasher = _leaves(70), TreeHasher()
    for count in range(70):
        assert hasher.root() == tree_root(flat[: 32 * count])
        hasher.append(flat[32 * count : 32 * count + 32])
        assert hasher.size == count + 1


@pytest.mark.parametrize("size", [1, 31, 33, 63])
def test_flat_buffer_of_another_width_is_refused(size: int) -> None:
    hasher = TreeHasher()
    with pytest.raises(ProofError, match="flat buffer"):
        leaf_count(bytes(size))
    with pytest.raises(ProofError, match="flat buffer"):
        tree_root(bytes(size))
    with pytest.raises(ProofError, match="flat buffer"):
        hasher.extend(bytes(size))
    assert hasher.size == 0


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_leaf_hash_of_another_width_is_refused(size: int) -> None:
    hasher = TreeHasher()
    with pytest.raises(ProofError, match="leaf hash"):
        hasher.append(bytes(size))
    assert hasher.root() == EMPTY_ROOT


def test_odd_hash_rises_as_it_is() -> None:
    flat = _leaves(3)
    assert next_level(flat) == node_hash(flat[:32], flat[32:64]) + flat[64:]
    assert next_level(flat[:32]) == flat[:32]


@pytest.mark.parametrize("size", [1, 255, 8192, 8193, 20_001])
@pytest.mark.parametrize("start", [0, 1, 3, 8192, 12_288])
def test_leaves_come_in_pieces_of_any_size(start: int, size: int) -> None:
    flat, hasher = _leaves(start + size), TreeHasher()
    hasher.extend(flat[: 32 * start])
    hasher.extend(bytearray(flat[32 * start :]))
    assert (hasher.root(), hasher.size) == (tree_root(flat), start + size)
    hasher.append(flat[:32])
    assert hasher.root() == tree_root(flat + flat[:32])


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 9, 63, 64, 65, 200])
@pytest.mark.parametrize("piece", [1, 3, 7, 64])
def test_kept_nodes_are_those_of_full_subtrees(size: int, piece: int) -> None:
    flat = b"".join(sha256(b"%d" % number).digest() for number in range(size))
    hasher = TreeHasher(kept_level=2)
    for at in range(0, size, piece):
        hasher.extend(flat[at * 32 : (at + piece) * 32])
    expected = [tree_root(flat[at * 32 : (at + 4) * 32]) for at in range(0, size - 3, 4)]
    assert bytes(hasher.kept) == b"".join(expected)
    assert hasher.root() == tree_root(flat)
