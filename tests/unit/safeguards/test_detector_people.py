"""A face is a person and an apparent age is a caution; nothing that it finds or does not find says no."""

import importlib.util
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import Input, Inputs, Pool, Program, Role, files_digest, merge, people
from scelle.safeguards.detectors.interface import factors
from scelle.safeguards.detectors.people import Caution, Face
from scelle.safeguards.gate import Factor
from tests.unit.safeguards.detector_pictures import circles, encoded, needs_images, not_looked_at, shapes

CAUTION = Caution(sure=0.0, clear_age=30.0)
LONG_S = 60.0
_SAMPLES = importlib.util.find_spec("skimage")
PORTRAIT = (
    Path(_SAMPLES.submodule_search_locations[0], "data", "astronaut.png")
    if (_SAMPLES is not None and _SAMPLES.submodule_search_locations)
    else Path("none")
)
needs_portrait = pytest.mark.skipif(
    not PORTRAIT.is_file(),
    reason="scikit-image, whose public-domain portrait of an adult is the input, is not installed",
)


@pytest.fixture(scope="module")
def detector() -> people.PeopleDetector:
    return people.build()


@pytest.mark.parametrize(
    ("faces", "person", "minor"),
    [
        ([], "unknown", "unknown"),
        ([Face(200, 1.0, 12.0)], "yes", "yes"),
        ([Face(200, 1.0, 29.9)], "yes", "yes"),  # an adult perhaps, and not clearly so
        (
            [Face(200, 1.0, 30.0)],
            "yes",
            "unknown",
        ),  # clearly over 25 in appearance, which makes nobody an adult
        ([Face(200, 1.0, 70.0)], "yes", "unknown"),
        ([Face(79, 1.0, 12.0)], "yes", "unknown"),  # too small a face for an age
        ([Face(80, 1.0, 12.0)], "yes", "yes"),
        ([Face(40, 1.0, None)], "yes", "unknown"),
        ([Face(200, 1.0, 70.0), Face(90, 1.0, None)], "yes", "yes"),  # one of a crowd
        ([Face(200, -0.1, 12.0)], "unknown", "unknown"),  # hardly a face
        ([Face(200, 1.0, 70.0), Face(90, 0.2, 20.0)], "yes", "yes"),  # anybody counts
        ([Face(200, 1.0, 70.0), Face(40, 0.2, 20.0)], "yes", "unknown"),
    ],
)
def test_ages_and_sizes_of_faces_decide(faces: Sequence[Face], person: str, minor: str) -> None:
    assert (CAUTION.person_of(faces), CAUTION.minor_of(faces)) == (person, minor)


def test_neither_is_ever_no_whatever_the_faces_are() -> None:
    for width in (0, 79, 80, 1000):
        for score in (-1.0, 0.0, 3.0):
            for age in (0.0, 17.9, 29.9, 30.0, 80.0):
                face = [Face(width, score, age)]
                assert {CAUTION.person_of(face), CAUTION.minor_of(face)} <= {"yes", "unknown"}


@pytest.mark.parametrize(
    ("sure", "clear_age"), [(11.0, 30.0), (0.0, 24.9), (0.0, 81.0), (float("nan"), 30.0)]
)
def test_thresholds_below_25_or_without_sense_are_refused(sure: float, clear_age: float) -> None:
    with pytest.raises(DetectorWrong, match="people"):
        Caution(sure, clear_age)


@needs_images
def test_shapes_and_what_is_no_picture_are_unknown_and_never_nobody(detector: people.PeopleDetector) -> None:
    for name, data in {**shapes(), **not_looked_at()}.items():
        for role in (Role.REFERENCE, Role.OUTPUT):
            found = detector.detect(Inputs((Input(role, data),)), time.monotonic() + LONG_S)
            assert {each.name: each.value for each in found} == {"person": "unknown", "minor": "unknown"}, (
                name
            )


@needs_images
def test_prompts_are_not_looked_at(detector: people.PeopleDetector) -> None:
    assert detector.detect(Inputs((Input(Role.PROMPT, b"coat"),)), time.monotonic() + LONG_S) == ()


