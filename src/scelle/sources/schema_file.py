"""Read the TOML file that says what the rows of a source are, and make the ledger's schema of it.

[schema]
name = "posts"
time = "created_at"
id = "post_id"
account = "author.id"
dimensions = ["model"]

[fields]
text = "s"
score = "D"
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scelle.errors import FormatError, SchemaWrong
from scelle.formats.schema import Field, Schema
from scelle.formats.tokens import shown
from scelle.sources.event_times import TIME_UNITS, EventClock, is_zone
from scelle.sources.json_values import JSON_TEXT, TYPES

FORMATS: Final = ("jsonl", "csv", "parquet")
FILE_MAX_BYTES: Final = 1 << 20
_DOTS_MAX: Final = 1000
DIMENSIONS_MAX: Final = 29
"""How many a file may declare, beside source, account and native."""

RAW: Final = "raw"
"""The field (type `h`) that holds the whole row where one of its values is too large for a value."""

_FIRST: Final = (("time", "t"), ("seq", "i"), ("account", "s"), ("native_id", "s"))
_ALWAYS: Final = ("source", "account", "native")
_RESERVED: Final = frozenset([*(name for name, _ in _FIRST), "more", "more_text", RAW, "origin"])
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """What a schema file says. Field names are the source's own; dots lead into objects (`payload.ts_ms`).

    `id` of several fields is made of them all. `time_unit` is None where numbers are seconds without anybody
    having said so. `fields` are the listed fields and their types, in order.
    """

    name: str
    version: int = 1
    time: str | None = None
    id: tuple[str, ...] = ()
    account: str | None = None
    custodian: str | None = None
    dimensions: tuple[str, ...] = ()
    profile: int = 1
    time_unit: str | None = None
    zone: str = "UTC"
    keeps_extra: bool = True
    format: str | None = None
    delimiter: str | None = None
    quote: str = '"'
    columns: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def holder_field(self) -> str | None:
        """Give the field that names whose a row is."""
        return self.account if self.custodian is None else self.custodian

    @property
    def holder_kind(self) -> str:
        """Give the kind of identifier that stands before it (ledger.md §2)."""
        return "account" if self.custodian is None else "custodian"

    @property
    def clock(self) -> EventClock:
        """Give what reads the source's times."""
        return EventClock(self.time_unit or "s", self.zone)


