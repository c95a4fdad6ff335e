"""`scelle gap`: what was, or may have been, missed."""

from typing import Annotated

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit

app = typer.Typer(no_args_is_help=True, help="List the gaps: what was, or may have been, missed.")


@app.command("list")
def list_(
    order: Annotated[
        str | None,
        typer.Argument(metavar="ORDER", help="Only this order's. Default: all that you may know of."),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every gap with its cause, its bounds, how much may be lost at most, and what closed it.

    A gap is closed by evidence only: a snapshot that was read to its end. Exit code 1 where one is open. Where tables
    were left out it names them. Gaps that a recorder counted stand in `scelle report order-status`.

    Example: scelle gap list --json
    """
    from scelle.bootstrap.gap_list import list_gaps  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        gaps = list_gaps(session, order)
    still_open = sum(gap.is_open for gap in gaps)
    lines = [gap.line() for gap in gaps] or ["no gap"]
    emit({"gaps": [gap.to_json() for gap in gaps], "open": still_open}, lines, as_json)
    if still_open:
        raise typer.Exit(1)
