"""`scelle order wall`, `scelle order admit`: who may know of an order at all."""

from typing import Annotated

import typer

from scelle.cli.confirm import warned_of
from scelle.cli.noting import NoteOption, keep_note, note_text
from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    YesOption,
    opened_vault,
)
from scelle.cli.output import emit


def wall(
    order: OrderArgument,
    only: Annotated[
        list[str], typer.Option(metavar="NAME", help="An operator inside the wall. Repeat for more.")
    ],
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="More operators inside the wall.")
    ] = None,
    note: NoteOption = None,
    yes: YesOption = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let only these operators know of an order. For everybody else it is as if it were not there.

    One counsel may shut out; to let somebody in again takes two: scelle order admit. Where only one counsel would stand
    inside, that is said first, and asked about on a terminal: there is no way back.

    Example: scelle --as alice order wall fr-2026-17 --only alice bob
    """
    from scelle.bootstrap.operators import build_wall  # start-up time of --help

    said, told = None if note is None else note_text(note), warned_of(yes=yes, as_json=as_json)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        inside = sorted(build_wall(session, order, [*only, *(more or [])], told))
        number = keep_note(session, said, order)
    document = {"order": order, "only": inside, "note": number}
    emit(document, [f"only {', '.join(inside)} may know of order {order}"], as_json)


def admit(
    order: OrderArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The operator to let in.")],
    note: NoteOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that an operator be let through an order's wall: a request that another counsel approves.

    Example: scelle --as alice order admit fr-2026-17 carol
    """
    from scelle.bootstrap.operators import ask_admission  # start-up time of --help

    said = None if note is None else note_text(note)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        request = ask_admission(session, order, name)
        number = keep_note(session, said, request.id)
    document = {"order": order, "name": name, "request": request.id, "note": number}
    emit(document, [f"asked: scelle request approve {request.id}"], as_json)
