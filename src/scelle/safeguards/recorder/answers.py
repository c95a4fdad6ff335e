"""Understand what a generator answered, keep what is in it, and fetch what is only named."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

import aiohttp
from aiohttp import ClientResponse, hdrs
from yarl import URL

from scelle.errors import StorageError
from scelle.safeguards.recorder import events
from scelle.safeguards.recorder.attempts import Attempt
from scelle.safeguards.recorder.events import Told
from scelle.safeguards.recorder.gating import Gated
from scelle.safeguards.recorder.headers import decided_in
from scelle.safeguards.recorder.model import Mode, outcome_of
from scelle.safeguards.recorder.spool import Spool

ANSWER_MAX_BYTES: Final = 512 << 20
THREAD_BYTES: Final = 64 << 10
"""Beyond so many bytes a body is taken apart in a thread."""
_FETCH_S: Final = 30.0


class Answers:
    """Understand the answers of one generator. `origins` are those from which an output may be fetched."""

    def __init__(
        self,
        spool: Spool,
        session: aiohttp.ClientSession,
        upstream: URL,
        origins: Collection[URL],
        output_max_bytes: int,
    ) -> None:
        self._spool, self._session, self._upstream = spool, session, upstream
        self._origins, self._output_max_bytes = origins, output_max_bytes

    async def told(
        self,
        attempt: Attempt,
        answer: ClientResponse,
        data: bytes,
        gated: Gated | None,
        *,
        is_whole: bool = True,
    ) -> tuple[str, Told]:
        """Return how an attempt ended, and the members of that outcome; raises StorageError."""

        def understood() -> tuple[str, str | None, Told]:
            is_plain = is_whole and hdrs.CONTENT_ENCODING not in answer.headers
            content = events.answer_of(data) if is_plain else None
            kind, reason = outcome_of(answer.status, content)
            return kind, reason, events.answered(self._spool.contents, data, content, answer.status)

        try:
            if len(data) > THREAD_BYTES:
                kind, reason, told = await asyncio.to_thread(understood)
            else:
                kind, reason, told = understood()
            for each in told.event["outputs"]:
                if "url" in each:
                    await self.fetch(told, each)
        except StorageError as error:
            if self._spool.mode is Mode.BLOCK:
                raise
            attempt.lose(error.code)
            kind, reason = outcome_of(answer.status, None)
            told = Told(
                {
                    "response": {"status": answer.status, "bytes": len(data)},
                    "outputs": [],
                    "problem": error.code,
                }
            )
        if reason is not None:
            told.event["reason"] = reason
        told.event |= decided_in(answer.headers) if gated is None else gated.members
        return kind, told

    async def fetch(self, told: Told, found: dict[str, Any]) -> None:
        """Fetch an output before its address expires, from the generator's origin alone, and without a redirect.

        Where that cannot be, `found` says why (`problem`). Raises StorageError.
        """
        address = found["url"]
        try:
            url = self._upstream.join(URL(address))
            found["url"] = str(url.with_query(None).with_fragment(None))  # a signature is a secret
            if url.origin() not in self._origins:
                found["problem"] = "other-origin"
                return
            timeout = aiohttp.ClientTimeout(total=_FETCH_S)
            async with self._session.get(url, allow_redirects=False, timeout=timeout) as answer:
                if answer.status != 200:
                    found["problem"] = f"status-{answer.status}"
                    return
                data = bytearray()
                async for piece in answer.content.iter_any():
                    data += piece
                    if len(data) > self._output_max_bytes:
                        found["problem"] = "too-large"
                        return
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            found["problem"] = f"not-fetched: {type(error).__name__}"
            return
        await asyncio.to_thread(events.fetched, told, self._spool.contents, found, bytes(data))


def is_missing(output: Mapping[str, Any]) -> bool:
    """Tell whether an output is only at an address, and could not be fetched."""
    return "url" in output and "sha256" not in output
