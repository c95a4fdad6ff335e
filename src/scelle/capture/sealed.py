"""Read back from the segments what earlier passes sealed: which pass is unfinished, names, who vanished."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from scelle.capture.families import is_of_family
from scelle.capture.record_rows import pass_of
from scelle.capture.store import BY_HAND, parse_side
from scelle.ledger.events import events, kind_of
from scelle.ledger.rows import Row
from scelle.ledger.service import EVENTS_SOURCE, OrderLedgerWriter

FINISHED = "pass"
VANISHED, RETURNED = "items.vanished", "items.returned"
RECORDS_VANISHED, RECORDS_RETURNED = "records.vanished", "records.returned"
_NATIVE = 3


class LastPass(NamedTuple):
    """Where the newest `pass` event stands: the log index after its manifest, the event after its segment."""

    log_end: int = 0
    event_end: int = 0


def last_pass(ledger: OrderLedgerWriter) -> LastPass:
    """Find the newest pass that was sealed; zeros before the first."""
    for index, manifest in reversed(list(ledger.manifests())):
        if manifest.source == EVENTS_SOURCE and manifest.records:
            with closing(ledger.segment(manifest)) as reader:
                if any(kind_of(row) == FINISHED for row in reader.rows()):
                    return LastPass(index + 1, manifest.seq[1])
    return LastPass()


def has_unsealed_pass(ledger: OrderLedgerWriter) -> bool:
    """Tell whether a run made its `pass` event durable and ended before the commit."""
    writer = ledger.open_rows(EVENTS_SOURCE)
    return writer is not None and any(kind_of(row) == FINISHED for row in writer.flushed_rows())


def unfinished_pass(ledger: OrderLedgerWriter, aliases: Collection[str], last: LastPass) -> int | None:
    """Return the id of a pass that was interrupted after it had made rows durable.

    Its rows are those newer than the last `pass` event: nothing but the ledger is asked, so a lost catalog
    changes no count.
    """
    return next(filter(None, map(_sealed_by, _rows_since(ledger, aliases, last))), None)


def is_by_hand(row: Row) -> bool:
    """Tell whether a row of a source was sealed by no pass: put into the compartment by hand, or carried over."""
    found = parse_side(row)
    return (pass_of(row) if found is None else found[1].pass_id) == BY_HAND


def _sealed_by(row: Row) -> int | None:
    """Return the id of the pass that made a row; None where none did."""
    found = parse_side(row)
    pass_id = pass_of(row) if found is None else found[1].pass_id
    return None if pass_id == BY_HAND else pass_id


def _rows_since(ledger: OrderLedgerWriter, aliases: Collection[str], last: LastPass) -> Iterator[Row]:
    """Yield the first rows of the segments that are newer than the last pass."""
    for index, manifest in ledger.manifests():
        if index >= last.log_end and _is_of(manifest.source, aliases) and manifest.records:
            with closing(ledger.segment(manifest)) as reader:
                made = (row for row in reader.rows() if _sealed_by(row) is not None)
                yield from islice(made, 1)  # none where all of them were erased
    for alias in sorted(ledger.open_sources()):
        writer = ledger.open_rows(alias) if _is_of(alias, aliases) else None
        if writer is not None:
            yield from writer.flushed_rows()


def _is_of(source: str, aliases: Collection[str]) -> bool:
    return source in aliases or any(is_of_family(source, alias) for alias in aliases)


def vanished_records(ledger: OrderLedgerWriter, alias: str) -> set[tuple[int, int]]:
    """Return (family number, sequence number) of the records that earlier passes said to be gone, and not back."""
    gone: set[tuple[int, int]] = set()
    for event in events(ledger, RECORDS_VANISHED, RECORDS_RETURNED):
        if event.body["source"] == alias:
            places = {(int(name.rpartition("/")[2]), int(seq)) for name, seq in event.body["records"]}
            gone = gone | places if event.kind == RECORDS_VANISHED else gone - places
    return gone


def vanished_flags(
    ledger: OrderLedgerWriter, alias: str, from_event: int, last: LastPass
) -> Iterator[tuple[int, bool]]:
    """Yield, in order, sequence numbers of records whose items finished passes said to be gone, or back.

    What an unfinished pass said is left for itself to say again.
    """
    for event in events(ledger, VANISHED, RETURNED, from_seq=from_event, below=last.log_end):
        if event.body["source"] == alias:
            for item in event.body["items"]:
                yield item["seq"], event.kind == VANISHED


def native_ids(ledger: OrderLedgerWriter, alias: str, seqs: Collection[int]) -> Iterator[tuple[int, str]]:
    """Yield (sequence number, native id) of these records, in capture order; all rows must be flushed."""
    if not seqs:
        return
    low, high = min(seqs), max(seqs)
    for _, manifest in ledger.manifests():
        if manifest.source != alias or not manifest.records:
            continue
        if manifest.seq[0] <= high and manifest.seq[1] > low:
            with closing(ledger.segment(manifest)) as reader:
                yield from _named(reader.rows(), seqs)
    writer = ledger.open_rows(alias)
    if writer is not None:
        yield from _named(writer.flushed_rows(), seqs)


def _named(rows: Iterable[Row], seqs: Collection[int]) -> Iterator[tuple[int, str]]:
    for row in rows:
        if row.seq in seqs:
            yield row.seq, row.split_values()[_NATIVE][5:].decode()
