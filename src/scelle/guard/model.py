"""State what holds an item (pure); `service` decides the same, faster.

An order holds from its receipt until it is released, whatever its clock says. Of an item in the live system:

1. a clause that still grows holds what it covers, as capture decides it (`scope`);
2. whatever is not known of the item, or cannot be decided, is a doubt that holds: the guard fails closed;
3. a carve-out that still stands lets go of what it covers without any doubt, and of nothing else.

Of an item that an order has sealed, that order's clauses which grow no longer hold too, and so do those that a
carve-out stands against: what was sealed is kept until the order is released. An item that is sealed and that no
clause covers any more is held all the same, by no clause (`Hold.clause` is None).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeAlias

from scelle.errors import ClauseWrong, ExpressionEngineMissing
from scelle.formats.schema import Schema
from scelle.formats.tokens import UNDATED
from scelle.formats.values import NULL
from scelle.orders.lifecycle import ClauseLife, Life
from scelle.scope.model import Clause, ItemView, Match, match_clauses
from scelle.scope.records import RecordSource, RecordView, match_record
from scelle.sources.paths import is_plain

PATH_UNKNOWN: Final = "path-unknown"
UNDECIDED: Final = "undecided"
"""Doubts beside those of `scope.model.Reason`: the item's path is not known; nothing can be decided now."""
_BODY: Final = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an item; every default means *not known*.

    ``native`` is the source's own id, raw bytes; ``path`` what the globs of a clause are matched against: of a document
    that no source would spell so (`/a`, `./a`), it counts as not known. ``custodian`` and ``account`` say whose the
    item is, without a kind. A record of which the values are known has ``schema`` and
    ``values``, the encoded values of fields 2 and on: then its own account decides, and ``custodian`` and ``account``
    are its source's.
    """

    source: str
    native: bytes
    path: bytes | None = None
    time_us: int = UNDATED
    media_type: str = ""
    custodian: str | None = None
    account: str | None = None
    schema: Schema | None = None
    values: Sequence[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """One clause of one order that holds an item.

    ``until_us`` is the end of the order's hold by its clock, None where it has none; no clock releases. ``grows``: the
    clause still takes new items in; otherwise it only keeps what it sealed. ``clause`` is None where the order sealed
    the item and no clause covers it any more.
    """

    order: str
    clause: str | None
    until_us: int | None
    grows: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The guard's answer: whether an item is held, and the ref that stands for it to whom no order may be named.

    ``ref`` is None where the item is not held. ``holds`` and ``doubt`` are for those inside the wall: they are left out
    of the text form, so that no log shows them by accident. ``doubt`` is set where everything that holds the item holds
    it only because something is not known; ``restricted`` where a clause over restricted material holds it, or one with
    a list of hashes, since nobody knows yet what the content is: then nothing may be written that names the item.
    """

    held: bool
    ref: str | None
    holds: tuple[Hold, ...] = field(default=(), repr=False)
    doubt: str | None = field(default=None, repr=False)
    restricted: bool = field(default=False, repr=False)


class Covering(NamedTuple):
    """What one clause says of an item: None as `doubt` is certainty."""

    covers: bool
    doubt: str | None = None


Readings: TypeAlias = Sequence[Facts]
"""An item as it may be read: where facts contradict one another, every reading that holds it counts."""

BY_DOUBT: Final = Covering(True, UNDECIDED)


def as_known(readings: Readings) -> Readings:
    """Return the readings without paths that stand for no document as they are spelled: those are not known."""
    return [
        each
        if each.path is None or each.schema is not None or is_plain(each.path)
        else replace(each, path=None)
        for each in readings
    ]


def as_claim(clause: Clause) -> Clause:
    """Return the clause as one that covers: of a carve-out, what it covers is what it lets go."""
    return replace(clause, carve_out=False) if clause.carve_out else clause


def judge(clause: Clause, facts: Facts) -> Covering:
    """Decide whether one clause covers an item, and in which doubt; what cannot be decided is covered."""
    if facts.source not in clause.sources:
        return Covering(False)
    claim, path_doubt = known_of(as_claim(clause), facts.path)
    try:
        match = _match(claim, facts)
    except (ClauseWrong, ExpressionEngineMissing):
        return BY_DOUBT
    return covering_of(match, path_doubt)


def known_of(claim: Clause, path: bytes | None) -> tuple[Clause, str | None]:
    """Return the clause without the patterns that nothing is known about, and the doubt that this leaves."""
    if path is not None or not claim.paths:
        return claim, None
    return replace(claim, paths=()), PATH_UNKNOWN


