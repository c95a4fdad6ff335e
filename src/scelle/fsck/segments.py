"""Examine one segment: open its frames, judge its rows, and compare what is kept beside them.

Established for a segment without findings: its rows are exactly the records that its manifest commits to,
in order, each canonical and of its schema; index, tree and bounds are what these records give. Not
established: that a time or an account was right when it was sealed.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

from scelle.errors import FormatError, SegmentDamaged
from scelle.formats.entries import Segment
from scelle.formats.schema import DIMENSIONS_MAX, DOCUMENT_V1, EVENT_V1, Schema
from scelle.fsck.comparison import Difference, SegmentRows, compare, describe_surplus
from scelle.fsck.files import RegularFile, Unreadable, files_below, is_there, read_file
from scelle.fsck.frames import FrameFault, Hole, Place, SealedFrames, frame_context
from scelle.fsck.model import Notebook, record_range, shown_name
from scelle.fsck.rows import HASH_BYTES, FrameRows, RowJudge
from scelle.ledger.erased import ErasedRecord, parse_erased
from scelle.ledger.frames import KEY_SLOT_BYTES
from scelle.ledger.rows import decode_rows
from scelle.ledger.search import Tombstones
from scelle.ledger.segments import ERASED_NAME, FRAME_ROWS, MAX_RECORDS, SegmentHead, folder_name
from scelle.vault.keys import VaultKey

HEAD_MAX_BYTES: Final = 4096
_BUILT_IN: Final = {schema.digest: schema for schema in (DOCUMENT_V1, EVENT_V1)}
_NAMES: Final = ("erased", "head", "index", "keys", "nodes", "rows", "tree")
_FLUSHED: Final = ("keys", "rows")
"""What a flush writes; an open segment has both names, and no bytes, before the first one."""
OPEN_SUFFIX: Final = ".open"
_NEW_NAMES: Final = ("erased.new", "index.new", "keys.new", "rows.new")


class State(Enum):
    """Say what stands behind a segment's records."""

    SEALED = "sealed"
    """A manifest under the checkpoint commits to them."""
    UNPROVEN = "unproven"
    """A manifest must be in the log, and cannot be believed."""
    OPEN = "open"
    """No manifest does yet: evidence of nothing."""


@dataclass(frozen=True, slots=True)
class SegmentPlace:
    """Name one segment and what is known of it; a worker process gets this and nothing else.

    `folder` is where its files stand; `ordinal` counts segments over all orders of the run.
    """

    folder: Path
    order: str
    origin: str
    alias: str
    number: int
    ordinal: int
    state: State
    manifest: Segment | None
    schema: Schema | None
    profile: int
    seq_lo: int
    tag_key: bytes | None
    erased: Tombstones | None = field(default=None, hash=False)

    @property
    def subject(self) -> str:
        """Name it in a finding."""
        state = " (not sealed yet)" if self.state is State.OPEN else ""
        return f"order {self.order}, {self.alias} segment {self.number}{state}"

    def file_subject(self, name: str) -> str:
        """Name one of its files in a finding."""
        folder = f"po/{self.order}/seg/{folder_name(self.alias)}/{self.folder.name}"
        return f"{self.subject}, {folder}/{name}"

    def record_subject(self, seq: int, name: str) -> str:
        """Name one of its records in a finding."""
        called = f" ({shown_name(name)})" if name else ""
        return f"{self.subject}, record {seq}{called}"

    def judge(self) -> RowJudge:
        """Make the judge of its rows; their wants carry `ordinal << 32 | seq - seq_lo` as their place."""
        return RowJudge(
            alias=self.alias,
            schema=self.schema,
            profile=self.profile,
            tag_key=self.tag_key,
            seq_lo=self.seq_lo,
            place=self.ordinal << 32,
        )

    def frames(
        self, kind: str, file: RegularFile, keys: bytes, key: VaultKey, first_slot: int = 0
    ) -> SealedFrames:
        """Give the frames of its file `rows` or `index`."""
        context = frame_context(self.origin, self.alias, self.number, kind)
        return SealedFrames(file, keys, key, context, first_slot)

    @property
    def dimensions(self) -> int:
        """Count the dimensions; where the schema is not known, as the manifest implies."""
        if self.schema is not None:
            return len(self.schema.dimensions)
        manifest = self.manifest
        implied = 0 if manifest is None or not manifest.records else manifest.index_size // manifest.records
        return implied if implied <= DIMENSIONS_MAX else 0


def built_in_schema(digest: bytes) -> Schema | None:
    """Give a schema that Scellé knows without reading it."""
    return _BUILT_IN.get(digest)


