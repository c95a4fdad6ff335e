"""Offer what a generation service recorded: events, configurations and policies, and what they show together."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Final

from scelle.errors import ItemError
from scelle.sources.generation.bundles import bundle_record
from scelle.sources.generation.checks import Checks
from scelle.sources.generation.making import EventMaker
from scelle.sources.generation.model import DERIVED, GRACE_US, UNDECIDED
from scelle.sources.generation.reading import FileKind, kind_of_file, opened
from scelle.sources.generation.schemas import BUNDLE, CHECK, EVENT, MEMBERS
from scelle.sources.interfaces import (
    BadRecord,
    Batch,
    Kind,
    Member,
    Offered,
    Record,
    Trouble,
    Unit,
    native_text,
)
from scelle.sources.lines import BATCH_BYTES, BATCH_RECORDS
from scelle.sources.streams import compression_of
from scelle.sources.tree import Tree

RACY_NS: Final = 2_000_000_000
"""A file that was written to so lately may be written to again without its stamp showing it."""
CHECKS: Final = b"//checks"
"""The unit of what the source found itself; no file can have this name."""

_DERIVED: Final = "/".join((*DERIVED, "")).encode()
_UNDECIDED: Final = "/".join((*UNDECIDED, "")).encode()
_MEMBERS_OF: Final = {FileKind.LINES: (EVENT,), FileKind.JSON: (EVENT, BUNDLE), FileKind.BUNDLE: (BUNDLE,)}


class GenerationSource:
    """Read the events of a service that generates text or pictures, and its configurations and policies.

    `root` is a folder, or one file. `holder` is the identifier, with its kind, of whose records they are where an
    event names no account. `grace_us` is how long after its request an attempt may be without an outcome, counted to
    the newest event that there is, before that is reported.
    """

    def __init__(
        self,
        root: bytes,
        name: str,
        holder: str | None,
        grace_us: int = GRACE_US,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tree = Tree(root, name)
        self._holder = holder
        self._grace_us = grace_us
        self._now_ns = now_ns
        self._maker = EventMaker(holder)
        self._waiting: dict[bytes, str] = {}

    def test(self) -> None:
        """Raise a SourceError when the source cannot be read at all."""
        self._tree.test()

    def members(self) -> Sequence[Member]:
        """List the shapes: events, bundles, and checks, what the source found itself."""
        return MEMBERS

    def units(self) -> Iterator[Unit | Trouble]:
        """Enumerate the files in byte order of their names, and at last the checks over all of them."""
        stamps = sha256(b"%d" % self._grace_us)
        is_settled = True
        for each in self._walk():
            unit = each if isinstance(each, Trouble) else self._unit(each)
            yield unit
            if isinstance(unit, Unit):
                stamps.update(b"%b\0%b" % (unit.native, unit.stamp))
                is_settled = is_settled and unit.stamp != b""
        yield Unit(CHECKS, (CHECK,), stamps.digest() if is_settled else b"", 0)

    def read(self, unit: Unit, mark: bytes) -> Iterator[Batch]:
        """Read a file behind `mark`, or all files for the checks; raises as the protocol says."""
        path = unit.native
        self._waiting.pop(path, None)
        if path == CHECKS:
            yield from _batches(self._checks())
            return
        if kind_of_file(path) is not FileKind.BUNDLE:
            with opened(self._tree, path) as file:
                if file.holds is not FileKind.BUNDLE:
                    yield from file.batches(mark, self._maker.make, self._waits(path))
                    return
        yield Batch([bundle_record(self._tree, path, self._holder)], b"")

    def waiting(self, unit: Unit) -> str | None:
        """Say, after `read` ended, what of the file is not offered yet."""
        return self._waiting.get(unit.native)

    def warnings(self) -> Sequence[str]:
        """Say nothing: files are read without harm to what writes them."""
        return ()

    def close(self) -> None:
        """Do nothing: files are closed as they are read."""

    def _walk(self) -> Iterator[Offered | Trouble]:
        """Walk the tree, but for what a recorder derives from it, and what it has not decided where to put yet."""
        oldest_ns = self._now_ns() - GRACE_US * 1000
        for each in self._tree.walk():
            is_young = isinstance(each, Offered) and each.mtime_ns > oldest_ns
            if not each.path.startswith(_DERIVED) and not (is_young and each.path.startswith(_UNDECIDED)):
                yield each

    def _unit(self, offered: Offered) -> Unit | Trouble:
        path = offered.path
        if offered.kind is not Kind.DOCUMENT:
            return Trouble(path, path, offered.reason or "symbolic-link")
        kind = kind_of_file(path)
        age_ns = self._now_ns() - offered.mtime_ns
        stamp = offered.stamp if age_ns > RACY_NS and not self._ends_open(offered, kind) else b""
        return Unit(path, _MEMBERS_OF[kind], stamp, offered.size_bytes)

    def _ends_open(self, offered: Offered, kind: FileKind) -> bool:
        """Say whether the last line may have no end: then the file is read again although nobody wrote to it."""
        if kind is not FileKind.LINES or compression_of(offered.path)[1] or not offered.size_bytes:
            return False
        try:
            descriptor, status = self._tree.open_file(offered.path)
        except ItemError:  # reading it will say why
            return True
        try:
            return os.pread(descriptor, 1, max(0, status.st_size - 1)) != b"\n"
        finally:
            os.close(descriptor)

    def _checks(self) -> Iterator[Record]:
        return Checks(self._tree, self._paths, self._holder, self._grace_us).records()

    def _paths(self) -> Iterator[bytes]:
        for each in self._walk():
            if isinstance(each, Offered) and each.kind is Kind.DOCUMENT:
                yield each.path

    def _waits(self, path: bytes) -> Callable[[str], None]:
        def note(what: str) -> None:
            self._waiting[path] = f"file {native_text(path)}: {what}"

        return note


def _batches(records: Iterator[Record]) -> Iterator[Batch]:
    """Gather records, not more than may be held in memory."""
    together: list[Record | BadRecord] = []
    size_bytes = 0
    for record in records:
        if together and (len(together) == BATCH_RECORDS or size_bytes + record.size_bytes > BATCH_BYTES):
            yield Batch(together, b"")
            together, size_bytes = [], 0
        together.append(record)
        size_bytes += record.size_bytes
    if together:
        yield Batch(together, b"")
