"""Judge one segment: its rows against its manifest, and everything kept beside the rows against the rows.

Established for a segment without findings: its rows are exactly the records that its manifest commits to, in order,
each canonical and of its schema; index, tree and bounds are what these records give. Not established: that a time or
an account was right when it was sealed.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

from scelle.errors import FormatError
from scelle.formats.entries import Segment, round_time_bounds
from scelle.formats.index import index_leaf_of
from scelle.formats.schema import DOCUMENT_V1, EVENT_V1, Schema
from scelle.fsck.files import RegularFile, Unreadable, files_below, is_there, names_in, read_file
from scelle.fsck.frames import FrameFault, Hole, Place, SealedFrames, frame_context
from scelle.fsck.model import Notebook, record_range, runs, shown_name
from scelle.fsck.rows import HASH_BYTES, FrameRows, RowFault, RowJudge
from scelle.ledger.frames import KEY_SLOT_BYTES
from scelle.ledger.segments import FRAME_ROWS, SegmentHead, folder_name, parse_sort_key
from scelle.merkle.hashing import tree_root
from scelle.vault.keys import VaultKey

KEY_BYTES: Final = 32
TREE_MAX_BYTES: Final = (1 << 20) * 33 * HASH_BYTES
HEAD_MAX_BYTES: Final = 4096
_BUILT_IN: Final = {schema.digest: schema for schema in (DOCUMENT_V1, EVENT_V1)}
_SEALED_NAMES: Final = ("head", "index", "keys", "rows", "tree")
_OPEN_NAMES: Final = ("head", "keys", "rows")


class State(Enum):
    """Say what stands behind a segment's records."""

    SEALED = "sealed"
    """A manifest under the checkpoint commits to them."""
    UNPROVEN = "unproven"
    """A manifest must have, and cannot be believed."""
    OPEN = "open"
    """No manifest does yet: evidence of nothing."""


@dataclass(frozen=True, slots=True)
class SegmentPlace:
    """Name one segment and what is known of it; a worker process gets this and nothing else.

    `number_of_all` counts segments over all orders; `folder` is where its files stand.
    """

    folder: Path
    order: str
    origin: str
    alias: str
    number: int
    number_of_all: int
    state: State
    manifest: Segment | None
    schema: Schema | None
    profile: int
    seq_lo: int
    tag_key: bytes | None

    @property
    def subject(self) -> str:
        """Name it in a finding."""
        state = ", not sealed yet" if self.state is State.OPEN else ""
        return f"order {self.order}, {self.alias} segment {self.number}{state}"

    def file_subject(self, name: str) -> str:
        """Name one of its files in a finding."""
        folder = f"po/{self.order}/seg/{folder_name(self.alias)}/{self.folder.name}"
        return f"{self.subject}, file {name} ({folder}/{name})"

    def record_subject(self, seq: int, name: str) -> str:
        """Name one of its records in a finding."""
        called = f" ({shown_name(name)})" if name else ""
        return f"{self.subject}, record {seq}{called}"

    def judge(self) -> RowJudge:
        """Make the judge of its rows."""
        return RowJudge(
            alias=self.alias,
            schema=self.schema,
            profile=self.profile,
            tag_key=self.tag_key,
            seq_lo=self.seq_lo,
            place=self.number_of_all << 32,
        )

    @property
    def dimensions(self) -> int:
        """Count the dimensions; where the schema is not known, as the manifest implies."""
        if self.schema is not None:
            return len(self.schema.dimensions)
        manifest = self.manifest
        return manifest.index_size // manifest.records if manifest is not None and manifest.records else 0


def built_in_schema(digest: bytes) -> Schema | None:
    """Give a schema that Scellé knows without reading it."""
    return _BUILT_IN.get(digest)


class RowsTask(NamedTuple):
    """Ask for the rows of some frames of a segment; `only` are the records to judge, None for all."""

    place: SegmentPlace
    vault_key: VaultKey
    frames: tuple[Place, ...]
    first_seq: int
    only: frozenset[int] | None


