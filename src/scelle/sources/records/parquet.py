"""Read records from Parquet. pyarrow is optional and imported inside of functions."""

import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, BinaryIO, Final

from scelle.errors import InputError, ItemUnreadable
from scelle.formats.canonical_json import canonical_json
from scelle.formats.tokens import shown
from scelle.sources.interfaces import BadRecord, Batch, Record, native_text
from scelle.sources.json_values import DecimalToken, SourceRow, lone_surrogate
from scelle.sources.lines import BATCH_BYTES, BATCH_RECORDS
from scelle.sources.records.rows import RowMaker, bad_record
from scelle.sources.unfit import Unfit

_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DIGITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_DAY_SECONDS: Final = 86_400
_CYCLE_DAYS: Final = 146_097
_EPOCH: Final = date(1970, 1, 1)
_READ_BYTES: Final = 4 << 20
"""About how much is turned into rows at once."""


def require_pyarrow() -> None:
    """Raise InputError where Parquet cannot be read here."""
    try:
        import pyarrow.parquet  # optional: the extra "parquet"
    except ImportError:
        raise InputError(
            "Parquet files cannot be read without pyarrow: pip install 'scelle[parquet]'"
        ) from None
    del pyarrow


def read_parquet(
    file: BinaryIO, native: bytes, maker: RowMaker, wanted: Sequence[int] | None = None
) -> Iterator[Batch]:
    """Yield the records of a file, or those of the rows that are wanted, by their ascending numbers.

    Raises ItemUnreadable where it is no Parquet, or damaged.
    """
    text = native_text(native)
    infix = canonical_json(text)
    records: list[Record | BadRecord] = []
    size = 0
    for group, number, row in parquet_rows(file, text, wanted):
        origin = b'{"file":%b,"row":%d,"row_group":%d}' % (infix, number, group)
        try:
            record = maker.make(row, b"%b#%d" % (native, number), origin, None)
            records.append(record)
            size += record.size_bytes
        except Unfit as fault:
            records.append(bad_record(text, f"row {number} (row group {group})", fault))
        except UnicodeEncodeError:
            records.append(bad_record(text, f"row {number} (row group {group})", lone_surrogate()))
        if len(records) >= BATCH_RECORDS or size >= BATCH_BYTES:
            yield Batch(records, b"")
            records, size = [], 0
    if records:
        yield Batch(records, b"")


def parquet_rows(
    file: BinaryIO, path_shown: str, wanted: Sequence[int] | None = None
) -> Iterator[tuple[int, int, SourceRow]]:
    """Yield row group, number in the file and values of each row that is wanted; raises InputError, ItemUnreadable."""
    require_pyarrow()
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        opened = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        names = opened.schema_arrow.names
        if len(set(names)) != len(names):
            raise ItemUnreadable(
                f"{shown(path_shown)} names a column twice: it cannot be read", "duplicate-column"
            )
        for group in range(opened.num_row_groups):
            count = opened.metadata.row_group(group).num_rows
            if wanted is not None and not _between(wanted, number, number + count):
                number += count
                continue
            for rows in opened.iter_batches(
                _rows_at_once(opened.metadata.row_group(group)), row_groups=[group]
            ):
                numbers: Sequence[int] = range(number, number + rows.num_rows)
                number += rows.num_rows
                kept = rows
                if wanted is not None:
                    numbers = _between(wanted, numbers[0], number) if numbers else ()
                    kept = rows.take(
                        pyarrow.array([each - number + rows.num_rows for each in numbers], "int64")
                    )
                columns = [column_values(kept.column(each)) for each in range(kept.num_columns)]
                found = zip(*columns, strict=True) if columns else [()] * kept.num_rows
                for at, values in zip(numbers, found, strict=True):
                    yield group, at, dict(zip(names, values, strict=True))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ItemUnreadable(
            f"{shown(path_shown)} is no Parquet, or damaged or not finished ({type(error).__name__}): restore it",
            "parquet-unreadable",
        ) from error


def _between(numbers: Sequence[int], low: int, high: int) -> Sequence[int]:
    return numbers[bisect_left(numbers, low) : bisect_left(numbers, high)]


