"""Pass the events of a stream on, each output durable and decided before it goes."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from scelle.errors import StorageError
from scelle.safeguards.recorder import events
from scelle.safeguards.recorder.answers import Answers, is_missing
from scelle.safeguards.recorder.attempts import Attempt
from scelle.safeguards.recorder.events import Told
from scelle.safeguards.recorder.gating import Gated
from scelle.safeguards.recorder.model import DELIVERED, Mode, error_code
from scelle.safeguards.recorder.spool import Spool
from scelle.safeguards.recorder.streams import event_data, is_word


class OutputMissing(Exception):
    """Say that an output of a stream is at an address that could not be fetched."""


class Relay:
    """Pass the events of one stream on, and record the outputs among them."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        attempt: Attempt,
        spool: Spool,
        gated: Gated | None,
        answers: Answers,
    ) -> None:
        self._answers = answers
        self._request, self._response, self._attempt, self._spool = request, response, attempt, spool
        self.gated = gated
        self._is_gone = False
        self._unread = 0
        """What of the stream was no output that is understood, in bytes."""
        self.events = 0
        self.outputs: list[dict[str, Any]] = []
        self.partials: list[dict[str, Any]] = []
        self.contents: list[Any] = []
        self.error: dict[str, Any] | None = None

    async def take(self, event: bytes) -> None:
        """Take one event; raises StorageError where it may not go on unrecorded."""
        self.events += 1
        found = event_data(event)
        content: dict[str, Any] = found if isinstance(found, dict) else {}
        if "error" in content and error_code(content) is not None:
            self.error = content
        if content:
            self._unread += events.unread_bytes(content)
        elif not is_word(event):  # another reader may find a picture in it
            self._unread += events.UNDERSTOOD_MAX + len(event)
        if not any(isinstance(content.get(name), str) for name in ("b64_json", "url")):
            if self._decides and self._unread > events.UNDERSTOOD_MAX:  # it may be a picture all the same
                await self._keep_unread(event)
            await self.send(event)
            return
        is_partial = str(content.get("type", "")).endswith(".partial_image")
        if self._spool.mode is Mode.OBSERVE:
            await self.send(event)
            await self._keep(content, is_partial=is_partial)
        else:
            await self._keep(content, is_partial=is_partial)
            await self.send(event)

    async def _keep(self, content: Mapping[str, Any], *, is_partial: bool) -> None:
        told = Told({"event": DELIVERED, "attempt_id": self._attempt.id})
        try:
            found = await asyncio.to_thread(events.output, told, self._spool.contents, content)
            if "url" in found:
                await self._answers.fetch(told, found)
        except StorageError as error:
            if self._spool.mode is Mode.BLOCK:
                raise
            self._attempt.lose(error.code)
            return
        if is_partial:
            index = content.get("partial_image_index")
            found = {**found, "partial": True, "index": index if isinstance(index, int) else None}
        (self.partials if is_partial else self.outputs).append(found)
        if self._decides:
            problem = {"problem": "more-than-outputs"} if self._unread > events.UNDERSTOOD_MAX else {}
            await self._decide({"outputs": [found], **problem}, told)
        if is_missing(found) and self._spool.mode is not Mode.OBSERVE:
            if self._spool.mode is Mode.BLOCK:
                raise OutputMissing
            self._attempt.lose("output-not-recorded")
        if self._is_gone:  # nobody gets it: it goes with the outcome
            self.contents += told.contents
            return
        told.event |= {"outputs": [found], "handed": "before-sending"}
        await self._attempt.record(lambda: told)

    @property
    def _decides(self) -> bool:
        return self.gated is not None and self._spool.mode is not Mode.OBSERVE

    async def _keep_unread(self, event: bytes) -> None:
        """Keep an event that is too long for words and no output that is understood, and decide on it as unknown."""
        told = Told({})
        found = await asyncio.to_thread(events.kept, told, self._spool.contents, event)
        self.outputs.append({**found, "problem": "not-understood"})
        self.contents += told.contents
        await self._decide({"outputs": [], "problem": "not-understood"}, told)

    async def _decide(self, made: Mapping[str, Any], told: Told) -> None:
        """Decide what was made; where it is kept back, so is all that follows, and the client is told."""
        gated = self.gated
        if gated is None:
            return
        judged = await gated.judge_made(made)
        await gated.settle(told, judged, None)
        await gated.record_made(judged)
        if judged.lets_through:  # before anybody has it: what is asked next may go on from it
            await gated.remember(DELIVERED, made["outputs"])
        else:
            error = gated.refusal()
            data = json.dumps({"type": "error", "error": error})
            await self.send(f"event: error\ndata: {data}\n\n".encode())
            self._is_gone = True

    async def send(self, data: bytes) -> None:
        """Send bytes on; a client that is gone gets nothing, and the stream is read to its end all the same."""
        if data and not self._is_gone:
            self._is_gone = not (await sent_on(self._response, data) and is_connected(self._request))


async def sent_on(response: web.StreamResponse, data: bytes) -> bool:
    """Send bytes to a client; tell whether it was still there."""
    try:
        await response.write(data)
    except (ConnectionError, RuntimeError):  # gone, or it was never prepared
        return False
    return True


def is_connected(request: web.Request) -> bool:
    """Tell whether a client's connection is still open."""
    return request.transport is not None and not request.transport.is_closing()
