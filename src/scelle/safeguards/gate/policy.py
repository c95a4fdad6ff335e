"""Hold a policy as data: rules over factors, each with its reference and template; read it from YAML, strictly.

Source: safeguards.md §4.2. A rule has a condition and an outcome for each stage that it speaks in. `when` is one
mapping of factor to test, all of which must hold, or a list of such mappings, one of which must. A test is a value, a
list of values, `at least VALUE` (that or anything riskier, unknown included) or `not VALUE` (anything else, unknown
included). Of all rules whose condition holds the least permissive outcome wins, so no rule can loosen another.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, Final

from scelle.errors import PolicyWrong
from scelle.formats.canonical_json import canonical_json
from scelle.safeguards.gate.documents import Located, read_yaml
from scelle.safeguards.gate.model import (
    DOMAIN_OF,
    LANES,
    OUTCOMES,
    SLICES,
    Lane,
    Outcome,
    Stage,
    stage_domains,
)
from scelle.safeguards.gate.statements import Statement, read_statement

FORMAT: Final = "scelle-policy/1"
RULES_MAX: Final = 500
_DEFAULT: Final = "default-policy.yaml"
_ID: Final = re.compile(r"[A-Z][A-Z0-9]{0,15}")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SLICE_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one factor: it holds for `values`, or with `is_negated` for all others (slices only)."""

    factor: str
    text: str
    values: frozenset[str]
    is_negated: bool = False

    def accepts(self, value: str) -> bool:
        """Tell whether the factor may have this value."""
        return (value in self.values) != self.is_negated


Alternative = tuple[Condition, ...]


