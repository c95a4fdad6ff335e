"""Take one source through one pass: offer, match, seal, and note what vanished."""

import json
import secrets
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from scelle.capture.content import Kept, digest_in_place, keep_content
from scelle.capture.interfaces import NamedSource, PassTools
from scelle.capture.model import Problem, SourceReport
from scelle.capture.problems import ProblemLog, RecordEvent
from scelle.capture.sealed import native_ids
from scelle.capture.store import CaptureIndex, ItemKeys, Known, side_of
from scelle.errors import FormatError, ItemChanged, ItemError, ItemUnreadable, ItemVanished, SourceError
from scelle.formats.canonical_json import canonical_json
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.tokens import TIME_MAX, TIME_MIN
from scelle.formats.values import NULL, UNDATED, content_value, structure_value, text_value
from scelle.ledger.segments import SegmentWriter
from scelle.ledger.service import EVENTS_SOURCE
from scelle.scope.model import ItemView, Keep, Match
from scelle.sources.interfaces import Document, Kind, Offered, Trouble, native_text

RACY_NS: Final = 2_000_000_000
GROUP_BYTES: Final = 64 << 20
GROUP_US: Final = 5_000_000
META_MAX_BYTES: Final = 16 << 20
"""A larger value is content (ledger.md §11); no metadata of a document is."""

_ITEM_BYTES: Final = 1024
"""What an item weighs in a group beside its content."""
_KEYS_AT_ONCE: Final = 1024
_word = lru_cache(1024)(text_value)

Decide = Callable[[ItemView], Match]


