"""Fields and attachments, well-formed and not: no message fails the scan, and pieces make no difference."""

import base64
import json
import time
from collections.abc import Iterator
from email.message import EmailMessage, Message
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import ItemChanged
from scelle.formats.canonical_json import canonical_json
from scelle.sources.mail import mime
from scelle.sources.mail.messages import describe, looks_like_mail, opaque_type

FIXTURES = Path(__file__).parents[3] / "fixtures" / "mail"


def pieces(data: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def described(data: bytes) -> dict[str, Any]:
    whole = describe(pieces(data))
    for size in (1, 7, 64):
        assert describe(pieces(data, size)) == whole, f"pieces of {size} bytes make a difference"
    value = json.loads(canonical_json(whole))
    assert isinstance(value, dict)
    return value


def fixture(name: str) -> dict[str, Any]:
    return described((FIXTURES / name).read_bytes())


def names(meta: dict[str, Any]) -> list[Any]:
    return [each["name"] for each in meta["attachments"]]


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


# --- headers


def test_headers_are_raw_and_in_order() -> None:
    meta = described(b"Subject:  one\nX-Long: a\n\tb\r\nSubject: =?utf-8?q?two?=\nEmpty:\n\nbody: no\n")
    assert meta["headers"] == [
        ["Subject", "one"],
        ["X-Long", "a\n\tb"],
        ["Subject", "=?utf-8?q?two?="],
        ["Empty", ""],
    ]
    assert "defects" not in meta
    assert "parse_error" not in meta


def test_headers_that_are_not_utf_8_are_base64() -> None:
    headers = dict(map(tuple, fixture("eight-bit-headers.eml")["headers"]))
    assert headers["Subject"] == {"b64": base64.b64encode("réunion à midi".encode("latin-1")).decode()}
    assert headers["X-Utf8"] == "café"


def test_mail_without_headers() -> None:
    meta = fixture("no-headers.eml")
    assert meta["headers"] == []
    assert meta["defects"] == ["no-headers"]


def test_an_empty_mail() -> None:
    assert fixture("empty.eml") == {"attachments": [], "defects": ["no-headers"], "headers": []}


@pytest.mark.parametrize(
    "name", ["header-line-that-is-none.eml", "headers-without-end.eml", "nul-in-header-name.eml"]
)
def test_headers_that_do_not_end_with_a_blank_line(name: str) -> None:
    meta = fixture(name)
    assert meta["headers"]
    assert meta["defects"] == ["headers-not-ended"]


def test_nul_bytes_are_kept() -> None:
    assert ["X-Nul", "a\0b"] in fixture("nul-bytes.eml")["headers"]


def test_absurd_headers_are_cut_and_said_so() -> None:
    many = b"".join(b"X-%d: y\n" % number for number in range(5_000)) + b"\nbody"
    meta = described(many)
    assert len(meta["headers"]) == 2_000
    assert meta["defects"] == ["headers-cut"]
    long = b"Subject: " + b"x" * 100_000 + b"\nTo: bo@example.org\n\nbody"
    meta = describe(pieces(long))
    assert [len(value) for _, value in meta["headers"]] == [65_536, 14]
    assert meta["defects"] == ["headers-cut"]
    endless = b"Subject: one\nX: " + b"x" * (1 << 20)
    meta = describe(pieces(endless))
    assert meta["headers"] == [["Subject", "one"]]
    assert "headers-cut" in meta["defects"]
    assert len(canonical_json(meta)) < 1 << 20


def test_a_from_line_before_the_headers_is_no_header() -> None:
    meta = described(b"From ada Tue Jan  6 12:00:00 2026\nSubject: one\n\nbody")
    assert meta["headers"] == [["Subject", "one"]]


# --- attachments


def test_attachments_are_listed_with_name_type_size_and_digest() -> None:
    message = EmailMessage()
    message["Subject"] = "with attachments"
    message.set_content("see there")
    message.add_attachment(b"%PDF-1.4 \0\xff" * 999, "application", "pdf", filename="résumé à lire.pdf")
    message.add_attachment("text, attached\n", filename="notes.txt")
    message.add_attachment(b"\x89PNG", "image", "png", disposition="inline", filename="x.png", cid="<1>")
    meta = described(message.as_bytes())
    assert meta["attachments"] == [
        {"disposition": "attachment", "media_type": "application/pdf", "name": "résumé à lire.pdf",
         "part": "2", "sha256": digest(b"%PDF-1.4 \0\xff" * 999), "size": 999 * 11},
        {"disposition": "attachment", "media_type": "text/plain", "name": "notes.txt", "part": "3",
         "sha256": digest(b"text, attached\n"), "size": 15},
        {"disposition": "inline", "media_type": "image/png", "name": "x.png", "part": "4",
         "sha256": digest(b"\x89PNG"), "size": 4},
    ]  # fmt: skip
    assert described(message.as_bytes().replace(b"\n", b"\r\n"))["attachments"][0] == meta["attachments"][0]


def test_plain_text_is_no_attachment() -> None:
    message = EmailMessage()
    message.set_content("text")
    message.add_alternative("<p>text", subtype="html")
    assert described(message.as_bytes())["attachments"] == []


def test_a_mail_that_is_one_attachment() -> None:
    meta = described(b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\nQUJD\n")
    assert meta["attachments"] == [
        {"media_type": "application/pdf", "name": None, "part": "1", "sha256": digest(b"ABC"), "size": 3}
    ]


def test_an_enclosed_message_is_listed_and_looked_into() -> None:
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("hello")
    inner.add_attachment(b"ABC", "application", "pdf", filename="inner.pdf")
    outer = EmailMessage()
    outer.set_content("forwarded")
    outer.add_attachment(inner)
    outer.add_attachment(b"after", "application", "pdf", filename="outer.pdf")
    raw = outer.as_bytes()
    start = raw.index(b"Subject: inner")
    boundary = outer.get_boundary()
    assert boundary is not None
    enclosed = raw[start : raw.index(b"\n--" + boundary.encode(), start)]
    found = {each["part"]: each for each in described(raw)["attachments"]}
    assert set(found) == {"2", "2.2", "3"}
    assert found["2"]["media_type"] == "message/rfc822"
    assert (found["2"]["size"], found["2"]["sha256"]) == (len(enclosed), digest(enclosed))
    assert found["2.2"]["sha256"] == digest(b"ABC")


def test_a_digest_holds_messages() -> None:
    meta = described(
        b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: one\n\n1\n"
        b"--b\nContent-Type: text/plain\n\n2\n--b--\n"
    )
    (one,) = meta["attachments"]
    assert (one["media_type"], one["sha256"]) == ("message/rfc822", digest(b"Subject: one\n\n1"))


def test_nested_fifty_deep() -> None:
    meta = fixture("nested-fifty-deep.eml")
    (heart,) = meta["attachments"]
    assert heart["sha256"] == digest(b"innermost")
    assert heart["part"] == ".".join(["1"] * 50)
    assert "defects" not in meta


def test_nested_deeper_than_anybody_looks() -> None:
    meta = fixture("messages-in-messages-eighty-deep.eml")
    assert len(meta["attachments"]) == mime.MAX_DEPTH + 1
    assert meta["defects"] == ["nested-too-deep"]


def test_a_boundary_used_twice_belongs_to_the_inner_part() -> None:
    meta = fixture("boundary-used-twice.eml")
    assert [(each["name"], each["sha256"]) for each in meta["attachments"]] == [
        ("inner.pdf", digest(b"inner")),
        ("outer.pdf", digest(b"outer")),
    ]


def test_an_outer_boundary_ends_inner_parts() -> None:
    meta = described(
        b"Content-Type: multipart/mixed; boundary=out\n\n--out\n"
        b"Content-Type: multipart/mixed; boundary=in\n\n--in\nContent-Type: application/pdf; name=a\n\n1\n"
        b"--out\nContent-Type: application/pdf; name=b\n\n2\n--out--\n--in\n"
    )
    assert [(each["name"], each["part"], each["size"]) for each in meta["attachments"]] == [
        ("a", "1.1", 1),
        ("b", "2", 1),
    ]


def test_a_boundary_at_once_after_the_headers() -> None:
    meta = described(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/pdf\n--b--\n"
    )
    assert [each["size"] for each in meta["attachments"]] == [0]
    meta = described(
        b"Content-Type: multipart/mixed; boundary=b\n--b\n\n\n--b\nContent-Type: image/gif\n\n\n--b--"
    )
    assert [each["size"] for each in meta["attachments"]] == [0]


def test_lines_that_look_like_a_boundary_are_content() -> None:
    body = b"--\n--bx\n--b x\n-- b\n --b\n--B\nx--b\n---b"
    meta = described(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/pdf\n\n"
        + body
        + b"\n--b--\t \n"
    )
    assert meta["attachments"][0]["sha256"] == digest(body)


@pytest.mark.parametrize(
    ("name", "defect", "size"),
    [
        ("boundary-not-closed.eml", "boundary-not-closed", 8),
        ("base64-cut.eml", "base64-cut", 5),
        ("encoding-unknown.eml", "encoding-unknown", 7),
    ],
)
def test_a_defect_is_named_and_the_attachment_listed(name: str, defect: str, size: int) -> None:
    meta = fixture(name)
    assert meta["defects"] == [defect]
    assert [each["size"] for each in meta["attachments"]] == [size]


def test_a_multipart_without_boundary() -> None:
    meta = fixture("boundary-missing.eml")
    assert (meta["attachments"], meta["defects"]) == ([], ["multipart-without-boundary"])


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (b'name="a b.bin"', "a b.bin"),
        (b"name=a.bin", "a.bin"),
        (b'name="=?utf-8?b?w6k=?="', "é"),
        (b'name="=?no-such-charset?q?x?="', "=?no-such-charset?q?x?="),
        (b"name*=utf-8''%C3%A9.bin", "é.bin"),
        (b"name*=iso-8859-1''%E9.bin", "é.bin"),
        (b"name*=utf-8''%E9", {"b64": "6Q=="}),
        (b"name*0=one; name*1=two", "onetwo"),
        (b"name*0*=utf-8''%C3; name*1*=%A9", "é"),
        ('name="é"'.encode(), "é"),
        ('name="é"'.encode("latin-1"), {"b64": "6Q=="}),
        (b'name="a\r\n b"', "a b"),
        (b"charset=x", None),
        (b"name=", None),
    ],
)
def test_file_names(parameters: bytes, name: object) -> None:
    meta = described(b"Content-Type: application/octet-stream; " + parameters + b"\n\nx")
    assert names(meta) == [name]


