"""Know the headers of the recorder's own, and which of a request's and an answer's go on."""

from collections.abc import Iterator
from typing import Any, Final

from multidict import CIMultiDict, CIMultiDictProxy

from scelle.safeguards.guardrail.model import CONSENTS, SAID_FACTORS

RECORD_HEADER: Final = "X-Scelle-Record"
RECEIPT_HEADER: Final = "X-Scelle-Receipt"
PROMISE_HEADER: Final = "X-Scelle-Promise"
DECISION_HEADER: Final = "X-Scelle-Decision"
BUNDLE_HEADER: Final = "X-Scelle-Bundle"
DEGRADED_HEADER: Final = "X-Scelle-Degraded"
"""Says `detectors` where the last decision was made without one that is required."""
_HOP_BY_HOP: Final = frozenset(
    [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "expect", "accept-encoding",
    ]
)  # fmt: skip
_KEPT: Final = frozenset(["content-type", "content-encoding", "authorization"])
_OWN_PREFIX: Final = "x-scelle-"
_SAID_HEADERS: Final = {
    "X-Scelle-Account": "account",
    "X-Scelle-Conversation": "conversation",
    "X-Scelle-Parent": "parent",
    "X-Scelle-Tier": "tier",
    "X-Scelle-Country": "country",
    "X-Scelle-Language": "ui_language",
    "X-Scelle-Route": "route",
    "X-Scelle-Surface-Build": "surface_build",
}
"""What the platform says of a request in headers; they go no further."""
FACTORS_HEADER: Final = "X-Scelle-Factors"
"""What the platform knows of a request, for the gate: `name=value`, with commas between."""
CONSENT_HEADER: Final = "X-Scelle-Consent"
"""Tokens of consent, with commas between."""
GATE_HEADERS: Final = {DECISION_HEADER: "decision", BUNDLE_HEADER: "bundle_digest"}
"""What a gate behind the proxy says of its decision; without a gate here they go on to the client."""
_CONSENTS_MAX: Final = 17
_VALUE_MAX: Final = 500
_PLAIN: Final = frozenset(
    [
        "cache-control", "content-type", "date", "retry-after", "server", "strict-transport-security", "vary",
        "x-content-type-options", "x-request-id",
    ]
)  # fmt: skip
_PLAIN_PREFIXES: Final = ("access-control-", "openai-", "x-ratelimit-")


def said_of(headers: CIMultiDictProxy[str], *, for_gate: bool) -> dict[str, Any]:
    """Return what the platform says of a request, as members of its event; with a gate also factors and consents."""
    said: dict[str, Any] = {
        member: headers[name][:1000] for name, member in _SAID_HEADERS.items() if name in headers
    }
    if for_gate:
        if FACTORS_HEADER in headers:
            said[SAID_FACTORS] = _pairs(headers[FACTORS_HEADER])
        if CONSENT_HEADER in headers:
            tokens = [each.strip() for each in headers[CONSENT_HEADER].split(",")]
            said[CONSENTS] = [each for each in tokens if each][:_CONSENTS_MAX]
    return said


def only_plain(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """Return the headers of an answer in which there is no picture: known ones, and short."""
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if len(value) <= _VALUE_MAX and (name.lower() in _PLAIN or name.lower().startswith(_PLAIN_PREFIXES))
    )


def decided_in(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """Return the members of an outcome that a gate behind the proxy says in its answer."""
    return {member: headers[name][:1000] for name, member in GATE_HEADERS.items() if name in headers}


def forwarded(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers that go on to the generator: none that is for this hop alone, and none of ours."""
    return CIMultiDict(
        (name, value)
        for name, value in _end_to_end(headers)
        if not name.lower().replace("_", "-").startswith(_OWN_PREFIX)
    )


def returned(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers that go back to the client; where the record is, the proxy alone says."""
    ours = (RECORD_HEADER.lower(), RECEIPT_HEADER.lower(), PROMISE_HEADER.lower(), DEGRADED_HEADER.lower())
    return CIMultiDict((name, value) for name, value in _end_to_end(headers) if name.lower() not in ours)


def _end_to_end(headers: CIMultiDictProxy[str]) -> Iterator[tuple[str, str]]:
    named = {each.strip().lower() for value in headers.getall("Connection", []) for each in value.split(",")}
    named -= _KEPT  # without them what is behind is read otherwise
    for name, value in headers.items():
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named:
            yield name, value


def _pairs(text: str) -> dict[str, str]:
    """Read `name=value, name=value`; what has no such form is left out, so that its factor is unknown."""
    parts = (each.partition("=") for each in text[:4000].split(","))
    return {name.strip(): value.strip() for name, equals, value in parts if equals}
