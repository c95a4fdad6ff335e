"""Decide a request again by what is sealed of it alone: the same bundle, over the recorded factors and over the inputs.

Two questions, kept apart. *From the factors*: does the sealed policy come to the recorded decision on what was found
then? *From the inputs*: do the sealed detectors find the same again in the sealed prompt and references? The second is
answered only where the detectors that are installed are, byte for byte, those of the bundle. What a platform said, a
consent's state then and a conversation's past are taken as they were recorded: nobody can find them out again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from scelle.errors import DetectorWrong, GateRequestWrong, PolicyRefused, PolicyWrong, ScelleError
from scelle.safeguards.detectors.describe import describe
from scelle.safeguards.detectors.interface import Input, Inputs, Role
from scelle.safeguards.detectors.workers import Pool, Program
from scelle.safeguards.gate.bundle import Bundle, Detector
from scelle.safeguards.gate.consent import Finding, Result
from scelle.safeguards.gate.decide import Decision, Gate
from scelle.safeguards.gate.model import Request, Stage
from scelle.safeguards.gate.policy import read_policy
from scelle.safeguards.guardrail.lineage import Past
from scelle.safeguards.guardrail.model import Asked, Event, request_of
from scelle.safeguards.guardrail.service import input_factors

WITHIN_S: Final = 120.0
OWN_MODULES: Final = "scelle.safeguards.detectors."
"""By a sealed record's own word only detectors that ship are run again, with numbers for options: no record may say
what is run, nor which file is read."""
_APART: Final = ("decision_id", "action_enforced", "ms")
"""What a decision has of its own each time it is made."""
_ALL: Final = "*"
"""Stands for every output of a request that was kept back itself."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of deciding again: None where it could not be done, and then `why` says so."""

    is_same: bool | None
    why: str | None = None
    decision: Decision | None = None
    differences: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as it is printed."""
        decision = self.decision
        return {
            "same": self.is_same,
            "why": self.why,
            "verdict": None if decision is None else decision.verdict.text,
            "deciding_rule": None if decision is None else decision.deciding_rule,
            "differences": list(self.differences),
        }


def bundle_of(document: Mapping[str, Any], policy_bytes: bytes) -> Bundle:
    """Build a bundle again from its sealed document and its policy's sealed file; raises PolicyWrong."""
    try:
        return Bundle(
            read_policy(policy_bytes, "the sealed policy"),
            tuple(
                Detector(each["id"], each["version"], each["weights_digest"])
                for each in document["detectors"]
            ),
            dict(document["thresholds"]),
            document["normaliser"],
            dict(document["lexicons"]),
            dict(document["hash_lists"]),
            dict(document["settings"]),
            document["code_version"],
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise PolicyWrong(f"the sealed bundle is none: {type(error).__name__}") from error


def from_factors(decided: Event, bundle: Bundle) -> Replayed:
    """Decide again on the factors that were recorded."""
    try:
        if bundle.digest != decided["bundle_digest"]:
            return Replayed(None, "other-bundle")
        gate = Gate(bundle)
        decision = gate.decide(request_of(decided), "replay")
    except (GateRequestWrong, PolicyRefused, LookupError, TypeError, ValueError) as error:
        return Replayed(None, f"not-decidable: {_said(error)}")
    differences = _differences(decided["record"], decision.to_json())
    return Replayed(not differences, None, decision, differences)


def contradictions(events: Sequence[Event], body: Asked | None) -> tuple[str, ...]:
    """Name what the sealed events of one attempt say against one another, and against its sealed body.

    `body` is what the body as it came asks for, read again; None where it is not sealed here.
    """
    found: list[str] = []
    requested = next((each for each in events if each.get("event") == "requested"), {})
    asked = Asked.of(requested)
    if body is not None and (body.prompt, body.references) != (asked.prompt, asked.references):
        found.append("requested: its prompt or references are not those of the sealed body")
    for each in events:
        if each.get("event") == "decided":
            record = each.get("record") or {}
            said = (each.get("decision"), each.get("bundle_digest"))
            if said != (record.get("verdict"), record.get("bundle_digest")):
                found.append("decided: it is not what its record says")
            if each.get("stage") == Stage.INPUT and not _is_of(each, asked):
                found.append("decided: its inputs are not those of the request")
    return (*found, *_against_outcome(events, asked))


def _against_outcome(events: Sequence[Event], asked: Asked) -> list[str]:
    """Name what came of a request, or of an output, although it was kept back."""
    found: list[str] = []
    kept_back: set[str] = set()
    for each in events:
        record, kind = each.get("record") or {}, each.get("event")
        if kind == "decided" and record.get("action_enforced") not in ("allow", "allow-degraded"):
            outputs = set(each.get("inputs") or ()) - {*asked.references, each.get("root")}
            kept_back |= outputs if each.get("stage") == Stage.OUTPUT else {_ALL}
        outputs = {str(output.get("sha256")) for output in each.get("outputs") or ()}
        if kind in ("completed", "delivered") and _ALL in kept_back:
            found.append("outcome: something came of a request that was kept back")
        elif kind == "delivered" and outputs & kept_back:
            found.append("outcome: an output that was kept back was delivered")
    return found


def _is_of(decided: Event, asked: Asked) -> bool:
    """Tell whether a decision was made on what was asked: prompt, first reference, references; or on nothing (down)."""
    inputs = list(decided.get("inputs") or ())
    root = decided.get("root")
    first = [str(root)] if root is not None and root not in asked.references else []
    pictures = [*first, *sorted(asked.references, key=lambda each: each != root)]
    if asked.prompt is None:  # it is not told openly: its digest may stand before the pictures
        return not inputs or inputs in (pictures, [inputs[0], *pictures])
    return inputs in ([], [sha256(asked.prompt.encode("utf-8", "surrogatepass")).hexdigest(), *pictures])


def from_inputs(
    decided: Event,
    requested: Event,
    bundle: Bundle,
    rolled_out: Event,
    contents: Callable[[str], bytes | None],
    installed: Sequence[Program] = (),
) -> Replayed:
    """Find the factors of the input stage again, in what is sealed, and decide on them.

    `installed` are the detectors of a guardrail's file that whoever asks has here; without them, those that ship.
    """
    try:
        if request_of(decided).value("detectors") != "healthy":
            # what was not found out then cannot be found out again
            return Replayed(None, "detectors-were-down")
        programs, why = _as_sealed(installed, bundle) if installed else _programs(rolled_out, bundle)
        if why is not None:
            return Replayed(None, why)
        asked = Asked.of(requested)
        given = _inputs(asked, decided, contents)
        if given is None:
            return Replayed(None, "input-not-sealed")
        recorded = request_of(decided)
        with Pool(programs) as pool:
            findings = pool.inspect(Inputs(given), time.monotonic() + WITHIN_S)
        says = frozenset(map(str, bundle.settings.get("platform_says") or ()))
        factors = input_factors(
            asked, findings.factors, Past(recorded.value("cumulative_level")), _consent(recorded), says
        )
        request = Request(Stage.INPUT, factors, recorded.consent_up_to, recorded.adult_attested)
        decision = Gate(bundle).decide(request, "replay")
    except (ScelleError, LookupError, TypeError, ValueError) as error:
        return Replayed(None, f"not-decidable: {_said(error)}")
    differences = _differences(decided["record"], decision.to_json(), only_values=True)
    return Replayed(not differences, None, decision, differences)


def _programs(rolled_out: Event, bundle: Bundle) -> tuple[Sequence[Program], str | None]:
    """Return the detectors of the bundle as they ship with what runs here, or why they are not those."""
    programs: list[Program] = []
    for each in rolled_out["programs"]:
        if not str(each["module"]).startswith(OWN_MODULES) or not _are_numbers(each["options"]):
            return [], f"guardrail-needed: {each['id']}"
        try:
            programs.append(describe(each["module"], each["options"]).program)
        except DetectorWrong as error:
            return [], f"not-here: {error}"
    return _as_sealed(programs, bundle)


def _as_sealed(programs: Sequence[Program], bundle: Bundle) -> tuple[Sequence[Program], str | None]:
    """Return detectors that are, byte for byte, those of a bundle; or the first that is not."""
    other = [each.registered.id for each in programs if each.registered not in bundle.detectors]
    if other or len(programs) != len(bundle.detectors):
        return [], f"other-version: {other[0]}" if other else "other-detectors"
    return programs, None


def _are_numbers(options: Mapping[str, Any]) -> bool:
    return all(isinstance(each, int | float) for each in options.values())


def _inputs(
    asked: Asked, decided: Event, contents: Callable[[str], bytes | None]
) -> tuple[Input, ...] | None:
    """Return what the detectors were given, from the sealed contents; None where one is not sealed."""
    digests: Sequence[str] = decided["inputs"]
    given = []
    if asked.prompt is not None:
        prompt = Input(Role.PROMPT, asked.prompt.encode("utf-8", "surrogatepass"))
        if digests and digests[0] == prompt.digest:
            given.append(prompt)
    for digest in digests[len(given) :]:
        data = contents(digest)
        if data is None:
            return None
        given.append(Input(Role.REFERENCE, data))
    return tuple(given)


def _consent(recorded: Request) -> Finding:
    return Finding(
        Result(recorded.value("consent")), "recorded", recorded.consent_up_to, recorded.adult_attested
    )


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], *, only_values: bool = False
) -> tuple[str, ...]:
    """Name the parts of two decision records that differ, in order; never a value of a user's, there is none."""
    names = [name for name in after if name not in _APART and name != "factors"]
    found = [
        f"{name}: {before.get(name)!r}, now {after[name]!r}"
        for name in names
        if before.get(name) != after[name]
    ]
    was = {each["name"]: each for each in before["factors"]}
    for each in after["factors"]:
        parts = ("value", "taken_as") if only_values else tuple(each)
        old = was.get(each["name"], {})
        found += [
            f"{each['name']}.{part}: {old.get(part)!r}, now {each[part]!r}"
            for part in parts
            if old.get(part) != each[part]
        ]
    return tuple(found)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ScelleError) else type(error).__name__
