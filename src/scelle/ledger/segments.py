"""Write and read the segments of one log source: rows in capture order, index entries sorted, two trees.

An open segment *is* the write-ahead log of its source: rows go to `<number>.open/rows` in sealed frames and
are durable after `flush`. Closing adds `index` and `tree` and renames the folder to `<number>`; the manifest
is committed to the log after that. A closed folder whose manifest never reached the log becomes open again
(`OrderLedgerWriter` does that when it opens): one path for every crash (docs/adr/0003).
"""

import json
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from scelle.errors import FormatError, SegmentDamaged
from scelle.formats.entries import Segment, round_time_bounds
from scelle.formats.index import SORT_KEY_BYTES
from scelle.formats.records import RECORD_KEY_BYTES
from scelle.formats.schema import Schema
from scelle.formats.tokens import shown
from scelle.ledger.columns import ColumnMaker, RecordColumns
from scelle.ledger.crew import CommitCrew
from scelle.ledger.frames import KEY_SLOT_BYTES, FrameReader, FrameWriter
from scelle.ledger.rows import Row, decode_own_rows, decode_rows
from scelle.merkle.hashing import HASH_BYTES, TreeHasher
from scelle.vault import durable
from scelle.vault.keys import VaultKey

MAX_RECORDS = 1 << 20
MAX_OPEN_US = 15 * 60 * 1_000_000
FRAME_ROWS = 8192
"""Sort keys in a frame of the index."""
ROW_FRAME_ROWS = 1024
"""Rows in a frame of rows: one row is found in a few hundred kilobytes (docs/adr/0011)."""
NODES_LEVEL = 8
NODES_FROM = 1 << 16
"""Entries of X from which on `nodes` is kept: below, the tree is hashed in no time."""
FRAME_BYTES = 4 << 20
COLUMNS_MAX_BYTES = 192 << 20
"""What the columns of an open segment take; closing it needs 120 MB more."""
SIDE_MAX_BYTES = 65_535
ERASED_NAME = "erased"
"""The file that is there once records of a segment were erased (docs/formats/ledger-files.md)."""
_SIGN = 1 << 63
_TIME, _SEQ = b"t\0\0\0\x08", b"i\0\0\0\x08"
_pack_time_and_seq = struct.Struct(">5sq5sq").pack
_BE32, _BE16 = struct.Struct(">I"), struct.Struct(">H")
_pack_be32, _pack_be16 = _BE32.pack, _BE16.pack
_FIRST_SEQ_BYTES = RECORD_KEY_BYTES + 4 + 13 + 13
"""Where the first row's sequence number ends in a frame: behind the record key, a length, the time and itself."""
_BATCH_ROWS = 512
_FRAMES_KEPT = 4
_PIECE_BYTES = 1 << 17
_ROW_BYTES = RECORD_KEY_BYTES + 4 + 2
"""What a row takes beside its values and its side."""

_Appended = tuple[bytes, int, tuple[bytes, ...], bytes, bytes]
"""Record key, time, values behind time and seq, all values joined, side. A bare tuple: it is made a million times."""


def folder_name(alias: str) -> str:
    """Return the folder of a log source: a family's number is parted by `~`, since `/` would nest."""
    return alias.replace("/", "~")


def alias_of(folder: str) -> str:
    """Return the log source of a folder."""
    return folder.replace("~", "/")


