"""Folding and skeletons are idempotent, undo what hides a word, and say so where nobody does it in good faith."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scelle.safeguards.detectors.normalise import fold, normalise, skeleton
from tests.unit.safeguards.detector_sentences import COAT, DISGUISES, GOOD_FAITH

NASTY = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from("aeoİıßŁﬁ½Å\u0301\u0323\u200b\u200d\u00ad\u202e\ufeff\u0640ُ١ガ゛ﾞｶ한ᄒ\u3164Ⅷ𝐚ͅΐΰᾳ"),
    )
)


@settings(max_examples=600)
@given(NASTY)
@example("a\u200b\u0301x")  # a mark that is held apart from its letter
@example("\uffa0")
@example("ΐ İ ß")
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@settings(max_examples=300)
@given(NASTY)
def test_a_skeleton_is_its_own(text: str) -> None:
    look = skeleton(fold(text))
    assert skeleton(look) == look


@settings(max_examples=300)
@given(NASTY)
def test_what_is_folded_no_longer_hides_anything_invisible(text: str) -> None:
    assert not any(each in fold(text) for each in "\u200b\u00ad\u202e\ufeff\u2060\u3164")


@pytest.mark.parametrize("language", COAT)
@pytest.mark.parametrize("disguise", ["zero width", "soft hyphens", "direction overrides"])
def test_invisible_characters_are_undone_and_told(language: str, disguise: str) -> None:
    hidden = normalise(DISGUISES[disguise](COAT[language]))
    assert hidden.text == fold(COAT[language])
    assert hidden.is_disguised


@pytest.mark.parametrize("language", COAT)
@pytest.mark.parametrize("way", GOOD_FAITH)
def test_what_people_do_in_good_faith_is_no_disguise(language: str, way: str) -> None:
    assert not normalise(GOOD_FAITH[way](COAT[language])).is_disguised


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Ｃｏａｔ", "coat"),
        ("MANTEAU D’ÉTÉ", "manteau d'ete"),
        ("KIŞLIK İPEK", "kislik ipek"),
        ("ŁÓDŹ", "lodz"),
        ("ГОРОД ЁЛКА", "город елка"),
        ("مِعْطَفـــ", "معطف"),
        ("ｺｰﾄ", "コート"),
        ("कोट", "कोट"),
        ("が", "が"),
    ],
)
def test_forms_of_letters_become_one(text: str, folded: str) -> None:
    assert fold(text) == fold(folded)
    assert fold(folded) == folded


def test_vowels_of_hindi_and_voices_of_kana_are_no_marks_to_strip() -> None:
    assert fold("कोट") != fold("कट")
    assert fold("が") != fold("か")


def test_words_of_two_scripts_are_counted() -> None:
    assert normalise("put the c\u043eat on").mixed_share == pytest.approx(1 / 4)
    assert normalise("Tシャツを着て").mixed_share == 0


def test_stacked_marks_are_told() -> None:
    assert normalise("c\u0334\u0335o\u0336at").is_disguised
    assert not normalise("cafe\u0301 й").is_disguised


def test_a_joiner_is_ordinary_where_a_script_is_written_with_it() -> None:
    assert not normalise("می\u200cخواهم").is_disguised
    assert normalise("co\u200cat").is_disguised
