"""The time of a message: which header counts, and what is passed over."""

from calendar import timegm
from datetime import datetime
from email.utils import mktime_tz, parsedate_tz

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.sources.mail.dates import from_line_time, header_date, message_time

NOON = timegm((2026, 1, 6, 12, 0, 0))
FILE_NS = 1_234_567_891


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b" Tue, 6 Jan 2026 12:00:00 +0000", NOON),
        (b" 6 Jan 2026 12:00:00 +0000", NOON),
        (b"Tue, 06 Jan 2026 13:00:00 +0100", NOON),
        (b" Tue, 6 Jan 2026 06:30:00 -0530 (with a comment)", NOON),
        (b" Tue, 6 Jan 2026 12:00 GMT", NOON),
        (b" Tue, 6 Jan 2026 07:00:00 EST", NOON),
        (b" Tue, 6 Jan 2026 12:00:00", NOON),
        (b" Tue, 6 Jan 2026 12:00:00 -0000", NOON),
        (b" tue, 6 jan 2026 12:00:00 +0000", NOON),
        (b" Tue Jan  6 12:00:00 2026", NOON),
        (b" Tue, 6 Jan 26 12:00:00 +0000", NOON),
        (b" Thu, 1 Jan 1970 00:00:00 +0000", 0),
        (b" Wed, 31 Dec 1969 23:59:58 +0000", -2),
        (b" Sat, 31 Dec 2016 23:59:60 +0000", timegm((2017, 1, 1, 0, 0, 0))),
        (b" Mon, 1 Jan 9999 00:00:00 +0000", timegm((9999, 1, 1, 0, 0, 0))),
        (b" Thu, 29 Feb 2024 00:00:00 +0000", timegm((2024, 2, 29, 0, 0, 0))),
    ],
)
def test_header_dates(value: bytes, seconds: int) -> None:
    assert header_date(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b" yesterday",
        b" Tue, 35 Jan 2026 12:00:00 +0000",
        b" Thu, 29 Feb 2025 00:00:00 +0000",
        b" Tue, 31 Apr 2026 12:00:00 GMT",
        b" Tue, 6 Jan 2026 25:00:00 +0000",
        b" Tue, 6 Jan 2026 12:61:00 GMT",
        b" Tue, 6 Foo 2026 12:00:00 +0000",
        b" Tue, 6 Jan 99999 12:00:00 +0000",
        b" Tue, 0 Jan 2026 12:00:00 +0000",
        b"\xff\xfe\0",
        b"9" * 5_000,
        b" Tue, 6 Jan " + b"2" * 5_000,
        b"," * 299,
        b"(" * 299,
    ],
)
def test_what_is_no_date(value: bytes) -> None:
    assert header_date(value) is None


@given(st.binary(max_size=60) | st.text(alphabet="0123456789:,+-() JanTueGMT", max_size=60).map(str.encode))
def test_no_value_breaks_it(value: bytes) -> None:
    found = header_date(value)
    assert found is None or abs(found) < 2**53


@given(
    st.datetimes(),
    st.integers(-99, 99),
    st.integers(0, 59),
)
def test_the_quick_way_and_the_standard_library_agree(when: datetime, hours: int, minutes: int) -> None:
    if when.year < 1000:  # the library takes years of two and three digits for others
        when = when.replace(year=when.year + 1000)
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    text = (
        f" {when.day} {months[when.month - 1]} {when.year} {when:%H:%M:%S} {'-' if hours < 0 else '+'}"
        f"{abs(hours):02d}{minutes:02d}"
    )
    parsed = parsedate_tz(text)
    assert parsed is not None
    assert header_date(text.encode()) == mktime_tz(parsed)


