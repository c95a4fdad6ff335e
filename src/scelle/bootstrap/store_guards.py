"""Guard what orders hold inside the databases where it lives: install, probe, say how it stands, remove.

An order says in its own log that it is guarded in a source; the database is told one set of held accounts for all such
orders together, and no order. What probes found is sealed in the vault's log, by source.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from scelle.bootstrap.guard_claims import (
    INSTALLED,
    REMOVED,
    Ask,
    asks_of,
    claiming,
    claiming_orders,
    held_accounts,
    is_guarded,
    wisher,
)
from scelle.bootstrap.guard_databases import asked, asked_of, database_of, databases, open_database
from scelle.bootstrap.guard_status import GuardedPath, probe_guard, unfinished
from scelle.bootstrap.requests import ask
from scelle.bootstrap.session import Session
from scelle.errors import GuardWrong, InputError, SourceError, SourceUnreadable
from scelle.formats.entries import Gap
from scelle.formats.tokens import shown
from scelle.ledger.events import record_event
from scelle.operators.model import Power
from scelle.operators.requests import Act, Request
from scelle.orders.service import sealed_order
from scelle.sources.postgres import PostgresSource

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is guarded
    from psycopg import Connection

    from scelle.guard.postgres import Caps, Kept, Mode, Plan, Progress, Wish
    from scelle.sources.postgres.live import OldRow

_AT_ONCE: Final = 500
LET_GO: Final = "guard-let-go"
"""The cause of the gap of held rows that the guard let go: while it was suspended, or beyond the outbox's cap."""


class WantedCaps(NamedTuple):
    """The caps of the outbox that are asked for; None keeps what stands, or takes the default."""

    rows: int | None = None
    size_bytes: int | None = None
    beyond: str | None = None

    def over(self, standing: "Caps") -> "Caps":
        """Return the caps that stand, changed as it was asked."""
        from scelle.guard.postgres import Beyond, Caps  # the driver is an extra

        beyond = standing.beyond if self.beyond is None else Beyond(self.beyond)
        return Caps(self.rows or standing.rows, self.size_bytes or standing.size_bytes, beyond)


def guard_plan(
    session: Session, order: str, mode: "Mode", *, tables: str | None, updates: bool
) -> dict[str, "Plan"]:
    """Say, by source, what installing would run in an order's databases; changes nothing there."""
    session.require(Power.CAPTURE)
    ledger, ask_ = session.order_ledger(order), Ask(mode, tables, updates)
    found = {
        name: _plan(source, wisher(session, name, source, (order, ask_)))
        for name, source in databases(session, sealed_order(ledger).aliases)
    }
    if not found:
        raise InputError(f"order {order} has no database in which a guard can stand")
    return found


def _plan(source: PostgresSource, wishes_of: Callable[["Connection[Any]"], list["Wish"]]) -> "Plan":
    from scelle.guard.postgres import plan  # the driver is an extra

    return asked(source, lambda connection: plan(connection, wishes_of(connection)))


