"""Compile a policy to a table: one cell for every combination of factor values that its rules can tell apart.

Values of a factor that no condition distinguishes share a class, and a cell stands for all combinations of the values
in its classes: what holds for every cell holds for every combination, whatever their number.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from scelle.errors import PolicyWrong
from scelle.safeguards.gate.model import SLICES, UNKNOWN, Domain, Lane, Outcome, Stage, stage_domains
from scelle.safeguards.gate.policy import Action, Alternative, Condition, Policy, Rule, conditions

CELLS_MAX: Final = 500_000
"""Proven in seconds."""
FIRED_MAX: Final = 60_000
"""So many different sets of rules may hold at once: a cell is 16 bits."""
ELSE: Final = "(any other)"
"""Stands for every value of a slice that no rule names."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One factor of a table: the class of each value, the values of each class, and what a class adds to the index."""

    domain: Domain
    class_of: Mapping[str, int]
    members: tuple[tuple[str, ...], ...]
    stride: int
    offset: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Fired:
    """The rules whose condition holds, what they come to, and which of them decides; no rule, no outcome."""

    rules: tuple[Rule, ...]
    outcome: Outcome | None
    deciding: Rule | None
    lane: Lane


@dataclass(frozen=True, slots=True)
class Table:
    """All decisions of one stage: `cells` holds, for each combination of classes, a position in `fired`."""

    stage: Stage
    axes: tuple[Axis, ...]
    cells: "array[int]"
    fired: tuple[Fired, ...]

    def index(self, values: Mapping[str, str]) -> int:
        """Return the place of a combination; every factor of the stage must be there."""
        place = 0
        for axis in self.axes:
            place += axis.offset[values[axis.domain.name]]
        return place

    def look(self, values: Mapping[str, str]) -> Fired:
        """Return what the policy says of a combination."""
        return self.fired[self.cells[self.index(values)]]

    def values_at(self, place: int) -> dict[str, str]:
        """Return a combination that stands at a place: of each class the least risky value."""
        return {
            axis.domain.name: axis.members[place // axis.stride % len(axis.members)][0] for axis in self.axes
        }

    @property
    def combinations(self) -> int:
        """How many combinations of values the cells stand for."""
        return prod(len(axis.domain.values) for axis in self.axes)


def compile_table(policy: Policy, stage: Stage, also: Iterable[Alternative] = ()) -> Table:
    """Build the table of one stage; `also` are conditions whose values must not share a class with others.

    Raises PolicyWrong where the rules tell so much apart that no table of a sane size holds it.
    """
    parts = [
        (rule, action, alternative)
        for rule in policy.rules
        if (action := rule.actions.get(stage)) is not None
        for alternative in action.when
    ]
    alternatives = [alternative for _, _, alternative in parts]
    axes = _axes(stage, [*conditions(alternatives), *conditions(also)], policy)
    masks = _masks(axes, alternatives)
    sets = dict.fromkeys(masks)
    if len(sets) > FIRED_MAX:
        raise PolicyWrong(
            f"{policy.place}: more than {FIRED_MAX} sets of rules hold at once; use fewer rules"
        )
    numbers = {mask: number for number, mask in enumerate(sets)}
    cells = array("H", [numbers[mask] for mask in masks])
    return Table(stage, axes, cells, tuple(_fired(mask, parts) for mask in sets))


def _axes(stage: Stage, tests: Sequence[Condition], policy: Policy) -> tuple[Axis, ...]:
    domains = [*stage_domains(stage), *_slices(tests)]
    split = [(domain, _classes(domain, tests)) for domain in domains]
    size = prod(len(classes) for _, classes in split)
    if size > CELLS_MAX:
        raise PolicyWrong(
            f"{policy.place}: the {stage} stage tells {size} cases apart, at most {CELLS_MAX} are proven; "
            "join values that are treated alike"
        )
    axes, stride = [], size
    for domain, classes in split:
        stride //= len(classes)
        class_of = {value: number for number, members in enumerate(classes) for value in members}
        offset = {value: number * stride for value, number in class_of.items()}
        axes.append(Axis(domain, class_of, classes, stride, offset))
    return tuple(axes)


def _slices(tests: Sequence[Condition]) -> list[Domain]:
    """Return the slices that rules name: no policy with one is ever used, but its proof shows what they would do."""
    found = []
    for name in SLICES:
        named = sorted({value for test in tests if test.factor == name for value in test.values})
        if named:
            values = (*named, ELSE)
            found.append(Domain(name, name, values, (), position={each: n for n, each in enumerate(values)}))
    return found


def _classes(domain: Domain, tests: Sequence[Condition]) -> tuple[tuple[str, ...], ...]:
    own = [test for test in tests if test.factor == domain.name]
    classes: dict[tuple[bool, ...], list[str]] = {}
    for value in domain.values:
        classes.setdefault(tuple(test.accepts(value) for test in own), []).append(value)
    return tuple(map(tuple, classes.values()))


def _masks(axes: Sequence[Axis], alternatives: Sequence[Alternative]) -> list[int]:
    """Return for each cell the alternatives that hold there, a bit each, the last axis moving fastest."""
    masks = [(1 << len(alternatives)) - 1]
    for axis in axes:
        own = [_mask(axis, members[0], alternatives) for members in axis.members]
        masks = [mask & each for mask in masks for each in own]
    return masks


def _mask(axis: Axis, value: str, alternatives: Sequence[Alternative]) -> int:
    name = axis.domain.name
    return sum(
        1 << bit
        for bit, alternative in enumerate(alternatives)
        if all(test.accepts(value) for test in alternative if test.factor == name)
    )


def _fired(mask: int, parts: Sequence[tuple[Rule, Action, Alternative]]) -> Fired:
    held = [(rule, action) for bit, (rule, action, _) in enumerate(parts) if mask >> bit & 1]
    if not held:
        return Fired((), None, None, Lane.NONE)
    outcome = max(action.outcome for _, action in held)
    deciding = next(rule for rule, action in held if action.outcome is outcome)
    lane = max(action.lane for _, action in held)
    rules = tuple({id(rule): rule for rule, _ in held}.values())
    return Fired(rules, outcome, deciding, lane)


def is_unknown_step(domain: Domain, step: tuple[int, int]) -> bool:
    """Tell whether a step of the order leads to `unknown`."""
    return domain.values[step[1]] == UNKNOWN
