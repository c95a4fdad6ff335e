"""Measure the gate: proving and compiling the shipped policy, and one decision with its record and counterfactual.

``python -m benchmarks.gate [--decisions 20000] [--turns 5]``. Decides every kind of request in turn, drawn with a fixed
seed over all factor values, so that no case is favoured. The median and the 95th percentile of single decisions count,
of the best of the turns; the machine's own noise is in the spread that is shown. Exit code 1 above the limit.
"""

import argparse
import random
import sys
import time
from statistics import quantiles
from typing import Final

from scelle.safeguards.gate import Bundle, Factor, Gate, Request, Stage, default_policy, prove
from scelle.safeguards.gate.model import LEVELS, request_domains

LIMIT_US: Final = 50
SEED: Final = 6


def requests(count: int) -> list[Request]:
    """Draw requests of both stages: half of the factors at their calmest, the others anywhere."""
    draw = random.Random(SEED)
    found = []
    for number in range(count):
        stage = list(Stage)[number % 2]
        values = {
            each.name: each.values[0] if draw.random() < 0.5 else draw.choice(each.values)
            for each in request_domains(stage)
        }
        factors = {name: Factor(name, value, detector_id="bench") for name, value in values.items()}
        found.append(Request(stage, factors, draw.choice(LEVELS[:-1]), draw.random() < 0.5))
    return found


def decide_all(gate: Gate, asked: list[Request]) -> list[float]:
    """Return how long each decision took, in microseconds."""
    taken = []
    for request in asked:
        started = time.perf_counter_ns()
        gate.decide(request, "d-1")
        taken.append((time.perf_counter_ns() - started) / 1000)
    return taken


def main() -> None:
    """Print the figures; exit code 1 where a decision is slower than its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    started = time.perf_counter()
    bundle = Bundle(default_policy())
    read_ms = (time.perf_counter() - started) * 1000
    proof = prove(bundle)
    print(f"read {read_ms:.0f} ms; proven {sum(proof.combinations.values()):,} combinations, ", end="")
    print(f"{sum(proof.cells.values()):,} cells, in {proof.duration_us / 1000:.0f} ms")
    gate, asked = Gate(bundle), requests(given.decisions)
    turns = []
    for _ in range(given.turns):
        cuts = quantiles(decide_all(gate, asked), n=100)
        turns.append((cuts[49], cuts[94]))
    (p50, p95), (worst, worst_95) = min(turns), max(turns)
    print(
        f"decision: p50 {p50:.1f} us, p95 {p95:.1f} us (worst turn {worst:.1f}, {worst_95:.1f}); limit {LIMIT_US} us"
    )
    sys.exit(p95 > LIMIT_US)


if __name__ == "__main__":
    main()
