"""Turn what COPY prints into values (ledger.md §2), losing nothing.

| PostgreSQL | letter |
|---|---|
| `boolean` | `b` |
| `smallint`, `integer`, `bigint`, `oid` | `i` |
| `real`, `double precision` | `d`; a `real` is widened exactly |
| `bytea` | `h`, a content |
| all else | `s`, the server's own text; `x` where the database knows no encoding (SQL_ASCII) |

`numeric` is `s` and not `D`, because a column's letter is fixed and any numeric column may hold NaN. A domain is
read as its base type.
"""

import re
import struct
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from itertools import repeat
from operator import add
from typing import Final, TypeAlias

from scelle.errors import FormatError
from scelle.formats.values import (
    NULL,
    UNDATED,
    boolean_value,
    double_value,
    number_text_value,
)

Encoder: TypeAlias = Callable[[bytes], bytes]
ColumnEncoder: TypeAlias = Callable[[list[bytes], bool], list[bytes]]

COPY_NULL: Final = b"\\N"
LETTER_BY_TYPE: Final = {
    "bool": "b",
    "int2": "i",
    "int4": "i",
    "int8": "i",
    "oid": "i",
    "float4": "d",
    "float8": "d",
    "bytea": "h",
}
"""Letters by the name of the base type in pg_catalog."""

TIME_TYPES: Final = frozenset({"timestamptz", "timestamp", "date"})
NUMBER_TYPES: Final = frozenset({"int2", "int4", "int8", "numeric", "oid"})

