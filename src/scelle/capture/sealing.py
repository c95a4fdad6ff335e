"""Seal documents as records of one source: content first, then rows, then the catalog, in groups."""

import json
import secrets
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from scelle.capture.content import Kept, digest_in_place, keep_content, lock_content
from scelle.capture.interfaces import NamedSource, PassTools
from scelle.capture.store import KEY_BYTES, CaptureIndex, ItemKeys, Known, side_of
from scelle.errors import CompartmentMissing, ItemUnreadable
from scelle.formats.canonical_json import canonical_json
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.tokens import TIME_MAX, TIME_MIN
from scelle.formats.values import NULL, UNDATED, content_value, structure_value, text_value
from scelle.ledger.segments import SegmentWriter
from scelle.scope.model import Keep
from scelle.sources.interfaces import Document, Offered, native_text

RACY_NS: Final = 2_000_000_000
GROUP_BYTES: Final = 64 << 20
GROUP_US: Final = 5_000_000
META_MAX_BYTES: Final = 15 << 20
"""A value over 16 MiB would have to be content (ledger.md §11), which metadata is not."""

_ITEM_BYTES: Final = 1024
"""What an item weighs in a group beside its content."""
_KEYS_AT_ONCE: Final = 1024
_word = lru_cache(1024)(text_value)


class Sealed(NamedTuple):
    """What became of a document: its size, the record made of it (None where it was sealed already), and
    whether its bytes changed behind a stamp that did not.
    """

    size_bytes: int
    seq: int | None
    changed_in_place: bool = False


