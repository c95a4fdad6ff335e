"""Keep the log of one order on disk: sequence, commit, sign, publish, recover (ledger.md §9).

``lock.db`` holds the one fact that decides: the size and root that were committed, and the note that was
signed over them. Whatever is not locked is never signed; whatever is signed is never signed again.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scelle.errors import LogBehind, LogBusy, LogDamaged
from scelle.formats.checkpoints import Checkpoint, parse_checkpoint_text
from scelle.formats.notes import parse_note
from scelle.formats.tiles import bundles_for, encode_bundle, entries_path, parse_bundle
from scelle.ledger.signing import Signer
from scelle.merkle.hashing import EMPTY_ROOT, leaf_hash, tree_root
from scelle.merkle.tiles import new_tiles
from scelle.vault import durable

_BUNDLE = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS lock (
  id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, root BLOB NOT NULL,
  time_s INTEGER NOT NULL, note BLOB
) STRICT;
INSERT OR IGNORE INTO lock VALUES (1, 0, x'{empty}', 0, NULL);
"""


@dataclass(frozen=True, slots=True)
class Locked:
    """The committed state: what may be signed, and what was."""

    size: int
    root: bytes
    time_s: int
    note: bytes | None


class LogReader:
    """Read the published log: the checkpoint and every entry it covers."""

    def __init__(self, folder: Path, origin: str) -> None:
        self.folder, self.origin = folder, origin
        self.entries: list[bytes] = []
        self.leaves = bytearray()
        self.note = b""
        self.refresh()

    @property
    def size(self) -> int:
        """Count the entries."""
        return len(self.entries)

    @property
    def root(self) -> bytes:
        """Return the root of the entries read."""
        return tree_root(bytes(self.leaves))

    def refresh(self) -> None:
        """Read what was published; raise `LogDamaged` when it does not lead to the checkpoint's root.

        Another process may commit meanwhile, and remove the partial bundle that a wider one replaces: what is
        missing is damage only while the checkpoint that asks for it still stands.
        """
        path = self.folder / "checkpoint"
        if not path.exists():
            return
        while True:
            self.note = path.read_bytes()
            try:
                self._read_up_to(parse_checkpoint_text(parse_note(self.note).text))
            except LogDamaged:
                if path.read_bytes() == self.note:
                    raise
            else:
                return

    def _read_up_to(self, checkpoint: Checkpoint) -> None:
        if checkpoint.origin != self.origin:
            raise LogDamaged(
                f"{self.folder / 'checkpoint'}: origin is {checkpoint.origin}, not {self.origin}"
            )
        self._extend_to(checkpoint.size)
        if self.size != checkpoint.size or self.root != checkpoint.root:
            raise LogDamaged(
                f"{self.folder}: its {checkpoint.size} entries do not lead to the checkpoint's root"
            )

    def _extend(self, entries: Sequence[bytes]) -> None:
        for data in entries:
            self.entries.append(data)
            self.leaves += leaf_hash(data)

    def _extend_to(self, size: int) -> None:
        """Read the entries from the first that is not known to `size`, bundle by bundle."""
        for index, width in bundles_for(size):
            start = index * _BUNDLE
            if start + width <= self.size:
                continue
            path = self.folder / "tile" / "entries" / entries_path(index, width)
            full = self.folder / "tile" / "entries" / entries_path(index, _BUNDLE)
            try:
                data = (path if path.exists() else full).read_bytes()
            except OSError as error:
                raise LogDamaged(f"{path}: the entries from {start} on are missing") from error
            bundle = parse_bundle(data)[:width]
            if len(bundle) != width:
                raise LogDamaged(f"{path}: {len(bundle)} entries, but the checkpoint says {width}")
            self._extend(bundle[self.size - start :])


