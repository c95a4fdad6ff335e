"""The encodings of the single file: one meaning, one byte string."""

import json
import math
import random
import struct

import pytest
from tests.unit.verify.builder import CHAT, DOCUMENT, canonical, path_of, range_proof, root_of, sha, value

from scelle.verify import scelle_verify as v


@pytest.mark.parametrize("text", ["0", "1", "42", "9223372036854775807"])
def test_decimals(text: str) -> None:
    assert v.parse_decimal(text, "n") == int(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "007",
        "+1",
        "-0",
        "-1",
        "1_0",
        "1 ",
        " 1",
        "1\n",
        "\u0661",
        "\u00b2",
        "1e3",
        "0x1",
        "9223372036854775808",
        "9" * 5000,
    ],
)
def test_what_is_no_decimal(text: str) -> None:
    with pytest.raises(v.Fault, match=r"format\.number"):
        v.parse_decimal(text, "n")


@pytest.mark.parametrize("text", ["-0", "--1", "-", "- 1", "-9223372036854775808", "+1"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(v.Fault, match=r"format\.number"):
        v.parse_time(text, "t")
    assert v.parse_time("-9223372036854775807", "t") == v.MIN_TIME


@pytest.mark.parametrize("text", ["AB", "0g", " 0", "0", "000", "0\n", 5, None, "\u0660\u0660"])
def test_what_is_no_hex(text: object) -> None:
    with pytest.raises(v.Fault):
        v.parse_hex(text, 1, "h")


@pytest.mark.parametrize(
    "text", ["AB==", "AA", "AA=", "AA==\n", " AA==", "A A==", "AA==AA==", "_-==", "====", 5, None, "é"]
)
def test_what_is_no_base64(text: object) -> None:
    with pytest.raises(v.Fault, match=r"format\.base64"):
        v.parse_base64(text, None, "b")


def test_base64_has_a_width() -> None:
    assert v.parse_base64("AA==", 1, "b") == b"\0"
    with pytest.raises(v.Fault, match=r"format\.width"):
        v.parse_base64("AA==", 2, "b")


# -- JSON -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", '{"a":1,"b":[null,true,"x"]}', '"\u20ac"', '"\\u0000\\n\\"\\\\/"', "-9223372036854775808"],
)
def test_json_in_its_only_form(text: str) -> None:
    assert v.parse_json(text.encode()) == json.loads(text)


def test_keys_are_sorted_by_utf_16() -> None:
    """U+1F512 sorts before U+FF61 by UTF-16 code units, and after it by code points (RFC 8785 §3.2.3)."""
    assert v.parse_json('{"\U0001f512":1,"\uff61":2}'.encode())
    with pytest.raises(v.Fault, match=r"json\.canonical"):
        v.parse_json('{"\uff61":2,"\U0001f512":1}'.encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" {}",
        b"{} ",
        b"{}\n",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b"1.0",
        b"1e2",
        b"-0",
        b"NaN",
        b"Infinity",
        b"01",
        b"+1",
        b'"\\u0041"',
        b'"\\ud800"',
        b'"\\/"',
        b'"\x7f\xff"',
        b"9223372036854775808",
        b"9" * 1_000_000,
        b"[" * 200_000,
        b"'a'",
        b'"\t"',
        b"tru",
        b'"a',
        b"\xef\xbb\xbf{}",
        b'{"a":1,}',
    ],
)
def test_json_in_any_other_form(text: bytes) -> None:
    with pytest.raises(v.Fault, match=r"json\."):
        v.parse_json(text)


def test_documents_end_in_one_lf() -> None:
    assert v.parse_document(b"{}\n") == {}
    for text in (b"{}", b"{}\n\n", b"{}\r\n"):
        with pytest.raises(v.Fault):
            v.parse_document(text)


# RFC 8785 appendix B, as bits of the double and its text
RFC_8785_NUMBERS = [
    ("0000000000000000", "0"),
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
def test_doubles_as_rfc_8785_writes_them(bits: str, text: str) -> None:
    number = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert v.double_text(repr(number)) == text
    v.need_canonical_structure(text.encode())


def test_any_double_is_read_back_from_its_text() -> None:
    chance = random.Random(8785)
    for _ in range(3000):
        number = struct.unpack(">d", chance.randbytes(8))[0]
        if math.isfinite(number) and number != 0:
            assert float(v.double_text(repr(number))) == number


@pytest.mark.parametrize(
    "text", ["{}", '{"a":[1,2.5],"b":null}', '"x"', "1e+21", "[[],{}]", '{"":{"":""}}', "[" * 256 + "]" * 256]
)
def test_structures(text: str) -> None:
    v.need_canonical_structure(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        b"1.0",
        b"-0",
        b"1E3",
        b"1e21",
        b"1e400",
        b"12345678901234567890",
        b'{"b":1,"a":1}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b"",
        b"nul",
        b'"\\ud800"',
        b'"\xff"',
        b"[" * 257 + b"]" * 257,
        b"[" * 100_000,
        b"NaN",
        b'"\\u0041"',
        b"0.10",
        b"9" * 100_000,
    ],
)
def test_structures_in_any_other_form(text: bytes) -> None:
    with pytest.raises(v.Fault, match=r"value\.canonical"):
        v.need_canonical_structure(text)


