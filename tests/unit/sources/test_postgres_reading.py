"""Pieces, throttles, and rows without a server."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import FormatError
from scelle.formats.values import decode_value
from scelle.sources.interfaces import PIECE_BYTES, BadRecord, Record
from scelle.sources.postgres.catalog import Column, Leaf, Table
from scelle.sources.postgres.rows import LeftOut, Place, RowReader, in_pieces
from scelle.sources.postgres.shapes import shape_of
from scelle.sources.postgres.throttle import Throttle


def column(number: int, name: str, base: str = "text", length: int = -1, modifier: int = -1) -> Column:
    return Column(number, name, base, base, length, modifier, False, None, None, None)


def table(*columns: Column, key: tuple[int, ...] = ()) -> Table:
    return Table(77, "public", "posts", False, 0, columns, key, (Leaf(77, "public.posts"),))


def reader_of(described: Table, opened: list[tuple[Place, LeftOut]] | None = None) -> RowReader:
    def open_value(where: Place, out: LeftOut) -> Iterator[bytes]:
        assert opened is not None
        opened.append((where, out))
        return iter(())

    shape = shape_of(described, None, encoding="UTF8", holder=None)
    return RowReader(shape, "2026/snap", 5, None, "", lambda where, out: lambda: open_value(where, out))


def test_a_line_becomes_a_record() -> None:
    described = table(column(1, "id", "int4", 4), column(2, "user_id"), column(3, "ts", "date", 4), key=(1,))
    record = reader_of(described).record(b"77\t(0,9)\t4\tu\\t1\t1970-01-02\t")
    assert isinstance(record, Record)
    assert record[:4] == ("public.posts", b"public.posts[4]", 86_400_000_000, "account:u\t1")
    values = [decode_value(value)[1] for value in record.values]
    assert values == [
        "account:u\t1", "[4]", 4, "u\t1", "1970-01-02", None, b'{"snapshot":"2026/snap","table":"public.posts"}'
    ]  # fmt: skip
    assert record.version == b"4\tu\\t1\t1970-01-02\t"


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"77\t(0,1)\tx", "row-misread"),
        (b"77\t(0,1)\tx\tnot a number\t", "value-wrong"),
        (b"77\t(0,1)\t\xff\t1\t", "not-utf8"),
        (b"77\t(0,1)\t" + b"x" * 70_000 + b"\t1\t", "identifier-too-long"),
        (b"77\t(0,1)\t\\N\t1\t0:99999999:00", "identifier-too-long"),
    ],
)
def test_a_line_that_fits_no_record_is_named(line: bytes, cause: str) -> None:
    bad = reader_of(table(column(1, "account"), column(2, "n", "int8", 8))).record(line)
    assert isinstance(bad, BadRecord)
    assert bad.cause == cause
    assert bad.place.startswith("public.posts")


def test_a_value_left_out_for_its_size_is_opened_where_the_row_lies() -> None:
    opened: list[tuple[Place, LeftOut]] = []
    described = table(column(1, "pic", "bytea"), column(2, "body"))
    record = reader_of(described, opened).record(
        b"77\t(3,4)\t\\N\t\\N\t0:2000000:" + b"ab" * 32 + b" 1:17000000:" + b"cd" * 32
    )
    assert isinstance(record, Record)
    assert [(content.field, content.document.size_bytes) for content in record.contents] == [
        (4, 2_000_000),
        (6, 17_000_000),
    ]
    assert b'"raw":[["body",17000000]]' in record.values[-1]
    for content in record.contents:
        assert content.document.stream is not None
        assert list(content.document.stream()) == []
    assert [(where, out.column) for where, out in opened] == [
        (Place(77, "(3,4)"), 0),
        (Place(77, "(3,4)"), 1),
    ]


def test_columns_that_cannot_be_large_need_no_field_for_it() -> None:
    small = table(column(1, "a", "varchar", -1, 200), column(2, "b", "numeric"), column(3, "c", "int4", 4))
    assert [each.name for each in shape_of(small, None, encoding="UTF8", holder=None).member.schema.fields][
        -2:
    ] == ["c", "origin"]
    wide = table(column(1, "a", "varchar", -1, 10_000_000))
    assert shape_of(wide, None, encoding="UTF8", holder=None).large == 5


def test_too_wide_a_table_is_refused() -> None:
    wide = table(*(column(number, f"{number:04}{'n' * 59}") for number in range(1, 1601)))
    with pytest.raises(FormatError):
        shape_of(wide, None, encoding="UTF8", holder=None)
    sql = shape_of(table(*wide.columns[:500]), None, encoding="UTF8", holder=None).copy_sql
    assert sql.count("concat_ws(") > 5  # a function takes 100 arguments


def test_names_that_are_taken_are_marked_until_they_are_free() -> None:
    names = ["time", "source.time", "raw", "seq", "source.raw"]
    shape = shape_of(
        table(*(column(at, name) for at, name in enumerate(names, 1))), None, encoding="UTF8", holder=None
    )
    fields = [field.name for field in shape.member.schema.fields]
    assert fields[4:9] == [
        "source.source.time",
        "source.time",
        "source.source.raw",
        "source.seq",
        "source.raw",
    ]


@given(st.lists(st.integers(0, 3 * PIECE_BYTES), max_size=5))
def test_pieces_are_of_one_size(sizes: list[int]) -> None:
    parts = [bytes([number]) * size for number, size in enumerate(sizes)]
    pieces = list(in_pieces(parts))
    assert b"".join(pieces) == b"".join(parts)
    assert all(len(piece) == PIECE_BYTES for piece in pieces[:-1])
    assert all(pieces)


def test_a_throttle_keeps_the_mean_and_forgives_a_second() -> None:
    now, waits = [0.0], []

    def wait(seconds: float) -> None:
        waits.append(round(seconds, 3))
        now[0] += seconds

    throttle = Throttle(1000, lambda: now[0], wait)
    throttle.spend(500)
    throttle.spend(500)
    now[0] += 10
    throttle.spend(1500)
    assert waits == [0.5, 0.5, 0.5]
    Throttle(None, lambda: 0.0, wait).spend(10**12)
    assert len(waits) == 3
