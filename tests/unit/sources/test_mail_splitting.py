"""Where an mbox parts, and where it only looks so."""

from pathlib import Path

import pytest

from scelle.sources.mail.splitting import Part, split

FIXTURES = Path(__file__).parents[3] / "fixtures" / "mail"
LINE = b"From ada@example.org Tue Jan  6 09:00:00 2026\n"
HEADERS = b"From: ada@example.org\nSubject: one\n"


def parts_of(data: bytes) -> list[Part]:
    def read(offset: int, count: int) -> bytes:
        assert count > 0
        assert offset + count <= len(data)
        return data[offset : offset + count]

    whole = list(split(read, len(data)))
    for window_bytes in (1, 7, 100):
        assert list(split(read, len(data), window_bytes)) == whole
    at = 0
    for part in whole:  # without a gap
        assert at == part.start <= part.content <= part.content_end <= part.end
        at = part.end
    assert at == len(data)
    return whole


def contents(data: bytes) -> list[bytes]:
    return [data[part.content : part.content_end] for part in parts_of(data)]


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def test_messages_without_their_separators() -> None:
    data = LINE + HEADERS + b"\nfirst\n\n" + LINE + HEADERS + b"\nsecond\n\n"
    assert contents(data) == [HEADERS + b"\nfirst\n", HEADERS + b"\nsecond\n"]
    assert [part.number for part in parts_of(data)] == [1, 2]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("from-in-body.mbox", 2),
        ("from-with-date-in-body-quoted.mbox", 2),
        ("no-blank-lines.mbox", 2),
        ("cut-in-the-middle.mbox", 2),
        ("from-line-alone.mbox", 2),
        ("crlf.mbox", 2),
        ("thunderbird-bare-from.mbox", 2),
        ("content-length-honest.mbox", 2),
        ("content-length-lies.mbox", 3),
        ("same-message-twice.mbox", 2),
        ("no-date-anywhere.mbox", 1),
        ("empty.mbox", 0),
    ],
)
def test_how_many_messages(name: str, count: int) -> None:
    assert [part.number for part in parts_of(fixture(name))] == list(range(1, count + 1))


@pytest.mark.parametrize("name", ["preamble.mbox", "first-from-line-lost.mbox"])
def test_what_stands_before_the_first_from_line_is_a_part(name: str) -> None:
    data = fixture(name)
    first, second = parts_of(data)
    assert (first.number, second.number) == (0, 1)
    assert data[second.start :].startswith(b"From ada@example.org Tue")


def test_a_file_that_is_no_mbox_is_one_part_before_any_from_line() -> None:
    data = fixture("no-mail.mbox")
    assert parts_of(data) == [Part(0, 0, len(data), len(data), 0)]


@pytest.mark.parametrize(
    "line",
    [
        b"From here on, nothing parts.",
        b"From ada@example.org",
        b"From",
        b"From:",
        b">" + LINE.strip(),
        b" " + LINE.strip(),
        b"from ada@example.org Tue Jan  6 09:00:00 2026",
        b"From Tuesday Jan 6 to 2026",
        b"From " + b"x" * 1_000 + b" Tue Jan  6 09:00:00 2026",
    ],
)
@pytest.mark.parametrize("before", [b"\n", b"\n\n", b"\n\r\n"])
def test_lines_in_a_body_that_part_nothing(line: bytes, before: bytes) -> None:
    data = LINE + HEADERS + b"\nbody" + before + line + b"\nmore: of the body\n\n"
    assert len(parts_of(data)) == 1


def test_a_dated_line_in_a_paragraph_parts_nothing_unless_a_field_follows() -> None:
    assert len(parts_of(LINE + HEADERS + b"\nbody\n" + LINE + b"more of the body\n\n")) == 1
    assert len(parts_of(LINE + HEADERS + b"\nbody\n" + LINE + b"Subject: two\n\n")) == 2


