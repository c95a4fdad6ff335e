"""What a policy must have is proven over all cases, and what it lacks is shown in one."""

from itertools import product

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scelle.errors import PolicyRefused
from scelle.safeguards.gate import (
    Bundle,
    Failure,
    Gate,
    Outcome,
    Policy,
    Stage,
    default_policy,
    prove,
    read_policy,
)
from scelle.safeguards.gate.compile import compile_table
from scelle.safeguards.gate.model import DOMAIN_OF, DOMAINS, UNKNOWN, stage_domains
from tests.unit.safeguards.gate_policies import (
    changed,
    document,
    evaluated,
    policies,
    rule,
    values,
    with_rule,
)

ALWAYS = {"outcome": "allow", "when": "always"}
SLOW = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def failures(data: bytes) -> list[Failure]:
    return list(prove(Bundle(read_policy(data, "p.yaml"))).failures)


def the_failure(data: bytes, property: str) -> Failure:
    """Return the first failure, which must be of this property, and check its cases against the rules themselves."""
    policy = read_policy(data, "p.yaml")
    found = failures(data)
    assert {each.property for each in found} == {property}
    for each in found:
        for case in each.cases:
            assert each.stage is not None
            assert case.outcome == evaluated(policy, each.stage, case.values)[1]
    with pytest.raises(PolicyRefused) as caught:
        Gate(Bundle(policy))
    assert "\n" not in str(caught.value)
    return found[0]


def differing(failure: Failure) -> set[str]:
    one, other = failure.cases
    return {name for name in one.values if one.values[name] != other.values[name]}


def test_the_shipped_policy_is_proven_over_all_combinations() -> None:
    proof = prove(Bundle(default_policy()))
    assert proof.failures == ()
    assert proof.combinations == {"input": 5_878_656, "output": 88_179_840}
    assert all(count > 0 for count in proof.checked.values())
    assert sum(proof.cells.values()) < 100_000


def test_a_permission_for_who_pays_is_refused() -> None:
    failure = the_failure(
        with_rule(
            "  - {id: R500, version: 1, title: Paid, reference: {kind: terms, text: Terms},\n"
            "     input: {outcome: allow, when: {tier: paid}}}\n"
        ),
        "slices",
    )
    assert failure.rule == "R500"
    assert "tier" in failure.text
    assert differing(failure) == {"tier"}
    assert "R500" in failure.line()


def test_a_block_for_who_does_not_pay_is_the_same_and_shown_to_differ() -> None:
    failure = the_failure(
        with_rule(
            "  - {id: R500, version: 1, title: Free, reference: {kind: terms, text: Terms}, statement: owner,\n"
            "     input: {outcome: block, when: {tier: not paid, person: at least yes}}}\n"
        ),
        "slices",
    )
    assert differing(failure) == {"tier"}
    assert {case.outcome for case in failure.cases} == {Outcome.ALLOW, Outcome.BLOCK}


@pytest.mark.parametrize("name", ["country", "surface"])
def test_no_rule_may_speak_of_where_a_request_came_from(name: str) -> None:
    data = changed(
        "when: {hash_hit: opt-out, level: at least L1}", f"when: {{hash_hit: opt-out, {name}: FR}}"
    )
    assert {each.property for each in failures(data)} >= {"slices"}


def test_a_consent_that_reaches_r020_is_refused() -> None:
    failure = the_failure(
        changed(
            "when: {minor: at least yes, level: at least L2}",
            "when: {minor: at least yes, level: at least L2, consent: not valid}",
        ),
        "consent",
    )
    assert failure.rule == "R020"
    assert differing(failure) == {"consent"}
    assert Outcome.ALLOW in {case.outcome for case in failure.cases}


def test_a_consent_that_reaches_what_r020_protects_is_refused_under_another_id() -> None:
    data = changed("id: R020", "id: R120").replace(
        b"when: {minor: at least yes, level: at least L2}",
        b"when: {minor: at least yes, level: at least L2, consent: not valid}",
    )
    failure = the_failure(data, "consent")
    assert differing(failure) == {"consent"}
    assert failure.cases[0].outcome is not None
    assert failure.cases[0].outcome < Outcome.WITHHOLD


def test_a_policy_without_the_rule_for_minors_is_refused() -> None:
    failure = the_failure(
        changed(
            "when: {minor: at least yes, level: at least L2}",
            "when: {minor: at least yes, level: at least L3}",
        ),
        "consent",
    )
    assert failure.cases[0].values["level"] == "L2"


