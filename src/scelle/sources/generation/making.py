"""Make records of events."""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from scelle.formats.values import NULL, UNDATED, structure_value
from scelle.sources.event_times import EventClock
from scelle.sources.generation.entries import Entry, identifier
from scelle.sources.generation.schemas import EVENT, EVENT_WHOLE, TYPED
from scelle.sources.interfaces import PIECE_BYTES, WHOLE_BYTES, Content, Document, Record, native_text
from scelle.sources.json_values import (
    DecimalToken,
    Encoder,
    IntegerToken,
    SourceRow,
    encode_text,
    encoder,
    event_time,
    lone_surrogate,
    rest_values,
    said,
    structure,
)
from scelle.sources.unfit import Unfit

VALUE_MAX_BYTES: Final = 16 << 20
"""A larger value would have to be content (ledger.md §11)."""
IDENTIFIER_MAX_BYTES: Final = 1 << 20

_CLOCK: Final = EventClock()
_ENCODERS: Final = {name: (number, encoder(letter, _CLOCK)) for number, (name, letter) in enumerate(TYPED)}
_NO_FIELDS: Final = (NULL,) * len(TYPED)
_COMMON_MAX: Final = 128
_encode_common: Final = lru_cache(maxsize=4096)(encode_text)
"""For short values that many events share."""
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
_MANY_VALUES: Final = frozenset(["attempt_id", "conversation"])
_FIRST_NAMES: Final = tuple((names[0], names[1:], names[0] not in _MANY_VALUES) for names in DIMENSIONS)
_HELD: Final = frozenset(
    ["account", "event_id", "ts", *(names[0] for names in DIMENSIONS), *(name for name, _ in TYPED)]
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
        row, raw = entry.row, entry.raw
        extra = row.keys() - _HELD
        native, account, time_us, values = self._told_apart(entry, extra)
        raw_only: list[str] = []
        first = len(values)
        values += _NO_FIELDS
        for name in row.keys() & _ENCODERS.keys():
            if (value := row[name]) is not None:
                number, encode = _ENCODERS[name]
                values[first + number] = _typed(name, encode, value, extra, raw_only)
        try:
            values.append(NULL if entry.schema_url is None else encode_text(entry.schema_url))
        except UnicodeEncodeError:  # half a surrogate pair: its place is in what was received alone
            values.append(NULL)
            raw_only.append("schema_url")
        more, more_text, neither = rest_values(row, extra) if extra else (NULL, NULL, [])
        values += (more, more_text)
        raw_only += [name.encode("utf-8", "backslashreplace").decode() for name in neither]
        values.append(structure_value(structure(sorted(raw_only))) if raw_only else NULL)
        origin = entry.spot.origin
        values += (
            b"s" + len(raw).to_bytes(4, "big") + raw,
            NULL,
            b"j" + len(origin).to_bytes(4, "big") + origin,
        )
        contents = _contents(values, time_us, raw) if len(raw) > IDENTIFIER_MAX_BYTES else ()
        return Record(EVENT, native, time_us, account, values, raw, len(raw), contents)

    def _told_apart(self, entry: Entry, extra: set[str]) -> tuple[bytes, str | None, int, list[bytes]]:
        """Give native id, account and time, and the values up to `ts`; names that say more go to `extra`."""
        row, spot = entry.row, entry.spot
        field = "account"
        try:
            account, account_value = self._holder, self._holder_value
            if (value := row.get("account")) is not None and value != "":
                account = "account:" + _strict_identifier(value, extra, field)
                account_value = encode_text(account)
            field = "event_id"
            value = row.get(field) or None
            text = native_text(spot.native) if value is None else _strict_identifier(value, extra, field)
            values = [account_value, encode_text(text)]
            native = spot.native if value is None else values[1][5:]
            for name, others, is_common in _FIRST_NAMES:
                field = name
                value = row.get(field)
                if value is None and others:
                    field = next((each for each in others if row.get(each) is not None), name)
                    value = row.get(field)
                    extra.discard(field)
                if type(value) is str:
                    is_cached = is_common and len(value) <= _COMMON_MAX
                    values.append(_encode_common(value) if is_cached else encode_text(value))
                else:
                    values.append(NULL if value is None else _dimension(value, extra, field))
            field = "ts"
            values += (_encode_common(entry.form), self._printed_time(row, extra))
            time_us = time_of(row) if entry.time_us is None else entry.time_us
        except UnicodeEncodeError:
            fault = lone_surrogate()
            fault.field = field
            raise fault from None
        except Unfit as fault:
            fault.field = fault.field or field
            raise
        return native, account, time_us, values

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
    if name == "attempt_id":
        return encode_text(_strict_identifier(value, extra, name))
    extra.add(name)
    text = identifier(value)
    return NULL if text is None else encode_text(text)


def _typed(name: str, encode: Encoder, value: Any, extra: set[str], raw_only: list[str]) -> bytes:
    """Write a field; what is of another type is kept in `more`."""
    try:
        encoded: bytes = encode(value)
    except (UnicodeEncodeError, RecursionError):
        raw_only.append(name)
        return NULL
    except Unfit:
        extra.add(name)
        return NULL
    return encoded


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
