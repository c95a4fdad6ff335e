r"""Say a clause's regular expression to another engine, where it gives exactly the answer of Python's `re.search`.

Engines differ in what `.`, `\w`, `$` and folding of case mean, so nothing of theirs is used: every character of an
expression is spelled out as the characters and ranges that Python's own `re` takes there, found by asking it about
all of Unicode. What is left is concatenation, choice, greedy repetition and the two ends of a text, which mean the
same to every engine as long as only *whether* there is a match is asked. Not said, so that Python must decide:
`\b`, `^` and `$` of (?m), a `$` that something follows, ends of the text inside of a repetition, the repetition of
what may be empty, a group of nothing, what spells out too long, and a set that has no character which the engine holds.

An engine has limits of its own that are not known here: ask it to compile what it is given, before relying on it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from scelle.scope.automaton import Assertion, Atom, Chain, Choice, Edge, Node, Repeat
from scelle.scope.patterns import parse_pattern

RANGES_MAX: Final = 20_000
"""So many ranges of characters an expression may spell out to."""
_LAST: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Code points from first to last, in order, apart from one another; surrogates, which no text has, stand in no end."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an engine's expressions look like: `escape` writes a code point, inside of sets as well."""

    name: str
    escape: Callable[[int], str]
    text_start: str
    text_end: str
    first: int
    repeat_max: int


def _escape_re2(code: int) -> str:
    return f"\\x{{{code:x}}}"


def _escape_are(code: int) -> str:
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


RE2: Final = Dialect("RE2", _escape_re2, r"\A", r"\z", 0, 1000)
"""The engine of DuckDB: `regexp_matches(text, expression)`, without options. Texts are valid UTF-8."""

ARE: Final = Dialect("PostgreSQL ARE", _escape_are, r"\A", r"\Z", 1, 255)
"""PostgreSQL's advanced expressions: `(text COLLATE "C") ~ expression`, server encoding UTF8. No text holds NUL."""


@lru_cache(maxsize=256)
def translate_pattern(pattern: str, dialect: Dialect) -> str | None:
    """Write a clause's expression in a dialect, in ASCII without quotes; None where it cannot be said exactly.

    Raises ClauseWrong where it is no expression of a clause.
    """
    tree, flags = parse_pattern(pattern)
    writer = _Writer(dialect, flags)
    try:
        return writer.write(tree, is_tail=True)
    except _NotTranslatable:
        return None


class _NotTranslatable(Exception):
    """An expression has a part that the dialect has no exact words for."""


class _Writer:
    def __init__(self, dialect: Dialect, flags: re.RegexFlag) -> None:
        self._dialect, self._flags = dialect, flags
        self._ranges_left = RANGES_MAX

    def write(self, node: Node, *, is_tail: bool, is_repeated: bool = False) -> str:
        match node:
            case Atom():
                return self._set(atom_ranges(node.source, self._flags))
            case Assertion():
                return self._edge(node.edge, is_tail=is_tail, is_repeated=is_repeated)
            case Chain():
                last = len(node.parts) - 1
                parts = [
                    self._group(part, is_tail=is_tail and at == last, is_repeated=is_repeated)
                    for at, part in enumerate(node.parts)
                ]
                if not parts:  # DuckDB 2.0 takes `\A(?:)` for "is empty"
                    raise _NotTranslatable
                return "".join(parts)
            case Choice():
                return self._choice(node, is_tail=is_tail, is_repeated=is_repeated)
            case Repeat():
                return self._repeat(node)

    def _choice(self, node: Choice, *, is_tail: bool, is_repeated: bool) -> str:
        """Write the parts that are not nothing; as one that may be left out, where another is."""
        some = [part for part in node.parts if part != Chain(())]
        if not some:
            raise _NotTranslatable
        text = "|".join(self.write(part, is_tail=is_tail, is_repeated=is_repeated) for part in some)
        return text if len(some) == len(node.parts) else f"(?:{text})?"

    def _group(self, node: Node, *, is_tail: bool, is_repeated: bool) -> str:
        text = self.write(node, is_tail=is_tail, is_repeated=is_repeated)
        return f"(?:{text})" if isinstance(node, Choice) else text

    def _repeat(self, node: Repeat) -> str:
        if node.high == 0:
            raise _NotTranslatable
        if _may_be_empty(node.part):  # engines differ in when they leave such a loop
            raise _NotTranslatable
        ranges_before = self._ranges_left
        text = self.write(node.part, is_tail=False, is_repeated=True)
        times = max(node.low, 1) if node.high is None else node.high
        if times > self._dialect.repeat_max:
            raise _NotTranslatable
        self._take((ranges_before - self._ranges_left) * (times - 1))  # engines spell repetitions out
        one = text if isinstance(node.part, Atom) else f"(?:{text})"
        return one + _counts(node.low, node.high)

    def _edge(self, edge: Edge, *, is_tail: bool, is_repeated: bool) -> str:
        if is_repeated:
            raise _NotTranslatable
        match edge:
            case Edge.TEXT_START:
                return self._dialect.text_start
            case Edge.TEXT_END:
                return self._dialect.text_end
            case Edge.END if is_tail:  # or before a newline that ends the text: here it may be taken
                return f"{self._set(((10, 10),))}?{self._dialect.text_end}"
            case _:
                raise _NotTranslatable

    def _set(self, ranges: Ranges) -> str:
        first = self._dialect.first
        held = [(max(low, first), high) for low, high in ranges if high >= first]
        if not held:
            raise _NotTranslatable
        self._take(len(held))
        if len(held) == 1 and held[0][0] == held[0][1]:
            return self._character(held[0][0])
        character = self._character
        spans = (
            character(low) if low == high else f"{character(low)}-{character(high)}" for low, high in held
        )
        return f"[{''.join(spans)}]"

    def _take(self, ranges: int) -> None:
        self._ranges_left -= ranges
        if self._ranges_left < 0:
            raise _NotTranslatable

    def _character(self, code: int) -> str:
        is_plain = code < 128 and chr(code).isalnum()
        return chr(code) if is_plain else self._dialect.escape(code)


