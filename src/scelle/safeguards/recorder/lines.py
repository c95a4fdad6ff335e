"""Read the files of a spool back: each line, whether it follows the one before, and where a run ended."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from scelle.safeguards.recorder.model import FIRST_HASH, OUTCOMES, REQUESTED, Mode

_NAME: Final = re.compile(r"(\d{8})-(\d{8}T\d{12}Z)\.jsonl")
_TAIL_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """One file of a surface: its number, and the run that wrote it (when that began)."""

    path: Path
    number: int
    run: str


@dataclass(frozen=True, slots=True)
class Line:
    """One whole line: its event, its hash, and where it stands. A line that is no event has None."""

    event: dict[str, Any] | None
    hash: str
    offset: int


@dataclass(slots=True)
class RunEnd:
    """How the last run over a surface ended: where the chain stands, and what it left."""

    number: int = 0
    seq: int = 0
    hash: str = FIRST_HASH
    open_attempts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The `requested` events without an outcome, by attempt; of earlier files, what `abandoned` says of them."""
    broken: int = 0
    """Lines that are no events, or do not follow the one before them."""
    mode: Mode = Mode.BLOCK
    last_ts: str | None = None
    ended: bool = True
    """Whether it ended by itself; else it was killed."""


def spool_files(folder: Path) -> list[SpoolFile]:
    """List the files of a surface in the order in which they were written."""
    found = []
    for path in folder.glob("*.jsonl"):
        matched = _NAME.fullmatch(path.name)
        if matched is not None:
            found.append(SpoolFile(path, int(matched[1]), matched[2]))
    return sorted(found, key=lambda each: each.number)


def file_name(number: int, run: str) -> str:
    """Return the name of the file with a number, of the run that began then."""
    return f"{number:08d}-{run}.jsonl"


def lines_of(path: Path) -> Iterator[Line]:
    """Yield the lines of a file that have their end."""
    offset = 0
    with path.open("rb") as file:
        for raw in file:
            if raw.endswith(b"\n"):
                yield Line(_event(raw), sha256(raw[:-1]).hexdigest(), offset)
            offset += len(raw)


def raw_lines(folder: Path, from_file: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield the whole lines of a surface's files from one file on, each with the name of its file."""
    for each in spool_files(folder):
        if each.path.name >= from_file:
            with each.path.open("rb") as file:
                yield from ((each.path.name, raw) for raw in file if raw.endswith(b"\n"))


def run_end(folder: Path) -> RunEnd:
    """Find out how the last run ended, from its last file alone: each begins with what a start must know."""
    files = spool_files(folder)
    end = RunEnd()
    if files:
        end = RunEnd(number=files[-1].number, ended=False)
        for line in lines_of(files[-1].path):
            _take(end, line)
    return end


def _take(end: RunEnd, line: Line) -> None:
    event = line.event
    is_first = end.seq == 0
    if event is None or not (is_first or event.get("prev") == end.hash):
        end.broken += 1
    end.hash = line.hash
    if event is None:
        return
    seq = event.get("seq")
    end.seq = max(end.seq, seq if isinstance(seq, int) else 0)
    end.last_ts = event.get("ts", end.last_ts)
    attempt, kind = event.get("attempt_id"), event.get("event")
    if kind == REQUESTED:
        end.open_attempts[str(attempt)] = event
    elif kind in OUTCOMES:
        end.open_attempts.pop(str(attempt), None)
    recorder = event.get("recorder")
    if isinstance(recorder, dict):
        end.mode = Mode(recorder["mode"]) if recorder.get("mode") in list(Mode) else end.mode
        end.ended = recorder.get("state") == "ended"
        carried = event.get("open")
        end.open_attempts |= carried if isinstance(carried, dict) else {}


def torn_end(path: Path) -> tuple[int, bool]:
    """Return how many bytes of a file are followed by no line end, and whether they are a whole event all the same."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = size
        tail = b""
        while start and b"\n" not in tail:
            step = min(_TAIL_BYTES, start)
            start -= step
            file.seek(start)
            tail = file.read(step) + tail
    torn = tail.rpartition(b"\n")[2]
    return len(torn), bool(torn) and _event(torn) is not None


def _event(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
