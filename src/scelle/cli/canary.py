"""`scelle canary`: ask each surface for something harmless, and see whether it decides as it must."""

from typing import Annotated

import typer

from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    PassphraseOption,
    VaultOption,
    opened_vault,
    secret_from,
)
from scelle.cli.output import emit
from scelle.errors import InputError
from scelle.operators.model import Power

app = typer.Typer(
    help="Ask each surface for something harmless, and see whether it decides as it must.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("run")
def run(
    surface: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this surface. Default: all that are registered.")
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send each surface a test card with a harmless wish, and seal how it was decided. Run it every hour.

    A canary that is missed, or decided otherwise or by another bundle than required, or not recorded, turns that
    surface red, and no other. Exit code 1 where one is.

    Example: scelle canary run --surface web --json
    """
    from scelle.bootstrap.recording import canary_targets, seal_verdicts  # start-up time of --help
    from scelle.safeguards.recorder.canary import try_surface

    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.CAPTURE) as session:
        targets = canary_targets(session, surface)
    if not targets:  # a canary that nobody sends must not look like one that came back
        raise InputError("no surface is registered, so none was tried: scelle surface add")
    # the vault is not held meanwhile: the surface's own recorder seals into it
    verdicts = [try_surface(each, secret_from(each.credential)) for each in targets]
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        seal_verdicts(session, verdicts)
    lines = [
        f"{each.surface}: {'as it must be' if each.is_well else each.why} (decision {each.decision or 'none'}, "
        f"bundle {each.bundle or 'none'})"
        for each in verdicts
    ]
    document = {"surfaces": [each.to_event() for each in verdicts]}
    emit(document, lines, as_json)
    if not all(each.is_well for each in verdicts):
        raise typer.Exit(1)
