"""Know what is asked, as a `requested` event says it, and what was judged (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from scelle.safeguards.detectors.interface import Note
from scelle.safeguards.gate.decide import Decision
from scelle.safeguards.gate.model import DOMAIN_OF, UNKNOWN, Factor, Outcome, Request, Stage

RECORDER: Final = "recorder"
"""The id under which a factor stands that the request itself shows."""
PLATFORM: Final = "platform"
"""The id under which a factor stands that the platform said."""
SAID_FACTORS: Final = "said_factors"
CONSENTS: Final = "consents"
"""The members of a `requested` event that hold what the platform said, and the tokens that came with it."""

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as its `requested` event says it. `references` are SHA-256 digests, pictures before masks.

    `is_understood` is False where something of it could not be read, or a reference is only named: what is not looked
    at is unknown. `said` are factors that the platform knows, by name.
    """

    attempt: str
    op: str
    prompt: str | None
    references: tuple[str, ...]
    is_understood: bool
    account: str | None
    conversation: str | None
    said: Mapping[str, str]
    consents: tuple[str, ...]

    @classmethod
    def of(cls, event: Event) -> "Asked":
        """Read an event as it was recorded."""
        given = [each for each in event.get("references") or [] if isinstance(each, dict)]
        held = [each for each in given if isinstance(each.get("sha256"), str) and "problem" not in each]
        pictures = [str(each["sha256"]) for each in held if each.get("field") != "mask"]
        masks = [str(each["sha256"]) for each in held if each.get("field") == "mask"]
        prompt, op = event.get("prompt"), event.get("op")
        is_known = op in DOMAIN_OF["op"].position
        return cls(
            str(event.get("attempt_id")),
            str(op) if is_known else UNKNOWN,
            prompt if isinstance(prompt, str) else None,
            (*pictures, *masks),
            is_known and "problem" not in event and len(held) == len(given) and isinstance(prompt, str),
            None if event.get("account_by") == "body" else _text(event.get("account")),
            _text(event.get("conversation")),
            {str(name): str(value) for name, value in (event.get(SAID_FACTORS) or {}).items()},
            tuple(map(str, event.get(CONSENTS) or ())),
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """What was decided at one stage, and on what: everything that its `decided` event says."""

    decision: Decision
    request: Request
    inputs: tuple[str, ...]
    """The SHA-256 of each input that the detectors were given, in their order."""
    root: str | None = None
    """The first reference of the conversation, where there is one."""
    notes: tuple[Note, ...] = ()
    why_down: Mapping[str, str] = field(default_factory=dict)
    """Why a detector did not answer, by its id."""

    @property
    def lets_through(self) -> bool:
        """Whether the request, or its output, may go on."""
        return self.decision.verdict < Outcome.HOLD

    def to_event(self, action: Outcome) -> dict[str, Any]:
        """Return the members of a `decided` event; `action` is what was done, whatever the verdict."""
        decision = self.decision.enforced(action)
        event: dict[str, Any] = {
            "stage": decision.stage.value,
            "decision": decision.verdict.text,
            "bundle_digest": decision.bundle_digest,
            "safeguard_version": decision.policy,
            "inputs": list(self.inputs),
            "root": self.root,
            "consent_up_to": self.request.consent_up_to,
            "adult_attested": self.request.adult_attested,
            "record": decision.to_json(),
        }
        if self.notes:
            event["notes"] = [
                {"input_id": each.input_id, "detector_id": each.detector_id, **each.content}
                for each in self.notes
            ]
        if self.why_down:
            event["why_down"] = dict(self.why_down)
        return event


def request_of(event: Event) -> Request:
    """Return the request that a `decided` event was decided on; raises GateRequestWrong, LookupError and TypeError."""
    record = event["record"]
    parts = (
        "value",
        "score",
        "detector_id",
        "detector_version",
        "weights_digest",
        "threshold",
        "input_id",
        "ms",
    )
    factors = {
        each["name"]: Factor(each["name"], *(each[part] for part in parts)) for each in record["factors"]
    }
    return Request(Stage(record["stage"]), factors, event["consent_up_to"], event["adult_attested"] is True)


def unknown(names: Sequence[str]) -> dict[str, Factor]:
    """Return factors that nobody can know, as the recorder says it."""
    return {name: Factor(name, UNKNOWN, detector_id=RECORDER) for name in names}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
