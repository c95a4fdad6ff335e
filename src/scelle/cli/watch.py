"""`scelle watch`: keep sealing what changes."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from scelle.cli.confirm import confirm_surely
from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    PassphraseOption,
    VaultOption,
    YesOption,
    opened_vault,
)
from scelle.cli.output import emit, one_line
from scelle.errors import InputError
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.bootstrap import Session
    from scelle.bootstrap.watch_log import Said
    from scelle.bootstrap.watch_meter import Meter
    from scelle.bootstrap.watched import WatchReport


_OWN: Final = {
    "watch": ("until_caught_up", "every", "metrics", "log_format", "promises"),
    "plan": (),
    "remove": ("source", "reason", "yes"),
}
"""By form of the command, the options that no other form takes."""


class LogFormat(StrEnum):
    """Say how what happens is written to standard error."""

    TEXT = "text"
    JSON = "json"


def watch(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[plan|remove] ORDER",
            help="The order's id; `plan` before it changes nothing, `remove` takes away what was made on the servers.",
        ),
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
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="[HOST:]PORT",
            help="Serve /metrics (Prometheus) and /healthz there; on 127.0.0.1 unless a host is given.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            "--log-format",
            help="Standard error as sentences, or as JSON, one object a line: codes and numbers, no order's name.",
        ),
    ] = LogFormat.TEXT,
    promises: Annotated[
        Path | None,
        typer.Option(
            "--promises",
            metavar="DIR",
            help="Write a signed promise there for whatever is durable, before it is sealed.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="SOURCE", help="remove: only this source. Default: all.")
    ] = None,
    reason: Annotated[
        str, typer.Option(metavar="CODE", help="remove: why, as a code; free text goes to `scelle note`.")
    ] = "watch-remove",
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Keep sealing what is inserted, updated and deleted in the order's databases, until SIGTERM or ^C.

    Over its other sources (files, mail, records, git) a pass is run every --every seconds; sooner where something
    changes below their folders, if scelle[inotify] is installed.

    The first time it makes what the stream needs (a replication slot, two publications; `scelle watch plan` prints
    them), seals what is there now in one snapshot, and joins the stream to it without a seam. A change is confirmed to
    the server only after it is durable in the vault, so a killed watch loses nothing: run it again. Exit code 1 where
    a gap is open, 4 where no database could be reached.

    `remove` drops slot and publications where no other order is captured through them; a gap opens while the order is
    alive. It makes a request that two people must sign; in solo mode it is done at once, after a
    confirmation: without a terminal, or with --json, give --yes.

    Example: scelle watch plan ec-2026-0108; scelle watch ec-2026-0108 --until-caught-up --json

    scelle watch ec-2026-0108 --metrics 9464 --log-format json

    scelle watch remove ec-2026-0108 --source app --yes
    """
    form, order = _form(words)
    _refuse_foreign(context, form)
    if form == "remove":
        with opened_vault(vault, key_file, passphrase, writing=True) as session:
            _remove(session, order, source, reason, yes=yes, as_json=as_json)
        return
    if form == "plan":
        with opened_vault(vault, key_file, passphrase, writing=False, power=Power.CAPTURE) as session:
            _show_plan(session, order, as_json)
        return
    from scelle.bootstrap.watch_meter import Meter  # start-up time of --help
    from scelle.bootstrap.watching import Watcher

    say, meter = _sayer(log_format), Meter()
    stopping: list[int] = []
    before = {
        each: signal.signal(each, lambda number, frame: stopping.append(number))
        for each in (signal.SIGTERM, signal.SIGINT)
    }
    watcher = Watcher(
        lambda: opened_vault(
            vault,
            key_file,
            passphrase,
            writing=True,
            power=Power.CAPTURE,
            yields=True,
            say_warning=lambda text: say(_warning(text)),
        ),
        order,
        until_caught_up=until_caught_up,
        every_s=every,
        should_stop=lambda: bool(stopping),
        say=say,
        meter=meter,
        promises=promises,
    )
    try:
        with _metrics_served(metrics, meter, say):
            report = watcher.run()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    emit(report.to_json(), _lines(report), as_json)
    if report.gaps:
        raise typer.Exit(1)


