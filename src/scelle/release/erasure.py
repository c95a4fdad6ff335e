"""Say what becomes of a data subject's demand for erasure while orders hold (pure; GDPR Articles 12, 17, 18).

An item that an order holds is kept and nothing else is done with it (Article 18): the erasure is *deferred*, and is
executed when the last order lets go. An order is a ground to defer only while it is in force: a clock that ran out
keeps the item and gives no ground. Times in microseconds.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from scelle.errors import ErasureWrong
from scelle.formats.tokens import is_code, shown
from scelle.ledger.events import Event
from scelle.orders.calendars import EU_1182_71, EU_INSTITUTIONS, Period, Unit, last_day, working_day
from scelle.orders.lifecycle import Life, State
from scelle.orders.types import ErasureBasis, Notify

REQUESTED: Final = "erasure.requested"
ITEMS: Final = "erasure.items"
EXECUTED: Final = "erasure.executed"
COMPLETED: Final = "erasure.completed"
EXTENDED: Final = "erasure.extended"
LETTER: Final = "erasure.letter"
KINDS: Final = (REQUESTED, ITEMS, EXECUTED, COMPLETED, EXTENDED, LETTER)
IN_ORDER: Final = "erasure"
"""The kind of the event in the log of an order that defers: it names the request and no other order."""

ITEMS_AT_ONCE: Final = 1000
ACCOUNTS_MAX: Final = 1000
ITEMS_MAX: Final = 100_000
"""What a request may match before somebody has to confirm that it means so many."""
IDENTIFIER_MAX: Final = 256
REFERENCE_MAX: Final = 128

NOT_IN_FORCE: Final = "none: no order in force"
HOLDS_NOTHING: Final = "none: this type of order holds nothing"
NOT_HELD: Final = "none: no order holds it"
IN_SOURCE: Final = "not in the vault: the source may delete it"
AT_DISPOSAL: Final = "none: destroyed at the disposal that is due"
CERTAIN: Final = frozenset({
    ErasureBasis.UNION_LAW.value, ErasureBasis.UK_LAW.value, ErasureBasis.CLAIMS.value
})  # fmt: skip
"""Grounds that can be told to a person as they are; every other one still has to be decided."""

_KINDS_MEANT: Final = ("account:", "handle:")
_KINDS_OTHERS: Final = ("custodian:", "operator:")
_WILDCARD: Final = re.compile(r"[*?]|\A%|%\Z")
_MONTHS: Final = 1
_MONTHS_EXTENDED: Final = 3


class Outcome(StrEnum):
    """What becomes of an item; PENDING: no order holds it, and it lies in the vault until a disposal that is due."""

    EXECUTED = "executed"
    DEFERRED = "deferred"
    PENDING = "pending"


class Scope(StrEnum):
    """How far a request looks: at what is sealed, or also at every item that a source still has."""

    SEALED = "sealed"
    ALL = "all"


class Where(StrEnum):
    """What a line of a request is about: an item in the vault, one that only its source has, a whole source."""

    VAULT = "vault"
    ITEM_OF_SOURCE = "item of a source"
    SOURCE = "source"


# --- identifiers and dates -------------------------------------------------------------------------------


def read_identifiers(texts: Iterable[str]) -> tuple[str, ...]:
    """Return accounts and aliases as they were given, each once, in order; raise `ErasureWrong`."""
    found = sorted(set(map(_identifier, texts)))
    if not found:
        raise ErasureWrong("a request names nobody: give --account A")
    return tuple(found)


def _identifier(text: str) -> str:
    if not text.strip() or len(text) > IDENTIFIER_MAX or not text.isprintable():
        raise ErasureWrong(
            f"account {text[:40]!a}: use 1 to {IDENTIFIER_MAX} printable characters, as the source writes it"
        )
    if _WILDCARD.search(text):
        raise ErasureWrong(
            f"account {shown(text)}: a wildcard could mean anybody's account; give each account and alias as it is"
        )
    if text.startswith(_KINDS_OTHERS):
        raise ErasureWrong(
            f"account {shown(text)}: is no account of the service; staff and operators are not asked by --account"
        )
    if text in _KINDS_MEANT:
        raise ErasureWrong(f"account {shown(text)}: names a kind and nobody; give for instance {text}4711")
    return text


def meant_by(identifier: str) -> tuple[str, ...]:
    """List the identifiers of dimension account that one given without a kind stands for; itself where it has one."""
    if identifier.startswith(_KINDS_MEANT):
        return (identifier,)
    return (identifier, *(kind + identifier for kind in _KINDS_MEANT))


def bare_name(identifier: str) -> str:
    """Return an identifier without its kind, as clauses name accounts."""
    kind = next((each for each in _KINDS_MEANT if identifier.startswith(each)), "")
    return identifier[len(kind) :]


def read_reference(text: str) -> str:
    """Return the reference under which a request is kept; raise `ErasureWrong`."""
    if not text.strip() or len(text) > REFERENCE_MAX or not text.isprintable():
        raise ErasureWrong(f"reference {text[:40]!a}: use 1 to {REFERENCE_MAX} printable characters")
    return text


def read_reason(code: str) -> str:
    """Return the code of a reason; raise `ErasureWrong`. Article 12(3) knows complexity and number of requests."""
    if not is_code(code):
        raise ErasureWrong(
            f"reason {shown(code)} is no code: write for instance complexity or number-of-requests"
        )
    return code


class Due(NamedTuple):
    """The last day to answer, and where that is no working day, the next one that is (Regulation 1182/71)."""

    day: date
    at_latest: date


def due_of(received: date, *, is_extended: bool) -> Due:
    """Return by when a request must be answered: one month after its receipt, three where extended (Article 12(3)).

    Act by the earlier: whether the shift to a working day may be used is for counsel.
    """
    months = Period(_MONTHS_EXTENDED if is_extended else _MONTHS, Unit.MONTHS)
    last = last_day(received, months, counts_first=EU_1182_71.counts_first_day[0])
    return Due(last, working_day(last, EU_1182_71.shifts_to or EU_INSTITUTIONS))


# --- grounds ---------------------------------------------------------------------------------------------


def ground_of(life: Life, now_us: int) -> str:
    """Return on which ground an order that holds lets an erasure be deferred at an instant.

    17(3)(b) asks for Union or Member State law, or the regime's own; the table of types says whose law an order is of.
    """
    if life.state(now_us) is not State.IN_FORCE:
        return NOT_IN_FORCE
    basis = life.order.rule.erasure
    return HOLDS_NOTHING if basis is ErasureBasis.NONE else basis.value


def is_ground(ground: str) -> bool:
    """Tell whether a ground is one at all: an order in force, even where counsel still assesses its law."""
    return not ground.startswith("none")


def is_secret(life: Life, now_us: int) -> bool:
    """Tell whether a person may not be told of an order: unless the order permits it, and its secrecy has run out."""
    order = life.order
    runs = order.secrecy_until is not None and now_us < order.secrecy_until.at_us
    return order.notify is not Notify.PERMITTED or runs


# --- lines of a request ----------------------------------------------------------------------------------


class ErasureItem(NamedTuple):
    """One line of a request: an item, or a source as a whole.

    `sealed_in` are the orders in whose logs it is sealed and that hold it, `live_in` those whose growing clauses cover
    it where it came from; `ref` stands for it to those who may not know of an order.
    """

    item: str
    source: str
    where: Where
    ref: str
    outcome: Outcome
    sealed_in: tuple[str, ...] = ()
    live_in: tuple[str, ...] = ()

    @property
    def holders(self) -> tuple[str, ...]:
        """Return the orders that hold it, each once."""
        return tuple(dict.fromkeys((*self.sealed_in, *self.live_in)))

    def to_json(self) -> list[Any]:
        """Return the line as it is sealed."""
        said = (self.item, self.source, self.where.value, self.ref, self.outcome.value)
        return [*said, list(self.sealed_in), list(self.live_in)]


def item_from_json(value: Sequence[Any]) -> ErasureItem:
    """Read a line as it was sealed."""
    item, source, where, ref, outcome, sealed_in, live_in = value
    return ErasureItem(item, source, Where(where), ref, Outcome(outcome), tuple(sealed_in), tuple(live_in))


def outcome_of(sealed_in: Sequence[str], live_in: Sequence[str], lives: Mapping[str, Life]) -> Outcome:
    """Decide over an item by the orders in whose logs it still lies and those whose growing clauses cover it."""
    if any(lives[order].holds for order in (*sealed_in, *live_in)):
        return Outcome.DEFERRED
    return Outcome.PENDING if sealed_in else Outcome.EXECUTED


Sees: TypeAlias = Callable[[str], bool]


def shown_line(line: ErasureItem, grounds: Mapping[str, str], sees: Sees) -> dict[str, Any]:
    """Return a line as people see it: the ground of each order that the session sees, else that it is held, by a ref.

    Where one order is seen, no other is hinted at.
    """
    seen = [order for order in line.holders if sees(order)]
    document: dict[str, Any] = {"item": line.item, "source": line.source, "outcome": line.outcome.value}
    if line.where is Where.SOURCE:
        document.pop("item")
    match line.outcome:
        case Outcome.EXECUTED:
            ground = NOT_HELD if line.where is Where.VAULT else IN_SOURCE
        case Outcome.PENDING:
            ground = AT_DISPOSAL
        case _ if seen:
            ground = "; ".join(sorted({grounds[order] for order in seen}, key=_rank))
        case _:
            ground = f"held, ref {line.ref}"
    document["ground"] = ground
    if line.outcome is Outcome.DEFERRED and seen:
        document["orders"] = [{"order": order, "ground": grounds[order]} for order in sorted(seen)]
    return document


def _rank(ground: str) -> tuple[bool, str]:
    return not is_ground(ground), ground


def chunks_of(lines: Iterable[ErasureItem]) -> Iterator[list[ErasureItem]]:
    """Part lines into as many as one event carries."""
    rest = iter(lines)
    while chunk := list(islice(rest, ITEMS_AT_ONCE)):
        yield chunk


# --- requests, folded from the vault's log ---------------------------------------------------------------


@dataclass(slots=True)
class ErasureRequest:
    """A request as the vault's log tells it.

    `lines` are there only where they were asked for; the counts always. `sealed_identifiers` open with the request's
    own key, until it is completed.
    """

    id: str
    reference: str
    received: date
    scope: Scope
    made_us: int
    sealed_identifiers: bytes
    counts: dict[str, int]
    open_sources: int
    templates: Mapping[str, Any]
    lines: dict[str, ErasureItem] = field(default_factory=dict)
    executed_later: dict[str, str] = field(default_factory=dict)
    """Items that were executed after the request was recorded, each with the order whose disposal ended it."""
    extension: str | None = None
    completed_us: int | None = None
    letters: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def due(self) -> Due:
        """Return by when it must be answered."""
        return due_of(self.received, is_extended=self.extension is not None)

    @property
    def open_items(self) -> int:
        """Count the items that are still to be erased."""
        return self.counts[Outcome.DEFERRED] + self.counts[Outcome.PENDING]

    @property
    def is_open(self) -> bool:
        """Tell whether anything is still to be erased."""
        return self.completed_us is None

    @property
    def state(self) -> str:
        """Return where it stands (law.md: pending release, erased, certificate)."""
        if self.completed_us is not None:
            return "completed"
        return "restricted" if self.counts[Outcome.DEFERRED] or self.open_sources else "pending"

    def open_lines(self) -> Iterator[ErasureItem]:
        """Yield the lines that are still to be executed, in the order in which they were recorded."""
        for line in self.lines.values():
            if line.outcome is not Outcome.EXECUTED and line.item not in self.executed_later:
                yield line


@dataclass(slots=True)
class Requests:
    """All requests of a vault, by id."""

    by_id: dict[str, ErasureRequest]

    def find(self, name: str) -> ErasureRequest | None:
        """Return the request of that reference, or that id."""
        by_reference = (each for each in self.by_id.values() if each.reference == name)
        return next(by_reference, None) or self.by_id.get(name)

    def still_open(self) -> list[ErasureRequest]:
        """List those that are not completed, in the order in which they were made."""
        return [each for each in self.by_id.values() if each.is_open]


def requests_of(events: Iterable[Event], *, with_lines: Callable[[str], bool] = lambda _: False) -> Requests:
    """Fold the vault's events; `with_lines` tells by id of which requests the lines are wanted.

    Lines stand before the event that completes their recording: what a crash left of an attempt has none, and counts
    for nothing.
    """
    found: dict[str, ErasureRequest] = {}
    waiting: dict[str, dict[str, ErasureItem]] = {}
    for event in events:
        name = str(event.body.get("id"))
        if event.kind == ITEMS and with_lines(name):
            lines = map(item_from_json, event.body["items"])
            waiting.setdefault(name, {}).update((line.item, line) for line in lines)
        elif event.kind == REQUESTED:
            found[name] = _requested(event, waiting.pop(name, {}))
        elif name in found:
            _take(found[name], event)
    return Requests(found)


def _requested(event: Event, lines: dict[str, ErasureItem]) -> ErasureRequest:
    body = event.body
    return ErasureRequest(
        id=str(body["id"]),
        reference=str(body["reference"]),
        received=date.fromisoformat(body["received"]),
        scope=Scope(body["scope"]),
        made_us=event.time_us,
        sealed_identifiers=bytes.fromhex(body["identifiers"]),
        counts={each.value: int(body["counts"][each.value]) for each in Outcome},
        open_sources=int(body["open_sources"]),
        templates=body["templates"],
        lines=lines,
    )


def _take(request: ErasureRequest, event: Event) -> None:
    body = event.body
    match event.kind:
        case "erasure.executed":
            for item, outcome in body["items"]:
                request.counts[outcome] -= 1
                request.counts[Outcome.EXECUTED] += 1
                request.executed_later[item] = body["order"]
            request.open_sources -= len(body["sources"])
            request.executed_later |= dict.fromkeys(body["sources"], body["order"])
        case "erasure.completed":
            request.completed_us = event.time_us
        case "erasure.extended":
            request.extension = str(body["reason"])
        case "erasure.letter":
            request.letters.append({**body, "at_us": event.time_us})
