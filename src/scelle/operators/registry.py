"""Read from the vault's own log who its operators are, and which walls stand around which orders (pure).

What loosens is believed only where the log shows a request for exactly that, which two people who were operators then
had signed and which had cooled off: whoever has the vault's key and no operator's cannot append himself to the log.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from scelle.errors import NotAllowed, OperatorNameWrong, OperatorUnknown
from scelle.formats.notes import VerifierKey, parse_vkey
from scelle.formats.tokens import shown
from scelle.ledger.events import Event
from scelle.operators.keys import NAME, OperatorKey
from scelle.operators.model import Operator, Power, Role, may
from scelle.operators.requests import (
    APPROVED,
    EXECUTED,
    MADE,
    WITHDRAWN,
    Act,
    Request,
    RequestState,
    note_request,
)
from scelle.operators.settings import CHANGED, SETTINGS, is_looser

ADDED, REMOVED, WALL, ADMITTED = "operator.added", "operator.removed", "wall", "wall.admitted"
OPENED: Final = "order.opened"
KINDS: Final = (ADDED, REMOVED, WALL, ADMITTED, CHANGED, OPENED, MADE, APPROVED, WITHDRAWN, EXECUTED)
"""The kinds of events that people, walls, settings and requests are read from."""
COUNSEL_MIN: Final = 2
"""So few counsel can ask and approve; below that the setup is not over, since nobody could."""


@dataclass(frozen=True, slots=True)
class People:
    """What the vault's log says of people. No operators at all: solo mode.

    ``is_in_setup``: operators may still be added by one person alone, or by nobody in particular where ``has_acted``
    says that no operator did anything in the vault's log yet.
    """

    operators: Mapping[str, Operator] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    walls: Mapping[str, frozenset[str]] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, Request] = field(default_factory=dict)
    is_in_setup: bool = True
    has_acted: bool = False
    orders_opened: frozenset[str] = frozenset()

    @property
    def is_solo(self) -> bool:
        """Tell whether nobody was ever made an operator: then one person may do everything, twice."""
        return not self.operators and not self.gone

    def sees(self, operator: Operator | None, order: str) -> bool:
        """Tell whether an operator may know of an order; nobody in particular may not, but in solo mode."""
        if self.is_solo:
            return True
        known = None if operator is None else self.operators.get(operator.name)
        return known is not None and known.is_cleared_for(order)

    def require(self, operator: Operator | None, *powers: Power) -> None:
        """Raise NotAllowed where somebody may do none of these; nobody in particular may nothing, but in solo mode."""
        if self.is_solo:
            return
        what = " or ".join(power.value for power in powers)
        if operator is None:
            raise NotAllowed(f"to {what} takes an operator: give --as NAME")
        if not any(may(operator.role, power) for power in powers):
            raise NotAllowed(f"{operator.name} is {operator.role.value}, who may not {what}: ask one who may")

    def who(self, key: OperatorKey) -> Operator:
        """Return the operator whose key this is; raise OperatorUnknown, and NotAllowed for another one's name."""
        operator = self.operators.get(key.name)
        if operator is None:
            said = "was removed" if key.name in self.gone else "is none of this vault"
            raise OperatorUnknown(f"operator {key.name} {said}: see `scelle operator list`")
        if operator.vkey.public != key.vkey.public:
            raise NotAllowed(f"the key is not that of {key.name}: give the file that `operator add` wrote")
        return operator

    def check_name(self, name: str) -> str:
        """Return the name of a new operator; raise OperatorNameWrong where it cannot be one, or is taken."""
        check_operator_name(name)
        if name in self.operators or name in self.gone:
            raise OperatorNameWrong(f"there is or was an operator {name}: a name means one person, for ever")
        return name

    def check_key(self, vkey: VerifierKey) -> None:
        """Raise OperatorNameWrong where an operator has this key under another name."""
        twin = next((each.name for each in self.operators.values() if each.vkey.public == vkey.public), None)
        if twin is not None:
            raise OperatorNameWrong(f"this key is {twin}'s: one person has one name")


def check_operator_name(name: str) -> str:
    """Return a text that can name an operator, and be part of a file's name; raise OperatorNameWrong."""
    if NAME.fullmatch(name) is None:
        raise OperatorNameWrong(
            f"name {shown(name)}: take 1 to 41 of a-z 0-9 . _ - , a letter or digit first"
        )
    return name


def people_of(events: Iterable[Event], origin: str = "") -> People:
    """Fold the events of the vault's log, whose origin its requests are signed for."""
    fold = _Fold(origin)
    for event in events:
        fold.take(event)
    return fold.people()


