"""Segments of many records against a model that follows ledger.md §2-3 record by record."""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scelle.errors import FormatError, SegmentDamaged
from scelle.formats.entries import Segment
from scelle.formats.index import index_leaf, sort_key, tag
from scelle.formats.records import record_commitment
from scelle.formats.schema import Field, Schema
from scelle.formats.tokens import INT64_MAX, INT64_MIN, UNDATED
from scelle.formats.values import NULL, integer_value, text_value, time_value
from scelle.ledger import segments
from scelle.ledger.frames import FramePlace, FrameReader
from scelle.ledger.rows import Row
from scelle.ledger.segments import FRAME_ROWS, SegmentHead, SegmentReader, SegmentWriter
from scelle.merkle.hashing import tree_root
from scelle.vault.durable import Step, observed
from scelle.vault.keys import VaultKey

ORIGIN = "platform.example/po/o1"
TAG_KEY = bytes(range(32))
SCHEMA = Schema(
    "test.posts",
    1,
    ("source", "account", "model"),
    (
        Field("time", "t"),
        Field("seq", "i"),
        Field("account", "s"),
        Field("model", "s"),
        Field("text", "s"),
        Field("tokens", "i"),
    ),
)
PEAK_BYTES = 300_000_000
Given = tuple[bytes, int, list[bytes], bytes]


def records(count: int, seed: int = 1) -> list[Given]:
    """Make records in no order of time, some undated, of few accounts and one that is null."""
    drawn = random.Random(seed)
    times = [UNDATED, INT64_MIN + 1, -1, 0, INT64_MAX, *range(10**15, 10**15 + 40)]
    return [
        (
            drawn.randbytes(32),
            drawn.choice(times),
            [
                NULL if drawn.random() < 0.1 else text_value(f"account:é{drawn.randrange(count // 7 + 1)}"),
                text_value(f"model-{drawn.randrange(3)}"),
                text_value("word " * drawn.randrange(9)),
                integer_value(drawn.randrange(1000)),
            ],
            drawn.randbytes(drawn.randrange(3)),
        )
        for _ in range(count)
    ]


def start(
    parent: Path, vault_key: VaultKey, *, profile: int = 1, seq_lo: int = 0, schema: Schema = SCHEMA
) -> SegmentWriter:
    head = SegmentHead(schema.digest.hex(), profile, seq_lo, 5, 5)
    return SegmentWriter.start(
        parent,
        origin=ORIGIN,
        alias="s0001/2",
        number=4,
        head=head,
        schema=schema,
        tag_key=TAG_KEY,
        vault_key=vault_key,
    )


def resume(parent: Path, vault_key: VaultKey) -> SegmentWriter:
    return SegmentWriter.resume(
        parent / "4.open",
        origin=ORIGIN,
        alias="s0001/2",
        number=4,
        schema=SCHEMA,
        tag_key=TAG_KEY,
        vault_key=vault_key,
    )


def close(writer: SegmentWriter) -> Segment:
    return writer.close(order="o1", watermark_to=9, previous=None, anchor=None)


def seal(writer: SegmentWriter, given: Sequence[Given]) -> Segment:
    for record_key, time_us, rest, side in given:
        writer.append(record_key, time_us, rest, side)
    return close(writer)


def opened(parent: Path, vault_key: VaultKey, manifest: Segment) -> SegmentReader:
    return SegmentReader(parent / "4", origin=ORIGIN, manifest=manifest, schema=SCHEMA, vault_key=vault_key)


class Model:
    """What a segment must hold, made record by record."""

    def __init__(self, given: Sequence[Given], profile: int, seq_lo: int) -> None:
        self.rows = [
            Row(seq, key, b"".join([time_value(time_us), integer_value(seq), *rest]), side)
            for seq, (key, time_us, rest, side) in enumerate(given, seq_lo)
        ]
        commitments = [
            record_commitment(profile, row.record_key[:16], row.split_values()) for row in self.rows
        ]
        self.commitments = b"".join(commitments)
        self.keys: list[list[bytes]] = []
        leaves: list[bytes] = []
        for dimension, name in enumerate(SCHEMA.dimensions, 1):
            entries = []
            for (key, time_us, rest, _), row, rc in zip(given, self.rows, commitments, strict=True):
                identifier = "s0001/2" if dimension == 1 else rest[dimension - 2][5:].decode() or None
                own = tag(TAG_KEY, name, identifier)
                leaf = index_leaf(dimension, own, key[16:], time_us, row.seq, rc)
                entries.append((own + sort_key(time_us, row.seq), leaf))
            entries.sort()
            self.keys.append([key for key, _ in entries])
            leaves += [leaf for _, leaf in entries]
        self.leaves = b"".join(leaves)