def _counts(low: int, high: int | None) -> str:
    signs = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}
    if (low, high) in signs:
        return signs[low, high]
    if low == high:
        return f"{{{low}}}"
    return f"{{{low},{'' if high is None else high}}}"


def _may_be_empty(node: Node) -> bool:
    match node:
        case Atom():
            return False
        case Assertion():
            return True
        case Chain():
            return all(map(_may_be_empty, node.parts))
        case Choice():
            return any(map(_may_be_empty, node.parts))
        case Repeat():
            return node.low == 0 or _may_be_empty(node.part)


# --- which characters Python takes ----------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def atom_ranges(source: str, flags: re.RegexFlag) -> Ranges:
    """Give the characters that a regular expression for one character takes, by asking `re` about all there are."""
    character = _literal(source)
    if character is None:
        return _ranges(found[0] for found in _runs(source, flags, _everything()))
    if not flags & re.IGNORECASE:
        return ((ord(character), ord(character)),)
    candidates = "".join(sorted({*_with_case(), character}))
    return _ranges(each for found in _runs(source, flags, candidates) for each in found[0])


def _literal(source: str) -> str | None:
    """Give the character that an atom stands for by itself; None for a set, a kind or an escape by number."""
    if len(source) == 1 and source != ".":
        return source
    if len(source) == 2 and source[0] == "\\" and not source[1].isalnum():
        return source[1]
    return None


def _runs(source: str, flags: re.RegexFlag, characters: str) -> Iterator[re.Match[str]]:
    """Give the longest runs of characters that are taken."""
    return re.compile(f"(?:{source})+", flags).finditer(characters)


def _ranges(runs: Iterable[str]) -> Ranges:
    """Make ranges of runs of consecutive characters, in order; one goes on over the gap of the surrogates."""
    ranges: list[tuple[int, int]] = []
    for run in runs:
        low, high = ord(run[0]), ord(run[-1])
        start, end = ranges[-1] if ranges else (-2, -2)
        if low == end + 1 or (end == _SURROGATES.start - 1 and low == _SURROGATES.stop):
            ranges[-1] = (start, high)
        else:
            ranges.append((low, high))
    return tuple(ranges)


@lru_cache(maxsize=1)
def _everything() -> str:
    return "".join(chr(code) for code in range(_LAST + 1) if code not in _SURROGATES)


@lru_cache(maxsize=1)
def _with_case() -> frozenset[str]:
    """Give all characters that another is equal to when case is not regarded: some 2,900."""
    varied = {c for c in _everything() if c.lower() != c or c.upper() != c or c.casefold() != c}
    return frozenset(varied | {part for c in varied for part in c.lower() + c.upper() + c.casefold()})
