"""Take one source of records through one pass: read each unit, match its records, seal what is not sealed yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from scelle.capture.interfaces import NamedSource, PassTools, batches_of, pushdown_over
from scelle.capture.model import Counts, Problem, SourceReport
from scelle.capture.preview import NO_READER
from scelle.capture.problems import ProblemLog, event_recorder, open_copies_note
from scelle.capture.record_rows import RecordKeys, SealedStates, record_side, sealed_states
from scelle.capture.record_sealing import RecordSealer
from scelle.capture.sealed import RECORDS_RETURNED, RECORDS_VANISHED, vanished_records
from scelle.capture.store import ItemKeys
from scelle.capture.units import KnownUnit, UnitCounts, UnitIndex
from scelle.errors import (
    InputError,
    ItemChanged,
    ItemError,
    ItemUnreadable,
    ItemVanished,
    SourceError,
    UnitRewritten,
)
from scelle.formats.canonical_json import canonical_json
from scelle.ledger.service import Looked
from scelle.scope.model import Clause
from scelle.scope.records import RecordView
from scelle.scope.sealed import clause_to_json
from scelle.sources.interfaces import (
    BadRecord,
    Batch,
    Record,
    RecordSource,
    Trouble,
    Unit,
    native_text,
)

GROUP_BYTES: Final = 64 << 20
GROUP_US: Final = 5_000_000
_ROW_BYTES: Final = 256
_KEYS_AT_ONCE: Final = 8192
_SAID_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Older:
    """A record in a state that was followed by another; `was_new`: this pass sealed it."""

    version: int
    record: Record
    was_new: bool
    is_restricted: bool


class RecordPass:
    """One source of records in one pass.

    A crash loses at most what was read since the last group commit, as if it was never offered; rows that became
    durable before the catalog learned of them are recognised one by one when the pass goes on.
    """

    def __init__(
        self,
        tools: PassTools,
        named: NamedSource,
        source: RecordSource,
        clauses: Sequence[Clause],
        *,
        pass_id: int,
        run: tuple[str, int],
    ) -> None:
        self._tools, self._named, self._source, self._clauses = tools, named, source, clauses
        self._pass_id = pass_id
        ledger = tools.ledger
        self._pushdown = pushdown_over(named, clauses)
        self._keys = RecordKeys(tools.vault_key, named.name)
        self._item_keys = ItemKeys(tools.vault_key, named.name)
        self._units = UnitIndex(tools.catalog, tools.vault_key, ledger.order, named.alias)
        self._report = SourceReport(named.name, named.alias)
        self._counts = self._report.counts
        self._record = event_recorder(tools, named.alias, *run)
        self._failed = ProblemLog(self._record, "items.failed", self._report.failed)
        self._lost = ProblemLog(self._record, "items.lost", self._report.lost)
        self._waiting = ProblemLog(self._record, "items.waiting", self._report.waiting)
        self._sealer = RecordSealer(tools, named, clauses, self._record, self._commit)
        self._is_restricted = self._sealer.is_restricted
        self._open_copies = 0
        self._tails: dict[int, SealedStates] = {}
        self._all_states: dict[int, SealedStates] | None = None
        self._seen_units: set[int] = set()
        self._hidden: list[bytes] = []
        """The beginnings of units below what could not be listed: whether they are still there is not known."""
        self._group_started_us = tools.now_us()
        self._pending: dict[int, KnownUnit] = {}

    def run(self) -> SourceReport:
        """Read every unit; then note which are no longer there."""
        self._catch_up()
        try:
            self._named.refuse_closed(self._tools.now_us() / 1e6)
            self._source.test()
            self._name_members()
            self._report.notes += self._source.warnings()
            for unit in self._source.units():
                if isinstance(unit, Trouble):
                    self._trouble(unit)
                else:
                    self._take_unit(unit)
                self._tools.progress(self._named.name, self._counts)
        except SourceError as error:
            self._report.unreachable = f"{error.code}: {error}"
            self._report.vanished_unknown = True
        finally:
            self._source.close()
        if not self._report.vanished_unknown:
            self._note_vanished_units()
        self._commit(self._tools.now_us())
        if self._open_copies:
            self._report.notes.append(open_copies_note(self._open_copies))
        for log in (self._failed, self._lost, self._waiting):
            log.flush()
        return self._report

    def looked(self) -> list[Looked]:
        """List the log sources that this pass looked at."""
        return self._sealer.looked()

    # --- before: what is sealed already

    def _catch_up(self) -> None:
        """Find the rows that the catalog does not know of: after a crash, or all of them where it was lost."""
        ledger = self._tools.ledger
        for alias, seq in self._units.catch_up(ledger, self._sealer.family.aliases).items():
            for unit, states in sealed_states(ledger, alias, seq, self._pass_id).items():
                self._tails.setdefault(unit, SealedStates()).extend(states)

    def _name_members(self) -> None:
        """Give every member its log source."""
        members = self._source.members()
        self._sealer.name_members(members)
        self._report.notes += [f"{member.name}: {note}" for member in members for note in member.notes]

    def _basis(self, unit: Unit) -> bytes:
        """Digest what decides what becomes of a unit's records: shapes and clauses."""
        members = [self._sealer.shapes[name].member for name in unit.members]
        shapes = [[member.name, member.schema.digest.hex(), member.profile] for member in members]
        clauses = [clause_to_json(each) for each in self._clauses if self._named.name in each.sources]
        return sha256(canonical_json({"clauses": clauses, "members": shapes})).digest()

    def _states_of(self, key: int) -> SealedStates:
        """Return all sealed states of a unit, from all members of the family; one scan serves all units."""
        if self._all_states is None:
            self._flush_rows()
            self._all_states = {}
            for alias in self._sealer.family.aliases:
                found = sealed_states(self._tools.ledger, alias, 0, self._pass_id)
                for unit, states in found.items():
                    self._all_states.setdefault(unit, SealedStates()).extend(states)
        return self._all_states.pop(key, None) or SealedStates()

    # --- one unit

    def _trouble(self, trouble: Trouble) -> None:
        self._counts.offered += 1
        self._seen_units.add(self._keys.unit(trouble.native))
        if trouble.cause == ItemVanished.cause:  # listed, and gone before it could be looked at
            self._counts.lost += 1
            self._lost.add(Problem(self._called(trouble.native), trouble.cause))
            return
        self._hidden.append(trouble.native + b"/" if trouble.native else b"")
        self._fail(self._counts, self._called(trouble.native), trouble.cause, "")

    def _take_unit(self, unit: Unit) -> None:
        """Count an unchanged unit from memory; read the others, once more where they change meanwhile."""
        key, basis = self._keys.unit(unit.native), self._basis(unit)
        self._seen_units.add(key)
        known, tail = self._units.find(key), self._tails.pop(key, None)
        if known is not None and known.basis != basis:
            known = replace(known, stamp=b"", mark=b"")
        if known is not None and tail is None and unit.stamp and unit.stamp == known.stamp and not known.gone:
            self._base(known).add_to(self._counts)
            return
        reading = _Reading(unit, key, basis)
        try:
            try:
                self._read_on(reading, known, tail)
            except ItemChanged:
                self._all_states = None  # it does not know what was sealed since
                self._read_on(reading, reading.known(self._pass_id), None)
        except ItemVanished as error:
            self._end_early(reading, error, self._lost)
        except ItemError as error:
            self._end_early(reading, error, self._failed)
        except InputError as error:  # what reads this kind of unit is not installed: the others are read
            self._end_early(reading, ItemUnreadable(str(error), NO_READER), self._failed)
        except SourceError as error:
            self._end_early(reading, error, self._failed)
            raise

    def _read_on(self, reading: _Reading, known: KnownUnit | None, tail: SealedStates | None) -> None:
        """Read behind the mark; where there is none, or the unit was rewritten, from its start."""
        if known is not None and known.mark:
            reading.begin(self._base(known), known.mark, None if tail is None else tail.sort())
            try:
                self._read(reading)
                return
            except UnitRewritten:
                self._record("unit.rewritten", {"unit": self._called(reading.unit.native)})
        states = (tail or SealedStates()) if known is None else self._states_of(reading.key)
        reading.begin(UnitCounts(), b"", states.sort() if len(states) else None)
        self._read(reading)
        if reading.states is not None:
            self._note_vanished_records(reading, reading.states)

    def _base(self, known: KnownUnit) -> UnitCounts:
        """Return the counts up to the mark: what this very pass sealed stays new."""
        return known.counts if known.pass_id == self._pass_id else known.counts.in_a_later_pass()

    def _read(self, reading: _Reading) -> None:
        if reading.states is not None and self._sealer.restricted_number is not None:
            reading.restricted = reading.states.items_in(self._sealer.restricted_number)
        try:
            for batch in self._batches(reading):
                self._take_batch(reading, batch)
                reading.reached = batch.mark
                if reading.older_bytes > GROUP_BYTES:
                    self._seal_again(reading)
                if not reading.older:  # else a run that goes on behind the mark would not look at them
                    reading.mark = batch.mark
                    self._remember(reading)
                self._keep_pace(reading.counts)
        except (SourceError, InputError):
            self._seal_again(reading)
            raise
        self._seal_again(reading)
        waits = self._source.waiting(reading.unit)
        reading.is_whole = waits is None  # what waits is looked at again, whether or not the file changes
        self._remember(reading)
        reading.counts.add_to(self._counts)
        if waits is not None:
            self._waiting.add(Problem(self._called(reading.unit.native), "incomplete-line", waits))

    def _remember(self, reading: _Reading) -> None:
        self._pending[reading.key] = reading.known(self._pass_id)
        self._sealer.has_appended = False  # the marks in `_pending` stand behind every row now

    def _batches(self, reading: _Reading) -> Iterator[Batch]:
        """Read on; where nothing of the unit is sealed, the store may leave out what no clause covers.

        Where something is, every record is looked at: one that left its clause has not vanished.
        """
        pushdown = self._pushdown if reading.states is None else None
        return batches_of(self._source, reading.unit, reading.mark, pushdown)

    def _end_early(self, reading: _Reading, error: SourceError, log: ProblemLog) -> None:
        """Count what was read of a unit, and the unit itself: what could not be read is no known number of records."""
        reading.counts.add_to(self._counts)
        self._remember(reading)
        self._report.vanished_unknown = True
        cause = error.cause if isinstance(error, ItemError) else "source-unreachable"
        self._counts.offered += 1
        if log is self._lost:
            self._counts.lost += 1
        else:
            self._counts.failed += 1
            self._counts.failed_by[cause] += 1
        detail = "" if self._is_restricted else str(error)
        log.add(Problem(self._called(reading.unit.native), cause, detail))

    # --- records

    def _take_batch(self, reading: _Reading, batch: Batch) -> None:
        counts, states, keys, pass_id = reading.counts, reading.states, self._keys, self._pass_id
        path, locked_in = reading.unit.native, self._sealer.restricted_number
        name, shape, writer = "", None, None
        for record in batch.records:
            counts.offered += 1
            if isinstance(record, BadRecord):
                self._fail_bad(counts, record, path)
                continue
            if record.member != name or shape is None:
                name, shape, writer = record.member, self._sealer.shapes[record.member], None
            match = shape.decide(RecordView(path, record.time_us, record.account, record.values))
            if not match.covered:
                reason = match.excluded_by
                counts.excluded_by["rule" if reason is None else reason.value] += 1
                if states is not None:
                    states.see(keys.item(record.native))  # it left its clause, and has not vanished
                continue
            item, version = keys.item(record.native), keys.version(record.version)
            is_restricted = match.restricted or item in reading.restricted
            sealed = None
            if states is not None:
                sealed = states.take(item, version, locked_in if is_restricted else None)
            if sealed is not None and states is not None:
                counts.bytes += record.size_bytes
                counts.restricted += is_restricted
                if sealed:
                    counts.new += 1
                else:
                    counts.unchanged += 1
                reading.forget_older(item)
                if states.is_older(item, version):
                    older = _Older(version, record, was_new=bool(sealed), is_restricted=is_restricted)
                    reading.note_older(item, older)
                continue
            side = record_side(reading.key, item, version, pass_id)
            try:
                if is_restricted:
                    self._sealer.seal_restricted(record, side)
                    self._open_copies += states is not None and states.take(item, version) is not None
                else:
                    if writer is None or writer.records >= writer.max_records:
                        writer = self._sealer.writer(shape.alias, shape.member)
                    self._sealer.seal(writer, record, side)
            except ItemError as error:  # of a content, before anything of the record was appended
                self._fail_record(counts, record, error, is_restricted=is_restricted)
                continue
            counts.bytes += record.size_bytes
            counts.restricted += is_restricted
            counts.new += 1
            reading.forget_older(item)
        for code, left_out in batch.left_out.items():
            counts.offered += left_out
            counts.excluded_by[code] += left_out
        self._sealer.group_bytes += sum(_weight(record) for record in batch.records)

    def _seal_again(self, reading: _Reading) -> None:
        """Seal the records that came back to an older state: what is sealed last of a record is what it was last.

        They are no longer unchanged. Sealing one once too often, where its newest state stands further behind, does no
        harm: it was seen so.
        """
        counts = reading.counts
        for item, older in reading.older.items():
            record, shape = older.record, self._sealer.shapes[older.record.member]
            side = record_side(reading.key, item, older.version, self._pass_id)
            counts.unchanged -= not older.was_new
            try:
                if older.is_restricted:
                    self._sealer.seal_restricted(record, side)
                else:
                    self._sealer.seal(self._sealer.writer(shape.alias, shape.member), record, side)
            except ItemError as error:
                counts.new -= older.was_new
                counts.restricted -= older.is_restricted
                self._fail_record(counts, record, error, is_restricted=older.is_restricted)
                continue
            counts.new += not older.was_new
        reading.older.clear()
        reading.older_bytes = 0
        reading.mark = reading.reached

    def _fail(self, counts: Counts | UnitCounts, place: str, cause: str, detail: str) -> None:
        counts.failed += 1
        counts.failed_by[cause] += 1
        self._failed.add(Problem(place, cause, detail))

    def _fail_record(
        self, counts: UnitCounts, record: Record, error: ItemError, *, is_restricted: bool
    ) -> None:
        """Name a record that failed; a restricted one by its keyed id only, and without what the error says of it."""
        if is_restricted:
            self._fail(counts, self._item_keys.shadow(record.native), error.cause, "")
        else:
            self._fail(counts, native_text(record.native), error.cause, str(error))

    def _fail_bad(self, counts: UnitCounts, record: BadRecord, path: bytes) -> None:
        """Name what is no record; of what no clause could be asked, a restricted clause may mean it."""
        place, detail = (self._called(path), "") if self._is_restricted else (record.place, record.detail)
        self._fail(counts, place, record.cause, detail)

    def _called(self, unit: bytes) -> str:
        """Return what a unit is called in events: a keyed id where a clause of the source is restricted."""
        return self._item_keys.shadow(unit) if self._is_restricted else native_text(unit)

    # --- durable

    def _keep_pace(self, of_unit: UnitCounts) -> None:
        """Commit what was gathered once it is large or a few seconds old, also where the clock jumped back."""
        now_us = self._tools.now_us()
        so_far = Counts()
        so_far.add(self._counts)
        of_unit.add_to(so_far)
        self._tools.progress(self._named.name, so_far)
        if self._sealer.group_bytes >= GROUP_BYTES or not 0 <= now_us - self._group_started_us < GROUP_US:
            self._commit(now_us)

    def _flush_rows(self) -> None:
        """Make rows durable before they are read back."""
        self._tools.packs.sync()
        self._tools.ledger.flush()

    def _commit(self, now_us: int) -> None:
        """Make contents, rows, then the catalog durable: a mark never stands behind rows that could be lost.

        Where rows stand behind the marks (a segment filled in the middle of a batch), the catalog does not learn of
        them: a run after a crash reads them again, and must recognise them.
        Segments that are full, or were open for 15 minutes, are sealed.
        """
        tools, ledger = self._tools, self._tools.ledger
        self._flush_rows()
        for unit, known in self._pending.items():
            self._units.remember(unit, known)
        self._pending.clear()
        if not self._sealer.has_appended:
            self._units.learn(ledger, self._sealer.family.aliases)
        tools.catalog.commit()
        full = tools.full_sources(self._sealer.family.aliases, now_us)
        if full:
            ledger.seal(now_us, only=full)
        self._sealer.group_bytes = 0
        self._group_started_us = now_us

    # --- what is no longer there

    def _note_vanished_records(self, reading: _Reading, states: SealedStates) -> None:
        """Name the records of a unit that were sealed before and are not in it any more; they stay sealed.

        Of a unit of which a record failed nothing is concluded: which one it was is not known.
        """
        if reading.counts.failed:
            self._report.vanished_unknown = True
            return
        alias = self._named.alias
        said = vanished_records(self._tools.ledger, alias)
        fresh = [place for place in states.unseen() if place not in said]
        self._counts.vanished += len(fresh)
        for kind, places in ((RECORDS_VANISHED, fresh), (RECORDS_RETURNED, states.seen_among(said))):
            for at in range(0, len(places), _SAID_AT_ONCE):
                records = [[f"{alias}/{number}", seq] for number, seq in places[at : at + _SAID_AT_ONCE]]
                self._record(kind, {"unit": self._called(reading.unit.native), "records": records})

    def _note_vanished_units(self) -> None:
        """Count the records of units that are gone, and say so once."""
        hidden = tuple(self._hidden)
        for key, known in list(self._units.all()):
            if key in self._seen_units or known.gone:
                continue
            if known.native.startswith(hidden):
                self._report.vanished_unknown = True
                continue
            sealed = known.counts.new + known.counts.unchanged
            self._counts.vanished += sealed
            body = {"unit": self._called(known.native), "records": sealed}
            self._record("unit.vanished", body)
            self._pending[key] = replace(known, stamp=b"", gone=True)


