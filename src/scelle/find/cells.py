"""Test one encoded value of a record: decode it by its letter, compare it with what the query says (pure)."""

import json
import operator
import struct
from collections.abc import Callable, Sequence
from datetime import tzinfo
from decimal import Decimal, InvalidOperation
from enum import Enum
from math import isnan
from typing import Any, Final, TypeAlias

from scelle.find.model import ORDERINGS, PARTS, FieldPath, Literal, Number, Operator, Text, Truth
from scelle.find.moments import parse_span
from scelle.formats.values import NULL, UNDATED, text_value

Plain: TypeAlias = Any
"""What a value is compared as: text, number, truth, time in microseconds, or None."""
Decode: TypeAlias = Callable[[bytes], Plain]
PlainTest: TypeAlias = Callable[[Plain], bool]
CellTest: TypeAlias = Callable[[bytes], bool]

SIZE: Final = "size"
_BODY: Final = 5
_SHUT: Final = (b"n", b"c")
"""Letters of null, and of a restricted content, of which nothing is known here (formats/compartments.py)."""
_unpack_double: Final = struct.Struct(">d").unpack_from
_COMPARE: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQUAL: operator.eq,
    Operator.IN: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.CONTAINS: operator.contains,
    Operator.STARTS_WITH: str.startswith,
}


class Kind(Enum):
    """Say as what the values of a field are compared, in the words of an error message."""

    TEXT = "text: compare it with a text in double quotes"
    NUMBER = "a number: compare it with a number, without quotes"
    TIME = 'a time: compare it with a date ("2026-01-08") or an RFC 3339 time ("2026-01-08T14:00:00Z")'
    TRUTH = "true or false: compare it by = or != with true or false"
    ANY = "a structure"


def kind_of(letter: str, path: FieldPath) -> Kind | None:
    """Return as what a field is compared, None where it has no such part; `path` leads into the field."""
    match letter:
        case "s" | "x" | "n":
            return None if path else Kind.TEXT
        case "i" | "d" | "D":
            return None if path else Kind.NUMBER
        case "t":
            return None if path else Kind.TIME
        case "b":
            return None if path else Kind.TRUTH
        case "h" if path == (SIZE,):
            return Kind.NUMBER
        case "h" | "j" if not path:
            return Kind.TEXT
        case "j":
            return Kind.ANY
    return None


def decoder(letter: str, path: FieldPath) -> Decode:
    """Return what reads an encoded value of a field, or the part of it that `path` leads to."""
    if letter == "j" and path:
        return lambda cell: None if cell[:1] == b"n" else _part(json.loads(cell[_BODY:]), path)
    if letter == "h":
        return _size if path else _digest
    return _DECODERS[letter]


def _text(cell: bytes) -> Plain:
    return None if cell[:1] == b"n" else cell[_BODY:].decode("utf-8", "surrogateescape")


def _integer(cell: bytes) -> Plain:
    return None if cell[:1] == b"n" else int.from_bytes(cell[_BODY:], "big", signed=True)


def _time(cell: bytes) -> Plain:
    time_us = _integer(cell)
    return None if time_us == UNDATED else time_us


def _double(cell: bytes) -> Plain:
    return None if cell[:1] == b"n" else _unpack_double(cell, _BODY)[0]


def _number_text(cell: bytes) -> Plain:
    if cell[:1] == b"n":
        return None
    try:
        return Decimal(cell[_BODY:].decode())
    except InvalidOperation:  # an exponent beyond what this machine reckons with
        return None


def _truth(cell: bytes) -> Plain:
    return None if cell[:1] == b"n" else cell[_BODY:] == b"\1"


def _digest(cell: bytes) -> Plain:
    return None if cell[:1] in _SHUT else cell[_BODY : _BODY + 32].hex()


def _size(cell: bytes) -> Plain:
    return None if cell[:1] in _SHUT else int.from_bytes(cell[_BODY + 32 :], "big")


def _nothing(cell: bytes) -> Plain:
    return None


_DECODERS: Final[dict[str, Decode]] = {
    "s": _text, "x": _text, "j": _text, "i": _integer, "t": _time, "d": _double, "D": _number_text,
    "b": _truth, "n": _nothing,
}  # fmt: skip


def _part(value: Any, path: FieldPath) -> Plain:
    """Follow a path through objects by name, through lists by number; what is a structure still, is its text."""
    for name in path:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def plain_test(
    kind: Kind, comparison: Operator, literals: Sequence[Literal], zone: tzinfo
) -> PlainTest | None:
    """Return what tests a decoded value, None where no literal can be compared with values of this kind."""
    found = [_test(kind, comparison, literal, zone) for literal in literals]
    tests = [test for test in found if test is not None]
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)


