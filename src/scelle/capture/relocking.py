"""Put what was sealed openly into the compartment, by hand: a new record, beside the old one that stays."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from scelle.capture.content import lock_content
from scelle.capture.families import Family
from scelle.capture.identity import NATIVE_ID
from scelle.capture.interfaces import PassTools
from scelle.capture.restricted_records import RESTRICTED_MEMBER, record_document
from scelle.capture.store import BY_HAND, KEY_BYTES, ItemKeys, parse_side, side_of, without_pass
from scelle.errors import CompartmentMissing, RestrictedWrong
from scelle.formats.compartments import is_restricted_row
from scelle.formats.records import RECORD_KEY_BYTES, SALT_BYTES
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.formats.values import NULL
from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedgerWriter
from scelle.sources.interfaces import UNDATED, Document, Member, Record
from scelle.sources.interfaces import Content as Attached
from scelle.vault.keys import VaultKey

_HOLDER, _MEDIA_TYPE, _CONTENT, _BASIS, _META = 2, 4, 5, 7, 8
_BODY: Final = 5


@dataclass(frozen=True, slots=True)
class Relocked:
    """Where the new record stands: log source and sequence number."""

    alias: str
    seq: int


def lock_record(tools: PassTools, source: str, alias: str, schema: Schema, row: Row) -> Relocked:
    """Put an open record's content and names into the compartment, as a new record; nothing is destroyed.

    Durable when this returns, and sealed with the ledger's next `seal`. A document's is of the same log source, and its
    stamp is not known, so that the next pass puts it in once more; another record's is where a pass puts those that are
    restricted. Raises `RestrictedWrong` for what lies in the compartment or was never kept, and `ContentMissing`.
    """
    values = row.split_values()
    if is_restricted_row(values):
        raise RestrictedWrong("it lies in the compartment already")
    if tools.compartment is None:
        raise CompartmentMissing("the vault has no compartment: make one with `scelle restricted init`")
    keys, record_key = ItemKeys(tools.vault_key, source), secrets.token_bytes(RECORD_KEY_BYTES)
    number = schema.field_number(NATIVE_ID)
    if number is None or values[number] == NULL:
        raise RestrictedWrong("its source gave it no native id: nothing could be found by it again")
    native = values[number][_BODY:]
    if schema.digest == DOCUMENT_V1.digest:
        document, side = _document(row, values, tools.packs.read), _side_of_document(keys, row)
    else:
        record = _record(schema, row, values, native, tools.packs.read)
        document = record_document(Member(schema.name, schema), record)
        side, alias = without_pass(row.side), _family_of(tools.ledger, alias).assign(RESTRICTED_MEMBER)
    locked = lock_content(
        tools.packs, tools.compartment, document, native, record_key[:SALT_BYTES], is_kept=True
    )
    closed = locked.row_values(values[_HOLDER], keys.shadow(native), document.time_basis, is_kept=True)
    tools.packs.sync()
    writer = tools.ledger.writer(alias, DOCUMENT_V1, tools.now_us())
    seq = writer.append(record_key, document.time_us, closed, side)
    tools.ledger.flush()
    return Relocked(alias, seq)


def find_locked(
    ledger: OrderLedgerWriter, vault_key: VaultKey, source: str, alias: str, schema: Schema, row: Row
) -> Relocked | None:
    """Return which record `lock_record` made of an open one, sealed or not; None where there is none."""
    if schema.digest == DOCUMENT_V1.digest:
        where, is_made = alias, _is_by_hand(_stamp_of(ItemKeys(vault_key, source), row.seq))
    else:
        found = _family_of(ledger, alias).find(RESTRICTED_MEMBER)
        if found is None:
            return None
        where, is_made = found, _has_side(without_pass(row.side))
    for _, manifest in ledger.manifests():
        if manifest.source == where and manifest.records:
            with closing(ledger.segment(manifest)) as reader:
                for each in reader.rows():
                    if is_made(each):
                        return Relocked(where, each.seq)
    writer = ledger.open_rows(where)
    rows = () if writer is None else writer.flushed_rows()
    return next((Relocked(where, each.seq) for each in rows if is_made(each)), None)


def _family_of(ledger: OrderLedgerWriter, alias: str) -> Family:
    return Family(ledger, alias.rpartition("/")[0])


def _has_side(side: bytes) -> Callable[[Row], bool]:
    return lambda row: row.side == side


def _is_by_hand(stamp: bytes) -> Callable[[Row], bool]:
    def is_made(row: Row) -> bool:
        found = parse_side(row)
        return found is not None and (found[1].pass_id, found[1].stamp) == (BY_HAND, stamp)

    return is_made


def _side_of_document(keys: ItemKeys, row: Row) -> bytes:
    found = parse_side(row)
    if found is None or found[1].content is not None:
        raise RestrictedWrong("its content is not in the vault: only its digest was kept")
    stamp, version = _stamp_of(keys, row.seq), secrets.token_bytes(KEY_BYTES)
    return side_of(found[0], stamp, version, BY_HAND, None, restricted=True)


def _stamp_of(keys: ItemKeys, seq: int) -> bytes:
    """Return what stands in place of a stamp, which no source gives: of which open record a restricted one was made."""
    return keys.stamp(b"by hand\0" + seq.to_bytes(8, "big"))


def _record(
    schema: Schema, row: Row, values: list[bytes], native: bytes, read: Callable[[bytes], Iterator[bytes]]
) -> Record:
    """Return the sealed record as a source would give it, its contents read from the vault."""
    account = None if values[_HOLDER] == NULL else values[_HOLDER][_BODY:].decode()
    contents = tuple(
        Attached(number, _content_document(values[number], read))
        for number, field in enumerate(schema.fields)
        if field.type == "h" and values[number][:1] == b"h"
    )
    time_us = int.from_bytes(values[0][_BODY:], "big", signed=True)
    return Record(schema.name, native, time_us, account, values[2:], b"", len(row.values), contents)


def _content_document(value: bytes, read: Callable[[bytes], Iterator[bytes]]) -> Document:
    digest, size_bytes = value[_BODY:37], int.from_bytes(value[37:], "big")

    def stream() -> Iterator[bytes]:
        return read(digest) if size_bytes else iter(())

    return Document(None, stream, size_bytes, "", b"{}", UNDATED, "", b"")


def _document(row: Row, values: list[bytes], read: Callable[[bytes], Iterator[bytes]]) -> Document:
    """Return the sealed document as a source would give it."""
    content = _content_document(values[_CONTENT], read)
    time_us = int.from_bytes(values[0][_BODY:], "big", signed=True)
    media_type, basis = (values[number][_BODY:].decode() for number in (_MEDIA_TYPE, _BASIS))
    return replace(
        content, media_type=media_type, meta_json=values[_META][_BODY:], time_us=time_us, time_basis=basis
    )
