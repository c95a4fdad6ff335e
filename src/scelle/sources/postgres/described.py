"""Describe the columns of the tables that were read, as records of their own: member `pg_columns`."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from scelle.formats.canonical_json import canonical_json
from scelle.formats.schema import Field, Schema
from scelle.formats.values import NULL, boolean_value, integer_value, structure_value, text_value
from scelle.sources.interfaces import Batch, Member, Record
from scelle.sources.postgres.catalog import Column, Table

COLUMNS: Final = "pg_columns"
COLUMNS_MEMBER: Final = Member(
    COLUMNS,
    Schema(
        "postgres.pg_columns",
        1,
        ("source", "account", "native"),
        (
            Field("time", "t"),
            Field("seq", "i"),
            Field("account", "s"),
            Field("native_id", "s"),
            Field("table", "s"),
            Field("ordinal", "i"),
            Field("name", "s"),
            Field("type", "s"),
            Field("base_type", "s"),
            Field("not_null", "b"),
            Field("generated", "s"),
            Field("collation", "s"),
            Field("comment", "s"),
            Field("key", "i"),
            Field("origin", "j"),
        ),
    ),
    notes=("the types of all columns of the tables that are read, as the snapshot has them",),
)
_AT_ONCE: Final = 8192


def columns_stamp(tables: Sequence[Table]) -> bytes:
    """Digest all descriptions, so that they are read again only when one changed."""
    state = sha256()
    for table in tables:
        for column in table.columns:
            state.update(b"".join(_values(table, column)))
    return state.digest()


def column_batches(tables: Sequence[Table], time_us: int, snapshot: str, shard: str) -> Iterator[Batch]:
    """Describe every column of `tables`."""
    origin = structure_value(canonical_json({"snapshot": snapshot}))
    records: list[Record] = []
    for table in tables:
        for column in table.columns:
            records.append(_record(table, column, time_us, origin, shard))
            if len(records) == _AT_ONCE:
                yield Batch(records, b"")
                records = []
    yield Batch(records, b"")


def _record(table: Table, column: Column, time_us: int, origin: bytes, shard: str) -> Record:
    values = _values(table, column)
    version = b"".join(values)
    native_id = f"{table.text}[{column.number}]"
    native = f"{shard}/{COLUMNS}/{native_id}" if shard else f"{COLUMNS}/{native_id}"
    return Record(
        COLUMNS,
        native.encode("utf-8"),
        time_us,
        None,
        [NULL, text_value(native_id), *values, origin],
        version,
        len(version),
    )


def _values(table: Table, column: Column) -> list[bytes]:
    key = table.key.index(column.number) + 1 if column.number in table.key else None
    return [
        text_value(table.text),
        integer_value(column.number),
        text_value(column.name),
        text_value(column.type_name),
        text_value(column.base_type),
        boolean_value(column.is_not_null),
        _text(column.generated),
        _text(column.collation),
        _text(column.comment),
        NULL if key is None else integer_value(key),
    ]


def _text(text: str | None) -> bytes:
    return NULL if text is None else text_value(text)
