"""`scelle git`: repositories that were sealed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    opened_vault,
)
from scelle.cli.output import emit, printable, warn
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.restore.repositories import RestoredRepository

app = typer.Typer(
    help="Restore git repositories from what is sealed of them.", no_args_is_help=True, rich_markup_mode=None
)
_SHOWN_MAX: Final = 20


@app.callback()
def group() -> None:
    """Keep `restore` a command of the group while it is the only one."""


@app.command("restore")
def restore(
    order: OrderArgument,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The name of a source git://.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="The bare repository: a new or empty folder.")],
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Write refs too that a later pass did not find any more.")
    ] = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a bare repository from the sealed objects and the newest sealed position of each ref, and check it.

    All sealed objects are in it, also those that no ref leads to; `git fsck --full` runs on it. Exit code 1: an object
    or ref is not in it, or git complains. That it was restored is sealed as an event.

    Example: scelle git restore ec-2026-0108 code --to /srv/restored.git
    """
    from scelle.bootstrap.repositories import restore_git  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.READ_CONTENT) as session:
        report, warnings = restore_git(session, order, source, to, with_deleted=deleted)
    for warning in warnings:
        warn(warning)
    document = {"order": order, "source": source, "folder": printable(str(to)), **report.to_json()}
    emit(document, _lines(to, report, deleted), as_json)
    if not report.is_whole:
        raise typer.Exit(1)


def _lines(to: Path, report: "RestoredRepository", with_deleted: bool) -> list[str]:
    found = report.to_json()
    written = report.written
    lines = [f"{to}: {written.objects} objects, {written.refs} refs restored"]
    lines.append(
        f"  git fsck --full: {len(report.complaints)} complaints"
        if report.complaints
        else "  git fsck --full accepts it"
    )
    lines += _some([f"  git fsck: {each}" for each in report.complaints])
    lines += _some([f"  failed: object {oid}: {why}" for oid, why in written.failed])
    lines += _some([f"  failed: ref {name} has nothing to stand on, or no place" for name in found["broken"]])
    lines += _some([f"  no place in a bare repository: {name}" for name in found["without_place"]])
    lines += _some([
        f"  deleted before the last pass ({_what_became(name, found['broken'], with_deleted)}): {name} on {target}"
        for name, target in report.deleted
    ])  # fmt: skip
    return lines + [f"  not in it: {each}" for each in report.unseen]


def _what_became(name: str, broken: list[str], with_deleted: bool) -> str:
    if not with_deleted:
        return "not restored, --deleted does"
    return "could not be restored" if name in broken else "restored too"


def _some(lines: list[str]) -> list[str]:
    if len(lines) <= _SHOWN_MAX:
        return lines
    return [*lines[:_SHOWN_MAX], f"  and {len(lines) - _SHOWN_MAX} more like it: --json names all"]
