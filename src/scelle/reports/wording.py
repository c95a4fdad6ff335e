"""Say values and sentences in a language: words by key, numbers, days and times as that language writes them.

The words are package data (`texts_en.toml`, `texts_fr.toml`), with the same keys. French is set with the narrow
no-break space before `: ; ! ?` and inside guillemets, English with none. What somebody else wrote is never changed.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from scelle.errors import ReportTextMissing
from scelle.orders.days import local
from scelle.reports.model import (
    Absent,
    Blank,
    Code,
    Day,
    End,
    Instant,
    Lines,
    Number,
    Said,
    Share,
    Size,
    Span,
    Term,
    Text,
    Value,
)

NARROW: Final = "\u202f"
NO_BREAK: Final = "\u00a0"
_PARAM: Final = re.compile(r"\{([a-z_]+)\}")
_BEFORE: Final = re.compile(r" (?=[:;!?»%])")
_AFTER: Final = re.compile(r"(?<=«) ")
_DIGITS: Final = re.compile(r"(?<=\d) (?=\d{3}\b)")
_DAY_CHARACTERS: Final = len("2026-01-08")


class Language(StrEnum):
    """The languages in which reports are printed."""

    ENGLISH = "en"
    FRENCH = "fr"


class Style(StrEnum):
    """How a run of text is set."""

    PLAIN = "plain"
    CODE = "code"
    BLANK = "blank"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of printed text, in one style."""

    text: str
    style: Style = Style.PLAIN


@cache
def texts(language: Language) -> Mapping[str, str]:
    """Return all texts of a language by key; keys of nested tables are joined by dots."""
    data = (files("scelle.reports") / f"texts_{language.value}.toml").read_text(encoding="utf-8")
    return {key: typeset(text, language) for key, text in _flat(tomllib.loads(data))}


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def typeset(text: str, language: Language) -> str:
    """Return our own words as a language sets them: its apostrophes, and French spaces where no line breaks."""
    text = text.replace("'", "’")
    if language is Language.ENGLISH:
        return text
    return _DIGITS.sub(NARROW, _AFTER.sub(NARROW, _BEFORE.sub(NARROW, text)))


