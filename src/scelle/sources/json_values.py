"""Read JSON without losing anything, and write values by ledger.md §2.

What a source says is held as None, bool, str, IntegerToken, DecimalToken, list and dict; sources with types of
their own (Parquet) also give int, float and bytes. A number stays the token that the source wrote. A member whose
exact text is kept is a JsonText.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Container, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from json.encoder import encode_basestring
from math import isfinite
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

from scelle.formats.canonical_json import STRUCTURE_DEPTH, es6_number, structure_bytes
from scelle.formats.tokens import INT64_MAX, INT64_MIN
from scelle.formats.values import (
    NULL,
    boolean_value,
    bytes_value,
    double_value,
    integer_value,
    number_text_value,
    structure_value,
    time_value,
)
from scelle.sources.event_times import EventClock
from scelle.sources.unfit import Unfit

JSON_TEXT: Final = "json"
"""The type of schema files that keeps a value's exact JSON text; its letter in the ledger is `s`."""


class IntegerToken(str):
    """A JSON number without fraction and exponent, as the source printed it."""

    __slots__ = ()


class DecimalToken(str):
    """A JSON number with a fraction or an exponent, as the source printed it."""

    __slots__ = ()


class JsonText:
    """A value beside the exact text that it was read from."""

    __slots__ = ("text", "value")

    def __init__(self, text: str, value: Any) -> None:
        self.text = text
        self.value = value


SourceRow: TypeAlias = dict[str, Any]
Encoder: TypeAlias = Callable[[Any], bytes]

_scan_string: Final = json.decoder.scanstring  # type: ignore[attr-defined]
_BLANKS: Final = " \t\n\r"
_SKIPPED: Final = frozenset(_BLANKS)
_PLAIN_DIGITS: Final = 15
"""Integers of so many characters are exact doubles, and written alike by RFC 8785."""
_NUMBERS_KEPT: Final = 65_536


# --- reading


def _unique(pairs: list[tuple[str, Any]]) -> SourceRow:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise Unfit(
            "duplicate-key", "a key stands twice in one object: list the field as json to keep its text"
        )
    return row


def _no_constant(name: str) -> NoReturn:
    raise Unfit("not-json", f"{name} is no JSON: write null, or a number as text")


_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=IntegerToken, parse_float=DecimalToken, parse_constant=_no_constant
)
_LENIENT: Final = json.JSONDecoder(
    parse_int=IntegerToken, parse_float=DecimalToken, parse_constant=_no_constant
)
_scan_strictly: Final = _STRICT.scan_once  # type: ignore[attr-defined]
_scan_leniently: Final = _LENIENT.scan_once  # type: ignore[attr-defined]


def json_object(text: str) -> SourceRow:
    """Read one JSON object; raises Unfit (`not-json`, `not-an-object`, `duplicate-key`, `nested-too-deep`)."""
    try:
        value, end = _scan_strictly(text, 0)
    except StopIteration:
        return json_object(_without_blanks(text))
    except ValueError as error:
        raise _not_json(error) from None
    except RecursionError:
        raise _too_deep() from None
    if end != len(text) and text[end:].strip(_BLANKS):
        raise Unfit("not-json", f"something stands behind the value, from character {end}: one object a line")
    if type(value) is not dict:
        raise Unfit("not-an-object", "a record is a JSON object with named fields")
    return value


def json_object_with_texts(
    text: str, kept: Container[str], paths: Mapping[str, tuple[str, ...]]
) -> SourceRow:
    """Read one JSON object whose members `kept` become JsonText; raises Unfit as `json_object` does.

    Inside such a member a key may stand twice. `paths` are members of members: where one is found and no member
    has its dotted name, the row gets it under that name.
    """
    start = _skip(text, 0)
    if text[start : start + 1] != "{":
        return json_object(text)
    try:
        members, end = _read_members(text, start, kept)
        if text[end:].strip(_BLANKS):
            raise Unfit("not-json", "something stands behind the object: one object a line")
        row = _unique([(key, member.as_value(text, key in kept)) for key, member in members])
        for name, path in paths.items():
            found = None if name in row else _find(text, dict(members), path)
            if found is not None:
                row[name] = found.as_value(text, True)
    except (ValueError, StopIteration) as error:
        raise _not_json(error) from None
    except RecursionError:
        raise _too_deep() from None
    return row


