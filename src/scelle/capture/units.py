"""Remember, per order and source of records, how far each unit was read (derived: never evidence).

What is remembered is sealed under the vault's key, so that the plain catalog shows no name and no digest. It is
believed only as far as the segments go along with it: rows that the catalog does not know of (a crash came before its
commit) are compared one by one, and a catalog that is ahead of the ledger, or of another one, is forgotten.
"""

import json
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from scelle.capture.model import Counts
from scelle.capture.store import order_key
from scelle.ledger.service import OrderLedgerWriter
from scelle.vault.catalog import Catalog
from scelle.vault.keys import VaultKey
from scelle.vault.sql import load_queries

_QUERIES: Final = load_queries("scelle.capture")
_SIGNED: Final = 1 << 64
_COUNTED: Final = ("offered", "new", "unchanged", "failed", "restricted", "bytes")
_REASONS: Final = ("excluded_by", "failed_by")


@dataclass(slots=True)
class UnitCounts:
    """Count what became of the records of one unit, up to its mark."""

    offered: int = 0
    new: int = 0
    unchanged: int = 0
    failed: int = 0
    restricted: int = 0
    bytes: int = 0
    excluded_by: Counter[str] = field(default_factory=Counter)
    failed_by: Counter[str] = field(default_factory=Counter)

    def add_to(self, counts: Counts) -> None:
        """Add them to the counts of the source."""
        for name in _COUNTED:
            setattr(counts, name, getattr(counts, name) + getattr(self, name))
        counts.excluded_by.update(self.excluded_by)
        counts.failed_by.update(self.failed_by)

    def in_a_later_pass(self) -> "UnitCounts":
        """Return what they are for a pass that finds the same records: nothing is new."""
        sealed = self.new + self.unchanged
        return UnitCounts(
            self.offered,
            0,
            sealed,
            self.failed,
            self.restricted,
            self.bytes,
            Counter(self.excluded_by),
            Counter(self.failed_by),
        )


@dataclass(frozen=True, slots=True)
class KnownUnit:
    """What is remembered of a unit.

    `basis` digests everything that decides what its records become (schemas, clauses); `stamp` is set once the
    unit was read to its end; reading can go on behind `mark`. `gone`: a pass found that the unit is not there any more.
    """

    native: bytes
    basis: bytes
    stamp: bytes
    mark: bytes
    pass_id: int
    counts: UnitCounts
    gone: bool = False

    def encode(self) -> bytes:
        """Write it as JSON, to be sealed."""
        texts = {
            name: b64encode(getattr(self, name)).decode() for name in ("native", "basis", "stamp", "mark")
        }
        counts: dict[str, Any] = {name: getattr(self.counts, name) for name in (*_COUNTED, *_REASONS)}
        document = {**texts, "pass": self.pass_id, "counts": counts, "gone": self.gone}
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> "KnownUnit":
        """Read what `encode` wrote."""
        document: dict[str, Any] = json.loads(data)
        counts = document["counts"]
        numbers: dict[str, int] = {name: counts.get(name, 0) for name in _COUNTED}
        return cls(
            native=b64decode(document["native"]),
            basis=b64decode(document["basis"]),
            stamp=b64decode(document["stamp"]),
            mark=b64decode(document["mark"]),
            pass_id=document["pass"],
            counts=UnitCounts(
                **numbers, excluded_by=Counter(counts["excluded_by"]), failed_by=Counter(counts["failed_by"])
            ),
            gone=document["gone"],
        )


