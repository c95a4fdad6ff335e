"""Read an order's clocks: until when to keep, by when to act, what comes next.

Where the order and its law, or two readings of the law, differ: keep until the later, act by the earlier,
show both. **A clock never releases.** What these functions return moves nothing: a hold whose clock has run
out is *lapsed* and stays held until counsel decides.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from scelle.orders.calendars import Period, last_days
from scelle.orders.days import day_end_us, local_day, shown_end, shown_instant
from scelle.orders.model import Moment, Order
from scelle.orders.types import Bound, Kind, Start

OWN_DATE: Final = "order's own date"
"""The label of the reading that an order, or its extension, gives itself."""


class Phase(StrEnum):
    """Where an order stands by its clock alone; what people decided about it is not a clock's business."""

    NOT_YET = "not yet in force"
    IN_FORCE = "in force"
    LAPSED = "lapsed"
    DEADLINE_ONLY = "deadline only"


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read the end of an order: what was counted, the instant (exclusive), on which ground."""

    label: str
    at_us: int
    basis: str


@dataclass(frozen=True, slots=True)
class ClockReading:
    """All ends of an order: keep until the later, act by the earlier.

    ``keep_until_us`` is None for a hold without an end (``open_ended``) and for a type that holds nothing.
    ``act_by_us`` is None where nothing is due. Invariant: where both are there, act by <= keep until.
    """

    keep_until_us: int | None
    act_by_us: int | None
    open_ended: bool
    readings: tuple[Reading, ...]
    warnings: tuple[str, ...]


def hold_end(order: Order) -> ClockReading:
    """Return every reading of the order's end and what follows from them."""
    if order.rule.kind is Kind.DEADLINE_ONLY:
        due = _own_readings(order) + _acknowledgement(order)
        return ClockReading(None, _earliest(due), False, due, ())
    ends, warnings = _hold_readings(order)
    answers = _law_readings(order, order.rule.clock.answer)
    return ClockReading(
        keep_until_us=max((reading.at_us for reading in ends), default=None),
        act_by_us=_earliest(ends + answers),
        open_ended=not ends,
        readings=ends + answers,
        warnings=warnings,
    )


def phase(order: Order, now_us: int) -> Phase:
    """Return where the order stands by its clock; the later reading counts."""
    if order.rule.kind is Kind.DEADLINE_ONLY:
        return Phase.DEADLINE_ONLY
    end_us = hold_end(order).keep_until_us
    if end_us is not None and now_us >= end_us:
        return Phase.LAPSED
    return Phase.IN_FORCE if now_us >= order.starts_us else Phase.NOT_YET


def days_left(order: Order, now_us: int) -> int | None:
    """Return how many days are left after today in the order's zone: 0 on its last day, negative once lapsed.

    None for a hold without an end and for a type that holds nothing.
    """
    end_us = hold_end(order).keep_until_us
    if end_us is None:
        return None
    zone = order.tz()
    days = (local_day(end_us - 1, zone) - local_day(now_us, zone)).days
    return days if now_us < end_us else min(days, -1)


def next_step(order: Order, now_us: int) -> str:
    """Say in one plain sentence what the clock says next."""
    reading = hold_end(order)
    match phase(order, now_us):
        case Phase.DEADLINE_ONLY:
            said = "no hold follows from this type: keep under an internal hold beside it"
            if reading.act_by_us is None:
                return said
            due = _end(order, reading.act_by_us)
            return f"{said}; " + (f"answer before {due}" if now_us < reading.act_by_us else f"was due {due}")
        case Phase.NOT_YET:
            return f"not yet in force: starts {_instant(order, order.starts_us)}" + _acknowledge(
                order, now_us
            )
        case Phase.LAPSED:
            lapsed = _end(order, reading.keep_until_us or 0)
            return f"lapsed since {lapsed}: content stays held until counsel decides"
        case Phase.IN_FORCE if reading.keep_until_us is None:
            return _open_ended(order, reading, now_us) + _acknowledge(order, now_us)
        case Phase.IN_FORCE:
            return _ending(order, reading, now_us) + _acknowledge(order, now_us)


