"""A detector that does as it is told: answers, hangs, fails, or says what it may not. The tests run it in a process."""

import os
import time
from pathlib import Path

from scelle.safeguards.detectors import Found, Inputs, files_digest
from scelle.safeguards.gate import Detector as Registered

REPORTS = frozenset({"level"})


class Obedient:
    reports = REPORTS

    def __init__(self, weights: Path) -> None:
        self.registered = Registered("obedient", "1", files_digest(files(weights)))

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        given = inputs.all[0]
        match given.data:
            case b"hang":
                time.sleep(60)
            case b"die":
                os._exit(1)
            case b"raise":
                raise RuntimeError
            case b"another factor":
                return (Found(given, "minor", "no"),)
            case b"another value":
                return (Found(given, "level", "L9"),)
            case b"no number":
                return (Found(given, "level", "L0", float("nan")),)
            case b"environment":
                return (Found(given, "level", "L1" if "SCELLE_TEST_SECRET" in os.environ else "L0"),)
        return (Found(given, "level", "L1", 1.0, 1.0),)


def build(weights: str, start_s: float = 0.0) -> Obedient:
    time.sleep(start_s)
    return Obedient(Path(weights))


def files(weights: Path) -> tuple[Path, ...]:
    return (Path(__file__), weights)
