"""Prove of a policy, case by case, what every policy must have, or show the case in which it has not.

The tables hold every combination of factor values (compile.py), so nothing here is sampled. Proven are:

``unique``       no two rules have one id
``total``        every combination has an outcome
``monotone``     a riskier value never loosens the outcome nor leaves a lane, and *unknown* never lets more through than
                 any value of its factor (it need not be quarantined as the worst would be: a detector that was down is
                 no finding)
``slices``       no rule speaks of tier, country or surface: a block for one is a permission for the others
``consent``      nothing gets through, whatever the consent, where a list was hit, or where a minor is not excluded and
                 the change is more revealing; and rules R010 to R021 do not speak of consent
``templates``    every rule that holds something back has a statement

Not proven: that a detector finds what it looks for, nor that the factors are true.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from scelle.errors import PolicyRefused
from scelle.safeguards.gate.bundle import Bundle
from scelle.safeguards.gate.compile import Axis, Fired, Table, compile_table, is_unknown_step
from scelle.safeguards.gate.model import DOMAIN_OF, SLICES, Lane, Outcome, Stage
from scelle.safeguards.gate.policy import Alternative, Condition, Policy, Rule, holds

PROPERTIES: Final = ("unique", "slices", "consent", "total", "monotone", "templates")
SHOWN_MAX: Final = 20
"""So many failures of one property are shown."""
_BEYOND_CONSENT: Final = ("R010", "R021")


def _at_least(factor: str, value: str) -> Condition:
    return Condition(factor, f"at least {value}", DOMAIN_OF[factor].at_least(value))


_LISTED: Final = Condition("hash_hit", "a hit", frozenset(("own-prior-block", "ncii", "csam")))
PROTECTED: Final[Mapping[Stage, tuple[Alternative, ...]]] = {
    Stage.INPUT: ((_LISTED,), (_at_least("minor", "yes"), _at_least("level", "L2"))),
    Stage.OUTPUT: ((_LISTED,), (_at_least("minor", "yes"), _at_least("delta", "increased"))),
}
"""Where nothing gets through in any policy, and no consent counts."""


@dataclass(frozen=True, slots=True)
class Case:
    """One combination, and what the policy says of it."""

    values: Mapping[str, str]
    outcome: Outcome | None
    deciding: str | None
    lane: Lane

    def to_json(self) -> dict[str, Any]:
        """Return it for a program."""
        return {
            "factors": dict(self.values),
            "outcome": None if self.outcome is None else self.outcome.text,
            "deciding_rule": self.deciding,
            "lane": self.lane.text,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """One property that does not hold: of which rule, where in the file, and the cases that show it."""

    property: str
    text: str
    place: str
    rule: str | None = None
    stage: Stage | None = None
    cases: tuple[Case, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it for a program."""
        return {
            "property": self.property,
            "rule": self.rule,
            "stage": self.stage,
            "place": self.place,
            "text": self.text,
            "counter_example": [case.to_json() for case in self.cases],
        }

    def line(self) -> str:
        """Return it for a person, in one line, the cases with what they differ in."""
        shown = "; ".join(f"{_differing(case, self.cases)} gives {_said(case)}" for case in self.cases)
        return f"{self.place}: {self.property}: {self.text}" + (f" ({shown})" if shown else "")


def _differing(case: Case, cases: tuple[Case, ...]) -> str:
    others = [each for each in cases if each is not case]
    telling = {
        name: value
        for name, value in case.values.items()
        if not others or any(each.values.get(name) != value for each in others)
    }
    return ", ".join(f"{name} = {value}" for name, value in telling.items())


def _said(case: Case) -> str:
    return "no outcome" if case.outcome is None else f"{case.outcome.text} by {case.deciding}"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven of one policy, over how many combinations; `checked` counts, per property, what was looked at."""

    policy: str
    policy_digest: str
    bundle_digest: str
    code_version: str
    combinations: Mapping[str, int]
    cells: Mapping[str, int]
    checked: Mapping[str, int]
    failures: tuple[Failure, ...]
    duration_us: int

    @property
    def holds(self) -> bool:
        """Whether the policy may be used."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Return it as a document that can be signed and sealed: texts, truth values and whole numbers."""
        broken = {failure.property for failure in self.failures}
        return {
            "format": "scelle-gate-proof/1",
            "policy": self.policy,
            "policy_digest": self.policy_digest,
            "bundle_digest": self.bundle_digest,
            "code_version": self.code_version,
            "holds": self.holds,
            "properties": {
                name: {"holds": name not in broken, "checked": count} for name, count in self.checked.items()
            },
            "combinations": dict(self.combinations),
            "cells": dict(self.cells),
            "duration_us": self.duration_us,
            "failures": [failure.to_json() for failure in self.failures],
        }

    def require(self) -> None:
        """Raise PolicyRefused, with the first case that shows why, unless everything holds."""
        if self.failures:
            more = f"; and {len(self.failures) - 1} more" if len(self.failures) > 1 else ""
            raise PolicyRefused(f"{self.failures[0].line()}{more}")


