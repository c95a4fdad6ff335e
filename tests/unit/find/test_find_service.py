"""What queries mean, by example; `test_find_property` compares with a naive filter."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from scelle.capture.identity import item_id_of_row
from scelle.errors import QueryWrong
from scelle.find.moments import parse_span
from scelle.formats.entries import Erase
from scelle.ledger import search
from scelle.ledger.segments import SegmentReader, parse_sort_key
from scelle.orders.days import moment_us
from tests.unit.find.records import (
    DAY_US,
    KEY,
    START_US,
    Known,
    World,
    filled,
    shape,
    shape_of,
    small_frames,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with small_frames():
        world = filled(tmp_path_factory.mktemp("find"))
        yield world
        world.ledger.close()


def posts(passes: Callable[[Known], bool]) -> Callable[[Known], bool]:
    return lambda known: known.source == "posts" and passes(known)


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("score = 0.1", lambda known: known.values["score"] == 0.1),
        ("score > 0", lambda known: (known.values["score"] or 0) > 0),
        ("score = 0", lambda known: known.values["score"] == 0),
        ("score != 7", lambda known: known.values["score"] in (0.1, 0, 2.5)),
        ("price = 0.1", lambda known: str(known.values["price"]) == "0.10"),
        ("price = 1000", lambda known: str(known.values["price"]) == "1E+3"),
        ("price < 0", lambda known: str(known.values["price"]) == "-7"),
        ("flagged = true", lambda known: known.values["flagged"] is True),
        ("flagged != true", lambda known: known.values["flagged"] is False),
        ("flagged is null", lambda known: known.values["flagged"] is None),
        ('raw contains "red"', lambda known: known.values["raw"] is not None),
        ('raw starts with "a red"', lambda known: known.values["raw"] == b"a red boat"),
        ('more.prompt = "a boat"', lambda known: "prompt" in (known.values["more"] or {})),
        ("more.n >= 2", lambda known: (known.values["more"] or {}).get("n", 0) >= 2),
        ("more.n = 1", lambda known: (known.values["more"] or {}).get("n") == 1),
        ("more.on = true", lambda known: (known.values["more"] or {}).get("on") is True),
        ("more.on = 1", lambda known: False),
        ('more.list.1.k = "v"', lambda known: "list" in (known.values["more"] or {})),
        ("more.list.7.k is null", lambda known: True),
        ('more.list starts with "[1,"', lambda known: "list" in (known.values["more"] or {})),
        ('more contains "boat"', lambda known: "prompt" in (known.values["more"] or {})),
        ('`User ID` = "U 1"', lambda known: known.values["User ID"] == "U 1"),
        ('edited < "2026-01-05"', lambda known: (known.values["edited"] or 1 << 62) < START_US + 4 * DAY_US),
        ("edited is null", lambda known: known.values["edited"] is None),
        ('model = ""', lambda known: known.values["model"] == ""),
        ("model is null", lambda known: known.values["model"] is None),
        ('model in ("", "m-1") and tokens = 2', lambda known: known.values["model"] in ("", "m-1") and known.values["tokens"] == 2),  # noqa: E501
        ("seq < 5", lambda known: known.seq < 5),
        ("native_id = 7", lambda known: False),
    ],
)  # fmt: skip
def test_every_type_of_field(world: World, query: str, passes: Callable[[Known], bool]) -> None:
    naive = world.naive(posts(passes))
    found = world.find(f'source = "posts" and ({query})')
    assert shape(found) == shape_of(naive)
    assert found.count == len(naive)


def test_documents_by_content_size_and_path(world: World) -> None:
    one = next(each for each in world.records if each.values.get("native_id") == "notes/3.txt")
    same = world.naive(lambda known: known.values.get("native_id") == "notes/3.txt")
    assert shape(world.find(f'content = "{one.values["content"]}"')) == shape_of(same)
    assert shape(world.find('native = "notes/3.txt"')) == shape_of(same)
    assert world.find("content.size = 11").count == 20
    assert world.find('meta.headers.0.value contains "notes/3"').count == len(same)


def test_account_never_means_a_custodian(world: World) -> None:
    assert {account for _, account, _ in shape(world.find('account = "u1"'))} == {"account:u1"}
    assert {account for _, account, _ in shape(world.find('custodian = "u1"'))} == {"custodian:u1"}
    assert {account for _, account, _ in shape(world.find('not account = "u1"'))} == {
        "account:u2", "handle:@a", "account:", None,
    }  # fmt: skip
    assert {account for _, account, _ in shape(world.find("custodian is not null"))} == {
        "custodian:u1", "custodian:staff-017@example.org",
    }  # fmt: skip
    assert {account for _, account, _ in shape(world.find("account is null"))} == {None}
    assert world.find('account = "custodian:u1"').count == 0
    assert world.find('account = "account:u1"').count == 0


@pytest.mark.parametrize("joint", ["and", "or", "and not"])
def test_custodian_and_account_never_meet(world: World, joint: str) -> None:
    with pytest.raises(QueryWrong, match="never meet in one query"):
        world.find(f'account = "u1" {joint} custodian = "u1"')


def test_field_of_the_holder_under_its_own_name(world: World) -> None:
    assert {account for _, account, _ in shape(world.find('user = "u1"'))} == {"account:u1", "custodian:u1"}
    assert {account for _, account, _ in shape(world.find('user = "u1" and account is not null'))} == {
        "account:u1"
    }
    both = world.find('user = "u1" or account = "u2"')
    assert {(each.source, each.account) for each in both.items} == {
        ("posts", "account:u2"), ("logins", "account:u1"), ("logins", "account:u2"),
    }  # fmt: skip
    mixed = world.find('model = "m-1" or account = "u2"')
    assert {account for _, account, _ in shape(mixed)} == {
        "account:u1", "account:u2", "handle:@a", "account:", None,
    }  # fmt: skip


def test_a_date_is_a_day_in_the_orders_zone(world: World) -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    day = [START_US + 3 * DAY_US - DAY_US * 9 // 24, START_US + 4 * DAY_US - DAY_US * 9 // 24]
    naive = world.naive(lambda known: known.time_us is not None and day[0] <= known.time_us < day[1])
    assert naive
    assert shape(world.find('time = "2026-01-04"', zone=tokyo)) == shape_of(naive)
    assert world.find('time >= "2026-01-04" and time <= 2026-01-04', zone=tokyo).count == len(naive)
    assert world.find('time >= "2026-01-04" and time < "2026-01-05"', zone=tokyo).count == len(naive)
    assert world.find('time > "2026-01-03" and time <= "2026-01-04"', zone=tokyo).count == len(naive)


@pytest.mark.parametrize("text", ["2026-01-08", "2026-01-08T14:00:00Z", "1969-12-31T23:59:59.999999+01:00"])
def test_times_are_read_as_produce_reads_them(text: str) -> None:
    zone = ZoneInfo("Europe/Brussels")
    span = parse_span(text, zone)
    assert span is not None
    assert span.start_us == moment_us(text, zone)


@pytest.mark.parametrize("text", ["2026-02-30", "9999-12-31", "2026-01-08T14:00:00", "soon", ""])
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_span(text, ZoneInfo("Europe/Brussels")) is None


def test_undated_records_have_no_time(world: World) -> None:
    undated = world.naive(lambda known: known.time_us is None)
    assert undated
    found = world.find("time is null")
    assert shape(found) == shape_of(undated)
    assert {each.time for each in found.items} == {None}
    everything = world.find("time is null or time is not null").count
    assert everything == len(world.naive(lambda known: True))
    assert world.find('time < "9000-01-01"').count == everything - len(undated)


def test_scelles_own_sources_only_when_asked(world: World) -> None:
    assert world.find('source = "scelle.events"').count == 2
    assert world.find('source = "scelle.events" and kind = "clause" and account = "op-1"').count == 1
    assert world.find('source in ("scelle.order")').items[0].account is None
    assert world.find('time >= "2000-01-01" or time is null').count == len(world.naive(lambda known: True))
    assert world.find('source starts with "scelle"').count == 0


def test_events_have_no_item_id(world: World) -> None:
    assert {each.id for each in world.find('source = "scelle.events"').items} == {None}


def test_ids_are_those_of_the_rows(world: World) -> None:
    expected = []
    for _, manifest in world.ledger.manifests():
        if manifest.source == "s0001" and manifest.records:
            reader = world.ledger.segment(manifest)
            expected += [item_id_of_row(KEY, "docs", reader.schema, row) for row in reader.rows()]
            reader.close()
    assert [each.id for each in world.find('source = "docs"').items] == expected
    assert all(re.fullmatch("i[a-z2-7]{26}", each or "") for each in expected)


def test_the_limit_cuts_items_and_not_the_count(world: World) -> None:
    whole = world.find('source != "docs"')
    for limit in (0, 1, 7, 8, whole.count - 1):
        found = world.find('source != "docs"', limit=limit)
        assert found.count == whole.count
        assert found.items == whole.items[:limit]
    with pytest.raises(QueryWrong, match="limit -1"):
        world.find('source = "docs"', limit=-1)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("modell = 1", "column 1: no field 'modell' in any source searched; there are model, "),
        ('account = "u1" and more.prompt.x.y = 1 and raw.x = 1', "column 44: no field 'raw.x'"),
        ('source = "post"', "column 1: no source 'post'; there are docs, logins, posts, s0004, scelle.events"),
        ('source < "posts"', "source is compared by ="),
        ("source = true", "source is compared by ="),
        ('time >= "soon"', "column 1: time is a time: compare it with a date"),
        ('time contains "2026"', "time is a time"),
        ("time = 5", "time is a time"),
        ('tokens > "3" and source = "posts"', None),
        ("score = \"0.1\"", "score is a number: compare it with a number, without quotes"),
        ("score contains 1", "score is a number"),
        ("flagged = 1", "flagged is true or false"),
        ("flagged > true", "flagged is true or false"),
        ("model = true", "model is text: compare it with a text"),
        ("model < 3", "model is text"),
        ("account < 3", "account is text"),
        ('edited in ("2026-01-01", "x")', "edited is a time"),
    ],
)  # fmt: skip
def test_what_no_record_could_answer_is_refused(world: World, query: str, said: str | None) -> None:
    if said is None:  # text in one source, a number in another: what fits one of them is asked of it
        assert world.find(query).count == 0
        return
    with pytest.raises(QueryWrong) as raised:
        world.find(query)
    assert said in str(raised.value)


def test_an_order_with_nothing_sealed(tmp_path: Path) -> None:
    empty = World(tmp_path)
    assert empty.find('account = "u1" and time >= "2026-01-01"').count == 0
    with pytest.raises(QueryWrong, match="there are account, custodian, source, time"):
        empty.find("model = 1")
    empty.ledger.close()


def test_what_is_not_sealed_yet_is_not_found(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.post(START_US, "account:u1")
    world.ledger.flush()
    assert world.find('account = "u1"').count == 0
    world.seal()
    assert world.find('account = "u1"').count == 1
    world.ledger.close()


# --- what is read ----------------------------------------------------------------------------------------------


@pytest.fixture
def frames_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Note each frame of rows that is decrypted."""
    read: list[tuple[str, int]] = []
    begin = search.RowFrame.__init__

    def noting(frame: search.RowFrame, reader: SegmentReader, number: int) -> None:
        read.append((str(reader.folder), number))
        begin(frame, reader, number)

    monkeypatch.setattr(search.RowFrame, "__init__", noting)
    return read


