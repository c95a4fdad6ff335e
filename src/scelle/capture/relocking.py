"""Put what was sealed openly into the compartment, by hand: a new record, beside the old one that stays."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from scelle.capture.content import lock_content
from scelle.capture.interfaces import PassTools
from scelle.capture.store import BY_HAND, KEY_BYTES, ItemKeys, parse_side, side_of
from scelle.errors import RestrictedWrong
from scelle.formats.compartments import is_restricted_row, restricted_meta
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.formats.values import NULL, structure_value, text_value
from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedgerWriter
from scelle.sources.interfaces import Document
from scelle.vault.keys import VaultKey

_HOLDER, _NATIVE, _MEDIA_TYPE, _CONTENT, _BASIS, _META = 2, 3, 4, 5, 7, 8
_BODY: Final = 5


@dataclass(frozen=True, slots=True)
class Relocked:
    """The new record: sequence number, and the sides of both, of which item ids are made."""

    seq: int
    side: bytes


def lock_record(tools: PassTools, source: str, alias: str, schema: Schema, row: Row) -> Relocked:
    """Put an open document's content and names into the compartment, as a new record of the same log source.

    Durable when this returns, and sealed with the ledger's next `seal`; nothing is destroyed. Its stamp is not known,
    so that the next pass puts it in once more. Raises `RestrictedWrong` for a record that is no open document, and
    `ContentMissing`.
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
    side = side_of(
        item, _stamp_of(keys, row.seq), secrets.token_bytes(KEY_BYTES), BY_HAND, None, restricted=True
    )
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
    tools.ledger.flush()
    return Relocked(seq, side)


def find_locked(
    ledger: OrderLedgerWriter, vault_key: VaultKey, source: str, alias: str, seq: int
) -> int | None:
    """Return which record `lock_record` made of the open record `seq`, sealed or not; None where there is none."""
    stamp = _stamp_of(ItemKeys(vault_key, source), seq)
    for _, manifest in ledger.manifests():
        if manifest.source == alias and manifest.records and manifest.seq[1] > seq:
            with closing(ledger.segment(manifest)) as reader:
                for row in reader.rows():
                    if _is_by_hand(row, stamp):
                        return row.seq
    writer = ledger.open_rows(alias)
    rows = () if writer is None else writer.flushed_rows()
    return next((row.seq for row in rows if _is_by_hand(row, stamp)), None)


def _is_by_hand(row: Row, stamp: bytes) -> bool:
    found = parse_side(row)
    return found is not None and (found[1].pass_id, found[1].stamp) == (BY_HAND, stamp)


def _stamp_of(keys: ItemKeys, seq: int) -> bytes:
    """Return what stands in place of a stamp, which no source gives: of which open record a restricted one was made."""
    return keys.stamp(b"by hand\0" + seq.to_bytes(8, "big"))


def _document(row: Row, values: list[bytes], read: Callable[[bytes], Iterator[bytes]]) -> Document:
    """Return the sealed document as a source would give it."""
    content = values[_CONTENT]
    digest, size_bytes = content[_BODY:37], int.from_bytes(content[37:], "big")

    def stream() -> Iterator[bytes]:
        return read(digest) if size_bytes else iter(())

    time_us = int.from_bytes(values[0][_BODY:], "big", signed=True)
    media_type, basis = (values[number][_BODY:].decode() for number in (_MEDIA_TYPE, _BASIS))
    return Document(None, stream, size_bytes, media_type, values[_META][_BODY:], time_us, basis, b"")
