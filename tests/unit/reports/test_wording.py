"""Words in two languages: complete, and set as each language sets them."""

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest

from scelle.errors import ReportTextMissing
from scelle.orders.calendars import (
    EU_1182_71,
    EU_INSTITUTIONS,
    FR_CPP_801,
    FRANCE,
    NOT_SETTLED,
    UK_AFTER,
    UK_BEGINNING_WITH,
)
from scelle.orders.lifecycle import Mark, State
from scelle.orders.types import TYPES, ErasureBasis, Kind, Notify, OrderType, Start, Temporal
from scelle.release.certificate import LIMITS
from scelle.release.erasure import HOLDS_NOTHING, NOT_IN_FORCE
from scelle.release.quarantine import GROUNDS, RESTRICTED_GROUND
from scelle.reports.model import Instant, Number, Said, Share, Size, Span, Text, Value, term
from scelle.reports.service import REPORTS
from scelle.reports.terms import calendar_key
from scelle.reports.wording import NARROW, NO_BREAK, Language, Words, texts, typeset

from .sample import AT_US, END_US

ENGLISH = Words(Language.ENGLISH, ZoneInfo("Europe/Brussels"))
FRENCH = Words(Language.FRENCH, ZoneInfo("Europe/Brussels"))
PREFIXES = {
    "Said": "",
    "Term": "",
    "Fact": "fact.",
    "Section": "section.",
    "Blank": "blank.",
    "table": "table.",
}


def printed(words: Words, value: Value) -> str:
    return "".join(run.text for run in words.runs(value))


def written_keys() -> Iterator[tuple[str, str]]:
    """Yield every key that stands in the code of a report as it is, with its file."""
    for path in files("scelle.reports").iterdir():
        if path.name.endswith(".py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield from ((path.name, key) for key in keys_of(node))


def keys_of(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
        return
    first = node.args[0]
    if node.func.id in PREFIXES and isinstance(first, ast.Constant) and isinstance(first.value, str):
        yield PREFIXES[node.func.id] + first.value
    if node.func.id == "table" and isinstance(node.args[1], ast.Tuple):
        yield from (f"column.{each.value!s}" for each in node.args[1].elts if isinstance(each, ast.Constant))


def test_both_languages_have_the_same_keys_and_the_same_values_in_them() -> None:
    english, french = texts(Language.ENGLISH), texts(Language.FRENCH)
    assert set(english) == set(french)
    for key, text in english.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", french[key])), key
        assert text.strip(), key
        assert french[key].strip(), key


def test_every_key_that_the_code_names_has_words() -> None:
    known = texts(Language.FRENCH)
    found = list(written_keys())
    assert len(found) > 150
    missing = [(name, key) for name, key in found if key not in known and f"{key}.one" not in known]
    assert missing == []


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("report", tuple(REPORTS)),
        ("type", OrderType),
        ("law", OrderType),
        ("state", State),
        ("mark", Mark),
        ("kind", Kind),
        ("temporal", Temporal),
        ("notify", Notify),
        ("start", Start),
        ("certainty", tuple("vsmd")),
        ("holidays", (EU_INSTITUTIONS.name, FRANCE.name)),
        ("ground", (*(each for each in ErasureBasis if each != "none"), HOLDS_NOTHING, NOT_IN_FORCE)),
        ("quarantine", (*GROUNDS, RESTRICTED_GROUND)),
        ("say.state", State),
        ("say.secrecy", Notify),
    ],
)
def test_every_member_of_what_reports_name_has_words(
    kind: str, members: type[StrEnum] | tuple[str, ...]
) -> None:
    separator = "-" if kind.startswith("say.") else "."
    for member in members:
        key = f"{kind}{separator}" + term("x", member).key.removeprefix("x.")
        assert key in texts(Language.FRENCH), key


def test_every_rule_of_counting_has_words() -> None:
    for rule in (EU_1182_71, UK_BEGINNING_WITH, UK_AFTER, FR_CPP_801, NOT_SETTLED):
        assert f"calendar.{calendar_key(rule)}" in texts(Language.FRENCH), rule.source