_ESCAPED: Final = (
    (b"\\t", b"\t"),
    (b"\\n", b"\n"),
    (b"\\r", b"\r"),
    (b"\\b", b"\b"),
    (b"\\f", b"\f"),
    (b"\\v", b"\v"),
)
_TIME: Final = re.compile(
    rb"(?P<year>\d{4,})-(?P<month>\d\d)-(?P<day>\d\d)"
    rb"(?: (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?(?:\+00)?)?(?P<bc> BC)?"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_CYCLE_YEARS: Final = 400
_CYCLE_DAYS: Final = 146_097
_DAY_US: Final = 86_400_000_000
_head = struct.Struct(">cI").pack
_pack_integer = struct.Struct(">5sq").pack
_pack_double = struct.Struct(">5sd").pack
_float32 = struct.Struct(">f")
_TEXT_HEADS: Final = tuple(_head(b"s", size) for size in range(1024))
_BOOLEANS: Final = {b"t": boolean_value(True), b"f": boolean_value(False), COPY_NULL: NULL}


def unescaped(cell: bytes) -> bytes:
    """Take COPY's text escapes out of a cell that is not NULL."""
    if b"\\" not in cell:
        return cell
    # a backslash of the value is always doubled, so between two doubled ones each begins an escape
    return b"\\".join(_unescaped_part(part) if b"\\" in part else part for part in cell.split(b"\\\\"))


def _unescaped_part(part: bytes) -> bytes:
    for escape, byte in _ESCAPED:
        part = part.replace(escape, byte)
    return part


def encoder_of(letter: str, base_type: str) -> Encoder:
    """Give the function that makes a value of a cell that is not NULL; it may raise FormatError."""
    match letter:
        case "b":
            return lambda cell: boolean_value(cell == b"t")
        case "i":
            return lambda cell: _pack_integer(b"i\0\0\0\x08", int(cell))
        case "d" if base_type == "float4":
            return lambda cell: double_value(_widened(float(cell)))
        case "d":
            return lambda cell: double_value(float(cell))
        case "D":
            return lambda cell: number_text_value(cell.decode("ascii"))
        case "s":
            return _text
        case "x":
            return _raw
        case "h":
            return lambda _: NULL
    raise FormatError(f"no column is read as type {letter}")


def column_encoder_of(letter: str, base_type: str) -> ColumnEncoder:
    """Give the function that makes values of a column's cells; it says what `encoder_of` says, many at a time.

    Where no text of the rows has an escape (`is_plain`), none is looked for. May raise FormatError or ValueError.
    """
    encode = encoder_of(letter, base_type)

    def one_by_one(cells: list[bytes], is_plain: bool) -> list[bytes]:
        return [NULL if cell == COPY_NULL else encode(cell) for cell in cells]

    def booleans(cells: list[bytes], is_plain: bool) -> list[bytes]:
        return [_BOOLEANS.get(cell) or encode(cell) for cell in cells]

    def integers(cells: list[bytes], is_plain: bool) -> list[bytes]:
        if COPY_NULL in cells:
            return one_by_one(cells, is_plain)
        return list(map(_pack_integer, repeat(b"i\0\0\0\x08"), map(int, cells)))

    def doubles(cells: list[bytes], is_plain: bool) -> list[bytes]:
        if COPY_NULL in cells or b"NaN" in cells:
            return one_by_one(cells, is_plain)
        return list(map(_pack_double, repeat(b"d\0\0\0\x08"), map(float, cells)))

    def texts(cells: list[bytes], is_plain: bool) -> list[bytes]:
        if COPY_NULL in cells:
            return one_by_one(cells, is_plain)
        if is_plain or b"\\" not in b"".join(cells):
            return text_values(cells)
        return text_values([unescaped(cell) if b"\\" in cell else cell for cell in cells])

    match letter:
        case "b":
            return booleans
        case "i":
            return integers
        case "d" if base_type != "float4":
            return doubles
        case "s":
            return texts
    return one_by_one


def text_values(texts: Collection[bytes]) -> list[bytes]:
    """Make text values of UTF-8 bytes."""
    try:
        return list(map(add, map(_TEXT_HEADS.__getitem__, map(len, texts)), texts))
    except IndexError:  # some are longer
        pass
    return [_head(b"s", len(text)) + text for text in texts]


def times_us_of(cells: list[bytes]) -> list[int]:
    """Read a column of times as `time_us_of` does; NULL is UNDATED."""
    if COPY_NULL not in cells:
        try:
            moments = list(map(datetime.fromisoformat, b"\t".join(cells).decode("ascii").split("\t")))
            epoch = _EPOCH if moments[0].tzinfo is not None else _EPOCH.replace(tzinfo=None)
            sinces = [moment - epoch for moment in moments]
        except (ValueError, TypeError):
            pass  # some are too far away for datetime
        else:
            return [(each.days * 86_400 + each.seconds) * 1_000_000 + each.microseconds for each in sinces]
    return [UNDATED if cell == COPY_NULL else time_us_of(cell) for cell in cells]


def time_us_of(cell: bytes) -> int:
    """Read a time as ISO and UTC print it: microseconds since 1970; infinite times are UNDATED.

    Times before year 1 and after 9999 are read too; those beyond 64 bits (year 294247) are UNDATED. Raises
    FormatError for what is no such time.
    """
    try:
        moment = datetime.fromisoformat(cell.decode("ascii"))
    except ValueError:
        return _far_time_us(cell)
    since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def bytea_of(cell: bytes) -> bytes:
    r"""Read a bytea as COPY prints it with bytea_output = hex: `\\x6162`."""
    return bytes.fromhex(cell[3:].decode("ascii"))


def _text(cell: bytes) -> bytes:
    if b"\\" in cell:
        cell = unescaped(cell)
    return _head(b"s", len(cell)) + cell


def _raw(cell: bytes) -> bytes:
    cell = unescaped(cell)
    return _head(b"x", len(cell)) + cell


def _widened(number: float) -> float:
    """Give the double that equals the 32-bit float whose shortest text was read."""
    widened: float = _float32.unpack(_float32.pack(number))[0]
    return widened


def _far_time_us(cell: bytes) -> int:
    """Read what `datetime` cannot hold, by moving it a whole number of 400-year cycles."""
    if cell in (b"infinity", b"-infinity"):
        return UNDATED
    match = _TIME.fullmatch(cell)
    if match is None:
        raise FormatError(f"no time: {cell[:40].decode('ascii', 'replace')}")
    year = 1 - int(match["year"]) if match["bc"] else int(match["year"])
    cycles, within = divmod(year, _CYCLE_YEARS)
    near = date(within + _CYCLE_YEARS, int(match["month"]), int(match["day"])).toordinal()
    days = near - _EPOCH_ORDINAL + (cycles - 1) * _CYCLE_DAYS
    seconds = int(match["hour"] or 0) * 3600 + int(match["minute"] or 0) * 60 + int(match["second"] or 0)
    us = days * _DAY_US + seconds * 1_000_000 + int((match["fraction"] or b"").ljust(6, b"0") or 0)
    return us if us < 2**63 else UNDATED