class SourcePass:
    """One source in one pass."""

    def __init__(
        self,
        tools: PassTools,
        named: NamedSource,
        decide: Decide,
        *,
        needs_media_type: bool,
        pass_id: int,
        record: RecordEvent,
    ) -> None:
        self._tools, self._named, self._decide, self._record = tools, named, decide, record
        self._needs_media_type, self._pass_id = needs_media_type, pass_id
        self._keys = ItemKeys(tools.vault_key, named.name)
        self._no_stamp = self._keys.stamp(b"")
        self._index = CaptureIndex(tools.catalog, tools.ledger.order, named.name)
        self._report = SourceReport(named.name, named.alias)
        self._counts = self._report.counts
        self._failed = ProblemLog(record, "items.failed", self._report.failed)
        self._lost = ProblemLog(record, "items.lost", self._report.lost)
        self._specials = ProblemLog(record, "items.excluded", [])
        self._holder = NULL if named.holder is None else text_value(named.holder)
        self._record_keys: Iterator[bytes] = iter(())
        self._group_bytes = 0
        self._group_started_us = tools.now_us()
        self._seen, self._seen_from = bytearray(), 0

    def run(self) -> SourceReport:
        """Offer, match and seal everything; then note what vanished."""
        counts, progress, name = self._counts, self._tools.progress, self._named.name
        self._index.catch_up(self._tools.ledger, self._named.alias)
        low, high = self._index.bounds()
        self._seen_from, self._seen = low, bytearray(high - low + 1)
        try:
            self._named.source.test()
            for offered in self._named.source.offered():
                counts.offered += 1
                self._take(offered)
                progress(name, counts)
        except SourceError as error:
            self._report.unreachable = f"{error.code}: {error}"
            self._report.vanished_unknown = True
        self._group_commit(self._tools.now_us())
        if not self._report.vanished_unknown:
            self._note_vanished()
        for log in (self._failed, self._specials, self._lost):
            log.flush()
        return self._report

    # --- one item, into one bucket

    def _take(self, offered: Offered | Trouble) -> None:
        item = self._keys.item(offered.native)
        known = self._index.find(item)
        if known is not None:
            self._mark_seen(known)
        if isinstance(offered, Trouble):
            self._report.vanished_unknown |= known is None  # what lies below it was not offered
            self._fail(offered, offered.cause, "")
            return
        if offered.kind is Kind.SPECIAL:
            self._counts.excluded_by[offered.reason] += 1
            self._specials.add(Problem(native_text(offered.native), offered.reason))
            return
        match = self._decide(self._view(offered, offered.time_us, ""))
        if not match.covered:
            self._exclude(match)
        elif known is not None and self._is_unchanged(offered, known):
            self._count(offered, offered.size_bytes, is_new=known.pass_id == self._pass_id)
        else:
            self._try_to_seal(offered, match, item, known)
        now_us = self._tools.now_us()
        if self._group_bytes >= GROUP_BYTES or not 0 <= now_us - self._group_started_us < GROUP_US:
            self._group_commit(now_us)

    def _view(self, offered: Offered, time_us: int, media_type: str) -> ItemView:
        named = self._named
        return ItemView(named.name, offered.path, time_us, media_type, named.custodian, named.account)

    def _is_unchanged(self, offered: Offered, known: Known) -> bool:
        """Tell whether the stamp says so; what is only digested is read again, whatever its stamp says."""
        stamp = offered.stamp
        return bool(stamp) and known.content is None and self._keys.stamp(stamp) == known.stamp

    def _try_to_seal(self, offered: Offered, match: Match, item: bytes, known: Known | None) -> None:
        """Read once, and once more where the item changed meanwhile; a second change fails it."""
        try:
            try:
                self._seal(offered, match, item, known)
            except ItemChanged:
                self._seal(offered, match, item, known)
        except ItemVanished as error:
            self._counts.lost += 1
            self._lost.add(Problem(native_text(offered.native), error.cause, str(error)))
        except ItemError as error:
            self._fail(offered, error.cause, str(error))
        except SourceError as error:  # the source itself is gone: the item keeps its bucket
            self._fail(offered, "source-unreachable", str(error))
            raise

    def _exclude(self, match: Match) -> None:
        reason = match.excluded_by
        self._counts.excluded_by["rule" if reason is None else reason.value] += 1

    def _fail(self, offered: Offered | Trouble, cause: str, detail: str) -> None:
        self._counts.failed += 1
        self._counts.failed_by[cause] += 1
        self._failed.add(Problem(native_text(offered.native), cause, detail))

    def _count(self, offered: Offered, size_bytes: int, *, is_new: bool) -> None:
        """Count an item whose current version is sealed: new where this pass sealed it, in whichever run."""
        counts = self._counts
        if is_new:
            counts.new += 1
        else:
            counts.unchanged += 1
        counts.bytes += size_bytes
        if offered.kind is Kind.LINK:
            counts.links += 1

    # --- sealing

    def _seal(self, offered: Offered, match: Match, item: bytes, known: Known | None) -> None:
        """Read, keep and record. What is raised by the source leaves no count, no record and no content."""
        document = self._named.source.read(offered)
        if self._needs_media_type or document.time_us != offered.time_us:
            match = self._decide(self._view(offered, document.time_us, document.media_type))
            if not match.covered:
                self._exclude(match)
                return
        record_key = self._record_key()
        is_in_place = match.keep is Keep.DIGEST
        if is_in_place:
            kept = digest_in_place(document, record_key[:16])
        else:
            kept = keep_content(self._tools.packs, document, record_key[:16])
        stamp = self._no_stamp if self._is_racy(offered, document) else self._keys.stamp(document.stamp)
        now = Known(
            stamp,
            self._keys.version(kept.digest, document.meta_json),
            self._keys.content(kept.digest) if is_in_place else None,
            0,
            self._pass_id,
        )
        if known is not None and self._is_same(known, now):
            if known.stamp != stamp:
                self._index.remember(item, known._replace(stamp=stamp))
            self._count(offered, kept.size_bytes, is_new=known.pass_id == self._pass_id)
        else:
            seq = self._append(offered, document, record_key, kept, item, now)
            self._index.remember(item, now._replace(seq=seq))
            self._count(offered, kept.size_bytes, is_new=True)
            if known is not None and self._changed_in_place(known, now):
                self._say_changed_in_place(offered, known.seq, seq)
        self._group_bytes += kept.size_bytes + _ITEM_BYTES

    def _is_racy(self, offered: Offered, document: Document) -> bool:
        """Tell whether a later change in the same clock tick could hide behind equal times.

        So it is for what was written within two seconds of now, and for what changed since it was offered.
        """
        if document.stamp != offered.stamp:
            return True
        mtime_ns = offered.mtime_ns
        return mtime_ns != 0 and abs(self._tools.now_us() * 1000 - mtime_ns) < RACY_NS

    def _is_same(self, known: Known, now: Known) -> bool:
        """Tell whether the version just read is the one that is sealed.

        Never where only the digest was kept and the content is wanted now.
        """
        if known.content is not None:
            if now.content is None:
                return False
            if known.stamp == now.stamp != self._no_stamp:
                return known.content == now.content
        return known.version == now.version

    def _changed_in_place(self, known: Known, now: Known) -> bool:
        return (
            known.content is not None
            and now.content is not None
            and known.stamp == now.stamp != self._no_stamp
        )

    def _say_changed_in_place(self, offered: Offered, sealed_seq: int, seq: int) -> None:
        """Seal that bytes changed although nothing about the file says so: damage, or somebody hid it."""
        native = native_text(offered.native)
        self._counts.changed_in_place += 1
        body = {"native": native, "sealed_seq": sealed_seq, "seq": seq}
        self._record("item.changed-in-place", body)
        if len(self._report.changed_in_place) < SHOWN_ITEMS:
            self._report.changed_in_place.append(Problem(native, "changed-in-place"))

    def _record_key(self) -> bytes:
        for key in self._record_keys:
            return key
        drawn = secrets.token_bytes(32 * _KEYS_AT_ONCE)
        self._record_keys = iter([drawn[at : at + 32] for at in range(0, len(drawn), 32)])
        return self._record_key()

    def _append(
        self, offered: Offered, document: Document, record_key: bytes, kept: Kept, item: bytes, now: Known
    ) -> int:
        """Append the record and return its sequence number; raise ItemUnreadable where it has no form."""
        meta = document.meta_json if now.content is None else _kept_in_place(document.meta_json)
        if len(meta) > META_MAX_BYTES:
            raise ItemUnreadable(
                f"metadata of {len(meta)} bytes is more than a record takes: remove extended attributes",
                "metadata-too-large",
            )
        digest, chunks, size_bytes = kept
        values = [
            self._holder,
            text_value(native_text(offered.native)),
            _word(document.media_type),
            content_value(digest, size_bytes),
            content_value(chunks, size_bytes),
            _word(document.time_basis),
            structure_value(meta),
        ]
        time_us = document.time_us
        if not TIME_MIN <= time_us <= TIME_MAX:  # file systems with 64-bit seconds; `meta` has it as it is
            time_us = UNDATED
        return self._writer().append(record_key, time_us, values, side_of(item, now))

    def _writer(self) -> SegmentWriter:
        tools, alias = self._tools, self._named.alias
        now_us = tools.now_us()
        if tools.ledger.is_full(alias, now_us):
            self._group_commit(now_us)
        return tools.ledger.writer(alias, DOCUMENT_V1, now_us)

    def _group_commit(self, now_us: int) -> None:
        """Make contents, rows, then the catalog durable: a row never names content that could be lost.

        Segments that are full, or were open for 15 minutes, are sealed.
        """
        tools, alias = self._tools, self._named.alias
        if self._group_bytes:
            tools.packs.sync()
            tools.ledger.flush()
            self._index.flush(tools.ledger, alias)
            tools.catalog.commit()
        full = [each for each in (alias, EVENTS_SOURCE) if tools.ledger.is_full(each, now_us)]
        if full:
            tools.ledger.seal(now_us, only=full)
        self._group_bytes = 0
        self._group_started_us = now_us

    # --- what is no longer there

    def _mark_seen(self, known: Known) -> None:
        place = known.row - self._seen_from
        if 0 <= place < len(self._seen):
            self._seen[place] = 1
        if known.gone:
            self._index.mark_gone(known.row, False)

    def _note_vanished(self) -> None:
        """Count and name the items sealed before that the source no longer offers; they stay sealed."""
        vanished = {}
        for row, seq, is_in_place in self._index.present():
            place = row - self._seen_from
            if 0 <= place < len(self._seen) and not self._seen[place]:
                vanished[seq] = row, is_in_place
        log = ProblemLog(self._record, "items.vanished", [])
        for seq, native in native_ids(self._tools.ledger, self._named.alias, vanished):
            _, is_in_place = vanished[seq]
            log.add(Problem(native, "vanished", "only its digest was kept" if is_in_place else ""))
        log.flush()
        for row, is_in_place in vanished.values():
            self._index.mark_gone(row, True)
            self._counts.vanished += 1
            self._counts.vanished_in_place += is_in_place
        self._tools.catalog.commit()


def _kept_in_place(meta_json: bytes) -> bytes:
    """Mark a record whose content stays where it was: only its digest is sealed."""
    return canonical_json({**json.loads(meta_json), "keep": "digest"})
