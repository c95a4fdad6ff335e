"""Make records of rows: values in the order of the schema, and everything else in `more` and `more_text`."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple

from scelle.formats.tokens import shown
from scelle.formats.values import NULL, UNDATED
from scelle.sources import json_values
from scelle.sources.event_times import EventClock
from scelle.sources.interfaces import (
    PIECE_BYTES,
    WHOLE_BYTES,
    BadRecord,
    Content,
    Document,
    Record,
    native_text,
)
from scelle.sources.json_values import (
    JSON_TEXT,
    Encoder,
    JsonText,
    SourceRow,
    encode_text,
    event_time,
    json_text,
    lone_surrogate,
    mismatch,
    rest_values,
    said,
)
from scelle.sources.schema_file import SchemaFile, layout, path_of
from scelle.sources.unfit import Unfit

VALUE_MAX_BYTES: Final = 16 << 20
"""A larger value would have to be content (ledger.md §11)."""
IDENTIFIER_MAX_BYTES: Final = 1 << 20

EncoderOf = Callable[[str, EventClock], Encoder]


class _Reference(NamedTuple):
    """Where a role's value is: under its name, or along a path of objects."""

    name: str
    path: tuple[str, ...] | None
    is_listed: bool


class _Listed(NamedTuple):
    name: str
    path: tuple[str, ...] | None
    encode: Encoder