def covering_of(match: Match, path_doubt: str | None) -> Covering:
    """Return what a match of one clause says."""
    return Covering(match.covered, (match.doubt or path_doubt) if match.covered else None)


def view_of(facts: Facts) -> ItemView | RecordView:
    """Return an item as clauses look at it: as a record where its values are known, else as a document."""
    path = b"" if facts.path is None else facts.path
    values = facts.values
    if facts.schema is None or values is None:
        return ItemView(facts.source, path, facts.time_us, facts.media_type, facts.custodian, facts.account)
    account = None if values[0] == NULL else values[0][_BODY:].decode("utf-8")
    return RecordView(path, facts.time_us, account, values)


def _match(claim: Clause, facts: Facts) -> Match:
    view = view_of(facts)
    if isinstance(view, ItemView):
        return match_clauses([claim], view)
    return match_record([claim], record_source(facts), view)


def record_source(facts: Facts) -> RecordSource:
    """Return what the records of the item's shape have in common; of facts with a schema."""
    if facts.schema is None:
        raise AssertionError("a record that is looked at as one has its schema")
    return RecordSource(facts.source, facts.schema, facts.custodian, facts.account)


# --- from clauses to holds -------------------------------------------------------------------------------


class Claim(NamedTuple):
    """One clause of an order and what it says of an item: whether it grows, lets go, is over restricted material."""

    clause: str
    grows: bool
    lets_go: bool
    restricted: bool
    says: Covering


@dataclass(slots=True)
class Tally:
    """Collect what holds an item; doubt falls away with the first clause that holds it for certain."""

    holds: list[Hold] = field(default_factory=list)
    doubts: list[str | None] = field(default_factory=list)
    restricted: bool = False

    def take(
        self, order: str, until_us: int | None, readings: Sequence[Sequence[Claim]], *, is_sealed: bool
    ) -> None:
        """Take what one order says of an item, for each reading of it."""
        grows: dict[str, bool] = {}
        for claims in readings:
            for claim, holds_live in _held_by(claims, is_sealed):
                grows[claim.clause] = grows.get(claim.clause, False) or holds_live
                self.doubts.append(claim.says.doubt)
                self.restricted |= claim.restricted
        self.holds += [Hold(order, clause, until_us, is_growing) for clause, is_growing in grows.items()]
        if is_sealed and not grows:
            self.holds.append(Hold(order, None, until_us, grows=False))
            self.doubts.append(None)

    @property
    def doubt(self) -> str | None:
        """Return the first doubt, None where something is certain or nothing holds."""
        return None if None in self.doubts or not self.doubts else self.doubts[0]


def _held_by(claims: Sequence[Claim], is_sealed: bool) -> Iterator[tuple[Claim, bool]]:
    """Yield the clauses of one order that hold an item, and whether each holds the live item."""
    is_let_go = any(
        each.lets_go and each.grows and each.says.covers and each.says.doubt is None for each in claims
    )
    for each in claims:
        if each.lets_go or not each.says.covers:
            continue
        holds_live = each.grows and not is_let_go
        if holds_live or is_sealed:
            yield each, holds_live


def claim_of(clause: Clause, says: Covering, *, grows: bool) -> Claim:
    """Return a clause with what it says."""
    return Claim(clause.id, grows, clause.carve_out, clause.may_restrict, says)


def claims_of(clauses: Sequence[ClauseLife], facts: Facts) -> list[Claim]:
    """Return what the clauses of one order say of an item."""
    return [
        claim_of(each.clause, judge(each.clause, facts), grows=each.stopped_us is None) for each in clauses
    ]


def decide(
    lives: Mapping[str, Life], readings: Readings, ref: str, *, sealed_in: Collection[str] = ()
) -> Verdict:
    """Decide over an item by the definition: every clause of every order, one after the other.

    ``sealed_in`` names the orders in whose log it is sealed. No clock is asked: none releases.
    """
    tally = Tally()
    for order, life in lives.items():
        if life.holds:
            claims = [claims_of(life.clauses, facts) for facts in as_known(readings)]
            tally.take(order, life.keep_until_us, claims, is_sealed=order in sealed_in)
    return verdict_of(tally, ref)


def verdict_of(tally: Tally, ref: str) -> Verdict:
    """Return the verdict over what was collected."""
    if not tally.holds:
        return Verdict(held=False, ref=None)
    return Verdict(True, ref, tuple(tally.holds), tally.doubt, tally.restricted)
