"""Decide each attempt before the generator is called and before anybody gets what it made, and record both decisions.

A decision is durable before anything follows from it. In observe mode it is made beside what is served, recorded, and
enforced in nothing: what was done then stands in the record against the verdict.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from scelle.errors import StorageError
from scelle.safeguards.gate.model import Lane, Outcome
from scelle.safeguards.guardrail import Asked, Guardrail, Judged, Lineage
from scelle.safeguards.guardrail.lineage import events_of
from scelle.safeguards.recorder.attempts import Attempt
from scelle.safeguards.recorder.events import Told
from scelle.safeguards.recorder.headers import BUNDLE_HEADER, DECISION_HEADER, DEGRADED_HEADER
from scelle.safeguards.recorder.lanes import Lanes, plain_outcome
from scelle.safeguards.recorder.lines import raw_lines
from scelle.safeguards.recorder.model import DECIDED, REFUSED
from scelle.safeguards.recorder.spool import Spool

_THREADS: Final = 32
_Found = TypeVar("_Found")


class GateFault(Exception):
    """Say that a gate could not decide for a fault of ours: nothing is let through."""


class GateRoom:
    """What a proxy decides with: a guardrail, what it remembers, and the threads in which it is asked."""

    def __init__(self, guardrail: Guardrail, lineage: Lineage, lanes: Lanes | None = None) -> None:
        """Decide by a guardrail; with lanes, what is restricted is kept apart."""
        self.guardrail, self.lineage, self.lanes = guardrail, lineage, lanes
        self._threads = ThreadPoolExecutor(_THREADS, "scelle-gate")

    async def ask(self, question: Callable[[], _Found]) -> _Found:
        """Have a question answered in a thread; raises GateFault and StorageError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, question)
        except StorageError:
            raise
        except Exception as error:  # whatever it is, nobody decided: fail closed, and say so
            raise GateFault(type(error).__name__) from error

    def begin(self, attempt: Attempt, requested: Callable[[], Told]) -> "Gated":
        """Begin with an attempt; `requested` makes its event, and raises StorageError."""
        return Gated(self, attempt, requested)

    def close(self) -> None:
        """Let what is asked end."""
        self._threads.shutdown()


