"""`scelle init`: make a vault."""

import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, secret_from
from scelle.cli.output import emit, warn


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")] = HERE,
    host: Annotated[str | None, typer.Option(help="The platform's name in every log's origin.")] = None,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(help="An age public key (age1..) that can restore the vault key. Repeat for more."),
    ] = None,
    cooling_off: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="From a request of two people to its execution. Default: 24h."),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="In which a release can be undone. Default: 30d."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a vault: keys, catalog, local store.

    The folder must be empty or new. Without --key-file or --passphrase the vault key goes to this user's
    folder of keys. Name recovery recipients: a vault whose key is lost cannot be read by anyone.

    Example: scelle init /srv/vault --host platform.example --recipient age1...
    """
    from scelle.bootstrap import KeyChoice, make_vault  # start-up time of --help
    from scelle.operators.settings import check_value, parse_duration
    from scelle.vault.model import what_a_copy_contains

    recipients = list(recipient or [])
    if not recipients and not as_json and sys.stdin.isatty():
        answer = typer.prompt(
            "Recovery recipients (age public keys, parted by blanks; empty for none)", default=""
        )
        recipients = answer.split()
    choice = KeyChoice(key_file=key_file, passphrase=secret_from(passphrase))
    name = host or socket.getfqdn().lower()
    given = {"cooling-off": cooling_off, "grace": grace}
    settings = {
        key: check_value(key, parse_duration(value, f"--{key}"))
        for key, value in given.items()
        if value is not None
    }
    vault = make_vault(directory, name, choice, recipients, settings)
    if host is None:
        warn(
            f"host not given: every log of this vault is named after {name}, for ever; if that is not the platform's "
            "name, remove this vault and make it with --host"
        )
    if not recipients:
        lost = "the passphrase" if choice.passphrase is not None else "the key file"
        warn(f"no recovery recipients: if {lost} is lost, nobody can read this vault again")
    contains = what_a_copy_contains(vault.config)
    document = {
        "vault": str(directory.resolve()),
        "vault_id": vault.config.vault_id.hex(),
        "host": vault.config.host,
        "recipients": recipients,
        "a_copy_contains": contains,
    }
    lines = [f"vault {vault.config.vault_id.hex()} made in {directory}", *contains.splitlines()]
    if recipients:
        lines.append("prove that the key can be restored: scelle key drill --identity FILE")
    emit(document, lines, as_json)