class UnitIndex:
    """Look up and remember the units of one order's source; written at once, kept by the catalog's next commit."""

    def __init__(self, catalog: Catalog, vault_key: VaultKey, order: str, alias: str) -> None:
        self._catalog, self._key, self._alias = catalog, vault_key, alias
        self._order = order_key(vault_key, order)
        self._scope = self._scope_of(alias)[0]
        self._context = f"scelle/unit/v1\n{order}\n{alias}\n".encode()
        self._learned: dict[str, tuple[int, bytes, int]] = {}

    def catch_up(self, ledger: OrderLedgerWriter, aliases: Iterable[str]) -> Mapping[str, int]:
        """Return up to which sequence number the catalog knows of each member's rows; 0 where it was forgotten."""
        scopes = {alias: self._scope_of(alias) for alias in aliases}
        if not all(_is_of(ledger, alias, learned) for alias, (_, learned) in scopes.items()):
            self._forget(scopes.values())
            scopes = {alias: (scope, (0, b"", 0)) for alias, (scope, _) in scopes.items()}
        self._learned = {alias: learned for alias, (_, learned) in scopes.items()}
        return {alias: learned[2] for alias, learned in self._learned.items()}

    def find(self, unit: int) -> KnownUnit | None:
        """Return what is remembered of a unit."""
        with self._catalog.access() as connection:
            row = connection.execute(_QUERIES["find_unit"], (self._scope, _signed(unit))).fetchone()
        return None if row is None else self._decode(unit, row[0])

    def remember(self, unit: int, known: KnownUnit) -> None:
        """Remember how far a unit was read; its rows must be durable before the catalog's next commit."""
        sealed = self._key.seal(known.encode(), self._context_of(unit))
        with self._catalog.access() as connection:
            connection.execute(_QUERIES["remember_unit"], (self._scope, _signed(unit), sealed))

    def all(self) -> Iterator[tuple[int, KnownUnit]]:
        """Yield every unit that is remembered."""
        with self._catalog.access() as connection:
            rows = connection.execute(_QUERIES["all_units"], (self._scope,)).fetchall()
        for signed, sealed in rows:
            unit = signed % _SIGNED
            yield unit, self._decode(unit, sealed)

    def learn(self, ledger: OrderLedgerWriter, aliases: Iterable[str]) -> None:
        """Note that all durable rows of these members are accounted for by what was remembered."""
        for alias in aliases:
            chain, writer = ledger.state.chain(alias), ledger.open_rows(alias)
            next_seq = chain.next_seq if writer is None else writer.next_seq
            learned = (chain.next_number, chain.prev or b"", next_seq)
            if learned != self._learned.get(alias):
                scope = self._scope_of(alias)[0]
                with self._catalog.access() as connection:
                    connection.execute(_QUERIES["set_learned"], (*learned, scope))
                self._learned[alias] = learned

    # --- inside

    def _scope_of(self, alias: str) -> tuple[int, tuple[int, bytes, int]]:
        with self._catalog.access() as connection:
            row = connection.execute(_QUERIES["scope"], (self._order, alias)).fetchone()
            if row is None:
                connection.execute(_QUERIES["add_scope"], (self._order, alias))
                row = connection.execute(_QUERIES["scope"], (self._order, alias)).fetchone()
        return row[0], (row[1], row[2], row[3])

    def _forget(self, scopes: Iterable[tuple[int, object]]) -> None:
        with self._catalog.access() as connection:
            connection.execute(_QUERIES["forget_units"], (self._scope,))
            connection.executemany(_QUERIES["set_learned"], [(0, b"", 0, scope) for scope, _ in scopes])

    def _decode(self, unit: int, sealed: bytes) -> KnownUnit:
        return KnownUnit.decode(self._key.open(sealed, self._context_of(unit)))

    def _context_of(self, unit: int) -> bytes:
        return self._context + unit.to_bytes(8, "big")


def _signed(unit: int) -> int:
    """Write 64 bits as SQLite's integers have them."""
    return unit - _SIGNED if unit >= _SIGNED >> 1 else unit


def _is_of(ledger: OrderLedgerWriter, alias: str, learned: tuple[int, bytes, int]) -> bool:
    """Tell whether what was learned of a member is the beginning of this ledger."""
    number, leaf, seq = learned
    chain, writer = ledger.state.chain(alias), ledger.open_rows(alias)
    if number > chain.next_number or seq > (chain.next_seq if writer is None else writer.next_seq):
        return False
    if number == 0:
        return True
    index = ledger.state.segments[alias, number - 1]
    return ledger.log.leaves[32 * index : 32 * index + 32] == leaf
