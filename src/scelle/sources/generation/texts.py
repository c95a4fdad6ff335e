"""Tell events from other JSON, and turn lines and documents into entries."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from scelle.sources.generation.cap import cap_entry, is_cap
from scelle.sources.generation.entries import Entry, Spot, bad_entry
from scelle.sources.generation.model import KINDS
from scelle.sources.generation.otlp import DEPTH, ROOTS, STARTS, otlp_entries
from scelle.sources.generation.own import own_entry
from scelle.sources.generation.walking import ByteCounter, Part, end_of, first_place, members, parts
from scelle.sources.interfaces import BadRecord
from scelle.sources.json_values import SourceRow, json_object
from scelle.sources.unfit import Unfit

_OWN_SIGNS: Final = ("attempt_id", "event_id", "ts")
_NOT_UTF8: Final = Unfit("not-utf-8", "it is not UTF-8, which JSON must be")


def line_entries(raw: bytes, spot: Spot) -> Iterable[Entry | BadRecord]:
    """Give the events of one line: one, or those of an OTLP document."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return (bad_entry(spot, _NOT_UTF8),)
    if STARTS.match(text):
        return _whole_otlp(text, spot)
    try:
        row = json_object(text)
        if "event" in row:
            return (own_entry(row, raw, spot),)
        if is_cap(row):
            return (cap_entry(row, raw, spot, None),)
        if any(root in row for root in ROOTS):
            return _whole_otlp(text, spot)
        raise _odd()
    except Unfit as fault:
        return (bad_entry(spot, fault),)


def is_event_line(raw: bytes) -> bool:
    """Say whether a line is a whole object that looks like an event."""
    try:
        text = raw.decode()
        if STARTS.match(text):
            return _is_whole(text)
        return _looks_like_event(json.loads(text))
    except (ValueError, RecursionError):
        return False


def is_whole_line(raw: bytes) -> bool:
    """Say whether a last line without its end is a whole object all the same: what is cut is no JSON."""
    try:
        return _is_whole(raw.decode())
    except UnicodeDecodeError:
        return False


def document_entries(data: bytes, spot: Spot) -> Iterator[Entry | BadRecord] | None:
    """Give the events of the whole document at `spot`; None where it is JSON and holds none, or is no JSON at all.

    Raises Unfit (`not-json`) where it begins as JSON does and does not end so: somebody may be writing it.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    start = first_place(text)
    if text[start : start + 1] not in ("{", "["):
        return None
    try:
        _check_end(text, start)
        if text[start] == "[":
            return _elements(text, start, spot, None)
        own = members(text, start, DEPTH)
    except (ValueError, RecursionError) as error:
        raise _broken(error) from None
    if any(root in own for root in ROOTS):
        return _safely(otlp_entries(text, spot), spot)
    events = own.get("events")
    if events is not None and text[events.start] == "[":
        return _elements(text, events.start, spot, _key(text, own.get("public_key")))
    if _looks_like_event({name: _shallow(text, part) for name, part in own.items()}):
        return iter(line_entries(data, spot))
    return None


def _whole_otlp(text: str, spot: Spot) -> Iterable[Entry | BadRecord]:
    try:
        _check_end(text, first_place(text))
    except Unfit as fault:
        return (bad_entry(spot, fault),)
    except (ValueError, RecursionError) as error:
        return (bad_entry(spot, _broken(error)),)
    return _safely(otlp_entries(text, spot), spot)


def _check_end(text: str, start: int) -> None:
    """Refuse a second document behind the first; raises Unfit, and ValueError where it is no JSON."""
    if text[end_of(text, start, DEPTH) :].strip():
        raise Unfit(
            "not-json", "something stands behind the document: write one document a file, or one a line"
        )


# --- lists of events


def _elements(text: str, start: int, spot: Spot, key: str | None) -> Iterator[Entry | BadRecord] | None:
    first = next(iter(parts(text, start)), None)
    if first is None or not _looks_like_event(json.loads(text[first.start : first.end])):
        return None
    return _safely(_each(text, start, spot, key), spot)


def _each(text: str, start: int, spot: Spot, key: str | None) -> Iterator[Entry | BadRecord]:
    counter = ByteCounter(text)
    for number, part in enumerate(parts(text, start), 1):
        raw = text[part.start : part.end]
        here = spot._replace(offset=spot.offset + counter.before(part.start), number=number)
        try:
            yield _entry(json_object(raw), raw.encode(), here, key)
        except Unfit as fault:
            yield bad_entry(here, fault)


def _entry(row: SourceRow, raw: bytes, spot: Spot, key: str | None) -> Entry:
    if "event" in row:
        return own_entry(row, raw, spot)
    if is_cap(row):
        return cap_entry(row, raw, spot, key)
    raise _odd()


def _safely(entries: Iterator[Entry | BadRecord], spot: Spot) -> Iterator[Entry | BadRecord]:
    """End with a bad record where the JSON ends early."""
    try:
        yield from entries
    except (ValueError, RecursionError) as error:
        yield bad_entry(spot, _broken(error))


def _odd() -> Unfit:
    return Unfit("unknown-event", "it is no event of a known form: see docs/generation.md")


def _broken(error: Exception) -> Unfit:
    if isinstance(error, RecursionError):
        return Unfit("nested-too-deep", "it is nested deeper than can be read")
    place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
    return Unfit("not-json", f"it is no JSON{place}: if it is still being written, run again")


# --- looking


def _looks_like_event(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if any(root in value for root in ROOTS) or is_cap(value):
        return True
    return value.get("event") in KINDS and any(sign in value for sign in _OWN_SIGNS)


def _shallow(text: str, part: Part) -> Any:
    return json.loads(text[part.start : part.end]) if text[part.start] == '"' else None


def _key(text: str, part: Part | None) -> str | None:
    value = None if part is None else _shallow(text, part)
    return value if isinstance(value, str) else None


def _is_whole(text: str) -> bool:
    try:
        start = first_place(text)
        members(text, start, DEPTH)
        return text[start] == "{"
    except (ValueError, RecursionError, IndexError):
        return False
