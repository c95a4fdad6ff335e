"""Make records of the changes that a replication slot gives: of every row that is written, in whole transactions.

A row becomes the line that COPY would print of it, and then the record that a snapshot would give: the same bytes, so
that a later pass knows it again. Only `origin` differs: it says which change it was, and where in the WAL.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from json import dumps
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import Connection

from scelle.errors import FormatError, SchemaWrong, SourceError, SourceUnreadable
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.formats.values import structure_value
from scelle.sources.interfaces import (
    BadRecord,
    ChangeBatch,
    ChangeKind,
    ChangePlace,
    Member,
    Notice,
    Record,
)
from scelle.sources.postgres.catalog import QUERIES, Column, Leaf, Table, read_catalog
from scelle.sources.postgres.connecting import connect, source_error_of
from scelle.sources.postgres.names import is_selected, parse_patterns, table_text
from scelle.sources.postgres.pgoutput import (
    UNCHANGED,
    Begin,
    Cell,
    Relation,
    Unchanged,
    lsn_text,
    read_begin,
    read_change,
    read_commit,
    read_relation,
    read_truncate,
)
from scelle.sources.postgres.replication import SESSION, ReplicationStream
from scelle.sources.postgres.rows import LargeValue, Place, RowReader, Rows, Stream, in_pieces
from scelle.sources.postgres.settings import PostgresSettings
from scelle.sources.postgres.shapes import INLINE_BYTES, VALUE_BYTES, Shape, shape_of
from scelle.sources.postgres.throttle import Throttle
from scelle.sources.postgres.types import COPY_NULL

RECEIVED_BYTES: Final = 8 << 20
"""So much is taken at once; a single row may be larger."""

_SPECIAL: Final = (b"\\", b"\n", b"\r", b"\b", b"\f", b"\v")
_ESCAPES: Final = (
    (b"\\", b"\\\\"),
    (b"\b", b"\\b"),
    (b"\t", b"\\t"),
    (b"\n", b"\\n"),
    (b"\v", b"\\v"),
    (b"\f", b"\\f"),
    (b"\r", b"\\r"),
)
_NOTHING: Final = b"\0"
"""Stands for NULL while a line is made: no value of PostgreSQL holds this byte."""
_VALUE_AT: Final = 5
_ORIGIN_DEPTH: Final = 4
_DIVERTED: Final = {"delete": b"d", "update": b"u", "truncate": b"t"}
_DIVERTED_TEXTS: Final = {letter: f"diverted-{op}" for op, letter in _DIVERTED.items()}
_KIND_BY_LETTER: Final = {
    b"I": ChangeKind.INSERTED,
    b"U": ChangeKind.UPDATED,
    b"D": ChangeKind.DELETED,
    b"K": ChangeKind.KEY_DELETED,
}


class OldRow(NamedTuple):
    """Carry a row that the guard kept in the store: `op` is delete, update or truncate, `at_us` when that was.

    `number` tells rows apart; `cells` are what COPY prints of `columns`, before its escapes, None for NULL.
    """

    number: int
    table: str
    op: str
    at_us: int
    columns: Sequence[str]
    cells: Sequence[str | None]


class ChangeReader(RowReader):
    """Make records of lines whose place is `@LSN-number-letter-microseconds[-column.column..]`.

    The columns are those, by number, whose values an UPDATE left as they were and the server did not send.
    """

    def _leaf(self, table_oid: bytes) -> str:
        return self._leaves.get(int(table_oid)) or self._shape.table.text

    def _times(self, rows: Rows) -> Iterable[int]:
        """Give each row's own time; of a row of which only the key is known, that of its deletion."""
        committed = [int(place.split(b"-", 4)[3]) for place in rows.columns[1]]
        if self._shape.time is None:
            return committed
        if not any(b"-K-" in place for place in rows.columns[1]):
            return super()._times(rows)
        return [
            time_us if b"-K-" in place else own_us
            for place, time_us, own_us in zip(rows.columns[1], committed, super()._times(rows), strict=True)
        ]

    def _origins_of(self, rows: Rows) -> list[bytes]:
        table = dumps(self._leaf(rows.columns[0][0]), ensure_ascii=False).encode("utf-8")
        if self._shard or any(place.count(b"-") != 3 for place in rows.columns[1]):
            return [
                structure_value(canonical_json(self._origin(oid, place)))
                for oid, place in zip(rows.columns[0], rows.columns[1], strict=True)
            ]
        found = []
        for place in rows.columns[1]:
            lsn, number, letter, time_us = place[1:].split(b"-")
            kind = _KIND_BY_LETTER[letter].value.encode()
            body = b'{"change":"%b","committed":"%b","lsn":"%b","number":%b,"table":%b}'
            found.append(structure_value(body % (kind, time_us, lsn, number, table)))
        return found

    def _origin(self, table_oid: bytes, place: bytes) -> dict[str, Any]:
        lsn, number, letter, time_us, *unsent = place[1:].decode("ascii").split("-")
        body: dict[str, Any] = {"number": int(number), "table": self._leaf(table_oid)}
        if letter.encode() in _DIVERTED_TEXTS:
            return {**body, "at": time_us, "change": _DIVERTED_TEXTS[letter.encode()]}
        body |= {"change": _KIND_BY_LETTER[letter.encode()].value, "committed": time_us, "lsn": lsn}
        if unsent and unsent[0]:
            columns = self._shape.table.columns
            body["unsent"] = [columns[int(column)].name for column in unsent[0].split(".")]
        if self._shard:
            body["shard"] = self._shard
        return body


