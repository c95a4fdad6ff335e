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
        unseen = _why_uncounted(session) if has_walls and order is None else None
    document = report.to_json()
    if has_walls:  # these are of all orders together
        document |= dict.fromkeys(("contents", "bytes", "packs"))
    if unseen is not None:  # these would be of no order
        document |= dict.fromkeys(("orders", "segments", "records", "records_of"))
        document["sampling"] = _uncounted_sampling(report)
    emit(document, _lines(report, has_walls=has_walls, unseen=unseen), as_json)
    if not report.valid:
        raise typer.Exit(1)


def _has_walls(session: "Session") -> bool:
    """Tell whether the vault has operators, and with them walls; one whose own log cannot be read has none any more."""
    try:
        return not session.is_solo
    except (ScelleError, OSError):
        return False


def _why_uncounted(session: "Session") -> str | None:
    """Say why nothing is counted where who asks may know of no order, and what to do; None where he may of one."""
    if session.orders():
        return None
    if session.operator is None:
        return "records are counted for operators only: give --as NAME"
    return "no records are counted: you may know of no order"


def _uncounted_sampling(report: "VerifyReport") -> str | None:
    if report.sampled is None:
        return None
    return f"sampled {report.sampled} records of each log at most: not a verification of the rest"


def _lines(report: "VerifyReport", *, has_walls: bool, unseen: str | None) -> list[str]:
    lines = [f"{finding.code}: {finding.subject}: {finding.detail}" for finding in report.findings]
    lines += [f"note: {remark.subject}: {remark.detail}" for remark in report.remarks]
    sampling = report.sampling if unseen is None else _uncounted_sampling(report)
    lines += [sampling] if sampling else []
    verdict = "nothing is wrong" if report.valid else f"{len(report.findings)} findings"
    lines.append(f"{verdict}: {_read(report, has_walls=has_walls, unseen=unseen)}")
    if report.valid:
        lines.append(
            "not established: that nobody with the log's keys rewrote what no one else has seen (scelle status)"
        )
    return lines


def _read(report: "VerifyReport", *, has_walls: bool, unseen: str | None) -> str:
    """Say what was read, as far as who asks may know of it."""
    if unseen is not None:
        how = "every log was read" if report.sampled is None else "every log was sampled"
        return f"{how} in {report.seconds:.1f} s; {unseen}"
    shared = "" if has_walls else f", {report.contents} contents, {report.packs} packs"
    return (
        f"{report.orders} logs, {report.segments} segments, {report.records} of {report.records_of} records{shared} "
        f"read in {report.seconds:.1f} s"
    )
