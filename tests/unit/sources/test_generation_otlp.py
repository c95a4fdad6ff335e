"""OpenTelemetry GenAI in OTLP JSON: mapped to the same events, bytes kept, sampling noted, read leniently."""

import json
from pathlib import Path
from typing import Any

import pytest

from scelle.formats.values import UNDATED
from scelle.sources.interfaces import Record
from tests.unit.sources.reading_generation import (
    PROMPT,
    bad,
    bundles_of,
    checks_of,
    event,
    events_of,
    source,
    units,
    write,
)

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
SCHEMA_URL = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0"
NANOS = "1767862800123456789"


def value(said: Any) -> dict[str, Any]:
    match said:
        case bool():
            return {"boolValue": said}
        case int():
            return {"intValue": str(said)}
        case float():
            return {"doubleValue": said}
        case list():
            return {"arrayValue": {"values": [value(each) for each in said]}}
        case dict():
            return {"kvlistValue": {"values": attributes(said)}}
    return {"stringValue": said}


def attributes(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(each)} for key, each in said.items()]


def span(operation: str = "generate_content", /, **more: Any) -> dict[str, Any]:
    said = {"gen_ai.operation.name": operation} | more.pop("said", {})
    return {
        "traceId": TRACE, "spanId": SPAN, "name": operation, "startTimeUnixNano": NANOS,
        "endTimeUnixNano": "1767862801000000000", "attributes": attributes(said),
    } | more  # fmt: skip


def log(name: str, said: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"timeUnixNano": NANOS, "eventName": name, "attributes": attributes(said or {})} | more


def document(*records: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    is_log = "eventName" in records[0]
    inner = {
        "scope": {"name": "lumen.tracing", "version": "2"},
        "logRecords" if is_log else "spans": list(records),
    }
    about = attributes({"service.name": "reply-bot"} | (resource or {}))
    return {
        "resourceLogs" if is_log else "resourceSpans": [
            {"resource": {"attributes": about}, "scopeLogs" if is_log else "scopeSpans": [inner],
             "schemaUrl": SCHEMA_URL}
        ]
    }  # fmt: skip


def put(root: Path, said: Any, name: str = "a.json", indent: int | None = None) -> None:
    (root / name).write_text(json.dumps(said, indent=indent), encoding="utf-8")


def one(root: Path, record: dict[str, Any], **about: Any) -> dict[str, Any]:
    put(root, document(record, **about))
    read = source(root)
    assert bad(read) == []
    (found,) = events_of(read)
    return found


def test_a_span_becomes_an_event(tmp_path: Path) -> None:
    said = {
        "gen_ai.request.model": "lumen", "gen_ai.response.model": "lumen-3.1", "gen_ai.conversation.id": "c-1",
        "user.id": "u-17", "gen_ai.input.messages": f'[{{"role":"user","content":"{PROMPT}"}}]',
        "gen_ai.output.messages": ["m-1"], "scelle.config_digest": "ab", "scelle.safeguard_version": 7,
        "gen_ai.request.seed": 12345678901234567890, "gen_ai.request.top_p": 0.5, "odd": 0.1,
    }  # fmt: skip
    found = one(tmp_path, span(said=said))
    expected: dict[str, Any] = {
        "kind": "completed", "attempt": f"{TRACE}-{SPAN}", "native_id": f"{TRACE}-{SPAN}", "model": "lumen-3.1",
        "account": "account:u-17", "surface": "reply-bot", "conversation": "c-1", "safeguard": "7", "config": "ab",
        "prompt": said["gen_ai.input.messages"], "outputs": '["m-1"]', "format": "otlp", "ts": NANOS,
        "schema_url": SCHEMA_URL, "time": 1_767_862_800_123_456, "more_text": None, "raw_only": None,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    kept = found["more"]["attributes"]
    assert kept["gen_ai.request.seed"] == "12345678901234567890"
    assert (kept["gen_ai.request.top_p"], kept["odd"]) == (0.5, "0.1")
    assert found["more"]["resource"] == {"service.name": "reply-bot"}
    assert found["more"]["scope"] == {"name": "lumen.tracing", "version": "2"}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("indent", [None, 2])
def test_the_bytes_of_each_record_are_kept(tmp_path: Path, indent: int | None, mark: bytes) -> None:
    records = [span(spanId=f"{n:016x}", note="é ☃ 𝄞" * n) for n in range(3)]
    whole = mark + json.dumps(document(*records), indent=indent, ensure_ascii=False).encode()
    (tmp_path / "a.json").write_bytes(whole)
    found = events_of(source(tmp_path))
    assert [json.loads(each["raw"]) for each in found] == records
    for each in found:
        at = each["origin"]["byte"]
        assert whole[at : at + len(each["raw"].encode())] == each["raw"].encode()
    assert [each["origin"]["record"] for each in found] == [1, 2, 3]


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (span("chat"), "completed"),
        (span("chat", said={"gen_ai.response.finish_reasons": ["content_filter"]}), "refused"),
        (span("chat", status={"code": 2}), "failed"),
        (span("chat", status={"code": "STATUS_CODE_ERROR"}), "failed"),
        (span("chat", said={"error.type": "timeout"}), "failed"),
        (span("execute_tool"), "otel.execute_tool"),
        (span("run_guardrail"), "decided"),
        (span("other", said={"gen_ai.guardrail.verdict.type": "deny"}), "decided"),
        (log("gen_ai.client.inference.operation.details"), "completed"),
        (log("gen_ai.evaluation.result"), "reviewed"),
        (log("gen_ai.user.message"), "requested"),
        (log("gen_ai.choice"), "completed"),
        (log("started"), "otel.started"),
        (log("", {"event.name": "gen_ai.choice"}), "completed"),
        (log(""), "otel.log"),
    ],
)
def test_kinds(tmp_path: Path, record: dict[str, Any], kind: str) -> None:
    assert one(tmp_path, record)["kind"] == kind


