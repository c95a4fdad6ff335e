"""Read amendments of what an order covers, and say what they make of its clauses.

AMENDMENT.toml has a table `[amendment]` (reference, document, stop) and tables `[[clause]]`; CLAUSE.toml has
`[[clause]]`, or one `[clause]`, and may have `[amendment]` without stop. ACCOUNTS has one identifier a line. Each
refusal is one line.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from scelle.errors import (
    AmendmentWrong,
    OrderAccountsUnreadable,
    OrderFileUnreadable,
    OrderKeyMissing,
    OrderKeyUnknown,
    OrderValueWrong,
)
from scelle.formats.tokens import shown
from scelle.orders.intake import CLAUSE_KEYS, clause_list
from scelle.orders.model import Moment, Order
from scelle.orders.papers import (
    ACCOUNTS_MAX_BYTES,
    FILE_MAX_BYTES,
    AccountsOnDisk,
    ListPaper,
    Papers,
    named_document,
    parse_toml,
    read_regular,
)
from scelle.orders.tables import Table, nearest
from scelle.scope.accounts import AccountsFile, ReadContent, read_accounts
from scelle.scope.model import Clause, Holders, shown_path
from scelle.scope.narrowing import widened_by

_AMENDMENT_KEYS: Final = ("reference", "document", "stop")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ClausesFile:
    """Clauses that a file describes, and the table `[amendment]` beside them; ``document`` is (name, bytes)."""

    file: str
    clauses: tuple[Clause, ...]
    accounts: tuple[ListPaper, ...]
    stop: tuple[str, ...]
    reference: str | None
    document: tuple[str, bytes] | None


@dataclass(frozen=True, slots=True)
class Amendment:
    """What an amendment does: the clauses it adds or puts in another's place, those it stops, and its papers."""

    act: str
    clauses: tuple[Clause, ...]
    stop: tuple[str, ...] = ()
    accounts: tuple[ListPaper, ...] = ()
    letter: tuple[str, bytes] | None = None
    reference: str | None = None

    def applied(self, clauses: Sequence[Clause]) -> tuple[Clause, ...]:
        """Return the order's clauses as they are afterwards."""
        gone = {clause.id for clause in self.clauses} | set(self.stop)
        return (*(clause for clause in clauses if clause.id not in gone), *self.clauses)

    def touched(self) -> tuple[str, ...]:
        """Return the ids of the clauses that it stops or takes the place of, or adds."""
        return (*self.stop, *(clause.id for clause in self.clauses))


def read_clauses_file(path: Path, order: Order, *, may_stop: bool = False) -> ClausesFile:
    """Read `[[clause]]` tables, or one `[clause]`, and `[amendment]`; raise an InputError of the orders family.

    `may_stop`: `[amendment]` may name clauses that grow no longer, and need not be beside a clause then.
    """
    file = shown_path(os.fsencode(path))
    root = dict(parse_toml(read_regular(path, FILE_MAX_BYTES, file, OrderFileUnreadable), file))
    _check_tables(root, file)
    if isinstance(root.get("clause"), dict):
        root["clause"] = [root["clause"]]
    values = root.get("amendment", {})
    if not isinstance(values, dict):
        raise OrderValueWrong(f"{file}, amendment: must be one table; write [amendment]")
    table = Table(f"{file}, [amendment]", values, _AMENDMENT_KEYS, (CLAUSE_KEYS, "[[clause]]"))
    table.check_keys(())
    stop = table.texts("stop")
    if stop and not may_stop:
        raise OrderValueWrong(f"{table.at('stop')}: only `order narrow` stops clauses; leave it out")
    papers = Papers(path.parent)
    clauses = clause_list(root, file, order.tz(), papers)
    if not clauses and not stop:
        raise OrderKeyMissing(f"{file}, [[clause]]: missing; describe at least one clause")
    data, name = named_document(table, path.parent)
    document = None if data is None or name is None else (name, data)
    return ClausesFile(file, clauses, papers.found(), stop, table.optional_text("reference"), document)