def _connect(path: Path) -> sqlite3.Connection:
    with _lock_errors(path):
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.executescript("BEGIN;" + _SCHEMA.format(empty=EMPTY_ROOT.hex()))
            durable.commit(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def _lock_errors(path: Path) -> Iterator[None]:
    """Say in Scellé's words what SQLite raises over the lock."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LogBusy(f"{path}: another process uses the log: run the command again") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise LogDamaged(f"{path} is damaged ({error}): restore it from a copy of the vault") from error
        raise durable.sqlite_failure(path, error) from error


def bring_lock_forward(folder: Path, signer: Signer) -> tuple[int, int]:
    """Set a lock that fell behind (a restored snapshot of it) to the published checkpoint; return both sizes.

    Nothing is signed and nothing is forked: the published entries must lead to a checkpoint that this order's
    key signed. Raises `LogDamaged` where they do not: then the log must come back from escrow. The caller
    records the gap.
    """
    published = LogReader(folder, signer.ed25519_key.name)
    if published.size and not signer.has_signed(parse_note(published.note)):
        raise LogDamaged(f"{folder / 'checkpoint'}: not signed by this order's key: restore it from escrow")
    path = folder / "lock.db"
    connection = _connect(path)
    try:
        with _lock_errors(path):
            old_size = int(connection.execute("SELECT size FROM lock").fetchone()[0])
            if published.size > old_size:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(
                    "UPDATE lock SET size = ?, root = ?, time_s = 0, note = ?",
                    (published.size, published.root, published.note),
                )
                durable.commit(connection, path)
        return old_size, max(old_size, published.size)
    finally:
        connection.close()


class LogWriter(LogReader):
    """Append to the log. One writer at a time: the caller holds the vault's writer lock.

    `remembers` returns the largest (size, root) that the signer is known to have signed, kept outside the
    vault; `remember` is told after each signature.
    """

    def __init__(
        self,
        folder: Path,
        signer: Signer,
        *,
        remembers: Callable[[str], tuple[int, bytes] | None] = lambda origin: None,
        remember: Callable[[str, int, bytes], None] = lambda origin, size, root: None,
    ) -> None:
        self._signer = signer
        self._remembers, self._remember = remembers, remember
        durable.make_directory(folder / "staging")
        self._lock_path = folder / "lock.db"
        self._connection = _connect(self._lock_path)
        super().__init__(folder, signer.ed25519_key.name)

    def close(self) -> None:
        """Close the lock's database."""
        self._connection.close()

    def refresh(self) -> None:
        """Recover, then read what is published."""
        self._recover()
        super().refresh()

    def locked(self) -> Locked:
        """Return the committed state."""
        with _lock_errors(self._lock_path):
            row = self._connection.execute("SELECT size, root, time_s, note FROM lock").fetchone()
        return Locked(*row)

    def commit(self, entries: Sequence[bytes], now_us: int) -> bytes:
        """Append `entries` and return the signed checkpoint note that covers them.

        Atomic in batches of 256 entries: a crash before the commit point leaves the log as it was; after it,
        recovery completes the same commit. Idempotent only through recovery. `now_us` dates the ML-DSA
        signature line.
        """
        for start in range(0, len(entries), _BUNDLE):
            self._commit_batch(entries[start : start + _BUNDLE], now_us)
        return self.note

    def _commit_batch(self, entries: Sequence[bytes], now_us: int) -> None:
        old = self.locked()
        leaves = bytes(self.leaves) + b"".join(leaf_hash(data) for data in entries)
        size, root, time_s = old.size + len(entries), tree_root(leaves), max(0, now_us // 1_000_000)
        # A crash here leaves a staged file that no lock names: recovery drops it.
        durable.write_file(self._staging(size, root), encode_bundle(entries))
        self._execute("BEGIN IMMEDIATE")
        moved = self._execute(
            "UPDATE lock SET size = ?, root = ?, time_s = ?, note = NULL WHERE size = ? AND root = ?",
            (size, root, time_s, old.size, old.root),
        )
        if moved.rowcount != 1:
            self._execute("ROLLBACK")
            raise LogBusy(f"{self._lock_path}: another writer moved the log: run the command again")
        durable.commit(self._connection, self._lock_path)  # the commit point
        self._complete()

    def _execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        with _lock_errors(self._lock_path):
            return self._connection.execute(sql, tuple(values))

    def _staging(self, size: int, root: bytes) -> Path:
        return self.folder / "staging" / f"{size}-{root.hex()}"

    def _complete(self) -> None:
        """Sign the locked body if it has no note, apply its staged entries, publish, clean up.

        Every step may be repeated after a crash; the signature is the only one that is not, because its note
        is in the lock before anything is published.
        """
        locked = self.locked()
        note = locked.note
        if note is None:
            body = Checkpoint(self.origin, locked.size, locked.root)
            note = self._signer.sign_checkpoint(body, max(0, locked.time_s))
            self._execute("BEGIN IMMEDIATE")
            self._execute("UPDATE lock SET note = ? WHERE size = ? AND note IS NULL", (note, locked.size))
            durable.commit(self._connection, self._lock_path)
        self._remember(self.origin, locked.size, locked.root)
        staged = self._staging(locked.size, locked.root)
        if staged.exists():
            self._apply(parse_bundle(staged.read_bytes()), locked)
        self.note = note
        durable.write_file(self.folder / "checkpoint", note, mode=0o644)
        self._drop_partials()
        for leftover in sorted((self.folder / "staging").iterdir()):
            durable.remove(leftover)

    def _apply(self, staged: list[bytes], locked: Locked) -> None:
        """Write the entry bundles and tiles that the staged entries touch."""
        old_size = locked.size - len(staged)
        if self.size < locked.size:
            self._extend(staged[max(0, self.size - old_size) :])
        if self.size != locked.size or self.root != locked.root:
            raise LogDamaged(f"{self.folder}: the staged entries do not lead to the locked root")
        for index, width in bundles_for(locked.size):
            if (index + 1) * _BUNDLE > old_size:
                self._write(
                    Path("tile/entries") / entries_path(index, width),
                    encode_bundle(self.entries[index * _BUNDLE : index * _BUNDLE + width]),
                )
        tiles = new_tiles(old_size, bytes(self.leaves[32 * old_size :]), self._read_tile)
        for path, data in tiles.items():
            self._write(Path(path), data)

    def _read_tile(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def _write(self, path: Path, data: bytes) -> None:
        target = self.folder / path
        durable.make_directory(target.parent)
        durable.write_file(target, data, mode=0o644)

    def _drop_partials(self) -> None:
        """Remove partial tiles and bundles that a wider one has replaced; a crash leaves some, harmless."""
        for directory in sorted((self.folder / "tile").rglob("*.p")):
            widths = sorted(directory.iterdir(), key=lambda path: int(path.name))
            full = directory.with_suffix("").exists()
            for stale in widths if full else widths[:-1]:
                durable.remove(stale)

    def _recover(self) -> None:
        """Bring everything to the locked state; refuse when the lock is behind what was already shown."""
        locked = self.locked()
        for what, size, root in self._shown():
            if size > locked.size or (size == locked.size and root != locked.root):
                raise LogBehind(
                    f"{self._lock_path}: the lock is at size {locked.size}, but {what} shows size {size}: a "
                    "snapshot was restored; run `scelle recover` before anything is written"
                )
        if locked.size == 0:
            return
        published = self._published_checkpoint()
        if published is not None:
            self._extend_to(published.size)
        if locked.note is None or published is None or published.size != locked.size:
            self._complete()

    def _published_checkpoint(self) -> Checkpoint | None:
        path = self.folder / "checkpoint"
        return parse_checkpoint_text(parse_note(path.read_bytes()).text) if path.exists() else None

    def _shown(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield every (size, root) that left this machine or was published."""
        published = self._published_checkpoint()
        if published is not None:
            yield "the published checkpoint", published.size, published.root
        for name in ("escrow", "tokens"):
            for path in sorted((self.folder / name).glob("*-*.json")):
                size, root = path.stem.split("-")
                yield f"{name}/{path.name}", int(size), bytes.fromhex(root)
        remembered = self._remembers(self.origin)
        if remembered is not None:
            yield "the signer's memory", *remembered
