r"""Read the regular expressions of clauses: Python's `re`, less what cannot be searched for in one pass.

Read are: characters, `.`, sets `[..]`, `\d \w \s` and their opposites, `\n \t \r \f \v \a`, `\xhh`, `\uhhhh`,
`\Uhhhhhhhh`, any punctuation behind a backslash, groups `(..)` and `(?:..)`, `|`, `* + ? {m} {m,} {,n} {m,n}` and
their lazy forms, `^ $ \A \Z \b`, and in front of all the flags `(?i)`, `(?s)`, `(?m)`, alone or together. They mean
what they mean to `re.search`. Refused are references to groups, looking ahead and behind, atomic and possessive
forms, named groups, `\B`, and expressions that spell out to more than 500 places.

A text is searched by `re` where its backtracking is bounded by a million steps, which is so for most
expressions and texts; where not, `re` looks for the parts that must be there, and then `automaton` decides in one
pass. Both ways give the same answer; property tests say so.
"""

import re
import warnings
from functools import lru_cache
from typing import Final

from scelle.errors import ClauseWrong
from scelle.scope.automaton import (
    Assertion,
    Atom,
    AtomTests,
    Automaton,
    Chain,
    Choice,
    Edge,
    Node,
    Repeat,
    atoms_of,
)

PATTERN_MAX_CHARACTERS: Final = 1000
PLACES_MAX: Final = 500
NESTED_MAX: Final = 20
STEPS_MAX: Final = 1_000_000
_LINEAR_WAYS_MAX: Final = 64
_REPEATED_MAX: Final = 8
_TEXT_MAX_CHARACTERS: Final = 1 << 30

_FLAGS: Final = re.compile(r"\(\?([ims]+)\)")
_COUNT: Final = re.compile(r"\{(\d*)(,?)(\d*)\}", re.ASCII)
_ESCAPED: Final = re.compile(
    r"\\(?:[dDwWsSntrfva]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[^0-9A-Za-z])", re.DOTALL
)


class Pattern:
    """Search texts for one expression."""

    __slots__ = ("_automaton", "_needed", "_re", "_re_max_characters")

    def __init__(self, text: str) -> None:
        tree, flags = parse_pattern(text)
        self._re = re.compile(text)
        ways, degree = _ways(tree) or (0, 0)
        self._re_max_characters = _bounded_characters(ways, degree)
        self._needed = [re.compile(source, flags) for source in _needed_sources(tree)]
        self._automaton = Automaton(tree, _atom_tests(tree, flags))

    def search(self, text: str) -> bool:
        """Tell whether the expression matches anywhere in the text; time grows with the text alone."""
        if len(text) <= self._re_max_characters:
            return self._re.search(text) is not None
        for needed in self._needed:
            if needed.search(text) is None:
                return False
        return self._automaton.search(text)


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Pattern:
    """Return what searches for the expression; raise ClauseWrong."""
    return Pattern(text)


def parse_pattern(text: str) -> tuple[Node, re.RegexFlag]:
    """Read an expression into its tree and its flags; raise ClauseWrong."""
    if not text:
        raise ClauseWrong("empty; take it out")
    if len(text) > PATTERN_MAX_CHARACTERS:
        raise ClauseWrong(f"longer than {PATTERN_MAX_CHARACTERS} characters; use several clauses")
    flags = re.NOFLAG
    start = 0
    if found := _FLAGS.match(text):
        start = found.end()
        for letter in found[1]:
            flags |= {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}[letter]
    _compiled_by_python(text)
    tree = _Reader(text, start, multiline=bool(flags & re.MULTILINE)).read()
    if _places(tree) > PLACES_MAX:
        raise ClauseWrong(f"its repetitions spell out to more than {PLACES_MAX} places; shorten it")
    return tree, flags


def _compiled_by_python(text: str) -> None:
    """Refuse what Python's `re` refuses, or warns of as ambiguous."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(text)
    except Warning as warning:
        raise ClauseWrong(f"can be read in two ways ({warning}); put a backslash before [ - & ~ |") from None
    except (re.error, OverflowError, RecursionError) as error:
        raise ClauseWrong(f"no regular expression ({error}); correct it") from None


class _Reader:
    """Read an expression that Python's `re` accepts into a tree; refuse what has no place in it."""

    def __init__(self, text: str, start: int, *, multiline: bool) -> None:
        self._text, self._at, self._depth = text, start, 0
        self._start = Edge.LINE_START if multiline else Edge.TEXT_START
        self._end = Edge.LINE_END if multiline else Edge.END

    def read(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            raise self._refused("a bracket without its partner")
        return node

    def _refused(self, said: str) -> ClauseWrong:
        return ClauseWrong(f"character {self._at + 1}: {said}")

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _take(self, text: str) -> bool:
        if not self._peek(text):
            return False
        self._at += len(text)
        return True

    def _choice(self) -> Node:
        parts = [self._chain()]
        while self._take("|"):
            parts.append(self._chain())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _chain(self) -> Node:
        parts: list[Node] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated(self._one()))
        return parts[0] if len(parts) == 1 else Chain(tuple(parts))

    def _repeated(self, node: Node) -> Node:
        counts = self._counts()
        if counts is None:
            return node
        if isinstance(node, Assertion):
            raise self._refused("repeats what takes no character; take the repetition out")
        self._take("?")  # lazy or not: it matches in the same texts
        if self._peek("+"):
            raise self._refused("possessive forms are not read; take the + out")
        return Repeat(node, *counts)

    def _counts(self) -> tuple[int, int | None] | None:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return counts
        if not self._peek("{"):
            return None
        found = _COUNT.match(self._text, self._at)
        if found is None or not (found[1] or found[3]):
            raise self._refused(r"{ without a count; write \{ for a brace")
        self._at = found.end()
        low, high = int(found[1] or 0), int(found[3]) if found[3] else None
        return (low, high) if found[2] else (low, low)

    def _one(self) -> Node:
        character = self._text[self._at]
        match character:
            case "(":
                return self._group()
            case "[":
                return self._set()
            case "\\":
                return self._escape()
            case "^":
                self._at += 1
                return Assertion(self._start, character)
            case "$":
                self._at += 1
                return Assertion(self._end, character)
            case "{":
                raise self._refused(r"{ without a count; write \{ for a brace")
            case ".":
                self._at += 1
                return Atom(character)
            case _:
                self._at += 1
                return Atom(re.escape(character))

    def _group(self) -> Node:
        self._at += 1
        if self._peek("?") and not self._take("?:"):
            raise self._refused(
                "of groups only (..) and (?:..) are read, and flags (?i), (?s), (?m) in front"
            )
        self._depth += 1
        if self._depth > NESTED_MAX:
            raise self._refused(f"groups nested over {NESTED_MAX} deep; write it flatter")
        node = self._choice()
        if not self._take(")"):
            raise self._refused("a group that is not closed")
        self._depth -= 1
        return node

    def _set(self) -> Node:
        start = self._at
        self._at += 1
        self._take("^")
        self._take("]")  # a bracket that comes first is a member, not the end
        while not self._take("]"):
            self._at += 2 if self._peek("\\") else 1
        return Atom(self._text[start : self._at])

    def _escape(self) -> Node:
        for source, edge in ((r"\A", Edge.TEXT_START), (r"\Z", Edge.TEXT_END), (r"\b", Edge.WORD)):
            if self._take(source):
                return Assertion(edge, source)
        found = _ESCAPED.match(self._text, self._at)
        if found is None:
            raise self._refused(
                f"{self._text[self._at : self._at + 2]} is not read; references to groups and \\B have no place"
            )
        self._at = found.end()
        return Atom(found[0])


