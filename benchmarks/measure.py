"""Run a command and say what its whole process tree used."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOG_TAIL_CHARACTERS = 600


class StepFailed(Exception):
    """Say that a measured command did not end well; the message holds the end of its output."""


@dataclass(frozen=True, slots=True)
class Command:
    """One program to run: arguments, working directory, and what its environment has besides ours."""

    argv: Sequence[str]
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a step took: user and system time of the tree, wall time, memory of its largest process."""

    cpu_s: float
    wall_s: float
    peak_bytes: int


def run(command: Command, log: Path) -> Usage:
    """Run one command to its end, its output appended to `log`; raise StepFailed unless it exits with 0.

    `wait4` counts the command and every descendant that was waited for, and gives the largest memory among
    them. A forked child starts with the memory of its parent, so the process that measures has to stay small.
    """
    with log.open("ab") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            list(command.argv),
            cwd=command.cwd,
            env=os.environ | dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]
        raise StepFailed(f"{' '.join(command.argv[:3])} .. ended with {process.returncode}:\n{tail}")
    return Usage(used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss * 1024)


def run_all(commands: Sequence[Command], log: Path) -> Usage:
    """Run commands one after the other: times add up, memory is that of the largest."""
    parts = [run(command, log) for command in commands]
    return Usage(
        sum(part.cpu_s for part in parts),
        sum(part.wall_s for part in parts),
        max(part.peak_bytes for part in parts),
    )


def tree_size(folder: Path) -> tuple[int, int]:
    """Return the number of files under a folder and the sum of their lengths in bytes."""
    count, size_bytes = 0, 0
    for parent, _, names in os.walk(folder):
        for name in names:
            count += 1
            size_bytes += os.lstat(f"{parent}/{name}").st_size
    return count, size_bytes


def warm_cache(folder: Path) -> None:
    """Read every file once, so that no contestant pays for the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with Path(parent, name).open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass


def empty_files(folder: Path) -> None:
    """Cut every file under a folder to nothing: its space is free again, its inode is not.

    ext4 steps over inodes that were deleted in the last minutes, one by one. A tree of 20,000 files that was
    removed made the next restore six times as dear, so trees go only when everything is measured.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                path.chmod(0o600)
                os.truncate(path, 0)