def test_english_words_are_those_of_the_table_of_types_and_of_the_certificate() -> None:
    english = texts(Language.ENGLISH)
    for name, rule in TYPES.items():
        assert english[f"type.{name}"] == typeset(rule.title, Language.ENGLISH)
        assert english[f"law.{name}"] == typeset(re.sub(r" \[[VSMD]\]", "", rule.source), Language.ENGLISH)
    limits = {english[f"say.limit-{each}"] for each in ("storage", "handed-over", "shared", "log")}
    assert limits == {typeset(text, Language.ENGLISH) for text in LIMITS}


def test_french_terms_are_those_of_the_law() -> None:
    words = " ".join(texts(Language.FRENCH).values()).lower()
    for term_ in (
        "injonction de conservation",
        "fin de conservation",
        "attestation de destruction",
        "lacune",
    ):
        assert term_ in words
    for wrong in ("ordonnance conservatoire", "mise sous scellés", "gel des données"):
        assert wrong not in words
    assert "scellé judiciaire" in texts(Language.FRENCH)["notice.seal"]


def test_french_is_set_with_narrow_spaces_that_do_not_break() -> None:
    for key, text in texts(Language.FRENCH).items():
        assert not re.search("(?<!\u202f)[;!?»]", text), (key, text)
        assert not re.search(r"(?<!\u202f):(?=\s|$)", text), (key, text)
        assert "« " not in text, key
        assert "'" not in text, key
    assert typeset("« Fin » : non ! 1 234 567 octets ; oui ?", Language.FRENCH) == (
        "«\u202fFin\u202f»\u202f: non\u202f! 1\u202f234\u202f567 octets\u202f; oui\u202f?"
    )
    assert typeset("it's: a?", Language.ENGLISH) == "it’s: a?"


def test_numbers_days_and_times_are_written_as_each_language_does() -> None:
    assert printed(FRENCH, Number(1234567)) == f"1{NARROW}234{NARROW}567"
    assert printed(ENGLISH, Number(1234567)) == "1,234,567"
    assert printed(FRENCH, Share(3, 1200)) == f"3 sur 1{NARROW}200"
    assert printed(ENGLISH, Size(1)) == f"1{NO_BREAK}byte"
    assert printed(FRENCH, Instant(AT_US)) == f"8{NO_BREAK}janvier 2026 à 15{NARROW}h{NARROW}00"
    assert printed(ENGLISH, Instant(AT_US)) == f"8{NO_BREAK}January 2026, 15:00"
    first = Instant(AT_US - 7 * 86_400_000_000 + 12_000_000)
    assert printed(FRENCH, first).startswith(f"1er{NO_BREAK}janvier 2026 à 15{NARROW}h{NARROW}00{NARROW}min")


def test_an_end_is_the_end_of_its_day() -> None:
    said = printed(FRENCH, Span(AT_US, END_US))
    assert said.endswith(f"31{NO_BREAK}décembre 2026 à 24{NARROW}h{NARROW}00")
    assert printed(ENGLISH, Span(None, END_US)) == f"until 31{NO_BREAK}December 2026, 24:00"


def test_a_time_outside_all_calendars_is_a_number() -> None:
    assert printed(ENGLISH, Instant(2**62)) == "4,611,686,018,427,387,904"


@pytest.mark.parametrize(("count", "english", "french"), [(0, "s", ""), (1, "", ""), (2, "s", "s")])
def test_each_language_has_its_own_plural(count: int, english: str, french: str) -> None:
    said = Said("say.limits-accounts", {"n": Number(count)})
    assert printed(ENGLISH, said) == f"{count} account{english}"
    assert printed(FRENCH, said) == f"{count} compte{french}"


def test_what_others_wrote_is_left_as_it_is() -> None:
    text = "l'avis : « 1 234 » ! {n}"
    assert printed(FRENCH, Text(text)) == text
    assert printed(FRENCH, Said("say.by-the-order", {"reference": Text(text)})) == f"l’injonction {text}"


def test_what_has_no_words_is_a_fault_and_a_new_code_prints_as_it_is() -> None:
    assert printed(FRENCH, term("cause", "some-new-code")) == "some-new-code"
    with pytest.raises(ReportTextMissing, match=r"no text for 'say\.nothing'"):
        FRENCH.say("say.nothing", {})
