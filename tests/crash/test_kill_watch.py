"""Kill a watch again and again while rows are made and deleted: all are sealed, whole, once, and no gap is open."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scelle.bootstrap import KeyChoice, opened
from scelle.formats.canonical_json import parse_json_strict
from tests.integration.live_vault import Vault, drop_slots
from tests.integration.postgres import PostgresServer, serve_postgres

_BODY = 5


def _write(server: PostgresServer, rows: int, written: list[int], pause_s: float) -> None:
    """Make rows and delete each within a second of its birth, one by one; `written` is the workload's own ledger."""
    alive: list[tuple[float, int]] = []
    with server.connect("app") as db:
        for number in range(rows):
            db.execute("INSERT INTO posts VALUES (%s, 'a', %s)", (number, f"row {number} " + "x" * 100))
            written.append(number)
            alive.append((time.monotonic(), number))
            while alive and (time.monotonic() - alive[0][0] > 0.5 or number == rows - 1):
                db.execute("DELETE FROM posts WHERE id = %s", (alive.pop(0)[1],))
            time.sleep(pause_s)


def _changes(vault: Vault) -> Counter[tuple[str, str, str]]:
    """Count what is sealed: native id, change, body."""
    found: Counter[tuple[str, str, str]] = Counter()
    keys = KeyChoice(key_file=vault.folder / "keys" / "scelle" / "keys")
    with opened(vault.folder / "vault", keys, writing=False) as session:
        ledger = session.ledger("o-1")
        for _, manifest in ledger.manifests():
            if not manifest.source.startswith("s0001/") or not manifest.records:
                continue
            schema = ledger.schema(manifest.schema)
            if schema.name != "postgres.public.posts":
                continue
            names = [field.name for field in schema.fields]
            with closing(ledger.segment(manifest)) as reader:
                for row in reader.rows():
                    values = dict(zip(names, row.split_values(), strict=True))
                    origin = parse_json_strict(values["origin"][_BODY:], 4)
                    native, body = values["native_id"][_BODY:].decode(), values["body"][_BODY:].decode()
                    found[native, str(origin["change"]), body] += 1
    return found


def kill_and_count(root: Path, server: PostgresServer, *, rows: int, kills: int, pause_s: float) -> None:
    """Run a workload, kill the watch so many times meanwhile, and compare what is sealed with the workload's ledger."""
    vault = Vault(root, server)
    vault.order()
    vault.watch()
    written: list[int] = []
    writer = threading.Thread(target=_write, args=(server, rows, written, pause_s))
    writer.start()
    killed = 0
    while killed < kills:
        process = vault.start("watch", "o-1")
        begun, low = time.monotonic(), len(written)
        while time.monotonic() - begun < 2 + 0.3 * (killed % 4) or len(written) - low < rows // (3 * kills):
            if not writer.is_alive():
                break
            time.sleep(0.02)
        process.kill()
        process.communicate()
        killed += 1
    writer.join()
    vault.watch()
    assert vault.json("gap", "list")["gaps"] == []
    found = _changes(vault)
    wanted = Counter(
        {
            each: 1
            for number in written
            for each in (
                (f"[{number}]", "insert", f"row {number} " + "x" * 100),
                (f"[{number}]", "delete-key", ""),
            )
        }
    )
    assert found == wanted
    assert len(written) == rows
    vault.run("verify")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with serve_postgres("18") as running:
        yield running


def _tables(server: PostgresServer, rows: int, kills: int, pause_s: float, root: Path) -> None:
    with server.database("app") as db:
        db.execute("CREATE TABLE posts (id bigint PRIMARY KEY, account_id text, body text)")
        try:
            kill_and_count(root, server, rows=rows, kills=kills, pause_s=pause_s)
        finally:
            drop_slots(db)


def test_a_watch_that_is_killed_twice(server: PostgresServer, tmp_path: Path) -> None:
    _tables(server, 400, 2, 0.004, tmp_path)


@pytest.mark.long
def test_ten_thousand_rows_that_live_a_moment_while_the_watch_is_killed_ten_times(
    server: PostgresServer, tmp_path: Path
) -> None:
    _tables(server, 10_000, 10, 0.002, tmp_path)
