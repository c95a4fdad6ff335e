"""Read the messages of logical decoding as the manual writes them, and what a snapshot saw; no server is asked."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import FormatError
from scelle.sources.postgres.pgoutput import (
    POSTGRES_EPOCH_US,
    UNCHANGED,
    Begin,
    Cell,
    Commit,
    Relation,
    RelationColumn,
    lsn_text,
    parse_lsn,
    read_begin,
    read_change,
    read_commit,
    read_relation,
    read_truncate,
)

CELLS = st.lists(st.one_of(st.none(), st.binary(max_size=20), st.just(UNCHANGED)), max_size=6)


def _tuple(cells: list[Cell]) -> bytes:
    parts = [struct.pack(">H", len(cells))]
    for cell in cells:
        if cell is None:
            parts.append(b"n")
        elif isinstance(cell, bytes):
            parts.append(b"t" + struct.pack(">I", len(cell)) + cell)
        else:
            parts.append(b"u")
    return b"".join(parts)


@given(CELLS)
def test_an_insert_reads_back(cells: list[Cell]) -> None:
    change = read_change(b"I" + struct.pack(">I", 4711) + b"N" + _tuple(cells))
    assert (change.kind, change.relation, change.old, change.new) == ("I", 4711, None, cells)


@given(CELLS, CELLS, st.sampled_from([b"K", b"O"]))
def test_an_update_and_a_delete_read_back(old: list[Cell], new: list[Cell], kind: bytes) -> None:
    head = struct.pack(">I", 1)
    change = read_change(b"U" + head + kind + _tuple(old) + b"N" + _tuple(new))
    assert (change.old_kind, change.old, change.new) == (kind.decode(), old, new)
    change = read_change(b"D" + head + kind + _tuple(old))
    assert (change.old_kind, change.old, change.new) == (kind.decode(), old, None)


@given(CELLS.filter(bool), st.data())
def test_what_is_cut_short_is_said(cells: list[Cell], data: st.DataObject) -> None:
    message = b"I" + struct.pack(">I", 1) + b"N" + _tuple(cells)
    cut = data.draw(st.integers(1, len(message) - 1))
    with pytest.raises(FormatError):
        read_change(message[:cut])


def test_binary_cells_are_refused() -> None:
    with pytest.raises(FormatError, match="not asked for"):
        read_change(b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">H", 1) + b"b" + struct.pack(">I", 0))


def test_transactions_and_relations_read_back() -> None:
    assert read_begin(b"B" + struct.pack(">QqI", 2**40, 5, 77)) == Begin(2**40, POSTGRES_EPOCH_US + 5, 77)
    commit = read_commit(b"C" + struct.pack(">BQQq", 0, 10, 20, -1))
    assert commit == Commit(10, 20, POSTGRES_EPOCH_US - 1)
    column = b"\x01" + "idé".encode() + b"\0" + struct.pack(">Ii", 20, -1)
    relation = read_relation(b"R" + struct.pack(">I", 9) + b"\0posts\0d" + struct.pack(">H", 1) + column)
    assert relation == Relation(9, "pg_catalog", "posts", "d", (RelationColumn("idé", 20, -1, True),))
    with pytest.raises(FormatError):
        read_relation(b"R" + struct.pack(">I", 9) + b"\0posts")
    assert read_truncate(b"T" + struct.pack(">IBII", 2, 0, 3, 4)).relations == (3, 4)


@given(st.integers(0, 2**64 - 1))
def test_places_in_the_wal_read_back(lsn: int) -> None:
    assert parse_lsn(lsn_text(lsn)) == lsn


@pytest.mark.parametrize("text", ["", "16", "x/1", "1/"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_lsn(text)
