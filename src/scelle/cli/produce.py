"""`scelle produce`: the package for the authority."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from scelle.cli.arguments import free_text, redactions
from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    opened_vault,
)
from scelle.cli.output import emit, human_bytes, printable, progress_line, warn
from scelle.errors import InputError
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.productions.model import Delta, ProductionReport

PREFIX = "SCL"
STRENGTHS: Final = {
    "A": "all records of the source are shown or accounted for; no index is relied on",
    "B": "the ranges have no gap, and an auditor recomputed index and bounds from what was claimed",
    "C": "the ranges have no gap; segments outside the period are left out on their manifests' word",
}
"""What an answer rests on (ledger.md §7)."""


def _lines(to: Path, report: "ProductionReport", dimension: str, previous: Path | None) -> list[str]:
    lines = [
        f"{to}: {report.hits} hits = produced {report.produced} + withheld {report.withheld} + "
        f"erased {report.erased}; {human_bytes(report.bytes)}",
        f"strength {report.strength}: {STRENGTHS[report.strength]}",
    ]
    if report.without_holder:
        lines.append(
            f"{report.without_holder} records of the same times have neither custodian nor account, and are in no "
            "answer by one"
        )
    if report.not_searchable:
        lines.append(
            f"not searchable by {dimension}: {report.segments.not_searchable} segments of "
            f"{', '.join(report.not_searchable)}"
        )
    lines += [] if report.delta is None else _delta_lines(report.delta, previous)
    held = "" if previous is None else " --held held"
    return [*lines, f"check it: scelle-verify {to} --trust TRUST --query QUERY{held}"]


def _delta_lines(delta: "Delta", previous: Path | None) -> list[str]:
    question = "the same question" if delta.same_query else "another question"
    return [
        f"since {previous} ({question}, {delta.size} log entries): {len(delta.new_segments)} new segments with "
        f"{delta.new_hits} hits, {delta.erased_since} records erased",
        f"the authority proves it with its own copy: unzip -p {previous} checkpoint > held",
    ]


def produce(
    order: OrderArgument,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The package (.scelle); must not exist.")],
    source: Annotated[str | None, typer.Option(help="Everything of this source.")] = None,
    custodian: Annotated[str | None, typer.Option(help="Everything that this person holds.")] = None,
    account: Annotated[str | None, typer.Option(help="Everything of this user of the service.")] = None,
    dimension: Annotated[
        str | None,
        typer.Option(metavar="NAME=VALUE", help="Everything with this value, for instance model=imagine-2."),
    ] = None,
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
        typer.Option(
            metavar="FIELD:CODE", help="Leave a field of every record out, and why. Repeat for more."
        ),
    ] = None,
    strength: Annotated[
        Literal["A", "B", "C"] | None,
        typer.Option(
            help="A: a whole source. B: with --audit. C: ranges. Default: A where it can be had, else C."
        ),
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(metavar="VERDICT", help="The auditor's verdict; asks for strength B.")
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(metavar="PACKAGE", help="An earlier package of the order: say what came since."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="The letters of the production numbers.")] = PREFIX,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the package that answers one query, with the proof that nothing sealed was left out.

    Give one of --source, --custodian, --account and --dimension. Times are RFC 3339, or a date in the order's zone.

    Example: scelle produce ec-2026-0108 --source docs --from 2026-01-01 --until 2026-02-01 --to jan.scelle

    Example: scelle produce ec-2026-0108 --dimension model=imagine-2 --redact prompt:personal-data --to model.scelle

    Example: scelle produce ec-2026-0108 --account u1 --strength B --audit verdict --to u1.scelle
    """
    from scelle.bootstrap.productions import produce_package  # start-up time of --help
    from scelle.productions.withheld import read_withhold_list

    asked = (("source", source), ("custodian", custodian), ("account", account), ("dimension", dimension))
    chosen = [(kind, name) for kind, name in asked if name]
    if len(chosen) != 1:
        raise InputError("give exactly one of --source, --custodian, --account and --dimension")
    free_text(chosen[0][1], f"--{chosen[0][0]}")
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.PRODUCE) as session:
        report, warnings = produce_package(
            session,
            order,
            kind=chosen[0][0],
            name=chosen[0][1],
            since=since,
            until=until,
            prefix=prefix,
            to=to,
            redact=redactions(redact or []),
            withhold=read_withhold_list(withhold),
            progress=progress_line(as_json),
            strength=strength,
            audit=audit,
            previous=previous,
        )
    for warning in warnings:
        warn(warning)
    document = {"order": order, "package": printable(str(to)), **report.to_json()}
    name = dimension.partition("=")[0] if dimension else "account" if source is None else "source"
    emit(document, _lines(to, report, name, previous), as_json)