def install_guard(
    session: Session,
    order: str,
    name: str,
    mode: "Mode",
    *,
    tables: str | None,
    updates: bool,
    caps: WantedCaps,
    tell_database: bool = False,
) -> tuple["Progress", list[GuardedPath]]:
    """Guard an order's tables in one source, hold its accounts there, and probe; may be run again at any time.

    Of a secret order the database is told nothing unless `tell_database`: its people could test there whether a given
    account is held. Raises InputError then.

    The order's log says so when nothing that can be known speaks against it, and before anything is changed: a crash
    leaves a guard that is partial, and whoever runs it again finishes it. Raises GuardWrong, or SourceUnreadable for a
    right that is missing; nothing was changed then.
    """
    from scelle.guard.postgres import install  # the driver is an extra

    session.require(Power.CAPTURE)
    ledger = session.order_writer(order)
    sealed = sealed_order(ledger)
    source = database_of(session, sealed.aliases, name, order)
    if session.is_secret(sealed) and not tell_database:
        raise InputError(
            f"order {order} is secret, and whoever runs the database of {name} could test there whose rows are held: "
            "give --tell-database where that may be; `scelle watch` tells nothing"
        )
    alias, ask_ = sealed.aliases[name], Ask(mode, tables, updates)
    wishes_of = wisher(session, name, source, (order, ask_))
    asked(source, lambda connection: _check_possible(connection, name, wishes_of(connection), caps))
    if asks_of(ledger, alias)[-1:] != [ask_]:
        body = {"source": alias, "mode": mode.value, "tables": tables or "", "updates": int(updates)}
        record_event(ledger, session.now_us(), session.actor, INSTALLED, body)
        ledger.seal(session.now_us())
    try:
        progress = asked(
            source,
            lambda connection: install(
                connection, wishes_of(connection), caps.over(_standing_caps(connection))
            ),
        )
        asked(source, lambda connection: hold_accounts(session, connection, name))
    except SourceError as error:
        raise SourceUnreadable(f"{error}. {unfinished(order, name)}") from error
    return progress, probe_guard(session, name)


def _check_possible(
    connection: "Connection[Any]", name: str, wishes: Sequence["Wish"], caps: WantedCaps
) -> None:
    """Raise where an installation would be refused: GuardWrong, or SourceUnreadable where a right is missing."""
    from scelle.guard.postgres import Caps, plan  # the driver is an extra

    found = plan(connection, wishes, caps.over(Caps()))
    if found.is_possible:  # else the guard that stands may be another role's, and not be read
        found = plan(connection, wishes, caps.over(_standing_caps(connection)))
    if not found.is_possible:
        raise SourceUnreadable(
            f"the role {shown(found.role)} may not install the guard in {name}; nothing was changed. Missing: "
            f"{' '.join(found.needs)} (`scelle guard plan` prints it all)"
        )


def refresh_guard(session: Session, name: str) -> None:
    """Bring a source's guard to what the orders that are guarded there ask for now; remove it where none asks any more.

    An amendment may have made every row held, a partition may have come; what stands as wished is left alone.
    """
    from scelle.guard.postgres import install, remove  # the driver is an extra

    source = open_database(session, name)
    if not claiming_orders(session, name):
        asked(source, remove)
        return
    wishes_of = wisher(session, name, source)
    asked(source, lambda connection: install(connection, wishes_of(connection), _standing_caps(connection)))
    asked(source, lambda connection: hold_accounts(session, connection, name))


def tell_guards(session: Session, order: str) -> None:
    """Bring the guards of an order's sources to what an amendment, its release, or the undoing of it changed.

    Warns where one cannot be told: whoever watches, or `scelle guard install`, tells it later.
    """
    ledger = session.ledger(order)
    for name, alias in sealed_order(ledger).aliases.items():
        if is_guarded(ledger, alias):
            try:
                refresh_guard(session, name)
            except (SourceError, GuardWrong, InputError) as error:
                session.warnings.append(f"{name}: its guard was not told yet: {error}")


# --- removal -------------------------------------------------------------------------------------------------


def ask_removal(session: Session, order: str, name: str, reason: str) -> Request:
    """Ask that an order's claims leave a source's guard: two people must sign it."""
    session.require(Power.REQUEST)
    sealed = sealed_order(session.order_ledger(order))
    database_of(session, sealed.aliases, name, order)
    return ask(session, Act.GUARD_REMOVE, order, {"source": name}, reason)


def execute_removal(session: Session, request: Request) -> dict[str, Any]:
    """Take an order's claims out of a source's guard, as a request asks; the last one's take the guard with them."""
    return remove_guard(session, str(request.order), str(request.body["source"]), request.id)