def _rows_at_once(group: Any) -> int:
    row_bytes = max(1, group.total_byte_size // max(1, group.num_rows))
    return int(max(1, min(BATCH_RECORDS, _READ_BYTES // row_bytes)))


# --- values of columns


def column_values(column: Any) -> list[Any]:
    """Give the values of an Arrow array exactly, as `json_values` has them: times as text with all their digits."""
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        return column_values(column.dictionary_decode())
    if getattr(kind, "extension_name", None) is not None:
        return _extension_values(column)
    if types.is_struct(kind):
        return _struct_values(column)
    if types.is_map(kind):
        return _items(column, lambda start, end: _pairs(column, start, end))
    if types.is_list(kind) or types.is_large_list(kind):
        inner = column_values(column.values)
        return _items(column, lambda start, end: inner[start:end])
    if types.is_fixed_size_list(kind):
        return _fixed_lists(column, kind.list_size)
    convert = _converter(kind)
    if convert is None:
        return list(column.to_pylist())
    if types.is_decimal(kind):
        return [None if value is None else convert(value) for value in column.to_pylist()]
    counted = column.view(_count_type(kind)).to_pylist()
    return [None if value is None else convert(value) for value in counted]


def _extension_values(column: Any) -> list[Any]:
    values = column_values(column.storage)
    if column.type.extension_name == "arrow.uuid":
        return [None if value is None else str(uuid.UUID(bytes=value)) for value in values]
    return values


def _struct_values(column: Any) -> list[Any]:
    names = [column.type.field(each).name for each in range(column.type.num_fields)]
    parts = [column_values(part) for part in column.flatten()]
    valid = column.is_valid().to_pylist()
    if len(set(names)) != len(names):
        raise ItemUnreadable("a structure names a field twice: it cannot be read", "duplicate-column")
    rows = zip(*parts, strict=True) if parts else [()] * len(column)
    return [
        dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, valid, strict=True)
    ]


def _items(column: Any, cut: Callable[[int, int], list[Any]]) -> list[Any]:
    offsets = column.offsets.to_pylist()
    valid = column.is_valid().to_pylist()
    return [cut(offsets[at], offsets[at + 1]) if there else None for at, there in enumerate(valid)]


def _pairs(column: Any, start: int, end: int) -> list[Any]:
    keys = column_values(column.keys.slice(start, end - start))
    items = column_values(column.items.slice(start, end - start))
    return [[key, item] for key, item in zip(keys, items, strict=True)]


def _fixed_lists(column: Any, size: int) -> list[Any]:
    values = column_values(column.values.slice(column.offset * size, len(column) * size))
    valid = column.is_valid().to_pylist()
    return [values[at * size : (at + 1) * size] if there else None for at, there in enumerate(valid)]


def _converter(kind: Any) -> Callable[[Any], Any] | None:
    """Give what turns Arrow's number for a value into the value; None where `to_pylist` is exact."""
    from pyarrow import types

    if types.is_decimal(kind):
        return _decimal_token
    if types.is_timestamp(kind):
        unit, zone = kind.unit, kind.tz
        return lambda count: _timestamp_text(count, unit, zone)
    if types.is_time(kind):
        return lambda count: _clock_text(count, kind.unit)
    if types.is_date32(kind):
        return _day_text
    if types.is_date64(kind):
        return _milliseconds_text
    return (lambda count: count) if types.is_duration(kind) else None


def _count_type(kind: Any) -> Any:
    import pyarrow

    return pyarrow.int32() if kind.bit_width == 32 else pyarrow.int64()


def _decimal_token(value: Decimal) -> DecimalToken:
    return DecimalToken(format(value, "f"))


def _timestamp_text(count: int, unit: str, zone: str | None) -> str:
    """Write ISO 8601 with all digits of the unit; a time with a zone is UTC in Parquet, one without is local."""
    seconds, part = divmod(count, _PER_SECOND[unit])
    day, second = divmod(seconds, _DAY_SECONDS)
    clock = _clock_text(second * _PER_SECOND[unit] + part, unit)
    return f"{_day_text(day)}T{clock}{'' if zone is None else 'Z'}"


def _milliseconds_text(count: int) -> str:
    """Write a date64, which counts milliseconds and should be whole days."""
    day, part = divmod(count, 1000 * _DAY_SECONDS)
    return _timestamp_text(count, "ms", None) if part else _day_text(day)


def _clock_text(count: int, unit: str) -> str:
    second, part = divmod(count, _PER_SECOND[unit])
    digits = f".{part:0{_DIGITS[unit]}d}" if _DIGITS[unit] else ""
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}{digits}"


def _day_text(day: int) -> str:
    """Write a date, whatever its year: a day whole calendar cycles away has the same month and day."""
    cycles, in_cycle = divmod(day, _CYCLE_DAYS)
    near = _EPOCH + timedelta(days=in_cycle)
    year = near.year + cycles * 400
    return f"{'-' if year < 0 else ''}{abs(year):04d}-{near.month:02d}-{near.day:02d}"
