"""`scelle report`: what people are given to read, from the order's own log."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, refuse_in_any_vault, search_progress
from scelle.errors import InputError

if TYPE_CHECKING:
    from scelle.bootstrap.reporting import WrittenReport
    from scelle.reports.wording import Language

Name = Literal[
    "acknowledgement", "order-status", "gaps", "erasures", "custody", "disposal", "processing", "dpia"
]


def report(
    name: Annotated[Name, typer.Argument(metavar="NAME", help="Which report; see above.")],
    order: Annotated[str, typer.Argument(metavar="ID", help="The order's id.")],
    lang: Annotated[
        Literal["en", "fr", "both"], typer.Option(help="The language of the pages; both: two files.")
    ] = "en",
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file, .pdf or .json; must not exist.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(metavar="ITEM", help="The item's id, for the report custody.")
    ] = None,
    release: Annotated[
        bool, typer.Option("--release", help="As counsel, release the report gaps for what it says now.")
    ] = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a report of an order: pages in English or French, and the same data as JSON.

    acknowledgement: what was received when, the document's digest, the clock in all its readings, secrecy.
    order-status: state, intervals, clauses, counts per source, who has seen the log.
    gaps: gaps, losses, failures; a draft until counsel releases it.
    erasures: what the order defers of erasure requests, and on which ground.
    custody: one item from offered to handed over (--item).
    disposal: the certificate, once the order was disposed of.
    processing: the sheet for the record of processing (GDPR, Article 30).
    dpia: the sheet for the impact assessment (GDPR, Article 35).

    Every count has its denominator and every claim names its evidence in the log. A PDF is PDF/A-3b with the data
    attached, the same bytes for the same data. With --lang both, FILE.en.pdf and FILE.fr.pdf are of the same data. That
    a file was made is sealed in the order's log; --json without --to prints the data and seals nothing.

    Example: scelle report order-status ec-2026-0108 --lang fr --to etat.pdf

    scelle report order-status ec-2026-0108 --lang both --to state.pdf

    scelle report custody ec-2026-0108 --item i5x2fhq... --to item.pdf

    scelle report gaps ec-2026-0108 --release
    """
    from scelle.bootstrap.reporting import (  # start-up time of --help
        read_report,
        release_gaps,
        write_reports,
    )

    if release and name != "gaps":
        raise InputError(f"--release is for the report gaps, not for {name}: leave it out")
    if to is None and not as_json and not release:
        raise InputError(f"report {name}: give --to FILE.pdf or FILE.json, or --json")
    files = {} if to is None else _files(to, lang)
    for file in files.values():
        refuse_in_any_vault(file)
    progress = search_progress()
    with opened_vault(vault, key_file, passphrase, writing=release or to is not None) as session:
        said = [_released(name, order, release_gaps(session, order))] if release else []
        if files:
            written = write_reports(session, name, order, files, item=item, progress=progress)
            made, said = written[0].report, [*said, *(line for each in written for line in _written(each))]
        else:
            made = read_report(session, name, order, item=item, progress=progress)
    emit(made.to_json(), said, as_json)


def _files(to: Path, lang: str) -> "dict[Language, Path]":
    """Return which file each language goes to: FILE itself, or one beside it for each of both."""
    from scelle.reports.wording import Language  # start-up time of --help

    if lang != "both":
        return {Language(lang): to}
    if to.suffix != ".pdf":
        raise InputError(f"--lang both is for pages: the data have no language; end {to.name} in .pdf")
    return {each: to.with_suffix(f".{each.value}.pdf") for each in Language}


def _released(name: str, order: str, is_new: bool) -> str:
    if is_new:
        return f"report {name} of {order} is released for what it says now; other facts make it a draft again"
    return f"report {name} of {order} was released for what it says now already"


def _written(written: "WrittenReport") -> list[str]:
    draft = " (a draft: release it with --release)" if written.report.is_draft else ""
    return [
        f"{written.file} written{draft}",
        f"  SHA-256 of the file {written.file_sha256}",
        f"  SHA-256 of the data {written.data_sha256}",
    ]