class RowMaker:
    """Make records of one schema file's rows; safe to use from several threads.

    `encoder_of` writes values as the format of the rows has them. `empty_is_absent` is for formats whose only way
    to say nothing is an empty text.
    """

    def __init__(
        self,
        file: SchemaFile,
        holder: str | None,
        encoder_of: EncoderOf = json_values.encoder,
        *,
        empty_is_absent: bool = False,
        media_type: str = "application/json",
    ) -> None:
        self._file = file
        self._layout = layout(file)
        self._clock = file.clock
        self._empty_is_absent = empty_is_absent
        self._media_type = media_type
        names = frozenset(name for name, _ in file.fields)
        self._id = [_reference(name, names) for name in file.id]
        self._dimensions = [_reference(name, names) for name in file.dimensions]
        self._time = None if file.time is None else _reference(file.time, names)
        self._holder_field = None if file.holder_field is None else _reference(file.holder_field, names)
        self._prefix = file.holder_kind + ":"
        self._holder = holder
        self._holder_value = NULL if holder is None else encode_text(holder)
        as_printed = self._time is not None and not self._time.is_listed and file.time_unit is None
        self._time_as_printed = self._time if as_printed else None
        listed = self._layout.listed[:-1] if as_printed else self._layout.listed
        self._listed = [
            _Listed(each.source, path_of(each.source), encoder_of(each.type, self._clock)) for each in listed
        ]
        self._has_more = file.keeps_extra
        single = file.id if len(file.id) == 1 else ()
        roles = [name for name in (file.time, file.holder_field) if name is not None]
        self._held = frozenset([*names, *file.dimensions, *single, *roles])
        self._raw_field = len(self._layout.schema.fields) - 2

    @property
    def kept_texts(self) -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
        """Give the fields whose exact JSON text is kept: names, and paths by dotted name."""
        names = [name for name, letter in self._file.fields if letter == JSON_TEXT]
        paths = {name: path for name in names if (path := path_of(name)) is not None}
        return frozenset(names), paths

    def make(
        self, row: SourceRow, native: bytes, origin: bytes, version: bytes | None, size_bytes: int = 0
    ) -> Record:
        """Make the record of a row; raises Unfit.

        `native` is its id where the row has none. `origin` is RFC 8785. A `version` of None is made of the values.
        """
        field = ""
        kept: list[str] = []
        get = row.get
        try:
            account, account_value = self._holder, self._holder_value
            if (reference := self._holder_field) is not None:
                field = reference.name
                value = get(field)
                account, account_value = None, NULL
                text = value if type(value) is str and value else self._identifier(row, reference, kept)
                if text is not None:
                    account = self._prefix + text
                    account_value = encode_text(account)
            identifier = self._native(row, kept)
            if identifier is not None:
                field = self._id[0].name
                native = identifier.encode()
            else:
                identifier = native_text(native)
            values = [account_value, encode_text(identifier)]
            for reference in self._dimensions:
                field = reference.name
                value = get(field)
                text = value if type(value) is str else self._identifier(row, reference, kept)
                values.append(NULL if text is None else encode_text(text))
            time_us = UNDATED
            if (reference := self._time) is not None:
                field = reference.name
                value = get(field)
                if value is None or type(value) is JsonText:
                    value = _value(row, reference)
                if value is not None and not (value == "" and self._empty_is_absent):
                    time_us = event_time(self._clock, value)
            for field, path, encode in self._listed:
                value = get(field)
                if value is None:
                    if field in row:
                        kept.append(field)
                    elif path is not None:
                        value = _walk(row, path)
                values.append(NULL if value is None else encode(value))
            if (reference := self._time_as_printed) is not None:
                field = reference.name
                value = get(field)
                text = value if type(value) is str else self._identifier(row, reference, kept)
                values.append(NULL if text is None else encode_text(text))
        except UnicodeEncodeError:
            fault = lone_surrogate()
            fault.field = field
            raise fault from None
        except Unfit as fault:
            fault.field = fault.field or field
            raise
        extra = row.keys() - self._held
        if extra and not self._has_more:
            raise Unfit("field-unknown", 'the schema does not list it and says extra = "refuse"', min(extra))
        if self._has_more:
            values += self._more(row, [*extra, *kept]) if extra or kept else (NULL, NULL)
        raw, version = version, b"".join(values) if version is None else version
        size_bytes = size_bytes or len(version)
        values.append(NULL)
        values.append(b"j" + len(origin).to_bytes(4, "big") + origin)
        if len(version) > IDENTIFIER_MAX_BYTES:
            contents = self._contents(values, time_us, row, raw)
            return Record(self._file.name, native, time_us, account, values, version, size_bytes, contents)
        return Record(self._file.name, native, time_us, account, values, version, size_bytes)

    # --- roles

    def _identifier(self, row: SourceRow, reference: _Reference, kept: list[str]) -> str | None:
        """Give an identifier's text, and note the field where its text does not say all: a number, an explicit null."""
        value = row.get(reference.name)
        if reference.name in row and type(value) is not str and not reference.is_listed:
            kept.append(reference.name)
        value = _value(row, reference)
        return None if value is None or (value == "" and self._empty_is_absent) else identifier_text(value)

    def _native(self, row: SourceRow, kept: list[str]) -> str | None:
        if len(self._id) == 1:
            reference = self._id[0]
            value = row.get(reference.name)
            try:
                return value if type(value) is str and value else self._identifier(row, reference, kept)
            except Unfit as fault:
                fault.field = reference.name
                raise
        if not self._id:
            return None
        parts = [_value(row, reference) for reference in self._id]
        return None if all(part is None for part in parts) else json_text(parts)

    # --- the rest of the row

    def _more(self, row: SourceRow, names: list[str]) -> tuple[bytes, bytes]:
        more, more_text, neither = rest_values(row, names)
        if neither:
            fault = lone_surrogate()
            fault.field = neither[0]
            raise fault
        return more, more_text

    def _contents(
        self, values: list[bytes], time_us: int, row: SourceRow, raw: bytes | None
    ) -> tuple[Content, ...]:
        """Where a value is too large to be one, make it null and the whole row a content."""
        identifiers = values[: 2 + len(self._dimensions)]
        if max(map(len, identifiers)) > IDENTIFIER_MAX_BYTES:
            raise Unfit(
                "identifier-too-long", "an identifier is over 1 MiB: choose other fields for the roles"
            )
        if max(map(len, values)) <= VALUE_MAX_BYTES:
            return ()
        values[:] = [NULL if len(value) > VALUE_MAX_BYTES else value for value in values]
        whole = json_text(row).encode() if raw is None else raw
        return (Content(self._raw_field, self._document(whole, time_us)),)

    def _document(self, raw: bytes, time_us: int) -> Document:
        data, stream = (raw, None) if len(raw) <= WHOLE_BYTES else (None, lambda: _pieces(raw))
        return Document(data, stream, len(raw), self._media_type, b"{}", time_us, "row", sha256(raw).digest())


def identifier_text(value: Any) -> str:
    """Write an identifier: text as it is, numbers as the source prints them; raises Unfit for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise mismatch(value, "s") from None
    raise Unfit("schema-mismatch", f"it is {said(value)}; an identifier is text, a number, true or false")


def bad_record(file: str, place: str, fault: Unfit) -> BadRecord:
    """Name a row that fits no schema by the place where it stands."""
    field = f"field {shown(fault.field)}: " if fault.field else ""
    return BadRecord(f"{file} {place}", fault.cause, field + fault.detail)


def _reference(name: str, listed: frozenset[str]) -> _Reference:
    return _Reference(name, path_of(name), name in listed)


def _value(row: SourceRow, reference: _Reference) -> Any:
    value = row.get(reference.name)
    if value is None and reference.path is not None and reference.name not in row:
        value = _walk(row, reference.path)
    return value.value if type(value) is JsonText else value


def _walk(row: SourceRow, path: tuple[str, ...]) -> Any:
    value: Any = row
    for name in path:
        if type(value) is JsonText:
            value = value.value
        if type(value) is not dict:
            return None
        value = value.get(name)
    return value


def _pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]
