"""A consent counts for one picture, one requester, one level and a while; forged, over and withdrawn ones do not."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from scelle.errors import ConsentWrong
from scelle.formats.canonical_json import canonical_json
from scelle.safeguards.gate.consent import (
    CONTEXT,
    Consent,
    Finding,
    Reference,
    Result,
    Withdrawn,
    check,
    check_all,
    issue,
    minor,
    read_withdrawn,
)
from scelle.safeguards.gate.model import DOMAIN_OF, UNKNOWN

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
ISSUERS = {"flow-1": KEY.public_key()}
PICTURE = Reference("a" * 64, "f" * 64)
CONSENT = Consent("c-1", "flow-1", "a" * 64, "L2", "account-7", NOW_S - 60, NOW_S + 3600, all_adults=True)
NOBODY = Withdrawn(frozenset(), NOW + timedelta(hours=1))


def checked(token: str | None, **changes: Any) -> Finding:
    asked = {
        "reference": PICTURE,
        "requester": "account-7",
        "now": NOW,
        "issuers": ISSUERS,
        "withdrawn": NOBODY,
    }
    return check(token, **{**asked, **changes})


def issued(**changes: Any) -> str:
    return issue(replace(CONSENT, **changes), KEY)


def signed(payload: Any, key: Ed25519PrivateKey = KEY) -> str:
    """Sign whatever payload, as an issuer of another version could."""
    data = payload if isinstance(payload, bytes) else canonical_json(payload)
    parts = (data, key.sign(CONTEXT + data))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_a_consent_is_valid_for_its_picture_and_requester() -> None:
    assert checked(issued()) == Finding(Result.VALID, "same-bytes", "L2", True)
    assert checked(issued()).factor().value == "valid"


@pytest.mark.parametrize(
    ("token", "changes", "result"),
    [
        (None, {}, Result.NONE),
        ("", {}, Result.NONE),
        ("forged", {}, Result.INVALID),
        ("forged.token", {}, Result.INVALID),
        ("a" * 5000, {}, Result.INVALID),
        (issued(), {"issuers": {}}, Result.INVALID),
        (issued(), {"issuers": {"flow-1": OTHER_KEY.public_key()}}, Result.INVALID),
        (issue(CONSENT, OTHER_KEY), {}, Result.INVALID),
        (issued(), {"now": NOW + timedelta(hours=1)}, Result.EXPIRED),
        (issued(), {"now": NOW - timedelta(minutes=2)}, Result.INVALID),
        (issued(), {"requester": "account-8"}, Result.WRONG_SUBJECT),
        (issued(), {"reference": Reference("b" * 64)}, Result.WRONG_SUBJECT),
        (issued(), {"withdrawn": Withdrawn(frozenset(["c-1"]), NOW + timedelta(hours=1))}, Result.WITHDRAWN),
        (issued(), {"withdrawn": Withdrawn(frozenset(["c-1"]), NOW - timedelta(hours=1))}, Result.WITHDRAWN),
        (issued(), {"withdrawn": Withdrawn(frozenset(["c-2"]), NOW)}, Result.UNKNOWN),
        (issued(), {"withdrawn": None}, Result.UNKNOWN),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_apart(token: str | None, changes: dict[str, Any], result: Result) -> None:
    finding = checked(token, **changes)
    assert finding.result is result
    assert (finding.up_to, finding.all_adults) == (None, False)
    assert finding.result.value in DOMAIN_OF["consent"].values


def test_expiry_is_exclusive_and_issue_inclusive() -> None:
    assert checked(issued(), now=NOW + timedelta(seconds=3599)).result is Result.VALID
    assert checked(issued(), now=NOW - timedelta(seconds=60)).result is Result.VALID


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_no_token_with_a_changed_bit_is_valid(place: int, bit: int) -> None:
    token = bytearray(issued().encode())
    token[place % len(token)] ^= 1 << bit
    assert checked(token.decode("latin-1")).result in (Result.INVALID, Result.NONE)


def test_a_token_has_one_spelling() -> None:
    """The last character of a signature carries two bits; the four others may not be anything."""
    token = issued()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [token[:-1] + letter for letter in letters if letter != token[-1]]
    found = {checked(each).result for each in [*others, f"{token}=", f"{token}\n", f" {token}"]}
    assert found == {Result.INVALID}


@pytest.mark.parametrize(
    "payload",
    [
        {**CONSENT.to_json(), "max_level": "L9"},
        {**CONSENT.to_json(), "max_level": UNKNOWN},
        {**CONSENT.to_json(), "v": 2},
        {**CONSENT.to_json(), "all_adults": "yes"},
        {**CONSENT.to_json(), "expires_s": True},
        {**CONSENT.to_json(), "expires_s": NOW_S + 10**9},
        {**CONSENT.to_json(), "reference_sha256": "A" * 64},
        {**CONSENT.to_json(), "more": 1},
        {name: value for name, value in CONSENT.to_json().items() if name != "requester"},
        [],
        json.dumps(CONSENT.to_json()).encode(),  # not canonical
    ],
)
def test_a_signature_over_something_else_is_no_consent(payload: Any) -> None:
    assert checked(signed(payload)).result is Result.INVALID


def test_a_signature_of_another_use_of_the_key_is_no_consent() -> None:
    payload = canonical_json(CONSENT.to_json())
    parts = (payload, KEY.sign(payload))
    token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    assert checked(token).reason == "signature"


@pytest.mark.parametrize(
    "changes",
    [
        {"max_level": "L5"},
        {"expires_s": NOW_S - 60},
        {"id": "two words"},
        {"reference_pdq": "f"},
        {"requester": ""},
    ],
)
def test_what_could_not_be_checked_is_not_issued(changes: dict[str, Any]) -> None:
    with pytest.raises(ConsentWrong):
        issued(**changes)


def test_a_re_encoded_copy_passes_by_pdq_and_carries_no_attestation() -> None:
    """Two different pictures can be made to have one PDQ: nobody's age is known by it."""
    token = issued(reference_pdq="f" * 64)
    near = Reference("b" * 64, "0" * 7 + "f" * 57)  # 28 bits differ
    assert checked(token, reference=near) == Finding(Result.VALID, "same-pdq", "L2", False)
    assert (
        checked(token, reference=Reference("b" * 64, "0" * 8 + "f" * 56)).result is Result.WRONG_SUBJECT
    )  # 32
    assert checked(token, reference=Reference("b" * 64)).result is Result.WRONG_SUBJECT
    assert checked(token).all_adults


