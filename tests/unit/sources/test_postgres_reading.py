"""Pieces, throttles, and rows without a server."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import FormatError, SourceUnreadable
from scelle.formats.values import NULL, decode_value
from scelle.sources.interfaces import PIECE_BYTES, BadRecord, Record
from scelle.sources.postgres.catalog import Column, Leaf, Table
from scelle.sources.postgres.rows import LargeValue, Place, RowReader, in_pieces
from scelle.sources.postgres.shapes import shape_of
from scelle.sources.postgres.throttle import Throttle


def column(number: int, name: str, base: str = "text", length: int = -1, modifier: int = -1) -> Column:
    return Column(number, name, base, base, length, modifier, False, None, None, None)


def table(*columns: Column, key: tuple[int, ...] = ()) -> Table:
    return Table(77, "public", "posts", False, 0, columns, key, (Leaf(77, "public.posts"),))


def reader_of(described: Table, opened: list[tuple[Place, LargeValue]] | None = None) -> RowReader:
    def open_value(where: Place, out: LargeValue) -> Iterator[bytes]:
        assert opened is not None
        opened.append((where, out))
        return iter(())

    shape = shape_of(described, None, encoding="UTF8", holder=None)
    return RowReader(shape, "2026/snap", 5, None, "", lambda where, out: lambda: open_value(where, out))


def test_a_line_becomes_a_record() -> None:
    described = table(column(1, "id", "int4", 4), column(2, "user_id"), column(3, "ts", "date", 4), key=(1,))
    (record,) = reader_of(described).records(b"77\t(0,9)\t4\tu\\t1\t1970-01-02\t\n")
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
    (bad,) = reader_of(table(column(1, "account"), column(2, "n", "int8", 8))).records(line + b"\n")
    assert isinstance(bad, BadRecord)
    assert bad.cause == cause
    assert bad.place.startswith("public.posts")


def test_a_value_left_out_for_its_size_is_opened_where_the_row_lies() -> None:
    opened: list[tuple[Place, LargeValue]] = []
    described = table(column(1, "pic", "bytea"), column(2, "body"))
    (record,) = reader_of(described, opened).records(
        b"77\t(3,4)\t\\N\t\\N\t0:2000000:" + b"ab" * 32 + b" 1:17000000:" + b"cd" * 32 + b"\n"
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
    throttle.spend(500, lambda: None)
    throttle.spend(500, lambda: None)
    now[0] += 10
    throttle.spend(1500, lambda: None)
    assert waits == [0.5, 0.5, 0.5]
    Throttle(None, lambda: 0.0, wait).spend(10**12, lambda: None)
    assert len(waits) == 3


def test_a_throttle_says_how_long_nothing_may_be_read_without_waiting() -> None:
    now = [0.0]
    throttle = Throttle(1000, lambda: now[0], lambda seconds: pytest.fail("nobody waits"))
    assert throttle.owed_s() == 0
    assert throttle.owe(2500) == throttle.owed_s() == 2.5
    now[0] += 2.0
    assert throttle.owed_s() == 0.5
    now[0] += 10.0
    assert throttle.owed_s() == 0
    assert Throttle(None, lambda: 0.0, lambda seconds: None).owe(10**12) == 0


def test_a_throttle_looks_up_each_second_that_it_waits() -> None:
    waits: list[float] = []

    def look() -> None:
        if len(waits) == 3:
            raise SourceUnreadable("too old")

    with pytest.raises(SourceUnreadable):
        Throttle(10, lambda: 0.0, waits.append).spend(10_000, look)
    assert waits == [1.0, 1.0, 1.0]


cells = st.sampled_from([
    b"\\N", b"", b"4", b"-7", b"no time",
    b"a", b"\xc3\xa9", b"\xff", b"back\\\\slash", b"tab\\there", b'"', b"2026-01-02 03:04:05.6+00",
    b"0044-03-15 BC", b"infinity", b"NaN", b"1.5", b"t", b"f", b"x" * 2000, b"y" * 70_000, b"\x01",
])  # fmt: skip


@given(
    st.lists(st.tuples(cells, cells, cells, cells, cells, cells, st.sampled_from([b"", b"9"])), max_size=12),
    st.sampled_from([(), (1,), (2,), (2, 1)]),
    st.booleans(),
)
def test_rows_together_become_what_each_becomes_alone(
    rows: list[tuple[bytes, ...]], key: tuple[int, ...], partitioned: bool
) -> None:
    columns = [
        column(1, "id", "int4", 4), column(2, "user_id"), column(3, "ts", "timestamptz", 8),
        column(4, "d", "float8", 8), column(5, "b", "bool", 1), column(6, "body"),
    ]  # fmt: skip
    described = replace(table(*columns, key=key), is_partitioned=partitioned)
    reader = reader_of(described)
    lines = [
        b"\t".join([b"77" if not extra else b"78", b"(0,%d)" % at, *values, b""]) + b"\n"
        for at, (*values, extra) in enumerate(rows)
    ]
    together = reader.records(b"".join(lines)) if lines else []
    assert together == [record for line in lines for record in reader_of(described).records(line)]
    for record, (*values, _) in zip(together, rows, strict=True):
        if isinstance(record, Record):
            assert record.version == b"\t".join([*values, b""])
            assert [value == NULL for value in record.values[2:8]] == [cell == b"\\N" for cell in values]


def test_a_row_that_fits_none_leaves_its_neighbours() -> None:
    reader = reader_of(table(column(1, "id", "int4", 4), key=(1,)))
    lines = [b"77\t(0,%d)\t%b\t\n" % (at, b"wrong" if at == 777 else b"%d" % at) for at in range(1000)]
    lines[500] = b"77\t(0,500)\n"
    records = reader.records(b"".join(lines))
    assert [record.place for record in records if isinstance(record, BadRecord)] == [
        "public.posts",
        "public.posts(0,777)",
    ]
    assert [record.native for record in records[501:503] if isinstance(record, Record)] == [
        b"public.posts[501]",
        b"public.posts[502]",
    ]
