"""Decide from the log alone which segments an answer must show, and by which ranges (pure; ledger.md §7).

The verifier decides the same from the package's entries. A rule that differs here makes packages that nobody
accepts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from scelle.errors import RequestWrong
from scelle.formats.entries import End, Entry, Segment
from scelle.formats.packages import Query
from scelle.formats.schema import Schema
from scelle.formats.tokens import INT64_MAX, TIME_MIN, UNDATED, is_family_member, is_reserved_alias, shown
from scelle.ledger.search import Tombstones, tombstones
from scelle.orders.days import utc_text
from scelle.productions.model import RAW, SOURCE, Notice, SegmentCounts

RangeName: TypeAlias = Literal["whole", "dated", "undated"]

_END_OF_TIME: Final = INT64_MAX + 1
_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class Task:
    """Name one segment to be answered: its manifest, queried dimension (1 ..), ranges, and what is erased."""

    at: int
    manifest: Segment
    schema: Schema
    ordinal: int
    ranges: tuple[RangeName, ...]
    erased: Tombstones


@dataclass(frozen=True, slots=True)
class Plan:
    """List the segments to be answered, count those that the query touches, and note what is not right.

    `not_searchable` are the log sources of those with records whose schema lacks the queried dimension.
    """

    tasks: tuple[Task, ...]
    counts: SegmentCounts
    notices: tuple[Notice, ...]
    not_searchable: tuple[str, ...]


def window_of(query: Query, name: RangeName) -> tuple[int, int]:
    """Return the times [low, high) that a range covers; `high` may lie beyond the last time there is."""
    if name == "undated":
        return UNDATED, UNDATED + 1
    if query.from_us is None and query.until_us is None:
        return UNDATED, _END_OF_TIME
    low = TIME_MIN if query.from_us is None else query.from_us
    return low, _END_OF_TIME if query.until_us is None else query.until_us


def touches(query: Query, alias: str) -> bool:
    """Say whether a query touches a log source: its family, or every one where it asks by something else."""
    return query.dimension != SOURCE or is_family_member(alias, query.value)


def ranges_of(query: Query, manifest: Segment) -> tuple[RangeName, ...]:
    """Return the ranges that a segment with records must show, none where its bounds exclude the window."""
    if query.strength == "A":
        return ("whole",)
    if query.from_us is None and query.until_us is None:
        return ("dated",)
    found: list[RangeName] = []
    if manifest.time is not None:
        first, last = manifest.time
        low, high = window_of(query, "dated")
        if first < high and last >= low:
            found.append("dated")
    if manifest.undated:
        found.append("undated")
    return tuple(found)


def make_plan(entries: Sequence[Entry], schema_of: Callable[[bytes], Schema], query: Query) -> Plan:
    """Plan the answer to a query over all entries of a log.

    Raises `RequestWrong` for a source or dimension that the log does not have, and for redactions that cannot
    be made.
    """
    segments = [(at, entry) for at, entry in enumerate(entries) if isinstance(entry, Segment)]
    touched = [(at, entry) for at, entry in segments if touches(query, entry.source)]
    if not touched:
        known = ", ".join(sorted({entry.source for _, entry in segments}))
        raise RequestWrong(f"the log has no source {shown(query.value)}: it has {known or 'none yet'}")
    erased = tombstones(entries)
    counts = dict.fromkeys(SegmentCounts.__slots__, 0)
    tasks: list[Task] = []
    dimensions: set[str] = set()
    lacking: set[str] = set()
    for at, manifest in touched:
        schema = schema_of(manifest.schema)
        counts["touched"] += 1
        dimensions |= set(schema.dimensions)
        if manifest.records == 0:
            counts["empty"] += 1
        elif query.dimension not in schema.dimensions:
            counts["not_searchable"] += 1
            lacking.add(manifest.source)
        else:
            ordinal = schema.dimensions.index(query.dimension) + 1
            ranges = ranges_of(query, manifest)
            counts[_kind(ranges, manifest)] += 1
            if ranges:
                tasks.append(Task(at, manifest, schema, ordinal, ranges, erased.get(at, Tombstones())))
    if query.dimension not in dimensions:
        raise RequestWrong(
            f"no source of the log has the dimension {shown(query.dimension)}: ask by one of "
            f"{listed(dimensions)}"
        )
    digests = dict.fromkeys(manifest.schema for _, manifest in touched)
    _check_redactions(query, [schema_of(digest) for digest in digests])
    notices = tuple(_open_sources(entries, query))
    return Plan(tuple(tasks), SegmentCounts(**counts), notices, tuple(sorted(lacking)))


def _kind(ranges: tuple[RangeName, ...], manifest: Segment) -> str:
    if not ranges:
        return "left_out"
    return "undated_only" if ranges == ("undated",) and manifest.time is not None else "searched"


def _check_redactions(query: Query, schemas: Sequence[Schema]) -> None:
    """Refuse to redact key fields, and fields that no touched schema has: a slip would leave them open."""
    names = {each.name for schema in schemas for each in schema.fields}
    for name in sorted(set(query.redact) - names):
        raise RequestWrong(
            f"no record of this answer has a field {shown(name)}: nothing would be redacted by it; there are "
            f"{listed(names)}"
        )
    for schema in schemas:
        if query.dimension not in schema.dimensions:
            continue
        keys = key_fields(schema, query.dimension)
        closed = [j for j, each in enumerate(schema.fields) if each.name in query.redact]
        closed += [j for j, each in enumerate(schema.fields) if closed and each.name == RAW]
        for j in sorted(keys & set(closed)):
            raise RequestWrong(
                f"field {schema.fields[j].name} of {schema.name} is a key field and is never redacted: ask "
                "without it"
            )


def listed(names: Iterable[str]) -> str:
    """List names for an error message, the first twenty of them."""
    found = sorted(names)
    return ", ".join([*map(shown, found[:_LISTED]), *([".."] if len(found) > _LISTED else [])])


def key_fields(schema: Schema, dimension: str) -> set[int]:
    """Return the numbers of the key fields: time, sequence number, and the queried dimension's."""
    ordinal = schema.dimensions.index(dimension) + 1
    return {0, 1, ordinal} if ordinal > 1 else {0, 1}


def _open_sources(entries: Sequence[Entry], query: Query) -> list[Notice]:
    """Note the sources that nobody looked at up to the end of the period (ledger.md §4)."""
    watermarks: dict[str, int] = {}
    for entry in entries:
        if (
            isinstance(entry, Segment)
            and touches(query, entry.source)
            and not is_reserved_alias(entry.source)
        ):
            watermarks[entry.source] = entry.watermark[1]
        elif isinstance(entry, End):
            watermarks.pop(entry.source, None)
    return [
        Notice(
            "source.open",
            alias,
            f"captured until {utc_text(mark)} only, and the period ends at {utc_text(query.until_us)}: the "
            "verifier will call the package NOT VALID; capture again, or ask for an earlier end",
        )
        for alias, mark in sorted(watermarks.items())
        if query.until_us is not None and mark < query.until_us
    ]
