"""Record from Python itself: around a call of the generator, or around an ASGI application that makes pictures."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from scelle.errors import StorageError
from scelle.safeguards.recorder import events
from scelle.safeguards.recorder.attempts import Attempt
from scelle.safeguards.recorder.bodies import Body
from scelle.safeguards.recorder.events import Told
from scelle.safeguards.recorder.model import (
    COMPLETED,
    DELIVERED,
    FAILED,
    REFUSED,
    REQUESTED,
    Mode,
    Position,
    outcome_of,
)
from scelle.safeguards.recorder.spool import Spool

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

RECORDED_PATHS: Final = ("/v1/images/generations", "/v1/images/edits")


class Recorder:
    """Record generations into `root`, the folder of a generation source: no record, no picture.

    Make one for each process and use it as a context; the spool of a surface is opened when it is first named, by one
    process at a time. Safe to use from several threads. ``scelle preserve``, or a `scelle watch`, seals what it wrote.
    """

    def __init__(self, root: Path, mode: Mode = Mode.BLOCK) -> None:
        self._root, self._mode = root, mode
        self._spools: dict[str, Spool] = {}

    def spool(self, surface: str) -> Spool:
        """Return the spool of a surface; raises SurfaceWrong, SpoolBusy and StorageError."""
        if surface not in self._spools:
            self._spools[surface] = Spool(self._root, surface, self._mode).open()
        return self._spools[surface]

    @contextmanager
    def generation(
        self, surface: str, prompt: str, references: Sequence[bytes] = (), **said: str
    ) -> Iterator["Generation"]:
        """Record an attempt around a call of the generator; `said` are further fields (model, account ..).

        The request is durable when the body begins; raises StorageError, and then the body does not run. Leaving it by
        an exception records a failure; leaving it without a word of `completed` or `refused` one, too.
        """
        generation = Generation(self.spool(surface))
        generation.begin(prompt, references, said)
        try:
            yield generation
        except BaseException as error:
            if not generation.has_outcome:
                generation.failed(type(error).__name__)
            raise
        if not generation.has_outcome:
            generation.failed("no-outcome")

    def close(self) -> None:
        """End the spools; idempotent."""
        for spool in self._spools.values():
            spool.close()
        self._spools.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Generation:
    """One attempt: say what came of it, once. Each call returns once the event is durable; raises StorageError."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.id = events.new_attempt()
        self.has_outcome = False
        self.position: Position | None = None
        self._outputs: list[dict[str, Any]] = []

    def begin(self, prompt: str, references: Sequence[bytes], said: dict[str, str]) -> None:
        """Record what is asked."""
        told = Told({"prompt": prompt, **said})
        told.event["references"] = [
            {"field": "image", **events.kept(told, self._spool.contents, each)} for each in references
        ]
        self._put(REQUESTED, told)

    def completed(self, *outputs: bytes, **said: str) -> None:
        """Record the pictures before anybody gets them."""
        told = Told(dict(said))
        self._outputs = [events.kept(told, self._spool.contents, each) for each in outputs]
        self._end(COMPLETED, Told({**told.event, "outputs": self._outputs}, told.contents))

    def refused(self, reason: str, **said: str) -> None:
        """Record that it was refused, and why (a code: never words of the user)."""
        self._end(REFUSED, Told({"reason": reason, **said}))

    def failed(self, reason: str) -> None:
        """Record that it failed."""
        self._end(FAILED, Told({"reason": reason}))

    def delivered(self) -> None:
        """Record that somebody got the pictures."""
        self._put(DELIVERED, Told({"outputs": self._outputs}))

    def _end(self, kind: str, told: Told) -> None:
        if self.has_outcome:
            raise ValueError("an attempt has one outcome: it was said already")
        self._put(kind, told)
        self.has_outcome = True

    def _put(self, kind: str, told: Told) -> None:
        event = {"event": kind, "attempt_id": self.id, **told.event}
        self.position = self._spool.put(event, told.contents).result()


class RecordingMiddleware:
    """Record what an ASGI application is asked at the paths of pictures, and what it answers, as the proxy does.

    The request is durable before the application sees it, and the answer before the client does, streamed or not: an
    answer is held back until it is whole. Put it outermost.
    """

    def __init__(self, application: Application, spool: Spool, paths: Sequence[str] = RECORDED_PATHS) -> None:
        self._application, self._spool, self._paths = application, spool, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._application(scope, receive, send)
            return
        attempt = Attempt(self._spool, events.new_attempt())
        try:
            messages = await self._asked(scope, receive, attempt)
        except StorageError as error:
            attempt.lose(error.code, unserved=True)
            await _unserved(send)
            return
        waiting = iter(messages)

        async def again() -> Message:
            return next(waiting, None) or await receive()

        answer: list[Message] = []

        async def hold(message: Message) -> None:
            answer.append(message)

        try:
            await self._application(scope, again, hold)
        except BaseException as error:
            await attempt.outcome(FAILED, Told({"reason": type(error).__name__}))
            raise
        await self._answered(attempt, answer, send)

    async def _asked(self, scope: Scope, receive: Receive, attempt: Attempt) -> list[Message]:
        """Take the whole request in and record it; return what the application is to receive."""
        body, messages, has_more = Body(self._spool.contents), list[Message](), True
        while has_more:
            message = await receive()
            messages.append(message)
            body.write(message.get("body", b""))
            has_more = message["type"] == "http.request" and message.get("more_body", False)
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        await attempt.record(
            lambda: events.requested(
                self._spool.contents,
                attempt.id,
                scope["path"],
                headers.get(b"content-type", ""),
                body,
                {},
            ),
            in_thread=True,
        )
        return messages

    async def _answered(self, attempt: Attempt, answer: list[Message], send: Send) -> None:
        status = next((each["status"] for each in answer if each["type"] == "http.response.start"), 500)
        data = b"".join(each.get("body", b"") for each in answer if each["type"] == "http.response.body")
        content = events.answer_of(data)
        kind, reason = outcome_of(status, content)
        try:
            told = await asyncio.to_thread(events.answered, self._spool.contents, data, content, status)
            if reason is not None:
                told.event["reason"] = reason
            await attempt.outcome(kind, told)
        except StorageError as error:
            if not self._spool.mode.may_lose:
                attempt.lose(error.code, unserved=True)
                await _unserved(send)
                return
            attempt.lose(error.code)
            told = Told({"outputs": []})
        for message in answer:
            await send(message)
        if kind == COMPLETED:
            attempt.delivered(told.event["outputs"])


async def _unserved(send: Send) -> None:
    body = b'{"error":{"message":"nothing is generated that cannot be recorded","code":"not-recordable"}}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
