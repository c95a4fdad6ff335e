"""A source of records that does what a test tells it to, in the world of test_capture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scelle.errors import ItemUnreadable, UnitRewritten
from scelle.formats.schema import Field, Schema
from scelle.formats.values import NULL, text_value
from scelle.ledger.rows import Row
from scelle.sources.interfaces import BadRecord, Batch, Content, Document, Member, Record, Trouble, Unit
from tests.unit.capture.world import NOW_US, World

AT_ONCE = 3  # records a batch
POSTS = Schema(
    "posts",
    1,
    ("source", "account", "native"),
    (
        Field("time", "t"),
        Field("seq", "i"),
        Field("account", "s"),
        Field("native_id", "s"),
        Field("text", "s"),
    ),
)
BAD = "bad"


@dataclass
class Table:
    """One unit: rows of (native id, account, text); a row whose text is `bad` fits no schema."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    is_stamped: bool = True
    is_marked: bool = True
    waits: str | None = None
    raises: list[tuple[int, BaseException]] = field(default_factory=list)
    """(rows given before, what is raised), one for each of the next reads."""


class ScriptedRecords:
    """Offer the rows of `tables`; a RecordSource."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.troubles: list[Trouble] = []
        self.schema = POSTS
        self.profile = 1
        self.unreachable: BaseException | None = None
        self.given = 0  # rows handed out
        self.on_batch: Callable[[], None] = lambda: None
        self.warns: list[str] = []
        self.closed = 0
        self.damaged: set[str] = set()
        """Native ids of records with a content that cannot be read."""

    def test(self) -> None:
        if self.unreachable is not None:
            raise self.unreachable

    def members(self) -> list[Member]:
        return [Member("posts", self.schema, self.profile, ("account is user",))]

    def units(self) -> Iterator[Unit | Trouble]:
        yield from self.troubles
        for name, table in sorted(self.tables.items()):
            stamp = _digest(table, len(table.rows)) if table.is_stamped else b""
            yield Unit(name.encode(), ("posts",), stamp, sum(len(row[2]) for row in table.rows))

    def read(self, unit: Unit, mark: bytes) -> Iterator[Batch]:
        table = self.tables[unit.native.decode()]
        start = 0
        if mark:
            number, _, digest = mark.partition(b":")
            start = int(number)
            if start > len(table.rows) or _digest(table, start) != digest:
                raise UnitRewritten(f"{unit.native!r} was rewritten")
        fails_after, error = table.raises.pop(0) if table.raises else (len(table.rows) + 1, None)
        for at in range(start, len(table.rows), AT_ONCE):
            rows = table.rows[at : at + AT_ONCE]
            if error is not None and at + len(rows) > fails_after:
                raise error
            self.given += len(rows)
            self.on_batch()
            end = at + len(rows)
            made = b"%d:%s" % (end, _digest(table, end)) if table.is_marked else b""
            yield Batch([self._record(unit, at + n, row) for n, row in enumerate(rows)], made)

    def waiting(self, unit: Unit) -> str | None:
        return self.tables[unit.native.decode()].waits

    def warnings(self) -> list[str]:
        return list(self.warns)

    def close(self) -> None:
        self.closed += 1

    def _record(self, unit: Unit, number: int, row: tuple[str, str, str]) -> Record | BadRecord:
        native, account, text = row
        if text == BAD:
            return BadRecord(f"{unit.native.decode()} row {number}", "schema-mismatch", "text is bad")
        holder = f"account:{account}" if account else None
        values = [NULL if holder is None else text_value(holder), text_value(native), text_value(text)]
        values += [NULL] * (len(self.schema.fields) - 5)
        raw = "\0".join(row).encode()
        contents = (Content(4, _damaged()),) if native in self.damaged else ()
        return Record("posts", native.encode(), NOW_US + number, holder, values, raw, len(raw), contents)


def _damaged() -> Document:
    def stream() -> Iterator[bytes]:
        yield b"the beginning"
        raise ItemUnreadable("it is damaged", "object-damaged")

    return Document(None, stream, 20, "text/plain", b"{}", NOW_US, "mtime", b"")


def _digest(table: Table, rows: int) -> bytes:
    return hashlib.sha256(repr(table.rows[:rows]).encode()).hexdigest().encode()


class RecordWorld(World):
    """A vault with one order and one source of records."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.records_source = ScriptedRecords()

    @property
    def reader(self) -> ScriptedRecords:
        return self.records_source

    @property
    def tables(self) -> dict[str, Table]:
        return self.records_source.tables

    def sealed(self, alias: str = "s0001/1") -> list[tuple[str, str]]:
        """(native id, text) of every sealed record, in capture order."""
        return [_shown(row) for row in self.rows(alias)]


def _shown(row: Row) -> tuple[str, str]:
    values = row.split_values()
    return values[3][5:].decode(), values[4][5:].decode()
