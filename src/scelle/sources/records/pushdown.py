"""Let DuckDB say which rows of a Parquet file no clause covers, so that they are counted and never made into records.

Only where that cannot change the answer: the types of the file's columns must fit the schema file so that no row can
fail, times must lie within 64 bits, and DuckDB must read the file without a fault. Elsewhere every row is read. One
fault is not looked for in rows that are left out: an identifier over 1 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from scelle.formats.tokens import TIME_MAX, TIME_MIN
from scelle.scope.dialects import RE2, translate_pattern
from scelle.scope.model import Clause, Holders, Reason
from scelle.sources.clause_sql import (
    CANDIDATE,
    ClauseSql,
    NotTranslatable,
    Test,
    clause_codes,
    named_holders,
    quoted,
    reason_of,
    same_for_all,
    together_sql,
)
from scelle.sources.event_times import TIME_UNITS
from scelle.sources.records.rows import VALUE_MAX_BYTES
from scelle.sources.schema_file import SchemaFile, layout, path_of

if TYPE_CHECKING:  # they are an extra
    import duckdb
    import pyarrow
    from pyarrow import parquet

    from scelle.scope.pushdown import Pushdown

MEMORY_LIMIT: Final = "128MB"
_INTEGERS: Final = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
_TEXTS: Final = ("string", "large_string")
_FITS: Final = {
    "s": _TEXTS,
    "i": _INTEGERS,
    "D": (*_INTEGERS, "uint64"),
    "d": ("float", "double"),
    "b": ("bool",),
    "x": (*_TEXTS, "binary", "large_binary"),
    "json": (*_TEXTS, "bool", *_INTEGERS, "uint64"),
}
"""Types of Arrow whose every value is written as the type of a schema file."""

_AS_TEXT: Final = (*_TEXTS, *_INTEGERS, "uint64", "bool")
"""Types of Arrow whose every value is an identifier."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BIGINT_MAX: Final = 2**63 - 1


class Selection(NamedTuple):
    """Say which rows of a file are to be read, in order, and how many are left out for which reason."""

    candidates: Sequence[int]
    left_out: dict[str, int]


