"""Say what a detector is: it is given inputs by digest and a deadline, and reports factors with their provenance.

Source: safeguards.md §4.2. A detector reports what it found out; whatever it leaves out stays unknown at the gate.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from scelle.errors import DetectorWrong
from scelle.safeguards.gate.bundle import Detector as Registered
from scelle.safeguards.gate.model import DOMAIN_OF, Factor


class Role(StrEnum):
    """What an input is in a request."""

    PROMPT = "prompt"
    REFERENCE = "reference"
    OUTPUT = "output"


@dataclass(frozen=True)
class Input:
    """One input of a request, as its bytes were; a prompt is UTF-8."""

    role: Role
    data: bytes

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bytes, in hexadecimal: what records and lists know the input by."""
        return sha256(self.data).hexdigest()

    @property
    def id(self) -> str:
        """The form in which factors name it."""
        return f"sha256:{self.digest}"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a request consists of: prompts, references in their order (the first is the root), outputs."""

    all: tuple[Input, ...]

    def of(self, role: Role) -> tuple[Input, ...]:
        """Return the inputs of one role, in their order."""
        return tuple(each for each in self.all if each.role is role)


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector found of one input: a factor's value, its score, and the threshold that the score was held to."""

    input: Input
    name: str
    value: str
    score: float | None = None
    threshold: float | None = None


_EXISTENTIAL: Final = frozenset(["person", "named", "minor"])
NOTE_MAX_BYTES: Final = 4096
"""The JSON of a note is at most so long."""
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,95}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Note:
    """What a detector saw of one input that is no factor, so no rule speaks of it: records keep it.

    `content` maps names to numbers, truth values, None and codes, or lists of these. A code is letters, digits and
    `._:+-`, at most 96 of them: no text of a picture's has that form. Raises DetectorWrong, repeating nothing of what
    it was given, for anything else and for more than `NOTE_MAX_BYTES`.
    """

    input_id: str
    detector_id: str
    content: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in self.content):
            raise DetectorWrong("a note's names are small letters, digits and underscore, at most 32")
        if not all(map(_is_noted, self.content.values())):
            raise DetectorWrong("a note holds numbers, truth values, codes, and lists of these: no text")
        if len(json.dumps(dict(self.content))) > NOTE_MAX_BYTES:
            raise DetectorWrong(f"a note is at most {NOTE_MAX_BYTES} bytes long")


def _is_noted(value: Any) -> bool:
    each = value if isinstance(value, list | tuple) else (value,)
    return all(map(_is_scalar, each))


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return _CODE.fullmatch(value) is not None
    return value is None or (isinstance(value, bool | int | float) and abs(value) <= _NUMBER_MAX)


class Detector(Protocol):
    """Something that reports factors; one that is a `Noter` also writes notes.

    `registered` is its id, version and the digest of the files that it consists of (`files_digest`), as a bundle names
    it. `reports` are the factors that it may report; anything else from it is refused.
    """

    @property
    def registered(self) -> Registered:
        """Its id, version and digest."""
        ...

    @property
    def reports(self) -> frozenset[str]:
        """The names of the factors that it may report."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """What it consists of: code, weights, lists. Their `files_digest` is that of `registered`."""
        ...

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        """Return what was found; `deadline` is on the clock of `time.monotonic`. Late is as good as nothing."""
        ...


@runtime_checkable
class Noter(Protocol):
    """A detector that also writes notes."""

    def notes(self, inputs: Inputs, deadline: float) -> tuple[Note, ...]:
        """Return at most one note for each input; asked right after `detect`, with the same inputs and deadline."""
        ...


def factors(detector: Detector, inputs: Inputs, deadline: float) -> tuple[Factor, ...]:
    """Run a detector and return what it found as the gate's factors, with their provenance."""
    started = time.monotonic()
    found = detector.detect(inputs, deadline)
    ms = round((time.monotonic() - started) * 1000, 3)
    what = detector.registered
    return tuple(
        Factor(
            each.name,
            each.value,
            each.score,
            what.id,
            what.version,
            what.weights_digest,
            each.threshold,
            each.input.id,
            ms,
        )
        for each in found
    )


def merge(reported: Iterable[Factor]) -> dict[str, Factor]:
    """Return one factor per name: the riskiest of those reported; of two that have no order, unknown.

    Of whether somebody is there (`person`, `named`, `minor`) one *yes* settles it, whoever else does not know: that
    somebody found one must not be lost behind what another could not read.
    """
    merged: dict[str, Factor] = {}
    for factor in reported:
        merged[factor.name] = _riskier(merged.get(factor.name, factor), factor)
    return merged


def _riskier(one: Factor, other: Factor) -> Factor:
    domain = DOMAIN_OF[one.name]
    if one.name in _EXISTENTIAL and "yes" in (one.value, other.value):
        return one if one.value == "yes" else other
    if other.value in domain.at_least(one.value):
        return other if other.value != one.value else one
    return one if one.value in domain.at_least(other.value) else replace(one, value=domain.values[-1])


def files_digest(files: Mapping[str, Path] | Iterable[Path]) -> str:
    """Return one SHA-256 for the files that a detector consists of: over their names and digests, in order of names.

    Raises OSError for a file that cannot be read.
    """
    named = files if isinstance(files, Mapping) else {path.name: path for path in files}
    lines = (f"{_file_digest(path)}  {name}\n" for name, path in sorted(named.items()))
    return sha256("".join(lines).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


_BLOCK: Final = 1 << 20
_NUMBER_MAX: Final = 1e12  # refuses what is not finite
