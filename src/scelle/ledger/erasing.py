"""Erase single records of a sealed log, so that old proofs still hold and nothing stays readable (ledger.md §8).

What stays is opaque: leaf hashes, positions, the manifest, a tombstone. For each group of segments: new files without
the records are written beside the old ones, the log commits the tombstones, the new files take the old ones' places and
the old keys go. A crash leaves segment and log as they were, or tombstones that the next writer finishes
(`OrderLedgerWriter` does when it opens). The contents that the records named are named by the journal until the caller
has destroyed those that nobody needs (`finish_erasure`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scelle.errors import EraseRefused, EraseWrong, FormatError, RecordErased, SegmentDamaged
from scelle.formats.compartments import ciphertext_of
from scelle.formats.entries import (
    Entry,
    Erase,
    Genesis,
    Keys,
    Release,
    Segment,
    consent_message,
    split_authority_sig,
)
from scelle.formats.index import SORT_KEY_BYTES, tag
from scelle.formats.notes import VerifierKey
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.formats.tokens import is_code, is_reserved_alias, shown
from scelle.ledger.columns import ColumnMaker, Unhashed, hashed_entries
from scelle.ledger.erasure_journal import ErasureJournal, read_journal, remove_journal, write_journal
from scelle.ledger.rewriting import SegmentFiles, prepare, swap
from scelle.ledger.rows import Row
from scelle.ledger.search import IndexBlock, Tombstones, tombstones
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import ORDER_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.merkle.hashing import HASH_BYTES
from scelle.vault.keys import VaultKey

BASES: Final = ("consent", "letter", "order", "release")
GROUP_ENTRIES: Final = 256
"""Tombstones committed at once: as many as the log commits in one step."""
GROUP_BYTES: Final = 512 << 20
"""New files that lie beside the old ones at once, about; one segment may take more."""
_CHUNKS: Final = "chunks"
_CONTENT: Final = b"h"


class Target(NamedTuple):
    """Name one sealed record: the log index of its segment's manifest, and its sequence number."""

    log_index: int
    seq: int