def test_brackets_in_strings_are_no_depth() -> None:
    v.need_canonical_structure(b'"' + b'[{\\"' * 300 + b'"')


@pytest.mark.timeout(30)
@pytest.mark.parametrize("tail", [b"", b"\\\n", b"\n"])
def test_a_structure_with_an_open_text_is_refused_in_linear_time(tail: bytes) -> None:
    data = b"[" * 257 + b'"' + b'\\"' * (1 << 20) + tail
    with pytest.raises(v.Fault, match=r"value\.canonical"):
        v.need_canonical_structure(data)


# -- values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        value("n"),
        value("b", 0),
        value("b", 1),
        value("i", -(2**63)),
        value("t", v.UNDATED),
        value("d", 1.5),
        value("d", math.inf),
        value("d", -0.0),
        b"d\0\0\0\x08\x7f\xf8" + bytes(6),
        value("D", "12.340"),
        value("D", "-0"),
        value("D", "1E+5"),
        value("s", ""),
        value("s", "Scell\u00e9 \U0001f512"),
        value("x", b"\xff"),
        value("j", '{"a":[1,2],"b":null}'),
        value("h", (bytes(32), 2**63 - 1)),
    ],
)
def test_values(data: bytes) -> None:
    parsed, end = v.parse_value(b"xx" + data, 2)
    assert end == 2 + len(data)
    assert parsed.letter == chr(data[0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"n",
        b"n\0\0\0",
        b"n\0\0\0\1\0",
        b"b\0\0\0\0",
        b"b\0\0\0\1\2",
        b"b\0\0\0\2\0\0",
        b"i\0\0\0\7" + bytes(7),
        b"t\0\0\0\x09" + bytes(9),
        b"d\0\0\0\4" + bytes(4),
        b"d\0\0\0\x08\x7f\xf8" + bytes(5) + b"\1",
        b"d\0\0\0\x08\xff\xf8" + bytes(6),
        b"d\0\0\0\x08\x7f\xf0" + bytes(5) + b"\1",
        value("D", ""),
        value("D", "1."),
        value("D", ".5"),
        value("D", "+1"),
        value("D", "1e"),
        value("D", "NaN"),
        value("D", "1_0"),
        value("D", "1\n"),
        value("D", "\u0661"),
        value("s", b"\xff"),
        value("s", b"\xed\xa0\x80"),
        value("s", b"\xc0\x80"),
        value("j", "{ }"),
        value("h", (bytes(31), 5)),
        value("h", (bytes(32), -1)),
        b"q\0\0\0\0",
        b"\0\0\0\0\0",
        b"s\0\0\0\5abc",
    ],
)
def test_values_in_any_other_form(data: bytes) -> None:
    with pytest.raises(v.Fault, match=r"value\.canonical"):
        v.parse_value(data, 0)


def test_a_value_over_16_mib_is_content() -> None:
    v.parse_value(value("x", bytes(16 << 20)), 0)
    with pytest.raises(v.Fault, match=r"value\.too_long"):
        v.parse_value(value("x", bytes((16 << 20) + 1)), 0)


# -- schemas ----------------------------------------------------------------------------------------------


def schema_with(**changes: object) -> bytes:
    return canonical(json.loads(CHAT.data) | changes)


FIELDS = json.loads(CHAT.data)["fields"]


@pytest.mark.parametrize(
    "data",
    [
        schema_with(format="scelle/schema/v2"),
        schema_with(extra=1),
        schema_with(name=5),
        schema_with(version="1"),
        schema_with(version=-1),
        schema_with(version=True),
        schema_with(dimensions=["source"]),
        schema_with(dimensions=["account", "source"]),
        schema_with(dimensions=["source", "account", "account"]),
        schema_with(dimensions=["source", "account", 5]),
        schema_with(dimensions=["source", "account", *map(str, range(31))]),
        schema_with(dimensions={}),
        schema_with(dimensions=5),
        schema_with(fields=5),
        schema_with(fields=[]),
        schema_with(fields=FIELDS[:3]),
        schema_with(fields=[FIELDS[1], FIELDS[0], *FIELDS[2:]]),
        schema_with(fields=[*FIELDS, FIELDS[0]]),
        schema_with(fields=[*FIELDS, {"name": "x"}]),
        schema_with(fields=[*FIELDS, {"name": "x", "type": "z"}]),
        schema_with(fields=[*FIELDS, {"name": "x", "type": ""}]),
        schema_with(fields=[*FIELDS[:2], {"name": "account", "type": "i"}, *FIELDS[3:]]),
        CHAT.data + b"\n",
        b"[]",
        b"5",
        b"null",
    ],
)
def test_what_is_no_schema(data: bytes) -> None:
    with pytest.raises(v.Fault):
        v.parse_schema(data)