class RowsTask(NamedTuple):
    """Ask for the rows of some frames of a segment; `only` are the records to judge, None for all."""

    place: SegmentPlace
    vault_key: VaultKey
    frames: tuple[Place, ...]
    only: frozenset[int] | None


class Closed(NamedTuple):
    """Say why a frame did not open."""

    number: int
    is_key: bool
    detail: str


class RowsAnswer(NamedTuple):
    """Give the rows of the frames that opened, and the others."""

    rows: list[FrameRows]
    closed: list[Closed]


def read_rows(task: RowsTask) -> RowsAnswer:
    """Open and judge frames of rows; runs in a worker process."""
    place, judge, answer = task.place, task.place.judge(), RowsAnswer([], [])
    keys = _keys_or_nothing(place.folder)
    expected = place.seq_lo
    try:
        with _opened(place.folder / "rows") as file:
            frames = place.frames("rows", file, keys, task.vault_key)
            for frame in task.frames:
                try:
                    plain = frames.open(frame)
                except FrameFault as fault:
                    answer.closed.append(Closed(frame.number, fault.is_key, str(fault)))
                    continue
                rows = judge.judge(frame.number, plain, expected, task.only)
                answer.rows.append(rows)
                expected = rows.first_seq + rows.count
    except Unreadable as error:  # the disk fails, or another process seals the segment in this moment
        done = len(answer.rows) + len(answer.closed)
        answer.closed.extend(Closed(frame.number, False, str(error)) for frame in task.frames[done:])
    return answer


@contextmanager
def _opened(path: Path) -> Iterator[RegularFile]:
    file = RegularFile(path)
    try:
        yield file
    finally:
        file.close()


def _keys_or_nothing(folder: Path) -> bytes:
    try:
        return read_file(folder / "keys")
    except Unreadable:
        return b""  # the examination of the whole segment says it, once


class Names:
    """Look up the native ids of records, only where a finding needs them: it opens their frames again."""

    def __init__(self, place: SegmentPlace, vault_key: VaultKey) -> None:
        self._place, self._vault_key = place, vault_key
        self._frames: list[tuple[Place, int, int]] = []

    def add(self, frame: Place, first_seq: int, count: int) -> None:
        """Remember which records stand in a frame."""
        self._frames.append((frame, first_seq, count))

    def find(self, seqs: Collection[int]) -> dict[int, str]:
        """Give the native ids of these records, as far as they can be read."""
        names: dict[int, str] = {}
        for frame, first_seq, count in self._frames:
            wanted = {seq for seq in seqs if first_seq <= seq < first_seq + count}
            if wanted:
                names.update(self._in_frame(frame, first_seq, wanted))
        return names

    def _in_frame(self, frame: Place, first_seq: int, wanted: Collection[int]) -> Iterator[tuple[int, str]]:
        place, judge = self._place, self._place.judge()
        try:
            with _opened(place.folder / "rows") as file:
                frames = place.frames("rows", file, _keys_or_nothing(place.folder), self._vault_key)
                plain = frames.open(frame)
            for row in decode_rows(plain, first_seq):
                values = row.split_values()
                seq = int.from_bytes(values[1][5:], "big", signed=True) if len(values) > 1 else -1
                if seq in wanted:
                    yield seq, judge.name(values)
        except (Unreadable, FrameFault, SegmentDamaged):
            return


