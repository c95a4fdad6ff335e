"""Write the contentless stream from which an auditor recomputes indexes and bounds (ledger.md §7, strength B)."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from scelle.errors import RecordNotAsSealed, RequestWrong
from scelle.formats.audit_streams import (
    StreamHeader,
    encode_claim,
    encode_erased,
    encode_segment_head,
    encode_stream_entry,
)
from scelle.formats.entries import Segment
from scelle.formats.index import Tagger
from scelle.formats.schema import Schema
from scelle.formats.tokens import is_family_member, shown
from scelle.ledger.rows import Row
from scelle.ledger.search import Tombstones, tombstones
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedger
from scelle.merkle.hashing import HASH_BYTES, tree_root
from scelle.productions.interfaces import Progress
from scelle.productions.plan import listed
from scelle.productions.scratch import Scratch, refuse_place, workspace

_TAGS_KEPT: Final = 100_000
_TOLD_EVERY: Final = 8192


@dataclass(frozen=True, slots=True)
class StreamReport:
    """Say what a stream holds."""

    size: int
    segments: int
    records: int
    erased: int
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the report as `audit-stream --json` prints it."""
        return asdict(self)


def write_stream(ledger: OrderLedger, *, out: Path, source: str | None, progress: Progress) -> StreamReport:
    """Write the stream of all segments with records, or of those of one log source and its family, to `out`.

    It stands on the checkpoint published when this begins. Atomic; nothing in the vault or the log is changed. Raises
    `RequestWrong` where there is no such segment, `PackageNameRefused` and `RecordNotAsSealed`.
    """
    refuse_place(out)
    chosen = _chosen(ledger, source)
    total, done, erased = sum(manifest.records for _, manifest in chosen), 0, 0
    found = tombstones(ledger.entries)
    header = StreamHeader(ledger.origin, ledger.log.size, len(chosen), len(ledger.log.note))
    with workspace(out) as work:
        stream = work.scratch("stream")
        stream.write(header.encode() + ledger.log.note)
        for entry in ledger.log.entries:
            stream.write(encode_stream_entry(entry))
        tagger = Tagger(ledger.secrets.tag_key)
        for at, manifest in chosen:
            of_segment = found.get(at, Tombstones())
            with closing(ledger.segment(manifest)) as reader:
                claims = _Claims(reader, ledger.schema(manifest.schema), tagger, of_segment)
                claims.write(at, stream, progress, done, total)
            done += manifest.records
            erased += len(of_segment.records)
        progress("records", total, total)
        report = StreamReport(
            ledger.log.size, len(chosen), total, erased, stream.size_bytes, stream.sha256().hex()
        )
        stream.publish(out)
        return report


def _chosen(ledger: OrderLedger, source: str | None) -> list[tuple[int, Segment]]:
    manifests = [(at, manifest) for at, manifest in ledger.manifests() if manifest.records]
    chosen = [each for each in manifests if source is None or is_family_member(each[1].source, source)]
    if not chosen:
        known = {manifest.source for _, manifest in manifests}
        raise RequestWrong(f"no sealed records of source {shown(source)}: there are those of {listed(known)}")
    return chosen


class _Claims:
    """Write what is claimed of the records of one segment, in capture order."""

    def __init__(self, reader: SegmentReader, schema: Schema, tagger: Tagger, erased: Tombstones) -> None:
        self._reader, self._schema, self._tagger, self._erased = reader, schema, tagger, erased
        self._manifest = reader.manifest
        self._tags: list[dict[bytes, bytes]] = [{} for _ in schema.dimensions]
        self._hashes = reader.hashes(0, self._manifest.records)
        if tree_root(self._hashes) != self._manifest.record_root:
            raise RecordNotAsSealed(
                f"{reader.folder / 'tree'}: its hashes do not lead to the record root of the manifest: nothing was "
                "written; run `scelle verify`"
            )

    def write(self, at: int, stream: Scratch, progress: Progress, done: int, total: int) -> None:
        """Write the segment: its head, its records, and the leaf hashes of the erased ones."""
        manifest, erased = self._manifest, self._erased.records
        lo, dimensions = manifest.seq[0], len(self._schema.dimensions)
        stream.write(encode_segment_head(at, self._tagger.tag("source", manifest.source)))
        expected = 0
        for row in self._reader.rows():
            position = row.seq - lo
            expected = self._write_erased(stream, expected, position, dimensions)
            if position % _TOLD_EVERY == 0:
                progress("records", done + position, total)
            if position in erased:
                stream.write(encode_erased(erased[position], dimensions))
            else:
                stream.write(self._claim(row, position))
            expected += 1
        self._write_erased(stream, expected, manifest.records, dimensions)
        for position in sorted(erased):
            for place in self._erased.index[position]:
                start = manifest.records + place
                stream.write(self._reader.hashes(start, start + 1))

    def _write_erased(self, stream: Scratch, start: int, stop: int, dimensions: int) -> int:
        """Write the places of records whose rows are gone; they must be erased ones."""
        for position in range(start, stop):
            if position not in self._erased.records:
                raise RecordNotAsSealed(
                    f"{self._reader.folder / 'rows'}: record {self._manifest.seq[0] + position} is missing and was not "
                    "erased: nothing was written; run `scelle verify`"
                )
            stream.write(encode_erased(self._erased.records[position], dimensions))
        return stop

    def _claim(self, row: Row, position: int) -> bytes:
        values = row.split_values()
        time_us = int.from_bytes(values[0][5:], "big", signed=True)
        rc = self._hashes[HASH_BYTES * position : HASH_BYTES * (position + 1)]
        return encode_claim(time_us, row.record_key[16:], rc, self._tags_of(values))

    def _tags_of(self, values: Sequence[bytes]) -> list[bytes]:
        return [self._tag(number, values[number + 1]) for number in range(1, len(self._schema.dimensions))]

    def _tag(self, number: int, value: bytes) -> bytes:
        known = self._tags[number]
        found = known.get(value)
        if found is None:
            if len(known) >= _TAGS_KEPT:
                known.clear()
            found = known[value] = self._tagger.tag(self._schema.dimensions[number], value[5:].decode())
        return found
