"""What is due for an order, and the calendar file, read back by a parser that knows nothing of its writer."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from scelle.orders import Moment, Order, OrderType
from scelle.orders.deadlines import Deadline, Due, deadlines_of
from scelle.orders.ics import calendar
from scelle.orders.lifecycle import Mark

from .lives import DAY_US, END_US, X, at, extended, life, make, mark, moment

NOW_US = at("2026-01-10T12:00:00")


def due(
    order: Order, now_us: int = NOW_US, *acts: tuple[int, str, dict[str, object]]
) -> list[tuple[Due, str]]:
    """Return what is due, and the last day on which it can be done, in UTC."""
    found = deadlines_of(life(order, *acts), now_us)
    assert found == sorted(found, key=lambda each: each.at_us)
    return [(each.due, f"{datetime.fromtimestamp(each.at_us / 1e6 - 1, UTC):%Y-%m-%d}") for each in found]


def test_both_readings_of_the_end_and_until_when_to_ask_for_the_extension() -> None:
    epoc = make(
        OrderType.EPOC_PR, received="2026-01-06", issued="2026-01-06", zone="UTC"
    )  # 60 days: 7 March, a Saturday
    assert due(epoc) == [
        (Due.END, "2026-03-07"),
        (Due.EXTENSION, "2026-03-07"),
        (Due.END, "2026-03-09"),
        (Due.REVIEW, "2026-04-05"),
    ]
    found = [each for each in deadlines_of(life(epoc), NOW_US) if each.due is Due.END]
    assert [each.what for each in found] == [
        "ends by this reading: act before then",
        "ends by the later reading: keep until then",
    ]
    assert "moved to a working day" in found[1].label
    assert len({each.key for each in found}) == 2


def test_one_reading_is_one_end() -> None:
    found = deadlines_of(life(X), at("2025-02-01T00:00:00"))
    assert [each.what for each in found if each.due is Due.END] == ["ends: keep until then"]


def test_a_lapsed_order_waits_for_a_decision_alone() -> None:
    assert [each for each, _ in due(X, END_US)] == [Due.REVIEW, Due.DECIDE]
    decided = due(X, END_US + DAY_US, (END_US, "replaced", {"by": "hold-1"}))
    assert [each for each, _ in decided] == [Due.REVIEW]
    assert (Due.END, "2026-12-31") in due(X, NOW_US, extended(END_US + DAY_US, "2026-12-31"))


def test_what_is_late_is_only_what_the_log_would_tell() -> None:
    order = replace(X, acknowledge_by=moment("2025-01-20", X.zone, ends=True))
    found = {each.due: each.to_json(END_US + 15 * DAY_US) for each in deadlines_of(life(order), END_US)}
    assert found[Due.DECIDE]["is_late"]
    assert found[Due.REVIEW]["is_late"]
    assert found[Due.ACKNOWLEDGE]["is_past"]
    assert not found[Due.ACKNOWLEDGE]["is_late"]


def test_of_a_released_order_only_until_when_that_can_be_undone_is_due() -> None:
    released_us = at("2026-01-05T12:00:00")
    acts: list[tuple[int, str, dict[str, object]]] = [
        (released_us - DAY_US, "lifted", {}),
        (released_us, "released", {"request": "r1", "ground": "lifted"}),
    ]
    assert due(X, NOW_US, *acts) == [(Due.UNDO, "2026-02-04")]
    (found,) = deadlines_of(life(X, *acts), NOW_US, undo_within_us=DAY_US)
    assert found.at_us == released_us + DAY_US
    assert (found.to_json(NOW_US)["is_past"], found.is_late(NOW_US)) == (True, False)
    undone = due(X, NOW_US, *acts, (released_us + DAY_US, "release.undone", {"request": None}))
    assert [each for each, _ in undone] == [Due.REVIEW]
    assert due(X, NOW_US, *acts, (released_us + DAY_US, "disposed", {})) == []


def test_answers_are_no_ends() -> None:
    epoc = make(OrderType.EPOC, zone="UTC")
    assert [each for each, _ in due(epoc)][:1] == [Due.ANSWER]
    assert Due.END not in dict(due(epoc))
    asked = make(OrderType.DSA_RFI_DECISION, until="2026-02-15", acknowledge_by="2026-01-12", zone="UTC")
    assert due(asked) == [(Due.ACKNOWLEDGE, "2026-01-12"), (Due.ANSWER, "2026-02-15")]


def test_secrecy_is_due_until_it_ends() -> None:
    order = replace(X, secrecy_until=Moment("2026-06-30", at("2026-06-30T22:00:00")))
    assert (Due.SECRECY, "2026-06-30") in due(order)
    assert Due.SECRECY not in dict(due(order, at("2026-07-01T00:00:00")))


@pytest.mark.parametrize(
    ("now", "asked"), [("2026-02-01T12:00:00", "2026-02-28"), ("2026-03-10T00:00:00", "2026-03-31")]
)
def test_an_order_without_an_end_is_asked_about_every_month(now: str, asked: str) -> None:
    epoc = make(OrderType.EPOC_PR, zone="UTC")
    found = due(epoc, at(now), mark(at("2026-01-31T10:00:00"), Mark.PRODUCTION_ANNOUNCED))
    assert found[0] == (Due.ASK, asked)
    assert Due.END not in dict(found)
    assert Due.ASK not in dict(due(epoc, at(now)))


def test_of_a_lifted_order_only_its_review_is_due() -> None:
    assert [each for each, _ in due(X, NOW_US, (NOW_US, "lifted", {}))] == [Due.REVIEW]


# --- the calendar -----------------------------------------------------------------------------------------


def parsed(data: bytes) -> list[dict[str, str]]:
    """Read the events of an iCalendar file by RFC 5545 §3.1 and §3.6: unfold, split, unescape, nest."""
    assert data.endswith(b"\r\n")
    assert b"\n" not in data.replace(b"\r\n", b"")
    raw = data.split(b"\r\n")
    assert all(len(line) <= 75 for line in raw)
    assert all(line.decode() is not None for line in raw)  # no character is cut in two
    lines = [line.decode() for line in data.replace(b"\r\n ", b"").split(b"\r\n")[:-1]]
    events: list[dict[str, str]] = []
    nest: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon
        if name == "BEGIN":
            nest.append(value)
            if value == "VEVENT":
                events.append({})
        elif name == "END":
            assert nest.pop() == value
        elif nest[-1] == "VEVENT":
            assert name not in events[-1]
            events[-1][name] = unescaped(value)
    assert nest == []
    assert lines[0] == "BEGIN:VCALENDAR"
    return events


def unescaped(value: str) -> str:
    out, characters = "", iter(value)
    for character in characters:
        assert character not in ";,"
        if character == "\\":
            character = next(characters)
            assert character in "\\;,nN"
            character = "\n" if character in "nN" else character
        out += character
    return out


def entry(what: str, order: str = "ec-1", at_us: int = END_US) -> Deadline:
    return Deadline(order, Due.END, at_us, what, "order's own date", "the order EC-2025-0117, CPP 60-2")


def test_the_calendar_is_read_back() -> None:
    what = "a; b, c\\d\nsécrètement " + "é" * 80 + "🙂" * 30
    found = parsed(calendar([entry(what), entry("x", "ec-2")], "platform.example", NOW_US))
    assert [each["SUMMARY"] for each in found] == [f"ec-1: {what}", "ec-2: x"]
    assert found[0]["DTSTART"] == "20251231T225900Z"  # the last minute of the last day
    assert found[0]["DTSTAMP"] == "20260110T120000Z"
    assert found[0]["DURATION"] == "PT1M"
    assert len({each["UID"] for each in found}) == 2


def test_an_entry_keeps_its_uid_while_its_instant_moves() -> None:
    one, two = (parsed(calendar([entry("x", at_us=us)], "h", NOW_US)) for us in (END_US, END_US + DAY_US))
    assert one[0]["UID"] == two[0]["UID"]
    assert one[0]["DTSTART"] != two[0]["DTSTART"]


def test_a_calendar_says_nothing_of_an_order_but_its_id() -> None:
    secret = replace(
        make(OrderType.FR_60_2, until="2026-12-31", zone="Europe/Paris"),
        authority="Parquet de Paris",
        legal_basis="CPP 60-2",
        reference="PP-7",
        matter="affaire-9",
    )
    text = (
        calendar(deadlines_of(life(secret), NOW_US), "platform.example", NOW_US).decode().replace("\r\n ", "")
    )
    for word in ("Parquet", "PP-7", "affaire", "60-2", "fr-", "Code de", "Paris"):
        assert word not in text
    assert "o-1: " in text