class Sealer:
    """Make documents durable and recorded. A crash loses at most the last group, as if it was never offered."""

    def __init__(
        self, tools: PassTools, named: NamedSource, keys: ItemKeys, index: CaptureIndex, pass_id: int
    ) -> None:
        self._tools, self._alias, self._keys, self._index = tools, named.alias, keys, index
        self._pass_id = pass_id
        self._holder = NULL if named.holder is None else text_value(named.holder)
        self._no_stamp = keys.stamp(b"")
        self._record_keys: Iterator[bytes] = iter(())
        self._group_bytes = 0
        self._group_started_us = tools.now_us()

    def seal(
        self,
        offered: Offered,
        document: Document,
        keep: Keep | None,
        item: bytes,
        known: Known | None,
        *,
        restricted: bool = False,
    ) -> Sealed:
        """Keep the content and append a record, unless `known` is this very version.

        A `restricted` one goes into the compartment; whether it is this very version only its stamp says. What the
        document's stream raises leaves no record and no content. Raises `ItemUnreadable` where the metadata is too
        large for a record.
        """
        if len(document.meta_json) > META_MAX_BYTES:
            raise _metadata_too_large(document)
        if restricted:
            return self._seal_restricted(offered, document, keep, item, known)
        now_us = self._tools.now_us()
        record_key = self._record_key()
        if keep is Keep.DIGEST:
            kept = digest_in_place(document, record_key[:16])
            content = self._keys.content(kept.digest)
        else:
            kept = keep_content(self._tools.packs, document, record_key[:16])
            content = None
        size_bytes = kept.size_bytes
        self._group_bytes += size_bytes + _ITEM_BYTES
        stamp = self._no_stamp if _is_racy(offered, document, now_us) else self._keys.stamp(document.stamp)
        version = self._keys.version(kept.digest, document.meta_json)
        if known is not None and self._is_same(known, stamp, version, content):
            if known.stamp != stamp:
                self._index.remember(item, known._replace(stamp=stamp))
            return Sealed(size_bytes, None)
        values = self._values(offered, document, kept, is_in_place=content is not None)
        side = side_of(item, stamp, version, self._pass_id, content)
        seq = self._writer(now_us).append(record_key, _time_us(document), values, side)
        number = self._index.new_number() if known is None else known.number
        self._index.remember(item, Known(stamp, version, content, seq, self._pass_id, number))
        return Sealed(size_bytes, seq, known is not None and self._are_in_place(known, stamp, content))

    def _seal_restricted(
        self, offered: Offered, document: Document, keep: Keep | None, item: bytes, known: Known | None
    ) -> Sealed:
        """Put the document into the compartment; its record says its times, and nothing that is in it.

        No hash of the content is kept to tell versions apart, so that nobody can ask whether two items are equal, or
        one is a given file: `version` is random.
        """
        tools, is_kept = self._tools, keep is not Keep.DIGEST
        if tools.compartment is None:
            raise CompartmentMissing("the vault has no compartment: make one with `scelle restricted init`")
        now_us = tools.now_us()
        record_key = self._record_key()
        locked = lock_content(
            tools.packs, tools.compartment, document, offered.native, record_key[:16], is_kept=is_kept
        )
        self._group_bytes += locked.ciphertext.size_bytes + _ITEM_BYTES
        stamp = self._no_stamp
        if document.stamp and not _is_racy(offered, document, now_us):
            stamp = self._keys.stamp(item + document.stamp)
        version = secrets.token_bytes(KEY_BYTES)
        shadow = self._keys.shadow(offered.native)
        values = locked.row_values(self._holder, shadow, document.time_basis, is_kept=is_kept)
        side = side_of(item, stamp, version, self._pass_id, None, restricted=True)
        seq = self._writer(now_us).append(record_key, _time_us(document), values, side)
        number = self._index.new_number() if known is None else known.number
        self._index.remember(item, Known(stamp, version, None, seq, self._pass_id, number, restricted=1))
        return Sealed(locked.size_bytes, seq)

    def keep_pace(self) -> None:
        """Commit what was gathered once it is large or a few seconds old, also where the clock jumped back."""
        now_us = self._tools.now_us()
        if self._group_bytes >= GROUP_BYTES or not 0 <= now_us - self._group_started_us < GROUP_US:
            self.commit(now_us)

    def commit(self, now_us: int) -> None:
        """Make contents, rows, then the catalog durable: a row never names content that could be lost.

        Segments that are full, or were open for 15 minutes, are sealed.
        """
        tools = self._tools
        if self._group_bytes:
            tools.packs.sync()
            tools.ledger.flush()
            self._index.flush(tools.ledger, self._alias)
            tools.catalog.commit()
        full = tools.full_sources([self._alias], now_us)
        if full:
            tools.ledger.seal(now_us, only=full)
        self._group_bytes = 0
        self._group_started_us = now_us

    # --- inside

    def _is_same(self, known: Known, stamp: bytes, version: bytes, content: bytes | None) -> bool:
        """Tell whether the version just read is the one that is sealed.

        Never where only the digest was kept and the content is wanted now. Where only the digest is kept and
        the stamp is the same, the content decides: metadata says of a mail where in its mbox it stands.
        """
        if known.content is not None and content is None:
            return False
        if self._are_in_place(known, stamp, content):
            return known.content == content
        return known.version == version

    def _are_in_place(self, known: Known, stamp: bytes, content: bytes | None) -> bool:
        """Tell whether both are kept by their digest only, and their stamps say "unchanged"."""
        if known.content is None or content is None:
            return False
        return known.stamp == stamp != self._no_stamp

    def _record_key(self) -> bytes:
        for key in self._record_keys:
            return key
        drawn = secrets.token_bytes(32 * _KEYS_AT_ONCE)
        self._record_keys = iter([drawn[at : at + 32] for at in range(0, len(drawn), 32)])
        return self._record_key()

    def _values(self, offered: Offered, document: Document, kept: Kept, *, is_in_place: bool) -> list[bytes]:
        """Return the values of the record behind time and sequence number (ledger.md §2)."""
        digest, chunks, size_bytes = kept
        meta = document.meta_json
        return [
            self._holder,
            text_value(native_text(offered.native)),
            _word(document.media_type),
            content_value(digest, size_bytes),
            content_value(chunks, size_bytes),
            _word(document.time_basis),
            structure_value(_kept_in_place(meta) if is_in_place else meta),
        ]

    def _writer(self, now_us: int) -> SegmentWriter:
        ledger = self._tools.ledger
        if ledger.is_full(self._alias, now_us):
            self.commit(now_us)
        writer = ledger.writer(self._alias, DOCUMENT_V1, now_us)
        writer.before_frame = self._tools.packs.sync  # else a kill could leave rows whose contents never came
        return writer


def _is_racy(offered: Offered, document: Document, now_us: int) -> bool:
    """Tell whether a later change in the same clock tick could hide behind equal times.

    So it is for what was written within two seconds of now, and for what changed since it was offered.
    """
    if document.stamp != offered.stamp:
        return True
    mtime_ns = offered.mtime_ns
    return mtime_ns != 0 and abs(now_us * 1000 - mtime_ns) < RACY_NS


def _time_us(document: Document) -> int:
    """Return the item's time; undated where a file system with 64-bit seconds leaves what a record can say."""
    return document.time_us if TIME_MIN <= document.time_us <= TIME_MAX else UNDATED


def _metadata_too_large(document: Document) -> ItemUnreadable:
    return ItemUnreadable(
        f"metadata of {len(document.meta_json)} bytes is more than a record takes: remove extended attributes",
        "metadata-too-large",
    )


def _kept_in_place(meta_json: bytes) -> bytes:
    """Mark a record whose content stays where it was: only its digest is sealed."""
    return canonical_json({**json.loads(meta_json), "keep": "digest"})
