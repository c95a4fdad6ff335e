"""`scelle preview`: what an order's clauses cover now."""

import typer

from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    secret_from,
)
from scelle.cli.output import emit, human_bytes, utc
from scelle.errors import SourceMissing


def preview(
    order: OrderArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count what an order's clauses cover now: per source and clause, with a sample. Keeps nothing.

    Only the fact that somebody looked, and the counts, are sealed as an event.

    Example: scelle preview ec-2026-0108 --json
    """
    from scelle.bootstrap import KeyChoice, actor, now_us, opened  # start-up time of --help
    from scelle.capture.preview import preview as look
    from scelle.ledger.events import record_event
    from scelle.orders.service import sealed_order

    with opened(vault, KeyChoice(key_file, secret_from(passphrase)), writing=True) as session:
        ledger = session.order_writer(order)
        sealed = sealed_order(ledger)
        found = look(sealed.clauses, session.named(sealed))
        counts = {each.name: {**each.to_json(), "sample": []} for each in found}
        record_event(ledger, now_us(), actor(), "preview", {"sources": counts})
        ledger.seal(now_us())
    document = {
        "order": order,
        "offered": sum(each.offered for each in found),
        "covered": sum(each.covered for each in found),
        "bytes": sum(each.bytes for each in found),
        "sources": {each.name: each.to_json() for each in found},
    }
    lines = [
        f"order {order}: {document['covered']} of {document['offered']} items are covered; nothing was kept"
    ]
    for each in found:
        lines.append(
            f"  {each.name}: {each.covered} of {each.offered}, {human_bytes(each.bytes)}, "
            f"{utc(each.earliest_us)} to {utc(each.latest_us)}, {each.undated} undated"
        )
        lines += [f"    excluded by {rule}: {count}" for rule, count in sorted(each.excluded_by.items())]
        lines += [f"    clause {clause}: {count}" for clause, count in sorted(each.by_clause.items())]
        lines += [f"    e.g. {native}" for native in each.sample[:3]]
        if each.unreachable:
            lines.append(f"    cannot be read: {each.unreachable}")
    unreachable = [each for each in found if each.unreachable]
    if len(unreachable) == len(found):
        raise SourceMissing(f"{unreachable[0].name}: {unreachable[0].unreachable}: try again")
    emit(document, lines, as_json)
    if unreachable:
        raise typer.Exit(1)
