"""Read a language's lexicon and tell whether a text consists of its words, and of nothing else.

A lexicon is a text file: a first line `scelle-lexicon/1 LANGUAGE`, perhaps `spaced: no` (words are not set apart) and
`prefixes: ...` (what may stand before a word), then sections of words, set apart by commas. A word may be a phrase of
up to four. The words are ours; see `Kind` for what they are sorted by.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Final

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors.normalise import fold, script, skeleton

FORMAT: Final = "scelle-lexicon/1"
FOLDER: Final = Path(__file__).parent / "lexicons"
_PHRASE_MAX: Final = 4
_PIECE_MIN: Final = 3  # letters; of shorter pieces nearly anything could be glued together
_SPELLED_MEAN_MIN: Final = 2
_RUN_MIN: Final = 3  # single letters in a row are spaced out, and not three words
_SIGNS: Final = frozenset("0123456789@$!|+€£¡")
_ENDS: Final = "!¡"  # punctuation at the ends of a word; inside of one it may stand for a letter
_SPLIT: Final = str.maketrans(dict.fromkeys(".,;:?\"'()[]«»„“”‹›-–—…¿、。「」『』・।،؛؟*_/~", " "))


class Kind(StrEnum):
    """What a word means for a level; a word may be of several kinds, and then all of them count."""

    CHANGE = "change"
    REPLACE = "replace"
    REMOVE = "remove"
    PERSON = "person"
    GARMENT = "garment"
    ACCESSORY = "accessory"
    SWIMWEAR = "swimwear"
    APPEARANCE = "appearance"
    SCENE = "scene"
    OBJECT = "object"
    COLOUR = "colour"
    OTHER = "other"


Kinds = frozenset[Kind]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a lexicon reads a text: the kinds of its words, how many pieces of clothing, how much of it is known.

    `share` counts words as they stand. `is_whole`: every word is known; with `is_disguised`, only after look-alikes,
    digits or spaces were undone.
    """

    language: str
    kinds: Kinds
    clothes: int
    share: float
    is_whole: bool
    is_disguised: bool


@dataclass(frozen=True)
class Lexicon:
    """The words of one language by kind, folded."""

    language: str
    is_spaced: bool
    prefixes: tuple[str, ...]
    words: dict[str, Kinds]

    def read(self, text: str) -> Reading:
        """Read a folded text; what is not known word for word makes it not whole, whatever else it holds."""
        words = text.translate(_SPLIT).split()
        return self._read_spaced(words) if self.is_spaced else self._read_unspaced(words)

    def _read_spaced(self, words: list[str]) -> Reading:
        joined, was_spaced_out = self._join_runs(words)
        plain: list[Kinds] = []
        undone: list[Kinds] = []
        missing = place = 0
        while place < len(joined):
            length, kinds, was_undone = self._entry(joined, place, undo=missing == 0)
            missing += not kinds
            if kinds:
                (undone if was_undone else plain).append(kinds)
            place += length
        share = len(plain) / max(1, len(plain) + len(undone) + missing)
        return _reading(self.language, [*plain, *undone], share, missing == 0, bool(undone) or was_spaced_out)

    def _entry(self, words: list[str], place: int, *, undo: bool) -> tuple[int, Kinds | None, bool]:
        """Return how many words from a place on are one entry, the most that are, its kinds, and whether it hid.

        Nothing is undone any more where a word was not known: the level is unknown then, whatever else there is.
        """
        for length in range(min(_PHRASE_MAX, len(words) - place), 0, -1):
            given = words[place : place + length]
            kinds = self._known(" ".join(given).strip(_ENDS))
            if kinds:
                return length, kinds, False
            kinds = self._look("".join(given)) if undo else None
            if kinds:
                return length, kinds, True
        return 1, self._glued(words[place].strip(_ENDS)) if undo else None, True

    def _known(self, word: str) -> Kinds | None:
        found = self.words.get(word)
        if found is None and self.prefixes:
            bare = (word[len(each) :] for each in self.prefixes if word.startswith(each))
            found = next((self.words[each] for each in bare if each in self.words), None)
        return found

    def _look(self, word: str) -> Kinds | None:
        """Return the kinds of a word that only shows once look-alikes, digits and signs are undone."""
        if not self._is_odd(word):
            return None
        return self._looks.get(skeleton(word)) or self._looks.get(skeleton(word.strip(_ENDS)))

    def _is_odd(self, word: str) -> bool:
        """Tell whether there are digits, signs or letters of another script in a word."""
        return any(each in _SIGNS or script(each) not in (None, self._script) for each in word)

    def _glued(self, word: str) -> Kinds | None:
        """Return the kinds of words that stand without spaces between them."""
        given, words = (skeleton(word), self._looks) if self._is_odd(word) else (word, self._compact)
        pieces = _fewest(given, words, self._longest, piece_min=_PIECE_MIN)
        return frozenset[Kind]().union(*(words[piece] for piece in pieces)) if pieces else None

    def _join_runs(self, words: list[str]) -> tuple[list[str], bool]:
        """Join single letters that stand in a row, and split what they spell; say whether there were any."""
        joined: list[str] = []
        run: list[str] = []
        was_spaced_out = False
        for word in [*words, ""]:
            if len(word) == 1:
                run.append(word)
                continue
            if len(run) > _RUN_MIN:
                was_spaced_out = True
                joined += self._spelled("".join(run))
            else:
                joined += run
            run = []
            joined += [word] if word else []
        return joined, was_spaced_out

    def _spelled(self, letters: str) -> list[str]:
        pieces = _fewest(letters, self._compact, self._longest)
        if pieces and len(letters) >= _SPELLED_MEAN_MIN * len(pieces):
            return [self._as_written[each] for each in pieces]
        looks = skeleton(letters)
        pieces = _fewest(looks, self._looks, self._longest)
        if pieces and len(looks) >= _SPELLED_MEAN_MIN * len(pieces):
            return [self._as_written[each] for each in pieces]
        return [letters]

    def _read_unspaced(self, words: list[str]) -> Reading:
        text = "".join(words).replace("!", "")
        last = len(words) - _RUN_MIN
        spaced_out = any(all(len(each) == 1 for each in words[at : at + _RUN_MIN + 1]) for at in range(last))
        for given, known, undone in ((text, self.words, False), (skeleton(text), self._looks, True)):
            pieces = _fewest(given, known, self._longest)
            if pieces:
                kinds = [known[piece] for piece in pieces]
                return _reading(self.language, kinds, 0.0 if undone else 1.0, True, undone or spaced_out)
        found = _greedy(text, self.words, self._longest)
        share = sum(map(len, found)) / max(1, len(text))
        return _reading(self.language, [self.words[each] for each in found], share, False, False)

    @cached_property
    def _compact(self) -> dict[str, Kinds]:
        """The words without spaces, and with what may stand before them."""
        bare = [(word.replace(" ", ""), kinds) for word, kinds in self.words.items()]
        return _united((start + word, kinds) for start in ("", *self.prefixes) for word, kinds in bare)

    @cached_property
    def _looks(self) -> dict[str, Kinds]:
        return _united((skeleton(word), kinds) for word, kinds in self._compact.items())

    @cached_property
    def _as_written(self) -> dict[str, str]:
        """Return how a word that was found by its look or without spaces stands in the lexicon."""
        written = {word.replace(" ", ""): word for word in self.words}
        plain = {each: written.get(each, each) for each in self._compact}
        return {skeleton(each): word for each, word in plain.items()} | plain

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._compact))

    @cached_property
    def _script(self) -> str | None:
        return next((found for found in map(script, "".join(self.words)) if found), None)


