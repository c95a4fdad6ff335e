"""Run each detector in a process of its own with a hard deadline; what is down, late or another one is *down* (F11).

A detector that is late is killed and started anew; one that is not what the bundle names is not asked. In each case
its factors stay unknown and F11 is `down`, so rule R080 fires: fail closed. A pool answers one request at a time; a
service keeps as many pools as it has requests at once.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from scelle.errors import DetectorWrong, GateRequestWrong
from scelle.safeguards.detectors import frames
from scelle.safeguards.detectors.interface import Inputs, Note, files_digest, merge
from scelle.safeguards.gate.bundle import Detector as Registered
from scelle.safeguards.gate.model import Factor

RESTART_MIN_S: Final = 0.5
"""A process that does not stay up is started at most so often."""

START_MAX_S: Final = 60.0
"""A process that has not said by then what it is, is killed."""
_NUMBER_MAX: Final = 1e12  # refuses what is not finite
ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")
"""What a detector's process is told of ours: it reads what strangers send, and needs no secret."""


@dataclass(frozen=True)
class Program:
    """A detector as it is to run: a module whose `build(**options)` makes it, and what the bundle says that it is.

    `files` are what it consists of; their digest must be that of `registered`, before it is started and when any of
    them changes. `reports` are the only factors that are taken from it.
    """

    module: str
    registered: Registered
    files: tuple[Path, ...]
    reports: frozenset[str]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Findings:
    """What detectors found: factors by name, for the gate, and notes, which no rule speaks of, for the record."""

    factors: dict[str, Factor]
    notes: tuple[Note, ...] = ()


