"""Receipts and the certificates of their keys have one spelling, and nothing else is one."""

import pytest

from scelle.errors import FormatError
from scelle.formats.notes import ED25519, ML_DSA_44, make_vkey
from scelle.formats.receipts import Receipt, ReceiptKey, parse_receipt, parse_receipt_key

RECEIPT = Receipt("web", "00000001-20261128T203156419704Z.jsonl", 0, 1, "ab" * 32, -5, 2**62)
TEXT = (
    b"scelle/receipt/v1\nsurface web\nfile 00000001-20261128T203156419704Z.jsonl\nbyte 0\nseq 1\n"
    b"sha256 " + b"ab" * 32 + b"\nreceived -5\ndeadline 4611686018427387904\n"
)
KEY = ReceiptKey(
    "platform.example/po/o-1",
    bytes(32),
    "s0001",
    "web",
    make_vkey("platform.example/recorder/web", ED25519, bytes(32)),
    7,
)


def test_a_receipt_and_a_certificate_read_back_as_they_were_written() -> None:
    assert RECEIPT.text() == TEXT
    assert parse_receipt(TEXT) == RECEIPT
    assert parse_receipt_key(KEY.text()) == KEY


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"seq 1", b"seq 01"),
        (b"seq 1", b"seq -1"),
        (b"byte 0\n", b""),
        (b"byte 0\nseq 1", b"seq 1\nbyte 0"),
        (b"receipt/v1", b"receipt/v2"),
        (b"surface web", b"surface "),
        (b"surface web", b"surface a b"),
        (b"file 0", b"file ../0"),
        (b"abab", b"ABab"),
        (b"abab", b"ab"),
        (b"deadline 4611686018427387904\n", b"deadline 4611686018427387904"),
        (b"web", "wéb".encode()),
        (b"web", b"web\r"),
    ],
)
def test_what_is_spelt_otherwise_is_no_receipt(old: bytes, new: bytes) -> None:
    with pytest.raises(FormatError):
        parse_receipt(TEXT.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/po/o-1", b"/o-1"),
        (b"source s0001", b"source S"),
        (b"key platform", b"key other"),
        (b"from 7", b"from 07"),
        (KEY.key.text().encode(), make_vkey("k", ML_DSA_44, bytes(1312)).text().encode()),
    ],
)
def test_what_is_spelt_otherwise_is_no_certificate(old: bytes, new: bytes) -> None:
    assert old in KEY.text()
    with pytest.raises(FormatError):
        parse_receipt_key(KEY.text().replace(old, new, 1))


def test_what_would_not_read_back_is_not_written() -> None:
    for wrong in (
        Receipt("a b", "f", 0, 1, "ab" * 32, 0, 0),
        Receipt("web", "f", -1, 1, "ab" * 32, 0, 0),
        Receipt("web", "f\nseq 9", 0, 1, "ab" * 32, 0, 0),
    ):
        with pytest.raises(FormatError):
            wrong.text()
