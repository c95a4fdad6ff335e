"""List what is due for an order and when: readings of its end, answers, decisions, reviews, its disposal (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Any, Final

from scelle.orders.calendars import Period, Unit, last_day
from scelle.orders.clocks import OWN_DATE, Reading, hold_end
from scelle.orders.days import day_end_us, local_day, utc_text
from scelle.orders.lifecycle import DECIDE_WITHIN_US, REVIEW_EVERY_US, UNDO_WITHIN_US, Life, State
from scelle.orders.types import Kind

_DAY_US: Final = 86_400_000_000


class Due(StrEnum):
    """What a deadline is about."""

    END = "end"
    EXTENSION = "extension"
    ANSWER = "answer"
    ACKNOWLEDGE = "acknowledge"
    DECIDE = "decide"
    REVIEW = "review"
    SECRECY = "secrecy"
    ASK = "ask"
    UNDO = "undo"


_OWED: Final = frozenset({Due.DECIDE, Due.REVIEW})
"""What is late once its time has passed: the log says when it was done. Of answers it does not know."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """One thing that is due for an order; the instant is exclusive: it is late from then on (microseconds).

    ``what`` names nothing of the order, ``label`` says how the instant was found, ``basis`` on which ground.
    """

    order: str
    due: Due
    at_us: int
    what: str
    label: str
    basis: str

    @property
    def key(self) -> str:
        """Return what stays the same when the instant moves."""
        return f"{self.due.value}/{self.label}"

    def is_late(self, now_us: int) -> bool:
        """Tell whether it should have been done, and the log does not say that it was."""
        return self.due in _OWED and now_us >= self.at_us

    def to_json(self, now_us: int) -> dict[str, Any]:
        """Return the deadline as it is printed."""
        return {
            "order": self.order,
            "due": self.due.value,
            "at": utc_text(self.at_us),
            "days_left": (self.at_us - now_us) // _DAY_US,
            "is_past": now_us >= self.at_us,
            "is_late": self.is_late(now_us),
            "what": self.what,
            "label": self.label,
            "basis": self.basis,
        }


def deadlines_of(
    life: Life,
    now_us: int,
    *,
    decide_within_us: int = DECIDE_WITHIN_US,
    review_every_us: int = REVIEW_EVERY_US,
    undo_within_us: int = UNDO_WITHIN_US,
) -> list[Deadline]:
    """Return what is due for an order, the earliest first; of a released one only until when that can be undone."""
    if not life.holds:
        return list(_undo(life, undo_within_us))
    found = [*_decision(life, now_us, decide_within_us), *_review(life, review_every_us)]
    if life.state(now_us) not in (State.LIFTED, State.ANNULLED):
        found += [*_ends(life, now_us), *_answers(life), *_secrecy(life, now_us), *_monthly(life, now_us)]
    return sorted(found, key=lambda each: (each.at_us, each.key))


def _ends(life: Life, now_us: int) -> Iterator[Deadline]:
    """Yield every reading of the end of a hold that has not lapsed, and until when its extension is to be asked for."""
    order = life.running_order
    reading = hold_end(order)
    if order.rule.kind is not Kind.HOLD or life.state(now_us) is State.LAPSED:
        return
    ends = [each for each in reading.readings if not _is_answer(life, each)]
    for each in ends:
        keeps = each.at_us == reading.keep_until_us
        what = (
            "ends by the later reading: keep until then" if keeps else "ends by this reading: act before then"
        )
        what = what if len(ends) > 1 else "ends: keep until then"
        yield Deadline(order.id, Due.END, each.at_us, what, each.label, each.basis)
    if ends:
        first = min(ends, key=lambda each: each.at_us)
        asks = order.rule.extension != "none"
        what = "ask for the extension before then" if asks else "decide before then what replaces it"
        yield Deadline(order.id, Due.EXTENSION, first.at_us, what, first.label, order.rule.extension)


def _is_answer(life: Life, reading: Reading) -> bool:
    """Tell a reading of the time for an answer from one of the end."""
    return life.order.rule.clock.answer is not None and reading.label != OWN_DATE


def _answers(life: Life) -> Iterator[Deadline]:
    order = life.running_order
    is_hold = order.rule.kind is Kind.HOLD
    for each in hold_end(order).readings:
        if _is_answer(life, each) or (not is_hold and each.label == OWN_DATE):
            yield Deadline(order.id, Due.ANSWER, each.at_us, "answer before then", each.label, each.basis)
    due = order.acknowledge_by
    if due is not None:
        basis = f"the order {order.reference}"
        yield Deadline(
            order.id, Due.ACKNOWLEDGE, due.at_us, "acknowledge receipt before then", "receipt", basis
        )


def _decision(life: Life, now_us: int, within_us: int) -> Iterator[Deadline]:
    due_us = life.decide_by_us(now_us, within_us)
    if due_us is not None:
        what = "lapsed: extend it, replace it by an internal hold, or release it; everything stays held"
        label = f"{within_us // _DAY_US} days from the lapse"
        yield Deadline(life.order.id, Due.DECIDE, due_us, what, label, "the setting decide-within")


def _review(life: Life, every_us: int) -> Iterator[Deadline]:
    due_us = life.review_due_us(every_us)
    if due_us is not None:
        label = f"every {every_us // _DAY_US} days"
        basis = "the setting review-every; GDPR 5(1)(c) and (e) [M]"
        what = "review whether the hold is still necessary"
        yield Deadline(life.order.id, Due.REVIEW, due_us, what, label, basis)


def _undo(life: Life, within_us: int) -> Iterator[Deadline]:
    until_us = life.undo_until_us(within_us)
    if until_us is not None:
        what = "released: it can be undone before then; from then on it can be disposed of"
        yield Deadline(life.order.id, Due.UNDO, until_us, what, "from the release", "the setting grace")


def _secrecy(life: Life, now_us: int) -> Iterator[Deadline]:
    until = life.order.secrecy_until
    if until is not None and until.at_us > now_us:
        basis = f"the order {life.order.reference}"
        yield Deadline(life.order.id, Due.SECRECY, until.at_us, "its secrecy ends", "secrecy_until", basis)


def _monthly(life: Life, now_us: int) -> Iterator[Deadline]:
    """Yield when to ask next whether an order is still needed whose clock has no end since a mark was set."""
    order, last = life.running_order, life.terms[-1]
    if not order.is_open_ended:
        return
    zone = order.tz()
    since = local_day(last.since_us, zone)
    for months in count(1):
        at_us = day_end_us(last_day(since, Period(months, Unit.MONTHS), counts_first=False), zone)
        if at_us > now_us:
            what = "ask the authority whether it is still needed: it has no end by its clock"
            yield Deadline(order.id, Due.ASK, at_us, what, "every month", order.rule.ends)
            return
