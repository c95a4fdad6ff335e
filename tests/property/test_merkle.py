"""Proofs against naive models that follow the text of RFC 6962 and ledger.md §7 to the letter."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import ProofError
from scelle.merkle.hashing import TreeHasher, tree_root
from scelle.merkle.proofs import (
    Tree,
    consistency_proof,
    inclusion_path,
    range_proof,
    range_root,
    root_from_inclusion,
    verify_consistency,
)
from scelle.merkle.tiles import TileTree, new_tiles, tiles_for

HASHES = st.binary(min_size=32, max_size=32)
SIZES = st.integers(1, 600)


def _leaves(size: int) -> list[bytes]:
    return [sha256(b"\0" + number.to_bytes(4, "big")).digest() for number in range(size)]


def _split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def _mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return _node(_mth(leaves[:split]), _mth(leaves[split:]))


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*_path(index, leaves[:split]), _mth(leaves[split:])]
    return [*_path(index - split, leaves[split:]), _mth(leaves[:split])]


def _subproof(old: int, leaves: list[bytes], is_known: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if is_known else [_mth(leaves)]
    split = _split(len(leaves))
    if old <= split:
        return [*_subproof(old, leaves[:split], is_known), _mth(leaves[split:])]
    return [*_subproof(old - split, leaves[split:], False), _mth(leaves[:split])]


def _outside(leaves: list[bytes], a: int, b: int, lo: int, hi: int) -> list[bytes]:
    if b <= lo or hi <= a:
        return [_mth(leaves[a:b])]
    if lo <= a and b <= hi:
        return []
    middle = a + _split(b - a)
    return _outside(leaves, a, middle, lo, hi) + _outside(leaves, middle, b, lo, hi)


@given(st.lists(HASHES, max_size=70))
def test_roots(leaves: list[bytes]) -> None:
    hasher = TreeHasher()
    hasher.extend(b"".join(leaves))
    assert tree_root(b"".join(leaves)) == hasher.root() == Tree(b"".join(leaves)).root() == _mth(leaves)


@given(SIZES, st.data())
def test_inclusion(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = _leaves(size)
    path = inclusion_path(b"".join(leaves), index)
    assert path == Tree(b"".join(leaves)).inclusion_path(index) == _path(index, leaves)
    assert root_from_inclusion(size, index, leaves[index], path) == _mth(leaves)


@given(SIZES, st.data())
def test_consistency(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    leaves = _leaves(size)
    proof = consistency_proof(b"".join(leaves), old)
    assert proof == _subproof(old, leaves, True)
    verify_consistency(old, size, _mth(leaves[:old]), _mth(leaves), proof)


@given(SIZES, st.data())
def test_range(size: int, data: st.DataObject) -> None:
    lo = data.draw(st.integers(0, size - 1))
    hi = data.draw(st.integers(lo + 1, size))
    leaves = _leaves(size)
    proof = range_proof(b"".join(leaves), lo, hi)
    assert proof == Tree(b"".join(leaves)).range_proof(lo, hi) == _outside(leaves, 0, size, lo, hi)
    assert range_root(size, lo, b"".join(leaves[lo:hi]), proof) == _mth(leaves)
    assert len(proof) <= 2 * (size - 1).bit_length()


@given(
    st.integers(1, 40),
    st.integers(-3, 45),
    st.lists(HASHES, max_size=9),
    st.lists(HASHES, max_size=9),
    st.data(),
)
def test_random_ranges_never_lead_to_a_root(
    size: int, lo: int, hashes: list[bytes], proof: list[bytes], data: st.DataObject
) -> None:
    leaves = _leaves(size)
    hashes = data.draw(st.just(hashes) | st.lists(st.sampled_from(leaves), max_size=9))
    try:
        root = range_root(size, lo, b"".join(hashes), proof)
    except ProofError:
        return
    assert root != _mth(leaves) or hashes == leaves[lo : lo + len(hashes)]


@given(st.integers(1, 64), st.integers(1, 64), st.lists(HASHES, max_size=8))
def test_random_consistency_is_never_proven(old: int, new: int, proof: list[bytes]) -> None:
    leaves = _leaves(64)
    roots = _mth(leaves[:old]), _mth(leaves[:new])
    try:
        verify_consistency(old, new, *roots, proof)
    except ProofError:
        return
    assert old == new
    assert not proof


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_tiles_grow_in_any_steps(steps: list[int]) -> None:
    store: dict[str, bytes] = {}
    leaves, size = _leaves(sum(steps)), 0
    for step in steps:
        store |= new_tiles(size, b"".join(leaves[size : size + step]), store.__getitem__)
        size += step
        assert TileTree(size, store.__getitem__).root() == _mth(leaves[:size])
    assert set(tiles_for(size)) <= set(store)


@given(st.lists(st.integers(0, 700), max_size=8))
def test_a_running_root_takes_pieces_of_any_size(sizes: list[int]) -> None:
    leaves, hasher, size = _leaves(sum(sizes)), TreeHasher(), 0
    for count in sizes:
        hasher.extend(b"".join(leaves[size : size + count]))
        size += count
        assert (hasher.root(), hasher.size) == (tree_root(b"".join(leaves[:size])), size)
    assert hasher.root() == _mth(leaves)
