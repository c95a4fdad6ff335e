"""Guess a schema file from a sample of rows, and mark everything that was guessed.

A guess decides nothing by itself: the text is for a person to read and correct.
"""

import json
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from statistics import median
from typing import Any, Final

from scelle.errors import SchemaWrong
from scelle.formats.canonical_json import structure_bytes
from scelle.sources.event_times import EventClock, is_number
from scelle.sources.json_values import JSON_TEXT, JsonText, SourceRow, is_integer, natural_letter, structure
from scelle.sources.schema_file import parse_schema_file
from scelle.sources.unfit import Unfit

TIME_NAMES: Final = ("created_at", "created", "ts", "timestamp", "time", "date")
ID_NAMES: Final = ("id", "uuid", "event_id", "_id")
ACCOUNT_NAMES: Final = ("account", "account_id", "user_id", "user", "user_name", "owner_id")

_RARE_SHARE: Final = 0.01
_FEW_VALUES: Final = 50
_LISTED_BYTES: Final = 56_000
"""How much of the 64 KiB of a ledger's schema the listed fields may take."""
_MAGNITUDES: Final = ((10**11, "s"), (10**14, "ms"), (10**17, "us"))
"""Times since 1970 up to the year 5138 lie below these numbers, in these units."""
_READABLE_SHARE: Final = 0.9
_VALUES_KEPT: Final = 20_000


class FieldGuess:
    """Gather what a sample says of one field."""

    def __init__(self) -> None:
        self.rows = 0
        self.letters: Counter[str] = Counter()
        self.is_exact = True
        self.numbers: list[float] = []
        self.texts: Counter[str] = Counter()
        self.dated = 0

    def add(self, value: Any, *, is_cell: bool) -> None:
        """Count one value; a cell is text that may stand for something else."""
        self.rows += 1
        letter = _letter_of_cell(value) if is_cell else natural_letter(_bare(value))
        self.letters[letter] += 1
        if letter in ("j", "s") and not is_cell:
            self.is_exact = self.is_exact and _is_exact(value)
        text = _bare(value)
        if letter in ("i", "D"):
            self.numbers.append(abs(float(text)))
        if isinstance(text, (str, int)) and not isinstance(text, bool):
            self.dated += _is_dated(str(text))
            if len(self.texts) < _VALUES_KEPT:
                self.texts[str(text)] += 1

    @property
    def seen(self) -> list[str]:
        """List the letters that were met, null left out."""
        return sorted(letter for letter in self.letters if letter != "n")

    def guess(self) -> tuple[str, str]:
        """Give the type (empty: do not list) and what is unsure about it."""
        seen = self.seen
        if not seen:
            return "", "it is null in every row"
        if not self.is_exact:
            return JSON_TEXT, "its values are not exact as structure or text"
        if len(seen) == 1:
            return seen[0], ""
        if seen == ["D", "i"]:
            return "D", "integers and decimals mixed"
        return JSON_TEXT, f"mixed types ({', '.join(seen)})"

    def as_text(self) -> tuple[str, str]:
        """Give the type of a column of cells: whatever is not all alike is text."""
        letter, unsure = self.guess()
        return ("s", "mixed texts and numbers") if letter == JSON_TEXT else (letter, unsure)


def infer_schema(name: str, rows: Iterable[tuple[SourceRow, bool]], troubles: Iterable[str] = ()) -> str:
    """Write the TOML text of a schema file; rows come with whether their values are cells of text.

    `troubles` are said first, each as a comment.
    """
    fields: dict[str, FieldGuess] = {}
    count, cells = 0, 0
    for row, is_cell in rows:
        count += 1
        cells += is_cell
        for key, value in row.items():
            fields.setdefault(key, FieldGuess()).add(value, is_cell=is_cell)
    guesses = _Guesses(name, fields, count, all_cells=cells == count)
    text = "\n".join([*guesses.lines(troubles), ""])
    try:
        parse_schema_file(text, "the guess")
    except SchemaWrong as error:
        raise SchemaWrong(f"no schema can be guessed from this sample: {error}") from None
    return text