@dataclass(frozen=True, slots=True)
class Doomed:
    """One record that is to be erased: its tombstone, and what the tombstone says of it.

    `entry` has no signature yet. `tags` are those of its dimensions in order; `contents` the SHA-256 of what it named.
    """

    target: Target
    entry: Erase
    time_us: int
    index_salt: bytes
    tags: tuple[bytes, ...]
    contents: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased: how many records of how many segments, and the contents that they named."""

    records: int
    segments: int
    contents: frozenset[bytes]


def prepare_tombstones(
    ledger: OrderLedger,
    targets: Iterable[Target],
    *,
    ground: str,
    basis: str,
    document: bytes | None,
    time_us: int,
) -> list[Doomed]:
    """Make the tombstones of some records, by log index and sequence number; nothing is changed.

    Each row is read, committed to again and looked up in every block of X: a tombstone that did not open to its record
    would hide another. Raises `EraseWrong`, `RecordErased`, and `SegmentDamaged` where row, index and tree disagree.
    """
    if not is_code(ground) or basis not in BASES:
        raise EraseWrong(
            f"ground {shown(ground)} or basis {shown(basis)}: a code of a-z, 0-9, -, and one of {BASES}"
        )
    wanted: dict[int, set[int]] = {}
    for target in targets:
        wanted.setdefault(target.log_index, set()).add(target.seq)
    erased, found = tombstones(ledger.entries), []
    for at in sorted(wanted):
        manifest = _manifest(ledger, at, wanted[at])
        gone = erased.get(at, Tombstones())
        for seq in sorted(wanted[at]):
            if seq - manifest.seq[0] in gone.records:
                raise RecordErased(f"record {manifest.source}:{seq} was erased before")
        leaf = bytes(ledger.log.leaves[HASH_BYTES * at : HASH_BYTES * (at + 1)])
        blank = Erase(ledger.order, (at, leaf), (0, leaf), (0,), ground, time_us, basis, document, None)
        with closing(ledger.segment(manifest)) as reader:
            maker = ColumnMaker(reader.schema, manifest.profile, ledger.secrets.tag_key)
            source_tag = tag(ledger.secrets.tag_key, "source", manifest.source)
            rows = [_Found(reader, maker, source_tag, at, seq) for seq in sorted(wanted[at])]
            _find_places(reader, rows, gone)
            found += [row.doomed(blank) for row in rows]
    return found


def _manifest(ledger: OrderLedger, at: int, seqs: Iterable[int]) -> Segment:
    manifest = ledger.entries[at] if 0 <= at < len(ledger.entries) else None
    if not isinstance(manifest, Segment):
        raise EraseWrong(f"entry {at} of order {ledger.order} is no segment")
    if is_reserved_alias(manifest.source):
        raise EraseWrong(
            f"records of {manifest.source} are the order's own papers and acts: they stay with its log"
        )
    for seq in seqs:
        if not manifest.seq[0] <= seq < manifest.seq[1]:
            raise EraseWrong(f"segment {manifest.source} {manifest.number} has no record {seq}")
    return manifest


class _Found:
    """One record that is looked up: its commitment, and its entry in each block of X."""

    def __init__(
        self, reader: SegmentReader, maker: ColumnMaker, source_tag: bytes, at: int, seq: int
    ) -> None:
        self.target, self.manifest = Target(at, seq), reader.manifest
        self.position = seq - reader.manifest.seq[0]
        row = reader.row(seq)
        values = row.split_values()
        self._time_us = int.from_bytes(values[0][5:], "big", signed=True)
        (made,) = maker.of_records(seq, [row.record_key], [self._time_us], [values[2:]], [row.values])
        if made.commitments != reader.hashes(self.position, self.position + 1):
            raise _disagreement(reader, seq)
        self._salt, self._rc = row.record_key[HASH_BYTES // 2 :], made.commitments
        self._tags = (source_tag, *made.tags)
        self._contents = contents_of(reader.schema, row)
        self.entries = [
            hashed_entries(Unhashed(dimension, seq, own, made.inners, made.times))
            for dimension, own in enumerate(self._tags, 1)
        ]
        """Sort key and leaf hash of each dimension."""
        self.places: list[int] = []

    def doomed(self, blank: Erase) -> Doomed:
        """Give its tombstone."""
        entry = replace(blank, record=(self.position, self._rc), index=tuple(self.places))
        return Doomed(self.target, entry, self._time_us, self._salt, self._tags, self._contents)


def _disagreement(reader: SegmentReader, seq: int) -> SegmentDamaged:
    return SegmentDamaged(
        f"{reader.folder}: record {seq} is not the one that was sealed, or its index is not: nothing was erased; run "
        "`scelle verify`"
    )


def _find_places(reader: SegmentReader, rows: Sequence[_Found], gone: Tombstones) -> None:
    """Find the position of each record in each block of X by its sort key; a block is walked through once."""
    count = reader.manifest.records
    for number in range(len(reader.schema.dimensions)):
        block = IndexBlock(reader, number + 1, gone.places)
        wanted = sorted(rows, key=lambda row: row.entries[number][:SORT_KEY_BYTES])
        rank = 0
        for row in wanted:
            key, leaf = row.entries[number][:SORT_KEY_BYTES], row.entries[number][SORT_KEY_BYTES:]
            rank = block.first_at_least(key, rank)
            place = block.position(rank) if rank < block.living else 0
            is_there = rank < block.living and block.key(rank) == key
            if not is_there or reader.hashes(count + place, count + place + 1) != leaf:
                raise _disagreement(reader, row.target.seq)
            row.places.append(place)


def contents_of(schema: Schema, row: Row) -> frozenset[bytes]:
    """Return the SHA-256 of every content that a row names: of a restricted document, its ciphertext."""
    try:
        values = row.split_values()
        locked = ciphertext_of(values) if schema.digest == DOCUMENT_V1.digest else None
    except FormatError as error:
        raise SegmentDamaged(f"row {row.seq} cannot be read: {error}; run `scelle verify`") from error
    if locked is not None:
        return frozenset({locked.digest})
    return frozenset(
        value[5:37]
        for field, value in zip(schema.fields, values, strict=True)
        if field.type == "h" and field.name != _CHUNKS and value[:1] == _CONTENT
    )


# --- who may ---------------------------------------------------------------------------------------------


def authority_keys(entries: Iterable[Entry]) -> dict[int, VerifierKey]:
    """Return the keys of the authority that are valid now, by key id."""
    found: dict[int, VerifierKey] = {}
    for entry in entries:
        if isinstance(entry, Genesis) and entry.authority is not None:
            found[entry.authority.key_id] = entry.authority
        elif isinstance(entry, Keys) and entry.role == "authority" and entry.add is not None:
            found.pop(0 if entry.retire is None else entry.retire.key_id, None)
            found[entry.add.key_id] = entry.add
    return found


def is_signed(ledger: OrderLedger, entry: Erase | Release) -> bool:
    """Tell whether a key of the authority signed an entry (`scelle/consent/v1`)."""
    if entry.authority_sig is None:
        return False
    key_id, signature = split_authority_sig(entry.authority_sig)
    key = authority_keys(ledger.entries).get(key_id)
    message = consent_message(ledger.origin, ledger.state.genesis_leaf, entry.encode())
    try:
        if key is not None:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except InvalidSignature:
        return False
    return key is not None


def is_live(ledger: OrderLedger) -> bool:
    """Tell whether the order lives: no release is in its log, or the authority, where there is one, signed none."""
    has_authority = bool(authority_keys(ledger.entries))
    return not any(
        isinstance(entry, Release) and (not has_authority or is_signed(ledger, entry))
        for entry in ledger.entries
    )


def check_may_erase(ledger: OrderLedger, basis: str, document: bytes | None) -> None:
    """Raise `EraseRefused` where tombstones on this basis would make every later package invalid (ledger.md §8)."""
    if basis != "consent" and (document is None or not _is_sealed_paper(ledger, document)):
        raise EraseRefused(
            f"basis {basis} needs its paper, sealed in {ORDER_SOURCE} before: give --document FILE"
        )
    if not is_live(ledger):
        return
    if basis == "release":
        raise EraseRefused(
            f"order {ledger.order} lives: on the basis of its release nothing can be erased yet"
        )
    if not authority_keys(ledger.entries):
        raise EraseRefused(
            f"order {ledger.order} lives and names no key of its authority: whoever checks a package would find a "
            "tombstone that nobody allowed; release the order first, or quarantine the items until then"
        )


def _is_sealed_paper(ledger: OrderLedger, commitment: bytes) -> bool:
    for _, manifest in ledger.manifests():
        if manifest.source == ORDER_SOURCE and manifest.records:
            with closing(ledger.segment(manifest)) as reader:
                hashes = reader.record_hashes()
            if any(hashes[at : at + HASH_BYTES] == commitment for at in range(0, len(hashes), HASH_BYTES)):
                return True
    return False


# --- doing it --------------------------------------------------------------------------------------------


def erase(
    ledger: OrderLedgerWriter,
    vault_key: VaultKey,
    targets: Iterable[Target],
    *,
    ground: str,
    basis: str,
    document: bytes | None,
    signatures: Mapping[Target, bytes],
    now_us: int,
    time_us: int | None = None,
) -> Erasure:
    """Erase sealed records of an order's sources: afterwards each has a tombstone, and nothing of its row opens.

    `document` is the commitment of the paper; `signatures` are the authority's, 68 bytes each, over tombstones that say
    `time_us` (by default `now_us`). The journal names the contents until `finish_erasure`. Raises `EraseRefused`,
    `EraseWrong`, `RecordErased`, `SegmentDamaged`; then nothing was changed.
    """
    ledger.settle_erasures()
    doomed = prepare_tombstones(
        ledger,
        targets,
        ground=ground,
        basis=basis,
        document=document,
        time_us=now_us if time_us is None else time_us,
    )
    check_may_erase(ledger, basis, document)
    entries = [_signed(ledger, each, signatures) for each in doomed]
    positions: dict[int, set[int]] = {}
    for each in doomed:
        positions.setdefault(each.target.log_index, set()).add(each.entry.record[0])
    contents = frozenset[bytes]().union(*(each.contents for each in doomed))
    journal = ErasureJournal({at: frozenset(found) for at, found in positions.items()}, contents)
    left = read_journal(ledger.folder, ledger.origin, vault_key)
    write_journal(ledger.folder, ledger.origin, vault_key, journal.with_more(left))
    for group in _groups(ledger, entries):
        _erase_group(ledger, group, now_us)
    return Erasure(len(entries), len(positions), contents)


def with_signature(doomed: Doomed, signatures: Mapping[Target, bytes]) -> Erase:
    """Return a tombstone with the authority's signature, where there is one."""
    return replace(doomed.entry, authority_sig=signatures.get(doomed.target))


