"""Seal what was done to an order, as records of the source `scelle.events`, and read it back."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.formats.schema import EVENT_V1
from scelle.formats.values import decode_value, structure_value, text_value
from scelle.ledger.rows import Row
from scelle.ledger.segments import folder_name
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger, OrderLedgerWriter, order_folder

BODY_DEPTH = 32
_KIND = 3
_BODY = 5


@dataclass(frozen=True, slots=True)
class Event:
    """One act on an order: when (microseconds), by whom, of which kind, and what it says."""

    seq: int
    time_us: int
    actor: str
    kind: str
    body: Mapping[str, Any]


def record_event(
    ledger: OrderLedgerWriter, now_us: int, actor: str, kind: str, body: Mapping[str, Any]
) -> None:
    """Append one event; it is sealed with the next `seal`. `body` holds texts, integers, lists, objects."""
    writer = ledger.writer(EVENTS_SOURCE, EVENT_V1, now_us)
    values = [text_value(f"operator:{actor}"), text_value(kind), structure_value(canonical_json(dict(body)))]
    writer.append(secrets.token_bytes(32), now_us, values)


def events(
    ledger: OrderLedger,
    *kinds: str,
    from_seq: int = 0,
    below: int | None = None,
    times: dict[int, int] | None = None,
) -> Iterator[Event]:
    """Yield the sealed events in order: of some kinds if those are given, from a sequence number on.

    Those that the ledger's backing does not believe are left out; `below` leaves out those whose manifest stands at
    that log index or later. `times` takes the time (microseconds) of every event that was passed, of whatever kind, by
    sequence number.
    """
    for index, manifest in ledger.manifests():
        if below is not None and index >= below:
            return
        if manifest.source == EVENTS_SOURCE and manifest.seq[1] > max(from_seq, manifest.seq[0]):
            reader = ledger.segment(manifest)
            for row in reader.rows():
                if times is not None:
                    times[row.seq] = int.from_bytes(row.split_values()[0][_BODY:], "big", signed=True)
                if row.seq >= from_seq and (not kinds or kind_of(row) in kinds):
                    event = _event(row)
                    if ledger.backing is None or ledger.backing.believes(event):
                        yield event
            reader.close()


def has_left_events(vault: Path, order: str) -> bool:
    """Tell whether an order has events that a crash left durable and uncommitted."""
    folder = order_folder(vault, order) / "seg" / folder_name(EVENTS_SOURCE)
    return any(folder.glob("*.open"))


def kind_of(row: Row) -> str:
    """Return the kind of the event that a row of `scelle.events` holds."""
    return row.split_values()[_KIND][_BODY:].decode()


def _event(row: Row) -> Event:
    time, _, actor, kind, body = (decode_value(value)[1] for value in row.split_values())
    return Event(row.seq, _int(time), str(actor), str(kind), parse_json_strict(_bytes(body), BODY_DEPTH))


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b"{}"
