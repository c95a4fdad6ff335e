from dataclasses import replace
from typing import Any

import pytest

from scelle.errors import RequestWrong
from scelle.formats.entries import End, Entry, Erase, Segment
from scelle.formats.packages import Query
from scelle.formats.schema import DOCUMENT_V1, EVENT_V1, Schema
from scelle.formats.tokens import TIME_MAX, TIME_MIN, UNDATED
from scelle.productions.plan import key_fields, make_plan, ranges_of, touches, window_of
from tests.unit.productions.ledgers import CHAT, LOGIN

HOUR = 3_600_000_000
SCHEMAS = {schema.digest: schema for schema in (DOCUMENT_V1, EVENT_V1, CHAT, LOGIN)}


def segment(source: str = "s0001", schema: Schema = LOGIN, **changes: Any) -> Segment:
    made = Segment(
        order="o1",
        source=source,
        number=0,
        records=4,
        seq=(0, 4),
        time=(0, HOUR),
        undated=0,
        watermark=(0, 100),
        profile=1,
        schema=schema.digest,
        record_root=bytes(32),
        index_size=8,
        index_root=bytes(32),
        position=(None, None),
        anchor=None,
        prev=None,
    )
    return replace(made, **changes)


def query(dimension: str = "account", value: str = "account:1", **changes: Any) -> Query:
    return Query(**{"order": "o1", "dimension": dimension, "value": value, "strength": "C", **changes})


@pytest.mark.parametrize(
    ("since", "until", "name", "window"),
    [
        (None, None, "dated", (UNDATED, TIME_MAX + 1)),
        (5, None, "dated", (5, TIME_MAX + 1)),
        (None, 5, "dated", (TIME_MIN, 5)),
        (5, 6, "dated", (5, 6)),
        (5, 6, "undated", (UNDATED, UNDATED + 1)),
    ],
)
def test_windows(since: int | None, until: int | None, name: Any, window: tuple[int, int]) -> None:
    assert window_of(query(from_us=since, until_us=until), name) == window


@pytest.mark.parametrize(
    ("since", "until", "manifest", "ranges"),
    [
        (None, None, segment(), ("dated",)),
        (None, None, segment(time=None, undated=4), ("dated",)),
        (0, 1, segment(), ("dated",)),
        (None, 0, segment(), ()),
        (None, 1, segment(), ("dated",)),
        (HOUR, None, segment(), ("dated",)),
        (HOUR + 1, None, segment(), ()),
        (HOUR + 1, None, segment(undated=1), ("undated",)),
        (0, None, segment(undated=1), ("dated", "undated")),
        (0, None, segment(time=None, undated=4), ("undated",)),
        (TIME_MIN, TIME_MAX, segment(time=(TIME_MIN, TIME_MAX)), ("dated",)),
        (TIME_MAX, None, segment(time=(0, TIME_MAX)), ("dated",)),
    ],
)
def test_a_segment_shows_the_ranges_that_may_hold_hits(
    since: int | None, until: int | None, manifest: Segment, ranges: tuple[str, ...]
) -> None:
    assert ranges_of(query(from_us=since, until_us=until), manifest) == ranges


def test_a_whole_source_shows_no_range() -> None:
    assert ranges_of(query("source", "s0001", strength="A"), segment(undated=1)) == ("whole",)


@pytest.mark.parametrize(
    ("value", "alias", "touched"),
    [
        ("s0001", "s0001", True),
        ("s0001", "s0001/2", True),
        ("s0001/2", "s0001/2", True),
        ("s0001/2", "s0001", False),
        ("s0001", "s00011", False),
        ("s000", "s0001", False),
        ("scelle.order", "scelle.order", True),
    ],
)
def test_a_source_is_itself_and_its_family(value: str, alias: str, touched: bool) -> None:
    assert touches(query("source", value), alias) is touched
    assert touches(query("account", value), alias) is True


def plan(entries: list[Entry], asked: Query) -> Any:
    return make_plan(entries, SCHEMAS.__getitem__, asked)


