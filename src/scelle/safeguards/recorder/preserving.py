"""Keep what decides beside what is decided: configurations, policies, bundles, the files of detectors.

They stand in `configs/` and `policies/` of the source's folder, which its passes seal; each is named by its digest and
written once. A crash leaves a document whole or not at all, and perhaps one that no event names.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from scelle.formats.canonical_json import canonical_json
from scelle.safeguards.gate.proofs import Proof
from scelle.safeguards.guardrail import Setup
from scelle.safeguards.recorder.contents import ContentStore, failure
from scelle.safeguards.recorder.model import CHANGED, ROLLED_OUT, Event
from scelle.vault import durable

CONFIGS: Final = "configs"
POLICIES: Final = "policies"
DETECTORS: Final = "detectors"
PRESERVED_MAX_BYTES: Final = 256 << 20
"""A larger file of a detector is known by its digest alone."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the generator runs with, as the operator's file says it; `path` is where it is kept, below the root."""

    path: str
    digest: str

    def to_event(self) -> Event:
        """Say that it is in force."""
        return {"event": CHANGED, "config": self.path, "config_digest": self.digest}


def keep_configuration(store: ContentStore, root: Path, data: bytes, suffix: str) -> Configuration:
    """Keep what the generator runs with; raises StorageError."""
    digest = sha256(data).hexdigest()
    path = f"{CONFIGS}/generator-{digest}{suffix}"
    _keep(store, root / path, data)
    return Configuration(path, digest)


def keep_setup(store: ContentStore, root: Path, setup: Setup, proof: Proof) -> Event:
    """Keep a guardrail's bundle, its policy's file and its detectors' files; return the event that says it is in force.

    Raises StorageError. From these alone the guardrail can be built again.
    """
    bundle = f"{POLICIES}/bundle-{setup.bundle.digest}.json"
    policy = f"{POLICIES}/policy-{sha256(setup.policy_bytes).hexdigest()}.yaml"
    kept = _keep_detectors(store, root, setup.preserved)
    _keep(store, root / policy, setup.policy_bytes)
    _keep(store, root / bundle, canonical_json(setup.bundle.to_json()))
    return {
        "event": ROLLED_OUT,
        "bundle": bundle,
        "bundle_digest": setup.bundle.digest,
        "safeguard_version": setup.bundle.policy.name,
        "policy_file": policy,
        "programs": [
            {"id": each.registered.id, "module": each.module, "options": dict(each.options)}
            for each in setup.programs
        ],
        "detector_files": kept,
        "proof": proof.to_json(),
    }


def _keep_detectors(
    store: ContentStore, root: Path, detectors: Mapping[str, Sequence[Path]]
) -> dict[str, list[dict[str, Any]]]:
    """Keep the files of each detector by its digest; return their names and digests."""
    kept: dict[str, list[dict[str, Any]]] = {}
    for digest, files in sorted(detectors.items()):
        for path in files:
            size_bytes = path.stat().st_size
            said: dict[str, Any] = {"name": path.name, "bytes": size_bytes}
            if size_bytes <= PRESERVED_MAX_BYTES:
                data = path.read_bytes()
                said["sha256"] = sha256(data).hexdigest()
                _keep(store, root / POLICIES / DETECTORS / digest / path.name, data)
            kept.setdefault(digest, []).append(said)
    return kept


def _keep(store: ContentStore, path: Path, data: bytes) -> None:
    """Write a document durably under its name, unless it stands there already."""
    durable.make_directory(path.parent)
    if path.is_file() and path.read_bytes() == data:
        return
    path.unlink(missing_ok=True)
    with store.begin() as writing:
        writing.write(data)
        try:
            os.fsync(writing.descriptor)
            writing.link(path)
        except OSError as error:
            raise failure(path, error) from error
    durable.sync_directory(path.parent)
