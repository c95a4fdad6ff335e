"""`scelle disclose`: the proof of one record."""

from pathlib import Path
from typing import Annotated

import typer

from scelle.cli.arguments import redactions
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
from scelle.operators.model import Power


def disclose(
    order: OrderArgument,
    item: Annotated[
        str, typer.Argument(metavar="ITEM", help="The item's id, or ALIAS:SEQ, for instance s0001:17.")
    ],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The proof; must not exist.")],
    redact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD:CODE", help="Leave a field of the record closed, and why. Repeat for more."
        ),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove one record alone, in a file of a few KB: that it is in the order's log, and nothing of its neighbours.

    It proves nothing about a question, an erasure, or what else there is. An id is looked for in all sealed records;
    ALIAS:SEQ is found at once.

    Example: scelle disclose ec-2026-0108 s0001/2:17 --redact prompt:personal-data --to record.proof
    """
    from scelle.bootstrap.productions import disclose_record  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.PRODUCE) as session:
        report, warnings = disclose_record(
            session,
            order,
            item=item,
            redact=redactions(redact or []),
            to=to,
            progress=progress_line(as_json),
        )
    for warning in warnings:
        warn(warning)
    document = {"order": order, "proof": printable(str(to)), **report.to_json()}
    lines = [
        f"{to}: record {report.source}:{report.seq}, {report.fields - len(report.redacted)} of {report.fields} fields "
        f"open; {human_bytes(report.bytes)}",
        f"check it: scelle-verify {to} --trust TRUST",
    ]
    emit(document, lines, as_json)
