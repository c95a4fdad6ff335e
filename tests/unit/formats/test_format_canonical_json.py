import json
import struct
from typing import Any

import pytest

from scelle.errors import FormatError
from scelle.formats.canonical_json import (
    canonical_json,
    canonical_json_int,
    es6_number,
    is_canonical_json,
    parse_json_strict,
    structure_bytes,
)

# The numbers of RFC 8785, appendix B: the bits of the double, and how it is written.
RFC_8785_NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), RFC_8785_NUMBERS)
def test_double_is_written_as_rfc_8785_does(bits: str, text: str) -> None:
    assert es6_number(struct.unpack(">d", bytes.fromhex(bits))[0]) == text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_double_that_is_not_finite_is_refused(number: float) -> None:
    with pytest.raises(FormatError, match="not finite"):
        canonical_json(number)


def test_document_of_rfc_8785() -> None:
    source = r"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(json.loads(source)).decode() == expected


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    keys = ["€", "\r", "\ufb33", "1", "😀", "\x80", "ö"]
    ordered = ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]
    assert list(json.loads(canonical_json(dict.fromkeys(keys, 0)))) == ordered


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53, b"9007199254740992"),
        (-(2**53), b"-9007199254740992"),
        (2**60, b"1152921504606847000"),
        (10**21, b"1e+21"),
        (1.0, b"1"),
        (-0.0, b"0"),
        ((), b"[]"),
        ({}, b"{}"),
        ("\x7f\x1f", b'"\x7f\\u001f"'),
    ],
)
def test_value_is_written(value: object, text: bytes) -> None:
    assert canonical_json(value) == text


@pytest.mark.parametrize(
    "value",
    [
        2**53 + 1,
        10**400,
        {1: 2},
        {None: 1},
        {True: 1},
        {"é", "b"},
        b"bytes",
        "\ud800",
        {"\udfff": 1},
        {"a": [object()]},
    ],
)
def test_value_without_a_form_is_refused(value: object) -> None:
    with pytest.raises(FormatError):
        canonical_json(value)


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_depth_has_a_limit() -> None:
    assert canonical_json(_nested(128)) == b"[" * 128 + b"]" * 128
    with pytest.raises(FormatError, match="too deep"):
        canonical_json(_nested(129))
    assert canonical_json_int(_nested(8)) == b"[" * 8 + b"]" * 8
    with pytest.raises(FormatError, match="too deep"):
        canonical_json_int(_nested(9))


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, 2**53 + 1])
def test_package_integer_has_64_bits(number: int) -> None:
    assert canonical_json_int([number]) == f"[{number}]".encode()
    assert parse_json_strict(f"[{number}]".encode()) == [number]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1.0, 0.5, float("nan")])
def test_package_document_takes_no_other_number(value: object) -> None:
    with pytest.raises(FormatError):
        canonical_json_int(value)


@pytest.mark.parametrize("data", [b'{"a":1,"b":[null,true,"\xc3\xa9"]}', b'"a"', b"0", b"[]", b"null", b"-1"])
def test_strict_reader_accepts_canonical_bytes(data: bytes) -> None:
    assert canonical_json_int(parse_json_strict(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" {}",
        b"{} ",
        b"{}\n",
        b'{"a": 1}',
        b'{"b":1,"a":1}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b"[1.0]",
        b"[1e2]",
        b"[0e0]",
        b"[-0]",
        b"[01]",
        b"[+1]",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[9223372036854775808]",
        b"[-9223372036854775809]",
        b"[" + b"9" * 5000 + b"]",
        b'"\\u0061"',
        b'"\\/"',
        b'"\\u00E9"',
        b'"\\ud800"',
        b'"\xe9"',
        b'"\x01"',
        b"\xef\xbb\xbf{}",
        b"[1,]",
        b"{'a':1}",
        b"[1",
        b"true false",
        b"[" * 9 + b"]" * 9,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 9 + b"1" + b"}" * 9,
    ],
    ids=lambda data: ascii(data[:24]),
)
def test_strict_reader_refuses(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_json_strict(data)


@pytest.mark.parametrize(
    ("source", "canonical"),
    [
        (b' { "b" : null , "a" : [ 1.0, 2 ] } ', b'{"a":[1,2],"b":null}'),
        (b'"\\u00e9"', b'"\xc3\xa9"'),
        (b"[0.5, 1e3, -2.25]", b"[0.5,1000,-2.25]"),
        (b"[1e21]", b"[1e+21]"),
        (b"[9007199254740992, -9007199254740994]", b"[9007199254740992,-9007199254740994]"),
        (b"[0, 0.0, 0e5]", b"[0,0,0]"),
        (b'"\\ud83d\\ude00"', b'"\xf0\x9f\x98\x80"'),
        (b"[" * 128 + b"]" * 128, b"[" * 128 + b"]" * 128),
    ],
    ids=lambda data: ascii(data[:24]),
)
def test_structure_where_nothing_is_lost(source: bytes, canonical: bytes) -> None:
    assert structure_bytes(source) == canonical
    assert structure_bytes(canonical) == canonical
    assert is_canonical_json(canonical)


@pytest.mark.parametrize(
    "source",
    [
        b'{"a":1,"a":1}',
        b"[0.1]",
        b"[9007199254740993]",
        b"[1152921504606846976]",
        b"[1152921504606847000]",
        b"[8.67361737988403547205962240695953369140625e-19]",
        b"[1e400]",
        b"[1e-400]",
        b"[1e99999999999999999999]",
        b"[1e-99999999999999999999]",
        b"[-0]",
        b"[-0.0]",
        b"[-0e1]",
        b"[NaN]",
        b'["\\ud800"]',
        b'{"\\ud800":1}',
        b'["\xff"]',
        b"[1",
        b"",
        b"[" * 129 + b"]" * 129,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" + b"9" * 5000 + b"]",
    ],
    ids=lambda data: ascii(data[:28]),
)
def test_structure_where_something_is_lost(source: bytes) -> None:
    assert structure_bytes(source) is None


@pytest.mark.parametrize("data", [b"[0.1]", b"[1e+21]", b'{"a":-5e-324}', b"[9007199254740993]"[:0] + b"[1]"])
def test_canonical_doubles_are_recognised(data: bytes) -> None:
    assert is_canonical_json(data)


@pytest.mark.parametrize(
    "data",
    [b"[1.0]", b"[1e21]", b"[-0]", b"[ 1]", b"[9007199254740993]", b'{"a":1,"a":1}', b"\xff", b"[NaN]", b"["],
)
def test_other_spellings_are_not_canonical(data: bytes) -> None:
    assert not is_canonical_json(data)
