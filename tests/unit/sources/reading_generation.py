"""Write what a generation service records, read it, and show records by the names of their fields."""

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scelle.formats.schema import Schema
from scelle.formats.values import decode_value
from scelle.sources.generation import GenerationSource
from scelle.sources.generation.model import GRACE_US
from scelle.sources.generation.schemas import BUNDLE, CHECK, EVENT, MEMBERS
from scelle.sources.interfaces import BadRecord, Record, Trouble, Unit

SCHEMAS: dict[str, Schema] = {member.name: member.schema for member in MEMBERS}
PROMPT = "put the person in a winter coat"
LATER_NS = 3600 * 10**9


def source(root: Path, *, holder: str | None = None, grace_us: int = GRACE_US) -> GenerationSource:
    """A source that is read so long after now that every file is an old one."""
    now_ns = time.time_ns() + LATER_NS
    return GenerationSource(os.fsencode(root), "ai", holder, grace_us, lambda: now_ns)


def event(kind: str, attempt: str | None = None, minute: int = 0, **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"event": kind, "ts": f"2026-01-08T{9 + minute // 60:02d}:{minute % 60:02d}:00Z"}
    if attempt is not None:
        said |= {"attempt_id": attempt, "event_id": f"{attempt}/{kind}"}
    return said | more


def lines(events: Iterable[Mapping[str, Any] | str]) -> str:
    return "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in events)


def write(
    root: Path, events: Iterable[Mapping[str, Any] | str], name: str = "events/a.jsonl"
) -> GenerationSource:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lines(events).encode("utf-8", "surrogatepass"))
    return source(root)


def units(read: GenerationSource) -> list[Unit]:
    return [each for each in read.units() if isinstance(each, Unit)]


def troubles(read: GenerationSource) -> dict[bytes, str]:
    return {each.path: each.cause for each in read.units() if isinstance(each, Trouble)}


def everything(read: GenerationSource) -> list[Record | BadRecord]:
    return [each for unit in units(read) for batch in read.read(unit, b"") for each in batch.records]


def of_member(read: GenerationSource, member: str) -> list[Record]:
    return [each for each in everything(read) if isinstance(each, Record) and each.member == member]


def events_of(read: GenerationSource) -> list[dict[str, Any]]:
    return [shown(each) for each in of_member(read, EVENT)]


def bundles_of(read: GenerationSource) -> list[dict[str, Any]]:
    return [shown(each) for each in of_member(read, BUNDLE)]


def checks_of(read: GenerationSource) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for each in of_member(read, CHECK):
        check = shown(each)
        found.setdefault(check["kind"], []).append(check)
    return found


def bad(read: GenerationSource) -> list[BadRecord]:
    return [each for each in everything(read) if isinstance(each, BadRecord)]


def only(root: Path, said: Mapping[str, Any] | str) -> dict[str, Any]:
    read = write(root, [said])
    assert bad(read) == []
    (found,) = events_of(read)
    return found


def why(root: Path, said: Mapping[str, Any] | str) -> str:
    (fault,) = bad(write(root, [said]))
    return fault.cause


def shown(record: Record) -> dict[str, Any]:
    """Give a record's values by field name, structures parsed, after checking them against the schema."""
    schema = SCHEMAS[record.member]
    schema.check_values([b"t" + b"\0" * 12, b"i" + b"\0" * 12, *record.values])
    found: dict[str, Any] = {"time": record.time_us}
    for field, value in zip(schema.fields[2:], record.values, strict=True):
        letter, plain, _ = decode_value(value)
        found[field.name] = json.loads(plain) if letter == "j" and isinstance(plain, bytes) else plain
    return found
