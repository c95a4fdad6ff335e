"""Return factor values that a file assigns to inputs by their SHA-256: for tests and demonstrations, never for content.

The file: ``{"format": "scelle-stub/1", "inputs": {"<SHA-256>": {"minor": "unknown", "level": "L4"}}}``. An input that
is not listed has no factors. The grades beyond L2 and the paths of minors are exercised in this way and in no other.
"""

import json
from pathlib import Path
from typing import Any, Final

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors.interface import Found, Inputs, files_digest
from scelle.safeguards.gate.bundle import Detector as Registered
from scelle.safeguards.gate.model import DOMAIN_OF

ID: Final = "stub"
VERSION: Final = "1"
FORMAT: Final = "scelle-stub/1"


class StubDetector:
    """Reports whatever its file assigns."""

    reports = frozenset(DOMAIN_OF) - {"detectors", "consent"}

    def __init__(self, path: Path) -> None:
        self._assigned = _read(path)
        self.files = files(path)
        self.registered = Registered(ID, VERSION, files_digest(self.files))

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        """Return the assigned values of the inputs that are listed."""
        return tuple(
            Found(each, name, value)
            for each in inputs.all
            for name, value in self._assigned.get(each.digest, {}).items()
        )


def build(path: str) -> StubDetector:
    """Build the detector in a process of its own."""
    return StubDetector(Path(path))


def files(path: Path) -> tuple[Path, ...]:
    """Return what the detector consists of: its code and the file of values."""
    return (Path(__file__), path)


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise DetectorWrong(f"{path.name} is not JSON; correct it") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DetectorWrong(f"{path.name}: format must be {FORMAT}")
    inputs = document.get("inputs")
    if not isinstance(inputs, dict) or not all(map(_is_assigned, inputs.values())):
        raise DetectorWrong(
            f"{path.name}: inputs must map SHA-256 digests to factors and values that there are"
        )
    return inputs


def _is_assigned(given: Any) -> bool:
    return isinstance(given, dict) and all(
        name in StubDetector.reports and value in DOMAIN_OF[name].values for name, value in given.items()
    )
