"""Grade what a prompt asks for, L0 to L2, in the languages that there are lexicons for; everything else is unknown.

The vocabulary is closed. A level is reported only where one lexicon knows every word of the prompt; one word that it
does not know makes the level unknown, which the gate takes as the highest. So the lexicons hold no word for anything
beyond swimwear, and need none: such a word is not known. Both errors are on the careful side of that line, and their
price is that harmless prompts with unusual words are refused for pictures of people (docs/safeguards.md has the rate).

What is undone to read a prompt (look-alikes, digits, spaces, invisible characters) makes it count as L2 at least:
nobody needs to hide a winter coat. What this does not do: parse. Words in an order that means something else are read
as the words they are.
"""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from scelle.safeguards.detectors import languages, lexicon, normalise
from scelle.safeguards.detectors.interface import Found, Input, Inputs, Role, files_digest
from scelle.safeguards.detectors.lexicon import FOLDER, Kind, Kinds, Lexicon, Reading
from scelle.safeguards.gate.bundle import Detector as Registered
from scelle.safeguards.gate.model import UNKNOWN, riskier

ID: Final = "text"
VERSION: Final = "2"
WHOLE: Final = 1.0
"""The threshold of `level`: the share of words that must be known."""
MOSTLY: Final = 0.6
"""The threshold of `language`: so much of a prompt known by one lexicon, and it is in its language."""
SIZE_MAX: Final = 1000  # characters; more is not read, and unknown
_CLOTHES: Final = frozenset({Kind.GARMENT, Kind.ACCESSORY, Kind.SWIMWEAR})
_BODY: Final = _CLOTHES | {Kind.APPEARANCE, Kind.PERSON}
_AROUND: Final = frozenset({Kind.SCENE, Kind.OBJECT})


class TextDetector:
    """Reports `level` (F4) and `language` (F10) of each prompt; without a prompt, nothing.

    Where there is no reference and every word of the prompt is known to be about nobody, `minor` (F3) is `n/a`.
    """

    reports = frozenset({"level", "language", "minor"})
    thresholds: Mapping[str, float] = MappingProxyType({"level": WHOLE, "language": MOSTLY})

    def __init__(self, folder: Path = FOLDER) -> None:
        self.lexicons = lexicon.load_all(folder)
        self._identify = languages.Identifier()
        name = f"{VERSION}-{self._identify.version.replace('@', '-')}".rstrip("-")
        self.files = files(folder)
        self.registered = Registered(ID, name, files_digest(self.files))

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        """Return level and language of every prompt; what is left at the deadline is unknown."""
        has_reference = bool(inputs.of(Role.REFERENCE))
        return tuple(
            found
            for each in inputs.of(Role.PROMPT)
            for found in (self._read(each, has_reference) if time.monotonic() < deadline else _unread(each))
        )

    def _read(self, given: Input, has_reference: bool) -> Iterable[Found]:
        try:
            text = given.data.decode("utf-8")
        except UnicodeDecodeError:
            return _unread(given)
        if len(text) > SIZE_MAX:
            return _unread(given)
        normal = normalise.normalise(text)
        readings = [each.read(normal.text) for each in self.lexicons]
        share = max((each.share for each in readings), default=0.0)
        level = level_of(readings, is_disguised=normal.is_disguised)
        found = (
            Found(given, "level", level, share, WHOLE),
            Found(given, "language", self._language(readings, normal.text), share, MOSTLY),
        )
        if not has_reference and level == "L0" and _is_of_nobody(readings):
            return (*found, Found(given, "minor", "n/a", share, WHOLE))
        return found

    def _language(self, readings: list[Reading], text: str) -> str:
        if any(each.is_whole or each.share >= MOSTLY for each in readings):
            return "supported"
        identified = self._identify(text)
        if identified is None:
            return UNKNOWN
        return UNKNOWN if identified[0] in {each.language for each in self.lexicons} else "unsupported"


def build(folder: str = "") -> TextDetector:
    """Build the detector in a process of its own, with the lexicons that ship or those of a folder."""
    return TextDetector(Path(folder) if folder else FOLDER)


def files(folder: Path = FOLDER) -> tuple[Path, ...]:
    """Return what the detector consists of: its code and its lexicons."""
    code = (
        Path(__file__).with_name(f"{each}.py") for each in ("languages", "lexicon", "normalise", "interface")
    )
    return (Path(__file__), *code, *sorted(folder.glob("*.txt")))


def lexicon_digests(folder: Path = FOLDER) -> dict[str, str]:
    """Return the digest of each lexicon by language, as a bundle names them."""
    return {path.stem: files_digest([path]) for path in sorted(folder.glob("*.txt"))}


def level_of(readings: Iterable[Reading], *, is_disguised: bool = False) -> str:
    """Return the level that whole readings come to: the highest of them, unknown where there is none."""
    whole = [each for each in readings if each.is_whole]
    if not whole:
        return UNKNOWN
    level = "L0"
    for each in whole:
        level = riskier(level, _grade(each.kinds, each.clothes))
    was_undone = is_disguised or all(each.is_disguised for each in whole)
    return riskier(level, "L2") if was_undone else level


def _grade(kinds: Kinds, clothes: int) -> str:
    if Kind.REMOVE in kinds and (kinds & _BODY or not kinds & _AROUND):
        return UNKNOWN  # what is taken off is not known
    if Kind.REPLACE in kinds and Kind.ACCESSORY in kinds and clothes > 1:
        return UNKNOWN  # a hat for a coat
    if Kind.SWIMWEAR in kinds:
        return "L2"
    if kinds & _CLOTHES:
        is_clear = Kind.PERSON in kinds and Kind.OBJECT not in kinds
        return "L1" if is_clear else UNKNOWN  # a coat for the chair, or for whom?
    if Kind.APPEARANCE in kinds or (Kind.PERSON in kinds and not kinds & _AROUND):
        return "L1"
    return "L0"


def _is_of_nobody(readings: Iterable[Reading]) -> bool:
    """Tell whether each lexicon that knows every word reads of scenery and things, and of nobody in it."""
    whole = [each.kinds for each in readings if each.is_whole]
    return all(kinds & _AROUND and not kinds & _BODY for kinds in whole)


def _unread(given: Input) -> tuple[Found, ...]:
    return (Found(given, "level", UNKNOWN, None, WHOLE), Found(given, "language", UNKNOWN, None, MOSTLY))


__all__ = ["ID", "Lexicon", "TextDetector", "build", "files", "level_of", "lexicon_digests"]