class Examination:
    """Examine one segment: hand out `tasks`, `take` their answers, then `finish`."""

    def __init__(self, place: SegmentPlace, vault_key: VaultKey, only: frozenset[int] | None) -> None:
        self.place = place
        self.notes = Notebook()
        self.names = Names(place, vault_key)
        self.wants = b""
        self.records = 0
        self._vault_key, self._only = vault_key, only
        self._keys = b""
        self._frames: dict[int, Place] = {}
        self._holes: list[Hole] = []
        self._rows: dict[int, FrameRows] = {}
        self._closed: list[Closed] = []

    # -- before: where the frames stand

    def tasks(self, frames_a_task: int) -> list[RowsTask]:
        """Find the frames of rows and cut them into tasks; note what is wrong with the files as such."""
        try:
            self._keys = read_file(self.place.folder / "keys")
        except Unreadable as error:
            self._file_fault("keys", error)
        try:
            with _opened(self.place.folder / "rows") as file:
                for found in self.place.frames("rows", file, self._keys, self._vault_key).walk():
                    if isinstance(found, Hole):
                        self._holes.append(found)
                    else:
                        self._frames[found.number] = found
        except Unreadable as error:
            self._file_fault("rows", error)
        frames = tuple(self._frames.values())
        place = replace(self.place, erased=None)  # no process needs all of them for one frame
        erased = () if self.place.erased is None else self.place.erased.records
        only = self._only and self._only | {self.place.seq_lo + position for position in erased}
        return [
            RowsTask(place, self._vault_key, frames[at : at + frames_a_task], only)
            for at in range(0, len(frames), frames_a_task)
        ]

    def take(self, answer: RowsAnswer) -> None:
        """Keep the rows that a worker judged."""
        self._closed += answer.closed
        for rows in answer.rows:
            self._rows[rows.number] = rows
            self.names.add(self._frames[rows.number], rows.first_seq, rows.count)

    # -- after: what the rows give

    def finish(self) -> None:
        """Compare the rows with the manifest, and index, tree, keys and head with the rows."""
        place = self.place
        self._note_frames()
        rows = self._assembled()
        self._rows.clear()
        self.records, self.wants = rows.count, b"".join(rows.wants)
        if rows.digest_only:
            self.notes.remark("content.digest_only", place.subject, f"{rows.digest_only} of its records")
        if rows.restricted:
            detail = f"kept in the compartment, not opened: {rows.restricted} of its records"
            self.notes.remark("content.restricted", place.subject, detail)
        self._check_names()
        if place.state is State.OPEN:
            detail = (
                f"{rows.count} records, readable, under no manifest yet: evidence only when they are sealed"
            )
            self.notes.remark("segment.open", place.subject, detail)
            return
        if place.state is State.UNPROVEN:
            self.notes.find(
                "segment.manifest", place.subject, "its manifest in the log is damaged or missing"
            )
        tree = self._tree(rows.size)
        blocks = self._index_blocks(rows.size)
        is_sample = self._only is not None
        self._note_differences(list(compare(rows, place.manifest, tree, blocks, is_sample=is_sample)))
        self._check_head()

    def _note_frames(self) -> None:
        """Name the frames that do not open; behind the last good one of an open segment, a torn tail is no
        fault."""
        last_good = max(self._rows, default=-1)
        is_open = self.place.state is State.OPEN
        if not (is_open or self._frames or self._holes) and is_there(self.place.folder / "rows"):
            self.notes.find("segment.frame", self.place.file_subject("rows"), "no frame is in it")
        for hole in self._holes:
            if not is_open or hole.number < last_good:
                self._note_hole("rows", hole)
        for closed in self._closed:
            if not is_open or closed.number < last_good:
                self._note_closed("rows", closed, closed.number, self._frames[closed.number].offset)
        if is_open and is_there(self.place.folder / "head") and (self._holes or self._closed):
            detail = "its last bytes open as no frame: an interrupted write leaves such a tail; the next cuts it off"
            self.notes.remark("vault.leftover", self.place.file_subject("rows"), detail)

    def _note_hole(self, name: str, hole: Hole) -> None:
        where = f"{self.place.file_subject(name)}, frame {hole.number} at byte {hole.offset}"
        self.notes.find("segment.frame", where, f"{hole.size} bytes in which no frame can be made out")

    def _note_closed(self, name: str, closed: Closed, slot: int, offset: int) -> None:
        if closed.is_key:
            where = f"{self.place.file_subject('keys')}, slot {slot} (frame {closed.number} of {name})"
            self.notes.find("segment.keys", where, closed.detail)
        else:
            where = f"{self.place.file_subject(name)}, frame {closed.number} at byte {offset}"
            self.notes.find("segment.frame", where, closed.detail)

    def _assembled(self) -> SegmentRows:
        place = self.place
        answers = [self._rows[number] for number in sorted(self._rows)]
        if place.manifest is not None:
            size = place.manifest.records
        else:
            size = max((answer.first_seq + answer.count - place.seq_lo for answer in answers), default=0)
        size = min(max(size, 0), MAX_RECORDS)  # what is over is named among the records, or by the log
        has_tags = place.tag_key is not None and place.schema is not None
        rows = SegmentRows.empty(size, place.seq_lo, place.dimensions if has_tags else 0)
        surplus: list[int] = []
        for answer in answers:
            surplus += rows.add(answer)
            for fault in answer.faults:
                subject = place.subject if fault.seq is None else place.record_subject(fault.seq, fault.name)
                self.notes.find(fault.code, subject, fault.detail)
        for where in describe_surplus(surplus):
            self.notes.find(
                "segment.records", f"{place.subject}, {where}", "there twice, or outside the manifest's seq"
            )
        if place.erased is not None or is_there(place.folder / ERASED_NAME):
            self._take_erased(rows)
        if self._only is None and place.state is not State.OPEN:
            for lo, hi in rows.holes():
                detail = "no row that can be read has this sequence number"
                self.notes.find("segment.records", f"{place.subject}, {record_range(lo, hi)}", detail)
        return rows

    def _take_erased(self, rows: SegmentRows) -> None:
        """Put what was erased in its place, and compare tombstones with the file that has the leaf hashes."""
        tombstones, file = self.place.erased or Tombstones(), self._erased_file()
        listed = file or {}
        for position, rc in tombstones.records.items():
            if position < rows.size:
                told = ErasedRecord(position, rc, tombstones.index[position], ())
                self._take_tombstone(rows, told, listed.get(position), is_listed=file is not None)
        for position, known in listed.items():
            if position not in tombstones.records and position < rows.size:
                rows.erase(position, known.commitment, _leaves(known))
                if self.place.state is State.SEALED:
                    subject = self.place.record_subject(self.place.seq_lo + position, "")
                    detail = "it was erased, and no tombstone in the log says so"
                    self.notes.find("record.erased", subject, detail)

    def _take_tombstone(
        self, rows: SegmentRows, told: ErasedRecord, known: ErasedRecord | None, *, is_listed: bool
    ) -> None:
        """Take one erased record as its tombstone tells it; `known` is what the file says of it."""
        is_right = known is not None and replace(known, leaves=()) == told
        leaves = _leaves(known) if known is not None and is_right else dict.fromkeys(told.places)
        seq = self.place.seq_lo + told.position
        if not rows.erase(told.position, told.commitment, leaves):
            detail = "the log has its tombstone, and its row can be read all the same"
            self.notes.find("record.readable", self.place.record_subject(seq, ""), detail)
        elif is_listed and not is_right:
            detail = f"it does not say of record {seq} what the record's tombstone says"
            self.notes.find("segment.erased", self.place.file_subject(ERASED_NAME), detail)

    def _erased_file(self) -> Mapping[int, ErasedRecord] | None:
        try:
            data = read_file(self.place.folder / ERASED_NAME)
            return parse_erased(data, self.place.dimensions)
        except FormatError as error:
            self.notes.find("segment.erased", self.place.file_subject(ERASED_NAME), str(error))
        except Unreadable as error:
            self._file_fault(ERASED_NAME, error)
        return None

    def _note_differences(self, differences: Sequence[Difference]) -> None:
        names = self.names.find({each.seq for each in differences if each.seq is not None})
        for each in differences:
            subject = self.place.subject
            if each.seq is not None:
                subject = self.place.record_subject(each.seq, names.get(each.seq, ""))
            elif each.file is not None:
                subject = self.place.file_subject(each.file)
            self.notes.find(each.code, subject, each.detail)

    # -- the files beside the rows

    def _tree(self, size: int) -> bytes | None:
        wanted = HASH_BYTES * size * (1 + self.place.dimensions)
        try:
            with _opened(self.place.folder / "tree") as file:
                if file.size == wanted:
                    return file.read_at(0, wanted)
                detail = f"it has {file.size} bytes, {size} records need {wanted}"
                self.notes.find("segment.tree", self.place.file_subject("tree"), detail)
        except Unreadable as error:
            self._file_fault("tree", error)
        return None

    def _index_blocks(self, size: int) -> list[bytes | None]:
        """Read the stored sort keys of each dimension; None for one of which a frame does not open."""
        per_block = -(-size // FRAME_ROWS)
        wanted = per_block * self.place.dimensions
        plains: dict[int, bytes] = {}
        count = 0
        try:
            with _opened(self.place.folder / "index") as file:
                first_slot = self._first_index_slot(file, wanted)
                frames = self.place.frames("index", file, self._keys, self._vault_key, first_slot)
                for frame in frames.walk():
                    count = frame.number + 1
                    if isinstance(frame, Hole):
                        self._note_hole("index", frame)
                        continue
                    try:
                        plains[frame.number] = frames.open(frame)
                    except FrameFault as fault:
                        closed = Closed(frame.number, fault.is_key, str(fault))
                        self._note_closed("index", closed, first_slot + frame.number, frame.offset)
        except Unreadable as error:
            self._file_fault("index", error)
            count = wanted
        if count != wanted:
            detail = f"{count} frames, {size} records need {wanted}"
            self.notes.find("segment.index", self.place.file_subject("index"), detail)
        self._check_slots(wanted)
        return [
            self._block(plains, range(dimension * per_block, (dimension + 1) * per_block))
            for dimension in range(self.place.dimensions)
        ]

    @staticmethod
    def _block(plains: Mapping[int, bytes], numbers: range) -> bytes | None:
        if all(number in plains for number in numbers):
            return b"".join(plains[number] for number in numbers)
        return None

    def _first_index_slot(self, file: RegularFile, index_frames: int) -> int:
        """Say where the keys of the index begin: behind those of the rows, or that many from the end.

        The two differ where frames of rows were cut off, or a key was added; the first frame tells.
        """
        from_end = max(len(self._keys) // KEY_SLOT_BYTES - index_frames, 0)
        candidates = [from_end] if self._holes else [len(self._frames), from_end]
        for slot in candidates:
            frames = self.place.frames("index", file, self._keys, self._vault_key, slot)
            first = next(frames.walk(), None)
            if isinstance(first, Place) and frames.opens(first):
                return slot
        return candidates[0]

    def _check_slots(self, index_frames: int) -> None:
        slots, rest = divmod(len(self._keys), KEY_SLOT_BYTES)
        frames = len(self._frames) + index_frames
        subject = self.place.file_subject("keys")
        if rest:
            self.notes.find("segment.keys", subject, f"{rest} bytes stand behind the last whole key")
        if self._keys and not self._holes and slots != frames:
            detail = (
                f"{slots} keys for {frames} frames of rows and index: frames were cut off, or a key added"
            )
            self.notes.find("segment.keys", subject, detail)

    def _check_head(self) -> None:
        """Compare the head with the manifest, which repeats it; `opened_us` is repeated nowhere."""
        manifest, where = self.place.manifest, self.place.file_subject("head")
        try:
            data = read_file(self.place.folder / "head", HEAD_MAX_BYTES)
            head = SegmentHead.parse(data)
            is_canonical = head.encode() == data
        except Unreadable as error:
            self._file_fault("head", error)
            return
        except (ValueError, TypeError, RecursionError) as error:
            self.notes.find("segment.head", where, f"it cannot be read: {error}")
            return
        said = (head.schema, head.profile, head.seq_lo, head.watermark_from)
        if not is_canonical:
            self.notes.find("segment.head", where, "it is not in its canonical form")
        elif manifest is not None and said != _head_of(manifest):
            self.notes.find(
                "segment.head", where, "schema, profile, seq or watermark is not that of the manifest"
            )

    def _check_names(self) -> None:
        for name in files_below(self.place.folder):
            subject = self.place.file_subject(name)
            if name.removesuffix(".tmp") in _NAMES and name.endswith(".tmp"):
                self.notes.remark("vault.leftover", subject, "an interrupted write left it; nothing reads it")
            elif name.removesuffix(".tmp") in _NEW_NAMES:
                detail = "an erasure was interrupted: the next command that writes finishes it, or drops it"
                self.notes.remark("vault.leftover", subject, detail)
            elif name not in _NAMES:
                self.notes.find("vault.stray", subject, "no part of Scellé puts it there")

    def _file_fault(self, name: str, error: Unreadable) -> None:
        if self.place.state is State.OPEN and not is_there(self.place.folder / "head"):
            return  # begun and not written to yet, or sealed by another process in this moment
        if error.is_missing and name in _FLUSHED and (self._is_begun() or self._is_made_since(name)):
            return  # the remark that it is open says how much was kept: nothing
        self.notes.find(error.code, self.place.file_subject(name), str(error))

    def _is_begun(self) -> bool:
        """Tell whether an open segment has its head and nothing was ever kept in it, which a crash may leave.

        What a flush wrote stands in both files: one of them alone, with bytes in it, has lost the other.
        """
        folder = self.place.folder
        if self.place.state is not State.OPEN or folder.suffix != OPEN_SUFFIX:
            return False
        names = {name.removesuffix(".tmp") for name in files_below(folder)}
        return names <= {"head", *_FLUSHED} and not any(_has_bytes(folder / name) for name in _FLUSHED)

    def _is_made_since(self, name: str) -> bool:
        """Tell whether a writer has made a file of an open segment since it was looked for."""
        return self.place.state is State.OPEN and is_there(self.place.folder / name)


def _has_bytes(path: Path) -> bool:
    """Tell whether something that is no empty file stands at `path`."""
    try:
        with _opened(path) as file:
            return file.size > 0
    except Unreadable as error:
        return not error.is_missing


def _leaves(record: ErasedRecord) -> dict[int, bytes | None]:
    return dict(zip(record.places, record.leaves, strict=True))


def _head_of(manifest: Segment) -> tuple[str, int, int, int]:
    return manifest.schema.hex(), manifest.profile, manifest.seq[0], manifest.watermark[0]