class Worker:
    """One detector's process. Not for several threads; `Pool` is."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._is_introduced = False
        self._started_at = -RESTART_MIN_S
        self._seen: tuple[tuple[int, ...], ...] = ()
        self._are_files_right = False
        self._nonce = ""
        self._asked_at = 0.0
        self.why_down: str | None = None
        self.start()

    @property
    def pid(self) -> int | None:
        """The id of the process, None where there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process unless it runs, its files are not the bundle's, or it was started just now."""
        if self._process is not None and self._process.poll() is None:
            return
        self.kill()
        if not self._files_are_right() or time.monotonic() - self._started_at < RESTART_MIN_S:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "scelle.safeguards.detectors.serve", str(theirs.fileno())]
            self._process = subprocess.Popen(
                [*command, self.program.module, json.dumps(dict(self.program.options))],
                env={each: os.environ[each] for each in ENVIRONMENT if each in os.environ},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what a library says about an input is not for a log
                start_new_session=True,
            )
        self._channel, self._is_introduced, self._started_at = ours, False, time.monotonic()

    def kill(self) -> None:
        """End the process and whatever it started, at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._channel is not None:
            self._channel.close()
        self._process = self._channel = None

    def ask(self, inputs: Inputs, deadline: float) -> bool:
        """Send a request; return whether it was sent, and `why_down` where it was not."""
        self._asked_at, self.why_down = time.monotonic(), None
        if not self._files_are_right():
            self.kill()  # what still runs is what was there before: not what is installed, so nobody's word counts
            return self._down("other-files")
        self.start()
        if self._channel is None:
            return self._down("down")
        try:
            if not self._is_introduced:
                self._meet(frames.receive(self._channel, deadline, parts_max_bytes=0)[0])
            if not self._is_introduced:
                return self._down("other-version")
            self._nonce = secrets.token_hex(8)
            header = {"nonce": self._nonce, "left_s": deadline - time.monotonic()}
            header["roles"] = [each.role.value for each in inputs.all]
            frames.send(self._channel, header, [each.data for each in inputs.all], deadline)
        except (OSError, frames.FrameWrong) as error:
            return self._failed(error)
        return True

    def answer(self, inputs: Inputs, deadline: float) -> tuple[list[Factor], list[Note]] | None:
        """Return factors and notes, None where the detector is down; then it is being started anew."""
        if self._channel is None:
            return None
        try:
            header, _ = frames.receive(self._channel, deadline, parts_max_bytes=0)
            if header.get("nonce") != self._nonce:
                raise frames.FrameWrong("an answer to nothing that was asked")
            ms = round((time.monotonic() - self._asked_at) * 1000, 3)
            found = [self._factor(inputs, each, ms) for each in header["found"]]
            return found, self._notes(inputs, header.get("notes", []))
        except (OSError, frames.FrameWrong) as error:
            self._failed(error)
        except (DetectorWrong, GateRequestWrong, LookupError, TypeError, ValueError, AttributeError):
            self._failed(frames.FrameWrong("no factors"))
        return None

    def _factor(self, inputs: Inputs, found: Any, ms: float) -> Factor:
        place, name, value, score, threshold = found
        if name not in self.program.reports or not isinstance(place, int) or place < 0:
            raise frames.FrameWrong("a factor that is not this detector's")
        if not all(each is None or abs(each) <= _NUMBER_MAX for each in (score, threshold)):
            raise frames.FrameWrong("a score that is no number")
        what, given = self.program.registered, inputs.all[place].id
        return Factor(name, value, score, what.id, what.version, what.weights_digest, threshold, given, ms)

    def _notes(self, inputs: Inputs, noted: Any) -> list[Note]:
        given = {each.id for each in inputs.all}
        notes = [Note(input_id, self.program.registered.id, content) for input_id, content in noted]
        if not {each.input_id for each in notes} <= given or len(notes) > len(inputs.all):
            raise frames.FrameWrong("notes of what it was not given")
        return notes

    def _meet(self, hello: dict[str, Any]) -> None:
        what = self.program.registered
        said = {"id": what.id, "version": what.version, "weights_digest": what.weights_digest}
        self._is_introduced = hello.get("registered") == said

    def _failed(self, error: Exception) -> bool:
        is_late = isinstance(error, TimeoutError)
        is_young = time.monotonic() - self._started_at < START_MAX_S
        is_starting = is_late and is_young and not self._is_introduced
        if not is_starting:  # a process that is still starting is given its time, and is down meanwhile
            self.kill()
            self.start()
        return self._down("starting" if is_starting else "late" if is_late else "down")

    def _down(self, why: str) -> bool:
        self.why_down = why
        return False

    def _files_are_right(self) -> bool:
        """Tell whether the files are those of the bundle; they are read again only when one of them changed."""
        try:
            seen = tuple(_signature(path) for path in self.program.files)
            if seen != self._seen:
                self._are_files_right = (
                    files_digest(self.program.files) == self.program.registered.weights_digest
                )
                self._seen = seen
        except OSError:
            self._seen, self._are_files_right = (), False
        return self._are_files_right


class Pool:
    """The detectors that a bundle requires, each in its process. A context manager; may be shared by threads."""

    def __init__(self, programs: Iterable[Program]) -> None:
        self._workers = tuple(map(Worker, programs))
        self._lock = threading.Lock()

    @property
    def registered(self) -> tuple[Registered, ...]:
        """The detectors with their versions and digests, as a bundle names them."""
        return tuple(each.program.registered for each in self._workers)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The processes, in the order of the programs."""
        return self._workers

    def detect(self, inputs: Inputs, deadline: float) -> dict[str, Factor]:
        """Return the factors that `inspect` finds."""
        return self.inspect(inputs, deadline).factors

    def inspect(self, inputs: Inputs, deadline: float) -> Findings:
        """Ask all detectors at once and return the riskiest of each factor, F11, and notes; never after `deadline`.

        `deadline` is on the clock of `time.monotonic`.
        """
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return Findings({"detectors": Factor("detectors", "down")})
        try:
            asked = [each for each in self._workers if each.ask(inputs, deadline)]
            answers = [each.answer(inputs, deadline) for each in asked]
        finally:
            self._lock.release()
        found = [answer for answer in answers if answer is not None]
        is_healthy = len(found) == len(self._workers) > 0
        health = Factor("detectors", "healthy" if is_healthy else "down")
        merged = merge(factor for factors, _ in found for factor in factors)
        return Findings(merged | {"detectors": health}, tuple(note for _, notes in found for note in notes))

    def why_down(self) -> dict[str, str]:
        """Return, by detector, why it was down at the last request (down, late, starting, other-files...)."""
        return {
            each.program.registered.id: each.why_down for each in self._workers if each.why_down is not None
        }

    def close(self) -> None:
        """End all processes."""
        for each in self._workers:
            each.kill()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _signature(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
