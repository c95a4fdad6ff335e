"""Tell which events of an order's log change what it holds, and which only say that they do (pure).

A clause that stops, or that another takes the place of, loosens. Such an event counts with the `amended` behind it, and
that only for exactly the clauses that two people signed. A release counts once for each request, a disposal after a
release only, and what was received is told once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from scelle.ledger.events import Event

Asked: TypeAlias = Callable[[Event], Mapping[str, Any] | None]
"""Gives what was asked for that an event carries out; None where nothing was."""
_INTAKE: Final = ("received", "clause")
_ACCOUNTS: Final = "accounts_file"


@dataclass(slots=True)
class Standing:
    """The events of an order's log that count, in order; those that do not; and those that an amendment left behind.

    Clauses whose amendment is not there are what a crash leaves, and count as little.
    """

    events: list[Event] = field(default_factory=list)
    refused: list[Event] = field(default_factory=list)
    left: list[Event] = field(default_factory=list)


def standing(history: Iterable[Event], asked: Asked) -> Standing:
    """Part the events of an order's log into those that count and those that do not."""
    fold = _Fold(asked)
    for event in history:
        fold.take(event)
    fold.found.left += fold.waiting.values()
    return fold.found


class _Fold:
    """What stands after some events."""

    def __init__(self, asked: Asked) -> None:
        self.found = Standing()
        self.waiting: dict[tuple[str, str], Event] = {}
        """Events that loosen and whose amendment is yet to come, by kind and clause."""
        self._asked = asked
        self._growing: dict[str, Mapping[str, Any]] = {}
        self._spent: set[str] = set()
        self._is_intake, self._is_received, self._is_released = True, False, False

    def take(self, event: Event) -> None:
        """Take the next event into account."""
        self._is_intake = self._is_intake and event.kind in _INTAKE
        match event.kind:
            case "received":
                self._keep(event, counts=not self._is_received)
                self._is_received = True
            case "clause" | "clause.stopped":
                self._clause(event)
            case "amended":
                self._amend(event)
            case "released":
                self._is_released |= self._keep(event, counts=self._spend(event))
            case "release.undone":
                self._is_released = False
                self._keep(event)
            case "disposed":
                self._keep(event, counts=self._is_released)
            case _:
                self._keep(event)

    def _keep(self, event: Event, *, counts: bool = True) -> bool:
        (self.found.events if counts else self.found.refused).append(event)
        return counts

    def _spend(self, event: Event) -> bool:
        """Tell whether an event is the first one of its request."""
        request = str(event.body["request"])
        is_new = request not in self._spent
        self._spent.add(request)
        return is_new

    def _clause(self, event: Event) -> None:
        name = str(event.body["id"])
        if not self._is_intake and self._loosens(event, name):
            self.waiting[event.kind, name] = event
        else:
            self._apply(event, name)

    def _apply(self, event: Event, name: str) -> None:
        self._keep(event)
        if event.kind == "clause":
            self._growing[name] = event.body
        else:
            self._growing.pop(name, None)

    def _loosens(self, event: Event, name: str) -> bool:
        before = self._growing.get(name)
        if event.kind == "clause.stopped":
            return before is not None and not before.get("carve_out")
        if event.body.get("carve_out"):
            return True
        return before is not None and not _only_more_accounts(before, event.body)

    def _amend(self, event: Event) -> None:
        """Let an amendment that two people signed bring in what waits for it, as far as they signed exactly that."""
        if event.body["request"] is None:
            self._keep(event)
            return
        if not self._keep(event, counts=self._spend(event)):
            return
        asked = self._asked(event) or {}
        self.found.events.pop()
        for (kind, name), waiting in list(self.waiting.items()):
            is_asked = (
                name in asked.get("stop", ())
                if kind == "clause.stopped"
                else any(dict(waiting.body) == dict(clause) for clause in asked.get("clauses", ()))
            )
            if is_asked:
                del self.waiting[kind, name]
                self._apply(waiting, name)
        self.found.events.append(event)


def _only_more_accounts(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Tell whether a clause names more accounts than the one whose place it takes, and is the same otherwise."""
    rest = [{key: value for key, value in each.items() if key != _ACCOUNTS} for each in (before, after)]
    was, becomes = before.get(_ACCOUNTS), after.get(_ACCOUNTS)
    if rest[0] != rest[1] or becomes is None:
        return rest[0] == rest[1] and was is None
    if was is None:
        return bool(before["accounts"] or before["custodians"])  # else it covered everybody
    return int(becomes["size_bytes"]) >= int(was["size_bytes"])