@pytest.mark.parametrize(
    "line",
    [
        b"From ada@example.org Tue Jan  6 12:00:00 2026",
        b"From ada@example.org Tue Jan 06 12:00:00 2026\r",
        b"From ada@example.org  Tue Jan  6 12:00 2026",
        b"From - Tue Jan  6 12:00:00 2026",
        b"From ada at example.org Tue, Jan 6 12:00:00 2026",
        b"From ada Tue Jan  6 12:00:00 GMT 2026",
        b"From ada Tue Jan  6 13:00:00 +0100 2026",
        b"From ada Tue Jan  6 12:00:00 2026 +0000",
        b"From 1577@xxx Tue Jan 06 11:00:00 -0100 2026",
        b"From ada Tue Jan  6 12:00:00 2026 remote from uucp",
        b"From ada@example.org Tue, 6 Jan 2026 12:00:00 +0000",
        b"From ada@example.org 6 Jan 2026 13:00:00 +0100 (CET)",
    ],
)
def test_from_lines(line: bytes) -> None:
    assert from_line_time(line) == NOON


@pytest.mark.parametrize(
    "line",
    [
        b"From here on",
        b"From ",
        b"From -",
        b"From ada@example.org",
        b"From what I saw on Tue Jan  6 12:00:00 2026, it rained",
        b"From ada Tue Jan 35 12:00:00 2026",
        b"From ada Tue Jan  6 25:00:00 2026",
        b"From ada 2026-01-06T12:00:00Z",
        b"From Tuesday Jan 6 to 2026",
    ],
)
def test_from_lines_without_a_date(line: bytes) -> None:
    assert from_line_time(line) is None


FROM_LINE = b"From ada@example.org Tue Jan  6 12:00:00 2026\n"
DATE = b"Date: Tue, 6 Jan 2026 12:00:00 +0000\n"
LATER = b"Received: from a by b with ESMTP id 1;\n\tTue, 6 Jan 2026 12:00:05 +0000 (UTC)\n"
EARLIER = b"Received: from c by a; Tue, 6 Jan 2026 11:59:00 +0000\n"


@pytest.mark.parametrize(
    ("head", "from_line", "seconds", "basis"),
    [
        (LATER + DATE + b"\nbody", FROM_LINE, NOON, "header-date"),
        (b"dAtE:\n Tue, 6 Jan 2026 12:00:00 +0000\n\n", b"", NOON, "header-date"),
        (b"Date : Tue, 6 Jan 2026 12:00:00 +0000\n\n", b"", NOON, "header-date"),
        (DATE.replace(b"\n", b"\r\n") + b"\r\n", b"", NOON, "header-date"),
        (b"Date: none\n" + DATE + b"\n", b"", NOON, "header-date"),
        (EARLIER + LATER + b"\n", FROM_LINE, NOON + 5, "header-received"),
        (LATER + EARLIER + b"Date: nonsense\n\n", FROM_LINE, NOON + 5, "header-received"),
        (b"Received: no date at all\n\n", FROM_LINE, NOON, "from-line"),
        (b"Received: x; nonsense\nSubject: s\n\n", b"", 1_234_567, "file-mtime"),
        (b"Subject: s\n\n" + DATE, b"", 1_234_567, "file-mtime"),
        (b"Subject: s\r\n\r\n" + DATE, FROM_LINE, NOON, "from-line"),
        (b"\n" + DATE, b"", 1_234_567, "file-mtime"),
        (b"\r\n" + DATE, b"", 1_234_567, "file-mtime"),
        (b"", b"From -\n", 1_234_567, "file-mtime"),
        (b"Dates: Tue, 6 Jan 2026 12:00:00 +0000\nX-Date: Tue, 6 Jan 2026 12:00:00 +0000\n", b"", 1_234_567,
         "file-mtime"),
        (b"garbage\n" + DATE + b"\n", b"", NOON, "header-date"),
    ],
)  # fmt: skip
def test_the_time_of_a_message(head: bytes, from_line: bytes, seconds: int, basis: str) -> None:
    found = message_time(head, from_line, FILE_NS)
    expected = 1_234_567 if basis == "file-mtime" else seconds * 1_000_000
    assert (found.time_us, found.basis) == (expected, basis)
