"""One small vault for all tests of this room; each test that hurts it gets a copy."""

import shutil
from pathlib import Path

import pytest

from .support import Made, make_vault


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_vault(tmp_path_factory.mktemp("fsck"))


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    shutil.copytree(original.path, tmp_path / "vault")
    return Made(tmp_path / "vault", original.key)
