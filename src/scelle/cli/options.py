"""The options that every command shares, and how secrets are given: never as an argument's value."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scelle.cli.acting import acting_as
from scelle.cli.output import warn

if TYPE_CHECKING:
    from scelle.bootstrap import Session
    from scelle.operators.model import Power

VaultOption = Annotated[
    Path, typer.Option("--vault", envvar="SCELLE_VAULT", metavar="DIR", help="The vault's folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="SCELLE_KEY_FILE",
        metavar="FILE",
        help="The vault key's file, or the folder of key files. Default: this user's folder of keys.",
    ),
]
PassphraseOption = Annotated[
    str | None,
    typer.Option(
        "--passphrase",
        envvar="SCELLE_PASSPHRASE_FROM",
        metavar="env:NAME|file:PATH|exec:CMD",
        help="Where to take the passphrase from, for a vault that has one.",
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask on a terminal.")]
OrderArgument = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")]
HERE = Path()


def secret_from(where: str | None) -> str | None:
    """Return the passphrase that `env:NAME`, `file:PATH` or `exec:CMD` leads to."""
    from scelle.sources.credentials import secret_from as fetch  # start-up time of --help

    return None if where is None else fetch(where, "--passphrase")


@contextmanager
def opened_vault(
    vault: Path,
    key_file: Path | None,
    passphrase: str | None,
    *,
    writing: bool,
    power: "Power | None" = None,
    yields: bool = False,
    say_warning: Callable[[str], None] = warn,
) -> Iterator["Session"]:
    """Open the vault that the shared options name; say its warnings at the end, however that comes.

    `power` is what whoever acts must be allowed to do; raises NotAllowed before anything of an order is looked at. With
    `yields` the session lets go of the vault when others want to write.
    """
    from scelle.bootstrap import KeyChoice, opened  # start-up time of --help

    choice = KeyChoice(key_file, secret_from(passphrase))
    warnings: list[str] = []
    try:
        with opened(
            vault,
            choice,
            writing=writing,
            acting_as=acting_as(),
            warnings=warnings,
            yields=yields,
            tell=warn,
        ) as session:
            if power is not None:
                session.require(power)
            yield session
    finally:  # behind `opened`, which takes out what whoever acts may not know of
        for warning in warnings:
            say_warning(warning)
