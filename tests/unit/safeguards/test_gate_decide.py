"""A decision is careful with what is reported, keeps verdict and deed apart, and says what would have changed it."""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scelle.errors import GateRequestWrong, PolicyRefused
from scelle.safeguards.gate import (
    Bundle,
    Decision,
    Factor,
    Gate,
    Lane,
    Outcome,
    Request,
    Stage,
    default_policy,
    read_policy,
    read_request,
)
from scelle.safeguards.gate.decide import careful
from scelle.safeguards.gate.model import DOMAIN_OF, LEVELS, UNKNOWN, request_domains, riskier
from tests.unit.safeguards.gate_policies import changed, document, evaluated, rule

GATE = Gate(Bundle(default_policy()))
CALM = {
    "op": "edit",
    "person": "yes",
    "named": "no",
    "minor": UNKNOWN,
    "level": "L1",
    "cumulative_level": "L0",
    "consent": "none",
    "hash_hit": "none",
    "third_party_post": "no",
    "owner_control": "unset",
    "language": "supported",
    "detectors": "healthy",
}
"""Put the person in the picture in a winter coat: nothing is known of whoever it is."""
MADE = {**CALM, "exposure": "E0", "delta": "not-increased"}
TREE = {**CALM, "op": "t2i", "person": "no", "minor": "n/a", "level": "L0"}
CONSENTED = {"level": "L2", "minor": "no", "consent": "valid", "consent_up_to": "L2", "adult_attested": True}
DRAWN = {"level": "L2", "op": "t2i", "person": "no", "minor": "n/a", "named": "yes"}


def asked(found: Mapping[str, Any], stage: Stage = Stage.INPUT) -> Request:
    """Return a request of these factor values, with what the consent says beside them."""
    said = dict(found)
    up_to, is_attested = said.pop("consent_up_to", None), said.pop("adult_attested", False)
    return Request(stage, {name: Factor(name, value) for name, value in said.items()}, up_to, is_attested)


def decided(found: Mapping[str, Any], stage: Stage = Stage.INPUT, **more: Any) -> Decision:
    return GATE.decide(asked({**found, **more}, stage), "d-1")


def test_a_winter_coat_is_allowed_and_swimwear_is_not() -> None:
    assert decided(CALM).verdict is Outcome.ALLOW
    swimwear = decided(CALM, level="L2")
    assert (swimwear.verdict, swimwear.deciding_rule, swimwear.lane) == (
        Outcome.BLOCK,
        "R020",
        Lane.RESTRICTED,
    )
    assert swimwear.rules_fired == ("R020", "R040", "R999")


@pytest.mark.parametrize(
    ("more", "verdict", "deciding"),
    [
        ({"hash_hit": "csam"}, Outcome.QUARANTINE, "R010"),
        ({"hash_hit": "ncii"}, Outcome.BLOCK, "R011"),
        ({"hash_hit": "own-prior-block"}, Outcome.BLOCK, "R011"),
        ({"level": "L3"}, Outcome.BLOCK, "R020"),
        ({**CONSENTED, "level": "L3", "consent_up_to": "L4"}, Outcome.BLOCK, "R030"),
        (CONSENTED, Outcome.ALLOW, "R999"),
        ({"level": "L2", "consent": "valid", "consent_up_to": "L2"}, Outcome.BLOCK, "R020"),
        ({"third_party_post": "yes"}, Outcome.BLOCK, "R050"),
        ({"third_party_post": "yes", "owner_control": "allow"}, Outcome.ALLOW, "R999"),
        ({"hash_hit": "opt-out"}, Outcome.BLOCK, "R051"),
        (DRAWN, Outcome.BLOCK, "R060"),
        ({"language": "unsupported"}, Outcome.BLOCK, "R070"),
        ({"detectors": "down"}, Outcome.BLOCK, "R080"),
        ({**TREE, "detectors": "down"}, Outcome.ALLOW_DEGRADED, "R081"),
        (TREE, Outcome.ALLOW, "R999"),
    ],
)  # fmt: skip
def test_the_rules_of_the_design_decide_at_the_input(
    more: dict[str, Any], verdict: Outcome, deciding: str
) -> None:
    decision = decided(CALM, **more)
    assert (decision.verdict, decision.deciding_rule) == (verdict, deciding)


