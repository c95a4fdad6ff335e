"""A small vault with one order, and a source that does what a test tells it to."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scelle.capture import store
from scelle.capture.interfaces import NamedSource, PassTools, Progress
from scelle.capture.model import PassReport
from scelle.capture.service import run_pass
from scelle.errors import CatalogStale, ItemChanged
from scelle.formats.canonical_json import canonical_json
from scelle.formats.values import Content, decode_value
from scelle.ledger.events import Event, events
from scelle.ledger.rows import Row
from scelle.ledger.service import OrderLedgerWriter, order_folder
from scelle.scope.model import Clause
from scelle.sources.interfaces import (
    PIECE_BYTES,
    WHOLE_BYTES,
    Document,
    Kind,
    Offered,
    RecordSource,
    Source,
    Trouble,
)
from scelle.vault.catalog import CATALOG_NAME, Catalog, create_catalog, open_catalog
from scelle.vault.contents import CONTENTS_TABLES, CatalogContentIndex
from scelle.vault.keys import VaultKey
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend

NOW_US = 1_770_000_000_000_000
OLD_NS = 1_760_000_000_000_000_000
ALIAS = "s0001"
TABLES = (CONTENTS_TABLES, store.TABLES)
EVERYTHING = Clause("all", ("docs",))


class Crash(BaseException):
    """Stand for the end of the process: nobody catches it."""


@dataclass
class Thing:
    """One item as it is now. `stamp` follows `data` and `edits` unless a test says otherwise."""

    data: bytes = b""
    edits: int = 0
    kind: Kind = Kind.DOCUMENT
    reason: str = ""
    mtime_ns: int = OLD_NS
    time_us: int = OLD_NS // 1000
    media_type: str = "text/plain"
    stamp: bytes | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    trouble: str = ""
    raises: list[BaseException | None] = field(default_factory=list)
    """What the next reads raise, one each; None for a read that goes well."""
    raises_late: list[BaseException | None] = field(default_factory=list)
    """The same, but after the last piece of a stream."""
    on_read: Callable[[], None] | None = None

    @property
    def current_stamp(self) -> bytes:
        if self.stamp is not None:
            return self.stamp
        return hashlib.sha256(self.data + b"%d %d" % (self.edits, self.mtime_ns)).digest()[:16]

    @property
    def meta_json(self) -> bytes:
        return canonical_json({"edits": self.edits, "mtime_ns": str(self.mtime_ns), **self.meta})


class ScriptedSource:
    """Offer what is in `things`, sorted by native id."""

    def __init__(self, things: dict[bytes, Thing] | None = None) -> None:
        self.things = things if things is not None else {}
        self.unreachable: BaseException | None = None
        self.fails_after: tuple[int, BaseException] | None = None
        self.reads: list[bytes] = []

    def test(self) -> None:
        if self.unreachable is not None:
            raise self.unreachable

    def offered(self) -> Iterator[Offered | Trouble]:
        for number, native in enumerate(sorted(self.things)):
            if self.fails_after is not None and number == self.fails_after[0]:
                raise self.fails_after[1]
            thing = self.things[native]
            yield Trouble(native, native, thing.trouble) if thing.trouble else self.offer(native)

    def offer(self, native: bytes) -> Offered:
        thing = self.things[native]
        return Offered(
            native,
            native,
            thing.kind,
            thing.current_stamp,
            len(thing.data),
            thing.time_us,
            "mtime",
            thing.reason,
            thing.mtime_ns,
        )

    def read(self, offered: Offered) -> Document:
        self.reads.append(offered.native)
        thing = self.things[offered.native]
        if thing.on_read is not None:
            thing.on_read()
        error = thing.raises.pop(0) if thing.raises else None
        if error is not None:
            raise error
        is_large = len(thing.data) > WHOLE_BYTES
        return Document(
            None if is_large else thing.data,
            self._streamer(thing) if is_large else None,
            len(thing.data),
            thing.media_type,
            thing.meta_json,
            thing.time_us,
            "mtime",
            thing.current_stamp,
        )

    def _streamer(self, thing: Thing) -> Callable[[], Iterator[bytes]]:
        def stream() -> Iterator[bytes]:
            data = thing.data
            for start in range(0, len(data), PIECE_BYTES):
                yield data[start : start + PIECE_BYTES]
            error = thing.raises_late.pop(0) if thing.raises_late else None
            if error is not None:
                raise error
            if thing.data is not data:
                raise ItemChanged("changed while it was read")

        return stream


@dataclass
class Clock:
    """Tell the time that a test sets; each question takes `tick_us`."""

    us: int = NOW_US
    tick_us: int = 1

    def __call__(self) -> int:
        self.us += self.tick_us
        return self.us


@dataclass(frozen=True)
class Record:
    """One sealed record, as far as these tests look at it."""

    seq: int
    native: str
    digest: bytes
    size_bytes: int
    time_us: int
    meta: dict[str, Any]
    pass_id: int
    chunks: bytes
    record_key: bytes


class World:
    """One vault, one order, one source; `run` is one pass in a process of its own."""

    def __init__(self, root: Path, clauses: Sequence[Clause] = (EVERYTHING,)) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.key = VaultKey(bytes(range(32)))
        self.clock = Clock()
        self.clauses = clauses
        self.source = ScriptedSource()
        self.second: ScriptedSource | None = None
        self.custodian: str | None = None
        self.compartment: str | None = None
        """The age recipient of restricted documents; a clause that is restricted needs one."""
        self.progress: Progress = lambda name, counts: None
        self._open: tuple[OrderLedgerWriter, PackStore, Catalog] | None = None

    @property
    def reader(self) -> Source | RecordSource:
        return self.source

    @property
    def things(self) -> dict[bytes, Thing]:
        return self.source.things

    def put(self, native: bytes, data: bytes = b"a red boat", **fields: Any) -> Thing:
        thing = self.things[native] = Thing(data, **fields)
        return thing

    # --- a process

    def begin(self) -> tuple[OrderLedgerWriter, PackStore, Catalog]:
        if self._open is None:
            catalog = self._catalog()
            index = CatalogContentIndex(catalog, self.key)
            packs = PackStore(PosixBackend(self.root), self.key, index, background=False)
            packs.recover()
            if order_folder(self.root, "o1").exists():
                ledger = OrderLedgerWriter(self.root, "o1", "platform.example/po/o1", self.key)
            else:
                ledger = OrderLedgerWriter.create(
                    self.root, "o1", "platform.example", self.key, authority=None, now_us=NOW_US
                )
            self._open = ledger, packs, catalog
        return self._open

    def _catalog(self) -> Catalog:
        path = self.root / CATALOG_NAME
        try:
            return open_catalog(path, TABLES)
        except CatalogStale:
            catalog = create_catalog(path, TABLES)
            index = CatalogContentIndex(catalog, self.key)
            PackStore(PosixBackend(self.root), self.key, index, background=False).rebuild_index()
            return catalog

    def end(self, crashed: BaseException | None = None) -> None:
        """End the process; after a crash nothing more is written."""
        if self._open is not None:
            ledger, packs, catalog = self._open
            ledger.close()
            packs.__exit__(type(crashed) if crashed else None, crashed, None)
            catalog.close()
            self._open = None

    def run(self) -> PassReport:
        ledger, packs, catalog = self.begin()
        tools = PassTools(
            ledger, packs, catalog, self.key, self.clock, "tester", self.progress, self.compartment
        )
        sources = [NamedSource("docs", ALIAS, "files", self.custodian, None, self.reader)]
        if self.second is not None:
            sources.append(NamedSource("more", "s0002", "files", None, None, self.second))
        try:
            report = run_pass(tools, self.clauses, sources)
            self.end()
        except BaseException as error:
            self.end(error)
            raise
        return report

    def lose_catalog(self) -> None:
        for path in self.root.glob(f"{CATALOG_NAME}*"):
            path.unlink()

    # --- what there is afterwards

    def rows(self, alias: str = ALIAS) -> list[Row]:
        """All rows that are sealed, or flushed and found again."""
        ledger, _, _ = self.begin()
        found: list[Row] = []
        for _, manifest in ledger.manifests():
            if manifest.source == alias and manifest.records:
                reader = ledger.segment(manifest)
                found += reader.rows()
                reader.close()
        writer = ledger.open_rows(alias)
        found += writer.flushed_rows() if writer is not None else ()
        self.end()
        return found

    def records(self) -> list[Record]:
        return [_record(row) for row in self.rows()]

    def contents(self) -> dict[str, bytes]:
        """The bytes of each item's newest record, read back from the packs."""
        records = self.records()
        _, packs, _ = self.begin()
        found = {record.native: packs.read_bytes(record.digest) for record in records}
        self.end()
        return found

    def holds(self, data: bytes) -> bool:
        _, packs, _ = self.begin()
        found = packs.contains(hashlib.sha256(data).digest())
        self.end()
        return found

    def events(self, *kinds: str) -> list[Event]:
        ledger, _, _ = self.begin()
        found = list(events(ledger, *kinds))
        self.end()
        return found

    def event_items(self, kind: str) -> list[dict[str, Any]]:
        return [item for event in self.events(kind) for item in event.body["items"]]


def _record(row: Row) -> Record:
    values = [decode_value(value)[1] for value in row.split_values()]
    time_us, _, _, native, _, content, chunks, _, meta = values
    assert isinstance(content, Content)
    assert isinstance(chunks, Content)
    assert chunks.size_bytes == content.size_bytes
    assert isinstance(time_us, int)
    assert isinstance(meta, bytes)
    found = store.parse_side(row)
    assert found is not None
    return Record(
        row.seq,
        str(native),
        content.digest,
        content.size_bytes,
        time_us,
        json.loads(meta),
        found[1].pass_id,
        chunks.digest,
        row.record_key,
    )
