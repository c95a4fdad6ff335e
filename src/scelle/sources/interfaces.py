"""Name what every source gives: what it offers, what was read, and what could not be listed.

A source gives documents (`Source`) or records (`RecordSource`), never both by the same protocol.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, runtime_checkable

from scelle.formats.schema import Schema
from scelle.scope.pushdown import Pushdown

UNDATED: Final = -(2**63)
"""The time of an item that has none (ledger.md §2, type `t`)."""

WHOLE_BYTES: Final = 8 << 20
"""Contents up to this size come whole in `Document.data`; larger ones as a stream."""

PIECE_BYTES: Final = 1 << 20
"""The size of the pieces of a stream; the last one may be shorter."""


class Kind(Enum):
    """Say what an offered thing is."""

    DOCUMENT = "document"
    LINK = "link"
    SPECIAL = "special"
    """Offered and counted, and never read: `Offered.reason` says why."""


@dataclass(slots=True)
class Offered:
    """Describe one thing that a pass enumerated; not frozen, because a pass makes 100,000 of them.

    `native` is the source's own id, raw bytes; `path` is what the globs of a clause are matched against,
    relative to the source's root. Equal `stamp`s mean "unchanged since"; an empty one means "always read".
    `mtime_ns` is for the rule that an mtime within two seconds of the pass is read again; 0 where the stamp
    is made of content and the rule does not apply. `place` says, to its own source only, where to read.
    """

    native: bytes
    path: bytes
    kind: Kind
    stamp: bytes
    size_bytes: int
    time_us: int
    time_basis: str
    reason: str
    mtime_ns: int
    place: bytes = b""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Describe what could not be listed: it counts as offered, and as failed with `cause`."""

    native: bytes
    path: bytes
    cause: str


@dataclass(slots=True)
class Document:
    """Carry what was read, consistent in itself: content, metadata, time and stamp of the same moment.

    Exactly one of `data` and `stream` is set. Each call of `stream` reads again from the start and raises
    ItemChanged, at the latest after the last piece, when the bytes are not those that this document
    describes. `meta_json` is RFC 8785. `time_us` is the item's own time; `time_basis` says where it was
    found.
    """

    data: bytes | None
    stream: Callable[[], Iterator[bytes]] | None
    size_bytes: int
    media_type: str
    meta_json: bytes
    time_us: int
    time_basis: str
    stamp: bytes


class Source(Protocol):
    """Read one live system, and change nothing in it; safe to read from several threads."""

    def test(self) -> None:
        """Raise a SourceError when the source cannot be read at all."""

    def offered(self) -> Iterator[Offered | Trouble]:
        """Enumerate everything, in an order that is the same on every pass over the same state."""

    def read(self, offered: Offered) -> Document:
        """Read one document or link; raises ItemChanged, ItemVanished or ItemUnreadable."""


# --- records ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """Describe one shape of a source's records: a table, a kind of event (ledger.md §1, families).

    `name` is the source's own and stays the same while `schema` may change. `notes` say to people what was chosen
    for them: which column became the account, the time.
    """

    name: str
    schema: Schema
    profile: int = 1
    notes: tuple[str, ...] = ()


class Unit(NamedTuple):
    """Name a part of a source that is read from end to end: a file, a table.

    `native` is its own id, raw bytes, matched by the globs of a clause. `members` are the names of the shapes of
    its records. Equal `stamp`s mean "unchanged since"; an empty one means "always read".
    """

    native: bytes
    members: tuple[str, ...]
    stamp: bytes
    size_bytes: int


class Content(NamedTuple):
    """A content that a record commits: `field` is its place among the schema's fields (type `h`)."""

    field: int
    document: "Document"


class Record(NamedTuple):
    """Carry one record as it was read; a tuple, because a pass makes millions of them.

    `values` are the encoded values (ledger.md §2) of fields 2 and on, in the schema's order; a field of
    `contents` holds the value null, and capture puts the content's there. `account` is the identifier of
    dimension account with its kind, as in field 2, or None. `version` are the bytes that tell two states of
    the record apart, as a rule what the source gave for it; where it stands does not belong to them.
    """

    member: str
    native: bytes
    time_us: int
    account: str | None
    values: list[bytes]
    version: bytes
    size_bytes: int
    contents: tuple[Content, ...] = ()


class BadRecord(NamedTuple):
    """Name a record that was offered and fits no schema: it counts as failed, with `cause` (a code)."""

    place: str
    cause: str
    detail: str


class Batch(NamedTuple):
    """Carry consecutive records of a unit; reading can go on behind them from `mark` (opaque, < 1 KiB).

    An empty `mark` means that this unit can only be read from its start. `left_out` counts, by the reason's code,
    records that stand in this part of the unit and that the store left out by itself (`PushdownSource`).
    """

    records: Sequence[Record | BadRecord]
    mark: bytes
    left_out: Mapping[str, int] = MappingProxyType({})