def _signed(ledger: OrderLedger, doomed: Doomed, signatures: Mapping[Target, bytes]) -> Erase:
    entry = with_signature(doomed, signatures)
    must_be_signed = entry.authority_sig is not None or entry.basis == "consent"
    if must_be_signed and not is_signed(ledger, entry):
        raise EraseRefused(
            f"record {doomed.target.seq} of entry {doomed.target.log_index}: no valid signature of the authority over "
            "its tombstone: let it sign what `scelle consent-request` wrote"
        )
    return entry


def _groups(ledger: OrderLedger, entries: Sequence[Erase]) -> Iterator[dict[int, list[Erase]]]:
    """Join the tombstones of segments to groups that are erased together: each takes a commit and room on the disk."""
    by_segment: dict[int, list[Erase]] = {}
    for entry in entries:
        by_segment.setdefault(entry.segment[0], []).append(entry)
    group: dict[int, list[Erase]] = {}
    count = size_bytes = 0
    for at, own in by_segment.items():
        own_bytes = sum(path.stat().st_size for path in ledger.segment_files(at).folder.iterdir())
        if group and (count + len(own) > GROUP_ENTRIES or size_bytes + own_bytes > GROUP_BYTES):
            yield group
            group, count, size_bytes = {}, 0, 0
        group[at] = own
        count, size_bytes = count + len(own), size_bytes + own_bytes
    if group:
        yield group


def _erase_group(ledger: OrderLedgerWriter, group: Mapping[int, Sequence[Erase]], now_us: int) -> None:
    """Prepare the files of some segments, commit their tombstones, swap the files."""
    after = tombstones([*ledger.entries, *(entry for own in group.values() for entry in own)])
    files: dict[int, SegmentFiles] = {at: ledger.segment_files(at) for at in group}
    for at, own in group.items():
        prepare(files[at], after[at], {entry.record[0] for entry in own})
    ledger.commit_entries([entry for own in group.values() for entry in own], now_us)
    for each in files.values():
        swap(each.folder)


def unfinished_contents(ledger: OrderLedger, vault_key: VaultKey) -> frozenset[bytes]:
    """Return the contents that erased records named and that nobody has looked after yet."""
    journal = read_journal(ledger.folder, ledger.origin, vault_key)
    return frozenset() if journal is None else journal.contents


def finish_erasure(ledger: OrderLedgerWriter) -> None:
    """Say that the contents of erased records were destroyed, or are needed by others."""
    remove_journal(ledger.folder)
