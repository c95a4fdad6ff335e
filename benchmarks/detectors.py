"""Measure the detectors: time of the text detector in-process and in its process, of PDQ, and what text is understood.

``python -m benchmarks.detectors [--turns 5]``. The prompts are the mild sentences of the tests: stand-ins in each
language, disguised and plain, unsupported languages, and long texts that nothing knows. Exit code 1 where the 95th
percentile of text is above its limit.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from statistics import quantiles

from tests.unit.safeguards.detector_sentences import COAT, DISGUISES, EVERYDAY, SCENERY, SWIMWEAR, UNSUPPORTED
from tests.unit.safeguards.test_detector_hashes import HAS_PDQ, circles, encoded

from scelle.safeguards.detectors import Input, Inputs, Pool, Program, Role, TextDetector, hashes, text

TEXT_LIMIT_MS = 5.0
PICTURE_LIMIT_MS = 150.0
DEADLINE_S = 10.0


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
    picture_ms = (0.0, 0.0)
    if HAS_PDQ:
        pictures = [Inputs((Input(Role.OUTPUT, encoded(circles(seed, 1024))),)) for seed in range(10)]
        picture_ms = timed(lambda each: hashes.pdq_variants(each.all[0].data), pictures, turns)
        show("PDQ, PNG of 1024 px", len(pictures), picture_ms)
    else:
        print("PDQ: not measured, the extra `images` is not installed")
    sys.exit(1 if text_ms[1] > TEXT_LIMIT_MS or picture_ms[1] > PICTURE_LIMIT_MS else 0)


if __name__ == "__main__":
    main()
