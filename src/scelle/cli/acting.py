"""Remember which operator this run of the command line acts as: `--as NAME`, given anywhere on the line."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scelle.errors import InputError

if TYPE_CHECKING:
    from scelle.bootstrap.acting import ActingAs

KEY_FILE = "SCELLE_OPERATOR_KEY"
PASSPHRASE_FROM = "SCELLE_OPERATOR_PASSPHRASE_FROM"  # noqa: S105 - the name of a variable that says where it is
_TAKEN = ("--as", "--operator-passphrase")
_given: dict[str, str] = {}


def take_acting(arguments: list[str]) -> list[str]:
    """Take `--as NAME` and `--operator-passphrase WHERE` out of the arguments; raise InputError for half of one."""
    _given.clear()
    left: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*left, argument, *rest]
        option, equals, value = argument.partition("=")
        if option not in _TAKEN:
            left.append(argument)
            continue
        found = value if equals else next(rest, "")
        if not found or found.startswith("--"):
            raise InputError(
                f"{option} needs a value: {option} " + ("NAME" if option == "--as" else "env:NAME")
            )
        if option in _given:
            raise InputError(f"{option} is given twice: give it once")
        _given[option] = found
    return left


def acting_as() -> "ActingAs":
    """Return who acts in this run: by `--as`, by SCELLE_OPERATOR_KEY, or nobody in particular."""
    from scelle.bootstrap.acting import ActingAs  # start-up time of --help

    path = os.environ.get(KEY_FILE)
    return ActingAs(_given.get("--as"), Path(path) if path else None, operator_passphrase)


def operator_passphrase(key_file: Path) -> str | None:
    """Return the passphrase of an operator's key file: from where it was said to be, else asked on a terminal."""
    from scelle.operators.keys import needs_passphrase  # start-up time of --help

    if not needs_passphrase(key_file):
        return None
    return given_passphrase() or _asked(f"Passphrase of {key_file.name}")


def is_somebody() -> bool:
    """Tell whether this run acts as an operator."""
    return "--as" in _given or bool(os.environ.get(KEY_FILE))


def given_passphrase() -> str | None:
    """Return the passphrase that --operator-passphrase, or its variable, leads to; None where neither is given."""
    from scelle.sources.credentials import secret_from  # start-up time of --help

    where = _given.get("--operator-passphrase") or os.environ.get(PASSPHRASE_FROM)
    return None if where is None else secret_from(where, "--operator-passphrase")


def new_passphrase(name: str, where: str | None, *, may_ask: bool) -> str | None:
    """Return the passphrase for a new key file, None for none: from `where`, else asked twice on a terminal.

    Where nobody acts as an operator, --operator-passphrase is the new file's own.
    """
    from scelle.sources.credentials import secret_from  # start-up time of --help

    if where is not None:
        return secret_from(where, "--new-passphrase")
    given = None if is_somebody() else given_passphrase()
    if given is not None or not may_ask or not sys.stdin.isatty():
        return given
    import typer

    asked = typer.prompt(
        f"New passphrase for {name} (empty for none)", default="", hide_input=True, confirmation_prompt=True,
        show_default=False,
    )  # fmt: skip
    return str(asked) or None


def _asked(what: str) -> str | None:
    if not sys.stdin.isatty():
        return None
    import typer

    return str(typer.prompt(what, hide_input=True))
