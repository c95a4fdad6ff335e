"""Tell which contents an order's records name, so that none is destroyed that another order needs."""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from scelle.errors import FormatError, SegmentDamaged
from scelle.formats.compartments import ciphertext_of
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.ledger.destroying import ACTS, is_destroyed
from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedger, OrderLedgerWriter

CHUNKS: Final = "chunks"
"""Names no content but the root over a document's chunks (ledger.md §2)."""
_TYPE: Final = "h"
_CONTENT: Final = b"h"
_DIGEST: Final = slice(5, 37)


def named_contents(ledger: OrderLedger, *, acts: bool = True, captured: bool = True) -> Iterator[bytes]:
    """Yield the SHA-256 of every content that the order's records name, more than once where several do.

    `acts`: those of the order's papers; `captured`: those of what its sources gave. Of a ledger that is open to be
    written also what is not committed yet. Segments whose rows were destroyed name nothing any more.
    """
    for _, manifest in ledger.manifests():
        if not manifest.records or not (acts if manifest.source.startswith(ACTS) else captured):
            continue
        schema = ledger.schema(manifest.schema)
        if not _has_contents(schema):
            continue
        if is_destroyed(ledger, manifest):
            continue
        with closing(ledger.segment(manifest)) as reader:
            yield from _of_rows(schema, reader.rows())
    if isinstance(ledger, OrderLedgerWriter):
        for alias in ledger.open_sources():
            writer = ledger.open_rows(alias)
            if writer is not None and (acts if alias.startswith(ACTS) else captured):
                yield from _of_rows(writer.schema, writer.flushed_rows())


def _has_contents(schema: Schema) -> bool:
    return any(field.type == _TYPE for field in schema.fields)


def _of_rows(schema: Schema, rows: Iterator[Row]) -> Iterator[bytes]:
    is_document = schema.digest == DOCUMENT_V1.digest
    places = [
        number for number, field in enumerate(schema.fields) if field.type == _TYPE and field.name != CHUNKS
    ]
    for row in rows:
        try:
            values = row.split_values()
        except FormatError as error:
            raise SegmentDamaged(f"row {row.seq} cannot be read: run `scelle verify`") from error
        if is_document:
            locked = ciphertext_of(values)
            if locked is not None:
                yield locked.digest
                continue
        for place in places:
            if values[place][:1] == _CONTENT:
                yield values[place][_DIGEST]
