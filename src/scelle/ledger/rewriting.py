"""Take erased records out of the files of a committed segment, so that a crash leaves the old files or the new.

Survivors of the frames that held something erased go into new frames under new keys; every other frame is copied as it
stands. Three steps:

1. `prepare`: the new files lie beside the old ones under names that end in `.new`, `keys.new` last of all;
2. the caller commits the tombstones;
3. `swap`: the new files take the old ones' places, `keys` last: with the old keys goes the last way to what is erased.

While `keys.new` is there, the other new files are whole, and nothing is lost yet. `settle` brings a segment to what the
log says, wherever a crash ended this: it swaps what the log committed, and drops what it did not.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scelle.errors import FormatError, SegmentDamaged
from scelle.formats.entries import Segment
from scelle.formats.index import SORT_KEY_BYTES
from scelle.formats.schema import Schema
from scelle.ledger.erased import ErasedRecord, encode_erased, erased_bytes, parse_erased
from scelle.ledger.frames import FrameWriter
from scelle.ledger.rows import own_seq
from scelle.ledger.search import RowFrame, Tombstones
from scelle.ledger.segments import ERASED_NAME, FRAME_ROWS, SegmentReader, frame_context
from scelle.vault import durable
from scelle.vault.keys import VaultKey

NEW: Final = ".new"
_UNFINISHED_KEYS: Final = "keys.new.tmp"
_SWAPPED: Final = (ERASED_NAME, "rows", "index", "keys")
"""In this order: the old keys go last, so that until then `keys.new` says that the swap is not done."""
ERASED_ENTRY: Final = bytes(SORT_KEY_BYTES)
"""What stands in the index in place of an erased entry's sort key."""


@dataclass(frozen=True, slots=True)
class SegmentFiles:
    """One committed segment: where it lies and what its files are bound to."""

    folder: Path
    origin: str
    manifest: Segment
    schema: Schema
    vault_key: VaultKey

    @property
    def dimensions(self) -> int:
        """Count the dimensions of the index."""
        return self.manifest.index_size // self.manifest.records

    @property
    def is_there(self) -> bool:
        """Tell whether the segment has rows at all: those of a disposed order have none."""
        return (self.folder / "keys").exists() and (self.folder / "rows").exists()

    def reader(self) -> SegmentReader:
        """Open the segment."""
        return SegmentReader(
            self.folder,
            origin=self.origin,
            manifest=self.manifest,
            schema=self.schema,
            vault_key=self.vault_key,
        )

    def context(self, kind: str) -> bytes:
        """Return what the frames of `rows` or `index` are bound to."""
        return frame_context(self.origin, self.manifest.source, self.manifest.number, kind)


def prepare(files: SegmentFiles, tombstones: Tombstones, new: Collection[int]) -> None:
    """Write the new files of a segment, durable: without the records at the positions `new` of R.

    `tombstones` are all that the segment is to have, those of earlier erasures included. A crash leaves the old files,
    and new ones that `settle` drops.
    """
    drop(files.folder)
    with closing(files.reader()) as reader:
        erased = encode_erased(_erased_records(reader, tombstones))
        keys = durable.AppendFile(files.folder / _UNFINISHED_KEYS)
        try:
            _write_rows(files, reader, keys, {files.manifest.seq[0] + position for position in new})
            places = {place for position in new for place in tombstones.index[position]}
            _write_index(files, reader, keys, places)
            keys.sync()
        finally:
            keys.close()
    durable.write_file(files.folder / (ERASED_NAME + NEW), erased)
    durable.sync_directory(files.folder)  # the names of the others are durable before that of the keys
    durable.replace(files.folder / _UNFINISHED_KEYS, files.folder / ("keys" + NEW))


def swap(folder: Path) -> None:
    """Put prepared files in the places of the old ones. A crash leaves some of them, and `keys.new` to go on with."""
    for name in _SWAPPED:
        new = folder / (name + NEW)
        if new.exists():
            durable.replace(new, folder / name)


def drop(folder: Path) -> None:
    """Remove prepared files, the keys first: without them the others are nothing."""
    for name in reversed(_SWAPPED):
        if (folder / (name + NEW)).exists():
            durable.remove(folder / (name + NEW))
    for name in (_UNFINISHED_KEYS, ERASED_NAME + NEW + ".tmp"):
        if (folder / name).exists():
            durable.remove(folder / name)