@pytest.mark.parametrize(
    ("more", "verdict", "deciding"),
    [
        ({}, Outcome.ALLOW, "R999"),
        ({"hash_hit": "csam"}, Outcome.QUARANTINE, "R010"),
        ({"delta": "increased"}, Outcome.WITHHOLD, "R021"),
        ({"delta": UNKNOWN}, Outcome.WITHHOLD, "R021"),
        ({"exposure": "E2"}, Outcome.WITHHOLD, "R030"),
        ({**CONSENTED, "exposure": "E2"}, Outcome.WITHHOLD, "R030"),
        ({**CONSENTED, "exposure": "E1", "delta": "increased"}, Outcome.ALLOW, "R999"),
        ({**DRAWN, "exposure": "E2"}, Outcome.WITHHOLD, "R060"),
        ({"language": "unsupported", "exposure": "E1"}, Outcome.WITHHOLD, "R070"),
        ({"detectors": "down"}, Outcome.WITHHOLD, "R080"),
    ],
)  # fmt: skip
def test_the_rules_of_the_design_decide_at_the_output(
    more: dict[str, Any], verdict: Outcome, deciding: str
) -> None:
    decision = decided(MADE, Stage.OUTPUT, **more)
    assert (decision.verdict, decision.deciding_rule) == (verdict, deciding)


def test_what_is_missing_is_unknown() -> None:
    nothing = GATE.decide(Request(Stage.INPUT, {}), "d-1")
    everything = decided(dict.fromkeys(CALM, UNKNOWN))
    assert nothing.verdict is Outcome.BLOCK
    assert nothing.substance() == everything.substance()
    assert {factor.value for factor in nothing.factors} == {UNKNOWN}
    for name in CALM:
        without = {each: value for each, value in CALM.items() if each != name}
        assert decided(without).substance() == decided({**CALM, name: UNKNOWN}).substance()


def test_the_conversation_decides_where_its_level_is_higher() -> None:
    decision = decided(CALM, cumulative_level="L2")
    assert (decision.verdict, decision.deciding_rule, decision.as_rule) == (Outcome.BLOCK, "R090", "R020")
    assert "R090" in decision.rules_fired
    assert decision.taken_as == {"level": "L2"}
    assert decision.counterfactual is not None
    assert decision.counterfactual.text() == "allow by R999 if F8 (cumulative_level) were L1 and not L2"
    assert decided(CALM, cumulative_level=UNKNOWN).verdict is Outcome.BLOCK


def test_the_conversation_decides_too_where_it_outgrows_a_consent() -> None:
    """A policy that asks for consent already at L1: the consent is up to L1, and the conversation has come to L2."""
    policy = read_policy(
        changed(
            "{person: at least yes, level: at least L2, consent: not valid}}\n    output",
            "{person: at least yes, level: at least L1, consent: not valid}}\n    output",
        ),
        "p.yaml",
    )
    found = {**CONSENTED, "level": "L1", "consent_up_to": "L1"}
    gate = Gate(Bundle(policy))
    assert gate.decide(asked({**CALM, **found}), "d-1").verdict is Outcome.ALLOW
    decision = gate.decide(asked({**CALM, **found, "cumulative_level": "L2"}), "d-1")
    assert (decision.deciding_rule, decision.as_rule) == ("R090", "R020")


def test_where_request_and_conversation_are_alike_no_change_of_one_helps() -> None:
    decision = decided(CALM, level="L2", cumulative_level="L2")
    assert decision.deciding_rule == "R020"
    assert decision.counterfactual is None


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "block by R020 if F4 (level) were L2 and not L1"),
        ({"third_party_post": "yes"}, "allow by R999 if F1 (person) were no and not yes"),
        ({"third_party_post": UNKNOWN, "person": UNKNOWN}, "allow by R999 if F4 (level) were L0 and not L1"),
        (
            {"third_party_post": "yes", "person": UNKNOWN, "level": "L1"},
            "allow by R999 if F4 (level) were L0 and not L1",
        ),
        ({**TREE, "detectors": "down"}, "allow by R999 if F11 (detectors) were healthy and not down"),
        ({**CONSENTED, "minor": "yes"}, "allow by R999 if F3 (minor) were no and not yes"),
    ],
)
def test_the_nearest_change_is_named_and_of_equals_the_first(more: dict[str, Any], text: str) -> None:
    change = decided(CALM, **more).counterfactual
    assert change is not None
    assert change.text() == text


