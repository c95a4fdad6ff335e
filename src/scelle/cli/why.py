"""`scelle why`: which orders and clauses hold an item, and the earliest day it could go."""

from typing import Annotated

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, search_progress


def why(
    item: Annotated[
        str,
        typer.Argument(metavar="ITEM", help="The item's id, a ref, or with --source the source's own id."),
    ],
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="ITEM is an id of this source's own.")
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which orders and clauses hold an item, until when by their clocks, and the earliest day it could go.

    Only orders that you may see are named; what others hold is answered as `may-delete` answers it. No clock releases
    anything: release needs two people.

    Example: scelle why a.txt --source docs --json
    """
    from scelle.bootstrap.explaining import explain  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        found = explain(session, item, source, search_progress())
    emit(found.to_json(), found.lines(), as_json)
