"""Keep for other orders what they claim, and have not sealed themselves, before the last copy of it is destroyed.

An item is destroyable only when no order claims it. What a clause of another living order covers, and that order has
not sealed in this state, because its source lost it, because another state came, or because no pass ran yet, is sealed
in that order's log from what the vault has: new record keys, the same values, the same content. It names no order.
"""

import secrets
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple

from scelle.bootstrap.guarding import RowHolds
from scelle.bootstrap.session import Session
from scelle.capture.families import Family
from scelle.capture.identity import ItemNames
from scelle.capture.sealed import is_by_hand
from scelle.capture.store import without_pass
from scelle.errors import ContentMissing
from scelle.formats.compartments import is_restricted_row
from scelle.formats.entries import Segment
from scelle.formats.records import RECORD_KEY_BYTES, SALT_BYTES, ChunkRoot
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.formats.tokens import is_reserved_alias
from scelle.formats.values import Content, content_value, decode_value
from scelle.ledger.destroying import is_destroyed, is_doomed
from scelle.ledger.erasing import contents_of
from scelle.ledger.events import record_event
from scelle.ledger.rows import Row
from scelle.ledger.search import Tombstones, tombstones
from scelle.ledger.segments import SegmentWriter
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.release.contents import named_contents
from scelle.release.matching import called
from scelle.release.quarantine import QUARANTINED, RESTRICTED_GROUND, Place, quarantine_codes
from scelle.sources.interfaces import Member

CARRIED: Final = "records.carried-over"
"""The event that records were sealed from what the vault had; of `source`, how many."""
_CONTENT, _CHUNKS, _META = 5, 6, 8
_KEPT_IN_PLACE: Final = b'"keep":"digest"'
_VALUES_FROM: Final = 2
_BODY: Final = 5


class _Shape(NamedTuple):
    """What all rows of one segment have in common."""

    source: str
    alias: str
    schema: Schema
    profile: int

    @property
    def is_member(self) -> bool:
        """Tell whether it is a member of a family: of a source of records."""
        return "/" in self.alias


def carry_over(
    session: Session, ledger: OrderLedger, places: Collection[Place] | None = None, *, has_begun: bool = False
) -> None:
    """Seal in the logs of other living orders what they claim of this order's rows, or of these `places` of them.

    Durable and sealed when it returns: then the rows may go. What is quarantined here is quarantined there. A second
    time finds nothing to do; of what a crash left durable before the commit see `_settle`. Raises `ContentMissing`
    where a content that is claimed is not there, unless the destruction `has_begun`: then it went before the claim.
    """
    holds = RowHolds(session, without=ledger.order)
    for order in holds.orders:
        _settle(session, session.writer(order))
    carrying = _Carrying(session, holds.orders, has_begun=has_begun)
    grounds, names = quarantine_codes(ledger), sealed_order(ledger).source_names
    for at, manifest in _segments(ledger, places):
        source = called(names, manifest.source)
        if source not in carrying.sources:
            continue
        shape = _Shape(source, manifest.source, ledger.schema(manifest.schema), manifest.profile)
        for row in _living(ledger, at, manifest, places):
            claims = [(hold.order, hold.clause) for hold in holds.unsealed(source, shape.schema, row)]
            for order in sorted({order for order, _ in claims}):
                clauses = [clause for name, clause in claims if name == order]
                carrying.take(order, clauses, shape, row, grounds.get((at, row.seq)))
    carrying.seal()


def _settle(session: Session, ledger: OrderLedgerWriter) -> None:
    """Seal what an interrupted run left open in another order's log, so that nothing is sealed twice.

    Records that no pass made come from a crash in here. Which of them were to be quarantined is not known any more, so
    all of them are: two people may let out what should not be.
    """
    aliases = [alias for alias in ledger.open_sources() if not is_reserved_alias(alias)]
    if not aliases:
        return
    names, places = sealed_order(ledger).source_names, defaultdict[str, list[list[int]]](list)
    for alias in aliases:
        writer = ledger.open_rows(alias)
        if writer is None:
            continue
        for row in writer.flushed_rows():
            if is_by_hand(row) and not is_restricted_row(row.split_values()):
                item = ItemNames(session.key, called(names, alias), writer.schema).name(row)
                places[item or ""].append([ledger.coming_index(alias), row.seq])
    if places:
        body = {"items": sorted(places), "places": dict(places), "ground": RESTRICTED_GROUND, "request": None}
        record_event(ledger, session.now_us(), session.actor, QUARANTINED, body)
    ledger.seal(session.now_us(), only=[*aliases, *([EVENTS_SOURCE] if places else [])])


def needed_by_none(session: Session, order: str, contents: Collection[bytes]) -> set[bytes]:
    """Return those of an order's contents (SHA-256) that no record of any other log names: these may be destroyed."""
    doomed = set(contents)
    for other in [RESERVED_ORDER_ID, *session.all_orders()] if doomed else ():
        if other != order:
            doomed.difference_update(named_contents(session.writer(other)))
    return doomed


def _segments(ledger: OrderLedger, places: Collection[Place] | None) -> Iterator[tuple[int, Segment]]:
    wanted = None if places is None else {at for at, _ in places}
    for at, manifest in ledger.manifests():
        is_meant = is_doomed(manifest) and (wanted is None or at in wanted)
        if is_meant and manifest.records and not is_destroyed(ledger, manifest):
            yield at, manifest