def is_settled(files: SegmentFiles, tombstones: Tombstones) -> bool:
    """Tell by names and sizes alone whether a segment's files are those that its tombstones ask for."""
    if not files.is_there:
        return True
    path = files.folder / ERASED_NAME
    wanted = erased_bytes(len(tombstones.records), files.dimensions)
    return (path.stat().st_size if path.exists() else 0) == wanted and not (
        files.folder / ("keys" + NEW)
    ).exists()


def settle(files: SegmentFiles, tombstones: Tombstones) -> None:
    """Bring a segment to what the log says of it: finish what it committed, drop what it did not.

    May be called again after a crash.
    """
    if not files.is_there:
        return
    if (files.folder / ("keys" + NEW)).exists():
        new = files.folder / (ERASED_NAME + NEW)
        prepared = _positions(new if new.exists() else files.folder / ERASED_NAME, files.dimensions)
        if prepared == set(tombstones.records):
            swap(files.folder)
    drop(files.folder)
    if not tombstones.records or is_settled(files, tombstones):
        return
    kept = _positions(files.folder / ERASED_NAME, files.dimensions) or set()
    prepare(files, tombstones, set(tombstones.records) - kept)
    swap(files.folder)


def _positions(path: Path, dimensions: int) -> set[int] | None:
    """Return the positions in R that a list of erased records has; None where it cannot be read."""
    try:
        return set(parse_erased(path.read_bytes(), dimensions))
    except (FileNotFoundError, FormatError):
        return None


def _erased_records(reader: SegmentReader, tombstones: Tombstones) -> Iterator[ErasedRecord]:
    """Take the leaf hashes of what is erased from the tree, which keeps them as well."""
    count = reader.manifest.records
    for position, places in tombstones.index.items():
        leaves = tuple(reader.hashes(count + place, count + place + 1) for place in places)
        yield ErasedRecord(position, tombstones.records[position], places, leaves)


def _write_rows(
    files: SegmentFiles, reader: SegmentReader, keys: durable.AppendFile, doomed: Collection[int]
) -> None:
    rows = durable.AppendFile(files.folder / ("rows" + NEW))
    try:
        frames = FrameWriter(rows, keys, files.vault_key, files.context("rows"), 0)
        touched = {reader.frame_of(seq) for seq in doomed}
        for number in range(reader.row_frames):
            if number in touched:
                frames.write(_survivors(reader, number, doomed))
            else:
                frames.copy(*reader.sealed_row_frame(number))
        rows.sync()
    finally:
        rows.close()


def _survivors(reader: SegmentReader, number: int, doomed: Collection[int]) -> bytes:
    """Return the rows of a frame without those that are to go."""
    frame, kept, start = RowFrame(reader, number), [], 0
    for values_at, side_at, stop in frame.spans():
        if stop > len(frame.plain):
            raise SegmentDamaged(f"{reader.folder}: a row of frame {number} is cut short")
        if own_seq(frame.plain[values_at:side_at]) not in doomed:
            kept.append(frame.plain[start:stop])
        start = stop
    return b"".join(kept)


def _write_index(
    files: SegmentFiles, reader: SegmentReader, keys: durable.AppendFile, doomed: Collection[int]
) -> None:
    index = durable.AppendFile(files.folder / ("index" + NEW))
    by_frame = _by_frame(files.manifest.records, doomed)
    per_block = -(-files.manifest.records // FRAME_ROWS)
    try:
        frames = FrameWriter(index, keys, files.vault_key, files.context("index"), 0)
        for number in range(reader.index_frames):
            if number in by_frame:
                block, inside = divmod(number, per_block)
                plain = bytearray(reader.index_frame(block + 1, inside))
                for place in by_frame[number]:
                    plain[SORT_KEY_BYTES * place : SORT_KEY_BYTES * (place + 1)] = ERASED_ENTRY
                frames.write(plain)
            else:
                frames.copy(*reader.sealed_index_frame(number))
        index.sync()
    finally:
        index.close()


def _by_frame(records: int, places: Collection[int]) -> Mapping[int, list[int]]:
    """Sort positions in X by the frame of the index that holds them, as places in it."""
    per_block = -(-records // FRAME_ROWS)
    found: dict[int, list[int]] = {}
    for place in places:
        block, inside = divmod(place, records)
        found.setdefault(block * per_block + inside // FRAME_ROWS, []).append(inside % FRAME_ROWS)
    return found
