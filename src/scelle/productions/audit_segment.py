"""Recompute the trees and bounds of one segment from what a contentless stream claims of its records."""

import struct
from collections.abc import Iterator, Sequence
from mmap import mmap
from typing import Final

from scelle.errors import FormatError
from scelle.formats.audit_streams import (
    CLAIM_BYTES,
    is_erased_form,
    parse_claim,
    record_bytes,
)
from scelle.formats.entries import Erase, Segment, round_time_bounds
from scelle.formats.index import TAG_BYTES, index_leaf_of, inner, sort_key
from scelle.formats.tokens import UNDATED
from scelle.merkle.hashing import HASH_BYTES, TreeHasher, tree_root
from scelle.productions.audit_model import AuditReport
from scelle.productions.interfaces import Progress

_TIME: Final = struct.Struct(">q")
_RC_AT: Final = 24


class SegmentAudit:
    """Hold one segment of a stream while it is recomputed: about 180 bytes for each of its records."""

    def __init__(
        self,
        data: mmap,
        start: int,
        manifest: Segment,
        tag: bytes,
        erased: Sequence[Erase],
        subject: str,
        report: AuditReport,
    ) -> None:
        self._data, self._start, self._manifest, self._tag = data, start, manifest, tag
        self._subject, self._report = subject, report
        self._count = manifest.records
        self._dimensions = manifest.index_size // manifest.records
        self._width = record_bytes(self._dimensions)
        self._tombstones = {
            entry.record[0]: entry for entry in reversed(erased) if entry.record[0] < self._count
        }
        self._are_tombstones_good = len(self._tombstones) == len(erased)
        self._erased_at = start + self._width * self._count
        self.end = self._erased_at + HASH_BYTES * self._dimensions * len(self._tombstones)
        if self.end > len(data):
            raise FormatError(f"audit stream is cut short in {subject}")

    @property
    def erased(self) -> int:
        """Count the records under tombstones."""
        return len(self._tombstones)

    def check(self, leaf: bytes, progress: Progress) -> None:
        """Make all checks; `leaf` is the manifest's leaf hash, which tombstones must name."""
        self._check_tombstones(leaf)
        self._check_records()
        self._check_bounds()
        if self._are_tombstones_good:
            self._check_index(progress)

    def _fault(self, code: str, detail: str) -> None:
        self._report.add(code, self._subject, detail)

    def _offset(self, position: int) -> int:
        return self._start + self._width * position

    def _rc(self, position: int) -> bytes:
        at = self._offset(position) + _RC_AT
        return self._data[at : at + HASH_BYTES]

    def _living(self) -> Iterator[int]:
        return (position for position in range(self._count) if position not in self._tombstones)

    def _check_tombstones(self, leaf: bytes) -> None:
        """Check that tombstones name records and places of this segment, and that what they cover shows nothing."""
        if not self._are_tombstones_good:
            self._fault(
                "segment.tombstone", "a tombstone names no record of the segment, or one that has another"
            )
        for position, entry in sorted(self._tombstones.items()):
            blocks = [place // self._count for place in entry.index]
            if entry.segment[1] != leaf or blocks != list(range(self._dimensions)):
                self._are_tombstones_good = False
                self._fault(
                    "segment.tombstone", f"the tombstone of record {position} names other places or segments"
                )
            if entry.record[1] != self._rc(position):
                self._fault(
                    "segment.tombstone", f"the tombstone of record {position} names another commitment"
                )
            if not is_erased_form(self._data, self._offset(position), self._dimensions):
                self._fault("segment.opened", f"record {position} has a tombstone, and is shown all the same")
        places = [place for entry in self._tombstones.values() for place in entry.index]
        if len(set(places)) != len(places):
            self._are_tombstones_good = False
            self._fault("segment.tombstone", "two tombstones name the same place of the index")
        for position in self._living():
            if is_erased_form(self._data, self._offset(position), self._dimensions):
                self._fault("segment.opaque", f"record {position} is opaque and has no tombstone")

    def _check_records(self) -> None:
        flat = b"".join([self._rc(position) for position in range(self._count)])
        if tree_root(flat) != self._manifest.record_root:
            self._fault("segment.records", "the commitments do not lead to record-root")

    def _check_bounds(self) -> None:
        """Compare bounds and number of undated records; erased ones may have had any time."""
        times = [_TIME.unpack_from(self._data, self._offset(position))[0] for position in self._living()]
        dated = [time_us for time_us in times if time_us != UNDATED]
        undated, stated = len(times) - len(dated), self._manifest.time
        found = round_time_bounds(min(dated), max(dated)) if dated else None
        if not undated <= self._manifest.undated <= undated + self.erased:
            self._fault(
                "segment.undated",
                f"{undated} records are undated, the manifest says {self._manifest.undated}",
            )
        if not self.erased:
            is_right = stated == found
        else:
            is_right = found is None or (
                stated is not None and stated[0] <= found[0] and found[1] <= stated[1]
            )
        if not is_right:
            self._fault("segment.bounds", f"the times lie in {found}, the manifest says {stated}")

    def _check_index(self, progress: Progress) -> None:
        """Sort the entries of each dimension anew, put the erased ones where their tombstones say, and hash."""
        hasher, inners = TreeHasher(), self._inners()
        total = self._count * self._dimensions
        for number in range(self._dimensions):
            progress("index", number * self._count, total)
            erased = self._erased_leaves(number)
            entries = iter(self._sorted_entries(number, inners))
            for place in range(number * self._count, (number + 1) * self._count):
                hasher.append(erased[place] if place in erased else next(entries)[HASH_BYTES:])
        progress("index", total, total)
        if hasher.root() != self._manifest.index_root:
            self._fault("segment.index", "the claims, sorted, do not lead to index-root")

    def _inners(self) -> bytes:
        """Return the hash of time, number and commitment of each record; zeros for the erased."""
        low, found = self._manifest.seq[0], bytearray(HASH_BYTES * self._count)
        for position in self._living():
            time_us, salt, rc = parse_claim(self._data, self._offset(position))
            at = HASH_BYTES * position
            found[at : at + HASH_BYTES] = inner(salt, time_us, low + position, rc)
        return bytes(found)

    def _sorted_entries(self, number: int, inners: bytes) -> list[bytes]:
        """Return sort key and leaf hash of each living entry of a dimension (0 ..), in the order of X."""
        data, low, entries = self._data, self._manifest.seq[0], []
        for position in self._living():
            at = self._offset(position)
            tag_at = at + CLAIM_BYTES + TAG_BYTES * (number - 1)
            own = self._tag if number == 0 else data[tag_at : tag_at + TAG_BYTES]
            key = own + sort_key(_TIME.unpack_from(data, at)[0], low + position)
            below = inners[HASH_BYTES * position : HASH_BYTES * (position + 1)]
            entries.append(key + index_leaf_of(number + 1, own, below))
        entries.sort()
        return entries

    def _erased_leaves(self, number: int) -> dict[int, bytes]:
        """Return the leaf hashes of erased entries of a dimension (0 ..) by position in X."""
        found = {}
        for place, (_, entry) in enumerate(sorted(self._tombstones.items())):
            at = self._erased_at + HASH_BYTES * (self._dimensions * place + number)
            found[entry.index[number]] = self._data[at : at + HASH_BYTES]
        return found
