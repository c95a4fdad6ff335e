"""Give promises to whoever holds them: a folder of the operator's, on another machine if they are to prove anything.

What cannot be written there stays in the vault and is written later: a folder that fails never stops what is captured
(one that hangs does: docs/promises.md). So nothing here goes through the vault's own durable writes, after whose
failure a process writes nothing more.
"""

import errno
import math
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from scelle.bootstrap.session import Session, refuse_in_vault
from scelle.errors import FormatError, InputError, LogBusy, PromisesDamaged, ScelleError
from scelle.formats.notes import parse_note
from scelle.formats.promises import BATCH_BYTES, parse_promise
from scelle.ledger.promise_book import KeptPromise
from scelle.ledger.promise_check import PromiseJudge, PromiseState
from scelle.ledger.promising import promise_durable
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.ledger.signing import Signer

SUFFIX: Final = ".promise"
SETTING: Final = "merge-deadline"
RETRY_S: Final = 5.0
"""So long a folder that could not be written to is left alone."""
AT_ONCE: Final = 256
"""So many are written before what is captured has its turn again."""
DROP_S: Final = 24 * 3600.0
"""So often promises that were kept are dropped from the vault."""


def promise_file(origin: str, batch: bytes) -> str:
    """Return the name of a promise's file."""
    return f"{origin.replace('/', '_').replace(':', '_')}-{batch.hex()}{SUFFIX}"


def write_promise(path: Path, note: bytes) -> None:
    """Put a promise at `path`, durable when this returns; raises OSError, FileExistsError where another file is there.

    What a holder has is never replaced. A crash leaves it there whole or not at all, and perhaps `<name>.tmp`, which
    the next writing replaces.
    """
    if path.exists():
        if path.read_bytes() != note:
            raise FileExistsError(errno.EEXIST, "another file has the name of a promise", str(path))
        return
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class HandingOver:
    """Promise what a watch made durable for one order, and give each promise into a folder."""

    def __init__(self, folder: Path, say: Callable[[str, bool], None], clock_s: Callable[[], float]) -> None:
        self._folder, self._say, self._clock_s = folder, say, clock_s
        self._is_waiting = True
        """Whether some may wait in the vault: they do where an earlier watch could not hand them over."""
        self._retry_s, self._dropped_s = -math.inf, -math.inf
        self._is_failing = self._is_off = False
        self._refused: set[bytes] = set()
        self.promised = self.handed_over = self.failures = self.waiting = 0

    def begin(self, session: Session) -> None:
        """Raise InputError where the folder cannot be meant."""
        refuse_in_vault(session, self._folder)
        if not self._folder.is_dir():
            raise InputError(f"{self._folder}: no such folder: make it, or mount it, first")

    def promise(self, session: Session, ledger: OrderLedgerWriter, aliases: Sequence[str]) -> None:
        """Promise what became durable in these log sources, and hand it over; where the book is damaged, no more."""
        if self._is_off:
            return
        try:
            self._promise(session, ledger, aliases)
        except (PromisesDamaged, LogBusy) as error:
            self._end(error)

    def _promise(self, session: Session, ledger: OrderLedgerWriter, aliases: Sequence[str]) -> None:
        deadline_us = session.setting_us(SETTING)
        notes = promise_durable(
            ledger, aliases, lambda: secrets.token_bytes(BATCH_BYTES), session.now_us(), deadline_us
        )
        self.promised += len(notes)
        self._is_waiting |= bool(notes)
        self.hand_over(ledger)

    def hand_over(self, ledger: OrderLedgerWriter) -> None:
        """Write what waits, where the folder takes it; what it does not take waits on, and is said once."""
        if not self._is_waiting or self._clock_s() < self._retry_s:
            return
        waiting, written = ledger.promises.waiting(AT_ONCE), []
        try:
            for each in waiting:
                if not is_genuine(ledger, each):
                    self._refuse(each)
                    continue
                write_promise(self._folder / promise_file(ledger.origin, each.batch), each.note)
                written.append(each.batch)
        except OSError as error:
            self._fail(error)
        else:
            self._is_waiting = len(waiting) == AT_ONCE and bool(written)
            self._mend()
        if written:
            ledger.promises.hand_over(written)
            self.handed_over += len(written)

    def _fail(self, error: OSError) -> None:
        self.failures += 1
        self._retry_s = self._clock_s() + RETRY_S
        if not self._is_failing:
            self._is_failing = True
            self._say(
                f"promises cannot be written to {self._folder} ({error.strerror}): they are kept in the vault, and "
                "written once it takes them; the capture goes on",
                False,
            )

    def _refuse(self, each: KeptPromise) -> None:
        """Say once that the vault holds something under a promise's name that is none."""
        if each.batch not in self._refused:
            self._refused.add(each.batch)
            self.failures += 1
            self._say(
                f"promise {each.batch.hex()} of the vault was altered, and is not handed over: run `scelle verify`",
                False,
            )

    def _end(self, error: ScelleError) -> None:
        self._is_off = True
        self.failures += 1
        self._say(f"no more promises are given: {error}; the capture goes on", False)

    def _mend(self) -> None:
        if self._is_failing:
            self._is_failing = False
            self._say(f"promises are written to {self._folder} again", True)

    def serve(self, session: Session, ledger: OrderLedgerWriter, *, is_end: bool) -> None:
        """Hand over what waits; now and then drop what is settled.

        At the end of a turn it is counted what still waits.
        """
        if self._is_off:
            return
        try:
            self._serve(session, ledger, is_end=is_end)
        except (PromisesDamaged, LogBusy) as error:
            self._end(error)

    def _serve(self, session: Session, ledger: OrderLedgerWriter, *, is_end: bool) -> None:
        self.hand_over(ledger)
        if self._clock_s() - self._dropped_s >= DROP_S:
            self._dropped_s = self._clock_s()
            drop_kept(ledger, session.now_us())
        if is_end:
            self.waiting = ledger.promises.waiting_count()

    def to_json(self) -> dict[str, Any]:
        """Return what `watch --json` says of promises."""
        return {
            "folder": str(self._folder),
            "promised": self.promised,
            "handed_over": self.handed_over,
            "waiting": self.waiting,
            "failures": self.failures,
        }

    def line(self) -> str:
        """Return it for people."""
        return f"promises: {self.promised} given, {self.handed_over} written to {self._folder}, {self.waiting} waiting"


def is_genuine(ledger: OrderLedger, kept: KeptPromise) -> bool:
    """Tell whether what is kept as a promise is one of this log: its batch, its origin, its key."""
    try:
        note = parse_note(kept.note)
        promise = parse_promise(note.text)
    except FormatError:
        return False
    is_own = (promise.batch, promise.origin) == (kept.batch, ledger.origin)
    return is_own and Signer(ledger.secrets).has_signed(note)


def drop_kept(ledger: OrderLedgerWriter, now_us: int) -> int:
    """Drop the promises that were kept and whose deadline is over; return how many.

    Those that are late, broken or undecided stay, and those that were not handed over.
    """
    due = ledger.promises.due(now_us)
    judge = PromiseJudge(ledger, now_us) if due else None
    kept = [each.batch for each in due if judge is not None and _is_kept(judge, each)]
    if kept:
        ledger.promises.drop(kept)
    return len(kept)


def _is_kept(judge: PromiseJudge, each: KeptPromise) -> bool:
    return judge.judge("", each.note).state is PromiseState.KEPT
