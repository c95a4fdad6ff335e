"""Let a guard in a database go for a while: at once and by one person, or for one migration and by two.

A suspension ends by itself, by the database's clock. It is a gap of every order that is guarded there, and needs the
word of a second person within a day. A migration is allowed for half an hour, after what it takes away was sealed.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from scelle.bootstrap.guard_claims import claiming_orders, guarded_sources
from scelle.bootstrap.guard_databases import asked_of
from scelle.bootstrap.requests import ask
from scelle.bootstrap.restricted import with_compartment
from scelle.bootstrap.session import Session
from scelle.capture.service import run_pass
from scelle.errors import GuardWrong, InputError, NotAllowed, SourceUnreadable
from scelle.formats.entries import Gap
from scelle.formats.tokens import is_code, shown
from scelle.ledger.events import Event, events
from scelle.ledger.service import OrderLedger
from scelle.operators.model import Power
from scelle.operators.requests import Act, Request, why_not_second
from scelle.orders.days import utc_text
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order, with_accounts

SUSPENDED: Final = "guard.suspended"
REARMED: Final = "guard.rearmed"
CONFIRMED: Final = "guard.suspension-confirmed"
GAP: Final = "guard-suspended"
MINUTES_MAX: Final = 240
MIGRATION_US: Final = 30 * 60 * 1_000_000
WORD_WITHIN_US: Final = 24 * 3_600_000_000
_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Suspension:
    """One suspension of a source's guard; times in microseconds. ``confirmed_by`` is None while nobody's word is there.

    In solo mode that is who suspended it: there is no second person.
    """

    id: str
    source: str
    by: str
    reason: str
    from_us: int
    until_us: int
    confirmed_by: str | None

    @property
    def is_alone(self) -> bool:
        """Tell whether the word is that of who suspended it."""
        return self.confirmed_by == self.by

    def is_overdue(self, now_us: int) -> bool:
        """Tell whether the second person's word is missing after its day."""
        return self.confirmed_by is None and now_us > self.from_us + WORD_WITHIN_US

    def to_json(self, now_us: int) -> dict[str, Any]:
        """Return the suspension as `guard status --json` prints it."""
        return {
            "id": self.id,
            "source": self.source,
            "by": self.by,
            "reason": self.reason,
            "from": utc_text(self.from_us, "auto"),
            "until": utc_text(self.until_us, "auto"),
            "confirmed_by": self.confirmed_by,
            "is_alone": self.is_alone,
            "overdue": self.is_overdue(now_us),
        }

    def line(self, now_us: int) -> str:
        """Return the suspension for people."""
        word = (
            f"confirmed by {self.confirmed_by}" if self.confirmed_by else "a second person's word is missing"
        )
        if self.is_alone:
            word += ", who is no second person: the vault has no operators"
        late = ", for more than a day" if self.is_overdue(now_us) else ""
        until = utc_text(self.until_us, "auto")
        return f"{self.source}: suspended by {self.by} until {until} ({self.reason}), {self.id}: {word}{late}"


def suspend_guard(session: Session, minutes: int, reason: str, name: str | None) -> list[Suspension]:
    """Let the guards of a source, or of all, go for some minutes, at once; returns what a second person must confirm.

    With it a gap is sealed in every order that is guarded there: when the database has taken the suspension, and before
    it commits it. What it refuses is not sealed; a crash leaves a gap and a guard that stands.
    """
    from scelle.guard.postgres.suspending import suspend  # the driver is an extra

    session.require(Power.CAPTURE)
    if not 1 <= minutes <= MINUTES_MAX:
        raise InputError(f"--minutes {minutes}: give 1 to {MINUTES_MAX}")
    if not is_code(reason):
        raise InputError(f"reason {shown(reason)} is no code of a-z 0-9 -: free text goes to `scelle note`")
    now_us = session.now_us()
    until_us = now_us + minutes * _MINUTE_US
    until = datetime.fromtimestamp(until_us / 1e6, UTC)
    found = [
        Suspension(f"g{secrets.token_hex(8)}", source, session.actor, reason, now_us, until_us, None)
        for source in _standing(session, name)
    ]
    for each in found:
        seal = partial(_seal_suspension, session, each)
        asked_of(session, each.source, partial(suspend, until=until, seal=seal))
    return found


def _seal_suspension(session: Session, each: Suspension) -> None:
    bounds = {"from_us": str(each.from_us), "until_us": str(each.until_us)}
    session.record(SUSPENDED, {"id": each.id, "source": each.source, **bounds, "reason": each.reason})
    for order in claiming_orders(session, each.source):
        ledger = session.writer(order)
        alias = sealed_order(ledger).aliases[each.source]
        ledger.commit_entries(
            [Gap(order, alias, (each.from_us, each.until_us), GAP, None, None)], each.from_us
        )


