"""Take a legal note with a command: it goes to the counsel compartment, and into no order's log."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scelle.cli.output import read_text, warn

if TYPE_CHECKING:
    from scelle.bootstrap import Session

NoteOption = Annotated[
    str | None,
    typer.Option(
        "--note", metavar="TEXT|@FILE", help="Why, in words: kept where only counsel reads (scelle note)."
    ),
]


def note_text(given: str) -> str:
    """Return a note as it was given: itself, the contents of `@FILE`, standard input for `-`; raise NoteWrong."""
    from scelle.operators.notes import NOTE_MAX_CHARACTERS, check_note  # start-up time of --help

    if given == "-":
        return check_note(sys.stdin.read(NOTE_MAX_CHARACTERS + 1))
    return check_note(read_text(Path(given[1:])) if given.startswith("@") else given)


def keep_note(session: "Session", text: str | None, about: str | None) -> int | None:
    """Keep a note, where one was given, and return its number; `about` is an order's or a request's id."""
    from scelle.bootstrap.operators import add_note  # start-up time of --help

    if text is None:
        return None
    if session.is_solo:
        warn("solo mode has no counsel compartment: whoever has the vault's key can read the note")
    return add_note(session, text, about)
