"""Issue and check consents: what a depicted person allows to be done to one picture, by one requester, for a while.

A consent is bound to the picture, so that no register of faces is needed, and signed by whoever ran the flow in which
the depicted person consented. Source: safeguards.md §4.2.

The token is ``<payload>.<signature>`` in base64url without padding: canonical JSON (RFC 8785), and an Ed25519
signature over ``scelle/consent/v1\\n`` and it. What a check establishes: the issuer signed it, for this picture, this
requester and this level, it has begun, is not over and was not withdrawn. What it does not: that whoever consented is
who is depicted; that is the issuer's flow.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from scelle.errors import ConsentWrong, FormatError
from scelle.formats.canonical_json import canonical_json_int, parse_json_strict
from scelle.safeguards.gate.model import DOMAIN_OF, LEVELS, UNKNOWN, Factor

VERSION: Final = 1
CONTEXT: Final = b"scelle/consent/v1\n"
TOKEN_MAX: Final = 4096
PDQ_DISTANCE_MAX: Final = 31
"""Two PDQ hashes (256 bits) with no more differing bits are of the same picture (the hash's own guidance)."""
LIFE_MAX: Final = timedelta(days=366)
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_B64: Final = re.compile(r"[A-Za-z0-9_-]+")


class Result(StrEnum):
    """What became of a check: the values of F6."""

    VALID = "valid"
    NONE = "none"
    EXPIRED = "expired"
    WRONG_SUBJECT = "wrong-subject"
    INVALID = "invalid"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Consent:
    """What was consented to. `reference_pdq` lets a re-encoded copy of the picture pass, as far as PDQ can tell.

    `all_adults` is the issuer's verified attestation that everybody depicted is an adult. Times are UTC seconds;
    `issued_s` inclusive, `expires_s` exclusive. `requester` is the pseudonym that records have.
    """

    id: str
    issuer: str
    reference_sha256: str
    max_level: str
    requester: str
    issued_s: int
    expires_s: int
    all_adults: bool = False
    reference_pdq: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the payload."""
        return {
            "v": VERSION,
            "id": self.id,
            "issuer": self.issuer,
            "reference_sha256": self.reference_sha256,
            "reference_pdq": self.reference_pdq,
            "max_level": self.max_level,
            "requester": self.requester,
            "issued_s": self.issued_s,
            "expires_s": self.expires_s,
            "all_adults": self.all_adults,
        }


@dataclass(frozen=True, slots=True)
class Reference:
    """One picture that is to be changed: the SHA-256 of its bytes, and its PDQ where it has one of quality."""

    sha256: str
    pdq: str | None = None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The list of withdrawn consents as it was fetched; after `good_until` it says nothing any more."""

    ids: frozenset[str]
    good_until: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: F6, why, up to which level, and whether everybody depicted was attested to be an adult."""

    result: Result
    reason: str
    up_to: str | None = None
    all_adults: bool = False

    def factor(self, input_id: str | None = None) -> Factor:
        """Return F6 as the gate takes it."""
        return Factor(
            "consent", self.result.value, detector_id="consent", detector_version="1", input_id=input_id
        )


def issue(consent: Consent, key: Ed25519PrivateKey) -> str:
    """Return a signed token; raise ConsentWrong for what could not be checked later."""
    reason = _flaw(consent)
    if reason:
        raise ConsentWrong(f"a consent cannot be issued so: {reason}")
    payload = canonical_json_int(consent.to_json())
    return f"{_b64(payload)}.{_b64(key.sign(CONTEXT + payload))}"


def check(
    token: str | None,
    reference: Reference,
    requester: str,
    now: datetime,
    issuers: Mapping[str, Ed25519PublicKey],
    withdrawn: Withdrawn | None,
) -> Finding:
    """Check one token for one picture. The first flaw counts: forged, of something else, withdrawn, expired.

    Without a list of withdrawals that is still good the answer is *unknown*: nobody can tell.
    """
    if token is None or token == "":
        return Finding(Result.NONE, "no-token")
    consent = _read(token, issuers)
    if isinstance(consent, str):
        return Finding(Result.INVALID, consent)
    if consent.requester != requester:
        return Finding(Result.WRONG_SUBJECT, "other-requester")
    is_exact = consent.reference_sha256 == reference.sha256
    if not is_exact and not _is_near(consent.reference_pdq, reference.pdq):
        return Finding(Result.WRONG_SUBJECT, "other-picture")
    if withdrawn is not None and consent.id in withdrawn.ids:  # a withdrawal stays one, however old the list
        return Finding(Result.WITHDRAWN, "withdrawn")
    now_s = now.timestamp()
    if now_s >= consent.expires_s:
        return Finding(Result.EXPIRED, "expired")
    if now_s < consent.issued_s:
        return Finding(Result.INVALID, "not-yet-valid")
    if withdrawn is None or now >= withdrawn.good_until:
        return Finding(Result.UNKNOWN, "withdrawals-not-known")
    return Finding(
        Result.VALID,
        "same-bytes" if is_exact else "same-pdq",
        consent.max_level,
        # Two different pictures can be made to have one PDQ: it carries no attestation of anybody's age.
        consent.all_adults and is_exact,
    )


def check_all(
    tokens: Iterable[str],
    references: Sequence[Reference],
    requester: str,
    now: datetime,
    issuers: Mapping[str, Ed25519PublicKey],
    withdrawn: Withdrawn | None,
) -> Finding:
    """Check the consents for every picture of a request: each needs one, and the worst, and the lowest level, count."""
    held = list(tokens)
    findings = [_best(held, each, requester, now, issuers, withdrawn) for each in references]
    if not findings:
        return Finding(Result.NONE, "no-picture")
    worst = max(findings, key=_risk)
    if worst.result is not Result.VALID:
        return worst
    lowest = min((each.up_to or LEVELS[0] for each in findings), key=LEVELS.index)
    return Finding(Result.VALID, worst.reason, lowest, all(each.all_adults for each in findings))


def _best(
    tokens: Sequence[str],
    reference: Reference,
    requester: str,
    now: datetime,
    issuers: Mapping[str, Ed25519PublicKey],
    withdrawn: Withdrawn | None,
) -> Finding:
    """Return the finding of the token that is for this picture; where none is, the worst of what was found."""
    found = [check(token, reference, requester, now, issuers, withdrawn) for token in tokens or ("",)]
    valid = [each for each in found if each.result is Result.VALID]
    if any(each.result is Result.WITHDRAWN for each in found) or not valid:
        own = [each for each in found if each.result is not Result.WRONG_SUBJECT]
        return max(own or found, key=_risk)
    return min(valid, key=lambda each: LEVELS.index(each.up_to or LEVELS[0]))


def _risk(finding: Finding) -> int:
    return DOMAIN_OF["consent"].position[finding.result.value]


def minor(estimate: str, finding: Finding, *, person: str) -> tuple[str, bool]:
    """Return F3 from an estimate of age and a consent, and whether a person must look.

    An estimator can say `yes` or `unknown`, and nothing else: whatever else it says is unknown. Only an attestation in
    a valid consent says `no`; where the estimate says `yes` against it, nobody knows, and a person must look.
    `person` is whether anybody is in the prompt or a reference.
    """
    if person == "no":
        return "n/a", False
    is_attested = finding.result is Result.VALID and finding.all_adults
    if estimate == "yes":
        return (UNKNOWN, True) if is_attested else ("yes", False)
    return ("no", False) if is_attested else (UNKNOWN, False)


def read_withdrawn(data: bytes, good_until: datetime) -> Withdrawn:
    """Read a list of withdrawn consents: one id a line, UTF-8; raise ConsentWrong with the line that is none."""
    ids = set()
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not _ID.fullmatch(line):
            raise ConsentWrong(f"line {number} of the withdrawn consents is no id; one id a line")
        ids.add(line)
    return Withdrawn(frozenset(ids), good_until)


def _read(token: str, issuers: Mapping[str, Ed25519PublicKey]) -> Consent | str:
    """Read a token whose signature holds, or say what is wrong; nothing of it counts before that."""
    if len(token) > TOKEN_MAX:
        return "too-long"
    payload_text, dot, signature_text = token.partition(".")
    payload, signature = _unb64(payload_text), _unb64(signature_text)
    if not dot or payload is None or signature is None:
        return "not-a-token"
    unverified = _unverified(payload)
    key = issuers.get(unverified.issuer) if unverified is not None else None
    if unverified is None or key is None:
        return "not-a-token" if unverified is None else "unknown-issuer"
    try:
        key.verify(signature, CONTEXT + payload)
    except InvalidSignature:
        return "signature"
    return _flaw(unverified) or unverified


def _unverified(payload: bytes) -> Consent | None:
    try:
        given = parse_json_strict(payload)
    except FormatError:
        return None
    members = set(Consent("", "", "", "", "", 0, 0).to_json())
    if not isinstance(given, dict) or set(given) != members or given.pop("v") != VERSION:
        return None
    texts = ("id", "issuer", "reference_sha256", "max_level", "requester")
    is_right = (
        all(isinstance(given[name], str) for name in texts)
        and isinstance(given["reference_pdq"], str | None)
        and isinstance(given["all_adults"], bool)
        and all(type(given[name]) is int for name in ("issued_s", "expires_s"))
    )
    return Consent(**given) if is_right else None


def _flaw(consent: Consent) -> str:
    """Return what is wrong with a consent in itself, in one word, or nothing."""
    pdq = consent.reference_pdq
    checks = {
        "id": _ID.fullmatch(consent.id),
        "issuer": _ID.fullmatch(consent.issuer),
        "reference": _HEX.fullmatch(consent.reference_sha256) and (pdq is None or _HEX.fullmatch(pdq)),
        "level": consent.max_level in LEVELS[:-1],
        "requester": _ID.fullmatch(consent.requester),
        "times": 0 < consent.expires_s - consent.issued_s <= LIFE_MAX.total_seconds(),
    }
    return next((name for name, is_right in checks.items() if not is_right), "")


def _is_near(one: str | None, other: str | None) -> bool:
    if one is None or other is None or not _HEX.fullmatch(other):
        return False
    return (int(one, 16) ^ int(other, 16)).bit_count() <= PDQ_DISTANCE_MAX


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes | None:
    """Read base64url without padding, in its one spelling."""
    if not _B64.fullmatch(text):
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if _b64(data) == text else None
