from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scelle.errors import SegmentDamaged
from scelle.formats.index import sort_key
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.tokens import TIME_MAX, TIME_MIN, UNDATED
from scelle.formats.values import NULL, text_value
from scelle.ledger import search, segments
from scelle.ledger.rows import Row
from scelle.ledger.search import IndexBlock, RowFrame, frames_of, rows_of
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedgerWriter
from tests.unit.find.records import KEY, START_US

TAGS = [bytes([number]) * 16 for number in (1, 2, 255)]
TIMES = st.sampled_from([UNDATED, TIME_MIN, -1, 0, 1, 5, TIME_MAX])


class KeysOnly:
    """Give the sorted keys of one dimension from memory, in frames of four."""

    def __init__(self, keys: list[bytes]) -> None:
        self.keys = keys
        self.manifest = type("Manifest", (), {"records": len(keys)})

    def index_frame(self, ordinal: int, number: int) -> bytes:
        assert ordinal == 2
        return b"".join(self.keys[number * 4 : (number + 1) * 4])


@given(
    entries=st.lists(st.tuples(st.sampled_from(TAGS), TIMES), min_size=1, max_size=30),
    tag=st.sampled_from([*TAGS, bytes(16), b"\1" * 15 + b"\2", b"\xff" * 15 + b"\xfe"]),
    low=TIMES,
    high=st.sampled_from([-1, 0, 1, 6, TIME_MAX, TIME_MAX + 1]),
    gone=st.sets(st.integers(0, 29)),
)
def test_a_range_is_what_a_naive_reader_finds(
    entries: list[tuple[bytes, int]], tag: bytes, low: int, high: int, gone: set[int]
) -> None:
    sealed = sorted((each + sort_key(time, seq), each, time, seq) for seq, (each, time) in enumerate(entries))
    keys = [key for key, *_ in sealed]
    hidden = {place for place in gone if place < len(keys)}
    for place in hidden:
        keys[place] = bytes(32)  # nothing of an erased entry is looked at
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "FRAME_ROWS", 4)
        block = IndexBlock(KeysOnly(keys), 2, {len(keys) + place for place in hidden} | {0})  # type: ignore[arg-type]
        lo, hi = block.ranks(tag, low, high)
        found = block.seqs(lo, hi)
    expected = [
        seq
        for place, (_, each, time, seq) in enumerate(sealed)
        if place not in hidden and each == tag and low <= time < high
    ]
    assert found == expected
    assert hi - lo == len(expected)


@pytest.fixture(scope="module", params=["full", "uneven"])
def reader(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SegmentReader]:
    """A second segment of 100 rows: in frames of seven and a last one, or of whatever a pass flushed."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (segments, search):
            patch.setattr(module, "FRAME_ROWS", 7)
        patch.setattr(segments, "ROW_FRAME_ROWS", 7)
        ledger = OrderLedgerWriter.create(
            tmp_path_factory.mktemp("search"), "o1", "platform.example", KEY, authority=None, now_us=START_US
        )
        for segment in range(2):
            for number in range(100):
                writer = ledger.writer("s0001", DOCUMENT_V1, START_US)
                values = [NULL, text_value(f"{segment} {number}"), *[NULL] * 5]
                writer.append(bytes([number]) * 32, number, values, b"side" * (number % 3))
                if request.param == "uneven" and number % 37 in (3, 4, 20):
                    ledger.flush()
            ledger.seal(START_US + segment + 1)
        reader = ledger.segment([manifest for _, manifest in ledger.manifests()][1])
        yield reader
        reader.close()
        ledger.close()


@settings(deadline=None, max_examples=60)
@given(wanted=st.sets(st.integers(100, 199)))
def test_rows_are_those_asked_for(reader: SegmentReader, wanted: set[int]) -> None:
    expected = [row for row in reader.rows() if row.seq in wanted]
    assert list(rows_of(reader, sorted(wanted))) == expected


def test_all_frames_hold_all_rows(reader: SegmentReader) -> None:
    seq, found = 100, list[Row]()
    for frame in frames_of(reader):
        assert frame.seq == seq
        found += rows_in(frame)
        seq = found[-1].seq + 1
    assert found == list(reader.rows())


@pytest.mark.parametrize("seq", [99, 200])
def test_a_row_that_is_not_there_is_an_error(reader: SegmentReader, seq: int) -> None:
    with pytest.raises(SegmentDamaged, match=f"no row with sequence number {seq}"):
        list(rows_of(reader, [seq]))


def test_a_row_in_anothers_place_is_an_error(reader: SegmentReader) -> None:
    frame = RowFrame(reader, 0)
    with pytest.raises(SegmentDamaged, match="row 100 stands where 101 belongs"):
        frame.row(101, next(frame.spans()))


def test_a_frame_that_is_cut_is_an_error(reader: SegmentReader) -> None:
    frame = RowFrame(reader, 0)
    frame.plain = frame.plain[:-1]
    with pytest.raises(SegmentDamaged):
        rows_in(frame)


def rows_in(frame: RowFrame) -> list[Row]:
    return [frame.row(seq, span) for seq, span in enumerate(frame.spans(), frame.seq)]


def test_few_rows_cost_few_frames(reader: SegmentReader, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    begin = RowFrame.__init__

    def noting(frame: RowFrame, reader: SegmentReader, number: int) -> None:
        read.append(number)
        begin(frame, reader, number)

    monkeypatch.setattr(RowFrame, "__init__", noting)
    list(rows_of(reader, [103, 104, 150, 199]))
    assert len(read) <= 8 < reader.row_frames