@pytest.mark.parametrize(
    "query",
    [
        'account = "u1"',
        'account in ("u1", "u2") and time >= "2026-01-01"',
        'native = "p-1" or native = "p-2"',
        'time >= "2026-01-01" and time < "2026-01-04"',
        'source = "posts"',
        "time is null",
        'time >= "2000-01-01"',
        'source = "logins" and time >= "2000-01-01"',
    ],
)
def test_what_the_index_answers_is_counted_without_a_row(
    world: World, frames_read: list[tuple[str, int]], query: str
) -> None:
    count = world.find(query).count
    assert count
    frames_read.clear()
    assert world.find(query, limit=0).count == count
    assert frames_read == []


def test_only_frames_with_hits_are_read(world: World, frames_read: list[tuple[str, int]]) -> None:
    found = world.find('source = "posts" and native = "p-1" and score is not null')
    naive = world.naive(lambda known: known.source == "posts" and known.values["native_id"] == "p-1")
    assert 0 < found.count < len(naive)
    assert len(frames_read) == len(set(frames_read)) <= len(naive)


def test_segments_are_left_out_by_their_bounds(world: World) -> None:
    found = world.find('source = "docs" and time > "2027-01-01"')
    assert (found.count, found.segments_read) == (0, 0)
    assert world.find('time > "2026-01-15"').segments_read == 1  # of five: only logins come so late


