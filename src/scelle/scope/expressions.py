"""Evaluate the CEL expressions of clauses over the fields of a record.

An expression sees `r`, a map of the record's fields by name; `time`, a timestamp, null where the record has none
or one outside the years 1 to 9999; and `account`, the identifier with its kind, or null. Fields become CEL
values by their type: `i` int, `d` and `D` double (the nearest one), `b` bool, `t` timestamp, `s` string,
`x` bytes, `j` maps and lists, `h` a map of `digest` and `size`, `n` null. A field that the record's schema lacks is
no key of `r`: asking for it is an error, and an expression that errors decides nothing.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from scelle.errors import ClauseWrong, ExpressionEngineMissing, FormatError
from scelle.formats.schema import Schema
from scelle.formats.values import UNDATED, Content, decode_value

EXPRESSION_MAX_CHARACTERS: Final = 1000
_VARIABLES: Final = frozenset({"r", "time", "account"})
_TYPES: Final = frozenset(
    {
        "bool",
        "bytes",
        "double",
        "duration",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "timestamp",
        "type",
        "uint",
    }
)
_FUNCTIONS: Final = frozenset(
    {
        *("size", "contains", "startsWith", "endsWith", "matches"),
        *("int", "uint", "double", "string", "bytes", "timestamp", "duration", "dyn", "type"),
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|' r"'(?:[^'\\]|\\.)*'")
_BOUND: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,", re.ASCII)
_RECORD: Final = re.compile(r"(?<![\w.])r(?!\w)", re.ASCII)
_FIELD: Final = re.compile(
    r"\s*(?:\.\s*([A-Za-z_]\w*)(?!\w)(?!\s*\()|\[\s*(\"[^\"\\]*\"|'[^'\\]*')\s*\])", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FAULTS: Final = (FormatError, ValueError, TypeError, RuntimeError, LookupError, ArithmeticError)
"""What the engine raises where an expression has no value for a record."""

Decide = Callable[[int, str | None, Sequence[bytes]], bool | None]
"""Decide by time, account and the encoded fields 2 and on; None: undecided."""


def check_expression(source: str) -> None:
    """Refuse an expression that has a fault of its own; raise ClauseWrong, or ExpressionEngineMissing."""
    if not source.strip():
        raise ClauseWrong("empty; take it out")
    if len(source) > EXPRESSION_MAX_CHARACTERS:
        raise ClauseWrong(f"longer than {EXPRESSION_MAX_CHARACTERS} characters; use several clauses")
    references = _compiled(source).references()
    known = _VARIABLES | _TYPES | set(_BOUND.findall(_STRING.sub('""', source)))
    for name in references["variables"]:
        if name not in known:
            raise ClauseWrong(
                f"unknown name {name!a}; write r.{name} for a field; known are r, time and account"
            )
    for name in references["functions"]:
        if name[0].isalpha() and name not in _FUNCTIONS:
            raise ClauseWrong(f"unknown function {name!a}; known are {', '.join(sorted(_FUNCTIONS))}")


def compile_expression(source: str, schema: Schema) -> Decide:
    """Return what decides records of a schema; it decodes only the fields that the expression names."""
    program = _compiled(source)
    names = named_fields(source)
    fields = [
        (number - 2, field.name)
        for number, field in enumerate(schema.fields)
        if number >= 2 and (names is None or field.name in names)
    ]

    def decide(time_us: int, account: str | None, values: Sequence[bytes]) -> bool | None:
        try:
            record = {name: _cel_value(values[place]) for place, name in fields}
            found = program.execute({"r": record, "time": _moment(time_us), "account": account})
        except _FAULTS:
            return None
        return found if isinstance(found, bool) else None

    return decide


def evaluate(source: str, fields: Mapping[str, bytes], time_us: int, account: str | None) -> bool | None:
    """Decide one record by all its fields, encoded; None where the expression has no truth value for it."""
    try:
        record = {name: _cel_value(value) for name, value in fields.items()}
        found = _compiled(source).execute({"r": record, "time": _moment(time_us), "account": account})
    except _FAULTS:
        return None
    return found if isinstance(found, bool) else None


def named_fields(source: str) -> frozenset[str] | None:
    """Return the fields that an expression can ask for; None where it may ask for any."""
    if any(mark in source for mark in ("\\", '"""', "'''")):
        return None  # its strings are not told from its names as simply as below
    names = set()
    for found in _RECORD.finditer(_blanked(source)):
        field = _FIELD.match(source, found.end())
        if field is None:
            return None
        names.add(field[1] or field[2][1:-1])
    return frozenset(names)


def _blanked(source: str) -> str:
    """Return the source, as long as it is, with the insides of its strings made blank."""
    return _STRING.sub(lambda found: '"' + " " * (len(found[0]) - 2) + '"', source)


@lru_cache(maxsize=64)
def _compiled(source: str) -> Any:
    """Compile an expression once in a process."""
    try:
        import cel  # an optional dependency: scelle[cel]
    except ImportError:
        raise ExpressionEngineMissing(
            "`where` needs the package common-expression-language: install scelle[cel], or take `where` out"
        ) from None
    try:
        return cel.compile(source)
    except _FAULTS as error:
        raise ClauseWrong(f"no CEL expression ({_one_line(error)}); correct it") from None


def _one_line(error: Exception) -> str:
    text = str(error)
    said = text.rpartition("ERROR: <input>:")[2] if "ERROR: <input>:" in text else text
    return " ".join(said.splitlines()[0].split())[:200] if said.strip() else type(error).__name__


def _moment(time_us: int) -> datetime | None:
    if time_us == UNDATED:
        return None
    try:
        return _EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return None


def _cel_value(value: bytes) -> object:
    letter, found, _ = decode_value(value)
    match letter:
        case "D":
            return float(str(found))
        case "t":
            return _moment(int.from_bytes(value[5:], "big", signed=True))
        case "j":
            return json.loads(value[5:])
        case "h" if isinstance(found, Content):
            return {"digest": found.digest, "size": found.size_bytes}
    return found
