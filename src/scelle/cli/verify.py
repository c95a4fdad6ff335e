"""`scelle verify`: re-read everything and say everything that is wrong."""

from typing import TYPE_CHECKING, Annotated

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit

if TYPE_CHECKING:
    from scelle.fsck.model import VerifyReport


def verify(
    sample: Annotated[
        int | None, typer.Option(min=1, help="Check only this many records of each order.")
    ] = None,
    order: Annotated[str | None, typer.Option(help="Check only this order.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one for each core.")] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Re-read everything and say everything that is wrong, not the first. Trusts no catalog.

    Exit code 0: nothing is wrong; 1: the findings say what.

    Example: scelle verify --json
    """
    from scelle.bootstrap.checking import verify_vault  # start-up time of --help
    from scelle.orders.service import check_order

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        if order is not None:
            check_order(vault, order)
        report = verify_vault(session, sample=sample, order=order, workers=workers)
    emit(report.to_json(), _lines(report), as_json)
    if not report.valid:
        raise typer.Exit(1)


def _lines(report: "VerifyReport") -> list[str]:
    lines = [f"{finding.code}: {finding.subject}: {finding.detail}" for finding in report.findings]
    lines += [f"note: {remark.subject}: {remark.detail}" for remark in report.remarks]
    if report.sampling:
        lines.append(report.sampling)
    verdict = "nothing is wrong" if report.valid else f"{len(report.findings)} findings"
    lines.append(
        f"{verdict}: {report.orders} logs, {report.segments} segments, {report.records} of {report.records_of} "
        f"records, {report.contents} contents, {report.packs} packs read in {report.seconds:.1f} s"
    )
    if report.valid:
        lines.append(
            "not established: that nobody with the log's keys rewrote what no one else has seen (scelle status)"
        )
    return lines
