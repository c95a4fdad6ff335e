"""Tell whether two people stand behind an event that loosens or destroys: whoever has the vault's key can write one.

An order's log says that an order was released, an amendment narrowed it, an item left quarantine; the vault's own log
says who asked for that and who approved it. An event that names no such request counts for nothing, and `verify`
reports it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scelle.ledger.events import Event
from scelle.operators.compartments import GRANTED
from scelle.operators.registry import People
from scelle.operators.requests import SLACK_US, Act, Request

LOOSENING: Final = frozenset({Act.NARROW.value, Act.CARVE_OUT.value})
"""The amendments that take two people, as `amended` names them."""
_ACTS: Final[Mapping[str, frozenset[Act]]] = {
    "released": frozenset({Act.RELEASE}),
    "amended": frozenset({Act.NARROW, Act.CARVE_OUT}),
    "quarantined": frozenset({Act.QUARANTINE}),
    "quarantine.lifted": frozenset({Act.LIFT_QUARANTINE}),
    "records.erased": frozenset({Act.DISPOSE_EARLY}),
    "guard.removed": frozenset({Act.GUARD_REMOVE}),
    "watch.removed": frozenset({Act.WATCH_REMOVE}),
    GRANTED: frozenset({Act.OPEN_RESTRICTED, Act.EXPORT_RESTRICTED}),
}
"""Which requests an event of a kind may carry out."""


@dataclass(frozen=True, slots=True)
class Backing:
    """What the vault's own log says of an order's events, or of its own; ``people`` gives it as it is now."""

    order: str
    people: Callable[[], People]

    def believes(self, event: Event) -> bool:
        """Tell whether an event needs no two people, or has them."""
        return self.why_not(event) is None

    def why_not(self, event: Event) -> str | None:
        """Say why an event counts for nothing; None where it counts."""
        if event.kind not in _ACTS:
            return None
        try:
            if not _needs_two(event):
                return None
            request = self._request(event)
            if request is None:
                return "no request stands behind it"
            return _why_not(event, request)
        except (KeyError, TypeError, ValueError, AttributeError):
            return "it cannot be read"

    def asked(self, event: Event) -> Mapping[str, Any] | None:
        """Return what was asked for that an event carries out; None where it has no request."""
        request = self._request(event)
        return None if request is None else request.body

    def _request(self, event: Event) -> Request | None:
        """Return the request that an event names, of its kind and about this order."""
        request = self.people().requests.get(str(event.body.get("request")))
        if request is None or request.act not in _ACTS[event.kind]:
            return None
        order = event.body["order"] if event.kind == GRANTED else self.order
        return request if request.order == order else None


def _needs_two(event: Event) -> bool:
    match event.kind:
        case "amended":
            return event.body["request"] is not None or event.body["act"] in LOOSENING
        case "guard.removed" | "watch.removed":
            return (
                event.body["request"] is not None
            )  # in solo mode one person removes it, and every report says so
        case "quarantined":
            return (
                event.body["request"] is not None
            )  # one person locks, or carries over, what is to be shown to nobody
    return True


def _why_not(event: Event, request: Request) -> str | None:
    """Say why a request does not allow an event that names it."""
    if event.kind == "records.erased":  # what has begun is finished, however late
        stood = bool(request.stood) and event.time_us >= request.ready_us - SLACK_US
    else:
        stood = request.stood_at(event.time_us)
    if not stood:
        return f"two people did not stand behind request {request.id} then"
    if not _is_within(event, request.body):
        return f"request {request.id} asked for something else"
    return None


def _is_within(event: Event, asked: Mapping[str, Any]) -> bool:
    """Tell whether an event does what was asked for, and no more."""
    said = event.body
    match event.kind:
        case "released":
            return bool(said["ground"] == asked["ground"])
        case "amended":
            ids = [str(clause["id"]) for clause in asked["clauses"]]
            return (list(said["clauses"]), list(said["stopped"])) == (ids, list(asked["stop"]))
        case "quarantined" | "quarantine.lifted":
            return set(said["items"]) <= set(asked["items"])
        case "restricted.granted":
            same = ("item", "alias", "seq", "reader", "purpose", "case")
            return all(said[key] == asked[key] for key in same)
    return True
