"""Read the large objects that the tables refer to, as documents: member `pg_largeobject`.

A large object belongs to no table. Those are read whose id stands in a column of type `oid` (or `lo`) of a table that
is read. One takes account and time from the rows that name it: the account where all agree, the earliest time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import psycopg
from psycopg import Connection

from scelle.errors import UnitRewritten
from scelle.formats.canonical_json import canonical_json
from scelle.formats.values import NULL, integer_value, structure_value, text_value
from scelle.sources.clause_sql import quoted
from scelle.sources.interfaces import PIECE_BYTES, WHOLE_BYTES, BadRecord, Batch, Content, Record
from scelle.sources.postgres.catalog import QUERIES
from scelle.sources.postgres.connecting import error_of
from scelle.sources.postgres.names import literal
from scelle.sources.postgres.reading import BATCH_BYTES, BATCH_RECORDS, persisting
from scelle.sources.postgres.rows import LargeValue, checked, content_document
from scelle.sources.postgres.shapes import LARGE_OBJECTS, Shape
from scelle.sources.postgres.snapshot import Snapshot
from scelle.sources.postgres.throttle import Throttle
from scelle.sources.postgres.types import time_us_of

_CONTENT_FIELD: Final = 7
_LISTED_AT_ONCE: Final = 1000


@dataclass(slots=True)
class LargeObjectReading:
    """One reading of the large objects; `read` counts them, `counted` says how many there are."""

    snapshot: Snapshot
    shapes: Sequence[Shape]
    throttle: Throttle
    holder: str | None
    shard: str
    wait_s: Callable[[float], None]
    last_oid: int = 0
    read: int = 0
    counted: int | None = None

    def batches(self, mark: bytes) -> Iterator[Batch]:
        """Read on behind `mark`; raises UnitRewritten, ItemUnreadable or SourceUnreadable."""
        if mark:
            snapshot, _, oid = mark.decode("ascii", "replace").rpartition(" ")
            if snapshot != self.snapshot.text or not oid.isdigit():
                raise UnitRewritten("the large objects were begun in another snapshot: read from the start")
            self.last_oid = int(oid)
        return persisting(self._once, lambda: self.last_oid, self.wait_s)

    def _once(self) -> Iterator[Batch]:
        with self.snapshot.reader() as connection:
            try:
                yield from self._objects(connection)
            except psycopg.Error as error:
                self.snapshot.left_s()
                raise error_of(error, "the list of large objects") from error
        self.counted = self.read
        yield Batch((), b"")

    def _objects(self, connection: "Connection[Any]") -> Iterator[Batch]:
        records: list[Record | BadRecord] = []
        size = 0
        query = _referred_sql(self.shapes)
        with connection.cursor(name="scelle_large_objects") as listed:
            listed.itersize = _LISTED_AT_ONCE
            for row in listed.execute(query.encode("utf-8"), (self.last_oid,)):
                record = self._record(connection, *row)
                records.append(record)
                size += 0 if isinstance(record, BadRecord) else record.size_bytes
                if len(records) >= BATCH_RECORDS or size >= BATCH_BYTES:
                    yield self._batch(records, size, row[0])
                    records, size = [], 0
            if records:
                yield self._batch(records, size, row[0])

    def _batch(self, records: list[Record | BadRecord], size: int, oid: int) -> Batch:
        self.snapshot.left_s()
        self.throttle.spend(size, self.snapshot.left_s)
        self.last_oid, self.read = oid, self.read + len(records)
        return Batch(records, f"{self.snapshot.text} {oid}".encode("ascii"))

    def _record(
        self, connection: "Connection[Any]", oid: int, owner: str, account: str | None, time: str | None
    ) -> Record | BadRecord:
        data, state, size = bytearray(), sha256(), 0
        try:
            with connection.transaction():
                for piece in self._pieces(connection, oid):
                    state.update(piece)
                    size += len(piece)
                    if size <= WHOLE_BYTES:
                        data += piece
        except psycopg.errors.InsufficientPrivilege:
            detail = "grant SELECT on the large object to the role that reads"
            return BadRecord(f"{LARGE_OBJECTS} {oid}", "permission-denied", detail)
        time_us = self.snapshot.time_us if time is None else time_us_of(time.encode("ascii"))
        whose = account if account is not None else self.holder
        out = LargeValue(0, size, state.digest())
        is_whole = size <= WHOLE_BYTES
        document = content_document(
            bytes(data) if is_whole else None,
            None if is_whole else lambda: checked(self._again(oid), out, f"large object {oid}"),
            size,
            time_us,
        )
        version = f"{owner} {size} {out.digest.hex()}".encode()
        native = f"{self.shard}/{LARGE_OBJECTS}/{oid}" if self.shard else f"{LARGE_OBJECTS}/{oid}"
        values = [
            NULL if whose is None else text_value(whose),
            text_value(str(oid)),
            integer_value(oid),
            text_value(owner),
            integer_value(size),
            NULL,
            structure_value(canonical_json({"snapshot": self.snapshot.text})),
        ]
        contents = (Content(_CONTENT_FIELD, document),)
        return Record(LARGE_OBJECTS, native.encode(), time_us, whose, values, version, size, contents)

    def _pieces(self, connection: "Connection[Any]", oid: int) -> Iterator[bytes]:
        query = QUERIES["large_object_piece"].encode()
        return _until_short(
            lambda at: connection.execute(query, (oid, at, PIECE_BYTES), binary=True).fetchall()
        )

    def _again(self, oid: int) -> Iterator[bytes]:
        query = QUERIES["large_object_piece"]
        return _until_short(lambda at: self.snapshot.rows(query, (oid, at, PIECE_BYTES), binary=True))


def _until_short(fetch: Callable[[int], list[tuple[Any, ...]]]) -> Iterator[bytes]:
    at = 0
    while True:
        ((piece,),) = fetch(at)
        if piece:
            yield piece
        at += len(piece)
        if len(piece) < PIECE_BYTES:
            return


def _referred_sql(shapes: Sequence[Shape]) -> str:
    """Write the query of all large objects that rows refer to."""
    parts = [
        " ".join([
            "SELECT", f"{quoted(column.name)}::oid AS oid, {_account_sql(shape)} AS account,",
            f"{_time_sql(shape)} AS time FROM {shape.table.sql}",
        ])
        for shape in shapes
        for column in shape.table.columns
        if column.base_type == "oid"
    ]  # fmt: skip
    return (
        QUERIES["large_objects"].rstrip(";").replace("/*rows*/", " UNION ALL ".join(parts).replace("%", "%%"))
    )


def _account_sql(shape: Shape) -> str:
    if shape.account is None:
        return "NULL::text"
    name = quoted(shape.table.columns[shape.account].name)
    return (
        f"CASE WHEN {name} IS NOT NULL THEN {literal(shape.account_kind + ':')} || format('%s', {name}) END"
    )


def _time_sql(shape: Shape) -> str:
    if shape.time is None:
        return "NULL::timestamptz"
    return f"{quoted(shape.table.columns[shape.time].name)}::timestamptz"