def prove(bundle: Bundle) -> Proof:
    """Check every property of a bundle's policy; raises PolicyWrong only where no table can be made of it."""
    started = time.perf_counter_ns()
    policy = bundle.policy
    tables = [compile_table(policy, stage, PROTECTED[stage]) for stage in Stage]
    counts = dict.fromkeys(PROPERTIES, 0)
    failures: list[Failure] = []
    for check in _CHECKS:
        failures += islice(check(policy, tables, counts), SHOWN_MAX)
    return Proof(
        policy.name,
        policy.digest,
        bundle.digest,
        bundle.code_version,
        {table.stage.value: table.combinations for table in tables},
        {table.stage.value: len(table.cells) for table in tables},
        counts,
        tuple(failures),
        (time.perf_counter_ns() - started) // 1000,
    )


def _case(table: Table, values: Mapping[str, str]) -> Case:
    fired = table.look(values)
    return Case(values, fired.outcome, None if fired.deciding is None else fired.deciding.id, fired.lane)


def _place(policy: Policy, rule: Rule | None) -> str:
    return policy.place if rule is None else f"{policy.place}:{rule.line}"


Counts = dict[str, int]
Check = Callable[[Policy, list[Table], Counts], Iterator[Failure]]


def _unique(policy: Policy, tables: list[Table], counts: Counts) -> Iterator[Failure]:
    seen: dict[str, Rule] = {}
    for rule in (policy.cumulative, *policy.rules):
        counts["unique"] += 1
        if rule.id in seen:
            text = f"the id {rule.id} stands in line {seen[rule.id].line} already; give this rule another"
            yield Failure("unique", text, _place(policy, rule), rule.id)
        seen.setdefault(rule.id, rule)


def _total(policy: Policy, tables: list[Table], counts: Counts) -> Iterator[Failure]:
    for table in tables:
        counts["total"] += len(table.cells)
        empty = next((n for n, fired in enumerate(table.fired) if fired.outcome is None), None)
        if empty is not None:
            case = _case(table, table.values_at(table.cells.index(empty)))
            text = f"no rule decides this case of the {table.stage} stage; end with one whose condition is always"
            yield Failure("total", text, policy.place, None, table.stage, (case,))


def _monotone(policy: Policy, tables: list[Table], counts: Counts) -> Iterator[Failure]:
    for table in tables:
        measures = _measures(table)
        for axis in table.axes:
            for step in axis.domain.steps:
                low, high = (axis.domain.values[place] for place in step)
                if axis.class_of[low] == axis.class_of[high]:
                    continue
                counts["monotone"] += len(table.cells) // len(axis.members)
                ranks = ("reach",) if is_unknown_step(axis.domain, step) else ("outcome", "lane")
                found = [
                    place
                    for rank in ranks
                    if (place := _loosened(axis, low, high, measures[rank])) is not None
                ]
                if found:
                    yield _loosening(policy, table, axis, (low, high), min(found))


def _measures(table: Table) -> dict[str, bytes]:
    """Return per cell how strict it is, in each way in which that counts; no outcome is none."""
    outcomes = [fired.outcome or Outcome.ALLOW for fired in table.fired]
    of = {
        "outcome": list(map(int, outcomes)),
        "reach": [each.reach for each in outcomes],
        "lane": [int(fired.lane) for fired in table.fired],
    }
    return {name: bytes([ranks[number] for number in table.cells]) for name, ranks in of.items()}


def _loosened(axis: Axis, low: str, high: str, ranks: bytes) -> int | None:
    """Return the first cell of `low` whose neighbour at `high` is less strict."""
    stride, block = axis.stride, axis.stride * len(axis.members)
    for start in range(0, len(ranks), block):
        at_low, at_high = start + axis.offset[low], start + axis.offset[high]
        lows, highs = ranks[at_low : at_low + stride], ranks[at_high : at_high + stride]
        if lows != highs:
            for place, (one, other) in enumerate(zip(lows, highs, strict=True)):
                if one > other:
                    return at_low + place
    return None


def _loosening(policy: Policy, table: Table, axis: Axis, step: tuple[str, str], place: int) -> Failure:
    name, (low, high) = axis.domain.name, step
    values = table.values_at(place)
    strict, loose = (_case(table, {**values, name: value}) for value in (low, high))
    rule = table.look(strict.values).deciding
    text = f"{name} = {high} is riskier than {low}, and gets more; cover it, as `{name}: at least {low}` does"
    return Failure(
        "monotone",
        text,
        _place(policy, rule),
        None if rule is None else rule.id,
        table.stage,
        (strict, loose),
    )


