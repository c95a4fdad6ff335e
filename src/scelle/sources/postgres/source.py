"""Offer the tables of a PostgreSQL database, all as they were in one snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple

from scelle.errors import (
    FormatError,
    InputError,
    ItemChanged,
    ItemVanished,
    SchemaWrong,
    SourceError,
    SourceUnreadable,
)
from scelle.formats.tokens import shown
from scelle.scope.pushdown import Pushdown
from scelle.sources.interfaces import Batch, Member, Trouble, Unit, native_text
from scelle.sources.postgres.catalog import Catalog, Column, Table, read_catalog
from scelle.sources.postgres.described import COLUMNS, COLUMNS_MEMBER, column_batches, columns_stamp
from scelle.sources.postgres.pushdown import TablePushdown, push_down
from scelle.sources.postgres.rows import LargeValue, Place, RowReader, Stream, checked, in_pieces
from scelle.sources.postgres.settings import PostgresSettings
from scelle.sources.postgres.shapes import LARGE_OBJECTS, LARGE_OBJECTS_MEMBER, Shape, bytes_sql, shape_of
from scelle.sources.postgres.throttle import Throttle

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is opened
    from scelle.sources.postgres.ahead import Job, ReadAhead
    from scelle.sources.postgres.reading import Lines, Position, TableReading
    from scelle.sources.postgres.snapshot import Snapshot

_FETCH_BYTES: Final = (16 << 20, 64 << 20)
_FETCHES: Final = 16
"""Large values are fetched in few parts: for each the server unpacks a value from its start, text as a whole."""


class TableCount(NamedTuple):
    """Say how many rows of a table were read, and how many `SELECT count(*)` gave in the same snapshot."""

    read: int
    counted: int | None


@dataclass(slots=True)
class _Pass:
    """What is known while one snapshot is held."""

    snapshot: Snapshot
    shapes: dict[str, Shape]
    troubles: tuple[Trouble, ...]
    unread: set[str]
    ahead: ReadAhead
    is_listed: bool = False
    counts: dict[str, TableCount] = field(default_factory=dict)
    readings: dict[str, TableReading] = field(default_factory=dict)
    pushdown: Pushdown | None = None
    pushed_down: dict[str, TablePushdown | None] = field(default_factory=dict)

    @property
    def tables(self) -> list[Table]:
        return [shape.table for shape in self.shapes.values()]

    def finish(self, text: str) -> None:
        """Note that a unit was read to its end; let the snapshot go after the last one."""
        self.unread.discard(text)
        self.close_when_done()

    def close_when_done(self) -> None:
        if self.is_listed and not self.unread:
            self.snapshot.close()


class PostgresSource:
    """Read tables by COPY in one exported snapshot; nothing is written or locked beyond ACCESS SHARE.

    The snapshot is taken by the first call of `members` or `units`, and let go when every unit was read to its end, by
    `close`, when it is too old, or when the source's window ends: reading stops between two batches then. `units`
    begins a new one where the last was listed already. `read` may be called from `max_connections - 1` threads at
    once; with more than two connections the next tables are read while one is consumed. `clock_s`, `wait_s` and
    `now_s` (seconds since 1970) are for tests.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        wait_s: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._clock_s, self._wait_s, self._now_s = clock_s, wait_s, now_s
        self._throttle = Throttle(settings.max_bytes_per_second, clock_s, wait_s)
        self._pass: _Pass | None = None
        self.seam: tuple[str, str] | None = None
        """What the first snapshot since it was last None saw, and a place in the WAL behind all of that."""

    def __enter__(self) -> PostgresSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the snapshot go, and what was read ahead in it."""
        if self._pass is not None:
            self._pass.ahead.close()
            self._pass.snapshot.close()

    # --- what the source offers

    def test(self) -> None:
        """Raise a SourceError when no table can be read; InputError or SchemaWrong where the settings do not fit."""
        snapshot = self._open()
        try:
            catalog = self._catalog(snapshot)
            for table in catalog.tables:
                self._shape(table, snapshot)
        finally:
            snapshot.close()
        unknown = sorted(set(self.settings.schemas) - {table.text for table in catalog.tables})
        if unknown:
            raise InputError(f"a schema is given for {shown(unknown[0])}, which is no table that is read")
        if not catalog.tables:
            causes = ", ".join(f"{native_text(each.native)}: {each.cause}" for each in catalog.troubles[:5])
            raise SourceUnreadable(
                f"no table of {self.settings.place} can be read ({causes or 'there is none'}): check --tables and "
                "the grants"
            )

    def members(self) -> Sequence[Member]:
        """List the shapes of all tables that can be read; `notes` say which columns got a role."""
        current = self._current()
        members = [shape.member for shape in current.shapes.values()]
        if members:
            members.append(COLUMNS_MEMBER)
        if self._has_large_objects(current):
            members.append(LARGE_OBJECTS_MEMBER)
        return members

    def units(self) -> Iterator[Unit | Trouble]:
        """Enumerate what is refused, with its cause, then the tables by name, then what describes them."""
        if self._pass is not None and self._pass.is_listed:
            self.close()
        current = self._current()
        for trouble in current.troubles:
            native = self._native(trouble.native.decode("utf-8"))
            yield Trouble(native, native, trouble.cause)
        for text, shape in current.shapes.items():
            yield Unit(self._native(text), (text,), b"", shape.table.size_bytes)
        if current.shapes:
            yield Unit(self._native(COLUMNS), (COLUMNS,), columns_stamp(current.tables), 0)
        if self._has_large_objects(current):
            yield Unit(self._native(LARGE_OBJECTS), (LARGE_OBJECTS,), b"", 0)
        current.unread.discard(COLUMNS)  # it may be skipped as unchanged
        current.is_listed = True
        current.close_when_done()

    def read(self, unit: Unit, mark: bytes) -> Iterator[Batch]:
        """Read a unit behind `mark`, which is good in the snapshot that it was made in.

        Raises UnitRewritten for a mark of another snapshot; ItemVanished for a table that was dropped; ItemUnreadable
        where it was emptied, rewritten or changed in shape, where the counts differ, or where the server refuses;
        SourceUnreadable where the server is gone or the snapshot too old.
        """
        return self._read(unit, mark, None)

    @property
    def shows_queries(self) -> bool:
        """Tell that the server's people see what it is asked: in `pg_stat_activity`, and in its log."""
        return True

    def read_pushed_down(self, unit: Unit, mark: bytes, pushdown: Pushdown) -> Iterator[Batch]:
        """Read a unit as `read` does, without rows that no clause covers: the last batch says how many they are.

        They are decided and counted by the server, in the same snapshot. A mark of `read` is none of this, and the
        other way round.
        """
        return self._read(unit, mark, pushdown)

    def _read(self, unit: Unit, mark: bytes, pushdown: Pushdown | None) -> Iterator[Batch]:
        current = self._pass if self._pass is not None else self._current()
        text = unit.native.decode("utf-8").removeprefix(self._prefix)
        if text == COLUMNS:  # known already, whether or not the snapshot is still held
            snapshot, shard = current.snapshot, self.settings.shard
            yield from column_batches(current.tables, snapshot.time_us, snapshot.text, shard)
        elif text == LARGE_OBJECTS:
            yield from self._large_objects(current, mark)
        elif text in current.shapes:
            yield from self._table(current, current.shapes[text], mark, pushdown)
        else:
            raise ItemVanished(f"{shown(text)} is not in the snapshot: it was dropped or renamed")
        current.finish(text)

    def waiting(self, unit: Unit) -> str | None:
        """Say that nothing waits: a table is read whole."""
        return None

    # --- what the operator asks

    def counts(self) -> Mapping[str, TableCount]:
        """Give, per table read to its end in the last snapshot, rows read and rows counted."""
        return dict(self._pass.counts) if self._pass is not None else {}

    def warnings(self) -> Sequence[str]:
        """Say what to know of this server now: that it is no standby, that the snapshot is old and holds back."""
        return self._current().snapshot.warnings()

    # --- inside

    @property
    def _prefix(self) -> str:
        return f"{self.settings.shard}/" if self.settings.shard else ""

    def _native(self, text: str) -> bytes:
        return (self._prefix + text).encode("utf-8")

    def _open(self) -> Snapshot:
        try:
            from scelle.sources.postgres.snapshot import Snapshot  # the driver is an extra
        except ImportError as error:
            raise InputError(
                "reading PostgreSQL needs the driver psycopg: install 'scelle[postgres]'"
            ) from error
        return Snapshot(self.settings, self._clock_s, self._now_s)

    def _catalog(self, snapshot: Snapshot) -> Catalog:
        return read_catalog(snapshot, self.settings.tables, is_standby=snapshot.is_standby)

    def _current(self) -> _Pass:
        if self._pass is None or not self._pass.snapshot.is_open:
            self.close()  # what was read ahead in a snapshot that is gone
            self._pass = self._begin()
        return self._pass

    def _begin(self) -> _Pass:
        from scelle.sources.postgres.ahead import ReadAhead  # the driver is an extra

        snapshot = self._open()
        try:
            catalog = self._catalog(snapshot)
        except (SourceError, InputError):
            snapshot.close()
            raise
        self.seam = self.seam or (snapshot.sees, snapshot.lsn)
        shapes, troubles = {}, list(catalog.troubles)
        for table in catalog.tables:
            native = table.text.encode("utf-8")
            try:
                shapes[table.text] = self._shape(table, snapshot)
            except FormatError:
                troubles.append(Trouble(native, native, "too-many-columns"))
            except SchemaWrong:
                troubles.append(Trouble(native, native, "schema-does-not-fit"))
        unread = {*shapes, COLUMNS} if shapes else set()
        ahead = ReadAhead(self.settings.max_connections - 1, self._wait_s)
        current = _Pass(snapshot, shapes, tuple(troubles), unread, ahead)
        if self._has_large_objects(current):
            unread.add(LARGE_OBJECTS)
        return current

    def _shape(self, table: Table, snapshot: Snapshot) -> Shape:
        chosen, holder = self.settings.schemas.get(table.text), self.settings.holder
        return shape_of(table, chosen, encoding=snapshot.encoding, holder=holder)

    def _has_large_objects(self, current: _Pass) -> bool:
        return any(column.base_type == "oid" for table in current.tables for column in table.columns)

    def _table(self, current: _Pass, shape: Shape, mark: bytes, pushdown: Pushdown | None) -> Iterator[Batch]:
        from scelle.sources.postgres.reading import parse_mark  # the driver is an extra

        snapshot, settings = current.snapshot, self.settings
        rows = RowReader(
            shape,
            snapshot.text,
            snapshot.time_us,
            settings.holder,
            settings.shard,
            lambda where, out: self._stream(snapshot, shape.table, where, out),
        )
        text = shape.table.text
        pushed_down = self._pushed_down(current, text, pushdown)
        position = parse_mark(mark, snapshot, text, "" if pushed_down is None else pushed_down.text)
        for lines in self._lines(current, text, position, pushdown):
            yield Batch(rows.records(lines.data), lines.position.mark())
        reading = current.readings[text]
        left_out = sum(reading.left_out.values())
        current.counts[text] = TableCount(reading.position.rows + left_out, reading.counted)
        yield Batch((), b"", reading.left_out)  # without a mark: next time the table is read from its start

    def _lines(
        self, current: _Pass, text: str, position: Position, pushdown: Pushdown | None
    ) -> Iterator[Lines]:
        """Read a table, by itself where one connection reads, else together with those that come after it."""
        from scelle.sources.postgres.ahead import Job  # the driver is an extra
        from scelle.sources.postgres.reading import TableReading, parse_mark

        snapshot = current.snapshot

        def job(name: str, start: Position | None) -> Job:
            pushed_down = self._pushed_down(current, name, pushdown)
            at = start or parse_mark(b"", snapshot, name, "" if pushed_down is None else pushed_down.text)

            def opened(pause: Callable[[float], None], check: Callable[[], object]) -> TableReading:
                shape = current.shapes[name]
                reading = TableReading(snapshot, shape, self._throttle, at, pause, check, pushed_down)
                current.readings[name] = reading
                return reading

            return Job(name, at, opened)

        if self.settings.max_connections == 2:
            yield from job(text, position).open(self._wait_s, lambda: None).lines()
            return
        names = list(current.shapes)
        following = [name for name in names[names.index(text) + 1 :] if name in current.unread]
        yield from current.ahead.lines(job(text, position), [job(name, None) for name in following])

    def _pushed_down(self, current: _Pass, text: str, pushdown: Pushdown | None) -> TablePushdown | None:
        """Say the clauses of a table in SQL, once in a snapshot."""
        snapshot = current.snapshot
        if pushdown is None or snapshot.encoding != "UTF8":
            return None
        if pushdown is not current.pushdown:
            current.pushdown = pushdown
            current.pushed_down.clear()
        if text not in current.pushed_down:
            current.pushed_down[text] = push_down(
                current.shapes[text],
                self._native(text),
                pushdown,
                snapshot.time_us,
                self.settings.holder,
                snapshot.may_compile,
            )
        return current.pushed_down[text]

    def _large_objects(self, current: _Pass, mark: bytes) -> Iterator[Batch]:
        from scelle.sources.postgres.large_objects import LargeObjectReading  # the driver is an extra

        shapes, settings = tuple(current.shapes.values()), self.settings
        reading = LargeObjectReading(
            current.snapshot, shapes, self._throttle, settings.holder, settings.shard, self._wait_s
        )
        yield from reading.batches(mark)
        current.counts[LARGE_OBJECTS] = TableCount(reading.read, reading.counted)

    def _stream(self, snapshot: Snapshot, table: Table, where: Place, out: LargeValue) -> Stream:
        """Give what streams one value that was too large for its line, from the snapshot's own connection."""
        column = table.columns[out.column]
        query = _piece_sql(table, column, snapshot.encoding)
        what = f"{table.text}{where.ctid}, column {column.name}"

        def parts() -> Iterator[bytes]:
            least, most = _FETCH_BYTES
            step = min(max(least, -(-out.size_bytes // _FETCHES)), most)
            for at in range(0, out.size_bytes, step):
                snapshot.left_s()
                found = snapshot.rows(query, (at + 1, step, where.table_oid, where.ctid), binary=True)
                if not found:
                    raise ItemChanged(f"{what} is not where the snapshot had it: read the table again")
                part: bytes = found[0][0]
                self._throttle.spend(len(part), snapshot.left_s)
                yield part

        return lambda: in_pieces(checked(parts(), out, what))


def _piece_sql(table: Table, column: Column, encoding: str) -> str:
    data = bytes_sql(column, encoding).replace("%", "%%")
    start = f"SELECT substring({data} FROM %s FOR %s) FROM "  # noqa: S608  identifiers are quoted
    return start + table.sql.replace("%", "%%") + " WHERE tableoid = %s::oid AND ctid = %s::tid"
