"""Run one pass over an order's sources: enumerate, match, seal, reconcile.

A pass may be killed anywhere. What `group commit` made durable is found again: contents by the pack store,
rows by the open segments, which also tell the catalog what it missed. The next run continues the same pass
under the same id, so that nothing is lost, counted twice or read again.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from scelle.capture.model import Counts, Problem
from scelle.capture.store import CaptureIndex, ItemKeys, Side, finish_pass, start_pass
from scelle.errors import ItemChanged, ItemError, ItemVanished, SourceError
from scelle.formats.canonical_json import canonical_json
from scelle.formats.entries import Count, Entry, Gap
from scelle.formats.records import ChunkRoot, chunk_root
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import NULL, content_value, structure_value, text_value
from scelle.ledger.events import record_event
from scelle.ledger.segments import SegmentWriter
from scelle.ledger.service import OrderLedgerWriter
from scelle.scope.compiled import compile_clauses
from scelle.scope.model import Clause, ItemView, Keep, Match
from scelle.sources.interfaces import Document, Kind, Offered, Source, Trouble, native_text
from scelle.vault.catalog import Catalog
from scelle.vault.keys import VaultKey
from scelle.vault.packs import PackStore

RACY_NS = 2_000_000_000
GROUP_BYTES = 64 << 20
GROUP_US = 5_000_000
EVENT_ITEMS = 1000
_KEYS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source as an order knows it: human name, neutral alias, whose it is, and how to read it."""

    name: str
    alias: str
    system: str
    custodian: str | None
    account: str | None
    source: Source

    @property
    def holder(self) -> str | None:
        """Return the identifier of dimension account, with its kind (ledger.md §2)."""
        if self.custodian is not None:
            return f"custodian:{self.custodian}"
        return None if self.account is None else f"account:{self.account}"


@dataclass(slots=True)
class SourceReport:
    """What a pass did with one source."""

    name: str
    alias: str
    counts: Counts = field(default_factory=Counts)
    failed: list[Problem] = field(default_factory=list)
    excluded: list[Problem] = field(default_factory=list)
    lost: list[Problem] = field(default_factory=list)
    vanished: int = 0
    unreachable: str | None = None


