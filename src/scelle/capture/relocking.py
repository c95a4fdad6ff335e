"""Put what was sealed openly into the compartment, by hand: a new record, beside the old one that stays."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from scelle.capture.content import lock_content
from scelle.capture.interfaces import PassTools
from scelle.capture.store import KEY_BYTES, ItemKeys, parse_side, side_of
from scelle.errors import RestrictedWrong
from scelle.formats.compartments import is_restricted_row, restricted_meta
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.formats.values import NULL, structure_value, text_value
from scelle.ledger.rows import Row
from scelle.sources.interfaces import Document

_HOLDER, _NATIVE, _MEDIA_TYPE, _CONTENT, _BASIS, _META = 2, 3, 4, 5, 7, 8
_BODY: Final = 5
_BY_HAND: Final = 0
"""The pass id of a record that no pass made."""


@dataclass(frozen=True, slots=True)
class Relocked:
    """The new record: sequence number, and the sides of both, of which item ids are made."""

    seq: int
    side: bytes


def lock_record(tools: PassTools, source: str, alias: str, schema: Schema, row: Row) -> Relocked:
    """Put an open document's content and names into the compartment, as a new record of the same log source.

    Durable and sealed when this returns; nothing is destroyed. Its stamp is not known, so that the next pass puts it in
    once more. Raises `RestrictedWrong` for a record that is no open document, and `ContentMissing`.
    """
    values, found = row.split_values(), parse_side(row)
    if schema.digest != DOCUMENT_V1.digest or found is None:
        raise RestrictedWrong("only documents go into the compartment: this is a record of another kind")
    if is_restricted_row(values):
        raise RestrictedWrong("it lies in the compartment already")
    if tools.compartment is None or values[_CONTENT][:1] != b"h" or found[1].content is not None:
        raise RestrictedWrong("its content is not in the vault: only its digest was kept")
    item, keys = found[0], ItemKeys(tools.vault_key, source)
    native, record_key = values[_NATIVE][_BODY:], secrets.token_bytes(32)
    locked = lock_content(
        tools.packs,
        tools.compartment,
        _document(row, values, tools.packs.read),
        native,
        record_key[:16],
        is_kept=True,
    )
    side = side_of(item, keys.stamp(b""), secrets.token_bytes(KEY_BYTES), _BY_HAND, None, restricted=True)
    closed = [
        values[_HOLDER],
        text_value(keys.shadow(native)),
        NULL,
        *locked.closed,
        values[_BASIS],
        structure_value(restricted_meta(locked.ciphertext, is_kept=True)),
    ]
    tools.packs.sync()
    writer = tools.ledger.writer(alias, DOCUMENT_V1, tools.now_us())
    seq = writer.append(record_key, int.from_bytes(values[0][_BODY:], "big", signed=True), closed, side)
    tools.ledger.seal(tools.now_us())
    return Relocked(seq, side)


def _document(row: Row, values: list[bytes], read: Callable[[bytes], Iterator[bytes]]) -> Document:
    """Return the sealed document as a source would give it."""
    content = values[_CONTENT]
    digest, size_bytes = content[_BODY:37], int.from_bytes(content[37:], "big")

    def stream() -> Iterator[bytes]:
        return read(digest) if size_bytes else iter(())

    time_us = int.from_bytes(values[0][_BODY:], "big", signed=True)
    media_type, basis = (values[number][_BODY:].decode() for number in (_MEDIA_TYPE, _BASIS))
    return Document(None, stream, size_bytes, media_type, values[_META][_BODY:], time_us, basis, b"")
