"""Write and read the segments of one log source: rows in capture order, index entries sorted, two trees.

An open segment *is* the write-ahead log of its source: rows go to `<number>.open/rows` in sealed frames and
are durable after `flush`. Closing adds `index` and `tree` and renames the folder to `<number>`; the manifest
is committed to the log after that. A closed folder whose manifest never reached the log becomes open again
(`OrderLedgerWriter` does that when it opens): one path for every crash (docs/adr/0003).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scelle.errors import SegmentDamaged
from scelle.formats.entries import Segment, round_time_bounds
from scelle.formats.index import Tagger, index_leaves, sort_key
from scelle.formats.records import record_commitment
from scelle.formats.schema import Schema
from scelle.formats.values import UNDATED, integer_value, time_value
from scelle.ledger.frames import FrameReader, FrameWriter
from scelle.merkle.hashing import tree_root
from scelle.vault import durable
from scelle.vault.keys import VaultKey

MAX_RECORDS = 1 << 20
MAX_OPEN_US = 15 * 60 * 1_000_000
FRAME_ROWS = 8192
FRAME_BYTES = 4 << 20
_TAG_CACHE = 10_000
_SIGN = 1 << 63


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it is kept: its key, its canonical values, and what capture remembers beside it."""

    seq: int
    record_key: bytes
    values: bytes
    side: bytes

    def split_values(self) -> list[bytes]:
        """Return the canonical bytes of each value."""
        return split_values(self.values)


def split_values(data: bytes) -> list[bytes]:
    """Cut `V_0 .. V_{n-1}` into its values; raise `SegmentDamaged` where they do not fit."""
    values, offset, end = [], 0, len(data)
    while offset < end:
        stop = offset + 5 + int.from_bytes(data[offset + 1 : offset + 5], "big")
        if stop > end:
            raise SegmentDamaged("a value is longer than its row")
        values.append(data[offset:stop])
        offset = stop
    return values


def folder_name(alias: str) -> str:
    """Return the folder of a log source: a family's number is parted by `~`, since `/` would nest."""
    return alias.replace("/", "~")


def alias_of(folder: str) -> str:
    """Return the log source of a folder."""
    return folder.replace("~", "/")