def _check_tables(root: Mapping[str, object], file: str) -> None:
    for key in root:
        if key not in ("amendment", "clause"):
            hint = nearest(key, ("amendment", "clause")) or "known are [amendment] and [[clause]]"
            hint = "it belongs below [[clause]]" if key in CLAUSE_KEYS else hint
            hint = "it belongs below [amendment]" if key in _AMENDMENT_KEYS else hint
            raise OrderKeyUnknown(f"{file}, {key}: unknown table or key; {hint}")


# --- what an amendment makes of an order's clauses -----------------------------------------------------------


def narrowing(order: str, growing: Sequence[Clause], found: ClausesFile) -> Amendment:
    """Return an amendment by which clauses stop, or by which narrower ones take their place; raise AmendmentWrong."""
    known = {clause.id for clause in growing if not clause.carve_out}
    replaced = [clause.id for clause in found.clauses]
    for clause_id in (*found.stop, *replaced):
        if clause_id not in known:
            raise AmendmentWrong(
                f"{found.file}: order {order} has no growing clause {shown(clause_id)}: see `scelle order show {order}`"
            )
    both = set(found.stop) & set(replaced)
    if both:
        raise AmendmentWrong(
            f"{found.file}: clause {shown(min(both))} is stopped and replaced: do one of the two"
        )
    if known <= set(found.stop):
        raise AmendmentWrong(
            f"{found.file}: nothing of order {order} would grow any more: record that it ended (scelle order lift)"
        )
    return Amendment("narrow", found.clauses, found.stop, found.accounts, found.document, found.reference)


def refuse_wider(growing: Sequence[Clause], amendment: Amendment) -> None:
    """Raise AmendmentWrong, naming the clause, where one plainly covers more than the one whose place it takes.

    Clauses have their accounts loaded.
    """
    known = {clause.id: clause for clause in growing}
    for clause in amendment.clauses:
        key = widened_by(known[clause.id], clause)
        if key is not None:
            raise AmendmentWrong(
                f"clause {shown(clause.id)}, {key}: covers more than before, which does not narrow it: use "
                "`scelle order add-clause`"
            )


def addition(act: str, order: str, used: Collection[str], found: ClausesFile) -> Amendment:
    """Return an amendment that adds clauses, or carve-outs; raise AmendmentWrong where an id was used before."""
    for clause in found.clauses:
        if clause.id in used:
            raise AmendmentWrong(
                f"{found.file}: order {order} has or had a clause {shown(clause.id)}: give the new one another id"
            )
    carves = act == "carve-out"
    listing = next((clause.id for clause in found.clauses if clause.restricted_hashes is not None), None)
    if carves and listing is not None:
        raise AmendmentWrong(
            f"{found.file}: clause {shown(listing)}, restricted_hashes: a carve-out takes nothing in; leave it out"
        )
    clauses = tuple(replace(clause, carve_out=True) if carves else clause for clause in found.clauses)
    return Amendment(act, clauses, (), found.accounts, found.document, found.reference)


def end_carve_out(order: str, growing: Sequence[Clause], clause_id: str) -> Amendment:
    """Return an amendment by which a carve-out stands no longer; raise AmendmentWrong where none of this id stands."""
    standing = sorted(clause.id for clause in growing if clause.carve_out)
    if clause_id not in standing:
        known = f"these stand: {', '.join(standing)}" if standing else "none stands"
        raise AmendmentWrong(f"--end {shown(clause_id)}: order {order} has no carve-out of this id: {known}")
    return Amendment("end-carve-out", (), (clause_id,))


