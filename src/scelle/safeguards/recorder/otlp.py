"""Receive OpenTelemetry's logs and traces over HTTP, and keep them as they came.

Spans that were sampled are refused: counts from them are lower bounds, and no evidence of what did not happen. What was
refused is a `gap` event. aiohttp and opentelemetry-proto (an extra) read HTTP and protobuf.
"""

import asyncio
import base64
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import hdrs, web
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from scelle.errors import StorageError
from scelle.safeguards.recorder.contents import Held
from scelle.safeguards.recorder.model import GAP
from scelle.safeguards.recorder.spool import Spool
from scelle.sources.generation.entries import Spot, file_name
from scelle.sources.generation.otlp import otlp_entries
from scelle.sources.interfaces import BadRecord

BODY_MAX_BYTES: Final = 16 << 20
PLAIN_MAX_BYTES: Final = 32 << 20
"""A body that is larger when it is unpacked is refused; no more than that is ever unpacked."""
JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
_IDS: Final = ("traceId", "spanId", "parentSpanId")
_GZIP: Final = 31


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind of telemetry: its path, its messages, and what its reply counts as rejected."""

    path: str
    root: str
    asked: type[Message]
    reply: type[Message]
    rejected: str
    is_traces: bool


SIGNALS: Final = (
    Signal(
        "/v1/logs",
        "resourceLogs",
        ExportLogsServiceRequest,
        ExportLogsServiceResponse,
        "rejectedLogRecords",
        False,
    ),
    Signal(
        "/v1/traces",
        "resourceSpans",
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
        "rejectedSpans",
        True,
    ),
)


class Unreadable(Exception):
    """Say that a request cannot be taken, and with which status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Taken:
    """What is to be kept of a request: one line of JSON, if anything; how many records were refused, or unreadable."""

    line: bytes | None
    refused: int
    unreadable: int


def take(signal: Signal, content_type: str, data: bytes) -> Taken:
    """Read a request's body and decide what of it is kept; raises Unreadable."""
    text = _json_text(signal, content_type, data)
    try:
        entries = list(otlp_entries(text, Spot(file_name(b"received"), 0, 0)))
    except (ValueError, RecursionError) as error:
        raise Unreadable(400, f"the body is no JSON of OTLP: {type(error).__name__}") from None
    sampled = [
        signal.is_traces and not isinstance(each, BadRecord) and bool(each.sampling) for each in entries
    ]
    unreadable = sum(isinstance(each, BadRecord) for each in entries)
    if not entries or all(sampled):
        return Taken(None, sum(sampled), unreadable)
    if not any(sampled):
        return Taken(text.encode("utf-8", "surrogatepass"), 0, unreadable)
    content = json.loads(text)
    _drop(content, sampled)
    return Taken(json.dumps(content, separators=(",", ":")).encode(), sum(sampled), unreadable)


def _json_text(signal: Signal, content_type: str, data: bytes) -> str:
    """Give the request as JSON on one line: what came as JSON keeps every other byte."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == PROTOBUF:
        message = signal.asked()
        try:
            message.ParseFromString(data)
            found = MessageToDict(message, use_integers_for_enums=True)
        except (DecodeError, ValueError, RecursionError) as error:
            raise Unreadable(400, f"the body is no protobuf of OTLP: {type(error).__name__}") from None
        _hex_ids(found)
        return json.dumps(found, separators=(",", ":"))
    if media_type != JSON:
        raise Unreadable(415, f"send {PROTOBUF} or {JSON}")
    try:
        text = data.decode().strip()
        is_object = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError) as error:
        raise Unreadable(400, f"the body is no JSON: {type(error).__name__}") from None
    if not is_object:
        raise Unreadable(400, "the body is no object")
    return text.replace("\r", " ").replace("\n", " ")  # JSON has none inside a text


def _hex_ids(value: Any) -> None:
    """Write ids in hex, as OTLP's JSON has them; protobuf's JSON has base64."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _IDS and isinstance(inner, str):
                value[name] = base64.b64decode(inner).hex()
            else:
                _hex_ids(inner)
    elif isinstance(value, list):
        for each in value:
            _hex_ids(each)


def _drop(content: dict[str, Any], sampled: list[bool]) -> None:
    """Take sampled spans out; raises Unreadable where it is not certain which they are."""
    left = iter(sampled)
    try:
        for scope in _scopes(content):
            scope["spans"] = [span for span in scope["spans"] if not next(left)]
    except (KeyError, TypeError, StopIteration, RuntimeError):
        raise Unreadable(
            400, "the body has sampled spans and a form that is not OTLP's: nothing of it is kept"
        ) from None
    if next(left, None) is not None:
        raise Unreadable(
            400, "the body has sampled spans and a form that is not OTLP's: nothing of it is kept"
        )