def test_a_consent_covers_no_more_than_its_level() -> None:
    beyond = decided(CALM, level="L2", minor="no", consent="valid", consent_up_to="L1", adult_attested=True)
    assert beyond.verdict is Outcome.BLOCK
    assert beyond.taken_as == {"consent": "invalid", "minor": UNKNOWN}
    turned = decided(
        CALM, minor="no", consent="valid", consent_up_to="L1", adult_attested=True, cumulative_level="L2"
    )
    assert turned.deciding_rule == "R090"
    assert (
        decided(CALM, level="L2", minor="no", consent="valid", adult_attested=True).verdict is Outcome.BLOCK
    )


def test_nothing_but_an_attestation_in_a_valid_consent_says_that_nobody_is_a_minor() -> None:
    for consent, attested in product(DOMAIN_OF["consent"].values, (False, True)):
        taken = careful(
            asked(
                {**CALM, "minor": "no", "consent": consent, "consent_up_to": "L4", "adult_attested": attested}
            )
        )
        assert (taken["minor"] == "no") is (consent == "valid" and attested)
    for person in ("no", "yes", UNKNOWN):
        taken = careful(asked({**CALM, "minor": "n/a", "person": person}))
        assert (taken["minor"] == "n/a") is (person == "no")


def test_verdict_and_deed_are_kept_apart() -> None:
    decision = decided(CALM, level="L2")
    assert decision.action_enforced is None
    assert not decision.was_overridden
    delivered = decision.enforced(Outcome.ALLOW)
    assert (delivered.verdict, delivered.action_enforced, delivered.was_overridden) == (
        Outcome.BLOCK,
        Outcome.ALLOW,
        True,
    )
    assert not decision.enforced(Outcome.WITHHOLD).was_overridden
    assert delivered.substance() == decision.substance()


def test_the_record_has_the_fields_of_the_design() -> None:
    record = decided(CALM, third_party_post="yes").to_json()
    assert set(record) == {
        "decision_id", "stage", "bundle_digest", "policy", "rules_fired", "deciding_rule", "as_rule", "verdict", "lane",
        "action_enforced", "factors", "counterfactual", "user_notice_id", "sor_candidate", "ms",
    }  # fmt: skip
    assert record["policy"] == "default@1"
    assert record["bundle_digest"] == Bundle(default_policy()).digest
    assert [each["factor"] for each in record["factors"]] == [
        "op", "F1", "F2", "F3", "F4", "F6", "F7", "F9.post", "F9.control", "F10", "F11", "F8",
    ]  # fmt: skip
    assert set(record["factors"][0]) == {
        "factor", "name", "value", "score", "detector_id", "detector_version", "weights_digest", "threshold",
        "input_id", "ms", "taken_as",
    }  # fmt: skip
    assert record["user_notice_id"] == "default@1/owner"
    assert record["sor_candidate"] == {
        "statement": "default@1/owner",
        "rule": "R050@1",
        "submit": False,
        "automated_decision": "AUTOMATED_DECISION_FULLY",
    }
    assert json.loads(json.dumps(record)) == record


def test_where_a_minor_is_not_excluded_the_user_is_told_nothing_yet() -> None:
    decision = decided(CALM, level="L2")
    assert decision.user_notice_id is None
    assert decision.sor_candidate is not None
    assert decided(CALM).sor_candidate is None


def test_a_policy_that_is_not_proven_makes_no_gate() -> None:
    with pytest.raises(PolicyRefused, match="R050"):
        Gate(Bundle(read_policy(changed("id: R051", "id: R050"), "p.yaml")))