class RowsAnswer(NamedTuple):
    """Give the rows of the frames that opened, and why the others did not: (frame, is it the key, detail)."""

    rows: list[FrameRows]
    closed: list[tuple[int, bool, str]]


def read_rows(task: RowsTask) -> RowsAnswer:
    """Open and judge frames of rows; runs in a worker process."""
    place, judge = task.place, task.place.judge()
    answer = RowsAnswer([], [])
    with _opened(place.folder / "rows") as file:
        frames = _sealed_frames(place, "rows", file, _keys_bytes(place), task.vault_key, 0)
        expected = task.first_seq
        for frame in task.frames:
            try:
                rows = judge.judge(frame.number, frames.open(frame), expected, task.only)
            except FrameFault as fault:
                answer.closed.append((frame.number, fault.is_key, str(fault)))
                continue
            answer.rows.append(rows)
            expected = rows.first_seq + rows.count
    return answer


class _Opened:
    """Close a file that was opened, whatever happens."""

    def __init__(self, file: RegularFile) -> None:
        self._file = file

    def __enter__(self) -> RegularFile:
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _opened(path: Path) -> _Opened:
    return _Opened(RegularFile(path))


def _keys_bytes(place: SegmentPlace) -> bytes:
    try:
        return read_file(place.folder / "keys")
    except Unreadable:
        return b""  # said once, by the examination of the whole segment


def _sealed_frames(
    place: SegmentPlace, kind: str, file: RegularFile, keys: bytes, vault_key: VaultKey, first_slot: int
) -> SealedFrames:
    context = frame_context(place.origin, place.alias, place.number, kind)
    return SealedFrames(file, keys, vault_key, context, first_slot)