def _test(kind: Kind, comparison: Operator, literal: Literal, zone: tzinfo) -> PlainTest | None:
    match kind:
        case Kind.TEXT:
            return _text_test(comparison, literal)
        case Kind.NUMBER:
            return _number_test(comparison, literal)
        case Kind.TIME:
            return _time_test(comparison, literal, zone)
        case Kind.TRUTH:
            return _truth_test(comparison, literal)
        case Kind.ANY:
            return _any_test(comparison, literal)


def _text_test(comparison: Operator, literal: Literal) -> PlainTest | None:
    """Compare by code points. A number compares by its digits, and has no order among texts."""
    if isinstance(literal, Truth) or (isinstance(literal, Number) and comparison in ORDERINGS):
        return None
    text = literal.token if isinstance(literal, Number) else literal.value
    compare = _COMPARE[comparison]
    return lambda value: value is not None and compare(value, text)


def _number_test(comparison: Operator, literal: Literal) -> PlainTest | None:
    """Compare exactly; a binary float with the float that is nearest to the number. NaN compares with nothing."""
    if not isinstance(literal, Number) or comparison in PARTS:
        return None
    compare, exact = _COMPARE[comparison], literal.value
    nearest = float(exact)

    def test(value: Plain) -> bool:
        if isinstance(value, float):
            return not isnan(value) and compare(value, nearest)
        return value is not None and compare(value, exact)

    return test


def _time_test(comparison: Operator, literal: Literal, zone: tzinfo) -> PlainTest | None:
    """Compare with a span: equal is within it, before is before its start, after is after its end."""
    window = time_window(comparison, literal, zone)
    if window is not None:
        low, high = window
        return lambda value: value is not None and low <= value < high
    span = parse_span(literal.value, zone) if isinstance(literal, Text) else None
    if span is None or comparison is not Operator.NOT_EQUAL:
        return None
    return lambda value: value is not None and not span.start_us <= value < span.end_us


def time_window(comparison: Operator, literal: Literal, zone: tzinfo) -> tuple[int, int] | None:
    """Return the dated times [low, high) that a comparison asks for; None where those are no one interval."""
    span = parse_span(literal.value, zone) if isinstance(literal, Text) else None
    if span is None:
        return None
    match comparison:
        case Operator.EQUAL | Operator.IN:
            return span.start_us, span.end_us
        case Operator.LESS:
            return UNDATED + 1, span.start_us
        case Operator.AT_MOST:
            return UNDATED + 1, span.end_us
        case Operator.GREATER:
            return span.end_us, 1 << 63
        case Operator.AT_LEAST:
            return span.start_us, 1 << 63
    return None


def _truth_test(comparison: Operator, literal: Literal) -> PlainTest | None:
    if not isinstance(literal, Truth) or comparison in ORDERINGS or comparison in PARTS:
        return None
    compare, truth = _COMPARE[comparison], literal.value
    return lambda value: value is not None and compare(value, truth)


def _any_test(comparison: Operator, literal: Literal) -> PlainTest | None:
    """Compare a part of a structure as what it turns out to be."""
    as_text = _text_test(comparison, literal) or _never
    as_number = _number_test(comparison, literal) or _never
    as_truth = _truth_test(comparison, literal) or _never

    def test(value: Plain) -> bool:
        if isinstance(value, bool):
            return as_truth(value)
        return as_text(value) if isinstance(value, str) else as_number(value)

    return test


def _never(value: Plain) -> bool:
    return False


def cell_test(letter: str, path: FieldPath, test: PlainTest) -> CellTest:
    """Return what tests an encoded value."""
    decode = decoder(letter, path)
    return lambda cell: test(decode(cell))


def equal_texts(texts: Sequence[str]) -> CellTest:
    """Return what tests whether an encoded text is one of these, without decoding it."""
    encoded = frozenset(map(text_value, texts))
    return encoded.__contains__


def null_test(letter: str, path: FieldPath) -> CellTest:
    """Return what tests whether a value is null: undated is, too, and a path that leads nowhere."""
    if path or letter == "t":
        decode = decoder(letter, path)
        return lambda cell: decode(cell) is None
    if letter == "h":
        return lambda cell: cell[:1] in _SHUT
    return lambda cell: cell == NULL
