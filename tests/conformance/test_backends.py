from pathlib import Path

import pytest

from scelle.vault.durable import Step, observed
from scelle.vault.interfaces import Backend
from scelle.vault.memory import MemoryBackend
from scelle.vault.posix import PosixBackend
from scelle.vault.testing import CONFORMANCE, Check


@pytest.fixture(params=["posix", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return PosixBackend(tmp_path) if request.param == "posix" else MemoryBackend()


@pytest.mark.parametrize("check", CONFORMANCE, ids=lambda check: check.__name__)
def test_backend_keeps_its_word(backend: Backend, check: Check) -> None:
    check(backend)


def test_posix_modes_and_foreign_files(tmp_path: Path) -> None:
    backend = PosixBackend(tmp_path)
    blob = backend.create("packs/ab/one.pack")
    blob.write(b"x")
    assert (tmp_path / "packs/ab/one.pack.unfinished").stat().st_mode & 0o777 == 0o600
    blob.seal()
    assert (tmp_path / "packs/ab/one.pack").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "packs/ab").stat().st_mode & 0o077 == 0
    backend.replace("packs/ab/one.keys", b"k")
    assert (tmp_path / "packs/ab/one.keys").stat().st_mode & 0o777 == 0o600
    (tmp_path / "packs/Foreign file").write_bytes(b"")
    assert "packs/Foreign file" in backend.list("packs/")


def test_posix_follows_no_link_out_of_the_store(tmp_path: Path) -> None:
    from scelle.errors import StorageFailed

    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "packs").mkdir(parents=True)
    (root / "packs/link.pack").symlink_to(outside)
    with pytest.raises(StorageFailed):
        PosixBackend(root).open("packs/link.pack")


def test_memory_backend_models_a_crash() -> None:
    backend = MemoryBackend()
    blob = backend.create("packs/a/1.pack")
    blob.write(b"durable")
    blob.sync()
    blob.write(b" not")
    backend.create("packs/a/2.pack").write(b"never synced")
    backend.crash()
    assert backend.unfinished("") == ["packs/a/1.pack"]
    assert bytes(backend.unfinished_blobs["packs/a/1.pack"]) == b"durable"


def test_posix_makes_names_durable_too(tmp_path: Path) -> None:
    steps: list[tuple[str, str]] = []

    def note(step: Step, when: str) -> None:
        if when == "after":
            steps.append((step.operation, step.path.name))

    blob = PosixBackend(tmp_path).create("packs/ab/one.pack")
    blob.write(b"x")
    with observed(note):
        blob.sync()
        blob.sync()
        assert steps == [
            ("sync", "one.pack.unfinished"),
            ("sync-directory", "ab"),
            ("sync", "one.pack.unfinished"),
        ]
        steps.clear()
        blob.seal()
        assert steps[-3:] == [
            ("sync", "one.pack.unfinished"),
            ("rename", "one.pack"),
            ("sync-directory", "ab"),
        ]