def assert_holds(reader: SegmentReader, model: Model) -> None:
    manifest = reader.manifest
    assert list(reader.rows()) == model.rows
    assert (reader.folder / "tree").read_bytes() == model.commitments + model.leaves
    assert [list(reader.index_keys(dimension)) for dimension in (1, 2, 3)] == model.keys
    assert manifest.record_root == tree_root(model.commitments)
    assert manifest.index_root == tree_root(model.leaves)
    assert (manifest.records, manifest.index_size) == (len(model.rows), 3 * len(model.rows))


@pytest.mark.parametrize("count", [1, 2, 300, FRAME_ROWS, FRAME_ROWS + 1, 2 * FRAME_ROWS + 700])
@pytest.mark.parametrize("profile", [0, 1])
def test_a_segment_is_what_a_model_makes_of_its_records(
    tmp_path: Path, vault_key: VaultKey, profile: int, count: int
) -> None:
    given = records(count)
    manifest = seal(start(tmp_path, vault_key, profile=profile, seq_lo=70_000), given)
    assert_holds(opened(tmp_path, vault_key, manifest), Model(given, profile, 70_000))
    assert manifest.undated == sum(time_us == UNDATED for _, time_us, _, _ in given)
    assert manifest.seq == (70_000, 70_000 + count)
    dated = [time_us for _, time_us, _, _ in given if time_us != UNDATED]
    assert (manifest.time is None) == (not dated)
    if manifest.time is not None:
        assert manifest.time[0] <= min(dated) <= max(dated) <= manifest.time[1]


@pytest.mark.parametrize("profile", [0, 1])
def test_a_resumed_segment_gets_the_same_manifest(tmp_path: Path, vault_key: VaultKey, profile: int) -> None:
    given = records(700)
    whole = seal(start(tmp_path / "whole", vault_key, profile=profile), given)
    writer = start(tmp_path, vault_key, profile=profile)
    for place, (record_key, time_us, rest, side) in enumerate(given):
        writer.append(record_key, time_us, rest, side)
        if place in (0, 250, 600):
            writer.flush()
        if place in (400, 699):  # a crash: what was not flushed is offered again
            writer.abandon()
            writer = resume(tmp_path, vault_key)
            for missing in given[writer.records : place + 1]:
                writer.append(*missing)
    assert close(writer) == whole
    assert_holds(opened(tmp_path, vault_key, whole), Model(given, profile, 0))


def test_a_close_that_crashed_half_way_is_closed_again(tmp_path: Path, vault_key: VaultKey) -> None:
    class Crash(Exception):
        pass

    def crash(step: Step, when: str) -> None:
        if step.operation == "sync" and step.path.name == "tree" and when == "before":
            raise Crash

    given = records(900)
    with observed(crash), pytest.raises(Crash):
        seal(start(tmp_path, vault_key), given)
    manifest = close(resume(tmp_path, vault_key))
    reader = opened(tmp_path, vault_key, manifest)
    assert reader.key_slots == (4, 4)
    assert_holds(reader, Model(given, 1, 0))


