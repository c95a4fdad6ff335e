"""Tell an order's life: its state, its marks, its clauses and its intervals, from the events of its own log.

States follow from what people did and from the clock; a clock alone never releases. Valid transitions and what each
means: docs/design/lifecycle.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, NamedTuple

from scelle.errors import FormatError, TransitionRefused
from scelle.ledger.events import Event
from scelle.orders.clocks import hold_end
from scelle.orders.model import Moment, Order
from scelle.orders.sealed import moment_from_json, order_from_json
from scelle.orders.types import Bound, Kind
from scelle.scope.model import Clause
from scelle.scope.sealed import clause_from_json

DECIDE_WITHIN_US: Final = 14 * 86_400_000_000
"""How long counsel may take to decide over a lapsed order before the alarm says that it is late (14 days)."""
REVIEW_EVERY_US: Final = 90 * 86_400_000_000
"""How often every active hold is reviewed for necessity (90 days)."""
UNDO_WITHIN_US: Final = 30 * 86_400_000_000
"""For how long a release can be undone before the order is disposed of (30 days)."""


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


class Step(StrEnum):
    """What people can record of an order; each is valid in some states only."""

    AUTHENTICATE = "authenticate"
    EXTEND = "extend"
    ADD = "add to"
    NARROW = "narrow"
    CAPTURE = "seal more for"
    MARK = "mark"
    REVIEW = "review"
    REPLACE = "replace"
    LIFT = "lift"
    ANNUL = "annul"
    RELEASE = "release"
    UNDO_RELEASE = "undo the release of"
    DISPOSE = "dispose of"


_NOT_YET: Final = frozenset({State.RECEIVED, State.AUTHENTICATED})
_RUNNING: Final = _NOT_YET | {State.IN_FORCE}
_ENDED: Final = frozenset({State.LIFTED, State.ANNULLED})
_HOLDING: Final = _RUNNING | _ENDED | {State.LAPSED}
TRANSITIONS: Final[Mapping[Step, frozenset[State]]] = {
    Step.AUTHENTICATE: _RUNNING | {State.LAPSED},
    Step.EXTEND: _RUNNING | {State.LAPSED},
    Step.ADD: _RUNNING,
    Step.NARROW: _RUNNING | {State.LAPSED},
    Step.CAPTURE: _RUNNING | {State.LAPSED},
    Step.MARK: _HOLDING,
    Step.REVIEW: _HOLDING,
    Step.REPLACE: _RUNNING | {State.LAPSED},
    Step.LIFT: _RUNNING | {State.LAPSED},
    Step.ANNUL: _RUNNING | {State.LAPSED, State.LIFTED},
    Step.RELEASE: _ENDED | {State.LAPSED},
    Step.UNDO_RELEASE: frozenset({State.RELEASED}),
    Step.DISPOSE: frozenset({State.RELEASED}),
}
"""In which states a step may be taken; everything else is refused."""
_LEADS_TO: Final[Mapping[Step, str]] = {
    Step.AUTHENTICATE: "*authenticated*, where the order does not bind yet; else the same state",
    Step.EXTEND: "*in force* until the new end, from the extension on where the order had lapsed",
    Step.LIFT: "*lifted*: the interval in force ends, everything stays held",
    Step.ANNUL: "*annulled*: the interval in force ends, everything stays held",
    Step.RELEASE: "*released*, by two people: nothing is held any more; it can be undone in the grace period",
    Step.UNDO_RELEASE: "the state before the release",
    Step.DISPOSE: "*disposed*: what no other order claims is destroyed",
}
_ADVICE: Final[Mapping[tuple[Step, State], str]] = {
    (Step.ADD, State.LAPSED): "extend it first (scelle order extend)",
    (Step.LIFT, State.LIFTED): "it was recorded already; the next step is its release (scelle order release)",
    (Step.LIFT, State.ANNULLED): "it has ended already; the next step is its release (scelle order release)",
    (
        Step.ANNUL,
        State.ANNULLED,
    ): "it was recorded already; the next step is its release (scelle order release)",
    (Step.UNDO_RELEASE, State.DISPOSED): "what was destroyed does not come back",
}
_RELEASE_FIRST: Final = "record first that it ended: scelle order lift, or scelle order annul"
_STATE_ADVICE: Final[Mapping[State, str]] = {
    State.LIFTED: "a new demand of the authority is a new order (scelle order add)",
    State.ANNULLED: "a new demand of the authority is a new order (scelle order add)",
    State.RELEASED: "undo the release while its grace period runs, or take a new order in",
    State.DISPOSED: "its log only tells what was; a new demand is a new order (scelle order add)",
}
_ELSE: Final = "scelle order show says what can be recorded, docs/design/lifecycle.md why"


def is_valid(step: Step, state: State) -> bool:
    """Tell whether a step may be taken in a state."""
    return state in TRANSITIONS[step]


def transitions_table() -> str:
    """Return the table of steps and states as Markdown."""
    lines = ["| step | valid when the order is | leads to |", "| --- | --- | --- |"]
    for step, states in TRANSITIONS.items():
        valid = ", ".join(f"*{state}*" for state in State if state in states)
        lines.append(f"| {step} | {valid} | {_LEADS_TO.get(step, 'the same state')} |")
    return "\n".join(lines) + "\n"


def advice(step: Step, state: State, order: Order) -> str:
    """Say what to do instead of a step that is not valid."""
    if step is Step.RELEASE and state in _RUNNING:
        is_own = order.rule.clock.bound is Bound.UNTIL_EVENT and order.until is None
        why = "; of an order without an end of its own counsel records the decision so" if is_own else ""
        return _RELEASE_FIRST + why
    if step in (Step.UNDO_RELEASE, Step.DISPOSE) and state is not State.DISPOSED:
        return "it was not released (scelle order release)"
    return _ADVICE.get((step, state)) or _STATE_ADVICE.get(state, _ELSE)


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


class Without(NamedTuple):
    """An interval [from, until) in which an order was not in force, though it held; None: it still is not.

    ``replaced_by`` is the order, mostly an internal hold with its own ground, that took its place meanwhile.
    """

    from_us: int
    until_us: int | None
    replaced_by: str | None


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
    replacements: tuple[tuple[int, str], ...] = ()
    """When another order was named to take this one's place, and which."""

    def check(self, step: Step, now_us: int) -> None:
        """Raise `TransitionRefused` where a step is not valid in the order's state."""
        state = self.state(now_us)
        if not is_valid(step, state):
            raise TransitionRefused(
                f"order {self.order.id} is {state}: nobody can {step} it now; {advice(step, state, self.order)}"
            )

    @property
    def active_clauses(self) -> tuple[Clause, ...]:
        """Return what capture seals by: the clauses and carve-outs that still grow."""
        return tuple(each.clause for each in self.clauses if each.stopped_us is None)

    @property
    def holds(self) -> bool:
        """Tell whether the order still claims items: until it is released, whatever its clock says."""
        return self.released_us is None and self.disposed_us is None

    @property
    def running_order(self) -> Order:
        """Return the order's terms with what its marks make of its clock.

        Some clocks have no end once a production is announced (Regulation (EU) 2023/1543, Article 11(2)).
        """
        is_open = Mark.PRODUCTION_ANNOUNCED in self.marks and self.order.rule.open_on_production
        return replace(self.order, is_open_ended=True) if is_open else self.order

    @property
    def keep_until_us(self) -> int | None:
        """Return the end of the hold by its clock, the later reading; None where it has none."""
        return hold_end(self.running_order).keep_until_us

    @property
    def replaced_by(self) -> str | None:
        """Return the order that takes this one's place since it was last in force, or that will when it ends."""
        began_us = self.intervals_in_force()[-1][0]
        return next((by for at_us, by in reversed(self.replacements) if at_us >= began_us), None)

    def lapsed_us(self, now_us: int) -> int | None:
        """Return when the order lapsed; None where it is not lapsed."""
        return self.intervals_in_force()[-1][1] if self.state(now_us) is State.LAPSED else None

    def undo_until_us(self, within_us: int = UNDO_WITHIN_US) -> int | None:
        """Return until when a release can be undone; None where it was not released, or was disposed of."""
        if self.released_us is None or self.disposed_us is not None:
            return None
        return self.released_us + within_us

    def decide_by_us(self, now_us: int, within_us: int = DECIDE_WITHIN_US) -> int | None:
        """Return by when counsel must decide over a lapsed order: extend, replace, or release."""
        lapsed_us = self.lapsed_us(now_us)
        return None if lapsed_us is None or self.replaced_by is not None else lapsed_us + within_us

    def is_decision_late(self, now_us: int, within_us: int = DECIDE_WITHIN_US) -> bool:
        """Tell whether the time for deciding over a lapsed order is over; it stays held all the same."""
        due_us = self.decide_by_us(now_us, within_us)
        return due_us is not None and now_us >= due_us

    def review_due_us(self, every_us: int = REVIEW_EVERY_US) -> int | None:
        """Return when the hold's necessity is to be reviewed next; None where it holds nothing."""
        if not self.holds or self.order.rule.kind is Kind.DEADLINE_ONLY:
            return None
        return max(self.order.received.at_us, self.reviewed_us or 0) + every_us

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

        An extension, or a mark, that came after the end begins a new interval with itself. A lift or an annulment
        ends the last one.
        """
        over_us = min((us for us in (self.lifted_us, self.annulled_us) if us is not None), default=None)
        found: list[tuple[int, int | None]] = []
        for number, term in enumerate(self.terms):
            if number and over_us is not None and term.since_us >= over_us:
                break  # a mark on an order that has ended
            start_us, end_us = max(term.since_us, term.order.starts_us), hold_end(term.order).keep_until_us
            if end_us is not None:
                end_us = max(end_us, start_us)
            if found and (found[-1][1] is None or start_us <= found[-1][1]):
                found[-1] = (found[-1][0], end_us)
            elif end_us is None or end_us > start_us or not found:
                found.append((start_us, end_us))
        if over_us is not None and (found[-1][1] is None or over_us < found[-1][1]):
            found[-1] = (found[-1][0], max(over_us, found[-1][0]))
        return tuple(found)

    def intervals_without(self) -> tuple[tuple[int, int], ...]:
        """Return the intervals [from, until) between two in which an order was in force."""
        known = self.intervals_in_force()
        return tuple((before[1], after[0]) for before, after in pairwise(known) if before[1] is not None)

    def without_order(self, now_us: int) -> tuple[Without, ...]:
        """Return the intervals in which the order held without being in force, the one that goes on included."""
        known = self.intervals_in_force()
        ends: list[tuple[int, int | None]] = list(self.intervals_without())
        lapsed_us = self.lapsed_us(now_us)
        if lapsed_us is not None:
            ends.append((lapsed_us, None))
        return tuple(
            Without(start, end, self._replaced_in(began, end))
            for (began, _), (start, end) in zip(known, ends, strict=False)
        )

    def _replaced_in(self, began_us: int, end_us: int | None) -> str | None:
        """Return which order was to take this one's place from `began_us` until it was in force again."""
        found = [
            by for at_us, by in self.replacements if began_us <= at_us and (end_us is None or at_us < end_us)
        ]
        return found[-1] if found else None


CLOCK_KINDS: Final = (
    "received",
    "extended",
    "mark",
    "lifted",
    "annulled",
    "released",
    "release.undone",
    "disposed",
)
"""The events from which `life_of` tells states and intervals; the others say what is covered, and by whom."""


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
            reference = body.get("reference")
            order = replace(
                life.order,
                until=_moment(body, "until"),
                is_extended=True,
                extended_by=None if reference is None else str(reference),
            )
            return _on_new_terms(replace(life, order=order), time_us)
        case "mark":
            mark = {Mark(str(body["mark"]))}
            marks = life.marks | mark if body["set"] else life.marks - mark
            return _on_new_terms(replace(life, marks=marks), time_us)
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
            return replace(life, replacements=(*life.replacements, (time_us, str(body["by"]))))
    return life


def _on_new_terms(life: Life, time_us: int) -> Life:
    """Add the order's terms as they run from now on, where they differ from those before."""
    order = life.running_order
    return life if order == life.terms[-1].order else replace(life, terms=(*life.terms, Term(time_us, order)))


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
