"""Keep the content of a document in the vault, or leave it in place and only digest it; once from end to end."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from scelle.formats.records import ChunkRoot, chunk_root
from scelle.sources.interfaces import Document
from scelle.vault.packs import PackStore


class Kept(NamedTuple):
    """What a record commits of a content: SHA-256, chunk root under the record's salt, size."""

    digest: bytes
    chunks: bytes
    size_bytes: int


def keep_content(packs: PackStore, document: Document, record_salt: bytes) -> Kept:
    """Put the content into the vault; durable after the packs' next `sync`.

    What a stream raises half-way leaves nothing in the vault.
    """
    data = document.data
    if data is not None:
        digest = sha256(data).digest()
        packs.put(data, digest)
        return Kept(digest, chunk_root(record_salt, data), len(data))
    chunks = ChunkRoot(record_salt)
    digest, size_bytes, _ = packs.put_stream(_passing(_pieces(document), chunks))
    return Kept(digest, chunks.digest(), size_bytes)


def digest_in_place(document: Document, record_salt: bytes) -> Kept:
    """Digest the content and keep nothing of it."""
    state, chunks, size_bytes = sha256(), ChunkRoot(record_salt), 0
    for piece in _passing(_pieces(document), chunks):
        state.update(piece)
        size_bytes += len(piece)
    return Kept(state.digest(), chunks.digest(), size_bytes)


def _pieces(document: Document) -> Iterator[bytes]:
    if document.stream is not None:
        return document.stream()
    if document.data is None:
        raise AssertionError("a document has data or a stream")
    return iter((document.data,))


def _passing(pieces: Iterable[bytes], chunks: ChunkRoot) -> Iterator[bytes]:
    for piece in pieces:
        chunks.update(piece)
        yield piece
