"""Write the results of a run as Markdown for people and as one JSON document for programs."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import Step
from benchmarks.goals import PEAK_LIMIT_BYTES, Outcome, Verdict, judge, peak_bytes
from benchmarks.measure import Usage

MEGA = 1e6


@dataclass(frozen=True, slots=True)
class CorpusResult:
    """What every contestant needed on one corpus."""

    corpus: str
    files: int
    size_bytes: int
    outcomes: dict[str, Outcome]


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the benchmark: where, with which versions, and what came out."""

    scale: float
    runs: int
    load: float
    versions: dict[str, str]
    skipped: dict[str, str]
    results: list[CorpusResult]


def machine() -> str:
    """Return processor, cores, memory, kernel and Python in one line."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {system}, Python {platform.python_version()}"


def as_json(report: Report) -> dict[str, object]:
    """Return the whole report as a JSON object; seconds, bytes and microseconds by their key names."""
    return {
        "machine": machine(),
        "scale": report.scale,
        "runs": report.runs,
        "load_before": report.load,
        "versions": report.versions,
        "skipped": report.skipped,
        "corpora": {result.corpus: _corpus_json(result) for result in report.results},
        "goals": [_verdict_json(verdict) for result in report.results for verdict in _verdicts(result)],
    }


def as_markdown(report: Report) -> str:
    """Return the whole report as Markdown."""
    how = f"Scale {report.scale:g}, median of {report.runs}, load before {report.load:.1f}"
    lines = [f"Machine: {machine()}. {how}.", ""]
    lines += [f"* {name}: {version}" for name, version in report.versions.items()]
    lines += [f"* {name}: skipped, {why}" for name, why in report.skipped.items()]
    for result in report.results:
        lines += ["", *_corpus_table(result)]
    goals = [verdict for result in report.results for verdict in _verdicts(result)]
    if goals:
        lines += ["", *_goal_table(goals), *_peak_rows(report.results)]
    return "\n".join(lines) + "\n"


def _verdicts(result: CorpusResult) -> list[Verdict]:
    return list(judge(result.corpus, result.outcomes))


def _corpus_table(result: CorpusResult) -> Iterator[str]:
    outcomes = result.outcomes
    yield f"### {result.corpus}: {result.files:,} files, {result.size_bytes / MEGA:,.1f} MB"
    yield ""
    yield "Processor seconds · wall seconds · peak MB:"
    yield ""
    yield _row("step", *outcomes, *(f"scelle/{name}" for name in _peers(outcomes)))
    yield _row("---", *("---:" for _ in outcomes), *("---:" for _ in _peers(outcomes)))
    for step in Step:
        cells = [_usage_cell(outcome.steps.get(step)) for outcome in outcomes.values()]
        yield _row(step.value, *cells, *(_cpu_ratio(outcomes, name, step) for name in _peers(outcomes)))
    sizes = [f"{outcome.store_bytes / MEGA:,.1f} MB" for outcome in outcomes.values()]
    yield _row("size of the store", *sizes, *(_size_ratio(outcomes, name) for name in _peers(outcomes)))
    per_file = [_per_file_cell(outcome, result.files) for outcome in outcomes.values()]
    yield _row("first copy, µs of processor a file", *per_file, *("" for _ in _peers(outcomes)))


def _goal_table(verdicts: list[Verdict]) -> Iterator[str]:
    yield "### Goals (Scellé divided by the peer)"
    yield ""
    yield _row("corpus", "what", "peer", "at most", "measured", "")
    yield _row("---", "---", "---", "---:", "---:", "---")
    for verdict in verdicts:
        goal = verdict.goal
        limit = f"{goal.limit:.2f}" + (f" ({goal.stretch:.2f})" if goal.stretch else "")
        word = "met" if verdict.met else "missed"
        yield _row(goal.corpus, goal.what, goal.peer, limit, f"{verdict.ratio:.2f}", word)


def _peak_rows(results: list[CorpusResult]) -> Iterator[str]:
    limit = f"{PEAK_LIMIT_BYTES / MEGA:.0f} MB"
    for result in results:
        peak = peak_bytes(result.outcomes["scelle"])
        word = "met" if peak <= PEAK_LIMIT_BYTES else "missed"
        yield _row(result.corpus, "peak memory of any step", "", limit, f"{peak / MEGA:.0f} MB", word)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _peers(outcomes: dict[str, Outcome]) -> list[str]:
    return [name for name in outcomes if name != "scelle"] if "scelle" in outcomes else []


def _usage_cell(usage: Usage | None) -> str:
    return f"{usage.cpu_s:.2f} · {usage.wall_s:.2f} · {usage.peak_bytes / MEGA:.0f}" if usage else "none"


def _per_file_cell(outcome: Outcome, files: int) -> str:
    first = outcome.steps.get(Step.FIRST)
    return f"{first.cpu_s / files * 1e6:,.0f}" if first else "none"


def _cpu_ratio(outcomes: dict[str, Outcome], peer: str, step: Step) -> str:
    ours, theirs = outcomes["scelle"].steps.get(step), outcomes[peer].steps.get(step)
    return f"{ours.cpu_s / theirs.cpu_s:.2f}" if ours and theirs and theirs.cpu_s else ""


def _size_ratio(outcomes: dict[str, Outcome], peer: str) -> str:
    theirs = outcomes[peer].store_bytes
    return f"{outcomes['scelle'].store_bytes / theirs:.2f}" if theirs else ""


def _corpus_json(result: CorpusResult) -> dict[str, object]:
    return {
        "files": result.files,
        "size_bytes": result.size_bytes,
        "contestants": {name: _outcome_json(outcome) for name, outcome in result.outcomes.items()},
    }


def _outcome_json(outcome: Outcome) -> dict[str, object]:
    steps = {
        step.name.lower(): {"cpu_s": usage.cpu_s, "wall_s": usage.wall_s, "peak_bytes": usage.peak_bytes}
        for step, usage in outcome.steps.items()
    }
    peak = peak_bytes(outcome)
    within = peak <= PEAK_LIMIT_BYTES
    return {
        "steps": steps,
        "store_bytes": outcome.store_bytes,
        "peak_bytes": peak,
        "peak_within_goal": within,
    }


def _verdict_json(verdict: Verdict) -> dict[str, object]:
    goal = verdict.goal
    return {
        "corpus": goal.corpus,
        "what": goal.what,
        "peer": goal.peer,
        "limit": goal.limit,
        "ratio": verdict.ratio,
        "met": verdict.met,
    }