class ParquetPushdown:
    """Ask DuckDB about the files of one source, for one set of clauses; not safe for several threads."""

    def __init__(self, schema: SchemaFile, holder: str | None, pushdown: Pushdown) -> None:
        self.pushdown = pushdown
        self._schema, self._holder = schema, holder
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lists: dict[frozenset[str], str] = {}

    def close(self) -> None:
        """Let go of the engine."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._lists.clear()

    def ask(self, file: BinaryIO, place: str, path: bytes) -> Selection | None:
        """Say which rows of a file are to be read; None where all must be, or no DuckDB is installed.

        `place` is a path of the file without characters that mean something in a pattern; `path` is the unit's.
        """
        try:
            import duckdb
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            return None
        try:
            opened = parquet.ParquetFile(file, pre_buffer=False)
            columns = {field.name: field.type for field in opened.schema_arrow}
            if not _can_be_told_apart(opened.schema_arrow.names) or not self.pushdown.clauses:
                return None
            if not _always_fits(self._schema, columns):
                return None
            teller = _ParquetSql(
                self._schema, self._holder, self.pushdown, path, columns, opened.metadata, self._list
            )
            clauses = [list(teller.tests(clause)) for clause in self.pushdown.clauses]
            if not all(clauses):
                return None
            rows = opened.metadata.num_rows
            reason = same_for_all(clauses)
            if reason is not None:
                return Selection((), {reason: rows} if rows else {})
            return _asked(self._engine(), place, clauses, rows)
        except (NotTranslatable, pyarrow.ArrowException, OSError, UnicodeDecodeError, duckdb.Error):
            return (
                None  # whatever it is, reading it will say; or it is too much for the engine, and not for us
            )

    def _engine(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            import duckdb

            config: dict[str, str | bool | int | float | list[str]] = {
                "threads": 1,
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": "",  # nothing of a source may lie in a folder outside the vault
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
            self._connection = duckdb.connect(":memory:", config=config)
        return self._connection

    def _list(self, identifiers: Collection[str]) -> str:
        """Write a query that gives identifiers; they are told to the engine once."""
        if any("\0" in each for each in identifiers):
            raise NotTranslatable
        listed = frozenset(
            each for each in identifiers if not _SURROGATE.search(each)
        )  # half a pair is no text
        if listed not in self._lists:
            name = f"named{len(self._lists)}"
            self._engine().execute(
                f"CREATE TABLE {name} AS SELECT unnest(?::VARCHAR[]) AS id", [sorted(listed)]
            )
            self._lists[listed] = name
        return f"SELECT id FROM {self._lists[listed]}"  # noqa: S608  it is a name of ours


def _asked(
    connection: duckdb.DuckDBPyConnection, place: str, clauses: Sequence[Sequence[Test]], rows: int
) -> Selection:
    """Count rows by code, and list the candidates.

    Where all clauses begin with a period, rows outside of all of them are not even scanned: what the file says of its
    row groups is enough for most of them.
    """
    first, rest = "true", clauses
    if all(tests[0].passes for tests in clauses):
        first = " OR ".join(f"({tests[0].passes})" for tests in clauses)
        rest = [tests[1:] for tests in clauses] if len(clauses) == 1 else clauses
    codes = clause_codes(rest)
    names = [f"code{place}" for place in range(len(codes))]
    said = ", ".join(f"{code} AS {name}" for code, name in zip(codes, names, strict=True))
    query = (
        f"SELECT code, count(*), list(number) FILTER (WHERE code = {CANDIDATE}) FROM ("  # noqa: S608  see `Test`
        f"SELECT {together_sql(names)} AS code, number FROM ("
        f"SELECT {said}, file_row_number AS number FROM read_parquet(?, file_row_number = true) WHERE {first}"
        ")) GROUP BY code"
    )
    candidates: list[int] = []
    left_out: dict[str, int] = {}
    scanned = 0
    for found, count, numbers in connection.execute(query, [place]).fetchall():
        scanned += count
        if found == CANDIDATE:
            candidates = sorted(numbers)
        else:
            reason = reason_of(found)
            left_out[reason] = left_out.get(reason, 0) + count
    if scanned < rows:
        left_out[Reason.PERIOD.value] = left_out.get(Reason.PERIOD.value, 0) + rows - scanned
    return Selection(candidates, left_out)


def _always_fits(schema: SchemaFile, columns: dict[str, pyarrow.DataType]) -> bool:
    """Tell whether no row of such columns can fail."""
    listed = {column.source: column.type for column in layout(schema).listed}
    roles = [*schema.dimensions, *schema.id, *([schema.holder_field] if schema.holder_field else [])]
    names = {*listed, *roles, *([schema.time] if schema.time else [])}
    if any(name not in columns and path_of(name) is not None for name in names):
        return False  # it may stand inside of a column
    if not schema.keeps_extra and set(columns) - names:
        return False
    if any(str(columns[name]) not in _AS_TEXT for name in roles if name in columns):
        return False
    for name, letter in listed.items():
        if name not in columns or (name == schema.time and name not in dict(schema.fields) and letter == "s"):
            continue  # whatever is a time is kept as it is printed
        if str(columns[name]) not in _FITS.get(letter, ()):
            return False
    return True


def _can_be_told_apart(names: Sequence[str]) -> bool:
    """Tell whether DuckDB, which disregards case in names, finds the column that is meant."""
    return len({name.casefold() for name in names}) == len({name.lower() for name in names}) == len(names)


class _ParquetSql(ClauseSql):
    def __init__(
        self,
        schema: SchemaFile,
        holder: str | None,
        pushdown: Pushdown,
        path: bytes,
        columns: dict[str, pyarrow.DataType],
        metadata: parquet.FileMetaData,
        list_of: Callable[[Collection[str]], str],
    ) -> None:
        super().__init__(pushdown, path)
        self.file, self.of_unit, self.columns, self.metadata = schema, holder, columns, metadata
        self.layout, self.list_of = layout(schema), list_of
        self.bounds: tuple[Any, Any] | None = None
        self.time = self._time()

    # --- times

    def _time(self) -> tuple[str, int, bool] | None:
        """Give the time's column, what one of its units is in nanoseconds, and whether one may be null.

        None where no row has a time. Raises NotTranslatable where a time might not be one, or not within 64 bits.
        """
        name = self.file.time
        if name is None or name not in self.columns:
            return None
        kind = self.columns[name]
        if str(kind) in _INTEGERS:
            unit_ns = 10 ** (9 - TIME_UNITS[self.file.time_unit or "s"])
        elif (str(kind) == "timestamp[us]" and self.file.zone == "UTC") or str(
            kind
        ) == "timestamp[us, tz=UTC]":
            unit_ns = 1000
        else:
            raise NotTranslatable
        low, high, may_be_null = self._bounds(name)
        self.bounds = None if low is None else (low, high)
        if low is not None and high is not None and not self._are_times(low, high, unit_ns):
            raise NotTranslatable
        return name, unit_ns, may_be_null

    def _are_times(self, low: Any, high: Any, unit_ns: int) -> bool:
        if isinstance(low, int) and isinstance(high, int):
            return low * unit_ns // 1000 > TIME_MIN and high * unit_ns // 1000 < TIME_MAX
        return bool(low.year > 1 and high.year < 9999)  # datetime has no others: it would have raised

    def _bounds(self, name: str) -> tuple[Any, Any, bool]:
        """Give the least and the largest value of a column, and whether one may be null; raises NotTranslatable."""
        places = [at for at in range(self.metadata.num_columns) if self._column_name(at) == name]
        if len(places) != 1:  # `b` inside of `a` has the name of a column `a.b`
            raise NotTranslatable
        place = places[0]
        lows, highs, may_be_null = [], [], False
        for group in range(self.metadata.num_row_groups):
            chunk = self.metadata.row_group(group).column(place)
            found = chunk.statistics
            if found is None or not found.has_null_count:
                raise NotTranslatable
            may_be_null |= found.null_count > 0
            if not found.has_min_max:
                if found.null_count != chunk.num_values:
                    raise NotTranslatable
                continue
            try:
                lows.append(found.min)
                highs.append(found.max)
            except (ValueError, OverflowError):  # a time that Python has no form for
                raise NotTranslatable from None
        return (min(lows), max(highs), may_be_null) if lows else (None, None, may_be_null)

    def _column_name(self, place: int) -> str:
        return str(self.metadata.schema.column(place).path)

    def period(self, clause: Clause) -> Iterator[Test]:
        """Write the test of a row's time; one that has none is covered."""
        start, end = clause.period_from_us, clause.period_to_us
        if (start is None and end is None) or self.time is None:
            return
        name, unit_ns, may_be_null = self.time
        column = quoted(name)
        inside = [] if start is None else [f"{column} >= {self._bound(start, name, unit_ns)}"]
        inside += [] if end is None else [f"{column} < {self._bound(end, name, unit_ns)}"]
        passes = " AND ".join(inside)
        if not may_be_null and self._is_outside(start, end, unit_ns):
            yield Test("true", Reason.PERIOD, "false")
            return
        if may_be_null:
            passes = f"({passes}) OR {column} IS NULL"
        yield Test(f"NOT ({passes})", Reason.PERIOD, passes)

    def _is_outside(self, start: int | None, end: int | None, unit_ns: int) -> bool:
        """Tell whether all times of the file lie on one side of a period."""
        if self.bounds is None:
            return False
        low, high = (_time_us(each, unit_ns) for each in self.bounds)
        return (start is not None and high < start) or (end is not None and low >= end)

    def _bound(self, time_us: int, name: str, unit_ns: int) -> str:
        """Write the least value of the column whose time is not before `time_us`."""
        if str(self.columns[name]) in _INTEGERS:
            number = -(-time_us * 1000 // unit_ns)
            return f"{number}::BIGINT" if abs(number) <= _BIGINT_MAX else f"{number}::HUGEINT"
        make = "make_timestamptz" if str(self.columns[name]).endswith("tz=UTC]") else "make_timestamp"
        return f"{make}({time_us}::BIGINT)"

    # --- holders, dimensions, fields

    def holder(self, clause: Clause) -> Iterator[Test]:
        """Write the test of a row's account; one that has none is covered."""
        holders = Holders.of(clause)
        name = self.file.holder_field
        if not holders.restrict:
            return
        if name is None:
            yield from self.shared_holder(holders, self.layout.schema, self.of_unit)
            return
        if name not in self.columns:
            return
        named, reason = named_holders(holders, self.file.holder_kind)
        column = quoted(name)
        if not named:
            yield Test(f"{column} IS NOT NULL", reason)
            return
        yield Test(f"coalesce({self._text(name)} NOT IN ({self.list_of(named)}), false)", reason)

    def dimension(self, name: str, identifiers: Sequence[str]) -> Iterator[Test]:
        """Write the test of a further dimension; a null is none of those that are named."""
        number = self.layout.schema.dimension_number(name)
        if number is None:
            return  # covers in doubt
        place = number - 4  # behind source, account and native
        if place < 0:
            raise NotTranslatable
        column = self.file.dimensions[place]
        if column not in self.columns:
            yield Test("true", Reason.DIMENSION)
            return
        yield Test(
            f"coalesce({self._text(column)} NOT IN ({self.list_of(identifiers)}), true)", Reason.DIMENSION
        )

    def field(self, name: str, pattern: str) -> Iterator[Test]:
        """Write the test of a field against an expression; a null matches nothing."""
        if self.layout.schema.field_number(name) is None:
            return  # covers in doubt
        column = next((each for each in self.layout.listed if each.name == name), None)
        if column is None or column.source == self.file.time:
            raise NotTranslatable
        if column.source not in self.columns:
            yield Test("true", Reason.FIELD)
            return
        source = quoted(column.source)
        if column.type != "s":
            if column.type == "json":
                raise NotTranslatable
            yield Test(f"{source} IS NULL", Reason.FIELD)
            return
        said = translate_pattern(pattern, RE2)
        if said is None:
            raise NotTranslatable
        # a value that is too large for a value is null in its record, and null matches nothing
        matches = f"strlen({source}) <= {VALUE_MAX_BYTES - 5} AND regexp_matches({source}, {_literal(said)})"
        yield Test(f"coalesce(NOT ({matches}), true)", Reason.FIELD)

    def _text(self, name: str) -> str:
        column = quoted(name)
        return column if str(self.columns[name]) in _TEXTS else f"CAST({column} AS VARCHAR)"


def _time_us(value: Any, unit_ns: int) -> int:
    if isinstance(value, int):
        return value * unit_ns // 1000
    return (value.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)  # type: ignore[no-any-return]


def _literal(text: str) -> str:
    """Write a text as a constant."""
    return "'" + text.replace("'", "''") + "'"
