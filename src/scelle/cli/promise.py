"""`scelle promise`: what was promised to be sealed, and whether it was."""

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
from scelle.cli.output import emit

app = typer.Typer(no_args_is_help=True, help="List and check the promises to seal what was accepted.")


@app.command("check")
def check(
    order: OrderArgument,
    promises: Annotated[
        list[Path] | None,
        typer.Option(
            "--promises", metavar="DIR|FILE", help="Promises that somebody holds; may be given several times."
        ),
    ] = None,
    receipts: Annotated[
        list[Path] | None,
        typer.Option(
            "--receipts",
            metavar="FILE",
            help="Receipts of a recorder (X-Scelle-Promise), one a line; may be given several times.",
        ),
    ] = None,
    receipt_key: Annotated[
        list[Path] | None,
        typer.Option(
            "--receipt-key",
            metavar="FILE",
            help="A certificate of a receipt key that somebody holds; may be given several times.",
        ),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge every promise that the vault keeps, and those given, against the order's log.

    Kept: the records lie at their places under a checkpoint that somebody outside held by the deadline; late: held
    after it; broken: another record is there, or a checkpoint held after the deadline lacks them, or two promises
    contradict each other; undecided: not enough was shown; waiting: the deadline is not over. Exit code 1 where one is
    broken, or is no promise of this log. Receipts that a recorder gave are judged in the same way, each by its event.

    Example: scelle promise check ec-2026-0108 --promises /mnt/notary/promises --json

    scelle promise check ec-2026-0108 --receipts receipts.txt
    """
    from scelle.bootstrap.promises import check_promises  # start-up time of --help
    from scelle.bootstrap.receipts import check_receipts

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        report = check_promises(session, session.check_order(order), promises or [])
        received = check_receipts(session, order, receipts or [], receipt_key or [])
    document = {**report.to_json(), "receipts": received.to_json()}
    emit(document, [*report.lines(), *received.lines()], as_json)
    if report.is_broken or received.is_broken:
        raise typer.Exit(1)


@app.command("list")
def list_(
    order: OrderArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the promises that the vault keeps of an order; nothing is judged.

    Example: scelle promise list ec-2026-0108 --json
    """
    from scelle.bootstrap.promises import list_promises, promise_json  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        found = [promise_json(each) for each in list_promises(session, order)]
    lines = [
        f"{each['source']} [{each['seq'][0]}, {each['seq'][1]}): received {each['received']}, deadline "
        f"{each['deadline']}, batch {each['batch']}"
        for each in found
    ]
    emit({"order": order, "promises": found}, lines or ["no promise"], as_json)