class _Guesses:
    def __init__(self, name: str, fields: dict[str, FieldGuess], count: int, *, all_cells: bool) -> None:
        self._name = name
        self._fields = {key: each for key, each in fields.items() if _can_be_named(key)}
        self._left_out = len(fields) - len(self._fields)
        self._count = count
        self._all_cells = all_cells

    def lines(self, troubles: Iterable[str]) -> Iterator[str]:
        yield f"# Guessed from {self._count} rows. Read it, correct it, take the comments out."
        yield from (f"# unsure: {each}" for each in troubles)
        yield "[schema]"
        yield f"name = {_quoted(self._name)}"
        yield "version = 1"
        time = yield from self._time()
        id_name = yield from self._id()
        account = yield from self._account()
        yield from self._dimensions({time, id_name, account})
        yield "profile = 1"
        yield ""
        yield "[fields]"
        yield from self._listed({time, id_name, account})

    def _time(self) -> Generator[str, None, str | None]:
        named = [key for key in TIME_NAMES if self._looks_dated(key)]
        if not named:
            others = [key for key in self._fields if self._looks_dated(key) and not self._fields[key].numbers]
            yield "# unsure: no time was found, so every row is undated" + _suggest(others)
            for key in TIME_NAMES:
                field = self._fields.get(key)
                if field is not None and field.dated:
                    told = field.rows - field.letters["n"]
                    yield f"# unsure: {key} may be the time; {told - field.dated} of {told} cannot be read as one"
            return None
        time = named[0]
        yield f"# unsure: the time is guessed by its name{_suggest(named[1:])}"
        yield f"time = {_quoted(time)}"
        numbers = self._fields[time].numbers
        if numbers:
            unit = next((unit for limit, unit in _MAGNITUDES if median(numbers) < limit), "ns")
            yield "# unsure: the unit is guessed by the size of the numbers"
            yield f"time_unit = {_quoted(unit)}"
        return time

    def _looks_dated(self, key: str) -> bool:
        field = self._fields.get(key)
        if field is None or not field.seen:
            return False
        return field.dated >= _READABLE_SHARE * (field.rows - field.letters["n"])

    def _id(self) -> Generator[str, None, str | None]:
        named = [key for key in ID_NAMES if self._is_identifier(key)]
        if not named:
            others = [key for key in self._fields if self._tells_rows_apart(key)]
            if not others:
                yield "# unsure: no id was found, so a row is known by its file and its place in it"
                return None
            yield f"# unsure: the id is guessed because every row has another{_suggest(others[1:])}"
            yield f"id = {_quoted(others[0])}"
            return others[0]
        field = self._fields[named[0]]
        again = sum(field.texts.values()) - len(field.texts)
        yield "# unsure: the id is guessed by its name" + (f"; {again} rows repeat one" if again else "")
        yield f"id = {_quoted(named[0])}"
        return named[0]

    def _account(self) -> Generator[str, None, str | None]:
        named = [key for key in ACCOUNT_NAMES if self._is_identifier(key)]
        if not named:
            yield "# unsure: no account was found; write account, or custodian where rows belong to staff"
            return None
        yield f"# unsure: the account is guessed by its name{_suggest(named[1:])}; custodian if they are staff"
        yield f"account = {_quoted(named[0])}"
        return named[0]

    def _tells_rows_apart(self, key: str) -> bool:
        if key in ACCOUNT_NAMES or not key.lower().endswith("id") or not self._is_identifier(key):
            return False
        return self._count > 1 and len(self._fields[key].texts) == self._count

    def _is_identifier(self, key: str) -> bool:
        field = self._fields.get(key)
        return field is not None and bool(field.seen) and set(field.seen) <= {"s", "i"} and field.is_exact

    def _dimensions(self, roles: set[Any]) -> Iterator[str]:
        few = [
            f"{key} ({len(field.texts)} values)"
            for key, field in self._fields.items()
            if key not in roles and field.seen == ["s"] and len(field.texts) <= _FEW_VALUES
            and self._count > 2 * len(field.texts)
        ][:20]  # fmt: skip
        yield "# unsure: by which further fields are rows looked for?" + _suggest(few)
        yield "dimensions = []"

    def _listed(self, roles: set[Any]) -> Iterator[str]:
        """List the fields, those that the field `more` could not hold before all others if not all fit."""
        lines: list[tuple[bool, int, str]] = []
        for place, (key, field) in enumerate(self._fields.items()):
            letter, unsure = field.as_text() if self._all_cells else field.guess()
            if key in roles and (self._all_cells or letter in ("s", "i", "D")):
                continue
            rare = f"in {field.rows} of {self._count} rows" if field.rows < _RARE_SHARE * self._count else ""
            comment = "; ".join(each for each in (unsure, rare) if each)
            line = f"{_quoted(key)} = {_quoted(letter)}" if letter else f"# {_quoted(key)}"
            line += f"  # unsure: {comment}" if comment else ""
            lines.append((letter not in (JSON_TEXT, "D", "d", "x"), place, line))
        chosen, size = [], 0
        for each in sorted(lines):
            size += len(each[2].encode()) + 32
            if size <= _LISTED_BYTES:
                chosen.append(each)
        yield from (line for _, _, line in sorted(chosen, key=lambda each: each[1]))
        left_out = len(lines) - len(chosen) + self._left_out
        if left_out:
            yield f"# unsure: {left_out} fields are not listed and kept in the field more: too many, or without a name"


def _letter_of_cell(cell: str) -> str:
    digits = cell.removeprefix("-")
    if not cell:
        return "n"
    if digits.isascii() and digits.isdigit():
        return "i" if (digits == "0" or digits[0] != "0") and is_integer(cell) else "s"
    if is_number(cell):
        return "D"
    return "b" if cell in ("true", "false") else "s"


def _bare(value: Any) -> Any:
    return value.value if type(value) is JsonText else value


def _is_exact(value: Any) -> bool:
    if type(value) is JsonText:
        return structure_bytes(value.text.encode("utf-8", "surrogatepass")) is not None
    try:
        structure(value)
    except Unfit:
        return False
    return True


def _is_dated(text: str) -> bool:
    try:
        EventClock().of_text(text)
    except Unfit as fault:
        return fault.cause == "time-out-of-range"
    return True


def _can_be_named(key: str) -> bool:
    return bool(key) and "\0" not in key and not any("\ud800" <= sign <= "\udfff" for sign in key)


def _quoted(text: str) -> str:
    """Write a TOML basic string, which is a JSON string but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _suggest(names: list[str]) -> str:
    return "" if not names else f"; perhaps {', '.join(map(ascii, names[:20]))}"
