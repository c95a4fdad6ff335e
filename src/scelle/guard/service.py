"""Decide over items in less than a millisecond: the clauses of all orders, compiled by source.

The meaning is in ``model``; here is only speed. Sets of accounts are shared by whatever names the same file.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Final, Self, TypeAlias, TypeVar

from scelle.errors import ClauseWrong, ExpressionEngineMissing, ScelleError
from scelle.guard.model import (
    BY_DOUBT,
    UNDECIDED,
    Claim,
    Covering,
    Facts,
    Hold,
    Readings,
    Tally,
    Verdict,
    as_claim,
    as_known,
    claim_of,
    covering_of,
    known_of,
    record_source,
    verdict_of,
    view_of,
)
from scelle.orders.lifecycle import ClauseLife, Life
from scelle.scope.accounts import AccountsFile, ReadContent
from scelle.scope.compiled import compile_clauses, compile_record_clauses
from scelle.scope.model import Clause, ItemView, Match, load_accounts
from scelle.scope.records import RecordSource, RecordView
from scelle.sources.interfaces import native_text
from scelle.vault.keys import VaultKey

REF_BYTES: Final = 4
_SHAPES_MAX: Final = 1024
_FAULTS: Final = (ClauseWrong, ExpressionEngineMissing)

_View = TypeVar("_View", ItemView, RecordView)
_Shape: TypeAlias = tuple[str, bytes, str | None, str | None, bool]


class Refs:
    """Make refs: what stands for an item to whom no order may be named."""

    def __init__(self, vault_key: VaultKey) -> None:
        self._state = blake2b(key=vault_key.derive("guard-refs"), digest_size=REF_BYTES, person=b"scelle-ref")

    def of(self, source: str, native: bytes) -> str:
        """Return the ref of an item: 8 hex digits made of its source and native id, and of no order."""
        state = self._state.copy()
        state.update(source.encode() + b"\0" + native_text(native).encode())
        return state.digest().hex()


def ref_of(vault_key: VaultKey, source: str, native: bytes) -> str:
    """Return the ref of an item, the same whichever and however many orders hold it; see `Refs`."""
    return Refs(vault_key).of(source, native)


def with_loaded_accounts(lives: Mapping[str, Life], read: ReadContent) -> dict[str, Life]:
    """Return the lives with the accounts that their clauses name by files, each file read once for all orders.

    A file that cannot be read leaves its clause without accounts: then the guard takes everybody's items as held.
    """
    known: dict[bytes, AccountsFile] = {}

    def loaded(each: ClauseLife) -> ClauseLife:
        file = each.clause.accounts_file
        if file is None or file.ids is not None:
            return each
        if file.digest not in known:
            known[file.digest] = _loaded(each.clause, file, read)
        return replace(each, clause=replace(each.clause, accounts_file=known[file.digest]))

    return {
        order: replace(life, clauses=tuple(map(loaded, life.clauses)) if life.holds else life.clauses)
        for order, life in lives.items()
    }


def _loaded(clause: Clause, file: AccountsFile, read: ReadContent) -> AccountsFile:
    try:
        return load_accounts((replace(clause, restricted_hashes=None),), read)[0].accounts_file or file
    except ScelleError:
        return file


class Guard:
    """Answer for all orders of a vault whether an item is held; safe to ask from several threads.

    It knows the orders as they were when it was made: `bootstrap.guarding.VaultGuard` follows them. Only orders that
    hold are compiled. Whatever cannot be compiled or decided holds everything that its source gives.
    """

    def __init__(self, lives: Mapping[str, Life], vault_key: VaultKey, *, is_closed: bool = False) -> None:
        self._refs, self._is_closed = Refs(vault_key), is_closed
        self._orders: dict[str, int | None] = {}
        self._by_source: dict[str, dict[str, list[_CompiledClause]]] = {}
        for order, life in lives.items():
            if life.holds:
                self._orders[order] = life.keep_until_us
                self._add(order, life)

    @classmethod
    def closed(cls, vault_key: VaultKey) -> Self:
        """Return a guard that holds everything: for a vault of which not everything could be read."""
        return cls({}, vault_key, is_closed=True)

    @property
    def is_closed(self) -> bool:
        """Tell whether everything is held because something could not be read."""
        return self._is_closed

    @property
    def orders(self) -> tuple[str, ...]:
        """List the orders that hold; for those inside the wall."""
        return tuple(self._orders)

    def ref(self, source: str, native: bytes) -> str:
        """Return the ref of an item, held or not."""
        return self._refs.of(source, native)

    def decide(self, facts: Facts, *or_else: Facts) -> Verdict:
        """Decide over an item of the live system; with other readings of it, any that holds it counts."""
        return self._verdict((facts, *or_else), ())

    def holds_of(self, facts: Facts, *or_else: Facts, sealed_in: Collection[str] = ()) -> tuple[Hold, ...]:
        """Return what holds an item that is sealed in the logs of these orders, and what holds it in the live system.

        An order that does not hold any more says nothing, wherever the item is sealed.
        """
        return self._verdict((facts, *or_else), sealed_in).holds

    # --- inside

    def _add(self, order: str, life: Life) -> None:
        for each in life.clauses:
            compiled = _CompiledClause(each)
            for source in dict.fromkeys(each.clause.sources):
                self._by_source.setdefault(source, {}).setdefault(order, []).append(compiled)

    def _verdict(self, readings: Readings, sealed_in: Collection[str]) -> Verdict:
        first = readings[0]
        ref = self._refs.of(first.source, first.native)
        if self._is_closed:
            return Verdict(True, ref, doubt=UNDECIDED, restricted=True)
        tally = Tally()
        seen = [
            (self._by_source.get(facts.source, {}), facts, view_of(facts)) for facts in as_known(readings)
        ]
        for order in self._orders:
            if order not in sealed_in and not any(order in named for named, _, _ in seen):
                continue
            claims = [
                [each.claim(facts, view) for each in named.get(order, ())] for named, facts, view in seen
            ]
            tally.take(order, self._orders[order], claims, is_sealed=order in sealed_in)
        return verdict_of(tally, ref)


class _CompiledClause:
    """One clause, worked out once for documents, and once for each shape of records that it is asked about."""

    __slots__ = ("_claim", "_clause", "_documents", "_grows", "_shapes")

    def __init__(self, life: ClauseLife) -> None:
        self._clause, self._claim = life.clause, as_claim(life.clause)
        self._grows = life.stopped_us is None
        self._documents = {is_known: self._document_test(is_known) for is_known in (True, False)}
        self._shapes: dict[_Shape, Callable[[RecordView], Covering]] = {}

    def claim(self, facts: Facts, view: ItemView | RecordView) -> Claim:
        """Return what the clause says of an item; `view` is what `view_of` made of the facts."""
        return claim_of(self._clause, self._says(facts, view), grows=self._grows)

    def _says(self, facts: Facts, view: ItemView | RecordView) -> Covering:
        is_known = facts.path is not None
        if isinstance(view, ItemView):
            return self._documents[is_known](view)
        source = record_source(facts)
        shape = (source.name, source.schema.digest, source.custodian, source.account, is_known)
        test = self._shapes.get(shape)
        if test is None:
            if len(self._shapes) >= _SHAPES_MAX:
                self._shapes.clear()
            test = self._shapes[shape] = self._record_test(source, facts.path)
        return test(view)

    def _document_test(self, is_known: bool) -> Callable[[ItemView], Covering]:
        claim, doubt = known_of(self._claim, b"" if is_known else None)
        try:
            return _covering(compile_clauses((claim,)), doubt)
        except _FAULTS:
            return lambda item: BY_DOUBT

    def _record_test(self, source: RecordSource, path: bytes | None) -> Callable[[RecordView], Covering]:
        claim, doubt = known_of(self._claim, path)
        try:
            decide = compile_record_clauses(
                (claim,), source.name, source.schema, source.custodian, source.account
            )
        except _FAULTS:
            return lambda record: BY_DOUBT
        return _covering(decide, doubt)


def _covering(decide: Callable[[_View], Match], doubt: str | None) -> Callable[[_View], Covering]:
    return lambda view: covering_of(decide(view), doubt)
