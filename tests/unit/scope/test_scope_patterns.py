"""Regular expressions of clauses: what is read, what is refused, and that no text takes long."""

import re
import time

import pytest

from scelle.errors import ClauseWrong
from scelle.scope import compile_pattern
from scelle.scope.automaton import REMEMBERED_MAX
from scelle.scope.patterns import PATTERN_MAX_CHARACTERS, PLACES_MAX, Pattern

READ = [
    "fox",
    "red.*fox",
    r"(?i)\bcancel(?:l?ed|ing)?\b",
    r"[^\]a-z]+\d{2,3}$",
    r"^a|b$",
    r"(?ms)^x.+y$",
    r"\x41\u00e9\U0001f600",
    r"\{\}\.\*",
    r"(a|b)*?c",
    "[]a]",
    "x{,2}y{0}z",
    "]",
    "",
]


def automaton_alone(text: str) -> Pattern:
    """Return a pattern that never asks `re` first."""
    pattern = Pattern(text)
    pattern._re_max_characters = -1
    pattern._needed = []
    return pattern


@pytest.mark.parametrize("pattern", READ[:-1])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red, red fox",
        "Cancelled\n",
        "AÉ]99",
        "b",
        "b\n",
        "xy\nxy",
        "Aé😀",
        "{}.*",
        "abac",
        "\n",
        "z\n\n",
        "a\nb",
    ],
)
def test_means_what_it_means_to_re(pattern: str, text: str) -> None:
    expected = re.search(pattern, text) is not None
    assert compile_pattern(pattern).search(text) is expected
    assert automaton_alone(pattern).search(text) is expected


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "empty"),
        ("a" * (PATTERN_MAX_CHARACTERS + 1), "longer than 1000"),
        ("(", "no regular expression"),
        ("a)", "no regular expression"),
        ("*a", "no regular expression"),
        ("a**", "no regular expression"),
        ("[a", "no regular expression"),
        ("[b-a]", "no regular expression"),
        ("a{99999999999}", "no regular expression"),
        (r"\q", "no regular expression"),
        (r"(a)\1", r"character 4: \\1 is not read"),
        ("(?=a)", "character 2: of groups only"),
        ("(?<!a)b", "of groups only"),
        ("(?P<x>a)", "of groups only"),
        ("(?>a)", "of groups only"),
        ("(?x)a b", "of groups only"),
        ("a++", "possessive"),
        (r"\Ba", r"\\B"),
        ("a{b}", "without a count"),
        ("{a", "without a count"),
        (r"(\b)+", "takes no character"),
        (r"\b+", "no regular expression"),
        ("[[a]", "read in two ways"),
        ("(a{30}){30}", f"more than {PLACES_MAX} places"),
        ("a{501}", f"more than {PLACES_MAX} places"),
        ("(" * 21 + "a" + ")" * 21, "nested over 20"),
    ],
)
def test_refuses_what_it_cannot_search_in_one_pass(pattern: str, said: str) -> None:
    with pytest.raises(ClauseWrong, match=said) as caught:
        compile_pattern(pattern)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 40 + "b"),
        ("(a|aa)*c", "a" * 80 + "b"),
        ("(a+)+$", "a" * 20_000 + "b"),
        ("(a|aa)*c", "a" * 20_000 + "b"),
        (r"(x+x+)+y", "x" * 20_000 + "z"),
        ("foo.*bar.*baz", "foo" * 4000 + "bar" * 4000 + "ba"),
        (r"\w+@\w+", "a" * 40_000),
        ("(a?){25}a{25}$", "a" * 24),
    ],
)
def test_no_text_takes_long(pattern: str, text: str) -> None:
    found = automaton_alone(pattern)
    started = time.process_time()
    assert compile_pattern(pattern).search(text) is False
    assert found.search(text) is False
    assert time.process_time() - started < 2


def test_what_is_remembered_of_a_hostile_text_is_bounded() -> None:
    found = automaton_alone(r"(?:a.{30}|b.{40}|c.{50})d")
    text = "".join(chr(0x4E00 + i * 7919 % 20_000) + "abc"[i * i % 3] for i in range(3000))
    assert found.search(text) is (re.search(r"(?:a.{30}|b.{40}|c.{50})d", text) is not None)
    automaton = found._automaton
    assert automaton._remembered <= REMEMBERED_MAX + PLACES_MAX + 2
    assert found.search("a" + "x" * 30 + "d") is True


def test_finds_again_what_it_forgot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.scope.automaton.REMEMBERED_MAX", 3)
    found = automaton_alone("ab*c")
    assert found.search("xxabbbbc") is True
    assert found.search("xxabbbb") is False
