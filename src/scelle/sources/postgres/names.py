"""Name tables as text, and match them by patterns such as `public.*`.

A name is `schema.table`. A part that holds a point, a quote, `*`, `?`, `!`, white space or a control character is
put in double quotes, with quotes doubled: so every table has one text, and two never share one. Unlike in SQL, letters
are never folded: `public.Posts` is the table Posts.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from scelle.errors import InputError
from scelle.formats.tokens import shown
from scelle.sources.clause_sql import quoted

_PLAIN: Final = re.compile(r'[^."*?!\s\x00-\x1f\x7f]+')
_PART: Final = re.compile(r'"(?P<quoted>(?:[^"]|"")+)"|(?P<glob>[^."\s]+)')


def table_text(schema: str, name: str) -> str:
    """Write the one text of a table's name."""
    return f"{_part_text(schema)}.{_part_text(name)}"


def literal(text: str) -> str:
    """Write a text constant for SQL, safe whatever standard_conforming_strings says."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'" if "\\" not in text else "E'" + escaped.replace("\\", "\\\\") + "'"


@dataclass(frozen=True, slots=True)
class Pattern:
    """Match tables; `excludes` takes those out again that another pattern took in.

    `schema` and `name` are regular expressions over the whole part; `exact` says that neither has a wildcard.
    """

    text: str
    excludes: bool
    schema: re.Pattern[str]
    name: re.Pattern[str]
    exact: bool

    def covers(self, schema: str, name: str) -> bool:
        """Say whether the pattern matches a table."""
        return self.schema.fullmatch(schema) is not None and self.name.fullmatch(name) is not None


def parse_pattern(text: str) -> Pattern:
    """Read `schema.table`, with `*` and `?` outside quotes, and `!` in front to take tables out.

    Raises InputError.
    """
    excludes, body = text.startswith("!"), text.removeprefix("!")
    parts: list[re.Match[str]] = []
    at = 0
    while (match := _PART.match(body, at)) is not None:
        parts.append(match)
        at = match.end()
        if at >= len(body) or body[at] != ".":
            break
        at += 1
    if len(parts) != 2 or at != len(body):
        raise InputError(
            f"table pattern {shown(text)}: write schema.table, for example public.* or public.posts, with parts "
            'that hold points or spaces in double quotes, as in public."Odd.Name"'
        )
    schema, name = (re.compile(_expression(part), re.DOTALL) for part in parts)
    exact = all(part["quoted"] is not None or not set(part["glob"]) & set("*?") for part in parts)
    return Pattern(text, excludes, schema, name, exact)


def parse_patterns(texts: Iterable[str]) -> tuple[Pattern, ...]:
    """Read patterns of which at least one takes tables in. Raises InputError."""
    patterns = tuple(map(parse_pattern, texts))
    if all(pattern.excludes for pattern in patterns):
        raise InputError("no table is named: give at least one pattern, for example public.*")
    return patterns


def is_selected(patterns: Sequence[Pattern], schema: str, name: str) -> bool:
    """Say whether some pattern takes a table in and none takes it out."""
    covering = [pattern for pattern in patterns if pattern.covers(schema, name)]
    return bool(covering) and not any(pattern.excludes for pattern in covering)


def _part_text(part: str) -> str:
    return part if _PLAIN.fullmatch(part) else quoted(part)


def _expression(part: re.Match[str]) -> str:
    if part["quoted"] is not None:
        return re.escape(part["quoted"].replace('""', '"'))
    glob = {"*": ".*", "?": "."}
    return "".join(glob.get(character) or re.escape(character) for character in part["glob"])
