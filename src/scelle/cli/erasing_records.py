"""`scelle erase-records`, `scelle consent-request`: erase single sealed records of an order that lives."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scelle.cli.arguments import code
from scelle.cli.noting import NoteOption, keep_note, note_text
from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    opened_vault,
)
from scelle.cli.output import emit, utc

ItemsArgument = Annotated[
    list[str], typer.Argument(metavar="ITEM..", help="Item ids, as `find` prints them, or ALIAS:SEQ.")
]
GroundOption = Annotated[str, typer.Option(metavar="CODE", help="Why: a code; it stands in the tombstone.")]


def erase_records(
    order: OrderArgument,
    items: ItemsArgument,
    basis: Annotated[
        str,
        typer.Option(
            metavar="BASIS", help="consent (of the authority), letter (its own), order (another authority's)."
        ),
    ],
    ground: GroundOption,
    document: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The letter, or the destruction order; it is sealed.")
    ] = None,
    consent: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What the authority signed (see consent-request).")
    ] = None,
    note: NoteOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that sealed records be erased: a request that another person approves. Prints its id.

    A tombstone in the log stays, and everything that was proven before still verifies; what the records said, and
    contents that nothing else names, can be read by nobody any more. This cannot be undone. Only --basis consent is
    proof; the others are shown as the platform's word, with the paper.

    Example: scelle erase-records ec-2026-0108 s0001:17 --basis letter --ground court-order --document letter.pdf
    """
    from scelle.bootstrap.erasing_records import ask_erasure  # start-up time of --help

    code(ground, "--ground")
    said = None if note is None else note_text(note)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        request, shown = ask_erasure(
            session, order, items, ground=ground, basis=basis, document=document, consent=consent
        )
        number = keep_note(session, said, request.id)
        found: dict[str, Any] = {
            "request": request.id,
            "ready": utc(request.ready_us),
            "note": number,
            **shown,
        }
    again = ", ".join(found["sealed_again"])
    lines = [
        request.id,
        f"{found['records']} records of order {order}, basis {basis}, ground {ground}; this cannot be undone",
        *(
            [f"{again}: a clause still covers it; what it still offers is sealed again by the next pass"]
            if again
            else []
        ),
        f"another person approves it: scelle request approve {request.id}",
    ]
    emit(found, lines, as_json)


def consent_request(
    order: OrderArgument,
    items: ItemsArgument,
    ground: GroundOption,
    to: Annotated[Path, typer.Option(metavar="FILE", help="Where the request is written.")],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what an authority's tool is shown before it consents to an erasure, and the bytes that it signs.

    It names salts, times, tags and paths of the records, and nothing of their content: it is for the authority alone.
    Its answer goes to `erase-records --basis consent --consent FILE` (docs/erasing.md).

    Example: scelle consent-request ec-2026-0108 s0001:17 --ground third-party --to consent.json
    """
    from scelle.bootstrap.erasing_records import write_consent_request  # start-up time of --help

    code(ground, "--ground")
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        found = write_consent_request(session, order, items, ground=ground, to=to)
    lines = [f"{to}: {found['records']} records of order {order}; for the authority alone, to be signed"]
    emit(found, lines, as_json)
