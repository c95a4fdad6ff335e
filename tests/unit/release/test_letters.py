"""What letters say, and what they must not."""

import re
from datetime import date

import pytest

from scelle.orders.types import TYPES, ErasureBasis
from scelle.release.erasure import CERTAIN
from scelle.release.letters import Language, LetterFacts, Variant, letter, template_digest, templates

FACTS = LetterFacts("DSR-7", date(2026, 1, 1), date(2026, 1, 21))
IMPLYING = re.compile(
    r"injonction|ordre|ordonnance|réquisition|enquête|procureur|parquet|juge\b|judiciaire|conservation|secret|\border\b|"
    r"preserv|authorit(?!y \(Art)|court|inquiry|prosecut|obligation légale|legal obligation",
    re.IGNORECASE,
)


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("variant", list(Variant))
def test_every_letter_names_complaint_and_remedy(language: Language, variant: Variant) -> None:
    text = letter(variant, language, LetterFacts("DSR-7", FACTS.received, FACTS.written, None, CERTAIN))
    assert ("article 77" if language is Language.FR else "Article 77") in text
    assert ("article 79" if language is Language.FR else "Article 79") in text
    assert "{" not in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("language", list(Language))
def test_the_neutral_text_implies_no_order_and_counts_nothing(language: Language) -> None:
    text = letter(Variant.NEUTRAL, language, FACTS)
    body = text.partition("complaint")[0].partition("réclamation")[0]
    assert IMPLYING.search(body) is None
    assert re.search(r"\b\d+ (items|éléments|données)", text) is None
    other = letter(Variant.NEUTRAL, language, LetterFacts("X", date(2025, 3, 9), date(2025, 4, 2)))
    assert other.count("\n") == text.count("\n")


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("ground", sorted(CERTAIN))
def test_the_reasoned_text_gives_the_ground(language: Language, ground: str) -> None:
    text = letter(Variant.REASONED, language, LetterFacts("R", FACTS.received, FACTS.written, None, [ground]))
    point = {"17(3)(b)": "b", "17(3)(b) UK GDPR": "b", "17(3)(e)": "e"}[ground]
    said = f"article 17, paragraphe 3, point {point})" if language is Language.FR else f"17(3)({point})"
    assert said in text
    assert ("UK GDPR" in text) == ground.endswith("UK GDPR")


def test_every_basis_that_is_settled_has_a_text_and_no_other_has() -> None:
    settled = {basis.value for basis in ErasureBasis} - {"assess", "none"}
    assert settled == CERTAIN
    assert {rule.erasure.value for rule in TYPES.values()} <= CERTAIN | {"assess", "none"}


def test_days_are_written_as_people_write_them() -> None:
    assert "le 1er janvier 2026" in letter(Variant.NEUTRAL, Language.FR, FACTS)
    assert "1 January 2026" in letter(Variant.NEUTRAL, Language.EN, FACTS)


@pytest.mark.parametrize("language", list(Language))
def test_an_extension_is_told(language: Language) -> None:
    facts = LetterFacts("R", FACTS.received, FACTS.written, date(2026, 4, 1))
    assert ("jusqu'au 1er avril 2026" if language is Language.FR else "until 1 April 2026") in letter(
        Variant.NEUTRAL, language, facts
    )


def test_templates_have_a_version_and_a_hash_of_their_own() -> None:
    sealed = templates()
    assert sealed["fr"]["sha256"] == template_digest(Language.FR) != template_digest(Language.EN)
    assert sealed["fr"]["version"] == "1"
