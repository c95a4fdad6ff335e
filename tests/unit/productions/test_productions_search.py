import struct
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import RecordNotAsSealed
from scelle.formats.index import sort_key
from scelle.formats.tokens import TIME_MAX, TIME_MIN, UNDATED
from scelle.ledger.search import IndexBlock
from scelle.ledger.segments import FRAME_ROWS
from scelle.merkle.hashing import tree_root
from scelle.merkle.proofs import Tree
from scelle.productions.search import RecordHashes, SegmentTree, find_range
from tests.unit.productions.test_productions_plan import segment

TAGS = [bytes([number]) * 16 for number in (1, 2, 255)]
TIMES = st.sampled_from([UNDATED, TIME_MIN, -1, 0, 1, 5, TIME_MAX])


class FakeReader:
    """Give keys and hashes from memory; count the hashes that are read."""

    folder = Path("seg/s0001/0")

    def __init__(self, keys: list[bytes], hashes: bytes = b"") -> None:
        self.manifest = segment(records=len(keys), seq=(0, len(keys)))
        self.keys, self.data = keys, hashes
        self.hashes_read = 0

    def index_frame(self, dimension: int, number: int) -> bytes:
        assert dimension == 2
        return b"".join(self.keys[number * FRAME_ROWS : (number + 1) * FRAME_ROWS])

    def hashes(self, start: int, stop: int) -> bytes:
        self.hashes_read += stop - start
        return self.data[32 * start : 32 * stop]


@given(
    entries=st.lists(st.tuples(st.sampled_from(TAGS), TIMES), min_size=1, max_size=30),
    tag=st.sampled_from([*TAGS, bytes(16), b"\1" * 15 + b"\2", b"\xff" * 15 + b"\xfe"]),
    low=TIMES,
    high=st.sampled_from([-1, 0, 1, 6, TIME_MAX, TIME_MAX + 1]),
    erased=st.sets(st.integers(0, 29)),
)
def test_a_range_is_what_a_naive_reader_finds(
    entries: list[tuple[bytes, int]], tag: bytes, low: int, high: int, erased: set[int]
) -> None:
    count = len(entries)
    keys = sorted(each + sort_key(time, seq) for seq, (each, time) in enumerate(entries))
    living = [place for place in range(count) if place not in erased]
    hits = [
        place
        for place in living
        if keys[place][:16] == tag and low <= struct.unpack(">Q", keys[place][16:24])[0] - 2**63 < high
    ]
    block = IndexBlock(FakeReader(keys), 2, {count + place for place in erased if place < count} | {0})  # type: ignore[arg-type]
    found = find_range(block, tag, (low, high))

    assert [block.position(rank) - count for rank in range(found.lo, found.hi)] == hits
    before = [place for place in living if keys[place] < tag + sort_key(low, -(2**63))]
    assert found.has_left == bool(before)
    assert found.first - count == (before[-1] + 1 if before else 0)
    if low < high:
        after = [place for place in living if place > max(before, default=-1) and place not in hits]
        assert found.has_right == bool(after)
        assert found.stop - count == (after[0] if after else count)


def test_keys_beyond_one_frame_are_found() -> None:
    keys = [TAGS[0] + sort_key(number, number) for number in range(10 * FRAME_ROWS + 3)]
    block = IndexBlock(FakeReader(keys), 2, set())  # type: ignore[arg-type]
    assert [block.key(rank) for rank in (0, FRAME_ROWS - 1, FRAME_ROWS, FRAME_ROWS + 2)] == [
        keys[0], keys[FRAME_ROWS - 1], keys[FRAME_ROWS], keys[FRAME_ROWS + 2],
    ]  # fmt: skip
    assert block.first_at_least(keys[FRAME_ROWS + 1]) == FRAME_ROWS + 1
    assert [block.key(number * FRAME_ROWS) for number in range(11)] == keys[::FRAME_ROWS]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700, 1025])
def test_a_tree_in_a_file_proves_what_a_tree_in_memory_does(size: int) -> None:
    flat = b"".join(sha256(bytes([number % 256, number // 256])).digest() for number in range(size))
    reader = FakeReader([bytes(32)], hashes=bytes(32) * 3 + flat)
    tree = SegmentTree(reader, 3, size, tree_root(flat))  # type: ignore[arg-type]
    whole = Tree(flat)
    for lo in range(0, size, max(1, size // 7)):
        for hi in (lo + 1, (lo + size + 1) // 2, size):
            if lo < hi:
                assert list(tree.range_proof(lo, hi)) == whole.range_proof(lo, hi)
    assert tree.leaves(0, size) == flat


def test_a_tree_with_another_root_is_refused() -> None:
    reader = FakeReader([bytes(32)], hashes=bytes(32 * 300))
    with pytest.raises(RecordNotAsSealed, match="root in the manifest"):
        SegmentTree(reader, 0, 300, bytes(32))  # type: ignore[arg-type]


def many(size: int) -> tuple[bytes, bytes]:
    """Leaf hashes, and the nodes over 256 of them each."""
    flat = b"".join(sha256(number.to_bytes(4, "big")).digest() for number in range(size))
    return flat, b"".join(tree_root(flat[at : at + 8192]) for at in range(0, len(flat) - 8191, 8192))


@pytest.mark.parametrize("size", [256, 1000, 4096, 5000])
def test_with_its_nodes_a_tree_proves_the_same_and_reads_little(size: int) -> None:
    flat, nodes = many(size)
    reader = FakeReader([bytes(32)], hashes=flat)
    tree = SegmentTree(reader, 0, size, tree_root(flat), nodes)  # type: ignore[arg-type]
    assert reader.hashes_read < 256
    whole = Tree(flat)
    assert list(tree.range_proof(size // 2, size // 2 + 3)) == whole.range_proof(size // 2, size // 2 + 3)
    assert list(tree.path(size // 3)) == whole.inclusion_path(size // 3)
    assert reader.hashes_read <= 256 * 6


@pytest.mark.parametrize("size", [1000, 5000])
def test_nodes_that_lead_elsewhere_are_not_believed(size: int) -> None:
    flat, nodes = many(size)
    wrong = bytes([nodes[0] ^ 1]) + nodes[1:]
    tree = SegmentTree(FakeReader([bytes(32)], hashes=flat), 0, size, tree_root(flat), wrong)  # type: ignore[arg-type]
    assert list(tree.range_proof(3, 700)) == Tree(flat).range_proof(3, 700)


@pytest.mark.parametrize("wanted", [1, 100])
def test_few_commitments_and_many_are_the_same(wanted: int) -> None:
    flat, nodes = many(1000)
    reader = FakeReader([bytes(32)] * 1000, hashes=flat)
    reader.manifest = segment(records=1000, seq=(0, 1000), record_root=tree_root(flat))
    records = RecordHashes(reader, nodes, wanted)  # type: ignore[arg-type]
    assert records.commitment(700) == flat[32 * 700 : 32 * 701]
    assert list(records.path(700)) == Tree(flat).inclusion_path(700)
    assert (reader.hashes_read < 1000) is (wanted == 1)
    reader.manifest = segment(records=1000, seq=(0, 1000), record_root=bytes(32))
    with pytest.raises(RecordNotAsSealed):
        RecordHashes(reader, nodes, wanted)  # type: ignore[arg-type]
