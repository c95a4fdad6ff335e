import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import RecordNotAsSealed, SegmentDamaged
from scelle.formats.index import sort_key
from scelle.formats.tokens import TIME_MAX, TIME_MIN, UNDATED
from scelle.ledger.segments import FRAME_ROWS, Row
from scelle.merkle.hashing import tree_root
from scelle.merkle.proofs import Tree
from scelle.productions.search import IndexBlock, Rows, SegmentTree, find_range
from tests.unit.productions.test_productions_plan import segment

TAGS = [bytes([number]) * 16 for number in (1, 2, 255)]
TIMES = st.sampled_from([UNDATED, TIME_MIN, -1, 0, 1, 5, TIME_MAX])


class FakeReader:
    """Give keys, rows and hashes from memory; count what was decoded."""

    folder = Path("seg/s0001/0")

    def __init__(
        self, keys: list[bytes], frames: list[int] | None = None, hashes: bytes = b"", first: int = 0
    ) -> None:
        frames = frames or []
        records = len(keys) or sum(frames)
        self.manifest = segment(records=records, seq=(first, first + records))
        self.keys, self.frames, self.data, self.first = keys, frames, hashes, first
        self.decoded: list[int] = []

    def index_frame(self, dimension: int, number: int) -> bytes:
        assert dimension == 2
        return b"".join(self.keys[number * FRAME_ROWS : (number + 1) * FRAME_ROWS])

    @property
    def row_frames(self) -> int:
        return len(self.frames)

    def frame_rows(self, number: int) -> list[Row]:
        self.decoded.append(number)
        start = self.first + sum(self.frames[:number])
        return [Row(start + place, bytes(32), b"", b"") for place in range(self.frames[number])]

    def hashes(self, start: int, stop: int) -> bytes:
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


@given(
    frames=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    first=st.integers(0, 1000),
    data=st.data(),
)
def test_rows_are_found_and_frames_rarely_decoded_twice(frames: list[int], first: int, data: Any) -> None:
    reader = FakeReader([], frames, first=first)
    wanted = sorted(data.draw(st.lists(st.integers(first, first + sum(frames) - 1), max_size=60)))
    rows = Rows(reader)  # type: ignore[arg-type]

    assert [rows.row(seq).seq for seq in wanted] == wanted
    assert len(reader.decoded) <= len(frames) + len(set(wanted))


def test_few_rows_of_many_even_frames_cost_few_frames() -> None:
    reader = FakeReader([], [10] * 1000)
    rows = Rows(reader)  # type: ignore[arg-type]
    assert [rows.row(seq).seq for seq in (3, 4, 5000, 9999)] == [3, 4, 5000, 9999]
    assert reader.decoded == [0, 500, 999]


@pytest.mark.parametrize("seq", [-1, 30])
def test_a_row_that_is_not_there_is_an_error(seq: int) -> None:
    rows = Rows(FakeReader([], [10, 10, 10]))  # type: ignore[arg-type]
    with pytest.raises(SegmentDamaged, match=f"no row with sequence number {seq}"):
        rows.row(seq)


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