def test_what_waits_for_a_person_is_not_fully_automated() -> None:
    hold = {"outcome": "hold", "when": {"person": "at least yes"}}
    shut = {
        "outcome": "block",
        "when": [{"hash_hit": "at least own-prior-block"}, {"minor": "at least yes", "level": "at least L2"}],
    }
    out = {
        "outcome": "withhold",
        "when": [
            {"hash_hit": "at least own-prior-block"},
            {"minor": "at least yes", "delta": "at least increased"},
        ],
    }
    always = {"outcome": "allow", "when": "always"}
    policy = read_policy(
        document(
            rule("R100", input=hold),
            rule("R101", input=shut, output=out),
            rule("R999", input=always, output=always),
        ),
        "p",
    )
    decision = Gate(Bundle(policy)).decide(asked(CALM), "d-1")
    assert decision.verdict is Outcome.HOLD
    assert decision.sor_candidate is not None
    assert decision.sor_candidate["automated_decision"] == "AUTOMATED_DECISION_PARTIALLY"


@st.composite
def requests(draw: st.DrawFn) -> Request:
    stage = draw(st.sampled_from(list(Stage)))
    found = {
        domain.name: draw(st.one_of(st.just(domain.values[0]), st.sampled_from(domain.values)))
        for domain in request_domains(stage)
    }
    kept = draw(st.sets(st.sampled_from(sorted(found)), min_size=len(found) - 2))
    said = {
        "consent_up_to": draw(st.sampled_from([None, *LEVELS[:-1]])),
        "adult_attested": draw(st.booleans()),
    }
    return asked({**{name: found[name] for name in kept}, **said}, stage)


def restated(request: Request, name: str, value: str) -> Request:
    factors = {**request.factors, name: Factor(name, value)}
    return Request(request.stage, factors, request.consent_up_to, request.adult_attested)


