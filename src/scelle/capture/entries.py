"""Say in the log what a pass found: its counts, and the gaps that it opens, closes or cannot help."""

from collections.abc import Iterator
from dataclasses import replace

from scelle.capture.interfaces import NamedSource
from scelle.capture.model import Counts, SourceReport
from scelle.formats.entries import Count, Entry, Gap
from scelle.ledger.model import known_gaps
from scelle.ledger.service import OrderLedger

UNREACHABLE = "source-unreachable"
VANISHED_WHILE_READ = "vanished-while-read"


def pass_entries(
    ledger: OrderLedger,
    named: NamedSource,
    report: SourceReport,
    started_us: int,
    now_us: int,
    lost_at_most: int | None = None,
) -> Iterator[Entry]:
    """Yield the gaps and the count of one source; every interval has a length, whatever the clock did.

    A source that could not be read to the end opens a gap, unless one is open; the next pass that reads it to
    the end closes it. `lost_at_most` is how much can have been lost in the gaps that it closes, where that is known.
    """
    end_us = max(now_us, started_us + 1)
    if report.counts.lost:
        yield _gap(ledger, named, (started_us, end_us), VANISHED_WHILE_READ, report.counts.lost)
    still_open = list(open_gaps(ledger, named.alias))
    if report.unreachable is None:
        for index, gap in still_open:
            yield closing_gap(index, gap, end_us, gap.lost_at_most if lost_at_most is None else lost_at_most)
    elif not still_open:
        yield _gap(ledger, named, (started_us, None), UNREACHABLE, None)
    yield count_entry(ledger, named, report.counts, (started_us, end_us))


def closing_gap(index: int, gap: Gap, end_us: int, lost_at_most: int | None) -> Gap:
    """Return the entry that closes the gap at a log index; its interval has a length, whatever the clocks did."""
    start_us = gap.interval[0]
    return replace(
        gap, interval=(start_us, max(end_us, start_us + 1)), lost_at_most=lost_at_most, closes=index
    )


def count_entry(ledger: OrderLedger, named: NamedSource, counts: Counts, interval: tuple[int, int]) -> Count:
    """Return the entry that says what became of what a source offered in an interval (microseconds)."""
    return Count(
        order=ledger.order,
        source=named.alias,
        interval=interval,
        offered=counts.offered,
        sealed=counts.sealed,
        failed=counts.failed,
        excluded=counts.excluded,
        lost=counts.lost,
        system=named.system,
    )


def _gap(
    ledger: OrderLedger,
    named: NamedSource,
    interval: tuple[int, int | None],
    cause: str,
    lost_at_most: int | None,
) -> Gap:
    return Gap(
        order=ledger.order,
        source=named.alias,
        interval=interval,
        cause=cause,
        lost_at_most=lost_at_most,
        closes=None,
    )


def open_gaps(ledger: OrderLedger, alias: str | None = None) -> Iterator[tuple[int, Gap]]:
    """Yield the gaps of a source, or of all, that have no end yet, with their log index."""
    for each in known_gaps(ledger.entries):
        if each.is_open and alias in (None, each.gap.source):
            yield each.at, each.gap
