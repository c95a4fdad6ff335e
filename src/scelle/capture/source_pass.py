"""Take one source through one pass: offer, match, seal, and note what vanished."""

from collections.abc import Callable, Iterator, Sequence

from scelle.capture.interfaces import NamedSource, PassTools
from scelle.capture.listing import listed_records, look_up_content
from scelle.capture.model import Problem, SourceReport
from scelle.capture.problems import SHOWN_ITEMS, ProblemLog, RecordEvent
from scelle.capture.sealed import RETURNED, VANISHED, LastPass, native_ids, vanished_flags
from scelle.capture.sealing import Sealer
from scelle.capture.store import LOOK_UP_AT_ONCE, CaptureIndex, ItemKeys, Known
from scelle.errors import ItemChanged, ItemError, ItemVanished, SourceError
from scelle.scope.hashes import HashesFile
from scelle.scope.model import ItemView, Match
from scelle.sources.interfaces import UNDATED, Kind, Offered, Source, Trouble, native_text

Decide = Callable[[ItemView], Match]


class SourcePass:
    """One source in one pass."""

    def __init__(
        self,
        tools: PassTools,
        named: NamedSource,
        source: Source,
        decide: Decide,
        *,
        needs_media_type: bool,
        pass_id: int,
        last: LastPass,
        record: RecordEvent,
        lists: Sequence[HashesFile] = (),
    ) -> None:
        self._tools, self._named, self._source = tools, named, source
        self._decide, self._record = decide, record
        self._last = last
        self._needs_media_type, self._pass_id = needs_media_type, pass_id
        self._keys = ItemKeys(tools.vault_key, named.name)
        self._index = CaptureIndex(tools.catalog, tools.vault_key, tools.ledger.order, named.alias)
        self._report = SourceReport(named.name, named.alias)
        self._counts = self._report.counts
        self._failed = ProblemLog(record, "items.failed", self._report.failed)
        self._lost = ProblemLog(record, "items.lost", self._report.lost)
        self._specials = ProblemLog(record, "items.excluded", [])
        self._returned = ProblemLog(record, RETURNED, [])
        self._sealer = Sealer(tools, named, self._keys, self._index, pass_id)
        self._seen = bytearray()
        self._is_restricted = False
        """Whether the item that is being taken is restricted."""
        self._is_unnamed = False
        """Whether it is, or may turn out to be once its content is read: nothing then says its name."""
        self._lists = lists
        self._listed_openly: frozenset[int] = frozenset()
        """Records that keep openly what is listed now."""
        self._open_copies = 0

    def run(self) -> SourceReport:
        """Offer, match and seal everything; then note what vanished."""
        counts, progress, name = self._counts, self._tools.progress, self._named.name
        item_key, keep_pace = self._keys.item, self._sealer.keep_pace
        self._catch_up()
        try:
            self._source.test()
            for batch in _batches(self._source.offered()):
                items = [item_key(offered.native) for offered in batch]
                self._index.look_up(items)
                for offered, item in zip(batch, items, strict=True):
                    counts.offered += 1
                    self._take(offered, item)
                    keep_pace()
                    progress(name, counts)
        except SourceError as error:
            self._report.unreachable = f"{error.code}: {error}"
            self._report.vanished_unknown = True
        self._sealer.commit(self._tools.now_us())
        if not self._report.vanished_unknown:
            self._note_vanished()
        if self._open_copies:
            self._report.notes.append(
                f"{self._open_copies} went into the compartment that were sealed openly before: the open copies stay "
                "until they are disposed of (docs/restricted.md)"
            )
        for log in (self._failed, self._specials, self._lost, self._returned):
            log.flush()
        return self._report

    def _catch_up(self) -> None:
        """Let the catalog learn what the ledger knows; prepare to tick off what is offered."""
        index, ledger, alias = self._index, self._tools.ledger, self._named.alias
        index.catch_up(ledger, alias)
        if index.learned_events < self._last.event_end:
            flags = vanished_flags(ledger, alias, index.learned_events, self._last)
            index.learn_vanished(flags, self._last.event_end)
        self._seen = bytearray(index.size)
        self._listed_openly = listed_records(ledger, alias, self._lists)

    # --- one item, into one bucket

    def _take(self, offered: Offered | Trouble, item: bytes) -> None:
        known = self._index.find(item)
        if known is not None:
            self._mark_seen(offered, known)
        if isinstance(offered, Trouble):
            self._report.vanished_unknown |= known is None  # what lies below it was not offered
            self._is_unnamed = self._may_be_restricted(offered, UNDATED, known)
            self._fail(offered, offered.cause, "")
            return
        if offered.kind is Kind.SPECIAL:
            self._counts.excluded_by[offered.reason] += 1
            self._is_unnamed = self._may_be_restricted(offered, offered.time_us, known)
            self._specials.add(self._problem(offered, offered.reason))
            return
        match = self._decide(self._view(offered, offered.time_us, ""))
        self._restrict(match, known)
        if not match.covered:
            self._exclude(match)
        elif known is not None and self._is_unchanged(offered, item, known):
            self._count(offered, offered.size_bytes, known.pass_id)
        else:
            self._try_to_seal(offered, match, item, known)

    def _may_be_restricted(self, offered: Offered | Trouble, time_us: int, known: Known | None) -> bool:
        """Tell whether what was not read is restricted, or may be: then nothing names it."""
        if self._named.restricted or (known is not None and known.restricted):
            return True
        return self._decide(self._view(offered, time_us, "")).may_be_restricted

    def _restrict(self, match: Match, known: Known | None) -> None:
        """Note whether an item is restricted, by a clause or because it was before, and whether nothing may name it."""
        self._is_restricted = match.restricted or (known is not None and bool(known.restricted))
        self._is_unnamed = self._is_restricted or bool(match.hashes)

    def _problem(self, offered: Offered | Trouble, cause: str, detail: str = "") -> Problem:
        """Name an item; a restricted one by its keyed id only, and without what an error says of it."""
        if self._is_unnamed:
            return Problem(self._keys.shadow(offered.native), cause)
        return Problem(native_text(offered.native), cause, detail)

    def _view(self, offered: Offered | Trouble, time_us: int, media_type: str) -> ItemView:
        named = self._named
        return ItemView(named.name, offered.path, time_us, media_type, named.custodian, named.account)

    def _is_unchanged(self, offered: Offered, item: bytes, known: Known) -> bool:
        """Tell whether the stamp says so; what is only digested is read again, whatever its stamp says.

        An item that is sealed openly and restricted now, or listed, is sealed again, into the compartment.
        """
        stamp = offered.stamp
        if known.seq in self._listed_openly:
            return False
        if self._is_restricted:
            return bool(known.restricted and stamp) and self._keys.stamp(item + stamp) == known.stamp
        return bool(stamp) and known.content is None and self._keys.stamp(stamp) == known.stamp

    def _try_to_seal(self, offered: Offered, match: Match, item: bytes, known: Known | None) -> None:
        """Read once, and once more where the item changed meanwhile; a second change fails it."""
        try:
            try:
                self._read_and_seal(offered, match, item, known)
            except ItemChanged:
                self._read_and_seal(offered, match, item, known)
        except ItemVanished as error:
            self._counts.lost += 1
            self._lost.add(self._problem(offered, error.cause, str(error)))
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
        self._failed.add(self._problem(offered, cause, detail))

    def _count(self, offered: Offered, size_bytes: int, pass_id: int) -> None:
        """Count an item whose current version is sealed: new where this pass sealed it, in whichever run."""
        counts = self._counts
        if pass_id == self._pass_id:
            counts.new += 1
        else:
            counts.unchanged += 1
        counts.bytes += size_bytes
        counts.restricted += self._is_restricted
        if offered.kind is Kind.LINK:
            counts.links += 1

    # --- reading

    def _read_and_seal(self, offered: Offered, match: Match, item: bytes, known: Known | None) -> None:
        """Read, keep and record. What the source raises has counted nothing yet."""
        document = self._source.read(offered)
        if self._needs_media_type or document.time_us != offered.time_us:
            match = self._decide(self._view(offered, document.time_us, document.media_type))
            if not match.covered:
                self._exclude(match)
                return
        self._restrict(match, known)
        if match.hashes and not self._is_restricted:
            document, self._is_restricted = look_up_content(document, match.hashes)
        size_bytes, seq, changed_in_place = self._sealer.seal(
            offered, document, match.keep, item, known, restricted=self._is_restricted
        )
        self._open_copies += self._is_restricted and known is not None and not known.restricted
        pass_id = self._pass_id if seq is not None or known is None else known.pass_id
        self._count(offered, size_bytes, pass_id)
        if changed_in_place and known is not None:
            self._say_changed_in_place(offered, known.seq, seq)

    def _say_changed_in_place(self, offered: Offered, sealed_seq: int, seq: int | None) -> None:
        """Seal that bytes changed although nothing about the file says so: damage, or somebody hid it."""
        native = native_text(offered.native)
        self._counts.changed_in_place += 1
        self._record("item.changed-in-place", {"native": native, "sealed_seq": sealed_seq, "seq": seq})
        if len(self._report.changed_in_place) < SHOWN_ITEMS:
            self._report.changed_in_place.append(Problem(native, "changed-in-place"))

    # --- what is no longer there

    def _mark_seen(self, offered: Offered | Trouble, known: Known) -> None:
        if known.number < len(self._seen):  # the others came in this very pass
            self._seen[known.number] = 1
        if known.gone:
            native = self._keys.shadow(offered.native) if known.restricted else native_text(offered.native)
            self._returned.add(Problem(native, "returned", seq=known.seq))

    def _note_vanished(self) -> None:
        """Count and name the items sealed before that the source no longer offers; they stay sealed.

        The catalog learns it from these events in the next pass, when they are sealed, and not before.
        """
        vanished = {}
        for number, seq, is_in_place in self._index.present():
            if number < len(self._seen) and not self._seen[number]:
                vanished[seq] = is_in_place
        log = ProblemLog(self._record, VANISHED, [])
        for seq, native in native_ids(self._tools.ledger, self._named.alias, vanished):
            detail = "only its digest was kept" if vanished[seq] else ""
            log.add(Problem(native, "vanished", detail, seq))
        log.flush()
        self._counts.vanished = len(vanished)
        self._counts.vanished_in_place = sum(vanished.values())


def _batches(offered: Iterator[Offered | Trouble]) -> Iterator[list[Offered | Trouble]]:
    """Gather what is offered, so that the catalog is asked once for many; what came before an error, too."""
    batch: list[Offered | Trouble] = []
    try:
        for each in offered:
            batch.append(each)
            if len(batch) == LOOK_UP_AT_ONCE:
                yield batch
                batch = []
    except SourceError:
        yield batch
        raise
    yield batch