@dataclass(slots=True)
class _LiveTable:
    """One table as its rows come now: `order` are the places of its columns among the cells, -1 for one not sent."""

    shape: Shape
    reader: ChangeReader
    oid: bytes
    order: tuple[int, ...] | None
    lines: list[bytes] = field(default_factory=list)
    kinds: list[ChangeKind] = field(default_factory=list)
    places: list[ChangePlace] = field(default_factory=list)
    unsent: dict[int, list[int]] = field(default_factory=dict)
    """By the number of a line: the fields whose values were not sent."""


class LiveTables:
    """Give the changes of a database's tables from a slot, from a place in the WAL on.

    Opens one connection that streams, and another, when a table is seen first, that asks what the catalogs say of it.
    Takes no more than `max_bytes_per_second` of the settings: what is not taken yet waits in the server's WAL. Not safe
    for several threads.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        slot: str,
        publications: Sequence[str],
        *,
        from_lsn: int,
    ) -> None:
        """Start streaming; raises a SourceError."""
        self.settings = settings
        self._patterns = parse_patterns(settings.tables)
        try:
            connection = connect(settings, replication=True, parameters=SESSION)
            self._stream = ReplicationStream(connection, slot, publications, from_lsn=from_lsn)
        except psycopg.Error as error:
            raise source_error_of(error, f"slot {slot} of {settings.place}") from error
        self._asking = _Asking(settings)
        self._relations: dict[int, _LiveTable | None] = {}
        self._names: dict[int, bytes] = {}
        self._shapes: dict[str, Shape] = {}
        self._begin: Begin | None = None
        self._number = 0
        self._reached, self._committed_us = from_lsn, 0
        self._transactions: dict[int, int] = {}
        self._notices: list[Notice] = []
        self._touched: list[_LiveTable] = []
        self._large: dict[tuple[bytes, int], bytes] = {}
        self._waiting: deque[bytes] = deque()
        self._throttle = Throttle(settings.max_bytes_per_second, time.monotonic, time.sleep)
        self._at_once_bytes = min(RECEIVED_BYTES, settings.max_bytes_per_second or RECEIVED_BYTES)
        self._learn()

    def _learn(self) -> None:
        """Learn the shapes of the tables that are there, so that a quiet one is looked at, too."""
        try:
            self._shapes |= self._catalogued()
        except SourceError:
            self.close()
            raise

    def _catalogued(self) -> dict[str, Shape]:
        """Return the shapes of the tables as the catalogs have them now, by name; partitions as their root."""
        found = read_catalog(self._asking, self.settings.tables, is_standby=False).tables
        return {table.text: self._shaped(table) for table in found}

    # --- the stream

    def members(self) -> Sequence[Member]:
        """List the shapes of the tables that changes were given of."""
        return [shape.member for shape in self._shapes.values()]

    def receive(self, seconds: float) -> ChangeBatch:
        """Give what came, waiting up to `seconds` for something; raises a SourceError where the stream broke."""
        waiting = self._waiting
        if not waiting and (owed_s := self._throttle.owed_s()) > 0:
            time.sleep(min(owed_s, seconds))
            self.stay_alive()
            return self._drained()
        if not waiting:
            try:
                waiting += self._stream.receive(self._at_once_bytes, seconds)
            except psycopg.Error as error:
                raise source_error_of(error, f"the stream of {self.settings.place}") from error
            self._throttle.owe(sum(map(len, waiting)))
            if not waiting and self._begin is None:
                self._reached = max(self._reached, self._stream.received_lsn)
        while waiting:
            message = waiting.popleft()
            if (
                message[:1] == b"R" and self._touched
            ):  # what came before it is read by the shapes that are known
                waiting.appendleft(message)
                break
            self._take(message)
        return self._drained()

    def completed(self, record: Record, unsent: Sequence[int], state: Sequence[bytes]) -> Record:
        """Return a record with the values that the server did not send, taken from the state before it.

        `version` is then what a snapshot would give, but for bytea, of which only the digest is at hand.
        """
        first = self._shapes[record.member].first
        values, cells = list(record.values), record.version.split(b"\t")
        for number in unsent:
            values[number - 2] = value = state[number]
            if value[:1] in (b"s", b"x"):
                cells[number - first] = _escaped(value[_VALUE_AT:])
        origin = parse_json_strict(values[-1][_VALUE_AT:], _ORIGIN_DEPTH)
        origin["unchanged"] = origin.pop("unsent")
        values[-1] = structure_value(canonical_json(origin))
        return record._replace(values=values, version=b"\t".join(cells))

    def kept(self, rows: Sequence[OldRow]) -> list[Record | BadRecord]:
        """Make records of rows that the guard kept, in their order; of a table that is not known a BadRecord.

        The guard names partitions, and may know of one before the stream does: then the catalogs are asked.
        """
        homes = _homes(self._shapes.values())
        if any(row.table not in homes for row in rows):
            self._shapes |= {
                text: shape for text, shape in self._catalogued().items() if self._is_other(text, shape)
            }
            homes = _homes(self._shapes.values())
        records: list[Record | BadRecord] = []
        for row in rows:
            if row.table not in homes:
                records.append(BadRecord(row.table, "no-such-table", "its rows are not read"))
                continue
            shape, table_oid = homes[row.table]
            letter, settings = _DIVERTED[row.op], self.settings
            place = b"@outbox-%d-%b-%d-" % (row.number, letter, row.at_us)
            told = dict(zip(row.columns, row.cells, strict=True))
            cells = [told.get(column.name) for column in shape.table.columns]
            reader = ChangeReader(shape, "", 0, settings.holder, settings.shard, self._open)
            oid = str(table_oid).encode()
            texts = [None if cell is None else cell.encode("utf-8") for cell in cells]
            records += reader.records(self._line(shape, oid, place, texts))
        self._large = {}
        return records

    def _is_other(self, text: str, shape: Shape) -> bool:
        """Tell whether the catalogs know of a table, or of partitions, that the stream has not told of."""
        known = self._shapes.get(text)
        return known is None or known.table.leaves != shape.table.leaves

    def stay_alive(self) -> None:
        """Keep the stream open while nothing is received."""
        try:
            self._stream.stay_alive()
        except psycopg.Error as error:
            raise source_error_of(error, f"the stream of {self.settings.place}") from error

    def confirm(self, reached: int) -> None:
        """Let the server forget what lies before `reached`."""
        try:
            self._stream.confirm(reached)
        except psycopg.Error as error:
            raise source_error_of(error, f"the stream of {self.settings.place}") from error

    def close(self) -> None:
        """End the stream."""
        self._stream.close()
        self._asking.close()

    # --- messages

    def _take(self, message: bytes) -> None:
        kind = message[:1]
        if kind in (b"I", b"U", b"D"):
            self._take_change(message)
        elif kind == b"B":
            self._begin = begin = read_begin(message)
            self._number = 0
            self._transactions[begin.commit_lsn] = begin.xid
        elif kind == b"C":
            commit = read_commit(message)
            self._begin = None
            self._reached, self._committed_us = commit.end_lsn, commit.time_us
        elif kind == b"R":
            self._describe(read_relation(message))
        elif kind == b"T":
            self._take_truncate(message)
        # what else there is says nothing of rows: a type's name (Y), where a row came from (O), a message (M)

    def _place(self) -> ChangePlace:
        if self._begin is None:
            raise SourceUnreadable(f"{self.settings.place} sent a change outside a transaction: run again")
        place = ChangePlace(self._begin.commit_lsn, self._number)
        self._number += 1
        return place

    def _take_change(self, message: bytes) -> None:
        place = self._place()
        change = read_change(message)
        table = self._relations.get(change.relation)
        if table is None:
            return  # of a table that is not asked for
        old, new = change.old, change.new
        if new is None:
            letter = b"D" if change.old_kind == "O" else b"K"
            self._add(table, old or [], place, letter)
            return
        if old is not None and change.old_kind == "O":
            new = [was if isinstance(cell, Unchanged) else cell for cell, was in zip(new, old, strict=True)]
        if (
            old is not None and change.old_kind == "K"
        ):  # the key was changed: under the old one there is nothing now
            self._add(table, old, place, b"K")
            place = self._place()
        self._add(table, new, place, change.kind.encode())

    def _add(self, table: _LiveTable, cells: list[Cell], place: ChangePlace, letter: bytes) -> None:
        begin = self._begin
        assert begin is not None  # noqa: S101  `_place` has looked
        if table.order is not None:
            cells = [None if at < 0 else cells[at] for at in table.order]
        text = b"@%b-%d-%b-%d" % (lsn_text(place.commit).encode(), place.number, letter, begin.time_us)
        if UNCHANGED in cells:
            unsent = [at for at, cell in enumerate(cells) if isinstance(cell, Unchanged)]
            text += b"-" + ".".join(map(str, unsent)).encode()
            table.unsent[len(table.lines)] = [table.shape.first + at for at in unsent]
        if not table.lines:
            self._touched.append(table)
        table.lines.append(self._line(table.shape, table.oid, text, cells))
        table.kinds.append(_KIND_BY_LETTER[letter])
        table.places.append(place)

    def _line(self, shape: Shape, oid: bytes, place: bytes, cells: Sequence[Cell]) -> bytes:
        """Write a row as COPY would, what is too large for a line set aside."""
        known = [cell if isinstance(cell, bytes) else _NOTHING for cell in cells]
        tail = b""
        if sum(map(len, known)) > INLINE_BYTES:
            tail = self._set_aside(shape, place, known)
        joined = b"\t".join(known)
        if joined.count(b"\t") != len(known) - 1 or any(each in joined for each in _SPECIAL):
            joined = b"\t".join(map(_escaped, known))
        if _NOTHING in joined:
            joined = joined.replace(_NOTHING, COPY_NULL)
        return b"%b\t%b\t%b\t%b\n" % (oid, place, joined, tail)

    def _set_aside(self, shape: Shape, place: bytes, known: list[bytes]) -> bytes:
        told = []
        for at, (cell, letter) in enumerate(zip(known, shape.letters, strict=True)):
            if letter == "h" and (len(cell) - 2) // 2 > INLINE_BYTES:
                data = bytes.fromhex(cell[2:].decode("ascii"))
            elif letter != "h" and len(cell) > VALUE_BYTES:
                data = cell
            else:
                continue
            self._large[place, at] = data
            told.append(f"{at}:{len(data)}:{sha256(data).hexdigest()}")
            known[at] = _NOTHING
        return " ".join(told).encode()

    def _open(self, where: Place, out: LargeValue) -> Stream:
        data = self._large[where.ctid.encode("ascii"), out.column]
        return lambda: in_pieces([data])

    def _take_truncate(self, message: bytes) -> None:
        place = self._place()
        for oid in read_truncate(message).relations:
            if self._relations.get(oid) is not None:
                self._notices.append(Notice("truncated", self._names[oid], "", place))

    def _drained(self) -> ChangeBatch:
        """Hand over what was gathered, table by table."""
        records: list[Record | BadRecord] = []
        kinds: list[ChangeKind] = []
        places: list[ChangePlace] = []
        unsent: dict[int, list[int]] = {}
        for table in self._touched:
            unsent.update((len(records) + at, fields) for at, fields in table.unsent.items())
            records += table.reader.records(b"".join(table.lines))
            kinds += table.kinds
            places += table.places
            table.lines, table.kinds, table.places, table.unsent = [], [], [], {}
        self._touched = []
        self._large = {}
        batch = ChangeBatch(
            records,
            kinds,
            places,
            unsent,
            self._transactions,
            self._notices,
            self._reached,
            self._committed_us,
        )
        self._notices = []
        begin = self._begin
        self._transactions = {} if begin is None else {begin.commit_lsn: begin.xid}
        return batch

    # --- tables

    def _describe(self, relation: Relation) -> None:
        """Learn how a table's rows come from now on: what was gathered of it before is made into records first."""
        text = table_text(relation.schema, relation.name)
        self._names[relation.oid] = text.encode("utf-8")
        if not is_selected(self._patterns, relation.schema, relation.name):
            self._relations[relation.oid] = None
            return
        shape = self._shape(relation, text)
        before = self._shapes.get(text)
        if before is not None and before.table.columns != shape.table.columns:
            self._notices.append(
                Notice("columns-changed", text.encode(), _difference(before, shape), self._here())
            )
        self._shapes[text] = shape
        settings = self.settings
        reader = ChangeReader(shape, "", 0, settings.holder, settings.shard, self._open)
        sent = {column.name: at for at, column in enumerate(relation.columns)}
        order = tuple(sent.get(column.name, -1) for column in shape.table.columns)
        is_straight = order == tuple(range(len(relation.columns)))
        oid = str(shape.table.oid).encode()
        self._relations[relation.oid] = _LiveTable(shape, reader, oid, None if is_straight else order)

    def _here(self) -> ChangePlace:
        return ChangePlace(0 if self._begin is None else self._begin.commit_lsn, self._number)

    def _shape(self, relation: Relation, text: str) -> Shape:
        return self._shaped(self._asking.table(relation, text))

    def _shaped(self, table: Table) -> Shape:
        settings = self.settings
        try:
            return shape_of(
                table,
                settings.schemas.get(table.text),
                encoding=self._asking.encoding,
                holder=settings.holder,
            )
        except (FormatError, SchemaWrong) as error:
            raise SourceUnreadable(
                f"{table.text} of {settings.place} cannot be read as it is now: {error}"
            ) from error


