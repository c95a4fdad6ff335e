"""`scelle verify`: re-read everything and say everything that is wrong."""

from typing import Annotated

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, secret_from
from scelle.cli.output import emit


def verify(
    sample: Annotated[
        int | None, typer.Option(min=1, help="Check only this many records of each order.")
    ] = None,
    order: Annotated[str | None, typer.Option(help="Check only this order.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one for each core.")] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Re-read everything and say everything that is wrong, not the first. Trusts no catalog.

    Exit code 0: nothing is wrong; 1: the findings say what.

    Example: scelle verify --json
    """
    from scelle.bootstrap import KeyChoice, opened  # start-up time of --help
    from scelle.fsck.service import verify as check
    from scelle.orders.service import check_order

    with opened(vault, KeyChoice(key_file, secret_from(passphrase)), writing=False) as session:
        if order is not None:
            check_order(vault, order)
        report = check(vault, session.key, sample=sample, order=order, workers=workers)
    emit(report.to_json(), report.lines(), as_json)
    if not report.valid:
        raise typer.Exit(1)
