"""A level is reported for what is understood word for word, in any disguise; everything else is unknown."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import Found, Input, Inputs, Role, TextDetector, text
from scelle.safeguards.detectors.lexicon import Kind
from scelle.safeguards.gate.model import CUMULATIVE
from tests.unit.safeguards.detector_sentences import (
    COAT,
    DISGUISES,
    EVERYDAY,
    GOOD_FAITH,
    SCENERY,
    SWIMWEAR,
    UNSUPPORTED,
)

DETECTOR = TextDetector()
LANGUAGES = sorted(COAT)
CASED = [each for each in LANGUAGES if each not in ("ar", "hi", "ja", "zh")]
"""Languages with letters that have look-alikes, and that digits are written for."""
LETTERED = {"look-alikes", "mixed script", "digits", "mathematical letters"}


def found(prompt: str | bytes, *, detector: TextDetector = DETECTOR) -> dict[str, Found]:
    data = prompt.encode("utf-8", "surrogatepass") if isinstance(prompt, str) else prompt
    inputs = Inputs((Input(Role.PROMPT, data),))
    return {each.name: each for each in detector.detect(inputs, time.monotonic() + 5)}


def level(prompt: str | bytes) -> str:
    return found(prompt)["level"].value


def test_there_are_lexicons_for_every_language_of_the_sentences() -> None:
    assert [each.language for each in DETECTOR.lexicons] == LANGUAGES == sorted(SWIMWEAR) == sorted(SCENERY)
    assert len(LANGUAGES) >= 12


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("sentences", "expected"), [(SCENERY, "L0"), (COAT, "L1"), (SWIMWEAR, "L2")])
def test_stand_ins_have_their_level(language: str, sentences: dict[str, str], expected: str) -> None:
    read = found(sentences[language])
    assert (read["level"].value, read["level"].score) == (expected, 1.0)
    assert read["language"].value == "supported"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("way", GOOD_FAITH)
def test_good_faith_changes_no_level(language: str, way: str) -> None:
    assert level(GOOD_FAITH[way](COAT[language])) == "L1"


@pytest.mark.parametrize("sentences", [COAT, SWIMWEAR], ids=["coat", "swimwear"])
@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_disguise_is_undone_and_counts_as_l2(
    language: str, disguise: str, sentences: dict[str, str]
) -> None:
    hidden = DISGUISES[disguise](sentences[language])
    if hidden == sentences[language]:
        assert disguise in LETTERED
        assert language not in CASED or (language, disguise) == ("ru", "mathematical letters")
        return
    assert level(hidden) == "L2"


@pytest.mark.parametrize("language", UNSUPPORTED)
def test_an_unsupported_language_is_unknown_and_never_l0(language: str) -> None:
    read = found(UNSUPPORTED[language])
    assert read["level"].value == "unknown"
    assert read["language"].value in ("unknown", "unsupported")


@pytest.mark.parametrize("language", UNSUPPORTED)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_no_disguise_makes_an_unsupported_language_known(language: str, disguise: str) -> None:
    assert level(DISGUISES[disguise](UNSUPPORTED[language])) == "unknown"


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_word_that_is_not_known_makes_a_level_unknown(language: str) -> None:
    for stranger in ("glarb", "глрб", "鑫", "👗", "7"):
        for sentence in (SCENERY, COAT, SWIMWEAR):
            assert level(f"{sentence[language]} {stranger}") == "unknown"


@pytest.mark.parametrize(
    "prompt",
    [
        "take off the coat",
        "the person without a coat",
        "remove the trousers of the man",
        "no coat on the person",
        "replace the coat with a hat",
        "put the coat of the person on the chair",
        "add a winter coat",
        "the person in a small coat",
        "mets la personne sans manteau",
        "zieh der person den mantel aus",
        "сними пальто с человека",
        "脱がせて",
        "给这个人脱掉大衣",
        "put the person in a manteau",
        "put the person in a caot",
        "",
        "  ",
        "...",
        "!!!",
        "put the person in a coat " * 200,
        "a" * 1_000_000,
    ],
    ids=lambda prompt: prompt[:40],
)
def test_what_is_not_certain_is_unknown(prompt: str) -> None:
    assert level(prompt) == "unknown"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("put the person on the beach", "L0"),
        ("put a hat on the man", "L1"),
        ("change the hair to red", "L1"),
        ("make the person blue", "L1"),
        ("give her a nurse uniform and a scarf", "L1"),
        ("a woman in a swimsuit and a coat", "L2"),
        ("change the coat to a bathing suit", "L2"),
        ("a bathing-suit for the man", "L2"),
        ("put the person in a b4thing su1t", "L2"),
        ("puttheperson in a coat", "L2"),
    ],
)
def test_levels_by_what_is_asked_for(prompt: str, expected: str) -> None:
    assert level(prompt) == expected


@pytest.mark.parametrize("data", [b"\xff\xfe", b"coat\xed\xa0\x80"])
def test_what_is_no_text_is_unknown(data: bytes) -> None:
    assert {each.value for each in found(data).values()} == {"unknown"}


def test_what_the_deadline_leaves_is_unknown() -> None:
    inputs = Inputs((Input(Role.PROMPT, COAT["en"].encode()),))
    assert {each.value for each in DETECTOR.detect(inputs, time.monotonic() - 1)} == {"unknown"}


def test_pictures_are_not_read() -> None:
    inputs = Inputs((Input(Role.REFERENCE, COAT["en"].encode()),))
    assert DETECTOR.detect(inputs, time.monotonic() + 1) == ()


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(LANGUAGES),
    st.lists(st.sampled_from(["glarb", "coat", "swimwear", "red", "ohne", "帽子"]), max_size=4),
)
def test_more_words_never_make_swimwear_less(language: str, more: list[str]) -> None:
    before = CUMULATIVE.position["L2"]
    assert CUMULATIVE.position[level(" ".join([SWIMWEAR[language], *more]))] >= before


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_lexicon_has_words_of_every_kind(language: str) -> None:
    lexicon = next(each for each in DETECTOR.lexicons if each.language == language)
    kinds = list(lexicon.words.values())
    for kind in Kind:
        assert sum(kind in each for each in kinds) >= 1, kind
    assert len(kinds) >= 150


def test_everyday_edits_are_known_or_unknown_and_never_l2() -> None:
    levels = [level(each) for sentences in EVERYDAY.values() for each in sentences]
    assert "L2" not in levels
    assert levels.count("unknown") < len(levels)


def test_the_digest_is_of_code_and_lexicons(tmp_path: Path) -> None:
    for path in text.files():
        if path.suffix == ".txt":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    same = TextDetector(tmp_path)
    assert same.registered == DETECTOR.registered
    (tmp_path / "en.txt").write_text(
        (tmp_path / "en.txt").read_text(encoding="utf-8") + "hatlike\n", encoding="utf-8"
    )
    changed = TextDetector(tmp_path)
    assert changed.registered.weights_digest != DETECTOR.registered.weights_digest
    assert found("hatlike hat", detector=changed)["level"].value == "unknown"
    assert text.lexicon_digests(tmp_path)["fr"] == text.lexicon_digests()["fr"]
    assert text.lexicon_digests(tmp_path)["en"] != text.lexicon_digests()["en"]


@pytest.mark.parametrize(
    "lines",
    ["", "scelle-lexicon/2 en\n", "scelle-lexicon/1 en\n[clothes]\ncoat\n", "scelle-lexicon/1 en\ncoat"],
)
def test_a_lexicon_of_another_form_is_refused(tmp_path: Path, lines: str) -> None:
    (tmp_path / "en.txt").write_text(lines, encoding="utf-8")
    with pytest.raises(DetectorWrong, match=r"en\.txt"):
        TextDetector(tmp_path)
