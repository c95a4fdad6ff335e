"""Make records of events."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

from scelle.formats.values import NULL, UNDATED, structure_value
from scelle.sources.event_times import EventClock
from scelle.sources.generation.entries import Entry, identifier
from scelle.sources.generation.schemas import EVENT, EVENT_WHOLE, TYPED
from scelle.sources.interfaces import PIECE_BYTES, WHOLE_BYTES, Content, Document, Record, native_text
from scelle.sources.json_values import (
    DecimalToken,
    IntegerToken,
    SourceRow,
    encode_text,
    encoder,
    event_time,
    lone_surrogate,
    said,
    structure,
)
from scelle.sources.unfit import Unfit

VALUE_MAX_BYTES: Final = 16 << 20
"""A larger value would have to be content (ledger.md §11)."""
IDENTIFIER_MAX_BYTES: Final = 1 << 20

_CLOCK: Final = EventClock()
_ENCODERS: Final = tuple((name, letter, encoder(letter, _CLOCK)) for name, letter in TYPED)
DIMENSIONS: Final = (
    ("attempt_id",),
    ("event",),
    ("model",),
    ("surface",),
    ("conversation", "conversation_id"),
    ("safeguard_version", "safeguard", "policy_version"),
    ("config_digest",),
)
"""The members that give the dimensions from `attempt` on; the first that is there."""
_FIRST_NAMES: Final = tuple((names[0], names[1:]) for names in DIMENSIONS)
_HELD: Final = frozenset(
    ["account", "event_id", "ts", *(name for name, _ in _FIRST_NAMES), *(name for name, _ in TYPED)]
)
_NUMBERS: Final = (IntegerToken, DecimalToken)


class EventMaker:
    """Make records of entries; safe to use from several threads.

    `holder` is the identifier, with its kind, of whose events they are where an event names no account.
    """

    def __init__(self, holder: str | None) -> None:
        self._holder = holder
        self._holder_value = NULL if holder is None else encode_text(holder)

    def make(self, entry: Entry) -> Record:
        """Make the record of an event; raises Unfit where what tells it apart is unfit.

        Whatever else has no exact form is named in `raw_only` and stands in `raw` alone.
        """
        row, raw, spot = entry.row, entry.raw, entry.spot
        field = "account"
        extra = row.keys() - _HELD
        try:
            account, account_value = self._holder, self._holder_value
            if (value := row.get("account")) is not None and value != "":
                account = "account:" + _strict_identifier(value, extra, field)
                account_value = encode_text(account)
            field = "event_id"
            value = row.get(field)
            if value == "":
                value = None
            text = native_text(spot.native) if value is None else _strict_identifier(value, extra, field)
            values = [account_value, encode_text(text)]
            native = values[1][5:] if value is not None else spot.native
            for name, others in _FIRST_NAMES:
                field = name
                value = row.get(field)
                if value is None and others:
                    field = next((each for each in others if row.get(each) is not None), name)
                    value = row.get(field)
                    extra.discard(field)
                values.append(NULL if value is None else _dimension(value, extra, field))
            field = "ts"
            values += (encode_text(entry.form), self._printed_time(row, extra))
            time_us = entry.time_us if entry.time_us is not None else time_of(row)
        except UnicodeEncodeError:
            fault = lone_surrogate()
            fault.field = field
            raise fault from None
        except Unfit as fault:
            fault.field = fault.field or field
            raise
        raw_only: list[str] = []
        for name, letter, encode in _ENCODERS:
            value = row.get(name)
            if value is None:
                values.append(NULL)
            else:
                values.append(_typed(name, letter, encode, value, extra, raw_only))
        values.append(NULL if entry.schema_url is None else encode_text(entry.schema_url))
        values.append(_more(row, extra, raw_only) if extra else NULL)
        values.append(structure_value(structure(sorted(raw_only))) if raw_only else NULL)
        values.append(b"s" + len(raw).to_bytes(4, "big") + raw)
        values.append(NULL)
        origin = spot.origin
        values.append(b"j" + len(origin).to_bytes(4, "big") + origin)
        contents = ()
        if len(raw) > IDENTIFIER_MAX_BYTES:
            contents = _contents(values, time_us, raw)
        return Record(EVENT, native, time_us, account, values, raw, len(raw), contents)

    @staticmethod
    def _printed_time(row: SourceRow, extra: set[str]) -> bytes:
        value = row.get("ts")
        if value is None:
            return NULL
        if type(value) is str:
            return encode_text(value)
        extra.add("ts")
        return encode_text(value) if isinstance(value, _NUMBERS) else NULL


def time_of(row: SourceRow) -> int:
    """Read the time of an event under Scellé's names; raises Unfit (`time-unreadable`, `time-out-of-range`)."""
    value = row.get("ts")
    return UNDATED if value is None else event_time(_CLOCK, value)


def _strict_identifier(value: Any, extra: set[str], name: str) -> str:
    text = value if type(value) is str and value else identifier(value)
    if text is None:
        raise Unfit("schema-mismatch", f"it is {said(value)}; an identifier is text, a number, true or false")
    if type(value) is not str:
        extra.add(name)  # text and number would look alike
    return text


def _dimension(value: Any, extra: set[str], name: str) -> bytes:
    """Write a dimension; what is neither text nor a number is kept in `more`, and the dimension says nothing."""
    if type(value) is str:
        return encode_text(value)
    if name == "attempt_id":
        return encode_text(_strict_identifier(value, extra, name))
    extra.add(name)
    text = identifier(value)
    return NULL if text is None else encode_text(text)


def _typed(name: str, letter: str, encode: Any, value: Any, extra: set[str], raw_only: list[str]) -> bytes:
    """Write a field; what is of another type is kept in `more`."""
    try:
        encoded: bytes = encode(value)
    except UnicodeEncodeError:
        raw_only.append(name)
        return NULL
    except Unfit:
        (raw_only.append if letter == "j" else extra.add)(name)
        return NULL
    return encoded


def _more(row: SourceRow, names: set[str], raw_only: list[str]) -> bytes:
    """Write the rest; members that have no exact form are left to `raw`."""
    try:
        return structure_value(structure({name: row[name] for name in names}))
    except Unfit:
        exact = {}
    for name in names:
        try:
            structure({name: row[name]})
        except Unfit:
            raw_only.append(name.encode("utf-8", "backslashreplace").decode())
        else:
            exact[name] = row[name]
    return structure_value(structure(exact)) if exact else NULL


def _contents(values: list[bytes], time_us: int, raw: bytes) -> tuple[Content, ...]:
    """Where a value is too large to be one, make it null and the whole event a content."""
    if max(map(len, values[: 2 + len(DIMENSIONS)])) > IDENTIFIER_MAX_BYTES:
        raise Unfit("identifier-too-long", "an identifier is over 1 MiB: shorten it")
    if max(map(len, values)) <= VALUE_MAX_BYTES:
        return ()
    values[:] = [NULL if len(value) > VALUE_MAX_BYTES else value for value in values]
    data, stream = (raw, None) if len(raw) <= WHOLE_BYTES else (None, lambda: _pieces(raw))
    document = Document(
        data, stream, len(raw), "application/json", b"{}", time_us, "event", sha256(raw).digest()
    )
    return (Content(EVENT_WHOLE, document),)


def _pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]
