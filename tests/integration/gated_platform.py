"""A guardrail for tests: the shipped policy over values that are assigned to prompts and pictures by their SHA-256."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from tests.integration.recorded_platform import Platform
from tests.integration.stub_generator import shape

CALM = {"named": "no", "language": "supported", "owner_control": "allow", "third_party_post": "no"}
NOBODY = {**CALM, "level": "L0", "minor": "n/a"}
COAT = {**CALM, "level": "L1"}
SWIMWEAR = {**CALM, "level": "L2"}
BEYOND = {**CALM, "level": "L4"}
PORTRAIT = {"person": "yes", "hash_hit": "none", "minor": "unknown"}
AS_BEFORE = {"exposure": "E0", "delta": "not-increased", "hash_hit": "none"}
MORE = {"exposure": "E3", "delta": "increased", "hash_hit": "none"}


def assign(
    path: Path, prompts: Mapping[str, Mapping[str, str]], pictures: Mapping[bytes, Mapping[str, str]]
) -> None:
    """Write the values that the detector of tests returns."""
    inputs = {sha256(text.encode()).hexdigest(): dict(values) for text, values in prompts.items()}
    inputs |= {sha256(data).hexdigest(): dict(values) for data, values in pictures.items()}
    path.write_text(json.dumps({"format": "scelle-stub/1", "inputs": inputs}))


def guardrail(
    platform: Platform, prompts: Mapping[str, Mapping[str, str]], pictures: Mapping[bytes, Mapping[str, str]]
) -> str:
    """Write a guardrail and return its path."""
    assign(platform.folder / "values.json", prompts, pictures)
    path = platform.folder / "guardrail.yaml"
    path.write_text(
        "format: scelle-guardrail/1\nat_once: 1\ndetectors:\n  - {use: stub, path: values.json}\n"
    )
    return str(path)


__all__ = ["shape"]
