"""Offer a git repository as records."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from scelle.errors import ItemError, ItemVanished, UnitRewritten
from scelle.formats.tokens import shown
from scelle.sources.git.contents import ObjectContents
from scelle.sources.git.description import repository_record, stored_bytes
from scelle.sources.git.objects import object_records
from scelle.sources.git.place import Repository, open_repository
from scelle.sources.git.reflogs import Log, log_names, log_records
from scelle.sources.git.refs import ref_records
from scelle.sources.git.schemas import MEMBERS, OBJECTS, REFLOG, REFS, REPOSITORY
from scelle.sources.interfaces import BadRecord, Batch, Member, Record, Trouble, Unit, native_text

BATCH_RECORDS: Final = 8192
BATCH_BYTES: Final = 8 << 20
_RECORD_BYTES: Final = 512

_UNITS: Final = {b"repository": REPOSITORY, b"refs": REFS, b"reflogs": REFLOG, b"objects": OBJECTS}
"""Refs before objects: so whatever a ref stood on when it was read is among the objects, unless git removed it."""


class GitSource:
    """Read one repository, and change nothing in it.

    `root` is a worktree, a bare repository, a linked worktree or a submodule; always the whole repository is read,
    with what all its worktrees have of their own. `holder` is who holds it, with the kind, such as
    `custodian:ada@example.org`: the identifier of dimension account of every record.
    """

    def __init__(self, root: bytes, name: str, holder: str | None = None) -> None:
        self._root = root
        self._name = name
        self._holder = holder
        self._waiting: str | None = None

    def warnings(self) -> Sequence[str]:
        """Say nothing: what cannot be seen is in the members' notes and the record of the repository."""
        return ()

    def close(self) -> None:
        """Hold nothing: every git process ends with the reading that started it."""

    def test(self) -> None:
        """Raise SourceMissing or SourceUnreadable when git cannot read a repository at the root."""
        open_repository(self._root, self._name)

    def members(self) -> Sequence[Member]:
        """List the four shapes: they are the same for every repository."""
        return MEMBERS

    def units(self) -> Iterator[Unit | Trouble]:
        """Enumerate the four units; each is read anew on every pass, for no stamp could speak for it."""
        repository = open_repository(self._root, self._name)
        for native, member in _UNITS.items():
            yield Unit(native, (member,), b"", stored_bytes(repository) if member == OBJECTS else 0)

    def read(self, unit: Unit, mark: bytes) -> Iterator[Batch]:
        """Read one unit from its start; contents of trees and blobs are read only when they are asked for.

        Raises SourceError, ItemUnreadable where git cannot list the unit to its end, ItemVanished for a unit that
        is none of the four, and UnitRewritten for a mark, which this source never gives.
        """
        if unit.native not in _UNITS:
            raise ItemVanished(f"source {shown(self._name)} has no unit {shown(unit.native)}")
        if mark:
            raise UnitRewritten(
                f"{shown(unit.native)} of source {shown(self._name)} is read from its start only"
            )
        repository = open_repository(self._root, self._name)
        match _UNITS[unit.native]:
            case "repository":
                yield Batch([repository_record(repository, self._holder)], b"")
            case "refs":
                yield from _batches(ref_records(repository, self._holder))
            case "reflog":
                yield from _batches(self._log_records(repository))
            case _:
                yield from _batches(object_records(repository.git, ObjectContents(repository), self._holder))

    def waiting(self, unit: Unit) -> str | None:
        """Name the reflogs whose last line had no end yet when they were read."""
        return self._waiting if unit.native == b"reflogs" else None

    def _log_records(self, repository: Repository) -> Iterator[Record | BadRecord]:
        self._waiting = None
        if repository.tree_below(b"reftable"):
            yield BadRecord(
                "reflogs", "reftable", "this repository keeps its reflogs in a reftable: they are not read"
            )
        unfinished = []
        for each in log_names(repository):
            if isinstance(each, Trouble):
                yield BadRecord(native_text(each.path), each.cause, "it could not be listed")
                continue
            log = Log(repository, *each)
            try:
                yield from log_records(log, self._holder)
            except ItemError as error:
                yield BadRecord(native_text(each[1]), error.cause, str(error))
                continue
            if log.rest:
                unfinished.append(native_text(log.ref))
        if unfinished:
            self._waiting = f"the last line has no end yet in the reflogs of {', '.join(unfinished[:10])}"


def _batches(records: Iterable[Record | BadRecord]) -> Iterator[Batch]:
    """Gather records, not more than may be held in memory."""
    together: list[Record | BadRecord] = []
    size_bytes = 0
    for record in records:
        held = _held_bytes(record)
        if together and (len(together) == BATCH_RECORDS or size_bytes + held > BATCH_BYTES):
            yield Batch(together, b"")
            together, size_bytes = [], 0
        together.append(record)
        size_bytes += held
    if together:
        yield Batch(together, b"")


def _held_bytes(record: Record | BadRecord) -> int:
    """Estimate what a record holds: itself, and its content where that came with it."""
    if isinstance(record, BadRecord) or any(content.document.data is None for content in record.contents):
        return _RECORD_BYTES
    return _RECORD_BYTES + record.size_bytes
