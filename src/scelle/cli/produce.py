"""`scelle produce`: the package for the authority."""

import sys
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
    secret_from,
)
from scelle.cli.output import emit, human_bytes, printable, warn
from scelle.errors import InputError

PREFIX = "SCL"


def _redaction(text: str) -> tuple[str, str]:
    field, separator, code = text.partition("=")
    if not separator or not field or not code:
        raise InputError(f"--redact {text}: write FIELD=CODE, for instance meta=personal-data")
    return field, code


def _progress(as_json: bool) -> Callable[[str, int, int], None]:
    """Return a progress line for a terminal: what stage, how much of it is done."""
    if as_json or not sys.stderr.isatty():
        return lambda stage, done, total: None

    def show(stage: str, done: int, total: int) -> None:
        if done % 500 == 0 or done == total:
            print(f"\r\x1b[K{stage}: {done} of {total}", end="\n" if done == total else "", file=sys.stderr)

    return show


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
    from scelle.bootstrap import KeyChoice, opened, produce_package  # start-up time of --help
    from scelle.productions.withheld import read_withhold_list

    chosen = [
        (kind, name)
        for kind, name in (("source", source), ("custodian", custodian), ("account", account))
        if name
    ]
    if len(chosen) != 1:
        raise InputError("give exactly one of --source, --custodian and --account")
    with opened(vault, KeyChoice(key_file, secret_from(passphrase)), writing=True) as session:
        report, warnings = produce_package(
            session,
            order,
            kind=chosen[0][0],
            name=chosen[0][1],
            since=since,
            until=until,
            prefix=prefix,
            to=to,
            redact=dict(map(_redaction, redact or [])),
            withhold=read_withhold_list(withhold),
            progress=_progress(as_json),
        )
    for warning in warnings:
        warn(warning)
    document = {"order": order, "package": printable(str(to)), **report.to_json()}
    lines = [
        f"{to}: {report.hits} hits = produced {report.produced} + withheld {report.withheld} + "
        f"erased {report.erased}; {human_bytes(report.bytes)}",
        f"check it: scelle-verify {to} --trust TRUST --query QUERY",
    ]
    emit(document, lines, as_json)
