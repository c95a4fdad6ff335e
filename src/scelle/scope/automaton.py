"""Search a text for a regular expression in one pass, whatever the text.

A backtracking engine can take hours over a text that somebody wrote for the purpose, and texts come from the
very people whom an order is about. Here each character costs one dictionary look-up, or, the first time, one step
of the set of all places in the expression where a match may stand (Thompson 1968). The steps are remembered up
to a bound, so memory is flat too.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

REMEMBERED_MAX: Final = 200_000
"""So much is remembered, in steps and places of states (some 20 MB at most); then all is found again."""

CharacterTest: TypeAlias = Callable[[str], "re.Match[str] | None"]
"""Tell whether a character is of a kind."""


class Edge(Enum):
    """What matches at a place without taking a character; as in Python's `re`."""

    TEXT_START = r"\A"
    TEXT_END = r"\Z"
    END = "$"
    LINE_START = "(?m)^"
    LINE_END = "(?m)$"
    WORD = r"\b"


@dataclass(frozen=True, slots=True)
class Atom:
    """One character of a kind; `source` is a regular expression for it."""

    source: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """An edge, and how the expression writes it."""

    edge: Edge
    source: str


@dataclass(frozen=True, slots=True)
class Chain:
    """One after the other; nothing at all where it is empty."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same again, `low` to `high` times; without a bound where `high` is None."""

    part: "Node"
    low: int
    high: int | None


Node: TypeAlias = Atom | Assertion | Chain | Choice | Repeat


class Around(Enum):
    """What stands on one side of a place: all that edges need to know of it."""

    NOTHING = 0
    NEWLINE = 1
    LAST_NEWLINE = 2
    WORD = 3
    OTHER = 4


_LAST_NEWLINE: Final = "\n$"  # as a key of steps: no character, so it stands for nothing else


@dataclass(slots=True)
class _Place:
    """A place in the expression: it takes a character, needs an edge, or only leads on."""

    follow: list[int]
    atom: int | None = None
    edge: Edge | None = None


class _State:
    """All places where a match may stand, and what stood before; the steps from here that were taken."""

    __slots__ = ("before", "places", "steps")

    def __init__(self, places: frozenset[int], before: Around) -> None:
        self.places, self.before = places, before
        self.steps: dict[str, _State] = {}


