"""Record one attempt in its order: asked, outcome, delivered; waiting for the disk, or beside what is served."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from scelle.errors import StorageError
from scelle.safeguards.recorder.events import Told
from scelle.safeguards.recorder.model import CARRIED, DELIVERED, REQUESTED, Mode, Position
from scelle.safeguards.recorder.spool import Spool

_SHOWN: tuple[str, ...] = ("sha256", "bytes", "partial", "index")


class Attempt:
    """One request to the generator. Where its `requested` could not be recorded, nothing more of it is."""

    _under_way: ClassVar[set["asyncio.Task[None]"]] = set()

    def __init__(self, spool: Spool, attempt: str) -> None:
        self._spool, self.id = spool, attempt
        self._last: asyncio.Task[None] | None = None
        self._is_lost = self._is_counted = False
        self.has_outcome = False
        self.carried: dict[str, Any] = {}
        """What each event of the attempt says of whose it is: account, conversation, model, configuration."""
        self.position: Position | None = None
        """Where the last event that is durable stands."""

    @classmethod
    async def all_recorded(cls) -> None:
        """Wait until what is recorded beside what is served is recorded, or counted as lost."""
        while cls._under_way:
            await asyncio.gather(*cls._under_way, return_exceptions=True)

    async def record(self, told: Callable[[], Told], *, in_thread: bool = False) -> None:
        """Record an event. In observe mode this returns at once; raises StorageError where nothing may be lost."""
        if self._spool.mode is Mode.OBSERVE:
            self._beside(self._recorded(told, in_thread=in_thread, before=self._last))
            return
        await self._recorded(told, in_thread=in_thread, before=None)

    async def outcome(self, kind: str, told: Told) -> None:
        """Record how it ended, once."""
        self.has_outcome = True
        event = {"event": kind, "attempt_id": self.id, **told.event}
        await self.record(lambda: Told(event, told.contents))

    def lose(self, cause: str, *, unserved: bool = False) -> None:
        """Count that something of it is not recorded, or that it was not served for that; once an attempt."""
        if not self._is_counted:
            self._is_counted = True
            self._spool.lose(cause, unserved=unserved)

    def delivered(self, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Record that the client got these outputs; nobody waits for that."""
        shown = [{name: each[name] for name in _SHOWN if name in each} for each in outputs]
        event = {"event": DELIVERED, "attempt_id": self.id, "outputs": shown}
        self._beside(self._delivered(event, self._last))

    async def _delivered(self, event: dict[str, Any], before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        if self._is_lost:
            return
        try:
            await asyncio.wrap_future(self._spool.put({**self.carried, **event}))
        except StorageError as error:
            self.lose(error.code)

    async def _recorded(
        self, told: Callable[[], Told], *, in_thread: bool, before: "asyncio.Task[None] | None"
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        if self._is_lost:
            return
        try:
            found = await asyncio.to_thread(told) if in_thread else told()
            if found.event["event"] == REQUESTED:
                self.carried = {name: found.event[name] for name in CARRIED if name in found.event}
            event = {**self.carried, **found.event}
            self.position = await asyncio.wrap_future(self._spool.put(event, found.contents))
        except StorageError as error:
            if not self._spool.mode.may_lose:
                raise
            self._is_lost = True
            self.lose(error.code)

    def _beside(self, recording: Any) -> None:
        task = asyncio.ensure_future(recording)
        self._last = task
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Count what was not recorded for a fault of ours: nobody else waits for it."""
        self._under_way.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._is_lost = True
            self.lose("recorder-fault")
