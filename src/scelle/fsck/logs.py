"""Judge the log of one order: checkpoint and signatures, entries, rules, tiles, lock, tokens, schemas.

Established for a log without findings: its entries are those under a checkpoint that both keys of the order signed,
each follows from the ones before it, and nothing that was shown to others says otherwise. Not established: that the
log was not rewritten by who has its keys after what was last shown to others (ledger.md §13).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import starmap
from pathlib import Path
from typing import Final

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
from scelle.formats.entries import Entry, Segment, parse_entry
from scelle.formats.notes import ED25519, ML_DSA_44, Note, Signature, make_vkey, parse_note
from scelle.formats.schema import SCHEMA_MAX_BYTES, Schema, parse_schema
from scelle.formats.tiles import TILE_WIDTH, bundles_for, entries_path, parse_bundle, tile_path
from scelle.formats.tokens import parse_origin
from scelle.fsck.chains import LogRules, anchor_faults
from scelle.fsck.files import Unreadable, files_below, is_there, names_in, read_file
from scelle.fsck.locks import Locked, read_lock
from scelle.fsck.model import Notebook
from scelle.fsck.segments import built_in_schema
from scelle.ledger.signing import OrderSecrets
from scelle.merkle.hashing import EMPTY_ROOT, HASH_BYTES, leaf_hash, tree_root
from scelle.merkle.tiles import new_tiles
from scelle.timestamps.queue import parse_pending
from scelle.timestamps.tokens import verify_token
from scelle.vault.keys import VaultKey

NOTE_MAX_BYTES: Final = 1 << 20
BUNDLE_MAX_BYTES: Final = 17 << 20
TOKEN_MAX_BYTES: Final = 1 << 20
SECRETS_MAX_BYTES: Final = 4096
SIZE_MAX: Final = 1 << 26
"""More entries than any log has; a damaged checkpoint must not make us look for more."""

_SHOWN_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,18})-([0-9a-f]{64})\.(json|tsr|note)")
_STAGED_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,18})-[0-9a-f]{64}")
_SCHEMA_NAME: Final = re.compile(r"([0-9a-f]{64})\.json")
_PARTIAL_NAME: Final = re.compile(r"(tile/.+\.p)/([1-9][0-9]{0,2})")
_ENTRY_START: Final = re.compile(rb"(?s)..(?=scelle/[a-z]+/v[0-9]+\n)")
_LOCK_NAMES: Final = ("lock.db", "lock.db-journal")


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What the segments of an order are judged against."""

    order: str
    origin: str
    tag_key: bytes | None
    size: int
    manifests: tuple[tuple[int, Segment], ...]
    schemas: dict[bytes, Schema]
    next_numbers: dict[str, int]
    is_complete: bool
    """False where an entry cannot be believed: then a segment may stand there without its manifest."""


@dataclass(slots=True)
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