def rearm_guard(session: Session, name: str | None) -> dict[str, bool]:
    """End suspensions now; tells by source whether its guard was suspended. Anybody who captures may: it tightens."""
    from scelle.guard.postgres.suspending import rearm  # the driver is an extra

    session.require(Power.CAPTURE)
    found = {}
    for source in _standing(session, name):
        found[source] = asked_of(session, source, rearm)
        if found[source]:
            session.record(REARMED, {"source": source})
    return found


def confirm_suspension(session: Session, suspension: str) -> Suspension:
    """Seal a second person's word over a suspension; raises NotAllowed for who made it, but for solo mode."""
    session.require(Power.CAPTURE, Power.APPROVE)
    each = next((each for each in suspensions(session) if each.id == suspension), None)
    if each is None:
        raise InputError(f"{shown(suspension)} is no suspension: scelle guard status names them")
    if each.confirmed_by is not None:
        raise InputError(f"suspension {each.id} is confirmed by {each.confirmed_by} already")
    _refuse_own(session, each)
    session.record(CONFIRMED, {"id": each.id})
    return next(found for found in suspensions(session) if found.id == suspension)


def _refuse_own(session: Session, each: Suspension) -> None:
    """Raise NotAllowed where who acts is no other person than who suspended."""
    first, second = session.people.operators.get(each.by), session.operator
    refused = None if first is None or second is None else why_not_second(first, second)
    if refused is not None:
        session.note_refusal(f"confirm {each.id}", refused)
        raise NotAllowed(f"suspension {each.id} by {each.by}: {refused}")


def suspensions(session: Session) -> list[Suspension]:
    """List every suspension there was, in their order."""
    ledger: OrderLedger = session.ledger(RESERVED_ORDER_ID)
    words = {event.body["id"]: _name(event) for event in events(ledger, CONFIRMED)}
    return [
        Suspension(
            event.body["id"],
            event.body["source"],
            _name(event),
            event.body["reason"],
            int(event.body["from_us"]),
            int(event.body["until_us"]),
            words.get(event.body["id"]),
        )
        for event in events(ledger, SUSPENDED)
    ]


def _name(event: Event) -> str:
    """Return who acted as sessions name him; events say `operator:` before it."""
    return event.actor.removeprefix("operator:")


def ask_migration(
    session: Session, order: str, name: str, table: str, column: str | None, reason: str
) -> Request:
    """Ask that a guarded table, or one column of it, may be dropped, detached or rewritten for half an hour.

    Raises GuardWrong for a table that the database does not guard, and for a column that it does not have.
    """
    from scelle.guard.postgres.suspending import check_guarded  # the driver is an extra

    session.require(Power.REQUEST)
    if name not in guarded_sources(session) or name not in sealed_order(session.order_ledger(order)).aliases:
        raise InputError(f"order {order} is not guarded in {name}: nothing needs to be allowed there")
    _standing(session, name)
    asked_of(session, name, partial(check_guarded, table=table, column=column))
    return ask(
        session, Act.GUARD_MIGRATION, order, {"source": name, "table": table, "column": column}, reason
    )


def execute_migration(session: Session, request: Request) -> dict[str, Any]:
    """Seal what the orders that are guarded cover of the source now, then allow the migration until half an hour on."""
    from scelle.guard.postgres.suspending import allow_migration  # the driver is an extra

    name, table, column = (request.body[key] for key in ("source", "table", "column"))
    for order in claiming_orders(session, name):
        _seal_now(session, order, name)
    until_us = session.now_us() + MIGRATION_US
    until = datetime.fromtimestamp(until_us / 1e6, UTC)
    asked_of(session, name, lambda connection: allow_migration(connection, table, column, until))
    return {"source": name, "table": table, "column": column, "until": utc_text(until_us, "auto")}


def _seal_now(session: Session, order: str, name: str) -> None:
    ledger = session.writer(order)
    sealed = with_accounts(sealed_order(ledger), session.packs)
    tools = with_compartment(session, session.pass_tools(ledger, lambda source, counts: None))
    (report,) = run_pass(tools, sealed.clauses, session.named(sealed, [name])).sources
    if report.unreachable is not None or report.counts.failed:
        raise SourceUnreadable(f"{name} could not be sealed whole, so that nothing is allowed: run it again")


def _standing(session: Session, name: str | None) -> list[str]:
    """Return the sources that are meant; raises GuardWrong where the database of one has no guard."""
    from scelle.guard.postgres.relations import is_installed  # the driver is an extra

    sources = _chosen(session, name)
    for source in sources:
        if not asked_of(session, source, is_installed):
            raise GuardWrong(
                f"no guard is installed in the database of {source}: `scelle guard install ORDER --source {source}` "
                "makes one; nothing was changed"
            )
    return sources


def _chosen(session: Session, name: str | None) -> list[str]:
    names = guarded_sources(session)
    if name is not None and name not in names:
        raise InputError(f"no guard is installed in {name}: scelle guard install ORDER --source {name}")
    if not names:
        raise InputError("no guard is installed: scelle guard install ORDER --source SOURCE")
    return [each for each in names if name in (None, each)]
