"""Keep the room's own rules: who may write, and how much memory a large file may take."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import scelle.vault
from scelle.vault.probe import CompressionProbe

from .support import noise, text

ROOM = Path(scelle.vault.__file__).parent
FORBIDDEN_CALLS = {
    "fsync",
    "fdatasync",
    "rename",
    "renames",
    "unlink",
    "rmdir",
    "mkdir",
    "makedirs",
    "write_text",
    "write_bytes",
    "touch",
    "truncate",
    "ftruncate",
    "copyfile",
    "move",
    "rmtree",
    "chmod",
    "symlink_to",
    "hardlink_to",
    "link",
}
"""`replace`, `remove`, `write`, `commit` are also names of our own ports: see below."""
WRITING_MODE = re.compile("[rbt]*[wax+][rwxabt+]*")
FORBIDDEN_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC"}


MODULES = [path for path in sorted(ROOM.glob("*.py")) if path.name != "durable.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_only_durable_writes(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in FORBIDDEN_FLAGS, where
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if (owner == "self._file" and name == "truncate") or owner in ("durable", "note", "file"):
            continue
        assert name not in FORBIDDEN_CALLS, f"{where} calls {name}"
        is_os = owner in ("os", "Path", "shutil")
        assert not (is_os and name in ("replace", "remove", "write", "pwrite")), where
        if name == "open" and owner != "os":
            modes = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            assert not any(isinstance(mode, str) and WRITING_MODE.fullmatch(mode) for mode in modes), where
        if name == "commit":
            assert owner in ("self._index", "index", "self._catalog", "catalog", "durable"), where


def test_the_rule_above_can_fail(tmp_path: Path) -> None:
    for line in ("os.fsync(1)", "p.unlink()", "p.open('wb')", "os.replace(a, b)", "connection.commit()"):
        path = tmp_path / "bad.py"
        path.write_text(line)
        with pytest.raises(AssertionError):
            test_only_durable_writes(path)


# --- memory


STREAM = """
import hashlib, os, resource, sys
from pathlib import Path
from scelle.vault.catalog import create_catalog
from scelle.vault.contents import CONTENTS_TABLES, CatalogContentIndex
from scelle.vault.keys import VaultKey
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend
from scelle.vault.scanning import ScannedObject

folder, megabytes, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
line = b"the red boat left harbour early %d\\n"
blocks = [os.urandom(1 << 20) if kind == "noise" else line % n * 35000 for n in range(4)]

def pieces():
    for n in range(megabytes):
        yield n.to_bytes(8, "big") + blocks[n % 4][8 : 1 << 20]

key = VaultKey.generate()
catalog = create_catalog(folder / "catalog.db", [CONTENTS_TABLES])
index = CatalogContentIndex(catalog, key)
store = PackStore(PosixBackend(folder), key, index)
store.recover()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest, size, is_new = store.put_stream(pieces())
store.sync()
assert is_new
fed = hashlib.sha256()
(result,) = store.scan(store.pack_ids()[0], lambda claimed, size: fed.update)
assert isinstance(result, ScannedObject) and fed.digest() == digest == result.digest, result
read = hashlib.sha256()
for piece in store.read(digest):
    read.update(piece)
assert read.digest() == digest
store.close()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(size, grown)
"""


def grown_kib(folder: Path, megabytes: int, kind: str) -> int:
    command = [sys.executable, "-c", STREAM, str(folder), str(megabytes), kind]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    size, grown = map(int, done.stdout.split())
    assert size > megabytes * 990_000
    return grown


@pytest.mark.parametrize("kind", ["noise", "text"])
def test_memory_stays_flat_on_a_large_stream(tmp_path: Path, kind: str) -> None:
    assert grown_kib(tmp_path, 300, kind) < 64 << 10


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["noise", "text"])
def test_memory_stays_flat_on_twenty_gigabytes(tmp_path: Path, kind: str) -> None:
    if kind == "noise" and shutil.disk_usage(tmp_path).free < 24 << 30:
        pytest.skip("20 GB of noise need 24 GB of free disk")
    try:
        assert grown_kib(tmp_path, 20_000, kind) < 64 << 10
    finally:
        shutil.rmtree(tmp_path / "packs", ignore_errors=True)


# --- the probe


@pytest.mark.parametrize("size", [1, 100, 200, 4000, 300_000, 9 << 20])
def test_text_and_noise_are_told_apart(size: int) -> None:
    probe = CompressionProbe()
    assert probe.is_compressible(text(size))
    if size > 100:
        assert not probe.is_compressible(noise(size))


def test_the_probe_looks_at_more_than_the_middle() -> None:
    probe = CompressionProbe()
    assert probe.is_compressible(text(1 << 20) + noise(200_000) + text(1 << 20))
    assert not probe.is_compressible(b"PK\x03\x04" + noise(1 << 20) + text(4000))
    assert probe.is_compressible(b"")
    assert probe.is_compressible(os.urandom(8).hex().encode() * 100)
