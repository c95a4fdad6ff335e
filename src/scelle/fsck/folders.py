"""Read the files of one order's log, remember which were asked for, and name what else lies there."""

from collections.abc import Collection
from pathlib import Path

from scelle.fsck.files import Unreadable, files_below, read_file
from scelle.fsck.model import Notebook


class LogFolder:
    """The folder `po/<order>/log`, as one examination reads it."""

    def __init__(self, path: Path, order: str, notes: Notebook) -> None:
        self.path, self.order, self.notes = path, order, notes
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
            self.find("file.missing" if error.is_missing else "file.unreadable", name, str(error))
            return None

    def strays(self, empty_folders: Collection[str]) -> list[str]:
        """List what lies there and was not asked for, but for these empty folders and temporary files."""
        found = []
        for name in files_below(self.path):
            if name in self.known or name in empty_folders:
                continue
            if name.endswith(".tmp"):
                detail = "an interrupted write left it; nothing reads it"
                self.notes.remark("vault.leftover", self.subject(name), detail)
            else:
                found.append(name)
        return found
