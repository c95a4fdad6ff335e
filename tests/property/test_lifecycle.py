"""Whatever is tried on an order, and whenever: what the table refuses is refused, and the intervals add up."""

import itertools
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scelle.errors import OrderValueWrong, TransitionRefused
from scelle.ledger.events import Event
from scelle.orders import Kind, Moment, Notify, Order, OrderType, Temporal, hold_end, order_to_json
from scelle.orders.alarms import lapse_alarm
from scelle.orders.amendments import new_end
from scelle.orders.days import day_end_us, day_start_us, iso_text, load_zone, local_day
from scelle.orders.deadlines import Due, deadlines_of
from scelle.orders.lifecycle import Life, Mark, State, Step, is_valid, life_of

DAY_US = 86_400_000_000
ZONE = load_zone("Europe/Brussels")
START = 1_736_000_000_000_000  # January 2025
PLAIN = {
    Step.AUTHENTICATE: ("authenticated", {"how": "seal"}),
    Step.LIFT: ("lifted", {}),
    Step.ANNUL: ("annulled", {}),
    Step.REVIEW: ("reviewed", {"ground": "open"}),
    Step.REPLACE: ("replaced", {"by": "hold-1"}),
    Step.RELEASE: ("released", {}),
    Step.UNDO_RELEASE: ("release.undone", {}),
    Step.DISPOSE: ("disposed", {}),
}
LEADS_TO = {
    Step.LIFT: {State.LIFTED},
    Step.ANNUL: {State.ANNULLED},
    Step.RELEASE: {State.RELEASED},
    Step.DISPOSE: {State.DISPOSED},
    Step.UNDO_RELEASE: {State.LIFTED, State.ANNULLED, State.LAPSED, State.IN_FORCE},
}


