"""`scelle note`: the counsel compartment: free text that only counsel read, in no order's log and no package."""

from typing import Annotated, Any

import typer

from scelle.cli.arguments import free_text
from scelle.cli.noting import keep_note, note_text
from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, utc

app = typer.Typer(help="Keep legal notes for counsel only.", no_args_is_help=True, rich_markup_mode=None)


@app.command("add")
def add(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="The note; @FILE reads a file, - standard input.")
    ],
    about: Annotated[
        str | None, typer.Option(metavar="ID", help="The order or request that it is about.")
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a note that today's counsel can read, and nobody else: not even with the vault's key.

    Example: scelle --as alice note add "Asked outside counsel about the second reading of the end"
    """
    free_text(about, "--about")
    said = note_text(text)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        number = keep_note(session, said, about)
        solo = session.is_solo
    emit({"number": number, "solo": solo}, [f"note {number} kept"], as_json)


@app.command("list")
def list_notes(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the notes; those that were encrypted before you were counsel are shown by number only.

    Example: scelle --as alice note list
    """
    from scelle.bootstrap.operators import read_notes  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        found = [_described(each) for each in read_notes(session)]
        solo = session.is_solo
    lines = [_line(each) for each in found] or ["no notes"]
    emit({"notes": found, "solo": solo}, lines, as_json)


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The note's number.")],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one note.

    Example: scelle --as alice note show 3
    """
    from scelle.bootstrap.operators import read_one_note  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        note = _described(read_one_note(session, number))
    emit(note, [_line({**note, "text": ""}).rstrip(": "), *str(note["text"]).splitlines()], as_json)


def _described(note: dict[str, Any]) -> dict[str, Any]:
    return {
        "number": note["number"],
        "time": utc(note["time_us"]),
        "by": note["by"],
        "about": note["about"],
        "text": note["text"],
    }


def _line(note: dict[str, Any]) -> str:
    about = "" if note["about"] is None else f", about {note['about']}"
    text = "(not for you)" if note["text"] is None else note["text"]
    return f"{note['number']}  {note['time']}  {note['by']}{about}: {text}"
