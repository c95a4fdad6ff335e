"""Verify a vault: read everything again, believe no catalog, and say everything that is wrong.

The steps, each of which goes on whatever the ones before it found:

1. the folder: vault.json, recovery.age, what does not belong there;
2. the log of every order, up to checkpoint and signatures (`logs`);
3. every segment: frames, records, trees, index, keys (`segments`), which tells what contents must be there;
4. every pack: each content's SHA-256, and size and chunk root for each record that needs it (`packs`);
5. last, and only to say so, the derived catalog (`catalog`).
"""

import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from scelle.errors import OrderUnknown
from scelle.fsck.catalog import check_catalog, is_being_written
from scelle.fsck.crew import Crew, Failed
from scelle.fsck.disposals import disposal_of
from scelle.fsck.logs import LogAnswer, LogFacts, LogTask, examine_log, published_state
from scelle.fsck.model import Finding, Notebook, VerifyReport
from scelle.fsck.packs import PackAnswer, PackTask, WantTable, judge_pack
from scelle.fsck.plan import (
    NO_PACKS,
    ORDERS_FOLDER,
    FoundPacks,
    OrderPlan,
    check_folder,
    find_orders,
    find_packs,
)
from scelle.fsck.segments import Examination, RowsAnswer, RowsTask, SegmentPlace, State, read_rows
from scelle.vault.frames import keys_name, pack_name
from scelle.vault.keys import VaultKey
from scelle.vault.scanning import PackFault

FRAMES_A_TASK: Final = 1
WORTH_A_PROCESS_BYTES: Final = 8 << 20
"""Less than this is read sooner by one process than by several."""

