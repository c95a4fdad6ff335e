"""A restored dump is guarded as the database was, and says that it is elsewhere."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.integration.pg_guard_platform import OWNER, attempt, make_role, platform
from tests.integration.postgres import PASSWORD, VERSIONS, PostgresServer, serve_postgres

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


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", ["plain", "custom"])
def test_a_restored_dump_is_still_guarded_and_says_so(version: str, shape: str, tmp_path: Path) -> None:
    dump = str(tmp_path / "dump")
    with serve_postgres(version) as server, platform(server, "app", Mode.DIVERT) as connection:
        connection.execute("DELETE FROM posts WHERE id = 1")
        connection.execute("ALTER TABLE posts RENAME TO entries")
        first = standing(connection)
        assert not first.is_elsewhere
        _run(server, "pg_dump", "-F", shape[0], "-f", dump, "app")
    with serve_postgres(version) as other:
        with other.connect() as admin:
            make_role(admin, OWNER)
            admin.execute("CREATE DATABASE app")
        if shape == "plain":
            _run(other, "psql", "-v", "ON_ERROR_STOP=1", "-q", "-d", "app", "-f", dump)
        else:
            _run(other, "pg_restore", "--exit-on-error", "-d", "app", dump)
        with other.connect("app") as restored:
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


def test_a_restored_dump_can_be_installed_anew(tmp_path: Path) -> None:
    """Table numbers are others there; names and the registry go on."""
    from tests.integration.pg_guard_platform import wishes

    dump = str(tmp_path / "dump")
    with serve_postgres("18") as server, platform(server, "app", Mode.DIVERT):
        _run(server, "pg_dump", "-f", dump, "app")
        with server.connect() as admin:
            admin.execute("CREATE DATABASE other")
        _run(server, "psql", "-v", "ON_ERROR_STOP=1", "-q", "-d", "other", "-f", dump)
        with server.connect("other") as restored:
            assert install(restored, wishes(Mode.DIVERT)).state == "complete"
            assert install(restored, wishes(Mode.REFUSE)).state == "complete"
            assert attempt(restored, ["DELETE FROM posts"])[0] == "SC001"
