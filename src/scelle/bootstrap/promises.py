"""Check the promises of an order, those that the vault keeps and those that others hold; list the former."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scelle.bootstrap.handing_over import SUFFIX
from scelle.bootstrap.session import Session
from scelle.errors import FormatError, InputError, PromisesDamaged
from scelle.formats.notes import parse_note
from scelle.formats.promises import Promise, parse_promise
from scelle.ledger.promise_book import PromiseBook
from scelle.ledger.promise_check import Judged, PromiseJudge, PromiseState, judge_all
from scelle.ledger.service import OrderLedger
from scelle.orders.days import utc_text

IN_VAULT: Final = "vault"
FILE_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PromiseReport:
    """What became of the promises of an order; `others` counts files of a folder that other logs gave."""

    order: str
    judged: tuple[Judged, ...]
    others: int

    @property
    def counts(self) -> dict[str, int]:
        """Count the promises by what became of them."""
        found = Counter(each.state for each in self.judged)
        return {state.value: found[state] for state in PromiseState}

    @property
    def is_broken(self) -> bool:
        """Tell whether one is broken, or is none at all."""
        return any(each.is_bad for each in self.judged)

    def to_json(self) -> dict[str, Any]:
        """Return what `promise check --json` prints."""
        return {
            "order": self.order,
            "promises": [judged_json(each) for each in self.judged],
            "counts": self.counts,
            "other_logs": self.others,
        }

    def lines(self) -> list[str]:
        """Return it for people: each promise that was not simply kept, and the sums."""
        lines = [
            f"{each.state.value}: {_place(each.promise)} ({each.name}): {each.detail}"
            for each in self.judged
            if each.state is not PromiseState.KEPT
        ]
        sums = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        lines.append(f"order {self.order}: {len(self.judged)} promises{': ' if sums else ''}{sums}")
        if self.others:
            lines.append(f"passed over: {self.others} files of other logs")
        return lines


def judged_json(judged: Judged) -> dict[str, Any]:
    """Return one promise as `promise check --json` prints it."""
    said = {"name": judged.name, "state": judged.state.value, "detail": judged.detail}
    return said if judged.promise is None else {**said, **promise_json(judged.promise)}


def promise_json(promise: Promise) -> dict[str, Any]:
    """Return what a promise says."""
    return {
        "source": promise.source,
        "batch": promise.batch.hex(),
        "seq": list(promise.seq),
        "received": utc_text(promise.received, "auto"),
        "deadline": utc_text(promise.deadline, "auto"),
    }


def check_promises(session: Session, order: str, given: Sequence[Path] = ()) -> PromiseReport:
    """Judge the promises that the vault keeps of an order that exists, and those in these files and folders.

    Of a folder, the files `*.promise` are read, and those of other logs passed over. Raises InputError.
    """
    ledger = session.ledger(order)
    notes = [(f"{IN_VAULT} {batch.hex()}", note) for batch, note in _kept(ledger)]
    known = {note for _, note in notes}
    others, unread = 0, list[Judged]()
    for path, is_named in _files(given):
        note = _read(path)
        if note is None:
            unread.append(
                Judged(str(path), None, PromiseState.INVALID, "no file that can be read as a promise")
            )
            continue
        if note in known:
            continue
        if not is_named and _is_of_another(note, ledger):
            others += 1
            continue
        known.add(note)
        notes.append((str(path), note))
    judged = judge_all(PromiseJudge(ledger, session.now_us()), notes) if notes else []
    return PromiseReport(order, (*judged, *unread), others)


def list_promises(session: Session, order: str) -> list[Promise]:
    """List the promises that the vault keeps of an order; raises PromisesDamaged where one is none any more."""
    found = []
    for batch, note in _kept(session.order_ledger(order)):
        try:
            found.append(parse_promise(parse_note(note).text))
        except FormatError as error:
            raise PromisesDamaged(
                f"order {order}: what is kept as promise {batch.hex()} is none ({error}): run `scelle promise check "
                f"{order}`"
            ) from error
    return found


def _kept(ledger: OrderLedger) -> Iterator[tuple[bytes, bytes]]:
    book = PromiseBook.read(ledger.folder)
    if book is not None:
        with closing(book):
            yield from book.all()


def altered_promises(session: Session, order: str) -> list[bytes]:
    """List the batches of which the vault's book does not say what the signed note says."""
    book = PromiseBook.read(session.ledger(order).folder)
    if book is None:
        return []
    with closing(book):
        return list(book.altered())


def _files(given: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield the files to read, each with whether it was named itself."""
    for path in given:
        if path.is_dir():
            yield from ((each, False) for each in sorted(path.glob(f"*{SUFFIX}")))
        elif path.exists():
            yield path, True
        else:
            raise InputError(f"{path}: no such file or folder: name a promise, or a folder of them")


def _read(path: Path) -> bytes | None:
    """Read what may be a promise; None where it is no regular file of such a size, or cannot be read.

    A folder of promises is written by others: nothing in it may hold the check up.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        is_fit = stat.S_ISREG(found.st_mode) and found.st_size <= FILE_MAX_BYTES
        return os.read(descriptor, FILE_MAX_BYTES) if is_fit else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _is_of_another(note: bytes, ledger: OrderLedger) -> bool:
    """Tell whether a file is a promise of another log; one that cannot be read may be of this one."""
    try:
        return parse_promise(parse_note(note).text).origin != ledger.origin
    except FormatError:
        return False


def _place(promise: Promise | None) -> str:
    return "no promise" if promise is None else f"{promise.source} [{promise.seq[0]}, {promise.seq[1]})"
