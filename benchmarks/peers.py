"""Run Scellé, restic, borg and bagit in turn on the same corpora and compare what they needed.

``python -m benchmarks.peers --corpora S,M,L --runs 3``; `SCALE` in the environment makes smaller corpora.
The contestants take turns step by step, so that a machine that slows down slows down for all of them.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contestants import DEFAULT, Contestant, Place, Skipped, Step, all_contestants
from benchmarks.goals import Outcome
from benchmarks.measure import StepFailed, Usage, empty_files, run_all, tree_size, warm_cache
from benchmarks.report import CorpusResult, Report, as_json, as_markdown

CORPORA = ("S", "M", "L")


@dataclass(slots=True)
class Tally:
    """What one contestant needed so far on one corpus, run by run."""

    steps: dict[Step, list[Usage]] = field(default_factory=dict)
    store_bytes: list[int] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """Return the median of each step and of the store's size."""
        steps = {step: median_usage(usages) for step, usages in self.steps.items()}
        return Outcome(steps, int(statistics.median(self.store_bytes)))


def median_usage(usages: Sequence[Usage]) -> Usage:
    """Return the median of each figure by itself."""
    return Usage(
        statistics.median(usage.cpu_s for usage in usages),
        statistics.median(usage.wall_s for usage in usages),
        int(statistics.median(usage.peak_bytes for usage in usages)),
    )


def say(text: str) -> None:
    """Tell the person who waits how far we are; standard output is for the result."""
    print(text, file=sys.stderr, flush=True)


def make_corpus(work: Path, corpus: str, scale: float) -> Path:
    """Make a corpus in a process of its own: a fork of ours would count its memory as the contestants'."""
    argv = [sys.executable, "-m", "benchmarks.corpora", str(work / "corpora"), corpus, "--scale", str(scale)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return work / "corpora" / corpus


def run_step(contestant: Contestant, step: Step, place: Place) -> Usage | None:
    """Run and measure one step of one contestant, None where it has no such step."""
    commands = contestant.commands(step, place)
    if not commands:
        return None
    usage = run_all(commands, place.log)
    say(f"  {contestant.name:13} {step.value:32} {usage.cpu_s:7.2f} s cpu {usage.wall_s:7.2f} s wall")
    if step is Step.RESTORE:
        check_written_out(contestant, place)
        empty_files(place.out)
    return usage


def check_written_out(contestant: Contestant, place: Place) -> None:
    """Raise StepFailed unless the contestant wrote out as many files and bytes as the corpus has."""
    expected, got = tree_size(place.corpus), contestant.written_out(place)
    if got != expected:
        raise StepFailed(f"{contestant.name} wrote out {got} (files, bytes), the corpus has {expected}")


def run_once(contestants: Sequence[Contestant], corpus: Path, work: Path, tallies: dict[str, Tally]) -> None:
    """Run every step once, the contestants in turn within each step, and add to the tallies."""
    home = Path(tempfile.mkdtemp(prefix="run-", dir=work / "stores"))
    places = {contestant.name: Place(corpus, home / contestant.name) for contestant in contestants}
    for contestant in contestants:
        places[contestant.name].home.mkdir(parents=True)
        contestant.prepare(places[contestant.name])
    warm_cache(corpus)
    for step in Step:
        for contestant in contestants:
            usage = run_step(contestant, step, places[contestant.name])
            if usage is not None:
                tallies[contestant.name].steps.setdefault(step, []).append(usage)
            if step is Step.FIRST:
                store = tree_size(places[contestant.name].store)
                tallies[contestant.name].store_bytes.append(store[1])
    empty_files(home)


def run_corpus(
    contestants: Sequence[Contestant], name: str, work: Path, scale: float, runs: int
) -> CorpusResult:
    """Make one corpus, run everything on it `runs` times and return the medians."""
    corpus = make_corpus(work, name, scale)
    files, size_bytes = tree_size(corpus)
    tallies = {contestant.name: Tally() for contestant in contestants}
    for number in range(runs):
        say(f"{name}: {files:,} files, {size_bytes / 1e6:,.1f} MB, run {number + 1} of {runs}")
        run_once(contestants, corpus, work, tallies)
    return CorpusResult(name, files, size_bytes, {who: tally.outcome() for who, tally in tallies.items()})


def choose(work: Path, only: frozenset[str]) -> tuple[list[Contestant], dict[str, str], dict[str, str]]:
    """Return who takes part, their versions, and who was skipped with the reason."""
    present: list[Contestant] = []
    versions: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for contestant in all_contestants(work):
        if contestant.name not in only:
            continue
        try:
            versions[contestant.name] = contestant.version()
            present.append(contestant)
        except Skipped as why:
            skipped[contestant.name] = str(why)
            say(f"{contestant.name}: skipped, {why}")
    return present, versions, skipped


def names(text: str) -> tuple[str, ...]:
    """Split a comma-separated argument."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_arguments() -> argparse.Namespace:
    """Read the command line and `SCALE`; end with status 2 where a name is unknown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    known = [contestant.name for contestant in all_contestants(Path())]
    parser.add_argument("--corpora", type=names, default=CORPORA, help="of S,M,L (default: all)")
    parser.add_argument("--only", type=names, default=DEFAULT, help=f"of {','.join(known)}")
    parser.add_argument("--runs", type=int, default=1, help="runs per corpus; the median counts")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "scelle-bench")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of Markdown")
    arguments = parser.parse_args()
    arguments.scale = float(os.environ.get("SCALE", "1"))
    for given, allowed in ((arguments.corpora, CORPORA), (arguments.only, known)):
        if unknown := sorted(set(given) - set(allowed)):
            parser.error(f"unknown: {', '.join(unknown)}; choose from {','.join(allowed)}")
    return arguments


def main() -> int:
    """Run the benchmark and print its report; return the exit code."""
    arguments = parse_arguments()
    work: Path = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    present, versions, skipped = choose(work, frozenset(arguments.only))
    if not present:
        say("nobody is left to run")
        return 1
    load = os.getloadavg()[0]
    shutil.rmtree(work / "stores", ignore_errors=True)
    (work / "stores").mkdir()
    try:
        results = [
            run_corpus(present, corpus, work, arguments.scale, arguments.runs) for corpus in arguments.corpora
        ]
    except StepFailed as failure:
        say(str(failure))  # the stores stay, for a look at what went wrong
        return 1
    shutil.rmtree(work / "stores")
    report = Report(arguments.scale, arguments.runs, load, versions, skipped, results)
    print(json.dumps(as_json(report), indent=2) if arguments.json else as_markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
