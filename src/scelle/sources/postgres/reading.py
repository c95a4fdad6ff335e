"""Read a table from end to end by COPY, in one snapshot, and go on where a connection was lost."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg import Connection

from scelle.errors import ItemUnreadable, SourceUnreadable, UnitRewritten
from scelle.sources.clause_sql import CANDIDATE, reason_of
from scelle.sources.postgres.catalog import QUERIES
from scelle.sources.postgres.connecting import ConnectionLost, error_of
from scelle.sources.postgres.copying import CopyStream
from scelle.sources.postgres.pushdown import TablePushdown
from scelle.sources.postgres.shapes import Shape
from scelle.sources.postgres.snapshot import Snapshot
from scelle.sources.postgres.throttle import Throttle

BATCH_RECORDS: Final = 1024
"""Rows whose cells the caches of a processor hold: more of them at once are slower to take apart."""

BATCH_BYTES: Final = 8 << 20
_ATTEMPTS: Final = 3
_CANCEL_TIMEOUT_S: Final = 5
_Part = TypeVar("_Part")


class Position(NamedTuple):
    """Say how far a table was read: in which snapshot, how many rows, and a digest of the last one.

    `pushed_down` names what left rows out of those (`TablePushdown.text`), or is empty where none were.

    In one snapshot the rows of a table come in the same order each time (no parallel, no synchronised scans); the
    digest and the count at the end show it where a server does not keep to that.
    """

    snapshot: str
    rows: int
    digest: str
    pushed_down: str = ""

    def mark(self) -> bytes:
        """Write the position as a mark; one of a reading with rows left out is no mark of another."""
        pushed_down = f" {self.pushed_down}" if self.pushed_down else ""
        return f"1 {self.snapshot} {self.rows} {self.digest}{pushed_down}".encode("ascii")


def parse_mark(mark: bytes, snapshot: Snapshot, what: str, pushed_down: str = "") -> Position:
    """Read a mark; raises UnitRewritten for one of another snapshot, or of a reading with other rows left out."""
    start = Position(snapshot.text, 0, "", pushed_down)
    if not mark:
        return start
    version, *rest = mark.decode("ascii", "replace").split(" ")
    if version != "1" or len(rest) not in (3, 4) or rest[0] != snapshot.text or not rest[1].isdigit():
        raise UnitRewritten(f"{what} was begun in another snapshot: it is read from its start")
    if "".join(rest[3:]) != pushed_down:
        raise UnitRewritten(f"{what} was begun with other rows left out: it is read from its start")
    return Position(snapshot.text, int(rest[1]), rest[2], pushed_down)


def persisting(
    once: Callable[[], Iterator[_Part]], progress: Callable[[], int], wait_s: Callable[[float], None]
) -> Iterator[_Part]:
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


class Lines(NamedTuple):
    """Carry whole lines of a table as COPY sends them, each with its line feed, and the position behind them."""

    data: bytes
    position: Position


@dataclass(slots=True)
class TableReading:
    """One reading of a table; `position` says how far it is, `counted` what `SELECT count(*)` says, at the end.

    Where it is `pushed_down`, `left_out` counts the rows that were not sent, by reason, at the end.

    `pause` waits that many seconds, and `check` is called while the server lets wait: both may raise to end it.
    """

    snapshot: Snapshot
    shape: Shape
    throttle: Throttle
    position: Position
    pause: Callable[[float], None]
    check: Callable[[], object] = lambda: None
    pushed_down: TablePushdown | None = None
    counted: int | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    _is_begun: bool = field(default=False)
    _connection: "Connection[Any] | None" = field(default=None)

    def cancel(self) -> None:
        """End, from another thread, the query that is running; raises psycopg.Error."""
        connection = self._connection
        if connection is not None:
            connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)

    def lines(self) -> Iterator[Lines]:
        """Read on from the position, a batch at a time; what ends without an error was read whole and checked.

        Raises UnitRewritten, ItemVanished, ItemUnreadable or SourceUnreadable.
        """
        return persisting(self._once, lambda: self.position.rows, self.pause)

    def _once(self) -> Iterator[Lines]:
        what = self.shape.table.text
        with self.snapshot.reader() as connection:
            self._connection = connection
            try:
                yield from self._copy(connection)
                self._check(connection)
            except psycopg.Error as error:
                self.snapshot.left_s()  # a query that ran into the snapshot's age says so
                raise error_of(error, what) from error
            finally:
                self._connection = None

    def _copy(self, connection: "Connection[Any]") -> Iterator[Lines]:
        connection.execute(f"SET LOCAL statement_timeout = {_milliseconds(self.snapshot.left_s())}".encode())
        stream = CopyStream(connection, (self.pushed_down or self.shape).copy_sql, self._look)
        self._skip(stream)
        while True:
            count, data = stream.lines(BATCH_RECORDS, BATCH_BYTES)
            if not count:
                return
            yield self._lines(count, data)

    def _look(self) -> None:
        """Raise where the reading shall stop: nobody wants it any more, or the snapshot or the window is over.

        The server's own `statement_timeout` does not end a wait for a server that is silent.
        """
        self.check()
        self.snapshot.left_s()

    def _lines(self, count: int, data: bytes) -> Lines:
        self._look()
        self.throttle.spend(len(data) - count, self._look, self.pause)
        rows = self.position.rows + count
        self.position = self.position._replace(rows=rows, digest=_digest(_last_line(data)))
        self._is_begun = True
        return Lines(data, self.position)

    def _skip(self, stream: CopyStream) -> None:
        """Pass over the rows before the position, and see that the last of them is what it was."""
        last, left = b"", self.position.rows
        while left:
            count, data = stream.lines(min(left, BATCH_RECORDS), BATCH_BYTES)
            if not count:
                break
            last, left = _last_line(data), left - count
        if self.position.rows and (left or _digest(last) != self.position.digest):
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
        read = self._count(connection)
        if self.counted != read:
            raise ItemUnreadable(
                f"{table.text}: {read} rows came and SELECT count(*) says {self.counted} in the same "
                "snapshot: check the server's storage and indexes (amcheck), then run again",
                "count-differs",
            )

    def _count(self, connection: "Connection[Any]") -> int:
        """Let the server count all rows, those that it left out by their reason; give how many were met."""
        if self.pushed_down is None:
            ((self.counted,),) = connection.execute(self.shape.count_sql.encode("utf-8")).fetchall()
            return self.position.rows
        codes: dict[int, int] = dict(
            connection.execute(self.pushed_down.count_sql.encode("utf-8")).fetchall()
        )
        self.counted = counted = sum(codes.values())
        candidates = codes.pop(CANDIDATE, 0)
        self.left_out.clear()
        for code, rows in codes.items():
            reason = reason_of(code)
            self.left_out[reason] = self.left_out.get(reason, 0) + rows
        return counted - candidates + self.position.rows


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


def _last_line(data: bytes) -> bytes:
    return data[data.rfind(b"\n", 0, -1) + 1 : -1]


def _digest(line: bytes) -> str:
    return sha256(line).hexdigest()[:32]