def _hold_readings(order: Order) -> tuple[tuple[Reading, ...], tuple[str, ...]]:
    """Return the readings of a hold's end, the order's own and its law's, and what is odd about them."""
    if order.is_open_ended:
        return (), ()
    clock, own = order.rule.clock, _own_readings(order)
    law = () if order.is_extended else _law_readings(order, clock.period)
    if not law:
        return own, _missing_end(order) if not own and clock.bound is Bound.IN_ORDER else ()
    if not own:
        return law, _missing_end(order) if clock.bound is Bound.AT_MOST else ()
    short = own[0].at_us < law[0].at_us and clock.bound in (Bound.FIXED, Bound.AT_LEAST)
    long = own[0].at_us > law[-1].at_us and clock.bound in (Bound.FIXED, Bound.AT_MOST)
    if not short and not long and clock.bound is not Bound.FIXED:
        return own, ()
    how, other = ("later", law[-1]) if long else ("earlier", law[0])
    warning = (
        f"until: the order's end {_end(order, own[0].at_us)} is {how} than the law's, "
        f"{_end(order, other.at_us)} ({other.basis}); kept until the later, act by the earlier: ask counsel"
    )
    return own + law, (warning,) if short or long else ()


def _missing_end(order: Order) -> tuple[str, ...]:
    longest = "the longest that the law allows is assumed" if order.rule.clock.period else "it has no end"
    return (f"until: missing, though a {order.type} order sets its own end; {longest}: ask counsel",)


def _own_readings(order: Order) -> tuple[Reading, ...]:
    if order.until is None:
        return ()
    by = f"the order {order.reference}" if order.extended_by is None else f"the extension {order.extended_by}"
    return (Reading(OWN_DATE, order.until.at_us, by),)


def _acknowledgement(order: Order) -> tuple[Reading, ...]:
    due = order.acknowledge_by
    return () if due is None else (Reading("acknowledgement", due.at_us, f"the order {order.reference}"),)


def _law_readings(order: Order, period: Period | None) -> tuple[Reading, ...]:
    """Return one reading for each day on which a period of the type's law may end, the earliest first."""
    if period is None:
        return ()
    rule, zone = order.rule, order.tz()
    basis = f"{rule.source} [{rule.mark}]; {rule.calendar.source}"
    found: dict[date, str] = {}
    for start in rule.clock.starts:
        for counted, day in last_days(_start(order, start).day, period, rule.calendar).items():
            found.setdefault(day, f"{period} from {start.value}, {counted}")
    return tuple(Reading(label, day_end_us(day, zone), basis) for day, label in sorted(found.items()))


def _start(order: Order, start: Start) -> Moment:
    match start:
        case Start.ISSUE | Start.NOTICE | Start.FILING:
            return order.issued
        case Start.RECEIPT:
            return order.received
        case Start.EFFECTIVE:
            return order.effective or order.received


def _earliest(readings: tuple[Reading, ...]) -> int | None:
    return min((reading.at_us for reading in readings), default=None)


def _ending(order: Order, reading: ClockReading, now_us: int) -> str:
    keep_us, act_us = reading.keep_until_us or 0, reading.act_by_us or 0
    days = days_left(order, now_us)
    left = "last day" if days == 0 else f"{days} day{'' if days == 1 else 's'} left"
    said = f"in force: {left}; ends {_end(order, keep_us)}"
    if now_us >= act_us:
        return f"{said}; on the earlier reading it ended {_end(order, act_us)}: have it extended now"
    step = "decide what replaces it" if order.rule.extension == "none" else "ask for the extension"
    return f"{said}; {step} before {'then' if act_us == keep_us else _end(order, act_us)}"


def _open_ended(order: Order, reading: ClockReading, now_us: int) -> str:
    said = f"in force without an end of its own; ends with: {_unmarked(order.rule.ends)}"
    if reading.act_by_us is None:
        return said
    due = _end(order, reading.act_by_us)
    return (
        f"{said}; answer before {due}" if now_us < reading.act_by_us else f"{said}; the answer was due {due}"
    )


def _acknowledge(order: Order, now_us: int) -> str:
    due = order.acknowledge_by
    return f"; acknowledge before {_end(order, due.at_us)}" if due is not None and now_us < due.at_us else ""


def _unmarked(text: str) -> str:
    """Return a fact of the table without its mark of certainty."""
    return text.replace(" [V]", "").replace(" [S]", "").replace(" [M]", "").replace(" [D]", "")


def _end(order: Order, time_us: int) -> str:
    return f"{shown_end(time_us, order.tz())} {order.zone}"


def _instant(order: Order, time_us: int) -> str:
    return f"{shown_instant(time_us, order.tz())} {order.zone}"
