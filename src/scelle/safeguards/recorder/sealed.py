"""Find what recorders wrote among what an order has sealed of a generation source, by the index of its segments."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from scelle.formats.entries import Erase, Segment
from scelle.formats.index import tag
from scelle.formats.tokens import INT64_MAX, INT64_MIN
from scelle.formats.values import Content, decode_value
from scelle.ledger.rows import Row
from scelle.ledger.search import IndexBlock, Tombstones, tombstones
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedger
from scelle.sources.generation.schemas import EVENT_V1

_FIELDS: Final = [EVENT_V1.field_number(name) or 0 for name in ("kind", "surface", "raw", "whole")]
ALWAYS: Final = (INT64_MIN, INT64_MAX + 1)


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """One event of a generation source: its place in the log, its kind and surface, its own bytes and their SHA-256.

    `raw` is None where the event is so large that its bytes are a content.
    """

    at: int
    source: str
    seq: int
    time_us: int
    kind: str
    surface: str | None
    raw: str | None
    sha256: str


def sealed_events(
    ledger: OrderLedger, alias: str, dimension: str, value: str, window_us: tuple[int, int] = ALWAYS
) -> Iterator[SealedEvent]:
    """Yield the sealed events with this value (of `kind`, `surface` ..) from a time on until another, in log order.

    What is erased or restricted is not among them. Raises SegmentDamaged, and OrderOver where all of it was destroyed.
    """
    wanted = tag(ledger.secrets.tag_key, dimension, value)
    for at, manifest in event_segments(ledger, alias):
        with closing(ledger.segment(manifest)) as reader:
            block = _block(ledger, at, reader, dimension)
            for seq in sorted(block.seqs(*block.ranks(wanted, *window_us))):
                yield _event(at, manifest.source, reader.row(seq))


def sealed_count(ledger: OrderLedger, alias: str, dimension: str, value: str) -> int:
    """Count the sealed events with this value without reading them; raises as `sealed_events` does."""
    wanted, count = tag(ledger.secrets.tag_key, dimension, value), 0
    for at, manifest in event_segments(ledger, alias):
        with closing(ledger.segment(manifest)) as reader:
            low, high = _block(ledger, at, reader, dimension).ranks(wanted, *ALWAYS)
            count += high - low
    return count


def event_segments(ledger: OrderLedger, alias: str) -> Iterator[tuple[int, Segment]]:
    """Yield the manifests that have events of a generation source, with their log indices."""
    for at, manifest in ledger.manifests():
        is_of_source = manifest.source.partition("/")[0] == alias
        if is_of_source and manifest.records and manifest.schema == EVENT_V1.digest:
            yield at, manifest


def _block(ledger: OrderLedger, at: int, reader: SegmentReader, dimension: str) -> IndexBlock:
    erased = tombstones(
        entry for entry in ledger.entries if isinstance(entry, Erase) and entry.segment[0] == at
    )
    ordinal = EVENT_V1.dimensions.index(dimension) + 1
    return IndexBlock(reader, ordinal, erased.get(at, Tombstones()).places)


def _event(at: int, source: str, row: Row) -> SealedEvent:
    values = row.split_values()
    kind, surface, raw, whole = (decode_value(values[number])[1] for number in _FIELDS)
    time = decode_value(values[0])[1]
    digest = whole.digest.hex() if isinstance(whole, Content) else sha256(str(raw).encode()).hexdigest()
    return SealedEvent(
        at,
        source,
        row.seq,
        time if isinstance(time, int) else 0,
        str(kind),
        None if surface is None else str(surface),
        None if raw is None else str(raw),
        digest,
    )
