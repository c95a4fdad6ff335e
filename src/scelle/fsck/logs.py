"""Judge the log of one order: checkpoint and signatures, entries and their rules, tiles, lock, schemas.

Established for a log without findings: its entries are those under a checkpoint that both keys of the order
signed, each follows from the ones before it, and nothing that was shown to others says otherwise. Not
established: that the log was not rewritten, by who has its keys, after what was last shown (ledger.md §13).
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from scelle.errors import FormatError, WrongKey
from scelle.formats.checkpoints import (
    ML_DSA_SIGNATURE_BYTES,
    Checkpoint,
    mldsa_message,
    parse_checkpoint_text,
    parse_timed_payload,
)
from scelle.formats.entries import Entry, Genesis, Segment, parse_entry
from scelle.formats.notes import ED25519, ML_DSA_44, Note, Signature, make_vkey, parse_note
from scelle.formats.schema import SCHEMA_MAX_BYTES, Schema, parse_schema
from scelle.formats.tokens import make_origin
from scelle.fsck.chains import LogRules
from scelle.fsck.files import (
    NOT_ENTERED,
    Unreadable,
    closed_folders,
    files_below,
    is_there,
    names_in,
    read_file,
)
from scelle.fsck.folders import LogFolder
from scelle.fsck.locks import Locked, read_lock
from scelle.fsck.model import Notebook
from scelle.fsck.published import SIZE_MAX, PublishedLog, size_on_disk
from scelle.fsck.segments import built_in_schema
from scelle.fsck.shown import ShownCheck
from scelle.ledger.search import Tombstones, tombstones
from scelle.ledger.signing import OrderSecrets
from scelle.vault.keys import VaultKey

CHECKPOINT: Final = "checkpoint"
LOCK: Final = "lock.db"
NOTE_MAX_BYTES: Final = 1 << 20
SECRETS_MAX_BYTES: Final = 4096

_LOOKS: Final = 5
_EMPTY_FOLDERS: Final = ("escrow/", "schemas/", "staging/", "tokens/", "tokens/pending/")
_STAGED_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,18})-[0-9a-f]{64}")
_SCHEMA_NAME: Final = re.compile(r"([0-9a-f]{64})\.json")


class LogTask(NamedTuple):
    """Ask for the examination of one order; `remembered` is what its signer is known to have signed.

    `is_moving` says that another process commits to the log meanwhile: what it has under way is no fault.
    """

    folder: Path
    order: str
    host: str | None
    vault_key: VaultKey
    remembered: tuple[int, bytes] | None
    is_moving: bool = False


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What the segments of an order are judged against.

    `is_complete` is False where an entry cannot be believed: then a segment may stand there whose manifest is
    that entry. `state` is what `published_state` gave when the examination began.
    """

    order: str
    origin: str
    tag_key: bytes | None
    manifests: tuple[tuple[int, Segment], ...]
    schemas: dict[bytes, Schema]
    next_numbers: dict[str, int]
    is_complete: bool
    state: bytes
    is_released: bool = False
    """The log says that the order was let go of: its rows may be gone, if all of a segment's are."""
    erased: dict[int, Tombstones] = field(default_factory=dict)
    """What is erased of single segments, by the log index of the manifest."""


class LogAnswer(NamedTuple):
    """Give what was found in one order's log, and what its segments are judged against."""

    facts: LogFacts
    notes: Notebook


@dataclass(frozen=True, slots=True)
class _Keys:
    """The order's keys, as far as its secrets open."""

    name: str
    ed25519: Ed25519PublicKey
    mldsa44: MLDSA44PublicKey
    tag_key: bytes

    @classmethod
    def of(cls, secrets: OrderSecrets) -> "_Keys":
        return cls(
            secrets.origin,
            Ed25519PrivateKey.from_private_bytes(secrets.ed25519_seed).public_key(),
            MLDSA44PrivateKey.from_seed_bytes(secrets.mldsa44_seed).public_key(),
            secrets.tag_key,
        )


def examine_log(task: LogTask) -> LogAnswer:
    """Examine one order's log; runs in a worker process."""
    examination = _LogExamination(task)
    return LogAnswer(examination.run(), examination.notes)


