"""`scelle order`: take orders in, show them, and give the authority what it needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.lives import clause_lines, life_json, life_lines, standing, undo_lines
from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    opened_vault,
)
from scelle.cli.output import emit, shown_json, utc, warn
from scelle.errors import TimestampUnavailable
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.bootstrap import Session
    from scelle.orders.service import SealedOrder

app = typer.Typer(help="Take orders in and show them.", no_args_is_help=True, rich_markup_mode=None)


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The order in TOML (docs/orders.md).")],
    tsa: Annotated[str | None, typer.Option(metavar="URL", help="RFC 3161 time-stamp authority.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Wall it from its first event on: only this operator, and you, know of it. Repeat for more.",
        ),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take an order in, seal its document as item zero, and say what its clock says.

    Example: scelle order add order.toml --tsa http://tsa.example/tsr

    Example: scelle --as alice order add secret.toml --only alice --only bob
    """
    from scelle.bootstrap import (  # start-up time of --help
        WitnessSettings,
        set_witnesses,
        show_to_witnesses,
        take_in_order,
    )
    from scelle.orders.intake import check_sources, read_order_file
    from scelle.orders.service import sealed_order
    from scelle.timestamps.rfc3161 import checked_address

    if tsa is not None:
        checked_address(tsa)
    order_file = read_order_file(file)
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.TAKE_IN) as session:
        specs = session.sources()
        check_sources(order_file.clauses, specs)
        ledger = take_in_order(session, order_file, only or None)
        settings = WitnessSettings(tsa=tsa)
        if tsa is not None:
            set_witnesses(session, ledger, settings)
        for warning in [*order_file.warnings, *show_to_witnesses(session, ledger, "item-zero", settings)]:
            warn(warning)
        document = _described(session, sealed_order(ledger))
        walls = session.people.walls
        document["only"] = sorted(walls[ledger.order]) if ledger.order in walls else None
    inside = document["only"]
    walled = [] if inside is None else [f"only {', '.join(inside)} may know of it"]
    emit(document, [*_lines(document), *walled], as_json)