# --- how much an expression can cost -------------------------------------------------------------------------


def _places(node: Node) -> int:
    """Return how many places an expression spells out to."""
    match node:
        case Atom() | Assertion():
            return 1
        case Chain() | Choice():
            return 1 + sum(map(_places, node.parts))
        case Repeat():
            times = node.low + 1 if node.high is None else node.high
            return 1 + (_places(node.part) + 1) * times


def _ways(node: Node) -> tuple[int, int] | None:
    """Bound in how many ways an expression can match from one place of a text of n characters.

    As (factor, degree): factor * (n + 1) ** degree. None where no such bound is known: then never `re`.
    """
    match node:
        case Atom() | Assertion():
            return 1, 0
        case Chain():
            return _ways_of_chain(node)
        case Choice():
            found = [_ways(part) for part in node.parts]
            known = [ways for ways in found if ways is not None]
            if len(known) < len(found):
                return None
            return sum(factor for factor, _ in known), max(degree for _, degree in known)
        case Repeat():
            return _ways_of_repeat(node)


def _ways_of_chain(node: Chain) -> tuple[int, int] | None:
    factor, degree = 1, 0
    for part in node.parts:
        ways = _ways(part)
        if ways is None:
            return None
        factor, degree = factor * ways[0], degree + ways[1]
    return (factor, degree) if factor <= STEPS_MAX else None


def _ways_of_repeat(node: Repeat) -> tuple[int, int] | None:
    if isinstance(node.part, Atom):
        return (1, 1) if node.high is None else (node.high - node.low + 1, 0)
    ways = _ways(node.part)
    if ways == (1, 0):
        return (1, 1) if node.high is None else (node.high - node.low + 1, 0)
    if ways is None or node.high is None or node.high > _REPEATED_MAX:
        return None  # `re` could try every way to cut the text into such groups
    factor = sum(ways[0] ** times for times in range(node.low, node.high + 1))
    return (factor, ways[1] * node.high) if factor <= STEPS_MAX else None


def _bounded_characters(ways: int, degree: int) -> int:
    """Return up to which length of text `re` needs at most ``STEPS_MAX`` steps, or a fixed number a character."""
    if ways == 0:
        return -1
    if degree == 0 and ways <= _LINEAR_WAYS_MAX:
        return _TEXT_MAX_CHARACTERS
    length = 0
    while (length + 1) * ways * (length + 2) ** degree <= STEPS_MAX:
        length += 1
    return length


def _needed_sources(tree: Node) -> list[str]:
    """Return the runs of an expression that stand in every match and that `re` finds at a fixed cost."""
    runs: list[list[Node]] = [[]]
    for part in tree.parts if isinstance(tree, Chain) else (tree,):
        ways = _ways(part)
        if ways is not None and ways[1] == 0 and ways[0] <= _LINEAR_WAYS_MAX:
            runs[-1].append(part)
        else:
            runs.append([])
    cheap = (Chain(tuple(run)) for run in runs)
    return [
        _source(run)
        for run in cheap
        if any(atoms_of(run)) and (_ways(run) or (1 << 30, 0))[0] <= _LINEAR_WAYS_MAX
    ]


def _source(node: Node) -> str:
    match node:
        case Atom() | Assertion():
            return node.source
        case Chain():
            return "".join(f"(?:{_source(part)})" for part in node.parts)
        case Choice():
            return "|".join(f"(?:{_source(part)})" for part in node.parts)
        case Repeat():
            return f"(?:{_source(node.part)}){{{node.low},{'' if node.high is None else node.high}}}"


def _atom_tests(tree: Node, flags: re.RegexFlag) -> AtomTests:
    atoms = dict.fromkeys(atoms_of(tree))
    compiled = [(atom, re.compile(atom.source, flags).fullmatch) for atom in atoms]
    return AtomTests(compiled, re.compile(r"\w").fullmatch)
