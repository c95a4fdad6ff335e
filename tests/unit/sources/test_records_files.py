"""Files as units: which are read, how they grow, what a mark holds, and what is compressed."""

import gzip
import json
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import zstandard

from scelle.errors import (
    ItemChanged,
    ItemUnreadable,
    ItemVanished,
    SourceMissing,
    UnitRewritten,
)
from scelle.sources.interfaces import BadRecord, Batch, Record, Unit
from scelle.sources.records import RecordsSource
from scelle.sources.schema_file import parse_schema_file
from tests.unit.sources.reading_records import (
    PLAIN,
    everything,
    good,
    only_unit,
    schema,
    shown,
    source,
    troubles,
    units,
)


def lines(*numbers: int) -> bytes:
    return b"".join(b'{"id":"%d","ts":"2026-01-08"}\n' % number for number in numbers)


def ids(batches: list[Batch]) -> list[str]:
    return [each.native.decode() for batch in batches for each in batch.records if isinstance(each, Record)]


# --- units


def test_a_folder_gives_its_files_in_byte_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.ndjson", "b/1.jsonl.gz", "a.csv", "Z.JSONL", ".hidden.jsonl", "c.parquet", "d.csv.zst"):
        (tmp_path / name).write_bytes(b"")
    found = units(source(tmp_path))
    assert [unit.native for unit in found] == [
        b".hidden.jsonl", b"Z.JSONL", b"a.csv", b"b/1.jsonl.gz", b"b/2.ndjson", b"c.parquet", b"d.csv.zst",
    ]  # fmt: skip
    assert {unit.members for unit in found} == {("posts",)}


def test_what_is_no_file_of_rows_is_a_trouble(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "rows.parquet.gz").write_text("x")
    (tmp_path / "rows.json").write_text("x")
    (tmp_path / "link.jsonl").symlink_to("notes.txt")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert troubles(source(tmp_path)) == {
        b"notes.txt": "format-unknown", b"rows.parquet.gz": "format-unknown", b"rows.json": "format-unknown",
        b"link.jsonl": "symbolic-link", b"pipe.jsonl": "fifo",
    }  # fmt: skip


def test_a_declared_format_holds_for_every_name(tmp_path: Path) -> None:
    (tmp_path / "part-0000").write_bytes(lines(1))
    (tmp_path / "part-0001.gz").write_bytes(gzip.compress(lines(2)))
    read = source(tmp_path, schema(roles=PLAIN + 'format = "jsonl"\n'))
    assert [each.native for each in good(read)] == [b"1", b"2"]


def test_one_file_is_a_source_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(1))
    (tmp_path / "b.jsonl").write_bytes(lines(2))
    assert [unit.native for unit in units(source(tmp_path / "a.jsonl"))] == [b"a.jsonl"]


def test_a_pattern_takes_what_it_matches(tmp_path: Path) -> None:
    for name in ("logs/a/1.jsonl", "logs/b/2.jsonl", "logs/b/2.txt", "logs/3.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(lines(1))
    read = source(tmp_path / "logs" / "*" / "*.jsonl")
    assert [unit.native for unit in units(read)] == [b"a/1.jsonl", b"b/2.jsonl"]
    assert troubles(read) == {}
    assert [unit.native for unit in units(source(tmp_path / "logs" / "**" / "[13].jsonl"))] == [
        b"3.jsonl", b"a/1.jsonl",
    ]  # fmt: skip
    assert len(everything(read)) == 2


def test_something_with_the_very_name_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "[1].jsonl").write_bytes(lines(7))
    assert ids(list(source(tmp_path / "[1].jsonl").read(only_unit(source(tmp_path / "[1].jsonl")), b""))) == [
        "7"
    ]


def test_a_name_that_is_no_utf8_is_kept_in_native_and_escaped_in_origin(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jsonl"
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b'{"a":"1"}\n')
    (record,) = good(source(tmp_path))
    assert record.native == b"caf\xe9.jsonl#0"
    assert shown(record)["native_id"] == ("s", "caf%E9.jsonl#0")
    assert json.loads(shown(record)["origin"][1])["file"] == "caf%E9.jsonl"