@dataclass(slots=True)
class _Rows:
    """The rows of a segment, assembled: one entry a record, by its place (seq - seq_lo)."""

    commitments: bytearray
    leaves: list[bytearray]
    keys: list[bytearray]
    inners: bytearray
    judged: bytearray
    minimum_us: int | None = None
    maximum_us: int | None = None
    undated: int = 0
    digest_only: int = 0
    wants: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Count the places."""
        return len(self.judged)

    @property
    def count(self) -> int:
        """Count the records that were judged."""
        return self.judged.count(1)

    @property
    def is_whole(self) -> bool:
        """Tell whether every place has its record."""
        return 0 not in self.judged

    def holes(self) -> list[int]:
        """List the places without a record."""
        return [place for place, judged in enumerate(self.judged) if not judged]


class Examination:
    """Examine one segment: hand out `tasks`, `take` their answers, then `finish`."""

    def __init__(
        self, place: SegmentPlace, vault_key: VaultKey, only: frozenset[int] | None, frames_a_task: int
    ) -> None:
        self.place = place
        self.notes = Notebook()
        self.wants: list[bytes] = []
        self.records = 0
        self._vault_key, self._only, self._frames_a_task = vault_key, only, frames_a_task
        self._keys = b""
        self._frames: list[Place] = []
        self._frames_end_cleanly = True
        self._broken_frames: list[tuple[int, str]] = []
        self._answers: dict[int, FrameRows] = {}
        self._order: list[int] = []

    # -- before: where the frames stand -----------------------------------------------------------------------

    def tasks(self) -> list[RowsTask]:
        """Find the frames of rows and cut them into tasks; note what is wrong with the files as such."""
        place = self.place
        try:
            self._keys = read_file(place.folder / "keys")
        except Unreadable as error:
            self._file_fault("keys", error)
        try:
            with _opened(place.folder / "rows") as file:
                frames = _sealed_frames(place, "rows", file, self._keys, self._vault_key, 0)
                self._note_frames(frames, is_tail_torn=place.state is State.OPEN)
        except Unreadable as error:
            self._file_fault("rows", error)
        step = self._frames_a_task
        return [
            RowsTask(place, self._vault_key, tuple(self._frames[at : at + step]), place.seq_lo, self._only)
            for at in range(0, len(self._frames), step)
        ]

    def _note_frames(self, frames: SealedFrames, *, is_tail_torn: bool) -> None:
        for found in frames.walk():
            if isinstance(found, Place):
                self._frames.append(found)
                continue
            self._frames_end_cleanly = False
            where = f"{self.place.file_subject('rows')}, frame {found.number} at byte {found.offset}"
            if is_tail_torn:
                continue  # what stands behind the last sync; a frame found behind it is read all the same
            self.notes.find("segment.frame", where, f"{found.size} bytes in which no frame can be made out")

    def _file_fault(self, name: str, error: Unreadable) -> None:
        code = "file.missing" if error.is_missing else "file.unreadable"
        self.notes.find(code, self.place.file_subject(name), str(error))

    def take(self, answer: RowsAnswer) -> None:
        """Keep the rows that a worker judged."""
        for rows in answer.rows:
            self._answers[rows.number] = rows
        self._broken_frames += [(number, detail) for number, is_key, detail in answer.closed if not is_key]
        for number, is_key, detail in answer.closed:
            self._frame_fault("rows", number, is_key, detail, number)

    def _frame_fault(self, name: str, number: int, is_key: bool, detail: str, slot: int) -> None:
        if self.place.state is State.OPEN and name == "rows" and number >= len(self._frames) - 1:
            return  # the tail that no sync covered
        if is_key:
            where = f"{self.place.file_subject('keys')}, slot {slot} (frame {number} of {name})"
            self.notes.find("segment.keys", where, detail)
            return
        offset = next((place.offset for place in self._frames if place.number == number), 0)
        at = f" at byte {offset}" if name == "rows" else ""
        self.notes.find("segment.frame", f"{self.place.file_subject(name)}, frame {number}{at}", detail)

    # -- after: what the rows give ----------------------------------------------------------------------------

    def finish(self) -> None:
        """Compare the rows with the manifest, and index, tree, keys and head with the rows."""
        rows = self._assemble()
        self.records, self.wants = rows.count, rows.wants
        self._note_digest_only(rows.digest_only)
        place = self.place
        if place.state is State.OPEN:
            self._note_open(rows)
            self._check_names(_OPEN_NAMES, allowed=_SEALED_NAMES)
            return
        if place.state is State.UNPROVEN:
            self.notes.find("segment.manifest", place.subject, "its manifest in the log cannot be believed or is missing")
        tree = self._tree(rows.size)
        index = self._index_keys(rows.size)
        _Comparison(place, self.notes, rows, tree, index, self._names(), self._only).run()
        self._check_slots(index.frames)
        self._check_head()
        self._check_names(_SEALED_NAMES)

    def _names(self) -> dict[int, str]:
        """Give the names of the records that have faults; the others are looked up when they are needed."""
        return {}

    def _assemble(self) -> _Rows:
        place = self.place
        answers = [self._answers[number] for number in sorted(self._answers)]
        size = self._size(answers)
        has_tags = bool(place.tag_key is not None and place.schema is not None)
        dimensions = len(place.schema.dimensions) if place.schema is not None and has_tags else 0
        rows = _Rows(
            bytearray(HASH_BYTES * size),
            [bytearray(HASH_BYTES * size) for _ in range(dimensions)],
            [bytearray(KEY_BYTES * size) for _ in range(dimensions)],
            bytearray(0 if has_tags else HASH_BYTES * size),
            bytearray(size),
        )
        for answer in answers:
            self._note_row_faults(answer.faults)
            self._place_rows(rows, answer)
        if self._only is None:
            self._note_holes(rows)
        return rows

    def _size(self, answers: Sequence[FrameRows]) -> int:
        """Say how many places there are: as the manifest says, else as the rows give."""
        place = self.place
        if place.manifest is not None:
            return place.manifest.records
        return max((answer.first_seq + answer.count - place.seq_lo for answer in answers), default=0)

    def _place_rows(self, rows: _Rows, answer: FrameRows) -> None:
        """Put the buffers of one frame where its records belong."""
        if answer.seqs is None:
            at = answer.first_seq - self.place.seq_lo
            if 0 <= at and at + answer.count <= rows.size and not any(rows.judged[at : at + answer.count]):
                self._place_run(rows, answer, 0, at, answer.count)
                self._add_totals(rows, answer)
                return
        seqs = answer.seqs if answer.seqs is not None else range(answer.first_seq, answer.first_seq + answer.count)
        surplus = []
        for number, seq in enumerate(seqs):
            at = seq - self.place.seq_lo
            if 0 <= at < rows.size and not rows.judged[at]:
                self._place_run(rows, answer, number, at, 1)
            else:
                surplus.append(seq)
        for lo, hi in runs(sorted(surplus)):
            detail = "there twice, or beyond what the manifest seals"
            self.notes.find("segment.records", f"{self.place.subject}, {record_range(lo, hi)}", detail)
        self._add_totals(rows, answer)

    @staticmethod
    def _place_run(rows: _Rows, answer: FrameRows, number: int, at: int, count: int) -> None:
        source = slice(HASH_BYTES * number, HASH_BYTES * (number + count))
        target = slice(HASH_BYTES * at, HASH_BYTES * (at + count))
        rows.commitments[target] = answer.commitments[source]
        for kept, given in zip((*rows.leaves, *rows.keys), (*answer.leaves, *answer.keys), strict=True):
            kept[target] = given[source]
        if answer.inners:
            rows.inners[target] = answer.inners[source]
        rows.judged[at : at + count] = b"\1" * count

    @staticmethod
    def _add_totals(rows: _Rows, answer: FrameRows) -> None:
        times = [time for time in (rows.minimum_us, answer.minimum_us) if time is not None]
        rows.minimum_us = min(times, default=None)
        times = [time for time in (rows.maximum_us, answer.maximum_us) if time is not None]
        rows.maximum_us = max(times, default=None)
        rows.undated += answer.undated
        rows.digest_only += answer.digest_only
        rows.wants.append(answer.wants)

    def _note_row_faults(self, faults: Sequence[RowFault]) -> None:
        for fault in faults:
            subject = self.place.subject if fault.seq is None else self.place.record_subject(fault.seq, fault.name)
            self.notes.find(fault.code, subject, fault.detail)

    def _note_holes(self, rows: _Rows) -> None:
        if self.place.manifest is None and self.place.state is State.OPEN:
            return
        for lo, hi in runs(rows.holes()):
            where = record_range(lo + self.place.seq_lo, hi + self.place.seq_lo)
            self.notes.find("segment.records", f"{self.place.subject}, {where}", "no row that can be read has it")

    def _note_digest_only(self, count: int) -> None:
        if count:
            self.notes.remark("content.digest_only", self.place.subject, f"{count} of its records")

    def _note_open(self, rows: _Rows) -> None:
        detail = f"{rows.count} records, readable, under no manifest yet: evidence of nothing before they are sealed"
        self.notes.remark("segment.open", self.place.subject, detail)

    # -- the files beside the rows ----------------------------------------------------------------------------

    def _tree(self, size: int) -> bytes | None:
        try:
            tree = read_file(self.place.folder / "tree", TREE_MAX_BYTES)
        except Unreadable as error:
            self._file_fault("tree", error)
            return None
        wanted = HASH_BYTES * size * (1 + self.place.dimensions)
        if len(tree) != wanted:
            detail = f"it has {len(tree)} bytes, {size} records need {wanted}"
            self.notes.find("segment.tree", self.place.file_subject("tree"), detail)
            return None
        return tree

    def _index_keys(self, size: int) -> "_IndexKeys":
        """Read the stored sort keys, one buffer a dimension; None for one of which a frame does not open."""
        place = self.place
        first_slot = len(self._frames)
        per_block = -(-size // FRAME_ROWS)
        if not self._frames_end_cleanly:  # then the slots tell better than the file how many rows frames there were
            first_slot = max(len(self._keys) // KEY_SLOT_BYTES - per_block * place.dimensions, 0)
        plains: dict[int, bytes] = {}
        found = 0
        try:
            with _opened(place.folder / "index") as file:
                frames = _sealed_frames(place, "index", file, self._keys, self._vault_key, first_slot)
                for frame in frames.walk():
                    if isinstance(frame, Hole):
                        where = f"{place.file_subject('index')}, frame {frame.number} at byte {frame.offset}"
                        detail = f"{frame.size} bytes in which no frame can be made out"
                        self.notes.find("segment.frame", where, detail)
                        continue
                    found = frame.number + 1
                    try:
                        plains[frame.number] = frames.open(frame)
                    except FrameFault as fault:
                        slot = first_slot + frame.number
                        self._frame_fault("index", frame.number, fault.is_key, str(fault), slot)
        except Unreadable as error:
            self._file_fault("index", error)
        blocks: list[bytes | None] = []
        for dimension in range(place.dimensions):
            numbers = range(dimension * per_block, (dimension + 1) * per_block)
            whole = all(number in plains for number in numbers)
            blocks.append(b"".join(plains[number] for number in numbers) if whole else None)
        return _IndexKeys(blocks, first_slot, max(found, per_block * place.dimensions))

    def _check_slots(self, index_frames: int) -> None:
        slots, rest = divmod(len(self._keys), KEY_SLOT_BYTES)
        if not self._keys and not is_there(self.place.folder / "keys"):
            return
        frames = len(self._frames) + index_frames
        if rest:
            detail = f"{rest} bytes behind the last whole key"
            self.notes.find("segment.keys", self.place.file_subject("keys"), detail)
        if slots != frames and self._frames_end_cleanly:
            detail = f"{slots} keys for {frames} frames: a spare key could open what was to be destroyed"
            self.notes.find("segment.keys", self.place.file_subject("keys"), detail)

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
        except (ValueError, TypeError, FormatError) as error:
            self.notes.find("segment.head", where, f"it cannot be read: {error}")
            return
        said = (head.schema, head.profile, head.seq_lo, head.watermark_from)
        if not is_canonical:
            self.notes.find("segment.head", where, "it is not in its canonical form")
        elif manifest is not None and said != (
            manifest.schema.hex(),
            manifest.profile,
            manifest.seq[0],
            manifest.watermark[0],
        ):
            self.notes.find("segment.head", where, "schema, profile, seq or watermark is not that of the manifest")

    def _check_names(self, names: Collection[str], allowed: Collection[str] = ()) -> None:
        for name in files_below(self.place.folder):
            if name in names or name in allowed:
                continue
            subject = self.place.file_subject(name)
            if name.endswith(".tmp") and name.removesuffix(".tmp") in (*names, *allowed):
                self.notes.remark("vault.leftover", subject, "an interrupted write left it")
            else:
                self.notes.find("vault.stray", subject, "no part of Scellé puts it there")


class _IndexKeys(NamedTuple):
    """The stored sort keys by dimension (None where a frame does not open), and how many frames they take."""

    blocks: list[bytes | None]
    first_slot: int
    frames: int


class _Comparison:
    """Compare assembled rows with the manifest and with what is kept beside them."""

    def __init__(
        self,
        place: SegmentPlace,
        notes: Notebook,
        rows: _Rows,
        tree: bytes | None,
        index: _IndexKeys,
        names: dict[int, str],
        only: frozenset[int] | None,
    ) -> None:
        self._place, self._notes, self._rows, self._names = place, notes, rows, names
        self._tree, self._index, self._only = tree, index, only

    def run(self) -> None:
        """Make every comparison."""
        self._records()
        self._index_entries()
        if self._only is None:
            self._bounds()

    def _find(self, code: str, what: str, detail: str) -> None:
        self._notes.find(code, f"{self._place.subject}{what}", detail)

    def _split_tree(self) -> tuple[bytes, bytes] | None:
        if self._tree is None:
            return None
        middle = HASH_BYTES * self._rows.size
        return self._tree[:middle], self._tree[middle:]