def test_a_plan_names_segments_in_the_order_of_the_log_and_counts_all_it_touches() -> None:
    entries: list[Entry] = [
        segment("s0002", CHAT),
        segment("s0001", DOCUMENT_V1),
        segment("s0001", DOCUMENT_V1, number=1, records=0, time=None),
        segment("s0003", LOGIN),
    ]
    made = plan(entries, query("native", "a.txt"))
    assert [(task.at, task.ordinal, task.ranges) for task in made.tasks] == [(1, 3, ("dated",))]
    counts = made.counts
    assert (counts.touched, counts.searched, counts.empty, counts.not_searchable) == (4, 1, 1, 2)

    made = plan(entries, query(from_us=HOUR + 1))
    assert (made.tasks, made.counts.left_out) == ((), 3)


def test_tombstones_go_to_their_segment() -> None:
    erase = Erase("o1", (1, bytes(32)), (2, b"r" * 32), (2, 7), "consent", 0, "consent", None, bytes(68))
    made = plan(
        [segment("s0001"), segment("s0002"), erase, replace(erase, index=(3, 4), record=(3, bytes(32)))],
        query(),
    )
    first, second = made.tasks
    assert (first.erased.records, first.erased.places) == ({}, set())
    assert (second.erased.records, second.erased.places) == ({2: b"r" * 32, 3: bytes(32)}, {2, 7, 3, 4})


@pytest.mark.parametrize(
    ("until", "noted"), [(None, []), (100, []), (101, ["s0001", "s0002"]), (500, ["s0001", "s0002"])]
)
def test_sources_that_nobody_looked_at_until_the_end_are_noted(until: int | None, noted: list[str]) -> None:
    entries: list[Entry] = [
        segment("s0002"),
        segment("s0001", watermark=(0, 50)),
        segment("s0001", watermark=(50, 100), number=1),
        segment("s0003"),
        End("o1", "s0003", 0),
        segment("scelle.events", EVENT_V1, watermark=(0, 1)),
    ]
    made = plan(entries, query(until_us=until))
    assert [notice.subject for notice in made.notices] == noted
    only = plan(entries, query("source", "s0002", until_us=until))
    assert [notice.subject for notice in only.notices] == [name for name in noted if name == "s0002"]


def test_key_fields_are_time_number_and_the_queried_one() -> None:
    assert key_fields(DOCUMENT_V1, "source") == {0, 1}
    assert key_fields(DOCUMENT_V1, "account") == {0, 1, 2}
    assert key_fields(DOCUMENT_V1, "native") == {0, 1, 3}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (query("source", "s0009"), r"no source 's0009': it has s0001, s0002"),
        (query("source", "s0001/1"), "no source"),
        (query("colour", "red"), "dimension 'colour'"),
        (query("source", "s0001", redact={"txt": "privacy"}), "no record of this answer has a field 'txt'"),
        (query("source", "s0001", redact={"text": "privacy"}), "no record of this answer has a field 'text'"),
        (query("model", "m-1", redact={"model": "privacy"}), "is a key field"),
    ],
)
def test_what_cannot_be_answered_is_refused(asked: Query, why: str) -> None:
    with pytest.raises(RequestWrong, match=why):
        plan([segment("s0001"), segment("s0002", CHAT)], asked)


def test_fields_of_other_dimensions_and_of_some_schemas_may_be_redacted() -> None:
    asked = query("source", "s0002", redact={"account": "privacy", "model": "privacy"})
    assert plan([segment("s0002", CHAT)], asked).tasks
    assert plan([segment("s0001"), segment("s0002", CHAT)], query(redact={"ip": "privacy"})).tasks


def test_raw_that_is_a_key_field_stops_a_redaction() -> None:
    fields = (*LOGIN.fields[:3], replace(LOGIN.fields[2], name="raw"), *LOGIN.fields[3:])
    odd = Schema("odd", 1, ("source", "account", "raw"), fields)
    asked = query("raw", "x", redact={"ip": "privacy"})
    with pytest.raises(RequestWrong, match="field raw of odd is a key field"):
        make_plan([segment(schema=odd)], {odd.digest: odd}.__getitem__, asked)
