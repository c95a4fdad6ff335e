"""Find the newest sealed state of a record: in the open segment by its number, in closed ones by their index."""

from contextlib import closing
from dataclasses import dataclass, field

from scelle.formats.index import tag
from scelle.formats.tokens import INT64_MAX, INT64_MIN
from scelle.formats.values import decode_value
from scelle.ledger.rows import Row
from scelle.ledger.search import IndexBlock, Tombstones, tombstones
from scelle.ledger.service import OrderLedgerWriter
from scelle.sources.interfaces import ChangeKind

_NATIVE_FIELD = 3
_NATIVE_DIMENSION = "native"
_KEY_ONLY = b'"change":"%b"' % ChangeKind.KEY_DELETED.value.encode()
"""What `origin`, the last value, says of a deletion of which only the key was given."""


@dataclass(slots=True)
class NewestStates:
    """Look into one log source of records; `note` tells it of what is appended."""

    ledger: OrderLedgerWriter
    alias: str
    _number: int = -1
    _open: dict[str, int] = field(default_factory=dict)

    def note(self, native: str, seq: int) -> None:
        """Learn of a record that was appended to the open segment, once `find` was called."""
        if self._number >= 0:
            self._open[native] = seq

    def find(self, native: str) -> Row | None:
        """Return the newest state of a record; None where none is sealed. What only says that its key went is none."""
        writer = self.ledger.open_rows(self.alias)
        if writer is not None:
            if writer.number != self._number:
                writer.flush()
                rows = (row for row in writer.flushed_rows() if not _is_key_only(row))
                self._open = {_native_of(row): row.seq for row in rows}
                self._number = writer.number
            seq = self._open.get(native)
            if seq is not None:
                return writer.row(seq)
        return self._find_closed(native)

    def _find_closed(self, native: str) -> Row | None:
        wanted = tag(self.ledger.secrets.tag_key, _NATIVE_DIMENSION, native)
        erased = tombstones(self.ledger.entries)
        for at, manifest in reversed(list(self.ledger.manifests())):
            if manifest.source != self.alias or not manifest.records:
                continue
            ordinal = self.ledger.schema(manifest.schema).dimensions.index(_NATIVE_DIMENSION) + 1
            with closing(self.ledger.segment(manifest)) as reader:
                block = IndexBlock(reader, ordinal, erased.get(at, Tombstones()).places)
                seqs = block.seqs(*block.ranks(wanted, INT64_MIN, INT64_MAX + 1))
                for seq in sorted(seqs, reverse=True):
                    row = reader.row(seq)
                    if not _is_key_only(row):
                        return row
        return None


def _is_key_only(row: Row) -> bool:
    return _KEY_ONLY in row.split_values()[-1]


def _native_of(row: Row) -> str:
    return str(decode_value(row.split_values()[_NATIVE_FIELD])[1])
