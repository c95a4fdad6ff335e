"""Refuse to leave open elsewhere in a record what is redacted in it.

One value of a source may stand in several fields: in the role of an identifier and listed beside it, as a member of an
object that is listed too, as a column that is part of the key, and, where no field lists it, in `more` and `more_text`
(docs/records.md).
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from scelle.errors import CopyStaysOpen
from scelle.formats.schema import Schema
from scelle.formats.values import decode_value

REST: Final = ("more", "more_text")
ORIGIN: Final = "origin"
"""Where a row stood: made by the source's reader, and no copy of what it says."""
_FIRST_IDENTIFIER: Final = 2
_TAKEN: Final = "source."
"""Stands before the name of a field whose own name was taken by a role (`sources.schema_file.layout`)."""


class Copies:
    """Look for copies of a schema's closed fields in the open ones of its records.

    A copy is found by its name (the same field, or a member of one that is open) or, for identifiers, by its value.
    """

    def __init__(self, schema: Schema, closed: Collection[int]) -> None:
        names = [field.name for field in schema.fields]
        fields = range(_FIRST_IDENTIFIER, len(names))
        self._names = [name.removeprefix(_TAKEN) for name in names]
        self._shown = names
        self._open = [
            j
            for j in fields
            if j not in closed and schema.fields[j].type not in ("h", "x", "n") and names[j] != ORIGIN
        ]
        self._closed = [j for j in fields if j in closed and names[j] not in REST]
        self._identifiers = range(_FIRST_IDENTIFIER, len(schema.dimensions) + 1)

    def refuse(self, values: Sequence[bytes]) -> None:
        """Raise `CopyStaysOpen` where a value that is to be closed stands open in another field of the same record."""
        closed = [j for j in self._closed if values[j][:1] != b"n"]
        if not self._closed:
            return
        for k in self._open:
            if values[k][:1] == b"n":
                continue
            document = _document(values[k])
            is_rest = self._shown[k] in REST
            for j in self._closed if is_rest else closed:
                if self._is_copy(j, k, values, document):
                    raise CopyStaysOpen(
                        f"field {self._shown[j]} is to be redacted, and the same stands open in {self._shown[k]}: "
                        f"redact {self._shown[k]} as well, nothing was handed over"
                    )

    def _is_copy(self, j: int, k: int, values: Sequence[bytes], document: Any) -> bool:
        """Tell whether the open field k holds what the closed field j holds, or a part of it."""
        closed, opened = self._names[j], self._names[k]
        if self._shown[k] in REST:
            return _holds(document, self._shown[j]) or (j in self._identifiers and _says(document, values[j]))
        if closed.startswith(f"{opened}."):
            return _holds(document, closed.removeprefix(f"{opened}."))
        if opened.startswith(f"{closed}."):
            return True
        if j in self._identifiers and document is not None:
            return _says(document, values[j])
        if closed == opened or j in self._identifiers or k in self._identifiers:
            return not _texts(values[j]).isdisjoint(_texts(values[k]))
        return False


def _document(value: bytes) -> Any:
    """Read a structure, or text that is JSON of one; None where it is neither."""
    if value[:1] == b"j" or (value[:1] == b"s" and value[5:6] in (b"{", b"[")):
        try:
            return json.loads(value[5:], parse_float=str, parse_int=str)
        except (ValueError, RecursionError):
            return None
    return None


def _texts(value: bytes) -> frozenset[str]:
    """Give the texts by which a value is known: of an identifier also the one without its kind; of a key its parts."""
    letter, found, _ = decode_value(value)
    if letter in ("n", "x", "h", "j"):
        return frozenset()
    text = ("true" if found else "false") if isinstance(found, bool) else str(found)
    parts = _document(value)
    of_key = [part for part in parts if isinstance(part, str)] if isinstance(parts, list) else []
    return frozenset([text, text.partition(":")[2] or text, *of_key])


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
    return identifier[:1] == b"s" and not _texts(identifier).isdisjoint(_scalars(document))


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _scalars(each)
    elif isinstance(value, list):
        for each in value:
            yield from _scalars(each)
    elif isinstance(value, str):
        yield value
