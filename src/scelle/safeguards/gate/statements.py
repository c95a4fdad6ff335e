"""Hold the templates from which a user's notice and a statement of reasons are made; check their words.

Source: the API documentation of the Commission's DSA Transparency Database, version 2; safeguards.md §4.4. Its words
are checked here so that a statement is not refused (422) on the day it is due. The categories and keywords "against
women" are left out: no detector infers gender, only a person may establish it.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from scelle.safeguards.gate.documents import Located

ILLEGAL: Final = "DECISION_GROUND_ILLEGAL_CONTENT"
INCOMPATIBLE: Final = "DECISION_GROUND_INCOMPATIBLE_CONTENT"
VISIBILITIES: Final = tuple(
    f"DECISION_VISIBILITY_CONTENT_{what}"
    for what in ("REMOVED", "DISABLED", "DEMOTED", "AGE_RESTRICTED", "INTERACTION_RESTRICTED", "LABELLED")
)
PROVISIONS: Final = tuple(
    f"DECISION_PROVISION_{what}"
    for what in ("PARTIAL_SUSPENSION", "TOTAL_SUSPENSION", "PARTIAL_TERMINATION", "TOTAL_TERMINATION")
)
AUTOMATED: Final = tuple(f"AUTOMATED_DECISION_{what}" for what in ("FULLY", "PARTIALLY", "NOT_AUTOMATED"))
CONTENT_TYPES: Final = tuple(
    f"CONTENT_TYPE_{what}" for what in ("AUDIO", "IMAGE", "SYNTHETIC_MEDIA", "TEXT", "VIDEO")
)
KEYWORDS: Final = {
    "STATEMENT_CATEGORY_CYBER_VIOLENCE": (
        "KEYWORD_CYBER_BULLYING_INTIMIDATION",
        "KEYWORD_CYBER_HARASSMENT",
        "KEYWORD_CYBER_STALKING",
        "KEYWORD_NON_CONSENSUAL_IMAGE_SHARING",
        "KEYWORD_NON_CONSENSUAL_MATERIAL_DEEPFAKE",
    ),
    "STATEMENT_CATEGORY_PROTECTION_OF_MINORS": (
        "KEYWORD_AGE_SPECIFIC_RESTRICTIONS_MINORS",
        "KEYWORD_CHILD_SEXUAL_ABUSE_MATERIAL_DEEPFAKE",
    ),
    "STATEMENT_CATEGORY_DATA_PROTECTION_AND_PRIVACY_VIOLATIONS": (
        "KEYWORD_BIOMETRIC_DATA_BREACH",
        "KEYWORD_DATA_FALSIFICATION",
        "KEYWORD_MISSING_PROCESSING_GROUND",
        "KEYWORD_RIGHT_TO_BE_FORGOTTEN",
    ),
    "STATEMENT_CATEGORY_OTHER_VIOLATION_TC": (
        "KEYWORD_GOODS_SERVICES_NOT_PERMITTED",
        "KEYWORD_LANGUAGE_REQUIREMENTS",
    ),
}
"""Per category that a gate for pictures has a use for, its keywords; KEYWORD_OTHER needs a text of its own."""
NOTIFICATIONS: Final = ("at-once", "after-reporting-lane")
_GROUND_MAX, _EXPLANATION_MAX, _FACTS_MAX = 500, 2000, 5000
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}?|\}")
_PLACEHOLDERS: Final = ("rule", "policy", "bundle")
_PERSONAL: Final = re.compile(r"://|www\.|@\w", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One template: what is said of a decision, of whomever it is; `{rule}`, `{policy}`, `{bundle}` are filled in."""

    name: str
    notify_user: str
    decision_ground: str
    ground: str
    explanation: str
    category: str
    category_specification: tuple[str, ...]
    decision_visibility: tuple[str, ...]
    decision_provision: str | None
    content_type: tuple[str, ...]
    automated_detection: str
    automated_decision: str
    decision_facts: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields under the database's own names."""
        prefix, suffix = (
            ("illegal_content", "legal_ground")
            if self.decision_ground == ILLEGAL
            else ("incompatible_content", "ground")
        )
        return {
            "notify_user": self.notify_user,
            "decision_ground": self.decision_ground,
            f"{prefix}_{suffix}": self.ground,
            f"{prefix}_explanation": self.explanation,
            "category": self.category,
            "category_specification": list(self.category_specification),
            "decision_visibility": list(self.decision_visibility),
            "decision_provision": self.decision_provision,
            "content_type": list(self.content_type),
            "automated_detection": self.automated_detection,
            "automated_decision": self.automated_decision,
            "decision_facts": self.decision_facts,
        }


def read_statement(name: str, node: Located) -> Statement:
    """Read one template; raise PolicyWrong for a word that the database does not know."""
    ground_node = node.any_mapping().get("decision_ground") or node.refuse(
        "decision_ground is missing; add it"
    )
    decision_ground = ground_node.one_of((ILLEGAL, INCOMPATIBLE))
    is_illegal = decision_ground == ILLEGAL
    ground = "illegal_content_legal_ground" if is_illegal else "incompatible_content_ground"
    explanation = f"{'illegal' if is_illegal else 'incompatible'}_content_explanation"
    found = node.mapping(
        (
            "notify_user",
            "decision_ground",
            ground,
            explanation,
            "category",
            "category_specification",
            "content_type",
            "automated_detection",
            "automated_decision",
            "decision_facts",
        ),
        ("decision_visibility", "decision_provision"),
    )
    visibility, provision = found.get("decision_visibility"), found.get("decision_provision")
    if visibility is None and provision is None:
        node.refuse("decision_visibility or decision_provision is missing; say what was restricted")
    category = found["category"].one_of(tuple(KEYWORDS))
    return Statement(
        name,
        found["notify_user"].one_of(NOTIFICATIONS),
        decision_ground,
        _impersonal(found[ground], _GROUND_MAX),
        _impersonal(found[explanation], _EXPLANATION_MAX),
        category,
        _words(found["category_specification"], KEYWORDS[category]),
        () if visibility is None else _words(visibility, VISIBILITIES),
        None if provision is None else provision.one_of(PROVISIONS),
        _words(found["content_type"], CONTENT_TYPES),
        found["automated_detection"].one_of(("Yes", "No")),
        found["automated_decision"].one_of(AUTOMATED),
        _impersonal(found["decision_facts"], _FACTS_MAX),
    )


def _words(node: Located, allowed: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(each.one_of(allowed) for each in node.items())
    if not words or len(set(words)) != len(words):
        node.refuse("must name at least one, and each once")
    return words


def _impersonal(node: Located, most: int) -> str:
    """Read a text that can hold nothing of a user: only what is filled in of the policy itself."""
    text = node.text(most)
    for found in _PLACEHOLDER.finditer(text):
        if found.group(1) not in _PLACEHOLDERS or not found.group().endswith("}"):
            node.refuse(f"{found.group()!r} is not filled in; there are {{rule}}, {{policy}} and {{bundle}}")
    if _PERSONAL.search(text):
        node.refuse("must name no address and no account; a statement holds no personal data")
    return text
