"""Read what a guardrail consists of: a policy, detectors with their options, who issues consents, what is believed.

```yaml
format: scelle-guardrail/1
policy: policy.yaml              # default: the policy that ships
detectors:
  - use: text
  - {use: hashes, lists: [own-prior-block.txt]}
deadline_ms: 2000                # what all detectors together may take, per input
at_once: 2                       # requests that are looked at at the same time
platform_says: [third_party_post, owner_control]
consents:
  issuers: {flow-1: "<Ed25519 public key, 64 hex digits>"}
  withdrawn: withdrawn.txt       # one id a line
  withdrawn_max_age_h: 24
```

Paths are relative to the file. `use` is a detector that ships, or a Python module whose `build` makes one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scelle.errors import DetectorWrong, PolicyWrong
from scelle.safeguards.detectors import normalise, text
from scelle.safeguards.detectors.describe import Described, describe
from scelle.safeguards.detectors.interface import files_digest
from scelle.safeguards.detectors.workers import Program
from scelle.safeguards.gate.bundle import Bundle
from scelle.safeguards.gate.documents import Located, read_yaml
from scelle.safeguards.gate.model import DOMAIN_OF
from scelle.safeguards.gate.policy import Policy, default_policy_bytes, read_policy

FORMAT: Final = "scelle-guardrail/1"
DEADLINE_MS: Final = 2000
AT_ONCE: Final = 2
_AT_ONCE_MAX: Final = 64
_DEADLINE_MAX_MS: Final = 600_000
_WITHDRAWN_MAX_AGE_H: Final = 24
_SHIPPED: Final = {
    "text": "folder",
    "hashes": "lists",
    "stub": "path",
    "exposure": "weights",
    "people": "models",
    "provenance": None,
}
"""The detectors that ship, and which of their options is a path, or a list of paths."""
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_SAYABLE: Final = frozenset(DOMAIN_OF) - {
    "op",
    "cumulative_level",
    "consent",
    "detectors",
    "exposure",
    "delta",
}
"""What a platform may know of a request that no detector does; the rest is found out here."""


@dataclass(frozen=True, slots=True)
class Consents:
    """Who issues consents, and where the list of withdrawn ones is; it is good until its file is so old."""

    issuers: Mapping[str, Ed25519PublicKey]
    withdrawn: Path | None
    withdrawn_max_age_s: float


@dataclass(frozen=True, slots=True)
class Setup:
    """A guardrail as it is to run. `policy_bytes` are the policy's file, from which it can be read again.

    `preserved` are the files of the detectors that are kept with the bundle, by the digest of the detector; lists of
    hashes are not among them: they are known by their digests.
    """

    bundle: Bundle
    policy_bytes: bytes
    programs: tuple[Program, ...]
    deadline_s: float
    at_once: int
    platform_says: frozenset[str]
    consents: Consents
    preserved: Mapping[str, tuple[Path, ...]]


def load_setup(path: Path) -> Setup:
    """Read a guardrail's file, and describe each detector; raises PolicyWrong and DetectorWrong."""
    found = read_yaml(read_regular(path), str(path)).mapping(
        ("format", "detectors"), ("policy", "deadline_ms", "at_once", "platform_says", "consents")
    )
    found["format"].one_of((FORMAT,))
    policy, policy_bytes = _policy(found.get("policy"), path)
    nodes = found["detectors"].items()
    if not nodes:
        found["detectors"].refuse("must name at least one detector: without one nothing is found out")
    described = [_detector(each, path.parent) for each in nodes]
    ids = [each.program.registered.id for each in described]
    if len(set(ids)) != len(ids):
        found["detectors"].refuse("a detector stands twice; each stands once")
    says = found.get("platform_says")
    platform_says = (
        frozenset() if says is None else frozenset(each.one_of(sorted(_SAYABLE)) for each in says.items())
    )
    deadline_ms = _number(found.get("deadline_ms"), DEADLINE_MS, _DEADLINE_MAX_MS)
    consents = _consents(found.get("consents"), path.parent)
    settings = {
        "platform_says": sorted(platform_says),
        "deadline_ms": deadline_ms,
        "issuers": {name: key.public_bytes_raw().hex() for name, key in sorted(consents.issuers.items())},
        "withdrawn_max_age_s": consents.withdrawn_max_age_s,
    }
    return Setup(
        _bundle(policy, described, settings),
        policy_bytes,
        tuple(each.program for each in described),
        deadline_ms / 1000,
        _number(found.get("at_once"), AT_ONCE, _AT_ONCE_MAX),
        platform_says,
        consents,
        {
            str(each.program.registered.weights_digest): each.program.files
            for each in described
            if each.program.registered.id != "hashes"
        },
    )


