"""Seal what must be said of single items as events, in batches as they come: memory stays flat."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from scelle.capture.families import members_of
from scelle.capture.interfaces import PassTools
from scelle.capture.model import Problem
from scelle.ledger.events import Event, events, record_event
from scelle.ledger.service import OrderLedger

BATCH_ITEMS: Final = 1000
BATCH_BYTES: Final = 1 << 20
"""Far below the 16 MiB of a value, whatever the names: a path has no longest form."""

SHOWN_ITEMS: Final = 100
"""How many problems of a kind a report repeats."""

FINISHED: Final = "pass"

RecordEvent = Callable[[str, Mapping[str, Any]], None]


def event_recorder(tools: PassTools, alias: str, pass_id: str, run_us: int) -> RecordEvent:
    """Return what records the events of one source in one run of a pass.

    Each says the pass and when the run began: a run that was interrupted leaves its events behind, and the
    `pass` event names the run that counts.
    """

    def record(kind: str, body: Mapping[str, Any]) -> None:
        said = {"source": alias, "pass": pass_id, "run_us": str(run_us), **body}
        record_event(tools.ledger, tools.now_us(), tools.actor, kind, said)

    return record


class ProblemLog:
    """Collect problems of one kind: all go to events, the first ones also to `shown`."""

    def __init__(self, record: RecordEvent, kind: str, shown: list[Problem]) -> None:
        self._record, self._kind, self._shown = record, kind, shown
        self._batch: list[dict[str, str | int]] = []
        self._bytes = 0

    def add(self, problem: Problem, **more: str) -> None:
        """Take one more, with what else is to be said of it; a full batch becomes an event."""
        if len(self._shown) < SHOWN_ITEMS:
            self._shown.append(problem)
        self._batch.append({**problem.to_json(), **more})
        self._bytes += len(problem.native) + len(problem.detail)
        if len(self._batch) >= BATCH_ITEMS or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Record what is left."""
        if self._batch:
            self._record(self._kind, {"items": self._batch})
            self._batch, self._bytes = [], 0


def listed_items(ledger: OrderLedger, names: Mapping[str, str], bucket: str) -> list[dict[str, Any]]:
    """Return each sealed item of a bucket (failed, lost, waiting) with source, cause and detail, the newest pass first.

    `names` are the sources' names by alias; `pass_us` is when the pass ended (microseconds). What a watch said is of no
    pass: `pass` is None there, and `pass_us` when it was said. Where a pass was interrupted and went on, the run that
    ended it said everything of documents again. Of records it said nothing more of units that were read to their end
    before: there all runs are taken together, what both said only once.
    """
    ended: dict[str, Event] = {}
    said: dict[str, dict[tuple[str, str, str], dict[str, Any]]] = {}
    runs: dict[str, list[Event]] = {}
    watched: list[Event] = []
    for event in events(ledger, FINISHED, f"items.{bucket}"):
        if event.kind == FINISHED:
            ended[event.body["pass"]] = event
        elif "pass" not in event.body:
            watched.append(event)
        else:
            runs.setdefault(event.body["pass"], []).append(event)
    for pass_id, end in ended.items():
        found = said.setdefault(pass_id, {})
        for event in runs.get(pass_id, ()):
            alias = event.body["source"]
            if event.body["run_us"] == end.body["started_us"] or members_of(ledger, alias):
                for item in event.body["items"]:
                    found[alias, item["native"], item["cause"]] = {"source": names.get(alias, alias), **item}
    found_by_event: list[tuple[Event, Iterable[Mapping[str, Any]]]] = [
        (end, said[pass_id].values()) for pass_id, end in ended.items()
    ]
    for event in watched:
        source = event.body["source"]
        found_by_event.append(
            (event, [{"source": names.get(source, source), **item} for item in event.body["items"]])
        )
    found_by_event.sort(key=lambda found: found[0].time_us, reverse=True)
    return [
        {"pass": event.body.get("pass"), "pass_us": str(event.time_us), **item}
        for event, items in found_by_event
        for item in items
    ]


def open_copies_note(count: int) -> str:
    """Say how many items were put into the compartment of which an open copy was sealed before."""
    return (
        f"{count} went into the compartment that were sealed openly before: the open copies stay until they are "
        "disposed of (docs/restricted.md)"
    )