def _context(origin: str, alias: str, number: int, kind: str) -> bytes:
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
    """Collect the records of one segment; flat buffers only: about 250 bytes of memory a record."""

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
    ) -> None:
        self.alias, self.number, self.head, self.schema = alias, number, head, schema
        self.folder = folder
        self._origin, self._vault_key = origin, vault_key
        self._dimensions = len(schema.dimensions)
        self._tagger = Tagger(tag_key)
        self._source_tag = self._tagger.tag("source", alias)
        self._tag_caches: list[dict[bytes, bytes]] = [{} for _ in schema.dimensions]
        self._commitments = bytearray()
        self._leaves: list[bytearray] = [bytearray() for _ in schema.dimensions]
        self._sort_keys: list[list[bytes]] = [[] for _ in schema.dimensions]
        self._minimum_us: int | None = None
        self._maximum_us: int | None = None
        self._undated = 0
        self._pending = bytearray()
        self._pending_rows = 0
        self.before_frame: Callable[[], object] | None = None
        """Called before rows leave memory on their own: makes durable what they speak of."""
        self._rows_file = durable.AppendFile(folder / "rows")
        self._keys_file = durable.AppendFile(folder / "keys")
        self._frames = FrameWriter(
            self._rows_file, self._keys_file, vault_key, _context(origin, alias, number, "rows"), 0
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
    ) -> "SegmentWriter":
        """Open a new segment. A crash leaves an `.open` folder without rows, which the next writer removes."""
        folder = parent / f"{number}.open"
        durable.make_directory(folder)
        durable.write_file(folder / "head", head.encode())
        return cls(
            folder,
            origin=origin,
            alias=alias,
            number=number,
            head=head,
            schema=schema,
            tag_key=tag_key,
            vault_key=vault_key,
        )

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
        )
        reader = FrameReader(
            folder / "rows", folder / "keys", vault_key, _context(origin, alias, number, "rows")
        )
        plains, end = reader.good_prefix()
        reader.close()
        for plain in plains:
            for row in decode_rows(plain, head.seq_lo + writer.records):
                writer._add(row.record_key, split_values(row.values))
        writer._rows_file.truncate(end)
        writer._keys_file.truncate(len(plains) * 60)
        writer._frames.number = len(plains)
        writer._frames.sync()
        return writer

    @property
    def records(self) -> int:
        """Count the records appended so far."""
        return len(self._commitments) // 32

    @property
    def next_seq(self) -> int:
        """Return the sequence number of the next record."""
        return self.head.seq_lo + self.records

    def append(self, record_key: bytes, time_us: int, rest: Sequence[bytes], side: bytes = b"") -> int:
        """Append one record; `rest` are the values after time and seq. Return its sequence number.

        Durable after `flush`; a crash before may keep it, too, since a full frame is written at once: what
        `before_frame` does, comes first.
        """
        seq = self.next_seq
        values = [time_value(time_us), integer_value(seq), *rest]
        self._add(record_key, values)
        data = b"".join(values)
        pending = self._pending
        pending += record_key
        pending += len(data).to_bytes(4, "big")
        pending += data
        pending += len(side).to_bytes(2, "big")
        pending += side
        self._pending_rows += 1
        if self._pending_rows >= FRAME_ROWS or len(pending) >= FRAME_BYTES:
            if self.before_frame is not None:
                self.before_frame()
            self._write_frame()
        return seq

    def _add(self, record_key: bytes, values: Sequence[bytes]) -> None:
        time_us = int.from_bytes(values[0][5:], "big", signed=True)
        seq = int.from_bytes(values[1][5:], "big", signed=True)
        if seq != self.next_seq:
            raise SegmentDamaged(f"{self.folder}: record {seq} stands where {self.next_seq} belongs")
        commitment = record_commitment(self.head.profile, record_key[:16], values)
        self._commitments += commitment
        order = sort_key(time_us, seq)
        tags = [self._source_tag]
        tags += [self._tag(number, values[number + 1]) for number in range(1, self._dimensions)]
        hashes = index_leaves(tags, record_key[16:], time_us, seq, commitment)
        for leaves, keys, tag, leaf in zip(self._leaves, self._sort_keys, tags, hashes, strict=True):
            leaves.extend(leaf)
            keys.append(tag + order)
        if time_us == UNDATED:
            self._undated += 1
        else:
            if self._minimum_us is None or time_us < self._minimum_us:
                self._minimum_us = time_us
            if self._maximum_us is None or time_us > self._maximum_us:
                self._maximum_us = time_us

    def _tag(self, dimension: int, value: bytes) -> bytes:
        cache = self._tag_caches[dimension]
        found = cache.get(value)
        if found is None:
            if len(cache) >= _TAG_CACHE:
                cache.clear()
            found = self._tagger.tag(self.schema.dimensions[dimension], value[5:].decode())
            cache[value] = found
        return found

    def _write_frame(self) -> None:
        if self._pending_rows:
            self._frames.write(self._pending)
            self._pending = bytearray()
            self._pending_rows = 0

    def flushed_rows(self) -> Iterator[Row]:
        """Yield the rows whose frames were written, in capture order."""
        context = _context(self._origin, self.alias, self.number, "rows")
        reader = FrameReader(self.folder / "rows", self.folder / "keys", self._vault_key, context)
        seq = self.head.seq_lo
        for place in reader.places():
            for row in decode_rows(reader.read(place), seq):
                yield row
                seq = row.seq + 1
        reader.close()

    def flush(self) -> None:
        """Make every record appended so far durable. A crash before leaves them out, as if never offered."""
        self._write_frame()
        self._frames.sync()

    def close(
        self, *, order: str, watermark_to: int, previous: bytes | None, anchor: bytes | None
    ) -> Segment:
        """Write index and tree, rename the folder to its number, and return the manifest to be logged.

        A crash before the rename leaves the open segment; after it, a closed folder whose manifest is not in
        the log, which the next writer opens again.
        """
        self._write_frame()
        self._frames.sync()
        permutations = [sorted(range(len(keys)), key=keys.__getitem__) for keys in self._sort_keys]
        leaves = b"".join(
            own[32 * place : 32 * place + 32]
            for permutation, own in zip(permutations, self._leaves, strict=True)
            for place in permutation
        )
        manifest = self._manifest(order, watermark_to, previous, anchor, leaves)
        self._write_index(permutations, leaves)
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

    def _write_index(self, permutations: Sequence[Sequence[int]], leaves: bytes) -> None:
        """Write the sorted keys in frames (their keys behind those of the rows) and the leaf hashes."""
        index_file = durable.AppendFile(self.folder / "index")
        index_file.truncate(0)  # a close that crashed half-way may have left one
        context = _context(self._origin, self.alias, self.number, "index")
        frames = FrameWriter(index_file, self._keys_file, self._vault_key, context, 0)
        for permutation, keys in zip(permutations, self._sort_keys, strict=True):
            for start in range(0, len(permutation), FRAME_ROWS):
                frames.write(b"".join([keys[place] for place in permutation[start : start + FRAME_ROWS]]))
        frames.sync()
        index_file.close()
        tree_file = durable.AppendFile(self.folder / "tree")
        tree_file.truncate(0)
        tree_file.write(self._commitments + leaves)
        tree_file.sync()
        tree_file.close()

    def _manifest(
        self, order: str, watermark_to: int, previous: bytes | None, anchor: bytes | None, leaves: bytes
    ) -> Segment:
        bounds = None
        if self._minimum_us is not None and self._maximum_us is not None:
            bounds = round_time_bounds(self._minimum_us, self._maximum_us)
        return Segment(
            order=order,
            source=self.alias,
            number=self.number,
            records=self.records,
            seq=(self.head.seq_lo, self.next_seq),
            time=bounds,
            undated=self._undated,
            watermark=(self.head.watermark_from, watermark_to),
            profile=self.head.profile,
            schema=self.schema.digest,
            record_root=tree_root(bytes(self._commitments)),
            index_size=self.records * self._dimensions,
            index_root=tree_root(leaves),
            position=(None, None),
            anchor=anchor,
            prev=previous,
        )