@given(request=requests(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_no_riskier_report_gets_more(request: Request, data: st.DataObject) -> None:
    """With everything that is done before the table: consent's level, attestation, conversation."""
    domain = data.draw(st.sampled_from(request_domains(request.stage)))
    low, high = (domain.values[place] for place in data.draw(st.sampled_from(domain.steps)))
    before = GATE.decide(restated(request, domain.name, low), "d-1").verdict
    after = GATE.decide(restated(request, domain.name, high), "d-1").verdict
    assert after.reach >= before.reach
    if high != UNKNOWN:
        assert after >= before


@given(request=requests())
@settings(max_examples=200, deadline=None)
def test_the_decision_is_that_of_the_rules_one_by_one(request: Request) -> None:
    decision = GATE.decide(request, "d-1")
    ids, outcome = evaluated(default_policy(), request.stage, careful(request))
    assert decision.verdict is outcome
    assert set(decision.rules_fired) - {"R090"} == set(ids)
    level = riskier(request.value("level"), request.value("cumulative_level"))
    assert careful(request)["level"] == level


@given(request=requests())
@settings(max_examples=200, deadline=None)
def test_the_counterfactual_is_the_smallest_change_that_counts(request: Request) -> None:
    decision = GATE.decide(request, "d-1")
    taken = careful(request)
    change = decision.counterfactual

    def counts(name: str, value: str) -> bool:
        outcome = evaluated(default_policy(), request.stage, {**taken, name: value})[1]
        assert outcome is not None
        if decision.verdict.reach:
            return outcome.reach < decision.verdict.reach
        return outcome.reach > decision.verdict.reach

    if change is not None:
        name = "level" if change.factor == "cumulative_level" else change.factor
        assert counts(name, change.would_be)
        assert change.value == taken[name]
    lower = min(request.value("level"), request.value("cumulative_level"), key=LEVELS.index)
    distances = [
        domain.distance(taken[domain.name], value)
        for domain in request_domains(request.stage)
        if domain.name != "cumulative_level"
        for value in domain.values
        if counts(domain.name, value)
        and not (domain.name == "level" and LEVELS.index(value) < LEVELS.index(lower))
        and not (domain.name == "minor" and value == "no" and taken["consent"] != "valid")
        and not (domain.name == "minor" and value == "n/a" and taken["person"] != "no")
    ]
    assert (change is None) is (not distances)
    if change is not None:
        assert DOMAIN_OF[name].distance(change.value, change.would_be) == min(distances)


SECRET = "put the person of @example in a winter coat, https://example.invalid/1"


@pytest.mark.parametrize("part", ["detector_id", "detector_version", "weights_digest", "input_id", "value"])
def test_no_text_of_a_user_gets_into_a_record_or_an_error(part: str) -> None:
    body = {"stage": "input", "factors": {"person": {"value": "yes", part: SECRET}}}
    with pytest.raises(GateRequestWrong) as caught:
        read_request(json.dumps(body).encode())
    assert "coat" not in str(caught.value)
    with pytest.raises(GateRequestWrong) as caught:
        Factor("person", **({"value": "yes"} | {part: SECRET}))  # type: ignore[arg-type]
    assert "coat" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        {"stage": "input", "factors": {}, "decision_id": SECRET},
        {"stage": "input", "factors": {}, "prompt": SECRET},
        {"stage": "input", "factors": {}, SECRET: 1},
        {"stage": SECRET, "factors": {}},
        {"stage": "input", "factors": {SECRET: "yes"}},
        {"stage": "input", "factors": {"person": {"value": "yes", "note": SECRET}}},
        {"stage": "input", "factors": {"person": SECRET}},
        {"stage": "input", "factors": {"person": [SECRET]}},
        {"stage": "input", "factors": {"person": {"value": "yes", "score": SECRET}}},
        {"stage": "input", "factors": {"consent": {"value": "valid", "up_to": SECRET}}},
        {"stage": "input", "factors": {"consent": {"value": "valid", "adult_attested": SECRET}}},
        {"stage": "input", "factors": {"person": {"value": "yes", "up_to": "L2"}}},
        {"stage": "input", "factors": {}, "action_enforced": SECRET},
        {"stage": "input", "factors": {}, "action_enforced": ["allow"]},
        {"stage": {}, "factors": {}},
        {"stage": "input", "factors": {"delta": "increased"}},
        {"stage": "input", "factors": {"person": {"value": "yes", "score": 10**400}}},
        {"stage": "input", "factors": {"person": {"value": "yes", "score": True}}},
        {"stage": "input"},
        [],
        "text",
    ],
)
def test_a_request_that_means_nothing_is_refused_in_one_line_that_repeats_nothing(body: Any) -> None:
    with pytest.raises(GateRequestWrong) as caught:
        read_request(json.dumps(body).encode())
    assert "coat" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"stage": "input", "stage": "output", "factors": {}}',
        b'{"stage": "input", "factors": {"person": {"value": "yes", "score": NaN}}}',
        b'{"stage": "input", "factors": {"person": {"value": "yes", "score": 1e999}}}',
        b"[" * 100_000,
        b" " * (1 << 20) + b"{}",
    ],
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(GateRequestWrong):
        read_request(data)


def test_a_whole_request_is_read() -> None:
    level = {
        "value": "L1", "score": 0.75, "detector_id": "text", "detector_version": "3.1", "weights_digest": "0" * 64,
        "threshold": 0.5, "input_id": "sha256:" + "1" * 64, "ms": 2,
    }  # fmt: skip
    consent = {"value": "valid", "up_to": "L2", "adult_attested": True}
    body = {
        "stage": "input",
        "decision_id": "d-7",
        "action_enforced": "block",
        "factors": {"level": level, "consent": consent},
    }
    request, decision_id, action = read_request(json.dumps(body).encode())
    assert (decision_id, action, request.consent_up_to, request.adult_attested) == (
        "d-7",
        Outcome.BLOCK,
        "L2",
        True,
    )
    shown = GATE.decide(request, "d-7").to_json()["factors"][4]
    assert shown == {**level, "factor": "F4", "name": "level", "taken_as": UNKNOWN}


def test_a_decision_has_an_id_of_the_form_of_one() -> None:
    with pytest.raises(GateRequestWrong, match="form of one"):
        GATE.decide(asked(CALM), SECRET)


def test_a_factor_stands_under_its_own_name() -> None:
    with pytest.raises(GateRequestWrong, match="its own"):
        Request(Stage.INPUT, {"person": Factor("named", "no")})
