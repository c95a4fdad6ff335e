"""Seal the changes of one source for one order, as they happen.

A change is durable before its place is confirmed to the store (`LiveCapture.flush`, then `ChangeStream.confirm`). A
crash between the two makes the store send it again: each row keeps its place beside it, so that it is known again.
"""

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from scelle.capture.entries import count_entry
from scelle.capture.interfaces import NamedSource, PassTools
from scelle.capture.lookup import SealedStateSet, state_key
from scelle.capture.model import Counts, Problem
from scelle.capture.newest import NewestStates
from scelle.capture.problems import ProblemLog
from scelle.capture.record_rows import (
    NO_PASS,
    RECORD_SIDES,
    RecordKeys,
    change_side,
    pass_of,
    place_of,
    record_side,
    rows_from,
)
from scelle.capture.record_sealing import RecordSealer
from scelle.capture.restricted_records import RESTRICTED_MEMBER
from scelle.capture.store import ItemKeys
from scelle.errors import ItemError
from scelle.formats.entries import Segment
from scelle.ledger.events import events, record_event
from scelle.ledger.rows import Row
from scelle.ledger.segments import SegmentWriter
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.scope.model import Clause
from scelle.scope.records import RecordView
from scelle.sources.interfaces import (
    BadRecord,
    ChangeBatch,
    ChangeKind,
    ChangePlace,
    ChangeStream,
    Member,
    Record,
    native_text,
)

SEALED: Final = "watch.sealed"
"""The event that says what was captured since the last one: counts, and where the source's own log stood."""
NOTICED: Final = "watch.noticed"
"""The event that says what happened to a whole unit: emptied, other columns."""

FAILED: Final = "items.failed"

NOT_SEALED: Final = "record-not-sealed"
"""Why a deletion is left out that gives a key only: the record is not sealed, so no clause covered it."""

_HEAD_BYTES: Final = 5
_PASS_BYTES: Final = 8
_NATIVE: Final = 3
_ITEM: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Seam:
    """Join a snapshot to a stream: a state that the snapshot gave is not sealed again.

    ``below``: no transaction committed at this place or later was seen. Before it, `sees` tells by the store's number.
    What was seen may have been another state, or gone, by the time of the snapshot: each state is compared.
    """

    below: int
    sees: Callable[[int], bool]

    def covers(self, place: ChangePlace, transactions: Mapping[int, int]) -> bool:
        """Tell whether the snapshot saw a change."""
        if place.commit >= self.below:
            return False
        transaction = transactions.get(place.commit)
        return transaction is not None and self.sees(transaction)


