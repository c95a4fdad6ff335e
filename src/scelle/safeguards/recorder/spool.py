"""Write events of one surface so that none is lost: numbered, chained, durable before anybody is told.

What a crash leaves: a file whose last line may be torn, perhaps contents that no event names, and attempts without an
outcome. The next run completes or cuts the line, and begins with an `abandoned` for each such attempt; that beginning
is put in place whole, so that a crash in it leaves the run before as the last one.

Events wait for one another while the disk is busy, and then share its `fsync` (a group commit): nothing waits by the
clock.
"""

import fcntl
import json
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from scelle.errors import SpoolBusy, StorageError, StorageFailed
from scelle.safeguards.recorder.contents import ContentStore, Held, failure
from scelle.safeguards.recorder.lines import file_name, run_end, spool_files, torn_end
from scelle.safeguards.recorder.model import (
    ABANDONED,
    CARRIED,
    CHANGED,
    CONTENTS,
    DOCUMENT,
    GAP,
    OUTCOMES,
    RECORDED,
    REQUESTED,
    Event,
    Mode,
    Position,
    check_surface,
)
from scelle.vault import durable

ROLL_BYTES: Final = 64 << 20
"""Another file is begun behind so many bytes: each pass reads the one that grows from its start."""
WAITING_MAX: Final = 10_000
"""So many events wait at most; beyond, whoever has another is refused."""
_BATCH_MAX: Final = 1_000
_SYNCERS: Final = 8
_LOOK_S: Final = 0.5


@dataclass(slots=True)
class Losses:
    """Count by cause what was not recorded, and what was therefore not served, since the last `gap` event."""

    lost: dict[str, int] = field(default_factory=dict)
    unserved: dict[str, int] = field(default_factory=dict)
    since: str | None = None


class _Waiting:
    __slots__ = ("contents", "event", "future")

    def __init__(self, event: Event, contents: Sequence[Held]) -> None:
        self.event, self.contents = event, contents
        self.future: Future[Position] = Future()


