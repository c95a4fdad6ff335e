"""Decide one request, and say why: which rules, on what factors, and what would have changed it.

What is reported is first taken at its most careful: a minor is excluded by nothing but a valid consent with a verified
attestation, is no question only where no person is, and a consent covers no more than the level it names. Then one
look at the table. The record holds names, values and numbers, and no text of a user.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from scelle.errors import GateRequestWrong
from scelle.safeguards.gate.bundle import Bundle
from scelle.safeguards.gate.compile import Axis, Fired, compile_table
from scelle.safeguards.gate.model import (
    CUMULATIVE,
    DOMAIN_OF,
    LEVELS,
    UNKNOWN,
    Factor,
    Lane,
    Outcome,
    Request,
    Stage,
    is_id,
    request_domains,
    riskier,
)
from scelle.safeguards.gate.policy import Rule
from scelle.safeguards.gate.proofs import Proof, prove


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The smallest change of one factor that would have changed the outcome, by steps in the factor's order."""

    factor: str
    value: str
    would_be: str
    outcome: Outcome
    deciding: str

    def text(self) -> str:
        """Say it in a sentence of names and values."""
        domain = DOMAIN_OF[self.factor]
        return (
            f"{self.outcome.text} by {self.deciding} if {domain.id} ({self.factor}) were {self.would_be} "
            f"and not {self.value}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as decision records have it."""
        return {
            "factor": DOMAIN_OF[self.factor].id,
            "name": self.factor,
            "value": self.value,
            "would_be": self.would_be,
            "outcome": self.outcome.text,
            "deciding_rule": self.deciding,
            "text": self.text(),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision as it is recorded; what was then done, `action_enforced`, stays apart from the verdict.

    `deciding_rule` is R090 where the conversation decided, and `as_rule` then names the rule whose level it reached.
    `taken_as` are the factors that were taken at another value than was reported.
    """

    decision_id: str
    stage: Stage
    bundle_digest: str
    policy: str
    rules_fired: tuple[str, ...]
    deciding_rule: str
    as_rule: str | None
    verdict: Outcome
    lane: Lane
    action_enforced: Outcome | None
    factors: tuple[Factor, ...]
    taken_as: Mapping[str, str]
    counterfactual: Counterfactual | None
    user_notice_id: str | None
    sor_candidate: Mapping[str, Any] | None
    ms: float

    @property
    def was_overridden(self) -> bool:
        """Whether more was let through than the verdict allows: the gate said no, and the caller delivered."""
        return self.action_enforced is not None and self.action_enforced.reach < self.verdict.reach

    def enforced(self, action: Outcome) -> "Decision":
        """Return the record with what was done; the verdict stays what it was."""
        return replace(self, action_enforced=action)

    def to_json(self) -> dict[str, Any]:
        """Return the decision record (safeguards.md §4.2)."""
        return {
            "decision_id": self.decision_id,
            **self.substance(),
            "action_enforced": None if self.action_enforced is None else self.action_enforced.text,
            "ms": self.ms,
        }

    def substance(self) -> dict[str, Any]:
        """Return what a replay over the same factors must give again: everything but id, deed and duration."""
        return {
            "stage": self.stage.value,
            "bundle_digest": self.bundle_digest,
            "policy": self.policy,
            "rules_fired": list(self.rules_fired),
            "deciding_rule": self.deciding_rule,
            "as_rule": self.as_rule,
            "verdict": self.verdict.text,
            "lane": self.lane.text,
            "factors": [
                {**factor.to_json(), "taken_as": self.taken_as.get(factor.name, factor.value)}
                for factor in self.factors
            ],
            "counterfactual": None if self.counterfactual is None else self.counterfactual.to_json(),
            "user_notice_id": self.user_notice_id,
            "sor_candidate": None if self.sor_candidate is None else dict(self.sor_candidate),
        }


class Gate:
    """Hold a bundle whose policy was proven, compiled; a decision is one look at a table.

    Raises PolicyRefused where the proof fails: there is no way to a gate around it.
    """

    __slots__ = ("_bundle_digest", "_changes", "_policy", "_reach", "_tables", "proof")

    def __init__(self, bundle: Bundle) -> None:
        self.proof: Proof = prove(bundle)
        self.proof.require()
        self._policy = bundle.policy
        self._bundle_digest = bundle.digest
        self._tables = {stage: compile_table(bundle.policy, stage) for stage in Stage}
        self._reach = {
            stage: bytes(_of(fired)[1].reach for fired in table.fired)
            for stage, table in self._tables.items()
        }
        self._changes = {stage: tuple(map(_changes, table.axes)) for stage, table in self._tables.items()}

    def decide(self, request: Request, decision_id: str) -> Decision:
        """Decide one request; nothing is done and nothing is kept, that is the caller's."""
        started = time.perf_counter_ns()
        if not is_id(decision_id):
            raise GateRequestWrong("a decision's id must have the form of one: short, and without blanks")
        taken = careful(request)
        table = self._tables[request.stage]
        fired = table.look(taken)
        level, total = request.value("level"), request.value("cumulative_level")
        alone = fired if taken["level"] == level else table.look(careful(request, of_conversation=False))
        rule, outcome = _of(fired)
        names = [each.id for each in fired.rules]
        deciding, as_rule = rule.id, None
        if alone.rules != fired.rules:
            names.append(self._policy.cumulative.id)
            if outcome > _of(alone)[1]:
                deciding, as_rule = self._policy.cumulative.id, rule.id
        floor = total if taken["level"] == level else level
        change = self._counterfactual(request.stage, taken, floor)
        if change is not None and change.factor == "level" and taken["level"] != level:
            change = replace(change, factor=CUMULATIVE.name)
        notice, candidate = self._said(rule, outcome)
        factors = request.factors
        return Decision(
            decision_id,
            request.stage,
            self._bundle_digest,
            self._policy.name,
            tuple(names),
            deciding,
            as_rule,
            outcome,
            fired.lane,
            None,
            tuple([factors.get(name) or _NOT_REPORTED[name] for name in _NAMES[request.stage]]),
            {name: value for name, value in taken.items() if value != request.value(name)},
            change,
            notice,
            candidate,
            (time.perf_counter_ns() - started) / 1e6,
        )

    def _counterfactual(self, stage: Stage, taken: Mapping[str, str], floor: str) -> Counterfactual | None:
        """Find the nearest change: of what came through marked or not at all, to more; of what was allowed, to less.

        Of F4 and F8 the lower one is the `floor`: below it no change of the other leads.
        """
        table, reach = self._tables[stage], self._reach[stage]
        here, cells = table.index(taken), table.cells
        now = reach[cells[here]]
        nearest, found = 1000, None
        for axis, changes in zip(table.axes, self._changes[stage], strict=True):
            name = axis.domain.name
            for distance, would_be, move in changes[taken[name]]:
                if distance >= nearest:
                    break
                there = cells[here + move]
                is_other = reach[there] < now if now else reach[there] > now
                if is_other and _is_possible(taken, floor, name, would_be):
                    nearest, found = distance, (name, would_be, there)
                    break
        if found is None:
            return None
        name, would_be, there = found
        rule, outcome = _of(table.fired[there])
        return Counterfactual(name, taken[name], would_be, outcome, rule.id)

    def _said(self, rule: Rule, outcome: Outcome) -> tuple[str | None, dict[str, Any] | None]:
        """Return the notice that the user gets, and what a statement of reasons would be made from."""
        if outcome < Outcome.HOLD or rule.statement is None:
            return None, None
        statement = self._policy.statements[rule.statement]
        name = f"{self._policy.name}/{statement.name}"
        is_partial = outcome is Outcome.HOLD  # a person decides in the end
        candidate = {
            "statement": name,
            "rule": f"{rule.id}@{rule.version}",
            "submit": self._policy.submit_statements,
            "automated_decision": "AUTOMATED_DECISION_PARTIALLY"
            if is_partial
            else statement.automated_decision,
        }
        return (name if statement.notify_user == "at-once" else None), candidate


_NAMES: Final = {stage: tuple(domain.name for domain in request_domains(stage)) for stage in Stage}
_NOT_REPORTED: Final = {name: Factor(name) for name in DOMAIN_OF}


def careful(request: Request, *, of_conversation: bool = True) -> dict[str, str]:
    """Return the values that are looked up: those reported, and where they claim more than they may, the careful ones.

    * level: the conversation's where that is higher (R090), unless the request is to be taken for itself;
    * consent: valid only up to the level that it names, and beyond it invalid;
    * minor: `no` only with a valid consent that carries an attestation, `n/a` only where no person is.
    """
    taken = {name: request.value(name) for name in _NAMES[request.stage]}
    total = taken.pop(CUMULATIVE.name)
    if of_conversation:
        taken["level"] = riskier(taken["level"], total)
    if taken["consent"] == "valid" and not _covers(request.consent_up_to, taken["level"]):
        taken["consent"] = "invalid"
    minor = taken["minor"]
    is_attested = taken["consent"] == "valid" and request.adult_attested
    if (minor == "no" and not is_attested) or (minor == "n/a" and taken["person"] != "no"):
        taken["minor"] = UNKNOWN
    return taken


def _covers(up_to: str | None, level: str) -> bool:
    return up_to is not None and level != UNKNOWN and LEVELS.index(level) <= LEVELS.index(up_to)


def _is_possible(taken: Mapping[str, str], floor: str, name: str, would_be: str) -> bool:
    """Tell whether a value can be had at all, the others being as they are (`careful`)."""
    if name == "level":
        return riskier(floor, would_be) == would_be
    if name != "minor":
        return True
    if would_be == "no":
        return taken["consent"] == "valid"
    return would_be != "n/a" or taken["person"] == "no"


def _of(fired: Fired) -> tuple[Rule, Outcome]:
    if fired.deciding is None or fired.outcome is None:
        raise AssertionError("a gate is made of a policy that is total")
    return fired.deciding, fired.outcome


Changes = Mapping[str, Sequence[tuple[int, str, int]]]


def _changes(axis: Axis) -> Changes:
    """Return, for each value, those that the rules treat otherwise, nearest first: how far, which, and where."""
    domain, offset = axis.domain, axis.offset
    return {
        value: sorted(
            (domain.distance(value, each), each, offset[each] - offset[value])
            for each in domain.values
            if offset[each] != offset[value]
        )
        for value in domain.values
    }
