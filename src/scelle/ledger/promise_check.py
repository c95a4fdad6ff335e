"""Judge promises against the log that they speak of (ledger.md §6).

Established of a promise that is *kept*: the order's key signed it, its records lie at their places under manifests of
the log as it is published, and somebody outside held a checkpoint with them by the deadline, as far as time-stamps
and the vault's own notes of deposits say. Not established: that a time-stamp's signature is good (`openssl ts
-verify`), that the receiver of a deposit has it, and that nobody rewrote the log (`scelle verify`, the holders).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import accumulate
from typing import Final, NamedTuple

from scelle.errors import FormatError, SegmentDamaged, TimestampUnavailable
from scelle.formats.checkpoints import Checkpoint
from scelle.formats.entries import Segment
from scelle.formats.notes import parse_note
from scelle.formats.promises import Promise, parse_promise
from scelle.ledger.destroying import segment_folder
from scelle.ledger.service import OrderLedger
from scelle.ledger.signing import Signer
from scelle.ledger.witness import Shown, Witnesses
from scelle.merkle.hashing import HASH_BYTES, TreeHasher, tree_root

_TREES_KEPT: Final = 4


class PromiseState(StrEnum):
    """What became of a promise."""

    KEPT = "kept"
    LATE = "late"
    BROKEN = "broken"
    UNDECIDED = "undecided"
    WAITING = "waiting"
    INVALID = "invalid"
    """It is no promise of this log's key: it binds nobody."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A promise by the name it was given under, what became of it, and why; None where it cannot be read."""

    name: str
    promise: Promise | None
    state: PromiseState
    detail: str

    @property
    def is_bad(self) -> bool:
        """Tell whether the promise is broken, or is none of this log."""
        return self.state in (PromiseState.BROKEN, PromiseState.INVALID)


class Attested(NamedTuple):
    """A checkpoint of this log that was shown: its size, and by when (microseconds) somebody held it."""

    size: int
    time_us: int


class Attestations:
    """Checkpoints of one log that somebody held, asked for by the entries that they have."""

    def __init__(self, found: Iterable[Attested]) -> None:
        ordered = sorted(found)
        times = [each.time_us for each in ordered]
        self._sizes = [each.size for each in ordered]
        self._latest = list(accumulate(times, max))
        self._earliest = list(accumulate(reversed(times), min))[::-1]

    def first_with(self, index: int) -> int | None:
        """Return when a checkpoint with the entry `index` was first attested; None where none was."""
        at = bisect_right(self._sizes, index)
        return self._earliest[at] if at < len(self._sizes) else None

    def last_without(self, index: int | None) -> int | None:
        """Return when a checkpoint without that entry was last attested; for None, when any was."""
        at = len(self._sizes) if index is None else bisect_right(self._sizes, index)
        return self._latest[at - 1] if at else None


def state_of(
    sealed_at: int | None, deadline_us: int, now_us: int, attested: Attestations
) -> tuple[PromiseState, str]:
    """Tell what became of a promise whose records lie under the entry `sealed_at`, None where they do not, and why."""
    is_over = now_us > deadline_us
    open_state = PromiseState.UNDECIDED if is_over else PromiseState.WAITING
    without = attested.last_without(sealed_at)
    if sealed_at is None:
        if without is not None and without > deadline_us:
            return (
                PromiseState.BROKEN,
                "its records are absent from a checkpoint attested after the deadline",
            )
        return (
            open_state,
            "not sealed, and no checkpoint was attested since" if is_over else "not sealed yet",
        )
    covering = attested.first_with(sealed_at)
    if covering is not None and covering <= deadline_us:
        return PromiseState.KEPT, f"sealed under entry {sealed_at}, attested by the deadline"
    if covering is not None:
        return PromiseState.LATE, f"sealed under entry {sealed_at}, attested after the deadline"
    if without is not None and without > deadline_us:
        return (
            PromiseState.LATE,
            f"sealed under entry {sealed_at}, after a checkpoint attested past the deadline",
        )
    return open_state, f"sealed under entry {sealed_at}, and no checkpoint with it was attested"