def test_a_line_without_date_parts_only_before_a_field_that_mail_has() -> None:
    assert len(parts_of(LINE + HEADERS + b"\nbody\n\nFrom -\nX-Mozilla-Status: 0001\n\n2\n")) == 2
    assert len(parts_of(LINE + HEADERS + b"\nbody\n\nFrom -\nremember: milk\n\n2\n")) == 1
    assert len(parts_of(LINE + HEADERS + b"\nbody\nFrom -\nSubject: two\n\n2\n")) == 1


@pytest.mark.parametrize(
    ("data", "after"),
    [
        (LINE + HEADERS + b"\nbody\n\n", b"\n"),
        (LINE + HEADERS + b"\nbody\n", b""),
        (LINE + HEADERS + b"\nbody", b""),
        (LINE + HEADERS + b"\nbody\r\n\r\n", b"\r\n"),
        (LINE + HEADERS + b"\nbody\n\r\n", b"\r\n"),
        (LINE + HEADERS + b"\nbody\n\n\n", b"\n"),
        (LINE + b"\n", b"\n"),
        (LINE + b"\r\n", b"\r\n"),
        (LINE, b""),
        (LINE.strip(), b""),
        (LINE + b"\n\n", b"\n"),
    ],
)
def test_the_blank_line_after_a_message_is_not_its_own(data: bytes, after: bytes) -> None:
    (part,) = parts_of(data)
    assert data[part.content_end :] == after


def with_length(body: bytes, length: object) -> bytes:
    return LINE + HEADERS + b"content-LENGTH:\t%b \n\n" % str(length).encode() + body


INNER = b"one\n\n" + LINE + HEADERS + b"\nquoted by nobody\n"


@pytest.mark.parametrize("gap", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("following", [b"", LINE + HEADERS + b"\n2\n"])
def test_an_honest_content_length_is_honoured(gap: bytes, following: bytes) -> None:
    data = with_length(INNER, len(INNER)) + gap + following
    first = parts_of(data)[0]
    assert first.length_honoured
    assert data[first.content : first.content_end].endswith(INNER)
    assert data[first.content_end : first.end] == gap
    assert len(parts_of(data)) == 1 + bool(following)


@pytest.mark.parametrize(
    "length",
    [0, 3, len(INNER) - 1, len(INNER) + 3, 10**14, "-5", "", "x", "9" * 40, "1 2"],
)
def test_a_content_length_that_leads_elsewhere_is_not(length: object) -> None:
    data = with_length(INNER, length) + b"\n" + LINE + HEADERS + b"\n2\n"
    parts = parts_of(data)
    assert len(parts) == 3
    assert not any(part.length_honoured for part in parts)


def test_a_body_without_a_newline_at_its_end_and_a_content_length() -> None:
    data = with_length(b"no newline", 10) + b"\n" + LINE + HEADERS + b"\n2\n"
    first, second = parts_of(data)
    assert first.length_honoured
    assert data[first.content_end : first.end] == b"\n"
    assert second.number == 2


def test_a_content_length_of_a_part_or_of_a_body_counts_for_nothing() -> None:
    data = LINE + HEADERS + b"\nContent-Length: 9\n\nbody\n\n" + LINE + HEADERS + b"\n2\n"
    assert not any(part.length_honoured for part in parts_of(data))


def test_long_headers_before_a_content_length() -> None:
    headers = b"X: " + b"x" * 20_000 + b"\nContent-Length: %d\n\n" % len(INNER)
    first, *_ = parts_of(LINE + headers + INNER + b"\n" + LINE + HEADERS + b"\n2\n")
    assert first.length_honoured


def test_memory_is_one_window() -> None:
    """A file of a terabyte without a newline is looked at window by window."""
    asked: list[int] = []

    def read(offset: int, count: int) -> bytes:
        asked.append(count)
        return b"x" * count

    assert len(list(split(read, 64 << 20))) == 1
    assert max(asked) <= 1 << 20
    assert sum(asked) <= (64 << 20) + 1_000 * len(asked)
