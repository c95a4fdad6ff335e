"""`scelle settings`: a ratchet: one person tightens, two loosen."""

from typing import Annotated, Any

import typer

from scelle.cli.noting import NoteOption, keep_note, note_text
from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit

app = typer.Typer(help="Show and change the vault's settings.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
def show(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every setting, what it means, and which way it may be changed by one person.

    Example: scelle settings show
    """
    from scelle.operators.settings import SETTINGS, duration_text  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        values = {name: duration_text(session.setting_us(name)) for name in SETTINGS}
    lines = [
        f"{name}  {values[name]}  ({each.meaning}; {'longer' if each.longer_is_tighter else 'shorter'} is tighter)"
        for name, each in SETTINGS.items()
    ]
    emit({"settings": values}, lines, as_json)


@app.command("set")
def change(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which setting.")],
    value: Annotated[str, typer.Argument(metavar="DURATION", help="0s, 15m, 24h, 30d, 5y.")],
    note: NoteOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a setting: at once where that tightens or no order was taken in yet, otherwise as a request.

    Example: scelle --as alice settings set cooling-off 48h
    """
    from scelle.bootstrap.operators import change_setting  # start-up time of --help
    from scelle.operators.settings import check_setting, check_value, parse_duration

    name = check_setting(name)
    value_us = check_value(name, parse_duration(value, name))
    said = None if note is None else note_text(note)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        request = change_setting(session, name, value_us)
        number = keep_note(session, said, name if request is None else request.id)
    document: dict[str, Any] = {
        "name": name,
        "value": value,
        "request": None if request is None else request.id,
        "note": number,
    }
    line = f"{name} is {value}" if request is None else f"it loosens: scelle request approve {request.id}"
    emit(document, [line], as_json)
