"""Ask for a confirmation, on a terminal alone (product.md)."""

import sys
from collections.abc import Callable, Iterable

import typer

from scelle.cli.output import printable, warn
from scelle.errors import InputError


def confirm(question: str, *, yes: bool, as_json: bool, shown: Iterable[str] = ()) -> bool:
    """Ask on a terminal, without --yes and --json, behind what is `shown`; raise InputError where the answer is no.

    Returns whether it was asked, so that nothing is shown twice. Elsewhere what was said is meant.
    """
    if yes or as_json or not sys.stdin.isatty():
        return False
    for line in shown:
        typer.echo(printable(line), err=True)
    if not typer.confirm(question, err=True):
        raise InputError("nothing was changed: it was not confirmed")
    return True


def confirm_surely(question: str, *, yes: bool, as_json: bool) -> None:
    """Ask on a terminal; anywhere else, or with --json, raise InputError without --yes: silence is no answer."""
    if not yes and (as_json or not sys.stdin.isatty()):
        raise InputError(f"{question} Nobody can be asked here: give --yes; nothing was changed")
    confirm(question, yes=yes, as_json=as_json)


def warned_of(*, yes: bool, as_json: bool) -> Callable[[str], None]:
    """Return what warns of something that has no way back, before it is done, and asks where people are asked."""

    def told(what: str) -> None:
        warn(what)
        confirm("Go on?", yes=yes, as_json=as_json)

    return told