def remove_guard(session: Session, order: str, name: str, request: str | None) -> dict[str, Any]:
    """Take an order's claims out of a source's guard; idempotent. With the last order's the guard itself goes.

    The order's log says so first. A crash leaves claims in the database that nobody makes: the next run removes them.
    """
    from scelle.guard.postgres import remove  # the driver is an extra

    ledger = session.writer(order)
    sealed = sealed_order(ledger)
    source = database_of(session, sealed.aliases, name, order)
    alias = sealed.aliases[name]
    if set(claiming_orders(session, name)) <= {order}:
        _refuse_waiting(session, name, order)
    if is_guarded(ledger, alias):
        record_event(ledger, session.now_us(), session.actor, REMOVED, {"source": alias, "request": request})
        ledger.seal(session.now_us())
    if any(claiming(session, name)):
        refresh_guard(session, name)
        return {"source": name, "removed": False}
    progress = asked(source, remove)
    return {"source": name, "removed": not progress.left, "left": dict(progress.left)}


def _refuse_waiting(session: Session, name: str, order: str) -> None:
    """Raise InputError while rows wait in the outbox: with the guard they would go unsealed."""
    from scelle.guard.postgres.relations import is_installed  # the driver is an extra

    waiting = kept_rows(session, name) if asked_of(session, name, is_installed) else []
    if waiting:
        raise InputError(
            f"{len(waiting)} rows or more wait in the outbox of {name} to be sealed: run `scelle watch {order} "
            "--until-caught-up` first, then remove the guard"
        )


# --- what is held --------------------------------------------------------------------------------------------


def hold_accounts(session: Session, connection: "Connection[Any]", name: str) -> int:
    """Hold in a database exactly the accounts that the orders which are guarded there name; return how many."""
    from scelle.guard.postgres import hold  # the driver is an extra

    return hold(connection, held_accounts(session, name))


def kept_rows(session: Session, name: str, more: int = 0) -> list["Kept"]:
    """Return the first rows that wait in a source's outbox; `more` than at once where so many could not be sealed."""
    from scelle.guard.postgres.outbox import waiting  # the driver is an extra

    return asked(open_database(session, name), lambda connection: waiting(connection, _AT_ONCE + more))


def old_row(row: "Kept") -> "OldRow":
    """Return a row of the outbox as the source of its database reads it."""
    from scelle.sources.postgres.live import OldRow  # the driver is an extra

    at_us = int(row.at.timestamp() * 1_000_000)
    return OldRow(row.id, row.table, row.op, at_us, row.columns, row.cells)


def forget_kept(session: Session, name: str, rows: Sequence["Kept"]) -> None:
    """Take rows out of the outbox: they are durable in the vault. Their room there is given back."""
    from scelle.guard.postgres.outbox import remove, tidy  # the driver is an extra

    def forget(connection: "Connection[Any]") -> None:
        remove(connection, [each.id for each in rows])
        tidy(connection)

    asked(open_database(session, name), forget)


def note_let_go(session: Session, name: str) -> int:
    """Declare in the logs of the orders that are guarded what the guard let go; return how many rows.

    A crash between the declaration and its end in the database declares it twice: too much, and never too little.
    """
    from scelle.guard.postgres.outbox import missed, remove_missed  # the driver is an extra

    source = open_database(session, name)
    found = asked(source, lambda connection: missed(connection, _AT_ONCE))
    if not found:
        return 0
    for order, _ in claiming(session, name):
        ledger = session.writer(order)
        alias = sealed_order(ledger).aliases[name]
        gaps = []
        for each in found:
            at_us = int(each.at.timestamp() * 1_000_000)
            gaps.append(Gap(order, alias, (at_us, at_us + 1), LET_GO, each.rows, None))
        ledger.commit_entries(gaps, session.now_us())
    asked(source, lambda connection: remove_missed(connection, [each.id for each in found]))
    return sum(each.rows for each in found)


def _standing_caps(connection: "Connection[Any]") -> "Caps":
    """Return the caps of the guard that stands in a database; the defaults where none does."""
    from scelle.guard.postgres import Caps, standing  # the driver is an extra

    try:
        return standing(connection).caps
    except GuardWrong:
        return Caps()
