"""Choose how the rows of a table become records: roles, fields, and the query that COPY runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scelle.errors import SchemaWrong
from scelle.formats.schema import Field, Schema
from scelle.formats.tokens import shown
from scelle.sources.clause_sql import quoted
from scelle.sources.interfaces import Member
from scelle.sources.postgres.catalog import Column, Table
from scelle.sources.postgres.settings import TableSchema
from scelle.sources.postgres.types import NUMBER_TYPES, TIME_TYPES

ACCOUNT_NAMES: Final = ("account", "account_id", "user_id", "user_name", "owner_id")
TIME_NAMES: Final = ("created_at", "created", "ts", "time")

INLINE_BYTES: Final = 1 << 20
"""Contents of bytea columns up to this size come with their row; larger ones by themselves, in pieces."""

VALUE_BYTES: Final = 16 << 20
"""The largest value that is no content (ledger.md §11)."""

ROW_BYTES: Final = 32 << 20
"""The values of a row take at most this much, so that it fits a line of records.jsonl (ledger.md §11)."""

LARGE: Final = "raw"
"""The field that takes what is too large for a value. Its name makes every redaction of a column redact it too."""

ORIGIN: Final = "origin"
LARGE_OBJECTS: Final = "pg_largeobject"
LARGE_OBJECTS_MEMBER: Final = Member(
    LARGE_OBJECTS,
    Schema(
        "postgres.pg_largeobject",
        1,
        ("source", "account", "native"),
        (
            Field("time", "t"),
            Field("seq", "i"),
            Field("account", "s"),
            Field("native_id", "s"),
            Field("oid", "i"),
            Field("owner", "s"),
            Field("size", "i"),
            Field("content", "h"),
            Field(ORIGIN, "j"),
        ),
    ),
    notes=(
        "the large objects that the tables' oid columns name",
        "account: that of the rows that name it, where all have the same; time: the earliest of theirs",
    ),
)
_STORED_BYTES: Final = 8 << 10
"""A stored value below this size is too small to be printed as 16 MiB, whatever its compression."""

_PLAIN_TEXT: Final = frozenset({"text", "varchar"})


@dataclass(frozen=True, slots=True)
class Shape:
    """Say what becomes of a table's rows.

    `letters` are the letters of the columns, `first` the number of the first column's field. `time`, `account`,
    `dimensions` and `key` are places among the columns, from 0. `large` is the field `raw`, which takes what is
    too large for a value, or None where no column can hold that much.
    """

    table: Table
    member: Member
    letters: tuple[str, ...]
    first: int
    time: int | None
    account: int | None
    account_kind: str
    dimensions: tuple[int, ...]
    key: tuple[int, ...]
    large: int | None
    copy_sql: str
    count_sql: str


def shape_of(table: Table, chosen: TableSchema | None, *, encoding: str, holder: str | None) -> Shape:
    """Choose roles by the schema file, else by name. Raises SchemaWrong, or FormatError for too wide a table."""
    places = {column.name: place for place, column in enumerate(table.columns)}
    time = _time_place(table, places, chosen)
    account, kind = _account_place(table, places, chosen)
    dimensions = _dimension_names(table, places, chosen)
    key, key_note = _key(table, places, chosen)
    letters = tuple(_letter(table, column, chosen, encoding) for column in table.columns)
    has_large = any(column.may_be_large for column in table.columns)
    roles = [Field("time", "t"), Field("seq", "i"), Field("account", "s"), Field("native_id", "s")]
    roles += [Field(name, "s") for name in dimensions]
    names = _field_names(table, [field.name for field in roles])
    fields = [*roles, *map(Field, names, letters)]
    if has_large:
        fields.append(Field(LARGE, "h"))
    fields.append(Field(ORIGIN, "j"))
    version = 1 if chosen is None else chosen.version
    schema = Schema(
        f"postgres.{table.text}", version, ("source", "account", "native", *dimensions), tuple(fields)
    )
    schema.encode()  # says now what would be refused once records are there
    notes = (
        _account_note(table, account, kind, holder),
        _time_note(table, time),
        key_note,
        *_renamed_notes(table, names),
        *(("rows of all partitions are read with it",) if table.is_partitioned else ()),
    )
    return Shape(
        table,
        Member(table.text, schema, 1 if chosen is None else chosen.profile, notes),
        letters,
        len(roles),
        time,
        account,
        kind,
        tuple(places[name] for name in dimensions),
        key,
        len(fields) - 2 if has_large else None,
        _copy_sql(table, encoding),
        f"SELECT count(*) FROM {table.sql}",  # noqa: S608  identifiers are quoted
    )


# --- roles


def _named(table: Table, places: Mapping[str, int], name: str, role: str) -> int:
    if name not in places:
        raise SchemaWrong(
            f"{role} = {shown(name)}: table {table.text} has no such column; it has {_some(places)}"
        )
    return places[name]


def _some(places: Mapping[str, int]) -> str:
    names = list(places)
    return ", ".join(map(shown, names[:12])) + (" .." if len(names) > 12 else "")


def _time_place(table: Table, places: Mapping[str, int], chosen: TableSchema | None) -> int | None:
    if chosen is not None and chosen.time is not None:
        place = _named(table, places, chosen.time, "time")
        if table.columns[place].base_type not in TIME_TYPES:
            raise SchemaWrong(
                f"time = {shown(chosen.time)}: the column is {table.columns[place].type_name} in table "
                f"{table.text}; choose a timestamp or a date"
            )
        return place
    found = (places[name] for name in TIME_NAMES if name in places)
    return next((place for place in found if table.columns[place].base_type in TIME_TYPES), None)


def _account_place(
    table: Table, places: Mapping[str, int], chosen: TableSchema | None
) -> tuple[int | None, str]:
    if chosen is not None and chosen.custodian is not None:
        return _of_a_value(table, _named(table, places, chosen.custodian, "custodian")), "custodian"
    if chosen is not None and chosen.account is not None:
        return _of_a_value(table, _named(table, places, chosen.account, "account")), "account"
    found = (places[name] for name in ACCOUNT_NAMES if name in places)
    return next((place for place in found if table.columns[place].letter != "h"), None), "account"


def _of_a_value(table: Table, place: int) -> int:
    if table.columns[place].letter == "h":
        raise SchemaWrong(
            f"column {shown(table.columns[place].name)} of {table.text} is bytea: no identifier"
        )
    return place


def _dimension_names(table: Table, places: Mapping[str, int], chosen: TableSchema | None) -> tuple[str, ...]:
    names = () if chosen is None else tuple(chosen.dimensions)
    for name in names:
        _of_a_value(table, _named(table, places, name, "dimensions"))
        if name in ("source", "account", "native"):
            raise SchemaWrong(f"dimensions: {name} is a dimension already; take it out")
    return names


def _key(table: Table, places: Mapping[str, int], chosen: TableSchema | None) -> tuple[tuple[int, ...], str]:
    if chosen is not None and chosen.id:
        named = tuple(_named(table, places, name, "id") for name in chosen.id)
        return named, f"id: ({', '.join(chosen.id)}), as the schema says"
    by_number = {column.number: place for place, column in enumerate(table.columns)}
    key = tuple(by_number[number] for number in table.key)
    if key:
        return key, f"id: primary key ({', '.join(table.columns[place].name for place in key)})"
    return (
        (),
        "id: the row's place (ctid), for the table has no primary key; it changes when the row is moved",
    )


def _letter(table: Table, column: Column, chosen: TableSchema | None, encoding: str) -> str:
    letter = column.letter
    if letter == "s" and encoding == "SQL_ASCII":
        letter = "x"
    wanted = None if chosen is None else dict(chosen.fields).get(column.name)
    if wanted is None or wanted == letter:
        return letter
    if letter != "h" and (wanted == "s" or (wanted == "D" and column.base_type in NUMBER_TYPES)):
        return wanted
    raise SchemaWrong(
        f"fields: column {shown(column.name)} of {table.text} is {column.type_name} and is read as {letter}, "
        f"not as {shown(wanted)}: take the line out"
    )


def _field_names(table: Table, taken: Sequence[str]) -> list[str]:
    used = {*taken, LARGE, ORIGIN}
    columns = {column.name for column in table.columns}
    names = []
    for column in table.columns:
        name = column.name
        while name in used or (name != column.name and name in columns):
            name = f"source.{name}"
        used.add(name)
        names.append(name)
    return names


# --- notes


def _account_note(table: Table, account: int | None, kind: str, holder: str | None) -> str:
    if account is not None:
        return f"{kind}: column {table.columns[account].name}"
    if holder is not None:
        return f"account: {holder}, whose the source is, for no column is named {', '.join(ACCOUNT_NAMES)}"
    return f"account: none, for no column is named {', '.join(ACCOUNT_NAMES)}"


def _time_note(table: Table, time: int | None) -> str:
    if time is None:
        return f"time: the snapshot's, for no timestamp is named {', '.join(TIME_NAMES)}"
    column = table.columns[time]
    zone = "" if column.base_type == "timestamptz" else f" ({column.type_name}, taken as UTC)"
    return f"time: column {column.name}{zone}"


def _renamed_notes(table: Table, names: Sequence[str]) -> list[str]:
    return [
        f"column {column.name}: field {name}, for {column.name} is a field of every record"
        for column, name in zip(table.columns, names, strict=True)
        if name != column.name
    ]


# --- the query


def _copy_sql(table: Table, encoding: str) -> str:
    """Write the query of a table: partition, place, the columns, and what was left out of them for its size."""
    columns = [f"{_cell_sql(column, encoding)}" for column in table.columns]
    large = [_left_out_sql(place, column, encoding) for place, column in enumerate(table.columns)]
    left_out = [text for text in large if text]
    sizes = f"concat_ws(' ', {_in_groups(left_out)})" if left_out else "''"
    selected = ", ".join(["tableoid", "ctid", *columns, sizes])
    options = " WITH (ENCODING 'SQL_ASCII')" if encoding == "SQL_ASCII" else ""
    return f"COPY (SELECT {selected} FROM {table.sql}) TO STDOUT{options}"  # noqa: S608  identifiers are quoted


def _in_groups(parts: Sequence[str]) -> str:
    """Join arguments, of which a function takes at most 100."""
    if len(parts) <= 50:
        return ", ".join(parts)
    half = len(parts) // 2
    groups = (parts[:half], parts[half:])
    return ", ".join(f"nullif(concat_ws(' ', {_in_groups(group)}), '')" for group in groups)


def _cell_sql(column: Column, encoding: str) -> str:
    name = quoted(column.name)
    is_large = _is_large_sql(column, encoding)
    return f"CASE WHEN {is_large} THEN NULL ELSE {name} END" if is_large else name


def _left_out_sql(place: int, column: Column, encoding: str) -> str:
    is_large = _is_large_sql(column, encoding)
    if not is_large:
        return ""
    data = bytes_sql(column, encoding)
    told = f"concat('{place}:', octet_length({data}), ':', encode(sha256({data}), 'hex'))"
    return f"CASE WHEN {is_large} THEN {told} END"


def _is_large_sql(column: Column, encoding: str) -> str:
    name = quoted(column.name)
    if column.base_type == "bytea":
        return f"octet_length({name}) > {INLINE_BYTES}"
    if not column.may_be_large:
        return ""
    if column.base_type in _PLAIN_TEXT:
        return f"octet_length({name}::text) > {VALUE_BYTES}"
    text = f"octet_length({bytes_sql(column, encoding)})"
    return f"pg_column_size({name}) > {_STORED_BYTES} AND {text} > {VALUE_BYTES}"


def bytes_sql(column: Column, encoding: str) -> str:
    """Write the expression of a value's bytes as COPY would print them, before escapes."""
    name = quoted(column.name)
    if column.base_type == "bytea":
        return f"{name}::bytea"
    # format prints as COPY does, where a cast to text may not: inet adds a mask, bpchar loses blanks
    text = f"{name}::text" if column.base_type in _PLAIN_TEXT else f"format('%s', {name})"
    return f"convert_to({text}, '{'SQL_ASCII' if encoding == 'SQL_ASCII' else 'UTF8'}')"