def test_every_picture_of_a_request_needs_a_consent_of_its_own() -> None:
    other = Reference("b" * 64)
    tokens = [issued(), issued(id="c-2", reference_sha256="b" * 64, max_level="L1", all_adults=False)]

    def found(held: list[str], pictures: list[Reference], withdrawn: Withdrawn | None = NOBODY) -> Finding:
        return check_all(held, pictures, "account-7", NOW, ISSUERS, withdrawn)

    assert found(tokens, [PICTURE, other]) == Finding(Result.VALID, "same-bytes", "L1", False)
    assert found(tokens, [PICTURE]).up_to == "L2"
    assert found(tokens[:1], [PICTURE, other]).result is Result.WRONG_SUBJECT
    assert found([], [PICTURE]).result is Result.NONE
    assert found(tokens, []).result is Result.NONE
    withdrawn = Withdrawn(frozenset(["c-1"]), NOW + timedelta(hours=1))
    assert found([*tokens, issued(id="c-3")], [PICTURE], withdrawn).result is Result.WITHDRAWN
    assert found([issued(id="c-3"), *tokens], [PICTURE], withdrawn).result is Result.WITHDRAWN
    assert (
        found(tokens, [other], withdrawn).result is Result.VALID
    )  # what was withdrawn was for another picture
    expired = issued(id="c-4", issued_s=NOW_S - 100, expires_s=NOW_S - 50)
    assert (
        found([tokens[1], expired], [PICTURE]).result is Result.EXPIRED
    )  # what is for this picture says more


@pytest.mark.parametrize(
    ("estimate", "result", "all_adults", "person", "value", "needs_a_person"),
    [
        ("yes", Result.NONE, False, "yes", "yes", False),
        (UNKNOWN, Result.NONE, False, "yes", UNKNOWN, False),
        ("no", Result.NONE, False, "yes", UNKNOWN, False),  # no estimator may say so
        ("likely-adult", Result.NONE, False, "yes", UNKNOWN, False),
        ("no", Result.VALID, False, "yes", UNKNOWN, False),
        (UNKNOWN, Result.VALID, True, "yes", "no", False),
        ("no", Result.VALID, True, "yes", "no", False),
        ("yes", Result.VALID, True, "yes", UNKNOWN, True),
        (UNKNOWN, Result.EXPIRED, True, "yes", UNKNOWN, False),
        (UNKNOWN, Result.NONE, False, UNKNOWN, UNKNOWN, False),
        ("yes", Result.NONE, False, "no", "n/a", False),
    ],
)  # fmt: skip
def test_only_an_attestation_says_that_nobody_is_a_minor(
    estimate: str, result: Result, all_adults: bool, person: str, value: str, needs_a_person: bool
) -> None:
    finding = Finding(result, "-", "L2", all_adults)
    assert minor(estimate, finding, person=person) == (value, needs_a_person)


def test_a_list_of_withdrawn_consents_is_read_line_by_line() -> None:
    assert read_withdrawn(b"c-1\nc-2\n", NOW).ids == {"c-1", "c-2"}
    with pytest.raises(ConsentWrong, match="line 2"):
        read_withdrawn(b"c-1\ntwo words\n", NOW)