class LiveCapture:
    """One source of one order while it is watched.

    The store was told to forget what stands before `confirmed`. `token` writes where the source's own log stands, for
    manifests.
    """

    def __init__(
        self,
        tools: PassTools,
        named: NamedSource,
        clauses: Sequence[Clause],
        *,
        seam: Seam | None,
        confirmed: int,
        token: Callable[[int], bytes],
    ) -> None:
        self._tools, self._named, self._seam, self._token = tools, named, seam, token
        self._keys = RecordKeys(tools.vault_key, named.name)
        self._item_keys = ItemKeys(tools.vault_key, named.name)
        self._sealer = RecordSealer(tools, named, clauses, self._record, self._make_room)
        self._confirmed = confirmed
        self._durable = durable_places(tools.ledger, self._sealer.family.aliases, confirmed)
        self._failed = ProblemLog(self._record, FAILED, [])
        self._failed_kept: set[str] | None = None
        self._snapshot: SealedStateSet | None = None
        """The states that are sealed, as long as changes come that a snapshot may have given."""
        self._known: set[int] | None = None
        """The records that are sealed, once it had to be asked."""
        self._restricted: set[int] | None = None
        self._members: dict[str, Member] = {}
        self._newest: dict[str, NewestStates] = {}
        self.counts = Counts()
        """What was captured since `seal`."""
        self._since_us = tools.now_us()
        self.reached = confirmed

    def count_left(self) -> None:
        """Count the rows that a crash left durable behind the counts that were sealed last; once for each process.

        What was excluded or failed between them is not known any more, and not counted.
        """
        ledger, alias = self._tools.ledger, self._named.alias
        sealed = [event.body for event in events(ledger, SEALED) if event.body["source"] == alias]
        counted = sealed[-1].get("rows") if sealed else {}
        if counted is None:  # sealed before this was noted: what is there was counted then
            return
        rows = sum(
            pass_of(row) == NO_PASS
            for each in self._sealer.family.aliases
            for row in rows_from(ledger, each, counted.get(each, 0))
        )
        self.counts.add(Counts(offered=rows, new=rows))

    def _next_seqs(self) -> dict[str, int]:
        """Return, by log source, the sequence number up to which rows are counted."""
        ledger, found = self._tools.ledger, {}
        for alias in self._sealer.family.aliases:
            writer = ledger.open_rows(alias)
            found[alias] = ledger.state.chain(alias).next_seq if writer is None else writer.next_seq
        return found

    # --- changes

    def take(self, batch: ChangeBatch, stream: ChangeStream) -> None:
        """Append what the order covers of a batch. Nothing of it is durable before `flush`."""
        self._name(stream.members())
        for notice in batch.notices:
            if notice.place.commit >= self._confirmed:
                self._notice(notice.kind, notice.unit, notice.detail, notice.place)
        writers: dict[str, SegmentWriter] = {}
        changes = zip(batch.records, batch.kinds, batch.places, strict=True)
        for at, (record, kind, place) in enumerate(changes):
            if place in self._durable:
                continue
            self._durable.add(place)
            if (
                self._seam is not None
                and self._seam.covers(place, batch.transactions)
                and self._is_of_snapshot(record, kind)
            ):
                continue
            self.counts.offered += 1
            if isinstance(record, BadRecord):
                self._fail(Problem(*record))
            elif at in batch.unsent:
                self._take_change(self._completed(record, batch.unsent[at], stream), kind, place, writers)
            else:
                self._take_change(record, kind, place, writers)
        self._close_newest()
        self.reached = max(self.reached, batch.reached)

    def _is_of_snapshot(self, record: Record | BadRecord, kind: ChangeKind) -> bool:
        """Tell whether a change that the snapshot saw is the very state that is sealed, from the snapshot."""
        if isinstance(record, BadRecord) or kind is ChangeKind.KEY_DELETED:
            return False
        if self._snapshot is None:
            self._sync()
            aliases, ledger = self._sealer.family.aliases, self._tools.ledger
            rows = (row for alias in aliases for row in rows_from(ledger, alias, 0))
            self._snapshot = SealedStateSet(key for row in rows if (key := state_key(row.side)) is not None)
        unit, item = self._keys.unit(record.member.encode("utf-8")), self._keys.item(record.native)
        return (
            state_key(record_side(unit, item, self._keys.version(record.version), NO_PASS)) in self._snapshot
        )

    def confirmed(self, reached: int) -> None:
        """Forget the places that the store was told to forget: none of them comes again."""
        self._confirmed = reached
        self._durable.confirm(reached)
        if self._seam is not None and reached >= self._seam.below:
            self._snapshot = None

    def take_kept(
        self, records: Sequence[Record | BadRecord], places: Sequence[str], stream: ChangeStream
    ) -> set[int]:
        """Append rows that the guard kept in the store, but those whose very state is the newest that is sealed.

        `places` tell the rows apart in the store. Returns the numbers among `records` of those that failed: the store
        must keep them. They come again; each is counted, and sealed, as failed once.

        So a row that the stream or a snapshot gave is not sealed again, and neither is one that was sealed and stands
        in the store still, since a crash came before it was taken out there.
        """
        self._name(stream.members())
        try:
            return {
                at
                for at, (record, place) in enumerate(zip(records, places, strict=True))
                if not self._takes_kept(record, place)
            }
        finally:
            self._close_newest()

    def _takes_kept(self, record: Record | BadRecord, place: str) -> bool:
        """Take one row that the guard kept; tell whether it need not be kept any longer."""
        problem = Problem(*record) if isinstance(record, BadRecord) else self._sealed_kept(record)
        if problem is None:
            self.counts.offered += 1
        elif place not in self._kept_failures():
            self._kept_failures().add(place)
            self.counts.offered += 1
            self._fail(problem, outbox=place)
        return problem is None

    def _sealed_kept(self, record: Record) -> Problem | None:
        state = self._newest_state(record)
        unit = record.member.encode("utf-8")
        side = record_side(
            self._keys.unit(unit), self._keys.item(record.native), self._keys.version(record.version), NO_PASS
        )
        if state is not None and state.side[: len(side) - _PASS_BYTES] == side[:-_PASS_BYTES]:
            self.counts.unchanged += 1
            return None
        return self._take(record, ChangeKind.DIVERTED, side, {})

    def _kept_failures(self) -> set[str]:
        """Return the places of the rows that the guard kept and that were sealed as failed, whoever watched then."""
        if self._failed_kept is None:
            self._failed_kept = {
                item["outbox"]
                for event in events(self._tools.ledger, FAILED)
                if event.body["source"] == self._named.alias
                for item in event.body["items"]
                if "outbox" in item
            }
        return self._failed_kept

    def _name(self, members: Sequence[Member]) -> None:
        fresh = [member for member in members if self._members.get(member.name) != member]
        if fresh:
            self._sealer.name_members(fresh)
            self._members.update((member.name, member) for member in fresh)

    def _take_change(
        self, record: Record, kind: ChangeKind, place: ChangePlace, writers: dict[str, SegmentWriter]
    ) -> None:
        keys = self._keys
        unit, item = keys.unit(record.member.encode("utf-8")), keys.item(record.native)
        problem = self._take(
            record, kind, change_side(unit, item, keys.version(record.version), place), writers
        )
        if problem is not None:
            self._fail(problem)

    def _take(
        self, record: Record, kind: ChangeKind, side: bytes, writers: dict[str, SegmentWriter]
    ) -> Problem | None:
        """Append a record where it is covered, and count it; return why it cannot be sealed, which is not counted."""
        sealer, counts = self._sealer, self.counts
        shape, unit = sealer.shapes[record.member], record.member.encode("utf-8")
        item: int = _ITEM.unpack_from(side, _ITEM.size)[0]
        match = shape.decide(RecordView(unit, record.time_us, record.account, record.values))
        reason = None if match.excluded_by is None else match.excluded_by.value
        is_covered = match.covered
        if kind is ChangeKind.KEY_DELETED:
            # no clause can be asked of a key: it is the order's where its record is
            is_covered, reason = item in self._sealed_items(), NOT_SEALED
        if not is_covered:
            counts.excluded_by["rule" if reason is None else reason] += 1
            return None
        try:
            if match.restricted or (sealer.restricted_alias is not None and item in self._restricted_items()):
                sealer.seal_restricted(record, side)
                self._restricted_items().add(item)
                counts.restricted += 1
            else:
                writer = writers.get(record.member)
                if writer is None or writer.records >= writer.max_records:
                    writer = writers[record.member] = sealer.writer(shape.alias, shape.member)
                seq = sealer.seal(writer, record, side)
                if shape.alias in self._newest and kind is not ChangeKind.KEY_DELETED:
                    self._newest[shape.alias].note(native_text(_native_id(record)), seq)
        except ItemError as error:
            called = self._item_keys.shadow(record.native) if match.restricted else native_text(record.native)
            return Problem(called, error.cause, "" if match.restricted else str(error))
        if self._known is not None:
            self._known.add(item)
        counts.new += 1
        counts.bytes += record.size_bytes
        sealer.group_bytes += record.size_bytes
        return None

    def _completed(self, record: Record, unsent: Sequence[int], stream: ChangeStream) -> Record:
        """Put in what the store did not send, from the record's newest sealed state; where none is, it stays null."""
        state = self._newest_state(record)
        return record if state is None else stream.completed(record, unsent, state.split_values())

    def _close_newest(self) -> None:
        for newest in self._newest.values():
            newest.close()

    def _newest_state(self, record: Record) -> Row | None:
        alias = self._sealer.shapes[record.member].alias
        newest = self._newest.setdefault(alias, NewestStates(self._tools.ledger, alias))
        return newest.find(native_text(_native_id(record)))

    def _sealed_items(self) -> set[int]:
        """Return the records that are sealed: a deletion that gives a key only is of the order where its record is."""
        if self._known is None:
            self._known = self._items_under(self._sealer.family.aliases)
        return self._known

    def _restricted_items(self) -> set[int]:
        if self._restricted is None:
            alias = self._sealer.family.find(RESTRICTED_MEMBER)
            self._restricted = set() if alias is None else self._items_under([alias])
        return self._restricted

    def _items_under(self, aliases: Collection[str]) -> set[int]:
        self._sync()
        return {
            _ITEM.unpack_from(row.side, _ITEM.size)[0]
            for alias in aliases
            for row in rows_from(self._tools.ledger, alias, 0)
            if len(row.side) in RECORD_SIDES
        }

    def _fail(self, problem: Problem, **more: str) -> None:
        self.counts.failed += 1
        self.counts.failed_by[problem.cause] += 1
        self._failed.add(problem, **more)

    def _notice(self, kind: str, unit: bytes, detail: str, place: ChangePlace) -> None:
        called = self._item_keys.shadow(unit) if self._sealer.is_restricted else native_text(unit)
        body = {"kind": kind, "unit": called, "detail": "" if self._sealer.is_restricted else detail}
        self._record(NOTICED, {**body, "commit": str(place.commit), "number": place.number})

    def notice_gap(self, cause: str, units: Sequence[str]) -> None:
        """Seal at once which units a gap of this cause is about."""
        for unit in units:
            self._notice(cause, unit.encode("utf-8"), "", ChangePlace(self.reached, 0))
        self._sync()
        self._tools.ledger.seal(self._tools.now_us(), only=[EVENTS_SOURCE])

    def _record(self, kind: str, body: Mapping[str, Any]) -> None:
        tools = self._tools
        record_event(tools.ledger, tools.now_us(), tools.actor, kind, {"source": self._named.alias, **body})

    # --- durable

    @property
    def has_news(self) -> bool:
        """Tell whether something was offered since `seal`."""
        return self.counts.offered > 0

    @property
    def waiting_bytes(self) -> int:
        """Return how much was appended since `flush`."""
        return self._sealer.group_bytes

    def flush(self) -> None:
        """Make durable what was appended; segments that are full, or were open for 15 minutes, are sealed."""
        self._make_room(self._tools.now_us())

    def _make_room(self, now_us: int) -> None:
        self._sync()
        full = self._tools.full_sources(self._sealer.family.aliases, now_us)
        if full:
            self._stand(full)
            self._tools.ledger.seal(now_us, only=full)

    def _sync(self) -> None:
        self._failed.flush()
        self._tools.packs.sync()
        self._tools.ledger.flush()
        self._tools.catalog.commit()
        self._sealer.group_bytes = 0
        self._tools.on_durable(self._sealer.family.aliases)

    def _stand(self, aliases: Collection[str]) -> None:
        for alias in aliases:
            if alias != EVENTS_SOURCE:
                self._tools.ledger.stand_at(alias, self._token(self.reached))

    def seal(self) -> Counts:
        """Seal what was captured: a manifest for each member, the counts, and the event; all under one checkpoint.

        A crash before leaves the rows durable and open: the next time they are sealed, and the store sends nothing
        twice that the order keeps twice. Returns the counts that were sealed.
        """
        tools, now_us, counts = self._tools, self._tools.now_us(), self.counts
        counts.reconcile(self._named.name)
        looked = self._sealer.looked()
        self._record(
            SEALED,
            {
                "from_us": str(self._since_us),
                "to_us": str(now_us),
                "position": self._token(self.reached).decode("ascii"),
                "rows": self._next_seqs(),
                **counts.to_json(),
            },
        )
        self._sync()
        interval = (self._since_us, max(now_us, self._since_us + 1))
        entry = count_entry(tools.ledger, self._named, counts, interval)
        opened = [alias for alias in self._sealer.family.aliases if tools.ledger.open_rows(alias) is not None]
        names = {*opened, *(each.alias for each in looked)}  # a table may have had other columns meanwhile
        self._stand(sorted(names))
        tools.ledger.seal(now_us, only=[*names, EVENTS_SOURCE], looked=looked, entries=[entry])
        self.counts, self._since_us = Counts(), now_us
        return counts


