"""Say why an item is held, within the walls of whoever asks.

The guard looks at every order, whoever asks; only orders that the session sees are shown, and of the others no more
than that they hold, as `may-delete` says it.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from scelle.bootstrap.facts import guard_over, guarded_sources, named_item, row_facts, written_name
from scelle.bootstrap.session import Session
from scelle.capture.lookup import find_version
from scelle.errors import CatalogStale, InputError, ItemUnknown, ScelleError
from scelle.find.items import ItemRows, Progress, SealedRow
from scelle.formats.compartments import is_restricted_row
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.tokens import shown
from scelle.guard.model import Facts, Hold, Readings
from scelle.guard.service import Guard
from scelle.guard.spool import Refusal, read_spool, refusal_from_json
from scelle.guard.why import Why
from scelle.ledger.events import events
from scelle.operators.model import Power
from scelle.orders.lifecycle import Life
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.release.quarantine import LIFTED, QUARANTINED, quarantine_of
from scelle.sources.interfaces import native_text
from scelle.sources.model import SourceSpec, spec_from_json
from scelle.sources.places import Name, Places
from scelle.sources.registry import known_source

_ITEM_ID: Final = re.compile(r"i[a-z2-7]{26}")
_REF: Final = re.compile(r"[0-9a-f]{8}")


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class _Target:
    """An item that was found: by its source and native id, and by one version of it where an item id was given.

    `names` are all under which sources may offer it, none where its source is not known. `is_seen`: it is known from
    what the session may see. `said` is what a refusal kept of it. `ref` is None where the row does not name its item,
    which is restricted.
    """

    source: str
    native: bytes
    ref: str | None
    names: tuple[Name, ...]
    item_id: str | None = None
    is_seen: bool = True
    said: Refusal | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """One order, opened: its life, the rows of its log, its log sources of documents, its sources by name."""

    life: Life
    rows: ItemRows
    documents: tuple[str, ...]
    specs: Mapping[str, SourceSpec]


def explain(session: Session, item: str, source: str | None = None, progress: Progress = _silent) -> Why:
    """Say what holds an item, as far as this session may know.

    `item` is an item's id, a ref, or with `source` its native id. Only orders that the session sees are listed; where
    none of those holds the item, what others hold is answered as `may-delete` answers it. Raises `ItemUnknown`, and
    InputError for what is none of these.
    """
    return _Explanation(session, progress).of(item, source)


def holds_of_item(
    session: Session, item: str, source: str | None = None, progress: Progress = _silent
) -> tuple[Hold, ...]:
    """Return what holds an item, of all orders: whoever shows it to people passes it through `session.sees` first."""
    return _Explanation(session, progress).everything(item, source)


class _Explanation:
    """One question, from what was asked to what holds it.

    Orders that the session sees and that hold; those that it sees and that hold no more; and those that it does not see
    and that hold. Nothing that is read of the last, and no fault in them, changes what is said of the others.
    """

    def __init__(self, session: Session, progress: Progress) -> None:
        self._session, self._progress = session, progress
        self._specs = guarded_sources(session)
        self._places = Places(self._specs)
        self._known: dict[str, _Known] = {}
        orders = session.all_orders()
        seen = {order: self._open(order).life for order in orders if session.sees(order)}
        self._visible = [order for order, life in seen.items() if life.holds]
        self._past = [order for order, life in seen.items() if not life.holds]
        self._guard = guard_over(session, {order: seen[order] for order in self._visible})
        self._unseen = [order for order in orders if order not in seen]

    def of(self, item: str, source: str | None) -> Why:
        """Answer as far as the session may know."""
        target = self._target(item, source)
        holds, sealed_in = self._holds(target, self._visible, self._guard) if target.is_seen else ((), ())
        is_held = bool(holds) or self._is_held_unseen(target)
        is_named = source is not None or (bool(holds) and self._may_name and not self._is_quarantined(target))
        return Why(
            item=item,
            source=target.source if is_named else None,
            native=native_text(target.native) if is_named else None,
            held=is_held,
            ref=target.ref if is_held else None,
            holds=tuple(holds),
            sealed_in=frozenset(sealed_in),
            sees_all=self._session.is_solo,
            now_us=self._session.now_us(),
        )

    @property
    def _may_name(self) -> bool:
        """Tell whether who asks may see names of items: an auditor sees counts and events alone."""
        return self._session.may(Power.READ_CONTENT, Power.CAPTURE)

    def _is_quarantined(self, target: _Target) -> bool:
        """Tell whether an order that the session sees has the item in quarantine: then nothing says its name."""
        for order in self._visible:
            row = self._rows(order, target)
            ledger = self._session.ledger(order)
            if row is not None and row.item_id in quarantine_of(events(ledger, QUARANTINED, LIFTED)):
                return True
        return False

    def everything(self, item: str, source: str | None) -> tuple[Hold, ...]:
        """Answer for all orders."""
        target = self._target(item, source)
        return (*self._holds(target, self._visible, self._guard)[0], *self._holds_unseen(target))

    def _is_held_unseen(self, target: _Target) -> bool:
        """Tell whether an order that is not seen holds the item; True where that cannot be read, naming none."""
        try:
            return bool(self._holds_unseen(target))
        except (ScelleError, OSError):
            return True

    def _holds_unseen(self, target: _Target) -> Sequence[Hold]:
        lives = {order: self._open(order).life for order in self._unseen}
        holding = {order: life for order, life in lives.items() if life.holds}
        return self._holds(target, list(holding), guard_over(self._session, holding))[0]

    # --- which item it is

    def _target(self, item: str, source: str | None) -> _Target:
        if source is not None:
            spec = known_source(self._specs, source)
            names = self._places.names_of(spec, item.encode("utf-8", "surrogateescape"))
            name, native = names[0].spec.name, names[0].native
            return _Target(name, native, self._guard.ref(name, native), names)
        if _ITEM_ID.fullmatch(item):
            return self._by_id(item)
        if _REF.fullmatch(item):
            return self._by_ref(item)
        raise InputError(
            f"{shown(item)} is neither an item's id (i and 26 characters) nor a ref (8 hex digits): "
            "give --source S for a native id"
        )

    def _by_id(self, item_id: str) -> _Target:
        def found(order: str, told: Progress) -> _Target | None:
            rows = self._open(order).rows
            row = self._in_catalog(item_id, order) or rows.of_id(item_id, told)
            if row is None:
                return None
            native = (row.native or "").encode()
            is_restricted = is_restricted_row(row.row.split_values())
            ref = None if is_restricted else self._guard.ref(row.source, native)
            names = self._names(row.source, native, is_stand_in=is_restricted)
            return _Target(row.source, native, ref, names, item_id)

        target = self._searched(found)
        if target is None:
            raise ItemUnknown(
                f"no sealed item has the id {item_id}: compare it, or give --source S and its native id"
            )
        return target

    def _in_catalog(self, item_id: str, order: str) -> SealedRow | None:
        """Return the newest version of a document where it has this id; what the catalog says is compared."""
        known = self._open(order)
        for alias in known.documents:
            try:
                seq = find_version(self._session.catalog, self._session.key, order, alias, item_id)
            except CatalogStale:
                return None  # the segments know it too
            found = None if seq is None else known.rows.at(alias, seq)
            if found is not None and found.item_id == item_id:
                return found
        return None

    def _by_ref(self, ref: str) -> _Target:
        refused = {(each.source, each.native): each for each in _refusals(self._session) if each.ref == ref}
        if len(refused) > 1:
            raise InputError(
                f"ref {ref} stands for {len(refused)} refused items by chance: give --source S and the native id"
            )
        for (source, native), said in refused.items():
            is_stand_in = ref != self._guard.ref(source, native.encode())
            names = self._names(source, native.encode(), is_stand_in=is_stand_in)
            return _Target(source, native.encode(), ref, names, said=said)

        def found(order: str, told: Progress) -> _Target | None:
            natives = self._open(order).rows.natives(self._has_ref(ref), told)
            for source, native in natives:
                return _Target(source, native.encode(), ref, self._names(source, native.encode()))
            return None

        target = self._searched(found)
        if target is None:
            raise ItemUnknown(
                f"no refusal and no sealed item has the ref {ref}: compare it, or give --source S"
            )
        return target

    def _searched(self, find: Callable[[str, Progress], _Target | None]) -> _Target | None:
        """Look into what the session sees; into the rest only then, silently, and for no more than that it is held."""
        counts = {order: self._open(order).rows.records for order in self._visible}
        before, total = 0, sum(counts.values())
        for order, count in counts.items():
            found = find(order, lambda done, _, before=before: self._progress(before + done, total))  # type: ignore[misc]
            if found is not None:
                self._progress(total, total)
                return found
            before += count
        for order in (*self._past, *self._unseen):
            is_seen = order in self._past
            try:
                found = find(order, _silent) if is_seen or self._open(order).life.holds else None
            except (ScelleError, OSError):  # disposed of, or not to be named
                continue
            if found is not None:
                return replace(found, is_seen=is_seen)
        return None

    def _names(self, source: str, native: bytes, *, is_stand_in: bool = False) -> tuple[Name, ...]:
        spec = self._specs.get(source)
        if spec is None:
            return ()
        return self._places.hidden(spec, native) if is_stand_in else self._places.names_of(spec, native)

    def _has_ref(self, ref: str) -> Callable[[str, str], bool]:
        return lambda source, native: self._guard.ref(source, native.encode()) == ref

    # --- what holds it

    def _holds(
        self, target: _Target, orders: Sequence[str], guard: Guard
    ) -> tuple[Sequence[Hold], Collection[str]]:
        """Return what these orders hold an item by, and which of them have sealed it; `guard` is over them.

        Of an order that has not sealed it, what the others of `orders` know of the item is looked at, and nothing that
        an order beyond them knows: so no answer depends on one that may not be seen.
        """
        rows = {order: self._rows(order, target) for order in orders}
        live, known = self._live(target), [(order, row) for order, row in rows.items() if row is not None]
        known = known or list(self._past_rows(target))
        holds: list[Hold] = []
        for order, found in rows.items():
            best = (order, found) if found is not None else next(iter(known), None)
            facts = live if best is None else self._with_sealed(*best, live)
            sealed_in = (order,) if found is not None else ()
            holds += [hold for hold in guard.holds_of(*facts, sealed_in=sealed_in) if hold.order == order]
        return holds, [order for order, found in rows.items() if found is not None]

    def _past_rows(self, target: _Target) -> Iterator[tuple[str, SealedRow]]:
        """Yield what orders that hold nothing any more, and that the session sees, still have of the item."""
        for order in self._past:
            try:
                row = self._rows(order, target)
            except ScelleError:  # disposed of
                continue
            if row is not None:
                yield order, row

    def _rows(self, order: str, target: _Target) -> SealedRow | None:
        """Return the newest row of the item, or of the version that was asked for, in an order's log."""
        names = {(each.spec.name, each.native) for each in target.names if each.native}
        for source, native in ((target.source, target.native), *sorted(names)):
            newest = None
            for is_restricted in (True, False):
                name = written_name(self._session, source, native, restricted=is_restricted)
                for row in self._open(order).rows.of_native(source, name):
                    if target.item_id is None or row.item_id == target.item_id:
                        newest = row
            if newest is not None:
                return newest
        return None

    def _live(self, target: _Target) -> Readings:
        """Return what is known of the item without a sealed row: what a refusal kept of it, and its names."""
        spec, said = self._specs.get(target.source), target.said
        if spec is None:
            return [Facts(target.source, target.native)]
        account, time_us = (None, None) if said is None else (said.account, said.time_us)
        return named_item(spec, target.names, account, time_us).readings

    def _with_sealed(self, order: str, row: SealedRow, live: Readings) -> Readings:
        """Return what is known of an item with a sealed row: the row says it all, but of other sources that have it."""
        return [self._facts(order, row), *(each for each in live if each.source != row.source)]

    def _facts(self, order: str, found: SealedRow) -> Facts:
        specs = self._open(order).specs
        return row_facts(
            specs.get(found.source, self._specs.get(found.source)), found.source, found.schema, found.row
        )

    def _open(self, order: str) -> _Known:
        known = self._known.get(order)
        if known is None:
            ledger = self._session.ledger(order)
            sealed = sealed_order(ledger)
            documents = dict.fromkeys(
                manifest.source for _, manifest in ledger.manifests() if manifest.schema == DOCUMENT_V1.digest
            )
            specs = {event.body["name"]: spec_from_json(event.body) for event in events(ledger, "source")}
            rows = ItemRows(ledger, sealed.source_names, self._session.key)
            known = self._known[order] = _Known(sealed.life, rows, tuple(documents), specs)
        return known


def _refusals(session: Session) -> Iterator[Refusal]:
    """Yield what was refused: the sealed refusals, then those that wait in the spool."""
    for event in events(session.ledger(RESERVED_ORDER_ID), "refusals"):
        yield from map(refusal_from_json, event.body["refused"])
    for file in read_spool(session.path, session.key):
        for frame in file.frames:
            yield from frame