class Words:
    """Say values in one language; times in one zone."""

    def __init__(self, language: Language, zone: tzinfo) -> None:
        self.language, self._zone = language, zone
        self._texts = texts(language)

    def text(self, key: str) -> str:
        """Return the words of a key; raise `ReportTextMissing`."""
        found = self._texts.get(key)
        if found is None:
            raise ReportTextMissing(
                f"no text for {key!a} in {self.language}: a fault of Scellé; please report it"
            )
        return found

    def lines(self, value: Value) -> list[list[Run]]:
        """Return what a value prints as: lines of runs."""
        if isinstance(value, Lines):
            return [line for each in value.values for line in self.lines(each)]
        return [self.runs(value)]

    def runs(self, value: Value) -> list[Run]:
        """Return a value as runs on one line."""
        match value:
            case Text(text):
                return [Run(text)]
            case Code(text):
                return [Run(text, Style.CODE)]
            case Term(key, otherwise):
                return self._term(key, otherwise)
            case Said(key, params):
                return self.say(key, params)
            case Lines(values):
                return self._joined(values)
            case Blank(key):
                return [Run(self.text(f"blank.{key}"), Style.BLANK)]
            case Absent():
                return [Run(self.text("label.absent"), Style.ABSENT)]
            case _:
                return [Run(self._plain(value))]

    def say(self, key: str, params: Mapping[str, Value]) -> list[Run]:
        """Return a sentence with its values in it; `n` chooses `KEY.one` or `KEY.many` where there are two."""
        runs: list[Run] = []
        pieces = _PARAM.split(self.text(self._numbered(key, params)))
        for at, piece in enumerate(pieces):
            if at % 2:
                runs += self.runs(params[piece])
            elif piece:
                runs.append(Run(piece))
        return runs

    def _numbered(self, key: str, params: Mapping[str, Value]) -> str:
        count = params.get("n")
        if f"{key}.one" not in self._texts:
            return key
        number = count.value if isinstance(count, Number) else count.count if isinstance(count, Share) else 0
        is_one = number in (0, 1) if self.language is Language.FRENCH else number == 1
        return f"{key}.one" if is_one else f"{key}.many"

    def _term(self, key: str, otherwise: str | None) -> list[Run]:
        if otherwise is not None and key not in self._texts:
            return [Run(otherwise, Style.CODE)]
        return [Run(self.text(key))]

    def _joined(self, values: tuple[Value, ...]) -> list[Run]:
        runs: list[Run] = []
        for at, value in enumerate(values):
            runs += [*([Run(", ")] if at else []), *self.runs(value)]
        return runs

    def _plain(self, value: Value) -> str:
        match value:
            case Number(number):
                return self.number(number)
            case Size(size_bytes):
                unit = self.text("label.byte" if size_bytes == 1 else "label.bytes")
                return f"{self.number(size_bytes)}{NO_BREAK}{unit}"
            case Share(count, of):
                return self._filled("label.share", count=self.number(count), of=self.number(of))
            case Instant(at_us):
                return self.instant(at_us)
            case End(at_us):
                return self.end(at_us)
            case Day(text):
                return self.day(date.fromisoformat(text[:_DAY_CHARACTERS]))
            case Span(from_us, until_us):
                return self._span(from_us, until_us)
        raise ReportTextMissing(f"no way to print {value!r}: a fault of Scellé; please report it")

    # --- numbers and times

    def number(self, number: int) -> str:
        """Return a number with its thousands set apart."""
        return f"{number:,}".replace(",", NARROW if self.language is Language.FRENCH else ",")

    def day(self, day: date) -> str:
        """Return a day: 8 January 2026, 8 janvier 2026, 1er janvier 2026."""
        number = "1er" if day.day == 1 and self.language is Language.FRENCH else str(day.day)
        return f"{number}{NO_BREAK}{self.text(f'month.{day.month}')} {day.year}"

    def instant(self, at_us: int) -> str:
        """Return a time in the zone, to the second."""
        moment = self._local(at_us)
        return self.number(at_us) if moment is None else self._at(moment.date(), moment)

    def end(self, at_us: int) -> str:
        """Return an end, which is exclusive: the end of a day reads 24:00 of that day."""
        moment = self._local(at_us)
        if moment is None or moment.time() != datetime.min.time():
            return self.instant(at_us)
        return self._filled(
            "label.instant", day=self.day(moment.date() - timedelta(days=1)), time=self._clock(24, 0, 0)
        )

    def _span(self, from_us: int | None, until_us: int | None) -> str:
        if from_us is None or until_us is None:
            key = "label.span-since" if until_us is None else "label.span-until"
            return self._filled(
                key,
                since="" if from_us is None else self.instant(from_us),
                until="" if until_us is None else self.end(until_us),
            )
        return self._filled("label.span", since=self.instant(from_us), until=self.end(until_us))

    def _at(self, day: date, moment: datetime) -> str:
        clock = self._clock(moment.hour, moment.minute, moment.second)
        return self._filled("label.instant", day=self.day(day), time=clock)

    def _clock(self, hour: int, minute: int, second: int) -> str:
        if self.language is Language.ENGLISH:
            return f"{hour:02d}:{minute:02d}" + (f":{second:02d}" if second else "")
        said = f"{hour}{NARROW}h{NARROW}{minute:02d}"
        return said + (f"{NARROW}min{NARROW}{second:02d}{NARROW}s" if second else "")

    def _local(self, at_us: int) -> datetime | None:
        """Return a time in the zone; None outside the years 1 to 9999, where it prints as its microseconds."""
        try:
            return local(at_us, self._zone)
        except (OverflowError, ValueError):
            return None

    def _filled(self, key: str, **values: str) -> str:
        return _PARAM.sub(lambda found: values[found[1]], self.text(key))
