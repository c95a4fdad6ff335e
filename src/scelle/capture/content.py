"""Keep the content of a document in the vault, put it into the compartment, or leave it in place and only digest it.

Each reads it once from end to end.
"""

import secrets
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from scelle.formats.compartments import CompartmentHead, CompartmentTail, restricted_meta
from scelle.formats.records import SALT_BYTES, ChunkRoot, chunk_root
from scelle.formats.values import NULL, Content, structure_value, text_value
from scelle.sources.interfaces import Document
from scelle.vault.compartment import sealed_pieces
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
    digest, size_bytes, _ = packs.put_stream(_passing(pieces_of(document), chunks))
    return Kept(digest, chunks.digest(), size_bytes)


class Locked(NamedTuple):
    """What a record says of a restricted content: closed values of `content` and `chunks`, where the ciphertext is."""

    closed: tuple[bytes, bytes]
    ciphertext: Content
    size_bytes: int

    def row_values(self, holder: bytes, shadow: str, time_basis: str, *, is_kept: bool) -> list[bytes]:
        """Return the values of a restricted row behind time and sequence number (docs/formats/compartment.md).

        `holder` is the encoded value of dimension account, `shadow` stands for the native id (`ItemKeys.shadow`).
        """
        meta_json = restricted_meta(self.ciphertext, is_kept=is_kept)
        names = [holder, text_value(shadow), NULL]
        return [*names, *self.closed, text_value(time_basis), structure_value(meta_json)]


def lock_content(
    packs: PackStore, recipient: str, document: Document, native: bytes, record_salt: bytes, *, is_kept: bool
) -> Locked:
    """Put the content, and what its document is called, into the compartment; durable after the packs' next `sync`.

    It is encrypted to `recipient` while it is read: nothing of it, and no hash of it, is kept or written anywhere else.
    Where the clause keeps digests only (`is_kept` false) just its digest and name go in. What a stream raises half-way
    leaves nothing in the vault.
    """
    head = CompartmentHead(native, document.media_type, document.meta_json, is_kept)
    inside = _Inside(document, head, record_salt)
    digest, size_bytes, _ = packs.put_stream(sealed_pieces(recipient, inside.pieces()))
    tail = inside.tail
    return Locked(tail.closed_values(), Content(digest, size_bytes), tail.size_bytes)


class _Inside:
    """What is encrypted of one document; `tail` is there once `pieces` came to its end."""

    def __init__(self, document: Document, head: CompartmentHead, record_salt: bytes) -> None:
        self._document, self._head, self._record_salt = document, head, record_salt
        self.tail: CompartmentTail

    def pieces(self) -> Iterator[bytes]:
        """Yield head, content and tail."""
        yield self._head.encode()
        state, chunks, size_bytes = sha256(), ChunkRoot(self._record_salt), 0
        for piece in _passing(pieces_of(self._document), chunks):
            state.update(piece)
            size_bytes += len(piece)
            if self._head.is_kept:
                yield piece
        drawn = secrets.token_bytes(2 * SALT_BYTES)
        self.tail = CompartmentTail(
            drawn[:SALT_BYTES], drawn[SALT_BYTES:], state.digest(), chunks.digest(), size_bytes
        )
        yield self.tail.encode()


def digest_in_place(document: Document, record_salt: bytes) -> Kept:
    """Digest the content and keep nothing of it."""
    state, chunks, size_bytes = sha256(), ChunkRoot(record_salt), 0
    for piece in _passing(pieces_of(document), chunks):
        state.update(piece)
        size_bytes += len(piece)
    return Kept(state.digest(), chunks.digest(), size_bytes)


def pieces_of(document: Document) -> Iterator[bytes]:
    """Read a document's content from its start, in pieces."""
    if document.stream is not None:
        return document.stream()
    if document.data is None:
        raise AssertionError("a document has data or a stream")
    return iter((document.data,))


def _passing(pieces: Iterable[bytes], chunks: ChunkRoot) -> Iterator[bytes]:
    for piece in pieces:
        chunks.update(piece)
        yield piece
