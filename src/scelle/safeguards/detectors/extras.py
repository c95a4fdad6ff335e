"""Import what the extras bring, and say which extra is missing where one is: a detector without it cannot be built."""

import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

from scelle.errors import DetectorWrong


def library(module: str, extra: str) -> Any:
    """Return a module that an extra brings; raise DetectorWrong where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DetectorWrong(f"{module} is not installed; install scelle[{extra}]") from error


def location(module: str, extra: str) -> Path:
    """Return the file of a module or package, without importing it; raise DetectorWrong where it is not installed."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise DetectorWrong(f"{module} is not installed; install scelle[{extra}]")
    return Path(found.origin)


def code(*modules: str) -> tuple[Path, ...]:
    """Return the files of modules of this room, and of what the detectors of pictures all stand on."""
    return tuple(
        Path(__file__).with_name(f"{each}.py") for each in (*modules, "pictures", "interface", "extras")
    )


def name_version(version: str, *distributions: str) -> str:
    """Return a detector's version with those of the libraries that its scores depend on, in the form of an id."""
    named = (f"{each}-{importlib.metadata.version(each)}" for each in distributions)
    return "-".join((version, *named)).replace("+", "-")