class Automaton:
    """Tell whether an expression matches anywhere in a text, in time that grows with the text alone."""

    def __init__(self, node: Node, atoms: "AtomTests") -> None:
        self._atoms = atoms
        self._places: list[_Place] = []
        self._accept = self._add(_Place([]))
        self._start = self._lay(node, self._accept)
        self._found = _State(frozenset(), Around.NOTHING)
        self._states: dict[tuple[frozenset[int], Around], _State] = {}
        self._remembered = 0

    def search(self, text: str) -> bool:
        """Tell whether the expression matches anywhere in the text."""
        state = self._state(frozenset(), Around.NOTHING)
        found = self._found
        ends_in_newline = text.endswith("\n")
        for character in text[:-1] if ends_in_newline else text:
            after = state.steps.get(character)
            if after is None:
                after = self._step(state, character)
            if after is found:
                return True
            state = after
        if ends_in_newline:
            state = state.steps.get(_LAST_NEWLINE) or self._step(state, _LAST_NEWLINE)
            if state is found:
                return True
        return self._accept in self._reached(state, Around.NOTHING)

    # --- laying the places out, from the end to the start ---

    def _add(self, place: _Place) -> int:
        self._places.append(place)
        return len(self._places) - 1

    def _lay(self, node: Node, follow: int) -> int:
        """Lay out a node before the place `follow`; return the place at which it starts."""
        match node:
            case Atom():
                return self._add(_Place([follow], atom=self._atoms.number(node)))
            case Assertion():
                return self._add(_Place([follow], edge=node.edge))
            case Chain():
                for part in reversed(node.parts):
                    follow = self._lay(part, follow)
                return follow
            case Choice():
                return self._add(_Place([self._lay(part, follow) for part in node.parts]))
            case Repeat():
                return self._lay_repeat(node, follow)

    def _lay_repeat(self, node: Repeat, follow: int) -> int:
        if node.high is None:
            loop = self._add(_Place([follow]))
            self._places[loop].follow.append(self._lay(node.part, loop))
            follow = loop
        else:
            end = follow
            for _ in range(node.high - node.low):
                follow = self._add(_Place([end, self._lay(node.part, follow)]))
        for _ in range(node.low):
            follow = self._lay(node.part, follow)
        return follow

    # --- going through a text ---

    def _state(self, places: frozenset[int], before: Around) -> _State:
        state = self._states.get((places, before))
        if state is None:
            state = self._states[places, before] = _State(places, before)
            self._remembered += 1 + len(places)
        return state

    def _step(self, state: _State, key: str) -> _State:
        """Find where one character leads, and remember it."""
        if self._remembered >= REMEMBERED_MAX:
            for old in self._states.values():
                old.steps.clear()  # or what is in use would hold on to all that it leads to
            self._states.clear()
            self._remembered = 0
        matching, around = self._atoms.of(key[0])
        after = Around.LAST_NEWLINE if key == _LAST_NEWLINE else around
        reached = self._reached(state, after)
        if self._accept in reached:
            found = self._found
        else:
            places = self._places
            taken = (p for p in reached if (atom := places[p].atom) is not None and matching >> atom & 1)
            found = self._state(frozenset(places[p].follow[0] for p in taken), around)
        state.steps[key] = found
        self._remembered += 1
        return found

    def _reached(self, state: _State, after: Around) -> set[int]:
        """Return every place that is reached from a state, or from the start, without taking a character."""
        reached: set[int] = set()
        open_places = [*state.places, self._start]
        while open_places:
            number = open_places.pop()
            if number in reached:
                continue
            reached.add(number)
            place = self._places[number]
            if place.atom is None and (place.edge is None or _is_edge(place.edge, state.before, after)):
                open_places += place.follow
        return reached


def _is_edge(edge: Edge, before: Around, after: Around) -> bool:
    """Tell whether an edge stands between what is before and after (Python's `re`, its documentation)."""
    match edge:
        case Edge.TEXT_START:
            return before is Around.NOTHING
        case Edge.TEXT_END:
            return after is Around.NOTHING
        case Edge.END:
            return after in (Around.NOTHING, Around.LAST_NEWLINE)
        case Edge.LINE_START:
            return before in (Around.NOTHING, Around.NEWLINE)
        case Edge.LINE_END:
            return after in (Around.NOTHING, Around.NEWLINE, Around.LAST_NEWLINE)
        case Edge.WORD:
            return (before is Around.WORD) is not (after is Around.WORD)


class AtomTests:
    """Tell which atoms a character matches, by asking `re` itself, and remember it."""

    _REMEMBERED_MAX: Final = 50_000

    def __init__(self, compiled: Sequence[tuple[Atom, CharacterTest]], is_word: CharacterTest) -> None:
        self._numbers = {atom: number for number, (atom, _) in enumerate(compiled)}
        self._tests = [test for _, test in compiled]
        self._is_word = is_word
        self._known: dict[str, tuple[int, Around]] = {}

    def number(self, atom: Atom) -> int:
        """Return the number of an atom; equal atoms have one."""
        return self._numbers[atom]

    def of(self, character: str) -> tuple[int, Around]:
        """Return the atoms that match as bits, and what the character is to edges."""
        known = self._known.get(character)
        if known is None:
            bits = sum(1 << n for n, test in enumerate(self._tests) if test(character) is not None)
            known = bits, self._around(character)
            if len(self._known) >= self._REMEMBERED_MAX:
                self._known.clear()
            self._known[character] = known
        return known

    def _around(self, character: str) -> Around:
        if character == "\n":
            return Around.NEWLINE
        return Around.WORD if self._is_word(character) is not None else Around.OTHER


def atoms_of(node: Node) -> Iterator[Atom]:
    """Give every atom of an expression, repetitions included."""
    match node:
        case Atom():
            yield node
        case Chain() | Choice():
            for part in node.parts:
                yield from atoms_of(part)
        case Repeat():
            yield from atoms_of(node.part)
        case Assertion():
            return
