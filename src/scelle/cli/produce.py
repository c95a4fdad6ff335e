"""`scelle produce`: the package for the authority."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

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
from scelle.cli.output import emit, human_bytes, printable, warn
from scelle.errors import InputError
from scelle.formats.tokens import is_code

PREFIX = "SCL"
_SHOWN_EVERY_S = 0.1


def _redaction(text: str) -> tuple[str, str]:
    field, separator, code = text.partition("=")
    if not separator or not field or not code:
        raise InputError(f"--redact {text}: write FIELD=CODE, for instance meta=personal-data")
    if not is_code(code):
        raise InputError(f"--redact {text}: a code is made of a-z, 0-9 and -, for instance personal-data")
    return field, code


def _redactions(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, code in map(_redaction, texts):
        if field in found:
            raise InputError(f"--redact {field} is given twice: leave one")
        found[field] = code
    return found


def _progress(as_json: bool) -> Callable[[str, int, int], None]:
    """Return a progress line for a terminal: what stage, how much of it is done."""
    if as_json or not sys.stderr.isatty():
        return lambda stage, done, total: None

    shown_at = 0.0

    def show(stage: str, done: int, total: int) -> None:
        nonlocal shown_at
        if done != total and time.monotonic() - shown_at < _SHOWN_EVERY_S:
            return
        shown_at = time.monotonic()
        amount = (
            f"{human_bytes(done)} of {human_bytes(total)}" if stage == "package" else f"{done} of {total}"
        )
        print(f"\r\x1b[K{stage}: {amount}", end="\n" if done == total else "", file=sys.stderr)

    return show


def _holders(count: int | None) -> list[str]:
    if not count:
        return []
    return [
        f"{count} records of the same times have neither custodian nor account, and are in no answer by one"
    ]


def produce(
    order: OrderArgument,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The package (.scelle); must not exist.")],
    source: Annotated[str | None, typer.Option(help="Everything of this source.")] = None,
    custodian: Annotated[str | None, typer.Option(help="Everything that this person holds.")] = None,
    account: Annotated[str | None, typer.Option(help="Everything of this user of the service.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="T", help="From this time on, inclusive.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Until this time, exclusive.")] = None,
    withhold: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV of native_id,what,code: record or content, and why."),
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=CODE", help="Leave a field of every record out. Repeat for more."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="The letters of the production numbers.")] = PREFIX,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the package that answers one query, with the proof that nothing sealed was left out.

    Times are RFC 3339, or a date in the order's zone.

    Example: scelle produce ec-2026-0108 --source docs --from 2026-01-01 --until 2026-02-01 --to jan.scelle
    """
    from scelle.bootstrap import produce_package  # start-up time of --help
    from scelle.productions.withheld import read_withhold_list

    chosen = [
        (kind, name)
        for kind, name in (("source", source), ("custodian", custodian), ("account", account))
        if name
    ]
    if len(chosen) != 1:
        raise InputError("give exactly one of --source, --custodian and --account")
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        report, warnings = produce_package(
            session,
            order,
            kind=chosen[0][0],
            name=chosen[0][1],
            since=since,
            until=until,
            prefix=prefix,
            to=to,
            redact=_redactions(redact or []),
            withhold=read_withhold_list(withhold),
            progress=_progress(as_json),
        )
    for warning in warnings:
        warn(warning)
    document = {"order": order, "package": printable(str(to)), **report.to_json()}
    lines = [
        f"{to}: {report.hits} hits = produced {report.produced} + withheld {report.withheld} + "
        f"erased {report.erased}; {human_bytes(report.bytes)}",
        *_holders(report.without_holder),
        f"check it: scelle-verify {to} --trust TRUST --query QUERY",
    ]
    emit(document, lines, as_json)
