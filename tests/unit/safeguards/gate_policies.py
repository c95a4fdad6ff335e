"""Policies for tests: the shipped one with one thing changed, and small ones drawn by Hypothesis."""

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from hypothesis import strategies as st

from scelle.safeguards.gate.model import OUTCOMES, SLICES, Outcome, Stage, stage_domains
from scelle.safeguards.gate.policy import Policy, holds, read_policy

SHIPPED = (
    resources.files("scelle.safeguards.gate").joinpath("default-policy.yaml").read_text(encoding="utf-8")
)
REFERENCE = {"kind": "terms", "text": "Terms, 4"}
STATEMENT = {
    "notify_user": "at-once",
    "decision_ground": "DECISION_GROUND_INCOMPATIBLE_CONTENT",
    "incompatible_content_ground": "Terms, 4",
    "incompatible_content_explanation": "The terms do not allow it.",
    "category": "STATEMENT_CATEGORY_OTHER_VIOLATION_TC",
    "category_specification": ["KEYWORD_GOODS_SERVICES_NOT_PERMITTED"],
    "decision_provision": "DECISION_PROVISION_PARTIAL_SUSPENSION",
    "content_type": ["CONTENT_TYPE_IMAGE"],
    "automated_detection": "Yes",
    "automated_decision": "AUTOMATED_DECISION_FULLY",
    "decision_facts": "Rule {rule} of policy {policy}, bundle {bundle}.",
}


def changed(old: str, new: str) -> bytes:
    """Return the shipped policy with one text replaced, which must be there once."""
    assert SHIPPED.count(old) == 1, f"{old!r} stands {SHIPPED.count(old)} times"
    return SHIPPED.replace(old, new).encode()


def with_rule(rule: str) -> bytes:
    """Return the shipped policy with one more rule before the last one."""
    return changed("  - id: R999\n", f"{rule}\n  - id: R999\n")


def rule(id: str, **members: Any) -> dict[str, Any]:
    return {
        "id": id,
        "version": "1",
        "title": "A rule",
        "reference": REFERENCE,
        "statement": "terms",
        **members,
    }


def document(*rules: Mapping[str, Any]) -> bytes:
    """Return a policy of these rules; JSON is YAML."""
    cumulative = {"id": "R090", "version": "1", "title": "All turns", "reference": REFERENCE}
    found = {"format": "scelle-policy/1", "id": "test", "version": "1", "cumulative": cumulative}
    return json.dumps({**found, "rules": list(rules), "statements": {"terms": STATEMENT}}).encode()


@st.composite
def conditions(draw: st.DrawFn, stage: Stage, *, slices: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for domain in draw(st.lists(st.sampled_from(stage_domains(stage)), min_size=1, max_size=3, unique=True)):
        value = draw(st.sampled_from(domain.values))
        forms = [value, f"not {value}", *([f"at least {value}"] * 3 if domain.is_chain else [])]
        found[domain.name] = draw(
            st.one_of(
                st.sampled_from(forms),
                st.lists(st.sampled_from(domain.values), min_size=1, max_size=3, unique=True),
            )
        )
    if slices and draw(st.booleans()):
        found[draw(st.sampled_from(SLICES))] = draw(st.sampled_from(["paid", "not paid"]))
    return found


@st.composite
def policies(draw: st.DrawFn, *, slices: bool = False) -> Policy:
    """Draw a policy of up to five rules, with or without one that always holds."""
    rules = []
    for number in range(draw(st.integers(1, 5))):
        stages = draw(st.lists(st.sampled_from(list(Stage)), min_size=1, max_size=2, unique=True))
        actions = {
            stage.value: {
                "outcome": draw(st.sampled_from(list(OUTCOMES))),
                "when": draw(st.lists(conditions(stage, slices=slices), min_size=1, max_size=2)),
            }
            for stage in stages
        }
        rules.append(rule(f"R{100 + number}", **actions))
    if draw(st.booleans()):
        always = {"outcome": "allow", "when": "always"}
        rules.append(rule("R999", input=always, output=always))
    return read_policy(document(*rules), "drawn.yaml")


@st.composite
def values(draw: st.DrawFn, stage: Stage) -> dict[str, str]:
    """Draw a value for every factor of a stage."""
    return {domain.name: draw(st.sampled_from(domain.values)) for domain in stage_domains(stage)}


def evaluated(policy: Policy, stage: Stage, found: Mapping[str, str]) -> tuple[list[str], Outcome | None]:
    """Evaluate the rules one by one, with no table: which hold, and the least permissive of their outcomes."""
    fired = [
        (each.id, action.outcome)
        for each in policy.rules
        if (action := each.actions.get(stage)) is not None
        and any(holds(alternative, found) for alternative in action.when)
    ]
    return [id for id, _ in fired], max((outcome for _, outcome in fired), default=None)