class Lives(RuleBasedStateMachine):
    """One order, steps on it in any sequence, and a clock that only goes on."""

    @initialize(
        type=st.sampled_from(
            [OrderType.EPOC_PR, OrderType.BUDAPEST_MLA, OrderType.DSA_RETENTION, *OrderType]
        ),
        days=st.none() | st.sampled_from([1, 5, 20, 100]),
        waits=st.integers(0, 3),
    )
    def take_in(self, type: OrderType, days: int | None, waits: int) -> None:
        self.now_us = START
        day = local_day(START, ZONE)
        received = Moment(day.isoformat(), day_start_us(day, ZONE))
        effective = START + waits * 10 * DAY_US
        until = None if days is None else Moment(*self._day_after(effective + days * DAY_US))
        order = Order(
            id="o-1", matter="m", type=type, authority="a", legal_basis="b", reference="r", issued=received,
            received=received, zone="Europe/Brussels", temporal=Temporal.BOTH, notify=Notify.PERMITTED,
            effective=Moment(iso_text(effective, ZONE), effective), until=until,
        )  # fmt: skip
        self.events = [Event(0, START, "counsel", "received", order_to_json(order))]
        self.life = self._fold()
        self.seen: list[tuple[int, State]] = []

    def _day_after(self, us: int) -> tuple[str, int]:
        day = local_day(us, ZONE)
        return day.isoformat(), day_end_us(day, ZONE)

    def _fold(self) -> Life:
        life = life_of(self.events)
        assert life is not None
        return life

    def _record(self, kind: str, body: dict[str, Any]) -> None:
        self.events.append(Event(len(self.events), self.now_us, "counsel", kind, body))
        self.life = self._fold()

    def _may(self, step: Step) -> bool:
        state = self.life.state(self.now_us)
        try:
            self.life.check(step, self.now_us)
        except TransitionRefused:
            assert not is_valid(step, state)
            return False
        assert is_valid(step, state)
        return True

    @rule(us=st.sampled_from([1, DAY_US - 1, DAY_US, 9 * DAY_US, 70 * DAY_US, 400 * DAY_US]))
    def wait(self, us: int) -> None:
        before = self.life.state(self.now_us)
        self.seen.append((self.now_us, before))  # of this instant nothing more will be recorded
        self.now_us += us
        after = self.life.state(self.now_us)
        if before in (State.RELEASED, State.DISPOSED, State.LIFTED, State.ANNULLED, State.LAPSED):
            assert after is before  # only people take an order out of these
        else:
            assert after in {before, State.IN_FORCE, State.LAPSED}

    @rule(step=st.sampled_from([Step.AUTHENTICATE, Step.REPLACE, Step.REVIEW]))
    def note(self, step: Step) -> None:
        self.take_step(step)

    @rule(step=st.sampled_from(sorted(PLAIN)))
    def take(self, step: Step) -> None:
        self.take_step(step)

    def take_step(self, step: Step) -> None:
        if self._may(step):
            before = self.life.state(self.now_us)
            self._record(*PLAIN[step])
            assert self.life.state(self.now_us) in LEADS_TO.get(step, {before, State.AUTHENTICATED})

    @rule(days=st.sampled_from([0, 1, 8, 60, 300]))
    def extend(self, days: int) -> None:
        if not self._may(Step.EXTEND):
            return
        text, _ = self._day_after(self.now_us + days * DAY_US)
        try:
            moment = new_end(self.life.order, hold_end(self.life.order).keep_until_us, text)
        except OrderValueWrong:
            return
        self._record("extended", {"until": [moment.text, moment.at_us]})
        assert (self.life.state(self.now_us) is State.LAPSED) is (moment.at_us <= self.now_us)

    @rule(
        mark=st.sampled_from([Mark.PRODUCTION_ANNOUNCED, Mark.PRODUCTION_ANNOUNCED, *Mark]),
        is_set=st.booleans(),
    )
    def mark(self, mark: Mark, is_set: bool) -> None:
        if self._may(Step.MARK):
            self._record("mark", {"mark": mark.value, "set": is_set})
            assert (mark in self.life.marks) is is_set

    @invariant()
    def what_is_held_is_what_nobody_released(self) -> None:
        state = self.life.state(self.now_us)
        assert self.life.holds is (state not in (State.RELEASED, State.DISPOSED))

    @invariant()
    def intervals_are_in_order_and_apart(self) -> None:
        known = self.life.intervals_in_force()
        bounds = [bound for interval in known for bound in interval if bound is not None]
        assert bounds == sorted(bounds)
        assert all(end is not None for _, end in known[:-1])
        apart = [(before[1], after[0]) for before, after in itertools.pairwise(known)]
        assert all(end is not None and end < start for end, start in apart)
        assert list(self.life.intervals_without()) == apart

    @invariant()
    def what_was_in_force_is_said_to_have_been(self) -> None:
        """Whatever came later: an instant lies in an interval exactly if the order was in force at it."""
        known = self.life.intervals_in_force()
        for us, state in self.seen:
            inside = any(start <= us and (end is None or us < end) for start, end in known)
            if state not in (State.RELEASED, State.DISPOSED):
                assert inside is (state is State.IN_FORCE)

    @invariant()
    def a_state_says_what_its_interval_says(self) -> None:
        state, (start, end) = self.life.state(self.now_us), self.life.intervals_in_force()[-1]
        inside = start <= self.now_us and (end is None or self.now_us < end)
        if state is State.IN_FORCE:
            assert inside
        if state is State.LAPSED:
            assert end is not None
            assert end <= self.now_us
            assert self.life.lapsed_us(self.now_us) == end
            assert self.life.without_order(self.now_us)[-1].until_us is None
        else:
            assert self.life.lapsed_us(self.now_us) is None
            assert all(each.until_us is not None for each in self.life.without_order(self.now_us))

    @invariant()
    def counsel_is_asked_as_long_as_nothing_is_decided(self) -> None:
        asked = self.life.state(self.now_us) is State.LAPSED and self.life.replaced_by is None
        assert (lapse_alarm(self.life, self.now_us) is not None) is asked
        due = {each.due for each in deadlines_of(self.life, self.now_us)}
        assert (Due.DECIDE in due) is asked
        assert (Due.UNDO in due) is (self.life.state(self.now_us) is State.RELEASED)
        assert (Due.REVIEW in due) is (self.life.holds and self.life.order.rule.kind is Kind.HOLD)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
