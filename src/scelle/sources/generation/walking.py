"""Walk JSON text and know where each part of it stands, without holding more than one value at a time."""

import json
from collections.abc import Iterator
from typing import Final, NamedTuple, NoReturn

_BLANKS: Final = frozenset(" \t\n\r")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_scan: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant).scan_once  # type: ignore[attr-defined]
_scan_string: Final = json.decoder.scanstring  # type: ignore[attr-defined]


class Part(NamedTuple):
    """A member of an object, or an element of a list (`key` None): its text is `text[start:end]`."""

    key: str | None
    start: int
    end: int


def first_place(text: str, at: int = 0) -> int:
    """Give the place of the first character from `at` on that is no blank."""
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


def parts(text: str, at: int, depth: int = 0) -> Iterator[Part]:
    """Yield the parts of the object or list that begins at `at`; raises ValueError where it is none.

    Parts are gone into `depth` levels deep instead of being built, so that memory is that of what lies below.
    """
    is_object = text[at : at + 1] == "{"
    if not is_object and text[at : at + 1] != "[":
        raise json.JSONDecodeError("expecting an object or a list", text, at)
    closing = "}" if is_object else "]"
    at = first_place(text, at + 1)
    if text[at : at + 1] == closing:
        return
    while True:
        key = None
        if is_object:
            key, at = _key(text, at)
        end = end_of(text, at, depth)
        yield Part(key, at, end)
        at = first_place(text, end)
        sign = text[at : at + 1]
        if sign == closing:
            return
        if sign != ",":
            raise json.JSONDecodeError("expecting a comma or the end", text, at)
        at = first_place(text, at + 1)


def end_of(text: str, at: int, depth: int = 0) -> int:
    """Give the place behind the value that begins at `at`; raises ValueError where there is none."""
    if not depth or text[at : at + 1] not in ("{", "["):
        try:
            return int(_scan(text, at)[1])
        except StopIteration:
            raise json.JSONDecodeError("expecting a value", text, at) from None
    end = at + 1
    for part in parts(text, at, depth - 1):
        end = part.end
    return first_place(text, end) + 1


def members(text: str, at: int, depth: int = 0) -> dict[str, Part]:
    """Give the members of an object by key; the last one where a key stands twice."""
    return {part.key: part for part in parts(text, at, depth) if part.key is not None}


def _key(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError("expecting a key in double quotes", text, at)
    key, at = _scan_string(text, at + 1, True)
    at = first_place(text, at)
    if text[at : at + 1] != ":":
        raise json.JSONDecodeError("expecting a colon", text, at)
    return key, first_place(text, at + 1)


class ByteCounter:
    """Turn places in text into places in its UTF-8 bytes, going forward only."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._is_ascii = text.isascii()
        self._at = 0
        self._bytes = 0

    def before(self, at: int) -> int:
        """Give the number of bytes before the character `at`."""
        if self._is_ascii:
            return at
        self._bytes += len(self._text[self._at : at].encode("utf-8", "surrogatepass"))
        self._at = at
        return self._bytes
