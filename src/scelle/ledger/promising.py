"""Promise to seal records that are durable already, before they are sealed (ledger.md §6).

The order of the steps, and what a crash behind each of them leaves:

1. the records are durable (`OrderLedgerWriter.flush`): nothing was said of them; they can be promised when it goes on;
2. the promise is signed and kept, durable (`PromiseBook`): nobody has it yet; the same batch id gives the same bytes;
3. it is handed over: the recorder may or may not have it; the same batch id gives the same bytes.

So a promise that anybody holds is in the book, and what it speaks of is durable. That it is sealed in time is for who
gave it to see to; `promise_check` judges it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from scelle.errors import PromiseRefused
from scelle.formats.notes import parse_note
from scelle.formats.promises import BATCH_BYTES, RECORDS_MAX, Promise, parse_promise
from scelle.ledger.promise_book import PromiseBook
from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedgerWriter
from scelle.merkle.hashing import tree_root

MERGE_DEADLINE_US: Final = 48 * 3600 * 1_000_000
"""So long after a record was received it is sealed and attested: a time-stamp is had once a day."""


class Batch(NamedTuple):
    """Records [lo, hi) of a log source that a recorder handed in together, under its own id of 16 bytes."""

    id: bytes
    source: str
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a recorder gets at once: the signed promise, and the key of each record.

    With the keys the recorder recomputes each commitment and the batch root; then it keeps commitments and promise,
    and drops the keys (ledger.md §6). They are secret as the records are.
    """

    note: bytes
    record_keys: tuple[bytes, ...]


def promise(
    ledger: OrderLedgerWriter,
    batches: Sequence[Batch],
    now_us: int,
    merge_deadline_us: int = MERGE_DEADLINE_US,
) -> list[bytes]:
    """Promise to seal each batch by `now_us` and the merge deadline; return the signed notes, durable in the vault.

    Idempotent by batch id: the same batch gets the same note again, byte for byte. Raises PromiseRefused, and promises
    nothing, where a record is not durable, was promised under another id, or the id was used for other records.
    """
    book = ledger.promises
    with book.writing():
        return [_promised(ledger, book, batch, now_us, merge_deadline_us) for batch in batches]


def receipt(
    ledger: OrderLedgerWriter, batch: Batch, now_us: int, merge_deadline_us: int = MERGE_DEADLINE_US
) -> Receipt:
    """Promise to seal one batch as `promise` does, and give the record keys with it.

    Raises PromiseRefused, too, where a record was erased since: its key is gone, and the promise itself stays.
    """
    (note,) = promise(ledger, [batch], now_us, merge_deadline_us)
    keys = tuple(row.record_key for row in _rows(ledger, batch))
    if len(keys) != batch.hi - batch.lo:
        raise PromiseRefused(f"{_named(batch)}: records of it were erased: their keys are gone")
    return Receipt(note, keys)


def promise_durable(
    ledger: OrderLedgerWriter,
    sources: Sequence[str],
    new_id: Callable[[], bytes],
    now_us: int,
    merge_deadline_us: int = MERGE_DEADLINE_US,
) -> list[bytes]:
    """Promise whatever is durable in the open segments of these log sources and was not promised yet.

    One promise for each of them that has some. What was sealed without a promise needs none: its proof is there.
    """
    found = []
    for source in sources:
        writer = ledger.open_rows(source)
        if writer is not None:
            lo = max(writer.head.seq_lo, ledger.promises.reached(source))
            if lo < writer.durable_seq:
                found.append(Batch(new_id(), source, lo, writer.durable_seq))
    return promise(ledger, found, now_us, merge_deadline_us) if found else []


def commitments(ledger: OrderLedgerWriter, source: str, lo: int, hi: int) -> bytes:
    """Return the commitments of the durable records [lo, hi), 32 bytes each, over however many segments they lie.

    Raises PromiseRefused where one of them is not durable.
    """
    parts, at = [], lo
    if at < ledger.state.chain(source).next_seq:
        for _, manifest in ledger.manifests():
            if manifest.source == source and manifest.seq[0] <= at < min(hi, manifest.seq[1]):
                stop, first = min(hi, manifest.seq[1]), manifest.seq[0]
                reader = ledger.segment(manifest)
                parts.append(reader.hashes(at - first, stop - first))
                reader.close()
                at = stop
    writer = ledger.open_rows(source)
    if writer is not None and writer.head.seq_lo <= at < hi <= writer.durable_seq:
        parts.append(writer.commitments(at, hi))
        at = hi
    if at != hi:
        raise PromiseRefused(f"records {lo} to {hi - 1} of {source} are not all durable: flush them first")
    return b"".join(parts)


def _promised(
    ledger: OrderLedgerWriter, book: PromiseBook, batch: Batch, now_us: int, merge_deadline_us: int
) -> bytes:
    kept = book.find(batch.id)
    if kept is not None:
        known = parse_promise(parse_note(kept).text)
        if (known.source, known.seq) != (batch.source, (batch.lo, batch.hi)):
            raise PromiseRefused(f"{_named(batch)}: its id was used for other records: draw another one")
        return kept
    if len(batch.id) != BATCH_BYTES or not 1 <= batch.hi - batch.lo <= RECORDS_MAX or batch.lo < 0:
        raise PromiseRefused(f"{_named(batch)}: a batch has an id of 16 bytes and 1 to 2^20 records")
    if book.overlapping(batch.source, batch.lo, batch.hi) is not None:
        raise PromiseRefused(f"{_named(batch)}: some of them were promised already, under another id")
    promised = Promise(
        origin=ledger.origin,
        genesis=ledger.state.genesis_leaf,
        source=batch.source,
        batch=batch.id,
        seq=(batch.lo, batch.hi),
        batch_root=tree_root(commitments(ledger, batch.source, batch.lo, batch.hi)),
        received=now_us,
        deadline=now_us + merge_deadline_us,
    )
    note = ledger.signer.sign_text(promised.text())
    book.add(promised, note)
    return note


def _rows(ledger: OrderLedgerWriter, batch: Batch) -> Iterator[Row]:
    """Yield the rows of a batch that are still there, in their order."""
    for _, manifest in ledger.manifests():
        if manifest.source == batch.source and manifest.seq[0] < batch.hi and batch.lo < manifest.seq[1]:
            reader = ledger.segment(manifest)
            yield from (row for row in reader.rows() if batch.lo <= row.seq < batch.hi)
            reader.close()
    writer = ledger.open_rows(batch.source)
    if writer is not None:
        for row in writer.durable_rows(batch.lo):
            if row.seq >= batch.hi:
                return
            yield row


def _named(batch: Batch) -> str:
    return f"batch {batch.id.hex()}, records {batch.lo} to {batch.hi - 1} of {batch.source}"
