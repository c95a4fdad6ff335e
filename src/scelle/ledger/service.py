"""Join one order's log, segments and secrets: what capture, productions and the order's acts write to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NewType, Protocol

from scelle.errors import LogDamaged, OrderOver, SegmentDamaged
from scelle.formats.checkpoints import Checkpoint
from scelle.formats.entries import Entry, Gap, Genesis, Release, Segment, parse_entry
from scelle.formats.notes import VerifierKey
from scelle.formats.schema import Schema, parse_schema
from scelle.formats.tokens import make_origin
from scelle.ledger.crew import CommitCrew
from scelle.ledger.erasure_journal import read_journal, remove_journal
from scelle.ledger.log import LogReader, LogWriter
from scelle.ledger.model import Chain, LogState, known_gaps
from scelle.ledger.positions import keep_position, read_position
from scelle.ledger.promise_book import PromiseBook
from scelle.ledger.rewriting import SegmentFiles, is_settled, settle
from scelle.ledger.search import Tombstones, tombstones
from scelle.ledger.segments import (
    MAX_OPEN_US,
    SegmentHead,
    SegmentReader,
    SegmentWriter,
    alias_of,
    folder_name,
)
from scelle.ledger.signing import OrderSecrets, Signer
from scelle.merkle.hashing import EMPTY_ROOT
from scelle.vault import durable
from scelle.vault.keys import VaultKey

if TYPE_CHECKING:
    from scelle.ledger.events import Event

Alias = NewType("Alias", str)
ORDER_SOURCE = "scelle.order"
EVENTS_SOURCE = "scelle.events"
PROFILE = 1
_KEPT = ("rows", "keys")


class Looked(NamedTuple):
    """Name a log source that was looked at, with the shape of what it would have given."""

    alias: str
    schema: Schema
    profile: int = PROFILE


@dataclass(frozen=True, slots=True)
class SignerMemory:
    """Remember, outside the vault, the largest (size, root) signed for each origin."""

    recall: Callable[[str], tuple[int, bytes] | None] = lambda origin: None
    note: Callable[[str, int, bytes], None] = lambda origin, size, root: None
    origins: Callable[[], list[str]] = list


def order_folder(vault: Path, order: str) -> Path:
    """Return the folder of an order's log and segments."""
    return vault / "po" / order


class Backing(Protocol):
    """What tells of an event whether the people who must stand behind it do."""

    def believes(self, event: "Event") -> bool:
        """Tell whether an event counts."""

    def asked(self, event: "Event") -> Mapping[str, Any] | None:
        """Return what was asked for that an event carries out; None where nothing was."""