def decode_rows(plain: bytes, seq: int) -> Iterator[Row]:
    """Yield the rows of one frame, the first of which has the sequence number `seq`."""
    offset, end = 0, len(plain)
    while offset < end:
        values_at = offset + 36
        side_at = values_at + int.from_bytes(plain[offset + 32 : values_at], "big")
        stop = side_at + 2 + int.from_bytes(plain[side_at : side_at + 2], "big")
        if stop > end or side_at + 2 > end:
            raise SegmentDamaged("a row is longer than its frame")
        yield Row(seq, plain[offset : offset + 32], plain[values_at:side_at], plain[side_at + 2 : stop])
        offset, seq = stop, seq + 1


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
            _context(origin, manifest.source, manifest.number, "rows"),
        )
        self._index = FrameReader(
            folder / "index",
            folder / "keys",
            vault_key,
            _context(origin, manifest.source, manifest.number, "index"),
            first_slot=len(self._rows.places()),
        )
        self._frame_starts: list[int] | None = None
        self._cached: tuple[int, list[Row]] | None = None

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._index.close()

    @property
    def key_slots(self) -> tuple[int, int]:
        """Return how many key slots there are, and how many frames."""
        return self._rows.key_slots, len(self._rows.places()) + len(self._index.places())

    def rows(self) -> Iterator[Row]:
        """Yield all rows in capture order."""
        seq = self.manifest.seq[0]
        for place in self._rows.places():
            for row in decode_rows(self._rows.read(place), seq):
                yield row
                seq = row.seq + 1

    def row(self, seq: int) -> Row:
        """Return one row. The frame last read stays decoded, so neighbours in capture order are cheap."""
        if self._frame_starts is None:
            self._frame_starts = self._count_frames()
        number = _last_at_most(self._frame_starts, seq)
        if self._cached is None or self._cached[0] != number:
            plain = self._rows.read(self._rows.places()[number])
            self._cached = (number, list(decode_rows(plain, self._frame_starts[number])))
        place = seq - self._frame_starts[number]
        if not 0 <= place < len(self._cached[1]):
            raise SegmentDamaged(f"{self.folder}: no row with sequence number {seq}")
        return self._cached[1][place]

    def _count_frames(self) -> list[int]:
        starts, seq = [], self.manifest.seq[0]
        for place in self._rows.places():
            starts.append(seq)
            seq += sum(1 for _ in decode_rows(self._rows.read(place), seq))
        return starts

    def record_hashes(self) -> bytes:
        """Return the leaf hashes of R as kept beside the rows (32 bytes each, in capture order)."""
        return self._tree()[: 32 * self.manifest.records]

    def index_hashes(self) -> bytes:
        """Return the leaf hashes of X as kept beside the rows (32 bytes each, sorted)."""
        return self._tree()[32 * self.manifest.records :]

    def _tree(self) -> bytes:
        data = (self.folder / "tree").read_bytes()
        if len(data) != 32 * (self.manifest.records + self.manifest.index_size):
            raise SegmentDamaged(f"{self.folder / 'tree'}: {len(data)} bytes do not fit the manifest")
        return data

    def index_keys(self, dimension: int) -> Iterator[bytes]:
        """Yield the sort keys (tag || time + 2^63 || seq + 2^63) of one dimension (1 ..), in their order."""
        per_block = -(-self.manifest.records // FRAME_ROWS)
        for place in self._index.places()[(dimension - 1) * per_block : dimension * per_block]:
            plain = self._index.read(place)
            for offset in range(0, len(plain), 32):
                yield plain[offset : offset + 32]

    @property
    def row_frames(self) -> int:
        """Count the frames that hold the rows."""
        return len(self._rows.places())

    def frame_rows(self, number: int) -> list[Row]:
        """Return the rows of one frame; the first one's own sequence number says where it stands."""
        plain = self._rows.read(self._rows.places()[number])
        return list(decode_rows(plain, int.from_bytes(plain[54:62], "big", signed=True)))

    def index_frame(self, dimension: int, number: int) -> bytes:
        """Return up to `FRAME_ROWS` sort keys of 32 bytes each: frame `number` of a dimension (1 ..)."""
        per_block = -(-self.manifest.records // FRAME_ROWS)
        return self._index.read(self._index.places()[(dimension - 1) * per_block + number])

    def hashes(self, start: int, stop: int) -> bytes:
        """Return leaf hashes [start, stop) as kept beside the rows: those of R, then those of X."""
        path = self.folder / "tree"
        with path.open("rb") as file:
            file.seek(32 * start)
            data = file.read(32 * (stop - start))
        if len(data) != 32 * (stop - start):
            raise SegmentDamaged(f"{path}: cut short: run `scelle verify`")
        return data


def parse_sort_key(key: bytes) -> tuple[bytes, int, int]:
    """Return tag, time (microseconds, signed) and seq of a sort key."""
    return key[:16], int.from_bytes(key[16:24], "big") - _SIGN, int.from_bytes(key[24:], "big") - _SIGN


def _last_at_most(starts: Sequence[int], seq: int) -> int:
    lo, hi = 0, len(starts)
    while lo < hi:
        middle = (lo + hi) // 2
        lo, hi = (middle + 1, hi) if starts[middle] <= seq else (lo, middle)
    if lo == 0:
        raise SegmentDamaged(f"no row with sequence number {seq}")
    return lo - 1
