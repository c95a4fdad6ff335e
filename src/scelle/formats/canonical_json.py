"""Write and read RFC 8785 canonical JSON: the general form, and the package profile (64-bit integers only).

Sources: RFC 8785; ECMA-262 `Number::toString` for doubles; ledger.md §2 (type `j`) and §11 (packages).
"""

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring
from math import isfinite
from typing import Any, Final, NoReturn, TypeAlias

from scelle.errors import FormatError
from scelle.formats.tokens import INT64_MAX, INT64_MIN, shown

JsonObject: TypeAlias = dict[str, Any]

PACKAGE_DEPTH: Final = 8
STRUCTURE_DEPTH: Final = 128
"""Structures nested deeper are kept as text: readers differ in how deep they can go."""
_EXACT_INTEGER: Final = 2**53


def canonical_json(value: Any) -> bytes:
    """Write `value` as RFC 8785 canonical JSON.

    Takes None, bool, int, float, str, list, tuple and dict with text keys. Raises FormatError for an integer
    that no double holds, a number that is not finite, a lone surrogate, nesting deeper than 128 and any other
    type.
    """
    return _utf8(_write(value, _es6_integer, es6_number, STRUCTURE_DEPTH))


def canonical_json_int(value: Any, max_depth: int = PACKAGE_DEPTH) -> bytes:
    """Write `value` in the package profile: RFC 8785 with 64-bit integers and no other numbers."""
    return _utf8(_write(value, _int64, _no_number, max_depth))


def parse_json_strict(data: bytes, max_depth: int = PACKAGE_DEPTH) -> Any:
    """Read one document of the package profile, accepting only its canonical bytes.

    Raises FormatError for duplicate keys, other spellings, blanks, trailing bytes, floats, integers over 64
    bits and nesting deeper than `max_depth`.
    """
    try:
        value = json.loads(
            _text(data),
            object_pairs_hook=_unique_pairs,
            parse_int=_parse_int64,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except (ValueError, RecursionError):
        raise FormatError(f"not JSON: {shown(data[:40])}; write RFC 8785") from None
    if canonical_json_int(value, max_depth) != data:
        raise FormatError(f"JSON not canonical: {shown(data[:40])}; write RFC 8785")
    return value


def structure_bytes(source_text: bytes) -> bytes | None:
    """Give the canonical form of a JSON text where nothing is lost, else None (ledger.md §2, type `j`).

    Something is lost by a duplicate key, a number that is no exact double or is written with another value,
    `-0`, a lone surrogate, bytes that are not UTF-8, and nesting deeper than 128; then the caller keeps the
    source's bytes as `s` or `x`.
    """
    try:
        value = json.loads(
            _text(source_text),
            object_pairs_hook=_unique_pairs,
            parse_int=_exact_double,
            parse_float=_exact_double,
            parse_constant=_refuse_number,
        )
        return canonical_json(value)
    except (ValueError, RecursionError, FormatError):
        return None


def is_canonical_json(data: bytes) -> bool:
    """Say whether `data` is RFC 8785 canonical JSON, doubles included."""
    try:
        value = json.loads(
            _text(data), object_pairs_hook=_unique_pairs, parse_int=float, parse_constant=_refuse_number
        )
        return canonical_json(value) == data
    except (ValueError, RecursionError, FormatError):
        return False


def es6_number(value: float) -> str:
    """Write a double as ECMAScript does, the shortest digits that read back as the same double."""
    if not isfinite(value):
        raise FormatError(f"number {value} is not finite: JSON has no form for it")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    return sign + _place_point(digits.rstrip("0"), point)


def _place_point(digits: str, point: int) -> str:
    """Write 0.`digits` times ten to the power of `point` by the rules of ECMA-262 Number::toString."""
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    exponent = f"e+{point - 1}" if point > 0 else f"e-{1 - point}"
    return digits[0] + ("." + digits[1:] if count > 1 else "") + exponent


def _write(value: Any, integer: Callable[[int], str], number: Callable[[float], str], depth: int) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is int:
        return integer(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return number(value)
    if depth == 0:
        raise FormatError("JSON nested too deep: keep it as text")
    if kind is list or kind is tuple:
        return "[" + ",".join([_write(item, integer, number, depth - 1) for item in value]) + "]"
    if kind is dict:
        inside = depth - 1
        pairs = [
            f"{encode_basestring(key)}:{_write(value[key], integer, number, inside)}"
            for key in _sorted_keys(value)
        ]
        return "{" + ",".join(pairs) + "}"
    raise FormatError(f"JSON has no form for {kind.__name__}: give text, numbers, lists or maps")


def _sorted_keys(value: dict[Any, Any]) -> list[str]:
    """Sort keys by UTF-16 code units (RFC 8785 §3.2.3); code point order differs beyond U+D7FF only."""
    for key in value:
        if type(key) is not str:
            raise FormatError(f"JSON key {shown(key)} is not text: give text keys")
    if all(map(str.isascii, value)):
        return sorted(value)
    try:
        return sorted(value, key=lambda key: key.encode("utf-16-be"))
    except UnicodeEncodeError:
        raise FormatError("JSON key with a lone surrogate: keep the source's bytes") from None


def _es6_integer(value: int) -> str:
    if -_EXACT_INTEGER <= value <= _EXACT_INTEGER:
        return str(value)
    try:
        double = float(value)
    except OverflowError:
        double = float("inf")
    if double != value:
        raise FormatError(f"integer {shown(value)} is no exact double: keep it as text")
    return es6_number(double)


def _int64(value: int) -> str:
    if not INT64_MIN <= value <= INT64_MAX:
        raise FormatError("integer over 64 bits in a package document: it has no form there")
    return str(value)


def _no_number(value: float) -> NoReturn:
    raise FormatError(f"number not canonical: {value}; package documents have 64-bit integers only")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("lone surrogate in JSON text: keep the source's bytes") from None


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"JSON is not UTF-8: {shown(data[:40])}; write RFC 8785") from None


def _unique_pairs(pairs: list[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise FormatError("duplicate key in JSON: every key stands once")
    return value


def _parse_int64(token: str) -> int:
    if len(token) > 20:
        raise FormatError(f"integer over 64 bits: {shown(token)}; it has no form in a package document")
    return int(token)


def _refuse_number(token: str) -> NoReturn:
    raise FormatError(f"number not canonical: {shown(token)}; write a 64-bit integer in plain digits")


def _exact_double(token: str) -> float:
    """Read a number token that a double holds exactly and whose canonical form has the same decimal value.

    The last rule refuses 2^60, which RFC 8785 writes as 1152921504606847000; `-0` would lose its sign.
    """
    value = float(token)
    if not isfinite(value) or not _is_exact(token, value) or (value == 0 and token.startswith("-")):
        raise FormatError(f"number {shown(token)} is no exact double: keep the source's bytes")
    return value


def _is_exact(token: str, value: float) -> bool:
    try:
        return Decimal(token) == Decimal(value) == Decimal(es6_number(value))
    except InvalidOperation:
        return False
