"""`scelle verify`: re-read everything and say everything that is wrong."""

from typing import TYPE_CHECKING, Annotated

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit
from scelle.errors import ScelleError

if TYPE_CHECKING:
    from scelle.bootstrap import Session
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

    Exit code 0: nothing is wrong; 1: the findings say what. In a vault with operators everything is read, whoever asks;
    where something is wrong of which you may not know, one finding says that, and names nothing.

    Example: scelle verify --json
    """
    from scelle.bootstrap.checking import discreet_report, verify_vault  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        if order is not None:
            session.check_order(order)
        report = verify_vault(session, sample=sample, order=order, workers=workers)
        has_walls = _has_walls(session)
        if has_walls:
            report = discreet_report(session, report, order)
    document = report.to_json()
    if has_walls:  # these are of all orders together
        document |= dict.fromkeys(("contents", "bytes", "packs"))
    emit(document, _lines(report, has_walls=has_walls), as_json)
    if not report.valid:
        raise typer.Exit(1)


def _has_walls(session: "Session") -> bool:
    """Tell whether the vault has operators, and with them walls; one whose own log cannot be read has none any more."""
    try:
        return not session.is_solo
    except (ScelleError, OSError):
        return False


def _lines(report: "VerifyReport", *, has_walls: bool) -> list[str]:
    lines = [f"{finding.code}: {finding.subject}: {finding.detail}" for finding in report.findings]
    lines += [f"note: {remark.subject}: {remark.detail}" for remark in report.remarks]
    if report.sampling:
        lines.append(report.sampling)
    verdict = "nothing is wrong" if report.valid else f"{len(report.findings)} findings"
    shared = "" if has_walls else f", {report.contents} contents, {report.packs} packs"
    lines.append(
        f"{verdict}: {report.orders} logs, {report.segments} segments, {report.records} of {report.records_of} "
        f"records{shared} read in {report.seconds:.1f} s"
    )
    if report.valid:
        lines.append(
            "not established: that nobody with the log's keys rewrote what no one else has seen (scelle status)"
        )
    return lines
