from dataclasses import replace
from typing import Any

import pytest

from scelle.errors import FormatError
from scelle.formats.promises import Promise, parse_promise

PROMISE = Promise(
    "platform.example/po/o1", bytes(32), "s0001/1", bytes(range(16)), (5, 9), b"\1" * 32, -5, 2_000
)
TEXT = PROMISE.text()


def test_promise_reads_back() -> None:
    assert parse_promise(TEXT) == PROMISE
    assert TEXT.decode() == (
        f"scelle/promise/v1\norigin platform.example/po/o1\ngenesis {'A' * 43}=\nsource s0001/1\n"
        f"batch 000102030405060708090a0b0c0d0e0f\nseq 5 9\n"
        f"batch-root {'AQEB' * 10}AQE=\nreceived -5\ndeadline 2000\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/v1\n", b"/v2\n"),
        (b"origin platform", b"origin Platform"),
        (b"origin ", b"origin  "),
        (b"genesis AAAA", b"genesis "),
        (b"genesis AAAA", b"genesis AAA="),
        (b"source s0001/1", b"source -"),
        (b"source s0001/1", b"source S1"),
        (b"batch 00", b"batch "),
        (b"batch 00", b"batch 0000"),
        (b"0a0b", b"0A0B"),
        (b"seq 5 9", b"seq 5 5"),
        (b"seq 5 9", b"seq 9 5"),
        (b"seq 5 9", b"seq 5 1048582"),
        (b"seq 5 9", b"seq 5"),
        (b"seq 5 9", b"seq 5  9"),
        (b"seq 5 9", b"seq 5 9 9"),
        (b"seq 5 9", b"seq -5 9"),
        (b"received -5", b"received -05"),
        (b"received -5", b"received -"),
        (b"deadline 2000\n", b"deadline 2000"),
        (b"deadline 2000\n", b"deadline 2000\n\n"),
        (b"deadline 2000\n", b"deadline 2000\nmore 1\n"),
        (b"deadline 2000\n", b""),
        (b"received -5\ndeadline 2000", b"deadline 2000\nreceived -5"),
        (b"\n", b"\r\n"),
        (b"o1", "ö1".encode()),
    ],
)
def test_promise_with_a_fault_is_refused(old: bytes, new: bytes) -> None:
    assert old in TEXT
    with pytest.raises(FormatError):
        parse_promise(TEXT.replace(old, new))


def test_seq_holds_one_to_2_to_the_20_records() -> None:
    for seq in ((0, 1), (7, 7 + 2**20)):
        promise = replace(PROMISE, seq=seq)
        assert parse_promise(promise.text()) == promise


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "o1"},
        {"genesis": bytes(31)},
        {"source": "a b"},
        {"source": "a\nbatch 00"},
        {"batch": bytes(15)},
        {"seq": (0, 0)},
        {"seq": (0, 2**20 + 1)},
        {"seq": (-1, 1)},
        {"batch_root": bytes(33)},
        {"received": 2**63},
        {"deadline": -(2**63)},
    ],
    ids=str,
)
def test_promise_without_a_form_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        replace(PROMISE, **changes).text()