@runtime_checkable
class RecordSource(Protocol):
    """Read the records of one live system, and change nothing in it."""

    def test(self) -> None:
        """Raise a SourceError when the source cannot be read at all."""

    def members(self) -> Sequence[Member]:
        """List the shapes of its records, in an order that is the same on every call over the same state."""

    def units(self) -> Iterator[Unit | Trouble]:
        """Enumerate its units, in an order that is the same on every pass over the same state."""

    def read(self, unit: Unit, mark: bytes) -> Iterator[Batch]:
        """Read a unit behind `mark` (empty: from its start), at most 8,192 records or 8 MiB at a time.

        Raises `UnitRewritten`, before the first batch, where what stood before `mark` is not what it was;
        ItemChanged, ItemVanished or ItemUnreadable where the unit cannot be read on, and SourceError where
        the source is gone.
        """

    def waiting(self, unit: Unit) -> str | None:
        """Say, after `read` ended, what of the unit is not offered yet: a last line without its end."""

    def warnings(self) -> Sequence[str]:
        """Say what people should know of the live system while it is read; asked once `members` was."""

    def close(self) -> None:
        """Let go of what reading held in the live system: a snapshot, connections, processes. It may be used again."""


@runtime_checkable
class PushdownSource(RecordSource, Protocol):
    """Read records whose store can leave out by itself what no clause covers."""

    @property
    def shows_queries(self) -> bool:
        """Tell whether those who run the store see what it is asked: its logs, its list of running queries."""

    def read_pushed_down(self, unit: Unit, mark: bytes, pushdown: Pushdown) -> Iterator[Batch]:
        """Read a unit as `read` does, without records that the clauses exclude: those are only counted.

        What is left out is exactly what the Python predicate excludes, for the same reason; whatever the store cannot
        decide alike comes as a record, and the caller decides it.
        """


# --- changes as they happen --------------------------------------------------------------------------------


class ChangeKind(Enum):
    """Say what became of a record."""

    INSERTED = "insert"
    UPDATED = "update"
    DELETED = "delete"
    """The record as it was is given whole."""
    KEY_DELETED = "delete-key"
    """Of the record only its identity is given; what it was is in the states before."""
    DIVERTED = "diverted"
    """The record as it was before it was deleted or overwritten, kept by the guard in the store."""


class ChangePlace(NamedTuple):
    """Say where a change stands: `commit` where its transaction was committed, `number` among its changes, from 0.

    Places rise from one change to the next; the same change has the same place each time it is read.
    """

    commit: int
    number: int


class Notice(NamedTuple):
    """Tell what happened to a whole unit: `kind` is a code such as `truncated`, `place` where it stands."""

    kind: str
    unit: bytes
    detail: str
    place: ChangePlace


class ChangeBatch(NamedTuple):
    """Carry consecutive changes; `places` and `kinds` are those of `records`, whose order within a member is theirs.

    `unsent` gives, by the place in `records`, the fields (numbers in the schema) whose values an update left as they
    were and the store did not send: they are null there. `transactions` gives, by `ChangePlace.commit`, the store's
    number of the transaction. All that stands before `reached` was given, and may be forgotten by the store once it is
    durable. `committed_us` is when the last of them was committed, microseconds since 1970, 0 where none was.
    """

    records: Sequence[Record | BadRecord]
    kinds: Sequence[ChangeKind]
    places: Sequence[ChangePlace]
    unsent: Mapping[int, Sequence[int]]
    transactions: Mapping[int, int]
    notices: Sequence[Notice]
    reached: int
    committed_us: int


class ChangeStream(Protocol):
    """Give the changes of one live system from a place on, each once, in the order in which they were committed."""

    def members(self) -> Sequence[Member]:
        """List the shapes of the records that were given so far, those that came last included."""

    def receive(self, seconds: float) -> ChangeBatch:
        """Give what came, waiting up to `seconds` for something; raises a SourceError where the stream broke."""

    def completed(self, record: Record, unsent: Sequence[int], state: Sequence[bytes]) -> Record:
        """Return a record with the values that the store did not send, taken from the state before it.

        `state` are all values of that state, time and seq included. `origin` says which values were taken so.
        """

    def stay_alive(self) -> None:
        """Keep the stream open while nothing is received; to be called every few seconds."""

    def confirm(self, reached: int) -> None:
        """Let the store forget what stands before `reached`: it is durable."""

    def close(self) -> None:
        """End the stream; what was not confirmed comes again."""


def native_text(native: bytes) -> str:
    """Write a native id as text: bytes outside UTF-8 percent-encoded, and then `%` as `%25` (ledger.md §2).

    Text that is valid UTF-8 is given as it is. Two ids can therefore have one text (`a%FF` as a name, and `a`
    with the byte 0xFF): tell items apart by `native`, never by this.
    """
    try:
        return native.decode("utf-8")
    except UnicodeDecodeError:
        marked = native.replace(b"%", b"%25").decode("utf-8", "surrogateescape")
        return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in marked)
