"""Read a table from end to end by COPY, in one snapshot, and go on where a connection was lost."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import Connection

from scelle.errors import ItemUnreadable, SourceUnreadable, UnitRewritten
from scelle.sources.interfaces import BadRecord, Batch, Record
from scelle.sources.postgres.catalog import QUERIES
from scelle.sources.postgres.connecting import ConnectionLost, error_of
from scelle.sources.postgres.rows import RowReader
from scelle.sources.postgres.shapes import Shape
from scelle.sources.postgres.snapshot import Snapshot
from scelle.sources.postgres.throttle import Throttle

BATCH_RECORDS: Final = 8192
BATCH_BYTES: Final = 8 << 20
_ATTEMPTS: Final = 3


class Position(NamedTuple):
    """Say how far a table was read: in which snapshot, how many rows, and a digest of the last one.

    In one snapshot the rows of a table come in the same order each time (no parallel, no synchronised scans); the
    digest and the count at the end show it where a server does not keep to that.
    """

    snapshot: str
    rows: int
    digest: str

    def mark(self) -> bytes:
        """Write the position as a mark."""
        return f"1 {self.snapshot} {self.rows} {self.digest}".encode("ascii")


def parse_mark(mark: bytes, snapshot: Snapshot, what: str) -> Position:
    """Read a mark; raises UnitRewritten for one of another snapshot."""
    start = Position(snapshot.text, 0, "")
    if not mark:
        return start
    version, *rest = mark.decode("ascii", "replace").split(" ")
    if version != "1" or len(rest) != 3 or rest[0] != snapshot.text or not rest[1].isdigit():
        raise UnitRewritten(f"{what} was begun in another snapshot: it is read from its start")
    return Position(snapshot.text, int(rest[1]), rest[2])


def persisting(
    once: Callable[[], Iterator[Batch]], progress: Callable[[], int], wait_s: Callable[[float], None]
) -> Iterator[Batch]:
    """Call `once` again where a connection was lost, up to three times in a row without progress."""
    lost = 0
    while True:
        before = progress()
        try:
            yield from once()
        except ConnectionLost:
            lost = 1 if progress() > before else lost + 1
            if lost >= _ATTEMPTS:
                raise
            wait_s(0.2 * lost)
        else:
            return


@dataclass(slots=True)
class TableReading:
    """One reading of a table; `rows` counts what was read, `counted` is what `SELECT count(*)` says, at the end."""

    snapshot: Snapshot
    shape: Shape
    reader: RowReader
    throttle: Throttle
    position: Position
    wait_s: Callable[[float], None]
    counted: int | None = None
    _is_begun: bool = field(default=False)

    def batches(self) -> Iterator[Batch]:
        """Read on from the position; the last batch has no mark, for the table is read from its start next time.

        Raises UnitRewritten, ItemVanished, ItemUnreadable or SourceUnreadable.
        """
        return persisting(self._once, lambda: self.position.rows, self.wait_s)

    def _once(self) -> Iterator[Batch]:
        what = self.shape.table.text
        with self.snapshot.reader() as connection:
            try:
                yield from self._copy(connection)
                self._check(connection)
            except psycopg.Error as error:
                self.snapshot.left_s()  # a query that ran into the snapshot's age says so
                raise error_of(error, what) from error
            yield Batch((), b"")

    def _copy(self, connection: "Connection[Any]") -> Iterator[Batch]:
        connection.execute(f"SET LOCAL statement_timeout = {_milliseconds(self.snapshot.left_s())}".encode())
        record_of = self.reader.record
        records: list[Record | BadRecord] = []
        size, line = 0, b""
        with connection.cursor().copy(self.shape.copy_sql.encode("utf-8")) as copy:
            lines = iter(copy)
            self._skip(lines)
            for sent in lines:
                line = bytes(sent)[:-1]
                records.append(record_of(line))
                size += len(line)
                if len(records) >= BATCH_RECORDS or size >= BATCH_BYTES:
                    yield self._batch(records, size, line)
                    records, size = [], 0
        if records:
            yield self._batch(records, size, line)

    def _batch(self, records: list[Record | BadRecord], size: int, line: bytes) -> Batch:
        self.snapshot.left_s()
        self.throttle.spend(size)
        rows = self.position.rows + len(records)
        self.position = Position(self.position.snapshot, rows, _digest(line))
        self._is_begun = True
        return Batch(records, self.position.mark())

    def _skip(self, lines: Iterator[Any]) -> None:
        """Pass over the rows before the position, and see that the last of them is what it was."""
        line = b""
        for _ in range(self.position.rows):
            line = bytes(next(lines, b""))[:-1]
        if self.position.rows and _digest(line) != self.position.digest:
            what = self.shape.table.text
            if self._is_begun:
                raise ItemUnreadable(f"the rows of {what} came in another order: run again", "order-changed")
            raise UnitRewritten(f"the rows of {what} came in another order: it is read from its start")

    # --- after the last row

    def _check(self, connection: "Connection[Any]") -> None:
        """Refuse what a reading in a snapshot can be wrong about; locks of the COPY keep it from changing now."""
        table = self.shape.table
        oids = [leaf.oid for leaf in table.leaves]
        if not _one(connection, "is_same_table", (_regclass(table.sql), table.oid)):
            raise _changed(table.text, "was dropped and made again")
        if table.is_partitioned and sorted(oids) != _one(connection, "leaves_now", (table.oid,)):
            raise _changed(table.text, "gained or lost a partition")
        rewritten = connection.execute(QUERIES["rewritten"].encode(), (oids,)).fetchone()
        if rewritten is not None:
            raise _changed(rewritten[0], "was emptied (TRUNCATE) or rewritten")
        counted = connection.execute(self.shape.count_sql.encode("utf-8")).fetchone()
        self.counted = counted[0] if counted else None
        if self.counted != self.position.rows:
            raise ItemUnreadable(
                f"{table.text}: {self.position.rows} rows came and SELECT count(*) says {self.counted} in the same "
                "snapshot: check the server's storage and indexes (amcheck), then run again",
                "count-differs",
            )


def _one(connection: "Connection[Any]", query: str, parameters: tuple[object, ...]) -> Any:
    row = connection.execute(QUERIES[query].encode("utf-8"), parameters).fetchone()
    if row is None:
        raise SourceUnreadable("the server gave no answer to a question about its catalog: run again")
    return row[0]


def _milliseconds(seconds: float) -> int:
    return min(int(seconds * 1000) + 1, 2**31 - 1)


def _regclass(sql: str) -> str:
    return sql.removeprefix("ONLY ")


def _changed(what: str, how: str) -> ItemUnreadable:
    return ItemUnreadable(
        f"{what} {how} after the snapshot was taken, which then no longer shows its rows: run again",
        "changed-while-read",
    )


def _digest(line: bytes) -> str:
    return sha256(line).hexdigest()[:32]
