"""Write a git repository again from what passes sealed of it."""

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from scelle.capture.families import members_of
from scelle.capture.sealed import vanished_records
from scelle.errors import InputError
from scelle.formats.canonical_json import parse_json_strict
from scelle.formats.values import decode_value
from scelle.ledger.rows import Row
from scelle.ledger.search import Tombstones, tombstones
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.sources.git.restore import GitObject, RefPosition, Restored, complaints, restorable, restore
from scelle.sources.git.schemas import MEMBERS, OBJECT_CONTENT, OBJECTS, REFS, REPOSITORY, REPOSITORY_V1
from scelle.sources.interfaces import native_text
from scelle.vault.packs import PackStore

Place: TypeAlias = tuple[int, int]
"""Where a record lies: the log index of its segment's manifest, and its sequence number."""

_MEMBER_OF: Final = {member.schema.digest: member.name for member in MEMBERS}
_STATE_DEPTH: Final = 32
_FORMATS: Final = ("sha1", "sha256")


@dataclass(slots=True)
class _Sealed:
    """Hold the newest position of each ref by name, which of them were deleted since, and what the repository is."""

    positions: dict[bytes, RefPosition] = field(default_factory=dict)
    deleted: set[bytes] = field(default_factory=set)
    object_format: str = "sha1"
    shallow: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoredRepository:
    """Say what was written of a repository, what could not be, and what nobody could have sealed.

    `deleted` pairs refs that a later pass did not find any more with the object on which they stood; they are in the
    repository only where that was asked for. `complaints` are those of `git fsck`. `unseen` is what the source itself
    said of its limits.
    """

    written: Restored
    deleted: tuple[tuple[str, str], ...]
    complaints: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Tell whether everything sealed is in it and git accepts it."""
        return not (self.written.failed or self.written.broken or self.complaints)

    def to_json(self) -> dict[str, Any]:
        """Return what `git restore --json` prints of it."""
        written = self.written
        return {
            "objects": written.objects,
            "refs": written.refs,
            "failed": [{"object": oid, "detail": why} for oid, why in written.failed],
            "broken": [native_text(name) for name in written.broken],
            "without_place": [native_text(name) for name in written.without_place],
            "deleted": [{"ref": name, "target": target} for name, target in self.deleted],
            "fsck": list(self.complaints),
            "unseen": list(self.unseen),
        }


def restore_repository(
    ledger: OrderLedgerWriter,
    packs: PackStore,
    alias: str,
    to: Path,
    *,
    with_deleted: bool,
    left_out: Collection[Place] = (),
) -> RestoredRepository:
    """Write a bare repository from the sealed objects and the newest sealed position of each ref, and check it.

    Refs that a pass found to be gone are left out unless `with_deleted`; their commits are always in it. Records at
    `left_out` are taken for not sealed. Nothing is changed in the vault. Raises InputError where nothing of a
    repository is sealed under the alias or `to` is in use, and what `restore` raises.
    """
    sealed = _sealed_repository(ledger, alias, left_out)
    refs = [ref for name, ref in sealed.positions.items() if with_deleted or name not in sealed.deleted]
    written = restore(
        _things(refs, _objects(ledger, packs, alias, left_out)),
        to,
        sealed.object_format,
        shallow=sealed.shallow,
    )
    deleted = sorted((native_text(name), _target(sealed.positions[name])) for name in sealed.deleted)
    return RestoredRepository(written, tuple(deleted), tuple(complaints(to)), sealed.unseen)


def check_repository(ledger: OrderLedger, alias: str) -> None:
    """Raise InputError where nothing of a git repository is sealed under an alias."""
    if not any(member in (OBJECTS, REFS) for _, member in _members(ledger, alias)):
        raise InputError(
            f"nothing of a git repository is sealed as {alias} of order {ledger.order}: name a source git://, and "
            "preserve it first"
        )


def _things(refs: list[RefPosition], objects: Iterator[GitObject]) -> Iterator[GitObject | RefPosition]:
    yield from refs
    yield from objects


def _target(ref: RefPosition) -> str:
    return ref.target or (native_text(ref.symref) if ref.symref is not None else "nothing")


def _members(ledger: OrderLedger, alias: str) -> list[tuple[str, str]]:
    """List the log sources of a family that hold parts of a repository, by number, with what they hold."""
    shapes = {manifest.source: manifest.schema for _, manifest in ledger.manifests() if manifest.records}
    return [
        (name, _MEMBER_OF[shapes[name]])
        for name in members_of(ledger, alias)
        if name in shapes and shapes[name] in _MEMBER_OF
    ]


def _sealed_repository(ledger: OrderLedgerWriter, alias: str, left_out: Collection[Place]) -> _Sealed:
    check_repository(ledger, alias)
    found = _Sealed()
    gone = vanished_records(ledger, alias)
    for name, member in _members(ledger, alias):
        number = int(name.rpartition("/")[2])
        if member == REFS:
            for row in _rows(ledger, name, left_out):
                _take_position(found, row, (number, row.seq) in gone)
        elif member == REPOSITORY:
            for row in _rows(ledger, name, left_out):
                _take_description(found, row)
    return found


def _take_position(found: _Sealed, row: Row, is_gone: bool) -> None:
    ref = restorable(REFS, row.split_values()[2:])
    if isinstance(ref, RefPosition):
        found.positions.pop(ref.name, None)  # so that they stand in the order in which they were last sealed
        found.positions[ref.name] = ref
        found.deleted.discard(ref.name)
        if is_gone:
            found.deleted.add(ref.name)


def _take_description(found: _Sealed, row: Row) -> None:
    values = row.split_values()

    def value_of(name: str) -> Any:
        number = REPOSITORY_V1.field_number(name)
        return None if number is None else decode_value(values[number])[1]

    state = parse_json_strict(value_of("state"), _STATE_DEPTH)
    unseen = parse_json_strict(value_of("unseen"), _STATE_DEPTH)
    object_format = value_of("object_format")
    found.object_format = object_format if object_format in _FORMATS else found.object_format
    found.shallow = tuple(state["shallow"]["listed"])
    found.unseen = tuple(unseen)


def _objects(
    ledger: OrderLedger, packs: PackStore, alias: str, left_out: Collection[Place]
) -> Iterator[GitObject]:
    for name, member in _members(ledger, alias):
        if member == OBJECTS:
            for row in _rows(ledger, name, left_out):
                values = row.split_values()
                digest = values[OBJECT_CONTENT][5:37]
                found = restorable(OBJECTS, values[2:], packs.read(digest))
                if isinstance(found, GitObject):
                    yield found


def _rows(ledger: OrderLedger, name: str, left_out: Collection[Place]) -> Iterator[Row]:
    """Yield the sealed records of a log source that no tombstone speaks of and that are not to be left out."""
    erased = tombstones(ledger.entries)
    for at, manifest in ledger.manifests():
        if manifest.source == name and manifest.records:
            gone = erased.get(at, Tombstones()).records
            with closing(ledger.segment(manifest)) as reader:
                for row in reader.rows():
                    if row.seq - manifest.seq[0] not in gone and (at, row.seq) not in left_out:
                        yield row