def test_a_policy_that_leaves_a_list_open_to_everybody_is_refused() -> None:
    """No consent has a part in it: the case is shown alone."""
    shut = [
        {"hash_hit": ["csam", "unknown"]},
        {"minor": "at least yes", "level": "at least L2"},
    ]
    out = [{"hash_hit": "at least own-prior-block"}, {"minor": "at least yes", "delta": "at least increased"}]
    data = document(
        rule("R100", input={"outcome": "block", "when": shut}, output={"outcome": "withhold", "when": out}),
        rule("R999", input=ALWAYS, output=ALWAYS),
    )
    (case,) = the_failure(data, "consent").cases
    assert (case.values["hash_hit"], case.outcome) == ("own-prior-block", Outcome.ALLOW)


def test_a_consent_that_changes_the_lane_of_what_is_protected_is_refused() -> None:
    data = with_rule(
        "  - {id: R500, version: 1, title: Lane, reference: {kind: terms, text: Terms}, statement: minors,\n"
        "     input: {outcome: block, lane: reporting,\n"
        "             when: {minor: at least yes, level: at least L2, consent: not valid}}}\n"
    )
    assert differing(the_failure(data, "consent")) == {"consent"}


def test_a_missing_template_is_refused() -> None:
    failure = the_failure(
        changed("opt-out, level: at least L1}\n    statement: owner", "opt-out, level: at least L1}"),
        "templates",
    )
    assert failure.rule == "R051"
    assert failure.cases[0].deciding == "R051"
    assert the_failure(
        changed("level: at least L1}\n    statement: owner", "level: at least L1}\n    statement: nobody"),
        "templates",
    )


@pytest.mark.parametrize(
    ("old", "new", "name", "pair"),
    [
        # a riskier value loosens
        ("{hash_hit: opt-out, level: at least L1}", "{hash_hit: opt-out, level: L1}", "level", ("L1", "L2")),
        # more unknown loosens
        (
            "when: {third_party_post: at least yes, person: at least yes,",
            "when: {third_party_post: yes, person: at least yes,",
            "third_party_post",
            ("yes", UNKNOWN),
        ),
        (
            "- {hash_hit: unknown}\n    output:\n",
            "- {hash_hit: unknown, person: at least yes}\n    output:\n",
            "hash_hit",
            ("csam", UNKNOWN),
        ),
        # a lane is left as the risk rises
        (
            "output: {outcome: withhold, when: {named: at least yes, level: at least L2, exposure: at least E2}}",
            "output: {outcome: withhold, lane: restricted, when: {named: yes, exposure: E2}}",
            "exposure",
            ("E2", "E3"),
        ),
    ],
)  # fmt: skip
def test_a_rule_that_loosens_as_the_risk_rises_is_refused(
    old: str, new: str, name: str, pair: tuple[str, str]
) -> None:
    found = failures(changed(old, new))
    assert {each.property for each in found} == {"monotone"}
    shown = [each for each in found if differing(each) == {name}]
    assert pair in [(one.values[name], other.values[name]) for each in shown for one, other in [each.cases]]
    for each in shown:
        strict, loose = each.cases
        assert (strict.outcome, strict.lane) > (loose.outcome, loose.lane) or strict.lane > loose.lane


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"outcome": "quarantine"}, {"outcome": "block"}),  # nothing gets through, and yet it is looser
        ({"outcome": "block"}, {"outcome": "withhold"}),
        ({"outcome": "block", "lane": "restricted"}, {"outcome": "block"}),
        ({"outcome": "withhold", "lane": "reporting"}, {"outcome": "block", "lane": "restricted"}),
    ],
)
def test_a_riskier_value_is_held_back_no_less_and_leaves_no_lane(
    less: dict[str, str], more: dict[str, str]
) -> None:
    data = document(
        rule("R100", input={**less, "when": {"level": "L2"}}),
        rule("R101", input={**more, "when": {"level": "at least L3"}}),
        rule("R999", input=ALWAYS, output=ALWAYS),
    )
    (failure,) = [each for each in failures(data) if each.property == "monotone"]
    assert [case.values["level"] for case in failure.cases] == ["L2", "L3"]


def test_unknown_need_not_be_quarantined_but_must_not_get_through() -> None:
    """A hash list that did not answer is no hit: it blocks, and nobody is reported for it."""
    gate_table = compile_table(default_policy(), Stage.INPUT)
    calm = {domain.name: domain.values[0] for domain in stage_domains(Stage.INPUT)}
    assert gate_table.look({**calm, "hash_hit": "csam"}).outcome is Outcome.QUARANTINE
    assert gate_table.look({**calm, "hash_hit": UNKNOWN}).outcome is Outcome.BLOCK


