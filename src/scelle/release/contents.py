"""Tell which contents an order's records name, so that none is destroyed that another order needs."""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from scelle.formats.schema import Schema
from scelle.ledger.destroying import ACTS, is_destroyed
from scelle.ledger.erasing import contents_of
from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedger, OrderLedgerWriter

_TYPE: Final = "h"


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
    for row in rows:
        yield from contents_of(schema, row)
