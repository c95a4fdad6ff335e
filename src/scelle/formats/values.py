"""Write and read values: one ASCII type letter, a 32-bit length, the bytes (ledger.md §2).

| letter | Python | letter | Python |
|---|---|---|---|
| `n` | None | `b` | bool |
| `i` | int | `t` | int, microseconds; UNDATED = -2^63 |
| `d` | float | `D` | str, the source's own token |
| `s` | str | `x` | bytes |
| `j` | bytes, RFC 8785 | `h` | Content |
"""

import re
import struct
from dataclasses import dataclass
from math import isnan
from typing import Any, Final, TypeAlias

from scelle.errors import FormatError
from scelle.formats.canonical_json import is_canonical_json
from scelle.formats.tokens import DIGEST_BYTES, INT64_MAX, UNDATED, shown

__all__ = [
    "LETTERS", "NULL", "UNDATED", "VALUE_MAX_BYTES", "Content", "Value", "boolean_value", "bytes_value",
    "content_value", "decode_value", "decode_values", "double_value", "encode_value", "integer_value",
    "number_text_value", "structure_value", "text_value", "time_value",
]  # fmt: skip

LETTERS: Final = "nbitdDsxjh"
NULL: Final = b"n\0\0\0\0"
VALUE_MAX_BYTES: Final = 2**32 - 1
_NAN: Final = bytes.fromhex("7ff8000000000000")
_NUMBER_TEXT: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_pack_integer = struct.Struct(">5sq").pack
_pack_double = struct.Struct(">d").pack
_pack_content = struct.Struct(">5s32sq").pack


@dataclass(frozen=True, slots=True)
class Content:
    """Name content by a 32-byte hash or root and its size."""

    digest: bytes
    size_bytes: int


Value: TypeAlias = bool | int | float | str | bytes | Content | None


def text_value(text: str) -> bytes:
    """Write type `s`: text as received, no normalisation."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError(f"text {shown(text)} has no UTF-8 form: give its bytes as type x") from None
    return b"s" + len(data).to_bytes(4, "big") + data


def bytes_value(data: bytes) -> bytes:
    """Write type `x`: bytes as they are, also text that is not UTF-8."""
    return b"x" + len(data).to_bytes(4, "big") + data


def structure_value(canonical: bytes) -> bytes:
    """Write type `j` from bytes that `canonical_json` or `structure_bytes` made, unchecked."""
    return b"j" + len(canonical).to_bytes(4, "big") + canonical


def time_value(time_us: int) -> bytes:
    """Write type `t`: microseconds since 1970 UTC, or UNDATED."""
    try:
        return _pack_integer(b"t\0\0\0\x08", time_us)
    except struct.error:
        raise FormatError(f"time {shown(time_us)} is over 64 bits: give microseconds") from None


def integer_value(number: int) -> bytes:
    """Write type `i`: a 64-bit integer."""
    try:
        return _pack_integer(b"i\0\0\0\x08", number)
    except struct.error:
        raise FormatError(f"integer {shown(number)} is over 64 bits: write it as a number text (D)") from None


def content_value(digest: bytes, size_bytes: int) -> bytes:
    """Write type `h`: a 32-byte hash or root and the size of what it names."""
    if len(digest) != DIGEST_BYTES or not 0 <= size_bytes <= INT64_MAX:
        raise FormatError(
            f"width: content of {len(digest)} bytes and size {size_bytes}; must be 32 bytes and >= 0"
        )
    return _pack_content(b"h\0\0\0\x28", digest, size_bytes)


def boolean_value(truth: bool) -> bytes:
    """Write type `b`."""
    return b"b\0\0\0\x01\x01" if truth else b"b\0\0\0\x01\x00"


def double_value(number: float) -> bytes:
    """Write type `d`: IEEE-754 big-endian; every NaN becomes the one NaN, -0 is kept."""
    return b"d\0\0\0\x08" + (_NAN if isnan(number) else _pack_double(number))


def number_text_value(token: str) -> bytes:
    """Write type `D`: the source's own number token."""
    if _NUMBER_TEXT.fullmatch(token) is None:
        raise FormatError(
            f"number text {shown(token)} is not -?digits(.digits)?(e±digits)?: write it as text (s)"
        )
    return b"D" + len(token).to_bytes(4, "big") + token.encode("ascii")


def encode_value(letter: str, value: Any) -> bytes:
    """Write one value of the type `letter`; the table on top has the Python type that each letter takes."""
    match letter, value:
        case "n", None:
            return NULL
        case "b", bool():
            return boolean_value(value)
        case "i", int() if type(value) is int:
            return integer_value(value)
        case "t", int() if type(value) is int:
            return time_value(value)
        case "d", float():
            return double_value(value)
        case "D", str():
            return number_text_value(value)
        case "s", str():
            return text_value(value)
        case "x", bytes():
            return bytes_value(value)
        case "j", bytes():
            if not is_canonical_json(value):
                raise FormatError(f"structure {shown(value)} is not RFC 8785: make it with structure_bytes")
            return structure_value(value)
        case "h", Content():
            return content_value(value.digest, value.size_bytes)
    raise FormatError(f"type {shown(letter)} does not take {type(value).__name__}: choose the type that does")


def decode_value(data: bytes, offset: int = 0) -> tuple[str, Value, int]:
    """Read the value at `offset`; give its type letter, the value, and the offset after it.

    Raises FormatError for anything but the one canonical spelling of the value.
    """
    if len(data) - offset < 5:
        raise FormatError(f"value at byte {offset} is cut short: the head is 5 bytes")
    letter = chr(data[offset])
    end = offset + 5 + int.from_bytes(data[offset + 1 : offset + 5], "big")
    if end > len(data):
        raise FormatError(f"value at byte {offset} is cut short: its length leads beyond the end")
    return letter, _payload(letter, data[offset + 5 : end]), end


def decode_values(data: bytes) -> list[tuple[str, Value]]:
    """Read values that follow one another up to the end of `data`."""
    values, offset = [], 0
    while offset < len(data):
        letter, value, offset = decode_value(data, offset)
        values.append((letter, value))
    return values


def _payload(letter: str, payload: bytes) -> Value:
    match letter:
        case "n" if not payload:
            return None
        case "b" if payload in (b"\0", b"\1"):
            return payload == b"\1"
        case "i" | "t" if len(payload) == 8:
            return int.from_bytes(payload, "big", signed=True)
        case "d" if len(payload) == 8:
            return _double(payload)
        case "D":
            return _number_text(payload)
        case "s":
            return _utf8_text(payload)
        case "x":
            return payload
        case "j" if is_canonical_json(payload):
            return payload
        case "h" if len(payload) == 40 and payload[32] < 0x80:
            return Content(payload[:32], int.from_bytes(payload[32:], "big"))
    raise FormatError(f"value not canonical: type {shown(letter)} with {shown(payload[:20])}")


def _double(payload: bytes) -> float:
    number: float = struct.unpack(">d", payload)[0]
    if isnan(number) and payload != _NAN:
        raise FormatError(f"value not canonical: NaN {payload.hex()}; the only NaN is {_NAN.hex()}")
    return number


def _number_text(payload: bytes) -> str:
    token = _utf8_text(payload)
    if _NUMBER_TEXT.fullmatch(token) is None:
        raise FormatError(f"value not canonical: number text {shown(token)}")
    return token


def _utf8_text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"value not canonical: text {shown(payload[:20])} is not UTF-8") from None
