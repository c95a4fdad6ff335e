import json
from dataclasses import replace
from typing import Any

import pytest

from scelle.errors import FormatError
from scelle.formats.notes import COSIGNATURE_V1, ED25519, ML_DSA_44, make_vkey
from scelle.formats.trust import Held, Policy, Query, Trust, parse_policy, parse_query, parse_trust

ORIGIN = "platform.example/po/o1"
AUTHORITY = make_vkey("authority.example/seal", COSIGNATURE_V1, bytes(32))
LOG = (make_vkey(ORIGIN, ED25519, bytes(32)), make_vkey(ORIGIN, ML_DSA_44, bytes(1312)))
POLICY = Policy(
    authority=(AUTHORITY,),
    cosigners=(AUTHORITY,),
    genesis=bytes(32),
    log=LOG,
    order="o1",
    origin=ORIGIN,
    quorum=0,
    verifier_sha256=bytes(32),
)
TRUST = Trust(POLICY, bytes(range(32)), Held(5, bytes(32)))
QUERY = Query("o1", "account", "account:4711", "C", -5, 7, {"text": "privacy", "é": "a"})


def _changed(data: bytes, changes: dict[str, Any]) -> bytes:
    document = json.loads(data) | changes
    document = {key: value for key, value in document.items() if value is not ...}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize("trust", [TRUST, replace(TRUST, held=None)], ids=["held", "not-held"])
def test_trust_reads_back(trust: Trust) -> None:
    assert parse_trust(trust.encode()) == trust
    assert _changed(trust.encode(), {}) == trust.encode()


def test_policy_reads_back_and_is_trust_without_secrets() -> None:
    assert parse_policy(POLICY.encode()) == POLICY
    assert POLICY.encode() == _changed(TRUST.encode(), {"held": ..., "tagkey": ...})


def test_tag_key_is_not_in_a_printed_trust() -> None:
    assert "tagkey" not in repr(TRUST)
    assert TRUST.tagkey.hex() not in repr(TRUST)


@pytest.mark.parametrize(
    "query", [QUERY, Query("o1", "source", "", "A"), replace(QUERY, from_us=None, redact={})]
)
def test_query_reads_back(query: Query) -> None:
    assert parse_query(query.encode()) == query


def test_query_is_the_page_written_out() -> None:
    expected = (
        '{"dimension":"account","format":"scelle/query/v1","from":-5,"order":"o1","redact":{"text":"privacy","é":"a"},'
        '"strength":"C","until":7,"value":"account:4711"}\n'
    )
    assert QUERY.encode().decode() == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "scelle/trust/v2"},
        {"format": None},
        {"tagkey": "00" * 31},
        {"tagkey": "00" * 33},
        {"tagkey": "0" * 63 + "A"},
        {"tagkey": None},
        {"tagkey": 5},
        {"held": {}},
        {"held": []},
        {"held": False},
        {"held": {"root": "A" * 43 + "=", "size": -1}},
        {"held": {"root": "A" * 43 + "=", "size": "5"}},
        {"held": {"root": "A" * 42 + "==", "size": 5}},
        {"held": {"root": "A" * 43 + "=", "size": 5, "more": 1}},
        {"held": {"size": 5}},
        {"held": ...},
        {"tagkey": ...},
        {"quorum": ...},
        {"quorum": -1},
        {"quorum": 1001},
        {"quorum": True},
        {"quorum": None},
        {"extra": 1},
        {"authority": AUTHORITY.text()},
        {"authority": [5]},
        {"authority": [AUTHORITY.text() + "x"]},
        {"authority": [LOG[0].text()]},
        {"cosigners": None},
        {"cosigners": [AUTHORITY.text(), AUTHORITY.text()]},
        {"authority": [AUTHORITY.text(), AUTHORITY.text()]},
        {"log": [make_vkey("other", ED25519, bytes(32)).text(), LOG[1].text()]},
        {"log": [LOG[0].text(), make_vkey("other", ML_DSA_44, bytes(1312)).text()]},
        {"log": []},
        {"log": [LOG[0].text()]},
        {"log": [LOG[1].text(), LOG[0].text()]},
        {"log": [LOG[0].text(), LOG[0].text()]},
        {"log": [LOG[0].text(), LOG[1].text(), LOG[1].text()]},
        {"log": [AUTHORITY.text(), LOG[1].text()]},
        {"order": "o2"},
        {"order": "O1"},
        {"order": 1},
        {"origin": "platform.example/po/o2"},
        {"origin": "platform.example"},
        {"genesis": "00" * 32},
        {"genesis": "A" * 43},
        {"verifier_sha256": "00" * 31},
        {"verifier_sha256": "A" * 43 + "="},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_trust_with_a_fault_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_trust(_changed(TRUST.encode(), changes))


@pytest.mark.parametrize(
    "changes",
    [{"held": None}, {"tagkey": "00" * 32}, {"quorum": ...}, {"format": "scelle/policy/v1"}, {"log": "x"}],
    ids=str,
)
def test_policy_with_a_fault_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_policy(_changed(POLICY.encode(), changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "scelle/query/v2"},
        {"dimension": ""},
        {"dimension": None},
        {"strength": "D"},
        {"strength": "a"},
        {"strength": None},
        {"strength": ""},
        {"from": "5"},
        {"from": 1.5},
        {"from": -(2**63)},
        {"from": True},
        {"until": 2**63},
        {"until": -5},
        {"until": -6},
        {"strength": "A"},
        {"strength": "A", "dimension": "source"},
        {"strength": "A", "dimension": "source", "from": None},
        {"strength": "A", "dimension": "source", "until": None},
        {"strength": "A", "from": None, "until": None},
        {"until": ...},
        {"value": None},
        {"value": 4711},
        {"order": "-"},
        {"redact": None},
        {"redact": []},
        {"redact": {"text": None}},
        {"redact": {"text": "-"}},
        {"redact": {"text": "Privacy"}},
        {"redact": {"": "privacy"}},
        {"more": 1},
    ],
    ids=str,
)
def test_query_with_a_fault_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_query(_changed(QUERY.encode(), changes))


def test_query_without_a_form_is_not_made() -> None:
    for changes in (
        {"from_us": -(2**63)},
        {"until_us": 2**63},
        {"from_us": 7},
        {"order": ""},
        {"dimension": ""},
    ):
        with pytest.raises(FormatError):
            replace(QUERY, **changes)


@pytest.mark.parametrize("parse", [parse_trust, parse_policy, parse_query])
@pytest.mark.parametrize(
    "data", [b"", b"\n", b"{}\n", b"[]\n", b"null\n", b'"x"\n', b"{}", b"[" * 20 + b"\n"]
)
def test_other_documents_are_refused(parse: Any, data: bytes) -> None:
    with pytest.raises(FormatError):
        parse(data)


def test_line_end_is_exactly_one() -> None:
    for data in (QUERY.encode()[:-1], QUERY.encode() + b"\n", QUERY.encode()[:-1] + b"\r\n"):
        with pytest.raises(FormatError):
            parse_query(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"genesis": bytes(31)},
        {"verifier_sha256": b""},
        {"quorum": -1},
        {"quorum": 2**63},
        {"log": (LOG[1], LOG[0])},
    ],
    ids=str,
)
def test_policy_without_a_form_is_not_made(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        replace(POLICY, **changes)


@pytest.mark.parametrize("changes", [{"tagkey": bytes(31)}, {"held": Held(5, bytes(31))}], ids=str)
def test_trust_without_a_form_is_not_made(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        replace(TRUST, **changes)
