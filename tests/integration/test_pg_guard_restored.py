"""A restored dump is guarded as the database was, and says that it is elsewhere."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.pg_guard_platform import OWNER, attempt, make_role, platform
from tests.integration.postgres import PASSWORD, PostgresServer, Servers, serve_postgres

from scelle.guard.postgres import Mode, State, install, outbox, probe, remove, standing


def _run(server: PostgresServer, program: str, *arguments: str) -> None:
    command = [
        str(server.binaries / program),
        "-h",
        server.host,
        "-p",
        str(server.port),
        "-U",
        "postgres",
        *arguments,
    ]
    done = subprocess.run(
        command, env=os.environ | {"PGPASSWORD": PASSWORD}, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def elsewhere(server: PostgresServer) -> Iterator[PostgresServer]:
    """Start another server of the same version."""
    with serve_postgres(server.version) as running:
        yield running


@pytest.mark.parametrize("shape", ["plain", "custom"])
def test_a_restored_dump_is_still_guarded_and_says_so(
    server: PostgresServer, elsewhere: PostgresServer, shape: str, tmp_path: Path
) -> None:
    dump = str(tmp_path / "dump")
    with platform(server, "app", Mode.DIVERT) as connection:
        connection.execute("DELETE FROM posts WHERE id = 1")
        connection.execute("ALTER TABLE posts RENAME TO entries")
        first = standing(connection)
        assert not first.is_elsewhere
        _run(server, "pg_dump", "-F", shape[0], "-f", dump, "app")
    with elsewhere.connect() as admin:
        make_role(admin, OWNER)
    with elsewhere.database("app") as restored:
        if shape == "plain":
            _run(elsewhere, "psql", "-v", "ON_ERROR_STOP=1", "-q", "-d", "app", "-f", dump)
        else:
            _run(elsewhere, "pg_restore", "--exit-on-error", "-d", "app", dump)
        found = standing(restored)
        assert (found.installation, found.is_elsewhere, found.hashes_alike, found.held) == (
            first.installation, True, True, 2,
        )  # fmt: skip
        states = {(state.table, state.path): state for state in probe(restored)}
        assert [state for state in states.values() if state.state in (State.RED, State.NOT_PROBED)] == []
        assert states["", "restored-copy"].detail.startswith(f"installation {first.installation}")
        assert [row.cells[0] for row in outbox.waiting(restored, 9)] == ["1"]
        assert [cells[0] for _, _, cells in attempt(restored, ["DELETE FROM entries"])[1]] == ["1", "3"]
        assert attempt(restored, ["DROP TABLE entries"])[0] == "SC001"
        assert remove(restored, leave_outbox=True).state == "complete"
        restored.execute("DROP TABLE entries")


def test_a_restored_dump_can_be_installed_anew(servers: Servers, tmp_path: Path) -> None:
    """Table numbers are others there; names and the registry go on."""
    from tests.integration.pg_guard_platform import wishes

    server, dump = servers("18"), str(tmp_path / "dump")
    with platform(server, "app", Mode.DIVERT):
        _run(server, "pg_dump", "-f", dump, "app")
    with server.database("other") as restored:
        _run(server, "psql", "-v", "ON_ERROR_STOP=1", "-q", "-d", "other", "-f", dump)
        assert install(restored, wishes(Mode.DIVERT)).state == "complete"
        assert install(restored, wishes(Mode.REFUSE)).state == "complete"
        assert attempt(restored, ["DELETE FROM posts"])[0] == "SC001"
