"""Refuse to leave open, in the rest of a row, what is redacted beside it.

Records of rows have fields `more` and `more_text` for what their schema does not list. A listed field with a dotted
name is a copy of what stands in an object there, and so is an identifier that was no text (docs/records.md).
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from scelle.errors import RequestWrong
from scelle.formats.schema import Schema

REST: Final = ("more", "more_text")
_FIRST_IDENTIFIER: Final = 2


class Copies:
    """Look for copies of a schema's closed fields in the open rest of its records."""

    def __init__(self, schema: Schema, closed: Collection[int]) -> None:
        names = [field.name for field in schema.fields]
        self._open_rest = [(j, name) for j, name in enumerate(names) if name in REST and j not in closed]
        self._closed = [(j, names[j]) for j in sorted(closed) if names[j] not in REST]
        self._identifiers = range(_FIRST_IDENTIFIER, len(schema.dimensions) + 1)

    def refuse(self, values: Sequence[bytes]) -> None:
        """Raise `RequestWrong` where a value that is to be closed stands open in the rest of the same record."""
        if not self._closed:
            return
        for rest, called in self._open_rest:
            if values[rest][:1] == b"n":
                continue
            document = json.loads(values[rest][5:], parse_float=str, parse_int=str)
            for j, name in self._closed:
                if _holds(document, name) or (j in self._identifiers and _says(document, values[j])):
                    raise RequestWrong(
                        f"field {name} is to be redacted, and the same stands open in {called}: redact {called} as "
                        "well, nothing was handed over"
                    )


def _holds(document: Any, name: str) -> bool:
    """Tell whether an object has a member of this name, or what a dotted name leads to."""
    if not isinstance(document, dict):
        return False
    if name in document:
        return True
    first, dot, rest = name.partition(".")
    return bool(dot) and first in document and _holds(document[first], rest)


def _says(document: Any, identifier: bytes) -> bool:
    """Tell whether an identifier, without its kind, is one of the scalars of a document."""
    if identifier[:1] != b"s":
        return False
    text = identifier[5:].decode()
    return any(scalar in (text, text.partition(":")[2] or text) for scalar in _scalars(document))


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _scalars(each)
    elif isinstance(value, list):
        for each in value:
            yield from _scalars(each)
    elif isinstance(value, str):
        yield value
