"""`scelle why`: which orders and clauses hold an item, and the earliest day it could go."""

from typing import TYPE_CHECKING, Annotated

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, search_progress
from scelle.errors import ItemUnknown

if TYPE_CHECKING:
    from scelle.guard.why import Why


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
    anything: release needs two people. What is sealed may be kept where the live item may go: of that one `may-delete`
    answers.

    The guard in a database gives refs of its own (`held, ref 0086fd5f`, SQLSTATE SC001): with --source they are looked
    up there, among the accounts of orders that you may see.

    Example: scelle why a.txt --source docs --json
    """
    from scelle.bootstrap.explaining import explain  # start-up time of --help
    from scelle.bootstrap.guard_refs import refused_in_database, where_else

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        referred = refused_in_database(session, item, source)
        if referred is not None:
            emit(referred.to_json(), referred.lines(), as_json)
            return
        try:
            found = explain(session, item, source, search_progress())
        except ItemUnknown as error:
            raise ItemUnknown(f"{error}{where_else(session, item)}") from error
    emit(found.to_json(), [*found.lines(), *_live_lines(found)], as_json)


def _live_lines(found: "Why") -> list[str]:
    """Say, where only what is sealed is held, that this is not of the live item: `may-delete` answers for that one."""
    if not found.holds or any(hold.grows for hold in found.holds):
        return []
    return [
        "none of these holds the live item, only its sealed copy, which is kept until the release; scelle may-delete "
        "says whether the live item may go"
    ]