def test_a_root_that_is_missing_is_an_error_of_the_source(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        source(tmp_path / "none").test()
    with pytest.raises(SourceMissing):
        source(tmp_path / "none" / "*.jsonl").test()
    source(tmp_path / "*.jsonl").test()


def test_a_stamp_changes_with_the_file_and_is_empty_just_after_a_write(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(1))
    first = only_unit(source(tmp_path)).stamp
    assert first
    assert only_unit(source(tmp_path)).stamp == first
    path.write_bytes(lines(2))
    assert only_unit(source(tmp_path)).stamp != first
    assert only_unit(source(tmp_path, after_ns=0)).stamp == b""
    path.write_bytes(lines(2)[:-1])
    assert only_unit(source(tmp_path)).stamp == b"", "its last line may have no end"


def test_a_file_that_may_not_be_read_is_one_failed_unit(
    open_path: Path, somebody_else: Callable[[], AbstractContextManager[None]]
) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (open_path / name).write_bytes(lines(1))
    (open_path / "a.jsonl").chmod(0)
    with somebody_else():
        read = source(open_path)
        locked, free = units(read)
        assert locked.stamp == b""
        with pytest.raises(ItemUnreadable) as caught:
            list(read.read(locked, b""))
        assert ids(list(read.read(free, b""))) == ["1"]
    assert caught.value.cause == "permission-denied"


def test_the_member_is_the_schema(tmp_path: Path) -> None:
    file = schema(roles=PLAIN + "profile = 0\n")
    (member,) = source(tmp_path, file).members()
    assert (member.name, member.profile) == ("posts", 0)
    assert member.schema.dimensions == ("source", "account", "native", "model")
    assert "time: ts" in member.notes


def test_the_clock_is_the_systems_unless_given(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(1))
    os.utime(tmp_path / "a.jsonl", ns=(0, time.time_ns() - 10 * 10**9))
    assert only_unit(RecordsSource(os.fsencode(tmp_path), "posts", schema(), None)).stamp


# --- growing


def test_a_file_that_grows_is_read_on_behind_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(1, 2))
    read = source(tmp_path)
    (batch,) = read.read(only_unit(read), b"")
    assert 0 < len(batch.mark) < 1024
    assert list(read.read(only_unit(read), batch.mark)) == []
    with path.open("ab") as file:
        file.write(b"\n" + lines(3))
    (more,) = read.read(only_unit(read), batch.mark)
    (record,) = more.records
    assert isinstance(record, Record)
    assert shown(record)["origin"] == ("j", b'{"byte":%d,"file":"a.jsonl","line":4}' % (len(lines(1, 2)) + 1))


def test_a_truncated_last_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    whole = lines(1, 2)
    for cut in range(len(lines(1)) + 1, len(whole) - 1):
        path.write_bytes(whole[:cut])
        read = source(tmp_path)
        unit = only_unit(read)
        batches = list(read.read(unit, b""))
        assert ids(batches) == ["1"], cut
        left = cut - len(lines(1))
        assert read.waiting(unit) == (
            f"file a.jsonl: {left} bytes from byte {len(lines(1))}, line 2, wait for their end"
        )
    path.write_bytes(whole)
    (more,) = read.read(unit, batches[-1].mark)
    assert ids([more]) == ["2"]
    assert read.waiting(unit) is None


def test_a_character_cut_in_two_waits(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(1) + '{"id":"é'.encode()[:-1])
    read = source(tmp_path)
    assert ids(list(read.read(only_unit(read), b""))) == ["1"]
    assert read.waiting(only_unit(read)) is not None


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_whole_object_without_its_line_end_is_taken_and_its_end_is_no_row(
    tmp_path: Path, end: bytes
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(1) + lines(2)[:-1])
    read = source(tmp_path)
    *_, batch = read.read(only_unit(read), b"")
    assert ids([batch]) == ["2"]
    assert read.waiting(only_unit(read)) is None
    assert list(read.read(only_unit(read), batch.mark)) == []
    path.write_bytes(lines(1) + lines(2)[:-1] + end + lines(3))
    (more,) = read.read(only_unit(read), batch.mark)
    (record,) = more.records
    assert isinstance(record, Record)
    assert json.loads(shown(record)["origin"][1]) == {
        "byte": len(lines(1, 2)) - 1 + len(end), "file": "a.jsonl", "line": 3,
    }  # fmt: skip