def frame_context(origin: str, alias: str, number: int, kind: str) -> bytes:
    """Return what every frame of a segment's `rows` or `index` is bound to (docs/formats/ledger-files.md)."""
    return f"scelle/{kind}/v1\n{origin}\n{alias}\n{number}\n".encode()


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """What an open segment was started with (`head`, canonical JSON; derived: the manifest repeats it)."""

    schema: str
    profile: int
    seq_lo: int
    watermark_from: int
    opened_us: int

    def encode(self) -> bytes:
        """Return the bytes of the file `head`."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> "SegmentHead":
        """Read the file `head`."""
        return cls(**json.loads(data))


class SegmentWriter:
    """Collect the records of one segment; see `RecordColumns` for what a record takes in memory.

    Values are taken as they are: whoever encodes them answers for their form and types.
    """

    def __init__(
        self,
        folder: Path,
        *,
        origin: str,
        alias: str,
        number: int,
        head: SegmentHead,
        schema: Schema,
        tag_key: bytes,
        vault_key: VaultKey,
        crew: CommitCrew | None = None,
    ) -> None:
        self.alias, self.number, self.head, self.schema = alias, number, head, schema
        self.folder = folder
        self._origin, self._vault_key = origin, vault_key
        self._identified = len(schema.dimensions) - 1
        self._maker = ColumnMaker(schema, head.profile, tag_key)
        self._columns = RecordColumns(self._maker, alias, head.seq_lo)
        self._crew = crew
        self._is_handed_out = False
        """Whether the columns of the frame that is being filled are made by the crew."""
        self._batch: list[_Appended] = []
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._batch_seq = self._frame_seq = self._next_seq = head.seq_lo
        self.durable_seq = head.seq_lo
        """The records below it are durable; of those behind it a crash may leave none."""
        self._frame_starts: list[int] = []
        """The sequence number of the first row of each frame that was written."""
        self.max_records = min(MAX_RECORDS, COLUMNS_MAX_BYTES // self._columns.record_bytes)
        """How many records this segment takes; fewer than 2^20 where there are more than eight dimensions."""
        self.before_frame: Callable[[], object] | None = None
        """Called before rows leave memory on their own: makes durable what they speak of."""
        self._rows_file = durable.AppendFile(folder / "rows")
        self._keys_file = durable.AppendFile(folder / "keys")
        self._frames = FrameWriter(
            self._rows_file, self._keys_file, vault_key, frame_context(origin, alias, number, "rows"), 0
        )

    @classmethod
    def start(
        cls,
        parent: Path,
        *,
        origin: str,
        alias: str,
        number: int,
        head: SegmentHead,
        schema: Schema,
        tag_key: bytes,
        vault_key: VaultKey,
        crew: CommitCrew | None = None,
    ) -> "SegmentWriter":
        """Open a new segment. A crash leaves an `.open` folder without rows, which the next writer removes."""
        folder = parent / f"{number}.open"
        durable.make_directory(folder)
        durable.write_file(folder / "head", head.encode())
        writer = cls(
            folder,
            origin=origin,
            alias=alias,
            number=number,
            head=head,
            schema=schema,
            tag_key=tag_key,
            vault_key=vault_key,
            crew=crew,
        )
        durable.sync_directory(
            folder
        )  # the names of its files, too, or a flush would promise what is not there
        return writer

    @classmethod
    def resume(
        cls,
        folder: Path,
        *,
        origin: str,
        alias: str,
        number: int,
        schema: Schema,
        tag_key: bytes,
        vault_key: VaultKey,
        crew: CommitCrew | None = None,
    ) -> "SegmentWriter":
        """Continue an open segment after a crash: keep every intact frame, cut the torn tail."""
        head = SegmentHead.parse((folder / "head").read_bytes())
        writer = cls(
            folder,
            origin=origin,
            alias=alias,
            number=number,
            head=head,
            schema=schema,
            tag_key=tag_key,
            vault_key=vault_key,
            crew=crew,
        )
        reader = FrameReader(
            folder / "rows", folder / "keys", vault_key, frame_context(origin, alias, number, "rows")
        )
        frames = end = 0
        for plain, stop in reader.good_prefix():
            writer._take_back(plain)
            frames, end = frames + 1, stop
        reader.close()
        writer._rows_file.truncate(end)
        writer._keys_file.truncate(frames * KEY_SLOT_BYTES)
        writer._frames.number = frames
        writer._frames.sync()
        writer.durable_seq = writer._next_seq
        return writer

    def _take_back(self, plain: bytes) -> None:
        """Take the rows of a frame that is written already."""
        self._frame_starts.append(self._next_seq)
        try:
            for part in self._maker.of_frame(self._next_seq, plain):
                self._columns.take(part)
                self._next_seq += part.records
        except SegmentDamaged as error:
            raise SegmentDamaged(f"{self.folder}: {error}") from error
        self._batch_seq = self._frame_seq = self._next_seq

    @property
    def records(self) -> int:
        """Count the records appended so far."""
        return self._next_seq - self.head.seq_lo

    @property
    def next_seq(self) -> int:
        """Return the sequence number of the next record."""
        return self._next_seq

    def append(self, record_key: bytes, time_us: int, rest: Sequence[bytes], side: bytes = b"") -> int:
        """Append one record; `rest` are the values after time and seq. Return its sequence number.

        Durable after `flush`; a crash before may keep it, too, since a full frame is written at once: what
        `before_frame` does, comes first. Raises FormatError, and appends nothing, for a record key of another
        width than 32 bytes, fewer values than there are dimensions, a time over 64 bits, and a side over 65,535
        bytes.
        """
        seq = self._next_seq
        if len(record_key) != RECORD_KEY_BYTES or len(rest) < self._identified or len(side) > SIDE_MAX_BYTES:
            raise self._refusal(record_key, rest, side)
        try:
            values = b"".join((_pack_time_and_seq(_TIME, time_us, _SEQ, seq), *rest))
        except struct.error:
            raise FormatError(f"time {shown(time_us)} is over 64 bits: give microseconds") from None
        self._batch.append((record_key, time_us, tuple(rest), values, side))
        self._next_seq = seq + 1
        self._pending_bytes += _ROW_BYTES + len(values) + len(side)
        if self._pending_bytes >= FRAME_BYTES or seq + 1 - self._frame_seq >= ROW_FRAME_ROWS:
            if self.before_frame is not None:
                self.before_frame()
            self._write_frame()
        elif len(self._batch) >= _BATCH_ROWS:
            self._take_batch()
        return seq

    def _refusal(self, record_key: bytes, rest: Sequence[bytes], side: bytes) -> FormatError:
        return FormatError(
            f"record {self._next_seq} of {self.alias}: a key of {len(record_key)} bytes, {len(rest)} values behind "
            f"time and seq, and a side of {len(side)} bytes; must be 32, at least {self._identified} and at most "
            f"{SIDE_MAX_BYTES}"
        )

    def _take_batch(self) -> None:
        """Turn what was appended into columns and rows: many records at once cost half of each by itself."""
        if not self._batch:
            return
        record_keys, times, rests, values, sides = zip(*self._batch, strict=True)
        lengths = map(_pack_be32, map(len, values))
        side_lengths = map(_pack_be16, map(len, sides))
        parts = zip(record_keys, lengths, values, side_lengths, sides, strict=True)
        self._pending.append(b"".join(chain.from_iterable(parts)))
        if self._crew is not None and self._batch_seq == self._frame_seq:
            self._is_handed_out = self._crew.has_room
        if not self._is_handed_out:
            self._columns.take_records(self._batch_seq, record_keys, times, rests, values)
        self._batch_seq += len(times)
        self._batch.clear()

    def _write_frame(self) -> None:
        self._take_batch()
        if self._pending:
            plain = b"".join(self._pending)
            if self._crew is not None:
                self._crew.count(self._next_seq - self._frame_seq)
                if self._is_handed_out:
                    self._columns.take_later(self._crew.columns(self._maker, self._frame_seq, plain))
            self._frames.write(plain)
            self._frame_starts.append(self._frame_seq)
            self._pending.clear()
            self._pending_bytes, self._frame_seq = 0, self._next_seq

    def flushed_rows(self) -> Iterator[Row]:
        """Yield the rows whose frames were written, in capture order."""
        context = frame_context(self._origin, self.alias, self.number, "rows")
        reader = FrameReader(self.folder / "rows", self.folder / "keys", self._vault_key, context)
        seq = self.head.seq_lo
        for place in reader.places():
            for row in decode_rows(reader.read(place), seq):
                yield row
                seq = row.seq + 1
        reader.close()

    def row(self, seq: int) -> Row:
        """Return one row of the open segment; raise `SegmentDamaged` where it has none of this number."""
        self._write_frame()
        number = bisect_right(self._frame_starts, seq) - 1
        context = frame_context(self._origin, self.alias, self.number, "rows")
        reader = FrameReader(self.folder / "rows", self.folder / "keys", self._vault_key, context)
        try:
            plain = reader.read(reader.places()[number]) if number >= 0 else b""
            for row in decode_rows(plain, self._frame_starts[number]):
                if row.seq == seq:
                    return row
        finally:
            reader.close()
        raise SegmentDamaged(f"{self.folder}: no row with sequence number {seq}: run `scelle verify`")

    def flush(self) -> None:
        """Make every record appended so far durable. A crash before leaves them out, as if never offered."""
        self._write_frame()
        self._frames.sync()
        self.durable_seq = self._next_seq

    def commitments(self, lo: int, hi: int) -> bytes:
        """Return the commitments of the durable records [lo, hi), 32 bytes each, in capture order.

        Raises `SegmentDamaged` where one of them is not durable, or not of this segment.
        """
        if not self.head.seq_lo <= lo <= hi <= self.durable_seq:
            raise SegmentDamaged(f"{self.folder}: records {lo} to {hi} are not all durable there")
        self._columns.settle()
        return self._columns.commitments(lo - self.head.seq_lo, hi - self.head.seq_lo)

    def durable_rows(self, lo: int) -> Iterator[Row]:
        """Yield the durable rows from `lo` on, opening no frame that lies before it."""
        first = max(0, bisect_right(self._frame_starts, lo) - 1)
        context = frame_context(self._origin, self.alias, self.number, "rows")
        reader = FrameReader(self.folder / "rows", self.folder / "keys", self._vault_key, context)
        try:
            for number, place in enumerate(reader.places()[first:], first):
                for row in decode_rows(reader.read(place), self._frame_starts[number]):
                    if lo <= row.seq < self.durable_seq:
                        yield row
        finally:
            reader.close()

    def close(
        self,
        *,
        order: str,
        watermark_to: int,
        previous: bytes | None,
        anchor: bytes | None,
        position: tuple[bytes | None, bytes | None] = (None, None),
    ) -> Segment:
        """Write index and tree, rename the folder to its number, and return the manifest to be logged.

        A crash before the rename leaves the open segment; after it, a closed folder whose manifest is not in
        the log, which the next writer opens again.
        """
        self._write_frame()
        self._frames.sync()
        record_root, index_root = self._write_index()
        manifest = self._manifest(
            order, watermark_to, previous, anchor, record_root, index_root, position=position
        )
        self._rows_file.close()
        self._keys_file.close()
        durable.sync_directory(self.folder)
        durable.replace(self.folder, self.folder.with_name(str(self.number)))
        self.folder = self.folder.with_name(str(self.number))
        return manifest

    def abandon(self) -> None:
        """Close the files without closing the segment; what was flushed is found again by `resume`."""
        self._rows_file.close()
        self._keys_file.close()

    def discard(self) -> None:
        """Drop every row and close the files: nothing of the segment was ever committed."""
        for file in (self._rows_file, self._keys_file):
            file.truncate(0)
            file.sync()
        self.abandon()

    def _write_index(self) -> tuple[bytes, bytes]:
        """Write sort keys in frames, their keys behind those of the rows, and leaf hashes; return both roots.

        A close that crashed half-way may have left either file.
        """
        index_file, tree_file = (
            durable.AppendFile(self.folder / "index"),
            durable.AppendFile(self.folder / "tree"),
        )
        index_file.truncate(0)
        tree_file.truncate(0)
        context = frame_context(self._origin, self.alias, self.number, "index")
        frames = FrameWriter(index_file, self._keys_file, self._vault_key, context, 0)
        records, entries = TreeHasher(NODES_LEVEL), TreeHasher(NODES_LEVEL)
        self._columns.settle()
        commitments = self._columns.take_commitments()
        tree_file.write(commitments)
        records.extend(commitments)
        del commitments
        for dimension in range(1, len(self.schema.dimensions) + 1):
            for part in self._columns.sorted_parts(dimension, FRAME_ROWS, self._crew):
                frames.write(part.keys)
                tree_file.write(part.leaves)
                entries.extend(part.leaves)
        frames.sync()
        index_file.close()
        tree_file.sync()
        tree_file.close()
        if entries.size >= NODES_FROM:
            durable.write_file(self.folder / "nodes", bytes(records.kept + entries.kept))
        return records.root(), entries.root()

    def _manifest(
        self,
        order: str,
        watermark_to: int,
        previous: bytes | None,
        anchor: bytes | None,
        record_root: bytes,
        index_root: bytes,
        *,
        position: tuple[bytes | None, bytes | None],
    ) -> Segment:
        bounds, columns = None, self._columns
        if columns.minimum_us is not None and columns.maximum_us is not None:
            bounds = round_time_bounds(columns.minimum_us, columns.maximum_us)
        return Segment(
            order=order,
            source=self.alias,
            number=self.number,
            records=self.records,
            seq=(self.head.seq_lo, self.next_seq),
            time=bounds,
            undated=columns.undated,
            watermark=(self.head.watermark_from, watermark_to),
            profile=self.head.profile,
            schema=self.schema.digest,
            record_root=record_root,
            index_size=self.records * len(self.schema.dimensions),
            index_root=index_root,
            position=position,
            anchor=anchor,
            prev=previous,
        )


class _RowFrame:
    """Find rows in one frame, unpacking it as far as they stand; no other row is made."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._plain = stream, bytearray()
        self._offsets = [0]
        self._unpack_more()
        self.first_seq = _seq_at(self._plain, 0) if self._plain else None
        """The sequence number of the first row; None where all rows of the frame were erased."""

    def row(self, seq: int) -> Row | None:
        """Return a row, None where the frame ends before it or it is not there."""
        if self.first_seq is None or seq < self.first_seq:
            return None
        place = seq - self.first_seq
        self._look_up_to(place)
        place = min(place, len(self._offsets) - 2)
        if self._seq(place) != seq:  # rows before it were erased, and it moved up
            place = bisect_left(range(place), seq, key=self._seq)
            if self._seq(place) != seq:
                return None
        start, stop = self._offsets[place : place + 2]
        return next(decode_rows(bytes(self._plain[start:stop]), seq))

    def _seq(self, place: int) -> int:
        return _seq_at(self._plain, self._offsets[place])

    def _look_up_to(self, place: int) -> None:
        """Note where the rows up to number `place` of this frame end, or all where there are fewer."""
        plain, offsets, be32, be16 = self._plain, self._offsets, _BE32.unpack_from, _BE16.unpack_from
        offset = offsets[-1]
        while len(offsets) <= place + 1:
            try:
                side_at = offset + 36 + be32(plain, offset + 32)[0]
                stop = side_at + 2 + be16(plain, side_at)[0]
            except struct.error:  # not unpacked yet, or the end
                stop = len(plain) + 1
            if stop <= len(plain):
                offsets.append(stop)
                offset = stop
            elif not self._unpack_more():
                if offset != len(plain):
                    raise SegmentDamaged("a row is longer than its frame")
                return

    def _unpack_more(self) -> bool:
        piece = self._stream.read(_PIECE_BYTES)
        self._plain += piece
        return len(piece) > 0


