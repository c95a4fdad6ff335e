"""Events of Scellé's own JSONL: what becomes a field, what is kept beside, what fails and why."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard

from scelle.errors import ItemChanged, SourceMissing, UnitRewritten
from scelle.formats.values import UNDATED
from scelle.sources.generation.model import KINDS, OF_AN_ATTEMPT
from scelle.sources.generation.schemas import EVENT, EVENT_V1
from scelle.sources.interfaces import BadRecord, Record, RecordSource
from tests.unit.sources.reading_generation import (
    PROMPT,
    bad,
    event,
    events_of,
    everything,
    lines,
    of_member,
    only,
    shown,
    source,
    troubles,
    units,
    why,
    write,
)

JAN_8_9H = 1_767_862_800_000_000


def test_it_is_a_source_of_records_with_profile_1(tmp_path: Path) -> None:
    read = source(tmp_path)
    assert isinstance(read, RecordSource)
    assert [member.profile for member in read.members()] == [1, 1, 1]
    assert all(member.schema.encode() for member in read.members())
    read.test()
    with pytest.raises(SourceMissing):
        source(tmp_path / "nowhere").test()


def test_an_event_has_its_dimensions_and_fields(tmp_path: Path) -> None:
    said = event(
        "requested", "at-1", account="u-17", surface="app", model="lumen", model_version="3.1", conversation="c-9",
        safeguard_version=7, config_digest="ab12", bundle_digest="cd34", prompt=PROMPT,
        scores={"exposure": 0.02}, op="edit",
    )  # fmt: skip
    found = only(tmp_path, said)
    expected: dict[str, Any] = {
        "time": JAN_8_9H, "account": "account:u-17", "native_id": "at-1/requested", "attempt": "at-1",
        "kind": "requested", "model": "lumen", "surface": "app", "conversation": "c-9", "safeguard": "7",
        "config": "ab12", "format": "scelle", "ts": "2026-01-08T09:00:00Z", "model_version": "3.1",
        "bundle_digest": "cd34", "prompt": PROMPT, "scores": '{"exposure":0.02}', "raw_only": None, "whole": None,
        "more": {"op": "edit", "safeguard_version": 7}, "more_text": None, "raw": json.dumps(said),
        "origin": {"byte": 0, "file": "events/a.jsonl", "line": 1},
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read(tmp_path: Path, kind: str) -> None:
    found = only(tmp_path, event(kind, "at-1" if kind in OF_AN_ATTEMPT else None))
    assert (found["kind"], found["attempt"]) == (kind, "at-1" if kind in OF_AN_ATTEMPT else None)


def test_distribution_and_rollouts_have_fields(tmp_path: Path) -> None:
    said = event("distributed", post="p-1", recommender_version="r-4", impressions=1200)
    found = only(tmp_path, said)
    assert (found["post"], found["recommender_version"], found["impressions"]) == ("p-1", "r-4", 1200)
    said = event(
        "policy.rolled_out", policy_version="7", approver="op-2", surfaces=["app", "web"], diff={"cap": 0.5},
        reason="ticket 12",
    )  # fmt: skip
    found = only(tmp_path, said)
    assert (found["safeguard"], found["approver"], found["more"]) == ("7", "op-2", None)
    assert (found["surfaces"], found["diff"], found["reason"]) == (
        '["app","web"]',
        '{"cap":0.5}',
        "ticket 12",
    )


def test_the_first_name_of_the_safeguards_counts_and_the_other_is_kept(tmp_path: Path) -> None:
    found = only(tmp_path, event("removed", safeguard_version="7", policy_version="2026-01"))
    assert (found["safeguard"], found["more"]) == ("7", {"policy_version": "2026-01"})


def test_a_known_name_with_another_type_is_kept_beside(tmp_path: Path) -> None:
    found = only(
        tmp_path, event("removed", prompt={"parts": ["a"]}, impressions="many", model={"name": "lumen"})
    )
    assert (found["prompt"], found["impressions"], found["model"]) == (None, None, None)
    assert found["more"] == {"prompt": {"parts": ["a"]}, "impressions": "many", "model": {"name": "lumen"}}


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    line = (
        '{"event":"removed","ts":1767862800,"event_id":12345678901234567890,"seed":12345678901234567890,'
        '"steps":30,"guide":7.10}'
    )
    found = only(tmp_path, line)
    assert found["native_id"] == "12345678901234567890"
    assert found["more"] == {"steps": 30, "ts": 1767862800}
    assert found["more_text"] == '{"event_id":12345678901234567890,"guide":7.10,"seed":12345678901234567890}'
    assert (found["raw"], found["time"], found["ts"]) == (line, JAN_8_9H, "1767862800")


def test_half_a_surrogate_pair_stands_in_raw_alone(tmp_path: Path) -> None:
    line = r'{"event":"removed","prompt":"a \ud83d","odd\udc00":1,"note":"\ud83d","n":0.1,"m":{"x":0.1,"y":"\ud83d"}}'
    found = only(tmp_path, line)
    assert (found["prompt"], found["raw"]) == (None, line)
    assert found["raw_only"] == sorted(["prompt", "note", "odd\\udc00", "m"])
    assert found["more_text"] == '{"n":0.1}'


def test_times_before_1970_and_missing_ones(tmp_path: Path) -> None:
    assert only(tmp_path, event("removed", ts="1969-12-31T23:59:59.5Z"))["time"] == -500_000
    assert only(tmp_path, '{"event":"removed"}')["time"] == UNDATED
    found = only(tmp_path, event("removed", ts="2026-01-08T09:00:00.123456789Z"))
    assert (found["time"], found["ts"]) == (JAN_8_9H + 123_456, "2026-01-08T09:00:00.123456789Z")


def test_an_event_without_an_id_is_known_by_its_place(tmp_path: Path) -> None:
    read = write(tmp_path, [event("removed"), event("removed", event_id="")])
    second = len(lines([event("removed")]))
    assert [each["native_id"] for each in events_of(read)] == ["events/a.jsonl#0", f"events/a.jsonl#{second}"]


def test_whose_events_they_are_without_an_account(tmp_path: Path) -> None:
    write(tmp_path, [event("removed"), event("removed", account="u-2"), event("removed", account=4711)])
    read = source(tmp_path, holder="custodian:ada@example.org")
    assert [each["account"] for each in events_of(read)] == [
        "custodian:ada@example.org", "account:u-2", "account:4711",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ({"event": "imagined"}, "unknown-event"),
        ({"event": ["requested"]}, "unknown-event"),
        ({"kind": "requested"}, "unknown-event"),
        ({"event": "requested"}, "attempt-missing"),
        ({"event": "completed", "attempt_id": ""}, "attempt-missing"),
        ({"event": "completed", "attempt_id": {"id": 1}}, "schema-mismatch"),
        ({"event": "removed", "account": ["u-1"]}, "schema-mismatch"),
        ({"event": "removed", "ts": "yesterday"}, "time-unreadable"),
        ({"event": "removed", "ts": 10**30}, "time-out-of-range"),
        ('{"event":"removed","n":1,"n":2}', "duplicate-key"),
        ('{"event":"removed","in":{"n":1,"n":2}}', "duplicate-key"),
        (r'{"event":"removed","account":"u\ud800"}', "lone-surrogate"),
        ("[1,2]", "not-an-object"),
        ('{"event":"removed"} {"event":"removed"}', "not-json"),
        ('{"event":"removed","n":NaN}', "not-json"),
        ('{"event":"removed","n":' + "[" * 5000 + "]" * 5000 + "}", "nested-too-deep"),
    ],
)
def test_what_fails_says_why_and_never_what(tmp_path: Path, line: dict[str, Any] | str, cause: str) -> None:
    read = write(tmp_path, [event("removed"), line, event("removed")])
    (fault,) = bad(read)
    assert fault.cause == cause
    assert fault.place == f"events/a.jsonl line 2 (byte {len(lines([event('removed')]))})"
    assert "imagined" not in fault.detail
    assert "yesterday" not in fault.detail
    assert len(events_of(read)) == 2


def test_a_line_that_is_not_utf8_fails(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"event":"removed","note":"\xff"}\n')
    (fault,) = bad(source(tmp_path))
    assert fault.cause == "not-utf-8"


def test_deep_structures_stay_in_raw(tmp_path: Path) -> None:
    deep = '{"event":"removed","n":' + "[" * 200 + "]" * 200 + "}"
    found = only(tmp_path, deep)
    assert (found["more"], found["more_text"]) == (None, '{"n":' + "[" * 200 + "]" * 200 + "}")
    assert found["raw"] == deep


def test_a_truncated_last_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first, second = lines([event("removed", n=1)]), lines([event("removed", n=2)])
    path.write_text(first + second[:20])
    read = source(tmp_path)
    unit = units(read)[0]
    batches = list(read.read(unit, b""))
    assert [len(batch.records) for batch in batches] == [1]
    assert read.waiting(unit) == f"file a.jsonl: 20 bytes from byte {len(first)}, line 2, wait for their end"
    assert unit.stamp == b""
    path.write_text(first + second)
    (batch,) = read.read(unit, batches[-1].mark)
    (record,) = batch.records
    assert isinstance(record, Record)
    assert shown(record)["origin"] == {"byte": len(first), "file": "a.jsonl", "line": 2}
    assert read.waiting(unit) is None


def test_a_whole_last_line_needs_no_end(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines([event("removed")]).rstrip("\n"))
    read = source(tmp_path)
    (batch,) = read.read(units(read)[0], b"")
    (tmp_path / "a.jsonl").write_text(lines([event("removed"), event("reported")]))
    (batch,) = read.read(units(read)[0], batch.mark)
    (record,) = batch.records
    assert isinstance(record, Record)
    assert shown(record)["kind"] == "reported"


def test_a_rewritten_file_is_refused_at_its_mark(tmp_path: Path) -> None:
    read = write(tmp_path, [event("removed")])
    unit = units(read)[0]
    (batch,) = read.read(unit, b"")
    write(tmp_path, [event("reported"), event("removed")])
    with pytest.raises(UnitRewritten):
        list(read.read(unit, batch.mark))


def test_a_file_cut_while_it_is_read(tmp_path: Path) -> None:
    read = write(tmp_path, [event("removed", n=n) for n in range(30_000)])
    batches = read.read(units(read)[0], b"")
    next(batches)
    os.truncate(tmp_path / "events/a.jsonl", 10)
    with pytest.raises(ItemChanged):
        list(batches)


def test_compressed_files_and_one_file_alone(tmp_path: Path) -> None:
    data = lines([event("removed"), event("reported")]).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "b.ndjson.zst").write_bytes(zstandard.compress(data))
    assert len(events_of(source(tmp_path))) == 4
    assert len(events_of(source(tmp_path / "a.jsonl.gz"))) == 2


def test_a_compressed_file_without_its_end_waits(tmp_path: Path) -> None:
    data = lines([event("removed", n=n) for n in range(5000)]).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data)[:-40])
    read = source(tmp_path)
    unit = units(read)[0]
    assert sum(len(batch.records) for batch in read.read(unit, b"")) < 5000
    assert "a.jsonl.gz" in (read.waiting(unit) or "")


def test_blank_lines_carriage_returns_and_a_byte_order_mark(tmp_path: Path) -> None:
    line = lines([event("removed")]).rstrip("\n").encode()
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line + b"\n")
    first, second = events_of(source(tmp_path))
    assert first["raw"] == second["raw"] == line.decode()
    assert second["origin"]["line"] == 4


def test_reading_on_from_every_mark_gives_the_rest(tmp_path: Path) -> None:
    read = write(tmp_path, [event("removed", n=n) for n in range(20_000)])
    unit = units(read)[0]
    batches = list(read.read(unit, b""))
    assert len(batches) > 2
    for number, batch in enumerate(batches):
        rest = [len(each.records) for each in read.read(unit, batch.mark)]
        assert sum(rest) == sum(len(each.records) for each in batches[number + 1 :])


def test_batches_keep_their_limits(tmp_path: Path) -> None:
    read = write(tmp_path, [event("removed", n=n) for n in range(10_000)])
    for batch in read.read(units(read)[0], b""):
        assert len(batch.records) <= 8192
        assert sum(each.size_bytes for each in batch.records if isinstance(each, Record)) <= 8 << 20


def test_a_large_event_is_kept_as_content(tmp_path: Path) -> None:
    line = '{"event":"completed","attempt_id":"at-1","outputs":["' + "A" * (17 << 20) + '"]}'
    read = write(tmp_path, [line])
    (record,) = of_member(read, EVENT)
    found = shown(record)
    assert (found["raw"], found["outputs"], found["attempt"]) == (None, None, "at-1")
    (content,) = record.contents
    assert EVENT_V1.fields[content.field].name == "whole"
    assert content.document.stream is not None
    assert b"".join(content.document.stream()) == line.encode()


def test_a_line_over_64_mib_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"event":"removed","x":"')
        for _ in range(65):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + lines([event("removed")]).encode())
    records = everything(source(tmp_path))
    assert [each.cause for each in records if isinstance(each, BadRecord)] == ["line-too-long"]
    assert len([each for each in records if isinstance(each, Record) and each.member == EVENT]) == 1


def test_identifiers_over_1_mib_fail(tmp_path: Path) -> None:
    assert why(tmp_path, event("removed", account="u" * (2 << 20))) == "identifier-too-long"


def test_links_are_named_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to("/etc/hostname")
    assert troubles(source(tmp_path)) == {b"a.jsonl": "symbolic-link"}


def test_own_events_also_come_as_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([event("removed", n=1), event("reported")], indent=1))
    first, second = events_of(source(tmp_path))
    assert (first["kind"], second["kind"]) == ("removed", "reported")
    whole = (tmp_path / "a.json").read_bytes()
    at = second["origin"]["byte"]
    assert whole[at : at + len(second["raw"])].decode() == second["raw"]
