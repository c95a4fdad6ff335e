"""Show checkpoints to others: escrow folders and time-stamp tokens; say since when nobody saw the log.

Until somebody else holds a checkpoint, who has the log's keys could rewrite what follows the last one that
was shown (ledger.md §5, §13). `rewritable_since` gives that moment.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scelle.errors import EscrowInconsistent, FormatError, LogDamaged, StorageFailed, TimestampUnavailable
from scelle.formats.checkpoints import Checkpoint, parse_checkpoint_text
from scelle.formats.notes import parse_note
from scelle.formats.tiles import bundles_for, encode_bundle, entries_path
from scelle.ledger.log import LogReader
from scelle.merkle.hashing import tree_root
from scelle.vault import durable

if TYPE_CHECKING:
    from scelle.timestamps.interfaces import TimestampAuthority
    from scelle.timestamps.queue import Pending

DAY_US = 86_400 * 1_000_000
_STAMPED = "time-stamp token"
_ESCROW = "escrow "
_AND = f" and {_ESCROW}"
"""Folders may have "and" in their names; what follows here is another folder."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One checkpoint that somebody else holds: its size, root, when it was shown (microseconds) and how.

    `is_token` tells a time-stamp from a deposit, whatever `how` says for people.
    """

    size: int
    root: bytes
    at_us: int
    how: str
    is_token: bool


def _statement(path: Path) -> tuple[int, str]:
    """Read when and how a checkpoint was shown; raise `LogDamaged` where the file does not say it.

    A file that cannot be read may well say it: `StorageFailed`, and nobody is told to remove it.
    """
    try:
        known = json.loads(path.read_bytes())
        return int(known["at_us"]), str(known["how"])
    except OSError as error:
        raise StorageFailed(
            f"{path}: {error.strerror}: check the disk, and give back the right to read it"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise LogDamaged(
            f"{path}: does not say when and how the checkpoint was shown: remove it, and deposit again"
        ) from error


class Witnesses:
    """Deposit checkpoints of one log in escrow, and have them time-stamped."""

    def __init__(self, log: LogReader) -> None:
        self._log = log
        self._escrow = log.folder / "escrow"
        self._tokens = log.folder / "tokens"

    def deposit(self, directory: Path, now_us: int) -> Checkpoint:
        """Put the published checkpoint and all entries it covers into `directory`.

        Idempotent. Raises `EscrowInconsistent` when what lies there is not a prefix of this log. A crash
        leaves entries that no checkpoint there covers yet.
        """
        checkpoint = parse_checkpoint_text(parse_note(self._log.note).text)
        target = directory / self._log.origin.replace("/", "_")
        self._check_prefix(target, checkpoint)
        with durable.elsewhere():
            self._put(target, checkpoint)
        self._remember(self._escrow, checkpoint, now_us, str(directory))
        return checkpoint

    def _put(self, target: Path, checkpoint: Checkpoint) -> None:
        durable.make_directory(target)
        for index, width in bundles_for(checkpoint.size):
            place = target / "entries" / entries_path(index, width)
            if not place.exists():
                durable.make_directory(place.parent)
                start = index * 256
                durable.write_file(place, encode_bundle(self._log.entries[start : start + width]), mode=0o644)
        durable.write_file(target / f"checkpoint.{checkpoint.size}", self._log.note, mode=0o644)
        durable.write_file(target / "checkpoint", self._log.note, mode=0o644)

    def _check_prefix(self, target: Path, checkpoint: Checkpoint) -> None:
        for path in sorted(target.glob("checkpoint*")):
            try:
                held = parse_checkpoint_text(parse_note(path.read_bytes()).text)
            except FormatError as error:
                raise EscrowInconsistent(f"{path}: no checkpoint can be read from it ({error})") from error
            prefix = tree_root(bytes(self._log.leaves[: 32 * held.size]))
            if held.size > checkpoint.size or held.root != prefix or held.origin != checkpoint.origin:
                raise EscrowInconsistent(
                    f"{path}: the checkpoint of size {held.size} held there is no prefix of this log (size "
                    f"{checkpoint.size}): do not continue before you know why"
                )

    def _remember(self, folder: Path, checkpoint: Checkpoint, at_us: int, place: str) -> None:
        """Keep when a checkpoint was put in escrow first, and every folder where it is."""
        path = folder / f"{checkpoint.size}-{checkpoint.root.hex()}.json"
        how = f"{_ESCROW}{place}"
        if path.exists():
            first_us, known = _statement(path)
            if f" and {how}{_AND}" in f" and {known}{_AND}":
                return
            at_us, how = first_us, f"{known}{_AND}{place}"
        durable.make_directory(folder)
        durable.write_file(path, json.dumps({"at_us": at_us, "how": how}).encode() + b"\n")

    def want_token(self, reason: str, now_us: int) -> None:
        """Queue a token over the published checkpoint; idempotent for the same checkpoint."""
        from scelle.timestamps.queue import Pending  # start-up time: needs ASN.1

        text = parse_note(self._log.note).text
        pending = Pending(text, reason, now_us)
        size = parse_checkpoint_text(text).size
        path = self._tokens / "pending" / pending.file_name
        if not path.exists() and not list(self._tokens.glob(f"{size}-*.tsr")):
            durable.make_directory(path.parent)
            durable.write_file(path, pending.encode())

    def pending(self) -> "list[Pending]":
        """List the tokens still to be had, oldest first."""
        paths = list((self._tokens / "pending").glob("*.json"))
        if not paths:
            return []
        from scelle.timestamps.queue import parse_pending  # start-up time: needs ASN.1

        return sorted((parse_pending(path.read_bytes()) for path in paths), key=lambda each: each.since_us)

    def fetch_tokens(self, authority: "TimestampAuthority", now_us: int) -> tuple[int, str | None]:
        """Ask for every queued token; return how many came, and why the rest did not.

        A crash after the answer and before it is kept asks again: two tokens over one text do no harm.
        """
        from scelle.timestamps.queue import submit  # start-up time: needs ASN.1

        fetched = 0
        for pending in self.pending():
            try:
                raw = submit(pending, authority)
            except TimestampUnavailable as error:
                return fetched, str(error)
            shown = parse_checkpoint_text(pending.text)
            name = f"{shown.size}-{shown.root.hex()}"
            durable.write_file(self._tokens / f"{name}.tsr", raw, mode=0o644)
            how = json.dumps({"at_us": now_us, "how": _STAMPED})
            durable.write_file(self._tokens / f"{name}.json", how.encode() + b"\n")
            durable.remove(self._tokens / "pending" / pending.file_name)
            fetched += 1
        return fetched, None

    def shown(self) -> Iterator[Shown]:
        """Yield every checkpoint that somebody else is known to hold."""
        for folder in (self._escrow, self._tokens):
            for path in sorted(folder.glob("*.json")):
                size, root = path.stem.split("-")
                at_us, how = _statement(path)
                yield Shown(int(size), bytes.fromhex(root), at_us, how, is_token=folder == self._tokens)

    def newest_shown(self) -> list[Shown]:
        """Return the largest checkpoint that is in escrow, and the largest that is time-stamped."""
        newest: dict[bool, Shown] = {}
        for each in self.shown():
            if each.is_token not in newest or newest[each.is_token].size <= each.size:
                newest[each.is_token] = each
        return [newest[is_token] for is_token in sorted(newest)]

    def rewritable_since(self, genesis_us: int) -> int | None:
        """Return since when (microseconds) nobody else has seen the log; None when all of it was shown."""
        shown = list(self.shown())
        if any(each.size >= self._log.size for each in shown):
            return None
        return max((each.at_us for each in shown), default=genesis_us)

    def is_token_due(self, now_us: int) -> bool:
        """Tell whether the daily token is due: entries were added and the newest token is a day old."""
        tokens = [each for each in self.shown() if each.is_token]
        newest = max((each.at_us for each in tokens), default=0)
        covered = max((each.size for each in tokens), default=0)
        return covered < self._log.size and now_us - newest >= DAY_US
