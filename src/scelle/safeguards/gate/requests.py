"""Read a request of factors, or what a bundle consists of, from JSON, strictly: nothing of a user can hide in it.

A request: ``{"stage": "input", "decision_id": "d-1", "factors": {"person": "yes", "level": {"value": "L1",
"score": 0.8, "detector_id": "text", "detector_version": "3", "weights_digest": "<64 hex>", "threshold": 0.5,
"input_id": "sha256:<64 hex>", "ms": 1.5}, "consent": {"value": "valid", "up_to": "L2", "adult_attested": true}}}``. A
factor that is missing is unknown. Ids and versions are short and without blanks: no prompt, name or address is.

A bundle, all of it optional: ``{"detectors": [{"id": "text", "version": "3", "weights_digest": "<64 hex>"}],
"thresholds": {"text": 0.5}, "normaliser": "2", "lexicons": {"fr": "<64 hex>"}, "hash_lists": {"list": "<64 hex>"}}``.
"""

import json
from typing import Any, Final, NoReturn

from scelle.errors import GateRequestWrong
from scelle.safeguards.gate.bundle import Bundle, Detector
from scelle.safeguards.gate.model import DOMAIN_OF, OUTCOMES, Factor, Outcome, Request, Stage, is_id
from scelle.safeguards.gate.policy import Policy

SIZE_MAX_BYTES: Final = 1 << 20
_TEXTS: Final = ("detector_id", "detector_version", "weights_digest", "input_id")
_NUMBERS: Final = ("score", "threshold", "ms")
_NUMBER_MAX: Final = 1e12  # refuses what is not finite, and integers that no float holds
_CONSENT: Final = ("up_to", "adult_attested")


def read_request(data: bytes) -> tuple[Request, str | None, Outcome | None]:
    """Read a request, the id of its decision and what was done about it, as far as they are there.

    Raises GateRequestWrong with one line that repeats nothing but names of the form.
    """
    document = _object(
        _parsed(data, "the request"), "the request", ("stage", "factors", "decision_id", "action_enforced")
    )
    stage = document.get("stage")
    if stage not in tuple(Stage):
        _refuse("stage must be input or output")
    given = _object(document.get("factors"), "factors", tuple(DOMAIN_OF))
    factors = {name: _factor(name, each) for name, each in given.items()}
    consent = given.get("consent")
    extra = consent if isinstance(consent, dict) else {}
    up_to, is_attested = extra.get("up_to"), extra.get("adult_attested", False)
    if not isinstance(is_attested, bool) or not isinstance(up_to, str | None):
        _refuse("consent's up_to must be a level and adult_attested true or false")
    decision_id, action = document.get("decision_id"), document.get("action_enforced")
    if decision_id is not None and not (isinstance(decision_id, str) and is_id(decision_id)):
        _refuse("decision_id must be letters, digits, dot, hyphen and underscore, at most 64")
    if action is not None and not (isinstance(action, str) and action in OUTCOMES):
        _refuse(f"action_enforced must be one of {', '.join(OUTCOMES)}")
    return Request(Stage(stage), factors, up_to, is_attested), decision_id, OUTCOMES.get(action or "")


def read_bundle(data: bytes, policy: Policy) -> Bundle:
    """Read what a policy runs with; raise GateRequestWrong where it is not of the form above."""
    parts = ("detectors", "thresholds", "normaliser", "lexicons", "hash_lists")
    given = _object(_parsed(data, "the bundle"), "the bundle", parts)
    detectors = given.get("detectors", [])
    if not isinstance(detectors, list):
        _refuse("detectors must be a list")
    return Bundle(
        policy,
        tuple(map(_detector, detectors)),
        {name: _threshold(name, each) for name, each in _named("thresholds", given).items()},
        _text("the bundle", "normaliser", given.get("normaliser")) or "",
        {name: _digest("lexicons", each) for name, each in _named("lexicons", given).items()},
        {name: _digest("hash_lists", each) for name, each in _named("hash_lists", given).items()},
    )


def _detector(given: Any) -> Detector:
    fields = _object(given, "a detector", ("id", "version", "weights_digest"))
    names = [_text("a detector", each, fields.get(each)) for each in ("id", "version")]
    if not all(name is not None and is_id(name) for name in names):
        _refuse("a detector must have an id and a version, short and without blanks")
    weights = fields.get("weights_digest")
    return Detector(
        names[0] or "", names[1] or "", None if weights is None else _digest("detectors", weights)
    )


def _digest(part: str, given: Any) -> str:
    return given if isinstance(given, str) else _refuse(f"{part} must hold SHA-256 digests")


def _threshold(name: str, given: Any) -> float:
    number = _number("thresholds", name, given)
    return _refuse(f"thresholds: {name} must be a number") if number is None else number


def _named(part: str, document: dict[str, Any]) -> dict[str, Any]:
    given = document.get(part, {})
    if not isinstance(given, dict) or not all(map(is_id, given)):
        _refuse(f"{part} must be an object, its names short and without blanks")
    return given


def _parsed(data: bytes, what: str) -> Any:
    if len(data) > SIZE_MAX_BYTES:
        _refuse(f"{what} has {len(data)} bytes; at most {SIZE_MAX_BYTES} are read")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=lambda name: _refuse(f"{name} is no number"),
        )
    except UnicodeDecodeError:
        _refuse(f"{what} is not UTF-8; save it as UTF-8")
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        _refuse(f"{what} is not JSON{f' (line {line})' if line else ''}; correct it")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse("a key stands twice in one object; every key stands once")
    return found


def _factor(name: str, given: Any) -> Factor:
    fields = {"value": given} if isinstance(given, str) else given
    extra = _CONSENT if name == "consent" else ()
    fields = _object(fields, name, ("value", *_TEXTS, *_NUMBERS, *extra))
    if not isinstance(fields.get("value"), str):
        _refuse(f"{name} must have a value")
    texts = {each: _text(name, each, fields.get(each)) for each in _TEXTS}
    numbers = {each: _number(name, each, fields.get(each)) for each in _NUMBERS}
    return Factor(
        name,
        fields["value"],
        numbers["score"],
        texts["detector_id"],
        texts["detector_version"],
        texts["weights_digest"],
        numbers["threshold"],
        texts["input_id"],
        numbers["ms"],
    )


def _text(name: str, part: str, given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        _refuse(f"{name}: {part} must be a text")
    return given if isinstance(given, str) else None


def _number(name: str, part: str, given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) <= _NUMBER_MAX:
        _refuse(f"{name}: {part} must be a number")
    return float(given)


def _object(given: Any, what: str, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(given, dict):
        _refuse(f"{what} must be an object")
    if not given.keys() <= set(known):
        _refuse(f"{what} has a member that means nothing here; there may be {', '.join(known)}")
    return given


def _refuse(text: str) -> NoReturn:
    raise GateRequestWrong(text)