class Spool:
    """Write the events of `surface` below `root`, the folder of a generation source. One process a surface.

    Safe to use from several threads. `now_us` gives the wall clock in microseconds; it orders nothing, `seq` does.
    """

    def __init__(
        self,
        root: Path,
        surface: str,
        mode: Mode = Mode.BLOCK,
        about: Mapping[str, Any] | None = None,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        roll_bytes: int = ROLL_BYTES,
        contents: ContentStore | None = None,
    ) -> None:
        self.surface, self.mode = check_surface(surface), mode
        self.contents = contents or ContentStore(root / RECORDED / CONTENTS)
        self.folder = root / RECORDED / surface
        self._about, self._now_us, self._roll_bytes = dict(about or {}), now_us, roll_bytes
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._losses, self._losses_lock = Losses(), threading.Lock()
        self._open: dict[str, float] = {}
        self._durable_open: dict[str, dict[str, Any]] = {}
        self._lock = -1
        self._run = _compact(now_us())
        self._number = self._seq = 0
        self._hash = ""
        self._file: durable.AppendFile | None = None
        self._torn_at: int | None = None
        """Where what was written of a batch that failed is to be cut."""
        self._is_closed = False
        self._syncers = ThreadPoolExecutor(_SYNCERS, "scelle-spool-sync")
        self._writer = threading.Thread(target=self._write_on, name="scelle-spool", daemon=True)
        self.total_lost = self.total_unserved = self.total_events = 0

    # --- begin and end

    def open(self) -> Self:
        """Take the surface, mend what a crash left, and begin; raises SpoolBusy and StorageError.

        A crash here leaves the surface as it was, perhaps with its last line mended.
        """
        self.contents.prepare()
        durable.make_directory(self.folder)
        self._take_lock()
        try:
            for each in spool_files(self.folder)[-1:]:
                _mend(each.path)
            self._begin_run()
        except BaseException:
            os.close(self._lock)
            raise
        self._writer.start()
        return self

    def _take_lock(self) -> None:
        self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolBusy(
                f"{self.folder}: another recorder writes to surface {self.surface}: one process a surface"
            ) from None

    def _begin_run(self) -> None:
        end = run_end(self.folder)
        self._number, self._seq, self._hash = end.number, end.seq, end.hash
        first: list[Event] = [self._own_state("began")]
        for attempt, requested in end.open_attempts.items():
            first.append(
                {**_known(requested), "event": ABANDONED, "attempt_id": attempt, "reason": "recorder-ended"}
            )
        if end.broken:
            first.append({"event": GAP, "reason": "spool-damaged", "lines": end.broken})
        if not end.ended and end.mode.may_lose:
            first.append({"event": GAP, "reason": "recorder-killed", "lost": None, "since": end.last_ts})
        self._begin_file(b"".join(self._line(each)[0] for each in first))

    def _begin_file(self, data: bytes) -> None:
        """Begin another file with `data`, durable; a crash leaves all of it or nothing."""
        path = self.folder / file_name(self._number + 1, self._run)
        with self.contents.begin() as writing:
            writing.write(data)
            try:
                os.fsync(writing.descriptor)
                writing.link(path)
            except OSError as error:
                raise failure(path, error) from error
        durable.sync_directory(self.folder)
        if self._file is not None:
            self._file.close()
        self._number += 1
        self._file = durable.AppendFile(path)

    def _own_state(self, state: str) -> Event:
        return {"event": CHANGED, "recorder": {**self._about, "mode": self.mode.value, "state": state}}

    def close(self) -> None:
        """Write what waits and end; idempotent. What could not be recorded until now is counted in a last event."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._writer.is_alive():
            self._put(self._own_state("ended"))
            self._queue.put(None)
            self._writer.join()
        self._syncers.shutdown()
        if self._file is not None:
            self._file.close()
        if self._lock >= 0:
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- what is recorded

    def put(self, event: Event, contents: Sequence[Held] = ()) -> Future[Position]:
        """Hand in an event; the future is done once it and its contents are durable, or raises StorageError.

        Raises SpoolBusy where too many wait, or the spool is closed.
        """
        if self._is_closed or self._queue.qsize() >= WAITING_MAX:
            raise SpoolBusy(
                f"surface {self.surface}: more events wait than may: send fewer, or a faster disk"
            )
        return self._put(event, contents)

    def put_document(self, data: bytes, contents: Sequence[Held] = ()) -> Future[Position]:
        """Hand in a JSON object of another format, as bytes on one line; its place is added as its last members.

        What was there stays byte for byte. Raises SpoolBusy, and ValueError where it is no object with a member.
        """
        if not (data.startswith(b"{") and data.endswith(b"}") and data[1:-1].strip()) or b"\n" in data:
            raise ValueError("a document is one JSON object with a member, on one line")
        return self.put({"event": DOCUMENT, "data": data}, contents)

    def _put(self, event: Event, contents: Sequence[Held] = ()) -> Future[Position]:
        waiting = _Waiting(event, contents)
        attempt = event.get("attempt_id")
        if event["event"] == REQUESTED:
            self._open[str(attempt)] = time.monotonic()
        elif event["event"] in OUTCOMES:
            self._open.pop(str(attempt), None)
        self._queue.put(waiting)
        return waiting.future

    def lose(self, cause: str, *, unserved: bool = False) -> None:
        """Count that something was served and is not recorded, or (`unserved`) was not served for that.

        A `gap` event says so as soon as one can be written.
        """
        with self._losses_lock:
            counts = self._losses.unserved if unserved else self._losses.lost
            counts[cause] = counts.get(cause, 0) + 1
            self._losses.since = self._losses.since or _rfc3339(self._now_us())
            if unserved:
                self.total_unserved += 1
            else:
                self.total_lost += 1

    def counts(self) -> dict[str, int]:
        """Return how many events of this run are durable, and what was lost or not served, in all."""
        return {"events": self.total_events, "lost": self.total_lost, "unserved": self.total_unserved}

    def reap(self, older_than_s: float) -> int:
        """Record as abandoned every attempt of this run that has no outcome for so long; return how many."""
        before = time.monotonic() - older_than_s
        late = [attempt for attempt, since in list(self._open.items()) if since < before]
        for attempt in late:
            self._put({"event": ABANDONED, "attempt_id": attempt, "reason": "no-outcome"})
        return len(late)

    # --- the writer's thread

    def _write_on(self) -> None:
        is_ending = False
        while not is_ending:
            batch, is_ending = self._batch()
            batch += self._gap()
            if not batch:
                continue
            try:
                places = self._commit(batch)
            except StorageError as error:
                self._failed(batch, error)
            except Exception as error:  # noqa: BLE001  whoever waits must be told, and the next batch is tried
                self._failed(batch, StorageFailed(f"{self.folder}: a fault of the recorder: {error!r}"))
            else:
                self.total_events += len(batch)
                for each, place in zip(batch, places, strict=True):
                    each.future.set_result(place)

    def _batch(self) -> tuple[list[_Waiting], bool]:
        """Take what waits; return it, and whether it was the last."""
        batch: list[_Waiting] = []
        try:
            found = self._queue.get(timeout=_LOOK_S)
            while found is not None:
                batch.append(found)
                if len(batch) >= _BATCH_MAX:
                    return batch, False
                found = self._queue.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _gap(self) -> list[_Waiting]:
        with self._losses_lock:
            losses = self._losses
            if losses.since is None:
                return []
            self._losses = Losses()
        event = {
            "event": GAP,
            "reason": next(iter([*losses.lost, *losses.unserved])),
            "lost": sum(losses.lost.values()),
            "unserved": sum(losses.unserved.values()),
            "causes": {"lost": losses.lost, "unserved": losses.unserved},
            "since": losses.since,
        }
        return [_Waiting(event, ())]

    def _failed(self, batch: Sequence[_Waiting], error: StorageError) -> None:
        for each in batch:
            if each.event["event"] == GAP and "causes" in each.event:
                self._count_again(each.event)
            attempt = str(each.event.get("attempt_id"))
            if each.event["event"] == REQUESTED:
                self._open.pop(attempt, None)
            elif each.event["event"] in OUTCOMES:  # it has none that is recorded: the reaper will say so
                self._open[attempt] = time.monotonic()
            each.future.set_exception(error)
        time.sleep(0.01)  # a disk that is full stays so for a while

    def _count_again(self, gap: Event) -> None:
        with self._losses_lock:
            for name, counts in (("lost", self._losses.lost), ("unserved", self._losses.unserved)):
                for cause, count in gap["causes"][name].items():
                    counts[cause] = counts.get(cause, 0) + count
            self._losses.since = gap["since"]

    def _commit(self, batch: Sequence[_Waiting]) -> list[Position]:
        """Make a batch durable; raises StorageError, and then nothing of it counts, whatever a crash leaves of it."""
        if self._torn_at is None and self._current.tell() >= self._roll_bytes:
            self._roll()
        file = self._current
        if self._torn_at is not None:
            file.truncate(self._torn_at)
            self._torn_at = None
        start = offset = file.tell()
        before, places, lines = (self._seq, self._hash), [], []
        try:
            for each in batch:
                line, place = self._line(each.event, file.path.name, offset)
                lines.append(line)
                places.append(place)
                offset += len(line)
            file.write(b"".join(lines))
            self._sync(file, batch)
        except BaseException:
            self._seq, self._hash = before
            self._torn_at = start
            with suppress(StorageError):  # else before the next batch
                file.truncate(start)
                self._torn_at = None
            raise
        self._note_open(batch)
        return places

    def _note_open(self, batch: Sequence[_Waiting]) -> None:
        """Know which attempts are durable and have no outcome that is: the next file begins with them."""
        for event in (each.event for each in batch):
            attempt = str(event.get("attempt_id"))
            if event["event"] == REQUESTED:
                self._durable_open[attempt] = _known(event)
            elif event["event"] in OUTCOMES:
                self._durable_open.pop(attempt, None)

    def _roll(self) -> None:
        """Begin another file with what a start must know, so that it reads one file whatever came before."""
        before = (self._seq, self._hash)
        line, _ = self._line({**self._own_state("rolled"), "open": self._durable_open})
        try:
            self._begin_file(line)
        except StorageError:
            self._seq, self._hash = before
            raise

    @property
    def _current(self) -> durable.AppendFile:
        assert self._file is not None  # noqa: S101  `open` made it
        return self._file

    def _sync(self, file: durable.AppendFile, batch: Sequence[_Waiting]) -> None:
        """Make lines, contents and the contents' names durable at the same time.

        A crash may leave an event durable and a content that it names not: nobody was told of either yet, and nothing
        was delivered.
        """
        held = [content for each in batch for content in each.contents]
        folders = {content.path.parent for content in held}
        syncing = [self._syncers.submit(content.sync) for content in held]
        syncing += [self._syncers.submit(durable.sync_directory, folder) for folder in folders]
        file.sync()
        for each in syncing:
            each.result()

    def _line(self, event: Event, name: str = "", offset: int = 0) -> tuple[bytes, Position]:
        self._seq += 1
        data = self._document(event) if event["event"] == DOCUMENT else self._event(event)
        self._hash = sha256(data).hexdigest()
        return data + b"\n", Position(self.surface, name, offset, self._seq, self._hash)

    def _document(self, event: Event) -> bytes:
        place = {"seq": self._seq, "received": _rfc3339(self._now_us()), "prev": self._hash}
        whole: bytes = event["data"]
        return whole[:-1] + b"," + json.dumps(place, separators=(",", ":")).encode()[1:]

    def _event(self, event: Event) -> bytes:
        attempt = event.get("attempt_id")
        told_apart = f"{self.surface}:{self._seq}:{event['event']}"
        body = {
            "event": event["event"],
            "event_id": told_apart if attempt is None else f"{attempt}:{self._seq}:{event['event']}",
            **event,
            "surface": event.get("surface", self.surface),
            "seq": self._seq,
            "ts": event.get("ts") or _rfc3339(self._now_us()),
            "monotonic_ns": event.get("monotonic_ns") or time.monotonic_ns(),
            "prev": self._hash,
        }
        return _written(body)


def _written(body: Mapping[str, Any]) -> bytes:
    """Write an event as what every reader of JSON in UTF-8 takes: what is no text or number is written as its mark."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (
        ValueError
    ):  # half a surrogate pair, or a number that is none; the body as it came is kept all the same
        return json.dumps(_clean(body), ensure_ascii=False, separators=(",", ":")).encode()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {_clean(name): _clean(each) for name, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value


def _known(requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an `abandoned` says beside its attempt."""
    return {name: requested[name] for name in CARRIED if name in requested}


def _mend(path: Path) -> None:
    """End the last line where it is whole, and cut it where it is torn: nobody was told of it."""
    torn_bytes, is_whole = torn_end(path)
    if not torn_bytes:
        return
    file = durable.AppendFile(path)
    try:
        if is_whole:
            file.write(b"\n")
        else:
            file.truncate(file.tell() - torn_bytes)
        file.sync()
    finally:
        file.close()


def _rfc3339(now_us: int) -> str:
    return datetime.fromtimestamp(now_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _compact(now_us: int) -> str:
    return datetime.fromtimestamp(now_us / 1e6, UTC).strftime("%Y%m%dT%H%M%S%fZ")
