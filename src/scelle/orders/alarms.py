"""Say what is odd in an extension, and what is to be decided over a lapsed order: warnings, never refusals (pure)."""

from dataclasses import replace

from scelle.orders.calendars import last_days
from scelle.orders.clocks import hold_end
from scelle.orders.days import day_end_us, local_day, shown_end
from scelle.orders.lifecycle import DECIDE_WITHIN_US, Life
from scelle.orders.model import Moment
from scelle.orders.types import Kind, Prolongation

_DAY_US = 86_400_000_000


def lapse_alarm(life: Life, now_us: int, within_us: int = DECIDE_WITHIN_US) -> str | None:
    """Return what is said every day of an order that has lapsed, until counsel has decided; None where nothing is.

    A clock never releases: everything stays held meanwhile, and after the time for deciding is over.
    """
    lapsed_us, due_us = life.lapsed_us(now_us), life.decide_by_us(now_us, within_us)
    if lapsed_us is None or due_us is None:
        return None
    zone = life.order.tz()
    since, due = (f"{shown_end(us, zone)} {life.order.zone}" for us in (lapsed_us, due_us))
    days = (now_us - lapsed_us) // _DAY_US + 1
    left = (due_us - now_us) // _DAY_US
    said = f"LAPSED since {since} (day {days}): extend, replace by an internal hold, or release"
    if now_us >= due_us:
        return f"{said}; the decision was due {due} and is LATE; everything stays held"
    return f"{said}; decide before {due} ({left} day{'' if left == 1 else 's'} left); everything stays held"


def extension_warnings(life: Life, until: Moment, now_us: int) -> tuple[str, ...]:
    """Return what is odd in an extension of an order until then, one sentence each; it is recorded all the same."""
    rule = life.order.rule
    if rule.kind is Kind.DEADLINE_ONLY:
        return ()
    if rule.extension in ("none", "not known") and rule.clock.period is not None:
        return (f"the law of {life.order.type} orders knows no extension ({rule.source}): ask counsel",)
    if rule.prolongation is None:
        return ()
    return (*_too_often(life, rule.prolongation, now_us), *_too_long(life, rule.prolongation, until))


def _too_often(life: Life, known: Prolongation, now_us: int) -> tuple[str, ...]:
    found = []
    times = sum(term.order.is_extended for term in life.terms if not term.order.is_open_ended)
    if known.times is not None and times >= known.times:
        found.append(
            f"it was extended {times} time{'' if times == 1 else 's'} already, and the law of {life.order.type} orders "
            f"knows {known.times}: ask counsel"
        )
    act_by_us = hold_end(life.order).act_by_us
    if known.before_end and act_by_us is not None and now_us >= act_by_us:
        found.append(
            f"it came after the period had ended, which the law of {life.order.type} orders does not allow"
        )
    return tuple(found)


def _too_long(life: Life, known: Prolongation, until: Moment) -> tuple[str, ...]:
    """Compare with the law's own length, which begins on the day after the last one that the order had before."""
    end_us, zone = hold_end(life.order).keep_until_us, life.order.tz()
    if end_us is None:
        return ()
    counted = replace(life.order.rule.calendar, counts_first_day=(False,))
    ends = last_days(local_day(end_us - 1, zone), known.period, counted).values()
    latest_us = day_end_us(max(ends), zone)
    if until.at_us <= latest_us:
        return ()
    return (
        f"{until.text} is later than {known.period} after the end before, which gives {shown_end(latest_us, zone)} "
        f"{life.order.zone}: kept until {until.text}; ask counsel",
    )
