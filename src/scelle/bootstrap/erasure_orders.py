"""Look at every order of a vault for an erasure request: what is sealed of its accounts, what holds it, and why.

All orders are looked at, walls or not; whoever shows what comes of it passes it through `session.sees`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from scelle.bootstrap.facts import guarded_sources, row_readings
from scelle.bootstrap.guarding import open_guard
from scelle.bootstrap.session import Session
from scelle.errors import IntegrityError, OrderUnknown, StorageError
from scelle.guard.model import Facts
from scelle.ledger.service import OrderLedger
from scelle.orders.lifecycle import Life
from scelle.orders.service import sealed_order
from scelle.release.erasure import (
    ErasureItem,
    ErasureRequest,
    Where,
    bare_name,
    ground_of,
    is_secret,
    outcome_of,
)
from scelle.release.live import DOCUMENT_SCHEMES, Unread, is_of_accounts, live_items
from scelle.release.matching import SealedOfAccounts, live_item_id
from scelle.sources.interfaces import native_text
from scelle.sources.model import SourceSpec
from scelle.sources.places import Places
from scelle.sources.registry import refuse_own_folders
from scelle.sources.urls import open_source


class Match(NamedTuple):
    """What is known of one sealed item now: its source, its ref, which orders hold it, where it waits for disposal."""

    source: str
    ref: str
    native: bytes
    sealed_in: tuple[str, ...]
    waiting_in: tuple[str, ...]
    live_in: tuple[str, ...]

    def with_order(self, order: str, *, is_holding: bool) -> "Match":
        """Return the item as one that this order has sealed as well."""
        if is_holding:
            return self._replace(sealed_in=(*self.sealed_in, order))
        return self._replace(waiting_in=(*self.waiting_in, order))

    def line(self, item: str, lives: Mapping[str, Life]) -> ErasureItem:
        """Return the line of a request about it."""
        is_held = bool(self.sealed_in or self.live_in)
        where_sealed = self.sealed_in if is_held else self.waiting_in
        outcome = outcome_of(where_sealed, self.live_in, lives)
        return ErasureItem(item, self.source, Where.VAULT, self.ref, outcome, where_sealed, self.live_in)


class ErasureOrders:
    """Every order of a vault as it is now, and what it has of some accounts. `gone` is an order just disposed of."""

    def __init__(self, session: Session, gone: str | None = None) -> None:
        self._session, self.now_us = session, session.now_us()
        self._ledgers: dict[str, OrderLedger] = {}
        self._names: dict[str, Mapping[str, str]] = {}
        self.lives: dict[str, Life] = {}
        for order in session.all_orders():
            with self._discreet(order), suppress(OrderUnknown):  # one of which nothing is left but its log
                ledger = session.ledger(order)
                sealed = sealed_order(ledger)
                self._ledgers[order], self._names[order] = ledger, sealed.source_names
                self.lives[order] = sealed.life
        self._gone = gone
        self._guard = open_guard(session, without=gone)
        self._specs = guarded_sources(session)
        self._places = Places(self._specs)
        self.grounds = {order: ground_of(life, self.now_us) for order, life in self.lives.items()}

    def holds(self, order: str) -> bool:
        """Tell whether an order still holds; one that is not there any more does not."""
        return order != self._gone and order in self.lives and self.lives[order].holds

    def holding(self, orders: Sequence[str]) -> tuple[str, ...]:
        """Return those that still hold."""
        return tuple(filter(self.holds, orders))

    def is_secret(self, order: str) -> bool:
        """Tell whether a person may not be told of an order."""
        return is_secret(self.lives[order], self.now_us)

    def came_after(self, order: str, time_us: int) -> bool:
        """Tell whether an order was taken in after an instant."""
        return self.lives[order].terms[0].since_us > time_us

    def count(self, identifiers: Sequence[str]) -> tuple[int, int]:
        """Count the accounts that have something sealed, and their records, over all logs."""
        found, records = set[str](), 0
        for order in self._searchable():
            with self._discreet(order):
                counted = self._sealed(order).count(identifiers)
            found |= counted.identifiers
            records += counted.records
        return len(found), records

    def matches(self, identifiers: Sequence[str]) -> dict[str, Match]:
        """Return what is sealed of these accounts, by item id."""
        found: dict[str, Match] = {}
        for order in self._searchable():
            is_holding = self.holds(order)
            with self._discreet(order):
                for each in self._sealed(order).rows(identifiers):
                    known = found.get(each.item)
                    if known is None:
                        spec = self._specs.get(each.source)
                        readings = row_readings(self._places, spec, each.source, each.schema, each.row)
                        ref = self._guard.ref(each.source, each.native)
                        known = Match(each.source, ref, each.native, (), (), self._live(*readings))
                    if order not in known.sealed_in and order not in known.waiting_in:
                        known = known.with_order(order, is_holding=is_holding)
                    found[each.item] = known
        return found

    def source_lines(self, identifiers: Sequence[str], *, only: str | None = None) -> list[ErasureItem]:
        """Return a line for each source that may have something of these accounts: does a growing clause cover it?"""
        found = []
        for name, spec in sorted(self._session.sources().items()):
            live = self._live_of_source(spec, identifiers) if only in (None, name) else None
            if live is not None:
                ref, outcome = self._guard.ref(name, b""), outcome_of((), live, self.lives)
                found.append(ErasureItem(f"source:{name}", name, Where.SOURCE, ref, outcome, (), live))
        return found

    def live_lines(
        self, identifiers: Sequence[str], known: Mapping[str, Match]
    ) -> Iterator[tuple[ErasureItem, bytes]]:
        """Yield a line, and the native id, for each item that only a source has. Raises SourceError.

        A source of which something could not be read has a line for itself as well: nobody knows what is there.
        """
        sealed = {(each.source, each.native) for each in known.values()}
        for name, spec in sorted(self._session.sources().items()):
            refuse_own_folders(spec, self._session.path, self._session.key_folder)
            states: dict[bytes, tuple[str, ...]] = {}
            unread = 0
            for found in live_items(spec, open_source(spec), identifiers):
                if isinstance(found, Unread):
                    unread += 1
                elif (name, native_text(found.native).encode()) not in sealed:
                    live = (*states.get(found.native, ()), *self._live(found))
                    states[found.native] = tuple(dict.fromkeys(live))
            for native, live in states.items():
                item = live_item_id(self._session.key, name, native)
                ref, outcome = self._guard.ref(name, native), outcome_of((), live, self.lives)
                yield ErasureItem(item, name, Where.ITEM_OF_SOURCE, ref, outcome, (), live), native
            if unread:
                self._session.warnings.append(
                    f"source {name}: {unread} parts could not be read: what they hold of these accounts is not listed"
                )
                yield from ((line, b"") for line in self.source_lines(identifiers, only=name))

    def current(self, request: ErasureRequest, identifiers: Sequence[str] | None) -> Iterator[ErasureItem]:
        """Yield the open lines of a request as they are now; without its identifiers, as far as that is known.

        An order that came after the request counts by what it has sealed, and by its clauses over a whole source.
        """
        matched = None if identifiers is None else self.matches(identifiers)
        sources = (
            {} if identifiers is None else {each.source: each for each in self.source_lines(identifiers)}
        )
        for line in request.open_lines():
            live, sealed = self.holding(line.live_in), self.holding(line.sealed_in)
            if line.where is Where.VAULT and matched is not None:
                fresh = matched.get(line.item)
                if fresh is not None:
                    yield fresh.line(line.item, self.lives)
                    continue
                sealed = ()
                if (
                    line.source in sources
                ):  # what is not sealed any more is held where a clause still may cover it
                    live = tuple(order for order in live if order in sources[line.source].live_in)
            elif line.source in sources:
                now = sources[line.source].live_in
                new = [order for order in now if self.came_after(order, request.made_us)]
                live = now if line.where is Where.SOURCE else tuple(dict.fromkeys((*live, *new)))
            yield line._replace(outcome=outcome_of(sealed, live, self.lives), sealed_in=sealed, live_in=live)

    # --- inside

    def _searchable(self) -> list[str]:
        """List the orders whose segments can still be read: those not disposed of."""
        return [
            order for order, life in self.lives.items() if life.disposed_us is None and order != self._gone
        ]

    def _sealed(self, order: str) -> SealedOfAccounts:
        return SealedOfAccounts(self._ledgers[order], self._names[order], self._session.key)

    def _live(self, *facts: Facts) -> tuple[str, ...]:
        holds = self._guard.decide(*facts).holds
        return tuple(dict.fromkeys(hold.order for hold in holds if hold.grows))

    def _live_of_source(self, spec: SourceSpec, identifiers: Sequence[str]) -> tuple[str, ...] | None:
        """Return which orders hold what a source may have of these accounts; None where it has nothing of theirs."""
        if spec.scheme in DOCUMENT_SCHEMES:
            if not is_of_accounts(spec, identifiers):
                return None
            return self._live(Facts(spec.name, b"", custodian=spec.custodian, account=spec.account))
        names = sorted(set(map(bare_name, identifiers)))
        return self._live(*(Facts(spec.name, b"", custodian=spec.custodian, account=name) for name in names))

    def _discreet(self, order: str) -> "_Discreet":
        return _Discreet(is_seen=self._session.sees(order))


class _Discreet:
    """Let no fault of an order's files name an order that the session does not see."""

    def __init__(self, *, is_seen: bool) -> None:
        self._is_seen = is_seen

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not self._is_seen and isinstance(error, IntegrityError | StorageError | OSError):
            raise IntegrityError(
                "not everything that the request touches can be read: who sees all orders runs `scelle verify`"
            ) from None