def _slices(policy: Policy, tables: list[Table], counts: Counts) -> Iterator[Failure]:
    for rule, table, alternative in _alternatives(policy, tables):
        counts["slices"] += 1
        for condition in alternative:
            if condition.factor in SLICES:
                text = f"{rule.id} speaks of {condition.factor}, and no rule may; take it out"
                cases = _two_cases(table, rule, alternative, condition)
                yield Failure("slices", text, _place(policy, rule), rule.id, table.stage, cases)


def _alternatives(policy: Policy, tables: list[Table]) -> Iterator[tuple[Rule, Table, Alternative]]:
    for rule in policy.rules:
        for table in tables:
            action = rule.actions.get(table.stage)
            for alternative in () if action is None else action.when:
                yield rule, table, alternative


def _two_cases(table: Table, rule: Rule, alternative: Alternative, condition: Condition) -> tuple[Case, ...]:
    """Return two cases that differ in one factor only: with the one the rule holds, with the other it does not.

    Of all such pairs one whose outcomes differ, if there is one.
    """
    axis = next(each for each in table.axes if each.domain.name == condition.factor)
    name, values = condition.factor, axis.domain.values
    inside = [value for value in values if condition.accepts(value)]
    outside = [value for value in values if not condition.accepts(value)]
    fallback: tuple[Case, ...] = ()
    for place in range(len(table.cells)):
        found = table.values_at(place)
        if found[name] != inside[0] or not holds(alternative, found):
            continue
        pair = tuple(_case(table, {**found, name: value}) for value in (inside[0], *outside[:1]))
        if len({case.outcome for case in pair}) > 1:
            return pair
        fallback = fallback or pair
    return fallback


def _consent(policy: Policy, tables: list[Table], counts: Counts) -> Iterator[Failure]:
    first, last = _BEYOND_CONSENT
    for rule, table, alternative in _alternatives(policy, tables):
        for condition in alternative:
            if condition.factor == "consent" and first <= rule.id <= last:
                text = f"{rule.id} speaks of consent, which reaches none of {first} to {last}; take it out"
                cases = _two_cases(table, rule, alternative, condition)
                yield Failure("consent", text, _place(policy, rule), rule.id, table.stage, cases)
    for table in tables:
        yield from _protected(policy, table, counts)


def _protected(policy: Policy, table: Table, counts: Counts) -> Iterator[Failure]:
    """Check that what no consent may open stays shut, and that a consent changes nothing of how."""
    axis = next(each for each in table.axes if each.domain.name == "consent")
    for place in range(len(table.cells)):
        if place // axis.stride % len(axis.members):
            continue  # the cells that differ from an earlier one in the consent alone
        values = table.values_at(place)
        if not any(holds(alternative, values) for alternative in PROTECTED[table.stage]):
            continue
        cells = [table.fired[table.cells[place + step * axis.stride]] for step in range(len(axis.members))]
        counts["consent"] += len(cells)
        open_ones = [fired for fired in cells if not _is_shut(fired)]
        differ = len({(fired.outcome, fired.lane) for fired in cells}) > 1
        if open_ones or differ:
            yield _reached(policy, table, axis, values, is_open=bool(open_ones))
            return


def _reached(
    policy: Policy, table: Table, axis: Axis, values: Mapping[str, str], *, is_open: bool
) -> Failure:
    cases = [_case(table, {**values, "consent": members[0]}) for members in axis.members]
    ranks = [(case.outcome or Outcome.ALLOW, case.lane) for case in cases]
    loose, strict = cases[ranks.index(min(ranks))], cases[ranks.index(max(ranks))]
    text = (
        "a list was hit, or a minor is not excluded and the change is more revealing: "
        f"{'this must not get through' if is_open else 'no consent may change this'}"
    )
    shown = (loose,) if loose is strict else (loose, strict)
    rule = table.look(loose.values).deciding
    return Failure("consent", text, _place(policy, rule), loose.deciding, table.stage, shown)


def _is_shut(fired: Fired) -> bool:
    return fired.outcome is not None and fired.outcome.reach == Outcome.WITHHOLD.reach


def _templates(policy: Policy, tables: list[Table], counts: Counts) -> Iterator[Failure]:
    for rule in policy.rules:
        for table in tables:
            action = rule.actions.get(table.stage)
            if action is None or action.outcome < Outcome.HOLD:
                continue
            counts["templates"] += 1
            if rule.statement not in policy.statements:
                wanted = rule.statement or "none"
                text = f"{rule.id} holds back and has no statement (it names {wanted}); write one below statements"
                case = _where_it_decides(table, rule)
                yield Failure("templates", text, _place(policy, rule), rule.id, table.stage, case)
                break


def _where_it_decides(table: Table, rule: Rule) -> tuple[Case, ...]:
    for number, fired in enumerate(table.fired):
        if fired.deciding is rule:
            return (_case(table, table.values_at(table.cells.index(number))),)
    return ()


_CHECKS: Final[tuple[Check, ...]] = (_unique, _slices, _consent, _total, _monotone, _templates)
