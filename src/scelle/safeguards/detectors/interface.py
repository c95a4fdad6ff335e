"""Say what a detector is: it is given inputs by digest and a deadline, and reports factors with their provenance.

Source: safeguards.md §4.2. A detector reports what it found out; whatever it leaves out stays unknown at the gate.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

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


class Detector(Protocol):
    """Something that reports factors.

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

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        """Return what was found; `deadline` is on the clock of `time.monotonic`. Late is as good as nothing."""
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
    """Return one factor per name: the riskiest of those reported; of two that have no order, unknown."""
    merged: dict[str, Factor] = {}
    for factor in reported:
        merged[factor.name] = _riskier(merged.get(factor.name, factor), factor)
    return merged


def _riskier(one: Factor, other: Factor) -> Factor:
    domain = DOMAIN_OF[one.name]
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
