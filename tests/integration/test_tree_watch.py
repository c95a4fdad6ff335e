"""Watch folders: what changes is sealed in moments; without what listens, by the pass that comes every so often."""

import importlib.util
import shutil
import time
from pathlib import Path

import pytest
from tests.integration.live_vault import Vault, until
from tests.integration.postgres import PostgresServer, Servers

from scelle.bootstrap.tree_watch import MISSING, TreeWatch

EVERY = ("--every", "3600")
hears = pytest.mark.skipif(
    importlib.util.find_spec("watchfiles") is None, reason="what listens is an extra: scelle[inotify]"
)


@pytest.fixture(scope="module")
def server(servers: Servers) -> PostgresServer:
    return servers("18")


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    (folder / "deep" / "down").mkdir(parents=True)
    (folder / "first.txt").write_text("there from the start")
    return folder


@pytest.fixture
def vault(vault: Vault, papers: Path) -> Vault:
    vault.run("source", "add", "docs", f"files://{papers}")
    vault.order(sources='"docs"')
    return vault


def sealed(vault: Vault) -> int:
    return int(vault.json("find", "o-1", 'source = "docs"')["count"])


@hears
def test_a_file_that_changes_is_sealed_long_before_the_next_pass(vault: Vault, papers: Path) -> None:
    process = vault.start("watch", "o-1", *EVERY)
    until(lambda: sealed(vault) == 1)
    for number, folder in enumerate((papers, papers / "deep" / "down"), 2):
        (folder / "new.txt").write_text(f"number {number}")
        until(lambda number=number: sealed(vault) == number)  # type: ignore[misc]
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "not heard" not in err


@hears
def test_a_tree_is_heard_and_a_pass_is_not_run_again_at_once(papers: Path) -> None:
    now_s = [0.0]
    with TreeWatch({"docs": bytes(papers)}, lambda: now_s[0]) as trees:

        def is_heard() -> bool:
            (papers / "again.txt").write_text("again")
            return trees.take_changed() == {"docs"}

        until(is_heard)
        trees.passed("docs", 5.0)
        (papers / "more.txt").write_text("more")
        time.sleep(2)
        assert trees.take_changed() == set()
        now_s[0] += 5.0
        assert trees.take_changed() == {"docs"}
        assert trees.take_changed() == set()


@hears
def test_a_root_that_goes_and_comes_again_is_heard(tmp_path: Path) -> None:
    root = tmp_path / "mounted"
    with TreeWatch({"docs": bytes(root)}, time.monotonic) as trees:
        for _ in range(2):
            root.mkdir()

            def is_heard() -> bool:
                (root / "new.txt").write_text(str(time.monotonic()))
                return trees.take_changed() == {"docs"}

            until(is_heard)
            shutil.rmtree(root)
            until(lambda: trees.take_changed() == {"docs"})
        assert trees.take_deaf() == {}


def test_without_what_listens_it_is_said_once_and_the_pass_comes_all_the_same(
    vault: Vault, papers: Path, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "watchfiles.py").write_text("raise ImportError('hidden by a test')")
    vault.env["PYTHONPATH"] = str(hidden)
    process = vault.start("watch", "o-1", "--every", "1")
    until(lambda: sealed(vault) == 1)
    (papers / "new.txt").write_text("new")
    until(lambda: sealed(vault) == 2)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err.count(MISSING) == 1
