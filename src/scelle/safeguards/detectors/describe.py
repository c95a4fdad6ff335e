"""Say what a detector is before anything relies on it: built once, in a process of its own, which then ends.

``python -m scelle.safeguards.detectors.describe MODULE OPTIONS`` prints one JSON object. Weights and libraries of
detectors so never get into the process that serves.
"""

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scelle.errors import DetectorWrong, InputError
from scelle.safeguards.detectors.workers import ENVIRONMENT, Program
from scelle.safeguards.gate.bundle import Detector as Registered

TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Described:
    """A detector as it can be run, and the thresholds that it holds its scores to, by name."""

    program: Program
    thresholds: Mapping[str, float]


def describe(module: str, options: Mapping[str, Any]) -> Described:
    """Build a detector in a process of its own and return what it is; raise DetectorWrong where it cannot be built."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "scelle.safeguards.detectors.describe",
        module,
        json.dumps(dict(options)),
    ]
    environment = {each: os.environ[each] for each in ENVIRONMENT if each in os.environ}
    try:
        ended = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        said = json.loads(ended.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise DetectorWrong(f"detector {module}: it could not be built in {TIMEOUT_S:.0f} s") from None
    except (ValueError, IndexError):
        raise DetectorWrong(f"detector {module}: the process that builds it ended without a word") from None
    if "error" in said:
        raise DetectorWrong(f"detector {module}: {said['error']}")
    registered = Registered(said["id"], said["version"], said["digest"])
    files = tuple(Path(each) for each in said["files"])
    program = Program(module, registered, files, frozenset(said["reports"]), dict(options))
    return Described(program, said["thresholds"])


def _description(module: str, options: Mapping[str, Any]) -> dict[str, Any]:
    build = importlib.import_module(module).build
    try:
        inspect.signature(build).bind(**options)
    except TypeError as error:
        known = ", ".join(inspect.signature(build).parameters) or "none"
        raise DetectorWrong(f"its options are {known} ({error}); correct them") from error
    detector = build(**options)
    what = detector.registered
    return {
        "id": what.id,
        "version": what.version,
        "digest": what.weights_digest,
        "reports": sorted(detector.reports),
        "files": [str(each.resolve()) for each in detector.files],
        "thresholds": dict(getattr(detector, "thresholds", {})),
    }


def main() -> None:
    """Print what a detector is, or why it cannot be built."""
    module, options = sys.argv[1:]
    try:
        said = _description(module, json.loads(options))
    except InputError as error:
        said = {"error": str(error)}
    except OSError as error:
        said = {"error": f"{error.filename}: {error.strerror}: correct its name"}
    except ImportError as error:
        said = {"error": f"{error}: install what it needs"}
    except Exception as error:  # noqa: BLE001  a detector is anybody's code: whoever starts it is told
        said = {"error": f"it cannot be built: {error!r}"}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