def _without_blanks(text: str) -> str:
    """Give a text without the blanks around it; raises Unfit where that changes nothing: it is no JSON then."""
    bare = text.strip(_BLANKS)
    if bare == text:
        raise Unfit("not-json", "it does not begin as JSON does")
    return bare


def _not_json(error: Exception) -> Unfit:
    place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
    reason = error.msg.lower() if isinstance(error, json.JSONDecodeError) else "cut short"
    return Unfit("not-json", f"it is no JSON{place} ({reason}): one object a line")


def _too_deep() -> Unfit:
    return Unfit("nested-too-deep", "it is nested deeper than can be read")


# --- writing structures


def structure(value: Any) -> bytes:
    """Write RFC 8785 where nothing is lost by it.

    Raises Unfit (`number-not-exact`, `lone-surrogate`, `nested-too-deep`, `no-json-form`).
    """
    try:
        return _canonical(value, STRUCTURE_DEPTH).encode()
    except UnicodeEncodeError:
        raise lone_surrogate() from None


def _canonical(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is IntegerToken:
        return value if len(value) <= _PLAIN_DIGITS and value != "-0" else _exact_number(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is DecimalToken:
        return _exact_number(value)
    if depth == 0:
        raise Unfit("nested-too-deep", f"it is nested deeper than {STRUCTURE_DEPTH}: list the field as json")
    if kind is dict:
        inside = depth - 1
        pairs = [
            f"{encode_basestring(key)}:"
            f"{encode_basestring(item) if type(item := value[key]) is str else _canonical(item, inside)}"
            for key in _sorted_keys(value)
        ]
        return "{" + ",".join(pairs) + "}"
    if kind is list:
        return "[" + ",".join([_canonical(item, depth - 1) for item in value]) + "]"
    if kind is JsonText:
        return _canonical(value.value, depth)
    return _typed(value)


def _typed(value: Any) -> str:
    """Write what only sources with types of their own give."""
    if type(value) is int:
        return _exact_number(str(value))
    if type(value) is float:
        if isfinite(value) and str(value) != "-0.0":
            return es6_number(value)
        raise Unfit("number-not-exact", "JSON has no form for NaN, infinity and -0: list the field as d")
    raise Unfit("no-json-form", f"JSON has no form for {said(value)}: list the field as x")


def _sorted_keys(value: Mapping[str, Any]) -> list[str]:
    """Sort by UTF-16 code units (RFC 8785 §3.2.3)."""
    if all(map(str.isascii, value)):
        return sorted(value)
    return sorted(value, key=_utf16)


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


@lru_cache(maxsize=_NUMBERS_KEPT)
def _exact_number(token: str) -> str:
    exact = structure_bytes(token.encode())
    if exact is None:
        raise Unfit("number-not-exact", "a number is no exact double: list the field as D, or as json")
    return exact.decode()


def lone_surrogate() -> Unfit:
    """Make the error for text that has no UTF-8 form."""
    return Unfit(
        "lone-surrogate", "a text has half a surrogate pair and no UTF-8 form: list the field as json"
    )


def json_text(value: Any) -> str:
    """Write JSON text that keeps every number's own digits, for sources that have values and no text.

    NaN and infinities stand as the words NaN, Infinity and -Infinity; bytes as `{"b64": ..}`.
    """
    if type(value) is str:
        return encode_basestring(value)
    if isinstance(value, (IntegerToken, DecimalToken)):
        return value
    if isinstance(value, dict):
        return (
            "{" + ",".join(f"{encode_basestring(key)}:{json_text(each)}" for key, each in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, bytes):
        return f'{{"b64":"{b64encode(value).decode()}"}}'
    return json.dumps(value, ensure_ascii=False)


def rest_values(row: SourceRow, names: Iterable[str]) -> tuple[bytes, bytes, list[str]]:
    """Write what no field of a schema holds: values for `more` (j) and `more_text` (s), and names that have neither.

    `more_text` is a JSON object of those members that have no exact RFC 8785 form, with their numbers' own digits.
    Without a form are only texts that are not UTF-8 (half a surrogate pair), and what is nested without end.
    """
    rest = {name: row[name] for name in names}
    try:
        return structure_value(structure(rest)), NULL, []
    except Unfit:
        pass
    exact: SourceRow = {}
    inexact: SourceRow = {}
    neither: list[str] = []
    for name in sorted(rest):
        member = {name: rest[name]}
        try:
            structure(member)
            exact |= member
        except Unfit:
            if _has_text(member):
                inexact |= member
            else:
                neither.append(name)
    text = encode_text(json_text(inexact)) if inexact else NULL
    return structure_value(structure(exact)) if exact else NULL, text, neither


def _has_text(value: Any) -> bool:
    """Say whether a value has JSON text in UTF-8."""
    try:
        json_text(value).encode()
    except (UnicodeEncodeError, RecursionError, TypeError):
        return False
    return True


# --- writing values


def encoder(letter: str, clock: EventClock) -> Encoder:
    """Give the function that writes a value, never None, as the type `letter` of a schema file.

    It raises Unfit (`schema-mismatch`, or why the value is not exact) and UnicodeEncodeError for half a surrogate
    pair.
    """
    if letter == "t":
        return partial(_encode_time, clock)
    return _ENCODERS[letter]


def natural_letter(value: Any) -> str:
    """Give the type that a value has by itself (ledger.md §2): integers within 64 bits `i`, other numbers `D`."""
    match value:
        case None:
            return "n"
        case bool():
            return "b"
        case IntegerToken():
            return "i" if is_integer(value) else "D"
        case DecimalToken():
            return "D"
        case int():
            return "i" if INT64_MIN <= value <= INT64_MAX else "D"
        case float():
            return "d"
        case str():
            return "s"
        case bytes():
            return "x"
    return "j"


def is_integer(digits: str) -> bool:
    """Say whether an integer's token is one of type `i`: within 64 bits, and not `-0`."""
    return digits != "-0" and len(digits) <= 20 and INT64_MIN <= int(digits) <= INT64_MAX


def encode_text(text: str) -> bytes:
    """Write type `s`; raises UnicodeEncodeError for half a surrogate pair."""
    data = text.encode()
    return b"s" + len(data).to_bytes(4, "big") + data


def said(value: Any) -> str:
    """Say what kind of value it is, and never the value."""
    return _SAID.get(type(value), "a value")


def mismatch(value: Any, letter: str) -> Unfit:
    """Make the error for a value that is not of its field's type."""
    return Unfit("schema-mismatch", f"it is {said(value)}, the schema says {letter} ({_MEANING[letter]})")


def _encode_text(value: Any) -> bytes:
    if type(value) is not str:
        raise mismatch(value, "s")
    data = value.encode()
    return b"s" + len(data).to_bytes(4, "big") + data


def _encode_integer(value: Any) -> bytes:
    kind = type(value)
    if kind is IntegerToken:
        if is_integer(value):
            return integer_value(int(value))
    elif kind is int and INT64_MIN <= value <= INT64_MAX:
        return integer_value(value)
    if kind is IntegerToken or kind is int:
        raise Unfit("schema-mismatch", "it is -0 or an integer over 64 bits, the schema says i: list it as D")
    raise mismatch(value, "i")


def _encode_number_text(value: Any) -> bytes:
    kind = type(value)
    if kind is IntegerToken or kind is DecimalToken or kind is int:
        return number_text_value(str(value))
    raise mismatch(value, "D")


def _encode_double(value: Any) -> bytes:
    kind = type(value)
    if kind is float:
        return double_value(value)
    if kind is IntegerToken or kind is DecimalToken:
        return double_value(exact_double(value))
    raise mismatch(value, "d")


def exact_double(token: str) -> float:
    """Read a number whose double is written with the same decimal value; raises Unfit (`number-not-exact`)."""
    number = float(token)
    try:
        if isfinite(number) and Decimal(token) == Decimal(repr(number)):
            return number
    except InvalidOperation:  # an exponent beyond what Decimal holds
        pass
    raise Unfit("number-not-exact", "the number is no double: list the field as D")


def _encode_boolean(value: Any) -> bytes:
    if type(value) is not bool:
        raise mismatch(value, "b")
    return boolean_value(value)


def _encode_time(clock: EventClock, value: Any) -> bytes:
    text = _time_text(value)
    if text is None:
        raise mismatch(value, "t")
    return time_value(clock.exactly(text))


def event_time(clock: EventClock, value: Any) -> int:
    """Read a row's time from a value, floored; raises Unfit (`time-unreadable`, `time-out-of-range`)."""
    text = value if type(value) is str else _time_text(value)
    if text is None:
        raise Unfit("time-unreadable", f"{said(value)} is no time")
    return clock.of_text(text)


def _time_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    return format(Decimal(value), "f") if type(value) is float and isfinite(value) else None


def _encode_bytes(value: Any) -> bytes:
    if type(value) is str:
        return bytes_value(value.encode())
    if type(value) is bytes:
        return bytes_value(value)
    raise mismatch(value, "x")


def _encode_structure(value: Any) -> bytes:
    return structure_value(structure(value))


def _encode_json(value: Any) -> bytes:
    return encode_text(value.text if type(value) is JsonText else json_text(value))


def _encode_nothing(value: Any) -> bytes:
    raise mismatch(value, "n")


_ENCODERS: Final[dict[str, Encoder]] = {
    "s": _encode_text,
    "i": _encode_integer,
    "D": _encode_number_text,
    "d": _encode_double,
    "b": _encode_boolean,
    "x": _encode_bytes,
    "j": _encode_structure,
    "n": _encode_nothing,
    JSON_TEXT: _encode_json,
}
TYPES: Final = (*_ENCODERS, "t")
"""The types that a field of a schema file may have: `h` is content, which no row holds in a field of its own."""

_MEANING: Final = {
    "s": "text", "i": "an integer of 64 bits", "D": "a number", "d": "a binary float", "b": "true or false",
    "x": "bytes", "j": "a structure", "n": "null", "t": "a time",
}  # fmt: skip
_SAID: Final[dict[type, str]] = {
    type(None): "null", bool: "a boolean", str: "text", IntegerToken: "an integer", int: "an integer",
    DecimalToken: "a number with a fraction or an exponent", float: "a binary float", bytes: "bytes",
    list: "a list", dict: "an object", JsonText: "a structure",
}  # fmt: skip


# --- where members stand in a text


class _Member(NamedTuple):
    """A value and the span of its text."""

    value: Any
    start: int
    end: int

    def as_value(self, text: str, with_text: bool) -> Any:
        return JsonText(text[self.start : self.end], self.value) if with_text else self.value


def _read_members(text: str, start: int, lenient: Container[str]) -> tuple[list[tuple[str, _Member]], int]:
    """Read the object that begins at `start`; raises ValueError or StopIteration where it is none."""
    members: list[tuple[str, _Member]] = []
    at = _skip(text, start + 1)
    if text[at : at + 1] == "}":
        return members, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("expecting a key in double quotes", text, at)
        key, at = _scan_string(text, at + 1, True)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("expecting a colon", text, at)
        begin = _skip(text, at + 1)
        scan = _scan_leniently if key in lenient else _scan_strictly
        value, end = scan(text, begin)
        members.append((key, _Member(value, begin, end)))
        at = _skip(text, end)
        closing = text[at : at + 1]
        at = _skip(text, at + 1)
        if closing == "}":
            return members, at
        if closing != ",":
            raise json.JSONDecodeError("expecting a comma or the end of the object", text, at)


def _skip(text: str, at: int) -> int:
    """Give the place of the first character from `at` on that is no blank."""
    while text[at : at + 1] in _SKIPPED:
        at += 1
    return at


def _find(text: str, members: Mapping[str, _Member], path: tuple[str, ...]) -> _Member | None:
    found = members.get(path[0])
    for key in path[1:]:
        if found is None or type(found.value) is not dict:
            return None
        found = dict(_read_members(text, found.start, found.value)[0]).get(key)
    return found
