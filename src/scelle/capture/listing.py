"""Tell whether a document's content is in a list of hashes, before a byte of it is written anywhere."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from typing import Final

from scelle.capture.content import pieces_of
from scelle.errors import ItemChanged
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import Content, decode_value
from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedgerWriter
from scelle.scope.hashes import HashesFile
from scelle.sources.interfaces import Document

IN_MEMORY_BYTES: Final = 64 << 20
"""Up to so much a document is read once, into memory; a larger one is read twice."""
_CONTENT: Final = DOCUMENT_V1.field_number("content") or 0


def look_up_content(document: Document, lists: Sequence[HashesFile]) -> tuple[Document, bool]:
    """Read a document's content and say whether one of the lists has its SHA-256; return what is to be kept of it.

    One of up to `IN_MEMORY_BYTES` is held in memory from then on: what was looked up is what is kept. A larger one is
    read again when it is kept, and raises `ItemChanged` at its end where it has other bytes then: what came before was
    written already, to be dropped. What the document's stream raises has written nothing.
    """
    held: list[bytes] | None = []
    state, size_bytes = sha256(), 0
    for piece in pieces_of(document):
        state.update(piece)
        size_bytes += len(piece)
        if size_bytes > IN_MEMORY_BYTES:
            held = None
        elif held is not None:
            held.append(piece)
    digest = state.digest()
    is_listed = any(each.lists(digest) for each in lists)
    if held is None:
        return replace(document, data=None, stream=lambda: _same(document, digest)), is_listed
    return replace(document, data=b"".join(held), stream=None), is_listed


def _same(document: Document, digest: bytes) -> Iterator[bytes]:
    """Read a document again; raise `ItemChanged` at the end unless it has the bytes that were looked up."""
    state = sha256()
    for piece in pieces_of(document):
        state.update(piece)
        yield piece
    if state.digest() != digest:
        raise ItemChanged("its content changed between two readings")


def listed_records(ledger: OrderLedgerWriter, alias: str, lists: Sequence[HashesFile]) -> frozenset[int]:
    """Return the sequence numbers of records of a log source that keep a listed content openly.

    They were sealed before their hashes were listed. One walk over the source's rows, those not sealed yet too.
    """
    if not lists:
        return frozenset()
    found: set[int] = set()
    for _, manifest in ledger.manifests():
        if manifest.source == alias and manifest.records:
            with closing(ledger.segment(manifest)) as reader:
                found.update(row.seq for row in reader.rows() if _is_listed(row, lists))
    writer = ledger.open_rows(alias)
    if writer is not None:
        found.update(row.seq for row in writer.flushed_rows() if _is_listed(row, lists))
    return frozenset(found)


def _is_listed(row: Row, lists: Sequence[HashesFile]) -> bool:
    encoded = row.split_values()[_CONTENT]
    content = decode_value(encoded)[1] if encoded[:1] == b"h" else None  # that of a restricted one is closed
    return isinstance(content, Content) and any(each.lists(content.digest) for each in lists)
