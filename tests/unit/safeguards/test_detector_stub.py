"""Assigned values reach the gate by the digest of a file: the only way in which the grades beyond L2 are exercised."""

import json
import time
from pathlib import Path

import pytest

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import Input, Inputs, Pool, Program, Role, StubDetector, merge, stub
from scelle.safeguards.detectors.interface import factors
from scelle.safeguards.gate import Bundle, Factor, Gate, Request, Stage, default_policy

SQUARE = Input(Role.REFERENCE, b"a picture of a square")
CIRCLE = Input(Role.REFERENCE, b"a picture of a circle")
OTHER = Input(Role.REFERENCE, b"a picture of nothing that is listed")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "assigned.json"
    inputs = {
        SQUARE.digest: {"minor": "yes", "level": "L3"},
        CIRCLE.digest: {"minor": "unknown", "level": "L0"},
    }
    path.write_text(json.dumps({"format": "scelle-stub/1", "inputs": inputs}), encoding="utf-8")
    return path


def test_only_inputs_that_are_listed_have_factors(listed: Path) -> None:
    found = StubDetector(listed).detect(Inputs((OTHER, SQUARE)), time.monotonic() + 1)
    assert {(each.input.digest, each.name, each.value) for each in found} == {
        (SQUARE.digest, "minor", "yes"),
        (SQUARE.digest, "level", "L3"),
    }


def test_assigned_values_are_refused_by_the_rules_that_they_are_for(listed: Path) -> None:
    detector = StubDetector(listed)
    program = Program(
        stub.__name__, detector.registered, stub.files(listed), detector.reports, {"path": str(listed)}
    )
    with Pool([program]) as pool:
        found = pool.detect(Inputs((SQUARE,)), time.monotonic() + 20)
    decision = Gate(Bundle(default_policy(), pool.registered)).decide(
        Request(Stage.INPUT, {**found, "person": Factor("person", "yes")}), "d-1"
    )
    assert {"R020", "R030"} <= set(decision.rules_fired)
    assert found["detectors"].value == "healthy"


def test_of_several_inputs_the_riskiest_value_counts(listed: Path) -> None:
    found = merge(factors(StubDetector(listed), Inputs((SQUARE, CIRCLE)), time.monotonic() + 1))
    assert (found["minor"].value, found["level"].value) == ("yes", "L3")
    assert found["minor"].input_id == SQUARE.id  # one that was found is not lost behind one that is not known


def test_of_two_values_without_an_order_neither_counts() -> None:
    assert merge([Factor("op", "edit"), Factor("op", "video")])["op"].value == "unknown"
    assert merge([Factor("op", "edit"), Factor("op", "t2i")])["op"].value == "edit"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ('{"format": "scelle-stub/2", "inputs": {}}', "format"),
        ('{"format": "scelle-stub/1"}', "inputs"),
        ('{"format": "scelle-stub/1", "inputs": {"0": {"level": "L9"}}}', "inputs"),
        ('{"format": "scelle-stub/1", "inputs": {"0": {"consent": "valid"}}}', "inputs"),
        ('{"format": "scelle-stub/1", "inputs": {"0": {"detectors": "healthy"}}}', "inputs"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "assigned.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DetectorWrong, match=said):
        StubDetector(path)
