"""`scelle quarantine`: keep items that nobody may see out of every query, export and reader."""

from typing import Annotated, Any

import typer

from scelle.cli.noting import NoteOption, keep_note, note_text
from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, utc
from scelle.errors import InputError


def quarantine(
    items: Annotated[
        list[str] | None, typer.Argument(metavar="ITEM..", help="Item ids, as `find` prints them.")
    ] = None,
    ground: Annotated[
        str | None,
        typer.Option(
            metavar="CODE", help="mis-captured, privileged, private, third-party-secret, or another code."
        ),
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="ID", help="Only in this order. Default: wherever it is sealed.")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Let the items out of quarantine again.")] = False,
    list_order: Annotated[
        str | None, typer.Option("--list", metavar="ORDER", help="List what is quarantined in an order.")
    ] = None,
    note: NoteOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that items be quarantined, or let out again (--lift): a request for each order, which two people sign.

    What is quarantined stays sealed and committed; `find`, `disclose` and `git restore` leave it out, and a production
    withholds it under the code of its ground.

    Example: scelle quarantine iq5y3k2wq6r7u4n5b2c3d4e5f6a --ground privileged --order ec-2026-0108

    Example: scelle quarantine --list ec-2026-0108
    """
    given = items or []
    if (list_order is None) == (not given):
        raise InputError("give ITEM.., or --list ORDER")
    if list_order is not None:
        if ground is not None or lift or order is not None or note is not None:
            raise InputError("--list goes with nothing else: it takes the order's id")
        _list(list_order, vault, key_file, passphrase, as_json)
        return
    if (ground is None) != lift:
        raise InputError("give --ground CODE to quarantine, or --lift to let out again: one of them")
    from scelle.bootstrap.quarantining import ask_lift, ask_quarantine  # start-up time of --help

    text = None if note is None else note_text(note)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        asked = ask_quarantine(session, given, ground, order) if ground else ask_lift(session, given, order)
        requests = [
            {"request": request.id, "note": keep_note(session, text, request.id), **said}
            for request, said in asked
        ]
    document: dict[str, Any] = {"requests": requests}
    if len(requests) == 1:
        document["request"] = requests[0]["request"]
    lines = [
        f"request {each['request']}: {each['items']} items ({each['records']} records) of order {each['order']}; "
        f"approve it with `scelle request approve {each['request']}`"
        for each in requests
    ]
    emit(document, lines, as_json)


def _list(order: str, vault: Any, key_file: Any, passphrase: str | None, as_json: bool) -> None:
    from scelle.bootstrap.quarantining import list_quarantined  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        found = list_quarantined(session, order)
    document = {
        "order": order,
        "items": [{**each, "since": utc(each["since_us"])} for each in found],
    }
    lines = [
        f"{each['item']}  {each['ground']}, since {utc(each['since_us'])}, {_by(each['request'])}"
        for each in found
    ]
    emit(document, lines or [f"nothing is quarantined in order {order}"], as_json)


def _by(request: str | None) -> str:
    return "put into the compartment by hand" if request is None else f"request {request}"
