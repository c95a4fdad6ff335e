import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scelle.errors import CatalogStale, StorageError, StorageFailed, StorageFull
from scelle.vault.catalog import (
    CATALOG_NAME,
    Catalog,
    catalog_error,
    create_catalog,
    open_catalog,
    schema_version,
)
from scelle.vault.contents import CONTENTS_TABLES, CatalogContentIndex
from scelle.vault.interfaces import ContentIndex, ContentPlace
from scelle.vault.memory import MemoryContentIndex
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend
from scelle.vault.retrieval import PackReader
from scelle.vault.sql import load_queries, parse_queries

from .support import KEY, OTHER_KEY, open_store, sha256, text

TABLES = [CONTENTS_TABLES]
A, B = "aa" * 16, "bb" * 16
ONE, TWO, THREE = sha256(b"1"), sha256(b"2"), sha256(b"3")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = create_catalog(tmp_path / CATALOG_NAME, TABLES)
    yield catalog
    catalog.close()


# --- opening


def test_a_catalog_opens_again(catalog: Catalog) -> None:
    catalog.connection.execute("INSERT INTO packs (pack_id) VALUES ('x')")
    catalog.commit()
    again = open_catalog(catalog.path, TABLES)
    assert again.connection.execute("SELECT pack_id FROM packs").fetchall() == [("x",)]
    settings = {
        name: again.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "secure_delete", "temp_store", "user_version")
    }
    assert settings == {
        "journal_mode": "wal", "synchronous": 1, "secure_delete": 1, "temp_store": 2,
        "user_version": schema_version(TABLES),
    }  # fmt: skip
    again.close()


def test_only_the_owner_can_read_it(catalog: Catalog) -> None:
    catalog.connection.execute("INSERT INTO packs (pack_id) VALUES ('x')")
    catalog.commit()
    files = list(catalog.path.parent.iterdir())
    assert len(files) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_a_missing_catalog_is_stale(tmp_path: Path) -> None:
    with pytest.raises(CatalogStale, match="missing"):
        open_catalog(tmp_path / CATALOG_NAME, TABLES)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_with_other_tables_is_stale(catalog: Catalog) -> None:
    for tables in ([], [*TABLES, "CREATE TABLE more (x)"], [CONTENTS_TABLES.replace("size", "bytes")]):
        with pytest.raises(CatalogStale, match="another version"):
            open_catalog(catalog.path, tables)


@pytest.mark.parametrize("data", [b"", b"x", bytes(4096), b"SQLite format 3\x00" + bytes(5000)])
def test_what_is_no_catalog_is_stale(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / CATALOG_NAME
    path.write_bytes(data)
    with pytest.raises(CatalogStale):
        open_catalog(path, TABLES)


def test_a_stale_catalog_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / CATALOG_NAME
    path.write_bytes(b"garbage")
    path.with_name("catalog.db-wal").write_bytes(b"garbage")
    create_catalog(path, TABLES).close()
    open_catalog(path, TABLES).close()


def test_a_catalog_that_was_being_made_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Catalog) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Catalog, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create_catalog(tmp_path / CATALOG_NAME, TABLES)
    with pytest.raises(CatalogStale):
        open_catalog(tmp_path / CATALOG_NAME, TABLES)


def test_errors_of_sqlite_are_told_apart(catalog: Catalog) -> None:
    with pytest.raises(CatalogStale), catalog.access() as connection:
        connection.execute("SELECT * FROM nothing")
    with pytest.raises(sqlite3.ProgrammingError), catalog.access() as connection:
        connection.execute("SELECT ?", ())
    blocking = sqlite3.connect(catalog.path)
    blocking.execute("BEGIN IMMEDIATE")
    catalog.connection.execute("PRAGMA busy_timeout = 1")
    with pytest.raises(StorageFailed, match="locked"), catalog.access() as connection:
        connection.execute("INSERT INTO packs (pack_id) VALUES ('x')")
    blocking.close()
    catalog.connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageFull), catalog.access() as connection:  # noqa: PT012
        for number in range(10_000):
            connection.execute("INSERT INTO packs (pack_id) VALUES (?)", (str(number) * 9,))
    assert isinstance(catalog_error(catalog.path, sqlite3.OperationalError("Could not decode")), CatalogStale)


