"""Compare the records of a segment, judged one by one, with its manifest and with what is kept beside them.

The manifest's roots decide. Where the records lead to them, what is kept beside them is wrong if it
differs; where the kept leaf hashes lead to them and the records do not, each record that differs is named.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from scelle.formats.entries import Segment, round_time_bounds
from scelle.formats.index import index_leaf_of
from scelle.fsck.model import record_range, runs
from scelle.fsck.rows import HASH_BYTES, FrameRows
from scelle.ledger.rewriting import ERASED_ENTRY
from scelle.merkle.hashing import tree_root

KEY_BYTES: Final = 32
ERASED: Final = 2
_TAG_BYTES: Final = 16
_SIGN: Final = 1 << 63
_NAMED_PLACES: Final = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """Say what differs; `seq` where it is one record, `file` where it is a kept file, else the segment."""

    code: str
    detail: str
    seq: int | None = None
    file: str | None = None


@dataclass(slots=True)
class SegmentRows:
    """The judged rows of a segment in flat buffers, 32 bytes a place; a place is `seq - seq_lo`.

    `leaves` and `keys` have one buffer a dimension, none where no tags can be made: then `inners` has what
    the leaf hashes are made of. `judged` has 1 where a record was judged, 2 where one was erased. `gone` has the leaf
    hash of each erased entry by its position in X; None where only the tree can tell it.
    """

    seq_lo: int
    commitments: bytearray
    leaves: list[bytearray]
    keys: list[bytearray]
    inners: bytearray
    judged: bytearray
    minimum_us: int | None = None
    maximum_us: int | None = None
    undated: int = 0
    digest_only: int = 0
    restricted: int = 0
    wants: list[bytes] = field(default_factory=list)
    gone: dict[int, bytes | None] = field(default_factory=dict)

    @classmethod
    def empty(cls, size: int, seq_lo: int, tagged_dimensions: int) -> "SegmentRows":
        """Make room for `size` records; `tagged_dimensions` is 0 where no tags can be made."""
        hashes = HASH_BYTES * size
        return cls(
            seq_lo,
            bytearray(hashes),
            [bytearray(hashes) for _ in range(tagged_dimensions)],
            [bytearray(KEY_BYTES * size) for _ in range(tagged_dimensions)],
            bytearray(0 if tagged_dimensions else hashes),
            bytearray(size),
        )

    @property
    def size(self) -> int:
        """Count the places."""
        return len(self.judged)

    @property
    def count(self) -> int:
        """Count the records that were judged."""
        return self.judged.count(1)

    @property
    def erased(self) -> int:
        """Count the records that were erased."""
        return self.judged.count(ERASED)

    @property
    def is_whole(self) -> bool:
        """Tell whether every place has its record, or had one that was erased."""
        return 0 not in self.judged

    @property
    def has_tags(self) -> bool:
        """Tell whether the tags of the records are known."""
        return bool(self.keys) or not self.judged

    def holes(self) -> Iterator[tuple[int, int]]:
        """Yield the runs of sequence numbers without a record."""
        return runs([self.seq_lo + place for place, judged in enumerate(self.judged) if not judged])

    def erase(self, place: int, commitment: bytes, leaves: Mapping[int, bytes | None]) -> bool:
        """Put an erased record in its place, with its leaf hashes in X; False where its row is there all the same."""
        if self.judged[place]:
            return False
        self.judged[place] = ERASED
        self.commitments[HASH_BYTES * place : HASH_BYTES * (place + 1)] = commitment
        self.gone |= leaves
        return True

    def add(self, frame: FrameRows) -> list[int]:
        """Put the rows of one frame where they belong; return the sequence numbers for which there is no
        place."""
        surplus: list[int] = []
        at = frame.first_seq - self.seq_lo
        if frame.seqs is None and self._is_free(at, frame.count):
            self._put(frame, 0, at, frame.count)
        else:
            seqs = (
                frame.seqs
                if frame.seqs is not None
                else range(frame.first_seq, frame.first_seq + frame.count)
            )
            for number, seq in enumerate(seqs):
                if self._is_free(seq - self.seq_lo, 1):
                    self._put(frame, number, seq - self.seq_lo, 1)
                else:
                    surplus.append(seq)
        self._add_totals(frame)
        return surplus

    def _is_free(self, at: int, count: int) -> bool:
        return at >= 0 and at + count <= len(self.judged) and 1 not in self.judged[at : at + count]

    def _put(self, frame: FrameRows, number: int, at: int, count: int) -> None:
        given = slice(HASH_BYTES * number, HASH_BYTES * (number + count))
        kept = slice(HASH_BYTES * at, HASH_BYTES * (at + count))
        self.commitments[kept] = frame.commitments[given]
        for own, other in zip((*self.leaves, *self.keys), (*frame.leaves, *frame.keys), strict=True):
            own[kept] = other[given]
        if frame.inners:
            self.inners[kept] = frame.inners[given]
        self.judged[at : at + count] = b"\1" * count

    def _add_totals(self, frame: FrameRows) -> None:
        lows = [time for time in (self.minimum_us, frame.minimum_us) if time is not None]
        highs = [time for time in (self.maximum_us, frame.maximum_us) if time is not None]
        self.minimum_us, self.maximum_us = min(lows, default=None), max(highs, default=None)
        self.undated += frame.undated
        self.digest_only += frame.digest_only
        self.restricted += frame.restricted
        self.wants.append(frame.wants)


def compare(
    rows: SegmentRows,
    manifest: Segment | None,
    tree: bytes | None,
    blocks: Sequence[bytes | None],
    *,
    is_sample: bool,
) -> Iterator[Difference]:
    """Yield everything in which a segment's records, manifest, tree file and index differ.

    `tree` is the tree file (None: it cannot be used); `blocks` are the stored sort keys of each dimension
    (None: they cannot be read). Of a sample, only the records in it are compared.
    """
    if rows.size == 0:
        return
    middle = HASH_BYTES * rows.size
    stored_records = None if tree is None else tree[:middle]
    stored_index = None if tree is None else tree[middle:]
    yield from _compare_records(rows, manifest, stored_records)
    yield from _compare_index(rows, manifest, stored_index, blocks)
    if manifest is not None:
        yield from _compare_bounds(rows, manifest, is_sample=is_sample)


# -- R -----------------------------------------------------------------------------------------------------------


def _compare_records(
    rows: SegmentRows, manifest: Segment | None, stored: bytes | None
) -> Iterator[Difference]:
    own = _filled(rows, stored)
    if manifest is None or tree_root(own) == manifest.record_root:
        yield from _tree_difference("record", own, stored)
    elif stored is not None and tree_root(stored) == manifest.record_root:
        for place in _different(own, stored):
            is_erased = rows.judged[place] == ERASED
            code = "record.tombstone" if is_erased else "record.commitment"
            who = "its tombstone names" if is_erased else "its values and key give"
            detail = f"{who} another commitment than the one under the manifest's record root"
            yield Difference(code, detail, seq=rows.seq_lo + place)
    else:
        what = (
            "the records"
            if rows.is_whole
            else "the records that can be read, with the kept hashes of the others,"
        )
        yield Difference("segment.record_root", f"{what} do not lead to the manifest's record root")
        if stored is not None:
            yield Difference(
                "segment.tree", "its record hashes do not lead to the record root either", file="tree"
            )


def _filled(rows: SegmentRows, stored: bytes | None) -> bytes:
    """Give the commitments, and where there is no record the kept one."""
    if rows.is_whole or stored is None:
        return bytes(rows.commitments)
    filled = bytearray(stored)
    for place, judged in enumerate(rows.judged):
        if judged:
            span = slice(HASH_BYTES * place, HASH_BYTES * (place + 1))
            filled[span] = rows.commitments[span]
    return bytes(filled)


def _tree_difference(what: str, own: bytes, stored: bytes | None) -> Iterator[Difference]:
    if stored is None or stored == own:
        return
    places = _different(own, stored)
    first = ", ".join(str(place) for place in places[:_NAMED_PLACES])
    detail = f"{len(places)} of its {what} hashes are not what the records give: at {first}"
    yield Difference("segment.tree", detail + (" .." if len(places) > _NAMED_PLACES else ""), file="tree")


def _different(own: bytes, stored: bytes) -> list[int]:
    return [
        at // HASH_BYTES
        for at in range(0, len(own), HASH_BYTES)
        if own[at : at + HASH_BYTES] != stored[at : at + HASH_BYTES]
    ]


# -- X -----------------------------------------------------------------------------------------------------------


def _compare_index(
    rows: SegmentRows, manifest: Segment | None, stored: bytes | None, blocks: Sequence[bytes | None]
) -> Iterator[Difference]:
    if not blocks:
        yield Difference(
            "segment.index", "its dimensions are not known: the index was not compared", file="index"
        )
        return
    leaves: list[bytes] = []
    for dimension, block in enumerate(blocks):
        kept = (
            None if stored is None else stored[dimension * len(rows.commitments) :][: len(rows.commitments)]
        )
        result = _Block(rows, dimension, block, kept)
        leaves.append(result.leaves())
        yield from result.differences
    own = b"".join(leaves)
    if manifest is None or tree_root(own) == manifest.index_root:
        yield from _tree_difference("index", own, stored)
        return
    if stored is not None and tree_root(stored) == manifest.index_root:
        different = _different(own, stored)
        if rows.gone.keys() >= set(different):
            first = ", ".join(str(place) for place in different[:_NAMED_PLACES])
            detail = (
                f"{len(different)} of its leaf hashes do not lead to the index root: those of places {first}"
            )
            yield Difference("segment.erased", detail, file="erased")
            return
    yield Difference("segment.index_root", "the entries that the records give do not lead to the index root")
    if stored is not None and tree_root(stored) != manifest.index_root:
        yield Difference("segment.tree", "its index hashes do not lead to the index root either", file="tree")


class _Block:
    """The index entries of one dimension, in their order."""

    def __init__(self, rows: SegmentRows, dimension: int, block: bytes | None, kept: bytes | None) -> None:
        self._rows, self._dimension, self._block, self._kept = rows, dimension, block, kept
        self.differences: list[Difference] = []
        start = dimension * rows.size
        self._gone = {at - start: leaf for at, leaf in rows.gone.items() if start <= at < start + rows.size}

    def leaves(self) -> bytes:
        """Give the leaf hashes of the block and note how the stored keys differ from those of the records."""
        rows = self._rows
        if rows.is_whole and rows.has_tags and len(self._gone) == rows.erased:
            return self._from_rows()
        if self._block is None or len(self._block) != len(rows.commitments):
            self._note("it cannot be read, and not all of its records can: their places are not known")
            return self._kept or bytes(len(rows.commitments))
        return self._from_stored(self._block)

    def _note(self, detail: str) -> None:
        self.differences.append(
            Difference("segment.index", f"dimension {self._dimension + 1}: {detail}", file="index")
        )

    def _from_rows(self) -> bytes:
        flat, leaves, seq_lo = (
            self._rows.keys[self._dimension],
            self._rows.leaves[self._dimension],
            self._rows.seq_lo,
        )
        keys = sorted([bytes(flat[at : at + KEY_BYTES]) for at in range(0, len(flat), KEY_BYTES)])
        if self._gone:
            keys = keys[len(self._gone) :]  # nothing was put in their places, and zeros come first
            for position in sorted(self._gone):
                keys.insert(position, ERASED_ENTRY)
        ordered = b"".join(keys)
        if self._block is not None and self._block != ordered:
            place = next(iter(_different(ordered, self._block.ljust(len(ordered), b"\0"))), len(keys))
            self._note(f"the entry at position {place} is not the one that the records give")
        first = _SIGN + seq_lo
        if self._gone:
            return b"".join(
                self._gone_leaf(position)
                if position in self._gone
                else _item(leaves, int.from_bytes(key[24:], "big") - first)
                for position, key in enumerate(keys)
            )
        ends = [HASH_BYTES * (int.from_bytes(key[24:], "big") - first + 1) for key in keys]
        return b"".join([leaves[end - HASH_BYTES : end] for end in ends])

    def _gone_leaf(self, position: int) -> bytes:
        """Give the leaf hash of an erased entry: as `erased` has it, else as the tree has it."""
        leaf = self._gone[position]
        return _item(self._kept or bytes(len(self._rows.commitments)), position) if leaf is None else leaf

    def _from_stored(self, block: bytes) -> bytes:
        """Take the order from the stored keys: some records, or the tags of all, are not known."""
        rows, kept = self._rows, self._kept or bytes(len(block))
        leaves, previous = [], b""
        for at in range(0, len(block), KEY_BYTES):
            key = block[at : at + KEY_BYTES]
            place = int.from_bytes(key[24:], "big") - _SIGN - rows.seq_lo
            if at // KEY_BYTES in self._gone:
                if key != ERASED_ENTRY:
                    self._note(f"at position {at // KEY_BYTES} of an erased entry stands something")
                leaves.append(self._gone_leaf(at // KEY_BYTES))
                continue
            if key <= previous or not 0 <= place < rows.size:
                self._note(f"the entry at position {at // KEY_BYTES} is out of order or of no record")
                leaves.append(kept[at : at + KEY_BYTES])
            elif rows.judged[place]:
                leaves.append(self._leaf(place, key, at // KEY_BYTES))
            else:
                leaves.append(kept[at : at + KEY_BYTES])
            previous = key
        return b"".join(leaves)

    def _leaf(self, place: int, key: bytes, position: int) -> bytes:
        rows, span = self._rows, slice(HASH_BYTES * place, HASH_BYTES * (place + 1))
        if not rows.has_tags:
            return index_leaf_of(self._dimension + 1, key[:_TAG_BYTES], bytes(rows.inners[span]))
        if rows.keys[self._dimension][span] != key:
            self._note(f"the entry at position {position} is not that of record {rows.seq_lo + place}")
        return bytes(rows.leaves[self._dimension][span])


def _item(flat: bytes | bytearray, place: int) -> bytes:
    return bytes(flat[HASH_BYTES * place : HASH_BYTES * (place + 1)])


# -- bounds ------------------------------------------------------------------------------------------------------


def _compare_bounds(rows: SegmentRows, manifest: Segment, *, is_sample: bool) -> Iterator[Difference]:
    low, high = rows.minimum_us, rows.maximum_us
    if rows.is_whole and not is_sample and not rows.erased:
        given = None if low is None or high is None else round_time_bounds(low, high)
        if given != manifest.time:
            detail = f"the manifest says time {manifest.time}, its records give {given} (microseconds)"
            yield Difference("segment.bounds", detail)
        if rows.undated != manifest.undated:
            detail = f"the manifest says {manifest.undated} undated, {rows.undated} of its records are"
            yield Difference("segment.bounds", detail)
        return
    if rows.undated > manifest.undated:
        yield Difference("segment.bounds", f"more than {manifest.undated} of its records are undated")
    if low is not None and high is not None:
        bounds = manifest.time
        if bounds is None or low < bounds[0] or high > bounds[1]:
            yield Difference("segment.bounds", f"a record's time is outside {bounds} (microseconds)")


def describe_surplus(seqs: Sequence[int]) -> Iterator[str]:
    """Name, run by run, the records that have no place."""
    for lo, hi in runs(sorted(seqs)):
        yield record_range(lo, hi)