def published_state(order_folder: Path) -> bytes:
    """Give bytes that change whenever the log's checkpoint or lock does."""
    state = b""
    for name in (CHECKPOINT, LOCK):
        try:
            state += sha256(read_file(order_folder / "log" / name)).digest()
        except Unreadable:
            state += bytes(32)
    return state


class _LogExamination:
    def __init__(self, task: LogTask) -> None:
        self._task, self._order = task, task.order
        self.notes = Notebook()
        self._state = published_state(task.folder)
        self._folder = LogFolder(task.folder / "log", task.order, self.notes, is_moving=task.is_moving)
        self._secrets_subject = f"order {task.order}, po/{task.order}/secrets"
        self._origin = ""
        self._keys: _Keys | None = None
        self._schemas: dict[bytes, Schema] = {}
        self._is_complete = True

    def run(self) -> LogFacts:
        """Make every check and return what the segments need."""
        for name in closed_folders(self._task.folder):
            self.notes.find("file.unreadable", f"order {self._order}, po/{self._order}/{name}", NOT_ENTERED)
        if self._is_unfinished():
            detail = "it was begun and its first entry was never committed: adding it again completes it"
            self.notes.remark("order.unfinished", f"order {self._order}", detail)
            return self._facts(LogRules(self._order, "", self._dimensions))
        data = self._folder.read(CHECKPOINT, NOTE_MAX_BYTES)
        note, point = self._parsed(data)
        self._folder.known.update((LOCK, f"{LOCK}-journal"))
        locked = self._locked()
        self._origin = self._origin_of(point, locked)
        self._check_origin(point)
        self._open_secrets()
        is_signed = note is not None and point is not None and self._check_signatures(note, point)
        if locked is not None:
            self._compare_lock(locked, point, data)
        reference = point if is_signed else self._other_reference(point, locked)
        size = size_on_disk(self._folder.path) if reference is None else reference.size
        published = PublishedLog(self._folder, size, None if reference is None else reference.root)
        self._is_complete = published.is_complete
        self._read_schemas()
        rules = self._check_entries(published)
        ShownCheck(self._folder, published, self._origin).run(rules.anchors, self._task.remembered)
        self._check_staging(locked)
        if locked is not None and point is not None and point.size < locked.size <= SIZE_MAX:
            published.allow(locked.size)
        for name in self._folder.strays(_EMPTY_FOLDERS):
            if not published.is_old_partial(name):
                self._folder.find("vault.stray", name, "no part of Scellé puts it there")
        return self._facts(rules)

    def _locked(self) -> Locked | None:
        """Read the lock, and again where another process changed it in between."""
        for _ in range(_LOOKS if self._task.is_moving else 0):
            aside = Notebook()
            locked = read_lock(self._folder.path, aside, self._folder.subject(LOCK))
            if locked is not None and not aside.findings:
                return locked
        return read_lock(self._folder.path, self.notes, self._folder.subject(LOCK))

    def _is_unfinished(self) -> bool:
        """Tell whether this is what a crash leaves of an order that was never begun: no log, no segment."""
        log = self._folder.path
        if is_there(log / CHECKPOINT) or names_in(log / "tile") or names_in(log.parent / "seg"):
            return False
        locked = read_lock(log, Notebook(), "")
        return not is_there(log / LOCK) or (locked is not None and locked.size == 0)

    # -- checkpoint and keys

    def _parsed(self, data: bytes | None) -> tuple[Note | None, Checkpoint | None]:
        if data is None:
            return None, None
        try:
            note = parse_note(data)
            point = parse_checkpoint_text(note.text)
        except FormatError as error:
            self._folder.find("log.checkpoint", CHECKPOINT, str(error))
            return None, None
        if point.size > SIZE_MAX:
            self._folder.find("log.checkpoint", CHECKPOINT, f"size {point.size} is larger than any log")
            return None, None
        return note, point

    def _origin_of(self, point: Checkpoint | None, locked: Locked | None) -> str:
        """Make the origin of the vault's host; where that is not known, believe who fits the order's secrets."""
        if self._task.host is not None:
            return f"{self._task.host}/po/{self._order}"
        points = (point, _noted(locked))
        claimed = Counter([each.origin for each in points if each is not None] + self._founded())
        ranked = [origin for origin, _ in claimed.most_common()]
        return next((origin for origin in ranked if self._fits(origin)), ranked[0] if ranked else "")

    def _check_origin(self, point: Checkpoint | None) -> None:
        if point is not None and point.origin != self._origin:
            self._folder.find("log.checkpoint", CHECKPOINT, f"it is of {point.origin}, not of {self._origin}")

    def _founded(self) -> list[str]:
        """Give the origin that the log's first entry makes, if it can be read."""
        try:
            names = files_below(self._folder.path / "tile" / "entries")
            first = read_file(self._folder.path / "tile" / "entries" / next(names))
            entry = parse_entry(first[2 : 2 + int.from_bytes(first[:2], "big")])
        except (Unreadable, FormatError, StopIteration):
            return []
        return [make_origin(entry.host, entry.order)] if isinstance(entry, Genesis) else []

    def _fits(self, origin: str) -> bool:
        try:
            OrderSecrets.opened(origin, read_file(self._task.folder / "secrets"), self._task.vault_key)
        except (Unreadable, WrongKey, ValueError, KeyError, TypeError):
            return False
        return True

    def _open_secrets(self) -> None:
        try:
            data = read_file(self._task.folder / "secrets", SECRETS_MAX_BYTES)
            self._keys = _Keys.of(OrderSecrets.opened(self._origin, data, self._task.vault_key))
        except Unreadable as error:
            detail = f"{error}; signatures and tags of this order were not checked"
            self.notes.find(error.code, self._secrets_subject, detail)
        except (WrongKey, ValueError, KeyError, TypeError) as error:
            detail = f"{error}; signatures and tags of this order were not checked"
            self.notes.find("order.secrets", self._secrets_subject, detail)

    def _check_signatures(self, note: Note, point: Checkpoint) -> bool:
        """Check both lines that a checkpoint must have (ledger.md §5); True where no keys are there to
        check by."""
        faults = [] if self._keys is None else list(_signature_faults(self._keys, note, point))
        for fault in faults:
            self._folder.find("log.signature", CHECKPOINT, fault)
        return not faults

    # -- lock

    def _compare_lock(self, locked: Locked, point: Checkpoint | None, published: bytes | None) -> None:
        """Compare the lock with the published checkpoint: they say the same when nothing is under way."""
        if point is None or (self._task.is_moving and locked.size > point.size):
            return  # said already: there is no checkpoint, or none that can be read; or one is on its way
        if locked.size > point.size:
            detail = (
                f"it is at size {locked.size}, the checkpoint at {point.size}: a command was interrupted (the "
                "next one completes it), or an older checkpoint was put back"
            )
        elif locked.size < point.size:
            detail = (
                f"it is at size {locked.size}, the checkpoint at {point.size}: an older lock was put back"
            )
        elif locked.root != point.root:
            detail = f"it has another root for size {locked.size} than the checkpoint"
        elif locked.note != published:
            detail = "the note in it is not the published checkpoint"
        else:
            return
        self._folder.find("log.lock", LOCK, detail)

    def _other_reference(self, point: Checkpoint | None, locked: Locked | None) -> Checkpoint | None:
        """Say what the entries must lead to where the checkpoint is damaged: what the lock says, if it can."""
        if locked is not None and 0 < locked.size <= SIZE_MAX:
            return Checkpoint(self._origin, locked.size, locked.root)
        return point

    # -- entries

    def _read_schemas(self) -> None:
        for name in names_in(self._folder.path / "schemas"):
            match = _SCHEMA_NAME.fullmatch(name)
            data = self._folder.read(f"schemas/{name}", SCHEMA_MAX_BYTES) if match is not None else None
            if match is None or data is None:
                continue  # named among the strays, or as unreadable
            try:
                digest = sha256(data).digest()
                if digest.hex() != match[1]:
                    raise FormatError("its SHA-256 is not its name")
                self._schemas[digest] = parse_schema(data)
            except FormatError as error:
                self._folder.find("log.schema", f"schemas/{name}", str(error))

    def _schema(self, digest: bytes) -> Schema | None:
        return self._schemas.get(digest) or built_in_schema(digest)

    def _dimensions(self, digest: bytes) -> int | None:
        schema = self._schema(digest)
        return None if schema is None else len(schema.dimensions)

    def _check_entries(self, published: PublishedLog) -> LogRules:
        rules = LogRules(self._order, self._origin, self._dimensions)
        for index, (data, leaf) in enumerate(zip(published.entries, published.leaves, strict=True)):
            entry = None if data is None else self._parsed_entry(index, data)
            if data is None or leaf is None or entry is None:
                rules.skip()
                continue
            for code, detail in rules.take(index, entry, data, leaf):
                self._folder.find_entry(code, index, detail)
        self._check_tag_key(rules)
        self._check_schemas(rules)
        return rules

    def _parsed_entry(self, index: int, data: bytes) -> Entry | None:
        try:
            return parse_entry(data)
        except FormatError as error:
            self._is_complete = False
            self._folder.find_entry("log.format", index, str(error))
            return None

    def _check_tag_key(self, rules: LogRules) -> None:
        keys = self._keys
        if rules.genesis is None or keys is None:
            return
        if rules.genesis.tagkey_sha256 != sha256(keys.tag_key).digest():
            detail = "the tag key in it is not the one whose SHA-256 stands in the log's first entry"
            self.notes.find("order.secrets", self._secrets_subject, detail)

    def _check_schemas(self, rules: LogRules) -> None:
        for digest in sorted({entry.schema for entry, _ in rules.manifests.values()}):
            name = f"schemas/{digest.hex()}.json"
            if not is_there(self._folder.path / name):
                self._folder.find("log.schema", name, "manifests name it, and it is not there")

    def _check_staging(self, locked: Locked | None) -> None:
        for name in names_in(self._folder.path / "staging"):
            if _STAGED_NAME.fullmatch(name) is None:
                continue  # named among the strays
            self._folder.known.add(f"staging/{name}")
            is_named = locked is not None and name == f"{locked.size}-{locked.root.hex()}"
            detail = (
                "the commit that it belongs to was interrupted: the next command completes it"
                if is_named
                else "no lock names it, a crash before the commit leaves one: the next command drops it"
            )
            self.notes.remark("log.staging", self._folder.subject(f"staging/{name}"), detail)

    def _facts(self, rules: LogRules) -> LogFacts:
        manifests = tuple((index, entry) for index, (entry, _) in sorted(rules.manifests.items()))
        next_numbers: dict[str, int] = {}
        for _, entry in manifests:
            next_numbers[entry.source] = max(next_numbers.get(entry.source, 0), entry.number + 1)
        digests = {entry.schema for _, entry in manifests} | set(self._schemas)
        known = ((digest, self._schema(digest)) for digest in digests)
        return LogFacts(
            order=self._order,
            origin=self._origin,
            tag_key=None if self._keys is None else self._keys.tag_key,
            manifests=manifests,
            schemas={digest: schema for digest, schema in known if schema is not None},
            next_numbers=next_numbers,
            is_complete=self._is_complete,
            state=self._state,
            is_released=rules.is_released,
            erased=tombstones(rules.erased),
        )