@dataclass(frozen=True, slots=True)
class Column:
    """Say which field of the source a field of the ledger's schema holds, and as which type of a schema file."""

    name: str
    source: str
    type: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The ledger's schema of a file.

    In order: time, seq, account, native_id, `dimensions`, `listed`, more, more_text, raw, origin.
    """

    schema: Schema
    dimensions: tuple[Column, ...]
    listed: tuple[Column, ...]


def read_schema_file(path: Path) -> SchemaFile:
    """Read a schema file; raises SchemaWrong."""
    try:
        if path.exists() and not path.is_file():  # a pipe would make us wait
            raise SchemaWrong(f"schema file {shown(str(path))} is no regular file: name one")
        with path.open("rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise SchemaWrong(
            f"schema file {str(path)!a} cannot be read ({error.strerror}): correct its name"
        ) from error
    if len(data) > FILE_MAX_BYTES:
        raise SchemaWrong(f"schema file {str(path)!a} is over 1 MiB: list fewer fields")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise SchemaWrong(f"schema file {str(path)!a} is not UTF-8: save it as UTF-8") from None
    return parse_schema_file(text, str(path))


def parse_schema_file(text: str, where: str = "schema") -> SchemaFile:
    """Read the text of a schema file; `where` names it in messages. Raises SchemaWrong."""
    if any(line.count(".") > _DOTS_MAX for line in text.splitlines()):
        raise SchemaWrong(
            f"{where}: a line has over {_DOTS_MAX} dots, no name is nested so deep: correct the file"
        )
    try:
        document = tomllib.loads(text)
        return _Reader(where, document).read()
    except RecursionError:
        raise SchemaWrong(f"{where}: nested too deep: correct the file") from None
    except ValueError as error:  # TOMLDecodeError, and a number of thousands of digits
        raise SchemaWrong(f"{where} is not TOML: {error}") from None


def layout(file: SchemaFile) -> Layout:
    """Lay out the ledger's schema of a file: names all different, `source.NAME` where one is taken.

    Raises SchemaWrong where it would be over 64 KiB.
    """
    taken = set(_RESERVED)
    dimensions = tuple(Column(_free(name, taken), name, "s") for name in file.dimensions)
    listed = [Column(_free(name, taken), name, letter) for name, letter in file.fields]
    if file.time is not None and file.time not in dict(file.fields):
        letter = "s" if file.time_unit is None else "D"
        listed.append(Column(_free(file.time, taken), file.time, letter))
    names = set(_ALWAYS)
    declared = [_free(name, names) for name in file.dimensions]
    fields = [*_FIRST, *((column.name, "s") for column in dimensions)]
    fields += [(column.name, "s" if column.type == JSON_TEXT else column.type) for column in listed]
    fields += [("more", "j"), ("more_text", "s")] if file.keeps_extra else []
    fields += [(RAW, "h"), ("origin", "j")]
    try:
        schema = Schema(
            file.name, file.version, (*_ALWAYS, *declared), tuple(Field(*field) for field in fields)
        )
        schema.encode()
    except FormatError as error:
        raise SchemaWrong(
            f"schema {shown(file.name)} with {len(file.fields)} fields cannot be a ledger's ({error}): list fewer, "
            "what is not listed is kept in the field more"
        ) from None
    return Layout(schema, dimensions, tuple(listed))


def path_of(name: str) -> tuple[str, ...] | None:
    """Give the way into objects that a dotted name means where no field has that very name."""
    parts = tuple(name.split("."))
    return parts if len(parts) > 1 and all(parts) else None


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"source.{name}"
    taken.add(name)
    return name


class _Reader:
    """Read a file's tables one key at a time, so that what is left over is a key that nobody knows."""

    def __init__(self, where: str, document: Mapping[str, Any]) -> None:
        self._where = where
        self._document = dict(document)

    def read(self) -> SchemaFile:
        schema, csv = self._table("schema"), self._table("csv")
        fields = tuple(self._fields("", self._table("fields")))
        if self._document:
            raise self._wrong(
                f"{_keys(self._document)} is no table of a schema file: it has schema, csv, fields"
            )
        file = self._roles(schema, csv, fields)
        for table, name in ((schema, "schema"), (csv, "csv")):
            if table:
                raise self._wrong(f"{_keys(table)} is no key of [{name}]: correct or remove it")
        self._check(file)
        layout(file)
        return file

    def _roles(
        self, schema: dict[str, Any], csv: dict[str, Any], fields: tuple[tuple[str, str], ...]
    ) -> SchemaFile:
        return SchemaFile(
            name=self._text(schema, "name", required=True) or "",
            version=self._number(schema, "version", 1),
            time=self._text(schema, "time"),
            id=self._names(schema, "id"),
            account=self._text(schema, "account"),
            custodian=self._text(schema, "custodian"),
            dimensions=self._names(schema, "dimensions"),
            profile=self._number(schema, "profile", 1),
            time_unit=self._choice(schema, "time_unit", tuple(TIME_UNITS)),
            zone=self._text(schema, "zone") or "UTC",
            keeps_extra=self._choice(schema, "extra", ("keep", "refuse")) != "refuse",
            format=self._choice(schema, "format", FORMATS),
            delimiter=self._text(csv, "delimiter"),
            quote=self._text(csv, "quote") or '"',
            columns=self._names(csv, "columns"),
            fields=fields,
        )

    def _check(self, file: SchemaFile) -> None:
        if _NAME.fullmatch(file.name) is None or file.name.startswith("scelle."):
            raise self._wrong(
                "name: use letters, digits, '.', '_' and '-', at most 63, and not scelle. in front"
            )
        if file.account is not None and file.custodian is not None:
            raise self._wrong("account and custodian: the two never meet, so name one of them")
        if file.profile not in (0, 1):
            raise self._wrong("profile: 1 (fields can be redacted) or 0 (they never can)")
        if not is_zone(file.zone):
            raise self._wrong(f"zone {shown(file.zone)} is unknown here: write a name such as Europe/Paris")
        if len(file.dimensions) > DIMENSIONS_MAX:
            raise self._wrong(f"dimensions: at most {DIMENSIONS_MAX}, beside source, account and native")
        for name, many in (("dimensions", file.dimensions), ("id", file.id), ("columns", file.columns),
                           ("fields", [name for name, _ in file.fields])):  # fmt: skip
            if len(set(many)) != len(many):
                raise self._wrong(f"{name}: a field stands twice, name it once")
        for name, mark in (("delimiter", file.delimiter or ","), ("quote", file.quote)):
            if len(mark) != 1 or mark in "\r\n\0" or (name, mark) == ("quote", "\t") or not mark.isascii():
                raise self._wrong(f"csv {name}: one ASCII character, no line end, and no tab to quote with")
        if file.quote == (file.delimiter or ","):
            raise self._wrong("csv: delimiter and quote are the same character")

    def _table(self, name: str) -> dict[str, Any]:
        table = self._document.pop(name, {})
        if not isinstance(table, dict):
            raise self._wrong(f"{name} must be a table: write [{name}]")
        return dict(table)

    def _fields(self, before: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for name, letter in table.items():
            if isinstance(letter, dict):
                yield from self._fields(f"{before}{name}.", letter)
                continue
            if letter == "h":
                raise self._wrong(
                    f"field {shown(before + name)}: h is content, which no row holds; use s, x or json"
                )
            if letter not in TYPES:
                raise self._wrong(f"field {shown(before + name)}: the types are {', '.join(TYPES)}")
            yield before + name, letter

    def _text(self, table: dict[str, Any], key: str, *, required: bool = False) -> str | None:
        value = table.pop(key, None)
        if value is None:
            if required:
                raise self._wrong(f'{key} is missing: write {key} = ".." under [schema]')
            return None
        if not isinstance(value, str) or not value or "\0" in value:
            raise self._wrong(f"{key}: text, not empty")
        return value

    def _number(self, table: dict[str, Any], key: str, default: int) -> int:
        value = table.pop(key, default)
        if type(value) is not int or not 0 <= value < 2**63:
            raise self._wrong(f"{key}: a number from 0")
        return value

    def _names(self, table: dict[str, Any], key: str) -> tuple[str, ...]:
        value = table.pop(key, [])
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(n, str) and n and "\0" not in n for n in names):
            raise self._wrong(f"{key}: names of fields, not empty")
        return tuple(names)

    def _choice(self, table: dict[str, Any], key: str, choices: tuple[str, ...]) -> str | None:
        value: str | None = table.pop(key, None)
        if value is not None and value not in choices:
            raise self._wrong(f"{key}: one of {', '.join(choices)}")
        return value

    def _wrong(self, why: str) -> SchemaWrong:
        return SchemaWrong(f"{self._where}: {why}")


def _keys(table: Mapping[str, Any]) -> str:
    return ", ".join(shown(key) for key in table)
