"""Measure how much processor time `scelle --help` takes: what every command pays before it does anything.

``python -m benchmarks.start``; the goal is less than 0.3 s, the median of ten runs counts.
"""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Command, StepFailed, run

RUNS = 10
LIMIT_S = 0.3


def start_times(runs: int = RUNS) -> list[float]:
    """Return the processor seconds of each run; the first run, which fills the caches, is left out."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        return [run(Command(["scelle", "--help"]), log).cpu_s for _ in range(runs + 1)][1:]


def main() -> int:
    """Print the median beside the goal; return the exit code."""
    if not shutil.which("scelle"):
        print("scelle is not on PATH (make venv)", file=sys.stderr)
        return 1
    try:
        times = start_times()
    except StepFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    median = statistics.median(times)
    word = "met" if median < LIMIT_S else "missed"
    print(f"scelle --help: {median:.3f} s of processor time (from {min(times):.3f} to {max(times):.3f})")
    print(f"goal: less than {LIMIT_S} s, {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
