import pytest

from scelle.errors import ProofError
from scelle.merkle.hashing import EMPTY_ROOT, leaf_hash, tree_root
from scelle.merkle.proofs import inclusion_path, inclusion_path_cached
from scelle.merkle.tiles import TILE_BYTES, TileTree, new_tiles, root_from_tiles, tiles_for

FLAT = b"".join(leaf_hash(b"%d" % number) for number in range(66_000))


def _no_tile(path: str) -> bytes:
    raise AssertionError(f"{path} was asked for")


def _grow(*sizes: int) -> dict[str, bytes]:
    store: dict[str, bytes] = {}
    old = 0
    for size in sizes:
        store |= new_tiles(old, FLAT[32 * old : 32 * size], store.__getitem__)
        old = size
    return store


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537])
def test_root_is_read_back_from_tiles(size: int) -> None:
    store = _grow(size)
    assert set(store) == set(tiles_for(size))
    assert root_from_tiles(size, store.__getitem__) == tree_root(FLAT[: 32 * size])


def test_no_tiles_for_no_leaves() -> None:
    assert new_tiles(0, b"", _no_tile) == {}
    assert new_tiles(300, b"", _no_tile) == {}
    assert tiles_for(0) == []
    assert root_from_tiles(0, _no_tile) == EMPTY_ROOT


def test_paths() -> None:
    assert tiles_for(257) == ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]
    assert tiles_for(65_536)[-2:] == ["tile/1/000", "tile/2/000.p/1"]


@pytest.mark.parametrize(
    "steps", [(1, 2, 3), (200, 300), (255, 256, 257), (256, 512), (100, 600, 601), (65_000, 65_700)]
)
def test_growth_in_steps_gives_the_same_tiles(steps: tuple[int, ...]) -> None:
    whole, grown = _grow(steps[-1]), _grow(*steps)
    assert {path: grown[path] for path in tiles_for(steps[-1])} == whole
    for size in steps:
        assert root_from_tiles(size, grown.__getitem__) == tree_root(FLAT[: 32 * size])


def test_only_tiles_that_change_are_written() -> None:
    store = _grow(600)
    added = new_tiles(600, FLAT[32 * 600 : 32 * 601], store.__getitem__)
    assert set(added) == {"tile/0/002.p/89"}
    filled = new_tiles(600, FLAT[32 * 600 : 32 * 768], store.__getitem__)
    assert set(filled) == {"tile/0/002", "tile/1/000.p/3"}


def test_only_partial_tiles_are_read() -> None:
    new_tiles(512, FLAT[:32], _no_tile)
    with pytest.raises(AssertionError, match=r"tile/1/000\.p/2"):
        new_tiles(512, FLAT[: 32 * 256], _no_tile)


@pytest.mark.parametrize("width", [0, 32 * 99, 32 * 101, 32 * 100 - 1])
def test_tile_of_another_width_is_refused(width: int) -> None:
    with pytest.raises(ProofError, match=rf"^tile tile/0/000\.p/100 has {width} bytes, must have 3200$"):
        new_tiles(100, FLAT[:32], lambda path: FLAT[:width])
    with pytest.raises(ProofError, match=rf"^tile tile/0/000\.p/100 has {width} bytes, must have 3200$"):
        root_from_tiles(100, lambda path: FLAT[:width])


def test_leaf_hashes_of_another_width_are_refused() -> None:
    with pytest.raises(ProofError, match="flat buffer"):
        new_tiles(0, bytes(33), _no_tile)


def test_changed_tile_changes_the_root() -> None:
    store = _grow(600)
    root = tree_root(FLAT[: 32 * 600])
    for path in ("tile/1/000.p/2", "tile/0/002.p/88"):
        changed = store | {path: bytes((store[path][0] ^ 1,)) + store[path][1:]}
        assert root_from_tiles(600, changed.__getitem__) != root


def test_proofs_are_made_from_tiles_and_each_is_read_once() -> None:
    store, asked = _grow(66_000), []

    def read(path: str) -> bytes:
        asked.append(path)
        return store[path]

    tree = TileTree(66_000, read)
    for index in (0, 255, 256, 40_000, 65_535, 65_999):
        assert inclusion_path_cached(66_000, index, tree.node) == inclusion_path(FLAT, index)
    assert tree.root() == tree_root(FLAT)
    assert len(asked) == len(set(asked))
    assert TILE_BYTES == 8192
