"""Name everything that a decision rested on by one digest: the bundle; records carry the digest, the bundle is kept.

Source: safeguards.md §3.6.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from scelle import __version__
from scelle.errors import PolicyWrong
from scelle.formats.canonical_json import canonical_json
from scelle.safeguards.gate.policy import Policy

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector as it ran; `weights_digest` is the SHA-256 of its weights, None where it has none."""

    id: str
    version: str
    weights_digest: str | None = None

    def __post_init__(self) -> None:
        _check_digests({self.id: self.weights_digest} if self.weights_digest is not None else {})


@dataclass(frozen=True)
class Bundle:
    """A policy, the detectors, thresholds (by detector), normaliser, lexicons and hash lists (by name: SHA-256).

    `settings` are whatever else a decision depends on: whose word is taken, who issues consents, deadlines.
    """

    policy: Policy
    detectors: tuple[Detector, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    normaliser: str = ""
    lexicons: Mapping[str, str] = field(default_factory=dict)
    hash_lists: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = __version__

    def __post_init__(self) -> None:
        _check_digests({**self.lexicons, **self.hash_lists})

    def to_json(self) -> dict[str, Any]:
        """Return the document whose digest records carry."""
        return {
            "policy": self.policy.to_json(),
            "detectors": [
                {"id": each.id, "version": each.version, "weights_digest": each.weights_digest}
                for each in sorted(self.detectors, key=lambda each: (each.id, each.version))
            ],
            "thresholds": dict(self.thresholds),
            "normaliser": self.normaliser,
            "lexicons": dict(self.lexicons),
            "hash_lists": dict(self.hash_lists),
            "settings": dict(self.settings),
            "code_version": self.code_version,
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON (RFC 8785) of the bundle, in hexadecimal."""
        return sha256(canonical_json(self.to_json())).hexdigest()


def _check_digests(digests: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        if not _SHA256.fullmatch(digest):
            raise PolicyWrong(f"bundle: the digest of {name} must be 64 hexadecimal digits (SHA-256)")
