"""Tell which states of which records are sealed, from what is kept beside their rows.

Nothing is remembered for each record elsewhere: a catalog of millions of rows would cost more than the rows. What is
sealed of a unit is read back from the segments where it is needed, that is, where a unit was rewritten, is always
read whole (a table), or was being read when a pass was interrupted.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from hashlib import blake2b
from typing import Final

from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedgerWriter
from scelle.sources.interfaces import ChangePlace
from scelle.vault.keys import VaultKey

_SIDE: Final = struct.Struct(">QQQQ")
_PLACE: Final = struct.Struct(">QI")
RECORD_SIDE_BYTES: Final = _SIDE.size
RECORD_SIDES: Final = (RECORD_SIDE_BYTES, RECORD_SIDE_BYTES + _PLACE.size)
"""What is kept beside a record; behind it, for a change that was captured as it happened, its place."""
_KEY_BYTES: Final = 8
_SEQ_BITS: Final = 47
_SEQ_MASK: Final = (1 << _SEQ_BITS) - 1
_pack = _SIDE.pack

NO_PASS: Final = 0
"""The pass of a row that no pass sealed: a change, or what a guard kept."""


class RecordKeys:
    """Make the keyed hashes of one source's units, records and their states (BLAKE2b, 64 bits).

    Two different states of a table of 10^9 rows are taken for one with a probability below 10^-9 for each row
    that is compared; the key is the vault's, so that nobody can look for such a pair.
    """

    def __init__(self, vault_key: VaultKey, source: str) -> None:
        key, start = vault_key.derive("record-keys"), source.encode() + b"\0"
        self._unit = blake2b(start, key=key, digest_size=_KEY_BYTES, person=b"scelle-unit")
        self._item = blake2b(start, key=key, digest_size=_KEY_BYTES, person=b"scelle-item")
        self._version = blake2b(key=key, digest_size=_KEY_BYTES, person=b"scelle-version")

    def unit(self, native: bytes) -> int:
        """Return the key of a unit."""
        return _number(self._unit, native)

    def item(self, native: bytes) -> int:
        """Return the key of a record's native id."""
        return _number(self._item, native)

    def version(self, state: bytes) -> int:
        """Return the key of a state of a record."""
        return _number(self._version, state)


def _number(state: "blake2b", data: bytes) -> int:
    copy = state.copy()
    copy.update(data)
    return int.from_bytes(copy.digest(), "big")


def record_side(unit: int, item: int, version: int, pass_id: int) -> bytes:
    """Return the 32 bytes that are kept beside a record: keys of unit, native id and state; the pass."""
    return _pack(unit, item, version, pass_id)


def change_side(unit: int, item: int, version: int, place: ChangePlace) -> bytes:
    """Return the 44 bytes that are kept beside a change: no pass sealed it, and it stood at `place`."""
    return _pack(unit, item, version, NO_PASS) + _PLACE.pack(*place)


def place_of(row: Row) -> ChangePlace | None:
    """Return where the change stood that a row holds; None where it was read otherwise."""
    if len(row.side) != RECORD_SIDES[1]:
        return None
    return ChangePlace(*_PLACE.unpack_from(row.side, RECORD_SIDE_BYTES))