def _living(
    ledger: OrderLedger, at: int, manifest: Segment, places: Collection[Place] | None
) -> Iterator[Row]:
    """Yield the rows of a segment that are not under a tombstone."""
    gone = tombstones(ledger.entries).get(at, Tombstones()).records
    with closing(ledger.segment(manifest)) as reader:
        for row in reader.rows():
            if row.seq - manifest.seq[0] not in gone and (places is None or (at, row.seq) in places):
                yield row


class _Carrying:
    """What is being sealed, in the logs of how many orders ever."""

    def __init__(self, session: Session, orders: Collection[str], *, has_begun: bool) -> None:
        self._session, self._has_begun = session, has_begun
        self._orders = {order: sealed_order(session.ledger(order)) for order in orders}
        self.sources = {name for sealed in self._orders.values() for name in sealed.aliases}
        """What people call the sources that one of these orders names."""
        self._families: dict[tuple[str, str], Family] = {}
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._shut: dict[str, list[tuple[str, str, int, str]]] = defaultdict(list)
        """Of each order what is to be quarantined there: ground, log source, sequence number, item."""

    def take(
        self, order: str, clauses: Collection[str | None], shape: _Shape, row: Row, ground: str | None
    ) -> None:
        """Append one row to the log of an order whose clauses claim it; nothing where its content is gone already.

        What these clauses restrict, and lies open, is quarantined there: to lock it is a matter of the next pass.
        """
        values = row.split_values()
        kept = self._kept(shape, row, values)
        if kept is None:
            return
        sealed = self._orders[order]
        is_shut = is_restricted_row(values)
        if (
            ground is None
            and not is_shut
            and any(each.may_restrict for each in sealed.clauses if each.id in clauses)
        ):
            ground = RESTRICTED_GROUND
        writer = self._writer(order, sealed.aliases[shape.source], shape)
        record_key, rest = kept
        time_us = int.from_bytes(values[0][_BODY:], "big", signed=True)
        seq = writer.append(record_key, time_us, rest, without_pass(row.side))
        self._counts[order][shape.source] += 1
        item = ItemNames(self._session.key, shape.source, shape.schema).name(row)
        if ground is not None and item is not None:
            self._shut[order].append((ground, writer.alias, seq, item))

    def seal(self) -> None:
        """Commit what was taken, what is quarantined with it: one commit for each order, all or nothing."""
        for order in sorted(self._counts):
            self._seal(order)

    # --- inside

    def _kept(self, shape: _Shape, row: Row, values: Sequence[bytes]) -> tuple[bytes, list[bytes]] | None:
        """Return the new record's key and its values behind time and sequence number; None where content is gone.

        A document's chunk root is made anew under the new salt. What cannot be made anew, because the content lies in
        the compartment or was never kept, keeps its salt.
        """
        key, rest = secrets.token_bytes(RECORD_KEY_BYTES), list(values[_VALUES_FROM:])
        is_document = shape.schema.digest == DOCUMENT_V1.digest
        same_salt = row.record_key[:SALT_BYTES] + key[SALT_BYTES:]
        if is_document and _KEPT_IN_PLACE in values[_META]:
            return same_salt, rest
        if not all(map(self._session.packs.contains, contents_of(shape.schema, row))):
            if self._has_begun:
                return None
            raise ContentMissing(
                f"{shape.alias}, record {row.seq}: its content is held and is not there, so that nothing is destroyed: "
                "run `scelle verify`, and restore the pack from a copy"
            )
        if not is_document:
            return key, rest
        content = decode_value(values[_CONTENT])[1] if values[_CONTENT][:1] == b"h" else None
        if not isinstance(content, Content):
            return same_salt, rest
        chunks = ChunkRoot(key[:SALT_BYTES])
        for piece in self._session.packs.read(content.digest) if content.size_bytes else ():
            chunks.update(piece)
        rest[_CHUNKS - _VALUES_FROM] = content_value(chunks.digest(), content.size_bytes)
        return key, rest

    def _writer(self, order: str, alias: str, shape: _Shape) -> SegmentWriter:
        ledger, now_us = self._session.writer(order), self._session.now_us()
        if shape.is_member:
            family = self._families.get((order, alias))
            if family is None:
                family = self._families[order, alias] = Family(ledger, alias)
            alias = family.assign(Member(shape.schema.name, shape.schema, shape.profile))
        if ledger.is_full(alias, now_us):
            self._seal(order)
        writer = ledger.writer(alias, shape.schema, now_us, shape.profile)
        writer.before_frame = self._session.packs.sync
        return writer

    def _seal(self, order: str) -> None:
        ledger, now_us, actor = self._session.writer(order), self._session.now_us(), self._session.actor
        for source, records in sorted(self._counts.pop(order).items()):
            record_event(ledger, now_us, actor, CARRIED, {"source": source, "records": records})
        grounds: dict[str, dict[str, list[list[int]]]] = defaultdict(lambda: defaultdict(list))
        for ground, alias, seq, item in self._shut.pop(order, ()):
            grounds[ground][item].append([ledger.coming_index(alias), seq])
        for ground, places in sorted(grounds.items()):
            body = {"items": sorted(places), "places": dict(places), "ground": ground, "request": None}
            record_event(ledger, now_us, actor, QUARANTINED, body)
        ledger.seal(now_us)