def test_a_full_disk_is_told_from_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says "disk I/O error" where there is no room for its `-shm` file, and "unable to open" for others."""

    def said(code: int) -> Exception:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        return catalog_error(tmp_path / CATALOG_NAME, error)

    assert isinstance(said(sqlite3.SQLITE_IOERR_SHMSIZE), StorageFull)
    assert isinstance(said(sqlite3.SQLITE_IOERR_WRITE), StorageFailed)
    assert isinstance(said(sqlite3.SQLITE_CANTOPEN), StorageFailed)
    free = os.statvfs(tmp_path)
    full = os.statvfs_result((*free[:4], 0, *free[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    for code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CANTOPEN):
        assert "no room" in str(said(code))


@pytest.mark.parametrize("pack_id", ["CAST(x'ff' AS TEXT)", "x'aabb'", "17", "'../../etc'", "'AA'"])
def test_a_damaged_pack_id_is_named_or_not_believed(catalog: Catalog, pack_id: str) -> None:
    index = CatalogContentIndex(catalog, KEY)
    index.add_frame(A, 47, [(ONE, 5)])
    index.commit()
    catalog.connection.execute(f"UPDATE packs SET pack_id = {pack_id}")
    with suppress(CatalogStale):
        again = CatalogContentIndex(catalog, KEY)
        assert again.find(ONE) is None
        assert not again.contains(ONE)


@pytest.mark.parametrize("column", ["frame_offset", "start", "size", "pack"])
@pytest.mark.parametrize("value", ["-1", "'x'", "x'00'", "1.5"])
def test_a_damaged_place_is_not_believed(catalog: Catalog, column: str, value: str) -> None:
    index = CatalogContentIndex(catalog, KEY)
    index.add_frame(A, 47, [(ONE, 5)])
    index.commit()
    catalog.connection.execute(f"UPDATE contents SET {column} = {value}")
    assert CatalogContentIndex(catalog, KEY).find(ONE) is None


def test_a_reader_sees_what_the_writer_committed(catalog: Catalog) -> None:
    reader = open_catalog(catalog.path, TABLES)
    index, seen = CatalogContentIndex(catalog, KEY), CatalogContentIndex(reader, KEY)
    index.add_frame("ab" * 16, 47, [(sha256(b"1"), 5)])
    assert seen.find(sha256(b"1")) is None
    index.commit()
    assert seen.find(sha256(b"1")) == ContentPlace("ab" * 16, 47, 0, 5)
    reader.close()


# --- the index, on both implementations


@pytest.fixture(params=["catalog", "memory"])
def index(request: pytest.FixtureRequest, catalog: Catalog) -> ContentIndex:
    return CatalogContentIndex(catalog, KEY) if request.param == "catalog" else MemoryContentIndex()


def test_an_index_knows_places(index: ContentIndex) -> None:
    index.add_frame(A, 47, [(ONE, 5), (TWO, 0), (THREE, 1 << 40)])
    assert index.find(ONE) == ContentPlace(A, 47, 0, 5)
    assert index.find(TWO) == ContentPlace(A, 47, 5, 0)
    assert index.find(THREE) == ContentPlace(A, 47, 5, 1 << 40)
    assert index.contains(ONE)
    assert index.find(sha256(b"4")) is None
    assert not index.contains(sha256(b"4"))


def test_the_first_place_stays(index: ContentIndex) -> None:
    index.add_frame(A, 47, [(ONE, 5)])
    index.add_frame(A, 47, [(ONE, 5)])
    index.add_frame(B, 99, [(ONE, 5)])
    index.commit()
    assert index.find(ONE) == ContentPlace(A, 47, 0, 5)


def test_packs_are_known_complete_and_forgotten(index: ContentIndex) -> None:
    index.add_frame(A, 47, [(ONE, 5)])
    index.add_frame(B, 47, [(TWO, 5)])
    assert (index.known_packs(), index.complete_packs()) == ({A, B}, set())
    index.complete_pack(A)
    index.complete_pack("cc" * 16)
    assert index.complete_packs() == {A, "cc" * 16}
    index.forget_pack(A)
    index.forget_pack("dd" * 16)
    assert (index.known_packs(), index.complete_packs()) == ({B, "cc" * 16}, {"cc" * 16})
    assert index.find(ONE) is None
    assert index.contains(TWO)
    index.add_frame(A, 60, [(ONE, 5)])
    assert index.find(ONE) == ContentPlace(A, 60, 0, 5)


def test_contents_are_forgotten(index: ContentIndex) -> None:
    index.add_frame(A, 47, [(ONE, 5), (TWO, 6)])
    index.forget(ONE)
    index.forget(THREE)
    assert index.find(ONE) is None
    assert index.contains(TWO)
    index.add_frame(B, 47, [(ONE, 5)])
    assert index.find(ONE) == ContentPlace(B, 47, 0, 5)
    index.clear()
    assert index.known_packs() == index.complete_packs() == set()
    assert not index.contains(ONE)
    assert not index.contains(TWO)


def test_a_committed_index_is_there_after_opening_again(catalog: Catalog) -> None:
    index = CatalogContentIndex(catalog, KEY)
    index.add_frame(A, 47, [(ONE, 5)])
    index.complete_pack(A)
    index.commit()
    index.add_frame(A, 200, [(TWO, 5)])
    catalog.close()
    again = open_catalog(catalog.path, TABLES)
    found = CatalogContentIndex(again, KEY)
    assert found.contains(ONE)
    assert not found.contains(TWO)
    assert found.complete_packs() == {A}
    again.close()


def test_the_file_betrays_no_content(catalog: Catalog) -> None:
    index = CatalogContentIndex(catalog, KEY)
    index.add_frame(A, 47, [(ONE, 5)])
    index.commit()
    catalog.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert ONE not in catalog.path.read_bytes()
    assert ONE[:8] not in catalog.path.read_bytes()
    assert not CatalogContentIndex(catalog, OTHER_KEY).contains(ONE)


# --- derived: flips change no answer, or are named


def test_flipped_bytes_of_the_catalog_change_no_answer(tmp_path: Path) -> None:
    path = tmp_path / CATALOG_NAME
    contents = [text(300, seed) for seed in range(40)]
    catalog = create_catalog(path, TABLES)
    with open_store(PosixBackend(tmp_path), CatalogContentIndex(catalog, KEY)) as store:
        for content in contents:
            store.put(content, sha256(content))
    catalog.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    catalog.close()
    data = path.read_bytes()
    generator = random.Random(1)
    named = 0
    for _ in range(400):
        at = generator.randrange(len(data))
        for suffix in ("-wal", "-shm"):
            path.with_name(CATALOG_NAME + suffix).unlink(missing_ok=True)
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << generator.randrange(8))]) + data[at + 1 :])
        try:
            check_answers(tmp_path, contents)
        except CatalogStale:
            named += 1
    assert named < 400


def check_answers(folder: Path, contents: list[bytes]) -> None:
    catalog = open_catalog(folder / CATALOG_NAME, TABLES)
    try:
        reader = PackReader(PosixBackend(folder), KEY, CatalogContentIndex(catalog, KEY))
        for content in contents[::5]:
            assert reader.read_bytes(sha256(content)) == content
        reader.close()
    finally:
        catalog.close()


def test_a_deleted_catalog_is_rebuilt_with_equal_answers(tmp_path: Path) -> None:
    path = tmp_path / CATALOG_NAME
    contents = [text(3000, seed) for seed in range(200)]
    catalog = create_catalog(path, TABLES)
    with open_store(PosixBackend(tmp_path), CatalogContentIndex(catalog, KEY)) as store:
        for content in contents:
            store.put(content, sha256(content))
    before = rows(catalog)
    catalog.close()
    catalog = create_catalog(path, TABLES)
    index = CatalogContentIndex(catalog, KEY)
    PackStore(PosixBackend(tmp_path), KEY, index, background=False).rebuild_index()
    assert rows(catalog) == before
    assert index.complete_packs() == index.known_packs()
    catalog.close()


def rows(catalog: Catalog) -> list[object]:
    return catalog.connection.execute(
        "SELECT content, pack_id, frame_offset, start, size FROM contents JOIN packs ON pack = number ORDER "
        "BY 1"
    ).fetchall()


def test_a_full_catalog_stops_the_store_and_loses_nothing(tmp_path: Path) -> None:
    catalog = create_catalog(tmp_path / CATALOG_NAME, TABLES)
    store = open_store(PosixBackend(tmp_path), CatalogContentIndex(catalog, KEY))
    pages = catalog.connection.execute("PRAGMA page_count").fetchone()[0]
    catalog.connection.execute(f"PRAGMA max_page_count = {pages}")
    contents = [text(60, seed) for seed in range(300)]
    for content in contents:
        store.put(content, sha256(content))
    with pytest.raises(StorageFull):
        store.sync()
    with suppress(StorageError):
        store.close()
    catalog.close()
    catalog = open_catalog(tmp_path / CATALOG_NAME, TABLES)
    with open_store(PosixBackend(tmp_path), CatalogContentIndex(catalog, KEY)) as again:
        assert [again.read_bytes(sha256(content)) for content in contents] == contents
    catalog.close()


# --- named SQL


def test_named_queries_are_split() -> None:
    queries = parse_queries("a comment\n-- name: one\nSELECT 1\n\n-- name: two_b\n-- why\nSELECT\n  2;\n")
    assert dict(queries) == {"one": "SELECT 1", "two_b": "-- why\nSELECT\n  2;"}
    assert dict(parse_queries("")) == {}
    with pytest.raises(TypeError):
        queries["one"] = ""  # type: ignore[index]


@pytest.mark.parametrize("text", ["-- name: a\n-- name: a\n", "-- name: a\nx\n-- name: b\n-- name: a\ny"])
def test_a_name_that_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="twice"):
        parse_queries(text)


def test_the_rooms_own_queries_all_compile(catalog: Catalog) -> None:
    queries = load_queries("scelle.vault")
    for name, query in queries.items():
        if name != "contents_tables":
            catalog.connection.execute(f"EXPLAIN {query}", [None] * query.count("?"))