@dataclass(slots=True)
class PassReport:
    """What a pass did: per source and in total."""

    started_us: int
    finished_us: int = 0
    sources: list[SourceReport] = field(default_factory=list)

    @property
    def total(self) -> Counts:
        """Sum the counts of all sources."""
        total = Counts()
        for report in self.sources:
            total.add(report.counts)
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the report as `preserve --json` prints it and the pass event seals it."""
        sources = {
            report.name: {
                **report.counts.to_json(),
                "alias": report.alias,
                "unreachable": report.unreachable,
            }
            for report in self.sources
        }
        return {**self.total.to_json(), "sources": sources}


Progress = Callable[[str, Counts], None]


@dataclass(slots=True)
class PassTools:
    """What a pass works with; built by `bootstrap`."""

    ledger: OrderLedgerWriter
    packs: PackStore
    catalog: Catalog
    vault_key: VaultKey
    now_us: Callable[[], int]
    actor: str
    progress: Progress = lambda name, counts: None


def run_pass(tools: PassTools, clauses: Sequence[Clause], sources: Sequence[NamedSource]) -> PassReport:
    """Seal what the clauses cover now and return the reconciled report.

    Atomic per group commit; the pass itself ends with one manifest for each source (zero records allowed),
    its counts in the log, and the pass event, all under one checkpoint. Raises `CountsDoNotAddUp`, which is a
    fault of Scellé, and StorageError; what sources do is in the report.
    """
    ledger = tools.ledger
    report = PassReport(started_us=tools.now_us())
    pass_id = start_pass(tools.catalog, ledger.order, secrets.randbits(62))
    decide = compile_clauses(clauses)
    entries: list[Entry] = []
    for named in sources:
        capture = _SourcePass(tools, named, decide, any(clause.media_types for clause in clauses), pass_id)
        source_report = capture.run()
        report.sources.append(source_report)
        source_report.counts.reconcile(named.name)
        _record_problems(tools, source_report)
        entries += _entries(tools, named, source_report, report.started_us)
    report.finished_us = tools.now_us()
    record_event(
        ledger,
        report.finished_us,
        tools.actor,
        "pass",
        {"started_us": str(report.started_us), "finished_us": str(report.finished_us), **report.to_json()},
    )
    tools.packs.sync()
    ledger.seal(
        tools.now_us(),
        looked=[(named.alias, DOCUMENT_V1) for named in sources],
        entries=entries,
    )
    # A crash before this line repeats the pass, which finds everything unchanged.
    finish_pass(tools.catalog, ledger.order)
    return report


def _entries(tools: PassTools, named: NamedSource, report: SourceReport, started_us: int) -> Iterator[Entry]:
    counts, now_us = report.counts, max(tools.now_us(), started_us + 1)
    open_gaps = [gap for gap in tools.ledger.gaps() if gap.source == named.alias and gap.interval[1] is None]
    if counts.lost:
        yield Gap(
            order=tools.ledger.order,
            source=named.alias,
            interval=(started_us, now_us),
            cause="vanished-while-read",
            lost_at_most=counts.lost,
            closes=None,
        )
    for index, gap in enumerate(tools.ledger.entries):
        if gap in open_gaps and isinstance(gap, Gap) and report.unreachable is None:
            yield replace(gap, interval=(gap.interval[0], now_us), closes=index)
    if report.unreachable is not None and not open_gaps:
        yield Gap(
            order=tools.ledger.order,
            source=named.alias,
            interval=(started_us, None),
            cause="source-unreachable",
            lost_at_most=None,
            closes=None,
        )
    yield Count(
        order=tools.ledger.order,
        source=named.alias,
        interval=(started_us, now_us),
        offered=counts.offered,
        sealed=counts.sealed,
        failed=counts.failed,
        excluded=counts.excluded,
        lost=counts.lost,
        system=named.system,
    )


def _record_problems(tools: PassTools, report: SourceReport) -> None:
    for kind, problems in (
        ("items.failed", report.failed),
        ("items.excluded", report.excluded),
        ("items.lost", report.lost),
    ):
        for start in range(0, len(problems), EVENT_ITEMS):
            body = {
                "source": report.alias,
                "items": [problem.to_json() for problem in problems[start : start + EVENT_ITEMS]],
            }
            record_event(tools.ledger, tools.now_us(), tools.actor, kind, body)


class _SourcePass:
    """One source in one pass."""

    def __init__(
        self,
        tools: PassTools,
        named: NamedSource,
        decide: Callable[[ItemView], Match],
        needs_media_type: bool,
        pass_id: int,
    ) -> None:
        self._tools, self._named, self._decide = tools, named, decide
        self._needs_media_type, self._pass_id = needs_media_type, pass_id
        self._keys = ItemKeys(tools.vault_key, named.name)
        self._index = CaptureIndex(tools.catalog, tools.ledger.order, named.name)
        self._report = SourceReport(named.name, named.alias)
        self._counts = self._report.counts
        holder = named.holder
        self._holder = NULL if holder is None else text_value(holder)
        self._group_bytes = 0
        self._group_started_us = tools.now_us()
        self._record_keys: Iterator[bytes] = iter(())
        self._seen: bytearray = bytearray()
        self._seen_from = 0

    def run(self) -> SourceReport:
        """Offer, match and seal everything; then note what vanished."""
        self._learn_from_segments()
        low, high = self._index.bounds()
        self._seen_from, self._seen = low, bytearray(high - low + 1)
        try:
            self._named.source.test()
            for offered in self._named.source.offered():
                self._counts.offered += 1
                self._take(offered)
                self._tools.progress(self._named.name, self._counts)
        except SourceError as error:
            self._report.unreachable = f"{error.code}: {error}"
        self._group_commit()
        if self._report.unreachable is None:
            self._note_vanished()
        return self._report

    def _learn_from_segments(self) -> None:
        """Tell the catalog what it does not know: after a crash, or once deleted, rows are ahead of it."""
        ledger, alias = self._tools.ledger, self._named.alias
        for _, manifest in ledger.manifests():
            if manifest.source == alias and manifest.records and manifest.number >= self._index.learned:
                self._index.learn(row.side for row in ledger.segment(manifest).rows())
        writer = ledger.open_rows(alias)
        if writer is not None:
            self._index.learn(row.side for row in writer.flushed_rows())
        self._index.set_learned(ledger.state.chain(alias).next_number)
        self._tools.catalog.commit()

    def _take(self, offered: Offered | Trouble) -> None:
        if isinstance(offered, Trouble):
            self._fail(offered.native, offered.cause, "")
            return
        if offered.kind is Kind.SPECIAL:
            self._counts.excluded_by[offered.reason] += 1
            self._report.excluded.append(Problem(native_text(offered.native), offered.reason))
            return
        named = self._named
        match = self._decide(
            ItemView(named.name, offered.path, offered.time_us, "", named.custodian, named.account)
        )
        if not match.covered:
            self._exclude(match)
            return
        item = self._keys.item(offered.native)
        known = self._index.find(item)
        stamp = self._keys.stamp(offered.stamp)
        if known is not None:
            self._mark_seen(known.rowid, known.gone)
            if known.stamp == stamp and offered.stamp and match.keep is not Keep.DIGEST:
                self._unchanged(offered, known.pass_id)
                return
        try:
            self._read_and_seal(offered, match, item, known.version if known else None)
        except ItemVanished as error:
            self._counts.lost += 1
            self._report.lost.append(Problem(native_text(offered.native), error.code, str(error)))
        except ItemError as error:
            self._fail(offered.native, error.code, str(error))

    def _exclude(self, match: Match) -> None:
        reason = match.excluded_by
        self._counts.excluded_by["rule" if reason is None else reason.value] += 1

    def _fail(self, native: bytes, cause: str, detail: str) -> None:
        self._counts.failed += 1
        self._counts.failed_by[cause] += 1
        self._report.failed.append(Problem(native_text(native), cause, detail))

    def _unchanged(self, offered: Offered, pass_id: int) -> None:
        """Count an item whose current version is sealed: new, if this very pass sealed it before a crash."""
        if pass_id == self._pass_id:
            self._counts.new += 1
        else:
            self._counts.unchanged += 1
        self._count_content(offered, offered.size_bytes)

    def _count_content(self, offered: Offered, size_bytes: int) -> None:
        self._counts.bytes += size_bytes
        if offered.kind is Kind.LINK:
            self._counts.links += 1

    def _mark_seen(self, rowid: int, gone: int) -> None:
        place = rowid - self._seen_from
        if 0 <= place < len(self._seen):
            self._seen[place] = 1
        if gone:
            self._index.mark_gone(rowid, False)

    def _read_and_seal(self, offered: Offered, match: Match, item: bytes, version: bytes | None) -> None:
        """Read once, and once more where the item changed meanwhile; a second change fails it."""
        try:
            self._seal(offered, self._named.source.read(offered), match, item, version)
        except ItemChanged:
            self._seal(offered, self._named.source.read(offered), match, item, version)

    def _seal(
        self, offered: Offered, document: Document, match: Match, item: bytes, version: bytes | None
    ) -> None:
        if self._needs_media_type:
            named = self._named
            view = ItemView(
                named.name,
                offered.path,
                document.time_us,
                document.media_type,
                named.custodian,
                named.account,
            )
            match = self._decide(view)
            if not match.covered:
                self._exclude(match)
                return
        record_key = self._record_key()
        digest, chunks, size_bytes = self._keep_content(document, record_key, match.keep)
        stamp = b"" if self._is_racy(offered) else document.stamp
        current = self._keys.version(digest, document.meta_json)
        side = Side(item, self._keys.stamp(stamp), current, self._pass_id)
        if current == version:
            self._index.remember(side)
            self._counts.unchanged += 1
        else:
            self._append(offered, document, record_key, (digest, chunks, size_bytes), side, match.keep)
            self._index.remember(side)
            self._counts.new += 1
        self._count_content(offered, size_bytes)
        self._group_bytes += size_bytes + 1024
        if self._group_bytes >= GROUP_BYTES or self._tools.now_us() - self._group_started_us >= GROUP_US:
            self._group_commit()

    def _is_racy(self, offered: Offered) -> bool:
        """Tell whether a later change in the same clock tick could hide behind equal times."""
        return offered.mtime_ns > 0 and self._tools.now_us() * 1000 - offered.mtime_ns < RACY_NS

    def _record_key(self) -> bytes:
        for key in self._record_keys:
            return key
        drawn = secrets.token_bytes(32 * _KEYS_AT_ONCE)
        self._record_keys = iter([drawn[at : at + 32] for at in range(0, len(drawn), 32)])
        return self._record_key()

    def _keep_content(
        self, document: Document, record_key: bytes, keep: Keep | None
    ) -> tuple[bytes, bytes, int]:
        """Store the content (or only digest it) and return its SHA-256, chunk root and size in bytes."""
        if document.data is not None:
            data = document.data
            digest = sha256(data).digest()
            if keep is not Keep.DIGEST:
                self._tools.packs.put(data, digest)
            return digest, chunk_root(record_key[:16], data), len(data)
        if document.stream is None:
            raise AssertionError("a document has data or a stream")
        chunks = ChunkRoot(record_key[:16])
        pieces = _chunked(document.stream(), chunks)
        if keep is Keep.DIGEST:
            state, size_bytes = sha256(), 0
            for piece in pieces:
                state.update(piece)
                size_bytes += len(piece)
            return state.digest(), chunks.digest(), size_bytes
        digest, size_bytes, _ = self._tools.packs.put_stream(pieces)
        return digest, chunks.digest(), size_bytes

    def _append(
        self,
        offered: Offered,
        document: Document,
        record_key: bytes,
        content: tuple[bytes, bytes, int],
        side: Side,
        keep: Keep | None,
    ) -> None:
        digest, chunks, size_bytes = content
        meta = document.meta_json if keep is not Keep.DIGEST else _kept_in_place(document.meta_json)
        values = [
            self._holder,
            text_value(native_text(offered.native)),
            text_value(document.media_type),
            content_value(digest, size_bytes),
            content_value(chunks, size_bytes),
            text_value(document.time_basis),
            structure_value(meta),
        ]
        self._writer().append(record_key, document.time_us, values, side.encode())

    def _writer(self) -> SegmentWriter:
        tools, alias = self._tools, self._named.alias
        now_us = tools.now_us()
        if tools.ledger.is_full(alias, now_us):
            self._group_commit()
            tools.ledger.seal(now_us, only=[alias])
        return tools.ledger.writer(alias, DOCUMENT_V1, now_us)

    def _group_commit(self) -> None:
        """Make contents, rows, then the catalog durable: a row never names content that could be lost."""
        self._tools.packs.sync()
        self._tools.ledger.flush()
        self._index.flush()
        self._index.set_learned(self._tools.ledger.state.chain(self._named.alias).next_number)
        self._tools.catalog.commit()
        self._group_bytes = 0
        self._group_started_us = self._tools.now_us()

    def _note_vanished(self) -> None:
        """Count the items sealed before that the source no longer offers; their versions stay sealed."""
        for rowid in self._index.present_ids():
            place = rowid - self._seen_from
            if 0 <= place < len(self._seen) and not self._seen[place]:
                self._index.mark_gone(rowid, True)
                self._counts.vanished += 1
        self._tools.catalog.commit()


def _chunked(pieces: Iterable[bytes], chunks: ChunkRoot) -> Iterator[bytes]:
    for piece in pieces:
        chunks.update(piece)
        yield piece


def _kept_in_place(meta_json: bytes) -> bytes:
    """Mark a record whose content stays where it was: only its digest is sealed."""
    return canonical_json({**json.loads(meta_json), "keep": "digest"})