@needs_images
def test_one_picture_that_says_yes_is_not_made_unknown_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attestation overrides unknown, and not a yes: so a picture of shapes beside it must not hide one."""
    detector = people.build()
    child, other = Input(Role.REFERENCE, b"one"), Input(Role.OUTPUT, b"other")
    seen = {b"one": [Face(200, 1.0, 12.0)], b"other": []}
    monkeypatch.setattr(detector, "_faces", lambda given, deadline: seen[given.data])
    for order in ((child, other), (other, child)):
        merged = merge(factors(detector, Inputs(order), time.monotonic() + LONG_S))
        assert (merged["person"].value, merged["minor"].value) == ("yes", "yes")
        assert merged["minor"].input_id == child.id
        assert (merged["minor"].score, merged["minor"].threshold) == (12.0, 30.0)


@needs_images
@needs_portrait
def test_an_adults_portrait_is_a_person_whose_age_is_not_clear(detector: people.PeopleDetector) -> None:
    given = Inputs((Input(Role.REFERENCE, PORTRAIT.read_bytes()),))
    found = [detector.detect(given, time.monotonic() + LONG_S) for _ in range(2)]
    assert found[0] == found[1]
    assert {each.name: each.value for each in found[0]} == {"person": "yes", "minor": "yes"}
    late = detector.detect(given, time.monotonic() - 1)
    assert {each.value for each in late} == {"unknown"}


@needs_images
@needs_portrait
def test_of_a_crowd_the_widest_are_estimated_and_the_rest_is_not_clear(
    detector: people.PeopleDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_module = importlib.import_module("PIL.Image")
    one = image_module.open(PORTRAIT).convert("RGB")
    crowd = image_module.new("RGB", (1024, 512))
    crowd.paste(one)
    crowd.paste(one, (512, 0))
    monkeypatch.setattr(people, "FACE_MIN", 40)
    monkeypatch.setattr(people, "FACES_MAX", 1)
    monkeypatch.setattr(people, "SIDE_WORKING", 1024)
    faces = detector._faces(Input(Role.OUTPUT, encoded(crowd)), time.monotonic() + LONG_S)
    assert len(faces) >= 2
    assert [each.age is None for each in faces] == [False, *[True] * (len(faces) - 1)]
    assert Caution(clear_age=25.0).minor_of(faces) == "yes"


@needs_images
@needs_portrait
def test_a_small_or_turned_portrait_is_unknown(detector: people.PeopleDetector) -> None:
    image = importlib.import_module("PIL.Image").open(PORTRAIT).convert("RGB")
    for changed in (image.resize((200, 200)), image.transpose(3)):
        found = detector.detect(Inputs((Input(Role.OUTPUT, encoded(changed)),)), time.monotonic() + LONG_S)
        assert {each.value for each in found} == {"unknown"}


@needs_images
def test_every_byte_of_the_models_is_in_the_digest(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(people.shipped(), models)
    right = files_digest(people.files(models))
    assert right == people.build().registered.weights_digest
    for name in ("age-v1.onnx", "shape_predictor_5_face_landmarks.dat", "manifest.json"):
        whole = (models / name).read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            (models / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert files_digest(people.files(models)) != right, name
        (models / name).write_bytes(whole)
    assert files_digest(people.files(models)) == right


@needs_images
def test_the_model_that_guesses_a_gender_is_no_part_of_it() -> None:
    assert not [each for each in people.files() if "gender-v1" in each.name]
    assert "gender" not in people.PeopleDetector.reports


@needs_images
def test_models_that_are_gone_or_torn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorWrong, match="models"):
        people.build(str(tmp_path))
    shutil.copytree(people.shipped(), tmp_path / "models")
    (tmp_path / "models" / "age-v1.onnx").write_bytes(b"torn")
    with pytest.raises(DetectorWrong, match="models"):
        people.build(str(tmp_path / "models"))


def test_without_the_library_it_cannot_be_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for each in ("dlib", "_dlib_pybind11"):
        monkeypatch.setitem(sys.modules, each, None)
    with pytest.raises(DetectorWrong, match=r"install scelle\[images\]"):
        people.build(str(tmp_path))


@needs_images
def test_in_its_process_it_answers() -> None:
    built = people.build()
    program = Program(people.__name__, built.registered, built.files, built.reports)
    with Pool([program]) as pool:
        found = pool.inspect(Inputs((Input(Role.REFERENCE, encoded(circles(1))),)), time.monotonic() + LONG_S)
    assert {name: each.value for name, each in found.factors.items()} == {
        "person": "unknown",
        "minor": "unknown",
        "detectors": "healthy",
    }
    Factor(
        "person", detector_id=people.ID, detector_version=built.registered.version
    )  # has the form of an id
