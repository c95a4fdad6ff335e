"""Plan what a watch would run on an order's databases: every statement, its lock, what it needs and what undoes it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scelle.bootstrap.session import Session
from scelle.capture.watch_state import slot_name
from scelle.errors import InputError
from scelle.orders.service import sealed_order
from scelle.sources.postgres import PostgresSource

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is watched
    from scelle.sources.postgres.slots import Statement


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What a watch would run on one server.

    ``partly`` are the tables whose UPDATE and DELETE the stream cannot show, each with the reason.
    """

    source: str
    place: str
    statements: tuple["Statement", ...]
    partly: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `watch plan --json` prints."""
        return {
            "source": self.source,
            "server": self.place,
            "statements": [
                {"sql": each.sql, "lock": each.lock, "needs": each.needs, "undo": each.undo}
                for each in self.statements
            ],
            "updates_and_deletes_not_shown": [list(each) for each in self.partly],
        }

    def lines(self) -> list[str]:
        """Return the plan for people: SQL that can be run as it stands, and the script that undoes it."""
        lines = [f"-- {self.source}: {self.place}"]
        for each in self.statements:
            lines += [f"-- lock: {each.lock}", f"-- needs: {each.needs}", f"{each.sql};"]
        if not self.statements:
            lines.append("-- all is there: nothing would be run")
        for table, why in self.partly:
            lines.append(
                f"-- {table}: {why}; its UPDATE and DELETE are not shown, since publishing them would make the service "
                f"fail. Offered: ALTER TABLE {table} REPLICA IDENTITY FULL (each UPDATE then writes the old row, too)"
            )
        undo = [f"--   {each.undo};" for each in reversed(self.statements) if each.undo]
        return [*lines, *(["-- undo:", *undo] if undo else [])]


def watch_plans(session: Session, order: str) -> list[WatchPlan]:
    """Plan the watch of an order's databases; changes nothing there."""
    from scelle.sources.postgres.watched import WatchedDatabase  # the driver is an extra

    ledger = session.order_ledger(order)
    plans = []
    for named in session.named(sealed_order(ledger)):
        if isinstance(named.source, PostgresSource):
            database = WatchedDatabase(named.source.settings, slot_name(session.key, named.name))
            try:
                statements = tuple(database.plan())
                partly = database.unidentified()
            finally:
                database.close()
            plans.append(WatchPlan(named.name, named.source.settings.place, statements, partly))
    if not plans:
        raise _nothing_to_watch(order)
    return plans


def _nothing_to_watch(order: str) -> InputError:
    return InputError(
        f"order {order} has no source whose changes are captured as they happen: `scelle preserve` seals what is there"
    )
