"""Repositories made by git itself, and what a pass over them gives."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scelle.formats.values import decode_value
from scelle.sources.git.schemas import MEMBERS
from scelle.sources.git.source import GitSource
from scelle.sources.interfaces import BadRecord, Record, Trouble, Unit

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="the program git is not installed")

_ENVIRONMENT = {
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada Ashgrove",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ben Birch",
    "GIT_COMMITTER_EMAIL": "ben@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0100",
    "LC_ALL": "C",
}


class Work:
    """A repository to work in; each commit is a minute younger than the one before."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        self.now = 1_700_000_000
        path.mkdir()
        self.git("init", "-q", "-b", "main", *options)

    def git(self, *arguments: str | bytes, given: bytes = b"") -> str:
        self.now += 60
        environment = {**os.environ, **_ENVIRONMENT, "GIT_COMMITTER_DATE": f"{self.now} +0100"}
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=environment, input=given, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, name: str, data: bytes, message: str = "") -> str:
        (self.path / name).write_bytes(data)
        self.git("add", name)
        self.git("commit", "-q", "-m", message or f"write {name}")
        return self.git("rev-parse", "HEAD")

    @property
    def source(self) -> GitSource:
        return GitSource(os.fsencode(self.path), "code", "custodian:ada@example.org")

    def loose(self, oid: str) -> Path:
        path = self.path / ".git" / "objects" / oid[:2] / oid[2:]
        path.chmod(0o644)
        return path


def units(source: GitSource) -> dict[bytes, Unit]:
    found = list(source.units())
    assert not [each for each in found if isinstance(each, Trouble)]
    return {each.native: each for each in found if isinstance(each, Unit)}


def everything(source: GitSource, unit: bytes) -> list[Record | BadRecord]:
    return [record for batch in source.read(units(source)[unit], b"") for record in batch.records]


def records(source: GitSource, unit: bytes) -> dict[bytes, Record]:
    found = [each for each in everything(source, unit) if isinstance(each, Record)]
    assert len({each.native for each in found}) == len(found)
    return {each.native: each for each in found}


def bad(source: GitSource, unit: bytes) -> list[tuple[str, str]]:
    return sorted(
        (each.place, each.cause) for each in everything(source, unit) if isinstance(each, BadRecord)
    )


def values(record: Record) -> dict[str, Any]:
    schema = next(member.schema for member in MEMBERS if member.name == record.member)
    schema.check_values([b"t", b"i", *record.values])
    return {
        field.name: decode_value(value)[1]
        for field, value in zip(schema.fields[2:], record.values, strict=True)
    }


def pieces(record: Record) -> Iterator[bytes]:
    document = record.contents[0].document
    assert (document.data is None) != (document.stream is None)
    if document.stream is not None:
        yield from document.stream()
    else:
        yield document.data or b""


def content(record: Record) -> bytes:
    data = b"".join(pieces(record))
    assert len(data) == record.contents[0].document.size_bytes == record.size_bytes
    return data


def state_of(path: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything about every file that a reader could have changed."""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            place = Path(folder) / name
            status = place.lstat()
            data = place.read_bytes() if place.is_file() and not place.is_symlink() else b""
            found[str(place)] = (status.st_mode, status.st_mtime_ns, status.st_ctime_ns, data)
    return found
