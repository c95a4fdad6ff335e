"""Describe the fields and dimensions of records: `scelle/schema/v1` (ledger.md §2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from scelle.errors import FormatError
from scelle.formats.canonical_json import canonical_json_int, parse_json_strict
from scelle.formats.tokens import INT64_MAX, shown
from scelle.formats.values import LETTERS

FORMAT: Final = "scelle/schema/v1"
SCHEMA_MAX_BYTES: Final = 64 * 1024
DIMENSIONS_MAX: Final = 32
FIELDS_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Field:
    """Name one field and the type letter of its values."""

    name: str
    type: str


@dataclass(frozen=True)
class Schema:
    """Say what each field of a record is, and by which dimensions records are found.

    Field 0 is the event time, field 1 the sequence number, field d (d >= 2) the identifier of dimension d,
    counted from 1; dimension 1, `source`, is no field. Raises FormatError when made with anything else.
    """

    name: str
    version: int
    dimensions: tuple[str, ...]
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        _check_names(self)
        _check_dimensions(self)
        _check_types(self)

    def encode(self) -> bytes:
        """Write the schema's canonical bytes, at most 64 KiB, without a line end."""
        data = canonical_json_int({
            "dimensions": self.dimensions,
            "fields": [{"name": field.name, "type": field.type} for field in self.fields],
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
        })  # fmt: skip
        if len(data) > SCHEMA_MAX_BYTES:
            raise FormatError(
                f"schema {shown(self.name)} is {len(data)} bytes, must be at most 64 KiB: shorten it"
            )
        return data

    @cached_property
    def digest(self) -> bytes:
        """Give the SHA-256 that manifests name this schema by."""
        return sha256(self.encode()).digest()

    @cached_property
    def _allowed(self) -> tuple[bytes, ...]:
        later = tuple(field.type.encode("ascii") + b"n" for field in self.fields[2:])
        return (b"t", b"i", *later)

    def check_values(self, values: Sequence[bytes]) -> None:
        """Check that encoded `values` have the types of the fields; all but fields 0 and 1 may also be null.

        Only count and type letters are looked at; `decode_value` checks payloads.
        """
        allowed = self._allowed
        if len(values) != len(allowed):
            raise FormatError(
                f"record has {len(values)} values, schema {shown(self.name)} has {len(allowed)} fields"
            )
        for value, letters, field in zip(values, allowed, self.fields, strict=True):
            if value[:1] not in letters or not value:
                raise FormatError(
                    f"type {shown(value[:1])} in field {shown(field.name)}, must be {field.type}"
                )

    def field_number(self, name: str) -> int | None:
        """Give the number of the field `name`, or None where there is none."""
        return next((number for number, field in enumerate(self.fields) if field.name == name), None)

    def dimension_number(self, name: str) -> int | None:
        """Give the number of the dimension `name`, counted from 1, or None where there is none."""
        return self.dimensions.index(name) + 1 if name in self.dimensions else None


def parse_schema(data: bytes) -> Schema:
    """Read a schema from its canonical bytes; unknown, missing and duplicate keys are refused."""
    if len(data) > SCHEMA_MAX_BYTES:
        raise FormatError(f"schema of {len(data)} bytes, must be at most 64 KiB: shorten it")
    document = parse_json_strict(data)
    if not isinstance(document, dict) or sorted(document) != [
        "dimensions",
        "fields",
        "format",
        "name",
        "version",
    ]:
        raise FormatError("schema must have exactly dimensions, fields, format, name and version")
    if document["format"] != FORMAT:
        raise FormatError(f"schema format is {shown(document['format'])}, must be {FORMAT}")
    dimensions, fields = document["dimensions"], document["fields"]
    if not isinstance(dimensions, list) or not isinstance(fields, list):
        raise FormatError("schema dimensions and fields must be lists")
    return Schema(document["name"], document["version"], tuple(dimensions), tuple(map(_parse_field, fields)))


def _parse_field(document: Any) -> Field:
    if not isinstance(document, dict) or sorted(document) != ["name", "type"]:
        raise FormatError("schema field must have exactly name and type")
    return Field(document["name"], document["type"])


def _check_names(schema: Schema) -> None:
    names = [field.name for field in schema.fields]
    for name in (schema.name, *schema.dimensions, *names):
        if not isinstance(name, str) or not name or "\0" in name:
            raise FormatError(f"schema name {shown(name)} must be text, not empty and without NUL")
    if len(set(names)) != len(names):
        raise FormatError(f"schema {shown(schema.name)} names a field twice: give each its own name")
    if type(schema.version) is not int or not 0 <= schema.version <= INT64_MAX:
        raise FormatError(f"schema version {shown(schema.version)} must be a number from 0")


def _check_dimensions(schema: Schema) -> None:
    dimensions = schema.dimensions
    if dimensions[:2] != ("source", "account") or not 2 <= len(dimensions) <= DIMENSIONS_MAX:
        raise FormatError(
            f"schema {shown(schema.name)}: dimensions start with source, account and are at most 32"
        )
    if len(set(dimensions)) != len(dimensions):
        raise FormatError(f"schema {shown(schema.name)} names a dimension twice: give each its own name")


def _check_types(schema: Schema) -> None:
    types = [field.type for field in schema.fields]
    if not len(schema.dimensions) < len(types) <= FIELDS_MAX:
        raise FormatError(f"schema {shown(schema.name)} has {len(types)} fields; a dimension lacks its field")
    for letter in types:
        if not isinstance(letter, str) or len(letter) != 1 or letter not in LETTERS:
            raise FormatError(f"schema {shown(schema.name)}: {shown(letter)} is no type letter")
    if types[:2] != ["t", "i"]:
        raise FormatError(
            f"schema {shown(schema.name)}: field 0 is the time (t), field 1 the sequence number (i)"
        )
    if not set(types[2 : len(schema.dimensions) + 1]) <= {"s", "n"}:
        raise FormatError(f"schema {shown(schema.name)}: the identifier of a dimension is of type s or n")


DOCUMENT_V1: Final = Schema(
    "scelle.document",
    1,
    ("source", "account", "native"),
    (
        Field("time", "t"),
        Field("seq", "i"),
        Field("account", "s"),
        Field("native_id", "s"),
        Field("media_type", "s"),
        Field("content", "h"),
        Field("chunks", "h"),
        Field("time_basis", "s"),
        Field("meta", "j"),
    ),
)
EVENT_V1: Final = Schema(
    "scelle.event",
    1,
    ("source", "account", "kind"),
    (Field("time", "t"), Field("seq", "i"), Field("account", "s"), Field("kind", "s"), Field("body", "j")),
)
