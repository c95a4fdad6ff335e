"""Notes hold codes and numbers of inputs that were given, and nothing else gets through to a record."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import Findings, Input, Inputs, Note, Pool, Program, Role, files_digest
from scelle.safeguards.gate import Detector
from tests.unit.safeguards import detector_notes

LONG_S = 20.0


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]), prepend=os.pathsep)
    files = (Path(detector_notes.__file__),)
    registered = Detector("notary", "1", files_digest(files))
    with Pool([Program(detector_notes.__name__, registered, files, frozenset())]) as pool:
        yield pool


def ask(pool: Pool, *texts: bytes) -> Findings:
    return pool.inspect(Inputs(tuple(Input(Role.PROMPT, each) for each in texts)), time.monotonic() + LONG_S)


def test_notes_come_with_factors_and_name_their_input(pool: Pool) -> None:
    found = ask(pool, b"coat", b"scarf")
    assert found.factors["detectors"].value == "healthy"
    given = [Input(Role.PROMPT, each).id for each in (b"coat", b"scarf")]
    assert found.notes == tuple(
        Note(each, "notary", {"length": n}) for each, n in zip(given, (4, 5), strict=True)
    )
    assert pool.detect(Inputs((Input(Role.PROMPT, b"coat"),)), time.monotonic() + LONG_S) == found.factors


@pytest.mark.parametrize(
    "prompt", [b"free text", b"too long", b"of another", b"too many", b"no mapping", b"infinite", b"nested"]
)
def test_a_detector_that_notes_anything_else_is_down(pool: Pool, prompt: bytes) -> None:
    assert ask(pool, b"coat").factors["detectors"].value == "healthy"
    found = ask(pool, prompt)
    assert found.factors["detectors"].value == "down"
    assert found.notes == ()
    assert pool.why_down() == {"notary": "down"}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {
            "state": "valid",
            "failures": ["signingCredential.untrusted"],
            "is_trusted": False,
            "score": 0.5,
            "no": None,
        },
        {"pdq": "f" * 64, "quality": 100},
    ],
)
def test_codes_and_numbers_are_taken(content: dict[str, Any]) -> None:
    assert Note("sha256:" + "0" * 64, "notary", content).content == content


@pytest.mark.parametrize(
    "content",
    [
        {"title": "put the person in a winter coat"},
        {"titles": ["put the person in a winter coat"]},
        {"put the person": 1},
        {"Title": 1},
        {"code": ""},
        {"code": "a\n"},
        {"code": "a" * 97},
        {"at": "https://example.org/"},
        {"deep": {"more": 1}},
        {"deep": [["more"]]},
        {"number": float("nan")},
        {"number": float("inf")},
        {"numbers": [1] * 4096},
        {"bytes": b"a"},
    ],
)
def test_text_and_whatever_is_larger_is_refused_and_not_repeated(content: dict[str, Any]) -> None:
    with pytest.raises(DetectorWrong) as refused:
        Note("sha256:" + "0" * 64, "notary", content)
    assert "winter" not in str(refused.value)
