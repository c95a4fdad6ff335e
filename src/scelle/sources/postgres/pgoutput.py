"""Read the messages of PostgreSQL's logical decoding plug-in `pgoutput` (pure).

The form is that of the manual's chapter *Logical Replication Message Formats*, protocol version 1: whole transactions,
in the order of their commits. Values come as text.
"""

import struct
from typing import Final, NamedTuple, TypeAlias

from scelle.errors import FormatError

POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970: where the server counts from."""

_BE16: Final = struct.Struct(">H").unpack_from
_BE32: Final = struct.Struct(">I").unpack_from
_BEGIN: Final = struct.Struct(">QqI").unpack_from
_COMMIT: Final = struct.Struct(">BQQq").unpack_from
_COLUMN: Final = struct.Struct(">Ii").unpack_from
_NULL, _UNCHANGED, _TEXT = b"nut"


class Unchanged:
    """Stand for a value that an UPDATE left as it was and that is stored apart (TOAST): the server does not send it."""

    __slots__ = ()


UNCHANGED: Final = Unchanged()
Cell: TypeAlias = "bytes | Unchanged | None"
"""A value's text; None for NULL."""


class Begin(NamedTuple):
    """Open a transaction: where its commit lies in the WAL, when that was (microseconds since 1970), its number."""

    commit_lsn: int
    time_us: int
    xid: int


class Commit(NamedTuple):
    """End a transaction; what lies before `end_lsn` in the WAL may be confirmed."""

    commit_lsn: int
    end_lsn: int
    time_us: int


class RelationColumn(NamedTuple):
    """Describe a column as it is sent; `is_key`: it belongs to the replica identity."""

    name: str
    type_oid: int
    modifier: int
    is_key: bool


class Relation(NamedTuple):
    """Describe a table as it was when what follows was written.

    `identity` is `d` (primary key), `i` (an index), `f` (the whole row) or `n` (nothing).
    """

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


class Change(NamedTuple):
    """Carry a row that was inserted, updated or deleted (`kind` I, U, D).

    `old` is what the server sent of the row before: all of it where `old_kind` is `O`, its identity where that is `K`,
    None where nothing. `new` is None for a DELETE.
    """

    kind: str
    relation: int
    old_kind: str
    old: list[Cell] | None
    new: list[Cell] | None


class Truncate(NamedTuple):
    """Name tables that were emptied together."""

    relations: tuple[int, ...]


def read_begin(data: bytes) -> Begin:
    """Read the message `B`."""
    lsn, time, xid = _BEGIN(data, 1)
    return Begin(lsn, time + POSTGRES_EPOCH_US, xid)


def read_commit(data: bytes) -> Commit:
    """Read the message `C`."""
    _, lsn, end, time = _COMMIT(data, 1)
    return Commit(lsn, end, time + POSTGRES_EPOCH_US)


def read_relation(data: bytes, at: int = 1) -> Relation:
    """Read the message `R`, whose body begins at `at`."""
    try:
        (oid,) = _BE32(data, at)
        schema, at = _string(data, at + 4)
        name, at = _string(data, at)
        identity = chr(data[at])
        (count,) = _BE16(data, at + 1)
        at += 3
        columns = []
        for _ in range(count):
            is_key = bool(data[at] & 1)
            column, at = _string(data, at + 1)
            type_oid, modifier = _COLUMN(data, at)
            at += 8
            columns.append(RelationColumn(column, type_oid, modifier, is_key))
    except (struct.error, IndexError, ValueError) as error:
        raise _cut_short(data) from error
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))


def read_change(data: bytes, at: int = 1) -> Change:
    """Read the messages `I`, `U` and `D`, whose body begins at `at`."""
    try:
        kind = chr(data[0])
        (relation,) = _BE32(data, at)
        at += 4
        old: list[Cell] | None = None
        old_kind, mark = "", chr(data[at])
        if mark in "KO":
            old_kind = mark
            old, at = read_tuple(data, at + 1)
        if kind == "D":
            return Change(kind, relation, old_kind, old, None)
        if data[at] != 0x4E:  # N
            raise FormatError(f"a change has no new row but {data[at]:#x}")
        new, _ = read_tuple(data, at + 1)
    except (struct.error, IndexError) as error:
        raise _cut_short(data) from error
    return Change(kind, relation, old_kind, old, new)


def read_tuple(data: bytes, at: int) -> tuple[list[Cell], int]:
    """Read a row's cells; return them and where they end."""
    (count,) = _BE16(data, at)
    at += 2
    cells: list[Cell] = []
    add = cells.append
    for _ in range(count):
        kind = data[at]
        if kind == _TEXT:
            start = at + 5
            at = start + _BE32(data, at + 1)[0]
            add(data[start:at])
        elif kind == _NULL:
            add(None)
            at += 1
        elif kind == _UNCHANGED:
            add(UNCHANGED)
            at += 1
        else:
            raise FormatError(f"a cell is of kind {kind:#x}, which was not asked for")
    if at > len(data):
        raise _cut_short(data)
    return cells, at


def read_truncate(data: bytes, at: int = 1) -> Truncate:
    """Read the message `T`, whose body begins at `at`."""
    (count,) = _BE32(data, at)
    return Truncate(struct.unpack_from(f">{count}I", data, at + 5))


def lsn_text(lsn: int) -> str:
    """Write a place in the WAL as PostgreSQL does: `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """Read what `lsn_text` wrote; raises FormatError."""
    high, slash, low = text.partition("/")
    try:
        return (int(high, 16) << 32 | int(low, 16)) if slash else int("")
    except ValueError:
        raise FormatError(f"{text[:40]!r} is no place in the WAL, which looks like 16/B374D848") from None


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode("utf-8", "surrogateescape"), end + 1


def _cut_short(data: bytes) -> FormatError:
    return FormatError(f"a message of kind {chr(data[0])!r} ends before its end")
