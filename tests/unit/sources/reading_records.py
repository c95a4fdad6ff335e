"""Read sources of records in tests, and show records by the names of their fields."""

import os
import time
from pathlib import Path
from typing import Any

from scelle.formats.values import decode_value
from scelle.sources.interfaces import BadRecord, Record, Trouble, Unit
from scelle.sources.records import RecordsSource
from scelle.sources.schema_file import SchemaFile, layout, parse_schema_file

PLAIN = """
[schema]
name = "posts"
time = "ts"
id = "id"
account = "user"
dimensions = ["model"]
"""
LATER_NS = 3600 * 10**9


def schema(fields: str = "", roles: str = PLAIN) -> SchemaFile:
    return parse_schema_file(f"{roles}\n[fields]\n{fields}")


def source(
    root: Path, file: SchemaFile | None = None, *, holder: str | None = None, after_ns: int = LATER_NS
) -> RecordsSource:
    """A source that is read as long after now as makes every file an old one."""
    now_ns = time.time_ns() + after_ns
    return RecordsSource(os.fsencode(root), "posts", file or schema(), holder, lambda: now_ns)


def only_unit(read: RecordsSource) -> Unit:
    (unit,) = read.units()
    assert isinstance(unit, Unit)
    return unit


def units(read: RecordsSource) -> list[Unit]:
    return [each for each in read.units() if isinstance(each, Unit)]


def troubles(read: RecordsSource) -> dict[bytes, str]:
    return {each.path: each.cause for each in read.units() if isinstance(each, Trouble)}


def everything(read: RecordsSource, mark: bytes = b"") -> list[Record | BadRecord]:
    return [each for unit in units(read) for batch in read.read(unit, mark) for each in batch.records]


def good(read: RecordsSource) -> list[Record]:
    records = everything(read)
    assert [each for each in records if isinstance(each, BadRecord)] == []
    return [each for each in records if isinstance(each, Record)]


def bad(read: RecordsSource) -> list[BadRecord]:
    return [each for each in everything(read) if isinstance(each, BadRecord)]


def shown(record: Record, file: SchemaFile | None = None) -> dict[str, tuple[str, Any]]:
    """Give a record's values by field name, each as letter and value, after checking them against the schema."""
    ledger = layout(file or schema()).schema
    ledger.check_values([b"t" + b"\0" * 12, b"i" + b"\0" * 12, *record.values])
    names = [field.name for field in ledger.fields[2:]]
    return {name: decode_value(value)[:2] for name, value in zip(names, record.values, strict=True)}


def read_lines(
    tmp_path: Path, lines: str | bytes, file: SchemaFile | None = None, name: str = "a.jsonl"
) -> RecordsSource:
    data = lines.encode("utf-8", "surrogatepass") if isinstance(lines, str) else lines
    (tmp_path / name).write_bytes(data)
    return source(tmp_path / name, file)


def one(tmp_path: Path, line: str, file: SchemaFile | None = None, name: str = "a.jsonl") -> dict[str, Any]:
    (record,) = good(read_lines(tmp_path, line + "\n", file, name))
    return shown(record, file)


def why(tmp_path: Path, line: str | bytes, file: SchemaFile | None = None, name: str = "a.jsonl") -> str:
    data = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    (fault,) = bad(read_lines(tmp_path, data + b"\n", file, name))
    return fault.cause
