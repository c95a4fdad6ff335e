"""Estimate how much a guard would divert into its outbox, from what the server counts anyway."""

from typing import Any

from scelle.bootstrap.guard_databases import asked, databases
from scelle.bootstrap.session import Session
from scelle.bootstrap.watch_plans import basis_json, basis_text
from scelle.operators.model import Power
from scelle.orders.service import sealed_order
from scelle.sources.postgres import PostgresSource


def outbox_growth(
    session: Session, order: str, *, tables: str | None, updates: bool
) -> dict[str, tuple[list[dict[str, Any]], list[str]]]:
    """Say, by source, what would be diverted in a day were every row held: as a document, and for people.

    An upper bound: of rows that are not held nothing is written. Each row is written to the outbox once, with its WAL,
    and stays there until a watch has sealed it.
    """
    session.require(Power.CAPTURE)
    ledger = session.order_ledger(order)
    return {
        name: _growth(source, (tables,) if tables is not None else source.settings.tables, updates=updates)
        for name, source in databases(session, sealed_order(ledger).aliases)
    }


def _growth(
    source: PostgresSource, patterns: tuple[str, ...], *, updates: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    from scelle.sources.postgres.growth import table_growth  # the driver is an extra
    from scelle.sources.postgres.slots import wanted_tables

    found = asked(source, lambda connection: table_growth(connection, wanted_tables(connection, patterns)))
    documents, lines = [], []
    for each in found:
        bytes_per_day, basis = each.bytes_per_day(updates=updates), basis_text(each, updates=updates)
        documents.append({"table": each.table, "bytes_per_day_at_most": bytes_per_day, **basis_json(each)})
        if basis is None:
            lines.append(
                f"{each.table}: how much would be diverted is not known: no counts, or never analysed"
            )
        else:
            lines.append(
                f"{each.table}: at most {bytes_per_day:,} bytes a day would be diverted, and as much WAL ({basis}; "
                "less where not every row is held)"
            )
    return documents, lines
