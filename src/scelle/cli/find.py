"""`scelle find`: what is sealed, by its metadata."""

import sys
import time
from collections.abc import Callable
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
from scelle.cli.output import emit, warn

if TYPE_CHECKING:
    from scelle.find.service import Hits

ITEMS = 1000
_SHOWN_EVERY_S = 0.2
_SHOWN_AFTER_S = 1.0


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

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        hits = find_items(session, order, query, limit, _progress())
    if hits.count > len(hits.items) > 0:
        warn(f"{len(hits.items)} of {hits.count} matches are shown: give --limit N for more")
    emit({"order": order, "query": query, **hits.to_json()}, _lines(hits), as_json)


def _lines(hits: "Hits") -> list[str]:
    lines = [
        f"{each.id or '-':27}  {each.place}  {each.time or 'undated':27}  {each.source}  {each.account or '-'}"
        for each in hits.items
    ]
    return [*lines, f"{hits.count} matches among what checkpoint {hits.size} covers"]


def _progress() -> Callable[[int, int], None]:
    """Return a progress line for a terminal, of a search that takes more than a moment: how much, how fast."""
    if not sys.stderr.isatty():
        return lambda done, total: None
    started = shown_at = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - started < _SHOWN_AFTER_S or (done != total and now - shown_at < _SHOWN_EVERY_S):
            return
        shown_at = now
        line = f"searched {done} of {total} records, {done / (now - started):.0f}/s"
        print(f"\r\x1b[K{line}" if done != total else "\r\x1b[K", end="", flush=True, file=sys.stderr)

    return show
