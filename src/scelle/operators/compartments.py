"""Read from the vault's own log which compartment it has, and who may open which restricted item until when (pure)."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from scelle.ledger.events import Event
from scelle.vault.compartment import Compartment

COMPARTMENT: Final = "compartment"
GRANTED: Final = "restricted.granted"
SHARED: Final = "restricted.shared"
READ: Final = "restricted.read"
FETCHED: Final = "restricted.fetched"
MARKED: Final = "restricted.marked"


def compartment_of(events: Iterable[Event]) -> Compartment | None:
    """Return the vault's compartment, the first that was sealed: another could not open what went into it."""
    for event in events:
        if event.kind == COMPARTMENT:
            return Compartment.from_json(event.body)
    return None


@dataclass(frozen=True, slots=True)
class Grant:
    """What two people decided: one item, one reader (an age recipient), until a moment (microseconds).

    ``people`` are the operators whose signatures it rests on, empty in solo mode; ``is_export`` says that the reader
    is an authority, who opens it elsewhere; ``event_seq`` is the number of the event that granted it.
    """

    request: str
    item: str
    order: str
    alias: str
    seq: int
    reader: str
    purpose: str
    case: str
    people: tuple[str, ...]
    until_us: int
    is_export: bool
    event_seq: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as the event `restricted.granted` seals it."""
        return {
            "request": self.request,
            "item": self.item,
            "order": self.order,
            "alias": self.alias,
            "seq": self.seq,
            "reader": self.reader,
            "purpose": self.purpose,
            "case": self.case,
            "people": list(self.people),
            "until_us": str(self.until_us),
            "export": self.is_export,
        }


def grants_of(events: Iterable[Event]) -> dict[str, Grant]:
    """Return all grants by the id of their request: the first event of an id that can be read."""
    found: dict[str, Grant] = {}
    for event in events:
        if event.kind == GRANTED:
            with suppress(KeyError, TypeError, ValueError):
                grant = _grant(event.body, event.seq)
                found.setdefault(grant.request, grant)
    return found


def _grant(body: Mapping[str, Any], event_seq: int) -> Grant:
    return Grant(
        request=str(body["request"]),
        item=str(body["item"]),
        order=str(body["order"]),
        alias=str(body["alias"]),
        seq=int(body["seq"]),
        reader=str(body["reader"]),
        purpose=str(body["purpose"]),
        case=str(body["case"]),
        people=tuple(map(str, body["people"])),
        until_us=int(body["until_us"]),
        is_export=bool(body["export"]),
        event_seq=event_seq,
    )
