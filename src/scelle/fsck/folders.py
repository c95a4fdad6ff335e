"""Read the files of one order's log, remember which were asked for, and name what else lies there."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from scelle.formats.tiles import TILE_WIDTH
from scelle.fsck.files import Unreadable, files_below, is_seen, read_file
from scelle.fsck.model import Notebook

_ATTEMPTS: Final = 5
_EMPTIED: Final = re.compile(r"tile/.+\.p/")
"""A folder of partial tiles, all of which were replaced by the full one."""
_MOVING: Final = ("tile/", "staging/")


class LogFolder:
    """The folder `po/<order>/log`, as one examination reads it.

    `is_moving` says that another process writes to the log meanwhile: then a tile may have been replaced by a
    wider one, and what lies there beside the published files is its own affair.
    """

    def __init__(self, path: Path, order: str, notes: Notebook, *, is_moving: bool) -> None:
        self.path, self.order, self.notes, self.is_moving = path, order, notes, is_moving
        self.known: set[str] = set()

    def subject(self, name: str) -> str:
        """Name a file of the log in a finding."""
        return f"order {self.order}, po/{self.order}/log/{name}"

    def entry_subject(self, index: int) -> str:
        """Name an entry of the log in a finding."""
        return f"order {self.order}, log entry {index}"

    def find(self, code: str, name: str, detail: str) -> None:
        """Note what is wrong with a file."""
        self.notes.find(code, self.subject(name), detail)

    def find_entry(self, code: str, index: int, detail: str) -> None:
        """Note what is wrong with an entry."""
        self.notes.find(code, self.entry_subject(index), detail)

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the bytes of a file; None, and a finding, where it is missing or cannot be read."""
        self.known.add(name)
        try:
            return read_file(self.path / name, limit)
        except Unreadable as error:
            self.find(error.code, name, str(error))
            return None

    def read_tile(self, name: str, limit: int) -> tuple[bytes | None, str]:
        """Return the bytes of a tile or bundle, and the name under which it was found: of a wider one, perhaps."""
        for _ in range(_ATTEMPTS if self.is_moving else 0):
            place = self._place_of(name)
            try:
                self.known.add(place)
                return read_file(self.path / place, limit), place
            except Unreadable:
                continue  # replaced between the look and the reading
        return self.read(name, limit), name

    def _place_of(self, name: str) -> str:
        base, partial, width = name.partition(".p/")
        if partial and not is_seen(self.path / name):
            wider = [f"{base}.p/{other}" for other in range(int(width) + 1, TILE_WIDTH)]
            return next((other for other in [*wider, base] if is_seen(self.path / other)), name)
        return name

    def strays(self, empty_folders: Collection[str]) -> list[str]:
        """List what lies there and was not asked for, but for these empty folders and temporary files."""
        found = []
        for name in files_below(self.path):
            if name in self.known or name in empty_folders or _EMPTIED.fullmatch(name):
                continue
            if self.is_moving and name.startswith(_MOVING):
                continue
            if name.endswith(".tmp"):
                detail = "an interrupted write left it; nothing reads it"
                self.notes.remark("vault.leftover", self.subject(name), detail)
            else:
                found.append(name)
        return found
