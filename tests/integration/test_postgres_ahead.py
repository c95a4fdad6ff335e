"""Reading ahead with several connections, and a window that ends, on a real PostgreSQL."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.integration.postgres import PASSWORD, PostgresServer, Servers

from scelle.errors import ItemError, SourceClosed, SourceUnreadable
from scelle.sources.interfaces import BadRecord, Record, Unit
from scelle.sources.postgres import PostgresSettings, PostgresSource
from scelle.sources.postgres import ahead as read_ahead
from scelle.sources.windows import Window

NOON_S = 1_780_056_000.0
"""A noon, in seconds since 1970."""


@pytest.fixture(scope="module")
def server(servers: Servers) -> PostgresServer:
    return servers("18")


@contextmanager
def tables(server: PostgresServer, count: int = 6, rows: int = 3000) -> "Iterator[psycopg.Connection[Any]]":
    with server.database("app") as sql:
        for number in range(count):
            sql.execute(
                f"CREATE TABLE t{number} (id int PRIMARY KEY, body text);"
                f"INSERT INTO t{number} SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, {rows}) g".encode()
            )
        yield sql


def settings_for(server: PostgresServer, **changes: Any) -> PostgresSettings:
    settings = PostgresSettings(server.host, server.port, "app", "postgres", password=lambda: PASSWORD)
    return replace(settings, **changes)


def rows_of(source: PostgresSource, unit: Unit) -> list[Record | BadRecord]:
    return [record for batch in source.read(unit, b"") for record in batch.records]


def read_all(source: PostgresSource) -> dict[bytes, list[bytes] | str]:
    """Read every unit, as a pass does: rows without their snapshot, or the cause."""
    found: dict[bytes, list[bytes] | str] = {}
    for unit in source.units():
        assert isinstance(unit, Unit)
        try:
            found[unit.native] = [each.version for each in rows_of(source, unit) if isinstance(each, Record)]
        except ItemError as error:
            found[unit.native] = error.cause
    return found


def our_connections(sql: "psycopg.Connection[Any]") -> int:
    query = b"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'scelle'"
    return int((sql.execute(query).fetchone() or (-1,))[0])


def our_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "scelle-read-ahead"]


def wait_for_no_connection(sql: "psycopg.Connection[Any]") -> None:
    for _ in range(100):
        if our_connections(sql) == 0:
            return
        threading.Event().wait(0.02)
    raise AssertionError("a connection was left")


def test_what_is_read_ahead_is_what_is_read_alone(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tables(server) as sql:
        with PostgresSource(settings_for(server)) as alone:
            expected = read_all(alone)
        for held in (read_ahead.HELD_BYTES, 1):  # also where nearly nothing may be kept
            monkeypatch.setattr(read_ahead, "HELD_BYTES", held)
            for connections in (3, 4, 12):
                with PostgresSource(settings_for(server, max_connections=connections)) as source:
                    assert read_all(source) == expected
                    assert source.counts()["public.t5"] == (3000, 3000)
                assert not our_threads()
        wait_for_no_connection(sql)


def test_the_next_tables_are_read_while_one_is_consumed(server: PostgresServer) -> None:
    with tables(server) as sql, PostgresSource(settings_for(server, max_connections=4)) as source:
        first, *others, _ = (unit for unit in source.units() if isinstance(unit, Unit))
        reading = source.read(first, b"")
        next(reading)
        for _ in range(200):
            if not our_threads():
                break
            threading.Event().wait(0.02)
        assert our_connections(sql) == 4
        sql.execute(
            b"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'scelle'"
        )
        assert sum(len(batch.records) for batch in reading) > 0
        assert [len(rows_of(source, unit)) for unit in others] == [3000] * 5


def test_what_is_kept_is_bounded(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "HELD_BYTES", 2_000_000)
    with tables(server) as _, PostgresSource(settings_for(server, max_connections=4)) as source:
        reading = source.read(next(iter(source.units())), b"")  # type: ignore[arg-type]
        next(reading)
        threading.Event().wait(0.5)
        pass_ = source._pass
        assert pass_ is not None
        assert 0 < pass_.ahead._held_bytes < 3_000_000  # a batch more for what is consumed
        list(reading)


def test_a_table_that_fails_fails_where_it_is_consumed(server: PostgresServer) -> None:
    with tables(server) as sql, PostgresSource(settings_for(server, max_connections=3)) as source:
        units = [unit for unit in source.units() if isinstance(unit, Unit)]
        sql.execute(b"DROP TABLE t2; ALTER TABLE t4 DROP COLUMN body")
        found: list[int | str] = []
        for unit in units[:6]:
            try:
                found.append(len(rows_of(source, unit)))
            except ItemError as error:
                found.append(error.cause)
        assert found == [3000, 3000, "vanished", 3000, "changed-while-read", 3000]


def test_any_order_and_unfinished_readings_are_served(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tables(server) as _, PostgresSource(settings_for(server, max_connections=3)) as source:
        units = [unit for unit in source.units() if isinstance(unit, Unit)][:6]
        for unit in (units[4], units[1], units[5]):
            next(source.read(unit, b""))  # and it is dropped
        first = next(source.read(units[0], b""))
        rest = [record for batch in source.read(units[0], first.mark) for record in batch.records]
        assert len(first.records) + len(rest) == 3000
        assert [len(rows_of(source, unit)) for unit in reversed(units[1:])] == [3000] * 5
        units = [unit for unit in source.units() if isinstance(unit, Unit)]  # a new snapshot
        one, other = source.read(units[0], b""), source.read(units[0], b"")
        assert [len(batch.records) for batch in one] == [len(batch.records) for batch in other]
        monkeypatch.setattr(read_ahead, "HELD_BYTES", 1)  # so that neither is read whole meanwhile
        one, other = source.read(units[0], b""), source.read(units[1], b"")
        assert next(one)
        assert next(other)
        with pytest.raises(SourceUnreadable, match="max-connections"):
            next(source.read(units[2], b""))


def test_close_leaves_no_thread_and_no_transaction(server: PostgresServer) -> None:
    with tables(server) as sql:
        source = PostgresSource(settings_for(server, max_connections=4, max_bytes_per_second=1000))
        units = [unit for unit in source.units() if isinstance(unit, Unit)]
        with server.connect("app") as other:
            other.execute(b"BEGIN; LOCK TABLE t1")  # one waits for a lock, the others for their bytes
            said: list[str] = []

            def ask() -> None:
                with pytest.raises(SourceUnreadable) as raised:
                    next(source.read(units[0], b""))
                said.append(str(raised.value))

            asking = threading.Thread(target=ask)
            asking.start()
            threading.Event().wait(0.5)
            assert our_threads()
            source.close()
            assert not our_threads()
        wait_for_no_connection(sql)
        asking.join(5)
        assert "closed" in said[0]


def test_the_sum_of_all_connections_is_throttled(server: PostgresServer) -> None:
    now, lock = [0.0], threading.Lock()

    def wait(seconds: float) -> None:
        with lock:
            now[0] += seconds

    with tables(server) as _:
        settings = settings_for(server, max_connections=4, max_bytes_per_second=1_000_000)
        with PostgresSource(settings, clock_s=lambda: now[0], wait_s=wait) as source:
            size = sum(len(each) for rows in read_all(source).values() for each in rows)
    assert now[0] >= size / 1_000_000 - 1.1


# --- the window


def test_a_window_says_how_long_it_is_open_and_when_it_opens() -> None:
    night, day = Window(22 * 60, 6 * 60), Window(12 * 60, 13 * 60)
    assert night.text == "22:00-06:00"
    assert (night.left_s(NOON_S), day.left_s(NOON_S)) == (0, 3600)
    assert night.left_s(NOON_S + 11 * 3600) == 7 * 3600
    assert night.left_s(NOON_S + 18 * 3600) == 0
    assert night.left_s(NOON_S + 18 * 3600 - 1) == 1
    assert night.opens(NOON_S) == "2026-05-29 22:00 UTC"
    assert day.opens(NOON_S + 3600) == "2026-05-30 12:00 UTC"


@pytest.mark.parametrize("connections", [2, 4])
def test_reading_stops_between_batches_when_the_window_ends(server: PostgresServer, connections: int) -> None:
    now = [NOON_S]
    with tables(server, rows=60_000, count=2) as sql:
        settings = settings_for(server, max_connections=connections, window=Window(12 * 60, 12 * 60 + 1))
        with PostgresSource(settings, now_s=lambda: now[0]) as source:
            unit = next(iter(source.units()))
            assert isinstance(unit, Unit)
            reading = source.read(unit, b"")
            assert next(reading).mark
            now[0] += 61
            with pytest.raises(SourceClosed, match=r"12:00-12:01 UTC.*2026-05-30 12:00 UTC"):
                list(reading)
            now[0] += 86_400 - 60
            assert len(rows_of(source, next(u for u in source.units() if isinstance(u, Unit)))) == 60_000
        wait_for_no_connection(sql)