class _Asking:
    """Ask the catalogs what a table is; keeps one connection, opened when it is needed first."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._connection: Connection[Any] | None = None
        self._encoding = ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def encoding(self) -> str:
        """Name the server's encoding."""
        if not self._encoding:
            self._encoding = self.rows("SELECT current_setting('server_encoding')")[0][0]
        return self._encoding

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Give all rows of an answer; raises a SourceError."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._settings)
            return self._connection.execute(query.encode("utf-8"), parameters or None).fetchall()
        except psycopg.Error as error:
            raise source_error_of(error, self._settings.place) from error

    def table(self, relation: Relation, text: str) -> Table:
        """Return the table as the catalogs have it, or as the relation tells where they moved on meanwhile."""
        names = [column.name for column in relation.columns]
        for table in read_catalog(self, (text,), is_standby=False).tables:
            if table.text == text and set(names) <= {column.name for column in table.columns}:
                return table
        return self._told(relation)

    def _told(self, relation: Relation) -> Table:
        """Make the table of what the stream itself says of it: it was dropped or changed since."""
        types = {
            row[0]: row[1:]
            for row in self.rows(QUERIES["types"], ([each.type_oid for each in relation.columns],))
        }
        columns = []
        for number, each in enumerate(relation.columns, 1):
            base, length = types.get(each.type_oid, ("text", -1))
            columns.append(
                Column(number, each.name, base, base, length, each.modifier, False, None, None, None)
            )
        key = tuple(
            number
            for number, each in enumerate(relation.columns, 1)
            if each.is_key and relation.identity != "f"
        )
        leaf = Leaf(relation.oid, table_text(relation.schema, relation.name))
        return Table(relation.oid, relation.schema, relation.name, False, 0, tuple(columns), key, (leaf,))


def _homes(shapes: Iterable[Shape]) -> dict[str, tuple[Shape, int]]:
    """Return how the rows of each table are read, by its name, and its oid: those of a partition as its root's."""
    found: dict[str, tuple[Shape, int]] = {}
    for shape in sorted(shapes, key=lambda each: each.table.is_partitioned):
        found[shape.table.text] = shape, shape.table.oid
        found |= {leaf.text: (shape, leaf.oid) for leaf in shape.table.leaves}
    return found


def _escaped(cell: bytes) -> bytes:
    for byte, escape in _ESCAPES:
        cell = cell.replace(byte, escape)
    return cell


def _difference(before: Shape, after: Shape) -> str:
    """Name the columns that came and went."""
    old = {column.name for column in before.table.columns}
    new = {column.name for column in after.table.columns}
    came, went = sorted(new - old), sorted(old - new)
    return "; ".join(
        f"{what}: {', '.join(names)}" for what, names in (("new", came), ("gone", went)) if names
    )
