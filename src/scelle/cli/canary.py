"""`scelle canary`: ask each surface for something harmless, and see whether it decides as it must."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, one_line
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.bootstrap.canaries import Round, Waits

app = typer.Typer(
    help="Ask each surface for something harmless, and see whether it decides as it must.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_STOPPING = frozenset([signal.SIGTERM, signal.SIGINT])


@app.command("run")
def run(
    surface: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this surface. Default: all that are registered.")
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            "--every",
            min=1,
            metavar="SECONDS",
            help="Go on, with a round every so often, until SIGTERM or ^C.",
        ),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send each surface a test card with a harmless wish, and seal how it was decided. Run it every hour.

    A canary that is missed, or decided otherwise, by another bundle than required, without a detector or by another
    surface's recorder, or not recorded, turns that surface red, and no other. Exit code 1 where one is; with --every,
    where one was in the last round, or that could not be run. With --every each surface that turns is said on standard
    error. None goes to a surface that is registered as not recorded, or retired.

    Example: scelle canary run --surface web --json

    scelle canary run --every 3600
    """
    from scelle.bootstrap.canaries import canary_round, keep_trying  # start-up time of --help

    def opening(writing: bool) -> Any:
        return opened_vault(vault, key_file, passphrase, writing=writing, power=Power.CAPTURE)

    last: Round | None
    if every is None:
        last = canary_round(opening, surface)
    else:
        with _until_told() as waits:
            last = keep_trying(lambda: canary_round(opening, surface, waits), every, waits, _say)
    verdicts = () if last is None else last.verdicts
    lines = [
        f"{each.surface.name}: {each.words or 'as it must be'} (decision {each.decision or 'none'}, "
        f"bundle {each.bundle or 'none'})"
        for each in verdicts
    ]
    emit({"surfaces": [each.to_event() for each in verdicts]}, lines, as_json)
    if last is None or not last.is_well:
        raise typer.Exit(1)


@contextmanager
def _until_told() -> Iterator["Waits"]:
    """Let SIGTERM and ^C wait until they are asked for, so that no round is cut off in the middle of a surface."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    told: list[int] = []

    def waits(wait_s: float) -> bool:
        if not told and signal.sigtimedwait(_STOPPING, wait_s) is not None:
            told.append(1)
        return bool(told)

    try:
        yield waits
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _say(text: str) -> None:
    print(one_line(text), file=sys.stderr, flush=True)
