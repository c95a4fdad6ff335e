"""A disk that loses, at a crash, what was not made durable.

`Shadow` watches the durable steps of a process and keeps, beside the real files, what a disk would still hold
if the power went now: contents as of their last fsync, names as of their directory's last fsync (POSIX
promises no more). `Killer` stops the process at the n-th step.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn

from scelle.vault.durable import Step

KILLED = 99
Mode = Literal["lost", "kept"]
_HEX = re.compile(r"[0-9a-f]{8,}")
_FAN = re.compile(r"[0-9a-f]{2}")
_NUMBER = re.compile(r"(?<![a-z])\d+(?![a-z])")


class Shadow:
    """Hold what is durable of the tree `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, tuple[int, bool]]] = {}
        for directory, _, files in _walk(root):
            self._sync_directory(directory)
            for name in files:
                self._sync(directory / name)

    def observe(self, step: Step, when: Literal["before", "after"]) -> None:
        """Take one finished step into account."""
        if when == "before" or not step.path.is_relative_to(self.root):
            return
        if step.operation in ("sync", "commit"):
            self._sync(step.path)
        if step.operation == "commit":
            self._sync_directory(step.path.parent)
        if step.operation == "sync-directory":
            self._sync_directory(step.path)

    def _sync(self, path: Path) -> None:
        self.contents[path.stat().st_ino] = path.read_bytes()

    def _sync_directory(self, path: Path) -> None:
        self.names[path.stat().st_ino] = {
            entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(path)
        }

    def materialise(self, target: Path) -> None:
        """Write what is durable to `target`; the derived catalog is lost altogether."""
        self._materialise(self.root.stat().st_ino, target)

    def _materialise(self, directory: int, target: Path) -> None:
        target.mkdir(mode=0o700)
        for name, (inode, is_directory) in self.names.get(directory, {}).items():
            if is_directory:
                self._materialise(inode, target / name)
            elif not name.startswith("catalog.db"):
                (target / name).write_bytes(self.contents.get(inode, b""))
                (target / name).chmod(0o600)


def _walk(root: Path) -> list[tuple[Path, list[str], list[str]]]:
    return [(Path(directory), names, files) for directory, names, files in os.walk(root)]


class Killer:
    """Stop at the n-th step, counted from 0; `at_death` runs first. In mode `lost` the step is not done."""

    def __init__(self, stop_at: int, mode: Mode, at_death: Callable[[], None]) -> None:
        self.count = 0
        self._stop_at, self._mode, self._at_death = stop_at, mode, at_death

    def observe(self, step: Step, when: Literal["before", "after"]) -> None:
        """Count one step."""
        if when == ("before" if self._mode == "lost" else "after"):
            if self.count == self._stop_at:
                self._die()
            self.count += 1

    def _die(self) -> NoReturn:
        self._at_death()
        os._exit(KILLED)


def kind_of(step: Step, root: Path) -> str:
    """Name a step by its operation and the kind of file, so that new kill points are noticed."""
    inside = step.path.relative_to(root) if step.path.is_relative_to(root) else step.path
    parts = ["HH" if _FAN.fullmatch(part) else _NUMBER.sub("N", _HEX.sub("H", part)) for part in inside.parts]
    return f"{step.operation} {'/'.join(parts)}"
