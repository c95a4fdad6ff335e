"""Keep what is quarantined out of every query, export and reader of an order; it stays committed (ledger.md §8).

Mis-captured, privileged or private items are there and are shown to nobody: a production withholds them under the code
of their ground, so that its proof closes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from scelle.capture.identity import NATIVE_ID, ItemNames
from scelle.capture.lookup import state_key
from scelle.errors import ItemQuarantined, QuarantineWrong
from scelle.formats.entries import Segment
from scelle.formats.index import tag
from scelle.formats.tokens import INT64_MAX, INT64_MIN, is_code, is_reserved_alias, shown
from scelle.ledger.events import Event, events
from scelle.ledger.search import IndexBlock, Tombstones, rows_of, tombstones
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedger
from scelle.release.matching import called, native_of
from scelle.vault.keys import VaultKey

QUARANTINED: Final = "quarantined"
LIFTED: Final = "quarantine.lifted"
GROUNDS: Final = ("mis-captured", "privileged", "private", "third-party-secret")
"""Grounds that have a name; every other code may stand as well."""
RESTRICTED_GROUND: Final = "restricted"
"""The ground of what was put into the compartment by hand: its open record."""
CODE_MAX: Final = 63
_ACCOUNT: Final = 2
_BODY: Final = 5

Place: TypeAlias = tuple[int, int]
"""Where a record lies: the log index of its segment's manifest, and its sequence number."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One quarantined item: its id, where it lies, on which ground, since when (microseconds).

    ``request`` is None where one person did it: what was put into the compartment by hand.
    """

    item: str
    places: tuple[Place, ...]
    ground: str
    request: str | None
    since_us: int

    def to_json(self) -> dict[str, Any]:
        """Return the item as `quarantine --list` prints it; it says nothing of what the item is."""
        return {
            "item": self.item,
            "ground": self.ground,
            "request": self.request,
            "since_us": self.since_us,
            "records": len(self.places),
        }


def read_ground(code: str) -> str:
    """Return the code of a ground; raise `QuarantineWrong`."""
    if not is_code(code) or len(code) > CODE_MAX:
        raise QuarantineWrong(
            f"ground {shown(code)} is no code: use {', '.join(GROUNDS)}, or another of a-z, 0-9 and -"
        )
    return code


def quarantine_of(history: Iterable[Event]) -> dict[str, Quarantined]:
    """Fold an order's events: what is quarantined now, by item id."""
    found: dict[str, Quarantined] = {}
    for event in history:
        body = event.body
        if event.kind == QUARANTINED:
            for item in body["items"]:
                places = tuple((int(at), int(seq)) for at, seq in body["places"][item])
                found[item] = Quarantined(item, places, body["ground"], body["request"], event.time_us)
        elif event.kind == LIFTED:
            for item in body["items"]:
                found.pop(item, None)
    return found


def quarantine_codes(ledger: OrderLedger) -> dict[Place, str]:
    """Return the ground of every quarantined record of an order, by its place.

    An item that came back in the same state after it was quarantined, and was sealed again, is quarantined there too.
    Another state of it is another item.
    """
    items = quarantine_of(events(ledger, QUARANTINED, LIFTED)).values()
    found = {place: each.ground for each in items for place in each.places}
    return found | _seen_again(ledger, items) if items else found


def quarantined(ledger: OrderLedger) -> set[Place]:
    """Return the places of an order's quarantined records."""
    return set(quarantine_codes(ledger))


class _Known(NamedTuple):
    """What a quarantined item is found by: its family of log sources, its state, its native id and whose it is."""

    ground: str
    at: int
    family: str
    state: int
    native: bytes
    account: bytes


def _seen_again(ledger: OrderLedger, items: Iterable[Quarantined]) -> dict[Place, str]:
    """Find records of quarantined items in segments that came later, by the index: native id, else account."""
    erased = tombstones(ledger.entries)
    known = [each for each in (_known(ledger, item, erased) for item in items) if each is not None]
    found: dict[Place, str] = {}
    first = min((each.at for each in known), default=0)
    for at, manifest in ledger.manifests():
        mine = [each for each in known if each.at < at and _family(manifest.source) == each.family]
        if at > first and manifest.records and mine:
            with closing(ledger.segment(manifest)) as reader:
                for each in mine:
                    places = erased.get(at, Tombstones()).places
                    seqs = _seqs_of(reader, places, ledger.secrets.tag_key, each)
                    states = ((row.seq, state_key(row.side)) for row in rows_of(reader, seqs))
                    found |= {(at, seq): each.ground for seq, state in states if state == each.state}
    return found


def _known(ledger: OrderLedger, item: Quarantined, erased: Mapping[int, Tombstones]) -> _Known | None:
    for at, seq in reversed(item.places):
        manifest = ledger.entries[at]
        if not isinstance(manifest, Segment) or seq - manifest.seq[0] in erased.get(at, Tombstones()).records:
            continue
        with closing(ledger.segment(manifest)) as reader:
            row = reader.row(seq)
            state, values = state_key(row.side), row.split_values()
            if state is not None:
                native = native_of(reader.schema, row)
                return _Known(
                    item.ground, at, _family(manifest.source), state, native, values[_ACCOUNT][_BODY:]
                )
    return None


def _seqs_of(reader: SegmentReader, erased: Collection[int], tag_key: bytes, item: _Known) -> list[int]:
    number, value = reader.schema.field_number(NATIVE_ID), item.native
    if number is None or number > len(reader.schema.dimensions):
        number, value = _ACCOUNT, item.account
    block = IndexBlock(reader, number, erased)
    sought = tag(tag_key, reader.schema.dimensions[number - 1], value.decode())
    return sorted(block.seqs(*block.ranks(sought, INT64_MIN, INT64_MAX + 1)))


def _family(alias: str) -> str:
    return alias.partition("/")[0]


def by_segment(places: Collection[Place]) -> dict[int, set[int]]:
    """Return the sequence numbers of places, by the log index of their segment."""
    found: dict[int, set[int]] = {}
    for at, seq in places:
        found.setdefault(at, set()).add(seq)
    return found


def refuse_quarantined(ledger: OrderLedger, place: Place, what: str) -> None:
    """Raise `ItemQuarantined` where a record is not to be shown."""
    if place in quarantined(ledger):
        raise ItemQuarantined(f"{what} is quarantined: it is shown to nobody; see `scelle quarantine --list`")


def places_of(
    ledger: OrderLedger, vault_key: VaultKey, names: Mapping[str, str], items: Collection[str]
) -> dict[str, list[Place]]:
    """Find every living record of some items in an order's log; one that has none is left out.

    No list of ids is kept, so this costs a walk over the rows of all segments.
    """
    found: dict[str, list[Place]] = {}
    for at, seq, item in _named_rows(ledger, vault_key, names):
        if item in items:
            found.setdefault(item, []).append((at, seq))
    return found


def _named_rows(
    ledger: OrderLedger, vault_key: VaultKey, names: Mapping[str, str]
) -> Iterator[tuple[int, int, str]]:
    erased = tombstones(ledger.entries)
    for at, manifest in ledger.manifests():
        if not manifest.records or is_reserved_alias(manifest.source):
            continue
        gone, low = erased.get(at, Tombstones()).records, manifest.seq[0]
        source = called(names, manifest.source)
        with closing(ledger.segment(manifest)) as reader:
            item_names = ItemNames(vault_key, source, reader.schema)
            for row in reader.rows():
                item = None if row.seq - low in gone else item_names.name(row)
                if item is not None:
                    yield at, row.seq, item
