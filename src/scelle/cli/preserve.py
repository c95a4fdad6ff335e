"""`scelle preserve`: seal what is in scope now."""

import gc
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

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
from scelle.cli.output import emit, human_bytes, warn
from scelle.cli.problems import items_command, problem_text
from scelle.cli.reconciliation import reconciliation_lines
from scelle.cli.unreachable import unreachable_error
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.capture.model import Counts, PassReport, Problem

_EVERY_ITEMS = 500
_EVERY_SECONDS = 5.0
_PROBLEMS_SHOWN = 20
_COLLECT_AFTER = 500_000
"""Container objects made before Python looks for cycles. A batch of records makes tens of thousands of tuples that all
go by themselves; at Python's 700 a third of a pass's processor time went into looking at them."""


def preserve(
    order: OrderArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=64,
            help="Processes that commit to records beside this one (default: one less than there are cores).",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Seal what an order covers now. May be stopped and run again: it goes on where it was.

    Prints, and seals, offered = sealed + failed + excluded + lost. Exit code 1 when an item failed or was
    lost, 4 when no
    source could be reached. --json names the first hundred of each; all are sealed as
    events. Where a preview of the same clauses was sealed, says, and seals, every difference from it; that changes
    no exit code.

    Example: scelle preserve ec-2026-0108 --json
    """
    from scelle.bootstrap import (  # start-up time of --help
        expected_items,
        refuse_capture,
        show_to_witnesses,
        was_drilled,
        witness_settings,
    )
    from scelle.bootstrap.restricted import with_compartment
    from scelle.capture.service import run_reconciled_pass
    from scelle.ledger.crew import spare_cores
    from scelle.orders.service import sealed_order, with_accounts

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        ledger = session.order_writer(order)
        sealed = sealed_order(ledger)
        refuse_capture(session, sealed)
        ledger.crew.workers = spare_cores() if workers is None else workers
        if not was_drilled(session):
            warn(
                "nobody has proven yet that the vault key can be restored: scelle key drill --identity FILE"
                if session.config.recipients
                else "this vault has no recovery recipients (init --recipient): keep a copy of its key file elsewhere"
            )
        sealed = with_accounts(sealed, session.packs)
        progress = Progress(expected_items(ledger), quiet=as_json)
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)
        report, reconciled = run_reconciled_pass(
            with_compartment(session, session.pass_tools(ledger, progress)),
            sealed.clauses,
            session.named(sealed),
        )
        progress.end()
        for warning in show_to_witnesses(session, ledger, None, witness_settings(ledger)):
            warn(warning)
    for warning in _warnings(report):
        warn(warning)
    unreachable = [source for source in report.sources if source.unreachable]
    if len(unreachable) == len(report.sources):
        first = unreachable[0]
        raise unreachable_error(first.name, first.unreachable or "", "the gap is in the log")
    document = _document(order, report)
    document["reconciliation"] = None if reconciled is None else reconciled.to_json()
    lines = _lines(order, report)
    lines += [] if reconciled is None else reconciliation_lines(reconciled)
    emit(document, lines, as_json)
    if unreachable or report.total.failed or report.total.lost:
        raise typer.Exit(1)


def _warnings(report: "PassReport") -> list[str]:
    """Say what is no bucket and must not be overlooked: bytes that are not in the vault and are not as sealed."""
    warnings = []
    for source in report.sources:
        changed, gone = source.counts.changed_in_place, source.counts.vanished_in_place
        if changed:
            first = source.changed_in_place[0].native
            warnings.append(
                f"{source.name}: {changed} files of which only the digest is kept changed although their times "
                f"and sizes did not, {first} first: damage, or somebody hid it"
            )
        if gone:
            warnings.append(
                f"{source.name}: {gone} files of which only the digest was kept are no longer there: their "
                "contents are not in the vault"
            )
    return warnings


def _document(order: str, report: "PassReport") -> dict[str, Any]:
    document = {"order": order, **report.to_json()}
    for source in report.sources:
        document["sources"][source.name] |= {
            "failed_items": [problem.to_json() for problem in source.failed],
            "lost_items": [problem.to_json() for problem in source.lost],
            "changed_in_place_items": [problem.native for problem in source.changed_in_place],
            "waiting_items": [problem.to_json() for problem in source.waiting],
        }
    return document


def _lines(order: str, report: "PassReport") -> list[str]:
    lines = []
    for source in report.sources:
        counts = source.counts
        lines.append(f"  {source.name}: {_sum(counts)}")
        if counts.restricted:
            lines.append(f"    {counts.restricted} of the {counts.sealed} sealed lie in the compartment")
        lines += [f"    {note}" for note in source.notes]
        lines += [f"    excluded by {rule}: {n}" for rule, n in sorted(counts.excluded_by.items())]
        lines += _problem_lines(order, "failed", source.failed, counts.failed)
        lines += _problem_lines(order, "lost", source.lost, counts.lost)
        if counts.vanished:
            lines.append(f"    {counts.vanished} sealed before are no longer there; they stay sealed")
        lines += _problem_lines(order, "waiting", source.waiting, len(source.waiting))
        if source.unreachable:
            lines.append(f"    could not be reached: {source.unreachable}")
        elif source.vanished_unknown:
            lines.append("    whether something vanished is not known: not everything could be listed")
    total = report.total
    return [f"order {order}: {_sum(total)}, {human_bytes(total.bytes)}", *lines]


def _problem_lines(order: str, bucket: str, problems: "list[Problem]", count: int) -> list[str]:
    shown = problems[:_PROBLEMS_SHOWN]
    lines = [f"    {bucket}: {problem_text(each.to_json())}" for each in shown]
    if count > len(shown):
        more = f"and {count - len(shown)} more" if shown else f"{count}, as an earlier pass found them"
        lines.append(f"    {bucket}: {more}; all of them: {items_command(order, bucket)}")
    return lines


def _sum(counts: "Counts") -> str:
    return (
        f"offered {counts.offered} = sealed {counts.sealed} (new {counts.new}, "
        f"unchanged {counts.unchanged}) + failed {counts.failed} + excluded {counts.excluded} + "
        f"lost {counts.lost}"
    )


class Progress:
    """Show rate, counts and time left: one moving line on a terminal, a plain line every few seconds elsewhere.

    How many items a live system will offer is not known before it has; `expected` is what the last preview or
    pass counted, so the time left is an estimate, and is not shown without one.
    """

    def __init__(self, expected: int, *, quiet: bool) -> None:
        self._expected = expected
        self._terminal = sys.stderr.isatty()
        self._quiet = quiet and not self._terminal
        self._started = self._shown = time.monotonic()
        self._offered: dict[str, int] = {}
        self._asked = 0

    def __call__(self, name: str, counts: "Counts") -> None:
        """Take what the source `name` has offered so far into account."""
        last = self._offered.get(name, 0)
        self._offered[name] = counts.offered
        self._asked += counts.offered - last
        if self._quiet or self._asked < _EVERY_ITEMS:
            return
        self._asked = 0
        now = time.monotonic()
        if now - self._shown < (0.2 if self._terminal else _EVERY_SECONDS):
            return
        self._shown = now
        rate = self._done / max(now - self._started, 0.001)
        line = (
            f"{name}: {counts.offered} offered, {counts.new} new, {counts.unchanged} unchanged, "
            f"{counts.failed} failed, {human_bytes(counts.bytes)}, {rate:.0f} items/s{self._left(rate)}"
        )
        print(
            f"\r\x1b[K{line}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr
        )

    @property
    def _done(self) -> int:
        return sum(self._offered.values())

    def _left(self, rate: float) -> str:
        ahead = self._expected - self._done
        return f", about {ahead / rate:.0f} s left" if ahead > 0 else ""

    def end(self) -> None:
        """Leave the moving line."""
        if self._terminal and self._done >= _EVERY_ITEMS:
            print("\r\x1b[K", end="", file=sys.stderr)