class OrderLedger:
    """Read the ledger of one order; `OrderLedgerWriter` continues it.

    With a ``backing`` its events are those alone that count; without one, all that are sealed.
    """

    backing: Backing | None = None

    def __init__(self, vault: Path, order: str, origin: str, vault_key: VaultKey) -> None:
        self.order, self.origin = order, origin
        self.folder = order_folder(vault, order)
        self._vault_key = vault_key
        self.secrets = OrderSecrets.opened(origin, self._sealed_secrets(), vault_key)
        self.log = self._open_log()
        self.entries: list[Entry] = []
        self.state = LogState()
        self._schemas: dict[bytes, Schema] = {}
        self._fold_new()

    def _sealed_secrets(self) -> bytes:
        try:
            return (self.folder / "secrets").read_bytes()
        except FileNotFoundError as error:
            raise LogDamaged(
                f"{self.folder / 'secrets'} is missing: restore it from a copy of the vault"
            ) from error

    def _open_log(self) -> LogReader:
        return LogReader(self.folder / "log", self.origin)

    def _fold_new(self) -> None:
        for data in self.log.entries[self.state.size :]:
            entry = parse_entry(data)
            self.state.add(entry, data)
            self.entries.append(entry)

    @property
    def checkpoint(self) -> Checkpoint:
        """Return the size and root of the published log."""
        return Checkpoint(self.origin, self.log.size, self.log.root)

    def manifests(self) -> Iterator[tuple[int, Segment]]:
        """Yield every manifest with its log index."""
        for index, entry in enumerate(self.entries):
            if isinstance(entry, Segment):
                yield index, entry

    def gaps(self) -> list[Gap]:
        """List the gaps that no later entry closes."""
        return [each.gap for each in known_gaps(self.entries) if each.closing is None]

    def schema(self, digest: bytes) -> Schema:
        """Return a schema by its SHA-256; raise `LogDamaged` when the stored one is another."""
        if digest not in self._schemas:
            path = self.folder / "log" / "schemas" / f"{digest.hex()}.json"
            data = path.read_bytes() if path.exists() else b""
            if sha256(data).digest() != digest:
                raise LogDamaged(f"{path}: the schema is missing or not the one that the log names")
            self._schemas[digest] = parse_schema(data)
        return self._schemas[digest]

    def segment(self, manifest: Segment) -> SegmentReader:
        """Open a committed segment that has records; raise `OrderOver` where they went with the order."""
        files = self._files(manifest)
        if not files.is_there and any(isinstance(entry, Release) for entry in self.entries):
            raise OrderOver(
                "what was captured under this order was destroyed at its release: nothing of it can be read; its log "
                "and acts stay"
            )
        return files.reader()

    def segment_files(self, at: int) -> SegmentFiles:
        """Say where the files of a committed segment are, by the log index of its manifest."""
        manifest = self.entries[at]
        if not isinstance(manifest, Segment):
            raise LogDamaged(f"{self.folder / 'log'}: entry {at} is no segment: run `scelle verify`")
        return self._files(manifest)

    def position(self, alias: str) -> bytes | None:
        """Return the token of the newest position that a manifest of `alias` commits to; None where none does."""
        for _, manifest in reversed(list(self.manifests())):
            before, last = manifest.position
            if manifest.source == alias and last is not None and last != before:
                parent = self.folder / "seg" / folder_name(alias)
                return read_position(parent, manifest.number, self.origin, alias, last, self._vault_key)
        return None

    def _files(self, manifest: Segment) -> SegmentFiles:
        folder = self.folder / "seg" / folder_name(manifest.source) / str(manifest.number)
        return SegmentFiles(folder, self.origin, manifest, self.schema(manifest.schema), self._vault_key)


