"""Find out what is in a vault: its own files, its orders, their segments, and what does not belong there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from scelle.capture.watch_state import WATCH_FOLDER
from scelle.errors import NotAVault, StorageFailed, VaultConfigDamaged, WrongKey
from scelle.formats.entries import Segment
from scelle.formats.tokens import is_alias, is_order_id
from scelle.fsck.disposals import Disposal
from scelle.fsck.files import (
    NOT_ENTERED,
    RegularFile,
    Unreadable,
    closed_folders,
    files_below,
    is_closed,
    is_folder,
    is_there,
    names_in,
    read_file,
)
from scelle.fsck.logs import LogFacts, published_state
from scelle.fsck.model import Notebook, shown_name
from scelle.fsck.segments import HEAD_MAX_BYTES, OPEN_SUFFIX, SegmentPlace, State, built_in_schema
from scelle.guard.spool import SPOOL_FOLDER
from scelle.ledger.destroying import KEPT_FILES, is_doomed
from scelle.ledger.erasure_journal import JOURNAL_NAME
from scelle.ledger.positions import SUFFIX as POSITION_SUFFIX
from scelle.ledger.positions import open_position, position_digest
from scelle.ledger.promise_book import BOOK_FILES
from scelle.ledger.segments import SegmentHead, alias_of, folder_name
from scelle.vault.catalog import CATALOG_NAME
from scelle.vault.frames import pack_id_of
from scelle.vault.keys import VaultKey
from scelle.vault.lock import LOCK_NAME, WANTED_NAME
from scelle.vault.posix import UNFINISHED_SUFFIX
from scelle.vault.recovery import RECOVERY_NAME, check_recovery_file
from scelle.vault.request_keys import REQUEST_KEYS_FOLDER
from scelle.vault.service import CONFIG_NAME, read_config

ORDERS_FOLDER: Final = "po"
PACKS_FOLDER: Final = "packs"
_FOLDERS: Final = (ORDERS_FOLDER, PACKS_FOLDER, SPOOL_FOLDER, REQUEST_KEYS_FOLDER, WATCH_FOLDER)
_CATALOG_NAMES: Final = tuple(f"{CATALOG_NAME}{suffix}" for suffix in ("", "-wal", "-shm", "-journal"))
_FILES: Final = (CONFIG_NAME, RECOVERY_NAME, LOCK_NAME, WANTED_NAME, *_CATALOG_NAMES)
_ORDER_NAMES: Final = ("log", "secrets", "seg", *BOOK_FILES)
_TEMPORARY: Final = ".tmp"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")


def check_folder(vault: Path, key: VaultKey, notes: Notebook) -> str | None:
    """Check vault.json, recovery.age and what else lies in the vault's folder; return the vault's host.

    None where vault.json cannot be believed. Raises `VaultTooNew`.
    """
    for name in names_in(vault):
        if name in _FILES or name in _FOLDERS:
            continue
        if name.removesuffix(_TEMPORARY) in _FILES:
            notes.remark("vault.leftover", shown_name(name), "an interrupted write left it; nothing reads it")
        else:
            notes.find("vault.stray", shown_name(name), "no part of Scellé puts it there")
    if not _is_readable(vault, CONFIG_NAME, notes):
        return None
    try:
        config = read_config(vault).verified(key)
    except (NotAVault, VaultConfigDamaged, StorageFailed) as error:
        notes.find("vault.config", CONFIG_NAME, str(error))
        return None
    if is_there(vault / RECOVERY_NAME) and not _is_readable(vault, RECOVERY_NAME, notes):
        return config.host
    try:
        check_recovery_file(vault, config)
        if config.recovery_sha256 is not None:
            notes.remark(
                "vault.recovery", RECOVERY_NAME, "whether its holders can open it, only a drill shows"
            )
    except VaultConfigDamaged as error:
        notes.find("vault.config", RECOVERY_NAME, str(error))
    return config.host


def _is_readable(vault: Path, name: str, notes: Notebook) -> bool:
    """Tell whether a file can be opened without waiting for anybody; note it where it cannot."""
    try:
        RegularFile(vault / name).close()
    except Unreadable as error:
        notes.find(error.code, shown_name(name), str(error))
        return False
    return True


def find_orders(vault: Path, notes: Notebook) -> list[str]:
    """List the orders in the vault, its own log among them, and name what else lies there."""
    orders = []
    if is_closed(vault / ORDERS_FOLDER):  # folders below it are named with their orders
        notes.find("file.unreadable", f"{ORDERS_FOLDER}/", NOT_ENTERED)
    for name in names_in(vault / ORDERS_FOLDER):
        if not is_order_id(name) or not is_folder(vault / ORDERS_FOLDER / name):
            notes.find(
                "vault.stray", f"{ORDERS_FOLDER}/{shown_name(name)}", "it is not the folder of an order"
            )
            continue
        orders.append(name)
    return orders


class FoundPacks(NamedTuple):
    """The ids of the packs that can be read, and of all there are; `is_whole`: no folder of them is closed."""

    readable: list[str]
    there: frozenset[str]
    is_whole: bool


NO_PACKS: Final = FoundPacks([], frozenset(), is_whole=False)


def find_packs(vault: Path, notes: Notebook) -> FoundPacks:
    """Find the packs there are, by their own names or those of their keys; name what is none."""
    folder = vault / PACKS_FOLDER
    unfinished = _unfinished_in(folder)  # first: a pack may be sealed meanwhile, and never the other way
    sealed = [name for name in files_below(folder) if not name.endswith(("/", UNFINISHED_SUFFIX))]
    found: set[str] = set()
    blocked: set[str] = set()
    for name in unfinished + sealed:
        relative = f"{PACKS_FOLDER}/{name}"
        pack_id = pack_id_of(relative.removesuffix(UNFINISHED_SUFFIX))
        if pack_id is not None:
            found.add(pack_id)
            if is_there(vault / relative) and not _is_readable(vault, relative, notes):
                blocked.add(pack_id)  # one that is not there any more got its final name in this moment
        elif name.endswith(_TEMPORARY) and pack_id_of(relative.removesuffix(_TEMPORARY)) is not None:
            detail = "an interrupted write left it; nothing reads it"
            notes.remark("vault.leftover", shown_name(relative), detail)
        else:
            notes.find("vault.stray", shown_name(relative), "it is no pack and no pack's keys")
    closed = list(closed_folders(folder))
    for name in closed:
        notes.find("file.unreadable", shown_name(f"{PACKS_FOLDER}/{name}"), NOT_ENTERED)
    return FoundPacks(sorted(found - blocked), frozenset(found), not (closed or blocked))


def _unfinished_in(folder: Path) -> list[str]:
    return [name for name in files_below(folder) if name.endswith(UNFINISHED_SUFFIX)]


@dataclass(slots=True)
class OrderPlan:
    """Lay out the segments of one order; `first_ordinal` is the number of its first one in the whole run.

    `disposal` says whether what it captured goes, or went, under its release.
    """

    folder: Path
    facts: LogFacts
    notes: Notebook
    first_ordinal: int
    vault_key: VaultKey
    disposal: Disposal = Disposal.NONE
    _left: int = 0
    _indexes: dict[tuple[str, int], int] = field(default_factory=dict)

    def places(self) -> list[SegmentPlace]:
        """List the segments to examine: those of the manifests, then those that have none."""
        self._name_strays()
        manifests = {(entry.source, entry.number): entry for _, entry in self.facts.manifests}
        self._indexes = {(entry.source, entry.number): index for index, entry in self.facts.manifests}
        found: list[SegmentPlace] = []
        for entry in manifests.values():
            if entry.position[1] not in (None, entry.position[0]):
                self._check_position(entry)
            if entry.records and not self._is_disposed(entry) and self._is_there(entry):
                found.append(self._sealed(entry, self.first_ordinal + len(found)))
        for alias, name in self._folders():
            number = name.removesuffix(OPEN_SUFFIX)
            key = (alias, int(number)) if _NUMBER.fullmatch(number) else None
            manifest = None if key is None else manifests.get(key)
            if manifest is not None and manifest.records and name == number:
                continue
            if key is None:
                self._stray(f"seg/{folder_name(alias)}/{name}", "it is no segment of this source")
                continue
            place = self._unsealed(*key, name, self.first_ordinal + len(found))
            if place is not None:
                found.append(place)
        self._name_unfinished_disposal()
        return found

    def _subject(self, name: str) -> str:
        return f"order {self.facts.order}, {ORDERS_FOLDER}/{self.facts.order}/{shown_name(name)}"

    def _name_strays(self) -> None:
        for name in names_in(self.folder):
            if name.removesuffix(_TEMPORARY) == "secrets" and name.endswith(_TEMPORARY):
                detail = "an interrupted write left it; nothing reads it"
                self.notes.remark("vault.leftover", self._subject(name), detail)
            elif name.removesuffix(_TEMPORARY) == JOURNAL_NAME:
                detail = "an erasure is not done: `scelle request run` finishes it"
                self.notes.remark("order.erasing", self._subject(name), detail)
            elif name not in _ORDER_NAMES:
                self.notes.find("vault.stray", self._subject(name), "no part of Scellé puts it there")

    def _check_position(self, entry: Segment) -> None:
        """Compare what is kept of where the source's own log stood with what the manifest commits to."""
        path = self._folder_of(entry).with_name(f"{entry.number}{POSITION_SUFFIX}")
        subject = f"order {self.facts.order}, {self._relative(path)}"
        try:
            sealed = read_file(path)
            kept = open_position(sealed, self.facts.origin, entry.source, entry.number, self.vault_key)
        except Unreadable as error:
            self.notes.find(error.code, subject, str(error))
            return
        except WrongKey:
            self.notes.find("segment.position", subject, "it is not as it was written")
            return
        if position_digest(*kept) != entry.position[1]:
            self.notes.find(
                "segment.position", subject, "it is not the position that the manifest commits to"
            )

    def _is_there(self, entry: Segment) -> bool:
        folder = self._folder_of(entry)
        if is_there(folder):
            return True
        subject = f"order {self.facts.order}, {entry.source} segment {entry.number}, {self._relative(folder)}"
        self.notes.find("file.missing", subject, f"its folder is not there: {entry.records} records are gone")
        return False

    def _is_disposed(self, entry: Segment) -> bool:
        """Tell whether a segment goes, or went, with the order: then nothing of it is judged.

        Once the log has the release nothing can be brought back, and what is left of a segment is about to go.
        """
        if self.disposal is Disposal.NONE or not is_doomed(entry):
            return False
        folder = self._folder_of(entry)
        if any(name not in KEPT_FILES for name in names_in(folder)):
            self._left += 1
        else:
            subject = (
                f"order {self.facts.order}, {entry.source} segment {entry.number}, {self._relative(folder)}"
            )
            self.notes.remark(
                "segment.disposed", subject, f"{entry.records} records, under the order's release"
            )
        return True

    def _name_unfinished_disposal(self) -> None:
        """Say that a disposal was interrupted, or that rows which it destroyed are there again."""
        if self._left or self.disposal is Disposal.BEGUN:
            detail = (
                f"the disposal of {self.facts.order} is unfinished, {self._left} segments of it are not gone: run "
                "`scelle dispose`"
            )
            self.notes.find("segment.disposal", f"order {self.facts.order}", detail)

    def _folder_of(self, entry: Segment) -> Path:
        return self.folder / "seg" / folder_name(entry.source) / str(entry.number)

    def _relative(self, path: Path) -> str:
        return f"{ORDERS_FOLDER}/{self.facts.order}/{path.relative_to(self.folder)}"

    def _sealed(self, entry: Segment, ordinal: int) -> SegmentPlace:
        facts = self.facts
        return SegmentPlace(
            folder=self._folder_of(entry),
            order=facts.order,
            origin=facts.origin,
            alias=entry.source,
            number=entry.number,
            ordinal=ordinal,
            state=State.SEALED,
            manifest=entry,
            schema=facts.schemas.get(entry.schema),
            profile=entry.profile,
            seq_lo=entry.seq[0],
            tag_key=facts.tag_key,
            erased=facts.erased.get(self._indexes[entry.source, entry.number]),
        )

    def _folders(self) -> Iterator[tuple[str, str]]:
        """Yield (alias, name) of every segment's folder; name what lies between them."""
        for parent in names_in(self.folder / "seg"):
            alias, path = alias_of(parent), self.folder / "seg" / parent
            if not is_alias(alias) or folder_name(alias) != parent or not is_folder(path):
                self._stray(f"seg/{parent}", "it is not the folder of a log source")
                continue
            for name in names_in(path):
                if not name.removesuffix(_TEMPORARY).endswith(POSITION_SUFFIX):
                    yield alias, name

    def _stray(self, name: str, detail: str) -> None:
        self.notes.find("vault.stray", self._subject(name), detail)

    def _unsealed(self, alias: str, number: int, name: str, ordinal: int) -> SegmentPlace | None:
        """Say what a folder without a manifest is: open, one whose manifest is damaged, or nothing of ours."""
        facts = self.facts
        path = self.folder / "seg" / folder_name(alias) / name
        if name not in (str(number), f"{number}{OPEN_SUFFIX}") or not is_folder(path):
            if is_there(path):  # asked last: what is gone was sealed by another process in this moment
                self._stray(f"seg/{folder_name(alias)}/{name}", "it is no segment of this source")
            return None
        next_number = facts.next_numbers.get(alias, 0)
        is_next = number == next_number
        is_late = name.endswith(OPEN_SUFFIX) and number < next_number
        if (
            not is_next
            and (facts.is_complete or is_late)
            and not (number >= next_number and self._is_moving())
        ):
            detail = "no manifest in the log names it, and it does not continue its source"
            self._stray(f"seg/{folder_name(alias)}/{name}", detail)
            return None
        state = State.OPEN if facts.is_complete or OPEN_SUFFIX in name else State.UNPROVEN
        if state is State.OPEN and not is_there(path / "head"):
            self._check_begun(alias, name, path)
            return None
        return self._without_manifest(alias, number, path, state, ordinal)

    def _is_moving(self) -> bool:
        """Tell whether another process has committed since the log was read: it may have gone on by segments."""
        return published_state(self.folder) != self.facts.state

    def _check_begun(self, alias: str, name: str, path: Path) -> None:
        """A crash leaves an open segment without a head only where nothing was kept in it."""
        kept = [inside for inside in files_below(path) if inside != "head.tmp" and is_there(path / inside)]
        if is_there(path / "head") or not is_there(path):
            return  # a writer began it while we looked, and may have closed it; it has rows when it is committed
        for inside in kept:
            self._stray(f"seg/{folder_name(alias)}/{name}/{inside}", "its segment has no head")

    def _without_manifest(
        self, alias: str, number: int, path: Path, state: State, ordinal: int
    ) -> SegmentPlace | None:
        facts = self.facts
        head = _read_head(path)
        near = [entry for _, entry in facts.manifests if entry.source == alias]
        if head is None:
            if state is State.OPEN and not is_there(path / "head"):  # a writer has closed it since
                self._check_begun(alias, path.name, path)
                return None
            if state is State.OPEN:
                self._stray(
                    f"seg/{folder_name(alias)}/{path.name}/head", "it cannot be read: its rows were not"
                )
                return None
            head = _guessed_head(near, number)
        try:
            digest = bytes.fromhex(head.schema)
        except ValueError:
            digest = b""
        return SegmentPlace(
            folder=path,
            order=facts.order,
            origin=facts.origin,
            alias=alias,
            number=number,
            ordinal=ordinal,
            state=state,
            manifest=None,
            schema=facts.schemas.get(digest) or built_in_schema(digest),
            profile=1 if head.profile not in (0, 1) else head.profile,
            seq_lo=head.seq_lo,
            tag_key=facts.tag_key,
        )


def _read_head(folder: Path) -> SegmentHead | None:
    try:
        head = SegmentHead.parse(read_file(folder / "head", HEAD_MAX_BYTES))
    except (Unreadable, ValueError, TypeError, RecursionError):
        return None
    numbers = (head.profile, head.seq_lo, head.watermark_from, head.opened_us)
    if not isinstance(head.schema, str) or any(type(number) is not int for number in numbers):
        return None
    return head if 0 <= head.seq_lo < 1 << 62 else None


def _guessed_head(near: list[Segment], number: int) -> SegmentHead:
    """Make what a head would say from the manifests of the same source around it."""
    before = [entry.seq[1] for entry in near if entry.number == number - 1]
    schema = near[0].schema.hex() if near else ""
    return SegmentHead(schema, near[0].profile if near else 1, before[0] if before else 0, 0, 0)
