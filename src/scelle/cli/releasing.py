"""`scelle order release`, `undo-release`, `scelle dispose`: let go of an order, with two people and a way back."""

from typing import Annotated, Any

import typer

from scelle.cli.arguments import code
from scelle.cli.lives import life_json, life_lines
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
from scelle.cli.output import emit, human_bytes, utc


def release(
    order: OrderArgument,
    reason: Annotated[str, typer.Option(metavar="CODE", help="A code; free text: scelle note.")] = "over",
    note: NoteOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it leads to: also for who is to approve it.")
    ] = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that an order be let go of: a request that another person approves. Prints its id.

    Valid once the order was lifted or annulled, or has lapsed. After the grace period `scelle dispose` destroys what no
    other order claims; until then it can be undone. Counts and bytes are those of the order as if it were alone; with
    what it overlaps is told of the orders that you may know of.

    Example: scelle --as alice order release ec-2026-0108
    """
    from scelle.bootstrap.releasing import ask_release, preview_release  # start-up time of --help

    code(reason, "--reason")
    said = None if note is None else note_text(note)
    with opened_vault(vault, key_file, passphrase, writing=not dry_run) as session:
        if dry_run:
            shown = preview_release(session, order)
            emit({"order": order, **shown}, _outlook_lines(order, shown), as_json)
            return
        request, shown = ask_release(session, order, reason)
        number = keep_note(session, said, request.id)
    document = {
        "request": request.id,
        "state": "waiting",
        "ready": utc(request.ready_us),
        "order": order,
        "note": number,
        **shown,
    }
    approve = f"another person approves it: scelle request approve {request.id}"
    emit(document, [request.id, *_outlook_lines(order, shown), approve], as_json)


def _outlook_lines(order: str, shown: dict[str, Any]) -> list[str]:
    goes, erasures = shown["destroys"], shown["erasures"]
    lines = [
        f"order {order} ({shown['ground']}): {goes['items']} records, {goes['contents']} contents, "
        f"{human_bytes(goes['bytes'])}; {shown['productions']} packages were handed over",
        *(
            f"  {name}: {count} items that the source may delete again"
            for name, count in shown["sources"].items()
        ),
    ]
    if erasures["items"]:
        lines.append(
            f"  {erasures['items']} erasures of {erasures['requests']} requests waited for this order"
        )
    for other in shown["overlap"]:
        sources = f"over {', '.join(other['sources'])}, " if other["sources"] else ""
        lines.append(f"  also under order {other['order']}: {sources}{other['contents']} contents in common")
    if shown["stays_for_others"]["contents"]:
        lines.append(f"  {shown['stays_for_others']['contents']} contents stay for these orders")
    return lines


def undo_release(
    order: OrderArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a release back, as long as nothing was destroyed.

    Example: scelle --as alice order undo-release ec-2026-0108
    """
    from scelle.bootstrap.releasing import undo_release as undo  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        life, within_us = undo(session, order), session.setting_us("decide-within")
        found = {"order": order, **life_json(life, session.now_us(), within_us)}
    emit(found, [f"order {order} is {found['state']} again, and holds", *life_lines(found)], as_json)


def dispose(
    order: Annotated[
        str | None, typer.Argument(metavar="ORDER", help="Only this order. Default: all due.")
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy what only released orders needed, once their grace period is over; print the certificates.

    May be stopped anywhere and run again. Log, acts and certificate stay, so that every package made before verifies.

    Example: scelle --as alice dispose ec-2026-0108 --json
    """
    from scelle.bootstrap.releasing import dispose_due  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        certificates = dispose_due(session, order)
    emit({"certificates": certificates}, certificate_lines(certificates) or ["nothing is due"], as_json)
    if not all(each["confirmed"] for each in certificates):
        raise typer.Exit(1)


def certificate_lines(certificates: list[dict[str, Any]]) -> list[str]:
    """Return certificates of disposal as lines for people."""
    lines = []
    for each in certificates:
        confirmed = "confirmed" if each["confirmed"] else "NOT CONFIRMED"
        lines.append(
            f"order {each['order']}: {each['destroyed']['records']} of {each['planned']['records']} records destroyed, "
            f"{confirmed}"
        )
        lines += [
            f"  {check['what']}: {check['found']} of {check['looked']} found again"
            for check in each["checks"]
        ]
        lines += [f"  {limit}" for limit in each["limits"]]
    return lines
