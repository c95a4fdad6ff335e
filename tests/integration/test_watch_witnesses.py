"""What a watch seals is shown to those who keep copies, for every order that its stream serves."""

from pathlib import Path

import pytest
from tests.integration.live_vault import Connection, Vault
from tests.integration.postgres import PostgresServer, Servers


@pytest.fixture(scope="module")
def server(servers: Servers) -> PostgresServer:
    return servers("18")


@pytest.fixture
def tables() -> str:
    return "CREATE TABLE posts (id bigint PRIMARY KEY, account_id text)"


def test_what_a_watch_seals_is_deposited_for_every_order(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, server)
    escrows = {order: tmp_path / f"escrow-{order}" for order in ("o-1", "o-2")}
    for order, folder in escrows.items():
        vault.order(order)
        folder.mkdir()
        vault.run("order", "escrow", order, "--to", str(folder))
        vault.watch(order)
    before = {order: _deposits(folder) for order, folder in escrows.items()}
    db.execute("INSERT INTO posts VALUES (1, 'a')")
    vault.watch("o-1")
    for order, folder in escrows.items():
        assert _deposits(folder) > before[order], order


def test_a_folder_that_is_gone_is_said_and_stops_nothing(
    server: PostgresServer, db: Connection, tmp_path: Path
) -> None:
    vault = Vault(tmp_path, server)
    vault.order()
    folder = tmp_path / "escrow"
    folder.mkdir()
    vault.run("order", "escrow", "o-1", "--to", str(folder))
    vault.watch()
    for each in sorted(folder.rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() else each.unlink()
    folder.rmdir()
    db.execute("INSERT INTO posts VALUES (1, 'a')")
    process = vault.start("watch", "o-1", "--until-caught-up")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err.count("could not be shown to others") == 1
    assert vault.found("o-1", 'account = "a"') == 1


def _deposits(folder: Path) -> int:
    return sum(1 for each in folder.rglob("*") if each.is_file())
