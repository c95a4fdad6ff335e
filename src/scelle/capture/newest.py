"""Find the newest sealed state of a record: in the open segment by its number, in closed ones by their index."""

from dataclasses import dataclass, field

from scelle.formats.entries import Segment
from scelle.formats.index import tag
from scelle.formats.tokens import INT64_MAX, INT64_MIN
from scelle.formats.values import decode_value
from scelle.ledger.rows import Row
from scelle.ledger.search import IndexBlock, Tombstones, tombstones
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedgerWriter
from scelle.sources.interfaces import ChangeKind

_NATIVE_FIELD = 3
_READERS = 64
_NATIVE_DIMENSION = "native"
_KEY_ONLY = b'"change":"%b"' % ChangeKind.KEY_DELETED.value.encode()
"""What `origin`, the last value, says of a deletion of which only the key was given."""


@dataclass(slots=True)
class NewestStates:
    """Look into one log source of records; `note` tells it of what is appended.

    The closed segments that a search opened stay open for the next, until `close`.
    """

    ledger: OrderLedgerWriter
    alias: str
    _number: int = -1
    _open: dict[str, int] = field(default_factory=dict)
    _closed: list[tuple[int, Segment]] | None = None
    _erased: dict[int, Tombstones] = field(default_factory=dict)
    _readers: dict[int, tuple[SegmentReader, IndexBlock]] = field(default_factory=dict)

    def note(self, native: str, seq: int) -> None:
        """Learn of a record that was appended to the open segment, once `find` was called."""
        if self._number >= 0:
            self._open[native] = seq

    def find(self, native: str) -> Row | None:
        """Return the newest state of a record; None where none is sealed. What only says that its key went is none."""
        writer = self.ledger.open_rows(self.alias)
        number = -1 if writer is None else writer.number
        if number != self._number:  # one was closed since
            self.close()
            self._number, self._open = number, {}
            if writer is not None:
                writer.flush()
                rows = (row for row in writer.flushed_rows() if not _is_key_only(row))
                self._open = {_native_of(row): row.seq for row in rows}
        seq = self._open.get(native)
        if writer is not None and seq is not None:
            return writer.row(seq)
        return self._find_closed(native)

    def _find_closed(self, native: str) -> Row | None:
        wanted = tag(self.ledger.secrets.tag_key, _NATIVE_DIMENSION, native)
        if self._closed is None:
            found = [
                each for each in self.ledger.manifests() if each[1].source == self.alias and each[1].records
            ]
            self._closed, self._erased = found[::-1], tombstones(self.ledger.entries)
        for at, manifest in self._closed:
            reader, block = self._opened(at, manifest)
            seqs = block.seqs(*block.ranks(wanted, INT64_MIN, INT64_MAX + 1))
            for seq in sorted(seqs, reverse=True):
                row = reader.row(seq)
                if not _is_key_only(row):
                    return row
        return None

    def _opened(self, at: int, manifest: Segment) -> tuple[SegmentReader, IndexBlock]:
        if at not in self._readers:
            while len(self._readers) >= _READERS:  # a search goes from the newest on: those are worth more
                self._readers.popitem()[1][0].close()
            ordinal = self.ledger.schema(manifest.schema).dimensions.index(_NATIVE_DIMENSION) + 1
            reader = self.ledger.segment(manifest)
            block = IndexBlock(reader, ordinal, self._erased.get(at, Tombstones()).places)
            self._readers[at] = reader, block
        return self._readers[at]

    def close(self) -> None:
        """Close the segments that were searched; the next search opens them anew, and sees those closed since."""
        for reader, _ in self._readers.values():
            reader.close()
        self._readers, self._closed = {}, None


def _is_key_only(row: Row) -> bool:
    return _KEY_ONLY in row.split_values()[-1]


def _native_of(row: Row) -> str:
    return str(decode_value(row.split_values()[_NATIVE_FIELD])[1])
