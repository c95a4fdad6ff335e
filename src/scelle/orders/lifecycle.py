"""Tell an order's life: its state, its marks, its clauses and its intervals, from the events of its own log.

States follow from what people did and from the clock; a clock alone never releases. Valid transitions and what each
means: docs/design/lifecycle.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from scelle.errors import FormatError
from scelle.ledger.events import Event
from scelle.orders.clocks import hold_end
from scelle.orders.model import Moment, Order
from scelle.orders.sealed import moment_from_json, order_from_json
from scelle.scope.model import Clause
from scelle.scope.sealed import clause_from_json

DECIDE_WITHIN_US: Final = 14 * 86_400_000_000
"""How long counsel may take to decide over a lapsed order before the alarm says that it is late (14 days)."""
REVIEW_EVERY_US: Final = 90 * 86_400_000_000
"""How often every active hold is reviewed for necessity (90 days)."""


class State(StrEnum):
    """Where an order stands; only RELEASED and DISPOSED hold nothing."""

    RECEIVED = "received"
    AUTHENTICATED = "authenticated"
    IN_FORCE = "in force"
    LAPSED = "lapsed"
    LIFTED = "lifted"
    ANNULLED = "annulled"
    RELEASED = "released"
    DISPOSED = "disposed"


class Mark(StrEnum):
    """What stands beside a state; PRODUCTION_ANNOUNCED makes some clocks open-ended."""

    CLARIFICATION_REQUESTED = "clarification requested"
    CHALLENGED = "challenged"
    PRODUCTION_ANNOUNCED = "production announced"
    IMPOSSIBLE = "impossible"
    IN_CONFLICT = "in conflict"


@dataclass(frozen=True, slots=True)
class ClauseLife:
    """A clause of an order, or a carve-out: since when it is there, and since when it grows no longer.

    Times in microseconds. What a stopped clause had sealed stays sealed until the order is released.
    """

    clause: Clause
    since_us: int
    stopped_us: int | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """The order's terms from an instant on; the first ones from its receipt."""

    since_us: int
    order: Order


@dataclass(frozen=True, slots=True)
class Life:
    """Everything that an order's log says of the order itself. Times in microseconds; None: it did not happen."""

    order: Order
    terms: tuple[Term, ...]
    clauses: tuple[ClauseLife, ...]
    marks: frozenset[Mark]
    authenticated_us: int | None = None
    lifted_us: int | None = None
    annulled_us: int | None = None
    released_us: int | None = None
    disposed_us: int | None = None
    reviewed_us: int | None = None
    replaced_by: str | None = None

    @property
    def active_clauses(self) -> tuple[Clause, ...]:
        """Return what capture seals by: the clauses and carve-outs that still grow."""
        return tuple(each.clause for each in self.clauses if each.stopped_us is None)

    @property
    def holds(self) -> bool:
        """Tell whether the order still claims items: until it is released, whatever its clock says."""
        return self.released_us is None and self.disposed_us is None

    @property
    def keep_until_us(self) -> int | None:
        """Return the end of the hold by its clock, the later reading; None where it has none."""
        return None if Mark.PRODUCTION_ANNOUNCED in self.marks else hold_end(self.order).keep_until_us

    def state(self, now_us: int) -> State:
        """Return the order's state at an instant."""
        if self.disposed_us is not None:
            return State.DISPOSED
        if self.released_us is not None:
            return State.RELEASED
        if self.annulled_us is not None:
            return State.ANNULLED
        if self.lifted_us is not None:
            return State.LIFTED
        end_us = self.keep_until_us
        if end_us is not None and now_us >= end_us:
            return State.LAPSED
        if now_us >= self.order.starts_us:
            return State.IN_FORCE
        return State.RECEIVED if self.authenticated_us is None else State.AUTHENTICATED

    def intervals_in_force(self) -> tuple[tuple[int, int | None], ...]:
        """Return the intervals [from, until) in which an order was in force, None for one without an end.

        An extension that came after the end begins a new interval with itself.
        """
        found: list[tuple[int, int | None]] = []
        for term in self.terms:
            start_us, end_us = max(term.since_us, term.order.starts_us), hold_end(term.order).keep_until_us
            if found and (found[-1][1] is None or start_us <= found[-1][1]):
                found[-1] = (found[-1][0], end_us)
            else:
                found.append((start_us, end_us))
        return tuple(found)

    def intervals_without(self) -> tuple[tuple[int, int], ...]:
        """Return the intervals [from, until) between two in which an order was in force."""
        known = self.intervals_in_force()
        return tuple(
            (before[1], after[0])
            for before, after in pairwise(known)
            if before[1] is not None
        )


def life_of(events: Iterable[Event]) -> Life | None:
    """Fold the events of an order's log; None where the order was never completely taken in."""
    life: Life | None = None
    for event in events:
        if event.kind == "received":
            order = order_from_json(event.body)
            life = Life(order, (Term(order.starts_us, order),), (), frozenset())
        elif life is not None:
            life = _after(life, event)
    return life


def _after(life: Life, event: Event) -> Life:
    body, time_us = event.body, event.time_us
    match event.kind:
        case "clause":
            return replace(life, clauses=_with_clause(life.clauses, clause_from_json(body), time_us))
        case "clause.stopped":
            return replace(life, clauses=_stopped(life.clauses, str(body["id"]), time_us))
        case "authenticated":
            return replace(life, authenticated_us=time_us)
        case "extended":
            order = replace(life.order, until=_moment(body, "until"))
            return replace(life, order=order, terms=(*life.terms, Term(time_us, order)), lifted_us=None)
        case "mark":
            mark = {Mark(str(body["mark"]))}
            return replace(life, marks=life.marks | mark if body["set"] else life.marks - mark)
        case "lifted":
            return replace(life, lifted_us=time_us)
        case "annulled":
            return replace(life, annulled_us=time_us)
        case "released":
            return replace(life, released_us=time_us)
        case "release.undone":
            return replace(life, released_us=None)
        case "disposed":
            return replace(life, disposed_us=time_us)
        case "reviewed":
            return replace(life, reviewed_us=time_us)
        case "replaced":
            return replace(life, replaced_by=str(body["by"]))
    return life


def _with_clause(clauses: tuple[ClauseLife, ...], clause: Clause, time_us: int) -> tuple[ClauseLife, ...]:
    """Add a clause; one of the same id takes the other's place, which stays as one that grows no longer."""
    return (*_stopped(clauses, clause.id, time_us), ClauseLife(clause, time_us))


def _stopped(clauses: tuple[ClauseLife, ...], clause_id: str, time_us: int) -> tuple[ClauseLife, ...]:
    return tuple(
        replace(each, stopped_us=time_us) if each.clause.id == clause_id and each.stopped_us is None else each
        for each in clauses
    )


def _moment(body: Mapping[str, Any], key: str) -> Moment:
    moment = moment_from_json(body, key)
    if moment is None:
        raise FormatError(f"sealed event, {key}: must be [date or time, microseconds]")
    return moment