class Gated:
    """One attempt and what was decided of it: `asked`, then `made` for each answer."""

    def __init__(self, room: GateRoom, attempt: Attempt, requested: Callable[[], Told]) -> None:
        self._room, self._attempt, self._make = room, attempt, requested
        self._requested: dict[str, Any] = {}
        self._asked = Asked.of({})
        self._before: Judged | None = None
        self._lane, self._is_detailed = Lane.NONE, False
        self._unsettled: list[str] = []
        self.last: Judged | None = None

    def _begun(self) -> Told:
        """Make the `requested` event as it is recorded openly before anything is decided; raises StorageError."""
        told = self._make()
        self._requested, self._asked = told.event, Asked.of(told.event)
        bare = told if self._room.lanes is None else self._room.lanes.bare(told)
        self._unsettled = [each.digest for each in bare.contents]
        return bare

    async def admit(self, *, in_thread: bool) -> bool:
        """Record and decide a request, at the same time; tell whether it is let in.

        The decision is durable when this returns. Raises StorageError and GateFault.
        """
        told = await asyncio.to_thread(self._begun) if in_thread else self._begun()
        judging = asyncio.ensure_future(self._judge())
        try:
            await self._attempt.record(lambda: told)
        finally:
            await asyncio.wait([judging])
        judging.result()
        await self._record_asked()
        return self._judged.lets_through

    @property
    def headers(self) -> dict[str, str]:
        """Say the last decision, and by what it was made."""
        if self.last is None:
            return {}
        decision = self.last.decision
        # that something is quarantined is nobody's business outside
        told = min(decision.verdict, Outcome.BLOCK)
        headers = {DECISION_HEADER: told.text, BUNDLE_HEADER: decision.bundle_digest}
        if self.last.request.value("detectors") != "healthy":
            headers[DEGRADED_HEADER] = "detectors"
        return headers

    @property
    def members(self) -> dict[str, str]:
        """Say the last decision as the members of an outcome."""
        if self.last is None:
            return {}
        return {
            "decision": self.last.decision.verdict.text,
            "bundle_digest": self.last.decision.bundle_digest,
            "safeguard_version": self.last.decision.policy,
        }

    def refusal(self) -> dict[str, str]:
        """Say a refusal as the generator says one; the rule and the decision, and nothing of what was asked."""
        decision = self._judged.decision
        what = "waits for a person's decision" if decision.verdict is Outcome.HOLD else "was refused"
        rule = "" if decision.lane is Lane.REPORTING else f"rule {decision.deciding_rule}, "
        message = f"Your request {what} by the safety rules ({rule}{decision.decision_id})."
        return {"code": "moderation_blocked", "message": message, "type": "image_generation_user_error"}

    async def _judge(self) -> None:
        """Decide the request; nothing is recorded yet."""
        self._before = self.last = await self._room.ask(lambda: self._room.guardrail.asked(self._asked))

    async def _record_asked(self) -> None:
        """Record the decision on the request, enforced as it is; with its refusal where it is one."""
        judged = self._judged
        if judged.lets_through:  # where it belongs shows what is made of it
            await self.record_made(judged)
            return
        refused = Told({"reason": f"gate-{judged.decision.deciding_rule}", "outputs": [], **self.members})
        shown = await self.settle(refused, judged, REFUSED)
        told = self._told(judged, judged.decision.verdict)
        await asyncio.gather(  # in this order, durable together
            self._attempt.record(lambda: told), self._attempt.outcome(REFUSED, shown)
        )

    async def judge_made(self, made: Mapping[str, Any]) -> Judged:
        """Decide what was made (an outcome's members); nothing is recorded yet."""
        digests = _digests(made)
        before = self._judged_before
        self.last = await self._room.ask(lambda: self._room.guardrail.made(self._asked, before, digests))
        return self.last

    async def settle(self, told: Told, judged: Judged | None, kind: str | None) -> Told:
        """Put what was made where its decision leads; return the event as it is recorded openly. Raises StorageError.

        With the outcome, whose `kind` it is, what was asked goes there too. One output that is restricted takes along
        all that is still undecided.
        """
        lane = Lane.NONE if judged is None else judged.decision.lane
        return await self._room.ask(lambda: self._settle(lane, told, kind))

    async def record_made(self, judged: Judged) -> None:
        """Record the decision on what was made, enforced as it is."""
        told = await self._room.ask(lambda: self._told(judged, judged.decision.verdict))
        await self._attempt.record(lambda: told)

    async def observe_asked(self, *, in_thread: bool) -> None:
        """Record and decide the request beside what is served; nobody waits for either."""
        await self._attempt.record(self._begun, in_thread=in_thread)

        def told() -> Told:
            self._before = self.last = self._room.guardrail.asked(self._asked)
            self._settle(self._before.decision.lane, Told({}), None)
            return self._told(self._before, Outcome.ALLOW)

        await self._attempt.record(told, in_thread=True)

    async def observe_made(self, made: Told, kind: str) -> None:
        """Decide what was made beside what is served."""

        def told() -> Told:
            self.last = self._room.guardrail.made(self._asked, self._judged_before, _digests(made.event))
            self._settle(self.last.decision.lane, made, kind)
            return self._told(self.last, Outcome.ALLOW)

        await self._attempt.record(told, in_thread=True)

    async def remember(self, kind: str, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Remember what an attempt came to, for what is asked next."""
        event = {"event": kind, "attempt_id": self._attempt.id, "outputs": outputs}
        await self._room.ask(lambda: self._room.lineage.take(event))

    def _settle(self, lane: Lane, told: Told, kind: str | None) -> Told:
        lanes = self._room.lanes
        if lanes is None:
            return told
        self._lane = max(self._lane, lane)
        digests = [each.digest for each in told.contents]
        is_open = self._lane is Lane.NONE
        if kind is not None or not is_open:
            digests, self._unsettled = [*self._unsettled, *digests], []
        lanes.settle(self._lane, digests, [] if is_open else self._details(told, kind))
        if is_open:
            prompt = {} if kind is None else {"prompt": self._requested.get("prompt")}
            return Told({**told.event, **prompt}, told.contents)
        return Told(plain_outcome(told.event), told.contents)

    def _details(self, told: Told, kind: str | None) -> list[Mapping[str, Any]]:
        """Return what the restricted source is told: the request once, whole, and its outcome."""
        details: list[Mapping[str, Any]] = [] if self._is_detailed else [self._requested]
        self._is_detailed = True
        if kind is not None:
            details.append({"event": kind, "attempt_id": self._attempt.id, **told.event})
        return details

    def _told(self, judged: Judged, action: Outcome) -> Told:
        event = {
            "event": DECIDED,
            "attempt_id": self._attempt.id,
            **self._attempt.carried,
            **judged.to_event(action),
        }
        if judged.decision.lane is not Lane.NONE and self._room.lanes is not None:
            event.pop("notes", None)  # a perceptual hash tells of a picture
        if judged.lets_through or action is Outcome.ALLOW:
            self._room.lineage.take(event)
        return Told(event)

    @property
    def _judged(self) -> Judged:
        assert self.last is not None  # noqa: S101  `judge` came first
        return self.last

    @property
    def _judged_before(self) -> Judged:
        assert self._before is not None  # noqa: S101  the request is decided before what it leads to
        return self._before


def _digests(made: Mapping[str, Any]) -> list[str | None]:
    """Return the digest of each output; None for one that is not here, and for what was not understood beside them."""
    digests = [each.get("sha256") for each in made["outputs"]]
    return [*digests, None] if "problem" in made else digests


def remember(lineage: Lineage, recorded: Path) -> None:
    """Take into a lineage what is recorded of every surface since it was last read; `recorded` is their folder."""
    for folder in sorted(each for each in recorded.iterdir() if each.is_dir()):
        if next(folder.glob("*.jsonl"), None) is not None:
            file, seq = lineage.place(folder.name)
            lineage.catch_up(folder.name, events_of(raw_lines(folder, file)), (file, seq))


def contents_of(spool: Spool) -> Callable[[str], bytes]:
    """Return what reads a content of a spool by its SHA-256; it raises OSError."""
    folder: Path = spool.contents.folder

    def read(digest: str) -> bytes:
        return (folder / digest[:2] / digest).read_bytes()

    return read
