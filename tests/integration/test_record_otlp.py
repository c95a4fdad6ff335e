"""The receiver of OpenTelemetry: protobuf and JSON, gzip, partial success; sampled spans are no evidence."""

import base64
import copy
import gzip
import json
import zlib
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.integration.recorded_platform import Platform, Proxy, send

from scelle.safeguards.recorder.otlp import SIGNALS, Unreadable, take, unpacked


def span(number: int, **more: Any) -> dict[str, Any]:
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "generate_content",
        "startTimeUnixNano": "1760000000000000000",
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "generate_content"}}],
        **more,
    }


def traces(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}


def as_protobuf(content: dict[str, Any]) -> bytes:
    content = copy.deepcopy(content)
    for each in content["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId"):
            each[name] = base64.b64encode(bytes.fromhex(each[name])).decode()
    return bytes(ParseDict(content, ExportTraceServiceRequest()).SerializeToString())


def events(platform: Platform) -> list[dict[str, Any]]:
    return [each for each in platform.events("otlp") if "event" not in each]


def receiver(platform: Platform) -> Proxy:
    return platform.record("otlp", "--listen", "127.0.0.1:0", "--order", "o-1")


def test_json_and_protobuf_are_kept_and_sealed(platform: Platform) -> None:
    receiving = receiver(platform)
    pretty = json.dumps(traces(span(1)), indent=2).encode()
    assert send(f"{receiving.url}/v1/traces", pretty).json == {}
    packed = gzip.compress(as_protobuf(traces(span(2, flags=1))))
    answer = send(f"{receiving.url}/v1/traces", packed, "application/x-protobuf", Content_Encoding="gzip")
    assert (answer.status, answer.body) == (200, b"")
    record = {"timeUnixNano": "1", "eventName": "gen_ai.choice", "body": {"stringValue": "a square"}}
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    assert send(f"{receiving.url}/v1/logs", json.dumps(logs).encode()).status == 200
    receiving.end()
    found = events(platform)
    assert [each["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] for each in found[:2]] == [
        f"{n:032x}" for n in (1, 2)
    ]
    counts = platform.json("preserve", "o-1")["sources"]["ai"]
    assert counts["failed"] == 0
    assert platform.json("find", "o-1", 'kind = "completed"')["count"] == 3
    platform.run("verify")


def test_sampled_spans_are_refused_and_are_a_gap(platform: Platform) -> None:
    receiving = receiver(platform)
    mixed = traces(span(1), span(2, flags=256), span(3, traceState="ot=th:8"))
    answer = send(f"{receiving.url}/v1/traces", json.dumps(mixed).encode())
    assert answer.json["partialSuccess"]["rejectedSpans"] == "2"
    answer = send(
        f"{receiving.url}/v1/traces", as_protobuf(traces(span(4, flags=256))), "application/x-protobuf"
    )
    said = MessageToDict(ExportTraceServiceResponse.FromString(answer.body))
    assert said["partialSuccess"]["rejectedSpans"] == "1"
    report = receiving.end(code=1)
    assert report["refused"] == 3
    kept = [
        each["spanId"]
        for found in events(platform)
        for each in found["resourceSpans"][0]["scopeSpans"][0]["spans"]
    ]
    assert kept == [f"{1:016x}"]
    gaps = [each for each in platform.events("otlp") if each.get("event") == "gap"]
    assert [each["records"] for each in gaps] == [2, 1]
    assert platform.content(gaps[0]["request"]) == json.dumps(mixed).encode()


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status"),
    [
        (b"{", "application/json", {}, 400),
        (b"[]", "application/json", {}, 400),
        (b"\xff\xff\xff", "application/x-protobuf", {}, 400),
        (b"{}", "text/plain", {}, 415),
        (b"no gzip", "application/json", {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-4], "application/json", {"Content_Encoding": "gzip"}, 400),
        (zlib.compress(b"{}"), "application/json", {"Content_Encoding": "deflate"}, 415),
        (gzip.compress(b" " * 100_000_000, mtime=0), "application/json", {"Content_Encoding": "gzip"}, 413),
        (b"{}", "application/json", {}, 200),
        (b'{"resourceSpans":7}', "application/json", {}, 200),
    ],
)
def test_what_is_no_otlp_is_refused(
    body: bytes, content_type: str, headers: dict[str, str], status: int
) -> None:
    encoding = headers.get("Content_Encoding", "")
    if status == 200:
        assert take(SIGNALS[1], content_type, unpacked(encoding, body)).refused == 0
        return
    with pytest.raises(Unreadable) as caught:
        take(SIGNALS[1], content_type, unpacked(encoding, body))
    assert caught.value.status == status
