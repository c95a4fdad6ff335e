"""`scelle watch`: keep sealing what changes."""

import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    PassphraseOption,
    VaultOption,
    opened_vault,
)
from scelle.cli.output import emit
from scelle.errors import InputError
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.bootstrap import Session
    from scelle.bootstrap.watching import WatchReport


def watch(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[plan] ORDER", help="The order's id; `plan` before it to change nothing."),
    ],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    until_caught_up: Annotated[
        bool,
        typer.Option(
            "--until-caught-up",
            help="End when everything that was committed before the start is sealed.",
        ),
    ] = False,
    every: Annotated[
        float,
        typer.Option(
            min=1, metavar="SECONDS", help="How often a pass is run over sources that have no stream."
        ),
    ] = 300,
    as_json: JsonOption = False,
) -> None:
    """Keep sealing what is inserted, updated and deleted in the order's databases, until SIGTERM or ^C.

    Over its other sources (files, mail, records, git) a pass is run every --every seconds.

    The first time it makes what the stream needs (a replication slot, two publications; `scelle watch plan` prints
    them), seals what is there now in one snapshot, and joins the stream to it without a seam. A change is confirmed to
    the server only after it is durable in the vault, so a killed watch loses nothing: run it again. Exit code 1 where
    a gap is open, 4 where no database could be reached.

    Example: scelle watch plan ec-2026-0108; scelle watch ec-2026-0108 --until-caught-up --json
    """
    *first, order = words
    if first not in ([], ["plan"]):
        raise InputError(
            f"{' '.join(words)} is no order: write `scelle watch ORDER` or `scelle watch plan ORDER`"
        )
    if first:
        if until_caught_up:
            raise InputError("--until-caught-up is for watching, not for its plan: leave it out")
        with opened_vault(vault, key_file, passphrase, writing=False, power=Power.CAPTURE) as session:
            _show_plan(session, order, as_json)
        return
    from scelle.bootstrap.watching import Watcher  # start-up time of --help

    stopping: list[int] = []
    before = {
        each: signal.signal(each, lambda number, frame: stopping.append(number))
        for each in (signal.SIGTERM, signal.SIGINT)
    }
    watcher = Watcher(
        lambda: opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE, yields=True),
        order,
        until_caught_up=until_caught_up,
        every_s=every,
        should_stop=lambda: bool(stopping),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    try:
        report = watcher.run()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    emit(report.to_json(), _lines(report), as_json)
    if report.gaps:
        raise typer.Exit(1)


def _show_plan(session: "Session", order: str, as_json: bool) -> None:
    """Print what would be run on each server, what it locks and needs, and what undoes it."""
    from scelle.bootstrap.watch_plans import watch_plans  # start-up time of --help

    plans = watch_plans(session, order)
    lines = [f"order {order}: what `scelle watch` would run; nothing was changed"]
    for plan in plans:
        lines += plan.lines()
    emit({"order": order, "sources": [plan.to_json() for plan in plans]}, lines, as_json)


def _lines(report: "WatchReport") -> list[str]:
    lines = [f"order {report.order}: watched"]
    for each in report.passes:
        total = each.total
        lines.append(f"  snapshot: offered {total.offered}, sealed {total.sealed} (new {total.new})")
    for name, counts in report.counts.items():
        said: dict[str, Any] = counts.to_json()
        lines.append(
            f"  {name}: offered {said['offered']} changes = sealed {said['sealed']} + failed {said['failed']} + "
            f"excluded {said['excluded']} + lost {said['lost']}, up to {report.reached.get(name, '-')}"
        )
    lines += [f"  {note}" for note in report.notes]
    lines += [f"  gap open: {gap.source} {gap.cause}" for gap in report.gaps]
    return lines