def test_a_policy_that_is_not_total_is_refused() -> None:
    failure = the_failure(changed("    input: {outcome: allow, when: always}\n", ""), "total")
    assert failure.stage is Stage.INPUT
    (case,) = failure.cases
    assert case.outcome is None
    assert "no outcome" in failure.line()


def test_two_rules_of_one_id_are_refused_with_both_lines() -> None:
    failure = the_failure(changed("id: R051", "id: R050"), "unique")
    assert "stands in line" in failure.text
    assert failure.place.startswith("p.yaml:")
    assert the_failure(changed("id: R051", "id: R090"), "unique").rule == "R090"


def test_everything_that_is_wrong_is_said_and_not_the_first() -> None:
    data = changed("id: R051", "id: R050").replace(b"    input: {outcome: allow, when: always}\n", b"")
    assert {each.property for each in failures(data)} == {"unique", "total"}


@given(policy=policies(slices=True), data=st.data())
@SLOW
def test_the_table_says_what_the_rules_say(policy: Policy, data: st.DataObject) -> None:
    stage = data.draw(st.sampled_from(list(Stage)))
    table = compile_table(policy, stage)
    found = data.draw(values(stage))
    named = [axis.domain for axis in table.axes if axis.domain.name not in DOMAIN_OF]
    found |= {domain.name: data.draw(st.sampled_from(domain.values)) for domain in named}
    ids, outcome = evaluated(
        policy, stage, {**dict.fromkeys(("tier", "country", "surface"), "none"), **found}
    )
    fired = table.look(found)
    assert ([each.id for each in fired.rules], fired.outcome) == (ids, outcome)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_the_shipped_table_says_what_its_rules_say(data: st.DataObject) -> None:
    stage = data.draw(st.sampled_from(list(Stage)))
    found = data.draw(values(stage))
    fired = TABLES[stage].look(found)
    ids, outcome = evaluated(default_policy(), stage, found)
    assert ([each.id for each in fired.rules], fired.outcome) == (ids, outcome)
    assert fired.deciding is not None
    assert fired.deciding.actions[stage].outcome is fired.outcome


TABLES = {stage: compile_table(default_policy(), stage) for stage in Stage}


@given(policy=policies(), data=st.data())
@SLOW
def test_what_is_proven_monotone_is_and_a_counter_example_is_one(policy: Policy, data: st.DataObject) -> None:
    proof = prove(Bundle(policy))
    found = [each for each in proof.failures if each.property == "monotone"]
    for failure in found:
        assert failure.stage is not None
        low, high = (
            evaluated(policy, failure.stage, case.values)[1] or Outcome.ALLOW for case in failure.cases
        )
        lanes = [case.lane for case in failure.cases]
        assert len(differing(failure)) == 1
        assert high < low or lanes[1] < lanes[0]
    stage = data.draw(st.sampled_from(list(Stage)))
    assume(not any(each.stage is stage for each in found))
    one = data.draw(values(stage))
    domain = data.draw(st.sampled_from(stage_domains(stage)))
    low_place, high_place = data.draw(st.sampled_from(domain.steps))
    before, after = (
        evaluated(policy, stage, {**one, domain.name: domain.values[place]})[1] or Outcome.ALLOW
        for place in (low_place, high_place)
    )
    is_unknown = domain.values[high_place] == UNKNOWN
    assert (after.reach >= before.reach) if is_unknown else (after >= before)


def test_a_small_policy_is_monotone_by_enumeration_exactly_where_the_proof_says_so() -> None:
    """Every pair of values of two factors, in both forms of a test: the proof and a plain loop agree on each policy."""
    agreed = set()
    for level, person in product(("L1", "at least L1", "not L0"), ("yes", "at least yes")):
        when = {"level": level, "person": person}
        policy = read_policy(
            document(
                rule("R100", input={"outcome": "block", "when": when}),
                rule("R999", input=ALWAYS, output=ALWAYS),
            ),
            "p",
        )
        calm = {domain.name: domain.values[0] for domain in DOMAINS}
        is_monotone = True
        for domain in (DOMAIN_OF["level"], DOMAIN_OF["person"]):
            for other_level, other_person in product(DOMAIN_OF["level"].values, DOMAIN_OF["person"].values):
                base = {**calm, "level": other_level, "person": other_person}
                reaches = [
                    (evaluated(policy, Stage.INPUT, {**base, domain.name: value})[1] or Outcome.ALLOW).reach
                    for value in domain.values
                ]
                is_monotone &= reaches == sorted(reaches)
        proven = not any(each.property == "monotone" for each in prove(Bundle(policy)).failures)
        assert proven is is_monotone, when
        agreed.add(proven)
    assert agreed == {True, False}