def test_a_name_of_a_disposition_comes_first() -> None:
    meta = described(b"Content-Type: image/gif; name=b\nContent-Disposition: attachment; filename=a\n\nx")
    assert names(meta) == ["a"]
    assert meta["attachments"][0]["disposition"] == "attachment"


@pytest.mark.parametrize(
    "kind", [b"", b"text", b"text/", b"/plain", b"a/b/c", b"\xff/\xfe", b"text/pl\0ain", b"x" * 9_000]
)
def test_content_types_that_are_none(kind: bytes) -> None:
    meta = described(b"Content-Type: " + kind + b"\nContent-Disposition: attachment\n\nx")
    (each,) = meta["attachments"]
    assert each["media_type"] in ("text/plain", "application/octet-stream")


def test_a_parser_that_raises_fails_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RecursionError

    monkeypatch.setattr(Message, "get_param", broken)
    meta = described(b"Subject: s\nContent-Type: image/gif; name=x\n\nx")
    assert meta["parse_error"] == "RecursionError"
    assert meta["headers"][0] == ["Subject", "s"]


def test_malformed_parameters_fail_no_message() -> None:
    assert len(fixture("parameters-malformed.eml")["attachments"]) == 1


def test_too_many_parts_are_given_up_and_said_so() -> None:
    data = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: image/gif\n\nx\n" * 11_000
    meta = describe(pieces(data))
    assert meta["parse_error"] == "too-many-parts"
    assert len(meta["attachments"]) == mime.MAX_LISTED
    assert meta["attachments_not_listed"] == mime.MAX_PARTS - 1 - mime.MAX_LISTED