@app.command("list")
def list_orders(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the orders of the vault with what their clocks say.

    Example: scelle order list
    """
    from scelle.orders.service import sealed_order  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        found = [_described(session, sealed_order(session.ledger(order))) for order in session.orders()]
        is_nobody = not session.is_solo and session.operator is None
    lines = [f"{each['id']}  {each['type']}  {each['authority']}  {standing(each)}" for each in found]
    none = "no orders yet: scelle order add FILE"
    if is_nobody:
        none = "orders are shown to operators only: give --as NAME"
    emit({"orders": found}, lines or [none], as_json)


@app.command("show")
def show(
    order: OrderArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an order: its terms, clauses, clock, and what was done.

    Example: scelle order show ec-2026-0108 --json
    """
    from scelle.bootstrap import witnesses  # start-up time of --help
    from scelle.ledger.events import events
    from scelle.orders.service import sealed_order

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        ledger = session.order_ledger(order)
        sealed = sealed_order(ledger)
        document = _described(session, sealed)
        document["log"] = {"origin": ledger.origin, "size": ledger.log.size, "root": ledger.log.root.hex()}
        seen = witnesses(ledger)
        document["rewritable_unseen_since"] = utc(seen.rewritable_since(sealed.received.time_us))
        document["shown"] = shown_json(seen.newest_shown())
        document["events"] = [
            {"seq": event.seq, "time": utc(event.time_us), "actor": event.actor, "kind": event.kind}
            for event in events(ledger)
        ]
    lines = _lines(document)
    lines += [f"  size {each['size']} was shown {each['at']}: {each['how']}" for each in document["shown"]]
    lines += [f"  {event['time']}  {event['kind']}  {event['actor']}" for event in document["events"]]
    emit(document, lines, as_json)


@app.command("trust")
def trust(
    order: OrderArgument,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The trust file; must not exist.")],
    cosigner: Annotated[
        list[str] | None,
        typer.Option(metavar="VKEY", help="Count this key's cosignatures and audits. Repeat for more."),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what the authority is given once: origin, log keys, tag key; and a letter with fingerprints.

    Example: scelle order trust ec-2026-0108 --to trust.json
    """
    from scelle.bootstrap import refuse_in_vault  # start-up time of --help
    from scelle.formats.notes import parse_vkey
    from scelle.ledger.events import events
    from scelle.productions.service import write_trust
    from scelle.productions.trust import Cosigners

    cosigners = Cosigners(tuple(map(parse_vkey, cosigner or ())))

    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.PRODUCE) as session:
        refuse_in_vault(session, to)
        ledger = session.order_ledger(order)
        document = write_trust(ledger, to, cosigners)
        earlier = sum(1 for _ in events(ledger, "production"))
    if earlier:
        warn(
            f"{earlier} packages were made before this trust file, whose held checkpoint is newer: they do not verify "
            "with it; keep the file that was given first"
        )
    emit(
        document,
        [
            f"{document['trust']} and {document['letter']} written: hand over the file, and the letter on paper"
        ],
        as_json,
    )


@app.command("timestamp")
def timestamp(
    order: OrderArgument,
    tsa: Annotated[str | None, typer.Option(metavar="URL", help="From now on, this authority.")] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the newest checkpoint time-stamped now, and everything that is queued.

    Example: scelle order timestamp ec-2026-0108 --tsa http://tsa.example/tsr
    """
    from scelle.bootstrap import timestamp_now, witnesses  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        ledger = session.order_writer(order)
        warnings = timestamp_now(session, ledger, tsa)
        pending = len(witnesses(ledger).pending())
    if pending:
        raise TimestampUnavailable(f"{'; '.join(warnings)}: {pending} time-stamps stay queued: try again")
    for warning in warnings:
        warn(warning)
    emit({"order": order, "pending": pending}, ["every checkpoint that was asked for is stamped"], as_json)


@app.command("escrow")
def escrow(
    order: OrderArgument,
    to: Annotated[Path, typer.Option(metavar="DIR", help="A folder that somebody else keeps.")],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deposit the log's checkpoint and entries in a folder, now and after every later change.

    Refused when what lies there is not a prefix of this log.

    Example: scelle order escrow ec-2026-0108 --to /mnt/notary
    """
    from scelle.bootstrap import add_escrow  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        checkpoint, warnings = add_escrow(session, session.order_writer(order), to)
    for warning in warnings:
        warn(warning)
    document = {"order": order, "to": str(to), "size": checkpoint.size, "root": checkpoint.root.hex()}
    emit(document, [f"checkpoint of size {checkpoint.size} deposited in {to}"], as_json)


def _described(session: "Session", sealed: "SealedOrder") -> dict[str, Any]:
    from scelle.orders.clocks import days_left, hold_end, next_step  # start-up time of --help
    from scelle.orders.sealed import order_to_json

    order = sealed.life.running_order
    reading = hold_end(order)
    return {
        **order_to_json(order),
        **life_json(sealed.life, session.now_us(), session.setting_us("decide-within")),
        "kind": order.rule.kind.value,
        "keep_until": utc(reading.keep_until_us),
        "act_by": utc(reading.act_by_us),
        "open_ended": reading.open_ended,
        "review_due": utc(sealed.life.review_due_us(session.setting_us("review-every"))),
        "days_left": days_left(order, session.now_us()),
        "next": next_step(order, session.now_us()),
        "undo_until": utc(sealed.life.undo_until_us(session.setting_us("grace"))),
        "warnings": list(reading.warnings),
        "aliases": dict(sealed.aliases),
    }


def _lines(document: dict[str, Any]) -> list[str]:
    lines = [
        f"order {document['id']} ({document['type']}, {document['kind']}), matter {document['matter']}",
        f"from {document['authority']}: {document['reference']}, {document['legal_basis']}",
        standing(document),
        *life_lines(document),
        *clause_lines(document),
    ]
    lines += undo_lines(document)
    return lines + [f"  note: {warning}" for warning in document["warnings"]]