def _seq_at(plain: bytes | bytearray, offset: int) -> int:
    """Read the sequence number that the row at `offset` holds: its second value, behind key, length and time."""
    return int.from_bytes(plain[offset + 54 : offset + _FIRST_SEQ_BYTES], "big", signed=True)


class SegmentReader:
    """Read one committed segment: rows, sorted index entries, leaf hashes.

    Establishes that every byte read is as this vault wrote it. Does not establish that it is what the
    manifest commits to: `fsck` does.
    """

    def __init__(
        self, folder: Path, *, origin: str, manifest: Segment, schema: Schema, vault_key: VaultKey
    ) -> None:
        self.folder, self.manifest, self.schema = folder, manifest, schema
        self._rows = FrameReader(
            folder / "rows",
            folder / "keys",
            vault_key,
            frame_context(origin, manifest.source, manifest.number, "rows"),
        )
        self._index = FrameReader(
            folder / "index",
            folder / "keys",
            vault_key,
            frame_context(origin, manifest.source, manifest.number, "index"),
            first_slot=len(self._rows.places()),
        )
        self._tree: FileIO | None = None
        self._first_seqs: dict[int, int] = {}
        self._kept: dict[int, _RowFrame] = {}
        self._has_full_frames = self.row_frames == -(-manifest.records // ROW_FRAME_ROWS)
        self.is_thinned = (folder / ERASED_NAME).exists()
        """Whether records were erased: then rows do not follow one another without a gap."""

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._index.close()
        if self._tree is not None:
            self._tree.close()

    @property
    def key_slots(self) -> tuple[int, int]:
        """Return how many key slots there are, and how many frames."""
        return self._rows.key_slots, len(self._rows.places()) + len(self._index.places())

    def rows(self) -> Iterator[Row]:
        """Yield all rows in capture order; those of erased records are not there any more."""
        if self.is_thinned:
            for place in self._rows.places():
                yield from decode_own_rows(self._rows.read(place))
            return
        seq = self.manifest.seq[0]
        for place in self._rows.places():
            for row in decode_rows(self._rows.read(place), seq):
                yield row
                seq = row.seq + 1

    def row(self, seq: int) -> Row:
        """Return one row; raise `SegmentDamaged` where there is none of this number.

        Of a frame only the rows before it are passed over, and the frames used last are at hand. Where frames are not
        full, a few others are opened to find it, once for each reader.
        """
        low, high = self.manifest.seq
        row = self._find(seq) if low <= seq < high and self.row_frames else None
        if row is None:
            raise SegmentDamaged(f"{self.folder}: no row with sequence number {seq}: run `scelle verify`")
        return row

    def _find(self, seq: int) -> Row | None:
        if self._has_full_frames:
            row = self._frame((seq - self.manifest.seq[0]) // ROW_FRAME_ROWS).row(seq)
            if row is not None:
                return row
            self._has_full_frames = False  # as many as full ones would be, and yet they are not
        return self._frame(self._frame_of(seq)).row(seq)

    def _frame(self, number: int) -> _RowFrame:
        frame = self._kept.pop(number, None)
        if frame is None:
            if len(self._kept) >= _FRAMES_KEPT:
                del self._kept[next(iter(self._kept))]
            frame = _RowFrame(self._rows.stream(self._rows.places()[number]))
            if frame.first_seq is not None:
                self._first_seqs[number] = frame.first_seq
        self._kept[number] = frame  # last, as the one that was used last
        return frame

    def frame_of(self, seq: int) -> int:
        """Return the number of the frame that holds a row, or would if it were there."""
        if self._has_full_frames and not self.is_thinned:
            number = (seq - self.manifest.seq[0]) // ROW_FRAME_ROWS
            if self.first_seq(number) <= seq < self.first_seq(number + 1):
                return number
        return self._frame_of(seq)

    def _frame_of(self, seq: int) -> int:
        """Find the last frame that begins at or before a row, closing in from both sides.

        It is sought where it would be if all frames between held as many rows, and, since they need not, every third
        time in the middle.
        """
        (first, beyond), low, high = self.manifest.seq, 0, self.row_frames
        step = 0
        while high - low > 1:
            step += 1
            ahead = (
                (high - low) // 2 if step % 3 == 0 else (seq - first) * (high - low) // max(1, beyond - first)
            )
            middle = min(max(low + ahead, low + 1), high - 1)
            start = self.first_seq(middle)
            if start <= seq:
                low, first = middle, start
            else:
                high, beyond = middle, start
        return low

    def first_seq(self, number: int) -> int:
        """Return the sequence number of the first row in frame `number`, as the row itself holds it.

        Of a frame whose rows were all erased it is that of the next one that has a row, or of the next segment.
        """
        while number < self.row_frames:
            found = self._first_seqs.get(number)
            if found is not None:
                return found
            head = self._rows.stream(self._rows.places()[number]).read(_FIRST_SEQ_BYTES)
            if head:
                found = self._first_seqs[number] = _seq_at(head, 0)
                return found
            number += 1
        return self.manifest.seq[1]

    def record_hashes(self) -> bytes:
        """Return the leaf hashes of R as kept beside the rows (32 bytes each, in capture order)."""
        return self.hashes(0, self.manifest.records)

    def index_hashes(self) -> bytes:
        """Return the leaf hashes of X as kept beside the rows (32 bytes each, sorted)."""
        return self.hashes(self.manifest.records, self.manifest.records + self.manifest.index_size)

    def nodes(self) -> tuple[bytes, bytes] | None:
        """Return the nodes of R and of X at `NODES_LEVEL` as kept beside the tree; None where they are not.

        Derived, and not authenticated: whoever uses them shows that they lead to the manifest's roots.
        """
        try:
            data = (self.folder / "nodes").read_bytes()
        except OSError:
            return None
        of_records = HASH_BYTES * (self.manifest.records >> NODES_LEVEL)
        if len(data) != of_records + HASH_BYTES * (self.manifest.index_size >> NODES_LEVEL):
            return None
        return data[:of_records], data[of_records:]

    def index_keys(self, dimension: int) -> Iterator[bytes]:
        """Yield the sort keys (tag || time + 2^63 || seq + 2^63) of one dimension (1 ..), in their order."""
        per_block = -(-self.manifest.records // FRAME_ROWS)
        for place in self._index.places()[(dimension - 1) * per_block : dimension * per_block]:
            plain = self._index.read(place)
            for offset in range(0, len(plain), SORT_KEY_BYTES):
                yield plain[offset : offset + SORT_KEY_BYTES]

    @property
    def row_frames(self) -> int:
        """Count the frames that hold the rows."""
        return len(self._rows.places())

    def row_frame(self, number: int) -> bytes:
        """Return the plain bytes of one frame of rows."""
        return self._rows.read(self._rows.places()[number])

    def sealed_row_frame(self, number: int) -> tuple[bytes, bytes]:
        """Return one frame of rows as it stands in its file, with its wrapped key."""
        return self._rows.sealed(self._rows.places()[number])

    @property
    def index_frames(self) -> int:
        """Count the frames that hold the index, over all dimensions."""
        return len(self._index.places())

    def sealed_index_frame(self, number: int) -> tuple[bytes, bytes]:
        """Return one frame of the index, counted over all dimensions, as it stands, with its wrapped key."""
        return self._index.sealed(self._index.places()[number])

    def index_frame(self, dimension: int, number: int) -> bytes:
        """Return up to `FRAME_ROWS` sort keys of 32 bytes each: frame `number` of a dimension (1 ..).

        In the place of an erased entry stand zeros.
        """
        per_block = -(-self.manifest.records // FRAME_ROWS)
        return self._index.read(self._index.places()[(dimension - 1) * per_block + number])

    def hashes(self, start: int, stop: int) -> bytes:
        """Return leaf hashes [start, stop) as kept beside the rows: those of R, then those of X."""
        if self._tree is None:
            self._tree = self._open_tree()
        self._tree.seek(HASH_BYTES * start)
        data = self._tree.read(HASH_BYTES * (stop - start))
        if len(data) != HASH_BYTES * (stop - start):
            raise SegmentDamaged(f"{self.folder / 'tree'}: hashes {start} to {stop} are not there")
        return data

    def _open_tree(self) -> FileIO:
        path, manifest = self.folder / "tree", self.manifest
        try:
            file = FileIO(path)
        except FileNotFoundError as error:
            raise SegmentDamaged(f"{path} is missing: restore it from a copy of the vault") from error
        size_bytes = file.seek(0, 2)
        if size_bytes != HASH_BYTES * (manifest.records + manifest.index_size):
            file.close()
            raise SegmentDamaged(f"{path}: {size_bytes} bytes do not fit the manifest: run `scelle verify`")
        return file


def parse_sort_key(key: bytes) -> tuple[bytes, int, int]:
    """Return tag, time (microseconds, signed) and seq of a sort key."""
    return key[:16], int.from_bytes(key[16:24], "big") - _SIGN, int.from_bytes(key[24:], "big") - _SIGN
