"""Real servers that all tests of a process share, a database of its own for each test, a vault that reads it, and a
platform whose generator is recorded.

A module overrides what is its own: `server` for one version alone, `tables` for what the database has, `vault` for
the orders in it. A test that stops, promotes or configures a server starts its own: see `serve_postgres`.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from tests.integration.live_vault import POSTS, Connection, Vault, drop_slots
from tests.integration.postgres import VERSIONS, PostgresServer, Servers, serve_postgres
from tests.integration.recorded_platform import Platform

SMALL_LOG = "-c max_wal_size=96MB"
"""A server that lives as long as the tests keeps no more of its log than so much, which may lie in memory."""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Give a version's server, which is started when it is first asked for."""
    with ExitStack() as running:
        yield cache(lambda version: running.enter_context(serve_postgres(version, SMALL_LOG)))


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest, servers: Servers) -> PostgresServer:
    return servers(request.param)


@pytest.fixture
def tables() -> str:
    """Give the statements that make what the database has."""
    return POSTS


@pytest.fixture
def db(server: PostgresServer, tables: str) -> Iterator[Connection]:
    """Make the database `app`, and leave no slot behind, which would keep the server's log for nobody."""
    with server.database("app") as connection:
        connection.execute(tables.encode())
        try:
            yield connection
        finally:
            drop_slots(connection)


@pytest.fixture
def vault(tmp_path: Path, server: PostgresServer, db: Connection) -> Iterator[Vault]:
    """Make a vault whose source `app` is the database."""
    made = Vault(tmp_path, server)
    try:
        yield made
    finally:
        made.stop()