def load(path: Path) -> Lexicon:
    """Read one lexicon; raise DetectorWrong where it is not of the form above."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines[0].split() if lines else []
    if len(first) != 2 or first[0] != FORMAT:
        raise DetectorWrong(f"{path.name}: the first line must be {FORMAT} and a language")
    is_spaced = True
    prefixes: tuple[str, ...] = ()
    kind: Kind | None = None
    words: dict[str, Kinds] = {}
    for number, line in enumerate(lines[1:], 2):
        key, _, rest = line.partition(":")
        if line.startswith("[") and line[1:-1] in tuple(Kind):
            kind = Kind(line[1:-1])
        elif kind is None and key == "spaced":
            is_spaced = rest.strip() != "no"
        elif kind is None and key == "prefixes":
            prefixes = tuple(map(fold, rest.split()))
        elif kind is not None:
            for word in _words(line):
                words[word] = words.get(word, frozenset()) | {kind}
        else:
            raise DetectorWrong(f"{path.name} line {number}: no such setting or section")
    return Lexicon(first[1], is_spaced, prefixes, words)


def load_all(folder: Path = FOLDER) -> tuple[Lexicon, ...]:
    """Read every lexicon of a folder, in order of languages; raises DetectorWrong where there is none."""
    found = tuple(load(path) for path in sorted(folder.glob("*.txt")))
    if not found:
        raise DetectorWrong(f"{folder}: there is no lexicon (LANGUAGE.txt): name a folder that has some")
    return found


def _words(line: str) -> Iterator[str]:
    for each in line.split(","):
        word = " ".join(fold(each).translate(_SPLIT).split())
        if word:
            yield word


def _reading(
    language: str, found: Iterable[Kinds], share: float, is_whole: bool, is_disguised: bool
) -> Reading:
    found = list(found)
    clothes = sum(bool(each & {Kind.GARMENT, Kind.ACCESSORY, Kind.SWIMWEAR}) for each in found)
    return Reading(
        language, frozenset[Kind]().union(*found), clothes, share, is_whole and bool(found), is_disguised
    )


def _united(found: Iterable[tuple[str, Kinds]]) -> dict[str, Kinds]:
    united: dict[str, Kinds] = {}
    for word, kinds in found:
        united[word] = united.get(word, frozenset()) | kinds
    return united


def _fewest(text: str, words: dict[str, Kinds], longest: int, piece_min: int = 1) -> list[str] | None:
    """Return the fewest words that the text is put together from, None where there are none."""
    best: list[tuple[int, int] | None] = [
        (0, 0),
        *([None] * len(text)),
    ]  # pieces so far, where the last one began
    reached = 0
    for end in range(1, len(text) + 1):
        if end - reached > longest:
            return None  # no word leads over this place
        for start in range(max(0, end - longest), end):
            before = best[start]
            if before is None or end - start < piece_min or text[start:end] not in words:
                continue
            now = best[end]
            if now is None or before[0] + 1 < now[0]:
                best[end] = (before[0] + 1, start)
                reached = end
    pieces: list[str] = []
    end = len(text)
    while end:
        last = best[end]
        if last is None:
            return None
        pieces.append(text[last[1] : end])
        end = last[1]
    return pieces[::-1]


def _greedy(text: str, words: dict[str, Kinds], longest: int) -> list[str]:
    found, place = [], 0
    while place < len(text):
        lengths = range(min(longest, len(text) - place), 0, -1)
        length = next((each for each in lengths if text[place : place + each] in words), 0)
        found += [text[place : place + length]] if length else []
        place += length or 1
    return found