_KEY_FAULTS: Final = ("vault.frame_key",)
_WAITS_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5)

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told the step (`logs`, `records`, `contents`), how much of it is done, and how much there is of it."""

Recall: TypeAlias = Callable[[str], tuple[int, bytes] | None]
"""Gives the largest (size, root) that the signer of an origin is known to have signed."""


def verify(
    vault: Path,
    key: VaultKey,
    *,
    sample: int | None = None,
    order: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    recall: Recall | None = None,
) -> VerifyReport:
    """Verify the vault in folder `vault` and report everything that is wrong.

    `sample` judges so many records of each order, drawn at random, with their contents, and says so.
    `order` judges one order and the contents that it names. `workers` are processes (default: one for each
    core). `recall` tells what the signer signed before, kept outside the vault: with it an older state that
    was put back is found.

    Nothing in the vault is changed. Raises `OrderUnknown`, and `VaultTooNew`; everything else is a finding.
    """
    return _Run(vault, key, sample, workers, progress or _silent, recall or _forgetful).report(order)


def _silent(step: str, done: int, of: int) -> None:
    """Show nothing."""


def _forgetful(origin: str) -> None:
    """Remember nothing."""


class _Run:
    """One verification."""

    def __init__(
        self,
        vault: Path,
        key: VaultKey,
        sample: int | None,
        workers: int | None,
        progress: Progress,
        recall: Recall,
    ) -> None:
        self._vault, self._key, self._sample = vault, key, sample
        self._progress, self._recall = progress, recall
        self._workers = workers or len(os.sched_getaffinity(0))
        self._notes = Notebook()
        self._orders = self._segments = self._records = self._records_of = 0
        self._contents = self._bytes = self._packs = 0
        self._is_one_order = False

    def report(self, order: str | None) -> VerifyReport:
        """Take every step and report."""
        started = time.monotonic()
        self._is_one_order = order is not None
        host = check_folder(self._vault, self._key, self._notes)
        orders = find_orders(self._vault, self._notes)
        if order is not None:
            if order not in orders:
                raise OrderUnknown(f"no order has the id {order!r}: see `scelle order list`")
            orders = [order]
        workers = self._workers if _is_worth([self._vault]) else 1
        logs = [self._vault / ORDERS_FOLDER / order / "log" for order in orders]
        facts = self._judge_logs(orders, host, workers if _is_worth(logs) else 1)
        examinations = self._judge_segments(facts, workers)
        self._judge_contents(examinations, workers)
        return self._result(time.monotonic() - started)

    def _result(self, seconds: float) -> VerifyReport:
        notes = self._notes
        return VerifyReport(
            valid=not notes.findings,
            findings=_each_once(notes.findings),
            remarks=_each_once(notes.remarks),
            orders=self._orders,
            segments=self._segments,
            records=self._records,
            contents=self._contents,
            bytes=self._bytes,
            packs=self._packs,
            sampled=self._sample,
            records_of=self._records_of,
            seconds=seconds,
        )

    def _fault(self, subject: str, failed: Failed[Any]) -> None:
        self._notes.find("fault", subject, f"it was not checked: {failed.detail}: please report it")

    # -- logs

    def _judge_logs(self, orders: Sequence[str], host: str | None, workers: int) -> list[LogFacts]:
        tasks = [self._log_task(order, host) for order in orders]
        facts: list[LogFacts] = []
        with Crew(min(workers, len(tasks))) as crew:
            for done, result in enumerate(crew.run(_examine_order, tasks), 1):
                if isinstance(result, Failed):
                    self._fault(f"order {result.task.order}, log", result)
                else:
                    self._notes.add(result.notes)
                    facts.append(result.facts)
                self._progress("logs", done, len(tasks))
        self._orders = len(orders)
        if is_being_written(self._vault):
            self._notes.remark("vault.writer", "vault", "what it has not committed yet was not judged")
        return facts

    def _log_task(self, order: str, host: str | None) -> LogTask:
        origin = f"{host}/po/{order}"
        remembered = None if host is None else self._guarded(f"order {order}", partial(self._recall, origin))
        return LogTask(self._vault / ORDERS_FOLDER / order, order, host, self._key, remembered)

    # -- segments

    def _judge_segments(self, facts: Sequence[LogFacts], workers: int) -> list[Examination]:
        examinations: list[Examination] = []
        waiting: deque[_Waiting] = deque()

        def tasks() -> Iterator[RowsTask]:
            for place, only in self._places(facts):
                examination = Examination(place, self._key, only)
                found = self._guarded(place.subject, partial(examination.tasks, FRAMES_A_TASK)) or []
                examinations.append(examination)
                waiting.append(_Waiting(examination, len(found)))
                yield from found

        with Crew(workers) as crew:
            for result in crew.run(_read_rows, tasks()):
                self._finish_ready(waiting)
                first = waiting[0]
                first.open_tasks -= 1
                if isinstance(result, Failed):
                    self._fault(first.examination.place.subject, result)
                else:
                    first.examination.take(result)
                self._finish_ready(waiting)
        self._finish_ready(waiting)
        return examinations

    def _finish_ready(self, waiting: "deque[_Waiting]") -> None:
        """Finish the examinations at the head of the queue whose answers are all there."""
        while waiting and not waiting[0].open_tasks:
            examination = waiting.popleft().examination
            place = examination.place
            self._guarded(place.subject, examination.finish)
            self._notes.add(examination.notes)
            examination.notes = Notebook()
            if place.state is not State.OPEN:
                self._segments += 1
                self._records += examination.records
            self._progress("records", self._records, self._records_of)

    def _guarded(self, subject: str, call: Callable[[], Any]) -> Any:
        """Call what reads and compares; a fault of ours in it is a finding, and the others go on."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - one check that fails must not take the others with it
            self._fault(subject, Failed(subject, error))
            return None

    def _places(self, facts: Sequence[LogFacts]) -> Iterator[tuple[SegmentPlace, frozenset[int] | None]]:
        """Yield every segment that is to be judged, with the records of the sample that are in it."""
        self._records_of = sum(entry.records for each in facts for _, entry in each.manifests)
        ordinal = 0
        for each in facts:
            disposal = disposal_of(self._vault, self._key, each)
            folder = self._vault / ORDERS_FOLDER / each.order
            plan = OrderPlan(folder, each, self._notes, ordinal, self._key, disposal)
            places = self._guarded(f"order {each.order}, seg", plan.places) or []
            ordinal += len(places)
            if self._sample is None:
                yield from ((place, None) for place in places)
            else:
                yield from _drawn(places, self._sample)

    # -- contents

    def _judge_contents(self, examinations: Sequence[Examination], workers: int) -> None:
        table = WantTable(examination.wants for examination in examinations)
        for examination in examinations:
            examination.wants = b""
        packs = self._guarded("packs", partial(find_packs, self._vault, self._notes)) or NO_PACKS
        pack_ids = list(packs.readable)
        self._packs = len(pack_ids)
        sizes = {pack_id: _size_bytes(str(self._vault / pack_name(pack_id))) for pack_id in pack_ids}
        pack_ids.sort(key=lambda pack_id: -sizes[pack_id])
        judged = _Contents(
            table, examinations, self._notes, is_partial=self._is_one_order, is_whole=packs.is_whole
        )
        done, total = 0, sum(sizes.values())
        tasks = [PackTask(self._vault, self._key, pack_id, self._sample is not None) for pack_id in pack_ids]
        with Crew(min(workers, len(tasks)), table) as crew:
            for result in crew.run(_judge_pack, tasks):
                pack_id = result.task.pack_id if isinstance(result, Failed) else result.pack_id
                if isinstance(result, Failed):
                    self._fault(f"pack {pack_id}", result)
                else:
                    judged.take(result)
                done += sizes[pack_id]
                self._progress("contents", done, total)
        self._guarded("contents", judged.finish)
        self._contents, self._bytes = judged.contents, judged.bytes
        self._check_catalog(judged.objects, packs)

    def _check_catalog(self, objects: Mapping[str, bytes], packs: FoundPacks) -> None:
        if self._sample is not None or self._is_one_order:
            self._notes.remark("catalog.unread", "catalog.db", "only a part of the vault was read")
        elif not packs.is_whole:
            self._notes.remark("catalog.unread", "catalog.db", "there are packs that could not be read")
        elif is_being_written(self._vault) or find_packs(self._vault, Notebook()).there != packs.there:
            self._notes.remark("catalog.unread", "catalog.db", "another process writes to it")
        else:
            self._guarded(
                "catalog.db", lambda: check_catalog(self._vault, self._key, objects, packs.there, self._notes)
            )