class OrderLedgerWriter(OrderLedger):
    """Append records and entries to one order's ledger. The caller holds the vault's writer lock.

    Opening recovers first: the log is brought to its locked state, erasures that it committed are finished, closed
    segments that never reached it are opened again, and the torn tail of open ones is cut.
    """

    log: LogWriter

    def __init__(
        self, vault: Path, order: str, origin: str, vault_key: VaultKey, memory: SignerMemory | None = None
    ) -> None:
        self._memory = memory or SignerMemory()
        self.is_closed = False
        self.crew = CommitCrew()
        self._writers: dict[str, SegmentWriter] = {}
        self._positions: dict[str, bytes] = {}
        self._promises: PromiseBook | None = None
        super().__init__(vault, order, origin, vault_key)
        self.settle_erasures()
        self._resume_open_segments()

    @classmethod
    def create(
        cls,
        vault: Path,
        order: str,
        host: str,
        vault_key: VaultKey,
        *,
        authority: VerifierKey | None,
        now_us: int,
        memory: SignerMemory | None = None,
    ) -> "OrderLedgerWriter":
        """Make the ledger of a new order and commit its genesis.

        A crash leaves a folder without a published genesis; calling again with the same order completes it
        with the keys that were already kept.
        """
        origin = make_origin(host, order)
        folder = order_folder(vault, order)
        durable.make_directory(folder / "log" / "schemas")
        if not (folder / "secrets").exists():
            durable.write_file(folder / "secrets", OrderSecrets.generate(origin).sealed(vault_key))
        ledger = cls(vault, order, origin, vault_key, memory)
        if ledger.log.size == 0:
            genesis = Genesis(
                order=order,
                host=host,
                authority=authority,
                tagkey_sha256=sha256(ledger.secrets.tag_key).digest(),
            )
            ledger._commit([genesis], now_us)
        return ledger

    def _open_log(self) -> LogWriter:
        self.signer = Signer(self.secrets)
        return LogWriter(
            self.folder / "log", self.signer, remembers=self._memory.recall, remember=self._memory.note
        )

    def close(self) -> None:
        """Close all files; what was not flushed is not kept. Ends the crew."""
        self.is_closed = True
        self.crew.close()
        for writer in self._writers.values():
            writer.abandon()
        self._writers.clear()
        if self._promises is not None:
            self._promises.close()
        self.log.close()

    def discard_uncommitted(self) -> None:
        """Drop every row that no manifest covers: for an act that begins anew. A crash leaves some of them."""
        for writer in self._writers.values():
            writer.discard()
        self._writers.clear()

    def settle_erasures(self) -> None:
        """Finish in the files what the log committed of erasures, and drop what it did not (ledger.md §8)."""
        found, nothing = tombstones(self.entries), Tombstones()
        journal = read_journal(self.folder, self.origin, self._vault_key)
        begun = {} if journal is None else journal.records
        for at in sorted({*found, *begun}):
            files, erased = self.segment_files(at), found.get(at, nothing)
            if at in begun or not is_settled(files, erased):
                settle(files, erased)
        if journal is not None and not journal.is_begun({at: each.records for at, each in found.items()}):
            remove_journal(self.folder)

    def _resume_open_segments(self) -> None:
        for parent in sorted((self.folder / "seg").glob("*")):
            alias = alias_of(parent.name)
            number = self.state.chain(alias).next_number
            closed, opened = parent / str(number), parent / f"{number}.open"
            is_closed = closed.exists()  # and its manifest never reached the log
            folder = closed if is_closed else opened
            if not folder.exists():
                continue
            if not (folder / "head").exists():  # a crash came before its head, or while it was dropped
                _remove_rowless(folder)
                continue
            if is_closed:
                durable.replace(closed, opened)
            self._writers[alias] = self._resume(alias, number, opened)

    def _resume(self, alias: str, number: int, folder: Path) -> SegmentWriter:
        head = SegmentHead.parse((folder / "head").read_bytes())
        return SegmentWriter.resume(
            folder,
            origin=self.origin,
            alias=alias,
            number=number,
            schema=self.schema(bytes.fromhex(head.schema)),
            tag_key=self.secrets.tag_key,
            vault_key=self._vault_key,
            crew=self.crew,
        )

    def open_sources(self) -> list[str]:
        """List the log sources that have an open segment."""
        return list(self._writers)

    def open_rows(self, alias: str) -> SegmentWriter | None:
        """Return the open segment of `alias`, if there is one: for instance after a crash."""
        return self._writers.get(alias)

    def coming_index(self, alias: str) -> int:
        """Return the log index that the manifest of an open segment of a source gets where all are sealed now."""
        names = sorted(
            (name for name, writer in self._writers.items() if writer.records), key=_place_in_commit
        )
        return self.log.size + names.index(alias)

    def writer(self, alias: str, schema: Schema, now_us: int, profile: int = PROFILE) -> SegmentWriter:
        """Return the open segment of `alias`, opening the next one where there is none."""
        writer = self._writers.get(alias)
        if writer is None:
            self._keep_schema(schema)
            chain = self.state.chain(alias)
            head = SegmentHead(
                schema=schema.digest.hex(),
                profile=profile,
                seq_lo=chain.next_seq,
                watermark_from=_watermark_from(chain, now_us),
                opened_us=now_us,
            )
            writer = self._writers[alias] = SegmentWriter.start(
                self.folder / "seg" / folder_name(alias),
                origin=self.origin,
                alias=alias,
                number=chain.next_number,
                head=head,
                schema=schema,
                tag_key=self.secrets.tag_key,
                vault_key=self._vault_key,
                crew=self.crew,
            )
        return writer

    def _keep_schema(self, schema: Schema) -> None:
        path = self.folder / "log" / "schemas" / f"{schema.digest.hex()}.json"
        if not path.exists():
            durable.make_directory(path.parent)
            durable.write_file(path, schema.encode(), mode=0o644)

    def is_full(self, alias: str, now_us: int) -> bool:
        """Tell whether the open segment of `alias` must close: 2^20 records, or 15 minutes of age."""
        writer = self._writers.get(alias)
        return writer is not None and (
            writer.records >= writer.max_records or now_us - writer.head.opened_us >= MAX_OPEN_US
        )

    @property
    def promises(self) -> PromiseBook:
        """Return the promises that were given under this order; the book is made when it is first asked for."""
        if self._promises is None:
            self._promises = PromiseBook.opened(self.folder)
        return self._promises

    def stand_at(self, alias: str, token: bytes) -> None:
        """Note where the source's own log stands (an LSN, a commit): the next manifest of `alias` commits to it."""
        self._positions[alias] = token

    def _position(self, alias: str, chain: Chain) -> tuple[bytes | None, bytes | None]:
        """Return a manifest's `position`: that of the last one, and where the source stands now, if that is known."""
        token = self._positions.pop(alias, None)
        if token is None:
            return chain.position, chain.position
        parent = self.folder / "seg" / folder_name(alias)
        last = keep_position(parent, chain.next_number, self.origin, alias, token, self._vault_key)
        return chain.position, last

    def flush(self) -> None:
        """Make every record appended so far durable."""
        for writer in self._writers.values():
            writer.flush()

    def seal(
        self,
        now_us: int,
        *,
        only: Sequence[str] | None = None,
        looked: Sequence[Looked] = (),
        entries: Sequence[Entry] = (),
    ) -> bytes:
        """Close the open segments, commit their manifests and then `entries`; return the checkpoint note.

        `only` names the log sources to close (all by default); `looked` names those that were looked at: one
        without an open segment gets a manifest of no records, the evidence that it was looked at.
        """
        self._drop_rowless(only)
        manifests: list[Entry] = []
        names = [alias for alias in self._writers if only is None or alias in only]
        for alias in sorted(names, key=_place_in_commit):
            manifests.append(self._close_segment(alias, now_us))
        for each in looked:
            if each.alias not in names:
                manifests.append(self._empty_manifest(each, now_us))
        return self._commit([*manifests, *entries], now_us)

    def commit_entries(self, entries: Sequence[Entry], now_us: int) -> bytes:
        """Commit entries alone; open segments stay open. Return the checkpoint note."""
        return self._commit(entries, now_us)

    def _drop_rowless(self, only: Sequence[str] | None) -> None:
        """Drop open segments that a crash left with a head and no row: a manifest of no records has no folder."""
        for alias, writer in list(self._writers.items()):
            if not writer.records and (only is None or alias in only):
                writer.discard()
                _remove_rowless(writer.folder)
                del self._writers[alias]

    def _close_segment(self, alias: str, now_us: int) -> Segment:
        writer = self._writers[alias]
        chain = self.state.chain(alias)
        manifest = writer.close(
            order=self.order,
            watermark_to=max(now_us, writer.head.watermark_from + 1),
            previous=chain.prev,
            anchor=self.newest_anchor(),
            position=self._position(alias, chain),
        )
        del self._writers[alias]
        return manifest

    def _empty_manifest(self, looked: Looked, now_us: int) -> Segment:
        alias, schema, profile = looked
        self._keep_schema(schema)
        chain = self.state.chain(alias)
        start = _watermark_from(chain, now_us)
        return Segment(
            order=self.order,
            source=alias,
            number=chain.next_number,
            records=0,
            seq=(chain.next_seq, chain.next_seq),
            time=None,
            undated=0,
            watermark=(start, max(now_us, start + 1)),
            profile=profile,
            schema=schema.digest,
            record_root=EMPTY_ROOT,
            index_size=0,
            index_root=EMPTY_ROOT,
            position=self._position(alias, chain),
            anchor=self.newest_anchor(),
            prev=chain.prev,
        )

    def _commit(self, entries: Sequence[Entry], now_us: int) -> bytes:
        note = self.log.commit([entry.encode() for entry in entries], now_us)
        self._fold_new()
        return note

    def newest_anchor(self) -> bytes | None:
        """Return the SHA-256 of the newest token: its checkpoint is smaller than any entry still to come."""
        tokens = sorted((self.folder / "log" / "tokens").glob("*.tsr"), key=_token_size)
        return sha256(tokens[-1].read_bytes()).digest() if tokens else None


def _place_in_commit(alias: str) -> tuple[bool, str]:
    """Order the manifests of one commit: what was captured first, then papers and events."""
    return alias.startswith("scelle."), alias


def _remove_rowless(folder: Path) -> None:
    """Remove the folder of an open segment without rows, its head first; a crash leaves one without a head.

    Raises `SegmentDamaged`, and removes nothing, where rows are kept: a writer makes the head before them.
    """
    paths = sorted(folder.iterdir())
    if any(path.stat().st_size for path in paths if path.name in _KEPT):
        raise SegmentDamaged(f"{folder}: rows are kept there and its head is gone: restore it from a copy")
    for path in paths:
        durable.remove(path)
    durable.remove_directory(folder)


def _token_size(path: Path) -> tuple[int, str]:
    return int(path.name.split("-")[0]), path.name


def _watermark_from(chain: Chain, now_us: int) -> int:
    """Continue where the last segment ended: watermarks tile, whatever the clock did in between."""
    return now_us if chain.watermark is None else chain.watermark