def test_a_taken_last_line_that_goes_on_is_a_rewritten_unit(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id\n1\n12")
    read = source(tmp_path)
    (batch,) = read.read(only_unit(read), b"")
    assert ids([batch]) == ["1", "12"]
    path.write_bytes(b"id\n1\n1234\n")
    with pytest.raises(UnitRewritten):
        next(iter(read.read(only_unit(read), batch.mark)))


@pytest.mark.parametrize("now", [lines(9, 2), lines(1), b"", lines(1)[:-1], lines(1)[:-1] + b" " + lines(2)])
def test_what_was_rewritten_is_read_from_its_start(tmp_path: Path, now: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(1, 2))
    read = source(tmp_path)
    (batch,) = read.read(only_unit(read), b"")
    path.write_bytes(now)
    with pytest.raises(UnitRewritten):
        next(iter(read.read(only_unit(read), batch.mark)))
    list(read.read(only_unit(read), b""))


def test_batches_are_small_and_every_mark_leads_on(tmp_path: Path) -> None:
    count = 20_000
    (tmp_path / "a.jsonl").write_bytes(b"".join(b'{"id":"%d"}\n' % number for number in range(count)))
    read = source(tmp_path)
    unit = only_unit(read)
    batches = list(read.read(unit, b""))
    assert max(len(batch.records) for batch in batches) <= 8192
    assert ids(batches) == [str(number) for number in range(count)]
    for place, batch in enumerate(batches):
        assert ids(list(read.read(unit, batch.mark))) == ids(batches[place + 1 :])


def test_a_batch_of_large_lines_stays_near_8_mib(tmp_path: Path) -> None:
    line = json.dumps({"id": "1", "a": "x" * 3_000_000}).encode() + b"\n"
    (tmp_path / "a.jsonl").write_bytes(line * 6)
    read = source(tmp_path)
    sizes = [sum(each.size_bytes for each in batch.records if isinstance(each, Record))
             for batch in read.read(only_unit(read), b"")]  # fmt: skip
    assert sum(sizes) == 6 * (len(line) - 1)
    assert max(sizes) <= 8 << 20


def test_a_file_that_is_cut_while_it_is_read_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(*range(100_000)))
    read = source(tmp_path)
    batches = read.read(only_unit(read), b"")
    next(batches)
    os.truncate(path, 10)
    with pytest.raises(ItemChanged):
        list(batches)


def test_a_file_that_is_written_to_in_place_has_changed_and_one_that_grows_has_not(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(1, 2))
    read = source(tmp_path)
    batches = read.read(only_unit(read), b"")
    next(batches)
    with path.open("ab") as file:
        file.write(lines(3))
    assert list(batches) == [], "what is appended belongs to the next pass"
    batches = read.read(only_unit(read), b"")
    next(batches)
    with path.open("r+b") as file:
        file.write(b" ")
    with pytest.raises(ItemChanged):
        list(batches)


def test_a_file_that_is_gone_has_vanished(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(1))
    read = source(tmp_path)
    unit = only_unit(read)
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(ItemVanished):
        list(read.read(unit, b""))


# --- compressed


def packed(name: str, data: bytes) -> bytes:
    return gzip.compress(data) if name.endswith(".gz") else zstandard.ZstdCompressor().compress(data)


COMPRESSED = pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])