class _Fold:
    """The state of people after some events."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._operators: dict[str, Operator] = {}
        self._gone: set[str] = set()
        self._walls: dict[str, frozenset[str]] = {}
        self._settings: dict[str, int] = {}
        self._requests: dict[str, Request] = {}
        self._counsel_ever = 0
        self._has_acted = False
        self._orders: set[str] = set()

    def people(self) -> People:
        """Return what the events so far say."""
        return People(
            self._cleared(),
            frozenset(self._gone),
            self._walls,
            self._settings,
            self._requests,
            self._is_in_setup,
            self._has_acted,
            frozenset(self._orders),
        )

    @property
    def _is_in_setup(self) -> bool:
        return not self._has_acted or self._counsel_ever < COUNSEL_MIN

    def take(self, event: Event) -> None:
        """Take the next event into account."""
        match event.kind:
            case "operator.added":
                self._add(event)
                return  # adding people is the setup, whoever does it
            case "operator.removed":
                self._remove(str(event.body["name"]))
            case "wall":
                self._wall(str(event.body["order"]), list(map(str, event.body["only"])), event.body.get("by"))
            case "wall.admitted":
                self._admit(event)
            case "setting":
                self._set(event)
            case "order.opened":
                self._open(event)
            case "request.made" | "request.approved" | "request.withdrawn" | "request.executed":
                note_request(self._requests, event)
        self._has_acted |= event.actor.removeprefix("operator:") in self._operators

    def _add(self, event: Event) -> None:
        body = event.body
        name = str(body["name"])
        asked = self._asked(event, Act.OPERATOR_ADD)
        is_asked = asked is not None and all(asked.body.get(key) == body[key] for key in _SAID)
        if name in self._operators or name in self._gone or not (self._is_in_setup or is_asked):
            return
        operator = _operator(body, event.time_us)
        self._operators[name] = operator
        self._counsel_ever += operator.role is Role.COUNSEL
        for order in operator.orders or ():
            if order in self._walls:  # who is cleared for it by name stands inside
                self._walls[order] |= {name}

    def _remove(self, name: str) -> None:
        if self._operators.pop(name, None) is not None:
            self._gone.add(name)
        self._walls = {order: only - {name} for order, only in self._walls.items()}

    def _wall(self, order: str, only: Sequence[str], by: object) -> None:
        """Shut out; whom a wall event names and who is outside stays outside.

        A wall may stand before its order is there: who builds it then is to take the order in, and is cleared for it.
        """
        taker = self._operators.get(str(by))
        if taker is not None and taker.name in only and order not in self._orders | self._walls.keys():
            self._clear(taker, order)
        cleared = self._cleared()
        self._walls[order] = frozenset(
            name for name in only if name in cleared and cleared[name].is_cleared_for(order)
        )

    def _admit(self, event: Event) -> None:
        order, name = str(event.body["order"]), str(event.body["name"])
        asked = self._asked(event, Act.WALL_ADMIT)
        operator = self._operators.get(name)
        if operator is None or asked is None or (asked.order, asked.body.get("name")) != (order, name):
            return
        self._clear(operator, order)
        if order in self._walls:
            self._walls[order] |= {name}

    def _clear(self, operator: Operator, order: str) -> None:
        if operator.orders is not None:
            self._operators[operator.name] = replace(operator, orders=operator.orders | {order})

    def _set(self, event: Event) -> None:
        name, value_us = str(event.body["name"]), int(str(event.body["value_us"]))
        if name not in SETTINGS:
            return
        asked = self._asked(event, Act.SETTING)
        is_asked = asked is not None and dict(asked.body) == {"name": name, "value_us": str(value_us)}
        if is_asked or not self._orders or not is_looser(self._settings, name, value_us):
            self._settings[name] = value_us

    def _open(self, event: Event) -> None:
        """Clear for a new order who took it in: somebody cleared for a few orders would not see his own."""
        order = str(event.body["order"])
        operator = self._operators.get(str(event.body.get("by")))
        if operator is not None and order not in self._orders:
            self._clear(operator, order)
        self._orders.add(order)

    def _asked(self, event: Event, act: Act) -> Request | None:
        """Return the request that an event carries out, if two people had signed it by then and it had cooled off."""
        request = self._requests.get(str(event.body.get("request")))
        if request is None or request.act is not act or event.time_us < request.ready_us:
            return None
        state = request.state(self._origin, self._cleared(), event.time_us)
        return request if state is RequestState.APPROVED else None

    def _cleared(self) -> dict[str, Operator]:
        """Return the operators, each with the orders whose walls he stands outside of."""
        return {
            name: replace(
                operator,
                shut_out=frozenset(order for order, only in self._walls.items() if name not in only),
            )
            for name, operator in self._operators.items()
        }


_SAID: Final = ("name", "role", "vkey", "recipient", "orders")


def operator_body(
    key: OperatorKey, role: Role, orders: Iterable[str] | None, added_by: str | None
) -> dict[str, Any]:
    """Return the body of the event `operator.added`; it holds nothing secret."""
    return public_body(key.vkey, key.recipient, role, orders, added_by)


def public_body(
    vkey: VerifierKey, recipient: str, role: Role, orders: Iterable[str] | None, added_by: str | None
) -> dict[str, Any]:
    """Return the body of the event `operator.added` for somebody of whom only the public keys are known."""
    return {
        "name": vkey.name,
        "role": role.value,
        "vkey": vkey.text(),
        "recipient": recipient,
        "orders": None if orders is None else sorted(orders),
        "added_by": added_by,
    }


def _operator(body: Mapping[str, Any], time_us: int) -> Operator:
    return Operator(
        name=str(body["name"]),
        role=Role(str(body["role"])),
        vkey=parse_vkey(str(body["vkey"])),
        recipient=str(body["recipient"]),
        orders=None if body["orders"] is None else frozenset(map(str, body["orders"])),
        added_us=time_us,
        added_by=None if body["added_by"] is None else str(body["added_by"]),
    )