def _native_id(record: Record) -> bytes:
    return record.values[_NATIVE - 2][_HEAD_BYTES:]


@dataclass(frozen=True, slots=True)
class WatchedSource:
    """What watching a source has sealed for an order so far, until when (microseconds), and where its stream stood."""

    offered: int
    sealed: int
    failed: int
    excluded: int
    lost: int
    until_us: int
    position: str


def watched_sources(ledger: OrderLedger) -> dict[str, WatchedSource]:
    """Sum up, by alias, what was sealed of changes as they happened."""
    found: dict[str, WatchedSource] = {}
    for event in events(ledger, SEALED):
        body = event.body
        last = found.get(body["source"])
        counted = {
            name: body[name] + (0 if last is None else getattr(last, name))
            for name in ("offered", "sealed", "failed", "excluded", "lost")
        }
        found[body["source"]] = WatchedSource(
            **counted, until_us=int(body["to_us"]), position=body["position"]
        )
    return found


class DurablePlaces:
    """Hold the places of changes that are durable and were not confirmed: a bit for each number of a transaction."""

    def __init__(self, confirmed: int) -> None:
        self._confirmed = confirmed
        self._numbers: dict[int, bytearray] = {}

    def add(self, place: ChangePlace) -> bool:
        """Add a place; tell whether it was confirmed already, so that it needs not to be kept."""
        if place.commit < self._confirmed:
            return True
        numbers = self._numbers.setdefault(place.commit, bytearray())
        at, bit = divmod(place.number, 8)
        if at >= len(numbers):
            numbers.extend(bytes(at + 1 - len(numbers)))
        numbers[at] |= 1 << bit
        return False

    def confirm(self, confirmed: int) -> None:
        """Let go of what was confirmed meanwhile."""
        self._confirmed = max(self._confirmed, confirmed)
        for commit in [commit for commit in self._numbers if commit < self._confirmed]:
            del self._numbers[commit]

    def __contains__(self, place: object) -> bool:
        if not isinstance(place, ChangePlace):
            return False
        if place.commit < self._confirmed:
            return True
        numbers = self._numbers.get(place.commit, b"")
        at, bit = divmod(place.number, 8)
        return at < len(numbers) and bool(numbers[at] >> bit & 1)


def durable_places(ledger: OrderLedgerWriter, aliases: Collection[str], confirmed: int) -> DurablePlaces:
    """Return the changes that are durable under these log sources and that the store was not told to forget.

    A crash in the middle of a flush leaves rows of one table and not those of another, so that each is asked for by
    itself. Segments are read from the open one back to the first that holds nothing unconfirmed.
    """
    found = DurablePlaces(confirmed)
    for alias in aliases:
        writer = ledger.open_rows(alias)
        if writer is not None:
            for row in writer.flushed_rows():
                place = place_of(row)
                if place is not None:
                    found.add(place)
        for _, manifest in reversed(list(ledger.manifests())):
            if manifest.source == alias and manifest.records and not _take_places(ledger, manifest, found):
                break
    return found


def _take_places(ledger: OrderLedgerWriter, manifest: Segment, found: DurablePlaces) -> bool:
    """Add the places of a closed segment; tell whether one of them was not confirmed."""
    is_open = False
    with closing(ledger.segment(manifest)) as reader:
        for row in reader.rows():
            place = place_of(row)
            is_open |= place is not None and not found.add(place)
    return is_open