def test_schemas() -> None:
    assert v.parse_schema(DOCUMENT.data).digest == v.DOCUMENT_V1
    assert v.parse_schema(CHAT.data).dimensions == ["source", "account", "model"]


# -- trees ------------------------------------------------------------------------------------------------

LEAVES = [sha(struct.pack(">I", i)) for i in range(70)]


@pytest.mark.parametrize("size", [*range(20), 31, 32, 33, 64, 70])
def test_trees_and_paths_against_the_recursive_definition(size: int) -> None:
    root = root_of(LEAVES[:size])
    assert v.tree_root(LEAVES[:size]) == root
    for index in range(size):
        path = path_of(LEAVES[:size], index)
        assert v.inclusion_root(size, index, LEAVES[index], path) == root
        if path:
            with pytest.raises(v.Fault):
                v.inclusion_root(size, index, LEAVES[index], path[:-1])
        with pytest.raises(v.Fault):
            v.inclusion_root(size, index, LEAVES[index], [*path, LEAVES[0]])
    with pytest.raises(v.Fault):
        v.inclusion_root(size, size, LEAVES[0], [])
    with pytest.raises(v.Fault):
        v.inclusion_root(size, -1, LEAVES[0], [])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13, 21])
def test_ranges_against_the_recursive_definition(size: int) -> None:
    root = root_of(LEAVES[:size])
    for low in range(size):
        for high in range(low + 1, size + 1):
            proof = range_proof(LEAVES[:size], low, high)
            assert v.range_root(size, low, LEAVES[low:high], proof) == root
            with pytest.raises(v.Fault):
                v.range_root(size, low, LEAVES[low:high], [*proof, LEAVES[0]])
            if proof:
                with pytest.raises(v.Fault):
                    v.range_root(size, low, LEAVES[low:high], proof[:-1])
    for low, count in ((0, 0), (-1, 1), (size, 1), (0, size + 1)):
        with pytest.raises(v.Fault, match=r"range\.edge"):
            v.range_root(size, low, LEAVES[:count], [])


def consistency(leaves: list[bytes], old: int, complete: bool = True) -> list[bytes]:
    """RFC 9162 §2.1.4.1."""
    if old == len(leaves):
        return [] if complete else [root_of(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if old <= k:
        return [*consistency(leaves[:k], old, complete), root_of(leaves[k:])]
    return [*consistency(leaves[k:], old - k, False), root_of(leaves[:k])]


@pytest.mark.parametrize("new", [1, 2, 3, 5, 8, 10, 13, 14, 16, 21])
def test_consistency_against_the_recursive_definition(new: int) -> None:
    root = root_of(LEAVES[:new])
    for old in range(1, new + 1):
        before = root_of(LEAVES[:old])
        proof = consistency(LEAVES[:new], old)
        assert v.consistency_holds(old, new, before, root, proof)
        assert not v.consistency_holds(old, new, LEAVES[0] if old > 1 else root_of([]), root, proof)
        assert not v.consistency_holds(old, new, before, root_of([]), proof)
        assert not v.consistency_holds(old, new, before, root, [*proof, LEAVES[0]])
        if proof:
            assert not v.consistency_holds(old, new, before, root, proof[:-1])
            assert not v.consistency_holds(old, new, before, root, [LEAVES[60], *proof[1:]])
    assert not v.consistency_holds(0, new, root_of([]), root, [])
    assert not v.consistency_holds(new + 1, new, root, root, [])


# -- what a person sees -----------------------------------------------------------------------------------


def test_text_from_a_package_cannot_play_with_a_terminal() -> None:
    assert v.ascii_only("\x1b[2Jé\\\u202e\U0001f512\n") == "\\x1b[2J\\xe9\\\\\\u202e\\U0001f512\\n"
    assert len(v.ascii_only("x" * 10_000)) < 500


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_767_878_400_000_000, "2026-01-08T13:20:00Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
        (-62_135_596_800_000_001, "-62135596800000001 us"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        (253_402_300_800_000_000, "253402300800000000 us"),
        (v.MAX_TIME, "9223372036854775807 us"),
        (None, "-"),
    ],
)
def test_times(time: int | None, text: str) -> None:
    assert v.show_time(time) == text


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("", ""),
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "-1"),
        ("-1.5e3", "-1.5e3"),
        ("-1+cmd", "'-1+cmd"),
        ("--1", "'--1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("'quoted", "''quoted"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("a=1", "a=1"),
    ],
)
def test_no_cell_is_a_formula(cell: str, safe: str) -> None:
    assert v.csv_cell(cell) == safe


def test_entries_are_at_most_65535_bytes() -> None:
    line = b"scelle/request/v1\n"
    with pytest.raises(v.Fault, match=r"longer than 65"):
        v.parse_entry(0, line + b"x" * 65_535 + b"\n")
