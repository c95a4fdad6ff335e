"""Undo what hides a word from a lexicon: odd forms of letters, invisible characters, look-alikes, digits for letters.

Source: Unicode UAX 15 (NFKC, NFKD), UAX 31 and UTS 39 (the idea of a skeleton; the tables here are ours, and small).
`normalise` undoes what people also do in good faith; `skeleton` goes further, and is only asked about words that look
suspicious: it takes different words for one. Both are idempotent.
"""

import itertools
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

VERSION: Final = "1"

_ORDINARY_MARKS: Final = frozenset("\u200c\u200d\u200e\u200f")
"""Joiners and direction marks, which Arabic and Indic scripts are written with."""
_JOINING: Final = frozenset({"ARABIC", "DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "HEBREW"})
_IGNORABLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""What is shown as nothing (Default_Ignorable_Code_Point), and is therefore never part of a word."""
_FANCY: Final = re.compile(
    "[\u1d2c-\u1d6a\u2070-\u209c\u2100-\u214f\u2460-\u24ff\U0001d400-\U0001d7ff\U0001f110-\U0001f189]"
)
"""Letters in the shape of mathematical, circled, raised and squared signs: nobody's keyboard has them."""
_MARKED_SCRIPTS: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARABIC"})
"""Scripts whose marks are left out when people write in haste; in the others a mark is a vowel."""
_ALIKE: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})
"""Scripts with letters that look like one another's, and that no word mixes; a T-shirt in Japanese mixes others."""
_LETTERS: Final = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "\u0640": "", "ی": "ي", "ک": "ك", "ى": "ي",
     "ٱ": "ا", "’": "'", "ʼ": "'", "`": "'", "´": "'", "‘": "'"}
)  # fmt: skip
_LOOKALIKES: Final = {
    "a": "аαɑᴀ",
    "b": "вʙβьҍ",
    "c": "сᴄϲⅽ",
    "d": "ԁᴅժ",
    "e": "еεҽᴇє",
    "f": "ғꜰƒ",
    "g": "ɡɢցġ",
    "h": "һʜнհ",
    "i": "іιɪӏlյ",
    "j": "јᴊϳ",
    "k": "кκᴋ",
    "m": "мᴍ",
    "n": "ոɴηпп",
    "o": "оοᴏօσ०٥",
    "p": "рρᴘ",
    "q": "ԛզ",
    "r": "гʀᴦ",
    "s": "ѕꜱ",
    "t": "тτᴛ",
    "u": "υᴜսц",
    "v": "ѵνᴠ",
    "w": "ԝωᴡшщա",
    "x": "хχ",
    "y": "уγʏү",
    "z": "ᴢʐ",
}
_DIGITS: Final = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g"}
_SIGNS: Final = {"@": "a", "$": "s", "!": "i", "|": "i", "+": "t", "€": "e", "£": "i", "¡": "i"}
_KANA: Final = {chr(code): chr(code - 0x60) for code in range(0x30A1, 0x30F7)}  # katakana to hiragana
_SKELETON: Final = str.maketrans(
    {
        **{other: letter for letter, others in _LOOKALIKES.items() for other in others},
        **_DIGITS,
        **_SIGNS,
        **_KANA,
        "一": "ー",
        "丨": "ー",
    }
)


@dataclass(frozen=True, slots=True)
class Normalised:
    """A text as lexicons are looked up with.

    `is_disguised` says that something was undone that nobody does in good faith: invisible characters inside of words,
    letters in fancy shapes, stacked marks. `mixed_share` is the share of words with letters of two scripts.
    """

    text: str
    is_disguised: bool
    mixed_share: float


def normalise(text: str) -> Normalised:
    """Return a text in one form (NFC over NFKC, case folded, invisible characters and marks gone), and what it took."""
    folded = fold(text)
    words = folded.split()
    mixed = sum(_is_mixed(word) for word in words)
    is_disguised = bool(mixed) or _FANCY.search(text) is not None or _hides(text)
    return Normalised(folded, is_disguised, mixed / len(words) if words else 0.0)


def fold(text: str) -> str:
    """Return the text alone, as `normalise` does; a word of a lexicon goes through the same."""
    shown = _IGNORABLE.sub("", text)  # first: between a letter and its mark it would keep them apart
    folded = unicodedata.normalize("NFKC", shown).casefold()
    bare = _without_marks(unicodedata.normalize("NFKD", folded)).translate(_LETTERS)
    return " ".join(unicodedata.normalize("NFC", bare).split())


def skeleton(text: str) -> str:
    """Return what a folded text looks like: look-alikes of a letter, and signs that are used for it, are one."""
    return text.translate(_SKELETON)


@lru_cache(maxsize=8192)
def script(character: str) -> str | None:
    """Return the script of a letter, as its Unicode name begins; None of what is no letter. Kana and Han are one."""
    if not character.isalpha():
        return None
    name = unicodedata.name(character, "UNNAMED").split()[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC") else name


def _without_marks(text: str) -> str:
    kept: list[str] = []
    base: str | None = None
    for character in text:
        if unicodedata.combining(character) == 0:
            base = script(character) or base if character.isalpha() else None
            kept.append(character)
        elif base not in _MARKED_SCRIPTS:
            kept.append(character)
    return "".join(kept)


def _is_mixed(word: str) -> bool:
    return len({script(character) for character in word} & _ALIKE) > 1


def _hides(text: str) -> bool:
    """Tell whether invisible characters or stacked marks stand where nobody needs them."""
    text = text.removeprefix("\ufeff")
    for found in _IGNORABLE.finditer(text):
        around = text[max(0, found.start() - 2) : found.end() + 1]
        is_ordinary = found[0] in _ORDINARY_MARKS and any(script(each) in _JOINING for each in around)
        if not is_ordinary:
            return True
    composed = unicodedata.normalize("NFC", text)
    return any(
        unicodedata.combining(mark) and script(base) in ("LATIN", "CYRILLIC", "GREEK")
        for base, mark in itertools.pairwise(composed)
    )