@dataclass(slots=True)
class _Waiting:
    """An examination, and how many of its tasks are not answered yet."""

    examination: Examination
    open_tasks: int


class _Contents:
    """Join what the packs gave with what the records need."""

    def __init__(
        self,
        table: WantTable,
        examinations: Sequence[Examination],
        notes: Notebook,
        *,
        is_partial: bool,
        is_whole: bool,
    ) -> None:
        self._table, self._notes, self._is_partial, self._is_whole = table, notes, is_partial, is_whole
        self._examinations = {examination.place.ordinal: examination for examination in examinations}
        self._met = bytearray(len(table))
        self._faults: list[tuple[int, str, str]] = []
        self._pack_faults: list[PackFault] = []
        self._unnamed = self._destroyed = 0
        self.contents = self.bytes = 0
        self.objects: dict[str, bytes] = {}

    def take(self, answer: PackAnswer) -> None:
        """Take what one pack gave."""
        for number in answer.met:
            self._met[number] = 1
        self._faults += answer.want_faults
        self._pack_faults += answer.faults
        self._unnamed += answer.unnamed
        self._destroyed += answer.destroyed
        self.contents += answer.contents
        self.bytes += answer.bytes
        if not answer.faults and not answer.destroyed:
            self.objects[answer.pack_id] = bytes(answer.objects)

    def finish(self) -> None:
        """Name every record whose content is missing or another, and every fault of a pack."""
        blind = any(not fault.lost for fault in self._pack_faults)
        nowhere = "it is in no pack" + ("" if self._is_whole else " that can be read")
        nowhere += ", unless in a damaged frame that does not tell" if blind else ""
        lost = {digest: fault for fault in self._pack_faults for digest in fault.lost}
        for number, is_met in enumerate(self._met):
            if not is_met:
                fault = lost.get(self._table[number].digest)
                where = nowhere if fault is None else f"it stood in {_pack_place(fault)}"
                self._faults.append((number, "content.missing", where))
        is_harmless = self._is_partial and not self._faults
        for fault in self._pack_faults:
            note = self._notes.remark if is_harmless else self._notes.find
            note("pack.damaged", _pack_place(fault), f"{fault.detail} ({fault.code})")
        self._name_records()
        if self._destroyed:
            self._notes.remark("pack.destroyed", "packs", f"frames without a key: {self._destroyed}")
        if self._unnamed and not self._is_partial:
            self._notes.remark("content.unnamed", "packs", f"contents: {self._unnamed}")

    def _name_records(self) -> None:
        by_segment: dict[int, list[tuple[int, str, str]]] = {}
        for number, code, detail in sorted(self._faults):
            place = self._table[number].place
            by_segment.setdefault(place >> 32, []).append((place & 0xFFFFFFFF, code, detail))
        for ordinal, faults in sorted(by_segment.items()):
            examination = self._examinations[ordinal]
            segment = examination.place
            names = examination.names.find({segment.seq_lo + at for at, _, _ in faults})
            for at, code, detail in sorted(faults):
                seq = segment.seq_lo + at
                subject = segment.record_subject(seq, names.get(seq, ""))
                if segment.state is State.OPEN and code == "content.missing":
                    self._notes.remark("content.unsealed", subject, detail)
                else:
                    self._notes.find(code, subject, detail)