def test_index_is_durable_before_the_tree_and_both_before_the_folder_gets_its_number(
    tmp_path: Path, vault_key: VaultKey
) -> None:
    steps: list[tuple[str, str]] = []
    writer = start(tmp_path, vault_key)
    writer.append(*records(1)[0])
    with observed(lambda step, when: steps.append((step.operation, step.path.name))):
        close(writer)
    lasting = [step for step in steps[::2] if step[0] in ("sync", "rename")]
    assert lasting == [
        ("sync", "keys"), ("sync", "rows"), ("sync", "keys"), ("sync", "index"), ("sync", "tree"), ("rename", "4"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: bytes(31)}, "a key of 31 bytes"),
        ({0: bytes(33)}, "a key of 33 bytes"),
        ({1: 2**63}, "over 64 bits"),
        ({1: -(2**63) - 1}, "over 64 bits"),
        ({2: [NULL]}, "1 values"),
        ({3: bytes(65_536)}, "a side of 65536 bytes"),
    ],
    ids=["short-key", "long-key", "late", "early", "few", "side"],
)
def test_a_record_that_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, vault_key: VaultKey, change: dict[int, object], message: str
) -> None:
    given = records(3)
    wrong = [change.get(place, part) for place, part in enumerate(given[0])]
    writer = start(tmp_path, vault_key)
    writer.append(*given[0])
    with pytest.raises(FormatError, match=message):
        writer.append(*wrong)  # type: ignore[arg-type]
    assert (writer.records, writer.next_seq) == (1, 1)
    manifest = seal(writer, given[1:])
    assert_holds(opened(tmp_path, vault_key, manifest), Model(given, 1, 0))


@pytest.mark.parametrize("profile", [0, 1])
def test_records_of_unequal_numbers_of_values_are_committed_as_they_are(
    tmp_path: Path, vault_key: VaultKey, profile: int
) -> None:
    """No schema allows them; whoever verifies is to find them as they were sealed."""
    drawn = random.Random(5)
    given = [
        (key, time_us, (rest * 2)[: drawn.randrange(2, 8)], side) for key, time_us, rest, side in records(80)
    ]
    writer = start(tmp_path, vault_key, profile=profile)
    for record in given[:40]:
        writer.append(*record)
    writer.flush()
    writer.abandon()
    manifest = seal(resume(tmp_path, vault_key), given[40:])
    assert_holds(opened(tmp_path, vault_key, manifest), Model(given, profile, 0))


def test_values_may_be_reused_by_the_caller(tmp_path: Path, vault_key: VaultKey) -> None:
    given = records(50)
    writer, rest = start(tmp_path, vault_key), [NULL] * 4
    for record_key, time_us, own, side in given:
        rest[:] = own
        writer.append(record_key, time_us, rest, side)
    assert_holds(opened(tmp_path, vault_key, close(writer)), Model(given, 1, 0))


def test_full_frames_leave_memory_on_their_own_after_what_they_speak_of(
    tmp_path: Path, vault_key: VaultKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "FRAME_ROWS", 10)
    monkeypatch.setattr(segments, "ROW_FRAME_ROWS", 10)
    monkeypatch.setattr(segments, "FRAME_BYTES", 5000)
    writer = start(tmp_path, vault_key)
    path, seen = tmp_path / "4.open" / "rows", []
    writer.before_frame = lambda: seen.append((writer.records, path.stat().st_size))
    big = text_value("x" * 5000)
    for place, (record_key, time_us, rest, side) in enumerate(records(26)):
        writer.append(record_key, time_us, [*rest[:2], big, rest[3]] if place == 14 else rest, side)
    assert [count for count, _ in seen] == [10, 15, 25]
    assert seen[0][1] == 0 < seen[1][1] < seen[2][1] < path.stat().st_size
    assert [row.seq for row in writer.flushed_rows()] == list(range(25))


def test_many_dimensions_make_a_smaller_segment(tmp_path: Path, vault_key: VaultKey) -> None:
    def limit(dimensions: int) -> int:
        names = ("source", "account", *(f"d{number}" for number in range(dimensions - 2)))
        fields = (Field("time", "t"), Field("seq", "i"), *(Field(name, "s") for name in names[1:]))
        schema = Schema("test.wide", 1, names, fields)
        return start(tmp_path / str(dimensions), vault_key, schema=schema).max_records

    assert limit(2) == limit(8) == segments.MAX_RECORDS
    assert limit(32) * (72 + 31 * 16) <= segments.COLUMNS_MAX_BYTES
    assert limit(32) > 300_000


# --- reading