class LogExamination:
    """Examine one order's log in the folder `po/<order>`; `remembered` is what its signer is known to have signed."""

    def __init__(
        self,
        folder: Path,
        order: str,
        host: str | None,
        vault_key: VaultKey,
        remembered: tuple[int, bytes] | None = None,
    ) -> None:
        self.order, self.notes = order, Notebook()
        self._folder, self._log, self._vault_key = folder, folder / "log", vault_key
        self._host, self._remembered = host, remembered
        self._origin = ""
        self._keys: _Keys | None = None
        self._known: set[str] = set()
        self._checkpoint: Checkpoint | None = None
        self._entries: list[bytes | None] = []
        self._leaves: list[bytes | None] = []
        self._schemas: dict[bytes, Schema] = {}
        self._is_complete = True

    def run(self) -> LogFacts:
        """Make every check and return what the segments need."""
        data = self._read("checkpoint", NOTE_MAX_BYTES)
        note = self._parsed_note(data)
        locked = read_lock(self._log, self.notes, self._subject("lock.db"))
        self._known.update(_LOCK_NAMES)
        self._checkpoint = self._point(note)
        self._origin = self._origin_of(self._checkpoint)
        self._open_secrets()
        if note is not None and self._checkpoint is not None:
            self._check_signatures("checkpoint", note, self._checkpoint)
            self._check_origin(self._checkpoint)
        self._compare_lock(locked, data)
        size, root = self._reference(locked)
        self._read_entries(size)
        self._check_root(root)
        self._read_schemas()
        rules = self._check_entries()
        self._check_anchors(rules)
        self._check_shown(locked)
        self._check_pending()
        self._check_staging(locked)
        self._check_strays()
        return self._facts(rules)

    # -- words

    def _subject(self, name: str) -> str:
        return f"order {self.order}, po/{self.order}/log/{name}"

    def _entry_subject(self, index: int) -> str:
        return f"order {self.order}, log entry {index}"

    def _read(self, name: str, limit: int) -> bytes | None:
        """Read a file of the log; note it where it is missing or unreadable."""
        self._known.add(name)
        try:
            return read_file(self._log / name, limit)
        except Unreadable as error:
            code = "file.missing" if error.is_missing else "file.unreadable"
            self.notes.find(code, self._subject(name), str(error))
            return None

    # -- checkpoint, keys, lock

    def _parsed_note(self, data: bytes | None) -> Note | None:
        if data is None:
            return None
        try:
            return parse_note(data)
        except FormatError as error:
            self.notes.find("log.checkpoint", self._subject("checkpoint"), str(error))
            return None

    def _point(self, note: Note | None) -> Checkpoint | None:
        if note is None:
            return None
        try:
            return parse_checkpoint_text(note.text)
        except FormatError as error:
            self.notes.find("log.checkpoint", self._subject("checkpoint"), str(error))
            return None

    def _origin_of(self, point: Checkpoint | None) -> str:
        """Make the origin of the vault's host; where that is not known, believe the checkpoint's for the rest."""
        if self._host is not None:
            return f"{self._host}/po/{self.order}"
        return "" if point is None else point.origin

    def _check_origin(self, point: Checkpoint) -> None:
        if point.origin != self._origin or parse_origin(point.origin)[1] != self.order:
            detail = f"it is a checkpoint of {point.origin}, not of {self._origin}"
            self.notes.find("log.checkpoint", self._subject("checkpoint"), detail)

    def _open_secrets(self) -> None:
        subject = f"order {self.order}, po/{self.order}/secrets"
        try:
            data = read_file(self._folder / "secrets", SECRETS_MAX_BYTES)
            self._keys = _Keys.of(OrderSecrets.opened(self._origin, data, self._vault_key))
        except Unreadable as error:
            self.notes.find("file.missing" if error.is_missing else "file.unreadable", subject, str(error))
        except (WrongKey, ValueError, KeyError, TypeError) as error:
            detail = f"{error}; signatures and tags of this order were not checked"
            self.notes.find("order.secrets", subject, detail)

    def _check_signatures(self, name: str, note: Note, point: Checkpoint) -> None:
        """Check both lines that a checkpoint must have (ledger.md §5)."""
        keys = self._keys
        if keys is None:
            return
        for type_, public in ((ED25519, keys.ed25519), (ML_DSA_44, keys.mldsa44)):
            key = make_vkey(keys.name, type_, public.public_bytes_raw())
            what = "Ed25519" if type_ == ED25519 else "ML-DSA-44"
            lines = note.signatures_of(key)
            if not lines:
                self.notes.find(
                    "log.signature", self._subject(name), f"the {what} line of this order's key is missing"
                )
            elif not _is_signed(public, lines[0], note, point):
                self.notes.find("log.signature", self._subject(name), f"the {what} signature is wrong")

    def _compare_lock(self, locked: Locked | None, published: bytes | None) -> None:
        """Compare the lock with the published checkpoint: they say the same when nothing is under way."""
        if locked is None:
            return
        point, subject = self._checkpoint, self._subject("lock.db")
        if point is None:
            if published is None and locked.size == 0:
                return  # an order whose genesis was never committed: said by the missing checkpoint
        elif locked.size > point.size:
            detail = (
                f"it is at size {locked.size}, the published checkpoint at {point.size}: a command was interrupted "
                "(the next one completes it), or an older checkpoint was put back"
            )
            self.notes.find("log.lock", subject, detail)
        elif locked.size < point.size:
            detail = f"it is at size {locked.size}, the published checkpoint at {point.size}: an older lock was put back"
            self.notes.find("log.lock", subject, detail)
        elif locked.root != point.root:
            self.notes.find(
                "log.lock", subject, f"it has another root for size {locked.size} than the checkpoint"
            )
        elif locked.note is None or (published is not None and locked.note != published):
            self.notes.find("log.lock", subject, "the note in it is not the published one")

    def _reference(self, locked: Locked | None) -> tuple[int, bytes | None]:
        """Say which size and root the entries must lead to: the checkpoint's, else the lock's."""
        if self._checkpoint is not None:
            size, root = self._checkpoint.size, self._checkpoint.root
        elif locked is not None:
            size, root = locked.size, locked.root
        else:
            return self._size_on_disk(), None
        if size <= SIZE_MAX:
            return size, root
        self.notes.find("log.checkpoint", self._subject("checkpoint"), f"size {size} is larger than any log")
        return self._size_on_disk(), None

    def _size_on_disk(self) -> int:
        """Count the entries that lie there, where nothing that can be read says how many there must be."""
        size = 0
        while (self._log / "tile" / "entries" / entries_path(size // TILE_WIDTH)).is_file():
            size += TILE_WIDTH
        widths = names_in(self._log / "tile" / "entries" / (entries_path(size // TILE_WIDTH) + ".p"))
        return size + max(
            (int(width) for width in widths if width.isdecimal() and int(width) < TILE_WIDTH), default=0
        )

    # -- entries and tiles

    def _read_entries(self, size: int) -> None:
        for index, width in bundles_for(size):
            data = self._bundle(index, width)
            entries = [None] * width if data is None else self._split(index, width, data)
            self._entries += entries
        self._leaves = [None if data is None else leaf_hash(data) for data in self._entries]

    def _bundle(self, index: int, width: int) -> bytes | None:
        """Read a bundle, or a wider one that has replaced it while another process writes."""
        name = f"tile/entries/{entries_path(index, width)}"
        if width < TILE_WIDTH and not is_there(self._log / name):
            for wider in range(width + 1, TILE_WIDTH + 1):
                other = f"tile/entries/{entries_path(index, wider)}"
                if is_there(self._log / other):
                    self._known.add(name)
                    name = other
                    break
        return self._read(name, BUNDLE_MAX_BYTES)

    def _split(self, index: int, width: int, data: bytes) -> list[bytes | None]:
        """Take a bundle apart; where a length is wrong, find the entries again by their first lines."""
        subject = self._subject(f"tile/entries/{entries_path(index, width)}")
        try:
            entries = parse_bundle(data)
            if len(entries) >= width:
                return list(entries[:width])
            self.notes.find("log.entries", subject, f"it has {len(entries)} entries, must have {width}")
        except FormatError as error:
            self.notes.find("log.entries", subject, str(error))
            starts = [match.end() for match in _ENTRY_START.finditer(data)]
            entries = [
                data[start : end - 2] if end < len(data) + 2 else data[start:]
                for start, end in zip(starts, [*starts[1:], len(data) + 2], strict=True)
            ]
        self._is_complete = False
        found: list[bytes | None] = list(entries[:width])
        return found + [None] * (width - len(found))

    def _check_root(self, root: bytes | None) -> None:
        """Find out which entries, or which tiles, are not as they were: the root decides."""
        stored = self._stored_leaves()
        if None not in self._leaves and (root is None or self._own_root() == root):
            self._check_tiles()
            return
        if root is not None and all(stored) and tree_root(b"".join(map(bytes, filter(None, stored)))) == root:
            self._name_entries(stored)
            return
        self._is_complete = False
        size = len(self._entries)
        detail = (
            f"its {size} entries do not lead to the checkpoint's root, nor do its tiles: both were changed"
        )
        self.notes.find("log.root", f"order {self.order}, log", detail)
        for index, (own, kept) in enumerate(zip(self._leaves, stored, strict=True)):
            if own is None:
                self.notes.find("log.entry", self._entry_subject(index), "it cannot be read")
            elif kept is not None and own != kept:
                detail = (
                    "it has another leaf hash than the tile says; which of the two is right cannot be told"
                )
                self.notes.find("log.entry", self._entry_subject(index), detail)

    def _own_root(self) -> bytes:
        return tree_root(b"".join(leaf for leaf in self._leaves if leaf is not None))

    def _stored_leaves(self) -> list[bytes | None]:
        """Read the leaf hashes from the tiles of level 0, as far as they are there."""
        leaves: list[bytes | None] = []
        for index, width in bundles_for(len(self._entries)):
            try:
                data = read_file(self._log / tile_path(0, index, width), TILE_WIDTH * HASH_BYTES)
            except Unreadable:
                data = b""
            hashes = [data[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]
            leaves += [each if len(each) == HASH_BYTES else None for each in hashes]
        return leaves

    def _name_entries(self, stored: Sequence[bytes | None]) -> None:
        """Name the entries that are not those under the root, and go on with the true leaf hashes."""
        for index, (own, kept) in enumerate(zip(self._leaves, stored, strict=True)):
            if own != kept:
                self._is_complete = False
                detail = (
                    "it cannot be read" if own is None else "it is not the entry under the checkpoint's root"
                )
                self.notes.find("log.entry", self._entry_subject(index), detail)
                self._entries[index] = None
        self._leaves = list(stored)
        self._check_tiles()

    def _check_tiles(self) -> None:
        flat = b"".join(leaf for leaf in self._leaves if leaf is not None)
        for name, wanted in new_tiles(0, flat, lambda path: b"").items():
            data = self._read(name, TILE_WIDTH * HASH_BYTES)
            if data is not None and data != wanted:
                self.notes.find("log.tile", self._subject(name), "it is not what the entries give")

    # -- rules

    def _read_schemas(self) -> None:
        for name in names_in(self._log / "schemas"):
            match = _SCHEMA_NAME.fullmatch(name)
            if match is None:
                continue  # named among the strays
            data = self._read(f"schemas/{name}", SCHEMA_MAX_BYTES)
            if data is None:
                continue
            digest = sha256(data).digest()
            if digest.hex() != match[1]:
                self.notes.find("log.schema", self._subject(f"schemas/{name}"), "its SHA-256 is not its name")
                continue
            try:
                self._schemas[digest] = parse_schema(data)
            except FormatError as error:
                self.notes.find("log.schema", self._subject(f"schemas/{name}"), str(error))

    def _schema(self, digest: bytes) -> Schema | None:
        return self._schemas.get(digest) or built_in_schema(digest)

    def _dimensions(self, digest: bytes) -> int | None:
        schema = self._schema(digest)
        return None if schema is None else len(schema.dimensions)

    def _check_entries(self) -> LogRules:
        rules = LogRules(self.order, self._origin, self._dimensions)
        for index, (data, leaf) in enumerate(zip(self._entries, self._leaves, strict=True)):
            entry = self._parsed_entry(index, data)
            if data is None or leaf is None or entry is None:
                rules.skip()
                continue
            for code, detail in rules.take(index, entry, data, leaf):
                self.notes.find(code, self._entry_subject(index), detail)
        self._check_genesis(rules)
        for digest in sorted({entry.schema for entry, _ in rules.manifests.values()}):
            name = f"schemas/{digest.hex()}.json"
            if not is_there(self._log / name):
                self._known.add(name)
                self.notes.find("log.schema", self._subject(name), "manifests name it, and it is not there")
        return rules

    def _parsed_entry(self, index: int, data: bytes | None) -> Entry | None:
        if data is None:
            return None
        try:
            return parse_entry(data)
        except FormatError as error:
            self._is_complete = False
            self.notes.find("log.format", self._entry_subject(index), str(error))
            return None

    def _check_genesis(self, rules: LogRules) -> None:
        genesis, keys = rules.genesis, self._keys
        if genesis is None or keys is None:
            return
        if genesis.tagkey_sha256 != sha256(keys.tag_key).digest():
            detail = "the tag key in them is not the one whose SHA-256 stands in the log's first entry"
            self.notes.find("order.secrets", f"order {self.order}, po/{self.order}/secrets", detail)

    # -- what others hold

    def _check_shown(self, locked: Locked | None) -> None:
        """Compare with the log every (size, root) that was shown to others, or signed before."""
        for folder in ("escrow", "tokens"):
            for name in names_in(self._log / folder):
                match = _SHOWN_NAME.fullmatch(name)
                if match is None:
                    continue
                self._compare_shown(f"{folder}/{name}", int(match[1]), bytes.fromhex(match[2]))
                if match[3] == "json":
                    self._check_statement(f"{folder}/{name}")
                elif match[3] == "note":
                    self._check_held_note(f"{folder}/{name}")
        if self._remembered is not None:
            self._compare_shown("", *self._remembered)

    def _compare_shown(self, name: str, size: int, root: bytes) -> None:
        subject = self._subject(name) if name else f"order {self.order}, log"
        who = "it" if name else "the signer's memory, outside the vault,"
        if size > len(self._leaves):
            detail = (
                f"{who} speaks of size {size}, the log has {len(self._leaves)}: an older state was put back"
            )
            self.notes.find("log.behind", subject, detail)
            return
        prefix = self._leaves[:size]
        if None not in prefix and tree_root(b"".join(leaf for leaf in prefix if leaf is not None)) != root:
            code = "log.escrow" if name else "log.behind"
            self.notes.find(code, subject, f"{who} has another root for size {size}: the log was rewritten")

    def _check_statement(self, name: str) -> None:
        """Read the note of when a checkpoint was shown, and how: nothing proves what it says."""
        data = self._read(name, NOTE_MAX_BYTES)
        if data is None:
            return
        try:
            said = json.loads(data)
            is_right = isinstance(said["at_us"], int) and isinstance(said["how"], str) and len(said) == 2
        except (ValueError, TypeError, KeyError, RecursionError):
            is_right = False
        if not is_right:
            self.notes.find("log.escrow", self._subject(name), "it does not say when and how it was shown")

    def _check_held_note(self, name: str) -> None:
        data = self._read(name, NOTE_MAX_BYTES)
        if data is None:
            return
        try:
            note = parse_note(data)
            point = parse_checkpoint_text(note.text)
        except FormatError as error:
            self.notes.find("log.escrow", self._subject(name), str(error))
            return
        self._check_signatures(name, note, point)
        self._compare_shown(name, point.size, point.root)

    def _check_anchors(self, rules: LogRules) -> None:
        """Compare each token's digest with the checkpoint that its name gives, and each anchor with the tokens."""
        tokens: dict[bytes, int | None] = {}
        checked = 0
        for name in names_in(self._log / "tokens"):
            match = _SHOWN_NAME.fullmatch(name)
            if match is None or match[3] != "tsr":
                continue
            data = self._read(f"tokens/{name}", TOKEN_MAX_BYTES)
            if data is None:
                continue
            tokens[sha256(data).digest()] = int(match[1])
            checked += 1
            text = Checkpoint(self._origin, int(match[1]), bytes.fromhex(match[2])).text()
            for problem in verify_token(data, text, None).problems:
                detail = f"{problem.code}: {problem.detail}"
                self.notes.find("log.token", self._subject(f"tokens/{name}"), detail)
        if checked:
            self.notes.remark("log.token", f"order {self.order}", f"{checked} tokens")
        for index, detail in anchor_faults(rules.anchors, tokens):
            self.notes.find("log.anchor", self._entry_subject(index), detail)

    def _check_pending(self) -> None:
        for name in names_in(self._log / "tokens" / "pending"):
            if name.endswith(".tmp"):
                continue
            data = self._read(f"tokens/pending/{name}", NOTE_MAX_BYTES)
            if data is None:
                continue
            try:
                pending = parse_pending(data)
                if pending.file_name != name:
                    raise FormatError("it stands under another name than its text's digest")
                point = parse_checkpoint_text(pending.text)
            except FormatError as error:
                self.notes.find("log.token", self._subject(f"tokens/pending/{name}"), str(error))
                continue
            self._compare_shown(f"tokens/pending/{name}", point.size, point.root)

    # -- the rest of the folder

    def _check_staging(self, locked: Locked | None) -> None:
        for name in names_in(self._log / "staging"):
            if _STAGED_NAME.fullmatch(name) is None:
                continue  # named among the strays
            self._known.add(f"staging/{name}")
            if locked is None or name != f"{locked.size}-{locked.root.hex()}":
                detail = "no lock names it: a crash before the commit leaves one"
                self.notes.remark("log.staging", self._subject(f"staging/{name}"), detail)
            else:
                detail = "the commit that it belongs to was interrupted; the next command completes it"
                self.notes.remark("log.staging", self._subject(f"staging/{name}"), detail)

    def _check_strays(self) -> None:
        for name in files_below(self._log):
            if name in self._known or name in (
                "staging/",
                "tokens/",
                "tokens/pending/",
                "escrow/",
                "schemas/",
            ):
                continue
            if name.endswith(".tmp"):
                self.notes.remark("vault.leftover", self._subject(name), "an interrupted write left it")
            elif not self._is_old_partial(name):
                self.notes.find("vault.stray", self._subject(name), "no part of Scellé puts it there")

    def _is_old_partial(self, name: str) -> bool:
        """Tell whether it is a narrower tile or bundle that a crash left: a prefix of the present one."""
        match = _PARTIAL_NAME.fullmatch(name)
        if match is None:
            return False
        wider = [
            other
            for other in self._known
            if other == match[1].removesuffix(".p") or other.startswith(match[1] + "/")
        ]
        try:
            data = read_file(self._log / name, BUNDLE_MAX_BYTES)
            return any(read_file(self._log / other, BUNDLE_MAX_BYTES).startswith(data) for other in wider)
        except Unreadable:
            return False

    def _facts(self, rules: LogRules) -> LogFacts:
        manifests = tuple((index, entry) for index, (entry, _) in sorted(rules.manifests.items()))
        next_numbers: dict[str, int] = {}
        for _, entry in manifests:
            next_numbers[entry.source] = max(next_numbers.get(entry.source, 0), entry.number + 1)
        digests = {entry.schema for _, entry in manifests} | set(self._schemas)
        found = ((digest, self._schema(digest)) for digest in digests)
        return LogFacts(
            order=self.order,
            origin=self._origin,
            tag_key=None if self._keys is None else self._keys.tag_key,
            size=len(self._entries),
            manifests=manifests,
            schemas={digest: schema for digest, schema in found if schema is not None},
            next_numbers=next_numbers,
            is_complete=self._is_complete,
        )


def _is_signed(
    public: Ed25519PublicKey | MLDSA44PublicKey, line: Signature, note: Note, point: Checkpoint
) -> bool:
    try:
        if isinstance(public, Ed25519PublicKey):
            public.verify(line.payload, note.text)
        else:
            time_s, signature = parse_timed_payload(line.payload, ML_DSA_SIGNATURE_BYTES)
            public.verify(signature, mldsa_message(line.name, point.origin, point.size, point.root, time_s))
    except (InvalidSignature, FormatError, ValueError):
        return False
    return True
