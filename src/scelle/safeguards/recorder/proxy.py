"""Stand between clients and a generator of pictures, and record what is asked and what comes of it.

No record, no image: a request is durable before the generator is called, and an output before the client gets a byte
of it. What goes on is byte for byte what came. aiohttp (an extra) reads and writes HTTP: a request with two lengths, or
with a length and chunks, is refused before it comes here.
"""

import asyncio
import posixpath
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final
from urllib.parse import unquote

import aiohttp
from aiohttp import ClientResponse, hdrs, web
from multidict import CIMultiDict
from yarl import URL

from scelle.errors import StorageError
from scelle.safeguards.recorder import events
from scelle.safeguards.recorder.answers import ANSWER_MAX_BYTES, THREAD_BYTES, Answers, is_missing
from scelle.safeguards.recorder.attempts import Attempt
from scelle.safeguards.recorder.bodies import Body
from scelle.safeguards.recorder.events import Told
from scelle.safeguards.recorder.gating import Gated, GateFault, GateRoom
from scelle.safeguards.recorder.headers import (
    GATE_HEADERS,
    PROMISE_HEADER,
    RECEIPT_HEADER,
    RECORD_HEADER,
    decided_in,
    forwarded,
    only_plain,
    returned,
    said_of,
)
from scelle.safeguards.recorder.model import (
    COMPLETED,
    FAILED,
    REFUSED,
    Mode,
    outcome_of,
)
from scelle.safeguards.recorder.receipts import ReceiptSigner
from scelle.safeguards.recorder.relay import OutputMissing, Relay, is_connected, sent_on
from scelle.safeguards.recorder.spool import Spool
from scelle.safeguards.recorder.streams import EventSplitter, StreamTooLong

ENDPOINTS: Final = ("/v1/images/generations", "/v1/images/edits")
STATUS_PATH: Final = "/.scelle/status"
_PIECE_BYTES: Final = 1 << 18
_BODY_S: Final = 300.0
NOT_TAKEN: Final = "not-taken"
"""Counts requests whose body never came whole: nothing of them is recorded, and the generator was not asked."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How the proxy works. `upstream` is the generator's base without /v1; times in seconds, sizes in bytes.

    `output_origins` are further origins from which an output that is only a URL may be fetched. `passes_others`: other
    paths than those of pictures go to the generator unrecorded, instead of being answered with 404.
    """

    upstream: str
    timeout_s: float = 600.0
    body_max_bytes: int = 512 << 20
    output_max_bytes: int = 64 << 20
    output_origins: frozenset[str] = frozenset()
    passes_others: bool = False
    in_flight_max: int = 2048