def holds(alternative: Alternative, values: Mapping[str, str]) -> bool:
    """Tell whether every condition accepts the value of its factor."""
    return all(condition.accepts(values[condition.factor]) for condition in alternative)


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule does at one stage: its outcome where one of the alternatives holds."""

    outcome: Outcome
    lane: Lane
    when: tuple[Alternative, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as the bundle has it."""
        return {
            "outcome": self.outcome.text,
            "lane": self.lane.text,
            "when": [{each.factor: each.text for each in alternative} for alternative in self.when],
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: who decided it (a law or the terms), what it does at each stage, what is said to whom it hits."""

    id: str
    version: int
    title: str
    reference_kind: str
    reference: str
    actions: Mapping[Stage, Action]
    statement: str | None
    line: int

    def to_json(self) -> dict[str, Any]:
        """Return it as the bundle has it."""
        return {
            "id": self.id,
            "version": self.version,
            "title": self.title,
            "reference": {"kind": self.reference_kind, "text": self.reference},
            "statement": self.statement,
            **{stage.value: action.to_json() for stage, action in self.actions.items()},
        }


@dataclass(frozen=True)
class Policy:
    """All rules, in the order in which they were written; the first of equals is the one that decides.

    `cumulative` is rule R090: the level of the whole conversation, from its first reference on, counts where it is
    higher than that of the request. It has no condition of its own, since it holds in every policy. Without
    `submit_statements` a refusal before anything was posted is told to the user and submitted to nobody.
    """

    id: str
    version: int
    cumulative: Rule
    rules: tuple[Rule, ...]
    statements: Mapping[str, Statement]
    submit_statements: bool
    place: str

    @property
    def name(self) -> str:
        """The policy as records name it."""
        return f"{self.id}@{self.version}"

    def to_json(self) -> dict[str, Any]:
        """Return everything that the policy says, and nothing of how the file was laid out."""
        return {
            "format": FORMAT,
            "id": self.id,
            "version": self.version,
            "submit_statements": self.submit_statements,
            "cumulative": self.cumulative.to_json(),
            "rules": [rule.to_json() for rule in self.rules],
            "statements": {name: each.to_json() for name, each in self.statements.items()},
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of what the policy says, in hexadecimal."""
        return sha256(canonical_json(self.to_json())).hexdigest()


def load_policy(path: Path) -> Policy:
    """Read a policy's file; raise PolicyWrong with file, line and what to do."""
    if path.exists() and not path.is_file():  # a pipe would make us wait
        raise PolicyWrong(f"{path} is no regular file: name one")
    try:
        return read_policy(path.read_bytes(), str(path))
    except OSError as error:
        raise PolicyWrong(f"{path} cannot be read ({error.strerror}): correct its name") from error


@cache
def default_policy() -> Policy:
    """Return the policy that ships with Scellé: rules R010 to R999."""
    return read_policy(default_policy_bytes(), _DEFAULT)


def default_policy_bytes() -> bytes:
    """Return the file of the policy that ships with Scellé."""
    return resources.files(__package__).joinpath(_DEFAULT).read_bytes()


def read_policy(data: bytes, place: str) -> Policy:
    """Read a policy from its bytes; whether it may be used is what `proofs.prove` says."""
    document = read_yaml(data, place)
    kind = document.any_mapping().get("format")
    if kind is not None and kind.value == "scelle-guardrail/1":
        document.refuse("this is a guardrail, which names a policy: `scelle gate bundle` reads it")
    found = document.mapping(
        ("format", "id", "version", "cumulative", "rules", "statements"), ("submit_statements",)
    )
    found["format"].one_of((FORMAT,))
    rules = found["rules"].items()
    if not 0 < len(rules) <= RULES_MAX:
        found["rules"].refuse(f"must be 1 to {RULES_MAX} rules, and not {len(rules)}")
    submit = found.get("submit_statements")
    return Policy(
        found["id"].matching(_NAME.fullmatch, "lower-case letters, digits and hyphens"),
        found["version"].count(),
        _rule(found["cumulative"], has_actions=False),
        tuple(_rule(each, has_actions=True) for each in rules),
        {name: read_statement(name, each) for name, each in found["statements"].any_mapping().items()},
        submit is not None and submit.one_of(("yes", "no")) == "yes",
        place,
    )


def _rule(node: Located, *, has_actions: bool) -> Rule:
    stages = tuple(stage.value for stage in Stage) if has_actions else ()
    found = node.mapping(
        ("id", "version", "title", "reference"), (*stages, "statement") if has_actions else ()
    )
    reference = found["reference"].mapping(("kind", "text"))
    actions = {Stage(name): _action(found[name], Stage(name)) for name in stages if name in found}
    if has_actions and not actions:
        node.refuse("input or output is missing; a rule does something at one of them")
    statement = found.get("statement")
    return Rule(
        found["id"].matching(_ID.fullmatch, "a capital letter, then capital letters and digits (R040)"),
        found["version"].count(),
        found["title"].text(200),
        reference["kind"].one_of(("law", "terms")),
        reference["text"].text(500),
        actions,
        None if statement is None else statement.matching(_NAME.fullmatch, "the name of a statement"),
        node.line,
    )


def _action(node: Located, stage: Stage) -> Action:
    found = node.mapping(("outcome", "when"), ("lane",))
    outcome = OUTCOMES[found["outcome"].one_of(tuple(OUTCOMES))]
    lane = LANES[found["lane"].one_of(tuple(LANES))] if "lane" in found else Lane.NONE
    if outcome is Outcome.QUARANTINE:
        lane = Lane.REPORTING
    if lane is not Lane.NONE and outcome.reach < Outcome.WITHHOLD.reach:
        found["lane"].refuse(f"nothing is kept back by {outcome.text}; take the lane out")
    when = found["when"]
    if when.value == "always":
        return Action(outcome, lane, ((),))
    nodes = when.items() if isinstance(when.value, list) else [when]
    if not nodes:
        when.refuse("must have an alternative, or be the word always")
    return Action(outcome, lane, tuple(_alternative(each, stage) for each in nodes))


def _alternative(node: Located, stage: Stage) -> Alternative:
    found = node.any_mapping()
    if not found:
        node.refuse("must name a factor; for a rule that always holds write: when: always")
    return tuple(_condition(factor, each, stage) for factor, each in found.items())


def _condition(factor: str, node: Located, stage: Stage) -> Condition:
    if factor in SLICES:  # read, so that the proof can show what it would do; it never holds up
        return _slice_condition(factor, node)
    known = {domain.name: domain for domain in stage_domains(stage)}
    if factor not in known:
        why = "exists only at the output stage" if factor in DOMAIN_OF else "is no factor"
        node.refuse(f"{factor} {why}; at the {stage} stage there are {', '.join(known)}")
    domain = known[factor]
    word, words = _test(node)
    for value in words:
        if value not in domain.position:
            node.refuse(f"{factor} cannot be {value!r}; it is one of {', '.join(domain.values)}")
    if word == "at least" and not domain.is_chain:
        node.refuse(f"the values of {factor} have no one order; list those that are meant")
    if word == "at least":
        return Condition(factor, f"at least {words[0]}", domain.at_least(words[0]))
    if word == "not":
        return Condition(factor, f"not {words[0]}", frozenset(domain.values) - {words[0]})
    return Condition(factor, ", ".join(words), frozenset(words))


def _slice_condition(factor: str, node: Located) -> Condition:
    word, words = _test(node)
    if word == "at least" or not all(map(_SLICE_VALUE.fullmatch, words)):
        node.refuse(f"no rule may speak of {factor}; take it out")
    return Condition(factor, f"{word} {', '.join(words)}".strip(), frozenset(words), word == "not")


def _test(node: Located) -> tuple[str, tuple[str, ...]]:
    """Split a test into its word (`at least`, `not` or none) and its values."""
    if isinstance(node.value, list):
        words = tuple(each.text() for each in node.value)
        if not words or len(set(words)) != len(words):
            node.refuse("must have at least one value, and each once")
        return "", words
    text = node.text()
    for word in ("at least", "not"):
        if text.startswith(f"{word} "):
            return word, (text.removeprefix(f"{word} ").strip(),)
    return "", (text,)


def conditions(alternatives: Iterable[Alternative]) -> Iterable[Condition]:
    """Yield every condition of some alternatives."""
    return (condition for alternative in alternatives for condition in alternative)