def _pack_place(fault: PackFault) -> str:
    frame = "" if fault.frame is None else f", frame {fault.frame}"
    key = f" (its key in {keys_name(fault.pack)})" if fault.code in _KEY_FAULTS else ""
    return f"pack {fault.pack}, {fault.file}{frame} at byte {fault.offset}{key}"


def _drawn(
    places: Sequence[SegmentPlace], count: int
) -> Iterator[tuple[SegmentPlace, frozenset[int] | None]]:
    """Draw `count` records of one order, without repeats, from what its manifests seal."""
    sealed = [(place, place.manifest.records) for place in places if place.manifest is not None]
    total = sum(records for _, records in sealed)
    chosen = sorted(secrets.SystemRandom().sample(range(total), min(count, total)))
    start = at = 0
    for place, records in sealed:
        first = at
        while at < len(chosen) and chosen[at] < start + records:
            at += 1
        if at > first:
            yield place, frozenset(place.seq_lo + number - start for number in chosen[first:at])
        start += records


def _each_once(notes: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(notes))


def _is_worth(folders: Sequence[Path]) -> bool:
    """Tell whether there is enough to read below these folders for more than one process."""
    total = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            total += sum(_size_bytes(f"{parent}/{name}") for name in names)
            if total >= WORTH_A_PROCESS_BYTES:
                return True
    return False


def _size_bytes(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


# What runs in a worker process must stand at the top of a module.


def _examine_order(task: LogTask, _shared: object) -> LogAnswer:
    """Examine a log, and again, with patience, where another process commits to it meanwhile."""
    state, answer = published_state(task.folder), examine_log(task)
    for wait_s in _WAITS_S:
        if not answer.notes.findings:
            break  # nobody is asked whether they write, which disturbs them, where nothing depends on it
        if published_state(task.folder) == state and not is_being_written(task.folder.parent.parent):
            break
        time.sleep(wait_s)
        state, answer = published_state(task.folder), examine_log(task._replace(is_moving=True))
        answer.notes.remark("vault.writer", f"order {task.order}", "what it has under way was not judged")
    return answer


def _read_rows(task: RowsTask, _shared: object) -> RowsAnswer:
    return read_rows(task)


def _judge_pack(task: PackTask, wants: WantTable) -> PackAnswer:
    return judge_pack(task, wants)
