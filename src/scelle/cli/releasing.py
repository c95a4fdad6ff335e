"""`scelle order release`, `undo-release`, `scelle dispose`: let go of an order, with two people and a way back."""

from typing import Annotated, Any

import typer

from scelle.cli.lives import life_json, life_lines
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
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that an order be let go of: a request that another person approves. Prints its id.

    Valid once the order was lifted or annulled, or has lapsed. After the grace period `scelle dispose` destroys what no
    other order claims; until then it can be undone.

    Example: scelle --as alice order release ec-2026-0108
    """
    from scelle.bootstrap.releasing import ask_release  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        request, shown = ask_release(session, order, reason)
        document: dict[str, Any] = {
            "request": request.id,
            "order": order,
            "state": "waiting",
            "ready": utc(request.ready_us),
            **shown,
        }
    lines = [
        request.id,
        f"order {order} ({shown['ground']}): {shown['records']} records, {human_bytes(shown['bytes'])}; "
        f"{shown['productions']} packages were handed over",
        *(
            f"  {name}: {count} items that the source may delete again"
            for name, count in shown["sources"].items()
        ),
        *(f"  also held under order {other}" for other in shown["overlaps"]),
        f"another person approves it: scelle request approve {request.id}",
    ]
    emit(document, lines, as_json)


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
        found = {"order": order, **life_json(undo(session, order), session.now_us())}
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
    emit({"certificates": certificates}, lines or ["nothing is due"], as_json)
    if not all(each["confirmed"] for each in certificates):
        raise typer.Exit(1)