@COMPRESSED
def test_compressed_files_are_read_with_offsets_of_what_they_hold(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(packed(name, lines(1)) + packed(name, lines(2, 3)))
    read = source(tmp_path)
    (batch,) = read.read(only_unit(read), b"")
    assert ids([batch]) == ["1", "2", "3"]
    last = batch.records[-1]
    assert isinstance(last, Record)
    assert json.loads(shown(last)["origin"][1])["byte"] == len(lines(1, 2))
    assert only_unit(read).stamp


@COMPRESSED
def test_a_compressed_file_that_grows_by_a_member_is_read_on(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(packed(name, lines(1)))
    read = source(tmp_path)
    (batch,) = read.read(only_unit(read), b"")
    path.write_bytes(packed(name, lines(1)) + packed(name, lines(2)))
    assert ids(list(read.read(only_unit(read), batch.mark))) == ["2"]


@COMPRESSED
def test_of_a_cut_stream_what_is_complete_is_offered(tmp_path: Path, name: str) -> None:
    rows = b"".join(b'{"id":"%d","x":"%b"}\n' % (n, os.urandom(300).hex().encode()) for n in range(3000))
    whole = packed(name, rows)
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    read = source(tmp_path)
    batches = list(read.read(only_unit(read), b""))
    found = ids(batches)
    assert 100 < len(found) < 3000
    assert found == [str(number) for number in range(len(found))]
    assert read.waiting(only_unit(read)) is not None
    (tmp_path / name).write_bytes(whole)
    rest = ids(list(read.read(only_unit(read), batches[-1].mark)))
    assert found + rest == [str(number) for number in range(3000)]


@COMPRESSED
def test_a_damaged_stream_is_an_error_of_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(packed(name, lines(1)) + b"this is no member")
    read = source(tmp_path)
    with pytest.raises(ItemUnreadable) as caught:
        list(read.read(only_unit(read), b""))
    assert caught.value.cause == "compression-damaged"


def test_zero_bytes_behind_a_gzip_member_are_padding(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress(lines(1)) + b"\0" * 500 + gzip.compress(lines(2)) + b"\0"
    )
    read = source(tmp_path)
    assert ids(list(read.read(only_unit(read), b""))) == ["1", "2"]
    assert read.waiting(only_unit(read)) is None


@pytest.mark.parametrize("name", ["bomb.jsonl.gz", "bomb.jsonl.zst"])
def test_a_bomb_is_one_line_that_is_too_long(tmp_path: Path, name: str) -> None:
    zeros = b"\0" * (8 << 20)
    if name.endswith(".gz"):
        with gzip.open(tmp_path / name, "wb", compresslevel=6) as file:
            for _ in range(16):
                file.write(zeros)
            file.write(b"\n" + lines(2))
    else:
        with (tmp_path / name).open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as out:
            for _ in range(16):
                out.write(zeros)
            out.write(b"\n" + lines(2))
    fault, last = everything(source(tmp_path))
    assert isinstance(fault, BadRecord)
    assert fault.cause == "line-too-long"
    assert isinstance(last, Record)


def test_a_csv_is_read_compressed_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv.zst").write_bytes(packed("zst", b"id,a\n1,x\n2,y\n"))
    read = source(tmp_path)
    assert [each.native for each in good(read)] == [b"1", b"2"]
    assert only_unit(read).stamp
    assert only_unit(source(tmp_path, after_ns=5 * 10**9)).stamp == b"", "it may still end in half a row"


def test_a_cut_csv_never_gives_its_last_row(tmp_path: Path) -> None:
    whole = gzip.compress(
        b"id,a\n" + b"".join(b"%d,%b\n" % (n, os.urandom(99).hex().encode()) for n in range(999))
    )
    (tmp_path / "a.csv.gz").write_bytes(whole[:-200])
    read = source(tmp_path)
    assert all(each.version.count(b",") == 1 and len(each.version) >= 200 for each in good(read))
    assert read.waiting(only_unit(read)) is not None


def test_schemas_of_two_sources_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(1))
    other = parse_schema_file('[schema]\nname = "other"\n')
    (record,) = good(source(tmp_path, other))
    assert record.member == "other"
    assert isinstance(next(iter(source(tmp_path, other).units())), Unit)