def _form(words: list[str]) -> tuple[str, str]:
    """Return what is asked for, `watch`, `plan` or `remove`, and the order; raise InputError for anything else."""
    *first, last = words
    if first in (["plan"], ["remove"]):
        return first[0], last
    if words in (["plan"], ["remove"]):
        raise InputError(f"ORDER is missing: write `scelle watch {last} ORDER`")
    if not first:
        return "watch", last
    raise InputError(
        f"{' '.join(words)} is no order: write `scelle watch ORDER`, `scelle watch plan ORDER` or `scelle watch "
        "remove ORDER`"
    )


def _refuse_foreign(context: typer.Context, form: str) -> None:
    """Raise InputError for an option of another form: it would be passed over without a word."""
    foreign = {name: each for each, names in _OWN.items() if each != form for name in names}
    for name, other in foreign.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            belongs = "scelle watch" + ("" if other == "watch" else f" {other}") + " ORDER"
            raise InputError(f"{option} is for `{belongs}`, and nothing was done: leave it out")


def _sayer(log_format: LogFormat) -> "Callable[[Said], None]":
    """Return what writes an event to standard error, one line each."""

    def say(said: "Said") -> None:
        line = said.line(time.time_ns() // 1000, as_json=log_format is LogFormat.JSON)
        if line:
            print(line, file=sys.stderr, flush=True)

    return say


def _warning(text: str) -> "Said":
    from scelle.bootstrap.watch_log import Level, Said  # start-up time of --help

    return Said(f"warning: {one_line(text)}", "warning", level=Level.WARNING)


@contextmanager
def _metrics_served(where: str | None, meter: "Meter", say: "Callable[[Said], None]") -> Iterator[None]:
    """Serve metrics where they were asked for, and say on which port."""
    from scelle.bootstrap.watch_log import Said  # start-up time of --help

    if where is None:
        yield
        return
    from scelle.bootstrap.watch_metrics import parse_address, serving

    with serving(parse_address(where), meter) as (host, port):
        say(Said(f"metrics: http://{host}:{port}/metrics", "metrics-served", numbers={"port": port}))
        yield


def _show_plan(session: "Session", order: str, as_json: bool) -> None:
    """Print what would be run on each server, what it locks and needs, and what undoes it."""
    from scelle.bootstrap.watch_plans import watch_plans  # start-up time of --help

    plans = watch_plans(session, order)
    lines = [f"order {order}: what `scelle watch` would run; nothing was changed"]
    for plan in plans:
        lines += plan.lines()
    emit({"order": order, "sources": [plan.to_json() for plan in plans]}, lines, as_json)


def _remove(
    session: "Session", order: str, source: str | None, reason: str, *, yes: bool, as_json: bool
) -> None:
    """Ask for the removal of what a watch made, or (solo) remove it."""
    from scelle.bootstrap.requests import waits_for  # start-up time of --help
    from scelle.bootstrap.watch_removal import ask_watch_removal, remove_watches

    if not session.is_solo:
        request = ask_watch_removal(session, order, source, reason)
        line = f"request {request.id} {waits_for(session, request)}"
        emit({"order": order, "request": request.id}, [line], as_json)
        return
    where = "all its databases" if source is None else source
    confirm_surely(f"Drop the slot and publications of {order} in {where}?", yes=yes, as_json=as_json)
    removed = remove_watches(session, order, source)
    lines = [
        f"{each['source']}: {'; '.join(each['dropped']) or 'nothing was there to be dropped'}"
        for each in removed
    ]
    lines += [
        f"{each['source']}: on the primary: {sql};" for each in removed for sql in each["left_on_primary"]
    ]
    emit({"order": order, "removed": removed}, lines, as_json)


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
    if report.promises is not None:
        lines.append(f"  {report.promises.line()}")
    lines += [f"  {note}" for note in report.notes]
    lines += [f"  gap open: {gap.source} {gap.cause}" for gap in report.gaps]
    return lines