class PromiseJudge:
    """Judge promises of one order, as its published log stands, by the clock `now_us` (microseconds)."""

    def __init__(self, ledger: OrderLedger, now_us: int) -> None:
        self._ledger, self._now_us = ledger, now_us
        self._signer = Signer(ledger.secrets)
        self._attested = Attestations(attested(ledger))
        self._segments: dict[str, list[tuple[int, Segment]]] = {}
        for index, manifest in ledger.manifests():
            if manifest.records:
                self._segments.setdefault(manifest.source, []).append((index, manifest))
        self._trees: dict[int, bytes] = {}

    def judge(self, name: str, note: bytes) -> Judged:
        """Judge one promise by itself; what is wrong with it is never raised."""
        try:
            promise = self._read(note)
        except FormatError as error:
            return Judged(name, None, PromiseState.INVALID, str(error))
        try:
            return Judged(name, promise, *self._state(promise))
        except SegmentDamaged as error:
            return Judged(name, promise, PromiseState.UNDECIDED, str(error))

    def _read(self, data: bytes) -> Promise:
        note = parse_note(data)
        promise = parse_promise(note.text)
        if (promise.origin, promise.genesis) != (self._ledger.origin, self._ledger.state.genesis_leaf):
            raise FormatError("it is a promise of another log")
        if not self._signer.has_signed(note):
            raise FormatError("it is not signed by this log's key")
        return promise

    def _state(self, promise: Promise) -> tuple[PromiseState, str]:
        touched = [
            (index, manifest)
            for index, manifest in self._segments.get(promise.source, [])
            if manifest.seq[0] < promise.seq[1] and promise.seq[0] < manifest.seq[1]
        ]
        is_sealed = bool(touched) and touched[-1][1].seq[1] >= promise.seq[1]
        if is_sealed and self._root(touched, promise) != promise.batch_root:
            return PromiseState.BROKEN, "another record is at one of its places"
        sealed_at = touched[-1][0] if is_sealed else None
        return state_of(sealed_at, promise.deadline, self._now_us, self._attested)

    def _root(self, touched: Sequence[tuple[int, Segment]], promise: Promise) -> bytes:
        lo, hi = promise.seq
        parts = []
        for index, manifest in touched:
            first = manifest.seq[0]
            start, stop = max(lo, first) - first, min(hi, manifest.seq[1]) - first
            parts.append(self._record_hashes(index, manifest)[HASH_BYTES * start : HASH_BYTES * stop])
        return tree_root(b"".join(parts))

    def _record_hashes(self, index: int, manifest: Segment) -> bytes:
        """Return the commitments of a segment as far as they lead to the root in its manifest.

        They stay when records are erased, and when the order is disposed of. Raises `SegmentDamaged`.
        """
        if index not in self._trees:
            path = segment_folder(self._ledger, manifest) / "tree"
            try:
                with path.open("rb") as file:
                    found = file.read(HASH_BYTES * manifest.records)
            except OSError as error:
                raise SegmentDamaged(f"{path} cannot be read: {error.strerror}") from error
            if len(found) != HASH_BYTES * manifest.records or tree_root(found) != manifest.record_root:
                raise SegmentDamaged(
                    f"{path} does not lead to the root in entry {index}: run `scelle verify`"
                )
            while len(self._trees) >= _TREES_KEPT:
                del self._trees[next(iter(self._trees))]
            self._trees[index] = found
        return self._trees[index]


def judge_all(judge: PromiseJudge, notes: Iterable[tuple[str, bytes]]) -> list[Judged]:
    """Judge promises each by itself and against one another; those that lie over each other are broken."""
    judged = [judge.judge(name, note) for name, note in notes]
    broken = dict(_overlapping(judged))
    return [
        Judged(each.name, each.promise, PromiseState.BROKEN, broken[number]) if number in broken else each
        for number, each in enumerate(judged)
    ]


def _overlapping(judged: Sequence[Judged]) -> Iterator[tuple[int, str]]:
    """Yield the numbers of promises over the same places with different roots, each with what it contradicts."""
    placed = [
        (each.promise.source, each.promise.seq, number, each.promise)
        for number, each in enumerate(judged)
        if each.promise is not None
    ]
    before: list[tuple[int, Promise]] = []
    for source, (lo, _), number, promise in sorted(placed, key=lambda each: each[:3]):
        before = [each for each in before if each[1].source == source and each[1].seq[1] > lo]
        for other_number, other in before:
            if (other.seq, other.batch_root) != (promise.seq, promise.batch_root):
                yield number, f"it contradicts the promise {judged[other_number].name} over the same places"
                yield other_number, f"it contradicts the promise {judged[number].name} over the same places"
        before.append((number, promise))


def attested(ledger: OrderLedger) -> list[Attested]:
    """List the checkpoints of this log that somebody held, and by when.

    A time-stamp counts by its own time, where it is over the checkpoint; a deposit by the time that was noted. One of
    another log, or of a root that this log never had, is passed over: `verify` names it.
    """
    found, prefix, leaves = [], TreeHasher(), bytes(ledger.log.leaves)
    for shown in sorted(Witnesses(ledger.log).shown(), key=lambda each: each.size):
        if shown.size > ledger.log.size:
            break
        prefix.extend(leaves[HASH_BYTES * prefix.size : HASH_BYTES * shown.size])
        if prefix.root() == shown.root:
            time_us = _stamped_us(ledger, shown) if shown.is_token else shown.at_us
            if time_us is not None:
                found.append(Attested(shown.size, time_us))
    return found


def _stamped_us(ledger: OrderLedger, shown: Shown) -> int | None:
    from scelle.timestamps.tokens import check_over  # start-up time: needs ASN.1

    path = ledger.log.folder / "tokens" / f"{shown.size}-{shown.root.hex()}.tsr"
    text = Checkpoint(ledger.origin, shown.size, shown.root).text()
    try:
        return check_over(path.read_bytes(), sha256(text).digest()).time_us
    except (OSError, FormatError, TimestampUnavailable):
        return None
