"""Translate the path patterns of clauses into regular expressions.

A pattern is matched against the whole path, component by component, case by case as written:

* ``**`` alone between slashes: any number of components, none included; at the end: everything below;
* ``*``: any run of characters within one component, a leading dot included;
* ``?``: one character within one component; a byte that is not UTF-8 counts as one character;
* ``[abc]``, ``[a-z]``, ``[!abc]``: one character of (or not of) the set, never a slash.

There is no escape character: ``[*]`` is a star, a backslash is itself. Paths are bytes; they are read as
UTF-8 with surrogate escapes, so that every name there is can be matched and none stops a pass.
"""

import re
from functools import lru_cache

from scelle.errors import GlobWrong

_SLASHLESS = "[^/]*"
_EVERYTHING_BELOW = "(?s:.+)"


def path_text(path: bytes) -> str:
    """Return the path as the patterns see it: one character per character, or per byte that is not UTF-8."""
    return path.decode("utf-8", "surrogateescape")


def matches_every_path(pattern: str) -> bool:
    """Tell whether the pattern lets every path through, so that the hot pass need not look."""
    components = _without_repeats(pattern.split("/"))
    return components in (["**"], ["**", "*"])


@lru_cache(maxsize=4096)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """Return the regular expression whose ``fullmatch`` on ``path_text`` is the pattern's meaning.

    Raises GlobWrong. The expression cannot backtrack beyond one component and one group of components: after
    a ``*`` or ``**`` the leftmost place where what follows fits is always as good as any later one, so it is
    taken for good (atomic groups, as in the standard library's fnmatch).
    """
    components = _without_repeats(_checked_components(pattern))
    groups = _split(components, "**")
    translated = ["/".join(_component(c, pattern) for c in group) for group in groups]
    if len(groups) == 1:
        return re.compile(translated[0])
    first, *middle, last = translated
    parts = [f"{first}/" if groups[0] else ""]
    parts += [f"(?>(?:{_SLASHLESS}/)*?{group}/)" for group in middle]
    parts.append(f"(?:{_SLASHLESS}/)*{last}" if groups[-1] else _EVERYTHING_BELOW)
    return re.compile("".join(parts))


def _checked_components(pattern: str) -> list[str]:
    if not pattern:
        raise GlobWrong('pattern "": empty; write "**/*" for every path')
    if pattern.startswith("/"):
        raise GlobWrong(f'pattern "{pattern}": starts with a slash; paths are relative to their source')
    if pattern.endswith("/"):
        raise GlobWrong(f'pattern "{pattern}": ends with a slash; write "{pattern}**" for all that is below')
    components = pattern.split("/")
    for component in components:
        if component in ("", ".", ".."):
            raise GlobWrong(f'pattern "{pattern}": a path has no component "{component}"; take it out')
        if "**" in component and component != "**":
            raise GlobWrong(f'pattern "{pattern}": ** stands alone between slashes, as in "**/*.txt"')
    return components


def _without_repeats(components: list[str]) -> list[str]:
    """Return the components with each run of ``**`` as one: it means the same and costs less."""
    return [c for i, c in enumerate(components) if not (c == "**" and i and components[i - 1] == "**")]


def _split(components: list[str], at: str) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    for component in components:
        if component == at:
            groups.append([])
        else:
            groups[-1].append(component)
    return groups


def _component(component: str, pattern: str) -> str:
    pieces = [""]
    position = 0
    while position < len(component):
        character = component[position]
        position += 1
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "[^/]"
        elif character == "[":
            translated, position = _set(component, position, pattern)
            pieces[-1] += translated
        else:
            pieces[-1] += re.escape(character)
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>{_SLASHLESS}?{piece})" for piece in middle if piece) + _SLASHLESS + last


def _set(component: str, start: int, pattern: str) -> tuple[str, int]:
    """Translate the set that opens before ``start``; return it and the position after its bracket."""
    negated = component[start : start + 1] in ("!", "^")
    first = start + negated
    end = component.find("]", first + 1)  # a bracket that comes first is a member, not the end
    if end < 0:
        raise GlobWrong(
            f'pattern "{pattern}": [ is not closed within its component; write "[[]" for a bracket'
        )
    members = component[first:end]
    translated = ""
    i = 0
    while i < len(members):
        low = members[i]
        if members[i + 1 : i + 2] == "-" and i + 2 < len(members):
            high = members[i + 2]
            if high < low:
                raise GlobWrong(f'pattern "{pattern}": the range {low}-{high} is turned round')
            translated += f"{re.escape(low)}-{re.escape(high)}"
            i += 3
        else:
            translated += re.escape(low)
            i += 1
    return (f"[^/{translated}]" if negated else f"(?!/)[{translated}]"), end + 1
