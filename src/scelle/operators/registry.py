"""Read from the vault's own log who its operators are, and which walls stand around which orders (pure).

What loosens is believed only where the log shows a request for exactly that, which two people who were operators then
had signed and which had cooled off: whoever has the vault's key and no operator's cannot append himself to the log.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final, NamedTuple

from scelle.errors import NotAllowed, OperatorNameWrong, OperatorUnknown, ScelleError
from scelle.formats.notes import VerifierKey, parse_vkey
from scelle.formats.tokens import shown
from scelle.ledger.events import Event
from scelle.operators.keys import NAME, OperatorKey
from scelle.operators.model import Operator, Power, Role, may
from scelle.operators.requests import (
    APPROVED,
    EXECUTED,
    LATE_US,
    MADE,
    SLACK_US,
    WITHDRAWN,
    Act,
    Request,
    Stood,
    request_of,
    with_approval,
)
from scelle.operators.settings import CHANGED, SETTINGS, is_looser, setting_us

ADDED, REMOVED, WALL, ADMITTED = "operator.added", "operator.removed", "wall", "wall.admitted"
OPENED: Final = "order.opened"
KINDS: Final = (ADDED, REMOVED, WALL, ADMITTED, CHANGED, OPENED, MADE, APPROVED, WITHDRAWN, EXECUTED)
"""The kinds of events that people, walls, settings and requests are read from."""
COUNSEL_MIN: Final = 2
"""So few counsel can ask and approve."""


class Doubt(NamedTuple):
    """An event of the vault's log that counts for nothing: its sequence number, its kind, why."""

    seq: int
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class People:
    """What the vault's log says of people. No operators at all: solo mode.

    ``is_in_setup``: operators may still be added by one person alone, or by nobody in particular where ``has_acted``
    says that no operator did anything in the vault's log yet. ``doubts``: what stands in the log and is not believed.
    """

    operators: Mapping[str, Operator] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    walls: Mapping[str, frozenset[str]] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, Request] = field(default_factory=dict)
    is_in_setup: bool = True
    has_acted: bool = False
    orders_opened: frozenset[str] = frozenset()
    doubts: tuple[Doubt, ...] = ()

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
        self._is_complete = False
        self._has_acted = False
        self._orders: set[str] = set()
        self._doubts: list[Doubt] = []
        self._times: dict[int, int] = {}

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
            tuple(self._doubts),
        )

    @property
    def _is_in_setup(self) -> bool:
        return not (self._has_acted and self._is_complete)

    def take(self, event: Event) -> None:
        """Take the next event into account; one that cannot be read, or has no leave, counts for nothing."""
        self._times[event.seq] = event.time_us
        try:
            why = self._take(event)
        except (ScelleError, KeyError, TypeError, ValueError, AttributeError):
            why = "it cannot be read"
        if why is not None:
            self._doubts.append(Doubt(event.seq, event.kind, why))
        if event.kind in _OF_PEOPLE:
            self._judge(self._requests, event.time_us)
        if event.kind != ADDED:  # adding people is the setup, whoever does it
            self._has_acted |= _actor(event) in self._operators

    def _take(self, event: Event) -> str | None:
        """Take an event into account; return why it counts for nothing, None where it does not."""
        match event.kind:
            case "operator.added":
                return self._add(event)
            case "operator.removed":
                self._remove(str(event.body["name"]))
            case "wall":
                self._wall(str(event.body["order"]), list(map(str, event.body["only"])), event.body.get("by"))
            case "wall.admitted":
                return self._admit(event)
            case "setting":
                return self._set(event)
            case "order.opened":
                self._open(event)
            case "request.made":
                return self._make(event)
            case "request.approved" | "request.withdrawn" | "request.executed":
                return self._go_on(event)
        return None

    # --- requests

    def _make(self, event: Event) -> str | None:
        request = request_of(event)
        if request.id in self._requests:
            return "there is a request of this id"
        why = self._why_not_made(request, event.time_us)
        if why is None:
            self._requests[request.id] = request
        return why

    def _why_not_made(self, request: Request, time_us: int) -> str | None:
        """Say why a request is none: who asks may not, or gave himself less time to cool off, or more to expire."""
        if abs(time_us - request.made_us) > SLACK_US:
            return "it says that it was made at another time"
        if request.ready_us - request.made_us < setting_us(self._settings, "cooling-off"):
            return "its cooling-off time is shorter than the setting was"
        if request.expires_us - request.ready_us > setting_us(self._settings, "request-expiry"):
            return "it expires later than the setting allowed"
        if request.requester is None and self._gone:
            return "it was made in solo mode"
        return request.why_not_asked(self._origin, self._cleared())

    def _go_on(self, event: Event) -> str | None:
        """Take what was done with a request into account."""
        request = self._requests.get(str(event.body["request"]))
        if request is None:
            return "there is no such request"
        if event.kind == APPROVED:
            approved = with_approval(request, event)
            if not request.counts(self._origin, self._cleared(), approved.approvals[-1]):
                return "it is nobody's signature who could approve"
            request = approved
        elif event.kind == WITHDRAWN:
            request = replace(request, withdrawn_us=event.time_us)
        elif not request.stood:
            return "two people never stood behind the request"
        else:
            request = replace(request, executed_us=event.time_us, outcome=dict(event.body["outcome"]))
        self._requests[request.id] = request
        self._judge((request.id,), event.time_us)
        return None

    def _judge(self, ids: Iterable[str], time_us: int) -> None:
        """Note which of these requests two people stand behind from now on, and which not any more."""
        cleared = self._cleared()
        for request in [self._requests[each] for each in ids]:
            if not request.approvals:
                continue
            is_open = request.executed_us is None and request.withdrawn_us is None
            stands = is_open and request.is_approved(self._origin, cleared)
            if stands != _stands(request):
                kept = request.stood if stands else request.stood[:-1]
                new = Stood(time_us, None) if stands else Stood(request.stood[-1].since_us, time_us)
                self._requests[request.id] = replace(request, stood=(*kept, new))

    # --- people

    def _add(self, event: Event) -> str | None:
        body = event.body
        name = str(body["name"])
        asked = self._asked(event, Act.OPERATOR_ADD)
        is_asked = asked is not None and all(asked.body.get(key) == body[key] for key in _SAID)
        if name in self._operators or name in self._gone:
            return "there is or was an operator of this name"
        if not (self._is_in_setup or is_asked):
            return UNASKED
        by = _actor(event) if self._has_acted and not is_asked else None
        operator = _operator(body, event.time_us)
        self._operators[name] = replace(operator, added_by=by) if by in self._operators else operator
        self._is_complete |= self._has_a_pair()
        for order in operator.orders or ():
            if order in self._walls:  # who is cleared for it by name stands inside
                self._walls[order] |= {name}
        return None

    def _has_a_pair(self) -> bool:
        """Tell whether there are two counsel of whom one can approve what the other asks for."""
        counsel = [each for each in self._operators.values() if each.role is Role.COUNSEL]
        return any(
            one.added_by != other.name and other.added_by != one.name
            for one, other in combinations(counsel, 2)
        )

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

    def _admit(self, event: Event) -> str | None:
        order, name = str(event.body["order"]), str(event.body["name"])
        asked = self._asked(event, Act.WALL_ADMIT)
        operator = self._operators.get(name)
        if operator is None or asked is None or (asked.order, asked.body.get("name")) != (order, name):
            return UNASKED
        self._clear(operator, order)
        if order in self._walls:
            self._walls[order] |= {name}
        return None

    def _clear(self, operator: Operator, order: str) -> None:
        if operator.orders is not None:
            self._operators[operator.name] = replace(operator, orders=operator.orders | {order})

    def _set(self, event: Event) -> str | None:
        name, value_us = str(event.body["name"]), int(str(event.body["value_us"]))
        if name not in SETTINGS:
            return "there is no such setting"
        asked = self._asked(event, Act.SETTING)
        is_asked = asked is not None and dict(asked.body) == {"name": name, "value_us": str(value_us)}
        if not is_asked and self._orders and is_looser(self._settings, name, value_us):
            return UNASKED
        self._settings[name] = value_us
        return None

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
        if request is None or request.act is not act or not _stands(request):
            return None
        since = (time_us for seq, time_us in self._times.items() if seq > request.seq)
        is_late = max(since, default=0) > request.expires_us + LATE_US
        return request if request.stood_at(event.time_us) and not is_late else None

    def _cleared(self) -> dict[str, Operator]:
        """Return the operators, each with the orders whose walls he stands outside of."""
        return {
            name: replace(
                operator,
                shut_out=frozenset(order for order, only in self._walls.items() if name not in only),
            )
            for name, operator in self._operators.items()
        }


def _actor(event: Event) -> str:
    return event.actor.removeprefix("operator:")


def _stands(request: Request) -> bool:
    """Tell whether two people stand behind a request that is not carried out yet."""
    return bool(request.stood) and request.stood[-1].until_us is None


UNASKED: Final = "nothing that two people asked for allows it"
"""Why an event counts for nothing that lets somebody in, or loosens a setting."""
_OF_PEOPLE: Final = frozenset({ADDED, REMOVED, WALL, ADMITTED, OPENED})
"""The events after which a signature may count that did not, or not any more."""
_SAID: Final = ("name", "role", "vkey", "recipient", "orders")


def public_body(
    vkey: VerifierKey, recipient: str, role: Role, orders: Iterable[str] | None, added_by: str | None
) -> dict[str, Any]:
    """Return the body of the event `operator.added`; it holds nothing secret."""
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