class SealedStates:
    """Hold the sealed states of one unit's records in flat arrays: 41 bytes for each, 151 while they are sorted.

    Each state answers once: of two equal rows that are sealed, two equal rows are unchanged and a third is new.
    """

    def __init__(self) -> None:
        self._items, self._versions, self._notes = array("Q"), array("Q"), array("Q")
        self._taken, self._seen = bytearray(), bytearray()
        self._item_order = array("Q")
        self._newest: dict[int, int] = {}
        """The newest state of each record that has several."""

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: int, version: int, note: int) -> None:
        """Add a sealed state; all of them before `sort`. `note` is what `row_note` made."""
        self._items.append(item)
        self._versions.append(version)
        self._notes.append(note)

    def extend(self, other: "SealedStates") -> None:
        """Add the states of the same unit that another member of the family holds."""
        self._items.extend(other._items)
        self._versions.extend(other._versions)
        self._notes.extend(other._notes)

    def sort(self) -> "SealedStates":
        """Make ready to be asked."""
        items, versions, notes = self._items, self._versions, self._notes
        order = sorted(range(len(items)), key=notes.__getitem__, reverse=True)
        order.sort(key=versions.__getitem__)  # stable: of equal states the newest stands first
        self._items = array("Q", (items[at] for at in order))
        self._versions = array("Q", (versions[at] for at in order))
        self._notes = array("Q", (notes[at] for at in order))
        self._item_order = array("Q", sorted(self._items))
        self._taken, self._seen = bytearray(len(order)), bytearray(len(order))
        self._newest = self._newest_states()
        return self

    def _newest_states(self) -> dict[int, int]:
        ids = self._item_order
        several = {ids[at] for at in range(1, len(ids)) if ids[at] == ids[at - 1]}
        found: dict[int, tuple[int, int]] = {}
        members: dict[int, int] = {}
        for item, version, note in zip(self._items, self._versions, self._notes, strict=True):
            if item not in several:
                continue
            place = note >> 1
            number = place >> _SEQ_BITS
            if members.setdefault(item, number) != number:
                members[item] = -1  # of states under two schemas nothing says which came later
            if place >= found.get(item, (0, 0))[0]:
                found[item] = (place, version)
        return {item: version for item, (_, version) in found.items() if members[item] >= 0}

    def is_older(self, item: int, version: int) -> bool:
        """Tell whether the record was sealed in another state after this one."""
        return self._newest.get(item, version) != version

    def see(self, item: int) -> None:
        """Note that a record is still there, in whatever state: it has not vanished."""
        at = bisect_left(self._item_order, item)
        if at < len(self._item_order) and self._item_order[at] == item:
            self._seen[at] = 1

    def take(self, item: int, version: int, member: int | None = None) -> int | None:
        """Look a state up: None where it is not sealed, else whether (1 or 0) this pass sealed it.

        With `member`, a family number, only among the states that are sealed there.
        """
        self.see(item)
        versions, notes, taken = self._versions, self._notes, self._taken
        at = bisect_left(versions, version)
        while at < len(versions) and versions[at] == version:
            is_meant = member is None or notes[at] >> 1 >> _SEQ_BITS == member
            if is_meant and not taken[at] and self._items[at] == item:
                taken[at] = 1
                return notes[at] & 1
            at += 1
        return None

    def items_in(self, member: int) -> set[int]:
        """Return the records that have a state under this family number."""
        pairs = zip(self._items, self._notes, strict=True)
        return {item for item, note in pairs if note >> 1 >> _SEQ_BITS == member}

    def unseen(self) -> list[tuple[int, int]]:
        """List (family number, sequence number) of the newest state of each record that was not seen."""
        newest: dict[int, int] = {}
        order, seen = self._item_order, self._seen
        for item, note in zip(self._items, self._notes, strict=True):
            if not seen[bisect_left(order, item)]:
                newest[item] = max(note >> 1, newest.get(item, 0))
        return sorted(_unpacked(place) for place in newest.values())

    def seen_among(self, places: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
        """List those of these (family number, sequence number) whose record was seen."""
        order, seen = self._item_order, self._seen
        pairs = zip(self._items, self._notes, strict=True) if places else ()
        found = (_unpacked(note >> 1) for item, note in pairs if seen[bisect_left(order, item)])
        return sorted(place for place in found if place in places)


def _unpacked(place: int) -> tuple[int, int]:
    return place >> _SEQ_BITS, place & _SEQ_MASK


def row_note(number: int, seq: int, *, is_of_this_pass: bool) -> int:
    """Pack the family number (16 bits), sequence number (47 bits) and whether this pass sealed the row."""
    return (number << _SEQ_BITS | seq) << 1 | is_of_this_pass


def sealed_states(
    ledger: OrderLedgerWriter, alias: str, from_seq: int, pass_id: int
) -> dict[int, SealedStates]:
    """Read what is sealed under a family's member from a sequence number on, by unit; not sorted yet."""
    number = int(alias.rpartition("/")[2])
    found: dict[int, SealedStates] = {}
    for row in rows_from(ledger, alias, from_seq):
        if len(row.side) in RECORD_SIDES:
            unit, item, version, sealed_by = _SIDE.unpack_from(row.side)
            states = found.get(unit)
            if states is None:
                states = found[unit] = SealedStates()
            states.add(item, version, row_note(number, row.seq, is_of_this_pass=sealed_by == pass_id))
    return found


def rows_from(ledger: OrderLedgerWriter, alias: str, from_seq: int) -> Iterator[Row]:
    """Yield the durable rows of a log source from a sequence number on, those of the open segment last."""
    for _, manifest in ledger.manifests():
        if manifest.source == alias and manifest.seq[1] > max(from_seq, manifest.seq[0]):
            with closing(ledger.segment(manifest)) as reader:
                yield from _at_least(reader.rows(), from_seq)
    writer = ledger.open_rows(alias)
    if writer is not None:
        yield from _at_least(writer.flushed_rows(), from_seq)


def _at_least(rows: Iterable[Row], from_seq: int) -> Iterator[Row]:
    return (row for row in rows if row.seq >= from_seq)


def pass_of(row: Row) -> int | None:
    """Return the id of the pass that sealed a record's row; None where the row is no record's."""
    return _SIDE.unpack_from(row.side)[3] if len(row.side) in RECORD_SIDES else None