class Refused(Exception):
    """Say that the proxy itself answers, and how."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code
        self.headers: dict[str, str] = {}


@dataclass(slots=True)
class Served:
    """Count what came through."""

    requests: int = 0
    by_outcome: dict[str, int] = field(default_factory=dict)


class RecordingProxy:
    """Serve one surface: `run` until told to stop."""

    def __init__(
        self,
        spool: Spool,
        settings: ProxySettings,
        gate: GateRoom | None = None,
        said: Mapping[str, str] | None = None,
        signer: ReceiptSigner | None = None,
    ) -> None:
        """Serve; `gate` decides where there is one, and each request has the fields that are `said`.

        With a `signer`, each answer carries a promise to seal what is recorded of it until then.
        """
        self._spool, self._settings, self._gate, self._said = spool, settings, gate, dict(said or {})
        self._signer = signer
        self._upstream = URL(settings.upstream)
        self._origins = {self._upstream.origin(), *(URL(each).origin() for each in settings.output_origins)}
        self._room = asyncio.Semaphore(settings.in_flight_max)
        self.served = Served()

    async def run(
        self,
        host: str,
        port: int,
        stop: asyncio.Event,
        started: Callable[[str, int], None] = lambda host, port: None,
    ) -> None:
        """Listen until `stop` is set, then let what is under way end; raises OSError where it cannot listen."""
        allow_open_files()
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # bodies are recorded as they came: nothing is decompressed, so that no bomb goes off here
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=60.0)
        await runner.setup()
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s, connect=10.0)
        async with aiohttp.ClientSession(
            timeout=timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0),
            skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Content-Disposition"),
        ) as self._client:
            self._answers = Answers(
                self._spool, self._client, self._upstream, self._origins, self._settings.output_max_bytes
            )
            try:
                site = web.TCPSite(runner, host, port)
                await site.start()
                started(*runner.addresses[0][:2])
                reaper = asyncio.create_task(self._reap())
                await stop.wait()
                reaper.cancel()
            finally:
                await runner.cleanup()
                await Attempt.all_recorded()

    async def _reap(self) -> None:
        """Record as abandoned what has no outcome although its time is over."""
        while True:
            await asyncio.sleep(30.0)
            self._spool.reap(self._settings.timeout_s + 120.0)

    # --- one request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = posixpath.normpath(unquote(request.path))
        if path == STATUS_PATH:
            return web.json_response(self.status())
        try:
            if path in ENDPOINTS and request.method == hdrs.METH_POST:
                return await self._generate(request, path)
            if self._settings.passes_others and _may_pass(request.raw_path):
                return await self._pass(request)
        except Refused as refused:
            return self._error(refused)
        return self._error(
            Refused(404, "not-recorded", f"this recorder serves POST {' and '.join(ENDPOINTS)} only")
        )

    def status(self) -> dict[str, Any]:
        """Return counts of this run: nothing of what was asked."""
        return {
            "surface": self._spool.surface,
            "mode": self._spool.mode.value,
            "requests": self.served.requests,
            "outcomes": dict(self.served.by_outcome),
            **self._spool.counts(),
        }

    async def _generate(self, request: web.Request, endpoint: str) -> web.StreamResponse:
        self.served.requests += 1
        attempt = Attempt(self._spool, events.new_attempt())
        try:
            return await self._attempted(request, endpoint, attempt)
        except StorageError as error:
            attempt.lose(error.code, unserved=True)
            why = f"nothing is generated that cannot be recorded ({error.code})"
            refused = Refused(503, "not-recordable", why)
            refused.headers = self._receipt(attempt)
            raise refused from error
        except GateFault as error:
            await self._failed(attempt, f"gate-fault: {error}")
            refused = Refused(503, "not-decidable", "nothing is generated that the gate cannot decide")
            refused.headers = self._receipt(attempt)
            raise refused from error
        except Refused as refused:
            if attempt.position is None and not attempt.has_outcome:
                self._count(NOT_TAKEN)
            refused.headers = self._receipt(attempt)
            raise

    def _count(self, kind: str) -> None:
        self.served.by_outcome[kind] = self.served.by_outcome.get(kind, 0) + 1

    async def _attempted(self, request: web.Request, endpoint: str, attempt: Attempt) -> web.StreamResponse:
        """Record what is asked, decide it where there is a gate, and ask the generator."""
        body = Body(self._spool.contents, lenient=self._spool.mode.may_lose)
        await self._receive(request, body)
        async with self._room:  # whoever sends slowly takes nobody's turn
            return await self._taken(request, endpoint, attempt, body)

    async def _taken(
        self, request: web.Request, endpoint: str, attempt: Attempt, body: Body
    ) -> web.StreamResponse:
        """Go on with a request that was taken in whole."""
        content_type = request.headers.get(hdrs.CONTENT_TYPE, "")
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            content_type = "application/octet-stream"  # what is packed is recorded packed
        said = {**self._said, **said_of(request.headers, for_gate=self._gate is not None)}
        if request.rel_url.raw_query_string:
            said["query"] = request.rel_url.raw_query_string[:1000]

        def told() -> Told:
            return events.requested(self._spool.contents, attempt.id, endpoint, content_type, body, said)

        sent = body.reader()  # before anybody else takes hold of the body
        is_long = body.size_bytes > THREAD_BYTES
        gated = None if self._gate is None else self._gate.begin(attempt, told)
        if gated is None:
            await attempt.record(told, in_thread=is_long)
        elif not self._enforces:
            await gated.observe_asked(in_thread=is_long)
        elif not await gated.admit(in_thread=is_long):
            self._count(REFUSED)
            return self._withheld(attempt, gated)
        return await self._ask(request, endpoint, attempt, sent, gated)

    @property
    def _enforces(self) -> bool:
        return self._spool.mode is not Mode.OBSERVE

    def _withheld(self, attempt: Attempt, gated: Gated) -> web.Response:
        """Answer in the place of the generator, as it says that it refuses."""
        error = gated.refusal()
        headers = {**gated.headers, **self._receipt(attempt)}
        return web.json_response({"error": error}, status=400, headers=headers)

    async def _receive(self, request: web.Request, body: Body) -> None:
        """Take the body in, hashed as it comes."""
        try:
            async with asyncio.timeout(_BODY_S):
                await self._pieces(request, body)
        except TimeoutError:
            raise Refused(
                408, "body-too-slow", f"a body may take {_BODY_S:.0f} seconds: send it faster"
            ) from None
        except (StorageError, Refused):
            raise
        except Exception as error:  # whatever the HTTP library makes of a client that is gone
            raise Refused(400, "body-cut", "the body ended before it was whole") from error

    async def _pieces(self, request: web.Request, body: Body) -> None:
        limit = self._settings.body_max_bytes
        async for piece in request.content.iter_chunked(_PIECE_BYTES):
            if body.size_bytes + len(piece) > limit:
                raise Refused(413, "body-too-large", f"a body may have {limit} bytes: send less")
            if body.is_in_memory and body.size_bytes + len(piece) <= THREAD_BYTES:
                body.write(piece)
            else:
                await asyncio.to_thread(body.write, piece)

    async def _ask(
        self,
        request: web.Request,
        endpoint: str,
        attempt: Attempt,
        sent: bytes | BinaryIO,
        gated: Gated | None,
    ) -> web.StreamResponse:
        """Call the generator, and record what came of it, whatever that is."""
        headers = forwarded(request.headers)
        headers[hdrs.ACCEPT_ENCODING] = "identity"
        headers[RECORD_HEADER] = attempt.id
        url = self._upstream.with_path(self._upstream.path.rstrip("/") + endpoint).with_query(
            request.rel_url.raw_query_string
        )
        try:
            async with self._client.post(url, data=sent, headers=headers, allow_redirects=False) as answer:
                is_elsewhere = 300 <= answer.status < 400
                if (
                    gated is not None
                    and self._enforces
                    and (is_elsewhere or hdrs.CONTENT_ENCODING in answer.headers)
                ):
                    await self._failed(attempt, "answer-not-plain")  # nobody could look at it
                    raise Refused(
                        502, "answer-not-plain", "the generator's answer is packed, or leads elsewhere"
                    )
                if answer.content_type == "text/event-stream":
                    return await self._stream(request, attempt, answer, gated)
                return await self._whole(request, attempt, answer, gated)
        except TimeoutError as error:
            await self._failed(attempt, "timeout")
            raise Refused(504, "generator-timeout", "the generator did not answer in time") from error
        except aiohttp.ClientError as error:
            await self._failed(attempt, f"generator-unreachable: {type(error).__name__}")
            raise Refused(502, "generator-unreachable", "the generator could not be asked") from error
        finally:
            if not isinstance(sent, bytes):
                sent.close()

    async def _failed(self, attempt: Attempt, reason: str, told: Told | None = None) -> None:
        """Record a failure, unless an outcome is recorded already."""
        if not attempt.has_outcome:
            event = {} if told is None else told.event
            contents = [] if told is None else told.contents
            await self._outcome(attempt, FAILED, Told({**event, "reason": reason}, contents))

    async def _outcome(self, attempt: Attempt, kind: str, told: Told) -> None:
        self._count(kind)
        await attempt.outcome(kind, told)

    # --- an answer that is one document

    async def _whole(
        self, request: web.Request, attempt: Attempt, answer: ClientResponse, gated: Gated | None
    ) -> web.StreamResponse:
        if self._spool.mode is Mode.OBSERVE:
            return await self._whole_observed(request, attempt, answer, gated)
        data = await self._read(attempt, answer, gated)
        kind, told = await self._answers.told(attempt, answer, data, gated)
        missing = any(map(is_missing, told.event["outputs"]))
        if gated is None:
            await self._outcome(attempt, kind, told)
        elif kind != COMPLETED and not (told.event["outputs"] or "problem" in told.event):
            await self._outcome(attempt, kind, await gated.settle(told, None, kind))
        else:  # an answer that is no success may hold a picture all the same
            judged = await gated.judge_made(told.event)
            told.event |= gated.members
            shown = await gated.settle(told, judged, kind)
            await asyncio.gather(self._outcome(attempt, kind, shown), gated.record_made(judged))
            await gated.remember(kind, shown.event["outputs"])
            if not judged.lets_through:
                return self._withheld(attempt, gated)
        if missing:
            attempt.lose("output-not-recorded", unserved=self._spool.mode is Mode.BLOCK)
            if self._spool.mode is Mode.BLOCK:
                why = "an output is at an address that could not be fetched: allow its origin, or ask for b64_json"
                raise Refused(502, "output-not-recorded", why)
        response = web.StreamResponse(
            status=answer.status, reason=answer.reason, headers=self._answer_headers(answer, attempt, gated)
        )
        response.content_length = len(data)
        with suppress(ConnectionError, aiohttp.ClientConnectionError):
            await response.prepare(request)
            await response.write(data)
            await response.write_eof()
            if is_connected(request) and kind == COMPLETED:
                attempt.delivered(told.event["outputs"])
        return response

    async def _whole_observed(
        self, request: web.Request, attempt: Attempt, answer: ClientResponse, gated: Gated | None
    ) -> web.StreamResponse:
        """Pass an answer on as it comes, and record it afterwards."""
        response = web.StreamResponse(
            status=answer.status, reason=answer.reason, headers=self._answer_headers(answer, attempt, gated)
        )
        if answer.content_length is not None:
            response.content_length = answer.content_length
        data, is_gone = bytearray(), False
        try:
            with suppress(ConnectionError):
                await response.prepare(request)
            async for piece in answer.content.iter_any():
                if len(data) <= ANSWER_MAX_BYTES:
                    data += piece
                if not is_gone:
                    is_gone = not await sent_on(response, piece)
            with suppress(ConnectionError):
                await response.write_eof()
        except (aiohttp.ClientError, TimeoutError) as error:
            _, told = await self._answers.told(attempt, answer, bytes(data), gated, is_whole=False)
            await self._failed(attempt, f"answer-cut: {type(error).__name__}", told)
            if request.transport is not None:
                request.transport.close()  # a cut answer must not look whole
            return response
        kind, told = await self._answers.told(attempt, answer, bytes(data), gated)
        if any(map(is_missing, told.event["outputs"])):
            attempt.lose("output-not-recorded")
        await self._outcome(attempt, kind, told)
        if gated is not None and (kind == COMPLETED or told.event["outputs"]):
            await gated.observe_made(told, kind)
            await gated.remember(kind, told.event["outputs"])
        if kind == COMPLETED and not is_gone and is_connected(request):
            attempt.delivered(told.event["outputs"])
        return response

    async def _read(self, attempt: Attempt, answer: ClientResponse, gated: Gated | None) -> bytes:
        """Read an answer to its end; one that is cut is recorded as a failure, with what came."""
        data = bytearray()
        try:
            async for piece in answer.content.iter_any():
                data += piece
                if len(data) > ANSWER_MAX_BYTES:
                    await self._failed(attempt, "answer-too-large")
                    raise Refused(502, "answer-too-large", f"the answer is over {ANSWER_MAX_BYTES >> 20} MiB")
        except (aiohttp.ClientError, TimeoutError) as error:
            _, told = await self._answers.told(attempt, answer, bytes(data), gated, is_whole=False)
            await self._failed(attempt, f"answer-cut: {type(error).__name__}", told)
            raise
        return bytes(data)

    # --- an answer that is a stream

    async def _stream(
        self, request: web.Request, attempt: Attempt, answer: ClientResponse, gated: Gated | None
    ) -> web.StreamResponse:
        """Pass a stream on, event by event; an output in it is durable before it goes on, partial or not."""
        response = web.StreamResponse(
            status=answer.status, reason=answer.reason, headers=self._answer_headers(answer, attempt, gated)
        )
        with suppress(ConnectionError):
            await response.prepare(request)
        relay = Relay(request, response, attempt, self._spool, gated, self._answers)
        splitter = EventSplitter()
        reason: str | None = None
        try:
            async for piece in answer.content.iter_any():
                for event in splitter.take(piece):
                    await relay.take(event)
            if splitter.rest:
                await relay.take(splitter.rest)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = f"stream-cut: {type(error).__name__}"
        except GateFault as error:
            reason = f"gate-fault: {error}"
        except StreamTooLong:
            reason = "stream-event-too-large"
        except OutputMissing:
            attempt.lose("output-not-recorded", unserved=True)
            reason = "output-not-recorded"
        except StorageError as error:  # the client gets no more of it
            attempt.lose(error.code, unserved=True)
            reason = "not-recordable"
        await self._stream_ended(attempt, answer, relay, reason)
        if reason is None:
            with suppress(ConnectionError):
                await response.write_eof()
        elif request.transport is not None:
            request.transport.close()  # a cut stream must not look whole
        return response

    async def _stream_ended(
        self, attempt: Attempt, answer: ClientResponse, relay: Relay, reason: str | None
    ) -> None:
        told = Told({"response": {"status": answer.status, "events": relay.events}}, relay.contents)
        told.event["outputs"] = relay.outputs
        told.event |= decided_in(answer.headers) if relay.gated is None else relay.gated.members
        kind, said = outcome_of(400 if relay.error else answer.status, relay.error)
        if reason is None and kind == COMPLETED and not relay.outputs:
            reason = "stream-without-output"
        if reason is not None:
            kind, said = FAILED, reason
        if said is not None:
            told.event["reason"] = said
        with suppress(StorageError, GateFault):  # the reaper will say that it has no outcome
            is_gated = relay.gated is not None and self._enforces
            settled = Told(told.event)  # each output was settled when it was decided
            shown = await relay.gated.settle(settled, None, kind) if is_gated and relay.gated else told
            await self._outcome(attempt, kind, Told(shown.event, relay.contents))
        if relay.gated is not None and (kind == COMPLETED or relay.outputs):
            if not self._enforces:
                await relay.gated.observe_made(told, kind)
            await relay.gated.remember(kind, [*relay.partials, *relay.outputs])

    # --- what is not recorded

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        """Pass a request of another kind on, unrecorded."""
        headers = forwarded(request.headers)
        url = URL(f"{self._upstream.origin()}{request.rel_url.raw_path_qs}", encoded=True)
        body = request.content if request.can_read_body else None
        try:
            async with self._client.request(
                request.method, url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                response = web.StreamResponse(
                    status=answer.status, reason=answer.reason, headers=returned(answer.headers)
                )
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Refused(502, "generator-unreachable", "the generator could not be asked") from error

    # --- small parts

    def _answer_headers(
        self, answer: ClientResponse, attempt: Attempt, gated: Gated | None
    ) -> CIMultiDict[str]:
        headers = returned(answer.headers)
        if gated is not None:
            headers = only_plain(headers) if self._enforces else headers
            for name in GATE_HEADERS:
                headers.popall(name, None)
            headers.update(gated.headers)
        headers.update(self._receipt(attempt))
        return headers

    def _receipt(self, attempt: Attempt) -> dict[str, str]:
        """Say where the last event that is durable stands, and promise to seal it."""
        found = {RECORD_HEADER: attempt.id}
        if attempt.position is not None:
            found[RECEIPT_HEADER] = attempt.position.receipt
            if self._signer is not None:
                found[PROMISE_HEADER] = self._signer.sign(attempt.position, time.time_ns() // 1000)
        return found

    def _error(self, refused: Refused) -> web.Response:
        error = {"message": str(refused), "type": "scelle_recorder", "code": refused.code}
        headers = {"Retry-After": "1"} if refused.status == 503 else {}
        return web.json_response(
            {"error": error}, status=refused.status, headers={**headers, **refused.headers}
        )


def _may_pass(raw_path: str) -> bool:
    """Tell whether a path that is not recorded may go on: plain, and nothing in it that may be for pictures."""
    path = unquote(raw_path.partition("?")[0]).lower()
    return path.startswith("/") and not path.startswith("//") and "image" not in path and "\\" not in path


def allow_open_files() -> None:
    """Let this process open as many files as it may: each request under way has two connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # then fewer are served at once
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
