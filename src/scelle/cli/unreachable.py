"""Say why no source could be reached: one line, one code."""

from scelle.errors import SourceClosed, SourceError, SourceMissing


def unreachable_error(name: str, said: str, then: str = "") -> SourceError:
    """Return the error of a source of which a report says `said`, which is `code: text`; `then` is what came of it."""
    code, _, text = said.partition(": ")
    kinds = {kind.code: kind for kind in SourceError.__subclasses__()}
    kind = kinds.get(code, SourceMissing)
    advice = "" if kind is SourceClosed else ": try again"  # it says itself when
    return kind(f"{name}: {text if code in kinds else said}{f'; {then}' if then else ''}{advice}")
