"""Whatever the order: act by <= keep until, later starts never end earlier, days have no holes."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.orders import (
    Kind,
    Moment,
    Notify,
    Order,
    OrderType,
    Phase,
    Temporal,
    days_left,
    hold_end,
    next_step,
    order_from_json,
    order_to_json,
    phase,
)
from scelle.orders.calendars import (
    EU_1182_71,
    FR_CPP_801,
    NOT_SETTLED,
    UK_BEGINNING_WITH,
    Period,
    Unit,
    last_days,
)
from scelle.orders.days import day_end_us, day_start_us, iso_text, load_zone, local, local_day, local_instants

DAY_US = 86_400_000_000
ZONES = st.sampled_from(
    [
        "UTC", "Europe/Brussels", "Europe/London", "America/New_York", "Asia/Beirut", "America/Havana",
        "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "Africa/Cairo",
        "America/Sao_Paulo", "Antarctica/Troll",
    ]
)  # fmt: skip
DAYS = st.dates(date(1990, 1, 1), date(2060, 12, 31))
OLD_DAYS = st.dates(date(1701, 1, 1), date(2199, 12, 31))
RULES = st.sampled_from([EU_1182_71, FR_CPP_801, NOT_SETTLED, UK_BEGINNING_WITH])
PERIODS = st.builds(Period, st.integers(1, 100), st.sampled_from(Unit))


@st.composite
def orders(draw: st.DrawFn) -> Order:
    zone_name = draw(ZONES)
    zone = load_zone(zone_name)
    issued = draw(DAYS)
    received_us = day_start_us(issued, zone) + draw(st.integers(0, 40 * DAY_US))
    until = draw(
        st.none() | st.integers(0, 2000).map(lambda days: local_day(received_us, zone) + timedelta(days))
    )
    return Order(
        id="o",
        matter="m",
        type=draw(st.sampled_from(OrderType)),
        authority="a",
        legal_basis="b",
        reference="r",
        issued=Moment(issued.isoformat(), day_start_us(issued, zone)),
        received=Moment(iso_text(received_us, zone), received_us),
        zone=zone_name,
        temporal=draw(st.sampled_from(Temporal)),
        notify=draw(st.sampled_from(Notify)),
        until=None if until is None else Moment(until.isoformat(), day_end_us(until, zone)),
    )


@given(orders())
def test_act_by_the_earlier_and_keep_until_the_later(order: Order) -> None:
    reading = hold_end(order)
    instants = [r.at_us for r in reading.readings]
    if order.rule.kind is Kind.DEADLINE_ONLY:
        assert reading.keep_until_us is None
        return
    assert reading.open_ended is (reading.keep_until_us is None)
    assert reading.act_by_us == min(instants, default=None)
    if reading.keep_until_us is not None and reading.act_by_us is not None:
        assert reading.act_by_us <= reading.keep_until_us
        assert reading.keep_until_us in instants
        assert order.until is None or reading.keep_until_us >= order.until.at_us


@given(orders(), st.integers(-400, 4000), st.integers(0, DAY_US))
def test_what_is_said_agrees_with_itself(order: Order, days: int, rest_us: int) -> None:
    now_us = order.starts_us + days * DAY_US + rest_us
    said, left, found = next_step(order, now_us), days_left(order, now_us), phase(order, now_us)
    assert said
    assert "\n" not in said
    match found:
        case Phase.LAPSED:
            assert left is not None
            assert left < 0
            assert "stays held until counsel decides" in said
        case Phase.IN_FORCE:
            assert left is None or left >= 0
            assert said.startswith("in force")
        case Phase.NOT_YET:
            assert now_us < order.starts_us
            assert said.startswith("not yet in force")
        case Phase.DEADLINE_ONLY:
            assert left is None
            assert "internal hold" in said


@given(orders(), st.integers(0, 500 * DAY_US))
def test_an_order_received_later_never_ends_earlier(order: Order, later_us: int) -> None:
    received_us = order.received.at_us + later_us
    later = Order(
        **{name: getattr(order, name) for name in Order.__slots__ if name != "received"},
        received=Moment(iso_text(received_us, order.tz()), received_us),
    )
    first, second = hold_end(order), hold_end(later)
    for one, two in ((first.keep_until_us, second.keep_until_us), (first.act_by_us, second.act_by_us)):
        assert one is None or (two is not None and two >= one)


@given(DAYS, st.integers(0, 40), PERIODS, RULES)
def test_periods_are_monotone(day: date, later: int, period: Period, rule: object) -> None:
    one = last_days(day, period, rule)  # type: ignore[arg-type]
    two = last_days(day + timedelta(later), period, rule)  # type: ignore[arg-type]
    longer = last_days(day, Period(period.count + 1, period.unit), rule)  # type: ignore[arg-type]
    assert min(one.values()) <= min(two.values())
    assert max(one.values()) <= max(two.values())
    assert max(one.values()) <= max(longer.values())
    assert_sorted(one)


def assert_sorted(readings: Mapping[str, date]) -> None:
    assert list(readings.values()) == sorted(set(readings.values()))


@given(DAYS, st.integers(1, 100))
def test_years_end_on_the_same_date_or_on_the_months_last_day(day: date, years: int) -> None:
    (last, *_) = last_days(day, Period(years, Unit.YEARS), EU_1182_71).values()
    if (last.month, last.day) != (day.month, day.day):
        assert (day.month, day.day) == (2, 29)
        assert (last.month, last.day) == (2, 28)
    assert last.year == day.year + years


@given(OLD_DAYS, ZONES)
def test_a_day_ends_where_the_next_begins(day: date, zone_name: str) -> None:
    zone = load_zone(zone_name)
    start, end = day_start_us(day, zone), day_end_us(day, zone)
    assert start <= end
    assert local_day(start, zone) >= day
    assert local_day(start - 1, zone) < day
    assert local_day(end, zone) > day
    assert local_day(end - 1, zone) <= day
    assert day_start_us(day + timedelta(1), zone) <= end


@given(st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)), ZONES)
def test_local_times_are_found_again(wall: datetime, zone_name: str) -> None:
    zone = load_zone(zone_name)
    instants = local_instants(wall, zone)
    assert all(local(us, zone).replace(tzinfo=None) == wall for us in instants)
    if zone_name == "UTC":
        assert len(instants) == 1


@given(st.integers(-(2**52), 2**52), ZONES)
def test_every_instant_is_one_of_its_local_times(time_us: int, zone_name: str) -> None:
    zone = load_zone(zone_name)
    assert time_us in local_instants(local(time_us, zone).replace(tzinfo=None, fold=0), zone)


@given(orders())
def test_sealed_orders_come_back(order: Order) -> None:
    assert order_from_json(parse_json_strict(canonical_json(order_to_json(order)))) == order


def test_a_year_in_brussels_has_one_change_each_way() -> None:
    brussels = ZoneInfo("Europe/Brussels")
    days = [date(2026, 1, 1) + timedelta(n) for n in range(365)]
    lengths = [day_end_us(day, brussels) - day_start_us(day, brussels) for day in days]
    assert sorted(set(lengths)) == [23 * DAY_US // 24, DAY_US, 25 * DAY_US // 24]
    assert sum(lengths) == 365 * DAY_US