def _scopes(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in content["resourceSpans"]:
        yield from resource["scopeSpans"]


def unpacked(encoding: str, data: bytes) -> bytes:
    """Unpack a body, never more of it than may be; raises Unreadable."""
    if encoding in ("", "identity"):
        return data
    if encoding != "gzip":
        raise Unreadable(415, "send gzip, or no content encoding")
    unpacking = zlib.decompressobj(_GZIP)
    try:
        found = unpacking.decompress(data, PLAIN_MAX_BYTES + 1)
    except zlib.error:
        raise Unreadable(400, "the body is no gzip") from None
    if len(found) > PLAIN_MAX_BYTES:
        raise Unreadable(413, f"a body may have {PLAIN_MAX_BYTES} bytes when it is unpacked")
    if not unpacking.eof or unpacking.unused_data:
        raise Unreadable(400, "the body is not one whole gzip stream")
    return found


class OtlpReceiver:
    """Serve OTLP/HTTP: a request is answered once it is durable."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.requests = self.refused = self.unreadable = 0

    async def run(
        self,
        host: str,
        port: int,
        stop: asyncio.Event,
        started: Callable[[str, int], None] = lambda host, port: None,
    ) -> None:
        """Listen until `stop` is set; raises OSError where it cannot listen."""
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        for signal in SIGNALS:
            app.router.add_post(signal.path, self._handler(signal))
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=30.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            started(*runner.addresses[0][:2])
            await stop.wait()
        finally:
            await runner.cleanup()

    def status(self) -> dict[str, Any]:
        """Return counts of this run."""
        numbers = {"requests": self.requests, "refused": self.refused, "unreadable": self.unreadable}
        return {"surface": self._spool.surface, **numbers, **self._spool.counts()}

    def _handler(self, signal: Signal) -> Any:
        async def handle(request: web.Request) -> web.Response:
            self.requests += 1
            is_json = request.content_type == JSON
            try:
                data = await request.read()
                encoding = request.headers.get(hdrs.CONTENT_ENCODING, "").lower()
                taken = await asyncio.to_thread(
                    _taken, signal, request.headers.get(hdrs.CONTENT_TYPE, ""), encoding, data
                )
                await self._keep(taken, data)
            except web.HTTPRequestEntityTooLarge:
                return _refusal(413, f"a body may have {BODY_MAX_BYTES} bytes", is_json=is_json)
            except Unreadable as error:
                return _refusal(error.status, str(error), is_json=is_json)
            except StorageError as error:
                self._spool.lose(error.code, unserved=True)
                return _refusal(503, "it cannot be recorded now: send it again", is_json=is_json)
            return _reply(signal, taken, is_json=is_json)

        return handle

    async def _keep(self, taken: Taken, data: bytes) -> None:
        """Make what is kept durable; what was refused is a gap, with the body as it came."""
        self.refused += taken.refused
        self.unreadable += taken.unreadable
        waiting = []
        if taken.refused:
            held: Held = await asyncio.to_thread(self._spool.contents.keep, data)
            gap = {
                "event": GAP,
                "reason": "sampled",
                "lost": None,
                "records": taken.refused,
                "request": held.digest,
            }
            waiting.append(self._spool.put(gap, [held]))
        if taken.line is not None:
            waiting.append(self._spool.put_document(taken.line))
        for each in waiting:
            await asyncio.wrap_future(each)


def _taken(signal: Signal, content_type: str, encoding: str, data: bytes) -> Taken:
    return take(signal, content_type, unpacked(encoding, data))


def _reply(signal: Signal, taken: Taken, *, is_json: bool) -> web.Response:
    partial: dict[str, Any] = {}
    if taken.refused:
        message = "sampled spans are no evidence: send every span"
        partial = {signal.rejected: str(taken.refused), "errorMessage": message}
    elif taken.unreadable:
        partial = {"errorMessage": f"{taken.unreadable} records are kept and cannot be understood"}
    content = {"partialSuccess": partial} if partial else {}
    if is_json:
        return web.json_response(content)
    return web.Response(body=ParseDict(content, signal.reply()).SerializeToString(), content_type=PROTOBUF)


def _refusal(status: int, message: str, *, is_json: bool) -> web.Response:
    """Answer with a google.rpc.Status, which is a code (3: what was sent is wrong, 14: not now) and a message."""
    code = 14 if status == 503 else 3
    headers = {"Retry-After": "1"} if status == 503 else {}
    if is_json:
        return web.json_response({"code": code, "message": message}, status=status, headers=headers)
    text = message.encode()[:120]  # one byte says how long it is
    body = bytes([8, code, 18, len(text)]) + text
    return web.Response(body=body, status=status, headers=headers, content_type=PROTOBUF)
