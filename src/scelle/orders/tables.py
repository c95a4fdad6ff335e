"""Read the values of an order file's tables: texts, choices, days and times, each in one way only."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from enum import StrEnum
from typing import Final, TypeVar

from scelle.errors import InputError, OrderKeyMissing, OrderKeyUnknown, OrderValueWrong
from scelle.orders.days import aware_instant, day_end_us, day_start_us, iso_text, local_instants
from scelle.orders.model import Moment

TEXT_MAX_CHARACTERS: Final = 1000
_ORDER_YEARS: Final = range(1900, 2200)
_ITEM_YEARS: Final = range(1700, 2200)  # microseconds beyond 1684 to 2255 are no exact numbers in RFC 8785

_RFC3339_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_RFC3339_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d+)?)([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_BIDI: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Table:
    """A TOML table: where it stands, what it holds, which keys it may have, which belong to another table."""

    where: str
    values: Mapping[str, object]
    known: tuple[str, ...]
    elsewhere: tuple[tuple[str, ...], str]

    def at(self, key: str) -> str:
        """Return the words that say where a key stands."""
        return f"{self.where} {key if key.isprintable() else ascii(key)}"

    def check_keys(self, required: Iterable[str]) -> None:
        """Refuse keys that are not known, then look for those that must be there."""
        for key in self.values:
            if key not in self.known:
                raise OrderKeyUnknown(f"{self.at(key)}: unknown key; {self._hint(key)}")
        for key in required:
            if key not in self.values:
                raise OrderKeyMissing(f"{self.at(key)}: missing; add it")

    def _hint(self, key: str) -> str:
        keys, there = self.elsewhere
        if key in keys:
            return f"it belongs below {there}"
        return nearest(key, self.known) or f"known are {', '.join(self.known)}"

    def text(self, key: str) -> str:
        """Return a text of one line; raise OrderValueWrong."""
        return checked_text(self.values[key], self.at(key))

    def optional_text(self, key: str) -> str | None:
        """Return a text, or None where the key is absent."""
        return self.text(key) if key in self.values else None

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty where the key is absent."""
        values = self.values.get(key, [])
        if not isinstance(values, list):
            raise OrderValueWrong(f'{self.at(key)}: must be a list; write {key} = ["..."]')
        return tuple(checked_text(value, self.at(key)) for value in values)

    def texts_by_name(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return a table of lists of texts, sorted by name; empty where the key is absent."""
        return {name: table.texts(name) for name, table in self._below(key, '["..."]')}

    def text_by_name(self, key: str) -> dict[str, str]:
        """Return a table of texts, sorted by name; empty where the key is absent."""
        return {name: table.text(name) for name, table in self._below(key, '"..."')}

    def _below(self, key: str, written: str) -> "list[tuple[str, Table]]":
        """Return the names of a table below this one, which are the file's own, each with that table."""
        values = self.values.get(key, {})
        if not isinstance(values, dict) or (key in self.values and not values):
            raise OrderValueWrong(
                f"{self.at(key)}: must be a table; write [clause.{key}] and name = {written}"
            )
        below = Table(f"{self.at(key)},", values, tuple(values), ((), ""))
        for name in values:
            checked_text(name, below.at(name))
        return [(name, below) for name in sorted(values)]

    def flag(self, key: str) -> bool:
        """Return true or false; false where the key is absent."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise OrderValueWrong(f"{self.at(key)}: must be true or false; write it without quotes")
        return value

    def choice(self, key: str, default: _Choice) -> _Choice:
        """Return one of the names of an enum, the default where the key is absent."""
        if key not in self.values:
            return default
        return read_choice(self.text(key), type(default), self.at(key), OrderValueWrong)

    def moment(self, key: str, zone: tzinfo, *, ends: bool = False) -> Moment:
        """Return a day or a time; a day stands for its end where the key ends something."""
        value = _day_or_time(self.values[key], self.at(key), _ORDER_YEARS)
        if not isinstance(value, datetime):
            return Moment(value.isoformat(), day_end_us(value, zone) if ends else day_start_us(value, zone))
        at_us = _instant(value, zone, self.at(key))
        return Moment(iso_text(at_us, zone), at_us)

    def optional_moment(self, key: str, zone: tzinfo, *, ends: bool = False) -> Moment | None:
        """Return a day or a time, or None where the key is absent."""
        return self.moment(key, zone, ends=ends) if key in self.values else None

    def period_bound_us(self, key: str, zone: tzinfo, *, exclusive: bool) -> int | None:
        """Return a bound of a clause's period: of a day, the instant at which it begins."""
        if key not in self.values:
            return None
        value = _day_or_time(self.values[key], self.at(key), _ITEM_YEARS)
        if isinstance(value, datetime):
            return _instant(value, zone, self.at(key))
        return day_end_us(value - timedelta(days=1), zone) if exclusive else day_start_us(value, zone)


def checked_text(value: object, where: str) -> str:
    """Return a text that may be sealed; raise OrderValueWrong for one that is none, empty, long or not for people."""
    if not isinstance(value, str):
        hint = f'; write "{value}"' if isinstance(value, int) and not isinstance(value, bool) else ""
        raise OrderValueWrong(f"{where}: must be a string in quotes{hint}")
    if not value.strip():
        raise OrderValueWrong(f"{where}: empty; fill it in or take it out")
    if len(value) > TEXT_MAX_CHARACTERS:
        raise OrderValueWrong(f"{where}: longer than {TEXT_MAX_CHARACTERS} characters; shorten it")
    for character in value:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _BIDI:
            raise OrderValueWrong(f"{where}: has the control character U+{ord(character):04X}; take it out")
    return value


def read_choice(text: str, choices: type[_Choice], where: str, error: type[InputError]) -> _Choice:
    """Return the member of that value; raise the error with the nearest name that there is."""
    try:
        return choices(text)
    except ValueError:
        names = [choice.value for choice in choices]
        hint = nearest(text.lower().replace("_", "-"), names)
        known = hint or f"known are {', '.join(names)}"
        raise error(f"{where}: {text!a} is not known; {known}") from None


def _day_or_time(value: object, where: str, years: range) -> date | datetime:
    if isinstance(value, str):
        value = _rfc3339(value, where)
    if not isinstance(value, date):
        hint = "a time of day names no day" if isinstance(value, time) else "it is neither"
        raise OrderValueWrong(f"{where}: must be a date or a time ({hint}); write 2026-01-08")
    if value.year not in years:
        raise OrderValueWrong(
            f"{where}: year {value.year} is outside {years[0]} to {years[-1]}; correct it or leave it out"
        )
    return value


def _rfc3339(text: str, where: str) -> date | datetime:
    try:
        if _RFC3339_DAY.fullmatch(text):
            return date.fromisoformat(text)
        if found := _RFC3339_TIME.fullmatch(text):
            return datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3].upper()}")
    except ValueError as error:
        raise OrderValueWrong(f"{where}: {text!a} is no date that there is ({error}); correct it") from error
    raise OrderValueWrong(f"{where}: {text!a} is not RFC 3339; write 2026-01-08 or 2026-01-08T14:00:00Z")


def _instant(value: datetime, zone: tzinfo, where: str) -> int:
    """Return the instant of a time; a local one is read in the zone, where it must occur exactly once."""
    if value.tzinfo is not None:
        return aware_instant(value)
    instants = local_instants(value, zone)
    if len(instants) == 1:
        return instants[0]
    how = "occurs twice" if instants else "does not occur"
    raise OrderValueWrong(
        f"{where}: {value.isoformat()} {how} in {zone}, whose clocks change; write it with its offset"
    )


def nearest(word: str, known: Collection[str]) -> str | None:
    """Ask whether a known word was meant, where one is near."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else None