def test_verdict_and_action_stay_apart(tmp_path: Path) -> None:
    found = one(tmp_path, span("run_guardrail", said={
        "gen_ai.guardrail.verdict.type": "deny", "gen_ai.guardrail.action.type": "delivered",
    }))  # fmt: skip
    assert found["decision"] == "deny"
    assert found["more"]["attributes"]["gen_ai.guardrail.action.type"] == "delivered"


def test_times_that_are_unknown_are_none(tmp_path: Path) -> None:
    assert one(tmp_path, span(startTimeUnixNano="0"))["time"] == UNDATED
    found = one(tmp_path, log("started", timeUnixNano="0", observedTimeUnixNano="1000"))
    assert (found["time"], found["ts"]) == (1, "1000")


def test_one_document_a_line_with_other_formats_beside(tmp_path: Path) -> None:
    read = write(
        tmp_path, [document(span()), event("removed"), document(log("gen_ai.choice"), log("started"))]
    )
    assert [each["kind"] for each in events_of(read)] == ["completed", "removed", "completed", "otel.started"]
    assert [each["origin"].get("record") for each in events_of(read)] == [1, None, 1, 2]


def test_lines_of_documents_in_a_file_named_json(tmp_path: Path) -> None:
    write(tmp_path, [document(span()), document(span(spanId="00000000000000aa"))], "traces.json")
    read = source(tmp_path)
    assert [each["origin"]["line"] for each in events_of(read)] == [1, 2]
    assert bundles_of(read) == []


def test_the_resource_may_stand_behind_and_the_key_too(tmp_path: Path) -> None:
    said = document(span())
    (inside,) = said["resourceSpans"]
    turned = {"partial": True, "resourceSpans": [dict(reversed(inside.items()))]}
    (found,) = events_of(write(tmp_path, [turned]))
    assert (found["surface"], found["schema_url"]) == ("reply-bot", SCHEMA_URL)


def test_reading_on_inside_a_line_of_many_records(tmp_path: Path) -> None:
    many = document(*[span(spanId=f"{n:016x}") for n in range(20_000)])
    read = write(tmp_path, [event("removed"), many, event("reported")])
    unit = units(read)[0]
    batches = list(read.read(unit, b""))
    natives = [each.native for batch in batches for each in batch.records if isinstance(each, Record)]
    assert len(natives) == len(set(natives)) == 20_002
    assert all(len(batch.records) <= 8192 for batch in batches)
    read_so_far = 0
    for batch in batches:
        read_so_far += len(batch.records)
        rest = [r.native for b in read.read(unit, batch.mark) for r in b.records if isinstance(r, Record)]
        assert rest == natives[read_so_far:]


@pytest.mark.parametrize(
    ("record", "about", "why"),
    [
        (span(flags=0), {}, "flags say that the span was not sampled"),
        (span(said={"sampled": False}), {}, "span attribute sampled"),
        (
            span(),
            {"resource": {"otel.traces.sampler": "traceidratio"}},
            "resource attribute otel.traces.sampler",
        ),
        (span(traceState="ot=th:c"), {}, "traceState has a sampling threshold"),
        (log("started", {"sampling.rate": 0.1}), {}, "log record attribute sampling.rate"),
    ],
)
def test_sampling_is_noted(tmp_path: Path, record: dict[str, Any], about: dict[str, Any], why: str) -> None:
    found = one(tmp_path, record, **about)
    assert found["more"]["sampling"] == why
    (check,) = checks_of(source(tmp_path))["sampled"]
    assert (check["severity"], check["count"], check["body"]) == (
        "finding",
        1,
        {"file": "a.json", "why": why},
    )


@pytest.mark.parametrize(
    ("record", "about"),
    [
        (span(flags=257), {}),
        (span(traceState="ot=th:0"), {}),
        (span(), {"resource": {"otel.traces.sampler": "parentbased_always_on"}}),
    ],
)
def test_sampling_of_everything_is_none(
    tmp_path: Path, record: dict[str, Any], about: dict[str, Any]
) -> None:
    assert "sampling" not in one(tmp_path, record, **about)["more"]
    assert "sampled" not in checks_of(source(tmp_path))


