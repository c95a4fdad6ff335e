import math
from typing import Any

import pytest

from scelle.errors import FormatError
from scelle.formats import values
from scelle.formats.values import Content, decode_value, decode_values, encode_value


@pytest.mark.parametrize(
    ("letter", "value", "payload"),
    [
        ("n", None, ""),
        ("b", True, "01"),
        ("b", False, "00"),
        ("i", -1, "ff" * 8),
        ("t", values.UNDATED, "8000000000000000"),
        ("d", -0.0, "8000000000000000"),
        ("d", math.inf, "7ff0000000000000"),
        ("d", math.nan, "7ff8000000000000"),
        ("d", -math.nan, "7ff8000000000000"),
        ("D", "-0", "2d30"),
        ("D", "1.50E+07", "312e3530452b3037"),
        ("D", "007", "303037"),
        ("s", "a\0é", "6100c3a9"),
        ("x", b"\xff\x00", "ff00"),
        ("j", b'{"a":0.1}', "7b2261223a302e317d"),
        ("h", Content(bytes(32), 5), "00" * 32 + "0000000000000005"),
    ],
)
def test_value_is_written_and_read(letter: str, value: Any, payload: str) -> None:
    raw = bytes.fromhex(payload)
    encoded = encode_value(letter, value)
    assert encoded == letter.encode() + len(raw).to_bytes(4, "big") + raw
    found, read, end = decode_value(b"??" + encoded + b"!", 2)
    assert (found, end) == (letter, 2 + len(encoded))
    assert encode_value(found, read) == encoded


@pytest.mark.parametrize(
    ("letter", "value"),
    [
        ("n", ""),
        ("n", False),
        ("b", 1),
        ("b", None),
        ("i", True),
        ("i", 2**63),
        ("i", -(2**63) - 1),
        ("i", 1.0),
        ("t", 2**63),
        ("t", "0"),
        ("t", False),
        ("d", 1),
        ("D", 1),
        ("D", ""),
        ("D", "1."),
        ("D", ".5"),
        ("D", "+1"),
        ("D", "1e"),
        ("D", "NaN"),
        ("D", "0x1"),
        ("D", "1\n"),
        ("D", "١"),
        ("s", b"a"),
        ("s", "\ud800"),
        ("x", "a"),
        ("j", b"[1.0]"),
        ("j", "[]"),
        ("j", b""),
        ("h", bytes(32)),
        ("h", Content(bytes(31), 0)),
        ("h", Content(bytes(33), 0)),
        ("h", Content(bytes(32), -1)),
        ("h", Content(bytes(32), 2**63)),
        ("q", None),
        ("", None),
        ("ss", "a"),
    ],
)
def test_value_of_another_type_is_refused(letter: str, value: Any) -> None:
    with pytest.raises(FormatError):
        encode_value(letter, value)


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "6e",
        "6e000000",
        "6e0000000100",
        "620000000102",
        "6200000000",
        "62000000020001",
        "69000000070000000000000000"[:-2],
        "6900000009000000000000000000",
        "7400000004" + "00" * 4,
        "64000000087ff8000000000001",
        "6400000008fff8000000000000",
        "64000000087ff0000000000001",
        "6400000004" + "00" * 4,
        "440000000131"[:-2] + "61",
        "4400000000",
        "440000000231e9"[:-2] + "ff",
        "7300000001ff",
        "7300000003eda080",
        "7300000002c080",
        "6a000000055b312e305d",
        "6a00000000",
        "68000000270000" + "00" * 37,
        "6800000028" + "00" * 32 + "80" + "00" * 7,
        "7a00000000",
        "0000000000",
        "7300000005616263",
        "73ffffffff",
    ],
)
def test_bytes_that_are_no_canonical_value_are_refused(encoded: str) -> None:
    with pytest.raises(FormatError):
        decode_value(bytes.fromhex(encoded))


def test_values_follow_one_another() -> None:
    joined = values.NULL + values.text_value("a") + values.boolean_value(True)
    assert decode_values(joined) == [("n", None), ("s", "a"), ("b", True)]
    assert decode_values(b"") == []
    with pytest.raises(FormatError, match="cut short"):
        decode_values(joined[:-1])


@pytest.mark.parametrize("constructor", [values.time_value, values.integer_value])
@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_fast_constructors_check_the_range(constructor: Any, number: int) -> None:
    with pytest.raises(FormatError, match="over 64 bits"):
        constructor(number)


def test_fast_constructors_agree_with_encode_value() -> None:
    assert encode_value("n", None) == values.NULL
    assert values.text_value("é") == encode_value("s", "é")
    assert values.bytes_value(b"\xff") == encode_value("x", b"\xff")
    assert values.structure_value(b"{}") == encode_value("j", b"{}")
    assert values.time_value(-5) == encode_value("t", -5)
    assert values.integer_value(-5) == encode_value("i", -5)
    assert values.double_value(1.5) == encode_value("d", 1.5)
    assert values.number_text_value("1.5") == encode_value("D", "1.5")
    assert values.content_value(bytes(32), 7) == encode_value("h", Content(bytes(32), 7))
