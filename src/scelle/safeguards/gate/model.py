"""Order what the gate knows and what it can decide, from least to most risky; *unknown* is the riskiest of all.

Source: safeguards.md §1.5 (levels), §4.2 (factors F1 to F11). Unknown is never adult, safe or nobody: it stands above
every value of its factor, so no rule can be kinder to it than to the worst that the factor could be.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final

from scelle.errors import GateRequestWrong

UNKNOWN: Final = "unknown"
LEVELS: Final = ("L0", "L1", "L2", "L3", "L4", UNKNOWN)
"""L0 body and clothing as they are; L1 other clothing, not more revealing (a winter coat); L2 more revealing (in
swimwear); L3 and L4 beyond: all that a rule needs of them is their order."""
EXPOSURES: Final = ("E0", "E1", "E2", "E3", UNKNOWN)
"""What an output shows, graded as L1 (E0), L2 (E1), L3 (E2) and L4 (E3) are asked for."""


class Stage(StrEnum):
    """When the gate is asked: before the generator is called, or before its output is delivered."""

    INPUT = "input"
    OUTPUT = "output"


class Outcome(IntEnum):
    """What the gate says, from most to least permissive; of several the greatest wins.

    ALLOW and ALLOW_DEGRADED let it through (the second is marked: a detector was missing). HOLD waits for a person.
    WITHHOLD keeps an output back that may still be released, BLOCK refuses for good, and QUARANTINE refuses and puts
    what came in out of everybody's sight.
    """

    ALLOW = 0
    ALLOW_DEGRADED = 1
    HOLD = 2
    WITHHOLD = 3
    BLOCK = 4
    QUARANTINE = 5

    @property
    def text(self) -> str:
        """The word for it in policies and records."""
        return self.name.lower().replace("_", "-")

    @property
    def reach(self) -> int:
        """How much reaches the requester, 3 being nothing: WITHHOLD, BLOCK and QUARANTINE are the same to him."""
        return min(self, Outcome.WITHHOLD)


OUTCOMES: Final = {outcome.text: outcome for outcome in Outcome}


class Lane(IntEnum):
    """Where what was held back goes: RESTRICTED needs two people to open, REPORTING nobody sees on the way."""

    NONE = 0
    RESTRICTED = 1
    REPORTING = 2

    @property
    def text(self) -> str:
        """The word for it in policies and records."""
        return self.name.lower()


LANES: Final = {lane.text: lane for lane in Lane}


@dataclass(frozen=True, slots=True)
class Domain:
    """One factor and its values, the last of which is `unknown`.

    `steps` are the pairs (lower, higher) of positions in `values` that the order is made of; everything else follows
    from them. `is_output` marks what exists only once there is an output.
    """

    name: str
    id: str
    values: tuple[str, ...]
    steps: tuple[tuple[int, int], ...]
    is_output: bool = False
    position: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def at_least(self, value: str) -> frozenset[str]:
        """Return the values that are as risky as `value` or more so: `unknown` is always one of them."""
        found = {self.position[value]}
        for _ in self.values:
            found |= {high for low, high in self.steps if low in found}
        return frozenset(self.values[each] for each in found)

    def distance(self, one: str, other: str) -> int:
        """Return how many steps lie between two values; where they have no order, two: over a common one."""
        pair = (self.position[one], self.position[other])
        if self.is_chain:
            return abs(pair[0] - pair[1])
        return 1 if pair in self.steps or pair[::-1] in self.steps else 2

    @property
    def is_chain(self) -> bool:
        """Whether any two values have an order."""
        return len(self.steps) == len(self.values) - 1


def _chain(name: str, id: str, values: tuple[str, ...], *, is_output: bool = False) -> Domain:
    steps = tuple((place, place + 1) for place in range(len(values) - 1))
    return Domain(name, id, values, steps, is_output, {value: place for place, value in enumerate(values)})


def _operations() -> Domain:
    """Making a picture from text alone is the least; of the ways to change one, none is less risky than another."""
    values = ("t2i", "edit", "inpaint", "compose", "video", UNKNOWN)
    ways = range(1, len(values) - 1)
    steps = (*((0, way) for way in ways), *((way, len(values) - 1) for way in ways))
    return Domain("op", "op", values, steps, position={value: place for place, value in enumerate(values)})


_TRI_STATE: Final = ("no", "yes", UNKNOWN)
DOMAINS: Final = (
    _operations(),
    _chain("person", "F1", _TRI_STATE),
    _chain("named", "F2", _TRI_STATE),
    _chain("minor", "F3", ("n/a", "no", "yes", UNKNOWN)),
    _chain("level", "F4", LEVELS),
    _chain("exposure", "F5.exposure", EXPOSURES, is_output=True),
    _chain("delta", "F5.delta", ("not-increased", "increased", UNKNOWN), is_output=True),
    _chain("consent", "F6", ("valid", "none", "expired", "wrong-subject", "invalid", "withdrawn", UNKNOWN)),
    _chain("hash_hit", "F7", ("none", "opt-out", "own-prior-block", "ncii", "csam", UNKNOWN)),
    _chain("third_party_post", "F9.post", _TRI_STATE),
    _chain("owner_control", "F9.control", ("allow", "unset", "deny", UNKNOWN)),
    _chain("language", "F10", ("supported", "unsupported", UNKNOWN)),
    _chain("detectors", "F11", ("healthy", "down", UNKNOWN)),
)
"""What a rule may speak of. F8 is not among them: it raises F4 (rule R090), in every policy and before every rule."""
CUMULATIVE: Final = _chain("cumulative_level", "F8", LEVELS)
DOMAIN_OF: Final = {domain.name: domain for domain in (*DOMAINS, CUMULATIVE)}
SLICES: Final = ("tier", "country", "surface")
"""What records are counted by, and what no rule may speak of."""


def stage_domains(stage: Stage) -> tuple[Domain, ...]:
    """Return what a rule of this stage may speak of."""
    return tuple(domain for domain in DOMAINS if stage is Stage.OUTPUT or not domain.is_output)


def request_domains(stage: Stage) -> tuple[Domain, ...]:
    """Return what a request of this stage tells: the same, and F8."""
    return (*stage_domains(stage), CUMULATIVE)


def is_id(text: str) -> bool:
    """Tell whether a text has the form of an id: short, and without blanks."""
    return _ID.fullmatch(text) is not None


def riskier(one: str, other: str) -> str:
    """Return the higher of two levels: what a conversation has come to, from its first reference on."""
    return max(one, other, key=CUMULATIVE.position.__getitem__)


_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID_FORM: Final = "letters, digits, dot, hyphen and underscore, at most 64"
_FORMS: Final = {
    "detector_id": (_ID, _ID_FORM),
    "detector_version": (_ID, _ID_FORM),
    "weights_digest": (re.compile(r"[0-9a-f]{64}"), "a SHA-256 in 64 hexadecimal digits"),
    "input_id": (
        re.compile(r"sha256:[0-9a-f]{64}|[a-z]{1,8}-?[0-9a-z]{1,64}"),
        "sha256:<64 hexadecimal digits>, or a record's id",
    ),
}
"""Forms that no prompt, name or address has: a record made of factors holds no text of a user."""


@dataclass(frozen=True, slots=True)
class Factor:
    """One thing that was found out, by what, and how surely; `score` and `threshold` are as the detector counts.

    Raises GateRequestWrong, repeating nothing of what it was given, for a value that the factor cannot have and for an
    id that has not the form of one.
    """

    name: str
    value: str = UNKNOWN
    score: float | None = None
    detector_id: str | None = None
    detector_version: str | None = None
    weights_digest: str | None = None
    threshold: float | None = None
    input_id: str | None = None
    ms: float | None = None

    def __post_init__(self) -> None:
        domain = DOMAIN_OF.get(self.name)
        if domain is None:
            raise GateRequestWrong(f"no such factor; there are: {', '.join(DOMAIN_OF)}")
        if self.value not in domain.position:
            raise GateRequestWrong(f"{self.name} must have one of the values {', '.join(domain.values)}")
        for part, (form, said) in _FORMS.items():
            given = getattr(self, part)
            if given is not None and not form.fullmatch(given):
                raise GateRequestWrong(f"{self.name}: {part} must be {said}")

    def to_json(self) -> dict[str, Any]:
        """Return the factor as decision records have it."""
        return {
            "factor": DOMAIN_OF[self.name].id,
            "name": self.name,
            "value": self.value,
            "score": self.score,
            "detector_id": self.detector_id,
            "detector_version": self.detector_version,
            "weights_digest": self.weights_digest,
            "threshold": self.threshold,
            "input_id": self.input_id,
            "ms": self.ms,
        }


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the gate: factors by name, those that are missing being unknown.

    `consent_up_to` is the highest level that a valid consent allows; `adult_attested` says that the consent carries a
    verified attestation that whoever is depicted is an adult. Both count only with consent = valid. Raises
    GateRequestWrong for a factor that this stage cannot know.
    """

    stage: Stage
    factors: Mapping[str, Factor]
    consent_up_to: str | None = None
    adult_attested: bool = False

    def __post_init__(self) -> None:
        for name, factor in self.factors.items():
            if factor.name != name:
                raise GateRequestWrong(f"{factor.name} stands under another name: give each factor its own")
            if DOMAIN_OF[name].is_output and self.stage is Stage.INPUT:
                raise GateRequestWrong(
                    f"{name} is known once there is an output: leave it out at the input stage"
                )
        if self.consent_up_to is not None and self.consent_up_to not in LEVELS[:-1]:
            raise GateRequestWrong("consent's up_to must be L0, L1, L2, L3 or L4")

    def value(self, name: str) -> str:
        """Return what was found out of a factor."""
        factor = self.factors.get(name)
        return UNKNOWN if factor is None else factor.value