class _Reading:
    """How far one unit was read in this pass."""

    def __init__(self, unit: Unit, key: int, basis: bytes) -> None:
        self.unit, self.key, self._basis_bytes = unit, key, basis
        self.begin(UnitCounts(), b"", None)

    def begin(self, counts: UnitCounts, mark: bytes, states: SealedStates | None) -> None:
        """Start reading behind `mark`."""
        self.counts, self.mark, self.states, self.is_whole = counts, mark, states, False
        self.restricted: set[int] = set()
        """Records of which a state lies in the compartment: every later one goes there, too."""
        self.reached = mark
        """The mark behind what was read; `mark` stands before the first record of `older`."""
        self.older: dict[int, _Older] = {}
        self.older_bytes = 0

    def note_older(self, item: int, older: _Older) -> None:
        """Keep a record until it is known whether its newest state stands behind it."""
        self.older[item] = older
        self.older_bytes += _weight(older.record)

    def forget_older(self, item: int) -> None:
        """Let go of a record of which another state stands behind it."""
        if self.older and (found := self.older.pop(item, None)) is not None:
            self.older_bytes -= _weight(found.record)

    def known(self, pass_id: int) -> KnownUnit:
        """Return what is to be remembered of it now; without a mark only once it was read to its end."""
        stamp = self.unit.stamp if self.is_whole else b""
        counts = replace(
            self.counts,
            excluded_by=self.counts.excluded_by.copy(),
            failed_by=self.counts.failed_by.copy(),
        )
        return KnownUnit(self.unit.native, self._basis_bytes, stamp, self.mark, pass_id, counts)


def _weight(record: Record | BadRecord) -> int:
    return _ROW_BYTES if isinstance(record, BadRecord) else record.size_bytes + _ROW_BYTES
