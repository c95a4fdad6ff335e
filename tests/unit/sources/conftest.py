"""Folders that another user may enter, and that other user."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder all of whose parents anybody may enter, which pytest's own is not."""
    path = Path(tempfile.mkdtemp(prefix="scelle-"))
    path.chmod(0o755)
    yield path
    for folder, _, _ in os.walk(path):
        Path(folder).chmod(0o755)
    shutil.rmtree(path)


@contextmanager
def _somebody_else() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def somebody_else() -> Callable[[], AbstractContextManager[None]]:
    """A context in which permissions count: root reads everything."""
    return _somebody_else
