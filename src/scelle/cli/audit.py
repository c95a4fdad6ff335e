"""`scelle audit-stream`, `audit-index`, `audit-key`: have indexes and bounds recomputed by an auditor."""

import time
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
from scelle.cli.output import emit, human_bytes, printable, progress_line, refuse_in_any_vault, warn
from scelle.operators.model import Power


def audit_stream(
    order: OrderArgument,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The stream; must not exist.")],
    source: Annotated[str | None, typer.Option(help="Only the segments of this source.")] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what an auditor needs to recompute indexes and bounds: times, salts, tags and hashes, no content.

    It is for the auditor alone: equal tags are equal accounts, and times are plain. Produce at strength B before
    anything else is sealed: a segment that came after the stream was not audited.

    Example: scelle audit-stream ec-2026-0108 --to order.audit
    """
    from scelle.bootstrap.productions import write_audit_stream  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.PRODUCE) as session:
        report, warnings = write_audit_stream(
            session, order, source=source, to=to, progress=progress_line(as_json)
        )
    for warning in warnings:
        warn(warning)
    document = {"order": order, "stream": printable(str(to)), **report.to_json()}
    lines = [
        f"{to}: {report.records} records of {report.segments} segments, {report.erased} of them erased; "
        f"{human_bytes(report.bytes)}",
        f"the auditor runs: scelle audit-index {to} --trust POLICY --key KEY --to VERDICT",
    ]
    emit(document, lines, as_json)


def audit_index(
    stream: Annotated[Path, typer.Argument(metavar="STREAM", help="The file that audit-stream wrote.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The auditor's key, as audit-key wrote it.")],
    to: Annotated[Path, typer.Option(metavar="VERDICT", help="The signed verdict; must not exist.")],
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="policy.json (or trust.json) of the order, had from elsewhere."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint of the log, had from elsewhere.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute every index and bound in a stream, on the auditor's side, and sign a verdict if all is right.

    Needs no vault. Says every fault; with one, nothing is signed and the exit code is 1.

    Example: scelle audit-index order.audit --trust policy.json --key auditor.key --to verdict
    """
    from scelle.productions import audit  # start-up time of --help
    from scelle.productions.auditor_key import read_auditor_key

    auditor = read_auditor_key(key)
    believed = audit.read_believed(trust, checkpoint)
    audit.check_verdict_place(to)
    report = audit.audit_index(stream, believed, progress_line(as_json))
    if report.is_valid:
        audit.sign_verdict(report, auditor, out=to, time_s=int(time.time()))
    document = {**report.to_json(), "verdict": printable(str(to)) if report.is_valid else None}
    lines = [f"{fault.code}  {fault.subject}: {fault.detail}" for fault in report.faults]
    if report.is_valid:
        lines.append(
            f"{to}: {report.records} records of {len(report.segments)} segments, {report.erased} of them erased, are "
            f"in their indexes as claimed; signed by {auditor.name}"
        )
        if not audit.is_cosigner(believed, auditor.vkey):
            lines.append(f"the authority counts it once trust.json has this cosigner: {auditor.vkey.text()}")
    else:
        lines.append(f"{len(report.faults)} faults: nothing was signed")
    emit(document, lines, as_json)
    if not report.is_valid:
        raise typer.Exit(1)


def audit_key(
    name: Annotated[str, typer.Option(help="The auditor's name, for instance auditor.example/2026.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The key file; must not exist.")],
    as_json: JsonOption = False,
) -> None:
    """Make an auditor's signing key, and print its public half, which the authority puts into trust.json.

    Needs no vault. The file is for its owner alone.

    Example: scelle audit-key --name auditor.example/2026 --to auditor.key
    """
    from scelle.productions.auditor_key import make_auditor_key  # start-up time of --help

    refuse_in_any_vault(to)
    key = make_auditor_key(name, to)
    document = {"name": name, "key": printable(str(to)), "vkey": key.vkey.text()}
    emit(document, [f"{to}: keep it secret", f"cosigner for trust.json: {key.vkey.text()}"], as_json)
