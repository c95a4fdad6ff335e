"""What an order's clock says, type by type, and that it never says that something may go."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from scelle.orders import (
    TYPES,
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
    phase,
)
from scelle.orders.days import aware_instant, day_end_us, day_start_us, load_zone, shown_end


def moment(text: str, zone: str, *, ends: bool = False) -> Moment:
    if len(text) == 10:
        day = date.fromisoformat(text)
        return Moment(text, (day_end_us if ends else day_start_us)(day, load_zone(zone)))
    return Moment(text, aware_instant(datetime.fromisoformat(text)))


def at(text: str) -> int:
    return aware_instant(datetime.fromisoformat(text).replace(tzinfo=UTC))


def make(
    type: OrderType,
    *,
    issued: str = "2026-01-08",
    received: str = "2026-01-08",
    until: str | None = None,
    effective: str | None = None,
    acknowledge_by: str | None = None,
    zone: str = "Europe/Brussels",
) -> Order:
    return Order(
        id="o-1",
        matter="m",
        type=type,
        authority="a",
        legal_basis="b",
        reference="r-1",
        issued=moment(issued, zone),
        received=moment(received, zone),
        zone=zone,
        temporal=Temporal.BOTH,
        notify=Notify.PERMITTED,
        effective=None if effective is None else moment(effective, zone),
        until=None if until is None else moment(until, zone, ends=True),
        acknowledge_by=None if acknowledge_by is None else moment(acknowledge_by, zone, ends=True),
    )


def last_days(order: Order) -> tuple[str | None, str | None]:
    """Return the days on which an order is kept until and acted on by, as people read them."""
    reading = hold_end(order)
    keep, act = reading.keep_until_us, reading.act_by_us
    return (
        None if keep is None else shown_end(keep, order.tz()),
        None if act is None else shown_end(act, order.tz()),
    )


@pytest.mark.parametrize(
    ("order", "keep_until", "act_by"),
    [
        (make(OrderType.DSA_RETENTION, until="2026-12-31"), "2026-12-31 24:00", "2026-12-31 24:00"),
        (make(OrderType.DSA_RETENTION, until="2026-10-25"), "2026-10-25 24:00", "2026-10-25 24:00"),
        (
            make(OrderType.DSA_RETENTION, until="2026-11-01T12:00:00+01:00"),
            "2026-11-01 12:00",
            "2026-11-01 12:00",
        ),
        (make(OrderType.DSA_RETENTION), None, None),
        # 60 days from 2 September end on Sunday 1 November, a holiday; Monday is worked
        (
            make(OrderType.EPOC_PR, issued="2026-09-01", received="2026-09-02"),
            "2026-11-02 24:00",
            "2026-11-01 24:00",
        ),
        (
            make(OrderType.EPOC_PR, issued="2026-09-03", received="2026-09-04"),
            "2026-11-03 24:00",
            "2026-11-03 24:00",
        ),
        (make(OrderType.EPOC, received="2026-01-08"), None, "2026-01-18 24:00"),
        (
            make(OrderType.EPOC, received="2026-01-08", until="2026-01-15"),
            "2026-01-15 24:00",
            "2026-01-15 24:00",
        ),
        (make(OrderType.BUDAPEST_DOMESTIC, received="2026-01-10"), "2026-04-10 24:00", "2026-04-07 24:00"),
        (make(OrderType.BUDAPEST_DOMESTIC, until="2026-02-01"), "2026-02-01 24:00", "2026-02-01 24:00"),
        (make(OrderType.BUDAPEST_DOMESTIC, until="2026-06-01"), "2026-06-01 24:00", "2026-04-07 24:00"),
        (make(OrderType.BUDAPEST_MLA), "2026-03-09 24:00", "2026-03-08 24:00"),
        (make(OrderType.BUDAPEST_MLA, until="2026-09-30"), "2026-09-30 24:00", "2026-09-30 24:00"),
        (make(OrderType.BUDAPEST_MLA, until="2026-02-01"), "2026-03-09 24:00", "2026-02-01 24:00"),
        (make(OrderType.US_2703F, received="2026-01-09"), "2026-04-09 24:00", "2026-04-07 24:00"),
        (make(OrderType.US_2258A_H, issued="2026-02-28"), "2027-02-28 24:00", "2027-02-27 24:00"),
        (make(OrderType.US_CIVIL_HOLD), None, None),
        (make(OrderType.FR_60_2), "2027-01-08 24:00", "2027-01-08 24:00"),
        (
            make(OrderType.FR_60_2, issued="2026-01-09", received="2026-01-09"),
            "2027-01-11 24:00",
            "2027-01-09 24:00",
        ),
        (make(OrderType.FR_60_2, until="2026-06-30"), "2026-06-30 24:00", "2026-06-30 24:00"),
        (make(OrderType.FR_L34_1), None, None),
        (
            make(OrderType.UK_DPN, issued="2026-03-15", received="2026-03-20", zone="Europe/London"),
            "2027-03-14 24:00",
            "2027-03-14 24:00",
        ),
        (make(OrderType.UK_CSEA_RETENTION, issued="2028-02-29"), "2029-02-28 24:00", "2029-02-28 24:00"),
        (make(OrderType.UK_CSEA_RETENTION, issued="2026-05-01"), "2027-05-01 24:00", "2027-04-30 24:00"),
        (
            make(OrderType.EU_TCO_ART6, effective="2026-08-31", received="2026-09-02"),
            "2027-03-01 24:00",
            "2027-02-28 24:00",
        ),
        (make(OrderType.EU_TCO_ART6, received="2026-06-02"), "2026-12-02 24:00", "2026-12-02 24:00"),
        (make(OrderType.IE_2011_7A), "2026-04-08 24:00", "2026-04-07 24:00"),
        (make(OrderType.INTERNAL), None, None),
        (make(OrderType.INTERNAL, until="2027-06-30"), "2027-06-30 24:00", "2027-06-30 24:00"),
        (make(OrderType.DSA_RFI_DECISION, until="2026-02-15"), None, "2026-02-15 24:00"),
        (
            make(OrderType.DSA_RFI_DECISION, until="2026-02-15", acknowledge_by="2026-01-20"),
            None,
            "2026-01-20 24:00",
        ),
    ],
)
def test_the_clock_of_each_type(order: Order, keep_until: str | None, act_by: str | None) -> None:
    assert last_days(order) == (keep_until, act_by)
    reading = hold_end(order)
    assert reading.open_ended is (order.rule.kind is Kind.HOLD and keep_until is None)


@pytest.mark.parametrize("type", [t for t, rule in TYPES.items() if rule.kind is Kind.DEADLINE_ONLY])
def test_a_deadline_holds_nothing_and_says_so(type: OrderType) -> None:
    order = make(type, until="2026-02-15")
    reading = hold_end(order)
    assert (reading.keep_until_us, reading.open_ended) == (None, False)
    assert phase(order, at("2030-01-01")) is Phase.DEADLINE_ONLY
    assert days_left(order, at("2026-01-09")) is None
    said = "no hold follows from this type: keep under an internal hold beside it"
    assert next_step(order, at("2026-01-09")) == f"{said}; answer before 2026-02-15 24:00 Europe/Brussels"
    assert next_step(order, at("2026-03-09")) == f"{said}; was due 2026-02-15 24:00 Europe/Brussels"
    assert next_step(replace(order, until=None), at("2026-03-09")) == said


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (
            make(OrderType.EPOC_PR, received="2026-09-04", until="2026-10-31"),
            "is earlier than the law's, 2026-11-03",
        ),
        (
            make(OrderType.EPOC_PR, received="2026-09-04", until="2026-12-31"),
            "later than the law's, 2026-11-03",
        ),
        (make(OrderType.BUDAPEST_DOMESTIC, until="2026-06-01"), "is later than the law's, 2026-04-08 24:00"),
        (make(OrderType.BUDAPEST_MLA, until="2026-02-01"), "is earlier than the law's, 2026-03-08 24:00"),
        (make(OrderType.FR_60_2, until="2027-06-30"), "is later than the law's"),
        (make(OrderType.FR_60_2), "missing, though a fr-60-2 order sets its own end; the longest"),
        (make(OrderType.DSA_RETENTION), "missing, though a dsa-retention order sets its own end; it has"),
    ],
)
def test_an_end_that_is_not_the_laws_is_warned_of(order: Order, said: str) -> None:
    reading = hold_end(order)
    assert len(reading.warnings) == 1
    assert said in reading.warnings[0]
    assert reading.warnings[0].endswith("ask counsel")


@pytest.mark.parametrize(
    "order",
    [
        make(OrderType.EPOC_PR, issued="2026-09-01", received="2026-09-02", until="2026-11-01"),
        make(OrderType.EPOC_PR, issued="2026-09-01", received="2026-09-02", until="2026-11-02"),
        make(OrderType.EPOC_PR, received="2026-09-02"),
        make(OrderType.DSA_RETENTION, until="2026-12-31"),
        make(OrderType.BUDAPEST_DOMESTIC, until="2026-04-08"),
        make(OrderType.INTERNAL),
        make(OrderType.US_CIVIL_HOLD, until="2029-12-31"),
    ],
)
def test_an_end_within_the_laws_readings_is_not_warned_of(order: Order) -> None:
    assert hold_end(order).warnings == ()


def test_both_readings_are_shown_with_their_ground() -> None:
    reading = hold_end(
        make(OrderType.EPOC_PR, issued="2026-09-01", received="2026-09-02", until="2026-11-10")
    )
    assert [r.label for r in reading.readings] == [
        "order's own date",
        "60 days from receipt, first day not counted",
        "60 days from receipt, first day not counted, moved to a working day (EU institutions)",
    ]
    assert [r.basis for r in reading.readings] == [
        "the order r-1",
        *2 * ["Regulation (EU) 2023/1543, Article 11 [V]; Regulation (EEC, Euratom) 1182/71, Article 3 [S]"],
    ]


X = make(OrderType.DSA_RETENTION, received="2026-01-08T15:00:00+01:00", until="2026-12-31")


@pytest.mark.parametrize(
    ("now", "expected", "left", "said"),
    [
        (
            "2026-01-05",
            Phase.NOT_YET,
            360,
            "not yet in force: starts 2026-01-08 15:00 Europe/Brussels",
        ),
        (
            "2026-11-22T10:00:00",
            Phase.IN_FORCE,
            39,
            "in force: 39 days left; ends 2026-12-31 24:00 Europe/Brussels; "
            "ask for the extension before then",
        ),
        ("2026-12-30T12:00:00", Phase.IN_FORCE, 1, "in force: 1 day left; ends 2026-12-31 24:00"),
        ("2026-12-31T22:59:59.999999", Phase.IN_FORCE, 0, "in force: last day; ends 2026-12-31 24:00"),
        (
            "2026-12-31T23:00:00",
            Phase.LAPSED,
            -1,
            "lapsed since 2026-12-31 24:00 Europe/Brussels: content stays held until counsel decides",
        ),
        ("2036-12-31", Phase.LAPSED, -3653, "lapsed since 2026-12-31 24:00 Europe/Brussels: content"),
    ],
)
def test_what_the_clock_says_next(now: str, expected: Phase, left: int, said: str) -> None:
    assert phase(X, at(now)) is expected
    assert days_left(X, at(now)) == left
    assert next_step(X, at(now)).startswith(said)


def test_days_left_are_days_of_the_authoritys_zone() -> None:
    assert days_left(X, at("2026-12-30T22:59:00")) == 1
    assert days_left(X, at("2026-12-30T23:01:00")) == 0
    noon = make(OrderType.DSA_RETENTION, until="2026-11-01T12:00:00+01:00")
    assert days_left(noon, at("2026-11-01T10:00:00")) == 0
    assert days_left(noon, at("2026-11-01T12:00:00")) == -1


def test_between_two_readings() -> None:
    order = make(OrderType.EPOC_PR, issued="2026-09-01", received="2026-09-02")
    assert next_step(order, at("2026-10-30")) == (
        "in force: 3 days left; ends 2026-11-02 24:00 Europe/Brussels; "
        "ask for the extension before 2026-11-01 24:00 Europe/Brussels"
    )
    assert next_step(order, at("2026-11-02")) == (
        "in force: last day; ends 2026-11-02 24:00 Europe/Brussels; "
        "on the earlier reading it ended 2026-11-01 24:00 Europe/Brussels: have it extended now"
    )


def test_no_extension_is_asked_for_where_there_is_none() -> None:
    order = make(OrderType.UK_CSEA_RETENTION, issued="2028-02-29")
    assert next_step(order, at("2028-03-01")).endswith("; decide what replaces it before then")


def test_holds_without_an_end_say_what_ends_them() -> None:
    civil = make(OrderType.US_CIVIL_HOLD)
    assert days_left(civil, at("2030-01-01")) is None
    assert phase(civil, at("2099-01-01")) is Phase.IN_FORCE
    said = "in force without an end of its own; ends with: written release by counsel"
    assert next_step(civil, at("2030-01-01")) == said
    epoc = make(OrderType.EPOC)
    assert next_step(epoc, at("2026-01-10")).endswith("; answer before 2026-01-18 24:00 Europe/Brussels")
    assert next_step(epoc, at("2026-02-10")).endswith("; the answer was due 2026-01-18 24:00 Europe/Brussels")


def test_the_acknowledgement_is_named_until_it_is_due() -> None:
    order = replace(X, acknowledge_by=moment("2026-01-20", "Europe/Brussels", ends=True))
    said = "; acknowledge before 2026-01-20 24:00 Europe/Brussels"
    assert next_step(order, at("2026-01-06")).endswith(said)
    assert next_step(order, at("2026-01-19")).endswith(said)
    assert said not in next_step(order, at("2026-01-21"))


def test_an_order_binds_from_effective_else_from_receipt() -> None:
    assert make(OrderType.INTERNAL, received="2026-01-08T15:00:00+01:00").starts_us == at(
        "2026-01-08T14:00:00"
    )
    later = make(OrderType.INTERNAL, effective="2026-02-01")
    assert phase(later, at("2026-01-31T22:59:59")) is Phase.NOT_YET
    assert phase(later, at("2026-01-31T23:00:00")) is Phase.IN_FORCE


def test_days_of_the_event_are_those_of_the_orders_zone() -> None:
    late = "2026-09-03T23:30:00-04:00"  # already 4 September in Brussels
    order = make(OrderType.EPOC_PR)
    brussels = replace(order, received=Moment("2026-09-04T05:30:00+02:00", at("2026-09-04T03:30:00")))
    there = replace(order, zone="America/New_York", received=Moment(late, at("2026-09-04T03:30:00")))
    assert last_days(brussels)[0] == "2026-11-03 24:00"
    assert last_days(there)[1] == "2026-11-02 24:00"


@pytest.mark.parametrize("type", OrderType)
def test_no_clock_ever_says_that_something_may_go(type: OrderType) -> None:
    order = make(type, until="2026-06-30")
    for days in range(0, 4000, 97):
        said = next_step(order, order.starts_us + days * 86_400_000_000).lower()
        assert (
            not any(word in said for word in ("delete", "release", "may go", "destroy")) or "counsel" in said
        )
        assert "\n" not in said
