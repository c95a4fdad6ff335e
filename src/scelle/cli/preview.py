"""`scelle preview`: what an order's clauses cover now."""

from pathlib import Path
from typing import Annotated

import typer

from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    opened_vault,
)
from scelle.cli.output import emit, human_bytes, utc
from scelle.cli.unreachable import unreachable_error
from scelle.operators.model import Power


def preview(
    order: OrderArgument,
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="TOML with [prices]: currency, gib_month, months; prints what keeping costs."
        ),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count what an order's clauses cover now: per source and clause, with a sample. Keeps nothing.

    A clause that asks for media types can be decided only once an item is read: such items are in doubt.
    Only the fact that somebody looked, and the counts, are sealed as an event; of sources of records, for each file or
    table. `preserve` then says what differs.

    How much the vault would grow is estimated from a sample of records; of documents it is an upper bound.

    Example: scelle preview ec-2026-0108 --json
    """
    from scelle.bootstrap import refuse_capture  # start-up time of --help
    from scelle.bootstrap.restricted import restricted_warnings
    from scelle.capture.growth import read_prices
    from scelle.capture.interfaces import clauses_over
    from scelle.capture.preview import preview as look
    from scelle.capture.preview import sealed_preview
    from scelle.ledger.events import record_event
    from scelle.orders.service import sealed_order, with_accounts

    price = None if prices is None else read_prices(prices)
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        ledger = session.order_writer(order)
        sealed = sealed_order(ledger)
        refuse_capture(session, sealed)
        sealed = with_accounts(sealed, session.packs)
        sources = session.named(sealed)
        clauses = clauses_over(sealed.clauses, sources)
        found = look(clauses, sources)
        record_event(ledger, session.now_us(), session.actor, "preview", sealed_preview(clauses, found))
        ledger.seal(session.now_us())
        session.warnings += restricted_warnings(session, sealed.clauses)
    growth = sum(each.growth_bytes for each in found)
    document = {
        "order": order,
        "offered": sum(each.offered for each in found),
        "covered": sum(each.covered for each in found),
        "bytes": sum(each.bytes for each in found),
        "growth_bytes": growth,
        "price": None if price is None else price.to_json(growth),
        "sources": {each.name: each.to_json() for each in found},
    }
    lines = [
        f"order {order}: {document['covered']} of {document['offered']} items are covered; nothing was kept"
    ]
    lines.append(
        f"  all that is covered would take about {human_bytes(growth)} in a new vault (documents: at most)"
    )
    if price is not None:
        lines.append(f"  keeping that for {price.months:g} months: {price.of(growth):.2f} {price.currency}")
    for each in found:
        lines.append(
            f"  {each.name}: {each.covered} of {each.offered}, {human_bytes(each.bytes)}, "
            f"{_period(each.earliest_us, each.latest_us)}{each.undated} undated"
        )
        lines += [f"    excluded by {rule}: {count}" for rule, count in sorted(each.excluded_by.items())]
        lines += [
            f"    in doubt, {rule}: {count}{_later(rule)}" for rule, count in sorted(each.doubts.items())
        ]
        if each.troubles:
            lines.append(f"    cannot be listed or read: {each.troubles}; a pass counts them as failed")
            lines += [
                f"      {problem.native}: {problem.cause} {problem.detail}".rstrip()
                for problem in each.failures
            ]
        lines += [f"    clause {clause}: {count}" for clause, count in sorted(each.by_clause.items())]
        lines += [f"    {member.name}: {note}" for member in each.members for note in member.notes]
        lines += [f"    mind: {warning}" for warning in each.warnings]
        if each.restricted:
            lines.append(f"    restricted: {each.restricted} of {each.covered}")
        if each.may_be_restricted:
            lines.append(f"    may be restricted: {each.may_be_restricted} of {each.covered}, by content")
        lines += [f"    e.g. {native}" for native in each.sample[:3]]
        if each.unreachable:
            lines.append(f"    cannot be read: {each.unreachable}")
    unreachable = [each for each in found if each.unreachable]
    if len(unreachable) == len(found):
        first = unreachable[0]
        raise unreachable_error(first.name, first.unreachable or "")
    emit(document, lines, as_json)
    if unreachable:
        raise typer.Exit(1)


def _period(earliest_us: int | None, latest_us: int | None) -> str:
    return "" if earliest_us is None else f"{utc(earliest_us)} to {utc(latest_us)}, "


def _later(doubt: str) -> str:
    from scelle.scope.model import Reason  # start-up time of --help

    return "; a pass reads them and may exclude some" if doubt == Reason.MEDIA_TYPE_UNKNOWN else ""
