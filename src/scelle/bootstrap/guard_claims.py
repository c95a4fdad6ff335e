"""Say what the orders that are guarded in a source ask of its guard, all together: tables, modes, accounts.

An order says in its own log that it is guarded in a source; the database is told one set for all of them, and no order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from scelle.bootstrap.session import Session
from scelle.errors import InputError
from scelle.formats.canonical_json import canonical_json
from scelle.ledger.events import events
from scelle.ledger.service import OrderLedger
from scelle.orders.service import sealed_order
from scelle.scope.model import Clause
from scelle.sources.postgres import PostgresSource

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is guarded
    from psycopg import Connection

    from scelle.guard.postgres import Mode, Wish

INSTALLED: Final = "guard.installed"
REMOVED: Final = "guard.removed"
"""Events of an order: from when to when its claims stand in a database."""


class Ask(NamedTuple):
    """What an order asks of a guard: of which tables (a pattern; None for all of the source), and how."""

    mode: "Mode"
    tables: str | None
    updates: bool


def guarded_sources(session: Session) -> list[str]:
    """List the sources in which some order was guarded and not let go, whoever may know of it.

    One whose orders were all released is among them: its guard is to be removed (`refresh_guard`).
    """
    found = set()
    for order in session.all_orders():
        ledger = session.ledger(order)
        aliases = sealed_order(ledger).aliases
        found |= {name for name, alias in aliases.items() if is_guarded(ledger, alias)}
    return sorted(found)


def claims_digest(session: Session, name: str) -> str:
    """Return what tells whether the set of held accounts of a source has to be written again."""
    files = [
        [
            order,
            [[each.id, list(each.accounts), list(each.custodians), _file_digest(each)] for each in clauses],
        ]
        for order, clauses in claiming(session, name)
    ]
    return sha256(canonical_json(files)).hexdigest()


def _file_digest(clause: Clause) -> str:
    return "" if clause.accounts_file is None else clause.accounts_file.digest.hex()


def claiming(session: Session, name: str) -> Iterator[tuple[str, list[Clause]]]:
    """Yield the orders that are guarded in a source and hold, each with its clauses over it."""
    for order in session.all_orders():
        ledger = session.ledger(order)
        sealed = sealed_order(ledger)
        alias = sealed.aliases.get(name)
        if alias is not None and sealed.life.holds and is_guarded(ledger, alias):
            lives = (each.clause for each in sealed.life.clauses)
            yield order, [each for each in lives if name in each.sources and not each.carve_out]


def held_accounts(session: Session, name: str) -> Iterator[str]:
    """Yield the accounts and custodians that the orders which are guarded in a source name; some more than once."""
    for _, clauses in claiming(session, name):
        for clause in clauses:
            yield from accounts_of(session, clause)


def accounts_of(session: Session, clause: Clause) -> Iterator[str]:
    """Yield the accounts and custodians that a clause names, of its file, too."""
    yield from clause.accounts
    yield from clause.custodians
    if clause.accounts_file is not None:
        yield from _lines(session, clause.accounts_file.digest)


def _lines(session: Session, digest: bytes) -> Iterator[str]:
    """Yield the accounts of a file as it is kept in the vault."""
    rest = b""
    for piece in session.packs.read(digest):
        *lines, rest = (rest + piece).split(b"\n")
        yield from _names(lines)
    yield from _names([rest])


def _names(lines: Iterable[bytes]) -> Iterator[str]:
    return (line.strip().decode("utf-8-sig") for line in lines if line.strip())


def asks_of(ledger: OrderLedger, alias: str) -> list[Ask]:
    """Return what an order asked of a source's guard, oldest first, and did not take back."""
    found: list[Ask] = []
    for event in events(ledger, INSTALLED, REMOVED):
        body = event.body
        if body["source"] == alias:
            found = [*found, _ask(body)] if event.kind == INSTALLED else []
    return found


def _ask(body: Mapping[str, Any]) -> Ask:
    from scelle.guard.postgres import Mode  # the driver is an extra

    return Ask(Mode(body["mode"]), body["tables"] or None, bool(body["updates"]))


def asked_since(session: Session, name: str) -> dict[str, int]:
    """Return the orders that are guarded in a source, each with since when (microseconds) it has asked for that."""
    found: dict[str, int] = {}
    for order in session.all_orders():
        ledger = session.ledger(order)
        alias = sealed_order(ledger).aliases.get(name)
        for event in events(ledger, INSTALLED, REMOVED):
            if event.body["source"] != alias:
                continue
            if event.kind == INSTALLED:
                found.setdefault(order, event.time_us)
            else:
                found.pop(order, None)
    return found


def is_guarded(ledger: OrderLedger, alias: str) -> bool:
    """Tell whether an order asked for a guard in a source and did not take it back."""
    return bool(asks_of(ledger, alias))


def claiming_orders(session: Session, name: str) -> list[str]:
    """List the orders that are guarded in a source and hold, whoever may know of them."""
    return [order for order, _ in claiming(session, name)]


def wisher(
    session: Session, name: str, source: PostgresSource, joining: tuple[str, Ask] | None = None
) -> Callable[["Connection[Any]"], list["Wish"]]:
    """Return what makes the wishes of a source: what the orders that are guarded there ask for, all together.

    What an order asks for a table stands instead of what it asked before. Among orders the strictest stands: refuse
    before divert, updates where one of them wants those. By account where every claim names some, else every row.
    `joining` is an order that asks now; the wishes raise InputError where what it asks for names no table.
    """
    from scelle.sources.postgres.shapes import ACCOUNT_NAMES  # the driver is an extra

    clauses, asking = [], {}
    for order, found in claiming(session, name):
        clauses += found
        ledger = session.ledger(order)
        asking[order] = asks_of(ledger, sealed_order(ledger).aliases[name])
    if joining is not None:
        order, ask = joining
        lives = sealed_order(session.order_ledger(order)).life.clauses
        clauses += [each.clause for each in lives if name in each.clause.sources]
        asking[order] = [*asking.get(order, []), ask]
    by_account = all(each.accounts or each.custodians or each.accounts_file for each in clauses)
    is_restricted = any(each.may_restrict for each in clauses) or session.sources()[name].restricted
    chosen = [
        each for schema in source.settings.schemas.values() for each in (schema.account, schema.custodian)
    ]
    columns = (*(each for each in chosen if each is not None), *ACCOUNT_NAMES) if by_account else ()

    def made(connection: "Connection[Any]") -> list["Wish"]:
        from scelle.guard.postgres import wishes_for  # the driver is an extra

        merged: dict[str, Wish] = {}
        for order, asks in asking.items():
            own: dict[str, Wish] = {}
            for ask in asks:
                patterns = (ask.tables,) if ask.tables is not None else source.settings.tables
                wishes = wishes_for(
                    connection,
                    patterns,
                    ask.mode,
                    updates=ask.updates,
                    accounts=columns,
                    restricted=is_restricted,
                )
                if not wishes and joining is not None and (order, ask) == joining:
                    raise InputError(
                        f"no table of {name} is called {', '.join(patterns)}: compare with `scelle source list`"
                    )
                own.update((each.text, each) for each in wishes)
            for text, wish in own.items():
                merged[text] = _stricter(wish, merged.get(text))
        return list(merged.values())

    return made


def _stricter(wish: "Wish", other: "Wish | None") -> "Wish":
    from scelle.guard.postgres import Mode  # the driver is an extra

    if other is None:
        return wish
    mode = Mode.REFUSE if Mode.REFUSE in (wish.mode, other.mode) else Mode.DIVERT
    return replace(wish, mode=mode, updates=wish.updates or other.updates)
