"""`scelle find`: what is sealed, by its metadata."""

from typing import TYPE_CHECKING, Annotated

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
from scelle.cli.output import emit, search_progress, warn
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.find.service import Hits

ITEMS = 1000


def find(
    order: OrderArgument,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to find, in one argument.")],
    limit: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show this many items; all are counted.")
    ] = ITEMS,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find sealed items by their metadata: source, account or custodian, time, and every field of their schemas.

    Comparisons are = != < <= > >= in (..), contains, starts with, is null, is not null; and, or, not join them.
    Texts and times stand in double quotes; a date is a day in the order's zone. Proves nothing: `produce` does.

    Example: scelle find ec-2026-0108 'account = "u1" and time >= "2026-01-01"' --json
    """
    from scelle.bootstrap.finding import find_items  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.READ_CONTENT) as session:
        hits = find_items(session, order, query, limit, search_progress())
    if hits.count > len(hits.items) > 0:
        warn(f"{len(hits.items)} of {hits.count} matches are shown: give --limit N for more")
    emit({"order": order, "query": query, **hits.to_json()}, _lines(hits), as_json)


def _lines(hits: "Hits") -> list[str]:
    lines = [
        f"{each.id or '-':27}  {each.place}  {each.time or 'undated':27}  {each.source}  {each.account or '-'}"
        for each in hits.items
    ]
    kept_back = f", and {hits.quarantined} quarantined" if hits.quarantined else ""
    return [*lines, f"{hits.count} matches{kept_back} among what checkpoint {hits.size} covers"]