@pytest.mark.parametrize("flush_at", [(), (1, 2, 3, 40, 41, 500), tuple(range(1, 700, 7))])
def test_every_row_is_found_whatever_its_frames_hold(
    tmp_path: Path, vault_key: VaultKey, monkeypatch: pytest.MonkeyPatch, flush_at: tuple[int, ...]
) -> None:
    monkeypatch.setattr(segments, "FRAME_ROWS", 50)
    monkeypatch.setattr(segments, "ROW_FRAME_ROWS", 50)
    given = records(700)
    writer = start(tmp_path, vault_key, seq_lo=9)
    for place, record in enumerate(given):
        if place in flush_at:
            writer.flush()
        writer.append(*record)
    manifest, model = close(writer), Model(given, 1, 9)
    reader, wanted = opened(tmp_path, vault_key, manifest), list(range(9, 709))
    assert [reader.row(seq) for seq in wanted] == model.rows
    random.Random(2).shuffle(wanted)
    for seq in wanted:
        assert reader.row(seq) == model.rows[seq - 9]
        assert opened(tmp_path, vault_key, manifest).row(seq) == model.rows[seq - 9]
    for seq in (8, 709, -1):
        with pytest.raises(SegmentDamaged, match="no row"):
            reader.row(seq)


def test_as_many_frames_as_full_ones_would_be_need_not_be_full(
    tmp_path: Path, vault_key: VaultKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "FRAME_ROWS", 10)
    monkeypatch.setattr(segments, "ROW_FRAME_ROWS", 10)
    given = records(25)
    writer = start(tmp_path, vault_key)
    for place, record in enumerate(given):
        if place in (7, 16):
            writer.flush()
        writer.append(*record)
    manifest, model = close(writer), Model(given, 1, 0)
    assert opened(tmp_path, vault_key, manifest).row_frames == 3
    for seq in range(25):
        assert opened(tmp_path, vault_key, manifest).row(seq) == model.rows[seq]


def test_few_frames_are_opened_for_a_row(
    tmp_path: Path, vault_key: VaultKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start(tmp_path, vault_key)
    for place, record in enumerate(records(3000)):
        if place % 10 == 0 and place < 2000:  # a hundred rows each behind these
            writer.flush()
        if place % 100 == 0:
            writer.flush()
        writer.append(*record)
    manifest = close(writer)
    opened_frames = []
    stream = FrameReader.stream

    def counted(self: FrameReader, place: FramePlace) -> object:
        opened_frames.append(place.number)
        return stream(self, place)

    monkeypatch.setattr(FrameReader, "stream", counted)
    for seq in (0, 5, 1234, 1999, 2000, 2550, 2999):
        reader = opened(tmp_path, vault_key, manifest)
        assert reader.row_frames == 210
        opened_frames.clear()
        assert reader.row(seq).seq == seq
        assert len(opened_frames) <= 16
        opened_frames.clear()
        assert reader.row(seq).seq == seq
        assert opened_frames == []


def test_hashes_are_read_by_range(tmp_path: Path, vault_key: VaultKey) -> None:
    given = records(40)
    manifest = seal(start(tmp_path, vault_key), given)
    model, reader = Model(given, 1, 0), opened(tmp_path, vault_key, manifest)
    both = model.commitments + model.leaves
    assert reader.hashes(38, 45) == both[32 * 38 : 32 * 45]
    assert (reader.record_hashes(), reader.index_hashes()) == (model.commitments, model.leaves)
    with pytest.raises(SegmentDamaged, match="hashes 159 to 161"):
        reader.hashes(159, 161)
    reader.close()


@pytest.mark.parametrize("size", [0, 32 * 160 - 1, 32 * 160 + 32])
def test_a_tree_of_another_size_is_refused(tmp_path: Path, vault_key: VaultKey, size: int) -> None:
    manifest = seal(start(tmp_path, vault_key), records(40))
    path = tmp_path / "4" / "tree"
    path.write_bytes(path.read_bytes().ljust(size, b"\0")[:size])
    with pytest.raises(SegmentDamaged, match="do not fit the manifest"):
        opened(tmp_path, vault_key, manifest).hashes(0, 1)
    path.unlink()
    with pytest.raises(SegmentDamaged, match="tree is missing"):
        opened(tmp_path, vault_key, manifest).hashes(0, 1)


# --- memory


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_a_million_records_are_sealed_under_300_mb(tmp_path: Path) -> None:
    count, dimensions = 1 << 20, 4
    child = subprocess.run(
        [sys.executable, "-m", "tests.unit.ledger.sealing_child", str(tmp_path), str(count), str(dimensions)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    sealed, peak_bytes = map(int, child.stdout.split())
    assert sealed == count
    assert (tmp_path / "0" / "tree").stat().st_size == 32 * count * (1 + dimensions)
    assert peak_bytes < PEAK_BYTES