def more_accounts(
    order: str, growing: Sequence[Clause], clause_id: str, paper: AccountsOnDisk, read: ReadContent
) -> Amendment:
    """Return an amendment by which accounts join those of a clause, as one file; raise AmendmentWrong.

    Clauses have their accounts loaded; `read` gives what the vault keeps.
    """
    clause = next((each for each in growing if each.id == clause_id and not each.carve_out), None)
    if clause is None:
        raise AmendmentWrong(f"--clause {shown(clause_id)}: order {order} has no growing clause of this id")
    holders = Holders.of(clause)
    if not holders.restrict:
        raise AmendmentWrong(f"--clause {clause_id}: names nobody, so that it covers every account already")
    given = None if paper.file.ids is None else paper.file.ids.exact()
    if given is not None and all(holders.has_account(name.decode()) for name in given):
        raise AmendmentWrong(
            f"{shown_path(os.fsencode(paper.path))}: all {len(given)} accounts are named by clause {clause_id} already"
        )
    merged = MergedAccounts.of(clause.accounts_file, paper, read)
    return Amendment("add-accounts", (replace(clause, accounts_file=merged.file),), accounts=(merged,))


@dataclass(frozen=True, slots=True)
class MergedAccounts:
    """A file of accounts that the vault keeps, if there is one, with another behind it, as one file."""

    kept: AccountsFile | None
    more: AccountsOnDisk
    read: ReadContent
    file: AccountsFile

    @classmethod
    def of(cls, kept: AccountsFile | None, more: AccountsOnDisk, read: ReadContent) -> "MergedAccounts":
        """Read both; nothing is written anywhere. Raises OrderAccountsUnreadable."""
        name = more.file.name if kept is None else kept.name
        size_bytes = more.file.size_bytes + (0 if kept is None else kept.size_bytes)
        if size_bytes > ACCOUNTS_MAX_BYTES:
            raise OrderAccountsUnreadable(
                f"{shown_path(os.fsencode(more.path))}: with those that are named already larger than "
                f"{ACCOUNTS_MAX_BYTES >> 20} MiB; put them into a clause of their own (scelle order add-clause)"
            )
        return cls(kept, more, read, read_accounts(name, _joined(kept, more, read)))

    def pieces(self) -> Iterator[bytes]:
        """Give the bytes of both once more; raise OrderAccountsUnreadable where they cannot be read."""
        return _joined(self.kept, self.more, self.read)


def _joined(kept: AccountsFile | None, more: AccountsOnDisk, read: ReadContent) -> Iterator[bytes]:
    """Yield the bytes of both, the second on a line of its own and without a byte order mark."""
    last = b""
    if kept is not None:
        for piece in read(kept.digest):
            yield piece
            last = piece[-1:] or last
        if last != b"\n":
            yield b"\n"
    for number, piece in enumerate(more.pieces()):
        yield piece.removeprefix(_BOM) if number == 0 and kept is not None else piece


# --- extensions ----------------------------------------------------------------------------------------------


def new_end(order: Order, keep_until_us: int | None, until: str) -> Moment:
    """Read the end that an extension gives, in the order's zone; raise OrderValueWrong where it extends nothing.

    `keep_until_us` is the order's end by its clock, marks left aside.
    """
    table = Table("--until", {"until": until}, ("until",), ((), ""))
    try:
        moment = table.moment("until", order.tz(), ends=True)
    except OrderValueWrong as error:
        raise OrderValueWrong(str(error).replace("--until until", "--until", 1)) from None
    holds = order.rule.clock.bound.value != "no hold"
    if holds and keep_until_us is None:
        raise OrderValueWrong(
            f"--until {until}: order {order.id} has no end by its clock, so that there is nothing to extend; where the "
            "authority ends it, record that (scelle order lift)"
        )
    end_us = keep_until_us if holds else None if order.until is None else order.until.at_us
    if end_us is not None and moment.at_us <= end_us:
        raise OrderValueWrong(
            f"--until {until}: order {order.id} ends no earlier without it; an extension ends later"
        )
    if moment.at_us <= order.starts_us:
        raise OrderValueWrong(f"--until {until}: before order {order.id} binds; give a later day")
    return moment
