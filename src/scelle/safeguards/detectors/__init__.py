"""Find out, offline and out of process, what the gate decides on; what is not found out for certain is unknown."""

from scelle.safeguards.detectors.interface import (
    Detector,
    Found,
    Input,
    Inputs,
    Note,
    Noter,
    Role,
    files_digest,
    merge,
)
from scelle.safeguards.detectors.stub import StubDetector
from scelle.safeguards.detectors.text import TextDetector
from scelle.safeguards.detectors.workers import Findings, Pool, Program

__all__ = [
    "Detector",
    "Findings",
    "Found",
    "Input",
    "Inputs",
    "Note",
    "Noter",
    "Pool",
    "Program",
    "Role",
    "StubDetector",
    "TextDetector",
    "files_digest",
    "merge",
]