def test_progress_ends_with_everything(world: World) -> None:
    told: list[tuple[int, int]] = []
    world.find("tokens = 3", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (100, 100)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# --- tombstones --------------------------------------------------------------------------------------------------


def tombstones(world: World, gone: list[int]) -> Iterator[Erase]:
    """Give the tombstones of records of the first segment of posts, by position."""
    index, manifest = next(
        (at, each) for at, each in world.ledger.manifests() if (each.source, each.number) == ("s0002/1", 0)
    )
    with closing(world.ledger.segment(manifest)) as reader:
        keys = [list(reader.index_keys(ordinal)) for ordinal in range(1, 5)]
    for position in gone:
        places = [
            number * manifest.records + place
            for number, block in enumerate(keys)
            for place, key in enumerate(block)
            if parse_sort_key(key)[2] == manifest.seq[0] + position
        ]
        yield Erase(
            order=world.ledger.order,
            segment=(index, bytes(32)),
            record=(position, bytes(32)),
            index=tuple(places),
            ground="court",
            time=START_US,
            basis="letter",
            document=bytes(32),
            authority_sig=None,
        )


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("", lambda known: True),
        ('and time >= "2000-01-01"', lambda known: known.time_us is not None),
        ("and time is null", lambda known: known.time_us is None),
        ('and account in ("u1", "u2")', lambda known: known.identifier in ("account:u1", "account:u2")),
        ("and flagged is null", lambda known: known.values["flagged"] is None),
    ],
)
@pytest.mark.parametrize("limit", [4, 1000])
def test_erased_records_are_not_found(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
    passes: Callable[[Known], bool],
    limit: int,
) -> None:
    gone = [0, 1, 4, 8, 22, 24]
    monkeypatch.setattr(world.ledger, "entries", [*world.ledger.entries, *tombstones(world, gone)])
    naive = world.naive(posts(lambda known: passes(known) and known.seq not in gone))
    found = world.find(f'source = "posts" {query}', limit=limit)
    assert found.count == len(naive) > 4
    assert shape(found) == shape_of(naive)[:limit]
