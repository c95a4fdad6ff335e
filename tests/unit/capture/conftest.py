from pathlib import Path

import pytest

from .world import World


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests end processes, not machines: tests/crash has the disk that loses."""
    monkeypatch.setattr("scelle.vault.durable.os.fsync", lambda descriptor: None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "vault")