def _noted(locked: Locked | None) -> Checkpoint | None:
    """Read the checkpoint in the lock's note."""
    try:
        return (
            None
            if locked is None or locked.note is None
            else parse_checkpoint_text(parse_note(locked.note).text)
        )
    except FormatError:
        return None


def _signature_faults(keys: _Keys, note: Note, point: Checkpoint) -> Iterator[str]:
    for type_, what, public in (
        (ED25519, "Ed25519", keys.ed25519),
        (ML_DSA_44, "ML-DSA-44", keys.mldsa44),
    ):
        lines = note.signatures_of(make_vkey(keys.name, type_, public.public_bytes_raw()))
        if not lines:
            yield f"the {what} line of this order's key is missing"
        elif not _is_signed(public, lines[0], note, point):
            yield f"the {what} signature is wrong"


def _is_signed(
    public: Ed25519PublicKey | MLDSA44PublicKey, line: Signature, note: Note, point: Checkpoint
) -> bool:
    try:
        if isinstance(public, Ed25519PublicKey):
            public.verify(line.payload, note.text)
        else:
            time_s, signature = parse_timed_payload(line.payload, ML_DSA_SIGNATURE_BYTES)
            message = mldsa_message(line.name, point.origin, point.size, point.root, time_s)
            public.verify(signature, message)
    except (InvalidSignature, FormatError, ValueError):
        return False
    return True