def read_regular(path: Path) -> bytes:
    """Read a file; raise PolicyWrong where it is none."""
    if path.exists() and not path.is_file():  # a pipe would make us wait
        raise PolicyWrong(f"{path} is no regular file: name one")
    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyWrong(f"{path} cannot be read ({error.strerror}): correct its name") from error


def _policy(node: Located | None, path: Path) -> tuple[Policy, bytes]:
    if node is None:
        data = default_policy_bytes()
        return read_policy(data, "default-policy.yaml"), data
    place = path.parent / node.text()
    data = read_regular(place)
    return read_policy(data, str(place)), data


def _detector(node: Located, folder: Path) -> Described:
    given = node.any_mapping()
    use = given.pop("use", None) or node.refuse("use is missing; name a detector")
    name = use.text(200)
    if name in _SHIPPED:
        module = f"scelle.safeguards.detectors.{name}"
    elif _MODULE.fullmatch(name):
        module = name
    else:
        use.refuse(f"{name!r} is neither {', '.join(_SHIPPED)} nor a Python module")
    options = {key: _option(each, key == _SHIPPED.get(name), folder) for key, each in given.items()}
    if name == "hashes" and not isinstance(options.get("lists"), list):
        node.refuse("hashes needs lists, a list of files: lists: [own-prior-block.txt]")
    try:
        return describe(module, options)
    except DetectorWrong as error:
        raise DetectorWrong(f"{node.place}:{node.line}: {error}") from error


def _option(node: Located, is_path: bool, folder: Path) -> Any:
    if isinstance(node.value, list):
        return [_option(each, is_path, folder) for each in node.value]
    text = node.text()
    if is_path:
        path = (folder / text).resolve()
        if path.exists() and not (path.is_file() or path.is_dir()):
            node.refuse(f"{path} is no regular file or folder: name one")  # a pipe would make us wait
        return str(path)
    try:
        return float(text)
    except ValueError:
        return text


def _number(node: Located | None, default: int, most: int) -> int:
    if node is None:
        return default
    number = node.count()
    return number if number <= most else node.refuse(f"must be at most {most}")


def _consents(node: Located | None, folder: Path) -> Consents:
    if node is None:
        return Consents({}, None, 0.0)
    found = node.mapping(("issuers",), ("withdrawn", "withdrawn_max_age_h"))
    issuers = {
        name: Ed25519PublicKey.from_public_bytes(
            bytes.fromhex(each.matching(_HEX.fullmatch, "an Ed25519 public key in 64 lower-case hex digits"))
        )
        for name, each in found["issuers"].any_mapping().items()
    }
    withdrawn = found.get("withdrawn")
    hours = _number(found.get("withdrawn_max_age_h"), _WITHDRAWN_MAX_AGE_H, 24 * 366)
    return Consents(issuers, None if withdrawn is None else folder / withdrawn.text(), hours * 3600.0)


def _bundle(policy: Policy, described: list[Described], settings: Mapping[str, Any]) -> Bundle:
    """Name all that a decision rests on: everything from which another decision could come."""
    by_id = {each.program.registered.id: each for each in described}
    has_text = by_id.get("text")
    lists = [Path(each) for each in by_id["hashes"].program.options["lists"]] if "hashes" in by_id else []
    return Bundle(
        policy,
        tuple(each.program.registered for each in described),
        {
            name if name.startswith(f"{id}.") else f"{id}.{name}": number
            for id, each in sorted(by_id.items())
            for name, number in each.thresholds.items()
        },
        normalise.VERSION if has_text else "",
        {} if has_text is None else _lexicons(has_text.program),
        {each.name: files_digest([each]) for each in lists},
        settings,
    )


def _lexicons(program: Program) -> dict[str, str]:
    folder = program.options.get("folder")
    return text.lexicon_digests() if folder is None else text.lexicon_digests(Path(folder))