def test_what_was_being_listed_when_the_scan_gave_up_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mime, "MAX_LOOKALIKES", 10)
    data = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/gif\n\nwhole\n"
        b"--b\nContent-Type: image/gif\n\n" + b"\n--c" * 20 + b"\n--b--\n"
    )
    meta = describe(pieces(data))
    assert meta["parse_error"] == "too-many-lookalikes"
    assert [each["size"] for each in meta["attachments"]] == [5]


def test_a_scan_reads_to_the_end_even_when_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller checks, after the last piece, that nobody wrote meanwhile."""
    monkeypatch.setattr(mime, "MAX_PARTS", 2)

    def changing() -> Iterator[bytes]:
        yield b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\n\n--b\n\n"
        yield b"more"
        raise ItemChanged("changed")

    with pytest.raises(ItemChanged):
        describe(changing())


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"\n--" * 300_000,
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--" * 1_000_000,
        b"Content-Type: " + b'a;"' * 100_000 + b"\n\nx",
        b"Content-Disposition: " + b"filename*0=a;" * 100_000 + b"\n\nx",
        b"Subject: " + b"=?" * 100_000 + b"\n\n",
        b"A:\n" * 100_000,
        b"A: b\n " * 100_000,
        b" \n" * 1_000_000,
        b"Content-Transfer-Encoding: quoted-printable\nContent-Type: image/gif\n\n" + b"=" * 2_000_000,
        b"Content-Type: message/rfc822\n\n" * 100_000,
        b"Date: " + b"(" * 1_000_000 + b"\n\n",
        b"(" * 4_000_000,
    ],
    ids=range(12),
)
def test_no_message_takes_long(data: bytes) -> None:
    """Quadratic time would be minutes here; ten seconds leave room for a slow machine."""
    begun = time.process_time()
    describe(pieces(data))
    assert time.process_time() - begun < 10


LINES = st.sampled_from(
    [b"--b", b"--b--", b"--c", b"--c--", b"", b"x", b"From a", b"Content-Type: multipart/mixed; boundary=b",
     b"Content-Type: multipart/digest; boundary=c", b"Content-Type: message/rfc822",
     b"Content-Type: image/gif; name=a",
     b"Content-Transfer-Encoding: base64", b"QUJD", b" folded", b"Subject: s"]
)  # fmt: skip


@given(st.lists(LINES | st.binary(max_size=12), max_size=30), st.sampled_from([b"\n", b"\r\n"]))
def test_anything_can_be_described(lines: list[bytes], newline: bytes) -> None:
    meta = described(newline.join(lines))
    assert "parse_error" not in meta
    for each in meta["attachments"]:
        assert set(each) >= {"media_type", "name", "part", "sha256", "size"}


# --- what is mail


@pytest.mark.parametrize(
    ("head", "is_named_so", "expected"),
    [
        (b"From: ada@example.org\n\n", False, True),
        (b"X-Odd: 1\nsubject: s\n\n", False, True),
        (b"From ada Tue Jan  6 12:00:00 2026\nTo: bo\n", False, True),
        (b"Note: x\n\n", False, False),
        (b"Note: x\n\n", True, True),
        (b"", False, False),
        (b"", True, True),
        (b"\nFrom: ada@example.org\n\n", False, False),
        (b"\x89PNG\r\n\x1a\n", True, False),
        (b"\x1f\x8b\x08\0", True, False),
        (b"%PDF-1.4", True, False),
    ],
)
def test_what_is_taken_for_mail(head: bytes, is_named_so: bool, expected: bool) -> None:
    assert looks_like_mail(head, is_named_so) is expected


def test_what_is_no_mail_is_not_called_mail_because_of_its_name() -> None:
    assert opaque_type(b"a.eml", b"\x1f\x8b\x08\0") == "application/gzip"
    assert opaque_type(b"a.eml", b"text") == "text/plain"
    assert opaque_type(b"a.mbox", b"\x01\0") == "application/octet-stream"
    assert opaque_type(b"a.csv", b"a,b") == "text/csv"