def test_odd_shapes_are_read_around_and_each_counted(tmp_path: Path) -> None:
    odd = {"resourceSpans": [
        7, {"scopeSpans": [None, {"spans": "none"}, {"spans": [span()]}], "resource": [1]}, {"resource": None},
    ], "resourceLogs": {}}  # fmt: skip
    put(tmp_path, odd)
    read = source(tmp_path)
    assert [each.detail.partition(":")[0] for each in bad(read)] == [
        "a resource is an object",
        "a scope is an object",
        "spans is a list",
        "resourceLogs is a list",
    ]
    assert {each.cause for each in bad(read)} == {"schema-mismatch"}
    assert len({each.place for each in bad(read)}) == 4
    assert [each["surface"] for each in events_of(read)] == [None]


@pytest.mark.parametrize("where", ["resourceSpans", "scopeSpans", "spans"])
def test_no_list_hides_another_of_its_name(tmp_path: Path, where: str) -> None:
    first, second = span(name="first", said={"enduser.id": "caf\u00e9"}), span(name="second")
    text = json.dumps(document(first), ensure_ascii=False)
    at = text.index(f'"{where}"')
    lists = {"spans": [second]}
    lists["scopeSpans"] = [lists.copy()]
    lists["resourceSpans"] = [{"scopeSpans": lists["scopeSpans"]}]
    other = f'"{where}": {json.dumps(lists[where])}, '
    (tmp_path / "a.json").write_text(text[:at] + other + text[at:])
    read = source(tmp_path)
    assert bad(read) == []
    assert [each["more"]["name"] for each in events_of(read)] == ["second", "first"]


def test_empty_lists_and_nulls_are_no_fault(tmp_path: Path) -> None:
    lines = [
        '{"resourceSpans":null}',
        '{"resourceLogs":[]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":null}]}]}',
    ]
    (tmp_path / "a.jsonl").write_text("".join(each + "\n" for each in lines))
    assert (bad(source(tmp_path)), events_of(source(tmp_path))) == ([], [])


@pytest.mark.parametrize(
    "odd",
    [
        {"said": {"gen_ai.operation.name": ["chat"]}},
        {"said": {"gen_ai.operation.name": {"a": "chat"}}},
        {"said": {"event.name": ["chat"]}},
        {"eventName": ["chat"]},
        {"eventName": {"a": 1}},
    ],
)
def test_a_name_that_is_no_text_names_nothing_and_ends_nothing(tmp_path: Path, odd: dict[str, Any]) -> None:
    put(tmp_path, document(span(), span(**odd)))
    assert (bad(source(tmp_path)), len(events_of(source(tmp_path)))) == ([], 2)


@pytest.mark.parametrize("time", [[1], True, {"a": 1}, "soon"])
def test_a_time_of_another_type_fails_its_record_alone(tmp_path: Path, time: Any) -> None:
    put(tmp_path, document(span(), span(startTimeUnixNano=time)))
    read = source(tmp_path)
    assert [each.cause for each in bad(read)] == ["time-unreadable"]
    assert len(events_of(read)) == 1


def test_an_attribute_of_half_a_character_stops_no_check(tmp_path: Path) -> None:
    put(tmp_path, document(span(said={"sampl\ud800er": "some"})))
    (check,) = checks_of(source(tmp_path))["sampled"]
    assert "sampl" in check["body"]["why"]


def test_a_schema_url_of_half_a_character_stops_no_pass(tmp_path: Path) -> None:
    said = document(span())
    said["resourceSpans"][0]["schemaUrl"] = "\ud800"
    put(tmp_path, said)
    read = source(tmp_path)
    assert bad(read) == []
    assert len(events_of(read)) == 1


def test_one_bad_record_fails_alone(tmp_path: Path) -> None:
    text = json.dumps(document(span(), span(), span()))
    text = text.replace('"name": "generate_content"', '"name": "a", "name": "b"', 1)
    text = text.replace(f'"{NANOS}"', '"soon"', 2).replace('"soon"', f'"{NANOS}"', 1)
    (tmp_path / "a.jsonl").write_text(text + "\n")
    read = source(tmp_path)
    assert [each.cause for each in bad(read)] == ["duplicate-key", "time-unreadable"]
    assert len(events_of(read)) == 1


def test_a_document_that_is_cut_or_has_another_behind_it_fails(tmp_path: Path) -> None:
    text = json.dumps(document(span()))
    (tmp_path / "a.json").write_text(text[:-3])
    (tmp_path / "b.jsonl").write_text(text + text + "\n")
    read = source(tmp_path)
    assert [each.place.split()[0] for each in bad(read)] == ["a.json", "b.jsonl"]
    assert {each.cause for each in bad(read)} == {"not-json"}
    assert events_of(read) == []


def test_spans_are_no_attempts_of_their_own_check(tmp_path: Path) -> None:
    put(tmp_path, document(span(), span(spanId="00000000000000aa", status={"code": 2})))
    (sums,) = checks_of(source(tmp_path))["attempts"]
    assert (sums["body"]["attempts"], sums["body"]["events"]) == (0, 2)
